//! What a plan says of room: on the host that it names, or on all of them where it names none.

use std::collections::{BTreeMap, BTreeSet};

use labyard_driver::ids::{HostName, Mib, PoolName};
use labyard_driver::observed::MachineSize;
use labyard_reconciler::EngineError;
use labyard_reconciler::capacity::{Finding, HostCapacity, ImageNeed, Need, Weight};
use labyard_reconciler::engine::{Look, ObjectRef, Reading};
use labyard_reconciler::host::Cordon;
use labyard_reconciler::want::need;
use labyard_schema::vm::Vm;
use tfplugin::value::Path;
use tfplugin::{Diagnostics, Plan};

use crate::provider::Context;
use crate::{errors, shape, values};

fn pools(need: &Need) -> BTreeSet<PoolName> {
    need.disks.values().filter_map(|disk| disk.pool.clone()).collect()
}

/// An image that is in the pool already is not sent again; which one that is nobody knows before it is opened.
fn with_known_images(mut need: Need, capacity: &HostCapacity) -> Need {
    for disk in need.disks.values_mut() {
        let pool = disk.pool.as_ref().or(capacity.facts.pool.as_ref());
        if pool.is_some_and(|pool| capacity.images.contains(pool)) && disk.image != ImageNeed::None {
            disk.image = ImageNeed::Unknown;
        }
    }
    need
}

/// Checks a plan against the host that it names.
pub async fn on(host: &HostName, plan: &Plan, context: &Context, diags: &mut Diagnostics) {
    let mut quiet = Diagnostics::default();
    let Some(vm) = values::known::<Vm>(&plan.planned, &mut quiet) else {
        return;
    };
    let prior = match plan.prior.is_null() {
        true => None,
        false => values::known::<Vm>(&plan.prior, &mut quiet),
    };
    let need = need(&vm, prior.as_ref());
    let more = prior.as_ref().map_or(need.size, |prior| MachineSize {
        cpus: vm.cpus.saturating_sub(prior.cpus),
        memory: Mib(vm.memory_mib.saturating_sub(prior.memory_mib)),
    });
    if need.disks.is_empty() && more.cpus == 0 && more.memory.0 == 0 {
        return;
    }
    let capacity = match context.engine.capacity(host, Look::Recent).await {
        Ok(capacity) => capacity,
        Err(error) => return errors::report(&error, "Host not readable", diags),
    };
    let need = with_known_images(need, &capacity);
    let mut findings = capacity.hardware(need.size, more);
    let mut storage = capacity.storage(&need.disks);
    if !storage.is_empty() {
        // What the host remembers of its pools may be old: before it speaks against the plan it looks again.
        let own: BTreeSet<_> = capacity.facts.pool.iter().cloned().collect();
        let all = &own | &pools(&need);
        if let Ok(capacity) = context.engine.capacity(host, Look::Now(&all)).await {
            storage = capacity.storage(&need.disks);
        }
    }
    findings.extend(storage);
    report(findings, diags);
}

fn report(findings: Vec<Finding>, diags: &mut Diagnostics) {
    for finding in findings {
        let path = Some(shape::parse_path(&finding.attribute));
        match finding.weight {
            Weight::Refused => diags.error(path, finding.summary, finding.detail),
            Weight::Warned => diags.warning(path, finding.summary, finding.detail),
        }
    }
}

/// Checks a plan that names no host against all of them: an error where none takes the machine, or where one cannot be
/// read that is not cordoned, since the machine may have been begun there.
pub async fn somewhere(plan: &Plan, context: &Context, diags: &mut Diagnostics) {
    let mut quiet = Diagnostics::default();
    let Some(vm) = values::known::<Vm>(&plan.planned, &mut quiet) else {
        return;
    };
    let need = need(&vm, None);
    let mut reasons = BTreeMap::new();
    let mut takes = None;
    for host in context.engine.hosts() {
        let read = async {
            let capacity = context.engine.capacity(&host, Look::Recent).await?;
            let offers = match need.asks_offers() {
                true => Some(context.engine.offers(&host).await?),
                false => None,
            };
            Ok::<_, EngineError>((capacity, offers))
        };
        match read.await {
            Ok((capacity, offers)) => {
                match capacity.lacks(&with_known_images(need.clone(), &capacity), offers.as_ref()) {
                    Some(why) => drop(reasons.insert(host, why)),
                    None => takes = Some(host),
                }
            }
            Err(error) if context.engine.cordon(&host) == Cordon::Closed => {
                passed_over(&host, &error.to_string(), diags);
                reasons.insert(host, format!("it is cordoned, and cannot be read: {error}"));
            }
            Err(error) => return silent(&host, &error.to_string(), diags),
        }
    }
    if takes.is_some() {
        return;
    }
    let list: Vec<_> = reasons
        .iter()
        .map(|(host, why)| format!("  - {host}: {why}"))
        .collect();
    let detail = format!(
        "The machine names no host, and none of the provider's takes it:\n{}",
        list.join("\n")
    );
    diags.error(Some(Path::attribute("host")), "No host takes the machine", detail);
}

fn silent(host: &HostName, why: &str, diags: &mut Diagnostics) {
    let detail = format!(
        "The machine names no host, and host {host} cannot be read: a run that did not come to its end may have begun the machine there. {why}\nMend the host, or set cordoned = true in its block to place machines without it, or name the machine's host."
    );
    diags.error(Some(Path::attribute("host")), "Host not readable", detail);
}

fn passed_over(host: &HostName, why: &str, diags: &mut Diagnostics) {
    let detail = format!("No machine is placed on host {host} while it does not answer: {why}");
    diags.warning(Some(Path::attribute("host")), "Host passed over", detail);
}

/// A storage pool that is written for the first time must be the one where the disk is.
pub async fn same_pools(object: &ObjectRef, plan: &Plan, context: &Context, diags: &mut Diagnostics) {
    let mut quiet = Diagnostics::default();
    let (Some(vm), Some(prior)) = (
        values::known::<Vm>(&plan.planned, &mut quiet),
        values::known::<Vm>(&plan.prior, &mut quiet),
    ) else {
        return;
    };
    let written: BTreeMap<_, _> = vm
        .disks
        .iter()
        .flatten()
        .filter(|(key, _)| {
            let before = prior.disks.as_ref().and_then(|disks| disks.get(*key));
            before.is_some_and(|before| before.storage_pool.is_none())
        })
        .filter_map(|(key, disk)| Some((key, disk.storage_pool.as_ref()?)))
        .collect();
    if written.is_empty() {
        return;
    }
    let Ok(Reading::Present(view)) = context.engine.read_machine(object).await else {
        return;
    };
    for (key, wanted) in written {
        let there = view
            .disks
            .get(&key.as_str().into())
            .and_then(|disk| disk.pool.as_ref());
        if let Some(there) = there.filter(|there| there.as_str() != wanted) {
            let detail = format!(
                "Disk {key:?} lies in storage pool {:?}, and a volume stays in the pool where it was made. Leave \
                 storage_pool out, or add another disk in {wanted:?}.",
                there.as_str()
            );
            let path = Path::attribute("disks")
                .then_key(key)
                .then_attribute("storage_pool");
            diags.error(Some(path), "Disk lies in another pool", detail);
        }
    }
}
