//! A disk that the simulator made, as the file that is read of it: one that whoever reads headers takes for qcow2, and that
//! another simulated host to which it is sent takes for the same disk.

use labyard_driver::ids::Bytes;
use labyard_driver::spec::DiskFormat;
use serde::{Deserialize, Serialize};

use super::inside::Files;
use super::{Content, Volume};

/// The first cluster has the header; the table of the others begins behind it.
const CLUSTER: usize = 1 << 16;
/// What one entry of that table covers.
const COVERED: u64 = (CLUSTER as u64) * (CLUSTER as u64 / 8);

/// What is in a disk.
#[derive(Serialize, Deserialize)]
struct Inner {
    content: Content,
    files: Files,
}

/// A made disk as a file.
pub(super) fn encoded(volume: &Volume) -> Vec<u8> {
    let entries = volume.capacity.0.div_ceil(COVERED);
    let mut file = vec![0; CLUSTER];
    file[..4].copy_from_slice(b"QFI\xfb");
    file[4..8].copy_from_slice(&2_u32.to_be_bytes());
    file[20..24].copy_from_slice(&16_u32.to_be_bytes());
    file[24..32].copy_from_slice(&volume.capacity.0.to_be_bytes());
    file[36..40].copy_from_slice(&u32::try_from(entries).unwrap_or(u32::MAX).to_be_bytes());
    file[40..48].copy_from_slice(&(CLUSTER as u64).to_be_bytes());
    file.resize(behind(entries), 0);
    let inner = Inner {
        content: volume.content.clone(),
        files: volume.files.clone(),
    };
    file.extend(serde_json::to_vec(&inner).unwrap_or_default());
    file
}

fn behind(entries: u64) -> usize {
    CLUSTER + usize::try_from(entries).unwrap_or(0) * 8
}

/// What is in a file that another simulated host made; `None`: it is any other.
pub(super) fn decoded(content: &Content, length: Bytes) -> Option<(Content, Files)> {
    let (DiskFormat::Qcow2, capacity) = content.probe(length) else {
        return None;
    };
    let file = content.read(length)?;
    let inner = file.get(behind(capacity.0.div_ceil(COVERED))..)?;
    let inner: Inner = serde_json::from_slice(inner).ok()?;
    Some((inner.content, inner.files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_was_sent_is_the_same_disk_and_reads_the_same_again() {
        let mut content = Content::default();
        content.append(&[7; 5000]);
        let disk = Volume {
            capacity: Bytes::from_gib(3),
            format: DiskFormat::Qcow2,
            backing: None,
            allocated: Bytes(200_000),
            content,
            files: [("/etc/hostname".to_owned(), b"web".to_vec())].into(),
            memory: None,
            uploads: 0,
        };
        let file = encoded(&disk);
        let length = Bytes(file.len() as u64);
        let mut sent = Content::for_length(length);
        sent.append(&file);
        assert_eq!(sent.probe(length), (DiskFormat::Qcow2, disk.capacity));
        let (content, files) = decoded(&sent, length).unwrap();
        assert_eq!((&content, &files), (&disk.content, &disk.files));
        assert_eq!(
            encoded(&Volume {
                allocated: length,
                content,
                files,
                ..disk
            }),
            file
        );
    }
}
