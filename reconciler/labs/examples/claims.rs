//! How long a claim of a machine that is free takes, against a bare durable commit on the same store in the same run.
//!
//! ```sh
//! cargo run --release -p labyard-labs --example claims -- sqlite 1 100 1000
//! ```
//! Claimers all ask at the same moment. A bare commit is the least that the store takes: one line of the log, each in a
//! commit of its own, which is what a claim would cost at least where claims did not share commits. A line that shares
//! its commit with those who wait beside it, as claims do, is shown too: what is above it is the claim's own work.
//! Rounds take turns. The answer is JSON: for each number of claimers p50 and p99 of all three in seconds, medians of
//! the rounds.

#![expect(clippy::unwrap_used, reason = "a tool that measures ends where it cannot")]

use labyard_labs::{
    Refusal,
    claim::{
        lease::Limits,
        redeem::{Request, redeem},
    },
    code::{CodeText, Terms},
    ids::UserName,
    show::Scope,
};
use labyard_store::{
    Store, StoreError,
    event::{Event, Moment},
    testing::Database,
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Barrier, Mutex};

const HOUR: i64 = 3_600_000;
/// Claims one after another, where there is one claimer: fewer would have no p99.
const ALONE: usize = 200;
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() {
    let mut words = std::env::args().skip(1);
    let database = match words.next().as_deref() {
        Some("sqlite") => Database::sqlite(),
        Some("postgres") => Database::postgres().expect("a PostgreSQL server is installed"),
        _ => panic!("usage: claims sqlite|postgres CLAIMERS..."),
    };
    let store = database.open().await;
    let mut lines = Vec::new();
    for (nth, claimers) in words.map(|word| word.parse::<usize>().unwrap()).enumerate() {
        let [mut claims, mut commits, mut lines_shared] = [const { Percentiles(Vec::new()) }; 3];
        for round in 0..ROUNDS {
            let (in_turn, count) = if claimers == 1 {
                (true, ALONE)
            } else {
                (false, claimers)
            };
            let pool = format!("p{nth}r{round}");
            let code = lab(
                &store,
                &pool,
                count,
                [u8::try_from(nth * ROUNDS + round).unwrap(); 10],
            )
            .await;
            let turn = Arc::new(Mutex::new(()));
            commits.add(all(count, in_turn, |_| bare_by_itself(store.clone(), turn.clone())).await);
            lines_shared.add(all(count, in_turn, |_| bare(store.clone())).await);
            claims.add(all(count, in_turn, |user| claim(store.clone(), code.clone(), user)).await);
        }
        lines.push(json!({"claimers": claimers, "claim": claims.medians(), "commit": commits.medians(), "line": lines_shared.medians()}));
    }
    println!("{}", serde_json::to_string_pretty(&lines).unwrap());
}

/// A pool with so many free machines, and the code for them.
async fn lab(store: &Store, pool: &str, free: usize, random: [u8; 10]) -> CodeText {
    let code = CodeText::from_random(random);
    let (pool, text) = (pool.to_owned(), code.clone());
    let made: Result<(), StoreError> = store
        .write(move |write| {
            let limits = Limits { length_ms: 2 * HOUR, max_ms: 8 * HOUR, idle_ms: None, pause_ms: HOUR };
            write.execute(
                "INSERT INTO pools (namespace, name, id, spec, generation, phase) VALUES ('default', $1, $1, $2, 1, 'active')",
                &[(&pool).into(), json!({"lease": limits, "max": free}).to_string().into()],
            )?;
            for number in 0..i64::try_from(free).unwrap() {
                write.execute(
                    "INSERT INTO members (id, namespace, pool, number, name, host, state, generation, since, detail) \
                     VALUES ($1, 'default', $2, $3, $1, 'lab1', 'free', 1, 0, '{}')",
                    &[format!("{pool}-{number}").into(), (&pool).into(), number.into()],
                )?;
            }
            let terms = Terms { pools: BTreeMap::from([(pool.as_str().into(), 1)]), ..Terms::default() };
            write.execute(
                "INSERT INTO codes (namespace, name, id, spec) VALUES ('default', $1, $1, $2)",
                &[(&pool).into(), serde_json::to_string(&terms).unwrap().into()],
            )?;
            let hash = write.finding_hash("code", text.as_compared());
            let sealed = write.seal(&format!("codes/{pool}"), text.as_compared().as_bytes())?;
            write.execute(
                "INSERT INTO code_values (hash, code, label, sealed) VALUES ($1, $2, 'main', $3)",
                &[hash.into(), (&pool).into(), sealed.0.into()],
            )?;
            write.event(&Event::new(Moment(0), "default", "bench", "lab.made", &pool)).map(drop)
        })
        .await;
    made.unwrap();
    code
}

async fn claim(store: Store, code: CodeText, user: usize) {
    let request = Request {
        code,
        user: UserName::from(format!("user{user}").as_str()),
        idempotency_key: format!("key{user}"),
        source: None,
        wait_ms: None,
        public_key: None,
        bind: Default::default(),
        scope: Scope::All,
    };
    let got: Result<_, Refusal> = store.write(move |write| redeem(write, &request, Moment(1))).await;
    assert_eq!(got.unwrap().claim.machines.len(), 1);
}

async fn bare(store: Store) {
    let done: Result<_, StoreError> = store
        .write(|write| write.event(&Event::new(Moment(1), "default", "bench", "noted", "nothing")))
        .await;
    done.unwrap();
}

/// Whose turn it is is alone with the store: nobody shares its commit.
async fn bare_by_itself(store: Store, turn: Arc<Mutex<()>>) {
    let _held = turn.lock().await;
    bare(store).await;
}

/// How long each of so many takes, at once or one after another.
async fn all<F: Future<Output = ()> + Send + 'static>(
    count: usize,
    in_turn: bool,
    work: impl Fn(usize) -> F,
) -> Vec<Duration> {
    let mut took = Vec::with_capacity(count);
    if in_turn {
        for nth in 0..count {
            let begun = Instant::now();
            work(nth).await;
            took.push(begun.elapsed());
        }
        return took;
    }
    let start = Arc::new(Barrier::new(count));
    let running: Vec<_> = (0..count)
        .map(|nth| {
            let (start, work) = (start.clone(), work(nth));
            tokio::spawn(async move {
                start.wait().await;
                let begun = Instant::now();
                work.await;
                begun.elapsed()
            })
        })
        .collect();
    for one in running {
        took.push(one.await.unwrap());
    }
    took
}

/// p50 and p99 of each round.
struct Percentiles(Vec<(f64, f64)>);

impl Percentiles {
    fn add(&mut self, mut took: Vec<Duration>) {
        took.sort();
        let at = |share: f64| took[((took.len() as f64 * share).ceil() as usize).clamp(1, took.len()) - 1];
        self.0.push((at(0.5).as_secs_f64(), at(0.99).as_secs_f64()));
    }

    fn medians(&self) -> serde_json::Value {
        let median = |of: fn(&(f64, f64)) -> f64| {
            let mut all: Vec<f64> = self.0.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        json!({"p50": median(|p| p.0), "p99": median(|p| p.1)})
    }
}
