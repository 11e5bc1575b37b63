//! Which machine, which session: what a sealed text is bound to.

use std::fmt;
use std::str::FromStr;

use hpke::rand_core::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::hex;

/// The host's own id of a machine: a GUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VmId(Uuid);

/// A text that is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no id of a machine: a GUID is expected, like 7D0D9A2C-6F3B-4E6B-8C52-0F1E2D3C4B5A")]
pub struct NotAnId(String);

impl FromStr for VmId {
    type Err = NotAnId;

    /// In either case, with braces or without: hosts write both.
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let bare = text
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .unwrap_or(text);
        match Uuid::try_parse(bare) {
            Ok(id) if bare.len() == 36 => Ok(Self(id)),
            _ => Err(NotAnId(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}", self.0.hyphenated())
    }
}

impl fmt::Debug for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for VmId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VmId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Bytes drawn once, as lower-case hexadecimal.
macro_rules! drawn {
    ($(#[$about:meta])* $name:ident, $length:literal) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $length]);

        impl $name {
            /// Of bytes that were drawn elsewhere.
            pub fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            fn draw(rng: &mut impl CryptoRng) -> Self {
                let mut bytes = [0; $length];
                rng.fill_bytes(&mut bytes);
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::write(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                hex::read(text).map(Self).ok_or_else(|| NotAnId(text.chars().take(80).collect()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                hex::read(&text).map(Self).ok_or_else(|| de::Error::custom("not as many lower-case hexadecimal digits"))
            }
        }
    };
}

drawn! {
    /// The name of one exchange.
    Session, 16
}

drawn! {
    /// What shows that an answer belongs to this request and not to an older one.
    Nonce, 32
}

/// One exchange with one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The machine.
    pub vm: VmId,
    /// The exchange's name.
    pub session: Session,
    /// Drawn with it.
    pub nonce: Nonce,
}

impl Exchange {
    /// A new exchange.
    pub fn draw(vm: VmId, rng: &mut impl CryptoRng) -> Self {
        Self {
            vm,
            session: Session::draw(rng),
            nonce: Nonce::draw(rng),
        }
    }

    /// What a sealed text is bound to. Every part has a fixed length, so that no two exchanges have the same bytes.
    pub fn associated_data(&self) -> Vec<u8> {
        [
            self.vm.0.as_bytes().as_slice(),
            self.session.0.as_slice(),
            self.nonce.0.as_slice(),
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_id_is_read_as_hosts_write_it() {
        let id: VmId = "7D0D9A2C-6F3B-4E6B-8C52-0F1E2D3C4B5A".parse().unwrap();
        for same in [
            "{7D0D9A2C-6F3B-4E6B-8C52-0F1E2D3C4B5A}",
            "7d0d9a2c-6f3b-4e6b-8c52-0f1e2d3c4b5a",
        ] {
            assert_eq!(same.parse(), Ok(id), "{same}");
        }
        assert_eq!(id.to_string(), "7D0D9A2C-6F3B-4E6B-8C52-0F1E2D3C4B5A");
        for other in ["", "7D0D9A2C6F3B4E6B8C520F1E2D3C4B5A", "{7D0D9A2C}", "web-01"] {
            assert!(other.parse::<VmId>().is_err(), "{other}");
        }
    }

    #[test]
    fn what_a_text_is_bound_to_has_each_part_at_its_place() {
        let exchange = Exchange {
            vm: VmId(Uuid::from_bytes([1; 16])),
            session: Session([2; 16]),
            nonce: Nonce([3; 32]),
        };
        let bytes = exchange.associated_data();
        assert_eq!(bytes.len(), 64);
        assert_eq!(bytes[15..17], [1, 2]);
        assert_eq!(bytes[31..33], [2, 3]);
    }
}
