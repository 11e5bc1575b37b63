//! Hosts as a foreman uses them: so much at once on each, and a look whether they answer. One that hangs takes its own
//! slots and no others'.

use crate::{Inner, outcome::told};
use labyard_driver::ids::HostName;
use labyard_labs::{
    Refusal,
    host::{self, HostStanding},
    pool::amiss,
};
use labyard_reconciler::engine::Members;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// How long a host may take to answer before it counts as silent.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// How long a turn waits for that.
const SOON: Duration = Duration::from_millis(500);
/// How often a host is looked at.
const EVERY: Duration = Duration::from_secs(5);
/// How many hosts are read at once: what is read of a host, and what the store believes of it, is in memory for so many. One that
/// does not answer soon gives its turn to the next.
const AT_ONCE: usize = 8;
/// How long another foreman that answers for a host is believed to go on doing so.
const ANSWERED_FOR: Duration = Duration::from_secs(600);

/// Room for work on hosts.
pub(crate) struct Slots {
    per_host: usize,
    hosts: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

impl Slots {
    pub(crate) fn new(per_host: usize) -> Self {
        Self {
            per_host: per_host.max(1),
            hosts: Mutex::default(),
        }
    }

    fn of(&self, host: &str) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts
            .entry(host.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(self.per_host)))
            .clone()
    }

    /// Room on a host, if it has some now.
    pub(crate) fn try_on(&self, host: &str) -> Option<OwnedSemaphorePermit> {
        self.of(host).try_acquire_owned().ok()
    }

    /// How many pieces are under way on a host.
    pub(crate) fn under_way(&self, host: &str) -> usize {
        self.per_host - self.of(host).available_permits().min(self.per_host)
    }

    /// Hosts without room now.
    pub(crate) fn full(&self) -> BTreeSet<String> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let full = hosts.iter().filter(|(_, slots)| slots.available_permits() == 0);
        full.map(|(name, _)| name.clone()).collect()
    }

    /// How many pieces may be under way together.
    pub(crate) fn in_all(&self, hosts: usize) -> usize {
        self.per_host * hosts.max(1)
    }
}

/// When each host was looked at last, and turns to look at one.
pub(crate) struct Looks {
    hosts: Mutex<BTreeMap<HostName, Looked>>,
    turns: Semaphore,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            hosts: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
        }
    }
}

#[derive(Clone, Copy)]
enum Looked {
    UnderWay,
    At(Instant),
}

impl Looks {
    /// Those of these hosts that are to be looked at again; each look is under way from now on.
    fn due(&self, hosts: Vec<HostName>) -> Vec<HostName> {
        let mut looks = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = |host: &HostName| match looks.get(host) {
            None => true,
            Some(Looked::UnderWay) => false,
            Some(Looked::At(at)) => at.elapsed() >= EVERY,
        };
        let due: Vec<HostName> = hosts.into_iter().filter(is_due).collect();
        looks.extend(due.iter().map(|host| (host.clone(), Looked::UnderWay)));
        due
    }

    fn ended(&self, host: HostName) {
        let mut looks = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        looks.insert(host, Looked::At(Instant::now()));
    }
}

/// Hosts of machines that this foreman does not have, and when it said last that they do not answer. Another replica may
/// have them, and says otherwise at once: then it is believed for a while.
#[derive(Default)]
pub(crate) struct Strangers {
    looked: Mutex<Option<Instant>>,
    told: Mutex<BTreeMap<String, Instant>>,
}

impl Strangers {
    fn is_due(&self) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let due = looked.is_none_or(|at| at.elapsed() >= EVERY);
        if due {
            *looked = Some(Instant::now());
        }
        due
    }

    /// Whether to say again that a host does not answer.
    fn tells(&self, host: &str, standing: Option<&HostStanding>) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if standing.is_some_and(|standing| standing.silent_since.is_some()) {
            return true;
        }
        if told.get(host).is_some_and(|at| at.elapsed() < ANSWERED_FOR) {
            return false;
        }
        told.insert(host.to_owned(), Instant::now());
        true
    }
}

impl Inner {
    /// Hosts of machines that are in no configuration any more never answer: that is noted as of any other that does
    /// not, so that their machines are nobody's to have, and others are made in their place.
    pub(crate) async fn look_for_strangers(&self) -> Result<(), Refusal> {
        if !self.strangers.is_due() {
            return Ok(());
        }
        let (known, with_machines) = self
            .store
            .read(|read| Ok::<_, Refusal>((host::all(read)?, host::with_machines(read)?)))
            .await?;
        let ours: BTreeSet<String> = self.engine.hosts().iter().map(ToString::to_string).collect();
        let strangers: Vec<String> = with_machines
            .difference(&ours)
            .filter(|host| self.strangers.tells(host, known.get(*host)))
            .cloned()
            .collect();
        if strangers.is_empty() {
            return Ok(());
        }
        let (now, actor) = (self.now(), self.worker.name.clone());
        self.store
            .write(move |write| {
                for host in &strangers {
                    let why = "it is not configured here, and nobody who has it says that it answers";
                    host::seen(write, host, Err(why), now, &actor)?;
                }
                Ok(())
            })
            .await
    }

    /// Looks whether the hosts answer, those that were not looked at for a while. One that does not answer soon is not
    /// waited for: its look goes on beside everything else.
    pub(crate) async fn look_at_hosts(self: &Arc<Self>) {
        let looks = self.looks.due(self.engine.hosts()).into_iter().map(|host| {
            let inner = self.clone();
            tokio::spawn(async move {
                if let Err(error) = inner.look_at(&host).await {
                    tracing::warn!(%host, %error, "whether it answers was not noted");
                }
                inner.looks.ended(host);
            })
        });
        let all = futures::future::join_all(looks.collect::<Vec<_>>());
        let _ = tokio::time::timeout(SOON, all).await;
    }

    /// Looks at all hosts now, however long the last look is ago, and waits for all of them; says how many machines were
    /// not as they were left.
    pub(crate) async fn look_at_all(self: &Arc<Self>) -> Result<usize, Refusal> {
        let hosts = self.engine.hosts();
        let looks = hosts.iter().map(|host| self.look_at(host));
        let all = futures::future::join_all(looks).await;
        all.into_iter().sum()
    }

    async fn look_at(&self, host: &HostName) -> Result<usize, Refusal> {
        let turn = self.looks.turns.acquire().await.ok();
        let name = host.to_string();
        let (known, believed) = self
            .store
            .read({
                let name = name.clone();
                move |read| Ok::<_, Refusal>((host::all(read)?, amiss::free_on(read, &name)?))
            })
            .await?;
        let was_silent = known.get(&name).is_some_and(|host| host.silent_since.is_some());
        let (met, _turn) = self.answers(host, turn).await;
        self.meter.looked(&name, &met);
        let amiss = match &met {
            Ok(there) => self.put_right(host, believed, &there.machines).await?,
            Err(_) => 0,
        };
        if let Ok(there) = &met {
            self.renew_screens(host, &there.machines).await;
            self.take_strays_away(host, &there.networks).await?;
        }
        if met.is_ok() && !was_silent {
            return Ok(amiss);
        }
        let met = met.map(drop).map_err(|why| told(&why));
        let (now, actor) = (self.now(), self.worker.name.clone());
        self.store
            .write(move |write| {
                let met = met.as_ref().copied().map_err(String::as_str);
                host::seen(write, &name, met, now, &actor)
            })
            .await?;
        Ok(amiss)
    }

    /// What is on a host; the turn comes back where it did not take long.
    async fn answers<'t>(
        &self,
        host: &HostName,
        turn: Option<SemaphorePermit<'t>>,
    ) -> (Result<Members, String>, Option<SemaphorePermit<'t>>) {
        let members = tokio::time::timeout(ANSWERS_WITHIN, self.engine.members(host));
        tokio::pin!(members);
        let (met, turn) = match tokio::time::timeout(SOON, &mut members).await {
            Ok(met) => (met, turn),
            Err(_) => {
                drop(turn);
                (members.await, None)
            }
        };
        let met = match met {
            Ok(Ok(there)) => Ok(there),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", ANSWERS_WITHIN.as_secs())),
        };
        (met, turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use labyard_store::event::Moment;

    #[test]
    fn whoever_answers_for_a_host_that_is_not_configured_here_is_believed_for_a_while() {
        let strangers = Strangers::default();
        assert!(strangers.tells("lab2", None), "nobody has said anything of it");
        let silent = HostStanding {
            silent_since: Some(Moment(0)),
            ..HostStanding::default()
        };
        assert!(strangers.tells("lab2", Some(&silent)), "nobody answers for it");
        let answers = HostStanding::default();
        assert!(!strangers.tells("lab2", Some(&answers)), "another replica has it");
    }
}
