//! Adapters, their connections, and what hangs on those.

use crate::cim::Value;
use crate::contract::WmiFault;
use crate::model::add::{EMULATED, EPASD, SYNTHETIC};
use crate::model::row::Row;
use crate::model::setup::Build;
use crate::model::store::{self, first_text, number, text};
use crate::model::testing::{Bench, Outcome, adapter, connection, instance, switch_link, to};
use crate::model::{How, SwitchKind};

const VLAN: &str = "Msvm_EthernetSwitchPortVlanSettingData";
const SECURITY: &str = "Msvm_EthernetSwitchPortSecuritySettingData";
const BANDWIDTH: &str = "Msvm_EthernetSwitchPortBandwidthSettingData";

/// Machine, adapter, connection, switch.
fn plugged(bench: &mut Bench) -> (String, String, String, String) {
    let id = bench.machine("a", 2);
    let switch = bench.host.add_switch("lab", SwitchKind::Private);
    let nic = bench.added(&id, adapter("nic"));
    let plug = bench.added(&id, connection(&nic, &switch));
    (id, nic, plug, switch)
}

fn feature(bench: &mut Bench, plug: &str, row: Row) -> Outcome {
    let settings = Value::Array(vec![instance(row)]);
    bench.manage(
        "AddFeatureSettings",
        &[
            ("AffectedConfiguration", to(EPASD, plug)),
            ("FeatureSettings", settings),
        ],
    )
}

#[test]
fn a_fixed_address_has_twelve_digits_and_a_dynamic_one_comes_with_the_first_start() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let fixed = |address: &str| {
        adapter("nic")
            .flag("StaticMacAddress", true)
            .text("Address", address)
    };
    for wrong in [
        "",
        "00:15:5D:01:23:45",
        "00155D01234",
        "000000000000",
        "01155D012345",
    ] {
        assert_eq!(
            bench.adding(&id, fixed(wrong)),
            Outcome::Refused(32773),
            "{wrong}"
        );
    }
    let one = bench.added(&id, fixed("00155d012345"));
    assert_eq!(text(&bench.get(SYNTHETIC, &one), "Address"), "00155D012345");
    let other = bench.added(&id, adapter("dynamic").text("Address", "00155D999999"));
    assert_eq!(
        text(&bench.get(SYNTHETIC, &other), "Address"),
        "000000000000",
        "not said to be fixed"
    );
    bench.start(&id);
    assert!(text(&bench.get(SYNTHETIC, &other), "Address").starts_with("00155D0A"));
}

#[test]
fn a_machine_has_eight_adapters_at_most() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    for _ in 0..8 {
        bench.added(&id, adapter("nic"));
    }
    assert_eq!(bench.adding(&id, adapter("nic")), Outcome::Refused(32773));
}

#[test]
fn adapters_come_and_go_live_in_the_second_generation_from_2016_on() {
    for (build, generation, wanted) in [
        (Build::SERVER_2022, 2, Outcome::Well),
        (Build::SERVER_2022, 1, Outcome::Refused(32775)),
        (Build(9600), 2, Outcome::Refused(32775)),
    ] {
        let mut bench = Bench::with(|setup| setup.build = build);
        let id = bench.machine("a", generation);
        let nic = bench.added(&id, adapter("nic"));
        bench.start(&id);
        assert_eq!(bench.adding(&id, adapter("other")), wanted);
        assert_eq!(bench.remove(SYNTHETIC, &nic), wanted);
    }
}

#[test]
fn emulated_adapters_are_of_the_first_generation() {
    let mut bench = Bench::new();
    let emulated = || {
        Row::of(EMULATED)
            .number("ResourceType", 10)
            .text("ResourceSubType", "Microsoft:Hyper-V:Emulated Ethernet Port")
    };
    let second = bench.machine("a", 2);
    assert_eq!(bench.adding(&second, emulated()), Outcome::Refused(32773));
    let first = bench.machine("b", 1);
    for _ in 0..4 {
        assert_eq!(bench.adding(&first, emulated()), Outcome::Well);
    }
    assert_eq!(bench.adding(&first, emulated()), Outcome::Refused(32773));
}

#[test]
fn a_connection_leads_into_a_switch_that_is_there_and_there_is_one() {
    let mut bench = Bench::new();
    let (id, nic, plug, switch) = plugged(&mut bench);
    assert_eq!(plug, format!(r"{nic}\C"));
    assert_eq!(text(&bench.get(EPASD, &plug), "LastKnownSwitchName"), "lab");
    assert_eq!(
        bench.adding(&id, connection(&nic, &switch)),
        Outcome::Refused(32773),
        "it has one"
    );
    let other = bench.added(&id, adapter("other"));
    let missing = "00000000-0000-4000-8000-000000000000";
    assert_eq!(
        bench.adding(&id, connection(&other, missing)),
        Outcome::Refused(32773)
    );
    let scalar = connection(&other, &switch).text("HostResource", switch_link(&switch));
    assert_eq!(bench.adding(&id, scalar), Outcome::Refused(32773));
}

#[test]
fn a_connection_is_moved_and_cut_live() {
    let mut bench = Bench::new();
    let (id, _, plug, _) = plugged(&mut bench);
    let other = bench.host.add_switch("other", SwitchKind::Private);
    bench.start(&id);
    let moved = Row::of(EPASD)
        .text("InstanceID", &plug)
        .texts("HostResource", [switch_link(&other)]);
    assert_eq!(bench.change(moved), Outcome::Well);
    let row = bench.get(EPASD, &plug);
    assert!(
        first_text(&row, "HostResource")
            .expect("a switch")
            .contains(&other)
    );
    assert_eq!(text(&row, "LastKnownSwitchName"), "other");
    assert_eq!(
        bench.change(Row::of(EPASD).text("InstanceID", &plug).number("EnabledState", 3)),
        Outcome::Well
    );
    assert_eq!(number(&bench.get(EPASD, &plug), "EnabledState"), 3);
}

#[test]
fn an_address_changes_off() {
    let mut bench = Bench::new();
    let (id, nic, ..) = plugged(&mut bench);
    let change = || {
        Row::of(SYNTHETIC)
            .text("InstanceID", &nic)
            .flag("StaticMacAddress", true)
            .text("Address", "00155D012345")
    };
    bench.start(&id);
    assert_eq!(bench.change(change()), Outcome::Refused(32775));
    assert_eq!(bench.request(&id, 3), Outcome::Well);
    assert_eq!(bench.change(change()), Outcome::Well);
}

#[test]
fn an_adapter_takes_its_connection_and_its_features_along() {
    let mut bench = Bench::new();
    let (id, nic, plug, _) = plugged(&mut bench);
    let vlan = Row::of(VLAN).number("OperationMode", 1).number("AccessVlanId", 7);
    assert_eq!(feature(&mut bench, &plug, vlan), Outcome::Well);
    assert_eq!(bench.remove(SYNTHETIC, &nic), Outcome::Well);
    let left = bench.host.settings(&id);
    assert!(
        !left.iter().any(|row| store::id(row).starts_with(&nic)),
        "{left:?}"
    );
}

#[test]
fn a_vlan_hangs_on_the_connection_and_does_not_change_in_place() {
    let mut bench = Bench::new();
    let (id, nic, plug, _) = plugged(&mut bench);
    let vlan = |mode: u64, access: u64| {
        Row::of(VLAN)
            .number("OperationMode", mode)
            .number("AccessVlanId", access)
    };
    let settings = Value::Array(vec![instance(vlan(1, 7))]);
    let on_adapter = [
        ("AffectedConfiguration", to(SYNTHETIC, &nic)),
        ("FeatureSettings", settings),
    ];
    assert_eq!(
        bench.manage("AddFeatureSettings", &on_adapter),
        Outcome::Refused(32773)
    );
    assert_eq!(feature(&mut bench, &plug, vlan(1, 4095)), Outcome::Refused(32773));
    assert_eq!(
        feature(&mut bench, &plug, vlan(2, 0)),
        Outcome::Refused(32773),
        "a trunk of nothing"
    );
    assert_eq!(feature(&mut bench, &plug, vlan(1, 7)), Outcome::Well);
    assert_eq!(
        feature(&mut bench, &plug, vlan(1, 8)),
        Outcome::Refused(32773),
        "it has one"
    );
    let row = bench.own(&id, VLAN);
    assert!(
        store::id(&row).starts_with(&format!(r"{plug}\")),
        "{}",
        store::id(&row)
    );
    let change = instance(
        Row::of(VLAN)
            .text("InstanceID", store::id(&row))
            .number("AccessVlanId", 9),
    );
    let change = [("FeatureSettings", Value::Array(vec![change]))];
    assert_eq!(
        bench.manage("ModifyFeatureSettings", &change),
        Outcome::Well,
        "taken without a word"
    );
    assert_eq!(
        number(&bench.own(&id, VLAN), "AccessVlanId"),
        7,
        "and nothing has changed"
    );
    let gone = [("FeatureSettings", Value::Array(vec![to(VLAN, store::id(&row))]))];
    assert_eq!(bench.manage("RemoveFeatureSettings", &gone), Outcome::Well);
    let trunk = vlan(2, 0)
        .numbers("TrunkVlanIdArray", &[5, 6])
        .number("NativeVlanId", 1);
    assert_eq!(feature(&mut bench, &plug, trunk), Outcome::Well);
}

#[test]
fn a_feature_may_be_missing_after_it_was_added() {
    let mut bench = Bench::new();
    let (id, _, plug, _) = plugged(&mut bench);
    bench.host.fail("AddFeatureSettings", 1, How::CompletedAndNothing);
    let vlan = || Row::of(VLAN).number("OperationMode", 1).number("AccessVlanId", 7);
    assert_eq!(feature(&mut bench, &plug, vlan()), Outcome::Well);
    assert!(bench.host.settings_of(&id, VLAN).is_empty());
    assert_eq!(feature(&mut bench, &plug, vlan()), Outcome::Well);
    assert_eq!(bench.host.settings_of(&id, VLAN).len(), 1);
}

#[test]
fn security_of_a_port_changes_in_place() {
    let mut bench = Bench::new();
    let (id, _, plug, _) = plugged(&mut bench);
    assert_eq!(
        feature(
            &mut bench,
            &plug,
            Row::of(SECURITY).flag("AllowMacSpoofing", false)
        ),
        Outcome::Well
    );
    let row = bench.own(&id, SECURITY);
    let change = instance(
        Row::of(SECURITY)
            .text("InstanceID", store::id(&row))
            .flag("AllowMacSpoofing", true),
    );
    assert_eq!(
        bench.manage(
            "ModifyFeatureSettings",
            &[("FeatureSettings", Value::Array(vec![change]))]
        ),
        Outcome::Well
    );
    assert_eq!(
        bench.own(&id, SECURITY).get("AllowMacSpoofing").as_boolean(),
        Some(true)
    );
}

#[test]
fn bandwidth_on_a_switch_without_a_mode_for_it_is_a_fault() {
    let mut bench = Bench::new();
    let (_, _, plug, _) = plugged(&mut bench);
    let settings = Value::Array(vec![instance(Row::of(BANDWIDTH).number("Limit", 1_000_000))]);
    let input = [
        ("AffectedConfiguration", to(EPASD, &plug)),
        ("FeatureSettings", settings),
    ];
    let service = Bench::service("Msvm_VirtualSystemManagementService");
    assert_eq!(
        bench.try_call(&service, "AddFeatureSettings", &input),
        Err(WmiFault(0x8007_0057))
    );
}
