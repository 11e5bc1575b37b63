//! The provider block: namespace and hosts.

use std::collections::BTreeMap;

use crate::attribute::attributes;
use crate::check;
use crate::hooks::Hook;
use crate::problem::{At, Problem};
use crate::text::{Secret, Span};

/// How a host may run guests.
pub const ACCELERATORS: &[&str] = &["auto", "kvm", "qemu"];

/// The namespace where none is given.
pub const DEFAULT_NAMESPACE: &str = "default";
/// The environment variable that gives the namespace.
pub const NAMESPACE_VARIABLE: &str = "LABYARD_NAMESPACE";
/// The host that is there where none is configured.
pub const DEFAULT_HOST: &str = "default";
/// Its URI.
pub const DEFAULT_URI: &str = "qemu:///system";
/// The environment variable that makes the provider read only.
pub const READ_ONLY_VARIABLE: &str = "LABYARD_READ_ONLY";
/// The environment variable that gives the store.
pub const STORE_VARIABLE: &str = "LABYARD_STORE";
/// The environment variable that gives the daemon.
pub const ENDPOINT_VARIABLE: &str = "LABYARD_ENDPOINT";
/// The environment variable that gives the token for it.
pub const TOKEN_VARIABLE: &str = "LABYARD_TOKEN";
/// The environment variables that the provider reads, with what they mean.
pub const VARIABLES: &[(&str, &str)] = &[
    (
        NAMESPACE_VARIABLE,
        "`namespace`, where the provider block has none",
    ),
    (
        READ_ONLY_VARIABLE,
        "`read_only`, where the provider block has none: `true` or `false`",
    ),
    (
        "LABYARD_JOURNAL",
        "`journal`, where the provider block has none: a directory, or `off`",
    ),
    (
        STORE_VARIABLE,
        "`store`, where the provider block has none: the place for a URL with a password",
    ),
    (ENDPOINT_VARIABLE, "`endpoint`, where the provider block has none"),
    (
        TOKEN_VARIABLE,
        "`token`, where the provider block has none: the place for it",
    ),
    (
        "LABYARD_STORE_KEY",
        "the key of the store's secrets, 32 bytes in Base64, as `openssl rand -base64 32` prints them",
    ),
    (
        "LABYARD_STORE_KEY_FILE",
        "`store_key_file`, where the provider block has none",
    ),
    (
        "SSH_AUTH_SOCK",
        "the agent that signs for hosts behind `qemu+ssh://`",
    ),
    (
        "HTTPS_PROXY, HTTP_PROXY, NO_PROXY",
        "proxies for images and hooks with a URL; name in `NO_PROXY` what is asked directly",
    ),
    (
        "TF_LOG",
        "`DEBUG` or `TRACE`: what the provider does, and every call to a host",
    ),
];

attributes! {
    /// Machines for labs, classes and test rigs, on the hypervisors people already own.
    pub struct ProviderConfig {
        /// Namespace of everything that this state owns; one a Terraform state. Also by the environment variable `LABYARD_NAMESPACE`; otherwise `default`.
        namespace: Option<String> = optional().check(check::namespace);
        /// Hosts by a name of your own. None configured: one, `default`, at `qemu:///system`.
        hosts: Option<BTreeMap<String, Host>> = optional();
        /// Whether hosts are only read: plans tell of drift, and an apply or destroy is refused before it changes anything. For drift detection in CI, with credentials that cannot write either (`?mode=ro`). Also by the environment variable `LABYARD_READ_ONLY=true`; otherwise `false`.
        read_only: Option<bool> = optional();
        /// The operator's hooks by the moment of a machine at which they are asked, `before:define` or `after:ready`: they may deny, hold, and supply host name, addresses, MACs and, at `placement`, the host. Stages of a machine that is made: `placement` (where it names no host), `record`, `addresses`, `image`, `disks`, `seed`, `define`, `start`, `ready`, `finished`; on its way out: `drain`, `stop`, `retire`, `remove_disks`, `release_addresses`, `undefine`.
        hooks: Option<BTreeMap<String, Hook>> = optional();
        /// Directory for the journal of stages, attempts, waits and hooks, or `off`. Also by the environment variable `LABYARD_JOURNAL`; otherwise `labyard/journal` in the user's state directory (`$XDG_STATE_HOME`, `~/.local/state`).
        journal: Option<String> = optional();
        /// Where pools and access codes are kept: the absolute path of an SQLite file on this computer, which is made where it is missing, or the URL of a PostgreSQL database, `postgres://user@host/database`. Also by the environment variable `LABYARD_STORE`. Machines and networks need none.
        store: Option<String> = optional();
        /// File with the key that seals the store's secrets: 32 bytes in Base64, as `openssl rand -base64 32` prints them, readable by its owner alone. Also by the environment variable `LABYARD_STORE_KEY_FILE`, or the key itself by `LABYARD_STORE_KEY`. Left out: beside an SQLite file, its path with `.key`, made with it; PostgreSQL needs one.
        store_key_file: Option<String> = optional().check(check::absolute_path);
        /// A daemon (`labyard serve`) that does everything in this provider's place, like `https://labyard.example:7443`, or `http://` on this computer: hosts, their credentials, hooks and store are in its configuration, so that none of `hosts`, `store`, `store_key_file`, `hooks` and `journal` stand beside it. Also by the environment variable `LABYARD_ENDPOINT`. Machines and pools are the same as without.
        endpoint: Option<String> = optional();
        /// Token for `endpoint`, of the role `admin`, or `viewer` under `read_only`: `labyard token create` prints one. Also by the environment variable `LABYARD_TOKEN`, which keeps it out of plans that are written to a file.
        token: Option<Secret> = optional().sensitive();
        /// File of the certificate authorities, PEM, that the daemon's certificate is believed of, besides those of the system.
        ca_file: Option<String> = optional().check(check::absolute_path);
    }

    /// One host; exactly one kind is set.
    pub struct Host {
        /// A libvirt host.
        libvirt: Option<LibvirtHost> = optional();
        /// A simulated host, kept by `labyard sim`: for trying things out without a hypervisor.
        sim: Option<SimHost> = optional();
        /// Whether it takes no new machines that name no host. Those that it has stay, and are changed as ever. Otherwise `false`.
        cordoned: Option<bool> = optional();
        /// What machines may take of it together. Machines that name no host are placed within it; others are warned of.
        capacity: Option<HostLimits> = optional();
    }

    /// What machines may take of a host together, labyard's whether they run or not, others while they run.
    pub struct HostLimits {
        /// Memory in MiB; otherwise all that the host has.
        memory_mib: Option<u64> = optional().range(16, 1_073_741_824);
        /// Virtual processors; otherwise eight for each of the host's.
        cpus: Option<u32> = optional().range(1, 1_048_576);
    }

    /// A libvirt host.
    pub struct LibvirtHost {
        /// Where it is: `qemu:///system`, `qemu:///session` or `qemu+unix:///system?socket=/path` on this machine; `qemu+ssh://[user@]host[:port]/system` by SSH (agent, key files, `~/.ssh/config`; `?keyfile=`, `?known_hosts=`, `?socket=`); `qemu+tls://host[:port]/system` by TLS with certificates (`?pkipath=`). `?mode=ro` reads only.
        uri: String = required();
        /// Storage pool for disks and images, a directory pool; otherwise `default`.
        storage_pool: Option<String> = optional();
        /// How long an image stays in its pool after the last machine that needs it is gone, like `24h`; otherwise not at all. The next apply or destroy after that removes it; where several configurations use a host, the shortest time counts.
        image_retention: Option<Span> = optional().check(check::duration);
        /// What runs guests: `auto` finds out whether KVM really works there. Otherwise `auto`.
        accelerator: Option<String> = optional().choice(ACCELERATORS);
    }

    /// A simulated host.
    pub struct SimHost {
        /// Path of the Unix socket on which `labyard sim` listens.
        socket: String = required();
    }
}

impl ProviderConfig {
    /// Rules between attributes.
    pub fn problems(&self) -> Vec<Problem> {
        let hosts = self.hosts.iter().flatten();
        let hosts = hosts.filter_map(|(name, host)| host.problem(name));
        let hooks = self.hooks.iter().flatten();
        let hooks = hooks.flat_map(|(moment, hook)| hook.problems(moment));
        hosts
            .chain(hooks)
            .chain(self.misplaced("endpoint", self.endpoint.is_some()))
            .collect()
    }

    /// What cannot stand beside a daemon, where there is one; `named` is where it was named.
    pub fn misplaced(&self, named: &str, is_named: bool) -> Vec<Problem> {
        let theirs = [
            ("hosts", self.hosts.is_some()),
            ("store", self.store.is_some()),
            ("store_key_file", self.store_key_file.is_some()),
            ("hooks", self.hooks.is_some()),
            ("journal", self.journal.is_some()),
        ];
        let theirs = theirs.into_iter().filter(|(_, is_set)| *is_set && is_named);
        theirs
            .map(|(name, _)| {
                let detail = format!(
                    "{named} names a daemon, which has {name} in its own configuration: take {name} out here, or do \
                     without the daemon."
                );
                Problem::new(vec![At::Attribute(name)], "Not beside a daemon", detail)
            })
            .collect()
    }
}

impl Host {
    fn problem(&self, name: &str) -> Option<Problem> {
        let at = vec![At::Attribute("hosts"), At::Key(name.to_owned())];
        if let Err(detail) = check::object_name(name) {
            return Some(Problem::new(at, "Bad host name", detail));
        }
        match (&self.libvirt, &self.sim) {
            (Some(_), None) | (None, Some(_)) => None,
            (None, None) => Some(Problem::new(
                at,
                "Host of no kind",
                format!(
                    "Host {name:?} needs one kind: libvirt = {{ uri = \"qemu:///system\" }} or sim = {{ socket = \"…\" }}."
                ),
            )),
            (Some(_), Some(_)) => Some(Problem::new(
                at,
                "Host of two kinds",
                format!("Host {name:?} has libvirt and sim: keep one, and give the other a name of its own."),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_daemon_has_does_not_stand_beside_its_endpoint() {
        let config = ProviderConfig {
            endpoint: Some("https://labyard.example".into()),
            store: Some("/s".into()),
            hosts: Some(BTreeMap::new()),
            ..ProviderConfig::default()
        };
        let at: Vec<_> = config.problems().into_iter().map(|problem| problem.at).collect();
        assert_eq!(at, [[At::Attribute("hosts")], [At::Attribute("store")]]);
        let alone = ProviderConfig {
            endpoint: config.endpoint,
            ..ProviderConfig::default()
        };
        assert!(alone.problems().is_empty());
    }

    #[test]
    fn a_host_has_exactly_one_kind() {
        let libvirt = Some(LibvirtHost {
            uri: DEFAULT_URI.into(),
            ..LibvirtHost::default()
        });
        let sim = Some(SimHost { socket: "/s".into() });
        for (host, fine) in [
            (
                Host {
                    libvirt: libvirt.clone(),
                    ..Host::default()
                },
                true,
            ),
            (
                Host {
                    sim: sim.clone(),
                    ..Host::default()
                },
                true,
            ),
            (
                Host {
                    libvirt,
                    sim,
                    ..Host::default()
                },
                false,
            ),
            (Host::default(), false),
        ] {
            let config = ProviderConfig {
                hosts: Some([("lab1".to_owned(), host)].into()),
                ..ProviderConfig::default()
            };
            assert_eq!(config.problems().is_empty(), fine, "{config:?}");
        }
    }
}
