//! What the machines of a pool are made of: a machine's own attributes without what is one machine's alone.
//!
//! Nothing is said twice: the attributes are read off [`Vm`]'s, less those that [`LEFT_OUT`] names. In texts that a
//! guest reads, `{name}` and `{index}` stand for the machine's name and number ([`Template::machine`]).
//!
//! ```
//! use labyard_schema::{attribute::Described, vm_pool::Template};
//! let names: Vec<_> = Template::attributes().into_iter().map(|attribute| attribute.name).collect();
//! assert!(names.contains(&"memory_mib") && !names.contains(&"serial"));
//! ```

use crate::attribute::{Attribute, Described, Presence, Shape, Shaped};
use crate::check;
use crate::text::Secret;
use crate::vm::Vm;

/// What is one machine's own: paths from the machine, without the keys of maps.
pub const LEFT_OUT: &[&str] = &[
    "name",
    "host",
    "power",
    "serial",
    "autostart",
    "deletion_protection",
    "nics.mac",
    "nics.ipv4",
];

/// The template of a pool. As a machine it has no name yet.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Template(pub(super) Vm);

impl Template {
    /// The machine of that name and number.
    #[must_use]
    pub fn machine(&self, name: &str, index: u64) -> Vm {
        let fill = |text: &mut String| {
            *text = text
                .replace("{name}", name)
                .replace("{index}", &index.to_string());
        };
        let mut vm = self.0.clone();
        name.clone_into(&mut vm.name);
        "running".clone_into(&mut vm.power);
        if let Some(hostname) = vm.guest.as_mut().and_then(|guest| guest.hostname.as_mut()) {
            fill(hostname);
        }
        if let Some(seed) = &mut vm.cloud_init {
            let texts = [&mut seed.user_data, &mut seed.network_config, &mut seed.meta_data];
            texts.into_iter().flatten().for_each(fill);
            if let Some(secret) = &mut seed.user_data_wo {
                let mut text = secret.reveal().to_owned();
                fill(&mut text);
                *secret = Secret::new(text);
            }
        }
        vm
    }

    /// What it says, as a machine without a name.
    #[must_use]
    pub fn as_machine(&self) -> &Vm {
        &self.0
    }
}

impl Described for Template {
    fn attributes() -> Vec<Attribute> {
        kept(Vm::attributes(), "")
    }

    fn doc() -> &'static str {
        "What the machines of a pool are made of, as `labyard_vm` says it. In `guest.hostname` and the texts of \
         `cloud_init`, `{name}` and `{index}` stand for the machine's name and number."
    }
}

impl Shaped for Template {
    fn shape() -> Shape {
        Shape::Object(Self::attributes())
    }

    fn object_doc() -> &'static str {
        Self::doc()
    }
}

/// What the user may write, less what is left out. A change of a template rolls through the pool and disturbs no
/// machine that somebody has.
fn kept(attributes: Vec<Attribute>, path: &str) -> Vec<Attribute> {
    attributes
        .into_iter()
        .filter_map(|mut attribute| {
            let path = match path {
                "" => attribute.name.to_owned(),
                path => format!("{path}.{}", attribute.name),
            };
            if attribute.presence == Presence::Computed || LEFT_OUT.contains(&path.as_str()) {
                return None;
            }
            if attribute.presence == Presence::OptionalComputed {
                attribute.presence = Presence::Optional;
            }
            attribute.shape = inside(attribute.shape, &path);
            if path == "guest.hostname" {
                attribute = attribute.check(check::host_label_of_many);
            }
            Some(attribute.live())
        })
        .collect()
}

fn inside(shape: Shape, path: &str) -> Shape {
    match shape {
        Shape::Object(attributes) => Shape::Object(kept(attributes, path)),
        Shape::Map(of) => Shape::Map(Box::new(inside(*of, path))),
        Shape::List(of) => Shape::List(Box::new(inside(*of, path))),
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(attributes: &[Attribute], path: &str, all: &mut Vec<String>) {
        for attribute in attributes {
            let path = format!("{path}{}", attribute.name);
            all.push(path.clone());
            let mut shape = &attribute.shape;
            while let Shape::Map(of) | Shape::List(of) = shape {
                shape = of;
            }
            if let Shape::Object(inner) = shape {
                names(inner, &format!("{path}."), all);
            }
        }
    }

    #[test]
    fn what_is_left_out_is_an_attribute_of_a_machine_and_none_of_a_template() {
        let (mut machine, mut template) = (Vec::new(), Vec::new());
        names(&Vm::attributes(), "", &mut machine);
        names(&Template::attributes(), "", &mut template);
        for path in LEFT_OUT {
            assert!(machine.iter().any(|name| name == path), "{path}");
            assert!(!template.iter().any(|name| name == path), "{path}");
        }
        assert!(template.iter().any(|name| name == "disks.image.source"));
        assert!(!template.iter().any(|name| name == "macs"));
    }

    #[test]
    fn names_and_numbers_are_filled_in_where_a_guest_reads_them() {
        let text = r#"{"memory_mib": 512, "guest": {"hostname": "{name}"},
            "cloud_init": {"user_data": "seat {index} of {name}"}}"#;
        let template: Template = serde_json::from_str(text).unwrap();
        let machine = template.machine("k8s-7", 7);
        assert_eq!(machine.name, "k8s-7");
        assert_eq!(machine.guest.unwrap().hostname.as_deref(), Some("k8s-7"));
        assert_eq!(
            machine.cloud_init.unwrap().user_data.as_deref(),
            Some("seat 7 of k8s-7")
        );
    }
}
