//! A network is not taken down while nobody can tell who is on it.

use labyard_driver::observed::Activity;
use labyard_driver_sim::{ForeignHand, Settings, SimHost, Verb};
use labyard_reconciler::EngineError;
use labyard_reconciler::engine::{Engine, ObjectRef};
use labyard_reconciler::identity::Identity;
use labyard_reconciler::view::Owner;

use crate::rig::{Rig, Table, bounds, config, network_wish, wish};

/// A network of ours, as a state knows it.
fn object(rig: &Rig, identity: &Identity) -> ObjectRef {
    ObjectRef {
        host: rig.host.clone(),
        namespace: "default".into(),
        name: "lab".into(),
        identity: Some(identity.clone()),
        id: Some(identity.id.clone()),
        pools: Default::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_stays_up_while_a_running_machine_does_not_tell_where_it_is_attached() {
    let sim = SimHost::new(Settings::default());
    let rig = Rig::start(&sim, &Table::default());
    let network = rig.network().await.unwrap();
    let Owner::Ours { identity, .. } = network.owner else {
        panic!("{network:?}");
    };
    let (made, machine) = rig.create(&wish(&config("web"))).await;
    made.unwrap();
    let id = machine.unwrap().id;
    let object = object(&rig, &identity);
    sim.by_other_hand(&ForeignHand::Hang(id.clone())).unwrap();
    sim.clear_operations();

    let mut changed = network_wish();
    changed.domain = Some("other.test".to_owned());
    let destroyed = rig.engine.destroy_network(&object, bounds()).await;
    let updated = rig.engine.update_network(&object, &changed, bounds()).await;
    for refused in [destroyed.unwrap_err(), updated.unwrap_err()] {
        assert!(matches!(refused, EngineError::Unknown { .. }), "{refused}");
        let refused = refused.to_string();
        assert!(refused.contains("machine \"web\"") && refused.contains("lab"), "{refused}");
    }
    assert_eq!((sim.count(Verb::RemoveNetwork), sim.count(Verb::ChangeNetwork)), (0, 0));
    assert_eq!(sim.look().networks[0].active, Activity::Active);

    sim.by_other_hand(&ForeignHand::Unhang(id)).unwrap();
    let refused = rig.engine.destroy_network(&object, bounds()).await.unwrap_err();
    assert!(matches!(refused, EngineError::InUse { .. }), "{refused}");
    rig.engine.update_network(&object, &changed, bounds()).await.unwrap();
}
