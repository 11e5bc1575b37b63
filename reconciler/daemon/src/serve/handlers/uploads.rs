//! Images that callers send: a file of the caller's computer, for a machine that names it with its digest.
//!
//! What comes is written beside the others under a name of its own, and takes its place under its digest when all of it came
//! and is what it was said to be. What is older than the configuration keeps it goes when the next one comes.

use super::{
    Answer, json,
    taken::{Name, invalid},
};
use crate::{config::Uploads, failure::Failure, serve::app::App};
use axum::{body::Body, extract::State};
use http_body_util::BodyExt as _;
use labyard_api::{problem::Problem, upload::Upload};
use labyard_labs::ids::random_id;
use sha2::{Digest as _, Sha256};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::io::AsyncWriteExt as _;

/// After how many bytes it is looked again whether there is room.
const LOOK_EVERY: u64 = 16 << 20;

/// Where images lie that were sent, and where one of that digest does.
fn place<'a>(app: &'a App, digest: &str) -> Result<(&'a Uploads, PathBuf), Failure> {
    let Some(uploads) = &app.uploads else {
        let problem = Problem::new(409, "no-uploads", "This server takes no images");
        let detail = "Its configuration has no [uploads]: give a URL, or a file below its image_directories.";
        return Err(problem.detail(detail).into());
    };
    if digest.len() != 64
        || !digest
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    {
        let detail = "a SHA-256 belongs here: 64 digits, 0 to 9 and a to f";
        return Err(invalid().wrong("sha256", detail).into());
    }
    Ok((uploads, uploads.directory.join(digest)))
}

/// One that was sent before; it counts as sent now.
async fn sent_before(place: &Path, digest: &str) -> Option<Upload> {
    let there = tokio::fs::metadata(place).await.ok()?;
    let _ = touched(place).await;
    Some(Upload {
        sha256: digest.to_owned(),
        bytes: there.len(),
    })
}

pub(crate) async fn show(State(app): State<Arc<App>>, Name(digest): Name) -> Answer {
    let (_, place) = place(&app, &digest)?;
    match sent_before(&place, &digest).await {
        Some(sent) => Ok(json(200, &sent)),
        None => {
            let problem = Problem::new(404, "no-upload", "No such image was sent");
            let detail = "It was not sent, or longer ago than such are kept (uploads.keep).";
            Err(problem.detail(detail).into())
        }
    }
}

pub(crate) async fn put(State(app): State<Arc<App>>, Name(digest): Name, body: Body) -> Answer {
    let (uploads, place) = place(&app, &digest)?;
    if let Some(sent) = sent_before(&place, &digest).await {
        return Ok(json(200, &sent));
    }
    tidy(uploads).await;
    let part = Part(uploads.directory.join(format!("part-{}", random_id()?)));
    let (found, bytes) = received(&part.0, body, uploads, app.limits.request_timeout).await?;
    if found != digest {
        let detail = format!("what came has the SHA-256 {found}, {bytes} bytes");
        return Err(invalid().wrong("sha256", detail).into());
    }
    tokio::fs::rename(&part.0, &place)
        .await
        .map_err(|error| unwritten(&error))?;
    Ok(json(
        200,
        &Upload {
            sha256: digest,
            bytes,
        },
    ))
}

/// A file that is on its way; what did not take its place goes.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Writes what comes, and says what it was. Silence ends it, not length.
async fn received(
    at: &Path,
    mut body: Body,
    uploads: &Uploads,
    patience: Duration,
) -> Result<(String, u64), Failure> {
    let largest = uploads.largest_bytes;
    let mut looked = Looked::default();
    let mut file = tokio::fs::File::create_new(at)
        .await
        .map_err(|error| unwritten(&error))?;
    let (mut digest, mut bytes) = (Sha256::new(), 0_u64);
    loop {
        let frame = match tokio::time::timeout(patience, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
            Ok(Some(Err(_))) | Err(_) => {
                let problem = Problem::new(400, "cut-off", "The body did not come to its end");
                return Err(problem.retryable().into());
            }
        };
        let Ok(data) = frame.into_data() else { continue };
        bytes = bytes.saturating_add(data.len() as u64);
        if bytes > largest {
            let problem = Problem::new(413, "too-long", "The image is too long");
            let detail = format!("More than {largest} bytes are not taken (uploads.largest_bytes).");
            return Err(problem.detail(detail).into());
        }
        if looked.is_due(bytes) && held(uploads).await.saturating_add(data.len() as u64) > uploads.total_bytes
        {
            let problem = Problem::new(507, "uploads-full", "There are too many images already");
            let detail = format!(
                "Of all images together no more than {} bytes are taken (uploads.total_bytes); they go {} s after they came.",
                uploads.total_bytes,
                uploads.keep.as_secs()
            );
            return Err(problem.detail(detail).retryable().into());
        }
        digest.update(&data);
        file.write_all(&data).await.map_err(|error| unwritten(&error))?;
    }
    file.sync_all().await.map_err(|error| unwritten(&error))?;
    let found = digest.finalize();
    Ok((found.iter().map(|byte| format!("{byte:02x}")).collect(), bytes))
}

/// When it is seen how much there is: others send at the same time.
#[derive(Default)]
struct Looked {
    next_at: u64,
}

impl Looked {
    fn is_due(&mut self, bytes: u64) -> bool {
        let due = bytes >= self.next_at;
        if due {
            self.next_at = bytes.saturating_add(LOOK_EVERY);
        }
        due
    }
}

/// How much there is, with what is on its way.
async fn held(uploads: &Uploads) -> u64 {
    let mut sum = 0_u64;
    let Ok(mut entries) = tokio::fs::read_dir(&uploads.directory).await else {
        return sum;
    };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let length = entry.metadata().await.map_or(0, |file| file.len());
        sum = sum.saturating_add(length);
    }
    sum
}

fn unwritten(error: &std::io::Error) -> Failure {
    tracing::error!(%error, "an upload was not written");
    let problem = Problem::new(507, "no-space", "The image could not be kept");
    problem.detail("The server's log says why.").retryable().into()
}

async fn touched(place: &Path) -> std::io::Result<()> {
    let file = tokio::fs::File::options().append(true).open(place).await?;
    file.into_std().await.set_modified(SystemTime::now())
}

/// Takes away what is older than it is kept.
async fn tidy(uploads: &Uploads) {
    let Ok(mut entries) = tokio::fs::read_dir(&uploads.directory).await else {
        return;
    };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = name.len() == 64 || name.starts_with("part-");
        let modified = entry.metadata().await.and_then(|file| file.modified());
        let old = modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > uploads.keep));
        if ours && old {
            let _ = tokio::fs::remove_file(entry.path()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uploads(directory: &Path, total_bytes: u64) -> Uploads {
        Uploads {
            directory: directory.to_owned(),
            largest_bytes: 1 << 20,
            total_bytes,
            keep: Duration::from_secs(3600),
        }
    }

    #[tokio::test]
    async fn all_images_together_are_no_more_than_is_allowed() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a".repeat(64)), [0_u8; 600]).unwrap();
        let part = directory.path().join("part-1");
        for (total_bytes, expected) in [(1_000, None), (599, Some("uploads-full")), (1_100, None)] {
            let uploads = uploads(directory.path(), total_bytes);
            let body = Body::from(vec![7_u8; 400]);
            let got = received(&part, body, &uploads, Duration::from_secs(5)).await;
            let kind = got.as_ref().err().map(|failure| failure.0.kind().to_owned());
            assert_eq!(kind.as_deref(), expected, "{total_bytes}");
            std::fs::remove_file(&part).unwrap();
        }
    }

    #[test]
    fn it_is_looked_at_the_beginning_and_again_after_so_many_bytes() {
        let mut looked = Looked::default();
        assert!(looked.is_due(1));
        assert!(!looked.is_due(LOOK_EVERY));
        assert!(looked.is_due(LOOK_EVERY + 1));
    }
}
