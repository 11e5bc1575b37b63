//! Disks copied while their machines run: a copy takes its time, and its volume is empty until it is whole.

use labyard_driver::DriverError;
use labyard_driver::copy::{Copying, DiskCopy};
use labyard_driver::ids::{Bytes, ObjectId};
use labyard_driver::spec::DiskFormat;
use serde::{Deserialize, Serialize};

use super::content::Content;
use super::guest::Run;
use super::inside::Files;
use super::{Machine, State, refused};
use crate::clock::Millis;

/// The copy of a disk that was begun last in a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// The path of the volume that it goes to.
    into: String,
    progress: Progress,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Progress {
    Going(Box<Moment>),
    Whole,
    Ended,
}

/// The disk as it was when its copy was begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Moment {
    /// When all of it is copied.
    due: Millis,
    files: Files,
    content: Content,
    allocated: Bytes,
}

impl Run {
    /// When the copy that goes on is whole.
    pub(super) fn copy_due(&self) -> Option<Millis> {
        match &self.copy.as_ref()?.progress {
            Progress::Going(moment) => Some(moment.due),
            Progress::Whole | Progress::Ended => None,
        }
    }
}

impl State {
    pub(crate) fn begin_copy(
        &mut self,
        id: &ObjectId,
        copy: &DiskCopy,
        now: Millis,
    ) -> Result<(), DriverError> {
        self.answering(id, "copying a disk of")?;
        let machine = self.machine_ref(id)?;
        let doing = format!("copying a disk of machine {}", machine.host_name);
        let (disk, into) = (
            self.path_in(&copy.pool, &copy.disk)?,
            self.path_in(&copy.pool, &copy.into)?,
        );
        let Some(run) = machine.run() else {
            return Err(refused(doing, "it does not run"));
        };
        if !run.definition.disks.iter().any(|there| there.path == disk) {
            return Err(refused(doing, format!("it has no disk {disk}")));
        }
        if run.copy_due().is_some() {
            return Err(refused(doing, "another domain backup job is running"));
        }
        let capacity = self.volumes.get(&disk).map(|volume| volume.capacity);
        let fits = self.volumes.get(&into).is_some_and(|into| {
            into.backing.is_none() && into.format == DiskFormat::Qcow2 && Some(into.capacity) >= capacity
        });
        if !fits {
            let message = format!("{into} is no empty volume as large as the disk");
            return Err(refused(doing, message));
        }
        let (files, content, allocated) = self.flat(&disk);
        self.check_room(&copy.pool, allocated, &doing)?;
        let takes = u64::try_from(self.settings.copy.as_millis()).unwrap_or(u64::MAX);
        let moment = Moment {
            due: now.saturating_add(takes),
            files,
            content,
            allocated,
        };
        if let Some(run) = self.machine_mut(id)?.run_mut() {
            let progress = Progress::Going(Box::new(moment));
            run.copy = Some(Job { into, progress });
        }
        self.schedule(id);
        Ok(())
    }

    /// The copy that goes on is whole now, if its volume is still there.
    pub(super) fn finish_copy(&mut self, id: &ObjectId) {
        let run = self.machines.get_mut(id).and_then(Machine::run_mut);
        let Some(job) = run.and_then(|run| run.copy.as_mut()) else {
            return;
        };
        let Progress::Going(moment) = std::mem::replace(&mut job.progress, Progress::Ended) else {
            return;
        };
        if let Some(volume) = self.volumes.get_mut(&job.into) {
            volume.allocated = volume.allocated.max(moment.allocated);
            (volume.files, volume.content) = (moment.files, moment.content);
            job.progress = Progress::Whole;
        }
    }

    pub(crate) fn copying(&self, id: &ObjectId, copy: &DiskCopy) -> Result<Copying, DriverError> {
        let into = self.path_in(&copy.pool, &copy.into)?;
        let job = self.machine_ref(id)?.run().and_then(|run| run.copy.as_ref());
        Ok(
            match job.filter(|job| job.into == into).map(|job| &job.progress) {
                Some(Progress::Going(_)) => Copying::Going,
                Some(Progress::Whole) => Copying::Whole,
                Some(Progress::Ended) => Copying::Ended("the job was cancelled".to_owned()),
                None => Copying::Ended("no such job was begun".to_owned()),
            },
        )
    }

    pub(crate) fn end_copy(&mut self, id: &ObjectId, copy: &DiskCopy) -> Result<(), DriverError> {
        let into = self.path_in(&copy.pool, &copy.into)?;
        let run = self.machine_mut(id)?.run_mut();
        let job = run.and_then(|run| run.copy.as_mut());
        if let Some(job) = job.filter(|job| job.into == into)
            && matches!(job.progress, Progress::Going(_))
        {
            job.progress = Progress::Ended;
        }
        Ok(())
    }
}
