//! Which of the free machines a claim gets: pure. Whoever waits longer is thought to have his already, so that nobody
//! overtakes; a claim whose machines have to be on one host gets them there or not at all (invariant 3).

use super::Wants;
use crate::ids::{MemberId, PoolName};
use std::collections::{BTreeMap, BTreeSet};

/// A free machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) id: MemberId,
    pub(super) host: Option<String>,
}

/// Free machines by pool, in the order in which they are given away.
pub(super) type Free = BTreeMap<PoolName, Vec<Machine>>;

/// How many free machines of a pool have to be looked at to serve all of a queue.
pub(super) fn looks_at(queue: &[&Wants], pool: &PoolName) -> i64 {
    let placed = queue.iter().any(|wants| wants.together.contains(pool));
    let wanted = queue.iter().filter_map(|wants| wants.pools.get(pool));
    match placed {
        // Those that are needed may be anywhere.
        true => i64::from(i32::MAX),
        false => wanted.map(|count| i64::from(*count)).sum(),
    }
}

/// Machines for the next of a queue, by its pools, from what those before it have left; else the pool that has too few,
/// and it has what there is.
pub(super) fn next(wants: &Wants, free: &mut Free) -> Result<Vec<MemberId>, PoolName> {
    let host = best_host(wants, free);
    let (mut all, mut lacking) = (Vec::new(), None);
    for (pool, count) in &wants.pools {
        let got = take(free, pool, *count, on(wants, pool, host.as_deref()));
        if got.len() < *count as usize {
            lacking.get_or_insert_with(|| pool.clone());
        }
        all.extend(got);
    }
    match lacking {
        Some(pool) => Err(pool),
        None => Ok(all),
    }
}

/// Where machines of a pool are taken from.
#[derive(Clone, Copy)]
enum From<'a> {
    Anywhere,
    Host(Option<&'a str>),
}

fn on<'a>(wants: &Wants, pool: &PoolName, host: Option<&'a str>) -> From<'a> {
    match wants.together.contains(pool) {
        true => From::Host(host),
        false => From::Anywhere,
    }
}

fn take(free: &mut Free, pool: &PoolName, count: u32, from: From<'_>) -> Vec<MemberId> {
    let Some(machines) = free.get_mut(pool) else {
        return Vec::new();
    };
    let (mut taken, mut left) = (Vec::new(), Vec::new());
    for machine in machines.drain(..) {
        let fits = match from {
            From::Anywhere => true,
            From::Host(host) => host.is_some() && machine.host.as_deref() == host,
        };
        match fits && taken.len() < count as usize {
            true => taken.push(machine.id),
            false => left.push(machine),
        }
    }
    *machines = left;
    taken
}

/// The host that has the most of what has to be on one: of those that have all of it the one with the least besides, so
/// that what is whole stays whole.
fn best_host(wants: &Wants, free: &Free) -> Option<String> {
    let placed = || {
        wants
            .pools
            .iter()
            .filter(|(pool, _)| wants.together.contains(*pool))
    };
    let there = |pool: &PoolName, host: &str| {
        let machines = free.get(pool).into_iter().flatten();
        machines
            .filter(|machine| machine.host.as_deref() == Some(host))
            .count()
    };
    let hosts: BTreeSet<&str> = placed()
        .flat_map(|(pool, _)| free.get(pool).into_iter().flatten())
        .filter_map(|machine| machine.host.as_deref())
        .collect();
    let worth = |host: &&str| {
        let (mut useful, mut besides) = (0, 0);
        for (pool, count) in placed() {
            let (count, there) = (*count as usize, there(pool, host));
            useful += there.min(count);
            besides += there.saturating_sub(count);
        }
        (useful, std::cmp::Reverse(besides))
    };
    hosts.into_iter().max_by_key(worth).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::{Bind, lease::Limits};

    fn wants(count: u32, together: bool) -> Wants {
        let pool = PoolName::from("k8s");
        Wants {
            pools: [(pool.clone(), count)].into(),
            limits: Limits {
                length_ms: 1,
                max_ms: 1,
                idle_ms: None,
                pause_ms: 0,
            },
            not_after: None,
            cut_off: None,
            bind: Bind::Any,
            together: together.then_some(pool).into_iter().collect(),
            suspend: BTreeSet::new(),
            reached: None,
            network: None,
        }
    }

    fn free(hosts: &[&str]) -> Free {
        let machines = hosts.iter().enumerate().map(|(at, host)| Machine {
            id: MemberId(format!("{host}{at}")),
            host: Some((*host).to_owned()),
        });
        [("k8s".into(), machines.collect())].into()
    }

    fn got(queue: &[&Wants], hosts: &[&str]) -> Option<Vec<String>> {
        let mut free = free(hosts);
        let last = queue.iter().fold(None, |_, wants| Some(next(wants, &mut free)));
        let got = last?.ok()?;
        Some(got.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn machines_of_one_claim_are_on_one_host_or_it_gets_none() {
        let two = wants(2, true);
        assert_eq!(got(&[&two], &["a", "b", "b"]).unwrap(), ["b1", "b2"]);
        assert_eq!(got(&[&two], &["a", "b", "c"]), None);
        assert_eq!(got(&[&wants(2, false)], &["a", "b", "c"]).unwrap(), ["a0", "b1"]);
        assert_eq!(
            got(&[&two], &["a", "a", "a", "b", "b"]).unwrap(),
            ["b3", "b4"],
            "what is whole stays whole"
        );
    }

    #[test]
    fn nobody_takes_the_host_of_who_waits_longer() {
        let (two, one) = (wants(2, true), wants(1, false));
        assert_eq!(got(&[&two, &one], &["b", "a", "b"]).unwrap(), ["a1"]);
        assert_eq!(got(&[&two, &one], &["b", "b"]), None);
        // It cannot be served yet, and has what there is.
        assert_eq!(got(&[&two, &one], &["a"]), None);
    }
}
