//! Faults, with the numbers of Windows and the HTTP statuses that they go with.

use crate::contract::WmiFault;

use super::names::{ADDRESSING, BINDING, ENUMERATION, FAULT, FAULT_ACTION};
use super::xml::escaped;

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    kind: Kind,
    detail: Detail,
    /// What a person may read. Clients must not.
    pub(crate) reason: String,
}

/// What stands in the detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    /// `WSManFault`, with a number of the service or of Win32.
    Service(u32),
    /// `MSFT_WmiError`, with a number of WMI.
    Wmi(u32),
    /// Nothing.
    Bare,
}

/// What went wrong. [`TABLE`] says how that looks on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    AccessDenied,
    Unreachable,
    ActionNotSupported,
    HeaderRequired,
    InvalidHeader,
    MustUnderstand,
    InvalidSelectors,
    KeysMissing,
    OtherNamespace,
    SchemaValidation,
    CannotProcessFilter,
    UnknownDialect,
    InvalidContext,
    TimedOut,
    EncodingLimit,
    EnvelopeTooSmall,
    EnvelopeTooLarge,
    BadTimeout,
    UnsupportedFeature,
    InvalidOptions,
    QuotaLimit,
    Concurrency,
    Malformed,
    Internal,
    /// Of WMI, not of the service.
    Wmi,
}

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Sender,
    Receiver,
    MustUnderstand,
}

use Side::{Receiver, Sender};

type Row = (Kind, Side, &'static str, u32);

/// Kind, code, subcode, number. Numbers are Windows' own (`ERROR_WSMAN_…` of its headers), subcodes are DSP0226's. Which number
/// goes with which cause is by their names, but for the few that `BEHAVIOUR.md` knows from real hosts.
const TABLE: [Row; 25] = [
    (Kind::AccessDenied, Sender, "w:AccessDenied", 5),
    (
        Kind::Unreachable,
        Sender,
        "a:DestinationUnreachable",
        2_150_858_752,
    ),
    (
        Kind::ActionNotSupported,
        Sender,
        "a:ActionNotSupported",
        2_150_858_771,
    ),
    (
        Kind::HeaderRequired,
        Sender,
        "a:MessageInformationHeaderRequired",
        2_150_858_769,
    ),
    (
        Kind::InvalidHeader,
        Sender,
        "a:InvalidMessageInformationHeader",
        2_150_858_767,
    ),
    (Kind::MustUnderstand, Side::MustUnderstand, "", 2_150_858_768),
    (
        Kind::InvalidSelectors,
        Sender,
        "w:InvalidSelectors",
        2_150_858_813,
    ),
    // The URI is a singleton's, and the class is none.
    (Kind::KeysMissing, Sender, "w:InvalidSelectors", 2_150_859_002),
    (Kind::OtherNamespace, Sender, "w:InvalidSelectors", 2_150_859_067),
    (
        Kind::SchemaValidation,
        Sender,
        "w:SchemaValidationError",
        2_150_858_817,
    ),
    (
        Kind::CannotProcessFilter,
        Sender,
        "n:CannotProcessFilter",
        2_150_858_778,
    ),
    (
        Kind::UnknownDialect,
        Sender,
        "n:FilterDialectRequestedUnavailable",
        2_150_858_777,
    ),
    (
        Kind::InvalidContext,
        Receiver,
        "n:InvalidEnumerationContext",
        2_150_858_779,
    ),
    (Kind::TimedOut, Receiver, "w:TimedOut", 2_150_858_793),
    (Kind::EncodingLimit, Sender, "w:EncodingLimit", 2_150_858_805),
    (Kind::EnvelopeTooSmall, Sender, "w:EncodingLimit", 2_150_858_862),
    (Kind::EnvelopeTooLarge, Sender, "w:EncodingLimit", 2_150_858_790),
    (Kind::BadTimeout, Sender, "w:UnsupportedFeature", 2_150_858_854),
    (
        Kind::UnsupportedFeature,
        Sender,
        "w:UnsupportedFeature",
        2_150_858_818,
    ),
    (Kind::InvalidOptions, Sender, "w:InvalidOptions", 2_150_858_809),
    (Kind::QuotaLimit, Sender, "w:QuotaLimit", 2_150_858_815),
    (Kind::Concurrency, Sender, "w:Concurrency", 2_150_858_802),
    (Kind::Malformed, Sender, "w:SchemaValidationError", 2_150_858_819),
    (Kind::Internal, Receiver, "w:InternalError", 2_150_858_755),
    (Kind::Wmi, Receiver, "w:InternalError", 0),
];

impl Fault {
    pub(crate) fn new(kind: Kind, reason: impl Into<String>) -> Self {
        let (.., number) = row(kind);
        let detail = match kind {
            // Recorded with WMI's detail, the number the service's own.
            Kind::CannotProcessFilter => Detail::Wmi(*number),
            Kind::MustUnderstand => Detail::Bare,
            _ => Detail::Service(*number),
        };
        Self {
            kind,
            detail,
            reason: reason.into(),
        }
    }

    /// What WMI said.
    pub(crate) fn wmi(said: WmiFault, reason: impl Into<String>) -> Self {
        let (kind, detail) = match said {
            WmiFault::NOT_FOUND => (Kind::Unreachable, Detail::Wmi(said.0)),
            WmiFault::INVALID_NAMESPACE | WmiFault::INVALID_CLASS => (Kind::Unreachable, Detail::Wmi(said.0)),
            WmiFault::ACCESS_DENIED => (Kind::AccessDenied, Detail::Wmi(said.0)),
            _ => (Kind::Wmi, Detail::Wmi(said.0)),
        };
        Self {
            kind,
            detail,
            reason: reason.into(),
        }
    }

    #[cfg(test)]
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The number that a client reads.
    pub(crate) fn number(&self) -> u32 {
        match self.detail {
            Detail::Service(number) | Detail::Wmi(number) => number,
            Detail::Bare => 0,
        }
    }

    /// What is not XML is a bad request; all else, as Windows has it, an internal error.
    pub(crate) fn status(&self) -> u16 {
        if self.kind == Kind::Malformed { 400 } else { 500 }
    }

    pub(crate) fn action(&self) -> String {
        let (_, _, subcode, _) = row(self.kind);
        match subcode.split(':').next() {
            Some("a") => format!("{ADDRESSING}/fault"),
            Some("n") => format!("{ENUMERATION}/fault"),
            _ => FAULT_ACTION.to_owned(),
        }
    }

    /// What stands in the body.
    pub(crate) fn body(&self, machine: &str) -> String {
        let (_, side, subcode, _) = row(self.kind);
        let code = match side {
            Side::Sender => "s:Sender",
            Side::Receiver => "s:Receiver",
            Side::MustUnderstand => "s:MustUnderstand",
        };
        let subcode = match *subcode {
            "" => String::new(),
            some => format!("<s:Subcode><s:Value>{some}</s:Value></s:Subcode>"),
        };
        let reason = escaped(&self.reason);
        let detail = match self.detail {
            Detail::Bare => String::new(),
            Detail::Service(number) => format!(
                "<s:Detail><f:WSManFault xmlns:f=\"{FAULT}\" Code=\"{number}\" Machine=\"{}\"><f:Message>{reason}</f:Message>\
                 </f:WSManFault></s:Detail>",
                escaped(machine)
            ),
            Detail::Wmi(number) => format!(
                "<s:Detail><p:MSFT_WmiError b:IsCIM_Error=\"true\" xmlns:b=\"{BINDING}\" \
                 xmlns:p=\"http://schemas.microsoft.com/wbem/wsman/1/wmi/root/interop/MSFT_WmiError\" \
                 xmlns:cim=\"http://schemas.dmtf.org/wbem/wscim/1/common\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
                 xsi:type=\"p:MSFT_WmiError_Type\"><p:CIMStatusCode xsi:type=\"cim:cimUnsignedInt\">1</p:CIMStatusCode>\
                 <p:Message xsi:type=\"cim:cimString\">{reason}</p:Message>\
                 <p:MessageID xsi:type=\"cim:cimString\">HRESULT 0x{number:08x}</p:MessageID>\
                 <p:OtherErrorSourceFormat xsi:nil=\"true\"/><p:OwningEntity xsi:type=\"cim:cimString\"></p:OwningEntity>\
                 <p:error_Category xsi:type=\"cim:cimUnsignedInt\">0</p:error_Category>\
                 <p:error_Code xsi:type=\"cim:cimUnsignedInt\">{number}</p:error_Code>\
                 <p:error_Type xsi:type=\"cim:cimString\">HRESULT</p:error_Type></p:MSFT_WmiError></s:Detail>"
            ),
        };
        format!(
            "<s:Fault><s:Code><s:Value>{code}</s:Value>{subcode}</s:Code><s:Reason><s:Text xml:lang=\"en-US\">{reason}</s:Text>\
             </s:Reason>{detail}</s:Fault>"
        )
    }
}

fn row(kind: Kind) -> &'static Row {
    let mut rows = TABLE.iter();
    rows.find(|(known, ..)| *known == kind)
        .expect("every kind has its row: a test holds it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::xml::Element;

    #[test]
    fn every_kind_has_a_row_and_a_body_that_is_xml() {
        for (kind, ..) in TABLE {
            let fault = Fault::new(kind, "<no> & \"no\"");
            let body = fault
                .body("HV7")
                .replacen("<s:Fault>", "<s:Fault xmlns:s='s'>", 1);
            let read = Element::parse(&body).unwrap();
            assert_eq!(read.name, "Fault");
        }
    }

    #[test]
    fn numbers_are_those_of_windows() {
        assert_eq!(Fault::new(Kind::TimedOut, "").number(), 0x8033_8029);
        assert_eq!(Fault::new(Kind::SchemaValidation, "").number(), 0x8033_8041);
        assert_eq!(Fault::new(Kind::EnvelopeTooSmall, "").number(), 0x8033_806E);
        assert_eq!(Fault::new(Kind::KeysMissing, "").number(), 0x8033_80FA);
        assert!(
            Fault::new(Kind::CannotProcessFilter, "")
                .body("h")
                .contains("HRESULT 0x8033801a")
        );
        assert!(
            Fault::wmi(WmiFault::INVALID_NAMESPACE, "")
                .body("h")
                .contains(">2147749902<")
        );
    }
}
