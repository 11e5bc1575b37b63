//! What changes while the guest runs.

use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::wait::{Look, until};
use serde_json::json;

use crate::{Lab, SOON, WEB, Web, assert_no_restart};

const GIB: u64 = 1 << 30;

/// What is kept with the machine and says how its operations go.
pub(crate) const WORDS: &str = "ready = { wait = \"address\", timeout = \"9m\" }
  shutdown = { mode = \"force\", timeout = \"70s\" }
  timeouts = { create = \"11m\", update = \"12m\", delete = \"3m\" }
  labels = { team = \"blue\" }";
const OTHER_WORDS: &str = "ready = { wait = \"agent\", timeout = \"8m\" }
  shutdown = { mode = \"graceful\", timeout = \"50s\" }
  timeouts = { create = \"10m\", update = \"14m\", delete = \"4m\" }
  labels = { team = \"red\" }
  deletion_protection = true";
const OF_WORDS: &[&str] = &[
    "labyard_vm.ready",
    "labyard_vm.ready.wait",
    "labyard_vm.ready.timeout",
    "labyard_vm.shutdown",
    "labyard_vm.shutdown.mode",
    "labyard_vm.shutdown.timeout",
    "labyard_vm.timeouts",
    "labyard_vm.timeouts.create",
    "labyard_vm.timeouts.update",
    "labyard_vm.timeouts.delete",
];

/// All of them, one after the other; the guest is never restarted. The disk `bulk` and the card `wan` stay.
pub(crate) fn all(lab: &Lab<'_>, web: &mut Web) {
    grows(lab, web);
    devices_come(lab, web);
    devices_change(lab, web);
    hands_are_seen(lab, web);
    words_change(lab, web);
    devices_go(lab, web);
    imported(lab);
}

fn grows(lab: &Lab<'_>, web: &mut Web) {
    let before = memory_mib(lab);
    web.hardware = "cpus = 3\n  cpus_max = 3\n  memory_mib = 256\n  memory_max_mib = 256".into();
    lab.change(web);
    lab.until_guest("three processors", "nproc", |seen| seen == "3");
    assert!(
        memory_mib(lab) >= before + 56,
        "{before} MiB, then {}",
        memory_mib(lab)
    );
    web.hardware = "cpus = 3\n  cpus_max = 3\n  memory_mib = 160\n  memory_max_mib = 256".into();
    lab.change(web);
    assert!(
        memory_mib(lab) <= before,
        "{before} MiB, then {}",
        memory_mib(lab)
    );
    shows(&["labyard_vm.cpus", "labyard_vm.memory_mib"], Case::Update);
}

fn devices_come(lab: &Lab<'_>, web: &mut Web) {
    web.disks = "data = { size_gib = 1, on_remove = \"delete\" }, bulk = { size_gib = 1, bus = \"scsi\", on_remove = \"delete\" }"
        .into();
    web.nics = "wan = { network = labyard_network.side.name }, old = { network = labyard_network.side.name, model = \"e1000e\" }"
        .into();
    lab.change(web);
    assert_eq!(lab.guest.disk_bytes("vdb").unwrap(), Some(GIB));
    lab.until_guest("the scsi disk", "cat /proc/partitions", |seen| {
        seen.contains(" sda") || seen.contains(" sdb")
    });
    let wan = lab.mac("wan");
    lab.until_guest("the new card", "cat /sys/class/net/*/address", |seen| {
        seen.contains(&wan)
    });
    // The guest's kernel has no driver for it, and sees it all the same.
    lab.until_guest("Intel's card", "cat /sys/bus/pci/devices/*/device", |seen| {
        seen.contains("0x10d3")
    });
    assert!(
        lab.live("web").contains("<model type='e1000e'/>"),
        "{}",
        lab.live("web")
    );
    shows(&["labyard_vm.disks", "labyard_vm.nics"], Case::Update);
    shows(&["labyard_vm.disks.bus", "labyard_vm.nics.model"], Case::Create);
}

fn devices_change(lab: &Lab<'_>, web: &mut Web) {
    web.disks = web.disks.replacen("size_gib = 1", "size_gib = 2", 1);
    web.nics = "wan = { network = labyard_network.other.name }, old = { network = labyard_network.side.name, mac = \"52:54:00:00:77:99\" }".into();
    let targets = |xml: &str| -> Vec<String> {
        let all = xml.split("<target dev='").skip(1);
        let mut all: Vec<_> = all
            .filter_map(|rest| rest.split('\'').next())
            .map(str::to_owned)
            .collect();
        all.retain(|target| !target.starts_with("vnet"));
        all.sort();
        all
    };
    let before = targets(&lab.live("web"));
    lab.change(web);
    lab.until_guest("the larger disk", "cat /sys/block/vdb/size", |seen| {
        seen.parse() == Ok(2 * GIB / 512)
    });
    let live = lab.live("web");
    assert_eq!(targets(&live), before, "disks keep their places");
    assert!(live.contains("network='other'"), "{live}");
    assert!(
        live.contains("52:54:00:00:77:99") && !live.contains("e1000e"),
        "{live}"
    );
    let wan = lab.mac("wan");
    let carrier =
        format!("for n in /sys/class/net/*; do grep -q {wan} $n/address && cat $n/carrier; done; true");
    lab.until_guest("its cable in again", &carrier, |seen| seen == "1");
    shows(
        &[
            "labyard_vm.disks.size_gib",
            "labyard_vm.nics.network",
            "labyard_vm.nics.mac",
            "labyard_vm.nics.model",
        ],
        Case::Update,
    );
}

/// What a hand pulled out of the running machine, or set in it, is seen by a plan and healed while it runs.
fn hands_are_seen(lab: &Lab<'_>, web: &Web) {
    let virsh = |arguments: &[&str]| drop(lab.host.virsh(arguments).unwrap());
    virsh(&["detach-disk", "web", "vdb", "--live"]);
    virsh(&[
        "detach-interface",
        "web",
        "network",
        "--mac",
        "52:54:00:00:77:99",
        "--live",
    ]);
    virsh(&["setmem", "web", "128M", "--live"]);
    until("the balloon", SOON, || {
        Ok(
            match lab.live("web").contains("<currentMemory unit='KiB'>131072<") {
                true => Look::Holds(()),
                false => Look::NotYet(lab.live("web")),
            },
        )
    })
    .unwrap();
    let plan = lab.plan(web).expect_success();
    let before = &plan.change(WEB)["before"];
    assert_eq!(before.pointer("/disks/data"), None, "{before:#}");
    assert_eq!(before.pointer("/nics/old"), None, "{before:#}");
    assert_eq!(before["memory_mib"], json!(128));
    assert_no_restart(&plan);
    lab.settle();
    assert_eq!(lab.guest.disk_bytes("vdb").unwrap(), Some(2 * GIB));
    shows(
        &["labyard_vm.disks", "labyard_vm.nics", "labyard_vm.memory_mib"],
        Case::Drift,
    );
}

/// Nothing but the mark on the host keeps these: an import reads them back.
fn words_change(lab: &Lab<'_>, web: &mut Web) {
    lab.terraform.take_up_as_written(WEB, "lab1/web");
    lab.terraform.assert_settled();
    shows(OF_WORDS, Case::Create);
    shows(OF_WORDS, Case::Import);
    web.words = OTHER_WORDS.into();
    web.disks = web.disks.replace("\"delete\"", "\"detach\"");
    lab.change(web);
    lab.terraform.take_up_as_written(WEB, "lab1/web");
    let state = lab.attributes();
    assert_eq!(state["ready"], json!({"wait": "agent", "timeout": "8m"}));
    assert_eq!(state["shutdown"], json!({"mode": "graceful", "timeout": "50s"}));
    assert_eq!(state["disks"]["data"]["on_remove"], "detach");
    let timeouts = json!({"create": "10m", "update": "14m", "delete": "4m"});
    assert_eq!(state["timeouts"], timeouts);
    shows(OF_WORDS, Case::Update);
    assert_eq!(state["labels"], json!({"team": "red"}));
    assert_eq!(state["deletion_protection"], true);
    shows(
        &[
            "labyard_vm.disks.on_remove",
            "labyard_vm.labels",
            "labyard_vm.deletion_protection",
        ],
        Case::Update,
    );
    // From here on a stop is at once, and what goes is deleted.
    web.words = WORDS.into();
    web.disks = web.disks.replace("\"detach\"", "\"delete\"");
    lab.change(web);
}

fn memory_mib(lab: &Lab<'_>) -> u64 {
    let text = lab.guest.run("grep MemTotal /proc/meminfo").unwrap();
    let kib = text
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap() / 1024
}

fn devices_go(lab: &Lab<'_>, web: &mut Web) {
    let of = |key: &str| {
        let volumes = lab.observer.volumes("default").unwrap();
        volumes.iter().filter(|volume| volume.name.contains(key)).count()
    };
    assert_eq!((of(".data."), of(".bulk.")), (1, 1));
    web.disks = "bulk = { size_gib = 1, bus = \"scsi\", on_remove = \"delete\" }".into();
    web.nics = "wan = { network = labyard_network.other.name }".into();
    lab.change(web);
    assert_eq!(lab.guest.disk_bytes("vdb").unwrap(), None);
    let nics = lab.guest.run("ls -d /sys/class/net/e*").unwrap();
    assert_eq!(nics.lines().count(), 2, "{nics}");
    assert_eq!((of(".data."), of(".bulk.")), (0, 1));
}

fn imported(lab: &Lab<'_>) {
    lab.terraform.take_up_as_written(WEB, "lab1/web");
    lab.terraform.assert_settled();
    shows(
        &[
            "labyard_vm.cpus",
            "labyard_vm.cpus_max",
            "labyard_vm.memory_mib",
            "labyard_vm.memory_max_mib",
            "labyard_vm.disks.bus",
            "labyard_vm.nics.model",
            "labyard_vm.boot.kernel",
            "labyard_vm.boot.initrd",
            "labyard_vm.boot.cmdline",
        ],
        Case::Import,
    );
}
