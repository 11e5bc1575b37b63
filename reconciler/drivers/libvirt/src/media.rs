//! CD drives and disks of machines that may be running.

use labyard_driver::DriverError;
use labyard_driver::ids::{Bytes, ObjectId};
use labyard_driver::observed::{Ability, Offer};
use labyard_driver::spec::MachineSpec;
use libvirt_rpc::DomainRef;
use libvirt_rpc::flags::{BlockResize, DeviceModify, DomainXml};

use crate::errors::{Act, During};
use crate::host::{Host, Session, parse};
use crate::machine_xml;
use crate::machine_xml::drives::{self, Drive};
use crate::machines::{act, is_active, pools_of, reference};
use crate::volumes;
use crate::xml::Element;

pub(crate) async fn change_medium(host: &Host, spec: &MachineSpec) -> Result<(), DriverError> {
    let act = act("changing the medium of", &spec.id);
    let session = host.session().await?;
    let domain = reference(&act, &spec.id)?;
    let places = host.places(&session, pools_of(spec), &act).await?;
    let wanted = drives::wanted(spec, &places).map_err(|error| act.refused(error.to_string()))?;
    let state = session.connection.domain_get_state(&domain).await.during(&act)?;
    if is_active(&state) {
        let empty = match host
            .offers(&session)
            .await?
            .abilities
            .contains(&Ability::EmptyDrive)
        {
            true => Offer::Offered,
            false => Offer::Lacking,
        };
        change(&session, &act, &domain, &wanted, DeviceModify::LIVE, empty).await?;
    }
    change(
        &session,
        &act,
        &domain,
        &wanted,
        DeviceModify::CONFIG,
        Offer::Offered,
    )
    .await
}

/// Each of the two has its own drives, with addresses and aliases of its own.
async fn change(
    session: &Session,
    act: &Act,
    domain: &DomainRef,
    wanted: &[Drive],
    of: DeviceModify,
    empty: Offer,
) -> Result<(), DriverError> {
    let which = if of == DeviceModify::LIVE {
        DomainXml::empty()
    } else {
        DomainXml::INACTIVE
    };
    let connection = &session.connection;
    let text = connection.domain_get_xml_desc(domain, which).await.during(act)?;
    let definition = parse(act, &text)?;
    let none = Element::new("devices");
    let devices = definition.child("devices").unwrap_or(&none);
    let to_be_empty = |drive: &&Drive| drive.is_empty() && drive.find(devices).is_none();
    if empty == Offer::Lacking
        && let Some(drive) = wanted.iter().find(to_be_empty)
    {
        return Err(DriverError::Unsupported {
            what: format!("plugging the empty drive {} into a running machine", drive.target()),
            message: "the host's libvirt is older than 10.0: put an image into the drive, or stop the machine first"
                .to_owned(),
        });
    }
    // A guest that has mounted what is in it does not keep the drive shut.
    let by_force = if of == DeviceModify::LIVE {
        of | DeviceModify::FORCE
    } else {
        of
    };
    for drive in drives::surplus(devices, wanted) {
        if of == DeviceModify::CONFIG || drives::comes_and_goes(drive) {
            let gone = drive.to_string();
            let removed = connection.domain_detach_device_flags(domain, &gone, of);
            removed.await.during(act)?;
        } else {
            let emptied = drives::emptied(drive).to_string();
            let changed = connection.domain_update_device_flags(domain, &emptied, by_force);
            changed.await.during(act)?;
        }
    }
    let (controller, mut missing) = drives::controller(devices);
    for drive in wanted {
        let Some(there) = drive.find(devices) else {
            if let Some(controller) = missing.take() {
                let controller = controller.to_string();
                let added = connection.domain_attach_device_flags(domain, &controller, of);
                added.await.during(act)?;
            }
            let made = drive.made(&controller).to_string();
            let added = connection.domain_attach_device_flags(domain, &made, of);
            added.await.during(act)?;
            continue;
        };
        let filled = drive.filled(there);
        if filled != *there {
            let filled = filled.to_string();
            let changed = connection.domain_update_device_flags(domain, &filled, by_force);
            changed.await.during(act)?;
        }
    }
    Ok(())
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
