//! The settings that a host keeps, by InstanceID: of machines, of checkpoints, of switches, and the defaults.

use std::collections::BTreeMap;

use crate::cim::{Instance, Value};

use super::paths::owner;

/// Rows by InstanceID, which has no case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store(BTreeMap<String, Instance>);

impl Store {
    /// Adds a row, or puts it in the place of the one of its id.
    pub(crate) fn put(&mut self, row: Instance) {
        self.0.insert(id(&row).to_uppercase(), row);
    }

    /// The row of this id.
    pub(crate) fn get(&self, id: &str) -> Option<&Instance> {
        self.0.get(&id.to_uppercase())
    }

    /// The row of this id, to be changed.
    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Instance> {
        self.0.get_mut(&id.to_uppercase())
    }

    /// Takes a row away.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Instance> {
        self.0.remove(&id.to_uppercase())
    }

    /// The rows of a class, in an order that says nothing: the real one is not promised either.
    pub(crate) fn of_class(&self, class: &str) -> Vec<Instance> {
        let mut found: Vec<(u64, &Instance)> = self
            .0
            .iter()
            .filter(|(_, row)| row.class.eq_ignore_ascii_case(class))
            .map(|(id, row)| (scatter(id), row))
            .collect();
        found.sort_by_key(|(place, _)| *place);
        found.into_iter().map(|(_, row)| row.clone()).collect()
    }

    /// The rows of a class by reference, whoever's they are.
    pub(crate) fn each_of(&self, class: &'static str) -> impl Iterator<Item = &Instance> {
        self.0.values().filter(move |row| row.class == class)
    }

    /// The rows of an owner, its own first, then what hangs on it by id.
    pub(crate) fn owned(&self, by: &str) -> Vec<&Instance> {
        let by = by.to_uppercase();
        let mut found: Vec<&Instance> = self
            .0
            .range(by.clone()..)
            .take_while(|(id, _)| id.starts_with(&by))
            .filter(|(id, _)| owner(id) == by)
            .map(|(_, row)| row)
            .collect();
        found.sort_by_key(|row| id(row).matches('\\').count());
        found
    }

    /// The rows of an owner that are of a class.
    pub(crate) fn owned_of(&self, by: &str, class: &str) -> Vec<&Instance> {
        let mut found = self.owned(by);
        found.retain(|row| row.class.eq_ignore_ascii_case(class));
        found
    }

    /// Takes away all rows of an owner.
    pub(crate) fn remove_owned(&mut self, by: &str) {
        let by = by.to_uppercase();
        self.0.retain(|id, _| owner(id) != by);
    }

    /// Takes away what hangs below a row, and the row.
    pub(crate) fn remove_below(&mut self, id: &str) {
        let id = id.to_uppercase();
        let below = format!("{id}\\");
        self.0
            .retain(|there, _| *there != id && !there.starts_with(&below));
    }
}

/// The id of a row.
pub(crate) fn id(row: &Instance) -> &str {
    row.get("InstanceID").as_text().unwrap_or_default()
}

/// A text of a row; empty where it has none.
pub(crate) fn text<'a>(row: &'a Instance, name: &str) -> &'a str {
    row.get(name).as_text().unwrap_or_default()
}

/// A number of a row; 0 where it has none.
pub(crate) fn number(row: &Instance, name: &str) -> u64 {
    row.get(name).as_unsigned().unwrap_or_default()
}

/// The first text of an array.
pub(crate) fn first_text<'a>(row: &'a Instance, name: &str) -> Option<&'a str> {
    row.get(name).each().first().and_then(Value::as_text)
}

/// A number that depends on all of a text and keeps no order of texts: FNV-1a.
fn scatter(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::super::row::Row;
    use super::*;

    fn row(id: &str) -> Instance {
        Row::of("Msvm_X").text("InstanceID", id).done()
    }

    #[test]
    fn ids_have_no_case_and_owners_do_not_mix() {
        let mut store = Store::default();
        for id in [
            "Microsoft:AB",
            r"Microsoft:AB\1",
            r"Microsoft:AB\1\D",
            "Microsoft:ABC",
            r"Microsoft:ABC\1",
        ] {
            store.put(row(id));
        }
        assert!(store.get(r"microsoft:ab\1").is_some());
        let owned: Vec<&str> = store.owned("microsoft:ab").into_iter().map(id).collect();
        assert_eq!(owned, ["Microsoft:AB", r"Microsoft:AB\1", r"Microsoft:AB\1\D"]);
        store.remove_below(r"Microsoft:AB\1");
        assert_eq!(store.owned("Microsoft:AB").len(), 1);
        store.remove_owned("Microsoft:AB");
        assert_eq!(
            store.of_class("msvm_x").len(),
            2,
            "the other owner keeps its rows"
        );
    }
}
