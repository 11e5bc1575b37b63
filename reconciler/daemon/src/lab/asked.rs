//! What most nouns are asked with: where, for whom it is printed, and of which namespace.

use super::{Output, Where};
use std::path::{Path, PathBuf};

/// Where, for whom, and of which namespace.
#[derive(clap::Args)]
pub(super) struct Asked {
    #[command(flatten)]
    pub(super) place: Where,
    /// For whom it is printed.
    #[arg(short, long, value_enum, default_value_t, global = true)]
    output: Output,
    /// The namespace; a list without it has all.
    #[arg(long, global = true)]
    namespace: Option<String>,
}

impl Asked {
    /// How it is printed, and the namespace.
    pub(super) fn for_whom(&self) -> (Output, Option<&str>) {
        (self.output, self.namespace.as_deref())
    }
}

/// The same of what is on hosts.
#[derive(clap::Args)]
pub(super) struct OnHosts {
    #[command(flatten)]
    asked: Asked,
    /// The configuration of a daemon, where none is asked: its hosts are worked on directly.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

impl OnHosts {
    pub(super) fn for_whom(&self) -> (Output, Option<&str>) {
        self.asked.for_whom()
    }

    pub(super) fn place(&self) -> &Where {
        &self.asked.place
    }

    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }
}
