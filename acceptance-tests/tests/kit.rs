//! What a machine has besides processors, memory, disks and NICs: CD drives, processor model, display, serial number,
//! autostart, labels, protection, and its name. Each is made, imported, changed with the disturbance that is stated,
//! found changed by hand, and refused where it cannot be.

use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::inventory::Inventory;
use labyard_acceptance_tests::observer::{Description, Observer};
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::terraform::{Plan, Terraform};
use labyard_acceptance_tests::wait::{Look, until};
use labyard_acceptance_tests::{Guest, hcl};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);

/// What both tests need.
struct Lab {
    host: Host,
    observer: Observer,
    terraform: Terraform<'static>,
    empty: Inventory,
}

impl Lab {
    fn new() -> Self {
        let host = Host::start().unwrap();
        Self {
            observer: host.observer().unwrap(),
            empty: host.inventory().unwrap(),
            terraform: Terraform::new().unwrap(),
            host,
        }
    }

    /// A CD's image that begins with a text.
    fn iso(&self, name: &str) -> PathBuf {
        let path = self.terraform.directory().join(format!("{name}.iso"));
        let mut bytes = format!("this is {name}\n").into_bytes();
        bytes.resize(1 << 16, 0);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn medium(&self, name: &str) -> String {
        format!(
            "{{ image = {{ source = \"file:{}\" }} }}",
            self.iso(name).display()
        )
    }

    fn plan(&self, config: &str) -> Plan {
        self.terraform
            .write("main.tf", &(hcl::on(&self.host) + config))
            .unwrap();
        self.terraform.plan(&[]).unwrap()
    }

    #[track_caller]
    fn apply(&self, config: &str) {
        self.terraform
            .write("main.tf", &(hcl::on(&self.host) + config))
            .unwrap();
        self.terraform.apply(&[]).unwrap().expect_success();
        self.assert_settled();
    }

    #[track_caller]
    fn assert_settled(&self) {
        self.terraform.plan(&[]).unwrap().expect_empty();
        self.terraform.plan(&["-refresh-only"]).unwrap().expect_empty();
    }

    /// What somebody changed is in the plan, one apply puts it back, and then there is nothing to do.
    #[track_caller]
    fn healed(&self, attribute: &str, found: &Value) {
        let plan = self.terraform.plan(&[]).unwrap().expect_success();
        let change = plan.change("labyard_vm.box");
        let before = change["before"].pointer(attribute);
        assert_eq!(before.unwrap_or(&Value::Null), found, "{attribute} in {change:#}");
        assert_eq!(plan.actions("labyard_vm.box"), ["update"], "{change:#}");
        self.terraform.apply(&[]).unwrap().expect_success();
        self.assert_settled();
    }

    fn state(&self) -> Value {
        self.terraform.attributes("labyard_vm.box").unwrap().unwrap()
    }

    fn definition(&self, name: &str) -> String {
        self.observer.domain_xml(name, Description::Persistent).unwrap()
    }

    fn live(&self, name: &str) -> String {
        self.observer.domain_xml(name, Description::Live).unwrap()
    }

    fn images(&self) -> usize {
        let inventory = self.host.inventory().unwrap();
        let volumes = inventory.of_kind("volume");
        // An image is its data and its marker.
        volumes.filter(|line| line.contains("labyard-image.")).count() / 2
    }

    fn destroy(self) {
        self.terraform.destroy(&[]).unwrap().expect_success();
        let left = self.empty.changes_to(&self.host.inventory().unwrap());
        assert!(left.is_empty(), "left over or lost:\n{left}");
    }
}

fn stopped(name: &str, more: &str) -> String {
    let body = format!("name = \"{name}\"\n  memory_mib = 64\n  power = \"stopped\"\n  {more}");
    format!("resource \"labyard_vm\" \"box\" {{\n  {body}\n}}\n")
}

#[test]
fn a_machine_that_is_off_takes_its_kit_and_is_put_right() {
    let lab = Lab::new();
    let (one, two) = (lab.medium("one"), lab.medium("two"));
    let whole = |name: &str, media: &str, autostart: bool| {
        let kit = format!(
            "media = {{ {media} }}\n  machine_type = \"pc\"\n  cpu = {{ model = \"qemu64\", nested = true }}
  graphics = \"vnc\"\n  serial = \"LAB 42\"\n  autostart = {autostart}
  labels = {{ team = \"blue\" }}\n  disks = {{ data = {{ size_gib = 1, on_remove = \"delete\" }} }}
  nics = {{ lan = {{ network = labyard_network.lab.name }} }}"
        );
        stopped(name, &kit) + &hcl::network("lab", 77)
    };
    let first = whole("box", &format!("tools = {one}, spare = {{}}"), true);
    lab.apply(&first);
    let xml = lab.definition("box");
    for part in [
        "i440fx",
        "<model fallback='forbid'>qemu64</model>",
        "policy='require' name='svm'",
        "type='vnc'",
        "listen='127.0.0.1'",
        "<entry name='serial'>LAB 42</entry>",
    ] {
        assert!(xml.contains(part), "no {part} in\n{xml}");
    }
    assert_eq!(xml.matches("device='cdrom'").count(), 2, "{xml}");
    assert!(lab.observer.domain("box").unwrap().unwrap().autostart);
    let made = lab.state();
    assert!(made["media_digests"]["tools"].is_string(), "{made:#}");
    shows(&KIT, Case::Create);

    lab.terraform
        .run(&["state", "rm", "labyard_vm.box"])
        .unwrap()
        .expect_success();
    lab.terraform
        .import("labyard_vm.box", "lab1/box")
        .unwrap()
        .expect_success();
    assert_eq!(lab.state(), made, "imported as it was written");
    lab.assert_settled();
    shows(&KIT, Case::Import);

    put_right(&lab, &made);
    renamed(&lab, &made, &whole, &one);
    let exchanged = whole("crate", &format!("tools = {two}, spare = {{}}"), false);
    lab.apply(&exchanged);
    assert_eq!(lab.images(), 1, "the former image is gone from the pool");
    assert!(!lab.observer.domain("crate").unwrap().unwrap().autostart);
    lab.apply(&whole("crate", "", false));
    assert_eq!(lab.definition("crate").matches("device='cdrom'").count(), 0);
    assert_eq!(lab.images(), 0);
    lab.destroy();
}

const KIT: [&str; 13] = [
    "labyard_vm.name",
    "labyard_vm.media",
    "labyard_vm.media.image",
    "labyard_vm.media.image.source",
    "labyard_vm.media_digests",
    "labyard_vm.machine_type",
    "labyard_vm.cpu",
    "labyard_vm.cpu.model",
    "labyard_vm.cpu.nested",
    "labyard_vm.graphics",
    "labyard_vm.serial",
    "labyard_vm.autostart",
    "labyard_vm.labels",
];

/// What hands change is seen and healed; what they add is left alone.
fn put_right(lab: &Lab, made: &Value) {
    let virsh = |arguments: &[&str]| lab.host.virsh(arguments).unwrap();
    virsh(&["autostart", "--disable", "box"]);
    lab.healed("/autostart", &json!(false));

    virsh(&["change-media", "box", "sdc", "--eject", "--config"]);
    lab.healed("/media/tools/image", &Value::Null);

    let directory = lab.terraform.directory();
    let edited = |from: &str, to: &str| {
        let xml = lab.definition("box");
        assert!(xml.contains(from), "no {from} in\n{xml}");
        let file = directory.join("edited.xml");
        std::fs::write(&file, xml.replace(from, to)).unwrap();
        virsh(&["define", file.to_str().unwrap()]);
    };
    edited("LAB 42", "other");
    lab.healed("/serial", &json!("other"));
    edited("qemu64", "Haswell");
    lab.healed("/cpu/model", &json!("Haswell"));
    edited("policy='require' name='svm'", "policy='disable' name='svm'");
    lab.healed("/cpu/nested", &json!(false));
    let xml = lab.definition("box");
    let (_, display) = xml.split_once("<graphics").unwrap();
    let (display, _) = display.split_once("</graphics>").unwrap();
    edited(&format!("<graphics{display}</graphics>"), "");
    lab.healed("/graphics", &json!("none"));
    virsh(&["domrename", "box", "by-hand"]);
    lab.healed("/name", &json!("by-hand"));
    assert_eq!(lab.state()["id"], made["id"]);
    shows(
        &[
            "labyard_vm.name",
            "labyard_vm.autostart",
            "labyard_vm.media",
            "labyard_vm.media.image",
            "labyard_vm.serial",
            "labyard_vm.cpu",
            "labyard_vm.cpu.model",
            "labyard_vm.cpu.nested",
            "labyard_vm.graphics",
        ],
        Case::Drift,
    );

    let watchdog = directory.join("watchdog.xml");
    std::fs::write(&watchdog, "<watchdog model='ib700' action='poweroff'/>").unwrap();
    virsh(&["attach-device", "box", watchdog.to_str().unwrap(), "--config"]);
    lab.assert_settled();
}

/// Another name keeps everything that is the machine's; a device that somebody added stays through it.
fn renamed(lab: &Lab, made: &Value, whole: &dyn Fn(&str, &str, bool) -> String, one: &str) {
    let config = whole("crate", &format!("tools = {one}, spare = {{}}"), true);
    let plan = lab.plan(&config).expect_success();
    assert_eq!(plan.actions("labyard_vm.box"), ["update"]);
    for attribute in ["/id", "/macs", "/serial"] {
        assert_eq!(
            plan.known("labyard_vm.box", attribute),
            made.pointer(attribute),
            "{attribute}"
        );
    }
    lab.apply(&config);
    assert!(lab.observer.domain("box").unwrap().is_none());
    let now = lab.state();
    assert_eq!(now["id"], made["id"]);
    assert_eq!(now["macs"], made["macs"]);
    let xml = lab.definition("crate");
    assert!(
        xml.contains("ib700"),
        "a watchdog of another hand is gone:\n{xml}"
    );
    assert!(lab.observer.domain("crate").unwrap().unwrap().autostart);
}

#[test]
fn the_name_of_a_renamed_machine_gives_the_next_one_another_mac_and_serial() {
    let lab = Lab::new();
    let nics = "nics = { lan = { network = labyard_network.lab.name } }";
    let network = hcl::network("lab", 91);
    let named = |resource: &str, name: &str| {
        let machine = hcl::machine(
            resource,
            format!("memory_mib = 64\n  power = \"stopped\"\n  {nics}"),
        );
        machine.replace(&format!("name = \"{resource}\""), &format!("name = \"{name}\""))
    };
    let of = |address: &str, pointer: &str| {
        let state = lab.terraform.attributes(address).unwrap().unwrap();
        state.pointer(pointer).cloned().unwrap()
    };
    lab.apply(&(network.clone() + &named("first", "web")));
    let identity = ["/macs/lan", "/serial"].map(|pointer| of("labyard_vm.first", pointer));
    lab.apply(&(network.clone() + &named("first", "old")));
    let both = network + &named("first", "old") + &named("second", "web");
    let plan = lab.plan(&both).expect_success();
    for (pointer, taken) in ["/macs/lan", "/serial"].iter().zip(&identity) {
        let planned = plan.known("labyard_vm.second", pointer);
        assert!(
            planned.is_some_and(|planned| planned != taken),
            "{pointer}: {planned:?}"
        );
    }
    lab.apply(&both);
    lab.assert_settled();
    for (pointer, kept) in ["/macs/lan", "/serial"].iter().zip(&identity) {
        assert_eq!(&of("labyard_vm.first", pointer), kept);
        assert_ne!(&of("labyard_vm.second", pointer), kept);
    }
    lab.terraform.destroy(&[]).unwrap().expect_success();
    assert_eq!(lab.host.inventory().unwrap(), lab.empty);
}

#[test]
fn what_is_protected_stays_until_it_no_longer_is() {
    let lab = Lab::new();
    let config = |protected: bool, labels: &str, mode: &str| {
        let more = format!("deletion_protection = {protected}\n  labels = {{ {labels} }}");
        let network = format!("mode = \"isolated\"\n  {more}\n  {mode}");
        stopped("box", &more) + &hcl::resource("labyard_network", "lab", network)
    };
    lab.apply(&config(true, "team = \"blue\"", ""));
    let text = lab.plan(&config(true, "team = \"blue\"", "")).run().text();
    assert!(!text.contains("will be"), "{text}");
    let all = ["labyard_vm.box", "labyard_network.lab"];
    for (address, id) in all.iter().zip(["lab1/box", "lab1/lab"]) {
        let before = lab.terraform.attributes(address).unwrap();
        lab.terraform
            .run(&["state", "rm", address])
            .unwrap()
            .expect_success();
        lab.terraform.import(address, id).unwrap().expect_success();
        assert_eq!(lab.terraform.attributes(address).unwrap(), before);
    }
    let kept = [
        "labyard_vm.labels",
        "labyard_vm.deletion_protection",
        "labyard_network.labels",
        "labyard_network.deletion_protection",
    ];
    shows(&kept, Case::Create);
    shows(&kept, Case::Import);

    let refused = lab.terraform.destroy(&[]).unwrap().expect_failure();
    let errors = refused.errors();
    assert!(!errors.is_empty());
    for error in &errors {
        assert_eq!(error.summary, "Protected from deletion");
        assert!(error.detail.contains("set it to false"), "{}", error.detail);
    }
    // A replacement by hand is planned as a create beside a removal that no provider is asked about.
    let replaced = lab
        .terraform
        .apply(&["-replace=labyard_vm.box"])
        .unwrap()
        .expect_failure();
    assert!(
        replaced.text().contains("deletion_protection"),
        "{}",
        replaced.text()
    );
    assert!(lab.observer.domain("box").unwrap().is_some());
    assert_eq!(lab.observer.networks().unwrap().len(), 1 + lab_networks(&lab));
    let moved = lab.plan(&(stopped("box", "deletion_protection = true\n  machine_type = \"pc\"")));
    assert!(
        moved
            .run()
            .errors()
            .iter()
            .any(|error| error.summary == "Protected from deletion"),
        "{}",
        moved.run().text()
    );
    shows(
        &[
            "labyard_vm.deletion_protection",
            "labyard_network.deletion_protection",
        ],
        Case::Refused,
    );

    lab.apply(&config(false, "team = \"red\", owner = \"me\"", ""));
    let labels = json!({ "team": "red", "owner": "me" });
    assert_eq!(lab.state()["labels"], labels);
    shows(&kept, Case::Update);
    lab.destroy();
}

/// Networks that were there before the test.
fn lab_networks(lab: &Lab) -> usize {
    lab.empty.of_kind("network").count()
}

#[test]
fn bad_parts_are_refused_at_their_attributes() {
    let lab = Lab::new();
    for (line, attribute, says, at) in [
        ("media = { \"a.b\" = {} }", "media", "cannot be a key", "media"),
        (
            "media = { a = { image = { source = \"/x.iso\" } } }",
            "media",
            "https://",
            "media.image.source",
        ),
        (
            "media = { a = { image = { source = \"file:/x\", sha256 = \"AB\" } } }",
            "media",
            "hex digits",
            "media.image.sha256",
        ),
        (
            "machine_type = \"microvm\"",
            "machine_type",
            "q35, pc",
            "machine_type",
        ),
        ("cpu = { model = \"a b\" }", "cpu", "no processor model", "cpu"),
        (
            "cpu = { model = \"host-passthrough\" }",
            "cpu",
            "cannot pass its own processor through",
            "cpu.model",
        ),
        (
            "cpu = { model = \"Itanium\" }",
            "cpu",
            "knows no processor model",
            "cpu.model",
        ),
        ("cpu = { nested = \"some\" }", "cpu", "bool", "cpu.nested"),
        ("graphics = \"spice\"", "graphics", "none, vnc", "graphics"),
        ("serial = \" x\"", "serial", "no serial number", "serial"),
        ("autostart = \"soon\"", "autostart", "bool", "autostart"),
        ("labels = { \"-a\" = \"x\" }", "labels", "label", "labels"),
    ] {
        let plan = lab.plan(&stopped("box", line));
        let errors = plan.run().errors();
        let error = errors.first().unwrap_or_else(|| panic!("{line} was accepted"));
        let text = format!("{} {}", error.summary, error.detail);
        assert!(text.contains(says), "{line}: {text}");
        let place = error.snippet.clone().unwrap_or_default();
        assert!(place.contains(attribute), "{line}: points at {place:?}");
        shows(&[&format!("labyard_vm.{at}")], Case::Refused);
    }
}

#[test]
fn one_guest_sees_its_kit_and_is_disturbed_by_no_more_than_was_said() {
    let lab = Lab::new();
    let key = KeyPair::generate().unwrap();
    let config = |name: &str, more: &str| {
        let body = format!(
            "name = \"{name}\"\n  memory_mib = 192\n  {}\n  {more}
  nics = {{ lan = {{ network = labyard_network.lab.name }} }}
  cloud_init = {{ user_data = \"{}\" }}",
            hcl::boot(""),
            hcl::user_data(&key.public)
        );
        hcl::network("lab", 77) + &format!("resource \"labyard_vm\" \"box\" {{\n  {body}\n}}\n")
    };
    lab.apply(&config("box", ""));
    let made = lab.state();
    let guest = Guest::at(&lab.host, made["ip"].as_str().unwrap(), &key);
    guest.wait_for_ssh(SOON).unwrap();
    let serial = made["serial"].as_str().unwrap();
    assert!(serial.starts_with("LY-"), "{serial}");
    let seen = guest.run("cat /sys/class/dmi/id/product_serial").unwrap();
    assert_eq!(seen.trim(), serial);
    let uuid = guest.run("cat /sys/class/dmi/id/product_uuid").unwrap();
    assert_eq!(json!(uuid.trim().to_lowercase()), made["id"]);

    changed_live(&lab, &guest, &config);
    lab.destroy();
}

/// CD drives come, change and go while the guest runs.
fn changed_live(lab: &Lab, guest: &Guest<'_>, config: &dyn Fn(&str, &str) -> String) {
    let boot = guest.boot_id().unwrap();
    let (one, two) = (lab.medium("one"), lab.medium("two"));
    let never = "allow_restart = false\n  autostart = true\n  labels = { a = \"b\" }";
    for (media, shown) in [
        (format!("tools = {one}"), "this is one"),
        (format!("tools = {two}"), "this is two"),
        ("tools = {}".to_owned(), ""),
        (format!("tools = {one}"), "this is one"),
    ] {
        lab.apply(&config("box", &format!("media = {{ {media} }}\n  {never}")));
        until("the guest to see its CD", SOON, || {
            let seen = guest.run("head -c 11 /dev/sr1 2>/dev/null; true")?;
            Ok(if seen.trim() == shown {
                Look::Holds(())
            } else {
                Look::NotYet(seen)
            })
        })
        .unwrap();
    }
    lab.host
        .virsh(&["change-media", "box", "sdb", "--eject", "--live", "--force"])
        .unwrap();
    lab.healed("/media/tools/image", &Value::Null);
    lab.apply(&config("box", never));
    assert_eq!(lab.live("box").matches("device='cdrom'").count(), 1);
    assert_eq!(lab.images(), 0);
    assert_eq!(
        guest.boot_id().unwrap(),
        boot,
        "nothing of this disturbs the guest"
    );
    shows(
        &[
            "labyard_vm.media",
            "labyard_vm.media.image",
            "labyard_vm.media.image.source",
            "labyard_vm.media_digests",
            "labyard_vm.autostart",
            "labyard_vm.labels",
        ],
        Case::Update,
    );
}
