//! Networks that claims have to themselves: made, found and taken away by the claim in their marks; and cards of machines
//! that are lent to one, and go home from it. Where a card belongs stands in its machine's mark before it is moved, so
//! that whoever goes on after a kill puts it back.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::ids::{HostName, MacAddr, Namespace, NicKey, ObjectId, ObjectName};
use labyard_driver::lan::Lan;
use labyard_driver::mark::{ClaimMark, Kind, LentMark, Mark, Ownership, Stage};
use labyard_driver::observed::{Attachment, Autostart, Cable, Detail, ObservedNetwork, ObservedNic, Power};
use labyard_driver::spec::{Dhcp, Isolation, NetworkMode, NetworkSpec, NicModel, NicSpec};
use tokio::time::sleep;

use super::embedded::describe;
use super::grip::Grip;
use super::screens;
use super::{Bounds, Embedded, ObjectRef};
use crate::error::EngineError;
use crate::foreign::with_foreign;
use crate::host::Host;
use crate::identity;

/// How often is looked whether a guest has asked for an address.
const LOOK: Duration = Duration::from_millis(250);

/// A network that a claim is to have to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNetwork {
    /// The claim's namespace.
    pub namespace: Namespace,
    /// Its identity.
    pub claim: String,
    /// The addresses on it: the host has the first, machines the others.
    pub subnet: ipnet::Ipv4Net,
}

/// Such a network as it stands on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingNetwork {
    /// The host's id of it.
    pub id: ObjectId,
    /// The host's name of it.
    pub host_name: String,
    /// The claim in its mark.
    pub claim: String,
}

/// What became of a network that was to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Gone,
    /// These machines are on it: it stays.
    Used(Vec<String>),
}

impl ClaimNetwork {
    fn name(&self) -> ObjectName {
        ObjectName(format!("claim-{}", self.claim))
    }

    /// Where its machines are isolated from all else; the host is there for DHCP.
    fn spec(&self, id: ObjectId, mark: Mark) -> NetworkSpec {
        let (first, last) = (
            u32::from(self.subnet.network()),
            u32::from(self.subnet.broadcast()),
        );
        let host = Ipv4Addr::from(first + 1);
        NetworkSpec {
            id,
            host_name: identity::host_name(&self.namespace, &self.name()),
            mark,
            mode: NetworkMode::Isolated,
            bridge: None,
            address: ipnet::Ipv4Net::new(host, self.subnet.prefix_len()).ok(),
            dhcp: Some(Dhcp {
                start: Ipv4Addr::from(first + 2),
                end: Ipv4Addr::from(last - 1),
            }),
            domain: None,
            lan: Lan::default(),
            boot: None,
            autostart: Autostart::On,
        }
    }
}

impl Embedded {
    pub(super) async fn claim_network_made(
        &self,
        host: &HostName,
        wanted: &ClaimNetwork,
        bounds: &Bounds,
    ) -> Result<StandingNetwork, EngineError> {
        let host = self.host(host)?;
        let what = describe(Kind::Network, wanted.name().as_str());
        host.observer.invalidate_networks();
        let snapshot = host.fresh().await?;
        let is_it = |network: &&ObservedNetwork| claim_of(network) == Some(wanted.claim.as_str());
        may_mutate(host, &what, bounds).await?;
        let made = match snapshot.networks.iter().find(is_it) {
            Some(there) => {
                let mark = there
                    .mark
                    .ours()
                    .cloned()
                    .unwrap_or_else(|| self.claim_mark(wanted));
                host.driver
                    .change_network(&wanted.spec(there.id.clone(), mark))
                    .await
            }
            None => {
                let id = identity::new_object_id(self.deps.random.as_ref());
                host.driver
                    .create_network(&wanted.spec(id, self.claim_mark(wanted)))
                    .await
            }
        };
        host.observer.invalidate_networks();
        let made = made.map_err(host.failed(what.clone()))?;
        standing(&made).ok_or_else(|| EngineError::Unknown {
            host: host.name.clone(),
            what,
            why: "it was made with a mark and shows none".to_owned(),
        })
    }

    /// Nobody's state knows it: it is the claim's, which the store has, and no run adopts it.
    fn claim_mark(&self, wanted: &ClaimNetwork) -> Mark {
        let token = identity::new_token(self.deps.random.as_ref());
        Mark {
            ownership: Ownership::Confirmed,
            stage: Stage::Finished,
            claim: Some(ClaimMark {
                id: wanted.claim.clone(),
            }),
            ..Mark::building(Kind::Network, wanted.namespace.clone(), wanted.name(), token)
        }
    }

    pub(super) async fn claim_network_removed(
        &self,
        host: &HostName,
        claim: &str,
        bounds: &Bounds,
    ) -> Result<Removal, EngineError> {
        let host = self.host(host)?;
        let what = format!("the network of claim {claim}");
        host.observer.invalidate_networks();
        let snapshot = with_foreign(host).await?;
        let is_it = |network: &&ObservedNetwork| claim_of(network) == Some(claim);
        for network in snapshot.networks.iter().filter(is_it) {
            let on_it = Attachment::Network(network.host_name.clone());
            let mut users = Vec::new();
            for machine in &snapshot.machines {
                match &machine.detail {
                    Detail::Known(detail) => {
                        let uses = |nic: &ObservedNic| {
                            nic.attachment == on_it || nic.live_attachment.as_ref() == Some(&on_it)
                        };
                        users.extend(detail.nics.iter().any(uses).then(|| machine.host_name.clone()));
                    }
                    // Nobody is cut off because a look was cut short.
                    Detail::Unknown(_) if machine.power != Power::Stopped => {
                        users.push(machine.host_name.clone());
                    }
                    Detail::Unknown(_) => {}
                }
            }
            if !users.is_empty() {
                return Ok(Removal::Used(users));
            }
            may_mutate(host, &what, bounds).await?;
            let removed = host.driver.remove_network(&network.id).await;
            host.observer.invalidate_networks();
            removed.map_err(host.failed(what.clone()))?;
        }
        Ok(Removal::Gone)
    }

    /// Puts a card on the network of a claim and waits until its guest has an address there.
    pub(super) async fn nic_lent(
        &self,
        object: &ObjectRef,
        (key, network): (&NicKey, &StandingNetwork),
        bounds: &Bounds,
    ) -> Result<Vec<IpAddr>, EngineError> {
        let mut grip = self.grip(object, bounds).await?;
        let mark = grip.record.mark().await;
        let Some(mac) = mark.nics.get(key).map(|nic| nic.mac) else {
            return Err(grip.guest(format!("it has no network card {:?}", key.as_str())));
        };
        let lent = match &mark.lent {
            // Of a move that was cut short: the card may be anywhere on its way.
            Some(lent) if lent.nic == *key => LentMark {
                network: network.host_name.clone(),
                ..lent.clone()
            },
            Some(other) => {
                return Err(grip.guest(format!("its card {:?} is lent already", other.nic.as_str())));
            }
            None => {
                // Of now: where it was a while ago may have been another claim's network.
                grip.look().await?;
                let there = card(&grip, mac)?;
                LentMark {
                    nic: key.clone(),
                    network: network.host_name.clone(),
                    home: there.attachment.clone(),
                    isolation: there.isolation,
                }
            }
        };
        if mark.lent.as_ref() != Some(&lent) {
            grip.write(|mark| mark.lent = Some(lent)).await?;
        }
        let to = Attachment::Network(network.host_name.clone());
        // What keeps machines of a pool apart would keep those of a claim apart, too.
        attach(&mut grip, (key, mac), to, Isolation::Open).await?;
        address_of(&mut grip, mac, network, bounds).await
    }

    /// Puts a card that was lent to a claim's network back where it belongs; none that was is success.
    pub(super) async fn nic_home(&self, grip: &mut Grip<'_>) -> Result<(), EngineError> {
        let mark = grip.record.mark().await;
        let Some(lent) = mark.lent else { return Ok(()) };
        if let Some(nic) = mark.nics.get(&lent.nic) {
            attach(grip, (&lent.nic, nic.mac), lent.home, lent.isolation).await?;
        }
        grip.write(|mark| mark.lent = None).await?;
        // Its screen stands before this card, too, again.
        screens::stand(grip).await
    }
}

fn claim_of(network: &ObservedNetwork) -> Option<&str> {
    Some(network.mark.ours()?.claim.as_ref()?.id.as_str())
}

/// The network of a claim as which one is marked.
pub(super) fn standing(network: &ObservedNetwork) -> Option<StandingNetwork> {
    Some(StandingNetwork {
        id: network.id.clone(),
        host_name: network.host_name.clone(),
        claim: claim_of(network)?.to_owned(),
    })
}

async fn may_mutate(host: &Host, what: &str, bounds: &Bounds) -> Result<(), EngineError> {
    match &bounds.fence {
        Some(fence) if !fence.holds().await => Err(EngineError::LeaseLost {
            host: host.name.clone(),
            what: what.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// A card as its machine was last seen with it.
fn card<'a>(grip: &'a Grip<'_>, mac: MacAddr) -> Result<&'a ObservedNic, EngineError> {
    let why = match &grip.found.detail {
        Detail::Known(detail) => match detail.nics.iter().find(|nic| nic.mac == mac) {
            Some(nic) => return Ok(nic),
            None => format!("its network card {mac} is gone"),
        },
        Detail::Unknown(why) => why.clone(),
    };
    Err(EngineError::Unknown {
        host: grip.host.name.clone(),
        what: grip.what.clone(),
        why,
    })
}

/// Moves a card, unless it is there, and looks whether it is.
async fn attach(
    grip: &mut Grip<'_>,
    (key, mac): (&NicKey, MacAddr),
    to: Attachment,
    isolation: Isolation,
) -> Result<(), EngineError> {
    let is_there = |nic: &ObservedNic| {
        let live = nic.live_attachment.as_ref().is_none_or(|live| *live == to);
        nic.attachment == to && live && nic.cable == Cable::AsDefined && nic.isolation == isolation
    };
    let there = card(grip, mac)?;
    if is_there(there) {
        return Ok(());
    }
    let wanted = NicSpec {
        key: key.clone(),
        mac,
        attachment: to.clone(),
        vlan: there.vlan,
        model: there.model.unwrap_or(NicModel::Virtio),
        isolation,
    };
    grip.may_mutate().await?;
    let moved = grip.host.driver.attach_nic(&grip.found.id, &wanted).await;
    grip.host.observer.invalidate();
    moved.map_err(grip.failed())?;
    grip.look().await?;
    match is_there(card(grip, mac)?) {
        true => Ok(()),
        false => Err(EngineError::Unknown {
            host: grip.host.name.clone(),
            what: grip.what.clone(),
            why: format!(
                "its network card {:?} was moved and is seen elsewhere",
                key.as_str()
            ),
        }),
    }
}

/// Waits until a guest has an address on a network.
async fn address_of(
    grip: &mut Grip<'_>,
    mac: MacAddr,
    network: &StandingNetwork,
    bounds: &Bounds,
) -> Result<Vec<IpAddr>, EngineError> {
    // What hangs is said by whoever knows it, before the whole operation is late.
    let limit = bounds.limit.mul_f32(0.9);
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        let leases = match grip.host.driver.leases(&network.id).await {
            Err(DriverError::Missing { .. }) => Vec::new(),
            leases => leases.map_err(grip.failed())?,
        };
        let addresses: Vec<IpAddr> = leases
            .iter()
            .filter(|lease| lease.mac == mac)
            .map(|lease| lease.address)
            .collect();
        if !addresses.is_empty() {
            return Ok(addresses);
        }
        grip.may_mutate().await?;
        if tokio::time::Instant::now() >= deadline || bounds.cancel.is_cancelled() {
            return Err(grip.guest(format!(
                "its card was put on network {} and its guest did not ask for an address there within {} s: it has to \
                 ask anew when the cable of a card comes back",
                network.host_name,
                limit.as_secs()
            )));
        }
        sleep(LOOK).await;
    }
}
