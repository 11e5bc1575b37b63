//! The entries of an L2 table: where a cluster of the disk is.

use super::Qcow2Error;
use super::header::{Header, L2, u64_at};

/// Bits 9 to 55 of an entry: an offset in the file.
pub(super) const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
const ALL_ZEROS: u64 = 1;

/// Where a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cluster {
    /// Nowhere: all zeros.
    Zero,
    /// As it is, at an offset of the file.
    Plain(u64),
    /// Those of its 32 parts whose bits are set, as they are.
    Parts {
        /// Where the first part is or would be.
        at: u64,
        /// Which parts there are.
        present: u32,
    },
    /// Compressed: bytes of the file, the last of which may belong to something else.
    Packed {
        /// Where they begin.
        at: u64,
        /// How many there are at most.
        length: u64,
    },
}

impl Cluster {
    /// Reads the entry at `index` of an L2 table. `guest` is where the cluster is in the disk, for errors.
    pub(super) fn decode(table: &[u8], index: u64, header: &Header, guest: u64) -> Result<Self, Qcow2Error> {
        // Within the table, whose length is that of a cluster.
        let place = (index * header.l2_entry()) as usize;
        let entry = u64_at(table, place);
        if entry & COMPRESSED != 0 {
            let shift = 62 - (header.cluster_bits - 8);
            let at = entry & ((1 << shift) - 1);
            let sectors = (entry & (COMPRESSED - 1)) >> shift;
            return Ok(Self::Packed {
                at,
                length: (sectors + 1) * 512 - at % 512,
            });
        }
        let at = entry & OFFSET;
        if !at.is_multiple_of(header.cluster()) {
            return Err(Qcow2Error::Entry { guest });
        }
        match header.l2 {
            L2::Plain if entry & ALL_ZEROS != 0 => {
                if header.version == 2 {
                    // A feature of version 3.
                    return Err(Qcow2Error::Entry { guest });
                }
                Ok(Self::Zero)
            }
            L2::Plain => Ok(if at == 0 { Self::Zero } else { Self::Plain(at) }),
            L2::Extended => {
                let bitmap = u64_at(table, place + 8);
                let (present, zeros) = (bitmap as u32, (bitmap >> 32) as u32);
                if present & zeros != 0 || (at == 0 && present != 0) {
                    return Err(Qcow2Error::Entry { guest });
                }
                Ok(match present {
                    0 => Self::Zero,
                    u32::MAX => Self::Plain(at),
                    _ => Self::Parts { at, present },
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::Compression;
    use super::*;

    const PLAIN: Header = Header {
        version: 3,
        cluster_bits: 16,
        size: 1 << 30,
        l1_offset: 0,
        l1_entries: 2,
        compression: Compression::Deflate,
        l2: L2::Plain,
    };

    fn plain(entry: u64) -> Result<Cluster, Qcow2Error> {
        Cluster::decode(&entry.to_be_bytes(), 0, &PLAIN, 0)
    }

    fn extended(entry: u64, bitmap: u64) -> Result<Cluster, Qcow2Error> {
        let header = Header {
            l2: L2::Extended,
            ..PLAIN
        };
        let table = [[0; 8], [0; 8], entry.to_be_bytes(), bitmap.to_be_bytes()].concat();
        Cluster::decode(&table, 1, &header, 0)
    }

    #[test]
    fn plain_entries_are_read() {
        assert_eq!(plain(0).unwrap(), Cluster::Zero);
        assert_eq!(plain(1 << 63 | 0x5_0000).unwrap(), Cluster::Plain(0x5_0000));
        assert_eq!(plain(0x5_0001).unwrap(), Cluster::Zero);
        assert!(plain(0x5_0200).is_err());
        let old = Header { version: 2, ..PLAIN };
        assert!(Cluster::decode(&0x5_0001_u64.to_be_bytes(), 0, &old, 0).is_err());
    }

    #[test]
    fn a_compressed_entry_counts_sectors_from_the_one_it_begins_in() {
        // With clusters of 64 KiB the offset has 54 bits and the number of sectors 8.
        let entry = COMPRESSED | 3 << 54 | 0x1_0080;
        assert_eq!(
            plain(entry).unwrap(),
            Cluster::Packed {
                at: 0x1_0080,
                length: 4 * 512 - 0x80
            }
        );
        let most = plain(u64::MAX).unwrap();
        assert!(matches!(most, Cluster::Packed { length, .. } if length <= 2 * PLAIN.cluster()));
    }

    #[test]
    fn parts_of_clusters_are_there_or_zeros_and_never_both() {
        assert_eq!(extended(0, 0).unwrap(), Cluster::Zero);
        assert_eq!(extended(0, 0xffff << 32).unwrap(), Cluster::Zero);
        assert_eq!(
            extended(0x5_0000, 0xff).unwrap(),
            Cluster::Parts {
                at: 0x5_0000,
                present: 0xff
            }
        );
        assert_eq!(extended(0x5_0000, 0xffff_ffff).unwrap(), Cluster::Plain(0x5_0000));
        assert!(extended(0x5_0000, 1 << 32 | 1).is_err());
        assert!(extended(0, 1).is_err());
    }
}
