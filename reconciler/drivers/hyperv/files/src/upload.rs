//! Files that get their name when they are whole: written under a temporary one beside it, verified, then renamed.
//!
//! [`upload`] does it with a stream of bytes; [`Staged`] for who writes here and there, say a disk image.

use std::fmt;

use bytes::Bytes;
use futures::stream::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256 as Hash};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::{Error, Trouble, Why};
use crate::files::{FileWriter, HostFiles};
use crate::path::{BadPath, HostPath};

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An upload that failed, and what it left.
#[derive(Debug, thiserror::Error)]
#[error("{why}{}", left(.left_behind))]
pub struct UploadError {
    /// Why.
    #[source]
    pub why: UploadTrouble,
    /// The temporary file, if it could not be taken away, and why not.
    pub left_behind: Option<Box<(HostPath, Error)>>,
}

fn left(behind: &Option<Box<(HostPath, Error)>>) -> String {
    match behind.as_deref() {
        None => String::new(),
        Some((path, error)) => format!(". {path} is left behind: {error}"),
    }
}

/// Why an upload fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadTrouble {
    /// The host.
    #[error(transparent)]
    Files(#[from] Error),
    /// Its temporary file would have no name.
    #[error(transparent)]
    Name(#[from] BadPath),
    /// What was to be uploaded cannot be had.
    #[error("what was to become {path} cannot be read: {reason}")]
    Source {
        /// The file.
        path: HostPath,
        /// Why.
        reason: String,
    },
    /// Something else came than what was expected.
    #[error("what was to become {path} has the SHA-256 {found} and not {expected}")]
    Digest {
        /// The file.
        path: HostPath,
        /// What was expected.
        expected: Sha256,
        /// What it has.
        found: Sha256,
    },
    /// The host has not as much as was written.
    #[error("the host has {found} bytes of {path} where {expected} were written")]
    Length {
        /// The file.
        path: HostPath,
        /// What was written.
        expected: u64,
        /// What is there.
        found: u64,
    },
}

/// What was uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// How long it is.
    pub length: u64,
    /// What was read from the source.
    pub sha256: Sha256,
}

/// Uploads a stream of bytes as a file that was not there. The file has its name when all of it is on the host's disk, as
/// long as it should be and, where a digest is given, with that digest.
///
/// `token` goes into the name of the temporary file, `TARGET.TOKEN.part`: who records it beforehand can take that file
/// away if this future is dropped, or the process ends, before it is done.
///
/// # Errors
/// If the source or the host fails, if it is not what was expected, or if the name is taken.
pub async fn upload<S, E>(
    files: &dyn HostFiles,
    target: &HostPath,
    token: &str,
    expected: Option<Sha256>,
    source: S,
) -> Result<Uploaded, UploadError>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: fmt::Display,
{
    let mut staged = Staged::begin(files, target, token).await?;
    match pour(&mut staged, expected, source).await {
        Ok(uploaded) => {
            staged.finish(uploaded.length).await?;
            Ok(uploaded)
        }
        Err(why) => Err(staged.abandon(why).await),
    }
}

async fn pour<S, E>(
    staged: &mut Staged<'_>,
    expected: Option<Sha256>,
    source: S,
) -> Result<Uploaded, UploadTrouble>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: fmt::Display,
{
    let hashing = Hashing::begin();
    let mut length = 0;
    let mut source = std::pin::pin!(source);
    while let Some(chunk) = source.next().await {
        let chunk = chunk.map_err(|error| UploadTrouble::Source {
            path: staged.target.clone(),
            reason: error.to_string(),
        })?;
        hashing.feed(chunk.clone()).await;
        staged.write_at(length, &chunk).await?;
        length += chunk.len() as u64;
    }
    let found = hashing.end().await.map_err(|reason| UploadTrouble::Source {
        path: staged.target.clone(),
        reason,
    })?;
    match expected {
        Some(expected) if expected != found => Err(UploadTrouble::Digest {
            path: staged.target.clone(),
            expected,
            found,
        }),
        _ => Ok(Uploaded {
            length,
            sha256: found,
        }),
    }
}

/// A digest that is made beside the writing: one thread alone would take as long as both.
struct Hashing {
    feed: mpsc::Sender<Bytes>,
    digest: JoinHandle<Sha256>,
}

/// Chunks that wait to be hashed.
const WAITING: usize = 4;

impl Hashing {
    fn begin() -> Self {
        let (feed, mut fed) = mpsc::channel::<Bytes>(WAITING);
        let digest = tokio::task::spawn_blocking(move || {
            let mut hash = Hash::new();
            while let Some(chunk) = fed.blocking_recv() {
                hash.update(&chunk);
            }
            Sha256(hash.finalize().into())
        });
        Self { feed, digest }
    }

    async fn feed(&self, chunk: Bytes) {
        // Should nobody take it, `end` says so.
        let _told_at_the_end = self.feed.send(chunk).await;
    }

    async fn end(self) -> Result<Sha256, String> {
        drop(self.feed);
        self.digest
            .await
            .map_err(|stopped| format!("its digest was not made ({stopped})"))
    }
}

/// A file that has not got its name yet.
pub struct Staged<'a> {
    files: &'a dyn HostFiles,
    target: HostPath,
    temporary: HostPath,
    writer: Option<Box<dyn FileWriter>>,
}

impl<'a> Staged<'a> {
    /// The name that a file has until it is whole.
    ///
    /// # Errors
    /// If that is no name: it is longer than the file's by the token and six characters.
    pub fn temporary(target: &HostPath, token: &str) -> Result<HostPath, BadPath> {
        let name = target.name().unwrap_or_default();
        let directory = target.parent().unwrap_or_else(|| target.clone());
        directory.join(&format!("{name}.{token}.part"))
    }

    /// Begins a file that is to get a name which nothing has.
    ///
    /// # Errors
    /// If something has that name, or the temporary file cannot be made.
    pub async fn begin(
        files: &'a dyn HostFiles,
        target: &HostPath,
        token: &str,
    ) -> Result<Self, UploadError> {
        let clean = |why: UploadTrouble| UploadError {
            why,
            left_behind: None,
        };
        let temporary = Self::temporary(target, token).map_err(|bad| clean(bad.into()))?;
        // The rename would refuse too, after all the bytes.
        match files.stat(target).await {
            Ok(_) => {
                let why = Why::Exists(target.clone());
                let error = Error::new(crate::error::Verb::Create, target, why);
                return Err(clean(error.into()));
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(clean(error.into())),
        }
        let writer = match files.create(&temporary).await {
            Ok(writer) => writer,
            Err(error) => {
                // Whatever has that name was not made by this call, unless the answer was lost.
                let left_behind = match error.may_be_done() {
                    true => remove(files, &temporary).await,
                    false => None,
                };
                return Err(UploadError {
                    why: error.into(),
                    left_behind,
                });
            }
        };
        Ok(Self {
            files,
            target: target.clone(),
            temporary,
            writer: Some(writer),
        })
    }

    /// Writes somewhere in it.
    ///
    /// # Errors
    /// If this or an earlier write fails.
    pub async fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        match &mut self.writer {
            Some(writer) => writer.write_at(offset, data).await,
            None => Err(self.closed()),
        }
    }

    /// Sets its end.
    ///
    /// # Errors
    /// If there is no room, or an earlier write failed.
    pub async fn set_len(&mut self, length: u64) -> Result<(), Error> {
        match &mut self.writer {
            Some(writer) => writer.set_len(length).await,
            None => Err(self.closed()),
        }
    }

    fn closed(&self) -> Error {
        Error::new(crate::error::Verb::Write, &self.temporary, Why::Poisoned)
    }

    /// Has it brought to the disk, looks at its length there, and gives it its name.
    ///
    /// # Errors
    /// If any of that fails; then the temporary file is taken away.
    pub async fn finish(mut self, length: u64) -> Result<(), UploadError> {
        match self.complete(length).await {
            Ok(()) => Ok(()),
            Err(why) => Err(self.abandon(why).await),
        }
    }

    async fn complete(&mut self, length: u64) -> Result<(), UploadTrouble> {
        if let Some(mut writer) = self.writer.take() {
            if let Err(error) = writer.flush().await {
                self.writer = Some(writer);
                return Err(error.into());
            }
            writer.close().await?;
        }
        let found = self.files.stat(&self.temporary).await?.size;
        if found != length {
            return Err(UploadTrouble::Length {
                path: self.target.clone(),
                expected: length,
                found,
            });
        }
        match self.files.rename(&self.temporary, &self.target).await {
            Err(error) if error.may_be_done() => self.was_renamed(error, length).await,
            done => Ok(done?),
        }
    }

    /// Whether a rename whose answer was lost was done: the temporary name is gone, and the other one is there.
    async fn was_renamed(&self, lost: Error, length: u64) -> Result<(), UploadTrouble> {
        let before = self.files.stat(&self.temporary).await;
        let after = self.files.stat(&self.target).await;
        match (before, after) {
            (Err(gone), Ok(there)) if gone.is_not_found() && there.size == length => Ok(()),
            _ => Err(lost.into()),
        }
    }

    /// Takes the temporary file away, and says so if it cannot be.
    pub async fn abandon(mut self, why: UploadTrouble) -> UploadError {
        if let Some(writer) = self.writer.take() {
            // Its own failure says no more than `why`; the file has to be let go of before it can be deleted.
            let _no_matter = writer.close().await;
        }
        UploadError {
            why,
            left_behind: remove(self.files, &self.temporary).await,
        }
    }
}

/// How often a file is asked to go, if the connection that made it still holds it.
const TRIES: u32 = 5;

async fn remove(files: &dyn HostFiles, path: &HostPath) -> Option<Box<(HostPath, Error)>> {
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match files.delete_file(path).await {
            Ok(()) => return None,
            Err(error) if error.is_not_found() => return None,
            Err(error) => error,
        };
        if tries == TRIES || !(error.is_transient() || error.may_be_done()) || unreachable(&error) {
            return Some(Box::new((path.clone(), error)));
        }
        tokio::time::sleep(std::time::Duration::from_millis(100 << tries)).await;
    }
}

fn unreachable(error: &Error) -> bool {
    matches!(
        error.why,
        Why::NotSent(Trouble::Unreachable { .. } | Trouble::Login { .. } | Trouble::Unresolved { .. })
    )
}
