//! From a source to an [`OpenImage`]: open, look at the header, spool where the length is unknown, guard.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::digest::Sha256Digest;
use super::error::{Fault, ImageError};
use super::exact::ImageStream;
use super::fetch::{self, Web};
use super::header::{Detected, ImageHeader, Layout, detect};
use super::pace::{ByteStream, Paced};
use super::reach::Reach;
use super::source::StreamedSource;
use super::spool::spool;

/// Bounds on the time and room that an image may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For the name, the connection, TLS and the proxy together, and again for the answer's head.
    pub connect: Duration,
    /// For silence between two chunks.
    pub idle: Duration,
    /// How many redirects are followed.
    pub redirects: usize,
    /// The most that is spooled of a source without length.
    pub spool: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            redirects: 10,
            spool: 256 << 30,
        }
    }
}

/// How images are fetched.
#[derive(Debug, Clone)]
pub struct Options {
    /// Time and room.
    pub limits: Limits,
    /// Where a source without length is spooled: by default the system's directory for temporary files.
    pub spool_directory: PathBuf,
    /// Certificate bundles (PEM) trusted besides the system's.
    pub extra_certificates: Vec<PathBuf>,
    /// Whose word counts on proxies.
    pub proxies: Proxies,
    /// What may be read and called.
    pub reach: Reach,
}

/// Where proxies come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxies {
    /// `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, in either case.
    Environment,
    /// None are used.
    Off,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            spool_directory: std::env::temp_dir(),
            extra_certificates: Vec::new(),
            proxies: Proxies::Environment,
            reach: Reach::Everything,
        }
    }
}

/// An image whose length and header are known and whose bytes are ready to flow.
#[derive(Debug)]
pub struct OpenImage {
    /// Exactly how many bytes [`stream`](Self::stream) yields.
    pub length: u64,
    /// Format and virtual size.
    pub header: ImageHeader,
    /// The bytes. Ask it for its [`digest`](ImageStream::digest) slot before giving it away.
    pub stream: ImageStream,
}

/// Opens images. One an engine: names, trusted certificates and proxies are read once, when first needed.
#[derive(Debug)]
pub struct Fetcher {
    options: Options,
    web: Web,
}

impl Fetcher {
    /// Nothing is read or contacted yet.
    pub fn new(options: Options) -> Self {
        let web = Web::new(
            options.limits.clone(),
            (options.proxies, options.reach.clone()),
            options.extra_certificates.clone(),
        );
        Self { options, web }
    }

    /// Opens `source`: its bytes must have the digest `expected`, if one is given, and be through by `deadline`.
    pub async fn open(
        &self,
        source: &StreamedSource,
        expected: Option<Sha256Digest>,
        deadline: Option<Instant>,
    ) -> Result<OpenImage, ImageError> {
        let opening = self.open_inner(source, expected, deadline);
        let opened = match deadline {
            None => opening.await,
            // Opening waits for connections, which have no stream yet that could watch the clock.
            Some(deadline) => match tokio::time::timeout_at(deadline, opening).await {
                Ok(opened) => opened,
                Err(_) => Err(Fault::Deadline { received: 0 }),
            },
        };
        opened.map_err(|fault| fault.of(source))
    }

    async fn open_inner(
        &self,
        source: &StreamedSource,
        expected: Option<Sha256Digest>,
        deadline: Option<Instant>,
    ) -> Result<OpenImage, Fault> {
        let fetch::Opened { length, bytes } = match source {
            StreamedSource::File(path) => {
                fetch::file::open(&self.options.reach.allowed_file(path, expected).await?).await?
            }
            StreamedSource::Web(url) => self.web.get(url).await?,
        };
        let read = Read {
            origin: source.to_string(),
            length,
            bytes,
        };
        self.guard(read, expected, deadline).await
    }

    /// The same for bytes that somebody else reads: of `length`, where from for people.
    pub(crate) async fn open_bytes(
        &self,
        origin: String,
        length: u64,
        bytes: ByteStream,
        (expected, deadline): (Option<Sha256Digest>, Option<Instant>),
    ) -> Result<OpenImage, ImageError> {
        let read = Read {
            origin: origin.clone(),
            length: Some(length),
            bytes,
        };
        let guarded = self.guard(read, expected, deadline).await;
        guarded.map_err(|fault| fault.of(origin))
    }

    async fn guard(
        &self,
        read: Read,
        expected: Option<Sha256Digest>,
        deadline: Option<Instant>,
    ) -> Result<OpenImage, Fault> {
        let paced = Paced::new(read.bytes, self.options.limits.idle, deadline)
            .fuse()
            .boxed();
        let (layout, bytes) = peek(paced, read.length).await?;
        let (length, bytes) = match read.length {
            Some(length) => (length, bytes),
            None => spool(bytes, &self.options.spool_directory, self.options.limits.spool).await?,
        };
        let header = layout.with_length(length)?;
        let stream = ImageStream::new(read.origin, bytes, length, expected);
        Ok(OpenImage {
            length,
            header,
            stream,
        })
    }
}

/// A source that is being read.
struct Read {
    origin: String,
    length: Option<u64>,
    bytes: ByteStream,
}

/// Reads as far as the header reaches, and puts what was read back in front.
async fn peek(mut source: ByteStream, promised: Option<u64>) -> Result<(Layout, ByteStream), Fault> {
    let mut chunks: Vec<Bytes> = Vec::new();
    let mut prefix: Vec<u8> = Vec::new();
    let mut complete = false;
    loop {
        match detect(&prefix, complete)? {
            Detected::Found(layout) => {
                let front = stream::iter(chunks.into_iter().map(Ok));
                return Ok((layout, front.chain(source).boxed()));
            }
            Detected::NeedMore(wanted) => match source.next().await.transpose()? {
                // Only the header's share of a chunk is copied.
                Some(chunk) => {
                    let room = super::header::MOST_NEEDED
                        .max(wanted)
                        .saturating_sub(prefix.len());
                    prefix.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    chunks.push(chunk);
                }
                None => {
                    let received = chunks.iter().map(|chunk| chunk.len() as u64).sum();
                    if let Some(promised) = promised.filter(|promised| received < *promised) {
                        return Err(Fault::TooShort { promised, received });
                    }
                    complete = true;
                }
            },
        }
    }
}
