//! A server for tests that says, byte for byte, what a test wants it to say.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{CertificateParams, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// What the server does after it has read a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Sends these bytes and closes.
    Bytes(Vec<u8>),
    /// Sends these bytes and stays silent with the connection open.
    ThenSilence(Vec<u8>),
}

/// A head with these header lines, and a body.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Reply {
    let head = format!("HTTP/1.1 {status}\r\n{headers}\r\n");
    Reply::Bytes([head.as_bytes(), body].concat())
}

/// 200 with Content-Length.
pub(crate) fn ok(promised: usize, body: &[u8]) -> Reply {
    answer("200 OK", &format!("Content-Length: {promised}\r\n"), body)
}

/// A running server; it ends with this value.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers each request, given by its head, as `script` says.
pub(crate) async fn serve(script: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Server {
    start(None, Arc::new(script)).await
}

/// The same over TLS, with a certificate for localhost that signs itself, returned as PEM.
pub(crate) async fn serve_tls(script: impl Fn(&str) -> Reply + Send + Sync + 'static) -> (Server, String) {
    serve_tls_with(IsCa::NoCa, script).await
}

/// The same with a certificate that may be marked as an authority's.
pub(crate) async fn serve_tls_with(
    is_ca: IsCa,
    script: impl Fn(&str) -> Reply + Send + Sync + 'static,
) -> (Server, String) {
    let signing_key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.is_ca = is_ca;
    let cert = parameters.self_signed(&signing_key).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (
        start(Some(TlsAcceptor::from(Arc::new(config))), Arc::new(script)).await,
        cert.pem(),
    )
}

async fn start(tls: Option<TlsAcceptor>, script: Arc<dyn Fn(&str) -> Reply + Send + Sync>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (tls, script, counter) = (tls.clone(), Arc::clone(&script), Arc::clone(&counter));
            tokio::spawn(async move {
                // Clients of tests come and go as they like; what matters is asserted on their side.
                let _ = match tls {
                    None => converse(stream, &*script, &counter).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => converse(stream, &*script, &counter).await,
                        Err(error) => Err(error),
                    },
                };
            });
        }
    });
    Server {
        address,
        requests,
        task,
    }
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: &(dyn Fn(&str) -> Reply + Send + Sync),
    counter: &AtomicUsize,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    counter.fetch_add(1, Ordering::SeqCst);
    match script(&String::from_utf8_lossy(&head)) {
        Reply::Bytes(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await
        }
        Reply::ThenSilence(bytes) => {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            std::future::pending().await
        }
    }
}
