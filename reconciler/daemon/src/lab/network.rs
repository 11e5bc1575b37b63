//! `labyard network`: networks of all hosts, through a daemon or directly.

use super::{
    Output, Table, Where,
    output::or_dash,
    run_on,
    vm::{Address, all_answered},
};
use labyard_api::network::Network;
use std::{error::Error, path::PathBuf};

/// Networks.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Where,
    /// The configuration of a daemon, where none is asked: its hosts are worked on directly.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// For whom it is printed.
    #[arg(short, long, value_enum, default_value_t, global = true)]
    output: Output,
    /// The namespace; a list without it has all.
    #[arg(long, global = true)]
    namespace: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List networks. Exit code 1 if a host did not answer.
    List,
    /// Show a network.
    Show {
        /// The network: HOST/NAME.
        network: Address,
    },
}

/// Runs the verb.
pub(crate) fn execute(options: &Options) -> Result<(), Box<dyn Error>> {
    let (output, namespace) = (options.output, options.namespace.as_deref());
    run_on(
        &options.place,
        options.config.as_deref(),
        async |client| match &options.verb {
            Verb::List => {
                let found = client.networks(namespace).await?;
                output.print(&found, |found| listed(&found.items))?;
                all_answered(&found.unread)
            }
            Verb::Show { network } => {
                let found = client.network(namespace, (&network.host, &network.name)).await?;
                Ok(output.print(&found.value, |one| listed(std::slice::from_ref(one)))?)
            }
        },
    )
}

fn listed(networks: &[Network]) -> Table {
    let heads = [
        "HOST",
        "NAMESPACE",
        "NAME",
        "MODE",
        "ADDRESS",
        "BRIDGE",
        "UP",
        "OWNED",
    ];
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    Table::of(&heads, networks, |network| {
        vec![
            network.host.clone(),
            or_dash(network.namespace.as_ref()),
            network.name.clone(),
            or_dash(network.mode.as_ref()),
            or_dash(network.address.as_ref()),
            or_dash(network.bridge.as_ref()),
            yes(network.active),
            yes(network.owned),
        ]
    })
}
