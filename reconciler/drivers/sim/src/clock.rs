//! The simulated host's clock: milliseconds that follow tokio's time, so that a paused runtime moves guests too.

use std::time::Duration;

use tokio::time::Instant;

/// Milliseconds of the simulated host.
pub(crate) type Millis = u64;

/// A clock that starts at a given reading.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    start: Millis,
    origin: Instant,
}

impl Clock {
    pub(crate) fn starting_at(start: Millis) -> Self {
        Self {
            start,
            origin: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Millis {
        let passed = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.start.saturating_add(passed)
    }

    /// When the clock shows `reading`.
    pub(crate) fn instant_of(&self, reading: Millis) -> Instant {
        self.origin + Duration::from_millis(reading.saturating_sub(self.start))
    }
}
