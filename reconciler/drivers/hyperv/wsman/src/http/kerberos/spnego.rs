//! How a message of Kerberos is framed: by GSS-API (RFC 2743, 3.1) and SPNEGO (RFC 4178), with Kerberos as the only
//! mechanism that is offered.

use super::super::binding::element;
use super::super::session::Failed;

/// SPNEGO, 1.3.6.1.5.5.2.
const SPNEGO: &[u8] = &[0x06, 0x06, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x02];
/// Kerberos, 1.2.840.113554.1.2.2.
const KRB5: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02];
/// Kinds of messages, RFC 4121, 4.1.
const AP_REQ: [u8; 2] = [1, 0];
pub(super) const AP_REP: [u8; 2] = [2, 0];
pub(super) const KRB_ERROR: [u8; 2] = [3, 0];

/// `negState`: accept-completed.
const COMPLETED: u8 = 0;
/// `negState`: reject.
const REJECT: u8 = 2;

/// What a service answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    pub(super) token: &'a [u8],
    /// What proves that nobody has changed the list of mechanisms.
    pub(super) mic: Option<&'a [u8]>,
}

/// A request of Kerberos in the frame of GSS-API.
pub(super) fn request(message: &[u8]) -> Vec<u8> {
    der(0x60, &[KRB5, &AP_REQ, message])
}

/// The list of mechanisms: one.
pub(super) fn mechanisms() -> Vec<u8> {
    der(0x30, &[KRB5])
}

/// The opening of SPNEGO, with a message of the mechanism that it offers.
pub(super) fn offer(token: &[u8]) -> Vec<u8> {
    let init = der(
        0x30,
        &[&der(0xa0, &[&mechanisms()]), &der(0xa2, &[&der(0x04, &[token])])],
    );
    der(0x60, &[SPNEGO, &der(0xa0, &[&init])])
}

/// Reads the answer of a service.
pub(super) fn answer(token: &[u8]) -> Result<Answer<'_>, Failed> {
    // Some answer what is offered by itself.
    if token.first() == Some(&0x60) {
        return Ok(Answer { token, mic: None });
    }
    let wrong = || Failed::new("the service answers with what is no token of SPNEGO");
    let inside = |wanted: u8, der| match element(der) {
        Some((tag, inside, _)) if tag == wanted => Ok(inside),
        _ => Err(wrong()),
    };
    let (mut rest, mut state, mut said, mut mic) = (inside(0x30, inside(0xa1, token)?)?, None, None, None);
    while !rest.is_empty() {
        let (tag, part, after) = element(rest).ok_or_else(wrong)?;
        rest = after;
        match tag {
            0xa0 => state = inside(0x0a, part)?.first().copied(),
            0xa2 => said = Some(inside(0x04, part)?),
            0xa3 => mic = Some(inside(0x04, part)?),
            _ => {}
        }
    }
    match (state, said) {
        // An error of Kerberos says more than the rejection that it comes with.
        (Some(COMPLETED | REJECT) | None, Some(token)) => Ok(Answer { token, mic }),
        (Some(REJECT), None) => Err(Failed::new("the service rejects the login")),
        _ => Err(Failed::new(
            "the service wants more than a ticket: it takes another mechanism than Kerberos",
        )),
    }
}

/// The kind of a message of Kerberos, and the message.
pub(super) fn krb5(token: &[u8]) -> Result<([u8; 2], &[u8]), Failed> {
    let wrong = || Failed::new("the service answers with what is no token of Kerberos");
    let Some((0x60, inside, _)) = element(token) else {
        return Err(wrong());
    };
    let message = inside.strip_prefix(KRB5).ok_or_else(wrong)?;
    let (kind, message) = message.split_first_chunk::<2>().ok_or_else(wrong)?;
    Ok((*kind, message))
}

/// An element of DER, of parts.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut der = vec![tag];
    match content.len() {
        short @ 0..=0x7f => der.extend(u8::try_from(short)),
        long => {
            let bytes = long.to_be_bytes();
            let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            der.extend(u8::try_from(bytes.len()).map(|count| 0x80 | count));
            der.extend(bytes);
        }
    }
    der.extend(content);
    der
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resp(state: u8, token: Option<&[u8]>) -> Vec<u8> {
        let state = der(0xa0, &[&der(0x0a, &[&[state]])]);
        let mechanism = der(0xa1, &[KRB5]);
        let token = token.map_or(Vec::new(), |token| der(0xa2, &[&der(0x04, &[token])]));
        der(0xa1, &[&der(0x30, &[&state, &mechanism, &token])])
    }

    #[test]
    fn an_answer_is_read_with_its_token_whatever_its_length() {
        for length in [1, 0x7f, 0x80, 0xff, 0x100, 70_000] {
            let token = vec![7; length];
            let text = resp(COMPLETED, Some(&token));
            assert_eq!(answer(&text).unwrap().token, token);
        }
        assert!(answer(&resp(1, Some(b"x"))).is_err(), "more is wanted");
        assert!(answer(&resp(REJECT, None)).is_err());
        assert_eq!(
            answer(&resp(REJECT, Some(b"x"))).unwrap().token,
            b"x",
            "an error, perhaps"
        );
    }

    #[test]
    fn what_is_asked_is_framed_as_it_is_read() {
        let offered = offer(&request(b"message"));
        let (tag, inside, rest) = element(&offered).unwrap();
        assert_eq!((tag, rest.len()), (0x60, 0));
        assert!(inside.starts_with(SPNEGO));
        assert_eq!(krb5(&request(b"message")).unwrap(), (AP_REQ, &b"message"[..]));
        assert!(krb5(b"message").is_err());
    }

    proptest! {
        #[test]
        fn no_token_ends_the_program(bytes: Vec<u8>) {
            let _ = answer(&bytes);
            let _ = krb5(&bytes);
        }
    }
}
