//! Networks that claims have to themselves: made before anybody is let in, with the cards of the claim's machines put on
//! them; taken away when the last machine has left. What a kill or a lost store leaves of one is found by the look at its
//! host.

use crate::{
    Inner,
    admit::{NotDone, known, within},
    hold::Hold,
    turn::Tasks,
};
use labyard_driver::ids::{HostName, Namespace, NicKey};
use labyard_labs::{
    Refusal,
    claim::{
        admit::{self, Job},
        network::{self, Network, Wanted},
    },
    ids::{ClaimId, MemberId},
    member::Member,
};
use labyard_reconciler::engine::{Bounds, ClaimNetwork, Removal, Reserve, StandingNetwork};
use labyard_store::event::Moment;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long taking one away may take.
const LIMIT: Duration = Duration::from_secs(60);
/// One that could not be taken away is not tried again sooner.
const AGAIN: Duration = Duration::from_secs(5);
/// For so long nobody knows a network before it is taken for left over: what another store's foremen have on the same
/// host has machines on it by then.
const STRAY_MS: i64 = 60_000;

/// Networks that are being taken away, and those that nobody knows.
#[derive(Default)]
pub(crate) struct Leavings {
    tried: Mutex<BTreeMap<ClaimId, Instant>>,
    strays: Mutex<BTreeMap<(HostName, String), Moment>>,
}

impl Leavings {
    fn is_due(&self, claim: &ClaimId) -> bool {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        tried.retain(|_, at| at.elapsed() < AGAIN);
        match tried.contains_key(claim) {
            true => false,
            false => {
                tried.insert(claim.clone(), Instant::now());
                true
            }
        }
    }

    /// Those of a host that nobody knows, and has not known for long enough.
    fn ripe(&self, host: &HostName, unknown: &BTreeSet<String>, now: Moment) -> Vec<String> {
        let mut strays = self.strays.lock().unwrap_or_else(PoisonError::into_inner);
        strays.retain(|(there, claim), _| there != host || unknown.contains(claim));
        let mut ripe = Vec::new();
        for claim in unknown {
            let since = *strays.entry((host.clone(), claim.clone())).or_insert(now);
            if now.0.saturating_sub(since.0) >= STRAY_MS {
                ripe.push(claim.clone());
            }
        }
        ripe
    }
}

/// Why the machines of a claim are not on its network.
pub(crate) enum NotConnected {
    /// No addresses are left for it.
    NoSubnet(Wanted),
    /// Its host, or one of its machines.
    Machine(NotDone),
}

impl Inner {
    /// Has the machines of a claim on a network of their own, where it wants one.
    pub(crate) async fn connect(
        &self,
        job: &Job,
        hold: &Arc<Hold>,
    ) -> Result<Result<(), NotConnected>, Refusal> {
        let Some(wanted) = job.claim.wants.network.clone() else {
            return Ok(Ok(()));
        };
        let (of, asked, worker, now) = (job.clone(), wanted.clone(), self.worker.clone(), self.now());
        let allotted = self
            .store
            .write(move |write| admit::allot_network(write, &of, &asked, &worker, now))
            .await?;
        let Some(network) = allotted else {
            return Ok(Err(NotConnected::NoSubnet(wanted)));
        };
        let standing = match self.make(job, &network, hold).await {
            Ok(standing) => standing,
            Err(error) => return Ok(Err(NotConnected::Machine(error))),
        };
        let cards = job.machines.iter().filter_map(|member| {
            let nic = wanted.nics.get(&member.pool)?;
            Some(self.lend(member, NicKey(nic.clone()), &standing, hold))
        });
        let mut addresses = BTreeMap::new();
        for lent in futures::future::join_all(cards).await {
            match lent {
                Ok((id, there)) => drop(addresses.insert(id, there)),
                Err(error) => return Ok(Err(NotConnected::Machine(error))),
            }
        }
        let (of, worker, now) = (job.clone(), self.worker.clone(), self.now());
        self.store
            .write(move |write| admit::addressed(write, &of, addresses.clone(), &worker, now))
            .await?;
        Ok(Ok(()))
    }

    async fn make(&self, job: &Job, network: &Network, hold: &Arc<Hold>) -> Result<StandingNetwork, NotDone> {
        let wanted = ClaimNetwork {
            namespace: Namespace(job.claim.namespace.to_string()),
            claim: job.claim.id.to_string(),
            subnet: network.subnet,
        };
        let host = HostName(network.host.clone());
        let made = self
            .engine
            .make_claim_network(&host, &wanted, self.for_claim(hold));
        within((&host, &wanted.claim), made).await
    }

    async fn lend(
        &self,
        member: &Member,
        nic: NicKey,
        network: &StandingNetwork,
        hold: &Arc<Hold>,
    ) -> Result<(MemberId, Vec<IpAddr>), NotDone> {
        let object = known(member)?;
        let lent = self.engine.lend_nic(&object, &nic, network, self.for_claim(hold));
        let addresses = within((&object.host, object.name.as_str()), lent).await?;
        Ok((member.id.clone(), addresses))
    }

    /// Begins to take away the networks of claims that are over, whose machines have left them.
    pub(crate) async fn take_networks_away(self: &Arc<Self>, tasks: &mut Tasks) -> Result<(), Refusal> {
        let left = self.store.read(|read| network::left(read)).await?;
        let hosts: BTreeSet<String> = self.engine.hosts().iter().map(ToString::to_string).collect();
        for (claim, network) in left {
            if hosts.contains(&network.host) && self.leavings.is_due(&claim) {
                let inner = self.clone();
                tasks.spawn_aside(
                    async move { inner.take_network_away(&claim, HostName(network.host)).await },
                );
            }
        }
        Ok(())
    }

    async fn take_network_away(&self, claim: &ClaimId, host: HostName) -> Result<(), Refusal> {
        if !self.remove(claim.as_str(), &host).await {
            return Ok(());
        }
        let (claim, worker, now) = (claim.clone(), self.worker.name.clone(), self.now());
        self.store
            .write(move |write| network::given_back(write, &claim, &worker, now))
            .await
    }

    /// Whether it is gone. A claim that is over is over for good: whoever takes its network away takes it from nobody.
    async fn remove(&self, claim: &str, host: &HostName) -> bool {
        let bounds = Bounds {
            cancel: self.ended.clone(),
            limit: LIMIT,
            reserve: Reserve::Named,
            fence: None,
        };
        match self.engine.remove_claim_network(host, claim, bounds).await {
            Ok(Removal::Gone) => true,
            Ok(Removal::Used(by)) => {
                tracing::debug!(%host, claim, ?by, "its network stays while machines are on it");
                false
            }
            Err(error) => {
                tracing::warn!(%host, claim, %error, "its network was not taken away");
                false
            }
        }
    }

    /// Takes away what is left on a host of networks that the store knows nothing of.
    pub(crate) async fn take_strays_away(
        &self,
        host: &HostName,
        there: &[StandingNetwork],
    ) -> Result<(), Refusal> {
        let claims: Vec<String> = there.iter().map(|network| network.claim.clone()).collect();
        let unknown = self
            .store
            .read(move |read| {
                let mut unknown = BTreeSet::new();
                for claim in claims {
                    if !network::is_known(read, &ClaimId(claim.clone()))? {
                        unknown.insert(claim);
                    }
                }
                Ok::<_, Refusal>(unknown)
            })
            .await?;
        for claim in self.leavings.ripe(host, &unknown, self.now()) {
            if self.remove(&claim, host).await {
                tracing::warn!(%host, claim, "a network of a claim that nobody knows was taken away");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_is_left_alone_for_a_while_and_for_good_where_somebody_comes_to_know_it() {
        let leavings = Leavings::default();
        let host = HostName::from("lab1");
        let one: BTreeSet<String> = ["c".to_owned()].into();
        assert!(leavings.ripe(&host, &one, Moment(0)).is_empty());
        assert!(leavings.ripe(&host, &one, Moment(STRAY_MS - 1)).is_empty());
        assert_eq!(leavings.ripe(&host, &one, Moment(STRAY_MS)), ["c"]);
        assert!(
            leavings
                .ripe(&host, &BTreeSet::new(), Moment(STRAY_MS))
                .is_empty()
        );
        assert!(
            leavings.ripe(&host, &one, Moment(2 * STRAY_MS)).is_empty(),
            "it was known meanwhile"
        );
        let other = HostName::from("lab2");
        assert!(leavings.ripe(&other, &one, Moment(2 * STRAY_MS)).is_empty());
    }
}
