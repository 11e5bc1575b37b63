//! Machines that do not run: records, definitions, marks.

use futures::future;

use super::lab::{Failure, Lab, ensure, ensure_eq, ensure_error, known};
use super::sample;
use crate::console::Entry;
use crate::driver::AgentState;
use crate::ids::{Bytes, Mib, ObjectName};
use crate::mark::{Kind, Stage};
use crate::observed::{Attachment, Capacity, Power};

type Result = std::result::Result<(), Failure>;

pub(super) async fn a_record_is_a_stopped_machine_without_devices_that_carries_its_mark(
    lab: &Lab<'_>,
) -> Result {
    let disk = lab.volume("disk");
    let mut spec = sample::with_disk(lab.machine("record"), &lab.pool, &disk);
    for seen in [lab.record(&mut spec).await?, lab.driver.machine(&spec.id).await?] {
        ensure_eq!(seen.id, spec.id, "the id");
        ensure_eq!(seen.host_name, spec.host_name, "the name");
        ensure_eq!(seen.power, Power::Stopped, "the power");
        ensure_eq!(seen.mark.ours(), Some(&spec.mark), "the mark");
        let detail = known(&seen)?;
        ensure!(
            detail.disks.is_empty() && detail.nics.is_empty(),
            "devices: {detail:?}"
        );
    }
    Ok(())
}

pub(super) async fn a_name_that_is_taken_exists_already_and_nothing_changes(lab: &Lab<'_>) -> Result {
    let mut first = lab.machine("name");
    lab.record(&mut first).await?;
    let mut second = lab.machine("other");
    second.host_name = first.host_name.clone();
    ensure_error!(lab.driver.record_machine(&second).await, Exists);
    ensure_error!(lab.driver.record_machine(&first).await, Exists);
    ensure_eq!(
        lab.driver.machine(&first.id).await?.mark.ours(),
        Some(&first.mark),
        "the mark"
    );
    ensure_error!(lab.driver.machine(&second.id).await, Missing);
    Ok(())
}

pub(super) async fn an_id_that_is_taken_exists_already_and_nothing_changes(lab: &Lab<'_>) -> Result {
    let mut first = lab.machine("id");
    lab.record(&mut first).await?;
    let mut second = lab.machine("other");
    second.id = first.id.clone();
    ensure_error!(lab.driver.record_machine(&second).await, Exists);
    let seen = lab.driver.machine(&first.id).await?;
    ensure_eq!(seen.host_name, first.host_name, "the name");
    ensure_eq!(seen.mark.ours(), Some(&first.mark), "the mark");
    Ok(())
}

pub(super) async fn of_racing_records_of_one_name_exactly_one_wins(lab: &Lab<'_>) -> Result {
    let first = lab.machine("race");
    let mut second = lab.machine("other");
    second.host_name = first.host_name.clone();
    let racers = [&first, &second];
    let results = future::join_all(racers.map(|spec| lab.driver.record_machine(spec))).await;
    let won: Vec<_> = results.iter().map(std::result::Result::is_ok).collect();
    ensure!(won[0] != won[1], "won: {won:?}");
    for (spec, result) in racers.iter().zip(results) {
        match result {
            Ok(won) => {
                lab.adopt_machine(&won.id);
                ensure_eq!(
                    lab.driver.machine(&won.id).await?.mark.ours(),
                    Some(&spec.mark),
                    "the winner"
                );
            }
            Err(error) => ensure_error!(Err::<(), _>(error), Exists),
        }
    }
    Ok(())
}

pub(super) async fn a_definition_shows_what_was_asked_for(lab: &Lab<'_>) -> Result {
    let (disk, seed) = (lab.disk("disk").await?, lab.medium("seed").await?);
    let mut spec = sample::with_disk(lab.machine("define"), &lab.pool, &disk);
    spec = sample::with_seed(sample::with_nic(spec, "no-such-network"), &lab.pool, &seed);
    (spec.cpus, spec.memory) = (3, Mib(192));
    lab.define(&mut spec).await?;
    let detail = lab.detail(&spec.id).await?;
    ensure_eq!(
        (detail.cpus, detail.memory),
        (3, Mib(192)),
        "processors and memory"
    );
    ensure_eq!(
        (detail.live_cpus, detail.live_memory),
        (None, None),
        "what a stopped machine has live"
    );
    ensure_eq!(detail.accelerator, spec.accelerator, "the accelerator");
    ensure_eq!(detail.firmware, spec.firmware, "the firmware");
    ensure_eq!(detail.disks.len(), 1, "the number of disks");
    ensure_eq!(detail.disks[0].target, "vda", "the disk's target");
    ensure_eq!(detail.disks[0].volume, Some(disk), "the disk's volume");
    ensure_eq!(
        detail.disks[0].capacity,
        Capacity::Known(Bytes::from_mib(64)),
        "the disk's size"
    );
    let medium = detail
        .cdroms
        .get("sda")
        .cloned()
        .flatten()
        .and_then(|medium| medium.volume);
    ensure_eq!(medium, Some(seed), "the medium");
    ensure_eq!(detail.nics.len(), 1, "the number of NICs");
    ensure_eq!(detail.nics[0].mac, spec.nics[0].mac, "the MAC");
    let attachment = Attachment::Network("no-such-network".to_owned());
    ensure_eq!(detail.nics[0].attachment, attachment, "the attachment");
    Ok(())
}

pub(super) async fn a_definition_repeated_changes_nothing(lab: &Lab<'_>) -> Result {
    let disk = lab.disk("disk").await?;
    let mut spec = sample::with_disk(lab.machine("again"), &lab.pool, &disk);
    lab.define(&mut spec).await?;
    let before = lab.detail(&spec.id).await?;
    lab.driver.define_machine(&spec).await?;
    ensure_eq!(lab.detail(&spec.id).await?, before, "the definition");
    Ok(())
}

pub(super) async fn a_definition_changed_shows_the_change_and_keeps_the_id(lab: &Lab<'_>) -> Result {
    let (one, two) = (lab.disk("one").await?, lab.disk("two").await?);
    let mut bare = lab.machine("change");
    let mut spec = sample::with_disk(bare.clone(), &lab.pool, &one);
    lab.define(&mut spec).await?;
    bare.id = spec.id.clone();
    let mut more = sample::with_nic(sample::with_disk(spec, &lab.pool, &two), "no-such-network");
    (more.cpus, more.memory, more.mark.stage) = (2, Mib(160), Stage::Define);
    lab.driver.define_machine(&more).await?;
    let seen = lab.driver.machine(&bare.id).await?;
    ensure_eq!(seen.mark.ours(), Some(&more.mark), "the mark");
    let detail = known(&seen)?;
    ensure_eq!(
        (detail.cpus, detail.memory),
        (2, Mib(160)),
        "processors and memory"
    );
    ensure_eq!((detail.disks.len(), detail.nics.len()), (2, 1), "disks and NICs");
    lab.driver.define_machine(&bare).await?;
    let detail = lab.detail(&bare.id).await?;
    ensure_eq!(
        (detail.disks.len(), detail.nics.len()),
        (0, 0),
        "disks and NICs taken out again"
    );
    Ok(())
}

pub(super) async fn what_is_not_there_is_missing(lab: &Lab<'_>) -> Result {
    let spec = lab.machine("missing");
    let id = &spec.id;
    ensure_error!(lab.driver.machine(id).await, Missing);
    ensure_error!(lab.driver.define_machine(&spec).await, Missing);
    ensure_error!(lab.driver.write_mark(id, &spec.mark).await, Missing);
    ensure_error!(lab.driver.start_machine(id).await, Missing);
    ensure_error!(lab.driver.change_medium(&spec).await, Missing);
    ensure_error!(lab.driver.grow_disk(id, "vda", Bytes::from_gib(1)).await, Missing);
    ensure_error!(lab.driver.agent_answers(id).await, Missing);
    ensure!(
        lab.driver.console(id, Entry::TakesOver).await.is_err(),
        "a console of nothing was opened"
    );
    Ok(())
}

pub(super) async fn removal_repeated_is_success(lab: &Lab<'_>) -> Result {
    let mut spec = lab.defined("remove").await?;
    lab.driver.remove_machine(&spec.id).await?;
    lab.driver.remove_machine(&spec.id).await?;
    ensure_error!(lab.driver.machine(&spec.id).await, Missing);
    lab.define(&mut spec).await?;
    Ok(())
}

pub(super) async fn a_mark_comes_back_as_written_whatever_is_in_it(lab: &Lab<'_>) -> Result {
    let mut spec = lab.machine("mark");
    spec.mark.name = ObjectName::from("<a href='x'>&amp; \"]]>\" Žluťoučký\u{1f40e}");
    spec.mark.wishes = serde_json::json!({
        "user_data": "#cloud-config\n\ttab\r\n]]> &lt; <!-- -->\u{7f}".repeat(500),
        "nothing": null,
        "control": "\u{1}\u{0}",
    });
    let seen = lab.record(&mut spec).await?;
    ensure_eq!(seen.mark.ours(), Some(&spec.mark), "the mark as recorded");
    spec.mark.stage = Stage::Ready;
    lab.driver.write_mark(&spec.id, &spec.mark).await?;
    ensure_eq!(
        lab.driver.machine(&spec.id).await?.mark.ours(),
        Some(&spec.mark),
        "the mark as written"
    );
    lab.driver.define_machine(&spec).await?;
    ensure_eq!(
        lab.driver.machine(&spec.id).await?.mark.ours(),
        Some(&spec.mark),
        "the mark as defined"
    );
    Ok(())
}

pub(super) async fn a_mark_written_alone_leaves_the_definition(lab: &Lab<'_>) -> Result {
    let disk = lab.disk("disk").await?;
    let mut spec = sample::with_disk(lab.machine("mark"), &lab.pool, &disk);
    lab.define(&mut spec).await?;
    let before = lab.detail(&spec.id).await?;
    let mut mark = spec.mark.clone();
    mark.stage = Stage::Finished;
    lab.driver.write_mark(&spec.id, &mark).await?;
    lab.driver.write_mark(&spec.id, &mark).await?;
    let seen = lab.driver.machine(&spec.id).await?;
    ensure_eq!(seen.mark.ours(), Some(&mark), "the mark");
    ensure_eq!(known(&seen)?, before, "the definition");
    Ok(())
}

pub(super) async fn marks_show_every_machine_of_ours(lab: &Lab<'_>) -> Result {
    let (one, mut two) = (lab.defined("one").await?, lab.machine("two"));
    lab.record(&mut two).await?;
    let marks = lab.driver.marks().await?;
    for spec in [&one, &two] {
        let mark = marks.iter().find(|(id, _)| *id == spec.id).map(|(_, mark)| mark);
        ensure_eq!(mark, Some(&spec.mark), "the mark");
        ensure_eq!(mark.map(|mark| mark.kind), Some(Kind::Machine), "the kind");
    }
    Ok(())
}

pub(super) async fn a_medium_is_changed_in_a_stopped_machine(lab: &Lab<'_>) -> Result {
    let (one, two) = (lab.medium("one").await?, lab.medium("two").await?);
    let mut bare = lab.machine("medium");
    let mut spec = sample::with_seed(bare.clone(), &lab.pool, &one);
    lab.define(&mut spec).await?;
    bare.id = spec.id;
    let spec = sample::with_seed(bare, &lab.pool, &two);
    for _ in 0..2 {
        lab.driver.change_medium(&spec).await?;
        let detail = lab.detail(&spec.id).await?;
        let medium = detail
            .cdroms
            .get("sda")
            .cloned()
            .flatten()
            .and_then(|medium| medium.volume);
        ensure_eq!(medium.as_ref(), Some(&two), "the medium");
    }
    Ok(())
}

pub(super) async fn a_disk_of_a_stopped_machine_grows_and_never_shrinks(lab: &Lab<'_>) -> Result {
    let disk = lab.disk("disk").await?;
    let mut spec = sample::with_disk(lab.machine("grow"), &lab.pool, &disk);
    lab.define(&mut spec).await?;
    for (asked, found) in [(96, 96), (96, 96), (80, 96)] {
        lab.driver
            .grow_disk(&spec.id, "vda", Bytes::from_mib(asked))
            .await?;
        let volume = lab.driver.volume(&lab.pool, &disk).await?;
        ensure_eq!(
            volume.capacity,
            Bytes::from_mib(found),
            format!("the size when {asked} MiB were asked for")
        );
    }
    let disks = lab.detail(&spec.id).await?.disks;
    ensure_eq!(
        disks[0].capacity,
        Capacity::Known(Bytes::from_mib(96)),
        "the size as the machine shows it"
    );
    Ok(())
}

pub(super) async fn a_snapshot_shows_what_was_made_and_nothing_after_removal(lab: &Lab<'_>) -> Result {
    let disk = lab.disk("disk").await?;
    let mut spec = sample::with_disk(lab.machine("snapshot"), &lab.pool, &disk);
    lab.define(&mut spec).await?;
    let snapshot = lab.driver.snapshot().await?;
    ensure_eq!(snapshot.host.pool.as_ref(), Some(&lab.pool), "the pool");
    let volume = snapshot.volumes.iter().find(|volume| volume.name == disk);
    let machine = snapshot.machines.iter().find(|machine| machine.id == spec.id);
    let (Some(volume), Some(machine)) = (volume, machine) else {
        return Err(Failure::new(format!(
            "not in the snapshot: {volume:?}, {machine:?}"
        )));
    };
    ensure_eq!(machine.host_name, spec.host_name, "the name");
    ensure_eq!(machine.mark.ours(), Some(&spec.mark), "the mark");
    ensure_eq!(known(machine)?, lab.detail(&spec.id).await?, "the definition");
    ensure_eq!(known(machine)?.disks[0].path, volume.path, "the disk's path");
    lab.driver.remove_machine(&spec.id).await?;
    lab.driver.delete_volume(&lab.pool, &disk).await?;
    let snapshot = lab.driver.snapshot().await?;
    ensure!(
        snapshot.machines.iter().all(|machine| machine.id != spec.id),
        "the machine is still shown"
    );
    ensure!(
        snapshot.volumes.iter().all(|volume| volume.name != disk),
        "the volume is still shown"
    );
    Ok(())
}

pub(super) async fn the_host_tells_the_same_facts_twice(lab: &Lab<'_>) -> Result {
    let (one, two) = (
        lab.driver.snapshot().await?.host,
        lab.driver.snapshot().await?.host,
    );
    ensure_eq!(one, two, "the facts");
    ensure!(!one.uuid.as_str().is_empty(), "the host has no id");
    ensure!(
        one.accelerators.contains(&lab.fixture.accelerator()),
        "accelerators: {:?}",
        one.accelerators
    );
    ensure_eq!(
        lab.driver.offers().await?,
        lab.driver.offers().await?,
        "the offers"
    );
    ensure!(
        one.cpus > 0 && one.memory.0 > 0,
        "the host has no processor or memory: {one:?}"
    );
    Ok(())
}

pub(super) async fn a_stopped_machine_is_left_alone_by_stop_and_shutdown(lab: &Lab<'_>) -> Result {
    let spec = lab.defined("stopped").await?;
    lab.driver.power_off(&spec.id).await?;
    lab.driver.request_shutdown(&spec.id).await?;
    ensure_eq!(
        lab.driver.machine(&spec.id).await?.power,
        Power::Stopped,
        "the power"
    );
    Ok(())
}

pub(super) async fn the_agent_of_a_stopped_machine_is_silent(lab: &Lab<'_>) -> Result {
    let spec = lab.defined("agent").await?;
    ensure_eq!(
        lab.driver.agent_answers(&spec.id).await?,
        AgentState::Silent,
        "the agent"
    );
    ensure_eq!(lab.driver.addresses(&spec.id).await?, [], "the addresses");
    Ok(())
}
