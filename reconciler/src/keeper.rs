//! Keeps what this process builds: renews the leases while it lives, and at the end tells the hosts which objects a
//! state has taken.
//!
//! An object is *held* from its record on; it is *answered* when the call that built it has returned to Terraform.
//! At the end of a run that was not stopped every answered object is confirmed; the others stay unconfirmed, and
//! the next run adopts them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use labyard_driver::Driver;
use labyard_driver::ids::ObjectId;
use labyard_driver::mark::{Mark, Ownership};
use tokio::time::{MissedTickBehavior, interval};

use crate::engine::Deps;
use crate::lease;
use crate::record::Record;

/// Whether Terraform has been told of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Its call is still under way.
    NotYet,
    /// Its call has returned.
    Answered,
}

struct Held {
    record: Arc<Record>,
    renewals: Arc<dyn Driver>,
    told: Told,
}

/// The objects that this process builds.
#[derive(Default)]
pub struct Keeper {
    held: Mutex<HashMap<ObjectId, Held>>,
    running: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Keeper {
    /// Keeps an object's lease from now on.
    pub fn hold(self: &Arc<Self>, record: Arc<Record>, renewals: Arc<dyn Driver>, deps: &Arc<Deps>) {
        let id = record.id.clone();
        self.held().insert(
            id,
            Held {
                record,
                renewals,
                told: Told::NotYet,
            },
        );
        self.run(deps);
    }

    /// Terraform has the object's token.
    pub fn answered(&self, id: &ObjectId) {
        if let Some(held) = self.held().get_mut(id) {
            held.told = Told::Answered;
        }
    }

    /// Whether Terraform has been told of an object that this process builds.
    pub fn told(&self, id: &ObjectId) -> Option<Told> {
        self.held().get(id).map(|held| held.told)
    }

    /// The record of an object that this process builds.
    pub fn record(&self, id: &ObjectId) -> Option<Arc<Record>> {
        self.held().get(id).map(|held| held.record.clone())
    }

    /// The object is gone or no longer this process's.
    pub fn drop_hold(&self, id: &ObjectId) {
        self.held().remove(id);
    }

    /// Tells the hosts of every answered object that a state has it. In one go, side by side; what cannot be told
    /// is told by the next run that reads the state.
    pub async fn confirm_answered(&self, deps: &Deps) {
        let answered: Vec<_> = {
            let mut held = self.held();
            let ids: Vec<_> = held
                .iter()
                .filter(|(_, h)| h.told == Told::Answered)
                .map(|(id, _)| id.clone())
                .collect();
            ids.into_iter().filter_map(|id| held.remove(&id)).collect()
        };
        join_all(answered.iter().map(|held| async {
            if lapsed(&held.record, deps).await {
                tracing::warn!(object = %held.record.id, "not confirmed, another may have it; the next run looks");
            } else {
                confirm(&held.record, &held.renewals).await;
            }
        }))
        .await;
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(self: &Arc<Self>, deps: &Arc<Deps>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (keeper, deps) = (Arc::downgrade(self), deps.clone());
        *running = Some(tokio::spawn(async move {
            let mut ticks = interval(lease::RENEWAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let Some(keeper) = keeper.upgrade() else { return };
                keeper.renew(&deps).await;
            }
        }));
    }

    async fn renew(&self, deps: &Deps) {
        let all: Vec<_> = self
            .held()
            .values()
            .map(|h| (h.record.clone(), h.renewals.clone()))
            .collect();
        join_all(all.iter().map(|(record, renewals)| renew(record, renewals, deps))).await;
    }
}

/// Whether others may have taken the object: a computer that slept wakes up long after its leases ran out, and what
/// it remembers of a mark must not be written over another's.
async fn lapsed(record: &Record, deps: &Deps) -> bool {
    let until = record.lease_until().await;
    until.is_some_and(|until| until <= deps.clock.now())
}

/// One renewal, repeated while the host is busy, in the time before the next.
async fn renew(record: &Record, renewals: &Arc<dyn Driver>, deps: &Deps) {
    for _ in 0..3 {
        if lapsed(record, deps).await {
            tracing::warn!(object = %record.id, "the builder's lease ran out");
            return;
        }
        let renewed = lease::grant(&deps.engine, deps.processes.as_ref(), deps.clock.now());
        match record
            .update_through(renewals, |mark| mark.lease = Some(renewed))
            .await
        {
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(object = %record.id, %error, "the builder's lease was not renewed");
                if !error.is_transient() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
    }
}

/// A mark of an object that a state has.
pub(crate) fn confirmed(mark: &mut Mark) {
    mark.ownership = Ownership::Confirmed;
    mark.lease = None;
}

/// Writes into the mark that a state has the object.
pub async fn confirm(record: &Record, driver: &Arc<dyn Driver>) {
    if let Err(error) = record.update_through(driver, confirmed).await {
        tracing::warn!(object = %record.id, %error, "not confirmed; the next run does it");
    }
}
