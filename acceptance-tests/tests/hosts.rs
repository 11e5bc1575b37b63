//! Hosts and namespaces: several of them side by side, hosts that are known late, and hosts that cannot be used.

use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::{Terraform, hcl};
use serde_json::Value;
use std::time::Duration;

const STOPPED: &str = "memory_mib = 64\n  power = \"stopped\"";

fn on_host(label: &str, host: &str) -> String {
    let body = |more: &str| format!("name = \"twin\"\n  host = {host:?}\n  {more}");
    let machine = body(&format!(
        "{STOPPED}\n  nics = {{ lan = {{ network = labyard_network.{label}.name }} }}\n  disks = {{ data = {{ size_gib = 1 }} }}"
    ));
    format!(
        "resource \"labyard_network\" \"{label}\" {{\n  {}\n}}\nresource \"labyard_vm\" \"{label}\" {{\n  {machine}\n}}\n",
        body("mode = \"isolated\"")
    )
}

#[test]
fn one_configuration_keeps_machines_of_the_same_name_on_two_hosts() {
    let hosts = [Host::start().unwrap(), Host::start().unwrap()];
    let empty = hosts.each_ref().map(|host| host.inventory().unwrap());
    let provider = hcl::provider(&[("lab1", &hosts[0]), ("lab2", &hosts[1])]);
    let terraform = Terraform::new().unwrap();
    let config = provider.clone() + &on_host("one", "lab1") + &on_host("two", "lab2");
    terraform.write("main.tf", &config).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    terraform.plan(&[]).unwrap().expect_empty();
    for host in &hosts {
        let observer = host.observer().unwrap();
        assert_eq!(observer.domains().unwrap().len(), 1);
        assert_eq!(observer.domains().unwrap()[0].name, "twin");
        assert_eq!(observer.networks().unwrap().len(), 1);
    }
    let mac = |label: &str| {
        terraform
            .attributes(&format!("labyard_vm.{label}"))
            .unwrap()
            .unwrap()["macs"]["lan"]
            .clone()
    };
    assert_ne!(mac("one"), mac("two"), "MACs are derived from the host's own id");

    terraform
        .write(
            "main.tf",
            &(config.clone() + &hcl::resource("labyard_network", "nowhere", "mode = \"isolated\"")),
        )
        .unwrap();
    let refused = terraform.plan(&[]).unwrap();
    let error = &refused.run().errors()[0];
    assert_eq!(error.summary, "Missing host");
    assert!(error.detail.contains("lab1, lab2"), "{}", error.detail);
    let elsewhere = hcl::machine("elsewhere", format!("host = \"lab9\"\n  {STOPPED}"));
    terraform.write("main.tf", &(config + &elsewhere)).unwrap();
    let refused = terraform.plan(&[]).unwrap();
    let error = &refused.run().errors()[0];
    assert!(
        error.detail.contains("lab9") && error.detail.contains("lab1, lab2"),
        "{}",
        error.detail
    );

    // From one host to the other: a replacement, never both.
    let moved = on_host("one", "lab2").replace("\"twin\"", "\"moved\"");
    let moved = moved.replace("size_gib = 1", "size_gib = 1, on_remove = \"delete\"");
    terraform
        .write("main.tf", &(provider + &on_host("two", "lab2") + &moved))
        .unwrap();
    let plan = terraform.plan(&[]).unwrap();
    assert_eq!(
        plan.run().errors()[0].summary,
        "Disk would be lost",
        "{}",
        plan.run().text()
    );
    terraform.destroy(&[]).unwrap();
    terraform
        .write(
            "main.tf",
            &hcl::provider(&[("lab1", &hosts[0]), ("lab2", &hosts[1])]),
        )
        .unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    for (host, empty) in hosts.iter().zip(&empty) {
        let left = empty.changes_to(&host.inventory().unwrap());
        assert!(left.is_empty(), "left over or lost:\n{left}");
    }
}

#[test]
fn two_namespaces_on_one_host_use_the_same_names_and_touch_nothing_of_each_other() {
    let host = &Host::start().unwrap();
    let observer = host.observer().unwrap();
    let config = |namespace: &str, subnet: u8| {
        let nics = "nics = { lan = { network = labyard_network.lab.name } }";
        let disks = format!("disks = {{ root = {{ image = {} }} }}", hcl::image());
        hcl::in_namespace(namespace, host)
            + &hcl::network("lab", subnet)
            + &hcl::machine("web", format!("{STOPPED}\n  {nics}\n  {disks}"))
    };
    let [red, blue] = ["red", "blue"].map(|_| Terraform::new().unwrap());
    red.write("main.tf", &config("red", 81)).unwrap();
    blue.write("main.tf", &config("blue", 82)).unwrap();
    red.apply(&[]).unwrap().expect_success();
    let only_red = host.inventory().unwrap();
    blue.apply(&[]).unwrap().expect_success();
    red.plan(&[]).unwrap().expect_empty();
    blue.plan(&[]).unwrap().expect_empty();
    let names: Vec<_> = observer
        .domains()
        .unwrap()
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(names, ["blue.web", "red.web"]);
    blue.destroy(&[]).unwrap().expect_success();
    let changes = only_red.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "the other namespace is whole:\n{changes}");
    red.plan(&[]).unwrap().expect_empty();
    red.destroy(&[]).unwrap().expect_success();
}

#[test]
fn a_host_whose_uri_another_resource_computes_is_planned_without_contact() {
    let host = &Host::start().unwrap();
    let terraform = Terraform::new().unwrap();
    let uri = format!(
        "resource \"terraform_data\" \"uri\" {{\n  input = {:?}\n}}\n",
        host.uri()
    );
    let provider = hcl::on(host).replace(&format!("{:?}", host.uri()), "terraform_data.uri.output");
    let machine = format!("{STOPPED}\n  nics = {{ lan = {{ network = labyard_network.lab.name }} }}");
    let config = uri + &provider + &hcl::network("lab", 77) + &hcl::machine("late", machine);
    terraform.write("main.tf", &config).unwrap();
    let plan = terraform.plan(&[]).unwrap().expect_success();
    assert_eq!(plan.actions("labyard_vm.late"), ["create"]);
    assert_eq!(
        plan.known("labyard_vm.late", "/macs/lan")
            .filter(|mac| **mac != Value::Null),
        None
    );
    terraform.apply(&[]).unwrap().expect_success();
    terraform.plan(&[]).unwrap().expect_empty();
    terraform.destroy(&[]).unwrap().expect_success();
    assert!(host.observer().unwrap().domains().unwrap().is_empty());
}

#[test]
fn a_host_that_cannot_be_used_is_an_error_that_gives_the_command() {
    let host = &Host::start().unwrap();
    let machine = hcl::machine(
        "web",
        format!("{STOPPED}\n  disks = {{ data = {{ size_gib = 1 }} }}"),
    );
    let good = hcl::on(host);
    let cases = [
        (
            good.replace("libvirt-sock", "no-such-sock"),
            "systemctl start libvirtd",
        ),
        (
            good.replace("accelerator =", "storage_pool = \"fast\", accelerator ="),
            "pool-define-as fast dir",
        ),
        (good.replace("qemu:///", "xen:///"), "xen"),
    ];
    for (provider, told) in cases {
        let terraform = Terraform::new().unwrap();
        terraform.write("main.tf", &(provider + &machine)).unwrap();
        let run = terraform.apply(&[]).unwrap().expect_failure();
        assert!(
            run.errors().iter().any(|one| one.detail.contains(told)),
            "no {told:?} in:\n{}",
            run.text()
        );
        assert!(run.took() < Duration::from_secs(30), "{:?}", run.took());
        assert!(host.observer().unwrap().domains().unwrap().is_empty(), "{told}");
    }
    host.virsh(&["pool-destroy", "default"]).unwrap();
    let terraform = Terraform::new().unwrap();
    terraform.write("main.tf", &(good + &machine)).unwrap();
    let run = terraform.apply(&[]).unwrap().expect_failure();
    assert!(
        run.errors()
            .iter()
            .any(|one| one.detail.contains("pool-start default")),
        "{}",
        run.text()
    );
    host.virsh(&["pool-start", "default"]).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    // Without its pool nobody knows what is left of a machine: that is no word of it being gone.
    host.virsh(&["undefine", "web"]).unwrap();
    host.virsh(&["pool-destroy", "default"]).unwrap();
    let plan = terraform.plan(&[]).unwrap();
    assert!(!plan.run().succeeded(), "{}", plan.run().text());
    assert!(
        plan.run().errors()[0].detail.contains("pool-start default"),
        "{}",
        plan.run().text()
    );
    host.virsh(&["pool-start", "default"]).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    terraform.destroy(&[]).unwrap().expect_success();
}
