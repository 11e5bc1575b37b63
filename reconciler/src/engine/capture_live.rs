//! What a capture does to a machine that runs. What makes its system one machine is set aside in the guest's memory, its
//! file systems are frozen, the host begins to copy the disk as it is at this moment, and the guest goes on as it was while
//! the copy is made. Or it is shut down, and started again afterwards.
//!
//! That the guest may be held stands in the mark before it is, and until it is certain that it is not: whoever captures a
//! machine whose mark says so puts its guest right first.

use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::copy::{Copying, DiskCopy};
use labyard_driver::driver::AgentState;
use labyard_driver::guest::GuestTask;
use labyard_driver::mark::{AfterCapture, DiskMark, GuestOfCapture, Mark};
use labyard_driver::observed::Power;
use tokio::time::{Instant, sleep, timeout};

use super::capture::{cancelled, failed, refused};
use super::grip::Grip;
use super::{AtStage, Bounds, CaptureStage, Seal};
use crate::error::EngineError;
use crate::faults;
use crate::image_store::Capture;

/// How often a copy, or a machine that is shutting down, is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// When a guest is asked once more: while it boots it does not hear.
const AGAIN: Duration = Duration::from_secs(20);
/// How often, and how long, a guest that is held is asked to go on.
const RELEASE: Duration = Duration::from_secs(1);
const RELEASED_WITHIN: Duration = Duration::from_secs(180);
/// How long a guest may take to shut down.
const SHUTDOWN: Duration = Duration::from_secs(300);

/// Puts right what a capture that was ended left in a guest.
pub(super) async fn recover(grip: &Grip<'_>, mark: &Mark, disk: &DiskMark) -> Result<(), EngineError> {
    let Some(begun) = mark
        .capture
        .as_ref()
        .filter(|_| grip.found.power == Power::Running)
    else {
        return Ok(());
    };
    let copy = DiskCopy {
        pool: begun.pool.clone(),
        disk: disk.volume.clone(),
        into: begun.volume.clone(),
    };
    grip.may_mutate().await?;
    let driver = &grip.host.driver;
    driver
        .end_copy(&grip.found.id, &copy)
        .await
        .map_err(grip.failed())?;
    match begun.guest {
        GuestOfCapture::Itself => Ok(()),
        GuestOfCapture::Held => let_go(grip, &Asked::EVERYTHING).await,
    }
}

/// What a guest was asked for, by the answers.
struct Asked {
    seal: Answer,
    freeze: Answer,
}

/// What came of something that a guest was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It was not asked.
    NotAsked,
    /// It said that it cannot, or not to the end.
    Refused,
    /// It did it, or may have, or may do it yet.
    MayBe,
}

impl Asked {
    /// Nothing of it is known.
    const EVERYTHING: Self = Self {
        seal: Answer::MayBe,
        freeze: Answer::MayBe,
    };
}

/// The guest writes again and has what is its own, and the mark says so.
async fn let_go(grip: &Grip<'_>, asked: &Asked) -> Result<(), EngineError> {
    let on_the_host = format!("on the host, virsh domfsthaw {}", grip.found.host_name);
    release(grip, &GuestTask::Thaw, asked.freeze).await.map_err(|why| {
        let why = format!(
            "its guest's file systems may stand still, and its agent did not let them go on ({why}): {on_the_host}; then \
             capture it again, which gives it back its SSH host keys and its machine id"
        );
        refused(grip, why)
    })?;
    release(grip, &GuestTask::Unseal, asked.seal).await.map_err(|why| {
        let why = format!(
            "its SSH host keys and machine id lie in /run/labyard-sealed of its guest, which did not put them back \
             ({why}): capture it again, which does, before it is restarted"
        );
        refused(grip, why)
    })?;
    set_guest(grip, GuestOfCapture::Itself).await
}

/// Asks until it is done, within some minutes: a guest that is held answers late, or not to the first who asks.
async fn release(grip: &Grip<'_>, task: &GuestTask, asked: Answer) -> Result<(), EngineError> {
    if asked == Answer::NotAsked {
        return Ok(());
    }
    let deadline = Instant::now() + RELEASED_WITHIN;
    loop {
        let Err(error) = grip.ask(task).await else {
            return Ok(());
        };
        let was_never_held = match &error {
            // An agent that does not know how to let go could not hold either.
            EngineError::Host {
                source: DriverError::Unsupported { .. },
                ..
            } => true,
            EngineError::Host {
                source: DriverError::Refused { .. },
                ..
            } => asked == Answer::Refused,
            EngineError::Host { .. } => false,
            _ => return Err(error),
        };
        if was_never_held || is_off(grip).await {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(error);
        }
        sleep(RELEASE).await;
    }
}

/// Whether the machine is seen off: what was held in its memory is gone.
async fn is_off(grip: &Grip<'_>) -> bool {
    let seen = grip.host.driver.machine(&grip.found.id).await;
    seen.is_ok_and(|machine| machine.power == Power::Stopped)
}

/// Writes into the mark what the capture may have left in the guest.
async fn set_guest(grip: &Grip<'_>, guest: GuestOfCapture) -> Result<(), EngineError> {
    let written = grip.write(|mark| {
        if let Some(capture) = &mut mark.capture {
            capture.guest = guest;
        }
    });
    written.await.map(drop)
}

/// Copies a disk of a machine that runs on; whether what is the machine's own is in it.
pub(super) async fn copy_running(
    grip: &mut Grip<'_>,
    what: &Capture<'_>,
    bounds: &Bounds,
    at: AtStage<'_>,
) -> Result<Seal, EngineError> {
    let driver = grip.host.driver.clone();
    let answers = driver.agent_answers(&grip.found.id).await;
    if answers.map_err(grip.failed())? == AgentState::Silent {
        return Err(refused(
            grip,
            "it runs, and no agent answers in its guest that could hold its file systems still: stop it, or have it stopped \
             for the capture (--stop)",
        ));
    }
    grip.may_mutate().await?;
    let copy = grip.host.images.begin_capture(what).await;
    let copy = copy.map_err(|error| failed(grip, error))?;
    at(CaptureStage::Quiescing);
    set_guest(grip, GuestOfCapture::Held).await?;
    let mut asked = Asked {
        seal: Answer::NotAsked,
        freeze: Answer::NotAsked,
    };
    let begun = begin(grip, &copy, &mut asked, bounds).await;
    // Whatever came of it: a guest that stands still is worse.
    let_go(grip, &asked).await?;
    let seal = begun?;
    at(CaptureStage::Copying);
    faults::moment("capture-copying", &grip.what, &bounds.cancel).await;
    wait(grip, &copy, bounds).await?;
    Ok(seal)
}

/// The moment as which the disk is copied.
async fn begin(
    grip: &Grip<'_>,
    copy: &DiskCopy,
    asked: &mut Asked,
    bounds: &Bounds,
) -> Result<Seal, EngineError> {
    let seal = match hold(grip, &GuestTask::Seal, &mut asked.seal).await? {
        Held::Done => Seal::Sealed,
        Held::Refused(message) => {
            Seal::Open(format!("its agent could not take out what is its own: {message}"))
        }
    };
    faults::moment("capture-sealed", &grip.what, &bounds.cancel).await;
    match hold(grip, &GuestTask::Freeze, &mut asked.freeze).await? {
        Held::Done => {}
        Held::Refused(message) => {
            let why = format!(
                "its agent cannot hold its file systems still ({message}): stop it, or capture it with --stop"
            );
            return Err(refused(grip, why));
        }
    }
    faults::moment("capture-frozen", &grip.what, &bounds.cancel).await;
    grip.may_mutate().await?;
    let begun = grip.host.driver.begin_copy(&grip.found.id, copy).await;
    begun.map_err(grip.failed())?;
    Ok(seal)
}

/// What a guest answered that was to be held.
enum Held {
    Done,
    /// It cannot: why.
    Refused(String),
}

/// Asks the guest for something that has to be undone, and notes what it answered.
async fn hold(grip: &Grip<'_>, task: &GuestTask, answer: &mut Answer) -> Result<Held, EngineError> {
    *answer = Answer::MayBe;
    match grip.ask(task).await {
        Ok(_) => Ok(Held::Done),
        Err(EngineError::Host {
            source: DriverError::Refused { message, .. } | DriverError::Unsupported { message, .. },
            ..
        }) => {
            *answer = Answer::Refused;
            Ok(Held::Refused(message))
        }
        Err(error) => Err(error),
    }
}

async fn wait(grip: &Grip<'_>, copy: &DiskCopy, bounds: &Bounds) -> Result<(), EngineError> {
    let driver = &grip.host.driver;
    let deadline = Instant::now() + bounds.limit;
    loop {
        match driver
            .copying(&grip.found.id, copy)
            .await
            .map_err(grip.failed())?
        {
            Copying::Whole => return Ok(()),
            Copying::Ended(why) => {
                return Err(refused(
                    grip,
                    format!("the copy of its disk came to no end: {why}"),
                ));
            }
            Copying::Going => {}
        }
        let late = Instant::now() >= deadline;
        if late || bounds.cancel.is_cancelled() {
            driver
                .end_copy(&grip.found.id, copy)
                .await
                .map_err(grip.failed())?;
            return Err(match late {
                true => refused(grip, format!("its disk was not copied within {:?}", bounds.limit)),
                false => cancelled(grip),
            });
        }
        sleep(LOOK).await;
    }
}

/// Asks the guest to shut down and waits until it is off: by force, what it had not written yet would be missing.
pub(super) async fn shut_down(grip: &mut Grip<'_>, bounds: &Bounds) -> Result<(), EngineError> {
    let driver = grip.host.driver.clone();
    let mut events = driver.events().await.ok();
    let limit = SHUTDOWN.min(bounds.limit);
    let deadline = Instant::now() + limit;
    let mut asked = None;
    while grip.look().await? != Power::Stopped {
        if asked.is_none_or(|when: Instant| when.elapsed() >= AGAIN) {
            grip.may_mutate().await?;
            let done = driver.request_shutdown(&grip.found.id).await;
            done.map_err(grip.failed())?;
            grip.host.observer.invalidate();
            asked = Some(Instant::now());
        }
        if bounds.cancel.is_cancelled() {
            return Err(cancelled(grip));
        }
        if Instant::now() >= deadline {
            let why = format!(
                "it was asked to shut down and did not within {limit:?}: shut it down and capture it then"
            );
            return Err(refused(grip, why));
        }
        match &mut events {
            Some(events) => drop(timeout(LOOK, events.recv()).await),
            None => sleep(LOOK).await,
        }
    }
    faults::moment("capture-off", &grip.what, &bounds.cancel).await;
    Ok(())
}

/// Starts a machine that was shut down for its capture.
pub(super) async fn start_again(grip: &mut Grip<'_>, at: AtStage<'_>) -> Result<(), EngineError> {
    let after = grip.record.mark().await.capture.map(|capture| capture.after);
    if after != Some(AfterCapture::Started) || grip.look().await? == Power::Running {
        return Ok(());
    }
    at(CaptureStage::Starting);
    grip.may_mutate().await?;
    let started = grip.host.driver.start_machine(&grip.found.id).await;
    started.map_err(grip.failed())?;
    grip.host.observer.invalidate();
    match grip.look().await? {
        Power::Running => Ok(()),
        other => Err(EngineError::Unknown {
            host: grip.host.name.clone(),
            what: grip.what.clone(),
            why: format!("it was started again after its capture and is seen {other:?}"),
        }),
    }
}
