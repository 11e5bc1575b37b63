//! What machines have of their networks: fixed addresses that are nobody else's, VLANs, and guests that stay on while
//! their network goes down and up again.

use labyard_acceptance_tests::guest::Guest;
use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::observer::Description;
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::wait::{Look, until};
use serde_json::Value;

use super::traffic::Outside;
use super::{Lab, PATIENCE, assert_all_in, run, tagged};

pub(super) const CARDS: &[&str] = &[
    "labyard_vm.nics.ipv4",
    "labyard_vm.nics.ipv4.address",
    "labyard_vm.nics.ipv4.gateway",
    "labyard_vm.nics.vlan",
];

/// A stopped machine with a fixed address on `lab` and a VLAN on `tagged`.
fn fixed(name: &str, address: &str, vlan: &str) -> String {
    let body = format!(
        "memory_mib = 64
  power = \"stopped\"
  nics = {{
    lan = {{ network = labyard_network.lab.name, ipv4 = {{ address = \"{address}/24\", gateway = \"10.87.0.1\" }} }}
    vid = {{ network = labyard_network.tagged.name {vlan} }}
  }}"
    );
    hcl::machine(name, body)
}

#[test]
fn a_fixed_address_is_reserved_known_at_plan_and_nobody_elses() {
    let lab = Lab::new();
    let networks = hcl::network("lab", 87) + &tagged("br7", 42);
    lab.write(&(networks.clone() + &fixed("web", "10.87.0.10", ", vlan = 43")));
    let plan = lab.plan().expect_success();
    assert_eq!(
        plan.known("labyard_vm.web", "/ip"),
        Some(&Value::from("10.87.0.10"))
    );
    lab.apply();
    let mac = lab.attributes("labyard_vm.web")["macs"]["lan"]
        .as_str()
        .unwrap()
        .to_owned();
    let reserved = |address: &str| {
        assert_all_in(
            &lab.defined("lab"),
            &[&format!("<host mac='{mac}'"), &format!("ip='{address}'")],
        );
    };
    reserved("10.87.0.10");
    let observer = lab.host.observer().unwrap();
    let definition = || observer.domain_xml("web", Description::Persistent).unwrap();
    assert_all_in(&definition(), &["<tag id='43'/>"]);
    shows(CARDS, Case::Create);
    lab.import(&[("labyard_vm.web", "lab1/web")]);
    shows(CARDS, Case::Import);

    let two = networks.clone() + &fixed("web", "10.87.0.10", ", vlan = 43");
    lab.refused(&(two + &fixed("db", "10.87.0.10", "")), "nics", "10.87.0.10 is ");

    // Taken back by hand.
    let host = format!("<host mac='{mac}' ip='10.87.0.10'/>");
    lab.host
        .virsh(&["net-update", "lab", "delete", "ip-dhcp-host", &host, "--config"])
        .unwrap();
    lab.host
        .virsh(&[
            "detach-interface",
            "web",
            "network",
            "--mac",
            lab.attributes("labyard_vm.web")["macs"]["vid"].as_str().unwrap(),
            "--config",
        ])
        .unwrap();
    lab.write(&(networks.clone() + &fixed("web", "10.87.0.10", ", vlan = 43")));
    let plan = lab.plan().expect_success();
    assert_eq!(
        plan.change("labyard_vm.web")["before"]["nics"]["lan"]["ipv4"],
        Value::Null
    );
    lab.apply();
    reserved("10.87.0.10");
    assert_all_in(&definition(), &["<tag id='43'/>"]);
    shows(CARDS, Case::Drift);

    lab.write(&(networks + &fixed("web", "10.87.0.11", "")));
    let plan = lab.plan().expect_success();
    assert_eq!(
        plan.known("labyard_vm.web", "/ip"),
        Some(&Value::from("10.87.0.11"))
    );
    lab.apply();
    reserved("10.87.0.11");
    assert!(!lab.defined("lab").contains("10.87.0.10'"));
    assert!(!definition().contains("<tag"));
    drop(observer);
    a_vlan_counts_for_what_runs_or_the_kernel_is_blamed(&lab);
    lab.destroy();
}

/// Not every kernel filters VLANs on its bridges, and libvirt finds that out at the start.
fn a_vlan_counts_for_what_runs_or_the_kernel_is_blamed(lab: &Lab) {
    let runs = "memory_mib = 64\n  ready = { wait = \"none\" }\n  shutdown = { mode = \"force\" }\n  nics = { vid = { network = labyard_network.tagged.name } }";
    lab.write(&(hcl::network("lab", 87) + &tagged("br7", 42) + &hcl::machine("runs", runs)));
    let applied = lab.terraform.apply(&[]).unwrap();
    let filters = "test -e /sys/class/net/br7/bridge/vlan_filtering";
    let able = lab.host.command("sh").args(["-c", filters]).status().unwrap();
    if able.success() {
        applied.expect_success();
        assert_all_in(&run(&lab.host, "bridge", &["vlan"]), &["42 PVID"]);
    } else {
        let text = applied.expect_failure().text();
        assert_all_in(&text, &["CONFIG_BRIDGE_VLAN_FILTERING"]);
        // libvirt's own: a log of a machine that never ran has nothing by which it would be known as such.
        let log = lab.host.directory().join("log/qemu/runs.log");
        std::fs::remove_file(log).unwrap();
    }
}

fn reached(host: &Host, address: &str) {
    run(host, "ping", &["-c", "1", "-W", "10", address]);
}

/// A network in a mode, with a machine that has a card on it and one on a network that tells nobody an address.
fn two_networks(key: &KeyPair, mode: &str, forwarder: &str, card: &str) -> String {
    let network = hcl::resource(
        "labyard_network",
        "lab",
        format!(
            "mode = {mode:?}
  ipv4 = {{ cidr = \"10.88.0.0/24\", dhcp = {{ start = \"10.88.0.100\", end = \"10.88.0.200\" }} }}
  ipv6 = {{ cidr = \"fd00:88::/64\" }}
  mtu = 1400
  dns = {{ domain = \"lab.test\", forwarders = [{forwarder:?}] }}"
        ),
    );
    let machine = hcl::machine(
        "web",
        format!(
            "memory_mib = 160\n  {}\n  shutdown = {{ mode = \"force\" }}
  nics = {{
    lan = {{ network = labyard_network.lab.name, ipv4 = {{ {card} }} }}
    quiet = {{ network = labyard_network.quiet.name, ipv4 = {{ address = \"10.89.0.10/24\" }} }}
  }}
  cloud_init = {{ user_data = \"{}\" }}",
            hcl::boot(""),
            hcl::user_data(&key.public)
        ),
    );
    // Nobody tells an address there: the guest has it from its seed alone.
    let quiet = "mode = \"isolated\"\n  ipv4 = { cidr = \"10.89.0.0/24\" }";
    network + &hcl::resource("labyard_network", "quiet", quiet) + &machine
}

#[test]
fn a_guest_stays_on_its_network_while_it_goes_down_and_up_again() {
    let lab = Lab::new();
    let key = KeyPair::generate().unwrap();
    let config = |mode: &str, forwarder: &str, card: &str| two_networks(&key, mode, forwarder, card);
    let card = "address = \"10.88.0.10/24\"";
    lab.write(&config("nat", "192.0.2.53", card));
    lab.apply();
    assert_eq!(lab.attributes("labyard_vm.web")["ip"], "10.88.0.10");
    let guest = Guest::at(&lab.host, "10.88.0.10", &key);
    guest.wait_for_ssh(PATIENCE).unwrap();
    let boot_id = guest.boot_id().unwrap();
    let ports = run(&lab.host, "bridge", &["link"]);
    assert_all_in(&ports, &["mtu 1400 master virbr-"]);
    // The guest makes its own address of the network's word, in its own time.
    until("an address by SLAAC", PATIENCE, || {
        let addresses = guest.run("ip -6 address show dev eth0")?;
        Ok(match addresses.contains("fd00:88:") {
            true => Look::Holds(()),
            false => Look::NotYet(addresses),
        })
    })
    .unwrap();
    reached(&lab.host, "10.88.0.10");
    reached(&lab.host, "10.89.0.10");
    let own_name = guest.run("nslookup -type=a web.lab.test 10.88.0.1").unwrap();
    assert_all_in(&own_name, &["10.88.0.10"]);

    let outside = Outside::of(&lab.host);
    outside.assert_translated(&guest, "10.88.0.0/24");

    lab.write(&config("routed", "192.0.2.54", card));
    let plan = lab.plan().expect_success();
    let warned = plan.run().warnings();
    assert!(
        warned
            .iter()
            .any(|w| w.summary.contains("under running machines") && w.detail.contains("web")),
        "{}",
        plan.run().text()
    );
    lab.apply();
    assert_all_in(&lab.live("lab"), &["192.0.2.54"]);
    reached(&lab.host, "10.88.0.10");
    outside.assert_routed(&guest, "10.88.0.0/24");
    drop(outside);
    assert_eq!(guest.boot_id().unwrap(), boot_id, "the guest was restarted");

    // The provider dies between the network's restart and the way of its guests back to it.
    lab.write(&config("routed", "192.0.2.55", card));
    lab.killed_at("network-changed");
    let plan = lab.plan().expect_success();
    assert_eq!(plan.actions("labyard_network.lab"), ["update"]);
    lab.apply();
    assert_all_in(&lab.live("lab"), &["192.0.2.55"]);
    reached(&lab.host, "10.88.0.10");
    assert_eq!(guest.boot_id().unwrap(), boot_id, "the guest was restarted");

    // Somebody restarts it: its guests are off it until the next apply.
    lab.restart("lab");
    let plan = lab.plan().expect_success();
    assert_eq!(plan.actions("labyard_network.lab"), ["update"]);
    assert_eq!(plan.actions("labyard_vm.web"), ["no-op"]);
    lab.apply();
    reached(&lab.host, "10.88.0.10");
    assert_eq!(guest.boot_id().unwrap(), boot_id, "the guest was restarted");

    // Another address is the guest's at its next request; until then it has the one that it has.
    let other = "address = \"10.88.0.11/24\", gateway = \"10.88.0.1\"";
    lab.write(&config("routed", "192.0.2.55", other));
    let plan = lab.plan().expect_success();
    assert_eq!(plan.actions("labyard_vm.web"), ["update"]);
    let warned = plan.run().warnings();
    assert!(
        warned.iter().all(|one| !one.summary.contains("restart")),
        "{}",
        plan.run().text()
    );
    lab.apply();
    assert_all_in(&lab.defined("lab"), &["ip='10.88.0.11'"]);
    assert_eq!(guest.boot_id().unwrap(), boot_id, "the guest was restarted");
    let fixed = &lab.attributes("labyard_vm.web")["nics"]["lan"]["ipv4"];
    assert_eq!(fixed["gateway"], "10.88.0.1");
    lab.import(&[("labyard_vm.web", "lab1/web")]);
    assert_eq!(&lab.attributes("labyard_vm.web")["nics"]["lan"]["ipv4"], fixed);
    shows(&CARDS[..3], Case::Update);
    lab.destroy();
}
