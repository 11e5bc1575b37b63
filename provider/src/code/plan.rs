//! What a plan of a code says: which codes are known before it is made, which will be revoked, what stands against it.

use std::collections::BTreeMap;

use labyard_labs::Refusal;
use labyard_labs::claim::Phase;
use labyard_labs::code::CodeText;
use labyard_labs::code::keep::{Kept, KeptValue, ONLY, batch_labels};
use labyard_labs::ids::PoolName;
use labyard_schema::access_code::AccessCode;
use labyard_schema::text::{Span, parse_duration};
use tfplugin::value::{Path, Value};
use tfplugin::{Diagnostics, Plan};

use crate::lab::{Lab, LabError};
use crate::values;

/// What can be said without the store: the keys of `codes`, and the codes that are known.
pub fn settle(plan: &mut Plan) {
    let codes = codes(plan);
    values::put(&mut plan.planned, "codes", codes);
}

/// The codes by key: as written, else as they are, else not made yet.
fn codes(plan: &Plan) -> Value {
    let (code, secret, batch) = (
        plan.config.field("code"),
        plan.config.field("code_wo"),
        plan.config.field("batch"),
    );
    if !secret.is_null() {
        return Value::object([] as [(&str, Value); 0]);
    }
    if code.is_unknown() || batch.is_unknown() {
        return Value::Unknown;
    }
    if let Some(code) = code.as_str() {
        let shown = CodeText::parse(code).map_or(Value::Unknown, |text| Value::from(text.to_string()));
        return Value::object([(ONLY, shown)]);
    }
    let was_made_up = plan.prior.field("code").is_null() && plan.prior.field("code_wo_version").is_null();
    let before = |label: &str| match plan.prior.field("codes").field(label) {
        code if was_made_up && !code.is_null() => code.clone(),
        _ => Value::Unknown,
    };
    let labels: Vec<String> = match batch.as_u64() {
        Some(count) => batch_labels(u32::try_from(count).unwrap_or(u32::MAX)).collect(),
        None => vec![ONLY.to_owned()],
    };
    let entries = labels.into_iter().map(|label| {
        let code = before(&label);
        (label, code)
    });
    Value::Keyed(entries.collect::<BTreeMap<_, _>>())
}

/// Says which codes a change revokes, and what becomes of claims by them.
pub fn say_what_is_revoked(plan: &Plan, kept: Option<&Kept>, diags: &mut Diagnostics) {
    let (before, after) = (plan.prior.field("codes"), plan.planned.field("codes"));
    let secret_changes = plan.prior.field("code_wo_version") != plan.planned.field("code_wo_version")
        && !plan.prior.field("code_wo_version").is_null();
    if after.is_unknown() && !secret_changes {
        return;
    }
    let gone = before
        .entries()
        .filter(|(label, code)| after.field(label) != *code);
    let gone: Vec<&str> = gone.map(|(label, _)| label).collect();
    if gone.is_empty() && !secret_changes {
        return;
    }
    let used = |label: &&str| {
        let value = kept.and_then(|kept| kept.values.get(*label));
        value.is_some_and(|value| value.uses > 0)
    };
    let used: Vec<&str> = gone.iter().copied().filter(used).collect();
    let which = match gone.as_slice() {
        [] | [ONLY] => "The code that people have now is not taken any more.".to_owned(),
        labels => format!("Not taken any more: {}.", listed(labels)),
    };
    let were_used = match used.as_slice() {
        [] => String::new(),
        [ONLY] => " It was used already.".to_owned(),
        labels => format!(" Used already: {}.", listed(labels)),
    };
    let at = match plan.planned.field("batch").is_null() {
        true => "codes",
        false => "batch",
    };
    let detail = format!("{which}{were_used} Claims that were got by it go on to their end.");
    diags.warning(Some(Path::attribute(at)), "Codes will be revoked", detail);
}

fn listed(labels: &[&str]) -> String {
    match labels {
        [first, .., last] if labels.len() > 6 => format!("{first} to {last}, {} in all", labels.len()),
        few => few.join(", "),
    }
}

/// Says that a code which was revoked becomes valid again, or another is made in its place.
pub fn say_what_is_healed(prior: &AccessCode, plan: &Plan, kept: &Kept, diags: &mut Diagnostics) {
    let missing = kept.values.get(ONLY).is_some_and(KeptValue::is_revoked);
    if !missing {
        return;
    }
    let gives = !plan.config.field("code").is_null() || !plan.config.field("code_wo").is_null();
    let detail = match gives {
        true => {
            "It was revoked, and the configuration still says it: the apply makes it valid again. Write another one to keep \
             this one revoked."
        }
        false => "It was revoked: the apply makes another one up.",
    };
    let summary = format!("{} was revoked", prior.name);
    diags.warning(Some(Path::attribute("codes")), summary, detail);
}

/// Says what becomes of claims when the code is destroyed.
pub fn say_what_ends(kept: &Kept, diags: &mut Diagnostics) {
    let queued = kept.claims.get(Phase::Queued.word()).copied().unwrap_or_default();
    let running = kept.running() - queued;
    if running + queued == 0 {
        return;
    }
    let mut said = Vec::new();
    if running > 0 {
        said.push(match kept.written.ends_claims {
            true => format!(
                "{running} claims end with it, and their machines are taken back: on_destroy is \"end\"."
            ),
            false => format!("{running} claims go on to their end: on_destroy is \"keep\"."),
        });
    }
    if queued > 0 {
        said.push(format!("{queued} that wait in the queue fail."));
    }
    let summary = format!("Code {} is in use", kept.name);
    diags.warning(None, summary, said.join(" "));
}

/// Says of pools that are there what of the code they will not give: a longer lease.
pub async fn check_leases(code: &AccessCode, lab: &dyn Lab, diags: &mut Diagnostics) {
    let asked = |span: &Span| parse_duration(&span.0).ok();
    let Some(lease) = code.lease.as_ref().and_then(asked) else {
        return;
    };
    for name in code.pools.keys() {
        let Ok(found) = lab.pool(&PoolName(name.clone())).await else {
            continue;
        };
        let most = found.pool.spec.lease.max_ms;
        if i64::try_from(lease.as_millis()).unwrap_or(i64::MAX) > most {
            let detail = format!(
                "Pool {name} gives {} s at most (lease.max): claims get that.",
                most / 1000
            );
            diags.warning(Some(Path::attribute("lease")), "Lease cut short", detail);
        }
    }
}

/// Says after a change which pools the code names that are not there.
pub async fn say_what_is_missing(code: &AccessCode, lab: &dyn Lab, diags: &mut Diagnostics) {
    for name in code.pools.keys() {
        let found = lab.pool(&PoolName(name.clone())).await;
        if let Err(LabError::Refused(Refusal::NoPool { .. })) = found {
            let detail = format!(
                "The code grants machines of pool {name:?}, which is not in the store: it is refused until that pool is \
                 there. In one apply, name the pool by its resource, (labyard_vm_pool.NAME.name), so that it is made first."
            );
            diags.warning(Some(Path::attribute("pools")), "No such pool yet", detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(prior: &[(&str, Value)], config: &[(&str, Value)]) -> Value {
        let object = |fields: &[(&str, Value)]| {
            Value::object(fields.iter().map(|(name, value)| (*name, value.clone())))
        };
        let mut plan = Plan {
            prior: match prior.is_empty() {
                true => Value::Null,
                false => object(prior),
            },
            prior_private: Vec::new(),
            config: object(config),
            planned: object(config),
            planned_private: Vec::new(),
            requires_replace: Vec::new(),
        };
        settle(&mut plan);
        plan.planned.field("codes").clone()
    }

    #[test]
    fn the_keys_of_codes_are_known_when_the_configuration_is() {
        let unknown = Value::Unknown;
        assert_eq!(plan(&[], &[]), Value::object([("main", unknown.clone())]));
        assert_eq!(
            plan(&[], &[("batch", Value::from(2))]),
            Value::object([("001", unknown.clone()), ("002", unknown.clone())])
        );
        assert_eq!(
            plan(&[], &[("code", Value::from("robotics-101"))]),
            Value::object([("main", Value::from("robotics-101"))])
        );
        assert_eq!(
            plan(&[], &[("code_wo", unknown.clone())]),
            Value::object([] as [(&str, Value); 0])
        );
        assert_eq!(plan(&[], &[("code", unknown.clone())]), unknown);
        let codes = Value::object([("001", Value::from("AAAA-1111-2222-3333"))]);
        assert_eq!(
            plan(&[("codes", codes)], &[("batch", Value::from(2))]),
            Value::object([
                ("001", Value::from("AAAA-1111-2222-3333")),
                ("002", unknown.clone())
            ])
        );
        let given = [
            ("code", Value::from("robotics-101")),
            ("codes", Value::object([("main", Value::from("robotics-101"))])),
        ];
        assert_eq!(plan(&given, &[]), Value::object([("main", unknown)]));
    }
}
