//! The writer against targets that remember, wait or fail.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::*;

use super::*;
use crate::disk::BlockSize;
use crate::disk::tests::IDENTITY;
use crate::reader::{Info, Reader};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Write(u64, Bytes),
    Flush,
}

/// A file in memory that remembers what was done to it, each write after as many turns of the runtime as its length says, so
/// that later ones overtake earlier ones.
#[derive(Default)]
struct Memory {
    events: Mutex<Vec<Event>>,
    under_way: AtomicUsize,
    most: AtomicUsize,
    /// The write with that number fails.
    fails: Option<usize>,
}

#[async_trait]
impl WriteAt for Memory {
    async fn write_at(&self, offset: u64, bytes: Bytes) -> io::Result<()> {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        for _ in 0..bytes.len() % 7 {
            tokio::task::yield_now().await;
        }
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        let mut events = self.events.lock().unwrap();
        if self.fails == Some(events.len()) {
            return Err(io::Error::other("the disk is full"));
        }
        events.push(Event::Write(offset, bytes));
        Ok(())
    }

    async fn flush(&self) -> io::Result<()> {
        assert_eq!(self.under_way.load(Ordering::SeqCst), 0, "flushed while writing");
        self.events.lock().unwrap().push(Event::Flush);
        Ok(())
    }
}

/// The file that the first events make.
fn file(events: &[Event]) -> Bytes {
    let mut file = Vec::new();
    for event in events {
        if let Event::Write(offset, bytes) = event {
            let (from, to) = (*offset as usize, *offset as usize + bytes.len());
            file.resize(file.len().max(to), 0);
            file[from..to].copy_from_slice(bytes);
        }
    }
    file.into()
}

fn disk(size: u64) -> Disk {
    Disk::holding(size, IDENTITY).unwrap()
}

fn writer(target: &Arc<Memory>, size: u64) -> Writer {
    Writer::new(Arc::clone(target) as Arc<dyn WriteAt>, disk(size))
}

#[tokio::test]
async fn a_file_that_was_cut_short_is_no_disk() {
    let target = Arc::new(Memory::default());
    let mut writer = writer(&target, 10 << 20);
    for at in [3, 0, 7] {
        writer
            .write(at << 20, vec![at as u8 + 1; 70_000].into())
            .await
            .unwrap();
    }
    let written = writer.finish().await.unwrap();
    let events = target.events.lock().unwrap().clone();
    for cut in 0..events.len() {
        let (whole, rest) = events.split_at(cut);
        if rest.iter().all(|event| *event == Event::Flush) {
            break;
        }
        assert!(
            Info::read(&file(whole)).await.is_err(),
            "after {cut} of {events:?}"
        );
    }
    let whole = file(&events);
    assert_eq!(whole.len() as u64, written.file);
    assert_eq!(Info::read(&whole).await.unwrap().size, 10 << 20);
    // The identifier is the last write, between two flushes.
    let end: Vec<_> = events.iter().rev().take(3).collect();
    assert!(
        matches!(end[..], [Event::Flush, Event::Write(0, _), Event::Flush]),
        "{end:?}"
    );
}

#[tokio::test]
async fn zeros_are_not_sent_and_take_no_room() {
    let target = Arc::new(Memory::default());
    let mut writer = writer(&target, 1 << 30);
    writer.write(0, vec![0; 5 << 20].into()).await.unwrap();
    let mut piece = vec![0; 1 << 20];
    piece[300_000] = 1;
    piece[900_000] = 1;
    writer.write(64 << 20, piece.into()).await.unwrap();
    let written = writer.finish().await.unwrap();
    assert_eq!(written.blocks, 1);
    assert_eq!(written.file, 5 << 20);
    // Two grains beside headers, metadata, BAT and the file's last bytes.
    assert!(written.bytes < (128 << 10) + (400 << 10), "{written:?}");
}

#[tokio::test]
async fn blocks_lie_in_the_order_in_which_they_came() {
    let target = Arc::new(Memory::default());
    let mut writer = writer(&target, 100 << 20);
    for at in [50, 3, 99] {
        writer.write(at << 20, vec![at as u8; 4096].into()).await.unwrap();
    }
    writer.finish().await.unwrap();
    let whole = file(&target.events.lock().unwrap());
    for (place, value) in [(4, 50), (5, 3), (6, 99)] {
        assert_eq!(whole[place << 20], value);
    }
}

#[tokio::test]
async fn many_are_written_at_once_and_no_more_is_held_than_there_is_room_for() {
    let target = Arc::new(Memory::default());
    let mut writer = writer(&target, 1 << 30).with_room(3 << 20);
    for at in 0..64 {
        writer
            .write(at << 20, vec![1; (1 << 20) - 1].into())
            .await
            .unwrap();
    }
    let written = writer.finish().await.unwrap();
    assert_eq!(target.most.load(Ordering::SeqCst), 3);
    assert!(written.held <= 3 << 20, "{written:?}");
}

#[tokio::test]
async fn a_piece_longer_than_the_room_goes_alone() {
    let target = Arc::new(Memory::default());
    let mut writer = writer(&target, 1 << 30).with_room(1000);
    for at in 0..4 {
        writer.write(at << 21, vec![1; 2_000_003].into()).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap().held, 2_000_003);
    assert_eq!(target.most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn after_a_write_that_failed_nothing_is_finished() {
    for fails in 0..3 {
        let target = Arc::new(Memory {
            fails: Some(fails),
            ..Memory::default()
        });
        let mut writer = writer(&target, 1 << 30).with_room(1);
        let mut failed = false;
        for at in 0..3_u64 {
            match writer.write(at << 20, vec![1; 4096].into()).await {
                Ok(()) => {}
                Err(WriteError::Target { offset, length, .. }) => {
                    assert_eq!((offset, length), ((4 + fails as u64) << 20, 4096));
                    failed = true;
                }
                Err(other) => assert!(failed && matches!(other, WriteError::Torn), "{other}"),
            }
        }
        let error = writer.finish().await.unwrap_err();
        assert_eq!(matches!(error, WriteError::Torn), failed, "{error}");
        let events = target.events.lock().unwrap().clone();
        assert!(Info::read(&file(&events)).await.is_err());
    }
}

/// Writes that never end.
struct Stuck;

#[async_trait]
impl WriteAt for Stuck {
    async fn write_at(&self, _: u64, _: Bytes) -> io::Result<()> {
        std::future::pending().await
    }

    async fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_given_up_leaves_no_disk() {
    let mut writer = Writer::new(Arc::new(Stuck), disk(1 << 30)).with_room(1);
    writer.write(0, vec![1; 10].into()).await.unwrap();
    let second = writer.write(1 << 20, vec![1; 10].into());
    assert!(
        tokio::time::timeout(Duration::from_secs(1), second)
            .await
            .is_err()
    );
    let end = tokio::time::timeout(Duration::from_secs(1), writer.finish()).await;
    assert!(matches!(end, Ok(Err(WriteError::Torn))));
}

#[tokio::test]
async fn what_is_not_inside_the_disk_is_refused() {
    let target = Arc::new(Memory::default());
    let mut writer = writer(&target, 1 << 20);
    for (offset, length) in [(1 << 20, 1), ((1 << 20) - 1, 2), (u64::MAX, 1)] {
        let error = writer.write(offset, vec![1; length].into()).await.unwrap_err();
        assert!(matches!(error, WriteError::Outside { .. }));
    }
    writer.write(1 << 20, Bytes::new()).await.unwrap();
    writer.finish().await.unwrap();
}

fn pieces() -> impl Strategy<Value = Vec<(u32, u32, u8)>> {
    // Few starts and values, so that pieces lie on each other, in one block and over several, and are zeros often.
    let start = prop_oneof![0..6_000_000_u32, (0..90_u32).prop_map(|grain| grain << 16)];
    let length = prop_oneof![1..200_u32, 60_000..140_000_u32, Just(1 << 20), 1..3_000_000_u32];
    prop::collection::vec((start, length, 0..3_u8), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pieces_in_any_order_and_anew_make_the_disk_they_say(pieces in pieces(), block in 0..2_u32) {
        const SIZE: usize = 6_000_128;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let (found, wanted) = runtime.block_on(async {
            let target = Arc::new(Memory::default());
            let disk = disk(SIZE as u64).with_blocks(BlockSize::new(1 << (20 + block)).unwrap());
            let mut writer = Writer::new(Arc::clone(&target) as Arc<dyn WriteAt>, disk);
            let mut wanted = vec![0; SIZE];
            for (index, (start, length, value)) in pieces.into_iter().enumerate() {
                let start = start as usize;
                let end = (start + length as usize).min(SIZE);
                let piece: Vec<u8> = (start..end).map(|at| value.wrapping_mul((at / 50_000 + index) as u8)).collect();
                wanted[start..end].copy_from_slice(&piece);
                writer.write(start as u64, piece.into()).await.unwrap();
            }
            writer.finish().await.unwrap();
            let whole = file(&target.events.lock().unwrap());
            let reader = Reader::open(Arc::new(whole)).await.unwrap();
            (reader.read_at(0, SIZE).await.unwrap(), wanted)
        });
        prop_assert!(found == wanted);
    }
}
