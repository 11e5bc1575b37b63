//! Machines that are reached from the claimer's address alone: opened when a code is redeemed, closed when they are given
//! back, and put right when somebody else changes that.

use crate::{
    claims::{claim_of, code, redeemed_from, release, show, until_ready, with_agents},
    filling::settle,
    rig::Lab,
};
use labyard_driver::{
    Driver,
    ids::ObjectId,
    screen::{Callers, Screen},
};
use labyard_driver_sim::{ForeignHand, SimDriver};
use labyard_labs::{
    claim::Phase,
    member::State,
    pool::{Access, Recycle, Spec},
};
use labyard_store::{on_both, testing::Database};
use std::net::IpAddr;

on_both!(
    a_machine_is_reached_from_its_claimers_address_from_redeem_to_release_and_else_from_nowhere,
    a_machine_that_nobody_came_for_is_closed_too,
    a_screen_that_somebody_opened_or_took_away_is_put_right,
    a_pool_that_is_opened_lets_in_anybody_whom_it_gives_a_machine,
    the_screen_of_a_machine_that_a_hand_took_away_goes_too,
);

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn adas() -> IpAddr {
    address("192.0.2.7")
}

fn bens() -> IpAddr {
    address("2001:db8::8")
}

fn screened(recycle: Recycle) -> Spec {
    Spec {
        access: Access::Claimer,
        ..with_agents(recycle)
    }
}

fn id(lab: &Lab) -> ObjectId {
    lab.sims[0].look().machines.remove(0).id
}

/// From which of the two addresses the only machine is reached.
fn reached(lab: &Lab) -> [bool; 2] {
    [adas(), bens()].map(|from| lab.sims[0].lets_in(&id(lab), from))
}

const NOWHERE: [bool; 2] = [false, false];
const ADAS: [bool; 2] = [true, false];
const BENS: [bool; 2] = [false, true];
const EVERYWHERE: [bool; 2] = [true, true];

async fn a_machine_is_reached_from_its_claimers_address_from_redeem_to_release_and_else_from_nowhere(
    database: &Database,
) {
    for recycle in [Recycle::Reset, Recycle::Recreate] {
        let lab = Lab::with(database, 1).await;
        let crew = lab.crew();
        lab.put(screened(recycle)).await;
        settle(&crew).await;
        assert_eq!(reached(&lab), NOWHERE, "nobody has it");
        code(&lab).await;
        for (user, from, expected) in [("ada", adas(), ADAS), ("ben", bens(), BENS)] {
            let claim = redeemed_from(&lab, user, None, Some(from)).await.unwrap().claim;
            assert_eq!(until_ready(&lab, &crew, &claim.id).await.phase, Phase::Ready);
            assert_eq!(reached(&lab), expected);
            // Whoever was told how to enter it may have been in it.
            show(&lab, &claim.id).await;
            release(&lab, &claim.id).await;
            settle(&crew).await;
            assert_eq!(lab.in_state(State::Free).await, 1);
            assert_eq!(reached(&lab), NOWHERE, "{user} gave it back");
            lab.assert_nothing_doubled_or_orphaned().await;
        }
        crate::kills::forget_all(&lab).await;
    }
}

async fn a_machine_that_nobody_came_for_is_closed_too(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    lab.put(screened(Recycle::Reset)).await;
    settle(&crew).await;
    code(&lab).await;
    let claim = redeemed_from(&lab, "ada", None, Some(adas()))
        .await
        .unwrap()
        .claim;
    until_ready(&lab, &crew, &claim.id).await;
    assert_eq!(reached(&lab), ADAS);
    release(&lab, &claim.id).await;
    settle(&crew).await;
    assert_eq!(reached(&lab), NOWHERE);
}

async fn a_screen_that_somebody_opened_or_took_away_is_put_right(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    lab.put(screened(Recycle::Reset)).await;
    settle(&crew).await;
    code(&lab).await;
    let claim = redeemed_from(&lab, "ada", None, Some(adas()))
        .await
        .unwrap()
        .claim;
    until_ready(&lab, &crew, &claim.id).await;
    let screen = Screen {
        of: id(&lab),
        name: lab.sims[0].screens().remove(0),
        nics: Default::default(),
    };
    let hand = SimDriver::in_memory(&lab.sims[0]);
    for callers in [Callers::Anybody, Callers::nobody()] {
        hand.screen_machine(&screen, &callers).await.unwrap();
        assert_ne!(reached(&lab), ADAS);
        // Each look of a foreman of its own: one looks once a minute.
        lab.crew().foreman.resync().await.unwrap();
        assert_eq!(reached(&lab), ADAS);
    }
    let from_behind = ForeignHand::TakeFromBehindScreen(id(&lab));
    lab.sims[0].by_other_hand(&from_behind).unwrap();
    assert_eq!(reached(&lab), EVERYWHERE);
    lab.crew().foreman.resync().await.unwrap();
    assert_eq!(reached(&lab), ADAS);
    assert_eq!(claim_of(&lab, &claim.id).await.phase, Phase::Ready);
}

async fn a_pool_that_is_opened_lets_in_anybody_whom_it_gives_a_machine(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    lab.put(screened(Recycle::Reset)).await;
    settle(&crew).await;
    lab.put(with_agents(Recycle::Reset)).await;
    settle(&crew).await;
    assert_eq!(reached(&lab), NOWHERE, "it is the same machine yet");
    code(&lab).await;
    let claim = redeemed_from(&lab, "ada", None, None).await.unwrap().claim;
    until_ready(&lab, &crew, &claim.id).await;
    assert_eq!(reached(&lab), EVERYWHERE);
    show(&lab, &claim.id).await;
    release(&lab, &claim.id).await;
    settle(&crew).await;
    let again = redeemed_from(&lab, "ben", None, None).await.unwrap().claim;
    until_ready(&lab, &crew, &again.id).await;
    assert_eq!(reached(&lab), EVERYWHERE);
    lab.assert_nothing_doubled_or_orphaned().await;
}

async fn the_screen_of_a_machine_that_a_hand_took_away_goes_too(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    lab.put(screened(Recycle::Reset)).await;
    settle(&crew).await;
    let before = lab.sims[0].screens();
    lab.sims[0]
        .by_other_hand(&ForeignHand::Undefine(id(&lab)))
        .unwrap();
    assert_eq!(crew.foreman.resync().await.unwrap(), 1);
    settle(&crew).await;
    assert_eq!(reached(&lab), NOWHERE);
    let after = lab.sims[0].screens();
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
    lab.assert_nothing_doubled_or_orphaned().await;
}
