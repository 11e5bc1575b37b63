//! A sealed text in pieces that fit into pairs, with a manifest, and back.
//!
//! The names hold session and attempt, so that what is left over from another exchange or from before a restart is
//! never mixed in. Each piece says its own number: one at the wrong place is told from one that was altered.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::action::Item;
use crate::identity::{Nonce, Session};
use crate::illegal::Illegal;
use crate::items::Items;
use crate::message::{self, DATA};
use crate::seal::PublicKey;
use crate::{KEY_MAX, SEALED_MAX, VALUE_MAX, VERSION};

/// Bytes in a piece: its text, with its number before it, fits into a value.
const PIECE: usize = 660;
const _: () = assert!("999:".len() + PIECE / 3 * 4 <= VALUE_MAX);
/// So many pairs a host takes in one call.
const _: () = assert!(SEALED_MAX.div_ceil(PIECE) <= 128);
const _: () = assert!(DATA.len() + 32 + 1 + 10 + ".manifest".len() <= KEY_MAX);

/// What the pieces are of.
#[derive(Clone, Copy)]
pub(crate) struct Sealing<'a> {
    pub(crate) session: Session,
    pub(crate) attempt: u32,
    /// To which key it is sealed.
    pub(crate) public: &'a PublicKey,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u32,
    session: Session,
    attempt: u32,
    public: PublicKey,
    pieces: usize,
    length: usize,
    sha256: Nonce,
}

/// SHA-256 of a text.
pub(crate) fn digest(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

impl Sealing<'_> {
    fn name(&self, what: &str) -> String {
        format!("{DATA}{}.{}.{what}", self.session, self.attempt)
    }
}

/// The session that a piece's name says.
pub(crate) fn session_of(key: &str) -> Option<Session> {
    key.strip_prefix(DATA)?.split('.').next()?.parse().ok()
}

/// The pieces, and the manifest, which goes last.
pub(crate) fn split(of: Sealing<'_>, sealed: &[u8]) -> (Vec<Item>, Item) {
    let pieces: Vec<_> = sealed
        .chunks(PIECE)
        .enumerate()
        .map(|(number, piece)| Item {
            key: of.name(&number.to_string()),
            text: format!("{number}:{}", STANDARD.encode(piece)),
        })
        .collect();
    let manifest = Manifest {
        version: VERSION,
        session: of.session,
        attempt: of.attempt,
        public: of.public.clone(),
        pieces: pieces.len(),
        length: sealed.len(),
        sha256: Nonce::from_bytes(digest(sealed)),
    };
    (pieces, message::item(of.name("manifest"), &manifest))
}

/// The sealed text, where its manifest is there; nothing where it is not yet.
pub(crate) fn join(of: Sealing<'_>, seen: &Items) -> Result<Option<Vec<u8>>, Illegal> {
    let key = of.name("manifest");
    let Some(text) = seen.text(&key)? else {
        return Ok(None);
    };
    let manifest: Manifest = message::read(&key, text)?;
    if manifest.session != of.session {
        let session = manifest.session;
        return Err(Illegal::ForeignSession { key, session });
    }
    if manifest.attempt != of.attempt || manifest.public != *of.public {
        return Err(Illegal::WrongKey);
    }
    let Manifest { pieces, length, .. } = manifest;
    if length > SEALED_MAX || pieces != length.div_ceil(PIECE) || pieces == 0 {
        return Err(Illegal::Manifest { pieces, length });
    }
    let mut sealed = Vec::with_capacity(length);
    for number in 0..pieces {
        let expected = PIECE.min(length - sealed.len());
        sealed.extend(piece(of, seen, number, pieces, expected)?);
    }
    surplus(of, seen, pieces)?;
    if Nonce::from_bytes(digest(&sealed)) != manifest.sha256 {
        return Err(Illegal::Digest);
    }
    Ok(Some(sealed))
}

fn piece(
    of: Sealing<'_>,
    seen: &Items,
    at: usize,
    pieces: usize,
    expected: usize,
) -> Result<Vec<u8>, Illegal> {
    let key = of.name(&at.to_string());
    let Some(text) = seen.text(&key)? else {
        return Err(Illegal::ManifestFirst { missing: at, pieces });
    };
    let malformed = || Illegal::Malformed(key.clone());
    let (says, encoded) = text.split_once(':').ok_or_else(malformed)?;
    let number: usize = says.parse().map_err(|_| malformed())?;
    if number.to_string() != says {
        return Err(malformed());
    }
    if number != at {
        return Err(Illegal::OutOfOrder { at, says: number });
    }
    let bytes = STANDARD.decode(encoded).map_err(|_| malformed())?;
    if bytes.len() != expected {
        return Err(Illegal::Truncated {
            piece: at,
            expected,
            found: bytes.len(),
        });
    }
    Ok(bytes)
}

fn surplus(of: Sealing<'_>, seen: &Items, pieces: usize) -> Result<(), Illegal> {
    let prefix = of.name("");
    let listed = |rest: &str| {
        rest == "manifest"
            || rest
                .parse::<usize>()
                .is_ok_and(|number| number < pieces && number.to_string() == rest)
    };
    match seen
        .keys()
        .find(|key| key.strip_prefix(&prefix).is_some_and(|rest| !listed(rest)))
    {
        Some(key) => Err(Illegal::Surplus(key.to_owned())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public() -> PublicKey {
        PublicKey::from_bytes([7; 32])
    }

    fn sealing(public: &PublicKey) -> Sealing<'_> {
        Sealing {
            session: Session::from_bytes([1; 16]),
            attempt: 2,
            public,
        }
    }

    fn text(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 7 % 251) as u8).collect()
    }

    /// Pairs of a text with three pieces, after `change`.
    fn changed(change: impl Fn(&mut Vec<(String, String)>)) -> Result<Option<Vec<u8>>, Illegal> {
        let public = public();
        let of = sealing(&public);
        let (pieces, manifest) = split(of, &text(2 * PIECE + 5));
        let mut pairs: Vec<_> = pieces
            .into_iter()
            .chain([manifest])
            .map(|item| (item.key, item.text))
            .collect();
        change(&mut pairs);
        join(of, &Items::of_texts(pairs))
    }

    #[test]
    fn pieces_fit_into_pairs_and_join_to_what_was_split() {
        let public = public();
        let of = sealing(&public);
        for length in [1, PIECE - 1, PIECE, PIECE + 1, SEALED_MAX] {
            let (pieces, manifest) = split(of, &text(length));
            for item in pieces.iter().chain([&manifest]) {
                assert!(item.text.len() <= VALUE_MAX && item.text.is_ascii(), "{item:?}");
                assert!(item.key.len() <= KEY_MAX && item.key.is_ascii(), "{item:?}");
            }
            let pairs = pieces
                .into_iter()
                .chain([manifest])
                .map(|item| (item.key, item.text));
            assert_eq!(join(of, &Items::of_texts(pairs)), Ok(Some(text(length))));
        }
    }

    #[test]
    fn nothing_is_joined_before_the_manifest_is_there() {
        assert_eq!(changed(|pairs| drop(pairs.pop())), Ok(None));
    }

    #[test]
    fn a_manifest_that_comes_before_a_piece_is_refused() {
        let first = changed(|pairs| drop(pairs.remove(1)));
        assert_eq!(
            first,
            Err(Illegal::ManifestFirst {
                missing: 1,
                pieces: 3
            })
        );
    }

    #[test]
    fn pieces_that_changed_places_are_refused() {
        let swapped = changed(|pairs| {
            let other = pairs[2].1.clone();
            pairs[0].1 = other;
        });
        assert_eq!(swapped, Err(Illegal::OutOfOrder { at: 0, says: 2 }));
    }

    #[test]
    fn a_piece_that_is_there_twice_is_refused() {
        let twice = changed(|pairs| pairs.push(pairs[1].clone()));
        assert!(matches!(twice, Err(Illegal::Twice(_))), "{twice:?}");
        let copied = changed(|pairs| {
            let (key, text) = pairs[1].clone();
            pairs.push((key.replace(".2.1", ".2.3"), text));
        });
        assert!(matches!(copied, Err(Illegal::Surplus(_))), "{copied:?}");
    }

    #[test]
    fn a_piece_that_was_cut_is_refused() {
        let cut = changed(|pairs| {
            let keep = pairs[1].1.len() - 4;
            pairs[1].1.truncate(keep);
        });
        assert_eq!(
            cut,
            Err(Illegal::Truncated {
                piece: 1,
                expected: PIECE,
                found: PIECE - 3
            })
        );
    }

    #[test]
    fn a_piece_of_other_content_is_refused() {
        let other = changed(|pairs| pairs[0].1 = format!("0:{}", STANDARD.encode([0; PIECE])));
        assert_eq!(other, Err(Illegal::Digest));
        let no_base64 = changed(|pairs| pairs[0].1.replace_range(4..5, "%"));
        assert!(matches!(no_base64, Err(Illegal::Malformed(_))), "{no_base64:?}");
    }

    #[test]
    fn a_manifest_of_another_exchange_or_key_is_refused() {
        let session = changed(|pairs| {
            let manifest = &mut pairs.last_mut().unwrap().1;
            *manifest = manifest.replace(&"01".repeat(16), &"02".repeat(16));
        });
        assert!(
            matches!(session, Err(Illegal::ForeignSession { .. })),
            "{session:?}"
        );
        let key = changed(|pairs| {
            let manifest = &mut pairs.last_mut().unwrap().1;
            *manifest = manifest.replace(&STANDARD.encode([7; 32]), &STANDARD.encode([8; 32]));
        });
        assert_eq!(key, Err(Illegal::WrongKey));
    }

    #[test]
    fn a_manifest_of_more_than_is_taken_is_refused_before_anything_is_read() {
        for (from, to) in [
            ("\"length\":1325", "\"length\":99999999"),
            ("\"pieces\":3", "\"pieces\":4"),
            ("\"pieces\":3", "\"pieces\":18446744073709551615"),
        ] {
            let manifest = changed(|pairs| {
                let manifest = &mut pairs.last_mut().unwrap().1;
                *manifest = manifest.replace(from, to);
            });
            assert!(matches!(manifest, Err(Illegal::Manifest { .. })), "{manifest:?}");
        }
    }
}
