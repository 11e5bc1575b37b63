//! A network is not taken down while nobody can tell who is on it; what is done to it is done again where the host was
//! busy, and within its time.

use std::time::Duration;

use labyard_driver::observed::{Activity, NetworkStanding};
use labyard_driver_sim::{Edge, Failure, Fault, FaultKind, ForeignHand, Settings, SimHost, Trigger, Verb};
use labyard_reconciler::EngineError;
use labyard_reconciler::engine::{Bounds, Engine, ObjectRef};
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
        assert!(
            refused.contains("machine \"web\"") && refused.contains("lab"),
            "{refused}"
        );
    }
    assert_eq!(
        (sim.count(Verb::RemoveNetwork), sim.count(Verb::ChangeNetwork)),
        (0, 0)
    );
    assert_eq!(sim.look().networks[0].active, Activity::Active);

    sim.by_other_hand(&ForeignHand::Unhang(id)).unwrap();
    let refused = rig.engine.destroy_network(&object, bounds()).await.unwrap_err();
    assert!(matches!(refused, EngineError::InUse { .. }), "{refused}");
    rig.engine
        .update_network(&object, &changed, bounds())
        .await
        .unwrap();
}

fn troubles() -> [FaultKind; 5] {
    [
        FaultKind::Fail(Edge::Before, Failure::Busy),
        FaultKind::Fail(Edge::Before, Failure::Unreachable),
        FaultKind::LoseRequest,
        FaultKind::LoseReply,
        FaultKind::Duplicate,
    ]
}

#[tokio::test(start_paused = true)]
async fn a_network_is_made_changed_and_removed_whatever_becomes_of_one_call() {
    for trouble in troubles() {
        for verb in [Verb::CreateNetwork, Verb::ChangeNetwork, Verb::RemoveNetwork] {
            let sim = SimHost::new(Settings::default());
            let rig = Rig::start(&sim, &Table::default());
            sim.order(Fault::nth(verb, 1, trouble.clone()));
            let told = |error: &EngineError| format!("{verb:?}, {trouble:?}: {error}");
            let network = rig.network().await.unwrap_or_else(|e| panic!("{}", told(&e)));
            let Owner::Ours { identity, .. } = network.owner else {
                panic!("{network:?}");
            };
            let object = object(&rig, &identity);
            let mut changed = network_wish();
            changed.domain = Some("other.test".to_owned());
            let updated = rig.engine.update_network(&object, &changed, bounds()).await;
            updated.unwrap_or_else(|e| panic!("{}", told(&e)));
            assert_eq!(sim.look().networks[0].domain, changed.domain);
            let destroyed = rig.engine.destroy_network(&object, bounds()).await;
            destroyed.unwrap_or_else(|e| panic!("{}", told(&e)));
            assert!(sim.look().networks.is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_a_network_ends_with_its_time_and_does_not_begin_in_a_run_that_was_ended() {
    let sim = SimHost::new(Settings {
        call_deadline: Duration::from_secs(3600),
        ..Settings::default()
    });
    let rig = Rig::start(&sim, &Table::default());
    let network = rig.network().await.unwrap();
    let Owner::Ours { identity, .. } = network.owner else {
        panic!("{network:?}");
    };
    let object = object(&rig, &identity);
    let short = Bounds {
        limit: Duration::from_secs(60),
        ..bounds()
    };
    let slow = FaultKind::Delay(Duration::from_secs(1000));
    for verb in [Verb::ChangeNetwork, Verb::RemoveNetwork] {
        sim.order(Fault::nth(verb, 1, slow.clone()));
    }
    let updated = rig
        .engine
        .update_network(&object, &network_wish(), short.clone())
        .await;
    let destroyed = rig.engine.destroy_network(&object, short).await;
    for late in [updated.map(drop), destroyed] {
        let late = late.unwrap_err().to_string();
        assert!(late.contains("60s"), "{late}");
    }
    sim.clear_operations();
    let ended = bounds();
    ended.cancel.cancel();
    let updated = rig
        .engine
        .update_network(&object, &network_wish(), ended.clone())
        .await;
    let destroyed = rig.engine.destroy_network(&object, ended).await;
    for ended in [updated.map(drop), destroyed] {
        let ended = ended.unwrap_err();
        assert!(matches!(ended, EngineError::Cancelled { .. }), "{ended}");
    }
    assert_eq!(sim.mutations(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_network_is_made_within_its_time_and_not_in_a_run_that_was_ended() {
    let sim = SimHost::new(Settings {
        call_deadline: Duration::from_secs(3600),
        ..Settings::default()
    });
    let rig = Rig::start(&sim, &Table::default());
    let slow = FaultKind::Delay(Duration::from_secs(1000));
    sim.order(Fault::nth(Verb::CreateNetwork, 1, slow));
    let short = Bounds {
        limit: Duration::from_secs(60),
        ..bounds()
    };
    let create = async |bounds| {
        let wish = network_wish();
        let made = rig.engine.create_network(&rig.host, &wish, bounds);
        made.await.unwrap_err()
    };
    let late = create(short).await.to_string();
    assert!(late.contains("60s"), "{late}");
    let ended = bounds();
    ended.cancel.cancel();
    let ended = create(ended).await;
    assert!(matches!(ended, EngineError::Cancelled { .. }), "{ended}");
    assert!(sim.look().networks.is_empty());
    rig.network().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_change_that_the_host_keeps_from_what_runs_is_made_again_and_is_never_success() {
    let sim = SimHost::new(Settings::default());
    let rig = Rig::start(&sim, &Table::default());
    let network = rig.network().await.unwrap();
    let Owner::Ours { identity, .. } = network.owner else {
        panic!("{network:?}");
    };
    let object = object(&rig, &identity);
    let mut changed = network_wish();
    changed.domain = Some("other.test".to_owned());
    sim.order(Fault::nth(Verb::ChangeNetwork, 1, FaultKind::Swallow));
    let updated = rig.engine.update_network(&object, &changed, bounds()).await;
    updated.unwrap();
    assert_eq!(sim.look().networks[0].standing, NetworkStanding::AsDefined);
    changed.domain = Some("third.test".to_owned());
    sim.order(Fault {
        at: Trigger::Every(Verb::ChangeNetwork),
        kind: FaultKind::Swallow,
    });
    let swallowed = rig.engine.update_network(&object, &changed, bounds()).await;
    let swallowed = swallowed.unwrap_err();
    assert!(matches!(swallowed, EngineError::Unknown { .. }), "{swallowed}");
    assert!(
        swallowed.to_string().contains("runs the network otherwise"),
        "{swallowed}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_address_stays_reserved_while_another_machine_has_its_mac() {
    let sim = SimHost::new(Settings::default());
    let rig = Rig::start(&sim, &Table::default());
    rig.network().await.unwrap();
    let named = |name: &str| {
        let mut config = config(name);
        let nics = config.nics.as_mut().unwrap();
        nics.get_mut("lan").unwrap().mac = Some("52:54:00:00:00:09".into());
        wish(&config)
    };
    let (before, after) = (named("before"), named("after"));
    let reservations = || sim.look().networks[0].reservations.clone();
    let (made, first) = rig.create(&before).await;
    made.unwrap();
    let kept = reservations();
    let (made, second) = rig.create(&after).await;
    made.unwrap();
    rig.destroy(&first.unwrap(), &before).await.unwrap();
    let address =
        |all: &[labyard_driver::observed::Reservation]| all.iter().map(|r| r.address).collect::<Vec<_>>();
    assert_eq!(address(&reservations()), address(&kept));
    rig.destroy(&second.unwrap(), &after).await.unwrap();
    assert_eq!(reservations(), []);
}
