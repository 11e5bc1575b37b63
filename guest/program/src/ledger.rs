//! Which exchanges are over: a file with one session a line, the last ones only.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use labyard_exchange::Session;

/// How many are remembered. Older ones could not be opened again either: their keys are gone.
const MOST: usize = 64;

/// The file.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    over: Vec<Session>,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("which exchanges are over cannot be kept in {path}: {error}")]
pub(crate) struct NoLedger {
    path: String,
    error: io::Error,
}

impl Ledger {
    /// Opens it. Lines that are no sessions are left out: half a line of a write that was cut off, say.
    pub(crate) fn open(path: PathBuf) -> Result<Self, NoLedger> {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(NoLedger::new(&path, error)),
        };
        let over = text.lines().filter_map(|line| line.parse().ok()).collect();
        Ok(Self { path, over })
    }

    /// The exchanges that are over.
    pub(crate) fn over(&self) -> impl Iterator<Item = Session> {
        self.over.iter().copied()
    }

    /// Remembers one more.
    pub(crate) fn remember(&mut self, session: Session) -> Result<(), NoLedger> {
        if self.over.contains(&session) {
            return Ok(());
        }
        self.over.push(session);
        let surplus = self.over.len().saturating_sub(MOST);
        self.over.drain(..surplus);
        self.save().map_err(|error| NoLedger::new(&self.path, error))
    }

    fn save(&self) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let aside = self.path.with_extension("new");
        let mut file = fs::File::create(&aside)?;
        for session in &self.over {
            writeln!(file, "{session}")?;
        }
        file.sync_all()?;
        fs::rename(&aside, &self.path)
    }
}

impl NoLedger {
    fn new(path: &Path, error: io::Error) -> Self {
        Self {
            path: path.display().to_string(),
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_known_after_a_restart_and_the_file_does_not_grow_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below").join("over");
        let mut ledger = Ledger::open(path.clone()).unwrap();
        for number in 0..100 {
            ledger.remember(Session::from_bytes([number; 16])).unwrap();
        }
        ledger.remember(Session::from_bytes([99; 16])).unwrap();
        fs::write(&path, fs::read_to_string(&path).unwrap() + "half a li").unwrap();
        let again: Vec<_> = Ledger::open(path).unwrap().over().collect();
        assert_eq!(again.len(), MOST);
        assert_eq!(again.first(), Some(&Session::from_bytes([36; 16])));
        assert_eq!(again.last(), Some(&Session::from_bytes([99; 16])));
    }
}
