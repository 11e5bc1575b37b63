//! Access codes. What a code is asked to be is `labyard_access_code` of the schema ([`asked`]).

use crate::attributes;
use labyard_schema::{Described as _, access_code::AccessCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A code as it is sent: what is left out is not in it, nor what is as it is by default, nor what the server decides; what is
/// typed to redeem it is, where the user gives it.
#[must_use]
pub fn asked(code: &AccessCode) -> Value {
    let mut asked = serde_json::to_value(code).unwrap_or_default();
    if let Some(secret) = &code.code_wo {
        asked["code_wo"] = secret.reveal().into();
    }
    if let Some(fields) = asked.as_object_mut() {
        fields.retain(|name, value| !value.is_null() && name != "id" && name != "codes");
    }
    attributes::spared(asked, &AccessCode::attributes())
}

/// A code, without its values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Code {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its identity.
    pub id: String,
    /// What it is asked to be, without what is typed to redeem it.
    #[schemars(schema_with = "crate::attributes::code_shown")]
    pub asked: Value,
    /// Where what is typed to redeem it comes from.
    pub origin: Origin,
    /// Its values: how many are taken.
    pub values: u64,
    /// Each of its values by its label, without what is typed.
    pub labels: BTreeMap<String, Label>,
    /// How often they were redeemed, together.
    pub uses: u64,
    /// How many of its claims are not over.
    pub running: u64,
    /// How many of its claims are in which phase.
    pub claims: BTreeMap<String, u64>,
    /// Who makes it, until who asked for it has written it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maker: Option<String>,
}

/// Where what is typed to redeem a code comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It was made up.
    Generated,
    /// It was given: `code`.
    Given,
    /// It was given, and is shown to nobody who manages it: `code_wo`.
    Secret,
    /// So many were made up, each for one use.
    Batch,
}

/// A value of a code, without what is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Label {
    /// How often it was redeemed.
    pub uses: u64,
    /// How often it may be.
    pub max_uses: Option<u64>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// The values of a code, for who may print them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Values {
    /// Each by its label: `main`, or `001` and on.
    pub values: BTreeMap<String, String>,
}
