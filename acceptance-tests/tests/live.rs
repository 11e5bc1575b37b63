//! One guest that is never restarted takes every live change and is seen to have taken it; then it is restarted once
//! for what only a start changes. A guest that does not answer is told of, and loses nothing.

use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::observer::Description;
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::terraform::{Plan, Terraform};
use labyard_acceptance_tests::wait::{Look, until};
use labyard_acceptance_tests::{Guest, Observer, hcl};
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);
const GIB: u64 = 1 << 30;
const WEB: &str = "labyard_vm.web";

/// What a test sets of the machine `web`; the rest stays.
#[derive(Clone)]
struct Web {
    hardware: String,
    disks: String,
    nics: String,
    more: &'static str,
}

struct Lab<'h> {
    host: &'h Host,
    terraform: &'h Terraform<'h>,
    observer: &'h Observer,
    guest: Guest<'h>,
    user_data: String,
    boot_id: String,
}

fn config(host: &Host, web: &Web, user_data: &str) -> String {
    let Web {
        hardware,
        disks,
        nics,
        more,
    } = web;
    let (image, boot) = (hcl::image(), hcl::boot(""));
    let body = format!(
        "{hardware}\n  {boot}\n  {more}\n  shutdown = {{ mode = \"force\" }}
  disks = {{ root = {{ image = {image} }}, {disks} }}
  nics = {{ lan = {{ network = labyard_network.lab.name }}, {nics} }}
  cloud_init = {{ user_data = \"{user_data}\" }}"
    );
    let isolated = |name| hcl::resource("labyard_network", name, "mode = \"isolated\"");
    hcl::on(host)
        + &hcl::network("lab", 77)
        + &isolated("side")
        + &isolated("other")
        + &hcl::machine("web", body)
}

impl Lab<'_> {
    fn plan(&self, web: &Web) -> Plan {
        let config = config(self.host, web, &self.user_data);
        self.terraform.write("main.tf", &config).unwrap();
        self.terraform.plan(&[]).unwrap()
    }

    /// Planned without a word of a restart, done without one, and then there is nothing to do.
    #[track_caller]
    fn change(&self, web: &Web) {
        let plan = self.plan(web).expect_success();
        assert_no_restart(&plan);
        let before = plan.change(WEB)["before"].clone();
        assert_eq!(plan.actions(WEB), ["update"], "{}", plan.run().text());
        for attribute in ["/id", "/ip", "/host", "/macs/lan"] {
            assert_eq!(
                plan.known(WEB, attribute),
                before.pointer(attribute),
                "{attribute}"
            );
        }
        self.settle();
    }

    #[track_caller]
    fn settle(&self) {
        self.terraform.apply(&[]).unwrap().expect_success();
        assert_eq!(
            self.guest.boot_id().unwrap(),
            self.boot_id,
            "the guest was restarted"
        );
        self.terraform.plan(&[]).unwrap().expect_empty();
        self.terraform.plan(&["-refresh-only"]).unwrap().expect_empty();
    }

    fn attributes(&self) -> Value {
        self.terraform.attributes(WEB).unwrap().unwrap()
    }

    fn mac(&self, key: &str) -> String {
        self.attributes()["macs"][key].as_str().unwrap().to_owned()
    }

    fn live(&self) -> String {
        self.observer.domain_xml("web", Description::Live).unwrap()
    }

    /// Waits until a command in the guest says what is wanted: a guest takes what it is given in its own time.
    #[track_caller]
    fn until_guest(&self, what: &str, command: &str, holds: impl Fn(&str) -> bool) {
        until(what, SOON, || {
            let seen = self.guest.run(command)?;
            Ok(if holds(seen.trim()) {
                Look::Holds(())
            } else {
                Look::NotYet(seen)
            })
        })
        .unwrap();
    }

    fn memory_mib(&self) -> u64 {
        let text = self.guest.run("grep MemTotal /proc/meminfo").unwrap();
        let kib = text
            .split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse::<u64>().ok());
        kib.unwrap() / 1024
    }
}

#[track_caller]
fn assert_no_restart(plan: &Plan) {
    let warnings = plan.run().warnings();
    let quiet = warnings.iter().all(|one| !one.summary.contains("restart"));
    assert!(quiet, "{}", plan.run().text());
}

#[test]
fn one_guest_takes_all_live_changes_and_one_restart() {
    let host = &Host::start().unwrap();
    let observer = &host.observer().unwrap();
    let key = KeyPair::generate().unwrap();
    let terraform = &Terraform::new().unwrap();
    let empty = host.inventory().unwrap();
    let mut web = Web {
        hardware: "cpus = 1\n  cpus_max = 3\n  memory_mib = 192\n  memory_max_mib = 256".into(),
        disks: String::new(),
        nics: String::new(),
        more: "allow_restart = false",
    };
    let user_data = hcl::user_data(&key.public);
    terraform
        .write("main.tf", &config(host, &web, &user_data))
        .unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    let made = terraform.attributes(WEB).unwrap().unwrap();
    let guest = Guest::at(host, made["ip"].as_str().unwrap(), &key);
    guest.wait_for_ssh(SOON).unwrap();
    let boot_id = guest.boot_id().unwrap();
    let mut lab = Lab {
        host,
        terraform,
        observer,
        guest,
        user_data,
        boot_id,
    };
    let xml = lab.live();
    assert!(xml.contains("current='1'>3</vcpu>"), "{xml}");
    assert!(xml.contains("<memory unit='KiB'>262144</memory>"), "{xml}");
    terraform.plan(&[]).unwrap().expect_empty();
    shows(
        &["labyard_vm.cpus_max", "labyard_vm.memory_max_mib"],
        Case::Create,
    );

    grows(&lab, &mut web);
    devices_come(&lab, &mut web);
    devices_change(&lab, &mut web);
    hands_are_seen(&lab, &web);
    devices_go(&lab, &mut web);
    imported(&lab);
    restarted(&mut lab, &mut web);

    terraform.destroy(&[]).unwrap().expect_success();
    let left = empty.changes_to(&host.inventory().unwrap());
    assert!(left.is_empty(), "left over or lost:\n{left}");
}

fn grows(lab: &Lab<'_>, web: &mut Web) {
    let before = lab.memory_mib();
    web.hardware = "cpus = 3\n  cpus_max = 3\n  memory_mib = 256\n  memory_max_mib = 256".into();
    lab.change(web);
    lab.until_guest("three processors", "nproc", |seen| seen == "3");
    assert!(
        lab.memory_mib() >= before + 56,
        "{before} MiB, then {}",
        lab.memory_mib()
    );
    web.hardware = "cpus = 3\n  cpus_max = 3\n  memory_mib = 160\n  memory_max_mib = 256".into();
    lab.change(web);
    assert!(
        lab.memory_mib() <= before,
        "{before} MiB, then {}",
        lab.memory_mib()
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
    assert!(lab.live().contains("<model type='e1000e'/>"), "{}", lab.live());
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
    let before = targets(&lab.live());
    lab.change(web);
    lab.until_guest("the larger disk", "cat /sys/block/vdb/size", |seen| {
        seen.parse() == Ok(2 * GIB / 512)
    });
    let live = lab.live();
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
        Ok(match lab.live().contains("<currentMemory unit='KiB'>131072<") {
            true => Look::Holds(()),
            false => Look::NotYet(lab.live()),
        })
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

fn devices_go(lab: &Lab<'_>, web: &mut Web) {
    let volumes = || lab.observer.volumes("default").unwrap();
    assert_eq!(volumes().iter().filter(|v| v.name.contains(".data.")).count(), 1);
    (web.disks, web.nics) = (String::new(), String::new());
    lab.change(web);
    assert_eq!(lab.guest.disk_bytes("vdb").unwrap(), None);
    let nics = lab.guest.run("ls -d /sys/class/net/e*").unwrap();
    assert_eq!(nics.lines().count(), 1, "{nics}");
    let gone = volumes();
    assert!(
        gone.iter()
            .all(|v| !v.name.contains(".data.") && !v.name.contains(".bulk.")),
        "{gone:?}"
    );
}

fn imported(lab: &Lab<'_>) {
    let before = lab.attributes();
    lab.terraform.run(&["state", "rm", WEB]).unwrap().expect_success();
    lab.terraform.import(WEB, "lab1/web").unwrap().expect_success();
    let after = lab.attributes();
    for attribute in [
        "cpus",
        "cpus_max",
        "memory_mib",
        "memory_max_mib",
        "disks",
        "nics",
    ] {
        assert_eq!(after[attribute], before[attribute], "{attribute}");
    }
    lab.terraform.plan(&[]).unwrap().expect_empty();
    shows(
        &[
            "labyard_vm.cpus",
            "labyard_vm.cpus_max",
            "labyard_vm.memory_mib",
            "labyard_vm.memory_max_mib",
            "labyard_vm.disks.bus",
            "labyard_vm.nics.model",
        ],
        Case::Import,
    );
}

/// Everything that only a start changes, in one restart that the plan announces change by change, and refuses where
/// it must not be.
fn restarted(lab: &mut Lab<'_>, web: &mut Web) {
    web.hardware = "cpus = 2\n  cpus_max = 2\n  memory_mib = 160\n  memory_max_mib = 192".into();
    web.disks = "slow = { size_gib = 1, bus = \"sata\", on_remove = \"delete\" }".into();
    web.nics = "old = { network = labyard_network.side.name, model = \"e1000\" }".into();
    let changes = [
        "cpus: 3 -> 2",
        "cpus_max: 3 -> 2",
        "memory_max_mib: 256 -> 192",
        "disks[\"slow\"]",
        "nics[\"old\"]",
    ];
    let refused = lab.plan(web);
    let error = &refused.run().errors()[0];
    assert_eq!(error.summary, "Restart needed");
    web.more = "allow_restart = true";
    let plan = lab.plan(web).expect_success();
    let said = plan.run().warnings();
    let said = said
        .iter()
        .find(|one| one.summary == "web will be restarted")
        .unwrap();
    for change in changes {
        assert!(error.detail.contains(change), "no {change} in:\n{}", error.detail);
        assert!(said.detail.contains(change), "no {change} in:\n{}", said.detail);
    }
    lab.terraform.apply(&[]).unwrap().expect_success();
    lab.guest.wait_for_ssh(SOON).unwrap();
    let boot_id = lab.guest.boot_id().unwrap();
    assert_ne!(boot_id, std::mem::replace(&mut lab.boot_id, boot_id.clone()));
    assert_eq!(lab.guest.cpus().unwrap(), 2);
    let live = lab.live();
    for part in [
        "bus='sata'",
        "<model type='e1000'/>",
        "<memory unit='KiB'>196608</memory>",
    ] {
        assert!(live.contains(part), "no {part} in {live}");
    }
    lab.terraform.plan(&[]).unwrap().expect_empty();
    shows(
        &[
            "labyard_vm.cpus_max",
            "labyard_vm.memory_max_mib",
            "labyard_vm.disks.bus",
        ],
        Case::Update,
    );
}

/// A machine with nothing to boot has no guest that could let a disk go.
#[test]
fn a_guest_that_does_not_let_go_keeps_its_disk_until_it_is_stopped() {
    let host = &Host::start().unwrap();
    let terraform = &Terraform::new().unwrap();
    let config = |disks: &str, power: &str| {
        let body = format!(
            "memory_mib = 64\n  power = \"{power}\"\n  ready = {{ wait = \"none\" }}\n  shutdown = {{ mode = \"force\" }}\n  disks = {{ {disks} }}"
        );
        hcl::on(host) + &hcl::machine("idle", body)
    };
    let data = "data = { size_gib = 1, on_remove = \"delete\" }";
    terraform.write("main.tf", &config(data, "running")).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    terraform.write("main.tf", &config("", "running")).unwrap();
    assert_no_restart(&terraform.plan(&[]).unwrap().expect_success());
    let failed = terraform.apply(&[]).unwrap().expect_failure();
    let error = &failed.errors()[0];
    let said = format!("{} {}", error.summary, error.detail);
    for part in ["disks[\"data\"]", "still attached", "power = \"stopped\""] {
        assert!(said.contains(part), "no {part} in:\n{said}");
    }
    let state = terraform.attributes("labyard_vm.idle").unwrap().unwrap();
    assert_eq!(
        state["disks"]["data"]["size_gib"],
        json!(1),
        "the state stays true"
    );
    terraform.write("main.tf", &config(data, "running")).unwrap();
    terraform.plan(&[]).unwrap().expect_success();
    terraform.write("main.tf", &config("", "stopped")).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    terraform.plan(&[]).unwrap().expect_empty();
    let volumes = host.observer().unwrap().volumes("default").unwrap();
    assert!(volumes.is_empty(), "{volumes:?}");
    bad_values_are_refused(terraform, host);
    terraform.write("main.tf", &config("", "stopped")).unwrap();
    terraform.destroy(&[]).unwrap().expect_success();
}

fn bad_values_are_refused(terraform: &Terraform<'_>, host: &Host) {
    for (attribute, body) in [
        ("cpus_max", "memory_mib = 64\n  cpus = 2\n  cpus_max = 1"),
        ("memory_max_mib", "memory_mib = 64\n  memory_max_mib = 32"),
        (
            "disks.bus",
            "memory_mib = 64\n  disks = { a = { size_gib = 1, bus = \"floppy\" } }",
        ),
        (
            "nics.model",
            "memory_mib = 64\n  nics = { a = { network = \"default\", model = \"ne2k\" } }",
        ),
    ] {
        terraform
            .write("main.tf", &(hcl::on(host) + &hcl::machine("idle", body)))
            .unwrap();
        let plan = terraform.plan(&[]).unwrap();
        let errors = plan.run().errors();
        let leaf = attribute.rsplit('.').next().unwrap();
        let at = errors[0].snippet.clone().unwrap_or_default();
        assert!(at.contains(leaf), "{attribute}: {errors:?}");
        shows(&[&format!("labyard_vm.{attribute}")], Case::Refused);
    }
}
