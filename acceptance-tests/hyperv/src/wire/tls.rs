//! TLS of the HTTPS listener: its certificate, and certificates of clients, which any may show: accounts are mapped to them later.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    DigitallySignedStruct, DistinguishedName, Error as TlsError, ServerConfig, SignatureScheme,
};

use super::config::Certificate;

/// A certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadCertificate {
    /// None could be made.
    #[error("a certificate could not be made: {0}")]
    NotMade(#[from] rcgen::Error),
    /// It is not PEM.
    #[error("the certificate or its key is not PEM: {0}")]
    Pem(#[from] tokio_rustls::rustls::pki_types::pem::Error),
    /// TLS does not take it.
    #[error("the certificate is not usable: {0}")]
    Unusable(#[from] TlsError),
}

/// What serves TLS.
pub(super) struct Tls {
    pub(super) acceptor: TlsAcceptor,
    /// The certificate, PEM: it is its own authority where it was made here.
    pub(super) pem: String,
    /// SHA-256 of it, in hexadecimal.
    pub(super) binding: Arc<str>,
}

impl Tls {
    /// With that certificate, or one made for localhost and the computer's name.
    pub(super) fn new(name: &str, given: Option<&Certificate>) -> Result<Self, BadCertificate> {
        let made;
        let certificate = match given {
            Some(given) => given,
            None => {
                let names = ["localhost", "127.0.0.1", name].map(str::to_owned);
                let pair = rcgen::generate_simple_self_signed(names)?;
                made = Certificate {
                    certificate: pair.cert.pem(),
                    key: pair.signing_key.serialize_pem(),
                };
                &made
            }
        };
        let chain = CertificateDer::pem_slice_iter(certificate.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())?;
        let leaf = chain
            .first()
            .map(|leaf| leaf.as_ref().to_vec())
            .unwrap_or_default();
        let binding: String = Sha256::digest(&leaf)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let provider = Arc::new(ring::default_provider());
        let any = Arc::new(Any {
            provider: provider.clone(),
        });
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(any)
            .with_single_cert(chain, key)?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            pem: certificate.certificate.clone(),
            binding: binding.into(),
        })
    }
}

/// Asks for a certificate and takes any, if the client has its key.
#[derive(Debug)]
struct Any {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Any {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
