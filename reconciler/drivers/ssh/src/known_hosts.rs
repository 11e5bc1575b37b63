//! Which key a host is known by: `known_hosts` files, in the format that `sshd(8)` describes.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::{Algorithm, HashAlg, PublicKey};
use sha1::Sha1;

use crate::pattern::fits_any;

/// What the files say of one host.
#[derive(Debug, Default)]
pub(crate) struct KnownHost {
    known: Vec<Known>,
    /// Keys of the host without a port, for one at another port that has none of its own there.
    elsewhere: Vec<PublicKey>,
    revoked: Vec<PublicKey>,
}

#[derive(Debug)]
struct Known {
    key: PublicKey,
    file: PathBuf,
    line: usize,
}

/// What is to be thought of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the host's.
    Known,
    /// Nobody has told of the host.
    Unknown,
    /// The host is known by another key.
    Changed {
        file: PathBuf,
        line: usize,
        fingerprint: String,
    },
    /// It must not be used any more.
    Revoked,
}

/// How a key is shown.
pub(crate) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// The name by which a host stands in the files.
pub(crate) fn name(host: &str, port: u16) -> String {
    match port {
        22 => host.to_ascii_lowercase(),
        port => format!("[{}]:{port}", host.to_ascii_lowercase()),
    }
}

impl KnownHost {
    /// Reads the files; those that are not there say nothing.
    pub(crate) fn read(files: &[PathBuf], host: &str, port: u16) -> std::io::Result<Self> {
        let mut found = Self::default();
        let mut texts = Vec::new();
        for file in files {
            match std::fs::read(file) {
                Ok(bytes) => texts.push((file, String::from_utf8_lossy(&bytes).into_owned())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(std::io::Error::new(
                        error.kind(),
                        format!("{}: {error}", file.display()),
                    ));
                }
            }
        }
        let collect = |found: &mut Self, name: &str| {
            for (file, text) in &texts {
                found.take_in(file, text, name);
            }
        };
        collect(&mut found, &name(host, port));
        // As ssh does: a key that is known without a port is the host's at any, unless the port has one of its own. That
        // another port shows another key says nothing.
        if found.known.is_empty() && port != 22 {
            collect(&mut found, &name(host, 22));
            found.elsewhere = found.known.drain(..).map(|known| known.key).collect();
        }
        Ok(found)
    }

    fn take_in(&mut self, file: &Path, text: &str, name: &str) {
        for (line, number) in text.lines().zip(1..) {
            let Some(entry) = Entry::read(line).filter(|entry| entry.is_of(name)) else {
                continue;
            };
            match entry.marker {
                None => self.known.push(Known {
                    key: entry.key,
                    file: file.to_owned(),
                    line: number,
                }),
                Some("@revoked") => self.revoked.push(entry.key),
                // Keys that are certified by an authority are not asked for.
                Some(_) => {}
            }
        }
    }

    /// Judges the key that a host shows.
    pub(crate) fn judge(&self, key: &PublicKey) -> Verdict {
        let same = |other: &PublicKey| other.key_data() == key.key_data();
        if self.revoked.iter().any(same) {
            return Verdict::Revoked;
        }
        if self.keys().any(same) {
            return Verdict::Known;
        }
        // The kinds that are known are asked for first, so one that shows another kind has none of them any more.
        match self.known.first() {
            None => Verdict::Unknown,
            Some(first) => {
                let of_kind = |known: &&Known| known.key.algorithm() == key.algorithm();
                let other = self.known.iter().find(of_kind).unwrap_or(first);
                Verdict::Changed {
                    file: other.file.clone(),
                    line: other.line,
                    fingerprint: fingerprint(&other.key),
                }
            }
        }
    }

    fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.known.iter().map(|known| &known.key).chain(&self.elsewhere)
    }

    /// The kinds of keys in the order in which the host is asked for them: those that it is known by first.
    pub(crate) fn preferred(&self, all: &[Algorithm]) -> Vec<Algorithm> {
        let plain = |algorithm: &Algorithm| match algorithm {
            Algorithm::Rsa { .. } => Algorithm::Rsa { hash: None },
            other => other.clone(),
        };
        let is_known =
            |algorithm: &&Algorithm| self.keys().any(|key| plain(&key.algorithm()) == plain(algorithm));
        let (mut first, then): (Vec<_>, Vec<_>) = all.iter().partition(is_known);
        first.extend(then);
        first.into_iter().cloned().collect()
    }
}

struct Entry<'l> {
    marker: Option<&'l str>,
    hosts: &'l str,
    key: PublicKey,
}

impl<'l> Entry<'l> {
    fn read(line: &'l str) -> Option<Self> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let mut words = line.split_whitespace();
        let first = words.next()?;
        let (marker, hosts) = match first.starts_with('@') {
            true => (Some(first), words.next()?),
            false => (None, first),
        };
        let (kind, key) = (words.next()?, words.next()?);
        let key = PublicKey::from_openssh(&format!("{kind} {key}")).ok()?;
        Some(Self { marker, hosts, key })
    }

    fn is_of(&self, name: &str) -> bool {
        match self.hosts.strip_prefix("|1|") {
            Some(hashed) => hashed
                .split_once('|')
                .is_some_and(|(salt, hash)| is_hash_of(salt, hash, name)),
            None => fits_any(self.hosts.split(','), name),
        }
    }
}

fn is_hash_of(salt: &str, hash: &str, name: &str) -> bool {
    let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else {
        return false;
    };
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&salt) else {
        return false;
    };
    mac.update(name.as_bytes());
    mac.verify_slice(&hash).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // The form of keys, with text in place of a point on the curve.
    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1hZGUtZm9yLWEtdGVzdC1vZi1rbm93bi1ob3N0cyEh";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1hZGUtZm9yLWEtdGVzdC1vZi1rbm93bi1ob3N0cz8/";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    fn known(text: &str, host: &str, port: u16) -> KnownHost {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        KnownHost::read(&[file.path().to_owned(), "/nonexistent".into()], host, port).unwrap()
    }

    #[test]
    fn a_host_is_known_by_name_pattern_and_port() {
        for (line, host, port, is_known) in [
            (format!("lab {ONE} comment"), "lab", 22, true),
            (format!("lab,10.0.0.1 {ONE}"), "10.0.0.1", 22, true),
            (
                format!("*.example.org,!bad.example.org {ONE}"),
                "LAB.example.org",
                22,
                true,
            ),
            (
                format!("*.example.org,!bad.example.org {ONE}"),
                "bad.example.org",
                22,
                false,
            ),
            (format!("[lab]:2222 {ONE}"), "lab", 2222, true),
            (format!("[lab]:2222 {ONE}"), "lab", 22, false),
            (format!("lab {ONE}"), "lab", 2222, true),
            (format!("@cert-authority lab {ONE}"), "lab", 22, false),
            ("lab ssh-ed25519 nonsense".to_owned(), "lab", 22, false),
            ("# lab".to_owned(), "lab", 22, false),
        ] {
            let verdict = known(&line, host, port).judge(&key(ONE));
            let expected = if is_known {
                Verdict::Known
            } else {
                Verdict::Unknown
            };
            assert_eq!(verdict, expected, "{line} {host} {port}");
        }
    }

    #[test]
    fn hashed_names_are_recognised() {
        let salt = STANDARD.encode([7u8; 20]);
        let mut mac = Hmac::<Sha1>::new_from_slice(&[7; 20]).unwrap();
        mac.update(b"[lab]:2222");
        let hash = STANDARD.encode(mac.finalize().into_bytes());
        let line = format!("|1|{salt}|{hash} {ONE}");
        assert_eq!(known(&line, "lab", 2222).judge(&key(ONE)), Verdict::Known);
        assert_eq!(known(&line, "lab", 22).judge(&key(ONE)), Verdict::Unknown);
        // Written by `ssh-keygen -H` for the name lab.
        let line = format!("|1|9hCl8YJCJQ2k+Xw3lhUGEYQSi/E=|EFVpXyb5jnXU9klk38jHyH7Qg64= {ONE}");
        assert_eq!(known(&line, "LAB", 22).judge(&key(ONE)), Verdict::Known);
    }

    #[test]
    fn another_key_is_a_changed_one_and_a_revoked_one_is_never_right() {
        let host = known(&format!("# one\nlab {ONE}\n"), "lab", 22);
        let Verdict::Changed {
            line, fingerprint, ..
        } = host.judge(&key(TWO))
        else {
            panic!("it changed")
        };
        assert_eq!((line, fingerprint), (2, super::fingerprint(&key(ONE))));
        let revoked = known(&format!("lab {ONE}\n@revoked * {ONE}\n"), "lab", 22);
        assert_eq!(revoked.judge(&key(ONE)), Verdict::Revoked);
    }

    #[test]
    fn a_port_of_its_own_counts_before_the_host() {
        let host = known(&format!("lab {ONE}\n[lab]:2222 {TWO}\n"), "lab", 2222);
        assert!(matches!(host.judge(&key(ONE)), Verdict::Changed { .. }));
        assert_eq!(host.judge(&key(TWO)), Verdict::Known);
    }

    #[test]
    fn another_key_than_the_one_without_a_port_is_unknown_at_a_port_as_ssh_has_it() {
        let host = known(&format!("lab {ONE}\n"), "lab", 2222);
        assert_eq!(host.judge(&key(TWO)), Verdict::Unknown);
        assert_eq!(host.judge(&key(ONE)), Verdict::Known);
        assert_eq!(
            host.preferred(&[Algorithm::Dsa, Algorithm::Ed25519])[0],
            Algorithm::Ed25519
        );
    }

    #[test]
    fn kinds_that_are_known_are_asked_for_first() {
        let all = [
            Algorithm::Rsa {
                hash: Some(HashAlg::Sha512),
            },
            Algorithm::Ed25519,
        ];
        let host = known(&format!("lab {ONE}\n"), "lab", 22);
        assert_eq!(host.preferred(&all)[0], Algorithm::Ed25519);
        assert_eq!(known("", "lab", 22).preferred(&all), all);
    }
}
