//! Recording: a machine without devices, its mark in the very call that makes it, so that none is ever without one.

use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::ids::Token;
use labyard_driver::observed::ObservedMachine;
use labyard_driver::spec::{Firmware, MachineSpec};
use tokio::time::Instant;
use wsman::{Moment, Raw};

use crate::call::{Service, call, instance};
use crate::classes::Settings;
use crate::host::Host;
use crate::ids::{Generation, Guid, Owner, REALIZED};
use crate::machines::remove::destroy;
use crate::notes;
use crate::rows::{may_see, those};

/// `AutomaticStartupAction`: nothing.
const START_NOTHING: u16 = 2;
/// `AutomaticShutdownAction`: the guest is shut down.
const SHUT_DOWN: u16 = 4;
/// `UserSnapshotType`: with memory, so that a machine can be put back to a moment.
const WITH_MEMORY: u16 = 5;
/// The first build that makes checkpoints by itself, and so the first that can be told not to (Windows 10, 1709).
const AUTOMATIC_CHECKPOINTS: u32 = 16299;

/// How long is looked for a machine whose making was not answered, and how often.
const LOST: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(250);

/// A machine of some name.
#[derive(Clone, Debug, PartialEq)]
struct Namesake {
    guid: Guid,
    created: Option<Moment>,
    token: Option<Token>,
}

impl Host {
    /// Records a machine: the host chooses its id.
    ///
    /// # Errors
    /// [`DriverError::Exists`] where the name is taken, also by a racing caller.
    pub async fn record_machine(&self, spec: &MachineSpec) -> Result<ObservedMachine, DriverError> {
        let name = &spec.host_name;
        let doing = format!("recording machine {name}");
        let facts = self.facts().await?;
        if !self.namesakes(name).await?.is_empty() {
            return Err(taken(name));
        }
        let settings = self.bare(spec, facts.build);
        let method = Service::Machines.method("DefineSystem");
        let method = method.text("SystemSettings", instance(&doing, &settings)?);
        let made = match call(&self.client, &doing, &method).await {
            Ok(answer) => match answer.get("ResultingSystem") {
                Raw::Reference(to) => to.selector("Name").and_then(|name| name.parse().ok()),
                _ => None,
            },
            // What became of it, its token tells.
            Err(DriverError::ReplyLost { .. }) => None,
            Err(error) => return Err(error),
        };
        let is_own = |one: &Namesake| match made {
            Some(guid) => one.guid == guid,
            None => one.token.as_ref() == Some(&spec.mark.token),
        };
        let until = Instant::now() + LOST;
        let (own, there) = loop {
            let there = self.namesakes(name).await?;
            if let Some(own) = there.iter().find(|one| is_own(one)) {
                break (own.clone(), there);
            }
            if Instant::now() >= until {
                return Err(DriverError::ReplyLost {
                    doing,
                    message: "the host does not show it".to_owned(),
                });
            }
            // A host that goes on with it shows it when it is done.
            tokio::time::sleep(LOOK).await;
        };
        if !is_first(&own, &there) {
            destroy(&self.client, own.guid).await?;
            return Err(taken(name));
        }
        self.machine(&own.guid.into()).await
    }

    /// What a machine is made as. Everything that the host has a default for by its edition is said.
    fn bare(&self, spec: &MachineSpec, build: u32) -> Settings {
        let generation = match spec.firmware {
            Firmware::Bios => Generation::One,
            Firmware::Uefi => Generation::Two,
        };
        let root = Some(self.directory.configuration());
        Settings {
            element_name: Some(spec.host_name.clone()),
            notes: Some(vec![notes::write("", &spec.mark)]),
            subtype: Some(generation.subtype().to_owned()),
            secure_boot: (generation == Generation::Two).then_some(false),
            startup_action: Some(START_NOTHING),
            shutdown_action: Some(SHUT_DOWN),
            checkpoints: Some(WITH_MEMORY),
            automatic_checkpoints: (build >= AUTOMATIC_CHECKPOINTS).then_some(false),
            configuration_root: root.clone(),
            snapshot_root: root.clone(),
            swap_root: root,
            ..Settings::default()
        }
    }

    /// The machines of that name, by any hand.
    async fn namesakes(&self, name: &str) -> Result<Vec<Namesake>, DriverError> {
        let rows = those::<Settings>(&self.client, |select| {
            select
                .equal("ElementName", name)
                .equal("VirtualSystemType", REALIZED)
        });
        let ((), rows) = tokio::try_join!(may_see(&self.client), rows)?;
        let namesakes = rows.into_iter().filter_map(|settings| {
            let Owner::One(guid) = Owner::of(settings.id.as_deref()?)? else {
                return None;
            };
            let text = settings.notes.unwrap_or_default().into_iter().next();
            Some(Namesake {
                guid,
                created: settings.created,
                token: text.and_then(|text| notes::read(&text).mark.ours().map(|mark| mark.token.clone())),
            })
        });
        Ok(namesakes.collect())
    }
}

/// Of racing callers exactly one has the name: who was made first by the host's clock, and of those made at the same time who has the
/// smaller GUID. Who looks after making sees everybody who was made before.
fn is_first(own: &Namesake, all: &[Namesake]) -> bool {
    let order = |one: &Namesake| (one.created, one.guid);
    all.iter().all(|other| order(own) <= order(other))
}

fn taken(name: &str) -> DriverError {
    DriverError::Exists {
        what: format!("a machine called {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namesake(number: u8, created: Option<&str>) -> Namesake {
        Namesake {
            guid: format!("00000000-0000-4000-8000-0000000000{number:02X}")
                .parse()
                .unwrap(),
            created: created.map(|text| text.parse().unwrap()),
            token: None,
        }
    }

    #[test]
    fn of_namesakes_exactly_one_is_first() {
        let (early, late) = (
            Some("2026-01-01T00:00:00.000001Z"),
            Some("2026-01-01T00:00:00.000002Z"),
        );
        for all in [
            vec![namesake(2, early), namesake(1, late)],
            vec![namesake(2, early), namesake(1, early), namesake(3, early)],
            vec![namesake(1, None), namesake(2, None)],
        ] {
            let first: Vec<_> = all.iter().filter(|one| is_first(one, &all)).collect();
            assert_eq!(first.len(), 1, "{all:?}");
        }
        let all = [namesake(2, early), namesake(1, late)];
        assert!(is_first(&all[0], &all), "who was made first, whatever the GUIDs");
    }
}
