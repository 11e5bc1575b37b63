//! Signals. Ctrl-C reaches the whole process group; the provider leaves the answer to Terraform, which sends
//! StopProvider and waits. Only without a parent does it mean this process.

use std::sync::Arc;

use crate::life::{End, Life};

/// What Ctrl-C does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnInterrupt {
    /// Nothing: the parent will say what is to be done.
    Ignore,
    /// The process ends.
    End,
}

/// Takes the signals over. From here on none is lost and none kills the process.
#[cfg(unix)]
pub(super) fn watch(on_interrupt: OnInterrupt, life: Arc<Life>) {
    use tokio::signal::unix::{SignalKind, signal};

    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        tracing::warn!("signals cannot be watched here");
        return;
    };
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => if on_interrupt == OnInterrupt::End {
                    return life.shut_down(End::Asked);
                },
                _ = terminate.recv() => return life.shut_down(End::Abandoned),
            }
        }
    });
}

/// Takes the signals over. From here on none is lost and none kills the process.
#[cfg(not(unix))]
pub(super) fn watch(on_interrupt: OnInterrupt, life: Arc<Life>) {
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if on_interrupt == OnInterrupt::End {
                life.shut_down(End::Asked);
                return;
            }
        }
    });
}
