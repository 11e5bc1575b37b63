//! Room for a machine that was placed: its record is the reservation.
//!
//! Every record is there before its builder looks. Whoever then finds that all records together fit goes on; so of
//! those that go on, the last to record saw all others, and no host is ever over its limit. Where they do not fit
//! together, records that have come no further give way to the one with the least id, which waits for that.

use std::time::Duration;

use labyard_driver::ids::ObjectId;
use labyard_driver::mark::{Ownership, Stage};
use labyard_driver::observed::{MachineSize, ObservedMachine, Snapshot};
use tokio::time::sleep;

use super::{Outcome, Work};
use crate::capacity::{fits, limit, taken};
use crate::engine::Reserve;
use crate::error::{Crowd, EngineError};
use crate::lease::{self, Holder};

/// How often the first of a crowd looks again.
const LOOKS: u32 = 25;
/// The pause between looks.
const PAUSE: Duration = Duration::from_millis(200);

/// What a look at the host tells the builder of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// There is room for all records.
    Room,
    /// Without records that have come no further there is room, and this one is the first of them.
    Wait,
    /// The same, and this one gives way.
    GiveWay,
    /// There is no room.
    Full,
}

/// Decides from the records on a host. `passing` tells which others are being placed at this moment.
fn verdict(
    snapshot: &Snapshot,
    limit: MachineSize,
    own: (&ObjectId, MachineSize),
    passing: impl Fn(&ObservedMachine) -> bool,
) -> Verdict {
    let (id, size) = own;
    let other = |m: &ObservedMachine| m.id != *id;
    if fits(limit, taken(snapshot, other), size) {
        return Verdict::Room;
    }
    if !fits(limit, taken(snapshot, |m| other(m) && !passing(m)), size) {
        return Verdict::Full;
    }
    let first = snapshot
        .machines
        .iter()
        .filter(|m| other(m) && passing(m))
        .all(|m| *id < m.id);
    if first { Verdict::Wait } else { Verdict::GiveWay }
}

/// Goes on where there is room; else takes the record back.
pub(super) async fn check(work: &mut Work<'_>) -> Outcome {
    if work.reserve != Reserve::Checked || work.mark().await.stage > Stage::Record {
        return Ok(());
    }
    let own = MachineSize {
        cpus: work.desired.cpus,
        memory: work.desired.memory,
    };
    let mut crowd = Crowd::Passing;
    let mut limits = None;
    for _ in 0..LOOKS {
        work.host.observer.invalidate();
        let snapshot = work.host.fresh().await?;
        let most = *limits.insert(limit(&snapshot.host, &work.host.policy));
        let now = work.deps.clock.now();
        let passing = |m: &ObservedMachine| {
            m.mark.ours().is_some_and(|mark| {
                let holder = lease::holder(
                    mark.lease.as_ref(),
                    &work.deps.engine,
                    work.deps.processes.as_ref(),
                    now,
                );
                mark.ownership == Ownership::Building && mark.stage == Stage::Record && holder != Holder::Dead
            })
        };
        match verdict(&snapshot, most, (&work.id, own), passing) {
            Verdict::Room => return Ok(()),
            Verdict::Wait => sleep(PAUSE).await,
            Verdict::GiveWay => break,
            Verdict::Full => {
                crowd = Crowd::Settled;
                break;
            }
        }
    }
    take_back(work).await?;
    let most = limits.map_or_else(String::new, |most| {
        format!(
            "machines may have {} MiB and {} processors there together, and it needs {} MiB and {}",
            most.memory.0, most.cpus, own.memory.0, own.cpus
        )
    });
    Err(EngineError::Full {
        host: work.host.name.clone(),
        what: work.what(),
        why: most,
        crowd,
    })
}

async fn take_back(work: &mut Work<'_>) -> Outcome {
    work.host
        .driver
        .remove_machine(&work.id)
        .await
        .map_err(work.failed())?;
    work.keeper.drop_hold(&work.id);
    work.record = None;
    work.found = None;
    work.host.observer.invalidate();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use labyard_driver::ids::Mib;
    use labyard_driver::observed::{Detail, HostFacts, MarkState, Power};

    const ONE: MachineSize = MachineSize {
        cpus: 1,
        memory: Mib(100),
    };

    fn host(machines: &[&str]) -> Snapshot {
        let machine = |id: &&str| ObservedMachine {
            id: (*id).into(),
            host_name: (*id).to_owned(),
            mark: MarkState::None,
            power: Power::Running,
            ended: None,
            autostart: Default::default(),
            size: Some(ONE),
            detail: Detail::Unknown(String::new()),
        };
        Snapshot {
            host: HostFacts {
                uuid: "u".into(),
                accelerators: vec![],
                pool: None,
                pool_fault: None,
                pools: vec![],
                cpus: 1,
                memory: Mib(200),
            },
            machines: machines.iter().map(machine).collect(),
            networks: vec![],
            volumes: vec![],
        }
    }

    fn of(machines: &[&str], own: &str, passing: &[&str]) -> Verdict {
        let most = MachineSize {
            cpus: 8,
            memory: Mib(200),
        };
        let passing = |m: &ObservedMachine| passing.contains(&m.id.as_str());
        verdict(&host(machines), most, (&own.into(), ONE), passing)
    }

    #[test]
    fn all_records_together_decide() {
        assert_eq!(of(&["a", "b"], "b", &["a"]), Verdict::Room);
        assert_eq!(of(&["a", "b", "c"], "c", &[]), Verdict::Full);
        assert_eq!(of(&["a", "b", "c"], "a", &["b", "c"]), Verdict::Wait);
        assert_eq!(of(&["a", "b", "c"], "b", &["a", "c"]), Verdict::GiveWay);
    }

    #[test]
    fn of_a_crowd_one_goes_on_however_they_look() {
        // Whoever gives way is gone at the next look; the first stays until it has room.
        let mut there = vec!["d", "b", "c", "a"];
        while let Some(own) = there
            .iter()
            .copied()
            .find(|own| of(&there, own, &there) == Verdict::GiveWay)
        {
            there.retain(|id| *id != own);
        }
        assert_eq!(there.len(), 2);
        assert!(there.iter().all(|own| of(&there, own, &there) == Verdict::Room));
        assert!(there.contains(&"a"));
    }
}
