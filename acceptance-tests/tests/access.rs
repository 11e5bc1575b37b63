//! An account that may only read a host: what polkit's rules let it do, with the rule that the guide gives, asked by a real
//! libvirtd of a real polkitd.

use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::host::{Host, HostOptions};
use labyard_acceptance_tests::terraform::Terraform;
use std::path::Path;

/// As the rule calls it; the id is nobody's.
const ACCOUNT: (&str, u32) = ("drift", 64137);

fn config(uri: &str) -> String {
    let machine = hcl::machine(
        "web",
        "memory_mib = 64\n  power = \"stopped\"\n  disks = { root = { size_gib = 1, on_remove = \"delete\" } }\n  nics = { lan = { network = labyard_network.lab.name } }",
    );
    hcl::provider_of("", &[("lab1", uri)]) + &hcl::network("lab", 77) + &machine
}

#[test]
fn an_account_that_may_only_read_sees_drift_and_changes_nothing() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ci/polkit/50-labyard-drift.rules");
    let options = HostOptions {
        polkit: Some((rules, ACCOUNT.0.to_owned(), ACCOUNT.1)),
        ..HostOptions::default()
    };
    let host = &Host::start_with(&options).unwrap();
    let terraform = &mut Terraform::new().unwrap().inside(host);
    let write = |terraform: &Terraform<'_>, uri: &str| terraform.write("main.tf", &config(uri)).unwrap();
    write(terraform, &host.uri());
    terraform.apply(&[]).unwrap().expect_success();
    terraform.become_user(ACCOUNT.1).unwrap();

    let reader = host.read_only_uri() + "&mode=ro";
    write(terraform, &reader);
    terraform.plan(&["-lock=false"]).unwrap().expect_empty();
    let mut by_hand = host.command("virsh");
    by_hand.args(["-q", "-c", &host.uri(), "autostart", "web"]);
    labyard_acceptance_tests::command::output_of(&mut by_hand).unwrap();
    let plan = terraform.plan(&["-lock=false"]).unwrap().expect_success();
    assert_eq!(plan.drift("labyard_vm.web")["after"]["autostart"], true);

    let before = host.inventory().unwrap();
    let refused = terraform.apply(&["-lock=false"]).unwrap().expect_failure();
    assert!(refused.text().contains("mode=ro"), "{}", refused.text());
    // The socket that lets write: polkit does not let this account open it.
    write(terraform, &host.uri());
    let refused = terraform.plan(&["-lock=false"]).unwrap();
    let said = refused.run().text();
    assert!(
        said.contains("usermod -aG libvirt") && said.contains("polkit"),
        "{said}"
    );
    // Nor may it open a socket of somebody else's group, which is named.
    let socket = host.directory().join("libvirt-sock-ro");
    let shut = |arguments: &[&str]| {
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", "chgrp $1 $0 && chmod $2 $0"])
            .arg(&socket)
            .args(arguments);
        labyard_acceptance_tests::command::output_of(&mut command).unwrap();
    };
    write(terraform, &reader);
    for (group, says) in [("daemon", "usermod -aG daemon"), ("root", "unix_sock_group")] {
        shut(&[group, "0770"]);
        let refused = terraform.plan(&["-lock=false"]).unwrap();
        assert!(refused.run().text().contains(says), "{}", refused.run().text());
    }
    let left = before.changes_to(&host.inventory().unwrap());
    assert!(left.is_empty(), "changed:\n{left}");
}
