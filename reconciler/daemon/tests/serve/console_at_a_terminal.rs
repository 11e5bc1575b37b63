//! `labyard vm console` at a terminal, on a simulated host: through a daemon and directly.

use crate::{
    console::{PATIENCE, events, machine},
    daemon::{Daemon, KEY, until},
    machines::{WEB, made},
    working::Sim,
};
use labyard_store::testing::Database;
use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

/// The command line at a terminal of its own, which `script` of util-linux makes.
struct Screen {
    child: std::process::Child,
    keys: std::process::ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Screen {
    /// Runs it between two looks at how the terminal is set.
    fn of(arguments: &str, daemon: &Daemon, by: Reach) -> Self {
        let line = format!(
            "echo before=$(stty -g); {} vm console lab1/web {arguments}; echo status=$?; echo after=$(stty -g); read end",
            env!("CARGO_BIN_EXE_labyard")
        );
        let mut command = Command::new("script");
        command
            .args(["-qefc", &line, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("LABYARD_STORE_KEY", KEY)
            .env_remove("LABYARD_STORE")
            .env_remove("LABYARD_ENDPOINT");
        if by == Reach::Daemon {
            command
                .env("LABYARD_ENDPOINT", &daemon.url)
                .env("LABYARD_TOKEN", &daemon.admin);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (shown, keys) = (Arc::new(Mutex::new(String::new())), child.stdin.take().unwrap());
        let (mut out, seen) = (child.stdout.take().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut bytes) {
                *seen.lock().unwrap() += &String::from_utf8_lossy(&bytes[..count]);
            }
        });
        Self { child, keys, shown }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn text(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    fn shows(&self, text: &str) -> String {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let shown = self.text();
            if shown.contains(text) {
                return shown;
            }
            assert!(std::time::Instant::now() < deadline, "no {text:?}: {shown:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The guest answers; by Ctrl-C, which is the guest's, not ours. Before it is up it hears nothing.
    fn is_answered(&mut self) {
        until("the guest answers", || {
            self.press("\u{3}");
            std::thread::sleep(Duration::from_millis(100));
            self.text().contains("^C").then_some(())
        });
    }

    /// The program has ended with that status, and the terminal is as it was before.
    fn is_as_before(&mut self, status: &str) {
        self.shows(&format!("status={status}"));
        let value = |shown: &str, name: &str| {
            let line = shown.lines().find_map(|line| line.trim().strip_prefix(name));
            line.map(str::to_owned)
        };
        let shown = until("the terminal tells how it is", || {
            let shown = self.text();
            value(&shown, "after=").filter(|after| !after.is_empty() && shown.ends_with('\n'))?;
            Some(shown)
        });
        assert!(value(&shown, "before=").is_some(), "{shown:?}");
        assert_eq!(value(&shown, "before="), value(&shown, "after="), "{shown:?}");
        self.press("\n");
        self.child.wait().unwrap();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// How the command line gets there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Daemon,
    Directly,
}

#[test]
fn a_terminal_types_into_a_machine_until_its_escape_and_is_as_before() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    made(&daemon, WEB, &machine("running"));
    let config = daemon.directory.path().join("labyard.toml");
    let directly = format!("--force --config {}", config.display());
    for (arguments, by) in [("--force", Reach::Daemon), (directly.as_str(), Reach::Directly)] {
        let mut screen = Screen::of(arguments, &daemon, by);
        screen.shows("Ctrl-] ends it");
        screen.is_answered();
        screen.press("ada\r");
        screen.shows("Welcome, ada");
        screen.press("echo so it is\r");
        screen.shows("\nso it is\r");
        screen.press("exit\r");
        screen.press("\u{1d}");
        screen.is_as_before("0");
    }
    let events = events(&daemon);
    assert!(events.contains("root  vm.console"), "{events}");
    assert!(events.contains("owner  vm.console"), "{events}");
}

#[test]
fn a_terminal_is_as_before_when_the_console_is_lost_and_when_a_signal_ends_it() {
    let (database, sim) = (Database::sqlite(), Sim::start());
    let daemon = Daemon::start(&database, &sim.lines());
    made(&daemon, WEB, &machine("running"));
    let mut first = Screen::of("--force", &daemon, Reach::Daemon);
    first.shows("Ctrl-] ends it");
    let mut refused = Screen::of("", &daemon, Reach::Daemon);
    refused.shows("--force");
    refused.is_as_before("1");
    let mut second = Screen::of("--force", &daemon, Reach::Daemon);
    second.shows("Ctrl-] ends it");
    first.shows("somebody else has taken the console over");
    first.is_as_before("1");
    second.is_answered();
    let typing = child_of(&child_of(&second.child.id().to_string()));
    let ended = Command::new("kill")
        .args(["-s", "TERM", &typing])
        .status()
        .unwrap();
    assert!(ended.success());
    second.is_as_before("0");
}

/// The only child of a process: of `script` the shell at its terminal, of that the program that it waits for.
fn child_of(process: &str) -> String {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = std::fs::read_to_string(path).unwrap();
    let mut children = children.split_whitespace();
    let only = children.next().unwrap().to_owned();
    assert_eq!(children.next(), None, "of {process}");
    only
}
