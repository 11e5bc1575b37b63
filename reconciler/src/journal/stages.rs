//! Lines put together: for each machine or network and run its stages, what they waited for, what they took and what is usual.
//! Pure.

use labyard_driver::mark::Kind;
use serde::Serialize;

use super::estimate::History;
use super::{Entry, What};

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Done,
    /// Failed, denied by a hook too.
    Failed,
    /// It began, and no end was written: it goes on, or its process was killed.
    Open,
}

/// A stage of a machine or network in one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Passed {
    /// When it began, in milliseconds since 1970.
    pub at: u64,
    /// The process.
    pub run: String,
    /// The host.
    pub host: String,
    /// The namespace.
    pub namespace: String,
    /// What it is.
    pub kind: Kind,
    /// The machine or network.
    pub name: String,
    /// `create`, `update` or `destroy`.
    pub event: String,
    /// The stage.
    pub stage: String,
    /// Its last attempt.
    pub attempt: u32,
    /// What was waited for: hooks, holds, a busy host.
    pub waited_for: Vec<String>,
    /// How long its step took, in milliseconds.
    pub took_ms: Option<u64>,
    /// What is usual, from the runs before.
    pub usual_ms: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed.
    pub why: Option<String>,
}

/// A row, and whether its step has begun: hooks come before that.
struct Row {
    passed: Passed,
    begun: bool,
}

/// The stages of all lines, in the order in which they began. What is usual is said of each from those before it.
pub fn stages(entries: &[Entry]) -> Vec<Passed> {
    let mut history = History::default();
    let mut rows: Vec<Row> = Vec::new();
    for entry in entries {
        let of_stage = |row: &&mut Row| {
            let p = &row.passed;
            (&p.run, &p.host, &p.kind, &p.name, &p.event, &p.stage)
                == (
                    &entry.run,
                    &entry.host,
                    &entry.kind,
                    &entry.name,
                    &entry.event,
                    &entry.stage,
                )
        };
        let latest = rows.iter_mut().rev().find(of_stage);
        let row = match latest.filter(|row| belongs(entry, row)) {
            Some(row) => row,
            None => {
                let passed = begun(entry, &history);
                rows.push(Row { passed, begun: false });
                let Some(last) = rows.last_mut() else { continue };
                last
            }
        };
        row.begun |= entry.what == What::Begun;
        note(&mut row.passed, entry);
        history.learn(entry);
    }
    rows.into_iter().map(|row| row.passed).collect()
}

/// Whether a line is of this row, and not of the same stage once more.
fn belongs(entry: &Entry, row: &Row) -> bool {
    let open = row.passed.outcome == Outcome::Open;
    match &entry.hook {
        Some(hook) if hook.starts_with("after:") => true,
        _ if entry.what == What::Begun => open && !row.begun,
        _ => open,
    }
}

fn begun(entry: &Entry, history: &History) -> Passed {
    let usual = history.usual(&entry.stage, &entry.class);
    Passed {
        at: entry.at,
        run: entry.run.clone(),
        host: entry.host.clone(),
        namespace: entry.namespace.clone(),
        kind: entry.kind,
        name: entry.name.clone(),
        event: entry.event.clone(),
        stage: entry.stage.clone(),
        attempt: entry.attempt,
        waited_for: Vec::new(),
        took_ms: None,
        usual_ms: usual.map(|usual| usual.as_millis() as u64),
        outcome: Outcome::Open,
        why: None,
    }
}

fn note(stage: &mut Passed, entry: &Entry) {
    let hook = entry.hook.as_deref().unwrap_or_default();
    let detail = || entry.detail.clone().unwrap_or_default();
    let mut wait = |what: String| {
        if stage.waited_for.last() != Some(&what) {
            stage.waited_for.push(what);
        }
    };
    match entry.what {
        What::Begun | What::HookAsked => {}
        What::HookAnswered => {
            let took = std::time::Duration::from_millis(entry.took_ms.unwrap_or_default());
            wait(format!("{hook} {}", super::estimate::short(took)));
        }
        What::HookHolds => wait(format!("{hook} holds: {}", detail())),
        What::HookMissed => wait(format!("{hook} missed: {}", detail())),
        What::Again => wait(detail()),
        What::Done => {
            stage.outcome = Outcome::Done;
            stage.took_ms = entry.took_ms;
        }
        What::Failed | What::HookFailed => {
            stage.outcome = Outcome::Failed;
            stage.took_ms = entry.took_ms.or(stage.took_ms);
            stage.why = entry.detail.clone();
        }
    }
    if entry.hook.is_none() {
        stage.attempt = stage.attempt.max(entry.attempt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(what: What, detail: &str) -> Entry {
        Entry {
            hook: Some("before:define".into()),
            detail: Some(detail.into()),
            ..Entry::sample("define", what, Some(2_000))
        }
    }

    #[test]
    fn a_stage_is_one_row_with_all_that_it_waited_for() {
        let entries = [
            hook(What::HookAsked, ""),
            hook(What::HookHolds, "approval"),
            hook(What::HookHolds, "approval"),
            hook(What::HookAnswered, ""),
            Entry::sample("define", What::Begun, None),
            Entry {
                attempt: 2,
                detail: Some("the host is busy".into()),
                ..Entry::sample("define", What::Again, None)
            },
            Entry {
                attempt: 2,
                ..Entry::sample("define", What::Done, Some(300))
            },
            Entry {
                hook: Some("after:define".into()),
                ..Entry::sample("define", What::HookAnswered, Some(1_500))
            },
        ];
        let passed = stages(&entries);
        assert_eq!(passed.len(), 1, "{passed:?}");
        assert_eq!((passed[0].attempt, passed[0].took_ms), (2, Some(300)));
        assert_eq!(passed[0].outcome, Outcome::Done);
        assert_eq!(
            passed[0].waited_for,
            [
                "before:define holds: approval",
                "before:define 2.0s",
                "the host is busy",
                "after:define 1.5s"
            ]
        );
    }

    #[test]
    fn a_killed_run_leaves_its_stage_open_and_the_next_run_has_its_own() {
        let entries = [
            Entry::sample("disks", What::Begun, None),
            Entry {
                run: "next".into(),
                ..Entry::sample("disks", What::Begun, None)
            },
            Entry {
                run: "next".into(),
                ..Entry::sample("disks", What::Done, Some(10))
            },
        ];
        let outcomes: Vec<_> = stages(&entries).iter().map(|p| p.outcome).collect();
        assert_eq!(outcomes, [Outcome::Open, Outcome::Done]);
    }

    #[test]
    fn what_is_usual_comes_from_the_runs_before() {
        let entries = [
            Entry::sample("disks", What::Begun, None),
            Entry::sample("disks", What::Done, Some(1_000)),
            Entry::sample("disks", What::Begun, None),
            Entry::sample("disks", What::Failed, Some(5_000)),
        ];
        let usual: Vec<_> = stages(&entries).iter().map(|p| p.usual_ms).collect();
        assert_eq!(usual, [None, Some(1_000)]);
    }
}
