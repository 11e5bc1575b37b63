//! The moment that a machine can be put back to: kept once, gone back to any number of times.
//!
//! Keeping goes `Saving` (recorded; the definition stands on overlays that are not there yet, so that whatever starts
//! the machine now writes to nothing that is kept) → the memory is saved, which stops the machine → `Saved` (the
//! overlays are its disks) → back, as in every reset → `Whole`. Each call looks what is there and goes on from it.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use labyard_driver::driver::AgentState;
use labyard_driver::guest::GuestTask;
use labyard_driver::ids::Bytes;
use labyard_driver::mark::Mark;
use labyard_driver::moment::{
    Footing, MomentDisk, MomentDiskMark, MomentMark, MomentSpec, MomentStage, Resume, SavedMemory,
};
use labyard_driver::observed::{Power, Snapshot};
use labyard_driver::spec::{DiskFormat, VolumeContent, VolumeSpec};
use labyard_driver::{DriverError, HostEvent};
use tokio::time::{sleep, timeout};

use super::grip::Grip;
use super::guests::traces;
use super::screens;
use super::{Bounds, Embedded, ObjectRef};
use crate::error::EngineError;
use crate::faults;
use crate::identity;
use crate::moment;

/// Where a Linux guest takes what it mixes into its random numbers.
const ENTROPY: &str = "/dev/urandom";
/// How often an agent is asked for a sign of life, besides when an event tells of one.
const LOOK: Duration = Duration::from_millis(250);

impl Embedded {
    pub(super) async fn moment_keep(&self, object: &ObjectRef, bounds: &Bounds) -> Result<(), EngineError> {
        let mut grip = self.grip(object, bounds).await?;
        let stage = grip
            .record
            .mark()
            .await
            .moment
            .as_ref()
            .map(|moment| moment.stage);
        if stage == Some(MomentStage::Whole) {
            return Ok(());
        }
        if stage.is_none() {
            record(&grip).await?;
            faults::moment("moment-recorded", object.name.as_str(), &bounds.cancel).await;
        }
        if stage < Some(MomentStage::Saved) {
            save(&mut grip).await?;
            faults::moment("moment-saved", object.name.as_str(), &bounds.cancel).await;
        }
        self.go_back(&mut grip, object, bounds).await?;
        grip.write(|mark| {
            if let Some(moment) = &mut mark.moment {
                moment.stage = MomentStage::Whole;
            }
        })
        .await
        .map(drop)
    }

    pub(super) async fn machine_reset(&self, object: &ObjectRef, bounds: &Bounds) -> Result<(), EngineError> {
        let mut grip = self.grip(object, bounds).await?;
        let mark = grip.record.mark().await;
        if mark.moment.as_ref().map(|moment| moment.stage) != Some(MomentStage::Whole) {
            return Err(no_moment(&grip, "none was kept of it: make it anew"));
        }
        screens::close(&grip).await?;
        self.go_back(&mut grip, object, bounds).await?;
        // Its moment has every card at home.
        grip.look().await?;
        self.nic_home(&mut grip).await?;
        faults::moment("reset-back", object.name.as_str(), &bounds.cancel).await;
        if let Some(found) = traces(&grip, mark.used.as_ref()).await? {
            return Err(EngineError::StillUsed {
                host: grip.host.name.clone(),
                what: grip.what.clone(),
                found,
            });
        }
        grip.write(|mark| mark.used = None).await.map(drop)
    }

    pub(super) async fn machine_hold(&self, object: &ObjectRef, bounds: &Bounds) -> Result<(), EngineError> {
        let mut grip = self.grip(object, bounds).await?;
        grip.may_mutate().await?;
        let held = grip.host.driver.suspend_machine(&grip.found.id).await;
        held.map_err(grip.failed())?;
        grip.host.observer.invalidate();
        match grip.look().await? {
            Power::Paused => Ok(()),
            other => Err(unknown(&grip, format!("it was suspended and is seen {other:?}"))),
        }
    }

    pub(super) async fn machine_wake(&self, object: &ObjectRef, bounds: &Bounds) -> Result<(), EngineError> {
        let mut grip = self.grip(object, bounds).await?;
        if !matches!(grip.found.power, Power::Paused | Power::Running) {
            return Err(unknown(&grip, format!("it is {:?}", grip.found.power)));
        }
        self.run_on(&mut grip, bounds).await
    }

    /// Lets what stands still run on, with its clock right.
    pub(super) async fn run_on(&self, grip: &mut Grip<'_>, bounds: &Bounds) -> Result<(), EngineError> {
        grip.may_mutate().await?;
        let woken = grip.host.driver.start_machine(&grip.found.id).await;
        woken.map_err(grip.failed())?;
        grip.host.observer.invalidate();
        self.set_right(grip, bounds).await
    }

    /// Puts the machine back to its moment, whatever it does now.
    async fn go_back(
        &self,
        grip: &mut Grip<'_>,
        object: &ObjectRef,
        bounds: &Bounds,
    ) -> Result<(), EngineError> {
        let place = async |step: &str| faults::moment(step, object.name.as_str(), &bounds.cancel).await;
        let moment = spec(grip).await?;
        let driver = grip.host.driver.clone();
        if driver.saved_memory(&moment).await.map_err(grip.failed())? == SavedMemory::Wanting {
            let why = format!(
                "file {} of pool {}, with its memory, is gone or damaged: make it anew",
                moment.memory, moment.pool
            );
            return Err(no_moment(grip, why));
        }
        grip.may_mutate().await?;
        driver.power_off(&grip.found.id).await.map_err(grip.failed())?;
        grip.host.observer.invalidate();
        place("reset-off").await;
        for disk in &moment.disks {
            make_overlay(grip, disk).await?;
        }
        place("reset-disks").await;
        // What the moment names has to be there, and closed before it runs.
        screens::stand(grip).await?;
        grip.may_mutate().await?;
        let back = driver.return_to(&moment, Resume::Running).await;
        grip.host.observer.invalidate();
        if let Err(error) = back {
            // It was off: somebody has started it meanwhile, or the host heard twice. It goes off again, and back.
            return Err(match runs(grip.look().await?) {
                true => unknown(grip, format!("it runs while it is put back ({error})")),
                false => grip.failed()(error),
            });
        }
        place("reset-restored").await;
        // The moment may be older than the screen.
        screens::stand(grip).await?;
        self.set_right(grip, bounds).await?;
        self.stir(grip).await
    }

    /// What the guest's generator of random numbers says next was decided when its memory was kept, and would be the
    /// same after each return: it gets something new to mix in.
    async fn stir(&self, grip: &Grip<'_>) -> Result<(), EngineError> {
        let random = self.deps.random.as_ref();
        let task = GuestTask::WriteFile {
            path: ENTROPY.to_owned(),
            content: [random.bytes(), random.bytes()].concat(),
        };
        match grip.ask(&task).await {
            // A guest of another kind has no such file.
            Err(EngineError::Host {
                source: DriverError::Refused { .. } | DriverError::Unsupported { .. },
                ..
            }) => Ok(()),
            asked => asked.map(drop),
        }
    }

    /// Waits until the agent answers and sets the guest's clock, which stood still.
    async fn set_right(&self, grip: &mut Grip<'_>, bounds: &Bounds) -> Result<(), EngineError> {
        agent_comes(grip, bounds).await?;
        let now = self.deps.clock.now();
        grip.ask(&GuestTask::SetTime(now)).await.map(drop)
    }

    pub(super) async fn agent_awaited(&self, object: &ObjectRef, bounds: &Bounds) -> Result<(), EngineError> {
        let mut grip = self.grip_to_read(object).await?;
        // What hangs is said by whoever knows it, before the whole operation is late.
        let limit = bounds.limit.mul_f32(0.9);
        match timeout(limit, agent_comes(&mut grip, bounds)).await {
            Ok(come) => come,
            Err(_) => Err(grip.guest(format!(
                "the agent in its guest did not answer within {} s",
                limit.as_secs()
            ))),
        }
    }
}

/// Waits until the agent of a running machine answers.
async fn agent_comes(grip: &mut Grip<'_>, bounds: &Bounds) -> Result<(), EngineError> {
    let driver = grip.host.driver.clone();
    let mut events = driver.events().await.ok();
    let id = grip.found.id.clone();
    loop {
        if matches!(driver.agent_answers(&id).await, Ok(AgentState::Answers)) {
            return Ok(());
        }
        let power = grip.look().await?;
        if power != Power::Running {
            let why = format!("its guest's agent is waited for and it is seen {power:?}");
            return Err(unknown(grip, why));
        }
        if bounds.cancel.is_cancelled() {
            return Err(EngineError::Cancelled {
                host: grip.host.name.clone(),
                what: grip.what.clone(),
                stage: labyard_driver::mark::Stage::Ready,
            });
        }
        match &mut events {
            Some(events) => drop(timeout(LOOK, agent_event(events, &id)).await),
            None => sleep(LOOK).await,
        }
    }
}

/// Until an event of this machine's agent; events that have ended leave it to the pace.
async fn agent_event(
    events: &mut tokio::sync::broadcast::Receiver<HostEvent>,
    id: &labyard_driver::ids::ObjectId,
) {
    loop {
        match events.recv().await {
            Ok(HostEvent::Agent(of)) if of == *id => return,
            Ok(_) => {}
            Err(_) => return std::future::pending().await,
        }
    }
}

/// Writes down what a moment will be made of, if the machine can have one.
async fn record(grip: &Grip<'_>) -> Result<(), EngineError> {
    if grip.found.power != Power::Running {
        let why = format!(
            "it is {:?}, and only a running machine has memory",
            grip.found.power
        );
        return Err(no_moment(grip, why));
    }
    let answers = grip.host.driver.agent_answers(&grip.found.id).await;
    if answers.map_err(grip.failed())? == AgentState::Silent {
        return Err(no_moment(
            grip,
            "the agent in its guest does not answer, and without it nobody could set its clock when it is put back",
        ));
    }
    let snapshot = grip.host.recent().await?;
    let pool = grip.host.pool(&snapshot)?;
    let mark = grip.record.mark().await;
    if let Some(why) = obstacle(&mark, &snapshot) {
        return Err(no_moment(grip, why));
    }
    let host_name = &grip.found.host_name;
    let disks = mark.disks.iter().map(|(key, disk)| {
        let kept = MomentDiskMark {
            pool: disk.pool.clone(),
            base: disk.volume.clone(),
            format: disk.format,
            overlay: identity::overlay_volume(host_name, key, &mark.origin),
        };
        (key.clone(), kept)
    });
    let moment = MomentMark {
        stage: MomentStage::Saving,
        pool,
        memory: identity::memory_volume(host_name, &mark.origin),
        disks: disks.collect(),
    };
    grip.write(|mark| mark.moment = Some(moment)).await.map(drop)
}

/// Why no moment of a machine can be kept on this host, by its disks.
fn obstacle(mark: &Mark, snapshot: &Snapshot) -> Option<String> {
    let disks = mark.disks.iter().map(|(key, disk)| (key, Some(&disk.pool)));
    moment::obstacle(&snapshot.host, disks).or_else(|| {
        let foreign = mark
            .disks
            .iter()
            .find(|(_, disk)| !identity::volume_carries(&disk.volume, &mark.origin));
        foreign.map(|(key, disk)| {
            format!(
                "disk {:?} is volume {}, which labyard did not make and does not keep from being changed",
                key.as_str(),
                disk.volume
            )
        })
    })
}

/// Saves the memory of the moment that is recorded. Where the machine went off without, the record is taken back.
async fn save(grip: &mut Grip<'_>) -> Result<(), EngineError> {
    let moment = spec(grip).await?;
    let driver = grip.host.driver.clone();
    if runs(grip.look().await?) {
        grip.may_mutate().await?;
        let save = async {
            driver.set_footing(&moment, Footing::Overlays).await?;
            driver.save_memory(&moment).await
        };
        match save.await {
            Ok(()) => {}
            // It may still be going on: the next attempt sees what came of it.
            Err(error) if error.is_transient() => return Err(grip.failed()(error)),
            Err(error) => {
                let told = match &error {
                    DriverError::NoSpace { .. } => no_moment(
                        grip,
                        format!("pool {} has no room for its memory: make room", moment.pool),
                    ),
                    _ => grip.failed()(error),
                };
                give_up(grip, &moment).await?;
                return Err(told);
            }
        }
    }
    let power = grip.look().await?;
    let saved = driver.saved_memory(&moment).await.map_err(grip.failed())?;
    if runs(power) {
        return Err(unknown(
            grip,
            "its memory was saved and it is seen running".to_owned(),
        ));
    }
    if saved == SavedMemory::Wanting {
        give_up(grip, &moment).await?;
        let why = format!("it was seen {power:?} before its memory was saved: start it and try again");
        return Err(no_moment(grip, why));
    }
    grip.write(|mark| {
        let Some(moment) = &mut mark.moment else { return };
        moment.stage = MomentStage::Saved;
        for (key, kept) in &moment.disks {
            if let Some(disk) = mark.disks.get_mut(key) {
                disk.volume = kept.overlay.clone();
                disk.format = None;
            }
        }
    })
    .await
    .map(drop)
}

/// Nothing was kept: the machine's definition stands on its own disks again.
async fn give_up(grip: &Grip<'_>, moment: &MomentSpec) -> Result<(), EngineError> {
    let driver = &grip.host.driver;
    grip.may_mutate().await?;
    let footing = driver.set_footing(moment, Footing::Bases).await;
    footing.map_err(grip.failed())?;
    let deleted = driver.delete_volume(&moment.pool, &moment.memory).await;
    deleted.map_err(grip.failed())?;
    grip.write(|mark| mark.moment = None).await.map(drop)
}

/// What its driver is asked for.
async fn spec(grip: &Grip<'_>) -> Result<MomentSpec, EngineError> {
    let mark = grip.record.mark().await;
    let Some(moment) = mark.moment.clone() else {
        return Err(no_moment(grip, "none was kept of it"));
    };
    let disks = moment.disks.values().map(|disk| MomentDisk {
        pool: disk.pool.clone(),
        base: disk.base.clone(),
        base_format: disk.format.unwrap_or(DiskFormat::Qcow2),
        overlay: disk.overlay.clone(),
    });
    Ok(MomentSpec {
        id: grip.found.id.clone(),
        pool: moment.pool.clone(),
        memory: moment.memory.clone(),
        disks: disks.collect(),
        mark,
    })
}

/// A fresh overlay in place of the one that is there.
fn make_overlay<'a>(grip: &'a Grip<'_>, disk: &'a MomentDisk) -> BoxFuture<'a, Result<(), EngineError>> {
    async move {
        let driver = &grip.host.driver;
        let base = driver.volume(&disk.pool, &disk.base).await;
        let base = base.map_err(grip.failed())?;
        grip.may_mutate().await?;
        let deleted = driver.delete_volume(&disk.pool, &disk.overlay).await;
        deleted.map_err(grip.failed())?;
        let content = VolumeContent::Overlay {
            base: disk.base.clone(),
            base_format: disk.base_format,
            capacity: Bytes(base.capacity.0),
        };
        let overlay = VolumeSpec {
            pool: disk.pool.clone(),
            name: disk.overlay.clone(),
            content,
        };
        let made = driver.create_volume(&overlay).await;
        made.map(drop).map_err(grip.failed())
    }
    .boxed()
}

/// Whether it has memory of its own at this moment.
fn runs(power: Power) -> bool {
    matches!(power, Power::Running | Power::Paused)
}

fn no_moment(grip: &Grip<'_>, why: impl Into<String>) -> EngineError {
    EngineError::NoMoment {
        host: grip.host.name.clone(),
        what: grip.what.clone(),
        why: why.into(),
    }
}

fn unknown(grip: &Grip<'_>, why: String) -> EngineError {
    EngineError::Unknown {
        host: grip.host.name.clone(),
        what: grip.what.clone(),
        why,
    }
}
