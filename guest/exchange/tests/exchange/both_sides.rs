//! Whole exchanges: as they should go, interrupted, on copied disks, late.

use std::time::Duration;

use crate::bus::{Bus, SENTINEL, configuration, machine, pairs};
use labyard_exchange::host::{Ended, Status, Waiting};
use labyard_exchange::{
    Action, Exchange, Illegal, Items, KEY_MAX, Outcome, Progress, Session, Stage, VALUE_MAX, VmId,
};

fn other_machine() -> VmId {
    "11111111-2222-3333-4444-555555555555".parse().unwrap()
}

#[test]
fn a_guest_gets_what_was_sealed_for_it_and_nothing_stays_behind() {
    let mut bus = Bus::new(1);
    bus.run();
    assert_eq!(bus.status(), Status::Ended(&Ended::Done));
    assert_eq!(bus.applied, [configuration()]);
    assert_eq!(bus.remembered.len(), 1);
    assert_eq!((bus.to_guest, bus.to_host), (Items::default(), Items::default()));
    assert_eq!((bus.refused_by_guest, bus.refused_by_host), (vec![], vec![]));
}

#[test]
fn every_pair_is_short_ascii_and_without_a_secret() {
    let mut bus = Bus::new(2);
    for _ in 0..10 {
        bus.step_guest();
        bus.step_host();
        for (key, text) in pairs(&bus.to_guest).into_iter().chain(pairs(&bus.to_host)) {
            assert!(key.len() <= KEY_MAX && key.is_ascii(), "{key}");
            assert!(text.len() <= VALUE_MAX && text.is_ascii(), "{key}: {text}");
            assert!(!text.contains(SENTINEL), "{key}");
        }
    }
    assert_eq!(bus.status(), Status::Ended(&Ended::Done));
}

#[test]
fn the_manifest_goes_alone_and_after_all_pieces() {
    let mut bus = Bus::new(3);
    bus.step_guest();
    let actions = bus.step_host();
    let [Action::Put(pieces), Action::Put(manifest)] = actions.as_slice() else {
        panic!("{actions:?}");
    };
    assert!(pieces.len() > 2, "{}", pieces.len());
    assert!(manifest.len() == 1 && manifest[0].key.ends_with(".manifest"));
}

#[test]
fn pieces_go_as_soon_as_they_are_taken_and_the_request_at_the_end() {
    let mut bus = Bus::new(4);
    bus.step_guest();
    bus.step_host();
    let seen = labyard_exchange::guest::Seen {
        host: &bus.to_guest,
        own: &bus.to_host,
        machine: bus.machine,
    };
    let (guest, actions) = bus.guest.take().unwrap().step(&seen, &mut bus.rng);
    bus.to_host.apply(&actions);
    let told = guest.progress(Progress {
        stage: Stage::Users,
        percent: 40,
    });
    bus.to_host.apply(&told);
    bus.step_host();
    assert_eq!(pairs(&bus.to_guest).len(), 1, "the request alone");
    let expected = Progress {
        stage: Stage::Users,
        percent: 40,
    };
    assert_eq!(bus.status(), Status::Waiting(Waiting::ForWork, Some(expected)));
}

#[test]
fn a_guest_that_fails_says_why() {
    let mut bus = Bus::new(5);
    bus.outcome = Outcome::Error;
    bus.run();
    let Status::Ended(Ended::Failed(report)) = bus.status() else {
        panic!("{:?}", bus.status());
    };
    assert_eq!(report.message, "said so");
    assert_eq!((bus.to_guest, bus.to_host), (Items::default(), Items::default()));
}

#[test]
fn a_guest_killed_at_any_step_and_started_again_finishes() {
    for kill_after in 0..6 {
        let mut bus = Bus::new(6 + kill_after);
        for step in 0..20 {
            bus.step_guest();
            if step == kill_after {
                bus.restart_guest();
            }
            bus.step_host();
        }
        assert_eq!(
            bus.status(),
            Status::Ended(&Ended::Done),
            "after step {kill_after}"
        );
        assert_eq!(bus.applied.last(), Some(&configuration()));
        assert_eq!((bus.to_guest, bus.to_host), (Items::default(), Items::default()));
    }
}

#[test]
fn a_guest_killed_while_it_works_gets_the_same_sealed_anew() {
    let mut bus = Bus::new(20);
    bus.step_guest();
    bus.step_host();
    // It takes what came, says so, and dies before it is done.
    let seen = labyard_exchange::guest::Seen {
        host: &bus.to_guest,
        own: &bus.to_host,
        machine: bus.machine,
    };
    let (_, actions) = bus.guest.take().unwrap().step(&seen, &mut bus.rng);
    bus.to_host.apply(&actions);
    bus.step_host();
    bus.restart_guest();
    bus.run();
    assert_eq!(bus.status(), Status::Ended(&Ended::Done));
    assert_eq!(bus.applied, [configuration()]);
}

#[test]
fn a_guest_that_never_comes_through_is_given_up_by_both() {
    let mut bus = Bus::new(21);
    for _ in 0..8 {
        bus.step_guest();
        bus.restart_guest();
    }
    bus.run();
    let Status::Ended(Ended::Failed(report)) = bus.status() else {
        panic!("{:?}", bus.status());
    };
    assert!(report.message.contains("8 times"), "{report:?}");
    assert_eq!(bus.applied, []);
}

#[test]
fn an_exchange_that_is_over_is_not_done_again() {
    let mut bus = Bus::new(22);
    let first = pairs(&bus.to_guest);
    bus.step_guest();
    bus.step_host();
    let recorded = bus.to_guest.clone();
    bus.run();
    assert_eq!(bus.applied.len(), 1);
    for replay in [Items::of_texts(first), recorded] {
        bus.to_guest = replay;
        bus.refused_by_guest.clear();
        bus.step_guest();
        bus.restart_guest();
        bus.step_guest();
        let session = bus.remembered[0];
        assert_eq!(
            bus.refused_by_guest,
            [Illegal::Replayed(session), Illegal::Replayed(session)]
        );
        assert_eq!((bus.applied.len(), pairs(&bus.to_host).len()), (1, 0));
    }
}

#[test]
fn what_was_sealed_before_does_not_open_for_a_guest_that_forgot() {
    let mut bus = Bus::new(23);
    bus.step_guest();
    bus.step_host();
    let recorded = bus.to_guest.clone();
    bus.run();
    // As with a disk of before the exchange: nothing is remembered.
    bus.remembered.clear();
    bus.restart_guest();
    bus.to_guest = recorded;
    bus.step_guest();
    bus.step_guest();
    assert_eq!(bus.refused_by_guest, [Illegal::WrongKey]);
    assert_eq!(bus.applied.len(), 1);
}

#[test]
fn a_copied_disk_with_everything_of_another_machine_on_it_is_harmless() {
    // The machine that was copied, in the middle of its exchange.
    let mut original = Bus::new(24);
    original.step_guest();
    original.step_host();
    original.step_guest();
    // Its copy, with pools as they were, under another id.
    let mut copy = Bus::new(25);
    let ours = pairs(&copy.to_guest);
    copy.to_guest = original.to_guest.clone();
    copy.to_host = original.to_host.clone();
    copy.machine = Some(other_machine());
    copy.step_guest();
    assert!(
        matches!(copy.refused_by_guest.as_slice(), [Illegal::OtherMachine { .. }]),
        "{:?}",
        copy.refused_by_guest
    );
    assert_eq!(copy.applied, []);
    // Our side is not misled by the result that stands there of the original, and asks.
    copy.to_host = original.to_host.clone();
    copy.ask(other_machine());
    copy.step_host();
    assert!(
        copy.refused_by_host
            .iter()
            .all(|illegal| matches!(illegal, Illegal::ForeignSession { .. }))
            && !copy.refused_by_host.is_empty(),
        "{:?}",
        copy.refused_by_host
    );
    copy.run();
    assert_eq!(copy.status(), Status::Ended(&Ended::Done));
    assert_eq!(copy.applied, [configuration()]);
    let _ = ours;
}

#[test]
fn a_copied_disk_whose_own_id_is_stale_too_waits_for_todays_request() {
    let mut original = Bus::new(26);
    original.step_guest();
    original.step_host();
    let mut copy = Bus::new(27);
    copy.to_guest = original.to_guest.clone();
    copy.to_host = original.to_host.clone();
    // The host has not refreshed what it says of the machine: everything fits together, and is old.
    copy.step_guest();
    copy.step_guest();
    assert_eq!(
        copy.applied,
        [],
        "what was sealed to the original's key does not open"
    );
    copy.machine = Some(other_machine());
    copy.ask(other_machine());
    copy.run();
    assert_eq!(copy.status(), Status::Ended(&Ended::Done));
    assert_eq!(copy.applied, [configuration()]);
}

#[test]
fn a_guest_that_does_not_know_which_machine_it_is_waits() {
    let mut bus = Bus::new(28);
    bus.machine = None;
    bus.step_guest();
    assert_eq!(bus.refused_by_guest, [Illegal::MachineUnknown]);
    assert_eq!(pairs(&bus.to_host).len(), 0);
    bus.machine = Some(machine());
    bus.run();
    assert_eq!(bus.status(), Status::Ended(&Ended::Done));
}

#[test]
fn a_request_of_another_version_is_answered_with_the_reason() {
    let mut bus = Bus::new(29);
    let (key, text) = pairs(&bus.to_guest).remove(0);
    let newer = text.replace("\"version\":1", "\"version\":2,\"compression\":\"zstd\"");
    bus.to_guest = Items::of_texts([(key, newer)]);
    bus.step_guest();
    bus.step_host();
    let Status::Ended(Ended::Failed(report)) = bus.status() else {
        panic!("{:?}", bus.status());
    };
    assert!(report.message.contains("version 2"), "{report:?}");
}

#[test]
fn pieces_of_another_session_are_said_once_and_not_used() {
    let mut other = Bus::new(30);
    other.step_guest();
    other.step_host();
    let mut bus = Bus::new(31);
    let foreign = pairs(&other.to_guest)
        .into_iter()
        .filter(|(key, _)| key.starts_with("labyard.data."));
    bus.to_guest = Items::of_texts(foreign.chain(pairs(&bus.to_guest)));
    bus.step_guest();
    assert!(
        matches!(bus.refused_by_guest.as_slice(), [Illegal::ForeignSession { .. }]),
        "{:?}",
        bus.refused_by_guest
    );
    bus.run();
    assert_eq!(bus.status(), Status::Ended(&Ended::Done));
    assert_eq!(bus.applied, [configuration()]);
}

#[test]
fn a_newer_request_takes_the_place_of_one_that_is_under_way() {
    let mut bus = Bus::new(32);
    bus.step_guest();
    bus.step_host();
    bus.ask(machine());
    bus.run();
    assert_eq!(bus.status(), Status::Ended(&Ended::Done));
    assert_eq!(bus.applied, [configuration()]);
}

#[test]
fn each_wait_has_its_deadline_and_everything_is_taken_away_after_it() {
    let late = |bus: &mut Bus, minutes| {
        bus.now += Duration::from_mins(minutes);
        bus.step_host();
        match bus.status() {
            Status::Ended(Ended::TimedOut(waiting, _)) => *waiting,
            other => panic!("{other:?}"),
        }
    };
    let mut bus = Bus::new(33);
    bus.now = Duration::from_mins(9);
    bus.step_host();
    assert_eq!(bus.status(), Status::Waiting(Waiting::ForKey, None));
    assert_eq!(late(&mut bus, 1), Waiting::ForKey);
    assert_eq!(bus.to_guest, Items::default());

    let mut bus = Bus::new(34);
    bus.step_guest();
    bus.step_host();
    assert_eq!(late(&mut bus, 2), Waiting::ForTaking);
    assert_eq!(bus.to_guest, Items::default());
}

#[test]
fn an_exchange_that_is_given_up_leaves_nothing() {
    let mut bus = Bus::new(35);
    bus.step_guest();
    bus.step_host();
    let actions = bus.host.take().unwrap().abandon();
    bus.to_guest.apply(&actions);
    assert_eq!(bus.to_guest, Items::default());
    bus.step_guest();
    assert_eq!(bus.to_host, Items::default());
}

#[test]
fn success_that_nobody_acknowledged_is_refused() {
    let mut bus = Bus::new(36);
    bus.step_guest();
    let result = pairs(&bus.to_host)
        .into_iter()
        .map(|(key, text)| {
            let head = text.split(",\"attempt\"").next().unwrap().to_owned();
            (
                key.replace("key", "result"),
                format!("{head},\"outcome\":\"ok\",\"stage\":null,\"message\":\"\"}}"),
            )
        })
        .collect::<Vec<_>>();
    bus.to_host = Items::of_texts(result);
    bus.step_host();
    assert_eq!(
        bus.status(),
        Status::Ended(&Ended::Refused(Illegal::DoneTooEarly)),
        "{:?}",
        bus.refused_by_host
    );
}

#[test]
fn a_key_that_changes_within_an_attempt_is_refused() {
    let mut bus = Bus::new(37);
    bus.step_guest();
    bus.step_host();
    let mut other = bus.to_host.clone();
    bus.to_host = Items::default();
    bus.restart_guest();
    bus.step_guest();
    std::mem::swap(&mut other, &mut bus.to_host);
    bus.to_host = other;
    bus.step_host();
    assert_eq!(
        bus.status(),
        Status::Ended(&Ended::Refused(Illegal::KeyChanged(1)))
    );
}

#[test]
fn no_two_exchanges_are_alike() {
    let mut rng = crate::bus::Chance(38);
    let one = Exchange::draw(machine(), &mut rng);
    let two = Exchange::draw(machine(), &mut rng);
    assert_ne!(one.session, two.session);
    assert_ne!(one.nonce, two.nonce);
    assert_ne!(one.session, Session::from_bytes([0; 16]));
}
