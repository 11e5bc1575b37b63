//! Requests by hand: the wire itself, byte by byte, over Basic in the clear where a test allows that.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use labyard_hyperv_double::wire::{Config, Server, Unencrypted, User};

use crate::shelf::Shelf;

pub(crate) const WMI: &str = "http://schemas.microsoft.com/wbem/wsman/1/wmi/";
pub(crate) const ENUMERATION: &str = "http://schemas.xmlsoap.org/ws/2004/09/enumeration";
pub(crate) const TRANSFER: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer";
const ANONYMOUS: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous";

pub(crate) const USER: &str = "op";
pub(crate) const PASSWORD: &str = "s\u{e9}cret \"1\"";

/// A host with so many machines that takes Basic in the clear.
pub(crate) async fn open(machines: usize) -> Server {
    with(machines, |config| {
        config.offers.basic = true;
        config.unencrypted = Unencrypted::Allowed;
        config.https = None;
    })
    .await
}

/// A host as it is set up.
pub(crate) async fn with(machines: usize, change: impl FnOnce(&mut Config)) -> Server {
    let mut config = Config::new(vec![User::administrator(USER, PASSWORD)]);
    change(&mut config);
    Server::start(config, Box::new(Shelf::of(machines)))
        .await
        .unwrap()
}

/// An envelope.
pub(crate) fn envelope(action: &str, resource: &str, headers: &str, body: &str) -> String {
    format!(
        "<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope' xmlns:a='http://schemas.xmlsoap.org/ws/2004/08/addressing' \
         xmlns:n='{ENUMERATION}' xmlns:x='{TRANSFER}' xmlns:w='http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd'><s:Header>\
         <a:To>http://h/wsman</a:To><w:ResourceURI s:mustUnderstand='true'>{resource}</w:ResourceURI><a:ReplyTo><a:Address>\
         {ANONYMOUS}</a:Address></a:ReplyTo><a:Action s:mustUnderstand='true'>{action}</a:Action><a:MessageID>uuid:1</a:MessageID>\
         {headers}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )
}

pub(crate) fn enumerate(resource: &str, inside: &str) -> String {
    let body = format!("<n:Enumerate>{inside}</n:Enumerate>");
    envelope(
        &format!("{ENUMERATION}/Enumerate"),
        &format!("{WMI}{resource}"),
        "",
        &body,
    )
}

pub(crate) fn wql(namespace: &str, query: &str) -> String {
    let filter = format!(
        "<w:OptimizeEnumeration/><w:MaxElements>100</w:MaxElements>\
         <w:Filter Dialect='http://schemas.microsoft.com/wbem/wsman/1/WQL'><![CDATA[{query}]]></w:Filter>"
    );
    enumerate(&format!("{namespace}/*"), &filter)
}

pub(crate) fn pull(resource: &str, context: &str, inside: &str) -> String {
    let body = format!("<n:Pull><n:EnumerationContext>{context}</n:EnumerationContext>{inside}</n:Pull>");
    envelope(
        &format!("{ENUMERATION}/Pull"),
        &format!("{WMI}{resource}"),
        "",
        &body,
    )
}

/// A selector set.
pub(crate) fn selectors(all: &[(&str, &str)]) -> String {
    let all: String = all
        .iter()
        .map(|(name, value)| format!("<w:Selector Name='{name}'>{value}</w:Selector>"))
        .collect();
    format!("<w:SelectorSet>{all}</w:SelectorSet>")
}

/// What stands between two texts.
pub(crate) fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to).map(|(inside, _)| inside)
}

/// A connection.
pub(crate) struct Line {
    stream: TcpStream,
    rest: Vec<u8>,
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Line {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self {
            stream,
            rest: Vec::new(),
        }
    }

    /// Sends, unless the other side has ended already: what is received then tells.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next answer; none where the connection ended before it was whole.
    pub(crate) fn receive(&mut self) -> Option<Answer> {
        let mut piece = [0; 65536];
        loop {
            if let Some(at) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.rest[..at]).to_lowercase();
                let length: usize = between(&head, "content-length: ", "\r\n")
                    .or_else(|| head.split("content-length: ").nth(1))
                    .map_or(0, |length| length.parse().unwrap());
                if self.rest.len() >= at + 4 + length {
                    let body = String::from_utf8_lossy(&self.rest[at + 4..at + 4 + length]).into_owned();
                    self.rest.drain(..at + 4 + length);
                    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                    return Some(Answer { status, head, body });
                }
            }
            match self.stream.read(&mut piece) {
                Ok(count @ 1..) => self.rest.extend_from_slice(&piece[..count]),
                _ => return None,
            }
        }
    }
}

/// A request as bytes.
pub(crate) fn request(headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /wsman HTTP/1.1\r\nHost: h\r\nContent-Type: application/soap+xml;charset=UTF-8\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!(
        "Authorization: Basic {}\r\n",
        BASE64.encode(format!("{user}:{password}"))
    )
}

/// Asks on a connection of its own, as a user.
pub(crate) async fn ask_as(server: &Server, user: &str, envelope: &str) -> Option<Answer> {
    let (address, bytes) = (server.http().unwrap(), request(&basic(user, PASSWORD), envelope));
    let asked = tokio::task::spawn_blocking(move || {
        let mut line = Line::to(address);
        line.send(&bytes);
        line.receive()
    });
    asked.await.unwrap()
}

/// Asks, and has an answer.
pub(crate) async fn ask(server: &Server, envelope: &str) -> Answer {
    ask_as(server, USER, envelope).await.expect("an answer")
}

/// The subcode and the number of a fault.
pub(crate) fn fault(answer: &Answer) -> (String, u64) {
    let subcode = between(&answer.body, "<s:Subcode><s:Value>", "<").unwrap_or_default();
    let number = between(&answer.body, " Code=\"", "\"").or_else(|| {
        between(
            &answer.body,
            "<p:error_Code xsi:type=\"cim:cimUnsignedInt\">",
            "<",
        )
    });
    (
        subcode.to_owned(),
        number.map_or(0, |number| number.parse().unwrap()),
    )
}
