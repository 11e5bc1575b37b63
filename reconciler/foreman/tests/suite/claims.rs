//! Claims: bound, let in, ready, given back, and their machines made what they were.

use crate::{
    filling::settle,
    rig::{Crew, LIMITS, Lab, namespace, spec},
};
use labyard_driver::{
    Driver,
    guest::{GuestAnswer, GuestTask},
    observed::Power,
};
use labyard_driver_sim::{ForeignHand, SimDriver};
use labyard_labs::{
    Refusal,
    claim::{
        self, Claim, Phase, admit, hold,
        redeem::{Redeemed, Request, redeem},
    },
    code::{CodeText, Terms, keep},
    ids::ClaimId,
    member::{Member, State, Touch},
    pool::{OnPause, Recycle, Spec, Together, work::Task},
    show::Scope,
};
use labyard_store::{Write, event::Moment, on_both, testing::Database};
use serde_json::json;
use std::net::IpAddr;

on_both!(
    a_claim_is_let_in_by_a_key_of_its_own_that_is_gone_when_it_is_given_back,
    a_machine_that_nobody_came_for_goes_back_without_being_made_anew,
    a_claim_whose_guest_lets_nobody_in_fails_and_gives_its_use_back,
    what_was_made_for_a_claim_is_the_same_after_a_crash_and_gone_after_the_first_keepalive,
    who_is_connected_to_his_machine_is_not_idle,
    who_is_connected_while_no_foreman_runs_is_not_idle_after_it,
    guests_of_a_paused_claim_stand_still_where_their_pool_says_so,
    machines_of_one_claim_are_put_on_one_host,
    a_password_that_the_template_knows_is_none_once_a_machine_is_free,
    a_machine_that_cannot_be_brought_back_is_kept_for_a_look_and_stands_still,
    a_claim_whose_guest_does_not_wake_up_keeps_what_was_done_in_it,
    a_claim_that_is_under_way_when_its_pool_rests_is_made_usable,
);

pub(crate) const CODE: &str = "KJ4M-8ZQ2-7W3P-0N5T";

pub(crate) async fn code(lab: &Lab) {
    let now = lab.time.moment();
    let terms = Terms {
        pools: [("k8s".into(), 1)].into(),
        ..Terms::default()
    };
    let put: Result<_, Refusal> = lab
        .store
        .write(move |write| {
            let values = keep::Values::Given(CodeText::parse(CODE).unwrap());
            keep::put(write, &namespace(), &"class".into(), &terms, &values, now, "test")
        })
        .await;
    put.unwrap();
}

pub(crate) async fn redeemed(lab: &Lab, user: &str, key: Option<&str>) -> Result<Redeemed, Refusal> {
    redeemed_from(lab, user, key, None).await
}

pub(crate) async fn redeemed_from(
    lab: &Lab,
    user: &str,
    key: Option<&str>,
    source: Option<IpAddr>,
) -> Result<Redeemed, Refusal> {
    let request = Request {
        code: CodeText::parse(CODE).unwrap(),
        user: user.into(),
        idempotency_key: user.to_owned(),
        source,
        wait_ms: None,
        public_key: key.map(str::to_owned),
        bind: Default::default(),
        scope: Scope::All,
    };
    let now = lab.time.moment();
    lab.store.write(move |write| redeem(write, &request, now)).await
}

pub(crate) async fn claim_of(lab: &Lab, id: &ClaimId) -> Claim {
    let id = id.clone();
    let found: Result<Claim, Refusal> = lab.store.read(move |read| claim::find(read, &id)).await;
    found.unwrap()
}

pub(crate) async fn show(lab: &Lab, id: &ClaimId) -> admit::Shown {
    let (id, now) = (id.clone(), lab.time.moment());
    let shown: Result<_, Refusal> = lab.store.write(move |write| admit::show(write, &id, now)).await;
    shown.unwrap()
}

pub(crate) async fn release(lab: &Lab, id: &ClaimId) {
    let (id, now) = (id.clone(), lab.time.moment());
    let done: Result<_, Refusal> = lab
        .store
        .write(move |write| {
            let claim = claim::find(write, &id)?;
            hold::release(write, claim, "test", now)
        })
        .await;
    done.unwrap();
}

type Verb = fn(&mut Write<'_>, Claim, Moment) -> Result<Claim, Refusal>;

async fn asks(lab: &Lab, id: &ClaimId, verb: Verb) {
    let (id, now) = (id.clone(), lab.time.moment());
    let done: Result<_, Refusal> = lab
        .store
        .write(move |write| {
            let claim = claim::find(write, &id)?;
            verb(write, claim, now)
        })
        .await;
    done.unwrap();
}

async fn keepalive(lab: &Lab, id: &ClaimId) {
    asks(lab, id, hold::keepalive).await;
}

pub(crate) async fn pause(lab: &Lab, id: &ClaimId) {
    asks(lab, id, hold::pause).await;
}

pub(crate) async fn resume(lab: &Lab, id: &ClaimId) {
    asks(lab, id, hold::resume).await;
}

/// What the machines of the first host do.
pub(crate) fn powers(lab: &Lab) -> Vec<Power> {
    lab.sims[0]
        .look()
        .machines
        .iter()
        .map(|machine| machine.power)
        .collect()
}

/// Passes until a claim is past being bound.
pub(crate) async fn until_ready(lab: &Lab, crew: &Crew, id: &ClaimId) -> Claim {
    for _ in 0..50 {
        crew.foreman.pass().await.unwrap();
        let claim = claim_of(lab, id).await;
        if claim.phase != Phase::Bound {
            return claim;
        }
        lab.time.skip(20_000);
    }
    panic!("{:?}", claim_of(lab, id).await);
}

/// A pool of machines whose guests have agents.
pub(crate) fn with_agents(recycle: Recycle) -> Spec {
    let mut spec = spec(1, 1);
    spec.recycle = recycle;
    spec.template["ready"] = json!({"wait": "agent"});
    spec
}

/// The keys by which a user may enter the guest of a machine.
async fn keys(lab: &Lab, member: &Member) -> Vec<String> {
    let sim = &lab.sims[0];
    let machine = sim
        .look()
        .machines
        .into_iter()
        .find(|machine| machine.host_name == member.name)
        .unwrap();
    let driver = SimDriver::in_memory(sim);
    let user = "learner".to_owned();
    match driver
        .ask_guest(&machine.id, &GuestTask::Keys { user })
        .await
        .unwrap()
    {
        GuestAnswer::Keys(keys) => keys,
        other => panic!("{other:?}"),
    }
}

async fn only(lab: &Lab) -> Member {
    let mut all = lab.members().await;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

async fn a_claim_is_let_in_by_a_key_of_its_own_that_is_gone_when_it_is_given_back(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    lab.put(with_agents(Recycle::Reset)).await;
    settle(&crew).await;
    let before = only(&lab).await;
    code(&lab).await;
    let claim = redeemed(&lab, "ada", None).await.unwrap().claim;
    assert_eq!(claim.phase, Phase::Bound);
    assert_eq!(until_ready(&lab, &crew, &claim.id).await.phase, Phase::Ready);
    let shown = show(&lab, &claim.id).await;
    let made = shown.made.unwrap();
    assert_eq!(shown.machines[0].addresses.len(), 1);
    assert!(made.private_key.unwrap().contains("OPENSSH PRIVATE KEY"));
    let public = made.public_key.unwrap();
    assert!(keys(&lab, &before).await.contains(&public));
    assert_eq!(only(&lab).await.touch, Touch::Touched);

    release(&lab, &claim.id).await;
    let mut tasks = Vec::new();
    while only(&lab).await.state != State::Free {
        tasks.extend(
            crew.foreman
                .pass()
                .await
                .unwrap()
                .done
                .into_iter()
                .map(|done| done.task),
        );
    }
    assert_eq!(tasks, [Task::Reset]);
    let after = only(&lab).await;
    assert_eq!(
        (after.id, after.touch, after.identity),
        (before.id.clone(), Touch::Untouched, before.identity.clone())
    );
    // Invariant 11: what was put in is gone.
    assert!(!keys(&lab, &before).await.contains(&public));
    lab.assert_nothing_doubled_or_orphaned().await;
}

async fn a_machine_that_nobody_came_for_goes_back_without_being_made_anew(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    let mut spec = with_agents(Recycle::Recreate);
    spec.lease.pause_ms = 600_000;
    lab.put(spec).await;
    settle(&crew).await;
    let before = only(&lab).await;
    code(&lab).await;
    let claim = redeemed(&lab, "ada", None).await.unwrap().claim;
    assert_eq!(until_ready(&lab, &crew, &claim.id).await.phase, Phase::Ready);
    assert_eq!(keys(&lab, &before).await.len(), 1);
    // Also one that stands still.
    pause(&lab, &claim.id).await;
    crew.foreman.pass().await.unwrap();
    assert_eq!(powers(&lab), [Power::Paused]);
    release(&lab, &claim.id).await;
    let done = crew.foreman.pass().await.unwrap().done;
    assert_eq!(
        done.iter().map(|done| done.task).collect::<Vec<_>>(),
        [Task::Tidy],
        "{done:?}"
    );
    let after = only(&lab).await;
    assert_eq!((after.id, after.state), (before.id.clone(), State::Free));
    assert!(keys(&lab, &before).await.is_empty());

    // Who was told how to get in may have been in: another takes its place.
    let claim = redeemed(&lab, "bob", None).await.unwrap().claim;
    until_ready(&lab, &crew, &claim.id).await;
    show(&lab, &claim.id).await;
    release(&lab, &claim.id).await;
    settle(&crew).await;
    assert_ne!(only(&lab).await.id, before.id);
    lab.assert_nothing_doubled_or_orphaned().await;
}

async fn a_claim_whose_guest_lets_nobody_in_fails_and_gives_its_use_back(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    let mut spec = with_agents(Recycle::Recreate);
    // A user that no simulated guest has.
    spec.template["guest"]["admin_username"] = json!("stranger");
    lab.put(spec).await;
    settle(&crew).await;
    code(&lab).await;
    let claim = redeemed(&lab, "ada", None).await.unwrap().claim;
    assert_eq!(until_ready(&lab, &crew, &claim.id).await.phase, Phase::Failed);
    let uses: Result<i64, labyard_store::StoreError> = lab
        .store
        .read(|read| read.query("SELECT uses FROM code_values", &[])?[0].get("uses"))
        .await;
    assert_eq!(uses.unwrap(), 0);
    settle(&crew).await;
    lab.assert_nothing_doubled_or_orphaned().await;
}

async fn what_was_made_for_a_claim_is_the_same_after_a_crash_and_gone_after_the_first_keepalive(
    database: &Database,
) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    lab.put(with_agents(Recycle::Reset)).await;
    settle(&crew).await;
    code(&lab).await;
    let claim = redeemed(&lab, "ada", None).await.unwrap().claim;
    // The host hangs in the middle of it, and the process is killed.
    lab.sims[0].hang();
    let dying = crew.foreman.clone();
    let pass = tokio::spawn(async move { dying.pass().await });
    let made = loop {
        let made: Result<Option<Vec<u8>>, labyard_store::StoreError> = lab
            .store
            .read(|read| read.query("SELECT made FROM claims", &[])?[0].get("made"))
            .await;
        if let Some(made) = made.unwrap() {
            break made;
        }
        tokio::task::yield_now().await;
    };
    pass.abort();
    crew.kill();
    lab.sims[0].resume();
    lab.time.skip(crate::rig::LEASE_MS);
    let next = lab.crew();
    assert_eq!(until_ready(&lab, &next, &claim.id).await.phase, Phase::Ready);
    let first = show(&lab, &claim.id).await.made.unwrap();
    assert!(
        !made.is_empty() && !String::from_utf8_lossy(&made).contains("PRIVATE"),
        "sealed"
    );
    assert_eq!(show(&lab, &claim.id).await.made.unwrap(), first);
    let public = first.public_key.unwrap();
    assert_eq!(keys(&lab, &only(&lab).await).await, [public]);
    keepalive(&lab, &claim.id).await;
    assert_eq!(show(&lab, &claim.id).await.made, None);
    assert_eq!(LIMITS.length_ms, 7_200_000);
}

async fn who_is_connected_to_his_machine_is_not_idle(database: &Database) {
    const IDLE: i64 = 600_000;
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    let mut spec = with_agents(Recycle::Recreate);
    spec.lease.idle_ms = Some(IDLE);
    lab.put(spec).await;
    settle(&crew).await;
    code(&lab).await;
    let claim = redeemed(&lab, "ada", None).await.unwrap().claim;
    until_ready(&lab, &crew, &claim.id).await;
    let member = only(&lab).await;
    let machine = lab.sims[0].look().machines.remove(0);
    assert_eq!(machine.host_name, member.name);
    let connect = |from: Vec<std::net::Ipv4Addr>| {
        let id = machine.id.clone();
        lab.sims[0]
            .by_other_hand(&ForeignHand::Connect { id, from })
            .unwrap();
    };
    keepalive(&lab, &claim.id).await;
    connect(vec![[10, 77, 0, 1].into()]);
    lab.time.skip(IDLE - 30_000);
    crew.foreman.pass().await.unwrap();
    lab.time.skip(IDLE - 60_000);
    crew.foreman.pass().await.unwrap();
    assert_eq!(
        claim_of(&lab, &claim.id).await.phase,
        Phase::Ready,
        "he was connected"
    );
    // He is gone: the idle time runs out.
    connect(Vec::new());
    lab.time.skip(IDLE);
    crew.foreman.pass().await.unwrap();
    assert_eq!(
        claim_of(&lab, &claim.id).await.phase,
        Phase::Ready,
        "nobody looked while it ran out"
    );
    for _ in 0..3 {
        lab.time.skip(25_000);
        crew.foreman.pass().await.unwrap();
    }
    assert_eq!(claim_of(&lab, &claim.id).await.phase, Phase::Expired);
}

async fn who_is_connected_while_no_foreman_runs_is_not_idle_after_it(database: &Database) {
    const IDLE: i64 = 600_000;
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    let mut spec = with_agents(Recycle::Recreate);
    spec.lease.idle_ms = Some(IDLE);
    lab.put(spec).await;
    settle(&crew).await;
    code(&lab).await;
    let claim = redeemed(&lab, "ada", None).await.unwrap().claim;
    until_ready(&lab, &crew, &claim.id).await;
    keepalive(&lab, &claim.id).await;
    let id = lab.sims[0].look().machines.remove(0).id;
    let from = vec![[10, 77, 0, 1].into()];
    lab.sims[0]
        .by_other_hand(&ForeignHand::Connect { id, from })
        .unwrap();
    // The daemon was down for longer than the idle time.
    crew.kill();
    lab.time.skip(2 * IDLE);
    let next = lab.crew();
    next.foreman.pass().await.unwrap();
    for _ in 0..4 {
        lab.time.skip(25_000);
        next.foreman.pass().await.unwrap();
    }
    let claim = claim_of(&lab, &claim.id).await;
    assert_eq!(claim.phase, Phase::Ready, "he was there all along");
    assert!(lab.time.moment().0 - claim.lease.unwrap().seen.0 < IDLE);
}

async fn guests_of_a_paused_claim_stand_still_where_their_pool_says_so(database: &Database) {
    for (on_pause, expected) in [
        (OnPause::Suspend, Power::Paused),
        (OnPause::Leave, Power::Running),
    ] {
        let lab = Lab::with(database, 1).await;
        let crew = lab.crew();
        let mut spec = with_agents(Recycle::Reset);
        (spec.on_pause, spec.lease.pause_ms) = (on_pause, 600_000);
        lab.put(spec).await;
        settle(&crew).await;
        code(&lab).await;
        let claim = redeemed(&lab, "ada", None).await.unwrap().claim;
        until_ready(&lab, &crew, &claim.id).await;
        keepalive(&lab, &claim.id).await;
        let before = keys(&lab, &only(&lab).await).await;
        pause(&lab, &claim.id).await;
        crew.foreman.pass().await.unwrap();
        assert_eq!(powers(&lab), [expected]);
        resume(&lab, &claim.id).await;
        assert_eq!(until_ready(&lab, &crew, &claim.id).await.phase, Phase::Ready);
        assert_eq!(powers(&lab), [Power::Running]);
        assert_eq!(
            keys(&lab, &only(&lab).await).await,
            before,
            "who was let in still is"
        );
        // A pause that lasts too long is the end: what stands still is brought back.
        pause(&lab, &claim.id).await;
        crew.foreman.pass().await.unwrap();
        lab.time.skip(600_000);
        settle(&crew).await;
        assert_eq!(claim_of(&lab, &claim.id).await.phase, Phase::Expired);
        assert_eq!(
            (powers(&lab), only(&lab).await.state),
            (vec![Power::Running], State::Free)
        );
        assert!(keys(&lab, &only(&lab).await).await.is_empty());
        lab.assert_nothing_doubled_or_orphaned().await;
        crate::kills::forget_all(&lab).await;
    }
}

/// Invariant 3: placed so that one host has them all.
async fn machines_of_one_claim_are_put_on_one_host(database: &Database) {
    let lab = Lab::with(database, 3).await;
    let crew = lab.crew();
    let mut spec = spec(4, 6);
    spec.together = Together::OneHost;
    lab.put(spec).await;
    settle(&crew).await;
    let hosts: std::collections::BTreeSet<_> = lab
        .members()
        .await
        .into_iter()
        .filter_map(|member| member.host)
        .collect();
    assert_eq!(hosts.len(), 1, "{:?}", lab.machines());
}

/// Invariant 21 for what a template knows.
async fn a_password_that_the_template_knows_is_none_once_a_machine_is_free(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    let spec = with_agents(Recycle::Reset);
    let secrets = serde_json::to_vec(&json!({"guest.admin_password_wo": "Sentinel-Q7"})).unwrap();
    let now = lab.time.moment();
    let put: Result<_, Refusal> = lab
        .store
        .write(move |write| {
            let (space, name) = (namespace(), "k8s".into());
            labyard_labs::pool::put(write, &space, &name, &spec, Some(&secrets), now, "test")
        })
        .await;
    put.unwrap();
    settle(&crew).await;
    let id = lab.sims[0].look().machines[0].id.clone();
    let shadow = GuestTask::ReadFile("/etc/shadow.d/learner".to_owned());
    let set = SimDriver::in_memory(&lab.sims[0])
        .ask_guest(&id, &shadow)
        .await
        .unwrap();
    assert!(matches!(set, GuestAnswer::File(Some(_))), "{set:?}");
}

async fn a_machine_that_cannot_be_brought_back_is_kept_for_a_look_and_stands_still(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    let mut spec = with_agents(Recycle::Reset);
    (spec.keep_failed, spec.max) = (1, 2);
    lab.put(spec).await;
    settle(&crew).await;
    code(&lab).await;
    let claim = redeemed(&lab, "ada", None).await.unwrap().claim;
    until_ready(&lab, &crew, &claim.id).await;
    show(&lab, &claim.id).await;
    let kept = lab.members().await.remove(0);
    // The file with its memory is gone.
    let memory = lab.sims[0]
        .look()
        .volumes
        .into_iter()
        .find(|volume| volume.name.as_str().contains(".-memory."));
    let memory = memory.expect("kept memory");
    SimDriver::in_memory(&lab.sims[0])
        .delete_volume(&memory.pool, &memory.name)
        .await
        .unwrap();
    release(&lab, &claim.id).await;
    settle(&crew).await;
    let members = lab.members().await;
    assert_eq!(
        members.iter().map(|member| member.state).collect::<Vec<_>>(),
        [State::Failed, State::Free]
    );
    assert!(
        members[0].id == kept.id && members[0].trouble.is_some(),
        "{members:?}"
    );
    let powers: Vec<_> = lab.sims[0]
        .look()
        .machines
        .into_iter()
        .map(|machine| (machine.host_name, machine.power))
        .collect();
    assert!(powers.contains(&(kept.name.clone(), Power::Paused)), "{powers:?}");
    lab.assert_nothing_doubled_or_orphaned().await;
}

async fn a_claim_whose_guest_does_not_wake_up_keeps_what_was_done_in_it(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    let mut spec = with_agents(Recycle::Reset);
    (spec.on_pause, spec.lease.pause_ms) = (OnPause::Suspend, 600_000);
    lab.put(spec).await;
    settle(&crew).await;
    code(&lab).await;
    let claim = redeemed(&lab, "ada", None).await.unwrap().claim;
    until_ready(&lab, &crew, &claim.id).await;
    keepalive(&lab, &claim.id).await;
    pause(&lab, &claim.id).await;
    crew.foreman.pass().await.unwrap();
    assert_eq!(powers(&lab), [Power::Paused]);
    // A hand ended it: it cannot wake, and what is on its disk is its user's all the same.
    let id = lab.sims[0].look().machines[0].id.clone();
    lab.sims[0].by_other_hand(&ForeignHand::Kill(id)).unwrap();
    resume(&lab, &claim.id).await;
    for _ in 0..12 {
        crew.foreman.pass().await.unwrap();
        lab.time.skip(20_000);
    }
    assert_eq!(claim_of(&lab, &claim.id).await.phase, Phase::Bound);
    assert_eq!(only(&lab).await.state, State::Claimed);
    release(&lab, &claim.id).await;
    settle(&crew).await;
    assert_eq!(only(&lab).await.state, State::Free);
}

/// It is the run that has the work done which waits for it: nobody else is there to go on.
async fn a_claim_that_is_under_way_when_its_pool_rests_is_made_usable(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    lab.put(with_agents(Recycle::Reset)).await;
    settle(&crew).await;
    code(&lab).await;
    let claim = redeemed(&lab, "ada", None).await.unwrap().claim;
    // Its pool has one machine at most: there is nothing to be done for it.
    settle(&crew).await;
    assert_eq!(claim_of(&lab, &claim.id).await.phase, Phase::Ready);
}
