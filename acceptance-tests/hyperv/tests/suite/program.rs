//! The program `hyperv-double`: what it says, what it takes, how it ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::raw::{Line, basic, enumerate, request};

struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start(drive: &std::path::Path) -> (Self, Value) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hyperv-double"))
            .args([
                "--user",
                "op:plain",
                "--basic",
                "--unencrypted",
                "--build",
                "2019",
                "--drive",
            ])
            .arg(drive)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut program = Self {
            child,
            input,
            output: BufReader::new(output),
        };
        let said = program.line();
        (program, said)
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn told(&mut self, command: &str) -> Value {
        writeln!(self.input, "{command}").unwrap();
        self.line()
    }
}

#[test]
fn it_says_where_it_listens_takes_commands_and_ends_with_its_input() {
    let drive = tempfile::tempdir().unwrap();
    let (mut program, said) = Program::start(drive.path());
    assert!(
        said["certificate"]
            .as_str()
            .unwrap()
            .contains("BEGIN CERTIFICATE")
    );
    let address = said["http"].as_str().unwrap().parse().unwrap();
    let ask = || {
        let mut line = Line::to(address);
        line.send(&request(
            &basic("op", "plain"),
            &enumerate("root/virtualization/v2/Msvm_ComputerSystem", ""),
        ));
        line.receive().map(|answer| answer.status)
    };
    assert_eq!(ask(), Some(200));
    let rule = r#"{"fault": {"on": {"verb": "Enumerate"}, "nth": {"from": 2}, "does": "drop-before"}}"#;
    assert_eq!(program.told(rule)["done"], true);
    assert_eq!((ask(), ask(), ask()), (Some(200), None, None));
    assert_eq!(program.told("\"clear-faults\"")["done"], true);
    assert_eq!(ask(), Some(200));
    let log = program.told("\"log\"");
    let statuses: Vec<_> = log["log"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [200, 200, 0, 0, 200]);
    assert_eq!(program.told("\"restart\"")["done"], true);
    assert_eq!(program.told("\"forget-log\"")["done"], true);
    assert_eq!(program.told("\"log\"")["log"].as_array().unwrap().len(), 0);
    assert_eq!(
        program.told("\"complaints\"")["complaints"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    assert!(program.told("{\"dance\": 1}")["error"].is_string());
    drop(program.input);
    assert!(program.child.wait().unwrap().success());
}

#[test]
fn what_it_does_not_know_is_refused() {
    for arguments in [
        &["--colour"][..],
        &["--user", "op"],
        &["--build", "95"],
        &["--http"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_hyperv-double"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            !output.status.success() && !output.stderr.is_empty(),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_server_stands_without_a_runtime_of_its_caller() {
    use labyard_hyperv_double::wire::{Config, Standing, User};
    let mut config = Config::new(vec![User::administrator("op", "plain")]);
    config.name = "HV01".to_owned();
    let server = Standing::start(config, Box::new(crate::shelf::Shelf::of(0))).unwrap();
    let address = server.http().unwrap();
    let ask = move || {
        let mut line = Line::to(address);
        line.send(&request("", "x"));
        line.receive().map(|answer| answer.status)
    };
    assert_eq!(ask(), Some(401));
    drop(server);
    assert!(std::net::TcpStream::connect(address).is_err());
}
