//! Reads VHDX files: what a disk is ([`Info`]), and its content ([`Reader`], [`Pieces`]).
//!
//! It trusts nothing: checksums, places and sizes are looked at, and what is held does not depend on what the file says.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use crate::disk::{BlockSize, Identity, MIB, SectorSize};
use crate::format::bat::{ENTRY, Entry, Table};
use crate::format::header::{self, Header};
use crate::format::locator::Parent;
use crate::format::metadata::{self, Index, Kind, Metadata, MetadataError};
use crate::format::region::{self, Region, RegionError, Regions};
use crate::io::{ReadAt, read_exact};
use crate::source::{Ahead, PIECE, Piece, Source, SourceError};

/// How many bytes of the BAT are held.
const PAGE: u64 = 64 << 10;

/// What a VHDX file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// How it keeps its content.
    pub kind: Kind,
    /// The disk's size as a guest sees it.
    pub size: u64,
    /// The size of its blocks.
    pub block_size: BlockSize,
    /// The sectors as a guest sees them.
    pub logical_sector: SectorSize,
    /// The sectors as the store has them.
    pub physical_sector: SectorSize,
    /// Its names.
    pub identity: Identity,
    /// The program that made it.
    pub creator: String,
    /// Its parent, if it is a differencing disk.
    pub parent: Option<Parent>,
    bat: Region,
}

/// Why a VHDX cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum VhdxError {
    /// Reading failed.
    #[error("reading {what} of the VHDX failed: {error}")]
    Io {
        /// Of what.
        what: &'static str,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// It is something else.
    #[error("the file is no VHDX: it does not begin with `vhdxfile`")]
    NotVhdx,
    /// No header can be trusted.
    #[error("the VHDX has no valid header: it was not finished, or is damaged")]
    NoHeader,
    /// A newer format.
    #[error("the VHDX is of version {0} of the format, and only 1 is known")]
    Version(u16),
    /// It was not closed.
    #[error(
        "the VHDX has changes in its log that are not in their place yet (log {0}): it is in use, or was not closed; \
         shut the machine down that uses it, or mount and dismount it once on its host"
    )]
    DirtyLog(Uuid),
    /// The regions are wrong.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// The metadata are wrong.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The BAT has no room for the disk.
    #[error("the VHDX has a BAT of {length} bytes, and its blocks need {needed}")]
    ShortBat {
        /// What there is.
        length: u64,
        /// What has to be.
        needed: u64,
    },
    /// A block is where none can be.
    #[error(
        "block {block} of the VHDX is said to be at offset {offset}, and the file has {length} bytes: it is damaged or cut short"
    )]
    Block {
        /// Which.
        block: u64,
        /// Where.
        offset: u64,
        /// The file's length.
        length: u64,
    },
    /// A block's state is none.
    #[error("block {block} of the VHDX is in the state {state}, which it cannot be in")]
    State {
        /// Which.
        block: u64,
        /// What is said.
        state: u8,
    },
    /// The content is in the parent.
    #[error("the VHDX is a differencing disk: its content is not to be had without its parent's")]
    Differencing,
    /// Something outside of the disk was asked for.
    #[error("{length} bytes at offset {offset} are not inside the disk of {size} bytes")]
    Outside {
        /// What was asked for.
        offset: u64,
        /// What was asked for.
        length: usize,
        /// The disk's.
        size: u64,
    },
}

impl Info {
    /// Reads it. The first 4 MiB of a file are enough if this crate or Hyper-V made it: [`Bytes`] are a file too.
    pub async fn read(file: &dyn ReadAt) -> Result<Self, VhdxError> {
        let what = "the identifier";
        let identifier = read(file, what, 0, header::IDENTIFIER_LENGTH).await?;
        let creator = header::creator(&identifier).ok_or(VhdxError::NotVhdx)?;
        let mut headers = [None, None];
        for (place, offset) in headers.iter_mut().zip(header::OFFSETS) {
            *place = Header::decode(&read(file, "a header", offset, header::LENGTH).await?);
        }
        let [first, second] = headers;
        let header = header::current(first, second).ok_or(VhdxError::NoHeader)?;
        if header.version != header::VERSION {
            return Err(VhdxError::Version(header.version));
        }
        if !header.log.is_nil() {
            return Err(VhdxError::DirtyLog(header.log));
        }
        let log = Region {
            offset: header.log_offset,
            length: header.log_length,
        };
        let what = "the region table";
        let copies = [
            read(file, what, region::OFFSETS[0], region::LENGTH).await?,
            read(file, what, region::OFFSETS[1], region::LENGTH).await?,
        ];
        // Without a log its place means nothing, and some programs leave it out.
        let log = Some(log).filter(|log| log.is_aligned());
        let regions = Regions::decode([&copies[0], &copies[1]], log)?;
        let metadata = Self::metadata(file, regions.metadata).await?;
        Ok(Self {
            kind: metadata.kind,
            size: metadata.size,
            block_size: metadata.block,
            logical_sector: metadata.logical,
            physical_sector: metadata.physical,
            identity: Identity {
                disk: metadata.disk,
                file_write: header.file_write,
                data_write: header.data_write,
            },
            creator,
            parent: metadata.parent,
            bat: regions.bat,
        })
    }

    async fn metadata(file: &dyn ReadAt, region: Region) -> Result<Metadata, VhdxError> {
        let what = "the metadata";
        let table = read(file, what, region.offset, metadata::TABLE).await?;
        let index = Index::decode(&table, region.length)?;
        let mut items = BTreeMap::new();
        for (id, item) in index.items() {
            let offset = region.offset + u64::from(item.offset);
            items.insert(id, read(file, what, offset, item.length as usize).await?);
        }
        Ok(Metadata::decode(&items)?)
    }

    fn table(&self) -> Table {
        Table::new(self.size, self.block_size.bytes(), self.logical_sector.bytes())
    }
}

/// Reads; what is not there any more is zeros if it lies past the end, and the caller finds no signature in them.
async fn read(file: &dyn ReadAt, what: &'static str, offset: u64, length: usize) -> Result<Bytes, VhdxError> {
    let bytes = file.read_at(offset, length).await;
    let bytes = bytes.map_err(|error| VhdxError::Io { what, error })?;
    if bytes.len() == length {
        return Ok(bytes);
    }
    let mut whole = BytesMut::from(bytes);
    whole.resize(length, 0);
    Ok(whole.freeze())
}

/// Reads the content of fixed and dynamic disks.
///
/// It holds 64 KiB of the BAT; what is read is the caller's.
pub struct Reader {
    file: Arc<dyn ReadAt>,
    info: Info,
    table: Table,
    length: u64,
    /// A part of the BAT, and where it is in it.
    page: Mutex<Option<(u64, Bytes)>>,
}

impl Reader {
    /// Reads what the disk is; of its content nothing yet.
    pub async fn open(file: Arc<dyn ReadAt>) -> Result<Self, VhdxError> {
        let info = Info::read(&*file).await?;
        if info.kind == Kind::Differencing {
            return Err(VhdxError::Differencing);
        }
        let table = info.table();
        let (length, needed) = (u64::from(info.bat.length), table.entries() * ENTRY);
        if length < needed {
            return Err(VhdxError::ShortBat { length, needed });
        }
        let length = file.length().await.map_err(|error| VhdxError::Io {
            what: "the length",
            error,
        })?;
        Ok(Self {
            table,
            length,
            info,
            file,
            page: Mutex::default(),
        })
    }

    /// What the disk is.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The `length` bytes at `offset`, all of which are inside the disk.
    pub async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, VhdxError> {
        let end = offset.checked_add(length as u64);
        if end.is_none_or(|end| end > self.info.size) {
            return Err(VhdxError::Outside {
                offset,
                length,
                size: self.info.size,
            });
        }
        let block_size = u64::from(self.info.block_size.bytes());
        let mut bytes = BytesMut::with_capacity(length);
        while bytes.len() < length {
            let guest = offset + bytes.len() as u64;
            let within = guest % block_size;
            // No longer than what is asked for.
            let part = (block_size - within).min((length - bytes.len()) as u64) as usize;
            match self.block(guest / block_size).await? {
                None => bytes.resize(bytes.len() + part, 0),
                Some(at) => bytes.extend_from_slice(&self.content(at + within, part).await?),
            }
        }
        Ok(bytes.freeze())
    }

    /// The content as a source, without its holes.
    pub fn pieces(self) -> Pieces {
        Pieces {
            reader: Arc::new(self),
            offset: 0,
            ahead: Ahead::default(),
        }
    }

    async fn content(&self, offset: u64, length: usize) -> Result<Bytes, VhdxError> {
        let what = "a block";
        let bytes = read_exact(&*self.file, offset, length).await;
        bytes.map_err(|error| VhdxError::Io { what, error })
    }

    /// Where a block is in the file; `None` if it is all zeros.
    async fn block(&self, block: u64) -> Result<Option<u64>, VhdxError> {
        match Entry::decode(self.entry(self.table.index(block)).await?) {
            // What the format leaves open reads as zeros, as everywhere.
            Entry::NotPresent | Entry::Undefined | Entry::Zero | Entry::Unmapped => Ok(None),
            Entry::Present(offset) => {
                let end = offset.checked_add(self.info.block_size.bytes().into());
                if offset >= MIB && end.is_some_and(|end| end <= self.length) {
                    Ok(Some(offset))
                } else {
                    Err(VhdxError::Block {
                        block,
                        offset,
                        length: self.length,
                    })
                }
            }
            Entry::Partial => Err(VhdxError::State { block, state: 7 }),
            Entry::Reserved(state) => Err(VhdxError::State { block, state }),
        }
    }

    async fn entry(&self, index: u64) -> Result<u64, VhdxError> {
        let at = index * ENTRY;
        let start = at - at % PAGE;
        let within = (at - start) as usize;
        let held = self.page.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let page = match held {
            Some((held, page)) if held == start => page,
            _ => {
                let what = "the BAT";
                // At most a page.
                let length = (u64::from(self.info.bat.length) - start).min(PAGE) as usize;
                let page = read_exact(&*self.file, self.info.bat.offset + start, length).await;
                let page = page.map_err(|error| VhdxError::Io { what, error })?;
                *self.page.lock().unwrap_or_else(PoisonError::into_inner) = Some((start, page.clone()));
                page
            }
        };
        Ok(crate::format::u64_at(&page, within))
    }
}

/// The content of a VHDX as a source.
///
/// It holds no more than four pieces (4 MiB).
pub struct Pieces {
    reader: Arc<Reader>,
    offset: u64,
    ahead: Ahead,
}

#[async_trait]
impl Source for Pieces {
    fn size(&self) -> u64 {
        self.reader.info.size
    }

    async fn next(&mut self) -> Result<Option<Piece>, SourceError> {
        let block_size = u64::from(self.reader.info.block_size.bytes());
        while self.ahead.has_room() && self.offset < self.reader.info.size {
            let offset = self.offset;
            let block = offset / block_size;
            let Some(at) = self.reader.block(block).await? else {
                self.offset = (block + 1) * block_size;
                continue;
            };
            // At most a piece, and blocks are whole pieces.
            let length = (self.reader.info.size - offset).min(PIECE as u64) as usize;
            self.offset += length as u64;
            let reader = Arc::clone(&self.reader);
            self.ahead.start(async move {
                let bytes = reader.content(at + offset % block_size, length).await?;
                Ok(Piece { offset, bytes })
            });
        }
        self.ahead.next().await
    }
}

#[cfg(test)]
mod tests;
