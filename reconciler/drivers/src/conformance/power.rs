//! Machines that run, with or without a guest in them.

use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use super::lab::{Failure, Lab, ensure, ensure_eq, ensure_error, known};
use super::sample;
use crate::HostEvent;
use crate::ids::{Bytes, Mib};
use crate::mark::Stage;
use crate::observed::{Capacity, Ended, Power, Standing};

type Result = std::result::Result<(), Failure>;

const EVENT_WITHIN: Duration = Duration::from_secs(20);

pub(super) async fn a_machine_starts_and_stops_and_keeps_its_mark(lab: &Lab<'_>) -> Result {
    let spec = lab.defined("power").await?;
    lab.driver.start_machine(&spec.id).await?;
    lab.driver.start_machine(&spec.id).await?;
    let seen = lab.driver.machine(&spec.id).await?;
    ensure_eq!(seen.power, Power::Running, "the power");
    ensure_eq!(
        seen.mark.ours(),
        Some(&spec.mark),
        "the mark of a running machine"
    );
    let detail = known(&seen)?;
    let live = (detail.live_cpus, detail.live_memory);
    ensure_eq!(live, (Some(spec.cpus), Some(spec.memory)), "what it has live");
    let mut mark = spec.mark.clone();
    mark.stage = Stage::Ready;
    lab.driver.write_mark(&spec.id, &mark).await?;
    ensure_eq!(
        lab.driver.machine(&spec.id).await?.mark.ours(),
        Some(&mark),
        "the mark written meanwhile"
    );
    let snapshot = lab.driver.snapshot().await?;
    let seen = snapshot.machines.iter().find(|machine| machine.id == spec.id);
    ensure_eq!(
        seen.map(|machine| machine.power),
        Some(Power::Running),
        "the power in the snapshot"
    );
    lab.driver.power_off(&spec.id).await?;
    lab.driver.power_off(&spec.id).await?;
    let seen = lab.driver.machine(&spec.id).await?;
    ensure_eq!(seen.power, Power::Stopped, "the power");
    ensure_eq!(seen.ended, Some(Ended::ByForce), "how its run ended");
    ensure_eq!(seen.mark.ours(), Some(&mark), "the mark of the stopped machine");
    ensure_eq!(known(&seen)?.live_cpus, None, "what it has live");
    lab.driver.remove_machine(&spec.id).await?;
    ensure_error!(lab.driver.machine(&spec.id).await, Missing);
    Ok(())
}

pub(super) async fn events_tell_of_start_and_stop(lab: &Lab<'_>) -> Result {
    let spec = lab.defined("events").await?;
    let mut events = lab.driver.events().await?;
    for verb in ["start", "stop"] {
        while events.try_recv().is_ok() {}
        match verb {
            "start" => lab.driver.start_machine(&spec.id).await?,
            _ => lab.driver.power_off(&spec.id).await?,
        }
        let told = async {
            loop {
                match events.recv().await {
                    Ok(HostEvent::Machine(id)) if id == spec.id => return Ok(()),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(Failure::new("the events have ended")),
                }
            }
        };
        let told = tokio::time::timeout(EVENT_WITHIN, told).await;
        told.map_err(|_| Failure::new(format!("no event told of the {verb}")))??;
    }
    Ok(())
}

pub(super) async fn a_machine_that_runs_is_not_removed(lab: &Lab<'_>) -> Result {
    let spec = lab.defined("running").await?;
    lab.driver.start_machine(&spec.id).await?;
    ensure_error!(lab.driver.remove_machine(&spec.id).await, Refused);
    let seen = lab.driver.machine(&spec.id).await?;
    ensure_eq!(seen.power, Power::Running, "the power");
    ensure_eq!(seen.mark.ours(), Some(&spec.mark), "the mark");
    Ok(())
}

pub(super) async fn a_start_without_the_disk_is_refused_and_the_machine_stays(lab: &Lab<'_>) -> Result {
    let disk = lab.disk("disk").await?;
    let mut spec = sample::with_disk(lab.machine("diskless"), &lab.pool, &disk);
    lab.define(&mut spec).await?;
    lab.driver.delete_volume(&lab.pool, &disk).await?;
    ensure_error!(lab.driver.start_machine(&spec.id).await, Refused);
    let seen = lab.driver.machine(&spec.id).await?;
    ensure_eq!(seen.power, Power::Stopped, "the power");
    ensure_eq!(
        known(&seen)?.disks[0].capacity,
        Capacity::Missing,
        "the disk's size"
    );
    Ok(())
}

pub(super) async fn a_start_without_the_network_is_refused_and_the_machine_stays(lab: &Lab<'_>) -> Result {
    if matches!(lab.fixture.guests(), super::Guests::Never) {
        return Ok(());
    }
    let mut spec = sample::with_nic(lab.machine("netless"), &lab.fixture.fresh_name("net"));
    lab.define(&mut spec).await?;
    ensure_error!(lab.driver.start_machine(&spec.id).await, Refused);
    ensure_eq!(
        lab.driver.machine(&spec.id).await?.power,
        Power::Stopped,
        "the power"
    );
    Ok(())
}

pub(super) async fn a_change_of_a_running_machine_waits_for_its_next_start(lab: &Lab<'_>) -> Result {
    let mut spec = lab.defined("later").await?;
    let before = (Some(spec.cpus), Some(spec.memory));
    lab.driver.start_machine(&spec.id).await?;
    (spec.cpus, spec.memory) = (2, Mib(160));
    lab.driver.define_machine(&spec).await?;
    let detail = lab.detail(&spec.id).await?;
    ensure_eq!(
        (detail.cpus, detail.memory),
        (spec.cpus, spec.memory),
        "what comes at the next start"
    );
    ensure_eq!((detail.live_cpus, detail.live_memory), before, "what it has live");
    lab.driver.power_off(&spec.id).await?;
    lab.driver.start_machine(&spec.id).await?;
    let detail = lab.detail(&spec.id).await?;
    let live = (detail.live_cpus, detail.live_memory);
    ensure_eq!(
        live,
        (Some(spec.cpus), Some(spec.memory)),
        "what it has live after a new start"
    );
    Ok(())
}

pub(super) async fn a_medium_is_changed_in_a_running_machine(lab: &Lab<'_>) -> Result {
    let (one, two) = (lab.medium("one").await?, lab.medium("two").await?);
    let mut bare = lab.machine("medium");
    let mut spec = sample::with_seed(bare.clone(), &lab.pool, &one);
    lab.define(&mut spec).await?;
    bare.id = spec.id;
    lab.driver.start_machine(&bare.id).await?;
    let spec = sample::with_seed(bare, &lab.pool, &two);
    lab.driver.change_medium(&spec).await?;
    lab.driver.change_medium(&spec).await?;
    let detail = lab.detail(&spec.id).await?;
    let medium = detail
        .cdroms
        .get("sda")
        .cloned()
        .flatten()
        .and_then(|medium| medium.volume);
    ensure_eq!(medium, Some(two), "the medium");
    Ok(())
}

pub(super) async fn a_medium_is_taken_out_of_a_running_machine(lab: &Lab<'_>) -> Result {
    let one = lab.medium("one").await?;
    let mut bare = lab.machine("medium");
    let mut spec = sample::with_seed(bare.clone(), &lab.pool, &one);
    lab.define(&mut spec).await?;
    bare.id = spec.id;
    lab.driver.start_machine(&bare.id).await?;
    for _ in 0..2 {
        lab.driver.change_medium(&bare).await?;
        let detail = lab.detail(&bare.id).await?;
        ensure_eq!(detail.cdroms.get("sda").cloned().flatten(), None, "the medium");
    }
    Ok(())
}

pub(super) async fn a_disk_of_a_running_machine_grows_and_never_shrinks(lab: &Lab<'_>) -> Result {
    let disk = lab.disk("disk").await?;
    let mut spec = sample::with_disk(lab.machine("grow"), &lab.pool, &disk);
    lab.define(&mut spec).await?;
    lab.driver.start_machine(&spec.id).await?;
    for (asked, found) in [(96, 96), (96, 96), (80, 96)] {
        lab.driver
            .grow_disk(&spec.id, "vda", Bytes::from_mib(asked))
            .await?;
        let wanted = Capacity::Known(Bytes::from_mib(found));
        let is_so = async || Ok(lab.detail(&spec.id).await?.disks[0].capacity == wanted);
        let what = format!("the disk has {found} MiB when {asked} were asked for");
        lab.until(&what, EVENT_WITHIN, is_so).await?;
    }
    ensure!(
        lab.detail(&spec.id).await?.disks[0].standing == Standing::Whole,
        "the disk is not in the running machine"
    );
    Ok(())
}
