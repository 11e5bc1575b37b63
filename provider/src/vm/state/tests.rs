use super::*;

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// What a refresh makes of `before` where the machine's first NIC shows these and has that one reserved.
fn refreshed_ip(before: &str, shown: &[&str], reserved: Option<&str>) -> Option<String> {
    let nic = vm::Nic {
        network: "lab".into(),
        model: "virtio".into(),
        mac: Some("52:54:00:00:00:01".into()),
        ..vm::Nic::default()
    };
    let prior = Vm {
        nics: Some(BTreeMap::from([("lan".to_owned(), nic)])),
        ip: Some(before.to_owned()),
        ..Vm::default()
    };
    let mut view = as_view(&prior, None);
    let nic = view.nics.values_mut().next().unwrap();
    nic.addresses = addresses(shown);
    nic.reserved = reserved.map(|text| text.parse().unwrap());
    ip(&prior, &view)
}

#[test]
fn an_address_of_the_other_kind_does_not_take_the_place_of_the_one_in_the_state() {
    let v4 = Some("10.0.0.5".to_owned());
    for shown in [
        &["2001:db8::1", "10.0.0.5"] as &[&str],
        &["2001:db8::1"],
        &["fe80::1", "169.254.3.4"],
        &[],
    ] {
        assert_eq!(refreshed_ip("10.0.0.5", shown, None), v4, "{shown:?}");
    }
    let v6 = Some("2001:db8::1".to_owned());
    assert_eq!(
        refreshed_ip("2001:db8::1", &["10.0.0.5", "2001:db8::1"], None),
        v6
    );
    assert_eq!(refreshed_ip("2001:db8::1", &["10.0.0.5"], None), v6);
}

#[test]
fn another_address_of_the_same_kind_does_unless_the_one_in_the_state_is_reserved() {
    let shown = ["2001:db8::1", "10.0.0.9"];
    assert_eq!(
        refreshed_ip("10.0.0.5", &shown, None),
        Some("10.0.0.9".to_owned())
    );
    assert_eq!(
        refreshed_ip("10.0.0.5", &shown, Some("10.0.0.5")),
        Some("10.0.0.5".to_owned())
    );
}

#[test]
fn a_new_machine_has_the_address_that_is_kept_for_it_then_what_was_seen() {
    let seen = addresses(&["10.0.0.9", "2001:db8::1"]);
    let reserved = "10.0.0.5".parse().ok();
    assert_eq!(first_ip(&seen, reserved), Some("10.0.0.5".to_owned()));
    assert_eq!(first_ip(&seen, None), Some("10.0.0.9".to_owned()));
    assert_eq!(
        first_ip(&addresses(&["2001:db8::1"]), None),
        Some("2001:db8::1".to_owned())
    );
    assert_eq!(first_ip(&[], None), None);
}
