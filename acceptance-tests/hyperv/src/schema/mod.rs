//! The classes of a build of Windows, as read off real servers: what exists, under which parents, of which types, with which
//! keys. Names have no case, as in WMI.
//!
//! ```
//! use labyard_hyperv_double::schema::{Build, Schema};
//!
//! let schema = Schema::of(Build::Server2019);
//! let v2 = schema.namespace("Root/Virtualization/V2").unwrap();
//! let machine = v2.class("msvm_computersystem").unwrap();
//! assert_eq!(machine.name, "Msvm_ComputerSystem");
//! assert_eq!(machine.keys, ["CreationClassName", "Name"]);
//! assert!(machine.is_a("CIM_System"));
//! assert!(machine.property("ElementName").is_some(), "inherited");
//! ```

mod load;
mod time;
mod types;

use std::collections::BTreeMap;
use std::sync::OnceLock;

pub use time::{Clock, NoTime, from_iso, to_iso};
pub use types::{Scalar, Unfit, plain_text};

use crate::cim::Value;

/// A build of Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// Windows Server 2019.
    Server2019,
    /// Azure Stack HCI 23H2; Windows Server 2022 and 2025 come near it.
    Server23h2,
}

/// The classes of a build, by namespace.
#[derive(Debug)]
pub struct Schema {
    namespaces: BTreeMap<String, Namespace>,
}

/// A namespace.
#[derive(Debug)]
pub struct Namespace {
    /// In lower case, with slashes: `root/virtualization/v2`.
    pub name: String,
    classes: BTreeMap<String, Class>,
}

/// A class with all that it inherits.
#[derive(Debug)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Those above it, the nearest first.
    pub parents: Vec<String>,
    /// What selects an instance; none where nothing is known to.
    pub keys: Vec<String>,
    own: Vec<String>,
    properties: BTreeMap<String, Member>,
    methods: BTreeMap<String, Method>,
}

/// A property or a parameter.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Whether it holds any number of them.
    pub arity: Arity,
}

/// How many values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// At most one.
    One,
    /// Any number.
    Array,
}

/// What a property or parameter holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number, a truth, a text, a time.
    Plain(Scalar),
    /// A reference to an object.
    Reference,
    /// An instance in a string, of this class or one below it.
    Embedded(String),
    /// An instance as a tree of elements.
    Object(Option<String>),
}

/// A method.
#[derive(Debug)]
pub struct Method {
    /// Its name.
    pub name: String,
    /// What it takes, in the order of its signature.
    pub input: Vec<Member>,
    /// What it gives, in the order of its signature.
    pub output: Vec<Member>,
    /// What `ReturnValue` is.
    pub returns: Option<Scalar>,
    /// Whose it is.
    pub of: Receiver,
}

/// What a method is called on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// An instance.
    Instance,
    /// The class.
    Class,
}

impl Schema {
    /// The classes of a build.
    pub fn of(build: Build) -> &'static Self {
        static OF_2019: OnceLock<Schema> = OnceLock::new();
        static OF_23H2: OnceLock<Schema> = OnceLock::new();
        match build {
            Build::Server2019 => OF_2019.get_or_init(|| load::load("server2019")),
            Build::Server23h2 => OF_23H2.get_or_init(|| load::load("server23h2")),
        }
    }

    /// A namespace.
    pub fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.get(&name.to_lowercase())
    }
}

impl Namespace {
    /// A class.
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.classes.get(&name.to_lowercase())
    }

    /// A class and all below it.
    pub fn family<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Class> {
        self.classes.values().filter(move |class| class.is_a(name))
    }
}

impl Class {
    /// Whether it is that class or below it.
    pub fn is_a(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
            || self
                .parents
                .iter()
                .any(|parent| parent.eq_ignore_ascii_case(name))
    }

    /// A property.
    pub fn property(&self, name: &str) -> Option<&Member> {
        self.properties.get(&name.to_lowercase())
    }

    /// All properties, in the order of the alphabet.
    pub fn properties(&self) -> impl Iterator<Item = &Member> {
        self.properties.values()
    }

    /// Whether a property is one of its parents'.
    pub fn inherits(&self, property: &Member) -> bool {
        !self.own.contains(&property.name)
    }

    /// A method.
    pub fn method(&self, name: &str) -> Option<&Method> {
        self.methods.get(&name.to_lowercase())
    }

    /// A key, by any case of its name.
    pub fn key(&self, name: &str) -> Option<&str> {
        let mut keys = self.keys.iter().map(String::as_str);
        keys.find(|key| key.eq_ignore_ascii_case(name))
    }
}

impl Member {
    /// Whether it may hold that: what the model says is held against this before it is sent.
    pub fn admits(&self, value: &Value) -> bool {
        match (self.arity, value) {
            (_, Value::Null) => true,
            (Arity::Array, Value::Array(all)) => all.iter().all(|one| self.admits_one(one)),
            (Arity::Array, _) | (Arity::One, Value::Array(_)) => false,
            (Arity::One, one) => self.admits_one(one),
        }
    }

    fn admits_one(&self, value: &Value) -> bool {
        match (&self.kind, value) {
            (Kind::Plain(scalar), value) => scalar.admits(value),
            (Kind::Reference, Value::Reference(_))
            | (Kind::Embedded(_), Value::Instance(_) | Value::Text(_))
            | (Kind::Object(_), Value::Instance(_)) => true,
            _ => false,
        }
    }

    /// The type's name, as CIM-XML has it.
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Plain(scalar) => scalar.name(),
            Kind::Reference => "reference",
            Kind::Embedded(_) | Kind::Object(_) => "string",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_inherited_with_their_parameters() {
        let v2 = Schema::of(Build::Server2019)
            .namespace("root/virtualization/v2")
            .unwrap();
        let service = v2.class("Msvm_VirtualSystemManagementService").unwrap();
        let define = service.method("definesystem").unwrap();
        let settings = define
            .input
            .iter()
            .find(|member| member.name == "ResourceSettings");
        let settings = settings.unwrap();
        assert_eq!(settings.arity, Arity::Array);
        assert_eq!(
            settings.kind,
            Kind::Embedded("CIM_ResourceAllocationSettingData".into())
        );
        assert_eq!(define.returns, Some(Scalar::Uint32));
        let names: Vec<_> = define.output.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["ResultingSystem", "Job"], "in the order of the signature");
    }

    #[test]
    fn builds_differ() {
        let has = |build| {
            let v2 = Schema::of(build).namespace("root/virtualization/v2").unwrap();
            let machine = v2.class("Msvm_ComputerSystem").unwrap();
            machine.method("InjectNonMaskableInterruptEx").is_some()
        };
        assert!(!has(Build::Server2019) && has(Build::Server23h2));
    }

    #[test]
    fn a_family_is_a_class_and_all_below_it() {
        let v2 = Schema::of(Build::Server2019)
            .namespace("root/virtualization/v2")
            .unwrap();
        let jobs: Vec<_> = v2
            .family("CIM_ConcreteJob")
            .map(|class| class.name.as_str())
            .collect();
        assert!(
            jobs.contains(&"Msvm_ConcreteJob") && jobs.contains(&"Msvm_StorageJob"),
            "{jobs:?}"
        );
        assert!(
            jobs.contains(&"CIM_ConcreteJob") && !jobs.contains(&"CIM_Job"),
            "{jobs:?}"
        );
    }

    #[test]
    fn what_does_not_fit_a_type_is_not_admitted() {
        let v2 = Schema::of(Build::Server2019)
            .namespace("root/virtualization/v2")
            .unwrap();
        let settings = v2.class("Msvm_VirtualSystemSettingData").unwrap();
        let notes = settings.property("Notes").unwrap();
        assert!(notes.admits(&Value::texts(["a"])) && !notes.admits(&Value::text("a")));
        let state = v2
            .class("Msvm_ComputerSystem")
            .unwrap()
            .property("EnabledState")
            .unwrap();
        assert!(state.admits(&Value::Unsigned(2)) && !state.admits(&Value::Unsigned(70_000)));
        assert!(!state.admits(&Value::text("2")));
    }
}
