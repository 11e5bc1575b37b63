//! `labyard quota`: what namespaces may have, and hold of it.

use super::{Table, asked::Asked, run};
use labyard_api::quota::{Held, Quota};
use std::error::Error;

/// What namespaces may have, and hold of it.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    asked: Asked,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List what namespaces hold, and how much they may. The configuration of the daemon says how much that is.
    List,
}

/// Runs the verb.
pub(crate) fn execute(options: &Options) -> Result<(), Box<dyn Error>> {
    let Verb::List = options.verb;
    let (output, namespace) = options.asked.for_whom();
    run(&options.asked.place, async |client| {
        let quotas = client.quotas(namespace).await?;
        Ok(output.print(&quotas, |quotas| listed(&quotas.items))?)
    })
}

fn listed(quotas: &[Quota]) -> Table {
    Table::of(
        &["NAMESPACE", "MACHINES", "CPUS", "MEMORY MIB"],
        quotas,
        |quota| {
            let columns = [quota.machines, quota.cpus, quota.memory_mib];
            let columns = columns.iter().map(shown);
            std::iter::once(quota.namespace.clone()).chain(columns).collect()
        },
    )
}

/// Used of most; what has no bound is used alone.
fn shown(held: &Held) -> String {
    match held.quota {
        Some(quota) => format!("{} of {quota}", held.used),
        None => held.used.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_shown_of_what_may_be() {
        let held = |quota| shown(&Held { used: 3, quota });
        assert_eq!(
            (held(Some(40)), held(None)),
            ("3 of 40".to_owned(), "3".to_owned())
        );
    }
}
