//! Files by SMB 3.1.1.
//!
//! | file | what |
//! |---|---|
//! | `mod` | the files: [`SmbFiles`] |
//! | `file` | handles, and files that are open |
//! | `link` | a connection with its login, keys and share |
//! | `gate` | what may come in over it |
//! | `login` | accounts and NTLM |
//! | `info`, `status` | facts about files, and refusals, as they stand in messages |

mod file;
mod gate;
mod info;
mod link;
mod login;
mod status;

use std::sync::Arc;

use async_trait::async_trait;
use smb2::msg::create::CreateDisposition;
use smb2::msg::query_directory::{
    FileInformationClass, QueryDirectoryFlags, QueryDirectoryRequest, QueryDirectoryResponse,
};
use smb2::msg::query_info::{InfoType, QueryInfoRequest, QueryInfoResponse};
use smb2::types::Command;

use crate::dial::Dial;
use crate::error::{Error, Trouble, Verb, Why};
use crate::files::{Access, Entry, FileReader, FileWriter, HostFiles, Kind, Made, Space, Stat};
use crate::kept::Kept;
use crate::path::HostPath;
use crate::place::{NoPlace, Place, Share};
use file::{Handle, Open, Reader, Writer};
use link::{Fail, Link, Peer};
use status::{NO_MORE_FILES, NO_SUCH_FILE, Status};

pub use link::{Deadlines, Encryption};
pub use login::Account;

/// Entries of one directory, before it is taken for something else than ours.
const MOST_ENTRIES: usize = 1 << 20;
/// Bytes of one answer with entries.
const LISTING: usize = 1 << 16;

/// How a host is reached by SMB.
pub struct SmbHost {
    /// Makes connections to its SMB server.
    pub dial: Arc<dyn Dial>,
    /// Its name, as it stands before the share's: `\\HOST\SHARE`.
    pub name: String,
    /// Who logs in.
    pub account: Account,
    /// By which share.
    pub share: Share,
    /// Whether a host without encryption will do.
    pub encryption: Encryption,
    /// How long things may take.
    pub deadlines: Deadlines,
}

/// Files of a host, by SMB. It connects when it is first asked, and again after the connection broke.
pub struct SmbFiles {
    shared: Arc<Shared>,
}

/// What open files have of it too.
struct Shared {
    peer: Peer,
    place: Place,
    link: Kept<Link>,
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

impl SmbFiles {
    /// For a directory of a host.
    ///
    /// # Errors
    /// If the share does not reach it.
    pub fn new(host: SmbHost, root: &HostPath) -> Result<Self, NoPlace> {
        let (share, place) = host.share.place(root, &host.name)?;
        let peer = Peer {
            dial: host.dial,
            host: host.name,
            share,
            account: host.account,
            encryption: host.encryption,
            deadlines: host.deadlines,
        };
        let shared = Shared {
            peer,
            place,
            link: Kept::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Connects and logs in, if that has not happened yet: for who wants to know early.
    ///
    /// # Errors
    /// If the host is not reached, or does not let the account in.
    pub async fn connect(&self) -> Result<(), Trouble> {
        self.shared.link().await.map(drop)
    }

    async fn open_handle(&self, verb: Verb, path: &HostPath, open: Open) -> Result<Handle, Error> {
        looking!(self.shared.opened(verb, path, open))
    }

    async fn listed(&self, path: &HostPath) -> Result<Vec<Entry>, Error> {
        let handle = self.shared.opened(Verb::List, path, Open::TO_LIST).await?;
        let listed = entries(&handle, path).await;
        handle.closed_after(Verb::List, listed).await
    }

    async fn looked(&self, path: &HostPath) -> Result<Stat, Error> {
        let handle = self.shared.opened(Verb::Look, path, Open::TO_LOOK).await?;
        let stat = handle.stat;
        handle.closed_after(Verb::Look, Ok(stat)).await
    }

    async fn measured(&self) -> Result<Space, Error> {
        let root = &self.shared.place.root;
        let handle = self.shared.opened(Verb::Measure, root, Open::TO_LOOK).await?;
        let measured = room(&handle, root).await;
        handle.closed_after(Verb::Measure, measured).await
    }

    /// Makes one directory, and says whether it was there.
    async fn make_one(&self, path: &HostPath) -> Result<Made, Error> {
        if self.shared.place.name_of(path).as_deref() == Some("") {
            // The share itself.
            return self.stat(path).await.map(|_| Made::WasThere);
        }
        let opened = self.shared.opened(Verb::MakeDirectory, path, Open::NEW_DIRECTORY);
        match opened.await {
            Ok(handle) => {
                // It is there, whatever becomes of the handle.
                let _no_matter = handle.close(Verb::MakeDirectory).await;
                Ok(Made::New)
            }
            Err(error) if matches!(error.why, Why::Exists(_)) => match self.stat(path).await?.kind {
                Kind::File => Err(Error::new(Verb::MakeDirectory, path, Why::NotDirectory)),
                Kind::Directory | Kind::Link => Ok(Made::WasThere),
            },
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, path: &HostPath, open: Open) -> Result<(), Error> {
        let handle = self.open_handle(Verb::Delete, path, open).await?;
        // FileDispositionInformation. Nobody else has it open, so it is gone when this handle is.
        let set = handle.set(Verb::Delete, 13, vec![1], path).await;
        handle.closed_after(Verb::Delete, set).await
    }
}

/// All that is in a directory that is open.
async fn entries(handle: &Handle, path: &HostPath) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    loop {
        let request = QueryDirectoryRequest {
            file_information_class: FileInformationClass::FileDirectoryInformation,
            flags: QueryDirectoryFlags::default(),
            file_index: 0,
            file_id: handle.id,
            output_buffer_length: LISTING as u32,
            file_name: "*".to_owned(),
        };
        let asked = handle.ask::<QueryDirectoryResponse>(Command::QueryDirectory, &request, LISTING);
        match asked.await {
            Ok(answer) => {
                let more = info::entries(&answer.output_buffer)
                    .map_err(|what| Error::new(Verb::List, path, Why::Malformed(what)))?;
                entries.extend(more);
            }
            Err(Fail::Status(Status(NO_MORE_FILES | NO_SUCH_FILE))) => return Ok(entries),
            Err(fail) => return Err(handle.error(Verb::List, fail)),
        }
        if entries.len() > MOST_ENTRIES {
            let why = Why::Unsupported(format!("it has more than {MOST_ENTRIES} entries"));
            return Err(Error::new(Verb::List, path, why));
        }
    }
}

/// The room on the volume of something that is open.
async fn room(handle: &Handle, path: &HostPath) -> Result<Space, Error> {
    let request = QueryInfoRequest {
        info_type: InfoType::Filesystem,
        // FileFsFullSizeInformation.
        file_info_class: 7,
        output_buffer_length: 32,
        additional_information: 0,
        flags: 0,
        file_id: handle.id,
        input_buffer: Vec::new(),
    };
    let asked = handle.ask::<QueryInfoResponse>(Command::QueryInfo, &request, 32);
    let answer = asked.await.map_err(|fail| handle.error(Verb::Measure, fail))?;
    info::space(&answer.output_buffer).ok_or_else(|| {
        let what = "an account of its volume that is cut off".to_owned();
        Error::new(Verb::Measure, path, Why::Malformed(what))
    })
}

impl Shared {
    /// The connection, made anew if it is over.
    async fn link(&self) -> Result<Arc<Link>, Trouble> {
        self.link.get(Link::is_over, || self.peer.connect()).await
    }

    /// Opens or makes something.
    async fn opened(&self, verb: Verb, path: &HostPath, open: Open) -> Result<Handle, Error> {
        let name = self.place.name_of(path).ok_or_else(|| {
            let root = self.place.root.clone();
            Error::new(verb, path, Why::Outside { root })
        })?;
        let link = self
            .link()
            .await
            .map_err(|trouble| Error::new(verb, path, Why::NotSent(trouble)))?;
        let opened = Handle::open(
            &link,
            &name,
            path,
            open,
            self.peer.deadlines,
            &self.peer.account.user,
        );
        opened.await.map_err(|fail| {
            let why = match fail {
                // To open what is there changes nothing, whatever is to be done with it then.
                Fail::Trouble(trouble) if open.disposition == CreateDisposition::FileOpen => {
                    Why::NotSent(trouble)
                }
                fail => file::why(verb, fail, path, path, &self.peer.account.user),
            };
            Error::new(verb, path, why)
        })
    }
}

#[async_trait]
impl HostFiles for SmbFiles {
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
        looking!(self.listed(path))
    }

    async fn stat(&self, path: &HostPath) -> Result<Stat, Error> {
        looking!(self.looked(path))
    }

    async fn open(&self, path: &HostPath) -> Result<Box<dyn FileReader>, Error> {
        let handle = self.open_handle(Verb::Read, path, Open::TO_READ).await?;
        Ok(Box::new(Reader::new(&self.shared, path, handle)))
    }

    async fn create(&self, path: &HostPath) -> Result<Box<dyn FileWriter>, Error> {
        let handle = self.shared.opened(Verb::Create, path, Open::NEW_FILE).await?;
        Ok(Box::new(Writer::new(handle)))
    }

    async fn rename(&self, from: &HostPath, to: &HostPath) -> Result<(), Error> {
        let name = self.shared.place.name_of(to).ok_or_else(|| {
            let root = self.shared.place.root.clone();
            Error::new(Verb::Rename, to, Why::Outside { root })
        })?;
        let handle = self.open_handle(Verb::Rename, from, Open::TO_RENAME).await?;
        // FileRenameInformation.
        let set = handle.set(Verb::Rename, 10, info::rename(&name), to).await;
        handle.closed_after(Verb::Rename, set).await
    }

    async fn delete_file(&self, path: &HostPath) -> Result<(), Error> {
        self.delete(path, Open::TO_DELETE_FILE).await
    }

    async fn delete_directory(&self, path: &HostPath) -> Result<(), Error> {
        self.delete(path, Open::TO_DELETE_DIRECTORY).await
    }

    async fn protect(&self, path: &HostPath, access: Access) -> Result<(), Error> {
        let handle = self.open_handle(Verb::Protect, path, Open::TO_PROTECT).await?;
        let others = handle.attributes & !(info::READ_ONLY | info::NORMAL | info::DIRECTORY);
        let wanted = match access {
            Access::ReadOnly => others | info::READ_ONLY,
            Access::ReadWrite if others == 0 => info::NORMAL,
            Access::ReadWrite => others,
        };
        // FileBasicInformation.
        let set = handle.set(Verb::Protect, 4, info::basic(wanted), path).await;
        handle.closed_after(Verb::Protect, set).await
    }

    async fn space(&self) -> Result<Space, Error> {
        looking!(self.measured())
    }
}
