//! Where the key of a store's secrets comes from: said by a user, or beside the store's file, where it is made with
//! the store. It is never made beside a store that has secrets already: that one has a key, which is elsewhere.
//!
//! ```
//! use labyard_store::{Location, key::{Said, chosen}};
//! let directory = tempfile::tempdir().unwrap();
//! let location = Location::File(directory.path().join("labyard.db"));
//! let made = chosen(&location, &Said::default()).unwrap();
//! assert_eq!(chosen(&location, &Said::default()).unwrap().id(), made.id());
//! assert!(directory.path().join("labyard.db.key").exists());
//! ```

use crate::{Location, SealingKey, StoreError};
use std::path::{Path, PathBuf};

/// The environment variable that holds the key itself.
pub const VARIABLE: &str = "LABYARD_STORE_KEY";
/// The environment variable that names its file.
pub const FILE_VARIABLE: &str = "LABYARD_STORE_KEY_FILE";

/// What a user said of the key.
#[derive(Clone, Default)]
pub struct Said {
    /// The file that a configuration names.
    pub file: Option<PathBuf>,
    /// The key in the environment.
    pub text: Option<String>,
    /// The file that the environment names.
    pub file_in_environment: Option<PathBuf>,
}

impl Said {
    /// What a configuration and the environment say; what is empty says nothing.
    #[must_use]
    pub fn by(file: Option<&str>, environment: impl Fn(&str) -> Option<String>) -> Self {
        let read = |name| environment(name).filter(|text| !text.trim().is_empty());
        Self {
            file: file.map(PathBuf::from),
            text: read(VARIABLE),
            file_in_environment: read(FILE_VARIABLE).map(PathBuf::from),
        }
    }
}

/// The key of a store: of the file that a configuration names, of the environment, of the file that this names, or of
/// the file beside the store's own.
///
/// # Errors
/// If what was said cannot be used, or nothing was said where the store cannot keep its key beside it.
pub fn chosen(location: &Location, said: &Said) -> Result<SealingKey, StoreError> {
    match (&said.file, &said.text, &said.file_in_environment, location) {
        (Some(file), _, _, _) | (None, None, Some(file), _) => SealingKey::from_file(file),
        (None, Some(text), _, _) => SealingKey::from_text(text),
        (None, None, None, Location::File(store)) => beside_file(store),
        (None, None, None, Location::Postgres(_)) => Err(StoreError::Key {
            why: format!(
                "none was given, and beside a database there is no place for one. Make one (openssl rand -base64 32 \
                 >labyard.key; chmod 600 labyard.key) and name its file as store_key_file or in {FILE_VARIABLE}, or \
                 put the key into {VARIABLE}; who uses the same store needs the same key"
            ),
        }),
    }
}

/// The file of the key beside the file of a store.
#[must_use]
pub fn beside(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".key");
    PathBuf::from(name)
}

fn beside_file(store: &Path) -> Result<SealingKey, StoreError> {
    let key = beside(store);
    let has_content = std::fs::metadata(store).is_ok_and(|found| found.len() > 0);
    if has_content && !key.exists() {
        return Err(StoreError::Key {
            why: format!(
                "{} is missing, and the store {} was sealed with a key: put that file back, or name the key's file as \
                 store_key_file or in {FILE_VARIABLE}",
                key.display(),
                store.display()
            ),
        });
    }
    SealingKey::from_file_or_new(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

    fn from(variables: &[(&str, &str)]) -> Said {
        Said::by(None, |name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_database_elsewhere_needs_a_key_that_is_given() {
        let location: Location = "postgres://lab@db.example/labyard".parse().unwrap();
        let refused = chosen(&location, &from(&[])).unwrap_err().to_string();
        assert!(
            refused.contains("openssl rand") && refused.contains(VARIABLE),
            "{refused}"
        );
        let key = chosen(&location, &from(&[(VARIABLE, TEXT)])).unwrap();
        assert_eq!(key.id(), SealingKey::from_bytes([7; 32]).id());
    }

    #[test]
    fn no_key_is_made_up_for_a_store_that_was_sealed_with_another() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("labyard.db");
        std::fs::write(&store, "tables").unwrap();
        let location = Location::File(store.clone());
        let refused = chosen(&location, &Said::default()).unwrap_err().to_string();
        assert!(refused.contains("put that file back"), "{refused}");
        assert!(!beside(&store).exists());
    }

    #[test]
    fn a_configuration_goes_before_the_environment_and_emptiness_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("own.key");
        let own = SealingKey::from_file_or_new(&file).unwrap();
        let location = Location::File(directory.path().join("labyard.db"));
        let mut said = from(&[(VARIABLE, TEXT)]);
        said.file = Some(file);
        assert_eq!(chosen(&location, &said).unwrap().id(), own.id());
        let nothing = chosen(&location, &from(&[(VARIABLE, " ")])).unwrap();
        assert_ne!(nothing.id(), own.id());
    }
}
