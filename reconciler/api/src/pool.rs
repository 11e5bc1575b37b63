//! Pools and their machines. What a pool is asked to be is `labyard_vm_pool` of the schema ([`asked`]).

use crate::attributes;
use jiff::Timestamp;
use labyard_schema::{
    Described as _,
    vm_pool::{LEFT_OUT, VmPool},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A pool as it is sent: what is left out is not in it, nor what is as it is by default, nor what the server decides; its
/// secrets are.
#[must_use]
pub fn asked(pool: &VmPool) -> Value {
    let mut asked = shown(pool);
    for (path, secret) in pool.template.secrets() {
        let mut place = &mut asked["template"];
        for name in path.split('.') {
            place = &mut place[name];
        }
        *place = secret.into();
    }
    attributes::spared(asked, &VmPool::attributes())
}

/// A pool as it is shown: as it was written, without its secrets.
#[must_use]
pub fn shown(pool: &VmPool) -> Value {
    let mut shown = serde_json::to_value(pool).unwrap_or_default();
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("id");
    }
    if let Some(template) = shown["template"].as_object_mut() {
        template.retain(|name, _| !LEFT_OUT.contains(&name.as_str()));
    }
    without_nulls(shown)
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        other => other,
    }
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pool {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its identity.
    pub id: String,
    /// Which template it has, from 1.
    pub generation: u64,
    /// Free machines that are kept.
    pub ready: u32,
    /// All machines, at most.
    pub max: u32,
    /// Machines being built or brought back, at most.
    pub max_in_flight: u32,
    /// Its machines.
    pub counts: Counts,
    /// How many claims wait for machines of it.
    pub waiting: u64,
    /// How many claims have machines of it or wait for them; not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<u64>,
    /// How it does.
    pub condition: Condition,
    /// Who makes it, until who asked for it has written it down; not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maker: Option<String>,
    /// What it is asked to be, as it was written down, without secrets; not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::attributes::pool_shown")]
    pub asked: Option<Value>,
}

/// How many machines are what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Being made.
    pub building: u64,
    /// Waiting for a claim.
    pub free: u64,
    /// A claim's.
    pub claimed: u64,
    /// Being brought back to what they were.
    pub recycling: u64,
    /// Being taken away.
    pub retiring: u64,
    /// Could not be made, or not be brought back.
    pub failed: u64,
}

/// How a pool does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Condition {
    /// It has what it is asked to have.
    Ready,
    /// Machines are on their way.
    Filling,
    /// Its machines cannot be made; it is tried again.
    Failing {
        /// How often in a row.
        failures: u32,
        /// Why, the last time.
        cause: Option<String>,
        /// When it is tried again.
        retry_at: Option<Timestamp>,
    },
    /// Its machines cannot be made, and that is not tried again before somebody asks for the pool again: with another
    /// template, or by a `PUT` of it as it is.
    GivenUp {
        /// How often in a row.
        failures: u32,
        /// Why, the last time.
        cause: Option<String>,
    },
    /// It is being emptied.
    Draining,
}

impl Condition {
    /// Its word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Filling => "filling",
            Self::Failing { .. } => "failing",
            Self::GivenUp { .. } => "given_up",
            Self::Draining => "draining",
        }
    }
}

/// A machine of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// Its identity.
    pub id: String,
    /// Its name on its host.
    pub name: String,
    /// Its number in the pool.
    pub number: u64,
    /// Its host, once it has one.
    pub host: Option<String>,
    /// What it is.
    pub state: MemberState,
    /// Which template it was made of.
    pub generation: u64,
    /// The claim that has it.
    pub claim: Option<String>,
    /// Since when it is what it is.
    pub since: Timestamp,
    /// What keeps it from its next state, or why it failed.
    pub trouble: Option<String>,
}

/// What a machine of a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It is being made.
    Building,
    /// It waits for a claim.
    Free,
    /// A claim has it.
    Claimed,
    /// It is brought back to what it was.
    Recycling,
    /// It is being taken away.
    Retiring,
    /// It could not be made, or not be brought back.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_sent_with_its_secrets_and_read_as_it_was() {
        let text = r#"{"name": "k8s", "ready": 1, "max": 2, "template": {"memory_mib": 64,
            "cloud_init": {"user_data_wo": "hush", "user_data_wo_version": 1},
            "nics": {"lan": {"network": "lab"}}}}"#;
        let read = |value| attributes::read(value, &VmPool::attributes()).unwrap();
        let pool: VmPool = serde_json::from_value(read(serde_json::from_str(text).unwrap())).unwrap();
        let sent: VmPool = serde_json::from_value(read(asked(&pool))).unwrap();
        assert_eq!(sent, pool);
        assert!(!shown(&pool).to_string().contains("hush"));
    }
}
