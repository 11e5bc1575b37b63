//! Where the parent connects: a Unix socket, or a port of the loopback interface where there are none.

#[cfg(any(not(unix), test))]
mod tcp;
#[cfg(unix)]
mod unix;

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::handshake::{Address, PortRange, SocketWish};

/// A connection, whatever carries it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A listening socket; what it left on disk goes when it is dropped.
pub(crate) struct Listener {
    inner: Inner,
    address: Address,
    #[cfg(unix)]
    _files: unix::SocketFiles,
}

enum Inner {
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
    #[cfg(not(unix))]
    Tcp(tokio::net::TcpListener),
}

impl Listener {
    /// Listens where the parent wants it. Must be called inside a tokio runtime.
    #[cfg(unix)]
    pub(crate) fn bind(socket: &SocketWish, _ports: PortRange) -> io::Result<Self> {
        let files = unix::SocketFiles::make(socket.dir.as_deref())?;
        let inner = tokio::net::UnixListener::bind(&files.socket)?;
        unix::permit(&files, socket.group.as_deref())?;
        Ok(Self {
            inner: Inner::Unix(inner),
            address: Address::Unix(files.socket.clone()),
            _files: files,
        })
    }

    /// Listens where the parent wants it. Must be called inside a tokio runtime.
    #[cfg(not(unix))]
    pub(crate) fn bind(_socket: &SocketWish, ports: PortRange) -> io::Result<Self> {
        let listener = tcp::bind_port(ports)?;
        listener.set_nonblocking(true)?;
        let address = Address::Tcp(listener.local_addr()?);
        let inner = Inner::Tcp(tokio::net::TcpListener::from_std(listener)?);
        Ok(Self { inner, address })
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
            #[cfg(not(unix))]
            Inner::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};

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
        let dir = std::env::temp_dir().join(unix::unique_name());
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
}
