//! How a host whose key is not known is made known.

use russh::keys::PublicKey;

use crate::config::Settings;
use crate::error::{ChangedHost, Error, UnknownHost};
use crate::known_hosts::{self, KnownHost, Verdict, fingerprint};
use crate::words::{There, Words};

/// The name and port that a host's key is known by: an alias stands for both.
pub(crate) fn known_at(settings: &Settings) -> (&str, u16) {
    match &settings.known_as {
        Some(alias) => (alias, 22),
        None => (&settings.host, settings.port),
    }
}

/// What is told of a host's key where it is not the one that is known.
#[derive(Debug, Clone)]
pub(crate) struct Introduction {
    place: String,
    name: String,
    file: Option<String>,
    /// What else has to be done.
    advice: String,
    there: There,
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
    pub(crate) fn of(settings: &Settings, place: &str, jumped: bool, words: &Words) -> Self {
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
                (Some(_), None) => format!(
                    ". The SSH configuration keeps keys nowhere (UserKnownHostsFile /dev/null): name that file there, or \
                     as {}",
                    words.known_hosts
                ),
                _ => String::new(),
            },
            there: words.there,
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

    pub(crate) fn judge(&self, known: &KnownHost, key: &PublicKey) -> Result<(), Error> {
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
            Verdict::Unknown => Error::UnknownHost(Box::new(UnknownHost {
                place,
                fingerprint: fingerprint(key),
                shown_by: self.there.shows_key(short),
                kind,
                accept,
                advice: self.advice.clone(),
            })),
            Verdict::Changed {
                file,
                line,
                fingerprint: known,
            } => Error::ChangedHost(Box::new(ChangedHost {
                place,
                fingerprint: fingerprint(key),
                known,
                forget: format!("ssh-keygen -R '{}' -f {}", self.name, file.display()),
                file,
                line,
                accept,
                advice: self.advice.clone(),
            })),
            Verdict::Revoked => Error::RevokedHost {
                place,
                fingerprint: fingerprint(key),
            },
        };
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::config::{self, Environment};
    use crate::testing::WORDS;

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
        let asked = "lab:2222".parse().unwrap();
        let settings = config::read(&asked, &environment, &WORDS).unwrap();
        Introduction::of(&settings, "lab:2222", false, &WORDS)
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
        assert!(told.advice.contains("UserKnownHostsFile") && told.advice.ends_with("as the file of keys"));
        assert_eq!(introduction("").advice, "");
    }
}
