//! Images that are made of machines' disks: named, counted, used by others, kept while they have a name or are used, and
//! finished or gone whatever was killed (invariants 13, 14 and 17).

use std::collections::BTreeMap;
use std::time::Duration;

use labyard_driver::Driver;
use labyard_driver::DriverError;
use labyard_driver::guest::{GuestAnswer, GuestTask};
use labyard_driver::mark::{GuestOfCapture, Mark, MemberMark, Ownership};
use labyard_driver::observed::{ObservedMachine, Power};
use labyard_driver::screen::Callers;
use labyard_driver_sim::SimDriver;
use labyard_driver_sim::{Edge, Failure, Fault, FaultKind, Settings, SimHost, Verb};
use labyard_reconciler::EngineError;
use labyard_reconciler::desired::DesiredMachine;
use labyard_reconciler::engine::{
    Admission, Capture, Captured, Earlier, Engine, HostImage, Reading, Run, Seal, WhileRunning,
};
use labyard_reconciler::identity::Identity;
use labyard_schema::vm;
use tokio::time::timeout;

use crate::rig::{Rig, Table, bounds, config, inventory, wish};

/// Long enough for everything that is waited for.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A stopped machine with one disk and no network.
pub fn stopped(name: &str, source: Option<&str>) -> vm::Vm {
    let mut vm = config(name);
    vm.power = "stopped".into();
    vm.nics = None;
    vm.cloud_init = None;
    let disks = vm.disks.get_or_insert_with(BTreeMap::new);
    disks.remove("data");
    if let Some(source) = source {
        disks.get_mut("root").unwrap().image.as_mut().unwrap().source = source.to_owned();
    }
    vm
}

/// A machine of the same that runs until its agent answers.
fn running(name: &str) -> vm::Vm {
    vm::Vm {
        power: "running".into(),
        ready: Some(vm::Ready {
            wait: "agent".into(),
            ..vm::Ready::default()
        }),
        ..stopped(name, None)
    }
}

/// What is a system's own.
const OWN: &str = "/etc/ssh/ssh_host_ed25519_key";
const KEY: &[u8] = b"nobody else's";

async fn ask(sim: &SimHost, identity: &Identity, task: GuestTask) -> Result<GuestAnswer, DriverError> {
    SimDriver::in_memory(sim).ask_guest(&identity.id, &task).await
}

async fn own(sim: &SimHost, identity: &Identity) -> Option<Vec<u8>> {
    match ask(sim, identity, GuestTask::ReadFile(OWN.to_owned()))
        .await
        .unwrap()
    {
        GuestAnswer::File(file) => file,
        other => panic!("{other:?}"),
    }
}

struct Lab {
    sim: SimHost,
    table: Table,
    rig: Rig,
    wish: DesiredMachine,
    identity: Identity,
}

impl Lab {
    async fn new() -> Self {
        Self::of(&stopped("web", None)).await
    }

    /// Of a machine whose agent answers, with a host key of its own.
    async fn running() -> Self {
        let lab = Self::of(&running("web")).await;
        let content = KEY.to_vec();
        let path = OWN.to_owned();
        lab.ask(GuestTask::WriteFile { path, content }).await.unwrap();
        lab
    }

    async fn of(config: &vm::Vm) -> Self {
        let (sim, table) = (SimHost::new(Settings::default()), Table::default());
        let rig = Rig::start(&sim, &table);
        let wish = wish(config);
        let (made, identity) = rig.create(&wish).await;
        made.unwrap();
        Self {
            sim,
            table,
            rig,
            wish,
            identity: identity.unwrap(),
        }
    }

    async fn capture(&self) -> Result<HostImage, EngineError> {
        self.captured(WhileRunning::Quiesced)
            .await
            .map(|captured| captured.image)
    }

    async fn captured(&self, running: WhileRunning) -> Result<Captured, EngineError> {
        let object = self.rig.object(&self.wish, Some(&self.identity));
        let capture = Capture { running, ..golden() };
        self.rig
            .engine
            .capture_machine(&object, &capture, bounds(), &|_| {})
            .await
    }

    /// Asks the guest past the engine.
    async fn ask(&self, task: GuestTask) -> Result<GuestAnswer, DriverError> {
        ask(&self.sim, &self.identity, task).await
    }

    async fn own(&self) -> Option<Vec<u8>> {
        own(&self.sim, &self.identity).await
    }

    /// It runs, its guest writes and has what is its own, and no capture stands in its mark.
    async fn assert_itself(&self, how: WhileRunning, told: &str) {
        let seen = self.seen();
        assert_eq!(seen.power, Power::Running, "{told}");
        assert_eq!(self.mark().capture, None, "{told}");
        // The agent of one that was just started does not answer yet.
        if how == WhileRunning::Quiesced {
            assert_eq!(self.own().await.as_deref(), Some(KEY), "{told}");
        }
    }

    /// The machine as its host has it; to read it through the engine would have it confirmed.
    fn seen(&self) -> ObservedMachine {
        let mut machines = self.sim.look().machines.into_iter();
        let found = machines.find(|machine| machine.id == self.identity.id);
        found.unwrap()
    }

    fn mark(&self) -> Mark {
        self.seen().mark.ours().unwrap().clone()
    }

    fn next_process(&mut self) {
        let next = Rig::start(&self.sim, &self.table);
        std::mem::replace(&mut self.rig, next).kill();
    }

    async fn destroy(&self) {
        self.rig.destroy(&self.identity, &self.wish).await.unwrap();
    }

    /// Takes all names away; with a machine that comes and goes, what nobody needs goes.
    async fn tidy(&self) {
        for image in self.rig.engine.images(&self.rig.host).await.unwrap() {
            self.rig
                .engine
                .forget_image(&self.rig.host, &image)
                .await
                .unwrap();
        }
        let passing = wish(&stopped("passing", None));
        let (made, identity) = self.rig.create(&passing).await;
        made.unwrap();
        self.rig.destroy(&identity.unwrap(), &passing).await.unwrap();
    }
}

pub fn golden() -> Capture {
    Capture {
        disk: None,
        name: "golden".parse().unwrap(),
        running: WhileRunning::Quiesced,
    }
}

#[tokio::test(start_paused = true)]
async fn a_captured_disk_is_an_image_that_others_are_made_of_and_that_stays_while_it_has_a_name() {
    let lab = Lab::new().await;
    let first = lab.capture().await.unwrap();
    assert_eq!(first.image.revision.0, 1);
    assert_eq!(
        lab.capture().await.unwrap(),
        first,
        "the same disk is the same revision"
    );
    lab.destroy().await;

    let of_it = wish(&stopped("copy", Some("image:golden")));
    let (made, identity) = lab.rig.create(&of_it).await;
    let disk = made.unwrap().disks[&"root".into()].clone();
    assert_eq!(disk.image.unwrap().digest, Some(first.image.digest.clone()));
    lab.rig.destroy(&identity.unwrap(), &of_it).await.unwrap();
    assert_eq!(lab.rig.engine.images(&lab.rig.host).await.unwrap(), [first]);

    lab.tidy().await;
    assert_eq!(inventory(&lab.sim), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_image_without_its_name_stays_while_a_machine_needs_it() {
    let lab = Lab::new().await;
    let image = lab.capture().await.unwrap();
    let of_it = wish(&stopped("copy", Some("image:golden@1")));
    let (made, identity) = lab.rig.create(&of_it).await;
    made.unwrap();
    lab.destroy().await;
    lab.tidy().await;
    let data = format!("labyard-image.{}", image.image.digest);
    assert!(
        inventory(&lab.sim).iter().any(|line| line.contains(&data)),
        "{:?}",
        inventory(&lab.sim)
    );
    lab.rig.destroy(&identity.unwrap(), &of_it).await.unwrap();
    assert_eq!(inventory(&lab.sim), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_captured_or_was_not_says_why() {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let rig = Rig::start(&sim, &table);
    let mut two = stopped("two", None);
    let blank = vm::Disk {
        size_gib: Some(1),
        ..vm::Disk::default()
    };
    two.disks
        .get_or_insert_with(BTreeMap::new)
        .insert("data".to_owned(), blank);
    let mut running = vm::Vm {
        power: "running".into(),
        ..stopped("running", None)
    };
    running.boot.get_or_insert_default().cmdline = Some("sim.no_agent".into());
    let mut none = stopped("none", None);
    none.disks = None;
    for (config, why) in [(two, "say which"), (running, "--stop"), (none, "no disk")] {
        let wish = wish(&config);
        let (made, identity) = rig.create(&wish).await;
        made.unwrap();
        let object = rig.object(&wish, identity.as_ref());
        let error = rig
            .engine
            .capture_machine(&object, &golden(), bounds(), &|_| {})
            .await
            .unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    let error = rig
        .create(&wish(&stopped("copy", Some("image:golden"))))
        .await
        .0
        .unwrap_err();
    assert_eq!(error.attribute(), Some("disks[\"root\"].image.source"), "{error}");
    assert!(error.to_string().contains("image:golden"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_running_machine_is_captured_as_it_is_at_a_moment_and_keeps_what_is_its_own() {
    let lab = Lab::running().await;
    let captured = lab.captured(WhileRunning::Quiesced).await.unwrap();
    assert_eq!(captured.seal, Seal::Sealed);
    assert_eq!(lab.own().await.as_deref(), Some(KEY));
    let mut of_it = running("copy");
    of_it.disks = stopped("copy", Some("image:golden@1")).disks;
    let of_it = wish(&of_it);
    let (made, identity) = lab.rig.create(&of_it).await;
    made.unwrap();
    assert_eq!(own(&lab.sim, identity.as_ref().unwrap()).await, Some(Vec::new()));
    lab.rig.destroy(&identity.unwrap(), &of_it).await.unwrap();
    lab.destroy().await;
    lab.tidy().await;
    assert_eq!(inventory(&lab.sim), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_stopped_for_its_capture_runs_afterwards() {
    let lab = Lab::running().await;
    let captured = lab.captured(WhileRunning::Stopped).await.unwrap();
    assert!(matches!(captured.seal, Seal::Open(_)), "{captured:?}");
    let object = lab.rig.object(&lab.wish, Some(&lab.identity));
    let Reading::Present(view) = lab.rig.engine.read_machine(&object).await.unwrap() else {
        panic!("it is gone");
    };
    assert_eq!(view.power, Power::Running);
}

#[tokio::test(start_paused = true)]
async fn a_capture_of_a_running_machine_that_is_killed_anywhere_leaves_its_guest_right_after_the_next() {
    for how in [WhileRunning::Quiesced, WhileRunning::Stopped] {
        let lab = Lab::running().await;
        lab.sim.clear_operations();
        lab.captured(how).await.unwrap();
        let all = lab.sim.mutations() as u64;
        assert!(all >= 8, "{all}");
        for nth in 1..=all {
            for kind in [
                FaultKind::CrashCaller(Edge::Before),
                FaultKind::CrashCaller(Edge::After),
                FaultKind::LoseReply,
                FaultKind::Fail(Edge::Before, Failure::Busy),
                FaultKind::Fail(Edge::After, Failure::Busy),
                FaultKind::Fail(Edge::Before, Failure::Refused),
            ] {
                let told = format!("{how:?}, {kind:?} at {nth}");
                let mut lab = Lab::running().await;
                lab.sim.clear_operations();
                lab.sim.order(Fault::mutation(nth, kind.clone()));
                // Whatever comes of it; what says that it is well leaves nothing to the next.
                let first = timeout(PATIENCE, lab.captured(how)).await;
                lab.sim.clear_faults();
                if let Ok(Ok(_)) = first {
                    lab.assert_itself(how, &told).await;
                }
                lab.next_process();
                let image = lab.captured(how).await;
                let image = image.unwrap_or_else(|error| panic!("{told}: {error}")).image;
                let images = lab.rig.engine.images(&lab.rig.host).await.unwrap();
                assert!(images.contains(&image), "{told}: {images:?}");
                lab.assert_itself(how, &told).await;
                lab.destroy().await;
                lab.tidy().await;
                assert_eq!(inventory(&lab.sim), [""; 0], "{told}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_capture_that_is_killed_or_refused_at_any_mutation_is_finished_by_the_next_and_leaves_nothing() {
    let lab = Lab::new().await;
    lab.sim.clear_operations();
    lab.capture().await.unwrap();
    let all = lab.sim.mutations() as u64;
    assert!(all >= 5, "{all}");
    for nth in 1..=all {
        for kind in [
            FaultKind::CrashCaller(Edge::Before),
            FaultKind::CrashCaller(Edge::After),
            FaultKind::LoseReply,
            FaultKind::LoseRequest,
            FaultKind::Duplicate,
            FaultKind::Fail(Edge::Before, Failure::Busy),
            FaultKind::Fail(Edge::Before, Failure::Refused),
        ] {
            for finished in [true, false] {
                let mut lab = Lab::new().await;
                lab.sim.clear_operations();
                lab.sim.order(Fault::mutation(nth, kind.clone()));
                // Whatever comes of it.
                drop(timeout(PATIENCE, lab.capture()).await);
                lab.sim.clear_faults();
                lab.next_process();
                if finished {
                    let image = lab.capture().await;
                    let image = image.unwrap_or_else(|error| panic!("{kind:?} at {nth}: {error}"));
                    assert_eq!(lab.rig.engine.images(&lab.rig.host).await.unwrap(), [image]);
                }
                lab.destroy().await;
                lab.tidy().await;
                assert_eq!(
                    inventory(&lab.sim),
                    [""; 0],
                    "{kind:?} at {nth}, finished: {finished}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_does_not_hear_at_once_that_it_may_go_on_is_asked_again() {
    let lab = Lab::running().await;
    // It was sealed and frozen before.
    for nth in 3..=6 {
        lab.sim.order(unheard(nth));
    }
    let captured = lab.captured(WhileRunning::Quiesced).await.unwrap();
    assert_eq!(captured.seal, Seal::Sealed);
    lab.assert_itself(WhileRunning::Quiesced, "late").await;
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_stays_frozen_is_told_of_and_set_right_by_the_next_capture() {
    let mut lab = Lab::running().await;
    for nth in 3..=500 {
        lab.sim.order(unheard(nth));
    }
    let error = lab.captured(WhileRunning::Quiesced).await.unwrap_err();
    assert!(error.to_string().contains("virsh domfsthaw"), "{error}");
    lab.sim.clear_faults();
    let read = lab.ask(GuestTask::ReadFile(OWN.to_owned())).await;
    assert!(matches!(read, Err(DriverError::Unsupported { .. })), "{read:?}");
    assert_eq!(lab.mark().capture.unwrap().guest, GuestOfCapture::Held);
    lab.next_process();
    lab.captured(WhileRunning::Quiesced).await.unwrap();
    lab.assert_itself(WhileRunning::Quiesced, "the next").await;
}

#[tokio::test(start_paused = true)]
async fn a_capture_that_is_cancelled_while_the_disk_is_copied_ends_the_copy_and_the_guest_is_as_it_was() {
    let lab = Lab::running().await;
    let object = lab.rig.object(&lab.wish, Some(&lab.identity));
    let (bounds, capture) = (bounds(), golden());
    let cancel = bounds.cancel.clone();
    let cancelled = async {
        while lab.sim.count(Verb::Copying) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cancel.cancel();
    };
    let captured = lab.rig.engine.capture_machine(&object, &capture, bounds, &|_| {});
    let (captured, ()) = tokio::join!(captured, cancelled);
    assert!(
        matches!(captured, Err(EngineError::Cancelled { .. })),
        "{captured:?}"
    );
    assert_eq!(lab.sim.count(Verb::EndCopy), 1);
    assert_eq!(lab.own().await.as_deref(), Some(KEY));
    lab.captured(WhileRunning::Quiesced).await.unwrap();
    lab.assert_itself(WhileRunning::Quiesced, "the next").await;
}

/// What a guest's agent is asked for, counted from now, does not reach it.
fn unheard(nth: u64) -> Fault {
    let kind = FaultKind::Fail(Edge::Before, Failure::Busy);
    Fault::nth(Verb::AskGuest, nth, kind)
}

#[tokio::test(start_paused = true)]
async fn what_others_write_into_a_mark_during_a_capture_stays() {
    let lab = Lab::running().await;
    lab.rig.engine.finish(Run::Through).await;
    assert_eq!(lab.mark().ownership, Ownership::Confirmed);
    // Its digest is read, and its name takes a while.
    let slow = FaultKind::Delay(Duration::from_secs(10));
    lab.sim.order(Fault::nth(Verb::CreateVolume, 3, slow));
    lab.sim.clear_operations();
    let object = lab.rig.object(&lab.wish, Some(&lab.identity));
    let learner = Admission {
        user: "learner".to_owned(),
        key: Some("ssh-ed25519 AAAA learner".to_owned()),
        password: None,
        callers: Callers::Anybody,
        earlier: Earlier::TakenOut,
    };
    let admit = async {
        while lab.sim.count(Verb::ReadVolume) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        lab.rig.engine.admit(&object, &learner, bounds()).await.unwrap();
        assert!(lab.mark().capture.is_some(), "the capture goes on");
    };
    let (image, ()) = tokio::join!(lab.capture(), admit);
    image.unwrap();
    let mark = lab.mark();
    assert_eq!(mark.capture, None);
    assert_eq!(mark.used.and_then(|used| used.user).as_deref(), Some("learner"));
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_another_builds_is_not_captured_and_what_a_dead_one_left_stays_unconfirmed() {
    let mut lab = Lab::new().await;
    let builder = std::mem::replace(&mut lab.rig, Rig::start(&lab.sim, &lab.table));
    let before = lab.mark();
    let error = lab.capture().await.unwrap_err();
    assert!(matches!(error, EngineError::BeingBuilt { .. }), "{error}");
    assert_eq!(lab.mark(), before);
    builder.kill();
    lab.capture().await.unwrap();
    lab.rig.engine.finish(Run::Through).await;
    let left = lab.mark();
    assert_eq!((left.ownership, left.lease), (Ownership::Building, None));
}

#[tokio::test(start_paused = true)]
async fn a_machine_of_a_pool_is_not_captured() {
    let mut wish = wish(&stopped("web", None));
    wish.member = Some(MemberMark {
        pool: "k8s".to_owned(),
        id: "m1".to_owned(),
        number: 1,
        generation: 1,
    });
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let rig = Rig::start(&sim, &table);
    let (made, identity) = rig.create(&wish).await;
    made.unwrap();
    let object = rig.object(&wish, identity.as_ref());
    let error = rig
        .engine
        .capture_machine(&object, &golden(), bounds(), &|_| {})
        .await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("machine 1 of pool k8s"), "{error}");
}
