//! What the wire asks of the model. Whatever comes here has been held against the schema before: the class exists, the
//! method is one of its (or of a class above it), names and types of parameters and of the properties of embedded instances
//! are right. What the classes do not say (which keys, which states, which paths) is for the model to judge.

use std::collections::BTreeMap;

use crate::cim::{Instance, Path, Value};

/// Parameters by name. An embedded instance is a [`Value::Instance`], whether the class has a string or an object there; what
/// was not sent is not in it.
pub type Parameters = BTreeMap<String, Value>;

/// A host as classes show it.
pub trait Model: Send {
    /// The instances of exactly this class; of the classes below it the wire asks by itself. A namespace or a class that the
    /// schema has and the host has not (a role that is not installed) is a fault.
    fn instances(&self, namespace: &str, class: &str) -> Result<Vec<Instance>, WmiFault>;

    /// What an association leads to from an object, of exactly these classes.
    fn associated(
        &self,
        of: &Path,
        association: Option<&str>,
        result: Option<&str>,
    ) -> Result<Vec<Instance>, WmiFault>;

    /// Calls a method. Its answer has `ReturnValue` and what else comes out; an output that the schema calls an instance in a
    /// string is a [`Value::Instance`].
    fn invoke(&mut self, object: &Path, method: &str, input: &Parameters) -> Result<Parameters, WmiFault>;

    /// Creates an instance of a class whose instances are made so (`MSFT_NetNat`).
    fn create(&mut self, instance: Instance) -> Result<Path, WmiFault>;

    /// Changes these properties of an instance.
    fn put(&mut self, object: &Path, changes: &Instance) -> Result<Instance, WmiFault>;

    /// Deletes an instance of a class whose instances are deleted so.
    fn delete(&mut self, object: &Path) -> Result<(), WmiFault>;
}

/// What WMI answers instead of an answer, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WmiFault(pub u32);

impl WmiFault {
    /// WBEM_E_FAILED.
    pub const FAILED: Self = Self(0x8004_1001);
    /// WBEM_E_NOT_FOUND.
    pub const NOT_FOUND: Self = Self(0x8004_1002);
    /// WBEM_E_ACCESS_DENIED.
    pub const ACCESS_DENIED: Self = Self(0x8004_1003);
    /// WBEM_E_INVALID_PARAMETER.
    pub const INVALID_PARAMETER: Self = Self(0x8004_1008);
    /// WBEM_E_NOT_SUPPORTED.
    pub const NOT_SUPPORTED: Self = Self(0x8004_100C);
    /// WBEM_E_INVALID_NAMESPACE.
    pub const INVALID_NAMESPACE: Self = Self(0x8004_100E);
    /// WBEM_E_INVALID_CLASS.
    pub const INVALID_CLASS: Self = Self(0x8004_1010);
    /// WBEM_E_INVALID_METHOD_PARAMETERS.
    pub const INVALID_METHOD_PARAMETERS: Self = Self(0x8004_102F);
}
