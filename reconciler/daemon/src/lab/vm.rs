//! `labyard vm`: machines of all hosts, through a daemon or directly.

use super::{
    Table,
    asked::OnHosts,
    console,
    image::{self, Wanted},
    output::{or_dash, progress},
    run_on,
    terminal::Terminal,
};
use labyard_api::{
    client::{Call, Client, ClientError, console::Former},
    operation::{Operation, State},
    routes::Op,
    vm::{PutVm, Unread, Vm},
};
use serde_json::Value;
use std::{error::Error, path::PathBuf, time::Duration};

/// How often a running operation is looked at.
const LOOK: Duration = Duration::from_millis(300);

/// Machines.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    asked: OnHosts,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List machines. Exit code 1 if a host did not answer.
    List,
    /// Show a machine.
    Show {
        /// The machine: HOST/NAME.
        machine: Address,
    },
    /// Type into a machine's serial console, until Ctrl-]. Where the input is no terminal it is only read, until the machine
    /// ends.
    Console {
        /// The machine: HOST/NAME.
        machine: Address,
        /// Only read, until Ctrl-C. Who has the console already loses it.
        #[arg(long)]
        read_only: bool,
        /// Take the console over from whoever has it already; he is told.
        #[arg(long)]
        force: bool,
    },
    /// Make the next revision of an image of a machine's disk. A machine that runs stays so: its agent holds its file systems
    /// still for a moment, and takes SSH host keys and machine id out of what is captured.
    Capture(Wanted),
    /// Take over a machine that others made, as it is written in a file. What would destroy data is refused.
    Adopt {
        /// The machine: HOST/NAME.
        machine: Address,
        /// The attributes of labyard_vm, as JSON.
        #[arg(long, value_name = "FILE")]
        attributes: PathBuf,
    },
}

/// A host and a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) name: String,
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((host, name)) if !host.is_empty() && !name.is_empty() => Ok(Self {
                host: host.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(format!("{text:?} is not HOST/NAME")),
        }
    }
}

/// Runs the verb.
pub(crate) fn execute(options: &Options) -> Result<(), Box<dyn Error>> {
    let (output, namespace) = options.asked.for_whom();
    run_on(
        options.asked.place(),
        options.asked.config(),
        async |client| match &options.verb {
            Verb::List => {
                let found = client.vms(namespace).await?;
                output.print(&found, |found| listed(&found.items))?;
                all_answered(&found.unread)
            }
            Verb::Show { machine } => {
                let found = client.vm(namespace, (&machine.host, &machine.name)).await?;
                Ok(output.print(&found.value, shown)?)
            }
            Verb::Console {
                machine,
                read_only,
                force,
            } => match Terminal::of_input().filter(|_| !*read_only) {
                Some(terminal) => {
                    let former = if *force { Former::Loses } else { Former::Keeps };
                    console::typed(&client, terminal, (namespace, machine), former).await
                }
                None => console::followed(&client, (namespace, machine)).await,
            },
            Verb::Capture(wanted) => image::capture(&client, (output, namespace), wanted).await,
            Verb::Adopt { machine, attributes } => {
                let attributes: Value = serde_json::from_slice(&std::fs::read(attributes)?)?;
                let asked = PutVm {
                    attributes: Some(attributes),
                    ..PutVm::default()
                };
                let call = Call::of(&[&machine.host, &machine.name])
                    .query("namespace", namespace)
                    .query("adopt", Some(true))
                    .json(&asked);
                let begun = client.ask::<Operation>(Op::PutVm, call).await?.value;
                let ended = over(&client, begun).await?;
                output.print(&ended, super::operation::shown)?;
                match ended.state {
                    State::Succeeded => Ok(()),
                    _ => Err(ended.error.unwrap_or_default().into()),
                }
            }
        },
    )
}

/// Waits for the end of an operation, and says how far it is.
pub(super) async fn over(client: &Client, begun: Operation) -> Result<Operation, ClientError> {
    let mut stage = String::new();
    loop {
        let operation = client.operation(&begun.id).await?;
        if operation.stage != stage {
            stage.clone_from(&operation.stage);
            progress(&format!("{}: {stage}", operation.subject));
        }
        if operation.state.is_over() {
            return Ok(operation);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What is missing in a list is no answer.
pub(super) fn all_answered(unread: &[Unread]) -> Result<(), Box<dyn Error>> {
    let said: Vec<_> = unread
        .iter()
        .map(|one| format!("host {} did not answer: {}", one.host, one.why))
        .collect();
    match said.is_empty() {
        true => Ok(()),
        false => Err(said.join("; ").into()),
    }
}

fn listed(machines: &[Vm]) -> Table {
    let heads = [
        "HOST",
        "NAMESPACE",
        "NAME",
        "POWER",
        "CPUS",
        "MEMORY",
        "ADDRESSES",
        "POOL",
        "OWNED",
    ];
    Table::of(&heads, machines, |vm| {
        vec![
            vm.host.clone(),
            or_dash(vm.namespace.as_ref()),
            vm.name.clone(),
            standing(vm),
            or_dash(vm.cpus),
            or_dash(vm.memory_mib.map(|memory| format!("{memory} MiB"))),
            addresses(vm),
            or_dash(vm.pool.as_ref()),
            if vm.owned { "yes" } else { "no" }.to_owned(),
        ]
    })
}

/// What it does, or what its making is at.
fn standing(vm: &Vm) -> String {
    let power = or_dash(vm.power.as_ref());
    match &vm.stage {
        Some(stage) => format!("{power} (at {stage})"),
        None => power,
    }
}

fn addresses(vm: &Vm) -> String {
    let all: Vec<_> = vm.addresses.iter().map(ToString::to_string).collect();
    or_dash(Some(all.join(",")).filter(|all| !all.is_empty()))
}

fn shown(vm: &Vm) -> Table {
    let mut table = Table::new(&["MACHINE", &format!("{}/{}", vm.host, vm.name)]);
    let mut line = |name: String, value: String| table.row(vec![name, value]);
    line("namespace".to_owned(), or_dash(vm.namespace.as_ref()));
    line("id".to_owned(), vm.id.clone());
    line("power".to_owned(), standing(vm));
    line("cpus".to_owned(), or_dash(vm.cpus));
    line(
        "memory".to_owned(),
        or_dash(vm.memory_mib.map(|memory| format!("{memory} MiB"))),
    );
    line("addresses".to_owned(), addresses(vm));
    let view = vm.reading.as_ref().and_then(|reading| reading.get("Present"));
    let parts = |name: &str| {
        let parts = view.and_then(|view| view.get(name)).and_then(Value::as_object);
        parts.cloned().unwrap_or_default()
    };
    for (key, disk) in parts("disks") {
        let size = disk["size"].as_u64().map(|bytes| format!("{} GiB", bytes >> 30));
        let pool = disk["pool"].as_str().unwrap_or("-");
        line(format!("disk {key}"), format!("{} in {pool}", or_dash(size)));
    }
    for (key, nic) in parts("nics") {
        let text = |name: &str| nic[name].as_str().unwrap_or("-").to_owned();
        line(
            format!("nic {key}"),
            format!("{} on {}", text("mac"), text("network")),
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named_by_its_host_and_name() {
        let address: Address = "lab1/web".parse().unwrap();
        assert_eq!((address.host.as_str(), address.name.as_str()), ("lab1", "web"));
        for wrong in ["web", "/web", "lab1/"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_that_misses_a_host_is_an_error_that_names_it() {
        let unread = [Unread {
            host: "lab2".into(),
            why: "no answer within 15 s".into(),
        }];
        let said = all_answered(&unread).unwrap_err().to_string();
        assert!(said.contains("lab2") && said.contains("no answer"), "{said}");
    }
}
