//! Who counts as there, though no program of his says so: whoever is connected to his machine.
//!
//! The rule: the idle time of a claim begins anew with each keepalive, and with each look at which one of its machines
//! has an established connection from outside to a port that it listens on; those of the claim's machines on a network of
//! its own do not count. It is looked shortly before the idle time is
//! over, and again until it is. A machine whose guest cannot tell (no agent, another system) counts as without.
//!
//! While no foreman ran, or the store did not answer, nobody looked: then the idle time ends nothing until it has been
//! looked for as long as it is before any other end ([`Watch`]).

use crate::{Inner, build::object};
use ipnet::Ipv4Net;
use labyard_driver::ids::HostName;
use labyard_labs::{
    Refusal,
    claim::{
        Claim,
        serve::{Idle, connected, unseen},
    },
    ids::ClaimId,
    member::Member,
};
use labyard_reconciler::{engine::Traffic, identity::Identity};
use labyard_store::event::Moment;
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long before the end it is looked.
const BEFORE_MS: i64 = 60_000;
/// A foreman that did not come around for so long has not looked.
const GAP_MS: i64 = 30_000;
/// How often at a claim.
const EVERY: Duration = Duration::from_secs(10);
/// How long a guest may take to tell.
const TELLS_WITHIN: Duration = Duration::from_secs(5);

/// For how long it has been looked, without a gap.
#[derive(Default)]
pub(crate) struct Watch(Mutex<Option<(Moment, Moment)>>);

impl Watch {
    /// It comes around now: what that means for claims whose idle time is over.
    pub(crate) fn at(&self, now: Moment) -> Idle {
        let mut watch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match *watch {
            Some((since, last)) if now.0.saturating_sub(last.0) <= GAP_MS => since,
            _ => now,
        };
        *watch = Some((since, now));
        match now.0.saturating_sub(since.0) >= BEFORE_MS {
            true => Idle::Ends,
            false => Idle::Waits,
        }
    }
}

/// When each claim was looked at last.
#[derive(Default)]
pub(crate) struct IdleLooks(Mutex<BTreeMap<ClaimId, Instant>>);

impl IdleLooks {
    fn is_due(&self, claim: &ClaimId) -> bool {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|_, at| at.elapsed() < EVERY);
        if looks.contains_key(claim) {
            return false;
        }
        looks.insert(claim.clone(), Instant::now());
        true
    }
}

impl Inner {
    /// Claims that would end soon because nobody was seen, and that were not looked at just now.
    pub(crate) async fn unseen(&self) -> Result<Vec<(Claim, Vec<Member>)>, Refusal> {
        let now = self.now();
        let mut claims = self.store.read(move |read| unseen(read, BEFORE_MS, now)).await?;
        claims.retain(|(claim, _)| self.idle_looks.is_due(&claim.id));
        Ok(claims)
    }

    /// Looks whether somebody is connected to the machines of these claims.
    pub(crate) async fn look_for_people(&self, claims: Vec<(Claim, Vec<Member>)>) -> Result<(), Refusal> {
        let looks = claims.into_iter().map(async |(claim, machines)| {
            let of_claim = claim.network.as_ref().map(|network| network.subnet);
            let looks = machines.iter().map(|machine| self.is_used(machine, of_claim));
            let used = futures::future::join_all(looks).await;
            used.contains(&true).then_some(claim.id)
        });
        let found = futures::future::join_all(looks).await;
        for claim in found.into_iter().flatten() {
            let now = self.now();
            let seen = self.store.write(move |write| connected(write, &claim, now)).await;
            match seen {
                // Its holder was faster, or it is over, or will be.
                Ok(())
                | Err(Refusal::WrongPhase { .. } | Refusal::NoLongerValid { .. } | Refusal::NoClaim) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// Whether somebody is connected; machines of the claim that are so to one another are nobody.
    async fn is_used(&self, machine: &Member, of_claim: Option<Ipv4Net>) -> bool {
        let identity: Option<Identity> = machine
            .identity
            .as_ref()
            .and_then(|identity| serde_json::from_value(identity.clone()).ok());
        let (Some(host), Some(identity)) = (&machine.host, identity) else {
            return false;
        };
        let object = object(machine, &HostName(host.clone()), Some(identity));
        let traffic = tokio::time::timeout(TELLS_WITHIN, self.engine.traffic(&object)).await;
        let is_somebody = |source: &IpAddr| match (source.to_canonical(), of_claim) {
            (IpAddr::V4(source), Some(subnet)) => !subnet.contains(&source),
            _ => true,
        };
        matches!(traffic, Ok(Ok(Traffic::From(sources))) if sources.iter().any(is_somebody))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_looked_for_a_while_ends_nothing_until_he_has() {
        let watch = Watch::default();
        assert_eq!(watch.at(Moment(5_000_000)), Idle::Waits, "it has just begun");
        assert_eq!(watch.at(Moment(5_030_000)), Idle::Waits);
        assert_eq!(watch.at(Moment(5_060_000)), Idle::Ends);
        // The store was away.
        assert_eq!(watch.at(Moment(5_090_001)), Idle::Waits);
        assert_eq!(watch.at(Moment(5_120_001)), Idle::Waits);
        assert_eq!(watch.at(Moment(5_150_001)), Idle::Ends);
    }
}
