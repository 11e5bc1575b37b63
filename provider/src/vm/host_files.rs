//! What a plan says of images that lie on the hypervisor: whether they are there.

use std::collections::BTreeMap;

use labyard_driver::DriverError;
use labyard_driver::ids::HostName;
use labyard_reconciler::host::Cordon;
use labyard_reconciler::want::on_host;
use tfplugin::value::Path;
use tfplugin::{Diagnostics, Plan};

use crate::provider::Context;

/// The files that a plan needs and has not needed before, with the first attribute that names each.
fn wanted(plan: &Plan) -> BTreeMap<String, Path> {
    let mut files = BTreeMap::new();
    for attribute in ["disks", "media"] {
        for (key, device) in plan.planned.field(attribute).entries() {
            let source = device.field("image").field("source");
            let prior = plan.prior.field(attribute).field(key);
            if prior.field("image").field("source") == source {
                continue;
            }
            let at = Path::attribute(attribute).then_key(key).then_attribute("image");
            if let Some(path) = source.as_str().and_then(on_host) {
                files
                    .entry(path.to_owned())
                    .or_insert(at.then_attribute("source"));
            }
        }
    }
    files
}

/// Looks whether any host has them, for a machine that names none. What cannot be asked now is asked when it is placed.
pub async fn check_anywhere(plan: &Plan, context: &Context, diags: &mut Diagnostics) {
    let open = |host: &HostName| context.engine.cordon(host) == Cordon::Open;
    let hosts: Vec<_> = context.engine.hosts().into_iter().filter(open).collect();
    for (path, at) in wanted(plan) {
        let mut lacking = Vec::new();
        for host in &hosts {
            let looked = context.engine.host_file(host, &path).await;
            let Err(error) = looked else { continue };
            match error.driver() {
                Some(DriverError::Missing { .. }) => lacking.push(format!("  - {host}: it has no such file")),
                Some(DriverError::Refused { message, .. }) => lacking.push(format!("  - {host}: {message}")),
                _ => {}
            }
        }
        if !hosts.is_empty() && lacking.len() == hosts.len() {
            let detail = format!(
                "The machine names no host, and none that takes new machines has the file {path:?}:\n{}\nPut it on one \
                 of them, or write file: before the path if it lies on the computer that runs Terraform.",
                lacking.join("\n")
            );
            diags.error(Some(at), "Image on no host", detail);
        }
    }
}

/// Looks whether the host has them. What cannot be asked now is asked when the machine is made.
pub async fn check(host: &HostName, plan: &Plan, context: &Context, diags: &mut Diagnostics) {
    for (path, at) in wanted(plan) {
        let looked = context.engine.host_file(host, &path).await;
        let Err(error) = looked else { continue };
        let detail = match error.driver() {
            Some(DriverError::Missing { .. }) => format!(
                "Host {host} has no file {path:?}. Put it there, or write file: before the path if it lies on the \
                 computer that runs Terraform."
            ),
            Some(DriverError::Refused { message, .. }) => {
                format!("File {path:?} of host {host} cannot be read: {message}.")
            }
            _ => continue,
        };
        diags.error(Some(at), "Image not on the host", detail);
    }
}
