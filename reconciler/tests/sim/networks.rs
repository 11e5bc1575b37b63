//! Networks on the simulated host: what the journal tells of their changes.

use labyard_driver::mark::Kind;
use labyard_driver_sim::{ForeignHand, Settings, SimHost};
use labyard_reconciler::EngineError;
use labyard_reconciler::desired::DesiredNetwork;
use labyard_reconciler::engine::{Engine, ObjectRef};
use labyard_reconciler::hooks::Hooks;
use labyard_reconciler::journal::stages::{Outcome, Passed, stages};
use labyard_reconciler::journal::{Journal, file};

use crate::rig::{Rig, Table, bounds, config, network_wish, wish};

fn rows(directory: &std::path::Path) -> Vec<Passed> {
    let mut rows = stages(&file::read(directory, "default").unwrap());
    rows.retain(|row| row.kind == Kind::Network);
    rows
}

fn told(rows: &[Passed]) -> Vec<(&str, &str, Outcome)> {
    rows.iter()
        .map(|row| (row.event.as_str(), row.stage.as_str(), row.outcome))
        .collect()
}

/// The network is made; what a state has of it.
async fn made(rig: &Rig) -> ObjectRef {
    let view = rig.network().await.unwrap();
    let known = network_wish();
    ObjectRef {
        host: rig.host.clone(),
        namespace: known.namespace,
        name: known.name,
        identity: view.identity().cloned(),
        id: Some(view.id),
        pools: Default::default(),
    }
}

/// The network with a change that takes it down and up.
fn taken_down() -> DesiredNetwork {
    DesiredNetwork {
        domain: Some("lab.test".to_owned()),
        ..network_wish()
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_of_others_that_came_a_moment_ago_is_not_cut_off() {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let rig = Rig::start(&sim, &table);
    let object = made(&rig).await;
    rig.engine.read_network(&object).await.unwrap();
    let other = Rig::start(&sim, &table);
    let theirs = other.create(&wish(&config("theirs"))).await.0.unwrap();
    sim.by_other_hand(&ForeignHand::EraseMark(theirs.id)).unwrap();
    let error = rig
        .engine
        .update_network(&object, &taken_down(), bounds())
        .await
        .unwrap_err();
    assert!(matches!(error.root(), EngineError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("theirs"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_journal_tells_each_stage_of_a_network_also_of_one_that_is_taken_down_and_up() {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let directory = tempfile::tempdir().unwrap();
    let rig = Rig::with(&sim, &table, Hooks::default(), Journal::at(directory.path()));
    let object = made(&rig).await;
    rig.engine
        .update_network(&object, &taken_down(), bounds())
        .await
        .unwrap();
    rig.engine.destroy_network(&object, bounds()).await.unwrap();
    let rows = rows(directory.path());
    let expected = [
        ("create", "make", Outcome::Done),
        ("update", "change", Outcome::Done),
        ("update", "reattach", Outcome::Done),
        ("destroy", "remove", Outcome::Done),
    ];
    assert_eq!(told(&rows), expected);
    assert!(
        rows.iter().all(|row| row.took_ms.is_some() && row.name == "lab"),
        "{rows:?}"
    );
}
