//! Sealed bodies (\[MS-WSMV\] 2.2.9.1): `multipart/encrypted`, with or without tabs before the headers of its parts, and with or
//! without a blank in its boundaries, as clients of different makes write it.

/// What `Content-Type` of an answer says.
pub(crate) const CONTENT_TYPE: &str = "multipart/encrypted;protocol=\"application/HTTP-SPNEGO-session-encrypted\";boundary=\"Encrypted Boundary\"";

/// Whether a body of that type is sealed.
pub(crate) fn is_sealed(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    kind.eq_ignore_ascii_case("multipart/encrypted")
        && parts.any(|part| {
            let part = part.to_ascii_lowercase();
            part.starts_with("protocol") && part.contains("application/http-spnego-session-encrypted")
        })
}

/// A sealed message, as the acceptor opens it: signature and sealed bytes after each other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sealed<'a> {
    pub(crate) token: &'a [u8],
    /// How long what is in it should be.
    pub(crate) plain: usize,
}

/// Reads a body; `None` where it is none.
pub(crate) fn read(body: &[u8]) -> Option<Sealed<'_>> {
    let (first, rest) = line(body)?;
    is_boundary(first).then_some(())?;
    let mut rest = rest;
    let mut plain = None;
    loop {
        let (header, after) = line(rest)?;
        rest = after;
        if is_boundary(header) {
            break;
        }
        let header = std::str::from_utf8(header).ok()?;
        let (name, value) = header.trim().split_once(':')?;
        if name.eq_ignore_ascii_case("OriginalContent") {
            let mut parts = value.split(';').filter_map(|part| part.trim().split_once('='));
            let (_, length) = parts.find(|(name, _)| name.eq_ignore_ascii_case("Length"))?;
            plain = Some(length.trim().parse().ok()?);
        }
    }
    let (kind, content) = line(rest)?;
    let kind = std::str::from_utf8(kind).ok()?.trim();
    kind.eq_ignore_ascii_case("Content-Type: application/octet-stream")
        .then_some(())?;
    let content = [
        "--Encrypted Boundary--\r\n",
        "-- Encrypted Boundary--\r\n",
        "--Encrypted Boundary--",
    ]
    .iter()
    .find_map(|end| content.strip_suffix(end.as_bytes()))?;
    let (length, token) = content.split_first_chunk::<4>()?;
    // An NTLM signature. Whoever says another length has sealed by something else.
    (u32::from_le_bytes(*length) == 16 && token.len() >= 16).then_some(())?;
    Some(Sealed { token, plain: plain? })
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.windows(2).position(|two| two == b"\r\n")?;
    Some((&bytes[..at], &bytes[at + 2..]))
}

fn is_boundary(line: &[u8]) -> bool {
    matches!(line, b"--Encrypted Boundary" | b"-- Encrypted Boundary")
}

/// A body of a sealed token, with tabs as Windows writes them.
pub(crate) fn write(token: &[u8], plain: usize) -> Vec<u8> {
    let head = format!(
        "--Encrypted Boundary\r\n\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n\
         \tOriginalContent: type=application/soap+xml;charset=UTF-8;Length={plain}\r\n\
         --Encrypted Boundary\r\n\tContent-Type: application/octet-stream\r\n"
    );
    let mut body = head.into_bytes();
    body.extend(16_u32.to_le_bytes());
    body.extend(token);
    body.extend(b"--Encrypted Boundary--\r\n");
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let token = [7; 20];
        let with_tabs = write(&token, 4);
        let text = |body: &[u8], from: &str, to: &str| {
            let at = |piece: &[u8], of: &[u8]| of.windows(piece.len()).position(|window| window == piece);
            let mut body = body.to_vec();
            while let Some(found) = at(from.as_bytes(), &body) {
                body.splice(found..found + from.len(), to.bytes());
            }
            body
        };
        let without = text(&with_tabs, "\tContent", "Content");
        let without = text(&without, "\tOriginal", "Original");
        let blank = text(&without, "--Encrypted Boundary", "-- Encrypted Boundary");
        for body in [with_tabs, without, blank] {
            let read = read(&body).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&body)));
            assert_eq!((read.token, read.plain), (&token[..], 4));
        }
    }

    #[test]
    fn what_is_cut_short_is_no_sealed_body() {
        let whole = write(&[7; 20], 4);
        for length in 0..whole.len() - 2 {
            assert_eq!(read(&whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn other_protocols_are_not_taken() {
        assert!(is_sealed(CONTENT_TYPE));
        assert!(!is_sealed(
            "multipart/encrypted;protocol=\"application/HTTP-Kerberos-session-encrypted\""
        ));
        assert!(!is_sealed("application/soap+xml;charset=UTF-8"));
    }
}
