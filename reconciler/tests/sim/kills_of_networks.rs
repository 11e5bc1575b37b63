//! A network's update of any class, and its removal, killed before and after any of their mutations while a machine is on
//! it: one more apply converges with the machine back on its network, one more does nothing, and nothing is left in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use labyard_driver::observed::Power;
use labyard_driver_sim::{Edge, Fault, FaultKind, Settings, SimHost};
use labyard_reconciler::engine::{Engine, Reading};
use labyard_reconciler::view::NetworkView;
use labyard_reconciler::{diff, identity::Identity};
use labyard_schema::network;
use tokio::time::timeout;

use crate::any_network::{desired, object};
use crate::converge::view as machine_view;
use crate::rig::{Rig, Table, bounds, config, inventory, network_config, wish};

const PATIENCE: Duration = Duration::from_secs(3600);
const EDGES: [Edge; 2] = [Edge::Before, Edge::After];

fn plain() -> network::Network {
    network::Network {
        dns: Some(network::Dns::default()),
        ..network_config()
    }
}

/// A network with a machine on it.
struct Scene {
    sim: SimHost,
    table: Table,
    view: NetworkView,
    machine: Identity,
}

impl Scene {
    async fn new() -> Self {
        let (sim, table) = (SimHost::new(Settings::default()), Table::default());
        let rig = Rig::start(&sim, &table);
        let plain = desired(&plain());
        let view = rig.engine.create_network(&rig.host, &plain, bounds()).await;
        let view = view.unwrap();
        let (made, machine) = rig.create(&wish(&config("web"))).await;
        made.unwrap();
        rig.end().await;
        let machine = machine.unwrap();
        Self {
            sim,
            table,
            view,
            machine,
        }
    }

    fn rig(&self) -> Rig {
        Rig::start(&self.sim, &self.table)
    }

    async fn update(&self, rig: &Rig, to: &network::Network) {
        let object = object(rig, &self.view);
        let told = rig.engine.update_network(&object, &desired(to), bounds()).await;
        told.unwrap();
    }

    async fn remove(&self, rig: &Rig) {
        let object = object(rig, &self.view);
        rig.engine.destroy_network(&object, bounds()).await.unwrap();
    }

    async fn remove_machine(&self) {
        let rig = self.rig();
        let gone = rig.destroy(&self.machine, &wish(&config("web"))).await;
        gone.unwrap();
        rig.end().await;
    }

    /// An operation whose process dies at a mutation.
    async fn killed(&self, nth: u64, edge: Edge, operation: impl Future<Output = ()>) {
        self.sim.order(Fault::mutation(nth, FaultKind::CrashCaller(edge)));
        let ended = tokio::select! {
            ended = timeout(PATIENCE, operation) => ended.is_ok(),
            () = self.sim.caller_crashed() => false,
        };
        assert!(!ended, "{edge:?} {nth}: not killed");
        self.sim.clear_faults();
    }

    fn shown(&self) -> String {
        let snapshot = self.sim.look();
        let machine = &snapshot.machines[0];
        format!("{:?}", (&snapshot.networks, machine.power, &machine.detail))
    }

    async fn assert_settled(&self, to: &network::Network, at: &str) {
        let rig = self.rig();
        let reading = rig.engine.read_network(&object(&rig, &self.view)).await;
        let Reading::Present(now) = reading.unwrap() else {
            panic!("{at}: it is gone")
        };
        assert_eq!(diff::network::diff(&desired(to), &now), [], "{at}");
        assert_eq!(now.wishes.labels, to.labels, "{at}");
        let guest = wish(&config("web"));
        let machine = machine_view(&rig, &guest, &self.machine).await.unwrap();
        assert_eq!(diff::machine::diff(&guest, &machine), [], "{at}");
        assert_eq!(self.sim.look().machines[0].power, Power::Running, "{at}");
        rig.end().await;
        let before = self.shown();
        let rig = self.rig();
        self.update(&rig, to).await;
        rig.end().await;
        assert_eq!(self.shown(), before, "{at}: one more changed something");
    }
}

async fn changed(change: impl FnOnce(&mut network::Network)) {
    let mut to = plain();
    change(&mut to);
    let all = {
        let scene = Scene::new().await;
        scene.sim.clear_operations();
        let rig = scene.rig();
        scene.update(&rig, &to).await;
        rig.end().await;
        let all = scene.sim.mutations() as u64;
        scene.assert_settled(&to, "undisturbed").await;
        all
    };
    assert!(all >= 1, "an update changes something");
    println!("KILLS of a network's update at {all} mutations");
    for (nth, edge) in (1..=all).flat_map(|nth| EDGES.map(|edge| (nth, edge))) {
        let at = format!("{edge:?} {nth} of {all}");
        let scene = Scene::new().await;
        let rig = scene.rig();
        scene.killed(nth, edge, scene.update(&rig, &to)).await;
        rig.kill();
        let rig = scene.rig();
        scene.update(&rig, &to).await;
        rig.end().await;
        scene.assert_settled(&to, &at).await;
        scene.remove_machine().await;
        let rig = scene.rig();
        scene.remove(&rig).await;
        rig.end().await;
        assert_eq!(inventory(&scene.sim), [""; 0], "{at}");
    }
}

fn dns(network: &mut network::Network) -> &mut network::Dns {
    network.dns.as_mut().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_live_change_converges() {
    changed(|network| {
        network.autostart = true;
        network.labels = Some([("a".to_owned(), "x".to_owned())].into());
        let dhcp = network.ipv4.as_mut().unwrap().dhcp.as_mut().unwrap();
        dhcp.end = "10.77.0.210".into();
        let hosts = vec!["10.77.0.5".to_owned()];
        dns(network).records = Some(BTreeMap::from([("a".to_owned(), hosts)]));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn another_mode_converges() {
    changed(|network| network.mode = "isolated".into()).await;
}

#[tokio::test(start_paused = true)]
async fn other_names_converge() {
    changed(|network| {
        dns(network).domain = Some("lab.test".into());
        dns(network).forwarders = Some(vec!["192.0.2.53".into()]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_second_family_and_another_mtu_converge() {
    changed(|network| {
        network.mtu = Some(1400);
        network.ipv6 = Some(network::Ipv6 {
            cidr: "fd00:77::/64".into(),
            dhcp: None,
        });
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn boot_from_the_network_and_options_converge() {
    changed(|network| {
        network.boot = Some(network::NetworkBoot {
            url: "https://10.77.0.1/a.efi".into(),
            vendor_class: "HTTPClient".into(),
        });
        let dhcp = network.ipv4.as_mut().unwrap().dhcp.as_mut().unwrap();
        dhcp.options = Some([("42".to_owned(), "10.77.0.5".to_owned())].into());
        network.autostart = true;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_removal_is_finished_by_the_next() {
    let all = {
        let scene = Scene::new().await;
        scene.remove_machine().await;
        scene.sim.clear_operations();
        let rig = scene.rig();
        scene.remove(&rig).await;
        scene.sim.mutations() as u64
    };
    for (nth, edge) in (1..=all).flat_map(|nth| EDGES.map(|edge| (nth, edge))) {
        let scene = Scene::new().await;
        scene.remove_machine().await;
        let rig = scene.rig();
        scene.killed(nth, edge, scene.remove(&rig)).await;
        rig.kill();
        let rig = scene.rig();
        scene.remove(&rig).await;
        rig.end().await;
        assert_eq!(inventory(&scene.sim), [""; 0], "{edge:?} {nth}");
    }
}
