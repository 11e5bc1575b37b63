//! A network as it is, in the user's terms, and who is on it.

use labyard_driver::ids::{HostName, HostUuid, ObjectId, ObjectName};
use labyard_driver::lan::Lan;
use labyard_driver::observed::{
    Activity, Attachment, Autostart, Detail, NetworkStanding, ObservedMachine, ObservedNetwork, Power,
    Snapshot,
};
use labyard_driver::spec::{Dhcp, NetworkBoot, NetworkMode};
use serde::{Deserialize, Serialize};

use super::{Owner, owner, shown_as};
use crate::desired::Wishes;
use crate::error::EngineError;
use crate::identity::Identity;

/// A network as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkView {
    /// Its name: the user's, or the host's for a foreign one.
    pub name: ObjectName,
    /// The host's id of it.
    pub id: ObjectId,
    /// Whose it is.
    pub owner: Owner,
    /// Whether it is up.
    pub active: Activity,
    /// Whether it runs as it is defined, with its guests on it.
    pub standing: NetworkStanding,
    /// Whether it starts with the host.
    pub autostart: Autostart,
    /// What it does; `None` for a kind that labyard does not make.
    pub mode: Option<NetworkMode>,
    /// Its bridge.
    pub bridge: Option<String>,
    /// The host's own address on it.
    pub address: Option<ipnet::Ipv4Net>,
    /// Its DHCP range.
    pub dhcp: Option<Dhcp>,
    /// Its DNS domain.
    pub domain: Option<String>,
    /// What else it offers.
    pub lan: Lan,
    /// What guests that boot from it load.
    pub boot: Option<NetworkBoot>,
    /// What the user wrote and the host cannot show.
    pub wishes: Wishes,
    /// The claim whose machines have it to themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
}

impl NetworkView {
    /// A network of a host in the user's terms.
    pub fn new(network: &ObservedNetwork, host: Option<&HostUuid>) -> Self {
        let mark = network.mark.ours();
        Self {
            name: shown_as(mark, &network.host_name),
            id: network.id.clone(),
            owner: owner(mark, &network.id, host),
            active: network.active,
            standing: network.standing,
            autostart: network.autostart,
            mode: network.mode,
            bridge: network.bridge.clone(),
            address: network.address,
            dhcp: network.dhcp,
            domain: network.domain.clone(),
            lan: network.lan.clone(),
            boot: network.boot.clone(),
            wishes: mark.map(Wishes::from_mark).unwrap_or(Wishes {
                allow_restart: true,
                ..Wishes::default()
            }),
            claim: mark
                .and_then(|mark| mark.claim.as_ref())
                .map(|claim| claim.id.clone()),
        }
    }

    /// Its identity, if it is ours.
    pub fn identity(&self) -> Option<&Identity> {
        match &self.owner {
            Owner::Ours { identity, .. } => Some(identity),
            Owner::Foreign => None,
        }
    }
}

/// The machines attached to a network, by the host's names.
///
/// # Errors
/// Where one that is not off does not tell at present where it is attached: it may be on it.
pub fn attached<'a>(
    host: &HostName,
    snapshot: &'a Snapshot,
    network: &str,
) -> Result<Vec<&'a ObservedMachine>, EngineError> {
    let wanted = Attachment::Network(network.to_owned());
    let mut attached = Vec::new();
    for machine in &snapshot.machines {
        match &machine.detail {
            Detail::Known(detail) if detail.nics.iter().any(|nic| nic.attachment == wanted) => {
                attached.push(machine);
            }
            Detail::Unknown(why) if machine.power != Power::Stopped => {
                return Err(EngineError::Unknown {
                    host: host.clone(),
                    what: format!("machine {:?}", machine.host_name),
                    why: format!("{why}; it may be on network {network:?}"),
                });
            }
            Detail::Known(_) | Detail::Unknown(_) => {}
        }
    }
    Ok(attached)
}
