//! Networks on the simulated host: what the journal tells of their changes.

use labyard_driver::mark::Kind;
use labyard_driver_sim::{Settings, SimHost};
use labyard_reconciler::desired::DesiredNetwork;
use labyard_reconciler::engine::{Engine, ObjectRef};
use labyard_reconciler::hooks::Hooks;
use labyard_reconciler::journal::stages::{Outcome, Passed, stages};
use labyard_reconciler::journal::{Journal, file};

use crate::rig::{Rig, Table, bounds, network_wish};

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

#[tokio::test(start_paused = true)]
async fn the_journal_tells_each_stage_of_a_network_also_of_one_that_is_taken_down_and_up() {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let directory = tempfile::tempdir().unwrap();
    let rig = Rig::with(&sim, &table, Hooks::default(), Journal::at(directory.path()));
    let view = rig.network().await.unwrap();
    let wish = network_wish();
    let object = ObjectRef {
        host: rig.host.clone(),
        namespace: wish.namespace.clone(),
        name: wish.name.clone(),
        identity: view.identity().cloned(),
        id: Some(view.id.clone()),
        pools: Default::default(),
    };
    let other = DesiredNetwork {
        domain: Some("lab.test".to_owned()),
        ..network_wish()
    };
    rig.engine
        .update_network(&object, &other, bounds())
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
