//! Moments and intervals: CIM's own form (`20261008151536.684240+000`, `00000000004500.000000:000`) inside, ISO 8601 on the wire.

use jiff::{ToSpan as _, civil};

/// A time on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clock {
    /// `2026-10-08T15:15:36.68424Z`, which stands in `cim:Datetime`.
    Moment(String),
    /// `P0DT0H45M0S`, which stands in `cim:Interval`.
    Interval(String),
}

/// A text that is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time")]
pub struct NoTime(String);

/// Whether a text is a time in CIM's own form.
pub(super) fn is_cim(text: &str) -> bool {
    to_iso(text).is_ok()
}

/// From CIM's form to the wire's: moments in UTC, fractions without trailing zeros.
///
/// # Errors
/// If it is not in CIM's form.
pub fn to_iso(text: &str) -> Result<Clock, NoTime> {
    let fail = || NoTime(text.to_owned());
    if text.len() != 25 || !text.is_ascii() || &text[14..15] != "." {
        return Err(fail());
    }
    let number = |from: usize, to: usize| {
        let digits = &text[from..to];
        let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
        plain
            .then(|| digits.parse::<u32>().ok())
            .flatten()
            .ok_or_else(fail)
    };
    let micros = number(15, 21)?;
    let outside = number(22, 25)?;
    if &text[21..22] == ":" {
        let (days, hours, minutes, seconds) =
            (number(0, 8)?, number(8, 10)?, number(10, 12)?, number(12, 14)?);
        if outside != 0 || hours > 23 || minutes > 59 || seconds > 59 {
            return Err(fail());
        }
        let fraction = fraction(micros);
        return Ok(Clock::Interval(format!(
            "P{days}DT{hours}H{minutes}M{seconds}{fraction}S"
        )));
    }
    let small = |from, to| number(from, to).and_then(|value| i8::try_from(value).map_err(|_| fail()));
    let year = i16::try_from(number(0, 4)?).map_err(|_| fail())?;
    let date = civil::Date::new(year, small(4, 6)?, small(6, 8)?).map_err(|_| fail())?;
    let time = civil::Time::new(small(8, 10)?, small(10, 12)?, small(12, 14)?, 0).map_err(|_| fail())?;
    let minutes = match &text[21..22] {
        "+" => i64::from(outside),
        "-" => -i64::from(outside),
        _ => return Err(fail()),
    };
    let utc = date
        .to_datetime(time)
        .checked_sub(minutes.minutes())
        .map_err(|_| fail())?;
    Ok(Clock::Moment(format!(
        "{}{}Z",
        utc.strftime("%Y-%m-%dT%H:%M:%S"),
        fraction(micros)
    )))
}

fn fraction(micros: u32) -> String {
    match micros {
        0 => String::new(),
        some => format!(".{some:06}").trim_end_matches('0').to_owned(),
    }
}

/// From the wire's form to CIM's: a moment with `Z` or an offset, or an interval in days and less.
///
/// # Errors
/// If it is neither.
pub fn from_iso(text: &str) -> Result<String, NoTime> {
    let text = text.trim();
    let read = if text.starts_with('P') {
        interval(text)
    } else {
        moment(text)
    };
    read.ok_or_else(|| NoTime(text.to_owned()))
}

fn moment(text: &str) -> Option<String> {
    let (local, offset) = match text.strip_suffix('Z') {
        Some(local) => (local, 0),
        None => {
            let at = text.len().checked_sub(6)?;
            let (local, offset) = (text.get(..at)?, text.get(at..)?);
            let sign = match offset.as_bytes()[0] {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let (hours, minutes) = offset[1..].split_once(':')?;
            (
                local,
                sign * (hours.parse::<i32>().ok()? * 60 + minutes.parse::<i32>().ok()?),
            )
        }
    };
    let read: civil::DateTime = local.parse().ok()?;
    local.contains('T').then_some(())?;
    let micros = read.subsec_nanosecond() / 1000;
    Some(format!(
        "{}.{micros:06}{offset:+04}",
        read.strftime("%Y%m%d%H%M%S")
    ))
}

fn interval(text: &str) -> Option<String> {
    let (days, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((days, time)) => (days, time),
        None => (text.strip_prefix('P')?, ""),
    };
    let days = match days {
        "" => 0,
        some => some.strip_suffix('D')?.parse::<u64>().ok()?,
    };
    let mut rest = time;
    let mut take = |unit: char| -> Option<String> {
        match rest.split_once(unit) {
            Some((value, after)) => {
                rest = after;
                Some(value.to_owned())
            }
            None => Some("0".to_owned()),
        }
    };
    let (hours, minutes, seconds) = (take('H')?, take('M')?, take('S')?);
    if !rest.is_empty() || days > 99_999_999 {
        return None;
    }
    let (whole, part) = seconds.split_once('.').unwrap_or((&seconds, ""));
    let micros: u32 = format!("{part:0<6}").get(..6)?.parse().ok()?;
    let all =
        hours.parse::<u64>().ok()? * 3600 + minutes.parse::<u64>().ok()? * 60 + whole.parse::<u64>().ok()?;
    let (days, all) = (days + all / 86400, all % 86400);
    Some(format!(
        "{days:08}{:02}{:02}{:02}.{micros:06}:000",
        all / 3600,
        all / 60 % 60,
        all % 60
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_go_both_ways() {
        let moment = |text: &str| Ok(Clock::Moment(text.to_owned()));
        assert_eq!(
            to_iso("20261008151536.684240+000"),
            moment("2026-10-08T15:15:36.68424Z")
        );
        assert_eq!(
            to_iso("20261008151536.000000+540"),
            moment("2026-10-08T06:15:36Z")
        );
        assert_eq!(
            to_iso("16010101000000.000000+000"),
            moment("1601-01-01T00:00:00Z")
        );
        assert_eq!(
            from_iso("2026-10-08T15:15:36.68424Z").unwrap(),
            "20261008151536.684240+000"
        );
        assert_eq!(
            from_iso("2001-01-01T01:01:01.000001-03:30").unwrap(),
            "20010101010101.000001-210"
        );
    }

    #[test]
    fn intervals_go_both_ways() {
        let of = "00000000004500.000000:000";
        assert_eq!(to_iso(of), Ok(Clock::Interval("P0DT0H45M0S".to_owned())));
        assert_eq!(from_iso("PT45M").unwrap(), of);
        assert_eq!(from_iso("P0DT0H45M0S").unwrap(), of);
        assert_eq!(from_iso("P2DT25H0M1.5S").unwrap(), "00000003010001.500000:000");
    }

    #[test]
    fn what_is_no_time_is_said_to_be_none() {
        for text in [
            "",
            "2026-10-08",
            "20261308151536.684240+000",
            "00000000994500.000000:000",
            "P1Y",
            "PT",
            "aPT1S",
        ] {
            assert!(to_iso(text).is_err(), "{text}");
        }
        for text in ["", "2026-10-08", "2026-13-08T15:15:36Z", "P1Y", "PT1", "P1.5D"] {
            assert!(from_iso(text).is_err(), "{text}");
        }
    }
}
