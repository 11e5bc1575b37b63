//! Tickets: `sspi` talks to the key distribution centre, over connections of ours; what comes back is kept, since one ticket
//! serves all connections to a service until it ends.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use picky_krb::constants::key_usages::{AS_REP_ENC, TGS_REP_ENC_SESSION_KEY};
use picky_krb::crypto::CipherSuite;
use picky_krb::messages::{AsRep, EncAsRepPart, EncKdcRepPart, EncTgsRepPart, KdcRep, KrbError, TgsRep};
use sspi::generator::GeneratorState;
use sspi::kerberos::client::extractors::{
    extract_encryption_params_from_as_rep, extract_salt_from_krb_error,
};
use sspi::{
    AuthIdentity, BufferType, ClientRequestFlags, CredentialUse, Credentials, DataRepresentation, Error,
    ErrorKind, Kerberos, KerberosConfig, NetworkRequest, SecurityBuffer, Sspi, SspiImpl, Username,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::super::dial::{Untaken, first, lookup};
use super::super::login::Principal;
use super::super::session::Failed;
use super::wrap::Key;
use crate::trouble::KerberosTrouble;

/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(5);
/// More is no answer.
const MOST: usize = 1 << 20;
/// A ticket that ends sooner is not begun with.
const SPARE: SignedDuration = SignedDuration::from_secs(120);
const PORT: u16 = 88;
/// KDC_ERR_PREAUTH_REQUIRED: the answer to the first question, always.
const PREAUTH_REQUIRED: u32 = 25;

/// A ticket for a service.
pub(in super::super) struct Ticket {
    /// What it came in.
    pub(super) reply: KdcRep,
    pub(super) key: Key,
    ends: Timestamp,
}

/// The ticket for one service, as long as it is good.
#[derive(Default)]
pub(in super::super) struct Tickets(Mutex<Option<Arc<Ticket>>>);

impl Tickets {
    /// The ticket that is there, or a new one; who comes meanwhile waits for the same.
    pub(in super::super) async fn get(
        &self,
        principal: &Principal,
        service: &str,
    ) -> Result<Arc<Ticket>, KerberosTrouble> {
        let mut kept = self.0.lock().await;
        if let Some(ticket) = kept
            .as_ref()
            .filter(|ticket| ticket.ends > Timestamp::now() + SPARE)
        {
            return Ok(Arc::clone(ticket));
        }
        let ticket = Arc::new(fetch(principal, service).await?);
        *kept = Some(Arc::clone(&ticket));
        Ok(ticket)
    }

    /// A ticket that was not taken is not shown again: the service may have another key by now.
    pub(in super::super) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

/// What was said by the centre.
#[derive(Default)]
struct Said {
    salt: Option<String>,
    login: Option<AsRep>,
    tickets: Vec<TgsRep>,
    error: Option<u32>,
}

impl Said {
    fn note(&mut self, reply: &[u8]) {
        let Some(message) = reply.get(4..) else { return };
        if let Ok(login) = picky_asn1_der::from_bytes::<AsRep>(message) {
            self.login = Some(login);
        } else if let Ok(ticket) = picky_asn1_der::from_bytes::<TgsRep>(message) {
            self.tickets.push(ticket);
        } else if let Ok(error) = picky_asn1_der::from_bytes::<KrbError>(message) {
            match error.0.error_code.0 {
                PREAUTH_REQUIRED => self.salt = extract_salt_from_krb_error(&error).ok().flatten(),
                other => self.error = Some(other),
            }
        }
    }
}

async fn fetch(principal: &Principal, service: &str) -> Result<Ticket, KerberosTrouble> {
    let mut said = Said::default();
    let mut unreached = None;
    match exchange(principal, service, &mut said, &mut unreached).await {
        Ok(()) => said
            .ticket(principal)
            .map_err(|error| KerberosTrouble::Refused(error.to_string())),
        Err(error) => Err(match (said.error, unreached) {
            (Some(code), _) => of_code(code, principal, service),
            (None, Some(trouble)) => trouble,
            (None, None) => KerberosTrouble::Refused(error.to_string()),
        }),
    }
}

/// Asks for a ticket; what is said to the service at the end of it is not used.
async fn exchange(
    principal: &Principal,
    service: &str,
    said: &mut Said,
    unreached: &mut Option<KerberosTrouble>,
) -> sspi::Result<()> {
    let config = KerberosConfig::new_with_kdc_url(&format!("tcp://{}", centre(principal)), String::new());
    let mut kerberos = Kerberos::new_client_from_config(config)?;
    let username = Username::new(&principal.name, Some(&principal.realm));
    let username = username.map_err(|error| Error::new(ErrorKind::InvalidParameter, error.to_string()))?;
    let identity = Credentials::AuthIdentity(AuthIdentity {
        username,
        password: principal.password().to_owned().into(),
    });
    let acquired = kerberos
        .acquire_credentials_handle()
        .with_credential_use(CredentialUse::Outbound)
        .with_auth_data(&identity)
        .execute(&mut kerberos)?;
    let mut credentials = acquired.credentials_handle;
    let mut input = vec![SecurityBuffer::new(Vec::new(), BufferType::Token)];
    let mut output = vec![SecurityBuffer::new(Vec::new(), BufferType::Token)];
    let mut builder = kerberos
        .initialize_security_context()
        .with_credentials_handle(&mut credentials)
        .with_context_requirements(ClientRequestFlags::MUTUAL_AUTH)
        .with_target_data_representation(DataRepresentation::Native)
        .with_target_name(service)
        .with_input(&mut input)
        .with_output(&mut output);
    let mut asking = kerberos.initialize_security_context_impl(&mut builder)?;
    let mut state = asking.start();
    loop {
        match state {
            GeneratorState::Suspended(request) => {
                let reply = ask(&request, unreached).await;
                if let Ok(reply) = &reply {
                    said.note(reply);
                }
                state = asking.resume(reply);
            }
            GeneratorState::Completed(ended) => return ended.map(drop),
        }
    }
}

/// The centre that is named, or that of krb5.conf, or whoever has the name of the realm: in a domain, its controllers.
fn centre(principal: &Principal) -> String {
    let configured = || {
        let url = sspi::detect_kdc_url(&principal.realm)?;
        Some(format!("{}:{}", url.host_str()?, url.port().unwrap_or(PORT)))
    };
    let named = principal.kdc.clone().or_else(configured);
    named.unwrap_or_else(|| format!("{}:{PORT}", principal.realm.to_lowercase()))
}

/// One question and its answer, each with its length in front of it: RFC 4120, 7.2.2.
async fn ask(request: &NetworkRequest, unreached: &mut Option<KerberosTrouble>) -> sspi::Result<Vec<u8>> {
    let host = request
        .url
        .host_str()
        .unwrap_or_default()
        .trim_matches(['[', ']']);
    let port = request.url.port().unwrap_or(PORT);
    let answered = timeout(ANSWER, answer(host, port, &request.data)).await;
    let answered = answered.unwrap_or_else(|_| Err("it does not answer".to_owned()));
    answered.map_err(|reason| {
        *unreached = Some(KerberosTrouble::Unreachable {
            centre: labyard_resolve::place(host, port),
            reason: reason.clone(),
        });
        Error::new(ErrorKind::NoAuthenticatingAuthority, reason)
    })
}

async fn answer(host: &str, port: u16, question: &[u8]) -> Result<Vec<u8>, String> {
    let deadline = Instant::now() + ANSWER;
    let addresses = lookup(host, port, deadline).await?;
    let mut stream = first(addresses, deadline)
        .await
        .map_err(|untaken| match untaken {
            Untaken::Refused(error) => error.to_string(),
            Untaken::Silent(_) => "nobody answers there".to_owned(),
        })?;
    let exchange = async {
        stream.write_all(question).await?;
        let length = stream.read_u32().await?;
        let mut reply = length.to_be_bytes().to_vec();
        let size = usize::try_from(length).ok().filter(|size| *size <= MOST);
        let size = size.ok_or_else(|| std::io::Error::other("it answers with too much"))?;
        reply.resize(4 + size, 0);
        stream.read_exact(&mut reply[4..]).await?;
        Ok(reply)
    };
    exchange.await.map_err(|error: std::io::Error| error.to_string())
}

impl Said {
    /// The ticket for the service, with its key: each answer is encrypted by the key of the one before it.
    fn ticket(self, principal: &Principal) -> Result<Ticket, Failed> {
        let nothing = || Failed::new("the centre gave no ticket");
        let login = self.login.ok_or_else(nothing)?;
        let (kind, salt) = extract_encryption_params_from_as_rep(&login)?;
        let salt = match (salt.as_str(), self.salt) {
            ("", Some(salt)) => salt,
            ("", None) => format!("{}{}", principal.realm, principal.name),
            _ => salt,
        };
        let suite = CipherSuite::try_from(usize::from(kind))?;
        let bytes = suite
            .cipher()
            .generate_key_from_password(principal.password().as_bytes(), salt.as_bytes())?;
        let own = Key {
            suite,
            bytes: bytes.into(),
        };
        let plain = own.decrypt(AS_REP_ENC, &login.0.enc_part.0.cipher.0.0)?;
        // Some give it the other tag: RFC 4120, 5.4.2.
        let part = match picky_asn1_der::from_bytes::<EncAsRepPart>(&plain) {
            Ok(part) => part.0,
            Err(_) => picky_asn1_der::from_bytes::<EncTgsRepPart>(&plain)?.0,
        };
        let mut key = key_of(&part)?;
        let mut last = None;
        for reply in self.tickets {
            let plain = key.decrypt(TGS_REP_ENC_SESSION_KEY, &reply.0.enc_part.0.cipher.0.0)?;
            let part = picky_asn1_der::from_bytes::<EncTgsRepPart>(&plain)?.0;
            key = key_of(&part)?;
            last = Some((reply.0, part));
        }
        let (reply, part) = last.ok_or_else(nothing)?;
        Ok(Ticket {
            ends: end_of(&part).ok_or_else(|| Failed::new("a ticket without an end"))?,
            reply,
            key,
        })
    }
}

fn key_of(part: &EncKdcRepPart) -> Result<Key, Failed> {
    let key = &part.key.0;
    Ok(Key {
        suite: key.key_type.0.0.as_slice().try_into()?,
        bytes: key.key_value.0.0.clone().into(),
    })
}

fn end_of(part: &EncKdcRepPart) -> Option<Timestamp> {
    let end = &part.end_time.0.0;
    let small = |number: u8| i8::try_from(number).ok();
    let end = DateTime::new(
        i16::try_from(end.year()).ok()?,
        small(end.month())?,
        small(end.day())?,
        small(end.hour())?,
        small(end.minute())?,
        small(end.second())?,
        0,
    );
    let end = end.ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(end.timestamp())
}

/// What the numbers of RFC 4120, 7.5.9, come to.
fn of_code(code: u32, principal: &Principal, service: &str) -> KerberosTrouble {
    let (user, realm) = (principal.name.clone(), principal.realm.clone());
    match code {
        6 => KerberosTrouble::UnknownUser { user, realm },
        7 => KerberosTrouble::UnknownService {
            service: service.to_owned(),
            realm,
        },
        14 => KerberosTrouble::Encryption { user },
        18 => KerberosTrouble::Locked { user },
        23 => KerberosTrouble::PasswordExpired { user },
        24 | 31 => KerberosTrouble::WrongPassword { user, realm },
        37 => KerberosTrouble::Skew,
        code => KerberosTrouble::Refused(format!("the centre of {realm} answers with error {code}")),
    }
}

/// An error of the service's, in words.
pub(super) fn told(code: u32) -> String {
    match code {
        32 => "the ticket is at its end".to_owned(),
        37 => KerberosTrouble::Skew.to_string(),
        31 | 35 | 41 => "the service has another key than its ticket: its account in the domain was made anew, or another host \
                         answers"
            .to_owned(),
        code => format!("the service answers with error {code} of Kerberos"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// DER that goes on as deep as somebody likes, beginning with a tag that is read.
    fn like_a_reply() -> impl Strategy<Value = Vec<u8>> {
        let tag = proptest::sample::select(vec![
            0x6b_u8, 0x6d, 0x7e, 0x6f, 0x30, 0xa0, 0xa3, 0xa6, 0x02, 0x18, 0x1b,
        ]);
        let length = prop_oneof![
            Just(vec![0x7f]),
            Just(vec![0x82, 0xff, 0xff]),
            Just(vec![0x88, 0xff, 0, 0, 0, 0, 0, 0, 1]),
            any::<u8>().prop_map(|n| vec![n])
        ];
        let element = (tag, length, proptest::collection::vec(any::<u8>(), 0..4))
            .prop_map(|(tag, length, more)| [vec![tag], length, more].concat());
        let elements = proptest::collection::vec(element, 0..12);
        elements.prop_map(|elements| [vec![0; 4], elements.concat()].concat())
    }

    proptest! {
        #[test]
        fn no_reply_of_a_centre_ends_the_program(bytes: Vec<u8>, like in like_a_reply()) {
            for reply in [bytes, like] {
                Said::default().note(&reply);
                let message = reply.get(4..).unwrap_or_default();
                let _ = picky_asn1_der::from_bytes::<picky_krb::messages::ApRep>(message);
                let _ = picky_asn1_der::from_bytes::<picky_krb::data_types::EncApRepPart>(message);
            }
        }
    }

    #[test]
    fn the_centre_is_the_one_that_is_named_or_that_of_the_name_of_the_realm() {
        let principal =
            |kdc: Option<&str>| Principal::new("op", "NOWHERE.INVALID", "x").centre(kdc.map(str::to_owned));
        assert_eq!(centre(&principal(Some("dc1:1088"))), "dc1:1088");
        assert_eq!(centre(&principal(Some("dc1"))), "dc1:88");
        assert_eq!(centre(&principal(None)), "nowhere.invalid:88");
    }

    #[test]
    fn what_the_centre_says_is_told_with_what_mends_it() {
        let principal = Principal::new("op", "EXAMPLE.ORG", "secret");
        for (code, said) in [
            (6, "op is no user of EXAMPLE.ORG"),
            (7, "setspn -Q HTTP/hv7"),
            (24, "password of op"),
            (37, "w32tm /resync"),
            (60, "error 60"),
        ] {
            let told = of_code(code, &principal, "HTTP/hv7").to_string();
            assert!(told.contains(said) && !told.contains("secret"), "{told}");
        }
    }
}
