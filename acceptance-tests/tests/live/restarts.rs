//! What only a start changes: each change announced, refused where it must not be, and made in one restart.

use labyard_acceptance_tests::assets::GuestFiles;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::terraform::Plan;

use crate::{Lab, SOON, WEB, Web};

const GIB: u64 = 1 << 30;

/// A bridge of the host's.
pub(crate) fn bridge(host: &Host) {
    for arguments in ["link add br7 type bridge", "link set br7 up"] {
        let done = host.command("ip").args(arguments.split(' ')).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Lab<'_> {
    /// Says that a restart is needed and of what, makes it once and no more, and then there is nothing to do.
    #[track_caller]
    pub(crate) fn restart(&mut self, web: &Web, of: &[&str], attributes: &[&str]) {
        let former = self.attributes()["name"].as_str().unwrap().to_owned();
        let started = self.observer.handle(&former).unwrap().id();
        let plan = self.plan(web).expect_success();
        self.assert_in_place(&plan);
        assert_announced(&plan, web, of);
        let before = self.attributes();
        let run = self.terraform.apply(&[]).unwrap().expect_success();
        self.guest.wait_for_ssh(SOON).unwrap();
        // A host numbers its starts.
        let now = self.observer.handle(web.name).unwrap().id();
        assert_eq!(now, started.map(|id| id + 1), "started once");
        let boot_id = self.guest.boot_id().unwrap();
        assert_ne!(
            boot_id,
            std::mem::replace(&mut self.boot_id, boot_id.clone()),
            "not restarted"
        );
        self.terraform.assert_settled();
        let after = self.attributes();
        for kept in ["/id", "/macs/lan", "/ip", "/image_digests"] {
            assert_eq!(after.pointer(kept), before.pointer(kept), "{kept}");
        }
        println!("{of:?}: {:.1} s", run.took().as_secs_f64());
        shows(attributes, Case::Update);
    }
}

/// The plan tells of these changes and of no others.
#[track_caller]
fn assert_announced(plan: &Plan, web: &Web, of: &[&str]) {
    let said = plan.run().warnings();
    let said = said.iter().find(|one| one.summary.contains("will be restarted"));
    let said = said.unwrap_or_else(|| panic!("no word of a restart:\n{}", plan.run().text()));
    assert_eq!(said.summary, format!("{} will be restarted", web.name));
    for change in of {
        assert!(said.detail.contains(change), "no {change} in:\n{}", said.detail);
    }
    let told = said.detail.matches("\n  - ").count();
    assert_eq!(told, of.len(), "no more than that: {}", said.detail);
}

/// All of them, each by itself.
pub(crate) fn all(lab: &mut Lab<'_>, web: &mut Web) {
    refused(lab, web);
    room(lab, web);
    devices(lab, web);
    boot(lab, web);
    hardware(lab, web);
    name(lab, web);
}

/// A machine that must not be restarted is not.
fn refused(lab: &mut Lab<'_>, web: &mut Web) {
    let unchanged = web.clone();
    web.hardware = web.hardware.replace("cpus_max = 3", "cpus_max = 4");
    web.nics += ", old = { network = labyard_network.side.name, model = \"e1000\" }";
    let refused = lab.plan(web);
    let error = &refused.run().errors()[0];
    assert_eq!(error.summary, "Restart needed");
    for change in ["cpus_max: 3 -> 4", "nics[\"old\"]", "allow_restart = true"] {
        assert!(error.detail.contains(change), "no {change} in:\n{}", error.detail);
    }
    *web = unchanged;
    web.more = "allow_restart = true";
    lab.change(web);
    shows(&["labyard_vm.allow_restart"], Case::Update);
}

fn room(lab: &mut Lab<'_>, web: &mut Web) {
    web.hardware = "cpus = 2\n  cpus_max = 3\n  memory_mib = 160\n  memory_max_mib = 256".into();
    lab.restart(web, &["cpus: 3 -> 2"], &["labyard_vm.cpus"]);
    assert_eq!(lab.guest.cpus().unwrap(), 2);
    web.hardware = web.hardware.replace("cpus_max = 3", "cpus_max = 4");
    lab.restart(web, &["cpus_max: 3 -> 4"], &["labyard_vm.cpus_max"]);
    assert!(
        lab.live("web").contains("current='2'>4</vcpu>"),
        "{}",
        lab.live("web")
    );
    web.hardware = web
        .hardware
        .replace("memory_max_mib = 256", "memory_max_mib = 224");
    lab.restart(
        web,
        &["memory_max_mib: 256 -> 224"],
        &["labyard_vm.memory_max_mib"],
    );
    assert!(lab.live("web").contains("<memory unit='KiB'>229376</memory>"));
}

fn devices(lab: &mut Lab<'_>, web: &mut Web) {
    web.disks = web.disks.replace("\"scsi\"", "\"virtio\"");
    lab.restart(
        web,
        &["disks[\"bulk\"].bus: scsi -> virtio"],
        &["labyard_vm.disks.bus"],
    );
    assert_eq!(lab.guest.disk_bytes("vdb").unwrap(), Some(GIB));

    (web.root, web.lan) = (", boot = 2", ", boot = 1");
    lab.restart(
        web,
        &["disks[\"root\"].boot", "nics[\"lan\"].boot"],
        &["labyard_vm.disks.boot", "labyard_vm.nics.boot"],
    );
    let live = lab.live("web");
    let place = |device: &str| {
        let from = live.find(&format!("<{device} ")).unwrap();
        let order = live[from..].split("<boot order='").nth(1).unwrap();
        order.split('\'').next().unwrap().to_owned()
    };
    assert_eq!(
        (place("interface"), place("disk")),
        ("1".into(), "2".into()),
        "{live}"
    );

    web.nics = "wan = { network = labyard_network.other.name, model = \"e1000\" }".into();
    lab.restart(
        web,
        &["nics[\"wan\"].model: virtio -> e1000"],
        &["labyard_vm.nics.model"],
    );
    let cards = lab.guest.run("cat /sys/bus/pci/devices/*/device").unwrap();
    assert!(cards.contains("0x100e"), "{cards}");

    vlan(lab, web);
}

/// Not every kernel has bridges that filter VLANs, without which no card with one is plugged in: announced and refused
/// here, made on machines that are off (`networks.rs`).
fn vlan(lab: &mut Lab<'_>, web: &mut Web) {
    let unchanged = web.nics.clone();
    web.nics = "wan = { network = labyard_network.trunk.name, model = \"e1000\", vlan = 43 }".into();
    let plan = lab.plan(web).expect_success();
    let said = plan.run().warnings();
    let said = said
        .iter()
        .find(|one| one.summary == "web will be restarted")
        .unwrap();
    let change = "nics[\"wan\"].vlan: none -> 43";
    assert!(said.detail.contains(change), "no {change} in:\n{}", said.detail);
    shows(&["labyard_vm.nics.vlan"], Case::Update);
    web.nics = unchanged;
}

fn boot(lab: &mut Lab<'_>, web: &mut Web) {
    let files = GuestFiles::get();
    let (kernel, initrd) = (
        lab.host.directory().join("kernel"),
        lab.host.directory().join("initrd"),
    );
    std::fs::copy(files.kernel(), &kernel).unwrap();
    std::fs::copy(files.initrd(), &initrd).unwrap();
    let shown = |path: std::path::PathBuf| path.display().to_string();
    web.boot = web.boot.replace(&shown(files.kernel()), &shown(kernel.clone()));
    web.boot = web.boot.replace(&shown(files.initrd()), &shown(initrd.clone()));
    lab.restart(
        web,
        &["boot: "],
        &[
            "labyard_vm.boot",
            "labyard_vm.boot.kernel",
            "labyard_vm.boot.initrd",
        ],
    );
    let process = lab.host.guest_process("web").unwrap().unwrap();
    let line = std::fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap();
    for path in [shown(kernel), shown(initrd)] {
        assert!(line.contains(&path), "no {path} in {line}");
    }
    web.boot = web.boot.replace("quiet", "quiet second");
    lab.restart(web, &["boot: "], &["labyard_vm.boot.cmdline"]);
    assert!(lab.guest.run("cat /proc/cmdline").unwrap().contains(" second"));
}

fn hardware(lab: &mut Lab<'_>, web: &mut Web) {
    web.hardware += "\n  cpu = { model = \"qemu64\", nested = false }";
    lab.restart(
        web,
        &["cpu.model: default -> qemu64", "cpu.nested: "],
        &["labyard_vm.cpu", "labyard_vm.cpu.model", "labyard_vm.cpu.nested"],
    );
    let processor = lab
        .guest
        .run("grep -m2 -E '^(flags|model name)' /proc/cpuinfo")
        .unwrap();
    assert!(
        processor.contains("QEMU Virtual CPU") && !processor.contains(" svm"),
        "{processor}"
    );
    web.hardware += "\n  graphics = \"vnc\"";
    lab.restart(web, &["graphics: none -> vnc"], &["labyard_vm.graphics"]);
    assert!(lab.live("web").contains("<graphics type='vnc'"));
    web.hardware += "\n  serial = \"LAB 7\"";
    lab.restart(web, &["serial: "], &["labyard_vm.serial"]);
    let seen = lab.guest.run("cat /sys/class/dmi/id/product_serial").unwrap();
    assert_eq!(seen.trim(), "LAB 7");
}

/// Last, because what follows would find it under its new name.
fn name(lab: &mut Lab<'_>, web: &mut Web) {
    web.name = "shop";
    lab.restart(web, &["name: web -> shop"], &["labyard_vm.name"]);
    assert!(lab.observer.domain("web").unwrap().is_none());
    lab.terraform.take_up_as_written(WEB, "lab1/shop");
    lab.terraform.assert_settled();
}
