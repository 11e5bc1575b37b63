//! Requests and answers as text.

use std::time::Duration;

use uuid::Uuid;

use crate::error::Error;
use crate::fault::Fault;
use crate::names::{
    ADDRESSING, ANONYMOUS, Action, ENUMERATION, IDENTITY, MANAGEMENT, MICROSOFT, ResourceUri, SOAP, TRANSFER,
};
use crate::reference::Reference;
use crate::xml::{Element, Unwritable, Writer};

/// How a service is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The largest answer that is taken, in bytes. A service cuts it to its own limit, 500 KiB as a rule; below 8192 it
    /// refuses.
    pub max_envelope: u32,
    /// How long the service works at one request before it says that it timed out.
    pub operation_timeout: Duration,
    /// The language of texts, where a host has it.
    pub locale: String,
    /// How many rows are asked for at once.
    pub page: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_envelope: 512_000,
            operation_timeout: Duration::from_secs(60),
            locale: "en-US".to_owned(),
            page: 500,
        }
    }
}

/// A request.
pub(crate) struct Request<'a> {
    pub(crate) action: Action,
    pub(crate) resource: &'a ResourceUri,
    /// Which object; `None` of a class or an enumeration.
    pub(crate) object: Option<&'a Reference>,
    /// What stands in the body.
    pub(crate) body: String,
}

impl Request<'_> {
    /// The whole envelope, sent to that address under that id.
    pub(crate) fn envelope(&self, to: &str, id: Uuid, settings: &Settings) -> Result<String, Unwritable> {
        let must = "s:mustUnderstand=\"true\"";
        let may = format!(
            "xml:lang=\"{}\" s:mustUnderstand=\"false\"",
            crate::xml::escaped(&settings.locale)?
        );
        let mut writer = Writer::default();
        writer.start("s:Envelope", &spaces()).start("s:Header", "");
        writer.leaf("a:To", "", to)?;
        writer.leaf("w:ResourceURI", must, &self.resource.0)?;
        writer
            .start("a:ReplyTo", "")
            .leaf("a:Address", must, ANONYMOUS)?
            .end("a:ReplyTo");
        writer.leaf("a:Action", must, &self.action.uri(self.resource))?;
        writer.leaf("w:MaxEnvelopeSize", must, &settings.max_envelope.to_string())?;
        writer.leaf(
            "a:MessageID",
            "",
            &format!("uuid:{}", id.to_string().to_uppercase()),
        )?;
        writer.empty("w:Locale", &may).empty("p:DataLocale", &may);
        writer.leaf("w:OperationTimeout", "", &duration(settings.operation_timeout))?;
        if let Some(object) = self.object {
            object.write_selectors(&mut writer)?;
        }
        writer.end("s:Header").start("s:Body", "").raw(&self.body);
        writer.end("s:Body").end("s:Envelope");
        Ok(writer.finish())
    }
}

fn spaces() -> String {
    [
        ("s", SOAP),
        ("a", ADDRESSING),
        ("n", ENUMERATION),
        ("x", TRANSFER),
        ("w", MANAGEMENT),
        ("p", MICROSOFT),
    ]
    .map(|(prefix, space)| format!("xmlns:{prefix}=\"{space}\""))
    .join(" ")
}

fn duration(time: Duration) -> String {
    format!("PT{}.{:03}S", time.as_secs(), time.subsec_millis())
}

/// Who is there: needs no rights, and on Windows no account, where it is asked for without one.
pub(crate) fn identify() -> String {
    format!(
        "<s:Envelope xmlns:s=\"{SOAP}\" xmlns:i=\"{IDENTITY}\"><s:Header/><s:Body><i:Identify/></s:Body></s:Envelope>"
    )
}

/// What stands in the body of an answer, unless it is a fault.
pub(crate) fn answer(text: &str, asked: Option<Uuid>) -> Result<Element, Error> {
    let envelope = Element::parse(text).map_err(Error::Malformed)?;
    if !envelope.is(SOAP, "Envelope") {
        return Err(Error::Unexpected(format!(
            "an answer that is {:?} and no SOAP envelope",
            envelope.name
        )));
    }
    let Some(body) = envelope.child(SOAP, "Body") else {
        return Err(Error::Unexpected("an answer without a body".to_owned()));
    };
    if let Some(fault) = Fault::read(body) {
        return Err(Error::Fault(Box::new(fault)));
    }
    let relates = envelope.at(&[(SOAP, "Header"), (ADDRESSING, "RelatesTo")]);
    if let (Some(relates), Some(asked)) = (relates, asked) {
        let id = relates
            .text
            .trim()
            .trim_start_matches("urn:")
            .trim_start_matches("uuid:");
        if !id.eq_ignore_ascii_case(&asked.to_string()) {
            return Err(Error::Unexpected("the answer to another request".to_owned()));
        }
    }
    Ok(body.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Namespace;

    #[test]
    fn a_request_says_what_windows_wants_to_know() {
        let reference = Reference::new(Namespace("root/virtualization/v2"), "Msvm_X", &[("Name", "a<b")]);
        let request = Request {
            action: Action::Method("Do".into()),
            resource: &reference.resource,
            object: Some(&reference),
            body: "<q/>".into(),
        };
        let text = request
            .envelope("https://h:5986/wsman", Uuid::nil(), &Settings::default())
            .unwrap();
        let read = Element::parse(&text).unwrap();
        let header = read.child(SOAP, "Header").unwrap();
        let said = |space, name| header.child(space, name).unwrap().text.as_str();
        assert_eq!(said(ADDRESSING, "To"), "https://h:5986/wsman");
        assert!(said(ADDRESSING, "Action").ends_with("/root/virtualization/v2/Msvm_X/Do"));
        assert_eq!(
            said(ADDRESSING, "MessageID"),
            "uuid:00000000-0000-0000-0000-000000000000"
        );
        assert_eq!(said(MANAGEMENT, "OperationTimeout"), "PT60.000S");
        let selectors = header.child(MANAGEMENT, "SelectorSet").unwrap();
        assert_eq!(selectors.children[0].attribute("Name"), Some("Name"));
        assert_eq!(selectors.children[0].text, "a<b");
        assert_eq!(read.at(&[(SOAP, "Body")]).unwrap().children[0].name, "q");
    }

    #[test]
    fn the_answer_to_another_request_is_refused() {
        let answer = |id: &str| {
            format!(
                "<s:Envelope xmlns:s='{SOAP}' xmlns:a='{ADDRESSING}'><s:Header>{id}</s:Header><s:Body><x xmlns='u'/></s:Body></s:Envelope>"
            )
        };
        let asked = Uuid::from_u128(0xab);
        let of = |id: &str| super::answer(&answer(&format!("<a:RelatesTo>{id}</a:RelatesTo>")), Some(asked));
        assert!(of("uuid:00000000-0000-0000-0000-0000000000AB").is_ok());
        assert!(
            super::answer(&answer(""), Some(asked)).is_ok(),
            "not every service says it"
        );
        assert!(matches!(
            of("uuid:00000000-0000-0000-0000-0000000000AC"),
            Err(Error::Unexpected(_))
        ));
    }

    #[test]
    fn what_is_no_answer_is_said_to_be_none() {
        for text in [
            "",
            "<html/>",
            "<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope'/>",
        ] {
            assert!(
                matches!(
                    super::answer(text, None),
                    Err(Error::Malformed(_) | Error::Unexpected(_))
                ),
                "{text}"
            );
        }
    }
}
