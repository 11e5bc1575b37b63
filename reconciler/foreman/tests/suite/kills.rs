//! Killed before any write to the store, and at any change of a host: another process goes on, and in the end nothing is
//! doubled and nothing is orphaned (invariant 13). So too where a process was only stopped, and goes on when its work is
//! another's already.

use crate::{
    claims::{CODE, claim_of, code, pause, powers, redeemed, release, resume, show, with_agents},
    filling::{LONG, settle},
    rig::{LEASE_MS, Lab, Stopping, Time, namespace},
};
use labyard_driver::observed::Power;
use labyard_driver_sim::{Edge, Fault, FaultKind};
use labyard_labs::{
    Refusal,
    claim::{Guests, Phase},
    code::CodeText,
    ids::ClaimId,
    member::State,
    pool::{self, Recycle},
};
use labyard_store::{on_both, testing::Database};
use std::sync::Arc;

on_both!(
    a_foreman_killed_before_any_write_to_the_store_is_gone_on_from,
    a_foreman_killed_before_any_change_of_a_host_is_gone_on_from,
    a_foreman_killed_after_any_change_of_a_host_is_gone_on_from,
    a_foreman_that_was_stopped_and_goes_on_changes_nothing_that_is_anothers,
);

/// What kills.
#[derive(Clone, Copy)]
enum Death {
    /// Before the nth time that the foreman looks at its clock, as it does before each write.
    AtWrite(u64),
    /// At the nth call that changes the host.
    AtHost(u64, Edge),
}

/// A pool's life, whose foreman dies once: filled, claimed, paused, resumed, given back, reset, removed. Says whether it
/// died.
async fn life(database: &Database, death: Death) -> bool {
    let lab = Arc::new(Lab::with(database, 1).await);
    let mut spec = with_agents(Recycle::Reset);
    spec.lease.pause_ms = 3_600_000;
    lab.put(spec).await;
    let mut crew = match death {
        Death::AtWrite(nth) => lab.mortal_crew(Time::dying_at(&lab.time, nth)),
        Death::AtHost(nth, edge) => {
            let crash = FaultKind::CrashCaller(edge);
            lab.sims[0].order(Fault::mutation(nth, crash));
            lab.crew()
        }
    };
    let mut died = false;
    let stages = [
        Stage::Fill,
        Stage::Claim,
        Stage::Pause,
        Stage::Resume,
        Stage::Reset,
        Stage::Remove,
    ];
    let mut claim = None;
    for stage in stages {
        claim = prepare(&lab, stage, claim).await;
        loop {
            let (working, of) = (crew.foreman.clone(), lab.clone());
            let id = claim.clone();
            let mut task = tokio::spawn(async move { reach(&of, &working, stage, id).await });
            let killed = tokio::select! {
                done = &mut task => match done {
                    Ok(()) => false,
                    Err(error) if error.is_panic() => match error.into_panic().downcast::<Killed>() {
                        Ok(_) => true,
                        Err(other) => std::panic::resume_unwind(other),
                    },
                    Err(_) => true,
                },
                () = lab.sims[0].caller_crashed() => true,
            };
            task.abort();
            if !killed {
                break;
            }
            assert!(!died, "it dies once");
            died = true;
            lab.sims[0].clear_faults();
            crew.kill();
            lab.time.skip(LEASE_MS);
            crew = lab.crew();
        }
        if stage != Stage::Remove {
            lab.assert_nothing_doubled_or_orphaned().await;
        }
    }
    assert!(lab.machines().is_empty());
    assert!(
        lab.sims[0].look().volumes.is_empty(),
        "{:?}",
        lab.sims[0].look().volumes
    );
    crew.kill();
    forget_code(&lab).await;
    died
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Fill,
    Claim,
    Pause,
    Resume,
    Reset,
    Remove,
}

/// What users do, whom nobody kills.
async fn prepare(lab: &Lab, stage: Stage, claim: Option<ClaimId>) -> Option<ClaimId> {
    match (stage, claim) {
        (Stage::Fill, _) => None,
        (Stage::Claim, _) => {
            code(lab).await;
            Some(redeemed(lab, "ada", None).await.unwrap().claim.id)
        }
        (Stage::Pause, Some(claim)) => {
            pause(lab, &claim).await;
            Some(claim)
        }
        (Stage::Resume, Some(claim)) => {
            resume(lab, &claim).await;
            Some(claim)
        }
        (Stage::Reset, Some(claim)) => {
            show(lab, &claim).await;
            release(lab, &claim).await;
            Some(claim)
        }
        (_, claim) => {
            let now = lab.time.moment();
            let removed: Result<(), Refusal> = lab
                .store
                .write(move |write| pool::remove(write, &namespace(), &"k8s".into(), now, "test"))
                .await;
            removed.unwrap();
            claim
        }
    }
}

/// Takes everything out of the store of a lab, for another one on it.
pub(crate) async fn forget_all(lab: &Lab) {
    let gone: Result<(), labyard_store::StoreError> = lab
        .store
        .write(|write| {
            for table in ["members", "claims", "code_values", "codes", "pools"] {
                write.execute(&format!("DELETE FROM {table}"), &[])?;
            }
            let event =
                labyard_store::event::Event::new(labyard_store::event::Moment(0), "", "test", "t", "t");
            write.event(&event).map(drop)
        })
        .await;
    gone.unwrap();
}

async fn forget_code(lab: &Lab) {
    let gone: Result<(), labyard_store::StoreError> = lab
        .store
        .write(|write| {
            write.execute("DELETE FROM claims", &[])?;
            write.execute("DELETE FROM code_values", &[])?;
            write.execute("DELETE FROM codes", &[])?;
            let event =
                labyard_store::event::Event::new(labyard_store::event::Moment(0), "", "test", "t", "t");
            write.event(&event).map(drop)
        })
        .await;
    gone.unwrap();
    assert_eq!(CodeText::parse(CODE).unwrap().to_string(), CODE);
}

/// Until what a stage asks for is so.
async fn reach(lab: &Lab, foreman: &labyard_foreman::Foreman, stage: Stage, claim: Option<ClaimId>) {
    for _ in 0..100 {
        let there = match stage {
            Stage::Claim | Stage::Resume => {
                let phase = claim_of(lab, &claim.clone().unwrap()).await.phase;
                phase != Phase::Bound && powers(lab) == [Power::Running]
            }
            Stage::Pause => {
                let guests = claim_of(lab, &claim.clone().unwrap()).await.guests;
                guests == Guests::Held && powers(lab) == [Power::Paused]
            }
            Stage::Remove => foreman.standing(&namespace(), &"k8s".into()).await.is_err(),
            Stage::Fill | Stage::Reset => {
                let members = lab.members().await;
                members.len() == 1 && members[0].state == State::Free
            }
        };
        if there {
            return;
        }
        foreman.pass().await.unwrap();
        lab.time.skip(2_000);
    }
    panic!("does not come to its end: {:?}", lab.members().await);
}

/// What a foreman's clock throws when it dies.
pub(crate) struct Killed;

/// One of so many: all of them where `LABYARD_SLOW` says so; on PostgreSQL, where each life takes longer, fewer.
fn step(database: &Database, sqlite: usize, postgres: usize) -> usize {
    match std::env::var_os("LABYARD_SLOW") {
        Some(_) => 1,
        None if database.name.is_empty() => sqlite,
        None => postgres,
    }
}

async fn at_each(database: &Database, step: usize, death: impl Fn(u64) -> Death) {
    let (mut lives, began) = (0, std::time::Instant::now());
    for nth in (1..).step_by(step) {
        let died = tokio::time::timeout(LONG, life(database, death(nth))).await;
        if !died.unwrap_or_else(|_| panic!("life {nth} hangs")) {
            break;
        }
        lives += 1;
    }
    assert!(lives > 5, "{lives}");
    eprintln!("{lives} lives in {:?}", began.elapsed());
}

async fn a_foreman_killed_before_any_write_to_the_store_is_gone_on_from(database: &Database) {
    at_each(database, step(database, 4, 17), Death::AtWrite).await;
}

async fn a_foreman_killed_before_any_change_of_a_host_is_gone_on_from(database: &Database) {
    at_each(database, step(database, 2, 9), |nth| {
        Death::AtHost(nth, Edge::Before)
    })
    .await;
}

async fn a_foreman_killed_after_any_change_of_a_host_is_gone_on_from(database: &Database) {
    at_each(database, step(database, 2, 9), |nth| {
        Death::AtHost(nth, Edge::After)
    })
    .await;
}

async fn a_foreman_that_was_stopped_and_goes_on_changes_nothing_that_is_anothers(database: &Database) {
    let step = step(database, 3, 11);
    for nth in (1..).step_by(step) {
        let lab = Lab::with(database, 1).await;
        lab.put(with_agents(Recycle::Reset)).await;
        let (clock, stop) = Stopping::at(&lab.time, nth);
        let (stopped, other) = (lab.stopping_crew(clock), lab.crew());
        let foreman = stopped.foreman.clone();
        let going_on = tokio::spawn(async move { drop(foreman.pass().await.unwrap()) });
        while !stop.is_stopped() && !going_on.is_finished() {
            tokio::task::yield_now().await;
        }
        let was_stopped = stop.is_stopped();
        // Long enough for its work to be another's, who comes to the end of it.
        lab.time.skip(LEASE_MS);
        settle(&other).await;
        let there = lab.members().await;
        lab.sims[0].clear_operations();
        stop.goes_on();
        going_on.await.unwrap();
        if was_stopped {
            assert_eq!(
                lab.sims[0].mutations(),
                0,
                "look {nth}: {:?}",
                lab.sims[0].operations()
            );
            assert_eq!(lab.members().await, there);
        }
        lab.assert_nothing_doubled_or_orphaned().await;
        prepare(&lab, Stage::Remove, None).await;
        assert!(settle(&other).await.is_none());
        assert!(lab.machines().is_empty() && lab.sims[0].look().volumes.is_empty());
        if !was_stopped {
            break;
        }
    }
}
