//! Jobs: what is done later, how far it is, how it ended, and for how long its row is there.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Child;
use std::time::Duration;

use crate::cim::{Instance, Path, Value};
use crate::contract::Parameters;

use super::codes::{self, Failure, Stop, answer};
use super::faults::How;
use super::paths;
use super::row::Row;
use super::setup::{Answers, Moment};
use super::state::State;
use super::time::{interval, stamp};

/// What is done when its time has come.
pub(crate) type Work = Box<dyn FnOnce(&mut State) -> Result<(), Failure> + Send>;

/// The class of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Msvm_ConcreteJob.
    Concrete,
    /// Msvm_StorageJob.
    Storage,
}

impl Kind {
    /// Its class.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Concrete => "Msvm_ConcreteJob",
            Self::Storage => "Msvm_StorageJob",
        }
    }
}

/// Whether a method may do its work while it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As the host is set.
    Either,
    /// Always by a job.
    Job,
    /// Never by one.
    AtOnce,
}

/// What a method has decided to do.
pub(crate) struct Plan {
    /// The method.
    pub(crate) method: &'static str,
    /// The class of its job.
    pub(crate) kind: Kind,
    /// By a job or not.
    pub(crate) mode: Mode,
    /// The machine that is busy meanwhile.
    pub(crate) machine: Option<String>,
    /// How long it takes.
    pub(crate) takes: Duration,
    /// What the answer says beside ReturnValue and Job.
    pub(crate) output: Parameters,
    /// A program that has to end first.
    pub(crate) process: Option<Child>,
    /// What it does.
    pub(crate) work: Work,
}

impl Plan {
    /// A change of settings of a machine.
    pub(crate) fn of(
        state: &State,
        method: &'static str,
        machine: Option<&str>,
        work: impl FnOnce(&mut State) -> Result<(), Failure> + Send + 'static,
    ) -> Self {
        Self {
            method,
            kind: Kind::Concrete,
            mode: Mode::Either,
            machine: machine.map(str::to_owned),
            takes: state.setup.pace.job,
            output: Parameters::new(),
            process: None,
            work: Box::new(work),
        }
    }
}

/// How a job ended.
#[derive(Clone, Debug)]
struct End {
    at: Moment,
    state: u64,
    code: u32,
    text: String,
}

/// A job.
pub(crate) struct Job {
    id: String,
    kind: Kind,
    method: &'static str,
    machine: Option<String>,
    begun: Moment,
    due: Moment,
    how: Option<How>,
    process: Option<Child>,
    work: Option<Work>,
    end: Option<End>,
    affected: Vec<(Path, u64)>,
}

/// What waits for its time.
enum Task {
    Job(String),
    Quiet(Box<dyn FnOnce(&mut State) + Send>),
}

/// All jobs, and what goes on without one.
#[derive(Default)]
pub(crate) struct Jobs {
    all: BTreeMap<String, Job>,
    tasks: BTreeMap<(Moment, u64), Task>,
    waiting: BTreeSet<String>,
    running: Option<String>,
    count: u64,
}

impl Jobs {
    /// Whether a job works on this machine.
    pub(crate) fn busy(&self, machine: &str) -> bool {
        self.all
            .values()
            .any(|job| job.end.is_none() && job.machine.as_deref() == Some(machine))
    }

    /// Whether any job has not ended.
    pub(crate) fn any_open(&self) -> bool {
        self.all.values().any(|job| job.end.is_none())
    }

    fn add(&mut self, due: Moment, task: Task) {
        self.count += 1;
        self.tasks.insert((due, self.count), task);
    }

    /// The service restarts: rows of jobs are gone, and what they had not done is never done.
    pub(crate) fn forget_all(&mut self) {
        self.all.clear();
        self.waiting.clear();
        self.tasks.retain(|_, task| matches!(task, Task::Quiet(_)));
    }

    /// The rows of a class of jobs.
    pub(crate) fn rows(&self, class: &str, now: Moment, removal: Duration) -> Vec<Instance> {
        self.all
            .values()
            .filter(|job| job.kind.class().eq_ignore_ascii_case(class) && job.is_there(now, removal))
            .map(|job| job.row(now, removal))
            .collect()
    }

    /// What jobs have made, as associations.
    pub(crate) fn affected(&self, now: Moment, removal: Duration) -> Vec<Instance> {
        self.all
            .values()
            .filter(|job| job.end.is_some() && job.is_there(now, removal))
            .flat_map(|job| {
                job.affected.iter().map(|(element, effect)| {
                    Row::of("Msvm_AffectedJobElement")
                        .reference("AffectedElement", element.clone())
                        .reference("AffectingElement", paths::setting(job.kind.class(), &job.id))
                        .numbers("ElementEffects", &[*effect])
                        .done()
                })
            })
            .collect()
    }

    /// A job's way to tell of its error.
    pub(crate) fn errors(&self, id: &str) -> Option<Vec<Value>> {
        let job = self.all.get(id)?;
        let end = job.end.as_ref().filter(|end| end.code != 0)?;
        let error = Row::of("Msvm_Error")
            .text("Message", end.text.as_str())
            .number("CIMStatusCode", 1)
            .text("MessageID", end.code.to_string())
            .text("ErrorSource", job.method)
            .done();
        Some(vec![Value::Instance(Box::new(error))])
    }
}

impl Job {
    /// Whether its row is still there.
    fn is_there(&self, now: Moment, removal: Duration) -> bool {
        let removal = u64::try_from(removal.as_millis()).unwrap_or(u64::MAX);
        match &self.end {
            Some(_) if self.how == Some(How::Vanishes) => false,
            Some(end) => now.0 < end.at.0.saturating_add(removal),
            None => true,
        }
    }

    fn row(&self, now: Moment, removal: Duration) -> Instance {
        let (gone, whole) = (now.0 - self.begun.0, (self.due.0 - self.begun.0).max(1));
        let percent = (gone * 100 / whole).min(99);
        let (state, percent, status, code, text) = match &self.end {
            Some(end) => {
                let percent = if end.state == 7 { 100 } else { percent };
                (end.state, percent, "", u64::from(end.code), end.text.as_str())
            }
            None if percent < 10 => (3, percent, "Starting", 0, ""),
            None => (4, percent, "Running", 0, ""),
        };
        let changed = self.end.as_ref().map_or(self.begun, |end| end.at);
        let mut row = Row::of(self.kind.class())
            .text("InstanceID", &self.id)
            .text("Name", self.method)
            .text("Caption", self.method)
            .text("Description", self.method)
            .text("ElementName", self.method)
            .number("JobState", state)
            .text("JobStatus", status)
            .number("PercentComplete", percent)
            .number("ErrorCode", code)
            .text("ErrorDescription", text)
            .text("ErrorSummaryDescription", text)
            .number("JobType", 0)
            .flag("Cancellable", false)
            .flag("DeleteOnCompletion", true)
            .numbers("OperationalStatus", &[if state == 10 { 6 } else { 2 }])
            .number("HealthState", if state == 10 { 25 } else { 5 })
            .text("StartTime", stamp(self.begun))
            .text("TimeSubmitted", stamp(self.begun))
            .text("TimeOfLastStateChange", stamp(changed))
            .text(
                "ElapsedTime",
                interval(Duration::from_millis(changed.0.max(self.begun.0) - self.begun.0)),
            )
            .text("TimeBeforeRemoval", interval(removal));
        if self.kind == Kind::Storage {
            row = row.number("JobCompletionStatusCode", code);
        }
        row.done()
    }
}

impl State {
    /// Does a plan, at once or by a job, and answers the call.
    pub(crate) fn begin(&mut self, plan: Plan) -> Result<Parameters, Stop> {
        let how = self.faults.of_job();
        let at_once = match plan.mode {
            Mode::AtOnce => true,
            Mode::Job => false,
            Mode::Either => self.setup.answers == Answers::AtOnce,
        };
        if at_once {
            let end = self.carry_out(how, plan.work);
            return match end {
                (7, 0, _) => {
                    let mut output = plan.output;
                    output.extend(answer(codes::DONE));
                    Ok(output)
                }
                (_, code, text) => Err(Stop::Code(code, text)),
            };
        }
        let id = self.setup.ids.next_guid();
        let takes = u64::try_from(plan.takes.as_millis()).unwrap_or(u64::MAX);
        let due = Moment(self.now.0.saturating_add(takes));
        let mut output = plan.output;
        if self.setup.resulting == super::setup::Resulting::Empty {
            output.clear();
        }
        output.insert(
            "Job".to_owned(),
            Value::Reference(paths::setting(plan.kind.class(), &id)),
        );
        output.extend(answer(codes::JOB));
        let job = Job {
            id: id.clone(),
            kind: plan.kind,
            method: plan.method,
            machine: plan.machine,
            begun: self.now,
            due,
            how,
            process: plan.process,
            work: Some(plan.work),
            end: None,
            affected: Vec::new(),
        };
        self.jobs.all.insert(id.clone(), job);
        self.jobs.add(due, Task::Job(id));
        Ok(output)
    }

    /// Does something later that no job shows.
    pub(crate) fn later(&mut self, after: Duration, work: impl FnOnce(&mut State) + Send + 'static) {
        let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let due = Moment(self.now.0.saturating_add(after));
        self.jobs.add(due, Task::Quiet(Box::new(work)));
    }

    /// The job that is being done has made or changed this object: 5 made, 0 changed, 6 taken away.
    pub(crate) fn affects(&mut self, element: Path, effect: u64) {
        if let Some(job) = self
            .jobs
            .running
            .as_ref()
            .and_then(|id| self.jobs.all.get_mut(id))
        {
            job.affected.push((element, effect));
        }
    }

    /// Lets all happen that has become due.
    pub(crate) fn advance(&mut self, to: Moment) {
        for id in std::mem::take(&mut self.jobs.waiting) {
            self.end_job(id);
        }
        while let Some(entry) = self.jobs.tasks.first_entry() {
            let due = entry.key().0;
            if due > to {
                break;
            }
            let task = entry.remove();
            self.now = self.now.max(due);
            match task {
                Task::Job(id) => self.end_job(id),
                Task::Quiet(work) => work(self),
            }
        }
        self.now = self.now.max(to);
    }

    fn end_job(&mut self, id: String) {
        let Some(job) = self.jobs.all.get_mut(&id) else {
            return;
        };
        let failed = match job.process.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => {
                self.jobs.waiting.insert(id);
                return;
            }
            Some(Ok(Some(status))) if status.success() => None,
            Some(other) => Some(format!("the program that did it failed: {other:?}")),
            None => None,
        };
        let (how, work) = (job.how, job.work.take());
        self.jobs.running = Some(id.clone());
        let work: Work = match (failed, work) {
            (Some(text), _) => Box::new(move |_| codes::fail(codes::FAILED, text)),
            (None, Some(work)) => work,
            (None, None) => Box::new(|_| Ok(())),
        };
        let (state, code, text) = self.carry_out(how, work);
        self.jobs.running = None;
        let at = self.now;
        if let Some(job) = self.jobs.all.get_mut(&id) {
            job.end = Some(End {
                at,
                state,
                code,
                text,
            });
        }
    }

    /// Does the work, or what is to go wrong in its place: state, ErrorCode and ErrorDescription of the job.
    fn carry_out(&mut self, how: Option<How>, work: Work) -> (u64, u32, String) {
        let injected = || "this failure was asked for by the test".to_owned();
        match how {
            Some(How::Job(code)) => (10, code, injected()),
            Some(How::CompletedWithError(code)) => (7, code, injected()),
            Some(How::CompletedAndNothing) => (7, 0, String::new()),
            _ => match (work(self), how) {
                (Ok(()), Some(How::JobAfterWork(code))) => (10, code, injected()),
                (Ok(()), _) => (7, 0, String::new()),
                (Err(failure), _) => {
                    self.refused
                        .push(format!("a job failed with {}: {}", failure.code, failure.text));
                    (10, failure.code, failure.text)
                }
            },
        }
    }
}
