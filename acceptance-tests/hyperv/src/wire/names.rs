//! Namespaces, actions and addresses, from DSP0226, DSP0227, \[MS-WSMV\] and recorded traffic of real hosts.

pub(crate) const SOAP: &str = "http://www.w3.org/2003/05/soap-envelope";
pub(crate) const ADDRESSING: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
pub(crate) const ENUMERATION: &str = "http://schemas.xmlsoap.org/ws/2004/09/enumeration";
pub(crate) const TRANSFER: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer";
pub(crate) const WSMAN: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd";
pub(crate) const IDENTITY: &str = "http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd";
pub(crate) const MICROSOFT: &str = "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd";
pub(crate) const FAULT: &str = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault";
pub(crate) const CIM: &str = "http://schemas.dmtf.org/wbem/wscim/1/common";
pub(crate) const BINDING: &str = "http://schemas.dmtf.org/wbem/wsman/1/cimbinding.xsd";
pub(crate) const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Who asks waits on the connection that it asked on.
pub(crate) const ANONYMOUS: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous";
/// What a fault's action is, where it is not WS-Addressing's own.
pub(crate) const FAULT_ACTION: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault";
/// Queries.
pub(crate) const WQL: &str = "http://schemas.microsoft.com/wbem/wsman/1/WQL";
/// What the resource URIs of classes of WMI begin with.
pub(crate) const WMI: &str = "http://schemas.microsoft.com/wbem/wsman/1/wmi/";
/// The service's own settings.
pub(crate) const CONFIG: &str = "http://schemas.microsoft.com/wbem/wsman/1/config";
/// The login by a client certificate, as `Authorization` says it.
pub(crate) const MUTUAL: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual";

/// The resource URI of a class; `*` stands for all.
pub(crate) fn class_uri(namespace: &str, class: &str) -> String {
    format!("{WMI}{namespace}/{class}")
}
