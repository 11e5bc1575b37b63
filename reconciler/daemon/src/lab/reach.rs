//! Where the labs are: a daemon by its endpoint, or a store. A store is asked by a server in this very process, without
//! a socket, as its owner: whoever can open its secrets may do anything with it.

use crate::{
    config::Config,
    serve::{app::App, router::router, who::Caller, work},
};
use async_trait::async_trait;
use axum::{Router, body::Body};
use http::Request;
use http_body_util::BodyExt as _;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use labyard_api::client::{
    BodyError, Client, ClientError, ENDPOINT_VARIABLE, Got, Sent, TOKEN_VARIABLE, Transport,
    console::{Switched, switched},
};
use labyard_schema::provider::STORE_VARIABLE;
use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
};
use tower_service::Service as _;

/// Where the labs are.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Where {
    /// The daemon, like https://labyard.example:7443; else as LABYARD_ENDPOINT says. What it is shown as Authorization is
    /// LABYARD_TOKEN: a token, or the secret of a claim.
    #[arg(long, value_name = "URL", global = true)]
    endpoint: Option<String>,
    /// The store, where no daemon is asked: an absolute path, or a URL of PostgreSQL. Nothing is done on hosts then
    /// before a daemon runs. Else as LABYARD_STORE says, where there is no LABYARD_ENDPOINT.
    #[arg(long, value_name = "STORE", global = true)]
    store: Option<String>,
    /// The file with the key of the store's secrets; else as LABYARD_STORE_KEY or LABYARD_STORE_KEY_FILE say, or beside
    /// the store.
    #[arg(long, value_name = "FILE", global = true)]
    store_key_file: Option<PathBuf>,
}

/// Why nobody is asked.
#[derive(Debug, thiserror::Error)]
enum Unclear {
    /// Nothing was said of where.
    #[error(
        "where are the labs? Name a daemon (--endpoint, LABYARD_ENDPOINT, with LABYARD_TOKEN), or where none runs its store \
         (--store, LABYARD_STORE)"
    )]
    Nowhere,
    /// Two places were named.
    #[error("a daemon and a store are named: leave out --endpoint or --store")]
    Both,
    /// What is asked for is on hosts.
    #[error(
        "a store alone has no hosts: ask its daemon (--endpoint), or name the daemon's configuration (--config)"
    )]
    NoHosts,
}

/// Who is asked.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Daemon(String),
    Store(String),
}

/// What was named on the command line counts before the environment, and there a daemon before a store.
fn asked(
    endpoint: Option<&str>,
    store: Option<&str>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Asked, Unclear> {
    let said = |name| environment(name).filter(|value| !value.is_empty());
    match (endpoint, store) {
        (Some(_), Some(_)) => Err(Unclear::Both),
        (Some(endpoint), None) => Ok(Asked::Daemon(endpoint.to_owned())),
        (None, Some(store)) => Ok(Asked::Store(store.to_owned())),
        (None, None) => match (said(ENDPOINT_VARIABLE), said(STORE_VARIABLE)) {
            (Some(endpoint), _) => Ok(Asked::Daemon(endpoint)),
            (None, Some(store)) => Ok(Asked::Store(store)),
            (None, None) => Err(Unclear::Nowhere),
        },
    }
}

impl Where {
    /// What asks there; a configuration that is named has the store and the hosts.
    pub(crate) async fn client(&self, config: Option<&Path>) -> Result<Client, Box<dyn Error>> {
        if let Some(config) = config {
            return directly(&Config::read(config)?, None).await;
        }
        match self.asked()? {
            Asked::Daemon(endpoint) => {
                let token = std::env::var(TOKEN_VARIABLE)
                    .ok()
                    .filter(|token| !token.is_empty());
                Ok(Client::http(&endpoint, token)?)
            }
            Asked::Store(store) => directly(&Config::of_store(&store), self.store_key_file.as_deref()).await,
        }
    }

    /// The same, where there are hosts.
    pub(crate) async fn client_on_hosts(&self, config: Option<&Path>) -> Result<Client, Box<dyn Error>> {
        match config {
            None if matches!(self.asked()?, Asked::Store(_)) => Err(Unclear::NoHosts.into()),
            config => self.client(config).await,
        }
    }

    fn asked(&self) -> Result<Asked, Unclear> {
        asked(self.endpoint.as_deref(), self.store.as_deref(), |name| {
            std::env::var(name).ok()
        })
    }
}

/// A server in this process, on a store and, where the configuration has some, hosts.
async fn directly(config: &Config, key_file: Option<&Path>) -> Result<Client, Box<dyn Error>> {
    let key_file = key_file.or(config.store_key_file.as_deref());
    let (opened, key) = crate::open::open(&config.store, key_file).await?;
    let app = Arc::new(App::new(opened, key, config, work::engine(config)?));
    let here = Here { router: router(&app) };
    Ok(Client::over(Arc::new(here), None))
}

/// How much of what is switched over is under way within the process.
const WITHIN: usize = 64 << 10;

/// A server in this process.
struct Here {
    router: Router,
}

#[async_trait]
impl Transport for Here {
    async fn call(&self, request: Request<Sent>) -> Result<Got, ClientError> {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Caller::Owner);
        let mut router = self.router.clone();
        let answer = match router.call(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        Ok(answer.map(|body| body.map_err(|error| Box::new(error) as BodyError).boxed_unsync()))
    }

    /// A connection is switched over, and here there is none: the server gets one that never leaves the process.
    async fn switch(&self, request: Request<Sent>) -> Result<Switched, ClientError> {
        let (ours, theirs) = tokio::io::duplex(WITHIN);
        let router = self.router.clone();
        let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Caller::Owner);
            router.clone().call(request)
        });
        let connection = http1::Builder::new()
            .serve_connection(TokioIo::new(theirs), service)
            .with_upgrades();
        tokio::spawn(async move { drop(connection.await) });
        let answered = switched(ours, request).await;
        answered.map_err(|error| ClientError::Broken {
            endpoint: "in this process".to_owned(),
            why: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_counts_before_the_environment_and_two_places_are_an_error() {
        let daemon = |text: &str| Asked::Daemon(text.to_owned());
        let store = |text: &str| Asked::Store(text.to_owned());
        let both = |name: &str| Some(name.to_owned());
        let none = |_: &str| None;
        let on_store = |name: &str| (name == STORE_VARIABLE).then(|| "/s".to_owned());
        let empty = |name: &str| Some(if name == STORE_VARIABLE { "/s" } else { "" }.to_owned());
        assert_eq!(asked(None, Some("/mine"), both).unwrap(), store("/mine"));
        assert_eq!(asked(Some("http://d"), None, both).unwrap(), daemon("http://d"));
        assert_eq!(asked(None, None, both).unwrap(), daemon(ENDPOINT_VARIABLE));
        assert_eq!(asked(None, None, on_store).unwrap(), store("/s"));
        assert_eq!(asked(None, None, empty).unwrap(), store("/s"));
        assert!(matches!(
            asked(Some("http://d"), Some("/mine"), none),
            Err(Unclear::Both)
        ));
        assert!(matches!(asked(None, None, none), Err(Unclear::Nowhere)));
    }
}
