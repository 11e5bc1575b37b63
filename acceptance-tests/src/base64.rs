//! Base64, as far as the guest agent's answers need it.

/// The text that was encoded; `None` if this is no Base64 of text.
pub(crate) fn decode(encoded: &str) -> Option<String> {
    let digits = encoded
        .trim_end_matches('=')
        .bytes()
        .map(digit)
        .collect::<Option<Vec<_>>>()?;
    let mut bytes = Vec::with_capacity(digits.len());
    for four in digits.chunks(4) {
        let bits = four.iter().fold(0, |bits, &digit| bits << 6 | u32::from(digit)) << (6 * (4 - four.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_length_modulo_three_come_back() {
        assert_eq!(decode("").as_deref(), Some(""));
        assert_eq!(decode("TQ==").as_deref(), Some("M"));
        assert_eq!(decode("TWE=").as_deref(), Some("Ma"));
        assert_eq!(decode("TWFu").as_deref(), Some("Man"));
        assert_eq!(decode("TWFuCg==").as_deref(), Some("Man\n"));
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        assert_eq!(decode("T*=="), None);
    }
}
