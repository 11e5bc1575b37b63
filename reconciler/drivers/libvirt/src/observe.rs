//! One machine, read now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::ids::{Bytes, ObjectId};
use labyard_driver::mark::XML_NAMESPACE;
use labyard_driver::observed::{
    Attachment, Autostart, Capacity, Detail, Ended, MachineDetail, MarkState, ObservedMachine, Power,
};
use libvirt_rpc::flags::{Affect, DomainXml, GetStats, StatsTypes};
use libvirt_rpc::{
    Connection, DomainRef, DomainState, DomainStats, Error, ErrorCode, MetadataKind, ShutoffReason,
    StateAndReason,
};

use crate::errors::{Act, During};
use crate::host::{Host, Session, parse};
use crate::machine_xml::{self, Sizes};
use crate::machines::{act, is_active, reference};
use crate::{mark_xml, networks, pools, volumes};

/// libvirt's reason for a paused machine that is coming up.
const PAUSED_STARTING_UP: i32 = 11;
/// A definition is told at once, unless another change of the machine is under way or stuck.
pub(crate) const READ: Duration = Duration::from_secs(5);
/// Sizes of a running machine's disks come from QEMU.
pub(crate) const ASK_QEMU: Duration = Duration::from_millis(2500);

pub(crate) fn is_starting(state: &StateAndReason) -> bool {
    state.state == DomainState::Paused && state.reason == PAUSED_STARTING_UP
}

/// What a machine does. A start that is under way counts as running; a crash is one as long as its remains stand.
pub(crate) fn power(state: &StateAndReason, saved: bool) -> Power {
    match state.state {
        _ if is_starting(state) => Power::Running,
        DomainState::Paused | DomainState::PmSuspended => Power::Paused,
        DomainState::Crashed => Power::Crashed,
        _ if is_active(state) => Power::Running,
        _ if saved => Power::Saved,
        _ => Power::Stopped,
    }
}

/// How the last run of a machine that is off came to its end: virDomainShutoffReason.
pub(crate) fn ended(state: &StateAndReason) -> Option<Ended> {
    if is_active(state) {
        return None;
    }
    match ShutoffReason::from_raw(state.reason) {
        ShutoffReason::Shutdown => Some(Ended::ByGuest),
        ShutoffReason::Destroyed => Some(Ended::ByForce),
        ShutoffReason::Crashed => Some(Ended::Crashed),
        ShutoffReason::Failed | ShutoffReason::Daemon => Some(Ended::Failed),
        _ => None,
    }
}

/// The mark of the definition, without waiting for a change that is under way.
pub(crate) async fn mark(connection: &Connection, domain: &DomainRef) -> Result<MarkState, Error> {
    let ask =
        |affect| connection.domain_get_metadata(domain, MetadataKind::Element, Some(XML_NAMESPACE), affect);
    let mut answer = ask(Affect::CONFIG).await;
    if answer.as_ref().is_err_and(Error::is_invalid_state) {
        // Its definition was removed while it ran: only what runs has a mark.
        answer = ask(Affect::LIVE).await;
    }
    match answer {
        Ok(xml) => Ok(mark_xml::of_metadata(&xml)),
        Err(error) if error.is_no_metadata() => Ok(MarkState::None),
        Err(error) => Err(error),
    }
}

/// Whether an error means that the machine is busy or stuck, and not that anything is wrong with the host.
pub(crate) fn is_stall(error: &Error) -> bool {
    matches!(error, Error::Timeout { .. } | Error::NotSent { .. }) || error.is_busy()
}

/// The sizes of a machine's disks in its statistics.
pub(crate) fn sizes(stats: &DomainStats) -> Sizes {
    let count = stats
        .get("block.count")
        .and_then(|value| value.as_u64())
        .unwrap_or(0);
    let read = (0..count).filter_map(|index| {
        let target = stats.get(&format!("block.{index}.name"))?.as_text()?.to_owned();
        let size = stats
            .get(&format!("block.{index}.capacity"))
            .and_then(|value| value.as_u64());
        Some((target, size.map(Bytes)))
    });
    Sizes::Read(read.collect::<BTreeMap<_, _>>())
}

pub(crate) async fn machine(
    host: &Host,
    session: &Arc<Session>,
    id: &ObjectId,
) -> Result<ObservedMachine, DriverError> {
    let act = act("reading", id);
    let domain = reference(&act, id)?;
    let connection = &session.connection;
    let state = connection.domain_get_state(&domain).await.during(&act)?;
    let quick = connection.within(READ);
    let (definition, live, saved, autostart) = futures::join!(
        quick.domain_get_xml_desc(&domain, DomainXml::INACTIVE),
        async {
            match is_active(&state) {
                true => quick
                    .domain_get_xml_desc(&domain, DomainXml::empty())
                    .await
                    .map(Some),
                false => Ok(None),
            }
        },
        async {
            !is_active(&state) && matches!(quick.domain_has_managed_save_image(&domain).await, Ok(true))
        },
        quick.domain_get_autostart(&domain),
    );
    let power = power(&state, saved);
    let (definition, live) = match (definition, live) {
        (Ok(definition), Ok(live)) => (definition, live),
        (Err(error), _) | (_, Err(error)) if is_stall(&error) => {
            let mark = mark(connection, &domain).await.during(&act)?;
            // The call is stuck, and libvirt works at few of one connection at a time.
            host.abandon(session).await;
            let detail = Detail::Unknown(format!("it is busy or does not react: {error}"));
            return Ok(ObservedMachine {
                id: id.clone(),
                host_name: String::new(),
                mark,
                power,
                ended: ended(&state),
                size: None,
                autostart: Autostart::Off,
                detail,
            });
        }
        (Err(error), _) | (_, Err(error)) => return Err(act.failed(&error)),
    };
    let definition = parse(&act, &definition)?;
    let live = live.map(|live| parse(&act, &live)).transpose()?;
    let sizes = ask_sizes(&quick, &domain).await.during(&act)?;
    if sizes == Sizes::Unread {
        host.abandon(session).await;
    }
    let mark = mark_xml::of_definition(&definition);
    let mut pools = match mark.ours() {
        Some(mark) => {
            let names = mark.pools().into_iter().chain([host.pool.clone()]);
            pools::named(host, session, names.collect::<BTreeSet<_>>(), &act).await?
        }
        // Its disks may lie anywhere.
        None => pools::started(host, session, &act).await?.0,
    };
    let mut detail = machine_xml::detail(&definition, live.as_ref(), &sizes, &pools.places);
    pools::look_closer(&mut pools, host, session, &detail, &act).await?;
    if mark.ours().is_none() {
        ask_pools(host, &mut detail).await?;
    }
    let out_of_reach = mark
        .ours()
        .and_then(|mark| pools.out_of_reach(host, mark, &detail));
    if live.is_some() {
        add_leases(connection, &mut detail).await.during(&act)?;
    }
    Ok(ObservedMachine {
        id: id.clone(),
        host_name: definition.text_at(&["name"]).unwrap_or_default(),
        mark,
        power,
        ended: ended(&state),
        autostart: autostart_of(matches!(autostart, Ok(true))),
        size: Some(machine_xml::size(&definition)),
        detail: out_of_reach.map_or_else(|| Detail::Known(Box::new(detail)), Detail::Unknown),
    })
}

/// Whether it starts with the host, as libvirt tells it.
pub(crate) fn autostart_of(starts: bool) -> Autostart {
    if starts { Autostart::On } else { Autostart::Off }
}

/// Of a volume that a definition names with its pool only the pool tells the size while the machine is off.
async fn ask_pools(host: &Host, detail: &mut MachineDetail) -> Result<(), DriverError> {
    let disks = detail
        .disks
        .iter_mut()
        .filter(|disk| disk.capacity == Capacity::Unknown);
    for disk in disks {
        let (Some(pool), Some(volume)) = (&disk.pool, &disk.volume) else {
            continue;
        };
        disk.capacity = match volumes::volume(host, pool, volume).await {
            Ok(volume) => Capacity::Known(volume.capacity),
            Err(DriverError::Missing { .. }) => Capacity::Missing,
            Err(error) => return Err(error),
        };
    }
    Ok(())
}

async fn ask_sizes(connection: &Connection, domain: &DomainRef) -> Result<Sizes, Error> {
    let stats = connection
        .within(ASK_QEMU)
        .domain_list_get_stats(std::slice::from_ref(domain), StatsTypes::BLOCK, GetStats::empty())
        .await;
    match stats {
        Ok(stats) => Ok(stats.first().map_or(Sizes::Unread, sizes)),
        Err(error) if is_stall(&error) => Ok(Sizes::Unread),
        // It ended, or went on to something else, while it was being read.
        Err(error) if error.is_invalid_state() || error.code() == Some(ErrorCode::OperationFailed) => {
            Ok(Sizes::Unread)
        }
        Err(error) => Err(error),
    }
}

async fn add_leases(connection: &Connection, detail: &mut MachineDetail) -> Result<(), Error> {
    let names: std::collections::BTreeSet<String> =
        machine_xml::networks_of(detail).map(str::to_owned).collect();
    for name in names {
        let network = match connection.network_lookup_by_name(&name).await {
            Ok(network) => network,
            Err(error) if error.is_no_network() => continue,
            Err(error) => return Err(error),
        };
        let leases = networks::leases_of(connection, &network).await?;
        for nic in detail
            .nics
            .iter_mut()
            .filter(|nic| nic.attachment == Attachment::Network(name.clone()))
        {
            nic.addresses = networks::addresses(&leases, nic.mac);
        }
    }
    Ok(())
}

/// An error that is nobody's fault: the object went while it was read.
pub(crate) fn went_away(error: &Error) -> bool {
    error.is_no_domain() || error.is_no_network()
}

/// Words for reading everything.
pub(crate) fn reading_all() -> Act {
    Act::on("reading", "the host")
}
