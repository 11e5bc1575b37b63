//! `labyard_host`.

use std::sync::Arc;

use async_trait::async_trait;
use labyard_driver::ids::{Bytes, PoolName};
use labyard_driver::observed::{Activity, Offers, PoolFacts, PoolKind};
use labyard_driver::spec::{Accelerator, Firmware};
use labyard_reconciler::EngineError;
use labyard_reconciler::capacity::HostCapacity;
use labyard_reconciler::engine::Look;
use labyard_reconciler::host::Cordon;
use labyard_schema::data::{HostData, PoolData};
use tfplugin::schema::Schema;
use tfplugin::value::{Path, Value};
use tfplugin::{Context, DataSource, Diagnostics};

use crate::provider::Shared;
use crate::{errors, shape, values};

pub(super) struct HostSource {
    schema: Schema,
    shared: Arc<Shared>,
}

impl HostSource {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            schema: shape::schema::<HostData>(0),
            shared,
        }
    }
}

#[async_trait]
impl DataSource for HostSource {
    fn type_name(&self) -> &str {
        "labyard_host"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        shape::check::<HostData>(config, diags);
    }

    async fn read(&self, _ctx: &Context, config: Value, diags: &mut Diagnostics) -> Option<Value> {
        let context = self.shared.context(diags)?;
        let asked: HostData = values::known(&config, diags)?;
        let hosts = super::hosts(&context, asked.name.as_deref(), "name", diags);
        let host = match hosts.as_slice() {
            [host] => host,
            [] => return None,
            several => {
                let names: Vec<_> = several.iter().map(ToString::to_string).collect();
                let detail = format!(
                    "The provider knows several hosts: say which one, of {}.",
                    names.join(", ")
                );
                diags.error(Some(Path::attribute("name")), "Missing host", detail);
                return None;
            }
        };
        let pools = match context.engine.facts(host).await {
            Ok(facts) => facts.pools.into_iter().map(|pool| pool.name).collect(),
            Err(error) => {
                errors::report(&error, "Host not readable", diags);
                return None;
            }
        };
        let read = async {
            let capacity = context.engine.capacity(host, Look::Now(&pools)).await?;
            Ok::<_, EngineError>((capacity, context.engine.offers(host).await?))
        };
        match read.await {
            Ok((capacity, offers)) => {
                values::whole(&shown(host.as_str(), &capacity, &offers), &self.schema, diags)
            }
            Err(error) => {
                errors::report(&error, "Host not readable", diags);
                None
            }
        }
    }
}

fn shown(name: &str, capacity: &HostCapacity, offers: &Offers) -> HostData {
    let facts = &capacity.facts;
    let accelerators = facts.accelerators.iter().map(|accelerator| match accelerator {
        Accelerator::Kvm => "kvm".to_owned(),
        Accelerator::Qemu => "qemu".to_owned(),
    });
    let firmwares = offers.firmwares.iter().map(|firmware| match firmware {
        Firmware::Bios => "bios".to_owned(),
        Firmware::Uefi => "uefi".to_owned(),
    });
    let (limit, taken) = (capacity.limit, capacity.taken);
    let pools = facts.pools.iter().map(|pool| {
        (
            pool.name.to_string(),
            pool_data(pool, capacity.promised.get(&pool.name)),
        )
    });
    HostData {
        name: Some(name.to_owned()),
        id: Some(facts.uuid.to_string()),
        hypervisor: Some(offers.hypervisor.clone()).filter(|text| !text.is_empty()),
        accelerators: Some(accelerators.collect()),
        firmwares: Some(firmwares.collect()),
        cpus: Some(facts.cpus),
        memory_mib: Some(facts.memory.0),
        cpus_taken: Some(taken.cpus),
        memory_taken_mib: Some(taken.memory.0),
        cpus_free: Some(limit.cpus.saturating_sub(taken.cpus)),
        memory_free_mib: Some(limit.memory.0.saturating_sub(taken.memory.0)),
        cordoned: Some(capacity.cordon == Cordon::Closed),
        storage_pool: facts.pool.as_ref().map(PoolName::to_string),
        storage_pools: Some(pools.collect()),
        machines: Some(capacity.machines.all),
        machines_running: Some(capacity.machines.running),
        machines_owned: Some(capacity.machines.owned),
    }
}

fn pool_data(pool: &PoolFacts, promised: Option<&Bytes>) -> PoolData {
    let kind = match &pool.kind {
        PoolKind::Directory => "directory",
        PoolKind::Logical => "logical",
        PoolKind::Other(kind) => kind,
    };
    PoolData {
        r#type: Some(kind.to_owned()),
        active: Some(pool.active == Activity::Active),
        capacity_mib: pool.room.map(|room| room.capacity.0 >> 20),
        available_mib: pool.room.map(|room| room.available.0 >> 20),
        promised_mib: Some(promised.map_or(0, |bytes| bytes.0 >> 20)),
    }
}
