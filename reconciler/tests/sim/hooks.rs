//! Hooks on the simulated host: what one acquired is given back, however often the run that asked it was killed.
//! (Invariants 13, 14 and 23 of the lab systems: recorded before side effects, released, unique.)

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use labyard_driver::mark::Heard;
use labyard_driver_sim::{Edge, Fault, FaultKind, ForeignHand, Settings, SimHost};
use labyard_reconciler::EngineError;
use labyard_reconciler::desired::DesiredMachine;
use labyard_reconciler::error::HookTrouble;
use labyard_reconciler::hooks::request::Request;
use labyard_reconciler::hooks::{Call, Failure, Hook, Hooks, OnError, OnUpdate, Target};
use labyard_reconciler::journal::{Journal, What, file, stages};
use serde_json::json;
use tokio::time::timeout;

use crate::rig::{Rig, Table, assert_whole, config, inventory, wish};

const PATIENCE: Duration = Duration::from_secs(3600);
const MAC: &str = "52:54:00:aa:bb:cc";

/// What a hook is scripted to do at a moment.
#[derive(Clone)]
enum Does {
    Acquire,
    Release,
    Say(serde_json::Value),
    Passing,
    Hang,
}

/// Keeps addresses by machine, as somebody else's program would; outlives every run.
#[derive(Clone, Default)]
struct Ipam(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    script: BTreeMap<String, Vec<Does>>,
    held: BTreeMap<String, String>,
    next: u8,
    asked: Vec<Request>,
}

impl Ipam {
    fn acquiring(at: &str) -> Self {
        let ipam = Self::default();
        ipam.script(at, &[Does::Acquire]);
        ipam.script("after:release_addresses", &[Does::Release]);
        ipam
    }

    /// One step of the script a call; the last one is repeated.
    fn script(&self, moment: &str, does: &[Does]) {
        let mut state = self.0.lock().unwrap();
        state.script.insert(moment.to_owned(), does.to_vec());
    }

    fn hooks(&self) -> Hooks {
        self.hooks_that(OnError::Fail)
    }

    fn hooks_that(&self, on_error: OnError) -> Hooks {
        self.hooks_of(on_error, OnUpdate::Skip)
    }

    fn hooks_of(&self, on_error: OnError, on_update: OnUpdate) -> Hooks {
        let hook = Hook {
            target: Target::Command(vec!["nobody runs it".into()]),
            timeout: Duration::from_secs(30),
            on_error,
            retries: 3,
            on_update,
        };
        let moments: Vec<_> = self.0.lock().unwrap().script.keys().cloned().collect();
        let by_moment = moments.into_iter().map(|moment| (moment, hook.clone()));
        Hooks::new(by_moment.collect(), Arc::new(self.clone()))
    }

    fn held(&self) -> Vec<String> {
        self.0.lock().unwrap().held.values().cloned().collect()
    }

    fn asked(&self) -> Vec<Request> {
        self.0.lock().unwrap().asked.clone()
    }

    fn answer(&self, request: &Request) -> Result<Option<Vec<u8>>, Failure> {
        let mut state = self.0.lock().unwrap();
        state.asked.push(request.clone());
        let script = state
            .script
            .get_mut(&format!("{}:{}", request.when, request.stage))
            .unwrap();
        let does = match script.len() {
            1 => script[0].clone(),
            _ => script.remove(0),
        };
        let id = request.machine.id.clone().unwrap_or_default();
        match does {
            Does::Acquire => {
                let next = state.next + 1;
                state.next = next;
                let address = state
                    .held
                    .entry(id)
                    .or_insert_with(|| format!("10.77.0.{}", 150 + next));
                let set = json!({"set": {"addresses": {"lan": address}, "macs": {"lan": MAC}}});
                Ok(Some(set.to_string().into_bytes()))
            }
            Does::Release => {
                state.held.remove(&id);
                Ok(Some(Vec::new()))
            }
            Does::Say(answer) => Ok(Some(answer.to_string().into_bytes())),
            Does::Passing => Err(Failure::Passing("503".into())),
            Does::Hang => Ok(None),
        }
    }
}

#[async_trait]
impl Call for Ipam {
    async fn call(&self, _hook: &Hook, request: &Request) -> Result<Vec<u8>, Failure> {
        match self.answer(request)? {
            Some(answer) => Ok(answer),
            None => std::future::pending().await,
        }
    }
}

/// A host, its processes, and an IPAM that is asked at a moment.
fn lab(at: &str) -> (SimHost, Table, Ipam) {
    (
        SimHost::new(Settings::default()),
        Table::default(),
        Ipam::acquiring(at),
    )
}

fn start(sim: &SimHost, table: &Table, ipam: &Ipam) -> Rig {
    Rig::with(sim, table, ipam.hooks(), Journal::off())
}

/// A machine whose plan left its MAC open, as it does where a hook may supply it.
fn open_wish() -> DesiredMachine {
    let mut wish = wish(&config("web"));
    wish.planned.open_macs = wish.nics.keys().cloned().collect();
    wish
}

/// The machine has the address and the MAC that the IPAM gave, and the IPAM keeps that one alone.
fn assert_supplied(sim: &SimHost, ipam: &Ipam, case: &str) {
    let snapshot = sim.look();
    let reservation = &snapshot.networks[0].reservations[0];
    let held = ipam.held();
    assert_eq!(held, [reservation.address.to_string()], "{case}");
    assert_eq!(reservation.mac.to_string(), MAC, "{case}");
    let nic = &snapshot.machines[0].detail.known().unwrap().nics[0];
    assert_eq!(nic.mac.to_string(), MAC, "{case}");
    let mark = snapshot.machines[0].mark.ours().unwrap();
    assert_eq!(
        mark.nics.values().next().unwrap().reserved,
        Some(reservation.address)
    );
    assert_eq!(
        mark.hooks.addresses.values().copied().collect::<Vec<IpAddr>>(),
        [reservation.address]
    );
    assert_eq!(mark.hooks.operation, None, "{case}");
}

async fn mutations_of_a_create(at: &str) -> u64 {
    let (sim, table, ipam) = lab(at);
    let rig = start(&sim, &table, &ipam);
    rig.network().await.unwrap();
    sim.clear_operations();
    rig.create(&open_wish()).await.0.unwrap();
    assert_supplied(&sim, &ipam, at);
    sim.mutations() as u64
}

async fn create_through(at: &str, nth: u64, kind: FaultKind) {
    let case = format!("{at}, {kind:?} at {nth}");
    let (sim, table, ipam) = lab(at);
    let first = start(&sim, &table, &ipam);
    first.network().await.unwrap();
    let empty = inventory(&sim);
    let wish = open_wish();
    sim.order(Fault::mutation(nth, kind));
    let told = timeout(PATIENCE, first.create(&wish)).await;
    sim.clear_faults();
    first.kill();
    let second = start(&sim, &table, &ipam);
    if let Ok((Err(_), Some(identity))) = &told {
        second.destroy(identity, &wish).await.unwrap();
        assert_eq!(ipam.held(), [""; 0], "{case}: a destroy gives everything back");
    }
    let made = match told {
        Ok((Ok(_), Some(identity))) => identity,
        _ => {
            let (made, identity) = second.create(&wish).await;
            made.unwrap_or_else(|error| panic!("{case}: {error}"));
            identity.unwrap()
        }
    };
    assert_whole(&sim, &["web"]);
    assert_supplied(&sim, &ipam, &case);
    second.end().await;
    let third = start(&sim, &table, &ipam);
    third.destroy(&made, &wish).await.unwrap();
    assert_eq!(inventory(&sim), empty, "{case}");
    assert_eq!(ipam.held(), [""; 0], "{case}");
}

async fn at_every_mutation(at: &str, kinds: &[FaultKind]) {
    let all = mutations_of_a_create(at).await;
    for nth in 1..=all {
        for kind in kinds {
            create_through(at, nth, kind.clone()).await;
        }
    }
}

const KILLED: &[FaultKind] = &[
    FaultKind::CrashCaller(Edge::Before),
    FaultKind::CrashCaller(Edge::After),
];

#[tokio::test(start_paused = true)]
async fn what_a_hook_before_addresses_acquired_is_used_once_and_given_back_whatever_was_killed() {
    at_every_mutation("before:addresses", KILLED).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_hook_before_define_acquired_is_used_once_and_given_back_whatever_was_killed() {
    at_every_mutation("before:define", KILLED).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_hook_acquired_is_used_once_and_given_back_whatever_reply_was_lost_or_came_twice() {
    at_every_mutation("before:define", &[FaultKind::LoseReply, FaultKind::Duplicate]).await;
}

#[tokio::test(start_paused = true)]
async fn a_destroy_killed_at_any_mutation_gives_back_what_hooks_acquired() {
    for nth in 1..=16 {
        for edge in [Edge::Before, Edge::After] {
            let (sim, table, ipam) = lab("before:define");
            let first = start(&sim, &table, &ipam);
            first.network().await.unwrap();
            let empty = inventory(&sim);
            let wish = open_wish();
            let (made, identity) = first.create(&wish).await;
            made.unwrap();
            let identity = identity.unwrap();
            first.end().await;
            let second = start(&sim, &table, &ipam);
            sim.order(Fault::mutation(nth, FaultKind::CrashCaller(edge)));
            let _ = timeout(PATIENCE, second.destroy(&identity, &wish)).await;
            sim.clear_faults();
            second.kill();
            let third = start(&sim, &table, &ipam);
            third.destroy(&identity, &wish).await.unwrap();
            assert_eq!(inventory(&sim), empty, "{edge:?} {nth}");
            assert_eq!(ipam.held(), [""; 0], "{edge:?} {nth}");
        }
    }
}

/// Killed while the hook had acquired and not answered: the next run asks under the same key.
#[tokio::test(start_paused = true)]
async fn a_hook_that_was_never_heard_is_asked_again_under_its_key() {
    let (sim, table, ipam) = lab("before:define");
    ipam.script("before:define", &[Does::Hang, Does::Acquire]);
    let first = start(&sim, &table, &ipam);
    first.network().await.unwrap();
    let wish = open_wish();
    assert!(
        timeout(Duration::from_secs(20), first.create(&wish))
            .await
            .is_err()
    );
    let snapshot = sim.look();
    let mark = snapshot.machines[0].mark.ours().unwrap();
    assert_eq!(mark.hooks.called.get("before:define"), Some(&Heard::Begun));
    first.kill();
    let second = start(&sim, &table, &ipam);
    second.create(&wish).await.0.unwrap();
    assert_supplied(&sim, &ipam, "heard the second time");
    let keys: Vec<_> = ipam.asked().iter().map(|r| r.idempotency_key.clone()).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}

/// A create that was killed and cannot become what is wanted now is taken away, and its address given back.
#[tokio::test(start_paused = true)]
async fn what_a_dead_builder_had_acquired_for_another_machine_is_given_back() {
    let (sim, table, ipam) = lab("before:addresses");
    ipam.script("before:start", &[Does::Hang, Does::Say(json!({}))]);
    let first = start(&sim, &table, &ipam);
    first.network().await.unwrap();
    let wish = open_wish();
    let building = timeout(Duration::from_secs(20), first.create(&wish)).await;
    assert!(building.is_err(), "it stands before its start");
    first.kill();
    let mut other = config("web");
    other.firmware = Some(labyard_schema::vm::Firmware {
        r#type: "uefi".into(),
        ..Default::default()
    });
    let mut other = crate::rig::wish(&other);
    other.planned.open_macs = other.nics.keys().cloned().collect();
    let second = start(&sim, &table, &ipam);
    second.create(&other).await.0.unwrap();
    assert_supplied(&sim, &ipam, "made anew");
    let released = ipam
        .asked()
        .iter()
        .filter(|r| r.stage == "release_addresses")
        .count();
    assert_eq!(released, 1);
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_was_lost_keeps_no_address_of_a_hook() {
    let (sim, table, ipam) = lab("before:define");
    let rig = start(&sim, &table, &ipam);
    rig.network().await.unwrap();
    let wish = open_wish();
    let (made, identity) = rig.create(&wish).await;
    made.unwrap();
    let identity = identity.unwrap();
    for hand in [
        ForeignHand::Kill(identity.id.clone()),
        ForeignHand::Undefine(identity.id.clone()),
    ] {
        sim.by_other_hand(&hand).unwrap();
    }
    rig.destroy(&identity, &wish).await.unwrap();
    assert_eq!(ipam.held(), [""; 0]);
}

async fn create_with(
    ipam: &Ipam,
    on_error: OnError,
    journal: &Journal,
) -> (SimHost, Result<(), EngineError>) {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let rig = Rig::with(&sim, &table, ipam.hooks_that(on_error), journal.clone());
    rig.network().await.unwrap();
    let made = rig.create(&open_wish()).await.0;
    (sim, made.map(drop))
}

fn trouble(made: Result<(), EngineError>) -> HookTrouble {
    match made.unwrap_err() {
        EngineError::Hook { trouble, hook, .. } => {
            assert_eq!(hook, "before:define");
            trouble
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_denies_fails_the_stage_with_its_reason_whatever_on_error_says() {
    for on_error in [OnError::Fail, OnError::Continue] {
        let ipam = Ipam::default();
        let no = json!({"deny": {"reason": "quota is used up"}});
        ipam.script("before:define", &[Does::Say(no)]);
        let (sim, made) = create_with(&ipam, on_error, &Journal::off()).await;
        let reason = "quota is used up".to_owned();
        assert_eq!(trouble(made), HookTrouble::Denied { reason });
        assert!(
            sim.look().machines[0].detail.known().unwrap().nics.is_empty(),
            "not defined"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_holds_is_asked_again_until_it_lets_go_and_the_journal_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::at(directory.path());
    let ipam = Ipam::default();
    let wait = json!({"hold": {"retry_after": 60, "reason": "approval of the owner"}});
    ipam.script(
        "before:define",
        &[Does::Say(wait.clone()), Does::Say(wait), Does::Say(json!({}))],
    );
    let began = tokio::time::Instant::now();
    let (_, made) = create_with(&ipam, OnError::Fail, &journal).await;
    made.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(120));
    let attempts: Vec<_> = ipam.asked().iter().map(|r| r.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    let entries = file::read(directory.path(), "default").unwrap();
    let passed = stages::stages(&entries);
    let define = passed.iter().find(|p| p.stage == "define").unwrap();
    assert_eq!(define.waited_for[0], "before:define holds: approval of the owner");
    assert_eq!(define.outcome, stages::Outcome::Done);
    assert_eq!(entries.iter().filter(|e| e.what == What::HookHolds).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_hold_ends_with_the_time_of_the_operation() {
    let ipam = Ipam::default();
    let wait = json!({"hold": {"retry_after": 600, "reason": "approval"}});
    ipam.script("before:define", &[Does::Say(wait)]);
    let (_, made) = create_with(&ipam, OnError::Fail, &Journal::off()).await;
    let HookTrouble::Held { reason, waited } = trouble(made) else {
        panic!("not held")
    };
    assert_eq!(reason, "approval");
    assert!(waited >= Duration::from_secs(1200), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_stumbles_is_asked_again_and_one_that_fails_follows_on_error() {
    let ipam = Ipam::default();
    ipam.script(
        "before:define",
        &[Does::Passing, Does::Passing, Does::Say(json!({}))],
    );
    create_with(&ipam, OnError::Fail, &Journal::off())
        .await
        .1
        .unwrap();
    for broken in [Does::Passing, Does::Say(json!("nonsense")), Does::Hang] {
        let ipam = Ipam::default();
        ipam.script("before:define", std::slice::from_ref(&broken));
        let (_, made) = create_with(&ipam, OnError::Fail, &Journal::off()).await;
        assert!(matches!(trouble(made), HookTrouble::Failed { .. }));
        create_with(&ipam, OnError::Continue, &Journal::off())
            .await
            .1
            .unwrap();
    }
}

/// Every moment that can be configured is one that comes, each once and in the order of the stages.
#[tokio::test(start_paused = true)]
async fn hooks_at_all_moments_are_asked_once_each_in_the_order_of_the_stages() {
    let (sim, table, ipam) = (
        SimHost::new(Settings::default()),
        Table::default(),
        Ipam::default(),
    );
    let of = |stages: &[&str]| -> Vec<String> {
        let moments = stages
            .iter()
            .flat_map(|stage| [format!("before:{stage}"), format!("after:{stage}")]);
        moments
            .filter(|moment| labyard_schema::hooks::moment(moment).is_ok())
            .collect()
    };
    let (making, leaving) = (
        of(labyard_schema::hooks::PROVISION),
        of(labyard_schema::hooks::RETIREMENT),
    );
    for moment in making.iter().chain(&leaving) {
        ipam.script(moment, &[Does::Say(json!({}))]);
    }
    let hooks = ipam.hooks_of(OnError::Fail, OnUpdate::Call);
    let rig = Rig::with(&sim, &table, hooks, Journal::off());
    rig.network().await.unwrap();
    let asked_since = |before: usize| -> Vec<String> {
        let asked = ipam.asked();
        asked[before..]
            .iter()
            .map(|r| format!("{}:{}", r.when, r.stage))
            .collect()
    };
    let (made, identity) = rig.create(&open_wish()).await;
    made.unwrap();
    let identity = identity.unwrap();
    assert_eq!(asked_since(0), making);
    let mut more = config("web");
    more.memory_mib *= 2;
    let mut more = wish(&more);
    more.planned.open_macs = more.nics.keys().cloned().collect();
    let before = ipam.asked().len();
    rig.update(&identity, &open_wish(), &more).await.unwrap();
    assert_eq!(asked_since(before), making);
    let before = ipam.asked().len();
    rig.destroy(&identity, &more).await.unwrap();
    assert_eq!(asked_since(before), leaving);
}

/// What an IPAM needs in order to take back what it gave: its own number for it, kept for as long as the machine lives.
#[tokio::test(start_paused = true)]
async fn variables_of_one_hook_are_told_to_those_after_it_until_the_machine_is_gone() {
    let (sim, table, ipam) = lab("before:addresses");
    let say = |set: serde_json::Value| Does::Say(json!({"set": {"variables": set}}));
    ipam.script("before:record", &[say(json!({"cmdb": "CI-17", "ticket": "T-1"}))]);
    ipam.script("after:define", &[say(json!({"ticket": null, "lease": "L-9"}))]);
    ipam.script("before:undefine", &[Does::Say(json!({}))]);
    let first = start(&sim, &table, &ipam);
    first.network().await.unwrap();
    let wish = open_wish();
    let (made, identity) = first.create(&wish).await;
    made.unwrap();
    first.end().await;
    let second = start(&sim, &table, &ipam);
    second.destroy(&identity.unwrap(), &wish).await.unwrap();
    let told: Vec<_> = ipam
        .asked()
        .iter()
        .map(|asked| {
            (
                asked.stage,
                serde_json::to_value(&asked.machine.variables).unwrap(),
            )
        })
        .collect();
    let (early, late) = (
        json!({"cmdb": "CI-17", "ticket": "T-1"}),
        json!({"cmdb": "CI-17", "lease": "L-9"}),
    );
    assert_eq!(
        told,
        [
            ("record", json!({})),
            ("addresses", early.clone()),
            ("define", early),
            ("release_addresses", late.clone()),
            ("undefine", late),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn values_that_a_stage_cannot_take_are_refused_with_the_way_out() {
    for (set, said) in [
        (json!({"addresses": {"wan": "10.77.0.5"}}), "NIC \"wan\""),
        (json!({"addresses": {"lan": "nowhere"}}), "no address"),
        (json!({"macs": {"lan": "53:54:00:00:00:01"}}), "must be even"),
        (json!({"host": "lab2"}), "only before:record can"),
        (json!({"hostname": "no_name"}), "no host name"),
        (json!({"variables": {"a b": "1"}}), "a name has 1 to 64"),
        (json!({"variables": {"a": "1\n2"}}), "no line of at most"),
        (json!({"variables": {"a": 1}}), "invalid type"),
        (json!({"hostname": "fine", "adress": {}}), "unknown field"),
    ] {
        let ipam = Ipam::default();
        ipam.script("before:define", &[Does::Say(json!({"set": set}))]);
        let (_, made) = create_with(&ipam, OnError::Fail, &Journal::off()).await;
        let HookTrouble::Failed { why } = trouble(made) else {
            panic!("{set}")
        };
        assert!(why.contains(said), "{set}: {why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mac_that_the_plan_has_promised_is_not_taken_from_a_hook() {
    let (sim, table, ipam) = lab("before:define");
    let rig = start(&sim, &table, &ipam);
    rig.network().await.unwrap();
    let error = rig.create(&wish(&config("web"))).await.0.unwrap_err().to_string();
    assert!(error.contains("the plan has promised"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_address_outside_of_the_network_is_an_error_at_the_nic() {
    let ipam = Ipam::default();
    let set = json!({"set": {"addresses": {"lan": "192.0.2.1"}}});
    ipam.script("before:define", &[Does::Say(set)]);
    let (_, made) = create_with(&ipam, OnError::Fail, &Journal::off()).await;
    let error = made.unwrap_err();
    assert_eq!(error.attribute(), Some("nics[\"lan\"]"));
    assert!(error.to_string().contains("10.77.0.0/24"), "{error}");
}
