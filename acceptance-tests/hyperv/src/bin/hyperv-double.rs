//! A Hyper-V host for tests, as a program.
//!
//! It says where it listens in a line of JSON, then takes commands, one a line as JSON, and answers each with a line:
//! `{"fault": {"on": {"method": "DefineSystem"}, "nth": {"only": 1}, "does": "drop-after"}}`, `"clear-faults"`, `"restart"`,
//! `"log"`, `"forget-log"`, `"peak"`, `"complaints"`, `"refusals"` (of the model). It ends with its input.

use std::net::SocketAddr;
use std::path::PathBuf;

use labyard_hyperv_double::model::{Build as ModelBuild, Host, Setup};
use labyard_hyperv_double::schema::Build;
use labyard_hyperv_double::wire::{Config, Hardening, Rights, Rule, Server, Unencrypted, User};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

const USAGE: &str = "usage: hyperv-double [OPTIONS]
  --drive DIR           the directory that stands for drive D: (the working directory)
  --user NAME:PASSWORD  an administrator; may be repeated, the first stands in the answer (op:secret)
  --guest NAME:PASSWORD one who may log in and nothing else; may be repeated
  --build 2019|2022|2025  the build of Windows (2022)
  --http ADDRESS:PORT, --https ADDRESS:PORT  where to listen (127.0.0.1:0)
  --basic               takes user and password
  --certificate         takes client certificates
  --unencrypted         takes what is not sealed over HTTP
  --binding none|relaxed|strict  what logins over HTTPS have to be bound to (relaxed)
  --envelope KIB        the largest envelope (500)";

/// A command on standard input.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Command {
    Fault(Rule),
    ClearFaults,
    Restart,
    Log,
    ForgetLog,
    Peak,
    Complaints,
    Refusals,
}

/// What the command line asks for.
struct Options {
    config: Config,
    build: ModelBuild,
    drive: PathBuf,
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut config = Config::new(Vec::new());
    let mut build = ModelBuild::SERVER_2022;
    config.build = Build::Server23h2;
    let mut drive = PathBuf::from(".");
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{option} needs a value"));
        let address = |text: String| {
            text.parse::<SocketAddr>()
                .map_err(|error| format!("{text}: {error}"))
        };
        match option.as_str() {
            "--drive" => drive = value()?.into(),
            "--user" => config.users.push(user(&value()?)?),
            "--guest" => config.users.push(user(&value()?)?.with(Rights::Remote)),
            "--build" => {
                (build, config.build) = match value()?.as_str() {
                    "2019" => (ModelBuild::SERVER_2019, Build::Server2019),
                    "2022" => (ModelBuild::SERVER_2022, Build::Server23h2),
                    "2025" => (ModelBuild::SERVER_2025, Build::Server23h2),
                    other => return Err(format!("no build {other}")),
                }
            }
            "--http" => config.http = Some(address(value()?)?),
            "--https" => config.https = Some(address(value()?)?),
            "--basic" => config.offers.basic = true,
            "--certificate" => config.offers.certificate = true,
            "--unencrypted" => config.unencrypted = Unencrypted::Allowed,
            "--binding" => {
                config.hardening = match value()?.as_str() {
                    "none" => Hardening::None,
                    "relaxed" => Hardening::Relaxed,
                    "strict" => Hardening::Strict,
                    other => return Err(format!("no binding {other}")),
                }
            }
            "--envelope" => {
                config.limits.envelope_kib = value()?
                    .parse()
                    .map_err(|_| "--envelope needs a number".to_owned())?;
            }
            other => return Err(format!("{other} is not known\n{USAGE}")),
        }
    }
    if config.users.is_empty() {
        config.users.push(user("op:secret")?);
    }
    Ok(Options { config, build, drive })
}

fn user(pair: &str) -> Result<User, String> {
    let (name, password) = pair
        .split_once(':')
        .ok_or_else(|| format!("{pair} is not NAME:PASSWORD"))?;
    Ok(User::administrator(name, password))
}

fn answered(server: &Server, host: &Host, line: &str) -> Value {
    match serde_json::from_str(line) {
        Err(error) => return json!({"error": error.to_string()}),
        Ok(Command::Fault(rule)) => server.fault(rule),
        Ok(Command::ClearFaults) => server.clear_faults(),
        Ok(Command::Restart) => server.restart(),
        Ok(Command::ForgetLog) => server.forget_log(),
        Ok(Command::Log) => return json!({"log": server.log()}),
        Ok(Command::Peak) => return json!({"peak": server.peak()}),
        Ok(Command::Refusals) => return json!({"refusals": host.refusals()}),
        Ok(Command::Complaints) => return json!({"complaints": server.complaints()}),
    }
    json!({"done": true})
}

async fn run(options: Options) -> Result<(), String> {
    let Options { config, build, drive } = options;
    let mut setup = Setup::server(drive);
    setup.build = build;
    setup.computer.clone_from(&config.name);
    let host = Host::new(setup);
    let server = Server::start(config, Box::new(host.clone()))
        .await
        .map_err(|error| error.to_string())?;
    let said = json!({"http": server.http(), "https": server.https(), "certificate": server.certificate()});
    println!("{said}");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.map_err(|error| error.to_string())? {
        println!("{}", answered(&server, &host, &line));
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.peek().is_some_and(|first| first == "--help") {
        println!("{USAGE}");
        return std::process::ExitCode::SUCCESS;
    }
    let ran = options(arguments).and_then(|options| {
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        let ran = runtime.block_on(run(options));
        // Standard input is read by a thread that nothing wakes.
        runtime.shutdown_background();
        ran
    });
    match ran {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hyperv-double: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
