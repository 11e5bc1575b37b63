//! A machine from its first plan to its destruction, with a guest that runs: what it is told, what disturbs it, what
//! does not, and that nothing is left of it.

use labyard_acceptance_tests::assets::GuestFiles;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::observer::Description;
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::terraform::{Plan, Run, Terraform};
use labyard_acceptance_tests::wait::{Look, until};
use labyard_acceptance_tests::way::Way;
use labyard_acceptance_tests::{Guest, Observer, both_ways, hcl};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use virt::domain::DomainState;

both_ways!(
    disks_and_nics_come_and_go_as_their_keys_do,
    secret_user_data_reaches_the_seed_and_no_state_or_plan,
);

const SOON: Duration = Duration::from_secs(90);
const GIB: u64 = 1 << 30;

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
    let first = terraform.plan_of(&web.config(host)).expect_success();
    let planned = first.known("labyard_vm.web", "/macs").cloned();
    terraform.applied(&web.config(host));
    let made = terraform.attributes("labyard_vm.web").unwrap().unwrap();
    assert_eq!(
        planned.as_ref(),
        Some(&made["macs"]),
        "the MAC is known before the machine is made"
    );
    let guest = guest_of(host, &made, &key);
    born(&observer, &guest, &made);
    terraform.assert_settled();

    grown(terraform, host, &mut web, &guest);
    restarted_for_cpus(terraform, host, &mut web, &guest);
    restarted_for_devices(terraform, host, &mut web, &guest);
    reseeded(terraform, host, &mut web, &guest, &key);
    stopped_by_force(terraform, host, &mut web, &observer);

    terraform.destroy(&[]).unwrap().expect_success();
    host.assert_as(&before);
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
    shows(
        &[
            "labyard_vm.name",
            "labyard_vm.host",
            "labyard_vm.cpus",
            "labyard_vm.memory_mib",
            "labyard_vm.power",
            "labyard_vm.disks",
            "labyard_vm.disks.size_gib",
            "labyard_vm.disks.image",
            "labyard_vm.disks.image.source",
            "labyard_vm.nics",
            "labyard_vm.nics.network",
            "labyard_vm.boot",
            "labyard_vm.boot.kernel",
            "labyard_vm.boot.initrd",
            "labyard_vm.boot.cmdline",
            "labyard_vm.cloud_init",
            "labyard_vm.cloud_init.user_data",
            "labyard_vm.id",
            "labyard_vm.ip",
            "labyard_vm.macs",
            "labyard_vm.image_digests",
            "labyard_vm.owned",
        ],
        Case::Create,
    );
}

fn grown(terraform: &Terraform<'_>, host: &Host, web: &mut Web, guest: &Guest<'_>) {
    let boot = guest.boot_id().unwrap();
    web.root_gib = 2;
    let planned = terraform.plan_of(&web.config(host)).expect_success();
    assert_no_restart_announced(&planned);
    assert_identity_known(&planned, "labyard_vm.web");
    terraform.applied(&web.config(host));
    assert_eq!(guest.disk_bytes("vda").unwrap(), Some(2 * GIB));
    assert_eq!(guest.boot_id().unwrap(), boot, "a disk grows without a restart");
    shows(&["labyard_vm.disks.size_gib"], Case::Update);
    terraform.assert_settled();
}

fn restarted_for_cpus(terraform: &Terraform<'_>, host: &Host, web: &mut Web, guest: &Guest<'_>) {
    let boot = guest.boot_id().unwrap();
    (web.memory, web.cpus, web.more) = (
        192,
        2,
        "allow_restart = false\n  shutdown = { timeout = \"20m\" }",
    );
    let refused = terraform.plan_of(&web.config(host));
    let error = &refused.run().errors()[0];
    assert_eq!(error.summary, "Restart needed");
    for change in ["memory_mib: 256 -> 192", "cpus: 1 -> 2", "allow_restart = true"] {
        assert!(error.detail.contains(change), "{}", error.detail);
    }
    web.more = "allow_restart = true\n  shutdown = { timeout = \"20m\" }";
    let planned = terraform.plan_of(&web.config(host)).expect_success();
    assert_restart_announced(&planned, "web", &["memory_mib: 256 -> 192", "cpus: 1 -> 2"]);
    assert_identity_known(&planned, "labyard_vm.web");
    let run = terraform.applied(&web.config(host));
    assert!(
        run.took() < Duration::from_secs(300),
        "the guest shuts down when asked, long before it is forced: {:?}",
        run.took()
    );
    guest.wait_for_ssh(SOON).unwrap();
    assert_ne!(guest.boot_id().unwrap(), boot);
    assert_eq!(guest.cpus().unwrap(), 2);
    assert_eq!(guest.disk_bytes("vda").unwrap(), Some(2 * GIB));
    shows(&["labyard_vm.cpus", "labyard_vm.memory_mib"], Case::Update);
    terraform.assert_settled();
}

fn restarted_for_devices(terraform: &Terraform<'_>, host: &Host, web: &mut Web, guest: &Guest<'_>) {
    web.disks = "data = { size_gib = 1, on_remove = \"delete\" }";
    web.nics = "wan = { network = labyard_network.side.name }";
    web.words = "guest.power=ignore";
    let planned = terraform.plan_of(&web.config(host)).expect_success();
    let boot = guest.boot_id().unwrap();
    // The devices alone would come while it runs: what needs the restart is the kernel's other command line.
    assert_restart_announced(&planned, "web", &["boot"]);
    terraform.applied(&web.config(host));
    guest.wait_for_ssh(SOON).unwrap();
    assert_ne!(guest.boot_id().unwrap(), boot);
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
    terraform.assert_settled();
    shows(&["labyard_vm.boot", "labyard_vm.boot.cmdline"], Case::Update);
}

fn reseeded(terraform: &Terraform<'_>, host: &Host, web: &mut Web, guest: &Guest<'_>, key: &KeyPair) {
    let boot = guest.boot_id().unwrap();
    web.user_data = format!(
        "#cloud-config\\nhostname: renamed\\nssh_authorized_keys:\\n  - {}\\n",
        key.public
    );
    let planned = terraform.plan_of(&web.config(host)).expect_success();
    assert_no_restart_announced(&planned);
    assert!(
        planned
            .run()
            .warnings()
            .iter()
            .any(|one| one.summary == "Seed will be renewed")
    );
    assert_identity_known(&planned, "labyard_vm.web");
    terraform.applied(&web.config(host));
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
    shows(
        &["labyard_vm.cloud_init", "labyard_vm.cloud_init.user_data"],
        Case::Update,
    );
    terraform.assert_settled();
}

/// This guest does not listen to its power button.
fn stopped_by_force(terraform: &Terraform<'_>, host: &Host, web: &mut Web, observer: &Observer) {
    web.more = "power = \"stopped\"\n  shutdown = { timeout = \"3s\" }";
    let planned = terraform.plan_of(&web.config(host)).expect_success();
    assert_identity_known(&planned, "labyard_vm.web");
    let begun = Instant::now();
    terraform.applied(&web.config(host));
    let took = begun.elapsed();
    assert!(
        (3..120).contains(&took.as_secs()),
        "asked for 3 s, then forced: {took:?}"
    );
    assert_eq!(observer.state("web").unwrap(), Some(DomainState::Shutoff));
    terraform.assert_settled();
    shows(&["labyard_vm.power"], Case::Update);

    // Off, it takes any change without a restart, and starts with them.
    web.more = "shutdown = { timeout = \"3s\" }\n  ready = { wait = \"none\" }";
    (web.memory, web.disks, web.nics) = (256, "", "");
    let planned = terraform.plan_of(&web.config(host)).expect_success();
    assert_no_restart_announced(&planned);
    terraform.applied(&web.config(host));
    assert_eq!(observer.state("web").unwrap(), Some(DomainState::Running));
    let xml = observer.domain_xml("web", Description::Live).unwrap();
    assert!(xml.contains("<memory unit='KiB'>262144</memory>"), "{xml}");
    assert_eq!(xml.matches("<interface ").count(), 1, "{xml}");
    terraform.assert_settled();
}

fn volumes(observer: &Observer) -> Vec<String> {
    let all = observer.volumes("default").unwrap();
    all.into_iter().map(|volume| volume.name).collect()
}

fn disks_and_nics_come_and_go_as_their_keys_do(way: Way) {
    let host = &Host::start().unwrap();
    way.at(host);
    let observer = host.observer().unwrap();
    let terraform = &Terraform::new().unwrap();
    let before = host.inventory().unwrap();
    let config = |disks: &str, nics: &str| {
        let networks =
            hcl::network("lab", 77) + &hcl::resource("labyard_network", "side", "mode = \"isolated\"");
        let body =
            format!("memory_mib = 64\n  power = \"stopped\"\n  disks = {{ {disks} }}\n  nics = {{ {nics} }}");
        hcl::on(host) + &networks + &hcl::machine("box", body)
    };
    let disk =
        |key: &str, on_remove: &str| format!("{key} = {{ size_gib = 1, on_remove = {on_remove:?} }}, ");
    let (lan, side) = (
        "lan = { network = labyard_network.lab.name }",
        "lan = { network = labyard_network.side.name }",
    );
    let (delete, detach, refuse) = (disk("d", "delete"), disk("t", "detach"), disk("r", "refuse"));
    terraform.applied(&config(&[&*delete, &detach, &refuse].concat(), lan));
    let macs = terraform.attributes("labyard_vm.box").unwrap().unwrap()["macs"].clone();
    assert_eq!(volumes(&observer).len(), 3);

    // Keys without order: another one between those that stay moves none of them.
    let paths = observer.domain_xml("box", Description::Persistent).unwrap();
    let more = disk("e", "delete");
    terraform.applied(&config(&[&*delete, &more, &detach, &refuse].concat(), lan));
    let now = observer.domain_xml("box", Description::Persistent).unwrap();
    for line in paths
        .lines()
        .filter(|line| line.contains("<source file=") || line.contains("<target dev="))
    {
        assert!(now.contains(line.trim()), "{line} is gone from {now}");
    }

    let refused = terraform.plan_of(&config(&[&*delete, &more, &detach].concat(), lan));
    let error = &refused.run().errors()[0];
    assert_eq!(error.summary, "Disk would be lost");
    assert!(error.detail.contains("on_remove"), "{}", error.detail);

    let planned = terraform
        .plan_of(&config(&[&*more, &refuse].concat(), side))
        .expect_success();
    let warned = planned.run().warnings();
    assert!(
        warned
            .iter()
            .any(|one| one.summary == "Disk and its data will be deleted"),
        "{}",
        planned.run().text()
    );
    assert_eq!(
        planned.known("labyard_vm.box", "/macs"),
        Some(&macs),
        "a NIC keeps its MAC when it moves"
    );
    terraform.apply(&[]).unwrap().expect_success();
    let left = volumes(&observer);
    assert_eq!(
        left.len(),
        3,
        "one deleted, one left alone, two attached: {left:?}"
    );
    let xml = observer.domain_xml("box", Description::Persistent).unwrap();
    assert_eq!(xml.matches("<source file=").count(), 2, "{xml}");
    assert!(xml.contains("<source network='side'/>"), "{xml}");
    terraform.assert_settled();

    terraform.applied(&config(&[&*more, &refuse].concat(), ""));
    assert!(
        !observer
            .domain_xml("box", Description::Persistent)
            .unwrap()
            .contains("<interface ")
    );
    terraform.assert_settled();
    terraform.destroy(&[]).unwrap().expect_success();
    let left = volumes(&observer);
    assert_eq!(
        left.len(),
        1,
        "the disk that was detached by wish outlives the machine: {left:?}"
    );
    host.virsh(&["vol-delete", &left[0], "--pool", "default"])
        .unwrap();
    host.assert_as(&before);
}

#[test]
fn a_create_waits_for_what_ready_names() {
    let host = &Host::start().unwrap();
    let observer = host.observer().unwrap();
    let key = KeyPair::generate().unwrap();
    // To connect to a guest's port the provider has to be where the guest is.
    let terraform = &Terraform::new().unwrap().inside(host);
    let machine = |name: &str, wait: &str| {
        let (boot, user_data) = (hcl::boot(""), hcl::user_data(&key.public));
        hcl::machine(
            name,
            format!(
                "memory_mib = 160\n  {boot}\n  nics = {{ lan = {{ network = labyard_network.lab.name }} }}
  ready = {{ wait = \"{wait}\" }}\n  cloud_init = {{ user_data = \"{user_data}\" }}"
            ),
        )
    };
    let machines = machine("agent", "agent") + &machine("port", "tcp:22");
    terraform.applied(&(hcl::on(host) + &hcl::network("lab", 77) + &machines));
    observer
        .agent("agent", &json!({"execute": "guest-ping"}))
        .unwrap();
    let address = terraform.attributes("labyard_vm.port").unwrap().unwrap()["ip"].clone();
    Guest::at(host, address.as_str().unwrap(), &key)
        .run("true")
        .unwrap();
    terraform.assert_settled();
    shows(&["labyard_vm.ready", "labyard_vm.ready.wait"], Case::Create);
    terraform.destroy(&[]).unwrap().expect_success();
}

#[test]
fn a_guest_that_ends_before_it_is_ready_fails_early_and_shows_its_console() {
    let host = &Host::start().unwrap();
    let observer = host.observer().unwrap();
    let terraform = &Terraform::new().unwrap();
    let before = host.inventory().unwrap();
    let machine = |name: &str, words: &str| {
        let boot = hcl::boot(words);
        let nics = "nics = { lan = { network = labyard_network.lab.name } }";
        hcl::machine(
            name,
            format!("memory_mib = 128\n  {boot}\n  {nics}\n  ready = {{ timeout = \"20m\" }}"),
        )
    };
    let machines = machine("crashes", "guest.boot=panic") + &machine("leaves", "guest.boot=poweroff");
    terraform
        .write("main.tf", &(hcl::on(host) + &hcl::network("lab", 77) + &machines))
        .unwrap();
    let begun = Instant::now();
    let run = terraform.apply(&[]).unwrap().expect_failure();
    assert!(
        begun.elapsed() < Duration::from_secs(300),
        "long before the wait would end: {:?}",
        begun.elapsed()
    );
    for (name, why, last_words) in [
        ("crashes", "it crashed", "Kernel panic"),
        (
            "leaves",
            "it was shut off before it became ready: its guest shut it down",
            "labyard-guest up",
        ),
    ] {
        let errors = run.errors();
        let error = errors.iter().find(|one| one.detail.contains(name));
        let error = error.unwrap_or_else(|| panic!("no error of {name}:\n{}", run.text()));
        for part in [why, "The end of its console:", last_words] {
            assert!(error.detail.contains(part), "no {part:?} in {}", error.detail);
        }
    }
    // What was made is in the state, to be looked at or made anew.
    assert_eq!(observer.domains().unwrap().len(), 2);
    let planned = terraform.plan(&[]).unwrap().expect_success();
    for name in ["labyard_vm.crashes", "labyard_vm.leaves"] {
        assert_eq!(planned.actions(name), ["delete", "create"]);
    }
    terraform.destroy(&[]).unwrap().expect_success();
    host.assert_as(&before);
}

#[test]
fn a_full_clone_boots_by_uefi_and_leaves_no_image_and_no_variables_behind() {
    let host = &Host::start().unwrap();
    let observer = host.observer().unwrap();
    let key = KeyPair::generate().unwrap();
    let terraform = &Terraform::new().unwrap();
    let before = host.inventory().unwrap();
    let (image, user_data) = (GuestFiles::get().bootable(), hcl::user_data(&key.public));
    let machine = hcl::machine(
        "efi",
        format!(
            "memory_mib = 256\n  firmware = {{ type = \"uefi\" }}
  disks = {{ root = {{ image = {{ source = \"file:{}\" }}, clone = \"full\" }} }}
  nics = {{ lan = {{ network = labyard_network.lab.name }} }}
  cloud_init = {{ user_data = \"{user_data}\" }}",
            image.display()
        ),
    );
    terraform.applied(&(hcl::on(host) + &hcl::network("lab", 77) + &machine));
    let made = terraform.attributes("labyard_vm.efi").unwrap().unwrap();
    let guest = guest_of(host, &made, &key);
    assert_eq!(guest.host_name().unwrap(), "efi");
    assert_eq!(
        guest.run("ls -d /sys/firmware/efi").unwrap().trim(),
        "/sys/firmware/efi"
    );
    let all = observer.volumes("default").unwrap();
    let root = all.iter().find(|volume| volume.name.contains("root")).unwrap();
    assert!(!root.xml.contains("<backingStore>"), "{}", root.xml);
    terraform.assert_settled();
    terraform.destroy(&[]).unwrap().expect_success();
    host.assert_as(&before);
}

fn secret_user_data_reaches_the_seed_and_no_state_or_plan(way: Way) {
    const SECRETS: [&str; 2] = ["correct-horse-battery", "staple-and-tomato"];
    let host = &Host::start().unwrap();
    way.at(host);
    let observer = host.observer().unwrap();
    let mut terraform = Terraform::new().unwrap();
    let config = |version: u32| {
        let seed = format!("user_data_wo = var.seed, user_data_wo_version = {version}");
        let body = format!("memory_mib = 64\n  power = \"stopped\"\n  cloud_init = {{ {seed} }}");
        let variable = "variable \"seed\" {\n  type = string\n  ephemeral = true\n}\n";
        hcl::on(host) + variable + &hcl::machine("sealed", body)
    };
    let seed = || {
        let all = observer.volumes("default").unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        String::from_utf8_lossy(&std::fs::read(&all[0].path).unwrap()).into_owned()
    };
    let assert_nowhere = |terraform: &Terraform<'_>, planned: &Plan, run: &Run| {
        let mark = observer
            .domain_xml("sealed", Description::Persistent)
            .unwrap_or_default();
        for text in [
            planned.json().to_string(),
            terraform.state_text(),
            run.text(),
            mark,
        ] {
            assert!(
                SECRETS.iter().all(|secret| !text.contains(secret)),
                "a secret is in {text}"
            );
        }
    };
    for (secret, version) in [(SECRETS[0], 1), (SECRETS[1], 2)] {
        terraform.env("TF_VAR_seed", &format!("#cloud-config\n# {secret}\n"));
        let planned = terraform.plan_of(&config(version)).expect_success();
        let run = terraform.applied(&config(version));
        assert_nowhere(&terraform, &planned, &run);
        assert!(seed().contains(secret));
        terraform.assert_settled();
    }
    let secret = [
        "labyard_vm.cloud_init.user_data_wo",
        "labyard_vm.cloud_init.user_data_wo_version",
    ];
    shows(&secret, Case::Create);
    // Another secret under the same version is no change: nobody can know.
    terraform.env("TF_VAR_seed", SECRETS[0]);
    terraform.plan_of(&config(2)).expect_empty();
    terraform.destroy(&[]).unwrap().expect_success();
}
