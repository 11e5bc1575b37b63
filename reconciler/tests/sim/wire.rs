//! What crosses between an engine and who asks it over a network arrives as it was sent.

use labyard_driver::ids::ObjectName;
use labyard_reconciler::capacity::HostCapacity;
use labyard_reconciler::engine::{Engine, Look, Reading, Want};
use labyard_reconciler::steps::Progress;
use labyard_reconciler::view::MachineView;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Mutex;

use crate::any_machine::{Wide, host, machine};
use crate::cases::check;
use crate::rig::{Rig, Table, bounds, network_wish, wish};
use labyard_schema::vm;

fn there_and_back<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let text = serde_json::to_string(value).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

async fn arrives((mut config, wide): (vm::Vm, Wide)) {
    let rig = Rig::start(&host(false), &Table::default());
    let network = rig.network().await.unwrap();
    assert_eq!(there_and_back(&network), network);
    assert_eq!(there_and_back(&network_wish()), network_wish());
    wide.into(&mut config, false);
    let wanted = wish(&config);
    assert_eq!(there_and_back(&wanted), wanted);
    let want = Want::of(&wanted.namespace, &config, None);
    assert_eq!(format!("{:?}", there_and_back(&want)), format!("{want:?}"));

    let reached = Mutex::new(Vec::new());
    let report = |progress: &Progress| reached.lock().unwrap().push(progress.clone());
    let made = rig
        .engine
        .create_machine(&rig.host, &wanted, bounds(), &report)
        .await;
    let view = made.unwrap();
    for progress in reached.into_inner().unwrap() {
        assert_eq!(
            format!("{:?}", there_and_back(&progress)),
            format!("{progress:?}")
        );
    }
    let object = rig.object(&wanted, view.identity());
    assert_eq!(there_and_back(&object), object);
    let read = rig.engine.read_machine(&object).await.unwrap();
    let told: Reading<MachineView> = there_and_back(&read);
    assert_eq!(format!("{told:?}"), format!("{read:?}"));
    assert_eq!(there_and_back(&view), view);

    let snapshot = rig.engine.snapshot(&rig.host).await.unwrap();
    assert_eq!(
        format!("{:?}", there_and_back(&*snapshot)),
        format!("{snapshot:?}")
    );
    let capacity: HostCapacity = rig.engine.capacity(&rig.host, Look::Recent).await.unwrap();
    assert_eq!(
        format!("{:?}", there_and_back(&capacity)),
        format!("{capacity:?}")
    );
    let other = ObjectName("other".into());
    let taken = rig
        .engine
        .taken(&rig.host, &wanted.namespace, &other)
        .await
        .unwrap();
    assert_eq!(there_and_back(&taken), taken);
    let offers = rig.engine.offers(&rig.host).await.unwrap();
    assert_eq!(there_and_back(&offers), offers);
}

#[test]
fn whatever_crosses_to_a_remote_engine_and_back_arrives_as_it_was_sent() {
    check("what crosses", 40, &machine(), arrives);
}
