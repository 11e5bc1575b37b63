//! The parts of a VHDX file as bytes, each in both directions where both are needed. All numbers and GUIDs are those of
//! [MS-VHDX]; nothing here reads or writes a file.
//!
//! | at | what |
//! |---|---|
//! | 0 | the identifier: `vhdxfile` and who made it |
//! | 64 KiB, 128 KiB | two headers; the valid one with the higher sequence number counts |
//! | 192 KiB, 256 KiB | two copies of the region table, which says where BAT and metadata are |
//! | from 1 MiB on | log, metadata, BAT (the block allocation table) and blocks, at whole MiB, in any order |

pub(crate) mod bat;
pub(crate) mod header;
pub(crate) mod locator;
pub(crate) mod metadata;
pub(crate) mod region;

use crc::{CRC_32_ISCSI, Crc};
use uuid::Uuid;

/// CRC-32C (Castagnoli), which iSCSI uses too.
static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The checksum of a structure that holds it in its bytes 4 to 8, which count as zeros.
pub(crate) fn checksum(structure: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&structure[..4]);
    digest.update(&[0; 4]);
    digest.update(&structure[8..]);
    digest.finalize()
}

/// Puts its checksum into a structure.
pub(crate) fn seal(structure: &mut [u8]) {
    let sum = checksum(structure);
    put(structure, 4, &sum.to_le_bytes());
}

/// Whether a structure starts with its signature and has the checksum it says.
pub(crate) fn is_sealed(structure: &[u8], signature: &[u8; 4]) -> bool {
    structure.starts_with(signature) && u32_at(structure, 4) == checksum(structure)
}

/// Puts bytes somewhere; the caller knows that there is room.
pub(crate) fn put(into: &mut [u8], at: usize, bytes: &[u8]) {
    into[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Bytes from somewhere; the caller knows that they are there.
fn array<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&from[at..at + N]);
    array
}

pub(crate) fn u16_at(from: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(from, at))
}

pub(crate) fn u32_at(from: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(from, at))
}

pub(crate) fn u64_at(from: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(from, at))
}

pub(crate) fn uuid_at(from: &[u8], at: usize) -> Uuid {
    Uuid::from_bytes_le(array(from, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_castagnoli() {
        // The check value of CRC-32C in the catalogue of parametrised CRC algorithms.
        assert_eq!(CRC.checksum(b"123456789"), 0xe306_9283);
        let mut structure = *b"headXXXXcontent";
        seal(&mut structure);
        assert!(is_sealed(&structure, b"head"));
        assert!(!is_sealed(&structure, b"regi"));
        structure[10] ^= 1;
        assert!(!is_sealed(&structure, b"head"));
    }
}
