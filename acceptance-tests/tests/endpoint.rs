//! The provider through a daemon: what of the provider block is refused, and what becomes of an apply when either of the two
//! ends. That resources are the same by both ways is shown by their own tests.

use labyard_acceptance_tests::daemon::Daemon;
use labyard_acceptance_tests::kept::Kept;
use labyard_acceptance_tests::processes::{self, Signal};
use labyard_acceptance_tests::simulated::Simulated;
use labyard_acceptance_tests::terraform::Run;
use labyard_acceptance_tests::wait::comes;
use labyard_acceptance_tests::{Terraform, hcl};
use labyard_driver_sim::Latency;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);
const APPLY: &[&str] = &["apply", "-json", "-input=false", "-auto-approve"];

fn pool(ready: u32) -> String {
    hcl::resource(
        "labyard_vm_pool",
        "k8s",
        format!(
            "ready = {ready}\n  max = 9\n  recycle = \"recreate\"\n  template = {{ memory_mib = 64, boot = {{ kernel = \"/k\" }}, ready = {{ wait = \"none\" }} }}"
        ),
    )
}

fn block(body: &str) -> String {
    format!(
        "terraform {{\n  required_providers {{\n    labyard = {{ source = \"labyard/labyard\" }}\n  }}\n}}\nprovider \"labyard\" {{\n  {body}\n}}\n"
    )
}

#[track_caller]
fn assert_said(run: &Run, text: &str) {
    assert!(run.text().contains(text), "{text:?} is not in\n{}", run.text());
}

#[test]
fn what_the_daemon_has_is_refused_beside_its_endpoint_and_so_is_a_daemon_that_does_not_answer() {
    let terraform = Terraform::new().unwrap();
    let nowhere = "endpoint = \"http://127.0.0.1:1\"";
    for (more, attribute) in [
        ("hosts = { a = { sim = { socket = \"/s\" } } }", "hosts"),
        ("store = \"/s\"", "store"),
        ("store_key_file = \"/k\"", "store_key_file"),
        ("journal = \"off\"", "journal"),
        (
            "hooks = { \"before:define\" = { url = \"https://h.example\" } }",
            "hooks",
        ),
    ] {
        let run = terraform.plan_of(&(block(&format!("{nowhere}\n  {more}")) + &pool(1)));
        let run = run.run().clone().expect_failure();
        assert_said(&run, &format!("take {attribute} out here"));
    }
    let run = terraform.plan_of(&(block(nowhere) + &pool(1))).run().clone();
    assert_said(&run.clone().expect_failure(), "was not reached");
    assert_said(&run, "set token, or LABYARD_TOKEN");
    let plain = terraform.plan_of(&(block("endpoint = \"http://labyard.example\"") + &pool(1)));
    assert_said(&plain.run().clone().expect_failure(), "use https");
}

#[test]
fn a_token_that_only_looks_plans_and_reads_and_changes_nothing() {
    let (kept, host) = (Kept::sqlite(), Simulated::start());
    let daemon = Daemon::start(&kept.place(), &host.hosts(), "");
    let terraform = Terraform::new().unwrap();
    let code = "resource \"labyard_access_code\" \"class\" {\n  name = \"class\"\n  pools = { k8s = { count = 1 } }\n}\n";
    terraform.applied(&(daemon.provider("default", "") + &pool(1) + code));
    let viewer = daemon.token_of("ci", "viewer");
    let reading = |more: &str| {
        block(&format!(
            "endpoint = {:?}\n  token = {viewer:?}\n  {more}",
            daemon.url()
        ))
    };
    terraform
        .planned(&(reading("read_only = true") + &pool(1) + code))
        .expect_empty();
    terraform
        .write("main.tf", &(reading("") + &pool(2) + code))
        .unwrap();
    let refused = terraform.apply(&[]).unwrap().expect_failure();
    assert_said(&refused, "admin");
    let wrong = terraform
        .plan_of(&(block(&format!("endpoint = {:?}\n  token = \"lyt_no\"", daemon.url())) + &pool(1)));
    assert_said(&wrong.run().clone().expect_failure(), "Daemon not usable");
}

/// A data source of a code, and one that is given to another code.
fn looked_at(name: &str) -> (String, String) {
    let data = format!(
        "data \"labyard_access_code\" \"it\" {{\n  name = {name:?}\n}}\noutput \"uses\" {{\n  value = data.labyard_access_code.it.codes[\"main\"].uses\n}}\n"
    );
    let given = hcl::resource(
        "labyard_access_code",
        "other",
        "pools = { k8s = {} }\n  code_wo = ephemeral.labyard_access_code.it.codes[\"main\"]\n  code_wo_version = 1",
    );
    let ephemeral = format!("ephemeral \"labyard_access_code\" \"it\" {{\n  name = {name:?}\n}}\n");
    (data, ephemeral + &given)
}

#[test]
fn who_only_looks_reads_the_uses_of_a_code_and_is_told_who_may_read_what_is_typed() {
    let (kept, host) = (Kept::sqlite(), Simulated::start());
    let daemon = Daemon::start(&kept.place(), &host.hosts(), "");
    let mut terraform = Terraform::new().unwrap();
    terraform.env("TF_VAR_code", "Sentinel-Q7-101");
    let codes = hcl::resource("labyard_access_code", "class", "pools = { k8s = {} }")
        + &hcl::resource(
            "labyard_access_code",
            "secret",
            "pools = { k8s = {} }\n  code_wo = var.code\n  code_wo_version = 1",
        )
        + "variable \"code\" {\n  ephemeral = true\n}\n"
        + &pool(1);
    terraform.applied(&(daemon.provider("default", "") + &codes));
    kept.redeem("sentinel q7 101", "ada").unwrap();
    let shown = || kept.events("code.shown");
    let before = shown();
    for role in ["viewer", "operator"] {
        let token = daemon.token_of(role, role);
        let head = block(&format!("endpoint = {:?}\n  token = {token:?}", daemon.url()));
        for (name, uses) in [("class", 0), ("secret", 1)] {
            let looker = Terraform::new().unwrap();
            let (data, ephemeral) = looked_at(name);
            looker.applied(&(head.clone() + &data));
            assert_eq!(
                looker.state().unwrap()["values"]["outputs"]["uses"]["value"],
                uses,
                "{name} as {role}"
            );
            let refused = looker.plan_of(&(head.clone() + &ephemeral)).run().clone();
            let refused = refused.expect_failure();
            assert_said(&refused, "may not be read by this token");
            assert_said(&refused, "role admin");
        }
    }
    terraform.applied(&(daemon.provider("default", "") + &looked_at("class").0 + &codes));
    let admins = shown();
    assert_ne!(admins, before, "the resources are read with their texts");
    let looker = Terraform::new().unwrap();
    looker.applied(&(daemon.provider("default", "") + &looked_at("class").0));
    assert_eq!(shown(), admins, "a data source is not");
}

#[test]
fn a_state_goes_over_to_a_daemon_on_its_store_and_back() {
    let (kept, host) = (Kept::sqlite(), Simulated::start());
    let terraform = Terraform::new().unwrap();
    terraform.applied(&(kept.provider("default", &host.hosts()) + &pool(2)));
    let daemon = Daemon::start(&kept.place(), &host.hosts(), "");
    terraform
        .planned(&(daemon.provider("default", "") + &pool(2)))
        .expect_empty();
    terraform.applied(&(daemon.provider("default", "") + &pool(3)));
    assert_eq!(host.machines().len(), 3);
    drop(daemon);
    terraform
        .planned(&(kept.provider("default", &host.hosts()) + &pool(3)))
        .expect_empty();
    let (other, other_host) = (Kept::sqlite(), Simulated::start());
    let elsewhere = Daemon::start(&other.place(), &other_host.hosts(), "");
    let lost = terraform.plan_of(&(elsewhere.provider("default", "") + &pool(3)));
    assert_said(
        &lost.run().clone().expect_failure(),
        "Not the store of this state",
    );
    terraform.applied(&(kept.provider("default", &host.hosts()) + &pool(3)));
    terraform.destroyed();
}

#[test]
fn an_apply_goes_on_when_its_daemon_is_killed_and_comes_back() {
    let (kept, host) = (Kept::sqlite(), Simulated::start());
    let mut daemon = Daemon::start(&kept.place(), &host.hosts(), "");
    let terraform = Terraform::new().unwrap();
    terraform
        .write("main.tf", &(daemon.provider("default", "") + &pool(6)))
        .unwrap();
    // Two are made at a time, each by many calls: the daemon is killed long before the last.
    host.host()
        .set_latency(Latency::constant(Duration::from_millis(50)));
    let running = terraform.start(APPLY).unwrap();
    comes("the first machine", SOON, || {
        !host.machines().is_empty() || !running.goes_on()
    });
    daemon.kill();
    let made = host.machines().len();
    assert!(
        (1..6).contains(&made),
        "{made} of 6 machines were there: nothing went on"
    );
    host.host().set_latency(Latency::default());
    daemon.restart();
    running.end().unwrap().expect_success();
    terraform.assert_settled();
    assert_eq!(host.machines().len(), 6);
    terraform.destroyed();
    assert!(host.machines().is_empty());
}

/// The files of a directory, by name.
fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn an_image_of_the_runners_computer_is_sent_once_for_all_machines_that_name_it() {
    let (kept, host, files) = (Kept::sqlite(), Simulated::start(), TempDir::new().unwrap());
    let (uploads, image) = (files.path().join("uploads"), files.path().join("mine.img"));
    std::fs::create_dir(&uploads).unwrap();
    std::fs::write(&image, vec![7_u8; 64 << 10]).unwrap();
    let lines = format!("uploads = {{ directory = {:?} }}", uploads.display().to_string());
    let daemon = Daemon::start(&kept.place(), &host.hosts(), &lines);
    let terraform = Terraform::new().unwrap();
    let config = |memory: u32| {
        let of = |name: &str| {
            let disks = format!(
                "disks = {{ root = {{ image = {{ source = \"file:{}\" }} }} }}",
                image.display()
            );
            hcl::machine(
                name,
                format!("memory_mib = {memory}\n  power = \"stopped\"\n  {disks}"),
            )
        };
        daemon.provider("default", "") + &of("one") + &of("two")
    };
    terraform.applied(&config(64));
    terraform.assert_settled();
    let digest =
        |name: &str| terraform.resource(&format!("labyard_vm.{name}"))["image_digests"]["root"].clone();
    assert_eq!(digest("one"), digest("two"));
    assert_eq!(names_in(&uploads), [digest("one").as_str().unwrap()]);
    // What the machines are made of is needed no more, neither here nor there.
    std::fs::remove_file(&image).unwrap();
    std::fs::remove_file(uploads.join(digest("one").as_str().unwrap())).unwrap();
    terraform.applied(&config(128));
    assert!(names_in(&uploads).is_empty());
    terraform.destroyed();
    assert!(host.machines().is_empty());
}

/// A machine that gets no address, and an apply that waits for one.
fn waiting(words: &str, wait: &str) -> String {
    hcl::network("lab", 77)
        + &hcl::machine(
            "web",
            format!(
                "memory_mib = 64\n  nics = {{ lan = {{ network = labyard_network.lab.name }} }}\n  boot = {{ kernel = \"/k\", cmdline = \"{words}\" }}\n  ready = {{ wait = \"{wait}\", timeout = \"20s\" }}"
            ),
        )
}

#[test]
fn what_hooks_of_the_daemon_may_supply_is_open_in_the_plan_and_then_theirs() {
    let (kept, host) = (Kept::sqlite(), Simulated::start());
    let answer = r#"cat >/dev/null; echo '{"set": {"addresses": {"lan": "10.77.0.50"}}}'"#;
    let hooks = format!("[hooks.\"before:define\"]\ncommand = [\"/bin/sh\", \"-c\", '''{answer} ''']\n");
    let daemon = Daemon::start(&kept.place(), &host.hosts(), &hooks);
    let terraform = Terraform::new().unwrap();
    let config = daemon.provider("default", "") + &waiting("quiet", "none");
    let plan = terraform.planned(&config);
    assert_eq!(plan.known("labyard_vm.web", "ip"), None);
    let open = &plan.change("labyard_vm.web")["after_unknown"]["macs"];
    assert!(*open == true || open["lan"] == true, "{}", plan.json());
    terraform.applied(&config);
    terraform.assert_settled();
    assert_eq!(terraform.resource("labyard_vm.web")["ip"], "10.77.0.50");
    terraform.destroyed();
}

#[test]
fn a_machine_whose_provider_is_killed_is_taken_up_by_the_next_apply() {
    let (kept, host) = (Kept::sqlite(), Simulated::start());
    let daemon = Daemon::start(&kept.place(), &host.hosts(), "");
    let terraform = Terraform::new().unwrap();
    let head = daemon.provider("default", "");
    terraform
        .write("main.tf", &(head.clone() + &waiting("sim.no_address", "address")))
        .unwrap();
    let running = terraform.start(APPLY).unwrap();
    comes("the machine", SOON, || {
        !host.machines().is_empty() || !running.goes_on()
    });
    let provider = running.provider().expect("a provider runs");
    processes::send(Signal::Kill, provider).unwrap();
    running.end().unwrap().expect_failure();
    terraform.applied(&(head + &waiting("sim.no_address", "none")));
    terraform.assert_settled();
    assert_eq!(host.machines(), ["web"]);
    terraform.destroyed();
    assert!(host.machines().is_empty());
}

#[test]
fn a_machine_whose_daemon_is_killed_is_finished_by_one_more_apply() {
    let (kept, host) = (Kept::sqlite(), Simulated::start());
    let mut daemon = Daemon::start(&kept.place(), &host.hosts(), "");
    let terraform = Terraform::new().unwrap();
    let head = daemon.provider("default", "");
    terraform
        .write("main.tf", &(head.clone() + &waiting("sim.no_address", "address")))
        .unwrap();
    let running = terraform.start(APPLY).unwrap();
    comes("the machine", SOON, || {
        !host.machines().is_empty() || !running.goes_on()
    });
    daemon.kill();
    daemon.restart();
    let ended = running.end().unwrap().expect_failure();
    assert_said(&ended, "web");
    terraform.applied(&(head + &waiting("sim.no_address", "none")));
    terraform.assert_settled();
    assert_eq!(host.machines(), ["web"]);
    terraform.destroyed();
    assert!(host.machines().is_empty());
}
