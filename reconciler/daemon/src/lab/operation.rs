//! `labyard operation`: what was asked for, how far it is, what became of it.

use super::{
    Output, Table, Where,
    output::{at, or_dash},
    run,
};
use labyard_api::{
    client::Page,
    operation::{Operation, State},
};
use std::error::Error;

/// Operations: what was asked for, how far it is, what became of it.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Where,
    /// For whom it is printed.
    #[arg(short, long, value_enum, default_value_t, global = true)]
    output: Output,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List operations, the newest first.
    List {
        /// Of this namespace alone.
        #[arg(long)]
        namespace: Option<String>,
        /// Those that go on.
        #[arg(long)]
        running: bool,
        /// So many at most.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Show an operation with its log.
    Show {
        /// The operation.
        id: String,
    },
    /// End an operation where it is.
    Cancel {
        /// The operation.
        id: String,
    },
}

/// Runs the verb.
pub(crate) fn execute(options: &Options) -> Result<(), Box<dyn Error>> {
    let output = options.output;
    run(&options.place, async |client| {
        let operation = match &options.verb {
            Verb::List {
                namespace,
                running,
                limit,
            } => {
                let page = Page {
                    namespace: namespace.clone(),
                    limit: Some(*limit),
                    after: None,
                };
                let found = client
                    .operations(&page, running.then_some(State::Running))
                    .await?;
                return Ok(output.print(&found, |found| listed(&found.items))?);
            }
            Verb::Show { id } => client.operation(id).await?,
            Verb::Cancel { id } => client.cancel(id).await?,
        };
        Ok(output.print(&operation, shown)?)
    })
}

fn listed(operations: &[Operation]) -> Table {
    let heads = ["ID", "KIND", "OBJECT", "BY", "STATE", "STAGE", "BEGUN", "ENDED"];
    Table::of(&heads, operations, |operation| {
        vec![
            operation.id.clone(),
            operation.kind.clone(),
            operation.subject.clone(),
            operation.actor.clone(),
            operation.state.word().to_owned(),
            operation.stage.clone(),
            at(operation.created_at),
            or_dash(operation.ended_at.map(at)),
        ]
    })
}

/// An operation with its log.
pub(super) fn shown(operation: &Operation) -> Table {
    let mut table = Table::new(&["OPERATION", operation.id.as_str()]);
    let mut line = |name: String, value: String| table.row(vec![name, value]);
    line(
        "what".to_owned(),
        format!("{} {}", operation.kind, operation.subject),
    );
    line("by".to_owned(), operation.actor.clone());
    line("state".to_owned(), operation.state.word().to_owned());
    if let Some(error) = &operation.error {
        line("error".to_owned(), error.clone());
    }
    for entry in &operation.log {
        line(at(entry.at), entry.text.clone());
    }
    table
}
