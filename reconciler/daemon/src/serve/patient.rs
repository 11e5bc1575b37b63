//! A connection whose other end takes nothing for too long breaks: who asks and never reads does not keep a place for ever.
//!
//! ```text
//! write ──pending──▶ clock runs ──taken──▶ clock stops
//!                        └──── over ──▶ TimedOut
//! ```

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// A connection with a bound on how long nothing of what is written may be taken.
pub(crate) struct Patient<S> {
    stream: S,
    within: Duration,
    /// Runs while something waits to be taken.
    clock: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(crate) fn new(stream: S, within: Duration) -> Self {
        Self {
            stream,
            within,
            clock: None,
        }
    }

    /// What became of an attempt to write: too long a wait is an error.
    fn judged(
        &mut self,
        context: &mut Context<'_>,
        tried: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if tried.is_ready() {
            self.clock = None;
            return tried;
        }
        let within = self.within;
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep(within)));
        ready!(clock.as_mut().poll(context));
        // Whoever asks again has the same answer at once.
        clock.as_mut().reset(Instant::now());
        let why = format!("nothing was taken for {within:?}");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judged(context, tried)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.judged(context, tried)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // A socket does neither of these by and by: what is written was taken before.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    #[tokio::test]
    async fn who_takes_nothing_is_left() {
        let (ours, theirs) = duplex(4);
        let mut patient = Patient::new(ours, Duration::from_millis(20));
        let error = patient.write_all(b"more than that").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(theirs);
    }

    /// All of it takes longer than the bound, and nothing of it does.
    #[tokio::test]
    async fn who_takes_a_little_now_and_then_is_not() {
        let (ours, mut theirs) = duplex(1);
        let (within, begun) = (Duration::from_secs(1), Instant::now());
        let reader = tokio::spawn(async move {
            let mut read = Vec::new();
            let mut piece = [0; 1];
            while theirs.read_exact(&mut piece).await.is_ok() {
                read.extend(piece);
                sleep(within / 10).await;
            }
            read
        });
        let mut patient = Patient::new(ours, within);
        patient.write_all(b"twelve bytes and some").await.unwrap();
        assert!(begun.elapsed() > within);
        drop(patient);
        assert_eq!(reader.await.unwrap(), b"twelve bytes and some");
    }
}
