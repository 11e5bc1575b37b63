//! Which address a machine gets on a network of ours. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use labyard_driver::spec::Dhcp;

/// The lowest address of the range that nobody has.
pub fn choose(range: Dhcp, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    (u32::from(range.start)..=u32::from(range.end))
        .map(Ipv4Addr::from)
        .find(|a| !taken.contains(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_address_is_chosen_until_none_is_left() {
        let range = Dhcp {
            start: Ipv4Addr::new(10, 0, 0, 2),
            end: Ipv4Addr::new(10, 0, 0, 4),
        };
        let mut taken = BTreeSet::from([Ipv4Addr::new(10, 0, 0, 3)]);
        for expected in [Some(2), Some(4), None] {
            let chosen = choose(range, &taken);
            assert_eq!(chosen.map(|a| a.octets()[3]), expected);
            taken.extend(chosen);
        }
    }
}
