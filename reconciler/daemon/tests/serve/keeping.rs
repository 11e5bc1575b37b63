//! What an operator does with a store, by the guide: its own commands are run, one block after the other.

use crate::daemon::{CODE, KEY, Running, lab, location, redeem, token};
use labyard_store::testing::Database;
use serde_json::Value;
use std::{fs, path::Path, process::Command};

const GUIDE: &str = include_str!("../../../../docs/guides/store.md");

/// The commands below a heading.
fn blocks(heading: &str) -> Vec<String> {
    let section = GUIDE
        .split("\n## ")
        .find(|section| section.starts_with(&format!("{heading}\n")))
        .unwrap_or_else(|| panic!("the guide has no {heading:?}"));
    let parts = section.split("```sh\n").skip(1);
    let blocks: Vec<String> = parts
        .map(|part| part.split("```").next().unwrap().to_owned())
        .collect();
    assert!(!blocks.is_empty(), "{heading}");
    blocks
}

/// A computer as the guide has it, below a directory: a daemon that `systemctl` starts and stops.
struct Installation {
    directory: tempfile::TempDir,
    admin: String,
}

const SYSTEMCTL: &str = r#"#!/bin/sh
case $1 in
start)
    labyard serve --config ROOT/etc/labyard/labyard.toml >ROOT/said 2>ROOT/log </dev/null &
    echo $! >ROOT/pid
    until grep -q 'labyard serve: ' ROOT/said; do kill -0 "$(cat ROOT/pid)" || exit 1; sleep 0.05; done ;;
stop)
    kill "$(cat ROOT/pid)"
    until grep -q '"ended"' ROOT/log; do sleep 0.05; done
    rm ROOT/pid ;;
esac
"#;

impl Installation {
    fn new(lines: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for part in ["bin", "etc/labyard", "var/lib/labyard", "var/backups"] {
            fs::create_dir_all(root.join(part)).unwrap();
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_labyard"), root.join("bin/labyard")).unwrap();
        let systemctl = root.join("bin/systemctl");
        fs::write(&systemctl, SYSTEMCTL.replace("ROOT", root.to_str().unwrap())).unwrap();
        fs::set_permissions(&systemctl, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let key = root.join("etc/labyard/store.key");
        fs::write(&key, format!("{KEY}\n")).unwrap();
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let store = root.join("var/lib/labyard/labyard.db");
        let config = format!(
            "store = \"{}\"\nstore_key_file = \"{}\"\nlisten = \"127.0.0.1:0\"\n{lines}",
            store.display(),
            key.display()
        );
        fs::write(root.join("etc/labyard/labyard.toml"), config).unwrap();
        Self {
            directory,
            admin: String::new(),
        }
    }

    /// With a lab in its store.
    fn with_lab() -> Self {
        let mut made = Self::new("");
        let database = made.database();
        lab(&database, 5);
        made.admin = token(&location(&database), "root", "admin", &[]);
        made
    }

    fn database(&self) -> Database {
        Database::at(&self.directory.path().join("var/lib/labyard/labyard.db"))
    }

    /// Runs commands of the guide here.
    fn runs(&self, commands: &str) -> String {
        let out = self.ran(commands);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{commands}\n{said}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    fn ran(&self, commands: &str) -> std::process::Output {
        let root = self.directory.path();
        let mut here = commands.to_owned();
        for part in ["/etc/labyard", "/var/lib/labyard", "/var/backups"] {
            here = here.replace(part, &format!("{}{part}", root.display()));
        }
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new("sh")
            .args(["-euc", &here])
            .env("PATH", format!("{}:{path}", root.join("bin").display()))
            .env_remove("LABYARD_STORE")
            .output()
            .unwrap()
    }

    fn shown(&self) -> Value {
        let said = self.runs("labyard store show --config /etc/labyard/labyard.toml -o json");
        serde_json::from_str(&said).unwrap()
    }

    fn url(&self) -> String {
        let said = fs::read_to_string(self.directory.path().join("said")).unwrap();
        said.trim().strip_prefix("labyard serve: ").unwrap().to_owned()
    }

    /// Redeems the code of the lab at the daemon.
    fn claims(&self, user: &str) -> u16 {
        redeem(&self.url(), &self.admin, user, &format!("key-{user}"), CODE, &[]).status
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        // Before its directory goes.
        if let Ok(pid) = fs::read_to_string(self.directory.path().join("pid")) {
            drop(Command::new("kill").args(["-9", pid.trim()]).status());
        }
    }
}

#[test]
fn a_backup_made_by_the_guide_is_restored_by_the_guide() {
    let computer = Installation::with_lab();
    computer.runs("systemctl start labyard");
    assert_eq!(computer.claims("ada"), 201);
    for commands in blocks("Back up") {
        computer.runs(&commands);
    }
    let again = computer.ran(&blocks("Back up")[0]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("already"),
        "{again:?}"
    );
    let before = computer.shown();
    assert_eq!(computer.claims("ben"), 201);
    // The disk loses it.
    fs::write(
        computer.directory.path().join("var/lib/labyard/labyard.db"),
        "noise",
    )
    .unwrap();
    computer.runs(&blocks("Restore")[0]);
    let after = computer.shown();
    assert_eq!((&after["id"], &after["claims"]), (&before["id"], &Value::from(1)));
    assert_eq!(computer.claims("ada"), 201, "the same request, the same claim");
    assert_eq!(computer.shown()["claims"], 1);
}

#[test]
fn a_newer_store_is_refused_and_the_backup_of_the_guide_is_the_way_back() {
    let computer = Installation::with_lab();
    computer.runs("systemctl start labyard");
    for commands in blocks("Upgrade") {
        computer.runs(&commands);
    }
    assert_eq!(computer.claims("ada"), 201);
    computer.runs("systemctl stop labyard");
    computer
        .database()
        .sql("UPDATE labyard_meta SET value = '999' WHERE name = 'version'");
    let refused = computer.ran("labyard store show --config /etc/labyard/labyard.toml");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("version 999") && said.contains("restore the backup"),
        "{said}"
    );
    computer.runs("rm /var/lib/labyard/labyard.db*; cp /var/backups/labyard-before-upgrade.db /var/lib/labyard/labyard.db");
    assert_eq!(computer.shown()["claims"], 0);
}

#[test]
fn the_key_is_exchanged_by_the_guide_and_old_backups_open_with_the_old_one() {
    let computer = Installation::with_lab();
    computer.runs("systemctl start labyard");
    assert_eq!(computer.claims("ada"), 201);
    computer.runs(&blocks("Back up")[0]);
    let before = computer.shown();
    for commands in blocks("Another key") {
        computer.runs(&commands);
    }
    let after = computer.shown();
    assert_ne!(before["key"], after["key"]);
    assert_eq!(computer.claims("ada"), 201, "the same claim");
    assert_eq!(computer.claims("ben"), 201, "the same code");
    assert_eq!(computer.shown()["claims"], 2);
    let old = format!("/etc/labyard/store.key.{}", &before["key"].as_str().unwrap()[..8]);
    let backup = "/var/backups/labyard-$(date +%F).db";
    let opens = |key: &str| {
        computer.ran(&format!(
            "labyard store show --store \"{backup}\" --store-key-file {key}"
        ))
    };
    assert!(opens(&old).status.success(), "{:?}", opens(&old));
    let refused = opens("/etc/labyard/store.key");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("another key"),
        "{refused:?}"
    );
}

#[test]
fn a_daemon_with_the_old_key_is_refused_by_the_store_and_says_so() {
    let computer = Installation::with_lab();
    computer.runs("systemctl start labyard");
    computer.runs("labyard store rotate-key --config /etc/labyard/labyard.toml");
    let answer = redeem(&computer.url(), &computer.admin, "ada", "k", CODE, &[]);
    assert_eq!(answer.status, 500, "{answer:?}");
    let log = fs::read_to_string(computer.directory.path().join("log")).unwrap();
    assert!(log.contains("sealed with another key"), "{log}");
}

#[test]
fn machines_that_a_restored_store_does_not_know_are_given_back_to_their_pool() {
    let sim = crate::working::Sim::start();
    let mut computer = Installation::new(&sim.lines());
    let database = computer.database();
    computer.admin = token(&location(&database), "root", "admin", &[]);
    computer.runs("systemctl start labyard");
    let running = Running {
        url: computer.url(),
        admin: computer.admin.clone(),
    };
    let mut asked = crate::working::pool(1);
    running.put("/v1/pools/k8s", &asked);
    running.until_free(1);
    computer.runs(&blocks("Back up")[0]);
    asked["ready"] = 2.into();
    running.put("/v1/pools/k8s", &asked);
    running.until_free(2);
    computer.runs("systemctl stop labyard");
    computer.runs("rm /var/lib/labyard/labyard.db*; cp \"/var/backups/labyard-$(date +%F).db\" /var/lib/labyard/labyard.db");
    assert_eq!(computer.shown()["machines"], 1);
    let said = computer.runs(&blocks("Restore")[1]);
    let lines: Vec<String> = said
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for line in ["k8s-1 known", "k8s-2 its pool's again"] {
        assert!(lines.iter().any(|found| found == line), "{said}");
    }
    assert_eq!(computer.shown()["machines"], 2);
}

#[test]
fn a_postgres_store_is_backed_up_and_restored_by_the_guide() {
    let Some(database) = Database::postgres() else {
        return;
    };
    lab(&database, 3);
    let url = location(&database);
    let computer = Installation::new("");
    let blocks = blocks("PostgreSQL");
    let [backup, restore] = &blocks[..] else {
        panic!("{blocks:?}")
    };
    let with = |commands: &str| {
        format!("LABYARD_STORE='{url}'\nPATH=$(ls -d /usr/lib/postgresql/*/bin | tail -1):$PATH\n{commands}")
    };
    computer.runs(&with(backup));
    database.sql("DELETE FROM members");
    computer.runs(&with(restore));
    assert_eq!(database.sql("SELECT COUNT(*) FROM members").trim(), "3");
    let key = Path::new(computer.directory.path()).join("etc/labyard/store.key");
    let rotated = crate::daemon::labyard()
        .args(["store", "rotate-key", "--store", &url, "--store-key-file"])
        .arg(&key)
        .output()
        .unwrap();
    assert!(rotated.status.success(), "{rotated:?}");
    let file = computer.directory.path().join("backup");
    let refused = crate::daemon::labyard()
        .args(["store", "backup", "--store", &url])
        .arg(&file)
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("pg_dump"),
        "{refused:?}"
    );
}

/// Codes on paper, by the daemon and on its store.
#[test]
fn a_sheet_of_codes_is_printed_for_who_may_see_them_and_into_a_file_of_its_own() {
    let database = Database::sqlite();
    lab(&database, 1);
    let daemon = crate::daemon::Daemon::start(&database, "");
    let file = daemon.directory.path().join("sheet.html");
    let name = file.to_str().unwrap();
    let printed = daemon.cli(
        &daemon.admin,
        &["code", "print", "class", "--title", "Robotics", "--file", name],
    );
    assert!(printed.status.success(), "{printed:?}");
    let page = fs::read_to_string(&file).unwrap();
    assert!(
        page.contains(CODE) && page.contains("Robotics") && page.contains("<svg"),
        "{page}"
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let again = daemon.cli(&daemon.admin, &["code", "print", "class", "--file", name]);
    assert_eq!(again.status.code(), Some(1), "what is there is not written over");
    let on_store = crate::daemon::labyard()
        .args(["code", "print", "class", "-o", "json", "--store", &daemon.store])
        .output()
        .unwrap();
    let values: Value = serde_json::from_slice(&on_store.stdout).unwrap();
    assert_eq!(values["values"]["main"], CODE);
    let viewer = daemon.token("eve", "viewer", &[]);
    let refused = daemon.cli(&viewer, &["code", "print", "class"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(!String::from_utf8_lossy(&refused.stdout).contains(CODE));
    let events = daemon.cli(&daemon.admin, &["events"]);
    let events = String::from_utf8_lossy(&events.stdout).into_owned();
    assert!(events.contains("root  code.shown  code/class"), "{events}");
}
