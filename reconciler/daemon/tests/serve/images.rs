//! Captured images over HTTP and by the command line on a simulated host: made, seen, used, and removed where nobody is
//! made of them.

use crate::{
    daemon::{Answer, Daemon, until},
    working::{Sim, over, pool, put},
};
use labyard_reconciler::engine::{
    Access, Bounds, Capture, CaptureStage, Engine as _, ObjectRef, Seal, WhileRunning,
};
use labyard_remote::{Daemon as Remote, Reach, RemoteEngine};
use labyard_store::testing::Database;
use serde_json::{Value, json};
use std::{sync::Mutex, time::Duration};

const WEB: &str = "/v1/vms/lab1/web";
const IMAGE: &str = "/v1/images/lab1/golden/1";

/// A stopped machine with one disk: a blank one, or of an image.
fn machine(disk: &Value) -> Value {
    json!({"attributes": {
        "memory_mib": 64, "power": "stopped",
        "boot": {"kernel": "/boot/vmlinuz"},
        "disks": {"root": disk},
        "shutdown": {"mode": "force"},
    }})
}

fn blank() -> Value {
    json!({"size_gib": 1, "on_remove": "delete"})
}

fn of(source: &str) -> Value {
    json!({"image": {"source": source}})
}

/// Makes a machine and waits for its end.
fn made(daemon: &Daemon, path: &str, disk: &Value) {
    let begun = put(daemon, path, &machine(disk), &[]);
    assert_eq!(begun.status, 202, "{begun:?}");
    let done = over(daemon, &begun.body);
    assert_eq!(done["state"], "succeeded", "{done}");
}

fn get(daemon: &Daemon, path: &str) -> Answer {
    daemon.ask("GET", path, &daemon.admin, &[])
}

fn gone(daemon: &Daemon, path: &str) {
    let begun = daemon.ask("DELETE", path, &daemon.admin, &[]);
    assert_eq!(begun.status, 202, "{begun:?}");
    let done = over(daemon, &begun.body);
    assert_eq!(done["state"], "succeeded", "{done}");
}

fn capture(daemon: &Daemon, asked: &Value, more: &[&str]) -> Answer {
    let body = asked.to_string();
    let mut all = vec!["-H", "Content-Type: application/json", "-d", &body];
    all.extend(more);
    daemon.ask("POST", &format!("{WEB}/capture"), &daemon.admin, &all)
}

fn golden() -> Value {
    json!({"image": "golden"})
}

/// What the command line prints for programs.
fn printed(daemon: &Daemon, arguments: &[&str]) -> Value {
    let out = daemon.cli(&daemon.admin, &[arguments, &["-o", "json"]].concat());
    assert!(out.status.success(), "{out:?}");
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn a_machine_is_captured_by_an_operation_and_its_image_is_seen_used_and_removed() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    made(&daemon, WEB, &blank());
    let begun = capture(&daemon, &golden(), &["-H", "Idempotency-Key: one"]);
    assert_eq!(
        (begun.status, &begun.body["kind"]),
        (202, &json!("vm.capture")),
        "{begun:?}"
    );
    let again = capture(&daemon, &golden(), &["-H", "Idempotency-Key: one"]);
    assert_eq!((again.status, &again.body["id"]), (202, &begun.body["id"]));
    let done = over(&daemon, &begun.body);
    assert_eq!(done["state"], "succeeded", "{done}");
    let stages: Vec<_> = done["log"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| &line["text"])
        .collect();
    for stage in ["recorded", "copying", "naming"] {
        assert!(stages.contains(&&json!(stage)), "{stage}: {stages:?}");
    }
    let result = &done["result"];
    assert_eq!(
        (
            &result["image"]["name"],
            &result["image"]["revision"],
            &result["sealed"]
        ),
        (&json!("golden"), &json!(1), &json!(false)),
        "{result}"
    );
    assert!(
        result["note"].as_str().unwrap().contains("it was off"),
        "{result}"
    );

    let listed = get(&daemon, "/v1/images?host=lab1").body;
    assert_eq!(listed["items"], json!([result["image"]]));
    // Who has another namespace sees nothing of it.
    let other = daemon.token("physics", "admin", &["physics"]);
    assert_eq!(
        daemon.ask("GET", "/v1/images", &other, &[]).body["items"],
        json!([])
    );
    let stolen = daemon.ask("DELETE", &format!("{IMAGE}?namespace=physics"), &other, &[]);
    assert_eq!((stolen.status, stolen.problem()), (404, "gone"), "{stolen:?}");

    made(&daemon, "/v1/vms/lab1/copy", &of("image:golden@1"));
    let used = daemon.ask("DELETE", IMAGE, &daemon.admin, &[]);
    assert_eq!((used.status, used.problem()), (409, "image-in-use"), "{used:?}");
    assert!(used.body["detail"].as_str().unwrap().contains("copy"), "{used:?}");
    gone(&daemon, "/v1/vms/lab1/copy");
    gone(&daemon, IMAGE);
    assert_eq!(get(&daemon, "/v1/images").body["items"], json!([]));
    assert_eq!(daemon.ask("DELETE", IMAGE, &daemon.admin, &[]).problem(), "gone");
}

#[test]
fn what_cannot_be_captured_is_refused_where_it_stands() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    let nothing = capture(&daemon, &golden(), &[]);
    assert_eq!((nothing.status, nothing.problem()), (404, "gone"), "{nothing:?}");
    made(&daemon, WEB, &blank());
    let named = capture(&daemon, &json!({"image": "Golden"}), &[]);
    assert_eq!((named.status, named.problem()), (422, "invalid"), "{named:?}");
    assert_eq!(named.body["errors"][0]["at"], "/image");
    let wrong = capture(&daemon, &json!({"image": "golden", "disk": "data"}), &[]);
    let done = over(&daemon, &wrong.body);
    assert_eq!(done["state"], "failed", "{done}");
    assert!(
        done["error"]
            .as_str()
            .unwrap()
            .contains("it has no disk \"data\""),
        "{done}"
    );
    for path in ["/v1/images/lab1/golden/0", "/v1/images/lab1/golden/first"] {
        let wrong = daemon.ask("DELETE", path, &daemon.admin, &[]);
        assert_eq!((wrong.status, wrong.problem()), (422, "invalid"), "{wrong:?}");
    }
}

#[test]
fn who_wants_a_capture_ended_ends_it_and_the_same_request_finishes_it() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let mut daemon = Daemon::start(&database, &sim.lines());
    made(&daemon, WEB, &blank());
    let at = daemon.directory.path().join("held");
    daemon.again(
        "LABYARD_FAULT",
        &format!("hold@capture-recorded:{}", at.display()),
    );
    let begun = capture(&daemon, &golden(), &[]);
    assert_eq!(begun.status, 202, "{begun:?}");
    until("the capture is recorded", || at.exists().then_some(()));
    let other = daemon.ask("DELETE", WEB, &daemon.admin, &[]);
    assert_eq!(
        (other.status, other.problem()),
        (409, "operation-running"),
        "{other:?}"
    );
    let cancel = format!("/v1/operations/{}/cancel", begun.body["id"].as_str().unwrap());
    assert_eq!(daemon.ask("POST", &cancel, &daemon.admin, &[]).status, 200);
    let ended = over(&daemon, &begun.body);
    assert_eq!(ended["state"], "cancelled", "{ended}");
    let _ = std::fs::remove_file(&at);
    daemon.again("LABYARD_FAULT", "");
    assert_eq!(get(&daemon, "/v1/images").body["items"], json!([]));
    let done = over(&daemon, &capture(&daemon, &golden(), &[]).body);
    assert_eq!(done["state"], "succeeded", "{done}");
    assert_eq!(done["result"]["image"]["revision"], 1);
}

/// Invariant 23 from the side of who removes: what a pool is made of stays, also where it follows the newest.
#[test]
fn the_command_line_captures_lists_and_removes_but_what_pools_are_made_of() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    // Disks of another size are another image.
    for (revision, size) in [(1, 1), (2, 2), (3, 3)] {
        made(&daemon, WEB, &json!({"size_gib": size, "on_remove": "delete"}));
        let verb = ["vm", "image"][revision % 2];
        let made = printed(&daemon, &[verb, "capture", "lab1/web", "--image", "golden"]);
        assert_eq!(made["image"]["revision"], revision, "{made}");
    }
    gone(&daemon, WEB);
    let mut pinned = pool(0);
    pinned["strategy"] = "on_demand".into();
    pinned["template"]["disks"] = json!({"root": of("image:golden@1")});
    let put_pool = put(&daemon, "/v1/pools/k8s", &pinned, &[]);
    assert_eq!(put_pool.status, 202, "{put_pool:?}");
    let refused = daemon.ask("DELETE", IMAGE, &daemon.admin, &[]);
    assert_eq!(
        (refused.status, refused.problem()),
        (409, "image-pinned"),
        "{refused:?}"
    );
    assert!(
        refused.body["detail"].as_str().unwrap().contains("k8s"),
        "{refused:?}"
    );

    let removed = printed(&daemon, &["image", "gc"]);
    assert_eq!(removed.as_array().unwrap().len(), 1, "{removed}");
    assert_eq!(removed[0]["revision"], 2);
    let left = printed(&daemon, &["image", "list"]);
    let left: Vec<_> = left["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| &image["revision"])
        .collect();
    assert_eq!(left, [&json!(1), &json!(3)]);
}

/// The daemon as an engine.
async fn remote(daemon: &Daemon) -> RemoteEngine {
    let reach = Reach {
        endpoint: daemon.url.clone(),
        token: Some(daemon.admin.clone()),
        authorities: None,
    };
    RemoteEngine::new(&Remote::open(&reach).await.unwrap(), Access::Full)
}

#[test]
fn an_engine_that_is_a_daemon_captures_shows_and_removes_images_as_one_with_hosts_does() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    made(&daemon, WEB, &blank());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(as_an_engine(&daemon));
}

async fn as_an_engine(daemon: &Daemon) {
    let engine = remote(daemon).await;
    let host = "lab1".into();
    let (view, _) = engine
        .find_machine(&host, &"default".into(), "web")
        .await
        .unwrap();
    let object = ObjectRef {
        host: host.clone(),
        namespace: "default".into(),
        name: "web".into(),
        identity: view.identity().cloned(),
        id: Some(view.id.clone()),
        pools: Default::default(),
    };
    let capture = Capture {
        disk: None,
        name: "golden".parse().unwrap(),
        running: WhileRunning::default(),
    };
    let bounds = Bounds {
        cancel: Default::default(),
        limit: Duration::from_secs(60),
        reserve: Default::default(),
        fence: None,
    };
    let told = Mutex::new(Vec::new());
    let at = |stage: CaptureStage| told.lock().unwrap().push(stage);
    let captured = engine
        .capture_machine(&object, &capture, bounds, &at)
        .await
        .unwrap();
    assert_eq!(captured.image.image.revision.0, 1);
    assert!(matches!(&captured.seal, Seal::Open(why) if why.contains("it was off")));
    assert!(!told.lock().unwrap().is_empty(), "what it is at is told");
    assert_eq!(
        engine.images(&host).await.unwrap(),
        std::slice::from_ref(&captured.image)
    );
    engine.forget_image(&host, &captured.image).await.unwrap();
    assert!(engine.images(&host).await.unwrap().is_empty());
    let gone = engine.forget_image(&host, &captured.image).await.unwrap_err();
    assert!(gone.to_string().contains("No image of that name"), "{gone}");
}
