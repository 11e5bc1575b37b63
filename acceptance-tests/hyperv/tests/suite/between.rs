//! Somebody in between: TLS that ends elsewhere, with a certificate of his own that the client trusts. A login that is bound to
//! the one certificate is not good for the other.

use std::net::SocketAddr;
use std::sync::Arc;

use labyard_hyperv_double::wire::{Hardening, Server};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use wsman::http::{Account, Http, Login, Settings, Trust};
use wsman::{Client, Error, Namespace};

use crate::raw::{PASSWORD, USER, with};

/// A relay in front of a server: where it is, and what trusts it.
async fn relay(server: &Server) -> (SocketAddr, String) {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    let theirs = CertificateDer::from_pem_slice(server.certificate().unwrap().as_bytes()).unwrap();
    roots.add(theirs).unwrap();
    let onward = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let inward = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .unwrap();
    let (inward, onward) = (
        TlsAcceptor::from(Arc::new(inward)),
        TlsConnector::from(Arc::new(onward)),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, target) = (listener.local_addr().unwrap(), server.https().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (inward, onward) = (inward.clone(), onward.clone());
            tokio::spawn(async move {
                let mut here = inward.accept(stream).await?;
                let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
                let mut there = onward.connect(name, TcpStream::connect(target).await?).await?;
                tokio::io::copy_bidirectional(&mut here, &mut there).await
            });
        }
    });
    (address, pair.cert.pem())
}

async fn asked(address: SocketAddr, authority: String) -> Result<usize, Error> {
    let endpoint = format!("https://localhost:{}", address.port()).parse().unwrap();
    let login = Login::Negotiate(Account::new(format!(r"HV7\{USER}"), PASSWORD));
    let mut settings = Settings::new(endpoint, login);
    settings.tls.trust = Trust::Authority(authority.into_bytes());
    let client = Client::new(Arc::new(Http::new(settings).unwrap()), wsman::Settings::default());
    let query = "SELECT * FROM Msvm_ComputerSystem";
    client
        .query(Namespace("root/virtualization/v2"), query)
        .await
        .map(|rows| rows.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_bound_to_another_certificate_is_refused() {
    for (hardening, let_in) in [
        (Hardening::None, true),
        (Hardening::Relaxed, false),
        (Hardening::Strict, false),
    ] {
        let server = with(1, |config| config.hardening = hardening).await;
        let (address, authority) = relay(&server).await;
        let answer = asked(address, authority).await;
        assert_eq!(answer.is_ok(), let_in, "{hardening:?}: {answer:?}");
        assert_eq!(server.log().len(), usize::from(let_in));
    }
}
