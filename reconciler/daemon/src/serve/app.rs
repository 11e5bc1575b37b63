//! What every request has at hand.

use super::{
    limit::{Allowance, Limiter},
    metrics::Metrics,
    runs::Runs,
    sources::Sources,
};
use crate::{
    config::{Config, Limits, Uploads},
    sign_in::SignIn,
};
use ipnet::IpNet;
use labyard_foreman::meter::Meter;
use labyard_reconciler::engine::Embedded;
use labyard_schema::provider::Host;
use labyard_store::{SealingKey, Store, event::Moment};
use std::{collections::BTreeMap, sync::Arc};
use tokio_util::sync::CancellationToken;

/// What every request has at hand.
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) key: SealingKey,
    pub(crate) limits: Limits,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) hosts: BTreeMap<String, Host>,
    /// The moments of machines that have a hook.
    pub(crate) hooks: Vec<String>,
    /// How people sign in, where they do.
    pub(crate) sign_in: Option<SignIn>,
    /// What is taken of images that callers send.
    pub(crate) uploads: Option<Uploads>,
    /// What users may name.
    pub(crate) sources: Sources,
    /// The work on machines and networks.
    pub(crate) runs: Runs,
    pub(crate) limiter: Limiter,
    pub(crate) metrics: Metrics,
    /// What the foreman of this process counts.
    pub(crate) meter: Arc<Meter>,
    /// The server ends: streams do, too.
    pub(crate) ending: CancellationToken,
}

impl App {
    /// With what drives its hosts, where it has some.
    pub(crate) fn new(store: Store, key: SealingKey, config: &Config, engine: Option<Arc<Embedded>>) -> Self {
        let allowance = |burst| Allowance {
            burst,
            refill: config.limits.failure_refill,
        };
        Self {
            store,
            key,
            limits: config.limits,
            trusted_proxies: config.trusted_proxies.clone(),
            hosts: config.hosts.clone(),
            hooks: config.hooks.keys().cloned().collect(),
            sign_in: config.oidc.as_ref().map(SignIn::new),
            uploads: config.uploads.clone(),
            sources: Sources::of(config),
            runs: Runs::new(engine),
            limiter: Limiter::new(
                allowance(config.limits.failures_per_source),
                allowance(config.limits.failures_per_code),
            ),
            metrics: Metrics::default(),
            meter: Arc::default(),
            ending: CancellationToken::new(),
        }
    }

    /// Now.
    pub(crate) fn now(&self) -> Moment {
        crate::open::now()
    }
}
