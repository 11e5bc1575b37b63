//! One turn: what is over ends, who waits is served, and what there is to do is taken and handed to tasks.

use crate::{
    Foreman, Inner, Outcome,
    hold::{Held, Hold},
};
use labyard_labs::{
    Refusal,
    claim::serve,
    ids::{MemberId, Namespace, PoolName},
    pool::{
        self, Pool,
        work::{self, Appetite, Left, Piece, Task},
    },
    show,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};
use tokio::task::JoinSet;

/// Which pools are worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// One.
    Pool(Namespace, PoolName),
}

impl Scope {
    pub(crate) fn has(&self, pool: &Pool) -> bool {
        match self {
            Self::All => true,
            Self::Pool(namespace, name) => (&pool.namespace, &pool.name) == (namespace, name),
        }
    }
}

/// A piece of work that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What.
    pub task: Task,
    /// With which machine.
    pub machine: MemberId,
    /// How it ended.
    pub outcome: Outcome,
}

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Claims whose time was over.
    pub expired: usize,
    /// Claims that waited and got their machines.
    pub bound: usize,
    /// Pieces of work that came to their end.
    pub done: Vec<Done>,
}

impl Foreman {
    /// Looks at all hosts, and sees to free machines that are not there as they were left; says how many these were.
    /// A foreman that [runs](Self::run) does so by itself, every few seconds.
    ///
    /// # Errors
    /// If the store fails; a host that does not answer is noted as silent.
    pub async fn resync(&self) -> Result<usize, Refusal> {
        self.inner.look_at_all().await
    }

    /// One pass over all pools: what is over ends, who waits is served, and all that can be taken now is done to its
    /// end. Where the revisions of its images are not known yet, they are found out, and the next pass begins.
    ///
    /// # Errors
    /// If the store fails. What a host does is told by the pieces.
    pub async fn pass(&self) -> Result<Pass, Refusal> {
        let mut tasks = Tasks::default();
        let mut pass = self.inner.turn(&Scope::All, &mut tasks).await?;
        while let Some(done) = tasks.next().await {
            pass.done.extend(done?);
        }
        Ok(pass)
    }
}

/// What is under way.
#[derive(Default)]
pub(crate) struct Tasks {
    set: JoinSet<Result<Option<Done>, Refusal>>,
    pieces: Count,
    /// By host.
    claims: BTreeMap<String, Count>,
}

/// How many there are: one that has come to its end is none, though nobody has asked for its end yet.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

/// One of them, as long as it lives.
struct One(Count);

impl Count {
    fn one_more(&self) -> One {
        self.0.fetch_add(1, Ordering::SeqCst);
        One(self.clone())
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Tasks {
    /// Begins a piece of work.
    fn spawn_piece(&mut self, work: impl Future<Output = Result<Done, Refusal>> + Send + 'static) {
        let one = self.pieces.one_more();
        self.set.spawn(async move {
            let _one = one;
            work.await.map(Some)
        });
    }

    /// Begins something with the machines of a claim, which are on these hosts, beside the pieces of work.
    pub(crate) fn spawn_claim(
        &mut self,
        hosts: &BTreeSet<String>,
        work: impl Future<Output = Result<(), Refusal>> + Send + 'static,
    ) {
        let ones: Vec<One> = hosts
            .iter()
            .map(|host| self.claims.entry(host.clone()).or_default().one_more())
            .collect();
        self.spawn_aside(async move {
            let _ones = ones;
            work.await
        });
    }

    /// Begins something beside all that.
    pub(crate) fn spawn_aside(&mut self, work: impl Future<Output = Result<(), Refusal>> + Send + 'static) {
        self.set.spawn(async move { work.await.map(|()| None) });
    }

    /// How many claims are under way on a host.
    pub(crate) fn claims_on(&self, host: &str) -> usize {
        self.claims.get(host).map_or(0, Count::get)
    }

    /// How many pieces of work are under way.
    pub(crate) fn pieces(&self) -> usize {
        self.pieces.get()
    }

    /// Lets go of all that have come to their ends.
    pub(crate) fn tell_of_ended(&mut self) {
        while let Some(ended) = self.set.try_join_next() {
            match ended {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, "a piece of work could not be ended; its lease runs out");
                }
                Err(error) => tracing::error!(%error, "a piece of work broke off; its lease runs out"),
            }
        }
    }

    /// The next that comes to its end; `None` where nothing is under way.
    pub(crate) async fn next(&mut self) -> Option<Result<Option<Done>, Refusal>> {
        match self.set.join_next().await? {
            Ok(done) => Some(done),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Some(Ok(None)),
        }
    }
}

impl Inner {
    /// Takes what can be taken now and begins it.
    pub(crate) async fn turn(self: &Arc<Self>, scope: &Scope, tasks: &mut Tasks) -> Result<Pass, Refusal> {
        let began = Instant::now();
        let turned = self.turn_over(scope, tasks).await;
        if turned.is_ok() {
            self.meter.turned(began.elapsed());
        }
        turned
    }

    async fn turn_over(self: &Arc<Self>, scope: &Scope, tasks: &mut Tasks) -> Result<Pass, Refusal> {
        let (expired, bound) = self.sweep().await?;
        let pass = Pass {
            expired,
            bound,
            done: Vec::new(),
        };
        if self.ended.is_cancelled() {
            return Ok(pass);
        }
        self.take_claims(tasks).await?;
        self.take_networks_away(tasks).await?;
        let unseen = self.unseen().await?;
        if !unseen.is_empty() {
            let looking = self.clone();
            tasks.spawn_aside(async move { looking.look_for_people(unseen).await });
        }
        self.look_at_hosts().await;
        if *scope == Scope::All {
            self.look_for_strangers().await?;
            self.forget().await?;
        }
        let waiting = self.follow_images(scope, tasks).await?;
        let (scope, now) = (scope.clone(), self.now());
        let mut pools: Vec<Pool> = self
            .store
            .read(move |read| {
                let mut busy = Vec::new();
                for pool in pool::those(read, &show::Scope::All)? {
                    // What its machines are made of is known when its images were looked for.
                    let waits = waiting.contains(&pool.id);
                    if !waits && scope.has(&pool) && work::is_any(read, &pool, now)? {
                        busy.push(pool);
                    }
                }
                Ok::<_, Refusal>(busy)
            })
            .await?;
        if pools.is_empty() {
            return Ok(pass);
        }
        // Another pool is the first each time, and none takes all there is.
        let first = self.turns.fetch_add(1, Ordering::Relaxed) % pools.len();
        pools.rotate_left(first);
        let all = self.slots.in_all(self.engine.hosts().len());
        for (at, pool) in pools.iter().enumerate() {
            let left = all.saturating_sub(tasks.pieces());
            let share = left.div_ceil(pools.len() - at);
            self.take(pool, share, tasks).await?;
        }
        Ok(pass)
    }

    async fn take(self: &Arc<Self>, pool: &Pool, most: usize, tasks: &mut Tasks) -> Result<(), Refusal> {
        let hosts = self.engine.hosts().into_iter().map(|host| host.to_string());
        let appetite = Appetite {
            most,
            not_on: self.slots.full(),
            reaches: Some(hosts.collect()),
            ..Appetite::default()
        };
        let (pool, worker, now) = (pool.clone(), self.worker.clone(), self.now());
        let taken = self
            .store
            .write(move |write| {
                // Removed by another in the meantime.
                let pieces = match work::take(write, &pool, &worker, &appetite, now) {
                    Err(Refusal::NoPool { .. }) => return Ok(Vec::new()),
                    pieces => pieces?,
                };
                if pool.draining {
                    pool::forget_if_empty(write, &pool, now)?;
                }
                Ok::<_, Refusal>(pieces)
            })
            .await?;
        for piece in taken {
            let inner = self.clone();
            tasks.spawn_piece(async move {
                let (hold, _keeping) = Hold::begin(&inner, Held::Piece(Box::new(piece.clone())), now);
                inner.work(&piece, &hold).await
            });
        }
        Ok(())
    }

    async fn work(&self, piece: &Piece, hold: &Arc<Hold>) -> Result<Done, Refusal> {
        let began = Instant::now();
        let outcome = match piece.task {
            Task::Build => self.build(piece, hold).await,
            Task::Reset => self.reset(piece, hold).await,
            Task::Tidy => self.tidy(piece, hold).await,
            Task::Retire => self.retire(piece, hold).await,
        };
        let outcome = match outcome {
            Err(Refusal::TakenOver { .. }) => Outcome::Lost,
            outcome => outcome?,
        };
        self.meter.worked(piece.task, &outcome, began.elapsed());
        tracing::debug!(machine = %piece.machine.name, task = ?piece.task, ?outcome, "ended");
        let left = match (&outcome, piece.task) {
            (Outcome::Failed { .. }, Task::Reset | Task::Tidy) => self.stop_for_good(piece, hold).await,
            _ => Left::Unused,
        };
        self.conclude(piece, &outcome, left).await?;
        Ok(Done {
            task: piece.task,
            machine: piece.machine.id.clone(),
            outcome,
        })
    }

    /// Ends what is over, and gives those who wait what is free.
    async fn sweep(&self) -> Result<(usize, usize), Refusal> {
        let now = self.now();
        let due = self.store.read(move |read| serve::is_due(read, now)).await?;
        let idle = self.watch.at(now);
        if !due {
            return Ok((0, 0));
        }
        self.store
            .write(move |write| {
                let expired = serve::expire(write, idle, now)?.len();
                let mut bound = 0;
                for namespace in serve::waited_in(write)? {
                    bound += serve::queue(write, &namespace, now)?.len();
                }
                Ok((expired, bound))
            })
            .await
    }
}
