//! A service whose answers are written down, with what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use wsman::{Answer, Carrier, Client, Error, Settings, Trouble};

/// In place of a status: no answer comes.
pub(crate) const LOST: u16 = 0;

pub(crate) const SOAP: &str = "http://www.w3.org/2003/05/soap-envelope";

/// An envelope with that body, as Windows writes it.
pub(crate) fn envelope(body: &str) -> String {
    format!(
        "<s:Envelope xmlns:s=\"{SOAP}\" xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
         xmlns:n=\"http://schemas.xmlsoap.org/ws/2004/09/enumeration\" \
         xmlns:w=\"http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd\" \
         xmlns:x=\"http://schemas.xmlsoap.org/ws/2004/09/transfer\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><s:Header/><s:Body>{body}</s:Body></s:Envelope>"
    )
}

pub(crate) fn fault(subcode: &str, code: u32) -> String {
    envelope(&format!(
        "<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>w:{subcode}</s:Value></s:Subcode></s:Code>\
         <s:Reason><s:Text xml:lang=\"en-US\">no</s:Text></s:Reason><s:Detail>\
         <f:WSManFault xmlns:f=\"http://schemas.microsoft.com/wbem/wsman/1/wsmanfault\" Code=\"{code}\" Machine=\"hv7\">\
         <f:Message>no</f:Message></f:WSManFault></s:Detail></s:Fault>"
    ))
}

/// Answers in the order in which they are written down.
#[derive(Default)]
pub(crate) struct Script {
    answers: Mutex<VecDeque<(u16, String)>>,
    asked: Mutex<Vec<String>>,
}

impl Script {
    pub(crate) fn of(answers: &[(u16, String)]) -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::new(answers.iter().cloned().collect()),
            asked: Mutex::default(),
        })
    }

    pub(crate) fn client(self: &Arc<Self>) -> Client {
        Client::new(self.clone(), Settings::default())
    }

    /// What was asked, one after the other.
    pub(crate) fn asked(&self) -> Vec<String> {
        assert!(
            self.answers.lock().unwrap().is_empty(),
            "answers that nobody asked for"
        );
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Carrier for Script {
    fn to(&self) -> &str {
        "https://hv7:5986/wsman"
    }

    async fn carry(&self, envelope: String) -> Result<Answer, Error> {
        self.asked.lock().unwrap().push(envelope);
        let (status, body) = self.answers.lock().unwrap().pop_front().unwrap();
        if status == LOST {
            return Err(Error::Lost(Trouble::Broken {
                place: "hv7:5986".to_owned(),
                reason: body,
            }));
        }
        Ok(Answer {
            status,
            body: body.into(),
        })
    }
}
