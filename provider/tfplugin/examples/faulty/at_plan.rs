//! Faults of a plan.

use std::collections::BTreeMap;

use tfplugin::value::{Path, Value};
use tfplugin::{Diagnostics, Plan};

use crate::fault::Fault;
use crate::thing::id;

/// Plans, and breaks the rule that `fault` names.
pub(crate) fn spoil(fault: Fault, plan: &mut Plan, diags: &mut Diagnostics) {
    if plan.planned.is_null() {
        if fault == Fault::PlanOfDestroyIsNotNull {
            plan.planned = plan.prior.clone();
        }
        return;
    }
    match fault {
        Fault::PlanChangesConfigured => put(plan, "name", "other"),
        Fault::PlanSetsUnconfigured => put(plan, "size", 5),
        Fault::PlanMakesNullEmpty => put(plan, "hosts", Value::Sequence(Vec::new())),
        Fault::PlanReplacesNowhere => plan.requires_replace.push(Path::attribute("colour")),
        Fault::PlanReplacesTwice => {
            plan.requires_replace = vec![Path::attribute("name"), Path::attribute("name")];
        }
        Fault::PlanReplacesUnchanged => plan.requires_replace.push(Path::attribute("mode")),
        Fault::PlanNeverSettles => put(plan, "id", Value::Unknown),
        Fault::PlanKeepsWriteOnly => {
            let secret = plan.config.field("secret_wo").clone();
            put(plan, "secret_wo", secret);
        }
        Fault::PlanIsNull => plan.planned = Value::Null,
        Fault::PlanHasWrongType => put(plan, "name", true),
        Fault::PlanLacksAnAttribute => {
            plan.planned
                .as_keyed_mut()
                .map(|entries: &mut BTreeMap<_, _>| entries.remove("mode"));
        }
        Fault::PlanIsRandom => {
            plan.planned.set(&id(), format!("process-{}", std::process::id()));
        }
        Fault::PlanIgnoresDefault => put(plan, "mode", "manual"),
        Fault::PlanFails => {
            diags.error(
                Some(Path::attribute("name")),
                "Name is taken",
                "Another thing has it.",
            );
        }
        Fault::PlanPanics => panic!("plan fell over"),
        _ => {}
    }
}

fn put(plan: &mut Plan, name: &str, value: impl Into<Value>) {
    plan.planned.set(&Path::attribute(name), value);
}
