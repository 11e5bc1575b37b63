//! The stream that leaves this module: exactly as long as promised, its digest known and right at the end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;

use super::digest::{DigestSlot, Hasher, Sha256Digest};
use super::error::{Fault, ImageError};
use super::pace::ByteStream;

/// An image's bytes, `length` of them and never one more.
///
/// The chunk that completes the length is held back until the source has shown its end and the digest has been
/// compared. So the receiver of `length` bytes needs to look no further, and one that must not be given a wrong
/// image can trust that it lacks the last bytes of every wrong one.
pub struct ImageStream {
    origin: String,
    source: ByteStream,
    length: u64,
    received: u64,
    hasher: Option<Hasher>,
    expected: Option<Sha256Digest>,
    last: Option<Bytes>,
    digest: DigestSlot,
}

impl ImageStream {
    pub(crate) fn new(
        origin: String,
        source: ByteStream,
        length: u64,
        expected: Option<Sha256Digest>,
    ) -> Self {
        Self {
            origin,
            source,
            length,
            received: 0,
            hasher: Some(Hasher::default()),
            expected,
            last: None,
            digest: DigestSlot::default(),
        }
    }

    /// Where the digest appears when the stream has ended well.
    pub fn digest(&self) -> DigestSlot {
        self.digest.clone()
    }

    /// Takes a chunk in; gives it back unless it is the one to hold.
    fn accept(&mut self, hasher: &mut Hasher, chunk: Bytes) -> Result<Option<Bytes>, Fault> {
        self.received = self.received.saturating_add(chunk.len() as u64);
        if self.received > self.length {
            return Err(Fault::TooLong {
                promised: self.length,
            });
        }
        hasher.update(&chunk);
        if self.received == self.length {
            self.last = Some(chunk);
            return Ok(None);
        }
        Ok(Some(chunk))
    }

    fn conclude(&mut self, hasher: Hasher) -> Result<Option<Bytes>, Fault> {
        if self.received < self.length {
            return Err(Fault::TooShort {
                promised: self.length,
                received: self.received,
            });
        }
        let actual = hasher.finish();
        match self.expected {
            Some(expected) if expected != actual => Err(Fault::Digest { expected, actual }),
            _ => {
                self.digest.set(actual);
                Ok(self.last.take())
            }
        }
    }
}

impl Stream for ImageStream {
    type Item = Result<Bytes, ImageError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        // The hasher is put back as long as the stream goes on; without it the stream is over.
        let Some(mut hasher) = this.hasher.take() else {
            return Poll::Ready(None);
        };
        loop {
            let outcome = match this.source.as_mut().poll_next(context) {
                Poll::Pending => {
                    this.hasher = Some(hasher);
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(chunk))) if chunk.is_empty() => continue,
                Poll::Ready(Some(Ok(chunk))) => match this.accept(&mut hasher, chunk) {
                    Ok(Some(chunk)) => {
                        this.hasher = Some(hasher);
                        return Poll::Ready(Some(Ok(chunk)));
                    }
                    Ok(None) => continue,
                    Err(fault) => Err(fault),
                },
                Poll::Ready(Some(Err(fault))) => Err(fault),
                Poll::Ready(None) => this.conclude(hasher),
            };
            return Poll::Ready(outcome.map_err(|fault| fault.of(&this.origin)).transpose());
        }
    }
}

impl std::fmt::Debug for ImageStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageStream")
            .field("origin", &self.origin)
            .field("length", &self.length)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};

    use super::*;

    async fn run(
        chunks: &[&'static [u8]],
        length: u64,
        expected: Option<&[u8]>,
    ) -> (Vec<u8>, Option<Fault>, DigestSlot) {
        let source = stream::iter(
            chunks
                .iter()
                .map(|chunk| Ok(Bytes::from_static(chunk)))
                .collect::<Vec<_>>(),
        )
        .boxed();
        let mut image = ImageStream::new("test".into(), source, length, expected.map(Sha256Digest::of));
        let (digest, mut bytes) = (image.digest(), Vec::new());
        while let Some(item) = image.next().await {
            match item {
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(error) => {
                    assert!(image.next().await.is_none(), "nothing follows an error");
                    return (bytes, Some(error.fault), digest);
                }
            }
        }
        (bytes, None, digest)
    }

    #[tokio::test]
    async fn a_good_source_passes_whole_and_leaves_its_digest() {
        let (bytes, fault, digest) = run(&[b"ab", b"", b"c"], 3, Some(b"abc")).await;
        assert_eq!((bytes.as_slice(), fault.is_none()), (&b"abc"[..], true));
        assert_eq!(digest.get(), Some(Sha256Digest::of(b"abc")));
    }

    #[tokio::test]
    async fn one_byte_more_is_an_error_and_the_last_promised_bytes_are_not_given_out() {
        for chunks in [&[&b"ab"[..], b"c", b"d"][..], &[b"ab", b"cd"]] {
            let (bytes, fault, digest) = run(chunks, 3, None).await;
            assert_eq!(bytes, b"ab");
            assert!(matches!(fault, Some(Fault::TooLong { promised: 3 })));
            assert_eq!(digest.get(), None);
        }
    }

    #[tokio::test]
    async fn one_byte_less_is_an_error() {
        let (_, fault, digest) = run(&[b"ab"], 3, None).await;
        assert!(matches!(
            fault,
            Some(Fault::TooShort {
                promised: 3,
                received: 2
            })
        ));
        assert_eq!(digest.get(), None);
    }

    #[tokio::test]
    async fn a_wrong_digest_names_both_and_holds_back_the_last_bytes() {
        let (bytes, fault, digest) = run(&[b"ab", b"c"], 3, Some(b"abd")).await;
        assert_eq!(bytes, b"ab");
        let text = fault.unwrap().to_string();
        assert!(text.contains(&Sha256Digest::of(b"abc").to_string()), "{text}");
        assert!(text.contains(&Sha256Digest::of(b"abd").to_string()), "{text}");
        assert_eq!(digest.get(), None);
    }
}
