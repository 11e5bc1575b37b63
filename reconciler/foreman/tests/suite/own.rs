//! A claim's machines on a network of their own: there before anybody is let in, gone with the claim, whoever is killed in
//! between.

use crate::{
    claims::{CODE, claim_of, redeemed, release, show, until_ready, with_agents},
    filling::{LONG, settle},
    rig::{Crew, LEASE_MS, Lab, bounds, namespace},
};
use labyard_driver::{
    ids::Namespace,
    observed::{Attachment, Detail, ObservedNetwork, ObservedNic},
    spec::Isolation,
};
use labyard_driver_sim::{Edge, Fault, FaultKind};
use labyard_labs::{
    Refusal,
    claim::{Phase, network::OfPool},
    code::{CodeText, Terms, keep},
    ids::ClaimId,
    member::State,
    pool::{Isolation as Kept, Recycle, Spec},
};
use labyard_reconciler::{
    desired::DesiredNetwork,
    engine::{ClaimNetwork, Engine},
};
use labyard_schema::network;
use labyard_store::{on_both, testing::Database};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

on_both!(
    the_machines_of_a_claim_are_on_a_network_of_their_own_from_redeem_to_release,
    two_claims_have_two_networks,
    a_claim_waits_for_addresses_that_another_has,
    machines_that_nobody_came_for_leave_the_network_and_are_not_made_anew,
    a_network_that_nobody_knows_is_taken_away_after_a_while,
    a_lost_store_leaves_no_network_behind,
    a_foreman_killed_at_any_change_of_a_host_leaves_no_network_and_no_card_behind,
);

/// A lab with a network for cards that no claim has, whose code grants so many machines.
async fn lab(database: &Database, machines: u32) -> (Lab, Crew) {
    let lab = Lab::with(database, 1).await;
    let builder = lab.crew();
    let idle = network::Network {
        name: "idle".into(),
        mode: "isolated".into(),
        autostart: true,
        ..network::Network::default()
    };
    let idle = DesiredNetwork::from_config(&"default".into(), &idle).unwrap();
    let host = "lab1".into();
    builder
        .engine
        .create_network(&host, &idle, bounds())
        .await
        .unwrap();
    builder
        .engine
        .finish(labyard_reconciler::engine::Run::Through)
        .await;
    builder.kill();
    code_for(&lab, machines).await;
    let crew = lab.crew();
    (lab, crew)
}

async fn code_for(lab: &Lab, machines: u32) {
    let now = lab.time.moment();
    let terms = Terms {
        pools: [("k8s".into(), machines)].into(),
        ..Terms::default()
    };
    let put: Result<_, Refusal> = lab
        .store
        .write(move |write| {
            let values = keep::Values::Given(CodeText::parse(CODE).unwrap());
            keep::put(write, &namespace(), &"class".into(), &terms, &values, now, "test")
        })
        .await;
    put.unwrap();
}

fn networked(recycle: Recycle, ready: u32, cidr: &str) -> Spec {
    let mut spec = Spec {
        ready,
        max: ready,
        isolation: Kept::Apart,
        network: Some(OfPool {
            nic: "in".to_owned(),
            cidr: cidr.parse().unwrap(),
        }),
        ..with_agents(recycle)
    };
    spec.template["nics"]["in"] = json!({"network": "idle", "model": "virtio"});
    spec
}

/// The networks of claims on the host, by claim.
fn networks(lab: &Lab) -> BTreeMap<String, ObservedNetwork> {
    let all = lab.sims[0].look().networks;
    let of_claim =
        |network: ObservedNetwork| Some((network.mark.ours()?.claim.as_ref()?.id.clone(), network));
    all.into_iter().filter_map(of_claim).collect()
}

/// Where the card of each machine is that is lent to claims, by the machine's name: on the network of that name, the same
/// in what runs and in the definition.
fn cards(lab: &Lab) -> BTreeMap<String, (String, Isolation)> {
    let machines = lab.sims[0].look().machines;
    let card = |detail: &Detail| {
        let Detail::Known(detail) = detail else {
            panic!("{detail:?}")
        };
        let nics = detail.nics.iter().filter_map(|nic: &ObservedNic| {
            let Attachment::Network(network) = &nic.attachment else {
                panic!("{nic:?}")
            };
            assert_eq!(nic.live_attachment.as_ref(), Some(&nic.attachment), "{nic:?}");
            (network != "lab").then(|| (network.clone(), nic.isolation))
        });
        let nics: Vec<_> = nics.collect();
        assert_eq!(nics.len(), 1, "{nics:?}");
        nics[0].clone()
    };
    machines
        .iter()
        .map(|machine| (machine.host_name.clone(), card(&machine.detail)))
        .collect()
}

/// The names of a claim's machines.
async fn machines(lab: &Lab, id: &ClaimId) -> BTreeSet<String> {
    let members = lab.members().await;
    let of_claim = members
        .into_iter()
        .filter(|member| member.claim.as_ref() == Some(id));
    of_claim.map(|member| member.name).collect()
}

async fn assert_all_at_home(lab: &Lab) {
    for (name, card) in cards(lab) {
        assert_eq!(card, ("idle".to_owned(), Isolation::Apart), "{name}");
    }
    assert!(networks(lab).is_empty(), "{:?}", networks(lab));
    for machine in lab.sims[0].look().machines {
        let lent = machine.mark.ours().and_then(|mark| mark.lent.clone());
        assert_eq!(lent, None, "{}", machine.host_name);
    }
    lab.assert_nothing_doubled_or_orphaned().await;
}

/// What the log tells of a claim's network.
async fn told(lab: &Lab, id: &ClaimId) -> Vec<String> {
    let subject = format!("claim/{id}");
    let found: Result<Vec<String>, labyard_store::StoreError> = lab
        .store
        .read(move |read| {
            let rows = read.query(
                "SELECT action FROM events WHERE action LIKE 'claim.net%' AND subject = $1 ORDER BY id",
                &[subject.into()],
            )?;
            rows.iter().map(|row| row.get("action")).collect()
        })
        .await;
    found.unwrap()
}

/// Until the pool rests and the networks of claims that are over are gone.
async fn rest(crew: &Crew) {
    settle(crew).await;
    crew.foreman.pass().await.unwrap();
}

async fn the_machines_of_a_claim_are_on_a_network_of_their_own_from_redeem_to_release(database: &Database) {
    for recycle in [Recycle::Reset, Recycle::Recreate] {
        let (lab, crew) = lab(database, 3).await;
        lab.put(networked(recycle, 4, "10.78.0.0/24")).await;
        settle(&crew).await;
        assert_all_at_home(&lab).await;
        for user in ["ada", "ben"] {
            let claim = redeemed(&lab, user, None).await.unwrap().claim;
            assert_eq!(until_ready(&lab, &crew, &claim.id).await.phase, Phase::Ready);
            let there = networks(&lab);
            let network = &there[claim.id.as_str()];
            assert_eq!(there.len(), 1, "{there:?}");
            assert_eq!(network.address.unwrap().to_string(), "10.78.0.1/28", "{user}");
            let of_claim = machines(&lab, &claim.id).await;
            assert_eq!(of_claim.len(), 3);
            for (name, card) in cards(&lab) {
                let expected = match of_claim.contains(&name) {
                    true => (network.host_name.clone(), Isolation::Open),
                    false => ("idle".to_owned(), Isolation::Apart),
                };
                assert_eq!(card, expected, "{name}");
            }
            // Its holder is told the addresses: by which each is reached first, then the one among themselves.
            let shown = show(&lab, &claim.id).await;
            let mut seen = BTreeSet::new();
            for machine in &shown.machines {
                let [outer, inner] = machine.addresses.as_slice() else {
                    panic!("{machine:?}")
                };
                assert!(outer.to_string().starts_with("10.77."), "{machine:?}");
                assert!(inner.to_string().starts_with("10.78.0."), "{machine:?}");
                seen.insert(*inner);
            }
            assert_eq!(seen.len(), 3);
            release(&lab, &claim.id).await;
            rest(&crew).await;
            assert_eq!(lab.in_state(State::Free).await, 4);
            assert_all_at_home(&lab).await;
            assert_eq!(claim_of(&lab, &claim.id).await.network, None);
            let once = [
                "claim.network_allotted",
                "claim.networked",
                "claim.network_given_back",
            ];
            assert_eq!(told(&lab, &claim.id).await, once);
        }
        crate::kills::forget_all(&lab).await;
    }
}

async fn two_claims_have_two_networks(database: &Database) {
    let (lab, crew) = lab(database, 2).await;
    lab.put(networked(Recycle::Reset, 4, "10.78.0.0/24")).await;
    settle(&crew).await;
    let mut claims = Vec::new();
    for user in ["ada", "ben"] {
        let claim = redeemed(&lab, user, None).await.unwrap().claim;
        until_ready(&lab, &crew, &claim.id).await;
        claims.push(claim.id);
    }
    let there = networks(&lab);
    let subnets: Vec<_> = claims
        .iter()
        .map(|claim| there[claim.as_str()].address.unwrap().to_string())
        .collect();
    assert_eq!(subnets, ["10.78.0.1/28", "10.78.0.17/28"]);
    for claim in &claims {
        for name in machines(&lab, claim).await {
            assert_eq!(cards(&lab)[&name].0, there[claim.as_str()].host_name);
        }
    }
    release(&lab, &claims[0]).await;
    rest(&crew).await;
    let left: Vec<_> = networks(&lab).into_keys().collect();
    assert_eq!(left, [claims[1].to_string()]);
}

async fn a_claim_waits_for_addresses_that_another_has(database: &Database) {
    let (lab, crew) = lab(database, 1).await;
    lab.put(networked(Recycle::Reset, 2, "10.78.0.0/28")).await;
    settle(&crew).await;
    let ada = redeemed(&lab, "ada", None).await.unwrap().claim;
    until_ready(&lab, &crew, &ada.id).await;
    let ben = redeemed(&lab, "ben", None).await.unwrap().claim;
    crew.foreman.pass().await.unwrap();
    assert_eq!(claim_of(&lab, &ben.id).await.phase, Phase::Bound);
    assert_eq!(networks(&lab).len(), 1);
    release(&lab, &ada.id).await;
    rest(&crew).await;
    assert_eq!(until_ready(&lab, &crew, &ben.id).await.phase, Phase::Ready);
    let left: Vec<_> = networks(&lab).into_keys().collect();
    assert_eq!(left, [ben.id.to_string()]);
}

async fn machines_that_nobody_came_for_leave_the_network_and_are_not_made_anew(database: &Database) {
    let (lab, crew) = lab(database, 2).await;
    lab.put(networked(Recycle::Recreate, 2, "10.78.0.0/24")).await;
    settle(&crew).await;
    let before = lab.machines();
    let claim = redeemed(&lab, "ada", None).await.unwrap().claim;
    until_ready(&lab, &crew, &claim.id).await;
    assert_eq!(networks(&lab).len(), 1);
    release(&lab, &claim.id).await;
    rest(&crew).await;
    assert_eq!(lab.machines(), before);
    assert_all_at_home(&lab).await;
}

async fn a_network_that_nobody_knows_is_taken_away_after_a_while(database: &Database) {
    let (lab, crew) = lab(database, 1).await;
    let forgotten = ClaimNetwork {
        namespace: Namespace::from("default"),
        claim: "forgotten".to_owned(),
        subnet: "10.78.0.0/28".parse().unwrap(),
    };
    let host = "lab1".into();
    let made = crew.engine.make_claim_network(&host, &forgotten, bounds()).await;
    let again = crew.engine.make_claim_network(&host, &forgotten, bounds()).await;
    assert_eq!(made.unwrap(), again.unwrap());
    crew.foreman.resync().await.unwrap();
    assert_eq!(
        networks(&lab).len(),
        1,
        "whoever makes it may not have said so yet"
    );
    lab.time.skip(60_000);
    crew.foreman.resync().await.unwrap();
    assert!(networks(&lab).is_empty());
}

async fn a_lost_store_leaves_no_network_behind(database: &Database) {
    let (mut lab, crew) = lab(database, 2).await;
    let spec = || networked(Recycle::Reset, 2, "10.78.0.0/24");
    lab.put(spec()).await;
    settle(&crew).await;
    let claim = redeemed(&lab, "ada", None).await.unwrap().claim;
    until_ready(&lab, &crew, &claim.id).await;
    crew.kill();
    let empty = match database.name.is_empty() {
        true => Database::sqlite(),
        false => Database::postgres().unwrap(),
    };
    lab.store = empty.open().await;
    let crew = lab.crew();
    lab.put(spec()).await;
    crew.foreman.resync().await.unwrap();
    lab.time.skip(60_000);
    crew.foreman.resync().await.unwrap();
    assert_eq!(networks(&lab).len(), 1, "machines are on it");
    crew.foreman.rebuild(&namespace(), "test").await.unwrap();
    settle(&crew).await;
    crew.foreman.resync().await.unwrap();
    assert_all_at_home(&lab).await;
}

/// A claim of two machines, let in and given back, whose foreman dies at that change of the host. Says whether it died.
async fn life(database: &Database, nth: u64, edge: Edge) -> bool {
    let (lab, mut crew) = lab(database, 2).await;
    lab.put(networked(Recycle::Reset, 2, "10.78.0.0/24")).await;
    settle(&crew).await;
    let claim = redeemed(&lab, "ada", None).await.unwrap().claim;
    lab.sims[0].order(Fault::mutation(nth, FaultKind::CrashCaller(edge)));
    let mut died = false;
    for given_back in [false, true] {
        if given_back {
            show(&lab, &claim.id).await;
            release(&lab, &claim.id).await;
        }
        loop {
            let foreman = crew.foreman.clone();
            let mut task = tokio::spawn(async move { drop(foreman.pass().await.unwrap()) });
            let killed = tokio::select! {
                done = &mut task => done.is_err(),
                () = lab.sims[0].caller_crashed() => true,
            };
            task.abort();
            if killed {
                assert!(!died, "it dies once");
                died = true;
                lab.sims[0].clear_faults();
                crew.kill();
                lab.time.skip(LEASE_MS);
                crew = lab.crew();
            }
            let there = claim_of(&lab, &claim.id).await;
            let done = match given_back {
                false => there.phase == Phase::Ready,
                true => there.network.is_none() && lab.in_state(State::Free).await == 2,
            };
            if done && !killed {
                break;
            }
            lab.time.skip(20_000);
        }
        if !given_back {
            let there = networks(&lab);
            let network = &there[claim.id.as_str()].host_name;
            for (name, card) in cards(&lab) {
                assert_eq!(card, (network.clone(), Isolation::Open), "{name}");
            }
        }
    }
    assert_all_at_home(&lab).await;
    crew.kill();
    crate::kills::forget_all(&lab).await;
    died
}

async fn a_foreman_killed_at_any_change_of_a_host_leaves_no_network_and_no_card_behind(database: &Database) {
    let step = match std::env::var_os("LABYARD_SLOW") {
        Some(_) => 1,
        None if database.name.is_empty() => 1,
        None => 7,
    };
    for edge in [Edge::Before, Edge::After] {
        let mut lives = 0;
        for nth in (1..).step_by(step) {
            let died = tokio::time::timeout(LONG, life(database, nth, edge)).await;
            if !died.unwrap_or_else(|_| panic!("life {nth} hangs")) {
                break;
            }
            lives += 1;
        }
        assert!(lives > 2, "{lives}");
    }
}
