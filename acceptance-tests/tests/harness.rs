//! The harness itself, without the provider: what it says of hosts and guests is what `virsh` would show.

use labyard_acceptance_tests::assets::{GuestFiles, script};
use labyard_acceptance_tests::command::output_of;
use labyard_acceptance_tests::host::{Daemon, Host, HostOptions};
use labyard_acceptance_tests::observer::Description;
use labyard_acceptance_tests::processes::{self, Signal};
use labyard_acceptance_tests::seed::{KeyPair, write_seed};
use labyard_acceptance_tests::terraform::{Install, Terraform};
use labyard_acceptance_tests::wait::{Look, until};
use labyard_acceptance_tests::{Guest, Observer};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use virt::domain::DomainState;
use virt::sys;

const BOOT: Duration = Duration::from_secs(90);
const MAC: &str = "52:54:00:12:34:56";

fn network(name: &str) -> String {
    format!(
        "<network><name>{name}</name><forward mode='nat'/><bridge stp='off' delay='0'/>
         <ip address='10.77.0.1' netmask='255.255.255.0'><dhcp><range start='10.77.0.100' end='10.77.0.200'/>
         <host mac='{MAC}' ip='10.77.0.50'/></dhcp></ip></network>"
    )
}

fn machine(name: &str, network: &str, os: &str, disk: &Path, seed: &Path) -> String {
    let (disk, seed) = (disk.display(), seed.display());
    format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>{os}
         <features><acpi/><apic/></features><devices>
         <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk}'/>
           <target dev='vda' bus='virtio'/></disk>
         <controller type='scsi' model='virtio-scsi'/>
         <disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='{seed}'/>
           <target dev='sda' bus='scsi'/><readonly/></disk>
         <interface type='network'><mac address='{MAC}'/><source network='{network}'/><model type='virtio'/></interface>
         <serial type='pty'/>
         <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
         <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
         </devices></domain>"
    )
}

const FIRMWARE_BOOT: &str = "<os><type machine='q35'>hvm</type><boot dev='hd'/></os>";
const UEFI_BOOT: &str = "<os firmware='efi'><type machine='q35'>hvm</type>
    <firmware><feature enabled='no' name='secure-boot'/></firmware><boot dev='hd'/></os>";

fn direct_boot() -> String {
    let files = GuestFiles::get();
    format!(
        "<os><type machine='q35'>hvm</type><kernel>{}</kernel><initrd>{}</initrd>
         <cmdline>console=ttyS0 quiet no_timer_check</cmdline></os>",
        files.kernel().display(),
        files.initrd().display()
    )
}

/// A network and a running machine, defined with the C library alone.
fn run_machine(host: &Host, observer: &Observer, name: &str, os: &str, image: &Path, key: &KeyPair) {
    let net = observer.connection().define_network_xml(&network(name)).unwrap();
    net.create().unwrap();
    let disk = host.pool_directory().join(format!("{name}.qcow2"));
    let seed = host.pool_directory().join(format!("{name}.iso"));
    output_of(
        Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
            .arg(image)
            .arg(&disk),
    )
    .unwrap();
    let user_data = format!("#cloud-config\nssh_authorized_keys:\n  - {}\n", key.public);
    let meta_data = format!("instance-id: {name}-1\nlocal-hostname: {name}\n");
    write_seed(&seed, &[("user-data", &user_data), ("meta-data", &meta_data)]).unwrap();
    let domain = observer
        .connection()
        .define_domain_xml(&machine(name, name, os, &disk, &seed))
        .unwrap();
    domain.create().unwrap();
}

fn remove_machine(host: &Host, observer: &Observer, name: &str) {
    let flags = sys::VIR_DOMAIN_UNDEFINE_NVRAM;
    observer.handle(name).unwrap().undefine_flags(flags).unwrap();
    let net = observer.connection().lookup_network_by_name(name).unwrap();
    net.destroy().unwrap();
    net.undefine().unwrap();
    for suffix in ["qcow2", "iso"] {
        std::fs::remove_file(host.pool_directory().join(format!("{name}.{suffix}"))).unwrap();
    }
}

fn assert_nothing_changed(host: &Host, before: &labyard_acceptance_tests::inventory::Inventory) {
    let changes = before.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "left over or lost:\n{changes}");
}

#[test]
fn a_guest_takes_name_and_key_from_its_seed_and_nothing_is_left_of_it() {
    let host = &Host::start().unwrap();
    let observer = host.observer().unwrap();
    let key = KeyPair::generate().unwrap();
    let name = "seeded";
    let before = host.inventory().unwrap();

    let begun = Instant::now();
    run_machine(
        host,
        &observer,
        name,
        &direct_boot(),
        &GuestFiles::get().disk(),
        &key,
    );
    let guest = Guest::by_lease(host, name, MAC, &key, BOOT).unwrap();
    let leased = begun.elapsed();
    observer.wait_for_agent(name, BOOT).unwrap();
    let agent = begun.elapsed();
    guest.wait_for_ssh(BOOT).unwrap();
    eprintln!(
        "create to lease {leased:.1?}, to agent {agent:.1?}, to SSH {:.1?}",
        begun.elapsed()
    );

    assert_eq!(guest.address(), "10.77.0.50");
    assert_eq!(guest.host_name().unwrap(), name);
    assert_eq!(guest.disk_bytes("vda").unwrap(), Some(64 << 20));
    let running = before.changes_to(&host.inventory().unwrap());
    for line in [
        "domain seeded running",
        "process qemu seeded",
        "volume default seeded.qcow2",
    ] {
        assert!(
            running.came.iter().any(|came| came == line),
            "no `{line}` in:\n{running}"
        );
    }

    let boot = guest.boot_id().unwrap();
    observer.handle(name).unwrap().shutdown().unwrap();
    observer
        .wait_for_state(name, DomainState::Shutoff, Duration::from_secs(30))
        .unwrap();
    observer.handle(name).unwrap().create().unwrap();
    guest.wait_for_ssh(BOOT).unwrap();
    assert_ne!(guest.boot_id().unwrap(), boot, "a restart makes a new boot id");

    observer.wait_for_agent(name, BOOT).unwrap();
    assert_eq!(observer.boot_id(name).unwrap(), guest.boot_id().unwrap());

    observer.pull_plug(name).unwrap();
    remove_machine(host, &observer, name);
    assert_nothing_changed(host, &before);
}

#[test]
fn a_guest_takes_its_address_from_the_seed_in_yaml_and_in_json() {
    let host = &Host::start().unwrap();
    let observer = host.observer().unwrap();
    let key = KeyPair::generate().unwrap();
    run_machine(
        host,
        &observer,
        "fixed",
        &direct_boot(),
        &GuestFiles::get().disk(),
        &key,
    );
    let yaml = format!(
        "version: 2\nethernets:\n  lan:\n    match:\n      macaddress: \"{MAC}\"\n    addresses:\n      - 10.77.0.60/24\n    \
         nameservers:\n      addresses: [10.77.0.1]\n    routes:\n      - to: default\n        via: 10.77.0.1\n"
    );
    let json = serde_json::json!({"version": 2, "ethernets": {"lan": {
        "match": {"macaddress": MAC.to_uppercase()}, "addresses": ["10.77.0.61/24"], "gateway4": "10.77.0.1",
        "nameservers": {"addresses": ["10.77.0.1"]}}}});
    for (config, address) in [(yaml, "10.77.0.60"), (json.to_string(), "10.77.0.61")] {
        observer.pull_plug("fixed").unwrap();
        let seed = host.pool_directory().join("fixed.iso");
        let user_data = format!(
            "#cloud-config\nhostname: by-user-data\nssh_authorized_keys: [\"{}\"]\n",
            key.public
        );
        let meta_data = "instance-id: fixed-2\nlocal-hostname: by-meta-data\n";
        write_seed(
            &seed,
            &[
                ("user-data", &user_data),
                ("meta-data", meta_data),
                ("network-config", &config),
            ],
        )
        .unwrap();
        observer.handle("fixed").unwrap().create().unwrap();
        let guest = Guest::at(host, address, &key);
        guest.wait_for_ssh(BOOT).unwrap();
        assert_eq!(guest.host_name().unwrap(), "by-user-data");
        let routes = guest.run("ip route").unwrap();
        assert!(routes.contains("default via 10.77.0.1"), "{routes}");
        assert_eq!(
            guest.run("ip -4 -o address show eth0 | wc -l").unwrap().trim(),
            "1"
        );
    }
}

#[test]
fn the_bootable_disk_starts_by_bios_and_by_uefi() {
    let host = Host::start().unwrap();
    let observer = host.observer().unwrap();
    let before = host.inventory().unwrap();
    let key = KeyPair::generate().unwrap();
    for (name, os) in [("bios", FIRMWARE_BOOT), ("uefi", UEFI_BOOT)] {
        let begun = Instant::now();
        run_machine(&host, &observer, name, os, &GuestFiles::get().bootable(), &key);
        let guest = Guest::by_lease(&host, name, MAC, &key, BOOT).unwrap();
        eprintln!("{name}: create to lease {:.1?}", begun.elapsed());
        guest.wait_for_ssh(BOOT).unwrap();
        let firmware = guest
            .run("if [ -d /sys/firmware/efi ]; then echo uefi; else echo bios; fi")
            .unwrap();
        assert_eq!(firmware.trim(), name);
        observer.pull_plug(name).unwrap();
        remove_machine(&host, &observer, name);
    }
    assert_nothing_changed(&host, &before);
}

#[test]
fn two_hosts_side_by_side_know_nothing_of_each_other() {
    let hosts = [Host::start().unwrap(), Host::start().unwrap()];
    let empty = hosts[1].inventory().unwrap();
    let observer = hosts[0].observer().unwrap();
    // The same name, bridge and addresses on both.
    for host in &hosts {
        let net = host
            .observer()
            .unwrap()
            .connection()
            .define_network_xml(&network("same"))
            .unwrap();
        net.create().unwrap();
    }
    assert!(observer.networks().unwrap()[0].active);
    let net = hosts[1]
        .observer()
        .unwrap()
        .connection()
        .lookup_network_by_name("same")
        .unwrap();
    net.destroy().unwrap();
    net.undefine().unwrap();
    assert_nothing_changed(&hosts[1], &empty);
    assert!(
        observer.networks().unwrap()[0].active,
        "the first host's network is still up"
    );
    let uuid = |host: &Host| {
        let capabilities = host.observer().unwrap().connection().capabilities().unwrap();
        capabilities
            .split("<uuid>")
            .nth(1)
            .unwrap()
            .split('<')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_ne!(
        uuid(&hosts[0]),
        uuid(&hosts[1]),
        "each is a host of its own to those who derive from its UUID"
    );
}

#[test]
fn a_host_ends_with_all_its_processes_and_files() {
    let host = Host::start().unwrap();
    host.observer()
        .unwrap()
        .connection()
        .define_network_xml(&network("gone"))
        .unwrap()
        .create()
        .unwrap();
    let running = host.processes().unwrap();
    for kind in ["libvirtd", "virtlogd", "dnsmasq"] {
        assert!(
            running.iter().any(|process| process.kind == kind),
            "no {kind} in {running:?}"
        );
    }
    let directory = host.directory().to_owned();
    drop(host);
    assert!(!directory.exists());
    let left: Vec<_> = running
        .into_iter()
        .filter(|process| processes::runs(process.id))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_host_whose_owner_was_killed_ends_by_itself() {
    let directory = format!("/tmp/labyard-hosts/orphan-{}", std::process::id());
    let mut owner = Command::new("sleep").arg("600").spawn().unwrap();
    let mut start = Command::new(script("private-host"));
    output_of(start.args(["start", &directory, "--owner", &owner.id().to_string()])).unwrap();
    assert!(Path::new(&directory).join("libvirt-sock").exists());
    processes::send(Signal::Kill, owner.id()).unwrap();
    owner.wait().unwrap();
    until("the orphan's end", Duration::from_secs(10), || {
        let there = Path::new(&directory).exists();
        Ok(if there {
            Look::NotYet("its directory".into())
        } else {
            Look::Holds(())
        })
    })
    .unwrap();
}

#[test]
fn a_sweep_leaves_a_host_that_another_is_taking_away() {
    let all = tempfile::tempdir().unwrap();
    let going = all.path().join("1-0");
    // As it is when its parts are gone and the rest is not yet: no process is of that id and time.
    std::fs::create_dir(&going).unwrap();
    std::fs::write(going.join("owner"), "1 1\n").unwrap();
    let mut sweep = Command::new(script("private-host"));
    sweep.arg("sweep").arg(all.path());
    output_of(&mut sweep).unwrap();
    assert!(going.exists());
}

#[test]
fn libvirtd_alone_can_be_killed_stopped_and_started_while_a_network_stays() {
    let host = Host::start().unwrap();
    host.observer()
        .unwrap()
        .connection()
        .define_network_xml(&network("stays"))
        .unwrap()
        .create()
        .unwrap();
    host.daemon(Daemon::Kill).unwrap();
    assert!(host.observer().is_err());
    assert!(
        host.processes()
            .unwrap()
            .iter()
            .any(|process| process.kind == "dnsmasq")
    );
    host.daemon(Daemon::Start).unwrap();
    assert!(host.observer().unwrap().networks().unwrap()[0].active);
    host.daemon(Daemon::Stop).unwrap();
    host.daemon(Daemon::Continue).unwrap();
    assert!(host.observer().unwrap().networks().unwrap()[0].active);
}

#[test]
fn a_small_pool_runs_full_and_a_read_only_connection_changes_nothing() {
    let pools = vec![("tiny".to_owned(), "8M".to_owned())];
    let host = Host::start_with(&HostOptions {
        tmpfs_pools: pools,
        ..HostOptions::default()
    })
    .unwrap();
    let sixteen_mib = [
        "vol-create-as",
        "tiny",
        "large",
        "16M",
        "--allocation",
        "16M",
        "--format",
        "raw",
    ];
    assert!(host.virsh(&sixteen_mib).is_err());
    let reader = Observer::connect_read_only(&host.read_only_uri()).unwrap();
    assert!(reader.domains().unwrap().is_empty());
    assert!(reader.connection().define_network_xml(&network("no")).is_err());
    assert!(host.observer().unwrap().networks().unwrap().is_empty());
}

#[test]
fn a_defined_machine_has_a_persistent_description_only() {
    let host = Host::shared();
    let observer = host.observer().unwrap();
    let nowhere = Path::new("/nonexistent");
    let xml = machine("paper", "default", FIRMWARE_BOOT, nowhere, nowhere);
    observer.connection().define_domain_xml(&xml).unwrap();
    let seen = observer.domain("paper").unwrap().unwrap();
    assert_eq!(
        (seen.state, seen.persistent, seen.autostart),
        (DomainState::Shutoff, true, false)
    );
    assert!(
        observer
            .domain_xml("paper", Description::Persistent)
            .unwrap()
            .contains(MAC)
    );
    observer.handle("paper").unwrap().undefine().unwrap();
    assert_eq!(observer.state("paper").unwrap(), None);
}

#[test]
fn terraform_is_run_with_its_plans_and_diagnostics_as_data() {
    // Terraform's own resource needs no provider; any program will do in its place.
    let terraform = Terraform::installed(&Install::OverrideBy("/bin/true".into())).unwrap();
    let main = |input: &str| format!("resource \"terraform_data\" \"one\" {{\n  input = {input}\n}}\n");
    terraform.write("main.tf", &main("1")).unwrap();
    let plan = terraform.plan(&[]).unwrap().expect_success();
    assert_eq!(plan.actions("terraform_data.one"), ["create"]);
    terraform.apply(&[]).unwrap().expect_success();
    terraform.plan(&[]).unwrap().expect_empty();
    terraform.write("main.tf", &main("2")).unwrap();
    let plan = terraform.plan(&[]).unwrap().expect_success();
    assert_eq!(plan.actions("terraform_data.one"), ["update"]);
    assert_eq!(plan.change("terraform_data.one")["after"]["input"], 2);
    assert_eq!(
        terraform.attributes("terraform_data.one").unwrap().unwrap()["input"],
        1
    );

    terraform.write("main.tf", &main("nonsense")).unwrap();
    let failed = terraform.apply(&[]).unwrap().expect_failure();
    assert_eq!(failed.errors()[0].summary, "Invalid reference");
    terraform.write("main.tf", "").unwrap();
    terraform.destroy(&[]).unwrap().expect_success();
    assert!(!terraform.state_text().contains("terraform_data"));
}

#[test]
fn terraform_inside_of_a_host_reaches_its_networks() {
    let host = Host::start().unwrap();
    host.observer()
        .unwrap()
        .connection()
        .define_network_xml(&network("near"))
        .unwrap()
        .create()
        .unwrap();
    let terraform = Terraform::installed(&Install::OverrideBy("/bin/true".into()))
        .unwrap()
        .inside(&host);
    let ping = "ping -c 1 -W 5 10.77.0.1";
    terraform
        .write("main.tf", &format!("resource \"terraform_data\" \"near\" {{\n  provisioner \"local-exec\" {{\n    command = \"{ping}\"\n  }}\n}}\n"))
        .unwrap();
    terraform.apply(&[]).unwrap().expect_success();
}

#[test]
fn a_run_of_terraform_can_be_killed_on_its_way() {
    let terraform = Terraform::installed(&Install::OverrideBy("/bin/true".into())).unwrap();
    let sleeping = "resource \"terraform_data\" \"slow\" {\n  provisioner \"local-exec\" {\n    command = \"sleep 60\"\n  }\n}\n";
    terraform.write("main.tf", sleeping).unwrap();
    let running = terraform.start(&["apply", "-auto-approve", "-json"]).unwrap();
    until("terraform's children", Duration::from_secs(20), || {
        let children = processes::children(running.id());
        Ok(if children.is_empty() {
            Look::NotYet("none".into())
        } else {
            Look::Holds(())
        })
    })
    .unwrap();
    let begun = Instant::now();
    running.signal(Signal::Interrupt).unwrap();
    let run = running.end().unwrap().expect_failure();
    assert!(begun.elapsed() < Duration::from_secs(30), "{}", run.text());
}
