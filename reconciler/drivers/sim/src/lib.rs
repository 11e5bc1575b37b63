//! A stateful model of a hypervisor, with latency and faults.
//!
//! - [`SimHost`] is the host: made from [`Settings`], it keeps machines, networks and volumes in memory, lets
//!   guests boot as (tokio's) time passes, and is as strict as libvirt about misuse.
//! - [`SimDriver`] is the driver: [`SimDriver::in_memory`] on a `SimHost`, [`SimDriver::connect`] on the socket of
//!   a host that is a process of its own.
//! - `Server` is that process: its state is in a file and survives `kill -9`; `SimAdmin` is the way to play with it
//!   from outside (both on Unix alone).
//! - [`Fault`]s are ordered with [`SimHost::order`]: errors, lost requests and replies, duplicates, hangs, restarts,
//!   and crash points, which silence the caller so that a test can drop it as if it had been killed.
//! - [`SimHost::operations`] is the record of every call; [`ForeignHand`] is what others do to the host meanwhile.
//!
//! The same seed, settings and calls give the same run. There is no real time in it: pause tokio's clock and an
//! hour of guests passes at once.

#[cfg(unix)]
mod admin;
#[cfg(unix)]
mod client;
mod clock;
mod console;
mod core;
mod driver;
mod faults;
mod hex;
mod host;
mod link;
mod oplog;
mod passage;
mod random;
mod request;
#[cfg(unix)]
mod server;
mod settings;
mod state;
mod upload;
#[cfg(unix)]
mod wire;

#[cfg(unix)]
pub use admin::SimAdmin;
pub use driver::SimDriver;
pub use faults::{Edge, Failure, Fault, FaultKind, Trigger};
pub use host::SimHost;
pub use oplog::{Operation, Outcome};
pub use request::Verb;
#[cfg(unix)]
pub use server::{ServeError, ServeOptions, Server};
pub use settings::{BootMedium, GuestFault, GuestSettings, Ids, Latency, PoolSettings, Settings};
pub use state::ForeignHand;
