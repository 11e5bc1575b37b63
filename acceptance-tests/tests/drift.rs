//! What others change behind the provider's back: each is seen by a plan and healed by one apply, and then there is
//! nothing more to do. What others add is left alone.

use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::observer::{Description, DomainSeen, Observer};
use labyard_acceptance_tests::processes::{self, Signal};
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::terraform::{Plan, Terraform};
use labyard_acceptance_tests::way::Way;
use labyard_acceptance_tests::{both_ways, hcl, inventory::Inventory};
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use virt::domain::DomainState;

both_ways!(
    what_a_hand_changed_of_machines_is_seen_by_one_plan_and_healed_by_one_apply,
    what_a_hand_changed_of_networks_is_seen_by_one_plan_and_healed_by_one_apply,
);

const STOPPED: &str = "memory_mib = 64\n  power = \"stopped\"";
/// Nothing that boots: the firmware finds no disk and waits.
const RUNNING: &str = "memory_mib = 64\n  shutdown = { mode = \"force\" }";

/// A host with what a test applied to it.
struct Lab {
    host: Host,
    observer: Observer,
    terraform: Terraform<'static>,
    empty: Inventory,
}

impl Lab {
    fn applied(way: Way, config: &str) -> Self {
        let host = Host::start().unwrap();
        way.at(&host);
        let (observer, empty) = (host.observer().unwrap(), host.inventory().unwrap());
        let terraform = Terraform::new().unwrap();
        terraform.write("main.tf", &(hcl::on(&host) + config)).unwrap();
        terraform.apply(&[]).unwrap().expect_success();
        terraform.plan(&[]).unwrap().expect_empty();
        Self {
            host,
            observer,
            terraform,
            empty,
        }
    }

    fn virsh(&self, arguments: &[&str]) {
        self.host.virsh(arguments).unwrap();
    }

    fn attributes(&self, name: &str) -> Value {
        self.terraform
            .attributes(&format!("labyard_vm.{name}"))
            .unwrap()
            .unwrap()
    }

    fn mac(&self, name: &str) -> String {
        self.attributes(name)["macs"]["lan"].as_str().unwrap().to_owned()
    }

    fn definition(&self, name: &str) -> String {
        self.observer.domain_xml(name, Description::Persistent).unwrap()
    }

    fn domain(&self, name: &str) -> DomainSeen {
        self.observer.domain(name).unwrap().unwrap()
    }

    /// The paths of a machine's disks, without its seed.
    fn disks(&self, name: &str) -> Vec<String> {
        let xml = self.definition(name);
        let sources = xml
            .split("<source file='")
            .skip(1)
            .filter_map(|rest| rest.split('\'').next());
        sources
            .filter(|path| !path.contains("seed"))
            .map(str::to_owned)
            .collect()
    }

    /// The file itself, whatever its name: another one made in its place has another number.
    fn files(&self, name: &str) -> Vec<u64> {
        let inode = |path: &String| std::fs::metadata(path).unwrap().ino();
        self.disks(name).iter().map(inode).collect()
    }

    fn plan(&self) -> Plan {
        self.terraform.plan(&[]).unwrap().expect_success()
    }

    /// One apply, and then there is nothing to do.
    fn heal(&self) {
        self.terraform.apply(&[]).unwrap().expect_success();
        self.terraform.plan(&[]).unwrap().expect_empty();
    }

    fn destroy(self) {
        self.terraform.destroy(&[]).unwrap().expect_success();
        let left = self.empty.changes_to(&self.host.inventory().unwrap());
        assert!(left.is_empty(), "left over or lost:\n{left}");
    }
}

/// A plan that found an attribute other than it was left, and puts it back in place.
#[track_caller]
fn assert_seen(plan: &Plan, address: &str, attribute: &str, found: &Value) {
    let change = plan.change(address);
    assert_eq!(plan.actions(address), ["update"], "{address}: {change:#}");
    let before = change["before"]
        .pointer(attribute)
        .cloned()
        .unwrap_or(Value::Null);
    assert_eq!(
        &before, found,
        "{attribute} of {address} in {:#}",
        change["before"]
    );
    assert_ne!(
        change["after"].pointer(attribute),
        Some(found),
        "{attribute} of {address}"
    );
}

fn machines_that_change() -> String {
    let lan = "nics = { lan = { network = labyard_network.lab.name } }";
    let boot = "boot = { kernel = \"/nowhere/kernel\", cmdline = \"one two\" }";
    let disks = format!(
        "disks = {{ root = {{ image = {} }}, data = {{ size_gib = 1 }} }}",
        hcl::image()
    );
    let seed = "cloud_init = { user_data = \"#cloud-config\" }";
    let machine = |name: &str, body: &str| hcl::machine(name, format!("{STOPPED}\n  {body}"));
    [
        hcl::network("lab", 77),
        hcl::resource("labyard_network", "side", "mode = \"isolated\""),
        hcl::machine("unplugged", RUNNING),
        hcl::machine("paused", RUNNING),
        hcl::machine("saved", RUNNING),
        machine("started", "shutdown = { mode = \"force\" }"),
        machine("cpus", ""),
        machine("memory", ""),
        machine("kernel", boot),
        machine("detached", &disks),
        machine("deleted", &disks),
        machine("moved", lan),
        machine("unwired", lan),
        machine("ejected", seed),
        machine("seedless", seed),
        machine("everything", &format!("{lan}\n  {disks}\n  {seed}")),
    ]
    .concat()
}

fn change_by_hand(lab: &Lab) {
    lab.observer.pull_plug("unplugged").unwrap();
    lab.observer.handle("paused").unwrap().suspend().unwrap();
    lab.virsh(&["managedsave", "saved"]);
    lab.observer.handle("started").unwrap().create().unwrap();
    lab.virsh(&["setvcpus", "cpus", "3", "--config", "--maximum"]);
    lab.virsh(&["setvcpus", "cpus", "3", "--config"]);
    lab.virsh(&["setmaxmem", "memory", "80M", "--config"]);
    lab.virsh(&["setmem", "memory", "80M", "--config"]);
    let other = lab.definition("kernel").replace("one two", "three");
    lab.observer.connection().define_domain_xml(&other).unwrap();
    lab.virsh(&["detach-disk", "detached", "vdb", "--config"]);
    for disk in lab.disks("deleted") {
        lab.virsh(&["vol-delete", &disk]);
    }
    let mac = lab.mac("moved");
    lab.virsh(&["detach-interface", "moved", "network", "--mac", &mac, "--config"]);
    lab.virsh(&[
        "attach-interface",
        "moved",
        "network",
        "side",
        "--mac",
        &mac,
        "--config",
    ]);
    lab.virsh(&[
        "detach-interface",
        "unwired",
        "network",
        "--mac",
        &lab.mac("unwired"),
        "--config",
    ]);
    lab.virsh(&["change-media", "ejected", "sda", "--eject", "--config"]);
    let volumes = lab.observer.volumes("default").unwrap();
    let seed = volumes
        .iter()
        .find(|volume| volume.name.starts_with("seedless."))
        .unwrap();
    lab.virsh(&["vol-delete", &seed.path]);
}

fn what_a_hand_changed_of_machines_is_seen_by_one_plan_and_healed_by_one_apply(way: Way) {
    let lab = Lab::applied(way, &machines_that_change());
    let (detached, untouched) = (lab.files("detached"), lab.definition("everything"));
    let macs = (lab.mac("moved"), lab.mac("unwired"));
    change_by_hand(&lab);

    let plan = lab.plan();
    for (name, attribute, found) in [
        ("unplugged", "/power", json!("stopped")),
        ("paused", "/power", json!("paused")),
        ("saved", "/power", json!("saved")),
        ("started", "/power", json!("running")),
        ("cpus", "/cpus", json!(3)),
        ("memory", "/memory_mib", json!(80)),
        ("kernel", "/boot/cmdline", json!("three")),
        ("detached", "/disks/data", Value::Null),
        ("deleted", "/disks/root", Value::Null),
        ("deleted", "/disks/data", Value::Null),
        ("moved", "/nics/lan/network", json!("side")),
        ("unwired", "/nics/lan", Value::Null),
        ("ejected", "/cloud_init", Value::Null),
        ("seedless", "/cloud_init", Value::Null),
    ] {
        assert_seen(&plan, &format!("labyard_vm.{name}"), attribute, &found);
    }
    assert_eq!(plan.actions("labyard_vm.everything"), ["no-op"]);
    lab.heal();

    for name in ["unplugged", "paused", "saved"] {
        assert_eq!(lab.domain(name).state, DomainState::Running, "{name}");
    }
    assert_eq!(lab.domain("started").state, DomainState::Shutoff);
    assert!(lab.definition("cpus").contains(">1</vcpu>"));
    assert!(
        lab.definition("memory")
            .contains("<memory unit='KiB'>65536</memory>")
    );
    assert!(lab.definition("kernel").contains("<cmdline>one two</cmdline>"));
    assert_eq!(
        lab.files("detached"),
        detached,
        "the disk that was taken off is put back, not made anew"
    );
    assert_eq!(lab.files("deleted").len(), 2);
    assert_eq!((lab.mac("moved"), lab.mac("unwired")), macs);
    for name in ["moved", "unwired"] {
        let xml = lab.definition(name);
        assert!(
            xml.contains("<source network='lab'/>") && xml.matches("<interface ").count() == 1,
            "{xml}"
        );
    }
    for name in ["ejected", "seedless"] {
        let xml = lab.definition(name);
        let path = xml
            .split("<source file='")
            .nth(1)
            .and_then(|rest| rest.split('\'').next());
        assert!(path.is_some_and(|path| std::fs::exists(path).unwrap()), "{xml}");
    }
    assert_eq!(lab.definition("everything"), untouched);
    shows(
        &[
            "labyard_vm.power",
            "labyard_vm.cpus",
            "labyard_vm.memory_mib",
            "labyard_vm.boot",
            "labyard_vm.boot.cmdline",
            "labyard_vm.disks",
            "labyard_vm.disks.image",
            "labyard_vm.nics",
            "labyard_vm.nics.network",
            "labyard_vm.macs",
            "labyard_vm.cloud_init",
        ],
        Case::Drift,
    );
    lab.destroy();
}

#[test]
fn a_machine_whose_definition_is_gone_is_put_back_with_its_disks() {
    let whole = format!(
        "{STOPPED}\n  cpus = 2\n  nics = {{ lan = {{ network = labyard_network.lab.name }} }}
  disks = {{ root = {{ image = {} }}, data = {{ size_gib = 1 }} }}
  cloud_init = {{ user_data = \"#cloud-config\" }}",
        hcl::image()
    );
    let running = format!("{RUNNING}\n  disks = {{ data = {{ size_gib = 1 }} }}");
    let machines = ["kept", "gone"].map(|name| hcl::machine(name, &whole)).concat();
    let lab = Lab::applied(
        Way::Embedded,
        &(hcl::network("lab", 77) + &machines + &hcl::machine("ran", running)),
    );
    let (files, before) = (lab.files("kept"), lab.attributes("kept"));
    let ran = lab.files("ran");

    lab.observer.pull_plug("ran").unwrap();
    let lost = lab.disks("gone");
    for name in ["kept", "gone", "ran"] {
        lab.observer.handle(name).unwrap().undefine().unwrap();
    }
    let volumes = lab.observer.volumes("default").unwrap();
    let seed = volumes
        .iter()
        .find(|volume| volume.name.contains("gone") && volume.name.contains("seed"));
    for path in lost.iter().chain(seed.map(|volume| &volume.path)) {
        lab.virsh(&["vol-delete", path]);
    }

    let plan = lab.plan();
    assert_seen(&plan, "labyard_vm.kept", "/power", &json!("absent"));
    assert_seen(&plan, "labyard_vm.ran", "/power", &json!("absent"));
    assert_eq!(plan.actions("labyard_vm.gone"), ["create"]);
    let warnings = plan.run().warnings();
    assert!(
        warnings
            .iter()
            .any(|one| one.summary == "kept will be put back with its disks")
    );
    lab.heal();
    assert_eq!(lab.files("kept"), files);
    assert_eq!(lab.files("ran"), ran);
    assert_eq!(lab.domain("ran").state, DomainState::Running);
    let after = lab.attributes("kept");
    for attribute in ["id", "macs", "ip", "image_digests"] {
        assert_eq!(after[attribute], before[attribute], "{attribute}");
    }
    lab.destroy();
}

fn what_a_hand_changed_of_networks_is_seen_by_one_plan_and_healed_by_one_apply(way: Way) {
    let names = ["ranged", "shut", "down", "undefined", "gone", "manual"];
    let networks: String = names
        .iter()
        .zip(80..)
        .map(|(name, subnet)| hcl::network(name, subnet))
        .collect();
    let nics = ["down", "ranged"].map(|name| format!("{name} = {{ network = labyard_network.{name}.name }}"));
    let attached = hcl::machine(
        "attached",
        format!("{STOPPED}\n  nics = {{ {} }}", nics.join(", ")),
    );
    let lab = Lab::applied(way, &(networks + &attached));
    let definition = |name: &str| {
        let networks = lab.observer.networks().unwrap();
        networks.into_iter().find(|network| network.name == name).unwrap()
    };
    let ranged = definition("ranged")
        .xml
        .replace("end='10.80.0.200'", "end='10.80.0.150'");
    lab.observer.connection().define_network_xml(&ranged).unwrap();
    let shut = definition("shut").xml;
    let forward = shut.find("<forward").unwrap()..shut.find("<bridge").unwrap();
    lab.observer
        .connection()
        .define_network_xml(&shut.replace(&shut[forward], ""))
        .unwrap();
    lab.virsh(&["net-destroy", "down"]);
    lab.virsh(&["net-undefine", "undefined"]);
    lab.virsh(&["net-destroy", "gone"]);
    lab.virsh(&["net-undefine", "gone"]);
    lab.virsh(&["net-autostart", "manual", "--disable"]);

    let plan = lab.plan();
    assert_seen(
        &plan,
        "labyard_network.ranged",
        "/ipv4/dhcp/end",
        &json!("10.80.0.150"),
    );
    assert_seen(&plan, "labyard_network.shut", "/mode", &json!("isolated"));
    assert_seen(&plan, "labyard_network.down", "/active", &json!(false));
    let warnings = plan.run().warnings();
    assert!(
        warnings.iter().all(|one| !one.summary.starts_with("ranged")),
        "another range cuts nobody off: {warnings:?}"
    );
    assert_ne!(plan.actions("labyard_network.undefined"), ["no-op"]);
    assert_eq!(plan.actions("labyard_network.gone"), ["create"]);
    assert_seen(&plan, "labyard_network.manual", "/autostart", &json!(false));
    lab.heal();
    for name in names {
        let seen = definition(name);
        assert!(seen.active && seen.autostart, "{name}: {seen:?}");
    }
    assert!(definition("ranged").xml.contains("end='10.80.0.200'"));
    assert!(definition("shut").xml.contains("<forward mode='nat'"));
    shows(
        &[
            "labyard_network.mode",
            "labyard_network.active",
            "labyard_network.autostart",
            "labyard_network.ipv4",
            "labyard_network.ipv4.dhcp",
            "labyard_network.ipv4.dhcp.end",
        ],
        Case::Drift,
    );
    lab.destroy();
}

#[test]
fn what_others_add_survives_our_changes() {
    let machine = |memory| {
        hcl::machine(
            "shared",
            format!(
                "memory_mib = {memory}\n  power = \"stopped\"\n  disks = {{ data = {{ size_gib = 1 }} }}"
            ),
        )
    };
    let lab = Lab::applied(Way::Embedded, &machine(64));
    let file = lab.terraform.directory().join("watchdog.xml");
    std::fs::write(&file, "<watchdog model='i6300esb' action='reset'/>").unwrap();
    lab.virsh(&["attach-device", "shared", file.to_str().unwrap(), "--config"]);
    lab.virsh(&["desc", "shared", "--config", "--title", "by hand"]);
    lab.plan().expect_empty();
    lab.terraform
        .write("main.tf", &(hcl::on(&lab.host) + &machine(96)))
        .unwrap();
    lab.heal();
    let xml = lab.definition("shared");
    for kept in [
        "<watchdog model='i6300esb' action='reset'>",
        "<title>by hand</title>",
    ] {
        assert!(xml.contains(kept), "no {kept} in {xml}");
    }
    assert!(xml.contains("<memory unit='KiB'>98304</memory>"), "{xml}");
    // The same machine under another name: it is known by its mark.
    lab.virsh(&["domrename", "shared", "another"]);
    let plan = lab.plan();
    assert_ne!(
        plan.actions("labyard_vm.shared"),
        ["create"],
        "{}",
        plan.change("labyard_vm.shared")
    );
    lab.terraform.destroy(&[]).unwrap().expect_success();
    assert!(lab.observer.domains().unwrap().is_empty());
    assert!(lab.observer.volumes("default").unwrap().is_empty());
}

#[test]
fn a_machine_that_crashed_is_started_again_and_what_others_saved_of_machines_goes_with_them() {
    let disk = format!("disks = {{ root = {{ image = {} }} }}", hcl::image());
    let machine = |name: &str, body: &str| hcl::machine(name, format!("{body}\n  {disk}"));
    let lab = Lab::applied(
        Way::Embedded,
        &[
            machine("crashed", RUNNING),
            machine("saved", RUNNING),
            machine("snapped", STOPPED),
        ]
        .concat(),
    );
    let files = lab.files("crashed");
    let process = lab.host.guest_process("crashed").unwrap().unwrap();
    processes::send(Signal::Kill, process).unwrap();
    let soon = Duration::from_secs(30);
    lab.observer
        .wait_for_state("crashed", DomainState::Shutoff, soon)
        .unwrap();
    let reason = lab.host.virsh(&["domstate", "crashed", "--reason"]).unwrap();
    assert!(reason.contains("crashed"), "{reason}");

    let plan = lab.plan();
    assert_seen(&plan, "labyard_vm.crashed", "/power", &json!("stopped"));
    for name in ["saved", "snapped"] {
        assert_eq!(plan.actions(&format!("labyard_vm.{name}")), ["no-op"]);
    }
    lab.heal();
    assert_eq!(lab.domain("crashed").state, DomainState::Running);
    assert_ne!(lab.host.guest_process("crashed").unwrap(), Some(process));
    assert_eq!(lab.files("crashed"), files, "with the disks that it had");

    // A snapshot is nobody's drift; what keeps a machine's past does not keep the machine.
    lab.virsh(&["snapshot-create-as", "snapped", "before"]);
    lab.plan().expect_empty();
    lab.virsh(&["managedsave", "saved"]);
    let saves = lab.host.directory().join("lib/qemu/save");
    assert!(
        std::fs::read_dir(&saves).unwrap().count() > 0,
        "{}",
        saves.display()
    );
    let (host_directory, left) = (
        lab.host.directory().to_owned(),
        ["lib/qemu/save", "lib/qemu/snapshot"],
    );
    lab.terraform.destroyed();
    for place in left {
        let below: Vec<_> = walk(&host_directory.join(place));
        assert_eq!(below, [""; 0], "left in {place}");
    }
    let left = lab.empty.changes_to(&lab.host.inventory().unwrap());
    assert!(left.is_empty(), "left over or lost:\n{left}");
}

/// The files below a directory.
fn walk(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path()),
            _ => vec![entry.path().display().to_string()],
        })
        .collect()
}
