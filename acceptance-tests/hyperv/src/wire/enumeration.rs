//! Enumerations: what was found lies here until it is fetched, page by page, or until it is too old.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

use super::config::Limits;
use super::fault::{Fault, Kind};

/// What an answer's envelope takes beside its rows.
const AROUND: usize = 1536;

/// An enumeration that is under way.
#[derive(Debug)]
pub(crate) struct Enumeration {
    /// Whose it is.
    pub(crate) user: String,
    pub(crate) namespace: String,
    /// The class that was asked for.
    pub(crate) class: String,
    /// What is left of it, written.
    pub(crate) rows: VecDeque<String>,
    until: Instant,
}

impl Enumeration {
    pub(crate) fn new(user: &str, namespace: &str, class: &str, rows: Vec<String>) -> Self {
        Self {
            user: user.to_owned(),
            namespace: namespace.to_owned(),
            class: class.to_owned(),
            rows: rows.into(),
            until: Instant::now(),
        }
    }

    /// The next rows: at most so many, and so many bytes.
    ///
    /// # Errors
    /// If not even one fits.
    pub(crate) fn page(&mut self, most: usize, bytes: usize) -> Result<String, Fault> {
        let room = bytes.saturating_sub(AROUND);
        let mut page = String::new();
        for _ in 0..most {
            match self.rows.front() {
                Some(row) if page.len() + row.len() <= room => {
                    page.push_str(row);
                    self.rows.pop_front();
                }
                Some(row) if page.is_empty() => {
                    let reason = format!(
                        "an object of {} bytes does not fit into an answer of {bytes}",
                        row.len()
                    );
                    return Err(Fault::new(Kind::EncodingLimit, reason));
                }
                _ => break,
            }
        }
        Ok(page)
    }
}

/// All that are under way.
#[derive(Debug, Default)]
pub(crate) struct Enumerations {
    all: HashMap<String, Enumeration>,
}

impl Enumerations {
    /// Puts one down until it is asked for again.
    pub(crate) fn keep(&mut self, id: String, mut enumeration: Enumeration, limits: &Limits) {
        enumeration.until = Instant::now() + limits.enumeration;
        self.all.insert(id, enumeration);
    }

    pub(crate) fn peek(&self, id: &str) -> Option<&Enumeration> {
        self.all.get(id)
    }

    /// Takes one up again.
    ///
    /// # Errors
    /// If there is none, it is another's, of another namespace, or too old.
    pub(crate) fn take(&mut self, id: &str, user: &str, namespace: &str) -> Result<Enumeration, Fault> {
        let now = Instant::now();
        self.all.retain(|_, enumeration| enumeration.until > now);
        let invalid = || {
            Fault::new(
                Kind::InvalidContext,
                "The supplied enumeration context is invalid.",
            )
        };
        let found = self.all.get(id).ok_or_else(invalid)?;
        if found.user != user || found.namespace != namespace {
            return Err(invalid());
        }
        self.all.remove(id).ok_or_else(invalid)
    }

    pub(crate) fn clear(&mut self) {
        self.all.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn of(rows: &[usize]) -> Enumeration {
        Enumeration::new(
            "op",
            "root/cimv2",
            "C",
            rows.iter().map(|length| "x".repeat(*length)).collect(),
        )
    }

    #[test]
    fn pages_end_at_their_count_and_at_their_bytes() {
        let mut rows = of(&[3000, 3000, 3000, 3000]);
        assert_eq!(rows.page(1, 100_000).unwrap().len(), 3000);
        assert_eq!(rows.page(10, 8192).unwrap().len(), 6000);
        assert_eq!(rows.page(10, 8192).unwrap().len(), 3000);
        assert_eq!(rows.page(10, 8192).unwrap().len(), 0);
        let mut large = of(&[10_000, 5]);
        assert_eq!(large.page(10, 8192).unwrap_err().kind(), Kind::EncodingLimit);
        assert_eq!(large.page(10, 20_000).unwrap().len(), 10_005, "nothing was lost");
    }

    #[tokio::test(start_paused = true)]
    async fn an_enumeration_dies_when_nobody_asks_for_it() {
        let limits = Limits::default();
        let mut all = Enumerations::default();
        all.keep("a".into(), of(&[1]), &limits);
        assert!(all.take("a", "another", "root/cimv2").is_err());
        assert!(all.take("a", "op", "root/virtualization/v2").is_err());
        tokio::time::advance(Duration::from_secs(239)).await;
        let again = all.take("a", "op", "root/cimv2").unwrap();
        all.keep("a".into(), again, &limits);
        tokio::time::advance(Duration::from_secs(241)).await;
        assert_eq!(
            all.take("a", "op", "root/cimv2").unwrap_err().kind(),
            Kind::InvalidContext
        );
    }
}
