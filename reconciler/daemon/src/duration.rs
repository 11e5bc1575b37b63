//! Times on the command line: `5ms`, `2s`, `1m`, and spans of them, `1ms..20ms`.

use std::time::Duration;

use labyard_driver_sim::Latency;

/// Reads a time.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let of = match unit {
        "us" => Duration::from_micros,
        "ms" => Duration::from_millis,
        "s" => Duration::from_secs,
        "m" => |minutes: u64| Duration::from_secs(minutes.saturating_mul(60)),
        _ => return Err(help(text)),
    };
    number.parse().map(of).map_err(|_| help(text))
}

/// Reads a time or a span of two.
pub(crate) fn latency(text: &str) -> Result<Latency, String> {
    match text.split_once("..") {
        None => time(text).map(Latency::constant),
        Some((least, most)) => {
            let (least, most) = (time(least)?, time(most)?);
            match least <= most {
                true => Ok(Latency { least, most }),
                false => Err(format!("{text} ends before it begins")),
            }
        }
    }
}

fn help(text: &str) -> String {
    format!("{text:?} is no time; write a number and a unit (us, ms, s, m), like 5ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit_and_without_one_refused() {
        assert_eq!(time("5ms"), Ok(Duration::from_millis(5)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "5", "ms", "-5ms", "5 ms", "5h", "99999999999999999999s"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_latency_is_one_time_or_a_span() {
        assert_eq!(latency("5ms"), Ok(Latency::constant(Duration::from_millis(5))));
        let span = Latency {
            least: Duration::from_millis(1),
            most: Duration::from_secs(1),
        };
        assert_eq!(latency("1ms..1s"), Ok(span));
        assert!(latency("2s..1s").is_err());
    }
}
