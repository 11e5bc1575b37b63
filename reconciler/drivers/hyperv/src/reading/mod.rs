//! What a host's rows say, as all hosts are told: pure functions of rows.

pub(crate) mod devices;
mod inside;
mod machines;
mod networks;

pub(crate) use inside::Inside;
pub use machines::{KnownFile, Reader, files, machines};
pub use networks::{Kind, networks};
