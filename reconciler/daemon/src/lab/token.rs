//! `labyard token`: who may ask the daemon for what. The first one is made on the store.

use super::{
    Output, Table, Where,
    output::{at, or_dash},
    run,
};
use labyard_api::token::{MadeToken, NewToken, Role, Token};
use labyard_schema::text::parse_duration;
use std::{error::Error, time::Duration};

/// Tokens.
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
    /// Make a token. Its text is printed once, and kept nowhere.
    Create {
        /// Its name: who did something, in the log.
        name: String,
        /// What it may do: redeem codes and nothing else, view, hand out and take back (operator), or all (admin).
        #[arg(long, value_parser = str::parse::<Role>)]
        role: Role,
        /// In which namespace; may be given several times; left out: in all.
        #[arg(long = "namespace", value_name = "NAMESPACE")]
        namespaces: Vec<String>,
        /// For how long it is valid, like 720h; left out: until it is revoked.
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        valid: Option<Duration>,
    },
    /// List tokens, without their texts.
    List,
    /// Revoke a token, at once.
    Revoke {
        /// The token.
        name: String,
    },
}

/// Runs the verb.
pub(crate) fn execute(options: &Options) -> Result<(), Box<dyn Error>> {
    let output = options.output;
    run(&options.place, async |client| {
        match &options.verb {
            Verb::Create {
                name,
                role,
                namespaces,
                valid,
            } => {
                let asked = NewToken {
                    name: name.clone(),
                    role: *role,
                    namespaces: (!namespaces.is_empty()).then(|| namespaces.clone()),
                    valid_s: valid.map(|valid| valid.as_secs()),
                };
                let made = client.make_token(&asked).await?;
                output.print(&made, made_one)?;
            }
            Verb::List => {
                let tokens = client.tokens().await?;
                output.print(&tokens, |tokens| listed(&tokens.items))?;
            }
            Verb::Revoke { name } => {
                let token = client.revoke_token(name).await?;
                output.print(&token, |token| listed(std::slice::from_ref(token)))?;
            }
        }
        Ok(())
    })
}

fn made_one(made: &MadeToken) -> Table {
    let mut table = Table::new(&["NAME", "TOKEN"]);
    table.row(vec![made.token.name.clone(), made.text.clone()]);
    table
}

fn listed(tokens: &[Token]) -> Table {
    let heads = ["NAME", "ROLE", "NAMESPACES", "MADE", "VALID UNTIL", "REVOKED"];
    Table::of(&heads, tokens, |token| {
        vec![
            token.name.clone(),
            token.role.to_string(),
            token
                .namespaces
                .as_ref()
                .map_or_else(|| "all".to_owned(), |names| names.join(",")),
            at(token.created_at),
            or_dash(token.expires_at.map(at)),
            or_dash(token.revoked_at.map(at)),
        ]
    })
}
