//! The machine under work: what is desired, what was found, its record, and the bounds of the operation.

use std::sync::Arc;
use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::ids::ObjectId;
use labyard_driver::mark::{Mark, Stage};
use labyard_driver::observed::{MachineDetail, ObservedMachine, Power};
use labyard_driver::spec::{
    Accelerator, Choice, CpuModel, CpuSpec, DiskFormat, DiskSpec, DriveSpec, Graphics, MachineSpec,
    MediumSpec, NicSpec, NvramSpec,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::boot_order;
use crate::console::Tail;
use crate::desired::{DesiredMachine, Wishes, desired_cpu};
use crate::engine::{Deps, Fence, Reserve};
use crate::error::EngineError;
use crate::host::Host;
use crate::identity::Identity;
use crate::intent::{SEED_TARGET, Storage, boot_order};
use crate::keeper::Keeper;
use crate::record::Record;
use crate::view::Networks;
use serde::{Deserialize, Serialize};

/// What an operation has reached: handed out after every step, so that nothing of it can be lost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// The machine.
    pub identity: Identity,
    /// Its mark as it stands on the host.
    pub mark: Mark,
    /// Addresses that it was seen with, first NIC's first.
    pub seen: Vec<std::net::IpAddr>,
}

/// A machine under work.
pub struct Work<'a> {
    /// Where.
    pub host: &'a Host,
    /// Keeps its lease.
    pub keeper: &'a Arc<Keeper>,
    /// Clock, chance, processes.
    pub deps: &'a Arc<Deps>,
    /// What it shall be, with what hooks supplied; of a machine being destroyed what is known of its shutdown.
    pub desired: Arc<DesiredMachine>,
    /// Its name on the host.
    pub host_name: String,
    /// Where new volumes go.
    pub storage: Storage,
    /// What was found at the beginning or at the last look.
    pub found: Option<ObservedMachine>,
    /// Its record, once it stands on the host.
    pub record: Option<Arc<Record>>,
    /// The mark to begin with, where it is not on the host yet.
    pub first_mark: Mark,
    /// The host's id of it.
    pub id: ObjectId,
    /// Ended by the user.
    pub cancel: CancellationToken,
    /// When the operation's time is over.
    pub deadline: Instant,
    /// How long that was.
    pub limit: Duration,
    /// Whether it may take more of the host than there is.
    pub reserve: Reserve,
    /// Asked right before each change, where somebody else may take the work over.
    pub fence: Option<Arc<dyn Fence>>,
    /// Where the operation is.
    pub stage: Stage,
    /// Whether images left its drives that nobody may need any more.
    pub lets_go: bool,
    /// Addresses that `ready` saw.
    pub seen: Vec<std::net::IpAddr>,
    /// The end of the serial console, while the machine is started.
    pub tail: Tail,
    /// Whether this operation has started the machine, so that its readiness is waited for.
    pub started: Started,
}

/// Whether this operation has started the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It runs since before, or does not run.
    Not,
    /// It was started now.
    Now,
    /// It was adopted in mid-build: nobody waited for it to the end.
    Adopted,
}

fn choice<T>(wanted: Option<T>, asked_before: bool) -> Choice<T> {
    match wanted {
        Some(wanted) => Choice::Is(wanted),
        None if asked_before => Choice::Default,
        None => Choice::AsFound,
    }
}

impl Work<'_> {
    /// The machine as a person would name it.
    pub fn what(&self) -> String {
        format!("labyard_vm {:?}", self.desired.name.as_str())
    }

    /// An error of the driver, told of this machine.
    pub fn failed(&self) -> impl FnOnce(DriverError) -> EngineError + use<> {
        self.host.failed(self.what())
    }

    /// An error at one of its attributes.
    pub fn at(&self, attribute: impl Into<String>, message: impl Into<String>) -> EngineError {
        EngineError::Attribute {
            attribute: attribute.into(),
            message: message.into(),
        }
    }

    /// Its record.
    pub fn record(&self) -> Result<&Arc<Record>, EngineError> {
        self.record.as_ref().ok_or_else(|| EngineError::Unknown {
            host: self.host.name.clone(),
            what: self.what(),
            why: "it was not recorded".to_owned(),
        })
    }

    /// Its mark as it was written last.
    pub async fn mark(&self) -> Mark {
        match &self.record {
            Some(record) => record.mark().await,
            None => self.first_mark.clone(),
        }
    }

    /// Changes its mark on the host.
    pub async fn write(&self, change: impl FnOnce(&mut Mark)) -> Result<Mark, EngineError> {
        self.may_mutate().await?;
        self.record()?.update(change).await.map_err(self.failed())
    }

    /// Nothing is changed by an engine whose lease has run out, nor after the user has ended the run, nor after
    /// the operation's time.
    pub async fn may_mutate(&self) -> Result<(), EngineError> {
        let (host, what) = (self.host.name.clone(), self.what());
        if self.cancel.is_cancelled() {
            return Err(EngineError::Cancelled {
                host,
                what,
                stage: self.stage,
            });
        }
        if Instant::now() >= self.deadline {
            return Err(self.out_of_time());
        }
        if let Some(record) = &self.record
            && let Some(until) = record.lease_until().await
            && until <= self.deps.clock.now()
        {
            return Err(EngineError::LeaseLost { host, what });
        }
        if let Some(fence) = &self.fence
            && !fence.holds().await
        {
            return Err(EngineError::LeaseLost { host, what });
        }
        Ok(())
    }

    /// The error of an operation whose time is over.
    pub fn out_of_time(&self) -> EngineError {
        EngineError::Deadline {
            host: self.host.name.clone(),
            what: self.what(),
            limit: format!("{}s", self.limit.as_secs()),
            stage: self.stage,
        }
    }

    /// Its definition as it was found.
    pub fn detail(&self) -> Option<&MachineDetail> {
        self.found.as_ref().and_then(|machine| machine.detail.known())
    }

    /// What it does, as it was found.
    pub fn power(&self) -> Power {
        self.found
            .as_ref()
            .map_or(Power::Stopped, |machine| machine.power)
    }

    /// Looks at it again.
    pub async fn look(&mut self) -> Result<(), EngineError> {
        self.found = match self.host.driver.machine(&self.id).await {
            Ok(machine) => Some(machine),
            Err(DriverError::Missing { .. }) => None,
            Err(error) => return Err(self.failed()(error)),
        };
        Ok(())
    }

    /// What the operation has reached.
    pub async fn progress(&self) -> Progress {
        let mark = self.mark().await;
        let identity = Identity {
            token: mark.token.clone(),
            origin: mark.origin.clone(),
            id: self.id.clone(),
            host: self.host.uuid().cloned(),
        };
        Progress {
            identity,
            mark,
            seen: self.seen.clone(),
        }
    }

    /// The definition without devices, for the record.
    pub fn bare_spec(&self, mark: Mark, accelerator: Accelerator) -> MachineSpec {
        MachineSpec {
            id: self.id.clone(),
            host_name: self.host_name.clone(),
            mark,
            cpus: self.desired.cpus,
            cpus_max: self.desired.cpus_max,
            memory: self.desired.memory,
            memory_max: self.desired.memory_max,
            accelerator,
            firmware: self.desired.firmware,
            guards: self.desired.guards,
            nvram: None,
            boot_order: Vec::new(),
            machine_type: self.desired.machine_type.unwrap_or_default(),
            cpu: CpuSpec::default(),
            graphics: Graphics::None,
            serial: None,
            direct_boot: None,
            disks: Vec::new(),
            seed: None,
            media: Vec::new(),
            nics: Vec::new(),
        }
    }

    /// The whole definition.
    pub async fn spec(&self, mark: Mark, accelerator: Accelerator) -> Result<MachineSpec, EngineError> {
        let names = self.desired.nics.values().map(|nic| nic.network.as_str());
        let snapshot = self.host.knowing(&self.desired.namespace, names).await?;
        let networks = Networks {
            snapshot: &snapshot,
            namespace: Some(&self.desired.namespace),
        };
        let nics = self.desired.nics.iter().map(|(key, nic)| {
            let attachment = networks
                .attachment(&nic.network)
                .ok_or_else(|| self.no_network(key, nic))?;
            Ok(NicSpec {
                key: key.clone(),
                mac: nic.mac,
                attachment,
                vlan: nic.vlan,
                isolation: nic.isolation,
                model: nic.model,
            })
        });
        let nics = nics.collect::<Result<Vec<_>, EngineError>>()?;
        let disks = boot_order(&self.desired.disks)
            .into_iter()
            .filter_map(|(key, wanted)| {
                let disk = mark.disks.get(key)?;
                Some(DiskSpec {
                    key: key.clone(),
                    target: disk.target.clone(),
                    pool: disk.pool.clone(),
                    volume: disk.volume.clone(),
                    format: disk.format.unwrap_or(DiskFormat::Qcow2),
                    bus: wanted.bus,
                })
            });
        let disks = disks.collect();
        let seed = mark.seed.as_ref().map(|seed| MediumSpec {
            target: SEED_TARGET.to_owned(),
            pool: seed.pool.clone(),
            volume: seed.volume.clone(),
        });
        let media = mark.media.iter().map(|(key, drive)| {
            let volume = drive.image.as_ref().and_then(|image| image.volume.clone());
            DriveSpec {
                key: key.clone(),
                target: drive.target.clone(),
                medium: volume.map(|volume| (drive.pool.clone(), volume)),
            }
        });
        let media = media.collect();
        let direct_boot = self.desired.direct_boot.clone();
        let boot_order = boot_order::desired(&self.desired);
        let nvram = mark.nvram.as_ref().map(|nvram| NvramSpec {
            pool: nvram.pool.clone(),
            volume: nvram.volume.clone(),
        });
        Ok(MachineSpec {
            cpu: self.cpu(&mark),
            graphics: self.desired.graphics,
            serial: self.desired.serial.clone(),
            media,
            disks,
            seed,
            nics,
            direct_boot,
            boot_order,
            nvram,
            ..self.bare_spec(mark, accelerator)
        })
    }

    /// The processor: what was asked for before and no longer is goes back to what a new machine has.
    fn cpu(&self, mark: &Mark) -> CpuSpec {
        let before = desired_cpu(Wishes::from_mark(mark).cpu.as_ref());
        let wanted = &self.desired.cpu;
        CpuSpec {
            model: choice(wanted.model.clone(), before.model.is_some()),
            nested: choice(wanted.nested, before.nested.is_some()),
        }
    }

    /// The error of a NIC whose network is nowhere.
    pub fn no_network(
        &self,
        key: &labyard_driver::ids::NicKey,
        nic: &crate::desired::DesiredNic,
    ) -> EngineError {
        let message = format!(
            "host {} has no network {:?}, neither of namespace {} nor of its own: make it with a labyard_network \
             and refer to that resource's name, or name one that virsh net-list --all shows",
            self.host.name, nic.network, self.desired.namespace
        );
        self.at(format!("nics[{:?}].network", key.as_str()), message)
    }

    /// The accelerator: what the machine has already, else what the host really offers.
    pub async fn accelerator(&self) -> Result<Accelerator, EngineError> {
        let accelerator = match self.detail() {
            Some(detail) => detail.accelerator,
            None => self.host.accelerator().await.map_err(self.failed())?,
        };
        let passes_through = self.desired.cpu.model == Some(CpuModel::HostPassthrough);
        if accelerator == Accelerator::Qemu && passes_through {
            let message = format!(
                "host {} runs guests by QEMU's emulation, which cannot pass its own processor through: use maximum, \
                 or leave it out",
                self.host.name
            );
            return Err(self.at("cpu.model", message));
        }
        Ok(accelerator)
    }
}
