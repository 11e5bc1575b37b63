//! Disks copied while their machines run, and guests that are made ready for it.

use std::time::Duration;

use super::lab::{Failure, Lab, ensure, ensure_eq, ensure_error};
use super::moments::{read, running, write};
use super::sample;
use crate::copy::{Copying, DiskCopy};
use crate::guest::{GuestAnswer, GuestTask};
use crate::ids::{ObjectId, VolumeName};
use crate::observed::Power;

type Result<T = ()> = std::result::Result<T, Failure>;

/// Long enough for a blank disk of 64 MiB on a busy machine.
const SOON: Duration = Duration::from_secs(60);

fn copy_of(lab: &Lab<'_>, disk: &VolumeName, into: VolumeName) -> DiskCopy {
    DiskCopy {
        pool: lab.pool.clone(),
        disk: disk.clone(),
        into,
    }
}

async fn until_whole(lab: &Lab<'_>, id: &ObjectId, copy: &DiskCopy) -> Result {
    let whole = async || match lab.driver.copying(id, copy).await? {
        Copying::Going => Ok(false),
        Copying::Whole => Ok(true),
        Copying::Ended(why) => Err(Failure::new(why)),
    };
    lab.until("the copy is whole", SOON, whole).await
}

pub(super) async fn a_disk_of_a_machine_that_is_off_is_not_copied_as_of_a_running_one(
    lab: &Lab<'_>,
) -> Result {
    let disk = lab.disk("disk").await?;
    let mut spec = sample::with_disk(lab.machine("off"), &lab.pool, &disk);
    lab.define(&mut spec).await?;
    let copy = copy_of(lab, &disk, lab.disk("copy").await?);
    ensure_error!(lab.driver.begin_copy(&spec.id, &copy).await, Refused);
    lab.driver.end_copy(&spec.id, &copy).await?;
    Ok(())
}

pub(super) async fn a_disk_is_copied_while_its_machine_runs(lab: &Lab<'_>) -> Result {
    let spec = running(lab).await?;
    let disk = spec.disks[0].volume.clone();
    let other = copy_of(lab, &lab.disk("other").await?, lab.disk("copy").await?);
    ensure_error!(lab.driver.begin_copy(&spec.id, &other).await, Refused);
    for _ in 0..2 {
        let copy = copy_of(lab, &disk, lab.disk("copy").await?);
        lab.driver.begin_copy(&spec.id, &copy).await?;
        until_whole(lab, &spec.id, &copy).await?;
        lab.driver.end_copy(&spec.id, &copy).await?;
        let made = lab.driver.volume(&lab.pool, &copy.into).await?;
        ensure_eq!(made.backing, None, "what the copy stands on");
        let seen = lab.driver.machine(&spec.id).await?;
        ensure_eq!(seen.power, Power::Running, "the power");
        let stands = super::lab::known(&seen)?.disks[0].volume.clone();
        ensure_eq!(stands.as_ref(), Some(&disk), "the disk of the machine");
    }
    Ok(())
}

pub(super) async fn a_copy_that_was_ended_midway_is_begun_again(lab: &Lab<'_>) -> Result {
    let spec = running(lab).await?;
    let disk = spec.disks[0].volume.clone();
    for _ in 0..2 {
        let ended = copy_of(lab, &disk, lab.disk("ended").await?);
        lab.driver.begin_copy(&spec.id, &ended).await?;
        for _ in 0..2 {
            lab.driver.end_copy(&spec.id, &ended).await?;
        }
        let seen = lab.driver.copying(&spec.id, &ended).await?;
        ensure!(seen != Copying::Going, "a copy that was ended goes on");
        lab.driver.delete_volume(&lab.pool, &ended.into).await?;
    }
    // At once: nothing of those before is in its way.
    let copy = copy_of(lab, &disk, lab.disk("copy").await?);
    lab.driver.begin_copy(&spec.id, &copy).await?;
    until_whole(lab, &spec.id, &copy).await
}

pub(super) async fn what_is_a_systems_own_is_set_aside_and_put_back(lab: &Lab<'_>) -> Result {
    let spec = running(lab).await?;
    let ask = async |task: GuestTask| lab.driver.ask_guest(&spec.id, &task).await;
    let own = "/etc/machine-id";
    write(lab, &spec.id, own, b"one of a kind").await?;
    for _ in 0..2 {
        ensure_eq!(ask(GuestTask::Seal).await?, GuestAnswer::Done, "the answer");
        ensure_eq!(
            read(lab, &spec.id, own).await?,
            Some(Vec::new()),
            "the id that was set aside"
        );
    }
    for _ in 0..2 {
        ask(GuestTask::Freeze).await?;
    }
    for _ in 0..2 {
        ask(GuestTask::Thaw).await?;
    }
    for _ in 0..2 {
        ask(GuestTask::Unseal).await?;
        let back = read(lab, &spec.id, own).await?;
        ensure_eq!(back, Some(b"one of a kind".to_vec()), "the id that was put back");
    }
    Ok(())
}
