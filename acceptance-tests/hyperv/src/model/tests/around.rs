//! Guardians and TPM, the cluster, and what tests hold a host by.

use std::collections::BTreeMap;

use crate::cim::{Instance, Path, Value};
use crate::contract::{Model, WmiFault};
use crate::model::paths::{CLUSTER, HGS};
use crate::model::row::{Row, octets};
use crate::model::setup::Guardians;
use crate::model::store::{self, number, text};
use crate::model::testing::{Bench, Outcome, code, instance};
use crate::model::{Cluster, Power};

const SECURITY: &str = "Msvm_SecuritySettingData";

fn class(namespace: &str, class: &str) -> Path {
    Path {
        namespace: namespace.to_owned(),
        class: class.to_owned(),
        keys: BTreeMap::new(),
    }
}

fn guardian(bench: &mut Bench) -> Value {
    let input = [
        ("Name", Value::text("UntrustedGuardian")),
        ("GenerateCertificates", Value::Boolean(true)),
    ];
    let answer = bench.call(
        &class(HGS, "MSFT_HgsGuardian"),
        "NewByGenerateCertificates",
        &input,
    );
    answer["cmdletOutput"].clone()
}

fn protector(bench: &mut Bench, owner: Value, root: bool) -> Result<Value, WmiFault> {
    let input = [("Owner", owner), ("AllowUntrustedRoot", Value::Boolean(root))];
    let answer = bench.try_call(&class(HGS, "MSFT_HgsKeyProtector"), "NewByGuardians", &input)?;
    match &answer["cmdletOutput"] {
        Value::Instance(row) => Ok(row.get("RawData").clone()),
        other => panic!("{other:?}"),
    }
}

fn security(bench: &Bench, id: &str) -> Row {
    Row::of(SECURITY).text("InstanceID", store::id(&bench.own(id, SECURITY)))
}

fn secure(bench: &mut Bench, method: &str, row: Row, key: Option<Value>) -> Outcome {
    let mut input = vec![("SecuritySettingData", instance(row))];
    input.extend(key.map(|key| ("KeyProtector", key)));
    let answer = bench.call(&Bench::service("Msvm_SecurityService"), method, &input);
    bench.end(&answer)
}

fn key_of(bench: &mut Bench, id: &str) -> Value {
    let row = instance(security(bench, id));
    let service = Bench::service("Msvm_SecurityService");
    bench.call(&service, "GetKeyProtector", &[("SecuritySettingData", row)])["KeyProtector"].clone()
}

#[test]
fn a_tpm_needs_a_key_protector_before_and_none_is_four_zeros() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    assert_eq!(key_of(&mut bench, &id), octets(&[0; 4]));
    let row = security(&bench, &id).flag("TpmEnabled", true);
    assert_eq!(
        secure(&mut bench, "ModifySecuritySettings", row, None),
        Outcome::Failed(10, 32775)
    );
    let owner = guardian(&mut bench);
    let key = protector(&mut bench, owner, true).expect("a protector");
    let row = security(&bench, &id);
    assert_eq!(
        secure(&mut bench, "SetKeyProtector", row, Some(key.clone())),
        Outcome::Well
    );
    let row = security(&bench, &id).flag("TpmEnabled", true);
    assert_eq!(
        secure(&mut bench, "ModifySecuritySettings", row, None),
        Outcome::Well
    );
    assert_eq!(
        bench.own(&id, SECURITY).get("TpmEnabled").as_boolean(),
        Some(true)
    );
    assert_eq!(key_of(&mut bench, &id), key);
    bench.start(&id);
    let row = security(&bench, &id).flag("TpmEnabled", false);
    assert_eq!(
        secure(&mut bench, "ModifySecuritySettings", row, None),
        Outcome::Refused(32775),
        "off only"
    );
}

#[test]
fn bytes_that_are_no_protector_are_refused() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let row = security(&bench, &id);
    assert_eq!(
        secure(&mut bench, "SetKeyProtector", row, Some(octets(&[1; 200]))),
        Outcome::Failed(10, 32773)
    );
    let row = security(&bench, &id);
    assert_eq!(
        secure(&mut bench, "SetKeyProtector", row, Some(Value::text("AQID"))),
        Outcome::Refused(32773)
    );
    let first = bench.machine("b", 1);
    let row = security(&bench, &first);
    assert_eq!(
        secure(&mut bench, "SetKeyProtector", row, Some(octets(&[1; 200]))),
        Outcome::Refused(32773)
    );
}

fn with_tpm(bench: &mut Bench) -> (String, Value) {
    let id = bench.machine("a", 2);
    let owner = guardian(bench);
    let key = protector(bench, owner.clone(), true).expect("a protector");
    let row = security(bench, &id);
    assert_eq!(secure(bench, "SetKeyProtector", row, Some(key)), Outcome::Well);
    let row = security(bench, &id).flag("TpmEnabled", true);
    assert_eq!(secure(bench, "ModifySecuritySettings", row, None), Outcome::Well);
    bench.start(&id);
    assert_eq!(bench.request(&id, 3), Outcome::Well);
    (id, owner)
}

#[test]
fn another_protector_makes_the_state_of_a_tpm_unreadable() {
    let mut bench = Bench::new();
    let (id, owner) = with_tpm(&mut bench);
    let other = protector(&mut bench, owner, true).expect("a protector");
    let row = security(&bench, &id);
    assert_eq!(
        secure(&mut bench, "SetKeyProtector", row, Some(other)),
        Outcome::Well
    );
    assert_eq!(bench.request(&id, 2), Outcome::Failed(10, 32768));
}

#[test]
fn without_the_guardians_keys_a_machine_with_a_tpm_does_not_start() {
    let mut bench = Bench::new();
    let (id, _) = with_tpm(&mut bench);
    bench.host.forget_guardian("UntrustedGuardian");
    assert_eq!(bench.request(&id, 2), Outcome::Failed(10, 32768));
}

#[test]
fn an_owner_is_a_whole_guardian_of_this_host() {
    let mut bench = Bench::new();
    let owner = guardian(&mut bench);
    assert_eq!(
        protector(&mut bench, owner.clone(), false),
        Err(WmiFault::FAILED),
        "no trusted root"
    );
    let Value::Instance(mut partial) = owner else {
        panic!("no guardian");
    };
    partial.set("SigningCertificate", Value::Null);
    assert_eq!(
        protector(&mut bench, Value::Instance(partial), true),
        Err(WmiFault::INVALID_PARAMETER)
    );
    assert_eq!(
        protector(&mut bench, Value::text("UntrustedGuardian"), true),
        Err(WmiFault::INVALID_PARAMETER)
    );
    let rows = bench.host.instances(HGS, "MSFT_HgsGuardian").expect("rows");
    assert_eq!(text(&rows[0], "Name"), "UntrustedGuardian");
    let again = [
        ("Name", Value::text("UntrustedGuardian")),
        ("GenerateCertificates", Value::Boolean(true)),
    ];
    assert!(
        bench
            .try_call(
                &class(HGS, "MSFT_HgsGuardian"),
                "NewByGenerateCertificates",
                &again
            )
            .is_err()
    );
}

#[test]
fn a_host_may_take_no_owner_that_is_an_object() {
    let mut bench = Bench::with(|setup| setup.guardians = Guardians::Refused);
    let owner = guardian(&mut bench);
    assert_eq!(
        protector(&mut bench, owner, true),
        Err(WmiFault::INVALID_PARAMETER)
    );
}

fn role(bench: &mut Bench, name: &str) -> Result<crate::contract::Parameters, WmiFault> {
    let mut cluster = class(CLUSTER, "MSCluster_Cluster");
    cluster.keys.insert("Name".to_owned(), "C1".to_owned());
    bench.try_call(
        &cluster,
        "AddVirtualMachine",
        &[("VirtualMachine", Value::text(name))],
    )
}

fn cluster_rows(bench: &Bench, class: &str) -> Vec<Instance> {
    bench.host.instances(CLUSTER, class).expect("rows")
}

fn group(name: &str) -> Path {
    let mut path = class(CLUSTER, "MSCluster_ResourceGroup");
    path.keys.insert("Name".to_owned(), name.to_owned());
    path
}

#[test]
fn a_role_is_added_by_a_name_that_is_the_only_one_and_taken_away_with_option_1() {
    let cluster = Cluster::new("C1", &["HV01", "HV02"]);
    let mut bench = Bench::with(|setup| setup.cluster = Some(cluster.node("HV01")));
    let id = bench.machine("web", 2);
    assert!(role(&mut bench, "none").is_err());
    assert!(role(&mut bench, "web").expect("a role").is_empty(), "no output");
    assert!(role(&mut bench, "web").is_err(), "it has one");
    let row = cluster_rows(&bench, "MSCluster_ResourceGroup").remove(0);
    assert_eq!(
        (
            number(&row, "GroupType"),
            number(&row, "State"),
            text(&row, "OwnerNode")
        ),
        (111, 1, "HV01")
    );
    bench.start(&id);
    assert_eq!(
        number(&cluster_rows(&bench, "MSCluster_ResourceGroup")[0], "State"),
        0
    );
    let resources = cluster_rows(&bench, "MSCluster_Resource");
    assert_eq!(resources.len(), 2);
    let Value::Instance(private) = resources[0].get("PrivateProperties") else {
        panic!("no properties");
    };
    assert!(text(private, "VmID").eq_ignore_ascii_case(&id));
    let zero = [("Options", Value::Unsigned(0))];
    assert_eq!(
        bench.try_call(&group("web"), "DestroyGroup", &zero),
        Err(WmiFault::FAILED)
    );
    let one = [("Options", Value::Unsigned(1))];
    assert!(bench.try_call(&group("web"), "DestroyGroup", &one).is_ok());
    assert!(bench.host.machine(&id).is_some(), "the machine stays");
    bench.machine("twin", 2);
    bench.machine("twin", 2);
    assert!(role(&mut bench, "twin").is_err());
}

#[test]
fn properties_of_a_role_are_put() {
    let cluster = Cluster::new("C1", &["HV01"]);
    let mut bench = Bench::with(|setup| setup.cluster = Some(cluster.node("HV01")));
    bench.machine("web", 2);
    role(&mut bench, "web").expect("a role");
    let changes = Row::elsewhere(CLUSTER, "MSCluster_ResourceGroup")
        .number("FailoverThreshold", 2)
        .done();
    let row = bench.host.put(&group("web"), &changes).expect("a row");
    assert_eq!(number(&row, "FailoverThreshold"), 2);
    assert_eq!(bench.host.put(&group("none"), &changes), Err(WmiFault::NOT_FOUND));
}

#[test]
fn a_machine_that_goes_without_its_role_leaves_one_that_has_failed() {
    let cluster = Cluster::new("C1", &["HV01"]);
    let mut bench = Bench::with(|setup| setup.cluster = Some(cluster.node("HV01")));
    let id = bench.machine("web", 2);
    role(&mut bench, "web").expect("a role");
    bench.host.delete_machine(&id);
    assert_eq!(
        number(&cluster_rows(&bench, "MSCluster_ResourceGroup")[0], "State"),
        2
    );
}

#[test]
fn a_machine_that_moved_is_on_the_other_node_alone() {
    let cluster = Cluster::new("C1", &["HV01", "HV02"]);
    let mut bench = Bench::with(|setup| setup.cluster = Some(cluster.node("HV01")));
    let other = Bench::with(|setup| {
        setup.cluster = Some(cluster.node("HV02"));
        setup.computer = "HV02".to_owned();
    });
    let id = bench.machine("web", 2);
    role(&mut bench, "web").expect("a role");
    let _ = bench.host.plug_disk(&id, r"D:\lab\web.vhdx");
    bench.host.move_to(&id, "HV02");
    assert!(bench.host.machine(&id).is_none());
    assert_eq!(other.host.machine(&id).expect("it").name, "web");
    assert_eq!(
        text(&cluster_rows(&bench, "MSCluster_ResourceGroup")[0], "OwnerNode"),
        "HV02"
    );
    assert_eq!(
        cluster.roles(),
        [("web".to_owned(), id.clone(), "HV02".to_owned())]
    );
    let drive = other.host.settings_of(&id, crate::model::add::SASD).remove(0);
    assert!(
        text(&drive, "Parent").starts_with(r"\\HV02\"),
        "paths are those of the host that writes them"
    );
    let back = [
        ("NodeName", Value::text("HV01")),
        ("TimeOut", Value::Unsigned(1000)),
    ];
    assert_eq!(
        bench.try_call(&group("web"), "MoveToNewNode", &back),
        Err(WmiFault::FAILED),
        "it is not here"
    );
    let mut other = other;
    assert!(other.try_call(&group("web"), "MoveToNewNode", &back).is_ok());
    assert!(other.host.machine(&id).is_none());
    assert!(bench.host.machine(&id).is_some());
}

#[test]
fn a_host_in_no_cluster_has_no_such_namespace() {
    let bench = Bench::new();
    assert_eq!(
        bench.host.instances(CLUSTER, "MSCluster_Cluster"),
        Err(WmiFault::INVALID_NAMESPACE)
    );
}

#[test]
fn what_somebody_does_by_hand_is_seen_and_what_nobody_touched_reads_the_same() {
    let bench = Bench::new();
    let foreign = bench.host.add_machine("foreign", "somebody's", 2);
    let before = bench.host.inventory();
    assert_eq!(bench.host.inventory(), before);
    bench.host.set_power(&foreign, Power::Running);
    assert_eq!(bench.host.inventory().len(), before.len());
    bench.host.set_power(&foreign, Power::Off);
    assert_eq!(bench.host.inventory(), before, "states are no part of it");
    bench.host.set_notes(&foreign, "changed");
    assert_ne!(bench.host.inventory(), before);
    assert_eq!(bench.host.machine(&foreign).expect("it").notes, "changed");
    let _ = bench.host.plug_disk(&foreign, r"D:\lab\x.vhdx");
    assert_eq!(
        bench.host.machine(&foreign).expect("it").files,
        [r"D:\lab\x.vhdx"]
    );
    bench.host.delete_machine(&foreign);
    assert!(bench.host.machines().is_empty());
}

#[test]
fn a_host_tells_which_methods_were_called_and_why_they_were_refused() {
    let mut bench = Bench::new();
    let answer = bench.vsms("DestroySystem", &[]);
    assert_eq!(code(&answer), 32773);
    assert_eq!(
        bench.host.calls(),
        ["Msvm_VirtualSystemManagementService.DestroySystem"]
    );
    assert!(bench.host.refusals()[0].contains("AffectedSystem"));
    assert!(bench.host.is_idle());
}
