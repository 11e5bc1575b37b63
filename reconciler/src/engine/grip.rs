//! A machine of a state that stands, taken hold of for a verb that changes nothing of what is desired of it: found, its
//! owner asked for, its record at hand.

use std::sync::Arc;

use labyard_driver::DriverError;
use labyard_driver::guest::{GuestAnswer, GuestTask};
use labyard_driver::mark::{Kind, Mark, Ownership};
use labyard_driver::observed::{MarkState, ObservedMachine, Power};

use super::claim::{built_by, same_owner};
use super::embedded::describe;
use super::{Bounds, Embedded, Fence, ObjectRef};
use crate::error::EngineError;
use crate::host::Host;
use crate::keeper::Told;
use crate::lease::{self, Holder};
use crate::record::Record;

/// A machine that is held.
pub(super) struct Grip<'a> {
    pub(super) host: &'a Arc<Host>,
    /// The machine as a person would name it.
    pub(super) what: String,
    pub(super) record: Arc<Record>,
    pub(super) found: ObservedMachine,
    object: ObjectRef,
    fence: Option<Arc<dyn Fence>>,
}

impl Embedded {
    /// Takes hold of a machine that is only looked at.
    pub(super) async fn grip_to_read(&self, object: &ObjectRef) -> Result<Grip<'_>, EngineError> {
        let host = self.host(&object.host)?;
        let what = describe(Kind::Machine, object.name.as_str());
        let Some(found) = self.locate(host, object).await? else {
            return Err(EngineError::NotFound {
                host: host.name.clone(),
                what,
                found: "it is gone".to_owned(),
            });
        };
        same_owner(host, Kind::Machine, object, found.mark.ours())?;
        let mark = ours(host, &what, &found.mark)?.clone();
        let record = Arc::new(Record::new(host.driver.clone(), found.id.clone(), mark));
        Ok(Grip {
            host,
            what,
            record,
            found,
            object: object.clone(),
            fence: None,
        })
    }

    /// Takes hold of a machine that is going to be changed.
    pub(super) async fn grip(&self, object: &ObjectRef, bounds: &Bounds) -> Result<Grip<'_>, EngineError> {
        let grip = Grip {
            fence: bounds.fence.clone(),
            ..self.grip_to_read(object).await?
        };
        match grip.record.mark().await.ownership {
            Ownership::Building => self.take_lease(&grip).await?,
            // What is remembered of the time before would be written over it.
            Ownership::Confirmed => self.keeper.drop_hold(&grip.found.id),
        }
        Ok(grip)
    }

    /// Of a machine whose create nobody has confirmed yet this run is the builder, unless another builds it. Whose
    /// the work on a pool's machine is its fence says.
    async fn take_lease(&self, grip: &Grip<'_>) -> Result<(), EngineError> {
        let fenced = grip.fence.is_some() && grip.record.mark().await.member.is_some();
        if !fenced {
            let now = grip.catch_up().await?;
            if now.ownership == Ownership::Confirmed {
                self.keeper.drop_hold(&grip.found.id);
                return Ok(());
            }
            let (engine, processes) = (&self.deps.engine, self.deps.processes.as_ref());
            let holder = lease::holder(now.lease.as_ref(), engine, processes, self.deps.clock.now());
            if holder == Holder::Alive {
                return Err(built_by(grip.host, grip.what.clone(), now.lease.as_ref()));
            }
        }
        let told = self.keeper.told(&grip.found.id);
        let lease = lease::grant(
            &self.deps.engine,
            self.deps.processes.as_ref(),
            self.deps.clock.now(),
        );
        grip.write(|mark| mark.lease = Some(lease)).await?;
        let renewals = grip.host.renewals.clone();
        self.keeper.hold(grip.record.clone(), renewals, &self.deps);
        // Who takes hold of what a dead builder left does not make it a state's.
        if told == Some(Told::Answered) {
            self.keeper.answered(&grip.found.id);
        }
        Ok(())
    }
}

impl Grip<'_> {
    /// An error of the driver, told of this machine.
    pub(super) fn failed(&self) -> impl FnOnce(DriverError) -> EngineError + use<> {
        self.host.failed(self.what.clone())
    }

    /// That its guest could not be brought to something.
    pub(super) fn guest(&self, why: impl Into<String>) -> EngineError {
        EngineError::Guest {
            host: self.host.name.clone(),
            what: self.what.clone(),
            why: why.into(),
        }
    }

    /// Asked right before each change: whether this is still the one who may make it.
    pub(super) async fn may_mutate(&self) -> Result<(), EngineError> {
        match &self.fence {
            Some(fence) if !fence.holds().await => Err(EngineError::LeaseLost {
                host: self.host.name.clone(),
                what: self.what.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// What others have written into its mark since it was read; an error where it is no longer the object's.
    async fn catch_up(&self) -> Result<Mark, EngineError> {
        let now = self.host.driver.machine(&self.found.id).await;
        let now = now.map_err(self.failed())?.mark;
        let now = ours(self.host, &self.what, &now)?;
        same_owner(self.host, Kind::Machine, &self.object, Some(now))?;
        self.record.take_up(now.clone()).await;
        Ok(now.clone())
    }

    /// Changes its mark on the host. Nobody's lease keeps others from a machine that is confirmed: what they wrote stays.
    pub(super) async fn write(&self, change: impl FnOnce(&mut Mark)) -> Result<Mark, EngineError> {
        self.may_mutate().await?;
        if self.record.mark().await.ownership == Ownership::Confirmed {
            self.catch_up().await?;
        }
        let written = self.record.update(change).await.map_err(self.failed())?;
        self.host.observer.invalidate();
        Ok(written)
    }

    /// What it does, read now.
    pub(super) async fn look(&mut self) -> Result<Power, EngineError> {
        self.found = self
            .host
            .driver
            .machine(&self.found.id)
            .await
            .map_err(self.failed())?;
        Ok(self.found.power)
    }

    /// Asks its guest for something.
    pub(super) async fn ask(&self, task: &GuestTask) -> Result<GuestAnswer, EngineError> {
        if !matches!(
            task,
            GuestTask::Time | GuestTask::ReadFile(_) | GuestTask::Keys { .. }
        ) {
            self.may_mutate().await?;
        }
        let asked = self.host.driver.ask_guest(&self.found.id, task).await;
        asked.map_err(self.failed())
    }

    /// A file of its guest; `None` where it is certain that there is none.
    pub(super) async fn file(&self, path: &str) -> Result<Option<Vec<u8>>, EngineError> {
        match self.ask(&GuestTask::ReadFile(path.to_owned())).await? {
            GuestAnswer::File(file) => Ok(file),
            other => Err(self.guest(format!("its agent, asked for {path}, answered {other:?}"))),
        }
    }

    /// Writes a file of its guest and reads it back.
    pub(super) async fn put_file(&self, path: &str, content: &[u8]) -> Result<(), EngineError> {
        let task = GuestTask::WriteFile {
            path: path.to_owned(),
            content: content.to_vec(),
        };
        self.ask(&task).await?;
        match self.file(path).await? {
            Some(there) if there == content => Ok(()),
            _ => Err(self.guest(format!(
                "{path} of its guest does not show what was written to it"
            ))),
        }
    }
}

/// The mark, where it is one that can be worked with.
fn ours<'m>(host: &Host, what: &str, mark: &'m MarkState) -> Result<&'m Mark, EngineError> {
    let (host, what) = (host.name.clone(), what.to_owned());
    match mark {
        MarkState::Ours(mark) => Ok(mark),
        MarkState::None => Err(EngineError::NotOurs { host, what }),
        MarkState::Unreadable(why) => {
            let why = why.clone();
            Err(EngineError::Unknown { host, what, why })
        }
    }
}
