//! Time as CIM writes it: 25 characters, of a point in time and of an interval.

use std::time::Duration;

use super::setup::Moment;

/// A point in time in UTC: `20260115120000.000000+000`.
pub(crate) fn stamp(at: Moment) -> String {
    let (days, rest) = (at.0 / 86_400_000, at.0 % 86_400_000);
    let (year, month, day) = civil(days);
    let (hours, minutes, seconds, millis) = (
        rest / 3_600_000,
        rest / 60_000 % 60,
        rest / 1000 % 60,
        rest % 1000,
    );
    format!("{year:04}{month:02}{day:02}{hours:02}{minutes:02}{seconds:02}.{millis:03}000+000")
}

/// As people read it, for the names of checkpoints.
pub(crate) fn spoken(at: Moment) -> String {
    let (days, rest) = (at.0 / 86_400_000, at.0 % 86_400_000);
    let (year, month, day) = civil(days);
    format!(
        "({month}/{day}/{year} - {}:{:02}:{:02})",
        rest / 3_600_000,
        rest / 60_000 % 60,
        rest / 1000 % 60
    )
}

/// An interval: `00000000004500.000000:000` are 45 minutes.
pub(crate) fn interval(of: Duration) -> String {
    let seconds = of.as_secs();
    format!(
        "{:08}{:02}{:02}{:02}.{:06}:000",
        seconds / 86_400,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        of.subsec_micros()
    )
}

/// Whether this is an interval in that form.
pub(crate) fn is_interval(text: &str) -> bool {
    let Some((whole, rest)) = text.split_once('.') else {
        return false;
    };
    let Some((micros, zone)) = rest.split_once(':') else {
        return false;
    };
    let digits = |text: &str, length: usize| text.len() == length && text.bytes().all(|c| c.is_ascii_digit());
    digits(whole, 14) && digits(micros, 6) && zone == "000"
}

/// The date of a day since 1970, by the era arithmetic of the proleptic Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_has_25_characters_in_utc() {
        assert_eq!(stamp(Moment(1_768_478_400_000)), "20260115120000.000000+000");
        assert_eq!(
            stamp(Moment(951_782_400_123)),
            "20000229000000.123000+000",
            "a leap day"
        );
    }

    #[test]
    fn an_interval_is_told_from_every_other_form() {
        assert_eq!(
            interval(Duration::from_secs(45 * 60)),
            "00000000004500.000000:000"
        );
        assert!(is_interval("00000000004500.000000:000"));
        assert!(!is_interval("PT45M"));
        assert!(
            !is_interval("20260115120000.000000+000"),
            "a point in time is none"
        );
        assert!(!is_interval("0000000000450x.000000:000"));
    }
}
