//! What a foreman counts of its own doing since its process began, for whoever shows numbers of it.
//!
//! ```
//! use labyard_foreman::meter::{Histogram, Meter};
//! use std::time::Duration;
//! let meter = Meter::default();
//! meter.claim_ready(Duration::from_millis(40));
//! let seen = meter.numbers();
//! assert_eq!((seen.claims.count(), seen.claims.within().find(|(_, count)| *count > 0)), (1, Some((0.05, 1))));
//! ```

use crate::Outcome;
use labyard_driver::mark::Stage;
use labyard_labs::pool::work::Task;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Upper bounds in seconds: requests are answered in the first ones, machines made in the last.
pub const BOUNDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0,
];

/// How long things took.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

impl Histogram {
    /// One more.
    pub fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        for (bucket, bound) in self.buckets.iter_mut().zip(BOUNDS) {
            *bucket += u64::from(seconds <= bound);
        }
        self.count += 1;
        self.sum += seconds;
    }

    /// For each bound, in seconds, how many took no longer.
    pub fn within(&self) -> impl Iterator<Item = (f64, u64)> {
        BOUNDS.into_iter().zip(self.buckets)
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Seconds of all together.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

/// Looks at a host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looks {
    /// It answered.
    pub answered: u64,
    /// It did not, or with an error.
    pub failed: u64,
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// Pieces of work by what they were and how they ended.
    pub work: BTreeMap<(&'static str, &'static str), Histogram>,
    /// Stages of machines that were made.
    pub stages: BTreeMap<&'static str, Histogram>,
    /// From the request of a claim to its machines being ready, its time in the queue with it.
    pub claims: Histogram,
    /// Looks at hosts.
    pub looks: BTreeMap<String, Looks>,
    /// Turns.
    pub turns: Histogram,
    /// How long ago the last turn ended; none did yet without it.
    pub since_turn: Option<Duration>,
}

/// Counts.
#[derive(Debug, Default)]
pub struct Meter {
    numbers: Mutex<Numbers>,
    last_turn: Mutex<Option<Instant>>,
}

impl Meter {
    fn held(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        let last = *self.last_turn.lock().unwrap_or_else(PoisonError::into_inner);
        Numbers {
            since_turn: last.map(|last| last.elapsed()),
            ..self.held().clone()
        }
    }

    /// The machines of a claim are ready, so long after it was asked for.
    pub fn claim_ready(&self, after: Duration) {
        self.held().claims.add(after);
    }

    pub(crate) fn worked(&self, task: Task, outcome: &Outcome, took: Duration) {
        let key = (task_word(task), outcome_word(outcome));
        self.held().work.entry(key).or_default().add(took);
    }

    pub(crate) fn staged(&self, stage: &'static str, took: Duration) {
        self.held().stages.entry(stage).or_default().add(took);
    }

    pub(crate) fn looked<T, E>(&self, host: &str, met: &Result<T, E>) {
        let mut numbers = self.held();
        let looks = numbers.looks.entry(host.to_owned()).or_default();
        match met {
            Ok(_) => looks.answered += 1,
            Err(_) => looks.failed += 1,
        }
    }

    pub(crate) fn turned(&self, took: Duration) {
        self.held().turns.add(took);
        *self.last_turn.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

fn task_word(task: Task) -> &'static str {
    match task {
        Task::Build => "build",
        Task::Reset => "reset",
        Task::Tidy => "tidy",
        Task::Retire => "retire",
    }
}

fn outcome_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Built { .. } => "built",
        Outcome::Recycled => "recycled",
        Outcome::Gone => "gone",
        Outcome::Failed { .. } => "failed",
        Outcome::PutOff { .. } => "put_off",
        Outcome::Waits { .. } => "waits",
        Outcome::Lost => "lost",
    }
}

/// The stages of a machine that is made, each told when it is behind it.
pub(crate) struct Stages<'m> {
    meter: &'m Meter,
    since: Instant,
}

impl<'m> Stages<'m> {
    pub(crate) fn begin(meter: &'m Meter) -> Self {
        Self {
            meter,
            since: Instant::now(),
        }
    }

    /// The machine has come through this stage.
    pub(crate) fn through(&mut self, stage: Stage) {
        let now = Instant::now();
        self.meter.staged(stage.word(), now - self.since);
        self.since = now;
    }
}
