//! The table of a disk's blocks: whether the disk holds anything, how small it can be made, and another size.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::path::Path;

use super::layout::{MEBIBYTE, Map, PRESENT, SIZE, Span, bytes, eight, map, write_at};
use super::{Facts, Format, Kind, NoDisk, read};

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
