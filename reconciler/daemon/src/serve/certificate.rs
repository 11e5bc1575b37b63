//! The certificate of the server. It is read again when it changes, or when SIGHUP says so: connections that are there stay,
//! those that come get the new one. What cannot be read, or does not go together (half of it is written yet), changes
//! nothing, is logged, and tried again.

use super::listen::ListenError;
use crate::config::Tls;
use std::{
    fmt,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};
use tokio::signal::unix::Signal;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
};
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// The certificate of the server.
pub(crate) struct Certificate {
    files: Tls,
    shown: RwLock<Shown>,
}

/// What is shown to who connects, and of when the files were that it was read from.
struct Shown {
    key: Arc<CertifiedKey>,
    stamps: [Option<SystemTime>; 2],
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate")
            .field(&self.files.certificate)
            .finish()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown.key))
    }
}

impl Certificate {
    /// The one in these files.
    pub(crate) fn read(files: &Tls) -> Result<Arc<Self>, ListenError> {
        Ok(Arc::new(Self {
            shown: RwLock::new(read(files)?),
            files: files.clone(),
        }))
    }

    /// What greets with it.
    pub(crate) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, ListenError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&self.files.certificate, error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn is_old(&self) -> bool {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        shown.stamps != stamps(&self.files)
    }

    fn read_again(&self) {
        match read(&self.files) {
            Ok(fresh) => {
                *self.shown.write().unwrap_or_else(PoisonError::into_inner) = fresh;
                tracing::info!(file = %self.files.certificate.display(), "the certificate was read again");
            }
            Err(error) => tracing::error!(%error, "the certificate stays as it was"),
        }
    }
}

/// Reads the certificate again whenever it changes or the signal comes. Without one the signal means nothing.
pub(crate) async fn keep_fresh(
    certificate: Option<Arc<Certificate>>,
    mut told: Signal,
    ending: CancellationToken,
) {
    loop {
        let is_told = tokio::select! {
            () = ending.cancelled() => return,
            _ = told.recv() => true,
            () = tokio::time::sleep(LOOK) => false,
        };
        let Some(certificate) = &certificate else { continue };
        if is_told || certificate.is_old() {
            certificate.read_again();
        }
    }
}

fn stamps(files: &Tls) -> [Option<SystemTime>; 2] {
    [&files.certificate, &files.key]
        .map(|path| std::fs::metadata(path).and_then(|found| found.modified()).ok())
}

fn wrong(path: &Path, why: String) -> ListenError {
    ListenError::Certificate {
        path: path.display().to_string(),
        why,
    }
}

fn read(files: &Tls) -> Result<Shown, ListenError> {
    // Before they are read: what changes meanwhile is seen as newer.
    let stamps = stamps(files);
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(&files.certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(
            &files.certificate,
            "it holds no certificate in PEM form".to_owned(),
        ));
    }
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key, error.to_string()))?;
    let key = CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|error| wrong(&files.certificate, error.to_string()))?;
    Ok(Shown {
        key: Arc::new(key),
        stamps,
    })
}
