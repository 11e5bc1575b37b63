//! Drift detection in CI: a plan with access that cannot write, and what `labyard drift` makes of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use labyard_acceptance_tests::command::{Ended, end_of, output_of};
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::terraform::Terraform;
use labyard_acceptance_tests::{assets, hcl};
use serde_json::Value;

const MACHINES: &str = "memory_mib = 64\n  power = \"stopped\"";

fn labyard() -> PathBuf {
    assets::provider().with_file_name("labyard")
}

fn configuration(more: &str, uri: &str) -> String {
    hcl::provider_of(more, &[("lab1", uri)])
        + &hcl::network("lab", 77)
        + &hcl::machine("web", MACHINES)
        + &hcl::machine("db", MACHINES)
}

/// Two machines and a network, applied with access that may write; then read only.
fn applied() -> (Host, Terraform<'static>) {
    let host = Host::start().unwrap();
    let terraform = Terraform::new().unwrap();
    terraform
        .write("main.tf", &configuration("", &host.uri()))
        .unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    let read_only = configuration("  read_only = true\n", &host.read_only_uri());
    terraform.write("main.tf", &read_only).unwrap();
    (host, terraform)
}

/// The commands of a workflow file, run as a CI system does: from the configuration's folder, ended by the first failure.
fn run_workflow(terraform: &Terraform<'_>, script: &str) -> Ended {
    let path = std::env::var("PATH").unwrap_or_default();
    let tools = labyard().parent().unwrap().to_owned();
    // With a provider that is taken from where it was built there is nothing to initialise.
    let script: String = script
        .lines()
        .filter(|line| !line.contains("terraform init"))
        .fold(String::new(), |all, line| all + line + "\n");
    let mut command = terraform.command();
    let environment: Vec<_> = command
        .get_envs()
        .map(|(k, v)| (k.to_owned(), v.map(ToOwned::to_owned)))
        .collect();
    command = Command::new("bash");
    command
        .args(["-e", "-o", "pipefail", "-c", &script])
        .current_dir(terraform.directory());
    for (name, value) in environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("PATH", format!("{}:{path}", tools.display()));
    end_of(&mut command).unwrap()
}

/// The script of the step that makes the report.
fn script_of(workflow: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/ci")
        .join(workflow);
    let text = std::fs::read_to_string(&file).unwrap();
    let lines = text.lines().map(|line| line.trim().trim_start_matches("- "));
    lines
        .filter(|line| line.starts_with("terraform ") || line.starts_with("labyard "))
        .fold(String::new(), |all, line| all + line + "\n")
}

fn said(ended: &Ended) -> String {
    format!("{}{}", ended.stdout, ended.stderr)
}

fn read(terraform: &Terraform<'_>, file: &str) -> String {
    std::fs::read_to_string(terraform.directory().join(file)).unwrap()
}

#[test]
fn a_read_only_run_reports_what_others_changed_and_changes_nothing_itself() {
    let (host, terraform) = applied();
    for workflow in ["github-drift.yml", "gitlab-drift.yml"] {
        let quiet = run_workflow(&terraform, &script_of(workflow));
        assert_eq!(quiet.status.code(), Some(0), "{workflow}: {}", said(&quiet));
        assert!(
            quiet.stdout.contains("No drift: 3 objects as configured."),
            "{}",
            quiet.stdout
        );
    }

    host.virsh(&["setmaxmem", "web", "96M", "--config"]).unwrap();
    host.virsh(&["setmem", "web", "96M", "--config"]).unwrap();
    host.virsh(&["start", "db"]).unwrap();
    let before = host.inventory().unwrap();
    for workflow in ["github-drift.yml", "gitlab-drift.yml"] {
        let drift = run_workflow(&terraform, &script_of(workflow));
        assert_eq!(drift.status.code(), Some(2), "{workflow}: {}", said(&drift));
        for part in [
            "labyard_vm.web: changed outside of Terraform",
            "memory_mib: 64 -> 96",
            "labyard_vm.db: changed outside of Terraform",
            "power: \"stopped\" -> \"running\"",
            "an apply sets back: power",
            "2 objects changed outside of Terraform, 0 otherwise not as configured, 1 as configured.",
        ] {
            assert!(said(&drift).contains(part), "{part} is not in\n{}", said(&drift));
        }
    }
    assert!(read(&terraform, "drift.md").contains("| `memory_mib` | `64` | `96` |"));
    assert!(read(&terraform, "drift.xml").contains("tests=\"3\" failures=\"2\""));
    let sarif: Value = serde_json::from_str(&read(&terraform, "drift.sarif")).unwrap();
    let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "main.tf");
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "drift");

    for refused in [terraform.apply(&[]).unwrap(), terraform.destroy(&[]).unwrap()] {
        let refused = refused.expect_failure();
        assert!(
            refused.text().contains("the provider is read_only"),
            "{}",
            refused.text()
        );
    }
    let changes = before.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "a read-only run changed:\n{changes}");
}

#[test]
fn the_machines_own_log_tells_when_it_was_ended() {
    let (host, terraform) = applied();
    host.virsh(&["start", "db"]).unwrap();
    host.virsh(&["destroy", "db"]).unwrap();
    host.virsh(&["start", "db"]).unwrap();
    terraform
        .run(&["plan", "-lock=false", "-out=plan.bin"])
        .unwrap()
        .expect_success();
    let plan = output_of(terraform.command().args(["show", "-json", "plan.bin"])).unwrap();
    std::fs::write(terraform.directory().join("plan.json"), plan).unwrap();
    let log = host.directory().join("log/qemu/db.log");
    let mut report = Command::new(labyard());
    report
        .args(["drift", "plan.json", "-o", "json", "--log"])
        .arg(&log)
        .current_dir(terraform.directory());
    let ended = end_of(&mut report).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{}", said(&ended));
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let lines = report["objects"][0]["log"].as_array().unwrap();
    assert!(
        lines
            .iter()
            .any(|entry| entry["line"].as_str().unwrap().contains("reason=destroyed")),
        "{report:#}"
    );
}
