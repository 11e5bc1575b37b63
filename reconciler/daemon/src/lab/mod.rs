//! The command line of labs: a file a noun. Each verb is a call of the API, made to a daemon, or to a store directly
//! ([`reach`]): what it means is the same.

mod asked;
pub(crate) mod claim;
pub(crate) mod code;
mod console;
pub(crate) mod events;
pub(crate) mod host;
pub(crate) mod image;
pub(crate) mod login;
pub(crate) mod network;
pub(crate) mod operation;
mod output;
pub(crate) mod pool;
pub(crate) mod quota;
mod reach;
pub(crate) mod store;
mod terminal;
pub(crate) mod token;
pub(crate) mod vm;

use labyard_api::client::Client;
use std::{error::Error, future::Future, path::Path};

pub(crate) use output::{Output, Table};
pub(crate) use reach::Where;

/// Runs a verb on a server.
fn run<F: Future<Output = Result<(), Box<dyn Error>>>>(
    place: &Where,
    verb: impl FnOnce(Client) -> F,
) -> Result<(), Box<dyn Error>> {
    doing(place.client(None), verb)
}

/// The same where there are hosts: those of the daemon, or of a configuration.
fn run_on<F: Future<Output = Result<(), Box<dyn Error>>>>(
    place: &Where,
    config: Option<&Path>,
    verb: impl FnOnce(Client) -> F,
) -> Result<(), Box<dyn Error>> {
    doing(place.client_on_hosts(config), verb)
}

fn doing<F: Future<Output = Result<(), Box<dyn Error>>>>(
    client: impl Future<Output = Result<Client, Box<dyn Error>>>,
    verb: impl FnOnce(Client) -> F,
) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(async { verb(client.await?).await });
    runtime.shutdown_background();
    done
}
