//! Logging in: with the keys of the agent, then with those of files. Whoever needs a password for a key has it in the
//! agent; nobody is asked for one here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::{AgentClient, AgentStream};
use russh::keys::{self, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};

use crate::config::Settings;
use crate::error::Error;
use crate::known_hosts::fingerprint;
use crate::session::{Client, Notes};
use crate::words::Words;

type Agent = AgentClient<Box<dyn AgentStream + Send + Unpin>>;

/// A key of a file.
enum FileKey {
    /// It can be used.
    Open(Arc<PrivateKey>),
    /// Only its public part can be read.
    Closed(Option<PublicKey>),
}

struct Login<'s> {
    handle: &'s mut Handle<Client>,
    settings: &'s Settings,
    words: &'s Words,
    place: &'s str,
    notes: &'s Notes,
    tried: Vec<String>,
    offered: Vec<PublicKey>,
    /// The ways that the server goes on offering.
    ways: Option<String>,
    closed: Option<PathBuf>,
}

/// Logs in, or says what was tried.
pub(crate) async fn log_in(
    handle: &mut Handle<Client>,
    settings: &Settings,
    words: &Words,
    place: &str,
    notes: &Notes,
) -> Result<(), Error> {
    let mut login = Login {
        handle,
        settings,
        words,
        place,
        notes,
        tried: Vec::new(),
        offered: Vec::new(),
        ways: None,
        closed: None,
    };
    let files = login.files();
    if login.by_agent(&files).await? || login.by_files(files).await? {
        return Ok(());
    }
    Err(login.failed().await)
}

impl Login<'_> {
    fn files(&mut self) -> Vec<(PathBuf, FileKey)> {
        let mut found = Vec::new();
        for path in &self.settings.identities {
            match read(path) {
                Ok(key) => found.push((path.clone(), key)),
                Err(reason) => self.tried.push(format!("{}: {reason}", path.display())),
            }
        }
        for path in &self.settings.default_identities {
            match read(path) {
                Ok(key) => found.push((path.clone(), key)),
                Err(_) if !path.exists() => {}
                Err(reason) => self.tried.push(format!("{}: {reason}", path.display())),
            }
        }
        found
    }

    async fn by_agent(&mut self, files: &[(PathBuf, FileKey)]) -> Result<bool, Error> {
        let Some(socket) = &self.settings.agent else {
            self.tried.push("no agent (SSH_AUTH_SOCK is not set)".to_owned());
            return Ok(false);
        };
        let keys = async {
            let mut agent = connect(socket).await?;
            let keys = agent.request_identities().await?;
            Ok::<_, keys::Error>((agent, keys))
        };
        let (mut agent, mut keys) = match keys.await {
            Ok((agent, keys)) => (agent, keys),
            Err(error) => {
                self.tried.push(format!(
                    "the agent at {} does not answer: {error}",
                    socket.display()
                ));
                return Ok(false);
            }
        };
        let rank = |identity: &AgentIdentity| {
            let key = identity.public_key();
            let nth = files.iter().position(|(_, file)| {
                file.public()
                    .is_some_and(|public| public.key_data() == key.key_data())
            });
            nth.unwrap_or(usize::MAX)
        };
        if keys.is_empty() {
            self.tried.push("the agent, which has no keys".to_owned());
        }
        if self.settings.identities_only {
            keys.retain(|identity| rank(identity) < usize::MAX);
        }
        keys.sort_by_key(rank);
        for identity in keys {
            let AgentIdentity::PublicKey { key, comment } = identity else {
                continue;
            };
            let what = format!("agent key {} ({comment})", fingerprint(&key));
            let hash = self.hash_for(&key).await;
            let user = &self.settings.user;
            let outcome = self
                .handle
                .authenticate_publickey_with(user, key.clone(), hash, &mut agent)
                .await;
            self.offered.push(key);
            match outcome {
                Ok(outcome) => {
                    if self.judged(&what, outcome)? {
                        return Ok(true);
                    }
                }
                Err(error) => self
                    .tried
                    .push(format!("{what}: the agent does not sign: {error}")),
            }
            self.must_be_open()?;
        }
        Ok(false)
    }

    async fn by_files(&mut self, files: Vec<(PathBuf, FileKey)>) -> Result<bool, Error> {
        for (path, key) in files {
            let was_offered = |public: &PublicKey| {
                let mut offered = self.offered.iter();
                offered.any(|key| key.key_data() == public.key_data())
            };
            if key.public().is_some_and(was_offered) {
                continue;
            }
            let what = path.display().to_string();
            match key {
                FileKey::Closed(_) => {
                    self.tried
                        .push(format!("{what}: has a passphrase and is not in the agent"));
                    self.closed.get_or_insert(path);
                }
                FileKey::Open(key) => {
                    let hash = self.hash_for(key.public_key()).await;
                    let what = format!("{what} ({})", fingerprint(key.public_key()));
                    let key = PrivateKeyWithHashAlg::new(key, hash);
                    let outcome = self.handle.authenticate_publickey(&self.settings.user, key).await;
                    let outcome = outcome.map_err(|error| self.over(&error.to_string()))?;
                    if self.judged(&what, outcome)? {
                        return Ok(true);
                    }
                    self.must_be_open()?;
                }
            }
        }
        Ok(false)
    }

    /// RSA keys sign with what the server takes.
    async fn hash_for(&self, key: &PublicKey) -> Option<HashAlg> {
        if !key.algorithm().is_rsa() {
            return None;
        }
        let told = self.handle.best_supported_rsa_hash().await;
        told.ok().flatten().unwrap_or(Some(HashAlg::Sha512))
    }

    /// Whether that was enough.
    fn judged(&mut self, what: &str, outcome: AuthResult) -> Result<bool, Error> {
        match outcome {
            AuthResult::Success => Ok(true),
            AuthResult::Failure {
                remaining_methods,
                partial_success,
            } => {
                let ways: Vec<String> = remaining_methods
                    .iter()
                    .map(|way| <&str>::from(way).to_owned())
                    .collect();
                if !ways.is_empty() {
                    self.ways = Some(ways.join(", "));
                }
                if partial_success {
                    self.tried.push(format!("{what}: taken"));
                    return Err(self.error(
                        format!("it wants more than a key ({})", ways.join(", ")),
                        "Only keys can be given here: let the account in by its key alone".to_owned(),
                    ));
                }
                self.tried.push(format!("{what}: refused"));
                Ok(false)
            }
        }
    }

    fn must_be_open(&self) -> Result<(), Error> {
        match self.handle.is_closed() {
            true => Err(self.over("the server closed the connection")),
            false => Ok(()),
        }
    }

    /// The server hung up: after too many keys, mostly.
    fn over(&self, reason: &str) -> Error {
        let said = self.notes.farewell().unwrap_or_else(|| reason.to_owned());
        self.error(
            said,
            format!(
                "Servers take a few keys only (MaxAuthTries): name the right one by {}, or by IdentityFile and \
                 IdentitiesOnly in ~/.ssh/config",
                self.words.key_file
            ),
        )
    }

    fn error(&self, reason: String, advice: String) -> Error {
        Error::Authentication {
            place: self.place.to_owned(),
            user: self.settings.user.clone(),
            reason,
            tried: self.tried.clone(),
            advice,
        }
    }

    async fn failed(mut self) -> Error {
        if self.offered.is_empty() && self.ways.is_none() {
            let outcome = self.handle.authenticate_none(&self.settings.user).await;
            if let Ok(AuthResult::Failure {
                remaining_methods, ..
            }) = outcome
            {
                let ways: Vec<&str> = remaining_methods.iter().map(<&str>::from).collect();
                self.ways = Some(ways.join(", "));
            }
        }
        let reason = match &self.ways {
            Some(ways) => format!("it takes {ways}"),
            None => "it takes none of the keys".to_owned(),
        };
        let advice = match &self.closed {
            Some(path) => format!(
                "A key with a passphrase has to be in the agent: `eval $(ssh-agent); ssh-add {}`",
                path.display()
            ),
            None => {
                let account = format!("{}@{}", self.settings.user, self.settings.alias);
                format!(
                    "{}, or name the right one by {} or IdentityFile in ~/.ssh/config",
                    self.words.there.lets_in(self.settings.port, &account),
                    self.words.key_file
                )
            }
        };
        self.error(reason, advice)
    }
}

impl FileKey {
    fn public(&self) -> Option<&PublicKey> {
        match self {
            Self::Open(key) => Some(key.public_key()),
            Self::Closed(key) => key.as_ref(),
        }
    }
}

/// The key of a file. Its name may be that of the public part alone, for a key that only the agent has.
fn read(path: &Path) -> Result<FileKey, String> {
    let text = std::fs::read_to_string(path);
    let public_beside = || {
        let mut name = path.as_os_str().to_owned();
        name.push(".pub");
        keys::load_public_key(PathBuf::from(name)).ok()
    };
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            return match public_beside() {
                Some(key) => Ok(FileKey::Closed(Some(key))),
                None => Err(error.to_string()),
            };
        }
    };
    if let Ok(public) = PublicKey::from_openssh(text.trim()) {
        return Ok(FileKey::Closed(Some(public)));
    }
    match keys::decode_secret_key(&text, None) {
        Ok(key) => Ok(FileKey::Open(Arc::new(key))),
        Err(keys::Error::KeyIsEncrypted) => {
            let own = PrivateKey::from_openssh(&text).ok();
            let public = own.map(|key| key.public_key().clone()).or_else(public_beside);
            Ok(FileKey::Closed(public))
        }
        Err(_) if text.contains("ENCRYPTED") => Ok(FileKey::Closed(public_beside())),
        Err(error) => Err(format!("it is no key that can be used: {error}")),
    }
}

#[cfg(unix)]
async fn connect(socket: &Path) -> Result<Agent, keys::Error> {
    Ok(AgentClient::connect_uds(socket).await?.dynamic())
}

#[cfg(windows)]
async fn connect(pipe: &Path) -> Result<Agent, keys::Error> {
    Ok(AgentClient::connect_named_pipe(pipe).await?.dynamic())
}
