//! The bulk read: a bounded number of calls, pipelined, that waits for no guest.
//!
//! States and definitions are read first, since libvirt has them at hand. Sizes of running disks come last: only they
//! are asked of QEMU, and one QEMU that hangs would hold up the answer for all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::TryFutureExt;
use futures::future::{join_all, try_join_all};
use labyard_driver::DriverError;
use labyard_driver::ids::{ObjectId, PoolName, VolumeName};
use labyard_driver::mark::Mark;
use labyard_driver::observed::{
    Attachment, Autostart, Detail, HostFacts, MarkState, ObservedMachine, ObservedNetwork, ObservedVolume,
    Snapshot,
};
use libvirt_rpc::flags::{DomainXml, GetStats, ListDomains, ListNetworks, NetworkXml, StatsTypes};
use libvirt_rpc::{
    Connection, DomainRef, DomainState, DomainStats, Error, NetworkRef, ShutoffReason, StateAndReason, Uuid,
    VolRef,
};
use tokio::time::timeout;

use crate::errors::{Act, During, is_missing};
use crate::host::{Host, Pool, Session, parse};
use crate::machine_xml::{self, Sizes};
use crate::machines::is_active;
use crate::observe::{self, ended, is_stall, power, reading_all, went_away};
use crate::pools::{self, Pools};
use crate::sizes::read_sizes;
use crate::xml::Element;
use crate::{mark_xml, network_reading, networks};

/// As many calls that may wait as libvirt works on for one connection.
const AT_ONCE: usize = 4;
const FOREIGN: &str = "it is not labyard's";

/// How long definitions may take. libvirt has them at hand, unless a change of the machine is under way or stuck.
#[derive(Clone, Copy)]
struct Patience {
    /// After this something holds a definition up.
    slow: Duration,
    /// After this it is given up.
    deadline: Duration,
}

impl Patience {
    fn with(machines: usize) -> Self {
        let machines = u32::try_from(machines).unwrap_or(u32::MAX);
        let each = Duration::from_millis(5).saturating_mul(machines);
        Self {
            slow: Duration::from_secs(1) + each,
            deadline: Duration::from_secs(5) + each,
        }
    }
}

/// A machine as far as it is read.
pub(crate) struct Reading {
    pub(crate) domain: DomainRef,
    pub(crate) state: StateAndReason,
    mark: MarkState,
    definition: Result<Element, String>,
    live: Option<Element>,
}

impl Reading {
    fn is_ours(&self) -> bool {
        matches!(self.mark, MarkState::Ours(_))
    }

    /// The machine with its definition, and with what runs, if it does.
    fn running(&self) -> Option<(&DomainRef, &Element, &Element)> {
        Some((&self.domain, self.definition.as_ref().ok()?, self.live.as_ref()?))
    }
}

/// Why a reading was broken off.
enum Broken {
    /// A definition is held up, and with it what comes behind it on the connection.
    HeldUp,
    /// It failed.
    Failed(DriverError),
}

impl From<DriverError> for Broken {
    fn from(error: DriverError) -> Self {
        Self::Failed(error)
    }
}

/// How definitions are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// A few at a time, so that one that is held up holds up no other.
    Careful,
    /// All at once, which costs one round trip for all, and ends where one is held up.
    AtOnce,
}

pub(crate) async fn snapshot(host: &Host) -> Result<Snapshot, DriverError> {
    let session = host.session().await?;
    let first = match host.is_afar() {
        true => Manner::AtOnce,
        false => Manner::Careful,
    };
    match read_all(host, &session, first).await {
        Err(Broken::HeldUp) => {}
        Err(Broken::Failed(error)) => return Err(error),
        Ok(snapshot) => return Ok(snapshot),
    }
    host.abandon(&session).await;
    let session = host.session().await?;
    match read_all(host, &session, Manner::Careful).await {
        Err(Broken::HeldUp) => Err(reading_all().busy("its machines are being changed")),
        Err(Broken::Failed(error)) => Err(error),
        Ok(snapshot) => Ok(snapshot),
    }
}

async fn read_all(host: &Host, session: &Arc<Session>, manner: Manner) -> Result<Snapshot, Broken> {
    let act = reading_all();
    let failed = |error: DriverError| Broken::Failed(error);
    let (facts, readings, networks, (mut pools, mut pool_facts)) = futures::try_join!(
        host.facts(session).map_err(failed),
        read_machines(session, &act, manner),
        network_reading::all(session, &act).map_err(failed),
        pools::started(host, session, &act).map_err(failed),
    )?;
    let ours: Vec<&Reading> = readings.iter().filter(|reading| reading.is_ours()).collect();
    let marks = ours.iter().filter_map(|reading| reading.mark.ours());
    pools::complete(host, session, &act, marks, (&mut pools, &mut pool_facts)).await?;
    let running = ours.iter().filter_map(|reading| reading.running());
    let (saved, autostart, sizes, pool, elsewhere, live) = futures::try_join!(
        read_saved(session, &act, &ours),
        read_autostart(session, &act, &ours),
        read_sizes(host, session, &ours),
        read_pool(host, session, &act),
        read_others(host, session, &act, &ours, &pools),
        network_reading::complete(session, &act, &networks, running.collect()),
    )?;
    let networks = network_reading::tell(networks, live);
    if ours.iter().any(|reading| reading.definition.is_err()) {
        // Calls of this connection are stuck, and libvirt works at few of one connection at a time.
        host.abandon(session).await;
    }
    let machines = readings
        .into_iter()
        .map(|reading| {
            let autostart = observe::autostart_of(autostart.contains(&reading.domain.uuid));
            let seen = machine(host, reading, &saved, &sizes, &pools, &networks);
            ObservedMachine { autostart, ..seen }
        })
        .collect();
    let mut volumes = pool.volumes;
    volumes.extend(elsewhere);
    Ok(Snapshot {
        host: HostFacts {
            pool: pool.fault.is_none().then(|| host.pool.clone()),
            pool_fault: pool.fault,
            pools: pool_facts,
            ..facts
        },
        machines,
        networks,
        volumes,
    })
}

/// All machines, as far as they are read without asking guests.
async fn read_machines(session: &Session, act: &Act, manner: Manner) -> Result<Vec<Reading>, Broken> {
    let states = read_states(session, act).await?;
    let patience = Patience::with(states.len());
    // So few fit through at once in any case.
    if manner == Manner::Careful || states.len() <= AT_ONCE {
        let read = states
            .into_iter()
            .map(|(domain, state)| read_machine(session, act, domain, state, patience));
        let read: Result<Vec<_>, _> = join_all(read).await.into_iter().collect();
        return Ok(read?.into_iter().flatten().collect());
    }
    let connection = session.connection.within(patience.slow).wide();
    let read = states
        .into_iter()
        .map(|(domain, state)| read_at_once(&connection, act, domain, state));
    Ok(try_join_all(read).await?.into_iter().flatten().collect())
}

/// One machine together with all others; `None` if it went while it was read.
async fn read_at_once(
    connection: &Connection,
    act: &Act,
    domain: DomainRef,
    state: StateAndReason,
) -> Result<Option<Reading>, Broken> {
    let definition = connection.domain_get_xml_desc(&domain, DomainXml::INACTIVE);
    let live = async {
        match is_active(&state) {
            true => connection
                .domain_get_xml_desc(&domain, DomainXml::empty())
                .await
                .map(Some),
            false => Ok(None),
        }
    };
    let (definition, live) = match futures::try_join!(definition, live) {
        Ok(both) => both,
        Err(error) if went_away(&error) => return Ok(None),
        Err(error) if is_stall(&error) => return Err(Broken::HeldUp),
        Err(error) => return Err(Broken::Failed(act.failed(&error))),
    };
    // What cannot be read has to be asked about more carefully.
    let definition = Element::parse(&definition).map_err(|_| Broken::HeldUp)?;
    let live = live.as_deref().map(Element::parse).transpose();
    let mark = mark_xml::of_definition(&definition);
    let is_ours = matches!(mark, MarkState::Ours(_));
    Ok(Some(Reading {
        domain,
        state,
        mark,
        definition: Ok(definition),
        live: live.map_err(|_| Broken::HeldUp)?.filter(|_| is_ours),
    }))
}

/// All domains with their states; never waits for a guest.
async fn read_states(session: &Session, act: &Act) -> Result<Vec<(DomainRef, StateAndReason)>, DriverError> {
    let stats = session
        .connection
        .connect_get_all_domain_stats(StatsTypes::STATE, GetStats::empty())
        .await;
    Ok(stats
        .during(act)?
        .into_iter()
        .map(|stats| (stats.domain.clone(), state(&stats)))
        .collect())
}

fn state(stats: &DomainStats) -> StateAndReason {
    let number = |field| {
        let value = stats.get(field).and_then(|value| value.as_u64());
        value.and_then(|value| i32::try_from(value).ok()).unwrap_or(0)
    };
    StateAndReason {
        state: DomainState::from_raw(number("state.state")),
        reason: number("state.reason"),
    }
}

/// One machine; `None` if it went while it was read. Its definition holds the mark, so that one call tells whether it
/// is ours; only where libvirt is slow to give it the mark is asked for by itself, which never waits.
async fn read_machine(
    session: &Session,
    act: &Act,
    domain: DomainRef,
    state: StateAndReason,
    patience: Patience,
) -> Result<Option<Reading>, DriverError> {
    let connection = session.connection.within(patience.deadline);
    let active = is_active(&state);
    let reading = |mark, definition, live| {
        Ok(Some(Reading {
            domain: domain.clone(),
            state: state.clone(),
            mark,
            definition,
            live,
        }))
    };
    let mut definition = std::pin::pin!(connection.domain_get_xml_desc(&domain, DomainXml::INACTIVE));
    let answer = match timeout(patience.slow, &mut definition).await {
        Ok(answer) => answer,
        Err(_) => match observe::mark(&session.connection, &domain).await {
            Ok(MarkState::Ours(_)) => definition.await,
            Ok(mark) => return reading(mark, Err(FOREIGN.to_owned()), None),
            Err(error) => Err(error),
        },
    };
    let (mark, definition) = match read(act, &session.connection, &domain, answer).await? {
        Some((mark, Ok(definition))) => (mark, definition),
        Some((mark, Err(why))) => return reading(mark, Err(why), None),
        None => return Ok(None),
    };
    if !matches!(mark, MarkState::Ours(_)) || !active {
        return reading(mark, Ok(definition), None);
    }
    let answer = connection.domain_get_xml_desc(&domain, DomainXml::empty()).await;
    match read(act, &session.connection, &domain, answer).await? {
        Some((_, Ok(live))) => reading(mark, Ok(definition), Some(live)),
        Some((_, Err(why))) => reading(mark, Err(why), None),
        None => Ok(None),
    }
}

/// A definition with the mark in it, or why it cannot be told, with the mark; `None` if the machine went.
async fn read(
    act: &Act,
    connection: &Connection,
    domain: &DomainRef,
    answer: Result<String, Error>,
) -> Result<Option<(MarkState, Result<Element, String>)>, DriverError> {
    let why = match answer {
        Ok(text) => match Element::parse(&text) {
            Ok(definition) => return Ok(Some((mark_xml::of_definition(&definition), Ok(definition)))),
            Err(error) => error.to_string(),
        },
        Err(error) if went_away(&error) => return Ok(None),
        Err(error) if is_stall(&error) => format!("it is busy or does not react: {error}"),
        Err(error) => return Err(act.failed(&error)),
    };
    match observe::mark(connection, domain).await {
        Ok(mark) => Ok(Some((mark, Err(why)))),
        Err(error) if went_away(&error) => Ok(None),
        Err(error) => Err(act.failed(&error)),
    }
}

/// Which machines have a saved memory image. Nobody is asked where every machine of ours is known to have none.
async fn read_saved(session: &Session, act: &Act, ours: &[&Reading]) -> Result<BTreeSet<Uuid>, DriverError> {
    let may_be_saved = |reading: &&Reading| {
        let reason = ShutoffReason::from_raw(reading.state.reason);
        let never_saved = matches!(
            reason,
            ShutoffReason::Shutdown
                | ShutoffReason::Destroyed
                | ShutoffReason::Crashed
                | ShutoffReason::Failed
        );
        !is_active(&reading.state) && !never_saved
    };
    if !ours.iter().any(may_be_saved) {
        return Ok(BTreeSet::new());
    }
    let saved = session
        .connection
        .connect_list_all_domains(ListDomains::MANAGED_SAVE)
        .await
        .during(act)?;
    Ok(saved.into_iter().map(|domain| domain.uuid).collect())
}

/// Which machines start with the host; nobody asks of others' machines.
async fn read_autostart(
    session: &Session,
    act: &Act,
    ours: &[&Reading],
) -> Result<BTreeSet<Uuid>, DriverError> {
    if ours.is_empty() {
        return Ok(BTreeSet::new());
    }
    let list = session
        .connection
        .connect_list_all_domains(ListDomains::AUTOSTART)
        .await;
    Ok(list.during(act)?.into_iter().map(|domain| domain.uuid).collect())
}

fn machine(
    host: &Host,
    reading: Reading,
    saved: &BTreeSet<Uuid>,
    sizes: &BTreeMap<Uuid, Sizes>,
    pools: &Pools,
    networks: &[ObservedNetwork],
) -> ObservedMachine {
    let uuid = reading.domain.uuid;
    let size = reading.definition.as_ref().ok().map(machine_xml::size);
    let detail = match (&reading.definition, reading.is_ours()) {
        (Ok(definition), true) => {
            let sizes = sizes.get(&uuid).unwrap_or(&Sizes::Unread);
            let mut detail = machine_xml::detail(definition, reading.live.as_ref(), sizes, &pools.places);
            if reading.live.is_some() {
                for nic in &mut detail.nics {
                    let Attachment::Network(name) = &nic.attachment else {
                        continue;
                    };
                    let network = networks.iter().find(|network| network.host_name == *name);
                    nic.addresses = network.map_or(Vec::new(), |n| networks::addresses(&n.leases, nic.mac));
                }
            }
            let out_of_reach = reading
                .mark
                .ours()
                .and_then(|mark| pools.out_of_reach(host, mark, &detail));
            out_of_reach.map_or_else(|| Detail::Known(Box::new(detail)), Detail::Unknown)
        }
        (Ok(_), false) => Detail::Unknown(FOREIGN.to_owned()),
        (Err(why), _) => Detail::Unknown(why.clone()),
    };
    ObservedMachine {
        id: ObjectId(uuid.to_string()),
        host_name: reading.domain.name,
        mark: reading.mark,
        power: power(&reading.state, saved.contains(&uuid)),
        ended: ended(&reading.state),
        size,
        autostart: Autostart::Off,
        detail,
    }
}

/// The configured pool.
struct PoolReading {
    /// Why it cannot be used.
    fault: Option<String>,
    volumes: Vec<ObservedVolume>,
}

/// A pool that is not there, or not started, is told by the host's facts; verbs that need it say how to mend it.
async fn read_pool(host: &Host, session: &Session, act: &Act) -> Result<PoolReading, DriverError> {
    let absent = |why| PoolReading {
        fault: Some(why),
        volumes: Vec::new(),
    };
    let pool = match host.pool(session, &host.pool, act).await {
        Ok(pool) => pool,
        Err(DriverError::Refused { message, .. }) => return Ok(absent(message)),
        Err(error) => return Err(error),
    };
    match list(session, &host.pool, &pool).await {
        Ok(volumes) => Ok(PoolReading { fault: None, volumes }),
        Err(error) => match host.pool_failed(session, &host.pool, act, &error).await {
            DriverError::Refused { message, .. } => Ok(absent(message)),
            error => Err(error),
        },
    }
}

async fn list(session: &Session, name: &PoolName, pool: &Pool) -> Result<Vec<ObservedVolume>, Error> {
    let listed = session
        .connection
        .storage_pool_list_all_volumes(&pool.reference)
        .await?;
    let volume = |volume: VolRef| ObservedVolume {
        pool: name.clone(),
        name: VolumeName(volume.name),
        path: volume.key,
    };
    Ok(listed.into_iter().map(volume).collect())
}

/// The volumes of the other pools in which something of ours lies, as far as those are up.
async fn read_others(
    host: &Host,
    session: &Session,
    act: &Act,
    ours: &[&Reading],
    pools: &Pools,
) -> Result<Vec<ObservedVolume>, DriverError> {
    let of_marks = ours
        .iter()
        .filter_map(|reading| reading.mark.ours())
        .flat_map(Mark::pools);
    let names: BTreeSet<PoolName> = of_marks
        .filter(|name| *name != host.pool && pools.is_up(name))
        .collect();
    let read = names.iter().map(async |name| {
        let pool = host.pool(session, name, act).await?;
        match list(session, name, &pool).await {
            Ok(volumes) => Ok(volumes),
            Err(error) if error.is_no_storage_pool() || error.is_invalid_state() => Ok(Vec::new()),
            Err(error) => Err(act.failed(&error)),
        }
    });
    Ok(try_join_all(read).await?.into_iter().flatten().collect())
}

pub(crate) async fn marks(host: &Host) -> Result<Vec<(ObjectId, Mark)>, DriverError> {
    let act = Act::on("reading", "the marks of the host");
    let session = host.session().await?;
    let connection = &session.connection;
    let (domains, networks) = futures::try_join!(
        connection.connect_list_all_domains(ListDomains::empty()),
        connection.connect_list_all_networks(ListNetworks::empty()),
    )
    .during(&act)?;
    let of_domain = |domain: DomainRef| async move {
        (
            ObjectId(domain.uuid.to_string()),
            observe::mark(connection, &domain).await,
        )
    };
    let of_network = |network: NetworkRef| {
        let act = &act;
        async move {
            let text = connection
                .network_get_xml_desc(&network, NetworkXml::INACTIVE)
                .await;
            let mark = text.map(|text| parse(act, &text).map(|element| mark_xml::of_definition(&element)));
            (ObjectId(network.uuid.to_string()), mark)
        }
    };
    let (domains, networks) = futures::join!(
        join_all(domains.into_iter().map(of_domain)),
        join_all(networks.into_iter().map(of_network)),
    );
    let mut marks = Vec::new();
    let domains = domains.into_iter().map(|(id, mark)| (id, mark.map(Ok)));
    for (id, mark) in domains.chain(networks) {
        match mark {
            Ok(mark) => match mark? {
                MarkState::Ours(mark) => marks.push((id, *mark)),
                MarkState::None => {}
                // It may speak for volumes that nobody else speaks for.
                MarkState::Unreadable(why) => return Err(act.refused(format!("{id}: {why}"))),
            },
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(act.failed(&error)),
        }
    }
    Ok(marks)
}
