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
    let current = entry.item.schema().version;
    let upgraded = match version.cmp(&current) {
        // The text itself is read: on the way through a tree of JSON, large numbers would lose digits.
        Ordering::Equal => raw.json,
        Ordering::Less => upgraded_text(entry, version, &raw.json)?.into(),
        Ordering::Greater => {
            return Err(fault(
                "The stored state is of a newer provider",
                format!(
                    "It has version {version}; this release of the provider knows {current}. Use the newer one."
                ),
            ));
        }
    };
    json::decode_stored(&upgraded, &entry.ty).map_err(|error| unreadable(&error))
}

fn upgraded_text(entry: &Entry<dyn Resource>, version: i64, text: &[u8]) -> Result<Vec<u8>, Diagnostics> {
    let stored = serde_json::from_slice(text).map_err(|error| unreadable(&error))?;
    let upgraded = entry.item.upgrade(version, stored).map_err(|why| {
        let current = entry.item.schema().version;
        fault(
            "The stored state cannot be upgraded",
            format!("From version {version} to {current}: {why}"),
        )
    })?;
    serde_json::to_vec(&upgraded).map_err(|error| unreadable(&error))
}

fn unreadable(why: &dyn std::error::Error) -> Diagnostics {
    fault("The stored state cannot be read", format!("{why}."))
}
