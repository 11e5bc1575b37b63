//! Placement on simulated hosts: many at once, several engines, and a kill in between.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use labyard_driver::Driver;
use labyard_driver::ids::{HostName, Mib};
use labyard_driver::observed::{HostFacts, MachineSize};
use labyard_driver::spec::Firmware;
use labyard_driver_sim::{Edge, Fault, FaultKind, ForeignHand, Latency, Settings, SimDriver, SimHost};
use labyard_reconciler::EngineError;
use labyard_reconciler::capacity::Need;
use labyard_reconciler::derived::Taken;
use labyard_reconciler::engine::{Deps, Embedded, Engine, Want};
use labyard_reconciler::hooks::request::Request;
use labyard_reconciler::hooks::{Call, Failure, Hook, Hooks, OnError, OnUpdate, Target};
use labyard_reconciler::host::{Cordon, Host, HostPolicy};
use labyard_reconciler::journal::stages::{Outcome, stages};
use labyard_reconciler::journal::{Journal, file};
use labyard_reconciler::steps::Progress;
use labyard_schema::vm;

use serde_json::{Value, json};

use crate::rig::{Table, bounds, deps, deps_with, wish};

const MEMORY: u64 = 128;

fn hosts(fit: u64) -> [SimHost; 2] {
    [1, 2].map(|seed| {
        SimHost::new(Settings {
            seed,
            memory: Mib(fit * MEMORY),
            latency: Latency {
                least: Duration::from_millis(1),
                most: Duration::from_millis(20),
            },
            ..Settings::default()
        })
    })
}

fn engine(sims: &[SimHost; 2], table: &Table) -> Arc<Embedded> {
    engine_of(sims, deps(table))
}

fn engine_of(sims: &[SimHost; 2], deps: Deps) -> Arc<Embedded> {
    engine_with(sims, deps, Cordon::Open)
}

/// The same, where the first host takes new machines or not.
fn engine_with(sims: &[SimHost; 2], deps: Deps, first: Cordon) -> Arc<Embedded> {
    let hosts = sims.iter().zip([first, Cordon::Open]).enumerate();
    let hosts = hosts.map(|(n, (sim, cordon))| {
        let driver = || Arc::new(SimDriver::in_memory(sim)) as Arc<dyn Driver>;
        let policy = HostPolicy {
            cordon,
            ..HostPolicy::default()
        };
        Host::new(HostName(format!("lab{n}")), driver(), driver()).with_policy(policy)
    });
    Arc::new(Embedded::new(hosts.collect::<Vec<_>>(), deps))
}

async fn place(engine: Arc<Embedded>, name: String) -> Result<HostName, EngineError> {
    place_of(engine, name, None).await
}

/// The same, of an image that is a file of the host's.
async fn place_of(engine: Arc<Embedded>, name: String, file: Option<&str>) -> Result<HostName, EngineError> {
    let want = Want {
        namespace: "default".into(),
        name: name.as_str().into(),
        need: Need {
            size: MachineSize {
                cpus: 1,
                memory: Mib(MEMORY),
            },
            firmware: Firmware::Bios,
            disks: Default::default(),
        },
        networks: BTreeSet::new(),
        files: file.map(str::to_owned).into_iter().collect(),
        hosts: None,
    };
    let root = file.map(|path| vm::Disk {
        image: Some(vm::Image {
            source: format!("host:{path}"),
            sha256: None,
        }),
        bus: "virtio".into(),
        ..vm::Disk::default()
    });
    let config = vm::Vm {
        name,
        cpus: 1,
        memory_mib: MEMORY,
        power: "stopped".into(),
        allow_restart: true,
        disks: root.map(|root| [("root".to_owned(), root)].into()),
        labels: Some([("tier".to_owned(), "gold".to_owned())].into()),
        ..vm::Vm::default()
    };
    let desired = |_: &HostFacts, _: &Taken| Ok(wish(&config));
    let report = |_: &HostName, _: &Progress| {};
    engine.place_machine(&want, &desired, bounds(), &report).await
}

fn counts(sims: &[SimHost; 2]) -> [usize; 2] {
    sims.each_ref().map(|sim| sim.look().machines.len())
}

#[tokio::test(start_paused = true)]
async fn ten_at_once_by_one_engine_fill_two_hosts_evenly() {
    let sims = hosts(5);
    let engine = engine(&sims, &Table::default());
    let all = (0..10).map(|n| tokio::spawn(place(engine.clone(), format!("m{n}"))));
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap().unwrap();
    }
    assert_eq!(counts(&sims), [5, 5]);
    let full = place(engine, "more".into()).await.unwrap_err();
    assert!(matches!(full, EngineError::NoHost { .. }), "{full}");
    assert!(
        full.to_string().contains("lab0") && full.to_string().contains("lab1"),
        "{full}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_machine_goes_where_the_file_of_its_image_is_however_full_that_host_is() {
    const FILE: &str = "/srv/images/base.img";
    let sims = hosts(5);
    let engine = engine(&sims, &Table::default());
    let nowhere = place_of(engine.clone(), "web".into(), Some(FILE))
        .await
        .unwrap_err();
    assert!(matches!(nowhere, EngineError::NoHost { .. }), "{nowhere}");
    let told = nowhere.to_string();
    assert!(
        told.contains("lab0: it has no file") && told.contains("lab1: it has no file"),
        "{told}"
    );
    assert_eq!(counts(&sims), [0, 0]);

    sims[1]
        .by_other_hand(&ForeignHand::PutFile {
            path: FILE.into(),
            content: vec![7; 70_000],
        })
        .unwrap();
    for name in ["a", "b", "c"] {
        let host = place_of(engine.clone(), name.into(), Some(FILE)).await.unwrap();
        assert_eq!(host.as_str(), "lab1");
    }
    assert_eq!(counts(&sims), [0, 3]);
}

#[tokio::test(start_paused = true)]
async fn many_engines_at_once_overfill_no_host_and_leave_no_record_behind() {
    for round in 0..5 {
        let sims = hosts(3);
        let table = Table::default();
        let all = (0..8).map(|n| tokio::spawn(place(engine(&sims, &table), format!("m{round}-{n}"))));
        let mut placed = 0;
        for one in all.collect::<Vec<_>>() {
            match one.await.unwrap() {
                Ok(_) => placed += 1,
                Err(EngineError::NoHost { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let there = counts(&sims);
        assert!(there.iter().all(|count| *count <= 3), "{there:?}");
        assert_eq!(
            there.iter().sum::<usize>(),
            placed,
            "every record is of a machine that was told of"
        );
        assert_eq!(placed, 6, "room that there is is used");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cordoned_host_is_passed_over() {
    let sims = hosts(5);
    let engine = engine_with(&sims, deps(&Table::default()), Cordon::Closed);
    for n in 0..3 {
        assert_eq!(
            place(engine.clone(), format!("m{n}")).await.unwrap(),
            HostName::from("lab1")
        );
    }
}

/// A hook that always says the same, and what it was asked.
struct Says {
    answer: Value,
    asked: Mutex<Vec<Request>>,
}

#[async_trait]
impl Call for Says {
    async fn call(&self, _hook: &Hook, request: &Request) -> Result<Vec<u8>, Failure> {
        self.asked.lock().unwrap().push(request.clone());
        Ok(self.answer.to_string().into_bytes())
    }
}

fn saying(moment: &str, answer: Value, on_error: OnError) -> (Arc<Says>, Hooks) {
    let says = Arc::new(Says {
        answer,
        asked: Mutex::default(),
    });
    let hook = Hook {
        target: Target::Command(vec!["nobody runs it".into()]),
        timeout: Duration::from_secs(30),
        on_error,
        retries: 0,
        on_update: OnUpdate::Skip,
    };
    let hooks = Hooks::new([(moment.to_owned(), hook)].into(), says.clone());
    (says, hooks)
}

#[tokio::test(start_paused = true)]
async fn a_hook_before_the_placement_sees_what_could_take_the_machine_and_chooses() {
    let (sims, table) = (hosts(5), Table::default());
    let directory = tempfile::tempdir().unwrap();
    let (says, hooks) = saying(
        "before:placement",
        json!({"set": {"host": "lab1"}}),
        OnError::Fail,
    );
    let engine = engine_of(&sims, deps_with(&table, hooks, Journal::at(directory.path())));
    for n in 0..3 {
        assert_eq!(
            place(engine.clone(), format!("m{n}")).await.unwrap(),
            HostName::from("lab1")
        );
    }
    assert_eq!(counts(&sims), [0, 3]);
    let asked = says.asked.lock().unwrap();
    assert_eq!(
        (asked[0].host.as_deref(), asked[0].machine.id.as_deref()),
        (None, None)
    );
    assert_eq!(asked[0].candidates, ["lab0", "lab1"]);
    assert_eq!(asked[0].machine.labels["tier"], "gold");
    let rows = stages(&file::read(directory.path(), "default").unwrap());
    let row = rows.iter().find(|row| row.stage == "placement").unwrap();
    assert!(row.waited_for[0].starts_with("before:placement"), "{row:?}");
    assert_eq!(row.outcome, Outcome::Done);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_take_the_machine_is_an_error_of_the_hook_or_left_aside_as_it_says() {
    for (host, word) in [("lab7", "lab0, lab1"), ("lab0", "taken")] {
        let (sims, table) = (hosts(1), Table::default());
        // Full.
        let (_, hooks) = saying(
            "before:placement",
            json!({"set": {"host": "lab0"}}),
            OnError::Fail,
        );
        place(
            engine_of(&sims, deps_with(&table, hooks, Journal::off())),
            "first".into(),
        )
        .await
        .unwrap();
        let answer = json!({"set": {"host": host}});
        let (_, hooks) = saying("before:placement", answer.clone(), OnError::Fail);
        let engine = engine_of(&sims, deps_with(&table, hooks, Journal::off()));
        let error = place(engine, "web".into()).await.unwrap_err();
        assert!(matches!(error.root(), EngineError::Placement { .. }), "{error}");
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!(counts(&sims), [1, 0]);
        let (_, hooks) = saying("before:placement", answer, OnError::Continue);
        let engine = engine_of(&sims, deps_with(&table, hooks, Journal::off()));
        assert_eq!(place(engine, "web".into()).await.unwrap(), HostName::from("lab1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_after_the_placement_is_told_the_host_and_may_deny_it() {
    let (sims, table) = (hosts(1), Table::default());
    let denies = json!({"deny": {"reason": "not on a Sunday"}});
    let (says, hooks) = saying("after:placement", denies, OnError::Continue);
    let engine = engine_of(&sims, deps_with(&table, hooks, Journal::off()));
    for _ in 0..3 {
        // Room that a denied machine was counted for is free again.
        let error = place(engine.clone(), "web".into()).await.unwrap_err();
        assert!(error.to_string().contains("not on a Sunday"), "{error}");
    }
    assert_eq!(counts(&sims), [0, 0]);
    let asked = says.asked.lock().unwrap();
    assert!(
        asked
            .iter()
            .all(|request| request.host.as_deref() == Some("lab0")),
        "{asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_was_begun_on_a_host_that_is_silent_is_not_made_on_another() {
    let (sims, table) = (hosts(5), Table::default());
    sims[0].order(Fault::mutation(2, FaultKind::CrashCaller(Edge::After)));
    let begun = tokio::spawn(place(engine(&sims, &table), "web".into()));
    sims[0].caller_crashed().await;
    begun.abort();
    table.end_all();
    assert_eq!(counts(&sims), [1, 0]);

    sims[0].stop_daemon();
    let refused = place(engine(&sims, &table), "web".into()).await.unwrap_err();
    assert!(matches!(refused, EngineError::HostSilent { .. }), "{refused}");
    let refused = refused.to_string();
    assert!(
        refused.contains("lab0") && refused.contains("cordoned = true"),
        "{refused}"
    );
    assert_eq!(counts(&sims), [1, 0]);
    sims[0].start_daemon();
    let placed = place(engine(&sims, &table), "web".into()).await.unwrap();
    assert_eq!((placed, counts(&sims)), (HostName::from("lab0"), [1, 0]));

    sims[0].stop_daemon();
    let cordoned = engine_with(&sims, deps(&table), Cordon::Closed);
    let placed = place(cordoned, "other".into()).await.unwrap();
    assert_eq!((placed, counts(&sims)), (HostName::from("lab1"), [1, 1]));
}
