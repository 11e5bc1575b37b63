//! Pairing the elements of two sets: as many pairs as can be, so that an element which fits several does not
//! take the only partner of another.

/// For each on the left the partner on the right, if there is one. Each on the right is used once at most.
pub(super) fn pair(left: usize, right: usize, fits: impl Fn(usize, usize) -> bool) -> Vec<Option<usize>> {
    let mut pairs = Pairs {
        partner_of_right: vec![None; right],
        fits,
    };
    for from in 0..left {
        let mut visited = vec![false; right];
        pairs.place(from, &mut visited);
    }
    let mut partners = vec![None; left];
    for (to, from) in pairs.partner_of_right.into_iter().enumerate() {
        if let Some(from) = from {
            partners[from] = Some(to);
        }
    }
    partners
}

struct Pairs<F> {
    partner_of_right: Vec<Option<usize>>,
    fits: F,
}

impl<F: Fn(usize, usize) -> bool> Pairs<F> {
    /// Finds a partner, where need be by finding another one for whoever has it.
    fn place(&mut self, from: usize, visited: &mut [bool]) -> bool {
        // Equal sets are in the same order, so that the partner is nearly always opposite.
        let right = visited.len();
        for to in (from.min(right)..right).chain(0..from.min(right)) {
            if visited[to] || !(self.fits)(from, to) {
                continue;
            }
            visited[to] = true;
            let is_free = match self.partner_of_right[to] {
                None => true,
                Some(other) => self.place(other, visited),
            };
            if is_free {
                self.partner_of_right[to] = Some(from);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_fits_several_gives_way_to_whoever_fits_one() {
        let fits = |from: usize, to: usize| from == 0 || to == 0;
        assert_eq!(pair(2, 2, fits), [Some(1), Some(0)]);
    }

    #[test]
    fn whoever_fits_none_stays_alone() {
        assert_eq!(pair(3, 2, |from, to| from == to + 1), [None, Some(0), Some(1)]);
        assert_eq!(pair(2, 0, |_, _| true), [None, None]);
    }
}
