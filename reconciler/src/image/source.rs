//! What stands in `image.source`: a URL, a file on the engine's computer, or a file on the hypervisor.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use labyard_schema::check;
use serde::{Deserialize, Serialize};
use url::Url;

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// Its bytes pass through the engine.
    Streamed(StreamedSource),
    /// It already lies on the hypervisor; the engine never sees its bytes.
    OnHost(HostPath),
    /// An image that was captured from a machine.
    Kept(KeptSource),
}

/// An image that was captured, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSource {
    /// Its name.
    pub name: ImageName,
    /// Which revision; the newest where nothing is said.
    pub revision: Option<Revision>,
}

/// The name of a captured image: 1 to 40 lower-case letters, digits and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageName(String);

/// The number of a captured image among those of its name, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision(pub u32);

/// A source whose bytes the engine reads and sends to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamedSource {
    /// `https://` or `http://`.
    Web(Url),
    /// `file:`, on the computer where the engine runs.
    File(PathBuf),
}

/// An absolute path on the hypervisor, in the hypervisor's own notation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPath(String);

/// Why `image.source` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Nothing was written.
    #[error("image.source is empty; write https://…, file:/path or host:/path")]
    Empty,
    /// A bare path: it could mean either computer.
    #[error(
        "image.source {0:?} does not say where it is; write file:{0} for a file on the computer where the engine runs, or host:{0} for one on the hypervisor"
    )]
    BarePath(String),
    /// Another scheme.
    #[error(
        "image.source has the scheme {0:?}, which is not known; use https:, http:, file:, host: or image:"
    )]
    Scheme(String),
    /// Not a URL.
    #[error("image.source is not a valid URL: {0}")]
    Url(url::ParseError),
    /// `user:password@` in a URL.
    #[error(
        "image.source holds a user name or password; it would be kept in Terraform's state and on the host. Download the image first and use file:"
    )]
    Credentials,
    /// `file://server/path`.
    #[error(
        "image.source names the server {0:?} in a file: source; write file:/path, it is read on the engine's computer"
    )]
    RemoteFile(String),
    /// `file:` or `host:` with nothing behind it.
    #[error("image.source names no path behind {0}")]
    NoPath(&'static str),
    /// `host:` with a relative path.
    #[error("image.source host:{0} is not absolute; write the full path on the hypervisor")]
    RelativeOnHost(String),
    /// `image:` with something that is no name of an image.
    #[error("image.source: {0}")]
    NoImage(String),
    /// A control character in a path.
    #[error("image.source holds a control character")]
    Control,
}

impl FromStr for ImageSource {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        if text.trim().is_empty() {
            return Err(SourceError::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(SourceError::Control);
        }
        if looks_like_a_path(text) {
            return Err(SourceError::BarePath(text.to_owned()));
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(SourceError::BarePath(text.to_owned()));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "https" | "http" => parse_url(text),
            "file" => parse_file(rest),
            "host" => parse_host(rest),
            "image" => parse_kept(rest),
            other => Err(SourceError::Scheme(other.to_owned())),
        }
    }
}

/// `/x`, `./x`, `..\x`, `C:\x`: written by somebody who did not think of a scheme.
fn looks_like_a_path(text: &str) -> bool {
    text.starts_with(['/', '\\', '.', '~']) || is_drive_path(text)
}

fn is_drive_path(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 3 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && matches!(bytes[2], b'\\' | b'/')
}

fn parse_url(text: &str) -> Result<ImageSource, SourceError> {
    let mut url = Url::parse(text).map_err(SourceError::Url)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(SourceError::Credentials);
    }
    url.set_fragment(None);
    Ok(ImageSource::Streamed(StreamedSource::Web(url)))
}

fn parse_file(rest: &str) -> Result<ImageSource, SourceError> {
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(after) => {
            let server = after.split('/').next().unwrap_or_default();
            if !server.is_empty() && server != "localhost" {
                return Err(SourceError::RemoteFile(server.to_owned()));
            }
            &after[server.len()..]
        }
    };
    if path.is_empty() {
        return Err(SourceError::NoPath("file:"));
    }
    Ok(ImageSource::Streamed(StreamedSource::File(PathBuf::from(path))))
}

fn parse_host(rest: &str) -> Result<ImageSource, SourceError> {
    // `host:///path` is what a URL-minded reader writes for `host:/path`.
    let path = if rest.starts_with("///") { &rest[2..] } else { rest };
    if path.is_empty() {
        return Err(SourceError::NoPath("host:"));
    }
    let absolute =
        (path.starts_with('/') && !path.starts_with("//")) || path.starts_with(r"\\") || is_drive_path(path);
    if !absolute {
        return Err(SourceError::RelativeOnHost(path.to_owned()));
    }
    Ok(ImageSource::OnHost(HostPath(path.to_owned())))
}

fn parse_kept(rest: &str) -> Result<ImageSource, SourceError> {
    check::kept_image(rest).map_err(SourceError::NoImage)?;
    let (name, revision) = match rest.split_once('@') {
        Some((name, revision)) => (name, revision.parse().ok().map(Revision)),
        None => (rest, None),
    };
    Ok(ImageSource::Kept(KeptSource {
        name: ImageName(name.to_owned()),
        revision,
    }))
}

impl ImageName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        check::image_name(text).map(|()| Self(text.to_owned()))
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for KeptSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision {
            Some(revision) => write!(f, "image:{}@{revision}", self.name),
            None => write!(f, "image:{}", self.name),
        }
    }
}

impl HostPath {
    /// The path as the hypervisor takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host:{}", self.0)
    }
}

impl fmt::Display for StreamedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamedSource::Web(url) => f.write_str(&without_query(url)),
            StreamedSource::File(path) => write!(f, "file:{}", Path::display(path)),
        }
    }
}

/// For logs and errors: what signed URLs grant stands in their query.
impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageSource::Streamed(source) => source.fmt(f),
            ImageSource::OnHost(path) => path.fmt(f),
            ImageSource::Kept(kept) => kept.fmt(f),
        }
    }
}

/// A URL fit for logs: a query may hold a signature, so only its presence is shown.
pub(crate) fn without_query(url: &Url) -> String {
    if url.query().is_none() && url.username().is_empty() && url.password().is_none() {
        return url.as_str().to_owned();
    }
    let had_query = url.query().is_some();
    let mut shown = url.clone();
    shown.set_query(None);
    // Both fail only for URLs that cannot have an authority, and ours always have one.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    if had_query {
        format!("{shown}?…")
    } else {
        shown.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ImageSource, SourceError> {
        text.parse()
    }

    fn file(path: &str) -> ImageSource {
        ImageSource::Streamed(StreamedSource::File(path.into()))
    }

    #[test]
    fn the_three_kinds_of_source_are_told_apart() {
        assert!(matches!(
            parse("https://example.org/a.qcow2"),
            Ok(ImageSource::Streamed(StreamedSource::Web(_)))
        ));
        assert!(matches!(
            parse("HTTP://example.org/a"),
            Ok(ImageSource::Streamed(StreamedSource::Web(_)))
        ));
        assert_eq!(parse("file:/a/b.img"), Ok(file("/a/b.img")));
        assert_eq!(parse("file:///a/b c.img"), Ok(file("/a/b c.img")));
        assert_eq!(parse("file://localhost/a"), Ok(file("/a")));
        assert_eq!(parse("file:images/a%20b.img"), Ok(file("images/a%20b.img")));
        assert_eq!(
            parse("host:/pool/a"),
            Ok(ImageSource::OnHost(HostPath("/pool/a".into())))
        );
        assert_eq!(
            parse("host:///pool/a"),
            Ok(ImageSource::OnHost(HostPath("/pool/a".into())))
        );
        assert_eq!(
            parse(r"host:D:\img\a"),
            Ok(ImageSource::OnHost(HostPath(r"D:\img\a".into())))
        );
        assert_eq!(
            parse(r"host:\\srv\img"),
            Ok(ImageSource::OnHost(HostPath(r"\\srv\img".into())))
        );
    }

    #[test]
    fn a_path_without_scheme_is_refused_with_both_ways_out() {
        for bare in ["/a/b.img", "./b.img", "b.img", r"C:\b.img", "~/b.img"] {
            let error = parse(bare).unwrap_err();
            assert_eq!(error, SourceError::BarePath(bare.into()));
            let text = error.to_string();
            assert!(
                text.contains(&format!("file:{bare}")) && text.contains(&format!("host:{bare}")),
                "{text}"
            );
        }
    }

    #[test]
    fn wrong_sources_are_refused_by_kind() {
        assert_eq!(parse(" "), Err(SourceError::Empty));
        assert_eq!(parse("ftp://x/y"), Err(SourceError::Scheme("ftp".into())));
        assert!(matches!(parse("https://"), Err(SourceError::Url(_))));
        assert_eq!(parse("https://me:pw@x/y"), Err(SourceError::Credentials));
        assert_eq!(
            parse("file://server/share"),
            Err(SourceError::RemoteFile("server".into()))
        );
        assert_eq!(parse("file:"), Err(SourceError::NoPath("file:")));
        assert_eq!(parse("host:"), Err(SourceError::NoPath("host:")));
        assert_eq!(parse("host:a/b"), Err(SourceError::RelativeOnHost("a/b".into())));
        assert_eq!(parse("file:/a\nb"), Err(SourceError::Control));
    }

    #[test]
    fn a_captured_image_is_named_with_its_revision_or_without() {
        for text in ["image:golden", "image:golden@3"] {
            let source = parse(text).unwrap();
            assert!(matches!(source, ImageSource::Kept(_)));
            assert_eq!(source.to_string(), text);
        }
        for bad in [
            "image:",
            "image:Golden",
            "image:a.b",
            "image:golden@",
            "image:golden@0",
            "image:golden@x",
        ] {
            assert!(matches!(parse(bad), Err(SourceError::NoImage(_))), "{bad}");
        }
    }

    #[test]
    fn a_signed_url_is_shown_without_its_signature() {
        let source = parse("https://example.org/a.img?sig=secret#frag").unwrap();
        assert_eq!(source.to_string(), "https://example.org/a.img?…");
    }
}
