//! Attributes on stopped machines, many in each apply: what replaces a machine is planned as a replacement and makes
//! another one; what a hand changed is seen by one plan and healed by one apply; what cannot be is refused.

use labyard_acceptance_tests::command::output_of;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::observer::Description;
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::terraform::Plan;
use labyard_acceptance_tests::whole::write_image;
use labyard_acceptance_tests::{Scene, Terraform, hcl};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const STOPPED: &str = "memory_mib = 64\n  power = \"stopped\"";

fn stopped(name: &str, more: &str) -> String {
    hcl::machine(name, format!("{STOPPED}\n  {more}"))
}

/// A machine whose disk is made of an image, with what else is said of either.
fn of_image(name: &str, source: &str, image: &str, disk: &str) -> String {
    stopped(
        name,
        &format!("disks = {{ root = {{ image = {{ source = {source:?}{image} }}{disk} }} }}"),
    )
}

fn on_host(kind: &str, name: &str, host: &str, body: &str) -> String {
    hcl::resource(kind, name, format!("host = {host:?}\n  {body}"))
}

fn sha256_of(path: &Path) -> String {
    let line = output_of(Command::new("sha256sum").arg(path)).unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

/// Images of a test: `a` and `b`, and one whose content changes under its name.
struct Images {
    files: TempDir,
}

impl Images {
    fn new() -> Self {
        let files = TempDir::new().unwrap();
        for (name, bytes) in [("a", 40_000), ("b", 50_000), ("moving", 30_000)] {
            write_image(&files.path().join(name), bytes).unwrap();
        }
        Self { files }
    }

    fn source(&self, name: &str) -> String {
        format!("file:{}", self.files.path().join(name).display())
    }

    fn digest(&self, name: &str) -> String {
        sha256_of(&self.files.path().join(name))
    }

    fn pinned(&self, name: &str) -> String {
        format!(", sha256 = \"{}\"", self.digest(name))
    }
}

/// Each with the attribute that replaces it, and the object as it was and as it shall be.
struct Replaced {
    address: &'static str,
    attribute: &'static str,
    at: &'static str,
    is: String,
    shall_be: String,
}

fn replacements(images: &Images) -> Vec<Replaced> {
    let (a, b, moving) = (images.source("a"), images.source("b"), images.source("moving"));
    let replaced = |address, attribute, at, is, shall_be| Replaced {
        address,
        attribute,
        at,
        is,
        shall_be,
    };
    let moved = |host| on_host("labyard_vm", "moved", host, STOPPED);
    let wandering = |host| on_host("labyard_network", "wandering", host, "mode = \"isolated\"");
    let called = |name: &str| {
        format!(
            "resource \"labyard_network\" \"called\" {{\n  host = \"lab1\"\n  name = {name:?}\n  mode = \"isolated\"\n}}\n"
        )
    };
    let in_pool = |pool: &str| {
        let disk = format!(
            "disks = {{ data = {{ size_gib = 1, storage_pool = {pool:?}, on_remove = \"delete\" }} }}"
        );
        stopped("pooled", &disk)
    };
    let one = |text: String| text.replacen("{\n", "{\n  host = \"lab1\"\n", 1);
    let pinned = images.pinned("moving");
    // The content behind the same name becomes another one.
    write_image(&images.files.path().join("moving"), 35_000).unwrap();
    let pinned_anew = images.pinned("moving");
    write_image(&images.files.path().join("moving"), 30_000).unwrap();
    vec![
        replaced(
            "labyard_vm.moved",
            "labyard_vm.host",
            "host",
            moved("lab1"),
            moved("lab2"),
        ),
        replaced(
            "labyard_vm.remade",
            "labyard_vm.disks.image.source",
            "disks",
            one(of_image("remade", &a, "", "")),
            one(of_image("remade", &b, "", "")),
        ),
        replaced(
            "labyard_vm.pinned",
            "labyard_vm.disks.image.sha256",
            "disks",
            one(of_image("pinned", &moving, &pinned, "")),
            one(of_image("pinned", &moving, &pinned_anew, "")),
        ),
        replaced(
            "labyard_vm.copied",
            "labyard_vm.disks.clone",
            "disks",
            one(of_image("copied", &a, "", ", clone = \"full\"")),
            one(of_image("copied", &a, "", ", clone = \"linked\"")),
        ),
        replaced(
            "labyard_vm.pooled",
            "labyard_vm.disks.storage_pool",
            "disks",
            one(in_pool("fast")),
            one(in_pool("default")),
        ),
        replaced(
            "labyard_vm.firm",
            "labyard_vm.firmware.type",
            "firmware",
            one(stopped("firm", "firmware = { type = \"bios\" }")),
            one(stopped("firm", "firmware = { type = \"uefi\" }")),
        ),
        replaced(
            "labyard_vm.chips",
            "labyard_vm.machine_type",
            "machine_type",
            one(stopped("chips", "machine_type = \"q35\"")),
            one(stopped("chips", "machine_type = \"pc\"")),
        ),
        replaced(
            "labyard_network.wandering",
            "labyard_network.host",
            "host",
            wandering("lab1"),
            wandering("lab2"),
        ),
        replaced(
            "labyard_network.called",
            "labyard_network.name",
            "name",
            called("lan"),
            called("wan"),
        ),
    ]
}

#[test]
fn what_cannot_change_in_place_is_planned_as_a_replacement_and_makes_another_object() {
    let hosts = [Host::start().unwrap(), Host::start().unwrap()];
    hosts[0].add_pool("fast").unwrap();
    let empty = hosts.each_ref().map(|host| host.inventory().unwrap());
    let (images, terraform) = (Images::new(), Terraform::new().unwrap());
    let all = replacements(&images);
    let provider = hcl::provider(&[("lab1", &hosts[0]), ("lab2", &hosts[1])]);
    // Not pinned at first, and written down when it was seen.
    let late = |image: &str| {
        of_image("late", &images.source("a"), image, "").replacen("{\n", "{\n  host = \"lab1\"\n", 1)
    };
    let before: String = all.iter().map(|one| one.is.as_str()).collect();
    terraform.applied(&(provider.clone() + &before + &late("")));
    terraform.assert_settled();
    let digest = images.digest("moving");
    let pinned = terraform.resource("labyard_vm.pinned");
    assert_eq!(pinned["image_digests"]["root"], json!(digest));
    assert_eq!(pinned.pointer("/disks/root/image/sha256"), Some(&json!(digest)));
    let volumes = hosts[0].observer().unwrap().volumes("default").unwrap();
    let there = volumes.iter().find(|volume| {
        volume.name.starts_with("labyard-image.") && std::fs::metadata(&volume.path).unwrap().len() > 0 && {
            sha256_of(Path::new(&volume.path)) == digest
        }
    });
    assert!(there.is_some(), "no image of that digest among {volumes:?}");
    shows(&["labyard_vm.disks.image.sha256"], Case::Create);
    terraform.take_up_as_written("labyard_vm.pinned", "lab1/pinned");
    terraform.assert_settled();
    shows(&["labyard_vm.disks.image.sha256"], Case::Import);

    // The digest that was seen says nothing new of the disk.
    let noted = provider.clone() + &before + &late(&images.pinned("a"));
    let plan = terraform.planned(&noted);
    assert_eq!(plan.actions("labyard_vm.late"), ["update"]);
    let disk = hosts[0].observer().unwrap().domain("late").unwrap();
    terraform.applied(&noted);
    assert_eq!(hosts[0].observer().unwrap().domain("late").unwrap(), disk);
    terraform.assert_settled();

    write_image(&images.files.path().join("moving"), 35_000).unwrap();
    let ids: Vec<_> = all
        .iter()
        .map(|one| terraform.resource(one.address)["id"].clone())
        .collect();
    let after: String = all.iter().map(|one| one.shall_be.as_str()).collect();
    let after = provider.clone() + &after + &late(&images.pinned("a"));
    let plan = terraform.planned(&after);
    for one in &all {
        let change = plan.change(one.address);
        assert_eq!(plan.actions(one.address), ["delete", "create"], "{change:#}");
        let paths = change["replace_paths"].as_array().unwrap();
        assert!(
            paths.iter().any(|path| path[0] == one.at),
            "{}: {paths:?}",
            one.attribute
        );
    }
    assert_eq!(plan.actions("labyard_vm.late"), ["no-op"]);
    terraform.applied(&after);
    terraform.assert_settled();
    for (one, id) in all.iter().zip(&ids) {
        let now = &terraform.resource(one.address)["id"];
        assert!(now.is_string() && now != id, "{} is the same object", one.address);
        shows(&[one.attribute], Case::Update);
    }
    assert_moved(&hosts);
    terraform.applied(&provider);
    for (host, empty) in hosts.iter().zip(&empty) {
        host.assert_as(empty);
    }
}

/// Each is where it shall be, once.
fn assert_moved(hosts: &[Host; 2]) {
    let names = |host: &Host| -> (Vec<String>, Vec<String>) {
        let observer = host.observer().unwrap();
        let machines = observer.domains().unwrap().into_iter().map(|one| one.name);
        let networks = observer.networks().unwrap().into_iter().map(|one| one.name);
        (machines.collect(), networks.collect())
    };
    let (machines, networks) = names(&hosts[0]);
    assert_eq!(
        machines,
        ["chips", "copied", "firm", "late", "pinned", "pooled", "remade"]
    );
    assert!(networks.contains(&"wan".into()) && !networks.contains(&"lan".into()));
    let (machines, networks) = names(&hosts[1]);
    assert_eq!(machines, ["moved"]);
    assert!(networks.contains(&"wandering".into()));
    let observer = hosts[0].observer().unwrap();
    let xml = |name| observer.domain_xml(name, Description::Persistent).unwrap();
    assert!(xml("firm").contains("firmware='efi'"));
    assert!(xml("chips").contains("i440fx"));
    let volumes = observer.volumes("default").unwrap();
    assert!(observer.volumes("fast").unwrap().is_empty());
    assert!(volumes.iter().any(|v| v.name.starts_with("pooled.data.")));
    let copied = volumes
        .iter()
        .find(|v| v.name.starts_with("copied.root."))
        .unwrap();
    assert!(copied.xml.contains("<backingStore>"), "{}", copied.xml);
}

fn machines_to_change_by_hand(iso: &str) -> String {
    let (lan, disk) = (
        "nics = { lan = { network = labyard_network.lab.name } }",
        "disks = { data = { size_gib = 2, on_remove = \"delete\" } }",
    );
    let boot = "boot = { kernel = \"/nowhere/kernel\", initrd = \"/nowhere/initrd\" }";
    let media = format!("media = {{ tools = {{ image = {{ source = {iso:?} }} }} }}");
    [
        hcl::resource("labyard_network", "lab", "mode = \"isolated\""),
        hcl::resource("labyard_network", "called", "mode = \"isolated\""),
        stopped("processors", "cpus = 1\n  cpus_max = 3"),
        hcl::machine(
            "memory",
            "memory_mib = 64\n  memory_max_mib = 96\n  power = \"stopped\"",
        ),
        stopped("smaller", disk),
        stopped("bus", disk),
        stopped("medium", &media),
        stopped("card", lan),
        stopped("model", lan),
        stopped("kernel", boot),
        stopped("firm", "firmware = { type = \"bios\" }"),
        stopped("chips", "machine_type = \"q35\""),
    ]
    .concat()
}

/// From one word up to another, both included.
fn without(text: &str, from: &str, to: &str) -> String {
    let (head, rest) = text.split_once(from).unwrap();
    let (_, tail) = rest.split_once(to).unwrap();
    format!("{head}{tail}")
}

fn change_by_hand(scene: &Scene, mac: &str) {
    let virsh = |arguments: &[&str]| drop(scene.host.virsh(arguments).unwrap());
    virsh(&["setvcpus", "processors", "5", "--config", "--maximum"]);
    virsh(&["setmaxmem", "memory", "128M", "--config"]);
    let volumes = scene.observer.volumes("default").unwrap();
    let data = volumes
        .iter()
        .find(|volume| volume.name.starts_with("smaller."))
        .unwrap();
    virsh(&["vol-resize", &data.path, "1G", "--shrink"]);
    scene.edit("bus", |xml| {
        let xml = without(xml, "<address type='pci' domain='0x0000' bus='0x0", "/>");
        xml.replace("dev='vda' bus='virtio'", "dev='sda' bus='sata'")
    });
    let other = scene.host.pool_directory().join("other.iso");
    std::fs::write(&other, vec![0; 4096]).unwrap();
    virsh(&[
        "change-media",
        "medium",
        "sdb",
        &other.display().to_string(),
        "--update",
        "--config",
    ]);
    // The card's alone: the mark has it too.
    let of_card = |mac: &str| format!("<mac address='{mac}'");
    scene.edit("card", |xml| {
        xml.replace(&of_card(mac), &of_card("52:54:00:00:99:99"))
    });
    scene.edit("model", |xml| {
        xml.replace("<model type='virtio'/>", "<model type='e1000e'/>")
    });
    scene.edit("kernel", |xml| xml.replace("/nowhere/", "/elsewhere/"));
    scene.edit("firm", |xml| xml.replace("<os>", "<os firmware='efi'>"));
    scene.edit("chips", |xml| {
        let machine = xml.split("machine='").nth(1).unwrap().split('\'').next().unwrap();
        without(xml, "<devices>", "</devices>").replace(machine, "pc")
    });
    let network = scene
        .host
        .virsh(&["net-dumpxml", "--inactive", "called"])
        .unwrap();
    virsh(&["net-destroy", "called"]);
    virsh(&["net-undefine", "called"]);
    let network = network.replace("<name>called</name>", "<name>by-hand</name>");
    let network = scene.observer.connection().define_network_xml(&network).unwrap();
    network.create().unwrap();
}

#[track_caller]
fn assert_found(plan: &Plan, address: &str, attribute: &str, found: &Value, actions: &[&str]) {
    let change = plan.change(address);
    assert_eq!(plan.actions(address), actions, "{address}: {change:#}");
    let before = change["before"].pointer(attribute).unwrap_or(&Value::Null);
    assert_eq!(before, found, "{attribute} of {address} in {change:#}");
}

#[test]
fn what_a_hand_changed_of_any_attribute_is_seen_by_one_plan_and_healed_by_one_apply() {
    let scene = Scene::new();
    let iso = scene.terraform.directory().join("tools.iso");
    std::fs::write(&iso, vec![7; 4096]).unwrap();
    let source = format!("file:{}", iso.display());
    let config = machines_to_change_by_hand(&source);
    scene.apply(&config);
    let card = scene.terraform.resource("labyard_vm.card");
    let mac = card["macs"]["lan"].as_str().unwrap();
    change_by_hand(&scene, mac);

    let plan = scene.plan(&config).expect_success();
    let other = format!("host:{}/other.iso", scene.host.pool_directory().display());
    let (in_place, anew) = (&["update"][..], &["delete", "create"][..]);
    for (name, attribute, found, actions) in [
        ("processors", "/cpus_max", json!(5), in_place),
        ("memory", "/memory_max_mib", json!(128), in_place),
        ("smaller", "/disks/data/size_gib", json!(1), in_place),
        ("bus", "/disks/data/bus", json!("sata"), in_place),
        ("medium", "/media/tools/image/source", json!(other), in_place),
        ("card", "/nics/lan", Value::Null, in_place),
        ("model", "/nics/lan/model", json!("e1000e"), in_place),
        ("kernel", "/boot/kernel", json!("/elsewhere/kernel"), in_place),
        ("kernel", "/boot/initrd", json!("/elsewhere/initrd"), in_place),
        ("firm", "/firmware/type", json!("uefi"), anew),
        ("chips", "/machine_type", json!("pc"), anew),
    ] {
        assert_found(&plan, &format!("labyard_vm.{name}"), attribute, &found, actions);
    }
    assert_found(&plan, "labyard_network.called", "/name", &json!("by-hand"), anew);
    scene.apply(&config);
    assert_healed(&scene, mac);
    shows(
        &[
            "labyard_vm.cpus_max",
            "labyard_vm.memory_max_mib",
            "labyard_vm.disks.size_gib",
            "labyard_vm.disks.bus",
            "labyard_vm.media.image.source",
            "labyard_vm.nics.mac",
            "labyard_vm.nics.model",
            "labyard_vm.boot.kernel",
            "labyard_vm.boot.initrd",
            "labyard_vm.firmware.type",
            "labyard_vm.machine_type",
            "labyard_network.name",
        ],
        Case::Drift,
    );
    std::fs::remove_file(scene.host.pool_directory().join("other.iso")).unwrap();
    scene.destroy();
}

fn assert_healed(scene: &Scene, mac: &str) {
    for (name, parts) in [
        ("processors", &["current='1'>3</vcpu>"][..]),
        ("memory", &["<memory unit='KiB'>98304</memory>"]),
        ("bus", &["dev='vda' bus='virtio'"]),
        ("card", &[mac]),
        ("model", &["<model type='virtio'/>", "<source network='lab'/>"]),
        ("kernel", &["/nowhere/kernel", "/nowhere/initrd"]),
        ("chips", &["q35"]),
    ] {
        let xml = scene.definition(name);
        for part in parts {
            assert!(xml.contains(part), "no {part} in {xml}");
        }
        assert_eq!(
            xml.matches("<interface ").count(),
            xml.matches("<source network=").count()
        );
    }
    assert_eq!(scene.definition("card").matches("<interface ").count(), 1);
    assert!(!scene.definition("firm").contains("efi"));
    assert!(!scene.definition("medium").contains("other.iso"));
    let volumes = scene.observer.volumes("default").unwrap();
    let data = volumes
        .iter()
        .find(|volume| volume.name.starts_with("smaller."))
        .unwrap();
    assert_eq!(data.capacity, 2 << 30);
    let networks = scene.observer.networks().unwrap();
    let mine: Vec<_> = networks.iter().map(|network| network.name.as_str()).collect();
    assert!(mine.contains(&"called") && !mine.contains(&"by-hand"), "{mine:?}");
}

#[test]
fn digests_of_cds_and_timeouts_of_networks_are_kept_read_back_and_changed() {
    let scene = Scene::new();
    let directory = scene.terraform.directory();
    let write = |byte: u8| std::fs::write(directory.join("tools.iso"), vec![byte; 4096]).unwrap();
    let digest = || sha256_of(&directory.join("tools.iso"));
    let config = |digest: &str, times: [u8; 3]| {
        let source = format!("file:{}", directory.join("tools.iso").display());
        let [create, update, delete] = times;
        let network = format!(
            "mode = \"isolated\"\n  timeouts = {{ create = \"{create}m\", update = \"{update}m\", delete = \"{delete}m\" }}"
        );
        stopped(
            "box",
            &format!("media = {{ tools = {{ image = {{ source = {source:?}, sha256 = {digest:?} }} }} }}"),
        ) + &hcl::resource("labyard_network", "lab", network)
    };
    let attributes = [
        "labyard_vm.media.image.sha256",
        "labyard_vm.media_digests",
        "labyard_network.timeouts",
        "labyard_network.timeouts.create",
        "labyard_network.timeouts.update",
        "labyard_network.timeouts.delete",
    ];
    // All but what the user does not set.
    let settable = [&attributes[..1], &attributes[2..]].concat();
    let mut former = None;
    for (byte, times, case) in [(1, [1, 2, 3], Case::Create), (2, [4, 5, 6], Case::Update)] {
        write(byte);
        let config = config(&digest(), times);
        let plan = scene.plan(&config).expect_success();
        if let Some(ids) = &former {
            assert_eq!(plan.actions("labyard_vm.box"), ["update"]);
            assert_eq!(plan.actions("labyard_network.lab"), ["update"]);
            assert!(plan.run().warnings().is_empty(), "{}", plan.run().text());
            assert_eq!(&ids_of(&scene), ids);
        }
        scene.apply(&config);
        let inserted = scene.definition("box");
        let path = inserted
            .split("<source file='")
            .nth(1)
            .unwrap()
            .split('\'')
            .next()
            .unwrap();
        assert_eq!(std::fs::read(path).unwrap(), vec![byte; 4096]);
        shows(&settable, case);
        // What the host keeps of it is read back.
        scene.terraform.take_up_as_written("labyard_vm.box", "lab1/box");
        scene
            .terraform
            .take_up_as_written("labyard_network.lab", "lab1/lab");
        scene.terraform.assert_settled();
        shows(&attributes, Case::Import);
        let now = ids_of(&scene);
        assert_eq!(former.replace(now.clone()).unwrap_or(now.clone()), now);
    }
    refused_names(&scene);
    scene.destroy();
}

/// The ids of the objects, and the number of the network's bridge, which is another one after each of its restarts.
fn ids_of(scene: &Scene) -> [Value; 3] {
    let network = scene.terraform.resource("labyard_network.lab");
    let bridge = format!(
        "/sys/class/net/{}/ifindex",
        network["bridge_name"].as_str().unwrap()
    );
    let number = output_of(scene.host.command("cat").arg(bridge)).unwrap();
    [
        scene.terraform.resource("labyard_vm.box")["id"].clone(),
        network["id"].clone(),
        json!(number),
    ]
}

fn refused_names(scene: &Scene) {
    let called = |kind: &str, name: &str, body: &str| {
        format!("resource {kind:?} \"bad\" {{\n  name = {name:?}\n  {body}\n}}\n")
    };
    let isolated = "mode = \"isolated\"";
    let card = |network: &str| {
        let card = format!("{STOPPED}\n  nics = {{ lan = {{ network = {network:?} }} }}");
        called("labyard_vm", "bad", &card)
    };
    let labels = format!("{isolated}\n  labels = {{ \"-a\" = \"x\" }}");
    for (config, attribute, says) in [
        (
            called("labyard_vm", "a b", STOPPED),
            "labyard_vm.name",
            "cannot be a name",
        ),
        (
            called("labyard_vm", "*", STOPPED),
            "labyard_vm.name",
            "cannot be a name",
        ),
        (
            called("labyard_network", "a%b", isolated),
            "labyard_network.name",
            "cannot be a name",
        ),
        (
            called("labyard_network", "lan", &labels),
            "labyard_network.labels",
            "label",
        ),
        (
            card(""),
            "labyard_vm.nics.network",
            "cannot be the name of a network",
        ),
    ] {
        let kept = std::fs::read_to_string(scene.terraform.directory().join("main.tf")).unwrap();
        let plan = scene.terraform.plan_of(&(kept.clone() + &config));
        assert_refused_at(plan.run(), attribute, says);
        scene.terraform.write("main.tf", &kept).unwrap();
        shows(&[attribute], Case::Refused);
    }
    // A network that a plan cannot know to come is refused when it is needed, and nothing stands of the machine.
    let kept = std::fs::read_to_string(scene.terraform.directory().join("main.tf")).unwrap();
    scene
        .terraform
        .write("main.tf", &(kept.clone() + &card("nowhere")))
        .unwrap();
    let run = scene.terraform.apply(&[]).unwrap().expect_failure();
    assert_refused_at(&run, "labyard_vm.nics.network", "has no network \"nowhere\"");
    scene.terraform.applied(&kept);
    scene.terraform.assert_settled();
}

#[track_caller]
fn assert_refused_at(run: &labyard_acceptance_tests::terraform::Run, attribute: &str, says: &str) {
    let errors = run.errors();
    let [error] = &errors[..] else {
        panic!("not one error:\n{}", run.text())
    };
    assert!(error.text().contains(says), "{}", error.text());
    let line = attribute.split('.').nth(1).unwrap();
    let at = error.snippet.as_deref().unwrap_or_default().trim();
    assert!(at.starts_with(line), "{attribute}: points at {at:?}");
}
