//! More claimers than machines, with workers at work, one of which is lost in the middle.

use crate::{
    claims::{CODE, claim_of, code, with_agents},
    filling::settle,
    rig::{Lab, namespace},
};
use labyard_labs::{
    Refusal,
    claim::{
        Phase,
        redeem::{Request, redeem},
    },
    code::CodeText,
    member::State,
    pool::{Recycle, Spec},
    show::Scope,
};
use labyard_store::{on_both, testing::Database};
use std::collections::BTreeSet;
use tokio_util::sync::CancellationToken;

on_both!(invariant_1_of_a_thousand_claimers_three_hundred_get_a_machine_each_though_a_foreman_is_lost);

const CLAIMERS: usize = 1_000;
const MACHINES: u32 = 300;

async fn invariant_1_of_a_thousand_claimers_three_hundred_get_a_machine_each_though_a_foreman_is_lost(
    database: &Database,
) {
    let lab = Lab::with(database, 4).await;
    let replicas = [lab.store.clone(), database.open().await];
    let began = std::time::Instant::now();
    let crews = [lab.crew(), lab.crew_on(replicas[1].clone())];
    lab.put(Spec {
        ready: MACHINES,
        max: MACHINES,
        max_in_flight: 32,
        ..with_agents(Recycle::Recreate)
    })
    .await;
    let (first, second) = tokio::join!(settle(&crews[0]), settle(&crews[1]));
    assert_eq!((first.unwrap().free, second.unwrap().free), (300, 300));
    eprintln!("filled in {:?}", began.elapsed());
    code(&lab).await;

    let [lost, other] = crews;
    let (dying, ended) = (lost.foreman.clone(), CancellationToken::new());
    let losing = tokio::spawn(async move { dying.run(CancellationToken::new()).await });
    let (working, until) = (other.foreman.clone(), ended.clone());
    let running = tokio::spawn(async move { working.run(until).await });
    let claimers: Vec<_> = (0..CLAIMERS)
        .map(|number| {
            let (store, now) = (replicas[number % 2].clone(), lab.time.moment());
            tokio::spawn(async move {
                let request = Request {
                    code: CodeText::parse(CODE).unwrap(),
                    user: format!("u{number}").as_str().into(),
                    idempotency_key: format!("k{number}"),
                    source: None,
                    wait_ms: None,
                    public_key: None,
                    bind: Default::default(),
                    scope: Scope::All,
                };
                store.write(move |write| redeem(write, &request, now)).await
            })
        })
        .collect();
    let (mut claims, mut machines, mut losers) = (Vec::new(), Vec::new(), 0);
    let mut losing = Some((losing, lost));
    for (at, claimer) in claimers.into_iter().enumerate() {
        if at == CLAIMERS / 4
            && let Some((task, crew)) = losing.take()
        {
            task.abort();
            crew.kill();
        }
        match claimer.await.unwrap() {
            Ok(redeemed) => {
                machines.extend(redeemed.claim.machines);
                claims.push(redeemed.claim.id);
            }
            Err(refusal) => {
                assert!(
                    matches!(&refusal, Refusal::NoneFree { .. }) && refusal.is_retryable(),
                    "{refusal}"
                );
                losers += 1;
            }
        }
    }
    let different: BTreeSet<_> = machines.iter().collect();
    assert_eq!((claims.len(), different.len(), losers), (300, 300, 700));
    eprintln!("claimed in {:?}", began.elapsed());

    // What the lost one had taken up is another's when its lease is over.
    lab.time.skip(crate::rig::LEASE_MS);
    let soon = std::time::Instant::now();
    for claim in &claims {
        loop {
            let phase = claim_of(&lab, claim).await.phase;
            if phase == Phase::Ready {
                break;
            }
            assert!(phase == Phase::Bound && soon.elapsed().as_secs() < 120, "{phase}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    eprintln!("ready in {:?}", began.elapsed());
    ended.cancel();
    running.await.unwrap();
    assert_eq!(lab.in_state(State::Claimed).await, 300);
    assert_eq!(namespace().as_str(), "default");
    lab.assert_nothing_doubled_or_orphaned().await;
}
