//! The reader against files that are nearly right.

use super::*;
use crate::disk::Disk;
use crate::disk::tests::IDENTITY;
use crate::format::put;
use crate::io::WriteAt;
use crate::writer::Writer;

#[derive(Default)]
struct Memory(Mutex<Vec<u8>>);

#[async_trait]
impl WriteAt for Memory {
    async fn write_at(&self, offset: u64, bytes: Bytes) -> io::Result<()> {
        let mut file = self.0.lock().unwrap();
        let end = offset as usize + bytes.len();
        let length = file.len().max(end);
        file.resize(length, 0);
        put(&mut file, offset as usize, &bytes);
        Ok(())
    }

    async fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

const SIZE: u64 = 10 << 20;

/// 10 MiB with something in the third and the last MiB.
async fn whole() -> Vec<u8> {
    let target = Arc::new(Memory::default());
    let mut writer = Writer::new(
        Arc::clone(&target) as Arc<dyn WriteAt>,
        Disk::holding(SIZE, IDENTITY).unwrap(),
    );
    writer.write((2 << 20) + 5, vec![3; 1000].into()).await.unwrap();
    writer.write(SIZE - 7, vec![10; 7].into()).await.unwrap();
    writer.finish().await.unwrap();
    target.0.lock().unwrap().clone()
}

async fn open(file: Vec<u8>) -> Result<Reader, VhdxError> {
    Reader::open(Arc::new(Bytes::from(file))).await
}

/// With both headers changed and sealed again.
async fn with_headers(change: impl Fn(&mut Header)) -> Vec<u8> {
    let mut file = whole().await;
    for offset in header::OFFSETS {
        let offset = offset as usize;
        let mut header = Header::decode(&file[offset..offset + header::LENGTH]).unwrap();
        change(&mut header);
        put(&mut file, offset, &header.encode());
    }
    file
}

#[tokio::test]
async fn what_was_written_is_read() {
    let reader = open(whole().await).await.unwrap();
    let info = reader.info();
    assert_eq!((info.kind, info.size), (Kind::Dynamic, SIZE));
    assert_eq!(info.identity, IDENTITY);
    assert_eq!(info.block_size, BlockSize::SMALLEST);
    assert!(info.creator.starts_with("labyard vhdx "));
    assert_eq!(info.parent, None);
    let bytes = reader.read_at((2 << 20) + 4, 1002).await.unwrap();
    assert_eq!((bytes[0], bytes[1], bytes[1000], bytes[1001]), (0, 3, 3, 0));
    assert_eq!(
        reader.read_at(SIZE - 8, 8).await.unwrap(),
        &[0, 10, 10, 10, 10, 10, 10, 10][..]
    );
    for (offset, length) in [(SIZE, 1), (SIZE - 1, 2), (u64::MAX, 2)] {
        let error = reader.read_at(offset, length).await.unwrap_err();
        assert!(matches!(error, VhdxError::Outside { .. }));
    }
}

#[tokio::test]
async fn the_first_bytes_are_enough_to_know_what_it_is() {
    let whole = Bytes::from(whole().await);
    let info = Info::read(&whole.slice(..3 << 20)).await.unwrap();
    assert_eq!(info, Info::read(&whole).await.unwrap());
}

#[tokio::test]
async fn pieces_are_the_content_without_its_holes() {
    let mut pieces = open(whole().await).await.unwrap().pieces();
    assert_eq!(pieces.size(), SIZE);
    let mut offsets = Vec::new();
    while let Some(piece) = pieces.next().await.unwrap() {
        assert_eq!(piece.bytes.len(), 1 << 20);
        offsets.push(piece.offset);
    }
    assert_eq!(offsets, [2 << 20, 9 << 20]);
}

#[tokio::test]
async fn a_file_in_use_is_refused_and_says_so() {
    let log = Uuid::from_u128(77);
    let error = open(with_headers(|header| header.log = log).await)
        .await
        .err()
        .unwrap();
    assert!(matches!(error, VhdxError::DirtyLog(found) if found == log));
    assert!(error.to_string().contains("in use"), "{error}");
}

#[tokio::test]
async fn other_versions_and_damaged_headers_are_refused() {
    let error = open(with_headers(|header| header.version = 2).await).await;
    assert!(matches!(error, Err(VhdxError::Version(2))));
    let mut file = whole().await;
    file[(64 << 10) + 16] ^= 1;
    assert!(open(file.clone()).await.is_ok());
    file[(128 << 10) + 16] ^= 1;
    assert!(matches!(open(file.clone()).await, Err(VhdxError::NoHeader)));
    file[0] = b'V';
    assert!(matches!(open(file).await, Err(VhdxError::NotVhdx)));
    assert!(matches!(open(Vec::new()).await, Err(VhdxError::NotVhdx)));
}

#[tokio::test]
async fn a_block_that_is_cut_off_is_an_error_where_it_is_read() {
    let mut file = whole().await;
    file.truncate(file.len() - 1);
    let reader = open(file).await.unwrap();
    assert!(reader.read_at(2 << 20, 10).await.is_ok());
    let error = reader.read_at(9 << 20, 10).await.unwrap_err();
    assert!(matches!(error, VhdxError::Block { block: 9, .. }), "{error}");
}

#[tokio::test]
async fn entries_that_cannot_be_are_errors_where_they_are_read() {
    for (entry, offset) in [(6_u64, 0), (!7 | 6, (u64::MAX >> 20) << 20)] {
        let mut file = whole().await;
        put(&mut file, (3 << 20) + 16, &entry.to_le_bytes());
        let error = open(file).await.unwrap().read_at(2 << 20, 1).await.unwrap_err();
        assert!(matches!(error, VhdxError::Block { block: 2, offset: found, .. } if found == offset));
    }
    for state in [4, 5, 7] {
        let mut file = whole().await;
        file[(3 << 20) + 16] = state;
        let error = open(file).await.unwrap().read_at(2 << 20, 1).await.unwrap_err();
        assert!(matches!(error, VhdxError::State { block: 2, state: found } if found == state));
    }
    for state in [0, 1, 2, 3] {
        let mut file = whole().await;
        // The place of a block that is not there means nothing.
        file[(3 << 20) + 16] = state;
        let bytes = open(file).await.unwrap().read_at((2 << 20) + 5, 1).await.unwrap();
        assert_eq!(bytes[0], 0);
    }
}

#[tokio::test]
async fn a_bat_too_short_for_the_disk_is_refused() {
    let mut file = whole().await;
    // The size, behind the table of the metadata and the block size.
    put(
        &mut file,
        (2 << 20) + (64 << 10) + 8,
        &(64_u64 << 40).to_le_bytes(),
    );
    assert!(matches!(open(file).await, Err(VhdxError::ShortBat { .. })));
}
