//! Changes of machines that run: devices plugged and unplugged, NICs moved, processors and memory given.

use labyard_driver::DriverError;
use labyard_driver::ids::{DiskKey, MacAddr, NicKey};
use labyard_driver::spec::{LiveChange, MachineSpec};
use libvirt_rpc::flags::{DeviceModify, DomainMemory, DomainVcpu, DomainXml};
use libvirt_rpc::{DomainRef, Error, ErrorCode};

use crate::attach::cable_is_out;
use crate::errors::{Act, During};
use crate::host::{Host, Session, parse};
use crate::machine_xml::{self, Link};
use crate::machines::{act, definition, is_active, pools_of, reference};
use crate::xml::Element;

/// A running machine under change.
struct Target<'a> {
    session: &'a Session,
    act: Act,
    domain: DomainRef,
}

pub(crate) async fn change(host: &Host, spec: &MachineSpec, change: &LiveChange) -> Result<(), DriverError> {
    let session = host.session().await?;
    let act = act(verb(change), &spec.id);
    let domain = reference(&act, &spec.id)?;
    let state = session.connection.domain_get_state(&domain).await.during(&act)?;
    let target = Target {
        session: &session,
        act,
        domain,
    };
    let runs = is_active(&state);
    match change {
        LiveChange::UnplugDisk(name) => target.unplug(runs, |device| is_disk_at(device, name)).await,
        LiveChange::UnplugNic(mac) => target.unplug(runs, |device| is_nic_with(device, *mac)).await,
        _ if !runs => Ok(()),
        LiveChange::PlugDisk(key) => target.plug_disk(host, spec, key).await,
        LiveChange::PlugNic(key) => target.plug_nic(spec, key).await,
        LiveChange::MoveNic(key) => target.move_nic(spec, key).await,
        LiveChange::Cpus => target.give_cpus(spec.cpus).await,
        LiveChange::Memory => {
            let connection = &target.session.connection;
            connection
                .domain_set_memory_flags(&target.domain, spec.memory.0 * 1024, DomainMemory::LIVE)
                .await
                .during(&target.act)
        }
    }
}

fn verb(change: &LiveChange) -> &'static str {
    match change {
        LiveChange::UnplugDisk(_) => "taking a disk off",
        LiveChange::UnplugNic(_) => "taking a network card off",
        LiveChange::PlugDisk(_) => "plugging a disk into",
        LiveChange::PlugNic(_) => "plugging a network card into",
        LiveChange::MoveNic(_) => "moving a network card of",
        LiveChange::Cpus => "giving processors to",
        LiveChange::Memory => "setting the memory of",
    }
}

fn is_disk_at(device: &Element, target: &str) -> bool {
    device.is("disk") && device.attribute_at(&["target"], "dev") == Some(target)
}

fn is_nic_with(device: &Element, mac: MacAddr) -> bool {
    device.is("interface") && machine_xml::mac(device) == Some(mac)
}

fn find(domain: &Element, is_it: impl Fn(&Element) -> bool) -> Option<&Element> {
    domain.child("devices")?.elements().find(|device| is_it(device))
}

impl Target<'_> {
    async fn live(&self) -> Result<Element, DriverError> {
        let connection = &self.session.connection;
        let text = connection
            .domain_get_xml_desc(&self.domain, DomainXml::empty())
            .await;
        parse(&self.act, &text.during(&self.act)?)
    }

    /// Out of what runs first; out of the definition once it is gone from there, so that the two never tell of a
    /// removal that did not happen.
    async fn unplug(&self, runs: bool, is_it: impl Fn(&Element) -> bool) -> Result<(), DriverError> {
        if runs && let Some(device) = find(&self.live().await?, &is_it) {
            self.detach(device, DeviceModify::LIVE).await?;
            // Success does not mean that it is gone: the guest has to let go.
            if find(&self.live().await?, &is_it).is_some() {
                return Ok(());
            }
        }
        let definition = definition(self.session, &self.act, &self.domain).await?;
        match find(&definition, is_it) {
            Some(device) => self.detach(device, DeviceModify::CONFIG).await,
            None => Ok(()),
        }
    }

    async fn detach(&self, device: &Element, from: DeviceModify) -> Result<(), DriverError> {
        let connection = &self.session.connection;
        let xml = device.to_string();
        match connection
            .domain_detach_device_flags(&self.domain, &xml, from)
            .await
        {
            Err(error) if is_gone(&error) || is_going(&error) => Ok(()),
            result => result.during(&self.act),
        }
    }

    async fn attach(&self, device: &Element) -> Result<(), DriverError> {
        let connection = &self.session.connection;
        let xml = device.to_string();
        connection
            .domain_attach_device_flags(&self.domain, &xml, DeviceModify::LIVE)
            .await
            .during(&self.act)
    }

    async fn update(&self, device: &Element) -> Result<(), DriverError> {
        let connection = &self.session.connection;
        let xml = device.to_string();
        connection
            .domain_update_device_flags(&self.domain, &xml, DeviceModify::LIVE)
            .await
            .during(&self.act)
    }

    async fn plug_disk(&self, host: &Host, spec: &MachineSpec, key: &DiskKey) -> Result<(), DriverError> {
        let Some(disk) = spec.disks.iter().find(|disk| &disk.key == key) else {
            return Err(self.act.refused(format!("there is no disk {key} to plug in")));
        };
        let places = host.places(self.session, pools_of(spec), &self.act).await?;
        let live = self.live().await?;
        let element = machine_xml::disk_element(&live, disk, &places)
            .map_err(|error| self.act.refused(error.to_string()))?;
        match find(&live, |device| is_disk_at(device, &disk.target)) {
            Some(there) if machine_xml::disk_path(there) == machine_xml::disk_path(&element) => Ok(()),
            Some(_) => Err(self.act.refused(format!("another disk is at {}", disk.target))),
            None => self.attach(&element).await,
        }
    }

    async fn plug_nic(&self, spec: &MachineSpec, key: &NicKey) -> Result<(), DriverError> {
        let Some(nic) = spec.nics.iter().find(|nic| &nic.key == key) else {
            return Err(self
                .act
                .refused(format!("there is no network card {key} to plug in")));
        };
        if find(&self.live().await?, |device| is_nic_with(device, nic.mac)).is_some() {
            return Ok(());
        }
        let element = machine_xml::nic_element(nic).map_err(|error| self.act.refused(error.to_string()))?;
        self.attach(&element).await
    }

    /// The guest sees nothing of the move but its cable, out and in again: what makes it ask for an address anew.
    async fn move_nic(&self, spec: &MachineSpec, key: &NicKey) -> Result<(), DriverError> {
        let Some(nic) = spec.nics.iter().find(|nic| &nic.key == key) else {
            return Err(self
                .act
                .refused(format!("there is no network card {key} to move")));
        };
        let is_it = |device: &Element| is_nic_with(device, nic.mac);
        let definition = definition(self.session, &self.act, &self.domain).await?;
        let defined = find(&definition, is_it);
        let on = |there: &Element, link| {
            let moved = machine_xml::with_attachment(there, defined, &nic.attachment);
            let moved = moved.map_err(|error| self.act.refused(error.to_string()))?;
            Ok::<_, DriverError>(machine_xml::with_link(&moved, link))
        };
        let live = self.live().await?;
        let Some(there) = find(&live, is_it) else {
            return Err(self.act.refused("the running machine has no such network card"));
        };
        if machine_xml::attachment(there) != nic.attachment {
            self.update(&on(there, Link::Down)?).await?;
            cable_is_out().await;
        }
        let live = self.live().await?;
        let wanted = defined.map_or(Link::Up, machine_xml::link);
        match find(&live, is_it) {
            Some(there) if machine_xml::link(there) != wanted => self.update(&on(there, wanted)?).await,
            _ => Ok(()),
        }
    }

    async fn give_cpus(&self, cpus: u32) -> Result<(), DriverError> {
        let connection = &self.session.connection;
        let now = connection
            .domain_get_vcpus_flags(&self.domain, DomainVcpu::LIVE)
            .await;
        if now.during(&self.act)? >= cpus {
            return Ok(());
        }
        connection
            .domain_set_vcpus_flags(&self.domain, cpus, DomainVcpu::LIVE)
            .await
            .during(&self.act)
    }
}

/// The device is not there (any more).
fn is_gone(error: &Error) -> bool {
    error.code() == Some(ErrorCode::DeviceMissing)
}

/// It was asked for before, and the guest has not answered yet. libvirt has no code of its own for it.
fn is_going(error: &Error) -> bool {
    error.code() == Some(ErrorCode::InternalError) && error.to_string().contains("in the process of unplug")
}
