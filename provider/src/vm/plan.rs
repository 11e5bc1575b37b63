//! What a plan of a machine says: what is known of it before it is made, what a change disturbs, what it refuses.

use std::collections::BTreeMap;

use labyard_driver::ids::{HostName, Namespace, NicKey};
use labyard_driver::observed::{HostFacts, Offer, Offers, Room};
use labyard_driver::spec::{Accelerator, Firmware, SecureBoot};
use labyard_reconciler::derived::Taken;
use labyard_reconciler::desired::DesiredMachine;
use labyard_reconciler::diff::machine::{diff, removal, runs};
use labyard_reconciler::diff::{Change, DiskChange, Disturbance, What};
use labyard_reconciler::view::{MachineView, SeedView};
use labyard_schema::vm::Vm;
use tfplugin::value::{Path, Value};
use tfplugin::{Diagnostics, Plan};

use super::state::{ABSENT, as_view};
use crate::private::Private;
use crate::provider::Context;
use crate::{shape, values};

/// What is derived of names on a known host.
#[derive(Clone, Copy)]
pub struct On<'a> {
    /// The state's namespace.
    pub namespace: &'a Namespace,
    /// The host.
    pub facts: &'a HostFacts,
    /// What its other machines have.
    pub taken: &'a Taken,
}

/// What can be said without any host: owned, and the digests that are pinned.
pub fn settle(plan: &mut Plan, facts: Option<On<'_>>) {
    let macs = macs(plan, facts);
    let digests = image_digests(plan);
    let media = media_digests(plan);
    let serial = serial(plan, facts);
    values::put(&mut plan.planned, "media_digests", media);
    values::put(&mut plan.planned, "serial", serial);
    let machine_type = machine_type(plan);
    values::put(&mut plan.planned, "machine_type", machine_type);
    values::put(&mut plan.planned, "macs", macs);
    values::put(&mut plan.planned, "image_digests", digests);
    values::put(&mut plan.planned, "owned", true);
}

/// What a hook may supply is known when it has been asked.
pub fn leave_macs_open(plan: &mut Plan) {
    let macs = macs(plan, None);
    values::put(&mut plan.planned, "macs", macs);
}

/// The MACs by NIC: as written, else as they are, else derived where the host is known.
fn macs(plan: &Plan, facts: Option<On<'_>>) -> Value {
    let nics = plan.planned.field("nics");
    if nics.is_unknown() {
        return Value::Unknown;
    }
    if nics.is_null() {
        return if plan.prior.field("macs").is_null() {
            Value::Null
        } else {
            Value::object([] as [(&str, Value); 0])
        };
    }
    let entries = nics.entries().map(|(key, nic)| {
        let written = nic.field("mac");
        let before = plan.prior.field("macs").field(key);
        let mac = match (written, plan.planned.field("name").as_str(), facts) {
            (Value::Null, _, _) if !before.is_null() => before.clone(),
            (Value::Null, Some(name), Some(on)) => {
                let key = NicKey(key.to_owned());
                let mac = on.taken.mac(&on.facts.uuid, on.namespace, &name.into(), &key);
                Value::from(mac.to_string())
            }
            (Value::Null, _, _) => Value::Unknown,
            (written, _, _) => written.clone(),
        };
        (key.to_owned(), mac)
    });
    Value::Keyed(entries.collect::<BTreeMap<_, _>>())
}

/// The chipset: as written, else as it is, else the usual one.
fn machine_type(plan: &Plan) -> Value {
    let (written, before) = (
        plan.config.field("machine_type"),
        plan.prior.field("machine_type"),
    );
    match (written, before) {
        (Value::Null, Value::Null) => Value::from("q35"),
        (Value::Null, before) => before.clone(),
        (written, _) => written.clone(),
    }
}

/// The serial number: as written, else what the machine was given, else derived where the host is known. A machine
/// that was given none keeps what it has.
fn serial(plan: &Plan, facts: Option<On<'_>>) -> Value {
    let written = plan.config.field("serial");
    if !written.is_null() {
        return written.clone();
    }
    if !plan.prior.is_null() {
        let given = Private::parse(&plan.prior_private).serial;
        return given.map_or_else(|| plan.prior.field("serial").clone(), Value::from);
    }
    match (plan.planned.field("name").as_str(), facts) {
        (Some(name), Some(on)) => Value::from(on.taken.serial(&on.facts.uuid, on.namespace, &name.into())),
        _ => Value::Unknown,
    }
}

/// The digests by drive: as written, else as they were when the image was inserted.
fn media_digests(plan: &Plan) -> Value {
    let media = plan.planned.field("media");
    if media.is_unknown() {
        return Value::Unknown;
    }
    let mut digests = BTreeMap::new();
    for (key, drive) in media.entries() {
        let image = drive.field("image");
        let prior = plan.prior.field("media").field(key).field("image");
        let before = plan.prior.field("media_digests").field(key);
        let digest = if image.is_null() {
            continue;
        } else if image.is_unknown() || drive.is_unknown() {
            Value::Unknown
        } else if !image.field("sha256").is_null() {
            image.field("sha256").clone()
        } else if !before.is_null() && prior.field("source") == image.field("source") {
            before.clone()
        } else {
            Value::Unknown
        };
        digests.insert(key.to_owned(), digest);
    }
    let null = digests.is_empty() && plan.prior.field("media_digests").is_null();
    if null { Value::Null } else { Value::Keyed(digests) }
}

/// The digests by disk: as written, else as they were when the disk was made.
fn image_digests(plan: &Plan) -> Value {
    let disks = plan.planned.field("disks");
    if disks.is_unknown() {
        return Value::Unknown;
    }
    let mut digests = BTreeMap::new();
    for (key, disk) in disks.entries() {
        let image = disk.field("image");
        let prior = plan.prior.field("disks").field(key).field("image");
        let before = plan.prior.field("image_digests").field(key);
        let digest = if image.is_null() {
            continue;
        } else if image.is_unknown() {
            Value::Unknown
        } else if !image.field("sha256").is_null() {
            image.field("sha256").clone()
        } else if !before.is_null() && prior.field("source") == image.field("source") {
            before.clone()
        } else if !plan.prior.is_null() && !plan.prior.field("disks").field(key).is_null() && prior.is_null()
        {
            // Recorded for a disk that was not made of it: nobody has seen its digest.
            continue;
        } else {
            Value::Unknown
        };
        digests.insert(key.to_owned(), digest);
    }
    let null = digests.is_empty() && plan.prior.field("image_digests").is_null();
    if null { Value::Null } else { Value::Keyed(digests) }
}

/// What was looked at beside the state, for a plan.
#[derive(Debug, Default)]
pub struct Seen {
    /// The seed, where it was read.
    pub seed: Option<SeedView>,
    /// What the machine can take while it runs.
    pub room: Option<Room>,
}

/// Compares a change with the state: what it disturbs, what needs a replacement, what is refused.
pub fn compare(plan: &mut Plan, context: &Context, seen: Seen, diags: &mut Diagnostics) {
    let (Some(prior), Some(planned)) = (
        values::known::<Vm>(&plan.prior, diags),
        values::known::<Vm>(&plan.planned, diags),
    ) else {
        return;
    };
    let identity = Private::parse(&plan.prior_private).identity;
    let mut current = as_view(&prior, identity.as_ref());
    current.room = seen.room;
    if let Some(seed) = seen.seed {
        current.seed = seed;
    }
    let Some(desired) = desired(&context.namespace, &planned) else {
        // A value that is not known yet may change anything: nothing can be promised.
        values::put(&mut plan.planned, "ip", Value::Unknown);
        return;
    };
    let changes = diff(&desired, &current);
    replacements(plan, &changes);
    if plan.requires_replace.is_empty() {
        in_place(&planned, &changes, &current, diags);
        first_address(plan, &planned);
        put_back_warning(&prior, diags);
    } else {
        removal_by_replacement(&current, diags);
        if prior.deletion_protection {
            refuse_protected("labyard_vm", &prior.name, "replaces", diags);
        }
    }
}

/// The error of a plan that takes away what was said to stay.
pub fn refuse_protected(resource: &str, name: &str, does: &str, diags: &mut Diagnostics) {
    let detail = format!(
        "This plan {does} {resource} {name:?}, whose deletion_protection is true. If that is meant, set it to false and \
         apply that first."
    );
    diags.error(
        Some(Path::attribute("deletion_protection")),
        "Protected from deletion",
        detail,
    );
}

/// What is desired, where all of it is known.
fn desired(namespace: &Namespace, planned: &Vm) -> Option<DesiredMachine> {
    let macs = planned.macs.clone().unwrap_or_default();
    let digests = planned.image_digests.clone().unwrap_or_default();
    DesiredMachine::from_config(namespace, planned, &macs, &digests).ok()
}

fn replacements(plan: &mut Plan, changes: &[Change]) {
    for change in changes.iter().filter(|c| c.disturbance == Disturbance::Replace) {
        let path = path(&change.what);
        if !plan.requires_replace.contains(&path) {
            plan.requires_replace.push(path);
        }
    }
}

fn in_place(planned: &Vm, changes: &[Change], current: &MachineView, diags: &mut Diagnostics) {
    for change in changes {
        match &change.what {
            What::Disk(_, DiskChange::Shrunk | DiskChange::RemovalRefused) => {
                let summary = match change.what {
                    What::Disk(_, DiskChange::Shrunk) => "Disk cannot shrink",
                    _ => "Disk would be lost",
                };
                diags.error(Some(path(&change.what)), summary, sentence(change));
            }
            What::Disk(_, DiskChange::Deleted) => {
                diags.warning(
                    Some(path(&change.what)),
                    "Disk and its data will be deleted",
                    sentence(change),
                );
            }
            What::Attribute("cloud_init" | "guest")
                if planned.cloud_init.is_some() || planned.guest.is_some() =>
            {
                let detail = "The machine keeps its instance-id, so its guest takes the new seed for one that it has \
                              followed already. To provision it anew, replace the machine (terraform apply -replace=…), \
                              or say \"instance-id: …\" with a new value in cloud_init.meta_data: then its next boot \
                              is a first boot.";
                diags.warning(Some(path(&change.what)), "Seed will be renewed", detail);
            }
            _ => {}
        }
    }
    let restarts: Vec<_> = changes
        .iter()
        .filter(|c| c.disturbance == Disturbance::Restart)
        .collect();
    let stays_on = planned.power == "running" && runs(current.power);
    if restarts.is_empty() || !stays_on {
        return;
    }
    let list: Vec<_> = restarts.iter().map(|c| format!("  - {c} ({})", c.why)).collect();
    let list = list.join("\n");
    if planned.allow_restart {
        let summary = format!("{} will be restarted", planned.name);
        diags.warning(
            Some(path(&restarts[0].what)),
            summary,
            format!("The machine runs, and these changes need a restart:\n{list}"),
        );
    } else {
        let detail = format!(
            "allow_restart is false, and these changes need a restart of the running machine:\n{list}\nSet allow_restart = true, or stop the machine first (power = \"stopped\")."
        );
        diags.error(Some(path(&restarts[0].what)), "Restart needed", detail);
    }
}

/// The address is known after a change only where it is reserved: on networks of ours, which a plan cannot tell
/// from the state; so an address that the state has is kept where the first NIC stays as it is.
fn first_address(plan: &mut Plan, planned: &Vm) {
    let first = planned.nics.iter().flatten().next();
    let before = plan.prior.field("nics").entries().next();
    let same = match (first, before) {
        (Some((key, nic)), Some((old, prior))) => {
            let mac_of = |value: &Value| value.field("macs").field(key).clone();
            key == old
                && prior.field("network").as_str() == Some(nic.network.as_str())
                && mac_of(&plan.prior) == mac_of(&plan.planned)
        }
        (None, None) => true,
        _ => false,
    };
    if !same {
        values::put(&mut plan.planned, "ip", Value::Unknown);
    }
}

/// A machine whose definition is gone is put back with its disks: said, because it is not what usually happens.
fn put_back_warning(prior: &Vm, diags: &mut Diagnostics) {
    if prior.power == ABSENT {
        let summary = format!("{} will be put back with its disks", prior.name);
        let detail = "Its definition is gone from the host and its disks are still there: it is defined again around them.";
        diags.warning(Some(Path::attribute("power")), summary, detail);
    }
}

/// A replacement makes every disk anew: it counts as removal of each.
fn removal_by_replacement(current: &MachineView, diags: &mut Diagnostics) {
    for (key, disk) in &current.disks {
        let change = removal(key, disk, Disturbance::Restart);
        let at = Path::attribute("disks").then_key(key.as_str());
        match change.what {
            What::Disk(_, DiskChange::RemovalRefused) => diags.error(
                Some(at),
                "Disk would be lost",
                format!(
                    "This change replaces the machine, which makes disk {:?} anew and loses its data. If that is meant, \
                     set the disk's on_remove to \"delete\", apply that, then make this change.",
                    key.as_str()
                ),
            ),
            What::Disk(_, DiskChange::Detached) => diags.error(
                Some(at),
                "Disk would be lost",
                format!(
                    "This change replaces the machine, and disk {:?} is to be detached, not deleted: remove it from the \
                     configuration and apply that first.",
                    key.as_str()
                ),
            ),
            _ => {}
        }
    }
}

fn path(what: &What) -> Path {
    shape::parse_path(&what.to_string())
}

fn sentence(change: &Change) -> String {
    let mut why = change.why.to_owned();
    if let Some(first) = why.get(..1).map(str::to_uppercase) {
        why.replace_range(..1, &first);
    }
    format!("{change}. {why}.")
}

/// Where a planned machine goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// On this host.
    On(HostName),
    /// It is not known yet, or was refused.
    Later,
    /// On whichever has room when it is made; a plan cannot tell, since others take room meanwhile.
    Anywhere,
}

/// Where a planned machine goes: a host that it names or has, the only one, or any.
pub fn machine_host(plan: &mut Plan, context: &Context, diags: &mut Diagnostics) -> Where {
    let unsaid = plan.config.field("host").is_null() && plan.prior.field("host").is_null();
    if unsaid && context.engine.hosts().len() > 1 {
        values::put(&mut plan.planned, "host", Value::Unknown);
        return Where::Anywhere;
    }
    host(plan, context, diags).map_or(Where::Later, Where::On)
}

/// The host of a plan: as written, as it was, or the only one that is configured.
pub fn host(plan: &mut Plan, context: &Context, diags: &mut Diagnostics) -> Option<HostName> {
    let hosts = context.engine.hosts();
    let written = plan.config.field("host").clone();
    let chosen = match (written.as_str(), plan.prior.field("host").as_str()) {
        (Some(host), _) => host.to_owned(),
        (None, _) if written.is_unknown() => return None,
        (None, Some(host)) => host.to_owned(),
        (None, None) => match hosts.as_slice() {
            [only] => only.to_string(),
            _ => {
                let detail = format!(
                    "The provider knows several hosts: say which one, of {}.",
                    join(&hosts)
                );
                diags.error(Some(Path::attribute("host")), "Missing host", detail);
                return None;
            }
        },
    };
    values::put(&mut plan.planned, "host", chosen.as_str());
    let chosen = HostName(chosen);
    if hosts.contains(&chosen) {
        return Some(chosen);
    }
    let detail = format!(
        "Host {:?} is not in the provider's hosts, which are {}.",
        chosen.as_str(),
        join(&hosts)
    );
    diags.error(Some(Path::attribute("host")), "Unknown host", detail);
    None
}

fn join(hosts: &[HostName]) -> String {
    hosts
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

fn is_uefi(plan: &Plan) -> bool {
    plan.planned.field("firmware").field("type").as_str() == Some("uefi")
}

/// The model of the processor, where it is one by name.
fn named_model(plan: &Plan) -> Option<&str> {
    let model = plan.planned.field("cpu").field("model").as_str()?;
    let by_name = !matches!(model, "host-passthrough" | "host-model" | "maximum");
    by_name.then_some(model)
}

/// Whether the host has to be asked for what it offers.
pub fn asks_offers(plan: &Plan) -> bool {
    is_uefi(plan) || named_model(plan).is_some()
}

/// What the host cannot do is refused before anything is made.
pub fn check_host(plan: &Plan, facts: &HostFacts, offers: Option<&Offers>, diags: &mut Diagnostics) {
    check_accelerator(plan, facts, diags);
    let Some(offers) = offers else { return };
    check_model(plan, offers, diags);
    let uefi = is_uefi(plan);
    if uefi && !offers.firmwares.contains(&Firmware::Uefi) {
        let detail = "The host offers no UEFI firmware. On Debian and Ubuntu: apt install ovmf, on the host.";
        diags.error(
            Some(Path::attribute("firmware").then_attribute("type")),
            "UEFI not available",
            detail,
        );
        return;
    }
    if uefi {
        check_guards(plan, offers, diags);
    }
}

/// Secure boot and TPM are the host's to offer, and a machine's own variables are made of a template of the host's.
fn check_guards(plan: &Plan, offers: &Offers, diags: &mut Diagnostics) {
    let firmware = plan.planned.field("firmware");
    let at = |leaf| Some(Path::attribute("firmware").then_attribute(leaf));
    let secure = firmware.field("secure_boot").as_bool() == Some(true);
    let (kind, leaf) = match secure {
        true => (SecureBoot::Microsoft, "secure_boot"),
        false => (SecureBoot::Off, "type"),
    };
    if let Some(Err(reason)) = offers.variables.get(&kind) {
        let detail = format!(
            "The machine's variables cannot be made: {reason}. On Debian and Ubuntu: apt install ovmf, on the host."
        );
        diags.error(at(leaf), "Firmware not available", detail);
    }
    if firmware.field("tpm").as_bool() == Some(true) && offers.tpm == Offer::Lacking {
        let detail =
            "The host emulates no TPM. On Debian and Ubuntu: apt install swtpm swtpm-tools, on the host.";
        diags.error(at("tpm"), "TPM not available", detail);
    }
}

fn check_accelerator(plan: &Plan, facts: &HostFacts, diags: &mut Diagnostics) {
    let model = plan.planned.field("cpu").field("model").as_str();
    if model == Some("host-passthrough") && !facts.accelerators.contains(&Accelerator::Kvm) {
        let detail = "The host runs guests by QEMU's emulation, which cannot pass its own processor through: use \
                      maximum, leave it out, or run the host with KVM.";
        no_processor(detail.to_owned(), diags);
    }
}

fn check_model(plan: &Plan, offers: &Offers, diags: &mut Diagnostics) {
    let (Some(name), Some(known)) = (named_model(plan), &offers.cpu_models) else {
        return;
    };
    if !known.iter().any(|model| model == name) {
        let like = known.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        let detail = format!(
            "The host knows no processor model {name:?}. virsh domcapabilities shows those that it does, like {like}."
        );
        no_processor(detail, diags);
    }
}

fn no_processor(detail: String, diags: &mut Diagnostics) {
    let at = Path::attribute("cpu").then_attribute("model");
    diags.error(Some(at), "Processor not available", detail);
}
