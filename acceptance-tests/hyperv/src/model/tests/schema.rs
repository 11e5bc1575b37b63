//! What the model shows is held against the classes as read off real servers: a property that they have not, a value of
//! another type or a key that is missing would be a fault of ours.

use std::collections::BTreeSet;

use crate::cim::{Instance, Value};
use crate::contract::Model;
use crate::model::paths::{self, CIMV2, CLUSTER, HGS, STANDARD, V2};
use crate::model::row::Row;
use crate::model::setup::Build as Windows;
use crate::model::testing::{Bench, Outcome, VSSD, adapter, connection, dvd, instance, iso, to};
use crate::model::{Cluster, GuestNetwork, SwitchKind};
use crate::schema::{Build, Schema};

/// The classes that the model knows.
const CLASSES: &[&str] = &[
    "CIM_DataFile",
    "CIM_LogicalFile",
    "CIM_NetworkPort",
    "MSCluster_Cluster",
    "MSCluster_Node",
    "MSCluster_Property",
    "MSCluster_Resource",
    "MSCluster_ResourceGroup",
    "MSFT_HgsClientConfiguration",
    "MSFT_HgsGuardian",
    "MSFT_HgsKeyProtector",
    "MSFT_NetAdapter",
    "MSFT_NetIPAddress",
    "MSFT_NetIPInterface",
    "MSFT_NetNat",
    "MSFT_NetNatStaticMapping",
    "Msvm_AffectedJobElement",
    "Msvm_BootSourceSettingData",
    "Msvm_ComputerSystem",
    "Msvm_ConcreteJob",
    "Msvm_ElementSettingData",
    "Msvm_EmulatedEthernetPortSettingData",
    "Msvm_Error",
    "Msvm_EthernetPortAllocationSettingData",
    "Msvm_EthernetPortSettingDataComponent",
    "Msvm_EthernetSwitchPort",
    "Msvm_EthernetSwitchPortBandwidthSettingData",
    "Msvm_EthernetSwitchPortOffloadSettingData",
    "Msvm_EthernetSwitchPortSecuritySettingData",
    "Msvm_EthernetSwitchPortVlanSettingData",
    "Msvm_ExternalEthernetPort",
    "Msvm_GuestNetworkAdapterConfiguration",
    "Msvm_GuestServiceInterfaceComponent",
    "Msvm_GuestServiceInterfaceComponentSettingData",
    "Msvm_HeartbeatComponent",
    "Msvm_HeartbeatComponentSettingData",
    "Msvm_ImageManagementService",
    "Msvm_InternalEthernetPort",
    "Msvm_KvpExchangeComponent",
    "Msvm_KvpExchangeComponentSettingData",
    "Msvm_KvpExchangeDataItem",
    "Msvm_MemorySettingData",
    "Msvm_MostCurrentSnapshotInBranch",
    "Msvm_MountedStorageImage",
    "Msvm_ProcessorSettingData",
    "Msvm_ResourceAllocationSettingData",
    "Msvm_SecurityService",
    "Msvm_SecuritySettingData",
    "Msvm_SerialPortSettingData",
    "Msvm_SettingsDefineState",
    "Msvm_ShutdownComponent",
    "Msvm_ShutdownComponentSettingData",
    "Msvm_SnapshotOfVirtualSystem",
    "Msvm_StorageAllocationSettingData",
    "Msvm_StorageJob",
    "Msvm_SummaryInformation",
    "Msvm_SyntheticDisplayControllerSettingData",
    "Msvm_SyntheticEthernetPortSettingData",
    "Msvm_SystemDevice",
    "Msvm_TimeSyncComponent",
    "Msvm_TimeSyncComponentSettingData",
    "Msvm_VirtualEthernetSwitch",
    "Msvm_VirtualEthernetSwitchManagementService",
    "Msvm_VirtualEthernetSwitchSettingData",
    "Msvm_VirtualEthernetSwitchSettingDataComponent",
    "Msvm_VirtualHardDiskSettingData",
    "Msvm_VirtualHardDiskState",
    "Msvm_VirtualSystemManagementCapabilities",
    "Msvm_VirtualSystemManagementService",
    "Msvm_VirtualSystemManagementServiceSettingData",
    "Msvm_VirtualSystemSettingData",
    "Msvm_VirtualSystemSettingDataComponent",
    "Msvm_VirtualSystemSnapshotService",
    "Msvm_VssComponent",
    "Msvm_VssComponentSettingData",
    "Win32_ComputerSystem",
    "Win32_ComputerSystemProduct",
    "Win32_LogicalDisk",
    "Win32_OperatingSystem",
    "Win32_Processor",
];

/// A host with something of everything.
fn busy(build: Windows) -> Bench {
    let cluster = Cluster::new("C1", &["HV01", "HV02"]);
    let mut bench = Bench::with(|setup| {
        setup.build = build;
        setup.cluster = Some(cluster.node("HV01"));
    });
    let (id, drive, _) = bench.with_disk("a", r"D:\lab\a.vhdx");
    std::fs::write(bench.drive.path().join("lab/a.iso"), b"iso").expect("a file");
    let controller = drive.trim_end_matches(r"\0\D").to_owned();
    let tray = bench.added(&id, dvd(&controller, 1));
    bench.added(&id, iso(&tray, r"D:\lab\a.iso"));
    let switch = bench.host.add_switch("lab", SwitchKind::External);
    let _ = bench.host.add_switch("inner", SwitchKind::Internal);
    let nic = bench.added(&id, adapter("nic"));
    let plug = bench.added(&id, connection(&nic, &switch));
    for (class, name, value) in [
        (
            "Msvm_EthernetSwitchPortVlanSettingData",
            "OperationMode",
            Value::Unsigned(1),
        ),
        (
            "Msvm_EthernetSwitchPortSecuritySettingData",
            "AllowMacSpoofing",
            Value::Boolean(true),
        ),
    ] {
        let settings = Value::Array(vec![instance(Row::of(class).value(name, value))]);
        let input = [
            (
                "AffectedConfiguration",
                to("Msvm_EthernetPortAllocationSettingData", &plug),
            ),
            ("FeatureSettings", settings),
        ];
        assert_eq!(bench.manage("AddFeatureSettings", &input), Outcome::Well);
    }
    bench.host.guest(&id, |guest| {
        guest.says.push(("done".to_owned(), "yes".to_owned()));
        let network = GuestNetwork {
            addresses: vec!["192.0.2.5".to_owned()],
            subnets: vec!["255.255.255.0".to_owned()],
            ..GuestNetwork::default()
        };
        guest.networks.insert("nic".to_owned(), network);
    });
    let item = Value::Instance(Box::new(crate::model::guest::item("a", "1", 0)));
    let system = Value::Reference(paths::system("Msvm_ComputerSystem", &id));
    let items = [
        ("TargetSystem", system.clone()),
        ("DataItems", Value::Array(vec![item])),
    ];
    assert_eq!(bench.manage("AddKvpItems", &items), Outcome::Well);
    bench.start(&id);
    let snapshot = [("AffectedSystem", system), ("SnapshotType", Value::Unsigned(2))];
    assert_eq!(bench.checkpoint("CreateSnapshot", &snapshot), Outcome::Well);
    bench.machine("b", 1);
    bench.disk(r"D:\lab\m.vhdx");
    assert_eq!(
        bench.image(
            "AttachVirtualHardDisk",
            &[("Path", Value::text(r"D:\lab\m.vhdx"))]
        ),
        Outcome::Well
    );
    assert_ne!(
        bench.image(
            "ValidateVirtualHardDisk",
            &[("Path", Value::text(r"D:\lab\none.vhdx"))]
        ),
        Outcome::Well
    );
    let mapped = |class: &str| Row::elsewhere(STANDARD, class);
    let nat = mapped("MSFT_NetNat")
        .text("Name", "n")
        .text("InternalIPInterfaceAddressPrefix", "10.0.0.0/24");
    bench.host.create(nat.done()).expect("a NAT");
    let mapping = mapped("MSFT_NetNatStaticMapping")
        .text("NatName", "n")
        .number("Protocol", 6)
        .text("ExternalIPAddress", "0.0.0.0")
        .number("ExternalPort", 22)
        .text("InternalIPAddress", "10.0.0.5")
        .number("InternalPort", 22);
    bench.host.create(mapping.done()).expect("a mapping");
    let mut of_cluster = paths::path("MSCluster_Cluster", &[("Name", "C1")]);
    of_cluster.namespace = CLUSTER.to_owned();
    bench.call(
        &of_cluster,
        "AddVirtualMachine",
        &[("VirtualMachine", Value::text("a"))],
    );
    let mut guardian = paths::path("MSFT_HgsGuardian", &[]);
    guardian.namespace = HGS.to_owned();
    let input = [
        ("Name", Value::text("g")),
        ("GenerateCertificates", Value::Boolean(true)),
    ];
    bench.call(&guardian, "NewByGenerateCertificates", &input);
    bench
}

fn faults(schema: &Schema, namespace: &str, row: &Instance) -> Vec<String> {
    let classes = schema.namespace(namespace).expect("the namespace");
    let Some(class) = classes.class(&row.class) else {
        return vec![format!("no class {}", row.class)];
    };
    let keys = class
        .keys
        .iter()
        .filter(|key| row.get(key).is_null())
        .map(|key| format!("{}: no key {key}", row.class));
    let wrong = row
        .properties()
        .iter()
        .filter_map(|(name, value)| match class.property(name) {
            None => Some(format!("{} has no {name}", row.class)),
            Some(member) if !member.admits(value) => Some(format!("{}.{name} is not {value:?}", row.class)),
            Some(_) => None,
        });
    keys.chain(wrong).collect()
}

#[test]
fn all_rows_are_as_real_servers_have_them() {
    for (windows, build) in [
        (Windows::SERVER_2019, Build::Server2019),
        (Windows::SERVER_2022, Build::Server23h2),
    ] {
        let bench = busy(windows);
        let schema = Schema::of(build);
        let mut found: BTreeSet<String> = BTreeSet::new();
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for namespace in [V2, STANDARD, CIMV2, HGS, CLUSTER] {
            let top = schema.namespace(namespace).expect("the namespace");
            for class in CLASSES.iter().copied().filter(|class| top.class(class).is_some()) {
                let Ok(rows) = bench.host.instances(namespace, class) else {
                    continue;
                };
                for row in rows {
                    seen.insert(row.class.clone());
                    assert_eq!(row.class, class, "a row of exactly that class");
                    found.extend(faults(schema, namespace, &row));
                }
            }
        }
        assert_eq!(found, BTreeSet::new(), "{build:?}");
        assert!(seen.len() > 60, "{}: {seen:?}", seen.len());
        assert!(seen.contains(VSSD));
    }
}

#[test]
fn what_methods_give_is_as_real_servers_have_it() {
    let mut bench = busy(Windows::SERVER_2022);
    let schema = Schema::of(Build::Server23h2);
    let check = |answer: &crate::contract::Parameters, name: &str| {
        let rows = answer[name].each().iter().map(|one| match one {
            Value::Instance(row) => row.clone(),
            other => panic!("{other:?}"),
        });
        for row in rows {
            assert_eq!(faults(schema, V2, &row), Vec::<String>::new());
        }
    };
    let codes: Vec<Value> = (0..120).map(Value::Unsigned).collect();
    check(
        &bench.vsms(
            "GetSummaryInformation",
            &[("RequestedInformation", Value::Array(codes))],
        ),
        "SummaryInformation",
    );
    let service = Bench::service("Msvm_ImageManagementService");
    let path = [("Path", Value::text(r"D:\lab\a.vhdx"))];
    for (method, output) in [
        ("GetVirtualHardDiskSettingData", "SettingData"),
        ("GetVirtualHardDiskState", "State"),
    ] {
        let mut answer = bench.call(&service, method, &path);
        // They are no objects of their own, so they have no key.
        if let Some(Value::Instance(row)) = answer.get_mut(output) {
            row.set("InstanceID", Value::Null);
        }
        let Value::Instance(row) = &answer[output] else {
            panic!("{answer:?}");
        };
        let wrong: Vec<String> = faults(schema, V2, row)
            .into_iter()
            .filter(|fault| !fault.contains("no key"))
            .collect();
        assert!(
            wrong.iter().all(|fault| fault.ends_with("has no InstanceID")),
            "{wrong:?}"
        );
    }
}
