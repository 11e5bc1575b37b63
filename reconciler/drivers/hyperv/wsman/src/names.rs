//! Namespaces, actions and addresses: DSP0226, DSP0227 and \[MS-WSMV\] 2.2.

/// SOAP 1.2.
pub(crate) const SOAP: &str = "http://www.w3.org/2003/05/soap-envelope";
/// WS-Addressing, the edition of 2004.
pub(crate) const ADDRESSING: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
/// WS-Enumeration.
pub(crate) const ENUMERATION: &str = "http://schemas.xmlsoap.org/ws/2004/09/enumeration";
/// WS-Transfer.
pub(crate) const TRANSFER: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer";
/// WS-Management.
pub(crate) const MANAGEMENT: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd";
/// WS-Management's Identify.
pub(crate) const IDENTITY: &str = "http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd";
/// Microsoft's additions to it.
pub(crate) const MICROSOFT: &str = "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd";
/// Types of CIM.
pub(crate) const CIM: &str = "http://schemas.dmtf.org/wbem/wscim/1/common";
/// What marks an instance of XML Schema: `nil`, `type`.
#[cfg(test)]
pub(crate) const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Who asks waits on the connection that it asked on.
pub(crate) const ANONYMOUS: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous";
/// The dialect of filters in WQL.
pub(crate) const WQL: &str = "http://schemas.microsoft.com/wbem/wsman/1/WQL";

/// What is asked of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Enumerate,
    Pull,
    Release,
    Get,
    Put,
    Create,
    Delete,
    /// A method of a class.
    Method(String),
}

impl Action {
    /// The URI of it; that of a method hangs on its class's.
    pub(crate) fn uri(&self, resource: &ResourceUri) -> String {
        match self {
            Self::Enumerate => format!("{ENUMERATION}/Enumerate"),
            Self::Pull => format!("{ENUMERATION}/Pull"),
            Self::Release => format!("{ENUMERATION}/Release"),
            Self::Get => format!("{TRANSFER}/Get"),
            Self::Put => format!("{TRANSFER}/Put"),
            Self::Create => format!("{TRANSFER}/Create"),
            Self::Delete => format!("{TRANSFER}/Delete"),
            Self::Method(method) => format!("{}/{method}", resource.0),
        }
    }
}

/// A namespace of WMI, with slashes: `root/virtualization/v2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(pub &'static str);

/// What a request is about.
///
/// ```
/// # use wsman::{Namespace, ResourceUri};
/// const V2: Namespace = Namespace("root/virtualization/v2");
/// let uri = ResourceUri::class(V2, "Msvm_ComputerSystem");
/// assert_eq!(
///     uri.0,
///     "http://schemas.microsoft.com/wbem/wsman/1/wmi/root/virtualization/v2/Msvm_ComputerSystem"
/// );
/// assert_eq!(uri.class_name(), Some("Msvm_ComputerSystem"));
/// assert_eq!(ResourceUri::all_classes(V2).class_name(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceUri(pub String);

impl ResourceUri {
    const WMI: &'static str = "http://schemas.microsoft.com/wbem/wsman/1/wmi/";

    /// A class of WMI.
    pub fn class(namespace: Namespace, class: &str) -> Self {
        Self(format!("{}{}/{class}", Self::WMI, namespace.0))
    }

    /// All classes of a namespace: where queries in WQL go; \[MS-WSMV\] refuses them on a class.
    pub fn all_classes(namespace: Namespace) -> Self {
        Self::class(namespace, "*")
    }

    /// The service's own settings, which only an administrator reads: \[MS-WSMV\] 2.2.4.10.
    pub fn configuration() -> Self {
        Self("http://schemas.microsoft.com/wbem/wsman/1/config".to_owned())
    }

    /// The class that it names, if it names one.
    pub fn class_name(&self) -> Option<&str> {
        let (_, class) = self.0.rsplit_once('/')?;
        (class != "*").then_some(class)
    }
}
