//! What every driver must do.

use std::sync::Arc;

use async_trait::async_trait;
use labyard_driver::conformance::{self, Fixture, Guests, OtherHands, Presence};
use labyard_driver::ids::{MacAddr, ObjectId, PoolName};
use labyard_driver::{Driver, DriverError};
use labyard_driver_libvirt::LibvirtDriver;
use libvirt_rpc::flags::{DeviceModify, DomainDefine, DomainXml, ListPools};
use libvirt_rpc::{ConnectOptions, Connection};

use crate::host;

struct Host {
    driver: Arc<LibvirtDriver>,
    hands: Arc<Hands>,
}

impl Fixture for Host {
    fn driver(&self) -> Arc<dyn Driver> {
        Arc::clone(&self.driver) as Arc<dyn Driver>
    }

    fn pool(&self) -> PoolName {
        host::pool()
    }

    fn fresh_name(&self, hint: &str) -> String {
        host::fresh(hint)
    }

    fn guests(&self) -> Guests {
        host::guest().map_or(Guests::Start, Guests::Boot)
    }

    fn free_net(&self) -> Option<ipnet::Ipv4Net> {
        Some(host::free_net())
    }

    fn small_pool(&self) -> Option<PoolName> {
        Some(PoolName::from("small"))
    }

    fn other_pool(&self) -> Option<PoolName> {
        Some(PoolName::from("small"))
    }

    fn hands(&self) -> Option<Arc<dyn OtherHands>> {
        Some(Arc::clone(&self.hands) as Arc<dyn OtherHands>)
    }
}

const FOREIGN: &str = "<watchdog model='i6300esb' action='reset'/>";

/// Another client of the same libvirt.
struct Hands {
    connection: Connection,
    files: tempfile::TempDir,
}

impl Hands {
    async fn xml(&self, id: &ObjectId) -> Result<String, DriverError> {
        let domain = self
            .connection
            .domain_lookup_by_uuid(id.as_str().parse().unwrap())
            .await
            .unwrap();
        Ok(self
            .connection
            .domain_get_xml_desc(&domain, DomainXml::INACTIVE)
            .await
            .unwrap())
    }

    async fn define(&self, xml: &str) {
        self.connection
            .domain_define_xml_flags(xml, DomainDefine::empty())
            .await
            .unwrap();
    }
}

#[async_trait]
impl OtherHands for Hands {
    async fn define_machine(&self, id: &ObjectId, name: &str) -> Result<(), DriverError> {
        let xml = format!(
            "<domain type='qemu'><name>{name}</name><uuid>{id}</uuid><memory unit='MiB'>64</memory>\
             <os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"
        );
        self.define(&xml).await;
        Ok(())
    }

    async fn put_device(&self, id: &ObjectId) -> Result<(), DriverError> {
        let xml = self.xml(id).await?;
        self.define(&xml.replace("</devices>", &format!("{FOREIGN}</devices>")))
            .await;
        Ok(())
    }

    async fn put_file(&self, name: &str, content: &[u8]) -> Result<String, DriverError> {
        let path = self.files.path().join(name);
        std::fs::write(&path, content).unwrap();
        Ok(path.to_string_lossy().into_owned())
    }

    async fn file(&self, path: &str) -> Result<Vec<u8>, DriverError> {
        Ok(std::fs::read(path).unwrap())
    }

    async fn pools(&self) -> Result<usize, DriverError> {
        let pools = self.connection.connect_list_all_storage_pools(ListPools::empty());
        Ok(pools.await.unwrap().len())
    }

    async fn pull_cable(&self, id: &ObjectId, mac: MacAddr) -> Result<(), DriverError> {
        let connection = &self.connection;
        let uuid = id.as_str().parse().unwrap();
        let domain = connection.domain_lookup_by_uuid(uuid).await.unwrap();
        let live = connection
            .domain_get_xml_desc(&domain, DomainXml::empty())
            .await
            .unwrap();
        let at = live.find(&format!("<mac address='{mac}'/>")).unwrap();
        let begin = live[..at].rfind("<interface").unwrap();
        let end = at + live[at..].find("</interface>").unwrap();
        let nic = format!("{}<link state='down'/></interface>", &live[begin..end]);
        connection
            .domain_update_device_flags(&domain, &nic, DeviceModify::LIVE)
            .await
            .unwrap();
        Ok(())
    }

    async fn has_device(&self, id: &ObjectId) -> Result<Presence, DriverError> {
        let there = self
            .xml(id)
            .await?
            .contains("<watchdog model='i6300esb' action='reset'>");
        Ok(if there { Presence::There } else { Presence::Gone })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_driver_does_what_every_driver_must() {
    let Some(uri) = host::uri() else { return };
    let connection = Connection::open(&uri.parse().unwrap(), &ConnectOptions::default())
        .await
        .unwrap();
    let fixture = Host {
        driver: Arc::new(host::driver(&uri)),
        hands: Arc::new(Hands {
            connection,
            files: tempfile::TempDir::new().unwrap(),
        }),
    };
    let filter = std::env::var("LABYARD_TEST_CASES").unwrap_or_default();
    let report = conformance::run(&fixture, &filter).await;
    println!("{report}");
    report.assert_passed();
}
