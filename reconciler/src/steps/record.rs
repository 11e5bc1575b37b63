//! Record: a bare inactive definition with the mark, before anything else exists; for a machine that stands, the
//! mark brought to what is intended.

use futures::future::BoxFuture;
use labyard_driver::DriverError;
use labyard_driver::mark::Stage;
use std::sync::Arc;

use super::{Outcome, Work};
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
        let recorded = match work.host.driver.record_machine(&spec).await {
            Err(error @ (DriverError::ReplyLost { .. } | DriverError::Exists { .. })) => {
                // It may have happened: the token tells whether what stands there is this very record.
                match work.host.driver.machine(&work.id).await {
                    Ok(found) if found.mark.ours().is_some_and(|m| m.token == mark.token) => found,
                    _ => return Err(work.failed()(error)),
                }
            }
            other => other.map_err(work.failed())?,
        };
        work.found = Some(recorded);
        let record = Arc::new(Record::new(work.host.driver.clone(), work.id.clone(), mark));
        work.keeper
            .hold(record.clone(), work.host.renewals.clone(), work.deps);
        work.record = Some(record);
        crate::steps::reserve::check(work).await
    })
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

pub(super) fn undo<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        work.host
            .driver
            .remove_machine(&work.id)
            .await
            .map_err(work.failed())?;
        work.record = None;
        Ok(())
    })
}
