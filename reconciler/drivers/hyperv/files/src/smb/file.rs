//! Handles of an SMB server, and the files that are read and written by them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use smb2::msg::close::{CloseRequest, CloseResponse};
use smb2::msg::create::{CreateDisposition, CreateRequest, CreateResponse, ImpersonationLevel, ShareAccess};
use smb2::msg::flush::{FlushRequest, FlushResponse};
use smb2::msg::read::{ReadRequest, ReadResponse};
use smb2::msg::set_info::{InfoType, SetInfoRequest, SetInfoResponse};
use smb2::msg::write::WriteResponse;
use smb2::pack::{Pack, Unpack, WriteCursor};
use smb2::types::flags::FileAccessMask;
use smb2::types::{Command, FileId, OplockLevel};
use tokio::sync::Mutex;

use super::link::{Deadlines, Fail, Link};
use super::status::{END_OF_FILE, Status};
use super::{Shared, info};
use crate::ahead::{Ahead, Sink, Writes};
use crate::error::{Error, Verb, Why};
use crate::files::{FileReader, FileWriter, Stat};
use crate::path::HostPath;

/// How something is opened. \[MS-SMB2\] 2.2.13.
#[derive(Clone, Copy)]
pub(super) struct Open {
    access: u32,
    attributes: u32,
    shared_with: u32,
    pub(super) disposition: CreateDisposition,
    options: u32,
}

const READ_DATA: u32 = 0x1;
const WRITE_DATA: u32 = 0x2;
const READ_ATTRIBUTES: u32 = 0x80;
const WRITE_ATTRIBUTES: u32 = 0x100;
const DELETE: u32 = 0x1_0000;
const SYNCHRONIZE: u32 = 0x10_0000;
const IS_DIRECTORY: u32 = 0x1;
const IS_FILE: u32 = 0x40;
/// The link and not what it leads to.
const ITSELF: u32 = 0x20_0000;
const NOBODY: u32 = 0;
const READERS: u32 = 0x1;
const EVERYBODY: u32 = 0x7;

impl Open {
    const EXISTING: Self = Self {
        access: READ_ATTRIBUTES | SYNCHRONIZE,
        attributes: 0,
        shared_with: EVERYBODY,
        disposition: CreateDisposition::FileOpen,
        options: 0,
    };
    pub(super) const TO_LOOK: Self = Self::EXISTING;
    pub(super) const TO_LIST: Self = Self {
        access: READ_DATA | READ_ATTRIBUTES | SYNCHRONIZE,
        options: IS_DIRECTORY,
        ..Self::EXISTING
    };
    /// Who else reads may; who has it open to write keeps it from being opened.
    pub(super) const TO_READ: Self = Self {
        access: READ_DATA | READ_ATTRIBUTES | SYNCHRONIZE,
        shared_with: READERS,
        options: IS_FILE,
        ..Self::EXISTING
    };
    pub(super) const NEW_FILE: Self = Self {
        access: READ_DATA | WRITE_DATA | READ_ATTRIBUTES | WRITE_ATTRIBUTES | SYNCHRONIZE,
        attributes: info::NORMAL,
        shared_with: NOBODY,
        disposition: CreateDisposition::FileCreate,
        options: IS_FILE,
    };
    pub(super) const NEW_DIRECTORY: Self = Self {
        access: READ_ATTRIBUTES | SYNCHRONIZE,
        attributes: info::DIRECTORY,
        shared_with: EVERYBODY,
        disposition: CreateDisposition::FileCreate,
        options: IS_DIRECTORY,
    };
    pub(super) const TO_RENAME: Self = Self {
        access: DELETE | READ_ATTRIBUTES | SYNCHRONIZE,
        options: ITSELF,
        ..Self::EXISTING
    };
    /// With nobody: else it would be gone some time later, when the last one closes it.
    pub(super) const TO_DELETE_FILE: Self = Self {
        access: DELETE | READ_ATTRIBUTES | SYNCHRONIZE,
        shared_with: NOBODY,
        options: IS_FILE | ITSELF,
        ..Self::EXISTING
    };
    pub(super) const TO_DELETE_DIRECTORY: Self = Self {
        access: DELETE | READ_ATTRIBUTES | SYNCHRONIZE,
        shared_with: NOBODY,
        options: IS_DIRECTORY | ITSELF,
        ..Self::EXISTING
    };
    pub(super) const TO_PROTECT: Self = Self {
        access: READ_ATTRIBUTES | WRITE_ATTRIBUTES | SYNCHRONIZE,
        options: IS_FILE,
        ..Self::EXISTING
    };
}

/// What mends a denial.
fn way_out(path: &HostPath, user: &str) -> String {
    let directory = path.parent().unwrap_or_else(|| path.clone());
    format!(
        "{user} needs to be allowed to change it (on the host: `icacls \"{directory}\" /grant \"{user}:(OI)(CI)M\"`); by a \
         named share, the share has to allow it too (`Grant-SmbShareAccess`)"
    )
}

/// What a failed call means for a file. `taken` is what something has already, if that is the answer.
pub(super) fn why(verb: Verb, fail: Fail, path: &HostPath, taken: &HostPath, user: &str) -> Why {
    match fail {
        Fail::Status(status) => status.why(taken, &way_out(path, user)),
        Fail::Trouble(trouble) => Why::of_trouble(verb, trouble),
        Fail::Ended(trouble) => Why::NotSent(trouble),
        Fail::Malformed(what) => Why::Malformed(what),
    }
}

/// Something that is open. What is dropped without being closed is closed behind its back.
pub(super) struct Handle {
    link: Arc<Link>,
    pub(super) id: FileId,
    pub(super) stat: Stat,
    pub(super) attributes: u32,
    path: HostPath,
    user: String,
    deadlines: Deadlines,
    open: bool,
}

impl Handle {
    pub(super) async fn open(
        link: &Arc<Link>,
        name: &str,
        path: &HostPath,
        how: Open,
        deadlines: Deadlines,
        user: &str,
    ) -> Result<Self, Fail> {
        let request = CreateRequest {
            requested_oplock_level: OplockLevel::None,
            impersonation_level: ImpersonationLevel::Impersonation,
            desired_access: FileAccessMask::new(how.access),
            file_attributes: how.attributes,
            share_access: ShareAccess(how.shared_with),
            create_disposition: how.disposition,
            create_options: how.options,
            name: name.to_owned(),
            create_contexts: Vec::new(),
        };
        let asked = link.ask::<CreateResponse>(Command::Create, &request, 0, deadlines.call);
        let answer = asked.await?;
        Ok(Self {
            link: Arc::clone(link),
            id: answer.file_id,
            stat: info::stat(
                answer.file_attributes,
                answer.end_of_file,
                answer.last_write_time.0,
                answer.creation_time.0,
            ),
            attributes: answer.file_attributes,
            path: path.clone(),
            user: user.to_owned(),
            deadlines,
            open: true,
        })
    }

    pub(super) async fn ask<T: Unpack>(
        &self,
        command: Command,
        request: &dyn Pack,
        payload: usize,
    ) -> Result<T, Fail> {
        self.ask_within(command, request, payload, self.deadlines.call)
            .await
    }

    async fn ask_within<T: Unpack>(
        &self,
        command: Command,
        request: &dyn Pack,
        payload: usize,
        within: Duration,
    ) -> Result<T, Fail> {
        self.link.ask(command, request, payload, within).await
    }

    fn why(&self, verb: Verb, fail: Fail) -> Why {
        why(verb, fail, &self.path, &self.path, &self.user)
    }

    pub(super) fn error(&self, verb: Verb, fail: Fail) -> Error {
        Error::new(verb, &self.path, self.why(verb, fail))
    }

    /// Sets facts about it. `taken` is what something has already, if that is the answer.
    pub(super) async fn set(
        &self,
        verb: Verb,
        class: u8,
        buffer: Vec<u8>,
        taken: &HostPath,
    ) -> Result<(), Error> {
        let request = SetInfoRequest {
            info_type: InfoType::File,
            file_info_class: class,
            additional_information: 0,
            file_id: self.id,
            buffer,
        };
        let within = self.deadlines.disk;
        let asked = self.ask_within::<SetInfoResponse>(Command::SetInfo, &request, 0, within);
        match asked.await {
            Ok(_) => Ok(()),
            Err(fail) => {
                let why = why(verb, fail, &self.path, taken, &self.user);
                Err(Error::new(verb, &self.path, why))
            }
        }
    }

    /// Closes it after something was done with it, whatever came of that: while it is open, others are kept out.
    pub(super) async fn closed_after<T>(self, verb: Verb, done: Result<T, Error>) -> Result<T, Error> {
        let closed = self.close(verb).await;
        // What failed first says more; and what looked or set something has done so.
        match (&done, verb) {
            (Ok(_), Verb::Delete) => closed.and(done),
            _ => done,
        }
    }

    pub(super) async fn close(mut self, verb: Verb) -> Result<(), Error> {
        self.open = false;
        let request = CloseRequest {
            flags: 0,
            file_id: self.id,
        };
        let asked = self.ask::<CloseResponse>(Command::Close, &request, 0);
        match asked.await {
            Ok(_) => Ok(()),
            Err(fail) => Err(self.error(verb, fail)),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.open || self.link.is_over() {
            return;
        }
        // A cancelled call or a dropped file: else it stays open as long as the connection does.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let link = Arc::clone(&self.link);
        let within = self.deadlines.call;
        let request = CloseRequest {
            flags: 0,
            file_id: self.id,
        };
        runtime.spawn(async move {
            let asked = link.ask::<CloseResponse>(Command::Close, &request, 0, within);
            let _nobody_waits = asked.await;
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
    pub(super) fn new(shared: &Arc<Shared>, path: &HostPath, handle: Handle) -> Self {
        Self {
            shared: Arc::clone(shared),
            path: path.clone(),
            stat: handle.stat,
            handle: Mutex::new(Arc::new(handle)),
        }
    }

    /// A handle that is not this one, which is of no more use.
    async fn reopened(&self, useless: &Arc<Handle>) -> Result<Arc<Handle>, Error> {
        let mut current = self.handle.lock().await;
        if Arc::ptr_eq(&current, useless) {
            let opened = self.shared.opened(Verb::Read, &self.path, Open::TO_READ);
            let handle = opened.await?;
            let same = |a: Stat, b: Stat| a.size == b.size && a.modified == b.modified;
            if !same(handle.stat, self.stat) {
                return Err(Error::new(Verb::Read, &self.path, Why::Changed));
            }
            *current = Arc::new(handle);
        }
        Ok(Arc::clone(&current))
    }

    async fn read(handle: &Handle, offset: u64, length: usize) -> Result<Bytes, Fail> {
        let mut whole = Vec::new();
        while whole.len() < length {
            let now = (length - whole.len()).min(handle.link.largest).min(CHUNK);
            let request = ReadRequest {
                // Where the data stands in the answer, as Windows' own client asks for it.
                padding: 0x50,
                flags: 0,
                length: u32::try_from(now).unwrap_or(u32::MAX),
                offset: offset + whole.len() as u64,
                file_id: handle.id,
                minimum_count: 0,
                channel: 0,
                remaining_bytes: 0,
                read_channel_info: Vec::new(),
            };
            let answer = match handle.ask::<ReadResponse>(Command::Read, &request, now).await {
                Ok(answer) => answer.data,
                Err(Fail::Status(Status(END_OF_FILE))) => break,
                Err(fail) => return Err(fail),
            };
            match answer.len() {
                0 => break,
                more if more > now => {
                    return Err(Fail::Malformed("more than was asked for".to_owned()));
                }
                _ if whole.is_empty() => whole = answer,
                _ => whole.extend(answer),
            }
        }
        Ok(whole.into())
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
            Err(Fail::Trouble(_) | Fail::Ended(_)) => {
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

/// Bytes of one read or write: larger ones are not faster, and hold more memory.
const CHUNK: usize = 1 << 20;
/// Writes under way at a time.
const WRITES: usize = 8;

/// A file that is written.
pub(super) struct Writer {
    handle: Arc<Handle>,
    writes: Writes<Handle>,
}

impl Writer {
    pub(super) fn new(handle: Handle) -> Self {
        let handle = Arc::new(handle);
        let ahead = Ahead {
            chunk: CHUNK.min(handle.link.largest),
            writes: WRITES,
        };
        Self {
            writes: Writes::new(Arc::clone(&handle), ahead),
            handle,
        }
    }

    async fn settle(&mut self, verb: Verb) -> Result<(), Error> {
        let settled = self.writes.settle().await;
        settled.map_err(|why| Error::new(verb, &self.handle.path, why))
    }
}

#[async_trait]
impl FileWriter for Writer {
    async fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let written = self.writes.write(offset, data).await;
        written.map_err(|why| Error::new(Verb::Write, &self.handle.path, why))
    }

    async fn set_len(&mut self, length: u64) -> Result<(), Error> {
        self.settle(Verb::Write).await?;
        let handle = &self.handle;
        let length = length.to_le_bytes().to_vec();
        // FileEndOfFileInformation.
        handle.set(Verb::Resize, 20, length, &handle.path).await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.settle(Verb::Write).await?;
        let handle = &self.handle;
        let request = FlushRequest { file_id: handle.id };
        let within = handle.deadlines.disk;
        let asked = handle.ask_within::<FlushResponse>(Command::Flush, &request, 0, within);
        match asked.await {
            Ok(_) => Ok(()),
            Err(fail) => Err(handle.error(Verb::Flush, fail)),
        }
    }

    async fn close(mut self: Box<Self>) -> Result<(), Error> {
        let settled = self.settle(Verb::Write).await;
        let Self { handle, writes } = *self;
        // What is still under way after a failure holds the handle too.
        writes.stop().await;
        let closed = match Arc::into_inner(handle) {
            Some(handle) => handle.close(Verb::Close).await,
            None => Ok(()),
        };
        settled.and(closed)
    }
}

/// \[MS-SMB2\] 2.2.21, with the data where it is: the crate's own request would have it copied once more.
struct WriteRequest<'a> {
    id: FileId,
    offset: u64,
    data: &'a [u8],
}

impl Pack for WriteRequest<'_> {
    fn pack(&self, cursor: &mut WriteCursor) {
        const SIZE: u16 = 49;
        /// Header and what stands before the data.
        const DATA_AT: u16 = 64 + 48;
        cursor.write_u16_le(SIZE);
        cursor.write_u16_le(DATA_AT);
        cursor.write_u32_le(self.data.len() as u32);
        cursor.write_u64_le(self.offset);
        cursor.write_u64_le(self.id.persistent);
        cursor.write_u64_le(self.id.volatile);
        // No channel, nothing that remains, no information on a channel, no flags.
        cursor.write_zeros(16);
        cursor.write_bytes(self.data);
    }
}

#[async_trait]
impl Sink for Handle {
    async fn put(&self, mut offset: u64, mut data: &[u8]) -> Result<(), Why> {
        while !data.is_empty() {
            let request = WriteRequest {
                id: self.id,
                offset,
                data,
            };
            let asked = self.ask::<WriteResponse>(Command::Write, &request, data.len());
            let answer = asked.await.map_err(|fail| self.why(Verb::Write, fail))?;
            let count = answer.count as usize;
            if count == 0 || count > data.len() {
                return Err(Why::Malformed(format!("word of {count} bytes written")));
            }
            // A server may write less than it got; the rest goes the same way.
            offset += count as u64;
            data = &data[count..];
        }
        Ok(())
    }
}
