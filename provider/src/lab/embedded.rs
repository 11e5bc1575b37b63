//! Pools and codes in a store that this process opens, when something of it is first needed. Whoever waits for a pool
//! works on it meanwhile: nobody else may.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::Arc;

use async_trait::async_trait;
use labyard_foreman::written::{self, Found, NotPut};
use labyard_foreman::{Foreman, Setting, Standing, Unsettled};
use labyard_labs::code::config::{self, Meant};
use labyard_labs::code::keep::{self, Kept};
use labyard_labs::ids::{CodeName, Namespace, PoolName};
use labyard_labs::maker::{self, Maker, Stands, Thing};
use labyard_labs::member::{self, Member};
use labyard_labs::pool::{self, claims_of};
use labyard_labs::{Refusal, show};
use labyard_reconciler::engine::Engine;
use labyard_schema::access_code::AccessCode;
use labyard_schema::provider::{ProviderConfig, STORE_VARIABLE};
use labyard_schema::vm_pool::VmPool;
use labyard_store::key::{Said, chosen};
use labyard_store::{Location, Store, StoreError};
use tfplugin::Diagnostics;
use tfplugin::value::Path;
use tokio::sync::OnceCell;

use super::{Keeper, Lab, LabError, Machine, PoolView, Settling, Wish, Work};
use crate::errors::{capitalised, chain};
use crate::{ACTOR, now};

/// The store that a provider block names.
pub struct Named {
    location: Location,
    key: Said,
}

/// What the provider block and the environment say. Nothing is opened.
pub fn named(config: &ProviderConfig, diags: &mut Diagnostics) -> Option<Named> {
    let environment = |name: &str| std::env::var(name).ok();
    let written = config.store.clone();
    let said = written.or_else(|| environment(STORE_VARIABLE).filter(|text| !text.is_empty()))?;
    match said.parse::<Location>() {
        Ok(location) => Some(Named {
            location,
            key: Said::by(config.store_key_file.as_deref(), environment),
        }),
        Err(error) => {
            diags.error(
                Some(Path::attribute("store")),
                "Invalid store",
                capitalised(error.to_string()),
            );
            None
        }
    }
}

/// Pools and codes in a store.
pub struct Embedded {
    named: Named,
    opened: OnceCell<Store>,
    engine: Arc<dyn Engine>,
    namespace: Namespace,
}

impl Embedded {
    /// In that store, on these hosts.
    pub fn new(named: Named, engine: Arc<dyn Engine>, namespace: Namespace) -> Self {
        Self {
            named,
            opened: OnceCell::new(),
            engine,
            namespace,
        }
    }

    async fn store(&self) -> Result<&Store, LabError> {
        let Named { location, key } = &self.named;
        let opening = async { Store::open(location, chosen(location, key)?).await };
        let opened: Result<_, StoreError> = self.opened.get_or_try_init(|| opening).await;
        opened.map_err(LabError::Unusable)
    }
}

fn has_content(path: &FilePath) -> bool {
    // What cannot be looked at is opened, and the error is that of the opening.
    std::fs::metadata(path).map_or_else(
        |error| error.kind() != std::io::ErrorKind::NotFound,
        |found| found.len() > 0,
    )
}

impl From<NotPut> for LabError {
    fn from(error: NotPut) -> Self {
        match error {
            NotPut::Exists(name) => Self::PoolExists(name),
            NotPut::Replaced(name) => Self::PoolReplaced(name),
            NotPut::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

#[async_trait]
impl Lab for Embedded {
    fn place(&self) -> String {
        self.named.location.to_string()
    }

    fn keeper(&self) -> Keeper {
        Keeper::Nobody
    }

    async fn home(&self, wish: Wish) -> Result<Option<String>, LabError> {
        if let Location::File(path) = &self.named.location
            && wish == Wish::Look
            && self.opened.get().is_none()
            && !has_content(path)
        {
            return Ok(None);
        }
        Ok(Some(self.store().await?.id().to_owned()))
    }

    async fn pool(&self, name: &PoolName) -> Result<Found, LabError> {
        let (namespace, name) = (self.namespace.clone(), name.clone());
        let found = self.store().await?;
        let found = found.read(move |read| written::find(read, &namespace, &name));
        Ok(found.await?)
    }

    async fn pool_view(&self, name: &PoolName) -> Result<PoolView, LabError> {
        let (namespace, name) = (self.namespace.clone(), name.clone());
        let view = self.store().await?.read(move |read| {
            let claims = claims_of(read, &namespace, &name)?;
            let queued = claims.iter().filter(|claim| claim.lease.is_none());
            let wanted = queued.filter_map(|claim| claim.wants.pools.get(&name));
            Ok::<_, Refusal>(PoolView {
                counts: show::pool(read, &namespace, &name)?.counts,
                found: written::find(read, &namespace, &name)?,
                waiting: wanted.map(|count| u64::from(*count)).sum(),
                machines: member::of_pool(read, &namespace, &name)?
                    .into_iter()
                    .map(machine)
                    .collect(),
            })
        });
        Ok(view.await?)
    }

    async fn put_pool(&self, asked: &VmPool, meant: Meant) -> Result<(Found, Work), LabError> {
        let (namespace, asked) = (self.namespace.clone(), asked.clone());
        let put = self
            .store()
            .await?
            .write(move |write| written::put(write, &namespace, &asked, &meant, now(), ACTOR));
        Ok((put.await?, Work::Own))
    }

    async fn remove_pool(&self, name: &PoolName, id: &str) -> Result<Work, LabError> {
        let (namespace, name, id) = (self.namespace.clone(), name.clone(), id.to_owned());
        let removed = self.store().await?.write(move |write| {
            let found = pool::find(write, &namespace, &name)?;
            if found.id != id {
                return Err(NotPut::Replaced(name.clone()));
            }
            Ok(pool::remove(write, &namespace, &name, now(), ACTOR)?)
        });
        removed.await?;
        Ok(Work::Own)
    }

    async fn settle(&self, name: &PoolName, _: &Work, bounds: Settling<'_>) -> Result<(), LabError> {
        let store = self.store().await?.clone();
        let foreman = Foreman::new(store, self.engine.clone(), Setting::default());
        let progress = |standing: &Standing| tracing::info!(pool = %name, %standing, "how it stands");
        let settled = foreman.settle(&self.namespace, name, bounds.limit, &progress);
        tokio::pin!(settled);
        let settled = tokio::select! {
            settled = &mut settled => settled,
            () = bounds.cancel.cancelled() => {
                foreman.end();
                settled.await
            }
        };
        match settled {
            Ok(_) => Ok(()),
            Err(Unsettled::Refused(refusal)) => Err(refusal.into()),
            Err(unsettled) => Err(LabError::Unsettled(chain(&unsettled))),
        }
    }

    async fn code(&self, name: &CodeName, _: &BTreeMap<String, String>) -> Result<Kept, LabError> {
        let (namespace, name) = (self.namespace.clone(), name.clone());
        let found = self.store().await?;
        let found = found.read(move |read| keep::find(read, &namespace, &name));
        Ok(found.await?)
    }

    async fn code_uses(&self, name: &CodeName) -> Result<Kept, LabError> {
        self.code(name, &BTreeMap::new()).await
    }

    async fn put_code(&self, asked: &AccessCode, meant: Meant) -> Result<Kept, LabError> {
        let (namespace, asked) = (self.namespace.clone(), asked.clone());
        let put = self
            .store()
            .await?
            .write(move |write| config::put(write, &namespace, &asked, &meant, now(), ACTOR));
        Ok(put.await?)
    }

    async fn remove_code(&self, name: &CodeName, id: &str) -> Result<(), LabError> {
        let (namespace, name, id) = (self.namespace.clone(), name.clone(), id.to_owned());
        let removed = self
            .store()
            .await?
            .write(move |write| config::remove(write, &namespace, &name, &id, now(), ACTOR));
        match removed.await {
            Ok(()) | Err(Refusal::NoCode { .. }) => Ok(()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    async fn making(&self, thing: &Thing, id: &str, maker: Option<&Maker>) -> Result<Stands, LabError> {
        let (namespace, thing, id) = (self.namespace.clone(), thing.clone(), id.to_owned());
        let maker = maker.cloned();
        let said = self.store().await?.write(move |write| {
            let (of, at) = ((&thing, id.as_str()), (now(), ACTOR));
            match &maker {
                Some(maker) => maker::keep(write, &namespace, of, maker, at),
                None => maker::recorded(write, &namespace, of, at),
            }
        });
        Ok(said.await?)
    }
}

fn machine(member: Member) -> Machine {
    Machine {
        name: member.name,
        host: member.host,
        state: member.state,
        generation: member.generation,
    }
}

#[cfg(test)]
mod tests {
    use labyard_schema::provider::VARIABLES;

    #[test]
    fn the_variables_of_the_stores_key_are_documented() {
        for name in [labyard_store::key::VARIABLE, labyard_store::key::FILE_VARIABLE] {
            assert!(
                VARIABLES.iter().any(|(documented, _)| *documented == name),
                "{name}"
            );
        }
    }
}
