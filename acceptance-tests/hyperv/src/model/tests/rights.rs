//! Who sees and may do what.

use crate::cim::{Path, Value};
use crate::contract::{Model, WmiFault};
use crate::model::Part;
use crate::model::paths::{CIMV2, CLUSTER, HGS, STANDARD, V2};
use crate::model::row::Row;
use crate::model::setup::{Build, Edition, Guardians, Language, Rights};
use crate::model::store::text;
use crate::model::testing::{Bench, Outcome, VSSD, code, instance};

#[test]
fn without_rights_on_hyper_v_everything_is_empty_and_methods_answer_32769() {
    let mut bench = Bench::new();
    bench.machine("a", 2);
    bench.host.set_rights(Rights::Remote);
    for class in ["Msvm_ComputerSystem", VSSD, "Msvm_VirtualSystemManagementService"] {
        assert_eq!(bench.rows(class), [], "{class}");
    }
    let setting = instance(Row::of(VSSD).text("ElementName", "b"));
    assert_eq!(
        bench.manage("DefineSystem", &[("SystemSettings", setting)]),
        Outcome::Refused(32769)
    );
    bench.host.set_rights(Rights::HyperV);
    assert_eq!(bench.rows("Msvm_ComputerSystem").len(), 2);
    assert_eq!(bench.rows("Msvm_VirtualSystemManagementService").len(), 1);
}

#[test]
fn without_the_namespace_everything_is_denied() {
    let mut bench = Bench::new();
    bench.host.set_rights(Rights::None);
    assert_eq!(
        bench.host.instances(V2, "Msvm_ComputerSystem"),
        Err(WmiFault::ACCESS_DENIED)
    );
    let service = Bench::service("Msvm_VirtualSystemManagementService");
    assert_eq!(
        bench.try_call(&service, "DefineSystem", &[]),
        Err(WmiFault::ACCESS_DENIED)
    );
}

#[test]
fn networks_guardians_files_and_the_cluster_need_an_administrator() {
    let cluster = crate::model::Cluster::new("C1", &["HV01"]);
    let mut bench = Bench::with(|setup| setup.cluster = Some(cluster.node("HV01")));
    std::fs::write(bench.drive.path().join("x.txt"), b"x").expect("a file");
    bench.host.set_rights(Rights::HyperV);
    assert_eq!(
        bench.host.instances(HGS, "MSFT_HgsGuardian"),
        Err(WmiFault::ACCESS_DENIED)
    );
    assert_eq!(
        bench.host.instances(CLUSTER, "MSCluster_Cluster"),
        Err(WmiFault::ACCESS_DENIED)
    );
    let nat = Row::elsewhere(STANDARD, "MSFT_NetNat")
        .text("Name", "a")
        .text("InternalIPInterfaceAddressPrefix", "10.0.0.0/8");
    assert_eq!(bench.host.create(nat.done()), Err(WmiFault::ACCESS_DENIED));
    let file = Path {
        namespace: CIMV2.to_owned(),
        class: "CIM_DataFile".to_owned(),
        keys: std::collections::BTreeMap::from([("Name".to_owned(), r"D:\x.txt".to_owned())]),
    };
    assert_eq!(bench.try_call(&file, "Delete", &[]), Err(WmiFault::ACCESS_DENIED));
    assert!(
        bench.host.instances(STANDARD, "MSFT_NetAdapter").is_ok(),
        "reading is free"
    );
}

#[test]
fn a_role_that_is_not_installed_is_a_namespace_that_is_not_there() {
    let mut bench = Bench::new();
    bench.host.set_role(Part::Missing);
    assert_eq!(
        bench.host.instances(V2, "Msvm_ComputerSystem"),
        Err(WmiFault::INVALID_NAMESPACE)
    );
    let service = Bench::service("Msvm_VirtualSystemManagementService");
    assert_eq!(
        bench.try_call(&service, "DefineSystem", &[]),
        Err(WmiFault::INVALID_NAMESPACE)
    );
    assert!(bench.host.instances(CIMV2, "Win32_OperatingSystem").is_ok());
    assert_eq!(
        bench
            .host
            .instances("root/hypervcluster/v2", "Msvm_ComputerSystem"),
        Err(WmiFault::INVALID_NAMESPACE)
    );
}

#[test]
fn a_service_that_is_stopped_shows_nothing_and_machines_are_there_after_its_start() {
    let mut bench = Bench::new();
    bench.machine("a", 2);
    bench.host.set_service(Part::Missing);
    assert_eq!(bench.rows("Msvm_ComputerSystem"), []);
    let service = Bench::service("Msvm_VirtualSystemManagementService");
    assert_eq!(
        bench.try_call(&service, "DefineSystem", &[]),
        Err(WmiFault::NOT_FOUND)
    );
    bench.host.set_service(Part::There);
    assert_eq!(bench.rows("Msvm_ComputerSystem").len(), 2);
}

#[test]
fn services_are_found_by_creation_class_name() {
    let mut bench = Bench::new();
    let bare = |class: &str| Path {
        namespace: V2.to_owned(),
        class: class.to_owned(),
        keys: std::collections::BTreeMap::new(),
    };
    let management = bare("Msvm_VirtualSystemManagementService");
    assert_eq!(
        bench.try_call(&management, "DefineSystem", &[]),
        Err(WmiFault::INVALID_METHOD_PARAMETERS)
    );
    for class in [
        "Msvm_ImageManagementService",
        "Msvm_VirtualEthernetSwitchManagementService",
    ] {
        assert_eq!(
            bench.try_call(&bare(class), "DefineSystem", &[]),
            Err(WmiFault::FAILED),
            "{class}"
        );
    }
    let mut wrong = Bench::service("Msvm_ImageManagementService");
    wrong.keys.insert("Name".to_owned(), "other".to_owned());
    assert_eq!(
        bench.try_call(&wrong, "ValidateVirtualHardDisk", &[]),
        Err(WmiFault::NOT_FOUND)
    );
}

#[test]
fn what_this_model_does_not_hold_is_a_fault_and_no_success() {
    let mut bench = Bench::new();
    let service = Bench::service("Msvm_VirtualSystemManagementService");
    assert_eq!(
        bench.try_call(&service, "ExportSystemDefinition", &[]),
        Err(WmiFault::NOT_SUPPORTED)
    );
    let answer = bench.vsms("DefineSystem", &[]);
    assert_eq!(code(&answer), 32773);
    assert!(
        bench
            .host
            .refusals()
            .last()
            .expect("a reason")
            .contains("SystemSettings")
    );
}

#[test]
fn the_host_tells_its_build_and_what_it_has() {
    let bench = Bench::with(|setup| {
        setup.build = Build::SERVER_2025;
        setup.edition = Edition::Client;
        setup.memory = 8192;
    });
    let system = bench
        .host
        .instances(CIMV2, "Win32_OperatingSystem")
        .expect("a row")
        .remove(0);
    assert_eq!(text(&system, "BuildNumber"), "26100");
    assert_eq!(system.get("ProductType"), &Value::Unsigned(1));
    assert_eq!(
        system.get("TotalVisibleMemorySize"),
        &Value::Unsigned(8192 * 1024)
    );
    let set = bench.rows("Msvm_VirtualSystemManagementServiceSettingData");
    assert!(!text(&set[0], "DefaultExternalDataRoot").is_empty());
}

#[test]
fn classes_that_came_with_2016_are_not_on_older_hosts() {
    let bench = Bench::with(|setup| setup.build = Build(9600));
    assert_eq!(
        bench.host.instances(V2, "Msvm_SecuritySettingData"),
        Err(WmiFault::INVALID_CLASS)
    );
    assert_eq!(
        bench.host.instances(HGS, "MSFT_HgsGuardian"),
        Err(WmiFault::INVALID_NAMESPACE)
    );
    let bench = Bench::with(|setup| setup.guardians = Guardians::Absent);
    assert_eq!(
        bench.host.instances(HGS, "MSFT_HgsGuardian"),
        Err(WmiFault::INVALID_NAMESPACE)
    );
}

#[test]
fn a_host_of_another_language_translates_what_windows_named_and_nothing_else() {
    let mut bench = Bench::with(|setup| setup.language = Language::Japanese);
    let id = bench.machine("web", 2);
    let row = bench
        .rows("Msvm_ComputerSystem")
        .into_iter()
        .find(|row| text(row, "Name") == id)
        .expect("it");
    assert_eq!(text(&row, "Caption"), "仮想マシン");
    assert_eq!(text(&row, "ElementName"), "web");
    assert_eq!(text(&row, "Description"), "Microsoft Virtual Machine");
    bench.start(&id);
    let heartbeat = bench.rows("Msvm_HeartbeatComponent").remove(0);
    assert!(!text(&heartbeat, "ElementName").is_ascii());
    let setting = instance(
        Row::of(VSSD)
            .text("ElementName", "x")
            .text("ConfigurationDataRoot", r"X:\x"),
    );
    let answer = bench.vsms("DefineSystem", &[("SystemSettings", setting)]);
    assert_eq!(bench.end(&answer), Outcome::Failed(10, 32779));
    assert!(!text(&bench.job(&answer).expect("its job"), "ErrorDescription").is_ascii());
}
