//! Record: a bare inactive definition with the mark, before anything else exists; for a machine that stands, the
//! mark brought to what is intended.

use futures::future::BoxFuture;
use labyard_driver::DriverError;
use labyard_driver::mark::{Mark, Stage, TpmState};
use labyard_driver::observed::ObservedMachine;
use labyard_driver::spec::{Firmware, Tpm};
use std::sync::Arc;

use super::{Outcome, Work};
use crate::engine::screens::screen_of;
use crate::identity::by_token;
use crate::intent::intend;
use crate::record::Record;

pub(super) fn ensure<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        if work.record.is_some() {
            update(work).await?;
            return crate::steps::reserve::check(work).await;
        }
        let mark = intend(&work.desired, &work.first_mark, &work.host_name, &work.storage);
        let accelerator = work.accelerator().await?;
        let spec = work.bare_spec(mark.clone(), accelerator);
        work.may_mutate().await?;
        let recorded = match work.host.driver.record_machine(&spec).await {
            Err(error @ (DriverError::ReplyLost { .. } | DriverError::Exists { .. })) => {
                // It may have happened: the token tells whether what stands there is this very record.
                match standing(work, &mark).await {
                    Some(found) => found,
                    None => return Err(work.failed()(error)),
                }
            }
            other => other.map_err(work.failed())?,
        };
        // Some hosts choose ids by themselves.
        work.id = recorded.id.clone();
        work.found = Some(recorded);
        let record = Arc::new(Record::new(work.host.driver.clone(), work.id.clone(), mark));
        work.keeper
            .hold(record.clone(), work.host.renewals.clone(), work.deps);
        work.record = Some(record);
        crate::steps::reserve::check(work).await
    })
}

/// The machine of this mark's token, if the host has it.
async fn standing(work: &Work<'_>, mark: &Mark) -> Option<ObservedMachine> {
    let driver = &work.host.driver;
    let id = by_token(driver.as_ref(), mark).await?;
    driver.machine(&id).await.ok()
}

async fn update(work: &mut Work<'_>) -> Outcome {
    let (desired, host_name, storage) = (work.desired.clone(), work.host_name.clone(), work.storage.clone());
    work.write(|mark| {
        let mut intended = intend(&desired, mark, &host_name, &storage);
        intended.stage = intended.stage.max(Stage::Record);
        *mark = intended;
    })
    .await?;
    Ok(())
}

/// A host forgets the state of a TPM with the machine that has it, and of no other: one that was taken out comes back
/// for the removal.
async fn put_tpm_back(work: &mut Work<'_>) -> Outcome {
    let mark = work.mark().await;
    let taken_out = work
        .detail()
        .is_some_and(|detail| detail.guards.tpm == Tpm::Absent && detail.firmware == Firmware::Uefi);
    if mark.tpm != TpmState::Kept || !taken_out {
        return Ok(());
    }
    let accelerator = work.accelerator().await?;
    let mut spec = work.bare_spec(mark, accelerator);
    if let Some(detail) = work.detail() {
        (spec.firmware, spec.guards) = (detail.firmware, detail.guards);
    }
    spec.guards.tpm = Tpm::Emulated;
    work.host
        .driver
        .define_machine(&spec)
        .await
        .map_err(work.failed())
        .map(drop)
}

pub(super) fn undo<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        put_tpm_back(work).await?;
        work.may_mutate().await?;
        let mark = work.mark().await;
        if mark.callers.is_some() {
            let removed = work.host.driver.remove_screen(&screen_of(&work.id, &mark)).await;
            removed.map_err(work.failed())?;
        }
        work.host
            .driver
            .remove_machine(&work.id)
            .await
            .map_err(work.failed())?;
        work.record = None;
        Ok(())
    })
}
