//! How Terraform gets at hosts and store: in the provider's own process, or through a daemon. What a user sees of
//! resources is the same, so the same tests run by both:
//!
//! ```no_run
//! use labyard_acceptance_tests::{both_ways, kept::Kept, simulated::Simulated, way::Way};
//! both_ways!(a_pool_is_filled);
//! fn a_pool_is_filled(way: Way) {
//!     let (kept, host) = (Kept::sqlite(), Simulated::start());
//!     let lab = way.to(&kept, &host.hosts());
//!     println!("{}", lab.provider("default"));
//! }
//! ```

use crate::daemon::Daemon;
use crate::host::Host;
use crate::kept::Kept;

/// How Terraform gets at hosts and store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The provider has them.
    Embedded,
    /// A daemon has them.
    Remote,
}

/// Hosts and a store, as Terraform gets at them.
pub struct Reached<'k> {
    kept: &'k Kept,
    hosts: String,
    daemon: Option<Daemon>,
}

impl Way {
    /// To this store and `hosts`, which are written as in a provider block, on one line.
    #[track_caller]
    pub fn to<'k>(self, kept: &'k Kept, hosts: &str) -> Reached<'k> {
        let daemon = match self {
            Self::Embedded => None,
            Self::Remote => Some(Daemon::start(&kept.place(), hosts, "")),
        };
        Reached {
            kept,
            hosts: hosts.to_owned(),
            daemon,
        }
    }
}

impl Way {
    /// To a host of libvirt's, by [`crate::hcl::on`].
    #[track_caller]
    pub fn at(self, host: &Host) {
        if self == Self::Remote {
            host.serve();
        }
    }
}

impl Reached<'_> {
    /// A configuration without resources.
    pub fn provider(&self, namespace: &str) -> String {
        match &self.daemon {
            None => self.kept.provider(namespace, &self.hosts),
            Some(daemon) => daemon.provider(namespace, ""),
        }
    }

    /// The daemon, where there is one.
    pub fn daemon(&mut self) -> Option<&mut Daemon> {
        self.daemon.as_mut()
    }
}

/// The same tests by each way: `NAME(way: Way)` as `embedded::NAME` and `remote::NAME`.
#[macro_export]
macro_rules! both_ways {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[test]
            fn $name() {
                super::$name($crate::way::Way::Embedded);
            })+
        }
        mod remote {
            $(#[test]
            fn $name() {
                super::$name($crate::way::Way::Remote);
            })+
        }
    };
}
