//! `labyard host`.

use super::{
    Output, Table, Where,
    output::{at, or_dash},
    run_on,
};
use crate::{config::Config, serve::work};
use labyard_api::host::{Host, Wish};
use labyard_driver::ids::HostName;
use labyard_reconciler::engine::{Engine as _, Look};
use std::{collections::BTreeSet, error::Error, path::PathBuf, time::Duration};

/// How long a host may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// Hosts.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Where,
    /// The configuration of a daemon, where none is asked: its store and its hosts.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// For whom it is printed.
    #[arg(short, long, value_enum, default_value_t, global = true)]
    output: Output,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List hosts.
    List,
    /// Ask each host of a configuration whether it answers, and what it has. Exit code 1 if one does not.
    Check,
    /// Let a host take new machines again.
    Open {
        /// The host.
        name: String,
    },
    /// Let a host take no new machines; it keeps those that it has.
    Cordon {
        /// The host.
        name: String,
    },
    /// Empty a host: free machines go, claimed ones when they are given back.
    Drain {
        /// The host.
        name: String,
    },
}

/// What a host said.
#[derive(serde::Serialize)]
struct Said {
    host: String,
    answers: bool,
    said: String,
}

/// Runs the verb.
pub(crate) fn execute(options: &Options) -> Result<(), Box<dyn Error>> {
    let (output, config) = (options.output, options.config.as_deref());
    let (name, wish) = match &options.verb {
        Verb::Check => {
            let config = config.ok_or("which hosts? Name the configuration of the daemon (--config)")?;
            return checked(&Config::read(config)?, output);
        }
        Verb::List => {
            return run_on(&options.place, config, async |client| {
                let hosts = client.hosts().await?;
                Ok(output.print(&hosts, |hosts| listed(&hosts.items))?)
            });
        }
        Verb::Open { name } => (name, Wish::Open),
        Verb::Cordon { name } => (name, Wish::Cordoned),
        Verb::Drain { name } => (name, Wish::Draining),
    };
    run_on(&options.place, config, async |client| {
        let host = client.wish(name, wish).await?;
        Ok(output.print(&host, |host| listed(std::slice::from_ref(host)))?)
    })
}

fn listed(hosts: &[Host]) -> Table {
    let heads = ["NAME", "KIND", "WISH", "MACHINES", "SILENT SINCE", "LOST SINCE"];
    Table::of(&heads, hosts, |host| {
        vec![
            host.name.clone(),
            or_dash(host.kind.as_ref()),
            host.wish.word().to_owned(),
            host.machines.to_string(),
            or_dash(host.silent_since.map(at)),
            or_dash(host.lost_since.map(at)),
        ]
    })
}

fn checked(config: &Config, output: Output) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let said = runtime.block_on(ask(config))?;
    runtime.shutdown_background();
    output.print(&said, |said| {
        Table::of(&["HOST", "ANSWERS", "SAID"], said, |one| {
            let answers = if one.answers { "yes" } else { "no" };
            vec![one.host.clone(), answers.to_owned(), one.said.clone()]
        })
    })?;
    match said.iter().filter(|one| !one.answers).count() {
        0 => Ok(()),
        silent => Err(format!("{silent} of {} hosts do not answer", said.len()).into()),
    }
}

async fn ask(config: &Config) -> Result<Vec<Said>, Box<dyn Error>> {
    let Some(engine) = work::engine(config)? else {
        return Ok(Vec::new());
    };
    let (engine, pools) = (&engine, BTreeSet::new());
    let pools = &pools;
    let asked = config.hosts.keys().map(async |name| {
        let host = HostName(name.clone());
        let capacity = engine.capacity(&host, Look::Now(pools));
        let said = match tokio::time::timeout(ANSWERS_WITHIN, capacity).await {
            Ok(Ok(found)) => Ok(format!(
                "{} machines, {} of them labyard's; {} of {} MiB and {} of {} processors taken",
                found.machines.all,
                found.machines.owned,
                found.taken.memory.0,
                found.limit.memory.0,
                found.taken.cpus,
                found.limit.cpus
            )),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("nothing within {} s", ANSWERS_WITHIN.as_secs())),
        };
        Said {
            host: name.clone(),
            answers: said.is_ok(),
            said: said.unwrap_or_else(|why| why),
        }
    });
    Ok(futures::future::join_all(asked).await)
}
