//! `labyard_vm_pool` as a data source: its machines, who waits, how it fares.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use labyard_labs::Refusal;
use labyard_labs::ids::PoolName;
use labyard_labs::member::State;
use labyard_labs::plan::ATTEMPTS;
use labyard_labs::pool::Strategy;
use labyard_schema::data::{PoolMachineData, VmPoolData};
use tfplugin::schema::Schema;
use tfplugin::value::{Path, Value};
use tfplugin::{Context, DataSource, Diagnostics};

use crate::lab::{LabError, Looked, Machine, PoolView, say};
use crate::provider::Shared;
use crate::{shape, values};

const SETTLED: &str = "settled";

pub(super) struct VmPoolSource {
    schema: Schema,
    shared: Arc<Shared>,
}

impl VmPoolSource {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            schema: shape::schema::<VmPoolData>(0),
            shared,
        }
    }
}

#[async_trait]
impl DataSource for VmPoolSource {
    fn type_name(&self) -> &str {
        "labyard_vm_pool"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        shape::check::<VmPoolData>(config, diags);
    }

    async fn read(&self, _ctx: &Context, config: Value, diags: &mut Diagnostics) -> Option<Value> {
        let context = self.shared.context(diags)?;
        let asked: VmPoolData = values::known(&config, diags)?;
        let name = PoolName(asked.name.clone());
        let found = match context.labs.to_look("A pool", &[], diags).await? {
            Looked::NotMade => Err(Refusal::NoPool { pool: name }.into()),
            Looked::There(met) => met.lab.pool_view(&name).await,
        };
        match found {
            Ok(seen) => values::whole(&shown(asked.name, &seen), &self.schema, diags),
            Err(LabError::Refused(Refusal::NoPool { pool })) => {
                let detail = format!("There is no pool {pool} in namespace {}.", context.namespace);
                diags.error(Some(Path::attribute("name")), "Not found", detail);
                None
            }
            Err(error) => {
                say(&error, "Pool not readable", diags);
                None
            }
        }
    }
}

fn shown(name: String, seen: &PoolView) -> VmPoolData {
    let whole = |number: i64| u64::try_from(number).unwrap_or_default();
    let counts: BTreeMap<String, u64> = State::ALL
        .into_iter()
        .map(|state| {
            let count = seen.counts.get(&state).copied().unwrap_or_default();
            (state.word().to_owned(), count)
        })
        .collect();
    let machines = seen.machines.iter().map(|machine| {
        let shown = PoolMachineData {
            host: machine.host.clone(),
            state: Some(machine.state.word().to_owned()),
            generation: Some(whole(machine.generation)),
        };
        (machine.name.clone(), shown)
    });
    VmPoolData {
        name,
        id: Some(seen.found.pool.id.clone()),
        condition: Some(condition(seen).to_owned()),
        cause: seen.found.pool.cause.clone(),
        generation: Some(whole(seen.found.pool.generation)),
        counts: Some(counts),
        waiting: Some(seen.waiting),
        machines: Some(machines.collect()),
    }
}

/// Whether a pool is all that it is asked to be.
pub(crate) fn is_settled(seen: &PoolView) -> bool {
    condition(seen) == SETTLED
}

fn condition(seen: &PoolView) -> &'static str {
    let pool = &seen.found.pool;
    let count = |state: State| seen.counts.get(&state).copied().unwrap_or_default();
    let old = |machine: &&Machine| machine.state == State::Free && machine.generation != pool.generation;
    let kept = match pool.spec.strategy {
        Strategy::Warm => u64::from(pool.spec.ready),
        Strategy::OnDemand => 0,
    };
    let reachable = u64::from(pool.spec.max).saturating_sub(count(State::Claimed));
    let missing = count(State::Free) < kept.min(reachable);
    if pool.draining {
        "draining"
    } else if pool.failures >= ATTEMPTS {
        "given_up"
    } else if pool.failures > 0 {
        "failing"
    } else if seen.machines.iter().any(|machine| old(&machine)) {
        "rolling"
    } else if missing || seen.waiting > 0 || count(State::Building) + count(State::Recycling) > 0 {
        "filling"
    } else {
        SETTLED
    }
}
