//! The body of a message whose content is sealed: two parts, what it was and the sealed bytes (\[MS-WSMV\] 2.2.9.1).
//!
//! \[MS-WSMV\] puts a tab before the header lines, and some clients write it; OMI ends the connection where there is one,
//! and Windows takes both. So none is written, and both are read.

/// Between the parts.
const BOUNDARY: &str = "--Encrypted Boundary";

/// What is sealed under the scheme Negotiate.
const PROTOCOL: &str = "application/HTTP-SPNEGO-session-encrypted";

/// What `Content-Type` says.
pub(super) fn content_type() -> String {
    format!("multipart/encrypted;protocol=\"{PROTOCOL}\";boundary=\"Encrypted Boundary\"")
}

/// Whether a body of that type is sealed.
pub(super) fn is_sealed(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("multipart/encrypted")
}

/// Sealed bytes with what is needed to open them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    /// The signature.
    pub(super) header: Vec<u8>,
    /// The rest.
    pub(super) bytes: Vec<u8>,
    /// How long the content is.
    pub(super) plain: usize,
}

/// A body that is no sealed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sealed body {0}")]
pub(super) struct Unsealable(&'static str);

impl Sealed {
    /// The whole body.
    pub(super) fn write(&self) -> Vec<u8> {
        let length = u32::try_from(self.header.len()).unwrap_or(u32::MAX);
        let head = format!(
            "{BOUNDARY}\r\nContent-Type: {}\r\nOriginalContent: type=application/soap+xml;charset=UTF-8;Length={}\r\n\
             {BOUNDARY}\r\nContent-Type: application/octet-stream\r\n",
            PROTOCOL, self.plain
        );
        let end = format!("{BOUNDARY}--\r\n");
        let parts = [
            head.as_bytes(),
            &length.to_le_bytes(),
            &self.header,
            &self.bytes,
            end.as_bytes(),
        ];
        parts.concat()
    }

    /// Reads a body.
    pub(super) fn read(body: &[u8]) -> Result<Self, Unsealable> {
        let (first, rest) = line(body).ok_or(Unsealable("that is empty"))?;
        if !is_boundary(first, "") {
            return Err(Unsealable("without its boundary"));
        }
        let mut plain = None;
        let mut rest = rest;
        // The headers of the first part up to the next boundary.
        loop {
            let (found, after) = line(rest).ok_or(Unsealable("without a second part"))?;
            rest = after;
            if is_boundary(found, "") {
                break;
            }
            if let Some(length) = original_length(found) {
                plain = Some(length);
            }
        }
        // Of the second, the type alone.
        let (found, after) = line(rest).ok_or(Unsealable("that ends in its second part"))?;
        if !contains(found, b"application/octet-stream") {
            return Err(Unsealable("whose second part is no sealed content"));
        }
        let end = last_boundary(after).ok_or(Unsealable("without an end"))?;
        let content = &after[..end];
        let (length, content) = content
            .split_at_checked(4)
            .ok_or(Unsealable("that is too short"))?;
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
        let length = usize::try_from(length).map_err(|_| Unsealable("with a header that is too long"))?;
        let (header, bytes) = content
            .split_at_checked(length)
            .ok_or(Unsealable("with a header that is longer than it"))?;
        Ok(Self {
            header: header.to_vec(),
            bytes: bytes.to_vec(),
            plain: plain.ok_or(Unsealable("that does not tell its length"))?,
        })
    }
}

/// A line without its end, and what follows it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let found = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    Some((found, &bytes[end + 1..]))
}

/// `--Encrypted Boundary`, or `-- Encrypted Boundary`.
fn is_boundary(found: &[u8], end: &str) -> bool {
    let Ok(text) = std::str::from_utf8(found) else {
        return false;
    };
    let text = text.trim();
    text.strip_prefix("--")
        .is_some_and(|rest| rest.trim_start() == format!("Encrypted Boundary{end}"))
}

/// Where the last boundary begins: sealed bytes may hold anything, so it is looked for from the end.
fn last_boundary(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len())
        .rev()
        .find(|at| bytes[*at..].starts_with(b"--") && is_boundary(&bytes[*at..], "--"))
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes
        .windows(wanted.len())
        .any(|window| window.eq_ignore_ascii_case(wanted))
}

fn original_length(found: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(found).ok()?.trim();
    let (name, value) = text.split_once(':')?;
    if !name.trim().eq_ignore_ascii_case("OriginalContent") {
        return None;
    }
    let mut words = value.split(';').filter_map(|word| word.split_once('='));
    let (_, length) = words.find(|(name, _)| name.trim().eq_ignore_ascii_case("Length"))?;
    length.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sealed(bytes: &[u8]) -> Sealed {
        Sealed {
            header: vec![1; 16],
            bytes: bytes.to_vec(),
            plain: bytes.len(),
        }
    }

    #[test]
    fn the_forms_of_others_are_read() {
        let written = sealed(b"abc").write();
        let text = String::from_utf8(written).unwrap();
        for other in [
            text.replace("Content-Type", "\tContent-Type")
                .replace("Original", "\tOriginal"),
            text.replace("--Encrypted", "-- Encrypted"),
        ] {
            assert_eq!(Sealed::read(other.as_bytes()), Ok(sealed(b"abc")));
        }
    }

    #[test]
    fn what_is_no_sealed_body_is_said_to_be_none() {
        let written = sealed(b"abc").write();
        for cut in 0..written.len() - "\r\n".len() {
            assert!(Sealed::read(&written[..cut]).is_err(), "cut at {cut}");
        }
        let lies = String::from_utf8(written)
            .unwrap()
            .replace("\u{10}\0\0\0", "\u{7f}\0\0\0");
        assert!(Sealed::read(lies.as_bytes()).is_err());
    }

    #[test]
    fn the_type_tells_whether_a_body_is_sealed() {
        assert!(is_sealed(&content_type()));
        assert!(is_sealed("Multipart/Encrypted; boundary=x"));
        assert!(!is_sealed("application/soap+xml;charset=UTF-8"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes: Vec<u8>, header in proptest::collection::vec(any::<u8>(), 0..64), plain: u32) {
            let sealed = Sealed { header, bytes, plain: plain as usize };
            prop_assert_eq!(Sealed::read(&sealed.write()), Ok(sealed));
        }

        #[test]
        fn no_body_ends_the_program(bytes: Vec<u8>) {
            let _ = Sealed::read(&bytes);
        }
    }
}
