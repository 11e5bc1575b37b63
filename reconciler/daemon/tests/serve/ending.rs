//! The making of a machine that ends early: by who asked for it, or with its daemon.

use crate::{
    daemon::{Daemon, until},
    machines::{LAB, WEB, get, machine, made, network},
    working::{Sim, over, put},
};
use labyard_reconciler::EngineError;
use labyard_store::testing::Database;

#[test]
fn who_wants_a_machines_making_ended_ends_it_and_the_same_request_goes_on() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let mut daemon = Daemon::start(&database, &sim.lines());
    made(&daemon, LAB, &network());
    let at = daemon.directory.path().join("held");
    daemon.again("LABYARD_FAULT", &format!("hold@define:{}", at.display()));
    let begun = put(&daemon, WEB, &machine(128), &[]);
    until("the machine is defined", || at.exists().then_some(()));
    let other = put(&daemon, WEB, &machine(256), &[]);
    assert_eq!(
        (other.status, other.problem()),
        (409, "operation-running"),
        "{other:?}"
    );
    let cancel = format!("/v1/operations/{}/cancel", begun.body["id"].as_str().unwrap());
    assert_eq!(daemon.ask("POST", &cancel, &daemon.admin, &[]).status, 200);
    let ended = over(&daemon, &begun.body);
    assert_eq!(ended["state"], "cancelled", "{ended}");
    assert!(ended["error"].as_str().unwrap().contains("by root"), "{ended}");
    let failure: EngineError = serde_json::from_value(ended["failure"].clone()).unwrap();
    assert!(
        matches!(failure.root(), EngineError::Cancelled { .. }),
        "{failure}"
    );
    let _ = std::fs::remove_file(&at);
    daemon.again("LABYARD_FAULT", "");
    let done = made(&daemon, WEB, &machine(128));
    let reached = ended["reached"]["progress"]["identity"]["id"].clone();
    assert_eq!(
        done["result"]["view"]["id"], reached,
        "the same machine was finished"
    );
}

#[test]
fn a_daemon_that_is_told_to_end_finishes_the_machine_that_it_makes() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let mut daemon = Daemon::start(&database, &sim.lines());
    made(&daemon, LAB, &network());
    let at = daemon.directory.path().join("held");
    daemon.again("LABYARD_FAULT", &format!("hold@define:{}", at.display()));
    let begun = put(&daemon, WEB, &machine(128), &[]);
    until("the machine is defined", || at.exists().then_some(()));
    daemon.terminate();
    let address = daemon.url.strip_prefix("http://").unwrap().to_owned();
    until("no more connections are taken", || {
        std::net::TcpStream::connect(&address).err()
    });
    std::fs::remove_file(&at).unwrap();
    assert!(daemon.ended().success());
    daemon.restart();
    let path = format!("/v1/operations/{}", begun.body["id"].as_str().unwrap());
    let ended = get(&daemon, &path).body;
    assert_eq!(ended["state"], "succeeded", "{ended}");
}

#[test]
fn a_daemon_that_is_told_to_end_stops_the_making_that_takes_too_long_and_says_how_far_it_came() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let lines = format!("{}[limits]\nshutdown_timeout = \"1s\"\n", sim.lines());
    let mut daemon = Daemon::start(&database, &lines);
    made(&daemon, LAB, &network());
    let at = daemon.directory.path().join("held");
    daemon.again("LABYARD_FAULT", &format!("hold@define:{}", at.display()));
    let begun = put(&daemon, WEB, &machine(128), &[]);
    until("the machine is defined", || at.exists().then_some(()));
    daemon.terminate();
    assert!(daemon.ended().success());
    daemon.restart();
    let path = format!("/v1/operations/{}", begun.body["id"].as_str().unwrap());
    let ended = get(&daemon, &path).body;
    assert_eq!(ended["state"], "failed", "{ended}");
    assert!(
        ended["error"]
            .as_str()
            .unwrap()
            .contains("what was reached is kept"),
        "{ended}"
    );
    let done = made(&daemon, WEB, &machine(128));
    assert_eq!(
        done["result"]["view"]["id"],
        ended["reached"]["progress"]["identity"]["id"]
    );
}
