//! Changes of one thing: what a drive holds, how large a disk is, what is plugged in.

use labyard_driver::DriverError;
use labyard_driver::ids::{Bytes, MacAddr, ObjectId};
use labyard_driver::spec::{LiveChange, MachineSpec, NicSpec};

use super::cards::class_of;
use crate::disks;
use crate::host::Host;
use crate::reading::devices::Plugged;
use crate::slots::{Device, Place};

impl Host {
    /// Brings a machine's CD drives and what is in them to the specification, running or not.
    ///
    /// # Errors
    /// What the host says: a guest may hold a drive shut.
    pub async fn change_medium(&self, spec: &MachineSpec) -> Result<(), DriverError> {
        let defining = self.defining(spec, "changing what is in the drives of").await?;
        defining.drives(|device, _| device == Device::Drive).await
    }

    /// Grows a disk, running or not. Never shrinks; as large already is success.
    ///
    /// # Errors
    /// What the host says: it refuses it while there are checkpoints, and on IDE while the machine runs.
    pub async fn grow_disk(&self, id: &ObjectId, target: &str, capacity: Bytes) -> Result<(), DriverError> {
        let drive = self.plugged(id, target).await?;
        match drive.and_then(|drive| drive.medium) {
            Some((_, file)) => disks::grow(&self.client, &file, capacity).await,
            None => Err(DriverError::Refused {
                doing: format!("growing disk {target} of machine {id}"),
                message: "it has no such disk".to_owned(),
            }),
        }
    }

    /// The disk of that name.
    async fn plugged(&self, id: &ObjectId, target: &str) -> Result<Option<Plugged>, DriverError> {
        let inside = self.inside(id).await?;
        let place = Place::named(inside.generation, target);
        let found = inside
            .drives
            .into_iter()
            .find(|drive| place == Some((drive.device, drive.place)));
        Ok(found)
    }

    /// Attaches a card of a machine where this says.
    ///
    /// # Errors
    /// [`DriverError::Refused`] where the machine has no such card, or there is nothing to attach it to.
    pub async fn attach_nic(&self, id: &ObjectId, nic: &NicSpec) -> Result<(), DriverError> {
        let at = self.changing(id, format!("attaching card {} of machine {id}", nic.key))?;
        let cards = at.inside().await?.cards;
        if !cards.iter().any(|card| card.mac == Some(nic.mac)) {
            return Err(at.refused(format!("it has no card with the address {}", nic.mac)));
        }
        at.card(nic).await
    }

    /// Changes a running machine; one that is off loses what is unplugged and is otherwise left alone.
    ///
    /// # Errors
    /// [`DriverError::Refused`] where that cannot be done without a restart.
    pub async fn change_live(&self, spec: &MachineSpec, change: &LiveChange) -> Result<(), DriverError> {
        let defining = self.defining(spec, "changing").await?;
        let runs = self.runs(&spec.id).await?;
        let missing = || defining.at.refused("the specification has no such device");
        match change {
            LiveChange::UnplugDisk(target) => self.unplug_disk(spec, target).await,
            LiveChange::UnplugNic(mac) => self.unplug_card(spec, *mac).await,
            _ if !runs => Ok(()),
            LiveChange::PlugDisk(key) => {
                let disk = spec
                    .disks
                    .iter()
                    .find(|disk| disk.key == *key)
                    .ok_or_else(missing)?;
                let generation = defining.at.inside().await?.generation;
                let wanted = Place::named(generation, &disk.target);
                defining
                    .drives(|device, place| wanted == Some((device, place)))
                    .await
            }
            LiveChange::PlugNic(key) | LiveChange::MoveNic(key) => {
                let nic = spec.nics.iter().find(|nic| nic.key == *key).ok_or_else(missing)?;
                defining.at.card(nic).await
            }
            LiveChange::Cpus => Err(defining
                .at
                .refused("Hyper-V gives a machine processors only while it is off")),
            LiveChange::Memory => defining.memory().await,
        }
    }

    async fn unplug_disk(&self, spec: &MachineSpec, target: &str) -> Result<(), DriverError> {
        let at = self.changing(
            &spec.id,
            format!("taking disk {target} off machine {}", spec.host_name),
        )?;
        let Some(drive) = self.plugged(&spec.id, target).await? else {
            return Ok(());
        };
        if let Some((medium, _)) = &drive.medium {
            at.remove_medium(medium).await?;
        }
        at.remove_drive(&drive.id).await
    }

    async fn unplug_card(&self, spec: &MachineSpec, mac: MacAddr) -> Result<(), DriverError> {
        let at = self.changing(
            &spec.id,
            format!("taking card {mac} off machine {}", spec.host_name),
        )?;
        let cards = at.inside().await?.cards;
        match cards.iter().find(|card| card.mac == Some(mac)) {
            Some(card) => at.remove("a card", class_of(card.kind), &card.id).await,
            None => Ok(()),
        }
    }
}
