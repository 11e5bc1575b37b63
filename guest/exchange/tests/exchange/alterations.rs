//! What comes through is what was sent, or nothing: single changes by property, many at random for a bounded time.

use std::time::{Duration, Instant};

use crate::bus::{Bus, Chance, SENTINEL, configuration, pairs};
use labyard_exchange::host::{Ended, Status};
use labyard_exchange::pool::Pool;
use labyard_exchange::{Action, Configuration, Items};
use proptest::prelude::*;

/// A change of one pair.
#[derive(Clone, Debug)]
enum Change {
    Remove,
    Value { at: usize, to: u8 },
    Name { at: usize, to: u8 },
    Cut(usize),
    Append(u8),
    Raw(Vec<u8>),
    CopyUnder(usize),
    Double,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::Remove),
        Just(Change::Double),
        (any::<usize>(), 0x20_u8..0x7f).prop_map(|(at, to)| Change::Value { at, to }),
        (any::<usize>(), 0x20_u8..0x7f).prop_map(|(at, to)| Change::Name { at, to }),
        any::<usize>().prop_map(Change::Cut),
        any::<u8>().prop_map(Change::Append),
        any::<Vec<u8>>().prop_map(Change::Raw),
        any::<usize>().prop_map(Change::CopyUnder),
    ]
}

type Bytes = (Vec<u8>, Vec<u8>);

fn bytes(items: &Items) -> Vec<Bytes> {
    pairs(items)
        .into_iter()
        .map(|(key, text)| (key.into_bytes(), text.into_bytes()))
        .collect()
}

fn items(pairs: &[Bytes]) -> Items {
    Items::of_bytes(
        pairs
            .iter()
            .map(|(key, value)| (key.as_slice(), value.as_slice())),
    )
}

/// The pairs with one of them changed; nothing where the change changes nothing.
fn changed(before: &[Bytes], which: usize, change: &Change) -> Option<Vec<Bytes>> {
    if before.is_empty() {
        return None;
    }
    let mut after = before.to_vec();
    let which = which % after.len();
    let replace = |text: &mut Vec<u8>, at: usize, to: u8| {
        let at = at % text.len();
        text[at] = to;
    };
    match change {
        Change::Remove => drop(after.remove(which)),
        Change::Double => after.push(after[which].clone()),
        Change::Value { at, to } => replace(&mut after[which].1, *at, *to),
        Change::Name { at, to } => replace(&mut after[which].0, *at, *to),
        Change::Cut(at) => {
            let at = at % after[which].1.len();
            after[which].1.truncate(at);
        }
        Change::Append(byte) => after[which].1.push(*byte),
        Change::Raw(raw) => after[which].1.clone_from(raw),
        Change::CopyUnder(other) => {
            let value = after[other % before.len()].1.clone();
            after[which].1 = value;
        }
    }
    (after != before).then_some(after)
}

/// Runs on with what the host wrote changed. What comes of it may only be nothing.
fn nothing_comes_of(bus: &mut Bus, changed: &[Bytes]) {
    bus.to_guest = items(changed);
    bus.step_guest();
    bus.step_guest();
    assert_eq!(bus.applied, [], "something was taken");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_request_with_any_single_change_leads_to_nothing(seed: u64, change in change(), which: usize) {
        let mut bus = Bus::new(seed);
        let before = bytes(&bus.to_guest);
        prop_assume!(changed(&before, which, &change).is_some());
        let after = changed(&before, which, &change).unwrap();
        bus.to_guest = items(&after);
        bus.step_guest();
        bus.step_host();
        bus.step_guest();
        // Even a changed session or nonce, which a guest cannot know to be wrong, does not get an answer of ours.
        prop_assert_eq!(&bus.applied, &[]);
        prop_assert!(!matches!(bus.status(), Status::Ended(Ended::Done)));
    }

    #[test]
    fn what_was_sealed_with_any_single_change_is_not_taken(seed: u64, change in change(), which: usize) {
        let mut bus = Bus::new(seed);
        bus.step_guest();
        bus.step_host();
        let before = bytes(&bus.to_guest);
        prop_assume!(changed(&before, which, &change).is_some());
        let after = changed(&before, which, &change).unwrap();
        nothing_comes_of(&mut bus, &after);
    }

    #[test]
    fn a_key_with_any_single_change_leads_to_nothing(seed: u64, change in change()) {
        let mut bus = Bus::new(seed);
        bus.step_guest();
        let before = bytes(&bus.to_host);
        prop_assume!(changed(&before, 0, &change).is_some());
        // The guest goes on believing that what it wrote is there.
        let own = bus.to_host.clone();
        bus.to_host = items(&changed(&before, 0, &change).unwrap());
        bus.step_host();
        bus.to_host = own;
        bus.step_guest();
        prop_assert_eq!(&bus.applied, &[]);
        prop_assert!(!matches!(bus.status(), Status::Ended(Ended::Done)));
    }

    #[test]
    fn an_acknowledgement_with_any_single_change_is_not_success(seed: u64, change in change()) {
        let mut bus = Bus::new(seed);
        bus.step_guest();
        bus.step_host();
        bus.step_guest();
        let before = bytes(&bus.to_host);
        let which = before.iter().position(|(key, _)| key == b"labyard.ack").unwrap();
        prop_assume!(changed(&before, which, &change).is_some());
        bus.to_host = items(&changed(&before, which, &change).unwrap());
        bus.step_host();
        prop_assert!(!matches!(bus.status(), Status::Ended(Ended::Done)), "{:?}", bus.status());
    }

    #[test]
    fn a_configuration_of_any_texts_comes_back_as_it_went(hostname: String, password: String, user: String) {
        let mut there = Configuration::named(hostname);
        there.admin_username = Some(user);
        there.admin_password = Some(labyard_exchange::Secret::new(password));
        let text = there.to_json().unwrap();
        prop_assert_eq!(Configuration::from_json(&text), Ok(there));
    }

    #[test]
    fn a_pool_is_read_whatever_it_holds(content in proptest::collection::vec(any::<u8>(), 0..6000)) {
        let pool = Pool::read(&content);
        let again = Pool::read(&pool.write());
        prop_assert_eq!(again.items(), pool.items());
        prop_assert_eq!(again.torn(), 0);
    }
}

/// How long the test below goes on.
const TIME: Duration = Duration::from_secs(8);

#[test]
fn whatever_stands_in_the_pairs_nothing_panics_and_nothing_wrong_is_taken() {
    let seed = match std::env::var("LABYARD_SEED").ok().as_deref() {
        None => 20_261,
        Some("new") => u64::from(std::process::id()) ^ 0x5eed_0000,
        Some(number) => number.parse().expect("LABYARD_SEED is a number or \"new\""),
    };
    println!("CASES for {TIME:?}, LABYARD_SEED={seed}");
    let mut chance = Chance(seed);
    let began = Instant::now();
    let (mut cases, mut done) = (0_u64, 0_u64);
    while began.elapsed() < TIME {
        done += u64::from(one_case(&mut chance));
        cases += 1;
    }
    println!("{cases} cases, {done} of them came through all the same");
    assert!(cases > 20, "{cases} cases are too few to say anything");
    assert!(done < cases, "nothing was disturbed");
}

/// Both sides, with things that happen in between. Says whether the exchange came through.
fn one_case(chance: &mut Chance) -> bool {
    let mut bus = Bus::new(chance.next());
    let mut history: Vec<Items> = Vec::new();
    for _ in 0..chance.below(12) + 4 {
        match chance.below(5) {
            0 => bus.to_guest = disturbed(chance, &bus.to_guest, &history),
            1 => bus.to_host = disturbed(chance, &bus.to_host, &history),
            2 => bus.restart_guest(),
            3 => bus.now += Duration::from_secs(chance.next() % 200),
            _ => {}
        }
        history.push(bus.to_guest.clone());
        history.push(bus.to_host.clone());
        for action in bus.step_guest().into_iter().chain(bus.step_host()) {
            if let Action::Put(items) = action {
                assert!(items.iter().all(|item| !item.text.contains(SENTINEL)));
            }
        }
    }
    assert!(bus.applied.iter().all(|applied| *applied == configuration()));
    matches!(bus.status(), Status::Ended(Ended::Done))
}

fn disturbed(chance: &mut Chance, items_before: &Items, history: &[Items]) -> Items {
    if chance.below(3) == 0 && !history.is_empty() {
        return history[chance.below(history.len())].clone();
    }
    let before = bytes(items_before);
    let kind = match chance.below(8) {
        0 => Change::Remove,
        1 => Change::Double,
        2 => Change::Cut(chance.below(1000)),
        3 => Change::Append(chance.next() as u8),
        4 => Change::Raw((0..chance.below(2000)).map(|_| chance.next() as u8).collect()),
        5 => Change::CopyUnder(chance.below(100)),
        6 => Change::Name {
            at: chance.below(100),
            to: chance.next() as u8,
        },
        _ => Change::Value {
            at: chance.below(1000),
            to: chance.next() as u8,
        },
    };
    let which = chance.below(100);
    changed(&before, which, &kind).map_or_else(|| items_before.clone(), |after| items(&after))
}
