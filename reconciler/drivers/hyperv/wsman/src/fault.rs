//! What a service says when it does not do what it was asked, told by its numbers: its texts are in the host's language.

use crate::names::SOAP;
use crate::xml::Element;

/// A SOAP fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it comes to.
    pub kind: FaultKind,
    /// The subcode without its prefix: `AccessDenied`, `TimedOut`, `SchemaValidationError`.
    pub subcode: Option<String>,
    /// The service's own number, of `WSManFault`.
    pub service_code: Option<u32>,
    /// WMI's number, an HRESULT, of `MSFT_WmiError`.
    pub wmi_code: Option<u32>,
    /// What the host says of it, in its own language; for people.
    pub message: String,
}

/// What a fault comes to for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The account may not do that.
    AccessDenied,
    /// Nothing came within the operation's time. Of a Pull it is no error: there is nothing yet.
    TimedOut,
    /// There is no such object.
    NotFound,
    /// There is no such class or namespace.
    NoSuchClass,
    /// The enumeration has gone cold.
    ContextGone,
    /// The host cannot filter so.
    Filter,
    /// More at once than the service allows.
    Quota,
    /// The answer is larger than was allowed.
    TooLarge,
    /// The request does not hold what the class wants.
    Schema,
    /// The service has no such thing.
    Unsupported,
    /// Anything else.
    Other,
}

/// Numbers of the service (winerror.h, ERROR_WSMAN_…) and what they come to.
const SERVICE: &[(u32, FaultKind)] = &[
    (5, FaultKind::AccessDenied),
    (0x8033_8029, FaultKind::TimedOut),
    (0x8033_8000, FaultKind::NotFound),
    (0x8033_801C, FaultKind::TimedOut),
    (0x8033_8007, FaultKind::ContextGone),
    (0x8033_801B, FaultKind::ContextGone),
    (0x8033_801A, FaultKind::Filter),
    (0x8033_8122, FaultKind::Filter),
    (0x8033_80FB, FaultKind::Filter),
    (0x8033_803D, FaultKind::Schema),
    (0x8033_8041, FaultKind::Schema),
    (0x8033_8026, FaultKind::TooLarge),
    (0x8033_806E, FaultKind::TooLarge),
    (0x8033_803F, FaultKind::Quota),
    (0x8033_81A5, FaultKind::Quota),
    (0x8033_81A6, FaultKind::Quota),
    (0x8033_81A7, FaultKind::Quota),
    (0x8033_81A8, FaultKind::Quota),
    (0x8033_81AB, FaultKind::Quota),
    (0x8033_81E7, FaultKind::Quota),
    (0x8033_81E8, FaultKind::Quota),
];

/// Numbers of WMI (wbemcli.h, WBEM_E_…; winerror.h) and what they come to.
const WMI: &[(u32, FaultKind)] = &[
    (0x8004_1002, FaultKind::NotFound),
    (0x8004_1003, FaultKind::AccessDenied),
    (0x8007_0005, FaultKind::AccessDenied),
    (0x8004_100E, FaultKind::NoSuchClass),
    (0x8004_1010, FaultKind::NoSuchClass),
    (0x8004_1017, FaultKind::Filter),
    (0x8004_106C, FaultKind::Quota),
    (0x8033_801A, FaultKind::Filter),
];

/// Subcodes (DSP0226, 14.6 and following) and what they come to.
const SUBCODES: &[(&str, FaultKind)] = &[
    ("AccessDenied", FaultKind::AccessDenied),
    ("TimedOut", FaultKind::TimedOut),
    ("DestinationUnreachable", FaultKind::NotFound),
    ("InvalidEnumerationContext", FaultKind::ContextGone),
    ("CannotProcessFilter", FaultKind::Filter),
    ("QuotaLimit", FaultKind::Quota),
    ("Concurrency", FaultKind::Quota),
    ("EncodingLimit", FaultKind::TooLarge),
    ("SchemaValidationError", FaultKind::Schema),
    ("InvalidSelectors", FaultKind::Schema),
    ("InvalidRepresentation", FaultKind::Schema),
    ("UnsupportedFeature", FaultKind::Unsupported),
    ("ActionNotSupported", FaultKind::Unsupported),
];

impl Fault {
    /// The fault that a SOAP body holds, if it holds one.
    pub(crate) fn read(body: &Element) -> Option<Self> {
        let fault = body.child(SOAP, "Fault")?;
        let code = fault.child(SOAP, "Code");
        let subcode = code
            .and_then(|code| code.at(&[(SOAP, "Subcode"), (SOAP, "Value")]))
            .map(|value| local(&value.text));
        let detail = fault.child(SOAP, "Detail");
        let service = detail.and_then(|detail| detail.child_called("WSManFault"));
        let wmi = detail.and_then(|detail| {
            let mut all = detail.children.iter();
            all.find(|one| one.attribute("IsCIM_Error").is_some() || one.name == "MSFT_WmiError")
        });
        let service_code = service
            .and_then(|fault| fault.attribute("Code"))
            .and_then(|code| code.parse().ok());
        let wmi_code = wmi
            .and_then(|error| error.child_called("error_Code"))
            .and_then(|code| code.text.trim().parse::<i64>().ok())
            // A signed number in some answers, an unsigned one in others.
            .and_then(|code| u32::try_from(code & 0xffff_ffff).ok());
        let reason = fault.at(&[(SOAP, "Reason"), (SOAP, "Text")]);
        let said = [
            service
                .and_then(|fault| fault.child_called("Message"))
                .map(whole_text),
            wmi.and_then(|error| error.child_called("Message"))
                .map(whole_text),
            reason.map(whole_text),
        ];
        let message = said.into_iter().flatten().find(|text| !text.is_empty());
        Some(Self {
            kind: kind(service_code, wmi_code, subcode.as_deref()),
            subcode,
            service_code,
            wmi_code,
            message: message.unwrap_or_default(),
        })
    }
}

/// The number of the service first, then WMI's, then the subcode.
fn kind(service: Option<u32>, wmi: Option<u32>, subcode: Option<&str>) -> FaultKind {
    let by_number = |table: &[(u32, FaultKind)], number: Option<u32>| {
        let number = number?;
        table
            .iter()
            .find(|(there, _)| *there == number)
            .map(|(_, kind)| *kind)
    };
    let by_subcode = || {
        let subcode = subcode?;
        SUBCODES
            .iter()
            .find(|(there, _)| *there == subcode)
            .map(|(_, kind)| *kind)
    };
    by_number(SERVICE, service)
        .or_else(|| by_number(WMI, wmi))
        .or_else(by_subcode)
        .unwrap_or(FaultKind::Other)
}

fn local(name: &str) -> String {
    let name = name.trim();
    name.rsplit_once(':').map_or(name, |(_, local)| local).to_owned()
}

/// All texts in an element: a message may hold the fault of a provider in it.
fn whole_text(element: &Element) -> String {
    let mut text = element.text.trim().to_owned();
    for child in &element.children {
        let inner = whole_text(child);
        if !inner.is_empty() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&inner);
        }
    }
    text
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.message.trim() {
            "" => f.write_str("the host gives no reason")?,
            message => f.write_str(message)?,
        }
        let subcode = self.subcode.clone();
        let numbers = [self.service_code, self.wmi_code].into_iter().flatten();
        let all: Vec<String> = subcode
            .into_iter()
            .chain(numbers.map(|code| format!("0x{code:08X}")))
            .collect();
        match &all[..] {
            [] => Ok(()),
            all => write!(f, " ({})", all.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(inside: &str) -> Fault {
        let text = format!("<s:Body xmlns:s='{SOAP}'><s:Fault>{inside}</s:Fault></s:Body>");
        Fault::read(&Element::parse(&text).unwrap()).unwrap()
    }

    fn coded(subcode: &str, detail: &str) -> Fault {
        fault(&format!(
            "<s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>w:{subcode}</s:Value></s:Subcode></s:Code>\
             <s:Reason><s:Text xml:lang='ja'>理由</s:Text></s:Reason><s:Detail>{detail}</s:Detail>"
        ))
    }

    #[test]
    fn a_fault_is_told_by_its_numbers_and_not_by_its_text() {
        let timed_out = coded(
            "TimedOut",
            "<f:WSManFault xmlns:f='urn:f' Code='2150858793' Machine='hv7'><f:Message>時間切れ</f:Message></f:WSManFault>",
        );
        assert_eq!(timed_out.kind, FaultKind::TimedOut);
        assert_eq!(timed_out.to_string(), "時間切れ (TimedOut, 0x80338029)");
        let wmi = "<p:MSFT_WmiError xmlns:p='urn:p' xmlns:b='urn:b' b:IsCIM_Error='true'><p:error_Code>CODE</p:error_Code>\
                   <p:Message>no</p:Message></p:MSFT_WmiError>";
        for (code, kind) in [
            ("2147749890", FaultKind::NotFound),
            ("-2147217406", FaultKind::NotFound),
            ("2147749902", FaultKind::NoSuchClass),
            ("2147749891", FaultKind::AccessDenied),
        ] {
            let fault = coded("InternalError", &wmi.replace("CODE", code));
            assert_eq!(fault.kind, kind, "{code}");
        }
    }

    #[test]
    fn a_fault_without_numbers_is_told_by_its_subcode() {
        assert_eq!(coded("AccessDenied", "").kind, FaultKind::AccessDenied);
        assert_eq!(coded("AccessDenied", "").message, "理由");
        assert_eq!(coded("WhoKnows", "").kind, FaultKind::Other);
        let bare = fault("");
        assert_eq!(
            (bare.kind, bare.to_string().as_str()),
            (FaultKind::Other, "the host gives no reason")
        );
    }

    #[test]
    fn the_numbers_of_the_service_come_to_what_their_names_say() {
        for (code, kind) in [
            // ERROR_WSMAN_INVALID_SELECTORS, …_ENUMERATE_INVALID_ENUMERATION_CONTEXT, …_ENUMERATE_TIMED_OUT,
            // …_QUOTA_LIMIT, …_QUOTA_MAX_OPERATIONS, …_ENVELOPE_TOO_LARGE.
            (2_150_858_813_u32, FaultKind::Schema),
            (0x8033_801B, FaultKind::ContextGone),
            (0x8033_801C, FaultKind::TimedOut),
            (2_150_858_815, FaultKind::Quota),
            (2_150_859_174, FaultKind::Quota),
            (0x8033_8026, FaultKind::TooLarge),
        ] {
            let detail = format!("<f:WSManFault xmlns:f='urn:f' Code='{code}'/>");
            assert_eq!(coded("InternalError", &detail).kind, kind, "{code:X}");
        }
    }

    #[test]
    fn what_a_provider_says_within_the_service_is_told() {
        let nested = coded(
            "InternalError",
            "<f:WSManFault xmlns:f='urn:f' Code='2150858755'><f:Message><f:ProviderFault provider='WMI'>\
             <f:WSManFault Code='5'><f:Message>denied</f:Message></f:WSManFault></f:ProviderFault></f:Message></f:WSManFault>",
        );
        assert_eq!(nested.message, "denied");
        assert_eq!(nested.service_code, Some(0x8033_8003));
    }
}
