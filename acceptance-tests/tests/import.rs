//! Import: what carries our mark comes back as it was written, what others made is taken over only in two steps.

use labyard_acceptance_tests::assets::GuestFiles;
use labyard_acceptance_tests::command::output_of;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::observer::{Description, Observer};
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::way::Way;
use labyard_acceptance_tests::{Terraform, both_ways, hcl};
use serde_json::json;
use std::path::Path;
use std::process::Command;

both_ways!(
    what_carries_our_mark_is_imported_as_it_was_written,
    what_others_made_is_ours_only_after_an_apply_has_marked_it,
);

/// All that a state can hold of a machine that is off, in two machines.
fn everything(host: &Host) -> String {
    let image = hcl::image();
    let files = GuestFiles::get();
    let plain = format!(
        "memory_mib = 80\n  cpus = 2\n  power = \"stopped\"\n  allow_restart = false
  disks = {{
    root = {{ size_gib = 1, image = {image}, clone = \"linked\" }}
    data = {{ size_gib = 2, on_remove = \"detach\" }}
    more = {{ size_gib = 1 }}
  }}
  nics = {{
    lan = {{ network = labyard_network.lab.name, mac = \"52:54:00:77:00:01\" }}
    wan = {{ network = labyard_network.lab.name }}
  }}
  firmware = {{ type = \"bios\" }}
  boot = {{ kernel = \"{}\", cmdline = \"console=ttyS0 \" }}
  cloud_init = {{ user_data = \"#cloud-config\\nx: [1, 2]\\n\", network_config = \"version: 2\\n\", meta_data = \"instance-id: own\\n\" }}
  ready = {{ wait = \"agent\", timeout = \"7m\" }}
  shutdown = {{ timeout = \"90s\" }}
  timeouts = {{ create = \"11m\", delete = \"3m\" }}",
        files.kernel().display()
    );
    let sealed = format!(
        "memory_mib = 64\n  power = \"stopped\"\n  disks = {{ root = {{ image = {image} }} }}
  cloud_init = {{ user_data_wo = \"#cloud-config\", user_data_wo_version = 4 }}"
    );
    let lab = "mode = \"nat\"\n  autostart = false\n  dns = { domain = \"lab.test\" }\n  timeouts = { create = \"1m\" }
  ipv4 = { cidr = \"10.77.0.0/24\", dhcp = { start = \"10.77.0.100\", end = \"10.77.0.200\" } }";
    let bare = "mode = \"isolated\"\n  dns = {}";
    [
        hcl::on(host),
        hcl::resource("labyard_network", "lab", lab),
        hcl::resource("labyard_network", "bare", bare),
        hcl::machine("plain", plain),
        hcl::machine("sealed", sealed),
        hcl::machine("least", "memory_mib = 64\n  power = \"stopped\""),
    ]
    .concat()
}

/// What stands on the host as it was asked for: an import reads it back.
const MADE: &[&str] = &[
    "labyard_vm.disks.clone",
    "labyard_vm.disks.on_remove",
    "labyard_vm.nics.mac",
    "labyard_vm.firmware",
    "labyard_vm.firmware.type",
    "labyard_vm.cloud_init.network_config",
    "labyard_vm.cloud_init.meta_data",
    "labyard_vm.ready.timeout",
    "labyard_vm.shutdown",
    "labyard_vm.shutdown.timeout",
    "labyard_vm.timeouts",
    "labyard_vm.timeouts.create",
    "labyard_vm.timeouts.delete",
    "labyard_vm.allow_restart",
    "labyard_network.name",
    "labyard_network.host",
    "labyard_network.mode",
    "labyard_network.autostart",
    "labyard_network.dns",
    "labyard_network.dns.domain",
    "labyard_network.timeouts",
    "labyard_network.timeouts.create",
    "labyard_network.ipv4",
    "labyard_network.ipv4.cidr",
    "labyard_network.ipv4.dhcp",
    "labyard_network.ipv4.dhcp.start",
    "labyard_network.ipv4.dhcp.end",
    "labyard_network.id",
    "labyard_network.gateway",
    "labyard_network.bridge_name",
    "labyard_network.active",
    "labyard_network.owned",
];

/// What is shown elsewhere to be made, and is read back too.
const READ_BACK: &[&str] = &[
    "labyard_vm.name",
    "labyard_vm.host",
    "labyard_vm.memory_mib",
    "labyard_vm.cpus",
    "labyard_vm.power",
    "labyard_vm.disks",
    "labyard_vm.disks.size_gib",
    "labyard_vm.disks.image",
    "labyard_vm.disks.image.source",
    "labyard_vm.nics",
    "labyard_vm.nics.network",
    "labyard_vm.boot",
    "labyard_vm.boot.kernel",
    "labyard_vm.boot.cmdline",
    "labyard_vm.cloud_init",
    "labyard_vm.cloud_init.user_data",
    "labyard_vm.cloud_init.user_data_wo_version",
    "labyard_vm.ready",
    "labyard_vm.ready.wait",
    "labyard_vm.shutdown.mode",
    "labyard_vm.id",
    "labyard_vm.ip",
    "labyard_vm.macs",
    "labyard_vm.image_digests",
    "labyard_vm.owned",
];

fn what_carries_our_mark_is_imported_as_it_was_written(way: Way) {
    let host = &Host::start().unwrap();
    way.at(host);
    let terraform = Terraform::new().unwrap();
    let empty = host.inventory().unwrap();
    terraform.write("main.tf", &everything(host)).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    terraform.plan(&[]).unwrap().expect_empty();
    let whole = host.inventory().unwrap();
    let all = [
        "labyard_network.lab",
        "labyard_network.bare",
        "labyard_vm.plain",
        "labyard_vm.sealed",
        "labyard_vm.least",
    ];
    let before = all.map(|address| terraform.attributes(address).unwrap().unwrap());
    for by in ["name", "id"] {
        for (address, state) in all.iter().zip(&before) {
            let id = format!("lab1/{}", state[by].as_str().unwrap());
            terraform.take_up(address, &id);
            assert_eq!(&terraform.resource(address), state, "{address} by {by}");
        }
        terraform.assert_settled();
    }
    let changes = whole.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "an import changes nothing:\n{changes}");
    shows(MADE, Case::Create);
    shows(MADE, Case::Import);
    shows(READ_BACK, Case::Import);
    terraform.destroy(&[]).unwrap().expect_success();
    let left = empty.changes_to(&host.inventory().unwrap());
    assert!(left.is_empty(), "left over or lost:\n{left}");
}

const FOREIGN_NETWORK: &str = "<network><name>theirs</name><forward mode='nat'/><bridge name='br-theirs'/>
    <ip address='10.90.0.1' netmask='255.255.255.0'><dhcp><range start='10.90.0.10' end='10.90.0.20'/></dhcp></ip></network>";

fn foreign_machine(host: &Host, observer: &Observer) {
    let disk = host.pool_directory().join("theirs.qcow2");
    output_of(
        Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2"])
            .arg(&disk)
            .arg("1G"),
    )
    .unwrap();
    let xml = format!(
        "<domain type='qemu'><name>theirs</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
         <os><type machine='q35'>hvm</type></os><devices>
         <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>
         <interface type='network'><mac address='52:54:00:99:00:01'/><source network='theirs'/><model type='virtio'/></interface>
         <watchdog model='i6300esb' action='reset'/></devices></domain>",
        disk.display()
    );
    let network = observer.connection().define_network_xml(FOREIGN_NETWORK).unwrap();
    network.create().unwrap();
    observer.connection().define_domain_xml(&xml).unwrap();
}

fn what_others_made_is_ours_only_after_an_apply_has_marked_it(way: Way) {
    let host = &Host::start().unwrap();
    way.at(host);
    let observer = &host.observer().unwrap();
    foreign_machine(host, observer);
    let before = host.inventory().unwrap();
    let definition = observer.domain_xml("theirs", Description::Persistent).unwrap();
    let terraform = Terraform::new().unwrap();
    let network = "mode = \"nat\"\n  autostart = false
  ipv4 = { cidr = \"10.90.0.0/24\", dhcp = { start = \"10.90.0.10\", end = \"10.90.0.20\" } }";
    let machine = "memory_mib = 64\n  power = \"stopped\"\n  disks = { vda = { size_gib = 1 } }
  nics = { lan = { network = labyard_network.theirs.name, mac = \"52:54:00:99:00:01\" } }";
    let config = hcl::on(host)
        + &hcl::resource("labyard_network", "theirs", network)
        + &hcl::machine("theirs", machine);
    terraform.write("main.tf", &config).unwrap();

    let clash = terraform.apply(&[]).unwrap().expect_failure();
    for error in clash.errors() {
        assert!(
            error.detail.contains("terraform import ADDRESS lab1/theirs"),
            "{}",
            error.detail
        );
    }
    let all = ["labyard_network.theirs", "labyard_vm.theirs"];
    for address in all {
        terraform.import(address, "lab1/theirs").unwrap().expect_success();
        assert_eq!(
            terraform.attributes(address).unwrap().unwrap()["owned"],
            json!(false)
        );
    }
    let refused = terraform.destroy(&[]).unwrap().expect_failure();
    assert!(
        refused.errors()[0].detail.contains("carries no mark of labyard"),
        "{}",
        refused.text()
    );
    let changes = before.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "touched before it was ours:\n{changes}");
    assert_eq!(
        observer.domain_xml("theirs", Description::Persistent).unwrap(),
        definition
    );

    let plan = terraform.plan(&[]).unwrap().expect_success();
    for address in all {
        assert_eq!(plan.actions(address), ["update"], "{:#}", plan.change(address));
        assert_eq!(plan.known(address, "/owned"), Some(&json!(true)));
    }
    terraform.apply(&[]).unwrap().expect_success();
    terraform.plan(&[]).unwrap().expect_empty();
    let marked = observer.domain_xml("theirs", Description::Persistent).unwrap();
    assert!(
        marked.contains("labyard") && marked.contains("<watchdog model='i6300esb'"),
        "{marked}"
    );
    assert!(
        marked.contains("theirs.qcow2"),
        "its disk is left where it was: {marked}"
    );
    terraform.destroy(&[]).unwrap().expect_success();
    assert!(observer.domains().unwrap().is_empty() && observer.networks().unwrap().is_empty());
    assert!(
        observer.volumes("default").unwrap().is_empty(),
        "destroying a machine destroys its disks"
    );
}

#[test]
fn an_import_of_what_is_not_there_names_what_is() {
    let host = &Host::start().unwrap();
    let terraform = Terraform::new().unwrap();
    let machine = hcl::machine("here", "memory_mib = 64\n  power = \"stopped\"");
    terraform.write("main.tf", &(hcl::on(host) + &machine)).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    terraform
        .run(&["state", "rm", "labyard_vm.here"])
        .unwrap()
        .expect_success();
    for (id, told) in [
        ("lab1/elsewhere", "there are here"),
        ("lab2/here", "lab1"),
        ("/here", "HOST/NAME or HOST/UUID"),
    ] {
        let run = terraform.import("labyard_vm.here", id).unwrap().expect_failure();
        // A person's terminal wraps lines.
        let text = run
            .text()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .replace("│ ", "");
        assert!(text.contains(told), "{id}: no {told:?} in {text}");
    }
    terraform
        .import("labyard_vm.here", "here")
        .unwrap()
        .expect_success();
    let other = Terraform::new().unwrap();
    other
        .write("main.tf", &(hcl::in_namespace("other", host) + &machine))
        .unwrap();
    let run = other
        .import("labyard_vm.here", "lab1/here")
        .unwrap()
        .expect_failure();
    assert!(run.text().contains("namespace"), "{}", run.text());
    terraform.destroy(&[]).unwrap().expect_success();
}

fn disk_file(path: &Path, format: &str) {
    let mut make = Command::new("qemu-img");
    make.args(["create", "-q", "-f", format]).arg(path).arg("1G");
    output_of(&mut make).unwrap();
}

/// A machine as version 0.9 of the provider dmacvicar/libvirt leaves it: disks by pool and volume, one of them of plain
/// bytes in a second pool.
fn machine_of_another_provider(host: &Host, observer: &Observer) {
    let fast = host.directory().join("fast");
    std::fs::create_dir(&fast).unwrap();
    disk_file(&host.pool_directory().join("theirs-root.qcow2"), "qcow2");
    disk_file(&fast.join("theirs-data.raw"), "raw");
    let target = fast.display().to_string();
    for words in [
        &["pool-define-as", "fast", "dir", "--target", &target] as &[&str],
        &["pool-start", "fast"],
        &["pool-refresh", "default"],
    ] {
        host.virsh(words).unwrap();
    }
    let xml = "<domain type='qemu'><name>theirs</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
         <os><type machine='q35'>hvm</type></os><devices>
         <disk type='volume' device='disk'><driver name='qemu' type='qcow2'/>
         <source pool='default' volume='theirs-root.qcow2'/><target dev='vda' bus='virtio'/></disk>
         <disk type='volume' device='disk'><driver name='qemu' type='raw'/>
         <source pool='fast' volume='theirs-data.raw'/><target dev='vdb' bus='virtio'/></disk></devices></domain>";
    observer.connection().define_domain_xml(xml).unwrap();
}

fn add_domain(observer: &Observer, name: &str, disk: Option<&Path>) {
    let disk = disk.map_or(String::new(), |path| {
        format!(
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/>\
             <target dev='vda' bus='virtio'/></disk>",
            path.display()
        )
    });
    let xml = format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
         <os><type machine='q35'>hvm</type></os><devices>{disk}</devices></domain>"
    );
    observer.connection().define_domain_xml(&xml).unwrap();
}

#[test]
fn a_machine_moves_from_another_provider_with_every_disk_and_loses_none_that_others_use() {
    let host = &Host::start().unwrap();
    let observer = &host.observer().unwrap();
    machine_of_another_provider(host, observer);
    let (root, data) = (
        host.pool_directory().join("theirs-root.qcow2"),
        host.directory().join("fast/theirs-data.raw"),
    );
    let terraform = Terraform::new().unwrap();
    let machine = "memory_mib = 64\n  power = \"stopped\"
  disks = {
    vda = { size_gib = 1, on_remove = \"delete\" }
    vdb = { size_gib = 1, on_remove = \"delete\", storage_pool = \"fast\" }
  }";
    let config = hcl::on(host) + &hcl::machine("theirs", machine);
    terraform.write("main.tf", &config).unwrap();
    let address = "labyard_vm.theirs";
    terraform.import(address, "lab1/theirs").unwrap().expect_success();
    let state = terraform.attributes(address).unwrap().unwrap();
    assert_eq!(state["disks"]["vda"]["size_gib"], json!(1), "{state:#}");
    assert_eq!(state["disks"]["vdb"]["size_gib"], json!(1), "{state:#}");
    terraform.apply(&[]).unwrap().expect_success();
    terraform.plan(&[]).unwrap().expect_empty();
    terraform.plan(&["-refresh-only"]).unwrap().expect_empty();
    let definition = observer.domain_xml("theirs", Description::Persistent).unwrap();
    for (path, format) in [(&root, "qcow2"), (&data, "raw")] {
        assert!(
            definition.contains(&format!("file='{}'", path.display())),
            "{definition}"
        );
        assert!(definition.contains(&format!("type='{format}'")), "{definition}");
    }
    assert_eq!(definition.matches("<disk ").count(), 2, "{definition}");
    // QEMU refuses a disk whose format is not what the definition says.
    host.virsh(&["start", "theirs"]).unwrap();
    observer.pull_plug("theirs").unwrap();

    add_domain(observer, "other", Some(&data));
    let overlay = host.pool_directory().join("overlay.qcow2");
    for (user, way_out) in [
        ("machine \"other\"", "undefine"),
        ("volume overlay.qcow2", "delete"),
    ] {
        let refused = terraform.destroy(&[]).unwrap().expect_failure();
        assert!(refused.text().contains(user), "{}", refused.text());
        assert!(observer.domain("theirs").unwrap().is_some() && root.exists() && data.exists());
        if way_out == "undefine" {
            host.virsh(&["undefine", "other"]).unwrap();
            let mut make = Command::new("qemu-img");
            make.args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
                .args([&root, &overlay]);
            output_of(&mut make).unwrap();
        }
    }
    std::fs::remove_file(&overlay).unwrap();
    terraform.destroy(&[]).unwrap().expect_success();
    assert!(observer.domains().unwrap().is_empty() && !root.exists() && !data.exists());
}

#[test]
fn what_cannot_be_taken_over_or_was_taken_by_another_is_left_as_it_is() {
    let host = &Host::start().unwrap();
    let observer = &host.observer().unwrap();
    let nowhere = host.directory().join("nowhere");
    std::fs::create_dir(&nowhere).unwrap();
    let disk = nowhere.join("x.img");
    disk_file(&disk, "raw");
    add_domain(observer, "hidden", Some(&disk));
    add_domain(observer, "wanted", None);
    let definition = observer.domain_xml("hidden", Description::Persistent).unwrap();
    let plain = "memory_mib = 64\n  power = \"stopped\"";
    let hidden = hcl::machine(
        "hidden",
        format!("{plain}\n  disks = {{ vda = {{ size_gib = 1 }} }}"),
    );
    let wanted = hcl::machine("wanted", plain);
    let (first, second) = (Terraform::new().unwrap(), Terraform::new().unwrap());
    first
        .write("main.tf", &(hcl::on(host) + &hidden + &wanted))
        .unwrap();
    for address in ["labyard_vm.hidden", "labyard_vm.wanted"] {
        let id = address.replace("labyard_vm.", "lab1/");
        first.import(address, &id).unwrap().expect_success();
    }
    let refused = first
        .apply(&["-target=labyard_vm.hidden"])
        .unwrap()
        .expect_failure();
    let error = &refused.errors()[0];
    assert!(
        error.detail.contains("x.img") && error.detail.contains("pool-define-as"),
        "{}",
        error.detail
    );
    let now = observer.domain_xml("hidden", Description::Persistent).unwrap();
    assert_eq!(now, definition);

    second
        .write("main.tf", &(hcl::in_namespace("other", host) + &wanted))
        .unwrap();
    second
        .import("labyard_vm.wanted", "lab1/wanted")
        .unwrap()
        .expect_success();
    second.apply(&[]).unwrap().expect_success();
    for more in [
        &["-target=labyard_vm.wanted"] as &[&str],
        &["-target=labyard_vm.wanted", "-refresh=false"],
    ] {
        let refused = first.destroy(more).unwrap().expect_failure();
        assert!(refused.text().contains("namespace other"), "{}", refused.text());
    }
    assert!(observer.domain("wanted").unwrap().is_some());
    second.destroy(&[]).unwrap().expect_success();
}
