//! Switches: made with their mark in the very call that makes them, and taken away. A switch that nothing is connected to but its
//! machines, and one that the host is on as well; those with a card of the host are somebody else's so far.

use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::ids::ObjectId;
use labyard_driver::mark::Mark;
use labyard_driver::observed::{MarkState, ObservedNetwork};
use tokio::time::Instant;
use wsman::Raw;

use crate::call::{Service, call, instance};
use crate::classes::{Connection, Switch, SwitchSettings, V2};
use crate::host::Host;
use crate::ids::{Guid, Resource};
use crate::notes;
use crate::reading;
use crate::rows::{Rows, all, may_see, those};

/// `EnabledState` of a connection.
const CONNECTED: u16 = 2;

/// How long is looked for a switch whose making was not answered, and how often.
const LOST: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(250);

/// What a switch connects its machines to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Each other alone.
    Machines,
    /// The host as well.
    Host,
}

impl Host {
    /// All switches, read now.
    ///
    /// # Errors
    /// If the host refuses or does not answer.
    pub async fn networks(&self) -> Result<Vec<ObservedNetwork>, DriverError> {
        let client = &self.client;
        let ((), switches, switch_settings, connections) =
            tokio::try_join!(may_see(client), all(client), all(client), all(client))?;
        let rows = Rows {
            switches,
            switch_settings,
            connections,
            ..Rows::default()
        };
        Ok(reading::networks(&rows))
    }

    /// One switch, read now.
    ///
    /// # Errors
    /// [`DriverError::Missing`] where it is certain that there is none.
    pub async fn network(&self, id: &ObjectId) -> Result<ObservedNetwork, DriverError> {
        let found = self
            .networks()
            .await?
            .into_iter()
            .find(|network| network.id == *id);
        found.ok_or_else(|| DriverError::Missing {
            what: format!("network {id}"),
        })
    }

    /// Makes a switch: the host chooses its id.
    ///
    /// # Errors
    /// [`DriverError::Exists`] where the name is taken.
    pub async fn create_switch(
        &self,
        name: &str,
        mark: &Mark,
        reach: Reach,
    ) -> Result<ObservedNetwork, DriverError> {
        let doing = format!("creating network {name}");
        let taken = || DriverError::Exists {
            what: format!("a switch called {name}"),
        };
        if !self.called(name).await?.is_empty() {
            return Err(taken());
        }
        let settings = SwitchSettings {
            element_name: Some(name.to_owned()),
            notes: Some(vec![notes::write("", mark)]),
            ..SwitchSettings::default()
        };
        let mut method = Service::Switches
            .method("DefineSystem")
            .text("SystemSettings", instance(&doing, &settings)?);
        if reach == Reach::Host {
            method = method.text("ResourceSettings", instance(&doing, &self.to_host().await?)?);
        }
        let made = match call(&self.client, &doing, &method).await {
            Ok(answer) => match answer.get("ResultingSystem") {
                Raw::Reference(to) => to.selector("Name").and_then(|guid| guid.parse::<Guid>().ok()),
                _ => None,
            },
            // What became of it, its token tells.
            Err(DriverError::ReplyLost { .. }) => None,
            Err(error) => return Err(error),
        };
        let is_own = |network: &ObservedNetwork| match made {
            Some(guid) => network.id == guid.into(),
            None => network.mark.ours().is_some_and(|there| there.token == mark.token),
        };
        let until = Instant::now() + LOST;
        let (own, there) = loop {
            let there = self.networks().await?;
            if let Some(own) = there.iter().find(|network| is_own(network)) {
                break (own.clone(), there);
            }
            if Instant::now() >= until {
                return Err(DriverError::ReplyLost {
                    doing,
                    message: "the host does not show it".to_owned(),
                });
            }
            // A host that goes on with it shows it when it is done.
            tokio::time::sleep(LOOK).await;
        };
        // Nothing tells which of two switches was made first: of racing callers, who sees another steps back.
        let twins = there.iter().filter(|network| network.host_name == name).count();
        if twins > 1 {
            self.remove_network(&own.id).await?;
            return Err(taken());
        }
        Ok(own)
    }

    async fn called(&self, name: &str) -> Result<Vec<Switch>, DriverError> {
        let named = those::<Switch>(&self.client, |select| select.equal("ElementName", name));
        let ((), switches) = tokio::try_join!(may_see(&self.client), named)?;
        Ok(switches)
    }

    /// What connects a switch to the host.
    async fn to_host(&self) -> Result<Connection, DriverError> {
        let class = "Msvm_ComputerSystem";
        let name = &self.facts().await?.name;
        let host = wsman::Reference::new(V2, class, &[("CreationClassName", class), ("Name", name)]);
        Ok(Connection {
            resource_type: Some(Resource::Connection.number()),
            subtype: Some(Resource::Connection.subtype().to_owned()),
            to: host.path().map(|path| vec![path]),
            enabled: Some(CONNECTED),
            ..Connection::default()
        })
    }

    /// Writes a switch's mark alone; the user's own notes stay.
    ///
    /// # Errors
    /// What the host says.
    pub async fn write_network_mark(&self, id: &ObjectId, mark: &Mark) -> Result<(), DriverError> {
        let missing = || DriverError::Missing {
            what: format!("network {id}"),
        };
        let guid: Guid = id.as_str().parse().map_err(|_| missing())?;
        let doing = format!("writing the mark of network {id}");
        let rows = those::<SwitchSettings>(&self.client, |select| {
            select.equal("InstanceID", &guid.settings_id())
        });
        let there = rows.await?.into_iter().next().ok_or_else(missing)?;
        let text = there
            .notes
            .unwrap_or_default()
            .into_iter()
            .next()
            .unwrap_or_default();
        let settings = SwitchSettings {
            id: Some(guid.settings_id()),
            notes: Some(vec![notes::write(&notes::read(&text).own, mark)]),
            ..SwitchSettings::default()
        };
        let method = Service::Switches.method("ModifySystemSettings");
        let method = method.text("SystemSettings", instance(&doing, &settings)?);
        call(&self.client, &doing, &method).await?;
        match self.network(id).await?.mark {
            MarkState::Ours(seen) if *seen == *mark => Ok(()),
            _ => Err(DriverError::ReplyLost {
                doing,
                message: "the host says that it is done, and shows another one".to_owned(),
            }),
        }
    }

    /// Removes a switch; gone already is success. Whether machines use it is the caller's to ask: they are left connected to
    /// nothing.
    ///
    /// # Errors
    /// What the host says.
    pub async fn remove_network(&self, id: &ObjectId) -> Result<(), DriverError> {
        let Ok(guid) = id.as_str().parse::<Guid>() else {
            return Ok(());
        };
        match self.network(id).await {
            Err(DriverError::Missing { .. }) => return Ok(()),
            found => found.map(drop)?,
        }
        let doing = format!("removing network {id}");
        let method = Service::Switches.method("DestroySystem");
        let method = method.reference("AffectedSystem", guid.switch());
        let called = call(&self.client, &doing, &method).await;
        match (called, self.network(id).await) {
            (_, Err(DriverError::Missing { .. })) => Ok(()),
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            (Ok(_), Ok(_)) => Err(DriverError::ReplyLost {
                doing,
                message: "the host says that it is done, and shows it".to_owned(),
            }),
        }
    }
}
