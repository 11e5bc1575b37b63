//! A code: what it looks like, what it grants, how it is kept ([`keep`]), how a user writes it down
//! ([`config`]), and how it comes on paper ([`sheet`]).
//!
//! Its text has 80 random bits in sixteen characters of Crockford's alphabet (crockford.com/base32.html), in four
//! groups: no letter is mistaken for a digit, and what people write instead (`O`, `I`, `L`, small letters, blanks) is
//! understood. A text that a user gives is compared in the same way, and shown as it was given.
//!
//! ```
//! use labyard_labs::code::CodeText;
//! assert_eq!(CodeText::parse("o0l1-iIlL-0000-0000").unwrap().to_string(), "0011-1111-0000-0000");
//! ```

pub mod config;
pub mod keep;
pub mod sheet;

use crate::{Refusal, ids::PoolName};
use ipnet::IpNet;
use labyard_store::event::Moment;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, net::IpAddr};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The text of a code, equal to another that means the same. `Debug` does not show it.
#[derive(Clone)]
pub struct CodeText {
    /// In capitals, without separators.
    compared: String,
    /// As it was given.
    given: String,
}

impl PartialEq for CodeText {
    fn eq(&self, other: &Self) -> bool {
        self.compared == other.compared
    }
}

impl Eq for CodeText {}

impl CodeText {
    /// A generated one, of 80 random bits.
    #[must_use]
    pub fn from_random(bytes: [u8; 10]) -> Self {
        let bits = bytes
            .iter()
            .fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
        let places = (0..16).rev();
        let compared: String = places
            .map(|place| ALPHABET[(bits >> (5 * place) & 31) as usize] as char)
            .collect();
        Self {
            given: compared.clone(),
            compared,
        }
    }

    /// A code as somebody typed it.
    ///
    /// # Errors
    /// If it cannot be one; its text is not in the message.
    pub fn parse(typed: &str) -> Result<Self, String> {
        labyard_schema::check::code_text(typed)?;
        let compared = typed
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '-')
            .flat_map(char::to_uppercase)
            .map(|c| match c {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            })
            .collect();
        Ok(Self {
            compared,
            given: typed.trim().to_owned(),
        })
    }

    /// The text by which it is found.
    #[must_use]
    pub fn as_compared(&self) -> &str {
        &self.compared
    }
}

impl fmt::Display for CodeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.compared;
        if text.len() != 16 || !text.bytes().all(|byte| ALPHABET.contains(&byte)) {
            return f.write_str(&self.given);
        }
        let groups: Vec<&str> = (0..4).map(|group| &text[4 * group..4 * group + 4]).collect();
        f.write_str(&groups.join("-"))
    }
}

impl fmt::Debug for CodeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeText(…)")
    }
}

/// What a code grants, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// How many machines of which pools: all of them or none.
    pub pools: BTreeMap<PoolName, u32>,
    /// From when on, that moment included.
    pub not_before: Option<Moment>,
    /// Until when, that moment not included.
    pub not_after: Option<Moment>,
    /// How often each value of it may be used.
    pub max_uses: Option<i64>,
    /// How often by one user.
    pub max_uses_per_user: Option<i64>,
    /// The lease of its claims, in milliseconds, where it is not the pool's.
    pub lease_ms: Option<i64>,
    /// From which networks; none says from anywhere.
    pub sources: Vec<IpNet>,
}

/// What is known of a value of a code when it is redeemed.
#[derive(Clone, Copy, Debug)]
pub struct Uses {
    /// How often it was used.
    pub all: i64,
    /// How often by this user.
    pub by_user: i64,
    /// Whether it was revoked.
    pub revoked: Option<Moment>,
}

impl Terms {
    /// Whether it can be redeemed now, from there, once more.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, now: Moment, source: Option<IpAddr>, uses: Uses) -> Result<(), Refusal> {
        if uses.revoked.is_some_and(|at| at <= now) {
            return Err(Refusal::Revoked);
        }
        self.valid_at(now)?;
        let inside = |address: IpAddr| self.sources.iter().any(|network| network.contains(&address));
        if !self.sources.is_empty() && !source.is_some_and(inside) {
            return Err(Refusal::WrongSource);
        }
        if self.max_uses.is_some_and(|most| uses.all >= most) {
            return Err(Refusal::UsedUp { uses: uses.all });
        }
        if self.max_uses_per_user.is_some_and(|most| uses.by_user >= most) {
            return Err(Refusal::UsedUpByUser { uses: uses.by_user });
        }
        Ok(())
    }

    /// Whether it is valid at a moment: at redeem, keepalive, resume and console.
    ///
    /// # Errors
    /// Why not.
    pub fn valid_at(&self, now: Moment) -> Result<(), Refusal> {
        match (self.not_before, self.not_after) {
            (Some(from), _) if now < from => Err(Refusal::NotYetValid { from }),
            (_, Some(until)) if now >= until => Err(Refusal::NoLongerValid { until }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(all: i64, by_user: i64) -> Uses {
        Uses {
            all,
            by_user,
            revoked: None,
        }
    }

    /// Invariant 5 at its boundary instants, at redeem.
    #[test]
    fn a_code_is_valid_from_its_first_moment_until_just_before_its_last() {
        let terms = Terms {
            not_before: Some(Moment(100)),
            not_after: Some(Moment(200)),
            ..Terms::default()
        };
        let at = |now| terms.admit(Moment(now), None, uses(0, 0));
        assert!(matches!(at(99), Err(Refusal::NotYetValid { .. })));
        assert!(at(100).is_ok());
        assert!(at(199).is_ok());
        assert!(matches!(at(200), Err(Refusal::NoLongerValid { .. })));
    }

    #[test]
    fn uses_sources_and_revocation_are_looked_at() {
        let terms = Terms {
            max_uses: Some(3),
            max_uses_per_user: Some(1),
            sources: vec!["10.0.0.0/8".parse().unwrap()],
            ..Terms::default()
        };
        let inside = Some("10.1.2.3".parse().unwrap());
        let now = Moment(0);
        assert!(terms.admit(now, inside, uses(2, 0)).is_ok());
        assert!(matches!(
            terms.admit(now, inside, uses(3, 0)),
            Err(Refusal::UsedUp { uses: 3 })
        ));
        assert!(matches!(
            terms.admit(now, inside, uses(1, 1)),
            Err(Refusal::UsedUpByUser { uses: 1 })
        ));
        assert!(matches!(
            terms.admit(now, None, uses(0, 0)),
            Err(Refusal::WrongSource)
        ));
        let outside = Some("192.0.2.1".parse().unwrap());
        assert!(matches!(
            terms.admit(now, outside, uses(0, 0)),
            Err(Refusal::WrongSource)
        ));
        let revoked = Uses {
            revoked: Some(Moment(0)),
            ..uses(0, 0)
        };
        assert!(matches!(terms.admit(now, inside, revoked), Err(Refusal::Revoked)));
    }

    #[test]
    fn generated_texts_differ_and_are_read_back_as_people_type_them() {
        let text = CodeText::from_random([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(text.to_string().len(), 19);
        let typed = text
            .to_string()
            .replace('0', "o")
            .replace('1', "l")
            .replace('-', " ");
        assert_eq!(CodeText::parse(&typed).unwrap(), text);
        assert_ne!(CodeText::from_random([0, 1, 2, 3, 4, 5, 6, 7, 8, 10]), text);
        assert!(!format!("{text:?}").contains('0'));
        assert!(CodeText::parse("12345").is_err());
    }

    #[test]
    fn a_text_that_a_user_gives_is_shown_as_it_was_given_and_compared_as_people_type_it() {
        let text = CodeText::parse(" Robotics-101 ").unwrap();
        assert_eq!(text.to_string(), "Robotics-101");
        assert_eq!(text, CodeText::parse("r0b0t1cs iol").unwrap());
    }
}
