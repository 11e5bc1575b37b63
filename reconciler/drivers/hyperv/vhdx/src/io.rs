//! What files have to be able to do: be read and be written at an offset, from several tasks at once. [`LocalFile`] is one;
//! a file on a share is another, of whoever brings it.
//!
//! [`LocalFile`]: crate::LocalFile

use std::io;

use async_trait::async_trait;
use bytes::Bytes;

/// A file that can be read anywhere.
#[async_trait]
pub trait ReadAt: Send + Sync {
    /// Its length in bytes.
    async fn length(&self) -> io::Result<u64>;

    /// Its bytes from `offset` on: `length` of them, fewer only where it ends.
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes>;

    /// Where, at or after `offset`, bytes come that may be other than zero: what lies between reads as zeros and need not be
    /// read. At or past its length: no more such bytes.
    async fn next_data(&self, offset: u64) -> io::Result<u64> {
        Ok(offset)
    }
}

/// A new file that can be written anywhere, in several places at once. Bytes that were never written and lie before the
/// last one that was read as zeros, as they do on any file system.
#[async_trait]
pub trait WriteAt: Send + Sync {
    /// Writes all of `bytes` at `offset`, past the end too.
    async fn write_at(&self, offset: u64, bytes: Bytes) -> io::Result<()>;

    /// Comes back when what has been written so far would outlast a loss of power.
    async fn flush(&self) -> io::Result<()>;
}

#[async_trait]
impl ReadAt for Bytes {
    async fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let to = from.saturating_add(length).min(self.len());
        Ok(self.slice(from..to))
    }
}

/// All of the `length` bytes at `offset`.
pub(crate) async fn read_exact(file: &dyn ReadAt, offset: u64, length: usize) -> io::Result<Bytes> {
    let bytes = file.read_at(offset, length).await?;
    if bytes.len() == length {
        Ok(bytes)
    } else {
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!(
                "the file ends {} bytes into the {length} at offset {offset}",
                bytes.len()
            ),
        ))
    }
}

/// Whether all bytes are zero. Whole words a step: it runs over every byte of every image.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    words
        .iter()
        .all(|word| word.iter().fold(0, |all, byte| all | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_bit_anywhere_is_seen() {
        for length in [0, 1, 63, 64, 65, 4096, 4099] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes));
            for at in [0, length / 2, length.saturating_sub(1)] {
                if at < length {
                    bytes[at] = 0x10;
                    assert!(!is_zero(&bytes), "{at} of {length}");
                    bytes[at] = 0;
                }
            }
        }
    }

    #[tokio::test]
    async fn bytes_are_a_file_that_ends() {
        let file = Bytes::from_static(b"abcdef");
        assert_eq!(file.read_at(4, 10).await.unwrap(), "ef");
        assert_eq!(file.read_at(u64::MAX, 10).await.unwrap(), "");
        let error = read_exact(&file, 4, 10).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
