//! How much schema Terraform has to read.

use crate::subjects::{self, Subject, configuration};
use labyard_acceptance_tests::HarnessError;
use labyard_acceptance_tests::command::output_of;
use labyard_acceptance_tests::error::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The schema of a provider.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Size {
    /// Of `terraform providers schema -json`.
    pub bytes: usize,
    /// Attributes of provider and resources, nested ones counted.
    pub attributes: usize,
}

/// The schemas of those who have one.
pub type Schemas = BTreeMap<Subject, Size>;

/// Asks Terraform.
pub fn measure(programs: &subjects::Programs) -> Result<Schemas> {
    let mut sizes = BTreeMap::new();
    for subject in [Subject::Hello, Subject::Labyard] {
        let terraform = programs.terraform(subject)?;
        terraform.write("main.tf", &configuration(subject, 1, "qemu:///system"))?;
        let text = output_of(terraform.command().args(["providers", "schema", "-json"]))?;
        let schema: Value = serde_json::from_str(&text).map_err(|_| HarnessError::Unreadable {
            what: "terraform providers schema".to_owned(),
            text: text.clone(),
        })?;
        let size = Size {
            bytes: text.len(),
            attributes: attributes(&schema),
        };
        sizes.insert(subject, size);
    }
    Ok(sizes)
}

/// Bytes of the executables.
pub type Programs = BTreeMap<Subject, u64>;

/// How long the executables are.
pub fn programs(programs: &subjects::Programs) -> Result<Programs> {
    let length = |subject| {
        let path = programs.of(subject);
        let file = std::fs::metadata(&path);
        let file = file.map_err(HarnessError::file(format!("look at {}", path.display())))?;
        Ok((subject, file.len()))
    };
    [Subject::Hello, Subject::InMemory, Subject::Labyard]
        .into_iter()
        .map(length)
        .collect()
}

/// Everything under a key `attributes` is an attribute, at any depth.
fn attributes(value: &Value) -> usize {
    let Some(object) = value.as_object() else { return 0 };
    let here = object
        .get("attributes")
        .and_then(Value::as_object)
        .map_or(0, serde_json::Map::len);
    here + object.values().map(attributes).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_attributes_are_counted_with_those_around_them() {
        let schema = serde_json::json!({"block": {"attributes": {
            "a": {"type": "string"}, "b": {"nested_type": {"attributes": {"c": {}, "d": {}}}}}}});
        assert_eq!(attributes(&schema), 4);
    }
}
