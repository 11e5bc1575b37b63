//! Machines as they stand at the edge: UEFI with variables of its own, boot from a network by HTTPS, secure boot, TPM.

use labyard_acceptance_tests::assets::GuestFiles;
use labyard_acceptance_tests::boot_server::{Authority, BootServer};
use labyard_acceptance_tests::command::output_of;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::terraform::{Run, Terraform};
use labyard_acceptance_tests::{Guest, hcl};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SOON: Duration = Duration::from_secs(120);
const PORT: u16 = 8443;
const FILE: &str = "boot.efi";

/// The guest as one EFI program: kernel, command line and initramfs.
fn put_program(into: &Path) {
    let raw = into.with_extension("raw");
    let disk = GuestFiles::get().bootable();
    let mut convert = Command::new("qemu-img");
    convert.args(["convert", "-O", "raw"]).arg(disk).arg(&raw);
    output_of(&mut convert).unwrap();
    let mut copy = Command::new("mcopy");
    let image = format!("{}@@1M", raw.display());
    copy.env("MTOOLS_SKIP_CHECK", "1");
    copy.args(["-o", "-i", &image, "::EFI/BOOT/BOOTX64.EFI"])
        .arg(into);
    output_of(&mut copy).unwrap();
    std::fs::remove_file(raw).unwrap();
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

/// Seconds since 1970 at which a process began.
fn began(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let ticks: f64 = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .nth(19)
        .unwrap()
        .parse()
        .unwrap();
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    now - uptime + ticks / 100.0
}

#[test]
fn an_edge_node_boots_over_https_and_trusts_only_the_certificate_in_its_own_variables() {
    let host = &Host::start().unwrap();
    let key = KeyPair::generate().unwrap();
    let (good, other) = (Authority::new("good").unwrap(), Authority::new("other").unwrap());
    let server = BootServer::start(host, &good, "10.81.0.1", PORT).unwrap();
    let terraform = &Terraform::new().unwrap();
    let before = host.inventory().unwrap();
    let user_data = hcl::user_data(&key.public);
    let config = |ca: &str, more: &str| {
        let boot = format!("boot = {{ url = \"{}\" }}", server.url(FILE));
        let machine = format!(
            "memory_mib = 640
  firmware = {{ type = \"uefi\", tpm = true }}
  boot = {{ ca_certificate = <<-PEM\n{ca}PEM\n  }}
  disks = {{ root = {{ size_gib = 1, boot = 2, on_remove = \"delete\" }} }}
  nics = {{ lan = {{ network = labyard_network.edge.name, boot = 1 }} }}
  cloud_init = {{ user_data = \"{user_data}\" }}
  shutdown = {{ mode = \"force\" }}
  ready = {{ wait = \"tcp:22\", timeout = \"4m\" }}
  {more}"
        );
        hcl::on(host) + &network("edge", 81, &boot) + &hcl::machine("node", machine)
    };

    // Another authority's certificate: the server is not trusted, and the run says so instead of waiting.
    put_program(&server.files().join(FILE));
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
    apply(terraform, &config(&good.pem().unwrap(), "cpus = 2")).expect_success();
    let asked = server.asked().split_off(asked_before);
    let first = asked.iter().find(|asked| asked.method != "FAILED").unwrap();
    let process = host.guest_process("node").unwrap().unwrap();
    let after = first.at - began(process);
    println!("the firmware asked {after:.1} s after its start");
    // One failed try of another kind costs a minute on an idle machine.
    assert!(after < 50.0, "{after}");
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
