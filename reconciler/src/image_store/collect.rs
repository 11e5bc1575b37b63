//! Images that nobody needs any more: kept for as long as the host's configuration says, then removed.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::ids::{Bytes, ObjectId, PoolName, UnixMillis, VolumeName};
use labyard_driver::mark::Mark;
use labyard_driver::spec::{VolumeContent, VolumeSpec};

use super::{ImageStore, KeptImage, PREFIX, StoredImage, is_data, markers_of};

/// How long images stay that nobody needs.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// `None`: not at all.
    pub keep: Option<Duration>,
    /// Now.
    pub now: UnixMillis,
}

/// Says since when nobody needs an image: the name of an empty volume beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Notice {
    /// The image's data.
    volume: VolumeName,
    since: UnixMillis,
}

impl Notice {
    const WORD: &'static str = "unneeded";

    fn name(&self) -> VolumeName {
        VolumeName(format!("{}.{}.{}", self.volume, Self::WORD, self.since.0))
    }

    fn read(name: &VolumeName) -> Option<Self> {
        let (rest, since) = name.as_str().rsplit_once('.')?;
        let volume = VolumeName(rest.strip_suffix(Self::WORD)?.strip_suffix('.')?.to_owned());
        let since = UnixMillis(since.parse().ok()?);
        is_data(&volume).then_some(Self { volume, since })
    }
}

impl ImageStore {
    /// Removes the images that nobody needs and the uploads whose builders are dead. `needed` tells from the
    /// marks of all machines on the host which volumes stay. Of many who ask at once one collects for all.
    pub async fn collect(
        &self,
        pool: &PoolName,
        retention: Retention,
        needed: impl Fn(&[(ObjectId, Mark)]) -> BTreeSet<VolumeName>,
    ) -> Result<Vec<VolumeName>, DriverError> {
        let turn = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut collected = self.collected.lock().await;
        if collected.get(pool).is_some_and(|last| *last >= turn) {
            return Ok(Vec::new());
        }
        let asked = self.asked.load(Ordering::SeqCst);
        let removed = self.collect_now(pool, retention, needed).await?;
        collected.insert(pool.clone(), asked);
        Ok(removed)
    }

    async fn collect_now(
        &self,
        pool: &PoolName,
        retention: Retention,
        needed: impl Fn(&[(ObjectId, Mark)]) -> BTreeSet<VolumeName>,
    ) -> Result<Vec<VolumeName>, DriverError> {
        // Volumes before marks: an upload that is seen was announced in a mark before it was there.
        let volumes = self.driver.volumes(pool).await?;
        if !volumes.iter().any(|v| v.as_str().starts_with(PREFIX)) {
            return Ok(Vec::new());
        }
        let kept = needed(&self.driver.marks().await?);
        let (needed_now, unneeded): (Vec<_>, Vec<_>) = volumes
            .iter()
            .filter(|v| is_data(v))
            .partition(|v| kept.contains(*v));
        for notice in volumes.iter().filter_map(Notice::read) {
            // One whose image is needed again, or gone.
            if needed_now.contains(&&notice.volume) || !volumes.contains(&notice.volume) {
                self.driver.delete_volume(pool, &notice.name()).await?;
            }
        }
        if unneeded.is_empty() {
            return Ok(Vec::new());
        }
        let backing = self.backing(pool, &volumes).await?;
        let mut removed = Vec::new();
        for volume in unneeded {
            let path = self
                .driver
                .volume(pool, volume)
                .await
                .map(|v| v.path)
                .unwrap_or_default();
            if backing.contains(&path) || self.stays(pool, volume, &volumes, retention).await? {
                continue;
            }
            if self.remove(pool, volume, &volumes, &needed).await? {
                removed.push(volume.clone());
            }
        }
        Ok(removed)
    }

    /// Whether an image that nobody needs stays for a while yet. The time from when on is kept beside it, in the name
    /// of an empty volume: no clock of the host is asked, and any run can go on where another stopped.
    async fn stays(
        &self,
        pool: &PoolName,
        volume: &VolumeName,
        volumes: &[VolumeName],
        retention: Retention,
    ) -> Result<bool, DriverError> {
        let image = volumes
            .iter()
            .filter_map(StoredImage::from_marker)
            .find(|image| image.volume == *volume);
        let mut names = volumes.iter().filter_map(KeptImage::read);
        if image
            .as_ref()
            .is_some_and(|image| names.any(|kept| kept.digest == image.digest))
        {
            return Ok(true);
        }
        let whole = image.is_some();
        let Some(keep) = retention.keep.filter(|_| whole) else {
            return Ok(false);
        };
        let of_this = |notice: &Notice| notice.volume == *volume;
        match volumes.iter().filter_map(Notice::read).find(of_this) {
            Some(notice) => Ok(retention.now.0 < notice.since.0.saturating_add(keep.as_millis() as u64)),
            None => {
                let notice = Notice {
                    volume: volume.clone(),
                    since: retention.now,
                };
                let spec = VolumeSpec {
                    pool: pool.clone(),
                    name: notice.name(),
                    content: VolumeContent::Upload { length: Bytes(0) },
                };
                match self.driver.create_volume(&spec).await {
                    Ok(_) | Err(DriverError::Exists { .. }) => Ok(true),
                    Err(error) => Err(error),
                }
            }
        }
    }

    async fn remove(
        &self,
        pool: &PoolName,
        volume: &VolumeName,
        volumes: &[VolumeName],
        needed: &impl Fn(&[(ObjectId, Mark)]) -> BTreeSet<VolumeName>,
    ) -> Result<bool, DriverError> {
        let markers: Vec<_> = markers_of(volumes, volume).collect();
        for marker in &markers {
            self.driver.delete_volume(pool, marker).await?;
        }
        let digests: Vec<_> = markers
            .iter()
            .filter_map(|marker| StoredImage::from_marker(marker))
            .collect();
        let names = self.kept(pool).await?;
        let named = names
            .iter()
            .any(|kept| digests.iter().any(|image| image.digest == kept.digest));
        if named || needed(&self.driver.marks().await?).contains(volume) {
            // Somebody took it between the two looks: it is whole, so it is marked again.
            for marker in &markers {
                let content = VolumeContent::Upload { length: Bytes(0) };
                let spec = VolumeSpec {
                    pool: pool.clone(),
                    name: (*marker).clone(),
                    content,
                };
                self.driver.create_volume(&spec).await?;
            }
            return Ok(false);
        }
        for notice in volumes
            .iter()
            .filter_map(Notice::read)
            .filter(|n| n.volume == *volume)
        {
            self.driver.delete_volume(pool, &notice.name()).await?;
        }
        self.driver.delete_volume(pool, volume).await?;
        Ok(true)
    }

    /// The paths that overlays in the pool stand on, whoever made them.
    async fn backing(
        &self,
        pool: &PoolName,
        volumes: &[VolumeName],
    ) -> Result<BTreeSet<String>, DriverError> {
        let others = volumes.iter().filter(|v| !v.as_str().starts_with(PREFIX));
        let reads: Vec<_> = others.map(|v| self.driver.volume(pool, v)).collect();
        let mut paths = BTreeSet::new();
        for read in futures::future::join_all(reads).await {
            match read {
                Ok(volume) => paths.extend(volume.backing),
                Err(DriverError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image_store::data_volume;
    use labyard_driver::ids::UploadId;

    #[test]
    fn a_notice_is_neither_an_image_nor_its_marker() {
        let notice = Notice {
            volume: data_volume(&UploadId("ab".repeat(16))),
            since: UnixMillis(1_700_000_000_000),
        };
        let name = notice.name();
        assert_eq!(Notice::read(&name), Some(notice.clone()));
        assert!(!is_data(&name) && StoredImage::from_marker(&name).is_none());
        assert_eq!(Notice::read(&notice.volume), None);
    }
}
