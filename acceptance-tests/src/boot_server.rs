//! An HTTPS server on a host that firmware can boot from, and the certificates for it.
//!
//! Firmware speaks TLS 1.2 with a static RSA key exchange and nothing newer, which rustls does not: Python's own server
//! does, with openssl's certificates.

use crate::command::output_of;
use crate::error::{HarnessError, Result};
use crate::host::Host;
use crate::wait::{Look, until};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const SERVER: &str = r#"
import http.server, ssl, sys, time
directory, address, port, certificate, key, log, ciphers, least, most = sys.argv[1:]
class Handler(http.server.SimpleHTTPRequestHandler):
    # Firmware sends HEAD and GET on one connection.
    protocol_version = 'HTTP/1.1'
    def __init__(self, *arguments):
        super().__init__(*arguments, directory=directory)
    def log_request(self, code='-', size='-'):
        with open(log, 'a') as out:
            out.write('%.3f %s %s %s %s\n' % (time.time(), self.command, self.path, int(code), self.client_address[0]))
    def log_message(self, *arguments):
        pass
class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client):
        with open(log, 'a') as out:
            out.write('%.3f FAILED %s - %s\n' % (time.time(), sys.exc_info()[0].__name__, client[0]))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.set_ciphers(ciphers)
context.minimum_version = ssl.TLSVersion[least]
context.maximum_version = ssl.TLSVersion[most]
context.load_cert_chain(certificate, key)
server = Server((address, int(port)), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
open(log, 'a').close()
server.serve_forever()
"#;

/// What a server speaks, and the kind of its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// What firmware does: TLS 1.2 with a static RSA key exchange.
    AsFirmware,
    /// TLS 1.2 with keys of its own for each connection alone.
    Ecdhe,
    /// The same with an ECDSA certificate, and a static exchange too, which that one cannot do.
    Ecdsa,
    /// Nothing older than TLS 1.3.
    Tls13,
}

impl Speaks {
    /// Ciphers, oldest and newest version.
    fn settings(self) -> [&'static str; 3] {
        match self {
            Self::AsFirmware => ["AES256-GCM-SHA384", "TLSv1_2", "TLSv1_2"],
            Self::Ecdhe => ["ECDHE+AESGCM", "TLSv1_2", "TLSv1_2"],
            Self::Ecdsa => ["ECDHE+AESGCM:AES256-GCM-SHA384", "TLSv1_2", "TLSv1_2"],
            Self::Tls13 => ["AES256-GCM-SHA384", "TLSv1_3", "TLSv1_3"],
        }
    }

    fn key(self) -> &'static [&'static str] {
        match self {
            Self::Ecdsa => &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
            Self::AsFirmware | Self::Ecdhe | Self::Tls13 => &["-newkey", "rsa:2048"],
        }
    }
}

/// A certificate authority of a test's own.
#[derive(Debug)]
pub struct Authority {
    directory: TempDir,
}

impl Authority {
    /// Makes one.
    pub fn new(name: &str) -> Result<Self> {
        let directory = TempDir::new().map_err(HarnessError::file("make a directory"))?;
        let authority = Self { directory };
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-sha256",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ])?;
        Ok(authority)
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> Result<String> {
        let path = self.directory.path().join("ca.pem");
        std::fs::read_to_string(path).map_err(HarnessError::file("read a certificate"))
    }

    fn openssl(&self, arguments: &[&str]) -> Result<String> {
        output_of(
            Command::new("openssl")
                .current_dir(self.directory.path())
                .args(arguments),
        )
    }

    /// A certificate of its for an address, as files: certificate and key.
    fn certify(&self, address: &str, speaks: Speaks) -> Result<(PathBuf, PathBuf)> {
        let file = |name: &str| self.directory.path().join(name);
        std::fs::write(file("san"), format!("subjectAltName=IP:{address}"))
            .map_err(HarnessError::file("write a file"))?;
        let request = [
            "-nodes",
            "-subj",
            "/CN=boot",
            "-keyout",
            "server.key",
            "-out",
            "server.csr",
        ];
        self.openssl(&[&["req"], speaks.key(), &request].concat())?;
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "30",
            "-sha256",
            "-extfile",
            "san",
            "-out",
            "server.pem",
        ])?;
        Ok((file("server.pem"), file("server.key")))
    }
}

/// A request that the server answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// When, in seconds since 1970.
    pub at: f64,
    /// `HEAD`, `GET`; `FAILED` for a connection that came to no request.
    pub method: String,
    /// What for.
    pub path: String,
    /// The answer's number.
    pub status: String,
    /// The address that it came from.
    pub from: String,
}

/// The server. It ends with its host.
#[derive(Debug)]
pub struct BootServer {
    files: TempDir,
    log: PathBuf,
    url: String,
    process: Child,
}

impl BootServer {
    /// Starts one inside a host, for `address` (which a network may bring later), trusted by whoever trusts the
    /// authority.
    pub fn start(host: &Host, authority: &Authority, address: &str, port: u16) -> Result<Self> {
        Self::speaking(Speaks::AsFirmware, host, authority, address, port)
    }

    /// The same, which speaks something else.
    pub fn speaking(
        speaks: Speaks,
        host: &Host,
        authority: &Authority,
        address: &str,
        port: u16,
    ) -> Result<Self> {
        let files = TempDir::new().map_err(HarnessError::file("make a directory"))?;
        let (certificate, key) = authority.certify(address, speaks)?;
        let log = files.path().with_extension("log");
        let mut command = host.command("python3");
        command.args(["-c", SERVER]);
        command.arg(files.path()).args(["0.0.0.0", &port.to_string()]);
        command.args([&certificate, &key, &log]).args(speaks.settings());
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(HarnessError::file("start a web server"))?;
        let server = Self {
            files,
            log,
            url: format!("https://{address}:{port}"),
            process,
        };
        until("the boot server", Duration::from_secs(30), || {
            Ok(match server.log.exists() {
                true => Look::Holds(()),
                false => Look::NotYet("it has not begun to listen".to_owned()),
            })
        })?;
        Ok(server)
    }

    /// The address of a file.
    pub fn url(&self, file: &str) -> String {
        format!("{}/{file}", self.url)
    }

    /// Where its files lie.
    pub fn files(&self) -> &Path {
        self.files.path()
    }

    /// What it was asked for so far.
    pub fn asked(&self) -> Vec<Asked> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            Some(Asked {
                at: words.next()?.parse().ok()?,
                method: words.next()?,
                path: words.next()?,
                status: words.next()?,
                from: words.next()?,
            })
        };
        text.lines().filter_map(line).collect()
    }
}

impl Drop for BootServer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        drop(std::fs::remove_file(&self.log));
    }
}
