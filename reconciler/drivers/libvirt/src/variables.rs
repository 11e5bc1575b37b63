//! Files of firmware variables that lie beside the pools: the distributor's templates, and those that libvirt keeps.
//!
//! libvirt reads and writes files only as volumes of pools. So the directory becomes a pool for as long as it takes:
//! a transient one, which no restart of the host brings back, under a name made of the directory, so that whoever
//! comes next finds and removes what a killed run left.

use std::collections::BTreeSet;
use std::sync::Arc;

use labyard_driver::DriverError;
use labyard_driver::driver::VariablesOf;
use labyard_driver::ids::{Bytes, PoolName, VolumeName};
use libvirt_rpc::Connection;
use libvirt_rpc::flags::PoolCreate;

use crate::errors::{Act, During};
use crate::host::{Host, Session};
use crate::upload;
use crate::xml::Element;

const PREFIX: &str = "labyard-firmware-";
/// Another run may take the pool away between two calls.
const TRIES: u32 = 5;
/// More than any firmware's variables.
const MOST: Bytes = Bytes(4 << 20);

pub(crate) async fn read(host: &Host, of: &VariablesOf) -> Result<Vec<u8>, DriverError> {
    let session = host.session().await?;
    match of {
        VariablesOf::File(path) => read_file(host, &session, path).await,
        VariablesOf::Template(kind) => {
            let act = Act::on("reading", "the template of firmware variables");
            let facts = host.facts(&session).await?;
            let path = match facts.variables.get(kind) {
                Some(Ok(path)) => path,
                Some(Err(reason)) => return Err(act.refused(reason.clone())),
                None => return Err(act.refused("the connection may only read")),
            };
            // Whoever comes while it is being read waits for that: a template does not change under a process.
            let mut known = host.templates.lock().await;
            if let Some(content) = known.get(path) {
                return Ok(content.to_vec());
            }
            let content = read_file(host, &session, path).await?;
            known.insert(path.clone(), Arc::new(content.clone()));
            Ok(content)
        }
    }
}

async fn read_file(host: &Host, session: &Session, path: &str) -> Result<Vec<u8>, DriverError> {
    let act = Act::on("reading", format!("file {path} of the host"));
    let Some((directory, _)) = path
        .rsplit_once('/')
        .filter(|(directory, _)| !directory.is_empty())
    else {
        return Err(act.refused("it lies in no directory of its own"));
    };
    let connection = &session.connection;
    let pool = pool_name(directory);
    let mut outcome = Err(act.missing());
    for _ in 0..TRIES {
        match connection.storage_vol_lookup_by_path(path).await {
            Ok(volume) => {
                let (pool, name) = (PoolName(volume.pool.clone()), VolumeName(volume.name.clone()));
                outcome = upload::download(host, &pool, &name, MOST).await;
                if !matches!(outcome, Err(DriverError::Missing { .. })) {
                    break;
                }
            }
            Err(error) if error.is_no_storage_vol() => {
                if let Err(error) = open(connection, &pool, directory).await {
                    outcome = Err(act.failed(&error));
                    break;
                }
            }
            Err(error) => {
                outcome = Err(act.failed(&error));
                break;
            }
        }
    }
    close(connection, &pool).await.during(&act)?;
    outcome
}

/// Makes the directory a pool. One that another run made, or left, may list what was there then: it looks again.
async fn open(connection: &Connection, pool: &str, directory: &str) -> Result<(), libvirt_rpc::Error> {
    if let Ok(there) = connection.storage_pool_lookup_by_name(pool).await {
        return connection.storage_pool_refresh(&there).await;
    }
    let definition = Element::new("pool")
        .with("type", "dir")
        .holding(Element::new("name").saying(pool))
        .holding(Element::new("target").holding(Element::new("path").saying(directory)));
    connection
        .storage_pool_create_xml(&definition.to_string(), PoolCreate::empty())
        .await
        .map(drop)
}

/// Stops a transient pool, which ends it; its directory is left as it is. None there is fine.
async fn close(connection: &Connection, pool: &str) -> Result<(), libvirt_rpc::Error> {
    match connection.storage_pool_lookup_by_name(pool).await {
        Ok(there) => match connection.storage_pool_destroy(&there).await {
            Err(error) if error.is_no_storage_pool() || error.is_invalid_state() => Ok(()),
            result => result,
        },
        Err(error) if error.is_no_storage_pool() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes what killed runs left.
pub(crate) async fn tidy(host: &Host) -> Result<(), DriverError> {
    let act = Act::on("removing", "a pool on the firmware's directory");
    let session = host.session().await?;
    let facts = host.facts(&session).await?;
    let directories: BTreeSet<_> = facts
        .variables
        .values()
        .filter_map(|path| path.as_ref().ok()?.rsplit_once('/'))
        .map(|(directory, _)| directory)
        .collect();
    for directory in directories {
        close(&session.connection, &pool_name(directory))
            .await
            .during(&act)?;
    }
    Ok(())
}

/// The same for the same directory (FNV-1a).
fn pool_name(directory: &str) -> String {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    format!(
        "{PREFIX}{:016x}",
        directory.bytes().fold(0xcbf2_9ce4_8422_2325, fold)
    )
}
