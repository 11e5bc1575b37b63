//! A plan as data: which resource changes how.

use super::run::Run;
use crate::error::{HarnessError, Result};
use serde_json::Value;

/// What `terraform plan` found.
#[derive(Debug, Clone)]
pub struct Plan {
    run: Run,
    json: Value,
}

impl Plan {
    pub(super) fn new(run: Run, shown: &str) -> Result<Self> {
        match serde_json::from_str(shown) {
            Ok(json) => Ok(Self { run, json }),
            Err(_) => Err(HarnessError::Unreadable {
                what: "terraform show".into(),
                text: shown.to_owned(),
            }),
        }
    }

    /// The run itself, with its diagnostics.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Itself if planning succeeded; else the test ends with all that was said.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        assert!(self.run.succeeded(), "plan failed:\n{}", self.run.text());
        self
    }

    /// Ends the test with what would change, if anything would, or if anything had drifted.
    #[track_caller]
    pub fn expect_empty(&self) {
        assert!(self.run.succeeded(), "plan failed:\n{}", self.run.text());
        assert!(
            self.is_empty(),
            "the plan is not empty:\n{}\n{}",
            self.run.text(),
            self.changes_as_text()
        );
    }

    /// Whether nothing would change, no output either, and nothing was found other than it was left.
    pub fn is_empty(&self) -> bool {
        let outputs = self.json["output_changes"].as_object();
        let outputs_rest = outputs.is_none_or(|all| {
            all.values()
                .all(|one| one["actions"] == serde_json::json!(["no-op"]))
        });
        let drift = self.json["resource_drift"].as_array().is_none_or(Vec::is_empty);
        outputs_rest && drift && self.changed().next().is_none()
    }

    /// What happens to one resource: `["create"]`, `["update"]`, `["delete", "create"]`, `["no-op"]`; empty if the plan
    /// does not know it.
    pub fn actions(&self, address: &str) -> Vec<&str> {
        let actions = self.change(address)["actions"].as_array();
        actions
            .map(|all| all.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    }

    /// The change of one resource: `before`, `after`, `after_unknown`, `replace_paths`.
    pub fn change(&self, address: &str) -> &Value {
        let found = self.changes().iter().find(|one| one["address"] == address);
        found.map_or(&Value::Null, |one| &one["change"])
    }

    /// What an attribute of a resource will be, by its JSON pointer; `None` while only the apply will tell.
    pub fn known(&self, address: &str, attribute: &str) -> Option<&Value> {
        let change = self.change(address);
        let unknown = change["after_unknown"].pointer(attribute);
        if unknown.is_some_and(contains_true) {
            return None;
        }
        change["after"].pointer(attribute)
    }

    /// What was found other than it was left.
    pub fn drift(&self, address: &str) -> &Value {
        let all = self.json["resource_drift"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        all.iter()
            .find(|one| one["address"] == address)
            .map_or(&Value::Null, |one| &one["change"])
    }

    /// The whole of `terraform show -json`.
    pub fn json(&self) -> &Value {
        &self.json
    }

    fn changes(&self) -> &[Value] {
        self.json["resource_changes"]
            .as_array()
            .map_or(&[], Vec::as_slice)
    }

    fn changed(&self) -> impl Iterator<Item = &Value> {
        self.changes()
            .iter()
            .filter(|one| one["change"]["actions"] != serde_json::json!(["no-op"]))
    }

    fn changes_as_text(&self) -> String {
        let drifted = self.json["resource_drift"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let all = self.changed().chain(drifted);
        all.map(|one| format!("{}: {:#}\n", one["address"], one["change"]))
            .collect()
    }
}

fn contains_true(value: &Value) -> bool {
    match value {
        Value::Bool(unknown) => *unknown,
        Value::Array(items) => items.iter().any(contains_true),
        Value::Object(fields) => fields.values().any(contains_true),
        _ => false,
    }
}
