//! Data sources: a host, a machine, a network, a code, a pool as they are at this moment. Each file reads one.

mod access_code;
mod host;
mod network;
mod vm;
mod vm_pool;

use std::sync::Arc;

use labyard_driver::ids::HostName;
use labyard_reconciler::EngineError;
use tfplugin::value::Path;
use tfplugin::{DataSource, Diagnostics};

pub(crate) use access_code::{Asked, find as find_code};
pub(crate) use vm_pool::is_settled;

use crate::errors;
use crate::provider::{Context, Shared};

/// All of them.
pub fn all(shared: &Arc<Shared>) -> Vec<Arc<dyn DataSource>> {
    vec![
        Arc::new(host::HostSource::new(shared.clone())),
        Arc::new(vm::VmSource::new(shared.clone())),
        Arc::new(network::NetworkSource::new(shared.clone())),
        Arc::new(vm_pool::VmPoolSource::new(shared.clone())),
        Arc::new(access_code::AccessCodeSource::new(shared.clone())),
    ]
}

/// The hosts to look on: the named one, else all.
fn hosts(context: &Context, named: Option<&str>, attribute: &str, diags: &mut Diagnostics) -> Vec<HostName> {
    let all = context.engine.hosts();
    let Some(named) = named else { return all };
    let named = HostName(named.to_owned());
    if all.contains(&named) {
        return vec![named];
    }
    let known: Vec<_> = all.iter().map(ToString::to_string).collect();
    let detail = format!(
        "Host {:?} is not in the provider's hosts, which are {}.",
        named.as_str(),
        known.join(", ")
    );
    diags.error(Some(Path::attribute(attribute)), "Unknown host", detail);
    Vec::new()
}

/// The one host on which the object was found. Where it could be anywhere, a host that cannot be read is an error: the
/// object may be there.
fn only<T>(found: Vec<(HostName, Result<T, EngineError>)>, diags: &mut Diagnostics) -> Option<(HostName, T)> {
    let mut there = Vec::new();
    let mut missing = Vec::new();
    for (host, result) in found {
        match result {
            Ok(object) => there.push((host, object)),
            Err(error @ EngineError::NotFound { .. }) => missing.push(error),
            Err(error) => {
                errors::report(&error, "Host not readable", diags);
                return None;
            }
        }
    }
    if there.len() > 1 {
        let hosts: Vec<_> = there.iter().map(|(host, _)| host.to_string()).collect();
        let detail = format!("There is one on each of {}: say which host.", hosts.join(", "));
        diags.error(Some(Path::attribute("host")), "Several of that name", detail);
        return None;
    }
    if there.is_empty() {
        let said: Vec<_> = missing.iter().map(ToString::to_string).collect();
        diags.error(Some(Path::attribute("name")), "Not found", said.join("\n"));
    }
    there.pop()
}
