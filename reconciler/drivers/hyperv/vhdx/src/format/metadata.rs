//! The metadata: what the disk is ([MS-VHDX] 2.6).

use std::collections::BTreeMap;

use uuid::{Uuid, uuid};

use super::locator::{LocatorError, Parent};
use super::{put, u16_at, u32_at, u64_at, uuid_at};
use crate::disk::{BlockSize, LARGEST, SectorSize};

/// The table's length; the items come after it.
pub(crate) const TABLE: usize = 64 << 10;
/// More than any item of a disk can need: the longest is a parent locator of four texts.
const LONGEST_ITEM: u32 = 1 << 20;
const MOST_ENTRIES: u16 = 2047;
const SIGNATURE: &[u8; 8] = b"metadata";

const FILE_PARAMETERS: Uuid = uuid!("caa16737-fa36-4d43-b3b6-33f0aa44e76b");
const VIRTUAL_SIZE: Uuid = uuid!("2fa54224-cd1b-4876-b211-5dbed83bf4b8");
const DISK_ID: Uuid = uuid!("beca12ab-b2e6-4523-93ef-c309e000c746");
const LOGICAL_SECTOR: Uuid = uuid!("8141bf1d-a96f-4709-ba47-f233a8faab5f");
const PHYSICAL_SECTOR: Uuid = uuid!("cda348c7-445d-4471-9cc9-e9885251c556");
const PARENT: Uuid = uuid!("a8d35f2d-b30b-454d-abf7-d3d84834ab0c");

const IS_USER: u32 = 1;
const IS_VIRTUAL_DISK: u32 = 2;
const IS_REQUIRED: u32 = 4;

const LEAVE_ALLOCATED: u32 = 1;
const HAS_PARENT: u32 = 2;

/// How a disk keeps its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All blocks were there from the start.
    Fixed,
    /// Blocks come as they are written.
    Dynamic,
    /// It holds what differs from its parent.
    Differencing,
}

/// What the metadata say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) block: BlockSize,
    pub(crate) logical: SectorSize,
    pub(crate) physical: SectorSize,
    pub(crate) disk: Uuid,
    pub(crate) parent: Option<Parent>,
}

/// What is wrong with the metadata.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// No table.
    #[error("the metadata table does not start as one")]
    Table,
    /// More than there is room for.
    #[error("the metadata table says that it has {0} entries, and {MOST_ENTRIES} is the most there can be")]
    Entries(u16),
    /// An item that this reader does not know and that must be known.
    #[error("the file has metadata {0} that must be understood, and are not")]
    Unknown(Uuid),
    /// An item comes twice.
    #[error("the file has metadata {0} twice")]
    Twice(Uuid),
    /// An item is missing.
    #[error("the file does not say its {0}")]
    Missing(&'static str),
    /// An item is where none can be.
    #[error("metadata {id} are said to be {length} bytes at offset {offset} of their region")]
    Place {
        /// Which.
        id: Uuid,
        /// Where.
        offset: u32,
        /// How long.
        length: u32,
    },
    /// A value is none.
    #[error("the file says that its {what} is {value}")]
    Value {
        /// Of what.
        what: &'static str,
        /// What is said.
        value: u64,
    },
    /// The parent cannot be told.
    #[error(transparent)]
    Parent(#[from] LocatorError),
}

/// Where the items are that this crate knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index(BTreeMap<Uuid, Item>);

/// Where an item is in the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

impl Index {
    /// Reads the table, of a region of that length.
    pub(crate) fn decode(table: &[u8], region: u32) -> Result<Self, MetadataError> {
        if table.len() != TABLE || !table.starts_with(SIGNATURE) {
            return Err(MetadataError::Table);
        }
        let count = u16_at(table, 10);
        if count > MOST_ENTRIES {
            return Err(MetadataError::Entries(count));
        }
        let mut items = BTreeMap::new();
        for entry in table[32..].as_chunks::<32>().0.iter().take(count.into()) {
            let id = uuid_at(entry, 0);
            let item = Item {
                offset: u32_at(entry, 16),
                length: u32_at(entry, 20),
            };
            let flags = u32_at(entry, 24);
            let known = [
                FILE_PARAMETERS,
                VIRTUAL_SIZE,
                DISK_ID,
                LOGICAL_SECTOR,
                PHYSICAL_SECTOR,
                PARENT,
            ]
            .contains(&id);
            if flags & IS_USER != 0 || !known {
                if flags & IS_REQUIRED != 0 {
                    return Err(MetadataError::Unknown(id));
                }
                continue;
            }
            let end = item.offset.checked_add(item.length);
            if (item.offset as usize) < TABLE
                || item.length > LONGEST_ITEM
                || end.is_none_or(|end| end > region)
            {
                return Err(MetadataError::Place {
                    id,
                    offset: item.offset,
                    length: item.length,
                });
            }
            if items.insert(id, item).is_some() {
                return Err(MetadataError::Twice(id));
            }
        }
        Ok(Self(items))
    }

    /// Where the items are.
    pub(crate) fn items(&self) -> impl Iterator<Item = (Uuid, Item)> {
        self.0.iter().map(|(id, item)| (*id, *item))
    }
}

impl Metadata {
    /// Reads what the items say.
    pub(crate) fn decode(items: &BTreeMap<Uuid, bytes::Bytes>) -> Result<Self, MetadataError> {
        let parameters = number(items, FILE_PARAMETERS, "block size")?;
        let (block, flags) = (parameters as u32, (parameters >> 32) as u32);
        let size = number(items, VIRTUAL_SIZE, "size")?;
        let logical = sector(items, LOGICAL_SECTOR, "logical sector size")?;
        let physical = sector(items, PHYSICAL_SECTOR, "physical sector size")?;
        let disk = items
            .get(&DISK_ID)
            .filter(|item| item.len() == 16)
            .ok_or(MetadataError::Missing("disk identifier"))?;
        let kind = match flags {
            _ if flags & HAS_PARENT != 0 => Kind::Differencing,
            _ if flags & LEAVE_ALLOCATED != 0 => Kind::Fixed,
            _ => Kind::Dynamic,
        };
        if size == 0 || size > LARGEST || !size.is_multiple_of(logical.bytes().into()) {
            return Err(MetadataError::Value {
                what: "size",
                value: size,
            });
        }
        let parent = match (kind, items.get(&PARENT)) {
            (Kind::Differencing, Some(item)) => Some(Parent::decode(item)?),
            (Kind::Differencing, None) => return Err(MetadataError::Missing("parent")),
            _ => None,
        };
        Ok(Self {
            kind,
            size,
            block: BlockSize::new(block).map_err(|_| MetadataError::Value {
                what: "block size",
                value: block.into(),
            })?,
            logical,
            physical,
            disk: uuid_at(disk, 0),
            parent,
        })
    }

    /// The start of the region: the table and the items. `locator` is the parent's, encoded.
    pub(crate) fn encode(&self, locator: Option<&[u8]>) -> Vec<u8> {
        let flags = match self.kind {
            Kind::Fixed => LEAVE_ALLOCATED,
            Kind::Dynamic => 0,
            Kind::Differencing => HAS_PARENT,
        };
        let parameters = u64::from(flags) << 32 | u64::from(self.block.bytes());
        let disk = IS_VIRTUAL_DISK | IS_REQUIRED;
        let mut items = vec![
            (FILE_PARAMETERS, IS_REQUIRED, parameters.to_le_bytes().to_vec()),
            (VIRTUAL_SIZE, disk, self.size.to_le_bytes().to_vec()),
            (DISK_ID, disk, self.disk.to_bytes_le().to_vec()),
            (LOGICAL_SECTOR, disk, self.logical.bytes().to_le_bytes().to_vec()),
            (
                PHYSICAL_SECTOR,
                disk,
                self.physical.bytes().to_le_bytes().to_vec(),
            ),
        ];
        if let Some(locator) = locator {
            items.push((PARENT, IS_REQUIRED, locator.to_vec()));
        }
        let mut bytes = vec![0; TABLE];
        put(&mut bytes, 0, SIGNATURE);
        put(&mut bytes, 10, &(items.len() as u16).to_le_bytes());
        for (index, (id, flags, item)) in items.iter().enumerate() {
            let at = 32 + 32 * index;
            put(&mut bytes, at, &id.to_bytes_le());
            let offset = bytes.len() as u32;
            put(&mut bytes, at + 16, &offset.to_le_bytes());
            put(&mut bytes, at + 20, &(item.len() as u32).to_le_bytes());
            put(&mut bytes, at + 24, &flags.to_le_bytes());
            bytes.extend_from_slice(item);
        }
        bytes
    }
}

/// An item that is a number, of 4 bytes or of 8.
fn number(items: &BTreeMap<Uuid, bytes::Bytes>, id: Uuid, what: &'static str) -> Result<u64, MetadataError> {
    let item = items.get(&id).ok_or(MetadataError::Missing(what))?;
    match item.len() {
        4 => Ok(u32_at(item, 0).into()),
        8 => Ok(u64_at(item, 0)),
        _ => Err(MetadataError::Missing(what)),
    }
}

fn sector(
    items: &BTreeMap<Uuid, bytes::Bytes>,
    id: Uuid,
    what: &'static str,
) -> Result<SectorSize, MetadataError> {
    let value = number(items, id, what)?;
    u32::try_from(value)
        .ok()
        .and_then(SectorSize::from_bytes)
        .ok_or(MetadataError::Value { what, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn metadata(kind: Kind) -> Metadata {
        Metadata {
            kind,
            size: 10 << 30,
            block: BlockSize::HYPER_V,
            logical: SectorSize::B512,
            physical: SectorSize::B4096,
            disk: Uuid::from_u128(3),
            parent: None,
        }
    }

    fn read(region: &[u8]) -> Result<Metadata, MetadataError> {
        let index = Index::decode(&region[..TABLE], 1 << 20)?;
        let items = index
            .items()
            .map(|(id, item)| {
                let from = item.offset as usize;
                let to = (from + item.length as usize).min(region.len());
                (id, Bytes::copy_from_slice(&region[from.min(to)..to]))
            })
            .collect();
        Metadata::decode(&items)
    }

    #[test]
    fn metadata_are_read_back() {
        for kind in [Kind::Fixed, Kind::Dynamic] {
            assert_eq!(read(&metadata(kind).encode(None)), Ok(metadata(kind)));
        }
        let parent = Parent {
            linkage: Uuid::from_u128(5),
            relative_path: Some(".\\base.vhdx".to_owned()),
            volume_path: None,
            absolute_win32_path: None,
        };
        let locator = parent.encode().unwrap();
        let child = Metadata {
            parent: Some(parent),
            ..metadata(Kind::Differencing)
        };
        assert_eq!(read(&child.encode(Some(&locator))), Ok(child));
        assert_eq!(
            read(&metadata(Kind::Differencing).encode(None)),
            Err(MetadataError::Missing("parent"))
        );
    }

    #[test]
    fn values_that_no_disk_has_are_refused() {
        // The items come in the order of the table: parameters, size, identifier, sectors.
        for (at, bytes) in [
            (TABLE, &(3_u32 << 20).to_le_bytes()[..]),
            (TABLE + 8, &0_u64.to_le_bytes()),
            (TABLE + 8, &(LARGEST + 512).to_le_bytes()),
            (TABLE + 8, &1000_u64.to_le_bytes()),
            (TABLE + 32, &520_u32.to_le_bytes()),
            (TABLE + 36, &0_u32.to_le_bytes()),
        ] {
            let mut region = metadata(Kind::Dynamic).encode(None);
            put(&mut region, at, bytes);
            assert!(
                matches!(read(&region), Err(MetadataError::Value { .. })),
                "{at} {bytes:?}"
            );
        }
    }

    #[test]
    fn items_out_of_place_twice_or_unknown_are_refused() {
        let with = |at: usize, bytes: &[u8]| {
            let mut region = metadata(Kind::Dynamic).encode(None);
            put(&mut region, at, bytes);
            read(&region).unwrap_err()
        };
        assert_eq!(with(0, b"METADATA"), MetadataError::Table);
        assert_eq!(with(10, &2048_u16.to_le_bytes()), MetadataError::Entries(2048));
        for offset in [0, TABLE as u32 - 1, 1 << 20, u32::MAX] {
            assert!(matches!(
                with(48, &offset.to_le_bytes()),
                MetadataError::Place { .. }
            ));
        }
        assert!(matches!(
            with(52, &u32::MAX.to_le_bytes()),
            MetadataError::Place { .. }
        ));
        assert_eq!(
            with(64, &FILE_PARAMETERS.to_bytes_le()),
            MetadataError::Twice(FILE_PARAMETERS)
        );
        let other = Uuid::from_u128(9);
        assert_eq!(with(64, &other.to_bytes_le()), MetadataError::Unknown(other));
    }
}
