//! Certificates for libvirt over TLS, made by openssl.

use crate::command::output_of;
use crate::error::{HarnessError, Result};
use crate::wait::{Look, until};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
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
        self.sign(purpose, names, directory, &["-days", "2"])
    }

    /// The same, valid between two times, as in `20300131235959Z`.
    pub fn certify_between(
        &self,
        (from, until): (&str, &str),
        purpose: For,
        names: &str,
        directory: &Path,
    ) -> Result<()> {
        self.sign(
            purpose,
            names,
            directory,
            &["-startdate", from, "-enddate", until],
        )
    }

    /// Puts a list of revoked certificates into a directory, with this one on it.
    pub fn revoke(&self, certificate: &Path, directory: &Path) -> Result<()> {
        output_of(self.as_authority()?.arg("-revoke").arg(certificate))?;
        let mut list = self.as_authority()?;
        list.args(["-gencrl", "-crldays", "2", "-out"]);
        output_of(list.arg(directory.join("cacrl.pem"))).map(drop)
    }

    /// `openssl ca`, which keeps a register.
    fn as_authority(&self) -> Result<Command> {
        let config = self.file("ca.cnf");
        if !config.exists() {
            let text = format!(
                "[ca]\ndefault_ca=own\n[own]\ndatabase={0}/index\nnew_certs_dir={0}\nserial={0}/serial\ncrlnumber={0}/crlnumber\n\
                 certificate={0}/cacert.pem\nprivate_key={0}/cakey.pem\ndefault_md=sha256\nunique_subject=no\n\
                 policy=any\ncrl_extensions=list\n[any]\norganizationName=optional\ncommonName=supplied\n\
                 [list]\nauthorityKeyIdentifier=keyid\n",
                self.directory().display()
            );
            for (name, text) in [
                ("index", ""),
                ("serial", "01\n"),
                ("crlnumber", "01\n"),
                ("ca.cnf", &text),
            ] {
                std::fs::write(self.file(name), text).map_err(HarnessError::file("write a register"))?;
            }
        }
        let mut command = openssl("ca");
        command.arg("-config").arg(config);
        Ok(command)
    }

    fn sign(&self, purpose: For, names: &str, directory: &Path, time: &[&str]) -> Result<()> {
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
        let mut sign = self.as_authority()?;
        sign.args(["-batch", "-notext", "-rand_serial"]).args(time);
        sign.arg("-in").arg(&request).arg("-extfile").arg(&extensions);
        output_of(sign.arg("-out").arg(place(format!("{stem}cert.pem"))))?;
        let copied = std::fs::copy(self.file("cacert.pem"), place("cacert.pem".into()));
        copied.map_err(HarnessError::file("copy the authority's certificate"))?;
        Ok(())
    }
}

/// A TLS server with a certificate that a daemon of libvirt would not even start with; it says nothing.
#[derive(Debug)]
pub struct Showing {
    process: Child,
    port: u16,
}

impl Showing {
    /// Shows the server's certificate of a directory, on 127.0.0.1.
    pub fn start(directory: &Path) -> Result<Self> {
        // It does not tell which port it was given, so it is given one that was free a moment ago.
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|free| free.local_addr())
            .map_err(HarnessError::file("find a free port"))?
            .port();
        let mut command = openssl("s_server");
        command.args(["-quiet", "-accept", &format!("127.0.0.1:{port}"), "-cert"]);
        command.arg(directory.join("servercert.pem"));
        command.arg("-key").arg(directory.join("serverkey.pem"));
        let process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| HarnessError::NotStarted {
                command: "openssl s_server".into(),
                source,
            })?;
        let showing = Self { process, port };
        until("the TLS server", Duration::from_secs(20), || {
            Ok(match TcpStream::connect(("127.0.0.1", port)) {
                Ok(_) => Look::Holds(()),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })?;
        Ok(showing)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Showing {
    fn drop(&mut self) {
        let _may_have_ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

fn openssl(what: &str) -> Command {
    let mut command = Command::new("openssl");
    command.arg(what);
    command
}
