//! The fixture of the simulated host for the suite that every driver runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use labyard_driver::conformance::{Fixture, Guest, Guests, Ids, OtherHands, Presence, sample};
use labyard_driver::ids::{MacAddr, Mib, ObjectId, PoolName};
use labyard_driver::spec::DirectBoot;
use labyard_driver::{Driver, DriverError};
use labyard_driver_sim::{ForeignHand, SimDriver, SimHost};

/// A simulated host and a driver of it.
pub(crate) struct SimFixture {
    pub(crate) driver: SimDriver,
    pub(crate) host: Option<SimHost>,
    pub(crate) small_pool: Option<PoolName>,
    pub(crate) other_pool: Option<PoolName>,
    pub(crate) ids: Ids,
    pub(crate) count: AtomicU32,
}

impl SimFixture {
    pub(crate) fn new(driver: SimDriver) -> Self {
        Self {
            driver,
            host: None,
            small_pool: None,
            other_pool: None,
            ids: Ids::ByCaller,
            count: AtomicU32::new(0),
        }
    }

    fn next(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }
}

impl Fixture for SimFixture {
    fn driver(&self) -> Arc<dyn Driver> {
        Arc::new(self.driver.clone())
    }

    fn pool(&self) -> PoolName {
        PoolName::from("default")
    }

    fn ids(&self) -> Ids {
        self.ids
    }

    fn fresh_name(&self, hint: &str) -> String {
        format!("conformance-{hint}-{}", self.next())
    }

    fn guests(&self) -> Guests {
        Guests::Boot(Guest {
            direct_boot: DirectBoot {
                kernel: "/boot/vmlinuz".to_owned(),
                initrd: Some("/boot/initrd.img".to_owned()),
                cmdline: Some("console=ttyS0".to_owned()),
            },
            memory: Mib(128),
            patience: Duration::from_secs(5),
        })
    }

    fn free_net(&self) -> Option<ipnet::Ipv4Net> {
        let [.., high, low] = self.next().to_be_bytes();
        ipnet::Ipv4Net::new([10, high, low, 0].into(), 24).ok()
    }

    fn small_pool(&self) -> Option<PoolName> {
        self.small_pool.clone()
    }

    fn other_pool(&self) -> Option<PoolName> {
        self.other_pool.clone()
    }

    fn hands(&self) -> Option<Arc<dyn OtherHands>> {
        self.host
            .clone()
            .map(|host| Arc::new(Hands(host)) as Arc<dyn OtherHands>)
    }
}

struct Hands(SimHost);

#[async_trait]
impl OtherHands for Hands {
    async fn define_machine(&self, id: &ObjectId, name: &str) -> Result<(), DriverError> {
        let mut spec = sample::machine(name);
        spec.id = id.clone();
        self.0.by_other_hand(&ForeignHand::AddMachine(Box::new(spec)))
    }

    async fn put_device(&self, id: &ObjectId) -> Result<(), DriverError> {
        self.0.by_other_hand(&ForeignHand::AttachDisk {
            id: id.clone(),
            target: "vdz".to_owned(),
            path: "/srv/theirs.qcow2".to_owned(),
        })
    }

    async fn put_file(&self, name: &str, content: &[u8]) -> Result<String, DriverError> {
        let path = format!("/srv/images/{name}");
        let content = content.to_vec();
        let put = ForeignHand::PutFile {
            path: path.clone(),
            content,
        };
        self.0.by_other_hand(&put).map(|()| path)
    }

    async fn file(&self, path: &str) -> Result<Vec<u8>, DriverError> {
        let stream = SimDriver::in_memory(&self.0).read_host_file(path).await?;
        let pieces: Vec<_> = stream.try_collect().await.unwrap();
        Ok(pieces.concat())
    }

    async fn pools(&self) -> Result<usize, DriverError> {
        Ok(self.0.look().host.pools.len())
    }

    async fn pull_cable(&self, id: &ObjectId, mac: MacAddr) -> Result<(), DriverError> {
        self.0
            .by_other_hand(&ForeignHand::PullCable { id: id.clone(), mac })
    }

    async fn has_device(&self, id: &ObjectId) -> Result<Presence, DriverError> {
        let machines = self.0.look().machines;
        let detail = machines
            .iter()
            .find(|machine| machine.id == *id)
            .and_then(|machine| machine.detail.known());
        match detail.is_some_and(|detail| detail.disks.iter().any(|disk| disk.target == "vdz")) {
            true => Ok(Presence::There),
            false => Ok(Presence::Gone),
        }
    }
}
