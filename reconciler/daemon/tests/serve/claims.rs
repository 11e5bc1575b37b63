//! Claims over HTTP.

use crate::daemon::{CODE, Daemon, lab, lab_in, redeem, screened};
use labyard_store::testing::Database;
use std::{collections::HashSet, io::Write as _, process::Stdio};

macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test] fn $case() { super::$case(&labyard_store::testing::Database::sqlite()); })*
        }
        mod on_postgres {
            $(#[test] fn $case() {
                if let Some(database) = labyard_store::testing::Database::postgres() { super::$case(&database); }
            })*
        }
    };
}
pub(crate) use on_both;

on_both!(
    a_claim_is_redeemed_seen_paused_resumed_extended_and_given_back,
    a_class_of_thirty_behind_one_address_redeems_at_once,
    the_same_key_is_the_same_claim_after_a_kill,
);

fn a_claim_is_redeemed_seen_paused_resumed_extended_and_given_back(database: &Database) {
    lab(database, 1);
    let daemon = Daemon::start(database, "");
    let got = daemon.redeem("ada", "key-1", CODE, &[]);
    assert_eq!(got.status, 201, "{got:?}");
    assert_eq!(got.body["claim"]["machines"][0]["name"], "k8s-1");
    let (id, secret) = (
        got.body["claim"]["id"].as_str().unwrap(),
        got.body["secret"].as_str().unwrap(),
    );
    let path = format!("/v1/claims/{id}");
    let verb = |verb: &str, more: &[&str]| daemon.ask("POST", &format!("{path}/{verb}"), secret, more);

    assert_eq!(daemon.ask("GET", &path, secret, &[]).body["phase"], "bound");
    assert_eq!(verb("keepalive", &[]).status, 200);
    assert_eq!(verb("pause", &[]).body["phase"], "paused");
    let again = verb("pause", &[]);
    assert_eq!((again.status, again.problem()), (409, "wrong-phase"));
    assert_eq!(verb("resume", &[]).status, 200);
    let json = ["-H", "Content-Type: application/json", "-d", "{\"by_s\": 60}"];
    let longer = verb("extend", &json);
    assert!(
        longer.body["expires_at"].as_str() > got.body["claim"]["expires_at"].as_str(),
        "{longer:?}"
    );

    // Another has no business with it, and learns nothing of it.
    let other = daemon.ask("GET", &path, "0123456789abcdef", &[]);
    assert_eq!((other.status, other.problem()), (404, "no-claim"));
    assert_eq!(daemon.ask("GET", &path, "", &[]).status, 401);

    let none = daemon.redeem("ben", "key-2", CODE, &[]);
    assert_eq!((none.status, none.problem()), (409, "none-free"));
    assert_eq!(none.body["retryable"], true);
    assert_eq!(none.header("content-type"), Some("application/problem+json"));
    assert_eq!(none.body["request_id"].as_str(), none.header("x-request-id"));

    let released = daemon.ask("DELETE", &path, secret, &[]);
    assert_eq!(
        (released.status, &released.body["phase"]),
        (200, &"released".into())
    );
    assert_eq!(
        daemon.ask("DELETE", &path, secret, &[]).status,
        200,
        "it is given back already"
    );
    assert_eq!(verb("keepalive", &[]).problem(), "wrong-phase");
}

/// Thirty at once from one address behind a proxy, and nobody is slowed: only failures are counted, and those of others
/// behind the same proxy are others'.
fn a_class_of_thirty_behind_one_address_redeems_at_once(database: &Database) {
    lab(database, 30);
    let daemon = Daemon::start(
        database,
        "trusted_proxies = [\"127.0.0.1/32\"]\n[limits]\nfailures_per_source = 3\nfailures_per_code = 3\n\
         failure_refill = \"1h\"\n",
    );
    let wrong = |from: &str, number: u32| {
        let code = format!("WRNG-0000-0000-000{number}");
        daemon.redeem("eve", "key", &code, &["-H", from]).status
    };
    const CLASS: &str = "X-Forwarded-For: 192.0.2.1";
    let guesser = "X-Forwarded-For: 198.51.100.9";
    assert_eq!(
        [0, 1, 2, 3].map(|number| wrong(guesser, number)),
        [404, 404, 404, 429]
    );
    // Two of the class mistype it first.
    assert_eq!([4, 5].map(|number| wrong(CLASS, number)), [404, 404]);
    let machines: Vec<String> = std::thread::scope(|scope| {
        let class: Vec<_> = (0..30)
            .map(|seat| {
                let daemon = &daemon;
                scope.spawn(move || {
                    let got = daemon.redeem(
                        &format!("user-{seat}"),
                        &format!("key-{seat}"),
                        CODE,
                        &["-H", CLASS],
                    );
                    assert_eq!(got.status, 201, "{got:?}");
                    got.body["claim"]["machines"][0]["name"]
                        .as_str()
                        .unwrap()
                        .to_owned()
                })
            })
            .collect();
        class.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(
        machines.iter().collect::<HashSet<_>>().len(),
        30,
        "no machine twice"
    );
}

fn the_same_key_is_the_same_claim_after_a_kill(database: &Database) {
    lab(database, 3);
    let mut daemon = Daemon::start(database, "");
    let before = daemon.redeem("ada", "key-1", CODE, &[]);
    daemon.kill();
    daemon.restart();
    let after = daemon.redeem("ada", "key-1", CODE, &[]);
    assert_eq!(after.status, 201);
    assert_eq!(before.body, after.body, "the same claim, machine and secret");
    let secret = before.body["secret"].as_str().unwrap();
    let id = before.body["claim"]["id"].as_str().unwrap();
    let kept = daemon.ask("POST", &format!("/v1/claims/{id}/keepalive"), secret, &[]);
    assert_eq!(kept.status, 200, "{kept:?}");
    let other = daemon.redeem("ben", "key-1", CODE, &[]);
    assert_eq!((other.status, other.problem()), (422, "idempotency-key-reused"));
}

#[test]
fn wrong_codes_are_slowed_by_source_and_by_code() {
    let database = Database::sqlite();
    lab(&database, 9);
    let limits = "trusted_proxies = [\"127.0.0.1/32\"]\n[limits]\nfailures_per_source = 3\nfailures_per_code = 2\n\
                  failure_refill = \"1h\"\n";
    let daemon = Daemon::start(&database, limits);
    let from = |address: &str, code: &str| {
        let header = format!("X-Forwarded-For: {address}");
        daemon.redeem("eve", "key", code, &["-H", &header])
    };
    for number in 0..3 {
        let wrong = from("192.0.2.1", &format!("WRNG-0000-0000-000{number}"));
        assert_eq!((wrong.status, wrong.problem()), (404, "unknown-code"));
    }
    // From there no code is even looked at, the right one neither; from elsewhere it is.
    let slowed = from("192.0.2.1", CODE);
    assert_eq!((slowed.status, slowed.problem()), (429, "too-many-failures"));
    assert_eq!(slowed.header("retry-after"), Some("3600"));
    assert_eq!(from("192.0.2.2", CODE).status, 201);
    // One code is slowed wherever it is tried from.
    for address in ["198.51.100.1", "198.51.100.2"] {
        assert_eq!(from(address, "SAME-0000-0000-0000").status, 404);
    }
    assert_eq!(from("198.51.100.3", "SAME-0000-0000-0000").status, 429);
    // A token that is valid is not slowed by those who guess.
    let header = ["-H", "X-Forwarded-For: 192.0.2.1"];
    assert_eq!(daemon.ask("GET", "/v1/pools", &daemon.admin, &header).status, 200);
}

#[test]
fn who_waits_is_told_its_place_and_nobody_else_sees_it() {
    let database = Database::sqlite();
    lab(&database, 1);
    let daemon = Daemon::start(&database, "");
    daemon.redeem("ada", "a", CODE, &[]);
    let body = format!("{{\"code\": \"{CODE}\", \"user\": \"ben\", \"wait\": 60}}");
    let more = [
        "-H",
        "Content-Type: application/json",
        "-H",
        "Idempotency-Key: b",
        "-d",
        &body,
    ];
    let queued = daemon.ask("POST", "/v1/claims", &daemon.admin, &more);
    assert_eq!(
        (queued.status, &queued.body["claim"]["phase"]),
        (202, &"queued".into())
    );
    assert_eq!(queued.body["claim"]["position"], 1);
    let estimate = queued.body["claim"]["estimate_s"].as_u64().unwrap();
    assert!((7_000..=7_200).contains(&estimate), "{estimate}");
    let only = daemon.token("portal", "redeem", &[]);
    assert_eq!(daemon.ask("GET", "/v1/claims", &only, &[]).status, 403);
    let listed = daemon.ask("GET", "/v1/claims?phase=queued", &daemon.admin, &[]);
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 1);
    assert!(
        !listed
            .body
            .to_string()
            .contains(queued.body["secret"].as_str().unwrap())
    );
}

/// Invariant 6 across namespaces.
#[test]
fn a_token_of_a_namespace_reaches_nothing_of_another() {
    let database = Database::sqlite();
    lab(&database, 2);
    lab_in(&database, "physics", "PHYS-0000-0000-0001", 1);
    let daemon = Daemon::start(&database, "");
    let physics = daemon.token("physics", "admin", &["physics"]);
    let got = daemon.redeem("ada", "a", CODE, &[]);
    let id = got.body["claim"]["id"].as_str().unwrap();

    let other = redeem(&daemon.url, &physics, "bob", "b", CODE, &[]);
    assert_eq!((other.status, other.problem()), (404, "unknown-code"));
    // Also where a key of somebody else's would say that it was used.
    let other = redeem(&daemon.url, &physics, "bob", "a", CODE, &[]);
    assert_eq!((other.status, other.problem()), (404, "unknown-code"));
    assert_eq!(
        redeem(&daemon.url, &physics, "bob", "c", "PHYS-0000-0000-0001", &[]).status,
        201
    );
    assert_eq!(
        daemon
            .ask("GET", &format!("/v1/claims/{id}"), &physics, &[])
            .status,
        404
    );
    assert_eq!(
        daemon.ask("GET", "/v1/pools/k8s", &physics, &[]).problem(),
        "other-namespace"
    );
    assert_eq!(
        daemon
            .ask("GET", "/v1/pools/k8s?namespace=physics", &physics, &[])
            .status,
        200
    );
    for path in ["/v1/pools", "/v1/codes", "/v1/claims"] {
        let listed = daemon.ask("GET", path, &physics, &[]);
        let items = listed.body["items"].as_array().unwrap();
        assert!(
            !items.is_empty() && items.iter().all(|item| item["namespace"] == "physics"),
            "{listed:?}"
        );
    }
    let body = "{\"name\": \"x\", \"role\": \"viewer\", \"namespaces\": [\"default\"]}";
    let more = ["-H", "Content-Type: application/json", "-d", body];
    assert_eq!(daemon.ask("POST", "/v1/tokens", &physics, &more).status, 403);
    let tokens = daemon.ask("GET", "/v1/tokens", &physics, &[]);
    assert_eq!(tokens.body["items"].as_array().unwrap().len(), 1, "its own");
}

#[test]
fn the_command_line_redeems_and_gives_back_through_the_daemon_and_on_the_store() {
    let database = Database::sqlite();
    lab(&database, 2);
    let daemon = Daemon::start(&database, "");
    for on_store in [false, true] {
        let mut command = crate::daemon::labyard();
        command.args(["claim", "redeem", "--user", "ada", "-o", "json"]);
        match on_store {
            true => command.env("LABYARD_STORE", &daemon.store),
            false => command
                .env("LABYARD_ENDPOINT", &daemon.url)
                .env("LABYARD_TOKEN", &daemon.admin),
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Typed as people do.
        let typed = CODE.to_lowercase().replace('-', " ");
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success());
        let got: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        let id = got["claim"]["id"].as_str().unwrap();
        let secret = got["secret"].as_str().unwrap();
        let shown = daemon.cli(secret, &["claim", "show", id]);
        assert!(
            String::from_utf8_lossy(&shown.stdout).contains("k8s-"),
            "{shown:?}"
        );
        assert!(daemon.cli(secret, &["claim", "release", id]).status.success());
    }
    let refused = daemon.cli("lyt_0", &["pool", "list"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("token is not valid"),
        "{refused:?}"
    );
}

#[test]
fn a_machine_that_the_pool_keeps_can_be_required_and_is_refused_where_none_is_kept() {
    let database = Database::sqlite();
    lab(&database, 1);
    let daemon = Daemon::start(&database, "");
    let asks = |user: &str, bind: &str| {
        let body =
            format!("{{\"code\": \"{CODE}\", \"user\": \"{user}\", \"bind\": \"{bind}\", \"wait\": 60}}");
        let key = format!("Idempotency-Key: {user}");
        let more = ["-H", "Content-Type: application/json", "-H", &key, "-d", &body];
        daemon.ask("POST", "/v1/claims", &daemon.admin, &more)
    };
    assert_eq!(asks("ada", "require").status, 201, "one is free");
    // The pool keeps none ready.
    let refused = asks("ben", "require");
    assert_eq!((refused.status, refused.problem()), (409, "never-warm"));
    assert_eq!(refused.body["retryable"], false);
    assert_eq!(asks("ben", "prefer").status, 202);
    assert_eq!(asks("cleo", "warm").status, 422);
}

#[test]
fn a_claim_shows_the_address_that_its_machines_are_reached_from() {
    let database = Database::sqlite();
    lab(&database, 1);
    screened(&database);
    let daemon = Daemon::start(&database, "trusted_proxies = [\"127.0.0.1/32\"]\n");
    let got = daemon.redeem(
        "ada",
        "key-1",
        CODE,
        &["-H", "X-Forwarded-For: 203.0.113.9, 198.51.100.7"],
    );
    assert_eq!(got.body["claim"]["reached_from"], "198.51.100.7", "{got:?}");
    let (id, secret) = (
        got.body["claim"]["id"].as_str().unwrap(),
        got.body["secret"].as_str().unwrap(),
    );
    let shown = daemon.cli(secret, &["claim", "show", id]);
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(text.contains("198.51.100.7 alone"), "{shown:?}");
    let path = format!("/v1/claims/{id}");
    let over = daemon.ask("DELETE", &path, secret, &[]);
    assert_eq!(over.body["reached_from"], serde_json::Value::Null, "{over:?}");
}
