//! Networks in the bulk read: each by its definition; what runs of it where it is ours or machines of ours run on it.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join_all, try_join_all};
use labyard_driver::DriverError;
use labyard_driver::ids::ObjectId;
use labyard_driver::observed::{Activity, DhcpLease, NetworkStanding, ObservedNetwork};
use libvirt_rpc::flags::{DomainXml, ListNetworks, NetworkXml};
use libvirt_rpc::{DomainRef, Error, NetworkRef, Uuid};

use crate::errors::{Act, During};
use crate::host::{Session, parse};
use crate::observe::went_away;
use crate::wires::{self, Wire, aside_for};
use crate::xml::Element;
use crate::{machine_xml, networks};

/// A network as far as it is read, with its definition.
pub(crate) struct Reading {
    pub(crate) seen: ObservedNetwork,
    definition: Element,
}

/// What runs of networks.
pub(crate) struct Running {
    /// Those that run otherwise than they are defined, or that running machines are cut off from.
    behind: BTreeSet<ObjectId>,
    leases: BTreeMap<ObjectId, Vec<DhcpLease>>,
}

/// All networks but those that NICs wait on to be put back.
pub(crate) async fn all(session: &Session, act: &Act) -> Result<Vec<Reading>, DriverError> {
    let list = |flags| session.connection.connect_list_all_networks(flags);
    let (all, active, autostart) = futures::try_join!(
        list(ListNetworks::empty()),
        list(ListNetworks::ACTIVE),
        list(ListNetworks::AUTOSTART)
    )
    .during(act)?;
    let ids = |list: Vec<NetworkRef>| -> BTreeSet<Uuid> { list.into_iter().map(|n| n.uuid).collect() };
    let (active, autostart) = (ids(active), ids(autostart));
    let (aside, all): (Vec<_>, Vec<_>) = all.into_iter().partition(|n| aside_for(&n.name).is_some());
    let read = all.iter().map(|network| {
        let active = match active.contains(&network.uuid) {
            true => Activity::Active,
            false => Activity::Inactive,
        };
        one(session, act, network, active, autostart.contains(&network.uuid))
    });
    let mut read: Vec<_> = try_join_all(read).await?.into_iter().flatten().collect();
    let waited_for: BTreeSet<_> = aside
        .iter()
        .filter_map(|network| aside_for(&network.name))
        .collect();
    for network in &mut read {
        if waited_for.contains(network.seen.id.as_str()) {
            network.seen.standing = NetworkStanding::Behind;
        }
    }
    Ok(read)
}

/// One network; `None` if it went while it was read.
async fn one(
    session: &Session,
    act: &Act,
    network: &NetworkRef,
    active: Activity,
    autostart: bool,
) -> Result<Option<Reading>, DriverError> {
    let text = session
        .connection
        .network_get_xml_desc(network, NetworkXml::INACTIVE)
        .await;
    let Some(text) = unless_gone(act, text)? else {
        return Ok(None);
    };
    let definition = parse(act, &text)?;
    let id = ObjectId(network.uuid.to_string());
    let seen = networks::defined(id, &definition, active, autostart);
    Ok(Some(Reading { seen, definition }))
}

/// What was read of a network, unless it went meanwhile.
fn unless_gone<T>(act: &Act, read: Result<T, Error>) -> Result<Option<T>, DriverError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if went_away(&error) => Ok(None),
        Err(error) => Err(act.failed(&error)),
    }
}

/// What runs of the networks: of ours the running form, and where machines of ours run their leases and ports.
pub(crate) async fn complete(
    session: &Session,
    act: &Act,
    networks: &[Reading],
    running: Vec<(&DomainRef, &Element, &Element)>,
) -> Result<Running, DriverError> {
    let used: BTreeSet<&str> = running
        .iter()
        .flat_map(|(_, definition, live)| [*definition, *live])
        .flat_map(machine_xml::interfaces)
        .filter_map(|(_, nic)| nic.attribute_at(&["source"], "network"))
        .collect();
    let up = || networks.iter().filter(|n| n.seen.active == Activity::Active);
    let ours = up().filter(|n| n.seen.mark.ours().is_some());
    let otherwise = ours.clone().map(|network| runs_otherwise(session, act, network));
    let leases = up()
        .filter(|n| used.contains(n.seen.host_name.as_str()))
        .map(|network| leases(session, act, network));
    let (otherwise, leases, cut_off) = futures::try_join!(
        try_join_all(otherwise),
        try_join_all(leases),
        cut_off(session, act, networks, running),
    )?;
    let cut_off = ours.filter(|n| cut_off.contains(&n.seen.host_name));
    Ok(Running {
        behind: otherwise
            .into_iter()
            .flatten()
            .chain(cut_off.map(|n| n.seen.id.clone()))
            .collect(),
        leases: leases.into_iter().flatten().collect(),
    })
}

/// The network, if what runs of it is not as defined.
async fn runs_otherwise(
    session: &Session,
    act: &Act,
    network: &Reading,
) -> Result<Option<ObjectId>, DriverError> {
    let reference = networks::reference(act, &network.seen.id)?;
    let live = session
        .connection
        .network_get_xml_desc(&reference, NetworkXml::empty())
        .await;
    let live = unless_gone(act, live)?
        .map(|text| parse(act, &text))
        .transpose()?;
    let otherwise = live.is_some_and(|live| networks::runs_otherwise(&network.definition, &live));
    Ok(otherwise.then(|| network.seen.id.clone()))
}

async fn leases(
    session: &Session,
    act: &Act,
    network: &Reading,
) -> Result<Option<(ObjectId, Vec<DhcpLease>)>, DriverError> {
    let id = &network.seen.id;
    let reference = networks::reference(act, id)?;
    let leases = networks::leases_of(&session.connection, &reference).await;
    Ok(unless_gone(act, leases)?.map(|leases| (id.clone(), leases)))
}

/// The networks of ours that running machines of ours are cut off from, by name.
async fn cut_off(
    session: &Session,
    act: &Act,
    networks: &[Reading],
    running: Vec<(&DomainRef, &Element, &Element)>,
) -> Result<BTreeSet<String>, DriverError> {
    let is_ours = |name: &str| {
        let ours = |n: &&Reading| n.seen.mark.ours().is_some() && n.seen.active == Activity::Active;
        networks.iter().filter(ours).any(|n| n.seen.host_name == name)
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
    networks: &[Reading],
    wires: Vec<(&'a DomainRef, Wire)>,
) -> Result<Vec<(&'a DomainRef, Wire)>, DriverError> {
    let names: BTreeSet<&str> = wires.iter().map(|(_, wire)| wire.network.as_str()).collect();
    let concerned = networks
        .iter()
        .filter(|n| names.contains(n.seen.host_name.as_str()));
    let ports = concerned.map(|network| async move {
        let reference = networks::reference(act, &network.seen.id)?;
        let ports = wires::ports(&session.connection, &reference).await;
        Ok(unless_gone(act, ports)?.map(|ports| (network.seen.host_name.clone(), ports)))
    });
    let ports: BTreeMap<String, BTreeSet<Uuid>> = try_join_all(ports).await?.into_iter().flatten().collect();
    let is_cut =
        |(_, wire): &(&DomainRef, Wire)| ports.get(&wire.network).is_some_and(|ports| wire.is_cut(ports));
    Ok(wires.into_iter().filter(is_cut).collect())
}

/// The networks with what runs of them.
pub(crate) fn tell(networks: Vec<Reading>, mut running: Running) -> Vec<ObservedNetwork> {
    let told = networks.into_iter().map(|Reading { mut seen, .. }| {
        if running.behind.contains(&seen.id) {
            seen.standing = NetworkStanding::Behind;
        }
        seen.leases = running.leases.remove(&seen.id).unwrap_or_default();
        seen
    });
    told.collect()
}
