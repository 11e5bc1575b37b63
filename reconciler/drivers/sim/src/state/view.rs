//! What the host shows of itself.

use std::collections::{BTreeMap, BTreeSet};

use labyard_driver::DriverError;
use labyard_driver::ids::{ObjectId, PoolName};
use labyard_driver::mark::Mark;
use labyard_driver::observed::{
    Ability, Activity, Attachment, Detail, HostFacts, MachineDetail, MachineSize, MarkState, ObservedDisk,
    ObservedMachine, ObservedMedium, ObservedNetwork, ObservedNic, ObservedNvram, ObservedVolume, Offer,
    Power, Snapshot,
};
use labyard_driver::spec::{Accelerator, Firmware, SecureBoot};

use super::guest::Process;
use super::{Machine, MachineActivity, Network, Nic, State};
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
            networks: self.networks.values().map(|network| network.seen(now)).collect(),
            volumes: self.listed_volumes(),
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
            firmwares: vec![Firmware::Bios, Firmware::Uefi],
            variables: [SecureBoot::Off, SecureBoot::Microsoft]
                .map(|kind| (kind, Ok(format!("/firmware/{kind:?}_VARS.fd"))))
                .into(),
            tpm: Offer::Offered,
            cpu_models: Some(CPU_MODELS.map(str::to_owned).to_vec()),
            pool: self.settings.pool.clone().filter(|pool| self.pool(pool).is_ok()),
            pool_fault: None,
            pools: self.pool_facts(),
            hypervisor: format!("labyard sim {}", env!("CARGO_PKG_VERSION")),
            abilities: [Ability::BridgeVlan].into(),
            cpus: self.settings.cpus,
            memory: self.settings.memory,
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
        Ok(self.network_ref(id)?.seen(now))
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
        let disks = definition.disks.iter().map(|disk| ObservedDisk {
            target: disk.target.clone(),
            path: disk.path.clone(),
            pool: at(&disk.path).0,
            volume: at(&disk.path).1,
            capacity: self.capacity_at(&disk.path),
            boot: disk.boot,
            live: live.map(|live| {
                live.disks
                    .iter()
                    .any(|d| d.target == disk.target && d.path == disk.path)
            }),
        });
        let cdroms = definition.cdroms.iter().map(|(target, path)| {
            let medium = path.as_ref().map(|path| ObservedMedium {
                path: path.clone(),
                pool: at(path).0,
                volume: at(path).1,
                capacity: self.capacity_at(path),
            });
            (target.clone(), medium)
        });
        let nics = definition.nics.iter().map(|nic| ObservedNic {
            mac: nic.mac,
            attachment: nic.attachment.clone(),
            vlan: nic.vlan,
            boot: nic.boot,
            live: live.map(|live| {
                live.nics
                    .iter()
                    .any(|n| n.mac == nic.mac && n.attachment == nic.attachment)
            }),
            addresses: nic.leased(networks, now).into_iter().collect(),
        });
        Detail::Known(Box::new(MachineDetail {
            cpus: definition.cpus,
            live_cpus: live.map(|live| live.cpus),
            memory: definition.memory,
            live_memory: live.map(|live| live.memory),
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
            cdroms: cdroms.collect(),
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
            MachineActivity::Off => Power::Stopped,
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
