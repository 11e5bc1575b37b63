//! Packets of SFTP, version 3: the one that OpenSSH speaks. draft-ietf-secsh-filexfer-02, and `PROTOCOL` of OpenSSH for
//! its extensions.

/// The longest packet that is taken; OpenSSH sends none above 256 KiB.
pub(super) const LONGEST: usize = 1 << 20;

/// A request, as bytes that are still to get their length and number.
#[derive(Clone, Debug)]
pub(super) struct Request {
    kind: u8,
    body: Vec<u8>,
}

/// How a file is opened.
pub(super) const OPEN_READ: u32 = 0x1;
/// To be written, made, and not there before.
pub(super) const OPEN_NEW: u32 = 0x2 | 0x8 | 0x20;

const HAS_SIZE: u32 = 0x1;
const HAS_OWNER: u32 = 0x2;
const HAS_MODE: u32 = 0x4;
const HAS_TIMES: u32 = 0x8;
const HAS_MORE: u32 = 0x8000_0000;

impl Request {
    fn new(kind: u8) -> Self {
        Self {
            kind,
            body: Vec::new(),
        }
    }

    fn number(mut self, number: u32) -> Self {
        self.body.extend(number.to_be_bytes());
        self
    }

    fn long(mut self, number: u64) -> Self {
        self.body.extend(number.to_be_bytes());
        self
    }

    fn text(mut self, text: &[u8]) -> Self {
        self.body
            .extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.body.extend(text);
        self
    }

    pub(super) fn open(path: &str, flags: u32) -> Self {
        Self::new(3).text(path.as_bytes()).number(flags).number(0)
    }

    pub(super) fn close(handle: &[u8]) -> Self {
        Self::new(4).text(handle)
    }

    pub(super) fn read(handle: &[u8], offset: u64, length: u32) -> Self {
        Self::new(5).text(handle).long(offset).number(length)
    }

    pub(super) fn write(handle: &[u8], offset: u64, data: &[u8]) -> Self {
        let mut request = Self::new(6);
        request.body.reserve(16 + handle.len() + data.len());
        request.text(handle).long(offset).text(data)
    }

    pub(super) fn lstat(path: &str) -> Self {
        Self::new(7).text(path.as_bytes())
    }

    pub(super) fn fstat(handle: &[u8]) -> Self {
        Self::new(8).text(handle)
    }

    pub(super) fn set_mode(path: &str, mode: u32) -> Self {
        Self::new(9).text(path.as_bytes()).number(HAS_MODE).number(mode)
    }

    pub(super) fn set_size(handle: &[u8], size: u64) -> Self {
        Self::new(10).text(handle).number(HAS_SIZE).long(size)
    }

    pub(super) fn open_directory(path: &str) -> Self {
        Self::new(11).text(path.as_bytes())
    }

    pub(super) fn read_directory(handle: &[u8]) -> Self {
        Self::new(12).text(handle)
    }

    pub(super) fn remove(path: &str) -> Self {
        Self::new(13).text(path.as_bytes())
    }

    pub(super) fn make_directory(path: &str) -> Self {
        Self::new(14).text(path.as_bytes()).number(0)
    }

    pub(super) fn remove_directory(path: &str) -> Self {
        Self::new(15).text(path.as_bytes())
    }

    pub(super) fn rename(from: &str, to: &str) -> Self {
        Self::new(18).text(from.as_bytes()).text(to.as_bytes())
    }

    fn extended(name: &str) -> Self {
        Self::new(200).text(name.as_bytes())
    }

    pub(super) fn fsync(handle: &[u8]) -> Self {
        Self::extended(FSYNC).text(handle)
    }

    pub(super) fn statvfs(path: &str) -> Self {
        Self::extended(STATVFS).text(path.as_bytes())
    }

    pub(super) fn limits() -> Self {
        Self::extended(LIMITS)
    }

    /// As it goes over the wire.
    pub(super) fn framed(self, id: u32) -> Vec<u8> {
        let length = u32::try_from(self.body.len() + 5).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(self.body.len() + 9);
        bytes.extend(length.to_be_bytes());
        bytes.push(self.kind);
        bytes.extend(id.to_be_bytes());
        bytes.extend(self.body);
        bytes
    }
}

/// Brings a file to the disk.
pub(super) const FSYNC: &str = "fsync@openssh.com";
/// Tells the room on a volume.
pub(super) const STATVFS: &str = "statvfs@openssh.com";
/// Tells how much one packet may hold.
pub(super) const LIMITS: &str = "limits@openssh.com";

/// The first packet: no number, and the version in its place.
pub(super) const HELLO: [u8; 9] = [0, 0, 0, 5, 1, 0, 0, 0, 3];

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Status { code: u32, message: String },
    Handle(Vec<u8>),
    Data(Vec<u8>),
    Names(Vec<(String, Attributes)>),
    Attributes(Attributes),
    Extended(Vec<u8>),
}

/// Codes of a status.
pub(super) const OK: u32 = 0;
pub(super) const END: u32 = 1;
pub(super) const NO_SUCH_FILE: u32 = 2;
pub(super) const DENIED: u32 = 3;
pub(super) const FAILURE: u32 = 4;
pub(super) const BAD_MESSAGE: u32 = 5;
pub(super) const UNSUPPORTED: u32 = 8;

/// What is told of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) modified: u32,
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u32> {
        let bytes = self.take(4)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*bytes))
    }

    fn long(&mut self) -> Option<u64> {
        let bytes = self.take(8)?.first_chunk::<8>()?;
        Some(u64::from_be_bytes(*bytes))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()? as usize;
        self.take(length)
    }

    fn text(&mut self) -> Option<String> {
        self.bytes()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    fn attributes(&mut self) -> Option<Attributes> {
        let has = self.number()?;
        let mut attributes = Attributes::default();
        if has & HAS_SIZE != 0 {
            attributes.size = self.long()?;
        }
        if has & HAS_OWNER != 0 {
            self.take(8)?;
        }
        if has & HAS_MODE != 0 {
            attributes.mode = self.number()?;
        }
        if has & HAS_TIMES != 0 {
            self.number()?;
            attributes.modified = self.number()?;
        }
        if has & HAS_MORE != 0 {
            for _ in 0..self.number()? {
                self.bytes()?;
                self.bytes()?;
            }
        }
        Some(attributes)
    }
}

/// Reads an answer with its number.
pub(super) fn answer(packet: &[u8]) -> Option<(u32, Answer)> {
    let mut cursor = Cursor(packet);
    let kind = cursor.byte()?;
    let id = cursor.number()?;
    let answer = match kind {
        101 => Answer::Status {
            code: cursor.number()?,
            // The oldest servers send no text.
            message: cursor.text().unwrap_or_default(),
        },
        102 => Answer::Handle(cursor.bytes()?.to_vec()),
        103 => Answer::Data(cursor.bytes()?.to_vec()),
        104 => {
            let mut names = Vec::new();
            for _ in 0..cursor.number()? {
                let name = cursor.text()?;
                cursor.bytes()?;
                names.push((name, cursor.attributes()?));
            }
            Answer::Names(names)
        }
        105 => Answer::Attributes(cursor.attributes()?),
        201 => Answer::Extended(cursor.0.to_vec()),
        _ => return None,
    };
    Some((id, answer))
}

/// Reads the first answer: the version, and the names of extensions.
pub(super) fn welcome(packet: &[u8]) -> Option<(u32, Vec<String>)> {
    let mut cursor = Cursor(packet);
    if cursor.byte()? != 2 {
        return None;
    }
    let version = cursor.number()?;
    let mut extensions = Vec::new();
    while !cursor.0.is_empty() {
        extensions.push(cursor.text()?);
        cursor.bytes()?;
    }
    Some((version, extensions))
}

/// Total and free bytes, from the answer to `statvfs`.
pub(super) fn room(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut cursor = Cursor(bytes);
    let _block = cursor.long()?;
    let fragment = cursor.long()?;
    let total = cursor.long()?;
    let _free_for_root = cursor.long()?;
    let free = cursor.long()?;
    Some((total.saturating_mul(fragment), free.saturating_mul(fragment)))
}

/// The largest read and write, from the answer to `limits`.
pub(super) fn largest(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut cursor = Cursor(bytes);
    let _packet = cursor.long()?;
    Some((cursor.long()?, cursor.long()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_has_its_length_kind_and_number_before_it() {
        let bytes = Request::rename("/a", "/b").framed(7);
        let expected = [
            &[0, 0, 0, 17, 18, 0, 0, 0, 7][..],
            &[0, 0, 0, 2, b'/', b'a', 0, 0, 0, 2, b'/', b'b'],
        ];
        assert_eq!(bytes, expected.concat());
    }

    #[test]
    fn names_are_read_with_what_is_told_of_them() {
        let mut packet = vec![104, 0, 0, 0, 9, 0, 0, 0, 1];
        packet.extend([0, 0, 0, 1, b'x', 0, 0, 0, 0]);
        packet.extend((HAS_SIZE | HAS_MODE | HAS_TIMES | HAS_MORE).to_be_bytes());
        packet.extend(5u64.to_be_bytes());
        packet.extend(0o100_644u32.to_be_bytes());
        packet.extend([0, 0, 0, 1, 0, 0, 0, 2]);
        packet.extend([0, 0, 0, 1, 0, 0, 0, 1, b'k', 0, 0, 0, 1, b'v']);
        let attributes = Attributes {
            size: 5,
            mode: 0o100_644,
            modified: 2,
        };
        assert_eq!(
            answer(&packet),
            Some((9, Answer::Names(vec![("x".into(), attributes)])))
        );
        for length in 0..packet.len() {
            assert_eq!(answer(&packet[..length]), None, "{length}");
        }
    }

    #[test]
    fn the_welcome_names_extensions() {
        let mut packet = vec![2, 0, 0, 0, 3];
        packet.extend([0, 0, 0, 1, b'a', 0, 0, 0, 1, b'1']);
        assert_eq!(welcome(&packet), Some((3, vec!["a".to_owned()])));
        assert_eq!(welcome(&packet[..7]), None);
    }

    proptest! {
        #[test]
        fn no_packet_makes_it_panic(kind in 99u8..110, rest in prop::collection::vec(any::<u8>(), 0..200)) {
            let packet = [&[kind][..], &rest].concat();
            let _either_way = answer(&packet);
            let _either_way = welcome(&packet);
            let _either_way = (room(&rest), largest(&rest));
        }
    }
}
