//! The description of an attribute, and the macro that makes struct and description from the same lines.

use std::collections::BTreeMap;

/// The type of an attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// `bool`
    Bool,
    /// A whole number.
    Integer,
    /// `string`
    Text,
    /// A map with the user's own keys.
    Map(Box<Shape>),
    /// A list.
    List(Box<Shape>),
    /// An object.
    Object(Vec<Attribute>),
}

/// Who may set an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Presence {
    /// The user must.
    Required,
    /// The user may; null otherwise.
    Optional,
    /// The provider does.
    Computed,
    /// The user may; otherwise the provider does.
    OptionalComputed,
    /// The user may; otherwise it is this constant.
    Default(Constant),
}

/// A constant default.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(&'static str),
}

impl From<bool> for Constant {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Constant {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<&'static str> for Constant {
    fn from(value: &'static str) -> Self {
        Self::Text(value)
    }
}

/// What a change of an attribute disturbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: it takes effect at once.
    Live,
    /// A running machine is restarted.
    Restart,
    /// Nothing where the running machine has room for it, else it is restarted; the plan says which.
    LiveOrRestart,
    /// A network is taken down and up again, which cuts off the machines on it for some seconds.
    RestartNetwork,
    /// Nothing, or a restart of the network; the plan says which.
    LiveOrRestartNetwork,
    /// The object is replaced.
    Replace,
    /// It cannot be changed by the user.
    None,
}

/// A check of a known text or number; the error says what is wrong and what to write instead.
#[derive(Clone, Copy)]
pub enum Check {
    /// Any value of the type.
    Any,
    /// Of a text.
    Text(fn(&str) -> Result<(), String>),
    /// Of a number: smallest and largest.
    Range(i64, i64),
    /// One of these.
    Choice(&'static [&'static str]),
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("Any"),
            Self::Text(_) => f.write_str("Text"),
            Self::Range(least, most) => write!(f, "Range({least}, {most})"),
            Self::Choice(choices) => write!(f, "Choice({choices:?})"),
        }
    }
}

impl PartialEq for Check {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}

/// An attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Its name in HCL.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// What the object is that it holds, or each of its elements; empty for plain values.
    pub object_doc: &'static str,
    /// Its type.
    pub shape: Shape,
    /// Who may set it.
    pub presence: Presence,
    /// What a change disturbs.
    pub change: Change,
    /// The check of its values (of a map or list: of each element).
    pub check: Check,
    /// Hidden in output.
    pub sensitive: bool,
    /// Never stored.
    pub write_only: bool,
}

impl Attribute {
    /// An optional attribute whose change is live.
    pub fn new(name: &'static str, doc: &'static str, shape: Shape) -> Self {
        Self {
            name,
            doc: doc.trim(),
            object_doc: "",
            shape,
            presence: Presence::Optional,
            change: Change::Live,
            check: Check::Any,
            sensitive: false,
            write_only: false,
        }
    }

    /// What the object is that it holds.
    #[must_use]
    pub fn holding(mut self, object_doc: &'static str) -> Self {
        self.object_doc = object_doc;
        self
    }

    /// The user must set it.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.presence = Presence::Required;
        self
    }

    /// The user may set it.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.presence = Presence::Optional;
        self
    }

    /// The provider sets it.
    #[must_use]
    pub fn computed(mut self) -> Self {
        self.presence = Presence::Computed;
        self.change = Change::None;
        self
    }

    /// The user may set it, otherwise the provider does.
    #[must_use]
    pub fn optional_computed(mut self) -> Self {
        self.presence = Presence::OptionalComputed;
        self
    }

    /// A constant default.
    #[must_use]
    pub fn default(mut self, constant: impl Into<Constant>) -> Self {
        self.presence = Presence::Default(constant.into());
        self
    }

    /// A change takes effect at once.
    #[must_use]
    pub fn live(mut self) -> Self {
        self.change = Change::Live;
        self
    }

    /// A change restarts a running machine.
    #[must_use]
    pub fn restart(mut self) -> Self {
        self.change = Change::Restart;
        self
    }

    /// A change is live where the running machine has room for it, and restarts it else.
    #[must_use]
    pub fn live_or_restart(mut self) -> Self {
        self.change = Change::LiveOrRestart;
        self
    }

    /// A change takes the network down and up again.
    #[must_use]
    pub fn restart_network(mut self) -> Self {
        self.change = Change::RestartNetwork;
        self
    }

    /// A change is live, or takes the network down and up again.
    #[must_use]
    pub fn live_or_restart_network(mut self) -> Self {
        self.change = Change::LiveOrRestartNetwork;
        self
    }

    /// A change replaces the object.
    #[must_use]
    pub fn replace(mut self) -> Self {
        self.change = Change::Replace;
        self
    }

    /// Hidden in output.
    #[must_use]
    pub fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// Never stored by Terraform.
    #[must_use]
    pub fn write_only(mut self) -> Self {
        self.write_only = true;
        self
    }

    /// The check of a text.
    #[must_use]
    pub fn check(mut self, check: fn(&str) -> Result<(), String>) -> Self {
        self.check = Check::Text(check);
        self
    }

    /// The smallest and largest number.
    #[must_use]
    pub fn range(mut self, least: i64, most: i64) -> Self {
        self.check = Check::Range(least, most);
        self
    }

    /// The texts that are accepted.
    #[must_use]
    pub fn choice(mut self, choices: &'static [&'static str]) -> Self {
        self.check = Check::Choice(choices);
        self
    }

    /// What documents and editors show: the text, the default, the choices, what a change disturbs.
    pub fn description(&self) -> String {
        let mut text = self.doc.to_owned();
        if let Check::Choice(choices) = self.check {
            let quoted: Vec<_> = choices.iter().map(|c| format!("`{c}`")).collect();
            text += &format!(" One of {}.", quoted.join(", "));
        }
        match &self.presence {
            Presence::Default(Constant::Bool(value)) => text += &format!(" Default: `{value}`."),
            Presence::Default(Constant::Integer(value)) => text += &format!(" Default: `{value}`."),
            Presence::Default(Constant::Text(value)) => text += &format!(" Default: `{value}`."),
            _ => {}
        }
        match self.change {
            Change::Restart => text += " A change restarts a running machine.",
            Change::LiveOrRestart => {
                text += " Live where the running machine can take the change, else a restart: the plan says which.";
            }
            Change::RestartNetwork => text += " A change restarts the network.",
            Change::LiveOrRestartNetwork => {
                text += " A change is live or restarts the network: the plan says which.";
            }
            Change::Replace => text += " A change forces replacement.",
            Change::Live | Change::None => {}
        }
        text
    }
}

/// A type that knows its shape.
pub trait Shaped {
    /// The shape.
    fn shape() -> Shape;
    /// What the object is that it holds; empty for plain values.
    fn object_doc() -> &'static str {
        ""
    }
}

/// A struct that knows its attributes.
pub trait Described {
    /// The attributes in the order of the struct.
    fn attributes() -> Vec<Attribute>;
    /// What it is.
    fn doc() -> &'static str;
}

impl Shaped for bool {
    fn shape() -> Shape {
        Shape::Bool
    }
}

impl Shaped for u32 {
    fn shape() -> Shape {
        Shape::Integer
    }
}

impl Shaped for u64 {
    fn shape() -> Shape {
        Shape::Integer
    }
}

impl Shaped for String {
    fn shape() -> Shape {
        Shape::Text
    }
}

impl<T: Shaped> Shaped for Option<T> {
    fn shape() -> Shape {
        T::shape()
    }

    fn object_doc() -> &'static str {
        T::object_doc()
    }
}

impl<T: Shaped> Shaped for BTreeMap<String, T> {
    fn shape() -> Shape {
        Shape::Map(Box::new(T::shape()))
    }

    fn object_doc() -> &'static str {
        T::object_doc()
    }
}

impl<T: Shaped> Shaped for Vec<T> {
    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }

    fn object_doc() -> &'static str {
        T::object_doc()
    }
}

/// Makes a serde struct and its table of attributes from the same lines.
///
/// ```text
/// attributes! {
///     /// A thing.
///     pub struct Thing {
///         /// Its name.
///         name: String = required().replace();
///     }
/// }
/// ```
macro_rules! attributes {
    ($(
        $(#[doc = $doc:literal])+
        pub struct $name:ident {$(
            $(#[doc = $field_doc:literal])+
            $field:ident: $ty:ty = $($rule:ident($($arg:expr),*)).+;
        )+}
    )+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {$(
            $(#[doc = $field_doc])+
            #[serde(default)]
            pub $field: $ty,
        )+}

        impl $crate::attribute::Described for $name {
            fn attributes() -> Vec<$crate::attribute::Attribute> {
                vec![$(
                    $crate::attribute::Attribute::new(
                        stringify!($field).trim_start_matches("r#"),
                        concat!($($field_doc),+),
                        <$ty as $crate::attribute::Shaped>::shape(),
                    )
                    .holding(<$ty as $crate::attribute::Shaped>::object_doc())
                    $(.$rule($($arg),*))+,
                )+]
            }

            fn doc() -> &'static str {
                concat!($($doc),+).trim()
            }
        }

        impl $crate::attribute::Shaped for $name {
            fn shape() -> $crate::attribute::Shape {
                $crate::attribute::Shape::Object(<$name as $crate::attribute::Described>::attributes())
            }

            fn object_doc() -> &'static str {
                <$name as $crate::attribute::Described>::doc()
            }
        }
    )+};
}
pub(crate) use attributes;
