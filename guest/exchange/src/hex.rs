//! Bytes as lower-case hexadecimal, and back: one spelling only.

/// The text of some bytes.
pub(crate) fn write(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a text, where it is exactly that many in lower case.
pub(crate) fn read<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_spelling_of_bytes() {
        assert_eq!(write(&[0, 0xab, 0x10]), "00ab10");
        assert_eq!(read::<3>("00ab10"), Some([0, 0xab, 0x10]));
        for other in ["00AB10", "00ab1", "00ab101", "00ab1g", "00ab1é", "é0ab1"] {
            assert_eq!(read::<3>(other), None, "{other}");
        }
    }
}
