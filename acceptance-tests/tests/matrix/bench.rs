//! A machine on a host, and what is done to whoever works on it.

use std::path::PathBuf;
use std::time::Duration;

use labyard_acceptance_tests::backend::Backend;
use labyard_acceptance_tests::boot_server::Authority;
use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::host::{Daemon, Host};
use labyard_acceptance_tests::inventory::Inventory;
use labyard_acceptance_tests::processes::{self, Signal};
use labyard_acceptance_tests::terraform::{Install, Running, Terraform};
use labyard_acceptance_tests::wait::comes;
use labyard_acceptance_tests::whole::{FULL, Full, SMALL, assert_whole_of, write_cd, write_image};
use tempfile::TempDir;

use crate::{Fault, Operation};

const LIMIT: Duration = Duration::from_secs(120);
const FAULT: &str = "LABYARD_FAULT";

/// Whether the machine is on. One that is off has all that leaves something on a host; one that runs has what boots soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guest {
    Off,
    Runs,
}

/// A working directory with networks and the machine `web` on them.
pub(crate) struct Bench<'h> {
    pub(crate) host: &'h Host,
    pub(crate) terraform: Terraform<'h>,
    pub(crate) empty: Inventory,
    files: TempDir,
    guest: Guest,
    image: String,
    ca: String,
    backend: Option<Backend>,
}

/// Which of the machine's descriptions: all that can change without a replacement is different in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    First,
    Second,
}

impl<'h> Bench<'h> {
    pub(crate) fn new(host: &'h Host, guest: Guest, backend: Option<Backend>) -> Self {
        let files = TempDir::new().unwrap();
        let (image, ca) = match guest {
            Guest::Off => {
                let image = write_image(&files.path().join("image.qcow2"), 100_000).unwrap();
                (image, Authority::new("lab").unwrap().pem().unwrap())
            }
            Guest::Runs => (hcl::image(), String::new()),
        };
        // A backend needs `init`, which looks for the provider where it would be installed.
        let install = match backend {
            Some(_) => Install::Mirror {
                version: env!("CARGO_PKG_VERSION").into(),
            },
            None => Install::Override,
        };
        let mut bench = Self {
            host,
            terraform: Terraform::installed(&install).unwrap(),
            files,
            guest,
            image,
            ca,
            backend,
            empty: host.inventory().unwrap(),
        };
        bench.ask_for(Shape::First);
        if bench.backend.is_some() {
            bench.terraform.init().unwrap().expect_success();
        }
        bench
    }

    pub(crate) fn ask_for(&mut self, shape: Shape) {
        let machine = match self.guest {
            Guest::Off => self.stopped(shape),
            Guest::Runs => self.running(shape),
        };
        let backend = self.backend.as_ref().map(Backend::hcl).unwrap_or_default();
        let config = backend + &hcl::on(self.host) + &machine;
        self.terraform.write("main.tf", &config).unwrap();
    }

    fn stopped(&mut self, shape: Shape) -> String {
        let (memory_mib, number, data_gib, cd) = match shape {
            Shape::First => (128, 10, 1, "first"),
            Shape::Second => (256, 20, 2, "second"),
        };
        if shape == Shape::Second {
            self.ca = Authority::new("other lab").unwrap().pem().unwrap();
        }
        let cd = write_cd(&self.files.path().join(format!("{cd}.iso")), cd).unwrap();
        let full = Full {
            name: "web",
            memory_mib,
            number,
            data_gib,
            image: &self.image,
            cd: &cd,
            ca: &self.ca,
        };
        full.hcl()
    }

    fn running(&self, shape: Shape) -> String {
        let size = if shape == Shape::First { 1 } else { 2 };
        let machine = hcl::machine(
            "web",
            format!(
                "memory_mib = {}\n  {}\n  shutdown = {{ mode = \"force\" }}\n  disks = {{\n    root = {{ image = {} }}\n    \
                 data = {{ size_gib = {size} }}\n  }}\n  nics = {{ lan = {{ network = labyard_network.lab.name }} }}\n  \
                 cloud_init = {{ user_data = \"#cloud-config\\n# {size}\\n\" }}",
                128 * size,
                hcl::boot("console=ttyS0"),
                self.image,
            ),
        );
        hcl::network("lab", 77) + &machine
    }

    fn held(&self) -> PathBuf {
        self.files.path().join("held")
    }

    /// An operation that has come to a place and stands there.
    fn hold(&mut self, operation: Operation, place: &str, fault: Fault) -> Running {
        // Who ends a run twice does not wait for the provider's end.
        let grip = if fault == Fault::CtrlCTwice {
            "freeze"
        } else {
            "hold"
        };
        self.terraform
            .env(FAULT, &format!("{grip}@{place}:{}", self.held().display()));
        let running = self
            .terraform
            .start(&[operation.command(), "-json", "-input=false", "-auto-approve"])
            .unwrap();
        self.terraform.env(FAULT, "");
        comes(place, LIMIT, || self.held().exists() || !running.goes_on());
        if !self.held().exists() {
            panic!(
                "{operation:?} ended before {place}:\n{}",
                running.end().unwrap().text()
            );
        }
        running
    }

    /// The calls of an operation that change something on the host, in their order. It is done after that.
    pub(crate) fn calls(&mut self, operation: Operation) -> Vec<String> {
        let list = self.files.path().join("calls");
        self.terraform
            .env(FAULT, &format!("list@calls:{}", list.display()));
        self.run(operation);
        self.terraform.env(FAULT, "");
        let text = std::fs::read_to_string(&list).unwrap();
        std::fs::remove_file(list).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The operation, undisturbed.
    pub(crate) fn run(&self, operation: Operation) {
        self.terraform
            .run(&[operation.command(), "-input=false", "-auto-approve"])
            .unwrap()
            .expect_success();
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
                comes("the word of the end", LIMIT, || stopped.exists());
                running.signal(Signal::Interrupt).unwrap();
                std::fs::remove_file(stopped).unwrap();
            }
        }
        // Whether an operation that lost only its daemon ends well is its own affair.
        running.end().unwrap();
        drop(std::fs::remove_file(self.held()));
        // A provider without its Terraform ends by itself; until then it counts as a living builder.
        comes("the provider's end", LIMIT, || !processes::runs(provider));
    }

    /// Who ends a run twice is told that data may be lost: Terraform may leave its state half written, empty, or
    /// without what it knew. What it wrote before is beside it, and a person puts that back.
    fn put_back_state(&self, before: &str) {
        self.terraform.put_back_half_a_state(before);
        if !before.is_empty() && !self.terraform.state_text().contains("labyard_vm") {
            eprintln!("Terraform has lost its state");
            std::fs::write(self.terraform.state_file(), before).unwrap();
        }
    }

    /// The operation meets the fault at a place; one more of its kind is the end of it.
    pub(crate) fn cell(&mut self, operation: Operation, place: &str, fault: Fault) {
        let before = self.terraform.state_text();
        let running = self.hold(operation, place, fault);
        self.strike(running, fault);
        if fault == Fault::CtrlCTwice {
            self.put_back_state(&before);
        }
        self.run(operation);
        if operation == Operation::Destroy {
            self.assert_gone();
        } else {
            let parts = match self.guest {
                Guest::Off => &FULL,
                Guest::Runs => &SMALL,
            };
            assert_whole_of(self.host, &["web"], parts);
            self.terraform.plan(&[]).unwrap().expect_empty();
        }
    }

    #[track_caller]
    pub(crate) fn assert_gone(&self) {
        self.host.assert_as(&self.empty);
    }
}
