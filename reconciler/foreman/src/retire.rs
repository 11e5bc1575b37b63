//! A machine is taken away: by its mark where it stands, by what the store knows of it where its definition is gone. Its
//! record goes last.

use crate::{
    Inner, Outcome,
    build::{object, unreadable},
    hold::Hold,
    template::Made,
};
use labyard_driver::ids::{HostName, ObjectName};
use labyard_labs::{
    Refusal,
    member::Member,
    pool::{self, work::Piece},
};
use labyard_reconciler::{
    EngineError,
    engine::{Bounds, ObjectRef, Reserve},
    identity::Identity,
};
use labyard_schema::{text::Span, vm_pool::Secrets};
use std::{sync::Arc, time::Duration};

const DELETE: Duration = Duration::from_secs(10 * 60);

impl Inner {
    pub(crate) async fn retire(&self, piece: &Piece, hold: &Arc<Hold>) -> Result<Outcome, Refusal> {
        let Some(host) = &piece.machine.host else {
            // Its host is written down before anything of it is made.
            return Ok(Outcome::Gone);
        };
        let host = HostName(host.clone());
        if !self.engine.hosts().contains(&host) {
            let why = format!("host {host}, where it stands, is not configured here");
            return Ok(Outcome::PutOff { why });
        }
        let Some(_slot) = self.slots.try_on(host.as_str()) else {
            return Ok(Outcome::Waits { on: host.to_string() });
        };
        self.take_away(piece, &host, hold).await
    }

    /// Takes a machine off its host; what is gone already is gone.
    pub(crate) async fn take_away(
        &self,
        piece: &Piece,
        host: &HostName,
        hold: &Arc<Hold>,
    ) -> Result<Outcome, Refusal> {
        let member = &piece.machine;
        let found = match self.find(host, member).await {
            Ok(found) => found,
            Err(error) => return Ok(Outcome::put_off(&error)),
        };
        let written: Option<Identity> = member
            .identity
            .as_ref()
            .and_then(|identity| serde_json::from_value(identity.clone()).ok());
        let Some(identity) = found.map(|marked| marked.identity).or(written) else {
            return Ok(Outcome::Gone);
        };
        let made = self.was_made_of(member).await?;
        let object = ObjectRef {
            pools: made.storage_pools(),
            ..object(member, host, Some(identity))
        };
        Ok(match self.destroy(&made, &object, hold).await {
            Ok(()) => Outcome::Gone,
            Err(error) => Outcome::put_off(&error),
        })
    }

    async fn destroy(&self, made: &Made, object: &ObjectRef, hold: &Arc<Hold>) -> Result<(), EngineError> {
        let facts = self.engine.facts(&object.host).await?;
        let name = ObjectName(made.vm.name.clone());
        let taken = self.engine.taken(&object.host, &object.namespace, &name).await?;
        let known = made.desired((&facts, &taken))?;
        let limit = made
            .vm
            .timeouts
            .as_ref()
            .and_then(|timeouts| timeouts.delete.as_ref());
        let bounds = Bounds {
            cancel: hold.lost.clone(),
            limit: Span::or(limit, DELETE),
            reserve: Reserve::Named,
            fence: Some(hold.clone()),
        };
        self.engine.destroy_machine(object, &known, bounds).await
    }

    /// What a machine was made of, as far as the store still knows: to take it away its mark says the rest.
    pub(crate) async fn was_made_of(&self, member: &Member) -> Result<Made, Refusal> {
        let (namespace, name, generation) =
            (member.namespace.clone(), member.pool.clone(), member.generation);
        let (template, isolation) = self
            .store
            .read(move |read| {
                let pool = pool::find(read, &namespace, &name)?;
                let of_then = pool::template_of(read, &pool, generation)?;
                let isolation = pool.spec.isolation;
                Ok::<_, Refusal>((of_then.unwrap_or(pool.spec.template), isolation))
            })
            .await?;
        Made::of(template, &Secrets::new(), isolation, member).map_err(|error| unreadable(&error))
    }
}
