//! Certificates for libvirt over TLS, made by openssl.

use crate::command::output_of;
use crate::error::{HarnessError, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A certificate authority of the test's own.
#[derive(Debug)]
pub struct Authority {
    directory: TempDir,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// A daemon; its names are in the certificate.
    Server,
    /// A client.
    Client,
}

impl Authority {
    /// Makes one.
    pub fn new(name: &str) -> Result<Self> {
        let directory = TempDir::new().map_err(HarnessError::file("make a directory for certificates"))?;
        let authority = Self { directory };
        let mut make = openssl("req");
        make.args(["-x509", "-nodes", "-days", "2", "-newkey", "ec"]);
        make.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj"])
            .arg(format!("/CN={name}"));
        make.args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]);
        make.arg("-keyout").arg(authority.file("cakey.pem"));
        output_of(make.arg("-out").arg(authority.file("cacert.pem")))?;
        Ok(authority)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The directory with `cacert.pem`, for a client without a certificate of its own.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Makes a certificate and its key in a directory, as libvirt calls them, with `cacert.pem` beside them.
    pub fn certify(&self, purpose: For, names: &str, directory: &Path) -> Result<()> {
        let (stem, usage) = match purpose {
            For::Server => ("server", "serverAuth"),
            For::Client => ("client", "clientAuth"),
        };
        let place = |name: String| directory.join(name);
        let request = place(format!("{stem}.csr"));
        let extensions = place(format!("{stem}.ext"));
        let mut text = format!(
            "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage={usage}\n"
        );
        if purpose == For::Server {
            text += &format!("subjectAltName={names}\n");
        }
        std::fs::write(&extensions, text).map_err(HarnessError::file("write a certificate's extensions"))?;
        let mut ask = openssl("req");
        ask.args(["-nodes", "-newkey", "rsa:2048", "-subj"])
            .arg(format!("/O=test/CN={names}"));
        ask.arg("-keyout").arg(place(format!("{stem}key.pem")));
        output_of(ask.arg("-out").arg(&request))?;
        let mut sign = openssl("x509");
        sign.args(["-req", "-days", "2", "-CAcreateserial"]);
        sign.arg("-CA").arg(self.file("cacert.pem"));
        sign.arg("-CAkey").arg(self.file("cakey.pem"));
        sign.arg("-in").arg(&request).arg("-extfile").arg(&extensions);
        output_of(sign.arg("-out").arg(place(format!("{stem}cert.pem"))))?;
        let copied = std::fs::copy(self.file("cacert.pem"), place("cacert.pem".into()));
        copied.map_err(HarnessError::file("copy the authority's certificate"))?;
        Ok(())
    }
}

fn openssl(what: &str) -> Command {
    let mut command = Command::new("openssl");
    command.arg(what);
    command
}
