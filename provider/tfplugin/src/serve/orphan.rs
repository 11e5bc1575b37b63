//! Notices that Terraform died without a word. A provider that lived on would hold its leases for nobody.

use std::sync::Arc;

use crate::connection::Visitors;
use crate::life::Life;

/// Ends the process once the parent is gone and no connection is left.
#[cfg(unix)]
pub(super) fn watch(life: Arc<Life>, visitors: Arc<Visitors>) {
    use std::os::unix::process::parent_id;

    let parent = parent_id();
    tokio::spawn(async move {
        let mut pulse = tokio::time::interval(std::time::Duration::from_millis(500));
        loop {
            pulse.tick().await;
            if parent_id() != parent && visitors.have_left() {
                tracing::warn!("Terraform is gone; operations under way are cancelled");
                life.shut_down(crate::life::End::Abandoned);
                return;
            }
        }
    });
}

/// Ends the process once the parent is gone: elsewhere the system gives no sign of it.
#[cfg(not(unix))]
pub(super) fn watch(_life: Arc<Life>, _visitors: Arc<Visitors>) {}
