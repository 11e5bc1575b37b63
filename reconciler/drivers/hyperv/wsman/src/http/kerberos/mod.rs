//! A login by a ticket of Kerberos, in SPNEGO: RFC 4120, 4121, 4178 and 4559.
//!
//! The tickets are got by `sspi`. What is said to the service is put together here of that crate's parts, and sealed here:
//! the crate's own context takes no seal but one that is turned as Windows turns it, and marks a login that is bound to a
//! channel in a way that others refuse.

mod kdc;
mod spnego;
mod wrap;

use md5::{Digest, Md5};
use picky_krb::constants::gss_api::AUTHENTICATOR_CHECKSUM_TYPE;
use picky_krb::constants::key_usages::AP_REP_ENC;
use picky_krb::data_types::{Authenticator, EncApRepPart};
use picky_krb::messages::{ApRep, KrbError};
use sspi::kerberos::EncryptionParams;
use sspi::kerberos::client::generators::{
    ChecksumOptions, EncKey, GenerateAuthenticatorOptions, generate_ap_req, generate_authenticator,
};
use sspi::kerberos::flags::ApOptions;
use tokio_rustls::rustls::crypto::ring::default_provider;

pub(super) use kdc::Tickets;

use super::sealed::Sealed;
use super::session::{End, Failed};
use kdc::Ticket;
use wrap::{Key, Seals};

/// GSS_C_MUTUAL_FLAG, …_REPLAY_FLAG, …_SEQUENCE_FLAG, …_CONF_FLAG and …_INTEG_FLAG: RFC 4121, 4.1.1.1.
const FLAGS: u32 = 2 | 4 | 8 | 16 | 32;
/// Numbers begin below a bit that some read as a sign.
const FIRST_NUMBER: u32 = 0x3fff_ffff;

/// A login on one connection.
pub(super) struct Context {
    state: State,
}

enum State {
    /// Nothing was said yet.
    Begun(Box<Asked>),
    /// The service has not answered yet.
    Asked(Box<Asked>),
    /// The service has shown who it is.
    Open(Seals),
    Failed,
}

/// What the service is asked, and what is needed to understand its answer.
struct Asked {
    request: Vec<u8>,
    authenticator: Authenticator,
    /// The key of the ticket.
    ticket: Key,
    /// The key that is proposed.
    own: Key,
    number: u32,
}

impl Context {
    /// With a ticket for a service, bound to the channel of TLS that it is made over, where there is one.
    pub(super) fn begin(ticket: &Ticket, binding: Option<&[u8]>) -> Result<Self, Failed> {
        let own = Key {
            bytes: random(ticket.key.bytes.len())?.into(),
            ..ticket.key.clone()
        };
        let number = random(4)?
            .into_iter()
            .fold(0, |number, byte| number << 8 | u32::from(byte));
        let number = number & FIRST_NUMBER;
        let authenticator = generate_authenticator(GenerateAuthenticatorOptions {
            kdc_rep: &ticket.reply,
            seq_num: Some(number),
            sub_key: Some(EncKey {
                key_type: own.suite.clone(),
                key_value: own.bytes.to_vec(),
            }),
            checksum: Some(ChecksumOptions {
                checksum_type: AUTHENTICATOR_CHECKSUM_TYPE.to_vec(),
                checksum_value: checksum(binding).into(),
            }),
            // They stand in the checksum.
            channel_bindings: None,
            extensions: Vec::new(),
        })?;
        let params = EncryptionParams {
            encryption_type: Some(ticket.key.suite.clone()),
            ..EncryptionParams::default_for_client()
        };
        let request = generate_ap_req(
            ticket.reply.ticket.0.clone(),
            &ticket.key.bytes.to_vec().into(),
            &authenticator,
            &params,
            ApOptions::MUTUAL_REQUIRED,
        )?;
        Ok(Self {
            state: State::Begun(Box::new(Asked {
                request: picky_asn1_der::to_vec(&request)?,
                authenticator,
                ticket: ticket.key.clone(),
                own,
                number,
            })),
        })
    }

    /// What is sent next, after this came.
    pub(super) fn step(&mut self, token: &[u8]) -> Result<(Vec<u8>, End), Failed> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Begun(asked) => {
                let token = spnego::offer(&spnego::request(&asked.request));
                self.state = State::Asked(asked);
                Ok((token, End::NotYet))
            }
            State::Asked(asked) => {
                let answer = spnego::answer(token)?;
                let mut seals = asked.answered(answer.token)?;
                if let Some(mic) = answer.mic {
                    seals.check_mic(mic, &spnego::mechanisms())?;
                }
                self.state = State::Open(seals);
                Ok((Vec::new(), End::Reached))
            }
            State::Open(_) | State::Failed => {
                Err(Failed::new("the login is over, and the service goes on with it"))
            }
        }
    }

    pub(super) fn seal(&mut self, plain: &[u8]) -> Result<Sealed, Failed> {
        self.seals()?.seal(plain)
    }

    pub(super) fn open(&mut self, sealed: &Sealed) -> Result<Vec<u8>, Failed> {
        // Where its header ends depends on how its sender has turned it.
        self.seals()?.open(&[&sealed.header[..], &sealed.bytes].concat())
    }

    fn seals(&mut self) -> Result<&mut Seals, Failed> {
        match &mut self.state {
            State::Open(seals) => Ok(seals),
            _ => Err(Failed::new("the login has not come to its end")),
        }
    }
}

impl Asked {
    /// Whether it is the service that answers, and the keys that both have now.
    fn answered(&self, token: &[u8]) -> Result<Seals, Failed> {
        let answer = match spnego::krb5(token)? {
            (spnego::AP_REP, answer) => answer,
            (spnego::KRB_ERROR, error) => {
                let code = picky_asn1_der::from_bytes::<KrbError>(error)?.0.error_code.0;
                return Err(Failed::new(&kdc::told(code)));
            }
            _ => {
                return Err(Failed::new(
                    "the service answers with another message of Kerberos",
                ));
            }
        };
        let answer: ApRep = picky_asn1_der::from_bytes(answer)?;
        let plain = self.ticket.decrypt(AP_REP_ENC, &answer.0.enc_part.0.cipher.0.0)?;
        let said: EncApRepPart = picky_asn1_der::from_bytes(&plain)?;
        let asked = &self.authenticator.0;
        if said.0.ctime.0 != asked.ctime.0 || number(&said.0.cusec.0.0) != number(&asked.cusec.0.0) {
            return Err(Failed::new("the service answers another request than ours"));
        }
        let theirs = match &said.0.subkey.0 {
            None => None,
            Some(key) => Some(Key {
                suite: key.0.key_type.0.0.as_slice().try_into()?,
                bytes: key.0.key_value.0.0.clone().into(),
            }),
        };
        let number = match &said.0.seq_number.0 {
            Some(at) => number(&at.0.0).ok_or_else(|| Failed::new("the service begins to count too high"))?,
            None => 0,
        };
        Ok(Seals::new(self.own.clone(), theirs, self.number, number))
    }
}

/// A number of DER, of up to 32 bits: some write them with a sign, and some with zeros before them.
fn number(bytes: &[u8]) -> Option<u32> {
    let sign = bytes
        .first()
        .is_some_and(|first| first & 0x80 != 0 && bytes.len() <= 4);
    let begin = if sign { u64::from(u32::MAX) } else { 0 };
    let value = bytes.iter().try_fold(begin, |number, byte| {
        Some(number.checked_mul(256)? & 0xff_ffff_ffff | u64::from(*byte))
    })?;
    match sign {
        true => u32::try_from(value & u64::from(u32::MAX)).ok(),
        false => u32::try_from(value).ok(),
    }
}

/// The checksum of the request, RFC 4121, 4.1.1: the hash of the channel (4.1.1.2), and what is wanted.
fn checksum(binding: Option<&[u8]>) -> [u8; 24] {
    let mut checksum = [0; 24];
    checksum[..4].copy_from_slice(&16_u32.to_le_bytes());
    if let Some(binding) = binding {
        // No addresses, and the application's data.
        let length = u32::try_from(binding.len()).unwrap_or(u32::MAX);
        let hash = Md5::new()
            .chain_update([0; 16])
            .chain_update(length.to_le_bytes())
            .chain_update(binding)
            .finalize();
        checksum[4..20].copy_from_slice(&hash);
    }
    checksum[20..].copy_from_slice(&FLAGS.to_le_bytes());
    checksum
}

fn random(length: usize) -> Result<Vec<u8>, Failed> {
    let mut bytes = vec![0; length];
    match default_provider().secure_random.fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(Failed::new("this computer has no random numbers")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_with_a_sign_and_without() {
        for (bytes, value) in [
            (&[5][..], Some(5)),
            (&[0, 0, 0, 5], Some(5)),
            (&[0, 0xff, 0xff, 0xff, 0xff], Some(u32::MAX)),
            (&[0xff, 0xff, 0xff, 0xfe], Some(u32::MAX - 1)),
            (&[0xff], Some(u32::MAX)),
            (&[1, 0, 0, 0, 0], None),
            (&[], Some(0)),
        ] {
            assert_eq!(number(bytes), value, "{bytes:?}");
        }
    }

    #[test]
    fn the_checksum_says_what_is_wanted_and_what_it_is_bound_to() {
        let free = checksum(None);
        assert_eq!(free[..20], [&[16, 0, 0, 0][..], &[0; 16]].concat()[..]);
        assert_eq!(free[20..], [0x3e, 0, 0, 0]);
        let bound = checksum(Some(b"tls-server-end-point:x"));
        assert_ne!(bound[4..20], [0; 16]);
        assert_ne!(bound, checksum(Some(b"tls-server-end-point:y")));
    }
}
