//! How bytes reach the daemon: a seam with one body so far, the Unix socket.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::AuthType;
use crate::uri::{Access, ConnectUri, Scope};

/// A byte stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Makes byte streams to one daemon.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Makes a new one.
    async fn connect(&self) -> Result<Box<dyn Duplex>, ConnectError>;
}

/// Why no connection could be made.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is no socket at any of the usual places.
    #[error(
        "libvirt does not listen on this machine (looked at {looked}): \
         is it installed, and is libvirtd.socket started?"
    )]
    NoSocket {
        /// The places.
        looked: String,
    },
    /// Only the modular daemon of the QEMU driver listens, which has no networks and no storage.
    #[error(
        "libvirt runs as separate daemons here ({found} exists, libvirt-sock does not): \
         start virtproxyd.socket, which offers them as one"
    )]
    OnlyModular {
        /// The socket that exists.
        found: PathBuf,
    },
    /// The place of the user's own socket cannot be told.
    #[error("neither XDG_RUNTIME_DIR nor HOME is set, so the session's socket cannot be found")]
    NoHome,
    /// The user may not open the socket.
    #[error("no permission to open {path}: be root or a member of the group libvirt")]
    Permission {
        /// The socket.
        path: PathBuf,
    },
    /// The socket cannot be connected to.
    #[error("cannot connect to {path}: {source}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// Unix sockets do not exist on this system.
    #[error("this system has no Unix sockets to reach libvirt by")]
    NoUnixSockets,
    /// The daemon did not finish its greeting in time.
    #[error("libvirt took the connection and did not answer within {after:?}")]
    Silent {
        /// How long it had.
        after: std::time::Duration,
    },
    /// The daemon wants an authentication that is not offered.
    #[error("libvirt asks for authentication of kind {offered:?}; supported are none and polkit")]
    Auth {
        /// What it offered.
        offered: Vec<AuthType>,
    },
}

/// The Unix socket of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixTransport {
    path: PathBuf,
}

impl UnixTransport {
    /// A socket at a known place.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The socket that a URI means.
    pub fn for_uri(uri: &ConnectUri) -> Result<Self, ConnectError> {
        match &uri.socket {
            Some(path) => Ok(Self::new(path)),
            None => Places::of_this_process()
                .find(uri.scope, uri.access)
                .map(Self::new),
        }
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[async_trait]
impl Transport for UnixTransport {
    #[cfg(unix)]
    async fn connect(&self) -> Result<Box<dyn Duplex>, ConnectError> {
        match tokio::net::UnixStream::connect(&self.path).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(ConnectError::Permission {
                path: self.path.clone(),
            }),
            Err(error) => Err(ConnectError::Socket {
                path: self.path.clone(),
                source: Arc::new(error),
            }),
        }
    }

    #[cfg(not(unix))]
    async fn connect(&self) -> Result<Box<dyn Duplex>, ConnectError> {
        Err(ConnectError::NoUnixSockets)
    }
}

/// Where sockets are looked for.
#[derive(Debug)]
struct Places {
    run: Vec<PathBuf>,
    user: Option<PathBuf>,
}

impl Places {
    fn of_this_process() -> Self {
        let variable = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let user = variable("XDG_RUNTIME_DIR").or_else(|| variable("HOME").map(|home| home.join(".cache")));
        Self {
            run: vec!["/run".into(), "/var/run".into()],
            user,
        }
    }

    fn find(&self, scope: Scope, access: Access) -> Result<PathBuf, ConnectError> {
        let parents = match scope {
            Scope::System => self.run.clone(),
            Scope::Session => vec![self.user.clone().ok_or(ConnectError::NoHome)?],
        };
        // A session daemon has no read-only socket of its own.
        let suffix = match (scope, access) {
            (Scope::System, Access::ReadOnly) => "sock-ro",
            _ => "sock",
        };
        let candidates = |daemon: &str| -> Vec<PathBuf> {
            parents
                .iter()
                .map(|parent| parent.join(format!("libvirt/{daemon}-{suffix}")))
                .collect()
        };
        let whole = candidates("libvirt");
        if let Some(found) = whole.iter().find(|path| path.exists()) {
            return Ok(found.clone());
        }
        if let Some(found) = candidates("virtqemud").into_iter().find(|path| path.exists()) {
            return Err(ConnectError::OnlyModular { found });
        }
        let looked = whole
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>()
            .join(", ");
        Err(ConnectError::NoSocket { looked })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places_with(files: &[&str]) -> (PathBuf, Places) {
        let root = std::env::temp_dir().join(format!("rpc-places-{}", uuid_of(files)));
        std::fs::create_dir_all(root.join("libvirt")).unwrap();
        for file in files {
            std::fs::write(root.join("libvirt").join(file), "").unwrap();
        }
        (
            root.clone(),
            Places {
                run: vec![root.join("absent"), root.clone()],
                user: Some(root),
            },
        )
    }

    fn uuid_of(files: &[&str]) -> String {
        format!("{}-{}", std::process::id(), files.join("+"))
    }

    #[test]
    fn the_first_socket_that_exists_is_taken() {
        let (root, places) = places_with(&["libvirt-sock", "libvirt-sock-ro", "virtqemud-sock"]);
        let find = |scope, access| places.find(scope, access).unwrap();
        assert_eq!(
            find(Scope::System, Access::ReadWrite),
            root.join("libvirt/libvirt-sock")
        );
        assert_eq!(
            find(Scope::System, Access::ReadOnly),
            root.join("libvirt/libvirt-sock-ro")
        );
        assert_eq!(
            find(Scope::Session, Access::ReadOnly),
            root.join("libvirt/libvirt-sock")
        );
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_modular_daemon_alone_is_explained() {
        let (root, places) = places_with(&["virtqemud-sock"]);
        let error = places.find(Scope::System, Access::ReadWrite).unwrap_err();
        assert!(error.to_string().contains("start virtproxyd.socket"), "{error}");
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn no_socket_at_all_names_the_places() {
        let (root, places) = places_with(&[]);
        let error = places.find(Scope::System, Access::ReadWrite).unwrap_err();
        assert!(error.to_string().contains("libvirt/libvirt-sock"), "{error}");
        let nowhere = Places {
            run: vec![],
            user: None,
        };
        assert!(matches!(
            nowhere.find(Scope::Session, Access::ReadWrite),
            Err(ConnectError::NoHome)
        ));
        std::fs::remove_dir_all(root).unwrap();
    }
}
