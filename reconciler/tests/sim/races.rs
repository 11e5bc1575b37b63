//! Several builders at once: for one name, for one image, for one network's addresses.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use labyard_driver_sim::{Latency, Settings, SimHost, Verb};
use labyard_reconciler::EngineError;
use std::time::Duration;

use crate::rig::{Rig, Table, assert_whole, config, inventory, wish};

fn slow_host(seed: u64) -> SimHost {
    let latency = Latency {
        least: Duration::from_millis(1),
        most: Duration::from_millis(40),
    };
    SimHost::new(Settings {
        seed,
        latency,
        ..Settings::default()
    })
}

#[tokio::test(start_paused = true)]
async fn of_two_runs_that_build_one_name_exactly_one_does() {
    for seed in 0..20 {
        let (sim, table) = (slow_host(seed), Table::default());
        let (a, b) = (Rig::start(&sim, &table), Rig::start(&sim, &table));
        a.network().await.unwrap();
        let wish = wish(&config("web"));
        let (first, second) = futures::join!(a.create(&wish), b.create(&wish));
        let errors: Vec<_> = [&first.0, &second.0]
            .into_iter()
            .filter_map(|r| r.as_ref().err())
            .collect();
        assert_eq!(errors.len(), 1, "seed {seed}: {errors:?}");
        let named = matches!(
            errors[0],
            EngineError::BeingBuilt { .. } | EngineError::AlreadyExists { .. }
        );
        assert!(named, "seed {seed}: {}", errors[0]);
        assert_whole(&sim, &["web"]);
    }
}

#[tokio::test(start_paused = true)]
async fn forty_machines_at_once_share_one_upload_and_have_addresses_of_their_own() {
    let (sim, table) = (slow_host(1), Table::default());
    let rig = Arc::new(Rig::start(&sim, &table));
    rig.network().await.unwrap();
    sim.clear_operations();
    let names: Vec<_> = (10..50).map(|n| format!("web-{n}")).collect();
    let made = join_all(names.iter().map(|name| {
        let rig = rig.clone();
        async move { rig.create(&wish(&config(name))).await.0 }
    }));
    for (name, made) in names.iter().zip(made.await) {
        made.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_whole(&sim, &names);
    // Forty seeds and one image.
    assert_eq!(sim.count(Verb::Upload), 41);
    let snapshot = sim.look();
    let addresses: BTreeSet<_> = snapshot.networks[0]
        .reservations
        .iter()
        .map(|r| r.address)
        .collect();
    assert_eq!(addresses.len(), 40);
}

#[tokio::test(start_paused = true)]
async fn two_namespaces_on_one_host_do_not_meet() {
    let (sim, table) = (slow_host(2), Table::default());
    let (a, b) = (Rig::start(&sim, &table), Rig::start(&sim, &table));
    a.network().await.unwrap();
    let ours = wish(&config("web"));
    let mut theirs = ours.clone();
    theirs.namespace = "team-b".into();
    theirs.nics.values_mut().for_each(|nic| nic.mac.0[5] ^= 1);
    let (first, second) = futures::join!(a.create(&ours), b.create(&theirs));
    first.0.unwrap();
    second.0.unwrap();
    let machines: Vec<_> = inventory(&sim)
        .into_iter()
        .filter(|l| l.starts_with("machine"))
        .collect();
    assert_eq!(machines, ["machine team-b.web", "machine web"]);
    let images = inventory(&sim)
        .iter()
        .filter(|l| l.starts_with("volume labyard-image."))
        .count();
    assert_eq!(images, 2, "one image serves both: {:?}", inventory(&sim));
    a.end().await;
    let after = Rig::start(&sim, &table);
    after.destroy(&first.1.unwrap(), &ours).await.unwrap();
    let images = inventory(&sim)
        .iter()
        .filter(|l| l.starts_with("volume labyard-image."))
        .count();
    assert_eq!(images, 2, "the other namespace needs it: {:?}", inventory(&sim));
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_machine_is_never_taken_and_a_foreign_one_never_touched() {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let first = Rig::start(&sim, &table);
    first.network().await.unwrap();
    let wish = wish(&config("web"));
    first.create(&wish).await.0.unwrap();
    first.end().await;
    let before = inventory(&sim);
    let second = Rig::start(&sim, &table);
    let refused = second.create(&wish).await.0.unwrap_err().to_string();
    assert!(
        refused.contains("terraform import") && refused.contains("lab1/web"),
        "{refused}"
    );
    assert_eq!(inventory(&sim), before);
}

#[tokio::test(start_paused = true)]
async fn of_one_image_that_several_runs_upload_at_once_exactly_one_stays() {
    for seed in 0..30 {
        let (sim, table) = (slow_host(seed), Table::default());
        let rigs: Vec<_> = (0..3).map(|_| Rig::start(&sim, &table)).collect();
        rigs[0].network().await.unwrap();
        let wishes = ["one", "two", "three"].map(|name| wish(&config(name)));
        let made = join_all(rigs.iter().zip(&wishes).map(|(rig, wish)| rig.create(wish))).await;
        for (made, _) in made {
            made.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        }
        assert_whole(&sim, &["one", "three", "two"]);
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_runs_that_make_one_network_the_second_learns_whose_it_is() {
    for seed in 0..20 {
        let (sim, table) = (slow_host(seed), Table::default());
        let (a, b) = (Rig::start(&sim, &table), Rig::start(&sim, &table));
        let (first, second) = futures::join!(a.network(), b.network());
        let errors: Vec<_> = [first, second].into_iter().filter_map(Result::err).collect();
        assert_eq!(errors.len(), 1, "seed {seed}");
        let named = matches!(
            errors[0],
            EngineError::BeingBuilt { .. } | EngineError::AlreadyExists { .. }
        );
        assert!(named, "seed {seed}: {}", errors[0]);
        assert_eq!(inventory(&sim), ["network lab"]);
    }
}
