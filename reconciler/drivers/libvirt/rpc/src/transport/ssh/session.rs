//! An SSH session: TCP, through jump hosts perhaps, the host's key checked, the user let in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, DisconnectReason, Handle};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelId, ChannelOpenFailure, Preferred};
use tokio::time::Instant;

use super::auth;
use super::config::{self, Environment, Settings};
use super::error::SshError;
use super::known_hosts::{self, KnownHost, Verdict, fingerprint};
use crate::transport::{ConnectError, Duplex, Service, dial, stage};
use crate::uri::SshHost;

/// Jump hosts may have jump hosts of their own, up to so many in all.
const MOST_JUMPS: usize = 8;
/// How much the server may send ahead in one channel: enough to keep a fast line with a long way busy.
const WINDOW: u32 = 4 * 1024 * 1024;
/// For those whose SSH configuration has `UserKnownHostsFile /dev/null`.
const KEEPS_NOTHING: &str = ". The SSH configuration keeps keys nowhere (UserKnownHostsFile /dev/null): name that file \
                             there, or as known_hosts in the URI";
/// Signs of life of the session itself; the connections in it look for their own.
const ALIVE: Duration = Duration::from_secs(10);

/// A session that is authenticated.
pub(super) struct Session {
    handle: Handle<Client>,
    notes: Notes,
    pub(super) settings: Settings,
    /// The session with the last jump host, which lives as long as this one.
    _through: Option<Box<Session>>,
}

/// What the server said, where the protocol's library does not pass it on with the error.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Said>>);

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
    pub(super) fn farewell(&self) -> Option<String> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.farewell.clone()
    }
}

/// Why a channel was not opened.
pub(super) enum Unopened {
    /// The server said no, and why.
    Refused(String),
    /// The session is over.
    Over(String),
}

impl Session {
    /// Opens a session with a host, through the jump hosts that the configuration names.
    pub(super) async fn open(
        asked: &SshHost,
        environment: &Environment,
        deadline: Instant,
    ) -> Result<Self, ConnectError> {
        let settings = read(asked, environment)?;
        let mut through = None;
        for hop in hops(&settings, environment)? {
            through = Some(Box::new(Self::over(through, hop, deadline).await?));
        }
        Self::over(through, settings, deadline).await
    }

    /// Opens a session from here or from within another.
    async fn over(
        through: Option<Box<Self>>,
        settings: Settings,
        deadline: Instant,
    ) -> Result<Self, ConnectError> {
        let place = dial::place(&settings.host, settings.port);
        let stream: Box<dyn Duplex> = match &through {
            None => {
                let own = settings.connect_timeout.map(|limit| Instant::now() + limit);
                let deadline = own.map_or(deadline, |own| own.min(deadline));
                Box::new(dial::tcp(&settings.host, settings.port, Service::Ssh, deadline).await?)
            }
            Some(jump) => jump.passage(&settings, &place, deadline).await?,
        };
        let (known_as, port) = known_at(&settings);
        let known =
            KnownHost::read(&settings.known_hosts, known_as, port).map_err(|error| SshError::KnownHosts {
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
            introduction: Introduction::of(&settings, &place, through.is_some()),
        };
        let doing = format!("the SSH handshake with {place}");
        let handshake = stage(deadline, doing, client::connect_stream(config, stream, client)).await?;
        let mut handle = handshake.map_err(|error| error.explained(&place, &notes))?;
        let doing = format!("logging in on {place} as {}", settings.user);
        stage(
            deadline,
            doing,
            auth::log_in(&mut handle, &settings, &place, &notes),
        )
        .await??;
        Ok(Self {
            handle,
            notes,
            settings,
            _through: through,
        })
    }

    /// A way to the next host.
    async fn passage(
        &self,
        next: &Settings,
        place: &str,
        deadline: Instant,
    ) -> Result<Box<dyn Duplex>, ConnectError> {
        let through = self.place();
        let opening = self
            .handle
            .channel_open_direct_tcpip(&next.host, u32::from(next.port), "127.0.0.1", 0);
        let doing = format!("connecting to {place} through {through}");
        let opened = self.opened(stage(deadline, doing, opening).await?).await;
        let channel = opened.map_err(|unopened| match unopened {
            Unopened::Refused(said) => SshError::Jump {
                through: through.clone(),
                place: place.to_owned(),
                said,
            },
            Unopened::Over(reason) => SshError::Protocol {
                place: through.clone(),
                reason,
            },
        })?;
        Ok(Box::new(channel.into_stream()))
    }

    /// Host and port.
    pub(super) fn place(&self) -> String {
        dial::place(&self.settings.host, self.settings.port)
    }

    pub(super) fn is_over(&self) -> bool {
        self.handle.is_closed()
    }

    /// A channel to a Unix socket of the host.
    pub(super) async fn socket(&self, path: &str) -> Result<Channel<client::Msg>, Unopened> {
        let opened = self.handle.channel_open_direct_streamlocal(path).await;
        self.opened(opened).await
    }

    /// A channel for a command.
    pub(super) async fn command(&self) -> Result<Channel<client::Msg>, Unopened> {
        let opened = self.handle.channel_open_session().await;
        self.opened(opened).await
    }

    async fn opened<T>(&self, outcome: Result<T, russh::Error>) -> Result<T, Unopened> {
        match outcome {
            Ok(channel) => Ok(channel),
            Err(russh::Error::ChannelOpenFailure(reason)) => {
                let said = self.word_on_channel().await;
                let said = said.unwrap_or_else(|| format!("{reason:?}"));
                Err(Unopened::Refused(said))
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

fn read(asked: &SshHost, environment: &Environment) -> Result<Settings, ConnectError> {
    config::settings(asked, environment).map_err(|error| {
        let reason = error.to_string();
        SshError::Config { reason }.into()
    })
}

/// The name and port that a host's key is known by: an alias stands for both.
fn known_at(settings: &Settings) -> (&str, u16) {
    match &settings.known_as {
        Some(alias) => (alias, 22),
        None => (&settings.host, settings.port),
    }
}

/// The hosts to go through, in order. The first may itself stand behind others; those after it are reached from it.
fn hops(settings: &Settings, environment: &Environment) -> Result<Vec<Settings>, ConnectError> {
    let mut hops: Vec<Settings> = Vec::new();
    let mut before = settings.jumps.clone();
    while !before.is_empty() {
        let mut read = before
            .iter()
            .map(|jump| read(jump, environment))
            .collect::<Result<Vec<_>, _>>()?;
        before = read.first().map(|first| first.jumps.clone()).unwrap_or_default();
        read.append(&mut hops);
        hops = read;
        if hops.len() > MOST_JUMPS {
            return Err(SshError::Config {
                reason: format!(
                    "the SSH configuration leads to {} through more than {MOST_JUMPS} jump hosts (ProxyJump): do they \
                     name each other?",
                    settings.alias
                ),
            }
            .into());
        }
    }
    Ok(hops)
}

/// How a host whose key is not known is made known.
#[derive(Debug, Clone)]
struct Introduction {
    place: String,
    name: String,
    file: Option<String>,
    /// What else has to be done.
    advice: &'static str,
    /// The command, but for the kind of the key.
    command: Command,
}

#[derive(Debug, Clone)]
enum Command {
    /// The host can be asked from here.
    Scan { host: String, port: u16 },
    /// Only `ssh` finds it.
    Login { alias: String, options: String },
}

impl Introduction {
    fn of(settings: &Settings, place: &str, jumped: bool) -> Self {
        let (known_as, port) = known_at(settings);
        let first = settings.known_hosts.first();
        let keeps = first.filter(|file| file.as_os_str() != "/dev/null");
        let file = keeps.map(|file| file.display().to_string());
        let command = match jumped || settings.known_as.is_some() {
            false => Command::Scan {
                host: settings.host.clone(),
                port: settings.port,
            },
            true => Command::Login {
                alias: format!("{}@{}", settings.user, settings.alias),
                options: format!("-p {}", settings.port),
            },
        };
        Self {
            place: place.to_owned(),
            name: known_hosts::name(known_as, port),
            advice: match (first, keeps) {
                (Some(_), None) => KEEPS_NOTHING,
                _ => "",
            },
            file,
            command,
        }
    }

    fn accept(&self, kind: &str) -> String {
        let file = self.file.as_deref().unwrap_or("~/.ssh/known_hosts");
        match &self.command {
            Command::Scan { host, port } => format!("ssh-keyscan -t {kind} -p {port} {host} >> {file}"),
            Command::Login { alias, options } => {
                format!("ssh -o UserKnownHostsFile={file} {options} {alias} true")
            }
        }
    }

    fn judge(&self, known: &KnownHost, key: &PublicKey) -> Result<(), ConnectError> {
        let place = self.place.clone();
        let kind = key.algorithm().as_str().to_owned();
        let short = match kind.as_str() {
            "ssh-ed25519" => "ed25519",
            kind if kind.starts_with("ecdsa") => "ecdsa",
            _ => "rsa",
        };
        let accept = self.accept(short);
        let error = match known.judge(key) {
            Verdict::Known => return Ok(()),
            Verdict::Unknown => SshError::UnknownHost {
                place,
                fingerprint: fingerprint(key),
                short: short.to_owned(),
                kind,
                accept,
                advice: self.advice,
            },
            Verdict::Changed {
                file,
                line,
                fingerprint: known,
            } => SshError::ChangedHost {
                place,
                fingerprint: fingerprint(key),
                known,
                forget: format!("ssh-keygen -R '{}' -f {}", self.name, file.display()),
                file,
                line,
                accept,
                advice: self.advice,
            },
            Verdict::Revoked => SshError::RevokedHost {
                place,
                fingerprint: fingerprint(key),
            },
        };
        Err(error.into())
    }
}

/// Our side of a session.
pub(super) struct Client {
    known: KnownHost,
    notes: Notes,
    introduction: Introduction,
}

/// Why a session ended before it was one.
#[derive(Debug)]
pub(super) enum ClientError {
    /// The host's key is not the right one.
    Key(ConnectError),
    /// Anything else.
    Protocol(russh::Error),
}

impl From<russh::Error> for ClientError {
    fn from(error: russh::Error) -> Self {
        Self::Protocol(error)
    }
}

impl ClientError {
    fn explained(self, place: &str, notes: &Notes) -> ConnectError {
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
        SshError::Protocol {
            place: place.to_owned(),
            reason,
        }
        .into()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn introduction(config: &str) -> Introduction {
        let home = tempfile::tempdir().unwrap();
        let (own, system) = (home.path().join(".ssh"), home.path().join("system"));
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(own.join("config"), config).unwrap();
        let environment = Environment {
            home: Some(home.path().to_owned()),
            user: Some("me".into()),
            agent: None,
            system,
        };
        let asked = "qemu+ssh://lab:2222/system".parse::<crate::ConnectUri>().unwrap();
        let crate::uri::Reach::Ssh(asked) = asked.reach else {
            panic!("{asked:?}");
        };
        let settings = read(&asked, &environment).unwrap();
        Introduction::of(&settings, "lab:2222", false)
    }

    #[test]
    fn a_key_is_forgotten_under_the_name_that_it_is_known_by() {
        assert_eq!(introduction("").name, "[lab]:2222");
        assert_eq!(introduction("Host lab\n HostKeyAlias other\n").name, "other");
    }

    #[test]
    fn nobody_is_told_to_keep_a_key_where_nothing_is_kept() {
        let told = introduction("Host lab\n UserKnownHostsFile /dev/null\n");
        assert!(
            !told.accept("ed25519").contains("/dev/null"),
            "{}",
            told.accept("ed25519")
        );
        assert!(told.advice.contains("UserKnownHostsFile"));
        assert_eq!(introduction("").advice, "");
    }
}
