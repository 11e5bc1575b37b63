//! libvirt over TLS: certificates at the places where libvirt's own clients look, both sides verified.
//!
//! After the handshake the daemon sends one byte: 1 when it lets the client's certificate in. What it does not let in
//! it hangs up on.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use tokio_rustls::rustls;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{ConnectError, Duplex, Transport, dial, stage};
use crate::uri::TlsHost;

/// The byte by which the daemon lets the client's certificate in.
const WELCOME: u8 = 1;

/// Why TLS did not come about.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// No CA certificate is at any of its places.
    #[error(
        "there is no CA certificate to verify the host by (looked at {looked}): copy the host's \
         /etc/pki/CA/cacert.pem to one of these places"
    )]
    NoAuthority {
        /// The places.
        looked: String,
    },
    /// A certificate is there without its key, or the other way round.
    #[error("{found} is there and {missing} is not: both are needed")]
    HalfAPair {
        /// What is there.
        found: PathBuf,
        /// What is not.
        missing: PathBuf,
    },
    /// A file cannot be used.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The host's certificate is not by this CA.
    #[error(
        "the certificate of {place} is not signed by the CA in {authority}: copy the host's /etc/pki/CA/cacert.pem \
         there, after comparing both with `certtool -i --infile cacert.pem`"
    )]
    UnknownIssuer {
        /// Host and port.
        place: String,
        /// The file with the CA.
        authority: PathBuf,
    },
    /// The host's certificate is out of its time.
    #[error(
        "the certificate of {place} {when}: make a new one on the host (its /etc/pki/libvirt/servercert.pem) and \
         restart libvirt there, or set the clock right"
    )]
    OutOfTime {
        /// Host and port.
        place: String,
        /// `has expired` or `is not valid yet`, and by how much.
        when: String,
    },
    /// The host's certificate is on the list of its CA.
    #[error(
        "the certificate of {place} was revoked by its CA, says {list}: whoever has its key may not be the host any \
         more. Make a new one on the host (its /etc/pki/libvirt/servercert.pem, with a new key) and restart libvirt \
         there"
    )]
    Revoked {
        /// Host and port.
        place: String,
        /// The file with the list.
        list: PathBuf,
    },
    /// The host's certificate is for another name.
    #[error(
        "the certificate of {place} is not for this name{}: use a name that is in it, or make one on the host with \
         `dns_name = {}` in certtool's template (or ip_address; the name in cn alone does not count)",
        named(.names), host_of(.place)
    )]
    WrongName {
        /// Host and port.
        place: String,
        /// The names that it is for, where they can be told.
        names: Vec<String>,
    },
    /// The host's certificate cannot be accepted for another reason.
    #[error("the certificate of {place} is refused: {reason}")]
    Certificate {
        /// Host and port.
        place: String,
        /// Why.
        reason: String,
    },
    /// The host did not let the client's certificate in.
    #[error(
        "{place} does not let {} in{}. {}",
        shown(.certificate), because(.reason), client_advice(.certificate, .fault)
    )]
    ClientRefused {
        /// Host and port.
        place: String,
        /// The certificate that was shown.
        certificate: Option<PathBuf>,
        /// What the host said.
        reason: Option<String>,
        /// What is wrong with the certificate, as far as it can be seen from here.
        fault: Option<String>,
    },
    /// The handshake failed for another reason.
    #[error("{place} does not complete the TLS handshake: {reason}")]
    Handshake {
        /// Host and port.
        place: String,
        /// Why.
        reason: String,
    },
}

fn named(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!(" but for {}", names.join(", ")),
    }
}

fn host_of(place: &str) -> &str {
    place.rsplit_once(':').map_or(place, |(host, _)| host)
}

fn shown(certificate: &Option<PathBuf>) -> String {
    match certificate {
        Some(path) => format!("the client certificate {}", path.display()),
        None => "a client without certificate".to_owned(),
    }
}

fn because(reason: &Option<String>) -> String {
    reason
        .as_ref()
        .map_or(String::new(), |reason| format!(" ({reason})"))
}

fn client_advice(certificate: &Option<PathBuf>, fault: &Option<String>) -> String {
    match (certificate, fault) {
        (Some(_), Some(fault)) => fault.clone(),
        (Some(_), None) => {
            "It has to be signed by the CA in the host's /etc/pki/CA/cacert.pem, be in its time and usable for a client \
             (tls_www_client), and be in tls_allowed_dn_list if the host's libvirtd.conf has one; the host's log says \
             which: `sudo journalctl -u libvirtd -u virtproxyd`"
        }
        .to_owned(),
        (None, _) => {
            "Put clientcert.pem and clientkey.pem into ~/.pki/libvirt, or the first into /etc/pki/libvirt and the \
             second into /etc/pki/libvirt/private, or both with cacert.pem into a directory named by ?pkipath="
        }
        .to_owned(),
    }
}

/// TLS to a daemon.
#[derive(Debug)]
pub(super) struct TlsTransport {
    host: TlsHost,
}

impl TlsTransport {
    pub(super) fn new(host: TlsHost) -> Self {
        Self { host }
    }
}

#[async_trait]
impl Transport for TlsTransport {
    async fn connect(&self, deadline: Instant) -> Result<Box<dyn Duplex>, ConnectError> {
        let TlsHost { host, port, pki } = &self.host;
        let files = Files::find(pki.as_deref(), std::env::home_dir().as_deref())?;
        let config = files.config()?;
        let place = labyard_resolve::place(host, *port);
        let name = ServerName::try_from(host.clone()).map_err(|_| ConnectError::Unresolved {
            host: host.clone(),
            reason: "it is neither a DNS name nor an address".to_owned(),
        })?;
        let tcp = dial::tcp(host, *port, deadline).await?;
        let connector = TlsConnector::from(config);
        let doing = format!("the TLS handshake with {place}");
        let handshake = stage(deadline, doing, connector.connect(name, tcp)).await?;
        let mut stream = handshake.map_err(|error| files.explain(&place, &error))?;
        let doing = format!("waiting for {place} to accept the client's certificate");
        stage(deadline, doing, welcome(&mut stream))
            .await?
            .map_err(|reason| files.client_refused(place, reason))?;
        Ok(Box::new(stream))
    }
}

async fn welcome(stream: &mut TlsStream<tokio::net::TcpStream>) -> Result<(), Option<String>> {
    match stream.read_u8().await {
        Ok(WELCOME) => Ok(()),
        Ok(other) => Err(Some(format!("it says {other} instead of 1"))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(None),
        Err(error) => Err(Some(error.to_string())),
    }
}

/// Where certificates and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Files {
    authority: PathBuf,
    revoked: Option<PathBuf>,
    /// The client's certificate and its key.
    pair: Option<(PathBuf, PathBuf)>,
}

impl Files {
    /// `pki` is a directory with all of them. Without it each is the user's own, or else the system's.
    fn find(pki: Option<&Path>, home: Option<&Path>) -> Result<Self, TlsError> {
        let system = |below: &str| PathBuf::from("/etc/pki").join(below);
        let own = pki
            .map(Path::to_owned)
            .or_else(|| home.map(|home| home.join(".pki/libvirt")));
        let own = |name: &str| own.as_ref().map(|own| own.join(name));
        let elsewhere = |path: PathBuf| pki.is_none().then_some(path);
        let first = |places: [Option<PathBuf>; 2]| places.into_iter().flatten().find(|path| path.exists());

        let places = [own("cacert.pem"), elsewhere(system("CA/cacert.pem"))];
        let looked = places
            .iter()
            .flatten()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>()
            .join(", ");
        let authority = first(places).ok_or(TlsError::NoAuthority { looked })?;
        let revoked = first([own("cacrl.pem"), elsewhere(system("CA/cacrl.pem"))]);
        let pairs = [
            own("clientcert.pem").zip(own("clientkey.pem")),
            elsewhere(system("libvirt/clientcert.pem"))
                .zip(elsewhere(system("libvirt/private/clientkey.pem"))),
        ];
        let mut pair = None;
        for (certificate, key) in pairs.into_iter().flatten() {
            match (certificate.exists(), key.exists()) {
                (true, true) => {
                    pair = Some((certificate, key));
                    break;
                }
                (false, false) => {}
                (true, false) => {
                    return Err(TlsError::HalfAPair {
                        found: certificate,
                        missing: key,
                    });
                }
                (false, true) => {
                    return Err(TlsError::HalfAPair {
                        found: key,
                        missing: certificate,
                    });
                }
            }
        }
        Ok(Self {
            authority,
            revoked,
            pair,
        })
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in read_all::<CertificateDer<'static>>(&self.authority)? {
            roots
                .add(certificate)
                .map_err(|error| unusable(&self.authority, error))?;
        }
        Ok(Arc::new(roots))
    }

    fn revocations(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
        self.revoked.as_deref().map_or(Ok(vec![]), read_all)
    }

    fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(self.roots()?, Arc::clone(&provider))
            .with_crls(self.revocations()?)
            .allow_unknown_revocation_status()
            .build()
            .map_err(|error| unusable(&self.authority, error))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&self.authority, error))?
            .with_webpki_verifier(verifier);
        let config = match &self.pair {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = read_all::<CertificateDer<'static>>(certificate)?;
                let text = read(key)?;
                let secret = PrivateKeyDer::from_pem_slice(&text).map_err(|error| unusable(key, error))?;
                builder
                    .with_client_auth_cert(chain, secret)
                    .map_err(|error| unusable(certificate, error))?
            }
        };
        Ok(Arc::new(config))
    }

    /// What went wrong in the handshake.
    fn explain(&self, place: &str, error: &io::Error) -> TlsError {
        let place = place.to_owned();
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(problem)) => self.explain_certificate(place, problem),
            Some(rustls::Error::AlertReceived(alert)) => {
                self.client_refused(place, Some(format!("TLS alert {alert:?}")))
            }
            _ => TlsError::Handshake {
                place,
                reason: error.to_string(),
            },
        }
    }

    fn explain_certificate(&self, place: String, problem: &CertificateError) -> TlsError {
        use CertificateError as C;
        if let Some(when) = out_of_time(problem) {
            return TlsError::OutOfTime { place, when };
        }
        match (problem, &self.revoked) {
            // A CA of the same name with another key is another CA.
            (C::UnknownIssuer | C::BadSignature, _) => TlsError::UnknownIssuer {
                place,
                authority: self.authority.clone(),
            },
            (C::NotValidForName, _) => TlsError::WrongName { place, names: vec![] },
            (C::NotValidForNameContext { presented, .. }, _) => TlsError::WrongName {
                place,
                names: presented.clone(),
            },
            (C::Revoked, Some(list)) => TlsError::Revoked {
                place,
                list: list.clone(),
            },
            (other, _) => TlsError::Certificate {
                place,
                reason: other.to_string(),
            },
        }
    }

    fn client_refused(&self, place: String, reason: Option<String>) -> TlsError {
        TlsError::ClientRefused {
            place,
            certificate: self.pair.as_ref().map(|(certificate, _)| certificate.clone()),
            reason,
            fault: self.client_fault(),
        }
    }

    /// What is wrong with the client's certificate, checked as the host would: a daemon that refuses one just hangs up.
    fn client_fault(&self) -> Option<String> {
        use CertificateError as C;
        const ANEW: &str =
            "make a new one with the CA's key (`certtool --generate-certificate`, tls_www_client)";
        let (certificate, _) = self.pair.as_ref()?;
        let chain = read_all::<CertificateDer<'static>>(certificate).ok()?;
        let (own, between) = chain.split_first()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots().ok()?, provider)
            .with_crls(self.revocations().ok()?)
            .allow_unknown_revocation_status()
            .build()
            .ok()?;
        let outcome = verifier.verify_client_cert(own, between, UnixTime::now());
        let Err(rustls::Error::InvalidCertificate(problem)) = outcome else {
            return None;
        };
        if let Some(when) = out_of_time(&problem) {
            return Some(format!("It {when}: {ANEW}, or set the clock right"));
        }
        match (problem, &self.revoked) {
            (C::UnknownIssuer | C::BadSignature, _) => Some(format!(
                "It is not signed by the CA in {}, which is the host's: {ANEW}. If the host takes clients of another \
                 CA, see tls_allowed_dn_list and its log",
                self.authority.display()
            )),
            (C::InvalidPurpose | C::InvalidPurposeContext { .. }, _) => {
                Some(format!("It is not for a client: {ANEW}"))
            }
            (C::Revoked, Some(list)) => {
                Some(format!("Its CA has revoked it, says {}: {ANEW}", list.display()))
            }
            _ => None,
        }
    }
}

/// Whether a certificate is out of its time, and by how much.
fn out_of_time(problem: &CertificateError) -> Option<String> {
    use CertificateError as C;
    let between = |earlier: UnixTime, later: UnixTime| {
        let seconds = later.as_secs().saturating_sub(earlier.as_secs());
        match seconds {
            0..7200 => format!("{} min", seconds / 60),
            7200..172_800 => format!("{} h", seconds / 3600),
            _ => format!("{} days", seconds / 86400),
        }
    };
    match problem {
        C::Expired => Some("has expired".to_owned()),
        C::ExpiredContext { time, not_after } => {
            Some(format!("has expired {} ago", between(*not_after, *time)))
        }
        C::NotValidYet => Some("is not valid yet".to_owned()),
        C::NotValidYetContext { time, not_before } => Some(format!(
            "is not valid yet, but will be in {}",
            between(*time, *not_before)
        )),
        _ => None,
    }
}

fn unusable(path: &Path, error: impl std::fmt::Display) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| {
        let mut reason = error.to_string();
        if error.kind() == io::ErrorKind::PermissionDenied {
            let _never_fails = write!(
                reason,
                "; it has to be readable for you: keep a copy of your own in ~/.pki/libvirt"
            );
        }
        unusable(path, reason)
    })
}

fn read_all<T: PemObject>(path: &Path) -> Result<Vec<T>, TlsError> {
    let text = read(path)?;
    let all = T::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(path, error))?;
    match all.is_empty() {
        true => Err(unusable(path, "it holds nothing of the kind in PEM")),
        false => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            let path = directory.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        directory
    }

    #[test]
    fn a_directory_that_is_named_is_the_only_place() {
        let pki = directory(&["cacert.pem", "clientcert.pem", "clientkey.pem"]);
        let home = directory(&[".pki/libvirt/cacrl.pem"]);
        let files = Files::find(Some(pki.path()), Some(home.path())).unwrap();
        assert_eq!(files.authority, pki.path().join("cacert.pem"));
        assert_eq!(
            (files.revoked, files.pair.unwrap().1),
            (None, pki.path().join("clientkey.pem"))
        );
        let empty = directory(&[]);
        let error = Files::find(Some(empty.path()), Some(home.path())).unwrap_err();
        assert!(!error.to_string().contains("/etc/pki/CA/cacert.pem,"), "{error}");
        assert!(matches!(error, TlsError::NoAuthority { .. }));
    }

    #[test]
    fn the_users_own_files_come_before_the_systems() {
        let home = directory(&[".pki/libvirt/cacert.pem", ".pki/libvirt/cacrl.pem"]);
        let files = Files::find(None, Some(home.path())).unwrap();
        assert_eq!(files.authority, home.path().join(".pki/libvirt/cacert.pem"));
        assert_eq!(files.revoked, Some(home.path().join(".pki/libvirt/cacrl.pem")));
    }

    #[test]
    fn a_certificate_without_its_key_is_named() {
        let pki = directory(&["cacert.pem", "clientcert.pem"]);
        let error = Files::find(Some(pki.path()), None).unwrap_err();
        assert!(error.to_string().contains("clientkey.pem is not"), "{error}");
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let pki = directory(&["cacert.pem"]);
        let files = Files::find(Some(pki.path()), None).unwrap();
        let error = files.config().unwrap_err();
        assert!(
            error.to_string().contains("cacert.pem: it holds nothing"),
            "{error}"
        );
    }
}
