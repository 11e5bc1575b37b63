//! Hardware addresses of cards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A card's hardware address, written `52:54:00:ab:cd:ef`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

/// A text that is no such address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no MAC address: six pairs of hexadecimal digits are expected, like 52:54:00:ab:cd:ef")]
pub struct NotAMac(String);

impl Mac {
    /// Without anything between the bytes.
    pub fn bare(&self) -> String {
        crate::hex::write(&self.0)
    }
}

impl FromStr for Mac {
    type Err = NotAMac;

    /// Colons or dashes, either case, or nothing in between as Hyper-V writes it.
    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let shape = |at: usize, c: u8| match (text.len(), at % 3) {
            (12, _) | (17, 0 | 1) => c.is_ascii_hexdigit(),
            (17, _) => c == text.as_bytes()[2] && (c == b':' || c == b'-'),
            _ => false,
        };
        let right = !text.is_empty() && text.bytes().enumerate().all(|(at, c)| shape(at, c));
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        crate::hex::read(&digits.to_ascii_lowercase())
            .filter(|_| right)
            .map(Self)
            .ok_or_else(|| NotAMac(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_the_spellings_of_both_systems() {
        let mac: Mac = "00:15:5d:ab:cd:ef".parse().unwrap();
        for same in ["00-15-5D-AB-CD-EF", "00155DABCDEF", "00:15:5D:AB:CD:EF"] {
            assert_eq!(same.parse(), Ok(mac), "{same}");
        }
        assert_eq!(mac.to_string(), "00:15:5d:ab:cd:ef");
        assert_eq!(mac.bare(), "00155dabcdef");
        for other in [
            "",
            "00:15:5d:ab:cd",
            "00:15-5d:ab:cd:ef",
            "00:15:5d:ab:cd:eg",
            "00155dabcdef0",
            "0:015:5d:ab:cd:ef",
            "00é15:5d:ab:cd:e",
        ] {
            assert!(other.parse::<Mac>().is_err(), "{other}");
        }
    }
}
