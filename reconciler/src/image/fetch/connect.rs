//! A connection to the server of a URL: its address, TCP, a proxy where the environment names one, TLS.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, select_ok};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use labyard_resolve::Resolver;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig};
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::trust::client_config;
use super::{Fault, with_causes};
use crate::image::error::ConnectStage;
use crate::image::open::Proxies;
use crate::image::reach::Reach;

/// An address that does not answer holds the next one up only so long (RFC 8305 proposes this value).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Something that bytes go through both ways.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}
/// A connection, whatever it is made of.
pub(super) type BoxIo = Box<dyn Io>;

/// Whom the request is spoken to.
pub(super) enum Via {
    /// The server itself, perhaps through a tunnel.
    Origin,
    /// A proxy that forwards plain HTTP, with credentials for it.
    Forwarder(Option<HeaderValue>),
}

/// An open connection.
pub(super) struct Connected {
    pub(super) io: BoxIo,
    pub(super) via: Via,
}

/// Makes connections; what the computer tells about itself is read when first needed.
#[derive(Debug)]
pub(super) struct Connector {
    proxies: Option<Matcher>,
    extra_certificates: Vec<PathBuf>,
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
    resolver: Resolver,
    reach: Reach,
}

impl Connector {
    pub(super) fn new(proxies: Proxies, extra_certificates: Vec<PathBuf>) -> Self {
        let proxies = match proxies {
            Proxies::Environment => Some(Matcher::from_env()),
            Proxies::Off => None,
        };
        Self::through(proxies, extra_certificates)
    }

    fn through(proxies: Option<Matcher>, extra_certificates: Vec<PathBuf>) -> Self {
        Self {
            proxies,
            extra_certificates,
            tls: OnceLock::new(),
            resolver: Resolver::default(),
            reach: Reach::Everything,
        }
    }

    /// The same, calling only what may be called.
    pub(super) fn within(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    pub(super) async fn connect(&self, url: &Url) -> Result<Connected, Fault> {
        let secure = url.scheme() == "https";
        // Where a proxy looks names up, what is reached is its operator's word; an address in writing is judged here.
        self.reach.allows_url(url).map_err(Fault::OutOfReach)?;
        let (io, via) = match self.proxy_for(url) {
            None => {
                let host = host_of(url)?;
                let addresses = self.addresses(host, port_of(url)).await?;
                // These very addresses are connected to: the name is not looked up again.
                for address in &addresses {
                    self.reach.allows_address(host, address.ip())?;
                }
                (dial(host, addresses).await?, Via::Origin)
            }
            Some(proxy) if secure => {
                let io = self.dial_proxy(&proxy).await?;
                (tunnel(io, url, proxy.basic_auth()).await?, Via::Origin)
            }
            Some(proxy) => (
                self.dial_proxy(&proxy).await?,
                Via::Forwarder(proxy.basic_auth().cloned()),
            ),
        };
        let io = if secure {
            self.secure(io, host_of(url)?).await?
        } else {
            io
        };
        Ok(Connected { io, via })
    }

    fn proxy_for(&self, url: &Url) -> Option<Intercept> {
        let uri: Uri = url.as_str().parse().ok()?;
        self.proxies.as_ref()?.intercept(&uri)
    }

    async fn dial_proxy(&self, proxy: &Intercept) -> Result<BoxIo, Fault> {
        let uri = proxy.uri();
        let default_port = match uri.scheme_str() {
            Some("https") => 443,
            None | Some("http") => 80,
            Some(other) => {
                return Err(failed(
                    ConnectStage::Proxy,
                    format!("{other} proxies are not supported"),
                ));
            }
        };
        let host = uri.host().unwrap_or_default();
        let addresses = self
            .addresses(host, uri.port_u16().unwrap_or(default_port))
            .await?;
        let io = dial(host, addresses).await?;
        if default_port == 443 {
            self.secure(io, host).await
        } else {
            Ok(io)
        }
    }

    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Fault> {
        if let Ok(address) = bare(host).parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let found = self.resolver.lookup(host, port).await;
        found.map_err(|error| failed(ConnectStage::Resolve, format!("{host}: {error}")))
    }

    async fn secure(&self, io: BoxIo, host: &str) -> Result<BoxIo, Fault> {
        let config = self
            .tls
            .get_or_init(|| client_config(&self.extra_certificates))
            .clone();
        let config = config.map_err(|error| failed(ConnectStage::Trust, error))?;
        let name = ServerName::try_from(bare(host).to_owned())
            .map_err(|error| failed(ConnectStage::Tls, format!("{host}: {error}")))?;
        let stream = TlsConnector::from(config).connect(name, io).await;
        Ok(Box::new(stream.map_err(|error| {
            failed(ConnectStage::Tls, format!("{host}: {}", explained(&error)))
        })?))
    }
}

/// A connection to the first of these addresses that answers.
async fn dial(host: &str, addresses: Vec<SocketAddr>) -> Result<BoxIo, Fault> {
    if addresses.is_empty() {
        return Err(failed(ConnectStage::Resolve, format!("{host} has no address")));
    }
    let attempts: Vec<_> = addresses
        .into_iter()
        .zip(0u32..)
        .map(|(address, nth)| attempt(address, NEXT_ADDRESS_AFTER * nth))
        .collect();
    let (stream, _) = select_ok(attempts)
        .await
        .map_err(|(address, error)| failed(ConnectStage::Connect, format!("{host} ({address}): {error}")))?;
    Ok(Box::new(stream))
}

/// One attempt, boxed with its own bounds: what stands behind a closure's return is not seen to be Send.
fn attempt(
    address: SocketAddr,
    after: Duration,
) -> BoxFuture<'static, Result<TcpStream, (SocketAddr, std::io::Error)>> {
    Box::pin(async move {
        tokio::time::sleep(after).await;
        TcpStream::connect(address)
            .await
            .map_err(|error| (address, error))
    })
}

fn failed(stage: ConnectStage, reason: String) -> Fault {
    Fault::Connect { stage, reason }
}

fn host_of(url: &Url) -> Result<&str, Fault> {
    url.host_str()
        .ok_or_else(|| failed(ConnectStage::Resolve, "the URL names no server".to_owned()))
}

fn port_of(url: &Url) -> u16 {
    url.port_or_known_default().unwrap_or(443)
}

/// What rustls says of a certificate is for its developers; two cases are the everyday ones of a private authority.
fn explained(error: &std::io::Error) -> String {
    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            "its certificate is signed by nobody who is trusted here; name the authority's certificate in \
             SSL_CERT_FILE or add it to the system's"
                .to_owned()
        }
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)))
            if other.to_string().contains("CaUsedAsEndEntity") =>
        {
            "its certificate is marked as an authority's (CA:TRUE) and cannot be a server's; make one with \
             basicConstraints CA:FALSE"
                .to_owned()
        }
        _ => with_causes(error),
    }
}

/// An IPv6 address as it stands in a URL has brackets around it.
fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// Asks a proxy to pass bytes on to the server of `url`.
async fn tunnel(io: BoxIo, url: &Url, credentials: Option<&HeaderValue>) -> Result<BoxIo, Fault> {
    let refused = |reason: String| failed(ConnectStage::Proxy, reason);
    let authority = format!("{}:{}", host_of(url)?, port_of(url));
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(&authority)
        .header(header::HOST, &authority);
    if let Some(credentials) = credentials {
        request = request.header(header::PROXY_AUTHORIZATION, credentials);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| refused(error.to_string()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(io))
        .await
        .map_err(|error| refused(with_causes(&error)))?;
    // The connection ends by handing its stream to the upgrade; its own result says nothing more.
    let _driver = AbortOnDropHandle::new(tokio::spawn(
        async move { drop(connection.with_upgrades().await) },
    ));
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| refused(with_causes(&error)))?;
    if !answer.status().is_success() {
        return Err(refused(format!(
            "it answered {} to CONNECT {authority}",
            answer.status()
        )));
    }
    let upgraded = hyper::upgrade::on(answer)
        .await
        .map_err(|error| refused(with_causes(&error)))?;
    Ok(Box::new(TokioIo::new(upgraded)))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
    use tokio::net::TcpListener;

    use super::*;
    use crate::image::testing::{ok, serve, serve_tls};

    fn through(proxy: SocketAddr, certificates: Vec<PathBuf>) -> Connector {
        let matcher = Matcher::builder().all(format!("http://user:pw@{proxy}")).build();
        Connector::through(Some(matcher), certificates)
    }

    /// A proxy that tunnels one connection to whatever CONNECT names, and keeps the request's head.
    async fn tunnelling_proxy(answer: &'static str) -> (SocketAddr, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            client.write_all(answer.as_bytes()).await.unwrap();
            let target = head.split_whitespace().nth(1).unwrap().to_owned();
            if answer.contains(" 200 ") {
                let mut server = TcpStream::connect(target).await.unwrap();
                // The test ends the connection; how is of no interest.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
            head
        });
        (address, task)
    }

    #[tokio::test]
    async fn https_goes_through_a_tunnel_and_is_encrypted_to_the_server_itself() {
        let (server, pem) = serve_tls(|_| ok(2, b"hi")).await;
        let directory = tempfile::tempdir().unwrap();
        let bundle = directory.path().join("ca.pem");
        std::fs::write(&bundle, pem).unwrap();
        let (proxy, asked) = tunnelling_proxy("HTTP/1.1 200 Connected\r\n\r\n").await;
        let url = Url::parse(&format!("https://localhost:{}/x", server.address.port())).unwrap();
        let mut connected = through(proxy, vec![bundle]).connect(&url).await.unwrap();
        assert!(matches!(connected.via, Via::Origin));
        connected.io.write_all(b"GET /x HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        connected.io.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("hi"), "{answer}");
        drop(connected);
        let head = asked.await.unwrap();
        assert!(
            head.starts_with(&format!("CONNECT localhost:{} ", server.address.port())),
            "{head}"
        );
        assert!(head.contains("dXNlcjpwdw=="), "{head}");
    }

    #[tokio::test]
    async fn a_proxy_that_refuses_the_tunnel_is_named_as_the_cause() {
        let (proxy, _asked) = tunnelling_proxy("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
        let url = Url::parse("https://images.example/x").unwrap();
        let Err(fault) = through(proxy, Vec::new()).connect(&url).await else {
            panic!("connected")
        };
        assert!(
            matches!(
                fault,
                Fault::Connect {
                    stage: ConnectStage::Proxy,
                    ..
                }
            ),
            "{fault}"
        );
        assert!(fault.to_string().contains("403"), "{fault}");
    }

    #[tokio::test]
    async fn plain_http_is_asked_of_the_proxy_with_its_credentials() {
        let proxy = serve(|_| ok(2, b"hi")).await;
        let url = Url::parse("http://images.example/x").unwrap();
        let connected = through(proxy.address, Vec::new()).connect(&url).await.unwrap();
        let Via::Forwarder(Some(credentials)) = connected.via else {
            panic!("not by the proxy")
        };
        assert_eq!(credentials, "Basic dXNlcjpwdw==");
    }
}
