//! The simulated host: its state behind a lock, and the way of every call to it with latency and faults.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt as _;
use labyard_driver::ids::{Bytes, PoolName, VolumeName};
use labyard_driver::{DriverError, HostEvent, UploadStream};
use tokio::sync::{broadcast, watch};

use crate::clock::{Clock, Millis};
use crate::faults::{Edge, Fault, FaultKind, Orders};
use crate::oplog::{Log, Operation, Outcome};
use crate::random::Chance;
use crate::request::{Reply, Request, Verb};
use crate::settings::Settings;
use crate::state::{ConsoleStep, Filling, ForeignHand, State};

/// Events that a receiver may fall behind before it loses some.
const EVENTS_KEPT: usize = 4096;

/// A simulated host. Clones are the same host; it lives as long as one of them or of its drivers.
#[derive(Clone, Debug)]
pub struct SimHost {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    core: Mutex<Core>,
    clock: Clock,
    events: broadcast::Sender<HostEvent>,
    daemon: watch::Sender<Daemon>,
    crashes: watch::Sender<u64>,
    version: watch::Sender<u64>,
    callers: AtomicU64,
}

#[derive(Debug)]
struct Core {
    state: State,
    orders: Orders,
    log: Log,
    chance: Chance,
    /// The next waking that is already under way.
    waking: Option<Millis>,
}

/// The program on the host that answers calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Daemon {
    /// Counts its starts: a call that sees it change has lost its connection.
    start: u64,
    health: Health,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Answers,
    Hangs,
    Down,
}

/// One driver of a host. A crash point silences it for ever, and only it.
#[derive(Debug)]
pub(crate) struct Caller {
    number: u64,
    life: watch::Sender<Life>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Alive,
    Dead,
}

impl Caller {
    async fn death(&self) {
        let mut life = self.life.subscribe();
        if life.wait_for(|life| *life == Life::Dead).await.is_err() {
            std::future::pending().await
        }
    }
}

/// What was decided about a call when it set out.
struct Ticket {
    number: u64,
    doing: String,
    fault: Option<FaultKind>,
    out: Duration,
    back: Duration,
    daemon: Daemon,
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
    pub fn set_latency(&self, latency: crate::Latency) {
        self.inner.lock().state.settings.latency = latency;
    }

    /// Changes what guests started from now on do.
    pub fn set_guests(&self, guest: crate::GuestSettings) {
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
    pub fn look(&self) -> labyard_driver::observed::Snapshot {
        self.inner.look(|state, now| state.snapshot(now))
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
            let result = work();
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
    pub(crate) fn read_console(
        &self,
        id: &labyard_driver::ids::ObjectId,
        run: u64,
        position: usize,
    ) -> Result<ConsoleStep, DriverError> {
        if self.inner.daemon.borrow().health == Health::Down {
            return Err(lost("reading the console", "the connection was closed"));
        }
        Ok(self
            .inner
            .look(|state, now| state.read_console(id, run, position, now)))
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic in a verb is a defect of the model; the state is plain data and stays readable for the report.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn restart(&self, health: Health) {
        self.daemon.send_modify(|daemon| {
            daemon.start += 1;
            daemon.health = health;
        });
        // Nobody listening is no failure.
        drop(self.events.send(HostEvent::Lost));
    }

    fn kill(&self, caller: &Caller) {
        caller.life.send_replace(Life::Dead);
        self.crashes.send_modify(|crashes| *crashes += 1);
    }

    fn call_deadline(&self) -> Duration {
        self.lock().state.settings.call_deadline
    }

    /// Waits for a call's answer no longer than its deadline, and for ever where its caller has died.
    async fn bounded<T>(
        &self,
        caller: &Caller,
        ticket: &Ticket,
        deadline: Duration,
        passage: impl Future<Output = Result<T, DriverError>>,
    ) -> Result<T, DriverError> {
        let call = async {
            let answer = tokio::time::timeout(deadline, passage).await;
            let result = answer.unwrap_or_else(|_| Err(lost(&ticket.doing, "the deadline has passed")));
            self.lock().log.end(ticket.number, Outcome::of(&result));
            result
        };
        tokio::select! {
            biased;
            () = caller.death() => std::future::pending().await,
            result = call => result,
        }
    }

    async fn set_out(&self, caller: &Caller, verb: Verb, subject: String) -> Result<Ticket, DriverError> {
        if *caller.life.borrow() == Life::Dead {
            std::future::pending::<()>().await;
        }
        let daemon = *self.daemon.borrow();
        if daemon.health == Health::Down {
            let message = "the simulated host's daemon is down".to_owned();
            return Err(DriverError::Unreachable { message });
        }
        let mut core = self.lock();
        let core = &mut *core;
        let latency = core.state.settings.latency;
        let (least, most) = (nanos(latency.least), nanos(latency.most));
        let time = Duration::from_nanos(core.chance.between(least, most));
        Ok(Ticket {
            doing: format!("{verb:?} {subject}"),
            fault: core.orders.hit(verb, &mut core.chance),
            number: core.log.begin(caller.number, verb, subject, self.clock.now()),
            out: time / 2,
            back: time - time / 2,
            daemon,
        })
    }

    async fn go_out(&self, caller: &Caller, ticket: &Ticket) -> Result<(), DriverError> {
        self.travel(ticket, ticket.out).await?;
        self.fault(caller, ticket, Edge::Before).await
    }

    async fn come_back(&self, caller: &Caller, ticket: &Ticket) -> Result<(), DriverError> {
        self.fault(caller, ticket, Edge::After).await?;
        self.travel(ticket, ticket.back).await
    }

    /// Waits out a latency and a hanging daemon; a restart meanwhile breaks the connection.
    async fn travel(&self, ticket: &Ticket, time: Duration) -> Result<(), DriverError> {
        let way = async {
            if !time.is_zero() {
                tokio::time::sleep(time).await;
            }
            let mut daemon = self.daemon.subscribe();
            let answers = daemon
                .wait_for(|daemon| daemon.health == Health::Answers)
                .await
                .is_ok();
            if !answers {
                std::future::pending().await
            }
        };
        tokio::select! {
            biased;
            () = self.broken(ticket) => Err(lost(&ticket.doing, "the connection was closed")),
            () = way => Ok(()),
        }
    }

    /// Waits until the daemon that the call was made to is no more.
    async fn broken(&self, ticket: &Ticket) {
        let mut daemon = self.daemon.subscribe();
        if daemon
            .wait_for(|daemon| daemon.start != ticket.daemon.start)
            .await
            .is_err()
        {
            std::future::pending().await
        }
    }

    async fn fault(&self, caller: &Caller, ticket: &Ticket, edge: Edge) -> Result<(), DriverError> {
        let doing = &ticket.doing;
        match &ticket.fault {
            Some(FaultKind::Fail(at, failure)) if *at == edge => Err(failure.error(doing)),
            Some(FaultKind::LoseRequest) if edge == Edge::Before => {
                Err(lost(doing, "the connection was reset"))
            }
            Some(FaultKind::LoseReply) if edge == Edge::After => Err(lost(doing, "the connection was reset")),
            Some(FaultKind::Hang(at)) if *at == edge => std::future::pending().await,
            Some(FaultKind::CrashCaller(at)) if *at == edge => {
                self.kill(caller);
                std::future::pending().await
            }
            Some(FaultKind::RestartDaemon(at)) if *at == edge => {
                self.restart(Health::Answers);
                Err(lost(doing, "the connection was closed"))
            }
            Some(FaultKind::Delay(time)) if edge == Edge::Before => {
                tokio::time::sleep(*time).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn receive(
        self: &Arc<Self>,
        ticket: &Ticket,
        (pool, name): &(PoolName, VolumeName),
        length: Bytes,
        mut stream: UploadStream,
    ) -> Result<(), DriverError> {
        let mut upload = Upload::begin(self, pool, name, length)?;
        let source = |cause| DriverError::Source {
            what: format!("what is uploaded to volume {name}"),
            cause,
        };
        loop {
            let chunk = tokio::select! {
                () = self.broken(ticket) => return Err(lost(&ticket.doing, "the connection was closed")),
                chunk = stream.next() => chunk,
            };
            let Some(chunk) = chunk.transpose().map_err(source)? else {
                break;
            };
            if chunk.len() as u64 > upload.left {
                upload.take(&chunk[..usize::try_from(upload.left).unwrap_or(chunk.len())]);
                return Err(source(format!("it is longer than {length}").into()));
            }
            upload.take(&chunk);
            if let Some(FaultKind::CutUpload(after)) = ticket.fault
                && length.0 - upload.left >= after.0
            {
                return Err(lost(&ticket.doing, "the connection was reset"));
            }
            // A stream that is always ready must not starve everybody else.
            tokio::task::yield_now().await;
        }
        match upload.left {
            0 => Ok(()),
            left => Err(source(format!("it ended {left} bytes short of {length}").into())),
        }
    }

    fn apply(self: &Arc<Self>, request: &Request) -> Result<Reply, DriverError> {
        match request.verb().is_mutation() {
            true => self.change(|state, now| state.apply(request, now)),
            false => self.look(|state, now| state.apply(request, now)),
        }
    }

    /// Changes the state as it is now.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut State, Millis) -> T) -> T {
        self.look(|state, now| {
            state.touch();
            change(state, now)
        })
    }

    /// Brings the state up to now, reads it, and tells whom it concerns what has happened.
    fn look<T>(self: &Arc<Self>, read: impl FnOnce(&mut State, Millis) -> T) -> T {
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

/// An upload under way; however it ends, the volume is free again.
struct Upload<'a> {
    host: &'a Arc<Inner>,
    filling: Filling,
    left: u64,
}

impl<'a> Upload<'a> {
    fn begin(
        host: &'a Arc<Inner>,
        pool: &PoolName,
        name: &VolumeName,
        length: Bytes,
    ) -> Result<Self, DriverError> {
        let filling = host.change(|state, _| state.begin_upload(pool, name, length))?;
        Ok(Self {
            host,
            filling,
            left: length.0,
        })
    }

    fn take(&mut self, bytes: &[u8]) {
        self.left -= bytes.len() as u64;
        self.host.change(|state, _| state.fill(&self.filling, bytes));
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        self.host.change(|state, _| state.end_upload(&self.filling));
    }
}

/// What a caller is told whose answer did not come.
fn lost(doing: &str, message: &str) -> DriverError {
    DriverError::ReplyLost {
        doing: doing.to_owned(),
        message: message.to_owned(),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
