//! TLS to a service: its certificate by a CA that is trusted, or by its fingerprint.

use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls;
use zeroize::Zeroizing;

use super::Stream;
use super::endpoint::Endpoint;
use crate::trouble::{TlsTrouble, Trouble};

/// Whom to trust, and what to show.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Whom to trust.
    pub trust: Trust,
    /// What to show.
    pub certificate: Option<ClientCertificate>,
}

/// Whom to trust.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// The CAs that this computer trusts.
    #[default]
    System,
    /// These CAs, in PEM, and no others.
    Authority(Vec<u8>),
    /// Whoever shows this certificate, whatever name and time it has.
    Pinned(Fingerprint),
}

/// A client's certificate with its key.
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate and those that lead to its CA, in PEM.
    pub chain: Vec<u8>,
    /// Its key, in PEM.
    pub key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

/// The SHA-256 of a certificate.
///
/// ```
/// # use wsman::http::Fingerprint;
/// let written = "0f".repeat(32);
/// let fingerprint: Fingerprint = written.parse().unwrap();
/// assert!(fingerprint.to_string().starts_with("0F:0F:"));
/// assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// Text that is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 fingerprint has 64 hexadecimal digits, in pairs with colons between them or without")]
pub struct NoFingerprint;

impl Fingerprint {
    /// That of a certificate.
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (nth, byte) in self.0.iter().enumerate() {
            let colon = if nth == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = NoFingerprint;

    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let digits: Vec<u32> = text
            .chars()
            .filter(|c| !matches!(c, ':' | ' '))
            .map(|c| c.to_digit(16).ok_or(NoFingerprint))
            .collect::<Result<_, _>>()?;
        let bytes: Vec<u8> = digits
            .chunks_exact(2)
            .filter_map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok())
            .collect();
        match (digits.len(), bytes.try_into()) {
            (64, Ok(bytes)) => Ok(Self(bytes)),
            _ => Err(NoFingerprint),
        }
    }
}

impl Tls {
    pub(super) fn connector(&self) -> Result<TlsConnector, TlsTrouble> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let checks = match &self.trust {
            Trust::Pinned(fingerprint) => Checks::Fingerprint(*fingerprint),
            Trust::System => {
                let found = rustls_native_certs::load_native_certs();
                by_roots(
                    found.certs,
                    &provider,
                    "this computer trusts no CA that can be read",
                )?
            }
            Trust::Authority(pem) => {
                let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
                let found =
                    found.map_err(|error| TlsTrouble::Settings(format!("the CA cannot be read: {error}")))?;
                by_roots(found, &provider, "what is given as CA holds no certificate")?
            }
        };
        let settings = |error: rustls::Error| TlsTrouble::Settings(error.to_string());
        let verifier = Arc::new(Verifier {
            checks,
            provider: provider.clone(),
        });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(settings)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let (chain, key) = certificate.read()?;
                builder.with_client_auth_cert(chain, key).map_err(settings)?
            }
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

impl ClientCertificate {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsTrouble> {
        let chain = CertificateDer::pem_slice_iter(&self.chain).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| {
            TlsTrouble::Settings(format!("the client certificate cannot be read: {error}"))
        })?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| {
            TlsTrouble::Settings(format!(
                "the key of the client certificate cannot be read: {error}"
            ))
        })?;
        Ok((chain, key))
    }
}

fn by_roots(
    certificates: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
    none: &str,
) -> Result<Checks, TlsTrouble> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(TlsTrouble::Settings(none.to_owned()));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let verifier = verifier.map_err(|error| TlsTrouble::Settings(error.to_string()))?;
    Ok(Checks::Authority(verifier))
}

#[derive(Debug)]
enum Checks {
    Authority(Arc<WebPkiServerVerifier>),
    Fingerprint(Fingerprint),
}

/// Says in words what is wrong with a certificate, while it is at hand.
#[derive(Debug)]
struct Verifier {
    checks: Checks,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = Fingerprint::of(end_entity);
        let trouble = match &self.checks {
            Checks::Fingerprint(pinned) if *pinned == found => return Ok(ServerCertVerified::assertion()),
            Checks::Fingerprint(pinned) => TlsTrouble::OtherCertificate {
                pinned: pinned.to_string(),
                found: found.to_string(),
            },
            Checks::Authority(verifier) => {
                let verified =
                    verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
                match verified {
                    Ok(verified) => return Ok(verified),
                    Err(rustls::Error::InvalidCertificate(error)) => of_certificate(&error, found),
                    Err(error) => TlsTrouble::Certificate(error.to_string()),
                }
            }
        };
        let other = OtherError(Arc::new(trouble));
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(other)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn of_certificate(error: &CertificateError, found: Fingerprint) -> TlsTrouble {
    match error {
        // A signature that is wrong is by another CA of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsTrouble::UnknownIssuer {
            fingerprint: found.to_string(),
        },
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TlsTrouble::OutOfTime,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsTrouble::WrongName
        }
        other => TlsTrouble::Certificate(other.to_string()),
    }
}

/// The stream, and the certificate that was shown.
pub(super) async fn handshake(
    connector: &TlsConnector,
    endpoint: &Endpoint,
    stream: Box<dyn Stream>,
) -> Result<(Box<dyn Stream>, Option<CertificateDer<'static>>), Trouble> {
    let trouble = |why| Trouble::Tls {
        place: endpoint.place(),
        why,
    };
    let name = ServerName::try_from(endpoint.host.clone()).map_err(|_| {
        trouble(TlsTrouble::Settings(
            "its name is neither a DNS name nor an address".to_owned(),
        ))
    })?;
    let stream = connector.connect(name, stream).await;
    let stream = stream.map_err(|error| trouble(told(&error)))?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|all| all.first());
    let shown = shown.map(|certificate| certificate.clone().into_owned());
    Ok((Box::new(stream), shown))
}

fn told(error: &io::Error) -> TlsTrouble {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) = inner
        && let Some(trouble) = other.downcast_ref::<TlsTrouble>()
    {
        return trouble.clone();
    }
    TlsTrouble::Handshake(error.to_string())
}
