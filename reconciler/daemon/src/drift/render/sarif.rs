//! SARIF 2.1.0, as code scanning shows it: a result for each object.

use serde_json::{Value, json};

use super::{line, unified};
use crate::drift::report::{Object, Report};
use crate::drift::source::Sources;

pub(super) fn render(report: &Report, sources: &Sources) -> String {
    let results: Vec<_> = report
        .objects
        .iter()
        .map(|object| result(object, sources))
        .collect();
    let rule = |id: &str, text: &str| json!({"id": id, "shortDescription": {"text": text}});
    let value = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "labyard drift",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": [
                    rule(DRIFT, "An object was changed outside of Terraform."),
                    rule(PLANNED, "An object is not as configured."),
                ],
            }},
            "results": results,
        }],
    });
    format!("{value:#}\n")
}

const DRIFT: &str = "drift";
const PLANNED: &str = "not-as-configured";

fn result(object: &Object, sources: &Sources) -> Value {
    let (rule, level) = match object.outside {
        Some(_) => (DRIFT, "error"),
        None => (PLANNED, "warning"),
    };
    let mut place = json!({"logicalLocations": [{"fullyQualifiedName": object.address, "kind": "resource"}]});
    if let Some(found) = sources.find(&object.kind, &object.name) {
        place["physicalLocation"] = json!({
            "artifactLocation": {"uri": found.file},
            "region": {"startLine": found.line},
        });
    }
    json!({
        "ruleId": rule,
        "level": level,
        "message": {"text": message(object)},
        "locations": [place],
        // What stays the same while the same object drifts, so that it is one alert over several runs.
        "partialFingerprints": {"labyardObject/v1": object.address},
    })
}

fn message(object: &Object) -> String {
    let all = object.changed().iter().chain(object.beyond_taking_back());
    let lines = all.map(|d| unified(d).map_or_else(|| line(d), |diff| format!("{}:\n{diff}", d.path)));
    let head = format!("{}: {}", object.address, object.headline());
    std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
}
