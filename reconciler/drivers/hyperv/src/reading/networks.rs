//! A host's switches, as all networks are told.

use std::collections::HashMap;

use labyard_driver::lan::Lan;
use labyard_driver::observed::{Activity, Autostart, MarkState, NetworkStanding, ObservedNetwork};
use labyard_driver::spec::NetworkMode;

use super::devices::by_owner;
use crate::classes::{Connection, SwitchSettings};
use crate::ids::{Guid, Owner, Target};
use crate::notes;
use crate::rows::Rows;

/// What a switch is connected to besides its machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Private,
    /// The host.
    Internal,
    /// A card of the host.
    External,
}

impl Kind {
    /// By a switch's own connections.
    pub fn of(connections: &[&Connection]) -> Self {
        let targets: Vec<_> = connections
            .iter()
            .filter_map(|connection| Target::of(connection.to.as_ref()?.first()?))
            .collect();
        let is_to = |classes: &[&str]| {
            targets
                .iter()
                .any(|target| classes.iter().any(|class| target.is_of(class)))
        };
        if is_to(&["Msvm_ExternalEthernetPort", "Msvm_WiFiPort"]) {
            Self::External
        } else if is_to(&["Msvm_ComputerSystem"]) {
            Self::Internal
        } else {
            Self::Private
        }
    }
}

/// The switches of a host. What Windows itself has on them (addresses, NAT) is read elsewhere.
pub fn networks(rows: &Rows) -> Vec<ObservedNetwork> {
    let settings: HashMap<Guid, &SwitchSettings> = rows
        .switch_settings
        .iter()
        .filter_map(|settings| match Owner::of(settings.id.as_deref()?)? {
            Owner::One(guid) => Some((guid, settings)),
            Owner::Definition => None,
        })
        .collect();
    let connections = by_owner(&rows.connections, |row| row.id.as_ref());
    let switches = rows.switches.iter().filter_map(|switch| {
        let guid: Guid = switch.name.as_deref()?.parse().ok()?;
        let settings = settings.get(&guid)?;
        let text = settings.notes.as_deref().and_then(<[String]>::first);
        let kind = Kind::of(connections.get(&guid).map_or(&[], Vec::as_slice));
        Some(ObservedNetwork {
            id: guid.into(),
            host_name: switch.element_name.clone().unwrap_or_default(),
            mark: text.map_or(MarkState::None, |text| notes::read(text).mark),
            active: Activity::Active,
            standing: NetworkStanding::AsDefined,
            // A switch is there whenever its host is.
            autostart: Autostart::On,
            mode: Some(match kind {
                Kind::Private | Kind::Internal => NetworkMode::Isolated,
                Kind::External => NetworkMode::Bridge,
            }),
            bridge: None,
            address: None,
            dhcp: None,
            domain: None,
            lan: Lan::default(),
            boot: None,
            reservations: Vec::new(),
            leases: Vec::new(),
        })
    });
    switches.collect()
}
