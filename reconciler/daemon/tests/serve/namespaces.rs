//! What who may do something in one namespace learns of the others' objects on a host that they share, and may do to them.

use crate::{
    daemon::Daemon,
    machines::{LAB, WEB, desired, escaped, made, network, view},
    theirs::Theirs,
};
use labyard_driver::observed::Snapshot;
use labyard_store::testing::Database;
use serde_json::{Value, json};

/// A machine with a disk and a card, on a host that gives its guests no kernel.
fn machine(memory: u64) -> Value {
    json!({"attributes": {
        "memory_mib": memory,
        "disks": {"data": {"size_gib": 1, "on_remove": "delete"}},
        "nics": {"lan": {"network": "lab"}},
        "ready": {"wait": "none"},
        "shutdown": {"mode": "force"},
    }})
}

fn snapshot(daemon: &Daemon, bearer: &str) -> (Snapshot, String) {
    let answer = daemon.ask("GET", "/v1/hosts/lab1/snapshot", bearer, &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = answer.body.to_string();
    (serde_json::from_value(answer.body).unwrap(), text)
}

#[test]
fn of_others_objects_a_snapshot_tells_what_they_take_of_the_host_and_nothing_by_which_they_are_known() {
    let (database, others) = (Database::sqlite(), Theirs::start());
    let daemon = Daemon::start(&database, &others.lines());
    made(&daemon, LAB, &network());
    made(&daemon, WEB, &machine(128));
    let (whole, _) = snapshot(&daemon, &daemon.admin);
    let physics = daemon.token("physics", "viewer", &["physics"]);
    let (veiled, text) = snapshot(&daemon, &physics);

    assert_eq!((whole.machines.len(), veiled.machines.len()), (2, 1), "{text}");
    assert!(!text.contains("theirs"), "a machine of nobody is told: {text}");
    let web = whole.machines.iter().find(|m| m.mark.ours().is_some()).unwrap();
    let mark = web.mark.ours().unwrap();
    let volumes = mark.own_volumes();
    assert!(!volumes.is_empty() && !whole.volumes.is_empty());
    assert!(veiled.volumes.is_empty(), "{text}");
    for (_, name) in &volumes {
        assert!(!text.contains(name.as_str()), "{name}: {text}");
    }
    assert!(!text.contains(mark.token.as_str()) && !text.contains(mark.origin.as_str()));

    let seen = &veiled.machines[0];
    assert_eq!(seen.size, web.size);
    assert_eq!(seen.mark.ours().unwrap().nics, mark.nics);
    let nics =
        |machine: &labyard_driver::observed::ObservedMachine| machine.detail.known().unwrap().nics.clone();
    assert_eq!(nics(seen), nics(web));
    assert_eq!(veiled.networks[0].address, whole.networks[0].address);

    // Who may see the namespace is told all of it.
    let default = daemon.token("default", "viewer", &["default"]);
    let (own, _) = snapshot(&daemon, &default);
    let own = own.machines[0].mark.ours().unwrap().clone();
    assert_eq!((&own.token, own.own_volumes()), (&mark.token, volumes));
}

#[test]
fn who_may_do_something_in_one_namespace_neither_sees_nor_takes_over_what_is_nobodys() {
    let (database, others) = (Database::sqlite(), Theirs::start());
    let daemon = Daemon::start(&database, &others.lines());
    let admin = daemon.token("one", "admin", &["default"]);
    let before = format!("{:?}", others.host.look().machines);
    let (path, id) = ("/v1/vms/lab1/theirs", "2c4a7d1e-0000-4000-8000-00000000beef");
    let put = |path: &str, body: &Value| {
        let body = body.to_string();
        let more = ["-H", "Content-Type: application/json", "-d", &body];
        daemon.ask("PUT", path, &admin, &more)
    };
    let adopt = json!({"attributes": {"memory_mib": 256, "power": "stopped"}});
    let mut wished = desired(256);
    wished.name = "theirs".into();
    let known = json!({"id": id});
    let sent = json!({"desired": wished, "known": wished, "object": known});
    let by_state = format!("{path}?object={}", escaped(&known));
    let room = format!("{path}/room?object={}", escaped(&known));
    let get = |path: &str| daemon.ask("GET", path, &admin, &[]);
    for answer in [
        put(&format!("{path}?adopt=true"), &adopt),
        put(path, &sent),
        get(&by_state),
        get(path),
        get(&room),
        get(&format!("{path}/room")),
        daemon.ask("DELETE", path, &admin, &[]),
    ] {
        assert_eq!((answer.status, answer.problem()), (404, "gone"), "{answer:?}");
    }
    assert_eq!(format!("{:?}", others.host.look().machines), before);
}

#[test]
fn what_a_running_machine_can_take_is_told_in_its_namespace_alone() {
    let (database, others) = (Database::sqlite(), Theirs::start());
    let daemon = Daemon::start(&database, &others.lines());
    made(&daemon, LAB, &network());
    let web = view(&made(&daemon, WEB, &machine(128)));
    let known = json!({"identity": web.identity(), "id": web.id});
    let asked = format!("{WEB}/room?object={}", escaped(&known));
    let own = daemon.ask("GET", &asked, &daemon.admin, &[]);
    assert_eq!(own.status, 200, "{own:?}");
    let physics = daemon.token("physics", "admin", &["physics"]);
    let stolen = daemon.ask("GET", &format!("{asked}&namespace=physics"), &physics, &[]);
    assert_eq!((stolen.status, stolen.problem()), (403, "other-namespace"));
}
