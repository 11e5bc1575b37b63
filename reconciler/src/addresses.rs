//! Which address a machine gets on a network of ours, and whether it may have the one that it asks for. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use labyard_driver::ids::{MacAddr, NicKey};
use labyard_driver::mark::Mark;
use labyard_driver::spec::Dhcp;

use crate::desired::FixedAddress;
use crate::view::{Networks, hands_out};

/// The lowest address of the range that nobody has.
pub fn choose(range: Dhcp, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    (u32::from(range.start)..=u32::from(range.end))
        .map(Ipv4Addr::from)
        .find(|a| !taken.contains(a))
}

/// Why a machine cannot have a fixed address on a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is not one of the network's.
    #[error("{address} is not in {network}, the network's: give an address of that network, with its prefix")]
    Outside {
        /// As asked for.
        address: Ipv4Net,
        /// The network's.
        network: Ipv4Net,
    },
    /// The host has it itself.
    #[error("{0} is the host's own address on the network, its gateway: give another one")]
    Gateway(Ipv4Addr),
    /// Another has it.
    #[error("{address} is {holder}'s on this network already: give another address, or free that one first")]
    Taken {
        /// As asked for.
        address: Ipv4Addr,
        /// Whose.
        holder: String,
    },
}

/// Whether a fixed address fits a network, the host on `own` there.
///
/// # Errors
/// Why it does not.
pub fn fits(fixed: &FixedAddress, own: Ipv4Net) -> Result<(), Unfit> {
    let address = fixed.address;
    if address.trunc() != own.trunc() {
        let network = own.trunc();
        return Err(Unfit::Outside { address, network });
    }
    match address.addr() == own.addr() {
        true => Err(Unfit::Gateway(own.addr())),
        false => Ok(()),
    }
}

/// Whether somebody else has a fixed address on a network: another machine whose mark `counts`, or a reservation
/// that no mark speaks of. NICs with a MAC in `own` are the asker's.
///
/// # Errors
/// Who it is.
pub fn free(
    networks: &Networks<'_>,
    network: &str,
    address: Ipv4Addr,
    own: &BTreeSet<MacAddr>,
    counts: impl Fn(&Mark, &NicKey) -> bool,
) -> Result<(), Unfit> {
    let Some(attachment) = networks.attachment(network) else {
        return Ok(());
    };
    let snapshot = networks.snapshot;
    let taken = |holder: String| Unfit::Taken { address, holder };
    let mut known = own.clone();
    for machine in &snapshot.machines {
        let Some(mark) = machine.mark.ours() else { continue };
        known.extend(mark.nics.values().map(|nic| nic.mac));
        let theirs = Networks {
            snapshot,
            namespace: Some(&mark.namespace),
        };
        let has = mark.nics.iter().any(|(key, nic)| {
            nic.reserved == Some(IpAddr::V4(address))
                && !own.contains(&nic.mac)
                && counts(mark, key)
                && theirs.attachment(&nic.network).as_ref() == Some(&attachment)
        });
        if has {
            return Err(taken(machine.host_name.clone()));
        }
    }
    let reservations = networks.resolve(network).into_iter().filter(|n| hands_out(n));
    let mut reservations = reservations.flat_map(|network| &network.reservations);
    match reservations.find(|r| r.address == IpAddr::V4(address) && !known.contains(&r.mac)) {
        Some(other) => Err(taken(other.name.clone().unwrap_or_else(|| other.mac.to_string()))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_address_is_chosen_until_none_is_left() {
        let range = Dhcp {
            start: Ipv4Addr::new(10, 0, 0, 2),
            end: Ipv4Addr::new(10, 0, 0, 4),
        };
        let mut taken = BTreeSet::from([Ipv4Addr::new(10, 0, 0, 3)]);
        for expected in [Some(2), Some(4), None] {
            let chosen = choose(range, &taken);
            assert_eq!(chosen.map(|a| a.octets()[3]), expected);
            taken.extend(chosen);
        }
    }

    #[test]
    fn a_fixed_address_is_one_of_the_network_and_not_the_hosts() {
        let own: Ipv4Net = "10.77.0.1/24".parse().unwrap();
        let asked = |text: &str| {
            let fixed = FixedAddress {
                address: text.parse().unwrap(),
                gateway: None,
            };
            fits(&fixed, own)
        };
        assert_eq!(asked("10.77.0.10/24"), Ok(()));
        assert!(matches!(asked("10.77.0.10/16"), Err(Unfit::Outside { .. })));
        assert!(matches!(asked("10.78.0.10/24"), Err(Unfit::Outside { .. })));
        assert!(matches!(asked("10.77.0.1/24"), Err(Unfit::Gateway(_))));
    }
}
