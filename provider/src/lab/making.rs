//! Pools and codes that this process makes, until Terraform has written them down.
//!
//! Between the store's commit and Terraform's state a killed run leaves an object that no state has. So it bears its
//! maker ([`labyard_labs::maker`]): this process, as others can look for it, by a lease that is renewed while the process
//! lives. At the end of a run that was not stopped the answered ones are recorded; a later run that finds its state to
//! have one does it otherwise. A create that meets one whose maker is dead takes it over; while the maker lives, it waits.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use labyard_driver::hold;
use labyard_driver::ids::UnixMillis;
use labyard_driver::mark::Lease;
use labyard_foreman::written::Found;
use labyard_labs::Refusal;
use labyard_labs::code::config::Meant;
use labyard_labs::code::keep::Kept;
use labyard_labs::ids::{CodeName, PoolName};
use labyard_labs::maker::{Maker, Stands, Thing};
use labyard_reconciler::identity::{OsRandom, new_token};
use labyard_reconciler::lease::{self, Holder, ProcTable};
use labyard_schema::access_code::AccessCode;
use labyard_schema::vm_pool::VmPool;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Lab, LabError, Work};

/// How long a living maker is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long the end of a run may take for what it records.
const RECORD: Duration = Duration::from_secs(2);

/// Whether Terraform has been told of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    NotYet,
    Answered,
}

#[derive(Clone, Debug)]
struct Held {
    thing: Thing,
    id: String,
    told: Told,
}

/// What this process makes.
pub struct Making {
    engine: String,
    held: Mutex<Vec<Held>>,
    renewing: Mutex<Option<JoinHandle<()>>>,
}

impl Default for Making {
    fn default() -> Self {
        Self {
            engine: new_token(&OsRandom).0,
            held: Mutex::default(),
            renewing: Mutex::default(),
        }
    }
}

/// What is made, and how it is put into a lab.
#[async_trait]
pub trait Make: Sync {
    /// What comes of it.
    type Made: Send;
    /// Which object it is.
    fn thing(&self) -> Thing;
    /// Makes it as it is meant.
    async fn put(&self, lab: &dyn Lab, meant: Meant) -> Result<Self::Made, LabError>;
    /// Who makes the one that is there.
    async fn there(&self, lab: &dyn Lab) -> Result<There, LabError>;
    /// The identity of what came.
    fn id(made: &Self::Made) -> &str;
}

/// What stands where something is to be made.
pub enum There {
    /// Nothing any more.
    Nothing,
    /// One with this maker; with none where it is written down.
    Made(Option<Maker>),
}

impl There {
    fn of(found: Result<Option<Maker>, LabError>) -> Result<Self, LabError> {
        match found {
            Ok(maker) => Ok(Self::Made(maker)),
            Err(LabError::Refused(Refusal::NoPool { .. } | Refusal::NoCode { .. })) => Ok(Self::Nothing),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Make for VmPool {
    type Made = (Found, Work);

    fn thing(&self) -> Thing {
        Thing::Pool(PoolName(self.name.clone()))
    }

    async fn put(&self, lab: &dyn Lab, meant: Meant) -> Result<Self::Made, LabError> {
        lab.put_pool(self, meant).await
    }

    async fn there(&self, lab: &dyn Lab) -> Result<There, LabError> {
        let found = lab.pool(&PoolName(self.name.clone())).await;
        There::of(found.map(|found| found.maker))
    }

    fn id(made: &Self::Made) -> &str {
        &made.0.pool.id
    }
}

#[async_trait]
impl Make for AccessCode {
    type Made = Kept;

    fn thing(&self) -> Thing {
        Thing::Code(CodeName(self.name.clone()))
    }

    async fn put(&self, lab: &dyn Lab, meant: Meant) -> Result<Self::Made, LabError> {
        lab.put_code(self, meant).await
    }

    async fn there(&self, lab: &dyn Lab) -> Result<There, LabError> {
        let found = lab.code(&CodeName(self.name.clone()), &Default::default()).await;
        There::of(found.map(|found| found.maker))
    }

    fn id(made: &Self::Made) -> &str {
        &made.id
    }
}

impl Making {
    /// This process as a maker, from now on for the term of a lease.
    fn maker(&self) -> Result<Maker, LabError> {
        let lease = lease::grant(&self.engine, &ProcTable, now());
        let text = serde_json::to_string(&lease).unwrap_or_default();
        Maker::parse(&text)
            .map_err(|why| LabError::Unsettled(format!("this process cannot say who it is: {why}")))
    }

    /// Whether a maker lives. Words that are no lease are of a program that is not known here: it may.
    fn holder(&self, maker: &Maker) -> Holder {
        match serde_json::from_str::<Lease>(maker.as_str()) {
            Ok(lease) => lease::holder(Some(&lease), &self.engine, &ProcTable, now()),
            Err(_) => Holder::Alive,
        }
    }

    /// Makes an object, or takes over what a maker left that is dead.
    pub async fn make<M: Make>(
        self: &Arc<Self>,
        lab: &Arc<dyn Lab>,
        wanted: &M,
        cancel: &CancellationToken,
    ) -> Result<M::Made, LabError> {
        let give_up = Instant::now() + PATIENCE;
        let mut left_by = None;
        loop {
            let maker = self.maker()?;
            let meant = match left_by.take() {
                Some(by) => Meant::Left { by, maker },
                None => Meant::Made(maker),
            };
            let exists = match wanted.put(lab.as_ref(), meant).await {
                Ok(made) => {
                    self.hold(lab, wanted.thing(), M::id(&made));
                    let thing = wanted.thing();
                    hold::come_to(place(&thing), thing.name(), cancel.cancelled()).await;
                    return Ok(made);
                }
                Err(error) if error.is_exists() => error,
                Err(error) => return Err(error),
            };
            let maker = match wanted.there(lab.as_ref()).await? {
                There::Nothing => continue,
                There::Made(None) => return Err(exists),
                There::Made(Some(maker)) => maker,
            };
            match self.holder(&maker) {
                Holder::Dead => {
                    left_by = Some(maker);
                    continue;
                }
                // Two resources of this very configuration.
                Holder::Ours => return Err(exists),
                Holder::Alive if Instant::now() >= give_up => {
                    return Err(being_made(&wanted.thing(), &maker));
                }
                Holder::Alive => {}
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = cancel.cancelled() => return Err(being_made(&wanted.thing(), &maker)),
            }
        }
    }

    /// Terraform has an object.
    pub fn answered(&self, thing: &Thing) {
        for held in self.held().iter_mut().filter(|held| held.thing == *thing) {
            held.told = Told::Answered;
        }
    }

    /// A state has the object of this identity; its maker did not come to say so.
    pub async fn known(&self, lab: &dyn Lab, thing: Thing, id: &str, maker: Option<&Maker>) {
        if maker.is_none_or(|maker| self.holder(maker) != Holder::Dead) {
            return;
        }
        let held = Held {
            thing,
            id: id.to_owned(),
            told: Told::Answered,
        };
        record(lab, &[held]).await;
    }

    /// The end of a run that was not stopped: what Terraform has is recorded, and nothing is held any more.
    pub async fn finish(&self, lab: &dyn Lab) {
        let mut held = std::mem::take(&mut *self.held());
        held.retain(|held| held.told == Told::Answered);
        record(lab, &held).await;
    }

    fn hold(self: &Arc<Self>, lab: &Arc<dyn Lab>, thing: Thing, id: &str) {
        self.held().push(Held {
            thing,
            id: id.to_owned(),
            told: Told::NotYet,
        });
        let mut renewing = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        if renewing.as_ref().is_none_or(JoinHandle::is_finished) {
            *renewing = Some(tokio::spawn(renewed(Arc::downgrade(self), lab.clone())));
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says of all that is held that its maker lives, as long as it does.
async fn renewed(making: Weak<Making>, lab: Arc<dyn Lab>) {
    let mut ticks = interval(lease::RENEWAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Some(making) = making.upgrade() else { return };
        let Ok(maker) = making.maker() else { return };
        let held = making.held().clone();
        for held in held {
            match lab.making(&held.thing, &held.id, Some(&maker)).await {
                Ok(Stands::Yes) => {}
                Ok(Stands::No) => {
                    tracing::warn!(thing = %held.thing, "another has it by now");
                    making.held().retain(|other| other.id != held.id);
                }
                Err(error) => {
                    tracing::warn!(thing = %held.thing, %error, "its maker's lease was not renewed");
                }
            }
        }
    }
}

/// Records what a state has, in bounded time: what is left for it is done by the next run that reads the state.
async fn record(lab: &dyn Lab, held: &[Held]) {
    let all = async {
        for held in held {
            match lab.making(&held.thing, &held.id, None).await {
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(thing = %held.thing, %error, "not recorded; the next run does it");
                }
            }
        }
    };
    if timeout(RECORD, all).await.is_err() {
        tracing::warn!("not all was recorded in time; the next run does it");
    }
}

/// Where a run can be held that has made it, and has told nobody (`LABYARD_FAULT`).
fn place(thing: &Thing) -> &'static str {
    match thing {
        Thing::Pool(_) => "pool-made",
        Thing::Code(_) => "code-made",
    }
}

fn being_made(thing: &Thing, maker: &Maker) -> LabError {
    let maker = match serde_json::from_str::<Lease>(maker.as_str()) {
        Ok(lease) => format!("process {}, engine {}", lease.pid, lease.engine),
        Err(_) => maker.as_str().to_owned(),
    };
    LabError::BeingMade {
        thing: thing.clone(),
        maker,
    }
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_process(making: &Making, pid: u32, until: u64) -> Maker {
        let lease = lease::grant(&making.engine, &ProcTable, now());
        let lease = Lease {
            engine: "another".to_owned(),
            pid,
            until: UnixMillis(until),
            ..lease
        };
        Maker::parse(&serde_json::to_string(&lease).unwrap()).unwrap()
    }

    #[test]
    fn a_maker_is_this_process_one_that_lives_or_one_that_is_gone() {
        let making = Making::default();
        assert_eq!(making.holder(&making.maker().unwrap()), Holder::Ours);
        let later = now().0 + 60_000;
        let own = std::process::id();
        assert_eq!(making.holder(&of_process(&making, own, later)), Holder::Alive);
        assert_eq!(making.holder(&of_process(&making, own, 0)), Holder::Dead);
        // No process has this id: it is above what Linux gives out.
        assert_eq!(making.holder(&of_process(&making, u32::MAX, later)), Holder::Dead);
        assert_eq!(making.holder(&Maker::parse("somebody").unwrap()), Holder::Alive);
    }
}
