use labyard_driver::ids::ObjectId;
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
        "<dns><host ip='10.77.0.1'><hostname>boot</hostname></host></dns>",
        "<ip family='ipv6' address='fd00::1' prefix='64'/>",
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
        "<network><forward mode='route'/></network>",
        "<network><forward mode='hostdev'/></network>",
        "<network><forward mode='bridge'><interface dev='eth0'/></forward></network>",
    ] {
        assert_eq!(facts(&Element::parse(text).unwrap()).mode, None, "{text}");
    }
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
    assert_eq!(runs.transition_to(&wanted), Transition::Nothing);
    let (old, new) = (
        wanted.dhcp.unwrap(),
        Dhcp {
            end: [10, 77, 0, 210].into(),
            ..wanted.dhcp.unwrap()
        },
    );
    wanted.dhcp = Some(new);
    assert_eq!(runs.transition_to(&wanted), Transition::Range { old, new });
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
