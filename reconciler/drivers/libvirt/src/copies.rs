//! Disks copied while their machines run: libvirt's backup job, which writes a disk as it was at one moment to a file of
//! its own and touches neither the disk nor the machine's definition.

use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::copy::{Copying, DiskCopy};
use labyard_driver::ids::ObjectId;
use libvirt_rpc::flags::{BackupBegin, DomainXml, JobStats};
use libvirt_rpc::{DomainRef, ErrorCode};
use tokio::time::{Instant, sleep};

use crate::errors::{Act, During};
use crate::host::{Host, Session, parse};
use crate::machine_xml::is_drive;
use crate::machines::{act, is_active, reference};
use crate::places::Places;
use crate::xml::Element;

/// How long the beginning may take: QEMU opens the file and sets its filters.
const BEGIN: Duration = Duration::from_secs(60);
/// How long one that is ended may take to let go of the disk, and how often it is looked at.
const GONE_WITHIN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);
/// `VIR_DOMAIN_JOB_COMPLETED`.
const COMPLETED: i32 = 3;

pub(crate) async fn begin(host: &Host, id: &ObjectId, copy: &DiskCopy) -> Result<(), DriverError> {
    let act = act("copying a disk of", id);
    let session = host.session().await?;
    let domain = reference(&act, id)?;
    let connection = &session.connection;
    let state = connection.domain_get_state(&domain).await.during(&act)?;
    if !is_active(&state) {
        return Err(act.refused("it does not run"));
    }
    let places = host.places(&session, [copy.pool.clone()], &act).await?;
    let live = connection.domain_get_xml_desc(&domain, DomainXml::empty());
    let live = parse(&act, &live.await.during(&act)?)?;
    let job = job(&live, copy, &places)
        .map_err(|why| act.refused(why))?
        .to_string();
    // What is told of a job that ended before is told once.
    drop(
        connection
            .domain_get_job_stats(&domain, JobStats::COMPLETED)
            .await,
    );
    let line = host.connect().await?;
    line.within(BEGIN)
        .domain_backup_begin(&domain, &job, None, BackupBegin::REUSE_EXTERNAL)
        .await
        .during(&act)
}

/// What is copied, as libvirt takes it: that disk, and no other.
fn job(live: &Element, copy: &DiskCopy, places: &Places) -> Result<Element, String> {
    let path = |volume| {
        places
            .path(&copy.pool, volume)
            .ok_or_else(|| format!("pool {} is not known", copy.pool))
    };
    let (disk, store) = path(&copy.disk)?;
    let (into, _) = path(&copy.into)?;
    let mut disks = Element::new("disks");
    let mut found = false;
    for device in live.child("devices").into_iter().flat_map(Element::elements) {
        let Some(target) = device
            .attribute_at(&["target"], "dev")
            .filter(|_| is_drive(device, "disk"))
        else {
            continue;
        };
        let entry = Element::new("disk").with("name", target);
        let is_it = device.attribute_at(&["source"], store.source_attribute()) == Some(&disk);
        found |= is_it;
        disks.push(match is_it {
            true => entry
                .with("backup", "yes")
                .with("type", "file")
                .holding(Element::new("driver").with("type", "qcow2"))
                .holding(Element::new("target").with("file", &into)),
            false => entry.with("backup", "no"),
        });
    }
    match found {
        true => Ok(Element::new("domainbackup").with("mode", "push").holding(disks)),
        false => Err(format!("it has no disk {disk}")),
    }
}

/// Whether the copy goes on.
async fn goes(
    host: &Host,
    session: &Session,
    domain: &DomainRef,
    copy: &DiskCopy,
    act: &Act,
) -> Result<bool, DriverError> {
    let places = host.places(session, [copy.pool.clone()], act).await?;
    let into = places.path(&copy.pool, &copy.into).map(|(path, _)| path);
    match session.connection.domain_backup_get_xml_desc(domain).await {
        Ok(text) => {
            let job = parse(act, &text)?;
            let disks = job.child("disks").into_iter().flat_map(Element::elements);
            let mut targets = disks.filter_map(|disk| disk.attribute_at(&["target"], "file"));
            Ok(targets.any(|target| Some(target) == into.as_deref()))
        }
        Err(error) if is_no_job(&error) => Ok(false),
        Err(error) => Err(act.failed(&error)),
    }
}

/// libvirt's words for a machine that has no such job, or does not run.
fn is_no_job(error: &libvirt_rpc::Error) -> bool {
    error.is_invalid_state() || error.code() == Some(ErrorCode::NoDomainBackup)
}

pub(crate) async fn how_far(host: &Host, id: &ObjectId, copy: &DiskCopy) -> Result<Copying, DriverError> {
    let act = act("looking at the copy of a disk of", id);
    let session = host.session().await?;
    let domain = reference(&act, id)?;
    if goes(host, &session, &domain, copy, &act).await? {
        return Ok(Copying::Going);
    }
    let flags = JobStats::COMPLETED | JobStats::KEEP_COMPLETED;
    let told = session.connection.domain_get_job_stats(&domain, flags).await;
    Ok(match told {
        Ok(job) if job.kind == COMPLETED => Copying::Whole,
        Ok(job) => {
            let mut words = job.params.iter().filter(|param| param.field == "errmsg");
            let words = words.find_map(|param| param.value.as_text());
            Copying::Ended(words.unwrap_or("the host ended it").to_owned())
        }
        Err(error) if error.is_invalid_state() => Copying::Ended("the machine went off".to_owned()),
        Err(error) => return Err(act.failed(&error)),
    })
}

pub(crate) async fn end(host: &Host, id: &ObjectId, copy: &DiskCopy) -> Result<(), DriverError> {
    let act = act("ending the copy of a disk of", id);
    let session = host.session().await?;
    let domain = reference(&act, id)?;
    if !goes(host, &session, &domain, copy, &act).await? {
        return Ok(());
    }
    match session.connection.domain_abort_job(&domain).await {
        Err(error) if is_no_job(&error) => return Ok(()),
        result => result.during(&act)?,
    }
    // libvirt answers when QEMU was told, and begins no other until this one is gone.
    let deadline = Instant::now() + GONE_WITHIN;
    while goes(host, &session, &domain, copy, &act).await? {
        if Instant::now() >= deadline {
            return Err(act.busy("it was told to end, and goes on"));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::{Place, Store};

    #[test]
    fn the_disk_that_is_meant_is_copied_and_no_other() {
        let mut places = Places::default();
        places.learn(&"default".into(), Place::new("/p", Store::File));
        let copy = DiskCopy {
            pool: "default".into(),
            disk: "root".into(),
            into: "copy".into(),
        };
        let live = "<domain><devices><disk type='file' device='disk'><source file='/p/data'/><target dev='vda'/></disk>\
             <disk type='file' device='disk'><source file='/p/root'/><target dev='vdb'/></disk>\
             <disk type='file' device='cdrom'><source file='/p/seed'/><target dev='sda'/></disk></devices></domain>";
        let live = Element::parse(live).unwrap();
        let text = job(&live, &copy, &places).unwrap().to_string();
        assert!(text.contains("<disk name='vda' backup='no'/>"), "{text}");
        assert!(
            text.contains("<target file='/p/copy'/>") && !text.contains("sda"),
            "{text}"
        );
        let other = DiskCopy {
            disk: "other".into(),
            ..copy
        };
        assert!(job(&live, &other, &places).unwrap_err().contains("/p/other"));
    }
}
