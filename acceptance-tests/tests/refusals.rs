//! What is refused, and when: bad values at validate or plan, each at its attribute; changes that would lose data or
//! cut machines off at plan; what others own, always, and untouched.

use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::observer::Description;
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::terraform::Diagnostic;
use labyard_acceptance_tests::{Terraform, hcl};

/// A bad value: the resource, its lines, the line that is at fault, and what the error says.
type Bad = (&'static str, &'static str, &'static str, &'static str);

const MACHINES: &[Bad] = &[
    ("labyard_vm", "memory_mib = 8", "memory_mib", "from 16"),
    ("labyard_vm", "memory_mib = 64.5", "memory_mib", "whole number"),
    (
        "labyard_vm",
        "memory_mib = 64\n  cpus = 0",
        "cpus",
        "from 1 to 512",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  power = \"paused\"",
        "power",
        "one of running, stopped",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  firmware = { type = \"efi\" }",
        "firmware",
        "bios, uefi",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  boot = { kernel = \"vmlinuz\" }",
        "boot",
        "path on the host",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  boot = { kernel = \"/k\", cmdline = \"\" }",
        "boot",
        "leave it out",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  disks = { a = {} }",
        "disks",
        "size_gib",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  disks = { a = { size_gib = 0 } }",
        "disks",
        "from 1",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  disks = { a = { size_gib = 1, clone = \"full\" } }",
        "disks",
        "no image to clone",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  disks = { a = { size_gib = 1, on_remove = \"keep\" } }",
        "disks",
        "refuse, delete, detach",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  disks = { a = { image = { source = \"/x\" } } }",
        "disks",
        "https://",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  disks = { a = { image = { source = \"file:/x\", sha256 = \"AB\" } } }",
        "disks",
        "64 lower-case hex digits",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  disks = { \"a.b\" = { size_gib = 1 } }",
        "disks",
        "cannot be a key",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  nics = { a = { network = \"n\", mac = \"53:54:00:00:00:01\" } }",
        "nics",
        "must be even",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  nics = { a = { network = \"n\", mac = \"52:54:00:00:00:01\" }, b = { network = \"n\", mac = \"52:54:00:00:00:01\" } }",
        "nics",
        "needs its own",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  ready = { wait = \"ssh\" }",
        "ready",
        "tcp:PORT",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  ready = { wait = \"tcp:22\" }",
        "ready",
        "without a NIC",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  ready = { timeout = \"10\" }",
        "ready",
        "10",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  boot = { kernel = \"/k\", initrd = \"initrd\" }",
        "boot",
        "path on the host",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  shutdown = { timeout = \"soon\" }",
        "shutdown",
        "soon",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  timeouts = { create = \"1x\" }",
        "timeouts",
        "1x",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  timeouts = { update = \"2x\" }",
        "timeouts",
        "2x",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  timeouts = { delete = \"3x\" }",
        "timeouts",
        "3x",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  shutdown = { mode = \"kill\" }",
        "shutdown",
        "graceful, force",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  cloud_init = { user_data = \"a\", user_data_wo = \"b\", user_data_wo_version = 1 }",
        "cloud_init",
        "keep one",
    ),
    (
        "labyard_vm",
        "memory_mib = 64\n  cloud_init = { user_data_wo = \"b\" }",
        "cloud_init",
        "raise it with every change",
    ),
];

const NETWORKS: &[Bad] = &[
    (
        "labyard_network",
        "mode = \"open\"",
        "mode",
        "nat, routed, isolated, bridge",
    ),
    ("labyard_network", "mode = \"nat\"", "ipv4", "needs ipv4"),
    ("labyard_network", "mode = \"bridge\"", "bridge", "needs bridge"),
    (
        "labyard_network",
        "mode = \"isolated\"\n  bridge = \"br0\"",
        "bridge",
        "leave bridge out",
    ),
    (
        "labyard_network",
        "mode = \"nat\"\n  ipv4 = { cidr = \"10.77.0.1/24\" }",
        "ipv4",
        "write 10.77.0.0/24",
    ),
    (
        "labyard_network",
        "mode = \"nat\"\n  ipv4 = { cidr = \"10.77.0.0/30\" }",
        "ipv4",
        "between /8 and /29",
    ),
    (
        "labyard_network",
        "mode = \"nat\"\n  ipv4 = { cidr = \"10.77.0.0/24\", dhcp = { start = \"10.78.0.2\", end = \"10.77.0.9\" } }",
        "ipv4",
        "not in 10.77.0.0/24",
    ),
    (
        "labyard_network",
        "mode = \"nat\"\n  ipv4 = { cidr = \"10.77.0.0/24\", dhcp = { start = \"10.77.0.9\", end = \"10.77.0.2\" } }",
        "ipv4",
        "behind end",
    ),
    (
        "labyard_network",
        "mode = \"nat\"\n  ipv4 = { cidr = \"10.77.0.0/24\", dhcp = { start = \"10.77.0.1\", end = \"10.77.0.9\" } }",
        "ipv4",
        "network's own",
    ),
    (
        "labyard_network",
        "mode = \"isolated\"\n  dns = { domain = \"-x\" }",
        "dns",
        "lab.test",
    ),
    (
        "labyard_network",
        "mode = \"isolated\"\n  timeouts = { create = \"1x\" }",
        "timeouts",
        "1x",
    ),
    (
        "labyard_network",
        "mode = \"isolated\"\n  timeouts = { update = \"2x\" }",
        "timeouts",
        "2x",
    ),
    (
        "labyard_network",
        "mode = \"isolated\"\n  timeouts = { delete = \"3x\" }",
        "timeouts",
        "3x",
    ),
];

#[test]
fn a_bad_value_is_refused_before_any_host_is_asked_and_the_error_points_at_it() {
    // A host that nobody answers for: what is refused here was refused without it.
    let provider = hcl::provider_of("", &[("lab1", "qemu:///system?socket=/nowhere/sock")]);
    let terraform = Terraform::new().unwrap();
    let all: Vec<&Bad> = MACHINES.iter().chain(NETWORKS).collect();
    let resources: String = all
        .iter()
        .enumerate()
        .map(|(n, (kind, body, ..))| hcl::resource(kind, &format!("case-{n}"), body))
        .collect();
    terraform.write("main.tf", &(provider + &resources)).unwrap();
    let run = terraform.plan(&[]).unwrap();
    let errors = run.run().errors();
    for (n, (kind, body, attribute, told)) in all.iter().enumerate() {
        let address = format!("{kind}.case-{n}");
        let of_case: Vec<&Diagnostic> = errors
            .iter()
            .filter(|one| one.address.as_deref() == Some(&address))
            .collect();
        let [error] = of_case[..] else {
            panic!("{body}: {of_case:?}")
        };
        assert!(
            error.detail.contains(told),
            "{body}: no {told:?} in {}",
            error.text()
        );
        // What is missing is shown at the resource itself.
        let snippet = error.snippet.as_deref().unwrap_or_default().trim().to_owned();
        let at_attribute = snippet.starts_with(attribute) && body.contains(attribute);
        let at_resource = snippet.starts_with("resource") && !body.contains(&format!("{attribute} ="));
        assert!(at_attribute || at_resource, "{body}: points at {snippet:?}");
    }
    assert_eq!(errors.len(), all.len());
    shows(
        &[
            "labyard_vm.memory_mib",
            "labyard_vm.cpus",
            "labyard_vm.power",
            "labyard_vm.firmware",
            "labyard_vm.firmware.type",
            "labyard_vm.boot",
            "labyard_vm.boot.kernel",
            "labyard_vm.boot.initrd",
            "labyard_vm.boot.cmdline",
            "labyard_vm.disks",
            "labyard_vm.disks.size_gib",
            "labyard_vm.disks.clone",
            "labyard_vm.disks.on_remove",
            "labyard_vm.disks.image",
            "labyard_vm.disks.image.source",
            "labyard_vm.disks.image.sha256",
            "labyard_vm.nics",
            "labyard_vm.nics.mac",
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
            "labyard_vm.cloud_init",
            "labyard_vm.cloud_init.user_data",
            "labyard_vm.cloud_init.user_data_wo",
            "labyard_vm.cloud_init.user_data_wo_version",
            "labyard_network.mode",
            "labyard_network.bridge",
            "labyard_network.ipv4",
            "labyard_network.ipv4.cidr",
            "labyard_network.ipv4.dhcp",
            "labyard_network.ipv4.dhcp.start",
            "labyard_network.ipv4.dhcp.end",
            "labyard_network.dns",
            "labyard_network.dns.domain",
            "labyard_network.timeouts",
            "labyard_network.timeouts.create",
            "labyard_network.timeouts.update",
            "labyard_network.timeouts.delete",
        ],
        Case::Refused,
    );
}

#[test]
fn a_bad_provider_block_is_refused() {
    let machine = hcl::machine("web", "memory_mib = 64");
    let uri = "qemu:///system";
    for (provider, told) in [
        (
            hcl::provider_of("  namespace = \"A.b\"\n", &[("lab1", uri)]),
            "namespace",
        ),
        (
            hcl::provider_of("", &[("lab1", uri)]).replace("\"qemu\" }", "\"xen\" }"),
            "auto, kvm, qemu",
        ),
        (
            hcl::provider_of("", &[("lab1", uri)])
                .replace("libvirt = {", "sim = { socket = \"/s\" }, libvirt = {"),
            "lab1",
        ),
        (
            hcl::provider_of("", &[("lab1", "qemu+carrier-pigeon:///system")]),
            "carrier-pigeon",
        ),
    ] {
        let terraform = Terraform::new().unwrap();
        terraform.write("main.tf", &(provider + &machine)).unwrap();
        let run = terraform.plan(&[]).unwrap();
        let errors = run.run().errors();
        assert!(
            errors.iter().any(|one| one.text().contains(told)),
            "no {told:?} in {}",
            run.run().text()
        );
    }
}

#[test]
fn what_would_lose_data_or_cut_machines_off_is_an_error_of_the_plan() {
    let host = &Host::start().unwrap();
    let terraform = Terraform::new().unwrap();
    let image = hcl::image();
    let config = |size: u32, data: &str, more: &str, cidr: &str| {
        let body = format!(
            "memory_mib = 64\n  power = \"stopped\"\n  nics = {{ lan = {{ network = labyard_network.lab.name }} }}
  disks = {{ root = {{ size_gib = {size}, image = {image} }}, {data} }}\n  {more}"
        );
        let network = format!("mode = \"nat\"\n  ipv4 = {{ cidr = \"{cidr}\" }}");
        hcl::on(host) + &hcl::resource("labyard_network", "lab", network) + &hcl::machine("web", body)
    };
    let (data, cidr) = ("data = { size_gib = 1 }", "10.77.0.0/24");
    terraform.write("main.tf", &config(2, data, "", cidr)).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    let before = host.inventory().unwrap();
    let good = config(2, data, "", cidr);
    for (config, summary, told) in [
        (config(1, data, "", cidr), "Disk cannot shrink", "2"),
        (config(2, "", "", cidr), "Disk would be lost", "on_remove"),
        (
            config(2, "other = { size_gib = 1 }", "", cidr),
            "Disk would be lost",
            "on_remove",
        ),
        (config(2, data, "", "10.78.0.0/24"), "Network in use", "web"),
        (
            good.replace(
                "mode = \"nat\"\n  ipv4 = { cidr = \"10.77.0.0/24\" }",
                "mode = \"bridge\"\n  bridge = \"br7\"",
            ),
            "Network in use",
            "web",
        ),
        (
            config(2, data, "firmware = { type = \"uefi\" }", cidr),
            "Disk would be lost",
            "replaces the machine",
        ),
        (
            good.replace("name = \"web\"", "name = \"web\"\n  host = \"lab9\""),
            "Unknown host",
            "lab9",
        ),
        (
            good.replace("disk.qcow2", "boot.qcow2"),
            "Disk would be lost",
            "replaces the machine",
        ),
    ] {
        terraform.write("main.tf", &config).unwrap();
        let plan = terraform.plan(&[]).unwrap();
        let errors = plan.run().errors();
        let found = errors.iter().find(|one| one.summary == summary);
        let found = found.unwrap_or_else(|| panic!("no {summary:?} in:\n{}", plan.run().text()));
        assert!(found.detail.contains(told), "{}", found.detail);
    }
    shows(&["labyard_vm.host"], Case::Refused);
    let changes = before.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "a plan changes nothing:\n{changes}");
    terraform.write("main.tf", &good).unwrap();
    terraform.plan(&[]).unwrap().expect_empty();
    terraform.destroy(&[]).unwrap().expect_success();
}

const THEIRS: &str = "<domain type='qemu'><name>theirs</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
    <os><type machine='q35'>hvm</type></os><devices>
    <interface type='network'><mac address='52:54:00:99:00:01'/><source network='lab'/><model type='virtio'/></interface>
    </devices></domain>";

#[test]
fn what_others_own_is_neither_taken_nor_cut_off() {
    let host = &Host::start().unwrap();
    let observer = host.observer().unwrap();
    let terraform = Terraform::new().unwrap();
    let network = hcl::on(host) + &hcl::network("lab", 77);
    terraform.write("main.tf", &network).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    observer.connection().define_domain_xml(THEIRS).unwrap();
    let definition = || observer.domain_xml("theirs", Description::Persistent).unwrap();
    let (before, standing) = (definition(), host.inventory().unwrap());

    let body = format!(
        "memory_mib = 64\n  power = \"stopped\"\n  disks = {{ root = {{ image = {} }} }}",
        hcl::image()
    );
    terraform
        .write("main.tf", &(network.clone() + &hcl::machine("theirs", body)))
        .unwrap();
    let run = terraform.apply(&[]).unwrap().expect_failure();
    let error = &run.errors()[0];
    assert!(
        error.detail.contains("terraform import ADDRESS lab1/theirs"),
        "{}",
        error.detail
    );
    terraform.write("main.tf", &network).unwrap();
    let run = terraform.destroy(&[]).unwrap().expect_failure();
    assert!(
        run.errors()[0].detail.contains("in use by theirs"),
        "{}",
        run.text()
    );
    terraform.plan(&[]).unwrap().expect_empty();

    assert_eq!(definition(), before);
    let changes = standing.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "touched:\n{changes}");
    observer.handle("theirs").unwrap().undefine().unwrap();
    terraform.destroy(&[]).unwrap().expect_success();
}
