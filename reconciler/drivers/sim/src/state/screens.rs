//! Screens before machines: each stands in the host's own list, and cards name it.

use std::net::IpAddr;

use labyard_driver::DriverError;
use labyard_driver::ids::{ObjectId, ScreenName};
use labyard_driver::observed::Attachment;
use labyard_driver::screen::{Callers, Screen};
use serde::{Deserialize, Serialize};

use super::{Definition, Machine, Nic, State, exists, refused};

/// A screen as the host keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    of: ObjectId,
    callers: Callers,
}

impl State {
    pub(crate) fn screen_machine(&mut self, screen: &Screen, callers: &Callers) -> Result<(), DriverError> {
        self.answering(&screen.of, "screening")?;
        let machine = self.machine_ref(&screen.of)?;
        let doing = format!("screening machine {}", machine.host_name);
        if self
            .screens
            .get(&screen.name)
            .is_some_and(|kept| kept.of != screen.of)
        {
            return Err(exists("screen", &screen.name));
        }
        for nic in machine.behind(screen) {
            match (&nic.screen, &nic.attachment) {
                (Some(other), _) if *other != screen.name => {
                    let message = format!("card {} stands behind {other} already", nic.mac);
                    return Err(refused(doing, message));
                }
                (_, Attachment::Other(kind)) => {
                    return Err(DriverError::Unsupported {
                        what: doing,
                        message: format!("filterref is not supported for network interfaces of type {kind}"),
                    });
                }
                _ => {}
            }
        }
        let kept = Kept {
            of: screen.of.clone(),
            callers: callers.clone(),
        };
        self.screens.insert(screen.name.clone(), kept);
        let machine = self.machine_mut(&screen.of)?;
        machine.definition.put_behind(screen);
        if let Some(run) = machine.run_mut() {
            run.definition.put_behind(screen);
        }
        Ok(())
    }

    pub(crate) fn screened(&self, screen: &Screen) -> Result<Option<Callers>, DriverError> {
        let machine = self.machine_ref(&screen.of)?;
        if machine
            .behind(screen)
            .any(|nic| nic.screen.as_ref() != Some(&screen.name))
        {
            return Ok(None);
        }
        let kept = self.screens.get(&screen.name).filter(|kept| kept.of == screen.of);
        Ok(kept.map(|kept| kept.callers.clone()))
    }

    pub(crate) fn remove_screen(&mut self, screen: &Screen) -> Result<(), DriverError> {
        if self
            .screens
            .get(&screen.name)
            .is_none_or(|kept| kept.of != screen.of)
        {
            return Ok(());
        }
        let uses = |nic: &Nic| nic.screen.as_ref() == Some(&screen.name);
        let runs = self.machines.values().filter_map(Machine::run);
        if runs.flat_map(|run| &run.definition.nics).any(uses) {
            return Err(refused(
                format!("removing screen {}", screen.name),
                "it is in use",
            ));
        }
        self.screens.remove(&screen.name);
        Ok(())
    }

    pub(crate) fn screen_names(&self) -> Vec<ScreenName> {
        self.screens.keys().cloned().collect()
    }

    /// What a card stands behind has to be there when its machine starts.
    pub(super) fn check_screen(&self, nic: &Nic) -> Result<(), String> {
        match &nic.screen {
            Some(name) if !self.screens.contains_key(name) => {
                Err(format!("referenced filter '{name}' is missing"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a caller gets through to a card of a running machine.
    pub(crate) fn lets_in(&self, id: &ObjectId, from: IpAddr) -> bool {
        let run = self.machines.get(id).and_then(Machine::run);
        let mut nics = run.iter().flat_map(|run| &run.definition.nics);
        nics.any(|nic| match &nic.screen {
            None => true,
            Some(name) => self.screens.get(name).is_some_and(|kept| match &kept.callers {
                Callers::Anybody => true,
                Callers::Only(these) => these.contains(&from.to_canonical()),
            }),
        })
    }
}

impl Machine {
    /// The cards that a screen stands before, or should, in the definition and in what runs.
    fn behind<'a>(&'a self, screen: &'a Screen) -> impl Iterator<Item = &'a Nic> {
        let live = self.run().map(|run| &run.definition);
        let all = [Some(&self.definition), live].into_iter().flatten();
        all.flat_map(|definition| &definition.nics)
            .filter(move |nic| screen.nics.contains(&nic.mac))
    }
}

impl Definition {
    fn put_behind(&mut self, screen: &Screen) {
        let cards = self.nics.iter_mut().filter(|nic| screen.nics.contains(&nic.mac));
        cards.for_each(|nic| nic.screen = Some(screen.name.clone()));
    }

    /// A card that stands behind a screen stays there: a specification does not speak of it.
    pub(super) fn keep_screens(&mut self, before: &Self) {
        for nic in &mut self.nics {
            let there = before.nics.iter().find(|there| there.mac == nic.mac);
            nic.screen = there.and_then(|there| there.screen.clone());
        }
    }
}
