//! Disk images: from what `image.source` says to a stream that a host can be given without fear.
//!
//! libvirt dies when an upload goes wrong, so everything that can go wrong is found here instead: a stream that
//! leaves this module has a known length, a header that was understood, never a byte more than promised, and
//! its last bytes are held back until the source has ended where it should and the digest is the expected one.
//! Who has received `length` bytes has a complete and verified image; no image is ever whole in memory.
//!
//! The path of an image: [`source`] parses what the user wrote, [`fetch`] opens it, [`spool`] gives a length to
//! a source that has none, [`header`] reads format and virtual size, [`exact`] guards length and digest.

pub mod digest;
pub mod error;
pub mod exact;
pub mod fetch;
pub mod header;
mod open;
mod pace;
mod reach;
pub mod single_flight;
pub mod source;
mod spool;
#[cfg(test)]
mod testing;

pub use digest::{DigestSlot, Sha256Digest};
pub use error::{Fault, ImageError};
pub use exact::ImageStream;
pub use header::{ImageFormat, ImageHeader};
pub use open::{Fetcher, Limits, OpenImage, Options, Proxies};
pub use reach::Reach;
pub use single_flight::SingleFlight;
pub use source::{HostPath, ImageName, ImageSource, KeptSource, Revision, StreamedSource};
