//! Addresses: on networks of ours with DHCP every NIC gets an address, recorded before it is reserved.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use futures::future::BoxFuture;
use labyard_driver::DriverError;
use labyard_driver::ids::{MacAddr, NicKey};
use labyard_driver::observed::{ObservedNetwork, Reservation};

use super::{Outcome, Work};
use crate::addresses::choose;
use crate::error::EngineError;
use crate::view::Networks;

/// How often another address is tried when one was taken between choice and reservation.
const TRIES: usize = 16;

pub(super) fn ensure<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let nics: Vec<_> = work.mark().await.nics.into_iter().collect();
        for (key, nic) in nics {
            let Some(network) = network_of(work, &key, &nic.network).await? else {
                continue;
            };
            reserve(work, &key, nic.mac, nic.reserved, &network).await?;
        }
        release_left(work).await
    })
}

/// The network of a NIC, if it is one of ours that hands out addresses.
async fn network_of(
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
        (Some(network), _) => Ok(Some(network).filter(|n| n.mark.ours().is_some() && n.dhcp.is_some())),
        (None, Some(nic)) => Err(work.no_network(key, nic)),
        (None, None) => Ok(None),
    }
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
    for _ in 0..TRIES {
        let address = match recorded.take() {
            Some(IpAddr::V4(address)) if fits(network, address) => address,
            _ => pick(work, network, mac, &refused).ok_or_else(|| exhausted(work, key, network))?,
        };
        work.write(|mark| {
            if let Some(nic) = mark.nics.get_mut(key) {
                nic.reserved = Some(IpAddr::V4(address));
            }
        })
        .await?;
        let name = Some(work.desired.name.to_string());
        let reservation = Reservation {
            mac,
            address: IpAddr::V4(address),
            name,
        };
        match work.host.driver.reserve_address(&network.id, &reservation).await {
            Ok(()) => return Ok(()),
            Err(DriverError::Exists { .. }) => drop(refused.insert(address)),
            Err(error) => return Err(work.failed()(error)),
        }
    }
    Err(exhausted(work, key, network))
}

fn fits(network: &ObservedNetwork, address: Ipv4Addr) -> bool {
    network.address.is_some_and(|net| net.contains(&address))
}

fn pick(
    work: &Work<'_>,
    network: &ObservedNetwork,
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
    let reserved = network.reservations.iter().filter_map(|r| v4(r.address));
    let leased = network
        .leases
        .iter()
        .filter(|l| l.mac != mac)
        .filter_map(|l| v4(l.address));
    let mut taken: BTreeSet<_> = reserved.chain(leased).chain(refused.iter().copied()).collect();
    work.host.choose_address(&network.id, |chosen| {
        taken.extend(chosen);
        choose(network.dhcp?, &taken)
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

/// Gives back what NICs that are no longer on a network had there.
async fn release_left(work: &mut Work<'_>) -> Outcome {
    let Some(detail) = work.detail() else {
        return Ok(());
    };
    let macs: BTreeSet<_> = detail.nics.iter().map(|nic| nic.mac).collect();
    let snapshot = work.host.recent().await?;
    let networks = Networks {
        snapshot: &snapshot,
        namespace: Some(&work.desired.namespace),
    };
    let mark = work.mark().await;
    for network in snapshot.networks.iter().filter(|n| n.mark.ours().is_some()) {
        for reservation in network.reservations.iter().filter(|r| macs.contains(&r.mac)) {
            let wanted = mark.nics.values().any(|nic| {
                nic.mac == reservation.mac
                    && networks.resolve(&nic.network).is_some_and(|n| n.id == network.id)
            });
            if !wanted {
                give_back(work, network, reservation).await?;
            }
        }
    }
    Ok(())
}

async fn give_back(work: &Work<'_>, network: &ObservedNetwork, reservation: &Reservation) -> Outcome {
    work.host
        .driver
        .release_address(&network.id, reservation.mac)
        .await
        .map_err(work.failed())?;
    if let IpAddr::V4(address) = reservation.address {
        work.host.forget_address(&network.id, address);
    }
    Ok(())
}

pub(super) fn undo<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let mark = work.mark().await;
        let snapshot = work.host.recent().await?;
        let networks = Networks {
            snapshot: &snapshot,
            namespace: Some(&mark.namespace),
        };
        for nic in mark.nics.values().filter(|nic| nic.reserved.is_some()) {
            let Some(network) = networks.resolve(&nic.network).filter(|n| n.mark.ours().is_some()) else {
                continue;
            };
            let address = nic.reserved.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let reservation = Reservation {
                mac: nic.mac,
                address,
                name: None,
            };
            match give_back(work, network, &reservation).await {
                Err(EngineError::Host {
                    source: DriverError::Missing { .. },
                    ..
                })
                | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    })
}
