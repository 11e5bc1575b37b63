//! Revisions of captured images, counted over all hosts of an engine.

use std::sync::Arc;

use labyard_driver::Driver;
use labyard_driver::ids::HostName;
use labyard_driver_sim::{Settings, SimDriver, SimHost};
use labyard_reconciler::EngineError;
use labyard_reconciler::engine::{Embedded, Engine, ObjectRef};
use labyard_reconciler::host::Host;

use crate::captures::{golden, stopped};
use crate::rig::{Table, bounds, deps, inventory, wish};

/// Makes a stopped machine on a host.
async fn machine(engine: &Embedded, host: &str) -> ObjectRef {
    let (host, wish) = (HostName::from(host), wish(&stopped("web", None)));
    let made = engine.create_machine(&host, &wish, bounds(), &|_| {}).await;
    let identity = made.unwrap().identity().unwrap().clone();
    ObjectRef {
        host,
        namespace: wish.namespace,
        name: wish.name,
        id: Some(identity.id.clone()),
        identity: Some(identity),
        pools: Default::default(),
    }
}

async fn capture(engine: &Embedded, object: &ObjectRef) -> Result<u32, EngineError> {
    let captured = engine
        .capture_machine(object, &golden(), bounds(), &|_| {})
        .await?;
    Ok(captured.image.image.revision.0)
}

#[tokio::test(start_paused = true)]
async fn while_a_host_does_not_answer_no_number_is_given_that_it_may_have_given() {
    let sims = [1, 2].map(|seed| {
        SimHost::new(Settings {
            seed,
            ..Settings::default()
        })
    });
    let hosts = ["lab1", "lab2"].into_iter().zip(&sims).map(|(name, sim)| {
        let driver = || Arc::new(SimDriver::in_memory(sim)) as Arc<dyn Driver>;
        Host::new(name.into(), driver(), driver())
    });
    let engine = Embedded::new(hosts.collect::<Vec<_>>(), deps(&Table::default()));
    let (first, second) = (machine(&engine, "lab1").await, machine(&engine, "lab2").await);
    assert_eq!(capture(&engine, &first).await.unwrap(), 1);

    let before = inventory(&sims[1]);
    sims[0].hang();
    let error = capture(&engine, &second).await.unwrap_err().to_string();
    assert!(error.contains("revisions of golden host lab1 has"), "{error}");
    assert_eq!(inventory(&sims[1]), before);
    sims[0].resume();
    assert_eq!(capture(&engine, &second).await.unwrap(), 2);
}
