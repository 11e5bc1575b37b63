//! What a plan tells of drift, by object and attribute. Pure: a [`Plan`] in, a [`Report`] out.

use std::collections::BTreeMap;

use serde_json::Value;

use super::compare::{Difference, Marked, differences};
use super::log::Entry;
use super::plan::{Change, Mode, Plan, ResourceChange};

/// The result.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Objects that differ, by address.
    pub(crate) objects: Vec<Object>,
    /// Addresses of those that are as they should be.
    pub(crate) unchanged: Vec<String>,
}

/// An object that differs.
#[derive(Debug)]
pub(crate) struct Object {
    /// `module.lab.labyard_vm.web["a"]`
    pub(crate) address: String,
    /// `labyard_vm`
    pub(crate) kind: String,
    /// `web`
    pub(crate) name: String,
    /// What became of it outside of Terraform.
    pub(crate) outside: Option<Outside>,
    /// What an apply would do.
    pub(crate) planned: Option<Planned>,
    /// How logs of the host may name it: its names and ids.
    pub(crate) aliases: Vec<String>,
    /// What logs of the host say of it.
    pub(crate) log: Vec<Entry>,
}

/// What became of an object outside of Terraform.
#[derive(Debug, PartialEq)]
pub(crate) enum Outside {
    /// It is gone.
    Gone,
    /// Attributes are other than at the last apply.
    Changed(Vec<Difference>),
}

/// What an apply would do.
#[derive(Debug, PartialEq)]
pub(crate) struct Planned {
    /// In a word.
    pub(crate) action: Action,
    /// From what is to what shall be; of an object made or removed none.
    pub(crate) differences: Vec<Difference>,
}

/// What an apply would do to an object, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    Update,
    Replace,
    Delete,
    Forget,
}

impl Action {
    fn of(actions: &[String]) -> Option<Self> {
        let actions: Vec<_> = actions.iter().map(String::as_str).collect();
        match actions[..] {
            ["create"] => Some(Self::Create),
            ["update"] => Some(Self::Update),
            ["delete"] => Some(Self::Delete),
            ["forget"] => Some(Self::Forget),
            ["delete", "create"] | ["create", "delete"] | ["create", "forget"] => Some(Self::Replace),
            _ => None,
        }
    }

    /// As in "an apply would … it".
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "change",
            Self::Replace => "replace",
            Self::Delete => "destroy",
            Self::Forget => "forget",
        }
    }
}

impl Report {
    /// Reads a plan.
    pub(crate) fn of(plan: &Plan) -> Self {
        let mut objects: BTreeMap<&str, Object> = BTreeMap::new();
        for resource in managed(&plan.resource_drift) {
            let outside = if resource.change.after.is_null() {
                Some(Outside::Gone)
            } else {
                Some(of_change(&resource.change))
                    .filter(|found| !found.is_empty())
                    .map(Outside::Changed)
            };
            if outside.is_some() {
                entry(&mut objects, resource).outside = outside;
            }
        }
        for resource in managed(&plan.resource_changes) {
            if let Some(action) = Action::of(&resource.change.actions) {
                let differences = match action {
                    Action::Update | Action::Replace => of_change(&resource.change),
                    Action::Create | Action::Delete | Action::Forget => Vec::new(),
                };
                entry(&mut objects, resource).planned = Some(Planned { action, differences });
            }
        }
        let mut unchanged: Vec<_> = plan
            .standing()
            .into_iter()
            .filter(|address| !objects.contains_key(address))
            .map(str::to_owned)
            .collect();
        unchanged.sort();
        Self {
            objects: objects.into_values().collect(),
            unchanged,
        }
    }

    /// Objects that were changed outside of Terraform.
    pub(crate) fn drifted(&self) -> usize {
        self.objects
            .iter()
            .filter(|object| object.outside.is_some())
            .count()
    }

    /// Objects that were not, and that an apply would change.
    pub(crate) fn planned_only(&self) -> usize {
        self.objects.len() - self.drifted()
    }

    /// The closing line.
    pub(crate) fn summary(&self) -> String {
        let count = |n: usize| {
            if n == 1 {
                "1 object".to_owned()
            } else {
                format!("{n} objects")
            }
        };
        if self.objects.is_empty() {
            return format!("No drift: {} as configured.", count(self.unchanged.len()));
        }
        format!(
            "{} changed outside of Terraform, {} otherwise not as configured, {} as configured.",
            count(self.drifted()),
            self.planned_only(),
            self.unchanged.len()
        )
    }
}

impl Object {
    /// What is the matter, in a few words.
    pub(crate) fn headline(&self) -> String {
        match (&self.outside, &self.planned) {
            (Some(Outside::Gone), _) => "gone from its host".to_owned(),
            (Some(Outside::Changed(_)), _) => "changed outside of Terraform".to_owned(),
            (None, Some(planned)) => format!("an apply would {} it", planned.action.verb()),
            (None, None) => "as configured".to_owned(),
        }
    }

    /// What was changed outside, attribute by attribute.
    pub(crate) fn changed(&self) -> &[Difference] {
        match &self.outside {
            Some(Outside::Changed(differences)) => differences,
            Some(Outside::Gone) | None => &[],
        }
    }

    /// What an apply would do that is not simply taking back what was changed outside.
    pub(crate) fn beyond_taking_back(&self) -> Vec<&Difference> {
        let planned = self.planned.iter().flat_map(|planned| &planned.differences);
        planned
            .filter(|difference| !self.takes_back(difference))
            .collect()
    }

    /// Attributes that an apply would set back.
    pub(crate) fn taken_back(&self) -> Vec<&str> {
        let planned = self.planned.iter().flat_map(|planned| &planned.differences);
        planned
            .filter(|d| self.takes_back(d))
            .map(|d| d.path.as_str())
            .collect()
    }

    fn takes_back(&self, planned: &Difference) -> bool {
        let back = |d: &&Difference| d.path == planned.path && d.from == planned.to && d.to == planned.from;
        self.changed().iter().any(|difference| back(&difference))
    }
}

fn managed(changes: &[ResourceChange]) -> impl Iterator<Item = &ResourceChange> {
    changes.iter().filter(|resource| resource.mode == Mode::Managed)
}

fn entry<'a, 'p>(objects: &'a mut BTreeMap<&'p str, Object>, resource: &'p ResourceChange) -> &'a mut Object {
    objects.entry(&resource.address).or_insert_with(|| Object {
        address: resource.address.clone(),
        kind: resource.kind.clone(),
        name: resource.name.clone(),
        outside: None,
        planned: None,
        aliases: aliases(&resource.change),
        log: Vec::new(),
    })
}

fn aliases(change: &Change) -> Vec<String> {
    let values = [&change.before, &change.after];
    let texts = values
        .into_iter()
        .flat_map(|value| ["id", "name"].map(|key| value.get(key)));
    let mut texts: Vec<_> = texts
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    texts.sort();
    texts.dedup();
    texts
}

fn of_change(change: &Change) -> Vec<Difference> {
    let known = Value::Null;
    differences(
        Marked {
            value: &change.before,
            sensitive: &change.before_sensitive,
            unknown: &known,
        },
        Marked {
            value: &change.after,
            sensitive: &change.after_sensitive,
            unknown: &change.after_unknown,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(drift: &Value, changes: &Value) -> Report {
        let plan = json!({"format_version": "1.2", "resource_drift": drift, "resource_changes": changes,
            "prior_state": {"values": {"root_module": {"resources": [
                {"address": "labyard_vm.a"}, {"address": "labyard_vm.b"}]}}}});
        Report::of(&Plan::parse(plan.to_string().as_bytes()).unwrap())
    }

    fn change(actions: &[&str], before: &Value, after: &Value) -> Value {
        json!([{"address": "labyard_vm.a", "type": "labyard_vm", "name": "a",
            "change": {"actions": actions, "before": before, "after": after}}])
    }

    #[test]
    fn an_object_that_an_apply_sets_back_is_told_once() {
        let (up, down) = (
            json!({"name": "a", "power": "running"}),
            json!({"name": "a", "power": "stopped"}),
        );
        let report = report(&change(&["update"], &up, &down), &change(&["update"], &down, &up));
        assert_eq!((report.drifted(), report.planned_only()), (1, 0));
        let object = &report.objects[0];
        assert_eq!(object.changed()[0].path, "power");
        assert_eq!(object.taken_back(), ["power"]);
        assert!(object.beyond_taking_back().is_empty());
        assert_eq!(report.unchanged, ["labyard_vm.b"]);
    }

    #[test]
    fn an_object_that_is_gone_and_one_that_only_the_configuration_changed_are_told_apart() {
        let gone = report(
            &change(&["delete"], &json!({"name": "a"}), &Value::Null),
            &json!([]),
        );
        assert_eq!(gone.objects[0].headline(), "gone from its host");
        let wanted = report(
            &json!([]),
            &change(&["update"], &json!({"cpus": 1}), &json!({"cpus": 2})),
        );
        assert_eq!((wanted.drifted(), wanted.planned_only()), (0, 1));
        assert_eq!(wanted.objects[0].headline(), "an apply would change it");
    }

    #[test]
    fn a_plan_without_changes_reports_nothing() {
        let report = report(
            &json!([]),
            &change(&["no-op"], &json!({"cpus": 1}), &json!({"cpus": 1})),
        );
        assert!(report.objects.is_empty());
        assert_eq!(report.summary(), "No drift: 2 objects as configured.");
    }
}
