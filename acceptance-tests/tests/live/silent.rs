//! A guest that does not answer, and values that no guest would get.

use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::terraform::Terraform;
use serde_json::json;

use crate::assert_no_restart;

/// A machine with nothing to boot has no guest that could let a disk go.
#[test]
fn a_guest_that_does_not_let_go_keeps_its_disk_until_it_is_stopped() {
    let host = &Host::start().unwrap();
    let terraform = &Terraform::new().unwrap();
    let config = |disks: &str, power: &str| {
        let body = format!(
            "memory_mib = 64\n  power = \"{power}\"\n  ready = {{ wait = \"none\" }}\n  shutdown = {{ mode = \"force\" }}\n  disks = {{ {disks} }}"
        );
        hcl::on(host) + &hcl::machine("idle", body)
    };
    let data = "data = { size_gib = 1, on_remove = \"delete\" }";
    terraform.write("main.tf", &config(data, "running")).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    terraform.write("main.tf", &config("", "running")).unwrap();
    assert_no_restart(&terraform.plan(&[]).unwrap().expect_success());
    let failed = terraform.apply(&[]).unwrap().expect_failure();
    let error = &failed.errors()[0];
    let said = format!("{} {}", error.summary, error.detail);
    for part in ["disks[\"data\"]", "still attached", "power = \"stopped\""] {
        assert!(said.contains(part), "no {part} in:\n{said}");
    }
    let state = terraform.attributes("labyard_vm.idle").unwrap().unwrap();
    assert_eq!(
        state["disks"]["data"]["size_gib"],
        json!(1),
        "the state stays true"
    );
    terraform.write("main.tf", &config(data, "running")).unwrap();
    terraform.plan(&[]).unwrap().expect_success();
    terraform.write("main.tf", &config("", "stopped")).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    terraform.plan(&[]).unwrap().expect_empty();
    let volumes = host.observer().unwrap().volumes("default").unwrap();
    assert!(volumes.is_empty(), "{volumes:?}");
    bad_values_are_refused(terraform, host);
    terraform.write("main.tf", &config("", "stopped")).unwrap();
    terraform.destroy(&[]).unwrap().expect_success();
}

fn bad_values_are_refused(terraform: &Terraform<'_>, host: &Host) {
    for (attribute, body) in [
        ("cpus_max", "memory_mib = 64\n  cpus = 2\n  cpus_max = 1"),
        ("memory_max_mib", "memory_mib = 64\n  memory_max_mib = 32"),
        (
            "disks.bus",
            "memory_mib = 64\n  disks = { a = { size_gib = 1, bus = \"floppy\" } }",
        ),
        (
            "nics.model",
            "memory_mib = 64\n  nics = { a = { network = \"default\", model = \"ne2k\" } }",
        ),
    ] {
        terraform
            .write("main.tf", &(hcl::on(host) + &hcl::machine("idle", body)))
            .unwrap();
        let plan = terraform.plan(&[]).unwrap();
        let errors = plan.run().errors();
        let leaf = attribute.rsplit('.').next().unwrap();
        let at = errors[0].snippet.clone().unwrap_or_default();
        assert!(at.contains(leaf), "{attribute}: {errors:?}");
        shows(&[&format!("labyard_vm.{attribute}")], Case::Refused);
    }
}
