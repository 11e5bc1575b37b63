//! A pool, a code and free machines in a store, and the calls of the tests on them.

use labyard_labs::{
    Refusal,
    claim::{
        Claim, hold,
        lease::Limits,
        redeem::{Redeemed, Request, redeem},
        serve,
    },
    code::{CodeText, Terms},
    ids::{ClaimId, Namespace, PoolName, UserName},
    show::Scope,
};
use labyard_store::{
    Store, StoreError,
    event::{Event, Moment},
};
use serde_json::json;
use std::collections::BTreeMap;

pub(crate) const HOUR: i64 = 3_600_000;
pub(crate) const LIMITS: Limits = Limits {
    length_ms: 2 * HOUR,
    max_ms: 8 * HOUR,
    idle_ms: Some(HOUR),
    pause_ms: HOUR,
};
pub(crate) const CODE: &str = "KJ4M-8ZQ2-7W3P-0N5T";

pub(crate) fn namespace() -> Namespace {
    "default".into()
}

/// A pool with so many free machines.
pub(crate) async fn pool(store: &Store, name: &str, free: i64) {
    let name = name.to_owned();
    let done: Result<(), StoreError> = store
        .write(move |write| {
            let spec = json!({"ready": 0, "max": 1000, "max_in_flight": 2, "lease": LIMITS, "template": {}}).to_string();
            write.execute(
                "INSERT INTO pools (namespace, name, id, spec, generation, phase) VALUES ('default', $1, $2, $3, 1, 'active')",
                &[(&name).into(), format!("pool-{name}").into(), spec.into()],
            )?;
            for number in 1..=free {
                let id = format!("{name}-{number}");
                write.execute(
                    "INSERT INTO members (id, namespace, pool, number, name, host, state, generation, since, detail) \
                     VALUES ($1, 'default', $2, $3, $1, 'lab1', 'free', 1, 0, '{}')",
                    &[id.into(), (&name).into(), number.into()],
                )?;
            }
            write.event(&Event::new(Moment(0), "default", "test", "pool.made", &name)).map(drop)
        })
        .await;
    done.unwrap();
}

/// A code with one value.
pub(crate) async fn code(store: &Store, terms: Terms) {
    let done: Result<(), StoreError> = store
        .write(move |write| {
            let spec = serde_json::to_string(&terms).unwrap();
            write.execute(
                "INSERT INTO codes (namespace, name, id, spec) VALUES ('default', 'class', 'code-1', $1)",
                &[spec.into()],
            )?;
            let text = CodeText::parse(CODE).unwrap();
            let hash = write.finding_hash("code", text.as_compared());
            let sealed = write.seal("codes/code-1", text.as_compared().as_bytes())?;
            write.execute(
                "INSERT INTO code_values (hash, code, label, sealed, max_uses) VALUES ($1, 'code-1', 'main', $2, $3)",
                &[hash.into(), sealed.0.into(), terms.max_uses.into()],
            )?;
            write.event(&Event::new(Moment(0), "default", "test", "code.made", "class")).map(drop)
        })
        .await;
    done.unwrap();
}

pub(crate) fn terms(pools: &[(&str, u32)]) -> Terms {
    let pools: BTreeMap<PoolName, u32> = pools
        .iter()
        .map(|(name, count)| ((*name).into(), *count))
        .collect();
    Terms {
        pools,
        ..Terms::default()
    }
}

pub(crate) fn request(user: &str, key: &str) -> Request {
    Request {
        code: CodeText::parse(CODE).unwrap(),
        user: UserName::from(user),
        idempotency_key: key.to_owned(),
        source: None,
        wait_ms: None,
        public_key: None,
        bind: Default::default(),
        scope: Scope::All,
    }
}

pub(crate) fn waiting(user: &str, key: &str, wait_ms: i64) -> Request {
    Request {
        wait_ms: Some(wait_ms),
        ..request(user, key)
    }
}

pub(crate) async fn redeemed(store: &Store, request: Request, now: i64) -> Result<Redeemed, Refusal> {
    store
        .write(move |write| redeem(write, &request, Moment(now)))
        .await
}

pub(crate) async fn released(store: &Store, id: &ClaimId, now: i64) -> Result<Claim, Refusal> {
    let id = id.clone();
    store
        .write(move |write| {
            let claim = labyard_labs::claim::find(write, &id)?;
            hold::release(write, claim, "test", Moment(now))
        })
        .await
}

pub(crate) async fn seen(store: &Store, id: &ClaimId, now: i64) -> Result<Claim, Refusal> {
    let id = id.clone();
    store
        .write(move |write| {
            let claim = labyard_labs::claim::find(write, &id)?;
            hold::keepalive(write, claim, Moment(now))
        })
        .await
}

pub(crate) async fn expired(store: &Store, now: i64) -> Vec<Claim> {
    let ended: Result<_, Refusal> = store
        .write(move |write| serve::expire(write, serve::Idle::Ends, Moment(now)))
        .await;
    ended.unwrap()
}

pub(crate) async fn served(store: &Store, now: i64) -> Vec<Claim> {
    let bound: Result<_, Refusal> = store
        .write(move |write| serve::queue(write, &namespace(), Moment(now)))
        .await;
    bound.unwrap()
}

/// Machines that were recycled are free again.
pub(crate) async fn recycled(store: &Store, now: i64) {
    let done: Result<(), StoreError> = store
        .write(move |write| {
            write.execute(
                "UPDATE members SET state = 'free', since = $1 WHERE state = 'recycling'",
                &[now.into()],
            )?;
            write
                .event(&Event::new(
                    Moment(now),
                    "default",
                    "test",
                    "machine.recycled",
                    "all",
                ))
                .map(drop)
        })
        .await;
    done.unwrap();
}

pub(crate) async fn number(store: &Store, sql: &'static str) -> i64 {
    let number: Result<i64, StoreError> = store.read(move |read| read.query(sql, &[])?[0].get("n")).await;
    number.unwrap()
}

/// How many machines are in a state.
pub(crate) async fn in_state(store: &Store, state: &str) -> i64 {
    let state = state.to_owned();
    let number: Result<i64, StoreError> = store
        .read(move |read| {
            read.query(
                "SELECT COUNT(*) AS n FROM members WHERE state = $1",
                &[state.into()],
            )?[0]
                .get("n")
        })
        .await;
    number.unwrap()
}

/// What holds in every state of the store.
pub(crate) async fn assert_sound(store: &Store) {
    let owned_by_nobody = "SELECT COUNT(*) AS n FROM members m JOIN claims c ON c.id = m.claim \
                           WHERE c.phase IN ('queued', 'expired', 'released', 'failed')";
    assert_eq!(
        number(store, owned_by_nobody).await,
        0,
        "a machine of a claim that is over"
    );
    let uses = number(
        store,
        "SELECT CAST(COALESCE(SUM(uses), 0) AS BIGINT) AS n FROM code_values",
    )
    .await;
    let of_claims = "SELECT COUNT(*) AS n FROM claims WHERE bound_at IS NOT NULL OR ended_at IS NULL";
    assert_eq!(
        uses,
        number(store, of_claims).await,
        "each use is a claim that has or had machines, or waits"
    );
    let claims = store
        .read(|read| {
            let rows = read.query(
                "SELECT id FROM claims WHERE phase IN ('bound', 'ready', 'paused')",
                &[],
            )?;
            let ids = rows
                .iter()
                .map(|row| row.get("id").map(ClaimId))
                .collect::<Result<Vec<_>, _>>()?;
            ids.iter()
                .map(|id| labyard_labs::claim::find(read, id))
                .collect::<Result<Vec<_>, Refusal>>()
        })
        .await
        .unwrap();
    for claim in claims {
        let wanted: u32 = claim.wants.pools.values().sum();
        assert_eq!(
            claim.machines.len(),
            wanted as usize,
            "{} has all its machines",
            claim.id
        );
    }
}
