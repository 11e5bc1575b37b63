//! Times as they are written: lengths, moments, and the wall clock of a zone.

/// A duration.
pub fn duration(text: &str) -> Result<(), String> {
    crate::text::parse_duration(text).map(|_| ())
}

/// A moment with the offset of its zone.
pub fn moment(text: &str) -> Result<(), String> {
    crate::text::parse_moment(text).map(|_| ())
}

/// A time zone by its name.
pub fn timezone(text: &str) -> Result<(), String> {
    jiff::tz::TimeZone::get(text)
        .map(|_| ())
        .map_err(|_| format!("{text:?} is no time zone: write a name like Europe/Madrid or UTC"))
}

/// A day of the week.
pub fn weekday(text: &str) -> Result<(), String> {
    if ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].contains(&text) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no day: write mon, tue, wed, thu, fri, sat or sun"
    ))
}

/// A time of day.
pub fn time_of_day(text: &str) -> Result<(), String> {
    let well_formed = text.len() == 5 && text.parse::<jiff::civil::Time>().is_ok();
    if well_formed {
        return Ok(());
    }
    Err(format!("{text:?} is no time of day: write it like 08:00"))
}

/// A day of the calendar.
pub fn date(text: &str) -> Result<(), String> {
    let well_formed = text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok();
    if well_formed {
        return Ok(());
    }
    Err(format!("{text:?} is no date: write it like 2026-09-01"))
}

/// A moment by the clock of a zone that is said elsewhere.
pub fn wall_clock(text: &str) -> Result<(), String> {
    let well_formed = text.contains('T') && text.parse::<jiff::civil::DateTime>().is_ok();
    if well_formed {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no time: write it like 2026-11-23T08:00, without an offset"
    ))
}
