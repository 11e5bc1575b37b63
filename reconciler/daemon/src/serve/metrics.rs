//! Numbers for Prometheus, in its text format 0.0.4: what the process counts itself, and what the store shows at the time
//! of the question. Who sees some namespaces sees the numbers of these, and none of the whole.

use labyard_api::routes::Op;
use labyard_foreman::meter::{Histogram, Numbers};
use labyard_labs::{member::State, pool::work::Waiting, quota, show::PoolShown};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// What the process counts.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(String, u16), Histogram>>,
    limited: Mutex<u64>,
}

/// What the store and the foreman show at the time of the question.
pub(crate) struct Seen<'s> {
    /// The pools.
    pub(crate) pools: &'s [PoolShown],
    /// Operations that go on.
    pub(crate) running: u64,
    /// What namespaces may have, and hold.
    pub(crate) quotas: &'s [quota::Shown],
    /// What belongs to no namespace, for who sees all of them.
    pub(crate) whole: Option<Whole>,
}

/// What belongs to no namespace.
pub(crate) struct Whole {
    /// The newest event.
    pub(crate) newest: i64,
    /// Work that no worker has.
    pub(crate) waiting: Waiting,
    /// What the foreman of this process has counted.
    pub(crate) numbers: Numbers,
}

impl Metrics {
    /// A request was answered.
    pub(crate) fn answered(&self, op: Op, status: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (labyard_api::openapi::operation_id(op), status);
        requests.entry(key).or_default().add(took);
    }

    /// A request was refused because of failures before it.
    pub(crate) fn limited(&self) {
        *self.limited.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }

    /// All of it.
    pub(crate) fn text(&self, seen: &Seen<'_>) -> String {
        let mut out = String::new();
        of_pools(&mut out, seen.pools);
        head(
            &mut out,
            "labyard_operations_running",
            "gauge",
            "Operations that go on.",
        );
        line(&mut out, "labyard_operations_running", "", seen.running);
        of_quotas(&mut out, seen.quotas);
        if let Some(whole) = &seen.whole {
            self.of_process(&mut out);
            head(&mut out, "labyard_events_total", "counter", "Events of the log.");
            line(&mut out, "labyard_events_total", "", whole.newest);
            of_work(&mut out, whole);
        }
        out
    }

    /// What the process has counted.
    fn of_process(&self, out: &mut String) {
        let requests = self
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let requests = requests.iter().map(|((op, status), histogram)| {
            let labels = format!("operation=\"{op}\",status=\"{status}\"");
            (labels, histogram)
        });
        histograms(
            out,
            "labyard_request_seconds",
            "Time to the answer of requests.",
            requests,
        );
        head(
            out,
            "labyard_limited_total",
            "counter",
            "Requests refused because of failures before them.",
        );
        let limited = *self.limited.lock().unwrap_or_else(PoisonError::into_inner);
        line(out, "labyard_limited_total", "", limited);
    }
}

/// The pools, and who waits for them.
fn of_pools(out: &mut String, pools: &[PoolShown]) {
    head(
        out,
        "labyard_pool_machines",
        "gauge",
        "Machines of pools by what they are.",
    );
    for shown in pools {
        for state in State::ALL {
            let labels = format!("{},state=\"{state}\"", labels_of(shown));
            let count = shown.counts.get(&state).copied().unwrap_or_default();
            line(out, "labyard_pool_machines", &labels, count);
        }
    }
    for (name, help, value) in [
        (
            "labyard_pool_ready_wanted",
            "Free machines that a pool keeps.",
            as_ready as fn(&PoolShown) -> u64,
        ),
        (
            "labyard_pool_machines_most",
            "Machines that a pool may have.",
            as_most,
        ),
        (
            "labyard_pool_waiting",
            "Claims that wait for machines of a pool.",
            as_waiting,
        ),
        (
            "labyard_pool_failures",
            "Builds of a pool that failed in a row.",
            as_failures,
        ),
    ] {
        head(out, name, "gauge", help);
        for shown in pools {
            line(out, name, &labels_of(shown), value(shown));
        }
    }
}

/// What namespaces hold, and how much they may.
fn of_quotas(out: &mut String, quotas: &[quota::Shown]) {
    let each = |shown: &quota::Shown| {
        let (quota, used) = (shown.quota, shown.used);
        [
            ("machines", quota.machines, used.machines),
            ("cpus", quota.cpus, used.cpus),
            ("memory_mib", quota.memory_mib, used.memory_mib),
        ]
    };
    let labels = |shown: &quota::Shown, of: &str| {
        format!("namespace=\"{}\",of=\"{of}\"", escaped(shown.namespace.as_str()))
    };
    head(
        out,
        "labyard_quota",
        "gauge",
        "What a namespace may have at most.",
    );
    for shown in quotas {
        for (of, quota, _) in each(shown) {
            if let Some(quota) = quota {
                line(out, "labyard_quota", &labels(shown, of), quota);
            }
        }
    }
    head(out, "labyard_quota_used", "gauge", "What is held of it.");
    for shown in quotas {
        for (of, _, used) in each(shown) {
            line(out, "labyard_quota_used", &labels(shown, of), used);
        }
    }
}

/// What the foreman does, and what it has yet to do.
fn of_work(out: &mut String, whole: &Whole) {
    let numbers = &whole.numbers;
    let work = numbers.work.iter().map(|((task, outcome), histogram)| {
        let labels = format!("task=\"{task}\",outcome=\"{outcome}\"");
        (labels, histogram)
    });
    histograms(
        out,
        "labyard_work_seconds",
        "Time of work on machines of pools.",
        work,
    );
    let stages = numbers.stages.iter();
    let stages = stages.map(|(stage, histogram)| (format!("stage=\"{stage}\""), histogram));
    histograms(
        out,
        "labyard_stage_seconds",
        "Time of the stages of machines that were made.",
        stages,
    );
    let help = "Time from the request of a claim to its machines being ready.";
    let claims = [(String::new(), &numbers.claims)];
    histograms(out, "labyard_claim_ready_seconds", help, claims.into_iter());
    head(
        out,
        "labyard_host_looks_total",
        "counter",
        "Looks at hosts, by whether they answered.",
    );
    for (host, looks) in &numbers.looks {
        for (result, count) in [("answered", looks.answered), ("failed", looks.failed)] {
            let labels = format!("host=\"{}\",result=\"{result}\"", escaped(host));
            line(out, "labyard_host_looks_total", &labels, count);
        }
    }
    let turns = [(String::new(), &numbers.turns)];
    histograms(
        out,
        "labyard_turn_seconds",
        "Time of the reconciler's turns.",
        turns.into_iter(),
    );
    if let Some(since) = numbers.since_turn {
        let help = "How long ago the last turn ended.";
        head(out, "labyard_since_turn_seconds", "gauge", help);
        line(out, "labyard_since_turn_seconds", "", since.as_secs_f64());
    }
    head(
        out,
        "labyard_work_waiting",
        "gauge",
        "Pieces of work that no worker has.",
    );
    line(out, "labyard_work_waiting", "", whole.waiting.pieces);
    let help = "How long the oldest of them could have been taken.";
    head(out, "labyard_reconcile_lag_seconds", "gauge", help);
    let seconds = whole.waiting.oldest_ms as f64 / 1e3;
    line(out, "labyard_reconcile_lag_seconds", "", seconds);
}

fn histograms<'h>(
    out: &mut String,
    name: &str,
    help: &str,
    all: impl Iterator<Item = (String, &'h Histogram)>,
) {
    head(out, name, "histogram", help);
    for (labels, histogram) in all {
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound, count) in histogram.within() {
            let with = format!("{labels}{comma}le=\"{bound}\"");
            line(out, &format!("{name}_bucket"), &with, count);
        }
        let with = format!("{labels}{comma}le=\"+Inf\"");
        line(out, &format!("{name}_bucket"), &with, histogram.count());
        line(out, &format!("{name}_sum"), &labels, histogram.sum());
        line(out, &format!("{name}_count"), &labels, histogram.count());
    }
}

fn as_ready(shown: &PoolShown) -> u64 {
    shown.pool.spec.ready.into()
}

fn as_most(shown: &PoolShown) -> u64 {
    shown.pool.spec.max.into()
}

fn as_waiting(shown: &PoolShown) -> u64 {
    shown.waiting
}

fn as_failures(shown: &PoolShown) -> u64 {
    shown.pool.failures.into()
}

fn labels_of(shown: &PoolShown) -> String {
    let (namespace, name) = (shown.pool.namespace.as_str(), shown.pool.name.as_str());
    format!("namespace=\"{}\",pool=\"{}\"", escaped(namespace), escaped(name))
}

/// As the values of labels are written.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        labels => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_each_answer_in_all_buckets_above_it() {
        let metrics = Metrics::default();
        metrics.answered(Op::Redeem, 201, Duration::from_millis(20));
        metrics.answered(Op::Redeem, 201, Duration::from_secs(60));
        let meter = labyard_foreman::meter::Meter::default();
        meter.claim_ready(Duration::from_millis(400));
        let of = |whole| Seen {
            pools: &[],
            running: 0,
            quotas: &[],
            whole,
        };
        let of_some = metrics.text(&of(None));
        assert!(
            !of_some.contains("request") && !of_some.contains("events"),
            "{of_some}"
        );
        let text = metrics.text(&of(Some(Whole {
            newest: 7,
            waiting: Waiting {
                pieces: 2,
                oldest_ms: 1500,
            },
            numbers: meter.numbers(),
        })));
        for expected in [
            "labyard_request_seconds_bucket{operation=\"redeem\",status=\"201\",le=\"0.01\"} 0\n",
            "labyard_request_seconds_bucket{operation=\"redeem\",status=\"201\",le=\"0.025\"} 1\n",
            "labyard_request_seconds_bucket{operation=\"redeem\",status=\"201\",le=\"+Inf\"} 2\n",
            "labyard_events_total 7\n",
            "labyard_claim_ready_seconds_bucket{le=\"0.25\"} 0\n",
            "labyard_claim_ready_seconds_bucket{le=\"1\"} 1\n",
            "labyard_claim_ready_seconds_count 1\n",
            "labyard_work_waiting 2\n",
            "labyard_reconcile_lag_seconds 1.5\n",
        ] {
            assert!(text.contains(expected), "{expected}{text}");
        }
    }
}
