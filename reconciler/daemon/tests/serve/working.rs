//! The daemon at work on a simulated host: pools made over HTTP are filled, claims let in, machines taken back.

use crate::daemon::{Daemon, labyard, until};
use labyard_store::testing::Database;
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

/// A simulated host as a process.
pub(crate) struct Sim {
    child: Child,
    directory: tempfile::TempDir,
}

impl Sim {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = labyard()
            .args(["sim", "--boot", "50ms", "--socket"])
            .arg(directory.path().join("host"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.as_mut().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        Self { child, directory }
    }

    pub(crate) fn lines(&self) -> String {
        let socket = self.directory.path().join("host");
        format!(
            "host_directories = [\"/boot\"]\n[hosts.lab1]\nsim = {{ socket = \"{}\" }}\n",
            socket.display()
        )
    }

    /// The names of the machines that the host has, by the file that keeps its state.
    pub(crate) fn machines(&self) -> Vec<String> {
        let file = self.directory.path().join("host.json");
        let state: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let mut names: Vec<String> = find(&state, "names").keys().cloned().collect();
        names.sort();
        names
    }
}

/// A table of that name, wherever it stands.
fn find<'a>(value: &'a Value, name: &str) -> &'a serde_json::Map<String, Value> {
    let tables = value.as_object().unwrap();
    match tables.get(name).and_then(Value::as_object) {
        Some(found) => found,
        None => tables["state"][name].as_object().unwrap(),
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn put(daemon: &Daemon, path: &str, asked: &Value, more: &[&str]) -> crate::daemon::Answer {
    let body = asked.to_string();
    let mut all = vec!["-H", "Content-Type: application/json", "-d", &body];
    all.extend(more);
    daemon.ask("PUT", path, &daemon.admin, &all)
}

pub(crate) fn pool(ready: u32) -> Value {
    json!({
        "ready": ready, "max": 3, "lease": {"default": "1h", "pause": "10m"},
        "template": {
            "memory_mib": 64, "boot": {"kernel": "/boot/vmlinuz"}, "ready": {"wait": "agent"},
            "guest": {"admin_username": "learner"}, "shutdown": {"mode": "force"},
        },
    })
}

/// Waits for the end of an operation.
pub(crate) fn over(daemon: &Daemon, operation: &Value) -> Value {
    let path = format!("/v1/operations/{}", operation["id"].as_str().unwrap());
    until("the operation ends", || {
        let shown = daemon.ask("GET", &path, &daemon.admin, &[]).body;
        (shown["state"] != "running").then_some(shown)
    })
}

#[test]
fn a_pool_is_made_filled_claimed_entered_given_back_and_removed() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    let made = put(&daemon, "/v1/pools/k8s", &pool(1), &["-H", "If-None-Match: *"]);
    assert_eq!(made.status, 202, "{made:?}");
    let done = over(&daemon, &made.body);
    assert_eq!(done["state"], "succeeded", "{done}");
    let again = put(&daemon, "/v1/pools/k8s", &pool(2), &["-H", "If-None-Match: *"]);
    assert_eq!((again.status, again.problem()), (412, "other-version"));

    let code = put(&daemon, "/v1/codes/class", &json!({"pools": {"k8s": {}}}), &[]);
    assert_eq!(
        (code.status, &code.body["state"]),
        (202, &"succeeded".into()),
        "{code:?}"
    );
    let values = daemon.ask("GET", "/v1/codes/class/values", &daemon.admin, &[]);
    let typed = values.body["values"]["main"].as_str().unwrap();
    assert!(
        !daemon
            .ask("GET", "/v1/codes/class", &daemon.admin, &[])
            .body
            .to_string()
            .contains(typed)
    );

    let got = daemon.redeem("ada", "key", typed, &[]);
    assert_eq!(got.status, 201, "{got:?}");
    let secret = got.body["secret"].as_str().unwrap();
    let path = format!("/v1/claims/{}", got.body["claim"]["id"].as_str().unwrap());
    let claim = until("the claim is ready", || {
        let shown = daemon.ask("GET", &path, secret, &[]).body;
        (shown["phase"] == "ready").then_some(shown)
    });
    let machine = &claim["machines"][0];
    assert_eq!(
        (&machine["host"], &machine["user"]),
        (&"lab1".into(), &"learner".into())
    );
    let key = machine["credentials"]["private_key"].as_str().unwrap();
    assert!(key.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
    // Nobody else is told, and after the first keepalive its holder neither.
    let seen = daemon.ask("GET", &path, &daemon.admin, &[]);
    assert_eq!(seen.body["machines"][0]["credentials"], Value::Null);
    assert_eq!(
        daemon
            .ask("POST", &format!("{path}/keepalive"), secret, &[])
            .status,
        200
    );
    let later = daemon.ask("GET", &path, secret, &[]);
    assert_eq!(later.body["machines"][0]["credentials"], Value::Null);

    assert_eq!(daemon.ask("DELETE", &path, secret, &[]).status, 200);
    until("the machine is free again", || {
        let shown = daemon.ask("GET", "/v1/pools/k8s", &daemon.admin, &[]).body;
        (shown["counts"]["free"] == 1 && shown["condition"]["type"] == "ready").then_some(())
    });
    let events = daemon.cli(&daemon.admin, &["events"]);
    let events = String::from_utf8_lossy(&events.stdout).into_owned();
    assert!(events.contains("root  pool.made  pool/k8s"), "{events}");
    assert!(!events.contains(typed) && !events.contains("PRIVATE KEY"));

    let removed = daemon.ask("DELETE", "/v1/pools/k8s", &daemon.admin, &[]);
    assert_eq!(removed.status, 202, "{removed:?}");
    assert_eq!(over(&daemon, &removed.body)["state"], "succeeded");
    assert_eq!(
        daemon.ask("GET", "/v1/pools/k8s", &daemon.admin, &[]).problem(),
        "no-pool"
    );
}

#[test]
fn a_daemon_that_is_killed_while_it_fills_a_pool_finishes_it_when_it_is_back() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let mut daemon = Daemon::start(&database, &sim.lines());
    let made = put(&daemon, "/v1/pools/k8s", &pool(3), &[]);
    daemon.kill();
    daemon.restart();
    let path = format!("/v1/operations/{}", made.body["id"].as_str().unwrap());
    // Work that the killed one had is taken up when its lease has run out.
    let done = crate::daemon::until_within("the operation ends", 180, || {
        let shown = daemon.ask("GET", &path, &daemon.admin, &[]).body;
        (shown["state"] != "running").then_some(shown)
    });
    assert_eq!(done["state"], "succeeded", "{done}");
    let counts = daemon.ask("GET", "/v1/pools/k8s", &daemon.admin, &[]).body["counts"].clone();
    assert_eq!((&counts["free"], &counts["building"]), (&3.into(), &0.into()));
}

#[test]
fn what_a_pool_may_not_be_is_refused_where_it_stands() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(
        &database,
        &format!("image_directories = [\"/srv/images\"]\n{}", sim.lines()),
    );
    let with = |name: &str, value: Value| {
        let mut asked = pool(1);
        asked[name] = value;
        put(&daemon, "/v1/pools/k8s", &asked, &[])
    };
    for (name, value, at) in [
        ("ready", json!(9), "/ready"),
        ("strategy", json!("cold"), "/strategy"),
        ("hosts", json!(["lab2"]), "/hosts/0"),
        ("name", json!("other"), "/name"),
        ("colour", json!("red"), "/colour"),
    ] {
        let refused = with(name, value);
        assert_eq!(
            (refused.status, refused.problem()),
            (422, "invalid"),
            "{name}: {refused:?}"
        );
        assert!(
            refused.body["errors"]
                .as_array()
                .unwrap()
                .iter()
                .any(|wrong| wrong["at"] == at),
            "{refused:?}"
        );
    }
    let from = |source: &str| {
        let mut asked = pool(0);
        asked["template"]["disks"] = json!({"root": {"size_gib": 1, "image": {"source": source}}});
        put(&daemon, "/v1/pools/k8s", &asked, &[]).status
    };
    // The server's own files are nobody's who may make pools.
    assert_eq!(from("file:/etc/shadow"), 422);
    assert_eq!(from("file:/srv/images/../../etc/shadow"), 422);
    assert_eq!(from("file:/srv/images/tiny.qcow2"), 202);
}

#[test]
fn a_namespace_has_no_more_than_its_quota_and_is_told_which() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let quotas = "[quotas.default]\nmachines = 5\nmemory_mib = 256\n";
    let daemon = Daemon::start(&database, &format!("{}{quotas}", sim.lines()));
    let asked = |max: u32| {
        let mut asked = pool(0);
        asked["max"] = max.into();
        asked
    };
    assert_eq!(put(&daemon, "/v1/pools/a", &asked(3), &[]).status, 202);
    let refused = put(&daemon, "/v1/pools/b", &asked(2), &[]);
    assert_eq!(
        (refused.status, refused.problem()),
        (403, "over-quota"),
        "{refused:?}"
    );
    let said = json!({"namespace": "default", "of": "memory_mib", "quota": 256, "used": 192, "asked": 128});
    assert_eq!(refused.body["quota"], said);
    assert_eq!(refused.body["retryable"], false);
    assert_eq!(daemon.ask("GET", "/v1/pools/b", &daemon.admin, &[]).status, 404);
    let listed = daemon.ask("GET", "/v1/quotas", &daemon.admin, &[]);
    let expected = json!([{
        "namespace": "default", "machines": {"used": 3, "quota": 5}, "cpus": {"used": 3, "quota": null},
        "memory_mib": {"used": 192, "quota": 256},
    }]);
    assert_eq!(listed.body["items"], expected);
    let numbers = daemon.ask("GET", "/metrics", &daemon.admin, &[]);
    let numbers = numbers.body.as_str().unwrap().to_owned();
    for line in [
        "labyard_quota{namespace=\"default\",of=\"memory_mib\"} 256\n",
        "labyard_quota_used{namespace=\"default\",of=\"memory_mib\"} 192\n",
    ] {
        assert!(numbers.contains(line), "{line}{numbers}");
    }
}

#[test]
fn hosts_are_listed_checked_cordoned_and_opened() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    let wish = |verb: &str| {
        let out = daemon.cli(&daemon.admin, &["host", verb, "lab1", "-o", "json"]);
        assert!(out.status.success(), "{out:?}");
        serde_json::from_slice::<Value>(&out.stdout).unwrap()["wish"].clone()
    };
    assert_eq!(wish("cordon"), "cordoned");
    let listed = daemon.ask("GET", "/v1/hosts", &daemon.admin, &[]);
    assert_eq!(listed.body["items"][0]["wish"], "cordoned");
    assert_eq!(wish("open"), "open");
    let unknown = daemon.cli(&daemon.admin, &["host", "drain", "lab9"]);
    assert_eq!(unknown.status.code(), Some(1));
    let config = daemon.directory.path().join("labyard.toml");
    let check = || {
        labyard()
            .args(["host", "check", "--config"])
            .arg(&config)
            .output()
            .unwrap()
    };
    assert!(check().status.success(), "{:?}", check());
    drop(sim);
    let silent = check();
    assert_eq!(silent.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&silent.stdout).contains("no"),
        "{silent:?}"
    );
}
