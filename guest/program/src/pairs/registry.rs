//! The registry of Windows: below `HKLM\SOFTWARE\Microsoft\Virtual Machine`, one text a pair.

use std::io;

use labyard_exchange::{Action, Items, VmId};
use windows_registry::{Key, LOCAL_MACHINE, Result};

use super::{Look, NoPairs, Pairs};

const ABOVE: &str = "SOFTWARE\\Microsoft\\Virtual Machine";
/// What the host's users wrote.
const FROM_HOST: &str = "External";
/// What the guest's users wrote.
const FROM_GUEST: &str = "Guest";
/// What the host says of itself and of the machine.
const FACTS: &str = "Guest\\Parameters";
const MACHINE: &str = "VirtualMachineId";

/// The keys.
#[derive(Debug)]
pub(crate) struct Registry {
    above: Key,
}

impl Registry {
    /// Those of this system.
    ///
    /// # Errors
    /// If they cannot be opened: the service of the pairs (`vmickvpexchange`) makes them.
    pub(crate) fn open() -> std::result::Result<Self, NoPairs> {
        Self::below(ABOVE)
    }

    /// Those below a key of `HKEY_LOCAL_MACHINE`.
    pub(crate) fn below(path: &str) -> std::result::Result<Self, NoPairs> {
        let above = LOCAL_MACHINE.create(path).map_err(|error| failed(path, error))?;
        Ok(Self { above })
    }

    /// The texts of a key; none where it is not there.
    fn texts(&self, path: &str) -> Result<Vec<(String, String)>> {
        let Ok(key) = self.above.open(path) else {
            return Ok(Vec::new());
        };
        let texts = key.values()?.filter_map(|(name, value)| {
            // Numbers and bytes stand beside: they are nobody's pairs.
            String::try_from(value).ok().map(|text| (name, text))
        });
        Ok(texts.collect())
    }

    fn machine(&self) -> Option<VmId> {
        let facts = self.above.open(FACTS).ok()?;
        facts.get_string(MACHINE).ok()?.trim().parse().ok()
    }

    fn change(&self, actions: &[Action]) -> Result<()> {
        let key = self.above.create(FROM_GUEST)?;
        for action in actions {
            match action {
                Action::Put(items) => {
                    for item in items {
                        key.set_string(&item.key, &item.text)?;
                    }
                }
                Action::Remove(keys) => {
                    for name in keys.iter().filter(|name| key.get_type(name).is_ok()) {
                        key.remove_value(name)?;
                    }
                }
                Action::Apply(_) | Action::Remember(_) | Action::Refused(_) => {}
            }
        }
        Ok(())
    }
}

impl Pairs for Registry {
    fn look(&mut self) -> std::result::Result<Look, NoPairs> {
        let host = self.texts(FROM_HOST).map_err(|error| failed(FROM_HOST, error))?;
        let own = self
            .texts(FROM_GUEST)
            .map_err(|error| failed(FROM_GUEST, error))?;
        Ok(Look {
            host: Items::of_texts(host),
            own: Items::of_texts(own),
            machine: self.machine(),
        })
    }

    fn write(&mut self, actions: &[Action]) -> std::result::Result<(), NoPairs> {
        self.change(actions).map_err(|error| failed(FROM_GUEST, error))
    }
}

fn failed(path: &str, error: impl Into<io::Error>) -> NoPairs {
    NoPairs::Failed {
        what: format!("HKEY_LOCAL_MACHINE\\{ABOVE}: {path}"),
        error: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use labyard_exchange::Item;

    use super::*;

    #[test]
    fn pairs_are_written_read_and_taken_away() {
        let path = format!("SOFTWARE\\labyard-test-{}", std::process::id());
        let mut registry = Registry::below(&path).unwrap();
        let external = registry.above.create(FROM_HOST).unwrap();
        external.set_string("labyard.request", "{}").unwrap();
        external.set_u32("labyard.number", 1).unwrap();
        let facts = registry.above.create(FACTS).unwrap();
        let id = "7D0D9A2C-6F3B-4E6B-8C52-0F1E2D3C4B5A";
        facts.set_string(MACHINE, id).unwrap();
        let key = Item {
            key: "labyard.key".into(),
            text: "x".into(),
        };
        registry.write(&[Action::Put(vec![key])]).unwrap();
        let look = registry.look().unwrap();
        assert_eq!(look.host.text("labyard.request"), Ok(Some("{}")));
        assert_eq!(look.host.keys().count(), 1);
        assert_eq!(look.own.text("labyard.key"), Ok(Some("x")));
        assert_eq!(look.machine, id.parse().ok());
        let gone = Action::Remove(vec!["labyard.key".into(), "labyard.none".into()]);
        registry.write(&[gone]).unwrap();
        assert_eq!(registry.look().unwrap().own.text("labyard.key"), Ok(None));
        LOCAL_MACHINE.remove_tree(&path).unwrap();
    }
}
