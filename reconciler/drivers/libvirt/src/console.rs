//! The serial console of a machine. libvirt gives it to one caller at a time; who is thrown out sees his stream end, as
//! when the machine has ended: which of both it was is asked.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes as Chunk;
use labyard_driver::ids::ObjectId;
use labyard_driver::{Console, DriverError, Entry, Heard, Keyboard};
use libvirt_rpc::flags::ConsoleFlags;
use libvirt_rpc::{Connection, DomainId, DomainRef, Error, ErrorCode};
use tokio::time::Instant;

use crate::errors::{Act, During, is_missing};
use crate::host::{Host, StreamLine};
use crate::machines::{act, reference};

/// A machine whose console has ended with it is seen to have ended within this time.
const ENDS_WITHIN: Duration = Duration::from_secs(2);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Opens the console of a machine.
pub(crate) async fn console(
    host: &Host,
    id: &ObjectId,
    entry: Entry,
) -> Result<Box<dyn Console>, DriverError> {
    let act = act("opening the console of", id);
    let domain = reference(&act, id)?;
    // A guest may write faster than somebody reads: on a connection of its own that holds up nobody else.
    let line = host.connect_for_streams().await?;
    let connection = line.connection()?;
    let run = run_of(connection, &domain).await.during(&act)?;
    let console = open(connection, &act, &domain, entry).await?;
    Ok(Box::new(SerialConsole {
        console,
        act,
        domain,
        run,
        line,
    }))
}

/// A console has one reader at a time; the entry says who that is.
pub(crate) async fn open(
    connection: &Connection,
    act: &Act,
    domain: &DomainRef,
    entry: Entry,
) -> Result<libvirt_rpc::Console, DriverError> {
    let how = match entry {
        Entry::Waits => ConsoleFlags::SAFE,
        Entry::TakesOver => ConsoleFlags::FORCE,
    };
    match connection.domain_open_console(domain, None, how).await {
        Err(error) if entry == Entry::Waits && error.code() == Some(ErrorCode::OperationFailed) => {
            Err(act.busy("somebody else has it"))
        }
        opened => opened.during(act),
    }
}

/// Which run of the machine it is; libvirt numbers them. `None` where it does not run.
async fn run_of(connection: &Connection, domain: &DomainRef) -> Result<Option<DomainId>, Error> {
    match connection.domain_lookup_by_uuid(domain.uuid).await {
        Ok(found) => Ok(Some(found.id).filter(|id| id.0.is_some())),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

struct SerialConsole {
    console: libvirt_rpc::Console,
    act: Act,
    domain: DomainRef,
    run: Option<DomainId>,
    /// Let go after the console.
    line: StreamLine,
}

impl SerialConsole {
    /// Why nothing comes any more.
    async fn ending(&self) -> Result<Heard, DriverError> {
        let connection = self.line.connection()?;
        let deadline = Instant::now() + ENDS_WITHIN;
        loop {
            let run = run_of(connection, &self.domain).await.during(&self.act)?;
            if run.is_none() || run != self.run {
                return Ok(Heard::Ended);
            }
            if Instant::now() >= deadline {
                return Ok(Heard::TakenOver);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[async_trait]
impl Console for SerialConsole {
    async fn read(&mut self) -> Result<Heard, DriverError> {
        match self.console.read().await {
            Ok(Some(said)) => Ok(Heard::Said(said)),
            Ok(None) | Err(Error::Server { .. }) => self.ending().await,
            Err(error) => Err(self.act.failed(&error)),
        }
    }

    fn keyboard(&self) -> Arc<dyn Keyboard> {
        Arc::new(Keys {
            keyboard: self.console.keyboard(),
            act: self.act.clone(),
        })
    }
}

struct Keys {
    keyboard: libvirt_rpc::Keyboard,
    act: Act,
}

#[async_trait]
impl Keyboard for Keys {
    async fn press(&self, keys: Chunk) -> Result<(), DriverError> {
        self.keyboard.press(keys).await.during(&self.act)
    }
}
