//! Where the parent connects: a Unix socket, or a port of the loopback interface where there are none.

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::handshake::{Address, PortRange, SocketWish};

/// The shortest limit of any system we know (macOS: 104 bytes with the closing zero).
const MAX_SOCKET_PATH: usize = 100;

/// A connection, whatever carries it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A listening socket; what it left on disk goes when it is dropped.
pub(crate) struct Listener {
    inner: Inner,
    address: Address,
    _files: Option<SocketFiles>,
}

enum Inner {
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
    #[cfg_attr(unix, expect(dead_code, reason = "the way of systems without Unix sockets"))]
    Tcp(tokio::net::TcpListener),
}

impl Listener {
    /// Listens where the parent wants it. Must be called inside a tokio runtime.
    #[cfg(unix)]
    pub(crate) fn bind(socket: &SocketWish, _ports: PortRange) -> io::Result<Self> {
        let files = SocketFiles::make(socket.dir.as_deref())?;
        let inner = tokio::net::UnixListener::bind(&files.socket)?;
        permit(&files, socket.group.as_deref())?;
        Ok(Self {
            inner: Inner::Unix(inner),
            address: Address::Unix(files.socket.clone()),
            _files: Some(files),
        })
    }

    /// Listens where the parent wants it. Must be called inside a tokio runtime.
    #[cfg(not(unix))]
    pub(crate) fn bind(_socket: &SocketWish, ports: PortRange) -> io::Result<Self> {
        let listener = bind_port(ports)?;
        listener.set_nonblocking(true)?;
        let address = Address::Tcp(listener.local_addr()?);
        let inner = Inner::Tcp(tokio::net::TcpListener::from_std(listener)?);
        Ok(Self {
            inner,
            address,
            _files: None,
        })
    }

    /// Where that is.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match &self.inner {
            #[cfg(unix)]
            Inner::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
            Inner::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
        }
    }
}

/// The socket's file and, where the parent made no directory for it, one of our own that nobody else may enter.
struct SocketFiles {
    socket: PathBuf,
    own_dir: Option<PathBuf>,
}

impl SocketFiles {
    #[cfg(unix)]
    fn make(parents_dir: Option<&Path>) -> io::Result<Self> {
        let name = unique_name();
        if let Some(dir) = parents_dir {
            return Ok(Self {
                socket: dir.join(name),
                own_dir: None,
            });
        }
        let mut base = std::env::temp_dir();
        if base.as_os_str().len() + name.len() + "//s".len() > MAX_SOCKET_PATH {
            base = PathBuf::from("/tmp");
        }
        let dir = base.join(name);
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&dir)?;
        Ok(Self {
            socket: dir.join("s"),
            own_dir: Some(dir),
        })
    }
}

impl Drop for SocketFiles {
    fn drop(&mut self) {
        // A parent that made the directory may have removed it already.
        let _ = std::fs::remove_file(&self.socket);
        if let Some(dir) = &self.own_dir {
            let _ = std::fs::remove_dir(dir);
        }
    }
}

#[cfg(unix)]
fn unique_name() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let random = RandomState::new().hash_one(std::process::id());
    format!("tfp-{}-{:08x}", std::process::id(), random as u32)
}

#[cfg(unix)]
fn permit(files: &SocketFiles, group: Option<&str>) -> io::Result<()> {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let mode = |bits| std::fs::Permissions::from_mode(bits);
    let Some(group) = group else {
        return std::fs::set_permissions(&files.socket, mode(0o600));
    };
    let gid = group_id(group, &std::fs::read_to_string("/etc/group").unwrap_or_default())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no group {group:?}")))?;
    if let Some(dir) = &files.own_dir {
        chown(dir, None, Some(gid))?;
        std::fs::set_permissions(dir, mode(0o750))?;
    }
    chown(&files.socket, None, Some(gid))?;
    std::fs::set_permissions(&files.socket, mode(0o660))
}

/// A group's number, from its number or its name.
#[cfg(unix)]
fn group_id(group: &str, etc_group: &str) -> Option<u32> {
    group.parse().ok().or_else(|| {
        etc_group.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == group).then(|| fields.nth(1)?.parse().ok())?
        })
    })
}

/// The first free port of the range on the loopback interface.
#[cfg(any(not(unix), test))]
fn bind_port(ports: PortRange) -> io::Result<std::net::TcpListener> {
    let mut last = io::Error::new(
        io::ErrorKind::InvalidInput,
        "PLUGIN_MIN_PORT is above PLUGIN_MAX_PORT",
    );
    for port in ports.min..=ports.max {
        match std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn path_of(listener: &Listener) -> PathBuf {
        match listener.address() {
            Address::Unix(path) => path.clone(),
            Address::Tcp(address) => panic!("a port: {address}"),
        }
    }

    #[tokio::test]
    async fn socket_and_directory_are_the_owners_alone_and_go_with_the_listener() {
        let listener = Listener::bind(&SocketWish::default(), PortRange::default()).expect("a listener");
        let path = path_of(&listener);
        let dir = path.parent().expect("a directory").to_owned();
        let mode = |path: &Path| std::fs::metadata(path).expect("it exists").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&dir)), (0o600, 0o700));
        drop(listener);
        assert!(!path.exists() && !dir.exists());
    }

    #[tokio::test]
    async fn the_parents_directory_is_used_and_left_in_place() {
        let dir = std::env::temp_dir().join(unique_name());
        std::fs::create_dir(&dir).expect("a directory");
        let wish = SocketWish {
            dir: Some(dir.clone()),
            group: Some("0".to_owned()),
        };
        // Only root may hand a file to another group; to one's own it is nothing.
        if let Ok(listener) = Listener::bind(&wish, PortRange::default()) {
            let path = path_of(&listener);
            assert_eq!(path.parent(), Some(dir.as_path()));
            assert_eq!(
                std::fs::metadata(&path).expect("a socket").permissions().mode() & 0o777,
                0o660
            );
        }
        std::fs::remove_dir(&dir).expect("it is empty again");
    }

    #[test]
    fn a_group_is_found_by_name_and_number() {
        let file = "root:x:0:\nlibvirt:x:117:anna,bert\n";
        assert_eq!(group_id("libvirt", file), Some(117));
        assert_eq!(group_id("42", file), Some(42));
        assert_eq!(group_id("nobody-here", file), None);
    }

    #[test]
    fn a_taken_port_is_passed_over() {
        let first = bind_port(PortRange::default()).expect("a port");
        let taken = first.local_addr().expect("an address").port();
        let error = bind_port(PortRange {
            min: taken,
            max: taken,
        })
        .expect_err("it is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(bind_port(PortRange { min: 2, max: 1 }).is_err());
    }
}
