//! Events over HTTP.

use crate::{
    claims::on_both,
    daemon::{CODE, Daemon, lab, until},
};
use labyard_api::client::Client;
use labyard_store::{
    StoreError,
    event::{Event, Moment},
    testing::Database,
};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
};

on_both!(a_listener_that_was_cut_off_goes_on_and_loses_and_doubles_nothing);

/// A curl that listens.
struct Listener {
    child: Child,
    ids: Receiver<i64>,
}

impl Listener {
    fn after(daemon: &Daemon, last: Option<i64>) -> Self {
        let mut command = Command::new("curl");
        command.args([
            "-sS",
            "-N",
            "--noproxy",
            "*",
            "-H",
            &format!("Authorization: Bearer {}", daemon.admin),
        ]);
        if let Some(last) = last {
            command.args(["-H", &format!("Last-Event-ID: {last}")]);
        }
        let mut child = command
            .arg(format!("{}/v1/events", daemon.url))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, ids) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if let Some(id) = line.strip_prefix("id: ") {
                    let _ = sender.send(id.parse().unwrap());
                }
            }
        });
        Self { child, ids }
    }

    /// The numbers that come until that one.
    fn until(&self, last: i64) -> Vec<i64> {
        let mut all = Vec::new();
        while all.last() != Some(&last) {
            let next = self.ids.recv_timeout(std::time::Duration::from_secs(30));
            all.push(next.unwrap_or_else(|error| panic!("{error}: {all:?} and not {last}")));
        }
        all
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn newest(daemon: &Daemon) -> i64 {
    let out = daemon.cli(&daemon.admin, &["events", "-o", "json"]);
    let text = String::from_utf8(out.stdout).unwrap();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    last["id"].as_i64().unwrap()
}

fn a_listener_that_was_cut_off_goes_on_and_loses_and_doubles_nothing(database: &Database) {
    lab(database, 20);
    let mut daemon = Daemon::start(database, "");
    let begun = newest(&daemon);
    let first = Listener::after(&daemon, Some(0));
    assert_eq!(
        first.until(begun),
        (1..=begun).collect::<Vec<_>>(),
        "what was is told first"
    );
    daemon.redeem("ada", "key-0", CODE, &[]);
    let middle = newest(&daemon);
    assert_eq!(
        first.until(middle),
        (begun + 1..=middle).collect::<Vec<_>>(),
        "then what comes"
    );
    drop(first);
    for seat in 1..10 {
        daemon.redeem("ada", &format!("key-{seat}"), CODE, &[]);
    }
    daemon.kill();
    daemon.restart();
    let last = newest(&daemon);
    let second = Listener::after(&daemon, Some(middle));
    assert_eq!(second.until(last), (middle + 1..=last).collect::<Vec<_>>());
    // What another process writes into the store is told as well.
    daemon.token("late", "viewer", &[]);
    assert_eq!(second.until(last + 1), [last + 1]);
}

/// A hundred who listen, and one who takes nothing of what is sent.
#[test]
fn a_hundred_listeners_get_all_events_of_a_thousand_machines_and_none_waits_for_a_slow_one() {
    const MACHINES: i64 = 1_000;
    let database = Database::sqlite();
    lab(&database, 1);
    let daemon = Daemon::start(&database, "");
    let begun = newest(&daemon);
    let mut slow = TcpStream::connect(daemon.url.strip_prefix("http://").unwrap()).unwrap();
    write!(
        slow,
        "GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nLast-Event-ID: 0\r\n\r\n",
        daemon.admin
    )
    .unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = Client::http(&daemon.url, Some(daemon.admin.clone())).unwrap();
        let mut listeners = Vec::new();
        for _ in 0..100 {
            let mut events = client.events(None, Some(begun)).await.unwrap();
            listeners.push(tokio::spawn(async move {
                let mut seen = Vec::new();
                while seen.last() != Some(&(begun + MACHINES)) {
                    seen.push(events.next().await.unwrap().unwrap().id);
                }
                seen
            }));
        }
        // Each is long enough for the slow one's connection to be full soon.
        let told = database.open().await;
        for number in 0..MACHINES {
            let event = Event::new(Moment(number), "default", "test", "machine.made", "machine")
                .with("why", "x".repeat(500));
            let written: Result<_, StoreError> = told.write(move |write| write.event(&event)).await;
            written.unwrap();
        }
        let expected: Vec<i64> = (begun + 1..=begun + MACHINES).collect();
        let within = std::time::Duration::from_secs(60);
        for listener in listeners {
            let seen = tokio::time::timeout(within, listener).await.unwrap().unwrap();
            assert_eq!(seen, expected);
        }
    });
    assert_eq!(
        daemon.redeem("ada", "key", CODE, &[]).status,
        201,
        "it serves all the while"
    );
    drop(slow);
}

#[test]
fn a_stream_ends_when_its_token_is_revoked() {
    let database = Database::sqlite();
    lab(&database, 1);
    let daemon = Daemon::start(&database, "");
    let (mine, others) = (
        daemon.token("eve", "viewer", &[]),
        daemon.token("ada", "viewer", &[]),
    );
    let listening = |token: &str| {
        let mut command = Command::new("curl");
        command.args([
            "-sS",
            "-N",
            "--noproxy",
            "*",
            "-H",
            &format!("Authorization: Bearer {token}"),
        ]);
        command
            .arg(format!("{}/v1/events", daemon.url))
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        out.read_line(&mut greeting).unwrap();
        assert_eq!(greeting, ": events\n");
        (child, out)
    };
    let (mut revoked, _theirs) = listening(&mine);
    let (mut goes_on, _ours) = listening(&others);
    assert_eq!(
        daemon.ask("DELETE", "/v1/tokens/eve", &daemon.admin, &[]).status,
        200
    );
    until("the stream ends", || revoked.try_wait().unwrap());
    assert_eq!(goes_on.try_wait().unwrap(), None);
    goes_on.kill().unwrap();
    goes_on.wait().unwrap();
}

#[test]
fn the_command_line_follows_across_a_restart() {
    let database = Database::sqlite();
    lab(&database, 5);
    let daemon = Daemon::start(&database, "");
    let (socket, address) = crate::daemon::socket();
    let (mut one, _) = daemon.on_socket(&socket);
    let mut following = crate::daemon::labyard()
        .args(["events", "--follow", "-o", "json"])
        .args(["--after", "0"])
        .env("LABYARD_ENDPOINT", format!("http://{address}"))
        .env("LABYARD_TOKEN", &daemon.admin)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(following.stdout.take().unwrap());
    let (sender, ids) = channel();
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            let _ = sender.send(event["id"].as_i64().unwrap());
        }
    });
    assert_eq!(ids.recv_timeout(std::time::Duration::from_secs(30)).unwrap(), 1);
    one.kill().unwrap();
    one.wait().unwrap();
    daemon.redeem("ada", "key", CODE, &[]);
    let (mut two, _) = daemon.on_socket(&socket);
    let last = newest(&daemon);
    let mut seen = vec![1];
    until("all events", || {
        seen.extend(ids.try_iter());
        (seen.last() == Some(&last)).then_some(())
    });
    assert_eq!(seen, (1..=last).collect::<Vec<_>>());
    for child in [&mut following, &mut two] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
