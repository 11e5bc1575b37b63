//! Machines that are kept as they are at a moment and put back to it; what their guests' agents do.

use super::lab::{Failure, Lab, ensure, ensure_eq, ensure_error, known};
use super::sample;
use crate::driver::AgentState;
use crate::guest::{GuestAnswer, GuestTask, Secret};
use crate::ids::{ObjectId, UnixMillis};
use crate::mark::Stage;
use crate::moment::{Footing, MomentDisk, MomentSpec, Resume, SavedMemory};
use crate::observed::Power;
use crate::spec::{DiskFormat, MachineSpec, VolumeContent};

type Result<T = ()> = std::result::Result<T, Failure>;

/// A key that nobody has the other half of.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtKs2bFSzdwO2sTLPZdZ5qjrJSuaUSJGrzgbNwbVTbu conformance";

/// A machine whose guest's agent answers.
pub(super) async fn running(lab: &Lab<'_>) -> Result<MachineSpec> {
    running_with(lab, |spec| spec).await
}

/// The same with more devices.
pub(super) async fn running_with(
    lab: &Lab<'_>,
    furnish: impl FnOnce(MachineSpec) -> MachineSpec,
) -> Result<MachineSpec> {
    let disk = lab.disk("disk").await?;
    let (spec, guest) = lab.bootable("kept")?;
    let mut spec = furnish(sample::with_disk(spec, &lab.pool, &disk));
    lab.define(&mut spec).await?;
    lab.driver.start_machine(&spec.id).await?;
    answers(lab, &spec.id, guest.patience).await?;
    Ok(spec)
}

async fn answers(lab: &Lab<'_>, id: &ObjectId, within: std::time::Duration) -> Result {
    let answers = async || Ok(lab.driver.agent_answers(id).await? == AgentState::Answers);
    lab.until("the agent answers", within, answers).await
}

pub(super) fn moment_of(lab: &Lab<'_>, spec: &MachineSpec) -> MomentSpec {
    let disks = spec.disks.iter().map(|disk| MomentDisk {
        pool: disk.pool.clone(),
        base: disk.volume.clone(),
        base_format: DiskFormat::Qcow2,
        overlay: lab.volume("since"),
    });
    MomentSpec {
        id: spec.id.clone(),
        mark: spec.mark.clone(),
        pool: lab.pool.clone(),
        memory: lab.volume("memory"),
        disks: disks.collect(),
    }
}

pub(super) async fn fresh_overlays(lab: &Lab<'_>, moment: &MomentSpec) -> Result {
    for disk in &moment.disks {
        let capacity = lab.driver.volume(&disk.pool, &disk.base).await?.capacity;
        lab.driver.delete_volume(&disk.pool, &disk.overlay).await?;
        let content = VolumeContent::Overlay {
            base: disk.base.clone(),
            base_format: disk.base_format,
            capacity,
        };
        lab.driver
            .create_volume(&sample::volume(&disk.pool, &disk.overlay, content))
            .await?;
    }
    Ok(())
}

pub(super) async fn write(lab: &Lab<'_>, id: &ObjectId, path: &str, content: &[u8]) -> Result {
    let task = GuestTask::WriteFile {
        path: path.to_owned(),
        content: content.to_vec(),
    };
    ensure_eq!(
        lab.driver.ask_guest(id, &task).await?,
        GuestAnswer::Done,
        "the answer"
    );
    Ok(())
}

pub(super) async fn read(lab: &Lab<'_>, id: &ObjectId, path: &str) -> Result<Option<Vec<u8>>> {
    match lab
        .driver
        .ask_guest(id, &GuestTask::ReadFile(path.to_owned()))
        .await?
    {
        GuestAnswer::File(file) => Ok(file),
        other => Err(Failure::new(format!("asked for a file it answered {other:?}"))),
    }
}

pub(super) async fn a_machine_goes_back_to_its_moment_as_often_as_asked(lab: &Lab<'_>) -> Result {
    let spec = running(lab).await?;
    let mut moment = moment_of(lab, &spec);
    write(lab, &spec.id, "/run/before", b"kept").await?;
    ensure_eq!(
        lab.driver.saved_memory(&moment).await?,
        SavedMemory::Wanting,
        "the memory before it was saved"
    );
    lab.driver.set_footing(&moment, Footing::Overlays).await?;
    lab.driver.save_memory(&moment).await?;
    lab.driver.save_memory(&moment).await?;
    ensure_eq!(
        lab.driver.machine(&spec.id).await?.power,
        Power::Stopped,
        "the power"
    );
    ensure_eq!(
        lab.driver.saved_memory(&moment).await?,
        SavedMemory::Whole,
        "the memory that was saved"
    );
    // What is written in the mark since is what it says after going back.
    moment.mark.stage = Stage::Ready;
    for _ in 0..2 {
        fresh_overlays(lab, &moment).await?;
        lab.driver.return_to(&moment, Resume::Running).await?;
        answers(lab, &spec.id, std::time::Duration::from_secs(60)).await?;
        ensure_eq!(
            read(lab, &spec.id, "/run/before").await?,
            Some(b"kept".to_vec()),
            "what was there"
        );
        ensure_eq!(
            read(lab, &spec.id, "/run/since").await?,
            None,
            "what was done since"
        );
        let seen = lab.driver.machine(&spec.id).await?;
        ensure_eq!(seen.mark.ours(), Some(&moment.mark), "the mark");
        let disk = known(&seen)?.disks.first().and_then(|disk| disk.volume.clone());
        ensure_eq!(disk.as_ref(), Some(&moment.disks[0].overlay), "the disk");
        ensure_error!(lab.driver.return_to(&moment, Resume::Running).await, Refused);
        write(lab, &spec.id, "/run/since", b"new").await?;
        lab.driver.power_off(&spec.id).await?;
    }
    Ok(())
}

pub(super) async fn a_machine_that_goes_back_paused_goes_on_when_started(lab: &Lab<'_>) -> Result {
    let spec = running(lab).await?;
    let moment = moment_of(lab, &spec);
    lab.driver.set_footing(&moment, Footing::Overlays).await?;
    lab.driver.save_memory(&moment).await?;
    fresh_overlays(lab, &moment).await?;
    lab.driver.return_to(&moment, Resume::Paused).await?;
    ensure_eq!(
        lab.driver.machine(&spec.id).await?.power,
        Power::Paused,
        "the power"
    );
    lab.driver.start_machine(&spec.id).await?;
    answers(lab, &spec.id, std::time::Duration::from_secs(60)).await?;
    for _ in 0..2 {
        lab.driver.suspend_machine(&spec.id).await?;
        ensure_eq!(
            lab.driver.machine(&spec.id).await?.power,
            Power::Paused,
            "the power"
        );
    }
    Ok(())
}

pub(super) async fn a_footing_is_taken_back_and_a_stopped_machine_has_no_memory(lab: &Lab<'_>) -> Result {
    let disk = lab.disk("disk").await?;
    let mut spec = sample::with_disk(lab.machine("footing"), &lab.pool, &disk);
    lab.define(&mut spec).await?;
    let moment = moment_of(lab, &spec);
    let stands = async || Ok::<_, Failure>(lab.detail(&spec.id).await?.disks[0].volume.clone());
    for footing in [
        Footing::Overlays,
        Footing::Overlays,
        Footing::Bases,
        Footing::Bases,
    ] {
        lab.driver.set_footing(&moment, footing).await?;
        let expected = match footing {
            Footing::Overlays => &moment.disks[0].overlay,
            Footing::Bases => &disk,
        };
        ensure_eq!(
            stands().await?.as_ref(),
            Some(expected),
            "what its disk stands on"
        );
    }
    lab.driver.save_memory(&moment).await?;
    ensure_eq!(
        lab.driver.saved_memory(&moment).await?,
        SavedMemory::Wanting,
        "the memory of a machine that is off"
    );
    ensure_error!(lab.driver.return_to(&moment, Resume::Running).await, Refused);
    lab.driver.suspend_machine(&spec.id).await?;
    ensure_error!(lab.driver.ask_guest(&spec.id, &GuestTask::Time).await, Busy);
    Ok(())
}

pub(super) async fn an_agent_keeps_files_keys_and_the_time(lab: &Lab<'_>) -> Result {
    let spec = running(lab).await?;
    let ask = async |task: GuestTask| lab.driver.ask_guest(&spec.id, &task).await;
    let long: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    for content in [&b"word"[..], b"", &long] {
        write(lab, &spec.id, "/run/file", content).await?;
        ensure_eq!(
            read(lab, &spec.id, "/run/file").await?.as_deref(),
            Some(content),
            "the file"
        );
    }
    let wanted = UnixMillis(1_900_000_000_000);
    ask(GuestTask::SetTime(wanted)).await?;
    match ask(GuestTask::Time).await? {
        GuestAnswer::Time(time) => ensure!(
            (wanted.0..wanted.0 + 60_000).contains(&time.0),
            "the guest's clock shows {time:?}"
        ),
        other => return Err(Failure::new(format!("asked for the time it answered {other:?}"))),
    }
    let user = || "root".to_owned();
    let key = || KEY.to_owned();
    let has = async || match ask(GuestTask::Keys { user: user() }).await? {
        GuestAnswer::Keys(keys) => Ok::<_, Failure>(keys.contains(&key())),
        other => Err(Failure::new(format!("asked for keys it answered {other:?}"))),
    };
    ensure!(!has().await?, "the key is there before it was added");
    for (task, expected) in [
        (
            GuestTask::AddKey {
                user: user(),
                key: key(),
            },
            true,
        ),
        (
            GuestTask::AddKey {
                user: user(),
                key: key(),
            },
            true,
        ),
        (
            GuestTask::RemoveKey {
                user: user(),
                key: key(),
            },
            false,
        ),
        (
            GuestTask::RemoveKey {
                user: user(),
                key: key(),
            },
            false,
        ),
    ] {
        ask(task).await?;
        ensure_eq!(has().await?, expected, "whether the key is there");
    }
    let password = Secret::new("correct horse");
    ask(GuestTask::SetPassword {
        user: user(),
        password,
    })
    .await?;
    let stranger = "stranger".to_owned();
    ensure_error!(
        ask(GuestTask::AddKey {
            user: stranger,
            key: key()
        })
        .await,
        Refused
    );
    Ok(())
}
