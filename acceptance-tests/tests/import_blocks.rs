//! Terraform's own blocks, as the guides recommend them: `import` with a configuration that Terraform writes itself, and
//! `removed` without a destroy. A guest that others started runs on through all of it.

use labyard_acceptance_tests::assets::GuestFiles;
use labyard_acceptance_tests::command::output_of;
use labyard_acceptance_tests::observer::Description;
use labyard_acceptance_tests::wait::{Look, until};
use labyard_acceptance_tests::{Scene, hcl};
use serde_json::json;
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);
const NETWORK: &str = "labyard_network.theirs";
const MACHINE: &str = "labyard_vm.theirs";

/// A guest that runs on a network, both made by others.
fn start_theirs(scene: &Scene) {
    let disk = scene.host.pool_directory().join("theirs.qcow2");
    let mut make = Command::new("qemu-img");
    make.args(["create", "-q", "-f", "qcow2"]).arg(&disk).arg("1G");
    output_of(&mut make).unwrap();
    let network = "<network><name>theirs</name><forward mode='nat'/><bridge name='br-theirs'/>
         <ip address='10.90.0.1' netmask='255.255.255.0'><dhcp><range start='10.90.0.10' end='10.90.0.20'/></dhcp></ip></network>";
    let connection = scene.observer.connection();
    connection.define_network_xml(network).unwrap().create().unwrap();
    let files = GuestFiles::get();
    let machine = format!(
        "<domain type='qemu'><name>theirs</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>
         <os><type machine='q35'>hvm</type><kernel>{}</kernel><initrd>{}</initrd><cmdline>console=ttyS0 quiet</cmdline></os>
         <features><acpi/><apic/></features><devices>
         <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>
         <interface type='network'><mac address='52:54:00:99:00:01'/><source network='theirs'/><model type='virtio'/></interface>
         <serial type='pty'/><channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
         <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
         <watchdog model='i6300esb' action='reset'/></devices></domain>",
        files.kernel().display(),
        files.initrd().display(),
        disk.display()
    );
    connection.define_domain_xml(&machine).unwrap().create().unwrap();
}

fn import_blocks(scene: &Scene) -> String {
    let import = |address: &str| format!("import {{\n  to = {address}\n  id = \"lab1/theirs\"\n}}\n");
    hcl::on(&scene.host) + &import(NETWORK) + &import(MACHINE)
}

/// The process that the guest runs in, and what changes with each of its boots.
fn life(scene: &Scene) -> (Option<u32>, String) {
    let process = scene.host.guest_process("theirs").unwrap();
    assert!(process.is_some(), "it runs");
    (process, scene.observer.boot_id("theirs").unwrap())
}

#[test]
fn a_running_guest_of_others_comes_by_import_blocks_with_a_generated_configuration_and_is_never_restarted() {
    let scene = Scene::new();
    start_theirs(&scene);
    scene.observer.wait_for_agent("theirs", SOON).unwrap();
    // Its agent answers before its network is up.
    until("a lease of the guest", SOON, || {
        let lease = scene.host.lease("theirs", "52:54:00:99:00:01")?;
        Ok(lease.map_or_else(|| Look::NotYet("none".to_owned()), Look::Holds))
    })
    .unwrap();
    let begun = life(&scene);
    let terraform = &scene.terraform;
    let blocks = import_blocks(&scene);
    terraform.write("main.tf", &blocks).unwrap();
    terraform
        .run(&[
            "plan",
            "-no-color",
            "-input=false",
            "-generate-config-out=generated.tf",
        ])
        .unwrap()
        .expect_success();

    // What Terraform wrote is a configuration of what is there: only whose it is changes.
    let plan = terraform.plan(&[]).unwrap().expect_success();
    for address in [NETWORK, MACHINE] {
        let change = plan.change(address);
        assert_eq!(plan.actions(address), ["update"], "{change:#}");
        assert_eq!(change["importing"]["id"], "lab1/theirs");
        let (before, after) = (&change["before"], &change["after"]);
        assert_eq!((&before["owned"], &after["owned"]), (&json!(false), &json!(true)));
        let mut owned = before.clone();
        owned["owned"] = json!(true);
        assert_eq!(&owned, after, "only `owned` changes");
    }
    terraform.apply(&[]).unwrap().expect_success();
    terraform.assert_settled();
    assert_eq!(life(&scene), begun, "taken over without a restart");
    let live = scene.live("theirs");
    assert!(live.contains("<watchdog model='i6300esb'"), "{live}");
    // The blocks may stay, and may go.
    terraform.write("main.tf", &hcl::on(&scene.host)).unwrap();
    terraform.assert_settled();

    // Let go of without a destroy, and taken up again: it comes back as it was written.
    // As the guide says, a card names its network's resource, so that Terraform knows in which order they go.
    let written = std::fs::read_to_string(terraform.directory().join("generated.tf")).unwrap();
    let named = "network = \"theirs\"";
    assert!(written.contains(named), "{written}");
    let written = written.replace(named, "network = labyard_network.theirs.name");
    let before = [NETWORK, MACHINE].map(|address| terraform.resource(address));
    let removed = |address: &str| {
        format!("removed {{\n  from = {address}\n  lifecycle {{\n    destroy = false\n  }}\n}}\n")
    };
    terraform.write("generated.tf", "").unwrap();
    terraform.applied(&(hcl::on(&scene.host) + &removed(NETWORK) + &removed(MACHINE)));
    assert!(terraform.attributes(MACHINE).unwrap().is_none());
    assert_eq!(life(&scene), begun, "let go of without a restart");
    let definition = scene
        .observer
        .domain_xml("theirs", Description::Persistent)
        .unwrap();
    assert!(definition.contains("labyard"), "its mark stays: {definition}");
    terraform.write("generated.tf", &written).unwrap();
    let plan = terraform.planned(&blocks);
    for address in [NETWORK, MACHINE] {
        assert_eq!(plan.actions(address), ["no-op"], "{:#}", plan.change(address));
    }
    terraform.apply(&[]).unwrap().expect_success();
    assert_eq!(
        [NETWORK, MACHINE].map(|address| terraform.resource(address)),
        before
    );
    terraform.assert_settled();
    assert_eq!(life(&scene), begun, "taken up again without a restart");
    scene.destroy();
}
