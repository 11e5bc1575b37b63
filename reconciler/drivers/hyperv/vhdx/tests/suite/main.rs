//! The crate against QEMU: what it writes QEMU reads, and what QEMU writes it reads.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(feature = "differencing")]
mod differencing;
mod images;
mod place;
mod reading;
mod writing;
