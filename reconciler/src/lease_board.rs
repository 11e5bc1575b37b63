//! DHCP leases of a network, read once for all who wait: one call a network every quarter of a second however many
//! machines are starting.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use labyard_driver::ids::{MacAddr, ObjectId};
use labyard_driver::observed::DhcpLease;
use labyard_driver::{Driver, DriverError};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long one reading serves.
const SERVES: Duration = Duration::from_millis(200);

type Slot = Arc<Mutex<Option<(Instant, Arc<[DhcpLease]>)>>>;

/// The leases of a host's networks.
#[derive(Default)]
pub struct LeaseBoard {
    networks: Mutex<HashMap<ObjectId, Slot>>,
    /// Leases from before a machine's start, by its MAC.
    earlier: Mutex<HashMap<MacAddr, Vec<DhcpLease>>>,
}

impl LeaseBoard {
    /// A machine is about to start: the leases that its NIC has now tell nothing of the guest that boots then. One
    /// without an end looks the same before and after, so that it counts.
    pub async fn before_start(&self, driver: &dyn Driver, network: &ObjectId, mac: MacAddr) {
        let leases = self.leases(driver, network).await;
        let of_nic = leases.iter().filter(|l| l.mac == mac && l.ends.is_some());
        self.earlier.lock().await.insert(mac, of_nic.cloned().collect());
    }

    /// The addresses that a NIC was given since its machine's last start.
    pub async fn addresses(&self, driver: &dyn Driver, network: &ObjectId, mac: MacAddr) -> Vec<IpAddr> {
        let leases = self.leases(driver, network).await;
        let earlier = self.earlier.lock().await;
        let earlier = earlier.get(&mac).map_or(&[][..], Vec::as_slice);
        let of_nic = leases.iter().filter(|l| l.mac == mac && !earlier.contains(l));
        of_nic.map(|l| l.address).collect()
    }

    /// The same of a network that cannot be read at this moment: it has none to show, and the waiter's own deadline
    /// bounds that.
    async fn leases(&self, driver: &dyn Driver, network: &ObjectId) -> Arc<[DhcpLease]> {
        self.of(driver, network).await.unwrap_or_default()
    }

    /// The leases of a network, at most a fifth of a second old.
    pub async fn of(&self, driver: &dyn Driver, network: &ObjectId) -> Result<Arc<[DhcpLease]>, DriverError> {
        let slot = self
            .networks
            .lock()
            .await
            .entry(network.clone())
            .or_default()
            .clone();
        let mut slot = slot.lock().await;
        if let Some((_, leases)) = slot.as_ref().filter(|(read, _)| read.elapsed() < SERVES) {
            return Ok(leases.clone());
        }
        let leases: Arc<[DhcpLease]> = driver.leases(network).await?.into();
        *slot = Some((Instant::now(), leases.clone()));
        Ok(leases)
    }
}
