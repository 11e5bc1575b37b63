//! Through SSH: each connection is a channel of one session with the host, to the host's own listener. So neither of the
//! service's ports has to be open to anybody, and the session lets in by a key.
//!
//! What goes through it is what would go without it: HTTP to 5985 or HTTPS to 5986, as the endpoint says. Also within SSH
//! a service wants HTTP sealed, unless somebody has set `AllowUnencrypted`.
//!
//! ```no_run
//! # fn f(words: labyard_ssh::Words) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use labyard_ssh::Ssh;
//! use wsman::http::{Account, Http, Login, Settings, ThroughSsh};
//!
//! let ssh = Arc::new(Ssh::new("admin@hv7".parse()?, words));
//! let http = Http::new(Settings {
//!     dial: Arc::new(ThroughSsh::new(Arc::clone(&ssh))),
//!     ..Settings::new("http://hv7".parse()?, Login::Negotiate(Account::new("op", "secret")))
//! })?;
//! // Files go through the same session: `ssh.open(…, |session| async move { session.subsystem("sftp").await })`.
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use labyard_resolve::place;
use labyard_ssh::{Error, Session, Ssh};
use tokio::time::Instant;

use super::dial::{Dial, Stream};
use super::walk::{Part, Walk};
use crate::trouble::Trouble;

/// Channels of an SSH session, instead of connections of our own.
#[derive(Clone, Debug)]
pub struct ThroughSsh {
    ssh: Arc<Ssh>,
    to: String,
}

impl ThroughSsh {
    /// To the listener of the host that the session is with. The endpoint's host is not connected to: it is the name that
    /// the service's certificate has to have, and that a login is for.
    pub fn new(ssh: Arc<Ssh>) -> Self {
        Self {
            ssh,
            to: "127.0.0.1".to_owned(),
        }
    }

    /// To another host, by its name as it is known over there.
    #[must_use]
    pub fn to(self, host: impl Into<String>) -> Self {
        Self {
            to: host.into(),
            ..self
        }
    }

    /// What others may use, too: one session serves all.
    pub fn ssh(&self) -> &Arc<Ssh> {
        &self.ssh
    }
}

impl ThroughSsh {
    async fn channel(&self, port: u16, deadline: Instant) -> Result<Box<dyn Stream>, Trouble> {
        let channel = |session: Arc<Session>| async move { session.tcp(&self.to, port).await };
        match self.ssh.open(deadline, "opening a channel", channel).await {
            Ok(stream) => Ok(Box::new(stream)),
            // SSH is well, and the service is not there.
            Err(Error::NotForwarded { place, to, said }) => Err(Trouble::Unreachable {
                place: format!("{to} on {place}"),
                reason: said,
            }),
            Err(error) => Err(Trouble::Ssh(error)),
        }
    }
}

#[async_trait]
impl Dial for ThroughSsh {
    async fn dial(&self, _host: &str, port: u16, deadline: Instant) -> Result<Box<dyn Stream>, Trouble> {
        self.channel(port, deadline).await
    }

    async fn walk(&self, _host: &str, port: u16, deadline: Instant) -> Walk {
        let mut walk = Walk::default();
        let login = async {
            let session = self
                .ssh
                .open(deadline, "logging in", |session| async move { Ok(session) });
            session.await.map_err(Trouble::Ssh)
        };
        let who = |session: &Arc<Session>| format!("{}@{}", session.user(), session.place());
        let part = Part::Ssh(self.ssh.host().host.clone());
        if walk.step(part, login, who).await.is_none() {
            return walk;
        }
        let part = Part::Channel(place(&self.to, port));
        walk.stream = walk
            .step(part, self.channel(port, deadline), |_| String::new())
            .await;
        walk
    }
}
