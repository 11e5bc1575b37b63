//! What an operation on a machine means for the quota of its namespace. Room is held when it begins, for the most of what
//! the machine had and shall have; when it has ended, for what it has. Room is let go only when the machine is seen on no host:
//! whoever asked may have named another, or nothing. It is held under the name that the machine bears on its host.
//!
//! What a process that was killed had begun holds its room until the same is asked for again, or the machine is removed; of
//! a machine that was on its way to some host, until it is seen that it is on none.

use super::{
    Placed, Work,
    there::{self, There},
};
use crate::{
    failure::Failure,
    keep::{
        operations::{self, Step},
        runs::Ended,
    },
};
use labyard_api::operation::State;
use labyard_driver::ids::{HostName, ObjectName};
use labyard_labs::{
    Refusal,
    ids::Namespace,
    quota::{self, Amount},
};
use labyard_reconciler::{
    desired::DesiredMachine,
    engine::{Embedded, Engine as _},
};
use labyard_store::{StoreError, Write};

/// What an operation means for a quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    effect: Effect,
    /// Where the machine is; none where it is placed.
    host: Option<HostName>,
    /// What it is called there.
    name: ObjectName,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Effect {
    /// Another machine of that size.
    Made(Amount),
    /// The machine has that size then, and that name.
    Changed(Amount, ObjectName),
    /// It is gone then.
    Left,
}

/// What is known when it has ended.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    /// What was held before.
    pub(crate) former: Option<Amount>,
    /// Where the machine is by then.
    pub(crate) there: There,
}

impl Room {
    /// Of a piece of work; none where no machine is made, changed or removed.
    pub(crate) fn of(work: &Work) -> Option<Self> {
        let (effect, host, name) = match work {
            Work::Create(host, desired, _) => (Effect::Made(size(desired)), Some(host), &desired.name),
            Work::Place(want, placed, _) => (Effect::Made(placed.most()), None, &want.name),
            Work::Update(object, both, _) => {
                let then = &both.1;
                let effect = Effect::Changed(size(then), then.name.clone());
                (effect, Some(&object.host), &object.name)
            }
            Work::Destroy(object, _) => (Effect::Left, Some(&object.host), &object.name),
            Work::CreateNetwork(..)
            | Work::UpdateNetwork(..)
            | Work::DestroyNetwork(..)
            | Work::Capture(..)
            | Work::ForgetImages(..) => return None,
        };
        Some(Self {
            effect,
            host: host.cloned(),
            name: name.clone(),
        })
    }

    fn subject(&self) -> String {
        subject(self.host.as_ref().map_or("-", HostName::as_str), &self.name)
    }

    /// Holds it; part of the transaction that begins the operation. Says what was held before.
    pub(crate) fn hold(
        &self,
        write: &mut Write<'_>,
        namespace: &Namespace,
    ) -> Result<Option<Amount>, Refusal> {
        let (Effect::Made(asked) | Effect::Changed(asked, _)) = &self.effect else {
            return Ok(None);
        };
        let subject = self.subject();
        let former = quota::held_for(write, namespace, &subject)?;
        let most = former.map_or(*asked, |former| former.most(*asked));
        quota::hold(write, namespace, &subject, most)?;
        Ok(former)
    }

    /// Looks where the machine is, where what is held depends on it.
    pub(crate) async fn look(&self, engine: &Embedded, namespace: &Namespace, ended: &Ended) -> There {
        let name = match (&self.effect, ended.step == Step::Done) {
            (Effect::Left, true) | (Effect::Made(_), false) => &self.name,
            (Effect::Changed(_, then), false) => then,
            _ => return There::Unknown,
        };
        let hosts = self
            .host
            .clone()
            .map_or_else(|| engine.hosts(), |host| vec![host]);
        there::where_is(engine, hosts, (namespace, name)).await
    }

    /// What is held when it has ended; part of the transaction that says so, before it does.
    pub(crate) fn settle(
        &self,
        write: &mut Write<'_>,
        id: &str,
        (ended, settled): (&Ended, &Settled),
    ) -> Result<(), Failure> {
        let operation = operations::find(write, id)?;
        if operation.state != State::Running {
            return Ok(());
        }
        let namespace = Namespace(operation.namespace);
        match (&self.effect, ended.step == Step::Done) {
            (Effect::Left, true) if settled.there == There::Nowhere => {
                quota::let_go(write, &namespace, &self.subject())?;
            }
            (Effect::Made(asked), true) => self.stands(write, &namespace, (ended, &self.name, *asked))?,
            (Effect::Changed(asked, then), true) => self.stands(write, &namespace, (ended, then, *asked))?,
            (Effect::Made(_), false) if settled.there == There::Nowhere => {
                quota::let_go(write, &namespace, &self.subject())?;
            }
            (Effect::Made(_), false) => self.stopped(write, (&namespace, id), (&self.name, settled))?,
            (Effect::Changed(_, then), false) => self.stopped(write, (&namespace, id), (then, settled))?,
            (Effect::Left, _) => {}
        }
        Ok(())
    }

    /// It is as it was asked for, on the host that the result names.
    fn stands(
        &self,
        write: &mut Write<'_>,
        namespace: &Namespace,
        (ended, name, asked): (&Ended, &ObjectName, Amount),
    ) -> Result<(), Refusal> {
        let subject = match ended.result.as_ref().and_then(named) {
            Some(host) => subject(&host, name),
            None => self.subject(),
        };
        quota::move_to(write, namespace, &self.subject(), &subject)?;
        quota::hold(write, namespace, &subject, asked)
    }

    /// It came to no good end: what it changed nothing of holds what it held, and else the most of both.
    fn stopped(
        &self,
        write: &mut Write<'_>,
        (namespace, id): (&Namespace, &str),
        (then, settled): (&ObjectName, &Settled),
    ) -> Result<(), Refusal> {
        let Some(host) = reached(write, id)? else {
            return match settled.former {
                Some(former) => quota::hold(write, namespace, &self.subject(), former),
                None => Ok(quota::let_go(write, namespace, &self.subject())?),
            };
        };
        let name = match &settled.there {
            There::On(_) => then,
            There::Nowhere | There::Unknown => &self.name,
        };
        Ok(quota::move_to(
            write,
            namespace,
            &self.subject(),
            &subject(&host, name),
        )?)
    }
}

/// The room of a machine that a killed process was placing: it is where the machine was seen.
pub(crate) fn of_lost(
    write: &mut Write<'_>,
    namespace: &Namespace,
    (name, there): (&ObjectName, &There),
) -> Result<(), Refusal> {
    let placed = subject("-", name);
    match there {
        There::Unknown => {}
        There::Nowhere => quota::let_go(write, namespace, &placed)?,
        There::On(host) => {
            let stands = subject(host.as_str(), name);
            match quota::held_for(write, namespace, &stands)? {
                // Perhaps another of that name, which was there before.
                Some(_) => quota::let_go(write, namespace, &placed)?,
                None => quota::move_to(write, namespace, &placed, &stands)?,
            }
        }
    }
    Ok(())
}

/// The name of a machine that was being placed, of what its operation is about.
pub(crate) fn placed_name(subject: &str) -> Option<ObjectName> {
    let name = subject.strip_prefix("vm/-/")?;
    Some(ObjectName(name.to_owned()))
}

fn subject(host: &str, name: &ObjectName) -> String {
    format!("vm/{host}/{name}")
}

impl Placed {
    /// The most that it may be, wherever it goes.
    fn most(&self) -> Amount {
        match self {
            Self::Written(vm) => Amount {
                machines: 1,
                cpus: vm.cpus_max.unwrap_or_default().max(vm.cpus).into(),
                memory_mib: vm.memory_max_mib.unwrap_or_default().max(vm.memory_mib),
            },
            Self::Decided(by_host) => by_host.values().map(size).fold(Amount::default(), Amount::most),
        }
    }
}

fn size(desired: &DesiredMachine) -> Amount {
    let memory = desired
        .memory_max
        .map_or(desired.memory, |most| most.max(desired.memory));
    Amount {
        machines: 1,
        cpus: desired.cpus_max.unwrap_or_default().max(desired.cpus).into(),
        memory_mib: memory.0,
    }
}

fn named(value: &serde_json::Value) -> Option<String> {
    value["host"].as_str().map(str::to_owned)
}

/// The host on which the operation has changed something.
fn reached(write: &mut Write<'_>, id: &str) -> Result<Option<String>, StoreError> {
    let rows = write.query("SELECT reached FROM operations WHERE id = $1", &[id.into()])?;
    let reached = rows
        .first()
        .map(|row| row.get::<Option<String>>("reached"))
        .transpose()?;
    let reached: Option<serde_json::Value> = reached
        .flatten()
        .and_then(|text| serde_json::from_str(&text).ok());
    Ok(reached.as_ref().and_then(named))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keep::{
        operations::{Begun, Kind},
        runs::{self, Asked, Taken},
    };
    use labyard_labs::show::Scope;
    use labyard_store::{Store, event::Moment, on_both, testing::Database};
    use serde_json::json;

    on_both!(
        a_machine_that_is_still_there_keeps_its_room_whatever_was_taken_away,
        a_failed_making_of_one_that_stands_gives_back_what_it_held,
        a_machine_under_another_name_takes_its_room_along,
        room_of_a_placing_that_was_killed_is_where_the_machine_is,
    );

    fn amount(memory_mib: u64) -> Amount {
        Amount {
            machines: 1,
            cpus: 1,
            memory_mib,
        }
    }

    fn room(effect: Effect) -> Room {
        Room {
            effect,
            host: Some("lab1".into()),
            name: "web".into(),
        }
    }

    /// An operation from its beginning to its end; `reached` says that it changed something.
    async fn ran(store: &Store, room: Room, step: Step, there: There, reached: bool) {
        let ran: Result<(), Failure> = store
            .write(move |write| {
                let namespace = Namespace::from("default");
                let begun = Begun {
                    namespace: &namespace,
                    kind: Kind::PutVm,
                    subject: room.subject(),
                    actor: "ci",
                    stage: "begun",
                };
                let asked = Asked {
                    begun,
                    key: None,
                    holder: "one",
                };
                let Taken::New(operation) = runs::begin(write, &asked, Moment(0))? else {
                    panic!("nothing goes on");
                };
                let former = room.hold(write, &namespace)?;
                if reached {
                    let at = json!({"host": "lab1"});
                    runs::reached(write, (&operation.id, "one"), ("record", &at), Moment(1))?;
                }
                let result = (step == Step::Done).then(|| json!({"host": "lab1"}));
                let ended = Ended {
                    step: step.clone(),
                    result,
                    failure: None,
                };
                let there = there.clone();
                room.settle(write, &operation.id, (&ended, &Settled { former, there }))?;
                runs::end(write, &operation.id, &ended, Moment(2))
            })
            .await;
        ran.unwrap();
    }

    async fn held(store: &Store) -> Amount {
        let shown: Result<_, StoreError> = store
            .read(|read| quota::shown(read, &Scope::These(vec!["default".into()])))
            .await;
        shown.unwrap().first().map(|one| one.used).unwrap_or_default()
    }

    fn on() -> There {
        There::On("lab1".into())
    }

    fn failed() -> Step {
        Step::Failed("no".into())
    }

    async fn a_machine_that_is_still_there_keeps_its_room_whatever_was_taken_away(database: &Database) {
        let store = database.open().await;
        ran(
            &store,
            room(Effect::Made(amount(128))),
            Step::Done,
            There::Unknown,
            true,
        )
        .await;
        assert_eq!(held(&store).await, amount(128));
        for there in [on(), There::Unknown] {
            ran(&store, room(Effect::Left), Step::Done, there, false).await;
            assert_eq!(held(&store).await, amount(128));
        }
        ran(&store, room(Effect::Left), Step::Done, There::Nowhere, false).await;
        assert_eq!(held(&store).await, Amount::default());
    }

    async fn a_failed_making_of_one_that_stands_gives_back_what_it_held(database: &Database) {
        let store = database.open().await;
        ran(
            &store,
            room(Effect::Made(amount(128))),
            Step::Done,
            There::Unknown,
            true,
        )
        .await;
        for asked in [64, 256] {
            ran(&store, room(Effect::Made(amount(asked))), failed(), on(), false).await;
            assert_eq!(held(&store).await, amount(128));
        }
        let changed = |memory| room(Effect::Changed(amount(memory), "web".into()));
        ran(&store, changed(64), failed(), on(), true).await;
        assert_eq!(held(&store).await, amount(128), "nobody knows how far it came");
        ran(&store, changed(64), Step::Done, There::Unknown, true).await;
        assert_eq!(held(&store).await, amount(64));
        ran(
            &store,
            room(Effect::Made(amount(256))),
            failed(),
            There::Nowhere,
            true,
        )
        .await;
        assert_eq!(held(&store).await, Amount::default());
    }

    async fn a_machine_under_another_name_takes_its_room_along(database: &Database) {
        let store = database.open().await;
        ran(
            &store,
            room(Effect::Made(amount(128))),
            Step::Done,
            There::Unknown,
            true,
        )
        .await;
        let renamed = room(Effect::Changed(amount(128), "db".into()));
        ran(&store, renamed, Step::Done, There::Unknown, true).await;
        ran(
            &store,
            room(Effect::Made(amount(64))),
            Step::Done,
            There::Unknown,
            true,
        )
        .await;
        let both = Amount {
            machines: 2,
            cpus: 2,
            memory_mib: 192,
        };
        assert_eq!(held(&store).await, both);
    }

    async fn room_of_a_placing_that_was_killed_is_where_the_machine_is(database: &Database) {
        let store = database.open().await;
        for (there, expected) in [
            (There::Unknown, Some("vm/-/web")),
            (on(), Some("vm/lab1/web")),
            (There::Nowhere, None),
        ] {
            let found: Result<Vec<String>, Failure> = store
                .write(move |write| {
                    let namespace = Namespace::from("default");
                    quota::let_go(write, &namespace, "vm/lab1/web")?;
                    quota::hold(write, &namespace, "vm/-/web", amount(128))?;
                    of_lost(write, &namespace, (&"web".into(), &there))?;
                    write.event(&labyard_store::event::Event::new(
                        Moment(3),
                        "default",
                        "test",
                        "held",
                        "web",
                    ))?;
                    let rows = write.query("SELECT subject FROM holds", &[])?;
                    let subjects = rows.iter().map(|row| row.get("subject"));
                    Ok(subjects.collect::<Result<_, StoreError>>()?)
                })
                .await;
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(found.unwrap(), expected);
        }
        assert_eq!(placed_name("vm/-/web"), Some("web".into()));
        assert_eq!(placed_name("vm/lab1/web"), None);
    }
}
