//! What the SSH configuration says of a host: `~/.ssh/config`, then `/etc/ssh/ssh_config`; of each setting the first
//! value counts, as `ssh_config(5)` has it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;
use crate::host::Host;
use crate::pattern::{fits, fits_any};
use crate::words::Words;

/// How deep files may include each other.
const DEPTH: usize = 8;
const DEFAULT_PORT: u16 = 22;

/// What is known of the user, once for all hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The home directory.
    pub home: Option<PathBuf>,
    /// The name of the user here, which is also the name there unless another is configured.
    pub user: Option<String>,
    /// The agent's socket.
    pub agent: Option<PathBuf>,
    /// The directory of the system's configuration.
    pub system: PathBuf,
}

impl Environment {
    /// As this process has it.
    pub fn of_this_process() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            home: std::env::home_dir(),
            user: variable("USER")
                .or_else(|| variable("LOGNAME"))
                .or_else(|| variable("USERNAME")),
            agent: variable("SSH_AUTH_SOCK").map(PathBuf::from),
            system: "/etc/ssh".into(),
        }
    }
}

/// All that is needed to log in on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// As it was asked for: an alias, perhaps.
    pub(crate) alias: String,
    /// The host's name or address.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    /// Files of keys, in the order in which they are tried; these are named and must be there.
    pub(crate) identities: Vec<PathBuf>,
    /// Files of keys that are tried where they are there.
    pub(crate) default_identities: Vec<PathBuf>,
    /// The agent may offer the keys of these files only.
    pub(crate) identities_only: bool,
    pub(crate) agent: Option<PathBuf>,
    /// Files of known host keys; a new key goes into the first.
    pub(crate) known_hosts: Vec<PathBuf>,
    /// The name under which the host's key is known.
    pub(crate) known_as: Option<String>,
    /// Hosts to go through, in order.
    pub(crate) jumps: Vec<Host>,
    pub(crate) connect_timeout: Option<Duration>,
}

/// Why the configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error(
        "the SSH configuration gives {host} a ProxyCommand, which would run a program; only ProxyJump is supported"
    )]
    ProxyCommand { host: String },
    #[error("\"{value}\" of {keyword} in the SSH configuration cannot be used")]
    Value { keyword: &'static str, value: String },
    #[error("no name for the account there: {advice}")]
    NoUser { advice: String },
}

/// What the configuration says of a host.
pub(crate) fn read(asked: &Host, environment: &Environment, words: &Words) -> Result<Settings, Error> {
    settings(asked, environment, words).map_err(|error| Error::Config {
        reason: error.to_string(),
    })
}

fn settings(asked: &Host, environment: &Environment, words: &Words) -> Result<Settings, ConfigError> {
    let mut reader = Reader {
        environment,
        words,
        asked,
        values: BTreeMap::new(),
        identities: Vec::new(),
    };
    if let Some(home) = &environment.home {
        reader.file(&home.join(".ssh/config"), &home.join(".ssh"), 0, true)?;
    }
    reader.file(
        &environment.system.join("ssh_config"),
        &environment.system,
        0,
        true,
    )?;
    reader.finish()
}

/// Keywords of which the first value counts. Others mean nothing here.
const KEYWORDS: &[&str] = &[
    "hostname",
    "port",
    "user",
    "identitiesonly",
    "identityagent",
    "userknownhostsfile",
    "globalknownhostsfile",
    "hostkeyalias",
    "proxyjump",
    "proxycommand",
    "connecttimeout",
];

struct Reader<'e> {
    environment: &'e Environment,
    words: &'e Words,
    asked: &'e Host,
    values: BTreeMap<&'static str, Vec<String>>,
    identities: Vec<String>,
}

impl Reader<'_> {
    /// Reads a file that may be absent. Relative includes are looked for in `base`; `applies` is whether the section
    /// that includes it does.
    fn file(&mut self, path: &Path, base: &Path, depth: usize, applies: bool) -> Result<(), ConfigError> {
        let unreadable = |reason: String| ConfigError::File {
            path: path.to_owned(),
            reason,
        };
        if depth > DEPTH {
            return Err(unreadable("files include each other too deep".to_owned()));
        }
        let text = match std::fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        let mut section = applies;
        for line in text.lines() {
            let Some((keyword, arguments)) = words(line) else {
                continue;
            };
            match keyword.as_str() {
                "host" => {
                    section = applies && fits_any(arguments.iter().map(String::as_str), &self.asked.host);
                }
                "match" => section = applies && self.matches(&arguments),
                "include" => {
                    let files: Vec<PathBuf> = arguments
                        .iter()
                        .flat_map(|pattern| self.included(pattern, base))
                        .collect();
                    for file in files {
                        self.file(&file, base, depth + 1, section)?;
                    }
                }
                _ if !section => {}
                "identityfile" => self.identities.extend(arguments.into_iter().next()),
                other => {
                    if let Some(known) = KEYWORDS.iter().find(|known| **known == other) {
                        self.values.entry(known).or_insert(arguments);
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a `Match` applies. One that asks for what is not known here (`exec`, say) does not.
    fn matches(&self, criteria: &[String]) -> bool {
        let mut words = criteria.iter();
        while let Some(criterion) = words.next() {
            let (criterion, negated) = match criterion.strip_prefix('!') {
                Some(rest) => (rest.to_ascii_lowercase(), true),
                None => (criterion.to_ascii_lowercase(), false),
            };
            if criterion == "all" {
                continue;
            }
            let Some(patterns) = words.next() else {
                return false;
            };
            let host = self.first("hostname").unwrap_or(&self.asked.host);
            let user = self.asked.user.as_deref().or(self.first("user"));
            let value = match criterion.as_str() {
                "host" => host,
                "originalhost" => &self.asked.host,
                "user" => user.or(self.environment.user.as_deref()).unwrap_or_default(),
                "localuser" => self.environment.user.as_deref().unwrap_or_default(),
                _ => return false,
            };
            if fits_any(patterns.split(','), value) == negated {
                return false;
            }
        }
        true
    }

    /// The files of an `Include`, whose last part may be a pattern.
    fn included(&self, pattern: &str, base: &Path) -> Vec<PathBuf> {
        let path = base.join(self.at_home(pattern));
        let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
        else {
            return Vec::new();
        };
        if !name.contains(['*', '?']) {
            return vec![path.clone()];
        }
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries
            .filter(|entry| entry.file_name().to_str().is_some_and(|entry| fits(name, entry)))
            .map(|entry| entry.path())
            .collect();
        found.sort();
        found
    }

    fn first(&self, keyword: &str) -> Option<&str> {
        self.values.get(keyword)?.first().map(String::as_str)
    }

    fn at_home(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), &self.environment.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(path),
        }
    }

    fn number<T: std::str::FromStr>(&self, keyword: &'static str) -> Result<Option<T>, ConfigError> {
        let wrong = |value: &str| ConfigError::Value {
            keyword,
            value: value.to_owned(),
        };
        self.first(keyword)
            .map(|value| value.parse().map_err(|_| wrong(value)))
            .transpose()
    }

    fn finish(self) -> Result<Settings, ConfigError> {
        let asked = self.asked;
        let alias = asked.host.clone();
        let host = match self.first("hostname") {
            Some(name) => expand(name, &[('h', &alias)]),
            None => alias.clone(),
        };
        let user = asked
            .user
            .clone()
            .or_else(|| self.first("user").map(str::to_owned))
            .or_else(|| self.environment.user.clone())
            .ok_or_else(|| ConfigError::NoUser {
                advice: self.words.user.replace("HOST", &alias),
            })?;
        let port = match asked.port {
            Some(port) => port,
            None => self.number("port")?.unwrap_or(DEFAULT_PORT),
        };
        let jumps = self.jumps()?;
        let local = self.environment.user.clone().unwrap_or_default();
        let home = self.environment.home.clone().unwrap_or_default();
        let written = port.to_string();
        let tokens = [
            ('h', host.as_str()),
            ('n', alias.as_str()),
            ('p', written.as_str()),
            ('r', user.as_str()),
            ('u', local.as_str()),
            ('d', home.to_str().unwrap_or_default()),
        ];
        let path = |text: &str| self.at_home(&expand(text, &tokens));
        let identities: Vec<PathBuf> = match &asked.key_file {
            Some(file) => vec![file.clone()],
            None => self.identities.iter().map(|file| path(file)).collect(),
        };
        let default_identities = match identities.is_empty() {
            true => ["id_ed25519", "id_ecdsa", "id_rsa"]
                .iter()
                .map(|name| home.join(".ssh").join(name))
                .collect(),
            false => Vec::new(),
        };
        let agent = match self.first("identityagent") {
            None | Some("SSH_AUTH_SOCK") => self.environment.agent.clone(),
            Some("none") => None,
            Some(other) => Some(path(other)),
        };
        Ok(Settings {
            identities_only: asked.key_file.is_some()
                || self
                    .first("identitiesonly")
                    .is_some_and(|word| word.eq_ignore_ascii_case("yes")),
            known_hosts: self.known_hosts(&path),
            known_as: self.first("hostkeyalias").map(str::to_owned),
            connect_timeout: match self.first("connecttimeout") {
                None | Some("none") => None,
                Some(_) => self.number("connecttimeout")?.map(Duration::from_secs),
            },
            alias,
            host,
            port,
            user,
            identities,
            default_identities,
            agent,
            jumps,
        })
    }

    fn known_hosts(&self, path: &dyn Fn(&str) -> PathBuf) -> Vec<PathBuf> {
        if let Some(file) = &self.asked.known_hosts {
            return vec![file.clone()];
        }
        let files = |keyword: &str, default: Vec<PathBuf>| match self.values.get(keyword) {
            Some(files) => files
                .iter()
                .filter(|file| !file.eq_ignore_ascii_case("none"))
                .map(|file| path(file))
                .collect(),
            None => default,
        };
        let (own, system) = (path("~/.ssh/known_hosts"), &self.environment.system);
        let mut all = files("userknownhostsfile", vec![own]);
        all.extend(files(
            "globalknownhostsfile",
            vec![system.join("ssh_known_hosts"), system.join("ssh_known_hosts2")],
        ));
        all
    }

    fn jumps(&self) -> Result<Vec<Host>, ConfigError> {
        let command = self.first("proxycommand").filter(|command| *command != "none");
        let Some(jumps) = self.first("proxyjump").filter(|jumps| *jumps != "none") else {
            return match command {
                // As with ssh, a jump that is configured as `none` puts an end to proxies of any kind.
                Some(_) if self.first("proxyjump").is_none() => Err(ConfigError::ProxyCommand {
                    host: self.asked.host.clone(),
                }),
                _ => Ok(Vec::new()),
            };
        };
        jumps.split(',').map(|jump| jump_host(jump.trim())).collect()
    }
}

/// `[user@]host[:port]`, or the same as `ssh://…`.
fn jump_host(text: &str) -> Result<Host, ConfigError> {
    let wrong = || ConfigError::Value {
        keyword: "ProxyJump",
        value: text.to_owned(),
    };
    let place = text.strip_prefix("ssh://").unwrap_or(text);
    place.trim_end_matches('/').parse().map_err(|_| wrong())
}

/// A line's keyword in small letters, and its arguments, which may be quoted.
fn words(line: &str) -> Option<(String, Vec<String>)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line
        .find(|c: char| c.is_whitespace() || c == '=')
        .unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    let mut arguments = Vec::new();
    let mut current: Option<String> = None;
    let mut quoted = false;
    for c in rest.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                current.get_or_insert_default();
            }
            '#' if !quoted && current.is_none() => break,
            c if c.is_whitespace() && !quoted => arguments.extend(current.take()),
            c => current.get_or_insert_default().push(c),
        }
    }
    arguments.extend(current);
    Some((keyword.to_ascii_lowercase(), arguments))
}

/// Replaces `%h` and the like.
fn expand(text: &str, tokens: &[(char, &str)]) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            expanded.push(c);
            continue;
        }
        match rest.next() {
            Some('%') => expanded.push('%'),
            Some(token) => match tokens.iter().find(|(name, _)| *name == token) {
                Some((_, value)) => expanded.push_str(value),
                None => expanded.extend(['%', token]),
            },
            None => expanded.push('%'),
        }
    }
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::WORDS;

    struct Home(tempfile::TempDir);

    impl Home {
        fn with(config: &str) -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            home.write(".ssh/config", config);
            home
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.0.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        fn settings(&self, host: &str) -> Result<Settings, ConfigError> {
            self.settings_of(&host.parse().unwrap())
        }

        fn settings_of(&self, host: &Host) -> Result<Settings, ConfigError> {
            let environment = Environment {
                home: Some(self.0.path().into()),
                user: Some("me".into()),
                agent: Some("/agent".into()),
                system: self.0.path().join("system"),
            };
            settings(host, &environment, &WORDS)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }
    }

    #[test]
    fn without_a_configuration_the_uri_and_the_defaults_count() {
        let home = Home(tempfile::tempdir().unwrap());
        let found = home.settings("lab").unwrap();
        assert_eq!(
            (found.host.as_str(), found.port, found.user.as_str()),
            ("lab", 22, "me")
        );
        assert_eq!(found.default_identities[0], home.path(".ssh/id_ed25519"));
        assert_eq!(found.known_hosts[0], home.path(".ssh/known_hosts"));
        assert_eq!(
            (found.agent, found.identities_only),
            (Some("/agent".into()), false)
        );
    }

    #[test]
    fn an_alias_gives_what_the_uri_leaves_out_and_the_first_value_counts() {
        let home = Home::with(
            "# comment\nHost lab !other\n  HostName=lab.example.org\n  Port 2222\n  User \"admin\"\n  \
             IdentityFile ~/.ssh/%h-%r\n  IdentitiesOnly yes\n  UserKnownHostsFile ~/a \"~/b c\"\n  ConnectTimeout 7\n\
             Host *\n  User nobody\n  Port 1\n  IdentityFile /second\n",
        );
        let found = home.settings("lab").unwrap();
        assert_eq!(
            (found.host.as_str(), found.port, found.user.as_str()),
            ("lab.example.org", 2222, "admin")
        );
        assert_eq!(
            found.identities,
            [home.path(".ssh/lab.example.org-admin"), "/second".into()]
        );
        assert!(found.identities_only && found.default_identities.is_empty());
        assert_eq!(found.known_hosts[..2], [home.path("a"), home.path("b c")]);
        assert_eq!(found.connect_timeout, Some(Duration::from_secs(7)));
        let said = home
            .settings_of(&Host {
                key_file: Some("/k".into()),
                known_hosts: Some("/kh".into()),
                .."root@lab:22".parse().unwrap()
            })
            .unwrap();
        assert_eq!((said.port, said.user.as_str()), (22, "root"));
        assert_eq!(
            (said.identities, said.known_hosts),
            (vec!["/k".into()], vec!["/kh".into()])
        );
    }

    #[test]
    fn jump_hosts_come_in_their_order_with_user_and_port() {
        let home = Home::with(
            "Host lab\n ProxyJump a@one:1,ssh://two\nHost near\n ProxyJump none\nHost near lab\n ProxyCommand nc\nHost far\n ProxyCommand nc %h\n",
        );
        let jumps = home.settings("lab").unwrap().jumps;
        assert_eq!((jumps[0].user.as_deref(), jumps[0].port), (Some("a"), Some(1)));
        assert_eq!(jumps[1].host, "two");
        assert!(home.settings("near").unwrap().jumps.is_empty());
        let refused = home.settings("far");
        assert!(matches!(refused, Err(ConfigError::ProxyCommand { .. })));
    }

    #[test]
    fn files_are_included_where_their_section_applies() {
        let home = Home::with(
            "Include conf.d/*.conf\nHost elsewhere\n  Include never\nMatch host lab.real user me\n  Port 5\n\
             Match exec \"true\"\n  User wrong\n",
        );
        home.write(".ssh/conf.d/1.conf", "Host lab\n  HostName lab.real\n");
        home.write(".ssh/never", "Port 9\n");
        home.write("system/ssh_config", "IdentityAgent none\n");
        let found = home.settings("lab").unwrap();
        assert_eq!(
            (found.host.as_str(), found.port, found.user.as_str(), found.agent),
            ("lab.real", 5, "me", None)
        );
    }

    #[test]
    fn an_account_that_nobody_names_is_asked_for_in_the_words_of_who_asks() {
        let environment = Environment {
            home: None,
            user: None,
            agent: None,
            system: "/nonexistent".into(),
        };
        let error = read(&"lab".parse().unwrap(), &environment, &WORDS).unwrap_err();
        assert_eq!(error.to_string(), "no name for the account there: write NAME@lab");
    }

    #[test]
    fn files_that_include_each_other_for_ever_are_an_error() {
        let home = Home::with("Include config\n");
        let refused = home.settings("lab");
        assert!(matches!(refused, Err(ConfigError::File { .. })), "{refused:?}");
    }
}
