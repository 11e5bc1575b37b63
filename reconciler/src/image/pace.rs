//! A stream that may not stall: an idle limit between chunks and a deadline for the whole.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream::BoxStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::error::{Fault, Wait};

/// The bytes of a source as they come.
pub(crate) type ByteStream = BoxStream<'static, Result<Bytes, Fault>>;

/// Ends a stream with an error when it stalls.
///
/// The idle clock runs only while somebody waits for data: a slow host that takes its time between two chunks
/// is not the source's fault.
pub(crate) struct Paced {
    inner: ByteStream,
    idle: Duration,
    deadline: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
    received: u64,
}

impl Paced {
    pub(crate) fn new(inner: ByteStream, idle: Duration, deadline: Option<Instant>) -> Self {
        Self {
            inner,
            idle,
            deadline,
            alarm: None,
            received: 0,
        }
    }

    fn past_deadline(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn late(&self) -> Fault {
        match self.past_deadline() {
            true => Fault::Deadline {
                received: self.received,
            },
            false => Fault::Stalled {
                wait: Wait::Data,
                after: self.idle,
                received: self.received,
            },
        }
    }
}

impl Stream for Paced {
    type Item = Result<Bytes, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // A source that always has data never reaches the alarm below.
        if self.past_deadline() {
            return Poll::Ready(Some(Err(self.late())));
        }
        if let Poll::Ready(item) = self.inner.as_mut().poll_next(context) {
            self.alarm = None;
            if let Some(Ok(chunk)) = &item {
                self.received += chunk.len() as u64;
            }
            return Poll::Ready(item);
        }
        let (idle, deadline) = (self.idle, self.deadline);
        let alarm = self.alarm.get_or_insert_with(|| {
            let until = Instant::now() + idle;
            Box::pin(sleep_until(
                deadline.map_or(until, |deadline| deadline.min(until)),
            ))
        });
        match alarm.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err(self.late()))),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};
    use tokio::time::{advance, sleep};

    use super::*;

    const IDLE: Duration = Duration::from_secs(10);

    fn every(seconds: u64) -> ByteStream {
        stream::unfold((), move |()| async move {
            sleep(Duration::from_secs(seconds)).await;
            Some((Ok(Bytes::from_static(b"x")), ()))
        })
        .boxed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_but_steady_source_is_let_run() {
        let chunks = Paced::new(every(9), IDLE, None)
            .take(20)
            .collect::<Vec<_>>()
            .await;
        assert!(chunks.iter().all(Result::is_ok));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_longer_than_the_idle_limit_is_a_stall() {
        let item = Paced::new(every(11), IDLE, None).next().await;
        assert!(
            matches!(
                item,
                Some(Err(Fault::Stalled {
                    wait: Wait::Data,
                    received: 0,
                    ..
                }))
            ),
            "{item:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_taker_is_not_held_against_the_source() {
        let mut stream = Paced::new(every(5), IDLE, None);
        for _ in 0..3 {
            assert!(matches!(stream.next().await, Some(Ok(_))));
            advance(IDLE * 10).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_ends_a_source_that_never_stalls() {
        let deadline = Instant::now() + Duration::from_secs(30);
        let items = Paced::new(every(4), IDLE, Some(deadline))
            .take(8)
            .collect::<Vec<_>>()
            .await;
        assert!(items[..7].iter().all(Result::is_ok));
        assert!(
            matches!(items[7], Err(Fault::Deadline { received: 7 })),
            "{items:?}"
        );
    }
}
