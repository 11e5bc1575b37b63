//! Where the command line looks for labs: what is named counts, what cannot be there is said, and who goes is not waited for.

use crate::daemon::{Daemon, lab, labyard, until};
use labyard_store::testing::Database;
use std::{
    io::{BufRead as _, BufReader},
    process::{Output, Stdio},
};

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn what_is_named_counts_before_the_environment() {
    let database = Database::sqlite();
    lab(&database, 1);
    let daemon = Daemon::start(&database, "");
    let mut on_store = labyard();
    on_store
        .args(["pool", "list", "--store", &daemon.store])
        .env("LABYARD_ENDPOINT", "http://127.0.0.1:9");
    let listed = on_store.output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    assert!(
        String::from_utf8_lossy(&listed.stdout).contains("k8s"),
        "{listed:?}"
    );
    let both = daemon.cli(
        &daemon.admin,
        &[
            "pool",
            "list",
            "--store",
            &daemon.store,
            "--endpoint",
            &daemon.url,
        ],
    );
    assert_eq!(both.status.code(), Some(1));
    assert!(said(&both).contains("a daemon and a store are named"), "{both:?}");
    let mut by_config = labyard();
    by_config
        .args(["store", "show", "--config"])
        .arg(daemon.directory.path().join("labyard.toml"))
        .env("LABYARD_STORE", "/nowhere/labyard.db");
    let shown = by_config.output().unwrap();
    assert!(shown.status.success(), "{shown:?}");
}

#[test]
fn what_is_on_hosts_is_not_looked_for_in_a_store_alone() {
    let database = Database::sqlite();
    lab(&database, 1);
    let daemon = Daemon::start(&database, "");
    for verb in [
        &["vm", "list"][..],
        &["network", "list"],
        &["host", "list"],
        &["host", "cordon", "lab1"],
    ] {
        let out = labyard()
            .args(verb)
            .args(["--store", &daemon.store])
            .output()
            .unwrap();
        assert_eq!(out.status.code(), Some(1), "{verb:?}: {out:?}");
        assert!(said(&out).contains("a store alone has no hosts"), "{out:?}");
    }
    let config = daemon.directory.path().join("labyard.toml");
    let typo = labyard()
        .args(["host", "cordon", "lab9", "--config"])
        .arg(config)
        .output()
        .unwrap();
    assert_eq!(typo.status.code(), Some(1), "{typo:?}");
    assert!(said(&typo).contains("not there"), "{typo:?}");
}

#[test]
fn quotas_are_listed() {
    let database = Database::sqlite();
    lab(&database, 1);
    let daemon = Daemon::start(&database, "[quotas.default]\nmachines = 200\n");
    let listed = daemon.cli(&daemon.admin, &["quota", "list"]);
    assert!(listed.status.success(), "{listed:?}");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(text.contains("default") && text.contains(" of 200"), "{text}");
}

#[test]
fn who_follows_and_is_read_no_more_ends_with_the_next_event() {
    let database = Database::sqlite();
    lab(&database, 1);
    let daemon = Daemon::start(&database, "");
    let mut following = labyard()
        .args(["events", "--follow", "--after", "0"])
        .env("LABYARD_ENDPOINT", &daemon.url)
        .env("LABYARD_TOKEN", &daemon.admin)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut out = BufReader::new(following.stdout.take().unwrap());
    out.read_line(&mut first).unwrap();
    drop(out);
    daemon.token("late", "viewer", &[]);
    let ended = until("it ends", || following.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
}
