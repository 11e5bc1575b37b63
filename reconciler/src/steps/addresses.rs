//! Addresses: on networks of ours with DHCP every NIC gets an address, recorded before it is reserved.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use futures::future::BoxFuture;
use labyard_driver::DriverError;
use labyard_driver::ids::{MacAddr, NicKey};
use labyard_driver::mark::{Mark, NicMark};
use labyard_driver::observed::{Activity, DhcpLease, ObservedNetwork, Power, Reservation};

use super::{Outcome, Work};
use crate::addresses::{Unfit, choose, fits, free};
use crate::desired::{DesiredPower, FixedAddress};
use crate::error::EngineError;
use crate::view::{Networks, hands_out};

/// How often another address is tried when one was taken between choice and reservation.
const TRIES: usize = 16;

pub(super) fn ensure<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let mark = work.mark().await;
        for (key, nic) in mark.nics {
            let network = network_of(work, &key, &nic.network).await?;
            let fixed = work.desired.nics.get(&key).and_then(|wanted| wanted.fixed);
            let supplied = mark.hooks.addresses.get(&key).copied();
            match (fixed, supplied, network) {
                (Some(fixed), _, network) => keep_fixed(work, &key, &nic, fixed, network.as_ref()).await?,
                (None, Some(supplied), Some(network)) => {
                    reserve_supplied(work, &key, &nic, supplied, &network).await?;
                }
                (None, None, Some(network)) => reserve(work, &key, nic.mac, nic.reserved, &network).await?,
                (None, _, None) => {}
            }
        }
        release_left(work).await
    })
}

/// The network of a NIC, if it is one of ours that hands out addresses.
pub(super) async fn network_of(
    work: &Work<'_>,
    key: &NicKey,
    name: &str,
) -> Result<Option<ObservedNetwork>, EngineError> {
    let namespace = &work.desired.namespace;
    let snapshot = work.host.knowing(namespace, std::iter::once(name)).await?;
    let found = Networks {
        snapshot: &snapshot,
        namespace: Some(namespace),
    }
    .resolve(name)
    .cloned();
    match (found, work.desired.nics.get(key)) {
        (Some(network), _) => Ok(Some(network).filter(hands_out)),
        (None, Some(nic)) => Err(work.no_network(key, nic)),
        (None, None) => Ok(None),
    }
}

/// A fixed address is the mark's already; where the network hands out addresses it is reserved too.
async fn keep_fixed(
    work: &Work<'_>,
    key: &NicKey,
    nic: &NicMark,
    fixed: FixedAddress,
    network: Option<&ObservedNetwork>,
) -> Outcome {
    let address = fixed.address.addr();
    let at = format!("nics[{:?}].ipv4.address", key.as_str());
    let unfit = |unfit: Unfit| work.at(at.clone(), unfit.to_string());
    let snapshot = work.host.recent().await?;
    let networks = Networks {
        snapshot: &snapshot,
        namespace: Some(&work.desired.namespace),
    };
    // The card that had it before, where another one takes its place.
    let mut former = work.mark().await.give_back;
    former.retain(|former| former.network == nic.network && former.reserved == Some(IpAddr::V4(address)));
    let own = work.desired.nics.values().map(|nic| nic.mac);
    let own: BTreeSet<_> = own.chain(former.iter().map(|former| former.mac)).collect();
    free(&networks, &nic.network, address, &own, |_, _| true).map_err(unfit)?;
    let Some(network) = network else { return Ok(()) };
    if let Some(own) = network.address {
        fits(&fixed, own).map_err(unfit)?;
    }
    release(work, &former).await?;
    let driver = &work.host.driver;
    let other = |r: &&Reservation| r.mac == nic.mac && r.address != IpAddr::V4(address);
    if let Some(other) = network.reservations.iter().find(other) {
        not_anothers(work, key, nic, (network, other)).await?;
        driver
            .release_address(&network.id, nic.mac, other.address)
            .await
            .map_err(work.failed())?;
    }
    let reservation = Reservation {
        mac: nic.mac,
        address: IpAddr::V4(address),
        name: own_name(work, key, network),
    };
    match keep(work, network, &reservation).await {
        Err(DriverError::Exists { what }) => {
            // Something came since the network was read.
            let now = driver.network(&network.id).await.map_err(work.failed())?;
            if let Some(other) = now.reservations.iter().find(other) {
                not_anothers(work, key, nic, (&now, other)).await?;
            }
            let holder = format!("another machine ({what})");
            Err(unfit(Unfit::Taken { address, holder }))
        }
        result => result.map_err(work.failed()),
    }
}

/// Refuses a MAC for which the network keeps an address, where another machine has it.
async fn not_anothers(
    work: &Work<'_>,
    key: &NicKey,
    nic: &NicMark,
    (network, kept): (&ObservedNetwork, &Reservation),
) -> Outcome {
    if !others_have(work, network, nic.mac).await? {
        return Ok(());
    }
    let at = format!("nics[{:?}].mac", key.as_str());
    let message = format!(
        "{} is another machine's on network {:?}, which keeps {} for it: write another MAC, or leave it out",
        nic.mac, network.host_name, kept.address
    );
    Err(work.at(at, message))
}

async fn reserve(
    work: &mut Work<'_>,
    key: &NicKey,
    mac: MacAddr,
    recorded: Option<IpAddr>,
    network: &ObservedNetwork,
) -> Outcome {
    let mut refused = BTreeSet::new();
    let mut recorded = recorded;
    let mut seen = without_former(work, mac, network).await?;
    let network = &seen.clone();
    for _ in 0..TRIES {
        let address = match recorded.take() {
            Some(IpAddr::V4(address)) if is_of(network, address) => address,
            _ => {
                let leases = leases(work, network).await?;
                pick(work, &seen, &leases, mac, &refused).ok_or_else(|| exhausted(work, key, network))?
            }
        };
        work.write(|mark| {
            if let Some(nic) = mark.nics.get_mut(key) {
                nic.reserved = Some(IpAddr::V4(address));
            }
        })
        .await?;
        let reservation = Reservation {
            mac,
            address: IpAddr::V4(address),
            name: own_name(work, key, network),
        };
        match keep(work, network, &reservation).await {
            Ok(()) => return Ok(()),
            Err(DriverError::Exists { .. }) => {
                // Somebody has it, or the MAC has another since the network was read.
                refused.insert(address);
                let read = work.host.driver.network(&network.id).await;
                seen = read.map_err(work.failed())?;
            }
            Err(error) => return Err(work.failed()(error)),
        }
    }
    Err(exhausted(work, key, network))
}

/// A network that the machine's former card on it, in whose place this one comes, has left: with that it gives back the
/// machine's name, which a network keeps for one MAC only.
async fn without_former(
    work: &Work<'_>,
    mac: MacAddr,
    network: &ObservedNetwork,
) -> Result<ObservedNetwork, EngineError> {
    let mark = work.mark().await;
    let kept = |former: &NicMark| mark.nics.values().any(|nic| nic.mac == former.mac);
    let mut former = mark.give_back.clone();
    former.retain(|one| {
        one.mac != mac && !kept(one) && network.reservations.iter().any(|kept| kept.mac == one.mac)
    });
    if former.is_empty() {
        return Ok(network.clone());
    }
    release(work, &former).await?;
    let read = work.host.driver.network(&network.id).await;
    read.map_err(work.failed())
}

/// Reserves the address that a hook has supplied; another one is no substitute.
async fn reserve_supplied(
    work: &mut Work<'_>,
    key: &NicKey,
    nic: &NicMark,
    supplied: IpAddr,
    network: &ObservedNetwork,
) -> Outcome {
    let refused = |work: &Work<'_>, why: &str| {
        let at = format!("nics[{:?}]", key.as_str());
        work.at(at, format!("a hook supplied {supplied} for it: {why}"))
    };
    let own = network.address.map(|own| own.prefix_len());
    let address = match (supplied, own) {
        (IpAddr::V4(address), Some(prefix)) => ipnet::Ipv4Net::new(address, prefix).ok(),
        _ => None,
    };
    let Some(address) = address else {
        return Err(refused(work, "the network has no such addresses"));
    };
    if let Some(before) = nic.reserved.filter(|before| *before != supplied) {
        give_back(work, network, nic.mac, before).await?;
    }
    work.write(|mark| {
        if let Some(nic) = mark.nics.get_mut(key) {
            nic.reserved = Some(supplied);
        }
    })
    .await?;
    let fixed = FixedAddress {
        address,
        gateway: None,
    };
    match keep_fixed(work, key, nic, fixed, Some(network)).await {
        Err(EngineError::Attribute { message, .. }) => Err(refused(work, &message)),
        other => other,
    }
}

/// The name by which others on the network find the machine, whatever its guest says of itself: hosts take a name
/// for one MAC only, so that it is the first card's there.
fn own_name(work: &Work<'_>, key: &NicKey, network: &ObservedNetwork) -> Option<String> {
    let nics = &work.desired.nics;
    let here = &nics.get(key)?.network;
    let (first, nic) = nics.iter().find(|(_, nic)| nic.network == *here)?;
    let guest = work.desired.seed.as_ref().and_then(|seed| seed.guest.as_ref());
    let name = guest
        .map_or(work.desired.name.as_str(), |guest| &guest.hostname)
        .to_lowercase();
    let taken = network.reservations.iter().any(|other| {
        let theirs = other.name.as_deref().map(str::to_lowercase);
        other.mac != nic.mac && theirs.as_deref() == Some(name.as_str())
    });
    let is_label = !name.contains(['.', '_']) && !name.ends_with('-');
    (first == key && is_label && !taken).then_some(name)
}

/// A machine that stays off needs its address in the definition alone; its start passes here again.
async fn keep(
    work: &Work<'_>,
    network: &ObservedNetwork,
    reservation: &Reservation,
) -> Result<(), DriverError> {
    match keep_as(work, network, reservation).await {
        // The name may have been taken since it was looked for, and the address is worth more than the name.
        Err(DriverError::Exists { .. }) if reservation.name.is_some() => {
            let nameless = Reservation {
                name: None,
                ..reservation.clone()
            };
            keep_as(work, network, &nameless).await
        }
        result => result,
    }
}

async fn keep_as(
    work: &Work<'_>,
    network: &ObservedNetwork,
    reservation: &Reservation,
) -> Result<(), DriverError> {
    let driver = &work.host.driver;
    match (work.desired.power, work.power()) {
        (DesiredPower::Stopped, Power::Stopped) => driver.set_address_aside(&network.id, reservation).await,
        _ => driver.reserve_address(&network.id, reservation).await,
    }
}

fn is_of(network: &ObservedNetwork, address: Ipv4Addr) -> bool {
    network.address.is_some_and(|net| net.contains(&address))
}

/// What is leased, to be left alone; a network that is down has nothing.
async fn leases(work: &Work<'_>, network: &ObservedNetwork) -> Result<Arc<[DhcpLease]>, EngineError> {
    if network.active == Activity::Inactive {
        return Ok(Arc::default());
    }
    let board = &work.host.lease_board;
    let leases = board.of(work.host.driver.as_ref(), &network.id).await;
    leases.map_err(work.failed())
}

fn pick(
    work: &Work<'_>,
    network: &ObservedNetwork,
    leases: &[DhcpLease],
    mac: MacAddr,
    refused: &BTreeSet<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    let v4 = |address: IpAddr| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    };
    let kept = network
        .reservations
        .iter()
        .find(|r| r.mac == mac)
        .and_then(|r| v4(r.address));
    if let Some(kept) = kept.filter(|kept| !refused.contains(kept)) {
        return Some(kept);
    }
    // A guest that runs keeps what it was given: with another reserved it would lose its address when it asks again.
    let runs = work.power() != Power::Stopped;
    let own = leases.iter().filter(|lease| runs && lease.mac == mac);
    let own: Vec<_> = own.filter_map(|lease| v4(lease.address)).collect();
    let reserved = network.reservations.iter().filter_map(|r| v4(r.address));
    let leased = leases
        .iter()
        .filter(|l| l.mac != mac)
        .filter_map(|l| v4(l.address));
    let mut taken: BTreeSet<_> = reserved.chain(leased).chain(refused.iter().copied()).collect();
    work.host.choose_address(&network.id, |chosen| {
        taken.extend(chosen);
        let kept = own
            .into_iter()
            .find(|address| is_of(network, *address) && !taken.contains(address));
        kept.or_else(|| choose(network.dhcp?, &taken))
    })
}

fn exhausted(work: &Work<'_>, key: &NicKey, network: &ObservedNetwork) -> EngineError {
    let range = network
        .dhcp
        .map_or(String::new(), |d| format!(" from {} to {}", d.start, d.end));
    let message = format!(
        "network {:?} has no free address{range}: widen ipv4.dhcp of that network, or remove machines from it",
        network.host_name
    );
    work.at(format!("nics[{:?}].network", key.as_str()), message)
}

/// Gives back what NICs had that are no longer on their network.
async fn release_left(work: &mut Work<'_>) -> Outcome {
    let left = work.mark().await.give_back;
    if left.is_empty() {
        return Ok(());
    }
    release(work, &left).await?;
    work.write(|mark| mark.give_back.clear()).await.map(drop)
}

async fn release(work: &Work<'_>, nics: &[NicMark]) -> Outcome {
    let snapshot = work.host.recent().await?;
    let networks = Networks {
        snapshot: &snapshot,
        namespace: Some(&work.desired.namespace),
    };
    for nic in nics {
        let network = networks.resolve(&nic.network).filter(|n| n.mark.ours().is_some());
        let (Some(network), Some(address)) = (network, nic.reserved) else {
            continue;
        };
        match give_back(work, network, nic.mac, address).await {
            // A network that is gone has given back everything.
            Err(EngineError::Host {
                source: DriverError::Missing { .. },
                ..
            })
            | Ok(()) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether another machine's record names the MAC on this network: under another name the same machine may have come,
/// and what it found reserved is its own to give back.
async fn others_have(work: &Work<'_>, network: &ObservedNetwork, mac: MacAddr) -> Result<bool, EngineError> {
    let own = work.mark().await.token;
    let marks = work.host.driver.marks().await.map_err(work.failed())?;
    let snapshot = work.host.recent().await?;
    let has = |mark: &Mark| {
        let networks = Networks {
            snapshot: &snapshot,
            namespace: Some(&mark.namespace),
        };
        let is_here = |nic: &NicMark| networks.resolve(&nic.network).is_some_and(|n| n.id == network.id);
        mark.token != own && mark.nics.values().any(|nic| nic.mac == mac && is_here(nic))
    };
    Ok(marks.iter().any(|(_, mark)| has(mark)))
}

async fn give_back(work: &Work<'_>, network: &ObservedNetwork, mac: MacAddr, address: IpAddr) -> Outcome {
    if others_have(work, network, mac).await? {
        return Ok(());
    }
    work.host
        .driver
        .release_address(&network.id, mac, address)
        .await
        .map_err(work.failed())?;
    if let IpAddr::V4(address) = address {
        work.host.forget_address(&network.id, address);
    }
    Ok(())
}

/// Gives back every address of the machine.
pub fn undo<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let mark = work.mark().await;
        let nics: Vec<_> = mark.nics.into_values().chain(mark.give_back).collect();
        release(work, &nics).await
    })
}
