//! Many requests at once on few connections, and what becomes of those that nobody waits for any more.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use wsman::Carrier;
use wsman::http::{Account, Fingerprint, Http, Login, Settings, Trust};

/// A service that answers each request with its own body, when it is let.
struct Service {
    port: u16,
    certificate: Fingerprint,
    seen: Arc<Seen>,
}

struct Seen {
    /// Answers that may be given.
    answers: Semaphore,
    /// How an answer is written: whole, or its head and first byte and the rest when it is let once more.
    by_halves: AtomicBool,
    /// Bodies in the order in which they came, each with the number of its connection.
    requests: Mutex<Vec<(usize, String)>>,
    connections: AtomicUsize,
    open: Mutex<BTreeSet<usize>>,
    most_open: AtomicUsize,
    /// Whether something was sent on a connection that had not been answered.
    was_crowded: AtomicBool,
}

impl Seen {
    fn bodies(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().map(|(_, body)| body.clone()).collect()
    }

    async fn wait(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waited = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), waited).await;
        assert!(waited.is_ok(), "{what}: {:?}", self.bodies());
    }

    async fn has(&self, count: usize) {
        self.wait("requests", |seen| seen.bodies().len() == count).await;
    }

    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, connection: usize) {
        while let Some(body) = read_request(&mut stream).await {
            self.requests.lock().unwrap().push((connection, body.clone()));
            let mut early = [0; 1];
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let (first, rest) = answer.split_at(match self.by_halves.load(Ordering::SeqCst) {
                true => answer.len() - body.len() + 1,
                false => 0,
            });
            if stream.write_all(first.as_bytes()).await.is_err() {
                return;
            }
            tokio::select! {
                permit = self.answers.acquire() => permit.unwrap().forget(),
                read = stream.read(&mut early) => {
                    self.was_crowded.fetch_or(matches!(read, Ok(1..)), Ordering::SeqCst);
                    return;
                }
            }
            if stream.write_all(rest.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        read.extend_from_slice(&piece[..count]);
        let text = String::from_utf8(read.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        assert!(body.len() <= length, "more than one request: {text}");
        if body.len() == length {
            return Some(body.to_owned());
        }
    }
}

impl Service {
    async fn start() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
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
        let service = Self {
            port: listener.local_addr().unwrap().port(),
            certificate: Fingerprint::of(cert.der()),
            seen: Arc::new(Seen {
                answers: Semaphore::new(0),
                by_halves: AtomicBool::new(false),
                requests: Mutex::default(),
                connections: AtomicUsize::new(0),
                open: Mutex::default(),
                most_open: AtomicUsize::new(0),
                was_crowded: AtomicBool::new(false),
            }),
        };
        let seen = Arc::clone(&service.seen);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    let nth = seen.connections.fetch_add(1, Ordering::SeqCst);
                    let open = {
                        let mut open = seen.open.lock().unwrap();
                        open.insert(nth);
                        open.len()
                    };
                    seen.most_open.fetch_max(open, Ordering::SeqCst);
                    if let Ok(stream) = acceptor.accept(stream).await {
                        seen.serve(stream, nth).await;
                    }
                    seen.open.lock().unwrap().remove(&nth);
                });
            }
        });
        service
    }

    fn http(&self, connections: usize) -> Arc<Http> {
        let endpoint = format!("https://localhost:{}", self.port).parse().unwrap();
        let mut settings = Settings::new(endpoint, Login::Basic(Account::new("op", "secret")));
        settings.tls.trust = Trust::Pinned(self.certificate);
        settings.connections = connections;
        Arc::new(Http::new(settings).unwrap())
    }
}

/// A request of its own task, which waits in the queue when this returns.
async fn asked(http: &Arc<Http>, body: &str) -> tokio::task::JoinHandle<String> {
    let (http, body) = (Arc::clone(http), body.to_owned());
    let task = tokio::spawn(async move {
        let answer = http.carry(body).await.unwrap();
        String::from_utf8(answer.body.to_vec()).unwrap()
    });
    // On this runtime of one thread the task goes as far as it can.
    tokio::task::yield_now().await;
    task
}

#[tokio::test]
async fn requests_wait_their_turn_for_one_of_few_connections() {
    let service = Service::start().await;
    let (http, seen) = (service.http(3), &service.seen);
    let bodies: Vec<String> = (0..30).map(|nth| format!("<r{nth}/>")).collect();
    let mut tasks = Vec::new();
    for body in &bodies {
        tasks.push(asked(&http, body).await);
    }
    seen.has(3).await;
    for answered in 1..=bodies.len() {
        seen.answers.add_permits(1);
        seen.has((answered + 3).min(bodies.len())).await;
    }
    for (task, body) in tasks.into_iter().zip(&bodies) {
        assert_eq!(&task.await.unwrap(), body, "each has its own answer");
    }
    let came = seen.bodies();
    let (first, rest) = (came[..3].iter().collect::<BTreeSet<_>>(), &came[3..]);
    assert_eq!(first, bodies[..3].iter().collect());
    assert_eq!(rest, &bodies[3..], "who came first goes first");
    assert_eq!(seen.most_open.load(Ordering::SeqCst), 3);
    assert_eq!(seen.connections.load(Ordering::SeqCst), 3);
    assert!(!seen.was_crowded.load(Ordering::SeqCst), "one at a time on each");
}

#[tokio::test]
async fn a_request_that_is_given_up_while_it_waits_is_never_sent_and_frees_its_place() {
    let service = Service::start().await;
    let (http, seen) = (service.http(1), &service.seen);
    let first = asked(&http, "<first/>").await;
    seen.has(1).await;
    let given_up = asked(&http, "<given-up/>").await;
    let last = asked(&http, "<last/>").await;
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    seen.answers.add_permits(2);
    assert_eq!(first.await.unwrap(), "<first/>");
    assert_eq!(last.await.unwrap(), "<last/>");
    assert_eq!(seen.bodies(), ["<first/>", "<last/>"]);
    assert_eq!(seen.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_request_that_is_given_up_under_way_takes_its_connection_with_it() {
    for by_halves in [false, true] {
        let service = Service::start().await;
        let (http, seen) = (service.http(1), &service.seen);
        seen.by_halves.store(by_halves, Ordering::SeqCst);
        let given_up = asked(&http, "<given-up/>").await;
        seen.has(1).await;
        let next = asked(&http, "<next/>").await;
        given_up.abort();
        assert!(given_up.await.unwrap_err().is_cancelled());
        seen.wait("the end of the first connection", |seen| {
            !seen.open.lock().unwrap().contains(&0)
        })
        .await;
        seen.has(2).await;
        seen.answers.add_permits(1);
        assert_eq!(next.await.unwrap(), "<next/>", "no answer of another");
        let connections: Vec<usize> = seen
            .requests
            .lock()
            .unwrap()
            .iter()
            .map(|(nth, _)| *nth)
            .collect();
        assert_eq!(connections, [0, 1]);
        assert!(!seen.was_crowded.load(Ordering::SeqCst));
    }
}
