//! Defining: a machine brought to its specification, part by part, each compared first and read back last. What is not labyard's in
//! it stays as found.

use labyard_driver::DriverError;
use labyard_driver::ids::ObjectId;
use labyard_driver::mark::Mark;
use labyard_driver::observed::ObservedMachine;
use labyard_driver::spec::{BootDevice, Choice, MachineSpec, Nested, SecureBoot, Tpm};

use super::{guid, modify};
use crate::call::{Service, call, instance};
use crate::classes::{Memory, Processor, Settings, V2};
use crate::host::Host;
use crate::ids::{Generation, Guid, SecureBootTemplate, same_id};
use crate::notes;
use crate::reading::Inside;
use crate::rows::{Rows, Scope};
use crate::slots::{Device, Place};

/// A machine under change.
pub(super) struct Changing<'a> {
    pub host: &'a Host,
    pub guid: Guid,
    /// What is done, for errors.
    pub doing: String,
}

/// A machine that is being brought to its specification.
pub(super) struct Defining<'a> {
    pub at: Changing<'a>,
    pub spec: &'a MachineSpec,
    /// Its mark as it was found.
    pub before: Option<Mark>,
}

impl Host {
    /// Brings a machine to its specification, its mark included.
    ///
    /// # Errors
    /// [`DriverError::Busy`] where something of it cannot be changed while the machine runs; else what the host says.
    pub async fn define_machine(&self, spec: &MachineSpec) -> Result<ObservedMachine, DriverError> {
        let defining = self.defining(spec, "defining").await?;
        // The record comes before what it records.
        if defining.before.as_ref() != Some(&spec.mark) {
            self.write_mark(&spec.id, &spec.mark).await?;
        }
        defining.quantities().await?;
        defining.drives(|_, _| true).await?;
        defining.cards().await?;
        defining.firmware().await?;
        self.machine(&spec.id).await
    }

    pub(super) async fn defining<'a>(
        &'a self,
        spec: &'a MachineSpec,
        verb: &str,
    ) -> Result<Defining<'a>, DriverError> {
        let at = self.changing(&spec.id, format!("{verb} machine {}", spec.host_name))?;
        let text = self.notes(at.guid).await?;
        let before = notes::read(&text).mark.ours().cloned();
        Ok(Defining { at, spec, before })
    }

    pub(super) fn changing(&self, id: &ObjectId, doing: String) -> Result<Changing<'_>, DriverError> {
        let guid = guid(id)?;
        Ok(Changing {
            host: self,
            guid,
            doing,
        })
    }

    /// The parts of a machine with their ids, read now.
    pub(crate) async fn inside(&self, id: &ObjectId) -> Result<Inside, DriverError> {
        let rows = Rows::read(&self.client, Scope::Machine(guid(id)?)).await?;
        if rows.machines.is_empty() {
            return Err(DriverError::Missing {
                what: format!("machine {id}"),
            });
        }
        Inside::of(&rows).ok_or_else(|| DriverError::Busy {
            doing: format!("reading machine {id}"),
            message: "the host does not show all of its parts now".to_owned(),
        })
    }
}

impl Changing<'_> {
    /// The machine, read now.
    pub(super) async fn inside(&self) -> Result<Inside, DriverError> {
        self.host.inside(&self.guid.into()).await
    }

    /// Calls a method that changes settings of devices.
    pub(super) async fn change(&self, what: &str, name: &str, texts: &[String]) -> Result<(), DriverError> {
        let doing = format!("{}: {what}", self.doing);
        let mut method = Service::Machines.method(name);
        for text in texts {
            method = method.text("ResourceSettings", text.clone());
        }
        call(&self.host.client, &doing, &method).await.map(drop)
    }

    pub(super) fn refused(&self, message: impl Into<String>) -> DriverError {
        DriverError::Refused {
            doing: self.doing.clone(),
            message: message.into(),
        }
    }
}

impl Defining<'_> {
    /// Processors and memory.
    async fn quantities(&self) -> Result<(), DriverError> {
        let inside = self.at.inside().await?;
        if let Some(processor) = processors(self.spec, &inside.processor) {
            let text = instance(&self.at.doing, &processor)?;
            self.at
                .change("processors", "ModifyResourceSettings", &[text])
                .await?;
        }
        self.memory().await
    }

    /// Memory alone.
    pub(super) async fn memory(&self) -> Result<(), DriverError> {
        let inside = self.at.inside().await?;
        let Some(memory) = memory(self.spec, &inside.memory) else {
            return Ok(());
        };
        let text = instance(&self.at.doing, &memory)?;
        self.at.change("memory", "ModifyResourceSettings", &[text]).await
    }

    /// Secure boot, serial number, what it starts from.
    async fn firmware(&self) -> Result<(), DriverError> {
        let inside = self.at.inside().await?;
        if self.spec.guards.tpm == Tpm::Emulated {
            return Err(DriverError::Unsupported {
                what: "a TPM".to_owned(),
                message: "this driver does not make one on Hyper-V yet".to_owned(),
            });
        }
        let Some(settings) = firmware(self.spec, &inside).map_err(|why| self.at.refused(why))? else {
            return Ok(());
        };
        modify(&self.at.host.client, &self.at.doing, &settings).await
    }
}

/// What of its processors has to change.
fn processors(spec: &MachineSpec, there: &Processor) -> Option<Processor> {
    let nested = match &spec.cpu.nested {
        Choice::AsFound => None,
        Choice::Default => Some(false),
        Choice::Is(nested) => Some(*nested == Nested::On),
    };
    let wanted = Processor {
        id: there.id.clone(),
        count: Some(u64::from(spec.cpus)).filter(|count| there.count != Some(*count)),
        nested: nested.filter(|nested| there.nested != Some(*nested)),
    };
    (wanted.count.is_some() || wanted.nested.is_some()).then_some(wanted)
}

/// What of its memory has to change: all of it in one instance, since each change by itself may break the order of the three.
fn memory(spec: &MachineSpec, there: &Memory) -> Option<Memory> {
    let startup = spec.memory.0;
    let most = spec.memory_max.map(|most| most.0).filter(|most| *most > startup);
    let wanted = match most {
        // It has what it starts with, and more where it needs it.
        Some(most) => Memory {
            id: there.id.clone(),
            startup: Some(startup),
            minimum: Some(startup),
            maximum: Some(most),
            dynamic: Some(true),
            buffer: there.buffer,
        },
        None => Memory {
            id: there.id.clone(),
            startup: Some(startup),
            minimum: Some(startup),
            maximum: Some(startup),
            dynamic: Some(false),
            buffer: None,
        },
    };
    let same = wanted.startup == there.startup && wanted.dynamic == there.dynamic;
    let same = same && (most.is_none() || (wanted.minimum, wanted.maximum) == (there.minimum, there.maximum));
    (!same).then_some(wanted)
}

/// What of its firmware has to change.
fn firmware(spec: &MachineSpec, inside: &Inside) -> Result<Option<Settings>, String> {
    let there = &inside.settings;
    let mut wanted = Settings::default();
    if let Some(serial) = &spec.serial
        && there.serial.as_ref() != Some(serial)
    {
        wanted.serial = Some(serial.clone());
    }
    match (inside.generation, spec.guards.secure_boot) {
        (Generation::One, SecureBoot::Off) => {}
        (Generation::One, SecureBoot::Microsoft) => {
            return Err("secure boot wants UEFI: generation 2".to_owned());
        }
        (Generation::Two, secure) => {
            let on = secure == SecureBoot::Microsoft;
            if there.secure_boot != Some(on) {
                wanted.secure_boot = Some(on);
            }
            // Of what Microsoft signs for others, Windows is a part in all but name.
            let template = there
                .secure_boot_template
                .as_deref()
                .and_then(SecureBootTemplate::of);
            if on && template.is_none() {
                wanted.secure_boot_template = Some(SecureBootTemplate::UefiCa.guid().to_owned());
            }
            wanted.boot_sources = boot_sources(spec, inside)?;
        }
    }
    if wanted == Settings::default() {
        return Ok(None);
    }
    wanted.id = there.id.clone();
    Ok(Some(wanted))
}

/// The whole list of what it starts from: what is asked for first, all else in the order that it had. `None` where what is asked for
/// stands in that order already; what a guest has entered before or between is its own.
fn boot_sources(spec: &MachineSpec, inside: &Inside) -> Result<Option<Vec<String>>, String> {
    let mut wanted = Vec::new();
    for device in &spec.boot_order {
        let id = device_id(device, spec, inside)?;
        let source = inside.boot_sources.get(&id.to_lowercase());
        wanted.push(
            source
                .ok_or_else(|| format!("the host has nothing to start from for {id}"))?
                .clone(),
        );
    }
    let there = inside.settings.boot_sources.clone().unwrap_or_default();
    let place = |id: &String| {
        there.iter().position(|path| {
            let target = crate::ids::Target::of(path);
            target.is_some_and(|target| target.key("instanceid") == Some(id.to_lowercase().as_str()))
        })
    };
    let places: Vec<_> = wanted.iter().map(place).collect();
    if places.is_sorted() && places.iter().all(Option::is_some) {
        return Ok(None);
    }
    let path =
        |id: &String| wsman::Reference::new(V2, "Msvm_BootSourceSettingData", &[("InstanceID", id)]).path();
    let first = wanted.iter().filter_map(path);
    let rest = there
        .iter()
        .enumerate()
        .filter(|(at, _)| !places.contains(&Some(*at)));
    Ok(Some(first.chain(rest.map(|(_, path)| path.clone())).collect()))
}

/// The id of a device that it starts from.
fn device_id(device: &BootDevice, spec: &MachineSpec, inside: &Inside) -> Result<String, String> {
    let at = |target: &str, kind: Device| {
        let place = Place::named(inside.generation, target).map(|(_, place)| place);
        let found = inside
            .drives
            .iter()
            .find(|drive| Some(drive.place) == place && drive.device == kind);
        found.map(|drive| drive.id.clone())
    };
    let found = match device {
        BootDevice::Disk(key) => {
            let disk = spec.disks.iter().find(|disk| disk.key == *key);
            disk.and_then(|disk| at(&disk.target, Device::Disk))
        }
        BootDevice::Drive(key) => {
            let drive = spec.media.iter().find(|drive| drive.key == *key);
            drive.and_then(|drive| at(&drive.target, Device::Drive))
        }
        BootDevice::Nic(key) => {
            let mac = spec.nics.iter().find(|nic| nic.key == *key).map(|nic| nic.mac);
            let card = inside
                .cards
                .iter()
                .find(|card| card.mac.is_some() && card.mac == mac);
            card.map(|card| card.id.clone())
        }
    };
    found.ok_or_else(|| format!("it has no {device:?} to start from"))
}

/// Whether two devices are one.
pub(super) fn is(id: &str, other: &str) -> bool {
    same_id(id, other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use labyard_driver::ids::Mib;

    fn spec() -> MachineSpec {
        let mut spec = labyard_driver::conformance::sample::machine("web");
        (spec.cpus, spec.memory) = (2, Mib(512));
        spec
    }

    #[test]
    fn what_is_so_already_is_not_sent() {
        let there = Processor {
            id: Some("p".into()),
            count: Some(2),
            nested: Some(false),
        };
        assert_eq!(processors(&spec(), &there), None);
        let there = Memory {
            id: Some("m".into()),
            startup: Some(512),
            minimum: Some(512),
            maximum: Some(1 << 20),
            dynamic: Some(false),
            buffer: Some(20),
        };
        assert_eq!(
            memory(&spec(), &there),
            None,
            "a static machine's maximum says nothing"
        );
    }

    #[test]
    fn only_what_differs_is_sent_and_memory_whole() {
        let there = Processor {
            id: Some("p".into()),
            count: Some(1),
            nested: Some(true),
        };
        let mut more = spec();
        more.cpu.nested = Choice::Default;
        let sent = processors(&more, &there).unwrap();
        assert_eq!((sent.count, sent.nested), (Some(2), Some(false)), "false is sent");
        more.memory_max = Some(Mib(2048));
        let sent = memory(&more, &Memory::default()).unwrap();
        assert_eq!(
            (sent.startup, sent.minimum, sent.maximum),
            (Some(512), Some(512), Some(2048))
        );
        assert_eq!(sent.dynamic, Some(true));
    }
}
