//! The block allocation table: for each block where it is, or why it is nowhere ([MS-VHDX] 2.5).
//!
//! After the entries of each chunk (2^23 sectors) comes one for the chunk's sector bitmap, which only differencing disks use.

use crate::disk::{Disk, MIB};

/// One entry's length.
pub(crate) const ENTRY: u64 = 8;

/// A payload block's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Nobody has written it: on a differencing disk the parent has it.
    NotPresent,
    /// It was given up; anything may be read.
    Undefined,
    /// It is all zeros.
    Zero,
    /// It was unmapped.
    Unmapped,
    /// It is at that offset of the file.
    Present(u64),
    /// Some sectors are in this file, the others in the parent.
    Partial,
    /// A state that the format has no meaning for.
    Reserved(u8),
}

impl Entry {
    /// Only the states that this crate writes have a place in it; their other bits are zero, as Hyper-V wants.
    pub(crate) fn encode(self) -> u64 {
        match self {
            Self::NotPresent => 0,
            Self::Undefined => 1,
            Self::Zero => 2,
            Self::Unmapped => 3,
            Self::Present(offset) => offset | 6,
            Self::Partial => 7,
            Self::Reserved(state) => state.into(),
        }
    }

    pub(crate) fn decode(entry: u64) -> Self {
        match entry & 7 {
            0 => Self::NotPresent,
            1 => Self::Undefined,
            2 => Self::Zero,
            3 => Self::Unmapped,
            6 => Self::Present(entry & !(MIB - 1)),
            7 => Self::Partial,
            state => Self::Reserved(state as u8),
        }
    }
}

/// How the table of a disk is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// The disk's blocks.
    pub(crate) blocks: u64,
    /// Blocks a chunk.
    ratio: u64,
}

impl Table {
    pub(crate) fn of(disk: &Disk) -> Self {
        Self::new(
            disk.size(),
            disk.block_size().bytes(),
            disk.logical_sector().bytes(),
        )
    }

    pub(crate) fn new(size: u64, block: u32, sector: u32) -> Self {
        Self {
            blocks: size.div_ceil(block.into()),
            ratio: (u64::from(sector) << 23) / u64::from(block),
        }
    }

    /// The index of a block's entry.
    pub(crate) fn index(self, block: u64) -> u64 {
        block + block / self.ratio
    }

    /// The block whose entry is at that index; `None` for a sector bitmap.
    pub(crate) fn block(self, index: u64) -> Option<u64> {
        let (chunk, within) = (index / (self.ratio + 1), index % (self.ratio + 1));
        (within < self.ratio).then(|| chunk * self.ratio + within)
    }

    /// How many entries a fixed or dynamic disk needs: up to that of the last block.
    pub(crate) fn entries(self) -> u64 {
        self.blocks.checked_sub(1).map_or(0, |last| self.index(last) + 1)
    }

    /// How many entries a differencing disk needs: up to that of the last chunk's bitmap.
    pub(crate) fn entries_with_bitmaps(self) -> u64 {
        self.blocks.div_ceil(self.ratio) * (self.ratio + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chunk_ends_with_the_entry_of_its_bitmap() {
        // 4 GiB a chunk with sectors of 512 bytes: 128 blocks of 32 MiB.
        let table = Table::new(9 << 30, 32 << 20, 512);
        assert_eq!((table.blocks, table.ratio), (288, 128));
        assert_eq!(table.index(127), 127);
        assert_eq!(table.block(128), None);
        assert_eq!(table.index(128), 129);
        assert_eq!(table.entries(), 290);
        assert_eq!(table.entries_with_bitmaps(), 3 * 129);
        for block in 0..288 {
            assert_eq!(table.block(table.index(block)), Some(block));
        }
    }

    #[test]
    fn a_disk_that_ends_with_a_chunk_has_no_entry_for_its_last_bitmap() {
        let table = Table::new(4 << 30, 1 << 20, 512);
        assert_eq!(table.entries(), 4096);
        assert_eq!(table.entries_with_bitmaps(), 4097);
        let large = Table::new(4 << 30, 1 << 20, 4096);
        assert_eq!(large.ratio, 32_768);
    }

    #[test]
    fn entries_are_read_back() {
        for entry in [
            Entry::NotPresent,
            Entry::Undefined,
            Entry::Zero,
            Entry::Unmapped,
            Entry::Present(77 << 20),
            Entry::Partial,
            Entry::Reserved(4),
            Entry::Reserved(5),
        ] {
            assert_eq!(Entry::decode(entry.encode()), entry);
        }
        // 17 reserved bits lie between state and offset.
        assert_eq!(Entry::decode(77 << 20 | 0xf_fff8 | 6), Entry::Present(77 << 20));
    }
}
