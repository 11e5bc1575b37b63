//! A stream that notices when somebody asks again before he was answered. Logins of Negotiate and their seals belong to a
//! connection and its order, so that requests that are interleaved on one are refused.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What was seen on a connection.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// A request was read whole and is not answered.
    busy: AtomicBool,
    /// Bytes came since the last answer.
    fresh: AtomicBool,
    /// Bytes came while a request was not answered.
    early: AtomicBool,
}

impl Order {
    /// A request begins; whether it had waited for the answer before it.
    pub(crate) fn begins(&self) -> bool {
        let fresh = self.fresh.swap(false, Ordering::SeqCst);
        fresh && !self.early.load(Ordering::SeqCst)
    }

    /// A request was read whole.
    pub(crate) fn read(&self) {
        self.busy.store(true, Ordering::SeqCst);
        // What came of its body is no new request.
        self.fresh.store(false, Ordering::SeqCst);
    }

    /// Its answer is ready.
    pub(crate) fn answered(&self) {
        self.busy.store(false, Ordering::SeqCst);
    }

    fn came(&self) {
        self.fresh.store(true, Ordering::SeqCst);
        if self.busy.load(Ordering::SeqCst) {
            self.early.store(true, Ordering::SeqCst);
        }
    }
}

/// A stream that is watched.
pub(crate) struct Watched<S> {
    stream: S,
    order: Arc<Order>,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, order: Arc<Order>) -> Self {
        Self { stream, order }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.order.came();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
