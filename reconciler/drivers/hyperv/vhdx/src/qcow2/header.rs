//! The header: what kind of image it is, and whether this reader can read it.

use super::Qcow2Error;

/// How much of a file is looked at for the header.
pub(super) const LENGTH: usize = 112;
/// QEMU's own limit: 4 million entries, with clusters of the usual size a disk of 2 PiB.
const MOST_L1: u32 = (32 << 20) / 8;

/// How compressed clusters are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Deflate,
    Zstd,
}

/// How much one entry of an L2 table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum L2 {
    /// Where a cluster is.
    Plain,
    /// And which of its 32 parts are there.
    Extended,
}

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) cluster_bits: u32,
    pub(super) size: u64,
    pub(super) l1_offset: u64,
    /// How many entries of the L1 table the disk's size needs.
    pub(super) l1_entries: u64,
    pub(super) compression: Compression,
    pub(super) l2: L2,
}

impl Header {
    /// Reads the first bytes of a file.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Qcow2Error> {
        if !bytes.starts_with(b"QFI\xfb") {
            return Err(Qcow2Error::NotQcow2);
        }
        let bytes = bytes
            .first_chunk::<72>()
            .map(|_| bytes)
            .ok_or(Qcow2Error::Short)?;
        let version = u32_at(bytes, 4);
        if !matches!(version, 2 | 3) {
            return Err(Qcow2Error::Version(version));
        }
        if u64_at(bytes, 8) != 0 {
            return Err(Qcow2Error::Backing);
        }
        if u32_at(bytes, 32) != 0 {
            return Err(Qcow2Error::Encrypted);
        }
        let (compression, l2) = if version == 2 {
            (Compression::Deflate, L2::Plain)
        } else {
            features(bytes)?
        };
        let cluster_bits = u32_at(bytes, 20);
        let smallest = match l2 {
            L2::Plain => 9,
            // A part of a cluster is a sector at least.
            L2::Extended => 14,
        };
        if !(smallest..=21).contains(&cluster_bits) {
            return Err(Qcow2Error::ClusterBits(cluster_bits));
        }
        let mut header = Self {
            version,
            cluster_bits,
            size: u64_at(bytes, 24),
            l1_offset: u64_at(bytes, 40),
            l1_entries: 0,
            compression,
            l2,
        };
        header.l1_entries = header.size.div_ceil(header.l2_span());
        let said = u32_at(bytes, 36);
        if said > MOST_L1 || u64::from(said) < header.l1_entries {
            return Err(Qcow2Error::L1Size {
                said,
                needed: header.l1_entries,
            });
        }
        Ok(header)
    }

    pub(super) fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// How many clusters an L2 table has entries for.
    pub(super) fn l2_entries(&self) -> u64 {
        self.cluster() / self.l2_entry()
    }

    /// The length of an entry.
    pub(super) fn l2_entry(&self) -> u64 {
        match self.l2 {
            L2::Plain => 8,
            L2::Extended => 16,
        }
    }

    /// How many bytes of the disk an L2 table is for.
    pub(super) fn l2_span(&self) -> u64 {
        self.l2_entries() << self.cluster_bits
    }
}

/// What version 3 adds, at 72 and on.
fn features(bytes: &[u8]) -> Result<(Compression, L2), Qcow2Error> {
    if bytes.len() < 104 {
        return Err(Qcow2Error::Short);
    }
    let length = u32_at(bytes, 100);
    if length < 104 {
        return Err(Qcow2Error::Short);
    }
    let incompatible = u64_at(bytes, 72);
    let has = |bit: u32| incompatible >> bit & 1 == 1;
    // Bit 0: reference counts may be wrong, which matters to nobody who only reads.
    if has(1) {
        return Err(Qcow2Error::Corrupt);
    }
    if has(2) {
        return Err(Qcow2Error::DataFile);
    }
    let unknown = incompatible >> 5;
    if unknown != 0 {
        return Err(Qcow2Error::Features(unknown << 5));
    }
    let kind = if length > 104 {
        *bytes.get(104).ok_or(Qcow2Error::Short)?
    } else {
        0
    };
    let compression = match (kind, has(3)) {
        (0, false) => Compression::Deflate,
        (1, true) => Compression::Zstd,
        (kind, _) => return Err(Qcow2Error::Compression(kind)),
    };
    Ok((compression, if has(4) { L2::Extended } else { L2::Plain }))
}

pub(super) fn u32_at(from: &[u8], at: usize) -> u32 {
    let mut array = [0; 4];
    array.copy_from_slice(&from[at..at + 4]);
    u32::from_be_bytes(array)
}

pub(super) fn u64_at(from: &[u8], at: usize) -> u64 {
    let mut array = [0; 8];
    array.copy_from_slice(&from[at..at + 8]);
    u64::from_be_bytes(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 3, clusters of 64 KiB, 10 GiB.
    fn header() -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        bytes[20..24].copy_from_slice(&16_u32.to_be_bytes());
        bytes[24..32].copy_from_slice(&(10_u64 << 30).to_be_bytes());
        bytes[36..40].copy_from_slice(&20_u32.to_be_bytes());
        bytes[40..48].copy_from_slice(&0x3_0000_u64.to_be_bytes());
        bytes[100..104].copy_from_slice(&112_u32.to_be_bytes());
        bytes
    }

    fn with(at: usize, change: &[u8]) -> Result<Header, Qcow2Error> {
        let mut bytes = header();
        bytes[at..at + change.len()].copy_from_slice(change);
        Header::decode(&bytes)
    }

    #[test]
    fn a_header_is_read() {
        let header = Header::decode(&header()).unwrap();
        assert_eq!(header.size, 10 << 30);
        assert_eq!(header.l1_entries, 20);
        assert_eq!(header.cluster(), 64 << 10);
        assert_eq!(header.compression, Compression::Deflate);
        assert_eq!(header.l2, L2::Plain);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_reason() {
        use Qcow2Error::*;
        assert!(matches!(with(0, b"qfi"), Err(NotQcow2)));
        assert!(matches!(with(4, &[0, 0, 0, 1]), Err(Version(1))));
        assert!(matches!(with(15, &[200]), Err(Backing)));
        assert!(matches!(with(35, &[2]), Err(Encrypted)));
        assert!(matches!(with(79, &[2]), Err(Corrupt)));
        assert!(matches!(with(79, &[4]), Err(DataFile)));
        assert!(matches!(with(79, &[0x40]), Err(Features(0x40))));
        assert!(matches!(with(72, &[0x80]), Err(Features(_))));
        assert!(matches!(with(103, &[72]), Err(Short)));
        for length in 4..104 {
            assert!(
                matches!(Header::decode(&header()[..length]), Err(Short)),
                "{length}"
            );
        }
    }

    #[test]
    fn a_compression_and_its_feature_go_together() {
        let both = |kind, feature| {
            let mut bytes = header();
            bytes[104] = kind;
            bytes[79] = feature;
            Header::decode(&bytes)
        };
        assert_eq!(both(1, 8).unwrap().compression, Compression::Zstd);
        assert!(matches!(both(1, 0), Err(Qcow2Error::Compression(1))));
        assert!(matches!(both(0, 8), Err(Qcow2Error::Compression(0))));
        assert!(matches!(both(7, 8), Err(Qcow2Error::Compression(7))));
    }

    #[test]
    fn sizes_that_no_image_has_are_refused() {
        for bits in [0, 8, 22, u32::MAX] {
            assert!(matches!(
                with(20, &bits.to_be_bytes()),
                Err(Qcow2Error::ClusterBits(_))
            ));
        }
        for entries in [0, 19, MOST_L1 + 1, u32::MAX] {
            assert!(matches!(
                with(36, &entries.to_be_bytes()),
                Err(Qcow2Error::L1Size { .. })
            ));
        }
        assert!(matches!(
            with(24, &u64::MAX.to_be_bytes()),
            Err(Qcow2Error::L1Size { .. })
        ));
    }
}
