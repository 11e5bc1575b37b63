//! An authenticated SSH session with a host, and channels in it. It knows nothing of what goes through them.
//!
//! Who is over there is checked by `known_hosts`, always; whoever asks is let in by a key of the agent or of a file;
//! what is left out is told by `~/.ssh/config`. No program runs here, nor over there unless it is asked for.
//!
//! | file | what |
//! |---|---|
//! | `host`, `words` | which host; how errors name what was asked for |
//! | `config`, `pattern` | what `ssh_config` says of it |
//! | `known_hosts`, `introduction` | which keys it is known by; how one that is not becomes known |
//! | `auth` | letting the user in |
//! | `dial`, `session` | TCP, jump hosts and the handshake; channels |
//! | `shared` | one session for all who need one, made anew when it died: [`Ssh`] |
//! | `stream` | a channel as bytes in both directions |
//! | `error` | why it did not come about |
//!
//! ```no_run
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use labyard_ssh::{Ssh, There, Words};
//! use tokio::time::Instant;
//!
//! const WORDS: Words = Words {
//!     host: "its name",
//!     user: "name it as `user`",
//!     key_file: "`key_file`",
//!     known_hosts: "`known_hosts`",
//!     there: There::Unix,
//! };
//!
//! let ssh = Ssh::new("admin@lab".parse()?, WORDS);
//! let deadline = Instant::now() + Duration::from_secs(10);
//! let files = ssh.open(deadline, "opening SFTP", |session| async move { session.subsystem("sftp").await }).await?;
//! # drop(files);
//! # Ok(())
//! # }
//! ```

mod auth;
mod config;
mod dial;
mod error;
mod host;
mod introduction;
mod known_hosts;
mod pattern;
mod session;
mod shared;
mod stream;
#[cfg(test)]
mod testing;
mod words;

pub use config::Environment;
pub use error::{ChangedHost, Error, UnknownHost};
pub use host::{BadHost, Host, percent_decoded};
pub use session::{Refusal, Session, Unopened};
pub use shared::Ssh;
pub use stream::Stream;
pub use words::{There, Words};
