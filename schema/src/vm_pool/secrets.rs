//! The secrets of a template, apart from it: a store keeps them sealed, and gives them back when a machine is made.
//!
//! ```
//! use labyard_schema::vm_pool::Template;
//! let text = r#"{"memory_mib": 512, "cloud_init": {"user_data_wo": "token of {name}"}}"#;
//! let template: Template = serde_json::from_str(text).unwrap();
//! let apart = template.secrets();
//! let kept: Template = serde_json::from_str(&serde_json::to_string(&template).unwrap()).unwrap();
//! assert!(kept.secrets().is_empty());
//! assert_eq!(kept.with_secrets(&apart).secrets(), apart);
//! ```

use super::Template;
use crate::text::Secret;
use crate::vm::Vm;
use std::collections::BTreeMap;

/// Secrets by the path of their attribute.
pub type Secrets = BTreeMap<String, String>;

impl Template {
    /// The secrets in it, by path.
    #[must_use]
    pub fn secrets(&self) -> Secrets {
        let mut vm = self.as_machine().clone();
        places(&mut vm)
            .into_iter()
            .filter_map(|(path, place)| Some((path.to_owned(), place.as_ref()?.reveal().to_owned())))
            .collect()
    }

    /// The same template with its secrets put back.
    #[must_use]
    pub fn with_secrets(mut self, secrets: &Secrets) -> Self {
        for (path, place) in places(&mut self.0) {
            if let Some(secret) = secrets.get(path) {
                *place = Some(Secret::new(secret));
            }
        }
        self
    }
}

/// Where a machine has secrets.
fn places(vm: &mut Vm) -> Vec<(&'static str, &mut Option<Secret>)> {
    let mut all: Vec<(&'static str, &mut Option<Secret>)> = Vec::new();
    if let Some(seed) = &mut vm.cloud_init {
        all.push(("cloud_init.user_data_wo", &mut seed.user_data_wo));
    }
    if let Some(guest) = &mut vm.guest {
        all.push(("guest.admin_password_wo", &mut guest.admin_password_wo));
        if let Some(join) = &mut guest.domain_join {
            all.push(("guest.domain_join.password_wo", &mut join.password_wo));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::{Attribute, Described, Shape};

    fn write_only(attributes: &[Attribute], path: &str, all: &mut Vec<String>) {
        for attribute in attributes {
            let path = format!("{path}{}", attribute.name);
            if attribute.write_only {
                all.push(path.clone());
            }
            let mut shape = &attribute.shape;
            while let Shape::Map(of) | Shape::List(of) = shape {
                shape = of;
            }
            if let Shape::Object(inner) = shape {
                write_only(inner, &format!("{path}."), all);
            }
        }
    }

    #[test]
    fn every_write_only_attribute_of_a_template_has_its_place() {
        let mut said = Vec::new();
        write_only(&Template::attributes(), "", &mut said);
        let text = r#"{"memory_mib": 1, "cloud_init": {}, "guest": {"domain_join": {"domain": "d", "username": "u"}}}"#;
        let template: Template = serde_json::from_str(text).unwrap();
        let mut vm = template.as_machine().clone();
        let known: Vec<String> = places(&mut vm)
            .into_iter()
            .map(|(path, _)| path.to_owned())
            .collect();
        said.sort();
        let mut sorted = known;
        sorted.sort();
        assert_eq!(said, sorted);
    }
}
