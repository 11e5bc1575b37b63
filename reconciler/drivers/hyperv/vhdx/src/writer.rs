//! Writes a dynamic VHDX while its content comes.
//!
//! A block gets its place in the file when the first byte of it comes that is not zero; blocks lie in the file in that
//! order. Within a block only what is not zero is sent, in grains of 64 KiB: the file reads as zeros where nothing was
//! written. So what goes over the wire follows the content and not the size of the blocks.
//!
//! What makes the file a disk comes last: metadata, BAT, headers, and, after all of that is known to be on the disk, the
//! identifier in its first bytes. A file that was cut short has none and is refused by everybody.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::disk::{Disk, MIB};
use crate::format::bat::Entry;
use crate::format::metadata::Kind;
use crate::io::{WriteAt, is_zero};
use crate::layout::Layout;

/// What is looked at for being all zeros, at whole ones of the disk. The usual cluster of qcow2; smaller ones would make more
/// writes of what they save in bytes.
const GRAIN: u64 = 64 << 10;

/// Writes one disk.
///
/// Beside 8 bytes a block (no more than 8 MiB with blocks of [`BlockSize::fitting`](crate::BlockSize::fitting)) it holds the
/// pieces that are being written, up to a number of bytes: [`Writer::with_room`].
pub struct Writer {
    target: Arc<dyn WriteAt>,
    layout: Layout,
    blocks: Vec<Block>,
    /// Where the next block goes.
    free: u64,
    /// The end of what has been written.
    reach: u64,
    flight: JoinSet<Result<Landed, WriteError>>,
    room: usize,
    held: usize,
    sum: Written,
    state: State,
}

/// A block of the disk.
#[derive(Clone, Copy, Default)]
struct Block {
    /// Its offset in the file in MiB; 0 while it has none.
    at: u32,
    /// No byte at or after this one has been written.
    filled: u32,
}

/// A piece that has been written.
struct Landed {
    piece: usize,
    bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Sound,
    /// A piece was not written, or not all of it.
    Torn,
}

/// A part of a piece that goes to one place of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    at: u64,
    part: Range<usize>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The length of the file.
    pub file: u64,
    /// The bytes that were sent to it; the others are gaps.
    pub bytes: u64,
    /// The blocks that have a place in it.
    pub blocks: u64,
    /// The most bytes of content that were held at one time.
    pub held: usize,
}

/// Why a disk was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A piece is not inside the disk.
    #[error("a piece of {length} bytes at offset {offset} is not inside the disk of {size} bytes")]
    Outside {
        /// The piece's.
        offset: u64,
        /// The piece's.
        length: usize,
        /// The disk's.
        size: u64,
    },
    /// The file refused.
    #[error("writing {length} bytes at offset {offset} of the VHDX failed: {error}")]
    Target {
        /// In the file.
        offset: u64,
        /// How many.
        length: usize,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// What was written may not last.
    #[error("what was written to the VHDX could not be brought to its disk: {0}")]
    Flush(#[source] io::Error),
    /// An earlier piece was not written.
    #[error("an earlier piece of the disk was not written, so it cannot be finished: begin anew")]
    Torn,
}

impl Writer {
    /// Bytes of content that are held at most, unless [`Writer::with_room`] says otherwise: sixteen pieces of 1 MiB on their
    /// way keep a fast line with some milliseconds of delay busy.
    pub const ROOM: usize = 16 << 20;

    /// Writes `disk` to `target`, which is a new file. Nothing is written yet.
    pub fn new(target: Arc<dyn WriteAt>, disk: Disk) -> Self {
        let layout = Layout::new(disk, Kind::Dynamic);
        Self {
            target,
            // As many as the BAT has entries for: it is the caller who chose the size of the blocks.
            blocks: vec![Block::default(); layout.table.blocks as usize],
            free: layout.blocks_from(),
            layout,
            reach: 0,
            flight: JoinSet::new(),
            room: Self::ROOM,
            held: 0,
            sum: Written::default(),
            state: State::Sound,
        }
    }

    /// With room for so many bytes of content that are being written. A single piece may be longer: it is then the only one.
    pub fn with_room(self, bytes: usize) -> Self {
        Self { room: bytes, ..self }
    }

    /// The disk.
    pub fn disk(&self) -> &Disk {
        self.layout.disk()
    }

    /// What has been written so far. What is still being written does not count.
    pub fn written(&self) -> Written {
        self.sum
    }

    /// Takes a piece of the disk, and comes back when there is room for it, before it is written. Pieces may come in any order
    /// and anew: the last one counts. In rising order all zeros are left out; before something that was written they are
    /// sent.
    ///
    /// An error may be an earlier piece's. After one, or if this was given up in the middle, the disk cannot be finished.
    pub async fn write(&mut self, offset: u64, piece: Bytes) -> Result<(), WriteError> {
        if self.state == State::Torn {
            return Err(WriteError::Torn);
        }
        let size = self.layout.disk().size();
        let end = offset.checked_add(piece.len() as u64);
        if end.is_none_or(|end| end > size) {
            return Err(WriteError::Outside {
                offset,
                length: piece.len(),
                size,
            });
        }
        self.state = State::Torn;
        while let Some(landed) = self.flight.try_join_next() {
            self.count(landed)?;
        }
        let (runs, rewrites) = self.place(offset, &piece);
        if !runs.is_empty() {
            // What is written over something must not overtake it.
            while self.held > 0 && (rewrites || self.held + piece.len() > self.room) {
                self.land().await?;
            }
            self.send(piece, runs);
        }
        self.state = State::Sound;
        Ok(())
    }

    /// Writes what makes the file a disk, and comes back when all of it is on the target's own disk.
    pub async fn finish(mut self) -> Result<Written, WriteError> {
        if self.state == State::Torn {
            return Err(WriteError::Torn);
        }
        while self.held > 0 {
            self.land().await?;
        }
        let (offset, metadata) = self.layout.metadata(None);
        self.put(offset, metadata).await?;
        let layout = self.layout.clone();
        let blocks = std::mem::take(&mut self.blocks);
        for (offset, part) in layout.bat(|block| match blocks[block as usize].at {
            // The only state of a hole in which the format promises zeros.
            0 => Entry::Zero,
            at => Entry::Present(u64::from(at) * MIB),
        }) {
            self.put(offset, part).await?;
        }
        // The last block is whole, whatever of it was written.
        if self.reach < self.free {
            let from = self.reach.max(self.free - 4096);
            self.put(from, vec![0; (self.free - from) as usize].into())
                .await?;
        }
        let (offset, headers) = layout.headers();
        self.put(offset, headers).await?;
        self.target.flush().await.map_err(WriteError::Flush)?;
        let (offset, identifier) = layout.identifier();
        self.put(offset, identifier).await?;
        self.target.flush().await.map_err(WriteError::Flush)?;
        Ok(Written {
            file: self.free,
            ..self.sum
        })
    }

    /// Where the parts of a piece go, and whether any may lie on something that was written before.
    fn place(&mut self, offset: u64, piece: &Bytes) -> (Vec<Run>, bool) {
        let block_size = u64::from(self.layout.disk().block_size().bytes());
        let mut runs: Vec<Run> = Vec::new();
        let mut rewrites = false;
        let mut done = 0;
        while done < piece.len() {
            let guest = offset + done as u64;
            let left = (piece.len() - done) as u64;
            // A grain never reaches over the end of a block.
            let length = (GRAIN - guest % GRAIN).min(left);
            let part = done..done + length as usize;
            done = part.end;
            let block = &mut self.blocks[(guest / block_size) as usize];
            // Below 256 MiB.
            let (start, end) = ((guest % block_size) as u32, (guest % block_size + length) as u32);
            if is_zero(&piece[part.clone()]) && start >= block.filled {
                continue;
            }
            if block.at == 0 {
                // 64 TiB are 2^26 MiB.
                block.at = (self.free / MIB) as u32;
                self.free += block_size;
                self.sum.blocks += 1;
            }
            rewrites |= start < block.filled;
            block.filled = block.filled.max(end);
            let at = u64::from(block.at) * MIB + u64::from(start);
            self.reach = self.reach.max(at + length);
            match runs.last_mut() {
                Some(last) if last.part.end == part.start && last.at + last.part.len() as u64 == at => {
                    last.part.end = part.end;
                }
                _ => runs.push(Run { at, part }),
            }
        }
        (runs, rewrites)
    }

    /// Starts to write a piece.
    fn send(&mut self, piece: Bytes, runs: Vec<Run>) {
        let target = Arc::clone(&self.target);
        self.held += piece.len();
        self.sum.held = self.sum.held.max(self.held);
        self.flight.spawn(async move {
            let mut landed = Landed {
                piece: piece.len(),
                bytes: 0,
            };
            for Run { at, part } in runs {
                let length = part.len();
                let done = target.write_at(at, piece.slice(part)).await;
                done.map_err(|error| WriteError::Target {
                    offset: at,
                    length,
                    error,
                })?;
                landed.bytes += length as u64;
            }
            Ok(landed)
        });
    }

    /// Waits for one piece to be written.
    async fn land(&mut self) -> Result<(), WriteError> {
        match self.flight.join_next().await {
            Some(landed) => self.count(landed),
            // Bytes are held by a piece that is nowhere: one was given up.
            None => Err(WriteError::Torn),
        }
    }

    fn count(
        &mut self,
        landed: Result<Result<Landed, WriteError>, tokio::task::JoinError>,
    ) -> Result<(), WriteError> {
        // A task that ended otherwise was ended with the runtime, or the target panicked.
        let landed = landed.map_err(|_| WriteError::Torn)??;
        self.held -= landed.piece;
        self.sum.bytes += landed.bytes;
        Ok(())
    }

    /// Writes a part of the file itself.
    async fn put(&mut self, offset: u64, bytes: Bytes) -> Result<(), WriteError> {
        let length = bytes.len();
        let done = self.target.write_at(offset, bytes).await;
        done.map_err(|error| WriteError::Target {
            offset,
            length,
            error,
        })?;
        self.reach = self.reach.max(offset + length as u64);
        self.sum.bytes += length as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
