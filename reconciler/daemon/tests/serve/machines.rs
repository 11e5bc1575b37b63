//! Machines and networks over HTTP on a simulated host: made, seen, changed, ended, taken up after a crash, removed.

use crate::{
    daemon::{Answer, Daemon, labyard, until, until_within},
    working::{Sim, over, put},
};
use labyard_reconciler::{
    EngineError,
    desired::DesiredMachine,
    engine::Reading,
    identity::Identity,
    view::{MachineView, Owner},
};
use labyard_schema::vm::Vm;
use labyard_store::testing::Database;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) fn machine(memory: u64) -> Value {
    json!({"attributes": {
        "memory_mib": memory,
        "boot": {"kernel": "/boot/vmlinuz"},
        "disks": {"data": {"size_gib": 1, "on_remove": "delete"}},
        "nics": {"lan": {"network": "lab"}},
        "shutdown": {"mode": "force"},
    }})
}

pub(crate) fn network() -> Value {
    json!({"attributes": {
        "mode": "nat",
        "ipv4": {"cidr": "10.77.0.0/24", "dhcp": {"start": "10.77.0.100", "end": "10.77.0.200"}},
    }})
}

pub(crate) fn get(daemon: &Daemon, path: &str) -> Answer {
    daemon.ask("GET", path, &daemon.admin, &[])
}

/// Asks for it and waits for its end.
pub(crate) fn made(daemon: &Daemon, path: &str, asked: &Value) -> Value {
    let begun = put(daemon, path, asked, &[]);
    assert_eq!(begun.status, 202, "{begun:?}");
    let done = over(daemon, &begun.body);
    assert_eq!(done["state"], "succeeded", "{done}");
    done
}

pub(crate) const WEB: &str = "/v1/vms/lab1/web";
pub(crate) const LAB: &str = "/v1/networks/lab1/lab";

#[test]
fn a_machine_and_its_network_are_made_seen_changed_and_removed() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    made(&daemon, LAB, &network());
    let done = made(&daemon, WEB, &machine(128));
    let stages: Vec<_> = done["log"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| &line["text"])
        .collect();
    for stage in ["record", "disks", "start", "ready"] {
        assert!(stages.contains(&&json!(stage)), "{stage}: {stages:?}");
    }
    let shown = get(&daemon, WEB);
    assert_eq!(
        (
            &shown.body["power"],
            &shown.body["owned"],
            &shown.body["memory_mib"]
        ),
        (&json!("running"), &json!(true), &json!(128)),
        "{shown:?}"
    );
    assert!(
        shown.body["addresses"][0]
            .as_str()
            .unwrap()
            .starts_with("10.77.0.")
    );
    let listed = get(&daemon, "/v1/vms?namespace=default").body;
    assert_eq!(
        (
            listed["items"].as_array().unwrap().len(),
            &listed["items"][0]["name"]
        ),
        (1, &json!("web"))
    );
    assert_eq!(get(&daemon, LAB).body["mode"], "nat");

    let tag = shown.header("etag").unwrap().to_owned();
    assert_eq!(
        get(&daemon, WEB).header("etag"),
        Some(tag.as_str()),
        "nothing was asked since"
    );
    let rests = |tag: &str| format!("If-Match: {tag}");
    let stale = put(&daemon, WEB, &machine(256), &["-H", &rests("\"x\"")]);
    assert_eq!((stale.status, stale.problem()), (412, "other-version"));
    let only_new = put(&daemon, WEB, &machine(256), &["-H", "If-None-Match: *"]);
    assert_eq!(only_new.status, 412);
    let mut changed = machine(256);
    changed["attributes"]["power"] = "stopped".into();
    let begun = put(
        &daemon,
        WEB,
        &changed,
        &["-H", &rests(&tag), "-H", "Idempotency-Key: change-1"],
    );
    assert_eq!(begun.status, 202, "{begun:?}");
    assert_eq!(over(&daemon, &begun.body)["state"], "succeeded");
    // The same request again is the same operation, though what it rested on is another by now.
    let again = put(
        &daemon,
        WEB,
        &changed,
        &["-H", &rests(&tag), "-H", "Idempotency-Key: change-1"],
    );
    assert_eq!((again.status, &again.body["id"]), (202, &begun.body["id"]));
    let shown = get(&daemon, WEB);
    assert_eq!(
        (&shown.body["memory_mib"], &shown.body["power"]),
        (&json!(256), &json!("stopped"))
    );
    assert_ne!(shown.header("etag"), Some(tag.as_str()));

    let busy = daemon.ask("DELETE", LAB, &daemon.admin, &[]);
    assert_eq!(over(&daemon, &busy.body)["state"], "failed", "a machine is on it");
    for path in [WEB, LAB] {
        let removed = daemon.ask("DELETE", path, &daemon.admin, &[]);
        assert_eq!(removed.status, 202, "{removed:?}");
        assert_eq!(over(&daemon, &removed.body)["state"], "succeeded");
        assert_eq!(
            (get(&daemon, path).status, get(&daemon, path).problem().to_owned()),
            (404, "gone".to_owned())
        );
    }
}

#[test]
fn what_a_machine_may_not_be_is_refused_where_it_stands_and_nothing_is_begun() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    let refused = |name: &str, value: Value| {
        let mut asked = json!({"attributes": {"memory_mib": 128}});
        asked["attributes"][name] = value;
        let refused = put(&daemon, WEB, &asked, &[]);
        assert_eq!(
            (refused.status, refused.problem()),
            (422, "invalid"),
            "{refused:?}"
        );
        refused.body["errors"][0].clone()
    };
    let image = |source: &str| json!({"root": {"image": {"source": source}}});
    for (name, value, at) in [
        ("colour", json!("red"), "/attributes/colour"),
        ("memory_mib", json!("much"), "/attributes/memory_mib"),
        ("name", json!("other"), "/name"),
        ("host", json!("lab2"), "/attributes/host"),
        (
            "boot",
            json!({"kernel": "/etc/shadow"}),
            "/attributes/boot/kernel",
        ),
    ] {
        let wrong = refused(name, value);
        assert!(wrong["at"].as_str().unwrap().ends_with(at), "{name}: {wrong}");
    }
    for (source, key) in [
        ("file:/etc/shadow", "image_directories"),
        ("host:/etc/shadow", "host_directories"),
        ("http://127.0.0.1:1/x", "image_networks"),
    ] {
        let wrong = refused("disks", image(source));
        assert_eq!(wrong["at"], "/attributes/disks/root/image/source");
        assert!(wrong["detail"].as_str().unwrap().contains(key), "{wrong}");
    }
    let nowhere = put(&daemon, "/v1/vms/lab9/web", &machine(128), &[]);
    assert_eq!((nowhere.status, nowhere.problem()), (404, "no-host"));
    assert_eq!(get(&daemon, "/v1/operations").body["items"], json!([]));
}

#[test]
fn a_daemon_that_is_killed_while_it_makes_a_machine_says_so_and_the_same_request_finishes_it() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let mut daemon = Daemon::start(&database, &sim.lines());
    made(&daemon, LAB, &network());
    let at = daemon.directory.path().join("held");
    daemon.again("LABYARD_FAULT", &format!("hold@disks:{}", at.display()));
    let begun = put(&daemon, WEB, &machine(128), &[]);
    until("its disks are made", || at.exists().then_some(()));
    daemon.again("LABYARD_FAULT", "");
    let path = format!("/v1/operations/{}", begun.body["id"].as_str().unwrap());
    let ended = until_within("its operation is given up", 90, || {
        let shown = get(&daemon, &path).body;
        (shown["state"] != "running").then_some(shown)
    });
    assert_eq!(ended["state"], "failed", "{ended}");
    assert!(
        ended["error"]
            .as_str()
            .unwrap()
            .contains("Ask for the same again")
    );
    let done = made(&daemon, WEB, &machine(128));
    assert_eq!(get(&daemon, "/v1/vms").body["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        done["result"]["view"]["id"],
        ended["reached"]["progress"]["identity"]["id"]
    );
}

pub(crate) fn desired(memory: u64) -> DesiredMachine {
    let vm = Vm {
        name: "web".into(),
        cpus: 1,
        memory_mib: memory,
        power: "stopped".into(),
        allow_restart: true,
        ..Vm::default()
    };
    DesiredMachine::from_config(&"default".into(), &vm, &Default::default(), &Default::default()).unwrap()
}

/// What an operation has made.
pub(crate) fn view(done: &Value) -> MachineView {
    serde_json::from_value(done["result"]["view"].clone()).unwrap()
}

pub(crate) fn escaped(value: &Value) -> String {
    labyard_api::routes::escaped(&value.to_string())
}

#[test]
fn an_engine_that_keeps_a_state_makes_confirms_changes_and_destroys_a_machine_through_the_daemon() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    let create = json!({"desired": desired(128)});
    let first = view(&made(&daemon, WEB, &create));
    // The answer was lost, and no state holds the machine: it is taken up, not made twice.
    let second = view(&made(&daemon, WEB, &create));
    assert_eq!(first.id, second.id);
    let identity: Identity = second.identity().unwrap().clone();
    let known = json!({"identity": identity, "id": second.id});
    let asked = format!("{WEB}?object={}", escaped(&known));
    let read = get(&daemon, &asked);
    let Reading::Present(seen) = serde_json::from_value(read.body["reading"].clone()).unwrap() else {
        panic!("{read:?}");
    };
    let seen: MachineView = *seen;
    assert_eq!(seen.identity(), Some(&identity));
    let confirm = format!("{WEB}/confirm?object={}", escaped(&known));
    assert_eq!(daemon.ask("POST", &confirm, &daemon.admin, &[]).status, 200);
    let again = put(&daemon, WEB, &create, &[]);
    let failed = over(&daemon, &again.body);
    let failure: EngineError = serde_json::from_value(failed["failure"].clone()).unwrap();
    assert!(
        matches!(failure.root(), EngineError::AlreadyExists { .. }),
        "{failure}"
    );

    let update = json!({"desired": desired(256), "known": desired(128), "object": known});
    assert_eq!(view(&made(&daemon, WEB, &update)).memory.0, 256);
    // Who knows the token and is of another namespace has nothing of it.
    let other = daemon.token("physics", "admin", &["physics"]);
    let stolen = daemon.ask("GET", &format!("{asked}&namespace=physics"), &other, &[]);
    assert_eq!((stolen.status, stolen.problem()), (403, "other-namespace"));
    // Nor who knows no more than by what its volumes are called.
    let mut forged = known.clone();
    forged["identity"]["token"] = json!("another");
    forged["identity"]["id"] = json!("0c7f1f2e-0000-4000-8000-000000000001");
    forged["id"] = Value::Null;
    let mut theirs = desired(256);
    theirs.namespace = "physics".into();
    let body = json!({"known": theirs, "object": forged}).to_string();
    let more = ["-H", "Content-Type: application/json", "-d", &body];
    let stolen = daemon.ask("POST", &format!("{WEB}/destroy?namespace=physics"), &other, &more);
    assert_eq!(
        (stolen.status, stolen.problem()),
        (403, "other-namespace"),
        "{stolen:?}"
    );

    let body = json!({"known": desired(256), "object": known}).to_string();
    let gone = daemon.ask(
        "POST",
        &format!("{WEB}/destroy"),
        &daemon.admin,
        &["-H", "Content-Type: application/json", "-d", &body],
    );
    assert_eq!(over(&daemon, &gone.body)["state"], "succeeded");
    assert_eq!(get(&daemon, &asked).problem(), "gone");
}

#[test]
fn an_engine_is_told_of_hosts_what_it_would_read_itself() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    made(&daemon, LAB, &network());
    let read = |path: &str| {
        let read = get(&daemon, path);
        assert_eq!(read.status, 200, "{path}: {read:?}");
        read.body
    };
    let facts = read("/v1/hosts/lab1/facts");
    serde_json::from_value::<labyard_driver::observed::HostFacts>(facts).unwrap();
    let offers = read("/v1/hosts/lab1/offers");
    serde_json::from_value::<labyard_driver::observed::Offers>(offers).unwrap();
    let capacity = read("/v1/hosts/lab1/capacity?now=default");
    serde_json::from_value::<labyard_reconciler::capacity::HostCapacity>(capacity).unwrap();
    let snapshot = read("/v1/hosts/lab1/snapshot");
    let snapshot: labyard_driver::observed::Snapshot = serde_json::from_value(snapshot).unwrap();
    assert_eq!(snapshot.networks.len(), 1);
    let taken = read("/v1/hosts/lab1/taken?name=web");
    serde_json::from_value::<labyard_reconciler::derived::Taken>(taken).unwrap();
    let found = read("/v1/hosts/lab1/networks/lab");
    let found: labyard_reconciler::view::NetworkView = serde_json::from_value(found["view"].clone()).unwrap();
    assert!(matches!(found.owner, Owner::Ours { .. }));
    assert_eq!(read("/v1/hosts/lab1/networks/lab/leases"), json!([]));
    let file = get(&daemon, "/v1/hosts/lab1/file?path=%2Fetc%2Fshadow");
    assert_eq!(file.status, 422, "{file:?}");
    // Of another namespace's objects nobody is told by what its state knows them.
    let other = daemon.token("physics", "viewer", &["physics"]);
    let veiled = daemon.ask("GET", "/v1/hosts/lab1/snapshot", &other, &[]);
    let token = snapshot.networks[0].mark.ours().unwrap().token.to_string();
    assert!(!token.is_empty() && !veiled.body.to_string().contains(&token));
    // Nor what there is: another's is the same as none.
    for (path, what) in [
        ("networks/lab", "network \"lab\""),
        ("networks/nothing", "network \"nothing\""),
        ("networks/nothing/leases", "network \"nothing\""),
        ("vms/nothing", "machine \"nothing\""),
        ("vms/nothing/addresses", "machine \"nothing\""),
    ] {
        let path = format!("/v1/hosts/lab1/{path}?namespace=physics");
        let unseen = daemon.ask("GET", &path, &other, &[]);
        assert_eq!((unseen.status, unseen.problem()), (404, "no-object"), "{path}");
        let told =
            format!("{what} does not exist on host lab1: no such name is in the namespaces of this token");
        assert_eq!(unseen.body["detail"], told, "{path}");
    }
}

#[test]
fn the_command_line_lists_and_shows_machines_through_a_daemon_and_directly() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    made(&daemon, LAB, &network());
    made(&daemon, WEB, &machine(128));
    let config = daemon.directory.path().join("labyard.toml");
    let directly = |arguments: &[&str]| {
        let mut command = labyard();
        command.args(arguments).arg("--config").arg(&config);
        command.output().unwrap()
    };
    let said = |out: std::process::Output| {
        assert!(out.status.success(), "{out:?}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let listed = said(daemon.cli(&daemon.admin, &["vm", "list"]));
    assert!(listed.contains("web") && listed.contains("128 MiB"), "{listed}");
    assert_eq!(said(directly(&["vm", "list"])), listed);
    let shown = said(directly(&["vm", "show", "lab1/web"]));
    assert!(shown.contains("disk data") && shown.contains("on lab"), "{shown}");
    let networks = said(daemon.cli(&daemon.admin, &["network", "list", "-o", "json"]));
    let networks: Value = serde_json::from_str(&networks).unwrap();
    assert_eq!(networks["items"][0]["address"], "10.77.0.1/24");
    let none = daemon.cli(&daemon.admin, &["vm", "show", "lab1/none"]);
    assert_eq!(none.status.code(), Some(1), "{none:?}");
    drop(sim);
    // Who asks within the same moment may share the look of before.
    let silent = until("the host is seen to be silent", || {
        let listed = daemon.cli(&daemon.admin, &["vm", "list"]);
        (!listed.status.success()).then_some(listed)
    });
    assert_eq!(silent.status.code(), Some(1), "{silent:?}");
    assert!(
        String::from_utf8_lossy(&silent.stderr).contains("lab1"),
        "{silent:?}"
    );
}

#[test]
fn a_machine_is_made_of_a_file_that_its_caller_has_sent() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let directory = tempfile::tempdir().unwrap();
    let uploads = format!("uploads = {{ directory = \"{}\" }}\n", directory.path().display());
    let daemon = Daemon::start(&database, &format!("{uploads}{}", sim.lines()));
    let image = vec![7_u8; 64 << 10];
    let digest: String = Sha256::digest(&image)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mine = daemon.directory.path().join("mine.img");
    std::fs::write(&mine, &image).unwrap();
    let source = "file:/home/runner/mine.img";
    let asked = json!({"attributes": {
        "memory_mib": 128, "power": "stopped",
        "disks": {"root": {"image": {"source": source, "sha256": digest}}},
    }});
    let early = put(&daemon, WEB, &asked, &[]);
    assert_eq!(early.status, 422, "{early:?}");
    let send = |digest: &str| {
        let data = format!("@{}", mine.display());
        let more = [
            "-H",
            "Content-Type: application/octet-stream",
            "--data-binary",
            &data,
        ];
        daemon.ask("PUT", &format!("/v1/uploads/{digest}"), &daemon.admin, &more)
    };
    let kept = |digest: &str| get(&daemon, &format!("/v1/uploads/{digest}"));
    assert_eq!(
        (kept(&digest).status, kept(&digest).problem()),
        (404, "no-upload")
    );
    let other = send(&digest.chars().rev().collect::<String>());
    assert_eq!((other.status, other.problem()), (422, "invalid"), "{other:?}");
    for _ in 0..2 {
        let sent = send(&digest);
        assert_eq!(
            (sent.status, &sent.body["bytes"]),
            (200, &json!(image.len())),
            "{sent:?}"
        );
    }
    assert_eq!(kept(&digest).body["bytes"], json!(image.len()));
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        1,
        "no parts are left"
    );
    let done = made(&daemon, WEB, &asked);
    let disk = &done["result"]["view"]["disks"]["root"]["image"];
    assert_eq!(
        (&disk["source"], &disk["digest"]),
        (&json!(source), &json!(digest))
    );
}

#[test]
fn a_hook_of_the_configuration_is_asked_and_may_deny() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let answer = r#"cat >/dev/null; echo '{"deny": {"reason": "no room in the rack"}}'"#;
    let hooks = format!("[hooks.\"before:define\"]\ncommand = [\"/bin/sh\", \"-c\", '''{answer} ''']\n");
    let daemon = Daemon::start(&database, &format!("{}{hooks}", sim.lines()));
    assert_eq!(get(&daemon, "/v1/server").body["hooks"], json!(["before:define"]));
    made(&daemon, LAB, &network());
    let begun = put(&daemon, WEB, &machine(128), &[]);
    let done = over(&daemon, &begun.body);
    assert_eq!(done["state"], "failed", "{done}");
    assert!(
        done["error"].as_str().unwrap().contains("no room in the rack"),
        "{done}"
    );
}

#[test]
fn a_machine_without_a_host_goes_where_there_is_room() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    made(&daemon, LAB, &network());
    let mut asked = machine(128);
    asked["attributes"]["name"] = "web".into();
    let body = asked.to_string();
    let headers = [
        "-H",
        "Content-Type: application/json",
        "-H",
        "Idempotency-Key: k",
        "-d",
        &body,
    ];
    let placed = daemon.ask("POST", "/v1/vms", &daemon.admin, &headers);
    assert_eq!(placed.status, 202, "{placed:?}");
    let done = over(&daemon, &placed.body);
    assert_eq!(
        (&done["state"], &done["result"]["host"]),
        (&json!("succeeded"), &json!("lab1")),
        "{done}"
    );
    let again = daemon.ask("POST", "/v1/vms", &daemon.admin, &headers);
    assert_eq!(again.body["id"], placed.body["id"]);
    assert_eq!(get(&daemon, WEB).body["power"], "running");
}

/// What namespaces may have counts machines by themselves too, made anywhere, for as long as they are on a host.
#[test]
fn a_machine_beyond_the_quota_is_refused_and_one_that_goes_gives_room() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let quotas = "[quotas.default]\nmachines = 2\nmemory_mib = 300\n";
    let daemon = Daemon::start(&database, &format!("{}{quotas}", sim.lines()));
    let plain = |memory: u64| json!({"attributes": {"memory_mib": memory, "boot": {"kernel": "/boot/vmlinuz"}, "shutdown": {"mode": "force"}}});
    made(&daemon, WEB, &plain(128));
    let used = || get(&daemon, "/v1/quotas").body["items"][0]["machines"]["used"].clone();
    let refused = put(&daemon, "/v1/vms/lab1/big", &plain(256), &[]);
    assert_eq!(
        (refused.status, refused.problem()),
        (403, "over-quota"),
        "{refused:?}"
    );
    assert_eq!(refused.body["quota"]["of"], "memory_mib");
    assert_eq!(used(), 1);
    let mut placed = plain(64);
    placed["attributes"]["name"] = "db".into();
    let body = placed.to_string();
    let json = ["-H", "Content-Type: application/json", "-d", &body];
    let begun = daemon.ask("POST", "/v1/vms", &daemon.admin, &json);
    assert_eq!(begun.status, 202, "{begun:?}");
    let done = over(&daemon, &begun.body);
    assert_eq!(done["state"], "succeeded", "{done}");
    assert_eq!(
        put(&daemon, "/v1/vms/lab1/third", &plain(64), &[]).problem(),
        "over-quota"
    );
    for path in ["/v1/vms/lab1/db", WEB] {
        let gone = daemon.ask("DELETE", path, &daemon.admin, &[]);
        assert_eq!(gone.status, 202, "{gone:?}");
        assert_eq!(over(&daemon, &gone.body)["state"], "succeeded");
    }
    assert_eq!(get(&daemon, "/v1/quotas").body["items"][0]["machines"]["used"], 0);
}
