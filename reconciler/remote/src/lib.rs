//! A daemon as an engine: what the provider asks of its own hosts where it has some, it asks of the daemon's over the API
//! ([`labyard_api`]).
//!
//! - [`daemon`]: the way to a daemon, and what is agreed with it before anything else.
//! - [`engine`]: the engine itself; `follow`: a change as an operation of the daemon; `images`: captured images as
//!   both say them; `uploads`: images of this computer.

pub mod daemon;
pub mod engine;
mod follow;
mod images;
mod uploads;

pub use daemon::{Daemon, NotOpened, Reach};
pub use engine::RemoteEngine;
