//! Rules between the attributes of a pool.

use super::{VmPool, Window};
use crate::problem::{At, Problem};
use crate::text::Span;
use std::time::Duration;

impl VmPool {
    /// Rules between attributes; single values are checked by their table.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.ready > self.max {
            let detail = format!(
                "ready = {} is more than max = {}: so many can never be free. Lower ready or raise max.",
                self.ready, self.max
            );
            problems.push(Problem::new(
                vec![At::Attribute("ready")],
                "More ready than there may be",
                detail,
            ));
        }
        problems.extend(self.lease_problem());
        problems.extend(self.network_problems());
        problems.extend(
            self.schedule
                .iter()
                .flatten()
                .filter_map(|(key, window)| window.problem(key)),
        );
        problems.extend(self.template.as_machine().problems().into_iter().map(in_template));
        problems
    }

    /// What keeps a card of the template from being put on the network of a claim.
    fn network_problems(&self) -> Vec<Problem> {
        let Some(network) = &self.claim_network else {
            return Vec::new();
        };
        let mut problems = Vec::new();
        let mut refuse = |at: &'static str, short: &'static str, detail: String| {
            let at = vec![At::Attribute("claim_network"), At::Attribute(at)];
            problems.push(Problem::new(at, short, detail));
        };
        let none = std::collections::BTreeMap::new();
        let nics = self.template.as_machine().nics.as_ref().unwrap_or(&none);
        match nics.get(&network.nic) {
            None => refuse(
                "nic",
                "No such card",
                format!(
                    "{:?} is no key of template.nics: name the card that is put on the network.",
                    network.nic
                ),
            ),
            Some(_) if nics.len() < 2 => refuse(
                "nic",
                "The only card",
                format!(
                    "{:?} is the only card of the template: on a claim's network nobody would reach the machine. Add \
                     another card.",
                    network.nic
                ),
            ),
            Some(nic) if nic.vlan.is_some() => refuse(
                "nic",
                "Card with a VLAN",
                format!(
                    "Card {:?} has a VLAN, which a claim's network does not know: leave vlan out.",
                    network.nic
                ),
            ),
            Some(nic) if nic.boot.is_some() => refuse(
                "nic",
                "Card to boot from",
                format!(
                    "Card {:?} is one to boot from, and a claim's network has nothing to boot: boot from another.",
                    network.nic
                ),
            ),
            Some(_) => {}
        }
        problems
    }

    fn lease_problem(&self) -> Option<Problem> {
        let lease = self.lease.as_ref()?;
        let (usual, most) = (lease.length(), lease.longest());
        (usual > most).then(|| {
            let detail = format!(
                "A lease of {} s is longer than max, {} s.",
                usual.as_secs(),
                most.as_secs()
            );
            let at = vec![At::Attribute("lease"), At::Attribute("default")];
            Problem::new(at, "Lease longer than its limit", detail)
        })
    }
}

impl super::LeaseLimits {
    /// How long a lease is at first.
    pub fn length(&self) -> Duration {
        Span::or(self.default.as_ref(), Duration::from_secs(2 * 3600))
    }

    /// How long it may become.
    pub fn longest(&self) -> Duration {
        Span::or(self.max.as_ref(), Duration::from_secs(8 * 3600))
    }
}

impl Window {
    fn problem(&self, key: &str) -> Option<Problem> {
        let weekly = [self.from.is_some(), self.to.is_some(), self.days.is_some()];
        let once = [self.start.is_some(), self.end.is_some()];
        let whole = |parts: &[bool]| parts.iter().all(|part| *part);
        let any = |parts: &[bool]| parts.iter().any(|part| *part);
        let dated = self.not_before.is_some() || self.not_after.is_some();
        let right = (whole(&weekly) && !any(&once)) || (whole(&once) && !any(&weekly) && !dated);
        (!right).then(|| {
            let detail = "Give days, from and to for a window on days of the week (not_before and not_after bound it), or \
                          start and end for one event.";
            let at = vec![At::Attribute("schedule"), At::Key(key.to_owned())];
            Problem::new(at, "Window not understood", detail)
        })
    }
}

fn in_template(problem: Problem) -> Problem {
    let mut at = vec![At::Attribute("template")];
    at.extend(problem.at);
    Problem { at, ..problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(text: &str) -> VmPool {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_cannot_be_is_refused_at_its_attribute() {
        let bad = pool(
            r#"{"name": "k8s", "ready": 5, "max": 3, "strategy": "warm", "recycle": "reset", "on_destroy": "refuse",
                "max_in_flight": 2, "lease": {"default": "9h"},
                "schedule": {"term": {"timezone": "UTC", "days": ["mon"], "from": "08:00", "at_end": "soft"}},
                "template": {"memory_mib": 512, "disks": {"a b": {"size_gib": 1}}}}"#,
        );
        let said: Vec<_> = bad.problems().iter().map(ToString::to_string).collect();
        for part in [
            "ready: ready = 5",
            "lease.default: A lease of 32400 s",
            "schedule[\"term\"]: Give days",
            "template.disks[\"a b\"]",
        ] {
            assert!(said.iter().any(|text| text.contains(part)), "{part}: {said:#?}");
        }
    }

    fn networked(nic: &str, nics: &str) -> Vec<String> {
        let text = format!(
            r#"{{"name": "k8s", "ready": 1, "max": 3, "strategy": "warm", "recycle": "reset", "on_destroy": "refuse",
                "max_in_flight": 2, "claim_network": {{"nic": {nic:?}, "cidr": "10.78.0.0/24"}},
                "template": {{"memory_mib": 512, "nics": {nics}}}}}"#
        );
        pool(&text).problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_card_that_cannot_be_on_a_claims_network_is_refused() {
        let two = r#"{"lan": {"network": "lab", "model": "virtio"}, "own": {"network": "idle", "model": "virtio"}}"#;
        assert_eq!(networked("own", two), Vec::<String>::new());
        let one = r#"{"own": {"network": "idle", "model": "virtio"}}"#;
        let tagged = two.replace("idle\",", "idle\", \"vlan\": 7,");
        let booted = two.replace("idle\",", "idle\", \"boot\": 1,");
        for (nic, nics, part) in [
            ("other", two, "claim_network.nic: \"other\" is no key"),
            ("own", one, "claim_network.nic: \"own\" is the only card"),
            (
                "own",
                tagged.as_str(),
                "claim_network.nic: Card \"own\" has a VLAN",
            ),
            (
                "own",
                booted.as_str(),
                "claim_network.nic: Card \"own\" is one to boot from",
            ),
        ] {
            let said = networked(nic, nics);
            assert!(said.iter().any(|text| text.contains(part)), "{part}: {said:#?}");
        }
    }

    #[test]
    fn a_pool_as_the_documents_show_it_is_right() {
        let good = pool(
            r#"{"name": "k8s", "ready": 5, "max": 40, "strategy": "warm", "recycle": "reset", "on_destroy": "refuse",
                "max_in_flight": 4, "lease": {"default": "2h", "max": "8h", "idle": "15m"},
                "schedule": {"term": {"timezone": "Europe/Madrid", "days": ["mon", "wed"], "from": "08:00", "to": "12:00",
                    "not_before": "2026-09-01", "not_after": "2026-12-20", "warm_up": "30m", "at_end": "soft"},
                  "exam": {"timezone": "UTC", "start": "2026-12-21T08:00", "end": "2026-12-21T12:00", "at_end": "cut_off"}},
                "template": {"memory_mib": 512}}"#,
        );
        assert_eq!(good.problems(), []);
    }
}
