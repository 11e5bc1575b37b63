//! Each attribute of a network changed by itself: the plan says that the network goes down and up again where the
//! documents say so, and then its bridge is another one; where they do not, it is the same.

use std::collections::BTreeSet;

use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::proof::{Case, paths, resources, shows};
use labyard_schema::Change;

use super::{Lab, run, tagged};

const BODY: &str = r#"mode = "nat"
  ipv4 = { cidr = "10.93.0.0/24", dhcp = { start = "10.93.0.100", end = "10.93.0.200", options = { "42" = "192.0.2.5" } } }
  ipv6 = { cidr = "fd00:93::/64", dhcp = { start = "fd00:93::100", end = "fd00:93::200" } }
  dns = { domain = "each.test", forwarders = ["192.0.2.53"], records = { "a.each.test" = ["192.0.2.6"] } }
  boot = { url = "https://192.0.2.7/a.efi", vendor_class = "HTTPClient" }
  mtu = 1400
  autostart = true
  labels = { a = "b" }
"#;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stays {
    Up,
    Restarted,
}
use Stays::{Restarted, Up};

/// Attribute, text, the text in its place, and what becomes of the network.
const CHANGES: &[(&str, &str, &str, Stays)] = &[
    ("autostart", "autostart = true", "autostart = false", Up),
    ("labels", "{ a = \"b\" }", "{ a = \"c\" }", Up),
    ("ipv4.dhcp.start", "10.93.0.100", "10.93.0.101", Up),
    ("ipv4.dhcp.end", "10.93.0.200", "10.93.0.201", Up),
    ("dns.records", "\"192.0.2.6\"", "\"192.0.2.8\"", Up),
    (
        "dns.records",
        "\"192.0.2.8\"",
        "\"192.0.2.8\", \"192.0.2.9\"",
        Restarted,
    ),
    ("ipv4.cidr", "10.93.0.", "10.94.0.", Restarted),
    ("ipv4.dhcp.options", "192.0.2.5\"", "192.0.2.4\"", Restarted),
    ("ipv6.cidr", "fd00:93:", "fd00:94:", Restarted),
    ("ipv6.dhcp.start", "fd00:94::100", "fd00:94::101", Restarted),
    ("ipv6.dhcp.end", "fd00:94::200", "fd00:94::201", Restarted),
    ("dns.domain", "\"each.test\"", "\"other.test\"", Restarted),
    ("dns.forwarders", "192.0.2.53", "192.0.2.54", Restarted),
    ("boot.url", "a.efi", "b.efi", Restarted),
    ("boot.vendor_class", "HTTPClient", "PXEClient", Restarted),
    ("mtu", "1400", "1300", Restarted),
    ("boot", "boot = {", "# {", Restarted),
    ("ipv6.dhcp", ", dhcp = { start = \"fd00", "} # \"fd00", Restarted),
    ("ipv4.dhcp", ", dhcp = { start = \"10", "} # \"10", Restarted),
    ("ipv6", "ipv6 = {", "# {", Restarted),
    ("dns", "dns = {", "# {", Restarted),
    ("mode", "\"nat\"", "\"isolated\"", Restarted),
    ("ipv4", "ipv4 = {", "# {", Restarted),
];

/// Of bridges that are the host's: libvirt makes none anew.
const OF_BRIDGES: &[(&str, &str, &str, Stays)] = &[
    ("bridge", "\"br7\"", "\"br8\"", Restarted),
    ("vlan", "= 42", "= 43", Restarted),
];

#[test]
fn each_attribute_of_a_network_restarts_it_where_the_documents_say_so_and_nowhere_else() {
    let lab = Lab::new();
    let (mut body, mut bridged) = (BODY.to_owned(), tagged("br7", 42));
    let write =
        |body: &str, bridged: &str| lab.write(&(hcl::resource("labyard_network", "each", body) + bridged));
    write(&body, &bridged);
    lab.apply();
    let id = lab.attributes("labyard_network.each")["id"].clone();
    let mut seen = BTreeSet::new();
    for (attribute, from, to, stays) in CHANGES {
        assert!(body.contains(from), "{from} in {body}");
        body = body.replace(from, to);
        write(&body, &bridged);
        let number = number_of_its_bridge(&lab);
        assert_told(&lab, "each", attribute, *stays);
        let kept = number_of_its_bridge(&lab) == number;
        assert_eq!(kept, *stays == Up, "{attribute}: the bridge");
        seen.insert(*attribute);
    }
    for (attribute, from, to, stays) in OF_BRIDGES {
        bridged = bridged.replace(from, to);
        write(&body, &bridged);
        assert_told(&lab, "tagged", attribute, *stays);
        seen.insert(*attribute);
    }
    lab.plan().expect_empty();
    assert_eq!(
        lab.attributes("labyard_network.each")["id"],
        id,
        "changed in place"
    );
    let all = resources()
        .into_iter()
        .filter(|(name, _)| *name == "labyard_network");
    for (path, attribute) in all.flat_map(|(name, attributes)| paths(name, &attributes)) {
        let restarts = matches!(
            attribute.change,
            Change::RestartNetwork | Change::LiveOrRestartNetwork
        );
        let path = path.trim_start_matches("labyard_network.");
        assert!(!restarts || seen.contains(path), "{path} was not changed");
    }
    lab.destroy();
}

/// One apply of one change, which tells of a restart or does not, as the schema has it.
#[track_caller]
fn assert_told(lab: &Lab, network: &str, attribute: &str, stays: Stays) {
    let path = format!("labyard_network.{attribute}");
    let all = resources()
        .into_iter()
        .find(|(name, _)| *name == "labyard_network");
    let (name, attributes) = all.unwrap();
    let (_, stated) = paths(name, &attributes)
        .into_iter()
        .find(|(p, _)| *p == path)
        .unwrap();
    match stated.change {
        Change::Live => assert_eq!(stays, Up, "{attribute}"),
        Change::RestartNetwork => assert_eq!(stays, Restarted, "{attribute}"),
        other => assert_eq!(other, Change::LiveOrRestartNetwork, "{attribute}"),
    }
    let run = lab.terraform.apply(&[]).unwrap().expect_success();
    let summary = format!("{network} will be taken down and up again");
    let told = run.warnings().iter().any(|warning| warning.summary == summary);
    assert_eq!(told, stays == Restarted, "{attribute}:\n{}", run.text());
    let unsettled = run.warnings().iter().any(|warning| warning.summary != summary);
    assert!(!unsettled, "{attribute}:\n{}", run.text());
    shows(&[&path], Case::Update);
}

/// The bridge's number changes with each restart of its network.
fn number_of_its_bridge(lab: &Lab) -> String {
    let live = lab.live("each");
    let (_, rest) = live.split_once("<bridge name='").unwrap();
    let name = rest.split('\'').next().unwrap();
    run(&lab.host, "cat", &[&format!("/sys/class/net/{name}/ifindex")])
}
