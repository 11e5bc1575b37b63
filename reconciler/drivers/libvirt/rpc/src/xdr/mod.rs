//! XDR (RFC 4506), as much of it as libvirt's protocol uses: big-endian words, padding to four bytes.
//!
//! Encoding refuses what the peer would refuse, before anything is sent. Decoding is total: any input gives a
//! value or an error, and no input makes it allocate more than a small multiple of its own length.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::{Decode, DecodeError, Decoder};
pub use encode::{Encode, EncodeError, Encoder};

/// The longest string that libvirt accepts (`REMOTE_STRING_MAX`).
pub const STRING_MAX: usize = 4 * 1024 * 1024;

/// The most elements that any list of the protocol may have (`REMOTE_CONNECT_GET_ALL_DOMAIN_STATS_MAX`).
pub const LIST_MAX: usize = 262_144;

/// How many bytes of padding follow an item of that length.
const fn padding(length: usize) -> usize {
    (4 - length % 4) % 4
}
