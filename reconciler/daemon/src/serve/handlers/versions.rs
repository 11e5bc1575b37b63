//! Versions of objects: an `ETag` that is another whenever the object is asked to be something else, and what a change
//! rests on (`If-Match`, `If-None-Match`; RFC 9110, section 13).

use crate::failure::Failure;
use http::{HeaderMap, HeaderValue, header};
use labyard_api::problem::Problem;
use sha2::{Digest as _, Sha256};

/// The tag of an object, of its identity and what it is asked to be; secrets are in none of these.
pub(crate) fn tag(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let digest = digest.finalize();
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// A tag as a header.
pub(crate) fn header(tag: &str) -> Option<(http::HeaderName, HeaderValue)> {
    Some((header::ETAG, HeaderValue::from_str(tag).ok()?))
}

/// What a change rests on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rests {
    matches: Option<String>,
    none: bool,
}

impl Rests {
    /// As the headers say.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Failure> {
        let text = |name: http::HeaderName| {
            let all = headers.get_all(name).iter();
            let all: Vec<&str> = all.filter_map(|value| value.to_str().ok()).collect();
            (!all.is_empty()).then(|| all.join(","))
        };
        let none = match text(header::IF_NONE_MATCH) {
            None => false,
            Some(text) if text.trim() == "*" => true,
            Some(_) => {
                let wrong = "only * is understood: no object of that name may be there";
                return Err(super::taken::invalid().wrong("If-None-Match", wrong).into());
            }
        };
        Ok(Self {
            matches: text(header::IF_MATCH),
            none,
        })
    }

    /// Whether it rests on nothing.
    pub(crate) fn say_nothing(&self) -> bool {
        self.matches.is_none() && !self.none
    }

    /// Whether the change may be made to the object of that tag, or to none.
    pub(crate) fn allow(&self, there: Option<&str>) -> Result<(), Failure> {
        let failed = |detail: &str| {
            let problem = Problem::new(412, "other-version", "The object is not what the change rests on");
            Err(problem.detail(detail).into())
        };
        if self.none && there.is_some() {
            return failed("There is one of that name already.");
        }
        let Some(matches) = &self.matches else {
            return Ok(());
        };
        let wanted = |there: &str| {
            matches
                .split(',')
                .any(|one| matches!(one.trim(), "*") || one.trim() == there)
        };
        match there {
            Some(there) if wanted(there) => Ok(()),
            Some(_) => failed("It was changed since: read it again, and decide anew."),
            None => failed("It is not there."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rests(name: &'static str, value: &'static str) -> Rests {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        Rests::read(&headers).unwrap()
    }

    #[test]
    fn a_change_is_made_to_the_version_it_rests_on_alone() {
        let one = tag(&["pool", "1"]);
        assert_ne!(one, tag(&["poo", "l1"]));
        assert!(Rests::default().say_nothing() && !rests("if-none-match", "*").say_nothing());
        assert!(Rests::default().allow(None).is_ok() && Rests::default().allow(Some(&one)).is_ok());
        assert!(rests("if-match", "*").allow(Some(&one)).is_ok());
        assert!(rests("if-match", "*").allow(None).is_err());
        assert!(rests("if-match", "\"x\"").allow(Some(&one)).is_err());
        let listed = Rests {
            matches: Some(format!("\"x\", {one}")),
            none: false,
        };
        assert!(listed.allow(Some(&one)).is_ok());
        assert!(rests("if-none-match", "*").allow(None).is_ok());
        assert!(rests("if-none-match", "*").allow(Some(&one)).is_err());
    }
}
