//! `labyard code`.

use super::{
    Output, Table,
    asked::Asked,
    output::{say, secret_file},
    run,
};
use labyard_api::{
    client::{Client, Rests},
    code::{Code, Values},
};
use labyard_labs::code::{
    CodeText,
    sheet::{Sheet, html},
};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, error::Error, path::PathBuf};

/// Access codes.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    asked: Asked,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List codes, without what is typed to redeem them.
    List,
    /// Make a code, or change the one that is there, and show what is typed to redeem it.
    Create(Create),
    /// Print a page of HTML for paper: each of its values in a box to be cut out, with a QR code. With `-o json` the values
    /// alone.
    Print(Print),
    /// Take none of its values from now on.
    Revoke {
        /// The code.
        name: String,
        /// Claims that have machines end with it.
        #[arg(long)]
        end_claims: bool,
    },
    /// Take a code away.
    Delete {
        /// The code.
        name: String,
    },
}

#[derive(clap::Args)]
struct Create {
    /// Name of the code; it is not what people type.
    name: String,
    /// A pool that it grants machines of, and how many: k8s, or k8s=2. May be given several times.
    #[arg(long = "pool", value_name = "POOL[=COUNT]", required = true, value_parser = granted)]
    pools: Vec<(String, u32)>,
    /// How often it can be used.
    #[arg(long)]
    max_uses: Option<u64>,
    /// How often by one user.
    #[arg(long)]
    max_uses_per_user: Option<u64>,
    /// From when on, like 2026-09-01T08:00:00Z.
    #[arg(long)]
    not_before: Option<String>,
    /// Until when.
    #[arg(long)]
    not_after: Option<String>,
    /// How long claims last, like 2h.
    #[arg(long)]
    lease: Option<String>,
    /// A network from which it can be used. May be given several times.
    #[arg(long = "source-cidr", value_name = "NETWORK")]
    source_cidrs: Vec<String>,
    /// So many one-time codes in place of one.
    #[arg(long, value_name = "COUNT")]
    batch: Option<u32>,
}

#[derive(clap::Args)]
struct Print {
    /// The code.
    name: String,
    /// What stands on each box; left out: the name of the code.
    #[arg(long)]
    title: Option<String>,
    /// A line below it. May be given several times; left out: when it can be used, and for how long.
    #[arg(long = "note", value_name = "LINE")]
    notes: Vec<String>,
    /// The address where people redeem it: the QR code leads there, with the code behind a #. Left out: it is the code
    /// alone.
    #[arg(long, value_name = "URL")]
    redeem_at: Option<String>,
    /// Write it into this new file, readable by you alone; left out: to standard output.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

fn granted(text: &str) -> Result<(String, u32), String> {
    match text.split_once('=') {
        None => Ok((text.to_owned(), 1)),
        Some((pool, count)) => {
            let count = count.parse().map_err(|_| format!("{count:?} is no number"))?;
            Ok((pool.to_owned(), count))
        }
    }
}

/// Runs the verb.
pub(crate) fn execute(options: &Options) -> Result<(), Box<dyn Error>> {
    let (output, namespace) = options.asked.for_whom();
    run(&options.asked.place, async |client| {
        match &options.verb {
            Verb::List => {
                let codes = client.codes(namespace).await?;
                output.print(&codes, |codes| listed(&codes.items))?;
            }
            Verb::Create(create) => made(&client, namespace, create, output).await?,
            Verb::Print(asked) => print(&client, namespace, asked, output).await?,
            Verb::Revoke { name, end_claims } => {
                let running = if *end_claims { "end" } else { "go_on" };
                let code = client.revoke_code(namespace, name, running).await?;
                output.print(&code, |code| listed(std::slice::from_ref(code)))?;
            }
            Verb::Delete { name } => {
                let operation = client.delete_code(namespace, name, &Rests::Nowhere).await?;
                output.print(&operation, super::operation::shown)?;
            }
        }
        Ok(())
    })
}

async fn made(
    client: &Client,
    namespace: Option<&str>,
    create: &Create,
    output: Output,
) -> Result<(), Box<dyn Error>> {
    client
        .put_code(namespace, &create.name, &asked(create), &Rests::Nowhere)
        .await?;
    let values = client.values(namespace, &create.name).await?;
    Ok(output.print(&values, typed)?)
}

async fn print(
    client: &Client,
    namespace: Option<&str>,
    asked: &Print,
    output: Output,
) -> Result<(), Box<dyn Error>> {
    let code = client.code(namespace, &asked.name).await?.value;
    let values = client.values(namespace, &asked.name).await?;
    let text = match output {
        Output::Json => serde_json::to_string_pretty(&values)? + "\n",
        Output::Table => {
            let parsed = |(label, text): (&String, &String)| Ok((label.clone(), CodeText::parse(text)?));
            let codes: Result<BTreeMap<_, _>, String> = values.values.iter().map(parsed).collect();
            let notes = match asked.notes.is_empty() {
                true => noted(&code.asked),
                false => asked.notes.clone(),
            };
            html(&Sheet {
                title: asked.title.as_deref().unwrap_or(&asked.name),
                notes: &notes,
                codes: &codes?,
                redeem_at: asked.redeem_at.as_deref(),
            })?
        }
    };
    match &asked.file {
        Some(path) => {
            secret_file(path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        None => say(&text)?,
    }
    Ok(())
}

/// What somebody who holds a sheet wants to know.
fn noted(asked: &Value) -> Vec<String> {
    let said = |name: &str, before: &str| Some(format!("{before} {}", asked[name].as_str()?));
    [
        said("not_before", "From"),
        said("not_after", "Until"),
        said("lease", "For"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What is asked for, as `labyard_access_code` says it.
fn asked(create: &Create) -> Value {
    let pools: Map<String, Value> = create
        .pools
        .iter()
        .map(|(pool, count)| (pool.clone(), json!({"count": count})))
        .collect();
    let sources = (!create.source_cidrs.is_empty()).then_some(&create.source_cidrs);
    json!({
        "name": create.name, "pools": pools, "max_uses": create.max_uses,
        "max_uses_per_user": create.max_uses_per_user, "not_before": create.not_before,
        "not_after": create.not_after, "lease": create.lease, "source_cidrs": sources, "batch": create.batch,
    })
}

fn typed(values: &Values) -> Table {
    let values: Vec<_> = values.values.iter().collect();
    Table::of(&["KEY", "CODE"], &values, |(key, code)| {
        vec![(*key).clone(), (*code).clone()]
    })
}

fn listed(codes: &[Code]) -> Table {
    let heads = ["NAMESPACE", "NAME", "POOLS", "VALUES", "USES", "RUNNING"];
    Table::of(&heads, codes, |code| {
        let pools = code.asked["pools"].as_object();
        let pools: Vec<String> = pools
            .into_iter()
            .flatten()
            .map(|(pool, asked)| format!("{pool}={}", asked["count"]))
            .collect();
        vec![
            code.namespace.clone(),
            code.name.clone(),
            pools.join(","),
            code.values.to_string(),
            code.uses.to_string(),
            code.running.to_string(),
        ]
    })
}
