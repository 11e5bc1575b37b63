//! A machine is made: its host and who it is are written down in the store before anything follows from them, so that
//! whoever goes on after a crash finds it, and neither doubles nor orphans it.

use crate::{Inner, Outcome, hold::Hold, meter::Stages, spec, template::Made};
use labyard_driver::{
    ids::{HostName, ObjectName},
    mark::Stage,
    observed::Power,
    screen::Callers,
};
use labyard_labs::{
    Refusal,
    member::Member,
    pool::{
        self, Access, Pool, Recycle,
        work::{self, Blame, Piece},
    },
};
use labyard_reconciler::{
    EngineError,
    engine::{Bounds, Fence as _, Marked, ObjectRef, Reserve},
    identity::Identity,
    image::Fault,
    steps::Progress,
};
use labyard_schema::text::Span;
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::sync::mpsc;

const CREATE: Duration = Duration::from_secs(30 * 60);
/// How long the agent of a machine that is ready otherwise may take to answer.
const AGENT: Duration = Duration::from_secs(3 * 60);

/// How far a machine is that stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// It is ready.
    Ready,
    /// Its moment was being kept: it may be off for that.
    Keeping,
}

/// How an attempt on one host ended.
enum Attempt {
    /// It has no room, or no image that is needed: the next may have.
    NoRoom(String),
    /// Otherwise.
    Ended(Outcome),
}

impl Inner {
    pub(crate) async fn build(&self, piece: &Piece, hold: &Arc<Hold>) -> Result<Outcome, Refusal> {
        let member = &piece.machine;
        let Some((pool, made)) = self.made_of(member).await? else {
            return Ok(put_off("its pool is made of something else by now"));
        };
        if let Some(host) = &member.host
            && let Some(outcome) = self
                .go_on(piece, (&pool, &made), &HostName(host.clone()), hold)
                .await?
        {
            return Ok(outcome);
        }
        self.build_somewhere(piece, (&pool, &made), hold).await
    }

    /// Somebody has begun it there before: one that is whole is taken, of any other nothing stays. `None` where nothing
    /// of it is there any more.
    async fn go_on(
        &self,
        piece: &Piece,
        of: (&Pool, &Made),
        host: &HostName,
        hold: &Arc<Hold>,
    ) -> Result<Option<Outcome>, Refusal> {
        let member = &piece.machine;
        let Some(_slot) = self.slots.try_on(host.as_str()) else {
            return Ok(Some(Outcome::Waits { on: host.to_string() }));
        };
        match self.find(host, member).await {
            Err(error) => Ok(Some(Outcome::put_off(&error))),
            Ok(Some(marked)) if is_whole(&marked) => {
                self.known(piece, &marked.identity, &[]).await?;
                let reached = match marked.mark.moment {
                    Some(_) => Reached::Keeping,
                    None => Reached::Ready,
                };
                let known = (host, &marked.identity, reached);
                let stands = self.stands(piece, of, known, hold).await;
                Ok(Some(stands))
            }
            Ok(None) if member.identity.is_none() => Ok(None),
            Ok(_) => match self.take_away(piece, host, hold).await? {
                Outcome::Gone => Ok(None),
                other => Ok(Some(other)),
            },
        }
    }

    async fn build_somewhere(
        &self,
        piece: &Piece,
        (pool, made): (&Pool, &Made),
        hold: &Arc<Hold>,
    ) -> Result<Outcome, Refusal> {
        let mut choice = self.choose(pool, made).await?;
        let mut waits = false;
        for host in std::mem::take(&mut choice.hosts) {
            let Some(_slot) = self.slots.try_on(host.as_str()) else {
                waits = true;
                continue;
            };
            match self.build_on(piece, (pool, made), &host, hold).await? {
                Attempt::NoRoom(why) => drop(choice.reasons.insert(host.to_string(), why)),
                other => return Ok(ended(other)),
            }
        }
        if waits {
            return Ok(Outcome::Waits {
                on: "every host".to_owned(),
            });
        }
        Ok(Outcome::Failed {
            cause: choice.refusal(),
            blame: Blame::Circumstances,
        })
    }

    async fn build_on(
        &self,
        piece: &Piece,
        (pool, made): (&Pool, &Made),
        host: &HostName,
        hold: &Arc<Hold>,
    ) -> Result<Attempt, Refusal> {
        let (told, worker, now) = (piece.clone(), self.worker.clone(), self.now());
        let name = host.to_string();
        self.store
            .write(move |write| work::placed(write, &told, &name, &worker, now))
            .await?;
        let limit = made
            .vm
            .timeouts
            .as_ref()
            .and_then(|timeouts| timeouts.create.as_ref());
        let bounds = Bounds {
            cancel: hold.lost.clone(),
            limit: Span::or(limit, CREATE),
            reserve: Reserve::Checked,
            fence: Some(hold.clone()),
        };
        let (sender, mut reached) = mpsc::unbounded_channel::<Progress>();
        let report = move |_: &HostName, progress: &Progress| drop(sender.send(progress.clone()));
        let desired = |facts: &_, taken: &_| Ok(made.desired((facts, taken))?);
        let want = made.want(host);
        let create = self.engine.place_machine(&want, &desired, bounds, &report);
        tokio::pin!(create);
        let (mut last, mut stages) = (None, Stages::begin(&self.meter));
        let result = loop {
            tokio::select! {
                biased;
                Some(progress) = reached.recv() => {
                    stages.through(progress.mark.stage);
                    self.reached(piece, pool, &progress).await?;
                    last = Some(progress);
                }
                result = &mut create => break result,
            }
        };
        while let Ok(progress) = reached.try_recv() {
            stages.through(progress.mark.stage);
            self.reached(piece, pool, &progress).await?;
            last = Some(progress);
        }
        let (error, last) = match (result, last) {
            (Ok(_), Some(progress)) => {
                let known = (host, &progress.identity, Reached::Ready);
                let stands = self.stands(piece, (pool, made), known, hold).await;
                return Ok(Attempt::Ended(stands));
            }
            (Ok(_), None) => return Ok(Attempt::Ended(put_off("it was made and nothing was told of it"))),
            (Err(error), last) => (error, last),
        };
        Ok(match error.root() {
            EngineError::NoHost { reasons, .. } => Attempt::NoRoom(reasons.clone()),
            root if lacks_image(root) => {
                let begun = last.map(|progress| progress.identity);
                self.leave(piece, begun, (host, root), hold).await?
            }
            _ => Attempt::Ended(Outcome::of(&error)),
        })
    }

    /// The host can have no image that the machine is made of, and another may: first nothing of it stays here.
    async fn leave(
        &self,
        piece: &Piece,
        begun: Option<Identity>,
        (host, why): (&HostName, &EngineError),
        hold: &Arc<Hold>,
    ) -> Result<Attempt, Refusal> {
        let identity = begun.and_then(|identity| serde_json::to_value(identity).ok());
        let here = Piece {
            machine: Member {
                host: Some(host.to_string()),
                identity,
                ..piece.machine.clone()
            },
            ..piece.clone()
        };
        Ok(match self.take_away(&here, host, hold).await? {
            Outcome::Gone => Attempt::NoRoom(why.to_string()),
            other => Attempt::Ended(other),
        })
    }

    /// It was made and is ready, and the store knows who it is: the password that its template knows is no longer one,
    /// the moment is kept that it will be put back to, and its mark says that nobody may adopt it.
    async fn stands(
        &self,
        piece: &Piece,
        of: (&Pool, &Made),
        (host, identity, reached): (&HostName, &Identity, Reached),
        hold: &Arc<Hold>,
    ) -> Outcome {
        let object = object(&piece.machine, host, Some(identity.clone()));
        if let Err(error) = self.prepare(&object, of, reached, hold).await {
            return Outcome::of(&error);
        }
        if !hold.holds().await {
            return Outcome::Lost;
        }
        match self.engine.confirm_machine(&object).await {
            Ok(()) => Outcome::Built {
                host: host.to_string(),
            },
            Err(error) => Outcome::put_off(&error),
        }
    }

    /// What is done with a machine before anybody may have it. What is done with its guest needs the agent, which may come
    /// later than what its template calls ready; nobody reaches it from then on who may not, which its moment remembers.
    async fn prepare(
        &self,
        object: &ObjectRef,
        (pool, made): (&Pool, &Made),
        reached: Reached,
        hold: &Arc<Hold>,
    ) -> Result<(), EngineError> {
        let known = made.known_password().filter(|_| reached == Reached::Ready);
        let kept = pool.spec.recycle == Recycle::Reset;
        if reached == Reached::Ready && (kept || known.is_some()) {
            let patience = Bounds {
                limit: AGENT,
                ..self.for_reset(hold)
            };
            self.engine.await_agent(object, patience).await?;
        }
        if let Some(user) = known {
            let bounds = self.for_reset(hold);
            self.engine.lock_password(object, &user, bounds).await?;
        }
        if reached == Reached::Ready && pool.spec.access == Access::Claimer {
            let bounds = self.for_reset(hold);
            self.engine
                .screen_machine(object, &Callers::nobody(), bounds)
                .await?;
        }
        match kept {
            true => self.engine.keep_moment(object, self.for_reset(hold)).await,
            false => Ok(()),
        }
    }

    /// A card that is put on the networks of claims has other addresses there: what it has else is of no use to anybody.
    async fn reached(&self, piece: &Piece, pool: &Pool, progress: &Progress) -> Result<(), Refusal> {
        let mark = &progress.mark;
        let of_claims = pool.spec.network.as_ref().map(|network| network.nic.as_str());
        let first = mark.nics.iter().find(|(key, _)| Some(key.as_str()) != of_claims);
        let idle = mark.nics.iter().find(|(key, _)| Some(key.as_str()) == of_claims);
        let idle = idle.and_then(|(_, nic)| nic.reserved);
        let reserved =
            first.and_then(|(key, nic)| nic.reserved.or_else(|| mark.hooks.addresses.get(key).copied()));
        let mut addresses: Vec<IpAddr> = reserved.into_iter().collect();
        let others = progress
            .seen
            .iter()
            .filter(|seen| ![reserved, idle].contains(&Some(**seen)));
        addresses.extend(others);
        self.known(piece, &progress.identity, &addresses).await
    }

    pub(crate) async fn known(
        &self,
        piece: &Piece,
        identity: &Identity,
        addresses: &[IpAddr],
    ) -> Result<(), Refusal> {
        let identity = serde_json::to_value(identity).unwrap_or_default();
        let (piece, worker, now) = (piece.clone(), self.worker.clone(), self.now());
        let addresses = match addresses.is_empty() {
            true => piece.machine.addresses.clone(),
            false => addresses.to_vec(),
        };
        self.store
            .write(move |write| work::known(write, &piece, &identity, &addresses, &worker, now))
            .await
    }

    /// What a machine is to be made of; `None` where its pool is made of something else by now.
    async fn made_of(&self, member: &Member) -> Result<Option<(Pool, Made)>, Refusal> {
        let (namespace, name) = (member.namespace.clone(), member.pool.clone());
        let (pool, sealed, template) = self
            .store
            .read(move |read| {
                let pool = pool::find(read, &namespace, &name)?;
                let sealed = pool::secrets_of(read, &namespace, &name)?;
                let template = pool::template_of(read, &pool, pool.generation)?;
                Ok::<_, Refusal>((pool, sealed, template))
            })
            .await?;
        if pool.generation != member.generation {
            return Ok(None);
        }
        let secrets = spec::secrets(sealed.as_deref()).map_err(|error| unreadable(&error))?;
        let template = template.unwrap_or_else(|| pool.spec.template.clone());
        let made =
            Made::of(template, &secrets, pool.spec.isolation, member).map_err(|error| unreadable(&error))?;
        Ok(Some((pool, made)))
    }

    /// The machine on a host, by what its mark says.
    pub(crate) async fn find(&self, host: &HostName, member: &Member) -> Result<Option<Marked>, EngineError> {
        let all = self.engine.members(host).await?;
        let is_it = |marked: &Marked| {
            let of = marked.mark.member.as_ref();
            of.is_some_and(|of| of.id == member.id.as_str())
        };
        Ok(all.machines.into_iter().find(is_it))
    }
}

/// A machine as the engine is told of it.
pub(crate) fn object(member: &Member, host: &HostName, identity: Option<Identity>) -> ObjectRef {
    ObjectRef {
        host: host.clone(),
        namespace: labyard_driver::ids::Namespace(member.namespace.to_string()),
        name: ObjectName(member.name.clone()),
        id: identity.as_ref().map(|identity| identity.id.clone()),
        identity,
        pools: Default::default(),
    }
}

/// It had come to its end, ready, and whoever made it did not come to tell of it.
fn is_whole(marked: &Marked) -> bool {
    let keeping = marked.mark.moment.is_some();
    marked.mark.stage == Stage::Finished && (marked.power == Power::Running || keeping)
}

fn lacks_image(error: &EngineError) -> bool {
    matches!(error, EngineError::Image { source, .. } if matches!(source.fault, Fault::NotKept(_)))
}

fn ended(attempt: Attempt) -> Outcome {
    match attempt {
        Attempt::Ended(outcome) => outcome,
        Attempt::NoRoom(why) => Outcome::Failed {
            cause: why,
            blame: Blame::Circumstances,
        },
    }
}

fn put_off(why: &str) -> Outcome {
    Outcome::PutOff { why: why.to_owned() }
}

pub(crate) fn unreadable(error: &serde_json::Error) -> Refusal {
    labyard_store::StoreError::Unreadable {
        what: format!("pools.spec template: {error}"),
    }
    .into()
}
