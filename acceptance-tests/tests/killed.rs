//! `kill -9` of the provider, of Terraform and of libvirtd at each stage of a create: one more `terraform apply`
//! converges, nothing is left over, nothing doubled; and a destroy leaves the host as it was.

use labyard_acceptance_tests::host::{Daemon, Host};
use labyard_acceptance_tests::processes::{self, Signal};
use labyard_acceptance_tests::terraform::{Running, Terraform};
use labyard_acceptance_tests::wait::comes;
use labyard_acceptance_tests::web::Web;
use labyard_acceptance_tests::whole::{assert_whole, lab, write_image};
use labyard_acceptance_tests::{Result, hcl};
use labyard_reconciler::steps::STEPS;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);
const FAULT: &str = "LABYARD_FAULT";
const APPLY: &[&str] = &["apply", "-json", "-input=false", "-auto-approve"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Provider,
    Terraform,
}

/// What Terraform still knows when it runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    AsItWas,
    Lost,
}

fn stages() -> Vec<String> {
    STEPS
        .iter()
        .map(|step| format!("{:?}", step.stage).to_lowercase())
        .collect()
}

/// A working directory whose apply makes the network `lab` and the machine `web`.
struct Bench<'h> {
    host: &'h Host,
    terraform: Terraform<'h>,
    files: TempDir,
}

impl<'h> Bench<'h> {
    fn new(host: &'h Host) -> Self {
        let files = TempDir::new().unwrap();
        let terraform = Terraform::new().unwrap();
        let bench = Self {
            host,
            terraform,
            files,
        };
        let image = write_image(&bench.file("image.qcow2"), 100_000).unwrap();
        bench.ask_for(&image);
        bench
    }

    fn ask_for(&self, image: &str) {
        let config = hcl::on(self.host) + &lab(image, &["web"]);
        self.terraform.write("main.tf", &config).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn held(&self) -> PathBuf {
        self.file("held")
    }

    /// An apply that has come through a stage and stands there.
    fn hold_at(&mut self, stage: &str) -> Running {
        self.terraform
            .env(FAULT, &format!("hold@{stage}:{}", self.held().display()));
        let running = self.terraform.start(APPLY).unwrap();
        self.terraform.env(FAULT, "");
        comes(&format!("the stage {stage}"), SOON, || {
            self.held().exists() || !running.goes_on()
        });
        if !self.held().exists() {
            panic!("the apply ended by itself:\n{}", running.end().unwrap().text());
        }
        running
    }

    /// One plain apply makes all good, and after a destroy the host is as it was.
    fn assert_converges(&self, begun: &labyard_acceptance_tests::inventory::Inventory, case: &str) {
        eprintln!("{case}");
        self.terraform.apply(&[]).unwrap().expect_success();
        assert_whole(self.host, &["web"]);
        self.terraform.plan(&[]).unwrap().expect_empty();
        self.terraform.destroy(&[]).unwrap().expect_success();
        let changes = begun.changes_to(&self.host.inventory().unwrap());
        assert!(changes.is_empty(), "{case}: left over or lost:\n{changes}");
    }
}

fn kill(running: Running, victim: Victim) -> Result<()> {
    let provider = running.provider().expect("a provider runs");
    match victim {
        Victim::Provider => processes::send(Signal::Kill, provider)?,
        Victim::Terraform => running.signal(Signal::Kill)?,
    }
    running.end()?.expect_failure();
    // A provider without its Terraform ends by itself; until then it counts as a living builder.
    comes("the provider's end", SOON, || !processes::runs(provider));
    Ok(())
}

fn kill_at_every_stage(victim: Victim, first: State) {
    let host = Host::start().unwrap();
    let mut state = first;
    for stage in stages() {
        let begun = host.inventory().unwrap();
        let mut bench = Bench::new(&host);
        let running = bench.hold_at(&stage);
        kill(running, victim).unwrap();
        if state == State::Lost {
            std::fs::remove_file(bench.terraform.state_file()).unwrap();
        }
        bench.assert_converges(&begun, &format!("{victim:?} killed at {stage}, state {state:?}"));
        state = match state {
            State::AsItWas => State::Lost,
            State::Lost => State::AsItWas,
        };
    }
}

#[test]
fn a_create_whose_provider_was_killed_at_any_stage_is_finished_by_the_next_apply() {
    kill_at_every_stage(Victim::Provider, State::AsItWas);
}

#[test]
fn a_create_whose_terraform_was_killed_at_any_stage_is_finished_by_the_next_apply() {
    kill_at_every_stage(Victim::Terraform, State::Lost);
}

/// An image that comes to its middle and no further until it is told to.
fn half_an_image(bench: &Bench<'_>) -> Web {
    let file = bench.file("web.qcow2");
    write_image(&file, 3 << 20).unwrap();
    let content = std::fs::read(file).unwrap();
    let half = content.len() as u64 / 2;
    let web = Web::serve(content, half).unwrap();
    bench.ask_for(&web.url());
    web
}

/// The source waits in its middle, and the host has the beginning.
fn wait_for_first_bytes(host: &Host, web: &Web) {
    comes("the beginning of the image", SOON, || {
        let volumes = std::fs::read_dir(host.pool_directory()).unwrap();
        let begun = volumes.flatten().any(|volume| {
            let mut magic = [0; 4];
            let read = File::open(volume.path()).and_then(|mut file| file.read_exact(&mut magic));
            read.is_ok() && magic == *b"QFI\xfb"
        });
        begun && web.waiting() > 0
    });
}

#[test]
fn an_upload_that_was_killed_in_its_middle_leaves_nothing_behind() {
    let host = Host::start().unwrap();
    for victim in [Victim::Provider, Victim::Terraform] {
        let begun = host.inventory().unwrap();
        let bench = Bench::new(&host);
        let web = half_an_image(&bench);
        let running = bench.terraform.start(APPLY).unwrap();
        wait_for_first_bytes(&host, &web);
        kill(running, victim).unwrap();
        web.open();
        bench.assert_converges(&begun, &format!("{victim:?} killed in mid-upload"));
    }
}

#[test]
fn a_libvirtd_that_was_killed_and_started_again_in_mid_create_costs_nothing() {
    let host = Host::start().unwrap();
    for stage in ["record", "image", "disks", "define"] {
        let begun = host.inventory().unwrap();
        let mut bench = Bench::new(&host);
        let running = bench.hold_at(stage);
        host.daemon(Daemon::Kill).unwrap();
        host.daemon(Daemon::Start).unwrap();
        std::fs::remove_file(bench.held()).unwrap();
        running.end().unwrap().expect_success();
        bench.assert_converges(&begun, &format!("libvirtd killed at {stage}"));
    }
}

#[test]
fn a_libvirtd_that_was_killed_in_mid_upload_or_stays_away_is_an_error_that_the_next_apply_mends() {
    let host = Host::start().unwrap();
    let begun = host.inventory().unwrap();
    let bench = Bench::new(&host);
    let web = half_an_image(&bench);
    let running = bench.terraform.start(APPLY).unwrap();
    wait_for_first_bytes(&host, &web);
    host.daemon(Daemon::Kill).unwrap();
    web.open();
    let failed = running.end().unwrap().expect_failure();
    assert!(failed.took() < SOON, "{:?}", failed.took());
    host.daemon(Daemon::Start).unwrap();
    bench.assert_converges(&begun, "libvirtd killed in mid-upload");
}
