//! Placement on simulated hosts: many at once, several engines, and a kill in between.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use labyard_driver::Driver;
use labyard_driver::ids::{HostName, Mib};
use labyard_driver::observed::{HostFacts, MachineSize};
use labyard_driver::spec::Firmware;
use labyard_driver_sim::{Latency, Settings, SimDriver, SimHost};
use labyard_reconciler::EngineError;
use labyard_reconciler::capacity::Need;
use labyard_reconciler::engine::{Embedded, Engine, Want};
use labyard_reconciler::host::{Host, HostPolicy};
use labyard_reconciler::steps::Progress;
use labyard_schema::vm;

use crate::rig::{Table, bounds, deps, wish};

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
    let hosts = sims.iter().enumerate().map(|(n, sim)| {
        let driver = || Arc::new(SimDriver::in_memory(sim)) as Arc<dyn Driver>;
        Host::new(HostName(format!("lab{n}")), driver(), driver()).with_policy(HostPolicy::default())
    });
    Arc::new(Embedded::new(hosts.collect::<Vec<_>>(), deps(table)))
}

async fn place(engine: Arc<Embedded>, name: String) -> Result<HostName, EngineError> {
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
    };
    let config = vm::Vm {
        name,
        cpus: 1,
        memory_mib: MEMORY,
        power: "stopped".into(),
        allow_restart: true,
        ..vm::Vm::default()
    };
    let desired = |_: &HostFacts| Ok(wish(&config));
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
    let table = Table::default();
    let closed = HostPolicy {
        cordon: labyard_reconciler::host::Cordon::Closed,
        ..HostPolicy::default()
    };
    let made = sims.iter().zip([closed, HostPolicy::default()]).enumerate();
    let hosts = made.map(|(n, (sim, policy))| {
        let driver = || Arc::new(SimDriver::in_memory(sim)) as Arc<dyn Driver>;
        Host::new(HostName(format!("lab{n}")), driver(), driver()).with_policy(policy)
    });
    let engine = Arc::new(Embedded::new(hosts.collect::<Vec<_>>(), deps(&table)));
    for n in 0..3 {
        assert_eq!(
            place(engine.clone(), format!("m{n}")).await.unwrap(),
            HostName::from("lab1")
        );
    }
}
