//! Images on a host: one upload however many machines ask, used only when whole, removed when nobody needs it.
//!
//! An image is a pair of volumes. The data are in `labyard-image.UPLOAD`, named by the random id of its upload,
//! which stands in a machine's mark before the first byte. An empty marker volume, made last, carries digest,
//! upload, format and virtual size in its name: only a marked image is used. Removal goes the other way: marker
//! first, then the marks of all machines are read again, then the data. What was sent from elsewhere, what another host
//! had already ([`peers`]) and what the host copied of a file of its own ([`on_host`]) is the same from then on.

mod collect;
mod fill;
mod kept;
mod on_host;
mod peers;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use labyard_driver::ids::{Bytes, Digest, Namespace, PoolName, UploadId, VolumeName};
use labyard_driver::spec::DiskFormat;
use labyard_driver::{Driver, DriverError};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::image::{Fetcher, ImageError, ImageSource, KeptSource, Sha256Digest, SingleFlight};

pub use collect::Retention;
pub use kept::{Capture, KeptImage};

const PREFIX: &str = "labyard-image.";
/// Far longer than from another's marker to its look for others.
const SETTLE: Duration = Duration::from_millis(400);
/// How long a source without a digest is taken to be what it was: machines made one after another in one run get
/// the same image, and it is fetched once.
const SAME: Duration = Duration::from_secs(10 * 60);

/// A whole image in a host's pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredImage {
    /// Its data.
    pub volume: VolumeName,
    /// The upload that made it.
    pub upload: UploadId,
    /// Its digest.
    pub digest: Digest,
    /// Its format.
    pub format: DiskFormat,
    /// Its size as a machine sees it.
    pub virtual_size: Bytes,
}

impl StoredImage {
    fn marker(&self) -> VolumeName {
        let format = match self.format {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
            DiskFormat::Vhdx => "vhdx",
        };
        VolumeName(format!(
            "{PREFIX}{}.{}.{format}.{}",
            self.digest, self.upload, self.virtual_size.0
        ))
    }

    /// The image that a marker's name tells of.
    pub(crate) fn from_marker(name: &VolumeName) -> Option<Self> {
        let mut parts = name.as_str().strip_prefix(PREFIX)?.split('.');
        let (digest, upload) = (parts.next()?, parts.next()?);
        let format = match parts.next()? {
            "raw" => DiskFormat::Raw,
            "qcow2" => DiskFormat::Qcow2,
            "vhdx" => DiskFormat::Vhdx,
            _ => return None,
        };
        let virtual_size = Bytes(parts.next()?.parse().ok()?);
        let upload = UploadId(upload.to_owned());
        let whole = parts.next().is_none() && digest.len() == 64;
        whole.then(|| Self {
            volume: data_volume(&upload),
            upload,
            digest: Digest(digest.to_owned()),
            format,
            virtual_size,
        })
    }
}

/// The volume that an upload fills.
pub fn data_volume(upload: &UploadId) -> VolumeName {
    VolumeName(format!("{PREFIX}{upload}"))
}

/// The markers that tell of a volume.
fn markers_of<'a>(volumes: &'a [VolumeName], volume: &VolumeName) -> impl Iterator<Item = &'a VolumeName> {
    volumes
        .iter()
        .filter(move |v| StoredImage::from_marker(v).is_some_and(|image| image.volume == *volume))
}

fn is_data(name: &VolumeName) -> bool {
    name.as_str()
        .strip_prefix(PREFIX)
        .is_some_and(|rest| !rest.contains('.'))
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where from.
    pub source: ImageSource,
    /// Its digest, as written or pinned.
    pub digest: Option<Digest>,
    /// Whose machine it is for: captured images are found by name in a namespace.
    pub namespace: Namespace,
    /// Until when.
    pub deadline: Instant,
}

impl Wanted {
    fn expected(&self) -> Option<Sha256Digest> {
        self.digest
            .as_ref()
            .and_then(|digest| digest.as_str().parse().ok())
    }
}

/// Why an image could not be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its source failed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The host failed.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A file of the host is not there, or cannot be read.
    #[error(transparent)]
    HostFile(DriverError),
    /// A file of the host was written to while it was read and copied.
    #[error("the file was written to while it was copied: let whoever writes it finish, and apply again")]
    Changed,
    /// No machine's disk was captured under that name, or not on a host that answers.
    #[error(
        "{0} is not in this storage pool, nor on another host that answers: labyard image list shows what is, and labyard \
         vm capture makes one of a machine's disk"
    )]
    NotKept(KeptSource),
    /// The pool has no room.
    #[error("the image has {length}, and the storage pool has {available} left")]
    NoSpace {
        /// Of the image.
        length: Bytes,
        /// In the pool.
        available: Bytes,
    },
}

/// Records an upload in the asking machine's mark.
pub type Announce =
    Box<dyn FnOnce(VolumeName, UploadId) -> BoxFuture<'static, Result<(), DriverError>> + Send>;

/// The images of one host.
pub struct ImageStore {
    driver: Arc<dyn Driver>,
    flights: SingleFlight<String, StoredImage>,
    known: Known,
    /// How many have asked for a collection, and up to which of them was collected.
    asked: AtomicU64,
    collected: Mutex<HashMap<PoolName, u64>>,
    peers: peers::Peers,
}

/// What this process has learnt of images; whoever uses it looks whether the image still stands.
#[derive(Default)]
struct Known {
    images: StdMutex<HashMap<(PoolName, Digest), StoredImage>>,
    sources: StdMutex<HashMap<String, (Instant, Digest)>>,
}

impl Known {
    fn image(&self, pool: &PoolName, digest: &Digest) -> Option<StoredImage> {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.get(&(pool.clone(), digest.clone())).cloned()
    }

    fn learn(&self, pool: &PoolName, image: &StoredImage) {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.insert((pool.clone(), image.digest.clone()), image.clone());
    }

    /// What a source without a digest was lately.
    fn source(&self, source: &str) -> Option<Digest> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, digest) = sources.get(source)?;
        (seen.elapsed() < SAME).then(|| digest.clone())
    }

    fn learn_source(&self, source: String, digest: Digest) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.insert(source, (Instant::now(), digest));
    }
}

impl ImageStore {
    /// Nothing is read yet.
    pub fn new(driver: Arc<dyn Driver>) -> Self {
        Self {
            driver,
            flights: SingleFlight::new(),
            known: Known::default(),
            asked: AtomicU64::new(0),
            collected: Mutex::default(),
            peers: peers::Peers::default(),
        }
    }

    /// The image in the pool, uploaded now if it is not there yet. `announce` records the upload in the asking
    /// machine's mark and is called before the first byte.
    pub fn ensure<'a>(
        &'a self,
        pool: &'a PoolName,
        wanted: &'a Wanted,
        fetcher: &'a Fetcher,
        upload: UploadId,
        announce: Announce,
    ) -> BoxFuture<'a, Result<StoredImage, StoreError>> {
        Box::pin(async move {
            if let Some(found) = self.find_wanted(pool, wanted).await? {
                return Ok(found);
            }
            // A name means something in its namespace alone.
            let whose = match &wanted.source {
                ImageSource::Kept(_) => wanted.namespace.as_str(),
                _ => "",
            };
            let key = format!("{pool} {whose} {} {:?}", wanted.source, wanted.digest);
            // Boxed, since the compiler cannot see that a future behind a closure's return is Send for every lifetime.
            let begin: BoxFuture<'a, _> = Box::pin(self.begin(pool, wanted, fetcher, upload, announce));
            let stored = self.flights.run(key, move || begin).await?;
            self.known
                .learn_source(wanted.source.to_string(), stored.digest.clone());
            Ok(stored)
        })
    }

    async fn begin(
        &self,
        pool: &PoolName,
        wanted: &Wanted,
        fetcher: &Fetcher,
        upload: UploadId,
        announce: Announce,
    ) -> Result<StoredImage, StoreError> {
        // Between the look before and this turn another caller may have finished.
        if let Some(found) = self.find_wanted(pool, wanted).await? {
            return Ok(found);
        }
        let volume = data_volume(&upload);
        announce(volume.clone(), upload.clone()).await?;
        // An earlier attempt of the same upload may have come to its end, or have left half of it: what no marker
        // names nobody uses.
        if let Some(whole) = self.find_where(pool, |image| image.upload == upload).await? {
            return Ok(whole);
        }
        self.withdraw(pool, &volume).await?;
        let result = match self.had_from_peers(pool, wanted, fetcher, &upload).await {
            Ok(Some(image)) => Ok(image),
            Ok(None) => self.had_from_source(pool, wanted, fetcher, upload).await,
            Err(error) => Err(error),
        };
        if result.as_ref().is_err_and(|error| !lost(error)) {
            // The volume is named in a mark, so that what cannot be removed now is removed later.
            let _ = self.withdraw(pool, &volume).await;
        }
        result
    }

    async fn had_from_source(
        &self,
        pool: &PoolName,
        wanted: &Wanted,
        fetcher: &Fetcher,
        upload: UploadId,
    ) -> Result<StoredImage, StoreError> {
        match &wanted.source {
            ImageSource::Streamed(source) => self.upload(pool, (source, wanted), fetcher, upload).await,
            ImageSource::OnHost(path) => self.copy(pool, (path, wanted), fetcher, upload).await,
            ImageSource::Kept(kept) => Err(StoreError::NotKept(kept.clone())),
        }
    }

    /// Removes an upload. A host may have made its marker and answered with an error; one that outlived the data would
    /// call whole what is sent under that name next.
    pub(crate) async fn withdraw(&self, pool: &PoolName, volume: &VolumeName) -> Result<(), DriverError> {
        let volumes = self.driver.volumes(pool).await?;
        for marker in markers_of(&volumes, volume) {
            self.driver.delete_volume(pool, marker).await?;
        }
        self.driver.delete_volume(pool, volume).await
    }

    async fn find_wanted(
        &self,
        pool: &PoolName,
        wanted: &Wanted,
    ) -> Result<Option<StoredImage>, DriverError> {
        if let (ImageSource::Kept(kept), None) = (&wanted.source, &wanted.digest) {
            return match self.digest_of(pool, &wanted.namespace, kept).await? {
                Some(digest) => self.find(pool, &digest).await,
                None => Ok(None),
            };
        }
        let seen = || self.known.source(&wanted.source.to_string());
        match wanted.digest.clone().or_else(seen) {
            Some(digest) => self.find(pool, &digest).await,
            None => Ok(None),
        }
    }

    /// The whole image of that digest.
    pub async fn find(&self, pool: &PoolName, digest: &Digest) -> Result<Option<StoredImage>, DriverError> {
        if let Some(known) = self.known.image(pool, digest)
            && self.stands(pool, &known).await?
        {
            return Ok(Some(known));
        }
        let found = self.look_for(pool, digest).await?;
        if let Some(image) = &found {
            self.known.learn(pool, image);
        }
        Ok(found)
    }

    /// Whether that very image is there. Whoever removes an image removes its marker first.
    pub async fn stands(&self, pool: &PoolName, image: &StoredImage) -> Result<bool, DriverError> {
        match self.driver.volume(pool, &image.marker()).await {
            Ok(_) => Ok(true),
            Err(DriverError::Missing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The one that stays, where several runs have just marked theirs.
    async fn look_for(&self, pool: &PoolName, digest: &Digest) -> Result<Option<StoredImage>, DriverError> {
        let until = Instant::now() + 2 * SETTLE;
        loop {
            let found = self.all_where(pool, |image| &image.digest == digest).await?;
            if found.len() < 2 || Instant::now() >= until {
                return Ok(found.into_iter().next());
            }
            sleep(SETTLE / 8).await;
        }
    }

    async fn find_where(
        &self,
        pool: &PoolName,
        wanted: impl Fn(&StoredImage) -> bool + Send,
    ) -> Result<Option<StoredImage>, DriverError> {
        Ok(self.all_where(pool, wanted).await?.into_iter().next())
    }

    async fn all_where(
        &self,
        pool: &PoolName,
        wanted: impl Fn(&StoredImage) -> bool + Send,
    ) -> Result<Vec<StoredImage>, DriverError> {
        let volumes = self.driver.volumes(pool).await?;
        let there: BTreeSet<_> = volumes.iter().collect();
        let marked = volumes.iter().filter_map(StoredImage::from_marker);
        let mut found: Vec<_> = marked
            .filter(|i| there.contains(&i.volume) && wanted(i))
            .collect();
        found.sort_by(|a, b| a.upload.cmp(&b.upload));
        Ok(found)
    }
}

fn lost(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Driver(DriverError::ReplyLost { .. } | DriverError::Unreachable { .. })
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_tells_all_about_its_image() {
        let upload = UploadId("ab".repeat(16));
        let image = StoredImage {
            volume: data_volume(&upload),
            upload,
            digest: Digest("0".repeat(64)),
            format: DiskFormat::Qcow2,
            virtual_size: Bytes(123),
        };
        assert_eq!(StoredImage::from_marker(&image.marker()), Some(image.clone()));
        assert!(is_data(&image.volume) && !is_data(&image.marker()));
        assert_eq!(StoredImage::from_marker(&image.volume), None);
    }
}
