//! The identifier and the headers ([MS-VHDX] 2.2.1, 2.2.2).

use uuid::Uuid;

use super::{is_sealed, put, seal, u16_at, u32_at, u64_at, uuid_at};

pub(crate) const IDENTIFIER_LENGTH: usize = 520;
pub(crate) const OFFSETS: [u64; 2] = [64 << 10, 128 << 10];
pub(crate) const LENGTH: usize = 4096;

const FILE_SIGNATURE: &[u8; 8] = b"vhdxfile";
const SIGNATURE: &[u8; 4] = b"head";
/// The only version there is.
pub(crate) const VERSION: u16 = 1;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) sequence: u64,
    pub(crate) file_write: Uuid,
    pub(crate) data_write: Uuid,
    /// The log holds changes that the rest of the file lacks, unless this is nil.
    pub(crate) log: Uuid,
    pub(crate) version: u16,
    pub(crate) log_offset: u64,
    pub(crate) log_length: u32,
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; LENGTH];
        put(&mut bytes, 0, SIGNATURE);
        put(&mut bytes, 8, &self.sequence.to_le_bytes());
        put(&mut bytes, 16, &self.file_write.to_bytes_le());
        put(&mut bytes, 32, &self.data_write.to_bytes_le());
        put(&mut bytes, 48, &self.log.to_bytes_le());
        // The log's version, at 64, is 0.
        put(&mut bytes, 66, &self.version.to_le_bytes());
        put(&mut bytes, 68, &self.log_length.to_le_bytes());
        put(&mut bytes, 72, &self.log_offset.to_le_bytes());
        seal(&mut bytes);
        bytes
    }

    /// `None` if the bytes are no header or not as they were written.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == LENGTH && is_sealed(bytes, SIGNATURE)).then(|| Self {
            sequence: u64_at(bytes, 8),
            file_write: uuid_at(bytes, 16),
            data_write: uuid_at(bytes, 32),
            log: uuid_at(bytes, 48),
            version: u16_at(bytes, 66),
            log_length: u32_at(bytes, 68),
            log_offset: u64_at(bytes, 72),
        })
    }
}

/// The header that counts: the valid one with the higher sequence number. Of two with the same number only equal ones count:
/// some programs write them so.
pub(crate) fn current(first: Option<Header>, second: Option<Header>) -> Option<Header> {
    match (first, second) {
        (Some(one), Some(other)) if one.sequence == other.sequence => (one == other).then_some(one),
        (Some(one), Some(other)) => Some(if one.sequence > other.sequence { one } else { other }),
        (one, other) => one.or(other),
    }
}

/// The identifier, with who made the file: no more than 256 UTF-16 units of it.
pub(crate) fn identifier(creator: &str) -> Vec<u8> {
    let mut bytes = vec![0; IDENTIFIER_LENGTH];
    put(&mut bytes, 0, FILE_SIGNATURE);
    for (index, unit) in creator.encode_utf16().take(256).enumerate() {
        put(&mut bytes, 8 + 2 * index, &unit.to_le_bytes());
    }
    bytes
}

/// Who made the file. `None` if it is no VHDX.
pub(crate) fn creator(identifier: &[u8]) -> Option<String> {
    let units = identifier.strip_prefix(FILE_SIGNATURE)?;
    let units = units
        .as_chunks::<2>()
        .0
        .iter()
        .map(|unit| u16::from_le_bytes(*unit));
    let text: Vec<u16> = units.take(256).take_while(|unit| *unit != 0).collect();
    Some(String::from_utf16_lossy(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(sequence: u64) -> Header {
        Header {
            sequence,
            file_write: Uuid::from_u128(1),
            data_write: Uuid::from_u128(2),
            log: Uuid::nil(),
            version: VERSION,
            log_offset: 1 << 20,
            log_length: 1 << 20,
        }
    }

    #[test]
    fn the_valid_header_with_the_higher_number_counts() {
        let read = |header: &Header| Header::decode(&header.encode());
        assert_eq!(current(read(&header(4)), read(&header(5))), Some(header(5)));
        assert_eq!(current(read(&header(6)), read(&header(5))), Some(header(6)));
        let mut torn = header(7).encode();
        torn[20] ^= 1;
        assert_eq!(current(Header::decode(&torn), read(&header(5))), Some(header(5)));
        assert_eq!(current(read(&header(5)), Header::decode(&torn)), Some(header(5)));
        assert_eq!(current(None, None), None);
    }

    #[test]
    fn two_different_headers_with_one_number_are_no_header() {
        let other = Header {
            file_write: Uuid::from_u128(9),
            ..header(5)
        };
        assert_eq!(current(Some(header(5)), Some(other)), None);
        assert_eq!(current(Some(header(5)), Some(header(5))), Some(header(5)));
    }

    #[test]
    fn who_made_it_is_read_back_and_cut_where_it_is_long() {
        assert_eq!(creator(&identifier("labyard")), Some("labyard".to_owned()));
        assert_eq!(creator(&identifier(&"ü".repeat(300))), Some("ü".repeat(256)));
        assert_eq!(creator(b"conectix"), None);
    }
}
