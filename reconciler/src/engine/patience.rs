//! An operation on a network, or with a standing machine, within its time: again while the host is busy or out of reach, no further once the user
//! has ended the run.

use std::time::Duration;

use futures::future::BoxFuture;
use labyard_driver::mark::Stage;
use tokio::time::{Instant, sleep, timeout_at};

use super::Bounds;
use crate::error::EngineError;
use crate::host::Host;

/// Attempts at an operation whose host was busy or did not answer.
const ATTEMPTS: u32 = 5;
/// The first pause between them; it doubles.
const BACK_OFF: Duration = Duration::from_millis(500);

/// Goes on until an attempt is through; each looks for itself what was done already. What is under way when the user
/// ends the run is brought to its end: cut short it would leave guests off their network.
pub(super) async fn patiently<'a, T>(
    host: &Host,
    what: &str,
    bounds: &Bounds,
    stage: Stage,
    mut attempt: impl FnMut() -> BoxFuture<'a, Result<T, EngineError>>,
) -> Result<T, EngineError> {
    let deadline = Instant::now() + bounds.limit;
    let late = || EngineError::Deadline {
        host: host.name.clone(),
        what: what.to_owned(),
        limit: format!("{}s", bounds.limit.as_secs()),
        stage,
    };
    let mut pause = BACK_OFF;
    for left in (0..ATTEMPTS).rev() {
        if bounds.cancel.is_cancelled() {
            return Err(EngineError::Cancelled {
                host: host.name.clone(),
                what: what.to_owned(),
                stage,
            });
        }
        match timeout_at(deadline, attempt()).await {
            Ok(Err(error)) if left > 0 && may_pass(&error) => {
                tracing::warn!(host = %host.name, what, %error, "trying again");
            }
            Ok(outcome) => return outcome,
            Err(_) => return Err(late()),
        }
        host.observer.invalidate_networks();
        tokio::select! {
            () = sleep(pause) => {}
            () = bounds.cancel.cancelled() => {}
        }
        pause *= 2;
    }
    Err(late())
}

/// Whether an error may pass without anybody doing anything.
fn may_pass(error: &EngineError) -> bool {
    match error.root() {
        EngineError::Host { source, .. } => source.is_transient(),
        EngineError::Unknown { .. } => true,
        _ => false,
    }
}
