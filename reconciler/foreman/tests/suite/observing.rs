//! Free machines that a hand or a fault took down are brought back or replaced; what people have is left alone.

use crate::{
    claims::{claim_of, code, redeemed, show, until_ready, with_agents},
    filling::settle,
    rig::{Lab, spec},
};
use labyard_driver::{ids::ObjectId, observed::Power};
use labyard_driver_sim::ForeignHand;
use labyard_labs::{
    claim::Phase,
    host::LOST_AFTER_MS,
    member::{Member, State},
    pool::{Recycle, Spec, work::Task},
};
use labyard_store::{
    StoreError,
    event::{Event, Moment},
    on_both,
    testing::Database,
};

on_both!(
    a_free_machine_that_a_hand_took_away_or_stopped_is_made_good,
    a_machine_that_somebody_has_is_left_as_it_is,
    a_host_that_does_not_answer_says_nothing_of_its_machines,
    invariant_11_a_store_that_is_older_than_its_host_hands_no_used_machine_out,
    machines_of_a_host_that_is_configured_no_more_are_nobodys_and_replaced,
);

fn id_of(lab: &Lab, member: &Member) -> ObjectId {
    let machines = lab.sims[0].look().machines;
    let found = machines
        .into_iter()
        .find(|machine| machine.host_name == member.name);
    found.unwrap().id
}

async fn a_free_machine_that_a_hand_took_away_or_stopped_is_made_good(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    for recycle in [Recycle::Recreate, Recycle::Reset] {
        lab.put(Spec {
            recycle,
            ..spec(4, 6)
        })
        .await;
        settle(&crew).await;
        assert_eq!(
            crew.foreman.resync().await.unwrap(),
            0,
            "all are as they were left"
        );
        let members = lab.members().await;
        let hands = [
            ForeignHand::Undefine(id_of(&lab, &members[0])),
            ForeignHand::Kill(id_of(&lab, &members[1])),
            ForeignHand::Crash(id_of(&lab, &members[2])),
        ];
        for hand in &hands {
            lab.sims[0].by_other_hand(hand).unwrap();
        }
        assert_eq!(crew.foreman.resync().await.unwrap(), 3);
        assert_eq!(
            lab.in_state(State::Free).await,
            1,
            "nobody gets what is not there"
        );
        settle(&crew).await;
        assert_eq!(lab.in_state(State::Free).await, 4);
        let running = |machine: &labyard_driver::observed::ObservedMachine| machine.power == Power::Running;
        assert!(lab.sims[0].look().machines.iter().all(running));
        lab.assert_nothing_doubled_or_orphaned().await;
    }
}

async fn a_machine_that_somebody_has_is_left_as_it_is(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    lab.put(spec(1, 1)).await;
    settle(&crew).await;
    code(&lab).await;
    redeemed(&lab, "ada", None).await.unwrap();
    let machine = lab.members().await.remove(0);
    lab.sims[0]
        .by_other_hand(&ForeignHand::Kill(id_of(&lab, &machine)))
        .unwrap();
    assert_eq!(crew.foreman.resync().await.unwrap(), 0);
    assert_eq!(lab.in_state(State::Claimed).await, 1);
}

async fn a_host_that_does_not_answer_says_nothing_of_its_machines(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    lab.put(spec(2, 2)).await;
    settle(&crew).await;
    lab.sims[0].stop_daemon();
    assert_eq!(crew.foreman.resync().await.unwrap(), 0);
    assert_eq!(lab.in_state(State::Free).await, 2);
    lab.sims[0].start_daemon();
    assert_eq!(crew.foreman.resync().await.unwrap(), 0);
}

/// The store is as it was before the first claim: brought back from a backup, or short of its last commits.
async fn forgets_all_claims(lab: &Lab) {
    let done: Result<(), StoreError> = lab
        .store
        .write(|write| {
            write.execute(
                "UPDATE members SET state = 'free', claim = NULL, slot = NULL, touched = 0",
                &[],
            )?;
            write.execute("DELETE FROM claims", &[])?;
            let event = Event::new(Moment(0), "default", "test", "store.restored", "store");
            write.event(&event).map(drop)
        })
        .await;
    done.unwrap();
}

async fn invariant_11_a_store_that_is_older_than_its_host_hands_no_used_machine_out(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    lab.put(with_agents(Recycle::Reset)).await;
    settle(&crew).await;
    code(&lab).await;
    let claim = redeemed(&lab, "ada", None).await.unwrap().claim;
    until_ready(&lab, &crew, &claim.id).await;
    show(&lab, &claim.id).await;

    // Somebody gets it before any look: he is not let in, and it is put back.
    forgets_all_claims(&lab).await;
    let next = redeemed(&lab, "ben", None).await.unwrap().claim;
    assert_eq!(until_ready(&lab, &crew, &next.id).await.phase, Phase::Failed);
    let mut tasks = Vec::new();
    while lab.in_state(State::Free).await == 0 {
        let done = crew.foreman.pass().await.unwrap().done;
        tasks.extend(done.into_iter().map(|done| done.task));
    }
    assert_eq!(tasks, [Task::Reset]);

    // Nobody does: the next look puts it back.
    let again = redeemed(&lab, "cleo", None).await.unwrap().claim;
    assert_eq!(until_ready(&lab, &crew, &again.id).await.phase, Phase::Ready);
    show(&lab, &again.id).await;
    forgets_all_claims(&lab).await;
    assert_eq!(crew.foreman.resync().await.unwrap(), 1);
    assert_eq!(lab.in_state(State::Recycling).await, 1);
    settle(&crew).await;
    assert_eq!(crew.foreman.resync().await.unwrap(), 0);
    let last = redeemed(&lab, "dan", None).await.unwrap().claim;
    until_ready(&lab, &crew, &last.id).await;
    assert_eq!(claim_of(&lab, &last.id).await.phase, Phase::Ready);
}

async fn machines_of_a_host_that_is_configured_no_more_are_nobodys_and_replaced(database: &Database) {
    let mut lab = Lab::with(database, 2).await;
    let crew = lab.crew();
    lab.put(spec(4, 12)).await;
    settle(&crew).await;
    let free_on = async |lab: &Lab, host: &str| {
        let members = lab.members().await;
        let there = |member: &&Member| member.host.as_deref() == Some(host) && member.state == State::Free;
        members.iter().filter(there).count()
    };
    let gone = free_on(&lab, "lab2").await;
    assert!(gone > 0, "some are there");
    crew.kill();
    // The configuration names one host from now on.
    lab.sims.truncate(1);
    let crew = lab.crew();
    crew.foreman.pass().await.unwrap();
    crew.kill();
    lab.time.skip(LOST_AFTER_MS);
    let crew = lab.crew();
    crew.foreman.pass().await.unwrap();
    settle(&crew).await;
    assert_eq!(free_on(&lab, "lab1").await, 4);
    assert_eq!(free_on(&lab, "lab2").await, gone, "none is forgotten");
    code(&lab).await;
    for user in ["ada", "ben", "cleo", "dan"] {
        redeemed(&lab, user, None).await.unwrap();
    }
    assert!(
        redeemed(&lab, "eve", None).await.is_err(),
        "nobody can have those"
    );
}
