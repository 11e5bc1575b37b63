//! A machine that somebody else made gets variables of its own: those that its firmware wrote go with it, and the file in
//! which the host kept them does not stay behind.

use super::{apply, assert_settled, der};
use labyard_acceptance_tests::boot_server::Authority;
use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::terraform::Terraform;
use std::path::{Path, PathBuf};

const MACHINE: &str = "<domain type='qemu'><name>old</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type>
    <firmware><feature enabled='no' name='secure-boot'/><feature enabled='no' name='enrolled-keys'/></firmware></os>
  <features><acpi/></features><on_poweroff>destroy</on_poweroff><devices/></domain>";

#[test]
fn a_taken_over_machine_with_its_first_certificate_leaves_no_variables_behind() {
    let host = &Host::start().unwrap();
    let before = host.inventory().unwrap();
    let terraform = &Terraform::new().unwrap();
    let file = terraform.directory().join("old.xml");
    std::fs::write(&file, MACHINE).unwrap();
    host.virsh(&["define", file.to_str().unwrap()]).unwrap();
    // The host makes the file of the variables at the first start.
    host.virsh(&["start", "old", "--paused"]).unwrap();
    host.virsh(&["destroy", "old"]).unwrap();
    let kept = variables(host);
    assert!(kept.exists(), "{}", kept.display());

    let ca = Authority::new("one").unwrap().pem().unwrap();
    let config = |more: &str| {
        let machine =
            format!("memory_mib = 64\n  power = \"stopped\"\n  firmware = {{ type = \"uefi\" }}\n  {more}");
        hcl::on(host) + &hcl::machine("old", machine)
    };
    terraform.write("main.tf", &config("")).unwrap();
    terraform
        .import("labyard_vm.old", "lab1/old")
        .unwrap()
        .expect_success();
    apply(terraform, &config("")).expect_success();
    assert_eq!(variables(host), kept, "what it has stays as long as it will do");

    let trusting = config(&format!("boot = {{ ca_certificate = <<-PEM\n{ca}PEM\n  }}"));
    apply(terraform, &trusting).expect_success();
    assert_settled(terraform);
    let own = variables(host);
    assert_ne!(own, kept);
    assert!(!kept.exists(), "{} is still there", kept.display());
    let (content, wanted) = (std::fs::read(&own).unwrap(), der(&ca));
    assert!(content.windows(wanted.len()).any(|window| window == wanted));
    shows(&["labyard_vm.boot.ca_certificate"], Case::Update);

    terraform.destroy(&[]).unwrap().expect_success();
    let changes = before.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "left over or lost:\n{changes}");
}

/// The file that its definition names, as seen from outside of the host.
fn variables(host: &Host) -> PathBuf {
    let xml = host.virsh(&["dumpxml", "--inactive", "old"]).unwrap();
    let from = xml.split("<nvram").nth(1).unwrap().split_once('>').unwrap().1;
    let path = Path::new(from.split('<').next().unwrap());
    match path.strip_prefix("/var/lib/libvirt") {
        Ok(inside) => host.directory().join("lib").join(inside),
        Err(_) => path.to_owned(),
    }
}
