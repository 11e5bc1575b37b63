//! The server's socket: private from its first moment, never taken from a living server.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use super::ServeError;

/// A listening socket; its file goes with it.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens, in the place of a socket that a dead server left.
    pub(super) fn listen(path: &Path) -> Result<Self, ServeError> {
        let failed = |cause| ServeError::Socket {
            path: path.to_owned(),
            cause,
        };
        check_place(path)?;
        let listener = listen_privately(path).map_err(failed)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // What is left is found dead and replaced by the next server.
        drop(fs::remove_file(&self.path));
    }
}

fn check_place(path: &Path) -> Result<(), ServeError> {
    let (owned, failed) = (
        || path.to_owned(),
        |cause| ServeError::Socket {
            path: path.to_owned(),
            cause,
        },
    );
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(ServeError::NoSocket { path: owned() }),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ServeError::InUse { path: owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Binds in a directory that nobody else may enter and moves the socket to its place once it is ours alone: so it
/// is at no time open to others, and takes the place of a stale one in one step.
fn listen_privately(path: &Path) -> io::Result<UnixListener> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent
        .unwrap_or(Path::new("."))
        .join(format!(".{}", std::process::id()));
    match DirBuilder::new().mode(0o700).create(&directory) {
        // Left by a process that had our id.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_dir_all(&directory)?;
            DirBuilder::new().mode(0o700).create(&directory)?;
        }
        other => other?,
    }
    let inner = directory.join("s");
    let listening = UnixListener::bind(&inner).and_then(|listener| {
        fs::set_permissions(&inner, Permissions::from_mode(0o600))?;
        fs::rename(&inner, path)?;
        Ok(listener)
    });
    fs::remove_dir_all(&directory)?;
    listening
}
