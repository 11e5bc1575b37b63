//! The clock of a claim: when it ends, and what moves that. Pure.
//!
//! A lease has a length and a latest end. `extend` moves the end, never beyond the latest. A pause stops the clock for
//! a bounded time: both ends move by what the pause took; a pause that lasts longer than it may is the end. Idle is who
//! has not been seen (by keepalive, console or an established connection) for the pool's time.
//!
//! A moment at which something ends is already over: at `ends` the claim is expired, one millisecond before it is not.
//!
//! ```
//! use labyard_labs::claim::lease::{Lease, Limits};
//! use labyard_store::event::Moment;
//! let limits = Limits { length_ms: 1_000, max_ms: 3_000, idle_ms: None, pause_ms: 500 };
//! let lease = Lease::begin(Moment(0), limits);
//! assert!(!lease.is_over(Moment(999), limits));
//! assert!(lease.is_over(Moment(1_000), limits));
//! ```

use labyard_store::event::Moment;

/// What a lease may be, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// How long it is at first.
    pub length_ms: i64,
    /// How long it may become.
    pub max_ms: i64,
    /// How long nobody may be seen; none says for ever.
    pub idle_ms: Option<i64>,
    /// How long one pause may last; 0 says that there is none.
    pub pause_ms: i64,
}

impl Limits {
    /// The same where nobody has to be seen.
    #[must_use]
    pub fn without_idle(self) -> Self {
        Self {
            idle_ms: None,
            ..self
        }
    }
}

/// A lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// When it ends.
    pub ends: Moment,
    /// When it ends at the latest.
    pub latest: Moment,
    /// Since when it stands still.
    pub paused: Option<Moment>,
    /// When somebody was seen last.
    pub seen: Moment,
}

/// Why a lease cannot be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// It is over.
    Over,
    /// It stands still.
    Paused,
    /// It runs.
    NotPaused,
    /// It ends at the latest already.
    AtItsEnd,
    /// Pauses are not allowed.
    NoPauses,
}

impl Lease {
    /// One that begins now.
    #[must_use]
    pub fn begin(now: Moment, limits: Limits) -> Self {
        let latest = Moment(now.0.saturating_add(limits.max_ms.max(limits.length_ms)));
        Self {
            ends: Moment(now.0.saturating_add(limits.length_ms)),
            latest,
            paused: None,
            seen: now,
        }
    }

    /// When it will be over if nothing happens.
    #[must_use]
    pub fn over_at(&self, limits: Limits) -> Moment {
        if let Some(since) = self.paused {
            return Moment(since.0.saturating_add(limits.pause_ms));
        }
        let idle = limits
            .idle_ms
            .map(|idle| Moment(self.seen.0.saturating_add(idle)));
        idle.map_or(self.ends, |idle| idle.min(self.ends))
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self, now: Moment, limits: Limits) -> bool {
        now >= self.over_at(limits)
    }

    /// Whether it is over for another reason than that nobody was seen.
    #[must_use]
    pub fn is_over_but_for_idle(&self, now: Moment, limits: Limits) -> bool {
        self.is_over(now, limits.without_idle())
    }

    /// Somebody was seen.
    ///
    /// # Errors
    /// If it is over or stands still.
    pub fn seen(self, now: Moment, limits: Limits) -> Result<Self, Fixed> {
        self.running(now, limits)?;
        Ok(Self {
            seen: now.max(self.seen),
            ..self
        })
    }

    /// The clock stops.
    ///
    /// # Errors
    /// If it is over, stands still already, or may not.
    pub fn pause(self, now: Moment, limits: Limits) -> Result<Self, Fixed> {
        self.running(now, limits)?;
        if limits.pause_ms == 0 {
            return Err(Fixed::NoPauses);
        }
        Ok(Self {
            paused: Some(now),
            ..self
        })
    }

    /// The clock goes on.
    ///
    /// # Errors
    /// If it is over or runs.
    pub fn resume(self, now: Moment, limits: Limits) -> Result<Self, Fixed> {
        if self.is_over(now, limits) {
            return Err(Fixed::Over);
        }
        let since = self.paused.ok_or(Fixed::NotPaused)?;
        let stood = (now.0 - since.0).max(0);
        let later = |at: Moment| Moment(at.0.saturating_add(stood));
        Ok(Self {
            ends: later(self.ends),
            latest: later(self.latest),
            paused: None,
            seen: now,
        })
    }

    /// It ends later.
    ///
    /// # Errors
    /// If it is over, stands still, or ends at the latest already.
    pub fn extend(self, by_ms: i64, now: Moment, limits: Limits) -> Result<Self, Fixed> {
        self.running(now, limits)?;
        let ends = Moment(self.ends.0.saturating_add(by_ms.max(0))).min(self.latest);
        if ends <= self.ends {
            return Err(Fixed::AtItsEnd);
        }
        Ok(Self { ends, ..self })
    }

    fn running(&self, now: Moment, limits: Limits) -> Result<(), Fixed> {
        match self.paused {
            _ if self.is_over(now, limits) => Err(Fixed::Over),
            Some(_) => Err(Fixed::Paused),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        length_ms: 100,
        max_ms: 250,
        idle_ms: Some(60),
        pause_ms: 40,
    };

    /// Invariant 5 at its boundary instants: keepalive, resume, extend.
    #[test]
    fn what_comes_at_the_very_moment_of_the_end_comes_too_late() {
        let lease = Lease::begin(Moment(0), LIMITS);
        assert_eq!(lease.over_at(LIMITS), Moment(60), "idle comes first");
        assert!(lease.seen(Moment(59), LIMITS).is_ok());
        assert_eq!(lease.seen(Moment(60), LIMITS), Err(Fixed::Over));
        let lease = lease.seen(Moment(50), LIMITS).unwrap();
        assert_eq!(lease.over_at(LIMITS), Moment(100), "then its end");
        assert_eq!(lease.extend(10, Moment(100), LIMITS), Err(Fixed::Over));
        let paused = lease.pause(Moment(99), LIMITS).unwrap();
        assert_eq!(paused.resume(Moment(139), LIMITS), Err(Fixed::Over));
        let resumed = paused.resume(Moment(138), LIMITS).unwrap();
        assert_eq!((resumed.ends, resumed.latest), (Moment(139), Moment(289)));
    }

    #[test]
    fn an_extension_ends_at_the_latest_end() {
        let lease = Lease::begin(Moment(0), LIMITS).seen(Moment(50), LIMITS).unwrap();
        let most = lease.extend(1_000, Moment(60), LIMITS).unwrap();
        assert_eq!(most.ends, Moment(250));
        assert_eq!(most.extend(1, Moment(61), LIMITS), Err(Fixed::AtItsEnd));
    }

    proptest! {
        /// Whatever is done when, the time that the clock ran is never more than the longest lease.
        #[test]
        fn no_sequence_of_calls_gives_more_than_the_longest_lease(
            steps in proptest::collection::vec((0..5_u8, 0..80_i64), 1..60)
        ) {
            let mut lease = Lease::begin(Moment(0), LIMITS);
            let (mut now, mut ran) = (0_i64, 0_i64);
            for (what, pass) in steps {
                let before = now;
                now += pass;
                if lease.is_over(Moment(now), LIMITS) {
                    ran += if lease.paused.is_none() { lease.over_at(LIMITS).0 - before } else { 0 };
                    prop_assert!(lease.resume(Moment(now), LIMITS).is_err() && lease.seen(Moment(now), LIMITS).is_err());
                    break;
                }
                ran += if lease.paused.is_none() { pass } else { 0 };
                let at = Moment(now);
                lease = match what {
                    0 => lease.seen(at, LIMITS),
                    1 => lease.pause(at, LIMITS),
                    2 => lease.resume(at, LIMITS),
                    3 => lease.extend(pass * 3, at, LIMITS),
                    _ => Err(Fixed::Over),
                }
                .unwrap_or(lease);
            }
            prop_assert!(ran <= LIMITS.max_ms, "ran {ran}");
        }
    }
}
