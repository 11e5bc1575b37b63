//! Logins and seals against an acceptor that is not ours: gss-ntlmssp, by `acceptor.py`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use wsman::http::{Account, Http, Login, Settings, Trust};
use wsman::{Carrier, Error, Trouble};

pub(crate) struct Acceptor {
    child: Child,
    pub(crate) port: u16,
    _users: tempfile::NamedTempFile,
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Acceptor {
    /// With more environment.
    pub(crate) fn start(arguments: &[&str], environment: &[(&str, &Path)]) -> Self {
        let users = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(users.path(), "HV7:op:sécret \"1\"\n").unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/acceptor.py");
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .args(arguments)
            .env("NTLM_USER_FILE", users.path())
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let port = line.trim().parse();
        Self {
            child,
            port: port.unwrap_or_else(|_| panic!("{script} needs python3-gssapi and gss-ntlmssp")),
            _users: users,
        }
    }
}

pub(crate) fn acceptor(arguments: &[&str]) -> Acceptor {
    Acceptor::start(arguments, &[])
}

/// A certificate for a name with its key, and what trusts it.
pub(crate) fn certificate(name: &str) -> (tempfile::NamedTempFile, Vec<u8>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let pem = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(pem.path(), cert.pem() + &signing_key.serialize_pem()).unwrap();
    (pem, cert.pem().into_bytes())
}

fn http(acceptor: &Acceptor, user: &str, password: &str) -> Http {
    let endpoint = format!("http://127.0.0.1:{}", acceptor.port).parse().unwrap();
    let login = Login::Negotiate(Account::new(user, password));
    Http::new(Settings::new(endpoint, login)).unwrap()
}

pub(crate) const PASSWORD: &str = "sécret \"1\"";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_over_http_is_sealed_and_so_is_what_comes_back() {
    for arguments in [&[][..], &["--tabs"]] {
        let acceptor = acceptor(arguments);
        let http = http(&acceptor, r"HV7\op", PASSWORD);
        for nth in 0..3 {
            let text = format!("<x>{nth}é</x>").repeat(nth * 1000 + 1);
            let backwards: Vec<u8> = text.bytes().rev().collect();
            let answer = http.carry(text).await.unwrap();
            assert_eq!((answer.status, &answer.body[..]), (200, &backwards[..]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_side_by_side_have_a_login_each() {
    let acceptor = acceptor(&[]);
    let http = http(&acceptor, r"HV7\op", PASSWORD);
    let all = futures::future::join_all((0..20).map(|_| http.carry("<x/>".to_owned()))).await;
    for answer in all {
        assert_eq!(&answer.unwrap().body[..], b">/x<");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_over_tls_is_bound_to_the_certificate_of_the_service() {
    let (pem, authority) = certificate("localhost");
    let file = pem.path().display().to_string();
    let carried = async |arguments: &[&str]| {
        let acceptor = acceptor(arguments);
        let endpoint = format!("https://localhost:{}", acceptor.port).parse().unwrap();
        let login = Login::Negotiate(Account::new(r"HV7\op", PASSWORD));
        let mut settings = Settings::new(endpoint, login);
        settings.tls.trust = Trust::Authority(authority.clone());
        let http = Http::new(settings).unwrap();
        http.carry("<x/>".to_owned()).await
    };
    let answer = carried(&["--tls", &file]).await.unwrap();
    assert_eq!(&answer.body[..], b">/x<", "TLS seals, and nothing else does");
    // Somebody in between shows a certificate of his own.
    let error = carried(&["--tls", &file, &"00".repeat(32)]).await.unwrap_err();
    assert!(matches!(error, Error::NotSent(Trouble::Login { .. })), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_nothing_was_sent() {
    let acceptor = acceptor(&[]);
    let error = http(&acceptor, r"HV7\op", "other")
        .carry("<x/>".to_owned())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::NotSent(Trouble::Login { user, .. }) if user == r"HV7\op"),
        "{error}"
    );
}
