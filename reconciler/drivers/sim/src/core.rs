//! The host's state behind its lock: brought up to the present at each access, and woken when a guest is due.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use labyard_driver::{DriverError, HostEvent};
use tokio::sync::{broadcast, watch};

use crate::clock::{Clock, Millis};
use crate::faults::Orders;
use crate::oplog::Log;
use crate::passage::Daemon;
use crate::random::Chance;
use crate::request::{Reply, Request};
use crate::state::State;

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) core: Mutex<Core>,
    pub(crate) clock: Clock,
    pub(crate) events: broadcast::Sender<HostEvent>,
    pub(crate) daemon: watch::Sender<Daemon>,
    pub(crate) crashes: watch::Sender<u64>,
    pub(crate) version: watch::Sender<u64>,
    pub(crate) callers: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) state: State,
    pub(crate) orders: Orders,
    pub(crate) log: Log,
    pub(crate) chance: Chance,
    /// The next waking that is already under way.
    pub(crate) waking: Option<Millis>,
}

impl Inner {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic in a verb is a defect of the model; the state is plain data and stays readable for the report.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn apply(self: &Arc<Self>, request: &Request) -> Result<Reply, DriverError> {
        match request.verb().is_mutation() {
            true => self.change(|state, now| state.apply(request, now)),
            false => self.look(|state, now| state.apply(request, now)),
        }
    }

    /// Changes the state as it is now.
    pub(crate) fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut State, Millis) -> T) -> T {
        self.look(|state, now| {
            state.touch();
            change(state, now)
        })
    }

    /// Brings the state up to now, reads it, and tells whom it concerns what has happened.
    pub(crate) fn look<T>(self: &Arc<Self>, read: impl FnOnce(&mut State, Millis) -> T) -> T {
        let mut core = self.lock();
        let now = self.clock.now();
        core.state.advance(now);
        let result = read(&mut core.state, now);
        // A start with a time to boot of zero is due at once.
        core.state.advance(now);
        for event in core.state.take_events() {
            // Nobody listening is no failure.
            drop(self.events.send(event));
        }
        if core.state.take_touched() {
            self.version.send_modify(|version| *version += 1);
        }
        self.wake_for_guests(&mut core);
        result
    }

    /// Sees to it that guests move on also while nobody calls.
    fn wake_for_guests(self: &Arc<Self>, core: &mut Core) {
        let Some(due) = core.state.next_due() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if core.waking.is_some_and(|waking| waking <= due) {
            return;
        }
        core.waking = Some(due);
        let (host, instant) = (Arc::downgrade(self), self.clock.instant_of(due));
        runtime.spawn(wake(host, due, instant));
    }
}

async fn wake(host: Weak<Inner>, due: Millis, instant: tokio::time::Instant) {
    tokio::time::sleep_until(instant).await;
    let Some(host) = host.upgrade() else { return };
    {
        let mut core = host.lock();
        if core.waking == Some(due) {
            core.waking = None;
        }
    }
    host.look(|_, _| ());
}
