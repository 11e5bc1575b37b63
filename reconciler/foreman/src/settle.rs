//! Goes on until a pool is what it is asked to be: what `terraform apply` waits for.

use crate::{
    Foreman, Inner, Scope,
    turn::{Done, Tasks},
};
use labyard_labs::{
    Refusal,
    ids::{Namespace, PoolName},
    member::{self, Member, State},
    plan::{ATTEMPTS, Asked, free_new, rests},
    pool::{self, Pool, work},
};
use std::{collections::BTreeMap, fmt, time::Duration};
use tokio::time::Instant;

/// Between looks, where nothing of this process's own comes to its end: others may work on the pool too.
const PAUSE: Duration = Duration::from_millis(250);
/// How long what is under way may take to come to its end where nothing more is to be done.
const SOON: Duration = Duration::from_secs(5);

/// How a pool stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The pool.
    pub pool: Pool,
    /// How many machines are what.
    pub counts: BTreeMap<State, usize>,
    /// Free machines of the newest template on hosts that answer.
    pub free: usize,
    /// How many of those are asked for now.
    pub wanted: usize,
    /// What keeps machines from their next state, by name.
    pub troubles: BTreeMap<String, String>,
}

/// Why a pool is not what it was asked to be.
#[derive(Debug, thiserror::Error)]
pub enum Unsettled {
    /// The time was over.
    #[error("pool {name} is not what it was asked to be after {waited}s: {standing}", name = standing.pool.name, waited = waited.as_secs())]
    Late {
        /// How long it was waited for.
        waited: Duration,
        /// How it stood then.
        standing: Box<Standing>,
    },
    /// Its template was given up.
    #[error("machines of pool {name} cannot be made: {attempts} attempts in a row failed, the last one so: {cause}. Mend the template, or what it needs, and apply again", name = standing.pool.name, attempts = ATTEMPTS, cause = standing.pool.cause.as_deref().unwrap_or("no cause was written down"))]
    GivenUp {
        /// How it stood then.
        standing: Box<Standing>,
    },
    /// This foreman was ended before.
    #[error("stopped before pool {pool} was what it was asked to be; what was reached is kept")]
    Ended {
        /// The pool.
        pool: PoolName,
    },
    /// The store, or there is no such pool.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Standing {
    fn of(pool: Pool, asked: &Asked, members: &[Member]) -> Self {
        let mut counts = BTreeMap::new();
        for member in members {
            *counts.entry(member.state).or_default() += 1;
        }
        let troubles = members
            .iter()
            .filter_map(|member| Some((member.name.clone(), member.trouble.clone()?)));
        Self {
            counts,
            free: free_new(asked, members),
            wanted: asked.ready.min(asked.max),
            troubles: troubles.collect(),
            pool,
        }
    }

    /// How many machines are in a state.
    #[must_use]
    pub fn count(&self, state: State) -> usize {
        self.counts.get(&state).copied().unwrap_or_default()
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} ready", self.free, self.wanted)?;
        for (state, count) in &self.counts {
            write!(f, ", {count} {state}")?;
        }
        if let Some(cause) = &self.pool.cause {
            write!(
                f,
                "; {} builds in a row failed, the last one: {cause}",
                self.pool.failures
            )?;
        }
        for (name, why) in &self.troubles {
            write!(f, "; {name}: {why}")?;
        }
        Ok(())
    }
}

impl Foreman {
    /// How a pool stands, without doing anything.
    ///
    /// # Errors
    /// If there is no such pool, or the store fails.
    pub async fn standing(&self, namespace: &Namespace, pool: &PoolName) -> Result<Standing, Refusal> {
        self.inner
            .standing(namespace, pool)
            .await
            .map(|(standing, _)| standing)
    }

    /// Works on a pool until as many machines are free as it asks for and nothing of it is left to do; of one that is
    /// no longer wanted, until it is gone. `progress` is told how it stands, whenever that has changed.
    ///
    /// # Errors
    /// What hangs.
    pub async fn settle(
        &self,
        namespace: &Namespace,
        pool: &PoolName,
        limit: Duration,
        progress: &(dyn Fn(&Standing) + Send + Sync),
    ) -> Result<Option<Standing>, Unsettled> {
        let (inner, began) = (&self.inner, Instant::now());
        let scope = Scope::Pool(namespace.clone(), pool.clone());
        let (mut tasks, mut told, mut looked) = (Tasks::default(), None, false);
        loop {
            inner.turn(&scope, &mut tasks).await?;
            // A newer image may be a reason not to rest: the first look is waited for.
            looked |= !inner.images_seen.goes_on();
            let (standing, rests) = match inner.standing(namespace, pool).await {
                Err(Refusal::NoPool { .. }) => {
                    drain_soon(&mut tasks).await?;
                    return Ok(None);
                }
                found => found?,
            };
            if told.as_ref() != Some(&standing) {
                progress(&standing);
                told = Some(standing.clone());
            }
            let left = limit.saturating_sub(began.elapsed());
            if rests && (looked || left.is_zero()) && !standing.pool.draining {
                drain_soon(&mut tasks).await?;
                return Ok(Some(standing));
            }
            if inner.ended.is_cancelled() {
                drain(&mut tasks).await?;
                return Err(Unsettled::Ended { pool: pool.clone() });
            }
            let given_up = standing.pool.failures >= ATTEMPTS && tasks.pieces() == 0;
            if given_up && !standing.pool.draining {
                drain_soon(&mut tasks).await?;
                return Err(Unsettled::GivenUp {
                    standing: Box::new(standing),
                });
            }
            if left.is_zero() {
                inner.ended.cancel();
                drain(&mut tasks).await?;
                return Err(Unsettled::Late {
                    waited: limit,
                    standing: Box::new(standing),
                });
            }
            let pause = tokio::time::sleep(PAUSE.min(left));
            tokio::select! {
                Some(done) = tasks.next() => drop(done?),
                () = pause => {}
            }
        }
    }
}

/// Waits for what is under way.
async fn drain(tasks: &mut Tasks) -> Result<Vec<Done>, Refusal> {
    let mut all = Vec::new();
    while let Some(done) = tasks.next().await {
        all.extend(done?);
    }
    Ok(all)
}

/// The same of claims that are under way though the pool rests: what is dropped in the middle waits for its lease to run
/// out. A host that hangs is not waited for.
async fn drain_soon(tasks: &mut Tasks) -> Result<(), Refusal> {
    match tokio::time::timeout(SOON, drain(tasks)).await {
        Ok(done) => done.map(drop),
        Err(_) => Ok(()),
    }
}

impl Inner {
    /// How a pool stands, and whether it rests.
    async fn standing(&self, namespace: &Namespace, pool: &PoolName) -> Result<(Standing, bool), Refusal> {
        let (namespace, name, now) = (namespace.clone(), pool.clone(), self.now());
        let (pool, asked, members) = self
            .store
            .read(move |read| {
                let pool = pool::find(read, &namespace, &name)?;
                let asked = work::asked(read, &pool, now)?;
                let members = member::of_pool(read, &namespace, &name)?;
                Ok::<_, Refusal>((pool, asked, members))
            })
            .await?;
        let standing = Standing::of(pool, &asked, &members);
        Ok((standing, rests(&asked, &members)))
    }
}
