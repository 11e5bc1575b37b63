//! Fifty machines in one apply, all at once: one image, one network, an address each; and nothing is left of them.

use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::terraform::{Run, Terraform};
use labyard_acceptance_tests::whole::{assert_whole, lab, write_image};
use std::time::Duration;
use tempfile::TempDir;

const MACHINES: usize = 50;
const AT_ONCE: &str = "-parallelism=50";
/// Many times what it takes: what would go over it waits for something or does it once a machine.
const BOUND: Duration = Duration::from_secs(180);

#[track_caller]
fn timed(what: &str, run: Run) {
    let run = run.expect_success();
    eprintln!("{what} of {MACHINES} machines: {:.1?}", run.took());
    assert!(run.took() < BOUND, "{what} took {:?}", run.took());
}

#[test]
fn fifty_machines_are_made_and_removed_at_once() {
    let host = Host::start().unwrap();
    let begun = host.inventory().unwrap();
    let files = TempDir::new().unwrap();
    let image = write_image(&files.path().join("image.qcow2"), 100_000).unwrap();
    let names: Vec<_> = (0..MACHINES).map(|n| format!("web-{n:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let terraform = Terraform::new().unwrap();
    terraform
        .write("main.tf", &(hcl::on(&host) + &lab(&image, &names)))
        .unwrap();

    timed("apply", terraform.apply(&[AT_ONCE]).unwrap());
    assert_whole(&host, &names);
    let plan = terraform.plan(&[AT_ONCE]).unwrap();
    plan.expect_empty();
    timed("plan", plan.run().clone());
    timed("destroy", terraform.destroy(&[AT_ONCE]).unwrap());
    let changes = begun.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "left over or lost:\n{changes}");
}
