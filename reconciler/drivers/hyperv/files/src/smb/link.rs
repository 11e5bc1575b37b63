//! A connection to an SMB server that is logged in and has our share: how it comes about, and what is asked over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use smb2::client::connection::{Frame, NegotiatedParams};
use smb2::client::{Cipher, Connection};
use smb2::crypto::kdf::sp800_108_kdf;
use smb2::crypto::signing::{SigningAlgorithm, algorithm_for_dialect, verify_signature};
use smb2::msg::session_setup::{SessionSetupRequest, SessionSetupRequestFlags, SessionSetupResponse};
use smb2::msg::tree_connect::{TreeConnectRequest, TreeConnectRequestFlags};
use smb2::pack::{Pack, ReadCursor, Unpack};
use smb2::types::flags::{Capabilities, SecurityMode};
use smb2::types::{Command, CreditCharge, Dialect, TreeId};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::gate::{self, Gate, Protection, Shut};
use super::login::{Account, Login};
use super::status::{ACCESS_DENIED, BAD_NETWORK_NAME, MORE_PROCESSING, Status};
use crate::dial::Dial;
use crate::error::Trouble;

/// Whether what is sent has to be encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// Wherever the host offers it, which Windows does; where it does not, everything is signed.
    #[default]
    WhereOffered,
    /// Always: a host that does not offer it is not spoken with.
    Required,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// A connection with its login.
    pub connect: Duration,
    /// A call.
    pub call: Duration,
    /// A flush, which waits for the host's disk, and a new end of a file, which some file systems fill with zeros.
    pub disk: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            call: Duration::from_secs(60),
            disk: Duration::from_secs(600),
        }
    }
}

/// To whom a connection is made.
pub(super) struct Peer {
    pub(super) dial: Arc<dyn Dial>,
    /// The host's name, as it stands in the address of the share.
    pub(super) host: String,
    pub(super) share: String,
    pub(super) account: Account,
    pub(super) encryption: Encryption,
    pub(super) deadlines: Deadlines,
}

/// Why a call over a connection has no result.
#[derive(Debug)]
pub(super) enum Fail {
    /// The server says no.
    Status(Status),
    /// There is no answer: it may have been done.
    Trouble(Trouble),
    /// The server has ended the session, and has not done it.
    Ended(Trouble),
    /// The answer cannot be read.
    Malformed(String),
}

/// A connection.
pub(super) struct Link {
    connection: Connection,
    gate: Arc<Gate>,
    tree: TreeId,
    place: String,
    /// What one read or write may hold.
    pub(super) largest: usize,
    over: AtomicBool,
}

/// \[MS-SMB2\] 3.1.4.2, the keys of SMB 3.1.1: a label, and the login's messages as its context.
fn derived(session: &[u8], label: &[u8], context: &[u8; 64], bits: u32) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(sp800_108_kdf(session, label, context, bits))
}

const SIGNING: &[u8] = b"SMBSigningKey\0";
const TO_SERVER: &[u8] = b"SMBC2SCipherKey\0";
const TO_CLIENT: &[u8] = b"SMBS2CCipherKey\0";

impl Peer {
    fn place(&self) -> String {
        self.dial.place()
    }

    /// Connects, logs in, and takes the share.
    pub(super) async fn connect(&self) -> Result<Link, Trouble> {
        let within = self.deadlines.connect;
        match timeout(within, self.establish()).await {
            Ok(done) => done,
            Err(_) => Err(Trouble::Silent {
                place: self.place(),
                after: within,
            }),
        }
    }

    async fn establish(&self) -> Result<Link, Trouble> {
        let place = self.place();
        let stream = self.dial.dial().await?;
        let gate = Gate::new();
        let (sender, receiver) = gate::through(&gate, stream);
        let mut connection =
            Connection::from_transport(Box::new(sender), Box::new(receiver), self.host.clone());
        // Deadlines are kept here, for the whole of a call.
        connection.set_response_timeout(None);
        // Images shrink little and take longer; and how long a compressed message is tells of what is in it.
        connection.set_compression_requested(false);
        let negotiated = connection.negotiate().await;
        let params = negotiated
            .and_then(|()| {
                connection
                    .params()
                    .ok_or_else(|| smb2::Error::invalid_data("no negotiation"))
            })
            .map_err(|error| not_negotiated(&place, &gate, &error))?;
        if params.dialect != Dialect::Smb3_1_1 {
            return Err(Trouble::Dialect {
                place,
                spoken: params.dialect.to_string(),
            });
        }
        if params.cipher.is_none() && self.encryption == Encryption::Required {
            return Err(Trouble::NoEncryption { place });
        }
        let largest = params.max_write_size.min(params.max_read_size) as usize;
        self.log_in(&mut connection, &gate, &params).await?;
        let mut link = Link {
            connection,
            gate,
            tree: TreeId(0),
            place,
            largest,
            over: AtomicBool::new(false),
        };
        link.tree = self.take_share(&link).await?;
        Ok(link)
    }

    async fn log_in(
        &self,
        connection: &mut Connection,
        gate: &Arc<Gate>,
        params: &NegotiatedParams,
    ) -> Result<(), Trouble> {
        let place = self.place();
        let refused = |reason: String| Trouble::Login {
            place: place.clone(),
            user: self.account.user.clone(),
            reason,
        };
        let by_sspi = |error: sspi::Error| refused(format!("the login fails: {error}"));
        let mut login = Login::begin(&self.account, &self.host).map_err(by_sspi)?;
        let mut token = login.step(Vec::new()).map_err(by_sspi)?;
        let (frame, answer) = loop {
            let request = SessionSetupRequest {
                flags: SessionSetupRequestFlags(0),
                security_mode: SecurityMode::new(SecurityMode::SIGNING_REQUIRED),
                capabilities: Capabilities::default(),
                channel: 0,
                previous_session_id: 0,
                security_buffer: token,
            };
            let asked = connection.execute(Command::SessionSetup, &request, None).await;
            let frame = asked.map_err(|error| ended(&place, gate, &error))?;
            let status = Status(frame.header.status.0);
            if !status.is_success() && status.0 != MORE_PROCESSING {
                return Err(refused(status.of_login()));
            }
            connection.set_session_id(frame.header.session_id);
            let answer: SessionSetupResponse = unpack(&frame).map_err(|reason| protocol(&place, reason))?;
            if status.is_success() {
                break (frame, answer);
            }
            token = login.step(answer.security_buffer).map_err(by_sspi)?;
        };
        if answer.session_flags.is_guest() || answer.session_flags.is_null() {
            return Err(Trouble::Guest {
                place,
                user: self.account.user.clone(),
            });
        }
        if !login.reached() {
            login.step(answer.security_buffer).map_err(by_sspi)?;
        }
        let session = login.session_key().map_err(by_sspi)?;
        self.protect(connection, gate, params, &session[..], &frame)
    }

    /// Makes the keys, checks by them that nobody has changed anything so far, and turns the protection on.
    fn protect(
        &self,
        connection: &mut Connection,
        gate: &Arc<Gate>,
        params: &NegotiatedParams,
        session: &[u8],
        last: &Frame,
    ) -> Result<(), Trouble> {
        let tampered = |reason: &str| Trouble::Tampered {
            place: self.place(),
            reason: reason.to_owned(),
        };
        let context = gate.preauthentication();
        let algorithm: SigningAlgorithm = algorithm_for_dialect(Dialect::Smb3_1_1, params.gmac_negotiated);
        let signing = derived(session, SIGNING, &context, 128);
        if !last.header.flags.is_signed() {
            return Err(tampered("the host let the account in without a signature"));
        }
        let id = last.header.message_id.0;
        verify_signature(&last.raw, &signing, algorithm, id, false)
            .map_err(|_| tampered("the signature does not fit under which the host let the account in"))?;
        connection.activate_signing(signing.to_vec(), algorithm);
        let Some(cipher) = params.cipher else {
            gate.demand(Protection::Signed);
            return Ok(());
        };
        let bits = match cipher {
            Cipher::Aes128Ccm | Cipher::Aes128Gcm => 128,
            Cipher::Aes256Ccm | Cipher::Aes256Gcm => 256,
        };
        let out = derived(session, TO_SERVER, &context, bits);
        let back = derived(session, TO_CLIENT, &context, bits);
        connection.activate_encryption(out.to_vec(), back.to_vec(), cipher);
        gate.demand(Protection::Sealed);
        Ok(())
    }

    async fn take_share(&self, link: &Link) -> Result<TreeId, Trouble> {
        let request = TreeConnectRequest {
            flags: TreeConnectRequestFlags::default(),
            path: format!(r"\\{}\{}", self.host, self.share),
        };
        let unusable = |reason: String| Trouble::Share {
            place: self.place(),
            share: self.share.clone(),
            reason,
        };
        let sent = link
            .connection
            .execute(Command::TreeConnect, &request, None)
            .await;
        let frame = sent.map_err(|error| link.ended(&error))?;
        let status = Status(frame.header.status.0);
        let administrative = self.share.ends_with('$');
        match (status.0, administrative) {
            (0, _) => frame
                .header
                .tree_id
                .ok_or_else(|| unusable("the host names no tree".to_owned())),
            (ACCESS_DENIED, true) => Err(unusable(format!(
                "access is denied to {}: shares of whole drives are for administrators alone (and for local accounts among \
                 them only with LocalAccountTokenFilterPolicy = 1). Give another account, or name a share instead: on the \
                 host `New-SmbShare -Name labyard -Path DIRECTORY -FullAccess ACCOUNT`, here \
                 `share = {{ name = \"labyard\", path = \"DIRECTORY\" }}`",
                self.account.user
            ))),
            (ACCESS_DENIED, false) => Err(unusable(format!(
                "access is denied to {}: on the host `Grant-SmbShareAccess -Name {} -AccountName ACCOUNT -AccessRight Full`",
                self.account.user, self.share
            ))),
            (BAD_NETWORK_NAME, true) => Err(unusable(
                "the host has none of that name: the drive is not there, or the shares of whole drives are switched off \
                 (AutoShareServer = 0). Name a share instead: `share = { name = \"labyard\", path = \"DIRECTORY\" }`"
                    .to_owned(),
            )),
            (BAD_NETWORK_NAME, false) => Err(unusable(
                "the host has none of that name: `Get-SmbShare` lists them, `New-SmbShare` makes one".to_owned(),
            )),
            _ => Err(unusable(format!("the host answers {}", status.name()))),
        }
    }
}

/// Reads the body of an answer.
pub(super) fn unpack<T: Unpack>(frame: &Frame) -> Result<T, String> {
    T::unpack(&mut ReadCursor::new(&frame.body)).map_err(|error| error.to_string())
}

fn protocol(place: &str, reason: String) -> Trouble {
    Trouble::Protocol {
        place: place.to_owned(),
        reason,
    }
}

/// Why a connection ended, as the gate knows it, or else as the crate tells it.
fn ended(place: &str, gate: &Gate, error: &smb2::Error) -> Trouble {
    let place = place.to_owned();
    match gate.shut() {
        Some(Shut::Unprotected(what)) => Trouble::Tampered {
            place,
            reason: what.to_owned(),
        },
        Some(Shut::Malformed(reason)) => Trouble::Protocol { place, reason },
        Some(Shut::Broken(reason)) => Trouble::Broken { place, reason },
        None => match error {
            smb2::Error::SignatureInvalid { .. } => Trouble::Tampered {
                place,
                reason: "the signature of an answer does not fit".to_owned(),
            },
            smb2::Error::InvalidData { message } => Trouble::Protocol {
                place,
                reason: message.clone(),
            },
            other => Trouble::Broken {
                place,
                reason: other.to_string(),
            },
        },
    }
}

/// A server that is too old closes the connection, or answers in SMB 1.
fn not_negotiated(place: &str, gate: &Gate, error: &smb2::Error) -> Trouble {
    let place = place.to_owned();
    let spoken = match (gate.shut(), error) {
        (Some(Shut::Broken(reason)), _) => {
            format!("no SMB 2 or 3, it seems (it ended the connection: {reason})")
        }
        (Some(Shut::Malformed(reason)), _) => format!("something else ({reason})"),
        (_, smb2::Error::Protocol { status, .. }) => {
            format!("something older (it answers {})", Status(status.0).name())
        }
        (_, other) => format!("something else ({other})"),
    };
    Trouble::Dialect { place, spoken }
}

impl Link {
    /// Whether nothing more can be asked over it.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire) || self.connection.is_disconnected()
    }

    fn ended(&self, error: &smb2::Error) -> Trouble {
        // Who waits for an answer hears of an end only; that one could not be opened is counted.
        if self.connection.diagnostics().metrics.decrypt_failures > 0 {
            return Trouble::Tampered {
                place: self.place.clone(),
                reason: "a sealed answer cannot be opened".to_owned(),
            };
        }
        ended(&self.place, &self.gate, error)
    }

    /// Asks, and gives the answer's body if the server says yes.
    pub(super) async fn ask<T: Unpack>(
        &self,
        command: Command,
        request: &dyn Pack,
        payload: usize,
        within: Duration,
    ) -> Result<T, Fail> {
        let frame = self.send(command, request, payload, within).await?;
        unpack(&frame).map_err(Fail::Malformed)
    }

    async fn send(
        &self,
        command: Command,
        request: &dyn Pack,
        payload: usize,
        within: Duration,
    ) -> Result<Frame, Fail> {
        // [MS-SMB2] 3.1.5.2: one credit for each 64 KiB that is sent or awaited.
        let charge = payload.saturating_sub(1) / 65_536 + 1;
        let charge = CreditCharge(u16::try_from(charge).unwrap_or(u16::MAX));
        let asked = self
            .connection
            .execute_with_credits(command, request, Some(self.tree), charge);
        let frame = match timeout(within, asked).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(smb2::Error::SessionExpired)) => {
                return Err(self.over(Status(0xC000_035C)));
            }
            Ok(Err(error)) => {
                self.over.store(true, Ordering::Release);
                return Err(Fail::Trouble(self.ended(&error)));
            }
            Err(_) => {
                // What else is under way on it waits for a server that is silent.
                self.over.store(true, Ordering::Release);
                self.connection.mark_dead();
                return Err(Fail::Trouble(Trouble::Silent {
                    place: self.place.clone(),
                    after: within,
                }));
            }
        };
        let status = Status(frame.header.status.0);
        if status.ended().is_some() {
            return Err(self.over(status));
        }
        match status.is_success() {
            true => Ok(frame),
            false => Err(Fail::Status(status)),
        }
    }

    fn over(&self, status: Status) -> Fail {
        self.over.store(true, Ordering::Release);
        Fail::Ended(Trouble::Broken {
            place: self.place.clone(),
            reason: format!("the host answers {}", status.name()),
        })
    }
}
