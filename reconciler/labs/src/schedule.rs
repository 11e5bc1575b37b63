//! When a pool is open: windows of the week in a time zone's own clock, or single events. Pure.
//!
//! A window opens and closes by the wall clock of its zone, whatever that clock does: where it is put forward over the
//! hour a window begins or ends in, that moment is the first one after the gap; where an hour comes twice, a window
//! begins in the first and ends in the second. So a class never loses time by the clock. Warm-up comes before it, in
//! real time.
//!
//! ```
//! use labyard_labs::schedule::{Standing, Window, standing};
//! use labyard_store::event::Moment;
//! let window = Window::weekly("Europe/Madrid", &["mon"], "08:00", "12:00").unwrap();
//! let monday = Moment(1_795_417_200_000); // 2026-11-23T07:00:00Z, 08:00 in Madrid
//! assert!(matches!(standing(&[window.clone()], monday), Standing::Open { .. }));
//! assert!(matches!(standing(&[window], Moment(monday.0 - 1)), Standing::Closed { .. }));
//! ```

use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, DateTime, Time, Weekday},
    tz::{AmbiguousOffset, TimeZone},
};
use labyard_store::event::Moment;
use serde::{Deserialize, Serialize};

/// A window as it is written down: on days of the week, or one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// The zone whose clock it goes by.
    pub timezone: String,
    /// Days of the week.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<String>,
    /// Time of day at which it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Time of day at which it closes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// First day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// Last day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// When a single event begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// How long before it opens machines are made, in milliseconds.
    #[serde(default)]
    pub warm_up_ms: i64,
    /// What becomes of claims when it closes.
    pub at_end: AtEnd,
}

impl Written {
    /// The window that is meant.
    ///
    /// # Errors
    /// Which part is not understood.
    pub fn window(&self) -> Result<Window, String> {
        let window = match (&self.from, &self.to, &self.start, &self.end) {
            (Some(from), Some(to), None, None) => {
                let days: Vec<&str> = self.days.iter().map(String::as_str).collect();
                Window::weekly(&self.timezone, &days, from, to)?
                    .between(self.not_before.as_deref(), self.not_after.as_deref())?
            }
            (None, None, Some(start), Some(end)) => Window::once(&self.timezone, start, end)?,
            _ => return Err("give days, from and to, or start and end".to_owned()),
        };
        Ok(Window {
            warm_up_ms: self.warm_up_ms,
            at_end: self.at_end,
            ..window
        })
    }
}

/// What becomes of claims when a window closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtEnd {
    /// They end with it.
    CutOff,
    /// They go on to the end of their leases.
    Soft,
}

/// A window of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    zone: TimeZone,
    when: When,
    /// How long before it opens machines are made, in milliseconds.
    pub warm_up_ms: i64,
    /// What becomes of claims when it closes.
    pub at_end: AtEnd,
}

#[derive(Clone, Debug, PartialEq)]
enum When {
    Weekly {
        days: Vec<Weekday>,
        from: Time,
        to: Time,
        not_before: Option<Date>,
        not_after: Option<Date>,
    },
    Once {
        start: DateTime,
        end: DateTime,
    },
}

/// How a pool stands in its schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is kept; when it warms up next, if it ever does.
    Closed {
        /// When.
        next: Option<Moment>,
    },
    /// Machines are made; nobody gets one yet.
    WarmingUp {
        /// When it opens.
        opens: Moment,
    },
    /// Open.
    Open {
        /// When it closes.
        closes: Moment,
        /// What becomes of claims then.
        at_end: AtEnd,
    },
}

impl Window {
    /// A window on days of the week, by the zone's wall clock; one that ends before it begins goes over midnight.
    ///
    /// # Errors
    /// Which part is not understood.
    pub fn weekly(zone: &str, days: &[&str], from: &str, to: &str) -> Result<Self, String> {
        let days: Vec<Weekday> = days.iter().map(|day| weekday(day)).collect::<Result<_, _>>()?;
        if days.is_empty() {
            return Err("name at least one day: mon, tue, wed, thu, fri, sat, sun".to_owned());
        }
        let when = When::Weekly {
            days,
            from: time(from)?,
            to: time(to)?,
            not_before: None,
            not_after: None,
        };
        Ok(Self {
            zone: zoned(zone)?,
            when,
            warm_up_ms: 0,
            at_end: AtEnd::Soft,
        })
    }

    /// One event: `2026-11-23T08:00`, by the zone's wall clock.
    ///
    /// # Errors
    /// Which part is not understood, or an end that is not after the start.
    pub fn once(zone: &str, start: &str, end: &str) -> Result<Self, String> {
        let moment = |text: &str| {
            text.parse::<DateTime>()
                .map_err(|_| format!("{text:?} is no time: write it like 2026-11-23T08:00"))
        };
        let (start, end) = (moment(start)?, moment(end)?);
        if end <= start {
            return Err(format!("it ends ({end}) before it begins ({start})"));
        }
        Ok(Self {
            zone: zoned(zone)?,
            when: When::Once { start, end },
            warm_up_ms: 0,
            at_end: AtEnd::Soft,
        })
    }

    /// Within these days, both included.
    ///
    /// # Errors
    /// Which date is not understood.
    pub fn between(mut self, first: Option<&str>, last: Option<&str>) -> Result<Self, String> {
        let date = |text: &str| {
            text.parse::<Date>()
                .map_err(|_| format!("{text:?} is no date: write it like 2026-09-01"))
        };
        let (first, last) = (first.map(date).transpose()?, last.map(date).transpose()?);
        if let When::Weekly {
            not_before,
            not_after,
            ..
        } = &mut self.when
        {
            (*not_before, *not_after) = (first, last);
        }
        Ok(self)
    }

    /// Opening and closing of those that are open, or open later, around a moment; the earliest first.
    fn spans(&self, around: Moment) -> Vec<(Moment, Moment)> {
        match &self.when {
            When::Once { start, end } => vec![(self.begin(*start), self.end(*end))],
            When::Weekly {
                days,
                from,
                to,
                not_before,
                not_after,
            } => {
                let Ok(today) = Timestamp::from_millisecond(around.0) else {
                    return Vec::new();
                };
                let today = today.to_zoned(self.zone.clone()).date();
                let first = not_before.map_or(today, |first| first.max(today));
                // From yesterday, whose window may go over midnight, to a week after the first day that counts.
                let (Ok(mut day), Ok(last)) = (first.checked_sub(1.day()), first.checked_add(8.days()))
                else {
                    return Vec::new();
                };
                let mut spans = Vec::new();
                while day <= last {
                    let counts = not_before.is_none_or(|first| day >= first)
                        && not_after.is_none_or(|last| day <= last);
                    if counts && days.contains(&day.weekday()) {
                        let until = if to > from { Some(day) } else { day.tomorrow().ok() };
                        if let Some(until) = until {
                            spans.push((
                                self.begin(day.to_datetime(*from)),
                                self.end(until.to_datetime(*to)),
                            ));
                        }
                    }
                    let Ok(next) = day.tomorrow() else { break };
                    day = next;
                }
                spans
            }
        }
    }

    fn begin(&self, at: DateTime) -> Moment {
        self.moment(at, Hour::First)
    }

    fn end(&self, at: DateTime) -> Moment {
        self.moment(at, Hour::Second)
    }

    fn moment(&self, at: DateTime, hour: Hour) -> Moment {
        let ambiguous = self.zone.to_ambiguous_timestamp(at);
        let found = match (ambiguous.offset(), hour) {
            // The hour that is left out: what is written in it comes right after it.
            (AmbiguousOffset::Gap { before, .. }, _) => {
                let inside = before.to_timestamp(at).unwrap_or(Timestamp::MAX);
                let change = self
                    .zone
                    .preceding(inside.saturating_add(1.second()).unwrap_or(inside))
                    .next();
                Ok(change.map_or(inside, |change| change.timestamp()))
            }
            (_, Hour::First) => ambiguous.earlier(),
            (_, Hour::Second) => ambiguous.later(),
        };
        Moment(found.unwrap_or(Timestamp::MAX).as_millisecond())
    }
}

/// Which of an hour that comes twice.
#[derive(Clone, Copy)]
enum Hour {
    First,
    Second,
}

/// How a pool with these windows stands: open where any is, else warming up where any is. No windows: always open.
#[must_use]
pub fn standing(windows: &[Window], now: Moment) -> Standing {
    if windows.is_empty() {
        return Standing::Open {
            closes: Moment(i64::MAX),
            at_end: AtEnd::Soft,
        };
    }
    let (mut open, mut warming, mut next) = (None, None, None);
    for window in windows {
        for (opens, closes) in window.spans(now) {
            if closes <= now || closes <= opens {
                continue;
            }
            let warms = Moment(opens.0 - window.warm_up_ms);
            if opens <= now {
                // Of several that are open the one that closes last counts, and the milder end.
                open = open.max(Some((closes, window.at_end)));
            } else if warms <= now {
                warming = Some(warming.map_or(opens, |other: Moment| other.min(opens)));
            } else {
                next = Some(next.map_or(warms, |other: Moment| other.min(warms)));
            }
        }
    }
    match (open, warming) {
        (Some((closes, at_end)), _) => Standing::Open { closes, at_end },
        (None, Some(opens)) => Standing::WarmingUp { opens },
        (None, None) => Standing::Closed { next },
    }
}

fn zoned(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| format!("{name:?} is no time zone: write it like Europe/Madrid"))
}

fn time(text: &str) -> Result<Time, String> {
    text.parse::<Time>()
        .map_err(|_| format!("{text:?} is no time of day: write it like 08:00"))
}

fn weekday(text: &str) -> Result<Weekday, String> {
    Ok(match text {
        "mon" => Weekday::Monday,
        "tue" => Weekday::Tuesday,
        "wed" => Weekday::Wednesday,
        "thu" => Weekday::Thursday,
        "fri" => Weekday::Friday,
        "sat" => Weekday::Saturday,
        "sun" => Weekday::Sunday,
        _ => return Err(format!("{text:?} is no day: mon, tue, wed, thu, fri, sat or sun")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;

    fn at(text: &str) -> Moment {
        Moment(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    fn closes(windows: &[Window], now: &str) -> Option<Moment> {
        match standing(windows, at(now)) {
            Standing::Open { closes, .. } => Some(closes),
            _ => None,
        }
    }

    #[test]
    fn a_week_opens_warms_up_and_closes_by_the_wall_clock() {
        let mut window = Window::weekly("Europe/Madrid", &["mon", "wed"], "08:00", "12:00").unwrap();
        window.warm_up_ms = 30 * MINUTE;
        let windows = [window];
        assert_eq!(
            standing(&windows, at("2026-11-23T06:29:59Z")),
            Standing::Closed {
                next: Some(at("2026-11-23T06:30:00Z"))
            }
        );
        assert_eq!(
            standing(&windows, at("2026-11-23T06:30:00Z")),
            Standing::WarmingUp {
                opens: at("2026-11-23T07:00:00Z")
            }
        );
        assert_eq!(
            closes(&windows, "2026-11-23T07:00:00Z"),
            Some(at("2026-11-23T11:00:00Z"))
        );
        assert_eq!(
            standing(&windows, at("2026-11-23T11:00:00Z")),
            Standing::Closed {
                next: Some(at("2026-11-25T06:30:00Z"))
            }
        );
        // In summer the same wall clock is another hour of UTC.
        assert_eq!(
            closes(&windows, "2026-07-06T06:00:00Z"),
            Some(at("2026-07-06T10:00:00Z"))
        );
    }

    #[test]
    fn a_term_begins_and_ends_on_its_days() {
        let window = Window::weekly("UTC", &["mon"], "08:00", "12:00").unwrap();
        let windows = [window.between(Some("2026-09-07"), Some("2026-09-14")).unwrap()];
        assert_eq!(
            standing(&windows, at("2026-08-31T09:00:00Z")),
            Standing::Closed {
                next: Some(at("2026-09-07T08:00:00Z"))
            }
        );
        assert!(closes(&windows, "2026-09-07T08:00:00Z").is_some());
        assert!(closes(&windows, "2026-09-14T11:59:59Z").is_some());
        assert_eq!(
            standing(&windows, at("2026-09-14T12:00:00Z")),
            Standing::Closed { next: None }
        );
    }

    /// In Madrid clocks go from 02:00 to 03:00 on 2027-03-28 and from 03:00 to 02:00 on 2026-10-25.
    #[test]
    fn no_class_loses_time_by_the_clock() {
        let night = |from, to| [Window::weekly("Europe/Madrid", &["sun"], from, to).unwrap()];
        let into_the_gap = night("02:30", "04:00");
        assert_eq!(closes(&into_the_gap, "2027-03-28T00:59:59Z"), None);
        assert_eq!(
            closes(&into_the_gap, "2027-03-28T01:00:00Z"),
            Some(at("2027-03-28T02:00:00Z"))
        );
        let out_of_the_gap = night("01:00", "02:30");
        assert_eq!(
            closes(&out_of_the_gap, "2027-03-28T00:00:00Z"),
            Some(at("2027-03-28T01:00:00Z"))
        );
        let twice = night("02:30", "02:45");
        assert_eq!(
            closes(&twice, "2026-10-25T00:30:00Z"),
            Some(at("2026-10-25T01:45:00Z"))
        );
        assert_eq!(closes(&twice, "2026-10-25T01:45:00Z"), None);
    }

    #[test]
    fn a_window_over_midnight_is_one_window() {
        let windows = [Window::weekly("UTC", &["fri"], "22:00", "02:00").unwrap()];
        assert_eq!(
            closes(&windows, "2026-11-28T01:59:00Z"),
            Some(at("2026-11-28T02:00:00Z"))
        );
        assert_eq!(closes(&windows, "2026-11-28T02:00:00Z"), None);
        assert_eq!(closes(&windows, "2026-11-27T01:00:00Z"), None);
    }

    #[test]
    fn one_event_and_what_is_not_understood() {
        let windows = [Window::once("America/New_York", "2026-11-23T08:00", "2026-11-24T08:00").unwrap()];
        assert_eq!(
            closes(&windows, "2026-11-23T13:00:00Z"),
            Some(at("2026-11-24T13:00:00Z"))
        );
        assert!(
            Window::once("Europe/Madird", "2026-11-23T08:00", "2026-11-24T08:00")
                .unwrap_err()
                .contains("Madird")
        );
        assert!(
            Window::weekly("UTC", &["monday"], "8", "9")
                .unwrap_err()
                .contains("monday")
        );
        assert!(
            Window::weekly("UTC", &["mon"], "8", "9")
                .unwrap_err()
                .contains("08:00")
        );
        assert!(Window::once("UTC", "2026-11-24T08:00", "2026-11-23T08:00").is_err());
    }

    #[test]
    fn of_two_open_windows_the_one_that_closes_last_counts() {
        let long = Window::weekly("UTC", &["mon"], "08:00", "14:00").unwrap();
        let mut short = Window::weekly("UTC", &["mon"], "09:00", "10:00").unwrap();
        short.at_end = AtEnd::CutOff;
        assert_eq!(
            standing(&[short, long], at("2026-11-23T09:30:00Z")),
            Standing::Open {
                closes: at("2026-11-23T14:00:00Z"),
                at_end: AtEnd::Soft
            }
        );
    }

    proptest! {
        /// What is said of the next change is true: until then nothing changes, and then something does.
        #[test]
        fn the_next_moment_that_is_told_is_the_next_that_something_changes(
            days in 0..700_i64, minutes in 0..1440_i64, from in 0..24_u8, to in 0..24_u8
        ) {
            prop_assume!(from != to);
            let (from, to) = (format!("{from:02}:30"), format!("{to:02}:30"));
            let windows = [Window::weekly("Europe/Madrid", &["sun", "tue"], &from, &to).unwrap()];
            let now = Moment(at("2026-01-01T00:00:00Z").0 + days * 24 * HOUR + minutes * MINUTE);
            let change = match standing(&windows, now) {
                Standing::Closed { next } => next.unwrap(),
                Standing::WarmingUp { opens } => opens,
                Standing::Open { closes, .. } => closes,
            };
            prop_assert!(change > now);
            let kind = |at| std::mem::discriminant(&standing(&windows, at));
            for part in 0..8 {
                let between = Moment(now.0 + (change.0 - now.0 - 1) * part / 8);
                prop_assert_eq!(kind(between), kind(now));
            }
            prop_assert_eq!(kind(Moment(change.0 - 1)), kind(now));
            prop_assert_ne!(kind(change), kind(now));
        }
    }
}
