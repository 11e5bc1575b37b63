//! The provider block: namespace and hosts.

use std::collections::BTreeMap;

use crate::attribute::attributes;
use crate::check;
use crate::hooks::Hook;
use crate::problem::{At, Problem};
use crate::text::Span;

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
        hosts.chain(hooks).collect()
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
