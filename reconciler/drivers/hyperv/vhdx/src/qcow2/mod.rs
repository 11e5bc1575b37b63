//! qcow2 images as sources: versions 2 and 3, compressed clusters (deflate, zstd), extended L2 entries. Images that are not
//! whole in themselves (with a backing file or a data file) or not readable (encrypted) are refused. Of an image with snapshots
//! the current state is read. The numbers are those of QEMU's `docs/interop/qcow2.rst`.
//!
//! An image may be anybody's: every offset is looked at before it is followed, tables have two levels whatever they say, and
//! what is held does not grow with the image. How long it takes does, with [`Source::size`], so whoever takes images from
//! strangers looks at that first.
//!
//! | file | what |
//! |---|---|
//! | `header` | what the image is |
//! | `entry`, `walk` | where each piece of the disk is |
//! | `fetch`, `unpack` | the piece itself |

mod entry;
mod fetch;
mod header;
mod unpack;
mod walk;

use std::io;
use std::sync::Arc;

use async_trait::async_trait;

use crate::io::ReadAt;
use crate::source::{Ahead, Piece, Source, SourceError};
use fetch::Fetcher;
use header::Header;
use walk::Walk;

/// A qcow2 image.
///
/// It holds no more than four pieces of 1 MiB (or of one cluster, if that is larger) with what they are unpacked from, and
/// one L2 table.
pub struct Qcow2 {
    header: Header,
    walk: Walk,
    fetcher: Fetcher,
    ahead: Ahead,
}

/// Why a qcow2 image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Qcow2Error {
    /// Reading failed.
    #[error("reading {what} of the qcow2 image at offset {offset} failed: {error}")]
    Io {
        /// Of what.
        what: &'static str,
        /// In the file.
        offset: u64,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// It is something else.
    #[error("the file is no qcow2 image")]
    NotQcow2,
    /// The header is not whole.
    #[error("the qcow2 image has only a part of a header")]
    Short,
    /// Another version.
    #[error(
        "the qcow2 image is of version {0}, and 2 and 3 can be read: `qemu-img convert -O qcow2` makes it one"
    )]
    Version(u32),
    /// It builds on another image.
    #[error(
        "the qcow2 image has a backing file, so it is only a part of a disk: `qemu-img convert -O qcow2` makes it whole"
    )]
    Backing,
    /// It is encrypted.
    #[error(
        "the qcow2 image is encrypted, and can only be read decrypted: `qemu-img convert` does that with its secret"
    )]
    Encrypted,
    /// QEMU found it broken.
    #[error("the qcow2 image is marked as corrupt: see `qemu-img check`")]
    Corrupt,
    /// The content is in another file.
    #[error(
        "the qcow2 image keeps its content in an external data file: `qemu-img convert -O qcow2` makes it whole"
    )]
    DataFile,
    /// Something newer.
    #[error("the qcow2 image needs features that are not known here (bits {0:#x})")]
    Features(u64),
    /// A compression that is not known.
    #[error(
        "the qcow2 image says that its clusters are compressed in the way {0}, which goes not with its features or is not known"
    )]
    Compression(u8),
    /// No cluster size.
    #[error(
        "the qcow2 image says that its clusters are 2^{0} bytes; they can be 2^9 to 2^21, with extended L2 entries 2^14 to 2^21"
    )]
    ClusterBits(u32),
    /// Not the L1 table of that disk.
    #[error(
        "the qcow2 image says that its L1 table has {said} entries, and its size needs {needed}; 4 million is the most"
    )]
    L1Size {
        /// What is said.
        said: u32,
        /// What has to be.
        needed: u64,
    },
    /// A table is where none can be.
    #[error(
        "the qcow2 image has an {what} table at offset {offset}, which is not at a whole cluster inside its {length} bytes: it is damaged or cut short"
    )]
    Table {
        /// Which.
        what: &'static str,
        /// Where.
        offset: u64,
        /// The file's length.
        length: u64,
    },
    /// An entry is none.
    #[error("the qcow2 image has an entry for offset {guest} of its disk that cannot be")]
    Entry {
        /// In the disk.
        guest: u64,
    },
    /// A cluster is where none can be.
    #[error(
        "the qcow2 image has offset {guest} of its disk at offset {host}, and the file has {length} bytes: it is damaged or cut short"
    )]
    Cluster {
        /// In the disk.
        guest: u64,
        /// In the file.
        host: u64,
        /// The file's length.
        length: u64,
    },
    /// A compressed cluster cannot be unpacked.
    #[error("the compressed cluster at offset {guest} of the qcow2 image's disk is damaged: {why}")]
    Packed {
        /// In the disk.
        guest: u64,
        /// What is wrong.
        why: String,
    },
}

impl Qcow2 {
    /// Reads what the image is; of its content nothing yet.
    pub async fn open(file: Arc<dyn ReadAt>) -> Result<Self, Qcow2Error> {
        let io = |error| Qcow2Error::Io {
            what: "the header",
            offset: 0,
            error,
        };
        let header = Header::decode(&file.read_at(0, header::LENGTH).await.map_err(io)?)?;
        let length = file.length().await.map_err(io)?;
        let walk = Walk::new(Arc::clone(&file), header, length)?;
        let fetcher = Fetcher {
            file,
            compression: header.compression,
            // At most 2 MiB.
            cluster: header.cluster() as usize,
        };
        Ok(Self {
            header,
            walk,
            fetcher,
            ahead: Ahead::default(),
        })
    }
}

#[async_trait]
impl Source for Qcow2 {
    fn size(&self) -> u64 {
        self.header.size
    }

    async fn next(&mut self) -> Result<Option<Piece>, SourceError> {
        while self.ahead.has_room() {
            let Some(plan) = self.walk.next().await? else {
                break;
            };
            let fetcher = self.fetcher.clone();
            self.ahead.start(async move { Ok(fetcher.fetch(plan).await?) });
        }
        self.ahead.next().await
    }
}
