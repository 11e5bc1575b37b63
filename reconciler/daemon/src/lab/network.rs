//! `labyard network`: networks of all hosts, through a daemon or directly.

use super::{
    Table,
    asked::OnHosts,
    output::or_dash,
    run_on,
    vm::{Address, all_answered},
};
use labyard_api::network::Network;
use std::error::Error;

/// Networks.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    asked: OnHosts,
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
    let (output, namespace) = options.asked.for_whom();
    run_on(
        options.asked.place(),
        options.asked.config(),
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
