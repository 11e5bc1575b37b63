//! Machines that share a host's networks: nobody is on a network of another namespace, and nobody takes the address that is
//! kept for another.

use labyard_driver_sim::{Settings, SimHost};
use labyard_reconciler::EngineError;
use labyard_reconciler::desired::DesiredNetwork;
use labyard_reconciler::engine::Engine;
use labyard_schema::vm;

use crate::rig::{Rig, Table, bounds, config, network_config, wish};

/// A machine with that card alone.
fn with(name: &str, nic: vm::Nic) -> vm::Vm {
    vm::Vm {
        nics: Some([("lan".to_owned(), nic)].into()),
        power: "stopped".into(),
        ..config(name)
    }
}

fn on(network: &str) -> vm::Nic {
    vm::Nic {
        network: network.into(),
        ..vm::Nic::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_of_another_namespace_is_not_had_by_what_the_host_calls_it() {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let rig = Rig::start(&sim, &table);
    let theirs = DesiredNetwork::from_config(&"physics".into(), &network_config()).unwrap();
    rig.engine
        .create_network(&rig.host, &theirs, bounds())
        .await
        .unwrap();
    let web = wish(&with("web", on("physics.lab")));
    let error = rig.create(&web).await.0.unwrap_err();
    let said = error.root().to_string();
    assert!(said.contains("has no network \"physics.lab\""), "{said}");
    assert!(sim.look().networks[0].reservations.is_empty());
    // Under another name: what was begun of the first one is on the host, with its MAC.
    let mut www = wish(&with("www", on("physics.lab")));
    www.namespace = "physics".into();
    rig.create(&www).await.0.unwrap();
    assert_eq!(sim.look().networks[0].reservations.len(), 1, "it is its own");
    // What bears its plain name is for all.
    let lab = labyard_schema::network::Network {
        name: "shared".into(),
        ipv4: None,
        mode: "isolated".into(),
        ..network_config()
    };
    let shared = DesiredNetwork::from_config(&"default".into(), &lab).unwrap();
    rig.engine
        .create_network(&rig.host, &shared, bounds())
        .await
        .unwrap();
    let mut db = wish(&with("db", on("shared")));
    db.namespace = "physics".into();
    rig.create(&db).await.0.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_writes_anothers_mac_does_not_get_the_address_that_is_kept_for_it() {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let rig = Rig::start(&sim, &table);
    rig.network().await.unwrap();
    let web = rig.create(&wish(&with("web", on("lab")))).await.0.unwrap();
    let kept = sim.look().networks[0].reservations.clone();
    assert_eq!(kept.len(), 1);
    let mac = web.nics.values().next().unwrap().mac;
    let nic = vm::Nic {
        mac: Some(mac.to_string()),
        ipv4: Some(vm::NicIpv4 {
            address: "10.77.0.50/24".into(),
            gateway: None,
        }),
        ..on("lab")
    };
    let mut db = wish(&with("db", nic));
    db.nics.values_mut().for_each(|nic| nic.mac = mac);
    let error = rig.create(&db).await.0.unwrap_err();
    assert!(matches!(error.root(), EngineError::Attribute { .. }), "{error}");
    assert_eq!(error.attribute(), Some("nics[\"lan\"].mac"), "{error}");
    assert_eq!(sim.look().networks[0].reservations, kept);
}
