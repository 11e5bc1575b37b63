//! Switches, and the host's own network.

use crate::cim::{Instance, Path, Value};
use crate::contract::{Model, WmiFault};
use crate::model::add::EPASD;
use crate::model::associations::path_of;
use crate::model::paths::{self, STANDARD};
use crate::model::row::Row;
use crate::model::setup::{Edition, NatLimit};
use crate::model::store::{self, first_text, number, text};
use crate::model::switches::{DEFAULT_SWITCH, SETTING, SWITCH};
use crate::model::testing::{Bench, Outcome, adapter, code, connection, instance, to};
use crate::model::{Card, How, SwitchKind};

fn standard(bench: &Bench, class: &str) -> Vec<Instance> {
    bench.host.instances(STANDARD, class).expect("rows")
}

fn port(resource: Value) -> Row {
    Row::of(EPASD)
        .number("ResourceType", 33)
        .text("ResourceSubType", "Microsoft:Hyper-V:Ethernet Connection")
        .number("EnabledState", 2)
        .value("HostResource", resource)
}

fn define(bench: &mut Bench, name: &str, ports: Vec<Row>) -> Outcome {
    let setting = Row::of(SETTING)
        .text("ElementName", name)
        .texts("Notes", ["mark"]);
    let ports = ports.into_iter().map(instance).collect();
    bench.switching(
        "DefineSystem",
        &[
            ("SystemSettings", instance(setting)),
            ("ResourceSettings", Value::Array(ports)),
        ],
    )
}

fn host_path() -> Value {
    Value::texts([paths::write(
        "HV01",
        &paths::system("Msvm_ComputerSystem", "HV01"),
    )])
}

fn card_path(bench: &Bench) -> Value {
    let card = bench.rows("Msvm_ExternalEthernetPort").remove(0);
    Value::texts([paths::write("HV01", &path_of(&card))])
}

#[test]
fn a_private_switch_is_there_at_once_and_an_internal_one_by_a_job() {
    let mut bench = Bench::new();
    let service = Bench::service("Msvm_VirtualEthernetSwitchManagementService");
    let setting = instance(
        Row::of(SETTING)
            .text("ElementName", "lab")
            .texts("Notes", ["mark"]),
    );
    let answer = bench.call(&service, "DefineSystem", &[("SystemSettings", setting.clone())]);
    assert_eq!(code(&answer), 0);
    let row = bench.rows(SETTING).remove(0);
    assert_eq!(*row.get("Notes"), Value::texts(["mark"]));
    assert_eq!(
        store::id(&row),
        format!("Microsoft:{}", text(&bench.rows(SWITCH)[0], "Name"))
    );
    let ports = Value::Array(vec![instance(port(host_path()))]);
    let answer = bench.call(
        &service,
        "DefineSystem",
        &[("SystemSettings", setting), ("ResourceSettings", ports)],
    );
    assert_eq!(code(&answer), 4096);
    assert_eq!(bench.end(&answer), Outcome::Well);
    assert_eq!(bench.host.switches().len(), 2);
}

#[test]
fn wrong_shapes_of_a_port_are_refused_each_by_its_code() {
    let mut bench = Bench::new();
    let first = host_path().each()[0].clone();
    assert_eq!(
        define(&mut bench, "a", vec![port(Value::Null)]),
        Outcome::Refused(32773)
    );
    assert_eq!(
        define(&mut bench, "a", vec![port(first)]),
        Outcome::Refused(32776),
        "a scalar"
    );
    assert_eq!(
        define(&mut bench, "a", vec![port(Value::texts(["HV01"]))]),
        Outcome::Refused(32773)
    );
    let other = paths::write("HV01", &paths::system("Msvm_ComputerSystem", "HV02"));
    assert_eq!(
        define(&mut bench, "a", vec![port(Value::texts([other]))]),
        Outcome::Refused(32773)
    );
    assert!(bench.host.switches().is_empty());
}

#[test]
fn an_internal_switch_gives_the_host_an_adapter_with_an_address_of_its_own() {
    let mut bench = Bench::new();
    assert_eq!(define(&mut bench, "lab", vec![port(host_path())]), Outcome::Well);
    let inner = bench.rows("Msvm_InternalEthernetPort").remove(0);
    assert_eq!(text(&inner, "ElementName"), "lab");
    let adapters = standard(&bench, "MSFT_NetAdapter");
    let own = adapters
        .iter()
        .find(|row| row.get("Virtual").as_boolean() == Some(true))
        .expect("an adapter");
    assert_eq!(text(own, "Name"), "vEthernet (lab)");
    assert_eq!(
        text(&inner, "DeviceID"),
        format!("Microsoft:{}", text(own, "DeviceID"))
    );
    let index = number(own, "InterfaceIndex");
    let addresses = standard(&bench, "MSFT_NetIPAddress");
    let given = addresses
        .iter()
        .find(|row| number(row, "InterfaceIndex") == index)
        .expect("an address");
    assert!(text(given, "IPAddress").starts_with("169.254."));
}

#[test]
fn an_external_switch_binds_a_card_that_then_is_taken() {
    let mut bench = Bench::new();
    let card = card_path(&bench);
    let short = paths::path("Msvm_ExternalEthernetPort", &[("DeviceID", "Microsoft:{X}")]);
    let short = Value::texts([paths::write("HV01", &short)]);
    assert_eq!(
        define(&mut bench, "bad", vec![port(short)]),
        Outcome::Refused(32773),
        "four keys lead to a card"
    );
    assert_eq!(
        define(&mut bench, "out", vec![port(card.clone()), port(host_path())]),
        Outcome::Well
    );
    assert_eq!(
        bench.rows("Msvm_ExternalEthernetPort")[0]
            .get("IsBound")
            .as_boolean(),
        Some(true)
    );
    assert_eq!(bench.rows("Msvm_InternalEthernetPort").len(), 1);
    assert_eq!(
        define(&mut bench, "again", vec![port(card)]),
        Outcome::Refused(32773)
    );
    let id = bench.host.switches()[0].0.clone();
    let gone = [("AffectedSystem", Value::Reference(paths::system(SWITCH, &id)))];
    assert_eq!(bench.switching("DestroySystem", &gone), Outcome::Well);
    assert_eq!(
        bench.rows("Msvm_ExternalEthernetPort")[0]
            .get("IsBound")
            .as_boolean(),
        Some(false)
    );
    assert!(bench.rows("Msvm_InternalEthernetPort").is_empty());
}

#[test]
fn the_kind_of_a_switch_is_told_by_where_its_ports_lead() {
    let bench = Bench::new();
    let leads = |id: &str| -> Vec<String> {
        let rows = bench.host.settings_of(id, EPASD);
        let mut all: Vec<String> = rows
            .iter()
            .filter_map(|row| first_text(row, "HostResource"))
            .map(|path| {
                if path.contains(":Msvm_ComputerSystem.") {
                    "host".to_owned()
                } else {
                    "card".to_owned()
                }
            })
            .collect();
        all.sort();
        all
    };
    assert_eq!(
        leads(&bench.host.add_switch("p", SwitchKind::Private)),
        Vec::<String>::new()
    );
    assert_eq!(leads(&bench.host.add_switch("i", SwitchKind::Internal)), ["host"]);
    assert_eq!(
        leads(&bench.host.add_switch("e", SwitchKind::External)),
        ["card", "host"]
    );
}

#[test]
fn a_switch_is_renamed_and_its_adapter_is_not() {
    let mut bench = Bench::new();
    let id = bench.host.add_switch("lab", SwitchKind::Internal);
    let change = Row::of(SETTING)
        .text("InstanceID", format!("Microsoft:{id}"))
        .text("ElementName", "new");
    assert_eq!(
        bench.switching("ModifySystemSettings", &[("SystemSettings", instance(change))]),
        Outcome::Well
    );
    assert_eq!(text(&bench.rows(SWITCH)[0], "ElementName"), "new");
    assert!(
        standard(&bench, "MSFT_NetAdapter")
            .iter()
            .any(|row| text(row, "Name") == "vEthernet (lab)")
    );
}

#[test]
fn ports_of_a_switch_come_and_go() {
    let mut bench = Bench::new();
    let id = bench.host.add_switch("lab", SwitchKind::Private);
    let add = [
        ("AffectedConfiguration", to(SETTING, &format!("Microsoft:{id}"))),
        (
            "ResourceSettings",
            Value::Array(vec![instance(port(host_path()))]),
        ),
    ];
    assert_eq!(bench.switching("AddResourceSettings", &add), Outcome::Well);
    assert_eq!(
        bench.switching("AddResourceSettings", &add),
        Outcome::Refused(32773),
        "it has one"
    );
    assert_eq!(bench.rows("Msvm_InternalEthernetPort").len(), 1);
    let row = bench.own(&id, EPASD);
    let gone = [("ResourceSettings", Value::Array(vec![to(EPASD, store::id(&row))]))];
    assert_eq!(bench.switching("RemoveResourceSettings", &gone), Outcome::Well);
    assert!(bench.rows("Msvm_InternalEthernetPort").is_empty());
}

#[test]
fn a_switch_that_goes_leaves_adapters_plugged_into_nothing() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let switch = bench.host.add_switch("lab", SwitchKind::Private);
    let nic = bench.added(&id, adapter("nic"));
    let plug = bench.added(&id, connection(&nic, &switch));
    let gone = [("AffectedSystem", Value::Reference(paths::system(SWITCH, &switch)))];
    assert_eq!(bench.switching("DestroySystem", &gone), Outcome::Well);
    let row = bench.get(EPASD, &plug);
    assert!(row.get("HostResource").each().is_empty());
    assert_eq!(text(&row, "LastKnownSwitchName"), "lab");
    assert_eq!(bench.request(&id, 2), Outcome::Well);
}

#[test]
fn client_editions_have_a_switch_that_stays_as_it_is() {
    let mut bench = Bench::with(|setup| setup.edition = Edition::Client);
    assert_eq!(
        bench.host.switches(),
        [(DEFAULT_SWITCH.to_owned(), "Default Switch".to_owned())]
    );
    let gone = [(
        "AffectedSystem",
        Value::Reference(paths::system(SWITCH, DEFAULT_SWITCH)),
    )];
    assert_eq!(bench.switching("DestroySystem", &gone), Outcome::Refused(32770));
    let addresses = standard(&bench, "MSFT_NetIPAddress");
    assert!(
        addresses
            .iter()
            .any(|row| text(row, "IPAddress") == "172.20.16.1")
    );
    assert!(Bench::new().host.switches().is_empty());
}

fn address(bench: &mut Bench, input: &[(&str, Value)]) -> Result<Vec<Value>, WmiFault> {
    let object = Path {
        namespace: STANDARD.to_owned(),
        class: "MSFT_NetIPAddress".to_owned(),
        keys: std::collections::BTreeMap::new(),
    };
    let answer = bench.try_call(&object, "Create", input)?;
    Ok(answer.get("CmdletOutput").expect("its output").each().to_vec())
}

#[test]
fn an_address_is_created_in_both_stores_and_deleted_row_by_row() {
    let mut bench = Bench::new();
    let _ = bench.host.add_switch("lab", SwitchKind::Internal);
    let input = [
        ("InterfaceAlias", Value::text("vEthernet (lab)")),
        ("IPAddress", Value::text("192.168.50.1")),
        ("AddressFamily", Value::Unsigned(2)),
        ("PrefixLength", Value::Unsigned(24)),
    ];
    assert_eq!(address(&mut bench, &input).expect("an address").len(), 2);
    assert_eq!(
        address(&mut bench, &input),
        Err(WmiFault(0x8007_1392)),
        "it exists"
    );
    let rows = |bench: &Bench| -> Vec<Instance> {
        let all = standard(bench, "MSFT_NetIPAddress");
        all.into_iter()
            .filter(|row| text(row, "InterfaceAlias") == "vEthernet (lab)")
            .collect()
    };
    let mut stores: Vec<u64> = rows(&bench).iter().map(|row| number(row, "Store")).collect();
    stores.sort_unstable();
    assert_eq!(stores, [0, 1], "and the address of its own has gone");
    for row in rows(&bench) {
        let keys = [
            "SystemCreationClassName",
            "SystemName",
            "CreationClassName",
            "Name",
        ];
        let path = Path {
            namespace: STANDARD.to_owned(),
            class: "MSFT_NetIPAddress".to_owned(),
            keys: keys
                .iter()
                .map(|key| ((*key).to_owned(), text(&row, key).to_owned()))
                .collect(),
        };
        assert_eq!(bench.host.delete(&path), Ok(()));
        assert_eq!(bench.host.delete(&path), Err(WmiFault::NOT_FOUND));
    }
    assert!(rows(&bench).is_empty());
    let missing = [
        ("InterfaceIndex", Value::Unsigned(999)),
        ("IPAddress", Value::text("10.0.0.1")),
    ];
    assert_eq!(address(&mut bench, &missing), Err(WmiFault::NOT_FOUND));
    let mut wrong = input.clone();
    wrong[3].1 = Value::Unsigned(33);
    assert_eq!(address(&mut bench, &wrong), Err(WmiFault(0x8007_0057)));
}

fn nat(name: &str, prefix: &str) -> Instance {
    Row::elsewhere(STANDARD, "MSFT_NetNat")
        .text("Name", name)
        .text("InternalIPInterfaceAddressPrefix", prefix)
        .done()
}

#[test]
fn a_nat_is_created_by_name_and_prefix_and_overlaps_are_refused() {
    let mut bench = Bench::new();
    let path = bench.host.create(nat("lab", "192.168.50.0/24")).expect("a NAT");
    let row = standard(&bench, "MSFT_NetNat").remove(0);
    assert_eq!((text(&row, "Name"), number(&row, "Active")), ("lab", 1));
    assert_eq!(path.keys["InstanceID"], text(&row, "InstanceID"));
    assert_eq!(
        bench.host.create(nat("LAB", "10.0.0.0/24")),
        Err(WmiFault(0x8004_1019)),
        "the name is taken"
    );
    for prefix in [
        "192.168.50.0/25",
        "192.168.0.0/16",
        "192.168.50.1/24",
        "x",
        "192.168.50.0",
    ] {
        assert_eq!(
            bench.host.create(nat("b", prefix)),
            Err(WmiFault(0x8007_0057)),
            "{prefix}"
        );
    }
    let mut keyed = nat("b", "10.0.0.0/24");
    keyed.set("InstanceID", Value::text("b;0"));
    assert_eq!(bench.host.create(keyed), Err(WmiFault(0x8007_0057)));
    assert!(bench.host.create(nat("b", "192.168.51.0/24")).is_ok());
    assert_eq!(bench.host.delete(&path), Ok(()));
    assert_eq!(bench.host.delete(&path), Err(WmiFault::NOT_FOUND));
}

#[test]
fn a_host_may_take_one_nat_and_no_more() {
    let mut bench = Bench::with(|setup| setup.nats = NatLimit::One);
    assert!(bench.host.create(nat("a", "192.168.50.0/24")).is_ok());
    assert_eq!(
        bench.host.create(nat("b", "10.0.0.0/24")),
        Err(WmiFault(0x8007_0057))
    );
}

#[test]
fn a_mapping_belongs_to_a_nat_and_goes_with_it() {
    let mut bench = Bench::new();
    let mapping = |nat: &str, port: u64, internal: &str| {
        Row::elsewhere(STANDARD, "MSFT_NetNatStaticMapping")
            .text("NatName", nat)
            .number("Protocol", 6)
            .text("ExternalIPAddress", "0.0.0.0")
            .number("ExternalPort", port)
            .text("InternalIPAddress", internal)
            .number("InternalPort", 22)
            .done()
    };
    assert_eq!(
        bench.host.create(mapping("lab", 2222, "192.168.50.5")),
        Err(WmiFault::NOT_FOUND)
    );
    let path = bench.host.create(nat("lab", "192.168.50.0/24")).expect("a NAT");
    assert!(bench.host.create(mapping("lab", 2222, "192.168.50.5")).is_ok());
    assert_eq!(
        bench.host.create(mapping("lab", 2222, "192.168.50.6")),
        Err(WmiFault(0x8004_1019))
    );
    assert_eq!(
        bench.host.create(mapping("lab", 2223, "10.0.0.5")),
        Err(WmiFault(0x8007_0057))
    );
    assert_eq!(standard(&bench, "MSFT_NetNatStaticMapping").len(), 1);
    assert_eq!(bench.host.delete(&path), Ok(()));
    assert!(standard(&bench, "MSFT_NetNatStaticMapping").is_empty());
}

#[test]
fn creating_fails_on_demand() {
    let mut bench = Bench::new();
    bench.host.fail("MSFT_NetNat.Create", 1, How::Fault(0x8004_1001));
    assert_eq!(
        bench.host.create(nat("lab", "192.168.50.0/24")),
        Err(WmiFault::FAILED)
    );
    assert!(standard(&bench, "MSFT_NetNat").is_empty());
    assert!(bench.host.create(nat("lab", "192.168.50.0/24")).is_ok());
}

#[test]
fn neighbours_are_told_by_address_and_adapter() {
    let bench = Bench::with(|setup| {
        setup.cards.push(Card {
            name: "Second".to_owned(),
            description: "Another card".to_owned(),
            mac: "A0369F112244".to_owned(),
            address: None,
        });
    });
    bench.host.add_neighbour("Second", "00155d012345", "192.0.2.77");
    let row = standard(&bench, "MSFT_NetNeighbor").remove(0);
    assert_eq!(text(&row, "LinkLayerAddress"), "00-15-5D-01-23-45");
    assert_eq!(bench.rows("Msvm_ExternalEthernetPort").len(), 2);
}
