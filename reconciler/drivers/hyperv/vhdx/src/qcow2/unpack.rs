//! Compressed clusters: deflate without a header, or zstd.

use std::io::Read;

use flate2::{Decompress, FlushDecompress, Status};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use super::header::Compression;

/// The largest window of a zstd frame that is accepted: what RFC 8878 (3.1.1.1.2) asks of every decoder, and four times the
/// largest cluster.
const WINDOW: u64 = 8 << 20;

/// Unpacks clusters one after the other.
pub(super) struct Unpacker {
    kind: Kind,
    cluster: usize,
}

enum Kind {
    Deflate(Decompress),
    Zstd(Box<FrameDecoder>),
}

impl Unpacker {
    pub(super) fn new(compression: Compression, cluster: usize) -> Self {
        let kind = match compression {
            Compression::Deflate => Kind::Deflate(Decompress::new(false)),
            Compression::Zstd => Kind::Zstd(Box::new(FrameDecoder::new())),
        };
        Self { kind, cluster }
    }

    /// Unpacks the beginning of a cluster: as much as `into` is long, and no longer than a cluster. `packed` may go on behind
    /// the cluster's bytes.
    pub(super) fn unpack(&mut self, packed: &[u8], into: &mut [u8]) -> Result<(), String> {
        debug_assert!(into.len() <= self.cluster);
        match &mut self.kind {
            Kind::Deflate(state) => deflate(state, packed, into),
            Kind::Zstd(decoder) => zstd(decoder, packed, into),
        }
    }
}

fn deflate(state: &mut Decompress, packed: &[u8], into: &mut [u8]) -> Result<(), String> {
    state.reset(false);
    let status = state
        .decompress(packed, into, FlushDecompress::Finish)
        .map_err(|error| error.to_string())?;
    let made = state.total_out();
    match status {
        // The rest does not fit: it lies behind the disk's end.
        Status::Ok | Status::BufError | Status::StreamEnd if made == into.len() as u64 => Ok(()),
        _ => Err(format!("it gives {made} bytes of {}", into.len())),
    }
}

/// A cluster may be several frames.
fn zstd(decoder: &mut FrameDecoder, mut packed: &[u8], into: &mut [u8]) -> Result<(), String> {
    let mut made = 0;
    while made < into.len() {
        let window = window(packed).ok_or_else(|| format!("it gives {made} bytes of {}", into.len()))?;
        if window > WINDOW {
            return Err(format!(
                "it wants a window of {window} bytes, and {WINDOW} is the most"
            ));
        }
        let mut stream = StreamingDecoder::new_with_decoder(&mut packed, &mut *decoder)
            .map_err(|error| error.to_string())?;
        loop {
            let read = stream
                .read(&mut into[made..])
                .map_err(|error| error.to_string())?;
            made += read;
            if read == 0 || made == into.len() {
                break;
            }
        }
    }
    Ok(())
}

/// How much memory the frame that `bytes` begin with wants; `None` if it is no frame. RFC 8878, 3.1.1.1.
fn window(bytes: &[u8]) -> Option<u64> {
    let rest = bytes.strip_prefix(&0xfd2f_b528_u32.to_le_bytes())?;
    let (descriptor, rest) = rest.split_first()?;
    if descriptor & 0x20 == 0 {
        let window = *rest.first()?;
        let base = 1_u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    // A single segment: the window is the content.
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let rest = rest.get(dictionary..)?;
    let mut size = [0; 8];
    let length = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    size[..length].copy_from_slice(rest.get(..length)?);
    let more = if length == 2 { 256 } else { 0 };
    Some(u64::from_le_bytes(size).saturating_add(more))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, FlushCompress};

    fn content() -> Vec<u8> {
        (0..4096_u32).flat_map(|at| (at / 7).to_le_bytes()).collect()
    }

    fn deflated() -> Vec<u8> {
        let mut packed = Vec::with_capacity(1 << 16);
        let mut state = Compress::new(flate2::Compression::best(), false);
        let status = state.compress_vec(&content(), &mut packed, FlushCompress::Finish);
        assert_eq!(status.unwrap(), Status::StreamEnd);
        packed
    }

    #[test]
    fn a_deflated_cluster_is_unpacked_whatever_follows_it() {
        let mut unpacker = Unpacker::new(Compression::Deflate, content().len());
        let mut packed = deflated();
        packed.extend_from_slice(&[0xaa; 300]);
        for _ in 0..2 {
            let mut into = vec![0; content().len()];
            unpacker.unpack(&packed, &mut into).unwrap();
            assert!(into == content());
        }
        let mut half = vec![0; 1000];
        unpacker.unpack(&packed, &mut half).unwrap();
        assert!(half == content()[..1000]);
    }

    #[test]
    fn a_cluster_that_ends_early_is_an_error() {
        let packed = deflated();
        let mut unpacker = Unpacker::new(Compression::Deflate, content().len());
        let mut into = vec![0; content().len()];
        assert!(unpacker.unpack(&packed[..packed.len() / 2], &mut into).is_err());
        let mut more = vec![0; content().len() + 1];
        let mut unpacker = Unpacker::new(Compression::Deflate, more.len());
        assert!(unpacker.unpack(&packed, &mut more).is_err());
    }

    #[test]
    fn a_frame_says_how_much_memory_it_wants() {
        let frame = |bytes: &[u8]| {
            let mut frame = 0xfd2f_b528_u32.to_le_bytes().to_vec();
            frame.extend_from_slice(bytes);
            window(&frame)
        };
        assert_eq!(frame(&[0, 0]), Some(1024));
        assert_eq!(frame(&[0, 0xff]), Some((1 << 41) + (7 << 38)));
        assert_eq!(frame(&[0x20, 77]), Some(77));
        assert_eq!(frame(&[0x60, 0, 1]), Some(512));
        assert_eq!(frame(&[0xe3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), Some(1 << 56));
        assert_eq!(frame(&[0xe0, 0]), None);
        assert_eq!(frame(&[]), None);
        assert_eq!(window(b"other"), None);
    }

    #[test]
    fn a_frame_that_wants_too_much_is_refused() {
        let mut frame = 0xfd2f_b528_u32.to_le_bytes().to_vec();
        frame.extend_from_slice(&[0, 0x70, 0, 0, 0]);
        let mut unpacker = Unpacker::new(Compression::Zstd, 4096);
        let error = unpacker.unpack(&frame, &mut [0; 4096]).unwrap_err();
        assert!(error.contains("window"), "{error}");
    }
}
