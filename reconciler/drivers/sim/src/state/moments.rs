//! Moments: a machine's memory kept in a file, and the machine put back to it.

use labyard_driver::ids::{Bytes, ObjectId};
use labyard_driver::moment::{Footing, MomentSpec, Resume, SavedMemory};
use labyard_driver::observed::PoolKind;
use labyard_driver::spec::DiskFormat;
use labyard_driver::{DriverError, HostEvent};
use serde::{Deserialize, Serialize};

use super::guest::Run;
use super::inside::Files;
use super::{Content, Definition, MachineActivity, State, Volume, refused, stored};
use crate::clock::Millis;

/// The memory of a machine, in a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    of: ObjectId,
    at: Millis,
    run: Box<Run>,
}

impl State {
    pub(crate) fn suspend_machine(&mut self, id: &ObjectId, now: Millis) -> Result<(), DriverError> {
        self.answering(id, "suspending")?;
        self.pause(id, now)
    }

    pub(crate) fn set_footing(&mut self, moment: &MomentSpec, footing: Footing) -> Result<(), DriverError> {
        self.answering(&moment.id, "defining")?;
        let mut definition = self.machine_ref(&moment.id)?.definition.clone();
        self.stand(&mut definition, moment, footing)?;
        let machine = self.machine_mut(&moment.id)?;
        machine.definition = definition;
        machine.mark = stored(&moment.mark);
        self.event(HostEvent::Machine(moment.id.clone()));
        Ok(())
    }

    /// Lets the moment's disks stand on their bases or on overlays, wherever they stood.
    fn stand(
        &self,
        definition: &mut Definition,
        moment: &MomentSpec,
        footing: Footing,
    ) -> Result<(), DriverError> {
        let doing = || format!("defining machine {}", moment.id);
        for wanted in &moment.disks {
            let base = self.path_in(&wanted.pool, &wanted.base)?;
            let overlay = self.path_in(&wanted.pool, &wanted.overlay)?;
            let disk = definition
                .disks
                .iter_mut()
                .find(|disk| disk.path == base || disk.path == overlay);
            let disk =
                disk.ok_or_else(|| refused(doing(), format!("it has no disk on volume {}", wanted.base)))?;
            (disk.path, disk.format) = match footing {
                Footing::Bases => (base, wanted.base_format),
                Footing::Overlays => (overlay, DiskFormat::Qcow2),
            };
        }
        Ok(())
    }

    pub(crate) fn save_memory(&mut self, moment: &MomentSpec, now: Millis) -> Result<(), DriverError> {
        self.answering(&moment.id, "saving")?;
        let machine = self.machine_ref(&moment.id)?;
        let doing = format!("saving machine {}", machine.host_name);
        let Some(run) = machine.run() else {
            return Ok(());
        };
        if self.pool(&moment.pool)?.kind != PoolKind::Directory {
            let message = format!("pool {} is not one of files", moment.pool);
            return Err(refused(doing, message));
        }
        let length = Bytes::from_mib(run.definition.memory.0);
        let kept = Kept {
            of: moment.id.clone(),
            at: now,
            run: Box::new(run.clone()),
        };
        let path = self.path_in(&moment.pool, &moment.memory)?;
        self.volumes.remove(&path);
        self.check_room(&moment.pool, length, &doing)?;
        let file = Volume {
            capacity: length,
            format: DiskFormat::Raw,
            backing: None,
            allocated: length,
            content: Content::default(),
            files: Files::new(),
            memory: Some(kept),
            uploads: 0,
        };
        self.volumes.insert(path, file);
        self.end_run(&moment.id, now, MachineActivity::Off(None));
        Ok(())
    }

    pub(crate) fn saved_memory(&self, moment: &MomentSpec) -> Result<SavedMemory, DriverError> {
        let path = self.path_in(&moment.pool, &moment.memory)?;
        let kept = self.volumes.get(&path).and_then(|file| file.memory.as_ref());
        Ok(match kept.is_some_and(|kept| kept.of == moment.id) {
            true => SavedMemory::Whole,
            false => SavedMemory::Wanting,
        })
    }

    pub(crate) fn return_to(
        &mut self,
        moment: &MomentSpec,
        resume: Resume,
        now: Millis,
    ) -> Result<(), DriverError> {
        let machine = self.machine_ref(&moment.id)?;
        let doing = format!("putting machine {} back", machine.host_name);
        if !matches!(machine.activity, MachineActivity::Off(_)) {
            return Err(refused(doing, "the machine is already active"));
        }
        let path = self.path_in(&moment.pool, &moment.memory)?;
        let kept = self.volumes.get(&path).and_then(|file| file.memory.clone());
        let kept = kept.filter(|kept| kept.of == moment.id);
        let kept = kept.ok_or_else(|| refused(doing.as_str(), format!("Failed to open file '{path}'")))?;
        let mut run = *kept.run;
        self.stand(&mut run.definition, moment, Footing::Overlays)?;
        self.check_startable(&run.definition)
            .map_err(|message| refused(doing, message))?;
        let disks = run.definition.disks.iter().map(|disk| disk.path.clone());
        self.locks
            .extend(disks.map(|path| (path, moment.id.clone())).collect::<Vec<_>>());
        self.runs += 1;
        run.came_back(self.runs, kept.at, now, resume);
        run.vnc_port = self.display_port(&run.definition.hardware);
        let machine = self.machine_mut(&moment.id)?;
        machine.definition = run.definition.clone();
        machine.mark = stored(&moment.mark);
        machine.activity = MachineActivity::On(Box::new(run));
        self.event(HostEvent::Machine(moment.id.clone()));
        self.hand_out_leases(&moment.id);
        self.schedule(&moment.id);
        Ok(())
    }
}
