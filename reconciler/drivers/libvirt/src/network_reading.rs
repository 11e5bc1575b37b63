//! Networks in the bulk read: each by its definition, and whether what runs is behind it.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join_all, try_join_all};
use labyard_driver::DriverError;
use labyard_driver::ids::ObjectId;
use labyard_driver::observed::{Activity, NetworkStanding, ObservedNetwork};
use libvirt_rpc::flags::{DomainXml, ListNetworks, NetworkXml};
use libvirt_rpc::{DomainRef, NetworkRef, Uuid};

use crate::errors::{Act, During};
use crate::host::{Session, parse};
use crate::networks;
use crate::observe::went_away;
use crate::wires::{self, Wire, aside_for};
use crate::xml::Element;

/// All networks but those that NICs wait on to be put back.
pub(crate) async fn all(session: &Session, act: &Act) -> Result<Vec<ObservedNetwork>, DriverError> {
    let list = |flags| session.connection.connect_list_all_networks(flags);
    let (all, active, autostart) = futures::try_join!(
        list(ListNetworks::empty()),
        list(ListNetworks::ACTIVE),
        list(ListNetworks::AUTOSTART)
    )
    .during(act)?;
    let has = |list: &[NetworkRef], uuid| list.iter().any(|network| network.uuid == uuid);
    let (aside, all): (Vec<_>, Vec<_>) = all.into_iter().partition(|n| aside_for(&n.name).is_some());
    let read = all.iter().map(|network| {
        let (active, autostart) = (has(&active, network.uuid), has(&autostart, network.uuid));
        one(session, act, network, active, autostart)
    });
    let mut read: Vec<_> = try_join_all(read).await?.into_iter().flatten().collect();
    let waited_for: BTreeSet<_> = aside
        .iter()
        .filter_map(|network| aside_for(&network.name))
        .collect();
    for network in &mut read {
        if waited_for.contains(network.id.as_str()) {
            network.standing = NetworkStanding::Behind;
        }
    }
    Ok(read)
}

/// One network; `None` if it went while it was read.
async fn one(
    session: &Session,
    act: &Act,
    network: &NetworkRef,
    active: bool,
    autostart: bool,
) -> Result<Option<ObservedNetwork>, DriverError> {
    let connection = &session.connection;
    let running = async {
        match active {
            true => futures::try_join!(
                networks::leases_of(connection, network),
                connection.network_get_xml_desc(network, NetworkXml::empty())
            )
            .map(|(leases, text)| (leases, Some(text))),
            false => Ok((Vec::new(), None)),
        }
    };
    let definition = connection.network_get_xml_desc(network, NetworkXml::INACTIVE);
    match futures::join!(definition, running) {
        (Ok(text), Ok((leases, live))) => {
            let id = ObjectId(network.uuid.to_string());
            let live = live.map(|text| parse(act, &text)).transpose()?;
            let definition = parse(act, &text)?;
            Ok(Some(networks::observed(
                id,
                &definition,
                live.as_ref(),
                autostart,
                leases,
            )))
        }
        (Err(error), _) | (_, Err(error)) if went_away(&error) => Ok(None),
        (Err(error), _) | (_, Err(error)) => Err(act.failed(&error)),
    }
}

/// The networks of ours that running machines of ours are cut off from, by name.
pub(crate) async fn behind(
    session: &Session,
    act: &Act,
    networks: &[ObservedNetwork],
    running: Vec<(&DomainRef, &Element, &Element)>,
) -> Result<BTreeSet<String>, DriverError> {
    let is_ours = |name: &str| {
        let ours = |n: &&ObservedNetwork| n.mark.ours().is_some() && n.active == Activity::Active;
        networks.iter().filter(ours).any(|n| n.host_name == name)
    };
    let wires: Vec<(&DomainRef, Wire)> = running
        .into_iter()
        .flat_map(|(domain, definition, live)| {
            let all = wires::wires(definition, live).into_iter();
            all.map(move |wire| (domain, wire))
        })
        .filter(|(_, wire)| is_ours(&wire.network))
        .collect();
    let suspects = cut(session, act, networks, wires).await?;
    // Between two reads a machine may have been stopped, or put back: who is asked again and says the same, is off.
    let again = suspects.iter().map(|(domain, _)| async move {
        let connection = &session.connection;
        let (definition, live) = futures::try_join!(
            connection.domain_get_xml_desc(domain, DomainXml::INACTIVE),
            connection.domain_get_xml_desc(domain, DomainXml::empty())
        )
        .ok()?;
        let wires = wires::wires(&Element::parse(&definition).ok()?, &Element::parse(&live).ok()?);
        Some(wires.into_iter().map(|wire| (*domain, wire)).collect::<Vec<_>>())
    });
    let again = join_all(again).await.into_iter().flatten().flatten();
    let again: Vec<_> = again.filter(|wire| suspects.contains(wire)).collect();
    let cut = cut(session, act, networks, again).await?;
    Ok(cut.into_iter().map(|(_, wire)| wire.network).collect())
}

async fn cut<'a>(
    session: &Session,
    act: &Act,
    networks: &[ObservedNetwork],
    wires: Vec<(&'a DomainRef, Wire)>,
) -> Result<Vec<(&'a DomainRef, Wire)>, DriverError> {
    let names: BTreeSet<&str> = wires.iter().map(|(_, wire)| wire.network.as_str()).collect();
    let concerned = networks.iter().filter(|n| names.contains(n.host_name.as_str()));
    let ports = concerned.map(|network| async move {
        let reference = networks::reference(act, &network.id)?;
        match wires::ports(&session.connection, &reference).await {
            Ok(ports) => Ok(Some((network.host_name.clone(), ports))),
            Err(error) if went_away(&error) => Ok(None),
            Err(error) => Err(act.failed(&error)),
        }
    });
    let ports: BTreeMap<String, BTreeSet<Uuid>> = try_join_all(ports).await?.into_iter().flatten().collect();
    let is_cut =
        |(_, wire): &(&DomainRef, Wire)| ports.get(&wire.network).is_some_and(|ports| wire.is_cut(ports));
    Ok(wires.into_iter().filter(is_cut).collect())
}

/// Tells the networks that they are behind.
pub(crate) fn tell(networks: &mut [ObservedNetwork], behind: &BTreeSet<String>) {
    for network in networks.iter_mut().filter(|n| behind.contains(&n.host_name)) {
        network.standing = NetworkStanding::Behind;
    }
}
