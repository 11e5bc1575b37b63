//! Where a machine goes that names no host: to the least loaded one that has room, and room is reserved by the
//! machine's own record ([`crate::steps`]); what is full by then is passed over for the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::ids::{HostName, Namespace, ObjectName};
use labyard_driver::mark::{Kind, Ownership};
use labyard_driver::observed::{HostFacts, MachineSize, Offers, Snapshot};
use tokio::time::{Instant, sleep};

use super::embedded::describe;
use super::{Bounds, Embedded, Look, Reserve};
use crate::capacity::{HostCapacity, Need};
use crate::derived::Taken;
use crate::desired::DesiredMachine;
use crate::error::{Crowd, EngineError};
use crate::hooks::placement::{Hosts, Placement};
use crate::host::{Cordon, Host};
use crate::identity;
use crate::steps::Progress;
use crate::view::Networks;
use serde::{Deserialize, Serialize};

/// How often all hosts are asked again while others place machines at the same time.
const ROUNDS: u32 = 8;
const PAUSE: Duration = Duration::from_millis(300);

/// A machine that is to be placed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Want {
    /// The state it belongs to.
    pub namespace: Namespace,
    /// Its name.
    pub name: ObjectName,
    /// What it needs.
    pub need: Need,
    /// The networks that its NICs name.
    pub networks: BTreeSet<String>,
    /// Files of the host's own that its images are taken from.
    pub files: BTreeSet<String>,
    /// The hosts that it may be on; `None`: all.
    pub hosts: Option<BTreeSet<HostName>>,
}

impl Want {
    fn may_be_on(&self, host: &HostName) -> bool {
        self.hosts.as_ref().is_none_or(|hosts| hosts.contains(host))
    }
}

/// What is desired, on a host.
pub type DesiredOn<'a> =
    &'a (dyn Fn(&HostFacts, &Taken) -> Result<DesiredMachine, EngineError> + Send + Sync);
/// Takes what was reached, and where.
pub type ReportOn<'a> = &'a (dyn Fn(&HostName, &Progress) + Send + Sync);

/// A host that could take a machine.
struct Candidate {
    host: Arc<Host>,
    facts: HostFacts,
    /// What machines of other names have there.
    taken: Taken,
    /// The best first: one that has begun it already, then by load.
    rank: (Standing, u64),
}

/// How good a host is, or why it cannot take the machine.
type Judged = Result<(HostFacts, (Standing, u64)), String>;

/// What of the machine is on a host already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// Its record, by a run that did not come to its end.
    Begun,
    /// Nothing.
    Nothing,
}

impl Embedded {
    pub(super) async fn host_capacity(
        &self,
        host: &Host,
        look: Look<'_>,
    ) -> Result<HostCapacity, EngineError> {
        let (snapshot, pools) = match look {
            Look::Recent => (host.recent().await?, &BTreeSet::new()),
            Look::Now(pools) => (host.fresh().await?, pools),
        };
        let mut capacity = HostCapacity::of(&snapshot, &host.policy);
        for pool in capacity
            .facts
            .pools
            .iter_mut()
            .filter(|pool| pools.contains(&pool.name))
        {
            // What the host remembers of its room may be old; where it may not be asked, it has to do.
            if let Ok(room) = host.driver.pool_room(&pool.name).await {
                pool.room = Some(room);
            }
        }
        Ok(capacity)
    }

    pub(super) async fn machine_place(
        &self,
        want: &Want,
        desired: DesiredOn<'_>,
        bounds: Bounds,
        report: ReportOn<'_>,
    ) -> Result<HostName, EngineError> {
        let deadline = Instant::now() + bounds.limit;
        let bounds = Bounds {
            reserve: Reserve::Checked,
            ..bounds
        };
        let placement = Placement {
            deps: &self.deps,
            cancel: &bounds.cancel.clone(),
            deadline,
            operation: identity::new_token(self.deps.random.as_ref()).0,
        };
        let mut reasons = self.without_files(want).await?;
        let mut barred = self.barred(want, desired, &placement, &reasons).await?;
        barred.extend(reasons.keys().cloned());
        let began = Instant::now();
        for _ in 0..ROUNDS {
            let mut crowded = false;
            let mut refused = barred.clone();
            while let Some(candidate) = self.candidate(want, &refused, &mut reasons).await? {
                let host = candidate.host.name.clone();
                let desired = desired(&candidate.facts, &candidate.taken)?;
                if candidate.rank.0 == Standing::Nothing {
                    placement.chosen(&desired, began.elapsed());
                    if let Err(error) = placement.after(&desired, &host).await {
                        forget(&candidate.host, want);
                        return Err(error);
                    }
                }
                let bounds = Bounds {
                    limit: deadline.saturating_duration_since(Instant::now()),
                    ..bounds.clone()
                };
                let made = self
                    .machine_create(&host, &desired, bounds, &|progress| report(&host, progress))
                    .await;
                let Err(error) = made else { return Ok(host) };
                let EngineError::Full { why, crowd, .. } = error.root() else {
                    return Err(error);
                };
                forget(&candidate.host, want);
                crowded |= *crowd == Crowd::Passing;
                reasons.insert(host.clone(), why.clone());
                refused.insert(host);
            }
            if !crowded || Instant::now() >= deadline || bounds.cancel.is_cancelled() {
                break;
            }
            sleep(PAUSE).await;
        }
        let reasons: Vec<_> = reasons
            .iter()
            .map(|(host, why)| format!("{host}: {why}"))
            .collect();
        Err(EngineError::NoHost {
            what: describe(Kind::Machine, want.name.as_str()),
            reasons: reasons.join("; "),
        })
    }

    /// The hosts that the operator does not want it on: all but one, where a hook names that. A machine that a run before
    /// has begun is finished where it is, and nobody is asked.
    async fn barred(
        &self,
        want: &Want,
        desired: DesiredOn<'_>,
        placement: &Placement<'_>,
        lacking: &BTreeMap<HostName, String>,
    ) -> Result<BTreeSet<HostName>, EngineError> {
        if !placement.asks_before() {
            return Ok(BTreeSet::new());
        }
        let (mut hosts, mut facts) = (Hosts::new(), None);
        for (host, judged) in self.judged(want, &BTreeSet::new()).await? {
            let fits = match judged {
                Ok((_, (Standing::Begun, _))) => return Ok(BTreeSet::new()),
                Ok((of_host, _)) => {
                    facts.get_or_insert(of_host);
                    lacking.get(&host.name).cloned().map_or(Ok(()), Err)
                }
                Err(why) => Err(why),
            };
            hosts.insert(host.name.clone(), fits);
        }
        let Some(facts) = facts else {
            return Ok(BTreeSet::new());
        };
        let chosen = placement
            .before(&desired(&facts, &Taken::default())?, &hosts)
            .await?;
        Ok(match chosen {
            Some(chosen) => hosts.into_keys().filter(|host| *host != chosen).collect(),
            None => BTreeSet::new(),
        })
    }

    /// The hosts that certainly do not have a file which an image is taken from. One that has begun the machine is the
    /// place where it is finished, whatever it lacks.
    async fn without_files(&self, want: &Want) -> Result<BTreeMap<HostName, String>, EngineError> {
        let mut lacking = BTreeMap::new();
        if want.files.is_empty() {
            return Ok(lacking);
        }
        for (host, judged) in self.judged(want, &BTreeSet::new()).await? {
            if !matches!(judged, Ok((_, (Standing::Nothing, _)))) {
                continue;
            }
            for path in &want.files {
                let why = match host.driver.host_file(path).await {
                    Err(DriverError::Missing { .. }) => format!("it has no file {path:?}"),
                    Err(DriverError::Refused { message, .. }) => {
                        format!("its file {path:?} cannot be read: {message}")
                    }
                    _ => continue,
                };
                lacking.insert(host.name.clone(), why);
            }
        }
        Ok(lacking)
    }

    /// What each host that was not refused says to the machine.
    async fn judged(
        &self,
        want: &Want,
        refused: &BTreeSet<HostName>,
    ) -> Result<Vec<(&Arc<Host>, Judged)>, EngineError> {
        let asked = self
            .hosts
            .values()
            .filter(|host| want.may_be_on(&host.name) && !refused.contains(&host.name));
        let judged = asked.map(async |host| match read_for(host, want).await {
            Ok((snapshot, offers)) => Ok((host, judge(host, &snapshot, offers.as_ref(), want))),
            Err(error) => Ok((host, Err(passed_over(host, want, &error)?))),
        });
        futures::future::try_join_all(judged).await
    }

    /// The best host that was not refused; the machine counts there from now on, for all who place in this process.
    async fn candidate(
        &self,
        want: &Want,
        refused: &BTreeSet<HostName>,
        reasons: &mut BTreeMap<HostName, String>,
    ) -> Result<Option<Candidate>, EngineError> {
        let asked = self
            .hosts
            .values()
            .filter(|host| want.may_be_on(&host.name) && !refused.contains(&host.name));
        let read = asked.map(async |host| (host, read_for(host, want).await));
        let read = futures::future::join_all(read).await;
        // Chosen and counted without a pause in between: others of this process see it.
        let _choosing = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut best: Option<Candidate> = None;
        for (host, read) in read {
            let found = match read {
                Ok((snapshot, offers)) => {
                    let taken = Taken::on(&snapshot, &want.namespace, &want.name);
                    judge(host, &snapshot, offers.as_ref(), want).map(|(facts, rank)| (facts, taken, rank))
                }
                Err(error) => Err(passed_over(host, want, &error)?),
            };
            match found {
                Ok((facts, taken, rank)) if best.as_ref().is_none_or(|b| rank < b.rank) => {
                    best = Some(Candidate {
                        host: host.clone(),
                        facts,
                        taken,
                        rank,
                    });
                }
                Ok(_) => {}
                Err(why) => {
                    tracing::warn!(host = %host.name, machine = %want.name, %why, "passed over");
                    reasons.insert(host.name.clone(), why);
                }
            }
        }
        let Some(best) = best else { return Ok(None) };
        let mut placed = best.host.placed.lock().unwrap_or_else(PoisonError::into_inner);
        placed.insert((want.namespace.clone(), want.name.clone()), want.need.size);
        drop(placed);
        Ok(Some(best))
    }
}

/// Why a host that cannot be read is passed over: its operator has said that it takes nothing new. Any other may hold
/// the machine's record, and made elsewhere there would be two of it.
fn passed_over(host: &Host, want: &Want, error: &EngineError) -> Result<String, EngineError> {
    match host.policy.cordon {
        Cordon::Closed => Ok(format!("it is cordoned, and cannot be read: {error}")),
        Cordon::Open => Err(EngineError::HostSilent {
            host: host.name.clone(),
            what: describe(Kind::Machine, want.name.as_str()),
            why: error.to_string(),
        }),
    }
}

/// What a machine is judged by.
async fn read_for(host: &Host, want: &Want) -> Result<(Arc<Snapshot>, Option<Offers>), EngineError> {
    let snapshot = host.recent().await?;
    let offers = match want.need.asks_offers() {
        true => Some(host.offers().await?),
        false => None,
    };
    Ok((snapshot, offers))
}

fn forget(host: &Host, want: &Want) {
    let mut placed = host.placed.lock().unwrap_or_else(PoisonError::into_inner);
    placed.remove(&(want.namespace.clone(), want.name.clone()));
}

/// How good a host is for a machine, or why it cannot take it.
fn judge(host: &Host, snapshot: &Snapshot, offers: Option<&Offers>, want: &Want) -> Judged {
    let mut capacity = HostCapacity::of(snapshot, &host.policy);
    let named = |name: &ObjectName, namespace: &Namespace| {
        snapshot
            .machines
            .iter()
            .filter_map(|m| m.mark.ours())
            .find(|mark| mark.kind == Kind::Machine && mark.name == *name && mark.namespace == *namespace)
    };
    let placed = host.placed.lock().unwrap_or_else(PoisonError::into_inner);
    for ((namespace, name), size) in placed.iter() {
        let own = *namespace == want.namespace && *name == want.name;
        if !own && named(name, namespace).is_none() {
            capacity.taken = MachineSize {
                cpus: capacity.taken.cpus + size.cpus,
                memory: labyard_driver::ids::Mib(capacity.taken.memory.0 + size.memory.0),
            };
        }
    }
    drop(placed);
    match named(&want.name, &want.namespace).map(|mark| mark.ownership) {
        Some(Ownership::Building) => return Ok((capacity.facts, (Standing::Begun, 0))),
        Some(Ownership::Confirmed) => return Err("it has another machine of that name".to_owned()),
        None => {}
    }
    let networks = Networks {
        snapshot,
        namespace: Some(&want.namespace),
    };
    if let Some(missing) = want.networks.iter().find(|name| networks.resolve(name).is_none()) {
        return Err(format!("it has no network {missing:?}"));
    }
    match capacity.lacks(&want.need, offers) {
        Some(why) => Err(why),
        None => {
            let load = capacity.load(want.need.size);
            Ok((capacity.facts, (Standing::Nothing, load)))
        }
    }
}
