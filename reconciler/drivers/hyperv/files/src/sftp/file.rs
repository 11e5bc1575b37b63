//! Handles of an SFTP server, and the files that are read and written by them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;

use super::packet::{self, Answer, OPEN_NEW, OPEN_READ, Request};
use super::session::{Fail, Session};
use super::{Shared, stat, why};
use crate::ahead::{Ahead, Sink, Writes};
use crate::error::{Error, Verb, Why};
use crate::files::{FileReader, FileWriter, Stat};
use crate::path::HostPath;
use crate::smb::Deadlines;

/// Asks; a status that is not yes is a failure.
pub(super) async fn asked(session: &Session, request: Request, within: Duration) -> Result<Answer, Fail> {
    match session.ask(request, within).await? {
        Answer::Status { code, message } if code != packet::OK => Err(Fail::Status { code, message }),
        answer => Ok(answer),
    }
}

/// Has something done; anything but a status that is yes is a failure.
pub(super) async fn told(session: &Session, request: Request, within: Duration) -> Result<(), Fail> {
    match asked(session, request, within).await? {
        Answer::Status { .. } => Ok(()),
        _ => Err(Fail::Malformed("the answer to something else".to_owned())),
    }
}

/// Something that is open. What is dropped without being closed is closed behind its back.
pub(super) struct Handle {
    session: Arc<Session>,
    pub(super) id: Vec<u8>,
    path: HostPath,
    deadlines: Deadlines,
    open: bool,
}

impl Handle {
    pub(super) async fn open(
        session: &Arc<Session>,
        request: Request,
        path: &HostPath,
        deadlines: Deadlines,
    ) -> Result<Self, Fail> {
        match asked(session, request, deadlines.call).await? {
            Answer::Handle(id) => Ok(Self {
                session: Arc::clone(session),
                id,
                path: path.clone(),
                deadlines,
                open: true,
            }),
            _ => Err(Fail::Malformed("no handle where one was asked for".to_owned())),
        }
    }

    pub(super) async fn ask(&self, request: Request) -> Result<Answer, Fail> {
        asked(&self.session, request, self.deadlines.call).await
    }

    fn error(&self, verb: Verb, fail: Fail) -> Error {
        Error::new(verb, &self.path, why(verb, fail))
    }

    pub(super) async fn close(mut self) -> Result<(), Fail> {
        self.open = false;
        told(&self.session, Request::close(&self.id), self.deadlines.call).await
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.open || self.session.is_over() {
            return;
        }
        // A cancelled call or a dropped file: else it stays open as long as the session does.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let session = Arc::clone(&self.session);
        let request = Request::close(&self.id);
        let within = self.deadlines.call;
        runtime.spawn(async move {
            let _nobody_waits = session.ask(request, within).await;
        });
    }
}

/// A file that is read.
pub(super) struct Reader {
    shared: Arc<Shared>,
    path: HostPath,
    stat: Stat,
    handle: Mutex<Arc<Handle>>,
}

impl Reader {
    pub(super) async fn open(shared: &Arc<Shared>, path: &HostPath) -> Result<Self, Error> {
        let (handle, stat) = opened(shared, path).await?;
        Ok(Self {
            shared: Arc::clone(shared),
            path: path.clone(),
            stat,
            handle: Mutex::new(Arc::new(handle)),
        })
    }

    /// A handle that is not this one, which is of no more use.
    async fn reopened(&self, useless: &Arc<Handle>) -> Result<Arc<Handle>, Error> {
        let mut current = self.handle.lock().await;
        if Arc::ptr_eq(&current, useless) {
            let (handle, stat) = opened(&self.shared, &self.path).await?;
            if stat.size != self.stat.size || stat.modified != self.stat.modified {
                return Err(Error::new(Verb::Read, &self.path, Why::Changed));
            }
            *current = Arc::new(handle);
        }
        Ok(Arc::clone(&current))
    }

    async fn read(handle: &Handle, offset: u64, length: usize) -> Result<Bytes, Fail> {
        let mut whole = Vec::new();
        while whole.len() < length {
            let now = (length - whole.len()).min(handle.session.read);
            let at = offset + whole.len() as u64;
            let request = Request::read(&handle.id, at, u32::try_from(now).unwrap_or(u32::MAX));
            match handle.ask(request).await {
                Ok(Answer::Data(data)) if data.is_empty() || data.len() > now => {
                    return Err(Fail::Malformed(format!(
                        "{} bytes where {now} were asked for",
                        data.len()
                    )));
                }
                Ok(Answer::Data(data)) => whole.extend(data),
                Ok(_) => return Err(Fail::Malformed("the answer to something else".to_owned())),
                Err(Fail::Status {
                    code: packet::END, ..
                }) => break,
                Err(fail) => return Err(fail),
            }
        }
        Ok(whole.into())
    }
}

async fn opened(shared: &Arc<Shared>, path: &HostPath) -> Result<(Handle, Stat), Error> {
    let verb = Verb::Read;
    let name = shared.name(verb, path)?;
    let session = shared.session_for(verb, path).await?;
    let request = Request::open(&name, OPEN_READ);
    let handle = Handle::open(&session, request, path, shared.deadlines).await;
    let handle = handle.map_err(|fail| shared.error(verb, path, fail))?;
    match handle.ask(Request::fstat(&handle.id)).await {
        Ok(Answer::Attributes(attributes)) => Ok((handle, stat(attributes))),
        Ok(other) => Err(shared.unexpected(verb, path, &other)),
        Err(fail) => Err(shared.error(verb, path, fail)),
    }
}

#[async_trait]
impl FileReader for Reader {
    fn size(&self) -> u64 {
        self.stat.size
    }

    async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, Error> {
        let left = self.stat.size.saturating_sub(offset);
        let length = usize::try_from(left).map_or(length, |left| length.min(left));
        let handle = Arc::clone(&*self.handle.lock().await);
        let read = match Self::read(&handle, offset, length).await {
            Err(Fail::Trouble(_) | Fail::NotSent(_)) => {
                let handle = self.reopened(&handle).await?;
                Self::read(&handle, offset, length).await
            }
            done => done,
        };
        let read = read.map_err(|fail| handle.error(Verb::Read, fail))?;
        match read.len() == length {
            true => Ok(read),
            false => Err(Error::new(Verb::Read, &self.path, Why::Changed)),
        }
    }
}

/// Bytes under way at a time.
const AHEAD: usize = 8 << 20;

/// A file that is written.
pub(super) struct Writer {
    handle: Arc<Handle>,
    writes: Writes<Target>,
}

/// Where its writes go.
struct Target {
    shared: Arc<Shared>,
    handle: Arc<Handle>,
}

impl Writer {
    pub(super) async fn create(shared: &Arc<Shared>, path: &HostPath) -> Result<Self, Error> {
        let verb = Verb::Create;
        let name = shared.name(verb, path)?;
        let session = shared.session_for(verb, path).await?;
        let request = Request::open(&name, OPEN_NEW);
        let handle = Handle::open(&session, request, path, shared.deadlines).await;
        let handle = handle.map_err(|fail| shared.error(verb, path, fail))?;
        let handle = Arc::new(handle);
        let target = Target {
            shared: Arc::clone(shared),
            handle: Arc::clone(&handle),
        };
        let ahead = Ahead {
            chunk: session.write,
            writes: AHEAD / session.write.max(1),
        };
        Ok(Self {
            handle,
            writes: Writes::new(Arc::new(target), ahead),
        })
    }

    async fn settle(&mut self) -> Result<(), Error> {
        let settled = self.writes.settle().await;
        settled.map_err(|why| Error::new(Verb::Write, &self.handle.path, why))
    }
}

#[async_trait]
impl FileWriter for Writer {
    async fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let written = self.writes.write(offset, data).await;
        written.map_err(|why| Error::new(Verb::Write, &self.handle.path, why))
    }

    async fn set_len(&mut self, length: u64) -> Result<(), Error> {
        self.settle().await?;
        let handle = &self.handle;
        let request = Request::set_size(&handle.id, length);
        let set = told(&handle.session, request, handle.deadlines.disk).await;
        set.map_err(|fail| handle.error(Verb::Resize, fail))
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.settle().await?;
        let handle = &self.handle;
        if !handle.session.can_flush {
            let what = format!(
                "the host's SFTP server cannot bring files to the disk ({})",
                packet::FSYNC
            );
            return Err(Error::new(Verb::Flush, &handle.path, Why::Unsupported(what)));
        }
        let request = Request::fsync(&handle.id);
        let flushed = told(&handle.session, request, handle.deadlines.disk).await;
        flushed.map_err(|fail| handle.error(Verb::Flush, fail))
    }

    async fn close(mut self: Box<Self>) -> Result<(), Error> {
        let settled = self.settle().await;
        let Self { handle, writes } = *self;
        // What is still under way after a failure holds the handle too.
        writes.stop().await;
        let path = handle.path.clone();
        let closed = match Arc::into_inner(handle) {
            Some(handle) => handle
                .close()
                .await
                .map_err(|fail| Error::new(Verb::Close, &path, why(Verb::Close, fail))),
            None => Ok(()),
        };
        settled.and(closed)
    }
}

#[async_trait]
impl Sink for Target {
    async fn put(&self, offset: u64, data: &[u8]) -> Result<(), Why> {
        let request = Request::write(&self.handle.id, offset, data);
        let handle = &self.handle;
        let Err(fail) = told(&handle.session, request, handle.deadlines.call).await else {
            return Ok(());
        };
        if let Fail::Status {
            code: packet::FAILURE,
            ..
        } = fail
        {
            // There is no status for a full disk. What is left then is less than was to be written.
            let room = self.shared.room(&self.handle.session).await;
            if room.is_ok_and(|room| room.free < data.len() as u64) {
                return Err(Why::DiskFull);
            }
        }
        Err(why(Verb::Write, fail))
    }
}
