//! Moments: a machine's memory saved to a file of a pool, and the machine started from there.
//!
//! The file holds the definition that the machine had when it was saved; that is what it is put back to, the disks on
//! fresh overlays. libvirt's own snapshots would put the mark back too, and on old releases refuse firmware variables.

use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::ids::ObjectId;
use labyard_driver::moment::{Footing, MomentSpec, Resume, SavedMemory};
use libvirt_rpc::flags::{DomainDefine, DomainSave, SaveImageXml};
use libvirt_rpc::{DomainState, Error, ErrorCode};

use crate::errors::{Act, During, is_wrong_state};
use crate::host::{Host, Session, parse};
use crate::machine_xml;
use crate::machines::{act, definition, is_active, reference};
use crate::places::{Places, Store};
use crate::xml::Element;

/// How long memory may take to get to the host's disk or from there: a large machine's on a slow one.
const MEMORY: Duration = Duration::from_secs(900);
const ENOENT: i32 = 2;

pub(crate) async fn suspend(host: &Host, id: &ObjectId) -> Result<(), DriverError> {
    let act = act("suspending", id);
    let session = host.session().await?;
    let domain = reference(&act, id)?;
    let state = session.connection.domain_get_state(&domain).await.during(&act)?;
    if state.state != DomainState::Running {
        return Ok(());
    }
    let suspended = session.connection.domain_suspend(&domain).await;
    if is_wrong_state(&suspended) {
        return Ok(());
    }
    suspended.during(&act)
}

async fn places(
    host: &Host,
    session: &Session,
    moment: &MomentSpec,
    act: &Act,
) -> Result<Places, DriverError> {
    let mut pools: Vec<_> = moment.disks.iter().map(|disk| disk.pool.clone()).collect();
    pools.push(moment.pool.clone());
    host.places(session, pools, act).await
}

/// Where the memory lies.
fn file(moment: &MomentSpec, places: &Places, act: &Act) -> Result<String, DriverError> {
    match places.path(&moment.pool, &moment.memory) {
        Some((path, Store::File)) => Ok(path),
        _ => Err(act.refused(format!("pool {} holds no files", moment.pool))),
    }
}

pub(crate) async fn set_footing(
    host: &Host,
    moment: &MomentSpec,
    footing: Footing,
) -> Result<(), DriverError> {
    let act = act("defining", &moment.id);
    let session = host.session().await?;
    let domain = reference(&act, &moment.id)?;
    let places = places(host, &session, moment, &act).await?;
    let mut definition = definition(&session, &act, &domain).await?;
    stand(&mut definition, moment, footing, &places, &act)?;
    let defined = session
        .connection
        .domain_define_xml_flags(&definition.to_string(), DomainDefine::empty())
        .await;
    defined.map(drop).during(&act)
}

fn stand(
    definition: &mut Element,
    moment: &MomentSpec,
    footing: Footing,
    places: &Places,
    act: &Act,
) -> Result<(), DriverError> {
    machine_xml::stand(definition, moment, footing, places).map_err(|error| act.refused(error.to_string()))
}

pub(crate) async fn save(host: &Host, moment: &MomentSpec) -> Result<(), DriverError> {
    let act = act("saving the memory of", &moment.id);
    let session = host.session().await?;
    let domain = reference(&act, &moment.id)?;
    let places = places(host, &session, moment, &act).await?;
    let file = file(moment, &places, &act)?;
    let state = session.connection.domain_get_state(&domain).await.during(&act)?;
    if !is_active(&state) {
        return Ok(());
    }
    // It takes as long as the memory is large: on a connection of its own it holds up nobody.
    let line = host.connect().await?;
    let saved = line
        .within(MEMORY)
        .domain_save_flags(&domain, &file, None, DomainSave::RUNNING)
        .await;
    if is_wrong_state(&saved) {
        let state = session.connection.domain_get_state(&domain).await.during(&act)?;
        if !is_active(&state) {
            return Ok(());
        }
    }
    saved.during(&act)
}

pub(crate) async fn saved(host: &Host, moment: &MomentSpec) -> Result<SavedMemory, DriverError> {
    let act = act("looking for the memory of", &moment.id);
    let session = host.session().await?;
    let places = places(host, &session, moment, &act).await?;
    let file = file(moment, &places, &act)?;
    match image(&session, &file).await {
        Ok(_) => Ok(SavedMemory::Whole),
        Err(error) if is_wanting(&error) => Ok(SavedMemory::Wanting),
        Err(error) => Err(act.failed(&error)),
    }
}

async fn image(session: &Session, file: &str) -> Result<String, Error> {
    let flags = SaveImageXml::SECURE;
    session
        .connection
        .domain_save_image_get_xml_desc(file, flags)
        .await
}

/// libvirt's word for a file that is not there, and for one that is no memory or not all of one.
fn is_wanting(error: &Error) -> bool {
    error.server().is_some_and(|answer| match answer.code {
        ErrorCode::SystemError => answer.int1 == ENOENT,
        ErrorCode::OperationFailed => true,
        _ => false,
    })
}

pub(crate) async fn return_to(host: &Host, moment: &MomentSpec, resume: Resume) -> Result<(), DriverError> {
    let act = act("putting back", &moment.id);
    let session = host.session().await?;
    let domain = reference(&act, &moment.id)?;
    let connection = &session.connection;
    let state = connection.domain_get_state(&domain).await.during(&act)?;
    if is_active(&state) {
        return Err(act.refused("it is not off: power it off first"));
    }
    let places = places(host, &session, moment, &act).await?;
    let file = file(moment, &places, &act)?;
    let kept = image(&session, &file).await.during(&act)?;
    let mut definition = parse(&act, &kept)?;
    stand(&mut definition, moment, Footing::Overlays, &places, &act)?;
    let definition = definition.to_string();
    // What is not in the file's definition goes: it was put in since.
    let defined = connection
        .domain_define_xml_flags(&definition, DomainDefine::empty())
        .await;
    defined.map(drop).during(&act)?;
    let flags = match resume {
        Resume::Running => DomainSave::RUNNING,
        Resume::Paused => DomainSave::PAUSED,
    };
    let line = host.connect().await?;
    let restored = line
        .within(MEMORY)
        .domain_restore_flags(&file, Some(&definition), flags)
        .await;
    match restored {
        Ok(()) => Ok(()),
        // What is not found is a disk or a medium, not the machine.
        Err(error) if crate::errors::is_missing(&error) && !error.is_no_domain() => {
            Err(act.refused(error.to_string()))
        }
        Err(error) => Err(act.failed(&error)),
    }
}
