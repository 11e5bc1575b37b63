//! The journal: what every stage of every machine and network did, how often it was tried, what it waited for and how long it
//! took; one file a namespace, a JSON object a line. It is there for people and for estimates: nothing is decided by
//! it, and a journal that cannot be written or read never fails an apply.
//!
//! [`entry`] is a line, [`file`] writes and reads them, [`estimate`] says from past runs what is usual, [`stages`]
//! puts lines together to what a person asks for,
//! [`subject`] is a stage under work that writes them.

pub mod entry;
pub mod estimate;
pub mod file;
pub mod stages;
pub mod subject;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use labyard_driver::ids::Namespace;

pub use entry::{Class, Entry, What};
use estimate::History;
pub use labyard_driver::mark::Kind;

/// The environment variable that names the journal's directory, or `off`.
pub const VARIABLE: &str = "LABYARD_JOURNAL";
/// How a journal is switched off.
pub const OFF: &str = "off";

/// A journal of all namespaces.
#[derive(Clone, Debug, Default)]
pub struct Journal(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    warned: AtomicBool,
    histories: Mutex<HashMap<Namespace, Arc<History>>>,
}

impl Journal {
    /// No journal.
    pub fn off() -> Self {
        Self(None)
    }

    /// A journal in this directory, which is made when it is first written.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self(Some(Arc::new(Inner {
            directory: directory.into(),
            warned: AtomicBool::new(false),
            histories: Mutex::default(),
        })))
    }

    /// The journal that is asked for: by the configuration, else by `LABYARD_JOURNAL`, else in the user's state
    /// directory. Where there is no such directory there is no journal.
    pub fn chosen(configured: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|text| !text.is_empty());
        let asked = configured.map(str::to_owned).or_else(|| set(VARIABLE));
        match asked {
            Some(text) if text == OFF => Self::off(),
            Some(path) => Self::at(path),
            None => match (set("XDG_STATE_HOME"), set("HOME")) {
                (Some(state), _) => Self::at(Path::new(&state).join("labyard/journal")),
                (None, Some(home)) => Self::at(Path::new(&home).join(".local/state/labyard/journal")),
                (None, None) => Self::off(),
            },
        }
    }

    /// Where it is.
    pub fn directory(&self) -> Option<&Path> {
        self.0.as_ref().map(|inner| inner.directory.as_path())
    }

    /// Writes a line. What goes wrong is told once.
    pub fn write(&self, entry: &Entry) {
        let Some(inner) = &self.0 else { return };
        if let Err(error) = file::append(&inner.directory, entry)
            && !inner.warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(directory = %inner.directory.display(), %error, "the journal cannot be written");
        }
    }

    /// What a stage usually takes, from the runs before this process first asked.
    pub fn usual(&self, namespace: &Namespace, stage: &str, class: &Class) -> Option<Duration> {
        self.history(namespace)?.usual(stage, class)
    }

    fn history(&self, namespace: &Namespace) -> Option<Arc<History>> {
        let inner = self.0.as_ref()?;
        let mut histories = inner.histories.lock().unwrap_or_else(PoisonError::into_inner);
        let history = histories.entry(namespace.clone()).or_insert_with(|| {
            let entries = file::read(&inner.directory, namespace.as_str()).unwrap_or_default();
            Arc::new(History::of(&entries))
        });
        Some(history.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_the_configurations_then_the_variables_then_the_users() {
        let place = |configured, variables: &[(&str, &str)]| {
            let of = |name: &str| {
                variables
                    .iter()
                    .find(|(n, _)| *n == name)
                    .map(|(_, v)| (*v).to_owned())
            };
            let journal = Journal::chosen(configured, of);
            journal.directory().map(|path| path.display().to_string())
        };
        let all = [
            ("LABYARD_JOURNAL", "/v"),
            ("XDG_STATE_HOME", "/x"),
            ("HOME", "/h"),
        ];
        assert_eq!(place(Some("/c"), &all).as_deref(), Some("/c"));
        assert_eq!(place(None, &all).as_deref(), Some("/v"));
        assert_eq!(place(None, &all[1..]).as_deref(), Some("/x/labyard/journal"));
        assert_eq!(
            place(None, &all[2..]).as_deref(),
            Some("/h/.local/state/labyard/journal")
        );
        assert_eq!(place(None, &[]), None);
        assert_eq!(place(Some("off"), &all), None);
        assert_eq!(place(None, &[("LABYARD_JOURNAL", "off"), ("HOME", "/h")]), None);
    }

    #[test]
    fn a_journal_that_cannot_be_written_or_read_stops_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let in_the_way = directory.path().join("file");
        std::fs::write(&in_the_way, "").unwrap();
        let journal = Journal::at(in_the_way.join("journal"));
        journal.write(&Entry::sample("disks", What::Done, Some(5)));
        journal.write(&Entry::sample("disks", What::Done, Some(5)));
        assert_eq!(journal.usual(&"default".into(), "disks", &Class::default()), None);
    }
}
