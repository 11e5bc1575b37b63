//! What hands have set inside devices of ours.

use labyard_driver::observed::Cable;

use super::*;

#[test]
fn a_cable_is_out_where_what_runs_says_so_and_the_definition_does_not() {
    let with = |state: &str| {
        let text = made(&spec()).to_string();
        Element::parse(&text.replacen("</interface>", &format!("<link state='{state}'/></interface>"), 1))
            .unwrap()
    };
    let cable = |defined: &Element, live: &Element| {
        detail(defined, Some(live), &Sizes::Unread, &places()).nics[0].cable
    };
    assert_eq!(cable(&made(&spec()), &with("down")), Cable::Out);
    assert_eq!(cable(&with("up"), &with("down")), Cable::Out);
    assert_eq!(cable(&made(&spec()), &with("up")), Cable::AsDefined);
    assert_eq!(cable(&with("down"), &with("down")), Cable::AsDefined);
}

#[test]
fn what_a_hand_has_set_inside_our_devices_outlives_every_change() {
    let by_hand = [
        ("</interface>", "<rom enabled='no'/></interface>"),
        ("</interface>", "<rom file='/srv/boot.rom'/></interface>"),
        ("</interface>", "<link state='down'/></interface>"),
        (
            "<driver name='qemu'",
            "<driver name='qemu' cache='none' io='native'",
        ),
    ];
    for (place, put_in) in by_hand {
        let text = made(&spec()).to_string();
        assert!(text.contains(place), "{text}");
        let mut domain = Element::parse(&text.replacen(place, put_in, 1)).unwrap();
        let mut changed = spec();
        changed.cpus += 1;
        for spec in [spec(), changed, spec()] {
            edit(&mut domain, &spec, &places()).unwrap();
            let kept = put_in.replace("</interface>", "");
            let text = domain.to_string();
            let is_there = text.contains(&kept);
            assert!(is_there, "{kept} is gone: {text}");
        }
    }
}

#[test]
fn a_boot_program_that_a_hand_has_chosen_outlives_the_boot_from_the_network() {
    let chosen = "<rom file='/srv/boot.rom'/>";
    let text = made(&spec()).to_string();
    let text = text.replacen("</interface>", &format!("{chosen}</interface>"), 1);
    let mut domain = Element::parse(&text).unwrap();
    for spec in [edge(), spec()] {
        edit(&mut domain, &spec, &places()).unwrap();
        assert!(domain.to_string().contains(chosen), "{domain}");
    }
}
