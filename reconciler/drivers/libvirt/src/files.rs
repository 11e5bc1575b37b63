//! Files of the host that lie beside the pools: images, the distributor's templates, what libvirt keeps itself.
//!
//! libvirt reads and writes files only as volumes of pools. So the directory becomes a pool for as long as it takes:
//! a transient one, which no restart of the host brings back, under a name made of the directory, so that whoever
//! comes next finds and removes what a killed run left. Stopping such a pool leaves the directory as it is.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use labyard_driver::observed::HostFile;
use labyard_driver::{DriverError, UploadStream};
use libvirt_rpc::flags::{ListPools, PoolCreate};
use libvirt_rpc::{Connection, Download, Error, ErrorCode, VolRef};

use crate::errors::{Act, During};
use crate::host::{Host, Session, StreamLine};
use crate::volume_xml;
use crate::xml::Element;

const PREFIX: &str = "labyard-files-";
/// Another run may take the pool away between two calls.
const TRIES: u32 = 5;
/// How long a piece of a file may take to come.
const STEP: Duration = Duration::from_secs(30);
const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const ENOTDIR: i32 = 20;

/// The directories that are pools by this process, and for how many at this moment.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    readers: Mutex<BTreeMap<String, usize>>,
}

impl Opened {
    fn enter(&self, pool: &str) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        *readers.entry(pool.to_owned()).or_default() += 1;
    }

    /// Whether nobody is left.
    fn leave(&self, pool: &str) -> bool {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = readers.get_mut(pool) else {
            return true;
        };
        *count -= 1;
        let last = *count == 0;
        if last {
            readers.remove(pool);
        }
        last
    }
}

/// A directory's pool, closed by whoever leaves it last, also where its user was given up.
struct Opening {
    session: Arc<Session>,
    opened: Arc<Opened>,
    pool: Option<String>,
}

impl Opening {
    fn of(host: &Host, session: &Arc<Session>, directory: &str) -> Self {
        let pool = pool_name(directory);
        host.opened.enter(&pool);
        Self {
            session: Arc::clone(session),
            opened: Arc::clone(&host.opened),
            pool: Some(pool),
        }
    }

    async fn close(mut self) -> Result<(), Error> {
        match self.pool.take() {
            Some(pool) if self.opened.leave(&pool) => close(&self.session.connection, &pool).await,
            _ => Ok(()),
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        if self.opened.leave(&pool)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let session = Arc::clone(&self.session);
            runtime.spawn(async move {
                let closed = close(&session.connection, &pool).await;
                tracing::debug!(?closed, pool, "pool on a directory that was given up");
            });
        }
    }
}

/// What is done with a file.
pub(crate) type Deed<T> = BoxFuture<'static, Result<T, Error>>;

/// Does something with a file as a volume, while it is one.
pub(crate) async fn with<T>(
    host: &Host,
    path: &str,
    act: &Act,
    deed: impl Fn(Arc<Session>, VolRef) -> Deed<T> + Send + Sync,
) -> Result<T, DriverError> {
    if host.reads_only() {
        return Err(DriverError::Unsupported {
            what: format!("reading {path}"),
            message: "the connection may only read what libvirt shows of itself (?mode=ro)".to_owned(),
        });
    }
    let session = host.session().await?;
    let Some((directory, _)) = path
        .rsplit_once('/')
        .filter(|(directory, _)| !directory.is_empty())
    else {
        return Err(act.refused("it lies in no directory of its own: move it into one"));
    };
    let opening = Opening::of(host, &session, directory);
    let mut outcome = Err(act.missing());
    for _ in 0..TRIES {
        let done = match session.connection.storage_vol_lookup_by_path(path).await {
            Ok(volume) => deed(Arc::clone(&session), volume).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(done) => {
                outcome = Ok(done);
                break;
            }
            Err(error) if error.is_no_storage_vol() || error.is_no_storage_pool() => {
                if let Err(error) = open(&session.connection, directory).await {
                    outcome = Err(told(act, directory, &error));
                    break;
                }
            }
            Err(error) => {
                outcome = Err(told(act, path, &error));
                break;
            }
        }
    }
    opening.close().await.during(act)?;
    outcome
}

/// Makes the directory a pool. One that somebody has made of it already may list what was there then: it looks again.
async fn open(connection: &Connection, directory: &str) -> Result<(), Error> {
    if let Ok(there) = connection.storage_pool_lookup_by_target_path(directory).await {
        return connection.storage_pool_refresh(&there).await;
    }
    let definition = Element::new("pool")
        .with("type", "dir")
        .holding(Element::new("name").saying(&pool_name(directory)))
        .holding(Element::new("target").holding(Element::new("path").saying(directory)));
    let created = connection
        .storage_pool_create_xml(&definition.to_string(), PoolCreate::empty())
        .await;
    match created {
        Ok(_) => Ok(()),
        // Another has been quicker: what counts is that it is there.
        Err(error) => match connection.storage_pool_lookup_by_target_path(directory).await {
            Ok(_) => Ok(()),
            Err(_) => Err(error),
        },
    }
}

/// What the host's kernel said when libvirt opened a file or directory.
fn told(act: &Act, path: &str, error: &Error) -> DriverError {
    let Some(answer) = error.server() else {
        return act.failed(error);
    };
    match answer.int1 {
        ENOENT | ENOTDIR if answer.code == ErrorCode::SystemError => act.missing(),
        EACCES | EPERM if answer.code == ErrorCode::SystemError => act.refused(format!(
            "the account that libvirt's daemon runs as may not open {path}: {}",
            answer.message
        )),
        _ => act.failed(error),
    }
}

/// Stops a transient pool, which ends it; its directory is left as it is. None there is fine, and one that another run
/// copies from is that run's to close.
async fn close(connection: &Connection, pool: &str) -> Result<(), Error> {
    match connection.storage_pool_lookup_by_name(pool).await {
        Ok(there) => match connection.storage_pool_destroy(&there).await {
            Err(error) if error.is_no_storage_pool() || error.is_invalid_state() || has_jobs(&error) => {
                Ok(())
            }
            result => result,
        },
        Err(error) if error.is_no_storage_pool() => Ok(()),
        Err(error) => Err(error),
    }
}

fn has_jobs(error: &Error) -> bool {
    let said = error.server().map(|answer| answer.message.as_str());
    said.is_some_and(|text| text.contains("asynchronous jobs running"))
}

/// Closes what killed runs left open.
pub(crate) async fn tidy(host: &Host) -> Result<(), DriverError> {
    let act = Act::on("removing", "a pool on a directory of files");
    let session = host.session().await?;
    let pools = session
        .connection
        .connect_list_all_storage_pools(ListPools::ACTIVE);
    for pool in pools.await.during(&act)? {
        if pool.name.starts_with(PREFIX) {
            close(&session.connection, &pool.name).await.during(&act)?;
        }
    }
    Ok(())
}

/// What a volume's XML says of a file; what else may stand in a directory is none.
fn file(text: &str) -> Result<HostFile, String> {
    let volume = Element::parse(text).map_err(|error| format!("libvirt's answer cannot be read: {error}"))?;
    match volume.attribute("type") {
        None | Some("file") => {}
        Some("dir") => return Err("it is a directory: name the file in it".to_owned()),
        Some(other) => return Err(format!("it is no file, but a volume of type {other}")),
    }
    let length = volume_xml::length(&volume);
    let length = length.ok_or("libvirt does not tell its length")?;
    let time = |of: &str| volume.text_at(&["target", "timestamps", of]).unwrap_or_default();
    Ok(HostFile {
        length,
        version: format!("{} {} {}", length.0, time("mtime"), time("ctime")),
    })
}

/// Looks at a file.
pub(crate) async fn look(host: &Host, path: &str) -> Result<HostFile, DriverError> {
    let act = act(path);
    let looked = with(host, path, &act, |session, volume| {
        Box::pin(async move { session.connection.storage_vol_get_xml_desc(&volume).await })
    });
    file(&looked.await?).map_err(|why| act.refused(why))
}

/// Its bytes, as many as it had when it was opened.
pub(crate) async fn read(host: &Host, path: &str) -> Result<UploadStream, DriverError> {
    let act = act(path);
    let line = host.connect_for_streams().await?;
    let patient = line.connection()?.within(STEP);
    let opened = with(host, path, &act, |session, volume| {
        let patient = patient.clone();
        Box::pin(async move {
            let text = session.connection.storage_vol_get_xml_desc(&volume).await?;
            let length = file(&text).ok();
            let download = match length.and_then(|file| NonZeroU64::new(file.length.0)) {
                Some(length) => Some(patient.storage_vol_download(&volume, 0, Some(length)).await?),
                None => None,
            };
            Ok((text, download))
        })
    });
    let (text, download) = opened.await?;
    file(&text).map_err(|why| act.refused(why))?;
    Ok(match download {
        Some(download) => pieces(line, download),
        None => stream::empty().boxed(),
    })
}

/// The connection is held until the last of them.
pub(crate) fn pieces(line: StreamLine, download: Download) -> UploadStream {
    let next = async |(line, mut download): (StreamLine, Download)| {
        let piece = download.next().await.transpose()?;
        let piece = piece.map_err(|error| Box::new(error) as Box<dyn std::error::Error + Send + Sync>);
        Some((piece, (line, download)))
    };
    stream::unfold((line, download), next).boxed()
}

/// What is being done to a file.
pub(crate) fn act(path: &str) -> Act {
    Act::on("reading", format!("file {path} of the host"))
}

/// The same for the same directory (FNV-1a).
fn pool_name(directory: &str) -> String {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    format!(
        "{PREFIX}{:016x}",
        directory.bytes().fold(0xcbf2_9ce4_8422_2325, fold)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(kind: &str, mtime: &str) -> String {
        format!(
            "<volume{kind}><name>a</name><capacity unit='bytes'>9</capacity><physical unit='bytes'>7</physical>\
             <target><timestamps><mtime>{mtime}</mtime><ctime>2</ctime></timestamps></target></volume>"
        )
    }

    #[test]
    fn a_file_that_was_written_to_has_another_version() {
        let before = file(&volume(" type='file'", "1.5")).unwrap();
        assert_eq!(before.length.0, 7, "of the file, not of the disk in it");
        assert_eq!(before, file(&volume("", "1.5")).unwrap());
        assert_ne!(before.version, file(&volume("", "1.6")).unwrap().version);
    }

    #[test]
    fn a_directory_is_no_file() {
        assert!(
            file(&volume(" type='dir'", "1"))
                .unwrap_err()
                .contains("directory")
        );
        assert!(file(&volume(" type='block'", "1")).unwrap_err().contains("block"));
    }

    #[test]
    fn whoever_leaves_last_closes() {
        let opened = Opened::default();
        opened.enter("a");
        opened.enter("a");
        opened.enter("b");
        assert!(!opened.leave("a"));
        assert!(opened.leave("a") && opened.leave("b"));
    }
}
