//! The way to a server over HTTP: a connection a call, with TLS where the endpoint says `https`.
//!
//! Believed are the system's certificates (or those of `SSL_CERT_FILE`, `SSL_CERT_DIR`), Mozilla's, and those that a
//! program names besides.

use super::{BodyError, ClientError, Got, Sent, Transport};
use async_trait::async_trait;
use http_body_util::BodyExt as _;
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use labyard_resolve::Resolver;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};
use url::Url;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(15);

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A server.
pub struct Http {
    endpoint: Url,
    resolver: Resolver,
    authorities: Vec<CertificateDer<'static>>,
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Http {
    /// The server at an endpoint: `https://host[:port]`, or `http://` on this computer.
    ///
    /// # Errors
    /// If it is no such URL.
    pub fn new(endpoint: &str) -> Result<Self, ClientError> {
        let refused = |why: &str| ClientError::Endpoint {
            given: endpoint.to_owned(),
            why: why.to_owned(),
        };
        let url = Url::parse(endpoint).map_err(|error| refused(&error.to_string()))?;
        match url.scheme() {
            "https" => {}
            "http" if is_here(&url) => {}
            "http" => {
                return Err(refused(
                    "a token in plain text is for this computer alone: use https",
                ));
            }
            _ => return Err(refused("it is neither https nor http")),
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || !url.username().is_empty() {
            return Err(refused("it has more than a host and a port"));
        }
        Ok(Self {
            endpoint: url,
            resolver: Resolver::default(),
            authorities: Vec::new(),
            tls: OnceLock::new(),
        })
    }

    /// The same server, whose certificate is believed of these authorities too, PEM.
    ///
    /// # Errors
    /// If there is no certificate in it.
    pub fn trusting(mut self, pem: &[u8]) -> Result<Self, String> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        self.authorities = read.map_err(|error| error.to_string())?;
        match self.authorities.is_empty() {
            true => Err("there is no certificate in it".to_owned()),
            false => Ok(self),
        }
    }

    async fn dial(&self) -> Result<Box<dyn Io>, String> {
        let host = self.endpoint.host_str().ok_or("it names no host")?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = self.endpoint.port_or_known_default().unwrap_or(7443);
        let addresses = match bare.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => self.resolver.lookup(bare, port).await?,
        };
        let mut why = format!("{bare} has no address");
        for address in addresses {
            let stream = match TcpStream::connect(address).await {
                Ok(stream) => stream,
                Err(error) => {
                    why = format!("{address}: {error}");
                    continue;
                }
            };
            if self.endpoint.scheme() == "http" {
                return Ok(Box::new(stream));
            }
            let config = self.tls.get_or_init(|| client_config(&self.authorities));
            let config = config.clone()?;
            let name = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
            let stream = TlsConnector::from(config).connect(name, stream).await;
            return Ok(Box::new(stream.map_err(|error| error.to_string())?));
        }
        Err(why)
    }

    fn shown(&self) -> String {
        self.endpoint.origin().ascii_serialization()
    }
}

fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn client_config(more: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(more.iter().cloned());
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

impl Http {
    fn broken(&self, error: &hyper::Error) -> ClientError {
        ClientError::Broken {
            endpoint: self.shown(),
            why: error.to_string(),
        }
    }

    /// A connection, and the request as that server takes it.
    async fn connected(
        &self,
        mut request: Request<Sent>,
    ) -> Result<(Box<dyn Io>, Request<Sent>), ClientError> {
        let unreachable = |why: String| ClientError::Unreachable {
            endpoint: self.shown(),
            why,
        };
        let io = match tokio::time::timeout(CONNECT, self.dial()).await {
            Ok(dialled) => dialled.map_err(unreachable)?,
            Err(_) => {
                return Err(unreachable(format!(
                    "no connection within {} s",
                    CONNECT.as_secs()
                )));
            }
        };
        let host = self.endpoint[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
        if let Ok(host) = host.parse() {
            request.headers_mut().insert(header::HOST, host);
        }
        Ok((io, request))
    }
}

#[async_trait]
impl Transport for Http {
    async fn call(&self, request: Request<Sent>) -> Result<Got, ClientError> {
        let (io, request) = self.connected(request).await?;
        let broken = |error: hyper::Error| self.broken(&error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(broken)?;
        // It lives as long as the answer is read; its own end says nothing more.
        tokio::spawn(async move { drop(connection.await) });
        let answer = sender.send_request(request).await.map_err(broken)?;
        Ok(answer.map(|body| body.map_err(|error| Box::new(error) as BodyError).boxed_unsync()))
    }

    #[cfg(feature = "console")]
    async fn switch(&self, request: Request<Sent>) -> Result<super::console::Switched, ClientError> {
        let (io, request) = self.connected(request).await?;
        let switched = super::console::switched(io, request).await;
        switched.map_err(|error| self.broken(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_https_or_this_computer() {
        for good in [
            "https://labyard.example:7443",
            "http://127.0.0.1:7443/",
            "http://[::1]:7443",
            "http://localhost",
        ] {
            assert!(Http::new(good).is_ok(), "{good}");
        }
        for bad in [
            "http://labyard.example",
            "labyard.example",
            "https://h/v1",
            "ftp://h",
            "https://u:p@h",
        ] {
            assert!(Http::new(bad).is_err(), "{bad}");
        }
    }
}
