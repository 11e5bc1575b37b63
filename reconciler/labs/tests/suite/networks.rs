//! The networks that claims have to themselves: allotted once, never the same on one host, given back when they are gone.

use crate::{
    lab::*,
    pools::{put, spec},
};
use labyard_labs::{
    Refusal,
    claim::{
        self, Phase,
        admit::{self, Job},
        network::{self, Network, OfPool},
    },
    ids::ClaimId,
    pool::{
        Spec, Together,
        work::{Appetite, Worker},
    },
};
use labyard_store::{
    Store, StoreError,
    event::{Event, Moment},
    on_both,
    testing::Database,
};

on_both!(
    a_claim_with_a_network_of_its_own_is_on_one_host,
    networks_are_allotted_once_a_claim_and_their_addresses_once_a_host,
    a_network_is_given_back_when_no_machine_of_its_claim_is_on_it_any_more,
    who_lost_a_claim_allots_it_nothing,
    a_claim_is_not_forgotten_while_its_network_stands,
);

fn by(name: &str) -> Worker {
    Worker {
        name: name.to_owned(),
        lease_ms: 1_000,
    }
}

fn networked() -> Spec {
    Spec {
        network: Some(OfPool {
            nic: "in".to_owned(),
            cidr: "10.78.0.0/27".parse().unwrap(),
        }),
        ..spec(0, 100)
    }
}

/// A pool whose claims of two have networks, with free machines on these hosts.
async fn lab(store: &Store, hosts: &'static [&'static str]) {
    put(store, networked(), None, 0).await.unwrap();
    let made: Result<(), StoreError> = store
        .write(move |write| {
            for (number, host) in (1_i64..).zip(hosts) {
                write.execute(
                    "INSERT INTO members (id, namespace, pool, number, name, host, state, generation, since, detail) \
                     VALUES ($1, 'default', 'k8s', $2, $1, $3, 'free', 1, 0, '{}')",
                    &[format!("k8s-{number}").into(), number.into(), (*host).into()],
                )?;
            }
            let event = Event::new(Moment(0), "default", "test", "machine.made", "all");
            write.event(&event).map(drop)
        })
        .await;
    made.unwrap();
    code(store, terms(&[("k8s", 2)])).await;
}

async fn taken(store: &Store, worker: &Worker, now: i64) -> Vec<Job> {
    let worker = worker.clone();
    let jobs: Result<_, Refusal> = store
        .write(move |write| admit::take(write, &worker, &Appetite::default(), Moment(now)))
        .await;
    jobs.unwrap()
}

async fn allotted(store: &Store, job: &Job, worker: &Worker, now: i64) -> Result<Option<Network>, Refusal> {
    let (job, worker) = (job.clone(), worker.clone());
    store
        .write(move |write| {
            let wanted = job.claim.wants.network.clone().unwrap();
            admit::allot_network(write, &job, &wanted, &worker, Moment(now))
        })
        .await
}

async fn left(store: &Store) -> Vec<ClaimId> {
    let left: Result<Vec<_>, StoreError> = store.read(|read| network::left(read)).await;
    left.unwrap().into_iter().map(|(claim, _)| claim).collect()
}

async fn given_back(store: &Store, id: &ClaimId) {
    let id = id.clone();
    let done: Result<_, Refusal> = store
        .write(move |write| network::given_back(write, &id, "w1", Moment(9)))
        .await;
    done.unwrap();
}

async fn has(store: &Store, id: &ClaimId) -> Option<Network> {
    let id = id.clone();
    let found: Result<_, Refusal> = store.read(move |read| claim::find(read, &id)).await;
    found.unwrap().network
}

const OF_NETWORKS: &str = "SELECT COUNT(*) AS n FROM events WHERE action LIKE 'claim.network_%'";

async fn a_claim_with_a_network_of_its_own_is_on_one_host(database: &Database) {
    let store = database.open().await;
    assert_eq!(
        (networked().together, networked().placed()),
        (Together::Anywhere, Together::OneHost)
    );
    lab(&store, &["a", "b", "b"]).await;
    let pair = redeemed(&store, request("ada", "1"), 1).await.unwrap().claim;
    let names: Vec<_> = pair.machines.iter().map(|id| id.as_str()).collect();
    assert_eq!(names, ["k8s-2", "k8s-3"]);
    assert_sound(&store).await;
}

async fn networks_are_allotted_once_a_claim_and_their_addresses_once_a_host(database: &Database) {
    let store = database.open().await;
    lab(&store, &["a", "a", "a", "a", "a", "a", "b", "b"]).await;
    let mut subnets = Vec::new();
    for user in ["ada", "ben", "cem", "dee"] {
        redeemed(&store, request(user, user), 1).await.unwrap();
    }
    let jobs = taken(&store, &by("w1"), 2).await;
    for job in &jobs {
        let network = allotted(&store, job, &by("w1"), 3).await.unwrap();
        assert_eq!(
            allotted(&store, job, &by("w1"), 3).await.unwrap(),
            network,
            "the same again"
        );
        assert_eq!(has(&store, &job.claim.id).await, network);
        subnets.push(network.map(|network| format!("{} {}", network.host, network.subnet)));
    }
    // One host has room for two in a network of 32 addresses; another has its own.
    let mut expected = [
        Some("a 10.78.0.0/28"),
        Some("a 10.78.0.16/28"),
        None,
        Some("b 10.78.0.0/28"),
    ];
    subnets.sort();
    expected.sort();
    assert_eq!(subnets, expected.map(|text| text.map(str::to_owned)));
    assert_eq!(number(&store, OF_NETWORKS).await, 3);
    assert_sound(&store).await;
}

async fn a_network_is_given_back_when_no_machine_of_its_claim_is_on_it_any_more(database: &Database) {
    let store = database.open().await;
    lab(&store, &["a", "a"]).await;
    let claim = redeemed(&store, request("ada", "1"), 1).await.unwrap().claim;
    let jobs = taken(&store, &by("w1"), 2).await;
    allotted(&store, &jobs[0], &by("w1"), 3).await.unwrap();
    given_back(&store, &claim.id).await;
    assert!(has(&store, &claim.id).await.is_some(), "its claim lives");
    assert!(left(&store).await.is_empty());
    assert_eq!(
        released(&store, &claim.id, 4).await.unwrap().phase,
        Phase::Released
    );
    assert!(
        left(&store).await.is_empty(),
        "its machines are being brought back"
    );
    recycled(&store, 5).await;
    assert_eq!(left(&store).await, std::slice::from_ref(&claim.id));
    for _ in 0..2 {
        given_back(&store, &claim.id).await;
        assert!(left(&store).await.is_empty());
        assert_eq!(has(&store, &claim.id).await, None);
    }
    assert_eq!(
        number(&store, OF_NETWORKS).await,
        2,
        "allotted and given back, each once"
    );
}

async fn who_lost_a_claim_allots_it_nothing(database: &Database) {
    let store = database.open().await;
    lab(&store, &["a", "a"]).await;
    let claim = redeemed(&store, request("ada", "1"), 1).await.unwrap().claim;
    let jobs = taken(&store, &by("w1"), 2).await;
    // Its lease runs out, and another has it.
    assert_eq!(taken(&store, &by("w2"), 2_000).await.len(), 1);
    let refused = allotted(&store, &jobs[0], &by("w1"), 2_001).await.unwrap_err();
    assert!(matches!(refused, Refusal::TakenOver { .. }), "{refused}");
    assert_eq!(has(&store, &claim.id).await, None);
}

async fn a_claim_is_not_forgotten_while_its_network_stands(database: &Database) {
    let store = database.open().await;
    lab(&store, &["a", "a"]).await;
    let claim = redeemed(&store, request("ada", "1"), 1).await.unwrap().claim;
    let jobs = taken(&store, &by("w1"), 2).await;
    allotted(&store, &jobs[0], &by("w1"), 3).await.unwrap();
    released(&store, &claim.id, 4).await.unwrap();
    recycled(&store, 5).await;
    let forgets = async || {
        let forgotten: Result<_, Refusal> = store
            .write(|write| {
                let retention = labyard_labs::retention::Retention {
                    log_ms: 1,
                    ended_ms: 1,
                };
                labyard_labs::retention::forget(write, retention, Moment(1_000_000))
            })
            .await;
        forgotten.unwrap().claims
    };
    assert_eq!(forgets().await, 0);
    given_back(&store, &claim.id).await;
    assert_eq!(forgets().await, 1);
}
