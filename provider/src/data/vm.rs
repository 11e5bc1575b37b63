//! `labyard_vm` as a data source.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use labyard_driver::observed::Power;
use labyard_reconciler::view::{MachineView, Owner, presentable};
use labyard_schema::data::{DiskData, NicData, VmData};
use tfplugin::schema::Schema;
use tfplugin::value::Value;
use tfplugin::{Context, DataSource, Diagnostics};

use crate::provider::Shared;
use crate::vm::power_text;
use crate::{shape, values};

pub(super) struct VmSource {
    schema: Schema,
    shared: Arc<Shared>,
}

impl VmSource {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            schema: shape::schema::<VmData>(0),
            shared,
        }
    }
}

#[async_trait]
impl DataSource for VmSource {
    fn type_name(&self) -> &str {
        "labyard_vm"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        shape::check::<VmData>(config, diags);
    }

    async fn read(&self, _ctx: &Context, config: Value, diags: &mut Diagnostics) -> Option<Value> {
        let context = self.shared.context(diags)?;
        let asked: VmData = values::known(&config, diags)?;
        let mut found = Vec::new();
        for host in super::hosts(&context, asked.host.as_deref(), "host", diags) {
            let result = context
                .engine
                .find_machine(&host, &context.namespace, &asked.name)
                .await;
            found.push((host, result));
        }
        if diags.has_errors() {
            return None;
        }
        let (host, (view, mark)) = super::only(found, diags)?;
        let mut addresses: Vec<IpAddr> = view.nics.values().flat_map(|nic| nic.addresses.clone()).collect();
        if view.power == Power::Running {
            match context.engine.addresses(&host, &view.id).await {
                Ok(more) => addresses.extend(more.into_iter().map(|(_, address)| address)),
                // Who may only read is told leases alone.
                Err(error) => tracing::debug!(%error, "addresses beside leases"),
            }
        }
        let shown = VmData {
            namespace: mark.map(|mark| mark.namespace.to_string()),
            addresses: Some(texts(&presentable(&addresses))),
            host: Some(host.to_string()),
            name: asked.name,
            ..shown(&view)
        };
        values::whole(&shown, &self.schema, diags)
    }
}

fn texts(addresses: &[IpAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

fn shown(view: &MachineView) -> VmData {
    let nics = view.nics.iter().map(|(key, nic)| {
        let shown = NicData {
            network: Some(nic.network.clone()),
            mac: Some(nic.mac.to_string()),
            reserved: nic.reserved.map(|address| address.to_string()),
            addresses: Some(texts(&presentable(&nic.addresses))),
        };
        (key.to_string(), shown)
    });
    let disks = view.disks.iter().map(|(key, disk)| {
        let shown = DiskData {
            size_gib: disk.size.map(|size| size.0.div_ceil(1 << 30)),
            storage_pool: disk.pool.as_ref().map(ToString::to_string),
        };
        (key.to_string(), shown)
    });
    let stage = match &view.owner {
        Owner::Ours { stage, .. } => Some(stage.word().to_owned()),
        Owner::Foreign => None,
    };
    VmData {
        id: Some(view.id.to_string()),
        owned: Some(stage.is_some()),
        stage,
        labels: view.wishes.labels.clone(),
        vnc_port: view.vnc_port.map(u32::from),
        power: Some(power_text(view.power).to_owned()),
        cpus: Some(view.cpus),
        memory_mib: Some(view.memory.0),
        nics: Some(nics.collect()),
        disks: Some(disks.collect()),
        ..VmData::default()
    }
}
