//! Placement: machines that name no host go where there is room, however many come at once; they stay there.

use labyard_acceptance_tests::host::{Daemon, Host};
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::whole::write_image;
use labyard_acceptance_tests::{Terraform, hcl};

const LIMITS: &str = "capacity = { memory_mib = 640 }";

fn provider(hosts: &[(&str, &Host, &str)]) -> String {
    let plain: Vec<_> = hosts.iter().map(|(name, host, _)| (*name, *host)).collect();
    let mut config = hcl::provider(&plain);
    for (name, _, more) in hosts {
        config = config.replace(&format!("{name} = {{ "), &format!("{name} = {{ {more}, "));
    }
    config
}

fn many(count: usize, mib: u64) -> String {
    format!(
        "resource \"labyard_vm\" \"many\" {{\n  count = {count}\n  name = \"m${{count.index}}\"\n  memory_mib = {mib}\n  power = \"stopped\"\n}}\n"
    )
}

fn machines(host: &Host) -> usize {
    host.observer().unwrap().domains().unwrap().len()
}

#[test]
fn a_machine_that_names_no_host_goes_where_the_file_of_its_image_is() {
    let hosts = [Host::start().unwrap(), Host::start().unwrap()];
    let terraform = Terraform::new().unwrap();
    // A directory that each of these hosts has for itself.
    let path = "/var/lib/libvirt/images/base.qcow2";
    let machine = hcl::machine(
        "web",
        format!(
            "memory_mib = 64\n  power = \"stopped\"\n  disks = {{ root = {{ image = {{ source = \"host:{path}\" }} }} }}"
        ),
    );
    let both = [("lab1", &hosts[0]), ("lab2", &hosts[1])];
    terraform
        .write("main.tf", &(hcl::provider(&both) + &machine))
        .unwrap();
    let refused = terraform.plan(&[]).unwrap();
    let error = &refused.run().errors()[0];
    assert_eq!(error.summary, "Image on no host");
    assert!(
        error.detail.contains("lab1") && error.detail.contains("lab2"),
        "{}",
        error.detail
    );
    let snippet = error.snippet.as_deref().unwrap_or_default();
    assert!(snippet.trim().starts_with("disks"), "points at {snippet:?}");
    shows(&["labyard_vm.disks.image.source"], Case::Refused);

    let images = hosts[1].directory().join("lib/images");
    std::fs::create_dir_all(&images).unwrap();
    write_image(&images.join("base.qcow2"), 60_000).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    assert_eq!(hosts.each_ref().map(machines), [0, 1]);
    assert_eq!(terraform.resource("labyard_vm.web")["host"], "lab2");
    terraform.assert_settled();
    terraform.destroyed();
    assert_eq!(hosts.each_ref().map(machines), [0, 0]);
}

#[test]
fn ten_machines_at_once_fill_two_hosts_and_overfill_none() {
    let hosts = [Host::start().unwrap(), Host::start().unwrap()];
    let both = |one: &str, two: &str| provider(&[("lab1", &hosts[0], one), ("lab2", &hosts[1], two)]);
    let terraform = Terraform::new().unwrap();
    let write = |text: String| terraform.write("main.tf", &text).unwrap();

    // Five of 128 MiB fit on each.
    write(both(LIMITS, LIMITS) + &many(10, 128));
    let plan = terraform.plan(&[]).unwrap().expect_success();
    assert_eq!(
        plan.known("labyard_vm.many[0]", "/host"),
        None,
        "where it goes is known when it is there"
    );
    terraform.apply(&["-parallelism=10"]).unwrap().expect_success();
    assert_eq!(hosts.each_ref().map(machines), [5, 5]);
    terraform.plan(&[]).unwrap().expect_empty();
    shows(&["labyard_vm.host"], Case::Create);

    // One more fits nowhere: an error of the plan, with the reason of each host.
    write(both(LIMITS, LIMITS) + &many(11, 128));
    let refused = terraform.plan(&[]).unwrap();
    let error = &refused.run().errors()[0];
    assert_eq!(error.summary, "No host takes the machine");
    for words in ["lab1", "lab2", "640 of 640 MiB"] {
        assert!(error.detail.contains(words), "{}", error.detail);
    }
    shows(&["labyard_vm.host"], Case::Refused);

    // A cordoned host keeps what it has and takes nothing new.
    write(both("cordoned = true", "cordoned = false") + &many(12, 128));
    terraform.apply(&[]).unwrap().expect_success();
    assert_eq!(hosts.each_ref().map(machines), [5, 7]);
    terraform.plan(&[]).unwrap().expect_empty();

    // The operator's hook chooses by label; an answer that no host fits is told as the hook's.
    terraform.destroy(&[]).unwrap().expect_success();
    let script = terraform.directory().join("choose");
    let says = |host: &str| {
        let text =
            format!("grep -q '\"tier\":\"gold\"' && echo '{{\"set\": {{\"host\": \"{host}\"}}}}' || true\n");
        std::fs::write(&script, text).unwrap();
    };
    let command = format!("command = [\"/bin/sh\", {:?}]", script.display().to_string());
    let hooked = both(LIMITS, LIMITS).replace(
        "provider \"labyard\" {",
        &format!("provider \"labyard\" {{\n  hooks = {{ \"before:placement\" = {{ {command} }} }}"),
    );
    let gold = many(3, 128).replace("power =", "labels = { tier = \"gold\" }\n  power =");
    write(hooked + &gold);
    says("lab9");
    let failed = terraform.apply(&[]).unwrap().expect_failure();
    assert!(
        failed.errors()[0]
            .text()
            .contains("the provider knows lab1, lab2"),
        "{}",
        failed.text()
    );
    assert_eq!(hosts.each_ref().map(machines), [0, 0]);
    says("lab2");
    terraform.apply(&[]).unwrap().expect_success();
    assert_eq!(hosts.each_ref().map(machines), [0, 3]);
    terraform.plan(&[]).unwrap().expect_empty();

    // A host that does not answer may hold what a killed run has begun: it is passed over, with a warning, only where
    // its operator has cordoned it, and never for a machine that it holds.
    terraform.destroy(&[]).unwrap().expect_success();
    assert_eq!(hosts.each_ref().map(machines), [0, 0]);
    hosts[0].daemon(Daemon::Kill).unwrap();
    write(both(LIMITS, LIMITS) + &many(2, 128));
    let refused = terraform.plan(&[]).unwrap();
    let error = &refused.run().errors()[0];
    assert_eq!(error.summary, "Host not readable");
    for words in ["lab1", "cordoned = true"] {
        assert!(error.detail.contains(words), "{}", error.detail);
    }
    write(both("cordoned = true", LIMITS) + &many(2, 128));
    let applied = terraform.apply(&[]).unwrap().expect_success();
    assert!(
        applied.warnings().iter().any(|w| w.summary == "Host passed over"),
        "{}",
        applied.text()
    );
    assert_eq!(machines(&hosts[1]), 2);
    hosts[0].daemon(Daemon::Start).unwrap();
    hosts[1].daemon(Daemon::Kill).unwrap();
    let silent = terraform.plan(&[]).unwrap();
    assert!(!silent.run().errors().is_empty(), "{}", silent.run().text());
    hosts[1].daemon(Daemon::Start).unwrap();

    // Its network decides too: it is on one of the two only.
    let network = "resource \"labyard_network\" \"lab\" {\n  name = \"lab\"\n  host = \"lab1\"\n  mode = \"isolated\"\n}\n";
    let wired = hcl::machine(
        "wired",
        "memory_mib = 128\n  power = \"stopped\"\n  nics = { lan = { network = labyard_network.lab.name } }",
    );
    write(both(LIMITS, LIMITS) + &many(2, 128) + network + &wired);
    terraform.apply(&[]).unwrap().expect_success();
    let state = terraform.attributes("labyard_vm.wired").unwrap().unwrap();
    assert_eq!(state["host"], "lab1");
    assert!(
        state["macs"]["lan"].is_string(),
        "derived of the host that it got"
    );
    terraform.plan(&[]).unwrap().expect_empty();
    terraform.destroy(&[]).unwrap().expect_success();
    assert_eq!(hosts.each_ref().map(machines), [0, 0]);
}
