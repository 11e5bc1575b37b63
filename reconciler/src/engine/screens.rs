//! Screens before machines: whom they let in stands in the mark first, and is looked at afterwards.

use std::collections::BTreeSet;

use labyard_driver::ids::{MacAddr, ObjectId};
use labyard_driver::mark::{Mark, Stage};
use labyard_driver::observed::MarkState;
use labyard_driver::screen::{Callers, Screen};

use super::grip::Grip;
use super::{Bounds, Embedded, ObjectRef};
use crate::error::EngineError;
use crate::identity;

/// How often a screen is put right while what is asked of it changes.
const TURNS: u32 = 3;

/// The screen of a machine: before all of its cards but the one that is on the network of a claim, where nobody else is.
pub(crate) fn screen_of(id: &ObjectId, mark: &Mark) -> Screen {
    let lent = mark.lent.as_ref().map(|lent| &lent.nic);
    let screened = mark.nics.iter().filter(|(key, _)| Some(*key) != lent);
    let nics: BTreeSet<MacAddr> = screened.map(|(_, nic)| nic.mac).collect();
    Screen {
        of: id.clone(),
        name: identity::screen_name(&mark.origin),
        nics,
    }
}

/// What a mark says of callers once these are asked for: a machine that never had a screen needs none to be open.
pub(super) fn intended(before: Option<&Callers>, callers: &Callers) -> Option<Callers> {
    match (before, callers) {
        (None, Callers::Anybody) => None,
        _ => Some(callers.clone()),
    }
}

impl Embedded {
    pub(super) async fn machine_screen(
        &self,
        object: &ObjectRef,
        callers: &Callers,
        bounds: &Bounds,
    ) -> Result<(), EngineError> {
        let grip = self.grip(object, bounds).await?;
        record(&grip, callers).await?;
        stand(&grip).await
    }

    /// Whether it had to be put right.
    pub(super) async fn screen_renewed(&self, object: &ObjectRef) -> Result<bool, EngineError> {
        let grip = self.grip_to_read(object).await?;
        let driver = &grip.host.driver;
        let mut put_right = false;
        for _ in 0..TURNS {
            // Of now, and anew after each change: who works on the machine may have asked for something else meanwhile.
            let seen = driver.machine(&grip.found.id).await.map_err(grip.failed())?;
            let MarkState::Ours(mark) = &seen.mark else { break };
            let (Some(callers), Stage::Finished) = (&mark.callers, mark.stage) else {
                break;
            };
            let screen = screen_of(&seen.id, mark);
            if driver.screened(&screen).await.map_err(grip.failed())?.as_ref() == Some(callers) {
                break;
            }
            let screened = driver.screen_machine(&screen, callers).await;
            screened.map_err(grip.failed())?;
            put_right = true;
        }
        Ok(put_right)
    }
}

/// Writes down whom the screen lets in from now on.
pub(super) async fn record(grip: &Grip<'_>, callers: &Callers) -> Result<(), EngineError> {
    let before = grip.record.mark().await.callers;
    let wanted = intended(before.as_ref(), callers);
    if before == wanted {
        return Ok(());
    }
    grip.write(|mark| mark.callers = wanted).await.map(drop)
}

/// Writes down that it lets in nobody any more, if there is one.
pub(super) async fn close(grip: &Grip<'_>) -> Result<(), EngineError> {
    match grip.record.mark().await.callers {
        Some(_) => record(grip, &Callers::nobody()).await,
        None => Ok(()),
    }
}

/// Brings the screen to what the mark says, and looks whether it is.
pub(super) async fn stand(grip: &Grip<'_>) -> Result<(), EngineError> {
    let mark = grip.record.mark().await;
    let Some(callers) = &mark.callers else {
        return Ok(());
    };
    let driver = &grip.host.driver;
    let screen = screen_of(&grip.found.id, &mark);
    let seen = async || driver.screened(&screen).await.map_err(grip.failed());
    if seen().await?.as_ref() == Some(callers) {
        return Ok(());
    }
    grip.may_mutate().await?;
    let screened = driver.screen_machine(&screen, callers).await;
    screened.map_err(grip.failed())?;
    match seen().await? {
        Some(shown) if shown == *callers => Ok(()),
        shown => Err(EngineError::Unknown {
            host: grip.host.name.clone(),
            what: grip.what.clone(),
            why: format!("its screen was to let in {callers:?} and is seen with {shown:?}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_screen_needs_none_to_be_open() {
        assert_eq!(intended(None, &Callers::Anybody), None);
        assert_eq!(intended(None, &Callers::nobody()), Some(Callers::nobody()));
        assert_eq!(
            intended(Some(&Callers::nobody()), &Callers::Anybody),
            Some(Callers::Anybody),
            "a moment may name it"
        );
    }
}
