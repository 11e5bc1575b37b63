//! Media and disks of machines that may be running.

use labyard_driver::DriverError;
use labyard_driver::ids::{Bytes, ObjectId};
use labyard_driver::spec::MachineSpec;
use libvirt_rpc::DomainRef;
use libvirt_rpc::flags::{BlockResize, DeviceModify, DomainXml};

use crate::errors::{Act, During};
use crate::host::{Host, Session, parse};
use crate::machine_xml;
use crate::machines::{act, is_active, pools_of, reference};
use crate::places::Places;
use crate::volumes;
use crate::xml::Element;

pub(crate) async fn change_medium(host: &Host, spec: &MachineSpec) -> Result<(), DriverError> {
    let act = act("changing the medium of", &spec.id);
    let session = host.session().await?;
    let domain = reference(&act, &spec.id)?;
    let places = host.places(&session, pools_of(spec), &act).await?;
    let state = session.connection.domain_get_state(&domain).await.during(&act)?;
    if is_active(&state) {
        change(&session, &act, &domain, spec, &places, DeviceModify::LIVE).await?;
    }
    change(&session, &act, &domain, spec, &places, DeviceModify::CONFIG).await
}

/// Each of the two has its own drive element, with addresses and aliases of its own.
async fn change(
    session: &Session,
    act: &Act,
    domain: &DomainRef,
    spec: &MachineSpec,
    places: &Places,
    of: DeviceModify,
) -> Result<(), DriverError> {
    let which = if of == DeviceModify::LIVE {
        DomainXml::empty()
    } else {
        DomainXml::INACTIVE
    };
    let text = session
        .connection
        .domain_get_xml_desc(domain, which)
        .await
        .during(act)?;
    let definition = parse(act, &text)?;
    let drive = definition
        .child("devices")
        .and_then(|devices| machine_xml::medium_drive(devices, spec.seed.as_ref()));
    let Some(drive) = drive else {
        return match spec.seed {
            None => Ok(()),
            Some(_) => Err(act.refused("it has no CD drive there; one is added at its next start")),
        };
    };
    let changed = machine_xml::with_medium(drive, spec.seed.as_ref(), places)
        .map_err(|error| act.refused(error.to_string()))?;
    if changed == *drive {
        return Ok(());
    }
    // A guest that has mounted the old one does not keep the drive shut.
    let flags = if of == DeviceModify::LIVE {
        of | DeviceModify::FORCE
    } else {
        of
    };
    session
        .connection
        .domain_update_device_flags(domain, &changed.to_string(), flags)
        .await
        .during(act)
}

pub(crate) async fn grow_disk(
    host: &Host,
    id: &ObjectId,
    target: &str,
    capacity: Bytes,
) -> Result<(), DriverError> {
    let act = act(&format!("growing disk {target} of"), id);
    let session = host.session().await?;
    let domain = reference(&act, id)?;
    let connection = &session.connection;
    let state = connection.domain_get_state(&domain).await.during(&act)?;
    if is_active(&state) {
        let has = connection
            .domain_get_block_info(&domain, target)
            .await
            .during(&act)?;
        if has.capacity < capacity.0 {
            connection
                .domain_block_resize(&domain, target, capacity.0, BlockResize::BYTES)
                .await
                .during(&act)?;
        }
        return Ok(());
    }
    let text = connection
        .domain_get_xml_desc(&domain, DomainXml::INACTIVE)
        .await
        .during(&act)?;
    let definition = parse(&act, &text)?;
    let path = disk_at(&definition, target)
        .map(machine_xml::disk_path)
        .unwrap_or_default();
    if path.is_empty() {
        return Err(act.refused("the machine has no such disk"));
    }
    let volume = connection
        .storage_vol_lookup_by_path(&path)
        .await
        .map_err(|error| {
            if error.is_no_storage_vol() {
                act.refused(format!("{path} lies in no storage pool of the host"))
            } else {
                act.failed(&error)
            }
        })?;
    volumes::grow(&session, &volume, capacity).await.during(&act)
}

fn disk_at<'a>(definition: &'a Element, target: &str) -> Option<&'a Element> {
    let devices = definition.child("devices")?;
    devices
        .elements()
        .find(|d| d.is("disk") && d.attribute_at(&["target"], "dev") == Some(target))
}
