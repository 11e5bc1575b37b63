//! Pools and codes with a daemon, over its API. What a pool or a code is asked to be comes back as it was written; it means
//! the same here as there, since both read it by the same words.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use labyard_api::client::{Client, ClientError, Maker as By, Rests};
use labyard_api::maker::Making;
use labyard_api::operation::{Operation, State as Far};
use labyard_api::routes::Op;
use labyard_api::{attributes, code, pool as api};
use labyard_foreman::spec;
use labyard_foreman::written::Found;
use labyard_labs::Refusal;
use labyard_labs::claim::Phase;
use labyard_labs::code::CodeText;
use labyard_labs::code::config::{self, Meant, Origin};
use labyard_labs::code::keep::{Kept, KeptValue, Validity};
use labyard_labs::ids::{CodeName, Namespace, PoolName};
use labyard_labs::maker::{Maker, Stands, Thing};
use labyard_labs::member::State;
use labyard_labs::pool::Pool;
use labyard_labs::show::Counts;
use labyard_schema::Described as _;
use labyard_schema::access_code::AccessCode;
use labyard_schema::vm_pool::VmPool;
use labyard_store::event::Moment;
use serde_json::Value as Json;
use tfplugin::Diagnostics;
use tfplugin::value::Path;
use tokio::time::Instant;

use super::{Keeper, Lab, LabError, Machine, PoolView, Settling, Wish, Work, sentence};

/// Between looks at an operation.
const LOOK: Duration = Duration::from_millis(500);
/// How often a change is tried whose object others change at the same time.
const ATTEMPTS: u32 = 5;
/// How many lines of an operation's log an error shows.
const LINES: usize = 8;

/// Pools and codes with a daemon.
pub struct Remote {
    client: Client,
    endpoint: String,
    store: String,
    namespace: Namespace,
}

impl Remote {
    /// With the daemon of that store.
    pub fn new(client: Client, endpoint: String, store: String, namespace: Namespace) -> Self {
        Self {
            client,
            endpoint,
            store,
            namespace,
        }
    }

    fn namespace(&self) -> Option<&str> {
        Some(self.namespace.as_str())
    }

    /// A pool with its version.
    async fn tagged(&self, name: &PoolName) -> Result<(Found, api::Pool, String), LabError> {
        let answered = self.client.pool(self.namespace(), name.as_str()).await;
        let answered = answered.map_err(|error| absent(error, || Refusal::NoPool { pool: name.clone() }))?;
        let tag = answered.tag.unwrap_or_default();
        Ok((found(&answered.value)?, answered.value, tag))
    }

    /// A code with its version, without its texts.
    async fn tagged_code(&self, name: &CodeName) -> Result<(code::Code, String), LabError> {
        let answered = self.client.code(self.namespace(), name.as_str()).await;
        let answered = answered.map_err(|error| absent(error, || Refusal::NoCode { name: name.clone() }))?;
        Ok((answered.value, answered.tag.unwrap_or_default()))
    }

    /// What an operation is at, as long as the daemon is there or comes back.
    async fn look(&self, id: &str, left: Duration) -> Result<Option<Operation>, LabError> {
        match self.client.operation(id).await {
            Ok(operation) => Ok(Some(operation)),
            Err(error) if error.is_retryable() && !left.is_zero() => {
                tracing::warn!(%error, "the daemon was not asked how far it is");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A refusal that the thing is not there, as the store itself has it.
fn absent(error: ClientError, none: impl Fn() -> Refusal) -> LabError {
    match &error {
        ClientError::Refused(problem) if matches!(problem.kind(), "no-pool" | "no-code") => none().into(),
        _ => error.into(),
    }
}

fn is_other_version(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused(problem) if problem.kind() == "other-version")
}

fn strange(why: impl Into<String>) -> LabError {
    ClientError::Strange { why: why.into() }.into()
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A pool as the store itself has it.
fn found(shown: &api::Pool) -> Result<Found, LabError> {
    let asked = shown.asked.clone().unwrap_or_default();
    // The daemon may be of a release that has more attributes, or fewer.
    let asked = attributes::known(asked, &VmPool::attributes());
    let written: VmPool =
        serde_json::from_value(asked).map_err(|error| strange(format!("a pool: {error}")))?;
    let kept = spec::kept(&written).map_err(|error| strange(format!("a pool: {error}")))?;
    let (failures, cause, retry_at) = match &shown.condition {
        api::Condition::Failing {
            failures,
            cause,
            retry_at,
        } => (*failures, cause.clone(), *retry_at),
        api::Condition::GivenUp { failures, cause } => (*failures, cause.clone(), None),
        api::Condition::Ready | api::Condition::Filling | api::Condition::Draining => (0, None, None),
    };
    let pool = Pool {
        namespace: Namespace(shown.namespace.clone()),
        name: PoolName(shown.name.clone()),
        id: shown.id.clone(),
        spec: kept.spec,
        generation: whole(shown.generation),
        draining: shown.condition == api::Condition::Draining,
        failures,
        retry_at: retry_at.map(|at| Moment(at.as_millisecond())),
        cause,
    };
    Ok(Found {
        maker: maker(shown.maker.as_deref())?,
        pool,
        written: Some(written),
        claims: usize::try_from(shown.claims.unwrap_or_default()).unwrap_or(usize::MAX),
    })
}

fn maker(words: Option<&str>) -> Result<Option<Maker>, LabError> {
    let maker = words.map(Maker::parse).transpose();
    maker.map_err(|why| strange(format!("a maker: {why}")))
}

/// Who makes it, as the daemon is told.
fn by(meant: &Meant) -> Option<By<'_>> {
    Some(By {
        maker: meant.maker()?.as_str(),
        left_by: match meant {
            Meant::Left { by, .. } => Some(by.as_str()),
            _ => None,
        },
    })
}

fn is_exists(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused(problem) if matches!(problem.kind(), "pool-exists" | "code-exists"))
}

fn counts(counts: api::Counts) -> Counts {
    [
        (State::Building, counts.building),
        (State::Free, counts.free),
        (State::Claimed, counts.claimed),
        (State::Recycling, counts.recycling),
        (State::Retiring, counts.retiring),
        (State::Failed, counts.failed),
    ]
    .into()
}

fn machine(member: api::Member) -> Machine {
    Machine {
        name: member.name,
        host: member.host,
        state: match member.state {
            api::MemberState::Building => State::Building,
            api::MemberState::Free => State::Free,
            api::MemberState::Claimed => State::Claimed,
            api::MemberState::Recycling => State::Recycling,
            api::MemberState::Retiring => State::Retiring,
            api::MemberState::Failed => State::Failed,
        },
        generation: whole(member.generation),
    }
}

/// What is known of the texts of a code.
#[derive(Clone, Copy)]
enum Texts<'a> {
    /// Nothing, and nothing is needed.
    LeftOut,
    /// These: one that is missing is an error, but for a secret one, which is only known to be there.
    Known(&'a BTreeMap<String, String>),
}

/// A code as the store itself has it.
fn kept(shown: &code::Code, texts: Texts<'_>) -> Result<Kept, LabError> {
    let unreadable = |why: String| strange(format!("a code: {why}"));
    let asked = attributes::known(shown.asked.clone(), &AccessCode::attributes());
    let asked: AccessCode = serde_json::from_value(asked).map_err(|error| unreadable(error.to_string()))?;
    let origin = match shown.origin {
        code::Origin::Generated => Origin::Generated,
        code::Origin::Given => Origin::Given,
        code::Origin::Secret => Origin::Secret {
            version: asked.code_wo_version.unwrap_or_default(),
        },
        code::Origin::Batch => Origin::Batch {
            count: asked.batch.unwrap_or_default(),
        },
    };
    // What it grants does not depend on where its texts come from.
    let terms = AccessCode {
        code_wo_version: None,
        batch: None,
        ..asked
    };
    let meant = config::asked(&terms).map_err(|problem| unreadable(problem.to_string()))?;
    let value = |(label, value): (&String, &code::Label)| {
        let (text, validity) = match value.revoked {
            true => (None, Validity::Revoked),
            false => (text(label, origin, texts).map_err(&unreadable)?, Validity::Valid),
        };
        let kept = KeptValue {
            text,
            validity,
            uses: whole(value.uses),
            max_uses: value.max_uses.map(whole),
        };
        Ok((label.clone(), kept))
    };
    let values: Result<_, LabError> = shown.labels.iter().map(value).collect();
    let claims = shown
        .claims
        .iter()
        .filter_map(|(phase, count)| Some((phase.parse::<Phase>().ok()?.word(), whole(*count))));
    Ok(Kept {
        id: shown.id.clone(),
        name: CodeName(shown.name.clone()),
        terms: meant.terms,
        written: config::Written {
            origin,
            ..meant.written
        },
        values: values?,
        maker: maker(shown.maker.as_deref())?,
        claims: claims.collect(),
    })
}

/// The text of a value that is not revoked, as far as it is known.
fn text(label: &str, origin: Origin, texts: Texts<'_>) -> Result<Option<CodeText>, String> {
    let Texts::Known(texts) = texts else {
        return Ok(None);
    };
    match (texts.get(label), origin) {
        (Some(text), _) => CodeText::parse(text).map(Some),
        (None, Origin::Secret { .. }) => Ok(None),
        (None, _) => Err(format!(
            "what is typed to redeem it ({label}) may not be read by this token: use one of the role admin"
        )),
    }
}

#[async_trait]
impl Lab for Remote {
    fn place(&self) -> String {
        format!("that of the daemon {}", self.endpoint)
    }

    fn keeper(&self) -> Keeper {
        Keeper::Daemon
    }

    async fn home(&self, _: Wish) -> Result<Option<String>, LabError> {
        Ok(Some(self.store.clone()))
    }

    async fn pool(&self, name: &PoolName) -> Result<Found, LabError> {
        Ok(self.tagged(name).await?.0)
    }

    async fn pool_view(&self, name: &PoolName) -> Result<PoolView, LabError> {
        let (found, shown, _) = self.tagged(name).await?;
        let members = self.client.members(self.namespace(), name.as_str()).await?;
        Ok(PoolView {
            found,
            counts: counts(shown.counts),
            waiting: shown.waiting,
            machines: members.items.into_iter().map(machine).collect(),
        })
    }

    async fn put_pool(&self, asked: &VmPool, meant: Meant) -> Result<(Found, Work), LabError> {
        let name = PoolName(asked.name.clone());
        let body = api::asked(asked);
        if let Some(by) = by(&meant) {
            let made = self
                .client
                .make_pool(self.namespace(), name.as_str(), &body, &by)
                .await;
            return match made {
                Ok(operation) => Ok((self.pool(&name).await?, Work::Operation(operation.id))),
                Err(error) if is_exists(&error) => Err(LabError::PoolExists(name)),
                Err(error) => Err(error.into()),
            };
        }
        for attempt in 1.. {
            let rests = match &meant {
                Meant::New => Rests::OnNone,
                // Those of a maker are put above.
                Meant::Any | Meant::Made(_) | Meant::Left { .. } => Rests::Nowhere,
                Meant::There(id) => {
                    let (found, _, tag) = self.tagged(&name).await?;
                    if found.pool.id != *id {
                        return Err(LabError::PoolReplaced(name));
                    }
                    Rests::On(tag)
                }
            };
            let put = self
                .client
                .put_pool(self.namespace(), name.as_str(), &body, &rests)
                .await;
            match put {
                Ok(operation) => {
                    return Ok((self.pool(&name).await?, Work::Operation(operation.id)));
                }
                Err(error) if is_other_version(&error) && meant == Meant::New => {
                    return Err(LabError::PoolExists(name));
                }
                Err(error) if is_other_version(&error) && attempt < ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(LabError::PoolReplaced(name))
    }

    async fn remove_pool(&self, name: &PoolName, id: &str) -> Result<Work, LabError> {
        for attempt in 1.. {
            let (found, _, tag) = self.tagged(name).await?;
            if found.pool.id != id {
                break;
            }
            let rests = Rests::On(tag);
            let removed = self
                .client
                .delete_pool(self.namespace(), name.as_str(), &rests)
                .await;
            match removed {
                Ok(operation) => return Ok(Work::Operation(operation.id)),
                Err(error) if is_other_version(&error) && attempt < ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(LabError::PoolReplaced(name.clone()))
    }

    async fn settle(&self, name: &PoolName, work: &Work, bounds: Settling<'_>) -> Result<(), LabError> {
        let Work::Operation(id) = work else {
            return Ok(());
        };
        let (began, mut said) = (Instant::now(), 0);
        let mut stage = String::new();
        loop {
            let left = bounds.limit.saturating_sub(began.elapsed());
            if let Some(operation) = self.look(id, left).await? {
                for line in operation.log.iter().skip(said) {
                    tracing::info!(pool = %name, operation = %id, stage = %line.text, "how it stands");
                }
                said = operation.log.len();
                match operation.state {
                    Far::Running => stage = operation.stage,
                    Far::Succeeded => return Ok(()),
                    Far::Failed | Far::Cancelled => return Err(LabError::Unsettled(ended(name, &operation))),
                }
            }
            if left.is_zero() {
                return Err(LabError::Unsettled(format!(
                    "pool {name} is not what it was asked to be after {}s: {stage}. The daemon goes on with it (labyard \
                     operation show {id})",
                    bounds.limit.as_secs()
                )));
            }
            tokio::select! {
                () = bounds.cancel.cancelled() => {
                    let cancelled = self.client.cancel(id).await;
                    return Err(LabError::Unsettled(stopped(name, cancelled)));
                }
                () = tokio::time::sleep(LOOK.min(left)) => {}
            }
        }
    }

    async fn code(&self, name: &CodeName, known: &BTreeMap<String, String>) -> Result<Kept, LabError> {
        let (shown, _) = self.tagged_code(name).await?;
        match self.client.values(self.namespace(), name.as_str()).await {
            Ok(values) => kept(&shown, Texts::Known(&values.values)),
            Err(ClientError::Refused(problem)) if problem.status == 403 => kept(&shown, Texts::Known(known)),
            Err(error) => Err(error.into()),
        }
    }

    async fn code_uses(&self, name: &CodeName) -> Result<Kept, LabError> {
        kept(&self.tagged_code(name).await?.0, Texts::LeftOut)
    }

    async fn put_code(&self, asked: &AccessCode, meant: Meant) -> Result<Kept, LabError> {
        let name = CodeName(asked.name.clone());
        let body: Json = code::asked(asked);
        if let Some(by) = by(&meant) {
            let made = self
                .client
                .make_code(self.namespace(), name.as_str(), &body, &by)
                .await;
            return match made {
                Ok(_) => self.code(&name, &BTreeMap::new()).await,
                Err(error) if is_exists(&error) => Err(Refusal::CodeExists { name }.into()),
                Err(error) => Err(error.into()),
            };
        }
        for attempt in 1.. {
            let rests = match &meant {
                Meant::New => Rests::OnNone,
                // Those of a maker are put above.
                Meant::Any | Meant::Made(_) | Meant::Left { .. } => Rests::Nowhere,
                Meant::There(id) => {
                    let (shown, tag) = self.tagged_code(&name).await?;
                    if shown.id != *id {
                        break;
                    }
                    Rests::On(tag)
                }
            };
            let put = self
                .client
                .put_code(self.namespace(), name.as_str(), &body, &rests)
                .await;
            match put {
                Ok(_) => return self.code(&name, &BTreeMap::new()).await,
                Err(error) if is_other_version(&error) && meant == Meant::New => {
                    return Err(Refusal::CodeExists { name }.into());
                }
                Err(error) if is_other_version(&error) && attempt < ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Refusal::CodeReplaced { name }.into())
    }

    async fn remove_code(&self, name: &CodeName, id: &str) -> Result<(), LabError> {
        for attempt in 1.. {
            let (shown, tag) = match self.tagged_code(name).await {
                Err(LabError::Refused(Refusal::NoCode { .. })) => return Ok(()),
                other => other?,
            };
            if shown.id != id {
                break;
            }
            let removed = self
                .client
                .delete_code(self.namespace(), name.as_str(), &Rests::On(tag))
                .await;
            match removed {
                Ok(_) => return Ok(()),
                Err(error) if is_other_version(&error) && attempt < ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Refusal::CodeReplaced { name: name.clone() }.into())
    }

    async fn making(&self, thing: &Thing, id: &str, maker: Option<&Maker>) -> Result<Stands, LabError> {
        let op = match thing {
            Thing::Pool(_) => Op::MakePool,
            Thing::Code(_) => Op::MakeCode,
        };
        let making = Making {
            id: id.to_owned(),
            maker: maker.map(|maker| maker.as_str().to_owned()),
        };
        let said = self.client.making(op, self.namespace(), thing.name(), &making);
        match said.await {
            Ok(()) => Ok(Stands::Yes),
            Err(ClientError::Refused(problem)) if problem.kind() == "other-object" => Ok(Stands::No),
            Err(error) => Err(error.into()),
        }
    }
}

/// An operation that did not come to its aim, with the end of its log.
fn ended(name: &PoolName, operation: &Operation) -> String {
    let why = operation.error.as_deref().unwrap_or("nothing was said of why");
    let lines = operation.log.iter().rev().take(LINES).rev();
    let lines: Vec<String> = lines.map(|line| format!("{} {}", line.at, line.text)).collect();
    format!(
        "pool {name}: the daemon's operation {} has {}: {why}\n\nThe end of its log:\n{}",
        operation.id,
        operation.state.word(),
        lines.join("\n")
    )
}

fn stopped(name: &PoolName, cancelled: Result<Operation, ClientError>) -> String {
    let daemon = match cancelled {
        Ok(_) => "the daemon was told that nobody waits".to_owned(),
        Err(error) => format!("the daemon could not be told: {error}"),
    };
    format!(
        "stopped before pool {name} was what it was asked to be ({daemon}). What was asked for stays asked for, and the \
         daemon goes on with it"
    )
}

/// Adds what the daemon refused, each value at its attribute.
pub fn say(error: &ClientError, doing: &str, diags: &mut Diagnostics) {
    match error {
        ClientError::Refused(problem) if !problem.errors.is_empty() => {
            for wrong in &problem.errors {
                let mut said = problem.as_ref().clone();
                said.errors.clear();
                let detail = format!("{said}: {}.", wrong.detail);
                diags.error(Some(pointed(&wrong.at)), doing, detail);
            }
        }
        ClientError::Broken { .. } => {
            let detail = format!("{} Apply again: what was done is found then.", sentence(error));
            diags.error(None, doing, detail);
        }
        other => diags.error(None, doing, sentence(other)),
    }
}

/// The path of a JSON pointer. Every other step below a map is one of the user's own keys, which looks like any other:
/// the attributes that are maps of objects tell.
fn pointed(pointer: &str) -> Path {
    const MAPS: [&str; 5] = ["disks", "media", "nics", "pools", "schedule"];
    let mut path = Path::root();
    let mut is_key = false;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if part.parse::<u32>().is_ok() && !is_key {
            return path;
        }
        let map = MAPS.contains(&part.as_str()) && !is_key;
        path = match is_key {
            true => path.then_key(part),
            false => path.then_attribute(part),
        };
        is_key = map;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(origin: code::Origin) -> code::Code {
        let label = |revoked| code::Label {
            uses: 1,
            max_uses: None,
            revoked,
        };
        code::Code {
            namespace: "default".to_owned(),
            name: "class".to_owned(),
            id: "7".to_owned(),
            asked: serde_json::json!({"name": "class", "pools": {"k8s": {"count": 1}}, "on_destroy": "keep"}),
            origin,
            values: 1,
            labels: [("main".to_owned(), label(false)), ("old".to_owned(), label(true))].into(),
            uses: 2,
            running: 0,
            claims: BTreeMap::new(),
            maker: None,
        }
    }

    #[test]
    fn a_daemon_of_another_release_is_understood() {
        let mut code = shown(code::Origin::Generated);
        code.asked["of_tomorrow"] = true.into();
        code.asked.as_object_mut().unwrap().remove("on_destroy");
        assert_eq!(kept(&code, Texts::LeftOut).unwrap().id, "7");
        let pool = serde_json::json!({
            "namespace": "default", "name": "k8s", "id": "7", "generation": 1, "ready": 1, "max": 2,
            "max_in_flight": 2, "waiting": 0, "condition": {"type": "ready"}, "of_tomorrow": 1,
            "counts": {"building": 0, "free": 1, "claimed": 0, "recycling": 0, "retiring": 0, "failed": 0},
            "asked": {"name": "k8s", "ready": 1, "max": 2, "of_tomorrow": 1,
                "template": {"memory_mib": 64, "of_tomorrow": 1}},
        });
        let pool = found(&serde_json::from_value(pool).unwrap()).unwrap();
        assert_eq!(
            (pool.pool.spec.ready, pool.written.unwrap().recycle.as_str()),
            (1, "reset")
        );
    }

    #[test]
    fn what_may_not_be_read_is_hidden_and_neither_revoked_nor_made_up() {
        let none = BTreeMap::new();
        let hidden = [
            kept(&shown(code::Origin::Secret), Texts::Known(&none)),
            kept(&shown(code::Origin::Generated), Texts::LeftOut),
        ];
        for kept in hidden {
            let kept = kept.unwrap();
            assert!(kept.texts().is_empty(), "{kept:?}");
            assert!(kept.values["main"].is_hidden() && !kept.values["main"].is_revoked());
            assert!(kept.values["old"].is_revoked() && !kept.values["old"].is_hidden());
        }
        let needed = kept(&shown(code::Origin::Generated), Texts::Known(&none)).unwrap_err();
        assert!(needed.to_string().contains("role admin"), "{needed}");
        let known = [("main".to_owned(), "AAAA-1111-2222-3333".to_owned())].into();
        let kept = kept(&shown(code::Origin::Generated), Texts::Known(&known)).unwrap();
        assert_eq!(kept.texts()["main"].to_string(), "AAAA-1111-2222-3333");
    }
}
