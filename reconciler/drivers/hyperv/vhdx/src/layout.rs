//! Where the parts of a file go that this crate writes, and what stands in them before and after its blocks.
//!
//! Header section, log, metadata and BAT each begin at a whole MiB, in this order, the blocks come behind them: as in the
//! files of Hyper-V, whose empty disks are 4 MiB too.

use bytes::Bytes;
use uuid::Uuid;

use crate::disk::{Disk, MIB};
use crate::format::bat::{ENTRY, Entry, Table};
use crate::format::header::{self, Header};
use crate::format::metadata::{Kind, Metadata};
use crate::format::region::{self, Region, Regions};

const LOG: Region = Region {
    offset: MIB,
    length: MIB as u32,
};
const METADATA: Region = Region {
    offset: 2 * MIB,
    length: MIB as u32,
};
const BAT: u64 = 3 * MIB;

/// How many bytes of the BAT are written at a time.
const BAT_PART: u64 = MIB;

/// Who made the file, as the file says.
const CREATOR: &str = concat!("labyard vhdx ", env!("CARGO_PKG_VERSION"));

/// Where everything goes in the file of a disk.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    disk: Disk,
    kind: Kind,
    pub(crate) table: Table,
    bat: Region,
}

impl Layout {
    pub(crate) fn new(disk: Disk, kind: Kind) -> Self {
        let table = Table::of(&disk);
        let entries = match kind {
            Kind::Differencing => table.entries_with_bitmaps(),
            Kind::Fixed | Kind::Dynamic => table.entries(),
        };
        let length = (entries * ENTRY).next_multiple_of(MIB);
        Self {
            disk,
            kind,
            table,
            bat: Region {
                offset: BAT,
                // 64 TiB in blocks of 1 MiB take 513 MiB.
                length: length as u32,
            },
        }
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Where the first block may be.
    pub(crate) fn blocks_from(&self) -> u64 {
        self.bat.offset + u64::from(self.bat.length)
    }

    /// The BAT in parts, each with its offset; `entry` says what stands for a block. Entries of sector bitmaps say that there
    /// are none.
    pub(crate) fn bat(&self, entry: impl Fn(u64) -> Entry) -> impl Iterator<Item = (u64, Bytes)> {
        let used = match self.kind {
            Kind::Differencing => self.table.entries_with_bitmaps(),
            Kind::Fixed | Kind::Dynamic => self.table.entries(),
        };
        let table = self.table;
        let part = BAT_PART / ENTRY;
        (0..used.div_ceil(part)).map(move |index| {
            let first = index * part;
            let entries = (first..used.min(first + part)).flat_map(|index| {
                let block = table.block(index).filter(|block| *block < table.blocks);
                block.map_or(0, |block| entry(block).encode()).to_le_bytes()
            });
            (BAT + first * ENTRY, entries.collect())
        })
    }

    /// The metadata, with their offset.
    pub(crate) fn metadata(&self, locator: Option<&[u8]>) -> (u64, Bytes) {
        let metadata = Metadata {
            kind: self.kind,
            size: self.disk.size(),
            block: self.disk.block_size(),
            logical: self.disk.logical_sector(),
            physical: self.disk.physical_sector(),
            disk: self.disk.identity().disk,
            parent: None,
        };
        (METADATA.offset, metadata.encode(locator).into())
    }

    /// Headers and region tables, with their offset.
    pub(crate) fn headers(&self) -> (u64, Bytes) {
        let identity = self.disk.identity();
        let header = |sequence| Header {
            sequence,
            file_write: identity.file_write,
            data_write: identity.data_write,
            log: Uuid::nil(),
            version: header::VERSION,
            log_offset: LOG.offset,
            log_length: LOG.length,
        };
        let regions = Regions {
            bat: self.bat,
            metadata: METADATA,
        }
        .encode();
        let start = header::OFFSETS[0];
        let end = region::OFFSETS[1] + region::LENGTH as u64;
        let mut bytes = vec![0; (end - start) as usize];
        for (at, part) in [
            (header::OFFSETS[0], header(0).encode()),
            (header::OFFSETS[1], header(1).encode()),
            (region::OFFSETS[0], regions.clone()),
            (region::OFFSETS[1], regions),
        ] {
            crate::format::put(&mut bytes, (at - start) as usize, &part);
        }
        (start, bytes.into())
    }

    /// The identifier, with its offset. Without it nobody takes the file for a VHDX.
    pub(crate) fn identifier(&self) -> (u64, Bytes) {
        (0, header::identifier(CREATOR).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::tests::IDENTITY;
    use crate::disk::{BlockSize, LARGEST};

    #[test]
    fn an_empty_disk_takes_four_mib() {
        let disk = Disk::holding(10 << 30, IDENTITY).unwrap();
        assert_eq!(Layout::new(disk, Kind::Dynamic).blocks_from(), 4 << 20);
    }

    #[test]
    fn the_largest_disk_in_the_smallest_blocks_has_room_for_its_table() {
        let disk = Disk::holding(LARGEST, IDENTITY).unwrap();
        let disk = disk.with_blocks(BlockSize::SMALLEST);
        let layout = Layout::new(disk, Kind::Differencing);
        assert_eq!(layout.bat.length, 513 << 20);
        assert!(u64::from(layout.bat.length) >= layout.table.entries_with_bitmaps() * ENTRY);
    }

    #[test]
    fn the_table_is_whole_over_its_parts() {
        // 600 GiB in blocks of 1 MiB: five parts of 1 MiB, with the entries of 150 sector bitmaps between.
        let disk = Disk::holding(600 << 30, IDENTITY).unwrap();
        let layout = Layout::new(disk, Kind::Dynamic);
        let mut at = BAT;
        let mut entries = Vec::new();
        for (offset, part) in layout.bat(|block| Entry::Present((block + 100) << 20)) {
            assert_eq!(offset, at);
            at += part.len() as u64;
            entries.extend(
                part.as_chunks::<8>()
                    .0
                    .iter()
                    .map(|entry| u64::from_le_bytes(*entry)),
            );
        }
        assert_eq!(entries.len() as u64, layout.table.entries());
        for (index, entry) in (0..).zip(entries) {
            let expected = layout
                .table
                .block(index)
                .map_or(0, |block| (block + 100) << 20 | 6);
            assert_eq!(entry, expected, "{index}");
        }
    }
}
