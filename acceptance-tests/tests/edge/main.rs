//! Machines as they stand at the edge: UEFI with variables of its own, boot from a network by HTTPS, secure boot, TPM.

mod adopted;
mod causes;
mod killed;
mod lacking;
mod secure;
mod soon;
mod tpm;

use labyard_acceptance_tests::assets::GuestFiles;
use labyard_acceptance_tests::boot_server::{Authority, BootServer};
use labyard_acceptance_tests::command::output_of;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::terraform::{Run, Terraform};
use labyard_acceptance_tests::{Guest, hcl};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Emulated firmware and its guest start beside those of other tests.
const SOON: Duration = Duration::from_secs(240);
const PORT: u16 = 8443;
const FILE: &str = "boot.efi";

/// What the firmware asks the server for: the tiny guest, as one program that nobody signed.
fn serve_program(server: &BootServer) {
    std::fs::copy(GuestFiles::get().program(), server.files().join(FILE)).unwrap();
}

fn network(name: &str, subnet: u8, boot: &str) -> String {
    let body = format!(
        "mode = \"nat\"\n  ipv4 = {{ cidr = \"10.{subnet}.0.0/24\", dhcp = {{ start = \"10.{subnet}.0.100\", end = \"10.{subnet}.0.200\" }} }}\n  {boot}"
    );
    hcl::resource("labyard_network", name, body)
}

#[track_caller]
fn apply(terraform: &Terraform<'_>, config: &str) -> Run {
    terraform.write("main.tf", config).unwrap();
    terraform.apply(&[]).unwrap()
}

#[track_caller]
fn assert_settled(terraform: &Terraform<'_>) {
    terraform.plan(&[]).unwrap().expect_empty();
    terraform.plan(&["-refresh-only"]).unwrap().expect_empty();
}

/// What a failed start is put down to.
#[track_caller]
fn assert_explained(run: &Run, cause: &str) {
    let errors = run.errors();
    let told = errors
        .iter()
        .any(|e| e.summary.contains(cause) || e.detail.contains(cause));
    assert!(told, "no word of {cause:?} in:\n{}", run.text());
}

#[test]
fn an_edge_node_boots_over_https_trusting_its_own_certificate_and_then_from_the_disk_that_it_installed() {
    let host = &Host::start().unwrap();
    let key = KeyPair::generate().unwrap();
    let (good, other) = (Authority::new("good").unwrap(), Authority::new("other").unwrap());
    let server = BootServer::start(host, &good, "10.81.0.1", PORT).unwrap();
    // To connect to a guest's port the provider has to be where the guest is.
    let terraform = &Terraform::new().unwrap().inside(host);
    let before = host.inventory().unwrap();
    let user_data = hcl::user_data(&key.public);
    let config = |ca: &str, more: &str| {
        let boot = format!("boot = {{ url = \"{}\" }}", server.url(FILE));
        let machine = format!(
            "memory_mib = 640
  firmware = {{ type = \"uefi\", tpm = true }}
  boot = {{ ca_certificate = <<-PEM\n{ca}PEM\n  }}
  disks = {{ root = {{ size_gib = 1, boot = 1, on_remove = \"delete\" }} }}
  nics = {{ lan = {{ network = labyard_network.edge.name, boot = 2 }} }}
  cloud_init = {{ user_data = \"{user_data}\" }}
  shutdown = {{ mode = \"force\" }}
  ready = {{ wait = \"tcp:22\", timeout = \"8m\" }}
  {more}"
        );
        hcl::on(host) + &network("edge", 81, &boot) + &hcl::machine("node", machine)
    };

    // Another authority's certificate: the server is not trusted, and the run says so instead of waiting.
    serve_program(&server);
    let run = apply(terraform, &config(&other.pem().unwrap(), "")).expect_failure();
    assert_explained(&run, "does not trust the server's certificate");
    assert!(
        server.asked().iter().all(|asked| asked.method == "FAILED"),
        "{:?}",
        server.asked()
    );

    // The right one, and no such file.
    std::fs::rename(server.files().join(FILE), server.files().join("kept")).unwrap();
    let run = apply(terraform, &config(&good.pem().unwrap(), "")).expect_failure();
    assert_explained(&run, "404");

    // The file is there.
    std::fs::rename(server.files().join("kept"), server.files().join(FILE)).unwrap();
    let asked_before = server.asked().len();
    soon::assert_soon(host, &server, "node", || {
        apply(terraform, &config(&good.pem().unwrap(), "cpus = 2")).expect_success();
    });
    let asked = server.asked().split_off(asked_before);
    assert!(
        asked
            .iter()
            .any(|asked| asked.method == "GET" && asked.status == "200"),
        "{asked:?}"
    );
    let made = terraform.attributes("labyard_vm.node").unwrap().unwrap();
    let guest = Guest::at(host, made["ip"].as_str().unwrap(), &key);
    guest.wait_for_ssh(SOON).unwrap();
    guest.run("test -d /sys/firmware/efi").unwrap();
    assert!(
        guest
            .run("cat /sys/class/tpm/tpm0/tpm_version_major")
            .unwrap()
            .contains('2')
    );
    assert_settled(terraform);
    shows(
        &[
            "labyard_vm.firmware.tpm",
            "labyard_vm.boot.ca_certificate",
            "labyard_vm.nics.boot",
            "labyard_vm.disks.boot",
            "labyard_network.boot.url",
            "labyard_network.boot.vendor_class",
        ],
        Case::Create,
    );
    shows(&["labyard_vm.boot.ca_certificate"], Case::Update);
    installs_itself(&server, &guest);
    assert_settled(terraform);

    let variables = |text: &str| text.contains("nvram") || text.contains("swtpm");
    let there = host.inventory().unwrap();
    assert!(
        there.lines().iter().any(|line| variables(line)),
        "{:?}",
        there.lines()
    );
    terraform.destroy(&[]).unwrap().expect_success();
    let changes = before.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "left over or lost:\n{changes}");
}

/// What came from the network writes a system on the disk, which comes first: the next start is from there, and nobody
/// had to change the machine.
fn installs_itself(server: &BootServer, guest: &Guest<'_>) {
    let directory = tempfile::TempDir::new().unwrap();
    let disk = system_disk(directory.path());
    guest.feed("cat >/dev/vda && sync", &disk).unwrap();
    let asked = server.asked().len();
    guest.restart(SOON).unwrap();
    assert_eq!(server.asked().split_off(asked), [], "it asked the network again");
}

/// A file system with the program where UEFI looks for one.
fn system_disk(directory: &Path) -> PathBuf {
    let disk = directory.join("disk");
    std::fs::File::create(&disk)
        .and_then(|file| file.set_len(32 << 20))
        .unwrap();
    let program = GuestFiles::get().program().display().to_string();
    for (tool, arguments) in [
        ("mformat", &["-T", "65536", "-h", "64", "-s", "32", "::"][..]),
        ("mmd", &["::EFI", "::EFI/BOOT"]),
        ("mcopy", &[&program, "::EFI/BOOT/BOOTX64.EFI"]),
    ] {
        let mut command = Command::new(tool);
        command.arg("-i").arg(&disk).args(arguments);
        output_of(&mut command).unwrap();
    }
    disk
}

/// What a test of stopped machines asks for, in two ways.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    secure_boot: bool,
    tpm: bool,
    /// The places of card, CD drive and disk.
    order: [u32; 3],
    ca: &'a str,
    file: &'a str,
    class: &'a str,
}

fn stopped(host: &Host, wanted: &Wanted<'_>) -> String {
    let Wanted {
        secure_boot,
        tpm,
        ca,
        file,
        class,
        ..
    } = wanted;
    let [card, drive, disk] = wanted.order;
    let boot = format!("boot = {{ url = \"https://10.83.0.1/{file}\", vendor_class = \"{class}\" }}");
    let machine = format!(
        "memory_mib = 64\n  power = \"stopped\"
  firmware = {{ type = \"uefi\", secure_boot = {secure_boot}, tpm = {tpm} }}
  boot = {{ ca_certificate = <<-PEM\n{ca}PEM\n  }}
  disks = {{ root = {{ size_gib = 1, boot = {disk}, on_remove = \"delete\" }} }}
  media = {{ setup = {{ boot = {drive} }} }}
  nics = {{ lan = {{ network = labyard_network.edge.name, boot = {card} }} }}"
    );
    hcl::on(host) + &network("edge", 83, &boot) + &hcl::machine("node", machine)
}

/// What the host shows of it, in the same terms: the variables hold the certificate that the definition's file holds.
#[track_caller]
fn assert_shown(host: &Host, wanted: &Wanted<'_>) {
    let xml = host.virsh(&["dumpxml", "--inactive", "node"]).unwrap();
    assert_eq!(xml.contains("secure='yes'"), wanted.secure_boot, "{xml}");
    assert_eq!(xml.contains("<tpm model='tpm-crb'>"), wanted.tpm, "{xml}");
    let shown = ["<interface ", "device='cdrom'", "device='disk'"].map(|device| place(&xml, device));
    assert_eq!(shown, wanted.order, "{xml}");
    // Somebody's own, put there behind our back.
    assert!(xml.contains("<watchdog model='i6300esb'"), "{xml}");
    let path = xml.split("<nvram").nth(1).unwrap().split('>').nth(1).unwrap();
    let variables = std::fs::read(path.split('<').next().unwrap()).unwrap();
    let has = |part: &[u8]| variables.windows(part.len()).any(|window| window == part);
    let keys: Vec<u8> = "SecureBootEnable"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(has(&keys), wanted.secure_boot);
    assert!(has(&der(wanted.ca)), "the certificate is not in {path}");
    let network = host.virsh(&["net-dumpxml", "edge"]).unwrap();
    let Wanted { file, class, .. } = wanted;
    let said = [
        format!("\"https://10.83.0.1/{file}\""),
        format!(",60,{class}'"),
        format!("labyard-boot,{class}'"),
    ];
    let network = network.replace("&quot;", "\"");
    assert!(said.iter().all(|part| network.contains(part)), "{network}");
}

/// The place of a device in the boot order.
#[track_caller]
fn place(xml: &str, device: &str) -> u32 {
    let from = xml.split(device).nth(1).unwrap();
    let order = from.split("<boot order='").nth(1).unwrap();
    order.split('\'').next().unwrap().parse().unwrap()
}

fn der(pem: &str) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-outform", "der", "-in"]).arg(file.path());
    openssl.output().unwrap().stdout
}

const OURS: [&str; 8] = [
    "labyard_vm.firmware.secure_boot",
    "labyard_vm.firmware.tpm",
    "labyard_vm.boot.ca_certificate",
    "labyard_vm.nics.boot",
    "labyard_vm.disks.boot",
    "labyard_vm.media.boot",
    "labyard_network.boot.url",
    "labyard_network.boot.vendor_class",
];

#[test]
fn what_an_edge_node_is_made_of_changes_heals_and_comes_back_by_import() {
    let host = &Host::start().unwrap();
    let (one, two) = (
        Authority::new("one").unwrap().pem().unwrap(),
        Authority::new("two").unwrap().pem().unwrap(),
    );
    let terraform = &Terraform::new().unwrap();
    let before = host.inventory().unwrap();
    let first = Wanted {
        secure_boot: false,
        tpm: false,
        order: [3, 2, 1],
        ca: &one,
        file: "a.efi",
        class: "HTTPClient",
    };
    let bundle = format!("{two}{one}");
    let second = Wanted {
        secure_boot: true,
        tpm: true,
        order: [1, 2, 3],
        ca: &bundle,
        file: "b.efi",
        class: "PXEClient",
    };
    apply(terraform, &stopped(host, &first)).expect_success();
    let watchdog = terraform.directory().join("watchdog.xml");
    std::fs::write(&watchdog, "<watchdog model='i6300esb' action='reset'/>").unwrap();
    host.virsh(&["attach-device", "node", watchdog.to_str().unwrap(), "--config"])
        .unwrap();
    assert_shown(host, &first);
    assert_settled(terraform);
    shows(&OURS, Case::Create);

    // Each alone, then all at once and back.
    let each = [
        Wanted {
            secure_boot: true,
            ..first
        },
        Wanted { tpm: true, ..first },
        Wanted {
            order: [2, 1, 3],
            ..first
        },
        Wanted { ca: &two, ..first },
        Wanted {
            file: "b.efi",
            ..first
        },
    ];
    for wanted in each.iter().chain([&second, &first, &second]) {
        apply(terraform, &stopped(host, wanted)).expect_success();
        assert_shown(host, wanted);
    }
    assert_settled(terraform);
    shows(&OURS, Case::Update);

    change_by_hand(host);
    let plan = terraform.plan(&[]).unwrap().expect_success();
    assert_eq!(plan.actions("labyard_vm.node"), ["update"]);
    assert_eq!(plan.actions("labyard_network.edge"), ["update"]);
    terraform.apply(&[]).unwrap().expect_success();
    assert_shown(host, &second);
    assert_settled(terraform);
    shows(&OURS, Case::Drift);

    for (address, id) in [
        ("labyard_vm.node", "lab1/node"),
        ("labyard_network.edge", "lab1/edge"),
    ] {
        terraform.run(&["state", "rm", address]).unwrap().expect_success();
        terraform.import(address, id).unwrap().expect_success();
    }
    terraform.plan(&[]).unwrap().expect_empty();
    shows(&OURS, Case::Import);

    terraform.destroy(&[]).unwrap().expect_success();
    let changes = before.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "left over or lost:\n{changes}");
}

/// Everything that somebody with virsh can do to it: another firmware, no TPM, another order, no variables, another
/// boot file.
fn change_by_hand(host: &Host) {
    let directory = tempfile::TempDir::new().unwrap();
    let define = |verb: &str, xml: &str| {
        let file = directory.path().join("definition");
        std::fs::write(&file, xml).unwrap();
        host.virsh(&[verb, file.to_str().unwrap()]).unwrap();
    };
    let cut = |xml: &str, from: &str, to: &str| match xml.split_once(from) {
        Some((head, rest)) => format!("{head}{}", rest.split_once(to).unwrap().1),
        None => xml.to_owned(),
    };
    let mut xml = host.virsh(&["dumpxml", "--inactive", "node"]).unwrap();
    xml = cut(&xml, "<loader", "</loader>");
    xml = cut(&xml, "<nvram", "</nvram>");
    xml = cut(&xml, "<tpm", "</tpm>");
    xml = xml
        .replace("enabled='yes' name=", "enabled='no' name=")
        .replace("<smm state='on'/>", "");
    xml = xml
        .replace("order='1'", "order='x'")
        .replace("order='3'", "order='1'")
        .replace("order='x'", "order='3'");
    define("define", &xml);
    let volumes = host.virsh(&["vol-list", "default"]).unwrap();
    let nvram = volumes
        .split_whitespace()
        .find(|word| word.starts_with("node.nvram."))
        .unwrap();
    host.virsh(&["vol-delete", nvram, "default"]).unwrap();
    let network = host.virsh(&["net-dumpxml", "--inactive", "edge"]).unwrap();
    define(
        "net-define",
        &network
            .replace("/b.efi", "/c.efi")
            .replace("PXEClient", "HTTPClient"),
    );
}

#[test]
fn what_cannot_be_booted_is_refused_at_its_attribute() {
    let host = Host::shared();
    let terraform = &Terraform::new().unwrap();
    let machine =
        |body: &str| hcl::machine("bad", format!("memory_mib = 64\n  power = \"stopped\"\n  {body}"));
    let uefi = "firmware = { type = \"uefi\" }";
    let net = |boot: &str| network("bad", 84, boot);
    let cases = [
        (
            machine("firmware = { type = \"bios\", secure_boot = true }"),
            "secure_boot",
            "needs UEFI",
        ),
        (
            machine("firmware = { type = \"bios\", tpm = true }"),
            "tpm",
            "needs UEFI",
        ),
        (
            machine("boot = { ca_certificate = \"x\" }"),
            "ca_certificate",
            "no certificate in PEM",
        ),
        (
            machine(&format!("{uefi}\n  boot = {{ ca_certificate = \"MIIB\" }}")),
            "ca_certificate",
            "raw DER",
        ),
        (
            machine("disks = { a = { size_gib = 1, boot = 0 } }"),
            "boot",
            "from 1",
        ),
        (
            machine("disks = {\n a = { size_gib = 1, boot = 1 }\n b = { size_gib = 1, boot = 1 }\n }"),
            "boot",
            "disks[\"a\"] and disks[\"b\"]",
        ),
        (
            machine("disks = { a = { size_gib = 1, boot = 2 } }\n  media = { cd = { boot = 2 } }"),
            "boot",
            "disks[\"a\"] and media[\"cd\"]",
        ),
        (
            machine("nics = { a = { network = \"x\", boot = 1000 } }"),
            "boot",
            "999",
        ),
        (
            net("boot = { url = \"tftp://10.84.0.1/x\" }"),
            "url",
            "https://HOST/FILE",
        ),
        (
            net("boot = { url = \"https://10.84.0.1/x\", vendor_class = \"a b\" }"),
            "vendor_class",
            "vendor class",
        ),
    ];
    for (config, attribute, why) in cases {
        terraform.write("main.tf", &(hcl::on(host) + &config)).unwrap();
        let plan = terraform.plan(&[]).unwrap();
        let run = plan.run().clone().expect_failure();
        let errors = run.errors();
        let told = errors.iter().any(|error| {
            let at = error.snippet.as_deref().unwrap_or_default();
            error.text().contains(why) && (at.contains(attribute) || error.text().contains(attribute))
        });
        assert!(told, "no {why:?} at {attribute} in:\n{}", run.text());
    }
    shows(&OURS, Case::Refused);
}
