//! Bytes into and out of volumes.
//!
//! libvirt's daemon dies of a byte more than was announced and of a file system that runs full under an upload. So a
//! volume is filled only where its room was made beforehand, for exactly its length, and no byte over it leaves.

use std::io;
use std::num::NonZeroU64;
use std::time::Duration;

use bytes::{Bytes as Chunk, BytesMut};
use futures::StreamExt;
use labyard_driver::ids::{Bytes, PoolName, VolumeName};
use labyard_driver::spec::DiskFormat;
use labyard_driver::{DriverError, UploadStream, VolumeBytes};
use libvirt_rpc::{Connection, Upload};
use tokio::time::{Instant, timeout_at};

use crate::errors::{Act, During};
use crate::files;
use crate::host::{Host, parse};
use crate::volume_xml;
use crate::volumes::{act, reference};

/// What is gathered before it is sent on: small pieces cost a message each.
const GATHER: usize = 1 << 20;
/// No single step of a stream takes longer, however far off the deadline is.
const STEP: Duration = Duration::from_secs(30);
const QCOW2_MAGIC: &[u8] = b"QFI\xfb";
/// How long libvirt may take to see what was uploaded.
const PROBE_STEPS: u32 = 50;
const PROBE_STEP: Duration = Duration::from_millis(100);

pub(crate) async fn upload(
    host: &Host,
    pool: &PoolName,
    name: &VolumeName,
    length: Bytes,
    stream: UploadStream,
    deadline: Duration,
) -> Result<(), DriverError> {
    let act = act("filling", pool, name);
    let mut source = Source {
        stream,
        act: &act,
        until: Instant::now() + deadline,
    };
    // One of its own: while the daemon writes it reads nothing else from a connection.
    let line = host.connect_for_streams().await?;
    let connection = line.connection()?;
    let volume = reference(pool, name);
    let text = connection.storage_vol_get_xml_desc(&volume).await.during(&act)?;
    if volume_xml::length(&parse(&act, &text)?) != Some(length) {
        return Err(act.refused(format!("it was not made for an upload of {} bytes", length.0)));
    }
    let Some(length) = NonZeroU64::new(length.0) else {
        return source.must_have_ended().await;
    };
    let patient = connection.within(STEP.min(deadline));
    let upload = patient
        .storage_vol_upload(&volume, 0, length)
        .await
        .during(&act)?;
    let first = fill(upload, &mut source, length.get()).await?;
    if first.starts_with(QCOW2_MAGIC) {
        wait_until_seen(connection, &act, pool, name).await?;
    }
    Ok(())
}

/// Sends all that the source gives, which must be `length` bytes, and gives back the first piece. On any failure the
/// upload is dropped, which aborts it.
async fn fill(mut upload: Upload, source: &mut Source<'_>, length: u64) -> Result<Chunk, DriverError> {
    let mut first = Chunk::new();
    while upload.sent() < length {
        let left = length - upload.sent();
        let piece = source.gather(left).await?;
        if piece.is_empty() {
            return Err(source.failed(format!(
                "it ended {left} bytes early, after {} bytes",
                upload.sent()
            )));
        }
        if first.is_empty() {
            first = piece.clone();
        }
        let sent = timeout_at(source.until, upload.write(piece)).await;
        sent.map_err(|_| source.act.reply_lost("the deadline passed"))?
            .during(source.act)?;
    }
    source.must_have_ended().await?;
    let finished = timeout_at(source.until, upload.finish()).await;
    finished
        .map_err(|_| source.act.reply_lost("the deadline passed"))?
        .during(source.act)?;
    Ok(first)
}

struct Source<'a> {
    stream: UploadStream,
    act: &'a Act,
    until: Instant,
}

impl Source<'_> {
    /// The next bytes, never more than `left` of them; fewer only at the end.
    async fn gather(&mut self, left: u64) -> Result<Chunk, DriverError> {
        let wanted = usize::try_from(left).unwrap_or(GATHER).min(GATHER);
        let mut gathered = BytesMut::new();
        while gathered.len() < wanted {
            let Some(chunk) = self.next().await? else { break };
            if gathered.len() as u64 + chunk.len() as u64 > left {
                return Err(self.failed(format!("it holds more than was announced, from byte {left} on")));
            }
            if gathered.is_empty() && chunk.len() >= wanted {
                return Ok(chunk);
            }
            gathered.extend_from_slice(&chunk);
        }
        Ok(gathered.freeze())
    }

    async fn must_have_ended(&mut self) -> Result<(), DriverError> {
        match self.next().await? {
            None => Ok(()),
            Some(_) => Err(self.failed("it holds more than was announced".to_owned())),
        }
    }

    /// The next piece that holds anything.
    async fn next(&mut self) -> Result<Option<Chunk>, DriverError> {
        loop {
            match timeout_at(self.until, self.stream.next()).await {
                Ok(Some(Ok(chunk))) if chunk.is_empty() => {}
                Ok(Some(Ok(chunk))) => return Ok(Some(chunk)),
                Ok(None) => return Ok(None),
                Ok(Some(Err(cause))) => {
                    return Err(DriverError::Source {
                        what: self.act.source(),
                        cause,
                    });
                }
                Err(_) => return Err(self.failed("the deadline passed while it was read".to_owned())),
            }
        }
    }

    fn failed(&self, why: String) -> DriverError {
        DriverError::Source {
            what: self.act.source(),
            cause: io::Error::other(why).into(),
        }
    }
}

/// libvirt looks at what was uploaded in the background; until then an overlay on it would be made on "raw".
async fn wait_until_seen(
    connection: &Connection,
    act: &Act,
    pool: &PoolName,
    name: &VolumeName,
) -> Result<(), DriverError> {
    for _ in 0..PROBE_STEPS {
        let text = connection
            .storage_vol_get_xml_desc(&reference(pool, name))
            .await
            .during(act)?;
        if volume_xml::detail(&parse(act, &text)?).format == Some(DiskFormat::Qcow2) {
            return Ok(());
        }
        tokio::time::sleep(PROBE_STEP).await;
    }
    Err(act.busy("libvirt has not looked at the uploaded image yet"))
}

/// The bytes of a volume, one piece after another.
pub(crate) async fn read(
    host: &Host,
    pool: &PoolName,
    name: &VolumeName,
) -> Result<VolumeBytes, DriverError> {
    let act = self::act("reading", pool, name);
    let line = host.connect_for_streams().await?;
    let connection = line.connection()?;
    let volume = reference(pool, name);
    let text = connection.storage_vol_get_xml_desc(&volume).await.during(&act)?;
    let length = volume_xml::length(&parse(&act, &text)?);
    let opened = connection
        .within(STEP)
        .storage_vol_download(&volume, 0, None)
        .await;
    Ok(VolumeBytes {
        length,
        stream: files::pieces(line, opened.during(&act)?),
    })
}

pub(crate) async fn download(
    host: &Host,
    pool: &PoolName,
    name: &VolumeName,
    limit: Bytes,
) -> Result<Vec<u8>, DriverError> {
    let act = self::act("reading", pool, name);
    let line = host.connect_for_streams().await?;
    let connection = line.connection()?;
    let volume = reference(pool, name);
    let stream = connection
        .within(STEP)
        .storage_vol_download(&volume, 0, None)
        .await;
    let mut stream = stream.during(&act)?;
    let mut read = Vec::new();
    while let Some(piece) = stream.next().await.during(&act)? {
        read.extend_from_slice(&piece);
        if read.len() as u64 > limit.0 {
            return Err(act.refused(format!("it is longer than {limit}")));
        }
    }
    Ok(read)
}
