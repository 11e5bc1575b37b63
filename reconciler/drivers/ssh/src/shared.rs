//! One session for all who need one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::Environment;
use crate::dial::stage;
use crate::error::Error;
use crate::host::Host;
use crate::session::Session;
use crate::words::Words;

/// A session that was good before is given so long for another channel; then a new one is made.
const OLD_SESSION: Duration = Duration::from_secs(4);

/// A host by SSH: all channels to it go through one session, which is made when it is first needed and anew when it died.
pub struct Ssh {
    host: Host,
    words: Words,
    environment: Option<Environment>,
    session: Mutex<Option<Arc<Session>>>,
}

impl std::fmt::Debug for Ssh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ssh")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Age {
    Old,
    New,
}

impl Ssh {
    /// Nothing is connected yet.
    pub fn new(host: Host, words: Words) -> Self {
        Self {
            host,
            words,
            environment: None,
            session: Mutex::default(),
        }
    }

    /// With another home, agent and system's configuration than those of this process.
    #[must_use]
    pub fn within(self, environment: Environment) -> Self {
        Self {
            environment: Some(environment),
            ..self
        }
    }

    /// Which host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Opens something within the session: one channel, or several. What died unseen since it was last used shows here;
    /// then, once, a new session is made and asked again. `doing` is what an error says took too long, before the words
    /// `on HOST:PORT`.
    ///
    /// A refusal that says nothing about the session is no error of `open`: it is what it returns.
    ///
    /// # Errors
    /// If there is no session, or what is opened in it fails.
    pub async fn open<T, F>(
        &self,
        deadline: Instant,
        doing: &str,
        open: impl Fn(Arc<Session>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (session, age) = self.session(deadline).await?;
        let said = |session: &Session| format!("{doing} on {}", session.place());
        let until = match age {
            Age::New => deadline,
            Age::Old => deadline.min(Instant::now() + OLD_SESSION),
        };
        let opened = stage(until, said(&session), open(Arc::clone(&session))).await;
        let error = match opened {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(error)) | Err(error) => error,
        };
        if !error.is_end() {
            return Err(error);
        }
        self.forget(&session).await;
        match age {
            Age::New => Err(error),
            // It died unseen since it was last used.
            Age::Old => {
                let (session, _) = self.session(deadline).await?;
                stage(deadline, said(&session), open(Arc::clone(&session))).await?
            }
        }
    }

    /// The session: that one which is there, or a new one.
    async fn session(&self, deadline: Instant) -> Result<(Arc<Session>, Age), Error> {
        let mut slot = self.session.lock().await;
        if let Some(session) = slot.as_ref().filter(|session| !session.is_over()) {
            return Ok((Arc::clone(session), Age::Old));
        }
        *slot = None;
        let environment = self.environment.clone();
        let environment = environment.unwrap_or_else(Environment::of_this_process);
        let session = Session::open(&self.host, &environment, &self.words, deadline).await?;
        let session = Arc::new(session);
        *slot = Some(Arc::clone(&session));
        Ok((session, Age::New))
    }

    async fn forget(&self, session: &Arc<Session>) {
        let mut slot = self.session.lock().await;
        if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
            *slot = None;
        }
    }
}
