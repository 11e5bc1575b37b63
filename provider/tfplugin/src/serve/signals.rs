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

/// Takes the signals over. Without a `life` they are only kept from killing the process.
#[cfg(unix)]
pub(super) fn watch(on_interrupt: OnInterrupt, life: Option<Arc<Life>>) {
    use tokio::signal::unix::{SignalKind, signal};

    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let Some(life) = life else { return };
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

/// Takes the signals over. Without a `life` they are only kept from killing the process.
#[cfg(not(unix))]
pub(super) fn watch(on_interrupt: OnInterrupt, life: Option<Arc<Life>>) {
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if let (OnInterrupt::End, Some(life)) = (on_interrupt, &life) {
                life.shut_down(End::Asked);
                return;
            }
        }
    });
}
