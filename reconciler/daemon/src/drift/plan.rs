//! The parts of `terraform show -json PLAN` that tell of drift; the format is Terraform's ("JSON Output Format", 1.x).

use serde::Deserialize;
use serde_json::Value;

/// The major version of the format that this program reads.
const MAJOR: &str = "1";

/// A plan.
#[derive(Debug, Deserialize)]
pub(crate) struct Plan {
    format_version: String,
    /// Whether planning ended with an error: what stands in it is not all.
    #[serde(default)]
    pub(crate) errored: bool,
    /// What had changed on the hosts since the last apply.
    #[serde(default)]
    pub(crate) resource_drift: Vec<ResourceChange>,
    /// What an apply would do, unchanged objects among it.
    #[serde(default)]
    pub(crate) resource_changes: Vec<ResourceChange>,
    /// The state that the plan began with.
    prior_state: Option<State>,
}

/// An object and how it changes.
#[derive(Debug, Deserialize)]
pub(crate) struct ResourceChange {
    pub(crate) address: String,
    #[serde(default)]
    pub(crate) mode: Mode,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) change: Change,
}

/// A resource or a data source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    #[default]
    Managed,
    Data,
}

/// From what to what.
#[derive(Debug, Deserialize)]
pub(crate) struct Change {
    pub(crate) actions: Vec<String>,
    #[serde(default)]
    pub(crate) before: Value,
    #[serde(default)]
    pub(crate) after: Value,
    /// `true` where the value is known after an apply only; objects and lists hold it by member.
    #[serde(default)]
    pub(crate) after_unknown: Value,
    /// `true` where the value is secret, in the same form.
    #[serde(default)]
    pub(crate) before_sensitive: Value,
    #[serde(default)]
    pub(crate) after_sensitive: Value,
}

#[derive(Debug, Deserialize)]
struct State {
    values: Option<Values>,
}

#[derive(Debug, Deserialize)]
struct Values {
    root_module: Module,
}

#[derive(Debug, Default, Deserialize)]
struct Module {
    #[serde(default)]
    resources: Vec<Resource>,
    #[serde(default)]
    child_modules: Vec<Module>,
}

#[derive(Debug, Deserialize)]
struct Resource {
    address: String,
    #[serde(default)]
    mode: Mode,
}

/// Text that is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// No JSON, or JSON of something else.
    #[error(
        "this is no JSON of a plan; make it with: terraform plan -out=plan.bin && terraform show -json plan.bin"
    )]
    NoPlan(#[source] serde_json::Error),
    /// A state, say, which tells of no change.
    #[error(
        "this is the JSON of a state, not of a plan; make it with: terraform plan -out=plan.bin && terraform show \
         -json plan.bin"
    )]
    State,
    /// Another format.
    #[error(
        "the plan's format is {found}; this program reads {MAJOR}.x: use a labyard and a Terraform of one time"
    )]
    Format {
        /// Its version.
        found: String,
    },
}

impl Plan {
    /// Reads a plan.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, PlanError> {
        let value: Value = serde_json::from_slice(text).map_err(PlanError::NoPlan)?;
        if value.get("values").is_some() && value.get("planned_values").is_none() {
            return Err(PlanError::State);
        }
        let plan: Self = serde_json::from_value(value).map_err(PlanError::NoPlan)?;
        match plan.format_version.split('.').next() {
            Some(MAJOR) => Ok(plan),
            _ => Err(PlanError::Format {
                found: plan.format_version,
            }),
        }
    }

    /// The addresses of all objects that stood before, without data sources.
    pub(crate) fn standing(&self) -> Vec<&str> {
        let mut addresses = Vec::new();
        let mut modules: Vec<_> = self
            .prior_state
            .iter()
            .filter_map(|state| state.values.as_ref())
            .map(|values| &values.root_module)
            .collect();
        while let Some(module) = modules.pop() {
            let managed = module.resources.iter().filter(|r| r.mode == Mode::Managed);
            addresses.extend(managed.map(|r| r.address.as_str()));
            modules.extend(&module.child_modules);
        }
        addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plan_is_refused_with_the_way_to_make_one() {
        for (text, says) in [
            ("", "terraform show"),
            ("[]", "terraform show"),
            (
                r#"{"format_version":"1.0","values":{"root_module":{}}}"#,
                "state, not of a plan",
            ),
            (r#"{"format_version":"2.0"}"#, "format is 2.0"),
        ] {
            let error = Plan::parse(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn objects_of_child_modules_stand_too_and_data_sources_do_not() {
        let text = r#"{"format_version":"1.2","prior_state":{"values":{"root_module":{
            "resources":[{"address":"labyard_vm.a"},{"address":"data.x.y","mode":"data"}],
            "child_modules":[{"resources":[{"address":"module.m.labyard_vm.b","mode":"managed"}]}]}}}}"#;
        let plan = Plan::parse(text.as_bytes()).unwrap();
        assert_eq!(plan.standing(), ["labyard_vm.a", "module.m.labyard_vm.b"]);
    }
}
