//! Cases drawn by chance: how many there were and from which seed is said, and the same seed draws them again. A change
//! is judged by the same cases as the one before it; `LABYARD_SEED=new` goes looking for others.

use std::fmt::Debug;
use std::future::Future;
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::prelude::{ProptestConfig, Strategy};
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

/// What is drawn from where nothing else is asked for.
const SEED: u64 = 1;

/// Draws cases and runs each of them in time that does not pass. `LABYARD_SEED` draws those of another run again, or,
/// where it is `new`, such as no run had; `LABYARD_CASES` another number of them.
pub fn check<S, F>(what: &str, cases: u32, strategy: &S, run: impl Fn(S::Value) -> F)
where
    S: Strategy<Value: Debug>,
    F: Future<Output = ()>,
{
    let number = |text: &str| -> u64 { text.parse().unwrap_or_else(|_| panic!("{text} is no number")) };
    let seed = match std::env::var("LABYARD_SEED").as_deref() {
        Ok("new") => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            now.as_nanos() as u64
        }
        Ok(given) => number(given),
        Err(_) => SEED,
    };
    let cases = std::env::var("LABYARD_CASES").map_or(cases, |text| number(&text) as u32);
    println!("CASES {what}: {cases}, LABYARD_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let outcome = runner.run(strategy, |case| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(case));
        Ok(())
    });
    if let Err(found) = outcome {
        panic!("{what}, LABYARD_SEED={seed}: {found}");
    }
}
