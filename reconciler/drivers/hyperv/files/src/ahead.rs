//! Writing ahead: several writes of one file under way at a time, in bounded memory, however small the pieces come.
//!
//! Pieces that follow each other are gathered to chunks. A write that touches bytes of one under way waits for it: the
//! far side may do what is under way in any order.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use tokio::task::JoinSet;

use crate::error::Why;

/// Where chunks go.
#[async_trait]
pub(crate) trait Sink: Send + Sync + 'static {
    /// Writes all of it there.
    async fn put(&self, offset: u64, data: &[u8]) -> Result<(), Why>;
}

/// How much is under way at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead {
    /// Bytes of one write.
    pub(crate) chunk: usize,
    /// Writes at a time.
    pub(crate) writes: usize,
}

/// Writes of one file.
pub(crate) struct Writes<S> {
    sink: Arc<S>,
    ahead: Ahead,
    gathered: BytesMut,
    /// Where the gathered bytes go.
    at: u64,
    under_way: JoinSet<(Range<u64>, BytesMut, Result<(), Why>)>,
    ranges: Vec<Range<u64>>,
    /// Chunks whose writes are done: to have memory of the system again and again takes longer than to fill it.
    spare: Vec<BytesMut>,
    poisoned: bool,
}

impl<S: Sink> Writes<S> {
    pub(crate) fn new(sink: Arc<S>, ahead: Ahead) -> Self {
        Self {
            sink,
            ahead,
            gathered: BytesMut::new(),
            at: 0,
            under_way: JoinSet::new(),
            ranges: Vec::new(),
            spare: Vec::new(),
            poisoned: false,
        }
    }

    /// Takes bytes for a place.
    pub(crate) async fn write(&mut self, offset: u64, mut data: &[u8]) -> Result<(), Why> {
        self.sound()?;
        if offset
            .checked_add(data.len() as u64)
            .is_none_or(|end| end > i64::MAX as u64)
        {
            return Err(Why::Unsupported(format!("no file is {offset} bytes long")));
        }
        if offset != self.at + self.gathered.len() as u64 {
            self.send().await?;
            self.at = offset;
        }
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(self.ahead.chunk - self.gathered.len()));
            if self.gathered.capacity() == 0 {
                self.gathered = match self.spare.pop() {
                    Some(spare) => spare,
                    None => BytesMut::with_capacity(self.ahead.chunk),
                };
            }
            self.gathered.extend_from_slice(now);
            data = later;
            if self.gathered.len() == self.ahead.chunk {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Waits until everything is written.
    pub(crate) async fn settle(&mut self) -> Result<(), Why> {
        self.sound()?;
        self.send().await?;
        while !self.under_way.is_empty() {
            self.one().await?;
        }
        Ok(())
    }

    /// Gives up what is under way.
    pub(crate) async fn stop(mut self) {
        self.under_way.shutdown().await;
    }

    fn sound(&self) -> Result<(), Why> {
        match self.poisoned {
            true => Err(Why::Poisoned),
            false => Ok(()),
        }
    }

    /// Has what is gathered written.
    async fn send(&mut self) -> Result<(), Why> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let mut data = std::mem::take(&mut self.gathered);
        let range = self.at..self.at + data.len() as u64;
        while self.under_way.len() >= self.ahead.writes || self.touches(&range) {
            self.one().await?;
        }
        let sink = Arc::clone(&self.sink);
        self.at = range.end;
        self.ranges.push(range.clone());
        self.under_way.spawn(async move {
            let done = sink.put(range.start, &data).await;
            data.clear();
            (range, data, done)
        });
        Ok(())
    }

    fn touches(&self, range: &Range<u64>) -> bool {
        self.ranges
            .iter()
            .any(|other| range.start < other.end && other.start < range.end)
    }

    /// Waits for one of those under way.
    async fn one(&mut self) -> Result<(), Why> {
        let done = match self.under_way.join_next().await {
            None => return Ok(()),
            Some(Ok((range, spare, done))) => {
                self.ranges.retain(|other| *other != range);
                self.spare.push(spare);
                done
            }
            Some(Err(stopped)) => Err(Why::Malformed(format!("what stops a write ({stopped})"))),
        };
        self.poisoned |= done.is_err();
        done
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Slow {
        file: Mutex<Vec<u8>>,
        calls: AtomicUsize,
        now: AtomicUsize,
        most: AtomicUsize,
        full_from: Option<u64>,
    }

    #[async_trait]
    impl Sink for Slow {
        async fn put(&self, offset: u64, data: &[u8]) -> Result<(), Why> {
            let call = self.calls.fetch_add(1, Ordering::SeqCst);
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            // Later calls are done earlier.
            tokio::time::sleep(Duration::from_millis(20 - (call as u64 % 7) * 2)).await;
            self.now.fetch_sub(1, Ordering::SeqCst);
            if self.full_from.is_some_and(|from| offset >= from) {
                return Err(Why::DiskFull);
            }
            let mut file = self.file.lock().unwrap();
            let start = usize::try_from(offset).unwrap();
            let end = start + data.len();
            if file.len() < end {
                file.resize(end, 0);
            }
            file[start..end].copy_from_slice(data);
            Ok(())
        }
    }

    const SMALL: Ahead = Ahead { chunk: 16, writes: 4 };

    #[tokio::test(start_paused = true)]
    async fn small_pieces_are_gathered_and_several_chunks_are_under_way() {
        let sink = Arc::new(Slow::default());
        let mut writes = Writes::new(Arc::clone(&sink), SMALL);
        let all: Vec<u8> = (0..=255).collect();
        let mut at = 0;
        for piece in all.chunks(3) {
            writes.write(at, piece).await.unwrap();
            at += piece.len() as u64;
        }
        writes.settle().await.unwrap();
        assert_eq!(*sink.file.lock().unwrap(), all);
        assert_eq!(sink.calls.load(Ordering::SeqCst), 16);
        assert_eq!(sink.most.load(Ordering::SeqCst), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_once_by_its_name_and_stops_the_rest() {
        let sink = Arc::new(Slow {
            full_from: Some(32),
            ..Slow::default()
        });
        let mut writes = Writes::new(sink, SMALL);
        writes.write(0, &[1; 64]).await.unwrap();
        assert_eq!(writes.settle().await, Err(Why::DiskFull));
        assert_eq!(writes.write(0, &[1]).await, Err(Why::Poisoned));
        assert_eq!(writes.settle().await, Err(Why::Poisoned));
    }

    #[tokio::test(start_paused = true)]
    async fn no_file_is_longer_than_its_length_can_say() {
        let mut writes = Writes::new(Arc::new(Slow::default()), SMALL);
        assert!(writes.write(u64::MAX, &[1]).await.is_err());
        assert!(writes.write(i64::MAX as u64, &[1]).await.is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_file_is_as_if_written_in_order(pieces in prop::collection::vec((0u64..80, prop::collection::vec(any::<u8>(), 0..40)), 0..24)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let sink = Arc::new(Slow::default());
                let mut writes = Writes::new(Arc::clone(&sink), SMALL);
                let mut expected = Vec::new();
                for (offset, data) in &pieces {
                    writes.write(*offset, data).await.unwrap();
                    let start = usize::try_from(*offset).unwrap();
                    if !data.is_empty() && expected.len() < start + data.len() {
                        expected.resize(start + data.len(), 0);
                    }
                    if !data.is_empty() {
                        expected[start..start + data.len()].copy_from_slice(data);
                    }
                }
                writes.settle().await.unwrap();
                assert_eq!(*sink.file.lock().unwrap(), expected);
                assert!(sink.most.load(Ordering::SeqCst) <= 4);
            });
        }
    }
}
