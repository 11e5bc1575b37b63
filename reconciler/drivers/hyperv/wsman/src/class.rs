//! Classes as types of Rust: [`crate::cim_class!`] gives a struct its class, its properties with their types, and the way in
//! and out. What a table says here can be held against a schema: [`ClassTable`].

use crate::cim_xml::{self, NoInstance};
use crate::names::{Namespace, ResourceUri};
use crate::object::{Object, Raw};
use crate::typed::{Arity, CimType, NoValue, Typed, Value};
use crate::xml::Unwritable;

/// A property as a class has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub cim: CimType,
    /// Whether it is an array.
    pub arity: Arity,
}

/// What a struct says of its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassTable {
    /// Where the class is.
    pub namespace: Namespace,
    /// Its name.
    pub name: &'static str,
    /// The properties that the struct has; the class may have more.
    pub properties: &'static [Property],
}

/// A struct that stands for a class.
pub trait CimClass: Sized {
    /// What it says of its class.
    const TABLE: ClassTable;

    /// Reads an object of it.
    ///
    /// # Errors
    /// If a property is not what the table says.
    fn read(object: &Object) -> Result<Self, Misread>;

    /// What is set of it, in the order of the table.
    fn write(&self) -> Vec<(&'static str, CimType, Value)>;

    /// The class's address.
    fn resource() -> ResourceUri {
        ResourceUri::class(Self::TABLE.namespace, Self::TABLE.name)
    }

    /// All properties of the table, to ask for no others.
    fn columns() -> Vec<&'static str> {
        Self::TABLE
            .properties
            .iter()
            .map(|property| property.name)
            .collect()
    }

    /// As Hyper-V takes it: text of an instance with what is set, and nothing else.
    ///
    /// # Errors
    /// If a text in it cannot stand in XML.
    fn to_instance(&self) -> Result<String, Unwritable> {
        cim_xml::write(Self::TABLE.name, &self.write())
    }

    /// Reads the text of an instance.
    ///
    /// # Errors
    /// If it is none, or one of another class.
    fn of_instance(text: &str) -> Result<Self, Misread> {
        let object = cim_xml::read(text).map_err(|error| Misread {
            class: Self::TABLE.name,
            why: Unfit::Instance(error),
        })?;
        match &object.class {
            Some(class) if !class.eq_ignore_ascii_case(Self::TABLE.name) => Err(Misread {
                class: Self::TABLE.name,
                why: Unfit::Class(class.clone()),
            }),
            _ => Self::read(&object),
        }
    }
}

/// An object that is not what its class says.
#[derive(Debug, thiserror::Error)]
#[error("{class}: {why}")]
pub struct Misread {
    /// The class that was expected.
    pub class: &'static str,
    /// What is wrong.
    pub why: Unfit,
}

/// What is wrong with an object.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// A property.
    #[error("property {0}: {1}")]
    Property(&'static str, NoValue),
    /// Its class is another one.
    #[error("an object of class {0:?} came")]
    Class(String),
    /// It is no instance.
    #[error(transparent)]
    Instance(#[from] NoInstance),
}

/// Reads a property; null is none. For [`cim_class!`].
#[doc(hidden)]
pub fn field<T: Typed>(
    object: &Object,
    class: &'static str,
    name: &'static str,
) -> Result<Option<T>, Misread> {
    match object.get(name) {
        Raw::Null => Ok(None),
        raw => T::read(raw).map(Some).map_err(|error| Misread {
            class,
            why: Unfit::Property(name, error),
        }),
    }
}

/// A struct for a class: each field with the name of its property. A field that is `None` is null where it is read and
/// is not sent, which leaves what is there; `false`, `0` and an empty array are sent.
///
/// ```
/// use wsman::{CimClass, Namespace, cim_class};
///
/// const V2: Namespace = Namespace("root/virtualization/v2");
///
/// cim_class! {
///     /// The memory of a machine.
///     pub struct Memory = "Msvm_MemorySettingData" in V2 {
///         /// Which.
///         pub id: String = "InstanceID",
///         /// In MiB.
///         pub startup: u64 = "VirtualQuantity",
///     }
/// }
///
/// let memory = Memory { startup: Some(512), ..Memory::default() };
/// assert_eq!(
///     memory.to_instance().unwrap(),
///     "<INSTANCE CLASSNAME=\"Msvm_MemorySettingData\"><PROPERTY NAME=\"VirtualQuantity\" TYPE=\"uint64\"><VALUE>512</VALUE>\
///      </PROPERTY></INSTANCE>"
/// );
/// ```
#[macro_export]
macro_rules! cim_class {
    (
        $(#[$about:meta])*
        $vis:vis struct $name:ident = $class:literal in $namespace:ident {
            $( $(#[$doc:meta])* $fvis:vis $field:ident : $type:ty = $property:literal ),* $(,)?
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq)]
        $vis struct $name {
            $( $(#[$doc])* $fvis $field: Option<$type>, )*
        }

        impl $crate::CimClass for $name {
            const TABLE: $crate::ClassTable = $crate::ClassTable {
                namespace: $namespace,
                name: $class,
                properties: &[$(
                    $crate::Property {
                        name: $property,
                        cim: <$type as $crate::Typed>::TYPE,
                        arity: <$type as $crate::Typed>::ARITY,
                    },
                )*],
            };

            fn read(object: &$crate::Object) -> Result<Self, $crate::Misread> {
                Ok(Self {
                    $( $field: $crate::class::field(object, $class, $property)?, )*
                })
            }

            fn write(&self) -> Vec<(&'static str, $crate::CimType, $crate::Value)> {
                vec![$(
                    (
                        $property,
                        <$type as $crate::Typed>::TYPE,
                        self.$field.as_ref().map_or($crate::Value::Null, $crate::Typed::write),
                    ),
                )*]
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reference;

    const V2: Namespace = Namespace("root/virtualization/v2");

    cim_class! {
        /// A disk's file.
        pub(crate) struct Media = "Msvm_StorageAllocationSettingData" in V2 {
            /// Which.
            id: String = "InstanceID",
            files: Vec<String> = "HostResource",
            kind: u16 = "ResourceType",
            reserved: bool = "Reserved",
            of: Reference = "Of",
        }
    }

    #[test]
    fn what_is_not_set_is_not_sent_and_what_is_false_or_empty_is() {
        let media = Media {
            files: Some(vec![]),
            reserved: Some(false),
            ..Media::default()
        };
        assert_eq!(
            media.to_instance().unwrap(),
            "<INSTANCE CLASSNAME=\"Msvm_StorageAllocationSettingData\"><PROPERTY.ARRAY NAME=\"HostResource\" TYPE=\"string\">\
             <VALUE.ARRAY></VALUE.ARRAY></PROPERTY.ARRAY><PROPERTY NAME=\"Reserved\" TYPE=\"boolean\"><VALUE>false</VALUE>\
             </PROPERTY></INSTANCE>"
        );
    }

    #[test]
    fn an_instance_is_read_back() {
        let media = Media {
            id: Some(r"Microsoft:5E0C\0".into()),
            files: Some(vec![r"D:\lab\R&D 1.vhdx".into()]),
            kind: Some(31),
            reserved: None,
            of: None,
        };
        assert_eq!(Media::of_instance(&media.to_instance().unwrap()).unwrap(), media);
    }

    #[test]
    fn another_class_or_type_is_an_error_that_names_it() {
        let other = Media::of_instance("<INSTANCE CLASSNAME=\"Msvm_X\"/>").unwrap_err();
        assert_eq!(
            other.to_string(),
            "Msvm_StorageAllocationSettingData: an object of class \"Msvm_X\" came"
        );
        let mut object = Object::default();
        object.set("ResourceType", Raw::Text("disk".into()));
        assert_eq!(
            Media::read(&object).unwrap_err().to_string(),
            "Msvm_StorageAllocationSettingData: property ResourceType: \"disk\" where uint16 was expected"
        );
    }

    #[test]
    fn the_table_says_what_the_struct_has() {
        assert_eq!(
            Media::columns(),
            ["InstanceID", "HostResource", "ResourceType", "Reserved", "Of"]
        );
        let files = Media::TABLE.properties[1];
        assert_eq!((files.cim, files.arity), (CimType::String, Arity::Array));
    }
}
