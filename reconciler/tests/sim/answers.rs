//! What a host answers is not always what it did: it fails after the deed, or its answer never comes. Each of these was
//! met by cases drawn by chance.

use labyard_driver::observed::Power;
use labyard_driver_sim::{Edge, Failure, Fault, FaultKind, Settings, SimHost, Verb};
use labyard_reconciler::desired::DesiredMachine;
use labyard_reconciler::identity::Identity;
use labyard_schema::vm;

use crate::rig::{Rig, Table, config, inventory, wish};

/// A machine on a host of its own, and nobody who waits for it.
struct Scene {
    sim: SimHost,
    table: Table,
}

impl Scene {
    async fn new() -> Self {
        let scene = Self {
            sim: SimHost::new(Settings::default()),
            table: Table::default(),
        };
        scene.rig().network().await.unwrap();
        scene
    }

    fn rig(&self) -> Rig {
        Rig::start(&self.sim, &self.table)
    }

    async fn machine(&self, wish: &DesiredMachine) -> Identity {
        let rig = self.rig();
        let (made, identity) = rig.create(wish).await;
        made.unwrap();
        rig.end().await;
        identity.unwrap()
    }

    /// An update through a fault, by a process that goes on.
    async fn update(&self, identity: &Identity, from: &DesiredMachine, to: &DesiredMachine, fault: Fault) {
        let rig = self.rig();
        self.sim.order(fault);
        rig.update(identity, from, to).await.unwrap();
        self.sim.clear_faults();
        rig.end().await;
    }

    fn power(&self) -> Power {
        self.sim.look().machines[0].power
    }
}

fn configured(power: &str) -> vm::Vm {
    vm::Vm {
        power: power.into(),
        ready: Some(vm::Ready {
            wait: "none".into(),
            timeout: None,
        }),
        ..config("web")
    }
}

fn power(word: &str) -> DesiredMachine {
    wish(&configured(word))
}

#[tokio::test(start_paused = true)]
async fn a_start_that_never_reached_the_host_is_made_again() {
    for kind in [FaultKind::Hang(Edge::Before), FaultKind::LoseRequest] {
        let scene = Scene::new().await;
        let (stopped, running) = (power("stopped"), power("running"));
        let identity = scene.machine(&stopped).await;
        let fault = Fault::nth(Verb::StartMachine, 1, kind.clone());
        scene.update(&identity, &stopped, &running, fault).await;
        assert_eq!(scene.power(), Power::Running, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_live_change_that_never_reached_the_host_is_made_again() {
    let more = vm::Vm {
        cpus: 2,
        ..configured("running")
    };
    let less = vm::Vm {
        cpus: 1,
        ..more.clone()
    };
    let room = |vm: vm::Vm| {
        wish(&vm::Vm {
            cpus_max: Some(4),
            ..vm
        })
    };
    let (less, more) = (room(less), room(more));
    let scene = Scene::new().await;
    let identity = scene.machine(&less).await;
    let fault = Fault::nth(Verb::ChangeLive, 1, FaultKind::LoseRequest);
    scene.update(&identity, &less, &more, fault).await;
    let detail = scene.sim.look().machines[0].detail.known().cloned().unwrap();
    assert_eq!((detail.cpus, detail.live_cpus), (2, Some(2)));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_was_marked_with_an_error_leaves_no_marker() {
    let scene = Scene::new().await;
    let empty = inventory(&scene.sim);
    let marker = Fault::nth(
        Verb::CreateVolume,
        2,
        FaultKind::Fail(Edge::After, Failure::Refused),
    );
    scene.sim.order(marker);
    let rig = scene.rig();
    let (made, identity) = rig.create(&power("running")).await;
    made.unwrap_err();
    let left = inventory(&scene.sim);
    assert!(
        !left.iter().any(|line| line.contains("labyard-image")),
        "{left:?}"
    );
    rig.destroy(&identity.unwrap(), &power("running")).await.unwrap();
    assert_eq!(inventory(&scene.sim), empty);
}
