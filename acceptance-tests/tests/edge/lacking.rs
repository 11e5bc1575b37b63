//! Hosts that lack firmware, its keys, or what emulates a TPM: refused by the plan, at the attribute.

use super::apply;
use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::host::{Daemon, Host};
use labyard_acceptance_tests::terraform::Terraform;

/// Takes files out of the host's sight; it sees them no more from its next start.
fn without(host: &Host, script: &str) {
    let done = host.command("sh").args(["-ec", script]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    host.daemon(Daemon::Kill).unwrap();
    host.daemon(Daemon::Start).unwrap();
}

fn machine(host: &Host, more: &str) -> String {
    let body = format!(
        "memory_mib = 64\n  power = \"stopped\"\n  firmware = {{\n    type = \"uefi\"\n{more}  }}\n  nics = {{}}"
    );
    hcl::on(host) + &hcl::machine("node", body)
}

#[track_caller]
fn refused(terraform: &Terraform<'_>, config: &str, summary: &str, at: &str, told: &str) {
    terraform.write("main.tf", config).unwrap();
    let plan = terraform.plan(&[]).unwrap();
    let run = plan.run().clone().expect_failure();
    let errors = run.errors();
    let [error] = &errors[..] else {
        panic!("one error, not:\n{}", run.text())
    };
    assert_eq!(error.summary, summary, "{}", run.text());
    assert!(error.detail.contains(told), "{}", error.detail);
    let line = error.snippet.as_deref().unwrap_or_default();
    assert!(line.contains(at), "{at} in {line:?}:\n{}", run.text());
}

#[test]
fn what_a_host_has_no_firmware_or_tpm_for_is_refused_by_the_plan() {
    let host = &Host::start().unwrap();
    let terraform = &Terraform::new().unwrap();
    let (secure, tpm) = ("    secure_boot = true\n", "    tpm = true\n");
    without(
        host,
        "cp /usr/share/qemu/firmware/60-edk2-x86_64.json /run/plain.json
         mount -t tmpfs tmpfs /usr/share/qemu/firmware
         cp /run/plain.json /usr/share/qemu/firmware/60-edk2-x86_64.json
         rm /run/plain.json
         mount --bind /dev/null /usr/bin/swtpm",
    );
    refused(
        terraform,
        &machine(host, secure),
        "Firmware not available",
        "secure_boot",
        "Microsoft's keys",
    );
    refused(
        terraform,
        &machine(host, tpm),
        "TPM not available",
        "tpm",
        "apt install swtpm",
    );
    // What is left of it is enough for a machine that wants neither.
    apply(terraform, &machine(host, "")).expect_success();
    terraform.destroyed();

    without(host, "mount -t tmpfs tmpfs /usr/share/qemu/firmware");
    refused(
        terraform,
        &machine(host, ""),
        "UEFI not available",
        "type",
        "apt install ovmf",
    );
}
