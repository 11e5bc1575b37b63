//! Where a disk's content comes from: pieces, in rising order, and nothing for what is all zeros.
//!
//! | source | what |
//! |---|---|
//! | [`RawStream`](crate::RawStream) | bytes that come one after the other, their number known |
//! | [`RawFile`](crate::RawFile) | a raw image that can be read anywhere; its holes are stepped over |
//! | [`Qcow2`](crate::Qcow2) | a qcow2 image |
//! | [`Pieces`](crate::Pieces) | a VHDX |

use std::collections::VecDeque;
use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;

use crate::qcow2::Qcow2Error;
use crate::reader::VhdxError;

/// The usual length of a piece, and what its offset is a multiple of.
pub(crate) const PIECE: usize = 1 << 20;

/// How many pieces are read ahead of the one that is asked for: enough for two to be unpacked while others are read.
const AHEAD: usize = 4;

/// A piece of a disk's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where in the disk.
    pub offset: u64,
    /// What is there.
    pub bytes: Bytes,
}

/// Content of a disk.
#[async_trait]
pub trait Source: Send {
    /// How many bytes it has. Known before anything is read, so that more than is wanted can be refused.
    fn size(&self) -> u64;

    /// The next piece; after the last one `None`. What no piece covers is zeros. Pieces come in rising order, do not lie on
    /// each other and end within the size.
    async fn next(&mut self) -> Result<Option<Piece>, SourceError>;
}

/// Why there is no next piece.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Reading failed.
    #[error("the image could not be read at offset {offset}: {error}")]
    Io {
        /// Of the image.
        offset: u64,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Less came than was said.
    #[error("the image ended after {had} bytes, and {wanted} were to come")]
    Ended {
        /// How many came.
        had: u64,
        /// How many were said.
        wanted: u64,
    },
    /// More came than was said.
    #[error("the image goes on after the {wanted} bytes that were to come")]
    GoesOn {
        /// How many were said.
        wanted: u64,
    },
    /// A qcow2 image is not as it has to be.
    #[error(transparent)]
    Qcow2(#[from] Qcow2Error),
    /// A VHDX is not as it has to be.
    #[error(transparent)]
    Vhdx(#[from] VhdxError),
}

/// Pieces that are being read before they are asked for, on the runtime's threads. Given up when dropped.
#[derive(Default)]
pub(crate) struct Ahead(VecDeque<AbortOnDropHandle<Result<Piece, SourceError>>>);

impl Ahead {
    pub(crate) fn has_room(&self) -> bool {
        self.0.len() < AHEAD
    }

    pub(crate) fn start(&mut self, work: impl Future<Output = Result<Piece, SourceError>> + Send + 'static) {
        self.0.push_back(AbortOnDropHandle::new(tokio::spawn(work)));
    }

    /// The piece that was started first. Whoever stops waiting for it finds it again.
    pub(crate) async fn next(&mut self) -> Result<Option<Piece>, SourceError> {
        let Some(first) = self.0.front_mut() else {
            return Ok(None);
        };
        let piece = first.await;
        self.0.pop_front();
        piece
            .map_err(|error| SourceError::Io {
                offset: 0,
                error: io::Error::other(error),
            })?
            .map(Some)
    }
}
