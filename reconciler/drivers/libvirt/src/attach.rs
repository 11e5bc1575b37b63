//! A card of a machine on another network: in its definition first, so that a start finds it there, then in what runs.

use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::ids::{MacAddr, ObjectId};
use labyard_driver::observed::Attachment;
use labyard_driver::spec::NicSpec;
use libvirt_rpc::flags::{DeviceModify, DomainXml};
use libvirt_rpc::{Connection, DomainRef};

use crate::errors::{Act, During, is_wrong_state};
use crate::host::{Host, parse};
use crate::machine_xml::{self, Link};
use crate::machines::{act, definition, is_active, reference};
use crate::screen_xml;
use crate::xml::Element;

/// For so long a cable is out. Linux tells of no more than one change of a cable a second (net/core/link_watch.c): a guest
/// whose cable was back by then has seen nothing, and keeps its old address.
const OUT: Duration = Duration::from_millis(1500);

pub(crate) async fn nic(host: &Host, id: &ObjectId, wanted: &NicSpec) -> Result<(), DriverError> {
    let act = act("moving a network card of", id);
    let session = host.session().await?;
    let connection = &session.connection;
    let domain = reference(&act, id)?;
    let defined = definition(&session, &act, &domain).await?;
    let Some(defined) = card(&defined, wanted.mac) else {
        return Err(act.refused(format!("the machine has no network card {}", wanted.mac)));
    };
    let moved = moved(defined, defined, wanted, &act)?;
    if !is_there(defined, wanted) {
        update(connection, &act, (&domain, &moved), DeviceModify::CONFIG).await?;
    }
    let state = connection.domain_get_state(&domain).await.during(&act)?;
    if !is_active(&state) {
        return Ok(());
    }
    let cable = machine_xml::link(defined);
    if let Some(there) = running(connection, &act, &domain, wanted.mac).await?
        && !is_there(&there, wanted)
    {
        // The guest sees nothing of it but its cable, out and in again: what makes it ask for an address anew.
        let aside = machine_xml::with_link(&self::moved(&there, &moved, wanted, &act)?, Link::Down);
        update(connection, &act, (&domain, &aside), DeviceModify::LIVE).await?;
        cable_is_out().await;
    }
    match running(connection, &act, &domain, wanted.mac).await? {
        Some(there) if machine_xml::link(&there) != cable => {
            let back = machine_xml::with_link(&self::moved(&there, &moved, wanted, &act)?, cable);
            update(connection, &act, (&domain, &back), DeviceModify::LIVE).await
        }
        _ => Ok(()),
    }
}

/// Waits until a guest has seen that its cable is out.
pub(crate) async fn cable_is_out() {
    tokio::time::sleep(OUT).await;
}

fn card(domain: &Element, mac: MacAddr) -> Option<&Element> {
    let all = machine_xml::interfaces(domain).into_iter();
    all.filter(|(there, _)| *there == mac).map(|(_, nic)| nic).next()
}

/// The card as it runs now; `None` where the machine has stopped meanwhile, or was never started with it.
async fn running(
    connection: &Connection,
    act: &Act,
    domain: &DomainRef,
    mac: MacAddr,
) -> Result<Option<Element>, DriverError> {
    let text = connection.domain_get_xml_desc(domain, DomainXml::empty()).await;
    let live = parse(act, &text.during(act)?)?;
    Ok(card(&live, mac).cloned())
}

fn is_there(nic: &Element, wanted: &NicSpec) -> bool {
    let attachment: Attachment = machine_xml::attachment(nic);
    attachment == wanted.attachment && machine_xml::isolation(nic) == wanted.isolation
}

/// A card as it is wanted, with the VLAN of its definition.
fn moved(nic: &Element, defined: &Element, wanted: &NicSpec, act: &Act) -> Result<Element, DriverError> {
    let moved = machine_xml::with_attachment(nic, Some(defined), &wanted.attachment);
    let mut moved = moved.map_err(|error| act.refused(error.to_string()))?;
    if machine_xml::attachment(nic) != wanted.attachment {
        screen_xml::take_from_behind(&mut moved);
    }
    Ok(machine_xml::with_isolation(&moved, wanted.isolation))
}

async fn update(
    connection: &Connection,
    act: &Act,
    (domain, nic): (&DomainRef, &Element),
    affect: DeviceModify,
) -> Result<(), DriverError> {
    let updated = connection
        .domain_update_device_flags(domain, &nic.to_string(), affect)
        .await;
    if affect == DeviceModify::LIVE && is_wrong_state(&updated) {
        // It was stopped meanwhile: its definition is all there is to change.
        return Ok(());
    }
    updated.during(act)
}
