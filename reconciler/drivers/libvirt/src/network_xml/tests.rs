use labyard_driver::ids::ObjectId;
use labyard_driver::lan::{Dhcp6, Ipv6, Lan, VlanId};
use labyard_driver::mark::Kind;
use labyard_driver::observed::{Autostart, MarkState, Reservation};
use labyard_driver::spec::{Dhcp, NetworkMode, NetworkSpec};

use super::*;
use crate::mark_xml;
use crate::testing::mark;
use crate::xml::Element;

fn spec() -> NetworkSpec {
    let mut mark = mark("lab");
    mark.kind = Kind::Network;
    NetworkSpec {
        id: ObjectId::from("2c4a7d1e-0000-4000-8000-000000000002"),
        host_name: "lab".to_owned(),
        mark,
        mode: NetworkMode::Nat,
        bridge: None,
        address: Some("10.77.0.1/24".parse().unwrap()),
        dhcp: Some(Dhcp {
            start: [10, 77, 0, 100].into(),
            end: [10, 77, 0, 200].into(),
        }),
        domain: Some("lab.test".to_owned()),
        lan: Lan::default(),
        boot: None,
        autostart: Autostart::On,
    }
}

fn again(network: &Element) -> Element {
    Element::parse(&network.to_string()).unwrap()
}

#[test]
fn what_was_asked_for_is_what_is_read_back() {
    let network = again(&new(&spec()));
    let read = facts(&network);
    assert_eq!(read.mode, Some(NetworkMode::Nat));
    assert_eq!(
        (read.address, read.dhcp, read.domain),
        (spec().address, spec().dhcp, spec().domain)
    );
    assert!(matches!(mark_xml::of_definition(&network), MarkState::Ours(_)));
    assert!(network.to_string().contains("<dnsmasq:option value='no-ping'/>"));
    assert!(
        network
            .to_string()
            .contains("<bridge name='virbr-2c4a7d1e' stp='off' delay='0'/>")
    );
}

#[test]
fn a_bridge_that_was_asked_for_keeps_its_name() {
    let mut spec = spec();
    spec.bridge = Some("lab0".to_owned());
    assert_eq!(facts(&new(&spec)).bridge.as_deref(), Some("lab0"));
}

#[test]
fn the_same_specification_again_changes_no_byte() {
    let mut network = again(&new(&spec()));
    let before = network.to_string();
    edit(&mut network, &spec());
    assert_eq!(network.to_string(), before);
}

#[test]
fn a_network_on_a_bridge_of_the_host_has_nothing_of_its_own() {
    let mut spec = spec();
    (spec.mode, spec.bridge) = (NetworkMode::Bridge, Some("br0".to_owned()));
    (spec.address, spec.dhcp, spec.domain) = (None, None, None);
    let network = new(&spec);
    let text = network.to_string();
    assert!(
        text.contains("<forward mode='bridge'/>") && text.contains("<bridge name='br0'/>"),
        "{text}"
    );
    assert!(
        !text.contains("stp") && !text.contains("<ip") && !text.contains("dnsmasq"),
        "{text}"
    );
    assert_eq!(facts(&network).mode, Some(NetworkMode::Bridge));

    let mut back = again(&network);
    edit(&mut back, &self::spec());
    assert_eq!(facts(&back).bridge.as_deref(), Some("virbr-2c4a7d1e"));
}

#[test]
fn an_edit_leaves_reservations_and_what_others_wrote() {
    let kept = [
        "<host mac='52:54:00:00:00:01' ip='10.77.0.9' name=\"a\"/>",
        "<host mac='52:54:00:00:00:02' ip='10.77.0.10'/>",
        "<dns><forwarder domain='corp.test' addr='192.0.2.1'/><txt name='a' value='b'/></dns>",
        "<portgroup name='a'/>",
        "<port isolated='yes'/>",
    ];
    let text = new(&spec()).to_string();
    let text = text.replace("</dhcp>", &format!("{}{}</dhcp>", kept[0], kept[1]));
    let text = text.replace("<forward", &format!("{}{}{}<forward", kept[2], kept[3], kept[4]));
    let mut network = Element::parse(&text).unwrap();
    let mut wanted = spec();
    wanted.mode = NetworkMode::Isolated;
    wanted.domain = None;
    wanted.dhcp = Some(Dhcp {
        start: [10, 77, 0, 50].into(),
        end: [10, 77, 0, 60].into(),
    });
    edit(&mut network, &wanted);
    let text = network.to_string();
    for kept in kept {
        assert!(text.contains(kept), "{kept} in {text}");
    }
    let read = facts(&network);
    assert_eq!(
        (read.mode, read.domain, read.dhcp),
        (Some(NetworkMode::Isolated), None, wanted.dhcp)
    );
    assert_eq!(read.reservations.len(), 2);
    assert_eq!(read.reservations[0].name.as_deref(), Some("a"));
}

#[test]
fn kinds_that_labyard_does_not_make_have_no_mode() {
    for text in [
        "<network><forward mode='open'/></network>",
        "<network><forward mode='hostdev'/></network>",
        "<network><forward mode='bridge'><interface dev='eth0'/></forward></network>",
    ] {
        assert_eq!(facts(&Element::parse(text).unwrap()).mode, None, "{text}");
    }
}

fn updates(transition: Transition) -> Vec<String> {
    let Transition::Updates(updates) = transition else {
        panic!("a restart");
    };
    let update = |u: Update| format!("{:?} {:?} {}", u.command, u.section, u.part);
    updates.into_iter().map(update).collect()
}

fn rich() -> NetworkSpec {
    let mut spec = spec();
    let address = |text: &str| text.parse().unwrap();
    spec.lan = Lan {
        ipv6: Some(Ipv6 {
            address: "fd00:77::1/64".parse().unwrap(),
            dhcp: Some(Dhcp6 {
                start: "fd00:77::100".parse().unwrap(),
                end: "fd00:77::200".parse().unwrap(),
            }),
        }),
        dhcp_options: [("42", "10.77.0.5"), ("tftp-server", "10.77.0.6,10.77.0.7")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        forwarders: vec![address("192.0.2.53"), address("2001:db8::53")],
        records: [
            ("a.lab".to_owned(), [address("10.77.0.5")].into()),
            (
                "b.lab".to_owned(),
                [address("10.77.0.5"), address("fd00:77::5")].into(),
            ),
        ]
        .into(),
        vlan: None,
        mtu: Some(1400),
    };
    spec
}

#[test]
fn all_that_a_network_offers_is_read_back_and_taken_away_again() {
    let mut network = again(&new(&rich()));
    assert_eq!(facts(&network).lan, rich().lan);
    let text = network.to_string();
    for part in [
        "<forward mode='nat'><nat ipv6='yes'/></forward>",
        "<dnsmasq:option value='dhcp-option=42,10.77.0.5'/>",
        "<dnsmasq:option value='dhcp-option=option:tftp-server,10.77.0.6,10.77.0.7'/>",
        "<forwarder addr='192.0.2.53'/>",
        "<host ip='10.77.0.5'><hostname>a.lab</hostname><hostname>b.lab</hostname></host>",
        "<mtu size='1400'/>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    edit(&mut network, &rich());
    assert_eq!(network.to_string(), text);
    edit(&mut network, &spec());
    assert_eq!(facts(&network), facts(&new(&spec())));
    assert!(!network.to_string().contains("<dns>"), "{network}");
}

#[test]
fn an_option_of_the_hosts_keeper_stays_whatever_ours_become() {
    let theirs = [
        "dhcp-vendorclass=set:efi-http,HTTPClient:Arch:00016",
        "dhcp-option=tag:x,42,10.0.0.1",
        "log-queries",
    ];
    let mut network = new(&rich());
    let list = network.ensure("dnsmasq:options");
    for line in theirs {
        list.push(Element::new("dnsmasq:option").with("value", line));
    }
    edit(&mut network, &spec());
    let text = network.to_string();
    assert!(theirs.iter().all(|line| text.contains(line)), "{text}");
    assert!(!text.contains("tftp-server"), "{text}");
}

#[test]
fn names_are_exchanged_live_unless_one_has_several_addresses() {
    let runs = facts(&new(&spec()));
    let mut wanted = runs.clone();
    let record = |name: &str, address: &str| (name.to_owned(), [address.parse().unwrap()].into());
    wanted.lan.records = [record("a", "10.77.0.5"), record("b", "10.77.0.6")].into();
    assert_eq!(
        updates(runs.transition_to(&wanted)),
        [
            "AddLast DnsHost <host ip='10.77.0.5'><hostname>a</hostname></host>",
            "AddLast DnsHost <host ip='10.77.0.6'><hostname>b</hostname></host>",
        ]
    );
    let mut moved = wanted.clone();
    moved.lan.records = [record("a", "10.77.0.5"), record("b", "10.77.0.5")].into();
    assert_eq!(
        updates(wanted.transition_to(&moved)),
        [
            "Delete DnsHost <host ip='10.77.0.5'><hostname>a</hostname></host>",
            "Delete DnsHost <host ip='10.77.0.6'><hostname>b</hostname></host>",
            "AddLast DnsHost <host ip='10.77.0.5'><hostname>a</hostname><hostname>b</hostname></host>",
        ]
    );
    let mut several = wanted.clone();
    several.lan.records = rich().lan.records;
    assert_eq!(wanted.transition_to(&several), Transition::Restart);
    several = wanted.clone();
    several.lan.mtu = Some(9000);
    assert_eq!(wanted.transition_to(&several), Transition::Restart);
}

#[test]
fn a_vlan_is_one_tag_and_a_trunk_is_left_alone() {
    let mut spec = spec();
    (spec.mode, spec.bridge) = (NetworkMode::Bridge, Some("br0".to_owned()));
    (spec.address, spec.dhcp, spec.domain) = (None, None, None);
    spec.lan.vlan = Some(VlanId(42));
    let mut network = new(&spec);
    assert!(network.to_string().contains("<vlan><tag id='42'/></vlan>"));
    assert_eq!(facts(&network).lan.vlan, Some(VlanId(42)));
    spec.lan.vlan = None;
    edit(&mut network, &spec);
    assert!(!network.to_string().contains("vlan"));
    let trunk = Element::parse("<vlan trunk='yes'><tag id='1'/><tag id='2'/></vlan>").unwrap();
    network.push(trunk.clone());
    edit(&mut network, &spec);
    assert_eq!(network.child("vlan"), Some(&trunk));
}

#[test]
fn only_what_cannot_be_changed_in_passing_needs_a_restart() {
    let mut network = new(&spec());
    network.ensure("bridge").set_attribute("name", "virbr7");
    let runs = facts(&network);
    let mut wanted = runs.clone();
    wanted.bridge = None;
    wanted.reservations.push(Reservation {
        mac: "52:54:00:00:00:01".parse().unwrap(),
        address: [10, 77, 0, 9].into(),
        name: None,
    });
    assert_eq!(runs.transition_to(&wanted), Transition::Updates(vec![]));
    wanted.dhcp = Some(Dhcp {
        end: [10, 77, 0, 210].into(),
        ..wanted.dhcp.unwrap()
    });
    assert_eq!(
        updates(runs.transition_to(&wanted)),
        [
            "AddLast IpDhcpRange <range start='10.77.0.100' end='10.77.0.210'/>",
            "Delete IpDhcpRange <range start='10.77.0.100' end='10.77.0.200'/>",
        ]
    );
    wanted.domain = None;
    assert_eq!(runs.transition_to(&wanted), Transition::Restart);
}

#[test]
fn overlaps_are_seen_whichever_network_is_the_larger() {
    let own = facts(&new(&spec()));
    for (other, overlaps) in [
        ("10.77.0.128/25", true),
        ("10.0.0.0/8", true),
        ("10.78.0.0/24", false),
    ] {
        assert_eq!(own.overlaps(other.parse().unwrap()), overlaps, "{other}");
    }
}

#[test]
fn a_reservation_is_written_as_libvirt_takes_it() {
    let reservation = Reservation {
        mac: "52:54:00:00:00:01".parse().unwrap(),
        address: [10, 77, 0, 9].into(),
        name: Some("web".to_owned()),
    };
    assert_eq!(
        host(&reservation).to_string(),
        "<host mac='52:54:00:00:00:01' ip='10.77.0.9' name='web'/>"
    );
}
