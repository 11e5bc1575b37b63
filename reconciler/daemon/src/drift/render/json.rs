//! For programs.

use serde_json::{Value, json};

use crate::drift::compare::{Difference, Shown};
use crate::drift::report::{Object, Outside, Report};

pub(super) fn render(report: &Report) -> String {
    let objects: Vec<_> = report.objects.iter().map(object).collect();
    let value = json!({
        "version": 1,
        "drifted": report.drifted(),
        "planned_only": report.planned_only(),
        "unchanged": report.unchanged,
        "objects": objects,
    });
    format!("{value:#}\n")
}

fn object(object: &Object) -> Value {
    let outside = object.outside.as_ref().map(|outside| match outside {
        Outside::Gone => json!({"what": "gone"}),
        Outside::Changed(changes) => json!({"what": "changed", "changes": all(changes)}),
    });
    let planned = object
        .planned
        .as_ref()
        .map(|planned| json!({"action": planned.action.verb(), "changes": all(&planned.differences)}));
    let log = object
        .log
        .iter()
        .map(|entry| json!({"who": entry.who, "line": entry.line}));
    json!({
        "address": object.address,
        "type": object.kind,
        "outside": outside,
        "planned": planned,
        "log": log.collect::<Vec<_>>(),
    })
}

fn all(differences: &[Difference]) -> Vec<Value> {
    let one = |d: &Difference| json!({"path": d.path, "from": shown(&d.from), "to": shown(&d.to)});
    differences.iter().map(one).collect()
}

fn shown(value: &Shown) -> Value {
    match value {
        Shown::Absent => Value::Null,
        Shown::Value(value) => json!({"value": value}),
        Shown::Sensitive => json!({"sensitive": true}),
        Shown::Unknown => json!({"unknown": true}),
    }
}
