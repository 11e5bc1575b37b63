//! The simulated host as its drivers and its tests see it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use labyard_driver::ids::{Bytes, ObjectId, PoolName, ScreenName, VolumeName};
use labyard_driver::observed::Snapshot;
use labyard_driver::{DriverError, HostEvent, UploadStream};
use tokio::sync::{broadcast, watch};

use crate::clock::{Clock, Millis};
use crate::core::{Core, Inner};
use crate::faults::{Fault, FaultKind, Orders};
use crate::oplog::{Log, Operation};
use crate::passage::{Caller, Daemon, Health, Life, lost};
use crate::random::Chance;
use crate::request::{Reply, Request, Verb};
use crate::settings::{GuestSettings, Latency, Settings};
use crate::state::{ConsoleStep, ForeignHand, Seat, State};

/// Events that a receiver may fall behind before it loses some.
const EVENTS_KEPT: usize = 4096;

/// A simulated host. Clones are the same host; it lives as long as one of them or of its drivers.
#[derive(Clone, Debug)]
pub struct SimHost {
    inner: Arc<Inner>,
}

impl SimHost {
    /// A host with nothing on it, its clock at zero.
    pub fn new(settings: Settings) -> Self {
        Self::with_state(State::new(settings), 0)
    }

    pub(crate) fn with_state(state: State, clock: Millis) -> Self {
        let chance = Chance::new(state.settings.seed);
        let core = Core {
            state,
            orders: Orders::default(),
            log: Log::default(),
            chance,
            waking: None,
        };
        let daemon = Daemon {
            start: 0,
            health: Health::Answers,
        };
        let inner = Inner {
            core: Mutex::new(core),
            clock: Clock::starting_at(clock),
            events: broadcast::Sender::new(EVENTS_KEPT),
            daemon: watch::Sender::new(daemon),
            crashes: watch::Sender::new(0),
            version: watch::Sender::new(0),
            callers: AtomicU64::new(0),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Orders a fault.
    pub fn order(&self, fault: Fault) {
        self.inner.lock().orders.add(fault);
    }

    /// Forgets the faults that have not come yet.
    pub fn clear_faults(&self) {
        self.inner.lock().orders.clear();
    }

    /// Changes how long calls take from now on.
    pub fn set_latency(&self, latency: Latency) {
        self.inner.lock().state.settings.latency = latency;
    }

    /// Changes what guests started from now on do.
    pub fn set_guests(&self, guest: GuestSettings) {
        self.inner.lock().state.settings.guest = guest;
    }

    /// The calls so far, in the order of their arrival.
    pub fn operations(&self) -> Vec<Operation> {
        self.inner.lock().log.operations().to_vec()
    }

    /// How many calls of a verb there were.
    pub fn count(&self, verb: Verb) -> usize {
        let core = self.inner.lock();
        core.log
            .operations()
            .iter()
            .filter(|operation| operation.verb == verb)
            .count()
    }

    /// How many calls changed the host, or tried to.
    pub fn mutations(&self) -> usize {
        let core = self.inner.lock();
        core.log
            .operations()
            .iter()
            .filter(|operation| operation.verb.is_mutation())
            .count()
    }

    /// Forgets the calls so far.
    pub fn clear_operations(&self) {
        self.inner.lock().log.clear();
    }

    /// Waits until a crash point has silenced a caller, also one that did before.
    pub async fn caller_crashed(&self) {
        let mut crashes = self.inner.crashes.subscribe();
        if crashes.wait_for(|crashes| *crashes > 0).await.is_ok() {
            self.inner.crashes.send_replace(0);
        }
    }

    /// The daemon stops answering; calls wait for [`SimHost::resume`] or run into their deadline.
    pub fn hang(&self) {
        self.inner
            .daemon
            .send_modify(|daemon| daemon.health = Health::Hangs);
    }

    /// A hanging daemon answers again.
    pub fn resume(&self) {
        self.inner
            .daemon
            .send_modify(|daemon| daemon.health = Health::Answers);
    }

    /// The daemon ends: calls under way lose their answers, later ones are [`DriverError::Unreachable`]. Guests
    /// live on.
    pub fn stop_daemon(&self) {
        self.inner.restart(Health::Down);
    }

    /// The daemon is there again, after [`SimHost::stop_daemon`], or as a restart.
    pub fn start_daemon(&self) {
        self.inner.restart(Health::Answers);
    }

    /// Does what other people, programs and accidents do to a host.
    ///
    /// # Errors
    /// As the host refuses it.
    pub fn by_other_hand(&self, hand: &ForeignHand) -> Result<(), DriverError> {
        self.inner.change(|state, now| state.by_other_hand(hand, now))
    }

    /// The host's clock.
    pub fn now_ms(&self) -> u64 {
        self.inner.clock.now()
    }

    /// Everything on the host, read past latency, faults and the log.
    pub fn look(&self) -> Snapshot {
        self.inner.look(|state, now| state.snapshot(now))
    }

    /// Whether a caller from this address would get through to a running machine: its screen lets it in.
    pub fn lets_in(&self, machine: &ObjectId, from: std::net::IpAddr) -> bool {
        self.inner.look(|state, _| state.lets_in(machine, from))
    }

    /// The screens that stand, or are left, on the host.
    pub fn screens(&self) -> Vec<ScreenName> {
        self.inner.look(|state, _| state.screen_names())
    }

    pub(crate) fn state_now(&self) -> State {
        self.inner.look(|state, _| state.clone())
    }

    /// Counts the changes of the state.
    pub(crate) fn version(&self) -> watch::Receiver<u64> {
        self.inner.version.subscribe()
    }

    pub(crate) fn new_caller(&self) -> Caller {
        Caller {
            number: self.inner.callers.fetch_add(1, Ordering::Relaxed) + 1,
            life: watch::Sender::new(Life::Alive),
        }
    }

    pub(crate) async fn call(&self, caller: &Caller, request: &Request) -> Result<Reply, DriverError> {
        let inner = &self.inner;
        let ticket = inner.set_out(caller, request.verb(), request.subject()).await?;
        let work = || inner.apply(request);
        let passage = async {
            inner.go_out(caller, &ticket).await?;
            if ticket.fault == Some(FaultKind::Duplicate) {
                // Whatever became of the first delivery, the caller hears of the second.
                drop(work());
            }
            let result = match (work(), request) {
                (Ok(_), Request::ChangeNetwork(spec)) if ticket.fault == Some(FaultKind::Swallow) => {
                    let seen = inner.change(|state, now| state.swallow(&spec.id, now));
                    seen.map(|network| Reply::Network(Box::new(network)))
                }
                (result, _) => result,
            };
            inner.come_back(caller, &ticket).await?;
            result
        };
        inner
            .bounded(caller, &ticket, inner.call_deadline(), passage)
            .await
    }

    pub(crate) async fn upload(
        &self,
        caller: &Caller,
        target: (PoolName, VolumeName),
        length: Bytes,
        stream: UploadStream,
        deadline: Duration,
    ) -> Result<(), DriverError> {
        let inner = &self.inner;
        let ticket = inner.set_out(caller, Verb::Upload, target.1.to_string()).await?;
        let passage = async {
            inner.go_out(caller, &ticket).await?;
            let result = inner.receive(&ticket, &target, length, stream).await;
            inner.come_back(caller, &ticket).await?;
            result
        };
        inner.bounded(caller, &ticket, deadline, passage).await
    }

    pub(crate) async fn subscribe(
        &self,
        caller: &Caller,
    ) -> Result<broadcast::Receiver<HostEvent>, DriverError> {
        let inner = &self.inner;
        let ticket = inner.set_out(caller, Verb::Events, String::new()).await?;
        let passage = async {
            inner.go_out(caller, &ticket).await?;
            let receiver = inner.events.subscribe();
            inner.come_back(caller, &ticket).await?;
            Ok(receiver)
        };
        inner
            .bounded(caller, &ticket, inner.call_deadline(), passage)
            .await
    }

    /// Reads on from a console; part of the stream that was opened, so neither counted nor delayed.
    pub(crate) fn read_console(&self, seat: &Seat, position: usize) -> Result<ConsoleStep, DriverError> {
        if self.inner.daemon.borrow().health == Health::Down {
            return Err(lost("reading the console", "the connection was closed"));
        }
        Ok(self
            .inner
            .look(|state, now| state.read_console(seat, position, now)))
    }

    /// Types into a console; as [`SimHost::read_console`] part of the stream.
    pub(crate) fn press_keys(&self, seat: &Seat, keys: &[u8]) -> Result<(), DriverError> {
        if self.inner.daemon.borrow().health == Health::Down {
            return Err(lost("typing into the console", "the connection was closed"));
        }
        self.inner.change(|state, now| state.press_keys(seat, keys, now));
        Ok(())
    }

    /// Lets go of a console.
    pub(crate) fn leave_console(&self, seat: &Seat) {
        self.inner.look(|state, _| state.leave_console(seat));
    }
}
