//! What can be done with files of a host, whichever way they are reached.

use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Error;
use crate::path::HostPath;

/// Files in one directory of a host and below it. What is outside is refused.
///
/// Calls that only look are asked once more over a new connection if the one they went over broke. No other call is ever
/// repeated: if its answer was lost, [`Error::may_be_done`] says so.
#[async_trait]
pub trait HostFiles: Send + Sync {
    /// The directory that nothing leaves.
    fn root(&self) -> &HostPath;

    /// Makes a directory, and those it is in, down from the root and with it.
    ///
    /// # Errors
    /// If a file is in the way, or the host does not allow it.
    async fn make_directory(&self, path: &HostPath) -> Result<Made, Error>;

    /// What is in a directory, in no order.
    ///
    /// # Errors
    /// If it is no directory.
    async fn list(&self, path: &HostPath) -> Result<Vec<Entry>, Error>;

    /// Looks at a file or directory.
    ///
    /// # Errors
    /// If it is not there.
    async fn stat(&self, path: &HostPath) -> Result<Stat, Error>;

    /// Opens a file to be read.
    ///
    /// # Errors
    /// If it is not there, is a directory, or is open by somebody who shares it with nobody.
    async fn open(&self, path: &HostPath) -> Result<Box<dyn FileReader>, Error>;

    /// Makes a file that was not there, and opens it to be written.
    ///
    /// # Errors
    /// If something has its name.
    async fn create(&self, path: &HostPath) -> Result<Box<dyn FileWriter>, Error>;

    /// Gives a file or directory another name. It replaces nothing.
    ///
    /// # Errors
    /// If something has that name, or somebody has it open.
    async fn rename(&self, from: &HostPath, to: &HostPath) -> Result<(), Error>;

    /// Takes a file away.
    ///
    /// # Errors
    /// If it is a directory, is read-only, or somebody has it open.
    async fn delete_file(&self, path: &HostPath) -> Result<(), Error>;

    /// Takes an empty directory away.
    ///
    /// # Errors
    /// If something is in it.
    async fn delete_directory(&self, path: &HostPath) -> Result<(), Error>;

    /// Sets or clears the attribute read-only of a file.
    ///
    /// # Errors
    /// If it is not there.
    async fn protect(&self, path: &HostPath, access: Access) -> Result<(), Error>;

    /// The room on the volume of the root.
    ///
    /// # Errors
    /// If the host does not tell it.
    async fn space(&self) -> Result<Space, Error>;
}

/// A file that is read.
#[async_trait]
pub trait FileReader: Send + Sync {
    /// How long it was when it was opened.
    fn size(&self) -> u64;

    /// Reads so much from there, or less if it ends before; nothing at its end and behind it. Several calls may be under
    /// way at a time.
    ///
    /// # Errors
    /// If it has changed since it was opened, or cannot be read.
    async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, Error>;
}

/// A file that is written, by nobody else.
///
/// Writes go ahead: [`write_at`](Self::write_at) returns when there is room for more, and what becomes of it is told by a
/// later call. Only what [`flush`](Self::flush) says is written is written. Dropping it leaves the file as far as it came.
#[async_trait]
pub trait FileWriter: Send {
    /// Writes there. What is written to the same place later comes to the file later.
    ///
    /// # Errors
    /// If this or an earlier write fails; then nothing more is written.
    async fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), Error>;

    /// Sets the end of the file; what is added reads as zeros.
    ///
    /// # Errors
    /// If the volume has no room, or an earlier write fails.
    async fn set_len(&mut self, length: u64) -> Result<(), Error>;

    /// Waits for all that was written, and has the host bring it to the disk.
    ///
    /// # Errors
    /// If any of it failed.
    async fn flush(&mut self) -> Result<(), Error>;

    /// Waits for all that was written, and lets go of the file.
    ///
    /// # Errors
    /// If any of it failed.
    async fn close(self: Box<Self>) -> Result<(), Error>;
}

/// Whether a directory had to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is new.
    New,
    /// It was there.
    WasThere,
}

/// Whether a file may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It has the attribute read-only.
    ReadOnly,
    /// It has not.
    ReadWrite,
}

/// What something in a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A link to something else, which is nowhere followed by deletion.
    Link,
}

/// Something in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name as the host tells it. [`HostPath::join`] says whether it is one that can be worked with.
    pub name: String,
    /// What it is.
    pub stat: Stat,
}

/// What a host tells of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Its length in bytes; of a directory, nothing is said by it.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
    /// When it was made, where the far side knows it.
    pub created: Option<SystemTime>,
    /// Whether it may be written.
    pub access: Access,
}

/// The room on a volume, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// In all.
    pub total: u64,
    /// What is left for this account.
    pub free: u64,
}
