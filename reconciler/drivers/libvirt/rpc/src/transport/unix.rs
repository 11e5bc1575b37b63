//! The Unix socket of a daemon on this machine.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{ConnectError, Duplex, Transport};
use crate::uri::{Access, Scope};

/// The socket that a URI means; where it names none, the first that is there when it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UnixTransport {
    /// This one.
    At(PathBuf),
    /// The usual one.
    Usual(Scope, Access),
}

impl UnixTransport {
    fn path(&self) -> Result<PathBuf, ConnectError> {
        match self {
            Self::At(path) => Ok(path.clone()),
            Self::Usual(scope, access) => Places::of_this_process().find(*scope, *access),
        }
    }
}

#[async_trait]
impl Transport for UnixTransport {
    #[cfg(unix)]
    async fn connect(&self, _deadline: Instant) -> Result<Box<dyn Duplex>, ConnectError> {
        let path = self.path()?;
        match tokio::net::UnixStream::connect(&path).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let group = group_of(&path);
                Err(ConnectError::Permission { path, group })
            }
            Err(error) => Err(ConnectError::Socket {
                path,
                source: Arc::new(error),
            }),
        }
    }

    #[cfg(not(unix))]
    async fn connect(&self, _deadline: Instant) -> Result<Box<dyn Duplex>, ConnectError> {
        Err(ConnectError::NoUnixSockets)
    }
}

/// The group of a file, by the machine's own list of them; root's is none.
#[cfg(unix)]
fn group_of(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let id = std::fs::metadata(path).ok()?.gid();
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    (id != 0).then(|| group_named(&groups, id).unwrap_or_else(|| id.to_string()))
}

#[cfg(unix)]
fn group_named(groups: &str, id: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    })
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

    #[cfg(unix)]
    #[test]
    fn a_group_is_found_by_its_id() {
        let groups = "root:x:0:\nlibvirt:x:134:ann\nbroken\n";
        assert_eq!(group_named(groups, 134).as_deref(), Some("libvirt"));
        assert_eq!(group_named(groups, 7), None);
    }

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
