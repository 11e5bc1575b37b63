//! Networks: each attribute made, imported, changed with what it disturbs (all at once here, one by one in `each.rs`),
//! changed by hand and healed, refused; what machines have of them (`guests.rs`), and what goes over them (`traffic.rs`).

mod each;
mod guests;
mod traffic;

use std::time::Duration;

use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::processes::{self, Signal};
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::terraform::{Plan, Terraform};
use labyard_acceptance_tests::wait::{Look, until};
use labyard_acceptance_tests::way::Way;
use labyard_acceptance_tests::{both_ways, hcl, inventory::Inventory};
use serde_json::Value;

both_ways!(every_attribute_of_a_network_is_made_imported_changed_and_healed);

const PATIENCE: Duration = Duration::from_secs(60);

/// Attributes of a network that has all but a bridge of the host's.
const RICH: &[&str] = &[
    "labyard_network.mode",
    "labyard_network.ipv4",
    "labyard_network.ipv4.cidr",
    "labyard_network.ipv4.dhcp",
    "labyard_network.ipv4.dhcp.start",
    "labyard_network.ipv4.dhcp.end",
    "labyard_network.ipv4.dhcp.options",
    "labyard_network.ipv6",
    "labyard_network.ipv6.cidr",
    "labyard_network.ipv6.dhcp",
    "labyard_network.ipv6.dhcp.start",
    "labyard_network.ipv6.dhcp.end",
    "labyard_network.dns",
    "labyard_network.dns.domain",
    "labyard_network.dns.forwarders",
    "labyard_network.dns.records",
    "labyard_network.mtu",
    "labyard_network.autostart",
];
const TAGGED: &[&str] = &["labyard_network.bridge", "labyard_network.vlan"];
struct Lab {
    host: Host,
    terraform: Terraform<'static>,
    empty: Inventory,
}

impl Lab {
    fn new() -> Self {
        let host = Host::start().unwrap();
        for name in ["br7", "br8"] {
            let bridge = ["link", "add", name, "type", "bridge"];
            run(&host, "ip", &bridge);
            run(&host, "ip", &["link", "set", name, "up"]);
        }
        Self {
            empty: host.inventory().unwrap(),
            terraform: Terraform::new().unwrap(),
            host,
        }
    }

    fn write(&self, config: &str) {
        let whole = hcl::on(&self.host) + config;
        self.terraform.write("main.tf", &whole).unwrap();
    }

    fn plan(&self) -> Plan {
        self.terraform.plan(&[]).unwrap()
    }

    /// One apply, and then there is nothing to do.
    fn apply(&self) {
        self.terraform.apply(&[]).unwrap().expect_success();
        self.plan().expect_empty();
    }

    fn live(&self, network: &str) -> String {
        self.host.virsh(&["net-dumpxml", network]).unwrap()
    }

    fn defined(&self, network: &str) -> String {
        self.host.virsh(&["net-dumpxml", "--inactive", network]).unwrap()
    }

    fn attributes(&self, address: &str) -> Value {
        self.terraform.attributes(address).unwrap().unwrap()
    }

    /// Writes a network's definition anew, changed by hand, and restarts it.
    fn by_hand(&self, network: &str, change: impl Fn(&str) -> String) {
        let (before, file) = (
            self.defined(network),
            self.terraform.directory().join("by-hand.xml"),
        );
        let after = change(&before);
        assert_ne!(after, before, "nothing changed by hand");
        std::fs::write(&file, after).unwrap();
        self.host.virsh(&["net-define", &file.to_string_lossy()]).unwrap();
        self.restart(network);
    }

    fn restart(&self, network: &str) {
        self.host.virsh(&["net-destroy", network]).unwrap();
        self.host.virsh(&["net-start", network]).unwrap();
    }

    /// Forgets an object and takes it up again: the plan after it changes nothing.
    fn import(&self, addresses: &[(&str, &str)]) {
        for (address, id) in addresses {
            self.terraform
                .run(&["state", "rm", address])
                .unwrap()
                .expect_success();
            self.terraform.import(address, id).unwrap().expect_success();
        }
        self.plan().expect_empty();
    }

    /// An apply whose provider is killed where it has come to a point.
    fn killed_at(&self, point: &str) {
        let held = self.terraform.directory().join("held");
        let fault = format!("hold@{point}:{}", held.display());
        let apply = ["apply", "-json", "-input=false", "-auto-approve"];
        let running = self
            .terraform
            .start_with(&apply, &[("LABYARD_FAULT", &fault)])
            .unwrap();
        until(point, PATIENCE, || {
            Ok(match held.exists() {
                true => Look::Holds(()),
                false => Look::NotYet("it has not come there".to_owned()),
            })
        })
        .unwrap();
        let provider = running.provider().unwrap();
        processes::send(Signal::Kill, provider).unwrap();
        running.end().unwrap().expect_failure();
        std::fs::remove_file(held).unwrap();
    }

    fn refused(&self, config: &str, snippet: &str, says: &str) {
        self.write(config);
        let plan = self.plan();
        let errors = plan.run().errors();
        let found = errors.iter().any(|error| {
            let at = error.snippet.as_deref().unwrap_or_default();
            at.contains(snippet) && error.text().contains(says)
        });
        assert!(found, "{snippet}: {says}:\n{}", plan.run().text());
    }

    fn destroy(self) {
        self.terraform.destroy(&[]).unwrap().expect_success();
        let left = self.empty.changes_to(&self.host.inventory().unwrap());
        assert!(left.is_empty(), "left over or lost:\n{left}");
    }
}

#[track_caller]
fn run(host: &Host, program: &str, arguments: &[&str]) -> String {
    let output = host.command(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}{errors}");
    text
}

#[track_caller]
fn assert_all_in(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} in {text}");
    }
}

fn rich(records: &str, more: &str) -> String {
    hcl::resource(
        "labyard_network",
        "rich",
        format!(
            "mode = \"nat\"
  ipv4 = {{ cidr = \"10.81.0.0/24\", dhcp = {{ start = \"10.81.0.100\", end = \"10.81.0.200\", options = {{ \"42\" = \"10.81.0.5\" }} }} }}
  ipv6 = {{ cidr = \"fd00:81::/64\", dhcp = {{ start = \"fd00:81::100\", end = \"fd00:81::200\" }} }}
  dns = {{ domain = \"rich.test\", forwarders = [\"192.0.2.53\"], records = {{ {records} }} }}
  mtu = 1400
  {more}"
        ),
    )
}

fn tagged(bridge: &str, vlan: u16) -> String {
    let body = format!("mode = \"bridge\"\n  bridge = {bridge:?}\n  vlan = {vlan}");
    hcl::resource("labyard_network", "tagged", body)
}

fn every_attribute_of_a_network_is_made_imported_changed_and_healed(way: Way) {
    let lab = Lab::new();
    way.at(&lab.host);
    let routed = "mode = \"routed\"\n  ipv6 = { cidr = \"fd00:82::/64\" }\n  autostart = false";
    let routed = hcl::resource("labyard_network", "routed", routed);
    let names = "\"a.rich.test\" = [\"10.81.0.6\"]";
    lab.write(&(rich(names, "") + &tagged("br7", 42) + &routed));
    lab.apply();
    assert_all_in(
        &lab.live("rich"),
        &[
            "<nat ipv6='yes'>",
            "<mtu size='1400'/>",
            "<domain name='rich.test'/>",
            "<forwarder addr='192.0.2.53'/>",
            "<hostname>a.rich.test</hostname>",
            "address='fd00:81::1'",
            "<range start='fd00:81::100' end='fd00:81::200'/>",
            "dhcp-option=42,10.81.0.5",
        ],
    );
    assert_all_in(&lab.live("tagged"), &["<tag id='42'/>", "<bridge name='br7'/>"]);
    assert_all_in(&lab.live("routed"), &["<forward mode='route'/>", "family='ipv6'"]);
    assert_eq!(lab.attributes("labyard_network.routed")["gateway"], "fd00:82::1");
    traffic::assert_leased_by_dhcpv6(&lab, "rich", "fd00:81::1");
    shows(RICH, Case::Create);
    shows(TAGGED, Case::Create);
    lab.import(&[
        ("labyard_network.rich", "lab1/rich"),
        ("labyard_network.tagged", "lab1/tagged"),
        ("labyard_network.routed", "lab1/routed"),
    ]);
    shows(RICH, Case::Import);
    shows(TAGGED, Case::Import);
    names_change_while_the_network_is_up(&lab, &(tagged("br7", 42) + &routed));
    changes_by_hand_are_healed(&lab);
    everything_changes(&lab);
    lab.destroy();
}

/// The bridge's number changes with each restart of its network.
fn bridge_number(lab: &Lab, network: &str) -> String {
    let bridge = lab.attributes(&format!("labyard_network.{network}"))["bridge_name"].clone();
    let path = format!("/sys/class/net/{}/ifindex", bridge.as_str().unwrap());
    run(&lab.host, "cat", &[&path])
}

fn names_change_while_the_network_is_up(lab: &Lab, others: &str) {
    let number = bridge_number(lab, "rich");
    let names = "\"a.rich.test\" = [\"10.81.0.7\"], \"b.rich.test\" = [\"10.81.0.7\"]";
    lab.write(&(rich(names, "") + others));
    let plan = lab.plan().expect_success();
    assert!(plan.run().warnings().is_empty(), "{}", plan.run().text());
    lab.apply();
    assert_all_in(
        &lab.live("rich"),
        &["<host ip='10.81.0.7'>", "<hostname>b.rich.test</hostname>"],
    );
    assert_eq!(bridge_number(lab, "rich"), number, "the network was restarted");
    let asked = run(&lab.host, "cat", &["/var/lib/libvirt/dnsmasq/rich.addnhosts"]);
    assert_all_in(&asked, &["10.81.0.7"]);
}

/// A plan sees what was changed by hand, and one apply heals it.
#[track_caller]
fn seen_and_healed(lab: &Lab, network: &str, attribute: &str) {
    let plan = lab.plan().expect_success();
    let address = format!("labyard_network.{network}");
    let change = plan.change(&address);
    assert_eq!(plan.actions(&address), ["update"], "{attribute}: {change:#}");
    let (before, after) = (
        change["before"].pointer(attribute),
        change["after"].pointer(attribute),
    );
    assert_ne!(before, after, "{attribute}: {change:#}");
    lab.apply();
}

fn changes_by_hand_are_healed(lab: &Lab) {
    let of_rich = [
        ("/ipv4/cidr", "10.81.0.", "10.91.0."),
        ("/ipv4/dhcp/end", "end='10.81.0.200'", "end='10.81.0.201'"),
        (
            "/ipv4/dhcp/options",
            "dhcp-option=42,10.81.0.5",
            "dhcp-option=42,10.81.0.9",
        ),
        ("/ipv6/cidr", "fd00:81::", "fd00:91::"),
        ("/ipv6/dhcp/end", "end='fd00:81::200'", "end='fd00:81::201'"),
        (
            "/dns/domain",
            "<domain name='rich.test'/>",
            "<domain name='poor.test'/>",
        ),
        ("/dns/forwarders", "addr='192.0.2.53'", "addr='192.0.2.54'"),
        (
            "/dns/records",
            "<hostname>b.rich.test</hostname>",
            "<hostname>c.rich.test</hostname>",
        ),
        ("/mtu", "<mtu size='1400'/>", "<mtu size='1300'/>"),
    ];
    for (attribute, from, to) in of_rich {
        lab.by_hand("rich", |text| text.replace(from, to));
        seen_and_healed(lab, "rich", attribute);
    }
    lab.by_hand("rich", |text| {
        let (before, after) = (text.find("<forward").unwrap(), text.find("</forward>").unwrap());
        format!(
            "{}<forward mode='route'/>{}",
            &text[..before],
            &text[after + "</forward>".len()..]
        )
    });
    seen_and_healed(lab, "rich", "/mode");
    lab.host.virsh(&["net-autostart", "--disable", "rich"]).unwrap();
    seen_and_healed(lab, "rich", "/autostart");
    lab.by_hand("tagged", |text| text.replace("<tag id='42'/>", "<tag id='43'/>"));
    seen_and_healed(lab, "tagged", "/vlan");
    lab.by_hand("tagged", |text| text.replace("br7", "br8"));
    seen_and_healed(lab, "tagged", "/bridge");
    // What runs is changed and its definition is not.
    let record = "<host ip='10.81.0.8'><hostname>x.rich.test</hostname></host>";
    lab.host
        .virsh(&["net-update", "rich", "add", "dns-host", record, "--live"])
        .unwrap();
    seen_and_healed(lab, "rich", "/active");
    assert!(!lab.live("rich").contains("x.rich.test"));
    shows(RICH, Case::Drift);
    shows(TAGGED, Case::Drift);
}

fn everything_changes(lab: &Lab) {
    let body = "mode = \"isolated\"
  ipv4 = { cidr = \"10.83.0.0/24\", dhcp = { start = \"10.83.0.10\", end = \"10.83.0.20\", options = { \"ntp-server\" = \"10.83.0.5,10.83.0.6\" } } }
  ipv6 = { cidr = \"fd00:83::/64\", dhcp = { start = \"fd00:83::10\", end = \"fd00:83::20\" } }
  dns = { domain = \"other.test\", forwarders = [\"192.0.2.55\", \"2001:db8::53\"], records = { \"two.other.test\" = [\"10.83.0.6\", \"fd00:83::6\"] } }
  mtu = 9000
  autostart = false";
    let rich = hcl::resource("labyard_network", "rich", body);
    let routed = "mode = \"routed\"\n  ipv4 = { cidr = \"10.82.0.0/24\" }";
    let routed = hcl::resource("labyard_network", "routed", routed);
    lab.write(&(rich + &tagged("br8", 44) + &routed));
    let plan = lab.plan().expect_success();
    let warned = plan.run().warnings();
    let restarts = |name: &str| {
        warned
            .iter()
            .any(|w| w.summary.contains(name) && w.summary.contains("down and up"))
    };
    assert!(restarts("rich") && restarts("tagged"), "{}", plan.run().text());
    let ids = ["rich", "tagged"].map(|name| lab.attributes(&format!("labyard_network.{name}"))["id"].clone());
    lab.apply();
    assert_all_in(
        &lab.live("rich"),
        &[
            "<mtu size='9000'/>",
            "<domain name='other.test'/>",
            "<forwarder addr='2001:db8::53'/>",
            "<hostname>two.other.test</hostname>",
            "address='fd00:83::1'",
            "<range start='10.83.0.10' end='10.83.0.20'/>",
            "dhcp-option=option:ntp-server,10.83.0.5,10.83.0.6",
        ],
    );
    assert!(!lab.live("rich").contains("<forward "));
    assert_all_in(&lab.live("tagged"), &["<tag id='44'/>", "<bridge name='br8'/>"]);
    let same =
        ["rich", "tagged"].map(|name| lab.attributes(&format!("labyard_network.{name}"))["id"].clone());
    assert_eq!(ids, same, "changed in place");
    shows(RICH, Case::Update);
    shows(TAGGED, Case::Update);
    let plain = "mode = \"nat\"\n  ipv4 = { cidr = \"10.83.0.0/24\" }";
    lab.write(&(hcl::resource("labyard_network", "rich", plain) + &tagged("br8", 44)));
    lab.apply();
    let text = lab.live("rich");
    for gone in ["mtu", "<dns>", "ipv6", "<dhcp", "dhcp-option", "<domain"] {
        assert!(!text.contains(gone), "{gone} in {text}");
    }
}

#[test]
fn bad_values_are_refused_at_their_attribute() {
    let lab = Lab::new();
    lab.host.virsh(&["net-create", &theirs(&lab)]).unwrap();
    let network = |body: &str| hcl::resource("labyard_network", "bad", body);
    let v4 = "mode = \"nat\"\n  ipv4 = ";
    let bad = [
        (network("mode = \"open\""), "mode", "routed"),
        (network("mode = \"routed\""), "labyard_network", "needs ipv4"),
        (
            network(&format!("{v4}{{ cidr = \"10.84.0.1/24\" }}")),
            "ipv4",
            "10.84.0.0/24",
        ),
        (
            network(&format!("{v4}{{ cidr = \"10.86.0.0/16\" }}")),
            "ipv4",
            "theirs",
        ),
        (
            network(&dhcp("start = \"10.85.0.9\", end = \"10.84.0.20\"")),
            "ipv4",
            "10.85.0.9",
        ),
        (
            network(&dhcp("start = \"10.84.0.9\", end = \"10.84.0.255\"")),
            "ipv4",
            "10.84.0.255",
        ),
        (
            network(&dhcp(
                "start = \"10.84.0.9\", end = \"10.84.0.20\", options = { \"53\" = \"1\" }",
            )),
            "ipv4",
            "DHCP itself",
        ),
        (
            network(&dhcp(
                "start = \"10.84.0.9\", end = \"10.84.0.20\", options = { \"42\" = \"1\\ndhcp-script=/bin/sh\" }",
            )),
            "ipv4",
            "no control characters",
        ),
        (
            network("mode = \"isolated\"\n  ipv6 = { cidr = \"fd00::1/64\" }"),
            "ipv6",
            "fd00::/64",
        ),
        (network(&dhcp6("fd01::1", "fd00::9")), "ipv6", "fd01::1"),
        (network(&dhcp6("fd00::5", "fd00::1")), "ipv6", "network's own"),
        (
            network("mode = \"isolated\"\n  dns = { domain = \"a b\" }"),
            "dns",
            "no DNS domain",
        ),
        (
            network("mode = \"isolated\"\n  dns = { forwarders = [\"dns.test\"] }"),
            "dns",
            "dns.test",
        ),
        (
            network("mode = \"isolated\"\n  dns = { records = { a = [] } }"),
            "dns",
            "no address",
        ),
        (network("mode = \"isolated\"\n  mtu = 100"), "mtu", "from 576"),
        (network("mode = \"isolated\"\n  vlan = 42"), "vlan", "bridge"),
        (network("mode = \"bridge\"\n  bridge = \"a/b\""), "bridge", "a/b"),
        (
            network("mode = \"bridge\"\n  bridge = \"br7\"\n  vlan = 4095"),
            "vlan",
            "4094",
        ),
    ];
    for (config, snippet, says) in &bad {
        lab.refused(config, snippet, says);
    }
    let both = hcl::network("one", 84) + &hcl::network("two", 84);
    lab.refused(&both, "ipv4", "overlaps 10.84.0.0/24");
    shows(&RICH[..RICH.len() - 1], Case::Refused);
    shows(TAGGED, Case::Refused);
    let card = |card: &str| {
        let nics = format!("memory_mib = 64\n  power = \"stopped\"\n  nics = {{ lan = {{ {card} }} }}");
        hcl::network("lab", 84) + &hcl::machine("bad", nics)
    };
    let lan = "network = labyard_network.lab.name";
    for (body, says) in [
        ("ipv4 = { address = \"10.84.0.10\" }", "with prefix"),
        ("ipv4 = { address = \"10.85.0.10/24\" }", "10.84.0.0/24"),
        ("ipv4 = { address = \"10.84.0.1/24\" }", "gateway"),
        (
            "ipv4 = { address = \"10.84.0.9/24\", gateway = \"10.85.0.1\" }",
            "could not reach",
        ),
        ("vlan = 0", "from 1"),
    ] {
        lab.refused(&card(&format!("{lan}, {body}")), "nics", says);
    }
    shows(guests::CARDS, Case::Refused);
}

/// A network of somebody else's: the file that describes it.
fn theirs(lab: &Lab) -> String {
    let file = lab.terraform.directory().join("theirs.xml");
    let text = "<network><name>theirs</name><ip address='10.86.0.1' netmask='255.255.255.0'/></network>";
    std::fs::write(&file, text).unwrap();
    file.to_string_lossy().into_owned()
}

fn dhcp(range: &str) -> String {
    format!("mode = \"nat\"\n  ipv4 = {{ cidr = \"10.84.0.0/24\", dhcp = {{ {range} }} }}")
}

fn dhcp6(start: &str, end: &str) -> String {
    format!(
        "mode = \"isolated\"\n  ipv6 = {{ cidr = \"fd00::/64\", dhcp = {{ start = {start:?}, end = {end:?} }} }}"
    )
}
