//! How a VHDX is laid out: two headers, a table of regions, metadata, and bytes of both.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use super::NoDisk;

pub(super) const BAT: &str = "2DC27766-F623-4200-9D64-115E9BFD4A08";
pub(super) const METADATA: &str = "8B7CA206-4790-4B9A-B8FE-575F050F886E";
pub(super) const PARAMETERS: &str = "CAA16737-FA36-4D43-B3B6-33F0AA44E76B";
pub(super) const SIZE: &str = "2FA54224-CD1B-4876-B211-5DBED83BF4B8";
pub(super) const IDENTITY: &str = "BECA12AB-B2E6-4523-93EF-C309E000C746";
pub(super) const LOGICAL: &str = "8141BF1D-A96F-4709-BA47-F233A8FAAB5F";
pub(super) const PHYSICAL: &str = "CDA348C7-445D-4471-9CC9-E9885251C556";
pub(super) const LOCATOR: &str = "A8D35F2D-B30B-454D-ABF7-D3D84834AB0C";

/// File parameters: the disk has a parent.
pub(super) const HAS_PARENT: u32 = 2;
/// File parameters: blocks stay allocated.
pub(super) const FIXED: u32 = 1;
/// State of a block that is wholly in the file.
pub(super) const PRESENT: u64 = 6;
pub(super) const MEBIBYTE: u64 = 1 << 20;
/// As much of a table as is read: those that are written in practice have a handful of entries.
pub(super) const TABLE: u64 = 4096;
/// Entries of that much.
pub(super) const ENTRIES: usize = 126;

/// A place in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) at: u64,
    pub(super) length: u64,
}

/// Where things are in a VHDX.
pub(super) struct Map {
    pub(super) bat: Span,
    pub(super) metadata: Span,
    pub(super) items: Vec<(String, Span)>,
}

/// DataWriteGuid of the header that counts.
pub(super) fn written(file: &mut File) -> Result<String, NoDisk> {
    let mut best: Option<(u64, String)> = None;
    for at in [64 << 10, 128 << 10] {
        let header = bytes(file, Span { at, length: 64 })?;
        if &header[..4] == b"head" {
            let sequence = u64::from_le_bytes(eight(&header[8..16]));
            if best.as_ref().is_none_or(|(known, _)| sequence > *known) {
                best = Some((sequence, guid(&header[32..48])));
            }
        }
    }
    best.map(|(_, id)| id).ok_or(NoDisk::Malformed("no header"))
}

pub(super) fn map(file: &mut File) -> Result<Map, NoDisk> {
    let table = bytes(
        file,
        Span {
            at: 192 << 10,
            length: TABLE,
        },
    )?;
    if &table[..4] != b"regi" {
        return Err(NoDisk::Malformed("no table of regions"));
    }
    let count = usize::try_from(four(&table[8..12])).unwrap_or(0).min(ENTRIES);
    let region = |wanted: &str| {
        (0..count)
            .map(|number| &table[16 + number * 32..48 + number * 32])
            .find(|entry| guid(&entry[..16]) == wanted)
            .map(|entry| Span {
                at: u64::from_le_bytes(eight(&entry[16..24])),
                length: u64::from(four(&entry[24..28])),
            })
    };
    let (Some(bat), Some(metadata)) = (region(BAT), region(METADATA)) else {
        return Err(NoDisk::Malformed("a region is missing"));
    };
    let table = bytes(
        file,
        Span {
            at: metadata.at,
            length: TABLE,
        },
    )?;
    if &table[..8] != b"metadata" {
        return Err(NoDisk::Malformed("no metadata"));
    }
    let count = usize::from(u16::from_le_bytes([table[10], table[11]])).min(ENTRIES);
    let items = (0..count)
        .map(|number| &table[32 + number * 32..64 + number * 32])
        .map(|entry| {
            let at = metadata.at.saturating_add(u64::from(four(&entry[16..20])));
            (
                guid(&entry[..16]),
                Span {
                    at,
                    length: u64::from(four(&entry[20..24])),
                },
            )
        })
        .collect();
    Ok(Map { bat, metadata, items })
}

pub(super) fn item_of(file: &mut File, map: &Map, id: &str) -> Result<Option<Vec<u8>>, NoDisk> {
    match map.items.iter().find(|(known, _)| known == id) {
        Some((_, span)) if span.length <= MEBIBYTE => Ok(Some(bytes(file, *span)?)),
        Some(_) => Err(NoDisk::Malformed("an item of metadata is too long")),
        None => Ok(None),
    }
}

pub(super) fn bytes(file: &mut File, span: Span) -> Result<Vec<u8>, NoDisk> {
    let mut found = vec![0; usize::try_from(span.length).map_err(|_| NoDisk::Malformed("too long"))?];
    file.seek(SeekFrom::Start(span.at))?;
    match file.read_exact(&mut found) {
        Ok(()) => Ok(found),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(NoDisk::Malformed("it ends too early"))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn write_at(file: &mut File, at: u64, bytes: &[u8]) -> Result<(), NoDisk> {
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)?;
    Ok(())
}

pub(super) fn four(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

pub(super) fn eight(bytes: &[u8]) -> [u8; 8] {
    let mut found = [0; 8];
    found.copy_from_slice(&bytes[..8]);
    found
}

/// A GUID as it is on the disk, its first three parts turned round.
pub(super) fn guid(bytes: &[u8]) -> String {
    let part = |range: std::ops::Range<usize>, turned: bool| -> String {
        let part = &bytes[range];
        let hex = |byte: &u8| format!("{byte:02X}");
        if turned {
            part.iter().rev().map(hex).collect()
        } else {
            part.iter().map(hex).collect()
        }
    };
    [
        part(0..4, true),
        part(4..6, true),
        part(6..8, true),
        part(8..10, false),
        part(10..16, false),
    ]
    .join("-")
}

/// A GUID as it is put on the disk.
pub(super) fn on_disk(guid: &str) -> [u8; 16] {
    let digits: Vec<u8> = guid.bytes().filter(u8::is_ascii_hexdigit).collect();
    let mut found = [0; 16];
    for (place, pair) in found.iter_mut().zip(digits.chunks_exact(2)) {
        let text = std::str::from_utf8(pair).unwrap_or("00");
        *place = u8::from_str_radix(text, 16).unwrap_or(0);
    }
    found[..4].reverse();
    found[4..6].reverse();
    found[6..8].reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_turned_round_on_disk_and_back() {
        assert_eq!(guid(&on_disk(BAT)), BAT);
        assert_eq!(on_disk(BAT)[..4], [0x66, 0x77, 0xC2, 0x2D]);
    }
}
