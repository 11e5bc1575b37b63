//! The pairs, as this guest has them.

#[cfg(unix)]
mod pool_files;
#[cfg(windows)]
mod registry;

use std::io;

use labyard_exchange::{Action, Items, VmId};

#[cfg(unix)]
pub(crate) use pool_files::PoolFiles;
#[cfg(windows)]
pub(crate) use registry::Registry;

/// What is there at one moment.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// What the host wrote.
    pub(crate) host: Items,
    /// What this side wrote.
    pub(crate) own: Items,
    /// Which machine the host says this is.
    pub(crate) machine: Option<VmId>,
}

/// The pairs of a guest.
pub(crate) trait Pairs {
    /// Looks at them.
    ///
    /// # Errors
    /// If they cannot be had.
    fn look(&mut self) -> Result<Look, NoPairs>;

    /// Writes and removes pairs of this side.
    ///
    /// # Errors
    /// If they cannot be had.
    fn write(&mut self, actions: &[Action]) -> Result<(), NoPairs>;
}

/// Why the pairs cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoPairs {
    /// There are none yet.
    #[cfg(unix)]
    #[error(
        "{0} is not there: the daemon of Hyper-V's key-value pairs makes it (Debian: hyperv-daemons, Ubuntu: \
         linux-cloud-tools, Red Hat: hyperv-daemons, SUSE: hyper-v), and it has not run"
    )]
    NoDaemon(String),
    /// Somebody holds the lock and does not let go.
    #[cfg(unix)]
    #[error("{0} has been locked by another process for more than ten seconds")]
    Locked(String),
    /// Input or output failed.
    #[error("{what}: {error}")]
    Failed {
        /// Of what.
        what: String,
        /// How.
        error: io::Error,
    },
    /// A pair that does not fit.
    #[cfg(unix)]
    #[error(transparent)]
    DoesNotFit(#[from] labyard_exchange::pool::DoesNotFit),
}
