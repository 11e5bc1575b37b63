//! A stage of a machine or network under work, as the journal and the progress messages tell of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use labyard_driver::ids::{HostName, Namespace, ObjectName};
use labyard_driver::mark::{CloneMode, Kind, Mark};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::estimate::standing;
use super::{Class, Entry, Journal, What};
use crate::desired::DesiredMachine;
use crate::engine::Deps;
use crate::error::EngineError;
use crate::hooks::Event;
use crate::image::ImageSource;
use crate::intent::boot_order;
use crate::steps::Work;

/// How often a stage that takes long says so.
const TELL: Duration = Duration::from_secs(10);

/// Stands for the host of what has none yet.
const NOWHERE: &str = "-";

/// Which stage of which machine.
#[derive(Clone)]
pub struct Subject {
    deps: Arc<Deps>,
    host: String,
    namespace: Namespace,
    kind: Kind,
    name: ObjectName,
    id: String,
    event: Event,
    stage: &'static str,
    hook: Option<String>,
    class: Class,
}

impl Subject {
    /// A stage of the machine under work.
    pub fn of(work: &Work<'_>, event: Event, stage: &'static str) -> Self {
        Self {
            deps: work.deps.clone(),
            host: work.host.name.to_string(),
            namespace: work.desired.namespace.clone(),
            kind: Kind::Machine,
            name: work.desired.name.clone(),
            id: work.first_mark.origin.as_str().to_owned(),
            event,
            stage,
            hook: None,
            class: class(&work.desired),
        }
    }

    /// The choice of a host for a machine of which nothing stands yet.
    pub fn of_placement(deps: &Arc<Deps>, desired: &DesiredMachine, operation: &str) -> Self {
        Self {
            deps: deps.clone(),
            host: NOWHERE.to_owned(),
            namespace: desired.namespace.clone(),
            kind: Kind::Machine,
            name: desired.name.clone(),
            id: operation.to_owned(),
            event: Event::Create,
            stage: labyard_schema::hooks::PLACEMENT,
            hook: None,
            class: class(desired),
        }
    }

    /// A stage of a network, by its mark.
    pub fn of_network(
        deps: &Arc<Deps>,
        host: &HostName,
        mark: &Mark,
        (event, stage): (Event, &'static str),
    ) -> Self {
        Self {
            deps: deps.clone(),
            host: host.to_string(),
            namespace: mark.namespace.clone(),
            kind: Kind::Network,
            name: mark.name.clone(),
            id: mark.origin.as_str().to_owned(),
            event,
            stage,
            hook: None,
            class: Class::default(),
        }
    }

    /// The same, at a hook.
    #[must_use]
    pub fn at_hook(self, hook: String) -> Self {
        Self {
            hook: Some(hook),
            ..self
        }
    }

    fn journal(&self) -> &Journal {
        &self.deps.journal
    }

    /// Writes a line.
    pub fn write(&self, what: What, attempt: u32, took: Option<Duration>, detail: Option<String>) {
        if self.journal().directory().is_none() {
            return;
        }
        self.journal().write(&Entry {
            at: self.deps.clock.now().0,
            run: self.deps.engine.clone(),
            event: self.event.name().to_owned(),
            host: self.host.clone(),
            namespace: self.namespace.to_string(),
            kind: self.kind,
            name: self.name.to_string(),
            id: self.id.clone(),
            stage: self.stage.to_owned(),
            what,
            attempt,
            took_ms: took.map(|took| took.as_millis() as u64),
            hook: self.hook.clone(),
            detail,
            class: self.class.clone(),
        });
    }

    fn usual(&self) -> Option<Duration> {
        self.journal().usual(&self.namespace, self.stage, &self.class)
    }
}

/// What a machine's times depend on: the image that it boots from, and how its disk is made of it.
fn class(desired: &DesiredMachine) -> Class {
    let disk = boot_order(&desired.disks)
        .into_iter()
        .find_map(|(_, disk)| Some((disk, disk.image.as_ref()?)));
    disk.map_or_else(Class::default, |(disk, image)| Class {
        clone: Some(match disk.clone_mode() {
            CloneMode::Linked => "linked".to_owned(),
            CloneMode::Full => "full".to_owned(),
        }),
        image: image
            .source
            .parse::<ImageSource>()
            .ok()
            .map(|source| source.to_string()),
    })
}

/// A stage that is under way.
pub struct Watch {
    subject: Option<Subject>,
    began: Instant,
    attempt: AtomicU32,
}

impl Watch {
    /// It begins now.
    pub fn begin(subject: Subject) -> Self {
        subject.write(What::Begun, 1, None, None);
        Self {
            subject: Some(subject),
            began: Instant::now(),
            attempt: AtomicU32::new(1),
        }
    }

    /// Part of another stage, of which nothing is told.
    pub fn quiet() -> Self {
        Self {
            subject: None,
            began: Instant::now(),
            attempt: AtomicU32::new(1),
        }
    }

    /// Tells of the stage while it takes its time.
    pub async fn over<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let mut ticks = interval_at(self.began + TELL, TELL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = ticks.tick() => self.tell(),
            }
        }
    }

    fn tell(&self) {
        if let Some(subject) = &self.subject {
            tracing::info!(machine = %subject.name, host = subject.host, "{}", self.standing(subject));
        }
    }

    /// Another attempt follows, because of this.
    pub fn again(&self, why: &str) {
        let attempt = self.attempt.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(subject) = &self.subject {
            subject.write(What::Again, attempt, None, Some(why.to_owned()));
        }
    }

    /// It has ended; an error says where.
    pub fn end<T>(self, outcome: Result<T, EngineError>) -> Result<T, EngineError> {
        let Some(subject) = &self.subject else {
            return outcome;
        };
        let (attempt, took) = (self.attempt.load(Ordering::Relaxed), self.began.elapsed());
        let error = match outcome {
            Ok(done) => {
                subject.write(What::Done, attempt, Some(took), None);
                return Ok(done);
            }
            Err(error) => error,
        };
        subject.write(What::Failed, attempt, Some(took), Some(error.to_string()));
        Err(EngineError::Staged {
            standing: self.standing(subject),
            source: Box::new(error),
        })
    }

    fn standing(&self, subject: &Subject) -> String {
        let attempt = self.attempt.load(Ordering::Relaxed);
        standing(subject.stage, attempt, self.began.elapsed(), subject.usual())
    }
}
