//! Calls that make no sense, and many machines.

use std::time::{Duration, Instant as Time};

use crate::cim::Value;
use crate::contract::Model;
use crate::model::paths::{self, CIMV2, CLUSTER, HGS, STANDARD, V2};
use crate::model::row::Row;
use crate::model::setup::Ids;
use crate::model::testing::{Bench, VSSD, inputs};
use crate::model::{Cluster, Power};

/// Methods of the model, each with the object that it is called on.
const METHODS: [(&str, &str, &[&str]); 12] = [
    (
        V2,
        "Msvm_VirtualSystemManagementService",
        &[
            "DefineSystem",
            "ModifySystemSettings",
            "DestroySystem",
            "AddResourceSettings",
            "ModifyResourceSettings",
            "RemoveResourceSettings",
            "AddFeatureSettings",
            "ModifyFeatureSettings",
            "RemoveFeatureSettings",
            "AddKvpItems",
            "ModifyKvpItems",
            "RemoveKvpItems",
            "SetGuestNetworkAdapterConfiguration",
            "GetSummaryInformation",
        ],
    ),
    (
        V2,
        "Msvm_VirtualSystemSnapshotService",
        &[
            "CreateSnapshot",
            "ApplySnapshot",
            "DestroySnapshot",
            "DestroySnapshotTree",
        ],
    ),
    (
        V2,
        "Msvm_ImageManagementService",
        &[
            "CreateVirtualHardDisk",
            "ResizeVirtualHardDisk",
            "ConvertVirtualHardDisk",
            "GetVirtualHardDiskSettingData",
            "GetVirtualHardDiskState",
            "MergeVirtualHardDisk",
            "SetParentVirtualHardDisk",
            "ValidateVirtualHardDisk",
            "CompactVirtualHardDisk",
            "AttachVirtualHardDisk",
        ],
    ),
    (
        V2,
        "Msvm_VirtualEthernetSwitchManagementService",
        &[
            "DefineSystem",
            "ModifySystemSettings",
            "DestroySystem",
            "AddResourceSettings",
            "RemoveResourceSettings",
        ],
    ),
    (
        V2,
        "Msvm_SecurityService",
        &["GetKeyProtector", "SetKeyProtector", "ModifySecuritySettings"],
    ),
    (V2, "Msvm_ComputerSystem", &["RequestStateChange"]),
    (
        V2,
        "Msvm_ShutdownComponent",
        &["InitiateShutdown", "InitiateReboot"],
    ),
    (V2, "Msvm_ConcreteJob", &["GetErrorEx", "RequestStateChange"]),
    (STANDARD, "MSFT_NetIPAddress", &["Create"]),
    (CIMV2, "CIM_DataFile", &["Delete"]),
    (HGS, "MSFT_HgsKeyProtector", &["NewByGuardians"]),
    (
        CLUSTER,
        "MSCluster_ResourceGroup",
        &["DestroyGroup", "MoveToNewNode"],
    ),
];

/// Names of parameters and of properties, which are drawn together with values that do not belong to them.
const NAMES: [&str; 34] = [
    "SystemSettings",
    "ResourceSettings",
    "AffectedConfiguration",
    "AffectedSystem",
    "FeatureSettings",
    "TargetSystem",
    "DataItems",
    "NetworkConfiguration",
    "ComputerSystem",
    "SettingData",
    "RequestedInformation",
    "SnapshotType",
    "Snapshot",
    "AffectedSnapshot",
    "SnapshotSettingData",
    "VirtualDiskSettingData",
    "Path",
    "MaxInternalSize",
    "SourcePath",
    "DestinationPath",
    "ChildPath",
    "ParentPath",
    "SecuritySettingData",
    "KeyProtector",
    "RequestedState",
    "IPAddress",
    "PrefixLength",
    "InterfaceIndex",
    "Owner",
    "Options",
    "NodeName",
    "Force",
    "AddressFamily",
    "AllowUntrustedRoot",
];

struct Draw<'a> {
    ids: Ids,
    bench: &'a Bench,
    machine: String,
}

impl Draw<'_> {
    fn below(&mut self, most: usize) -> usize {
        usize::from(self.ids.bytes(1)[0]) % most
    }

    fn text(&mut self) -> String {
        let own = format!("Microsoft:{}", self.machine);
        let all = [
            "",
            "x",
            r"D:\lab\a.vhdx",
            r"D:\lab\a.avhdx",
            r"D:\",
            "D:",
            r"\\HV01\D$\lab\a.vhdx",
            r"\\",
            "Microsoft:",
            "é",
            r"\",
            "00155D012345",
            "é0155D01234",
            "10.0.0.1",
            "Microsoft:Hyper-V:SubType:2",
            "a.vhdx",
            r#"root/virtualization/v2:Msvm_ComputerSystem.Name="x""#,
            "Microsoft:Definition",
            "00000000004500.000000:000",
        ];
        match self.below(all.len() + 3) {
            0 => own,
            1 => paths::write("HV01", &paths::setting(VSSD, &own)),
            2 => {
                let rows = self.bench.host.settings(&self.machine);
                let at = self.below(rows.len().max(1));
                rows.get(at).map_or(own, |row| {
                    paths::write("HV01", &paths::setting(&row.class, crate::model::store::id(row)))
                })
            }
            other => all[other - 3].to_owned(),
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        let numbers = [0, 1, 2, 3, 4, 10, 31, 4096, 32768, u64::MAX];
        match self.below(if depth == 0 { 5 } else { 9 }) {
            0 => Value::Null,
            1 => Value::Boolean(self.below(2) == 0),
            2 => Value::Unsigned(numbers[self.below(numbers.len())]),
            3 | 4 => Value::Text(self.text()),
            5 => Value::Array((0..self.below(3)).map(|_| self.value(depth - 1)).collect()),
            6 => {
                let rows = self.bench.host.settings(&self.machine);
                let at = self.below(rows.len().max(1));
                match rows.get(at) {
                    Some(row) => Value::Reference(paths::setting(&row.class, crate::model::store::id(row))),
                    None => Value::Null,
                }
            }
            7 => Value::Reference(paths::system("Msvm_ComputerSystem", &self.machine)),
            _ => {
                let rows = self.bench.host.settings(&self.machine);
                let others = [
                    "Msvm_VirtualHardDiskSettingData",
                    "Msvm_KvpExchangeDataItem",
                    "MSFT_HgsGuardian",
                ];
                let at = self.below(rows.len() + others.len());
                let mut row = match rows.get(at) {
                    Some(row) => row.clone(),
                    None => Row::of(others[at - rows.len()]).done(),
                };
                let names = [
                    "Parent",
                    "HostResource",
                    "VirtualQuantity",
                    "Notes",
                    "Type",
                    "Format",
                    "Path",
                    "Name",
                    "InstanceID",
                ];
                for _ in 0..self.below(4) {
                    let name = names[self.below(names.len())];
                    row.set(name, self.value(depth - 1));
                }
                Value::Instance(Box::new(row))
            }
        }
    }
}

#[test]
fn strange_calls_are_answered_and_nothing_comes_of_them() {
    let cluster = Cluster::new("C1", &["HV01"]);
    let mut bench = Bench::with(|setup| setup.cluster = Some(cluster.node("HV01")));
    let mut other = Bench::new();
    let (machine, ..) = other.with_disk("a", r"D:\lab\a.vhdx");
    bench.with_disk("a", r"D:\lab\a.vhdx");
    let own = bench.host.machines()[0].id.clone();
    assert_eq!(own, machine, "the same seed, so the same settings to draw from");
    let mut draw = Draw {
        ids: Ids::from_seed(11),
        bench: &other,
        machine,
    };
    for turn in 0..3000 {
        let (namespace, class, methods) = METHODS[draw.below(METHODS.len())];
        let method = methods[draw.below(methods.len())];
        let mut object = paths::path(class, &[("CreationClassName", class)]);
        if draw.below(3) == 0 {
            object.keys.insert("Name".to_owned(), draw.text());
        }
        namespace.clone_into(&mut object.namespace);
        let count = draw.below(5);
        let all: Vec<(&str, Value)> = (0..count)
            .map(|_| (NAMES[draw.below(NAMES.len())], draw.value(3)))
            .collect();
        // Whatever the answer is: the host gave one.
        let _ = bench.host.invoke(&object, method, &inputs(&all));
        bench.pass(7);
        if turn % 100 == 0 {
            assert!(bench.host.instances(V2, "Msvm_ComputerSystem").is_ok());
        }
    }
    bench.pass(10_000);
    assert!(bench.host.is_idle());
}

#[test]
fn two_hundred_machines_are_read_in_a_moment() {
    let mut bench = Bench::new();
    bench.disk(r"D:\lab\base.vhdx");
    // One file under many names: what is measured is not the writing of disks.
    let base = bench.drive.path().join("lab/base.vhdx");
    let mut all = Vec::new();
    for number in 0..200 {
        let id = bench.host.add_machine(&format!("m{number}"), "mark", 2);
        std::fs::hard_link(&base, bench.drive.path().join(format!("lab/{number}.vhdx"))).expect("a file");
        let _ = bench.host.plug_disk(&id, &format!(r"D:\lab\{number}.vhdx"));
        bench.host.set_power(&id, Power::Running);
        all.push(id);
    }
    let begun = Time::now();
    for class in [
        "Msvm_ComputerSystem",
        VSSD,
        "Msvm_MemorySettingData",
        "Msvm_ProcessorSettingData",
        "Msvm_ResourceAllocationSettingData",
        "Msvm_StorageAllocationSettingData",
        "Msvm_BootSourceSettingData",
        "Msvm_GuestNetworkAdapterConfiguration",
        "Msvm_KvpExchangeComponent",
        "Msvm_HeartbeatComponent",
    ] {
        assert!(bench.host.instances(V2, class).is_ok());
    }
    let service = Bench::service("Msvm_ImageManagementService");
    for number in 0..200 {
        let path = [("Path", Value::text(format!(r"D:\lab\{number}.vhdx")))];
        bench.call(&service, "GetVirtualHardDiskState", &path);
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    println!(
        "ten classes of 200 machines, and each of their disks: {:?}",
        begun.elapsed()
    );
    assert_eq!(bench.host.machines().len(), all.len());
}
