//! A machine kept at a moment and put back to it, through the engine: nothing of its use is left (invariant 11), killed
//! anywhere it converges, and a destroy leaves nothing (13 and 14).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use labyard_driver::Driver;
use labyard_driver::guest::{GuestAnswer, GuestTask, Secret};
use labyard_driver::moment::MomentStage;
use labyard_driver::observed::Power;
use labyard_driver::screen::Callers;
use labyard_driver_sim::{Edge, Failure, Fault, FaultKind, ForeignHand, Settings, SimDriver, SimHost};
use labyard_reconciler::EngineError;
use labyard_reconciler::desired::DesiredMachine;
use labyard_reconciler::diff::machine::diff;
use labyard_reconciler::engine::{
    Admission, Bounds, Departure, Earlier, Engine, ObjectRef, Reading, Traffic,
};
use labyard_reconciler::identity::Identity;
use labyard_schema::vm;
use tokio::time::timeout;

use crate::rig::{Rig, Table, bounds, config, inventory, wish};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtKs2bFSzdwO2sTLPZdZ5qjrJSuaUSJGrzgbNwbVTbu learner";
/// Long enough for everything that is waited for.
const PATIENCE: Duration = Duration::from_secs(3600);

pub fn of_a_pool() -> vm::Vm {
    vm::Vm {
        ready: Some(vm::Ready {
            wait: "agent".into(),
            ..vm::Ready::default()
        }),
        ..config("web")
    }
}

pub fn learner() -> Admission {
    Admission {
        user: "learner".to_owned(),
        key: Some(KEY.to_owned()),
        password: Some(Secret::new("correct horse")),
        earlier: Earlier::TakenOut,
        callers: Callers::Anybody,
    }
}

pub struct Lab {
    pub sim: SimHost,
    table: Table,
    pub rig: Rig,
    wish: DesiredMachine,
    pub identity: Identity,
    /// The host before the machine.
    empty: Vec<String>,
}

impl Lab {
    pub async fn new() -> Self {
        Self::with(Settings::default(), &of_a_pool()).await
    }

    pub async fn with(settings: Settings, config: &vm::Vm) -> Self {
        let (sim, table) = (SimHost::new(settings), Table::default());
        let rig = Rig::start(&sim, &table);
        rig.network().await.unwrap();
        let empty = inventory(&sim);
        let wish = wish(config);
        let (made, identity) = rig.create(&wish).await;
        made.unwrap();
        let identity = identity.unwrap();
        Self {
            sim,
            table,
            rig,
            wish,
            identity,
            empty,
        }
    }

    pub fn object(&self) -> ObjectRef {
        self.rig.object(&self.wish, Some(&self.identity))
    }

    pub async fn keep(&self) {
        self.rig
            .engine
            .keep_moment(&self.object(), bounds())
            .await
            .unwrap();
    }

    pub async fn reset(&self) -> Result<(), EngineError> {
        self.rig.engine.reset_machine(&self.object(), bounds()).await
    }

    async fn ask(&self, task: GuestTask) -> GuestAnswer {
        let driver = SimDriver::in_memory(&self.sim);
        driver.ask_guest(&self.identity.id, &task).await.unwrap()
    }

    async fn has_key(&self) -> bool {
        let user = "learner".to_owned();
        match self.ask(GuestTask::Keys { user }).await {
            GuestAnswer::Keys(keys) => keys.contains(&KEY.to_owned()),
            other => panic!("{other:?}"),
        }
    }

    async fn file(&self, path: &str) -> Option<Vec<u8>> {
        match self.ask(GuestTask::ReadFile(path.to_owned())).await {
            GuestAnswer::File(file) => file,
            other => panic!("{other:?}"),
        }
    }

    async fn write(&self, path: &str) {
        let (path, content) = (path.to_owned(), b"mine".to_vec());
        self.ask(GuestTask::WriteFile { path, content }).await;
    }

    /// A user who reads the machine sees what was asked for.
    async fn assert_as_asked(&self) {
        let Reading::Present(view) = self.rig.engine.read_machine(&self.object()).await.unwrap() else {
            panic!("it is gone");
        };
        assert_eq!(view.power, Power::Running);
        let changes = diff(&self.wish, &view);
        assert!(changes.is_empty(), "{changes:?}");
    }

    pub async fn mark(&self) -> labyard_driver::mark::Mark {
        let snapshot = self.sim.look();
        snapshot.machines[0].mark.ours().unwrap().clone()
    }

    /// A new process in place of one that was killed.
    pub fn next_process(&mut self) {
        let next = Rig::start(&self.sim, &self.table);
        std::mem::replace(&mut self.rig, next).kill();
    }

    pub async fn destroy(&self) {
        self.rig.destroy(&self.identity, &self.wish).await.unwrap();
        assert_eq!(inventory(&self.sim), self.empty);
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_put_back_has_nothing_of_its_use_and_is_as_asked_for() {
    let lab = Lab::new().await;
    lab.keep().await;
    lab.assert_as_asked().await;
    let mut stirred = Vec::new();
    for _ in 0..2 {
        lab.rig
            .engine
            .admit(&lab.object(), &learner(), bounds())
            .await
            .unwrap();
        assert!(lab.has_key().await);
        assert!(
            lab.mark().await.used.is_some(),
            "recorded for whoever comes after"
        );
        for path in ["/home/learner/work", "/run/work"] {
            lab.write(path).await;
        }
        let attach = ForeignHand::AttachDisk {
            id: lab.identity.id.clone(),
            target: "vdx".to_owned(),
            path: "/srv/theirs.qcow2".to_owned(),
        };
        lab.sim.by_other_hand(&attach).unwrap();
        tokio::time::sleep(Duration::from_secs(3600)).await;

        lab.reset().await.unwrap();
        for path in [
            "/home/learner/work",
            "/run/work",
            "/run/labyard-used",
            "/var/lib/labyard-used",
        ] {
            assert_eq!(lab.file(path).await, None, "{path}");
        }
        assert!(!lab.has_key().await);
        lab.assert_as_asked().await;
        let mark = lab.mark().await;
        assert_eq!((mark.used, mark.token), (None, lab.identity.token.clone()));
        stirred.push(lab.file("/dev/urandom").await.unwrap());
    }
    assert_ne!(stirred[0], stirred[1], "its random numbers would be the same");
    lab.destroy().await;
}

#[tokio::test(start_paused = true)]
async fn the_clock_of_a_machine_put_back_or_woken_is_right() {
    let lab = Lab::new().await;
    lab.keep().await;
    let guest_time = async || match lab.ask(GuestTask::Time).await {
        GuestAnswer::Time(time) => time.0,
        other => panic!("{other:?}"),
    };
    let (begun, before) = (tokio::time::Instant::now(), guest_time().await);
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    lab.reset().await.unwrap();
    let passed = |since: u64| since.abs_diff(before + begun.elapsed().as_millis() as u64);
    assert!(passed(guest_time().await) < 1000);

    lab.rig
        .engine
        .hold_machine(&lab.object(), bounds())
        .await
        .unwrap();
    lab.rig
        .engine
        .hold_machine(&lab.object(), bounds())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    lab.rig
        .engine
        .wake_machine(&lab.object(), bounds())
        .await
        .unwrap();
    assert!(passed(guest_time().await) < 1000);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_stands_still_runs_on_for_whoever_is_let_in() {
    let lab = Lab::new().await;
    let stopped = ForeignHand::Pause(lab.identity.id.clone());
    lab.sim.by_other_hand(&stopped).unwrap();
    lab.rig
        .engine
        .admit(&lab.object(), &learner(), bounds())
        .await
        .unwrap();
    assert!(lab.has_key().await);
    let seen = lab.sim.look().machines;
    assert!(seen.iter().all(|machine| machine.power == Power::Running));
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_still_shows_its_use_is_not_taken_for_clean() {
    let lab = Lab::new().await;
    // Its moment is one of a machine in use.
    lab.rig
        .engine
        .admit(&lab.object(), &learner(), bounds())
        .await
        .unwrap();
    lab.keep().await;
    let error = lab.reset().await.unwrap_err();
    assert!(matches!(&error, EngineError::StillUsed { .. }), "{error}");
    assert!(error.to_string().contains("/run/labyard-used"), "{error}");
    assert!(lab.mark().await.used.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_machine_without_a_moment_is_not_put_back_and_not_harmed() {
    let lab = Lab::new().await;
    assert!(matches!(lab.reset().await, Err(EngineError::NoMoment { .. })));
    lab.assert_as_asked().await;
    lab.keep().await;
    let memory = lab.mark().await.moment.unwrap().memory;
    lab.sim.by_other_hand(&ForeignHand::LoseVolume(memory)).unwrap();
    let error = lab.reset().await.unwrap_err();
    assert!(matches!(&error, EngineError::NoMoment { .. }), "{error}");
    lab.assert_as_asked().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_have_a_moment_says_why_and_runs_on() {
    let mut silent = of_a_pool();
    silent.ready = Some(vm::Ready {
        wait: "none".into(),
        ..vm::Ready::default()
    });
    let cmdline = Some("sim.no_agent".to_owned());
    let kernel = Some("/boot/vmlinuz".to_owned());
    silent.boot = Some(vm::Boot {
        kernel,
        cmdline,
        ..vm::Boot::default()
    });
    let small = Settings {
        pool_capacity: labyard_driver::ids::Bytes::from_mib(64),
        ..Settings::default()
    };
    for (settings, config, why) in [
        (Settings::default(), silent, "agent"),
        (small, of_a_pool(), "no room for its memory"),
    ] {
        let lab = Lab::with(settings, &config).await;
        let kept = lab.rig.engine.keep_moment(&lab.object(), bounds()).await;
        let error = kept.unwrap_err();
        assert!(matches!(&error, EngineError::NoMoment { .. }), "{error}");
        assert!(error.to_string().contains(why), "{error}");
        lab.assert_as_asked().await;
        assert_eq!(lab.mark().await.moment, None);
        lab.destroy().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_whose_definition_is_lost_is_put_together_without_its_moment_and_leaves_nothing() {
    let lab = Lab::new().await;
    lab.keep().await;
    lab.sim
        .by_other_hand(&ForeignHand::Undefine(lab.identity.id.clone()))
        .unwrap();
    lab.rig.update(&lab.identity, &lab.wish, &lab.wish).await.unwrap();
    lab.assert_as_asked().await;
    assert_eq!(lab.mark().await.moment, None);
    lab.keep().await;
    lab.sim
        .by_other_hand(&ForeignHand::Undefine(lab.identity.id.clone()))
        .unwrap();
    lab.destroy().await;
}

#[tokio::test(start_paused = true)]
async fn credentials_go_in_and_out_and_only_those_of_the_last_user_are_there() {
    let lab = Lab::new().await;
    let engine = &lab.rig.engine;
    let other = Admission {
        key: Some(KEY.replace("learner", "another")),
        password: None,
        ..learner()
    };
    for admission in [&learner(), &learner(), &other, &learner()] {
        engine.admit(&lab.object(), admission, bounds()).await.unwrap();
        assert_eq!(lab.has_key().await, admission == &learner());
    }
    for _ in 0..2 {
        engine
            .dismiss(&lab.object(), Departure::Used, bounds())
            .await
            .unwrap();
        assert!(!lab.has_key().await);
        assert!(lab.mark().await.used.is_some(), "it counts as used");
    }
    engine.admit(&lab.object(), &learner(), bounds()).await.unwrap();
    engine
        .dismiss(&lab.object(), Departure::Untouched, bounds())
        .await
        .unwrap();
    assert_eq!(lab.mark().await.used, None);
    assert_eq!(lab.file("/run/labyard-used").await, Some(Vec::new()));
    let stranger = Admission {
        user: "stranger".to_owned(),
        ..learner()
    };
    let error = engine
        .admit(&lab.object(), &stranger, bounds())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("stranger"), "{error}");
    assert!(!error.to_string().contains("correct horse"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_let_into_a_machine_in_other_hands_where_that_is_refused() {
    let lab = Lab::new().await;
    let engine = &lab.rig.engine;
    let alone = |key: &str| Admission {
        key: Some(KEY.replace("learner", key)),
        earlier: Earlier::Refused,
        ..learner()
    };
    for _ in 0..2 {
        engine
            .admit(&lab.object(), &alone("ada"), bounds())
            .await
            .unwrap();
    }
    let error = engine
        .admit(&lab.object(), &alone("ben"), bounds())
        .await
        .unwrap_err();
    assert!(
        matches!(error.root(), EngineError::InOtherHands { .. }),
        "{error}"
    );
    let used = lab.mark().await.used.unwrap();
    assert_eq!(used.key, alone("ada").key, "she is in it still");
}

#[tokio::test(start_paused = true)]
async fn who_is_connected_is_told_and_what_cannot_be_told_is_unknown() {
    let lab = Lab::new().await;
    let traffic = async || lab.rig.engine.traffic(&lab.object()).await.unwrap();
    assert_eq!(traffic().await, Traffic::From(Vec::new()));
    let from = Ipv4Addr::new(10, 77, 0, 1);
    let connect = ForeignHand::Connect {
        id: lab.identity.id.clone(),
        from: vec![from],
    };
    lab.sim.by_other_hand(&connect).unwrap();
    assert_eq!(traffic().await, Traffic::From(vec![IpAddr::V4(from)]));
    lab.sim
        .by_other_hand(&ForeignHand::Kill(lab.identity.id.clone()))
        .unwrap();
    assert!(matches!(traffic().await, Traffic::Unknown(_)));
}

/// Something that is done to a machine with the engine, and may be done again.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Keep,
    Reset,
}

impl Deed {
    async fn prepare(self, lab: &Lab) {
        if let Self::Reset = self {
            lab.keep().await;
            lab.rig
                .engine
                .admit(&lab.object(), &learner(), bounds())
                .await
                .unwrap();
            lab.write("/home/learner/work").await;
        }
        lab.sim.clear_operations();
    }

    async fn run(self, rig: &Rig, object: &ObjectRef, bounds: Bounds) -> Result<(), EngineError> {
        match self {
            Self::Keep => rig.engine.keep_moment(object, bounds).await,
            Self::Reset => rig.engine.reset_machine(object, bounds).await,
        }
    }
}

async fn through(deed: Deed, nth: u64, kind: FaultKind) {
    let mut lab = Lab::new().await;
    deed.prepare(&lab).await;
    lab.sim.order(Fault::mutation(nth, kind.clone()));
    // Whatever comes of it.
    drop(timeout(PATIENCE, deed.run(&lab.rig, &lab.object(), bounds())).await);
    lab.sim.clear_faults();
    lab.next_process();
    let finished = deed.run(&lab.rig, &lab.object(), bounds()).await;
    finished.unwrap_or_else(|e| panic!("{deed:?}, {kind:?} at {nth}: {e}"));
    assert_eq!(lab.mark().await.moment.unwrap().stage, MomentStage::Whole);
    lab.assert_as_asked().await;
    lab.rig
        .engine
        .admit(&lab.object(), &learner(), bounds())
        .await
        .unwrap();
    lab.reset().await.unwrap();
    assert_eq!(
        lab.file("/home/learner/work").await,
        None,
        "{deed:?}, {kind:?} at {nth}"
    );
    lab.next_process();
    lab.destroy().await;
}

/// At every mutation of the deed, each fault; and a destroy right after leaves nothing either.
async fn at_every_mutation(deed: Deed) {
    let lab = Lab::new().await;
    deed.prepare(&lab).await;
    deed.run(&lab.rig, &lab.object(), bounds()).await.unwrap();
    let all = lab.sim.mutations() as u64;
    assert!(all >= 8, "{deed:?} has {all} mutations");
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
            through(deed, nth, kind).await;
        }
        let mut lab = Lab::new().await;
        deed.prepare(&lab).await;
        lab.sim
            .order(Fault::mutation(nth, FaultKind::CrashCaller(Edge::After)));
        drop(timeout(PATIENCE, deed.run(&lab.rig, &lab.object(), bounds())).await);
        lab.sim.clear_faults();
        lab.next_process();
        lab.destroy().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_moment_that_is_killed_or_refused_at_any_mutation_is_finished_by_the_next_call() {
    at_every_mutation(Deed::Keep).await;
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_is_killed_or_refused_at_any_mutation_is_finished_by_the_next_call() {
    at_every_mutation(Deed::Reset).await;
}
