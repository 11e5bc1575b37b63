//! Through tinyproxy, which nobody here wrote, to a service behind it.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use wsman::http::{Account, Fingerprint, Http, Login, Proxy, Settings, Trust};
use wsman::{Carrier, Error, ProxyTrouble, Trouble};

use crate::sealing::{PASSWORD, acceptor, certificate};
use crate::sshd::program;

struct Tinyproxy {
    process: Child,
    directory: tempfile::TempDir,
    port: u16,
}

impl Tinyproxy {
    fn start(more: &str) -> Option<Self> {
        let program = program("tinyproxy")?;
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let (config, log) = (directory.path().join("config"), directory.path().join("log"));
        std::fs::write(
            &config,
            format!(
                "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nAllow 127.0.0.1\nLogFile \"{}\"\nLogLevel Info\n\
                 {more}\n",
                log.display()
            ),
        )
        .unwrap();
        let process = Command::new(program)
            .args(["-d", "-c"])
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "tinyproxy does not listen"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self {
            process,
            directory,
            port,
        })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    fn named(&self, account: &str) -> Proxy {
        format!("http://{account}127.0.0.1:{}", self.port)
            .parse()
            .unwrap()
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _may_have_ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

async fn carried(proxy: Proxy, url: &str, trust: Trust) -> Result<Vec<u8>, Error> {
    let login = Login::Negotiate(Account::new(r"HV7\op", PASSWORD));
    let mut settings = Settings::new(url.parse().unwrap(), login);
    settings.tls.trust = trust;
    settings.connect = Duration::from_secs(5);
    settings.dial = Arc::new(proxy);
    let http = Http::new(settings).unwrap();
    let answer = http.carry("<x/>".to_owned()).await?;
    Ok(answer.body.to_vec())
}

/// For what does not get as far as to show a certificate.
fn nobody() -> Trust {
    Trust::Pinned(Fingerprint::of(b"nobody"))
}

fn why(error: Error) -> ProxyTrouble {
    match error {
        Error::NotSent(Trouble::Proxy { why, .. }) => why,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn https_and_sealed_http_go_through_a_proxy_that_wants_a_login() {
    let Some(proxy) = Tinyproxy::start("BasicAuth me s3cret") else {
        return;
    };
    let (pem, authority) = certificate("localhost");
    let tls = acceptor(&["--tls", &pem.path().display().to_string()]);
    let plain = acceptor(&[]);
    for url in [
        format!("https://localhost:{}", tls.port),
        format!("http://127.0.0.1:{}", plain.port),
    ] {
        let back = carried(
            proxy.named("me:s3cret@"),
            &url,
            Trust::Authority(authority.clone()),
        )
        .await
        .unwrap();
        assert_eq!(back, b">/x<", "{url}");
    }
    let log = proxy.log();
    for port in [tls.port, plain.port] {
        assert!(
            log.contains(&format!(":{port} HTTP/1.1")),
            "no CONNECT to {port} in {log}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_refuses_is_told_with_what_mends_it() {
    let Some(proxy) = Tinyproxy::start("BasicAuth me s3cret\nConnectPort 5986") else {
        return;
    };
    let named = proxy.named("me:s3cret@");
    let url = "https://localhost:5986";
    let wants = why(carried(proxy.named(""), url, nobody()).await.unwrap_err());
    assert!(
        matches!(&wants, ProxyTrouble::WantsLogin { offered } if offered == &["Basic"]),
        "{wants}"
    );
    assert!(wants.to_string().contains("http://USER:PASSWORD@HOST:PORT"));
    let wrong = carried(proxy.named("me:other@"), url, nobody())
        .await
        .unwrap_err();
    assert!(
        !wrong.may_be_done() && !wrong.to_string().contains("other@"),
        "{wrong}"
    );
    assert!(matches!(why(wrong), ProxyTrouble::Login { user, .. } if user == "me"));
    let port = why(carried(named.clone(), "https://localhost:5987", nobody())
        .await
        .unwrap_err());
    assert!(matches!(port, ProxyTrouble::Refused { status: 403 }), "{port:?}");
    assert!(port.to_string().contains("ConnectPort"));
    let closed = why(carried(named, "https://127.0.0.1:5986", nobody())
        .await
        .unwrap_err());
    assert!(matches!(closed, ProxyTrouble::NoWay { .. }), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_not_there_or_none_or_silent_is_told() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let proxy = |host: &str| format!("http://{host}:{port}").parse::<Proxy>().unwrap();
    let tried = async |proxy| why(carried(proxy, "https://hv7.invalid", nobody()).await.unwrap_err());
    let named = tried(proxy("proxy.invalid")).await;
    assert!(matches!(named, ProxyTrouble::Unresolved(_)), "{named:?}");
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-other\r\n").await.unwrap();
        stream
    };
    let (other, _stream) = tokio::join!(tried(proxy("127.0.0.1")), server);
    assert!(matches!(other, ProxyTrouble::NoProxy(_)), "{other:?}");
    let (silent, _held) = tokio::join!(tried(proxy("127.0.0.1")), listener.accept());
    assert_eq!(silent, ProxyTrouble::Silent);
    drop(listener);
    let gone = tried(proxy("127.0.0.1")).await;
    assert!(matches!(gone, ProxyTrouble::Unreachable(_)), "{gone:?}");
}
