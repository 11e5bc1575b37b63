//! Proof 3 as a whole program: a daemon that is killed with -9, or stopped, anywhere in the life of a pool and its claims. What
//! a foreman does before and after each single write is shown below HTTP (`reconciler/foreman/tests/suite/kills.rs`); here it
//! is the process with all that it has.

use crate::{
    claims::on_both,
    daemon::{Daemon, until_within},
    working::{Sim, pool, put},
};
use labyard_store::testing::Database;
use serde_json::{Value, json};
use std::{cell::Cell, time::Duration};

on_both!(a_daemon_killed_at_drawn_moments_of_a_pools_life_comes_to_its_end_each_time);

/// Short, so that what a dead one held is soon another's.
const WORK: &str = "[work]\nlease = \"2s\"\n";
/// How long anything may take, a lease included.
const WITHIN: u64 = 120;
/// Up to when after its beginning a stage is cut off: longer than it takes.
const STAGE_MS: u64 = 700;

/// Moments, drawn by a seed that is printed: the same in each run but where LABYARD_SEED says another.
struct Moments(Cell<u64>);

impl Moments {
    fn drawn() -> Self {
        let given = std::env::var("LABYARD_SEED").ok();
        let seed = given.and_then(|text| text.parse().ok()).unwrap_or(20_261_122);
        eprintln!("LABYARD_SEED={seed}");
        Self(Cell::new(seed | 1))
    }

    /// The next one (xorshift64*).
    fn next(&self) -> Duration {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        Duration::from_millis((x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % STAGE_MS)
    }
}

/// A daemon with its host, whom somebody kills.
struct Life<'a> {
    daemon: Daemon,
    sim: Sim,
    moments: &'a Moments,
}

impl Life<'_> {
    /// Killed at a moment that was drawn, and begun again; twice, for the second finds what the first left.
    fn is_killed(&mut self) {
        for _ in 0..2 {
            let moment = self.moments.next();
            eprintln!("killed after {moment:?}");
            std::thread::sleep(moment);
            self.daemon.kill();
            self.daemon.restart();
        }
    }

    fn shown(&self, path: &str) -> Value {
        self.daemon.ask("GET", path, &self.daemon.admin, &[]).body
    }

    /// Waits until the pool has so many free machines of its newest template and no others, and looks that the host has the
    /// same.
    fn settled(&self, free: usize) {
        let members = until_within("the pool is what it is asked to be", WITHIN, || {
            let pool = self.shown("/v1/pools/k8s");
            let members = self.shown("/v1/pools/k8s/machines")["items"].clone();
            let all = members.as_array()?;
            let is_new = |one: &Value| one["state"] == "free" && one["generation"] == pool["generation"];
            (all.len() == free && all.iter().all(is_new)).then_some(members)
        });
        let mut members: Vec<String> = members
            .as_array()
            .unwrap()
            .iter()
            .map(|member| member["name"].as_str().unwrap().to_owned())
            .collect();
        members.sort();
        assert_eq!(self.sim.machines(), members, "none doubled, none orphaned");
    }
}

fn a_daemon_killed_at_drawn_moments_of_a_pools_life_comes_to_its_end_each_time(database: &Database) {
    let (sim, moments) = (Sim::start(), Moments::drawn());
    let daemon = Daemon::start(database, &format!("{}{WORK}", sim.lines()));
    let mut life = Life {
        daemon,
        sim,
        moments: &moments,
    };
    assert_eq!(put(&life.daemon, "/v1/pools/k8s", &pool(2), &[]).status, 202);
    life.is_killed();
    life.settled(2);

    let code = put(
        &life.daemon,
        "/v1/codes/class",
        &json!({"pools": {"k8s": {}}}),
        &[],
    );
    assert_eq!(code.status, 202, "{code:?}");
    let typed = life.shown("/v1/codes/class/values")["values"]["main"].clone();
    let typed = typed.as_str().unwrap();
    let got = life.daemon.redeem("ada", "key", typed, &[]);
    assert_eq!(got.status, 201, "{got:?}");
    life.is_killed();
    let again = life.daemon.redeem("ada", "key", typed, &[]);
    let identity =
        |answer: &crate::daemon::Answer| (answer.body["claim"]["id"].clone(), answer.body["secret"].clone());
    assert_eq!(identity(&got), identity(&again), "the same claim");
    let path = format!("/v1/claims/{}", got.body["claim"]["id"].as_str().unwrap());
    until_within("the claim is ready", WITHIN, || {
        (life.shown(&path)["phase"] == "ready").then_some(())
    });

    assert_eq!(
        life.daemon.ask("DELETE", &path, &life.daemon.admin, &[]).status,
        200
    );
    life.is_killed();
    life.settled(2);

    let mut other = pool(2);
    other["template"]["memory_mib"] = 96.into();
    assert_eq!(put(&life.daemon, "/v1/pools/k8s", &other, &[]).status, 202);
    life.is_killed();
    life.settled(2);

    let removed = life
        .daemon
        .ask("DELETE", "/v1/pools/k8s", &life.daemon.admin, &[]);
    assert_eq!(removed.status, 202, "{removed:?}");
    life.is_killed();
    until_within("the pool is gone", WITHIN, || {
        let shown = life.daemon.ask("GET", "/v1/pools/k8s", &life.daemon.admin, &[]);
        (shown.problem() == "no-pool").then_some(())
    });
    assert!(life.sim.machines().is_empty(), "{:?}", life.sim.machines());
}

/// Two replicas work on one host; one is stopped while it does, and goes on when its work is the other's.
#[test]
fn a_replica_that_is_stopped_at_its_work_and_goes_on_later_changes_nothing_that_is_the_others() {
    let Some(database) = Database::postgres() else {
        return;
    };
    let (sim, moments) = (Sim::start(), Moments::drawn());
    let lines = format!("{}{WORK}", sim.lines());
    let one = Daemon::start(&database, &lines);
    let mut life = Life {
        daemon: one.beside(&lines),
        sim,
        moments: &moments,
    };
    for (memory, ready) in [(64, 2), (96, 2), (128, 1)] {
        let mut asked = pool(ready);
        asked["template"]["memory_mib"] = memory.into();
        assert_eq!(put(&one, "/v1/pools/k8s", &asked, &[]).status, 202);
        std::thread::sleep(life.moments.next());
        one.signal("STOP");
        life.settled(ready as usize);
        one.signal("CONT");
        let shown = until_within("it serves again", WITHIN, || {
            let shown = one.ask("GET", "/v1/pools/k8s/machines", &one.admin, &[]);
            (shown.status == 200).then_some(shown)
        });
        // Nothing that it still had to do is done to what the other one made.
        assert_eq!(shown.body["items"].as_array().unwrap().len(), ready as usize);
        life.settled(ready as usize);
    }
    drop(one);
    life.is_killed();
    life.settled(1);
}
