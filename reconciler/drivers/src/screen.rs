//! A screen before a machine: what its network cards let in is decided on the host, whatever its guest thinks of it.
//!
//! A screen stands before all cards of a machine and lets in only its [`Callers`]. What the machine itself asks for
//! still comes back; how a host tells the two apart is said by its driver. A moment that the machine goes back to knows
//! that there is a screen, not whom it lets in: that is the screen's own.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::ids::{MacAddr, ObjectId, ScreenName};

/// Who is let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Callers {
    /// Everybody.
    Anybody,
    /// Whoever comes from these addresses.
    Only(BTreeSet<IpAddr>),
}

impl Callers {
    /// Nobody is let in.
    pub fn nobody() -> Self {
        Self::Only(BTreeSet::new())
    }

    /// These addresses, each as it is on the wire: one of IPv4 that is written as one of IPv6 is one of IPv4.
    pub fn only(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self::Only(
            addresses
                .into_iter()
                .map(|address| address.to_canonical())
                .collect(),
        )
    }
}

/// A screen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Screen {
    /// The machine before which it stands.
    pub of: ObjectId,
    /// Its name on the host, which carries the machine's token.
    pub name: ScreenName,
    /// The cards of the machine.
    pub nics: BTreeSet<MacAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(
            Callers::only([address("::ffff:192.0.2.7")]),
            Callers::only([address("192.0.2.7")])
        );
        assert_eq!(Callers::only([]), Callers::nobody());
    }
}
