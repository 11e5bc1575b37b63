//! A pool as a user writes it down, put into the store and read back as it was written. What it means stands in its
//! [`Spec`]; the spelling beside it, without secrets.
//!
//! ```
//! use labyard_foreman::written::as_config;
//! # use labyard_labs::pool::Pool;
//! # fn example(pool: &Pool) {
//! let config = as_config(pool, &[]);
//! assert_eq!(config.name, pool.name.as_str());
//! # }
//! ```

use crate::{build::unreadable, spec};
use labyard_labs::{
    Refusal,
    claim::{Queries, lease::Limits},
    code::config::Meant,
    ids::{Namespace, PoolName},
    maker::{self, Maker, Thing},
    pool::{self, Access, Isolation, OnDestroy, OnPause, Pool, Recycle, Spec, Strategy, Together},
    schedule::{AtEnd, Written},
};
use labyard_schema::{
    text::Span,
    vm_pool::{ClaimNetwork, LeaseLimits, Secrets, Template, VmPool, Window},
};
use labyard_store::{
    StoreError, Write,
    event::{Event, Moment},
};

/// Why a pool was not put into the store.
#[derive(Debug, thiserror::Error)]
pub enum NotPut {
    /// One of that name is there.
    #[error("there is a pool {0} already, made by somebody else")]
    Exists(PoolName),
    /// Another took the place of the one that is meant.
    #[error("the pool {0} was removed and made anew by somebody else")]
    Replaced(PoolName),
    /// Otherwise.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl From<StoreError> for NotPut {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

/// A pool with how it was written.
#[derive(Clone, Debug)]
pub struct Found {
    /// The pool.
    pub pool: Pool,
    /// How a user wrote it.
    pub written: Option<VmPool>,
    /// Claims that have machines of it or wait for them.
    pub claims: usize,
    /// Who makes it, until who asked for it has written it down.
    pub maker: Option<Maker>,
}

/// The pool of that name.
///
/// # Errors
/// If there is none, or the store fails.
pub fn find(from: &mut impl Queries, namespace: &Namespace, name: &PoolName) -> Result<Found, Refusal> {
    let pool = pool::find(from, namespace, name)?;
    let rows = from.rows(
        "SELECT written, maker FROM pools WHERE namespace = $1 AND name = $2",
        &[namespace.as_str().into(), name.as_str().into()],
    )?;
    let written: Option<String> = rows.first().map(|row| row.get("written")).transpose()?;
    let written = written.filter(|text| text != "{}");
    Ok(Found {
        maker: rows.first().map(maker::read).transpose()?.flatten(),
        written: written.and_then(|text| serde_json::from_str(&text).ok()),
        claims: pool::claims_of(from, namespace, name)?.len(),
        pool,
    })
}

/// Makes a pool, or changes the one that is meant. A secret whose version is the one that is kept stays as it is kept.
///
/// # Errors
/// If another has the name, the pool is being emptied, or the store fails.
pub fn put(
    write: &mut Write<'_>,
    namespace: &Namespace,
    config: &VmPool,
    meant: &Meant,
    now: Moment,
    actor: &str,
) -> Result<Found, NotPut> {
    let name = PoolName(config.name.clone());
    let before = match pool::find(write, namespace, &name) {
        Ok(pool) => Some(pool),
        Err(Refusal::NoPool { .. }) => None,
        Err(other) => return Err(other.into()),
    };
    let thing = Thing::Pool(name.clone());
    let maker = maker::of(write, namespace, &thing)?;
    match (meant, &before) {
        (Meant::New | Meant::Made(_), Some(_)) => return Err(NotPut::Exists(name)),
        (Meant::Left { by, .. }, Some(_)) if maker.as_ref() != Some(by) => return Err(NotPut::Exists(name)),
        (Meant::There(_), None) => return Err(Refusal::NoPool { pool: name }.into()),
        (Meant::There(id), Some(pool)) if pool.id != *id => return Err(NotPut::Replaced(name)),
        _ => {}
    }
    let mut config = config.clone();
    // Of secrets that a maker left nobody wrote down the version: they are those of whoever takes the pool over.
    if let (Meant::Left { .. }, Some(pool)) = (meant, &before) {
        pool::taken_over(write, pool, now, actor)?;
    } else if let Some(pool) = &before {
        let sealed = pool::secrets_of(write, namespace, &name)?;
        let kept = spec::secrets(sealed.as_deref()).map_err(|error| unreadable(&error))?;
        config.template = with_kept(config.template, &pool.spec.template, &kept);
    }
    let asked = spec::kept(&config).map_err(|error| unreadable(&error))?;
    let secrets = asked.secrets.as_deref();
    let pool = pool::put(write, namespace, &name, &asked.spec, secrets, now, actor)?;
    put_written(write, &pool, &config, now, actor)?;
    maker::set(write, namespace, &thing, meant.maker(), (now, actor))?;
    Ok(find(write, namespace, &name)?)
}

/// Notes how a pool was written, where that is another way than before.
fn put_written(
    write: &mut Write<'_>,
    pool: &Pool,
    config: &VmPool,
    now: Moment,
    actor: &str,
) -> Result<(), Refusal> {
    let text = serde_json::to_string(config).map_err(|error| unreadable(&error))?;
    let changed = write.execute(
        "UPDATE pools SET written = $1 WHERE id = $2 AND written <> $1",
        &[text.into(), (&pool.id).into()],
    )?;
    if changed > 0 {
        let subject = format!("pool/{}", pool.name);
        write.event(&Event::new(
            now,
            pool.namespace.as_str(),
            actor,
            "pool.written",
            &subject,
        ))?;
    }
    Ok(())
}

/// The template with the secrets that are kept, where their versions are those that are kept.
fn with_kept(template: Template, before: &serde_json::Value, kept: &Secrets) -> Template {
    let now = serde_json::to_value(&template).unwrap_or_default();
    let version = |of: &serde_json::Value, path: &str| {
        of.pointer(&format!("/{}_version", path.replace('.', "/")))
            .cloned()
    };
    let mut secrets = template.secrets();
    for (path, secret) in kept {
        let same = version(&now, path) == version(before, path);
        if same && secrets.contains_key(path) {
            secrets.insert(path.clone(), secret.clone());
        }
    }
    template.with_secrets(&secrets)
}

/// A pool as it is, in the words of the first of those who wrote it that still mean it. Secrets are not in it.
#[must_use]
pub fn as_config(pool: &Pool, writers: &[&VmPool]) -> VmPool {
    let spec = &pool.spec;
    let said: Vec<(&VmPool, Spec)> = writers
        .iter()
        .filter_map(|writer| Some((*writer, spec::kept(writer).ok()?.spec)))
        .collect();
    let one = |means: &dyn Fn(&Spec) -> bool| {
        said.iter()
            .find(|(_, said)| means(said))
            .map(|(writer, _)| *writer)
    };
    let hosts = || Some(spec.hosts.as_ref()?.iter().cloned().collect());
    let template = || serde_json::from_value(spec.template.clone()).unwrap_or_default();
    let schedule = || {
        let windows = spec
            .schedule
            .iter()
            .map(|(key, written)| (key.clone(), window(written)));
        (!spec.schedule.is_empty()).then(|| windows.collect())
    };
    VmPool {
        name: pool.name.to_string(),
        hosts: one(&|said| said.hosts == spec.hosts).map_or_else(hosts, |writer| writer.hosts.clone()),
        ready: spec.ready,
        max: spec.max,
        max_in_flight: spec.max_in_flight,
        strategy: match spec.strategy {
            Strategy::Warm => "warm",
            Strategy::OnDemand => "on_demand",
        }
        .to_owned(),
        recycle: match spec.recycle {
            Recycle::Reset => "reset",
            Recycle::Recreate => "recreate",
        }
        .to_owned(),
        on_destroy: match spec.on_destroy {
            OnDestroy::Refuse => "refuse",
            OnDestroy::Drain => "drain",
            OnDestroy::Force => "force",
        }
        .to_owned(),
        isolated: spec.isolation == Isolation::Apart,
        access: match spec.access {
            Access::Open => "open",
            Access::Claimer => "claimer",
        }
        .to_owned(),
        together: spec.together == Together::OneHost,
        claim_network: spec.network.as_ref().map(|network| ClaimNetwork {
            nic: network.nic.clone(),
            cidr: network.cidr.to_string(),
        }),
        on_pause: match spec.on_pause {
            OnPause::Suspend => "suspend",
            OnPause::Leave => "leave",
        }
        .to_owned(),
        keep_failed: spec.keep_failed,
        template: one(&|said| said.template == spec.template)
            .map_or_else(template, |writer| writer.template.clone()),
        lease: one(&|said| said.lease == spec.lease)
            .map_or_else(|| Some(limits(spec.lease)), |writer| writer.lease.clone()),
        schedule: one(&|said| said.schedule == spec.schedule)
            .map_or_else(schedule, |writer| writer.schedule.clone()),
        timeouts: writers.first().and_then(|writer| writer.timeouts.clone()),
        id: Some(pool.id.clone()),
    }
}

fn span(ms: i64) -> Span {
    Span(match ms % 1000 {
        0 => format!("{}s", ms / 1000),
        _ => format!("{ms}ms"),
    })
}

fn limits(limits: Limits) -> LeaseLimits {
    LeaseLimits {
        default: Some(span(limits.length_ms)),
        max: Some(span(limits.max_ms)),
        idle: limits.idle_ms.map(span),
        pause: Some(span(limits.pause_ms)),
    }
}

fn window(written: &Written) -> Window {
    Window {
        timezone: written.timezone.clone(),
        days: (!written.days.is_empty()).then(|| written.days.clone()),
        from: written.from.clone(),
        to: written.to.clone(),
        not_before: written.not_before.clone(),
        not_after: written.not_after.clone(),
        start: written.start.clone(),
        end: written.end.clone(),
        warm_up: (written.warm_up_ms != 0).then(|| span(written.warm_up_ms)),
        at_end: match written.at_end {
            AtEnd::CutOff => "cut_off",
            AtEnd::Soft => "soft",
        }
        .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use labyard_store::{Location, SealingKey, Store};

    const TEXT: &str = r#"{"name": "k8s", "ready": 2, "max": 4, "max_in_flight": 2, "strategy": "warm", "recycle": "reset",
        "on_destroy": "refuse", "isolated": true, "access": "open", "together": false, "claim_network": {"nic": "lab", "cidr": "10.78.0.0/24"}, "on_pause": "suspend", "keep_failed": 0, "hosts": ["b", "a"], "lease": {"default": "90m"},
        "schedule": {"term": {"timezone": "UTC", "days": ["mon"], "from": "08:00", "to": "10:00", "warm_up": "30m", "at_end": "soft"}},
        "timeouts": {"create": "5m"},
        "template": {"memory_mib": 512, "cloud_init": {"user_data_wo": "one", "user_data_wo_version": 1}}}"#;

    fn config() -> VmPool {
        serde_json::from_str(TEXT).unwrap()
    }

    async fn kept(store: &Store, config: VmPool, meant: Meant) -> Result<Found, NotPut> {
        store
            .write(move |write| put(write, &"default".into(), &config, &meant, Moment(1), "test"))
            .await
    }

    async fn with_store(test: impl AsyncFnOnce(Store)) {
        let directory = tempfile::tempdir().unwrap();
        let location = Location::File(directory.path().join("labyard.db"));
        test(
            Store::open(&location, SealingKey::from_bytes([7; 32]))
                .await
                .unwrap(),
        )
        .await;
    }

    #[tokio::test]
    async fn a_pool_is_read_back_as_it_was_written_and_without_its_secrets() {
        with_store(async |store| {
            let found = kept(&store, config(), Meant::New).await.unwrap();
            let written = found.written.clone().unwrap();
            let mut expected = config();
            expected.template =
                serde_json::from_value(serde_json::to_value(&expected.template).unwrap()).unwrap();
            assert!(written.template.secrets().is_empty());
            let read = as_config(&found.pool, &[&written]);
            assert_eq!(
                read,
                VmPool {
                    id: Some(found.pool.id.clone()),
                    ..expected
                }
            );
            // Without any writer it means the same.
            let plain = as_config(&found.pool, &[]);
            assert_eq!(spec::kept(&plain).unwrap().spec, found.pool.spec);
        })
        .await;
    }

    #[tokio::test]
    async fn a_pool_that_a_maker_left_is_taken_over_with_the_secrets_of_who_does() {
        with_store(async |store| {
            let words = |text: &str| Maker::parse(text).unwrap();
            let left = |by: &str| Meant::Left {
                by: words(by),
                maker: words("two"),
            };
            let made = kept(&store, config(), Meant::Made(words("one"))).await.unwrap();
            assert_eq!(made.maker, Some(words("one")));
            let other: VmPool = serde_json::from_str(&TEXT.replace("\"one\"", "\"other\"")).unwrap();
            let not_its = kept(&store, other.clone(), left("nobody")).await.unwrap_err();
            assert!(matches!(not_its, NotPut::Exists(_)), "{not_its}");
            let taken = kept(&store, other, left("one")).await.unwrap();
            assert_eq!((taken.maker, taken.pool.generation), (Some(words("two")), 2));
            assert_ne!(taken.pool.id, made.pool.id);
            let sealed = store.read(|read| pool::secrets_of(read, &"default".into(), &"k8s".into()));
            let secrets = spec::secrets(sealed.await.unwrap().as_deref()).unwrap();
            assert_eq!(secrets["cloud_init.user_data_wo"], "other");
            let old = kept(&store, config(), Meant::There(made.pool.id))
                .await
                .unwrap_err();
            assert!(matches!(old, NotPut::Replaced(_)), "{old}");
            let changed = kept(&store, config(), Meant::There(taken.pool.id)).await.unwrap();
            assert_eq!(changed.maker, None);
        })
        .await;
    }

    #[tokio::test]
    async fn a_secret_rolls_by_its_version_and_a_name_is_one_pools() {
        with_store(async |store| {
            let made = kept(&store, config(), Meant::New).await.unwrap().pool;
            let with = |secret: &str, version: u64| -> VmPool {
                let text = TEXT.replace("\"one\"", &format!("{secret:?}"));
                serde_json::from_str(&text.replace("_version\": 1", &format!("_version\": {version}")))
                    .unwrap()
            };
            let there = Meant::There(made.id.clone());
            let same = kept(&store, with("two", 1), there.clone()).await.unwrap().pool;
            assert_eq!(same.generation, 1);
            let secrets = |store: Store| async move {
                let sealed = store
                    .read(|read| pool::secrets_of(read, &"default".into(), &"k8s".into()))
                    .await;
                spec::secrets(sealed.unwrap().as_deref()).unwrap()["cloud_init.user_data_wo"].clone()
            };
            assert_eq!(secrets(store.clone()).await, "one");
            let rolled = kept(&store, with("two", 2), there).await.unwrap().pool;
            assert_eq!(
                (rolled.generation, secrets(store.clone()).await.as_str()),
                (2, "two")
            );
            let twice = kept(&store, config(), Meant::New).await.unwrap_err();
            assert!(matches!(twice, NotPut::Exists(_)), "{twice}");
            let other = kept(&store, config(), Meant::There("other".to_owned()))
                .await
                .unwrap_err();
            assert!(matches!(other, NotPut::Replaced(_)), "{other}");
        })
        .await;
    }
}
