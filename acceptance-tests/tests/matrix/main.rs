//! The kill matrix: every fault at every stage of a create, an update and a destroy, and a kill of the provider at the single
//! calls that change the host; then one apply or destroy converges, and an inventory shows nothing left over and nothing
//! doubled. Its cells are made of the table of stages and of the calls that an undisturbed run makes, so that a stage or a
//! call which is new is in it.
//!
//! The machines are stopped and have all that leaves something on a host; 20 cells drawn by `LABYARD_SEED` (printed) have a
//! small one that runs, and so are the calls drawn. Where `LABYARD_SLOW=1` all are gone through, and only those whose name has
//! what `LABYARD_TEST_CASES` says.

mod bench;

use std::panic::AssertUnwindSafe;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use labyard_acceptance_tests::backend::Backend;
use labyard_acceptance_tests::host::Host;
use labyard_reconciler::steps::STEPS;

use bench::{Bench, Guest, Shape};

/// How many cells run with a guest unless all do.
const DRAWN: usize = 20;
/// How many calls of each operation are cut short unless all are.
const CALLS: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    ProviderKilled,
    TerraformKilled,
    DaemonKilled,
    CtrlC,
    CtrlCTwice,
}

const FAULTS: [Fault; 5] = [
    Fault::ProviderKilled,
    Fault::TerraformKilled,
    Fault::DaemonKilled,
    Fault::CtrlC,
    Fault::CtrlCTwice,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Create,
    Update,
    Destroy,
}

const OPERATIONS: [Operation; 3] = [Operation::Create, Operation::Update, Operation::Destroy];

impl Operation {
    /// The name of the point after a stage of this operation.
    fn point(self, stage: &str) -> String {
        match self {
            Self::Create | Self::Update => stage.to_owned(),
            Self::Destroy => format!("undo-{stage}"),
        }
    }

    fn command(self) -> &'static str {
        match self {
            Self::Create | Self::Update => "apply",
            Self::Destroy => "destroy",
        }
    }
}

fn stages() -> Vec<String> {
    STEPS
        .iter()
        .map(|step| format!("{:?}", step.stage).to_lowercase())
        .collect()
}

/// A create, an update and a destroy that each meet the fault at each stage.
fn whole_life(fault: Fault) {
    let host = Host::start().unwrap();
    for stage in stages() {
        let mut bench = Bench::new(&host, Guest::Off, None);
        for operation in OPERATIONS {
            eprintln!("{operation:?}, {fault:?} at {stage}");
            if operation == Operation::Update {
                bench.ask_for(Shape::Second);
            }
            bench.cell(operation, &operation.point(&stage), fault);
        }
    }
}

#[test]
fn a_provider_killed_at_any_stage_costs_nothing() {
    whole_life(Fault::ProviderKilled);
}

#[test]
fn a_terraform_killed_at_any_stage_costs_nothing() {
    whole_life(Fault::TerraformKilled);
}

#[test]
fn a_libvirtd_killed_at_any_stage_costs_nothing() {
    whole_life(Fault::DaemonKilled);
}

#[test]
fn a_run_ended_by_ctrl_c_at_any_stage_costs_nothing() {
    whole_life(Fault::CtrlC);
}

#[test]
fn a_run_given_up_by_ctrl_c_twice_at_any_stage_costs_nothing() {
    whole_life(Fault::CtrlCTwice);
}

#[test]
fn a_create_whose_remote_state_was_lost_with_its_terraform_is_finished_by_the_next_apply() {
    let host = Host::start().unwrap();
    for (stage, fault) in stages().iter().zip(FAULTS.iter().cycle()) {
        eprintln!("Create with a remote state, {fault:?} at {stage}");
        let mut bench = Bench::new(&host, Guest::Off, Some(Backend::serve().unwrap()));
        bench.cell(Operation::Create, stage, *fault);
        bench.run(Operation::Destroy);
        bench.assert_gone();
    }
}

/// Numbers that look random, the same for the same seed.
fn shuffled<T>(mut all: Vec<T>, mut seed: u64) -> Vec<T> {
    for last in (1..all.len()).rev() {
        // Knuth's MMIX generator; its high bits are good enough to draw lots.
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        all.swap(last, (seed >> 33) as usize % (last + 1));
    }
    all
}

/// What is drawn from where nothing else is asked for: a change is judged by the same cells as the one before it.
const SEED: u64 = 1;

/// The number by which lots are drawn; printed, so that they can be drawn again. `LABYARD_SEED=new` goes looking for
/// others.
fn seed() -> u64 {
    let seed = match std::env::var("LABYARD_SEED").as_deref() {
        Ok("new") => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.unwrap_or_default().as_secs()
        }
        Ok(given) => given
            .parse()
            .unwrap_or_else(|_| panic!("LABYARD_SEED={given} is no number")),
        Err(_) => SEED,
    };
    eprintln!("LABYARD_SEED={seed}");
    seed
}

/// As many as asked for, drawn by the seed; all of them in the slow tests.
fn drawn<T>(all: Vec<T>, count: usize, seed: u64) -> Vec<T> {
    match std::env::var("LABYARD_SLOW").as_deref() {
        Ok("1") => all,
        _ => shuffled(all, seed).into_iter().take(count).collect(),
    }
}

/// The cells whose name has what is asked for.
fn wanted<C>(mut cells: Vec<(String, C)>) -> Vec<(String, C)> {
    let part = std::env::var("LABYARD_TEST_CASES").unwrap_or_default();
    cells.retain(|(name, _)| name.contains(&part));
    cells
}

/// Goes through cells; after one that failed the others go on, on another host.
fn go_through<C>(cells: Vec<(String, C)>, life: impl Fn(&Host, &C)) {
    let mut host = Host::start().unwrap();
    let mut failed = Vec::new();
    let (count, began) = (cells.len(), Instant::now());
    for (name, cell) in cells {
        let from = Instant::now();
        let passed = std::panic::catch_unwind(AssertUnwindSafe(|| life(&host, &cell))).is_ok();
        let outcome = if passed { "ok" } else { "FAILED" };
        eprintln!("{name} ... {outcome}, {:.1} s", from.elapsed().as_secs_f64());
        if !passed {
            failed.push(name);
            // What it left there would count against the next.
            host = Host::start().unwrap();
        }
    }
    eprintln!(
        "CASES {} of {count} cells passed, in {} s",
        count - failed.len(),
        began.elapsed().as_secs()
    );
    assert!(failed.is_empty(), "failed:\n{}", failed.join("\n"));
}

/// The places of an operation at which a provider can be killed: before a call that changes something on the host, and
/// after its answer, when the host may have done it and nobody has noted it.
fn places(calls: Vec<String>) -> Vec<(String, String)> {
    let numbered = calls.into_iter().zip(1..);
    numbered
        .flat_map(|(call, number)| ["call", "called"].map(|edge| (format!("{edge}-{number}"), call.clone())))
        .collect()
}

#[test]
fn a_provider_killed_at_any_call_that_changes_the_host_costs_nothing() {
    let seed = seed();
    let host = Host::start().unwrap();
    let mut bench = Bench::new(&host, Guest::Off, None);
    let drawn = OPERATIONS.map(|operation| {
        if operation == Operation::Update {
            bench.ask_for(Shape::Second);
        }
        let calls = bench.calls(operation);
        eprintln!("{operation:?} makes {} calls: {}", calls.len(), calls.join(" "));
        drawn(places(calls), CALLS, seed)
    });
    bench.assert_gone();
    drop(bench);
    let lives = drawn.iter().map(Vec::len).max().unwrap_or_default();
    let lives = (0..lives).map(|life| {
        let kills = drawn.each_ref().map(|places| places.get(life).cloned());
        let names = OPERATIONS.iter().zip(&kills).filter_map(|(operation, kill)| {
            let (place, call) = kill.as_ref()?;
            Some(format!("{operation:?} killed at {place} {call}"))
        });
        (names.collect::<Vec<_>>().join(", "), kills)
    });
    go_through(wanted(lives.collect()), |host, kills| {
        let mut bench = Bench::new(host, Guest::Off, None);
        for (operation, kill) in OPERATIONS.into_iter().zip(kills) {
            if operation == Operation::Update {
                bench.ask_for(Shape::Second);
            }
            match kill {
                Some((place, _)) => bench.cell(operation, place, Fault::ProviderKilled),
                None => bench.run(operation),
            }
        }
    });
}

#[test]
fn a_running_guest_survives_or_is_made_whole_whatever_was_killed() {
    let seed = seed();
    let all: Vec<_> = stages()
        .into_iter()
        .flat_map(|stage| FAULTS.map(|fault| (stage.clone(), fault)))
        .flat_map(|(stage, fault)| OPERATIONS.map(|operation| (operation, stage.clone(), fault)))
        .map(|cell| {
            (
                format!("{:?} with a guest, {:?} at {}", cell.0, cell.2, cell.1),
                cell,
            )
        })
        .collect();
    go_through(
        drawn(wanted(all), DRAWN, seed),
        |host, (operation, stage, fault)| {
            let mut bench = Bench::new(host, Guest::Runs, None);
            if *operation != Operation::Create {
                bench.run(Operation::Create);
            }
            if *operation == Operation::Update {
                bench.ask_for(Shape::Second);
            }
            bench.cell(*operation, &operation.point(stage), *fault);
            if *operation != Operation::Destroy {
                bench.run(Operation::Destroy);
            }
        },
    );
}
