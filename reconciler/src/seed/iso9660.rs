//! A CD image with a few files in its root directory, written after ECMA-119 (ISO 9660).
//!
//! ISO 9660 itself cannot spell `user-data`; two extensions can, and both are written, since no reader knows
//! neither: Rock Ridge (on SUSP), preferred by Linux and the BSDs, and Joliet, the only one of Windows.
//! Written here because no crate fits: those that write this are release candidates or bind C libraries, and none
//! promises the same bytes for the same input.
//! Numbers in comments are sections of ECMA-119, or of the SUSP and RRIP drafts where they say so.

const SECTOR: usize = 2048;

/// Where things stand, in sectors. Every table fits one: there is one directory with a handful of files.
mod at {
    pub(super) const PRIMARY: usize = 16;
    pub(super) const JOLIET: usize = 17;
    pub(super) const TERMINATOR: usize = 18;
    pub(super) const PRIMARY_PATHS_LE: usize = 19;
    pub(super) const PRIMARY_PATHS_BE: usize = 20;
    pub(super) const JOLIET_PATHS_LE: usize = 21;
    pub(super) const JOLIET_PATHS_BE: usize = 22;
    pub(super) const PRIMARY_ROOT: usize = 23;
    pub(super) const JOLIET_ROOT: usize = 24;
    pub(super) const FILES: usize = 25;
}

/// 1 January 2000, 00:00 UTC: a fixed time, so that the same input gives the same image.
const RECORD_TIME: [u8; 7] = [100, 1, 1, 0, 0, 0, 0];
const VOLUME_TIME: [u8; 17] = *b"2000010100000000\0";
const NO_TIME: [u8; 17] = *b"0000000000000000\0";

/// The one entry of a path table (9.4) names the root: a name of one byte and one byte of padding.
const PATH_TABLE_LENGTH: usize = 10;

/// A file of the root directory.
pub(super) struct File<'a> {
    /// The name that is meant.
    pub(super) name: &'static str,
    /// A name that plain ISO 9660 can spell, for readers of neither extension.
    pub(super) short_name: &'static str,
    pub(super) content: &'a [u8],
}

/// Which of the two directory trees is being written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tree {
    Primary,
    Joliet,
}

/// The whole image. `files` are in the order of their names, short and long alike.
pub(super) fn image(volume_id: &str, files: &[File<'_>]) -> Vec<u8> {
    let mut starts = Vec::with_capacity(files.len());
    let mut end = at::FILES;
    for file in files {
        starts.push(end);
        end += file.content.len().div_ceil(SECTOR);
    }
    let mut image = vec![0; end * SECTOR];
    put(
        &mut image,
        at::PRIMARY,
        &volume_descriptor(Tree::Primary, volume_id, end),
    );
    put(
        &mut image,
        at::JOLIET,
        &volume_descriptor(Tree::Joliet, volume_id, end),
    );
    put(&mut image, at::TERMINATOR, b"\xffCD001\x01");
    put(
        &mut image,
        at::PRIMARY_PATHS_LE,
        &path_table((at::PRIMARY_ROOT as u32).to_le_bytes(), [1, 0]),
    );
    put(
        &mut image,
        at::PRIMARY_PATHS_BE,
        &path_table((at::PRIMARY_ROOT as u32).to_be_bytes(), [0, 1]),
    );
    put(
        &mut image,
        at::JOLIET_PATHS_LE,
        &path_table((at::JOLIET_ROOT as u32).to_le_bytes(), [1, 0]),
    );
    put(
        &mut image,
        at::JOLIET_PATHS_BE,
        &path_table((at::JOLIET_ROOT as u32).to_be_bytes(), [0, 1]),
    );
    put(
        &mut image,
        at::PRIMARY_ROOT,
        &directory(Tree::Primary, files, &starts),
    );
    put(
        &mut image,
        at::JOLIET_ROOT,
        &directory(Tree::Joliet, files, &starts),
    );
    for (file, start) in files.iter().zip(starts) {
        put(&mut image, start, file.content);
    }
    image
}

fn put(image: &mut [u8], sector: usize, bytes: &[u8]) {
    let start = sector * SECTOR;
    image[start..start + bytes.len()].copy_from_slice(bytes);
}

/// 8.4 (primary) and 8.5 (supplementary, which Joliet claims by an escape sequence).
fn volume_descriptor(tree: Tree, volume_id: &str, sectors: usize) -> Vec<u8> {
    let (kind, escape, paths_le, paths_be, root) = match tree {
        Tree::Primary => (
            1,
            &b""[..],
            at::PRIMARY_PATHS_LE,
            at::PRIMARY_PATHS_BE,
            at::PRIMARY_ROOT,
        ),
        Tree::Joliet => (
            2,
            &b"%/E"[..],
            at::JOLIET_PATHS_LE,
            at::JOLIET_PATHS_BE,
            at::JOLIET_ROOT,
        ),
    };
    let mut out = Vec::with_capacity(SECTOR);
    out.push(kind);
    out.extend(b"CD001\x01\0");
    out.extend(text(tree, "", 32)); // system identifier
    out.extend(text(tree, volume_id, 32));
    out.extend([0; 8]);
    out.extend(both32(sectors as u32));
    out.extend(escape);
    out.resize(120, 0);
    out.extend(both16(1)); // volumes in the set
    out.extend(both16(1)); // number of this one
    out.extend(both16(SECTOR as u16));
    out.extend(both32(PATH_TABLE_LENGTH as u32));
    out.extend((paths_le as u32).to_le_bytes());
    out.extend([0; 4]); // no second copy
    out.extend((paths_be as u32).to_be_bytes());
    out.extend([0; 4]);
    out.extend(record(
        &[0],
        Extent {
            sector: root,
            length: SECTOR,
            directory: true,
        },
        &[],
    ));
    for length in [128, 128, 128, 128, 37, 37, 37] {
        out.extend(text(tree, "", length)); // set, publisher, preparer, application; three files about the volume
    }
    for time in [VOLUME_TIME, VOLUME_TIME, NO_TIME, NO_TIME] {
        out.extend(time); // created, changed, expires, effective
    }
    out.push(1); // version of the file structure
    out
}

/// A field of fixed width, padded with blanks; in Joliet's tree in UCS-2, where an odd byte stays zero.
fn text(tree: Tree, text: &str, width: usize) -> Vec<u8> {
    let mut out = match tree {
        Tree::Primary => text.as_bytes().to_vec(),
        Tree::Joliet => ucs2(text),
    };
    match tree {
        Tree::Primary => out.resize(width, b' '),
        Tree::Joliet => {
            while out.len() + 2 <= width {
                out.extend([0, b' ']);
            }
            out.resize(width, 0);
        }
    }
    out
}

fn path_table(root: [u8; 4], parent: [u8; 2]) -> Vec<u8> {
    [&[1, 0][..], &root, &parent, &[0, 0]].concat()
}

fn directory(tree: Tree, files: &[File<'_>], starts: &[usize]) -> Vec<u8> {
    let (root, rock_ridge) = match tree {
        Tree::Primary => (at::PRIMARY_ROOT, true),
        Tree::Joliet => (at::JOLIET_ROOT, false),
    };
    let itself = Extent {
        sector: root,
        length: SECTOR,
        directory: true,
    };
    let system_use = |parts: &[Vec<u8>]| if rock_ridge { parts.concat() } else { Vec::new() };
    let mut out = record(
        &[0],
        itself,
        &system_use(&[susp_present(), posix(itself), rock_ridge_used()]),
    );
    out.extend(record(&[1], itself, &system_use(&[posix(itself)])));
    for (file, start) in files.iter().zip(starts) {
        let extent = Extent {
            sector: *start,
            length: file.content.len(),
            directory: false,
        };
        let name = match tree {
            Tree::Primary => file.short_name.as_bytes().to_vec(),
            Tree::Joliet => ucs2(file.name),
        };
        out.extend(record(
            &name,
            extent,
            &system_use(&[posix(extent), alternate_name(file.name)]),
        ));
    }
    out
}

/// A run of sectors and what it is.
#[derive(Clone, Copy)]
struct Extent {
    sector: usize,
    length: usize,
    directory: bool,
}

/// A directory record (9.1): name, place, and what SUSP adds behind.
fn record(name: &[u8], extent: Extent, system_use: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0];
    out.extend(both32(extent.sector as u32));
    out.extend(both32(extent.length as u32));
    out.extend(RECORD_TIME);
    out.push(if extent.directory { 2 } else { 0 });
    out.extend([0, 0]); // not interleaved
    out.extend(both16(1));
    out.push(name.len() as u8);
    out.extend(name);
    pad_to_even(&mut out);
    out.extend(system_use);
    pad_to_even(&mut out);
    out[0] = out.len() as u8;
    out
}

fn pad_to_even(out: &mut Vec<u8>) {
    if out.len() % 2 == 1 {
        out.push(0);
    }
}

/// SUSP 5.3: "SP" stands first in the root and says that such entries follow.
fn susp_present() -> Vec<u8> {
    b"SP\x07\x01\xbe\xef\0".to_vec()
}

/// SUSP 5.5: "ER" names the extension in use; its two texts for humans are left empty.
fn rock_ridge_used() -> Vec<u8> {
    let id = b"RRIP_1991A";
    [&b"ER"[..], &[8 + id.len() as u8, 1, id.len() as u8, 0, 0, 1], id].concat()
}

/// RRIP 4.1.1: "PX", mode, links, owner, group. Readable by root alone, as user-data may hold secrets.
fn posix(extent: Extent) -> Vec<u8> {
    let (mode, links) = if extent.directory {
        (0o040_500, 2)
    } else {
        (0o100_400, 1)
    };
    let mut out = b"PX\x24\x01".to_vec();
    for value in [mode, links, 0, 0] {
        out.extend(both32(value));
    }
    out
}

/// RRIP 4.1.4: "NM", the name as it is meant.
fn alternate_name(name: &str) -> Vec<u8> {
    [&b"NM"[..], &[5 + name.len() as u8, 1, 0], name.as_bytes()].concat()
}

fn ucs2(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// 7.2.3: a number in both byte orders.
fn both16(value: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (value.to_le_bytes(), value.to_be_bytes());
    [a, b, c, d]
}

/// 7.3.3.
fn both32(value: u32) -> [u8; 8] {
    let ([a, b, c, d], [e, f, g, h]) = (value.to_le_bytes(), value.to_be_bytes());
    [a, b, c, d, e, f, g, h]
}

/// The files of a CD's root directory by their Joliet names; nothing where there is no such CD. Any bytes may be
/// given: what lies on a host may have been changed there.
pub(super) fn files(image: &[u8]) -> Option<Vec<(String, &[u8])>> {
    let descriptor = image.get(at::JOLIET * SECTOR..)?;
    if !descriptor.starts_with(b"\x02CD001\x01") || descriptor.get(88..91) != Some(b"%/E") {
        return None;
    }
    let mut records = extent(image, descriptor.get(156..190)?)?;
    let mut files = Vec::new();
    while let Some(length) = records
        .first()
        .map(|length| usize::from(*length))
        .filter(|length| *length != 0)
    {
        let record = records.get(..length)?;
        let name = record.get(33..)?.get(..usize::from(*record.get(32)?))?;
        // A directory, itself and its parent included, has this bit.
        if record.get(25)? & 2 == 0 {
            files.push((from_ucs2(name), extent(image, record)?));
        }
        records = &records[length..];
    }
    Some(files)
}

/// What a directory record points at.
fn extent<'a>(image: &'a [u8], record: &[u8]) -> Option<&'a [u8]> {
    let number = |at: usize| record.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let start = usize::try_from(number(2)?).ok()?.checked_mul(SECTOR)?;
    image.get(start..)?.get(..usize::try_from(number(10)?).ok()?)
}

fn from_ucs2(bytes: &[u8]) -> String {
    let units = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}
