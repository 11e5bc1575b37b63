//! Requests over real TLS, to a server that answers each request as it is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use wsman::http::{Account, BadSettings, Fingerprint, Http, Login, Settings, Tls, Trust};
use wsman::{Carrier, Error, TlsTrouble, Trouble};

/// What a server does with a request.
#[derive(Clone, Copy)]
pub(crate) enum Does {
    Answers(&'static str),
    /// Ends the connection after the request.
    HangsUp,
    /// Answers, and ends the connection a moment later.
    AnswersAndHangsUp,
    Sleeps,
}

const FINE: Does = Does::Answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");

pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) pem: String,
    pub(crate) der: Vec<u8>,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

/// Serves `does`, one a request, the last for ever.
pub(crate) async fn serve(does: &'static [Does]) -> Service {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = Service {
        address: listener.local_addr().unwrap(),
        pem: cert.pem(),
        der: cert.der().to_vec(),
        requests: Arc::default(),
        connections: Arc::default(),
    };
    let (requests, connections) = (service.requests.clone(), service.connections.clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.fetch_add(1, Ordering::SeqCst);
            let (acceptor, requests) = (acceptor.clone(), requests.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                while read_request(&mut stream).await {
                    let nth = requests.fetch_add(1, Ordering::SeqCst);
                    match does[nth.min(does.len() - 1)] {
                        Does::Answers(text) => stream.write_all(text.as_bytes()).await.unwrap(),
                        Does::HangsUp => return,
                        Does::AnswersAndHangsUp => {
                            let fine = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                            stream.write_all(fine).await.unwrap();
                            let _ = stream.shutdown().await;
                            return;
                        }
                        Does::Sleeps => tokio::time::sleep(Duration::from_secs(60)).await,
                    }
                }
            });
        }
    });
    service
}

/// Reads one request; whether there was one.
async fn read_request(stream: &mut (impl AsyncReadExt + Unpin)) -> bool {
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let Ok(count @ 1..) = stream.read(&mut piece).await else {
            return false;
        };
        read.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&read).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            assert!(head.contains("authorization: basic b3a6c2vjcmv0"), "{head}");
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            if body.len() >= length {
                return true;
            }
        }
    }
}

pub(crate) fn settings(service: &Service, trust: Trust) -> Settings {
    let endpoint = format!("https://localhost:{}", service.address.port())
        .parse()
        .unwrap();
    Settings {
        tls: Tls {
            trust,
            certificate: None,
        },
        answer: Duration::from_millis(500),
        ..Settings::new(endpoint, Login::Basic(Account::new("op", "secret")))
    }
}

fn http(service: &Service) -> Http {
    let trust = Trust::Authority(service.pem.clone().into_bytes());
    Http::new(settings(service, trust)).unwrap()
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let service = serve(&[FINE]).await;
    let http = http(&service);
    for _ in 0..5 {
        let answer = http.carry("<x/>".to_owned()).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, b"ok".as_slice()));
    }
    assert_eq!(service.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn requests_go_side_by_side_on_no_more_connections_than_allowed() {
    let service = serve(&[FINE]).await;
    let http = Http::new(Settings {
        connections: 3,
        ..settings(&service, Trust::Authority(service.pem.clone().into_bytes()))
    });
    let http = http.unwrap();
    let all = (0..20).map(|_| http.carry("<x/>".to_owned()));
    let all = futures::future::join_all(all).await;
    assert!(all.iter().all(Result::is_ok));
    assert!(service.connections.load(Ordering::SeqCst) <= 3);
}

#[tokio::test]
async fn a_request_whose_answer_is_lost_is_not_repeated() {
    for does in [&[Does::HangsUp][..], &[Does::Sleeps]] {
        let service = serve(does).await;
        let error = http(&service).carry("<x/>".to_owned()).await.unwrap_err();
        assert!(matches!(error, Error::Lost(_)) && error.may_be_done(), "{error}");
        assert_eq!(service.requests.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_connection_that_was_let_go_of_is_made_anew() {
    let service = serve(&[Does::AnswersAndHangsUp, FINE]).await;
    let http = http(&service);
    http.carry("<x/>".to_owned()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), async {
        while http.carry("<x/>".to_owned()).await.is_err() {}
    })
    .await
    .unwrap();
    assert_eq!(service.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_401_in_mid_session_is_answered_on_a_new_connection_and_one_at_the_start_is_told() {
    const NO: Does =
        Does::Answers("HTTP/1.1 401 No\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n");
    let service = serve(&[FINE, NO, FINE]).await;
    let http = http(&service);
    http.carry("<x/>".to_owned()).await.unwrap();
    http.carry("<x/>".to_owned()).await.unwrap();
    assert_eq!(service.connections.load(Ordering::SeqCst), 2);
    let service = serve(&[NO]).await;
    let error = self::http(&service).carry("<x/>".to_owned()).await.unwrap_err();
    assert!(
        matches!(&error, Error::NotSent(Trouble::Scheme { offered, .. }) if offered == &["Negotiate"]),
        "{error}"
    );
}

#[tokio::test]
async fn what_hinders_is_told_with_what_mends_it() {
    for (does, said) in [
        (
            &[Does::Answers(
                "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"WSMAN\"\r\nContent-Length: 0\r\n\r\n",
            )],
            "does not let op in",
        ),
        (
            &[Does::Answers("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")],
            "winrm configSDDL",
        ),
        (
            &[Does::Answers("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")],
            "is no WS-Management service",
        ),
        (
            &[Does::Answers("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")],
            "refuses what is not sealed",
        ),
    ] {
        let service = serve(does).await;
        let error = http(&service).carry("<x/>".to_owned()).await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert!(!error.may_be_done(), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_is_trusted_by_its_authority_or_by_its_fingerprint_alone() {
    let service = serve(&[FINE]).await;
    let by = async |trust| {
        let http = Http::new(settings(&service, trust)).unwrap();
        http.carry("<x/>".to_owned()).await.map(drop)
    };
    let fingerprint = Fingerprint::of(&service.der);
    by(Trust::Pinned(fingerprint)).await.unwrap();
    let other = serve(&[FINE]).await;
    let stranger = by(Trust::Authority(other.pem.into_bytes())).await.unwrap_err();
    let shown = fingerprint.to_string();
    let Error::NotSent(Trouble::Tls {
        why: TlsTrouble::UnknownIssuer { fingerprint },
        ..
    }) = stranger
    else {
        panic!("{stranger}");
    };
    assert_eq!(fingerprint, shown, "what could be pinned is told");
    let other = by(Trust::Pinned(Fingerprint::of(b"another"))).await.unwrap_err();
    assert!(other.to_string().contains("another host answers"), "{other}");
}

#[tokio::test]
async fn a_certificate_of_another_name_is_refused() {
    let service = serve(&[FINE]).await;
    let mut settings = settings(&service, Trust::Authority(service.pem.clone().into_bytes()));
    settings.endpoint.host = "127.0.0.1".to_owned();
    let error = Http::new(settings)
        .unwrap()
        .carry("<x/>".to_owned())
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::NotSent(Trouble::Tls {
                why: TlsTrouble::WrongName,
                ..
            })
        ),
        "{error}"
    );
}

#[tokio::test]
async fn nothing_that_listens_is_told_with_the_command_that_starts_it() {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let endpoint = format!("https://{free}").parse().unwrap();
    let settings = Settings::new(endpoint, Login::Basic(Account::new("op", "secret")));
    let error = Http::new(settings)
        .unwrap()
        .carry("<x/>".to_owned())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("winrm quickconfig"), "{error}");
    assert!(!error.may_be_done());
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_told_and_so_is_a_host_that_says_nothing() {
    let tried = async |url: &str| {
        let settings = Settings {
            connect: Duration::from_millis(400),
            ..Settings::new(url.parse().unwrap(), Login::Basic(Account::new("op", "secret")))
        };
        let http = Http::new(settings).unwrap();
        match http.carry("<x/>".to_owned()).await.unwrap_err() {
            Error::NotSent(trouble) => trouble,
            other => panic!("{other}"),
        }
    };
    let unknown = tried("https://hv7.invalid").await;
    assert!(
        matches!(&unknown, Trouble::Unresolved { host, .. } if host == "hv7.invalid"),
        "{unknown}"
    );
    // Whose queue is full, and who takes nobody out of it, does to a packet what a firewall does.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
    }
    let silent = tried(&format!("https://{address}")).await;
    assert!(
        matches!(&silent, Trouble::Dropped { port, .. } if *port == address.port()),
        "{silent}"
    );
    drop(queued);
}

#[test]
fn a_password_is_not_sent_in_the_clear() {
    let endpoint = "http://hv7".parse().unwrap();
    let refused = Http::new(Settings::new(
        endpoint,
        Login::Basic(Account::new("op", "secret")),
    ));
    assert!(matches!(refused, Err(BadSettings::BasicInTheClear(url)) if url == "http://hv7:5985/wsman"));
    let shown = format!("{:?}", Account::new("op", "secret"));
    assert!(!shown.contains("secret"), "{shown}");
}
