//! The bulk read: a bounded number of calls, pipelined, that waits for no guest.
//!
//! States and definitions are read first, since libvirt has them at hand. Sizes of running disks come last: only they
//! are asked of QEMU, and one QEMU that hangs would hold up the answer for all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use labyard_driver::DriverError;
use labyard_driver::ids::ObjectId;
use labyard_driver::mark::Mark;
use labyard_driver::observed::{
    Attachment, Detail, HostFacts, MarkState, ObservedMachine, ObservedNetwork, ObservedVolume, Snapshot,
};
use libvirt_rpc::flags::{DomainXml, GetStats, ListDomains, ListNetworks, NetworkXml, StatsTypes};
use libvirt_rpc::{DomainRef, DomainState, DomainStats, NetworkRef, ShutoffReason, StateAndReason, Uuid};

use crate::errors::{Act, During, is_missing};
use crate::host::{Host, Session, parse};
use crate::machine_xml::{self, Sizes};
use crate::machines::is_active;
use crate::observe::{self, is_stall, power, reading_all, went_away};
use crate::places::Places;
use crate::sizes::read_sizes;
use crate::xml::Element;
use crate::{mark_xml, networks};

/// How long the definitions may take, and how much longer for each machine.
const DEFINITIONS: Duration = Duration::from_secs(5);
const EACH: Duration = Duration::from_millis(20);

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
}

pub(crate) async fn snapshot(host: &Host) -> Result<Snapshot, DriverError> {
    let act = reading_all();
    let session = host.session().await?;
    let (facts, states, networks, pool) = futures::try_join!(
        host.facts(&session),
        read_states(&session, &act),
        read_networks(&session, &act),
        read_pool(host, &session, &act),
    )?;
    let deadline = DEFINITIONS + EACH * u32::try_from(states.len()).unwrap_or(u32::MAX);
    let read = join_all(
        states
            .into_iter()
            .map(|(domain, state)| read_machine(&session, &act, domain, state, deadline)),
    );
    let readings: Vec<Reading> = read
        .await
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect();
    let ours: Vec<&Reading> = readings.iter().filter(|reading| reading.is_ours()).collect();
    let (saved, sizes) = futures::try_join!(
        read_saved(&session, &act, &ours),
        read_sizes(host, &session, &ours)
    )?;
    let places = pool.places(host);
    let machines = readings
        .into_iter()
        .map(|reading| machine(host, reading, &saved, &sizes, &places, &networks))
        .collect();
    Ok(Snapshot {
        host: HostFacts {
            pool: pool.there.then(|| host.pool.clone()),
            ..facts
        },
        machines,
        networks,
        volumes: pool.volumes,
    })
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

/// One machine; `None` if it went while it was read. Of one that does not run the definition holds the mark, so that
/// one call is enough.
async fn read_machine(
    session: &Session,
    act: &Act,
    domain: DomainRef,
    state: StateAndReason,
    deadline: Duration,
) -> Result<Option<Reading>, DriverError> {
    let connection = session.connection.within(deadline);
    let active = is_active(&state);
    let mark = match active {
        true => Some(observe::mark(&connection, &domain).await),
        false => None,
    };
    match &mark {
        Some(Ok(MarkState::Ours(_))) | None => {}
        Some(Ok(mark)) => {
            let mark = mark.clone();
            let definition = Err("it is not labyard's".to_owned());
            return Ok(Some(Reading {
                domain,
                state,
                mark,
                definition,
                live: None,
            }));
        }
        Some(Err(error)) if went_away(error) => return Ok(None),
        Some(Err(error)) => return Err(act.failed(error)),
    }
    let (definition, live) = futures::join!(
        connection.domain_get_xml_desc(&domain, DomainXml::INACTIVE),
        async {
            match active {
                true => connection
                    .domain_get_xml_desc(&domain, DomainXml::empty())
                    .await
                    .map(Some),
                false => Ok(None),
            }
        }
    );
    let (definition, live) = match (definition, live) {
        (Ok(definition), Ok(live)) => (
            parse(act, &definition)?,
            live.map(|live| parse(act, &live)).transpose()?,
        ),
        (Err(error), _) | (_, Err(error)) if went_away(&error) => return Ok(None),
        (Err(error), _) | (_, Err(error)) if is_stall(&error) => {
            let mark = match mark {
                Some(Ok(mark)) => mark,
                _ => observe::mark(&session.connection, &domain).await.during(act)?,
            };
            let definition = Err(format!("it is busy or does not react: {error}"));
            return Ok(Some(Reading {
                domain,
                state,
                mark,
                definition,
                live: None,
            }));
        }
        (Err(error), _) | (_, Err(error)) => return Err(act.failed(&error)),
    };
    // Mark and definition of the same instant.
    let mark = mark_xml::of_definition(&definition);
    Ok(Some(Reading {
        domain,
        state,
        mark,
        definition: Ok(definition),
        live,
    }))
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

fn machine(
    host: &Host,
    reading: Reading,
    saved: &BTreeSet<Uuid>,
    sizes: &BTreeMap<Uuid, Sizes>,
    places: &Places,
    networks: &[ObservedNetwork],
) -> ObservedMachine {
    let uuid = reading.domain.uuid;
    let detail = match (&reading.definition, reading.is_ours()) {
        (Ok(definition), true) => {
            let sizes = sizes.get(&uuid).unwrap_or(&Sizes::Unread);
            let mut detail =
                machine_xml::detail(definition, reading.live.as_ref(), sizes, places, &host.pool);
            if reading.live.is_some() {
                for nic in &mut detail.nics {
                    let Attachment::Network(name) = &nic.attachment else {
                        continue;
                    };
                    let network = networks.iter().find(|network| network.host_name == *name);
                    nic.addresses = network.map_or(Vec::new(), |n| networks::addresses(&n.leases, nic.mac));
                }
            }
            Detail::Known(Box::new(detail))
        }
        (Ok(_), false) => Detail::Unknown("it is not labyard's".to_owned()),
        (Err(why), _) => Detail::Unknown(why.clone()),
    };
    ObservedMachine {
        id: ObjectId(uuid.to_string()),
        host_name: reading.domain.name,
        mark: reading.mark,
        power: power(&reading.state, saved.contains(&uuid)),
        detail,
    }
}

async fn read_networks(session: &Session, act: &Act) -> Result<Vec<ObservedNetwork>, DriverError> {
    let list = |flags| session.connection.connect_list_all_networks(flags);
    let (all, active, autostart) = futures::try_join!(
        list(ListNetworks::empty()),
        list(ListNetworks::ACTIVE),
        list(ListNetworks::AUTOSTART)
    )
    .during(act)?;
    let has = |list: &[NetworkRef], uuid| list.iter().any(|network| network.uuid == uuid);
    let read = all.iter().map(|network| {
        let (active, autostart) = (has(&active, network.uuid), has(&autostart, network.uuid));
        read_network(session, act, network, active, autostart)
    });
    Ok(try_join_all(read).await?.into_iter().flatten().collect())
}

/// One network; `None` if it went while it was read.
async fn read_network(
    session: &Session,
    act: &Act,
    network: &NetworkRef,
    active: bool,
    autostart: bool,
) -> Result<Option<ObservedNetwork>, DriverError> {
    let (text, leases) = futures::join!(
        session
            .connection
            .network_get_xml_desc(network, NetworkXml::INACTIVE),
        async {
            match active {
                true => networks::leases_of(&session.connection, network).await,
                false => Ok(Vec::new()),
            }
        }
    );
    match (text, leases) {
        (Ok(text), Ok(leases)) => {
            let id = ObjectId(network.uuid.to_string());
            Ok(Some(networks::observed(
                id,
                &parse(act, &text)?,
                active,
                autostart,
                leases,
            )))
        }
        (Err(error), _) | (_, Err(error)) if went_away(&error) => Ok(None),
        (Err(error), _) | (_, Err(error)) => Err(act.failed(&error)),
    }
}

/// The configured pool.
struct PoolReading {
    there: bool,
    volumes: Vec<ObservedVolume>,
    directory: Option<String>,
}

impl PoolReading {
    fn places(&self, host: &Host) -> Places {
        let mut places = Places::default();
        if let Some(directory) = &self.directory {
            places.learn(&host.pool, directory);
        }
        places
    }
}

/// A pool that is not there, or not started, is told by the host's facts; verbs that need it say how to mend it.
async fn read_pool(host: &Host, session: &Session, act: &Act) -> Result<PoolReading, DriverError> {
    let absent = || PoolReading {
        there: false,
        volumes: Vec::new(),
        directory: None,
    };
    let pool = match host.pool(session, &host.pool, act).await {
        Ok(pool) => pool,
        Err(DriverError::Refused { .. }) => return Ok(absent()),
        Err(error) => return Err(error),
    };
    let listed = match session
        .connection
        .storage_pool_list_all_volumes(&pool.reference)
        .await
    {
        Ok(listed) => listed,
        Err(error) => {
            return match host.pool_failed(session, &host.pool, act, &error).await {
                DriverError::Refused { .. } => Ok(absent()),
                error => Err(error),
            };
        }
    };
    if let Some(first) = listed.first() {
        pool.learn_directory(&first.key);
    }
    let directory = match host.directory(session, &host.pool, act).await {
        Ok(directory) => Some(directory),
        Err(DriverError::Refused { .. }) => None,
        Err(error) => return Err(error),
    };
    let volumes = listed
        .into_iter()
        .map(|volume| ObservedVolume {
            name: labyard_driver::ids::VolumeName(volume.name),
            path: volume.key,
        })
        .collect();
    Ok(PoolReading {
        there: true,
        volumes,
        directory,
    })
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
