//! Claims.

use super::{
    Answer, json,
    taken::{Json, Name, Query, invalid, limit, namespace, number},
};
use crate::{
    failure::Failure,
    keep::time,
    serve::{
        app::App,
        guard::{From, failed, limited},
        limit::Source,
        who::Caller,
    },
};
use axum::{Extension, extract::State};
use http::HeaderMap;
use labyard_api::{List, claim as api};
use labyard_labs::{
    Refusal,
    claim::{
        Bind, Claim, Phase, Queries,
        admit::{self, Made},
        hold, redeem,
    },
    code::CodeText,
    ids::{ClaimId, Namespace, UserName},
    member::Member,
    pool,
    show::{self, Scope, Sought},
};
use labyard_schema::vm_pool::Template;
use labyard_store::{
    Write,
    event::{Event, Moment},
};
use serde::Deserialize;
use std::sync::Arc;

const LONGEST_WAIT: u32 = 604_800;
const LONGEST_EXTENSION: u32 = 31_536_000;

pub(crate) async fn redeem(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    from: Option<Extension<From>>,
    headers: HeaderMap,
    Json(asked): Json<api::Redeem>,
) -> Answer {
    let key = idempotency_key(&headers)?;
    check(&asked)?;
    let from = from.map(|Extension(from)| from);
    let Ok(text) = CodeText::parse(&asked.code) else {
        let refused = Failure::from(Refusal::UnknownCode);
        failed(&app, from.as_ref())?;
        return Err(refused);
    };
    let code = app.key.finding_hash("attempt", &attempt(&caller.scope(), &text));
    let source = from.map(|From(address)| Source::from(address));
    let _turn = match source {
        Some(source) => app.limiter.turn(source).await,
        None => None,
    };
    let now = app.now();
    let waits = [
        source.and_then(|source| app.limiter.wait_of_source(source, now)),
        app.limiter.wait_of_code(&code, now),
    ];
    if let Some(wait) = waits.into_iter().flatten().max() {
        return Err(limited(&app, wait));
    }
    let request = redeem::Request {
        code: text,
        user: UserName(asked.user),
        idempotency_key: key,
        source: from.map(|From(address)| address),
        wait_ms: asked.wait.map(|seconds| i64::from(seconds) * 1000),
        public_key: asked.ssh_public_key,
        bind: match asked.bind {
            api::Bind::Any => Bind::Any,
            api::Bind::Prefer => Bind::Prefer,
            api::Bind::Require => Bind::Require,
        },
        scope: caller.scope(),
    };
    let redeemed: Result<_, Failure> = app
        .store
        .write(move |write| {
            let redeemed = redeem::redeem(write, &request, now)?;
            Ok(api::Redeemed {
                claim: shown_to_holder(write, &redeemed.claim.id, now)?,
                secret: redeemed.secret,
            })
        })
        .await;
    match redeemed {
        Ok(redeemed) => {
            let status = if redeemed.claim.phase == api::Phase::Queued {
                202
            } else {
                201
            };
            Ok(json(status, &redeemed))
        }
        Err(failure) => {
            let (guessed, of_code) = counts(failure.0.kind());
            if of_code {
                app.limiter.code_failed(code, now);
            }
            if guessed {
                failed(&app, from.as_ref())?;
            }
            Err(failure)
        }
    }
}

/// What failures with a code are counted by: also by who asks, since who may not know a code does not slow it for others.
fn attempt(scope: &Scope, text: &CodeText) -> String {
    let of = match scope {
        Scope::All => "*".to_owned(),
        Scope::These(names) => names.iter().map(Namespace::as_str).collect::<Vec<_>>().join(","),
    };
    format!("{of} {}", text.as_compared())
}

/// Whether a refusal is a failure of its source, and whether one of the code, too. A code that is there has its users: who
/// brings it from where it is not valid does not keep them waiting.
fn counts(refusal: &str) -> (bool, bool) {
    match refusal {
        "unknown-code" => (true, true),
        "revoked" | "wrong-source" => (true, false),
        _ => (false, false),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<String, Failure> {
    let wrong = |detail: &str| Err(invalid().wrong(api::IDEMPOTENCY_KEY, detail).into());
    let Some(value) = headers.get(api::IDEMPOTENCY_KEY) else {
        return wrong("it is required: a text of your own, the same when you repeat the request");
    };
    match value.to_str() {
        Ok(text) if (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(text.to_owned())
        }
        _ => wrong("1 to 128 visible ASCII characters belong here"),
    }
}

fn check(asked: &api::Redeem) -> Result<(), Failure> {
    let mut problem = invalid();
    let within = |text: &str, most| (1..=most).contains(&text.chars().count());
    if !within(&asked.code, 256) {
        problem = problem.wrong("/code", "1 to 256 characters belong here");
    }
    if !within(&asked.user, 128) || asked.user.chars().any(char::is_control) {
        problem = problem.wrong("/user", "1 to 128 printable characters belong here");
    }
    if asked.wait.is_some_and(|wait| wait > LONGEST_WAIT) {
        problem = problem.wrong("/wait", format!("at most {LONGEST_WAIT} s"));
    }
    if let Some(key) = &asked.ssh_public_key
        && let Err(detail) = labyard_schema::check::ssh_key(key)
    {
        problem = problem.wrong("/ssh_public_key", detail);
    }
    match problem.errors.is_empty() {
        true => Ok(()),
        false => Err(problem.into()),
    }
}

/// Which claims are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    namespace: Option<String>,
    limit: Option<u32>,
    after: Option<u64>,
    phase: Option<api::Phase>,
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Query(listed): Query<Listed>,
) -> Answer {
    let within = namespace(listed.namespace)?;
    let sought = Sought {
        scope: caller.scope().narrowed(within.as_ref()),
        phase: listed.phase.map(phase_from),
        before: number("after", listed.after)?,
        limit: limit(listed.limit)?,
    };
    let now = app.now();
    let found: Result<_, Failure> = app
        .store
        .read(move |read| {
            let claims = show::claims(read, &sought)?;
            let full = claims.len() as u64 == u64::from(sought.limit);
            let next = claims.last().filter(|_| full).map(|last| last.place.to_string());
            let items: Result<Vec<_>, Failure> =
                claims.iter().map(|claim| shown(read, claim, None, now)).collect();
            Ok(List { items: items?, next })
        })
        .await;
    Ok(json(200, &found?))
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    from: Option<Extension<From>>,
    Name(id): Name,
) -> Answer {
    let now = app.now();
    let found: Result<_, Failure> = match caller {
        // Whoever is told how to enter a machine may have been in it: that is written down, once.
        Caller::Holder(_) => told(&app, caller, ClaimId(id), now).await,
        _ => {
            app.store
                .read(move |read| {
                    let claim = held(read, &caller, &ClaimId(id))?;
                    shown(read, &claim, None, now)
                })
                .await
        }
    };
    Ok(json(200, &counted(&app, from, found)?))
}

/// The claim, for its holder or for who may see its namespace.
fn held(from: &mut impl Queries, caller: &Caller, id: &ClaimId) -> Result<Claim, Failure> {
    if let Caller::Holder(secret) = caller {
        return Ok(hold::by_secret(from, id, secret)?);
    }
    let claim = labyard_labs::claim::find(from, id)?;
    match caller.scope().holds(&claim.namespace) {
        true => Ok(claim),
        false => Err(Refusal::NoClaim.into()),
    }
}

/// What its holder is told of a claim, without holding anybody up where nothing is to be written down.
async fn told(app: &App, caller: Caller, id: ClaimId, now: Moment) -> Result<api::Claim, Failure> {
    let (by, sought) = (caller.clone(), id.clone());
    let again: Result<Option<api::Claim>, Failure> = app
        .store
        .read(move |read| {
            let claim = held(read, &by, &sought)?;
            let again = admit::show_again(read, &claim.id)?;
            again
                .map(|told| shown(read, &told.claim, told.made.as_ref(), now))
                .transpose()
        })
        .await;
    if let Some(claim) = again? {
        return Ok(claim);
    }
    app.store
        .write(move |write| {
            let claim = held(write, &caller, &id)?;
            shown_to_holder(write, &claim.id, now)
        })
        .await
}

/// A secret that is not the claim's is a failure of its source.
fn counted<T>(app: &App, from: Option<Extension<From>>, found: Result<T, Failure>) -> Result<T, Failure> {
    if let Err(failure) = &found
        && failure.0.kind() == "no-claim"
    {
        failed(app, from.as_deref())?;
    }
    found
}

type Verb = fn(&mut Write<'_>, Claim, Moment) -> Result<Claim, Refusal>;

async fn done(
    app: Arc<App>,
    caller: Caller,
    from: Option<Extension<From>>,
    id: String,
    verb: impl Fn(&mut Write<'_>, Claim, Moment) -> Result<Claim, Refusal> + Send + Sync + 'static,
) -> Answer {
    let now = app.now();
    let found: Result<_, Failure> = app
        .store
        .write(move |write| {
            let claim = held(write, &caller, &ClaimId(id.clone()))?;
            let claim = verb(write, claim, now)?;
            audit(write, &caller, &claim, now)?;
            shown(write, &claim, None, now)
        })
        .await;
    Ok(json(200, &counted(&app, from, found)?))
}

/// What somebody else than the holder does with a claim is told under the name of the token.
fn audit(write: &mut Write<'_>, caller: &Caller, claim: &Claim, now: Moment) -> Result<(), Failure> {
    if matches!(caller, Caller::Holder(_)) {
        return Ok(());
    }
    let event = Event::new(
        now,
        claim.namespace.as_str(),
        &caller.actor(),
        "claim.handled",
        &format!("claim/{}", claim.id),
    );
    write.event(&event.with("phase", claim.phase.word()))?;
    Ok(())
}

macro_rules! verbs {
    ($($name:ident: $verb:expr;)+) => {$(
        pub(crate) async fn $name(
            State(app): State<Arc<App>>,
            Extension(caller): Extension<Caller>,
            from: Option<Extension<From>>,
            Name(id): Name,
        ) -> Answer {
            let verb: Verb = $verb;
            done(app, caller, from, id, verb).await
        }
    )+};
}

verbs! {
    keep: hold::keepalive;
    pause: hold::pause;
    resume: hold::resume;
}

pub(crate) async fn release(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    from: Option<Extension<From>>,
    Name(id): Name,
) -> Answer {
    let by = caller.clone();
    done(app, caller, from, id, move |write, claim, now| {
        let actor = match &by {
            Caller::Holder(_) => claim.user.to_string(),
            other => other.actor(),
        };
        hold::release(write, claim, &actor, now)
    })
    .await
}

pub(crate) async fn extend(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    from: Option<Extension<From>>,
    Name(id): Name,
    Json(asked): Json<api::Extend>,
) -> Answer {
    if !(1..=LONGEST_EXTENSION).contains(&asked.by_s) {
        let detail = format!("{} is not from 1 to {LONGEST_EXTENSION}", asked.by_s);
        return Err(invalid().wrong("/by_s", detail).into());
    }
    let by_ms = i64::from(asked.by_s) * 1000;
    done(app, caller, from, id, move |write, claim, now| {
        hold::extend(write, claim, by_ms, now)
    })
    .await
}

/// A claim with what is needed to enter its machines.
fn shown_to_holder(write: &mut Write<'_>, id: &ClaimId, now: Moment) -> Result<api::Claim, Failure> {
    let told = admit::show(write, id, now)?;
    shown(write, &told.claim, told.made.as_ref(), now)
}

/// Who is let into a machine, by the template that it was made of.
fn user_of(from: &mut impl Queries, machine: &Member) -> Result<Option<String>, Failure> {
    let pool = match pool::find(from, &machine.namespace, &machine.pool) {
        Ok(pool) => pool,
        Err(Refusal::NoPool { .. }) => return Ok(None),
        Err(other) => return Err(other.into()),
    };
    let template = pool::template_of(from, &pool, machine.generation)?;
    let template = template.and_then(|template| serde_json::from_value::<Template>(template).ok());
    Ok(template.map(|template| labyard_foreman::user(template.as_machine())))
}

fn credentials(made: &Made, machine: &Member) -> api::Credentials {
    let password = made.passwords.get(&machine.id).cloned();
    // A guest that wants a password takes no key.
    let by_key = password.is_none();
    api::Credentials {
        private_key: made.private_key.clone().filter(|_| by_key),
        public_key: made.public_key.clone().filter(|_| by_key),
        password,
    }
}

fn machine(from: &mut impl Queries, machine: Member, made: Option<&Made>) -> Result<api::Machine, Failure> {
    Ok(api::Machine {
        user: user_of(from, &machine)?,
        credentials: made.map(|made| credentials(made, &machine)),
        pool: machine.pool.to_string(),
        addresses: machine.addresses.iter().map(ToString::to_string).collect(),
        name: machine.name,
        host: machine.host,
    })
}

/// A claim as the API shows it.
fn shown(
    from: &mut impl Queries,
    claim: &Claim,
    made: Option<&Made>,
    now: Moment,
) -> Result<api::Claim, Failure> {
    let place = match claim.phase {
        Phase::Queued => Some(show::place(from, claim)?),
        _ => None,
    };
    let machines = admit::machines_of(from, claim)?
        .into_iter()
        .map(|one| machine(from, one, made))
        .collect::<Result<_, Failure>>()?;
    let lease = claim.lease.filter(|_| !claim.phase.is_over());
    let until = |at: Moment| u64::try_from(at.0.saturating_sub(now.0).max(0) / 1000).unwrap_or_default();
    Ok(api::Claim {
        id: claim.id.to_string(),
        namespace: claim.namespace.to_string(),
        user: claim.user.to_string(),
        phase: phase_of(claim.phase),
        pools: claim
            .wants
            .pools
            .iter()
            .map(|(pool, count)| (pool.to_string(), *count))
            .collect(),
        machines,
        reached_from: claim
            .wants
            .reached
            .as_ref()
            .filter(|_| !claim.phase.is_over())
            .map(|reached| reached.from.to_string()),
        expires_at: lease.map(|lease| time(lease.over_at(claim.wants.limits))),
        latest_at: lease.map(|lease| time(lease.latest)),
        paused_at: lease.and_then(|lease| lease.paused).map(time),
        position: place.map(|place| place.position),
        estimate_s: place.and_then(|place| place.at).map(until),
        wait_until: claim
            .wait_until
            .filter(|_| claim.phase == Phase::Queued)
            .map(time),
    })
}

fn phase_of(phase: Phase) -> api::Phase {
    match phase {
        Phase::Queued => api::Phase::Queued,
        Phase::Bound => api::Phase::Bound,
        Phase::Ready => api::Phase::Ready,
        Phase::Paused => api::Phase::Paused,
        Phase::Expired => api::Phase::Expired,
        Phase::Released => api::Phase::Released,
        Phase::Failed => api::Phase::Failed,
    }
}

fn phase_from(phase: api::Phase) -> Phase {
    match phase {
        api::Phase::Queued => Phase::Queued,
        api::Phase::Bound => Phase::Bound,
        api::Phase::Ready => Phase::Ready,
        api::Phase::Paused => Phase::Paused,
        api::Phase::Expired => Phase::Expired,
        api::Phase::Released => Phase::Released,
        api::Phase::Failed => Phase::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_is_there_is_not_slowed_by_who_may_not_use_it() {
        assert_eq!(counts("unknown-code"), (true, true));
        assert_eq!(counts("wrong-source"), (true, false));
        assert_eq!(counts("revoked"), (true, false));
        assert_eq!(counts("none-free"), (false, false));
        let text = CodeText::parse("KJ4M-8ZQ2-7W3P-0N5T").unwrap();
        let physics = Scope::These(vec!["physics".into()]);
        assert_ne!(attempt(&Scope::All, &text), attempt(&physics, &text));
    }
}
