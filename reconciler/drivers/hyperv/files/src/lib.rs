//! Files in one directory of a Windows host, from outside: by SMB 3.1.1, or by SFTP through SSH. It knows nothing of
//! machines.
//!
//! | file | what |
//! |---|---|
//! | `files` | what can be done, whichever way: [`HostFiles`] |
//! | `path`, `place` | paths as the host has them, and as the far side of a share or of SFTP does |
//! | `upload` | files that get their name when they are whole |
//! | `reading` | whole files, in order |
//! | `smb/`, `sftp/` | the two ways |
//! | `ahead` | several writes under way, in bounded memory |
//! | `dial`, `kept` | streams to a host; the one connection that all calls go over |
//! | `error` | what goes wrong, and what mends it |
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use futures::stream;
//! use labyard_files::{
//!     Account, Deadlines, Encryption, HostFiles, HostPath, Share, SmbFiles, SmbHost, Tcp, upload,
//! };
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let root = HostPath::new(r"D:\labyard")?;
//! let host = SmbHost {
//!     dial: Arc::new(Tcp { host: "hv1".into(), port: 445 }),
//!     name: "hv1".into(),
//!     account: Account::new(r"LAB\anna", "secret"),
//!     share: Share::Administrative,
//!     encryption: Encryption::WhereOffered,
//!     deadlines: Deadlines::default(),
//! };
//! let files = SmbFiles::new(host, &root)?;
//! files.make_directory(&root.join("seeds")?).await?;
//! let seed = root.join("seeds")?.join("web.iso")?;
//! let bytes = stream::iter([Ok::<_, std::io::Error>("seed".into())]);
//! upload(&files, &seed, "6f1c", None, bytes).await?;
//! # Ok(())
//! # }
//! ```

mod ahead;
mod dial;
mod error;
mod files;
mod kept;
mod path;
mod place;
mod reading;
mod sftp;
mod smb;
mod upload;

pub use dial::{Dial, Stream, Tcp};
pub use error::{Error, Trouble, Verb, Why};
pub use files::{Access, Entry, FileReader, FileWriter, HostFiles, Kind, Made, Space, Stat};
pub use path::{BadName, BadPath, HostPath, Volume};
pub use place::{NoPlace, Served, Share};
pub use reading::chunks;
pub use sftp::SftpFiles;
pub use smb::{Account, Deadlines, Encryption, SmbFiles, SmbHost};
pub use upload::{Sha256, Staged, UploadError, UploadTrouble, Uploaded, upload};
