//! Files by SFTP, through an SSH connection that somebody is logged in on.
//!
//! | file | what |
//! |---|---|
//! | `mod` | the files: [`SftpFiles`] |
//! | `file` | files that are open |
//! | `session` | requests and answers over a stream |
//! | `packet` | their bytes |
//!
//! SFTP says "failure" for most of what goes wrong. Where that is all it says, a second look tells what it was: whether
//! something has the name, whether the directory is empty, whether there is room.

mod file;
mod packet;
mod session;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;

use crate::dial::Dial;
use crate::error::{Error, Trouble, Verb, Why};
use crate::files::{Access, Entry, FileReader, FileWriter, HostFiles, Kind, Made, Space, Stat};
use crate::kept::Kept;
use crate::path::HostPath;
use crate::place::{NoPlace, Place, Served};
use crate::smb::Deadlines;
use file::{Handle, Reader, Writer};
use packet::{Answer, Attributes, Request};
use session::{Fail, Session};

/// Entries of one directory, before it is taken for something else than ours.
const MOST_ENTRIES: usize = 1 << 20;
const MODE_KIND: u32 = 0o170_000;
const MODE_DIRECTORY: u32 = 0o040_000;
const MODE_LINK: u32 = 0o120_000;
const MODE_WRITE: u32 = 0o222;

/// Files of a host, by SFTP. It takes a channel when it is first asked, and another one after that broke.
pub struct SftpFiles {
    shared: Arc<Shared>,
}

/// What open files have of it too.
struct Shared {
    dial: Arc<dyn Dial>,
    place: Place,
    deadlines: Deadlines,
    session: Kept<Session>,
}

/// Asks once more if the connection is to blame; for what only looks.
macro_rules! looking {
    ($call:expr) => {
        match $call.await {
            Err(error) if error.why.is_of_the_way() => $call.await,
            done => done,
        }
    };
}

impl SftpFiles {
    /// For a directory of a host. `dial` makes channels of the subsystem `sftp`.
    ///
    /// # Errors
    /// If the server cannot reach it.
    pub fn new(
        dial: Arc<dyn Dial>,
        served: &Served,
        root: &HostPath,
        deadlines: Deadlines,
    ) -> Result<Self, NoPlace> {
        let shared = Shared {
            dial,
            place: served.place(root)?,
            deadlines,
            session: Kept::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Opens a channel, if that has not happened yet: for who wants to know early.
    ///
    /// # Errors
    /// If the host is not reached.
    pub async fn connect(&self) -> Result<(), Trouble> {
        self.shared.session().await.map(drop)
    }

    async fn looked(&self, verb: Verb, path: &HostPath) -> Result<(Stat, u32), Error> {
        let name = self.shared.name(verb, path)?;
        let asked = self.shared.ask(verb, path, Request::lstat(&name)).await?;
        match asked {
            Answer::Attributes(attributes) => Ok((stat(attributes), attributes.mode)),
            other => Err(self.shared.unexpected(verb, path, &other)),
        }
    }

    async fn listed(&self, path: &HostPath) -> Result<Vec<Entry>, Error> {
        let verb = Verb::List;
        let name = self.shared.name(verb, path)?;
        let session = self.shared.session_for(verb, path).await?;
        let request = Request::open_directory(&name);
        let handle = Handle::open(&session, request, path, self.shared.deadlines).await;
        let handle = handle.map_err(|fail| self.shared.error(verb, path, fail))?;
        let mut entries = Vec::new();
        loop {
            let asked = handle.ask(Request::read_directory(&handle.id)).await;
            match asked {
                Ok(Answer::Names(names)) => {
                    let ours = names
                        .into_iter()
                        .filter(|(name, _)| !matches!(name.as_str(), "." | ".."));
                    entries.extend(ours.map(|(name, attributes)| Entry {
                        name,
                        stat: stat(attributes),
                    }));
                }
                Ok(other) => return Err(self.shared.unexpected(verb, path, &other)),
                Err(Fail::Status {
                    code: packet::END, ..
                }) => break,
                Err(fail) => return Err(self.shared.error(verb, path, fail)),
            }
            if entries.len() > MOST_ENTRIES {
                let why = Why::Unsupported(format!("it has more than {MOST_ENTRIES} entries"));
                return Err(Error::new(verb, path, why));
            }
        }
        let closed = handle.close().await;
        closed.map_err(|fail| self.shared.error(verb, path, fail))?;
        Ok(entries)
    }

    async fn opened(&self, path: &HostPath) -> Result<Reader, Error> {
        let (stat, _) = self.looked(Verb::Read, path).await?;
        if stat.kind == Kind::Directory {
            return Err(Error::new(Verb::Read, path, Why::IsDirectory));
        }
        Reader::open(&self.shared, path).await
    }

    /// Makes one directory, and says whether it was there.
    async fn make_one(&self, path: &HostPath) -> Result<Made, Error> {
        let verb = Verb::MakeDirectory;
        let name = self.shared.name(verb, path)?;
        let asked = self.shared.tell(verb, path, Request::make_directory(&name)).await;
        match asked {
            Ok(()) => Ok(Made::New),
            // Also where the account may not make any, say the top of a drive.
            Err(error) if matches!(error.why, Why::Refused(_) | Why::Denied { .. }) => {
                match self.looked(verb, path).await {
                    Ok((stat, _)) if stat.kind == Kind::File => {
                        Err(Error::new(verb, path, Why::NotDirectory))
                    }
                    Ok(_) => Ok(Made::WasThere),
                    Err(_) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// What has a name already, if that is why a call failed.
    async fn taken(&self, error: Error, name: &HostPath) -> Error {
        match error.why {
            Why::Refused(_) if self.looked(Verb::Look, name).await.is_ok() => Error {
                why: Why::Exists(name.clone()),
                ..error
            },
            _ => error,
        }
    }
}

fn stat(attributes: Attributes) -> Stat {
    Stat {
        kind: match attributes.mode & MODE_KIND {
            MODE_DIRECTORY => Kind::Directory,
            MODE_LINK => Kind::Link,
            _ => Kind::File,
        },
        size: attributes.size,
        modified: UNIX_EPOCH + Duration::from_secs(u64::from(attributes.modified)),
        created: None,
        access: match attributes.mode & MODE_WRITE {
            0 => Access::ReadOnly,
            _ => Access::ReadWrite,
        },
    }
}

fn why(verb: Verb, fail: Fail) -> Why {
    match fail {
        Fail::Status { code, message } => match code {
            packet::NO_SUCH_FILE => Why::NotFound,
            packet::DENIED => Why::Denied {
                way_out: "the account that logs in by SSH needs to be allowed to change it (on the host: `icacls DIRECTORY \
                          /grant ACCOUNT:(OI)(CI)M`), and no other program may have it open"
                    .to_owned(),
            },
            packet::BAD_MESSAGE => Why::Name(message),
            packet::UNSUPPORTED => Why::Unsupported(format!(
                "the host's SFTP server cannot do that ({message})"
            )),
            packet::FAILURE => Why::Refused(message),
            _ => Why::Refused(format!("status {code} ({message})")),
        },
        Fail::Trouble(trouble) => Why::of_trouble(verb, trouble),
        Fail::NotSent(trouble) => Why::NotSent(trouble),
        Fail::Malformed(what) => Why::Malformed(what),
    }
}

impl Shared {
    async fn session(&self) -> Result<Arc<Session>, Trouble> {
        self.session.get(Session::is_over, || self.begin()).await
    }

    async fn begin(&self) -> Result<Session, Trouble> {
        let within = self.deadlines.connect;
        let dialled = tokio::time::timeout(within, self.dial.dial()).await;
        let stream = dialled.unwrap_or_else(|_| {
            Err(Trouble::Silent {
                place: self.dial.place(),
                after: within,
            })
        })?;
        Session::begin(stream, self.dial.place(), within).await
    }

    async fn session_for(&self, verb: Verb, path: &HostPath) -> Result<Arc<Session>, Error> {
        let session = self.session().await;
        session.map_err(|trouble| Error::new(verb, path, Why::NotSent(trouble)))
    }

    fn name(&self, verb: Verb, path: &HostPath) -> Result<String, Error> {
        self.place.name_of(path).ok_or_else(|| {
            let root = self.place.root.clone();
            Error::new(verb, path, Why::Outside { root })
        })
    }

    fn error(&self, verb: Verb, path: &HostPath, fail: Fail) -> Error {
        Error::new(verb, path, why(verb, fail))
    }

    fn unexpected(&self, verb: Verb, path: &HostPath, answer: &Answer) -> Error {
        let what = match answer {
            Answer::Status { code, .. } => format!("status {code} where something else was asked for"),
            _ => "the answer to something else".to_owned(),
        };
        Error::new(verb, path, Why::Malformed(what))
    }

    /// Has something done with a path.
    async fn tell(&self, verb: Verb, path: &HostPath, request: Request) -> Result<(), Error> {
        let session = self.session_for(verb, path).await?;
        let told = file::told(&session, request, self.deadlines.call).await;
        told.map_err(|fail| self.error(verb, path, fail))
    }

    /// Asks for something about a path.
    async fn ask(&self, verb: Verb, path: &HostPath, request: Request) -> Result<Answer, Error> {
        let session = self.session_for(verb, path).await?;
        let asked = file::asked(&session, request, self.deadlines.call).await;
        asked.map_err(|fail| self.error(verb, path, fail))
    }

    async fn room(&self, session: &Session) -> Result<Space, Fail> {
        let name = self.place.name_of(&self.place.root).unwrap_or_default();
        let asked = file::asked(session, Request::statvfs(&name), self.deadlines.call).await?;
        match asked {
            Answer::Extended(bytes) => packet::room(&bytes)
                .map(|(total, free)| Space { total, free })
                .ok_or_else(|| Fail::Malformed("an account of its volume that is cut off".to_owned())),
            _ => Err(Fail::Malformed("the answer to something else".to_owned())),
        }
    }
}

#[async_trait]
impl HostFiles for SftpFiles {
    fn root(&self) -> &HostPath {
        &self.shared.place.root
    }

    async fn make_directory(&self, path: &HostPath) -> Result<Made, Error> {
        let mut missing = Vec::new();
        let mut next = path.clone();
        // The deepest first: as a rule, what it is in is there.
        let mut made = loop {
            match self.make_one(&next).await {
                Err(error) if error.is_not_found() && next != self.shared.place.root => {
                    let parent = next.parent().unwrap_or_else(|| self.shared.place.root.clone());
                    missing.push(std::mem::replace(&mut next, parent));
                }
                Err(error) => return Err(error),
                Ok(made) => break made,
            }
        };
        while let Some(next) = missing.pop() {
            made = self.make_one(&next).await?;
        }
        Ok(made)
    }

    async fn list(&self, path: &HostPath) -> Result<Vec<Entry>, Error> {
        match looking!(self.listed(path)) {
            // Of a file: what else it says differs from server to server.
            Err(error) if matches!(error.why, Why::Refused(_) | Why::NotFound) => {
                match self.looked(Verb::List, path).await {
                    Ok((stat, _)) if stat.kind == Kind::File => {
                        Err(Error::new(Verb::List, path, Why::NotDirectory))
                    }
                    _ => Err(error),
                }
            }
            done => done,
        }
    }

    async fn stat(&self, path: &HostPath) -> Result<Stat, Error> {
        looking!(self.looked(Verb::Look, path)).map(|(stat, _)| stat)
    }

    async fn open(&self, path: &HostPath) -> Result<Box<dyn FileReader>, Error> {
        let reader = looking!(self.opened(path))?;
        Ok(Box::new(reader))
    }

    async fn create(&self, path: &HostPath) -> Result<Box<dyn FileWriter>, Error> {
        match Writer::create(&self.shared, path).await {
            Ok(writer) => Ok(Box::new(writer)),
            Err(error) => Err(self.taken(error, path).await),
        }
    }

    async fn rename(&self, from: &HostPath, to: &HostPath) -> Result<(), Error> {
        let verb = Verb::Rename;
        let request = Request::rename(&self.shared.name(verb, from)?, &self.shared.name(verb, to)?);
        // OpenSSH replaces nothing by this request; `posix-rename@openssh.com` would.
        match self.shared.tell(verb, from, request).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.taken(error, to).await),
        }
    }

    async fn delete_file(&self, path: &HostPath) -> Result<(), Error> {
        let verb = Verb::Delete;
        // What SMB refuses by itself; by SFTP, servers differ.
        let (stat, _) = looking!(self.looked(verb, path))?;
        if stat.kind == Kind::Directory {
            return Err(Error::new(verb, path, Why::IsDirectory));
        }
        if stat.kind == Kind::File && stat.access == Access::ReadOnly {
            return Err(Error::new(verb, path, Why::ReadOnly));
        }
        let request = Request::remove(&self.shared.name(verb, path)?);
        self.shared.tell(verb, path, request).await
    }

    async fn delete_directory(&self, path: &HostPath) -> Result<(), Error> {
        let verb = Verb::Delete;
        let request = Request::remove_directory(&self.shared.name(verb, path)?);
        let error = match self.shared.tell(verb, path, request).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // OpenSSH finds no directory of that name where there is a file.
        if !matches!(error.why, Why::Refused(_) | Why::NotFound) {
            return Err(error);
        }
        let why = match self.list(path).await {
            Ok(entries) if !entries.is_empty() => Why::NotEmpty,
            Err(other) if other.why == Why::NotDirectory => Why::NotDirectory,
            _ => error.why,
        };
        Err(Error::new(verb, path, why))
    }

    async fn protect(&self, path: &HostPath, access: Access) -> Result<(), Error> {
        let verb = Verb::Protect;
        let (stat, mode) = looking!(self.looked(verb, path))?;
        if stat.kind == Kind::Directory {
            return Err(Error::new(verb, path, Why::IsDirectory));
        }
        let permissions = mode & 0o7777;
        let wanted = match access {
            Access::ReadOnly => permissions & !MODE_WRITE,
            Access::ReadWrite => permissions | 0o200,
        };
        let request = Request::set_mode(&self.shared.name(verb, path)?, wanted);
        self.shared.tell(verb, path, request).await
    }

    async fn space(&self) -> Result<Space, Error> {
        let root = &self.shared.place.root;
        let verb = Verb::Measure;
        let session = self.shared.session_for(verb, root).await?;
        if !session.can_measure {
            let what = format!("the host's SFTP server cannot tell it ({})", packet::STATVFS);
            return Err(Error::new(verb, root, Why::Unsupported(what)));
        }
        let measured = match self.shared.room(&session).await {
            Err(Fail::Trouble(_) | Fail::NotSent(_)) => {
                let session = self.shared.session_for(verb, root).await?;
                self.shared.room(&session).await
            }
            done => done,
        };
        measured.map_err(|fail| self.shared.error(verb, root, fail))
    }
}
