//! Storage: a pool for each disk, room looked at before anything is made, pools that are stopped or gone, images that
//! stay for a while.

use labyard_acceptance_tests::host::{Host, HostOptions};
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::terraform::Run;
use labyard_acceptance_tests::whole::write_image;
use labyard_acceptance_tests::{Terraform, hcl};
use std::process::Command;
use tempfile::TempDir;

const POOL: &str = "labyard_vm.disks.storage_pool";

fn volumes(host: &Host, pool: &str) -> Vec<String> {
    let all = host.observer().unwrap().volumes(pool).unwrap();
    all.into_iter().map(|volume| volume.name).collect()
}

fn stopped(name: &str, disks: &str) -> String {
    hcl::machine(
        name,
        format!("memory_mib = 64\n  power = \"stopped\"\n  disks = {{ {disks} }}"),
    )
}

/// The error of a run, which stands at an attribute.
#[track_caller]
fn assert_refused(run: &Run, summary: &str, words: &[&str]) {
    let errors = run.errors();
    let error = errors.iter().find(|error| error.summary == summary);
    let Some(error) = error else {
        panic!("no {summary:?} in:\n{}", run.text());
    };
    for word in words {
        assert!(error.text().contains(word), "no {word:?} in {}", error.text());
    }
}

fn provider(host: &Host, more: &str) -> String {
    let uri = host.uri();
    let plain = format!("uri = {uri:?}, accelerator = \"qemu\"");
    let config = hcl::on(host);
    assert!(config.contains(&plain), "{config}");
    config.replace(&plain, &format!("{plain}{more}"))
}

#[test]
fn each_disk_lies_in_the_pool_that_it_names_and_stays_there() {
    let host = &Host::start().unwrap();
    host.add_pool("fast").unwrap();
    let empty = host.inventory().unwrap();
    let files = TempDir::new().unwrap();
    let image = write_image(&files.path().join("image.qcow2"), 50_000).unwrap();
    let disks = |pool: &str| {
        format!(
            "root = {{ image = {{ source = {image:?} }}{pool} }}, data = {{ size_gib = 1, on_remove = \"delete\" }}"
        )
    };
    let in_fast = disks(", storage_pool = \"fast\"");
    let terraform = Terraform::new().unwrap();
    terraform
        .write("main.tf", &(hcl::on(host) + &stopped("web", &in_fast)))
        .unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    terraform.plan(&[]).unwrap().expect_empty();
    assert!(
        volumes(host, "fast")
            .iter()
            .any(|name| name.starts_with("web.root."))
    );
    assert_eq!(volumes(host, "fast").len(), 3, "disk, image and its marker");
    assert!(
        volumes(host, "default")
            .iter()
            .all(|name| name.starts_with("web.data."))
    );
    shows(&[POOL], Case::Create);

    // Where the volume is, is where it stays: left out, and with another pool of the host's own.
    terraform
        .write("main.tf", &(hcl::on(host) + &stopped("web", &disks(""))))
        .unwrap();
    let plan = terraform.plan(&[]).unwrap().expect_success();
    assert_eq!(plan.actions("labyard_vm.web"), ["update"]);
    terraform.apply(&[]).unwrap().expect_success();
    let other = provider(host, ", storage_pool = \"fast\"");
    terraform
        .write("main.tf", &(other.clone() + &stopped("web", &disks(""))))
        .unwrap();
    terraform.plan(&[]).unwrap().expect_empty();
    let written = disks(", storage_pool = \"default\"");
    terraform
        .write("main.tf", &(other.clone() + &stopped("web", &written)))
        .unwrap();
    assert_refused(
        terraform.plan(&[]).unwrap().run(),
        "Disk lies in another pool",
        &["fast", "root"],
    );
    terraform
        .write("main.tf", &(other + &stopped("web", &in_fast)))
        .unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    let elsewhere = disks(", storage_pool = \"default\"");
    terraform
        .write("main.tf", &(hcl::on(host) + &stopped("web", &elsewhere)))
        .unwrap();
    let plan = terraform.plan(&[]).unwrap().expect_success();
    let mut actions = plan.actions("labyard_vm.web");
    actions.sort_unstable();
    assert_eq!(actions, ["create", "delete"], "another pool is another disk");

    // An import knows what was written.
    terraform
        .write("main.tf", &(hcl::on(host) + &stopped("web", &in_fast)))
        .unwrap();
    terraform.take_up("labyard_vm.web", "lab1/web");
    terraform.plan(&[]).unwrap().expect_empty();
    shows(&[POOL], Case::Import);

    a_stopped_or_lost_pool_is_an_error_and_never_a_disk_that_is_gone(host, &terraform);
    terraform.destroy(&[]).unwrap().expect_success();
    let changes = empty.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "{changes}");
}

/// Goes on with a machine whose root disk lies in pool `fast`.
fn a_stopped_or_lost_pool_is_an_error_and_never_a_disk_that_is_gone(host: &Host, terraform: &Terraform<'_>) {
    host.virsh(&["pool-destroy", "fast"]).unwrap();
    // The files of a directory show while its pool is stopped.
    terraform.plan(&[]).unwrap().expect_empty();
    let (there, away) = (host.directory().join("fast"), host.directory().join("away"));
    std::fs::rename(&there, &away).unwrap();
    let plan = terraform.plan(&[]).unwrap();
    assert_refused(plan.run(), "Machine not readable", &["fast", "pool-start"]);
    std::fs::rename(&away, &there).unwrap();
    host.virsh(&["pool-undefine", "fast"]).unwrap();
    let plan = terraform.plan(&[]).unwrap();
    assert_refused(plan.run(), "Machine not readable", &["no storage pool 'fast'"]);
    host.add_pool("fast").unwrap();
    terraform.plan(&[]).unwrap().expect_empty();

    // Its definition gone, the disk in the other pool is found.
    host.virsh(&["undefine", "web"]).unwrap();
    let plan = terraform.plan(&[]).unwrap().expect_success();
    assert_eq!(
        plan.actions("labyard_vm.web"),
        ["update"],
        "{}",
        plan.run().text()
    );
    terraform.apply(&[]).unwrap().expect_success();
    terraform.plan(&[]).unwrap().expect_empty();
}

#[test]
fn room_is_looked_at_before_anything_is_made() {
    let options = HostOptions {
        tmpfs_pools: vec![("small".into(), "16M".into())],
        ..HostOptions::default()
    };
    let host = &Host::start_with(&options).unwrap();
    let empty = host.inventory().unwrap();
    let files = TempDir::new().unwrap();
    let large = files.path().join("large.raw");
    std::fs::write(&large, vec![1_u8; 20 << 20]).unwrap();
    let terraform = Terraform::new().unwrap();
    let plan = |config: &str| {
        terraform.write("main.tf", &(hcl::on(host) + config)).unwrap();
        terraform.plan(&[]).unwrap()
    };

    let sent = format!(
        "root = {{ image = {{ source = \"file:{}\" }}, storage_pool = \"small\" }}",
        large.display()
    );
    let refused = plan(&stopped("web", &sent));
    let words = ["20 MiB", "small", "disks[\"root\"].image"];
    assert_refused(refused.run(), "No room in the storage pool", &words[..2]);
    let nowhere = plan(&stopped(
        "web",
        "data = { size_gib = 1, storage_pool = \"nowhere\" }",
    ));
    assert_refused(
        nowhere.run(),
        "No such storage pool",
        &["nowhere", "default, small"],
    );
    let bad = plan(&stopped("web", "data = { size_gib = 1, storage_pool = \"a/b\" }"));
    assert_refused(bad.run(), "Invalid storage_pool", &["a/b"]);
    shows(&[POOL], Case::Refused);

    let thin = plan(&stopped(
        "web",
        "data = { size_gib = 2, storage_pool = \"small\" }",
    ))
    .expect_success();
    let warnings = thin.run().warnings();
    assert_eq!(
        warnings[0].summary,
        "Storage over-committed",
        "{}",
        thin.run().text()
    );
    assert!(warnings[0].detail.contains("2 GiB"), "{}", warnings[0].detail);

    let huge = plan(&hcl::machine(
        "web",
        "memory_mib = 16000000\n  power = \"stopped\"",
    ));
    assert_refused(huge.run(), "More memory than the host has", &["16000000 MiB"]);
    shows(&["labyard_vm.memory_mib"], Case::Refused);
    let tight = hcl::on(host).replace("libvirt =", "capacity = { memory_mib = 100 }, libvirt =");
    terraform
        .write(
            "main.tf",
            &(tight + &hcl::machine("web", "memory_mib = 128\n  power = \"stopped\"")),
        )
        .unwrap();
    let over = terraform.plan(&[]).unwrap().expect_success();
    assert_eq!(over.run().warnings()[0].summary, "Memory over-committed");
    let changes = empty.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "{changes}");
}

#[test]
fn an_image_stays_for_as_long_as_the_host_keeps_images() {
    let host = &Host::start().unwrap();
    let files = TempDir::new().unwrap();
    let image = write_image(&files.path().join("image.qcow2"), 50_000).unwrap();
    let disks = format!("root = {{ image = {{ source = {image:?} }} }}");
    let terraform = Terraform::new().unwrap();
    let kept = provider(host, ", image_retention = \"1h\"");
    terraform
        .write("main.tf", &(kept.clone() + &stopped("web", &disks)))
        .unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    let uploaded = |host: &Host| -> Vec<String> {
        let all = volumes(host, "default").into_iter();
        all.filter(|name| name.matches('.').count() == 1 && name.starts_with("labyard-image."))
            .collect()
    };
    let before = uploaded(host);
    assert_eq!(before.len(), 1);
    terraform.destroy(&[]).unwrap().expect_success();
    assert_eq!(uploaded(host), before, "kept without a machine");

    // Used again, it is not sent again.
    terraform.apply(&[]).unwrap().expect_success();
    assert_eq!(uploaded(host), before);
    terraform.plan(&[]).unwrap().expect_empty();
    terraform.destroy(&[]).unwrap().expect_success();
    // Two hours pass: the name of the volume beside it says since when nobody needs it.
    let noticed = volumes(host, "default")
        .into_iter()
        .find(|name| name.contains(".unneeded."));
    let noticed = noticed.unwrap();
    let (what, since) = noticed.rsplit_once('.').unwrap();
    let earlier = format!("{what}.{}", since.parse::<u64>().unwrap() - 2 * 3_600_000);
    let at = |name: &str| host.pool_directory().join(name);
    std::fs::rename(at(&noticed), at(&earlier)).unwrap();
    host.virsh(&["pool-refresh", "default"]).unwrap();
    let other = stopped("other", "data = { size_gib = 1, on_remove = \"delete\" }");
    terraform.write("main.tf", &(kept + &other)).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    assert_eq!(uploaded(host), Vec::<String>::new(), "its time is over");
    terraform.destroy(&[]).unwrap().expect_success();
    assert_eq!(volumes(host, "default"), Vec::<String>::new());
}

/// Thin LVM is looked for, and where the kernel has none that is said: what labyard does with logical volumes is then
/// shown by its unit tests alone.
#[test]
fn disks_lie_on_logical_volumes_where_the_machine_has_a_device_mapper() {
    let loop_device = Command::new("losetup").arg("--find").output();
    let mapper = std::path::Path::new("/dev/mapper/control").exists()
        && Command::new("dmsetup")
            .arg("version")
            .output()
            .is_ok_and(|out| out.status.success());
    if !mapper || !loop_device.is_ok_and(|out| out.status.success()) {
        eprintln!(
            "SKIPPED (not on this kernel): no device mapper (no /dev/mapper/control): disks on LVM did not run"
        );
        return;
    }
    let files = TempDir::new().unwrap();
    let backing = files.path().join("pv");
    std::fs::File::create(&backing)
        .unwrap()
        .set_len(256 << 20)
        .unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let out = Command::new(program).args(arguments).output().unwrap();
        assert!(
            out.status.success(),
            "{program}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    let device = run("losetup", &["--find", "--show", &backing.display().to_string()]);
    let group = format!("labyard{}", std::process::id());
    run("vgcreate", &[&group, &device]);
    let host = &Host::start().unwrap();
    host.virsh(&[
        "pool-define-as",
        "vg",
        "logical",
        "--source-name",
        &group,
        "--target",
        &format!("/dev/{group}"),
    ])
    .unwrap();
    host.virsh(&["pool-start", "vg"]).unwrap();
    let image = write_image(&files.path().join("image.qcow2"), 50_000).unwrap();
    let disks = format!("root = {{ image = {{ source = {image:?} }}, storage_pool = \"vg\" }}");
    let terraform = Terraform::new().unwrap();
    terraform
        .write("main.tf", &(hcl::on(host) + &stopped("web", &disks)))
        .unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    terraform.plan(&[]).unwrap().expect_empty();
    terraform.destroy(&[]).unwrap().expect_success();
    drop(run("vgremove", &["-f", &group]));
    drop(run("losetup", &["--detach", &device]));
}
