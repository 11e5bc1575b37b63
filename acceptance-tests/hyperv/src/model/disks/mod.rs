//! Virtual hard disks as files: what a VHDX or VHD says of itself, and the changes that are no more than a few of its fields.
//! Whole disks are made and converted by qemu-img; it knows no disks upon others, so one is made here of an empty one
//! ([`make_child`]).
//!
//! Fields and numbers are those of the specifications: \[MS-VHDX\], and Microsoft's specification of VHD.

mod blocks;
mod layout;
mod locator;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::Command;

use layout::{
    FIXED, HAS_PARENT, IDENTITY, LOCATOR, LOGICAL, Map, PARAMETERS, PHYSICAL, SIZE, Span, bytes, eight, guid,
    item_of, map, on_disk, write_at, written,
};

pub(crate) use blocks::{holds_data, least_size, resize};

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
        .map(|locator| locator::read(&locator))
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
    let text = locator::write(&[
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
