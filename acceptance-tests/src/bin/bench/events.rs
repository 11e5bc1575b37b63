//! Events of a pool that is filled, delivered to many who listen at once.

use crate::subjects::Programs;
use labyard_acceptance_tests::daemon::Daemon;
use labyard_acceptance_tests::error::Result;
use labyard_acceptance_tests::simulated::Simulated;
use labyard_acceptance_tests::wait::{Look, until};
use labyard_api::client::Client;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const LONG: Duration = Duration::from_secs(900);

/// What was measured.
#[derive(Serialize, Deserialize)]
pub struct Delivered {
    /// Machines that were made meanwhile.
    pub machines: usize,
    /// Who listened.
    pub listeners: usize,
    /// Events that each of them got.
    pub events: usize,
    /// Seconds that it took to make the machines.
    pub made: f64,
    /// Seconds from the moment that an event says to its delivery: half are no later.
    pub p50: f64,
    /// All but one in a hundred are no later.
    pub p99: f64,
    /// Seconds until all of them had the whole log, asked for at once from its beginning.
    pub replay: f64,
}

/// Fills a pool of so many machines before so many listeners, each of which has to get every event once, in order.
pub fn measure(programs: &Programs, (machines, listeners): (usize, usize)) -> Result<Delivered> {
    let host = Simulated::start();
    let daemon = Daemon::by(
        &programs.labyard(),
        &format!(
            "[limits]\nconnections = 4096\n[hosts.lab1]\nsim = {{ socket = {:?} }}\ncapacity = {{ memory_mib = 16777216, cpus = 1048576 }}\n",
            host.socket().display().to_string()
        ),
    );
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| labyard_acceptance_tests::HarnessError::file("start a runtime".to_owned())(error))?;
    let listening = runtime.block_on(async { listen(&daemon, listeners, After::Now) });
    let begun = Instant::now();
    daemon.put("/v1/pools/fleet", &pool(machines));
    until(&format!("{machines} machines are free"), LONG, || {
        let shown = daemon.json(&["pool", "show", "fleet"]);
        let free = shown["pool"]["counts"]["free"].as_u64().unwrap_or_default();
        Ok(match usize::try_from(free) == Ok(machines) {
            true => Look::Holds(()),
            false => Look::NotYet(format!("{free} are")),
        })
    })?;
    let made = begun.elapsed().as_secs_f64();
    let newest = newest(&daemon);
    let mut lags = Vec::new();
    let mut events = 0;
    for listener in listening {
        let heard = runtime.block_on(listener.until(newest));
        events = heard.len();
        lags.extend(heard);
    }
    lags.sort_by(f64::total_cmp);
    let begun = Instant::now();
    for listener in runtime.block_on(async { listen(&daemon, listeners, After::Nothing) }) {
        runtime.block_on(listener.until(newest));
    }
    Ok(Delivered {
        machines,
        listeners,
        events,
        made,
        p50: lags[lags.len() / 2],
        p99: lags[lags.len() * 99 / 100],
        replay: begun.elapsed().as_secs_f64(),
    })
}

fn pool(machines: usize) -> serde_json::Value {
    json!({
        "name": "fleet", "ready": machines, "max": machines, "max_in_flight": 16, "recycle": "recreate",
        "template": {
            "cpus": 1, "memory_mib": 128, "ready": {"wait": "none"}, "shutdown": {"mode": "force"},
            "disks": {"root": {"size_gib": 1}},
        },
    })
}

/// From where a listener hears.
#[derive(Clone, Copy)]
enum After {
    /// The newest event.
    Now,
    /// The first.
    Nothing,
}

/// One that hears, in a task of its own.
struct Listener {
    heard: tokio::sync::mpsc::UnboundedReceiver<(i64, f64)>,
    first: i64,
}

impl Listener {
    /// How late each event came, up to that one.
    async fn until(mut self, newest: i64) -> Vec<f64> {
        let (mut lags, mut last) = (Vec::new(), self.first);
        while last < newest {
            let (id, lag) = self.heard.recv().await.expect("the stream goes on");
            assert_eq!(id, last + 1, "an event was lost or doubled");
            last = id;
            lags.push(lag);
        }
        lags
    }
}

fn listen(daemon: &Daemon, listeners: usize, after: After) -> Vec<Listener> {
    let first = match after {
        After::Now => newest(daemon),
        After::Nothing => 0,
    };
    let one = |_| {
        let client = Client::http(daemon.url(), Some(daemon.token().to_owned())).expect("an endpoint");
        let (tell, heard) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut events = client.events(None, Some(first)).await.expect("events");
            while let Some(event) = events.next().await {
                let event = event.expect("an event");
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let at = event.at.as_millisecond() as f64 / 1e3;
                if tell.send((event.id, since.as_secs_f64() - at)).is_err() {
                    break;
                }
            }
        });
        Listener { heard, first }
    };
    (0..listeners).map(one).collect()
}

fn newest(daemon: &Daemon) -> i64 {
    let said = daemon.cli(daemon.token(), &["events", "-o", "json"]).stdout;
    let last = said
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok());
    last.and_then(|event: serde_json::Value| event["id"].as_i64())
        .unwrap_or_default()
}
