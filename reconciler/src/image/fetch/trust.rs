//! Which servers are believed: the system's certificates, Mozilla's, and those of the configuration.
//!
//! The system's are read as files (`SSL_CERT_FILE`, `SSL_CERT_DIR`, or the usual bundle), so that an operator's
//! own authority counts. Mozilla's come with the program: in an empty container there is nothing to read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// TLS as a client that shows no certificate of its own.
pub(super) fn client_config(extra: &[PathBuf]) -> Result<Arc<ClientConfig>, String> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots(extra)?)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn roots(extra: &[PathBuf]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "a trusted certificate of this computer could not be read");
    }
    // System stores hold odd old certificates that rustls refuses; the rest of the store is good.
    roots.add_parsable_certificates(system.certs);
    for path in extra {
        for certificate in certificates(path)? {
            roots
                .add(certificate)
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(roots)
}

/// What the configuration names must be readable, unlike what the system happens to hold.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    match read() {
        Ok(found) if found.is_empty() => Err(format!("{} holds no certificate in PEM form", path.display())),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_bundle_that_cannot_be_used_is_an_error_with_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let empty = directory.path().join("empty.pem");
        std::fs::write(&empty, "no certificate").unwrap();
        for path in [empty, directory.path().join("missing.pem")] {
            let error = client_config(std::slice::from_ref(&path)).unwrap_err();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }
}
