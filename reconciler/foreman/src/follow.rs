//! Pools that follow captured images: the newest revision on the hosts is what their machines are made of, and a newer one
//! rolls them. An older one does so only where the newer one was forgotten: on no host, and every host has answered.
//!
//! Hosts are looked at aside, so that one that hangs holds up nobody but a pool that knows no revision yet.

use crate::{Inner, Scope, turn::Tasks};
use labyard_labs::{
    Refusal,
    ids::{Namespace, PoolName},
    pool::{self, Pool, follow},
    show,
};
use labyard_store::event::Moment;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How often the images of the hosts are looked at; for a pool that has followed none yet, at once.
const EVERY_MS: i64 = 5_000;
/// How long a host may take to tell of its images.
const WITHIN: Duration = Duration::from_secs(20);

/// What was looked at.
#[derive(Default)]
pub(crate) struct LastLook(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// When a look came to its end last.
    ended: Option<Moment>,
    /// Whether one is under way.
    now: Progress,
    /// The generations of pools that were looked for, by the identity of the pool.
    pools: BTreeMap<String, i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Progress {
    #[default]
    Nothing,
    UnderWay,
}

impl LastLook {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a look is under way.
    pub(crate) fn goes_on(&self) -> bool {
        self.seen().now == Progress::UnderWay
    }
}

impl Seen {
    /// Whether a pool waits for its first look.
    fn is_first(&self, follower: &Follower) -> bool {
        let Pool { id, generation, .. } = &follower.pool;
        follower.is_new() && self.pools.get(id) != Some(generation)
    }

    fn is_due(&self, followers: &[Follower], now: Moment) -> bool {
        let late = self
            .ended
            .is_none_or(|ended| now.0.saturating_sub(ended.0) >= EVERY_MS);
        self.now == Progress::Nothing && (late || followers.iter().any(|follower| self.is_first(follower)))
    }
}

/// A look that is under way, for as long as it lives.
struct Look {
    inner: Arc<Inner>,
    followers: Vec<Follower>,
}

impl Look {
    fn begin(inner: &Arc<Inner>, followers: Vec<Follower>) -> Self {
        inner.images_seen.seen().now = Progress::UnderWay;
        Self {
            inner: inner.clone(),
            followers,
        }
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        let mut seen = self.inner.images_seen.seen();
        seen.now = Progress::Nothing;
        let looked_for = self.followers.iter().map(|follower| &follower.pool);
        seen.pools = looked_for
            .map(|pool| (pool.id.clone(), pool.generation))
            .collect();
    }
}

/// A pool whose template names images without a revision.
struct Follower {
    pool: Pool,
    /// What its machines are made of now.
    stands: Option<Value>,
}

impl Follower {
    /// Whether it has followed nothing yet.
    fn is_new(&self) -> bool {
        self.stands.as_ref() == Some(&self.pool.spec.template)
    }
}

/// The newest revisions, by namespace and name.
type Newest = BTreeMap<(String, String), u32>;

/// Who told of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Every host.
    All,
    /// Not every one: what is not seen may be there all the same.
    Some,
}

/// The revision to follow, of the one that stands and the newest that was seen; pure.
fn next(stands: Option<u32>, newest: Option<u32>, told: Told) -> Option<u32> {
    match (stands, newest) {
        (Some(stands), newest) if told == Told::Some => {
            Some(newest.map_or(stands, |newest| newest.max(stands)))
        }
        (_, newest) => newest,
    }
}

impl Inner {
    /// Lets pools follow what there is by now, aside; the identities of those that wait for that.
    pub(crate) async fn follow_images(
        self: &Arc<Self>,
        scope: &Scope,
        tasks: &mut Tasks,
    ) -> Result<BTreeSet<String>, Refusal> {
        let followers = self.followers(scope).await?;
        let now = self.now();
        let (waiting, is_due) = {
            let seen = self.images_seen.seen();
            let waiting = followers.iter().filter(|follower| seen.is_first(follower));
            let waiting: BTreeSet<_> = waiting.map(|follower| follower.pool.id.clone()).collect();
            (waiting, !followers.is_empty() && seen.is_due(&followers, now))
        };
        if is_due {
            let look = Look::begin(self, followers);
            tasks.spawn_aside(async move { look.inner.look_for_images(&look.followers).await });
        }
        Ok(waiting)
    }

    async fn followers(&self, scope: &Scope) -> Result<Vec<Follower>, Refusal> {
        let scope = scope.clone();
        let followers = self.store.read(move |read| {
            let mut followers = Vec::new();
            for pool in pool::those(read, &show::Scope::All)? {
                if scope.has(&pool) && !pool.draining && !follow::followed(&pool.spec.template).is_empty() {
                    let stands = pool::template_of(read, &pool, pool.generation)?;
                    followers.push(Follower { pool, stands });
                }
            }
            Ok::<_, Refusal>(followers)
        });
        followers.await
    }

    async fn look_for_images(&self, followers: &[Follower]) -> Result<(), Refusal> {
        let (newest, told) = self.newest_images().await;
        let now = self.now();
        for Follower { pool, stands } in followers {
            let before = stands.as_ref().map(follow::revisions).unwrap_or_default();
            let of = |name: &str| {
                let newest = newest.get(&(pool.namespace.to_string(), name.to_owned()));
                next(before.get(name).copied(), newest.copied(), told)
            };
            let pinned = follow::pinned(&pool.spec.template, of);
            if stands.as_ref() != Some(&pinned) && follow::followed(&pinned).is_empty() {
                let template = pool.spec.template.clone();
                self.follow(&pool.namespace, pool.name.clone(), (template, pinned), now)
                    .await?;
            }
        }
        self.images_seen.seen().ended = Some(now);
        Ok(())
    }

    async fn follow(
        &self,
        namespace: &Namespace,
        name: PoolName,
        (template, pinned): (Value, Value),
        now: Moment,
    ) -> Result<(), Refusal> {
        let (namespace, actor) = (namespace.clone(), self.worker.name.clone());
        let followed = self.store.write(move |write| {
            match follow::follow(write, (&namespace, &name), (&template, &pinned), now, &actor) {
                Err(Refusal::NoPool { .. }) => Ok(false),
                followed => followed,
            }
        });
        followed.await.map(drop)
    }

    /// What the hosts that answer have.
    async fn newest_images(&self) -> (Newest, Told) {
        let (mut newest, mut told) = (Newest::new(), Told::All);
        let hosts = self.engine.hosts();
        let looks = hosts.iter().map(async |host| {
            match tokio::time::timeout(WITHIN, self.engine.images(host)).await {
                Ok(Ok(images)) => Some(images),
                Ok(Err(error)) => {
                    tracing::warn!(%host, %error, "its images are not known");
                    None
                }
                Err(_) => None,
            }
        });
        for images in futures::future::join_all(looks).await {
            if images.is_none() {
                told = Told::Some;
            }
            for image in images.into_iter().flatten() {
                let image = image.image;
                let known = newest
                    .entry((image.namespace.to_string(), image.name.to_string()))
                    .or_default();
                *known = (*known).max(image.revision.0);
            }
        }
        (newest, told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_revision_is_followed_only_where_every_host_has_told_that_the_newer_one_is_forgotten() {
        assert_eq!(next(None, Some(3), Told::Some), Some(3));
        assert_eq!(next(Some(2), Some(3), Told::Some), Some(3));
        assert_eq!(next(Some(3), Some(2), Told::Some), Some(3));
        assert_eq!(next(Some(3), None, Told::Some), Some(3));
        assert_eq!(next(Some(3), Some(2), Told::All), Some(2));
        assert_eq!(next(Some(3), None, Told::All), None);
    }
}
