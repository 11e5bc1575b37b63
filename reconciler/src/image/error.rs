//! What can go wrong with an image, each with what was found and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::digest::Sha256Digest;
use super::header::HeaderError;

/// An image that could not be used: which one, and why.
#[derive(Debug, thiserror::Error)]
#[error("image {origin}: {fault}")]
pub struct ImageError {
    /// The source, fit for logs (the query of a URL is left out).
    pub origin: String,
    /// What went wrong.
    #[source]
    pub fault: Fault,
}

/// Why an image could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It is nothing that may be read or called for whoever named it.
    #[error("{0}")]
    OutOfReach(String),
    /// What another engine met, in its words.
    #[error("{message}")]
    Told {
        /// Its words.
        message: String,
        /// Whether trying again may help with nothing changed.
        transient: bool,
    },
    /// No machine's disk was captured under that name, or not where it can be had now.
    #[error("{0}")]
    NotKept(String),
    /// The first bytes do not make a usable image.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The file could not be opened.
    #[error("the file cannot be opened on the engine's computer: {0}")]
    Open(io::Error),
    /// Something else than a regular file.
    #[error("it is not a regular file on the engine's computer")]
    NotAFile,
    /// Reading failed in the middle.
    #[error("reading failed after {received} bytes: {reason}")]
    Read {
        /// Bytes read until then.
        received: u64,
        /// What the system or the connection said.
        reason: String,
    },
    /// No connection to the server came about.
    #[error("{stage} failed: {reason}")]
    Connect {
        /// Which part of it.
        stage: ConnectStage,
        /// What was said.
        reason: String,
    },
    /// The server or the disk stopped answering.
    #[error("nothing came for {} s while waiting for {wait} ({received} bytes received)", .after.as_secs_f64())]
    Stalled {
        /// What was waited for.
        wait: Wait,
        /// How long.
        after: Duration,
        /// Bytes received until then.
        received: u64,
    },
    /// The time allowed for the whole image is over.
    #[error("the time allowed for the image ran out after {received} bytes")]
    Deadline {
        /// Bytes received until then.
        received: u64,
    },
    /// The server refused.
    #[error("the server answered {status}: {}", status_advice(*.status))]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// Redirected in circles or too often.
    #[error("the server redirected more than {limit} times, last to {last}")]
    TooManyRedirects {
        /// How many were followed.
        limit: usize,
        /// Where the last one led.
        last: String,
    },
    /// A redirect that cannot be followed.
    #[error("the server redirected to {location:?}, which cannot be followed: {reason}")]
    BadRedirect {
        /// What the server wrote.
        location: String,
        /// Why not.
        reason: &'static str,
    },
    /// The server changed the bytes on the way.
    #[error(
        "the server sent the image with Content-Encoding {0:?} though none was asked for; the bytes would not be the file's"
    )]
    Encoded(String),
    /// The source ended early.
    #[error("it ended after {received} bytes, {promised} were promised")]
    TooShort {
        /// The length the source had given.
        promised: u64,
        /// What came.
        received: u64,
    },
    /// A source without length broke off.
    #[error("the connection broke off after {received} bytes")]
    BrokeOff {
        /// What came.
        received: u64,
    },
    /// The source went on after its end.
    #[error(
        "it has more than the {promised} bytes that were promised; the file or the server is not consistent"
    )]
    TooLong {
        /// The length the source had given.
        promised: u64,
    },
    /// Not the bytes that were asked for.
    #[error("its SHA-256 is {actual}, expected was {expected}; the source has changed or sha256 is wrong")]
    Digest {
        /// What the configuration or the pin says.
        expected: Sha256Digest,
        /// What the bytes have.
        actual: Sha256Digest,
    },
    /// A source without length did not end.
    #[error("the server gave no length and sent more than {limit} bytes; nothing larger is spooled")]
    SpoolLimit {
        /// The most that is spooled.
        limit: u64,
    },
    /// The engine's disk is full.
    #[error("the server gave no length, and {} has no room to spool the image ({received} bytes had come); free space there or set TMPDIR", .directory.display())]
    SpoolFull {
        /// Where it was spooled.
        directory: PathBuf,
        /// Bytes received until then.
        received: u64,
    },
    /// The temporary file failed otherwise.
    #[error("the server gave no length, and spooling the image in {} failed: {reason}", .directory.display())]
    Spool {
        /// Where it was spooled.
        directory: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
}

/// The parts of reaching a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectStage {
    /// Finding the address of a name.
    Resolve,
    /// TCP.
    Connect,
    /// TLS, certificates included.
    Tls,
    /// The proxy of the environment.
    Proxy,
    /// Certificates of this computer.
    Trust,
    /// Sending the request and reading the answer's head.
    Request,
}

/// What a stalled source was expected to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Accept the connection.
    Connection,
    /// Answer the request.
    Answer,
    /// Go on sending.
    Data,
}

impl fmt::Display for ConnectStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConnectStage::Resolve => "resolving the server's name",
            ConnectStage::Connect => "connecting",
            ConnectStage::Tls => "the TLS handshake",
            ConnectStage::Proxy => "the proxy (HTTP_PROXY, HTTPS_PROXY)",
            ConnectStage::Trust => "reading the trusted certificates",
            ConnectStage::Request => "the HTTP request",
        })
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wait::Connection => "the connection",
            Wait::Answer => "the server's answer",
            Wait::Data => "data",
        })
    }
}

fn status_advice(status: u16) -> &'static str {
    match status {
        401 | 403 | 407 => {
            "access refused; use a URL that needs no login, or download the image and use file:"
        }
        404 | 410 => "there is nothing at this URL; check it (old images are often removed by their makers)",
        429 => "too many requests; try again later",
        500..=599 => "the server has a problem; try again later",
        _ => "an image is expected with status 200",
    }
}

impl Fault {
    /// Names the image that this happened to.
    pub(crate) fn of(self, origin: impl fmt::Display) -> ImageError {
        ImageError {
            origin: origin.to_string(),
            fault: self,
        }
    }

    /// Whether trying again may help with nothing changed.
    pub fn is_transient(&self) -> bool {
        match self {
            Fault::Read { .. } | Fault::Stalled { .. } | Fault::TooShort { .. } | Fault::BrokeOff { .. } => {
                true
            }
            Fault::Connect { stage, .. } => {
                matches!(
                    stage,
                    ConnectStage::Resolve | ConnectStage::Connect | ConnectStage::Request
                )
            }
            Fault::Status { status } => matches!(status, 408 | 429 | 500..=599),
            // It may be captured, and a host that has it may answer again.
            Fault::NotKept(_) => true,
            Fault::Told { transient, .. } => *transient,
            _ => false,
        }
    }
}
