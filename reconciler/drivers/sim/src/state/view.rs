//! What the host shows of itself.

use std::collections::{BTreeMap, BTreeSet};

use labyard_driver::DriverError;
use labyard_driver::ids::{ObjectId, PoolName};
use labyard_driver::mark::Mark;
use labyard_driver::observed::{
    Ability, Activity, Attachment, Cable, Detail, HostFacts, MachineDetail, MachineSize, MarkState,
    NetworkStanding, ObservedDisk, ObservedMachine, ObservedMedium, ObservedNetwork, ObservedNic,
    ObservedNvram, ObservedVolume, Offer, Offers, Power, Snapshot, Standing,
};
use labyard_driver::spec::{Accelerator, Firmware, SecureBoot};

use super::guest::{Process, Run};
use super::{Disk, Machine, MachineActivity, Network, Nic, State};
use crate::clock::Millis;

/// The processor models that this host can give a guest.
pub(super) const CPU_MODELS: [&str; 3] = ["qemu64", "Haswell", "EPYC"];

impl State {
    pub(crate) fn snapshot(&self, now: Millis) -> Snapshot {
        let networks: BTreeMap<&str, &Network> = self
            .networks
            .values()
            .map(|network| (network.host_name.as_str(), network))
            .collect();
        let bulk = |machine: &Machine| match machine.mark {
            MarkState::None => machine.seen(Detail::Unknown("foreign: not part of a bulk read".to_owned())),
            _ => machine.seen(self.detail(machine, &networks, now)),
        };
        Snapshot {
            host: self.facts(),
            machines: self.machines.values().map(bulk).collect(),
            networks: self
                .networks
                .values()
                .map(|network| self.see_in_bulk(network, now))
                .collect(),
            volumes: self.listed_volumes(),
        }
    }

    /// Leases are told where somebody runs.
    fn see_in_bulk(&self, network: &Network, now: Millis) -> ObservedNetwork {
        let seen = self.see(network, now);
        match self.plugged(&network.host_name).is_empty() {
            true => ObservedNetwork {
                leases: Vec::new(),
                ..seen
            },
            false => seen,
        }
    }

    fn see(&self, network: &Network, now: Millis) -> ObservedNetwork {
        let plugged = self.plugged(&network.host_name);
        let standing = match network.cut.is_disjoint(&plugged) && !network.lags {
            true => NetworkStanding::AsDefined,
            false => NetworkStanding::Behind,
        };
        ObservedNetwork {
            standing,
            ..network.seen(now)
        }
    }

    fn facts(&self) -> HostFacts {
        let accelerators = match self.settings.accelerator {
            Accelerator::Kvm => vec![Accelerator::Kvm, Accelerator::Qemu],
            Accelerator::Qemu => vec![Accelerator::Qemu],
        };
        HostFacts {
            uuid: self.uuid.clone(),
            accelerators,
            pool: self.settings.pool.clone().filter(|pool| self.pool(pool).is_ok()),
            pool_fault: None,
            pools: self.pool_facts(),
            cpus: self.settings.cpus,
            memory: self.settings.memory,
        }
    }

    pub(crate) fn offers() -> Offers {
        Offers {
            hypervisor: format!("labyard sim {}", env!("CARGO_PKG_VERSION")),
            firmwares: vec![Firmware::Bios, Firmware::Uefi],
            variables: [SecureBoot::Off, SecureBoot::Microsoft]
                .map(|kind| (kind, Ok(format!("/firmware/{kind:?}_VARS.fd"))))
                .into(),
            tpm: Offer::Offered,
            cpu_models: Some(CPU_MODELS.map(str::to_owned).to_vec()),
            abilities: [Ability::BridgeVlan, Ability::EmptyDrive, Ability::Moments].into(),
        }
    }

    fn listed_volumes(&self) -> Vec<ObservedVolume> {
        let of_marks = self
            .machines
            .values()
            .filter_map(|machine| machine.mark.ours())
            .flat_map(Mark::pools);
        let pools: BTreeSet<PoolName> = of_marks.chain(self.settings.pool.clone()).collect();
        let volumes = self.volumes.keys().filter_map(|path| {
            let (pool, name) = self.volume_at(path)?;
            let path = path.clone();
            (pools.contains(&pool) && self.pool(&pool).is_ok()).then_some(ObservedVolume { pool, name, path })
        });
        volumes.collect()
    }

    pub(crate) fn machine(&self, id: &ObjectId, now: Millis) -> Result<ObservedMachine, DriverError> {
        let machine = self.machine_ref(id)?;
        let networks: BTreeMap<&str, &Network> = self
            .networks
            .values()
            .map(|network| (network.host_name.as_str(), network))
            .collect();
        Ok(machine.seen(self.detail(machine, &networks, now)))
    }

    pub(crate) fn network(&self, id: &ObjectId, now: Millis) -> Result<ObservedNetwork, DriverError> {
        Ok(self.see(self.network_ref(id)?, now))
    }

    pub(crate) fn marks(&self) -> Vec<(ObjectId, Mark)> {
        let machines = self.machines.values().map(|machine| (&machine.id, &machine.mark));
        let networks = self.networks.values().map(|network| (&network.id, &network.mark));
        let readable = machines
            .chain(networks)
            .filter_map(|(id, mark)| Some((id.clone(), mark.ours()?.clone())));
        readable.collect()
    }

    fn detail(&self, machine: &Machine, networks: &BTreeMap<&str, &Network>, now: Millis) -> Detail {
        let (definition, run) = (&machine.definition, machine.run());
        if run.is_some_and(|run| run.process == Process::Hangs) {
            return Detail::Unknown("the machine does not answer".to_owned());
        }
        if let Some(why) = machine.mark.ours().and_then(|mark| self.out_of_reach(mark)) {
            return Detail::Unknown(why);
        }
        let live = run.map(|run| &run.definition);
        let at = |path: &str| self.volume_at(path).unzip();
        let seen_disk = |disk: &Disk, standing| ObservedDisk {
            target: disk.target.clone(),
            path: disk.path.clone(),
            pool: at(&disk.path).0,
            volume: at(&disk.path).1,
            capacity: self.capacity_at(&disk.path),
            boot: disk.boot,
            bus: Some(disk.bus),
            format: Some(disk.format),
            standing,
        };
        let same_disk = |a: &Disk, b: &Disk| a.target == b.target && a.path == b.path;
        let disks = both(&definition.disks, live.map(|live| &live.disks[..]), same_disk)
            .map(|(disk, standing)| seen_disk(disk, standing));
        let cdroms = definition.cdroms.iter().map(|(target, path)| {
            let medium = path.as_ref().map(|path| ObservedMedium {
                path: path.clone(),
                pool: at(path).0,
                volume: at(path).1,
                capacity: self.capacity_at(path),
            });
            (target.clone(), medium)
        });
        let seen_nic = |nic: &Nic, standing| ObservedNic {
            mac: nic.mac,
            attachment: nic.attachment.clone(),
            vlan: nic.vlan,
            isolation: nic.isolation,
            boot: nic.boot,
            live_attachment: live
                .and_then(|live| live.nics.iter().find(|n| n.mac == nic.mac))
                .map(|nic| nic.attachment.clone()),
            cable: live
                .and_then(|live| live.nics.iter().find(|n| n.mac == nic.mac))
                .map_or(Cable::AsDefined, |nic| nic.cable),
            model: Some(nic.model),
            standing,
            addresses: nic.leased(networks, now).into_iter().collect(),
        };
        let same_nic = |a: &Nic, b: &Nic| a.mac == b.mac;
        let nics = both(&definition.nics, live.map(|live| &live.nics[..]), same_nic)
            .map(|(nic, standing)| seen_nic(nic, standing));
        Detail::Known(Box::new(MachineDetail {
            cpus: definition.cpus,
            cpus_max: definition.cpus_max,
            live_cpus: live.map(|live| live.cpus),
            memory: definition.memory,
            memory_max: definition.memory_max,
            live_memory: run.map(|run| run.memory(now)),
            room: run.map(Run::room),
            firmware: definition.firmware,
            guards: definition.guards,
            nvram: definition.nvram.as_ref().map(|path| ObservedNvram {
                path: path.clone(),
                volume: self.volume_at(path).map(|(_, volume)| volume),
            }),
            accelerator: definition.accelerator,
            direct_boot: definition.direct_boot.clone(),
            disks: disks.collect(),
            hardware: definition.hardware.clone(),
            live_hardware: live.map(|live| live.hardware.clone()),
            vnc_port: run.and_then(|run| run.vnc_port),
            cdroms: cdroms.collect(),
            drive_boot: definition.drive_boot.clone(),
            live_cdroms: live.map(|live| {
                let drives = live.cdroms.iter();
                drives
                    .map(|(target, path)| (target.clone(), path.clone().unwrap_or_default()))
                    .collect()
            }),
            nics: nics.collect(),
        }))
    }
}

/// Devices of the definition, then those that only what runs has.
fn both<'a, D>(
    defined: &'a [D],
    live: Option<&'a [D]>,
    same: impl Fn(&D, &D) -> bool + Copy + 'a,
) -> impl Iterator<Item = (&'a D, Standing)> {
    let of_definition = defined.iter().map(move |device| {
        let runs = live.is_none_or(|live| live.iter().any(|other| same(device, other)));
        (
            device,
            if runs {
                Standing::Whole
            } else {
                Standing::AtNextStart
            },
        )
    });
    let extra = live
        .unwrap_or_default()
        .iter()
        .filter(move |device| !defined.iter().any(|other| same(device, other)));
    of_definition.chain(extra.map(|device| (device, Standing::UntilStop)))
}

impl Nic {
    fn leased(&self, networks: &BTreeMap<&str, &Network>, now: Millis) -> Option<std::net::IpAddr> {
        let Attachment::Network(name) = &self.attachment else {
            return None;
        };
        let lease = networks.get(name.as_str())?.leases.get(&self.mac)?;
        lease.is_valid(now).then_some(lease.address)
    }
}

impl Machine {
    fn power(&self) -> Power {
        match &self.activity {
            MachineActivity::Off(_) => Power::Stopped,
            MachineActivity::Saved => Power::Saved,
            MachineActivity::Crashed => Power::Crashed,
            MachineActivity::On(run) if run.paused_at.is_some() => Power::Paused,
            MachineActivity::On(_) => Power::Running,
        }
    }

    fn seen(&self, detail: Detail) -> ObservedMachine {
        ObservedMachine {
            id: self.id.clone(),
            host_name: self.host_name.clone(),
            mark: self.mark.clone(),
            power: self.power(),
            ended: match &self.activity {
                MachineActivity::Off(ended) => *ended,
                MachineActivity::Saved | MachineActivity::Crashed | MachineActivity::On(_) => None,
            },
            size: Some(MachineSize {
                cpus: self.definition.cpus,
                memory: self.definition.memory,
            }),
            autostart: self.autostart,
            detail,
        }
    }
}

impl Network {
    fn seen(&self, now: Millis) -> ObservedNetwork {
        let leases = match self.active {
            Activity::Active => self.valid_leases(now),
            Activity::Inactive => Vec::new(),
        };
        ObservedNetwork {
            id: self.id.clone(),
            host_name: self.host_name.clone(),
            mark: self.mark.clone(),
            active: self.active,
            standing: NetworkStanding::AsDefined,
            autostart: self.autostart,
            mode: Some(self.mode),
            bridge: self.bridge.clone(),
            address: self.address,
            dhcp: self.dhcp,
            domain: self.domain.clone(),
            lan: self.lan.clone(),
            boot: self.boot.clone(),
            reservations: self.reservations.values().cloned().collect(),
            leases,
        }
    }
}
