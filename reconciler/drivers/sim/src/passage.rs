//! The way of a call to the host and back: latency, deadline, faults, crash points, a daemon that comes and goes.

use std::time::Duration;

use labyard_driver::{DriverError, HostEvent};
use tokio::sync::watch;

use crate::core::Inner;
use crate::faults::{Edge, FaultKind};
use crate::oplog::Outcome;
use crate::request::Verb;

/// The program on the host that answers calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Daemon {
    /// Counts its starts: a call that sees it change has lost its connection.
    pub(crate) start: u64,
    pub(crate) health: Health,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Answers,
    Hangs,
    Down,
}

/// One driver of a host. A crash point silences it for ever, and only it.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) number: u64,
    pub(crate) life: watch::Sender<Life>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Alive,
    Dead,
}

impl Caller {
    async fn death(&self) {
        let mut life = self.life.subscribe();
        if life.wait_for(|life| *life == Life::Dead).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What was decided about a call when it set out.
pub(crate) struct Ticket {
    pub(crate) number: u64,
    pub(crate) doing: String,
    pub(crate) fault: Option<FaultKind>,
    out: Duration,
    back: Duration,
    daemon: Daemon,
}

impl Inner {
    pub(crate) fn restart(&self, health: Health) {
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

    pub(crate) fn call_deadline(&self) -> Duration {
        self.lock().state.settings.call_deadline
    }

    /// Waits for a call's answer no longer than its deadline, and for ever where its caller has died.
    pub(crate) async fn bounded<T>(
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

    pub(crate) async fn set_out(
        &self,
        caller: &Caller,
        verb: Verb,
        subject: String,
    ) -> Result<Ticket, DriverError> {
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

    pub(crate) async fn go_out(&self, caller: &Caller, ticket: &Ticket) -> Result<(), DriverError> {
        self.travel(ticket, ticket.out).await?;
        self.fault(caller, ticket, Edge::Before).await
    }

    pub(crate) async fn come_back(&self, caller: &Caller, ticket: &Ticket) -> Result<(), DriverError> {
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
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = self.broken(ticket) => Err(lost(&ticket.doing, "the connection was closed")),
            () = way => Ok(()),
        }
    }

    /// Waits until the daemon that the call was made to is no more.
    pub(crate) async fn broken(&self, ticket: &Ticket) {
        let mut daemon = self.daemon.subscribe();
        if daemon
            .wait_for(|daemon| daemon.start != ticket.daemon.start)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
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
}

/// What a caller is told whose answer did not come.
pub(crate) fn lost(doing: &str, message: &str) -> DriverError {
    DriverError::ReplyLost {
        doing: doing.to_owned(),
        message: message.to_owned(),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
