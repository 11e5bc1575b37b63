//! What only a start changes of a guest with UEFI, and that it finds in its TPM what it wrote there before that was out.

use labyard_acceptance_tests::boot_server::Authority;
use labyard_acceptance_tests::guest::Guest;
use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::terraform::Terraform;

use crate::restarts::bridge;
use crate::{Lab, Web};

/// TPM2_NV_DefineSpace of 8 bytes that the owner may write: numbers of TPM 2.0's part 3, an empty password.
const DEFINE: &str = "80 02 00 00 00 2d 00 00 01 2a 40 00 00 01 00 00 00 09 40 00 00 09 00 00 00 00 00 00 00 00 0e \
    01 50 00 01 00 0b 00 06 00 06 00 00 00 08";
/// TPM2_NV_ReadPublic of the same.
const LOOK: &str = "80 01 00 00 00 0e 00 00 01 69 01 50 00 01";

/// What a TPM answers to a command: 0, or why not.
fn tpm(guest: &Guest<'_>, command: &str) -> u32 {
    let bytes: String = command.split(' ').map(|byte| format!("\\x{byte}")).collect();
    let asked = format!(
        "printf '{bytes}' >/run/asked; exec 3<>/dev/tpm0; cat /run/asked >&3; dd bs=4096 count=1 <&3 2>/dev/null | od -An -tx1"
    );
    let answer = guest.run(&asked).unwrap();
    let code: String = answer.split_whitespace().skip(6).take(4).collect();
    u32::from_str_radix(&code, 16).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

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
    assert_ne!(tpm(&lab.guest, LOOK), 0, "a TPM that nobody used");
    assert_eq!(tpm(&lab.guest, DEFINE), 0);
    assert_eq!(tpm(&lab.guest, LOOK), 0);

    let ca = Authority::new("one").unwrap().pem().unwrap();
    web.boot = web
        .boot
        .replace(
            "boot = {",
            &format!("boot = {{\n  ca_certificate = <<-PEM\n{ca}PEM\n  "),
        )
        .replace(", initrd", "\n  initrd")
        .replace(", cmdline", "\n  cmdline");
    web.hardware = web.hardware.replace("tpm = true", "tpm = false");
    lab.restart(
        &web,
        &[
            "boot.ca_certificate: none -> 1 certificate",
            "firmware.tpm: emulated -> none",
        ],
        &["labyard_vm.boot.ca_certificate"],
    );
    lab.guest.run("! test -e /dev/tpm0").unwrap();
    web.hardware = web
        .hardware
        .replace("tpm = false", "tpm = true, secure_boot = true");
    lab.restart(
        &web,
        &[
            "firmware.secure_boot: off -> on",
            "firmware.tpm: none -> emulated",
        ],
        &["labyard_vm.firmware.secure_boot"],
    );
    assert_eq!(tpm(&lab.guest, LOOK), 0, "another TPM than before");
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
