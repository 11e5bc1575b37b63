//! Chance from a seed: the same seed gives the same run on every computer.

use serde::{Deserialize, Serialize};

/// SplitMix64: small, and good enough for latencies and probabilities.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Evenly from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        match high.saturating_sub(low) {
            0 => low,
            u64::MAX => self.next(),
            width => low + self.next() % (width + 1),
        }
    }
}

/// One step of mixing: a hash of a number.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A hash of bytes that stays the same from run to run.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| mix(sum ^ u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_within_the_bounds() {
        let (mut one, mut two) = (Chance::new(7), Chance::new(7));
        for _ in 0..100 {
            let number = one.between(3, 9);
            assert_eq!(number, two.between(3, 9));
            assert!((3..=9).contains(&number));
        }
        assert_eq!(one.between(4, 4), 4);
        assert_eq!(one.between(4, 3), 4);
    }
}
