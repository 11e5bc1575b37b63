//! The engine that a daemon is. Each reading is a request, each change an operation of the daemon that is followed to its
//! end ([`crate::follow`]); what both say is written as engines write it (`labyard_reconciler::wire`).

use async_trait::async_trait;
use labyard_api::client::{Call, Client, ClientError};
use labyard_api::host::Wish;
use labyard_api::routes::Op;
use labyard_api::vm::{Destroy, Found, LONGEST_LIMIT_S, PutVm, Vm};
use labyard_api::{image, network, problem::Problem};
use labyard_driver::ids::{HostName, MacAddr, Namespace, ObjectId, ObjectName};
use labyard_driver::mark::Mark;
use labyard_driver::observed::{DhcpLease, HostFacts, HostFile, Offers, Room, Snapshot};
use labyard_reconciler::EngineError;
use labyard_reconciler::capacity::HostCapacity;
use labyard_reconciler::derived::Taken;
use labyard_reconciler::desired::{DesiredMachine, DesiredNetwork};
use labyard_reconciler::engine::{
    Access, Admission, AtStage, Bounds, Capture, CaptureStage, Captured, Departure, DesiredOn, Engine,
    HostImage, Look, Members, ObjectRef, Reading, ReportOn, Run, Traffic, Want,
};
use labyard_reconciler::host::Cordon;
use labyard_reconciler::run::Report;
use labyard_reconciler::steps::Progress;
use labyard_reconciler::view::{MachineView, NetworkView};
use labyard_reconciler::wire::Known;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::daemon::Daemon;
use crate::follow::{Follow, strange};
use crate::images;
use crate::uploads::Uploads;

/// How long the end of a run may wait for what it confirms.
const CONFIRM: Duration = Duration::from_secs(2);
/// How long the removal of an image may take.
const FORGET: Duration = Duration::from_secs(10 * 60);

/// The engine that a daemon is.
pub struct RemoteEngine {
    client: Client,
    endpoint: String,
    hosts: BTreeMap<HostName, Wish>,
    access: Access,
    /// What this run was told of: it is confirmed at its end.
    told: Mutex<Vec<ObjectRef>>,
    uploads: Uploads,
}

impl RemoteEngine {
    /// That of a daemon, with the hosts that it said.
    #[must_use]
    pub fn new(daemon: &Daemon, access: Access) -> Self {
        let hosts = daemon.hosts.iter();
        Self {
            client: daemon.client.clone(),
            endpoint: daemon.endpoint.clone(),
            hosts: hosts
                .map(|host| (HostName(host.name.clone()), host.wish))
                .collect(),
            access,
            told: Mutex::default(),
            uploads: Uploads::default(),
        }
    }

    /// What a reading answers.
    async fn read<T: DeserializeOwned>(&self, op: Op, call: Call, what: &str) -> Result<T, EngineError> {
        let answered = self.client.read::<T>(op, call).await;
        Ok(answered.map_err(|error| self.met(&error, what))?.value)
    }

    /// A client's error as the daemon's engine met it, or as the way to it failed.
    fn met(&self, error: &ClientError, what: &str) -> EngineError {
        met(error, &format!("{what}, by the daemon {}", self.endpoint))
    }

    /// Has a change made, and follows it to its end.
    async fn change(
        &self,
        asked: (Op, Call),
        what: &str,
        bounds: &Bounds,
        report: ReportOn<'_>,
    ) -> Result<Value, EngineError> {
        let reached = |value: &Value| {
            if let Ok(Reached { host, progress }) = Reached::deserialize(value) {
                report(&host, &progress);
            }
        };
        self.followed(asked, what, bounds, &reached).await
    }

    /// The same, told of all that the daemon writes of how far it is.
    async fn followed(
        &self,
        (op, call): (Op, Call),
        what: &str,
        bounds: &Bounds,
        reached: &(dyn Fn(&Value) + Send + Sync),
    ) -> Result<Value, EngineError> {
        let follow = Follow {
            client: &self.client,
            what: format!("{what}, by the daemon {}", self.endpoint),
            bounds,
            reached,
        };
        follow.change(op, call).await
    }

    /// A machine with the images of this computer sent.
    async fn sent(
        &self,
        machine: (&DesiredMachine, Option<&DesiredMachine>),
        bounds: &Bounds,
    ) -> Result<DesiredMachine, EngineError> {
        self.uploads.sent(&self.client, machine, bounds).await
    }

    fn may_change(&self, host: &HostName, what: String) -> Result<(), EngineError> {
        match self.access {
            Access::Full => Ok(()),
            Access::ReadOnly => Err(EngineError::ReadOnly {
                host: host.clone(),
                what,
            }),
        }
    }

    /// Remembers an object that Terraform is told of.
    fn tell(&self, object: ObjectRef) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|other| other.id != object.id || other.host != object.host);
        told.push(object);
    }

    /// A machine as an operation left it.
    fn machine(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        result: &Value,
    ) -> Result<(HostName, MachineView), EngineError> {
        let host: HostName = part(result, "host")?;
        let view: MachineView = part(result, "view")?;
        self.tell(ObjectRef {
            host: host.clone(),
            namespace: namespace.clone(),
            name: name.clone(),
            identity: view.identity().cloned(),
            id: Some(view.id.clone()),
            pools: Default::default(),
        });
        Ok((host, view))
    }

    /// Says that Terraform has a machine.
    async fn confirm(&self, object: &ObjectRef) -> Result<(), EngineError> {
        let what = machine_named(&object.name);
        let _: Value = self.read(Op::ConfirmVm, about(object), &what).await?;
        Ok(())
    }
}

/// How far a change of a machine is.
#[derive(Deserialize)]
struct Reached {
    host: HostName,
    progress: Progress,
}

/// A client's error as the daemon's engine met it, or as the way to it failed.
pub(crate) fn met(error: &ClientError, what: &str) -> EngineError {
    if let ClientError::Refused(problem) = error
        && let Some(engine) = &problem.engine
        && let Ok(told) = serde_json::from_value(engine.clone())
    {
        return told;
    }
    EngineError::Daemon {
        what: what.to_owned(),
        why: error.to_string(),
    }
}

fn part<T: DeserializeOwned>(of: &Value, name: &str) -> Result<T, EngineError> {
    serde_json::from_value(of.get(name).cloned().unwrap_or_default())
        .map_err(|error| strange(format!("{name} of a result: {error}")))
}

fn machine_named(name: &ObjectName) -> String {
    format!("labyard_vm {:?}", name.as_str())
}

fn network_named(name: &ObjectName) -> String {
    format!("labyard_network {:?}", name.as_str())
}

/// What only those ask for who have the hosts themselves.
fn not_served(what: &str) -> EngineError {
    EngineError::Daemon {
        what: what.to_owned(),
        why: "this is not done over a daemon".to_owned(),
    }
}

fn written(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// A call about an object of a state.
fn about(object: &ObjectRef) -> Call {
    let known = written(&Known::from(object)).to_string();
    on(&object.host, object.name.as_str(), &object.namespace).query("object", Some(known))
}

/// A call about what a host has under a name.
fn on(host: &HostName, name: &str, namespace: &Namespace) -> Call {
    Call::of(&[host.as_str(), name]).query("namespace", Some(namespace))
}

/// A reading of an object, or that it is gone.
fn reading<T: DeserializeOwned>(
    answered: Result<Option<Value>, ClientError>,
    what: &str,
) -> Result<Reading<T>, EngineError> {
    match answered {
        Ok(reading) => serde_json::from_value(reading.unwrap_or_default())
            .map_err(|error| strange(format!("{what}: {error}"))),
        Err(ClientError::Refused(problem)) if is_gone(&problem) => Ok(Reading::Gone),
        Err(error) => Err(met(&error, what)),
    }
}

fn is_gone(problem: &Problem) -> bool {
    problem.kind() == "gone"
}

fn limit(bounds: &Bounds) -> Option<u64> {
    Some(bounds.limit.as_secs().clamp(1, LONGEST_LIMIT_S))
}

#[async_trait]
impl Engine for RemoteEngine {
    fn hosts(&self) -> Vec<HostName> {
        self.hosts.keys().cloned().collect()
    }

    async fn facts(&self, host: &HostName) -> Result<HostFacts, EngineError> {
        let call = Call::of(&[host.as_str()]);
        self.read(Op::HostFacts, call, &format!("host {host}")).await
    }

    async fn offers(&self, host: &HostName) -> Result<Offers, EngineError> {
        let call = Call::of(&[host.as_str()]);
        self.read(Op::HostOffers, call, &format!("host {host}")).await
    }

    async fn leases(&self, host: &HostName, network: &ObjectId) -> Result<Vec<DhcpLease>, EngineError> {
        let call = Call::of(&[host.as_str(), network.as_str()]);
        self.read(Op::ShowLeases, call, &format!("host {host}")).await
    }

    async fn snapshot(&self, host: &HostName) -> Result<Arc<Snapshot>, EngineError> {
        let call = Call::of(&[host.as_str()]);
        let snapshot: Snapshot = self.read(Op::HostSnapshot, call, &format!("host {host}")).await?;
        Ok(Arc::new(snapshot))
    }

    async fn read_machine(&self, object: &ObjectRef) -> Result<Reading<MachineView>, EngineError> {
        let answered = self.client.read::<Vm>(Op::ShowVm, about(object)).await;
        let answered = answered.map(|answered| answered.value.reading);
        reading(answered, &machine_named(&object.name))
    }

    async fn room(&self, object: &ObjectRef) -> Result<Option<Room>, EngineError> {
        self.read(Op::ShowRoom, about(object), &machine_named(&object.name))
            .await
    }

    async fn find_machine(
        &self,
        host: &HostName,
        namespace: &Namespace,
        id: &str,
    ) -> Result<(MachineView, Option<Mark>), EngineError> {
        let what = format!("labyard_vm {id:?}");
        let found: Found = self.read(Op::FindVm, on(host, id, namespace), &what).await?;
        let view = serde_json::from_value(found.view).map_err(|error| strange(format!("{what}: {error}")))?;
        let mark = found.mark.map(serde_json::from_value).transpose();
        Ok((view, mark.map_err(|error| strange(format!("{what}: {error}")))?))
    }

    async fn read_seed(
        &self,
        host: &HostName,
        mark: &Mark,
    ) -> Result<Option<labyard_reconciler::seed::Contents>, EngineError> {
        let call = on(host, mark.name.as_str(), &mark.namespace);
        self.read(Op::ShowSeed, call, &machine_named(&mark.name)).await
    }

    async fn create_machine(
        &self,
        host: &HostName,
        desired: &DesiredMachine,
        bounds: Bounds,
        report: Report<'_>,
    ) -> Result<MachineView, EngineError> {
        let what = machine_named(&desired.name);
        self.may_change(host, what.clone())?;
        let sent = self.sent((desired, None), &bounds).await?;
        let asked = PutVm {
            desired: Some(written(&sent)),
            limit_s: limit(&bounds),
            ..PutVm::default()
        };
        let call = on(host, desired.name.as_str(), &desired.namespace).json(&asked);
        let report = |_: &HostName, progress: &Progress| report(progress);
        let result = self.change((Op::PutVm, call), &what, &bounds, &report).await?;
        Ok(self.machine(&desired.namespace, &desired.name, &result)?.1)
    }

    async fn update_machine(
        &self,
        object: &ObjectRef,
        known: &DesiredMachine,
        desired: &DesiredMachine,
        bounds: Bounds,
        report: Report<'_>,
    ) -> Result<MachineView, EngineError> {
        let what = machine_named(&object.name);
        self.may_change(&object.host, what.clone())?;
        let sent = self.sent((desired, Some(known)), &bounds).await?;
        let asked = PutVm {
            desired: Some(written(&sent)),
            known: Some(written(known)),
            object: Some(written(&Known::from(object))),
            limit_s: limit(&bounds),
            ..PutVm::default()
        };
        let call = on(&object.host, object.name.as_str(), &object.namespace).json(&asked);
        let report = |_: &HostName, progress: &Progress| report(progress);
        let result = self.change((Op::PutVm, call), &what, &bounds, &report).await?;
        Ok(self.machine(&desired.namespace, &desired.name, &result)?.1)
    }

    async fn destroy_machine(
        &self,
        object: &ObjectRef,
        known: &DesiredMachine,
        bounds: Bounds,
    ) -> Result<(), EngineError> {
        let what = machine_named(&object.name);
        self.may_change(&object.host, what.clone())?;
        let asked = Destroy {
            known: written(known),
            object: written(&Known::from(object)),
            limit_s: limit(&bounds),
        };
        let call = on(&object.host, object.name.as_str(), &object.namespace).json(&asked);
        self.change((Op::DestroyVm, call), &what, &bounds, &|_, _| {})
            .await?;
        Ok(())
    }

    async fn read_network(&self, object: &ObjectRef) -> Result<Reading<NetworkView>, EngineError> {
        let answered = self
            .client
            .read::<network::Network>(Op::ShowNetwork, about(object))
            .await;
        let answered = answered.map(|answered| answered.value.reading);
        reading(answered, &network_named(&object.name))
    }

    async fn find_network(
        &self,
        host: &HostName,
        namespace: &Namespace,
        id: &str,
    ) -> Result<NetworkView, EngineError> {
        let what = format!("labyard_network {id:?}");
        let found: Found = self.read(Op::FindNetwork, on(host, id, namespace), &what).await?;
        serde_json::from_value(found.view).map_err(|error| strange(format!("{what}: {error}")))
    }

    async fn create_network(
        &self,
        host: &HostName,
        desired: &DesiredNetwork,
        bounds: Bounds,
    ) -> Result<NetworkView, EngineError> {
        let what = network_named(&desired.name);
        self.may_change(host, what.clone())?;
        let asked = PutVm {
            desired: Some(written(desired)),
            limit_s: limit(&bounds),
            ..PutVm::default()
        };
        let call = on(host, desired.name.as_str(), &desired.namespace).json(&asked);
        let result = self
            .change((Op::PutNetwork, call), &what, &bounds, &|_, _| {})
            .await?;
        part(&result, "view")
    }

    async fn update_network(
        &self,
        object: &ObjectRef,
        desired: &DesiredNetwork,
        bounds: Bounds,
    ) -> Result<NetworkView, EngineError> {
        let what = network_named(&object.name);
        self.may_change(&object.host, what.clone())?;
        let asked = PutVm {
            desired: Some(written(desired)),
            object: Some(written(&Known::from(object))),
            limit_s: limit(&bounds),
            ..PutVm::default()
        };
        let call = on(&object.host, object.name.as_str(), &object.namespace).json(&asked);
        let result = self
            .change((Op::PutNetwork, call), &what, &bounds, &|_, _| {})
            .await?;
        part(&result, "view")
    }

    async fn destroy_network(&self, object: &ObjectRef, bounds: Bounds) -> Result<(), EngineError> {
        let what = network_named(&object.name);
        self.may_change(&object.host, what.clone())?;
        let call = about(object);
        self.change((Op::DeleteNetwork, call), &what, &bounds, &|_, _| {})
            .await?;
        Ok(())
    }

    fn cordon(&self, host: &HostName) -> Cordon {
        match self.hosts.get(host) {
            Some(Wish::Open) => Cordon::Open,
            Some(Wish::Cordoned | Wish::Draining) | None => Cordon::Closed,
        }
    }

    async fn capacity(&self, host: &HostName, look: Look<'_>) -> Result<HostCapacity, EngineError> {
        let now = match look {
            Look::Recent => None,
            Look::Now(pools) => {
                let names: Vec<&str> = pools.iter().map(|pool| pool.as_str()).collect();
                Some(names.join(","))
            }
        };
        let call = Call::of(&[host.as_str()]).query("now", now);
        self.read(Op::HostCapacity, call, &format!("host {host}")).await
    }

    async fn taken(
        &self,
        host: &HostName,
        namespace: &Namespace,
        name: &ObjectName,
    ) -> Result<Taken, EngineError> {
        let call = Call::of(&[host.as_str()])
            .query("namespace", Some(namespace))
            .query("name", Some(name));
        self.read(Op::HostTaken, call, &format!("host {host}")).await
    }

    async fn host_file(&self, host: &HostName, path: &str) -> Result<Option<HostFile>, EngineError> {
        if self.access == Access::ReadOnly {
            return Ok(None);
        }
        let call = Call::of(&[host.as_str()]).query("path", Some(path));
        self.read(Op::HostFile, call, &format!("{path} on host {host}"))
            .await
    }

    async fn place_machine(
        &self,
        want: &Want,
        desired: DesiredOn<'_>,
        bounds: Bounds,
        report: ReportOn<'_>,
    ) -> Result<HostName, EngineError> {
        let what = machine_named(&want.name);
        let may_be_on = |host: &&HostName| want.hosts.as_ref().is_none_or(|hosts| hosts.contains(*host));
        let (mut by_host, mut failed) = (BTreeMap::new(), None);
        for host in self.hosts.keys().filter(may_be_on) {
            self.may_change(host, what.clone())?;
            let decided = async {
                let facts = self.facts(host).await?;
                let taken = self.taken(host, &want.namespace, &want.name).await?;
                Ok::<_, EngineError>((facts.uuid.clone(), desired(&facts, &taken)?))
            };
            match decided.await {
                Ok((uuid, decided)) => {
                    let sent = self.sent((&decided, None), &bounds).await?;
                    by_host.insert(uuid, sent);
                }
                // The daemon says why this host is none, if no other is one.
                Err(error) => failed = Some(error),
            }
        }
        if let (true, Some(error)) = (by_host.is_empty(), failed) {
            return Err(error);
        }
        let asked = PutVm {
            desired: Some(written(&by_host)),
            want: Some(written(want)),
            limit_s: limit(&bounds),
            ..PutVm::default()
        };
        let call = Call::default()
            .query("namespace", Some(&want.namespace))
            .json(&asked);
        let result = self.change((Op::PlaceVm, call), &what, &bounds, report).await?;
        Ok(self.machine(&want.namespace, &want.name, &result)?.0)
    }

    async fn addresses(&self, host: &HostName, id: &ObjectId) -> Result<Vec<(MacAddr, IpAddr)>, EngineError> {
        let call = Call::of(&[host.as_str(), id.as_str()]);
        self.read(Op::ShowAddresses, call, &format!("host {host}")).await
    }

    async fn keep_moment(&self, _: &ObjectRef, _: Bounds) -> Result<(), EngineError> {
        Err(not_served("keeping a machine's moment"))
    }

    async fn reset_machine(&self, _: &ObjectRef, _: Bounds) -> Result<(), EngineError> {
        Err(not_served("putting a machine back"))
    }

    async fn hold_machine(&self, _: &ObjectRef, _: Bounds) -> Result<(), EngineError> {
        Err(not_served("holding a machine"))
    }

    async fn wake_machine(&self, _: &ObjectRef, _: Bounds) -> Result<(), EngineError> {
        Err(not_served("waking a machine"))
    }

    async fn admit(&self, _: &ObjectRef, _: &Admission, _: Bounds) -> Result<(), EngineError> {
        Err(not_served("letting a user into a guest"))
    }

    async fn dismiss(&self, _: &ObjectRef, _: Departure, _: Bounds) -> Result<(), EngineError> {
        Err(not_served("taking a user out of a guest"))
    }

    async fn traffic(&self, _: &ObjectRef) -> Result<Traffic, EngineError> {
        Err(not_served("looking who is connected"))
    }

    async fn members(&self, _: &HostName) -> Result<Members, EngineError> {
        Err(not_served("looking at the machines of pools"))
    }

    async fn confirm_machine(&self, object: &ObjectRef) -> Result<(), EngineError> {
        self.confirm(object).await
    }

    async fn images(&self, host: &HostName) -> Result<Vec<HostImage>, EngineError> {
        let call = Call::default().query("host", Some(host));
        let what = format!("the images of host {host}");
        let found: image::Images = self.read(Op::ListImages, call, &what).await?;
        match found.unread.into_iter().next() {
            Some(unread) => Err(EngineError::HostUnreadable {
                host: host.clone(),
                message: unread.why,
            }),
            None => found.items.iter().map(images::kept).collect(),
        }
    }

    async fn capture_machine(
        &self,
        object: &ObjectRef,
        capture: &Capture,
        bounds: Bounds,
        at: AtStage<'_>,
    ) -> Result<Captured, EngineError> {
        let what = machine_named(&object.name);
        self.may_change(&object.host, what.clone())?;
        let asked = images::asked(capture, written(&Known::from(object)), limit(&bounds));
        let call = on(&object.host, object.name.as_str(), &object.namespace).json(&asked);
        let reached = |value: &Value| {
            if let Ok(stage) = part::<CaptureStage>(value, "capture") {
                at(stage);
            }
        };
        let result = self
            .followed((Op::CaptureVm, call), &what, &bounds, &reached)
            .await?;
        images::captured(result)
    }

    async fn forget_image(&self, host: &HostName, image: &HostImage) -> Result<(), EngineError> {
        let what = format!(
            "image:{}@{} on host {host}",
            image.image.name, image.image.revision
        );
        self.may_change(host, what.clone())?;
        let revision = image.image.revision.to_string();
        let call = Call::of(&[host.as_str(), image.image.name.as_str(), &revision])
            .query("namespace", Some(&image.image.namespace));
        let bounds = Bounds {
            cancel: Default::default(),
            limit: FORGET,
            reserve: Default::default(),
            fence: None,
        };
        self.change((Op::DeleteImage, call), &what, &bounds, &|_, _| {})
            .await?;
        Ok(())
    }

    async fn finish(&self, run: Run) {
        let told = std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner));
        if run == Run::Stopped || self.access == Access::ReadOnly {
            return;
        }
        let confirmed = futures::future::join_all(told.iter().map(|object| async move {
            if let Err(error) = self.confirm(object).await {
                tracing::warn!(%error, name = %object.name, "not confirmed; a later run does it");
            }
        }));
        if tokio::time::timeout(CONFIRM, confirmed).await.is_err() {
            tracing::warn!("not all machines could be confirmed in time; a later run does it");
        }
    }
}
