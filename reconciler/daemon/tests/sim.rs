//! `labyard sim` as a process: started, used, killed, started again.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use labyard_driver::conformance::sample;
use labyard_driver::{Driver, DriverError};
use labyard_driver_sim::SimDriver;
use tempfile::TempDir;

fn labyard(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_labyard"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    labyard(arguments).output().unwrap()
}

/// A running `labyard sim`; ended with the test.
struct Sim {
    child: Child,
    start_line: String,
}

impl Sim {
    fn start(socket: &Path, more: &[&str]) -> Self {
        let mut arguments = vec!["sim", "--socket", socket.to_str().unwrap()];
        arguments.extend(more);
        let mut child = labyard(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut start_line = String::new();
        let out = child.stdout.as_mut().unwrap();
        BufReader::new(out).read_line(&mut start_line).unwrap();
        Self { child, start_line }
    }

    /// `kill -9`
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("sim.sock");
    (directory, socket)
}

#[test]
fn the_program_tells_its_version_and_bad_usage_is_exit_code_1() {
    let version = output(&["--version"]);
    let wanted = format!("labyard {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(version.stdout).unwrap(), wanted);
    assert!(version.status.success());
    for bad in [
        &["sim"][..],
        &["sim", "--socket", "s", "--latency", "5"],
        &["nonsense"],
        &[],
    ] {
        let output = output(bad);
        assert_eq!(output.status.code(), Some(1), "{bad:?}");
        assert!(!output.stderr.is_empty(), "{bad:?}");
    }
}

#[tokio::test]
async fn whatever_was_answered_for_survives_kill_9_at_any_time() {
    let (_directory, socket) = place();
    let driver = SimDriver::connect(&socket);
    let mut answered = 0;
    for round in 0..4_u64 {
        let sim = Sim::start(&socket, &["--latency", "0ms..2ms"]);
        let pid = sim.child.id().to_string();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(60 + 25 * round));
            assert!(
                Command::new("kill")
                    .args(["-9", &pid])
                    .status()
                    .unwrap()
                    .success()
            );
        });
        let error = loop {
            match driver
                .record_machine(&sample::machine(&format!("m{answered}")))
                .await
            {
                Ok(_) => answered += 1,
                // Recorded by the call whose answer the kill before took away.
                Err(DriverError::Exists { .. }) => answered += 1,
                Err(error) => break error,
            }
        };
        let expected = matches!(
            error,
            DriverError::ReplyLost { .. } | DriverError::Unreachable { .. }
        );
        assert!(expected, "{error:?}");
        killer.join().unwrap();
        sim.kill();
    }
    let sim = Sim::start(&socket, &[]);
    let machines = driver.snapshot().await.unwrap().machines;
    assert!(answered > 0);
    for number in 0..answered {
        let name = format!("m{number}");
        assert!(
            machines.iter().any(|machine| machine.host_name == name),
            "{name} of {answered} is gone"
        );
    }
    assert!(machines.len() <= answered + 1, "{} of {answered}", machines.len());
    assert!(
        sim.start_line.contains(&format!("{} machines", machines.len())),
        "{}",
        sim.start_line
    );
}

#[tokio::test]
async fn a_signal_ends_it_and_takes_the_socket_away() {
    for signal in ["-INT", "-TERM"] {
        let (_directory, socket) = place();
        let mut sim = Sim::start(&socket, &[]);
        SimDriver::connect(&socket).snapshot().await.unwrap();
        sim.signal(signal);
        assert!(sim.child.wait().unwrap().success(), "{signal}");
        let mut rest = String::new();
        sim.child
            .stdout
            .as_mut()
            .unwrap()
            .read_to_string(&mut rest)
            .unwrap();
        assert!(rest.contains("stopped"), "{rest}");
        assert!(!socket.exists(), "{signal}");
    }
}

#[tokio::test]
async fn a_second_one_on_the_same_socket_is_refused_and_harms_nothing() {
    let (directory, socket) = place();
    let _sim = Sim::start(&socket, &[]);
    let other_state = directory.path().join("other.json");
    let socket_text = socket.to_str().unwrap();
    let second = output(&[
        "sim",
        "--socket",
        socket_text,
        "--state",
        other_state.to_str().unwrap(),
    ]);
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(
        message.contains("listens on") && message.contains(socket_text),
        "{message}"
    );
    SimDriver::connect(&socket).snapshot().await.unwrap();
}

#[tokio::test]
async fn a_client_is_told_how_to_start_what_it_does_not_find() {
    let (_directory, socket) = place();
    let error = SimDriver::connect(&socket)
        .snapshot()
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("labyard sim --socket"), "{error}");
}
