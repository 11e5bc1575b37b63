//! The provider block: namespace, hosts and store, or a daemon that has them, and the end of a run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use labyard_driver::ids::{HostName, Namespace, ObjectId, ObjectName};
use labyard_reconciler::engine::{Access, Deps, Embedded, Engine, ObjectRef, Run};
use labyard_reconciler::hooks::Hooks;
use labyard_reconciler::host::Host;
use labyard_reconciler::journal::Journal;
use labyard_remote::{Daemon, RemoteEngine};
use labyard_schema::hooks as config_hooks;
use labyard_schema::provider::{
    self as config, DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_URI, LibvirtHost, NAMESPACE_VARIABLE,
    ProviderConfig, READ_ONLY_VARIABLE,
};
use tfplugin::schema::Schema;
use tfplugin::value::{Path, Value};
use tfplugin::{ConfigureRequest, DataSource, Diagnostics, EphemeralResource, Provider, Resource};

use crate::lab::{self, LabPlace};
use crate::planned::Planned;
use crate::private::Private;
use crate::{code, daemon, data, ephemeral, network, pool, shape, values, vm};

/// The provider.
pub struct Labyard {
    schema: Schema,
    shared: Arc<Shared>,
}

/// What the resources share with the provider block.
#[derive(Default)]
pub struct Shared {
    configured: Mutex<Configured>,
    stopped: AtomicBool,
}

/// How far the provider block is known.
#[derive(Clone, Default)]
pub enum Configured {
    /// Not configured: Terraform only validates.
    #[default]
    Not,
    /// Parts of it are known only after an apply: plans contact nobody, reads return what they had.
    Later,
    /// All of it is known.
    Now(Arc<Context>),
}

/// A configured provider.
pub struct Context {
    /// The namespace of this state.
    pub namespace: Namespace,
    /// Drives the hosts.
    pub engine: Arc<dyn Engine>,
    /// Pools and codes.
    pub labs: LabPlace,
    /// What this run has planned so far.
    pub planned: Planned,
    /// The moments of machines that have a hook: what these may supply a plan leaves open.
    pub hooks: Vec<String>,
}

impl Context {
    /// The reference of an object in a state.
    pub fn reference(&self, host: Option<&str>, name: &str, id: Option<&str>, private: &[u8]) -> ObjectRef {
        ObjectRef {
            host: HostName(host.unwrap_or_default().to_owned()),
            namespace: self.namespace.clone(),
            name: ObjectName(name.to_owned()),
            identity: Private::parse(private).identity,
            id: id.map(|id| ObjectId(id.to_owned())),
            pools: Default::default(),
        }
    }
}

impl Shared {
    /// How far the provider block is known.
    pub fn configured(&self) -> Configured {
        self.configured
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The configured provider, or an error: nothing can be applied without.
    pub fn context(&self, diags: &mut Diagnostics) -> Option<Arc<Context>> {
        match self.configured() {
            Configured::Now(context) => Some(context),
            Configured::Not | Configured::Later => {
                let detail = "The provider's configuration is not known yet, so that its hosts cannot be contacted. \
                              Apply first what it depends on (terraform apply -target=…).";
                diags.error(None, "Provider not configured", detail);
                None
            }
        }
    }
}

impl Labyard {
    /// An unconfigured provider.
    pub fn new() -> Self {
        Self {
            schema: shape::schema::<ProviderConfig>(0),
            shared: Arc::default(),
        }
    }
}

#[async_trait]
impl Provider for Labyard {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        vec![
            Arc::new(vm::Machines::new(self.shared.clone())),
            Arc::new(network::Networks::new(self.shared.clone())),
            Arc::new(pool::Pools::new(self.shared.clone())),
            Arc::new(code::Codes::new(self.shared.clone())),
        ]
    }

    fn data_sources(&self) -> Vec<Arc<dyn DataSource>> {
        data::all(&self.shared)
    }

    fn ephemeral_resources(&self) -> Vec<Arc<dyn EphemeralResource>> {
        ephemeral::all(&self.shared)
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        shape::check::<ProviderConfig>(config, diags);
        if !diags.has_errors()
            && config.is_wholly_known()
            && let Some(known) = values::known::<ProviderConfig>(config, diags)
        {
            shape::report(known.problems(), diags);
        }
    }

    async fn configure(&self, request: ConfigureRequest, diags: &mut Diagnostics) {
        let configured = if request.config.is_wholly_known() {
            configure(&request.config, diags)
                .await
                .map_or(Configured::Not, |context| Configured::Now(Arc::new(context)))
        } else {
            Configured::Later
        };
        *self
            .shared
            .configured
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = configured;
    }

    fn stopped(&self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
    }

    async fn shutdown(&self) {
        let stopped = self.shared.stopped.load(Ordering::SeqCst);
        if let Configured::Now(context) = self.shared.configured() {
            let run = if stopped { Run::Stopped } else { Run::Through };
            let labs = async {
                // A stopped run's state may be lost.
                if run == Run::Through {
                    context.labs.finish().await;
                }
            };
            tokio::join!(context.engine.finish(run), labs);
        }
    }
}

async fn configure(value: &Value, diags: &mut Diagnostics) -> Option<Context> {
    let known: ProviderConfig = values::known(value, diags)?;
    shape::report(known.problems(), diags);
    let namespace = namespace(known.namespace.as_deref(), diags)?;
    let access = access(known.read_only, diags)?;
    match daemon::named(&known, diags) {
        Some(_) if diags.has_errors() => None,
        Some(reach) => {
            let daemon = daemon::open(&reach, diags).await?;
            Some(with_daemon(daemon, namespace, access))
        }
        None => of_its_own(known, namespace, access, diags),
    }
}

/// What a daemon does.
fn with_daemon(daemon: Daemon, namespace: Namespace, access: Access) -> Context {
    let engine = Arc::new(RemoteEngine::new(&daemon, access));
    let (store, hooks) = (daemon.server.store, daemon.server.hooks);
    let lab = lab::remote::Remote::new(daemon.client, daemon.endpoint, store, lab::namespace(&namespace));
    Context {
        namespace,
        engine,
        labs: LabPlace::new(Some(Arc::new(lab)), access),
        planned: Planned::default(),
        hooks,
    }
}

/// What this process does itself.
fn of_its_own(
    known: ProviderConfig,
    namespace: Namespace,
    access: Access,
    diags: &mut Diagnostics,
) -> Option<Context> {
    let store = lab::embedded::named(&known, diags);
    let hosts = known
        .hosts
        .filter(|hosts| !hosts.is_empty())
        .unwrap_or_else(default_hosts);
    let hosts: Vec<_> = hosts
        .iter()
        .filter_map(|(name, host)| make_host(name, host, diags))
        .collect();
    let hooks = hooks(known.hooks.as_ref(), diags);
    let moments = hooks.moments().map(str::to_owned).collect();
    let deps = Deps {
        hooks,
        journal: Journal::chosen(known.journal.as_deref(), |name| std::env::var(name).ok()),
        ..Deps::default()
    };
    if diags.has_errors() {
        return None;
    }
    let engine: Arc<dyn Engine> = Arc::new(Embedded::new(hosts, deps).with_access(access));
    let lab = store.map(|store| {
        let lab = lab::embedded::Embedded::new(store, engine.clone(), lab::namespace(&namespace));
        Arc::new(lab) as Arc<dyn lab::Lab>
    });
    Some(Context {
        namespace,
        engine,
        labs: LabPlace::new(lab, access),
        planned: Planned::default(),
        hooks: moments,
    })
}

fn hooks(config: Option<&BTreeMap<String, config_hooks::Hook>>, diags: &mut Diagnostics) -> Hooks {
    let hooks = config.map_or_else(|| Ok(Hooks::default()), Hooks::from_config);
    hooks.unwrap_or_else(|(moment, detail)| {
        let path = Path::attribute("hooks").then_key(moment).then_attribute("url");
        diags.error(Some(path), "Invalid hook", detail);
        Hooks::default()
    })
}

fn namespace(written: Option<&str>, diags: &mut Diagnostics) -> Option<Namespace> {
    let from_environment = std::env::var(NAMESPACE_VARIABLE)
        .ok()
        .filter(|text| !text.is_empty());
    let text = written
        .map(str::to_owned)
        .or(from_environment)
        .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    match labyard_schema::check::namespace(&text) {
        Ok(()) => Some(Namespace(text)),
        Err(detail) => {
            diags.error(Some(Path::attribute("namespace")), "Invalid namespace", detail);
            None
        }
    }
}

fn access(written: Option<bool>, diags: &mut Diagnostics) -> Option<Access> {
    let read_only = match (written, std::env::var(READ_ONLY_VARIABLE).as_deref()) {
        (Some(written), _) => written,
        (None, Ok("true" | "1")) => true,
        (None, Ok("false" | "0" | "") | Err(_)) => false,
        (None, Ok(other)) => {
            let detail = format!(
                "The environment variable {READ_ONLY_VARIABLE} is {other:?}: set it to true or false."
            );
            diags.error(Some(Path::attribute("read_only")), "Invalid read_only", detail);
            return None;
        }
    };
    Some(if read_only { Access::ReadOnly } else { Access::Full })
}

fn default_hosts() -> BTreeMap<String, config::Host> {
    let libvirt = LibvirtHost {
        uri: DEFAULT_URI.to_owned(),
        ..LibvirtHost::default()
    };
    BTreeMap::from([(
        DEFAULT_HOST.to_owned(),
        config::Host {
            libvirt: Some(libvirt),
            ..config::Host::default()
        },
    )])
}

fn make_host(name: &str, host: &config::Host, diags: &mut Diagnostics) -> Option<Host> {
    match labyard_hosts::made(name, host) {
        Ok(made) => made,
        Err(error) => {
            let path = Path::attribute("hosts").then_key(name);
            diags.error(Some(path), "Invalid host", error.to_string());
            None
        }
    }
}
