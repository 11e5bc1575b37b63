//! What a plan says of images that lie on the hypervisor: whether they are there.

use std::collections::BTreeMap;

use labyard_driver::DriverError;
use labyard_driver::ids::HostName;
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
            if let Some(path) = source.as_str().and_then(|text| text.strip_prefix("host:")) {
                // As the engine reads it: host:///path is host:/path.
                let path = if path.starts_with("///") { &path[2..] } else { path };
                files
                    .entry(path.to_owned())
                    .or_insert(at.then_attribute("source"));
            }
        }
    }
    files
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
