//! A hook at a URL: one POST, signed where a key is given. Addresses of private networks are fine: hooks are the
//! operator's own configuration.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::header::{CONTENT_TYPE, HeaderName};
use url::Url;

use super::answer::clean;
use super::call::{Failure, MOST};
use super::request::Request;
use super::{Key, sign};
use crate::image::error::{ConnectStage, Fault};
use crate::image::fetch::Web;
use crate::image::{Limits, Proxies, Reach};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const SIGNATURE: HeaderName = HeaderName::from_static(sign::HEADER);

/// Posts requests.
#[derive(Debug)]
pub(super) struct Urls {
    web: Web,
}

impl Default for Urls {
    fn default() -> Self {
        Self {
            web: Web::new(
                Limits::default(),
                (Proxies::Environment, Reach::Everything),
                Vec::new(),
            ),
        }
    }
}

impl Urls {
    pub(super) async fn post(
        &self,
        url: &Url,
        key: Option<&Key>,
        request: &Request,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        let mut headers = vec![
            (CONTENT_TYPE, "application/json".to_owned()),
            (IDEMPOTENCY_KEY, request.idempotency_key.clone()),
        ];
        if let Some(key) = key {
            let key = bytes_of(key)?;
            // The receiver compares with its own clock, so that it must be the world's and not the engine's.
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            headers.push((SIGNATURE, sign::signature(&key, since.as_secs(), &body)));
        }
        let posted = self
            .web
            .post(url, headers, body.into(), MOST)
            .await
            .map_err(|fault| failure(&fault))?;
        judge(posted.status, &posted.body).map(|()| posted.body.to_vec())
    }
}

fn bytes_of(key: &Key) -> Result<Vec<u8>, Failure> {
    match key {
        Key::Given(secret) => Ok(secret.reveal().as_bytes().to_vec()),
        Key::File(path) => from_file(path).map_err(Failure::Lasting),
    }
}

fn from_file(path: &Path) -> Result<Vec<u8>, String> {
    let text = std::fs::read(path).map_err(|error| {
        format!(
            "its secret_file {} cannot be read where Terraform runs: {error}",
            path.display()
        )
    })?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let key = line.trim_ascii();
    if key.is_empty() {
        return Err(format!("its secret_file {} holds no key", path.display()));
    }
    Ok(key.to_vec())
}

/// A success, or what its status means.
fn judge(status: u16, body: &[u8]) -> Result<(), Failure> {
    let said = || clean(&String::from_utf8_lossy(&body[..body.len().min(300)]));
    match status {
        200..=299 => Ok(()),
        300..=399 => Err(Failure::Lasting(format!(
            "it answered {status}, a redirect, and hooks follow none: give the URL itself"
        ))),
        429 | 500..=599 => Err(Failure::Passing(format!("it answered {status} ({})", said()))),
        _ => Err(Failure::Lasting(format!("it answered {status} ({})", said()))),
    }
}

fn failure(fault: &Fault) -> Failure {
    match fault {
        Fault::Connect {
            stage: ConnectStage::Tls | ConnectStage::Trust,
            ..
        } => Failure::Lasting(fault.to_string()),
        Fault::SpoolLimit { limit } => Failure::Lasting(format!("its answer has more than {limit} bytes")),
        _ => Failure::Passing(fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_busy_and_broken_servers_are_asked_again() {
        for status in [429, 500, 502, 503, 504] {
            assert!(
                matches!(judge(status, b"x"), Err(Failure::Passing(_))),
                "{status}"
            );
        }
        for status in [301, 302, 307, 400, 401, 403, 404, 409, 422] {
            assert!(
                matches!(judge(status, b"x"), Err(Failure::Lasting(_))),
                "{status}"
            );
        }
        assert_eq!(judge(200, b""), Ok(()));
        assert_eq!(judge(204, b""), Ok(()));
    }

    #[test]
    fn a_key_is_the_first_line_of_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        std::fs::write(&file, "s3cret \nmore").unwrap();
        assert_eq!(from_file(&file).unwrap(), b"s3cret");
        std::fs::write(&file, "\n").unwrap();
        assert!(from_file(&file).unwrap_err().contains("holds no key"));
        assert!(
            from_file(&directory.path().join("none"))
                .unwrap_err()
                .contains("cannot be read")
        );
    }
}
