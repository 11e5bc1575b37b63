//! What a plan says of room for a pool: whether the machines that it keeps free fit on its hosts at all, and now.

use std::collections::BTreeMap;

use labyard_driver::ids::{HostName, Mib};
use labyard_driver::observed::MachineSize;
use labyard_labs::member::State;
use labyard_reconciler::engine::Look;
use labyard_reconciler::host::Cordon;
use labyard_schema::vm_pool::VmPool;
use tfplugin::Diagnostics;
use tfplugin::value::Path;

use crate::lab::PoolView;
use crate::provider::Context;

/// How many machines of a pool a host has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fits {
    /// Beside what is there.
    now: u64,
    /// Were nothing there.
    alone: u64,
}

/// Checks that the free machines of a pool fit on these hosts. A host that cannot be read says nothing.
pub async fn check(
    pool: &VmPool,
    view: Option<&PoolView>,
    hosts: &[HostName],
    context: &Context,
    diags: &mut Diagnostics,
) {
    let machine = pool.template.as_machine();
    let size = MachineSize {
        cpus: machine.cpus,
        memory: Mib(machine.memory_mib),
    };
    let mut room = BTreeMap::new();
    for host in hosts {
        let Ok(capacity) = context.engine.capacity(host, Look::Recent).await else {
            return;
        };
        let fits = match context.engine.cordon(host) {
            Cordon::Open => Fits {
                now: capacity.fitting(size),
                alone: capacity.fitting_alone(size),
            },
            Cordon::Closed => Fits { now: 0, alone: 0 },
        };
        room.insert(host.to_string(), fits);
    }
    say(pool, there(view), &room, diags);
}

/// How many machines of the pool there are that are or become free.
fn there(view: Option<&PoolView>) -> u64 {
    let count = |state| {
        view.and_then(|view| view.counts.get(&state))
            .copied()
            .unwrap_or_default()
    };
    count(State::Free) + count(State::Building) + count(State::Recycling)
}

fn say(pool: &VmPool, there: u64, room: &BTreeMap<String, Fits>, diags: &mut Diagnostics) {
    let wanted = match pool.strategy.as_str() {
        "on_demand" => return,
        _ => u64::from(pool.ready),
    };
    let sum = |of: fn(&Fits) -> u64| room.values().map(of).fold(0, u64::saturating_add);
    let (now, alone) = (sum(|fits| fits.now), sum(|fits| fits.alone));
    let listed = |of: fn(&Fits) -> u64| {
        let each = room.iter().map(|(host, fits)| format!("{host}: {}", of(fits)));
        each.collect::<Vec<_>>().join(", ")
    };
    let at = Some(Path::attribute("ready"));
    if wanted > alone {
        let detail = format!(
            "ready = {wanted}, and hosts have processors and memory for {alone} such machines in all, were nothing else on \
             them ({}). Lower ready or the machines' size, or add hosts.",
            listed(|fits| fits.alone)
        );
        diags.error(at, "More machines than hosts carry", detail);
    } else if wanted > now.saturating_add(there) {
        let detail = format!(
            "{} machines are to be made, and hosts have room for {now} at present ({}). The apply waits for more, for \
             timeouts at most.",
            wanted - there,
            listed(|fits| fits.now)
        );
        diags.warning(at, "No room for all machines now", detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(ready: u32, strategy: &str, there: u64) -> Vec<String> {
        let text = format!(
            r#"{{"name": "k8s", "ready": {ready}, "max": 99, "strategy": "{strategy}", "template": {{}}}}"#
        );
        let pool: VmPool = serde_json::from_str(&text).unwrap();
        let room = [
            ("a".to_owned(), Fits { now: 1, alone: 4 }),
            ("b".to_owned(), Fits { now: 0, alone: 2 }),
        ];
        let mut diags = Diagnostics::default();
        say(&pool, there, &room.into(), &mut diags);
        let mut summaries: Vec<String> = diags.0.into_iter().map(|said| said.summary).collect();
        summaries.sort();
        summaries
    }

    #[test]
    fn more_than_hosts_carry_is_refused_and_more_than_they_have_now_is_told() {
        assert_eq!(said(7, "warm", 0), ["More machines than hosts carry"]);
        assert_eq!(said(6, "warm", 0), ["No room for all machines now"]);
        assert!(said(6, "warm", 5).is_empty(), "five of them are there");
        assert!(said(1, "warm", 0).is_empty());
        assert!(said(50, "on_demand", 0).is_empty());
    }
}
