//! A body that is read as it is sent: an image of the caller's own computer.

use super::{BodyError, Client, ClientError, Sent, read_answer};
use crate::{routes::Op, upload::Upload};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, ReadBuf};

/// How much of it is in memory.
const CHUNK: usize = 256 << 10;

/// What is read as it is sent.
struct Sending<R> {
    from: R,
    space: Box<[u8]>,
}

impl<R: AsyncRead + Unpin> Body for Sending<R> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let mut read = ReadBuf::new(&mut this.space);
        let came = ready!(Pin::new(&mut this.from).poll_read(cx, &mut read));
        Poll::Ready(match came {
            Ok(()) if read.filled().is_empty() => None,
            Ok(()) => Some(Ok(Frame::data(Bytes::copy_from_slice(read.filled())))),
            Err(error) => Some(Err(error.into())),
        })
    }
}

fn body(from: impl AsyncRead + Send + Unpin + 'static) -> Sent {
    let space = vec![0; CHUNK].into_boxed_slice();
    Sending { from, space }.boxed_unsync()
}

impl Client {
    /// Whether an image of that digest was sent, and is kept; it counts as sent now.
    ///
    /// # Errors
    /// As all calls; `no-upload` if it was not, `no-uploads` if none are taken.
    pub async fn uploaded(&self, sha256: &str) -> Result<Upload, ClientError> {
        let call = super::Call::of(&[sha256]);
        Ok(self.ask(Op::ShowUpload, call).await?.value)
    }

    /// An image of that digest is sent. It takes as long as it takes.
    ///
    /// # Errors
    /// As all calls.
    pub async fn upload(
        &self,
        sha256: &str,
        from: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<Upload, ClientError> {
        let call = super::Call::of(&[sha256]);
        let got = self
            .send_body(Op::Upload, &call, ("application/octet-stream", body(from)))
            .await?;
        read_answer(got).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_is_all_of_what_is_read_in_pieces() {
        let all: Vec<u8> = (0..CHUNK * 2 + 7).map(|at| (at % 251) as u8).collect();
        let sent = body(std::io::Cursor::new(all.clone())).collect().await.unwrap();
        assert_eq!(sent.to_bytes(), all);
    }
}
