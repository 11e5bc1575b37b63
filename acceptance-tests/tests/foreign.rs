//! What is not ours, around a whole life of what is: machines, volumes and networks of the same name in another namespace,
//! of similar names, of names that are patterns elsewhere, and without a mark. Every apply, update and destroy leaves
//! them as they were, byte for byte.

use labyard_acceptance_tests::boot_server::Authority;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::whole::write_image;
use labyard_acceptance_tests::{Guest, Observer, Scene, Terraform, hcl};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};
use virt::domain::DomainState;
use virt::sys;

const SOON: Duration = Duration::from_secs(120);

/// Names like ours, and names that mean more than themselves to shells, patterns, URLs and SQL.
const MACHINES: &[&str] = &[
    "web2",
    "web-",
    "web.",
    "web.root",
    "we",
    "shop.",
    "box.tpm",
    "WEB",
    "*",
    "w*",
    "we?",
    "[w]eb",
    "we%",
    "%s",
    "a web",
    "we'b",
    "we\"b",
    "$(web)",
    "web;",
    "{web,box}",
    "wéb",
];
const NETWORKS: &[&str] = &[
    "lab2", "la", "LAB", "*", "l*b", "la?", "[l]ab", "lab%", "a lab", "la'b", "la\"b",
];
const VOLUMES: &[&str] = &[
    "web",
    "web.root",
    "web.root.qcow2",
    "web.data.1",
    "web.seed",
    "web.seed.1",
    "web.nvram.1",
    "box.nvram.1.fd",
    "shop.root.1",
    "labyard-image.",
    "labyard-image.theirs",
    "labyard",
    "*",
    "web.*",
    "web.?oot",
    "[w]eb.root",
    "web%",
    "a web",
    "we'b",
    "we\"b",
    "web.root.",
];

fn escaped(name: &str) -> String {
    let name = name.replace('&', "&amp;").replace('<', "&lt;");
    name.replace('"', "&quot;").replace('\'', "&apos;")
}

/// A file as it is: its bytes, its length in them, when it was written, who may read it.
type File = (Vec<u8>, Duration, u32);

/// Everything that others have on a host.
#[derive(Debug, PartialEq)]
struct Theirs {
    objects: BTreeMap<String, String>,
    files: BTreeMap<String, File>,
}

impl Theirs {
    /// All that stands there.
    fn of(host: &Host, observer: &Observer) -> Self {
        let mut objects = BTreeMap::new();
        for seen in observer.domains().unwrap() {
            let domain = observer.handle(&seen.name).unwrap();
            let mut text = format!(
                "{seen:?}\n{}",
                domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE).unwrap()
            );
            if seen.state == DomainState::Running {
                text += &format!("{:?}\n{}", domain.id(), domain.xml_desc(0).unwrap());
            }
            objects.insert(format!("machine {}", seen.name), text);
        }
        for network in observer.connection().list_all_networks(0).unwrap() {
            let (now, defined) = (
                network.xml_desc(0),
                network.xml_desc(sys::VIR_NETWORK_XML_INACTIVE),
            );
            let text = format!("{:?} {}\n{}", network.is_active(), now.unwrap(), defined.unwrap());
            objects.insert(format!("network {}", network.name().unwrap()), text);
        }
        let mut files = BTreeMap::new();
        for below in ["pool", "etc", "lib/qemu/nvram"] {
            walk(&host.directory().join(below), &mut files);
        }
        Self { objects, files }
    }

    /// As it was, whatever else has come.
    #[track_caller]
    fn assert_untouched(&self, host: &Host, observer: &Observer, by: &str) {
        let now = Self::of(host, observer);
        for (name, before) in &self.objects {
            assert_eq!(now.objects.get(name), Some(before), "{name}, by {by}");
        }
        for (path, before) in &self.files {
            let Some(after) = now.files.get(path) else {
                panic!("{path} is gone, by {by}")
            };
            assert!(
                after == before,
                "{path} was touched by {by}: {:?}, then {:?}",
                before.1,
                after.1
            );
        }
    }
}

fn walk(directory: &Path, files: &mut BTreeMap<String, File>) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        let kind = std::fs::symlink_metadata(&path).unwrap();
        if kind.is_dir() {
            walk(&path, files);
        } else if kind.is_file() {
            let written = kind.modified().unwrap().duration_since(UNIX_EPOCH).unwrap();
            let content = std::fs::read(&path).unwrap();
            files.insert(
                path.display().to_string(),
                (content, written, kind.permissions().mode()),
            );
        }
    }
}

/// What somebody else has made by other means; one machine of it runs.
fn unmarked(host: &Host, observer: &Observer) {
    for (number, name) in NETWORKS.iter().enumerate() {
        let xml = format!(
            "<network><name>{}</name><bridge name='theirs{number}'/><ip address='10.{}.0.1' netmask='255.255.255.0'/></network>",
            escaped(name),
            100 + number
        );
        let network = observer.connection().define_network_xml(&xml).unwrap();
        if number == 0 {
            network.create().unwrap();
        }
    }
    for (number, name) in VOLUMES.iter().enumerate() {
        std::fs::write(host.pool_directory().join(name), vec![number as u8; 1 << 16]).unwrap();
    }
    for (number, name) in MACHINES.iter().enumerate() {
        let disk = host.pool_directory().join(VOLUMES[number % VOLUMES.len()]);
        let xml = format!(
            "<domain type='qemu'><name>{}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
             <os><type machine='q35'>hvm</type></os><devices>
             <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>
             <interface type='network'><source network='lab2'/><model type='virtio'/></interface></devices></domain>",
            escaped(name),
            escaped(&disk.display().to_string())
        );
        let domain = observer.connection().define_domain_xml(&xml).unwrap();
        if number == 0 {
            domain.create().unwrap();
        }
    }
    host.virsh(&["pool-refresh", "default"]).unwrap();
}

/// Ours: a guest that runs and changes, and a machine with firmware that is off.
struct Ours<'a> {
    image: &'a str,
    key: &'a KeyPair,
}

impl Ours<'_> {
    fn lab(forwarder: &str) -> String {
        hcl::resource(
            "labyard_network",
            "lab",
            format!(
                "mode = \"nat\"\n  dns = {{ forwarders = [{forwarder:?}] }}
  ipv4 = {{ cidr = \"10.77.0.0/24\", dhcp = {{ start = \"10.77.0.100\", end = \"10.77.0.200\" }} }}"
            ),
        )
    }

    fn web(&self, name: &str, hardware: &str, disks: &str, nics: &str, seed: &str) -> String {
        let root = format!("root = {{ image = {{ source = {:?} }} }}", self.image);
        format!(
            "resource \"labyard_vm\" \"web\" {{\n  name = {name:?}\n  {hardware}\n  {}\n  shutdown = {{ mode = \"force\" }}
  disks = {{ {root}, {disks} }}\n  nics = {{ lan = {{ network = labyard_network.lab.name }}, {nics} }}
  cloud_init = {{ user_data = \"{}{seed}\" }}\n}}\n",
            hcl::boot(""),
            hcl::user_data(&self.key.public)
        )
    }

    fn firm(&self, firmware: &str, more: &str) -> String {
        hcl::machine(
            "box",
            format!(
                "memory_mib = 64\n  power = \"stopped\"\n  firmware = {{ type = \"uefi\"{firmware} }}\n  {more}
  disks = {{ root = {{ image = {{ source = {:?} }}, clone = \"full\" }} }}",
                self.image
            ),
        )
    }
}

#[test]
fn what_others_have_is_untouched_through_a_whole_life_of_ours() {
    let scene = Scene::new();
    let Scene {
        host,
        observer,
        terraform,
        ..
    } = &scene;
    unmarked(host, observer);
    let image = write_image(&terraform.directory().join("image.qcow2"), 60_000).unwrap();
    let key = KeyPair::generate().unwrap();
    let other = Terraform::new().unwrap();
    let twin = |name: &str| {
        let body = format!(
            "memory_mib = 64\n  power = \"stopped\"\n  firmware = {{ type = \"uefi\" }}\n  cloud_init = {{ user_data = \"x\" }}
  disks = {{ root = {{ image = {{ source = {image:?} }} }}, data = {{ size_gib = 1 }} }}
  nics = {{ lan = {{ network = labyard_network.lab.name }} }}"
        );
        hcl::machine(name, body)
    };
    let twins = hcl::in_namespace("other", host)
        + &hcl::network("lab", 78)
        + &twin("web")
        + &twin("shop")
        + &twin("box");
    other.applied(&twins);
    let theirs = Theirs::of(host, observer);
    assert_eq!(theirs.objects.len(), MACHINES.len() + NETWORKS.len() + 4);
    let standing = host.inventory().unwrap();
    let unchanged = |by: &str| theirs.assert_untouched(host, observer, by);

    let ours = Ours {
        image: &image,
        key: &key,
    };
    whole_life(&scene, &ours, &unchanged);
    placed_and_kept(&scene, &ours, &unchanged);

    host.assert_as(&standing);
    other.assert_settled();
    other.destroyed();
}

fn whole_life(scene: &Scene, ours: &Ours<'_>, unchanged: &dyn Fn(&str)) {
    let terraform = &scene.terraform;
    let small = "cpus = 1\n  cpus_max = 2\n  memory_mib = 128\n  memory_max_mib = 192";
    let large = "cpus = 2\n  cpus_max = 2\n  memory_mib = 160\n  memory_max_mib = 192";
    let (lab, moved) = (Ours::lab("192.0.2.53"), Ours::lab("192.0.2.54"));
    scene.apply(&(lab.clone() + &ours.web("web", small, "", "", "") + &ours.firm("", "")));
    unchanged("a create");
    let address = terraform.resource("labyard_vm.web")["ip"].clone();
    let guest = Guest::at(&scene.host, address.as_str().unwrap(), ours.key);
    guest.wait_for_ssh(SOON).unwrap();
    let boot = guest.boot_id().unwrap();

    let (data, wan) = (
        "data = { size_gib = 1, on_remove = \"delete\" }",
        "wan = { network = labyard_network.lab.name }",
    );
    let grown = ours.web("web", large, data, wan, "# other\\n");
    let ca = Authority::new("one").unwrap().pem().unwrap();
    let ca = format!("boot = {{ ca_certificate = <<-PEM\n{ca}PEM\n  }}");
    let guarded = ours.firm(", secure_boot = true, tpm = true", &ca);
    scene.apply(&(lab + &grown + &guarded));
    unchanged("live changes, another seed, a TPM and other variables");
    scene.apply(&(moved.clone() + &grown + &guarded));
    unchanged("a network that went down and up with a guest on it");
    assert_eq!(guest.boot_id().unwrap(), boot, "the guest was restarted");
    guest.run("true").unwrap();
    scene.apply(&(moved + &ours.web("shop", large, "", "", "# other\\n")));
    unchanged("another name, removed devices and a machine that is destroyed");
    terraform.destroyed();
    unchanged("a destroy");
}

/// Machines that are placed, and images that are kept for a while and then are not.
fn placed_and_kept(scene: &Scene, ours: &Ours<'_>, unchanged: &dyn Fn(&str)) {
    let second = Host::start().unwrap();
    let kept = |retention: &str| {
        let provider = hcl::provider(&[("lab1", &scene.host), ("lab2", &second)]);
        provider.replace(
            "accelerator =",
            &format!("image_retention = {retention:?}, accelerator ="),
        )
    };
    // An image of its own: that of the others is in use for ever.
    let image = write_image(&scene.terraform.directory().join("own.qcow2"), 20_000).unwrap();
    let own = Ours {
        image: &image,
        key: ours.key,
    };
    let many = own.firm("", "").replacen(
        "  name = \"box\"",
        "  count = 2\n  name = \"box${count.index}\"",
        1,
    );
    scene.terraform.applied(&(kept("1s") + &many));
    unchanged("placement");
    scene.terraform.destroyed();
    unchanged("a destroy that keeps an image");
    std::thread::sleep(Duration::from_millis(1100));
    let last = "memory_mib = 64\n  power = \"stopped\"\n  disks = { data = { size_gib = 1, on_remove = \"delete\" } }";
    let last = ["lab1", "lab2"].map(|host| {
        format!(
            "resource \"labyard_vm\" \"{host}\" {{\n  name = \"last\"\n  host = \"{host}\"\n  {last}\n}}\n"
        )
    });
    scene.terraform.applied(&(kept("1s") + &last.concat()));
    unchanged("an image that is cleaned up");
    scene.terraform.destroyed();
    unchanged("a destroy");
}

#[test]
fn what_a_hand_has_set_inside_our_devices_outlives_every_update() {
    let scene = Scene::new();
    let web = |memory: u32, data: u32, more: &str| {
        let machine = format!(
            "memory_mib = {memory}\n  power = \"stopped\"\n  disks = {{ data = {{ size_gib = {data} }} }}
  nics = {{ lan = {{ network = labyard_network.lab.name }} }}\n  {more}"
        );
        hcl::network("lab", 77) + &hcl::machine("web", machine)
    };
    scene.apply(&web(64, 1, ""));
    // libvirt writes what it was given in an order of its own.
    let by_hand = ["<link state='down'/>", "cache='none'", "<rom enabled='no'/>"];
    scene.edit("web", |xml| {
        xml.replacen("<driver name='qemu'", "<driver name='qemu' cache='none'", 1)
            .replacen(
                "</interface>",
                "<link state='down'/><rom enabled='no'/></interface>",
                1,
            )
    });
    let kept = |by: &str| {
        let xml = scene.definition("web");
        for part in by_hand {
            assert!(xml.contains(part), "{part} is gone, by {by}:\n{xml}");
        }
    };
    kept("nobody");
    scene.terraform.assert_settled();
    let second = "media = { tools = {} }\n  graphics = \"vnc\"\n  labels = { team = \"blue\" }";
    for (by, config) in [
        ("more memory", web(128, 1, "")),
        ("a larger disk", web(128, 2, "")),
        ("other devices", web(128, 2, second)),
        (
            "another name",
            web(128, 2, second).replace("name = \"web\"", "name = \"shop\""),
        ),
    ] {
        scene.apply(&config);
        if by == "another name" {
            break;
        }
        kept(by);
    }
    let xml = scene.definition("shop");
    assert!(by_hand.iter().all(|part| xml.contains(part)), "{xml}");
    scene.destroy();
}

#[test]
fn a_machine_that_is_made_anew_has_the_serial_number_and_the_macs_of_the_one_before() {
    let scene = Scene::new();
    let image = |name: &str, bytes| write_image(&scene.terraform.directory().join(name), bytes).unwrap();
    let web = |image: &str| {
        let machine = format!(
            "memory_mib = 64\n  power = \"stopped\"\n  disks = {{ root = {{ image = {{ source = {image:?} }} }} }}
  nics = {{ lan = {{ network = labyard_network.lab.name }} }}"
        );
        hcl::network("lab", 77) + &hcl::machine("web", machine)
    };
    scene.apply(&web(&image("one.qcow2", 60_000)));
    let shown = || {
        let (state, xml) = (
            scene.terraform.resource("labyard_vm.web"),
            scene.definition("web"),
        );
        let serial = state["serial"].as_str().unwrap().to_owned();
        let entry = format!("<entry name='serial'>{serial}</entry>");
        assert!(xml.contains(&entry), "no {entry} in {xml}");
        (serial, state["macs"].clone(), state["id"].clone())
    };
    let (serial, macs, id) = shown();
    let other = web(&image("two.qcow2", 70_000));
    let plan = scene.plan(&other).expect_success();
    assert_eq!(plan.actions("labyard_vm.web"), ["delete", "create"]);
    scene.apply(&other);
    let (serial_now, macs_now, id_now) = shown();
    assert_eq!((&serial_now, &macs_now), (&serial, &macs));
    assert_ne!(id_now, id, "it is another machine");
    // The same for one that somebody has destroyed and comes back a day later.
    scene.terraform.destroyed();
    scene.apply(&other);
    assert_eq!(shown().0, serial);
    scene.destroy();
}
