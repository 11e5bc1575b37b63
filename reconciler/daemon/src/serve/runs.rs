//! Does the work of operations on machines and networks in this process: each holds its operation in the store while it
//! works, writes down how far it is, stops when somebody wants it ended, and says how it ended.

mod rests;
mod room;
mod there;
mod work;

pub(crate) use rests::tag_of;
pub(crate) use room::{Room, Settled, of_lost, placed_name};
pub(crate) use there::{There, where_is};
pub(crate) use work::{Keeper, Placed, Work, image_shown};

use super::{app::App, handlers::Rests, met};
use crate::{
    failure::Failure,
    keep::{
        operations::Step,
        runs::{self, Ended, Held},
    },
};
use async_trait::async_trait;
use labyard_api::operation::Operation;
use labyard_labs::{
    ids::{Namespace, random_id},
    quota::Amount,
};
use labyard_reconciler::{
    EngineError,
    engine::{Bounds, Embedded, Fence, Reserve},
};
use labyard_store::{Store, StoreError, event::Moment};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::mpsc, task::JoinError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use work::Reached;

/// How often an operation is held on to, and looked whether somebody wants it ended elsewhere.
const HOLD_EVERY: Duration = Duration::from_secs(5);

/// How long work may take to stop that was told to.
const STOPS_WITHIN: Duration = Duration::from_secs(10);
/// How long at most between two attempts to write down how work ended.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How many where the store answers, and refuses it.
const ATTEMPTS: u32 = 6;

/// The work of this process.
pub(crate) struct Runs {
    /// Who it is, in the store.
    holder: String,
    /// What drives the hosts, where there are any.
    engine: Option<Arc<Embedded>>,
    going: Mutex<BTreeMap<String, CancellationToken>>,
    tasks: TaskTracker,
}

/// What a piece of work leaves, as engines write it.
pub(crate) type Made = Result<Value, EngineError>;

impl Runs {
    pub(crate) fn new(engine: Option<Arc<Embedded>>) -> Self {
        let name = random_id().unwrap_or_else(|_| std::process::id().to_string());
        Self {
            holder: format!("daemon-{name}"),
            engine,
            going: Mutex::default(),
            tasks: TaskTracker::new(),
        }
    }

    pub(crate) fn engine(&self) -> Option<&Arc<Embedded>> {
        self.engine.as_ref()
    }

    pub(crate) fn holder(&self) -> &str {
        &self.holder
    }

    /// Somebody wants an operation ended; where another process does it, that one looks for itself.
    pub(crate) fn end(&self, id: &str) {
        let going = self.going.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cancel) = going.get(id) {
            cancel.cancel();
        }
    }

    /// Does something to its end, also where nobody waits for it any more.
    pub(crate) async fn apart<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        self.tasks.spawn(work).await
    }

    /// Waits for the work that goes on, so long at most. What goes on then is told to stop where it is, and may write down
    /// how far it came.
    pub(crate) async fn ended(&self, within: Duration) {
        self.tasks.close();
        if tokio::time::timeout(within, self.tasks.wait()).await.is_ok() {
            return;
        }
        for cancel in self.going.lock().unwrap_or_else(PoisonError::into_inner).values() {
            cancel.cancel();
        }
        if tokio::time::timeout(STOPS_WITHIN, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("hosts have not answered; who asks for the same again goes on with it");
        }
    }
}

/// A piece of work whose operation was begun.
pub(crate) struct Task {
    pub(crate) work: Work,
    pub(crate) limit: Duration,
    /// What it means for the quota, and what was held before.
    pub(crate) room: Option<Room>,
    pub(crate) former: Option<Amount>,
    /// What the object has to be when the work begins.
    pub(crate) rests: Rests,
}

/// Does the work of an operation that was begun, beside everything else.
pub(crate) fn spawn(app: &Arc<App>, operation: &Operation, task: Task) {
    let Some(engine) = app.runs.engine().cloned() else {
        return;
    };
    // Not with the server: that lets what was asked for come to its end.
    let cancel = CancellationToken::new();
    let id = operation.id.clone();
    let mut going = app.runs.going.lock().unwrap_or_else(PoisonError::into_inner);
    going.insert(id.clone(), cancel.clone());
    drop(going);
    let app = Arc::clone(app);
    let namespace = Namespace(operation.namespace.clone());
    let tasks = app.runs.tasks.clone();
    tasks.spawn(async move {
        let bounds = Bounds {
            cancel: cancel.clone(),
            limit: task.limit,
            reserve: Reserve::Named,
            fence: Some(Arc::new(Lease::of(&app, &id))),
        };
        let run = Run {
            app: &app,
            id: &id,
            cancel: &cancel,
            namespace,
            room: task.room,
            former: task.former,
        };
        let made = run.watched(&engine, (task.work, &task.rests), bounds).await;
        run.over(&engine, made).await;
        let mut going = app.runs.going.lock().unwrap_or_else(PoisonError::into_inner);
        going.remove(&id);
    });
}

struct Run<'a> {
    app: &'a App,
    id: &'a str,
    cancel: &'a CancellationToken,
    namespace: Namespace,
    room: Option<Room>,
    former: Option<Amount>,
}

impl Run<'_> {
    /// Does the work, and meanwhile holds the operation and writes down how far it is.
    async fn watched(&self, engine: &Embedded, (work, rests): (Work, &Rests), bounds: Bounds) -> Made {
        let (send, mut receive) = mpsc::unbounded_channel::<Reached>();
        let mut done = std::pin::pin!(async {
            rests::allowed(engine, &work, rests).await?;
            work.done(engine, bounds, send).await
        });
        let mut hold = tokio::time::interval(HOLD_EVERY);
        loop {
            tokio::select! {
                made = &mut done => {
                    while let Ok(reached) = receive.try_recv() {
                        self.reached(&reached).await;
                    }
                    return made;
                }
                Some(reached) = receive.recv() => self.reached(&reached).await,
                _ = hold.tick() => self.hold().await,
            }
        }
    }

    async fn reached(&self, reached: &Reached) {
        let (id, holder) = (self.id.to_owned(), self.app.runs.holder().to_owned());
        let (stage, value, now) = (reached.stage.clone(), reached.value.clone(), self.app.now());
        let written: Result<(), Failure> = self
            .app
            .store
            .write(move |write| runs::reached(write, (&id, &holder), (&stage, &value), now))
            .await;
        self.complain(written, "how far it is");
    }

    async fn hold(&self) {
        let (id, holder, now) = (
            self.id.to_owned(),
            self.app.runs.holder().to_owned(),
            self.app.now(),
        );
        let held: Result<Held, Failure> = self
            .app
            .store
            .write(move |write| runs::keep(write, &id, &holder, now))
            .await;
        match held {
            Ok(Held::Yes) => {}
            Ok(Held::Unwanted(_) | Held::No) => self.cancel.cancel(),
            // The fence keeps it from changing anything while the store cannot be asked.
            Err(failure) => self.complain(Err(failure), "that it goes on"),
        }
    }

    /// Writes down how it ended, however long the store is away: nobody else knows it. A process that ends meanwhile is taken
    /// for gone, and the same request goes on from what is on the host.
    async fn over(&self, engine: &Embedded, made: Made) {
        let ended = self.ended(made).await;
        let settled = Settled {
            former: self.former,
            there: match &self.room {
                Some(room) => room.look(engine, &self.namespace, &ended).await,
                None => There::Unknown,
            },
        };
        let mut pause = Duration::from_millis(200);
        for attempt in 1.. {
            let (id, ended, now) = (self.id.to_owned(), ended.clone(), self.app.now());
            let (room, settled) = (self.room.clone(), settled.clone());
            let written: Result<(), Failure> = self
                .app
                .store
                .write(move |write| {
                    if let Some(room) = &room {
                        room.settle(write, &id, (&ended, &settled))?;
                    }
                    runs::end(write, &id, &ended, now)
                })
                .await;
            let over = match &written {
                Ok(()) => return,
                Err(failure) => !failure.0.retryable && attempt >= ATTEMPTS,
            };
            self.complain(written, "how it ended");
            if over {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn ended(&self, made: Made) -> Ended {
        match made {
            Ok(result) => Ended {
                step: Step::Done,
                result: Some(result),
                failure: None,
            },
            Err(error) => {
                let why = met::in_full(&error);
                let step = match self.wanted_ended().await {
                    Some(by) => Step::Cancelled(format!("by {by}: {why}")),
                    None => Step::Failed(why),
                };
                Ended {
                    step,
                    result: None,
                    failure: serde_json::to_value(&error).ok(),
                }
            }
        }
    }

    /// Who wants it ended.
    async fn wanted_ended(&self) -> Option<String> {
        let id = self.id.to_owned();
        let by: Result<Option<String>, StoreError> =
            self.app.store.read(move |read| runs::unwanted(read, &id)).await;
        by.unwrap_or_default()
    }

    fn complain(&self, written: Result<(), Failure>, what: &str) {
        if let Err(failure) = written {
            tracing::warn!(operation = self.id, problem = %failure.0, "{what} was not written down");
        }
    }
}

/// The hold of this process on an operation: asked for right before each change of a host.
struct Lease {
    store: Store,
    id: String,
    holder: String,
}

impl Lease {
    fn of(app: &App, id: &str) -> Self {
        Self {
            store: app.store.clone(),
            id: id.to_owned(),
            holder: app.runs.holder().to_owned(),
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({})", self.id)
    }
}

#[async_trait]
impl Fence for Lease {
    async fn holds(&self) -> bool {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Moment(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        let (id, holder) = (self.id.clone(), self.holder.clone());
        let held: Result<bool, StoreError> = self
            .store
            .read(move |read| runs::is_held(read, &id, &holder, now))
            .await;
        held.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn what_was_begun_is_done_though_nobody_waits_for_it_any_more() {
        let runs = Runs::new(None);
        let (open, gate) = oneshot::channel::<()>();
        let (done, seen) = oneshot::channel::<()>();
        let mut asked = Box::pin(runs.apart(async move {
            gate.await.unwrap();
            done.send(()).unwrap();
        }));
        tokio::select! {
            biased;
            _ = &mut asked => panic!("it waits for the gate"),
            () = std::future::ready(()) => {}
        }
        drop(asked);
        open.send(()).unwrap();
        seen.await.unwrap();
        runs.ended(Duration::from_secs(5)).await;
    }
}
