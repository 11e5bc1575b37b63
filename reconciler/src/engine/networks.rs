//! Networks: read, find, create, update, destroy.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use labyard_driver::DriverError;
use labyard_driver::ids::{HostName, Namespace, ObjectId};
use labyard_driver::mark::{Kind, Mark, Ownership, Stage};
use labyard_driver::observed::{MarkState, NetworkStanding, ObservedMachine, ObservedNetwork, Snapshot};
use labyard_driver::spec::NetworkSpec;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::claim::{Claim, Name, claim, same_host, same_owner};
use super::embedded::describe;
use super::machines::{RACES, keeps_busy, listing, refuse_other_namespace};
use super::patience::patiently;
use super::{Bounds, Deps, Embedded, ObjectRef, Reading};
use crate::desired::DesiredNetwork;
use crate::diff::{Disturbance, gravest, network::diff};
use crate::error::EngineError;
use crate::faults;
use crate::foreign::with_foreign;
use crate::hooks::Event;
use crate::host::Host;
use crate::identity;
use crate::journal::subject::{Subject, Watch};
use crate::lease;
use crate::record::Record;
use crate::view::{NetworkView, attached};

impl Embedded {
    pub(super) async fn network_read(&self, object: &ObjectRef) -> Result<Reading<NetworkView>, EngineError> {
        let host = self.host(&object.host)?;
        let snapshot = host.fresh().await?;
        let Some(network) = find_in(&snapshot, object) else {
            same_host(host, Kind::Network, object, &snapshot)?;
            return Ok(Reading::Gone);
        };
        same_owner(host, Kind::Network, object, network.mark.ours())?;
        if let Some(identity) = &object.identity
            && network
                .mark
                .ours()
                .is_some_and(|mark| mark.ownership == Ownership::Building)
        {
            self.confirm_later(host, Kind::Network, identity);
        }
        Ok(Reading::Present(Box::new(NetworkView::new(network, host.uuid()))))
    }

    pub(super) async fn network_find(
        &self,
        host: &HostName,
        namespace: &Namespace,
        id: &str,
    ) -> Result<NetworkView, EngineError> {
        let host = self.host(host)?;
        let snapshot = host.fresh().await?;
        let of_namespace = |n: &&ObservedNetwork| {
            n.mark
                .ours()
                .is_some_and(|mark| &mark.namespace == namespace && mark.name.as_str() == id)
        };
        let networks = &snapshot.networks;
        let found = networks.iter().find(of_namespace);
        let found = found.or_else(|| networks.iter().find(|n| n.host_name == id || n.id.as_str() == id));
        let Some(network) = found else {
            let names: Vec<_> = networks.iter().map(|n| n.host_name.as_str()).collect();
            let (host, what) = (host.name.clone(), describe(Kind::Network, id));
            return Err(EngineError::NotFound {
                host,
                what,
                found: listing(&names),
            });
        };
        refuse_other_namespace(host, Kind::Network, namespace, id, &network.mark)?;
        Ok(NetworkView::new(network, host.uuid()))
    }

    pub(super) async fn network_create(
        &self,
        host: &HostName,
        desired: &DesiredNetwork,
        bounds: Bounds,
    ) -> Result<NetworkView, EngineError> {
        let host = self.host(host)?.clone();
        let name = Name {
            kind: Kind::Network,
            namespace: &desired.namespace,
            name: &desired.name,
            member: None,
        };
        let (spec, made) = self.network_begin(&host, &name, desired, &bounds).await?;
        let record = Arc::new(Record::new(host.driver.clone(), made.id.clone(), spec.mark));
        self.keeper.hold(record, host.renewals.clone(), &self.deps);
        self.keeper.answered(&made.id);
        Ok(NetworkView::new(&made, host.uuid()))
    }

    /// Makes the network, or takes up the one that a dead builder left; looks again where another was faster.
    async fn network_begin(
        &self,
        host: &Host,
        name: &Name<'_>,
        desired: &DesiredNetwork,
        bounds: &Bounds,
    ) -> Result<(NetworkSpec, ObservedNetwork), EngineError> {
        let what = describe(Kind::Network, desired.name.as_str());
        let began = Instant::now();
        let mut races = 1;
        loop {
            let claim = claim(host, (&self.deps, &self.keeper), name, bounds).await?;
            let left = Bounds {
                limit: bounds.limit.saturating_sub(began.elapsed()),
                ..bounds.clone()
            };
            let (spec, made) = match claim {
                Claim::Adopted(id, mark) => {
                    let spec = network_spec(desired, id, *mark);
                    let passage = self.passage(host, &spec.mark, Event::Create);
                    let change = || told(host, &what, passage.changed_with_guests(&spec, &bounds.cancel));
                    let made = patiently(host, &what, &left, Stage::Define, change).await;
                    (spec, made)
                }
                Claim::Free => {
                    let id = identity::new_object_id(self.deps.random.as_ref());
                    let spec = network_spec(desired, id, self.network_mark(desired));
                    let passage = self.passage(host, &spec.mark, Event::Create);
                    let create = || told(host, &what, passage.stage(MAKE, created(host, &spec)));
                    let made = patiently(host, &what, &left, Stage::Define, create).await;
                    (spec, made)
                }
            };
            host.observer.invalidate_networks();
            let error = made.as_ref().err().and_then(EngineError::driver);
            if races < RACES && matches!(error, Some(DriverError::Exists { .. })) {
                races += 1;
                continue;
            }
            return Ok((spec, made?));
        }
    }

    pub(super) async fn network_update(
        &self,
        object: &ObjectRef,
        desired: &DesiredNetwork,
        bounds: Bounds,
    ) -> Result<NetworkView, EngineError> {
        let host = self.host(&object.host)?.clone();
        let what = describe(Kind::Network, object.name.as_str());
        // Whoever has come onto the network since the plan would be cut off.
        host.observer.invalidate_networks();
        let snapshot = with_foreign(&host).await?;
        let Some(network) = find_in(&snapshot, object) else {
            let host = host.name.clone();
            return Err(EngineError::NotFound {
                host,
                what,
                found: "it is gone; plan again".to_owned(),
            });
        };
        same_owner(&host, Kind::Network, object, network.mark.ours())?;
        let cuts = cuts_off(&host, &snapshot, network, desired, &what)?;
        let mut mark = match &network.mark {
            MarkState::Ours(mark) => (**mark).clone(),
            _ => self.network_mark(desired),
        };
        mark.wishes = desired.wishes.to_json();
        if mark.ownership == Ownership::Building {
            // The lease in it is of the run that did not come to its end.
            mark.lease = self.network_mark(desired).lease;
        }
        let spec = network_spec(desired, network.id.clone(), mark);
        let spec = NetworkSpec {
            host_name: network.host_name.clone(),
            ..spec
        };
        let passage = self.passage(&host, &spec.mark, Event::Update);
        let changed = match cuts {
            Cuts::Nobody => passage.stage(CHANGE, host.driver.change_network(&spec)).await,
            Cuts::Guests => passage.changed_with_guests(&spec, &bounds.cancel).await,
        };
        host.observer.invalidate_networks();
        let changed = settled(&host, &describe(Kind::Network, object.name.as_str()), changed?)?;
        if spec.mark.ownership == Ownership::Building {
            let record = Arc::new(Record::new(host.driver.clone(), changed.id.clone(), spec.mark));
            self.keeper.hold(record, host.renewals.clone(), &self.deps);
            self.keeper.answered(&changed.id);
        }
        Ok(NetworkView::new(&changed, host.uuid()))
    }

    pub(super) async fn network_destroy(&self, object: &ObjectRef) -> Result<(), EngineError> {
        let host = self.host(&object.host)?.clone();
        let what = describe(Kind::Network, object.name.as_str());
        host.observer.invalidate_networks();
        let snapshot = with_foreign(&host).await?;
        let Some(network) = find_in(&snapshot, object) else {
            return same_host(&host, Kind::Network, object, &snapshot);
        };
        same_owner(&host, Kind::Network, object, network.mark.ours())?;
        let Some(mark) = network.mark.ours() else {
            return Err(EngineError::NotOurs {
                host: host.name.clone(),
                what,
            });
        };
        super::machines::refuse_protected(&host, Kind::Network, &object.name, Some(mark))?;
        let users: Vec<_> = attached(&host.name, &snapshot, &network.host_name)?
            .iter()
            .map(|m| m.host_name.clone())
            .collect();
        if !users.is_empty() {
            let way_out = "remove or re-attach these machines first. Where the same apply moves them to another \
                           network, Terraform destroys this one before it does so, unless this one's resource says \
                           lifecycle { create_before_destroy = true }"
                .to_owned();
            return Err(EngineError::InUse {
                host: host.name.clone(),
                what,
                users: users.join(", "),
                way_out,
            });
        }
        let passage = self.passage(&host, mark, Event::Destroy);
        let removed = passage
            .stage(REMOVE, host.driver.remove_network(&network.id))
            .await;
        host.observer.invalidate_networks();
        self.keeper.drop_hold(&network.id);
        removed
    }

    fn passage<'a>(&'a self, host: &'a Host, mark: &'a Mark, event: Event) -> Passage<'a> {
        Passage {
            deps: &self.deps,
            host,
            mark,
            event,
        }
    }

    fn network_mark(&self, desired: &DesiredNetwork) -> Mark {
        let token = identity::new_token(self.deps.random.as_ref());
        let lease = lease::grant(
            &self.deps.engine,
            self.deps.processes.as_ref(),
            self.deps.clock.now(),
        );
        Mark {
            stage: Stage::Finished,
            lease: Some(lease),
            wishes: desired.wishes.to_json(),
            ..Mark::building(
                Kind::Network,
                desired.namespace.clone(),
                desired.name.clone(),
                token,
            )
        }
    }
}

/// Success means observed: a network that was made or changed runs as it is defined. A host may leave out of what
/// runs what it has taken into the definition.
fn settled(host: &Host, what: &str, network: ObservedNetwork) -> Result<ObservedNetwork, EngineError> {
    if network.standing == NetworkStanding::AsDefined {
        return Ok(network);
    }
    Err(EngineError::Unknown {
        host: host.name.clone(),
        what: what.to_owned(),
        why: "the host took the change and runs the network otherwise".to_owned(),
    })
}

/// An attempt at a network, up to where it runs as it is defined.
fn told<'a>(
    host: &'a Host,
    what: &'a str,
    attempt: impl Future<Output = Result<ObservedNetwork, EngineError>> + Send + 'a,
) -> BoxFuture<'a, Result<ObservedNetwork, EngineError>> {
    async move { settled(host, what, attempt.await?) }.boxed()
}

/// Makes a network; where the reply was lost, now or at an attempt before, the token tells whether what stands there
/// is this one.
async fn created(host: &Host, spec: &NetworkSpec) -> Result<ObservedNetwork, DriverError> {
    match host.driver.create_network(spec).await {
        Err(error @ (DriverError::ReplyLost { .. } | DriverError::Exists { .. })) => {
            match identity::by_token(host.driver.as_ref(), &spec.mark).await {
                Some(id) => {
                    host.driver
                        .change_network(&NetworkSpec { id, ..spec.clone() })
                        .await
                }
                None => Err(error),
            }
        }
        other => other,
    }
}

fn network_spec(desired: &DesiredNetwork, id: ObjectId, mark: Mark) -> NetworkSpec {
    NetworkSpec {
        id,
        host_name: identity::host_name(&desired.namespace, &desired.name),
        mark,
        mode: desired.mode,
        bridge: desired.bridge.clone(),
        address: desired.address,
        dhcp: desired.dhcp,
        domain: desired.domain.clone(),
        lan: desired.lan.clone(),
        boot: desired.boot.clone(),
        autostart: desired.autostart,
    }
}

/// The stages of a network.
const MAKE: &str = "make";
const CHANGE: &str = "change";
const REATTACH: &str = "reattach";
const REMOVE: &str = "remove";

/// A network under change, of whose stages the journal tells.
struct Passage<'a> {
    deps: &'a Arc<Deps>,
    host: &'a Host,
    mark: &'a Mark,
    event: Event,
}

impl Passage<'_> {
    async fn stage<T>(
        &self,
        stage: &'static str,
        work: impl Future<Output = Result<T, DriverError>>,
    ) -> Result<T, EngineError> {
        let subject = Subject::of_network(self.deps, &self.host.name, self.mark, (self.event, stage));
        let watch = Watch::begin(subject);
        let done = watch.over(work).await;
        let what = describe(Kind::Network, self.mark.name.as_str());
        watch.end(done.map_err(self.host.failed(what)))
    }

    /// Changes a network and puts its guests back on it. Killed in between, the network shows that it is behind.
    async fn changed_with_guests(
        &self,
        spec: &NetworkSpec,
        cancel: &CancellationToken,
    ) -> Result<ObservedNetwork, EngineError> {
        let driver = &self.host.driver;
        self.stage(CHANGE, driver.change_network(spec)).await?;
        faults::network_changed(&spec.host_name, cancel).await;
        self.stage(REATTACH, async {
            driver.reattach_guests(&spec.id).await?;
            driver.network(&spec.id).await
        })
        .await
    }
}

/// Whom a change cuts off from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cuts {
    /// Nobody.
    Nobody,
    /// Guests of labyard's, to be put back.
    Guests,
}

/// Whom a change cuts off. Refused where machines run on it that could not stay with the addresses they have, or that
/// are not labyard's to put back.
fn cuts_off(
    host: &Host,
    snapshot: &Snapshot,
    network: &ObservedNetwork,
    desired: &DesiredNetwork,
    what: &str,
) -> Result<Cuts, EngineError> {
    let gravest = gravest(&diff(desired, &NetworkView::new(network, host.uuid())));
    if gravest < Some(Disturbance::Restart) && network.standing == NetworkStanding::AsDefined {
        return Ok(Cuts::Nobody);
    }
    let stays =
        |machine: &ObservedMachine| machine.mark.ours().is_some() && gravest < Some(Disturbance::Replace);
    let on_it = attached(&host.name, snapshot, &network.host_name)?;
    let users: Vec<_> = on_it
        .iter()
        .filter(|machine| keeps_busy(machine) && !stays(machine))
        .map(|machine| machine.host_name.clone())
        .collect();
    if users.is_empty() {
        return Ok(Cuts::Guests);
    }
    Err(EngineError::InUse {
        host: host.name.clone(),
        what: what.to_owned(),
        users: users.join(", "),
        way_out: match gravest < Some(Disturbance::Replace) {
            true => "this change takes the network down and would cut them off, and they are not labyard's to put back: stop them first",
            false => "with this change they would have addresses of another network: stop them first (power = \"stopped\")",
        }
        .to_owned(),
    })
}

fn find_in<'a>(snapshot: &'a Snapshot, object: &ObjectRef) -> Option<&'a ObservedNetwork> {
    let networks = &snapshot.networks;
    let Some(identity) = &object.identity else {
        let id = object.id.as_ref()?;
        return networks.iter().find(|n| &n.id == id);
    };
    let by_token = networks
        .iter()
        .find(|n| n.mark.ours().is_some_and(|mark| mark.token == identity.token));
    by_token.or_else(|| networks.iter().find(|n| n.id == identity.id))
}
