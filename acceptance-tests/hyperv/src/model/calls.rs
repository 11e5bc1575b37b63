//! The table of namespaces, classes and methods: who may see and call what, and where it is done.

use crate::cim::{Instance, Path};
use crate::contract::{Parameters, WmiFault};

use super::codes::{ACCESS_DENIED, INVALID_STATE, Input, Stop, answer, fault, stop};
use super::faults::How;
use super::guest::Items;
use super::language::translated;
use super::paths::{CIMV2, CLUSTER, HGS, STANDARD, V2, key};
use super::services::SERVICES;
use super::setup::{Build, Language, Rights};
use super::state::{Part, State};
use super::store::text;
use super::{add, change, features, guardians, guest, images, power, snapshots, switches, systems};

/// Whether a namespace is one that things are changed in by Create, Put and Delete.
pub(crate) fn changes(state: &State, namespace: &str, wanted: &str) -> Result<(), Stop> {
    if state.rights == Rights::None {
        return fault(WmiFault::ACCESS_DENIED, "the caller may not open the namespace");
    }
    if namespace.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    fault(
        WmiFault::NOT_SUPPORTED,
        format!("nothing in {namespace} is changed so"),
    )
}

/// Fails a call that is to fail before it does anything.
pub(crate) fn injected(state: &mut State, method: &str) -> Result<(), Stop> {
    match state.faults.called(method) {
        Some(How::Return(code)) => stop(code, "this refusal was asked for by the test"),
        Some(How::Fault(code)) => fault(WmiFault(code), "this fault was asked for by the test"),
        _ => Ok(()),
    }
}

impl State {
    /// The rows of a class, as the caller may see them.
    pub(crate) fn rows(&self, namespace: &str, class: &str) -> Result<Vec<Instance>, Stop> {
        let namespace = namespace.to_ascii_lowercase();
        if self.rights == Rights::None {
            return fault(WmiFault::ACCESS_DENIED, "the caller may not open the namespace");
        }
        match namespace.as_str() {
            V2 if self.role == Part::Missing => {
                fault(WmiFault::INVALID_NAMESPACE, "Hyper-V is not installed")
            }
            // Nothing to be seen and no error: that is what a caller without the right gets.
            V2 if self.rights == Rights::Remote || self.service == Part::Missing => Ok(Vec::new()),
            V2 => {
                let rows = self.hyper_v_rows(class)?;
                Ok(match self.setup.language {
                    Language::English => rows,
                    Language::Japanese => rows.into_iter().map(translated).collect(),
                })
            }
            STANDARD => Ok(self.network_rows(class).unwrap_or_default()),
            CIMV2 => Ok(self.computer_rows(class).unwrap_or_default()),
            HGS => {
                self.guardians_there()?;
                Ok(self.guardian_rows(class).unwrap_or_default())
            }
            CLUSTER => self.cluster_rows(class),
            _ => fault(WmiFault::INVALID_NAMESPACE, format!("no namespace {namespace}")),
        }
    }

    fn hyper_v_rows(&self, class: &str) -> Result<Vec<Instance>, Stop> {
        let lower = class.to_ascii_lowercase();
        let newer = [
            "msvm_securitysettingdata",
            "msvm_securityservice",
            "msvm_serialportsettingdata",
        ];
        if self.setup.build < Build::SERVER_2016 && newer.contains(&lower.as_str()) {
            return fault(WmiFault::INVALID_CLASS, format!("this build has no {class}"));
        }
        let known = self
            .service_rows(class)
            .or_else(|| self.association_rows(class))
            .unwrap_or_else(|| match lower.as_str() {
                "msvm_computersystem" => self.systems(),
                "msvm_concretejob" | "msvm_storagejob" => {
                    self.jobs.rows(class, self.now, self.setup.pace.removal)
                }
                "msvm_guestnetworkadapterconfiguration" => self.guest_networks(),
                "msvm_virtualethernetswitch" => self.switch_rows(),
                "msvm_externalethernetport" => self.external_ports(),
                "msvm_internalethernetport" => self.internal_ports(),
                "msvm_mountedstorageimage" => self.mounted_images(),
                _ => {
                    let mut rows = self.components(class);
                    rows.extend(self.store.of_class(class));
                    rows
                }
            });
        Ok(known)
    }

    /// The row at a path.
    pub(crate) fn find(&self, path: &Path) -> Option<Instance> {
        let rows = self.rows(&path.namespace, &path.class).ok()?;
        rows.into_iter().find(|row| {
            path.keys
                .iter()
                .all(|(name, value)| text(row, name).eq_ignore_ascii_case(value))
        })
    }
}

/// Whether a path leads to a service as it has to: `CreationClassName` is enough, and without it nothing is found.
fn service(state: &State, object: &Path, class: &str) -> Result<(), Stop> {
    let named = key(object, "CreationClassName").is_some_and(|name| name.eq_ignore_ascii_case(class));
    if !named && class == "Msvm_VirtualSystemManagementService" {
        return fault(
            WmiFault::INVALID_METHOD_PARAMETERS,
            "a service is found by CreationClassName",
        );
    }
    if !named {
        return fault(WmiFault::FAILED, "a service is found by CreationClassName");
    }
    match state.find(object) {
        Some(_) => Ok(()),
        None => fault(WmiFault::NOT_FOUND, format!("no {class} at {:?}", object.keys)),
    }
}

/// Calls a method.
pub(crate) fn invoke(
    state: &mut State,
    object: &Path,
    method: &str,
    input: &Parameters,
) -> Result<Parameters, Stop> {
    injected(state, method)?;
    let input = Input(input);
    let namespace = object.namespace.to_ascii_lowercase();
    let unknown = || {
        fault(
            WmiFault::NOT_SUPPORTED,
            format!("{}.{method} is beyond this model", object.class),
        )
    };
    if state.rights == Rights::None {
        return fault(WmiFault::ACCESS_DENIED, "the caller may not open the namespace");
    }
    let (class, method) = (object.class.to_ascii_lowercase(), method.to_ascii_lowercase());
    match namespace.as_str() {
        V2 => hyper_v(state, object, &method, &input),
        STANDARD if class == "msft_netipaddress" && method == "create" => state.create_address(&input),
        CIMV2 if class == "cim_datafile" && method == "delete" => state.delete_data_file(object),
        HGS => {
            state.guardians_there()?;
            match (class.as_str(), method.as_str()) {
                ("msft_hgsguardian", "newbygeneratecertificates") => state.new_guardian(&input),
                ("msft_hgsguardian", "remove") => state.remove_guardian(&input),
                ("msft_hgskeyprotector", "newbyguardians") => state.new_protector(&input),
                _ => unknown(),
            }
        }
        CLUSTER => match (class.as_str(), method.as_str()) {
            ("mscluster_cluster", "addvirtualmachine") => state.add_role(&input),
            ("mscluster_resourcegroup" | "mscluster_resource", _) => state.of_role(object, &method, &input),
            _ => unknown(),
        },
        STANDARD | CIMV2 => unknown(),
        _ => fault(WmiFault::INVALID_NAMESPACE, format!("no namespace {namespace}")),
    }
}

fn hyper_v(state: &mut State, object: &Path, method: &str, input: &Input<'_>) -> Result<Parameters, Stop> {
    if state.role == Part::Missing {
        return fault(WmiFault::INVALID_NAMESPACE, "Hyper-V is not installed");
    }
    if state.service == Part::Missing {
        return fault(WmiFault::NOT_FOUND, "the service is stopped");
    }
    if state.rights == Rights::Remote {
        return stop(ACCESS_DENIED, "the caller is no administrator of Hyper-V");
    }
    if let Some((class, _)) = SERVICES
        .iter()
        .find(|(class, _)| class.eq_ignore_ascii_case(&object.class))
    {
        service(state, object, class)?;
        return match *class {
            "Msvm_VirtualSystemManagementService" => management(state, method, input),
            "Msvm_VirtualSystemSnapshotService" => match method {
                "createsnapshot" => snapshots::create(state, input),
                "applysnapshot" => snapshots::apply(state, input),
                "destroysnapshot" => snapshots::destroy(state, input, false),
                "destroysnapshottree" => snapshots::destroy(state, input, true),
                _ => beyond(object, method),
            },
            "Msvm_ImageManagementService" => disk(state, object, method, input),
            "Msvm_VirtualEthernetSwitchManagementService" => switch(state, object, method, input),
            _ => match method {
                "getkeyprotector" => guardians::get_protector(state, input),
                "setkeyprotector" => guardians::set_protector(state, input),
                "modifysecuritysettings" => guardians::modify(state, input),
                _ => beyond(object, method),
            },
        };
    }
    match (object.class.to_ascii_lowercase().as_str(), method) {
        ("msvm_computersystem", "requeststatechange") => {
            if object.keys.len() < 2 || state.find(object).is_none() {
                return fault(WmiFault::NOT_FOUND, "two keys lead to a machine");
            }
            power::request(state, object, input)
        }
        ("msvm_shutdowncomponent", "initiateshutdown") => power::initiate(state, object, input, false),
        ("msvm_shutdowncomponent", "initiatereboot") => power::initiate(state, object, input, true),
        ("msvm_concretejob" | "msvm_storagejob", "geterrorex") => {
            match state.jobs.errors(key(object, "InstanceID").unwrap_or_default()) {
                Some(errors) => {
                    let mut output = answer(0);
                    output.insert("Errors".to_owned(), crate::cim::Value::Array(errors));
                    Ok(output)
                }
                None => fault(WmiFault::FAILED, "the job has no error"),
            }
        }
        ("msvm_concretejob" | "msvm_storagejob", "requeststatechange") => {
            stop(INVALID_STATE, "the job cannot be cancelled")
        }
        ("msvm_mountedstorageimage", "detachvirtualharddisk") => images::detach(state, object),
        _ => beyond(object, method),
    }
}

fn beyond(object: &Path, method: &str) -> Result<Parameters, Stop> {
    fault(
        WmiFault::NOT_SUPPORTED,
        format!("{}.{method} is beyond this model", object.class),
    )
}

fn management(state: &mut State, method: &str, input: &Input<'_>) -> Result<Parameters, Stop> {
    match method {
        "definesystem" => systems::define(state, input),
        "modifysystemsettings" => systems::modify(state, input),
        "destroysystem" => systems::destroy(state, input),
        "addresourcesettings" => add::add(state, input),
        "modifyresourcesettings" => change::modify(state, input),
        "removeresourcesettings" => change::remove(state, input),
        "addfeaturesettings" => features::add(state, input),
        "modifyfeaturesettings" => features::modify(state, input),
        "removefeaturesettings" => features::remove(state, input),
        "addkvpitems" => guest::exchange(state, input, Items::Add),
        "modifykvpitems" => guest::exchange(state, input, Items::Modify),
        "removekvpitems" => guest::exchange(state, input, Items::Remove),
        "setguestnetworkadapterconfiguration" => guest::configure(state, input),
        "getsummaryinformation" => guest::summary(state, input),
        _ => fault(WmiFault::NOT_SUPPORTED, format!("{method} is beyond this model")),
    }
}

fn disk(state: &mut State, object: &Path, method: &str, input: &Input<'_>) -> Result<Parameters, Stop> {
    match method {
        "createvirtualharddisk" => images::create(state, input),
        "resizevirtualharddisk" => images::resize(state, input),
        "convertvirtualharddisk" => images::convert(state, input),
        "getvirtualharddisksettingdata" => images::look(state, input, false),
        "getvirtualharddiskstate" => images::look(state, input, true),
        "mergevirtualharddisk" => images::merge(state, input),
        "setparentvirtualharddisk" => images::set_parent(state, input),
        "validatevirtualharddisk" => images::validate(state, input, false),
        "compactvirtualharddisk" => images::validate(state, input, true),
        "attachvirtualharddisk" => images::attach(state, input),
        _ => beyond(object, method),
    }
}

fn switch(state: &mut State, object: &Path, method: &str, input: &Input<'_>) -> Result<Parameters, Stop> {
    match method {
        "definesystem" => switches::define(state, input),
        "modifysystemsettings" => switches::modify(state, input),
        "destroysystem" => switches::destroy(state, input),
        "addresourcesettings" => switches::add(state, input),
        "removeresourcesettings" => switches::remove(state, input),
        _ => beyond(object, method),
    }
}
