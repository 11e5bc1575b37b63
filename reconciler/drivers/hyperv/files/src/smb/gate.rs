//! The way of messages to and from an SMB server, and what may come over it.
//!
//! The crate `smb2` opens what is sealed and checks signatures. In a session in which everything is sealed it takes what
//! is only signed, or is an answer that says to wait, in the clear. Here, before the crate sees a message, nothing less
//! comes through than what was agreed on; and what ended a connection is known by its reason. The gate also hears the
//! login, whose messages make the session's keys: a changed one gives other keys, and then nothing fits any more.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Buf;
use smb2::crypto::kdf::PreauthHasher;
use smb2::transport::{TransportReceive, TransportSend};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::Mutex as AsyncMutex;

use crate::dial::Stream;

/// The longest message that is taken: the largest read and what stands around it.
const LONGEST: usize = 9 << 20;
/// \[MS-SMB2\] 2.2.1: the header of a message.
const HEADER: usize = 64;
const PLAIN: [u8; 4] = [0xFE, b'S', b'M', b'B'];
const SEALED: [u8; 4] = [0xFD, b'S', b'M', b'B'];
const FLAG_SIGNED: u32 = 8;
const STATUS_PENDING: u32 = 0x103;
const NEGOTIATE: u16 = 0;
const SESSION_SETUP: u16 = 1;
const MORE_PROCESSING: u32 = 0xC000_0016;
/// \[MS-SMB2\] 2.2.23.1: what a server says without being asked.
const UNASKED: u64 = u64::MAX;

/// How what comes has to be protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protection {
    /// The login is not done: there are no keys.
    None,
    /// Each message is signed.
    Signed,
    /// Each message is sealed.
    Sealed,
}

/// What the two halves of a connection know together.
pub(super) struct Gate {
    state: Mutex<State>,
}

struct State {
    demanded: Protection,
    hash: PreauthHasher,
    /// Why the gate was shut.
    shut: Option<Shut>,
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shut {
    /// An answer came without what has to protect it.
    Unprotected(&'static str),
    /// What came is not the protocol.
    Malformed(String),
    /// The stream broke.
    Broken(String),
}

impl Gate {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                demanded: Protection::None,
                hash: PreauthHasher::new(),
                shut: None,
            }),
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, nothing less comes through.
    pub(super) fn demand(&self, protection: Protection) {
        self.state().demanded = protection;
    }

    /// What the login's messages come to, which goes into the keys. \[MS-SMB2\] 3.1.4.4.1.
    pub(super) fn preauthentication(&self) -> [u8; 64] {
        *self.state().hash.value()
    }

    /// Why the connection ended, if it did.
    pub(super) fn shut(&self) -> Option<Shut> {
        self.state().shut.clone()
    }

    fn shut_for(&self, why: Shut) -> smb2::Error {
        let message = format!("{why:?}");
        self.state().shut.get_or_insert(why);
        smb2::Error::invalid_data(message)
    }

    /// What goes out for a message.
    fn sends<'a>(&self, message: &'a [u8]) -> Cow<'a, [u8]> {
        let mut state = self.state();
        if state.demanded != Protection::None {
            return Cow::Borrowed(message);
        }
        let message = announcing(message);
        state.hash.update(&message);
        message
    }

    /// Whether a message may come in; one that nobody asked for is not passed on.
    fn takes(&self, message: &[u8]) -> Result<bool, Shut> {
        let mut state = self.state();
        let kind = message.first_chunk::<4>();
        match state.demanded {
            Protection::Sealed if kind == Some(&SEALED) => Ok(true),
            Protection::Sealed => Err(Shut::Unprotected("an answer came in the clear")),
            Protection::Signed => {
                for part in parts(message)? {
                    if part.id() == UNASKED {
                        // No oplock is ever asked for, so a break of one concerns nobody.
                        return Ok(false);
                    }
                    if !part.is_signed() && part.status() != STATUS_PENDING {
                        return Err(Shut::Unprotected("an answer came without a signature"));
                    }
                }
                Ok(true)
            }
            Protection::None => {
                for part in parts(message)? {
                    // The last answer of the login is made after the keys.
                    if part.command() != SESSION_SETUP || part.status() == MORE_PROCESSING {
                        state.hash.update(message);
                    }
                }
                Ok(true)
            }
        }
    }
}

/// The first message, saying that everything is signed here and can be encrypted. The crate leaves both out: Samba then
/// takes the client for one that cannot encrypt, and where it has to, it lets nobody in. \[MS-SMB2\] 2.2.3.
fn announcing(message: &[u8]) -> Cow<'_, [u8]> {
    const MODE: usize = HEADER + 4;
    const CAPABILITIES: usize = HEADER + 8;
    const SIGNING_REQUIRED: u8 = 2;
    const ENCRYPTION: u8 = 0x40;
    let negotiates = message
        .first_chunk::<HEADER>()
        .is_some_and(|header| header.starts_with(&PLAIN) && Part(header).command() == NEGOTIATE);
    if !negotiates || message.len() <= CAPABILITIES {
        return Cow::Borrowed(message);
    }
    let mut message = message.to_vec();
    message[MODE] |= SIGNING_REQUIRED;
    message[CAPABILITIES] |= ENCRYPTION;
    Cow::Owned(message)
}

/// A message of several.
struct Part<'a>(&'a [u8; HEADER]);

impl Part<'_> {
    fn number<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.0[at..at + N]);
        bytes
    }

    fn status(&self) -> u32 {
        u32::from_le_bytes(self.number(8))
    }

    fn command(&self) -> u16 {
        u16::from_le_bytes(self.number(12))
    }

    fn is_signed(&self) -> bool {
        u32::from_le_bytes(self.number(16)) & FLAG_SIGNED != 0
    }

    fn id(&self) -> u64 {
        u64::from_le_bytes(self.number(24))
    }

    fn next(&self) -> usize {
        u32::from_le_bytes(self.number(20)) as usize
    }
}

fn parts(mut message: &[u8]) -> Result<Vec<Part<'_>>, Shut> {
    let mut parts = Vec::new();
    loop {
        let header = message
            .first_chunk::<HEADER>()
            .filter(|header| header.starts_with(&PLAIN));
        let part = Part(header.ok_or_else(|| Shut::Malformed("a message without a header".to_owned()))?);
        let next = part.next();
        parts.push(part);
        if next == 0 {
            return Ok(parts);
        }
        // Less than a header would be the same one for ever.
        message = message
            .get(next..)
            .filter(|_| next >= HEADER)
            .ok_or_else(|| Shut::Malformed("a message in a message that does not fit".to_owned()))?;
    }
}

/// The half that sends.
pub(super) struct Sender {
    gate: Arc<Gate>,
    stream: AsyncMutex<WriteHalf<Box<dyn Stream>>>,
}

/// The half that receives.
pub(super) struct Receiver {
    gate: Arc<Gate>,
    stream: AsyncMutex<ReadHalf<Box<dyn Stream>>>,
}

/// Both halves of a way through a gate.
pub(super) fn through(gate: &Arc<Gate>, stream: Box<dyn Stream>) -> (Sender, Receiver) {
    let (reading, writing) = tokio::io::split(stream);
    let sender = Sender {
        gate: Arc::clone(gate),
        stream: AsyncMutex::new(writing),
    };
    let receiver = Receiver {
        gate: Arc::clone(gate),
        stream: AsyncMutex::new(reading),
    };
    (sender, receiver)
}

#[async_trait]
impl TransportSend for Sender {
    async fn send(&self, data: &[u8]) -> smb2::Result<()> {
        let length = u32::try_from(data.len())
            .ok()
            .filter(|_| data.len() <= LONGEST)
            .ok_or_else(|| smb2::Error::invalid_data("a message that is too long to be sent"))?;
        let data = self.gate.sends(data);
        // [MS-SMB2] 2.1: a zero and three bytes of length.
        let head = length.to_be_bytes();
        let mut whole = Buf::chain(&head[..], &*data);
        let mut stream = self.stream.lock().await;
        let sent = async {
            stream.write_all_buf(&mut whole).await?;
            stream.flush().await
        };
        sent.await
            .map_err(|error| self.gate.shut_for(Shut::Broken(error.to_string())))
    }
}

#[async_trait]
impl TransportReceive for Receiver {
    async fn receive(&self) -> smb2::Result<Vec<u8>> {
        let mut stream = self.stream.lock().await;
        let broken = |error: std::io::Error| {
            self.gate.shut_for(Shut::Broken(match error.kind() {
                std::io::ErrorKind::UnexpectedEof => "the host closed it".to_owned(),
                _ => error.to_string(),
            }))
        };
        loop {
            let length = stream.read_u32().await.map_err(broken)? as usize;
            if length > LONGEST {
                let why = format!("a message of {length} bytes");
                return Err(self.gate.shut_for(Shut::Malformed(why)));
            }
            let mut message = Vec::with_capacity(length);
            let limited = (&mut *stream).take(length as u64);
            tokio::pin!(limited);
            let read = limited.read_to_end(&mut message).await.map_err(broken)?;
            if read < length {
                return Err(broken(std::io::ErrorKind::UnexpectedEof.into()));
            }
            match self.gate.takes(&message) {
                Ok(true) => return Ok(message),
                Ok(false) => {}
                Err(why) => return Err(self.gate.shut_for(why)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(command: u16, status: u32, flags: u32, id: u64) -> Vec<u8> {
        let mut header = vec![0; HEADER];
        header[..4].copy_from_slice(&PLAIN);
        header[8..12].copy_from_slice(&status.to_le_bytes());
        header[12..14].copy_from_slice(&command.to_le_bytes());
        header[16..20].copy_from_slice(&flags.to_le_bytes());
        header[24..32].copy_from_slice(&id.to_le_bytes());
        header
    }

    fn demanding(protection: Protection) -> Arc<Gate> {
        let gate = Gate::new();
        gate.demand(protection);
        gate
    }

    const UNSIGNED: u32 = 1;
    const SIGNED: u32 = 1 | FLAG_SIGNED;

    #[test]
    fn in_a_sealed_session_nothing_comes_in_the_clear() {
        let gate = demanding(Protection::Sealed);
        let mut sealed = vec![0; 80];
        sealed[..4].copy_from_slice(&SEALED);
        assert_eq!(gate.takes(&sealed), Ok(true));
        for clear in [
            message(8, 0, SIGNED, 7),
            message(8, STATUS_PENDING, UNSIGNED, 7),
            message(18, 0, UNSIGNED, UNASKED),
            vec![],
        ] {
            assert_eq!(
                gate.takes(&clear),
                Err(Shut::Unprotected("an answer came in the clear"))
            );
        }
    }

    #[test]
    fn in_a_signed_session_each_answer_has_a_signature() {
        let gate = demanding(Protection::Signed);
        assert_eq!(gate.takes(&message(8, 0, SIGNED, 7)), Ok(true));
        let missing = Err(Shut::Unprotected("an answer came without a signature"));
        assert_eq!(gate.takes(&message(8, 0, UNSIGNED, 7)), missing);
        // An answer that is still to come says nothing yet.
        assert_eq!(gate.takes(&message(8, STATUS_PENDING, UNSIGNED, 7)), Ok(true));
        assert_eq!(gate.takes(&message(18, 0, UNSIGNED, UNASKED)), Ok(false));
        // The second of two.
        let mut both = message(5, 0, SIGNED, 7);
        both[20..24].copy_from_slice(&64u32.to_le_bytes());
        both.extend(message(6, 0, UNSIGNED, 8));
        assert_eq!(gate.takes(&both), missing);
    }

    #[test]
    fn the_login_is_heard_but_for_its_last_answer() {
        let all = Gate::new();
        let negotiated = message(0, 0, UNSIGNED, 0);
        let asked = message(1, MORE_PROCESSING, UNSIGNED, 1);
        let done = message(1, 0, SIGNED, 2);
        let mut expected = PreauthHasher::new();
        for heard in [&negotiated, &asked] {
            expected.update(heard);
            assert_eq!(all.takes(heard), Ok(true));
        }
        assert_eq!(all.takes(&done), Ok(true));
        assert_eq!(all.preauthentication(), *expected.value());
    }

    #[test]
    fn the_first_message_says_what_this_side_can_and_wants() {
        let gate = Gate::new();
        let mut first = message(NEGOTIATE, 0, 0, 0);
        first.extend([36, 0, 1, 0, 1, 0, 0, 0, 7, 0, 0, 0]);
        let sent = gate.sends(&first);
        assert_eq!(sent[68], 3);
        assert_eq!(sent[72], 0x47);
        let mut heard = PreauthHasher::new();
        heard.update(&sent);
        assert_eq!(gate.preauthentication(), *heard.value());
        let second = message(SESSION_SETUP, 0, 0, 1);
        assert_eq!(*gate.sends(&second), *second);
    }

    #[tokio::test]
    async fn a_message_longer_than_any_is_not_awaited() {
        let (near, mut far) = tokio::io::duplex(64);
        let (_sender, receiver) = through(&Gate::new(), Box::new(near));
        far.write_all(&[0, 0xFF, 0xFF, 0xFF]).await.unwrap();
        assert!(receiver.receive().await.is_err());
        assert!(matches!(receiver.gate.shut(), Some(Shut::Malformed(_))));
    }

    #[tokio::test]
    async fn a_stream_that_ends_early_is_an_error_that_says_so() {
        let (near, mut far) = tokio::io::duplex(64);
        let (_sender, receiver) = through(&Gate::new(), Box::new(near));
        far.write_all(&[0, 0, 0, 100, 0xFE]).await.unwrap();
        drop(far);
        assert!(receiver.receive().await.is_err());
        assert_eq!(
            receiver.gate.shut(),
            Some(Shut::Broken("the host closed it".into()))
        );
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(message in prop::collection::vec(any::<u8>(), 0..300), plain in any::<bool>()) {
            let mut message = message;
            if plain && message.len() >= 4 {
                message[..4].copy_from_slice(&PLAIN);
            }
            for protection in [Protection::None, Protection::Signed, Protection::Sealed] {
                let _either_way = demanding(protection).takes(&message);
            }
        }
    }
}
