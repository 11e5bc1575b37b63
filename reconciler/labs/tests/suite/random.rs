//! Any sequence of redeeming, waiting, releasing, recycling and time leaves the store sound.

use crate::lab::*;
use labyard_labs::{Refusal, code::Terms};
use labyard_store::testing::Database;
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

#[derive(Clone, Debug)]
enum Step {
    Redeem { user: u8, key: u8, wait: i64 },
    Release(usize),
    Seen(usize),
    Expire,
    Serve,
    Recycle,
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_u8, 0..12_u8, 0..2_i64).prop_map(|(user, key, wait)| Step::Redeem { user, key, wait: wait * HOUR }),
        2 => (0..20_usize).prop_map(Step::Release),
        2 => (0..20_usize).prop_map(Step::Seen),
        1 => Just(Step::Expire),
        2 => Just(Step::Serve),
        2 => Just(Step::Recycle),
        2 => (1..HOUR).prop_map(Step::Pass),
    ]
}

#[test]
fn any_sequence_of_steps_leaves_the_store_sound() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let config = Config {
        cases: 40,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[1; 32]));
    let steps = proptest::collection::vec(step(), 1..60);
    runner
        .run(&steps, |steps| {
            runtime.block_on(walk(steps));
            Ok(())
        })
        .unwrap();
}

async fn walk(steps: Vec<Step>) {
    let database = Database::sqlite();
    let store = database.open().await;
    pool(&store, "k8s", 3).await;
    pool(&store, "db", 2).await;
    code(
        &store,
        Terms {
            max_uses: Some(9),
            max_uses_per_user: Some(3),
            ..terms(&[("k8s", 1), ("db", 1)])
        },
    )
    .await;
    let (mut now, mut claims) = (0, Vec::new());
    for step in steps {
        match step {
            Step::Redeem { user, key, wait } => {
                let asked = waiting(&format!("u{user}"), &format!("k{key}"), wait);
                match redeemed(&store, asked, now).await {
                    Ok(redeemed) => claims.push(redeemed.claim.id),
                    Err(Refusal::Store(error)) => panic!("{error}"),
                    Err(_) => {}
                }
            }
            Step::Release(at) => {
                if let Some(id) = claims.get(at) {
                    released(&store, id, now).await.unwrap();
                }
            }
            Step::Seen(at) => {
                if let Some(id) = claims.get(at) {
                    let _ = seen(&store, id, now).await;
                }
            }
            Step::Expire => drop(expired(&store, now).await),
            Step::Serve => drop(served(&store, now).await),
            Step::Recycle => recycled(&store, now).await,
            Step::Pass(time) => now += time,
        }
        assert_sound(&store).await;
    }
}
