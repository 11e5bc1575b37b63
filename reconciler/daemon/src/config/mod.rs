//! The configuration of `labyard serve`: one TOML file. `examples/daemon/labyard.toml` shows all of it.
//!
//! [`Config::read`] says everything that is wrong at once, each with its key and line ([`wrong`]). Hosts are those of the
//! provider block, checked by the same tables.

mod oidc;
mod wrong;

pub(crate) use oidc::{Grant, Oidc};
pub(crate) use wrong::{ConfigError, step};

use ipnet::IpNet;
use labyard_api::attributes;
use labyard_labs::quota::Quota;
use labyard_schema::{
    Attribute, Described as _,
    hooks::Hook,
    provider::{Host, ProviderConfig},
    text::parse_duration,
};
use labyard_store::Location;
use serde::{Deserialize, Deserializer, de::Error as _};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};
use wrong::{Source, Wrong};

/// Where the daemon listens where nothing is said.
pub(crate) const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7443);

/// The configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The store: an absolute path, or a URL of PostgreSQL.
    pub(crate) store: String,
    /// The file with the key that opens the store's secrets; left out: as the environment says.
    pub(crate) store_key_file: Option<PathBuf>,
    /// Where to listen. Without `tls` on this computer alone.
    #[serde(default = "default_listen")]
    pub(crate) listen: SocketAddr,
    /// The certificate of the server.
    pub(crate) tls: Option<Tls>,
    /// Networks of proxies whose `X-Forwarded-For` is believed.
    #[serde(default)]
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// How people sign in; left out: by tokens alone.
    pub(crate) oidc: Option<Oidc>,
    /// What namespaces may have, by their names; left out: as the store has it.
    pub(crate) quotas: Option<BTreeMap<String, Quota>>,
    /// What is logged: `error`, `warn`, `info`, `debug` or `trace`.
    #[serde(default)]
    pub(crate) log: Level,
    /// What anybody may take of the server.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// How the work on hosts is done.
    #[serde(default)]
    pub(crate) work: Work,
    /// Directories of this computer whose files may be named as images.
    #[serde(default)]
    pub(crate) image_directories: Vec<PathBuf>,
    /// Networks that are not everybody's from which images may be fetched.
    #[serde(default)]
    pub(crate) image_networks: Vec<IpNet>,
    /// Directories of hosts whose files may be named: as images (`host:`), kernels and initial RAM disks.
    #[serde(default)]
    pub(crate) host_directories: Vec<PathBuf>,
    /// What is taken of images that callers send; left out: nothing.
    pub(crate) uploads: Option<Uploads>,
    /// Who is asked before or after a stage of a machine, by the moment, as in the provider block.
    #[serde(default)]
    pub(crate) hooks: BTreeMap<String, Hook>,
    /// Hosts by a name of your own, as in the provider block.
    #[serde(default)]
    pub(crate) hosts: BTreeMap<String, Host>,
}

/// What is taken of images that callers send.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Uploads {
    /// Where they lie: a directory of the daemon's own.
    pub(crate) directory: PathBuf,
    /// The longest that is taken.
    #[serde(default = "largest")]
    pub(crate) largest_bytes: u64,
    /// How much there may be of them at the same time.
    #[serde(default = "at_once")]
    pub(crate) total_bytes: u64,
    /// How long one is kept after it came.
    #[serde(default = "a_day", deserialize_with = "duration")]
    pub(crate) keep: Duration,
}

fn largest() -> u64 {
    64 << 30
}

fn at_once() -> u64 {
    256 << 30
}

fn a_day() -> Duration {
    Duration::from_secs(24 * 3600)
}

/// The certificate of the server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// The file of the certificate with those that lead to an authority, PEM.
    pub(crate) certificate: PathBuf,
    /// The file of its key, PEM.
    pub(crate) key: PathBuf,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// What anybody may take of the server.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// The longest body of a request.
    pub(crate) body_bytes: usize,
    /// How long a request may take; streams of events are none.
    #[serde(deserialize_with = "duration")]
    pub(crate) request_timeout: Duration,
    /// How long a server that is told to end lets requests take.
    #[serde(deserialize_with = "duration")]
    pub(crate) shutdown_timeout: Duration,
    /// Connections at the same time.
    pub(crate) connections: usize,
    /// Connections of one address at the same time, where it is no trusted proxy, nor this computer's own.
    pub(crate) connections_per_source: usize,
    /// Attempts with a wrong code, token or secret that one address has at once.
    pub(crate) failures_per_source: u32,
    /// Attempts that fail that one code has at once.
    pub(crate) failures_per_code: u32,
    /// After how long an address or a code has one more.
    #[serde(deserialize_with = "duration")]
    pub(crate) failure_refill: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            request_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(30),
            connections: 1024,
            connections_per_source: 256,
            failures_per_source: 30,
            failures_per_code: 10,
            failure_refill: Duration::from_secs(10),
        }
    }
}

/// How the work on hosts is done.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Work {
    /// Machines of pools that are worked on at the same time on one host, by this server.
    pub(crate) per_host: NonZeroUsize,
    /// After how long of silence others take up what a server works on.
    #[serde(deserialize_with = "duration")]
    pub(crate) lease: Duration,
    /// For how long the log is kept.
    #[serde(deserialize_with = "duration")]
    pub(crate) keep_log: Duration,
    /// For how long claims and operations are kept that ended.
    #[serde(deserialize_with = "duration")]
    pub(crate) keep_ended: Duration,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            per_host: NonZeroUsize::MIN.saturating_add(3),
            lease: Duration::from_secs(60),
            keep_log: Duration::from_secs(90 * 24 * 3600),
            keep_ended: Duration::from_secs(90 * 24 * 3600),
        }
    }
}

fn default_listen() -> SocketAddr {
    DEFAULT_LISTEN
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let duration = parse_duration(&text).map_err(D::Error::custom)?;
    match duration.is_zero() {
        true => Err(D::Error::custom("it must be longer than nothing")),
        false => Ok(duration),
    }
}

/// The configuration of the daemon.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Say what is wrong with a configuration, by key and line. Exit code 1 if something is.
    Check {
        /// The configuration.
        file: PathBuf,
    },
}

/// Runs the verb.
pub(crate) fn execute(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let Verb::Check { file } = &options.verb;
    Config::read(file)?;
    println!("{}: nothing is wrong with it", file.display());
    Ok(())
}

impl Config {
    /// What a store needs that is asked in the process of who asks.
    pub(crate) fn of_store(store: &str) -> Self {
        Self {
            store: store.to_owned(),
            store_key_file: None,
            listen: DEFAULT_LISTEN,
            tls: None,
            trusted_proxies: Vec::new(),
            oidc: None,
            quotas: None,
            log: Level::default(),
            limits: Limits::default(),
            work: Work::default(),
            image_directories: Vec::new(),
            image_networks: Vec::new(),
            host_directories: Vec::new(),
            uploads: None,
            hooks: BTreeMap::new(),
            hosts: BTreeMap::new(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, by key and line.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        Self::parse(&text).map_err(|wrong| ConfigError::Wrong {
            path: path.to_owned(),
            wrong,
        })
    }

    fn parse(text: &str) -> Result<Self, Vec<Wrong>> {
        let source = Source::parse(text)?;
        let as_provider: Vec<Wrong> = ["hosts", "hooks"]
            .iter()
            .flat_map(|name| source.as_in_provider(name))
            .collect();
        if !as_provider.is_empty() {
            return Err(as_provider);
        }
        let config: Self = toml::from_str(text).map_err(|error| vec![source.said(&error)])?;
        let wrong = config.problems(&source);
        match wrong.is_empty() {
            true => Ok(config),
            false => Err(wrong),
        }
    }

    fn problems(&self, source: &Source<'_>) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        if let Err(error) = self.store.parse::<Location>() {
            wrong.push(source.at(&["store"], &error.to_string()));
        }
        if self.tls.is_none() && !self.listen.ip().is_loopback() {
            let why = format!(
                "{} can be reached from elsewhere, where tokens must not go in plain text: give [tls] certificate and \
                 key, or listen on 127.0.0.1 behind a proxy",
                self.listen
            );
            wrong.push(source.at(&["listen"], &why));
        }
        for (what, path) in self
            .tls
            .iter()
            .flat_map(|tls| [("certificate", &tls.certificate), ("key", &tls.key)])
        {
            if let Err(error) = std::fs::File::open(path) {
                wrong.push(source.at(&["tls", what], &format!("{}: {error}", path.display())));
            }
        }
        if let Some(path) = &self.store_key_file
            && let Err(error) = std::fs::File::open(path)
        {
            wrong.push(source.at(&["store_key_file"], &format!("{}: {error}", path.display())));
        }
        for name in self.quotas.iter().flat_map(BTreeMap::keys) {
            if let Err(why) = labyard_schema::check::namespace(name) {
                wrong.push(source.at(&["quotas", name], &why.to_string()));
            }
        }
        for (key, why) in self.oidc.iter().flat_map(Oidc::problems) {
            wrong.push(source.at(&["oidc", key], &why));
        }
        if let Some(uploads) = &self.uploads
            && !uploads.directory.is_dir()
        {
            let why = format!("{}: No such directory", uploads.directory.display());
            wrong.push(source.at(&["uploads", "directory"], &why));
        }
        let block = ProviderConfig {
            hosts: Some(self.hosts.clone()),
            hooks: Some(self.hooks.clone()),
            ..ProviderConfig::default()
        };
        for problem in block.problems() {
            let path: Vec<String> = problem.at.iter().map(wrong::step).collect();
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            wrong.push(source.at(&path, &problem.detail));
        }
        wrong
    }
}

/// An attribute of the provider block.
fn attribute(name: &str) -> Vec<Attribute> {
    let all = ProviderConfig::attributes();
    all.into_iter().filter(|one| one.name == name).collect()
}

impl Source<'_> {
    /// What the tables of the provider block say of a key that is one of its attributes.
    fn as_in_provider(&self, name: &str) -> Vec<Wrong> {
        let Some(value) = self.json(name) else {
            return Vec::new();
        };
        let read = attributes::read(serde_json::json!({ name: value }), &attribute(name));
        let wrong = read.err().unwrap_or_default();
        wrong
            .iter()
            .map(|wrong| {
                let path: Vec<String> = wrong
                    .at
                    .split('/')
                    .skip(1)
                    .map(|part| part.replace("~1", "/").replace("~0", "~"))
                    .collect();
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                self.at(&path, &wrong.detail)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "store = \"/var/lib/labyard/labyard.db\"\n";

    fn said(text: &str) -> Vec<String> {
        let wrong = Config::parse(text).unwrap_err();
        wrong.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_store_is_enough() {
        let config = Config::parse(LEAST).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:7443");
        assert_eq!(config.limits.request_timeout, Duration::from_secs(30));
    }

    #[test]
    fn what_is_wrong_is_named_by_key_and_line() {
        for (text, expected) in [
            (
                "store = \"/s\"\nlistn = \"1.2.3.4:1\"\n",
                "line 2: listn: unknown field",
            ),
            ("store = \"labyard.db\"\n", "line 1: store: store \"labyard.db\""),
            (
                "store = \"/s\"\nlisten = \"0.0.0.0:7443\"\n",
                "line 2: listen: 0.0.0.0:7443 can be reached",
            ),
            (
                "store = \"/s\"\n\n[limits]\nrequest_timeout = \"5\"\n",
                "line 4: limits.request_timeout: \"5\" is no duration",
            ),
            (
                "store = \"/s\"\n[hosts.lab1]\nlibvirt = { uri = \"qemu:///system\", accelerator = \"xen\" }\n",
                "line 3: hosts.lab1.libvirt.accelerator: it is none of auto, kvm, qemu",
            ),
            (
                "store = \"/s\"\n[hosts.lab1]\ncordoned = true\n",
                "line 2: hosts.lab1: Host \"lab1\" needs one kind",
            ),
            (
                "store = \"/s\"\n[hosts.lab1.libvirt]\nurl = \"x\"\n",
                "line 3: hosts.lab1.libvirt.url: there is no such attribute",
            ),
            (
                "store = \"/s\"\n[tls]\ncertificate = \"/nowhere/c\"\nkey = \"/nowhere/k\"\n",
                "line 4: tls.key: /nowhere/k: No such file",
            ),
            (
                "store = \"/s\"\n[hooks.\"before:lunch\"]\nurl = \"https://h.example\"\n",
                "line 2: hooks.before:lunch: \"before:lunch\" is no moment of a machine",
            ),
            (
                "store = \"/s\"\n[hooks.\"before:define\"]\nuri = \"https://h.example\"\n",
                "line 3: hooks.before:define.uri: there is no such attribute",
            ),
            ("listen = \"127.0.0.1:1\"\n", "store"),
            ("store = \n", "line 1: "),
        ] {
            let said = said(text);
            assert!(
                said.iter().any(|said| said.contains(expected)),
                "{expected}: {said:#?}"
            );
        }
    }

    #[test]
    fn the_example_is_right_but_for_the_files_it_names() {
        let text = include_str!("../../../../examples/daemon/labyard.toml");
        let said = said(text);
        assert!(said.iter().all(|said| said.contains("No such ")), "{said:#?}");
    }
}
