//! `labyard pool`.

use super::{Table, asked::Asked, output::or_dash, run};
use labyard_api::{
    client::Rests,
    pool::{Condition, Member, Pool},
};
use std::error::Error;

/// Pools and their machines.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    asked: Asked,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List pools.
    List,
    /// Show a pool with its machines.
    Show {
        /// The pool.
        name: String,
    },
    /// Remove a pool, as its on_destroy says; its machines go, claimed ones when they are given back.
    Drain {
        /// The pool.
        name: String,
    },
}

/// A pool with its machines.
#[derive(serde::Serialize)]
struct Whole {
    pool: Pool,
    machines: Vec<Member>,
}

/// Runs the verb.
pub(crate) fn execute(options: &Options) -> Result<(), Box<dyn Error>> {
    let (output, namespace) = options.asked.for_whom();
    run(&options.asked.place, async |client| {
        match &options.verb {
            Verb::List => {
                let pools = client.pools(namespace).await?;
                output.print(&pools, |pools| listed(&pools.items))?;
            }
            Verb::Show { name } => {
                let whole = Whole {
                    pool: client.pool(namespace, name).await?.value,
                    machines: client.members(namespace, name).await?.items,
                };
                output.print(&whole, shown)?;
            }
            Verb::Drain { name } => {
                let operation = client.delete_pool(namespace, name, &Rests::Nowhere).await?;
                output.print(&operation, super::operation::shown)?;
            }
        }
        Ok(())
    })
}

fn listed(pools: &[Pool]) -> Table {
    let heads = [
        "NAMESPACE",
        "NAME",
        "READY",
        "FREE",
        "BUILDING",
        "CLAIMED",
        "RECYCLING",
        "FAILED",
        "MAX",
        "WAITING",
        "CONDITION",
    ];
    Table::of(&heads, pools, |pool| {
        let counts = pool.counts;
        vec![
            pool.namespace.clone(),
            pool.name.clone(),
            pool.ready.to_string(),
            counts.free.to_string(),
            counts.building.to_string(),
            counts.claimed.to_string(),
            counts.recycling.to_string(),
            counts.failed.to_string(),
            pool.max.to_string(),
            pool.waiting.to_string(),
            pool.condition.word().to_owned(),
        ]
    })
}

fn shown(whole: &Whole) -> Table {
    let pool = &whole.pool;
    let mut table = Table::new(&["POOL", &pool.name, "", ""]);
    let said = match &pool.condition {
        Condition::Failing { failures, cause, .. } | Condition::GivenUp { failures, cause } => {
            format!(
                "{} after {failures} failures: {}",
                pool.condition.word(),
                or_dash(cause.as_ref())
            )
        }
        other => other.word().to_owned(),
    };
    table.row(vec!["condition".to_owned(), said]);
    table.row(vec![
        "free".to_owned(),
        format!("{} of {}", pool.counts.free, pool.ready),
    ]);
    table.row(
        ["MACHINE", "STATE", "HOST", "CLAIM", "TROUBLE"]
            .map(str::to_owned)
            .to_vec(),
    );
    for machine in &whole.machines {
        let state = serde_json::to_value(machine.state).ok();
        let state = state
            .as_ref()
            .and_then(|state| state.as_str())
            .unwrap_or_default();
        table.row(vec![
            machine.name.clone(),
            state.to_owned(),
            or_dash(machine.host.as_ref()),
            or_dash(machine.claim.as_ref()),
            or_dash(machine.trouble.as_ref()),
        ]);
    }
    table
}
