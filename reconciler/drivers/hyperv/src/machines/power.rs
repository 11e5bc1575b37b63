//! Power: a machine is asked for a state and then watched until it has it.

use std::time::Duration;

use labyard_driver::ids::ObjectId;
use labyard_driver::{DriverError, HostEvent};
use tokio::time::Instant;
use wsman::{CimClass, Client, Invoke, Reference};

use super::guid;
use crate::call::{ask, call};
use crate::classes::{Machine, V2};
use crate::errors::failed;
use crate::host::Host;
use crate::ids::Guid;
use crate::state::{State, Wanted};

/// How long a machine may be on its way to another state.
const WAY: Duration = Duration::from_secs(120);
/// How long a machine is watched that may not have been asked at all.
const LOST: Duration = Duration::from_secs(10);
/// How often it is looked at, at first and at most.
const FIRST: Duration = Duration::from_millis(50);
const MOST: Duration = Duration::from_secs(2);

impl Host {
    /// Starts a machine; one that runs is left alone, a paused or saved one goes on.
    ///
    /// # Errors
    /// What the host says: a file that is gone, no room.
    pub async fn start_machine(&self, id: &ObjectId) -> Result<(), DriverError> {
        match self.bring(id, Wanted::Running, &[State::Running]).await {
            // A file that it starts from is none that the caller asked for.
            Err(DriverError::Missing { what }) if self.runs(id).await.is_ok() => Err(DriverError::Refused {
                doing: format!("starting machine {id}"),
                message: format!("{what} does not exist"),
            }),
            other => other,
        }
    }

    /// Stops a running machine's processors where they are; one that is paused or off is left alone.
    ///
    /// # Errors
    /// What the host says.
    pub async fn suspend_machine(&self, id: &ObjectId) -> Result<(), DriverError> {
        self.bring(id, Wanted::Paused, &[State::Paused, State::Off, State::Saved])
            .await
    }

    /// Takes the power away; one that is off is left alone. Saved memory is dropped.
    ///
    /// # Errors
    /// What the host says.
    pub async fn power_off(&self, id: &ObjectId) -> Result<(), DriverError> {
        self.bring(id, Wanted::Off, &[State::Off]).await
    }

    /// Asks the guest to shut down and returns at once; one that is off is left alone.
    ///
    /// # Errors
    /// [`DriverError::Busy`] where no service of the guest listens.
    pub async fn request_shutdown(&self, id: &ObjectId) -> Result<(), DriverError> {
        let guid = guid(id)?;
        if matches!(state(&self.client, guid).await?, State::Off | State::Saved) {
            return Ok(());
        }
        let doing = format!("asking the guest of machine {id} to shut down");
        let query = wsman::wql::Select::of("Msvm_ShutdownComponent").equal("SystemName", &guid.to_string());
        let rows = self.client.query(V2, &query.to_string()).await;
        let rows = rows.map_err(|error| failed(doing.clone(), error))?;
        let busy = |message: String| {
            Err(DriverError::Busy {
                doing: doing.clone(),
                message,
            })
        };
        let Some(component) = rows.first() else {
            return busy("its guest has no service that listens (yet)".to_owned());
        };
        let keys = [
            "CreationClassName",
            "DeviceID",
            "SystemCreationClassName",
            "SystemName",
        ];
        let values: Vec<_> = keys
            .iter()
            .filter_map(|key| match component.get(key) {
                wsman::Raw::Text(value) => Some((*key, value.as_str())),
                _ => None,
            })
            .collect();
        let component = Reference::new(V2, "Msvm_ShutdownComponent", &values);
        let method = Invoke::of(component, "InitiateShutdown")
            // Whoever is logged on does not hold it up.
            .text("Force", "true")
            .text("Reason", "labyard");
        match ask(&self.client, &doing, &method).await?.0 {
            // Under way, or asked for already.
            0 | 4096 | 32782 => Ok(()),
            32780 => busy("its guest's service is not ready".to_owned()),
            32781 => busy("its guest is locked".to_owned()),
            other => busy(format!("the host says code {other}")),
        }
    }

    /// Whether a machine runs, paused or not.
    pub(crate) async fn runs(&self, id: &ObjectId) -> Result<bool, DriverError> {
        let state = state(&self.client, guid(id)?).await?;
        Ok(matches!(state, State::Running | State::Paused | State::Changing))
    }

    /// Asks for a state unless the machine has one of those that will do, and waits until it is seen in the one asked for.
    async fn bring(&self, id: &ObjectId, wanted: Wanted, enough: &[State]) -> Result<(), DriverError> {
        let guid = guid(id)?;
        let doing = format!("bringing machine {id} to {wanted:?}");
        let until = Instant::now() + WAY;
        if enough.contains(&settled(&self.client, guid, until).await?) {
            return Ok(());
        }
        let method = Invoke::of(guid.machine(), "RequestStateChange");
        let method = method.text("RequestedState", wanted.number().to_string());
        let asked = self.ask_for(guid, &doing, &method, enough, until).await;
        // Whoever waits for the machine looks again; that nobody does is no matter.
        let _ = self.events().send(HostEvent::Machine(id.clone()));
        asked
    }

    async fn ask_for(
        &self,
        guid: Guid,
        doing: &str,
        method: &Invoke,
        enough: &[State],
        until: Instant,
    ) -> Result<(), DriverError> {
        match call(&self.client, doing, method).await {
            Ok(_) => match reached(&self.client, guid, enough, until).await? {
                Reached::Yes => Ok(()),
                Reached::No(seen) => Err(DriverError::ReplyLost {
                    doing: doing.to_owned(),
                    message: format!("the host says that it is done, and shows it {seen:?}"),
                }),
            },
            Err(error) => {
                // Of a lost answer the state tells, once a host that heard the question has had the time for it.
                let wait = match error {
                    DriverError::ReplyLost { .. } => LOST,
                    _ => Duration::ZERO,
                };
                match reached(&self.client, guid, enough, Instant::now() + wait).await? {
                    Reached::Yes => Ok(()),
                    Reached::No(_) => Err(error),
                }
            }
        }
    }
}

/// Whether a machine has come where it shall be.
enum Reached {
    Yes,
    /// It is seen so instead.
    No(State),
}

/// Looks at a machine until it is in one of these states or the time is over.
async fn reached(
    client: &Client,
    guid: Guid,
    enough: &[State],
    until: Instant,
) -> Result<Reached, DriverError> {
    let mut pause = FIRST;
    loop {
        let seen = state(client, guid).await?;
        if enough.contains(&seen) {
            return Ok(Reached::Yes);
        }
        if Instant::now() >= until {
            return Ok(Reached::No(seen));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MOST);
    }
}

/// The state of a machine, in one request.
async fn state(client: &Client, guid: Guid) -> Result<State, DriverError> {
    let name = guid.to_string();
    let rows = client
        .those::<Machine>(|select| select.equal("Name", &name))
        .await;
    let rows = rows.map_err(|error| failed(format!("reading {}", Machine::TABLE.name), error))?;
    let machine = rows.into_iter().next().ok_or_else(|| DriverError::Missing {
        what: format!("machine {guid}"),
    })?;
    Ok(State::of(machine.enabled_state.unwrap_or_default()))
}

/// The state of a machine once it is on its way no more, or when the time is over.
async fn settled(client: &Client, guid: Guid, until: Instant) -> Result<State, DriverError> {
    let mut pause = FIRST;
    loop {
        let state = state(client, guid).await?;
        if state != State::Changing || Instant::now() >= until {
            return Ok(state);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MOST);
    }
}
