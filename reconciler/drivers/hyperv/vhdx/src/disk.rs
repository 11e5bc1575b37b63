//! What a disk is, before any byte of it is written: its size, the size of its blocks and sectors, and its names.

use uuid::Uuid;

pub(crate) const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// The largest disk the format can say ([MS-VHDX] 2.6.2.2).
pub const LARGEST: u64 = 64 * TIB;

/// A disk to be written.
///
/// ```
/// use vhdx::{BlockSize, Disk, Identity};
/// # let identity = Identity { disk: uuid::Uuid::nil(), file_write: uuid::Uuid::nil(), data_write: uuid::Uuid::nil() };
/// // An image of an odd number of bytes is held by the next whole sector.
/// let disk = Disk::holding((10 << 30) + 1, identity).unwrap();
/// assert_eq!(disk.size(), (10 << 30) + 512);
/// assert_eq!(disk.block_size(), BlockSize::SMALLEST);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    size: u64,
    block: BlockSize,
    logical: SectorSize,
    physical: SectorSize,
    identity: Identity,
}

/// The GUIDs of a disk and of its file. Two disks must not share them, so each is a new random one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What a guest sees as the disk's identifier (SCSI page 83).
    pub disk: Uuid,
    /// Changes with each change of the file.
    pub file_write: Uuid,
    /// Changes with each change of what a guest sees. Children of the disk name their parent by it.
    pub data_write: Uuid,
}

/// The size of blocks: a power of two from 1 MiB to 256 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockSize(u32);

/// The size of sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectorSize {
    /// 512 bytes.
    B512,
    /// 4096 bytes.
    B4096,
}

/// What no disk can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// No size.
    #[error("a VHDX disk of 0 bytes cannot be: it holds one sector at least")]
    Empty,
    /// Too large.
    #[error("{0} bytes are more than the 64 TiB that a VHDX disk can have")]
    TooLarge(u64),
    /// Part of a sector.
    #[error("{size} bytes are no whole number of sectors of {sector} bytes")]
    PartOfSector {
        /// The disk's.
        size: u64,
        /// The sector's.
        sector: u32,
    },
    /// No size for blocks.
    #[error("blocks of {0} bytes: a VHDX disk has blocks of a power of two from 1 MiB to 256 MiB")]
    Block(u32),
}

impl Disk {
    /// The smallest disk that holds so many bytes: with sectors of 512 bytes for the guest on 4096 of the store, as Hyper-V
    /// makes them, and blocks of [`BlockSize::fitting`].
    pub fn holding(bytes: u64, identity: Identity) -> Result<Self, DiskError> {
        if bytes == 0 {
            return Err(DiskError::Empty);
        }
        if bytes > LARGEST {
            return Err(DiskError::TooLarge(bytes));
        }
        let size = bytes.next_multiple_of(SectorSize::B512.bytes().into());
        Ok(Self {
            size,
            block: BlockSize::fitting(size),
            logical: SectorSize::B512,
            physical: SectorSize::B4096,
            identity,
        })
    }

    /// With blocks of that size.
    pub fn with_blocks(self, block: BlockSize) -> Self {
        Self { block, ..self }
    }

    /// With sectors of these sizes, as the guest sees them and as the store has them.
    pub fn with_sectors(self, logical: SectorSize, physical: SectorSize) -> Result<Self, DiskError> {
        if !self.size.is_multiple_of(logical.bytes().into()) {
            return Err(DiskError::PartOfSector {
                size: self.size,
                sector: logical.bytes(),
            });
        }
        Ok(Self {
            logical,
            physical,
            ..self
        })
    }

    /// Its size as the guest sees it.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The size of its blocks.
    pub fn block_size(&self) -> BlockSize {
        self.block
    }

    /// The sectors as the guest sees them.
    pub fn logical_sector(&self) -> SectorSize {
        self.logical
    }

    /// The sectors as the store has them.
    pub fn physical_sector(&self) -> SectorSize {
        self.physical
    }

    /// Its names.
    pub fn identity(&self) -> Identity {
        self.identity
    }
}

impl BlockSize {
    /// 1 MiB: what Microsoft advises for guests with Linux, whose file systems scatter what they write.
    pub const SMALLEST: Self = Self(1 << 20);
    /// 32 MiB: what Hyper-V takes where nothing is said.
    pub const HYPER_V: Self = Self(32 << 20);

    /// Blocks of so many bytes.
    pub fn new(bytes: u32) -> Result<Self, DiskError> {
        if bytes.is_power_of_two() && (1 << 20..=256 << 20).contains(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(DiskError::Block(bytes))
        }
    }

    /// The smallest with which a disk of that size has no more than a million blocks, so that its allocation table stays
    /// below 9 MiB: 1 MiB up to a disk of 1 TiB, 64 MiB for the largest.
    pub fn fitting(size: u64) -> Self {
        let blocks = size.div_ceil(MIB);
        let factor = blocks.div_ceil(1 << 20).next_power_of_two().min(256);
        // At most 256 by the line above.
        Self((factor as u32) << 20)
    }

    /// In bytes.
    pub fn bytes(self) -> u32 {
        self.0
    }
}

impl SectorSize {
    /// In bytes.
    pub fn bytes(self) -> u32 {
        match self {
            Self::B512 => 512,
            Self::B4096 => 4096,
        }
    }

    pub(crate) fn from_bytes(bytes: u32) -> Option<Self> {
        [Self::B512, Self::B4096]
            .into_iter()
            .find(|sector| sector.bytes() == bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const IDENTITY: Identity = Identity {
        disk: Uuid::from_u128(0xd15c),
        file_write: Uuid::from_u128(0xf11e),
        data_write: Uuid::from_u128(0xda7a),
    };

    #[test]
    fn sizes_that_no_disk_has_are_refused() {
        assert_eq!(Disk::holding(0, IDENTITY), Err(DiskError::Empty));
        assert!(Disk::holding(LARGEST, IDENTITY).is_ok());
        assert!(matches!(
            Disk::holding(LARGEST + 1, IDENTITY),
            Err(DiskError::TooLarge(_))
        ));
        assert!(matches!(
            Disk::holding(u64::MAX, IDENTITY),
            Err(DiskError::TooLarge(_))
        ));
        let disk = Disk::holding(513, IDENTITY).unwrap();
        assert!(matches!(
            disk.with_sectors(SectorSize::B4096, SectorSize::B4096),
            Err(DiskError::PartOfSector { .. })
        ));
        for bytes in [0, 512 << 10, 3 << 20, 512 << 20, u32::MAX] {
            assert_eq!(BlockSize::new(bytes), Err(DiskError::Block(bytes)));
        }
    }

    #[test]
    fn blocks_grow_with_the_disk_and_the_table_does_not() {
        for (size, mib) in [(1, 1), (TIB, 1), (TIB + 1, 2), (3 * TIB, 4), (LARGEST, 64)] {
            let block = BlockSize::fitting(size);
            assert_eq!(block.bytes(), mib << 20, "{size}");
            assert!(size.div_ceil(block.bytes().into()) <= 1 << 20);
            assert_eq!(BlockSize::new(block.bytes()), Ok(block));
        }
    }
}
