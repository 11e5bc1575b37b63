//! What a machine is called, its mark, and whether it starts with the host.

use labyard_driver::DriverError;
use labyard_driver::ids::ObjectId;
use labyard_driver::mark::Mark;
use labyard_driver::observed::{Autostart, MarkState, Power};

use super::{guid, modify};
use crate::classes::Settings;
use crate::host::Host;
use crate::ids::{Guid, REALIZED};
use crate::notes;
use crate::rows::those;

/// `AutomaticStartupAction`: the machine is started.
const START: u16 = 4;
/// The same: nothing is done.
const NOTHING: u16 = 2;

impl Host {
    /// Writes the mark alone; the user's own notes stay.
    ///
    /// # Errors
    /// What the host says.
    pub async fn write_mark(&self, id: &ObjectId, mark: &Mark) -> Result<(), DriverError> {
        let guid = guid(id)?;
        let doing = format!("writing the mark of machine {id}");
        let own = notes::read(&self.notes(guid).await?).own;
        let text = notes::write(&own, mark);
        let settings = Settings {
            id: Some(guid.settings_id()),
            notes: Some(vec![text]),
            ..Settings::default()
        };
        modify(&self.client, &doing, &settings).await?;
        let seen = notes::read(&self.notes(guid).await?).mark;
        match seen {
            MarkState::Ours(seen) if *seen == *mark => Ok(()),
            _ => Err(DriverError::ReplyLost {
                doing,
                message: "the host says that it is done, and shows another one".to_owned(),
            }),
        }
    }

    /// The notes of a machine.
    pub(super) async fn notes(&self, guid: Guid) -> Result<String, DriverError> {
        let rows = those::<Settings>(&self.client, |select| {
            select
                .equal("InstanceID", &guid.settings_id())
                .equal("VirtualSystemType", REALIZED)
        });
        let row = rows.await?.into_iter().next();
        let row = row.ok_or_else(|| DriverError::Missing {
            what: format!("machine {guid}"),
        })?;
        Ok(row
            .notes
            .unwrap_or_default()
            .into_iter()
            .next()
            .unwrap_or_default())
    }

    /// Gives a machine that is off another name; it has it already: success.
    ///
    /// # Errors
    /// [`DriverError::Exists`] where another machine has the name; [`DriverError::Refused`] where it runs.
    pub async fn rename_machine(&self, id: &ObjectId, host_name: &str) -> Result<(), DriverError> {
        let guid = guid(id)?;
        let doing = format!("renaming machine {id} to {host_name}");
        let machine = self.machine(id).await?;
        if machine.host_name == host_name {
            return Ok(());
        }
        if machine.power != Power::Stopped {
            return Err(DriverError::Refused {
                doing,
                message: "it is not off".to_owned(),
            });
        }
        let named = those::<Settings>(&self.client, |select| {
            select
                .equal("ElementName", host_name)
                .equal("VirtualSystemType", REALIZED)
        });
        if !named.await?.is_empty() {
            return Err(DriverError::Exists {
                what: format!("a machine called {host_name}"),
            });
        }
        let settings = Settings {
            id: Some(guid.settings_id()),
            element_name: Some(host_name.to_owned()),
            ..Settings::default()
        };
        modify(&self.client, &doing, &settings).await?;
        match self.machine(id).await?.host_name == host_name {
            true => Ok(()),
            false => Err(DriverError::ReplyLost {
                doing,
                message: "the host says that it is done, and shows the old name".to_owned(),
            }),
        }
    }

    /// Lets a machine start with the host, or not.
    ///
    /// # Errors
    /// What the host says.
    pub async fn set_autostart(&self, id: &ObjectId, autostart: Autostart) -> Result<(), DriverError> {
        let guid = guid(id)?;
        let doing = format!("changing whether machine {id} starts with the host");
        if self.machine(id).await?.autostart == autostart {
            return Ok(());
        }
        let settings = Settings {
            id: Some(guid.settings_id()),
            startup_action: Some(match autostart {
                Autostart::On => START,
                Autostart::Off => NOTHING,
            }),
            ..Settings::default()
        };
        modify(&self.client, &doing, &settings).await?;
        match self.machine(id).await?.autostart == autostart {
            true => Ok(()),
            false => Err(DriverError::ReplyLost {
                doing,
                message: "the host says that it is done, and shows no change".to_owned(),
            }),
        }
    }
}
