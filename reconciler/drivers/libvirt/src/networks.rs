//! Verbs on networks.

use std::net::IpAddr;

use labyard_driver::DriverError;
use labyard_driver::ids::{MacAddr, ObjectId};
use labyard_driver::mark::{Mark, XML_NAMESPACE};
use labyard_driver::observed::{Activity, Autostart, DhcpLease, NetworkStanding, ObservedNetwork};
use labyard_driver::spec::NetworkSpec;
use libvirt_rpc::flags::{Affect, ListNetworks, NetworkXml};
use libvirt_rpc::{Connection, Error, ErrorCode, Metadata, NetworkRef, NetworkUpdate};
use tokio::sync::RwLock;

use crate::errors::{Act, During, is_wrong_state};
use crate::host::{Host, parse};
use crate::mark_xml;
use crate::network_xml::{self, Transition, Update};
use crate::xml::Element;

/// Whoever reads a definition and writes it back holds this alone, whoever changes a part of one holds it with
/// others: a part changed in between would be lost. Other processes are not held by it.
pub(crate) static REWRITING: RwLock<()> = RwLock::const_new(());

pub(crate) fn act(verb: &str, id: &ObjectId) -> Act {
    Act::on(verb, format!("network {id}"))
}

/// libvirt finds a network by its UUID alone.
pub(crate) fn reference(act: &Act, id: &ObjectId) -> Result<NetworkRef, DriverError> {
    Ok(NetworkRef::new(id.as_str(), act.uuid(id)?))
}

pub(crate) async fn create(host: &Host, spec: &NetworkSpec) -> Result<ObservedNetwork, DriverError> {
    let act = Act::on("making", format!("network {}", spec.host_name));
    let session = host.session().await?;
    let connection = &session.connection;
    let network = reference(&act, &spec.id)?;
    match connection.network_lookup_by_uuid(network.uuid).await {
        Ok(_) => return Err(act.exists()),
        Err(error) if error.is_no_network() => {}
        Err(error) => return Err(act.failed(&error)),
    }
    define(connection, &act, &network_xml::new(spec), spec).await?;
    let up = async {
        set_autostart(connection, &act, &network, spec.autostart).await?;
        start(connection, &act, &network, spec).await
    };
    if let Err(error) = up.await {
        // Nothing of it stays. Where the answer was lost this is up to who reads next.
        if !error.is_transient() {
            let undone = connection.network_undefine(&network).await;
            tracing::debug!(?undone, "network that does not start");
        }
        return Err(error);
    }
    observe(connection, &spec.id).await
}

async fn define(
    connection: &Connection,
    act: &Act,
    definition: &Element,
    spec: &NetworkSpec,
) -> Result<(), DriverError> {
    match connection.network_define_xml(&definition.to_string()).await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(ErrorCode::OperationFailed) => {
            let name = definition.text_at(&["name"]).unwrap_or_default();
            match connection.network_lookup_by_name(&name).await {
                Ok(_) => Err(act.exists()),
                Err(_) => Err(act.failed(&error)),
            }
        }
        Err(error) => Err(explain_clash(connection, act, spec, &error).await),
    }
}

async fn start(
    connection: &Connection,
    act: &Act,
    network: &NetworkRef,
    spec: &NetworkSpec,
) -> Result<(), DriverError> {
    let result = connection.network_create(network).await;
    if is_wrong_state(&result) && matches!(connection.network_is_active(network).await, Ok(true)) {
        return Ok(());
    }
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(explain_clash(connection, act, spec, &error).await),
    }
}

/// libvirt says that a subnet or a bridge is in use; this says by which network.
async fn explain_clash(connection: &Connection, act: &Act, spec: &NetworkSpec, error: &Error) -> DriverError {
    let failed = act.failed(error);
    let DriverError::Refused { doing, message } = failed else {
        return failed;
    };
    let others = connection
        .connect_list_all_networks(ListNetworks::empty())
        .await
        .unwrap_or_default();
    for other in others
        .iter()
        .filter(|other| other.uuid.to_string() != spec.id.as_str())
    {
        let Ok(text) = connection.network_get_xml_desc(other, NetworkXml::empty()).await else {
            continue;
        };
        let Ok(element) = Element::parse(&text) else {
            continue;
        };
        let facts = network_xml::facts(&element);
        if let (Some(wanted), Some(has)) = (spec.address, facts.address)
            && facts.overlaps(wanted)
        {
            let message = format!(
                "{message}. The host's network '{}' has {}",
                other.name,
                has.trunc()
            );
            return DriverError::Refused { doing, message };
        }
        if spec.bridge.is_some() && facts.bridge == spec.bridge {
            let message = format!("{message}. The host's network '{}' has that bridge", other.name);
            return DriverError::Refused { doing, message };
        }
    }
    DriverError::Refused { doing, message }
}

async fn set_autostart(
    connection: &Connection,
    act: &Act,
    network: &NetworkRef,
    autostart: Autostart,
) -> Result<(), DriverError> {
    connection
        .network_set_autostart(network, autostart == Autostart::On)
        .await
        .during(act)
}

pub(crate) async fn network(host: &Host, id: &ObjectId) -> Result<ObservedNetwork, DriverError> {
    observe(&host.session().await?.connection, id).await
}

async fn observe(connection: &Connection, id: &ObjectId) -> Result<ObservedNetwork, DriverError> {
    let act = act("reading", id);
    let network = reference(&act, id)?;
    let (text, active, autostart) = futures::join!(
        connection.network_get_xml_desc(&network, NetworkXml::INACTIVE),
        connection.network_is_active(&network),
        // One without a definition has none.
        connection.network_get_autostart(&network),
    );
    let definition = parse(&act, &text.during(&act)?)?;
    let active = active.during(&act)?;
    let autostart = match autostart {
        Err(error) if error.code() == Some(ErrorCode::InternalError) || error.is_invalid_state() => false,
        result => result.during(&act)?,
    };
    if !active {
        return Ok(defined(id.clone(), &definition, Activity::Inactive, autostart));
    }
    let live = connection.network_get_xml_desc(&network, NetworkXml::empty());
    let (leases, live) = futures::join!(leases_of(connection, &network), live);
    let (leases, live) = (leases.during(&act)?, parse(&act, &live.during(&act)?)?);
    let seen = defined(id.clone(), &definition, Activity::Active, autostart);
    let behind = seen.mark.ours().is_some() && runs_otherwise(&definition, &live);
    Ok(ObservedNetwork {
        standing: if behind {
            NetworkStanding::Behind
        } else {
            seen.standing
        },
        leases,
        ..seen
    })
}

/// A network as it is defined; nothing is said of what runs.
pub(crate) fn defined(
    id: ObjectId,
    definition: &Element,
    active: Activity,
    autostart: bool,
) -> ObservedNetwork {
    let facts = network_xml::facts(definition);
    ObservedNetwork {
        id,
        host_name: definition.text_at(&["name"]).unwrap_or_default(),
        mark: mark_xml::of_definition(definition),
        active,
        standing: NetworkStanding::AsDefined,
        autostart: if autostart { Autostart::On } else { Autostart::Off },
        mode: facts.mode,
        bridge: facts.bridge,
        address: facts.address,
        dhcp: facts.dhcp,
        domain: facts.domain,
        lan: facts.lan,
        boot: facts.boot,
        reservations: facts.reservations,
        leases: Vec::new(),
    }
}

/// Whether what runs of a network is not as defined.
pub(crate) fn runs_otherwise(definition: &Element, live: &Element) -> bool {
    let facts = network_xml::facts(definition);
    network_xml::facts(live).transition_to(&facts) != Transition::Updates(Vec::new())
}

pub(crate) async fn change(host: &Host, spec: &NetworkSpec) -> Result<ObservedNetwork, DriverError> {
    let act = act("changing", &spec.id);
    let session = host.session().await?;
    let connection = &session.connection;
    let network = reference(&act, &spec.id)?;
    edit(connection, &act, &network, spec).await?;
    set_autostart(connection, &act, &network, spec.autostart).await?;
    if connection.network_is_active(&network).await.during(&act)? {
        let (runs, wanted) = futures::join!(
            connection.network_get_xml_desc(&network, NetworkXml::empty()),
            connection.network_get_xml_desc(&network, NetworkXml::INACTIVE),
        );
        let runs = network_xml::facts(&parse(&act, &runs.during(&act)?)?);
        let wanted = network_xml::facts(&parse(&act, &wanted.during(&act)?)?);
        match runs.transition_to(&wanted) {
            Transition::Updates(updates) => exchange(connection, &act, &network, updates).await?,
            Transition::Restart => {
                let stopped = connection.network_destroy(&network).await;
                if !is_wrong_state(&stopped) {
                    stopped.during(&act)?;
                }
            }
        }
    }
    start(connection, &act, &network, spec).await?;
    observe(connection, &spec.id).await
}

async fn exchange(
    connection: &Connection,
    act: &Act,
    network: &NetworkRef,
    updates: Vec<Update>,
) -> Result<(), DriverError> {
    for Update {
        command,
        section,
        parent,
        part,
    } in updates
    {
        let xml = part.to_string();
        let update = NetworkUpdate {
            command,
            section,
            parent,
            xml: &xml,
        };
        let updated = connection.network_update(network, update, Affect::LIVE).await;
        if !is_wrong_state(&updated) {
            updated.during(act)?;
        }
    }
    Ok(())
}

async fn edit(
    connection: &Connection,
    act: &Act,
    network: &NetworkRef,
    spec: &NetworkSpec,
) -> Result<(), DriverError> {
    let _alone = REWRITING.write().await;
    let (text, persistent) = futures::join!(
        connection.network_get_xml_desc(network, NetworkXml::INACTIVE),
        connection.network_is_persistent(network),
    );
    let mut definition = parse(act, &text.during(act)?)?;
    let before = definition.to_string();
    network_xml::edit(&mut definition, spec);
    // One that somebody undefined while it runs shows the same text and has no definition.
    if definition.to_string() != before || !persistent.during(act)? {
        define(connection, act, &definition, spec).await?;
    }
    Ok(())
}

/// Writes the mark alone: a definition that is read and written back would lose an address that is reserved in
/// between.
pub(crate) async fn write_mark(host: &Host, id: &ObjectId, mark: &Mark) -> Result<(), DriverError> {
    let act = act("marking", id);
    let session = host.session().await?;
    let network = reference(&act, id)?;
    let xml = mark_xml::bare(mark).to_string();
    let metadata = Metadata::Element {
        xml: Some(&xml),
        prefix: mark_xml::PREFIX,
        uri: XML_NAMESPACE,
    };
    let written = session
        .connection
        .network_set_metadata(&network, metadata, Affect::CONFIG)
        .await;
    match written {
        Err(error) if error.is_unsupported() => rewrite_mark(&session.connection, &act, &network, mark).await,
        result => result.during(&act),
    }
}

/// libvirt before 9.7 has no call for a network's metadata: redefining touches nothing that runs.
async fn rewrite_mark(
    connection: &Connection,
    act: &Act,
    network: &NetworkRef,
    mark: &Mark,
) -> Result<(), DriverError> {
    let _alone = REWRITING.write().await;
    let text = connection
        .network_get_xml_desc(network, NetworkXml::INACTIVE)
        .await
        .during(act)?;
    let mut definition = parse(act, &text)?;
    let before = definition.to_string();
    mark_xml::put(&mut definition, mark);
    if definition.to_string() != before {
        connection
            .network_define_xml(&definition.to_string())
            .await
            .during(act)?;
    }
    Ok(())
}

pub(crate) async fn remove(host: &Host, id: &ObjectId) -> Result<(), DriverError> {
    let act = act("removing", id);
    let session = host.session().await?;
    let network = reference(&act, id)?;
    // Stopped first: undefined while it is up it would live on without a definition. One that is down already, or
    // gone, is fine.
    let stopped = session.connection.network_destroy(&network).await;
    if !is_wrong_state(&stopped) && !stopped.as_ref().is_err_and(Error::is_no_network) {
        stopped.during(&act)?;
    }
    match session.connection.network_undefine(&network).await {
        Err(error) if error.is_no_network() => Ok(()),
        result => result.during(&act),
    }
}

pub(crate) async fn leases(host: &Host, id: &ObjectId) -> Result<Vec<DhcpLease>, DriverError> {
    let act = act("reading the leases of", id);
    let session = host.session().await?;
    leases_of(&session.connection, &reference(&act, id)?)
        .await
        .during(&act)
}

/// The leases of a network.
pub(crate) async fn leases_of(
    connection: &Connection,
    network: &NetworkRef,
) -> Result<Vec<DhcpLease>, Error> {
    let leases = match connection.network_get_dhcp_leases(network, None).await {
        // A network without a bridge of its own has none to tell.
        Err(error) if error.is_unsupported() || error.is_invalid_state() => Vec::new(),
        result => result?,
    };
    let lease = |lease: libvirt_rpc::DhcpLease| {
        Some(DhcpLease {
            mac: lease.mac?.parse().ok()?,
            address: lease.address.parse().ok()?,
            hostname: lease.hostname,
            ends: u64::try_from(lease.expiry).ok().filter(|ends| *ends > 0),
        })
    };
    Ok(leases.into_iter().filter_map(lease).collect())
}

/// The addresses that leases give a NIC, IPv4 first.
pub(crate) fn addresses(leases: &[DhcpLease], mac: MacAddr) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = leases
        .iter()
        .filter(|lease| lease.mac == mac)
        .map(|lease| lease.address)
        .collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses
}
