//! Cards: made with an address of their own, connected to a switch, given a VLAN, each step after the job of the one before. A VLAN
//! hangs on the connection, and is replaced rather than changed: changed in place it stays what it was.

use std::collections::BTreeSet;

use labyard_driver::DriverError;
use labyard_driver::ids::MacAddr;
use labyard_driver::observed::Attachment;
use labyard_driver::spec::{Isolation, NicModel, NicSpec};
use wsman::Reference;

use super::define::{Changing, Defining, is};
use super::drives::path;
use crate::call::{Service, call, instance};
use crate::classes::{Connection, PortVlan, SyntheticPort, V2};
use crate::ids::{Guid, Resource};
use crate::reading::Inside;
use crate::reading::devices::{Card, write_mac};
use crate::rows::those;

const CARD: &str = "Msvm_SyntheticEthernetPortSettingData";
const OLDER_CARD: &str = "Msvm_EmulatedEthernetPortSettingData";
const CONNECTION: &str = "Msvm_EthernetPortAllocationSettingData";
const VLAN: &str = "Msvm_EthernetSwitchPortVlanSettingData";
/// `EnabledState` of a connection.
const CONNECTED: u16 = 2;
/// `OperationMode` of a VLAN: the card knows nothing of it.
const ACCESS: u32 = 1;

/// The class of a card.
pub(super) fn class_of(kind: Resource) -> &'static str {
    match kind {
        Resource::EmulatedPort => OLDER_CARD,
        _ => CARD,
    }
}

impl Defining<'_> {
    /// Brings the cards to the specification.
    pub(super) async fn cards(&self) -> Result<(), DriverError> {
        let inside = self.at.inside().await?;
        let wanted: BTreeSet<MacAddr> = self.spec.nics.iter().map(|nic| nic.mac).collect();
        for card in &inside.cards {
            let goes = card
                .mac
                .is_some_and(|mac| !wanted.contains(&mac) && self.own_macs().contains(&mac));
            if goes {
                self.at.remove("a card", class_of(card.kind), &card.id).await?;
            }
        }
        for nic in &self.spec.nics {
            self.at.card(nic).await?;
        }
        Ok(())
    }

    /// The addresses that its marks call ours.
    fn own_macs(&self) -> BTreeSet<MacAddr> {
        let marks = [self.before.as_ref(), Some(&self.spec.mark)];
        let nics = marks.into_iter().flatten().flat_map(|mark| {
            let leaving = mark.leaving.nics.values();
            mark.nics.values().chain(leaving).map(|nic| nic.mac)
        });
        nics.collect()
    }
}

impl Changing<'_> {
    /// Brings a card where it is asked for; one that is missing is made.
    pub(super) async fn card(&self, nic: &NicSpec) -> Result<(), DriverError> {
        if nic.model != NicModel::Virtio {
            return Err(DriverError::Unsupported {
                what: format!("a card of model {}", nic.model.word()),
                message: "Hyper-V has its own kind: leave model out".to_owned(),
            });
        }
        if nic.isolation == Isolation::Apart {
            return Err(DriverError::Unsupported {
                what: "a card that is kept apart from others of its network".to_owned(),
                message: "this driver does not do that on Hyper-V yet".to_owned(),
            });
        }
        let inside = self.inside().await?;
        let switch = self.switch(nic, &inside)?;
        let found = inside
            .cards
            .iter()
            .find(|card| card.mac == Some(nic.mac))
            .cloned();
        let card = match found {
            Some(card) => card,
            None => self.make(nic).await?,
        };
        let card = match (&card.connection, card.switch) {
            (_, Some(on)) if on == switch => card,
            (connection, _) => self.connect(&card, connection.as_deref(), switch).await?,
        };
        let vlan = nic.vlan.map(|vlan| vlan.0);
        match card.vlan == vlan {
            true => Ok(()),
            false => self.vlan(&card, vlan).await,
        }
    }

    /// The switch that a card is to be on.
    fn switch(&self, nic: &NicSpec, inside: &Inside) -> Result<Guid, DriverError> {
        let (Attachment::Network(name) | Attachment::Bridge(name) | Attachment::Other(name)) =
            &nic.attachment;
        let refused = |message: String| DriverError::Refused {
            doing: self.doing.clone(),
            message,
        };
        match inside.switches.get(name) {
            Some(Some(guid)) => Ok(*guid),
            Some(None) => Err(refused(format!(
                "the host has several switches called {name}: give one of them another name"
            ))),
            None => Err(refused(format!("the host has no switch called {name}"))),
        }
    }

    async fn make(&self, nic: &NicSpec) -> Result<Card, DriverError> {
        let card = SyntheticPort {
            resource_type: Some(Resource::SyntheticPort.number()),
            subtype: Some(Resource::SyntheticPort.subtype().to_owned()),
            element_name: Some(nic.key.to_string()),
            mac: Some(write_mac(nic.mac)),
            fixed: Some(true),
            ..SyntheticPort::default()
        };
        self.add(&format!("card {}", nic.key), instance(&self.doing, &card)?)
            .await?;
        self.seen(nic.mac).await
    }

    async fn seen(&self, mac: MacAddr) -> Result<Card, DriverError> {
        let cards = self.inside().await?.cards;
        let card = cards.into_iter().find(|card| card.mac == Some(mac));
        card.ok_or_else(|| DriverError::ReplyLost {
            doing: self.doing.clone(),
            message: format!("the host does not show the card {mac}"),
        })
    }

    async fn connect(
        &self,
        card: &Card,
        connection: Option<&str>,
        switch: Guid,
    ) -> Result<Card, DriverError> {
        let to = switch.switch().path().map(|path| vec![path]);
        let what = format!("connecting card {}", card.id);
        match connection {
            Some(id) => {
                let moved = Connection {
                    id: Some(id.to_owned()),
                    to,
                    enabled: Some(CONNECTED),
                    ..Connection::default()
                };
                let text = instance(&self.doing, &moved)?;
                self.change(&what, "ModifyResourceSettings", &[text]).await?;
            }
            None => {
                let made = Connection {
                    resource_type: Some(Resource::Connection.number()),
                    subtype: Some(Resource::Connection.subtype().to_owned()),
                    parent: path(CARD, &card.id),
                    to,
                    enabled: Some(CONNECTED),
                    ..Connection::default()
                };
                self.add(&what, instance(&self.doing, &made)?).await?;
            }
        }
        let cards = self.inside().await?.cards;
        let seen = cards.into_iter().find(|there| is(&there.id, &card.id));
        let seen = seen.filter(|seen| seen.switch == Some(switch));
        seen.ok_or_else(|| DriverError::ReplyLost {
            doing: format!("{}: {what}", self.doing),
            message: "the host says that it is done, and does not show it".to_owned(),
        })
    }

    async fn vlan(&self, card: &Card, vlan: Option<u16>) -> Result<(), DriverError> {
        let Some(connection) = &card.connection else {
            return Err(DriverError::Refused {
                doing: self.doing.clone(),
                message: format!("card {} is connected to nothing, and so has no VLAN", card.id),
            });
        };
        let client = &self.host.client;
        let below = format!("{connection}\\");
        let there = those::<PortVlan>(client, |select| select.starting("InstanceID", &below)).await?;
        for id in there.iter().filter_map(|row| row.id.as_deref()) {
            let doing = format!("{}: taking off a VLAN", self.doing);
            let method = Service::Machines.method("RemoveFeatureSettings");
            let method = method.reference("FeatureSettings", Reference::new(V2, VLAN, &[("InstanceID", id)]));
            call(client, &doing, &method).await?;
        }
        let Some(vlan) = vlan else { return Ok(()) };
        let doing = format!("{}: VLAN {vlan}", self.doing);
        let feature = PortVlan {
            mode: Some(ACCESS),
            access: Some(vlan),
            ..PortVlan::default()
        };
        let method = Service::Machines.method("AddFeatureSettings");
        let method = method
            .reference(
                "AffectedConfiguration",
                Reference::new(V2, CONNECTION, &[("InstanceID", connection)]),
            )
            .text("FeatureSettings", instance(&doing, &feature)?);
        call(client, &doing, &method).await?;
        let seen = those::<PortVlan>(client, |select| select.starting("InstanceID", &below)).await?;
        match seen.iter().any(|row| row.access == Some(vlan)) {
            true => Ok(()),
            false => Err(DriverError::ReplyLost {
                doing,
                message: "the host says that it is done, and does not show it".to_owned(),
            }),
        }
    }
}
