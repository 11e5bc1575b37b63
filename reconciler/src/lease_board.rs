//! DHCP leases of a network, read once for all who wait: one call a network every quarter of a second however many
//! machines are starting.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use labyard_driver::Driver;
use labyard_driver::ids::ObjectId;
use labyard_driver::observed::DhcpLease;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long one reading serves.
const SERVES: Duration = Duration::from_millis(200);

type Slot = Arc<Mutex<Option<(Instant, Arc<[DhcpLease]>)>>>;

/// The leases of a host's networks.
#[derive(Default)]
pub struct LeaseBoard {
    networks: Mutex<HashMap<ObjectId, Slot>>,
}

impl LeaseBoard {
    /// The leases of a network, at most a fifth of a second old; a network that cannot be read at this moment has
    /// none to show, and the waiter's own deadline bounds that.
    pub async fn leases(&self, driver: &dyn Driver, network: &ObjectId) -> Arc<[DhcpLease]> {
        let slot = self
            .networks
            .lock()
            .await
            .entry(network.clone())
            .or_default()
            .clone();
        let mut slot = slot.lock().await;
        if let Some((_, leases)) = slot.as_ref().filter(|(read, _)| read.elapsed() < SERVES) {
            return leases.clone();
        }
        let leases: Arc<[DhcpLease]> = driver.leases(network).await.unwrap_or_default().into();
        *slot = Some((Instant::now(), leases.clone()));
        leases
    }
}
