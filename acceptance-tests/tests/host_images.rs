//! Images that lie on the hypervisor: looked for by the plan, read once for their digest, copied by the host itself, and
//! left as they are.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use labyard_acceptance_tests::command::output_of;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::whole::write_image;
use labyard_acceptance_tests::{Terraform, hcl};
use tempfile::TempDir;

fn config(host: &Host, root: &str, medium: &str) -> String {
    let machine = hcl::machine(
        "web",
        format!(
            "memory_mib = 64\n  power = \"stopped\"\n  disks = {{ root = {{ image = {{ {root} }} }} }}\n  \
             media = {{ tools = {{ image = {{ {medium} }} }} }}"
        ),
    );
    hcl::on(host) + &machine
}

fn source(path: &Path) -> String {
    format!("source = \"host:{}\"", path.display())
}

fn digest(path: &Path) -> String {
    let line = output_of(Command::new("sha256sum").arg(path)).unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

/// What would show that somebody touched a file.
fn trace(path: &Path) -> (u64, u64, i64, i64) {
    let of = std::fs::metadata(path).unwrap();
    (of.ino(), of.size(), of.mtime_nsec(), of.ctime_nsec())
}

fn pools(host: &Host) -> String {
    host.virsh(&["pool-list", "--all", "--name"]).unwrap()
}

struct Files {
    directory: TempDir,
    root: PathBuf,
    one: PathBuf,
    two: PathBuf,
}

fn files() -> Files {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    write_image(&at("root.qcow2"), 200_000).unwrap();
    std::fs::write(at("one.iso"), [1; 70_001]).unwrap();
    std::fs::write(at("two.iso"), [2; 4096]).unwrap();
    let below = format!("{}", at("root.qcow2").display());
    let overlay = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", &below];
    output_of(Command::new("qemu-img").args(overlay).arg(at("overlay.qcow2"))).unwrap();
    Files {
        root: at("root.qcow2"),
        one: at("one.iso"),
        two: at("two.iso"),
        directory,
    }
}

#[test]
fn an_image_of_the_host_is_copied_there_pinned_and_left_as_it_is() {
    let host = &Host::start().unwrap();
    let (empty, before) = (host.inventory().unwrap(), pools(host));
    let files = files();
    let traces = || [&files.root, &files.one, &files.two].map(|path| trace(path));
    let untouched = traces();
    let terraform = Terraform::new().unwrap();
    let write = |root: &str, medium: &str| terraform.write("main.tf", &config(host, root, medium)).unwrap();

    write(&source(&files.root), &source(&files.one));
    terraform.apply(&[]).unwrap().expect_success();
    let state = terraform.attributes("labyard_vm.web").unwrap().unwrap();
    assert_eq!(state["image_digests"]["root"], digest(&files.root));
    assert_eq!(state["media_digests"]["tools"], digest(&files.one));
    terraform.plan(&[]).unwrap().expect_empty();
    terraform.plan(&["-refresh-only"]).unwrap().expect_empty();
    assert_eq!(pools(host), before);
    let volumes = host.observer().unwrap().volumes("default").unwrap();
    let names: Vec<_> = volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(
        names
            .iter()
            .filter(|name| name.starts_with("labyard-image."))
            .count(),
        4,
        "{names:?}"
    );
    // Named by chance: of the data volumes, the disk's is the one that is no ISO.
    let is_disk = |path: &PathBuf| std::fs::read(path).unwrap().starts_with(b"QFI\xfb");
    let data = names.iter().filter(|name| name.len() == 46);
    let mut images = data.map(|name| host.pool_directory().join(name)).filter(is_disk);
    let image = images.next().expect("the disk's image");
    output_of(Command::new("qemu-img").args(["check", "-q"]).arg(image)).unwrap();
    shows(
        &["labyard_vm.disks.image.source", "labyard_vm.media.image.source"],
        Case::Create,
    );

    // Another file in the drive is another medium, in place.
    write(&source(&files.root), &source(&files.two));
    let plan = terraform.plan(&[]).unwrap().expect_success();
    assert_eq!(plan.actions("labyard_vm.web"), ["update"]);
    terraform.apply(&[]).unwrap().expect_success();
    let state = terraform.attributes("labyard_vm.web").unwrap().unwrap();
    assert_eq!(state["media_digests"]["tools"], digest(&files.two));
    terraform.plan(&[]).unwrap().expect_empty();
    shows(&["labyard_vm.media.image.source"], Case::Update);

    terraform.take_up("labyard_vm.web", "lab1/web");
    terraform.plan(&[]).unwrap().expect_empty();
    shows(
        &["labyard_vm.disks.image.source", "labyard_vm.media.image.source"],
        Case::Import,
    );

    assert_eq!(traces(), untouched);
    terraform.destroy(&[]).unwrap().expect_success();
    assert_eq!(traces(), untouched);
    assert_eq!(host.inventory().unwrap(), empty);
    assert_eq!(pools(host), before);
}

#[test]
fn what_the_host_does_not_have_is_refused_at_plan_and_what_is_not_the_image_when_it_is_read() {
    let host = &Host::start().unwrap();
    let (empty, before) = (host.inventory().unwrap(), pools(host));
    let files = files();
    let in_files = |name: &str| files.directory.path().join(name);
    let terraform = Terraform::new().unwrap();
    for (root, words) in [
        (source(&in_files("gone.img")), ["no file", "file:"]),
        (source(Path::new("/nowhere/at/all.img")), ["no file", "file:"]),
        (source(files.directory.path()), ["directory", "cannot be read"]),
        (
            "source = \"host:images/a.img\"".to_owned(),
            ["whole path", "host:"],
        ),
    ] {
        terraform
            .write("main.tf", &config(host, &root, &source(&files.one)))
            .unwrap();
        let plan = terraform.plan(&[]).unwrap();
        let errors = plan.run().errors();
        let said = errors
            .iter()
            .find(|error| words.iter().all(|word| error.text().contains(word)));
        assert!(said.is_some(), "no {words:?} in:\n{}", plan.run().text());
    }
    shows(&["labyard_vm.disks.image.source"], Case::Refused);

    let wrong = format!("{}, sha256 = \"{}\"", source(&files.root), digest(&files.one));
    for (root, word) in [
        (wrong, "SHA-256"),
        (source(&in_files("overlay.qcow2")), "backing"),
    ] {
        terraform
            .write("main.tf", &config(host, &root, &source(&files.one)))
            .unwrap();
        let run = terraform.apply(&[]).unwrap().expect_failure();
        assert!(
            run.errors().iter().any(|error| error.text().contains(word)),
            "{}",
            run.text()
        );
        terraform.destroy(&[]).unwrap().expect_success();
        assert_eq!(host.inventory().unwrap(), empty);
        assert_eq!(pools(host), before);
    }
}
