//! An SSH session: TCP, through jump hosts perhaps, the host's key checked, the user let in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use labyard_resolve::place;
use russh::client::{self, DisconnectReason, Handle};
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, ChannelId, ChannelMsg, ChannelOpenFailure, Preferred};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::auth;
use crate::config::{self, Environment, Settings};
use crate::dial::{self, stage};
use crate::error::Error;
use crate::host::Host;
use crate::introduction::{Introduction, known_at};
use crate::known_hosts::KnownHost;
use crate::stream::Stream;
use crate::words::Words;

/// Jump hosts may have jump hosts of their own, up to so many in all.
const MOST_JUMPS: usize = 8;
/// How much the server may send ahead in one channel: enough to keep a fast line with a long way busy.
const WINDOW: u32 = 4 * 1024 * 1024;
/// Signs of life of the session itself; the connections in it look for their own.
const ALIVE: Duration = Duration::from_secs(10);

/// A command's words are taken up to here; more is no answer to what is asked of a shell here.
const MOST_SAID: usize = 16 * 1024;

/// A session that is authenticated.
pub struct Session {
    handle: Handle<Client>,
    notes: Notes,
    settings: Settings,
    words: Words,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("place", &self.place())
            .finish_non_exhaustive()
    }
}

/// Bytes in both directions, however they travel.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// What the server said, where the protocol's library does not pass it on with the error.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    channel: Option<String>,
    farewell: Option<String>,
}

impl Notes {
    fn write(&self, note: impl FnOnce(&mut Said)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What the server said when it hung up.
    pub(crate) fn farewell(&self) -> Option<String> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.farewell.clone()
    }
}

/// Why a channel was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unopened {
    /// The server said no.
    Refused {
        /// Which no.
        why: Refusal,
        /// Its word.
        said: String,
    },
    /// The session is over.
    Over(String),
}

/// Which no a server said, RFC 4254 section 5.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It does not do that for this account.
    Forbidden,
    /// It tried, and nobody answered it.
    NoAnswer,
    /// Anything else.
    Other,
}

impl Session {
    /// Opens a session with a host, through the jump hosts that the configuration names.
    ///
    /// # Errors
    /// If the host is not reached or not the right one, or lets nobody in.
    pub async fn open(
        asked: &Host,
        environment: &Environment,
        words: &Words,
        deadline: Instant,
    ) -> Result<Self, Error> {
        let settings = config::read(asked, environment, words)?;
        let mut through = None;
        for hop in hops(&settings, environment, words)? {
            through = Some(Arc::new(Self::over(through, hop, words, deadline).await?));
        }
        Self::over(through, settings, words, deadline).await
    }

    /// Opens a session from here or from within another.
    async fn over(
        through: Option<Arc<Self>>,
        settings: Settings,
        words: &Words,
        deadline: Instant,
    ) -> Result<Self, Error> {
        let place = place(&settings.host, settings.port);
        let stream: Box<dyn Duplex> = match &through {
            None => {
                let own = settings.connect_timeout.map(|limit| Instant::now() + limit);
                let deadline = own.map_or(deadline, |own| own.min(deadline));
                Box::new(dial::tcp(&settings.host, settings.port, words, deadline).await?)
            }
            // The session with the jump host lives as long as this stream through it.
            Some(jump) => Box::new(jump.passage(&settings, &place, deadline).await?),
        };
        let (known_as, port) = known_at(&settings);
        let known =
            KnownHost::read(&settings.known_hosts, known_as, port).map_err(|error| Error::KnownHosts {
                reason: error.to_string(),
            })?;
        let preferred = Preferred {
            key: known.preferred(&Preferred::DEFAULT.key).into(),
            ..Preferred::DEFAULT
        };
        let config = Arc::new(client::Config {
            preferred,
            window_size: WINDOW,
            keepalive_interval: Some(ALIVE),
            keepalive_max: 3,
            ..client::Config::default()
        });
        let notes = Notes::default();
        let client = Client {
            known,
            notes: notes.clone(),
            introduction: Introduction::of(&settings, &place, through.is_some(), words),
        };
        let doing = format!("the SSH handshake with {place}");
        let handshake = stage(deadline, doing, client::connect_stream(config, stream, client)).await?;
        let mut handle = handshake.map_err(|error| error.explained(&place, &notes))?;
        let doing = format!("logging in on {place} as {}", settings.user);
        stage(
            deadline,
            doing,
            auth::log_in(&mut handle, &settings, words, &place, &notes),
        )
        .await??;
        Ok(Self {
            handle,
            notes,
            settings,
            words: *words,
        })
    }

    /// A way to the next host.
    async fn passage(
        self: &Arc<Self>,
        next: &Settings,
        to: &str,
        deadline: Instant,
    ) -> Result<Stream, Error> {
        let through = self.place();
        let doing = format!("connecting to {to} through {through}");
        let opened = stage(deadline, doing, self.channel_to(&next.host, next.port)).await?;
        let channel = opened.map_err(|unopened| match unopened {
            Unopened::Refused { said, .. } => Error::Jump {
                through: through.clone(),
                place: to.to_owned(),
                said,
            },
            Unopened::Over(reason) => self.over_by(reason),
        })?;
        Ok(self.stream(channel))
    }

    /// Host and port.
    pub fn place(&self) -> String {
        place(&self.settings.host, self.settings.port)
    }

    /// The account over there.
    pub fn user(&self) -> &str {
        &self.settings.user
    }

    /// Whether it has ended, as far as is known here.
    pub fn is_over(&self) -> bool {
        self.handle.is_closed()
    }

    /// The error of a session that is over.
    pub fn over_by(&self, reason: String) -> Error {
        Error::Protocol {
            place: self.place(),
            reason,
        }
    }

    /// A TCP connection that the server makes: `host` is a name as it is known over there.
    ///
    /// # Errors
    /// If the server does not do that, or nobody answers it.
    pub async fn tcp(self: &Arc<Self>, host: &str, port: u16) -> Result<Stream, Error> {
        let opened = self.channel_to(host, port).await;
        let channel = opened.map_err(|unopened| match unopened {
            Unopened::Refused {
                why: Refusal::Forbidden,
                said,
            } => Error::ForwardingForbidden {
                place: self.place(),
                user: self.settings.user.clone(),
                to: place(host, port),
                said,
                allow: self.words.there.allows_forwarding(),
            },
            Unopened::Refused { said, .. } => Error::NotForwarded {
                place: self.place(),
                to: place(host, port),
                said,
            },
            Unopened::Over(reason) => self.over_by(reason),
        })?;
        Ok(self.stream(channel))
    }

    /// A connection to a Unix socket of the host.
    ///
    /// # Errors
    /// If the server says no, or the session is over.
    pub async fn socket(self: &Arc<Self>, path: &str) -> Result<Stream, Unopened> {
        let opened = self.handle.channel_open_direct_streamlocal(path).await;
        Ok(self.stream(self.opened(opened).await?))
    }

    /// A subsystem of the server: `sftp`.
    ///
    /// # Errors
    /// If the server does not offer it.
    pub async fn subsystem(self: &Arc<Self>, name: &str) -> Result<Stream, Error> {
        let refused = |said: Option<String>| Error::Subsystem {
            place: self.place(),
            name: name.to_owned(),
            said: said.map_or(String::new(), |said| format!(" ({said})")),
        };
        let opened = self.handle.channel_open_session().await;
        let mut channel = match self.opened(opened).await {
            Ok(channel) => channel,
            Err(Unopened::Refused { said, .. }) => return Err(refused(Some(said))),
            Err(Unopened::Over(reason)) => return Err(self.over_by(reason)),
        };
        let asked = channel.request_subsystem(true, name).await;
        asked.map_err(|error| self.over_by(error.to_string()))?;
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => return Ok(self.stream(channel)),
                Some(ChannelMsg::Failure | ChannelMsg::Close) => return Err(refused(None)),
                Some(_) => {}
                None => {
                    let farewell = self.notes.farewell();
                    return Err(self.over_by(farewell.unwrap_or_else(|| "it ended".to_owned())));
                }
            }
        }
    }

    /// What a command says over there, its first 16 KiB.
    ///
    /// # Errors
    /// If the server does not run it; the text says why.
    pub async fn shell(&self, command: &str) -> Result<String, String> {
        let opened = self.handle.channel_open_session().await;
        let mut channel = self.opened(opened).await.map_err(|unopened| match unopened {
            Unopened::Refused { said, .. } => said,
            Unopened::Over(reason) => reason,
        })?;
        let asked = channel.exec(true, command).await;
        asked.map_err(|error| error.to_string())?;
        let mut said = Vec::new();
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } if said.len() < MOST_SAID => said.extend_from_slice(&data),
                ChannelMsg::Close => break,
                _ => {}
            }
        }
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    async fn channel_to(&self, host: &str, port: u16) -> Result<Channel<client::Msg>, Unopened> {
        let opened = self
            .handle
            .channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0)
            .await;
        self.opened(opened).await
    }

    fn stream(self: &Arc<Self>, channel: Channel<client::Msg>) -> Stream {
        Stream::new(channel.into_stream(), Arc::clone(self))
    }

    async fn opened<T>(&self, outcome: Result<T, russh::Error>) -> Result<T, Unopened> {
        match outcome {
            Ok(channel) => Ok(channel),
            Err(russh::Error::ChannelOpenFailure(reason)) => {
                let said = self.word_on_channel().await;
                let said = said.unwrap_or_else(|| format!("{reason:?}"));
                let why = match reason {
                    ChannelOpenFailure::AdministrativelyProhibited => Refusal::Forbidden,
                    ChannelOpenFailure::ConnectFailed => Refusal::NoAnswer,
                    _ => Refusal::Other,
                };
                Err(Unopened::Refused { why, said })
            }
            Err(error) => Err(Unopened::Over(
                self.notes.farewell().unwrap_or_else(|| error.to_string()),
            )),
        }
    }

    /// The server's word comes in the same packet as its refusal, and a moment later from the library.
    async fn word_on_channel(&self) -> Option<String> {
        for _ in 0..50 {
            let mut word = None;
            self.notes.write(|said| word = said.channel.take());
            if word.is_some() {
                return word;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        None
    }
}

/// The hosts to go through, in order. The first may itself stand behind others; those after it are reached from it.
fn hops(settings: &Settings, environment: &Environment, words: &Words) -> Result<Vec<Settings>, Error> {
    let mut hops: Vec<Settings> = Vec::new();
    let mut before = settings.jumps.clone();
    while !before.is_empty() {
        let mut read = before
            .iter()
            .map(|jump| config::read(jump, environment, words))
            .collect::<Result<Vec<_>, _>>()?;
        before = read.first().map(|first| first.jumps.clone()).unwrap_or_default();
        read.append(&mut hops);
        hops = read;
        if hops.len() > MOST_JUMPS {
            return Err(Error::Config {
                reason: format!(
                    "the SSH configuration leads to {} through more than {MOST_JUMPS} jump hosts (ProxyJump): do they \
                     name each other?",
                    settings.alias
                ),
            });
        }
    }
    Ok(hops)
}

/// Our side of a session.
pub(crate) struct Client {
    known: KnownHost,
    notes: Notes,
    introduction: Introduction,
}

/// Why a session ended before it was one.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// The host's key is not the right one.
    Key(Error),
    /// Anything else.
    Protocol(russh::Error),
}

impl From<russh::Error> for ClientError {
    fn from(error: russh::Error) -> Self {
        Self::Protocol(error)
    }
}

impl ClientError {
    fn explained(self, place: &str, notes: &Notes) -> Error {
        let reason = match self {
            Self::Key(error) => return error,
            Self::Protocol(error) => notes.farewell().unwrap_or_else(|| match error {
                russh::Error::HUP | russh::Error::Disconnect => {
                    "the server closed the connection; it may have too many (MaxStartups), or refuse this address"
                        .to_owned()
                }
                russh::Error::Version => "it is no SSH server".to_owned(),
                error => error.to_string(),
            }),
        };
        Error::Protocol {
            place: place.to_owned(),
            reason,
        }
    }
}

impl client::Handler for Client {
    type Error = ClientError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, ClientError> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                let judged = self.introduction.judge(&self.known, key);
                judged.map_err(ClientError::Key)?;
                Ok(true)
            }
            // None is asked for.
            PublicKeyOrCertificate::Certificate(_) => Ok(false),
        }
    }

    async fn channel_open_failure(
        &mut self,
        _channel: ChannelId,
        _reason: ChannelOpenFailure,
        description: &str,
        _language: &str,
        _session: &mut client::Session,
    ) -> Result<(), ClientError> {
        self.notes
            .write(|said| said.channel = Some(description.to_owned()));
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<ClientError>) -> Result<(), ClientError> {
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                self.notes.write(|said| said.farewell = Some(info.message));
                Ok(())
            }
            DisconnectReason::Error(error) => Err(error),
        }
    }
}
