//! A machine from its first plan to its destruction, with a guest that runs: what it is told, what disturbs it, what
//! does not, and that nothing is left of it.

use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::inventory::Inventory;
use labyard_acceptance_tests::observer::Description;
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::terraform::{Plan, Run, Terraform};
use labyard_acceptance_tests::wait::{Look, until};
use labyard_acceptance_tests::{Guest, Observer, hcl};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use virt::domain::DomainState;

const SOON: Duration = Duration::from_secs(90);
const GIB: u64 = 1 << 30;

fn assert_as_before(host: &Host, before: &Inventory) {
    let changes = before.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "left over or lost:\n{changes}");
}

#[track_caller]
fn apply(terraform: &Terraform<'_>, config: &str) -> Run {
    terraform.write("main.tf", config).unwrap();
    terraform.apply(&[]).unwrap().expect_success()
}

#[track_caller]
fn plan(terraform: &Terraform<'_>, config: &str) -> Plan {
    terraform.write("main.tf", config).unwrap();
    terraform.plan(&[]).unwrap()
}

/// Neither a plan nor a refresh finds anything to do.
#[track_caller]
fn assert_settled(terraform: &Terraform<'_>) {
    terraform.plan(&[]).unwrap().expect_empty();
    terraform.plan(&["-refresh-only"]).unwrap().expect_empty();
}

#[track_caller]
fn assert_restart_announced(plan: &Plan, machine: &str, changes: &[&str]) {
    let warnings = plan.run().warnings();
    let said = warnings
        .iter()
        .find(|one| one.summary.contains("will be restarted"));
    let said = said.unwrap_or_else(|| panic!("no word of a restart:\n{}", plan.run().text()));
    assert_eq!(said.summary, format!("{machine} will be restarted"));
    for change in changes {
        assert!(said.detail.contains(change), "no {change} in:\n{}", said.detail);
    }
}

#[track_caller]
fn assert_no_restart_announced(plan: &Plan) {
    let warnings = plan.run().warnings();
    assert!(
        warnings.iter().all(|one| !one.summary.contains("restarted")),
        "{}",
        plan.run().text()
    );
}

/// What others may build on stays known while a machine changes in place.
#[track_caller]
fn assert_identity_known(plan: &Plan, address: &str) {
    let before = plan.change(address)["before"].clone();
    assert_eq!(plan.actions(address), ["update"]);
    for attribute in ["/id", "/ip", "/macs", "/host"] {
        let known = plan.known(address, attribute);
        assert_eq!(known, before.pointer(attribute), "{attribute} of {address}");
        assert!(known.is_some_and(|value| !value.is_null()), "{attribute} is null");
    }
}

/// What a test sets of the machine `web`; the rest stays.
struct Web {
    memory: u32,
    cpus: u32,
    root_gib: u32,
    disks: &'static str,
    nics: &'static str,
    words: &'static str,
    user_data: String,
    more: &'static str,
}

impl Web {
    fn config(&self, host: &Host) -> String {
        let Self {
            memory,
            cpus,
            root_gib,
            disks,
            nics,
            words,
            user_data,
            more,
        } = self;
        let (image, boot) = (hcl::image(), hcl::boot(words));
        let machine = hcl::machine(
            "web",
            format!(
                "memory_mib = {memory}\n  cpus = {cpus}\n  {boot}\n  {more}
  disks = {{ root = {{ size_gib = {root_gib}, image = {image} }}, {disks} }}
  nics = {{ lan = {{ network = labyard_network.lab.name }}, {nics} }}
  cloud_init = {{ user_data = \"{user_data}\" }}"
            ),
        );
        let networks =
            hcl::network("lab", 77) + &hcl::resource("labyard_network", "side", "mode = \"isolated\"");
        hcl::on(host) + &networks + &machine
    }
}

#[test]
fn one_guest_through_its_whole_life() {
    let host = &Host::start().unwrap();
    let observer = host.observer().unwrap();
    let key = KeyPair::generate().unwrap();
    let terraform = &Terraform::new().unwrap();
    let before = host.inventory().unwrap();
    let mut web = Web {
        memory: 256,
        cpus: 1,
        root_gib: 1,
        disks: "",
        nics: "",
        words: "",
        user_data: hcl::user_data(&key.public),
        more: "",
    };
    let first = plan(terraform, &web.config(host)).expect_success();
    let planned = first.known("labyard_vm.web", "/macs").cloned();
    apply(terraform, &web.config(host));
    let made = terraform.attributes("labyard_vm.web").unwrap().unwrap();
    assert_eq!(
        planned.as_ref(),
        Some(&made["macs"]),
        "the MAC is known before the machine is made"
    );
    let guest = guest_of(host, &made, &key);
    born(&observer, &guest, &made);
    assert_settled(terraform);

    grown(terraform, host, &mut web, &guest);
    restarted_for_cpus(terraform, host, &mut web, &guest);
    restarted_for_devices(terraform, host, &mut web, &guest);
    reseeded(terraform, host, &mut web, &guest, &key);
    stopped_by_force(terraform, host, &mut web, &observer);

    terraform.destroy(&[]).unwrap().expect_success();
    assert_as_before(host, &before);
}

fn guest_of<'h>(host: &'h Host, state: &Value, key: &KeyPair) -> Guest<'h> {
    let guest = Guest::at(host, state["ip"].as_str().unwrap(), key);
    guest.wait_for_ssh(SOON).unwrap();
    guest
}

/// The guest took name, key, address and disk from what was asked for.
fn born(observer: &Observer, guest: &Guest<'_>, state: &Value) {
    assert_eq!(guest.host_name().unwrap(), "web");
    assert_eq!(guest.disk_bytes("vda").unwrap(), Some(GIB));
    let address = guest.run("ip -4 -o address show eth0").unwrap();
    assert!(address.contains(guest.address()), "{address}");
    let mac = guest.run("cat /sys/class/net/eth0/address").unwrap();
    assert_eq!(json!(mac.trim()), state["macs"]["lan"]);
    let seen = observer.domain("web").unwrap().unwrap();
    assert_eq!((seen.state, seen.persistent), (DomainState::Running, true));
    assert_eq!(json!(seen.uuid), state["id"]);
}

fn grown(terraform: &Terraform<'_>, host: &Host, web: &mut Web, guest: &Guest<'_>) {
    let boot = guest.boot_id().unwrap();
    web.root_gib = 2;
    let planned = plan(terraform, &web.config(host)).expect_success();
    assert_no_restart_announced(&planned);
    assert_identity_known(&planned, "labyard_vm.web");
    apply(terraform, &web.config(host));
    assert_eq!(guest.disk_bytes("vda").unwrap(), Some(2 * GIB));
    assert_eq!(guest.boot_id().unwrap(), boot, "a disk grows without a restart");
    assert_settled(terraform);
}

fn restarted_for_cpus(terraform: &Terraform<'_>, host: &Host, web: &mut Web, guest: &Guest<'_>) {
    let boot = guest.boot_id().unwrap();
    (web.memory, web.cpus, web.more) = (192, 2, "allow_restart = false");
    let refused = plan(terraform, &web.config(host));
    let error = &refused.run().errors()[0];
    assert_eq!(error.summary, "Restart needed");
    for change in ["memory_mib: 256 -> 192", "cpus: 1 -> 2", "allow_restart = true"] {
        assert!(error.detail.contains(change), "{}", error.detail);
    }
    web.more = "allow_restart = true";
    let planned = plan(terraform, &web.config(host)).expect_success();
    assert_restart_announced(&planned, "web", &["memory_mib: 256 -> 192", "cpus: 1 -> 2"]);
    assert_identity_known(&planned, "labyard_vm.web");
    let run = apply(terraform, &web.config(host));
    assert!(
        run.took() < Duration::from_secs(55),
        "the guest shuts down when asked: {:?}",
        run.took()
    );
    guest.wait_for_ssh(SOON).unwrap();
    assert_ne!(guest.boot_id().unwrap(), boot);
    assert_eq!(guest.cpus().unwrap(), 2);
    assert_eq!(guest.disk_bytes("vda").unwrap(), Some(2 * GIB));
    assert_settled(terraform);
}

fn restarted_for_devices(terraform: &Terraform<'_>, host: &Host, web: &mut Web, guest: &Guest<'_>) {
    web.disks = "data = { size_gib = 1, on_remove = \"delete\" }";
    web.nics = "wan = { network = labyard_network.side.name }";
    web.words = "guest.power=ignore";
    let planned = plan(terraform, &web.config(host)).expect_success();
    assert_restart_announced(&planned, "web", &["disks[\"data\"]", "nics[\"wan\"]", "boot"]);
    apply(terraform, &web.config(host));
    guest.wait_for_ssh(SOON).unwrap();
    assert_eq!(guest.disk_bytes("vdb").unwrap(), Some(GIB));
    let macs = &terraform.attributes("labyard_vm.web").unwrap().unwrap()["macs"];
    let nics = guest.run("cat /sys/class/net/eth*/address").unwrap();
    for key in ["lan", "wan"] {
        assert!(
            nics.contains(macs[key].as_str().unwrap()),
            "{key} of {macs} in {nics}"
        );
    }
    assert!(
        guest
            .run("cat /proc/cmdline")
            .unwrap()
            .contains("guest.power=ignore")
    );
    assert_settled(terraform);
}

fn reseeded(terraform: &Terraform<'_>, host: &Host, web: &mut Web, guest: &Guest<'_>, key: &KeyPair) {
    let boot = guest.boot_id().unwrap();
    web.user_data = format!(
        "#cloud-config\\nhostname: renamed\\nssh_authorized_keys:\\n  - {}\\n",
        key.public
    );
    let planned = plan(terraform, &web.config(host)).expect_success();
    assert_no_restart_announced(&planned);
    assert!(
        planned
            .run()
            .warnings()
            .iter()
            .any(|one| one.summary == "Seed will be renewed")
    );
    assert_identity_known(&planned, "labyard_vm.web");
    apply(terraform, &web.config(host));
    assert_eq!(
        guest.boot_id().unwrap(),
        boot,
        "a seed is renewed without a restart"
    );
    let read = "mount -r -t iso9660 /dev/sr0 /run/mnt && cat /run/mnt/user-data; umount /run/mnt";
    until("the guest to see its new seed", SOON, || {
        let seen = guest.run(read)?;
        Ok(if seen.contains("hostname: renamed") {
            Look::Holds(())
        } else {
            Look::NotYet(seen)
        })
    })
    .unwrap();
    let seeds: Vec<_> = host
        .inventory()
        .unwrap()
        .of_kind("volume")
        .filter(|v| v.contains("seed"))
        .map(str::to_owned)
        .collect();
    assert_eq!(seeds.len(), 1, "the former seed is gone: {seeds:?}");
    assert_settled(terraform);
}

/// This guest does not listen to its power button.
fn stopped_by_force(terraform: &Terraform<'_>, host: &Host, web: &mut Web, observer: &Observer) {
    web.more = "power = \"stopped\"\n  shutdown = { timeout = \"3s\" }";
    let planned = plan(terraform, &web.config(host)).expect_success();
    assert_identity_known(&planned, "labyard_vm.web");
    let begun = Instant::now();
    apply(terraform, &web.config(host));
    let took = begun.elapsed();
    assert!(
        (3..40).contains(&took.as_secs()),
        "asked for 3 s, then forced: {took:?}"
    );
    assert_eq!(observer.state("web").unwrap(), Some(DomainState::Shutoff));
    assert_settled(terraform);

    // Off, it takes any change without a restart, and starts with them.
    web.more = "shutdown = { timeout = \"3s\" }\n  ready = { wait = \"none\" }";
    (web.memory, web.disks, web.nics) = (256, "", "");
    let planned = plan(terraform, &web.config(host)).expect_success();
    assert_no_restart_announced(&planned);
    apply(terraform, &web.config(host));
    assert_eq!(observer.state("web").unwrap(), Some(DomainState::Running));
    let xml = observer.domain_xml("web", Description::Live).unwrap();
    assert!(xml.contains("<memory unit='KiB'>262144</memory>"), "{xml}");
    assert_eq!(xml.matches("<interface ").count(), 1, "{xml}");
    assert_settled(terraform);
}
