//! `labyard_network` as a data source.

use std::sync::Arc;

use async_trait::async_trait;
use labyard_driver::ids::HostName;
use labyard_driver::observed::{Activity, Autostart, ObservedNetwork, Snapshot};
use labyard_driver::spec::NetworkMode;
use labyard_reconciler::EngineError;
use labyard_reconciler::view::{Networks, attached};
use labyard_schema::data::{LeaseData, NetworkData};
use tfplugin::schema::Schema;
use tfplugin::value::Value;
use tfplugin::{Context, DataSource, Diagnostics};

use crate::provider::{self, Shared};
use crate::{shape, values};

pub(super) struct NetworkSource {
    schema: Schema,
    shared: Arc<Shared>,
}

impl NetworkSource {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            schema: shape::schema::<NetworkData>(0),
            shared,
        }
    }
}

#[async_trait]
impl DataSource for NetworkSource {
    fn type_name(&self) -> &str {
        "labyard_network"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        shape::check::<NetworkData>(config, diags);
    }

    async fn read(&self, _ctx: &Context, config: Value, diags: &mut Diagnostics) -> Option<Value> {
        let context = self.shared.context(diags)?;
        let asked: NetworkData = values::known(&config, diags)?;
        let mut found = Vec::new();
        for host in super::hosts(&context, asked.host.as_deref(), "host", diags) {
            let result = find(&context, &host, &asked.name).await;
            found.push((host, result));
        }
        if diags.has_errors() {
            return None;
        }
        let (host, (network, machines)) = super::only(found, diags)?;
        let network = match network.active {
            Activity::Inactive => network,
            Activity::Active => match context.engine.leases(&host, &network.id).await {
                Ok(leases) => ObservedNetwork { leases, ..network },
                Err(error) => {
                    crate::errors::report(&error, "Network not readable", diags);
                    return None;
                }
            },
        };
        let shown = NetworkData {
            name: asked.name,
            host: Some(host.to_string()),
            machines: Some(machines),
            ..shown(&network)
        };
        values::whole(&shown, &self.schema, diags)
    }
}

/// The network with the machines that are attached to it.
async fn find(
    context: &provider::Context,
    host: &HostName,
    name: &str,
) -> Result<(ObservedNetwork, Vec<String>), EngineError> {
    let snapshot = context.engine.snapshot(host).await?;
    let networks = Networks {
        snapshot: &snapshot,
        namespace: Some(&context.namespace),
    };
    let by_id = || {
        snapshot
            .networks
            .iter()
            .find(|network| network.id.as_str() == name)
    };
    match networks.resolve(name).or_else(by_id) {
        Some(network) => Ok((network.clone(), machines(host, &snapshot, network)?)),
        None => {
            let names: Vec<_> = snapshot
                .networks
                .iter()
                .map(|n| n.host_name.as_str())
                .take(20)
                .collect();
            let found = match names.as_slice() {
                [] => "there are none".to_owned(),
                names => format!("there are {}", names.join(", ")),
            };
            Err(EngineError::NotFound {
                host: host.clone(),
                what: format!("labyard_network {name:?}"),
                found,
            })
        }
    }
}

fn machines(
    host: &HostName,
    snapshot: &Snapshot,
    network: &ObservedNetwork,
) -> Result<Vec<String>, EngineError> {
    let attached = attached(host, snapshot, &network.host_name)?;
    let mut names: Vec<_> = attached.iter().map(|machine| machine.host_name.clone()).collect();
    names.sort();
    Ok(names)
}

fn shown(network: &ObservedNetwork) -> NetworkData {
    let leases = network.leases.iter().map(|lease| LeaseData {
        mac: Some(lease.mac.to_string()),
        address: Some(lease.address.to_string()),
        hostname: lease.hostname.clone(),
    });
    let reservations = network
        .reservations
        .iter()
        .map(|kept| (kept.mac.to_string(), kept.address.to_string()));
    let mode = network.mode.map(serde_json::to_value::<NetworkMode>);
    let mode = mode.and_then(|mode| Some(mode.ok()?.as_str()?.to_owned()));
    NetworkData {
        id: Some(network.id.to_string()),
        owned: Some(network.mark.ours().is_some()),
        active: Some(network.active == Activity::Active),
        autostart: Some(network.autostart == Autostart::On),
        mode,
        bridge: network.bridge.clone(),
        address: network.address.map(|address| address.to_string()),
        domain: network.domain.clone(),
        leases: Some(leases.collect()),
        reservations: Some(reservations.collect()),
        ..NetworkData::default()
    }
}
