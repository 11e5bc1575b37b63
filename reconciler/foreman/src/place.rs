//! Which hosts a machine may be put on, the best first. A host that does not answer is passed over: where the beginnings
//! of a machine are stands in the store, so that nowhere else can there be any of it.

use crate::{Inner, template::Made};
use futures::stream::{FuturesUnordered, StreamExt as _};
use labyard_driver::ids::HostName;
use labyard_labs::{
    Refusal,
    host::{self, HostStanding, Wish},
    member::{self, State},
    pool::{Pool, Together},
};
use labyard_reconciler::{EngineError, engine::Look};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How long a host may take to say what room it has.
const SAYS_WITHIN: Duration = Duration::from_secs(10);
/// The same where another has said already that it takes the machine.
const OTHERS_WITHIN: Duration = Duration::from_millis(500);

/// Hosts for a machine.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    /// The best first.
    pub(crate) hosts: Vec<HostName>,
    /// Why not the others.
    pub(crate) reasons: BTreeMap<String, String>,
}

impl Choice {
    /// Why none takes it, for people.
    pub(crate) fn refusal(&self) -> String {
        let reasons: Vec<_> = self
            .reasons
            .iter()
            .map(|(host, why)| format!("{host}: {why}"))
            .collect();
        format!("no host takes it: {}", reasons.join("; "))
    }
}

impl Inner {
    /// The hosts that may take a machine now.
    pub(crate) async fn choose(&self, pool: &Pool, made: &Made) -> Result<Choice, Refusal> {
        let standing: BTreeMap<String, HostStanding> = self.store.read(|read| host::all(read)).await?;
        let mut choice = Choice::default();
        let mut asked = Vec::new();
        for host in self.engine.hosts() {
            match barred(pool, &host, standing.get(host.as_str())) {
                Some(why) => drop(choice.reasons.insert(host.to_string(), why)),
                None => asked.push(host),
            }
        }
        let mut silent: BTreeSet<HostName> = asked.iter().cloned().collect();
        let mut judged: FuturesUnordered<_> = asked
            .into_iter()
            .map(async |host| {
                let judged = self.judge(&host, made).await;
                (host, judged)
            })
            .collect();
        let (mut good, mut patience) = (Vec::new(), SAYS_WITHIN);
        while let Ok(Some((host, judged))) = tokio::time::timeout(patience, judged.next()).await {
            silent.remove(&host);
            match judged {
                Ok(load) => {
                    good.push((self.slots.under_way(host.as_str()), load, host));
                    patience = OTHERS_WITHIN;
                }
                Err(why) => drop(choice.reasons.insert(host.to_string(), why)),
            }
        }
        for host in silent {
            let why = "it does not answer at present".to_owned();
            choice.reasons.insert(host.to_string(), why);
        }
        good.sort();
        if pool.spec.placed() == Together::OneHost {
            let there = self.unclaimed(pool).await?;
            // Claims want several on one host: there are the most of those that nobody has. Where there are none yet it
            // goes by name, so that all who place at the same time take the same.
            good.sort_by_key(|(_, _, host)| {
                let most = there.get(host.as_str()).copied().unwrap_or_default();
                (std::cmp::Reverse(most), host.clone())
            });
        }
        choice.hosts = good.into_iter().map(|(_, _, host)| host).collect();
        Ok(choice)
    }

    /// How many machines of a pool that no claim has are on which host.
    async fn unclaimed(&self, pool: &Pool) -> Result<BTreeMap<String, usize>, Refusal> {
        let (namespace, name) = (pool.namespace.clone(), pool.name.clone());
        let all = self
            .store
            .read(move |read| member::of_pool(read, &namespace, &name))
            .await?;
        let mut there = BTreeMap::new();
        for member in all {
            let stays = matches!(member.state, State::Building | State::Free | State::Recycling);
            if let Some(host) = member.host.filter(|_| stays) {
                *there.entry(host).or_default() += 1;
            }
        }
        Ok(there)
    }

    /// How loaded a host would be, or why it cannot take the machine.
    async fn judge(&self, host: &HostName, made: &Made) -> Result<u64, String> {
        let want = made.want(host);
        let read = async {
            let capacity = self.engine.capacity(host, Look::Recent).await?;
            let offers = match want.need.asks_offers() {
                true => Some(self.engine.offers(host).await?),
                false => None,
            };
            Ok::<_, EngineError>((capacity, offers))
        };
        let (capacity, offers) = read.await.map_err(|error| error.to_string())?;
        match capacity.lacks(&want.need, offers.as_ref()) {
            Some(why) => Err(why),
            None => Ok(capacity.load(want.need.size)),
        }
    }
}

/// Why a host takes no new machine of this pool, whatever room it has.
fn barred(pool: &Pool, host: &HostName, standing: Option<&HostStanding>) -> Option<String> {
    if pool
        .spec
        .hosts
        .as_ref()
        .is_some_and(|hosts| !hosts.contains(host.as_str()))
    {
        return Some("the pool does not name it".to_owned());
    }
    let standing = standing?;
    match standing.wish {
        Wish::Cordoned => return Some("it is cordoned".to_owned()),
        Wish::Draining => return Some("it is being emptied".to_owned()),
        Wish::Open => {}
    }
    standing.silent_since?;
    let why = standing.why.as_deref().unwrap_or("no answer");
    Some(format!("it does not answer: {why}"))
}
