//! A claim is made usable: its machines are put on a network of its own, where it has one; its credentials are written down, sealed, then put into its machines; then it is ready. While
//! it is paused its guests stand still, where their pools say so.

use crate::{
    Inner,
    build::object,
    credentials::{self, Entrance, entrance, user},
    hold::{Held, Hold},
    networks::NotConnected,
    outcome::{is_lost, told},
    turn::Tasks,
};
use labyard_driver::{guest::Secret, ids::HostName, screen::Callers};
use labyard_labs::{
    Refusal,
    claim::{
        self,
        admit::{self, Deed, Job, Made},
    },
    member::Member,
    pool::work::Appetite,
};
use labyard_reconciler::{
    EngineError,
    engine::{Admission, Bounds, Earlier, ObjectRef, Reserve},
    identity::Identity,
};
use labyard_store::event::Moment;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// Claims under way on a host at once: one that hangs holds up its own and no others'.
const ON_HOST: usize = 64;
/// How long one machine may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How often it is tried before the claim fails.
const ATTEMPTS: i64 = 8;

/// How it ended.
enum Ended {
    Done,
    PutOff(String),
    GaveUp(String),
    Lost,
}

impl Inner {
    /// Takes the claims that wait for it and begins to make them usable.
    pub(crate) async fn take_claims(self: &Arc<Self>, tasks: &mut Tasks) -> Result<(), Refusal> {
        let hosts = || self.engine.hosts().into_iter().map(|host| host.to_string());
        let room = hosts().map(|host| {
            let left = ON_HOST.saturating_sub(tasks.claims_on(&host));
            (host, left)
        });
        let appetite = Appetite {
            reaches: Some(hosts().collect()),
            room: room.collect(),
            ..Appetite::default()
        };
        let (worker, now) = (self.worker.clone(), self.now());
        let jobs = self
            .store
            .write(move |write| admit::take(write, &worker, &appetite, now))
            .await?;
        for job in jobs {
            let inner = self.clone();
            let hosts: BTreeSet<String> = job
                .machines
                .iter()
                .filter_map(|machine| machine.host.clone())
                .collect();
            tasks.spawn_claim(&hosts, async move {
                let (hold, _keeping) = Hold::begin(&inner, Held::Claim(Box::new(job.clone())), now);
                let done = match job.deed {
                    Deed::LetIn => inner.make_usable(&job, &hold).await,
                    Deed::Hold | Deed::Wake => Ok(inner.stop_or_go(&job, &hold).await),
                };
                let ended = match done {
                    Err(Refusal::TakenOver { .. }) => Ended::Lost,
                    ended => ended?,
                };
                inner.conclude_claim(&job, ended).await
            });
        }
        Ok(())
    }

    async fn make_usable(&self, job: &Job, hold: &Arc<Hold>) -> Result<Ended, Refusal> {
        let mut machines = Vec::new();
        for member in &job.machines {
            machines.push((member, self.was_made_of(member).await?.vm));
        }
        let entrances: Vec<_> = machines
            .iter()
            .map(|(member, vm)| (member.id.clone(), entrance(vm)))
            .collect();
        let wanted = credentials::make(&entrances, job.public_key.as_deref(), &credentials::random);
        let made = match wanted {
            Err(why) => return Ok(Ended::PutOff(why)),
            Ok(None) => Made::default(),
            Ok(Some(made)) => {
                let (job, worker, now) = (job.clone(), self.worker.clone(), self.now());
                let write =
                    move |write: &mut labyard_store::Write<'_>| admit::make(write, &job, &made, &worker, now);
                self.store.write(write).await?
            }
        };
        let key = job.public_key.as_ref().or(made.public_key.as_ref());
        match self.connect(job, hold).await? {
            Ok(()) => {}
            Err(NotConnected::Machine(error)) => return Ok(ended(job, error)),
            Err(NotConnected::NoSubnet(wanted)) => {
                let why = format!(
                    "claim_network.cidr {} has no addresses left for it on its host: others have them all",
                    wanted.cidr
                );
                return Ok(match job.tries >= ATTEMPTS {
                    true => Ended::GaveUp(why),
                    false => Ended::PutOff(why),
                });
            }
        }
        let put_in = machines.iter().map(|(member, vm)| {
            let admission = Admission {
                user: user(vm),
                key: key.filter(|_| entrance(vm) == Entrance::Key).cloned(),
                password: made.passwords.get(&member.id).map(Secret::new),
                earlier: Earlier::Refused,
                callers: match job.claim.wants.reached_from(&member.pool) {
                    Some(from) => Callers::only([from]),
                    None => Callers::Anybody,
                },
            };
            self.let_in(member, admission, hold)
        });
        let all = futures::future::join_all(put_in).await;
        let Some(error) = all.into_iter().find_map(Result::err) else {
            return Ok(Ended::Done);
        };
        Ok(ended(job, error))
    }

    /// Lets the guests of a claim stand still, or run on.
    async fn stop_or_go(&self, job: &Job, hold: &Arc<Hold>) -> Ended {
        let of_it = |member: &&Member| job.claim.wants.suspend.contains(&member.pool);
        let all = job.machines.iter().filter(of_it).map(async |member| {
            let object = known(member)?;
            let bounds = self.for_claim(hold);
            let done = async {
                match job.deed {
                    Deed::Hold => self.engine.hold_machine(&object, bounds).await,
                    _ => self.engine.wake_machine(&object, bounds).await,
                }
            };
            within((&object.host, object.name.as_str()), done).await
        });
        let all = futures::future::join_all(all).await;
        match all.into_iter().find_map(Result::err) {
            Some(error) => ended(job, error),
            None => Ended::Done,
        }
    }

    pub(crate) fn for_claim(&self, hold: &Arc<Hold>) -> Bounds {
        Bounds {
            cancel: hold.lost.clone(),
            limit: LIMIT,
            reserve: Reserve::Named,
            fence: Some(hold.clone()),
        }
    }

    async fn let_in(&self, member: &Member, admission: Admission, hold: &Arc<Hold>) -> Result<(), NotDone> {
        let object = known(member)?;
        let admitted = self.engine.admit(&object, &admission, self.for_claim(hold));
        within((&object.host, object.name.as_str()), admitted).await
    }

    async fn conclude_claim(&self, job: &Job, ended: Ended) -> Result<(), Refusal> {
        let (job, worker, now) = (job.clone(), self.worker.clone(), self.now());
        let told = self
            .store
            .write(move |write| match &ended {
                Ended::Done => match job.deed {
                    Deed::LetIn => {
                        admit::ready(write, &job, &worker, now)?;
                        claim::asked_at(write, &job.claim.id).map(Some)
                    }
                    Deed::Hold => admit::stopped(write, &job, &worker, now).map(|_| None),
                    Deed::Wake => admit::woken(write, &job, &worker, now).map(|_| None),
                },
                Ended::PutOff(why) => {
                    admit::put_off(write, &job, why, again(&job, now), &worker, now).map(|()| None)
                }
                Ended::GaveUp(why) => admit::give_up(write, &job, why, &worker, now).map(|()| None),
                Ended::Lost => {
                    admit::put_off(write, &job, "its worker ended", now, &worker, now).map(|()| None)
                }
            })
            .await;
        match told {
            Err(Refusal::TakenOver { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(asked) => {
                let after = asked.map(|asked| self.now().0.saturating_sub(asked.0));
                let after = after.and_then(|ms| u64::try_from(ms).ok());
                after
                    .into_iter()
                    .for_each(|ms| self.meter.claim_ready(Duration::from_millis(ms)));
                Ok(())
            }
        }
    }
}

/// Why something was not done with a machine.
pub(crate) enum NotDone {
    Engine(EngineError),
    Unknown(String),
}

fn ended(job: &Job, error: NotDone) -> Ended {
    match error {
        NotDone::Engine(error) if is_lost(&error) => Ended::Lost,
        NotDone::Engine(error) => {
            let in_other_hands = matches!(error.root(), EngineError::InOtherHands { .. });
            match job.deed {
                Deed::LetIn if in_other_hands || job.tries >= ATTEMPTS => {
                    Ended::GaveUp(told(&error.to_string()))
                }
                // Nobody misses anything while a paused guest still runs; and what somebody works on in one that stands
                // still is his until his claim ends, however long its host takes.
                Deed::LetIn | Deed::Hold | Deed::Wake => Ended::PutOff(told(&error.to_string())),
            }
        }
        NotDone::Unknown(why) => Ended::GaveUp(why),
    }
}

/// A machine as the store knows it on its host.
pub(crate) fn known(member: &Member) -> Result<ObjectRef, NotDone> {
    let identity: Option<Identity> = member
        .identity
        .as_ref()
        .and_then(|identity| serde_json::from_value(identity.clone()).ok());
    match (&member.host, identity) {
        (Some(host), Some(identity)) => Ok(object(member, &HostName(host.clone()), Some(identity))),
        _ => Err(NotDone::Unknown(format!(
            "the store does not know where machine {} is",
            member.name
        ))),
    }
}

/// What is done with one machine or network, no longer than it may take.
pub(crate) async fn within<T>(
    (host, what): (&HostName, &str),
    deed: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, NotDone> {
    match tokio::time::timeout(LIMIT, deed).await {
        Ok(done) => done.map_err(NotDone::Engine),
        Err(_) => Err(NotDone::Engine(EngineError::Unknown {
            host: host.clone(),
            what: what.to_owned(),
            why: format!("nothing came of it within {} s", LIMIT.as_secs()),
        })),
    }
}

/// Somebody waits for it: soon, and then less soon.
fn again(job: &Job, now: Moment) -> Moment {
    let wait = 1_000_i64 << job.tries.clamp(0, 4);
    Moment(now.0.saturating_add(wait))
}
