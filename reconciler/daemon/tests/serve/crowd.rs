//! Proof 2: a thousand claimers at once for three hundred machines, over HTTP, on one daemon and on two replicas of which one
//! is lost or stopped in the middle.

use crate::daemon::{CODE, Daemon, in_store, lab};
use labyard_api::{
    claim::Redeem,
    client::{Client, ClientError},
};
use labyard_labs::Refusal;
use labyard_store::testing::Database;
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

const CLAIMERS: usize = 1_000;
const MACHINES: usize = 300;
/// Who waits longer for an answer asks the other one.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long anybody may ask.
const WITHIN: Duration = Duration::from_secs(120);

/// What became of a claimer.
enum Got {
    /// This claim with these machines.
    Claim { id: String, machines: Vec<String> },
    /// A typed answer that says that none was free, and that it may be tried again.
    NoneFree,
}

/// One that asks until it is answered, each time with the same key: at its own server first, then at the other.
async fn claimer(servers: &[Client], number: usize) -> Got {
    let request = Redeem {
        code: CODE.to_owned(),
        user: format!("user-{number}"),
        ssh_public_key: None,
        bind: Default::default(),
        wait: None,
    };
    let key = format!("key-{number}");
    let began = Instant::now();
    for attempt in 0.. {
        let server = &servers[(number + attempt) % servers.len()];
        let answer = tokio::time::timeout(PATIENCE, server.redeem(&key, &request)).await;
        let last = match answer {
            Ok(Ok(redeemed)) => {
                let machines = redeemed.claim.machines.iter();
                return Got::Claim {
                    id: redeemed.claim.id.clone(),
                    machines: machines.map(|machine| machine.name.clone()).collect(),
                };
            }
            Ok(Err(ClientError::Refused(problem))) if problem.kind() == "none-free" => {
                assert!(problem.retryable && problem.status == 409, "{problem:?}");
                return Got::NoneFree;
            }
            // Nobody knows what became of it: the same key asks again.
            Err(_) => "no answer in time".to_owned(),
            Ok(Err(error)) => {
                assert!(error.is_retryable(), "{error}");
                error.to_string()
            }
        };
        assert!(
            began.elapsed() < WITHIN,
            "claimer {number} is never answered: {last}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    unreachable!("it asks until it is answered")
}

/// All of them at once; something happens when so many are answered.
fn crowd(servers: &[&Daemon], after: usize, happens: impl FnOnce() + Send) -> Vec<Got> {
    let clients: Vec<Client> = servers
        .iter()
        .map(|daemon| Client::http(&daemon.url, Some(daemon.admin.clone())).unwrap())
        .collect();
    let answered = AtomicUsize::new(0);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    std::thread::scope(|scope| {
        let seen = &answered;
        scope.spawn(move || {
            let began = Instant::now();
            while seen.load(Ordering::Relaxed) < after && began.elapsed() < WITHIN {
                std::thread::sleep(Duration::from_millis(1));
            }
            happens();
        });
        runtime.block_on(futures::future::join_all((0..CLAIMERS).map(|number| {
            let (clients, answered) = (&clients, &answered);
            async move {
                let got = claimer(clients, number).await;
                answered.fetch_add(1, Ordering::Relaxed);
                got
            }
        })))
    })
}

/// Exactly so many are bound, each to a machine of its own, in what claimers were told and in the store.
fn assert_fair(database: &Database, crowd: &[Got]) {
    let (mut claims, mut machines, mut losers) = (BTreeSet::new(), Vec::new(), 0);
    for got in crowd {
        match got {
            Got::Claim { id, machines: own } => {
                assert!(claims.insert(id.clone()), "a claim of two");
                machines.extend(own.iter().cloned());
            }
            Got::NoneFree => losers += 1,
        }
    }
    let different: BTreeSet<_> = machines.iter().collect();
    assert_eq!(
        (claims.len(), machines.len(), different.len(), losers),
        (MACHINES, MACHINES, MACHINES, CLAIMERS - MACHINES)
    );
    let bound: (i64, i64) = in_store(database, |write| {
        let mut count = |what: &str| -> Result<i64, Refusal> {
            Ok(write.query(&format!("SELECT COUNT(*) AS n FROM {what}"), &[])?[0].get("n")?)
        };
        Ok((
            count("claims WHERE phase = 'bound'")?,
            count("members WHERE state = 'claimed'")?,
        ))
    });
    let all = i64::try_from(MACHINES).unwrap();
    assert_eq!(bound, (all, all));
}

fn machines() -> i64 {
    i64::try_from(MACHINES).unwrap()
}

/// Invariant 1, on one daemon with a file.
#[test]
fn of_a_thousand_claimers_at_one_daemon_three_hundred_get_a_machine_each_and_the_others_a_typed_answer() {
    let database = Database::sqlite();
    lab(&database, machines());
    let daemon = Daemon::start(&database, "");
    let began = Instant::now();
    let got = crowd(&[&daemon], 0, || {});
    eprintln!("a thousand in {:?}", began.elapsed());
    assert_fair(&database, &got);
}

/// Invariants 1 and 13, on two replicas.
#[test]
fn a_thousand_claimers_share_three_hundred_machines_of_two_replicas() {
    let Some(database) = Database::postgres() else {
        return;
    };
    lab(&database, machines());
    let one = Daemon::start(&database, "");
    let other = one.beside("");
    assert_fair(&database, &crowd(&[&one, &other], 0, || {}));
}

#[test]
fn a_replica_that_is_killed_among_a_thousand_claimers_loses_and_doubles_nothing() {
    let Some(database) = Database::postgres() else {
        return;
    };
    lab(&database, machines());
    let one = Daemon::start(&database, "");
    let other = one.beside("");
    assert_fair(&database, &crowd(&[&one, &other], 100, || one.signal("KILL")));
}

/// It holds the store's lock where it is stopped in the middle of a transaction: the server of the database ends that.
#[test]
fn a_replica_that_is_stopped_among_a_thousand_claimers_and_goes_on_later_does_no_harm() {
    let Some(database) = Database::postgres() else {
        return;
    };
    lab(&database, machines());
    let one = Daemon::start(&database, "");
    let other = one.beside("");
    let got = crowd(&[&one, &other], 100, || one.signal("STOP"));
    assert_fair(&database, &got);
    one.signal("CONT");
    // It serves again, and what it still had to do changes nothing.
    let shown = crate::daemon::until("the one that was stopped serves", || {
        let shown = one.ask("GET", "/v1/pools/k8s", &one.admin, &[]);
        (shown.status == 200).then_some(shown)
    });
    assert_eq!(shown.body["counts"]["claimed"], machines());
    let late = one.redeem("late", "late", CODE, &[]);
    assert_eq!((late.status, late.problem()), (409, "none-free"));
    assert_fair(&database, &got);
}

/// The same on a socket that is handed over: who serves on it is killed again and again, and nobody is refused for good.
#[test]
fn claims_go_on_while_the_daemon_on_a_socket_that_is_handed_over_is_killed_again_and_again() {
    let database = Database::sqlite();
    lab(&database, machines());
    let daemon = Daemon::start(&database, "");
    let (socket, address) = crate::daemon::socket();
    let (mut serving, _) = daemon.on_socket(&socket);
    let client = Client::http(&format!("http://{address}"), Some(daemon.admin.clone())).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let got = runtime.block_on(async {
        let all = futures::future::join_all((0..CLAIMERS).map(|number| {
            let clients = std::slice::from_ref(&client);
            claimer(clients, number)
        }));
        let kills = async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(150)).await;
                tokio::task::block_in_place(|| {
                    serving.kill().unwrap();
                    serving.wait().unwrap();
                    (serving, _) = daemon.on_socket(&socket);
                });
            }
        };
        tokio::join!(all, kills).0
    });
    assert_fair(&database, &got);
    serving.kill().unwrap();
    serving.wait().unwrap();
}
