//! The daemon as a service: how it begins, ends, is replaced, and what it lets anybody take of it.

use crate::daemon::{CODE, Daemon, curl, ended, lab, labyard, redeem, socket, terminate, until};
use labyard_store::testing::Database;
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixDatagram,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

#[test]
fn who_is_told_to_end_lets_requests_end_and_takes_no_more() {
    let database = Database::sqlite();
    lab(&database, 1);
    let mut daemon = Daemon::start(&database, "");
    let address = daemon.url.strip_prefix("http://").unwrap().to_owned();
    let body = format!("{{\"code\": \"{CODE}\", \"user\": \"ada\"}}");
    let mut slow = TcpStream::connect(&address).unwrap();
    write!(
        slow,
        "POST /v1/claims HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nIdempotency-Key: k\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        daemon.admin,
        body.len()
    )
    .unwrap();
    // It asks for the body: it is in the middle of the request.
    let mut head = [0; 25];
    slow.read_exact(&mut head).unwrap();
    assert!(head.starts_with(b"HTTP/1.1 100 Continue"));
    daemon.terminate();
    until("no more connections are taken", || {
        TcpStream::connect(&address).err()
    });
    slow.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(daemon.ended().success());
}

/// Claims that are made while one daemon follows another on a socket that is handed over: none is refused or lost.
#[test]
fn a_restart_on_a_socket_that_is_handed_over_refuses_nobody() {
    let database = Database::sqlite();
    lab(&database, 60);
    let daemon = Daemon::start(&database, "");
    let (socket, address) = socket();
    let (mut serving, _) = daemon.on_socket(&socket);
    let (url, done) = (format!("http://{address}"), AtomicBool::new(false));
    let made = std::thread::scope(|scope| {
        let class = scope.spawn(|| {
            let mut made = 0;
            while !done.load(Ordering::Relaxed) && made < 60 {
                let got = redeem(&url, &daemon.admin, "ada", &format!("key-{made}"), CODE, &[]);
                assert_eq!(got.status, 201, "{got:?}");
                made += 1;
            }
            made
        });
        for _ in 0..3 {
            terminate(&serving);
            assert!(ended(&mut serving).success());
            (serving, _) = daemon.on_socket(&socket);
        }
        done.store(true, Ordering::Relaxed);
        class.join().unwrap()
    });
    assert!(made > 0);
    terminate(&serving);
    assert!(ended(&mut serving).success());
    let pool = daemon.ask("GET", "/v1/pools/k8s", &daemon.admin, &[]);
    assert_eq!(pool.body["counts"]["claimed"], made);
}

#[test]
fn a_socket_that_others_reach_is_not_served_without_a_certificate() {
    let database = Database::sqlite();
    let daemon = Daemon::start(&database, "");
    let socket = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| daemon.on_socket(&socket)));
    let said = refused.map(drop).unwrap_err();
    let said = said.downcast_ref::<String>().unwrap();
    assert!(said.contains("plain text"), "{said}");
}

#[test]
fn the_service_manager_is_told_when_it_serves() {
    let database = Database::sqlite();
    let daemon = Daemon::start(&database, "");
    let path = daemon.directory.path().join("notify");
    let told = UnixDatagram::bind(&path).unwrap();
    told.set_read_timeout(Some(std::time::Duration::from_secs(30)))
        .unwrap();
    let mut child = labyard()
        .args(["serve", "--config"])
        .arg(daemon.directory.path().join("labyard.toml"))
        .env("NOTIFY_SOCKET", &path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut text = [0; 64];
    let length = told.recv(&mut text).unwrap();
    assert_eq!(&text[..length], b"READY=1");
    terminate(&child);
    let length = told.recv(&mut text).unwrap();
    assert_eq!(&text[..length], b"STOPPING=1");
    assert!(ended(&mut child).success());
}

#[test]
fn what_is_too_long_or_no_json_is_refused_with_its_reason() {
    let database = Database::sqlite();
    lab(&database, 1);
    let daemon = Daemon::start(&database, "[limits]\nbody_bytes = 200\n");
    let json = "Content-Type: application/json";
    let ask = |more: &[&str]| daemon.ask("POST", "/v1/claims", &daemon.admin, more);
    let long = format!("{{\"code\": \"{}\"}}", "x".repeat(300));
    let key = "Idempotency-Key: k";
    for (more, status, problem) in [
        (vec!["-H", json, "-H", key, "-d", &long], 413, "too-long"),
        (vec!["-H", json, "-H", key, "-d", "{"], 400, "no-json"),
        (
            vec!["-H", "Content-Type: text/plain", "-H", key, "-d", "{}"],
            415,
            "media-type",
        ),
        (vec!["-H", json, "-H", key, "-d", "{}"], 422, "invalid"),
        (
            vec!["-H", json, "-H", key, "-d", "{\"code\": \"x\", \"user\": 7}"],
            422,
            "invalid",
        ),
        (
            vec!["-H", json, "-d", "{\"code\": \"x\", \"user\": \"a\"}"],
            422,
            "invalid",
        ),
    ] {
        let answer = ask(&more);
        assert_eq!(
            (answer.status, answer.problem()),
            (status, problem),
            "{more:?} {answer:?}"
        );
    }
    let secret = ask(&[
        "-H",
        json,
        "-H",
        key,
        "-d",
        "{\"code\": 123454321, \"user\": \"a\"}",
    ]);
    assert!(!secret.body.to_string().contains("123454321"), "{secret:?}");
}

#[test]
fn numbers_and_health_are_shown() {
    let database = Database::sqlite();
    lab(&database, 2);
    let daemon = Daemon::start(&database, "");
    assert_eq!(daemon.ask("GET", "/healthz", "", &[]).status, 200);
    assert_eq!(daemon.ask("GET", "/readyz", "", &[]).status, 200);
    daemon.redeem("ada", "key", CODE, &[]);
    let numbers = daemon.ask("GET", "/metrics", &daemon.admin, &[]);
    let text = numbers.body.as_str().unwrap();
    for line in [
        "labyard_pool_machines{namespace=\"default\",pool=\"k8s\",state=\"free\"} 1\n",
        "labyard_pool_machines{namespace=\"default\",pool=\"k8s\",state=\"claimed\"} 1\n",
        "labyard_request_seconds_count{operation=\"redeem\",status=\"201\"} 1\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    // Who sees one namespace sees no numbers of others, and none of the whole.
    let physics = daemon.token("physics", "viewer", &["physics"]);
    let numbers = daemon.ask("GET", "/metrics", &physics, &[]);
    let text = numbers.body.as_str().unwrap();
    assert!(text.contains("labyard_operations_running 0\n"), "{text}");
    for none in ["default", "labyard_request_seconds", "labyard_events_total"] {
        assert!(!text.contains(none), "{none}: {text}");
    }
}

#[test]
fn a_certificate_is_served_and_looked_at() {
    let database = Database::sqlite();
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.path().join("c.pem"), directory.path().join("k.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let lines = format!(
        "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
        certificate.display(),
        key.display()
    );
    let daemon = Daemon::start(&database, &lines);
    let url = daemon.url.replace("127.0.0.1", "localhost");
    assert!(url.starts_with("https://"));
    let trusted = curl(
        &url,
        "GET",
        "/healthz",
        "",
        &["--cacert", certificate.to_str().unwrap()],
    );
    assert_eq!(trusted.status, 200);
    let ask = |trust: bool| {
        let mut command = labyard();
        command
            .args(["pool", "list", "--endpoint", &url])
            .env("LABYARD_TOKEN", &daemon.admin);
        if trust {
            command.env("SSL_CERT_FILE", &certificate);
        }
        command.output().unwrap()
    };
    assert!(ask(true).status.success(), "{:?}", ask(true));
    let refused = ask(false);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("certificate"),
        "{refused:?}"
    );
}

/// Writes a new certificate and its key into the files of a server.
fn certified(directory: &std::path::Path) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(directory.join("c.pem"), made.cert.pem()).unwrap();
    std::fs::write(directory.join("k.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.pem()
}

#[test]
fn a_new_certificate_is_shown_without_a_restart_and_a_bad_one_changes_nothing() {
    let database = Database::sqlite();
    let directory = tempfile::tempdir().unwrap();
    let first = certified(directory.path());
    let path = |name: &str| directory.path().join(name).display().to_string();
    let lines = format!(
        "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
        path("c.pem"),
        path("k.pem")
    );
    let daemon = Daemon::start(&database, &lines);
    let url = daemon.url.replace("127.0.0.1", "localhost");
    let trusts = |certificate: &str| {
        std::fs::write(directory.path().join("trusted.pem"), certificate).unwrap();
        let mut curl = std::process::Command::new("curl");
        curl.args([
            "-sS",
            "--noproxy",
            "*",
            "--max-time",
            "20",
            "--cacert",
            &path("trusted.pem"),
        ]);
        curl.arg(format!("{url}/healthz")).output().unwrap().stdout == b"ok\n"
    };
    assert!(trusts(&first));
    // Who has connected already stays.
    let streaming = Command::new("curl")
        .args(["-sS", "-N", "--noproxy", "*", "--cacert", &path("c.pem"), "-H"])
        .arg(format!("Authorization: Bearer {}", daemon.admin))
        .arg(format!("{url}/v1/events"))
        .stdout(Stdio::piped())
        .spawn();
    let mut streaming = streaming.unwrap();
    let mut greeting = [0; 10];
    streaming
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut greeting)
        .unwrap();
    let second = certified(directory.path());
    daemon.signal("HUP");
    until("the new certificate is shown", || trusts(&second).then_some(()));
    assert!(!trusts(&first));
    std::fs::write(directory.path().join("k.pem"), "noise").unwrap();
    daemon.signal("HUP");
    daemon.token("late", "viewer", &[]);
    let mut told = [0; 4];
    streaming.stdout.as_mut().unwrap().read_exact(&mut told).unwrap();
    assert!(trusts(&second), "what cannot be read changes nothing");
    streaming.kill().unwrap();
    streaming.wait().unwrap();
    // Also where nobody says that it changed.
    let third = certified(directory.path());
    until("the third certificate is shown", || trusts(&third).then_some(()));
}

#[test]
fn a_configuration_is_checked_by_key_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("labyard.toml");
    std::fs::write(&path, "store = \"/s\"\n[limits]\nbody = 1\n").unwrap();
    let checked = labyard().args(["config", "check"]).arg(&path).output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(
        said.contains("labyard.toml: line 3: limits.body: unknown field"),
        "{said}"
    );
    std::fs::write(&path, "store = \"/s\"\n").unwrap();
    assert!(
        labyard()
            .args(["config", "check"])
            .arg(&path)
            .output()
            .unwrap()
            .status
            .success()
    );
}
