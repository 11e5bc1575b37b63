//! Where a store is: the absolute path of an SQLite file, or the URL of a PostgreSQL database.
//!
//! ```
//! use labyard_store::Location;
//! let url: Location = "postgres://lab:geheim@db.example/labyard".parse().unwrap();
//! assert_eq!(url.to_string(), "postgres://lab@db.example/labyard");
//! assert!("labyard.db".parse::<Location>().unwrap_err().to_string().contains("absolute path"));
//! ```

use crate::StoreError;
use std::{fmt, path::PathBuf, str::FromStr};

/// Where a store is. Its text never shows a password.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of SQLite.
    File(PathBuf),
    /// A database of PostgreSQL: the URL as given.
    Postgres(String),
}

impl FromStr for Location {
    type Err = StoreError;

    fn from_str(given: &str) -> Result<Self, StoreError> {
        if given.starts_with('/') {
            return Ok(Self::File(PathBuf::from(given)));
        }
        let refused = |why: &str| StoreError::Location {
            given: shown(given),
            why: why.to_owned(),
        };
        let Ok(url) = url::Url::parse(given) else {
            return Err(refused("it is no absolute path and no URL"));
        };
        match url.scheme() {
            "postgres" | "postgresql" if is_misread(given, &url) => Err(refused(
                "characters like #, @, / and ? in a password are written as %23, %40, %2F and %3F",
            )),
            "postgres" | "postgresql" => Ok(Self::Postgres(given.to_owned())),
            "sqlite" => match file_of(&url) {
                Some(path) => Ok(Self::File(path)),
                None => Err(refused(
                    "a file is written as sqlite:///var/lib/labyard/labyard.db",
                )),
            },
            scheme => Err(refused(&format!("\"{scheme}\" is no kind of store"))),
        }
    }
}

/// The path that a URL of SQLite names, without its percent signs.
fn file_of(url: &url::Url) -> Option<PathBuf> {
    let has_host = url.host_str().is_some_and(|host| !host.is_empty());
    if has_host || url.cannot_be_a_base() || url.query().is_some() || url.fragment().is_some() {
        return None;
    }
    let decoded = url::Url::parse(&format!("file://{}", url.path())).ok()?;
    decoded.to_file_path().ok()
}

/// Whether something of a password may stand where none is looked for: it is then cut at one of `/?#`.
fn is_misread(given: &str, url: &url::Url) -> bool {
    let at_later = match given.split_once("://") {
        None => true,
        Some((_, rest)) => rest
            .split_once(['/', '?', '#'])
            .is_some_and(|(_, after)| after.contains('@')),
    };
    at_later || url.fragment().is_some()
}

/// A URL without its password; of what is none, or may have one elsewhere, what kind it is.
fn shown(given: &str) -> String {
    let kind = || match given.split_once(':') {
        Some((scheme, _)) if scheme.chars().all(|letter| letter.is_ascii_alphanumeric()) => {
            format!("{scheme}:…")
        }
        _ => "…".to_owned(),
    };
    let Ok(mut url) = url::Url::parse(given) else {
        // A path without its first slash has nothing to hide.
        return match given.contains([':', '@', '=']) {
            true => kind(),
            false => given.to_owned(),
        };
    };
    if is_misread(given, &url) {
        return kind();
    }
    let _ = url.set_password(None);
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| name != "password")
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    if url.query().is_some() {
        url.set_query(None);
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
        }
    }
    url.to_string()
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Postgres(url) => f.write_str(&shown(url)),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for given in [
            "postgres://lab:geheim@db/labyard",
            "postgresql://db/labyard?user=lab&password=geheim&sslmode=require",
        ] {
            let location: Location = given.parse().unwrap();
            assert!(
                !format!("{location} {location:?}").contains("geheim"),
                "{location}"
            );
        }
        for given in [
            "mysql://lab:geheim@db/labyard",
            // No port, no URL: the password has a slash, a question mark, or a number sign in it.
            "postgres://lab:/geheim@db/labyard",
            "postgres://lab:ge/geheim@db/labyard",
            "postgres://lab:?geheim@db/labyard",
            "postgres://lab:1#geheim@db/labyard",
            "postgres://lab:1/geheim@db/labyard",
            "postgres://lab:geheim@[db/labyard",
            "host=db password=geheim",
            "postgres:lab:geheim@db",
        ] {
            let refused = given.parse::<Location>().unwrap_err();
            assert!(!refused.to_string().contains("geheim"), "{refused}");
        }
    }

    #[test]
    fn the_path_of_a_file_is_read_as_a_url_says_it() {
        let file = |given: &str| given.parse::<Location>().unwrap();
        assert_eq!(
            file("sqlite:///var/a%20b.db"),
            Location::File("/var/a b.db".into())
        );
        assert_eq!(file("/var/a%20b.db"), Location::File("/var/a%20b.db".into()));
        for given in ["sqlite://host/a.db", "sqlite:///a.db?mode=ro", "sqlite:///a.db#b"] {
            assert!(given.parse::<Location>().is_err(), "{given}");
        }
    }
}
