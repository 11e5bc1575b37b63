//! The header of a qcow2 file, as QEMU's docs/interop/qcow2.txt lays it out (all fields big-endian).

use super::{Detected, HeaderError, Inner, Layout, MAX_VIRTUAL_SIZE};

pub(super) const MAGIC: [u8; 4] = *b"QFI\xfb";

/// Length of a version 2 header, which version 3 begins with.
const V2_LENGTH: usize = 72;
/// Version 3 up to and including `header_length`.
const V3_LENGTH: usize = 104;
/// A backing file's name may stand anywhere in the first cluster; beyond this it is only reported as present.
const NAME_SHOWN_WITHIN: usize = 4096;

const DIRTY: u64 = 1 << 0;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;

/// QEMU itself refuses an L1 table over 32 MiB.
const MAX_L1_BYTES: u64 = 32 << 20;

/// What is kept of the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) virtual_size: u64,
    l1_end: u64,
}

pub(super) fn detect(prefix: &[u8], complete: bool) -> Result<Detected, HeaderError> {
    if prefix.len() < V2_LENGTH {
        return more(prefix, V2_LENGTH, complete);
    }
    let version = be32(prefix, 4);
    if !matches!(version, 2 | 3) {
        return Err(HeaderError::Version(version));
    }
    if version == 3 && prefix.len() < V3_LENGTH {
        return more(prefix, V3_LENGTH, complete);
    }
    let incompatible = if version == 3 { be64(prefix, 72) } else { 0 };
    check_features(incompatible)?;
    if be64(prefix, 8) != 0 {
        return backing_file(prefix, complete);
    }
    if be32(prefix, 32) != 0 {
        return Err(HeaderError::Encrypted);
    }
    let header = geometry(prefix, incompatible & EXTENDED_L2 != 0)?;
    if version == 3 {
        check_header_length(be32(prefix, 100))?;
    }
    Ok(Detected::Found(Layout(Inner::Qcow2(header))))
}

fn more(prefix: &[u8], needed: usize, complete: bool) -> Result<Detected, HeaderError> {
    if complete {
        Err(HeaderError::CutOff(prefix.len()))
    } else {
        Ok(Detected::NeedMore(needed))
    }
}

/// A dirty file (reference counts behind) is fine: its data is whole, and QEMU opens it as a base read-only.
fn check_features(bits: u64) -> Result<(), HeaderError> {
    if bits & CORRUPT != 0 {
        return Err(HeaderError::Corrupt);
    }
    if bits & EXTERNAL_DATA != 0 {
        return Err(HeaderError::ExternalDataFile);
    }
    match bits & !(DIRTY | COMPRESSION | EXTENDED_L2) {
        0 => Ok(()),
        unknown => Err(HeaderError::UnknownFeatures(unknown)),
    }
}

/// Refuses, with the name where it stands near enough to be worth reading.
fn backing_file(prefix: &[u8], complete: bool) -> Result<Detected, HeaderError> {
    let (offset, length) = (be64(prefix, 8), be32(prefix, 16) as usize);
    let end = usize::try_from(offset)
        .ok()
        .and_then(|offset| offset.checked_add(length.min(1023)));
    match end {
        Some(end) if end <= NAME_SHOWN_WITHIN && end > prefix.len() && !complete => {
            Ok(Detected::NeedMore(end))
        }
        Some(end) if end <= prefix.len() => {
            let name = String::from_utf8_lossy(&prefix[offset as usize..end]).into_owned();
            Err(HeaderError::BackingFile(name))
        }
        _ => Err(HeaderError::BackingFile("?".to_owned())),
    }
}

fn geometry(prefix: &[u8], extended_l2: bool) -> Result<Header, HeaderError> {
    let (cluster_bits, virtual_size) = (be32(prefix, 20), be64(prefix, 24));
    let (l1_size, l1_offset) = (u64::from(be32(prefix, 36)), be64(prefix, 40));
    if !(9..=21).contains(&cluster_bits) {
        return not_credible(format!(
            "clusters of 2^{cluster_bits} bytes (2^9 to 2^21 are possible)"
        ));
    }
    if virtual_size == 0 || virtual_size > MAX_VIRTUAL_SIZE {
        return not_credible(format!(
            "a virtual size of {virtual_size} bytes (1 to {MAX_VIRTUAL_SIZE} are taken)"
        ));
    }
    let cluster = 1u64 << cluster_bits;
    let covered_by_one = cluster * (cluster / if extended_l2 { 16 } else { 8 });
    if l1_size * 8 > MAX_L1_BYTES || l1_size < virtual_size.div_ceil(covered_by_one) {
        return not_credible(format!(
            "{l1_size} entries in the L1 table do not fit {virtual_size} bytes"
        ));
    }
    if l1_offset == 0 || l1_offset % cluster != 0 {
        return not_credible(format!("the L1 table at {l1_offset} is not at a cluster's begin"));
    }
    match l1_offset.checked_add(l1_size * 8) {
        Some(l1_end) => Ok(Header { virtual_size, l1_end }),
        None => not_credible(format!("the L1 table at {l1_offset} ends beyond any file")),
    }
}

fn check_header_length(length: u32) -> Result<(), HeaderError> {
    if (length as usize) < V3_LENGTH || !length.is_multiple_of(8) {
        return not_credible(format!("a header length of {length}"));
    }
    Ok(())
}

fn not_credible<T>(what: String) -> Result<T, HeaderError> {
    Err(HeaderError::NotCredible(what))
}

impl Header {
    /// A download that was cut off usually lost the tables behind the first clusters.
    pub(super) fn check_length(&self, length: u64) -> Result<(), HeaderError> {
        if self.l1_end > length {
            return Err(HeaderError::ShorterThanDescribed {
                needed: self.l1_end,
                length,
            });
        }
        Ok(())
    }
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4]
        .iter()
        .fold(0, |value, byte| value << 8 | u32::from(*byte))
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from(be32(bytes, at)) << 32 | u64::from(be32(bytes, at + 4))
}
