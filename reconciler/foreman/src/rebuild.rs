//! A store that was lost, from what the marks on hosts say: machines of pools that are declared again are their pools'
//! again, and are recycled, since whether somebody has them cannot be told; those of pools that nobody declares are
//! listed, and taken away when that is said.
//!
//! It is asked for, never done by itself: what another store's foremen keep on the same hosts looks the same.

use crate::{Foreman, template::Made};
use labyard_driver::{
    ids::{HostName, ObjectName},
    mark::MemberMark,
};
use labyard_labs::{
    Refusal,
    ids::Namespace,
    pool::found::{Found, Taken, take_back},
};
use labyard_reconciler::{
    EngineError,
    engine::{Bounds, Marked, ObjectRef, Reserve},
};
use std::time::Duration;

const DELETE: Duration = Duration::from_secs(10 * 60);

/// A machine that no pool takes back.
#[derive(Clone, Debug, PartialEq)]
pub struct Stray {
    /// Its host.
    pub host: HostName,
    /// The machine.
    pub machine: Marked,
    /// Why no pool takes it back.
    pub why: Why,
}

/// Why no pool takes a machine back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nobody declares its pool.
    NoPool,
    /// Its pool has another machine of that name or number, or knows it on another host.
    Doubled,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rebuilt {
    /// Names of machines that are their pools' again.
    pub taken_back: Vec<String>,
    /// Names of machines that the store knew.
    pub known: Vec<String>,
    /// Machines that no pool takes back.
    pub strays: Vec<Stray>,
    /// Hosts that could not be looked at, and why: what is there is not known.
    pub silent: Vec<(HostName, String)>,
}

impl Foreman {
    /// Looks for machines of this namespace's pools on all hosts, and takes them back into their pools. Doing it again
    /// changes nothing.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn rebuild(&self, namespace: &Namespace, actor: &str) -> Result<Rebuilt, Refusal> {
        let mut rebuilt = Rebuilt::default();
        for host in self.inner.engine.hosts() {
            let machines = match self.inner.engine.members(&host).await {
                Ok(members) => members.machines,
                Err(error) => {
                    rebuilt.silent.push((host, error.to_string()));
                    continue;
                }
            };
            for machine in machines {
                let Some(member) = machine.mark.member.clone() else {
                    continue;
                };
                if machine.mark.namespace.as_str() != namespace.as_str() {
                    continue;
                }
                let name = machine.mark.name.to_string();
                let why = match self.take_back(&host, &machine, &member, actor).await? {
                    Taken::Recycled => {
                        rebuilt.taken_back.push(name);
                        continue;
                    }
                    Taken::Known => {
                        rebuilt.known.push(name);
                        continue;
                    }
                    Taken::NoPool => Why::NoPool,
                    Taken::Doubled => Why::Doubled,
                };
                let host = host.clone();
                rebuilt.strays.push(Stray { host, machine, why });
            }
        }
        Ok(rebuilt)
    }

    async fn take_back(
        &self,
        host: &HostName,
        machine: &Marked,
        member: &MemberMark,
        actor: &str,
    ) -> Result<Taken, Refusal> {
        let found = Found {
            id: member.id.as_str().into(),
            namespace: machine.mark.namespace.as_str().into(),
            pool: member.pool.as_str().into(),
            number: member.number,
            name: machine.mark.name.to_string(),
            host: host.to_string(),
            identity: serde_json::to_value(&machine.identity).unwrap_or_default(),
        };
        let (now, actor) = (self.inner.now(), actor.to_owned());
        self.inner
            .store
            .write(move |write| take_back(write, &found, now, &actor))
            .await
    }

    /// Takes a machine away that no pool takes back.
    ///
    /// # Errors
    /// If its host does not do it; it can be done again.
    pub async fn remove_stray(&self, stray: &Stray) -> Result<(), EngineError> {
        let engine = &self.inner.engine;
        let mark = &stray.machine.mark;
        let name = ObjectName(mark.name.to_string());
        let made = Made::stray(mark);
        let facts = engine.facts(&stray.host).await?;
        let taken = engine.taken(&stray.host, &mark.namespace, &name).await?;
        let known = made.desired((&facts, &taken))?;
        let object = ObjectRef {
            host: stray.host.clone(),
            namespace: mark.namespace.clone(),
            name,
            id: Some(stray.machine.identity.id.clone()),
            identity: Some(stray.machine.identity.clone()),
            pools: mark.disks.values().map(|disk| disk.pool.clone()).collect(),
        };
        let bounds = Bounds {
            cancel: self.inner.ended.clone(),
            limit: DELETE,
            reserve: Reserve::Named,
            fence: None,
        };
        engine.destroy_machine(&object, &known, bounds).await
    }
}
