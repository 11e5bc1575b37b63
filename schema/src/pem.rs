//! Certificates as they are written: PEM, one or several.

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
/// Room for all certificates together: what firmware keeps of one variable.
const MOST: usize = 32 * 1024;

/// The certificates of a PEM text in DER, in their order. Text around them is let be, as in files of authorities.
///
/// # Errors
/// What is wrong and what to write instead; nothing of the text is in it.
pub fn certificates(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = label(line, BEGIN) else { continue };
        if label.contains("PRIVATE KEY") {
            return Err(
                "there is a private key in it: give the certificates alone, and give that key to nobody"
                    .into(),
            );
        }
        if label != "CERTIFICATE" {
            return Err(format!(
                "there is a {label} in it: give certificates alone (-----BEGIN CERTIFICATE-----)"
            ));
        }
        let nth = found.len() + 1;
        let mut body = String::new();
        loop {
            match lines.next() {
                Some(line) if self::label(line, END) == Some("CERTIFICATE") => break,
                Some(line) if !line.starts_with(DASHES) => body.push_str(line),
                _ => {
                    return Err(format!(
                        "certificate {nth} has no end: -----END CERTIFICATE----- is missing"
                    ));
                }
            }
        }
        let der = base64(&body)
            .ok_or_else(|| format!("certificate {nth} is no base64 between its lines of dashes"))?;
        if !is_certificate(&der) {
            return Err(format!(
                "certificate {nth} is no X.509 certificate (its DER is cut off, or something else)"
            ));
        }
        found.push(der);
    }
    if found.is_empty() {
        return Err(
            "there is no certificate in PEM in it (-----BEGIN CERTIFICATE-----): raw DER and bare base64 are not \
             accepted; openssl x509 -inform der -in FILE converts a DER file"
                .into(),
        );
    }
    if found.iter().map(Vec::len).sum::<usize>() > MOST {
        return Err(format!(
            "the certificates are more than {MOST} bytes together, which firmware does not keep: give only those that the server needs"
        ));
    }
    Ok(found)
}

fn label<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    line.strip_prefix(begin)?.strip_suffix(DASHES)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    let padding = text.iter().rev().take_while(|b| **b == b'=').count();
    if text.is_empty() || !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let value = |byte: u8| {
        Some(u32::from(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        }))
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let digits = text.len() - padding;
    for chunk in text[..digits].chunks(4) {
        let mut word = 0;
        for byte in chunk {
            word = word << 6 | value(*byte)?;
        }
        word <<= 6 * (4 - chunk.len());
        bytes.extend_from_slice(&word.to_be_bytes()[1..chunk.len()]);
    }
    Some(bytes)
}

/// The outermost shape of a certificate (RFC 5280, 4.1): a sequence of all of it, which holds a sequence, a sequence
/// and a bit string.
fn is_certificate(der: &[u8]) -> bool {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    let Some((SEQUENCE, mut inner, [])) = element(der) else {
        return false;
    };
    for expected in [SEQUENCE, SEQUENCE, BIT_STRING] {
        match element(inner) {
            Some((tag, _, rest)) if tag == expected => inner = rest,
            _ => return false,
        }
    }
    inner.is_empty()
}

/// The tag and content of the first element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let digits = usize::from(first & 0x7f);
        if digits == 0 || digits > 4 || rest.len() < digits {
            return None;
        }
        length = rest[..digits]
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        rest = &rest[digits..];
    }
    (rest.len() >= length).then(|| (tag, &rest[..length], &rest[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest that passes for a certificate: SEQUENCE { SEQUENCE {}, SEQUENCE {}, BIT STRING }.
    const TINY: &str = "-----BEGIN CERTIFICATE-----\nMAgwADAAAwIA/w==\n-----END CERTIFICATE-----\n";
    const DER: [u8; 10] = [0x30, 8, 0x30, 0, 0x30, 0, 3, 2, 0, 0xff];

    #[test]
    fn all_certificates_of_a_bundle_are_found_in_their_order() {
        assert_eq!(certificates(TINY).unwrap(), [DER.to_vec()]);
        let bundle = format!(
            "# my authority\r\n{TINY}subject=x\n{}",
            TINY.replace('\n', "\r\n")
        );
        assert_eq!(certificates(&bundle).unwrap(), [DER.to_vec(), DER.to_vec()]);
    }

    #[test]
    fn what_is_no_certificate_is_refused_with_the_reason_and_never_shown() {
        let broken = |from: &str, to: &str| TINY.replace(from, to);
        let cases = [
            ("MAgwADAAAwIA/w==".to_owned(), "raw DER and bare base64"),
            ("0\u{8}0".to_owned(), "raw DER"),
            (String::new(), "no certificate"),
            (broken("CERTIFICATE", "RSA PRIVATE KEY"), "private key"),
            (broken("CERTIFICATE", "PUBLIC KEY"), "PUBLIC KEY"),
            (broken("-----END CERTIFICATE-----", ""), "has no end"),
            (broken("MAgw", "M?gw"), "no base64"),
            (broken("w==", "w="), "no base64"),
            (broken("MAgwADAAAwIA/w==", "MAgwADAAAwIA"), "cut off"),
            (broken("MAgwADAAAwIA/w==", "MAQwADAA"), "something else"),
            (TINY.repeat(4000), "more than"),
        ];
        for (text, reason) in cases {
            let message = certificates(&text).expect_err(reason);
            assert!(message.contains(reason), "{message}");
            assert!(!message.contains("ADAA"), "{message}");
        }
    }
}
