//! The kill matrix: every fault at every stage of a create, an update and a destroy; then one apply or destroy converges, and
//! an inventory shows nothing left over and nothing doubled. Its cells are made of the table of stages, so that a stage which
//! is new is in it.
//!
//! The machines are stopped; 20 cells drawn by `LABYARD_SEED` (printed) have a guest that runs, all of them where
//! `LABYARD_SLOW=1`, and only those whose name has what `LABYARD_TEST_CASES` says.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use labyard_acceptance_tests::backend::Backend;
use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::host::{Daemon, Host};
use labyard_acceptance_tests::inventory::Inventory;
use labyard_acceptance_tests::processes::{self, Signal};
use labyard_acceptance_tests::terraform::{Install, Running, Terraform};
use labyard_acceptance_tests::wait::{Look, until};
use labyard_acceptance_tests::whole::{assert_whole, write_image};
use labyard_reconciler::steps::STEPS;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(120);
const FAULT: &str = "LABYARD_FAULT";
/// How many cells run with a guest unless all do.
const DRAWN: usize = 20;

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

/// Whether the machine is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guest {
    Off,
    Runs,
}

/// A working directory with a network and the machine `web` on it.
struct Bench<'h> {
    host: &'h Host,
    terraform: Terraform<'h>,
    files: TempDir,
    guest: Guest,
    image: String,
    backend: Option<Backend>,
    empty: Inventory,
}

impl<'h> Bench<'h> {
    fn new(host: &'h Host, guest: Guest, backend: Option<Backend>) -> Self {
        let files = TempDir::new().unwrap();
        let image = match guest {
            Guest::Off => {
                let source = write_image(&files.path().join("image.qcow2"), 100_000).unwrap();
                format!("{{ source = \"{source}\" }}")
            }
            Guest::Runs => hcl::image(),
        };
        // A backend needs `init`, which looks for the provider where it would be installed.
        let install = match backend {
            Some(_) => Install::Mirror {
                version: env!("CARGO_PKG_VERSION").into(),
            },
            None => Install::Override,
        };
        let bench = Self {
            host,
            terraform: Terraform::installed(&install).unwrap(),
            files,
            guest,
            image,
            backend,
            empty: host.inventory().unwrap(),
        };
        bench.ask_for(128);
        if bench.backend.is_some() {
            bench.terraform.init().unwrap().expect_success();
        }
        bench
    }

    /// Another memory is another description: the seed and the data disk differ with it.
    fn ask_for(&self, memory: u32) {
        let power = match self.guest {
            Guest::Off => "power = \"stopped\"".to_owned(),
            Guest::Runs => hcl::boot("console=ttyS0") + "\n  shutdown = { mode = \"force\" }",
        };
        let machine = hcl::machine(
            "web",
            format!(
                "memory_mib = {memory}\n  {power}\n  disks = {{\n    root = {{ image = {} }}\n    data = {{ \
                 size_gib = {} }}\n  }}\n  nics = {{ lan = {{ network = labyard_network.lab.name }} }}\n  cloud_init = {{ \
                 user_data = \"#cloud-config\\n# {memory}\\n\" }}",
                self.image,
                memory / 128
            ),
        );
        let backend = self.backend.as_ref().map(Backend::hcl).unwrap_or_default();
        let config = backend + &hcl::on(self.host) + &hcl::network("lab", 77) + &machine;
        self.terraform.write("main.tf", &config).unwrap();
    }

    fn held(&self) -> PathBuf {
        self.files.path().join("held")
    }

    /// An operation that has come through a stage and stands there.
    fn hold(&mut self, operation: Operation, stage: &str, fault: Fault) -> Running {
        // Who ends a run twice does not wait for the provider's end.
        let grip = if fault == Fault::CtrlCTwice {
            "freeze"
        } else {
            "hold"
        };
        let point = operation.point(stage);
        self.terraform
            .env(FAULT, &format!("{grip}@{point}:{}", self.held().display()));
        let running = self
            .terraform
            .start(&[operation.command(), "-json", "-input=false", "-auto-approve"])
            .unwrap();
        self.terraform.env(FAULT, "");
        wait_until(&point, || self.held().exists() || !running.goes_on());
        if !self.held().exists() {
            panic!(
                "{operation:?} ended before {point}:\n{}",
                running.end().unwrap().text()
            );
        }
        running
    }

    /// Lets the fault happen, and waits until all is quiet.
    fn strike(&self, running: Running, fault: Fault) {
        let provider = running.provider().expect("a provider runs");
        match fault {
            Fault::ProviderKilled => processes::send(Signal::Kill, provider).unwrap(),
            Fault::TerraformKilled => running.signal(Signal::Kill).unwrap(),
            Fault::DaemonKilled => {
                self.host.daemon(Daemon::Kill).unwrap();
                self.host.daemon(Daemon::Start).unwrap();
                std::fs::remove_file(self.held()).unwrap();
            }
            Fault::CtrlC => running.signal(Signal::Interrupt).unwrap(),
            Fault::CtrlCTwice => {
                running.signal(Signal::Interrupt).unwrap();
                let stopped = self.files.path().join("held.stopped");
                wait_until("the word of the end", || stopped.exists());
                running.signal(Signal::Interrupt).unwrap();
                std::fs::remove_file(stopped).unwrap();
            }
        }
        // Whether an operation that lost only its daemon ends well is its own affair.
        running.end().unwrap();
        drop(std::fs::remove_file(self.held()));
        // A provider without its Terraform ends by itself; until then it counts as a living builder.
        wait_until("the provider's end", || !processes::runs(provider));
    }

    /// Who ends a run twice is told that data may be lost: Terraform may have cut its own state short. What it wrote
    /// before is beside it, and a person puts that back.
    fn put_back_state(&self, before: &str) {
        if !before.is_empty() && !self.terraform.state_text().contains("labyard_vm") {
            eprintln!("Terraform has lost its state");
            std::fs::write(self.terraform.state_file(), before).unwrap();
        }
    }

    fn cell(&mut self, operation: Operation, stage: &str, fault: Fault) {
        let before = self.terraform.state_text();
        let running = self.hold(operation, stage, fault);
        self.strike(running, fault);
        if fault == Fault::CtrlCTwice && operation != Operation::Create {
            self.put_back_state(&before);
        }
        self.terraform
            .run(&[operation.command(), "-input=false", "-auto-approve"])
            .unwrap()
            .expect_success();
        if operation == Operation::Destroy {
            let changes = self.empty.changes_to(&self.host.inventory().unwrap());
            assert!(changes.is_empty(), "left over or lost:\n{changes}");
        } else {
            assert_whole(self.host, &["web"]);
            self.terraform.plan(&[]).unwrap().expect_empty();
        }
    }
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    until(what, LIMIT, || {
        Ok(if holds() {
            Look::Holds(())
        } else {
            Look::NotYet("not so".into())
        })
    })
    .unwrap();
}

/// A create, an update and a destroy that each meet the fault at each stage.
fn whole_life(fault: Fault) {
    let host = Host::start().unwrap();
    for stage in stages() {
        let mut bench = Bench::new(&host, Guest::Off, None);
        for operation in [Operation::Create, Operation::Update, Operation::Destroy] {
            eprintln!("{operation:?}, {fault:?} at {stage}");
            if operation == Operation::Update {
                bench.ask_for(256);
            }
            bench.cell(operation, &stage, fault);
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
        bench.terraform.destroy(&[]).unwrap().expect_success();
        let changes = bench.empty.changes_to(&host.inventory().unwrap());
        assert!(changes.is_empty(), "left over or lost:\n{changes}");
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

#[test]
fn a_running_guest_survives_or_is_made_whole_whatever_was_killed() {
    let seed = std::env::var("LABYARD_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs()
        });
    eprintln!("LABYARD_SEED={seed}");
    let wanted = std::env::var("LABYARD_TEST_CASES").unwrap_or_default();
    let operations = [Operation::Create, Operation::Update, Operation::Destroy];
    let all: Vec<_> = stages()
        .into_iter()
        .flat_map(|stage| FAULTS.map(|fault| (stage.clone(), fault)))
        .flat_map(|(stage, fault)| operations.map(|operation| (operation, stage.clone(), fault)))
        .filter(|(operation, stage, fault)| name_of(*operation, stage, *fault).contains(&wanted))
        .collect();
    let cells = match std::env::var("LABYARD_SLOW").as_deref() {
        Ok("1") => all,
        _ => shuffled(all, seed).into_iter().take(DRAWN).collect(),
    };
    let mut host = Host::start().unwrap();
    let mut failed = Vec::new();
    let (count, began) = (cells.len(), Instant::now());
    for (operation, stage, fault) in cells {
        let from = Instant::now();
        let cell = name_of(operation, &stage, fault);
        let life = || life_with_guest(&host, operation, &stage, fault);
        let passed = std::panic::catch_unwind(AssertUnwindSafe(life)).is_ok();
        let outcome = if passed { "ok" } else { "FAILED" };
        eprintln!("{cell} ... {outcome}, {:.1} s", from.elapsed().as_secs_f64());
        if !passed {
            failed.push(cell);
            // What it left there would count against the next.
            host = Host::start().unwrap();
        }
    }
    eprintln!(
        "CASES {} of {count} cells with a guest passed, in {} s",
        count - failed.len(),
        began.elapsed().as_secs()
    );
    assert!(failed.is_empty(), "failed:\n{}", failed.join("\n"));
}

fn name_of(operation: Operation, stage: &str, fault: Fault) -> String {
    format!("{operation:?} with a guest, {fault:?} at {stage}")
}

/// One cell with a guest, from nothing to nothing.
fn life_with_guest(host: &Host, operation: Operation, stage: &str, fault: Fault) {
    let mut bench = Bench::new(host, Guest::Runs, None);
    if operation != Operation::Create {
        bench.terraform.apply(&[]).unwrap().expect_success();
    }
    if operation == Operation::Update {
        bench.ask_for(256);
    }
    bench.cell(operation, stage, fault);
    if operation != Operation::Destroy {
        bench.terraform.destroy(&[]).unwrap().expect_success();
    }
}
