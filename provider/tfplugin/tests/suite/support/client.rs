//! A gRPC client that is not go-plugin, with the certificates that go-plugin would have.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use p521::ecdsa::signature::Signer as _;
use prost::Message;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{ClientConfig, RootCertStore, SignatureAlgorithm, SignatureScheme};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response, Uri, uri::PathAndQuery};
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

/// A client's certificate and what it signs with.
#[derive(Clone, Debug)]
pub(crate) struct ClientCertificate {
    pub(crate) pem: String,
    key: Arc<CertifiedKey>,
}

impl ClientCertificate {
    /// As go-plugin makes one: ECDSA on P-521, marked as an authority.
    pub(crate) fn p521() -> Self {
        Self::p521_signed_by(7)
    }

    /// The same certificate in the hands of one who has not its key.
    pub(crate) fn stolen() -> Self {
        Self::p521_signed_by(8)
    }

    fn p521_signed_by(scalar: u8) -> Self {
        let mut secret = [scalar; 66];
        secret[0] = 0;
        let key = p521::ecdsa::SigningKey::from_slice(&secret).expect("a key");
        Self::new(
            include_str!("../fixtures/p521_client.pem").to_owned(),
            Arc::new(P521(key)),
        )
    }

    /// Another client's: a good certificate, but not the parent's.
    pub(crate) fn intruder() -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        let der = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let pem = pem_of(certificate.der());
        Self::new(
            pem,
            rustls::crypto::ring::sign::any_supported_type(&der).expect("a signer"),
        )
    }

    fn new(pem: String, key: Arc<dyn SigningKey>) -> Self {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
        Self {
            pem,
            key: Arc::new(CertifiedKey::new(vec![der], key)),
        }
    }
}

fn pem_of(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

impl ResolvesClientCert for ClientCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.key.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Signs on P-521, which ring cannot.
#[derive(Clone)]
struct P521(p521::ecdsa::SigningKey);

impl std::fmt::Debug for P521 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("P521")
    }
}

impl SigningKey for P521 {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ECDSA_NISTP521_SHA512)
            .then(|| Box::new(self.clone()) as _)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for P521 {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let signature: p521::ecdsa::Signature = self.0.sign(message);
        Ok(signature.to_der().as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP521_SHA512
    }
}

/// A connection to a provider.
#[derive(Clone)]
pub(crate) struct Client {
    connection: Connection,
}

impl Client {
    /// Connects; with the server's certificate by TLS, without by plaintext.
    pub(crate) async fn connect(
        socket: &Path,
        server: Option<Vec<u8>>,
        with: Option<&ClientCertificate>,
    ) -> io::Result<Self> {
        let stream = UnixStream::connect(socket).await?;
        let Some(server) = server else {
            return Self::over(stream).await;
        };
        let connector = TlsConnector::from(Arc::new(tls_config(server, with)));
        let name = "localhost".try_into().expect("a name");
        Self::over(connector.connect(name, stream).await?).await
    }

    async fn over(stream: impl crate::support::client::Io) -> io::Result<Self> {
        let (requests, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self {
            connection: Connection(requests),
        })
    }

    /// One call of `/service/method`.
    pub(crate) async fn call<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let codec = ProstCodec::<Q, A>::default();
        let path = PathAndQuery::from_static(path);
        let answer = self
            .grpc()
            .unary(tonic::Request::new(request), path, codec)
            .await?;
        Ok(answer.into_inner())
    }

    /// One call whose answers are a stream.
    pub(crate) async fn stream<Q, A>(&self, path: &'static str, request: Q) -> Result<Streaming<A>, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let codec = ProstCodec::<Q, A>::default();
        let path = PathAndQuery::from_static(path);
        let answer = self
            .grpc()
            .server_streaming(tonic::Request::new(request), path, codec)
            .await?;
        Ok(answer.into_inner())
    }

    fn grpc(&self) -> tonic::client::Grpc<Connection> {
        tonic::client::Grpc::with_origin(self.connection.clone(), Uri::from_static("http://localhost"))
            .max_decoding_message_size(256 << 20)
            .max_encoding_message_size(256 << 20)
    }
}

/// What a connection runs over.
pub(crate) trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static> Io for T {}

fn tls_config(server: Vec<u8>, with: Option<&ClientCertificate>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(server))
        .expect("the server's certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_root_certificates(roots);
    let mut config = match with {
        Some(certificate) => config.with_client_cert_resolver(Arc::new(certificate.clone())),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// hyper's connection as the service that tonic's client wants.
#[derive(Clone)]
struct Connection(SendRequest<Body>);

impl Service<Request<Body>> for Connection {
    type Response = Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
