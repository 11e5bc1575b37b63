//! One hook asked until it answers: attempts, pauses, time. What fails for good fails at once; a network that
//! stumbles and a server that is busy are asked again, a bounded number of times.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{sleep, timeout};

use super::call_command::Commands;
use super::call_url::Urls;
use super::request::Request;
use super::{Hook, Target};

/// The first pause before another attempt; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// The most that an answer may have.
pub(super) const MOST: usize = 64 * 1024;

/// Why no answer was had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another attempt may succeed.
    Passing(String),
    /// It would fail again.
    Lasting(String),
}

impl Failure {
    /// What went wrong.
    pub fn why(&self) -> &str {
        match self {
            Self::Passing(why) | Self::Lasting(why) => why,
        }
    }
}

/// Asks a hook once.
#[async_trait]
pub trait Call: Send + Sync {
    /// Its answer's bytes. The caller bounds the time; dropped, the call ends.
    async fn call(&self, hook: &Hook, request: &Request) -> Result<Vec<u8>, Failure>;
}

/// Servers and programs.
#[derive(Debug, Default)]
pub struct Outside {
    urls: Urls,
    commands: Commands,
}

#[async_trait]
impl Call for Outside {
    async fn call(&self, hook: &Hook, request: &Request) -> Result<Vec<u8>, Failure> {
        let body = serde_json::to_vec(request).map_err(|error| Failure::Lasting(error.to_string()))?;
        match &hook.target {
            Target::Url { url, key } => self.urls.post(url, key.as_ref(), request, body).await,
            Target::Command(command) => self.commands.run(command, body).await,
        }
    }
}

/// Asks until there is an answer or no attempt is left; counts on in the request's `attempt`.
pub(super) async fn answered(
    caller: &dyn Call,
    hook: &Hook,
    request: &mut Request,
) -> Result<Vec<u8>, Failure> {
    let mut pause = PAUSE;
    let last = request.attempt + hook.retries;
    loop {
        let once = timeout(hook.timeout, caller.call(hook, request)).await;
        let failure = match once {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failure)) => failure,
            Err(_) => timed_out(hook),
        };
        match failure {
            Failure::Passing(why) if request.attempt < last => {
                tracing::warn!(hook = %request.idempotency_key, attempt = request.attempt, why, "asking the hook again");
            }
            failure => return Err(failure),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        request.attempt += 1;
    }
}

/// A server may have been slow for a moment; a program that hung was killed, and would hang again.
fn timed_out(hook: &Hook) -> Failure {
    let why = format!("it did not answer within {:?}", hook.timeout);
    match hook.target {
        Target::Url { .. } => Failure::Passing(why),
        Target::Command(_) => Failure::Lasting(format!("{why} and was killed with all that it had started")),
    }
}
