//! What stands on a host, as sorted lines; two of them tell what came and what went.

use std::collections::BTreeMap;
use std::fmt;

/// The lines of `private-host inventory`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    lines: Vec<String>,
}

impl Inventory {
    pub(crate) fn of(text: &str) -> Self {
        Self {
            // While libvirt asks QEMU what it can, which a daemon may have it do at any time, a process and a directory
            // of that are there.
            lines: text
                .lines()
                .filter(|line| !line.contains(" lib/qemu/qmp-") && *line != "process qemu-probe")
                .map(str::to_owned)
                .collect(),
        }
    }

    /// Its lines, sorted.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The lines of one kind: `domain`, `network`, `volume`, `file`, `process`, ...
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        self.lines
            .iter()
            .filter_map(move |line| line.strip_prefix(kind)?.strip_prefix(' '))
    }

    /// What a later inventory has more and less than this one.
    pub fn changes_to(&self, later: &Self) -> Changes {
        let mut count: BTreeMap<&String, i32> = BTreeMap::new();
        later
            .lines
            .iter()
            .for_each(|line| *count.entry(line).or_default() += 1);
        self.lines
            .iter()
            .for_each(|line| *count.entry(line).or_default() -= 1);
        let lines_where = |wanted: fn(i32) -> bool| {
            count
                .iter()
                .filter(|(_, n)| wanted(**n))
                .map(|(line, _)| (*line).clone())
                .collect()
        };
        Changes {
            came: lines_where(|n| n > 0),
            went: lines_where(|n| n < 0),
        }
    }
}

/// The difference of two inventories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// What the later one has more.
    pub came: Vec<String>,
    /// What it has no longer.
    pub went: Vec<String>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.came.is_empty() && self.went.is_empty()
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.came.iter().try_for_each(|line| writeln!(f, "+ {line}"))?;
        self.went.iter().try_for_each(|line| writeln!(f, "- {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_what_went_is_told_apart_and_doubles_count() {
        let before = Inventory::of("domain a running\nprocess dnsmasq n\nprocess dnsmasq n\n");
        let after = Inventory::of("domain a shut off\nprocess dnsmasq n\n");
        let changes = before.changes_to(&after);
        assert_eq!(changes.came, ["domain a shut off"]);
        assert_eq!(changes.went, ["domain a running", "process dnsmasq n"]);
        assert!(before.changes_to(&before).is_empty());
    }

    #[test]
    fn what_libvirt_does_to_learn_what_qemu_can_is_no_change() {
        let quiet = Inventory::of("process dnsmasq lab\n");
        let asking = Inventory::of("file lib/qemu/qmp-x1\nprocess dnsmasq lab\nprocess qemu-probe\n");
        assert!(quiet.changes_to(&asking).is_empty());
    }

    #[test]
    fn a_kind_is_a_whole_word() {
        let inventory = Inventory::of("file x\nfilesystem y\n");
        assert_eq!(inventory.of_kind("file").collect::<Vec<_>>(), ["x"]);
    }
}
