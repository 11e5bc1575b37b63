//! Virtual hard disks as files: what a VHDX or VHD says of itself, and the changes that are no more than a few of its fields.
//! Whole disks are made and converted by qemu-img; it knows no disks upon others, so one is made here of an empty one
//! ([`make_child`]).
//!
//! Fields and numbers are those of the specifications: \[MS-VHDX\], and Microsoft's specification of VHD.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

/// What a disk is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All its space is in the file.
    Fixed,
    /// The file grows.
    Dynamic,
    /// It holds what differs from its parent.
    Differencing,
}

/// Which specification a disk follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The older.
    Vhd,
    /// The newer.
    Vhdx,
}

/// What a disk says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) format: Format,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) block: u32,
    pub(crate) logical: u32,
    pub(crate) physical: u32,
    pub(crate) id: String,
    /// What changes when its content changes: a child remembers it of its parent.
    pub(crate) written: String,
    pub(crate) parent: Option<String>,
}

/// Why a file is no disk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoDisk {
    /// It cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It does not follow its specification.
    #[error("it is no virtual hard disk: {0}")]
    Malformed(&'static str),
    /// This model cannot do it.
    #[error("this host cannot do that: {0}")]
    Beyond(&'static str),
    /// qemu-img could not do it.
    #[error("qemu-img: {0}")]
    Program(String),
}

const BAT: &str = "2DC27766-F623-4200-9D64-115E9BFD4A08";
const METADATA: &str = "8B7CA206-4790-4B9A-B8FE-575F050F886E";
const PARAMETERS: &str = "CAA16737-FA36-4D43-B3B6-33F0AA44E76B";
const SIZE: &str = "2FA54224-CD1B-4876-B211-5DBED83BF4B8";
const IDENTITY: &str = "BECA12AB-B2E6-4523-93EF-C309E000C746";
const LOGICAL: &str = "8141BF1D-A96F-4709-BA47-F233A8FAAB5F";
const PHYSICAL: &str = "CDA348C7-445D-4471-9CC9-E9885251C556";
const LOCATOR: &str = "A8D35F2D-B30B-454D-ABF7-D3D84834AB0C";
const LOCATOR_TYPE: &str = "B04AEFB7-D19E-4A81-B789-25B8E9445913";

/// File parameters: the disk has a parent.
const HAS_PARENT: u32 = 2;
/// File parameters: blocks stay allocated.
const FIXED: u32 = 1;
/// State of a block that is wholly in the file.
const PRESENT: u64 = 6;
const MEBIBYTE: u64 = 1 << 20;
/// As much of a table as is read: those that are written in practice have a handful of entries.
const TABLE: u64 = 4096;
/// Entries of that much.
const ENTRIES: usize = 126;

/// A place in a file.
#[derive(Clone, Copy, Debug)]
struct Span {
    at: u64,
    length: u64,
}

/// Where things are in a VHDX.
struct Map {
    bat: Span,
    metadata: Span,
    items: Vec<(String, Span)>,
}

/// Reads what a disk says of itself.
pub(crate) fn read(path: &Path) -> Result<Facts, NoDisk> {
    let mut file = File::open(path)?;
    let mut signature = [0; 8];
    if file.read_exact(&mut signature).is_ok() && &signature == b"vhdxfile" {
        return vhdx(&mut file);
    }
    vhd(&mut file)
}

fn vhd(file: &mut File) -> Result<Facts, NoDisk> {
    let length = file.seek(SeekFrom::End(0))?;
    let footer = bytes(
        file,
        Span {
            at: length.saturating_sub(512),
            length: 512,
        },
    )?;
    if footer.get(..8) != Some(b"conectix") {
        return Err(NoDisk::Malformed("neither vhdxfile nor conectix"));
    }
    let kind = match footer[63] {
        2 => Kind::Fixed,
        3 => Kind::Dynamic,
        _ => return Err(NoDisk::Beyond("VHD upon another")),
    };
    let size = u64::from_be_bytes(eight(&footer[48..56]));
    let id = guid(&footer[68..84]);
    Ok(Facts {
        format: Format::Vhd,
        kind,
        size,
        block: if kind == Kind::Fixed { 0 } else { 2 << 20 },
        logical: 512,
        physical: 512,
        written: id.clone(),
        id,
        parent: None,
    })
}

fn vhdx(file: &mut File) -> Result<Facts, NoDisk> {
    let map = map(file)?;
    let number = |file: &mut File, item: &str| -> Result<u64, NoDisk> {
        let found = item_of(file, &map, item)?.ok_or(NoDisk::Malformed("a required item is missing"))?;
        let mut wide = [0; 8];
        let length = found.len().min(8);
        wide[..length].copy_from_slice(&found[..length]);
        Ok(u64::from_le_bytes(wide))
    };
    let parameters = number(file, PARAMETERS)?;
    let (block, flags) = (parameters & 0xFFFF_FFFF, parameters >> 32);
    let parent = item_of(file, &map, LOCATOR)?
        .map(|locator| locator_entries(&locator))
        .and_then(|all| all.into_iter().find(|(name, _)| name == "absolute_win32_path"))
        .map(|(_, path)| path.trim_start_matches(r"\\?\").to_owned());
    let kind = if flags & u64::from(HAS_PARENT) != 0 {
        Kind::Differencing
    } else if flags & u64::from(FIXED) != 0 {
        Kind::Fixed
    } else {
        Kind::Dynamic
    };
    if kind == Kind::Differencing && parent.is_none() {
        return Err(NoDisk::Malformed("it has a parent and does not say which"));
    }
    let id = item_of(file, &map, IDENTITY)?.filter(|id| id.len() == 16);
    Ok(Facts {
        format: Format::Vhdx,
        kind,
        size: number(file, SIZE)?,
        block: u32::try_from(block).unwrap_or(u32::MAX),
        logical: u32::try_from(number(file, LOGICAL)?).unwrap_or(512),
        physical: u32::try_from(number(file, PHYSICAL)?).unwrap_or(4096),
        id: id.map(|id| guid(&id)).unwrap_or_default(),
        written: written(file)?,
        parent: parent.filter(|_| kind == Kind::Differencing),
    })
}

/// DataWriteGuid of the header that counts.
fn written(file: &mut File) -> Result<String, NoDisk> {
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

fn map(file: &mut File) -> Result<Map, NoDisk> {
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

fn item_of(file: &mut File, map: &Map, id: &str) -> Result<Option<Vec<u8>>, NoDisk> {
    match map.items.iter().find(|(known, _)| known == id) {
        Some((_, span)) if span.length <= MEBIBYTE => Ok(Some(bytes(file, *span)?)),
        Some(_) => Err(NoDisk::Malformed("an item of metadata is too long")),
        None => Ok(None),
    }
}

/// Names and values of a parent locator.
fn locator_entries(locator: &[u8]) -> Vec<(String, String)> {
    let text = |at: u32, length: u16| -> Option<String> {
        let at = usize::try_from(at).ok()?;
        let units: Vec<u16> = locator
            .get(at..at + usize::from(length))?
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        String::from_utf16(&units).ok()
    };
    let count = locator
        .get(18..20)
        .map_or(0, |two| u16::from_le_bytes([two[0], two[1]]));
    (0..usize::from(count))
        .filter_map(|number| {
            let entry = locator.get(20 + number * 12..32 + number * 12)?;
            let length = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
            Some((
                text(four(&entry[..4]), length(8))?,
                text(four(&entry[4..8]), length(10))?,
            ))
        })
        .collect()
}

/// A parent locator of these names and values.
fn locator(entries: &[(&str, &str)]) -> Vec<u8> {
    let units = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let mut head = on_disk(LOCATOR_TYPE).to_vec();
    head.extend([0, 0]);
    head.extend(u16::try_from(entries.len()).unwrap_or(0).to_le_bytes());
    let mut body = Vec::new();
    let start = head.len() + entries.len() * 12;
    for (name, value) in entries {
        let (name, value) = (units(name), units(value));
        for at in [start + body.len(), start + body.len() + name.len()] {
            head.extend(u32::try_from(at).unwrap_or(u32::MAX).to_le_bytes());
        }
        for length in [name.len(), value.len()] {
            head.extend(u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
        }
        body.extend(name);
        body.extend(value);
    }
    head.extend(body);
    head
}

/// What a new disk is to be.
pub(crate) struct Wanted {
    pub(crate) format: Format,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) block: Option<u32>,
}

impl Wanted {
    /// How qemu-img is told.
    pub(crate) fn options(&self) -> Vec<String> {
        let kind = if self.kind == Kind::Fixed {
            "fixed"
        } else {
            "dynamic"
        };
        let (format, options) = match self.format {
            Format::Vhd => ("vpc", format!("subformat={kind},force_size=on")),
            Format::Vhdx => {
                let block = self.block.unwrap_or(32 << 20);
                (
                    "vhdx",
                    format!("subformat={kind},block_size={block},block_state_zero=off"),
                )
            }
        };
        [format, "-o", &options].map(str::to_owned).to_vec()
    }
}

/// Makes an empty disk.
pub(crate) fn make(qemu_img: &Path, path: &Path, wanted: &Wanted) -> Result<(), NoDisk> {
    let mut command = Command::new(qemu_img);
    command
        .args(["create", "-q", "-f"])
        .args(wanted.options())
        .arg(path)
        .arg(wanted.size.to_string());
    let done = command.output()?;
    if done.status.success() {
        return Ok(());
    }
    Err(NoDisk::Program(
        String::from_utf8_lossy(&done.stderr).trim().to_owned(),
    ))
}

/// Makes an empty disk upon another, which `parent_windows` leads to on the host.
pub(crate) fn make_child(
    qemu_img: &Path,
    child: &Path,
    parent: &Path,
    parent_windows: &str,
    block: Option<u32>,
) -> Result<(), NoDisk> {
    let facts = read(parent)?;
    if facts.format != Format::Vhdx {
        return Err(NoDisk::Beyond("VHD upon another"));
    }
    let block = Some(block.unwrap_or(2 << 20));
    make(
        qemu_img,
        child,
        &Wanted {
            format: Format::Vhdx,
            kind: Kind::Dynamic,
            size: facts.size,
            block,
        },
    )?;
    let mut file = OpenOptions::new().read(true).write(true).open(child)?;
    let map = map(&mut file)?;
    let at = |item: &str| {
        map.items
            .iter()
            .find(|(known, _)| known == item)
            .map(|(_, span)| span.at)
    };
    let (Some(parameters), Some(logical)) = (at(PARAMETERS), at(LOGICAL)) else {
        return Err(NoDisk::Malformed("a required item is missing"));
    };
    write_at(&mut file, parameters + 4, &HAS_PARENT.to_le_bytes())?;
    write_at(&mut file, logical, &facts.logical.to_le_bytes())?;
    set_parent(&mut file, &map, &facts.written, parent_windows)
}

/// Makes a child another's.
pub(crate) fn rebase(child: &Path, parent: &Path, parent_windows: &str) -> Result<(), NoDisk> {
    let facts = read(parent)?;
    let mut file = OpenOptions::new().read(true).write(true).open(child)?;
    let map = map(&mut file)?;
    set_parent(&mut file, &map, &facts.written, parent_windows)
}

fn set_parent(file: &mut File, map: &Map, linkage: &str, parent_windows: &str) -> Result<(), NoDisk> {
    let name = parent_windows.rsplit('\\').next().unwrap_or(parent_windows);
    let text = locator(&[
        ("parent_linkage", &format!("{{{}}}", linkage.to_lowercase())),
        ("relative_path", &format!(r".\{name}")),
        ("absolute_win32_path", &format!(r"\\?\{parent_windows}")),
    ]);
    let others = map.items.iter().filter(|(id, _)| id != LOCATOR);
    let end = others
        .map(|(_, span)| span.at + span.length)
        .max()
        .unwrap_or(map.metadata.at + (64 << 10));
    let at = end.next_multiple_of(4096);
    let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
    if at + length > map.metadata.at + map.metadata.length {
        return Err(NoDisk::Beyond("no room for a parent's path"));
    }
    write_at(file, at, &text)?;
    let known = map.items.iter().position(|(id, _)| id == LOCATOR);
    let number = known.unwrap_or(map.items.len());
    let mut entry = on_disk(LOCATOR).to_vec();
    entry.extend(u32::try_from(at - map.metadata.at).unwrap_or(0).to_le_bytes());
    entry.extend(u32::try_from(length).unwrap_or(0).to_le_bytes());
    // Required to be understood; neither of the user nor of the virtual disk.
    entry.extend(4_u32.to_le_bytes());
    entry.extend([0; 4]);
    let place = map.metadata.at + 32 + u64::try_from(number).unwrap_or(0) * 32;
    write_at(file, place, &entry)?;
    if known.is_none() {
        let count = u16::try_from(map.items.len() + 1).unwrap_or(u16::MAX);
        write_at(file, map.metadata.at + 10, &count.to_le_bytes())?;
    }
    Ok(())
}

/// The table of a disk's blocks, as far as the disk has blocks.
struct Blocks {
    entries: Vec<u64>,
    ratio: u64,
    count: u64,
    /// Entries that the table has room for.
    room: u64,
}

/// Where a block's entry is: after each so many, one stands for a bitmap of sectors.
fn place(block: u64, ratio: u64) -> u64 {
    block + block / ratio
}

impl Blocks {
    fn state(&self, block: u64) -> u64 {
        let at = usize::try_from(place(block, self.ratio)).unwrap_or(usize::MAX);
        self.entries.get(at).map_or(0, |entry| entry & 7)
    }
}

fn blocks(file: &mut File, map: &Map, facts: &Facts) -> Result<Blocks, NoDisk> {
    let block = u64::from(facts.block).max(1);
    let ratio = ((1 << 23) * u64::from(facts.logical) / block).max(1);
    let room = map.bat.length / 8;
    // A size beyond what the table has room for is no reason to count to it.
    let count = facts.size.div_ceil(block).min(room);
    let length = place(count, ratio).min(room) * 8;
    let table = bytes(
        file,
        Span {
            at: map.bat.at,
            length,
        },
    )?;
    let entries = table
        .chunks_exact(8)
        .map(|entry| u64::from_le_bytes(eight(entry)))
        .collect();
    Ok(Blocks {
        entries,
        ratio,
        count,
        room,
    })
}

/// Whether a disk upon another holds anything of its own.
pub(crate) fn holds_data(path: &Path) -> Result<bool, NoDisk> {
    let facts = read(path)?;
    let mut file = File::open(path)?;
    let map = map(&mut file)?;
    let blocks = blocks(&mut file, &map, &facts)?;
    Ok((0..blocks.count).any(|block| blocks.state(block) != 0))
}

/// The least size that a disk can be made: the end of its last block that is in the file.
pub(crate) fn least_size(path: &Path) -> Result<u64, NoDisk> {
    let facts = read(path)?;
    if facts.format == Format::Vhd || facts.kind == Kind::Fixed {
        return Ok(facts.size);
    }
    let mut file = File::open(path)?;
    let map = map(&mut file)?;
    let blocks = blocks(&mut file, &map, &facts)?;
    let last = (0..blocks.count)
        .rev()
        .find(|block| blocks.state(*block) >= PRESENT);
    Ok(last.map_or(0, |last| ((last + 1) * u64::from(facts.block)).min(facts.size)))
}

/// Gives a VHDX another size.
pub(crate) fn resize(path: &Path, size: u64) -> Result<(), NoDisk> {
    let facts = read(path)?;
    if facts.format == Format::Vhd {
        return Err(NoDisk::Beyond("another size of a VHD"));
    }
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let map = map(&mut file)?;
    let blocks = blocks(&mut file, &map, &facts)?;
    let count = size.div_ceil(u64::from(facts.block).max(1));
    if count > 0 && place(count - 1, blocks.ratio) >= blocks.room {
        return Err(NoDisk::Beyond("a table of blocks as large as that"));
    }
    if facts.kind == Kind::Fixed {
        for block in blocks.count..count {
            let end = file.seek(SeekFrom::End(0))?.next_multiple_of(MEBIBYTE);
            file.set_len(end + u64::from(facts.block))?;
            let at = map.bat.at + place(block, blocks.ratio) * 8;
            write_at(&mut file, at, &(end | PRESENT).to_le_bytes())?;
        }
    }
    let Some((_, span)) = map.items.iter().find(|(id, _)| id == SIZE) else {
        return Err(NoDisk::Malformed("a required item is missing"));
    };
    write_at(&mut file, span.at, &size.to_le_bytes())
}

fn bytes(file: &mut File, span: Span) -> Result<Vec<u8>, NoDisk> {
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

fn write_at(file: &mut File, at: u64, bytes: &[u8]) -> Result<(), NoDisk> {
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)?;
    Ok(())
}

fn four(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn eight(bytes: &[u8]) -> [u8; 8] {
    let mut found = [0; 8];
    found.copy_from_slice(&bytes[..8]);
    found
}

/// A GUID as it is on the disk, its first three parts turned round.
fn guid(bytes: &[u8]) -> String {
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
fn on_disk(guid: &str) -> [u8; 16] {
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

    #[test]
    fn a_locator_is_read_as_it_was_written() {
        let written = locator(&[
            ("relative_path", r".\base.vhdx"),
            ("absolute_win32_path", r"\\?\D:\ü\base.vhdx"),
        ]);
        let read = locator_entries(&written);
        assert_eq!(read[0], ("relative_path".to_owned(), r".\base.vhdx".to_owned()));
        assert_eq!(read[1].1, r"\\?\D:\ü\base.vhdx");
    }
}
