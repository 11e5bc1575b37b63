//! Changes that rest on what was seen of an object, asked for by engines as by people.

use crate::{
    daemon::Daemon,
    machines::{LAB, WEB, desired, escaped, get, made, network, view},
    working::{Sim, over, put},
};
use labyard_store::testing::Database;
use serde_json::{Value, json};

#[test]
fn what_an_engine_changes_is_the_version_that_it_says() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    let rests = |tag: &str| format!("If-Match: {tag}");
    let web = view(&made(&daemon, WEB, &json!({"desired": desired(128)})));
    let known = json!({"identity": web.identity(), "id": web.id});
    let tag = get(&daemon, WEB).header("etag").unwrap().to_owned();
    let update = json!({"desired": desired(256), "known": desired(128), "object": known});
    let stale = put(&daemon, WEB, &update, &["-H", &rests("\"x\"")]);
    assert_eq!(
        (stale.status, stale.problem()),
        (412, "other-version"),
        "{stale:?}"
    );
    let only_new = put(
        &daemon,
        WEB,
        &json!({"desired": desired(64)}),
        &["-H", "If-None-Match: *"],
    );
    assert_eq!((only_new.status, only_new.problem()), (412, "other-version"));
    let begun = put(&daemon, WEB, &update, &["-H", &rests(&tag)]);
    assert_eq!(begun.status, 202, "{begun:?}");
    assert_eq!(over(&daemon, &begun.body)["state"], "succeeded");
    let destroy = |tag: &str| {
        let body = json!({"known": desired(256), "object": known}).to_string();
        let rests = rests(tag);
        let more = ["-H", "Content-Type: application/json", "-H", &rests, "-d", &body];
        daemon.ask("POST", &format!("{WEB}/destroy"), &daemon.admin, &more)
    };
    assert_eq!(destroy(&tag).problem(), "other-version");
    assert_eq!(get(&daemon, WEB).body["memory_mib"], 256);
    let tag = get(&daemon, WEB).header("etag").unwrap().to_owned();
    assert_eq!(over(&daemon, &destroy(&tag).body)["state"], "succeeded");

    let lab = made(&daemon, LAB, &network())["result"]["view"].clone();
    let identity: Value = lab.pointer("/owner/Ours/identity").unwrap().clone();
    let known = json!({"identity": identity, "id": lab["id"]});
    let path = format!("{LAB}?object={}", escaped(&known));
    let stale = daemon.ask("DELETE", &path, &daemon.admin, &["-H", &rests("\"x\"")]);
    assert_eq!(
        (stale.status, stale.problem()),
        (412, "other-version"),
        "{stale:?}"
    );
    let tag = get(&daemon, LAB).header("etag").unwrap().to_owned();
    let gone = daemon.ask("DELETE", &path, &daemon.admin, &["-H", &rests(&tag)]);
    assert_eq!(over(&daemon, &gone.body)["state"], "succeeded");
}
