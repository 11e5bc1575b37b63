//! Images of the computer where this program runs: sent to the daemon before it is asked for the machine that names them.
//!
//! A `file:` that is here is sent, once: the daemon keeps it under its digest, and has the machine made of that. One that is
//! not here, or that a daemon does not take, is the daemon's own, who says whether it may be named.

use crate::engine::met;
use labyard_api::client::{Client, ClientError};
use labyard_driver::ids::Digest;
use labyard_reconciler::EngineError;
use labyard_reconciler::desired::{DesiredImage, DesiredMachine};
use labyard_reconciler::engine::Bounds;
use labyard_reconciler::image::{ImageSource, Sha256Digest, StreamedSource};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tokio::sync::Mutex;

/// How often an image is sent whose way broke.
const ATTEMPTS: u32 = 3;

/// A file as it was when its digest was taken.
type Seen = (SystemTime, u64, Sha256Digest);

/// What this run sends.
#[derive(Default)]
pub(crate) struct Uploads {
    /// One is sent at a time: of machines that name the same image, one sends it.
    digests: Mutex<HashMap<PathBuf, Seen>>,
}

impl Uploads {
    /// A machine whose images are with the daemon, as far as they are here; of those that it is made of already nothing
    /// is sent.
    pub(crate) async fn sent(
        &self,
        client: &Client,
        (desired, known): (&DesiredMachine, Option<&DesiredMachine>),
        bounds: &Bounds,
    ) -> Result<DesiredMachine, EngineError> {
        let has: Vec<&DesiredImage> = known.into_iter().flat_map(images).collect();
        let mut sent = desired.clone();
        for image in images_mut(&mut sent) {
            let Some(path) = file_of(image).filter(|_| !has.contains(&&*image)) else {
                continue;
            };
            let sending = Sending { client, image, path };
            let digest = tokio::select! {
                digest = sending.to_daemon(&self.digests) => digest?,
                () = bounds.cancel.cancelled() => {
                    return Err(sending.failed("stopped before all of it was sent".to_owned()));
                }
            };
            if let Some(digest) = digest {
                image.digest = Some(Digest(digest.to_string()));
            }
        }
        Ok(sent)
    }
}

fn images(machine: &DesiredMachine) -> impl Iterator<Item = &DesiredImage> {
    let disks = machine.disks.values().filter_map(|disk| disk.image.as_ref());
    let media = machine.media.values().filter_map(|drive| drive.image.as_ref());
    disks.chain(media)
}

fn images_mut(machine: &mut DesiredMachine) -> impl Iterator<Item = &mut DesiredImage> {
    let disks = machine.disks.values_mut().filter_map(|disk| disk.image.as_mut());
    let media = machine
        .media
        .values_mut()
        .filter_map(|drive| drive.image.as_mut());
    disks.chain(media)
}

/// The file that an image is, where it is one.
fn file_of(image: &DesiredImage) -> Option<PathBuf> {
    match image.source.parse::<ImageSource>() {
        Ok(ImageSource::Streamed(StreamedSource::File(path))) => Some(path),
        _ => None,
    }
}

struct Sending<'a> {
    client: &'a Client,
    image: &'a DesiredImage,
    path: PathBuf,
}

impl Sending<'_> {
    /// Its digest, by which the daemon has it; none where it is not this computer's to give.
    async fn to_daemon(
        &self,
        digests: &Mutex<HashMap<PathBuf, Seen>>,
    ) -> Result<Option<Sha256Digest>, EngineError> {
        let mut digests = digests.lock().await;
        let before = digests.get(&self.path).copied();
        let looked = digest_of(&self.path, before).await;
        let Some(seen) = looked.map_err(|error| self.unread(&error))? else {
            return Ok(None);
        };
        digests.insert(self.path.clone(), seen);
        let (_, _, digest) = seen;
        if let Some(wanted) = self.image.digest.as_ref().filter(|wanted| !same(wanted, digest)) {
            return Err(self.failed(format!(
                "the file {} has the SHA-256 {digest}, and {wanted} is asked for: put the right file there, or name the \
                 digest of this one",
                self.path.display()
            )));
        }
        for attempt in 1.. {
            match self.client.uploaded(&digest.to_string()).await {
                Ok(_) => break,
                Err(ClientError::Refused(problem)) if problem.kind() == "no-uploads" => return Ok(None),
                Err(ClientError::Refused(problem)) if problem.kind() == "no-upload" => {}
                Err(error) => return Err(met(&error, &self.what())),
            }
            let file = tokio::fs::File::open(&self.path).await;
            let file = file.map_err(|error| self.unread(&error))?;
            tracing::info!(image = %self.image.source, %digest, attempt, "sent to the daemon");
            match self.client.upload(&digest.to_string(), file).await {
                Ok(_) => break,
                Err(error) if error.is_retryable() && attempt < ATTEMPTS => {
                    tracing::warn!(%error, image = %self.image.source, "sent again");
                }
                Err(error) => return Err(met(&error, &self.what())),
            }
        }
        Ok(Some(digest))
    }

    fn what(&self) -> String {
        format!("image {}", self.image.source)
    }

    fn failed(&self, why: String) -> EngineError {
        EngineError::Daemon {
            what: self.what(),
            why,
        }
    }

    fn unread(&self, error: &io::Error) -> EngineError {
        self.failed(format!(
            "the file {} of this computer cannot be read: {error}",
            self.path.display()
        ))
    }
}

fn same(wanted: &Digest, found: Sha256Digest) -> bool {
    wanted.as_str().parse::<Sha256Digest>().ok() == Some(found)
}

/// The digest of a file, taken anew where it is not as it was; none where there is no such file here.
async fn digest_of(path: &Path, before: Option<Seen>) -> io::Result<Option<Seen>> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let now = file.metadata()?;
        let (modified, length) = (now.modified()?, now.len());
        match before {
            Some(seen @ (at, long, _)) if (at, long) == (modified, length) => Ok(Some(seen)),
            _ => Ok(Some((modified, length, Sha256Digest::of_all(file)?))),
        }
    });
    read.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_not_here_is_none_and_one_that_changed_has_another_digest() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        assert_eq!(digest_of(&path, None).await.unwrap(), None);
        std::fs::write(&path, "one").unwrap();
        let one = digest_of(&path, None).await.unwrap().unwrap();
        assert_eq!(one.2, Sha256Digest::of(b"one"));
        assert_eq!(digest_of(&path, Some(one)).await.unwrap(), Some(one));
        std::fs::write(&path, "three").unwrap();
        let three = digest_of(&path, Some(one)).await.unwrap().unwrap();
        assert_eq!(three.2, Sha256Digest::of(b"three"));
        assert!(digest_of(directory.path(), None).await.is_err());
    }

    #[test]
    fn only_a_file_of_a_computer_of_ones_own_is_sent() {
        let image = |source: &str| DesiredImage {
            source: source.to_owned(),
            digest: None,
            sha256: None,
        };
        assert_eq!(file_of(&image("file:/a/b.img")), Some("/a/b.img".into()));
        for other in ["host:/a", "https://images.example/a", "image:golden"] {
            assert_eq!(file_of(&image(other)), None, "{other}");
        }
    }
}
