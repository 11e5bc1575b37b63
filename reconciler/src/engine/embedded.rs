//! The engine in this very process.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use labyard_driver::DriverError;
use labyard_driver::ids::{HostName, MacAddr, Namespace, NicKey, ObjectId, ObjectName};
use labyard_driver::mark::{Kind, Mark, Stage};
use labyard_driver::observed::{DhcpLease, HostFacts, HostFile, Offers, Room, Snapshot};
use labyard_driver::screen::Callers;

use super::patience::patiently;
use super::{
    Admission, AtStage, Bounds, Capture, Captured, ClaimNetwork, Departure, Deps, DesiredOn, Engine,
    HostImage, Look, Members, ObjectRef, Reading, Removal, ReportOn, Run, StandingNetwork, Traffic, Want,
};
use crate::capacity::HostCapacity;
use crate::derived::Taken;
use crate::desired::{DesiredMachine, DesiredNetwork};
use crate::error::EngineError;
use crate::host::{Cordon, Host};
use crate::keeper::Keeper;
use crate::run::Report;
use crate::view::{MachineView, NetworkView};

/// Drives hosts from this process.
pub struct Embedded {
    pub(super) hosts: BTreeMap<HostName, Arc<Host>>,
    pub(super) deps: Arc<Deps>,
    pub(super) keeper: Arc<Keeper>,
    /// Held while a host is chosen for a machine.
    pub(super) choosing: std::sync::Mutex<()>,
    /// Confirmations under way, waited for at the end.
    pub(super) background: std::sync::Mutex<tokio::task::JoinSet<()>>,
    pub(super) access: Access,
}

/// What an engine may do to its hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    #[default]
    Full,
    /// Read.
    ReadOnly,
}

impl Embedded {
    /// An engine over these hosts; nothing is contacted yet.
    pub fn new(hosts: impl IntoIterator<Item = Host>, deps: Deps) -> Self {
        let hosts: BTreeMap<_, _> = hosts
            .into_iter()
            .map(|host| (host.name.clone(), Arc::new(host)))
            .collect();
        for host in hosts.values() {
            let others = hosts.values().filter(|other| other.name != host.name);
            host.images.meet(others.map(Arc::downgrade).collect());
        }
        Self {
            hosts,
            deps: Arc::new(deps),
            keeper: Arc::new(Keeper::default()),
            choosing: std::sync::Mutex::default(),
            background: std::sync::Mutex::default(),
            access: Access::Full,
        }
    }

    /// The same with other access.
    #[must_use]
    pub fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// A verb on a machine that stands, as often as it takes within its bounds.
    async fn with_machine<'a, T: Send>(
        &self,
        object: &ObjectRef,
        bounds: &Bounds,
        attempt: impl FnMut() -> BoxFuture<'a, Result<T, EngineError>> + Send,
    ) -> Result<T, EngineError> {
        self.may_change(&object.host, Kind::Machine, object.name.as_str())?;
        let host = self.host(&object.host)?;
        let what = describe(Kind::Machine, object.name.as_str());
        patiently(host, &what, bounds, Stage::Ready, attempt).await
    }

    /// Refuses to change an object where hosts are only read.
    fn may_change(&self, host: &HostName, kind: Kind, name: &str) -> Result<(), EngineError> {
        match self.access {
            Access::Full => Ok(()),
            Access::ReadOnly => Err(EngineError::ReadOnly {
                host: host.clone(),
                what: describe(kind, name),
            }),
        }
    }

    pub(super) fn host(&self, name: &HostName) -> Result<&Arc<Host>, EngineError> {
        self.hosts.get(name).ok_or_else(|| EngineError::UnknownHost {
            host: name.to_string(),
            known: self
                .hosts
                .keys()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        })
    }
}

#[async_trait]
impl Engine for Embedded {
    fn hosts(&self) -> Vec<HostName> {
        self.hosts.keys().cloned().collect()
    }

    async fn facts(&self, host: &HostName) -> Result<HostFacts, EngineError> {
        Ok(self.host(host)?.recent().await?.host.clone())
    }

    async fn offers(&self, host: &HostName) -> Result<Offers, EngineError> {
        self.host(host)?.offers().await
    }

    async fn leases(&self, host: &HostName, network: &ObjectId) -> Result<Vec<DhcpLease>, EngineError> {
        let host = self.host(host)?;
        let leases = host.driver.leases(network).await;
        leases.map_err(host.failed(format!("network {network}")))
    }

    async fn snapshot(&self, host: &HostName) -> Result<Arc<Snapshot>, EngineError> {
        crate::foreign::with_foreign(self.host(host)?).await
    }

    async fn read_machine(&self, object: &ObjectRef) -> Result<Reading<MachineView>, EngineError> {
        self.machine_read(object).await
    }

    async fn room(&self, object: &ObjectRef) -> Result<Option<Room>, EngineError> {
        let snapshot = self.host(&object.host)?.recent().await?;
        let machine = super::machines::find_in(&snapshot, object);
        Ok(machine.and_then(|machine| machine.detail.known()?.room))
    }

    async fn find_machine(
        &self,
        host: &HostName,
        namespace: &Namespace,
        id: &str,
    ) -> Result<(MachineView, Option<Mark>), EngineError> {
        self.machine_find(host, namespace, id).await
    }

    async fn read_seed(
        &self,
        host: &HostName,
        mark: &Mark,
    ) -> Result<Option<crate::seed::Contents>, EngineError> {
        self.seed_read(host, mark).await
    }

    async fn create_machine(
        &self,
        host: &HostName,
        desired: &DesiredMachine,
        bounds: Bounds,
        report: Report<'_>,
    ) -> Result<MachineView, EngineError> {
        self.may_change(host, Kind::Machine, desired.name.as_str())?;
        self.machine_create(host, desired, bounds, report).await
    }

    async fn update_machine(
        &self,
        object: &ObjectRef,
        known: &DesiredMachine,
        desired: &DesiredMachine,
        bounds: Bounds,
        report: Report<'_>,
    ) -> Result<MachineView, EngineError> {
        self.may_change(&object.host, Kind::Machine, object.name.as_str())?;
        self.machine_update(object, known, desired, bounds, report).await
    }

    async fn destroy_machine(
        &self,
        object: &ObjectRef,
        known: &DesiredMachine,
        bounds: Bounds,
    ) -> Result<(), EngineError> {
        self.may_change(&object.host, Kind::Machine, object.name.as_str())?;
        self.machine_destroy(object, known, bounds).await
    }

    async fn read_network(&self, object: &ObjectRef) -> Result<Reading<NetworkView>, EngineError> {
        self.network_read(object).await
    }

    async fn find_network(
        &self,
        host: &HostName,
        namespace: &Namespace,
        id: &str,
    ) -> Result<NetworkView, EngineError> {
        self.network_find(host, namespace, id).await
    }

    async fn create_network(
        &self,
        host: &HostName,
        desired: &DesiredNetwork,
        bounds: Bounds,
    ) -> Result<NetworkView, EngineError> {
        self.may_change(host, Kind::Network, desired.name.as_str())?;
        self.network_create(host, desired, bounds).await
    }

    async fn update_network(
        &self,
        object: &ObjectRef,
        desired: &DesiredNetwork,
        bounds: Bounds,
    ) -> Result<NetworkView, EngineError> {
        self.may_change(&object.host, Kind::Network, object.name.as_str())?;
        let (host, what) = (
            self.host(&object.host)?,
            describe(Kind::Network, object.name.as_str()),
        );
        let change = || self.network_update(object, desired, bounds.clone()).boxed();
        patiently(host, &what, &bounds, Stage::Define, change).await
    }

    async fn destroy_network(&self, object: &ObjectRef, bounds: Bounds) -> Result<(), EngineError> {
        self.may_change(&object.host, Kind::Network, object.name.as_str())?;
        let (host, what) = (
            self.host(&object.host)?,
            describe(Kind::Network, object.name.as_str()),
        );
        let remove = || self.network_destroy(object).boxed();
        patiently(host, &what, &bounds, Stage::Define, remove).await
    }

    fn cordon(&self, host: &HostName) -> Cordon {
        self.hosts
            .get(host)
            .map_or(Cordon::Open, |host| host.policy.cordon)
    }

    async fn capacity(&self, host: &HostName, look: Look<'_>) -> Result<HostCapacity, EngineError> {
        self.host_capacity(self.host(host)?, look).await
    }

    async fn taken(
        &self,
        host: &HostName,
        namespace: &Namespace,
        name: &ObjectName,
    ) -> Result<Taken, EngineError> {
        let snapshot = self.host(host)?.recent().await?;
        Ok(Taken::on(&snapshot, namespace, name))
    }

    async fn host_file(&self, host: &HostName, path: &str) -> Result<Option<HostFile>, EngineError> {
        if self.access == Access::ReadOnly {
            return Ok(None);
        }
        let host = self.host(host)?;
        match host.driver.host_file(path).await {
            Err(DriverError::Unsupported { .. }) => Ok(None),
            other => other.map(Some).map_err(host.failed(format!("file {path}"))),
        }
    }

    async fn place_machine(
        &self,
        want: &Want,
        desired: DesiredOn<'_>,
        bounds: Bounds,
        report: ReportOn<'_>,
    ) -> Result<HostName, EngineError> {
        self.machine_place(want, desired, bounds, report).await
    }

    async fn addresses(
        &self,
        host: &HostName,
        id: &ObjectId,
    ) -> Result<Vec<(MacAddr, std::net::IpAddr)>, EngineError> {
        let host = self.host(host)?;
        host.driver
            .addresses(id)
            .await
            .map_err(host.failed(format!("machine {id}")))
    }

    async fn keep_moment(&self, object: &ObjectRef, bounds: Bounds) -> Result<(), EngineError> {
        let keep = || self.moment_keep(object, &bounds).boxed();
        self.with_machine(object, &bounds, keep).await
    }

    async fn reset_machine(&self, object: &ObjectRef, bounds: Bounds) -> Result<(), EngineError> {
        let reset = || self.machine_reset(object, &bounds).boxed();
        self.with_machine(object, &bounds, reset).await
    }

    async fn await_agent(&self, object: &ObjectRef, bounds: Bounds) -> Result<(), EngineError> {
        let wait = || self.agent_awaited(object, &bounds).boxed();
        self.with_machine(object, &bounds, wait).await
    }

    async fn lock_password(&self, object: &ObjectRef, user: &str, bounds: Bounds) -> Result<(), EngineError> {
        let lock = || self.password_locked(object, user, &bounds).boxed();
        self.with_machine(object, &bounds, lock).await
    }

    async fn hold_machine(&self, object: &ObjectRef, bounds: Bounds) -> Result<(), EngineError> {
        let hold = || self.machine_hold(object, &bounds).boxed();
        self.with_machine(object, &bounds, hold).await
    }

    async fn wake_machine(&self, object: &ObjectRef, bounds: Bounds) -> Result<(), EngineError> {
        let wake = || self.machine_wake(object, &bounds).boxed();
        self.with_machine(object, &bounds, wake).await
    }

    async fn screen_machine(
        &self,
        object: &ObjectRef,
        callers: &Callers,
        bounds: Bounds,
    ) -> Result<(), EngineError> {
        let screen = || self.machine_screen(object, callers, &bounds).boxed();
        self.with_machine(object, &bounds, screen).await
    }

    async fn renew_screen(&self, object: &ObjectRef) -> Result<bool, EngineError> {
        self.may_change(&object.host, Kind::Machine, object.name.as_str())?;
        self.screen_renewed(object).await
    }

    async fn make_claim_network(
        &self,
        host: &HostName,
        network: &ClaimNetwork,
        bounds: Bounds,
    ) -> Result<StandingNetwork, EngineError> {
        self.may_change(host, Kind::Network, &network.claim)?;
        self.claim_network_made(host, network, &bounds).await
    }

    async fn remove_claim_network(
        &self,
        host: &HostName,
        claim: &str,
        bounds: Bounds,
    ) -> Result<Removal, EngineError> {
        self.may_change(host, Kind::Network, claim)?;
        self.claim_network_removed(host, claim, &bounds).await
    }

    async fn lend_nic(
        &self,
        object: &ObjectRef,
        nic: &NicKey,
        network: &StandingNetwork,
        bounds: Bounds,
    ) -> Result<Vec<std::net::IpAddr>, EngineError> {
        let lend = || self.nic_lent(object, (nic, network), &bounds).boxed();
        self.with_machine(object, &bounds, lend).await
    }

    async fn admit(
        &self,
        object: &ObjectRef,
        admission: &Admission,
        bounds: Bounds,
    ) -> Result<(), EngineError> {
        let admit = || self.user_admit(object, admission, &bounds).boxed();
        self.with_machine(object, &bounds, admit).await
    }

    async fn dismiss(
        &self,
        object: &ObjectRef,
        departure: Departure,
        bounds: Bounds,
    ) -> Result<(), EngineError> {
        let dismiss = || self.user_dismiss(object, departure, &bounds).boxed();
        self.with_machine(object, &bounds, dismiss).await
    }

    async fn traffic(&self, object: &ObjectRef) -> Result<Traffic, EngineError> {
        self.guest_traffic(object).await
    }

    async fn members(&self, host: &HostName) -> Result<Members, EngineError> {
        super::members::on(self.host(host)?).await
    }

    async fn confirm_machine(&self, object: &ObjectRef) -> Result<(), EngineError> {
        self.may_change(&object.host, Kind::Machine, object.name.as_str())?;
        self.machine_confirm(object).await
    }

    async fn images(&self, host: &HostName) -> Result<Vec<HostImage>, EngineError> {
        self.images_of(host).await
    }

    async fn capture_machine(
        &self,
        object: &ObjectRef,
        capture: &Capture,
        bounds: Bounds,
        at: AtStage<'_>,
    ) -> Result<Captured, EngineError> {
        self.may_change(&object.host, Kind::Machine, object.name.as_str())?;
        self.machine_capture(object, capture, &bounds, at).await
    }

    async fn forget_image(&self, host: &HostName, image: &HostImage) -> Result<(), EngineError> {
        self.may_change(host, Kind::Machine, image.image.name.as_str())?;
        self.image_forget(host, image).await
    }

    async fn finish(&self, run: Run) {
        if run == Run::Through {
            self.keeper.confirm_answered(&self.deps).await;
        }
        let mut background = std::mem::take(
            &mut *self
                .background
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        while background.join_next().await.is_some() {}
    }
}

/// What an object is called when a person is told of it.
pub(crate) fn describe(kind: Kind, name: &str) -> String {
    match kind {
        Kind::Machine => format!("labyard_vm {name:?}"),
        Kind::Network => format!("labyard_network {name:?}"),
    }
}
