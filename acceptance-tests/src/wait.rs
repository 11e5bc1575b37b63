//! Waits for a condition, with a deadline and the last thing seen in the error.

use crate::error::{HarnessError, Result};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(100);

/// What one look at a condition gave.
#[derive(Debug)]
pub enum Look<T> {
    /// It holds.
    Holds(T),
    /// Not yet; what was seen instead.
    NotYet(String),
}

/// Looks again and again until the condition holds.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Look<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        let last = match look()? {
            Look::Holds(value) => return Ok(value),
            Look::NotYet(seen) => seen,
        };
        if begun.elapsed() >= limit {
            return Err(HarnessError::TooLate {
                what: what.to_owned(),
                limit,
                last,
            });
        }
        std::thread::sleep(PAUSE);
    }
}

/// Waits until something that can only be asked yes or no has come; panics where it does not.
#[track_caller]
pub fn comes(what: &str, limit: Duration, holds: impl Fn() -> bool) {
    until(what, limit, || {
        Ok(if holds() {
            Look::Holds(())
        } else {
            Look::NotYet("not so".into())
        })
    })
    .unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_holds_at_the_third_look_is_met() {
        let mut looks = 0;
        let met = until("three", Duration::from_secs(5), || {
            looks += 1;
            Ok(if looks == 3 {
                Look::Holds(looks)
            } else {
                Look::NotYet(looks.to_string())
            })
        });
        assert_eq!(met.unwrap(), 3);
    }

    #[test]
    fn a_condition_that_never_holds_tells_what_was_seen_last() {
        let never = until::<()>("never", Duration::ZERO, || Ok(Look::NotYet("nothing".into())));
        assert!(never.unwrap_err().to_string().contains("last seen: nothing"));
    }
}
