//! A guest is asked to go before its power is taken, also where the host is busy, and has all the time it was given.

use std::time::Duration;

use labyard_driver_sim::{
    Edge, Failure, Fault, FaultKind, ForeignHand, GuestSettings, Settings, SimHost, Verb,
};
use labyard_reconciler::EngineError;
use labyard_reconciler::desired::DesiredMachine;
use labyard_reconciler::identity::Identity;
use labyard_schema::text::Span;
use labyard_schema::vm;
use tokio::time::Instant;

use crate::rig::{Rig, Table, config, wish};

struct Scene {
    sim: SimHost,
    rig: Rig,
    identity: Identity,
    running: DesiredMachine,
}

impl Scene {
    /// A machine that runs, on a host whose guests take so long to go, and may take so long.
    async fn new(takes: Duration, may_take: &str) -> Self {
        let sim = SimHost::new(Settings {
            guest: GuestSettings {
                shutdown: takes,
                ..GuestSettings::default()
            },
            call_deadline: Duration::from_secs(3600),
            ..Settings::default()
        });
        let table = Table::default();
        let builder = Rig::start(&sim, &table);
        builder.network().await.unwrap();
        let running = wish(&patient(may_take));
        let (made, identity) = builder.create(&running).await;
        made.unwrap();
        let identity = identity.unwrap();
        builder.end().await;
        let rig = Rig::start(&sim, &table);
        sim.clear_operations();
        Self {
            sim,
            rig,
            identity,
            running,
        }
    }

    async fn stop(&self, may_take: &str) -> Result<(), EngineError> {
        let stopped = wish(&vm::Vm {
            power: "stopped".into(),
            ..patient(may_take)
        });
        let update = self.rig.update(&self.identity, &self.running, &stopped);
        update.await.map(drop)
    }

    /// How often the guest was asked to go, and how often its power was taken.
    fn asked_and_forced(&self) -> (usize, usize) {
        (
            self.sim.count(Verb::RequestShutdown),
            self.sim.count(Verb::PowerOff),
        )
    }
}

fn patient(timeout: &str) -> vm::Vm {
    vm::Vm {
        shutdown: Some(vm::Shutdown {
            mode: "graceful".into(),
            timeout: Some(Span(timeout.to_owned())),
        }),
        ..config("web")
    }
}

/// The next request to shut down goes wrong so.
fn at_the_request(kind: FaultKind) -> Fault {
    Fault::nth(Verb::RequestShutdown, 1, kind)
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_cannot_be_asked_at_this_moment_is_asked_again() {
    let troubles = [
        FaultKind::Fail(Edge::Before, Failure::Busy),
        FaultKind::Fail(Edge::Before, Failure::Unreachable),
        FaultKind::LoseRequest,
        FaultKind::LoseReply,
    ];
    for trouble in troubles {
        let scene = Scene::new(Duration::from_secs(1), "60s").await;
        scene.sim.order(at_the_request(trouble.clone()));
        scene.stop("60s").await.unwrap();
        assert_eq!(scene.asked_and_forced().1, 0, "{trouble:?}");

        let scene = Scene::new(Duration::from_secs(1), "60s").await;
        scene.sim.order(at_the_request(trouble.clone()));
        scene.rig.destroy(&scene.identity, &scene.running).await.unwrap();
        assert_eq!(scene.asked_and_forced().1, 0, "{trouble:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_the_host_cannot_ask_at_all_loses_its_power_at_once() {
    for failure in [Failure::Refused, Failure::Unsupported] {
        let scene = Scene::new(Duration::from_secs(1), "60s").await;
        let begun = Instant::now();
        scene
            .sim
            .order(at_the_request(FaultKind::Fail(Edge::Before, failure)));
        scene.stop("60s").await.unwrap();
        assert_eq!(scene.asked_and_forced(), (1, 1), "{failure:?}");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_hangs_loses_its_power_when_its_time_is_over_and_not_before() {
    let scene = Scene::new(Duration::from_secs(1), "90s").await;
    let id = scene.sim.look().machines[0].id.clone();
    scene.sim.by_other_hand(&ForeignHand::Hang(id)).unwrap();
    let begun = Instant::now();
    scene.rig.destroy(&scene.identity, &scene.running).await.unwrap();
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_secs(90) && took < Duration::from_secs(120),
        "{took:?}"
    );
    assert!(scene.sim.look().machines.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_guest_has_the_time_that_its_user_gave_it_however_long() {
    let scene = Scene::new(Duration::from_secs(9 * 60), "10m").await;
    scene.stop("10m").await.unwrap();
    assert_eq!(scene.asked_and_forced(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_does_not_end_is_told_with_its_own_limit() {
    let scene = Scene::new(Duration::from_secs(1), "60s").await;
    scene.stop("60s").await.unwrap();
    let slow = FaultKind::Delay(Duration::from_secs(1000));
    scene.sim.order(Fault::nth(Verb::StartMachine, 1, slow));
    let start = scene.rig.update(&scene.identity, &scene.running, &scene.running);
    let error = start.await.unwrap_err().to_string();
    assert!(error.contains("240s") && !error.contains("1800s"), "{error}");
}
