//! What any hypervisor must answer: the driver trait, the marks it keeps, what it shows.
//!
//! - [`Driver`] is the trait: one bulk read ([`Driver::snapshot`]) and idempotent verbs. Its contract stands on
//!   each call.
//! - [`mark::Mark`] is what an object of ours carries on the host; no mark, not ours.
//! - [`observed`] is what a snapshot holds, [`spec`] what a verb is asked for: everything in it is decided.
//! - [`DriverError`] tells apart what a caller must treat differently: missing, refused, unreachable, and "the
//!   reply was lost, it may have happened".
//! - `conformance` (a feature) is the suite that each driver runs in its own tests.
//!
//! A driver holds no policy: it retries no mutation and makes no choice of its own.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod console;
pub mod copy;
pub mod driver;
pub mod error;
pub mod guest;
pub mod hold;
pub mod ids;
pub mod lan;
pub mod mark;
pub mod moment;
pub mod observed;
pub mod screen;
pub mod spec;

pub use console::{Console, Entry, Heard, Keyboard};
pub use driver::{Driver, HostEvent, UploadStream, VolumeBytes};
pub use error::DriverError;
