//! Requests as they come, and answers as they go.

use std::time::Duration;

use super::fault::{Fault, Kind};
use super::names::{
    ADDRESSING, ANONYMOUS, CIM, ENUMERATION, IDENTITY, MICROSOFT, SOAP, TRANSFER, WMI, WSMAN,
};
use super::xml::{Element, escaped};

/// The smallest answer that may be asked for: \[MS-WSMV\] 3.1.4.1.7.
const SMALLEST_ENVELOPE: usize = 8192;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) verb: Verb,
    pub(crate) message_id: Option<String>,
    pub(crate) resource: Resource,
    pub(crate) selectors: Vec<(String, Selector)>,
    /// How long the service may take, where that was said.
    pub(crate) timeout: Option<Duration>,
    /// How large an answer may be, where that was said.
    pub(crate) max_envelope: Option<usize>,
    /// The one property that a Get or Put is about.
    pub(crate) fragment: Option<String>,
    /// What stands in the body.
    pub(crate) body: Option<Element>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Identify,
    Enumerate,
    Pull,
    Release,
    Get,
    Put,
    Create,
    Delete,
    Invoke(String),
}

impl Verb {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Identify => "Identify",
            Self::Enumerate => "Enumerate",
            Self::Pull => "Pull",
            Self::Release => "Release",
            Self::Get => "Get",
            Self::Put => "Put",
            Self::Create => "Create",
            Self::Delete => "Delete",
            Self::Invoke(_) => "Invoke",
        }
    }
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    None,
    /// The service's settings.
    Config,
    /// All classes of a namespace.
    All {
        namespace: String,
    },
    /// A class.
    Class {
        namespace: String,
        class: String,
    },
    /// Something else.
    Other(String),
}

impl Resource {
    fn read(uri: &str) -> Self {
        // Some clients write blanks around it.
        let uri = uri.trim();
        if uri.eq_ignore_ascii_case(super::names::CONFIG) {
            return Self::Config;
        }
        let at = uri
            .get(..WMI.len())
            .filter(|begin| begin.eq_ignore_ascii_case(WMI));
        match at.and_then(|_| uri[WMI.len()..].rsplit_once('/')) {
            Some((namespace, "*")) => Self::All {
                namespace: namespace.to_lowercase(),
            },
            Some((namespace, class)) => Self::Class {
                namespace: namespace.to_lowercase(),
                class: class.to_owned(),
            },
            None => Self::Other(uri.to_owned()),
        }
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        match self {
            Self::All { namespace } | Self::Class { namespace, .. } => Some(namespace),
            Self::None | Self::Config | Self::Other(_) => None,
        }
    }
}

/// The value of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    Text(String),
    /// An object that a key refers to.
    Object(Endpoint),
}

/// An endpoint reference: its class by URI, its keys by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) resource: Resource,
    pub(crate) selectors: Vec<(String, Selector)>,
}

impl Endpoint {
    /// Reads `Address` and `ReferenceParameters` that stand directly in an element.
    pub(crate) fn read(inside: &Element) -> Result<Self, Fault> {
        let wrong = |what: &str| Fault::new(Kind::SchemaValidation, format!("{} {what}", inside.name));
        if inside.child(ADDRESSING, "Address").is_none() {
            return Err(wrong(
                "has no Address: a reference stands in it without a wrapper",
            ));
        }
        let Some(parameters) = inside.child(ADDRESSING, "ReferenceParameters") else {
            return Err(wrong("has no ReferenceParameters"));
        };
        let Some(resource) = parameters.child(WSMAN, "ResourceURI") else {
            return Err(wrong("has no ResourceURI"));
        };
        Ok(Self {
            resource: Resource::read(&resource.text),
            selectors: selectors(parameters.child(WSMAN, "SelectorSet"))?,
        })
    }
}

fn selectors(set: Option<&Element>) -> Result<Vec<(String, Selector)>, Fault> {
    let mut read: Vec<(String, Selector)> = Vec::new();
    for selector in set.into_iter().flat_map(|set| &set.children) {
        let name = selector
            .attribute("", "Name")
            .filter(|_| selector.is(WSMAN, "Selector"));
        let Some(name) = name else {
            return Err(Fault::new(
                Kind::SchemaValidation,
                "a SelectorSet holds Selectors with names",
            ));
        };
        if read.iter().any(|(there, _)| there.eq_ignore_ascii_case(name)) {
            return Err(Fault::new(
                Kind::InvalidSelectors,
                format!("the selector {name} stands there twice"),
            ));
        }
        let value = match selector.child(ADDRESSING, "EndpointReference") {
            Some(endpoint) => Selector::Object(Endpoint::read(endpoint)?),
            None => Selector::Text(selector.text.clone()),
        };
        read.push((name.to_owned(), value));
    }
    Ok(read)
}

/// Headers that are known here: namespace and name.
const KNOWN: [(&str, &str); 14] = [
    (ADDRESSING, "To"),
    (ADDRESSING, "From"),
    (ADDRESSING, "Action"),
    (ADDRESSING, "MessageID"),
    (ADDRESSING, "ReplyTo"),
    (ADDRESSING, "FaultTo"),
    (WSMAN, "ResourceURI"),
    (WSMAN, "SelectorSet"),
    (WSMAN, "OptionSet"),
    (WSMAN, "MaxEnvelopeSize"),
    (WSMAN, "OperationTimeout"),
    (WSMAN, "Locale"),
    (WSMAN, "FragmentTransfer"),
    (MICROSOFT, "DataLocale"),
];

/// Microsoft's own, which clients of its session protocol send: known, and of no weight here.
const OF_SESSIONS: [&str; 4] = ["SessionId", "OperationID", "SequenceId", "ActivityId"];

impl Request {
    /// Reads an envelope.
    ///
    /// The id of the request comes with the fault where it could be read, for `RelatesTo`.
    pub(crate) fn read(text: &str) -> Result<Self, (Fault, Option<String>)> {
        let envelope = Element::parse(text).map_err(|why| (Fault::new(Kind::Malformed, why), None))?;
        let header = envelope.child(SOAP, "Header");
        let id = header.and_then(|header| header.child(ADDRESSING, "MessageID"));
        let id = id.map(|id| id.text.trim().to_owned()).filter(|id| !id.is_empty());
        Self::of(&envelope, header, id.clone()).map_err(|fault| (fault, id))
    }

    fn of(envelope: &Element, header: Option<&Element>, message_id: Option<String>) -> Result<Self, Fault> {
        if !envelope.is(SOAP, "Envelope") {
            return Err(Fault::new(
                Kind::SchemaValidation,
                "this is no envelope of SOAP 1.2",
            ));
        }
        let Some(body) = envelope.child(SOAP, "Body") else {
            return Err(Fault::new(Kind::SchemaValidation, "an envelope without a body"));
        };
        let body = body.children.first().cloned();
        let headers = header.map_or(&[][..], |header| &header.children);
        understood(headers)?;
        let blank = Self {
            verb: Verb::Identify,
            message_id,
            resource: Resource::None,
            selectors: Vec::new(),
            timeout: None,
            max_envelope: None,
            fragment: None,
            body,
        };
        if blank
            .body
            .as_ref()
            .is_some_and(|body| body.is(IDENTITY, "Identify"))
        {
            return Ok(blank);
        }
        blank.addressed(headers)
    }

    /// All but Identify say where they go, what they want and which message they are.
    fn addressed(mut self, headers: &[Element]) -> Result<Self, Fault> {
        let find = |space, name| headers.iter().find(|header| header.is(space, name));
        let text = |space, name| find(space, name).map(|header| header.text.trim());
        let required = |name: &str| Fault::new(Kind::HeaderRequired, format!("the header {name} is missing"));
        let action = text(ADDRESSING, "Action").ok_or_else(|| required("Action"))?;
        text(ADDRESSING, "To").ok_or_else(|| required("To"))?;
        if self.message_id.is_none() {
            return Err(required("MessageID"));
        }
        let reply = find(ADDRESSING, "ReplyTo").and_then(|reply| reply.child(ADDRESSING, "Address"));
        let reply = reply.ok_or_else(|| required("ReplyTo"))?;
        if reply.text.trim() != ANONYMOUS {
            return Err(Fault::new(Kind::InvalidHeader, "ReplyTo is not anonymous"));
        }
        let uri = text(WSMAN, "ResourceURI")
            .ok_or_else(|| Fault::new(Kind::Unreachable, "the header ResourceURI is missing"))?;
        self.resource = Resource::read(uri);
        self.verb = verb(action, uri)?;
        self.selectors = selectors(find(WSMAN, "SelectorSet"))?;
        self.timeout = text(WSMAN, "OperationTimeout").map(duration).transpose()?;
        if let Some(size) = text(WSMAN, "MaxEnvelopeSize") {
            let small = || {
                Fault::new(
                    Kind::EnvelopeTooSmall,
                    format!("MaxEnvelopeSize {size:?} is below 8192 or none"),
                )
            };
            let size = size
                .parse()
                .ok()
                .filter(|size| *size >= SMALLEST_ENVELOPE)
                .ok_or_else(small)?;
            self.max_envelope = Some(size);
        }
        if let Some(fragment) = find(WSMAN, "FragmentTransfer") {
            if !fragment.says(SOAP, "mustUnderstand") {
                return Err(Fault::new(
                    Kind::InvalidHeader,
                    "FragmentTransfer has to be understood",
                ));
            }
            if !matches!(self.verb, Verb::Get | Verb::Put) {
                return Err(Fault::new(
                    Kind::UnsupportedFeature,
                    "fragments are for Get and Put",
                ));
            }
            self.fragment = Some(fragment.text.trim().to_owned());
        }
        options(find(WSMAN, "OptionSet"))?;
        self.in_one_namespace()?;
        Ok(self)
    }

    /// `__cimnamespace` belongs to DMTF's URIs; beside one of WMI it was refused.
    fn in_one_namespace(&self) -> Result<(), Fault> {
        let beside = self
            .selectors
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("__cimnamespace"));
        if beside && self.resource.namespace().is_some() {
            let reason = "The WS-Management service cannot process the request. The resource URI and __cimnamespace selector \
                          attempted to use different namespaces.";
            return Err(Fault::new(Kind::OtherNamespace, reason));
        }
        Ok(())
    }
}

fn understood(headers: &[Element]) -> Result<(), Fault> {
    for header in headers {
        let known = KNOWN.iter().any(|(space, name)| header.is(space, name))
            || (header.space == MICROSOFT && OF_SESSIONS.contains(&header.name.as_str()));
        if header.says(SOAP, "mustUnderstand") && !known {
            let reason = format!(
                "the header {} of {:?} is not understood",
                header.name, header.space
            );
            return Err(Fault::new(Kind::MustUnderstand, reason));
        }
    }
    Ok(())
}

/// Options that one must comply with are none that are known here.
fn options(set: Option<&Element>) -> Result<(), Fault> {
    let mut options = set.into_iter().flat_map(|set| &set.children);
    match options.find(|option| option.says("", "MustComply")) {
        None => Ok(()),
        Some(option) => {
            let name = option.attribute("", "Name").unwrap_or_default();
            Err(Fault::new(
                Kind::InvalidOptions,
                format!("the option {name} is not known"),
            ))
        }
    }
}

fn verb(action: &str, uri: &str) -> Result<Verb, Fault> {
    let of = |space: &str| action.strip_prefix(space).and_then(|rest| rest.strip_prefix('/'));
    let known = match (of(ENUMERATION), of(TRANSFER)) {
        (Some("Enumerate"), _) => Some(Verb::Enumerate),
        (Some("Pull"), _) => Some(Verb::Pull),
        (Some("Release"), _) => Some(Verb::Release),
        (_, Some("Get")) => Some(Verb::Get),
        (_, Some("Put")) => Some(Verb::Put),
        (_, Some("Create")) => Some(Verb::Create),
        (_, Some("Delete")) => Some(Verb::Delete),
        _ => None,
    };
    let method = action
        .rsplit_once('/')
        .filter(|(class, _)| class.eq_ignore_ascii_case(uri));
    known
        .or_else(|| method.map(|(_, method)| Verb::Invoke(method.to_owned())))
        .ok_or_else(|| {
            Fault::new(
                Kind::ActionNotSupported,
                format!("the action {action} is not supported here"),
            )
        })
}

/// A duration of XML Schema, as far as time-outs have use for it.
fn duration(text: &str) -> Result<Duration, Fault> {
    let bad = || {
        Fault::new(
            Kind::BadTimeout,
            format!("OperationTimeout {text:?} is no duration"),
        )
    };
    if !text.starts_with('P') {
        return Err(bad());
    }
    let cim = crate::schema::from_iso(text).map_err(|_| bad())?;
    let number = |from: usize, to: usize| cim[from..to].parse::<u64>().map_err(|_| bad());
    let seconds = ((number(0, 8)? * 24 + number(8, 10)?) * 60 + number(10, 12)?) * 60 + number(12, 14)?;
    match Duration::from_secs(seconds) + Duration::from_micros(number(15, 21)?) {
        Duration::ZERO => Err(bad()),
        some => Ok(some),
    }
}

/// An answer's envelope. The prefixes are those that Windows uses: some clients know no others. What has no action, as the answer
/// to Identify, has no headers.
pub(crate) fn envelope(action: &str, id: &str, relates_to: Option<&str>, body: &str) -> String {
    let headers = match action {
        "" => String::new(),
        action => {
            let relates = relates_to.map_or_else(String::new, |id| super::xml::leaf("a:RelatesTo", id));
            format!(
                "<a:Action>{}</a:Action><a:MessageID>uuid:{id}</a:MessageID><a:To>{ANONYMOUS}</a:To>{relates}",
                escaped(action)
            )
        }
    };
    format!(
        "<s:Envelope xml:lang=\"en-US\" xmlns:s=\"{SOAP}\" xmlns:a=\"{ADDRESSING}\" xmlns:x=\"{TRANSFER}\" \
         xmlns:n=\"{ENUMERATION}\" xmlns:w=\"{WSMAN}\" xmlns:p=\"{MICROSOFT}\" xmlns:cim=\"{CIM}\"><s:Header>{headers}</s:Header>\
         <s:Body>{body}</s:Body></s:Envelope>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &str, body: &str) -> Result<Request, Kind> {
        let text = format!(
            "<s:Envelope xmlns:s='{SOAP}' xmlns:a='{ADDRESSING}' xmlns:w='{WSMAN}' xmlns:n='{ENUMERATION}'><s:Header>\
             <a:To>http://h/wsman</a:To><a:ReplyTo><a:Address>{ANONYMOUS}</a:Address></a:ReplyTo><a:MessageID>uuid:1</a:MessageID>\
             {headers}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
        );
        Request::read(&text).map_err(|(fault, id)| {
            assert!(id.is_some() || fault.kind() == Kind::Malformed, "{fault:?}");
            fault.kind()
        })
    }

    fn get(more: &str) -> Result<Request, Kind> {
        let uri = format!("{WMI}root/cimv2/Win32_X");
        request(
            &format!("<a:Action>{TRANSFER}/Get</a:Action><w:ResourceURI> {uri} </w:ResourceURI>{more}"),
            "",
        )
    }

    #[test]
    fn a_request_is_read() {
        let more = "<w:SelectorSet><w:Selector Name='A'>1</w:Selector></w:SelectorSet><w:OperationTimeout>PT1M0.5S\
                    </w:OperationTimeout><w:MaxEnvelopeSize s:mustUnderstand='true'>8192</w:MaxEnvelopeSize>";
        let read = get(more).unwrap();
        assert_eq!(read.verb, Verb::Get);
        assert_eq!(
            read.resource,
            Resource::Class {
                namespace: "root/cimv2".into(),
                class: "Win32_X".into()
            }
        );
        assert_eq!(read.selectors, [("A".to_owned(), Selector::Text("1".into()))]);
        assert_eq!(read.timeout, Some(Duration::from_millis(60_500)));
    }

    #[test]
    fn what_is_wrong_in_headers_is_refused_by_name() {
        for (headers, kind) in [
            (
                "<w:MaxEnvelopeSize>8191</w:MaxEnvelopeSize>",
                Kind::EnvelopeTooSmall,
            ),
            ("<w:OperationTimeout>60</w:OperationTimeout>", Kind::BadTimeout),
            ("<q:New xmlns:q='q' s:mustUnderstand='1'/>", Kind::MustUnderstand),
            ("<w:FragmentTransfer>A</w:FragmentTransfer>", Kind::InvalidHeader),
            (
                "<w:SelectorSet><w:Selector Name='__cimnamespace'>root/cimv2</w:Selector></w:SelectorSet>",
                Kind::OtherNamespace,
            ),
            (
                "<w:SelectorSet><w:Selector Name='A'>1</w:Selector><w:Selector Name='a'>1</w:Selector></w:SelectorSet>",
                Kind::InvalidSelectors,
            ),
            (
                "<w:OptionSet><w:Option Name='o' MustComply='true'>1</w:Option></w:OptionSet>",
                Kind::InvalidOptions,
            ),
        ] {
            assert_eq!(get(headers).unwrap_err(), kind, "{headers}");
        }
        assert!(
            get("<q:New xmlns:q='q'/>").is_ok(),
            "what need not be understood is passed over"
        );
        assert_eq!(
            request("<a:Action>x</a:Action>", "").unwrap_err(),
            Kind::Unreachable
        );
        let other = "<a:Action>u/Do</a:Action><w:ResourceURI>v</w:ResourceURI>";
        assert_eq!(request(other, "").unwrap_err(), Kind::ActionNotSupported);
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for text in ["", "<a>", "<s:Envelope xmlns:s='s'><w:Selector/></s:Envelope>"] {
            let (fault, _) = Request::read(text).unwrap_err();
            assert_eq!((fault.kind(), fault.status()), (Kind::Malformed, 400), "{text}");
        }
    }
}
