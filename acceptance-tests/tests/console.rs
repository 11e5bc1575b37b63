//! A console that is typed into on a real host, at a real terminal: a shell in the guest answers, the terminal is as before,
//! and who has the console keeps it until somebody takes it over.

use labyard_acceptance_tests::Host;
use labyard_acceptance_tests::assets::GuestFiles;
use labyard_acceptance_tests::daemon::{Daemon, labyard};
use labyard_acceptance_tests::wait::{Look, until};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A guest is booted.
const LONG: Duration = Duration::from_secs(300);

/// A terminal that `script` of util-linux makes, with `labyard vm console` at it.
struct Screen {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Screen {
    #[track_caller]
    fn of(daemon: &Daemon, more: &str) -> Self {
        let line = format!(
            "echo before=$(stty -g).; {} vm console lab1/web {more}; echo status=$?; echo after=$(stty -g).",
            labyard().display()
        );
        let mut child = Command::new("script")
            .args(["-qefc", &line, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("LABYARD_ENDPOINT", daemon.url())
            .env("LABYARD_TOKEN", daemon.token())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (keys, shown) = (child.stdin.take().unwrap(), Arc::new(Mutex::new(String::new())));
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

    #[track_caller]
    fn shows(&self, text: &str) -> String {
        until(text, LONG, || {
            let shown = self.shown.lock().unwrap().clone();
            Ok(match shown.contains(text) {
                true => Look::Holds(shown),
                false => Look::NotYet(shown),
            })
        })
        .unwrap()
    }

    /// Types a line again and again until what it prints is there: a guest that boots has nobody who reads.
    #[track_caller]
    fn answers(&mut self, line: &str, answer: &str) {
        until(answer, LONG, || {
            self.press(line);
            std::thread::sleep(Duration::from_secs(1));
            let shown = self.shown.lock().unwrap().clone();
            Ok(match shown.contains(answer) {
                true => Look::Holds(()),
                false => Look::NotYet(shown),
            })
        })
        .unwrap();
    }

    /// The program ends with that status, and the terminal is set as it was.
    #[track_caller]
    fn ends(&mut self, status: &str) {
        self.shows(&format!("status={status}"));
        self.child.wait().unwrap();
        let shown = self.shows("after=");
        let value = |name: &str| {
            let (_, rest) = shown.split_once(name).unwrap_or_else(|| panic!("{shown}"));
            rest.split('.').next().unwrap().to_owned()
        };
        assert_eq!(value("before="), value("after="), "{shown}");
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // One that has ended already cannot be ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until an operation has ended well.
#[track_caller]
fn done(daemon: &Daemon, operation: &Value) {
    let id = operation["id"].as_str().unwrap();
    until("the end of an operation", LONG, || {
        let now = daemon.json(&["operation", "show", id]);
        Ok(match now["state"].as_str() {
            Some("succeeded") => Look::Holds(()),
            Some("running") => Look::NotYet(now.to_string()),
            _ => panic!("{now}"),
        })
    })
    .unwrap();
}

#[test]
fn a_shell_on_the_serial_console_answers_what_is_typed_at_a_terminal() {
    let host = Host::start().unwrap();
    let files = GuestFiles::get();
    let daemon = Daemon::alone(&format!(
        "host_directories = [\"/\"]\n[hosts.lab1]\nlibvirt = {{ uri = {:?}, accelerator = \"qemu\" }}\n",
        host.uri()
    ));
    let machine = |power: &str| {
        json!({"attributes": {
            "cpus": 1, "memory_mib": 96, "power": power,
            "boot": {
                "kernel": files.kernel(), "initrd": files.initrd(),
                "cmdline": "console=ttyS0 quiet no_timer_check guest.network=off",
            },
            "shutdown": {"mode": "force"},
        }})
    };
    done(&daemon, &daemon.put("/v1/vms/lab1/web", &machine("running")));
    let mut first = Screen::of(&daemon, "--force");
    first.shows("Ctrl-] ends it");
    // What is echoed has no 42 in it: the shell has worked it out.
    first.answers("echo it is $((6 * 7))\r", "it is 42");

    let mut refused = Screen::of(&daemon, "");
    refused.shows("--force");
    refused.ends("1");
    let mut second = Screen::of(&daemon, "--force");
    second.shows("Ctrl-] ends it");
    first.shows("somebody else has taken the console over");
    first.ends("1");
    second.answers("echo then $((6 * 8))\r", "then 48");
    second.press("\u{1d}");
    second.ends("0");

    // The console is free again, and ends with the machine.
    let mut third = Screen::of(&daemon, "");
    third.shows("Ctrl-] ends it");
    third.answers("echo last $((6 * 9))\r", "last 54");
    let stopping = daemon.put("/v1/vms/lab1/web", &machine("stopped"));
    third.shows("the machine has ended");
    third.ends("0");
    done(&daemon, &stopping);
    let mut stopped = Screen::of(&daemon, "--force");
    stopped.shows("does not run");
    stopped.ends("1");
    let ended = daemon.cli(daemon.token(), &["events"]).successful().unwrap();
    let events = ended.stdout;
    assert_eq!(events.matches("vm.console").count(), 3, "{events}");
}
