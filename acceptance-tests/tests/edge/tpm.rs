//! A TPM that has run and is taken out: what it keeps stays for the machine that gets it again, and goes with the machine,
//! also while it is out.

use super::apply;
use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::terraform::Terraform;
use std::path::Path;

/// Files of TPMs on the host, with what is in them.
fn kept(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(kept(&path)),
            false => found.push((path.display().to_string(), std::fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

/// A restart of the machine that takes the device out or puts it in, announced by the plan.
#[track_caller]
fn restarted(host: &Host, terraform: &Terraform<'_>, tpm: bool) {
    let started = host.guest_process("node").unwrap();
    let run = apply(terraform, &machine(host, tpm, "running")).expect_success();
    let change = match tpm {
        true => "firmware.tpm: none -> emulated",
        false => "firmware.tpm: emulated -> none",
    };
    let told = |warning: &labyard_acceptance_tests::terraform::Diagnostic| {
        warning.summary == "node will be restarted" && warning.detail.contains(change)
    };
    assert!(run.warnings().iter().any(told), "{}", run.text());
    let now = host.guest_process("node").unwrap();
    assert!(now.is_some() && now != started, "{started:?} {now:?}");
    let live = host.virsh(&["dumpxml", "node"]).unwrap();
    assert_eq!(live.contains("<tpm model='tpm-crb'>"), tpm, "{live}");
}

fn machine(host: &Host, tpm: bool, power: &str) -> String {
    let body = format!(
        "memory_mib = 64\n  power = {power:?}\n  firmware = {{ type = \"uefi\", tpm = {tpm} }}
  shutdown = {{ mode = \"force\" }}\n  ready = {{ wait = \"none\" }}"
    );
    hcl::on(host) + &hcl::machine("node", body)
}

#[test]
fn what_a_tpm_keeps_is_there_while_it_is_out_and_goes_with_its_machine() {
    let host = &Host::start().unwrap();
    let terraform = &Terraform::new().unwrap();
    let state = &host.directory().join("lib/swtpm");
    let before = host.inventory().unwrap();
    apply(terraform, &machine(host, true, "running")).expect_success();
    let file = |all: &[(String, Vec<u8>)]| {
        let found = all.iter().find(|(path, _)| path.ends_with("tpm2-00.permall"));
        found
            .unwrap_or_else(|| panic!("no state of a TPM in {state:?}"))
            .clone()
    };
    let (path, _) = file(&kept(state));

    restarted(host, terraform, false);
    let out = kept(state);
    assert_eq!(file(&out).0, path, "another one");
    restarted(host, terraform, true);
    restarted(host, terraform, false);
    assert_eq!(file(&kept(state)).0, path, "another one");
    shows(&["labyard_vm.firmware.tpm"], Case::Update);

    // In again, without a start: it is what it was when it went out, byte for byte.
    let out = kept(state);
    apply(terraform, &machine(host, true, "stopped")).expect_success();
    assert_eq!(kept(state), out, "the state changed while nothing ran on it");
    apply(terraform, &machine(host, false, "stopped")).expect_success();
    assert_eq!(kept(state), out, "the state changed while nothing ran on it");
    terraform.plan(&[]).unwrap().expect_empty();

    // libvirt by itself would leave it for the next machine of that UUID.
    terraform.destroyed();
    assert_eq!(kept(state), [], "left over");
    let directories: Vec<_> = std::fs::read_dir(state).into_iter().flatten().collect();
    assert!(directories.is_empty(), "{directories:?}");
    host.assert_as(&before);
}
