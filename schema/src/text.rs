//! Texts with a meaning: durations as people write them, secrets that never print themselves.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::attribute::{Shape, Shaped};

/// A duration as the user wrote it: `90s`, `10m`, `1h30m`. The spelling is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub String);

impl Span {
    /// The duration, or `fallback` where the text is none (the text was checked before).
    pub fn or(this: Option<&Self>, fallback: Duration) -> Duration {
        this.and_then(|s| parse_duration(&s.0).ok()).unwrap_or(fallback)
    }
}

impl Shaped for Span {
    fn shape() -> Shape {
        Shape::Text
    }
}

/// Reads `90s`, `10m`, `1h30m`, `500ms`.
///
/// # Errors
/// A text that says what is accepted.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is no duration: write a number with a unit, like 90s, 10m or 1h30m");
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        let after = &rest[digits..];
        let unit_length = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let millis = match &after[..unit_length] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(bad()),
        };
        let part = number.checked_mul(millis).ok_or_else(bad)?;
        total = total.checked_add(Duration::from_millis(part)).ok_or_else(bad)?;
        rest = &after[unit_length..];
    }
    Ok(total)
}

/// Reads a moment as RFC 3339 writes it, `2026-09-01T08:00:00+02:00`: milliseconds since 1970.
///
/// # Errors
/// A text that says what is accepted.
pub fn parse_moment(text: &str) -> Result<i64, String> {
    let bad = || {
        format!(
            "{text:?} is no moment: write it like 2026-09-01T08:00:00Z, or with the offset of its zone, 2026-09-01T08:00:00+02:00"
        )
    };
    let moment: jiff::Timestamp = text.parse().map_err(|_| bad())?;
    Ok(moment.as_millisecond())
}

/// A secret: read from a configuration, never written anywhere; it prints and serialises as nothing.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the place where it is used.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }
}

impl Shaped for Secret {
    fn shape() -> Shape {
        Shape::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in [
            "",
            "10",
            "m",
            "1d",
            "-5s",
            "1.5h",
            "99999999999999999999s",
            "18446744073709551615h",
            "5 m",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_moment_has_the_offset_of_its_zone() {
        assert_eq!(
            parse_moment("2026-09-01T08:00:00+02:00"),
            parse_moment("2026-09-01T06:00:00Z")
        );
        for bad in ["", "2026-09-01", "2026-09-01T08:00:00", "tomorrow"] {
            assert!(parse_moment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_prints_and_serialises_as_nothing() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "(secret)");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "null");
    }
}
