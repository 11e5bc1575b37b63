//! Secure boot as a guest and as firmware show it: a signed system starts from a disk, and what nobody signed is refused,
//! for a reason that is told.

use super::{FILE, PORT, SOON, apply, assert_explained, assert_settled, network, serve_program};
use labyard_acceptance_tests::assets::GuestFiles;
use labyard_acceptance_tests::boot_server::{Authority, BootServer};
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::terraform::Terraform;
use labyard_acceptance_tests::{Guest, hcl};

/// What the firmware says of it: four bytes of attributes, then 1 for on.
const SECURE_BOOT: &str = "mkdir -p /run/efi && modprobe efivarfs; mount -t efivarfs efivarfs /run/efi 2>/dev/null; \
    od -An -tu1 /run/efi/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

#[test]
fn under_secure_boot_a_signed_system_starts_from_a_sata_disk_and_an_unsigned_file_of_the_network_does_not() {
    let host = &Host::start().unwrap();
    let key = KeyPair::generate().unwrap();
    let authority = Authority::new("boot").unwrap();
    let server = BootServer::start(host, &authority, "10.82.0.1", PORT).unwrap();
    serve_program(&server);
    // To connect to a guest's port the provider has to be where the guest is.
    let terraform = &Terraform::new().unwrap().inside(host);
    let before = host.inventory().unwrap();
    let ca = authority.pem().unwrap();
    let user_data = hcl::user_data(&key.public);
    let config = |disk: &str| {
        let boot = format!("boot = {{ url = \"{}\" }}", server.url(FILE));
        let machine = format!(
            "memory_mib = 512
  firmware = {{ type = \"uefi\", secure_boot = true, tpm = true }}
  serial = \"VH001N002M01\"
  boot = {{ ca_certificate = <<-PEM\n{ca}PEM\n  }}
  disks = {{ {disk} }}
  nics = {{ lan = {{ network = labyard_network.edge.name, boot = 2 }} }}
  cloud_init = {{ user_data = \"{user_data}\" }}
  shutdown = {{ mode = \"force\" }}
  ready = {{ wait = \"tcp:22\", timeout = \"8m\" }}"
        );
        hcl::on(host) + &network("edge", 82, &boot) + &hcl::machine("safe", machine)
    };

    let blank = "root = { size_gib = 1, boot = 1, bus = \"sata\", on_remove = \"delete\" }";
    let run = apply(terraform, &config(blank)).expect_failure();
    assert_explained(&run, "secure boot refused the file");
    let fetched = |asked: &labyard_acceptance_tests::boot_server::Asked| asked.method == "GET";
    assert!(server.asked().iter().any(fetched), "{:?}", server.asked());

    let image = GuestFiles::get().secure();
    let signed = format!(
        "root = {{ boot = 1, bus = \"sata\", image = {{ source = \"file:{}\" }} }}",
        image.display()
    );
    apply(terraform, &config(&signed)).expect_success();
    let made = terraform.attributes("labyard_vm.safe").unwrap().unwrap();
    let guest = Guest::at(host, made["ip"].as_str().unwrap(), &key);
    guest.wait_for_ssh(SOON).unwrap();
    let said = guest.run(SECURE_BOOT).unwrap();
    assert_eq!(said.split_whitespace().last(), Some("1"), "{said}");
    let dmi = |what: &str| guest.run(&format!("cat /sys/class/dmi/id/{what}")).unwrap();
    assert_eq!(dmi("product_serial").trim(), "VH001N002M01");
    assert_eq!(
        dmi("product_uuid").trim().to_lowercase(),
        made["id"].as_str().unwrap()
    );
    assert_settled(terraform);
    shows(
        &[
            "labyard_vm.firmware.secure_boot",
            "labyard_vm.disks.bus",
            "labyard_vm.serial",
        ],
        Case::Create,
    );
    terraform.destroy(&[]).unwrap().expect_success();
    let changes = before.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "left over or lost:\n{changes}");
}
