//! How what crosses between an engine and who asks it over a network is written as JSON. The types themselves say their
//! fields; here is what they cannot say: a secret, which goes where it is used and is shown nowhere else, and an image's
//! error, whose causes are of this computer.
//!
//! ```
//! use labyard_reconciler::EngineError;
//! let error = EngineError::LeaseLost { host: "lab1".into(), what: "labyard_vm \"web\"".into() };
//! let told: EngineError = serde_json::from_str(&serde_json::to_string(&error).unwrap()).unwrap();
//! assert!(matches!(told, EngineError::LeaseLost { .. }));
//! ```

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::engine::ObjectRef;
use crate::identity::Identity;
use crate::image::{Fault, ImageError};

/// A secret as its text: it is on its way to the engine that puts it into a guest.
pub(crate) mod revealed {
    use labyard_schema::text::Secret;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.reveal())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        Ok(Secret::new(String::deserialize(deserializer)?))
    }
}

/// The same of one that may be missing.
pub(crate) mod revealed_where_given {
    use labyard_schema::text::Secret;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        secret: &Option<Secret>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(Secret::reveal).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Secret>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
    }
}

/// What a state knows of an object beside its host, namespace and name: the rest of an [`ObjectRef`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// What the state holds to know it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The host's id that the state holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<labyard_driver::ids::ObjectId>,
    /// Storage pools that the state names beside the host's own.
    #[serde(default, skip_serializing_if = "std::collections::BTreeSet::is_empty")]
    pub pools: std::collections::BTreeSet<labyard_driver::ids::PoolName>,
}

impl From<&ObjectRef> for Known {
    fn from(object: &ObjectRef) -> Self {
        Self {
            identity: object.identity.clone(),
            id: object.id.clone(),
            pools: object.pools.clone(),
        }
    }
}

/// An image's error on its way: its causes are files, connections and programs of the computer where it was met.
#[derive(Serialize, Deserialize)]
struct Told {
    origin: String,
    message: String,
    #[serde(default)]
    transient: bool,
}

impl Serialize for ImageError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let told = Told {
            origin: self.origin.clone(),
            message: self.fault.to_string(),
            transient: self.fault.is_transient(),
        };
        told.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ImageError {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Told {
            origin,
            message,
            transient,
        } = Told::deserialize(deserializer)?;
        Ok(Self {
            origin,
            fault: Fault::Told { message, transient },
        })
    }
}

#[cfg(test)]
mod tests;
