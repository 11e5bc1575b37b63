//! Machines of pools, and networks of claims: found by what their marks say, and confirmed one by one, as soon as who keeps them has recorded
//! who they are.

use std::sync::Arc;

use labyard_driver::ids::{HostName, ObjectId};
use labyard_driver::mark::{Kind, Ownership};
use labyard_driver::{Console, Entry};
use tokio::time::Instant;

use super::claim::{mark_of, same_owner};
use super::claim_networks::standing;
use super::embedded::describe;
use super::{Embedded, Marked, Members, ObjectRef};
use crate::error::EngineError;
use crate::host::Host;
use crate::identity::Identity;
use crate::record::Record;

/// What pools and claims have on a host, after every change of this process.
pub(super) async fn on(host: &Host) -> Result<Members, EngineError> {
    host.observer.invalidate();
    let snapshot = host.fresh_in_passing().await?;
    let ours = snapshot
        .machines
        .iter()
        .filter_map(|machine| Some((machine, machine.mark.ours()?)));
    let members = ours.filter(|(_, mark)| mark.kind == Kind::Machine && mark.member.is_some());
    let machines = members.map(|(machine, mark)| Marked {
        identity: Identity {
            token: mark.token.clone(),
            origin: mark.origin.clone(),
            id: machine.id.clone(),
            host: Some(snapshot.host.uuid.clone()),
        },
        mark: mark.clone(),
        power: machine.power,
    });
    Ok(Members {
        machines: machines.collect(),
        networks: snapshot.networks.iter().filter_map(standing).collect(),
    })
}

impl Embedded {
    /// The work on an object is over, and this process goes on: nobody builds it from now on, so that whoever keeps it
    /// confirms it, or the next create takes it up.
    pub async fn let_go(&self, host: &HostName, id: &ObjectId) {
        let (Some(record), Ok(host)) = (self.keeper.record(id), self.host(host)) else {
            return;
        };
        self.keeper.drop_hold(id);
        if let Err(error) = record.update(|mark| mark.lease = None).await {
            // Its lease runs out.
            tracing::warn!(object = %id, %error, "the lease of what is done was not taken out");
        }
        host.observer.invalidate_networks();
        host.observer.invalidate();
    }

    /// From now on, tells of a host nothing that was seen before that moment. Those who ask at the same time share the
    /// next look.
    pub async fn look_anew(&self, host: &HostName, since: Instant) {
        if let Ok(host) = self.host(host) {
            host.observer.forget_begun_before(since).await;
        }
    }

    /// The serial console of a machine of a state, from now on. One has it at a time.
    ///
    /// # Errors
    /// Where the machine is not there or not this state's, does not run, or somebody else has its console and keeps it.
    pub async fn console(&self, object: &ObjectRef, entry: Entry) -> Result<Box<dyn Console>, EngineError> {
        let grip = self.grip_to_read(object).await?;
        let console = grip.host.driver.console(&grip.found.id, entry).await;
        console.map_err(grip.host.failed(grip.what.clone()))
    }

    pub(super) async fn machine_confirm(&self, object: &ObjectRef) -> Result<(), EngineError> {
        let host: &Arc<Host> = self.host(&object.host)?;
        let what = || describe(Kind::Machine, object.name.as_str());
        let Some(identity) = &object.identity else {
            return Err(EngineError::NotOurs {
                host: host.name.clone(),
                what: what(),
            });
        };
        let mark = mark_of(host, Kind::Machine, &identity.id)
            .await
            .map_err(host.failed(what()))?;
        same_owner(host, Kind::Machine, object, mark.as_ref())?;
        let Some(mark) = mark else {
            return Err(EngineError::NotOurs {
                host: host.name.clone(),
                what: what(),
            });
        };
        if mark.ownership == Ownership::Building {
            // Through the record that the keeper of leases writes, where this process built it: neither puts back
            // what the other has written.
            let record = self
                .keeper
                .record(&identity.id)
                .unwrap_or_else(|| Arc::new(Record::new(host.driver.clone(), identity.id.clone(), mark)));
            let confirmed = record.update(crate::keeper::confirmed).await;
            confirmed.map_err(host.failed(what()))?;
            host.observer.invalidate();
        }
        self.keeper.drop_hold(&identity.id);
        Ok(())
    }
}
