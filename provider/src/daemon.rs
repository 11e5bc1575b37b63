//! The daemon that a provider block names, in place of hosts and store of its own.

use labyard_remote::{Daemon, NotOpened, Reach};
use labyard_schema::provider::{ENDPOINT_VARIABLE, ProviderConfig, TOKEN_VARIABLE};
use tfplugin::Diagnostics;
use tfplugin::value::Path;

use crate::errors::{capitalised, chain};
use crate::shape;

/// How the daemon is reached that the provider block or the environment names; `None` where neither does. What cannot
/// stand beside one is an error.
pub fn named(config: &ProviderConfig, diags: &mut Diagnostics) -> Option<Reach> {
    let environment = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let from_environment = environment(ENDPOINT_VARIABLE).filter(|_| config.endpoint.is_none());
    if from_environment.is_some() {
        shape::report(config.misplaced(ENDPOINT_VARIABLE, true), diags);
    }
    let endpoint = config.endpoint.clone().or(from_environment)?;
    let written = config.token.as_ref().map(|token| token.reveal().to_owned());
    Some(Reach {
        endpoint,
        token: written.or_else(|| environment(TOKEN_VARIABLE)),
        authorities: config.ca_file.as_deref().and_then(|file| read(file, diags)),
    })
}

fn read(file: &str, diags: &mut Diagnostics) -> Option<Vec<u8>> {
    match std::fs::read(file) {
        Ok(pem) => Some(pem),
        Err(error) => {
            let detail = format!("{file}: {error}.");
            diags.error(
                Some(Path::attribute("ca_file")),
                "Authorities not readable",
                detail,
            );
            None
        }
    }
}

/// The daemon, with which an API was agreed.
pub async fn open(reach: &Reach, diags: &mut Diagnostics) -> Option<Daemon> {
    match Daemon::open(reach).await {
        Ok(daemon) => Some(daemon),
        Err(error) => {
            let mut detail = capitalised(chain(&error));
            if !detail.ends_with('.') {
                detail.push('.');
            }
            if reach.token.is_none() {
                detail += &format!(" No token was given: set token, or {TOKEN_VARIABLE}.");
            }
            let at = match error {
                NotOpened::Authorities(_) => "ca_file",
                NotOpened::Client(_) | NotOpened::Apart { .. } => "endpoint",
            };
            diags.error(Some(Path::attribute(at)), "Daemon not usable", detail);
            None
        }
    }
}
