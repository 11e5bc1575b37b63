//! Who has the console of a run: one at a time, for as long as he looks.

use labyard_driver::Entry;
use serde::{Deserialize, Serialize};

use crate::clock::Millis;

/// Who has not looked for so long has gone without a word.
const GONE_MS: Millis = 10_000;

/// The place at a run's console.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Desk {
    last: u64,
    held: Option<Holder>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Holder {
    number: u64,
    looked: Millis,
}

impl Desk {
    /// Somebody sits down, as who he is from now on; nobody does where another has the place and keeps it.
    pub(super) fn sit(&mut self, entry: Entry, now: Millis) -> Option<u64> {
        let is_there = |holder: Holder| now < holder.looked + GONE_MS;
        if entry == Entry::Waits && self.held.is_some_and(is_there) {
            return None;
        }
        self.last += 1;
        self.held = Some(Holder {
            number: self.last,
            looked: now,
        });
        Some(self.last)
    }

    /// Whether it is still his; if so he was seen there.
    pub(super) fn is_of(&mut self, number: u64, now: Millis) -> bool {
        match &mut self.held {
            Some(holder) if holder.number == number => {
                holder.looked = now;
                true
            }
            Some(_) | None => false,
        }
    }

    /// He leaves, if it is still his.
    pub(super) fn leave(&mut self, number: u64) {
        if self.held.is_some_and(|holder| holder.number == number) {
            self.held = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_the_place_until_he_leaves_is_gone_or_is_taken_over() {
        let mut desk = Desk::default();
        let first = desk.sit(Entry::Waits, 0).unwrap();
        assert_eq!(desk.sit(Entry::Waits, GONE_MS - 1), None);
        assert!(desk.is_of(first, GONE_MS - 1));
        assert_eq!(desk.sit(Entry::Waits, GONE_MS), None, "he has looked since");
        let second = desk.sit(Entry::TakesOver, GONE_MS).unwrap();
        assert!(!desk.is_of(first, GONE_MS));
        desk.leave(first);
        assert!(desk.is_of(second, GONE_MS), "who has lost it leaves nothing");
        desk.leave(second);
        let third = desk.sit(Entry::Waits, GONE_MS).unwrap();
        assert!(
            desk.sit(Entry::Waits, 3 * GONE_MS)
                .is_some_and(|fourth| fourth != third)
        );
    }
}
