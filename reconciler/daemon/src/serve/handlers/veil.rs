//! What a snapshot of a host tells to whom. A plan in one namespace needs of the others' objects what these take of the
//! host: MACs, addresses, sizes. By what their states know them again, what their volumes are called, what was wished and
//! what hooks said of them is told to nobody else: who knows these could ask for what is not theirs.
//!
//! What is shown of another namespace's object is listed here, so that what is added to marks is not shown.

use labyard_driver::{
    ids::{PoolName, VolumeName},
    mark::Mark,
    observed::{Detail, Hardware, MachineDetail, MarkState, ObservedMachine, ObservedNetwork, Snapshot},
};
use labyard_labs::show::Scope;
use std::collections::BTreeSet;

/// The snapshot as that scope may see it.
pub(super) fn veiled(snapshot: &Snapshot, scope: &Scope) -> Snapshot {
    let mut snapshot = snapshot.clone();
    if *scope == Scope::All {
        return snapshot;
    }
    let is_theirs = |mark: &MarkState| {
        mark.ours()
            .is_some_and(|mark| scope.holds(&mark.namespace.as_str().into()))
    };
    let volumes = Volumes::of(
        snapshot
            .machines
            .iter()
            .filter(|machine| is_theirs(&machine.mark)),
    );
    snapshot.volumes.retain(|volume| {
        volumes.own.contains(&(volume.pool.clone(), volume.name.clone()))
            || volumes.images.contains(&volume.name)
    });
    // Machines of nobody are shown to who sees everything; networks of nobody are the host's, for all to be on.
    snapshot.machines.retain(|machine| machine.mark.ours().is_some());
    let machines = snapshot.machines.iter_mut();
    machines
        .filter(|machine| !is_theirs(&machine.mark))
        .for_each(hide_machine);
    let networks = snapshot.networks.iter_mut();
    networks
        .filter(|network| network.mark != MarkState::None && !is_theirs(&network.mark))
        .for_each(hide_network);
    snapshot
}

/// The volumes that a scope is told of: those of its own machines, and the images that these are made of.
struct Volumes {
    own: BTreeSet<(PoolName, VolumeName)>,
    images: BTreeSet<VolumeName>,
}

impl Volumes {
    fn of<'a>(machines: impl Iterator<Item = &'a ObservedMachine>) -> Self {
        let marks: Vec<&Mark> = machines.filter_map(|machine| machine.mark.ours()).collect();
        Self {
            own: marks.iter().flat_map(|mark| mark.own_volumes()).collect(),
            images: marks
                .iter()
                .flat_map(|mark| mark.image_volumes().cloned())
                .collect(),
        }
    }
}

/// The mark of an object of another namespace: whose it is, how far it is, and what its NICs have.
fn hide_mark(mark: &mut MarkState) {
    match mark {
        MarkState::Ours(mark) => {
            let shown = Mark {
                ownership: mark.ownership,
                stage: mark.stage,
                nics: mark.nics.clone(),
                ..Mark::building(mark.kind, mark.namespace.clone(), mark.name.clone(), "".into())
            };
            **mark = shown;
        }
        MarkState::Unreadable(why) => *why = "it is not of a namespace of yours".to_owned(),
        MarkState::None => {}
    }
}

fn hide_machine(machine: &mut ObservedMachine) {
    hide_mark(&mut machine.mark);
    if let Detail::Known(detail) = &mut machine.detail {
        hide_detail(detail);
    }
}

fn hide_detail(detail: &mut MachineDetail) {
    detail.nvram = None;
    detail.direct_boot = None;
    detail.disks.clear();
    detail.hardware = Hardware::default();
    detail.live_hardware = None;
    detail.vnc_port = None;
    detail.cdroms.clear();
    detail.drive_boot.clear();
    detail.live_cdroms = None;
}

fn hide_network(network: &mut ObservedNetwork) {
    hide_mark(&mut network.mark);
    network.boot = None;
    let kept = network.reservations.iter_mut();
    kept.for_each(|reservation| reservation.name = None);
    let leased = network.leases.iter_mut();
    leased.for_each(|lease| lease.hostname = None);
}
