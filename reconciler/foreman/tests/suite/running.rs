//! A foreman that goes on for ever: it hears what others write, and a host that hangs hurts itself alone.

use crate::{
    claims::{claim_of, code, redeemed, release, with_agents},
    rig::{Lab, namespace, spec},
};
use labyard_labs::{
    Refusal,
    claim::Phase,
    member::State,
    pool::{self, Recycle, Spec},
};
use labyard_store::{on_both, testing::Database};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

on_both!(
    what_is_written_is_done_and_a_host_that_hangs_holds_up_nobody_else,
    pools_share_and_none_waits_for_another_that_has_much_to_do,
);

/// Until it is so.
async fn until(lab: &Lab, what: &str, limit: Duration, is: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !is().await {
        let is_late = began.elapsed() >= limit;
        assert!(
            !is_late,
            "{what} is not so after {limit:?}: {:#?}",
            lab.members().await
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const SOON: Duration = Duration::from_secs(30);

async fn what_is_written_is_done_and_a_host_that_hangs_holds_up_nobody_else(database: &Database) {
    let lab = Lab::with(database, 2).await;
    lab.sims[0].hang();
    let (crew, cancel) = (lab.crew(), CancellationToken::new());
    let (foreman, ended) = (crew.foreman.clone(), cancel.clone());
    let running = tokio::spawn(async move { foreman.run(ended).await });
    lab.put(Spec {
        ready: 2,
        max: 3,
        ..with_agents(Recycle::Reset)
    })
    .await;
    until(&lab, "two are free", SOON, async || {
        lab.in_state(State::Free).await == 2
    })
    .await;
    code(&lab).await;
    let claim = redeemed(&lab, "ada", None).await.unwrap().claim;
    until(&lab, "the claim is ready", SOON, async || {
        claim_of(&lab, &claim.id).await.phase == Phase::Ready
    })
    .await;
    release(&lab, &claim.id).await;
    until(&lab, "all are free", SOON, async || {
        let members = lab.members().await;
        members.iter().all(|member| member.state == State::Free) && members.len() == 2
    })
    .await;
    assert!(lab.sims[0].look().machines.is_empty());
    cancel.cancel();
    tokio::time::timeout(SOON, running).await.unwrap().unwrap();
    lab.sims[0].resume();
    lab.assert_nothing_doubled_or_orphaned().await;
}

async fn pools_share_and_none_waits_for_another_that_has_much_to_do(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let now = lab.time.moment();
    let big = Spec {
        max_in_flight: 40,
        ..spec(40, 40)
    };
    let put: Result<_, Refusal> = lab
        .store
        .write(move |write| pool::put(write, &namespace(), &"big".into(), &big, None, now, "test"))
        .await;
    put.unwrap();
    lab.put(spec(1, 1)).await;
    let (crew, cancel) = (lab.crew(), CancellationToken::new());
    let (foreman, ended) = (crew.foreman.clone(), cancel.clone());
    let running = tokio::spawn(async move { foreman.run(ended).await });
    until(&lab, "the small one is filled", SOON, async || {
        lab.in_state(State::Free).await == 1
    })
    .await;
    let of_big: Result<i64, labyard_store::StoreError> = lab
        .store
        .read(|read| {
            let rows = read.query(
                "SELECT COUNT(*) AS n FROM members WHERE pool = 'big' AND state = 'free'",
                &[],
            )?;
            rows[0].get("n")
        })
        .await;
    assert!(of_big.unwrap() < 40, "the other one is not done");
    cancel.cancel();
    running.await.unwrap();
}
