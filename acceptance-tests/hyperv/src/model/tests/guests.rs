//! What goes between host and guest.

use crate::cim::Value;
use crate::model::GuestNetwork;
use crate::model::guest::{item, pairs};
use crate::model::machine::Services;
use crate::model::paths;
use crate::model::row::Row;
use crate::model::store::{self, number, text};
use crate::model::testing::{Bench, Outcome, VSSD, adapter, instance, to};

fn target(id: &str) -> Value {
    Value::Reference(paths::system("Msvm_ComputerSystem", id))
}

fn exchange(bench: &mut Bench, method: &str, id: &str, items: &[(&str, &str)]) -> Outcome {
    let items = items
        .iter()
        .map(|(name, data)| Value::Instance(Box::new(item(name, data, 0))))
        .collect();
    bench.manage(
        method,
        &[("TargetSystem", target(id)), ("DataItems", Value::Array(items))],
    )
}

#[test]
fn items_are_added_once_changed_where_they_are_and_removed_by_name() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    assert_eq!(
        exchange(&mut bench, "AddKvpItems", &id, &[("a", "1"), ("b", "2")]),
        Outcome::Well,
        "off as well"
    );
    assert_eq!(
        exchange(&mut bench, "AddKvpItems", &id, &[("a", "3")]),
        Outcome::Failed(10, 32773)
    );
    assert_eq!(
        exchange(&mut bench, "ModifyKvpItems", &id, &[("c", "3")]),
        Outcome::Failed(10, 32773)
    );
    assert_eq!(
        exchange(&mut bench, "ModifyKvpItems", &id, &[("a", "3")]),
        Outcome::Well
    );
    let row = bench.own(&id, "Msvm_KvpExchangeComponentSettingData");
    let there = pairs(row.get("HostExchangeItems"));
    assert_eq!(
        there,
        [("a".to_owned(), "3".to_owned()), ("b".to_owned(), "2".to_owned())]
    );
    assert_eq!(
        exchange(&mut bench, "RemoveKvpItems", &id, &[("a", "")]),
        Outcome::Well
    );
    assert_eq!(
        exchange(&mut bench, "RemoveKvpItems", &id, &[("a", "")]),
        Outcome::Failed(10, 32773)
    );
    assert_eq!(bench.host.items(&id).len(), 1);
}

#[test]
fn items_have_limits() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let (name, value) = ("n".repeat(255), "v".repeat(1023));
    assert_eq!(
        exchange(&mut bench, "AddKvpItems", &id, &[(&name, &value)]),
        Outcome::Well
    );
    let longer = format!("{name}n");
    assert_eq!(
        exchange(&mut bench, "AddKvpItems", &id, &[(&longer, "")]),
        Outcome::Refused(32773)
    );
    let longer = format!("{value}v");
    assert_eq!(
        exchange(&mut bench, "AddKvpItems", &id, &[("x", &longer)]),
        Outcome::Refused(32773)
    );
    assert_eq!(
        exchange(&mut bench, "AddKvpItems", &id, &[("", "x")]),
        Outcome::Refused(32773)
    );
    let names: Vec<String> = (0..129).map(|number| format!("k{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    assert_eq!(
        exchange(&mut bench, "AddKvpItems", &id, &many),
        Outcome::Refused(32773)
    );
    assert_eq!(
        exchange(&mut bench, "AddKvpItems", &id, &many[..128]),
        Outcome::Well
    );
    let guests_own = Value::Array(vec![Value::Instance(Box::new(item("y", "", 1)))]);
    let input = [("TargetSystem", target(&id)), ("DataItems", guests_own)];
    assert_eq!(
        bench.manage("AddKvpItems", &input),
        Outcome::Refused(32773),
        "the source is the host"
    );
}

#[test]
fn the_guest_sees_and_says_only_while_its_daemon_runs() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    bench.host.guest(&id, |guest| {
        guest.says.push(("done".to_owned(), "yes".to_owned()));
    });
    assert_eq!(
        exchange(&mut bench, "AddKvpItems", &id, &[("a", "1")]),
        Outcome::Well
    );
    assert!(
        bench.rows("Msvm_KvpExchangeComponent").is_empty(),
        "off, it has no such component"
    );
    assert!(bench.host.guest_sees(&id).is_empty());
    bench.start(&id);
    assert_eq!(bench.host.guest_sees(&id), [("a".to_owned(), "1".to_owned())]);
    let row = bench.rows("Msvm_KvpExchangeComponent").remove(0);
    assert_eq!(text(&row, "SystemName"), id);
    assert_eq!(
        pairs(row.get("GuestExchangeItems")),
        [("done".to_owned(), "yes".to_owned())]
    );
    assert!(
        pairs(row.get("GuestIntrinsicExchangeItems"))
            .iter()
            .any(|(name, _)| name == "OSName")
    );
    bench.host.guest(&id, |guest| guest.kvp = Services::Absent);
    let row = bench.rows("Msvm_KvpExchangeComponent").remove(0);
    assert!(row.get("GuestExchangeItems").is_null());
    assert_eq!(
        *row.get("OperationalStatus"),
        Value::Array(vec![Value::Unsigned(12)])
    );
}

#[test]
fn the_heartbeat_comes_with_the_guests_services() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    assert!(bench.rows("Msvm_HeartbeatComponent").is_empty());
    assert_eq!(bench.request(&id, 2), Outcome::Well);
    let status = |bench: &Bench| {
        bench.rows("Msvm_HeartbeatComponent")[0]
            .get("OperationalStatus")
            .each()[0]
            .as_unsigned()
    };
    assert_eq!(status(&bench), Some(12));
    bench.pass(1000);
    assert_eq!(status(&bench), Some(2));
    assert_eq!(bench.request(&id, 11), Outcome::Well);
    assert_eq!(status(&bench), Some(12), "it boots again");
}

#[test]
fn a_component_is_switched_off_by_its_setting() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let class = "Msvm_HeartbeatComponentSettingData";
    let own = store::id(&bench.own(&id, class)).to_owned();
    bench.start(&id);
    assert_eq!(
        bench.change(Row::of(class).text("InstanceID", &own).number("EnabledState", 3)),
        Outcome::Well
    );
    assert_eq!(
        number(&bench.rows("Msvm_HeartbeatComponent")[0], "EnabledState"),
        3
    );
    assert_eq!(
        bench.change(Row::of(class).text("InstanceID", &own).number("EnabledState", 7)),
        Outcome::Refused(32773)
    );
}

#[test]
fn addresses_come_from_the_guests_daemon_alone() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let nic = bench.added(&id, adapter("nic"));
    bench.host.guest(&id, |guest| {
        let network = GuestNetwork {
            dhcp: true,
            addresses: vec!["192.0.2.5".to_owned()],
            subnets: vec!["255.255.255.0".to_owned()],
            ..GuestNetwork::default()
        };
        guest.networks.insert("nic".to_owned(), network);
    });
    let row = |bench: &Bench| bench.rows("Msvm_GuestNetworkAdapterConfiguration").remove(0);
    assert!(row(&bench).get("IPAddresses").each().is_empty());
    bench.start(&id);
    let told = row(&bench);
    assert_eq!(*told.get("IPAddresses"), Value::texts(["192.0.2.5"]));
    let part = nic.rsplit('\\').next().expect("its GUID");
    assert_eq!(store::id(&told), format!(r"Microsoft:GuestNetwork\{id}\{part}"));
    bench.host.guest(&id, |guest| guest.kvp = Services::Absent);
    assert!(row(&bench).get("IPAddresses").each().is_empty());
}

#[test]
fn an_address_is_given_to_a_guest_that_listens() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    bench.added(&id, adapter("nic"));
    let own = store::id(&bench.rows("Msvm_GuestNetworkAdapterConfiguration")[0]).to_owned();
    let row = || {
        Row::of("Msvm_GuestNetworkAdapterConfiguration")
            .text("InstanceID", &own)
            .texts("IPAddresses", ["192.0.2.9"])
            .texts("Subnets", ["255.255.255.0"])
    };
    let give = |bench: &mut Bench, row: Row| {
        let settings = Value::Array(vec![instance(row)]);
        let input = [
            ("ComputerSystem", target(&id)),
            ("NetworkConfiguration", settings),
        ];
        bench.manage("SetGuestNetworkAdapterConfiguration", &input)
    };
    assert_eq!(
        give(&mut bench, row()),
        Outcome::Refused(32773),
        "DHCPEnabled is always said"
    );
    assert_eq!(
        give(&mut bench, row().flag("DHCPEnabled", false)),
        Outcome::Refused(32775),
        "off"
    );
    bench.start(&id);
    assert_eq!(give(&mut bench, row().flag("DHCPEnabled", false)), Outcome::Well);
    let told = bench.rows("Msvm_GuestNetworkAdapterConfiguration").remove(0);
    assert_eq!(*told.get("IPAddresses"), Value::texts(["192.0.2.9"]));
    assert_eq!(told.get("DHCPEnabled").as_boolean(), Some(false));
}

#[test]
fn a_summary_holds_what_was_asked_for_and_no_more() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    bench.machine("b", 2);
    bench.start(&id);
    let ask = |codes: &[u64]| Value::Array(codes.iter().copied().map(Value::Unsigned).collect());
    let all = bench.vsms(
        "GetSummaryInformation",
        &[("RequestedInformation", ask(&[0, 103]))],
    );
    assert_eq!(all["SummaryInformation"].each().len(), 2);
    let one = [
        (
            "SettingData",
            Value::Array(vec![to(VSSD, &format!("Microsoft:{id}"))]),
        ),
        ("RequestedInformation", ask(&[0, 100, 103, 104])),
    ];
    let answer = bench.vsms("GetSummaryInformation", &one);
    let Value::Instance(row) = &answer["SummaryInformation"].each()[0] else {
        panic!("{answer:?}");
    };
    assert_eq!(text(row, "Name"), id);
    assert_eq!(
        (
            number(row, "EnabledState"),
            number(row, "MemoryUsage"),
            number(row, "Heartbeat")
        ),
        (2, 1024, 2)
    );
    assert!(row.get("ElementName").is_null(), "code 1 was not asked for");
}
