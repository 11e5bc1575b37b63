//! Facts about files as they stand in messages. \[MS-FSCC\] 2.4 and 2.5.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::files::{Access, Entry, Kind, Space, Stat};

pub(super) const READ_ONLY: u32 = 0x1;
pub(super) const DIRECTORY: u32 = 0x10;
/// No attributes; zero would leave them as they are.
pub(super) const NORMAL: u32 = 0x80;
const REPARSE_POINT: u32 = 0x400;

/// Where the name of an entry begins. \[MS-FSCC\] 2.4.10.
const NAME: usize = 64;

/// What is known of a file from its numbers.
pub(super) fn stat(attributes: u32, size: u64, modified: u64, created: u64) -> Stat {
    let kind = match attributes {
        set if set & REPARSE_POINT != 0 && set & DIRECTORY != 0 => Kind::Link,
        set if set & DIRECTORY != 0 => Kind::Directory,
        // Files that Windows has deduplicated or compressed are reparse points, and files all the same.
        _ => Kind::File,
    };
    Stat {
        kind,
        size,
        modified: moment(modified),
        created: Some(moment(created)),
        access: match attributes & READ_ONLY {
            0 => Access::ReadWrite,
            _ => Access::ReadOnly,
        },
    }
}

/// A moment, from a count of tenths of microseconds since 1601.
fn moment(ticks: u64) -> SystemTime {
    const TO_1970: u64 = 116_444_736_000_000_000;
    let since = |ticks: u64| Duration::new(ticks / 10_000_000, (ticks % 10_000_000) as u32 * 100);
    match ticks.checked_sub(TO_1970) {
        Some(after) => UNIX_EPOCH + since(after),
        None => UNIX_EPOCH - since(TO_1970 - ticks),
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    number(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    number(bytes, at).map(u64::from_le_bytes)
}

/// Reads entries of a directory (`FileDirectoryInformation`), but for itself and the one it is in.
pub(super) fn entries(mut bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (entry, next) = entry(bytes).ok_or_else(|| "a directory entry that is cut off".to_owned())?;
        if !matches!(entry.name.as_str(), "." | "..") {
            entries.push(entry);
        }
        match next {
            0 => break,
            next if next < NAME => return Err("directory entries that overlap".to_owned()),
            next => bytes = bytes.get(next..).unwrap_or_default(),
        }
    }
    Ok(entries)
}

fn entry(bytes: &[u8]) -> Option<(Entry, usize)> {
    let next = u32_at(bytes, 0)? as usize;
    let created = u64_at(bytes, 8)?;
    let modified = u64_at(bytes, 24)?;
    let size = u64_at(bytes, 40)?;
    let attributes = u32_at(bytes, 56)?;
    let length = u32_at(bytes, 60)? as usize;
    let name = bytes.get(NAME..)?.get(..length)?;
    let units: Vec<u16> = name
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    let entry = Entry {
        name: String::from_utf16_lossy(&units),
        stat: stat(attributes, size, modified, created),
    };
    Some((entry, next))
}

/// Reads the room on a volume (`FileFsFullSizeInformation`).
pub(super) fn space(bytes: &[u8]) -> Option<Space> {
    let total = u64_at(bytes, 0)?;
    let free = u64_at(bytes, 8)?;
    let unit = u64::from(u32_at(bytes, 24)?) * u64::from(u32_at(bytes, 28)?);
    Some(Space {
        total: total.saturating_mul(unit),
        free: free.saturating_mul(unit),
    })
}

/// What sets attributes and leaves all times (`FileBasicInformation`).
pub(super) fn basic(attributes: u32) -> Vec<u8> {
    let mut bytes = vec![0; 32];
    bytes.extend(attributes.to_le_bytes());
    bytes.extend([0; 4]);
    bytes
}

/// What gives another name and replaces nothing (`FileRenameInformation` as SMB 2 has it).
pub(super) fn rename(to: &str) -> Vec<u8> {
    let name: Vec<u8> = to.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut bytes = vec![0; 16];
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_le_bytes());
    bytes.extend(name);
    // Windows insists on the size of the structure, which is more than a short name has.
    bytes.resize(bytes.len().max(24), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listed(name: &str, attributes: u32, size: u64, next: u32) -> Vec<u8> {
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut bytes = vec![0; NAME];
        bytes[..4].copy_from_slice(&next.to_le_bytes());
        bytes[24..32].copy_from_slice(&116_444_736_010_000_000u64.to_le_bytes());
        bytes[40..48].copy_from_slice(&size.to_le_bytes());
        bytes[56..60].copy_from_slice(&attributes.to_le_bytes());
        bytes[60..64].copy_from_slice(&u32::try_from(name.len()).unwrap().to_le_bytes());
        bytes.extend(name);
        if next > 0 {
            bytes.resize(next as usize, 0);
        }
        bytes
    }

    #[test]
    fn entries_are_read_but_for_the_two_that_every_directory_has() {
        let bytes = [
            listed(".", DIRECTORY, 0, 72),
            listed("..", DIRECTORY, 0, 72),
            listed("größe.vhdx", READ_ONLY, 5 << 40, 88),
            listed("d", DIRECTORY, 0, 0),
        ]
        .concat();
        let entries = entries(&bytes).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].name, "größe.vhdx");
        assert_eq!(entries[0].stat.kind, Kind::File);
        assert_eq!(entries[0].stat.size, 5 << 40);
        assert_eq!(entries[0].stat.access, Access::ReadOnly);
        assert_eq!(entries[0].stat.modified, UNIX_EPOCH + Duration::from_secs(1));
        assert_eq!(entries[1].stat.kind, Kind::Directory);
    }

    #[test]
    fn entries_that_are_cut_off_or_go_in_circles_are_an_error() {
        let whole = listed("name", 0, 1, 0);
        for length in 1..whole.len() {
            assert!(entries(&whole[..length]).is_err(), "{length}");
        }
        let mut circle = listed("a", 0, 1, 72);
        circle[..4].copy_from_slice(&8u32.to_le_bytes());
        assert!(entries(&circle).is_err());
    }

    #[test]
    fn a_junction_is_a_link_and_a_deduplicated_file_a_file() {
        assert_eq!(stat(DIRECTORY | REPARSE_POINT, 0, 0, 0).kind, Kind::Link);
        assert_eq!(stat(REPARSE_POINT, 0, 0, 0).kind, Kind::File);
    }

    #[test]
    fn a_rename_replaces_nothing_and_has_its_full_size() {
        let bytes = rename("a");
        assert_eq!(bytes.len(), 24);
        assert_eq!(bytes[0], 0);
        assert_eq!(bytes[16..20], 2u32.to_le_bytes());
        assert_eq!(rename("abcdef").len(), 32);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), first in 0u32..200) {
            let mut bytes = bytes;
            if bytes.len() > 64 {
                bytes[..4].copy_from_slice(&first.to_le_bytes());
                bytes[60..64].copy_from_slice(&(first / 3).to_le_bytes());
            }
            let _either_way = entries(&bytes);
            let _either_way = space(&bytes);
        }
    }
}
