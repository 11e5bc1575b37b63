//! Consoles that are typed into over a WebSocket, on a simulated host.

use crate::{
    daemon::{Daemon, until},
    machines::{WEB, get, made},
    working::{Sim, over, pool, put},
};
use labyard_api::{
    client::{
        Client, ClientError,
        console::{Former, Hearing, Said, Typing},
        http::Http,
    },
    console::End,
};
use labyard_store::testing::Database;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const CONSOLE: &str = "/v1/vms/lab1/web/console";

pub(crate) fn machine(power: &str) -> Value {
    json!({"attributes": {
        "memory_mib": 64, "boot": {"kernel": "/boot/vmlinuz"}, "power": power, "shutdown": {"mode": "force"},
    }})
}

/// Somebody at a console.
struct Typist {
    typing: Typing,
    hearing: Hearing,
}

impl Typist {
    async fn at(client: &Client, name: &str, former: Former) -> Result<Self, ClientError> {
        let (typing, hearing) = client.console(None, ("lab1", name), former).await?;
        Ok(Self { typing, hearing })
    }

    async fn press(&mut self, keys: &'static str) {
        self.typing.press(keys.into()).await.unwrap();
    }

    /// Reads until that comes.
    async fn hears(&mut self, text: &str) {
        let mut said = String::new();
        let reading = async {
            while !said.contains(text) {
                match self.hearing.next().await.unwrap() {
                    Said::Bytes(bytes) => said += &String::from_utf8_lossy(&bytes),
                    Said::Over(end) => panic!("{end:?} before {text:?} came: {said:?}"),
                }
            }
        };
        let heard = tokio::time::timeout(PATIENCE, reading).await;
        assert!(heard.is_ok(), "{text:?} did not come: {said:?}");
    }

    /// Presses a key until the guest answers: before it is up it hears nothing.
    async fn is_asked_who_he_is(&mut self) {
        let waiting = async {
            loop {
                self.press("\r").await;
                let next = tokio::time::timeout(Duration::from_millis(200), self.hearing.next()).await;
                match next {
                    Ok(Ok(Said::Bytes(bytes))) if String::from_utf8_lossy(&bytes).contains("login:") => {
                        return;
                    }
                    Ok(Ok(Said::Bytes(_))) | Err(_) => {}
                    Ok(other) => panic!("{other:?}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("the guest answers");
    }

    /// Reads to the end.
    async fn end(&mut self) -> Option<End> {
        let reading = async {
            loop {
                if let Said::Over(end) = self.hearing.next().await.unwrap() {
                    return end;
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("it ends")
    }
}

fn client(daemon: &Daemon, token: &str) -> Client {
    Client::http(&daemon.url, Some(token.to_owned())).unwrap()
}

fn problem(error: &ClientError) -> (u16, String) {
    match error {
        ClientError::Refused(problem) => (problem.status, problem.kind().to_owned()),
        other => panic!("{other}"),
    }
}

/// How often somebody began to type.
fn begun(daemon: &Daemon) -> usize {
    events(daemon).matches("vm.console").count()
}

pub(crate) fn events(daemon: &Daemon) -> String {
    let out = daemon.cli(&daemon.admin, &["events"]);
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn now<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work)
}

#[test]
fn what_is_typed_is_echoed_and_answered_and_who_typed_stands_in_the_log() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    made(&daemon, WEB, &machine("running"));
    let operator = daemon.token("olga", "operator", &[]);
    now(async {
        let mut typist = Typist::at(&client(&daemon, &operator), "web", Former::Keeps)
            .await
            .unwrap();
        typist.is_asked_who_he_is().await;
        typist.press("ada\r").await;
        typist.hears("Welcome, ada").await;
        typist.press("echo so it is\r").await;
        typist.hears("\r\nso it is\r\n").await;
        typist.typing.close().await.unwrap();
        assert_eq!(typist.end().await, None, "the close is agreed to");
    });
    let events = events(&daemon);
    assert!(events.contains("olga  vm.console  vm/lab1/web"), "{events}");
    assert_eq!(begun(&daemon), 1);
}

#[test]
fn who_may_not_type_is_refused_and_a_plain_request_reads_as_ever() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    made(&daemon, WEB, &machine("running"));
    let viewer = daemon.token("vera", "viewer", &[]);
    let other = daemon.token("otto", "operator", &["other"]);
    now(async {
        for (token, status) in [(&viewer, 403), (&other, 403), (&"lyt_wrong".to_owned(), 401)] {
            let refused = Typist::at(&client(&daemon, token), "web", Former::Loses).await;
            assert_eq!(problem(&refused.err().unwrap()).0, status);
        }
        let nowhere = Typist::at(&client(&daemon, &daemon.admin), "none", Former::Keeps).await;
        assert_eq!(problem(&nowhere.err().unwrap()), (404, "gone".to_owned()));
    });
    let upgrade = ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket"];
    let wrong = daemon.ask("GET", CONSOLE, &daemon.admin, &upgrade);
    assert_eq!(
        (wrong.status, wrong.problem()),
        (426, "no-websocket"),
        "{wrong:?}"
    );
    // Nothing comes of a quiet machine: curl gives up by itself, and has its head.
    let read = daemon.ask("GET", CONSOLE, &daemon.admin, &["--max-time", "2"]);
    assert_eq!(
        (read.status, read.header("content-type")),
        (200, Some("application/octet-stream"))
    );
    assert_eq!(begun(&daemon), 0, "nobody has typed");
}

#[test]
fn a_console_is_had_by_one_and_who_loses_it_is_told() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    made(&daemon, WEB, &machine("running"));
    let client = client(&daemon, &daemon.admin);
    now(async {
        let mut first = Typist::at(&client, "web", Former::Keeps).await.unwrap();
        let refused = Typist::at(&client, "web", Former::Keeps).await.err().unwrap();
        assert_eq!(problem(&refused), (409, "console-taken".to_owned()));
        let mut second = Typist::at(&client, "web", Former::Loses).await.unwrap();
        assert_eq!(first.end().await, Some(End::TakenOver));
        second.is_asked_who_he_is().await;
    });
    // By who only reads, too; and a reader is told at the end of what he read.
    let reader = std::thread::spawn({
        let (url, admin) = (daemon.url.clone(), daemon.admin.clone());
        move || crate::daemon::curl(&url, "GET", CONSOLE, &admin, &[])
    });
    now(async {
        let taken = async {
            loop {
                // Refused for as long as the reader has it, and before him nobody has.
                match Typist::at(&client, "web", Former::Keeps).await {
                    Ok(typist) => drop(typist),
                    Err(error) => {
                        assert_eq!(problem(&error).1, "console-taken");
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, taken)
            .await
            .expect("the reader has it");
        let mut third = Typist::at(&client, "web", Former::Loses).await.unwrap();
        third.is_asked_who_he_is().await;
    });
    let read = reader.join().unwrap();
    assert!(
        read.body.to_string().contains("taken the console over"),
        "{read:?}"
    );
}

#[test]
fn a_machine_that_does_not_run_has_no_console_and_one_that_ends_takes_it_along() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    made(&daemon, WEB, &machine("stopped"));
    let client = client(&daemon, &daemon.admin);
    now(async {
        let refused = Typist::at(&client, "web", Former::Keeps).await.err().unwrap();
        assert_eq!(problem(&refused), (409, "not-running".to_owned()));
    });
    assert_eq!(begun(&daemon), 0, "nobody got to type");
    made(&daemon, WEB, &machine("running"));
    now(async {
        let mut typist = Typist::at(&client, "web", Former::Loses).await.unwrap();
        let asked = put(&daemon, WEB, &machine("stopped"), &[]);
        assert_eq!(typist.end().await, Some(End::Machine));
        assert_eq!(over(&daemon, &asked.body)["state"], "succeeded");
    });
}

#[test]
fn a_daemon_that_ends_says_so_to_who_types_and_waits_for_nobody() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let mut daemon = Daemon::start(&database, &sim.lines());
    made(&daemon, WEB, &machine("running"));
    now(async {
        let mut typist = Typist::at(&client(&daemon, &daemon.admin), "web", Former::Loses)
            .await
            .unwrap();
        typist.is_asked_who_he_is().await;
        let begun = std::time::Instant::now();
        daemon.terminate();
        assert_eq!(typist.end().await, Some(End::Server));
        drop(typist);
        assert!(daemon.ended().success());
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    });
}

#[test]
fn who_types_stops_when_his_token_is_revoked() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    made(&daemon, WEB, &machine("running"));
    let operator = daemon.token("olga", "operator", &[]);
    now(async {
        let mut typist = Typist::at(&client(&daemon, &operator), "web", Former::Loses)
            .await
            .unwrap();
        let revoked = daemon.ask("DELETE", "/v1/tokens/olga", &daemon.admin, &[]);
        assert_eq!(revoked.status, 200, "{revoked:?}");
        assert_eq!(typist.end().await, Some(End::NotAllowed));
    });
}

#[test]
fn a_pools_machine_is_typed_into_while_a_claim_has_it_and_no_longer() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    let asked = put(&daemon, "/v1/pools/k8s", &pool(1), &[]);
    assert_eq!(over(&daemon, &asked.body)["state"], "succeeded");
    put(&daemon, "/v1/codes/class", &json!({"pools": {"k8s": {}}}), &[]);
    let values = get(&daemon, "/v1/codes/class/values").body;
    let code = values["values"]["main"].as_str().unwrap().to_owned();
    let name = until("the pool has its machine", || {
        let listed = get(&daemon, "/v1/vms").body;
        let machines = listed["items"].as_array()?;
        let member = machines.iter().find(|vm| vm["pool"] == "k8s")?;
        Some(member["name"].as_str()?.to_owned())
    });
    let client = client(&daemon, &daemon.admin);
    now(async {
        let refused = Typist::at(&client, &name, Former::Loses).await.err().unwrap();
        assert_eq!(problem(&refused), (409, "pool-member".to_owned()));
        assert!(refused.to_string().contains("Redeem a code"), "{refused}");
    });
    assert_eq!(begun(&daemon), 0);
    let got = daemon.redeem("ada", "key", &code, &[]);
    assert_eq!(got.status, 201, "{got:?}");
    let (secret, id) = (
        got.body["secret"].as_str().unwrap(),
        got.body["claim"]["id"].as_str().unwrap(),
    );
    let path = format!("/v1/claims/{id}");
    // Asked for by the administrator, who is not told how to enter it.
    until("the claim is ready", || {
        (get(&daemon, &path).body["phase"] == "ready").then_some(())
    });
    now(async {
        let mut typist = Typist::at(&client, &name, Former::Loses).await.unwrap();
        typist.is_asked_who_he_is().await;
        assert_eq!(daemon.ask("DELETE", &path, secret, &[]).status, 200);
        let end = typist.end().await;
        // Whichever is seen first: the claim is over, or its machine is on the way back already.
        assert!(matches!(end, Some(End::MovedOn | End::Machine)), "{end:?}");
        let refused = Typist::at(&client, &name, Former::Loses).await.err().unwrap();
        assert!(matches!(problem(&refused).0, 404 | 409), "{refused}");
    });
    let events = events(&daemon);
    assert!(
        events.contains(&format!("vm.console  vm/lab1/{name}")),
        "{events}"
    );
}

#[test]
fn a_console_is_typed_into_over_tls() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let directory = tempfile::tempdir().unwrap();
    let made_up = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.path().join("c.pem"), directory.path().join("k.pem"));
    std::fs::write(&certificate, made_up.cert.pem()).unwrap();
    std::fs::write(&key, made_up.signing_key.serialize_pem()).unwrap();
    let tls = format!(
        "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
        certificate.display(),
        key.display()
    );
    let daemon = Daemon::start(&database, &format!("{}{tls}", sim.lines()));
    let url = daemon.url.replace("127.0.0.1", "localhost");
    let body = machine("running").to_string();
    let authority = certificate.to_str().unwrap();
    let more = [
        "--cacert",
        authority,
        "-H",
        "Content-Type: application/json",
        "-d",
        &body,
    ];
    let asked = crate::daemon::curl(&url, "PUT", WEB, &daemon.admin, &more);
    assert_eq!(asked.status, 202, "{asked:?}");
    let path = format!("/v1/operations/{}", asked.body["id"].as_str().unwrap());
    until("the machine is made", || {
        let shown = crate::daemon::curl(&url, "GET", &path, &daemon.admin, &["--cacert", authority]);
        (shown.body["state"] == "succeeded").then_some(())
    });
    let http = Http::new(&url)
        .unwrap()
        .trusting(made_up.cert.pem().as_bytes())
        .unwrap();
    let client = Client::over(Arc::new(http), Some(daemon.admin.clone()));
    now(async {
        let mut typist = Typist::at(&client, "web", Former::Loses).await.unwrap();
        typist.is_asked_who_he_is().await;
    });
}
