//! What stands in a volume: only the bytes that are not zero, up to a bound.

use std::collections::BTreeMap;

use labyard_driver::ids::Bytes;
use labyard_driver::spec::DiskFormat;
use serde::{Deserialize, Serialize};

const BLOCK: usize = 512;
/// The longest volume whose bytes are all kept. Seeds and markers fit; of an image only the head is of interest.
const KEPT_WHOLE: u64 = 1 << 20;

/// The bytes of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    written: u64,
    blocks: BTreeMap<u64, Block>,
    kept: Kept,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Kept {
    #[default]
    Whole,
    Head,
}

/// One block in hex: half the size of a JSON array of numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Block(#[serde(with = "crate::hex")] Vec<u8>);

impl Content {
    /// Nothing yet, for so many bytes to come.
    pub(crate) fn for_length(length: Bytes) -> Self {
        let kept = if length.0 > KEPT_WHOLE {
            Kept::Head
        } else {
            Kept::Whole
        };
        Self {
            kept,
            ..Self::default()
        }
    }

    /// Appends bytes to what was written before.
    pub(crate) fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let offset = usize::try_from(self.written % BLOCK as u64).unwrap_or(0);
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - offset));
            self.put(self.written / BLOCK as u64, offset, now);
            self.written += now.len() as u64;
            bytes = rest;
        }
    }

    fn put(&mut self, index: u64, offset: usize, bytes: &[u8]) {
        if bytes.iter().all(|byte| *byte == 0) || (self.kept == Kept::Head && index > 0) {
            return;
        }
        let block = self.blocks.entry(index).or_insert_with(|| Block(Vec::new()));
        block.0.resize(block.0.len().max(offset + bytes.len()), 0);
        block.0[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// The first `length` bytes, zeros where nothing was written; `None` where only the head was kept.
    pub(crate) fn read(&self, length: Bytes) -> Option<Vec<u8>> {
        if self.kept == Kept::Head {
            return None;
        }
        let mut out = vec![0; usize::try_from(length.0).ok()?];
        for (index, block) in &self.blocks {
            let start = usize::try_from(*index).ok()? * BLOCK;
            let Some(room) = out.get_mut(start..) else {
                continue;
            };
            let count = room.len().min(block.0.len());
            room[..count].copy_from_slice(&block.0[..count]);
        }
        Some(out)
    }

    /// How much was written.
    pub(crate) fn written(&self) -> Bytes {
        Bytes(self.written)
    }

    /// Whether anything was ever written.
    pub(crate) fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// The format and virtual size that the first bytes tell: qcow2 by its header, raw otherwise.
    pub(crate) fn probe(&self, length: Bytes) -> (DiskFormat, Bytes) {
        let head = self.blocks.get(&0).map_or(&[][..], |block| &block.0);
        let size = head.get(24..32).and_then(|b| <[u8; 8]>::try_from(b).ok());
        match size {
            Some(size) if head.starts_with(b"QFI\xfb") => {
                (DiskFormat::Qcow2, Bytes(u64::from_be_bytes(size)))
            }
            _ => (DiskFormat::Raw, length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_they_were_written_also_through_json() {
        let mut content = Content::default();
        let bytes: Vec<u8> = (0..5000u32)
            .map(|n| if n % 1500 < 700 { 0 } else { n.to_le_bytes()[0] })
            .collect();
        for chunk in bytes.chunks(333) {
            content.append(chunk);
        }
        let text = serde_json::to_string(&content).unwrap();
        let again: Content = serde_json::from_str(&text).unwrap();
        assert_eq!(again, content);
        assert_eq!(again.read(Bytes(5000)).unwrap(), bytes);
        assert_eq!(again.read(Bytes(10)).unwrap(), bytes[..10]);
    }

    #[test]
    fn a_qcow2_header_tells_format_and_size() {
        let mut header = vec![0; 512];
        header[..4].copy_from_slice(b"QFI\xfb");
        header[24..32].copy_from_slice(&(5u64 << 30).to_be_bytes());
        let mut content = Content::default();
        content.append(&header);
        assert_eq!(content.probe(Bytes(512)), (DiskFormat::Qcow2, Bytes::from_gib(5)));
        assert_eq!(
            Content::default().probe(Bytes(512)),
            (DiskFormat::Raw, Bytes(512))
        );
    }

    #[test]
    fn an_image_too_large_to_keep_is_not_read_back_as_something_else() {
        let length = Bytes(KEPT_WHOLE + 1);
        let mut content = Content::for_length(length);
        content.append(&vec![1; usize::try_from(length.0).unwrap()]);
        assert_eq!(content.read(length), None);
        assert_eq!(content.blocks.len(), 1);
    }
}
