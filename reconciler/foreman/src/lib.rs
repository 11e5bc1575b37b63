//! The foreman: has the work of pools done on hosts. What is to be done, and who may do it, stands in the store
//! ([`labyard_labs`]); how it is done is the engine's ([`labyard_reconciler`]). Between the two:
//!
//! - [`spec`]: a pool as it is written, as the store keeps it; [`template`]: a machine of it. Both pure.
//! - `place`, `build`, `retire`, `recycle`: the pieces of work, each on one machine; `admit`: a claim is made usable.
//! - `observe`: free machines that are not on their hosts as they were left are put right.
//! - `networks`: what a claim's machines have to themselves between them is made and taken away.
//! - `screens`: what lets in claimers alone is put right where it is not as it was left.
//! - `follow`: pools are made of the newest revision of a captured image.
//! - `forget`: what has been over for long enough is forgotten.
//! - `idle`: whoever is connected to his machine counts as there.
//! - `hold`: each is leased, renewed while it is done, and asked for right before each change of a host.
//! - `turn`: what is over ends, who waits is served, work is taken and handed to tasks, so many at once on a host.
//! - [`meter`]: what it counts of its own doing.
//! - [`Foreman::pass`] does one turn to its end; [`Foreman::settle`] goes on until a pool is what it is asked to be;
//!   [`Foreman::run`] goes on for ever.
//! - [`Foreman::rebuild`]: a store that was lost, from what the marks on hosts say.
//!
//! Any number of foremen, in any number of processes, may work on one store.
//!
//! ```no_run
//! # async fn example(store: labyard_store::Store, engine: std::sync::Arc<dyn labyard_reconciler::engine::Engine>) {
//! use labyard_foreman::{Foreman, Setting};
//! let foreman = Foreman::new(store, engine, Setting::default());
//! let settled = foreman
//!     .settle(&"default".into(), &"k8s".into(), std::time::Duration::from_secs(1800), &|progress| println!("{progress}"))
//!     .await;
//! # }
//! ```

mod admit;
mod build;
mod credentials;
mod follow;
mod forget;
mod hold;
mod hosts;
mod idle;
pub mod meter;
mod networks;
mod observe;
mod outcome;
mod place;
pub mod rebuild;
mod recycle;
mod retire;
mod run;
mod screens;
mod settle;
pub mod spec;
pub mod template;
mod turn;
pub mod written;

pub use credentials::user;
pub use outcome::Outcome;
pub use settle::{Standing, Unsettled};
pub use turn::{Done, Pass, Scope};

use crate::meter::Meter;
use follow::LastLook;
use forget::LastForgot;
use hosts::{Looks, Slots, Strangers};
use idle::{IdleLooks, Watch};
use labyard_labs::{ids::random_id, pool::work::Worker, retention::Retention};
use labyard_reconciler::engine::{Clock, Engine, SystemClock};
use labyard_store::{Store, event::Moment};
use networks::Leavings;
use screens::ScreenLooks;
use std::sync::{Arc, atomic::AtomicUsize};
use tokio_util::sync::CancellationToken;

/// Has the work of pools done; clones are the same one.
#[derive(Clone)]
pub struct Foreman {
    inner: Arc<Inner>,
}

/// How a foreman works.
#[derive(Clone)]
pub struct Setting {
    /// Who works: a name that no other process has.
    pub worker: Worker,
    /// Time, the same for leases of work and of marks.
    pub clock: Arc<dyn Clock>,
    /// Pieces of work on one host at a time.
    pub per_host: usize,
    /// Counts what it does.
    pub meter: Arc<Meter>,
    /// For how long what is over is kept.
    pub retention: Retention,
}

impl Default for Setting {
    fn default() -> Self {
        // Chance fails with the system; then the name is the process's alone for as long as it lives.
        let name = random_id().unwrap_or_else(|_| std::process::id().to_string());
        Self {
            worker: Worker {
                name: format!("worker-{name}"),
                lease_ms: 60_000,
            },
            clock: Arc::new(SystemClock),
            per_host: 4,
            meter: Arc::default(),
            retention: Retention::default(),
        }
    }
}

pub(crate) struct Inner {
    store: Store,
    engine: Arc<dyn Engine>,
    worker: Worker,
    clock: Arc<dyn Clock>,
    slots: Slots,
    looks: Looks,
    strangers: Strangers,
    idle_looks: IdleLooks,
    watch: Watch,
    screen_looks: ScreenLooks,
    leavings: Leavings,
    images_seen: LastLook,
    turns: AtomicUsize,
    meter: Arc<Meter>,
    retention: Retention,
    forgot: LastForgot,
    /// Cancelled when no more work is done.
    ended: CancellationToken,
}

impl Inner {
    pub(crate) fn now(&self) -> Moment {
        Moment(i64::try_from(self.clock.now().0).unwrap_or(i64::MAX))
    }
}

impl Foreman {
    /// One that works on this store with this engine. Nothing is done yet.
    #[must_use]
    pub fn new(store: Store, engine: Arc<dyn Engine>, setting: Setting) -> Self {
        Self {
            inner: Arc::new(Inner {
                slots: Slots::new(setting.per_host),
                looks: Looks::default(),
                strangers: Strangers::default(),
                idle_looks: IdleLooks::default(),
                watch: Watch::default(),
                screen_looks: ScreenLooks::default(),
                leavings: Leavings::default(),
                images_seen: LastLook::default(),
                store,
                engine,
                worker: setting.worker,
                clock: setting.clock,
                turns: AtomicUsize::new(0),
                meter: setting.meter,
                retention: setting.retention,
                forgot: LastForgot::default(),
                ended: CancellationToken::new(),
            }),
        }
    }

    /// No more work is taken, and what is under way stops before its next change of a host; others take it up. Whoever
    /// waits for this foreman gets its answer.
    pub fn end(&self) {
        self.inner.ended.cancel();
    }
}
