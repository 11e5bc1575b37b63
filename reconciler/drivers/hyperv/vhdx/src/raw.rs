//! Raw images: the disk's bytes as they are.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};

use crate::io::{ReadAt, read_exact};
use crate::source::{Ahead, PIECE, Piece, Source, SourceError};

/// A raw image that comes as a stream, of a length that is known before.
///
/// It holds no more than one piece (1 MiB) beside the chunk that the stream gave last.
pub struct RawStream<S> {
    stream: S,
    length: u64,
    /// How many bytes the stream has given.
    came: u64,
    /// What it gave last and no piece holds yet.
    chunk: Bytes,
    /// The piece that is being put together, and where it goes.
    piece: BytesMut,
    offset: u64,
}

impl<S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin> RawStream<S> {
    /// The image of `length` bytes that `stream` gives.
    pub fn new(stream: S, length: u64) -> Self {
        Self {
            stream,
            length,
            came: 0,
            chunk: Bytes::new(),
            piece: BytesMut::new(),
            offset: 0,
        }
    }

    fn piece(&mut self, bytes: Bytes) -> Piece {
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        Piece { offset, bytes }
    }
}

#[async_trait]
impl<S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin> Source for RawStream<S> {
    fn size(&self) -> u64 {
        self.length
    }

    async fn next(&mut self) -> Result<Option<Piece>, SourceError> {
        loop {
            if self.piece.is_empty() && self.chunk.len() >= PIECE {
                let bytes = self.chunk.split_to(PIECE);
                return Ok(Some(self.piece(bytes)));
            }
            if !self.chunk.is_empty() {
                self.piece.reserve(PIECE - self.piece.len());
                let part = self.chunk.len().min(PIECE - self.piece.len());
                self.piece.extend_from_slice(&self.chunk.split_to(part));
            }
            if self.piece.len() == PIECE {
                let bytes = std::mem::take(&mut self.piece).freeze();
                return Ok(Some(self.piece(bytes)));
            }
            let Some(chunk) = self.stream.next().await else {
                break;
            };
            self.chunk = chunk.map_err(|error| SourceError::Io {
                offset: self.came,
                error,
            })?;
            self.came += self.chunk.len() as u64;
            if self.came > self.length {
                return Err(SourceError::GoesOn { wanted: self.length });
            }
        }
        if self.came < self.length {
            return Err(SourceError::Ended {
                had: self.came,
                wanted: self.length,
            });
        }
        let rest = std::mem::take(&mut self.piece).freeze();
        Ok((!rest.is_empty()).then(|| self.piece(rest)))
    }
}

/// A raw image that can be read anywhere. What its file knows to be holes is not read.
///
/// It holds no more than four pieces (4 MiB).
pub struct RawFile {
    file: Arc<dyn ReadAt>,
    length: u64,
    offset: u64,
    ahead: Ahead,
}

impl RawFile {
    /// The image that the whole file is.
    pub async fn open(file: Arc<dyn ReadAt>) -> std::io::Result<Self> {
        Ok(Self {
            length: file.length().await?,
            file,
            offset: 0,
            ahead: Ahead::default(),
        })
    }
}

#[async_trait]
impl Source for RawFile {
    fn size(&self) -> u64 {
        self.length
    }

    async fn next(&mut self) -> Result<Option<Piece>, SourceError> {
        while self.ahead.has_room() && self.offset < self.length {
            let asked = self.offset;
            let found = self.file.next_data(asked).await;
            let found = found.map_err(|error| SourceError::Io { offset: asked, error })?;
            // Pieces start at whole ones, so that none reaches over the end of a block.
            self.offset = asked.max(found - found % PIECE as u64);
            if self.offset >= self.length {
                break;
            }
            let offset = self.offset;
            let length = (self.length - offset).min(PIECE as u64);
            self.offset += length;
            let file = Arc::clone(&self.file);
            self.ahead.start(async move {
                // No longer than a piece.
                let bytes = read_exact(&*file, offset, length as usize).await;
                let bytes = bytes.map_err(|error| SourceError::Io { offset, error })?;
                Ok(Piece { offset, bytes })
            });
        }
        self.ahead.next().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    fn chunks(lengths: &[usize]) -> impl Stream<Item = std::io::Result<Bytes>> + Send + Unpin + use<> {
        let mut at = 0_u8;
        let chunks: Vec<_> = lengths
            .iter()
            .map(|length| {
                at = at.wrapping_add(1);
                Ok(Bytes::from(vec![at; *length]))
            })
            .collect();
        stream::iter(chunks)
    }

    async fn all(mut source: impl Source) -> Result<Vec<Piece>, SourceError> {
        let mut pieces = Vec::new();
        while let Some(piece) = source.next().await? {
            pieces.push(piece);
        }
        Ok(pieces)
    }

    #[tokio::test]
    async fn chunks_of_any_length_become_whole_pieces() {
        let lengths = [1, 5 << 20, 0, 700_000, 700_000, 3, 1 << 20];
        let length: usize = lengths.iter().sum();
        let pieces = all(RawStream::new(chunks(&lengths), length as u64))
            .await
            .unwrap();
        let (last, whole) = pieces.split_last().unwrap();
        assert!(whole.iter().all(|piece| piece.bytes.len() == PIECE));
        assert!(last.bytes.len() <= PIECE);
        let mut expected = Vec::new();
        let mut stream = chunks(&lengths);
        while let Some(chunk) = stream.next().await {
            expected.extend_from_slice(&chunk.unwrap());
        }
        let mut found = Vec::new();
        for piece in pieces {
            assert_eq!(piece.offset, found.len() as u64);
            found.extend_from_slice(&piece.bytes);
        }
        assert!(found == expected);
    }

    #[tokio::test]
    async fn a_stream_that_ends_early_is_an_error() {
        let error = all(RawStream::new(chunks(&[1000, 1000]), 3000))
            .await
            .unwrap_err();
        assert!(matches!(
            error,
            SourceError::Ended {
                had: 2000,
                wanted: 3000
            }
        ));
    }

    #[tokio::test]
    async fn a_stream_that_goes_on_is_an_error() {
        let error = all(RawStream::new(chunks(&[1000, 1000]), 1500))
            .await
            .unwrap_err();
        assert!(matches!(error, SourceError::GoesOn { wanted: 1500 }));
    }

    #[tokio::test]
    async fn an_error_of_the_stream_says_where() {
        let broken = stream::iter([
            Ok(Bytes::from_static(b"abc")),
            Err(std::io::Error::other("cable")),
        ]);
        let error = all(RawStream::new(broken, 10)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the image could not be read at offset 3: cable"
        );
    }

    #[tokio::test]
    async fn a_file_is_read_to_its_last_byte() {
        let bytes: Bytes = (0..3 * PIECE + 77).map(|at| (at / 999) as u8).collect();
        let source = RawFile::open(Arc::new(bytes.clone())).await.unwrap();
        assert_eq!(source.size(), bytes.len() as u64);
        let pieces = all(source).await.unwrap();
        let found: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.to_vec()).collect();
        assert!(found == bytes);
    }
}
