//! What a running machine can take without a restart. Pure.
//!
//! The diff asks before anything is done, with what the last look showed; [`crate::live`] asks again when it is done.

use labyard_driver::ids::Mib;
use labyard_driver::observed::{Room, ScsiController};
use labyard_driver::spec::{DiskBus, NicModel};

use crate::diff::Disturbance;

/// What a change of a running machine needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it is done while the machine runs.
    Nothing,
    /// A restart, and why.
    Restart(&'static str),
}

impl Need {
    /// What it disturbs.
    pub fn disturbance(self) -> Disturbance {
        match self {
            Self::Nothing => Disturbance::Live,
            Self::Restart(_) => Disturbance::Restart,
        }
    }

    /// In words.
    pub fn why(self) -> &'static str {
        match self {
            Self::Nothing => "it is done while the machine runs",
            Self::Restart(why) => why,
        }
    }
}

const UNSEEN: &str = "a machine that is not running, or cannot be looked at now, takes it at its next start";

/// Other room for processors; `None` is a machine that is not running.
pub fn cpus_max(wanted: u32, room: Option<&Room>) -> Need {
    match room {
        Some(room) if room.cpus == wanted => Need::Nothing,
        _ => Need::Restart("room for processors is made when a machine starts"),
    }
}

/// Other room for memory.
pub fn memory_max(wanted: Mib, room: Option<&Room>) -> Need {
    match room {
        Some(room) if room.memory == wanted => Need::Nothing,
        _ => Need::Restart("room for memory is made when a machine starts"),
    }
}

/// Another number of processors than the machine has now.
pub fn cpus(wanted: u32, now: u32, room: Option<&Room>) -> Need {
    match room {
        None => Need::Restart(UNSEEN),
        Some(_) if wanted < now => Need::Restart("a running guest does not give processors back"),
        Some(room) if wanted > room.cpus => {
            Need::Restart("it is more than the running machine has room for: see cpus_max")
        }
        Some(_) => Need::Nothing,
    }
}

/// Another amount of memory. `defined` is what the definition says now.
pub fn memory(wanted: Mib, most: Option<Mib>, defined: Mib, room: Option<&Room>) -> Need {
    match room {
        None => Need::Restart(UNSEEN),
        Some(room) if wanted > room.memory => {
            Need::Restart("it is more than the running machine has room for: see memory_max_mib")
        }
        // Without room that was asked for, a machine has all of its memory, and less of it is another machine.
        Some(room) if most.is_none() && defined == room.memory && wanted < room.memory => {
            Need::Restart("the machine was started with all of its memory: see memory_max_mib")
        }
        Some(_) => Need::Nothing,
    }
}

/// The ports of a running machine, as changes take and free them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing runs.
    Unlimited,
    /// It runs, and nothing can be plugged.
    None,
    /// So many, and perhaps a controller for scsi disks.
    Free(u32, ScsiController),
}

impl Ports {
    /// Of a running machine; one whose room is not known has none.
    pub fn of(room: Option<&Room>) -> Self {
        Self(room.map_or(Kind::None, |room| Kind::Free(room.ports, room.scsi)))
    }

    /// Of a machine that has live state and takes nothing.
    pub fn none() -> Self {
        Self(Kind::None)
    }

    /// Of a machine that does not run.
    pub fn unlimited() -> Self {
        Self(Kind::Unlimited)
    }

    fn plug(&mut self) -> Need {
        match &mut self.0 {
            Kind::Unlimited => Need::Nothing,
            Kind::None => Need::Restart(UNSEEN),
            Kind::Free(0, _) => {
                Need::Restart("the running machine has no free port left; a restart makes new ones")
            }
            Kind::Free(ports, _) => {
                *ports -= 1;
                Need::Nothing
            }
        }
    }

    fn unplug(&mut self) -> Need {
        match &mut self.0 {
            Kind::Unlimited => Need::Nothing,
            Kind::None => Need::Restart(UNSEEN),
            Kind::Free(ports, _) => {
                *ports += 1;
                Need::Nothing
            }
        }
    }

    fn without_port(self, refused: Option<&'static str>) -> Need {
        match (self.0, refused) {
            (Kind::Unlimited, _) => Need::Nothing,
            (Kind::None, _) => Need::Restart(UNSEEN),
            (Kind::Free(..), Some(why)) => Need::Restart(why),
            (Kind::Free(..), None) => Need::Nothing,
        }
    }

    /// A disk comes.
    pub fn takes_disk(&mut self, bus: DiskBus) -> Need {
        match (bus, self.0) {
            (DiskBus::Virtio, _) => self.plug(),
            (DiskBus::Scsi, Kind::Free(_, ScsiController::Missing)) => {
                Need::Restart("the running machine has no controller for scsi disks")
            }
            (DiskBus::Scsi | DiskBus::Usb, _) => self.without_port(None),
            (DiskBus::Sata, _) => {
                self.without_port(Some("a sata disk is not plugged into a running machine"))
            }
        }
    }

    /// A disk leaves.
    pub fn leaves_disk(&mut self, bus: Option<DiskBus>) -> Need {
        match bus {
            Some(DiskBus::Virtio) => self.unplug(),
            Some(DiskBus::Scsi | DiskBus::Usb) => self.without_port(None),
            Some(DiskBus::Sata) | None => {
                self.without_port(Some("a disk on this bus is not unplugged from a running machine"))
            }
        }
    }

    /// A disk goes to another bus.
    pub fn moves_disk(self) -> Need {
        self.without_port(Some("a disk changes its bus when the machine starts"))
    }

    /// A NIC comes.
    pub fn takes_nic(&mut self, model: NicModel) -> Need {
        if model.plugs_in() {
            return self.plug();
        }
        self.without_port(Some("a card of this model is not plugged into a running machine"))
    }

    /// A NIC leaves.
    pub fn leaves_nic(&mut self, model: Option<NicModel>) -> Need {
        if model.is_some_and(NicModel::plugs_in) {
            return self.unplug();
        }
        self.without_port(Some(
            "a card of this model is not unplugged from a running machine",
        ))
    }

    /// A device gets another place in the boot order.
    pub fn reorders(self) -> Need {
        self.without_port(Some("the boot order counts at a start"))
    }

    /// A NIC gets another VLAN.
    pub fn retags_nic(self) -> Need {
        self.without_port(Some("a card gets another VLAN when the machine starts"))
    }

    /// A NIC goes to another network.
    pub fn moves_nic(self) -> Need {
        self.without_port(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(ports: u32) -> Room {
        Room {
            cpus: 4,
            memory: Mib(1024),
            ports,
            scsi: ScsiController::Missing,
        }
    }

    #[test]
    fn processors_grow_within_the_room_and_never_shrink() {
        let room = room(0);
        assert_eq!(cpus(4, 2, Some(&room)), Need::Nothing);
        for (wanted, now) in [(5, 2), (1, 2)] {
            assert!(
                matches!(cpus(wanted, now, Some(&room)), Need::Restart(_)),
                "{wanted}"
            );
        }
        assert!(matches!(cpus(2, 1, None), Need::Restart(_)));
    }

    #[test]
    fn memory_moves_within_the_room_both_ways_where_room_was_asked_for() {
        let room = room(0);
        let asked = Some(Mib(1024));
        assert_eq!(memory(Mib(512), asked, Mib(1024), Some(&room)), Need::Nothing);
        assert_eq!(memory(Mib(1024), asked, Mib(512), Some(&room)), Need::Nothing);
        assert!(matches!(
            memory(Mib(1025), asked, Mib(512), Some(&room)),
            Need::Restart(_)
        ));
        assert!(matches!(
            memory(Mib(512), None, Mib(1024), Some(&room)),
            Need::Restart(_)
        ));
        // Room that was found and not asked for is used.
        assert_eq!(memory(Mib(768), None, Mib(512), Some(&room)), Need::Nothing);
    }

    #[test]
    fn what_leaves_frees_the_port_for_what_comes() {
        let mut ports = Ports::of(Some(&room(1)));
        assert_eq!(ports.takes_nic(NicModel::Virtio), Need::Nothing);
        assert!(matches!(ports.takes_disk(DiskBus::Virtio), Need::Restart(_)));
        assert_eq!(ports.leaves_disk(Some(DiskBus::Virtio)), Need::Nothing);
        assert_eq!(ports.takes_disk(DiskBus::Virtio), Need::Nothing);
    }

    #[test]
    fn only_some_buses_and_models_are_plugged() {
        let mut ports = Ports::of(Some(&room(8)));
        assert_eq!(ports.takes_disk(DiskBus::Usb), Need::Nothing);
        for need in [
            ports.takes_disk(DiskBus::Sata),
            ports.takes_disk(DiskBus::Scsi),
            ports.leaves_disk(None),
            ports.takes_nic(NicModel::E1000),
            ports.leaves_nic(Some(NicModel::Rtl8139)),
        ] {
            assert!(matches!(need, Need::Restart(_)));
        }
        assert_eq!(Ports::unlimited().takes_disk(DiskBus::Sata), Need::Nothing);
        assert!(matches!(Ports::none().takes_disk(DiskBus::Usb), Need::Restart(_)));
    }
}
