//! A realm of Kerberos of the tests' own: MIT's key distribution centre on loopback, with users, services and their keys.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::sshd::program;

pub(crate) const REALM: &str = "LAB.TEST";
pub(crate) const PASSWORD: &str = "sécret \"1\"";

/// The centre; it ends with its owner.
pub(crate) struct Kdc {
    process: Child,
    directory: tempfile::TempDir,
    pub(crate) port: u16,
}

impl Kdc {
    /// With the user op, and the services HTTP/hv7.lab.test and, with keys of AES-128 alone, HTTP/hv8.lab.test.
    pub(crate) fn start() -> Option<Self> {
        let (kdc, create, admin) = (
            program("krb5kdc")?,
            program("kdb5_util")?,
            program("kadmin.local")?,
        );
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let place = directory.path().display();
        let client = format!(
            "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n\
             dns_canonicalize_hostname = false\n rdns = false\n[realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n }}\n\
             [logging]\n kdc = FILE:{place}/log\n"
        );
        let server = format!(
            "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n {REALM} = {{\n\
             \x20 database_name = {place}/principal\n  key_stash_file = {place}/stash\n  acl_file = {place}/acl\n\
             \x20 supported_enctypes = aes256-cts:normal aes128-cts:normal\n  max_life = 10h\n }}\n"
        );
        std::fs::write(directory.path().join("krb5.conf"), client).unwrap();
        std::fs::write(directory.path().join("kdc.conf"), server).unwrap();
        let command = |program: &PathBuf| {
            let mut command = Command::new(program);
            command
                .env("KRB5_CONFIG", directory.path().join("krb5.conf"))
                .env("KRB5_KDC_PROFILE", directory.path().join("kdc.conf"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command
        };
        let made = command(&create)
            .args(["create", "-s", "-r", REALM, "-P", "master"])
            .status();
        assert!(made.unwrap().success(), "kdb5_util");
        let keytab = format!("{place}/keytab");
        let services = ["HTTP/hv7.lab.test", "HTTP/hv8.lab.test"];
        for query in [
            &["addprinc", "-pw", PASSWORD, "+requires_preauth", "op"][..],
            &["addprinc", "-randkey", services[0]],
            &["addprinc", "-randkey", "-e", "aes128-cts:normal", services[1]],
            &["ktadd", "-k", &keytab, "-norandkey", services[0], services[1]],
        ] {
            let done = command(&admin).args(["-r", REALM]).args(query).status();
            assert!(done.unwrap().success(), "kadmin.local {query:?}");
        }
        let process = command(&kdc).args(["-n", "-r", REALM]).spawn().unwrap();
        let kdc = Self {
            process,
            directory,
            port,
        };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", kdc.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(kdc)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// How many tickets it gave for services.
    pub(crate) fn tickets(&self) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains("TGS_REQ") && line.contains("ISSUE"))
            .count()
    }
}

impl Drop for Kdc {
    fn drop(&mut self) {
        let _may_have_ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}
