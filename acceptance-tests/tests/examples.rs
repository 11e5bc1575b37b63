//! The examples as they stand in their folders: each is validated, planned on a host, and made there, with a small image
//! in place of the one that would be downloaded. Modules and workflows have tests of their own.

use labyard_acceptance_tests::assets::GuestFiles;
use labyard_acceptance_tests::daemon::Daemon;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::kept::Kept;
use labyard_acceptance_tests::receiver::Ipam;
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::simulated::Simulated;
use labyard_acceptance_tests::{Guest, Terraform, hcl};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);
const IMAGE: &str =
    "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2";
/// Every folder with a configuration, but modules: one that is new gets a test below.
const FOLDERS: [&str; 15] = [
    "daemon",
    "data-sources/labyard_access_code",
    "data-sources/labyard_host",
    "data-sources/labyard_network",
    "data-sources/labyard_vm",
    "data-sources/labyard_vm_pool",
    "edge-node",
    "ephemeral-resources/labyard_access_code",
    "hooks/ipam",
    "provider",
    "quick-start",
    "resources/labyard_access_code",
    "resources/labyard_network",
    "resources/labyard_vm",
    "resources/labyard_vm_pool",
];

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn folders(below: &Path, found: &mut Vec<String>) {
    let files: Vec<_> = std::fs::read_dir(below)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    if files
        .iter()
        .any(|path| path.extension().is_some_and(|end| end == "tf"))
    {
        let name = below.strip_prefix(examples()).unwrap();
        found.push(name.display().to_string());
    }
    for folder in files
        .iter()
        .filter(|path| path.is_dir() && !path.ends_with("modules"))
    {
        folders(folder, found);
    }
}

/// A working directory with an example's configuration, in which some texts are others.
fn example<'h>(name: &str, replaced: &[(&str, &str)]) -> Terraform<'h> {
    let terraform = Terraform::new().unwrap();
    let mut whole = String::new();
    for entry in std::fs::read_dir(examples().join(name)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "tf") {
            continue;
        }
        let mut text = std::fs::read_to_string(&path).unwrap();
        for (from, to) in replaced {
            assert!(text.contains(from), "{} has no {from}", path.display());
            text = text.replace(from, to);
        }
        terraform
            .write(path.file_name().unwrap().to_str().unwrap(), &text)
            .unwrap();
        whole += &text;
    }
    // The pages show resources alone: whoever copies one has this elsewhere.
    if !whole.contains("required_providers") {
        terraform
            .write(
                "versions.tf",
                "terraform {\n  required_providers {\n    labyard = { source = \"labyard/labyard\" }\n  }\n}\n",
            )
            .unwrap();
    }
    terraform
}

/// Says where a host is. An override takes the attribute's place and leaves the rest of the provider's block.
fn put_on(terraform: &Terraform<'_>, name: &str, host: &Host, more: &str) {
    let uri = host.uri();
    let hosts = format!("hosts = {{ {name} = {{ libvirt = {{ uri = {uri:?}, accelerator = \"qemu\" }} }} }}");
    let has_block = std::fs::read_dir(terraform.directory())
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default())
        .any(|text| text.contains("provider \"labyard\""));
    let file = if has_block { "here_override.tf" } else { "here.tf" };
    terraform
        .write(file, &format!("provider \"labyard\" {{\n  {hosts}\n}}\n"))
        .unwrap();
    if !more.is_empty() {
        terraform.write("more_override.tf", more).unwrap();
    }
}

/// A user's home with a key where the quick start looks for it.
fn home_with(key: &KeyPair) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".ssh")).unwrap();
    std::fs::write(home.path().join(".ssh/id_ed25519.pub"), &key.public).unwrap();
    home
}

fn bootable() -> String {
    format!("file:{}", GuestFiles::get().bootable().display())
}

fn output(terraform: &Terraform<'_>, name: &str) -> Value {
    terraform.state().unwrap()["values"]["outputs"][name]["value"].clone()
}

fn apply(terraform: &Terraform<'_>) {
    terraform.apply(&[]).unwrap().expect_success();
    terraform.assert_settled();
}

/// Runs the command of an `import.sh` in a state that has forgotten the object: it comes back as it was written.
fn import_as_shown(terraform: &Terraform<'_>, folder: &str) {
    let script = std::fs::read_to_string(examples().join(folder).join("import.sh")).unwrap();
    let command = script
        .lines()
        .find(|line| line.starts_with("terraform "))
        .unwrap();
    let words: Vec<_> = command.split_whitespace().skip(1).collect();
    let address = words[1];
    let before = terraform.resource(address);
    terraform.run(&["state", "rm", address]).unwrap().expect_success();
    terraform.run(&words).unwrap().expect_success();
    assert_eq!(terraform.resource(address), before);
    terraform.assert_settled();
}

#[test]
fn every_example_is_known_here_and_is_valid() {
    let mut found = Vec::new();
    folders(&examples(), &mut found);
    found.sort();
    assert_eq!(found, FOLDERS);
    let home = home_with(&KeyPair::generate().unwrap());
    for folder in FOLDERS {
        let mut terraform = example(folder, &[]);
        terraform.env("HOME", &home.path().display().to_string());
        let run = terraform.run(&["validate", "-no-color"]).unwrap();
        assert!(run.succeeded(), "{folder}:\n{}", run.text());
    }
}

#[test]
fn the_quick_start_makes_a_machine_that_lets_its_user_in() {
    let host = Host::start().unwrap();
    let begun = host.inventory().unwrap();
    let key = KeyPair::generate().unwrap();
    let home = home_with(&key);
    let mut terraform = example("quick-start", &[(IMAGE, &bootable())]);
    terraform.env("HOME", &home.path().display().to_string());
    put_on(&terraform, "default", &host, "");
    apply(&terraform);
    let address = output(&terraform, "ip");
    let guest = Guest::at(&host, address.as_str().unwrap(), &key);
    guest.wait_for_ssh(SOON).unwrap();
    assert_eq!(guest.host_name().unwrap(), "web");
    terraform.destroyed();
    host.assert_as(&begun);
}

#[test]
fn the_ipams_example_hands_out_an_address_and_takes_it_back() {
    let host = Host::start().unwrap();
    let begun = host.inventory().unwrap();
    let terraform = example("hooks/ipam", &[(IMAGE, &bootable())]);
    let key = terraform.directory().join("hook.key");
    std::fs::write(&key, "correct horse\n").unwrap();
    let ipam = Ipam::start(terraform.directory(), &key);
    let main = terraform.directory().join("main.tf");
    let text = std::fs::read_to_string(&main).unwrap();
    let shown = "\"http://127.0.0.1:8053/hook\"";
    assert!(text.contains(shown), "{text}");
    std::fs::write(&main, text.replace(shown, &format!("{:?}", ipam.url()))).unwrap();
    put_on(&terraform, "default", &host, "");
    apply(&terraform);
    assert_eq!(output(&terraform, "ip"), "10.77.0.10");
    assert_eq!(ipam.held(), ["10.77.0.10"]);
    let mac = terraform.resource("labyard_vm.web")["macs"]["lan"].clone();
    assert_eq!(
        host.lease("lab", mac.as_str().unwrap()).unwrap().as_deref(),
        Some("10.77.0.10"),
        "the guest has it"
    );
    terraform.destroyed();
    assert_eq!(ipam.held(), [""; 0]);
    host.assert_as(&begun);
}

#[test]
fn the_resources_pages_are_made_and_imported_as_they_show() {
    let host = Host::start().unwrap();
    let begun = host.inventory().unwrap();
    let networks = example("resources/labyard_network", &[]);
    put_on(&networks, "default", &host, "");
    apply(&networks);
    import_as_shown(&networks, "resources/labyard_network");
    networks.destroyed();
    host.assert_as(&begun);

    let mut machine = example("resources/labyard_vm", &[(IMAGE, &bootable())]);
    machine.env("TF_VAR_ssh_public_key", &KeyPair::generate().unwrap().public);
    let stopped = "resource \"labyard_vm\" \"web\" {\n  power = \"stopped\"\n}\n";
    put_on(&machine, "default", &host, stopped);
    apply(&machine);
    let address = output(&machine, "address");
    assert!(address.as_str().unwrap().starts_with("10.77.0."), "{address}");
    import_as_shown(&machine, "resources/labyard_vm");
    machine.destroyed();
    host.assert_as(&begun);

    let mut node = example("edge-node", &[]);
    let authority = std::fs::read_to_string(examples().join("modules/edge-node/tests/ca.pem")).unwrap();
    node.env("TF_VAR_ca_certificate", &authority);
    node.env("TF_VAR_boot_url", "https://10.98.0.1/installer.efi");
    put_on(&node, "default", &host, "");
    let plan = node.plan(&[]).unwrap().expect_success();
    for address in ["labyard_network.edge", "labyard_vm.node"] {
        assert_eq!(plan.actions(address), ["create"], "{}", plan.run().text());
    }
    host.assert_as(&begun);
}

#[test]
fn the_codes_pages_are_made_imported_read_and_handed_on() {
    let host = Host::start().unwrap();
    let begun = host.inventory().unwrap();
    let kept = Kept::sqlite();
    let mut codes = example("resources/labyard_access_code", &[]);
    codes.env("LABYARD_STORE", &kept.place());
    apply(&codes);
    assert_eq!(output(&codes, "exam_codes").as_object().unwrap().len(), 12);
    import_as_shown(&codes, "resources/labyard_access_code");
    let mut read = example("data-sources/labyard_access_code", &[]);
    read.env("LABYARD_STORE", &kept.place());
    read.apply(&[]).unwrap().expect_success();
    assert_eq!(output(&read, "class"), "used 0 times, claims: {}");
    let mut mailer = example("ephemeral-resources/labyard_access_code", &[]);
    mailer.env("LABYARD_STORE", &kept.place());
    put_on(&mailer, "default", &host, "");
    apply(&mailer);
    let code = codes.resource("labyard_access_code.class")["codes"]["main"].clone();
    assert!(!mailer.state_text().contains(code.as_str().unwrap()));
    mailer.destroyed();
    codes.destroyed();
    host.assert_as(&begun);
}

#[test]
fn the_pools_pages_are_kept_imported_and_read() {
    let host = Host::start().unwrap();
    let begun = host.inventory().unwrap();
    let kept = Kept::sqlite();
    let mut pools = example("resources/labyard_vm_pool", &[(IMAGE, &bootable())]);
    pools.env("LABYARD_STORE", &kept.place());
    // Machines of pools are another test's.
    let none = "resource \"labyard_vm_pool\" \"k8s\" {\n  ready = 0\n}\n";
    put_on(&pools, "default", &host, none);
    apply(&pools);
    import_as_shown(&pools, "resources/labyard_vm_pool");
    let mut read = example("data-sources/labyard_vm_pool", &[]);
    read.env("LABYARD_STORE", &kept.place());
    read.apply(&[]).unwrap().expect_success();
    assert_eq!(output(&read, "k8s"), "settled: 0 free, 0 waited for");
    pools.destroyed();
    host.assert_as(&begun);
}

#[test]
fn a_daemons_pool_and_code_are_made_through_it_and_taken_away() {
    let (kept, host) = (Kept::sqlite(), Simulated::start());
    let files = format!(
        "image_directories = [{:?}]",
        GuestFiles::get().disk().parent().unwrap().display().to_string()
    );
    let daemon = Daemon::start(&kept.place(), &host.hosts(), &files);
    let mut terraform = example(
        "daemon",
        &[
            (IMAGE, &bootable()),
            ("https://labyard.example:7443", daemon.url()),
        ],
    );
    terraform.env("LABYARD_TOKEN", daemon.token());
    apply(&terraform);
    assert_eq!(host.machines().len(), 3);
    terraform.destroyed();
    assert!(host.machines().is_empty());
}

#[test]
fn the_providers_and_the_data_sources_pages_read_what_stands() {
    let host = Host::start().unwrap();
    let begun = host.inventory().unwrap();
    let stands = Terraform::new().unwrap();
    let body =
        "memory_mib = 64\n  power = \"stopped\"\n  nics = { lan = { network = labyard_network.lab.name } }";
    stands.applied(&(hcl::on(&host) + &hcl::network("lab", 77) + &hcl::machine("web-01", body)));
    let read = |folder: &str, name: &str| {
        let terraform = example(folder, &[]);
        put_on(&terraform, "lab1", &host, "");
        terraform.apply(&[]).unwrap().expect_success();
        output(&terraform, name)
    };
    let room = read("data-sources/labyard_host", "room");
    assert!(
        room["memory_mib"].as_u64() > Some(0) && room["disks_mib"].as_u64() > Some(0),
        "{room}"
    );
    assert_eq!(read("data-sources/labyard_network", "leases"), json!({}));
    assert_eq!(read("data-sources/labyard_vm", "addresses"), json!([]));

    // Of several hosts the one is asked that a machine is to be on; the others need not be there.
    let first = format!(
        "lab1 = {{ libvirt = {{ uri = {:?}, accelerator = \"qemu\" }} }}",
        host.uri()
    );
    let shown = "lab1 = { libvirt = { uri = \"qemu:///system\" } }";
    let provider = example("provider", &[(shown, &first)]);
    let machine = hcl::machine("one", "host = \"lab1\"\n  memory_mib = 64\n  power = \"stopped\"");
    provider.write("one.tf", &machine).unwrap();
    apply(&provider);
    let names: Vec<_> = host.observer().unwrap().domains().unwrap();
    let names: Vec<_> = names.iter().map(|domain| domain.name.as_str()).collect();
    assert_eq!(names, ["class-a.one", "web-01"]);
    provider.destroyed();
    stands.destroyed();
    host.assert_as(&begun);
}
