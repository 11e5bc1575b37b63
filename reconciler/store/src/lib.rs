//! What has to outlive a process: pools, codes, claims, operations and the log of all that changed.
//!
//! SQLite in a file, or PostgreSQL by URL: one set of migrations ([`migrations`]), one dialect that both understand,
//! one suite of tests. What a caller sees:
//!
//! - [`Location`] says where it is, [`SealingKey`] what opens its secrets ([`key`]: where that comes from), [`Store::open`] brings both together and
//!   its tables up to date.
//! - [`Store::write`] runs a piece of work in a transaction. All writers of all replicas go one after another (SQLite
//!   by its lock, PostgreSQL by the row that counts events), so that what a piece of work has read is still true when
//!   it writes; several pieces that wait share one commit, each in a savepoint of its own.
//! - [`Write::event`] appends to the log in the same transaction. A piece of work that changes something and logs
//!   nothing is refused ([`StoreError::Unlogged`]).
//! - [`Store::read`] sees one consistent state and holds up nobody.
//!
//! A piece of work is acknowledged when its commit is durable. Where a connection ends in the middle of a commit the
//! answer is [`StoreError::Unknown`]: callers repeat with the same idempotency key.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use labyard_store::{Location, SealingKey, Store, event::Event, event::Moment};
//! let directory = tempfile::tempdir().unwrap();
//! let location: Location = directory.path().join("labyard.db").to_str().unwrap().parse().unwrap();
//! let store = Store::open(&location, SealingKey::from_bytes([7; 32])).await.unwrap();
//! let logged = store
//!     .write(|write| write.event(&Event::new(Moment(0), "default", "operator", "noted", "this page")))
//!     .await
//!     .unwrap();
//! assert_eq!(logged.0, 1);
//! # });
//! ```

mod backend;
pub mod error;
pub mod event;
pub mod key;
pub mod location;
pub mod migrations;
pub mod seal;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod value;
mod worker;

pub use error::StoreError;
pub use location::Location;
pub use seal::{Sealed, SealingKey};
pub use store::{Read, Store, Write, back_up};
pub use value::{Row, Value};
