//! Verbs on volumes. libvirt guards none of those in use: that is for the caller to ask.

use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::ids::{Bytes, PoolName, VolumeName};
use labyard_driver::observed::{PoolRoom, VolumeDetail};
use labyard_driver::spec::{DiskFormat, VolumeContent, VolumeSpec};
use libvirt_rpc::flags::{VolCreate, VolDelete, VolResize};
use libvirt_rpc::{Error, VolRef};

use crate::errors::{Act, During};
use crate::host::{Host, Pool, Session, parse};
use crate::places::{Place, Store};
use crate::{explain, files, volume_xml};

/// Room that an upload or a copy leaves in the pool: a host's file system that runs full stops guests.
const SLACK: u64 = 1 << 20;
/// A copy's least speed before it is given up.
const COPY_BYTES_A_SECOND: u64 = 8 << 20;
/// How long libvirt may take to let go of a volume whose upload was given up.
const RELEASE_STEPS: u32 = 20;
const RELEASE_STEP: Duration = Duration::from_millis(200);

pub(crate) fn act(verb: &str, pool: &PoolName, name: &VolumeName) -> Act {
    Act::on(verb, format!("volume {name} in pool {pool}"))
}

pub(crate) fn reference(pool: &PoolName, name: &VolumeName) -> VolRef {
    VolRef::new(pool.as_str(), name.as_str())
}

/// Lets libvirt look at the pool's directory: else it lists what it made itself, and its figures are of then. Not while
/// something is being written to the pool, and not through a connection that only reads.
async fn refresh(
    host: &Host,
    session: &Session,
    name: &PoolName,
    pool: &Pool,
    act: &Act,
) -> Result<(), DriverError> {
    if host.reads_only() {
        return Ok(());
    }
    match session.connection.storage_pool_refresh(&pool.reference).await {
        Ok(()) => Ok(()),
        Err(error) => match host.pool_failed(session, name, act, &error).await {
            DriverError::Busy { .. } => Ok(()),
            failed => Err(failed),
        },
    }
}

pub(crate) async fn room(host: &Host, name: &PoolName) -> Result<PoolRoom, DriverError> {
    let act = Act::on_pool("reading", format!("storage pool {name}"));
    let session = host.session().await?;
    let pool = host.pool(&session, name, &act).await?;
    refresh(host, &session, name, &pool, &act).await?;
    match session.connection.storage_pool_get_info(&pool.reference).await {
        Ok(info) => Ok(PoolRoom {
            capacity: Bytes(info.capacity),
            available: Bytes(info.available),
        }),
        Err(error) => Err(host.pool_failed(&session, name, &act, &error).await),
    }
}

pub(crate) async fn list(host: &Host, name: &PoolName) -> Result<Vec<VolumeName>, DriverError> {
    let act = Act::on_pool("reading", format!("storage pool {name}"));
    let session = host.session().await?;
    let pool = host.pool(&session, name, &act).await?;
    refresh(host, &session, name, &pool, &act).await?;
    match session
        .connection
        .storage_pool_list_all_volumes(&pool.reference)
        .await
    {
        Ok(volumes) => Ok(volumes
            .into_iter()
            .map(|volume| VolumeName(volume.name))
            .collect()),
        Err(error) => Err(host.pool_failed(&session, name, &act, &error).await),
    }
}

pub(crate) async fn volume(
    host: &Host,
    pool: &PoolName,
    name: &VolumeName,
) -> Result<VolumeDetail, DriverError> {
    let session = host.session().await?;
    read(host, &session, pool, name, &act("reading", pool, name)).await
}

/// A volume, looked for once more after a refresh where libvirt does not know it.
async fn read(
    host: &Host,
    session: &Session,
    pool_name: &PoolName,
    name: &VolumeName,
    act: &Act,
) -> Result<VolumeDetail, DriverError> {
    let pool = host.pool(session, pool_name, act).await?;
    let volume = reference(pool_name, name);
    let mut answer = session.connection.storage_vol_get_xml_desc(&volume).await;
    if answer.as_ref().is_err_and(Error::is_no_storage_vol) {
        refresh(host, session, pool_name, &pool, act).await?;
        answer = session.connection.storage_vol_get_xml_desc(&volume).await;
    }
    match answer {
        Ok(text) => Ok(volume_xml::detail(&parse(act, &text)?)),
        Err(error) => Err(host.pool_failed(session, pool_name, act, &error).await),
    }
}

pub(crate) async fn create(host: &Host, spec: &VolumeSpec) -> Result<VolumeDetail, DriverError> {
    let act = Act::on_pool("making", format!("volume {} in pool {}", spec.name, spec.pool));
    let session = host.session().await?;
    let pool = host.pool(&session, &spec.pool, &act).await?;
    // Asked first: where the pool lies on what holds no files, libvirt would make something else.
    refuse_other_store(&host.place(&session, &spec.pool, &act).await?, spec, &act)?;
    let base = async |pool: &PoolName, name: &VolumeName| match read(
        host,
        &session,
        pool,
        name,
        &self::act("reading", pool, name),
    )
    .await
    {
        Err(missing @ DriverError::Missing { .. }) => Err(act.refused(missing.to_string())),
        result => result,
    };
    match &spec.content {
        VolumeContent::Blank { capacity } => {
            let xml = volume_xml::blank(&spec.name, *capacity).to_string();
            make(host, &session, spec, &pool, &act, &xml).await?;
        }
        VolumeContent::Overlay {
            base: below,
            base_format,
            capacity,
        } => {
            let below = base(&spec.pool, below).await?;
            refuse_smaller(&act, &below, *capacity)?;
            let xml = volume_xml::overlay(&spec.name, *capacity, &below.path, *base_format).to_string();
            make(host, &session, spec, &pool, &act, &xml).await?;
        }
        VolumeContent::Copy {
            base: original,
            base_format: _,
            capacity,
        } => {
            let original = base(&spec.pool, original).await?;
            refuse_smaller(&act, &original, *capacity)?;
            copy(
                host,
                &session,
                spec,
                &pool,
                &act,
                (&spec.pool, &original),
                *capacity,
            )
            .await?;
        }
        VolumeContent::Block { capacity } => {
            let xml = volume_xml::block(&spec.name, *capacity).to_string();
            make(host, &session, spec, &pool, &act, &xml).await?;
        }
        VolumeContent::BlockCopy {
            base_pool,
            base: original,
            base_format: _,
            capacity,
        } => {
            let original = base(base_pool, original).await?;
            refuse_smaller(&act, &original, *capacity)?;
            copy(
                host,
                &session,
                spec,
                &pool,
                &act,
                (base_pool, &original),
                *capacity,
            )
            .await?;
        }
        VolumeContent::OfFile {
            path,
            format,
            capacity,
        } => {
            copy_file(host, spec, &pool, (path, *format, *capacity)).await?;
        }
        VolumeContent::Upload { length } => {
            if room(host, &spec.pool).await?.available.0 < length.0.saturating_add(SLACK.min(length.0)) {
                return Err(act.no_space());
            }
            let xml = volume_xml::for_upload(&spec.name, *length).to_string();
            make(host, &session, spec, &pool, &act, &xml).await?;
        }
    }
    read(host, &session, &spec.pool, &spec.name, &act).await
}

/// A pool of files makes no block devices, and one of block devices no files.
fn refuse_other_store(place: &Place, spec: &VolumeSpec, act: &Act) -> Result<(), DriverError> {
    let (wanted, words) = match spec.content {
        VolumeContent::Block { .. } | VolumeContent::BlockCopy { .. } => (Store::Block, "block devices"),
        _ => (Store::File, "files"),
    };
    match place.store == wanted {
        true => Ok(()),
        false => Err(explain::pool_of_wrong_volumes(&spec.pool, words, act.doing())),
    }
}

/// libvirt accepts a smaller disk in silence, and the guest loses what lies behind its end.
fn refuse_smaller(act: &Act, base: &VolumeDetail, capacity: Bytes) -> Result<(), DriverError> {
    if capacity < base.capacity {
        return Err(act.refused(format!(
            "{capacity} is less than the {} of {}",
            base.capacity, base.name
        )));
    }
    Ok(())
}

async fn make(
    host: &Host,
    session: &Session,
    spec: &VolumeSpec,
    pool: &Pool,
    act: &Act,
    xml: &str,
) -> Result<(), DriverError> {
    let made = session
        .connection
        .storage_vol_create_xml(&pool.reference, xml, VolCreate::empty())
        .await;
    match made {
        Ok(_) => Ok(()),
        Err(error) => Err(not_made(host, session, spec, act, &error).await),
    }
}

/// A file that libvirt has not seen yet is in the way in another way than a volume that it knows.
async fn not_made(
    host: &Host,
    session: &Session,
    spec: &VolumeSpec,
    act: &Act,
    error: &Error,
) -> DriverError {
    let failed = host.pool_failed(session, &spec.pool, act, error).await;
    if error.is_invalid_state()
        && matches!(failed, DriverError::Refused { .. })
        && read(host, session, &spec.pool, &spec.name, act).await.is_ok()
    {
        return act.exists();
    }
    failed
}

async fn copy(
    host: &Host,
    session: &Session,
    spec: &VolumeSpec,
    pool: &Pool,
    act: &Act,
    (from, original): (&PoolName, &VolumeDetail),
    capacity: Bytes,
) -> Result<(), DriverError> {
    let deadline = Duration::from_secs(60 + original.capacity.0 / COPY_BYTES_A_SECOND);
    let source = reference(from, &original.name);
    let blocks = matches!(spec.content, VolumeContent::BlockCopy { .. });
    let xml = match blocks {
        true => volume_xml::block(&spec.name, capacity).to_string(),
        false => volume_xml::blank(&spec.name, capacity).to_string(),
    };
    let made = session
        .connection
        .within(deadline)
        .storage_vol_create_xml_from(&pool.reference, &xml, &source, VolCreate::empty())
        .await;
    if let Err(error) = made {
        return Err(not_made(host, session, spec, act, &error).await);
    }
    if blocks {
        // libvirt changes the size of no logical volume; it was made as large as it shall be.
        return Ok(());
    }
    // The copy has its original's size.
    let grown = grow(session, &reference(&spec.pool, &spec.name), capacity)
        .await
        .during(act);
    if grown.is_err() {
        let undone = session
            .connection
            .storage_vol_delete(&reference(&spec.pool, &spec.name), VolDelete::empty())
            .await;
        tracing::debug!(?undone, "copy that does not grow");
    }
    grown
}

/// A host copies its file itself: no byte of it passes through here.
async fn copy_file(
    host: &Host,
    spec: &VolumeSpec,
    pool: &Pool,
    (path, format, capacity): (&str, DiskFormat, Bytes),
) -> Result<(), DriverError> {
    let act = Act::on_pool(
        "copying",
        format!(
            "file {path} of the host to volume {} in pool {}",
            spec.name, spec.pool
        ),
    );
    let deadline = Duration::from_secs(60 + capacity.0 / COPY_BYTES_A_SECOND);
    let xml = volume_xml::of_file(&spec.name, capacity, format).to_string();
    let session = host.session().await?;
    let made = files::with(host, path, &act, |session, source| {
        let (pool, xml) = (pool.reference.clone(), xml.clone());
        Box::pin(async move {
            session
                .connection
                .within(deadline)
                .storage_vol_create_xml_from(&pool, &xml, &source, VolCreate::empty())
                .await
        })
    });
    match made.await {
        Err(DriverError::Refused { .. })
            if read(host, &session, &spec.pool, &spec.name, &act).await.is_ok() =>
        {
            Err(self::act("making", &spec.pool, &spec.name).exists())
        }
        result => result.map(drop),
    }
}

/// Grows a volume that no machine runs on; as large already is fine.
pub(crate) async fn grow(session: &Session, volume: &VolRef, capacity: Bytes) -> Result<(), Error> {
    let info = session.connection.storage_vol_get_info(volume).await?;
    if info.capacity < capacity.0 {
        session
            .connection
            .storage_vol_resize(volume, capacity.0, VolResize::empty())
            .await?;
    }
    Ok(())
}

pub(crate) async fn delete(host: &Host, pool_name: &PoolName, name: &VolumeName) -> Result<(), DriverError> {
    let act = act("deleting", pool_name, name);
    let session = host.session().await?;
    let pool = host.pool(&session, pool_name, &act).await?;
    let volume = reference(pool_name, name);
    let mut looked_again = false;
    let mut waited = 0;
    loop {
        let result = session
            .connection
            .storage_vol_delete(&volume, VolDelete::empty())
            .await;
        match result {
            Ok(()) => return Ok(()),
            Err(error) if error.is_no_storage_vol() && looked_again => return Ok(()),
            Err(error) if error.is_no_storage_vol() => {
                refresh(host, &session, pool_name, &pool, &act).await?;
                looked_again = true;
            }
            // An upload that was given up lets go of its volume a moment later.
            Err(error) if error.is_invalid_state() && waited < RELEASE_STEPS => {
                waited += 1;
                tokio::time::sleep(RELEASE_STEP).await;
            }
            Err(error) => return Err(host.pool_failed(&session, pool_name, &act, &error).await),
        }
    }
}
