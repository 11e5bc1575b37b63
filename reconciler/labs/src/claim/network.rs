//! A network that a claim has to itself, where its pools say so: which addresses it has is decided here, once, so that no
//! two networks on a host have the same; it is given back when nothing of it is left on its host.
//!
//! Each claim gets a slice of its pool's `cidr`, the smallest that has room for its machines and no smaller than
//! [`LEAST`]: the host has an address on each, for DHCP, and no host takes two networks with the same addresses.

use super::{Claim, Queries, event, find, those};
use crate::{
    Refusal,
    ids::{ClaimId, MemberId, PoolName},
    member,
};
use ipnet::Ipv4Net;
use labyard_store::{StoreError, Write, event::Moment};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr};

/// The longest prefix of a slice: room for thirteen machines.
pub const LEAST: u8 = 28;
/// Addresses of a slice that no machine has: the network's own, the host's, and the one that means all.
const NOT_FOR_MACHINES: u64 = 3;

/// What a pool says of the networks of its claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfPool {
    /// The card of its machines that is put on it, by its key.
    pub nic: String,
    /// What the networks get their addresses of.
    pub cidr: Ipv4Net,
}

/// What a claim wants of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// What it gets its addresses of.
    pub cidr: Ipv4Net,
    /// The card of machines that is put on it, by their pool.
    pub nics: BTreeMap<PoolName, String>,
}

/// The network of a claim, from before it is made until it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The host of its machines.
    pub host: String,
    /// Its addresses.
    pub subnet: Ipv4Net,
    /// The machines that are on it, with their addresses once they have some.
    pub machines: BTreeMap<MemberId, Vec<IpAddr>>,
}

/// What is wanted where several pools of one claim want networks: one for all, of what the first of them says.
pub(super) fn wanted(pools: BTreeMap<PoolName, OfPool>) -> Option<Wanted> {
    let cidr = pools.values().next()?.cidr;
    let nics = pools.into_iter().map(|(pool, of)| (pool, of.nic)).collect();
    Some(Wanted { cidr, nics })
}

/// The prefix of a slice that has room for so many machines.
fn prefix_for(machines: usize) -> u8 {
    let needed = (machines as u64 + NOT_FOR_MACHINES).next_power_of_two();
    let bits = needed.trailing_zeros().min(32);
    LEAST.min(u8::try_from(32 - bits).unwrap_or_default())
}

/// The first slice that overlaps none of those; pure.
fn slice(cidr: Ipv4Net, machines: usize, taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    let prefix = prefix_for(machines);
    let overlaps = |one: &Ipv4Net| {
        let with = |other: &Ipv4Net| other.contains(one) || one.contains(other);
        taken.iter().any(with)
    };
    // An error says that the whole is smaller than a slice.
    cidr.subnets(prefix).ok()?.find(|one| !overlaps(one))
}

pub(super) fn read(text: Option<String>) -> Result<Option<Network>, StoreError> {
    text.map(|text| {
        serde_json::from_str(&text).map_err(|error| StoreError::Unreadable {
            what: format!("claims.network: {error}"),
        })
    })
    .transpose()
}

fn write_down(write: &mut Write<'_>, id: &ClaimId, network: Option<&Network>) -> Result<(), StoreError> {
    let text = network.map(serde_json::to_string).transpose();
    let text = text.map_err(|error| StoreError::Unreadable {
        what: error.to_string(),
    })?;
    write
        .execute(
            "UPDATE claims SET network = $1 WHERE id = $2",
            &[text.into(), id.as_str().into()],
        )
        .map(drop)
}

/// Those that are there or may be, with their claims.
fn all(from: &mut impl Queries, condition: &str) -> Result<Vec<(ClaimId, Network)>, StoreError> {
    let rows = from.rows(
        &format!("SELECT id, network FROM claims WHERE network IS NOT NULL {condition}"),
        &[],
    )?;
    let mut found = Vec::new();
    for row in &rows {
        if let Some(network) = read(row.get("network")?)? {
            found.push((ClaimId(row.get("id")?), network));
        }
    }
    Ok(found)
}

/// Allots a claim its network, or says which it has; `None` where no addresses of its pool's are left on its host.
pub(super) fn allot(
    write: &mut Write<'_>,
    claim: &Claim,
    wanted: &Wanted,
    actor: &str,
    now: Moment,
) -> Result<Option<Network>, Refusal> {
    if let Some(network) = &claim.network {
        return Ok(Some(network.clone()));
    }
    let machines = member::of_claim(write, &claim.id)?;
    let on_it: Vec<_> = machines
        .into_iter()
        .filter(|machine| wanted.nics.contains_key(&machine.pool))
        .collect();
    let Some(host) = on_it.iter().find_map(|machine| machine.host.clone()) else {
        return Ok(None);
    };
    let others = all(write, "")?;
    let taken: Vec<Ipv4Net> = others
        .into_iter()
        .filter(|(_, network)| network.host == host)
        .map(|(_, network)| network.subnet)
        .collect();
    let Some(subnet) = slice(wanted.cidr, on_it.len(), &taken) else {
        return Ok(None);
    };
    let network = Network {
        host,
        subnet,
        machines: on_it
            .into_iter()
            .map(|machine| (machine.id, Vec::new()))
            .collect(),
    };
    write_down(write, &claim.id, Some(&network))?;
    let event = event(claim, "claim.network_allotted", actor, now)
        .with("host", network.host.as_str())
        .with("subnet", network.subnet.to_string());
    write.event(&event)?;
    Ok(Some(network))
}

/// Writes down with which addresses its machines are on it.
pub(super) fn addressed(
    write: &mut Write<'_>,
    claim: &Claim,
    addresses: BTreeMap<MemberId, Vec<IpAddr>>,
    actor: &str,
    now: Moment,
) -> Result<(), Refusal> {
    let Some(network) = &claim.network else {
        return Ok(());
    };
    if network.machines == addresses {
        return Ok(());
    }
    let network = Network {
        machines: addresses,
        ..network.clone()
    };
    write_down(write, &claim.id, Some(&network))?;
    write
        .event(&event(claim, "claim.networked", actor, now))
        .map(drop)?;
    Ok(())
}

/// Networks of claims that are over, which no machine of theirs is on any more as far as the store knows: they can be
/// taken away.
///
/// # Errors
/// If the store fails.
pub fn left(from: &mut impl Queries) -> Result<Vec<(ClaimId, Network)>, StoreError> {
    let over = "AND phase IN ('expired', 'released', 'failed') ORDER BY place";
    let mut left = Vec::new();
    for (claim, network) in all(from, over)? {
        let mut on_it = false;
        for id in network.machines.keys() {
            let state = member::find(from, id)?.map(|machine| machine.state);
            on_it |= matches!(
                state,
                Some(member::State::Recycling | member::State::Retiring | member::State::Failed)
            );
        }
        if !on_it {
            left.push((claim, network));
        }
    }
    Ok(left)
}

/// Whether the store knows of a claim's network: one that stands on a host and is nobody's is left of something that was
/// lost.
///
/// # Errors
/// If the store fails.
pub fn is_known(from: &mut impl Queries, id: &ClaimId) -> Result<bool, StoreError> {
    let rows = from.rows(
        "SELECT id FROM claims WHERE id = $1 AND network IS NOT NULL",
        &[id.as_str().into()],
    )?;
    Ok(!rows.is_empty())
}

/// The network of a claim that is over is gone from its host: others may have its addresses. Said again it changes
/// nothing.
///
/// # Errors
/// If the claim is not over, or the store fails.
pub fn given_back(write: &mut Write<'_>, id: &ClaimId, actor: &str, now: Moment) -> Result<(), Refusal> {
    let claims = those(write, "WHERE id = $1", &[id.as_str().into()])?;
    let Some(claim) = claims.into_iter().next() else {
        return Ok(());
    };
    let Some(network) = claim.network.as_ref().filter(|_| claim.phase.is_over()) else {
        return Ok(());
    };
    let event = event(&claim, "claim.network_given_back", actor, now)
        .with("host", network.host.as_str())
        .with("subnet", network.subnet.to_string());
    write_down(write, id, None)?;
    write.event(&event)?;
    Ok(())
}

/// A claim's network, for tests and those who show it.
///
/// # Errors
/// If there is no such claim, or the store fails.
pub fn of(from: &mut impl Queries, id: &ClaimId) -> Result<Option<Network>, Refusal> {
    Ok(find(from, id)?.network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn a_slice_has_room_for_all_machines_and_the_host() {
        for (machines, prefix) in [(1, 28), (13, 28), (14, 27), (29, 27), (30, 26), (253, 24)] {
            assert_eq!(prefix_for(machines), prefix, "{machines}");
        }
    }

    #[test]
    fn slices_do_not_overlap_whatever_their_sizes_until_none_is_left() {
        let cidr = net("10.77.0.0/26");
        let mut taken = Vec::new();
        for (machines, expected) in [
            (2, Some("10.77.0.0/28")),
            (20, Some("10.77.0.32/27")),
            (3, Some("10.77.0.16/28")),
            (1, None),
        ] {
            let got = slice(cidr, machines, &taken);
            assert_eq!(got, expected.map(net), "{machines} beside {taken:?}");
            taken.extend(got);
        }
        assert_eq!(
            slice(net("10.77.0.0/28"), 14, &[]),
            None,
            "it is smaller than a slice"
        );
    }

    #[test]
    fn several_pools_of_one_claim_share_the_network_of_the_first() {
        let of = |nic: &str, cidr: &str| OfPool {
            nic: nic.to_owned(),
            cidr: net(cidr),
        };
        let pools = [
            ("router".into(), of("in", "10.2.0.0/24")),
            ("host".into(), of("lab", "10.1.0.0/24")),
        ];
        let wanted = wanted(pools.into()).unwrap();
        assert_eq!(wanted.cidr, net("10.1.0.0/24"));
        assert_eq!(wanted.nics.len(), 2);
        assert_eq!(super::wanted(BTreeMap::new()), None);
    }
}
