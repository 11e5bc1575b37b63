//! Moments and intervals, in the forms that are met: ISO 8601 in rows, the 25 characters of CIM in embedded instances
//! (DSP0004 5.2.4).

use std::time::Duration;

use jiff::Timestamp;

/// A time of day of a host, as CIM tells it.
///
/// ```
/// # use wsman::Moment;
/// let moment: Moment = "2026-10-08T15:15:36.68424Z".parse().unwrap();
/// assert_eq!(moment.to_cim(), "20261008151536.684240+000");
/// // What never happened.
/// assert!("1601-01-01T00:00:00Z".parse::<Moment>().unwrap().is_never());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub Timestamp);

/// A length of time, as CIM tells it: to the microsecond, below 100 million days.
///
/// ```
/// # use wsman::Interval;
/// let interval: Interval = "P0DT0H45M0S".parse().unwrap();
/// assert_eq!(interval.to_cim(), "00000000004500.000000:000");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(pub Duration);

/// Text that is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no {1}")]
pub struct NoTime(String, &'static str);

/// Seconds from 1601-01-01, where Windows begins to count, to 1970-01-01.
const NEVER: i64 = -11_644_473_600;

impl Moment {
    /// Whether it stands for "never happened".
    pub fn is_never(self) -> bool {
        self.0.as_second() == NEVER
    }

    /// As it stands in an embedded instance: `yyyymmddHHMMSS.mmmmmm+UUU`, in UTC.
    pub fn to_cim(self) -> String {
        self.0.strftime("%Y%m%d%H%M%S.%6f+000").to_string()
    }
}

impl Interval {
    /// As it stands in an embedded instance: `ddddddddHHMMSS.mmmmmm:000`. An ISO duration there is refused by Hyper-V.
    pub fn to_cim(self) -> String {
        let seconds = self.0.as_secs();
        format!(
            "{:08}{:02}{:02}{:02}.{:06}:000",
            seconds / 86_400,
            seconds / 3600 % 24,
            seconds / 60 % 60,
            seconds % 60,
            self.0.subsec_micros()
        )
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for Moment {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Self, NoTime> {
        let text = text.trim();
        let read = match text.len() {
            25 if text.as_bytes()[14] == b'.' => cim_moment(text),
            // Without an offset it is the host's own time, which nobody can place: taken for UTC, as Windows writes it.
            _ => text.parse().or_else(|_| format!("{text}Z").parse()).ok(),
        };
        read.map(Self).ok_or_else(|| NoTime(text.to_owned(), "moment"))
    }
}

/// `yyyymmddHHMMSS.mmmmmmsUUU`, the offset in minutes.
fn cim_moment(text: &str) -> Option<Timestamp> {
    if !text.is_ascii() {
        return None;
    }
    let digits = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let date = jiff::civil::DateTime::new(
        digits(0, 4)?.try_into().ok()?,
        digits(4, 6)?.try_into().ok()?,
        digits(6, 8)?.try_into().ok()?,
        digits(8, 10)?.try_into().ok()?,
        digits(10, 12)?.try_into().ok()?,
        digits(12, 14)?.try_into().ok()?,
        (digits(15, 21)? * 1000).try_into().ok()?,
    );
    let east = match text.as_bytes()[21] {
        b'+' => digits(22, 25)?,
        b'-' => -digits(22, 25)?,
        _ => return None,
    };
    let offset = jiff::tz::Offset::from_seconds(i32::try_from(east * 60).ok()?).ok()?;
    offset.to_timestamp(date.ok()?).ok()
}

impl std::str::FromStr for Interval {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Self, NoTime> {
        let text = text.trim();
        let read = match text.strip_prefix('P') {
            Some(iso) => iso_interval(iso),
            None => cim_interval(text),
        };
        read.map(Self).ok_or_else(|| NoTime(text.to_owned(), "interval"))
    }
}

fn cim_interval(text: &str) -> Option<Duration> {
    if text.len() != 25 || !text.is_ascii() || &text[14..15] != "." || &text[21..] != ":000" {
        return None;
    }
    let digits = |from: usize, to: usize| -> Option<u64> {
        let part = &text[from..to];
        part.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| part.parse().ok())?
    };
    let minutes = (digits(0, 8)? * 24 + digits(8, 10)?) * 60 + digits(10, 12)?;
    let seconds = minutes * 60 + digits(12, 14)?;
    Some(Duration::from_secs(seconds) + Duration::from_micros(digits(15, 21)?))
}

/// Days, hours, minutes and seconds; years and months have no length.
fn iso_interval(text: &str) -> Option<Duration> {
    let (days, time) = text.split_once('T').unwrap_or((text, ""));
    let mut total = Duration::ZERO;
    let mut found = 0;
    for (part, units) in [
        (days, &[('D', 86_400)][..]),
        (time, &[('H', 3600), ('M', 60), ('S', 1)]),
    ] {
        let mut rest = part;
        for (letter, seconds) in units {
            let Some((number, after)) = rest.split_once(*letter) else {
                continue;
            };
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            let whole: u64 = whole.parse().ok()?;
            total = total.checked_add(Duration::from_secs(whole.checked_mul(*seconds)?))?;
            if !fraction.is_empty() {
                if *letter != 'S' || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                let nanos: String = fraction.chars().chain("000000000".chars()).take(9).collect();
                total = total.checked_add(Duration::from_nanos(nanos.parse().ok()?))?;
            }
            rest = after;
            found += 1;
        }
        if !rest.is_empty() {
            return None;
        }
    }
    (found > 0).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_are_read_in_all_their_forms() {
        let moment: Moment = "2001-01-01T01:01:01.000001+13:50".parse().unwrap();
        assert_eq!(moment.to_string(), "2000-12-31T11:11:01.000001Z");
        assert_eq!("20010101010101.000001+830".parse(), Ok(moment));
        assert_eq!("2000-12-31T11:11:01.000001".parse(), Ok(moment));
        assert_eq!(moment.to_cim().parse(), Ok(moment));
    }

    #[test]
    fn intervals_are_read_in_all_their_forms() {
        for (text, seconds) in [
            ("P0DT0H30M0S", 1800.0),
            ("P2000D", 172_800_000.0),
            ("PT1.5S", 1.5),
            ("00000001000001.500000:000", 86_401.5),
        ] {
            let interval: Interval = text.parse().unwrap();
            assert!((interval.0.as_secs_f64() - seconds).abs() < 1e-9, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "P",
            "PT",
            "P1Y",
            "PT1M2",
            "P1.5D",
            "now",
            "0000000000450a.000000:000",
            "PT99999999999999999999S",
        ] {
            assert!(text.parse::<Interval>().is_err(), "{text}");
        }
        for text in [
            "",
            "now",
            "20011301010101.000001+000",
            "20010101010101.000001*000",
        ] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_interval_is_read_back(micros in 0..8_640_000_000_000_000_000_u64) {
            let interval = Interval(Duration::from_micros(micros));
            prop_assert_eq!(interval.to_cim().parse(), Ok(interval));
        }

        #[test]
        fn no_text_ends_the_program(text in "(?s).{0,40}") {
            let _ = (text.parse::<Moment>(), text.parse::<Interval>());
        }
    }
}
