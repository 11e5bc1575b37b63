//! Who makes a pool or a code, over HTTP: said with it, kept, taken over, written down.

use crate::{
    daemon::{Answer, Daemon},
    working::{pool, put},
};
use labyard_store::testing::Database;
use serde_json::{Value, json};

fn shown(daemon: &Daemon, path: &str) -> Value {
    daemon.ask("GET", path, &daemon.admin, &[]).body
}

fn told(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.problem())
}

/// The same for a pool and a code.
fn each(path: &str, asked: &Value, exists: &str) {
    let database = Database::sqlite();
    let daemon = Daemon::start(&database, "host_directories = [\"/boot\"]\n");
    let made = |query: &str| put(&daemon, &format!("{path}?{query}"), asked, &[]);
    let said = |making: Value| put(&daemon, &format!("{path}/maker"), &making, &[]);
    assert_eq!(made("maker=one").status, 202);
    let first = shown(&daemon, path);
    assert_eq!(first["maker"], "one");
    assert_eq!(told(&made("maker=two")), (409, exists));
    let renewed = said(json!({"id": first["id"], "maker": "one, later"}));
    assert_eq!(renewed.status, 200, "{renewed:?}");
    assert_eq!(told(&made("maker=two&left_by=one")), (409, exists));
    assert_eq!(made("maker=two&left_by=one%2C%20later").status, 202);
    let second = shown(&daemon, path);
    assert_eq!(second["maker"], "two");
    assert_ne!(second["id"], first["id"]);
    assert_eq!(told(&said(json!({"id": first["id"]}))), (409, "other-object"));
    for _ in 0..2 {
        assert_eq!(said(json!({"id": second["id"]})).status, 200);
    }
    let recorded = shown(&daemon, path);
    assert_eq!(
        (&recorded["id"], &recorded["maker"]),
        (&second["id"], &Value::Null)
    );
    assert_eq!(told(&made("maker=three&left_by=two")), (409, exists));
    for wrong in ["left_by=two", "maker=", "maker=a%00b"] {
        assert_eq!(told(&made(wrong)), (422, "invalid"), "{wrong}");
    }
}

#[test]
fn a_pool_is_taken_over_from_the_maker_that_was_seen_and_then_written_down() {
    each("/v1/pools/k8s", &pool(1), "pool-exists");
}

#[test]
fn a_code_is_taken_over_from_the_maker_that_was_seen_and_then_written_down() {
    let code = json!({"pools": {"k8s": {"count": 1}}});
    each("/v1/codes/class", &code, "code-exists");
}
