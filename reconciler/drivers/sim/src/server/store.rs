//! The state in its file: replaced whole, synced, and never answered for before it is there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::ServeError;
use crate::clock::Millis;
use crate::host::SimHost;
use crate::settings::Settings;
use crate::state::State;

/// The format that this program writes and reads.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Saved<S> {
    labyard_sim_state: u32,
    /// The host's clock, and what the world's clock was then: guests live on while no server runs.
    clock_ms: Millis,
    world_ms: u64,
    state: S,
}

/// The file, and the lock that keeps a second server from it.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    /// The lock that keeps a second server from the file, held by whoever writes it in this one.
    lock: Arc<Mutex<File>>,
}

impl Store {
    /// Opens the file for this process alone.
    pub(super) fn open(path: &Path) -> Result<Self, ServeError> {
        let failed = |cause| ServeError::State {
            path: path.to_owned(),
            cause,
        };
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(beside(path, ".lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ServeError::StateInUse {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
        Ok(Self {
            path: path.to_owned(),
            lock: Arc::new(Mutex::new(lock)),
        })
    }

    /// The host that the file holds, or a new one. The host's identity is the file's; how it behaves is as asked.
    pub(super) fn host(&self, settings: Settings) -> Result<SimHost, ServeError> {
        let failed = |cause| ServeError::State {
            path: self.path.clone(),
            cause,
        };
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(SimHost::new(settings)),
            Err(error) => return Err(failed(error)),
        };
        let saved: Saved<State> = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
        if saved.labyard_sim_state != FORMAT {
            let message = format!(
                "it has format {}, this program reads {FORMAT}",
                saved.labyard_sim_state
            );
            return Err(failed(io::Error::other(message)));
        }
        let mut state = saved.state;
        state.settings = Settings {
            seed: state.settings.seed,
            ..settings
        };
        let away = world_ms().saturating_sub(saved.world_ms);
        Ok(SimHost::with_state(state, saved.clock_ms.saturating_add(away)))
    }

    /// Writes the host as it is now.
    pub(super) async fn save(&self, host: &SimHost) -> io::Result<()> {
        let (path, lock, host) = (self.path.clone(), Arc::clone(&self.lock), host.clone());
        // A save whose waiter is gone still runs: the next one waits for it and looks only then, and no other
        // server gets the file before.
        tokio::task::spawn_blocking(move || {
            let _held = lock.lock().unwrap_or_else(PoisonError::into_inner);
            replace(
                &path,
                &Saved {
                    labyard_sim_state: FORMAT,
                    clock_ms: host.now_ms(),
                    world_ms: world_ms(),
                    state: host.state_now(),
                },
            )
        })
        .await?
    }

    /// Writes each change of the host, several at once where they come faster than the disk, and tells how far it
    /// has come. Ends with the first error.
    pub(super) async fn keep(&self, host: &SimHost, kept: &watch::Sender<u64>) -> io::Error {
        let mut version = host.version();
        loop {
            let now = *version.borrow_and_update();
            if let Err(error) = self.save(host).await {
                return error;
            }
            kept.send_replace(now);
            if version.changed().await.is_err() {
                return io::Error::other("the host is gone");
            }
        }
    }
}

fn replace(path: &Path, saved: &Saved<State>) -> io::Result<()> {
    let new = beside(path, ".new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(&serde_json::to_vec(saved)?)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// The path with something added to its last part.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn world_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
