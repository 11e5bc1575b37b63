//! `labyard serve`: the daemon.
//!
//! The way of a request: a connection ([`listen`]) → its id, its log line ([`guard::around`]) → its route ([`router`],
//! built of the table in `labyard_api::routes`) → who asks and whether that one may ([`guard::pass`], [`who`]) → what it
//! brings and what is done, in one transaction ([`handlers`]; [`seen`]: how old what it is told of hosts may be) → the answer. [`work`] has a foreman keep pools, [`runs`] does
//! the work of operations on machines and networks, and [`follow`] brings the others to their end. [`sources`] says what
//! users may name.

pub(crate) mod app;
mod certificate;
mod follow;
pub(crate) mod guard;
mod handlers;
mod limit;
mod listen;
mod log;
pub(crate) mod met;
mod metrics;
mod notify;
mod patient;
mod places;
pub(crate) mod router;
mod runs;
mod seen;
mod session;
mod sources;
mod still;
pub(crate) mod who;
pub(crate) mod work;

use crate::config::Config;
use app::App;
use certificate::Certificate;
use labyard_labs::{
    ids::Namespace,
    quota::{self, Quota},
};
use labyard_store::StoreError;
use std::{collections::BTreeMap, error::Error, io::Write as _, path::PathBuf, sync::Arc};
use tokio::signal::unix::{SignalKind, signal};

/// Serves until SIGTERM or Ctrl-C; then takes no more connections, and ends with its last request.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Serves.
pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let config = Config::read(&options.config)?;
    log::begin(config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(config));
    // The store's threads end with the program; a hanging name lookup does not hold it up.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    // Before anybody can know that it is there, so that whoever waits for it can end it.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let hang_up = signal(SignalKind::hangup())?;
    let (store, key) = crate::open::open(&config.store, config.store_key_file.as_deref()).await?;
    let engine = work::engine(&config)?;
    let app = Arc::new(App::new(store, key, &config, engine));
    if let Some(quotas) = config.quotas.clone() {
        set_quotas(&app, quotas).await?;
    }
    let certificate = config.tls.as_ref().map(Certificate::read).transpose()?;
    let tls = certificate.as_ref().map(Certificate::acceptor).transpose()?;
    tokio::spawn(certificate::keep_fresh(certificate, hang_up, app.ending.clone()));
    let socket = listen::socket(config.listen).await?;
    let address = socket.local_addr()?;
    if tls.is_none() {
        listen::plainly(address)?;
    }
    let follower = tokio::spawn(follow::follow(Arc::clone(&app)));
    let work = work::begin(&app, &config.work);
    let ending = app.ending.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("ending: no more connections are taken");
        notify::tell("STOPPING=1");
        ending.cancel();
    });
    let scheme = if tls.is_some() { "https" } else { "http" };
    tracing::info!(%address, store = %app.store.location(), "serving");
    say(&format!("labyard serve: {scheme}://{address}"));
    notify::tell("READY=1");
    listen::serve(&app, socket, tls, router::router(&app)).await;
    follower.await?;
    app.runs.ended(config.limits.shutdown_timeout).await;
    if let Some(work) = work {
        work.await?;
    }
    tracing::info!("ended");
    Ok(())
}

/// The configuration's quotas are the store's: whoever makes machines there is held to them, also without this server.
async fn set_quotas(app: &App, quotas: BTreeMap<String, Quota>) -> Result<(), StoreError> {
    let quotas: BTreeMap<Namespace, Quota> = quotas
        .into_iter()
        .map(|(name, quota)| (Namespace(name), quota))
        .collect();
    let now = app.now();
    app.store
        .write(move |write| quota::set(write, &quotas, now, "labyard"))
        .await
}

/// A line for people and scripts; that nobody reads it is no reason to end.
fn say(line: &str) {
    let mut out = std::io::stdout();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}
