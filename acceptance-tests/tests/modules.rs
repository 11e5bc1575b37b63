//! The modules below `examples/modules`, as infrastructure repositories use them: their own tests, several of one by
//! `for_each`, on hosts behind two provider aliases, and on a host whose URI another resource computes.

use labyard_acceptance_tests::assets::GuestFiles;
use labyard_acceptance_tests::command::output_of;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::inventory::Inventory;
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::wait::{Look, until};
use labyard_acceptance_tests::{HarnessError, Terraform};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

const REQUIRED: &str =
    "terraform {\n  required_providers {\n    labyard = { source = \"labyard/labyard\" }\n  }\n}\n";

fn modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/modules")
}

/// Copies what is under version control of a module: neither state nor what Terraform keeps beside it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, into) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() && entry.file_name() != ".terraform" {
            copy(&path, &into);
        } else if path.is_file() && !into.to_string_lossy().ends_with(".auto.tfvars") {
            std::fs::copy(&path, &into).unwrap();
        }
    }
}

/// An empty directory with both modules beside the configuration.
fn with_modules<'h>() -> Terraform<'h> {
    let terraform = Terraform::new().unwrap();
    copy(&modules(), &terraform.directory().join("modules"));
    terraform
}

fn provider(alias: &str, host_name: &str, uri: &str) -> String {
    format!(
        "provider \"labyard\" {{\n{alias}  hosts = {{ {host_name} = {{ libvirt = {{ uri = {uri}, accelerator = \"qemu\" }} }} }}\n}}\n"
    )
}

fn output(terraform: &Terraform<'_>, name: &str) -> Value {
    terraform.state().unwrap()["values"]["outputs"][name]["value"].clone()
}

#[track_caller]
fn assert_settled(terraform: &Terraform<'_>) {
    terraform.plan(&[]).unwrap().expect_empty();
    terraform.plan(&["-refresh-only"]).unwrap().expect_empty();
}

#[track_caller]
fn assert_as_before(host: &Host, before: &Inventory) {
    let changes = before.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "left over or lost:\n{changes}");
}

#[test]
fn every_input_and_output_of_a_module_stands_in_its_readme() {
    for module in ["classroom", "edge-node", "test-rig"] {
        let read = |name: &str| std::fs::read_to_string(modules().join(module).join(name)).unwrap();
        let readme = read("README.md");
        for (file, head) in [("variables.tf", "variable \""), ("outputs.tf", "output \"")] {
            let text = read(file);
            let blocks = text.lines().filter_map(|line| line.strip_prefix(head));
            let names: Vec<_> = blocks.filter_map(|rest| rest.split('"').next()).collect();
            assert!(!names.is_empty(), "{module}/{file}");
            for name in names {
                assert!(
                    readme.contains(&format!("\n| `{name}` |")),
                    "{module}/README.md says nothing of {name}"
                );
            }
        }
    }
}

/// Runs the tests that a module brings along.
fn run_own_tests(module: &str) {
    let host = Host::start().unwrap();
    let before = host.inventory().unwrap();
    let terraform = Terraform::new().unwrap();
    copy(&modules().join(module), terraform.directory());
    let image = || format!("image = \"file:{}\"\n", GuestFiles::get().disk().display());
    let here = format!(
        "libvirt_uri = {:?}\naccelerator = \"qemu\"\n{}",
        host.uri(),
        match module {
            "test-rig" => image(),
            "classroom" => {
                let store = terraform.directory().join("course.db");
                format!("{}store = {:?}\n", image(), store.display().to_string())
            }
            _ => String::new(),
        }
    );
    terraform.write("tests/here.auto.tfvars", &here).unwrap();
    terraform.run(&["get"]).unwrap().expect_success();
    terraform
        .run(&["validate", "-no-color"])
        .unwrap()
        .expect_success();
    let run = terraform.run(&["test", "-no-color"]).unwrap().expect_success();
    assert!(run.text().contains(" passed, 0 failed"), "{}", run.text());
    assert_as_before(&host, &before);
}

#[test]
fn the_classrooms_own_tests_pass_on_a_real_host() {
    run_own_tests("classroom");
}

#[test]
fn the_edge_nodes_own_tests_pass_on_a_real_host() {
    run_own_tests("edge-node");
}

#[test]
fn the_test_rigs_own_tests_pass_on_a_real_host() {
    run_own_tests("test-rig");
}

/// Two rigs of one call on one host, a third by another alias on another, and nodes on a rig's network.
fn fleet(one: &Host, two: &Host, rigs: &str) -> String {
    let image = format!("file:{}", GuestFiles::get().disk().display());
    let call = |name: &str, more: &str| {
        format!(
            "module {name:?} {{
  source   = \"./modules/test-rig\"
  images   = {{ tiny = {{ source = {image:?}, user = \"root\" }} }}
  power    = \"stopped\"
{more}}}\n"
        )
    };
    let near = call(
        "near",
        &format!(
            "  for_each  = {rigs}
  providers = {{ labyard = labyard.one }}
  name      = each.key
  cidr      = \"10.${{each.value}}.0.0/24\"
  machines  = {{ for number in range(3, 5) : \"m${{number}}\" => {{ image = \"tiny\", memory_mib = 64, host_number = number }} }}
"
        ),
    );
    // The same names as on the other host, and nothing to do with them.
    let far = call(
        "far",
        "  providers = { labyard = labyard.two }
  name      = \"red\"
  machines  = { m3 = { image = \"tiny\", memory_mib = 64 } }
  jump_host = { image = \"tiny\", memory_mib = 64, outer_network = labyard_network.outer.name }
",
    );
    let nodes = "module \"node\" {
  source           = \"./modules/edge-node\"
  for_each         = toset([\"a\", \"b\"])
  providers        = { labyard = labyard.one }
  name             = \"node-${each.key}\"
  existing_network = { name = module.near[\"red\"].network.name }
  memory_mib       = 256
  tpm              = false
  disks            = { root = { size_gib = 1 } }
  power            = \"stopped\"
}
resource \"labyard_network\" \"outer\" {
  provider = labyard.two
  name     = \"outer\"
  mode     = \"nat\"
  ipv4     = { cidr = \"10.74.0.0/24\", dhcp = { start = \"10.74.0.100\", end = \"10.74.0.200\" } }
}
output \"near\" {
  value = { for name, rig in module.near : name => rig.machines }
}
output \"far\" {
  value = { machines = module.far.machines, jump_host = module.far.jump_host }
}
output \"nodes\" {
  value = { for key, node in module.node : key => node.address }
}
";
    let providers = [("one", "lab1", one), ("two", "lab2", two)].map(|(alias, name, host)| {
        provider(
            &format!("  alias = {alias:?}\n"),
            name,
            &format!("{:?}", host.uri()),
        )
    });
    REQUIRED.to_owned() + &providers.concat() + &near + &far + nodes
}

#[test]
fn modules_are_used_by_for_each_and_from_two_aliases_side_by_side() {
    let (one, two) = (Host::start().unwrap(), Host::start().unwrap());
    let before = [&one, &two].map(|host| host.inventory().unwrap());
    let terraform = with_modules();
    let both = "{ red = 71, blue = 72 }";
    terraform.write("main.tf", &fleet(&one, &two, both)).unwrap();
    terraform.run(&["get"]).unwrap().expect_success();
    terraform.apply(&[]).unwrap().expect_success();
    assert_settled(&terraform);

    let near = output(&terraform, "near");
    assert_eq!(near["red"]["m3"]["address"], "10.71.0.3");
    assert_eq!(near["blue"]["m4"]["address"], "10.72.0.4");
    let far = output(&terraform, "far");
    assert_eq!(far["machines"]["m3"]["host"], "lab2");
    assert_eq!(far["machines"]["m3"]["name"], near["red"]["m3"]["name"]);
    assert_ne!(far["machines"]["m3"]["mac"], near["red"]["m3"]["mac"]);
    let outer = far["jump_host"]["address"].as_str().unwrap();
    assert!(outer.starts_with("10.74.0."), "{outer}");
    let nodes = output(&terraform, "nodes");
    assert!(nodes["a"].as_str().unwrap().starts_with("10.71.0."), "{nodes}");
    let names = |host: &Host| {
        let domains = host.observer().unwrap().domains().unwrap();
        let mut names: Vec<_> = domains.into_iter().map(|domain| domain.name).collect();
        names.sort();
        names
    };
    assert_eq!(
        names(&one),
        ["blue-m3", "blue-m4", "node-a", "node-b", "red-m3", "red-m4"]
    );
    assert_eq!(names(&two), ["red-jump", "red-m3"]);

    // One rig less: the others are who they were.
    terraform
        .write("main.tf", &fleet(&one, &two, "{ red = 71 }"))
        .unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    assert_settled(&terraform);
    assert_eq!(output(&terraform, "near"), json!({ "red": near["red"] }));
    assert_eq!(names(&one), ["node-a", "node-b", "red-m3", "red-m4"]);

    terraform.destroy(&[]).unwrap().expect_success();
    assert_as_before(&one, &before[0]);
    assert_as_before(&two, &before[1]);
}

#[test]
fn a_rig_on_a_host_that_is_known_late_comes_in_one_go_and_lets_in_through_its_jump_host() {
    let host = Host::start().unwrap();
    let before = host.inventory().unwrap();
    let key = KeyPair::generate().unwrap();
    let terraform = with_modules();
    let image = format!("file:{}", GuestFiles::get().bootable().display());
    // Everything that others would compute is unknown in the plan: where the host is, who is let in, what a guest is
    // told, which network a node is on.
    let config = format!(
        "{REQUIRED}resource \"terraform_data\" \"late\" {{
  input = {{ uri = {uri:?}, key = {public:?}, network = \"outer\", user_data = \"#cloud-config\\n# late\\n\" }}
}}
{provider}resource \"labyard_network\" \"outer\" {{
  name = \"outer\"
  mode = \"nat\"
  ipv4 = {{ cidr = \"10.76.0.0/24\", dhcp = {{ start = \"10.76.0.100\", end = \"10.76.0.200\" }} }}
}}
module \"rig\" {{
  source              = \"./modules/test-rig\"
  name                = \"rig\"
  cidr                = \"10.75.0.0/24\"
  images              = {{ tiny = {{ source = {image:?}, user = \"root\" }} }}
  ssh_authorized_keys = [terraform_data.late.output.key]
  machines            = {{ web = {{ image = \"tiny\", memory_mib = 128, user_data = terraform_data.late.output.user_data }} }}
  jump_host           = {{ image = \"tiny\", memory_mib = 256, outer_network = labyard_network.outer.name }}
}}
module \"node\" {{
  source           = \"./modules/edge-node\"
  name             = \"node\"
  memory_mib       = 256
  power            = \"stopped\"
  existing_network = {{ name = terraform_data.late.output.network }}
  depends_on       = [labyard_network.outer]
}}
output \"ssh_config\" {{
  value = module.rig.ssh_config
}}
output \"node\" {{
  value = module.node.address
}}
",
        uri = host.uri(),
        public = key.public,
        provider = provider("", "late", "terraform_data.late.output.uri"),
    );
    terraform.write("main.tf", &config).unwrap();
    terraform.run(&["get"]).unwrap().expect_success();
    terraform.apply(&[]).unwrap().expect_success();
    assert_settled(&terraform);
    let node = output(&terraform, "node");
    assert!(node.as_str().unwrap().starts_with("10.76.0."), "{node}");

    // As a person would: the snippet in a file, the machine by its name.
    let file = terraform.directory().join("ssh_config");
    let lines = output(&terraform, "ssh_config");
    let lines = lines.as_str().unwrap();
    assert!(
        lines.contains("Host rig-web\n") && lines.contains("ProxyJump rig-jump\n"),
        "{lines}"
    );
    // What a person has for all machines: the key; these guests come anew with each test.
    let all = format!(
        "Host *\n  IdentityFile {}\n  BatchMode yes\n  ConnectTimeout 5\n  LogLevel ERROR\n  StrictHostKeyChecking no\n  \
         UserKnownHostsFile /dev/null\n",
        key.private().display()
    );
    std::fs::write(&file, format!("{lines}\n{all}")).unwrap();
    let said_by = |machine: &str| {
        until(&format!("SSH to {machine}"), Duration::from_secs(60), || {
            let mut ssh = host.command("ssh");
            ssh.arg("-F").arg(&file);
            let asked = "hostname; ip -o -4 address; echo \"from $SSH_CLIENT$SSH_CONNECTION\"";
            match output_of(ssh.args([machine, asked])) {
                Ok(said) => Ok(Look::Holds(said)),
                Err(error @ HarnessError::Failed { .. }) => Ok(Look::NotYet(error.to_string())),
                Err(other) => Err(other),
            }
        })
        .unwrap()
    };
    let jump = said_by("rig-jump");
    assert!(jump.starts_with("rig-jump\n"), "{jump}");
    assert!(
        jump.contains("10.76.0.") && jump.contains("10.75.0.2/24"),
        "{jump}"
    );
    // Nothing but the jump host is on both networks: the machine behind it is entered from there.
    let web = said_by("rig-web");
    assert!(web.starts_with("rig-web\n"), "{web}");
    assert!(web.contains("10.75.0.") && !web.contains("10.76.0."), "{web}");
    assert!(web.contains("from 10.75.0.2 "), "{web}");

    terraform.destroy(&[]).unwrap().expect_success();
    assert_as_before(&host, &before);
}

/// A machine on a network of its own, or on the other one.
fn moving(host: &Host, own: &str, lifecycle: &str) -> String {
    let network = |label: &str, more: &str| {
        format!(
            "resource \"labyard_network\" {label:?} {{\n  name = {label:?}\n  mode = \"isolated\"\n  {more}\n}}\n"
        )
    };
    let own_network = format!("for_each = toset({own})\n  {lifecycle}");
    REQUIRED.to_owned()
        + &provider("", "lab1", &format!("{:?}", host.uri()))
        + &network("other", "")
        + &network("own", &own_network)
        + "resource \"labyard_vm\" \"node\" {
  name       = \"node\"
  memory_mib = 64
  power      = \"stopped\"
  nics       = { lan = { network = concat(values(labyard_network.own)[*].name, [labyard_network.other.name])[0] } }
}
"
}

#[test]
fn a_network_that_goes_or_comes_again_in_terraforms_order_is_explained() {
    let host = Host::start().unwrap();
    let before = host.inventory().unwrap();
    let terraform = Terraform::new().unwrap();
    let first = "lifecycle { create_before_destroy = true }";
    let apply = |own: &str, lifecycle: &str| {
        terraform
            .write("main.tf", &moving(&host, own, lifecycle))
            .unwrap();
        terraform.apply(&[]).unwrap()
    };
    apply("[\"own\"]", "").expect_success();
    // Terraform destroys the network before it moves the machine, unless it is told otherwise.
    let run = apply("[]", "").expect_failure();
    let said = &run.errors()[0].detail;
    assert!(
        said.contains("in use by node") && said.contains("create_before_destroy"),
        "{said}"
    );
    apply("[\"own\"]", first).expect_success();
    apply("[]", first).expect_success();
    assert_settled(&terraform);

    // Told so, it cannot make the network anew under its own name.
    apply("[\"own\"]", first).expect_success();
    let address = "labyard_network.own[\"own\"]";
    terraform.run(&["taint", address]).unwrap().expect_success();
    let run = apply("[\"own\"]", first).expect_failure();
    let said = &run.errors()[0].detail;
    assert!(
        said.contains("exists already") && said.contains("create_before_destroy"),
        "{said}"
    );
    terraform.run(&["untaint", address]).unwrap().expect_success();
    assert_settled(&terraform);
    terraform.destroy(&[]).unwrap().expect_success();
    assert_as_before(&host, &before);
}
