//! From a pool as it is to the state.

use labyard_foreman::written::{Found, as_config};
use labyard_schema::vm_pool::{LEFT_OUT, VmPool};
use serde_json::Value as Json;
use tfplugin::schema::Schema;
use tfplugin::value::Value;
use tfplugin::{Diagnostics, State};

use crate::private::Private;
use crate::values;

/// The state of a pool as it is; `prior`, where there is one, spells it.
pub fn state(
    found: &Found,
    prior: Option<&VmPool>,
    (schema, private): (&Schema, &Private),
    diags: &mut Diagnostics,
) -> Option<State> {
    let writers: Vec<&VmPool> = prior.into_iter().chain(&found.written).collect();
    Some(State {
        value: whole(&as_config(&found.pool, &writers), schema, diags)?,
        private: private.to_bytes(),
    })
}

/// A pool as a value of the schema: its template is a machine's struct, whose own attributes are none of the template's.
fn whole(pool: &VmPool, schema: &Schema, diags: &mut Diagnostics) -> Option<Value> {
    let mut json = serde_json::to_value(pool).unwrap_or_default();
    if let Some(Json::Object(template)) = json.get_mut("template") {
        template.retain(|name, _| !LEFT_OUT.contains(&name.as_str()));
    }
    values::whole(&json, schema, diags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape;

    #[test]
    fn a_pool_is_a_value_of_its_schema_without_what_is_one_machines_own() {
        let pool: VmPool = serde_json::from_str(
            r#"{"name": "k8s", "ready": 2, "max": 4, "max_in_flight": 2, "strategy": "warm", "recycle": "reset",
                "on_destroy": "refuse", "template": {"memory_mib": 512, "disks": {"root": {"size_gib": 1, "bus": "virtio"}},
                "nics": {"lan": {"network": "lab", "model": "virtio"}}}}"#,
        )
        .unwrap();
        let mut diags = Diagnostics::default();
        let value = whole(&pool, &shape::schema::<VmPool>(0), &mut diags).unwrap();
        assert!(!diags.has_errors(), "{diags:?}");
        let read: VmPool = values::known(&value, &mut diags).unwrap();
        assert_eq!(read, pool);
    }
}
