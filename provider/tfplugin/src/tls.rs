//! Mutual TLS as go-plugin means it: each side shows a certificate made for this one run, and each side was told
//! beforehand, out of band, which one to expect.

use std::sync::Arc;

use p521::ecdsa::signature::Verifier as _;
use p521::ecdsa::{DerSignature, VerifyingKey};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, PrivateKeyDer, PrivatePkcs8KeyDer,
    SignatureVerificationAlgorithm, UnixTime, alg_id,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, ServerConfig,
    SignatureScheme,
};

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsSetupError {
    /// The parent's certificate is not one.
    #[error("the certificate in PLUGIN_CLIENT_CERT cannot be read")]
    ClientCertificate(#[source] rustls::pki_types::pem::Error),
    /// No certificate of our own.
    #[error("making this run's certificate failed")]
    OwnCertificate(#[from] rcgen::Error),
    /// rustls refused the configuration.
    #[error("the TLS configuration was refused")]
    Configuration(#[from] TlsError),
}

/// This run's own certificate and the rules for those who connect.
pub(crate) struct Identity {
    /// Our certificate, for the handshake line.
    pub(crate) certificate: CertificateDer<'static>,
    /// What connections are accepted with.
    pub(crate) config: Arc<ServerConfig>,
}

/// Makes a certificate for this run and a configuration that lets in the holder of `client_pem` alone.
pub(crate) fn identity(client_pem: &str) -> Result<Identity, TlsSetupError> {
    let expected =
        CertificateDer::from_pem_slice(client_pem.as_bytes()).map_err(TlsSetupError::ClientCertificate)?;
    let (certificate, key) = own_certificate()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = OnlyTheParent {
        expected,
        ring: provider.signature_verification_algorithms,
    };
    let mut config = server_config(provider, Arc::new(verifier), certificate.clone(), key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // The parent connects once; tickets for later visits would be work for nobody.
    config.send_tls13_tickets = 0;
    Ok(Identity {
        certificate,
        config: Arc::new(config),
    })
}

fn own_certificate() -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?;
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "localhost");
    params.key_usages = vec![
        rcgen::KeyUsagePurpose::DigitalSignature,
        rcgen::KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok((certificate.der().clone(), key))
}

fn server_config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)
}

/// Lets in who shows exactly the certificate that the parent announced and proves to hold its key.
///
/// The certificate is compared byte by byte and never judged as one of a chain: go-plugin marks its client
/// certificate as an authority, which the usual verifiers refuse at the end of a chain.
#[derive(Debug)]
struct OnlyTheParent {
    expected: CertificateDer<'static>,
    ring: WebPkiSupportedAlgorithms,
}

impl OnlyTheParent {
    fn algorithms(&self, scheme: SignatureScheme) -> &WebPkiSupportedAlgorithms {
        if scheme == SignatureScheme::ECDSA_NISTP521_SHA512 {
            &P521_ALONE
        } else {
            &self.ring
        }
    }
}

impl ClientCertVerifier for OnlyTheParent {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        if end_entity.as_ref() == self.expected.as_ref() {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, self.algorithms(dss.scheme))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, self.algorithms(dss.scheme))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.ring.supported_schemes();
        schemes.push(SignatureScheme::ECDSA_NISTP521_SHA512);
        schemes
    }
}

/// ECDSA on P-521 with SHA-512, the one scheme that go-plugin signs with and ring lacks.
#[derive(Debug)]
struct EcdsaP521;

static P521: &[&dyn SignatureVerificationAlgorithm] = &[&EcdsaP521];
static P521_ALONE: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: P521,
    mapping: &[(SignatureScheme::ECDSA_NISTP521_SHA512, P521)],
};

impl SignatureVerificationAlgorithm for EcdsaP521 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature = DerSignature::try_from(signature).map_err(|_| InvalidSignature)?;
        key.verify(message, &signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P521
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA512
    }
}
