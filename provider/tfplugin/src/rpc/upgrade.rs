//! UpgradeResourceState: a stored state becomes a value of today's schema. Terraform asks even where the version
//! is today's.

use std::cmp::Ordering;

use super::wire::{self, fault};
use super::{Server, catalog::Entry};
use crate::codec::json;
use crate::diag::Diagnostics;
use crate::proto::tfplugin6::{RawState, upgrade_resource_state};
use crate::traits::Resource;
use crate::value::Value;

pub(super) async fn upgrade_resource_state(
    server: &Server,
    request: upgrade_resource_state::Request,
) -> Result<upgrade_resource_state::Response, Diagnostics> {
    let entry = server.catalog().resource(&request.type_name)?;
    let value = upgraded(entry, request.version, request.raw_state)?;
    Ok(upgrade_resource_state::Response {
        upgraded_state: Some(wire::encode(&value, &entry.ty)?),
        diagnostics: Vec::new(),
    })
}

fn upgraded(entry: &Entry<dyn Resource>, version: i64, raw: Option<RawState>) -> Result<Value, Diagnostics> {
    let raw = raw.unwrap_or_default();
    if raw.json.is_empty() {
        return Err(fault(
            "The stored state cannot be read",
            "It is in the form of Terraform before 0.12, which no release of this provider ever wrote.",
        ));
    }
    let unreadable = |why: String| fault("The stored state cannot be read", why);
    let stored: serde_json::Value =
        serde_json::from_slice(&raw.json).map_err(|error| unreadable(format!("It is not JSON: {error}.")))?;
    let current = entry.item.schema().version;
    let stored = match version.cmp(&current) {
        Ordering::Equal => stored,
        Ordering::Less => entry.item.upgrade(version, stored).map_err(|why| {
            fault(
                "The stored state cannot be upgraded",
                format!("From version {version} to {current}: {why}"),
            )
        })?,
        Ordering::Greater => {
            return Err(fault(
                "The stored state is of a newer provider",
                format!(
                    "It has version {version}; this release of the provider knows {current}. Use the newer one."
                ),
            ));
        }
    };
    let fitting = json::drop_unknown_attributes(stored, &entry.ty);
    let text = serde_json::to_vec(&fitting).map_err(|error| unreadable(error.to_string()))?;
    json::decode_stored(&text, &entry.ty).map_err(|error| unreadable(format!("{error}.")))
}
