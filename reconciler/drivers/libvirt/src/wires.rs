//! NICs that are plugged into a network, those that a restart of it has cut off, and putting them back.
//!
//! A network that goes down and up again has a new bridge, and the NICs of running machines stay off it. Changed to
//! the network that they are on already libvirt leaves them where they are; so they go by way of a throw-away
//! network and back. It carries the network's id in its name, so that one left by the dead is known and taken away.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::try_join_all;
use labyard_driver::DriverError;
use labyard_driver::ids::{MacAddr, ObjectId};
use labyard_driver::mark::Mark;
use labyard_driver::observed::MarkState;
use libvirt_rpc::flags::{DeviceModify, DomainXml, ListDomains, NetworkXml};
use libvirt_rpc::{Connection, DomainRef, Error, NetworkRef, Uuid};

use crate::errors::{Act, During, is_wrong_state};
use crate::host::{Host, Session, parse};
use crate::networks::{act, reference};
use crate::observe::{self, READ, is_stall, went_away};
use crate::xml::Element;
use crate::{machine_xml, mark_xml};

const ASIDE: &str = "labyard-aside-";

/// The name of the throw-away network for a network.
fn aside_name(network: &str) -> String {
    format!("{ASIDE}{network}")
}

/// The network that a throw-away network is for, if one is.
pub(crate) fn aside_for(name: &str) -> Option<&str> {
    name.strip_prefix(ASIDE)
}

/// A NIC of a running machine that is defined on a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    /// The network of the definition.
    pub(crate) network: String,
    pub(crate) mac: MacAddr,
    /// The network that it is on.
    live: String,
    port: Option<Uuid>,
}

/// The NICs of a running machine that are defined on networks.
pub(crate) fn wires(definition: &Element, live: &Element) -> Vec<Wire> {
    let live = machine_xml::interfaces(live);
    let wire = |(mac, nic): (MacAddr, &Element)| {
        let (_, running) = live.iter().find(|(other, _)| *other == mac)?;
        let port = running.attribute_at(&["source"], "portid");
        Some(Wire {
            network: nic.attribute_at(&["source"], "network")?.to_owned(),
            mac,
            live: running.attribute_at(&["source"], "network")?.to_owned(),
            port: port.and_then(|port| port.parse().ok()),
        })
    };
    machine_xml::interfaces(definition)
        .into_iter()
        .filter_map(wire)
        .collect()
}

impl Wire {
    /// Whether it is cut off from its network, which has these ports.
    pub(crate) fn is_cut(&self, ports: &BTreeSet<Uuid>) -> bool {
        let unplugged = self.live == self.network && self.port.is_some_and(|port| !ports.contains(&port));
        unplugged || aside_for(&self.live).is_some()
    }
}

/// The ports of a network.
pub(crate) async fn ports(connection: &Connection, network: &NetworkRef) -> Result<BTreeSet<Uuid>, Error> {
    let ports = connection.network_list_all_ports(network).await?;
    Ok(ports.into_iter().map(|port| port.uuid).collect())
}

/// A machine with NICs that are cut off.
struct Cut {
    domain: DomainRef,
    definition: Element,
    live: Element,
    wires: Vec<Wire>,
}

/// A machine that does not answer is left for later, so that it keeps no other off the network.
pub(crate) async fn reattach(host: &Host, id: &ObjectId) -> Result<(), DriverError> {
    let act = act("putting guests back on", id);
    let session = host.session().await?;
    let network = reference(&act, id)?;
    let network = session
        .connection
        .network_lookup_by_uuid(network.uuid)
        .await
        .during(&act)?;
    let (session, seen) = cut_off(host, session, &act, &network).await?;
    let connection = &session.connection;
    if !seen.cut.is_empty() || !seen.stalled.is_empty() {
        // As long as it is there the network shows that it is behind.
        ensure_aside(connection, &act, id).await?;
    }
    let mut later = seen.stalled;
    for machine in &seen.cut {
        match put_back(connection, &act, machine, &network.name, id).await {
            Err(error @ (DriverError::Busy { .. } | DriverError::ReplyLost { .. })) => {
                tracing::warn!(machine = %machine.domain.name, %error, "its NICs are put back later");
                later.insert(machine.domain.name.clone());
            }
            result => result?,
        }
    }
    let session = if later.is_empty() {
        session
    } else {
        host.abandon(&session).await;
        host.session().await?
    };
    let (session, seen) = match seen.cut.is_empty() {
        true => (session, Seen::default()),
        false => cut_off(host, session, &act, &network).await?,
    };
    later.extend(seen.stalled);
    if let Some(machine) = seen
        .cut
        .iter()
        .find(|machine| !later.contains(&machine.domain.name))
    {
        let message = format!(
            "machine {:?} is still off it: restart that machine, or renew its NIC with virsh update-device",
            machine.domain.name
        );
        return Err(act.refused(message));
    }
    if !later.is_empty() {
        let names: Vec<_> = later.iter().map(String::as_str).collect();
        let message = format!(
            "machines that do not answer may still be off it ({}): apply again when they do",
            names.join(", ")
        );
        return Err(act.busy(message));
    }
    drop_aside(&session.connection, &act, id).await
}

async fn put_back(
    connection: &Connection,
    act: &Act,
    machine: &Cut,
    network: &str,
    id: &ObjectId,
) -> Result<(), DriverError> {
    for wire in &machine.wires {
        if aside_for(&wire.live).is_none() {
            plug(connection, act, machine, wire, &aside_name(id.as_str())).await?;
        }
        plug(connection, act, machine, wire, network).await?;
    }
    Ok(())
}

/// The running machines of ours, as far as a network concerns them.
#[derive(Default)]
struct Seen {
    /// Those that are cut off from it.
    cut: Vec<Cut>,
    /// Those that do not answer, by name.
    stalled: BTreeSet<String>,
}

/// The running machines of ours that are cut off from a network, and a connection on which no call is stuck.
async fn cut_off(
    host: &Host,
    session: Arc<Session>,
    act: &Act,
    network: &NetworkRef,
) -> Result<(Arc<Session>, Seen), DriverError> {
    let connection = &session.connection;
    let (domains, text) = futures::try_join!(
        connection.connect_list_all_domains(ListDomains::ACTIVE),
        connection.network_get_xml_desc(network, NetworkXml::INACTIVE)
    )
    .during(act)?;
    let own = mark_xml::of_definition(&parse(act, &text)?);
    let own = own.ours().map(|mark| mark.name.to_string());
    let is_named = |named: &str| named == network.name || Some(named) == own.as_deref();
    let all = domains.into_iter().map(|domain| read(connection, act, domain));
    let all = try_join_all(all).await?;
    let (mut seen, mut stuck) = (Seen::default(), false);
    for machine in all {
        match machine {
            Read::Nothing => {}
            Read::Whole(machine) => seen.cut.push(*machine),
            // Its mark says which networks it is meant for; one that a hand added is seen when it answers.
            Read::Stalled(name, mark) if mark.nics.values().any(|nic| is_named(&nic.network)) => {
                seen.stalled.insert(name);
            }
            Read::Stalled(..) => stuck = true,
        }
    }
    let session = if seen.stalled.is_empty() && !stuck {
        session
    } else {
        // libvirt works at few calls of one connection at a time.
        host.abandon(&session).await;
        host.session().await?
    };
    // Read behind the machines: a port that is not there now was not made in between.
    let ports = ports(&session.connection, network).await.during(act)?;
    for machine in &mut seen.cut {
        machine
            .wires
            .retain(|wire| wire.network == network.name && wire.is_cut(&ports));
    }
    seen.cut.retain(|machine| !machine.wires.is_empty());
    Ok((session, seen))
}

/// What a running machine shows.
enum Read {
    /// It is none of ours, or went.
    Nothing,
    /// Its NICs.
    Whole(Box<Cut>),
    /// It is busy or stuck.
    Stalled(String, Box<Mark>),
}

/// A running machine, if it is one of ours: that its mark tells, which no machine keeps waiting.
async fn read(connection: &Connection, act: &Act, domain: DomainRef) -> Result<Read, DriverError> {
    let mark = match observe::mark(connection, &domain).await {
        Ok(MarkState::Ours(mark)) => mark,
        Ok(MarkState::None | MarkState::Unreadable(_)) => return Ok(Read::Nothing),
        Err(error) if went_away(&error) => return Ok(Read::Nothing),
        Err(error) => return Err(act.failed(&error)),
    };
    let quick = connection.within(READ);
    let (definition, live) = futures::join!(
        quick.domain_get_xml_desc(&domain, DomainXml::INACTIVE),
        quick.domain_get_xml_desc(&domain, DomainXml::empty()),
    );
    let (definition, live) = match (definition, live) {
        (Ok(definition), Ok(live)) => (parse(act, &definition)?, parse(act, &live)?),
        (Err(error), _) | (_, Err(error)) if went_away(&error) => return Ok(Read::Nothing),
        (Err(error), _) | (_, Err(error)) if is_stall(&error) => {
            return Ok(Read::Stalled(domain.name, mark));
        }
        (Err(error), _) | (_, Err(error)) => return Err(act.failed(&error)),
    };
    Ok(Read::Whole(Box::new(Cut {
        wires: wires(&definition, &live),
        domain,
        definition,
        live,
    })))
}

/// Plugs a NIC of a running machine into a network; its source and VLAN are the definition's, the rest as it runs.
async fn plug(
    connection: &Connection,
    act: &Act,
    machine: &Cut,
    wire: &Wire,
    network: &str,
) -> Result<(), DriverError> {
    let find = |domain| {
        let all = machine_xml::interfaces(domain);
        all.into_iter()
            .find(|(mac, _)| *mac == wire.mac)
            .map(|(_, nic)| nic)
    };
    let (Some(defined), Some(live)) = (find(&machine.definition), find(&machine.live)) else {
        return Ok(());
    };
    let mut nic = live.clone();
    // Shown as on a bridge where its network is a bridge of the host's.
    nic.set_attribute("type", "network");
    let mut source = defined
        .child("source")
        .cloned()
        .unwrap_or_else(|| Element::new("source"));
    source.set_attribute("network", network);
    nic.replace(source);
    nic.remove_named("vlan");
    if let Some(vlan) = defined.child("vlan") {
        nic.push(vlan.clone());
    }
    let updated = connection
        .domain_update_device_flags(&machine.domain, &nic.to_string(), DeviceModify::LIVE)
        .await;
    if is_wrong_state(&updated) {
        // It was stopped meanwhile, and will be on the network when it starts.
        return Ok(());
    }
    updated.during(act)
}

async fn ensure_aside(connection: &Connection, act: &Act, id: &ObjectId) -> Result<(), DriverError> {
    let name = aside_name(id.as_str());
    match connection.network_lookup_by_name(&name).await {
        Ok(_) => return Ok(()),
        Err(error) if error.is_no_network() => {}
        Err(error) => return Err(act.failed(&error)),
    }
    let digits: String = id
        .as_str()
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(8)
        .collect();
    let bridge = Element::new("bridge")
        .with("name", &format!("vaside-{digits}"))
        .with("stp", "off")
        .with("delay", "0");
    let network = Element::new("network")
        .holding(Element::new("name").saying(&name))
        .holding(bridge);
    connection
        .network_create_xml(&network.to_string())
        .await
        .map(drop)
        .during(act)
}

/// It is transient: stopped it is gone.
async fn drop_aside(connection: &Connection, act: &Act, id: &ObjectId) -> Result<(), DriverError> {
    let network = match connection.network_lookup_by_name(&aside_name(id.as_str())).await {
        Ok(network) => network,
        Err(error) if error.is_no_network() => return Ok(()),
        Err(error) => return Err(act.failed(&error)),
    };
    match connection.network_destroy(&network).await {
        Err(error) if error.is_no_network() => Ok(()),
        result => result.during(act),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(network: &str, port: &str) -> Element {
        let text = format!(
            "<domain><devices><interface type='network'><mac address='52:54:00:00:00:01'/>\
             <source network='{network}' portid='{port}' bridge='b'/></interface></devices></domain>"
        );
        Element::parse(&text).unwrap()
    }

    #[test]
    fn a_nic_is_cut_off_where_its_port_is_gone_or_it_was_left_aside() {
        const PORT: &str = "68c30f98-2258-4622-8715-53b5e4840193";
        let cut = |network: &str, ports: &[&str]| {
            let wires = wires(&domain("lab", ""), &domain(network, PORT));
            wires[0].is_cut(&ports.iter().map(|port| port.parse().unwrap()).collect())
        };
        assert!(!cut("lab", &[PORT]));
        assert!(cut("lab", &[]));
        assert!(cut("labyard-aside-2c4a7d1e-0000-4000-8000-000000000002", &[]));
        // Moved by somebody: that is another difference.
        assert!(!cut("other", &[]));
    }
}
