//! The region table: where BAT and metadata are ([MS-VHDX] 2.2.3).

use uuid::{Uuid, uuid};

use super::{is_sealed, put, seal, u32_at, u64_at, uuid_at};
use crate::disk::MIB;

pub(crate) const OFFSETS: [u64; 2] = [192 << 10, 256 << 10];
pub(crate) const LENGTH: usize = 64 << 10;

const SIGNATURE: &[u8; 4] = b"regi";
const BAT: Uuid = uuid!("2dc27766-f623-4200-9d64-115e9bfd4a08");
const METADATA: Uuid = uuid!("8b7ca206-4790-4b9a-b8fe-575f050f886e");
const MOST_ENTRIES: u32 = 2047;

/// A stretch of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

/// Where the two regions are that every file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Regions {
    pub(crate) bat: Region,
    pub(crate) metadata: Region,
}

/// What is wrong with a region table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegionError {
    /// Neither copy is as it was written.
    #[error("both copies of the region table are damaged")]
    Damaged,
    /// More than there is room for.
    #[error("the region table says that it has {0} entries, and {MOST_ENTRIES} is the most there can be")]
    Entries(u32),
    /// A region that this reader does not know and that must be known.
    #[error("the file has a region {0} that must be understood, and is not")]
    Unknown(Uuid),
    /// A region is missing.
    #[error("the file has no {0} region")]
    Missing(&'static str),
    /// A region comes twice.
    #[error("the file has two regions {0}")]
    Twice(Uuid),
    /// A region is where none can be.
    #[error(
        "the region {id} is said to be {length} bytes at offset {offset}: regions are at whole MiB after the first one"
    )]
    Place {
        /// Which.
        id: Uuid,
        /// Where.
        offset: u64,
        /// How long.
        length: u32,
    },
    /// Two regions are in the same place.
    #[error("regions of the file lie on each other at offset {0}")]
    Overlap(u64),
}

impl Region {
    fn end(self) -> u64 {
        self.offset.saturating_add(self.length.into())
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.offset < other.end() && other.offset < self.end()
    }

    pub(crate) fn is_aligned(self) -> bool {
        self.offset >= MIB
            && self.offset.is_multiple_of(MIB)
            && self.length > 0
            && u64::from(self.length).is_multiple_of(MIB)
            && self.offset.checked_add(self.length.into()).is_some()
    }
}

impl Regions {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; LENGTH];
        put(&mut bytes, 0, SIGNATURE);
        put(&mut bytes, 8, &2_u32.to_le_bytes());
        for (index, (id, region)) in [(BAT, self.bat), (METADATA, self.metadata)]
            .into_iter()
            .enumerate()
        {
            let at = 16 + 32 * index;
            put(&mut bytes, at, &id.to_bytes_le());
            put(&mut bytes, at + 16, &region.offset.to_le_bytes());
            put(&mut bytes, at + 24, &region.length.to_le_bytes());
            put(&mut bytes, at + 28, &1_u32.to_le_bytes());
        }
        seal(&mut bytes);
        bytes
    }

    /// Reads the first copy that is as it was written. `log` is where the headers say the log is: no region may lie on it.
    pub(crate) fn decode(copies: [&[u8]; 2], log: Option<Region>) -> Result<Self, RegionError> {
        let bytes = copies
            .into_iter()
            .find(|copy| copy.len() == LENGTH && is_sealed(copy, SIGNATURE))
            .ok_or(RegionError::Damaged)?;
        let count = u32_at(bytes, 8);
        if count > MOST_ENTRIES {
            return Err(RegionError::Entries(count));
        }
        let mut taken: Vec<Region> = log.into_iter().collect();
        let (mut bat, mut metadata) = (None, None);
        for entry in bytes[16..].as_chunks::<32>().0.iter().take(count as usize) {
            let id = uuid_at(entry, 0);
            let region = Region {
                offset: u64_at(entry, 16),
                length: u32_at(entry, 24),
            };
            if !region.is_aligned() {
                return Err(RegionError::Place {
                    id,
                    offset: region.offset,
                    length: region.length,
                });
            }
            if taken.iter().any(|other| other.overlaps(region)) {
                return Err(RegionError::Overlap(region.offset));
            }
            taken.push(region);
            let place = match id {
                BAT => &mut bat,
                METADATA => &mut metadata,
                _ if u32_at(entry, 28) & 1 == 1 => return Err(RegionError::Unknown(id)),
                _ => continue,
            };
            if place.replace(region).is_some() {
                return Err(RegionError::Twice(id));
            }
        }
        Ok(Self {
            bat: bat.ok_or(RegionError::Missing("BAT"))?,
            metadata: metadata.ok_or(RegionError::Missing("metadata"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGIONS: Regions = Regions {
        bat: Region {
            offset: 3 << 20,
            length: 1 << 20,
        },
        metadata: Region {
            offset: 2 << 20,
            length: 1 << 20,
        },
    };

    fn read(bytes: &[u8]) -> Result<Regions, RegionError> {
        Regions::decode([bytes, bytes], None)
    }

    fn with(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let mut bytes = REGIONS.encode();
        change(&mut bytes);
        seal(&mut bytes);
        bytes
    }

    #[test]
    fn either_copy_is_enough() {
        let good = REGIONS.encode();
        let torn = vec![0; LENGTH];
        assert_eq!(Regions::decode([&good, &torn], None), Ok(REGIONS));
        assert_eq!(Regions::decode([&torn, &good], None), Ok(REGIONS));
        assert_eq!(Regions::decode([&torn, &torn], None), Err(RegionError::Damaged));
    }

    #[test]
    fn regions_that_cannot_be_are_refused() {
        let more = with(|bytes| put(bytes, 8, &2048_u32.to_le_bytes()));
        assert_eq!(read(&more), Err(RegionError::Entries(2048)));
        let none = with(|bytes| put(bytes, 8, &0_u32.to_le_bytes()));
        assert_eq!(read(&none), Err(RegionError::Missing("BAT")));
        let odd = with(|bytes| put(bytes, 32, &(3_u64 << 20 | 512).to_le_bytes()));
        assert!(matches!(read(&odd), Err(RegionError::Place { .. })));
        let first = with(|bytes| put(bytes, 32, &0_u64.to_le_bytes()));
        assert!(matches!(read(&first), Err(RegionError::Place { .. })));
        let far = with(|bytes| put(bytes, 32, &(u64::MAX << 20).to_le_bytes()));
        assert!(matches!(read(&far), Err(RegionError::Place { .. })));
        let same = with(|bytes| put(bytes, 32, &(2_u64 << 20).to_le_bytes()));
        assert_eq!(read(&same), Err(RegionError::Overlap(2 << 20)));
        let log = Region {
            offset: 2 << 20,
            length: 1 << 20,
        };
        let table = REGIONS.encode();
        assert_eq!(
            Regions::decode([&table, &table], Some(log)),
            Err(RegionError::Overlap(2 << 20))
        );
    }

    #[test]
    fn an_unknown_region_is_passed_over_unless_it_must_be_understood() {
        let third = |required: u32| {
            with(|bytes| {
                put(bytes, 8, &3_u32.to_le_bytes());
                put(bytes, 80, &Uuid::from_u128(7).to_bytes_le());
                put(bytes, 96, &(9_u64 << 20).to_le_bytes());
                put(bytes, 104, &(1_u32 << 20).to_le_bytes());
                put(bytes, 108, &required.to_le_bytes());
            })
        };
        assert_eq!(read(&third(0)), Ok(REGIONS));
        assert_eq!(read(&third(1)), Err(RegionError::Unknown(Uuid::from_u128(7))));
    }
}
