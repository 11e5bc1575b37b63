//! What only a start changes of a guest with UEFI.

use labyard_acceptance_tests::boot_server::Authority;
use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::terraform::Terraform;

use crate::restarts::bridge;
use crate::{Lab, Web};

#[test]
fn a_guest_with_uefi_is_restarted_once_for_each_change_of_its_firmware() {
    let host = &Host::start().unwrap();
    let observer = &host.observer().unwrap();
    let key = KeyPair::generate().unwrap();
    let terraform = &Terraform::new().unwrap();
    bridge(host);
    let empty = host.inventory().unwrap();
    let mut web = Web {
        name: "web",
        hardware: "memory_mib = 256\n  firmware = { type = \"uefi\" }".into(),
        boot: hcl::boot(""),
        root: "",
        disks: String::new(),
        lan: "",
        nics: String::new(),
        words: "shutdown = { mode = \"force\" }".into(),
        more: "",
    };
    let mut lab = Lab::born(host, observer, terraform, &key, &web);
    lab.guest.run("test -d /sys/firmware/efi").unwrap();

    web.hardware = web.hardware.replace("\"uefi\"", "\"uefi\", tpm = true");
    lab.restart(
        &web,
        &["firmware.tpm: none -> emulated"],
        &["labyard_vm.firmware.tpm"],
    );
    let version = lab.guest.run("cat /sys/class/tpm/tpm0/tpm_version_major");
    assert_eq!(version.unwrap().trim(), "2");

    let ca = Authority::new("one").unwrap().pem().unwrap();
    web.boot = web
        .boot
        .replace(
            "boot = {",
            &format!("boot = {{\n  ca_certificate = <<-PEM\n{ca}PEM\n  "),
        )
        .replace(", initrd", "\n  initrd")
        .replace(", cmdline", "\n  cmdline");
    lab.restart(
        &web,
        &["boot.ca_certificate: none -> 1 certificate"],
        &["labyard_vm.boot.ca_certificate"],
    );
    web.hardware = web
        .hardware
        .replace("tpm = true", "tpm = true, secure_boot = true");
    lab.restart(
        &web,
        &["firmware.secure_boot: off -> on"],
        &["labyard_vm.firmware.secure_boot"],
    );
    // The keys of the other kind came with it, in the file that the guest's firmware has now.
    let live = lab.live("web");
    let (_, nvram) = live.split_once("<nvram").unwrap();
    let path = nvram.split(['>', '<']).nth(1).unwrap();
    let variables = std::fs::read(path).unwrap();
    let word: Vec<u8> = "SecureBootEnable"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert!(
        variables.windows(word.len()).any(|window| window == word),
        "no keys in {path}"
    );
    terraform.destroyed();
    host.assert_as(&empty);
}
