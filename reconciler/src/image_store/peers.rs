//! An image that another host of this engine has is had from there before the network is asked: read from its pool, sent
//! on through here, its digest compared on the way. Where that goes wrong the source is asked, as if there were no peer.
//!
//! Only images of which the digest is known are had so: what a peer sends can be compared with nothing else. A captured
//! image is known by its name to the host that has it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use labyard_driver::ids::{Digest, HostName, Namespace, PoolName, UploadId};
use tokio::time::timeout;

use super::fill::as_source;
use super::{ImageStore, KeptImage, StoreError, StoredImage, Wanted, data_volume};
use crate::error::EngineError;
use crate::host::Host;
use crate::image::error::Fault;
use crate::image::{Fetcher, ImageSource, KeptSource, StreamedSource};

/// How long a peer may take to tell of its images.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// The other hosts of the engine, and who reads from this one.
#[derive(Default)]
pub(super) struct Peers {
    others: OnceLock<Vec<Weak<Host>>>,
    readers: AtomicUsize,
}

impl Peers {
    fn others(&self) -> Vec<Arc<Host>> {
        let others = self.others.get().into_iter().flatten();
        others.filter_map(Weak::upgrade).collect()
    }
}

/// One who reads an image from a host, for as long as this lives.
struct Reader<'a>(&'a AtomicUsize);

impl<'a> Reader<'a> {
    fn of(host: &'a Host) -> Self {
        let readers = &host.images.peers.readers;
        readers.fetch_add(1, Ordering::SeqCst);
        Self(readers)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An image that a peer has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Offer {
    host: HostName,
    /// How many read images from it at this moment.
    readers: usize,
    pool: PoolName,
    image: StoredImage,
}

/// In which order peers are asked: those from whom fewest read first, each once; pure. Who has had the image becomes a
/// peer, so that many hosts which want one image do not all read from the first.
fn in_turn(mut offers: Vec<Offer>) -> Vec<Offer> {
    offers.sort_by(|a, b| (a.readers, &a.host, &a.pool).cmp(&(b.readers, &b.host, &b.pool)));
    offers.dedup_by(|later, first| later.host == first.host);
    offers
}

/// The image that a name means among what peers have: the revision that is asked for, or the newest; pure.
fn meant(kept: Vec<KeptImage>, namespace: &Namespace, source: &KeptSource) -> Option<KeptImage> {
    let of_it = kept.into_iter().filter(|kept| {
        kept.namespace == *namespace
            && kept.name == source.name
            && source.revision.is_none_or(|revision| kept.revision == revision)
    });
    of_it.max_by_key(|kept| kept.revision)
}

/// Whether it is dearer to have from its source than from a peer.
fn is_far(source: &ImageSource) -> bool {
    match source {
        ImageSource::Kept(_) | ImageSource::Streamed(StreamedSource::Web(_)) => true,
        ImageSource::OnHost(_) | ImageSource::Streamed(StreamedSource::File(_)) => false,
    }
}

impl ImageStore {
    /// Lets this host have images from others; once.
    pub(crate) fn meet(&self, others: Vec<Weak<Host>>) {
        drop(self.peers.others.set(others));
    }

    /// The image in the pool, had from a peer; `None` where none could give it.
    pub(super) async fn had_from_peers(
        &self,
        pool: &PoolName,
        wanted: &Wanted,
        fetcher: &Fetcher,
        upload: &UploadId,
    ) -> Result<Option<StoredImage>, StoreError> {
        let peers = self.peers.others();
        if peers.is_empty() || !is_far(&wanted.source) {
            return Ok(None);
        }
        let wanted = Wanted {
            digest: digest_of(&peers, wanted).await,
            ..wanted.clone()
        };
        // What cannot be compared is not taken.
        let Some(digest) = wanted.expected().map(|digest| Digest(digest.to_string())) else {
            return Ok(None);
        };
        // Its data may be here without the name.
        if let Some(found) = self.find(pool, &digest).await? {
            return Ok(Some(found));
        }
        for offer in in_turn(offers(&peers, &digest).await) {
            let Some(peer) = peers.iter().find(|peer| peer.name == offer.host) else {
                continue;
            };
            match self
                .read_from(pool, (peer, &offer), &wanted, fetcher, upload)
                .await
            {
                Ok(image) => {
                    tracing::info!(%digest, from = %offer.host, "had an image from another host");
                    return Ok(Some(image));
                }
                Err(StoreError::Image(error)) => {
                    tracing::warn!(%digest, from = %offer.host, %error, "an image was not had from another host");
                    self.withdraw(pool, &data_volume(upload)).await?;
                }
                // This host's own.
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn read_from(
        &self,
        pool: &PoolName,
        (peer, offer): (&Host, &Offer),
        wanted: &Wanted,
        fetcher: &Fetcher,
        upload: &UploadId,
    ) -> Result<StoredImage, StoreError> {
        let _reader = Reader::of(peer);
        let origin = format!("{} on host {}", wanted.source, peer.name);
        let unread = |reason: String| Fault::Read { received: 0, reason }.of(&origin);
        let read = peer.driver.read_volume(&offer.pool, &offer.image.volume).await;
        let read = read.map_err(|error| unread(error.to_string()))?;
        let Some(length) = read.length else {
            return Err(unread("the host does not say how long it is".to_owned()).into());
        };
        let bounds = (wanted.expected(), Some(wanted.deadline));
        let open = fetcher
            .open_bytes(origin, length.0, as_source(read.stream), bounds)
            .await?;
        self.send(pool, open, wanted, upload.clone()).await
    }
}

/// The digest of what is wanted: as it is given, or as the peers have it under its name.
async fn digest_of(peers: &[Arc<Host>], wanted: &Wanted) -> Option<Digest> {
    if wanted.digest.is_some() {
        return wanted.digest.clone();
    }
    let ImageSource::Kept(source) = &wanted.source else {
        return None;
    };
    let looks: Vec<_> = peers.iter().map(|peer| named(Arc::clone(peer))).collect();
    let named = futures::future::join_all(looks).await.into_iter().flatten();
    meant(named.collect(), &wanted.namespace, source).map(|kept| kept.digest)
}

/// All that peers have of that digest.
async fn offers(peers: &[Arc<Host>], digest: &Digest) -> Vec<Offer> {
    let looks: Vec<_> = peers
        .iter()
        .map(|peer| offered(Arc::clone(peer), digest.clone()))
        .collect();
    futures::future::join_all(looks)
        .await
        .into_iter()
        .flatten()
        .collect()
}

async fn named(peer: Arc<Host>) -> Vec<KeptImage> {
    let look = async {
        let mut named = Vec::new();
        for pool in peer.image_pools().await? {
            let kept = peer.images.kept(&pool).await;
            named.extend(kept.map_err(peer.failed(format!("storage pool {pool}")))?);
        }
        Ok::<_, EngineError>(named)
    };
    told(&peer.name, timeout(ANSWERS_WITHIN, look).await.ok())
}

async fn offered(peer: Arc<Host>, digest: Digest) -> Vec<Offer> {
    let look = async {
        let mut offers = Vec::new();
        for pool in peer.image_pools().await? {
            let found = peer.images.find(&pool, &digest).await;
            if let Some(image) = found.map_err(peer.failed(format!("storage pool {pool}")))? {
                offers.push(Offer {
                    host: peer.name.clone(),
                    readers: peer.images.peers.readers.load(Ordering::SeqCst),
                    pool,
                    image,
                });
            }
        }
        Ok::<_, EngineError>(offers)
    };
    told(&peer.name, timeout(ANSWERS_WITHIN, look).await.ok())
}

/// What a peer told of; nothing of one that did not answer.
fn told<T>(peer: &HostName, look: Option<Result<Vec<T>, EngineError>>) -> Vec<T> {
    match look {
        Some(Ok(told)) => told,
        Some(Err(error)) => {
            tracing::warn!(host = %peer, %error, "what images it has is not known");
            Vec::new()
        }
        None => {
            tracing::warn!(host = %peer, "it did not tell in time what images it has");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Revision;
    use labyard_driver::ids::Bytes;
    use labyard_driver::spec::DiskFormat;

    fn offer(host: &str, pool: &str, readers: usize) -> Offer {
        let upload = UploadId("ab".repeat(16));
        Offer {
            host: host.into(),
            readers,
            pool: pool.into(),
            image: StoredImage {
                volume: data_volume(&upload),
                upload,
                digest: Digest("ab".repeat(32)),
                format: DiskFormat::Raw,
                virtual_size: Bytes(1),
            },
        }
    }

    #[test]
    fn those_from_whom_fewest_read_are_asked_first_and_each_host_once() {
        let offers = vec![
            offer("lab1", "default", 2),
            offer("lab3", "fast", 0),
            offer("lab2", "default", 0),
            offer("lab3", "default", 0),
        ];
        let order: Vec<_> = in_turn(offers)
            .into_iter()
            .map(|offer| format!("{}/{}", offer.host, offer.pool))
            .collect();
        assert_eq!(order, ["lab2/default", "lab3/default", "lab1/default"]);
        assert!(in_turn(Vec::new()).is_empty());
    }

    #[test]
    fn a_name_means_its_newest_revision_or_the_one_that_is_asked_for() {
        let kept = |namespace: &str, name: &str, revision| KeptImage {
            namespace: namespace.into(),
            name: name.parse().unwrap(),
            revision: Revision(revision),
            digest: Digest("ab".repeat(32)),
        };
        let all = || {
            vec![
                kept("default", "golden", 2),
                kept("default", "golden", 1),
                kept("default", "tools", 9),
                kept("physics", "golden", 7),
            ]
        };
        let source = |revision: Option<u32>| KeptSource {
            name: "golden".parse().unwrap(),
            revision: revision.map(Revision),
        };
        let number = |namespace: &str, revision| {
            meant(all(), &namespace.into(), &source(revision)).map(|kept| kept.revision.0)
        };
        assert_eq!(number("default", None), Some(2));
        assert_eq!(number("default", Some(1)), Some(1));
        assert_eq!(number("default", Some(7)), None);
        assert_eq!(number("physics", None), Some(7));
        assert_eq!(number("biology", None), None);
    }
}
