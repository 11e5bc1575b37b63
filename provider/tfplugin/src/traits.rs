//! What a provider implements: [`Provider`], [`Resource`], [`DataSource`], [`EphemeralResource`].
//!
//! The server does the protocol's part before and after each call: it decodes, upgrades and checks values,
//! plans over the value tree (defaults, computed, write-only, stability) and checks every response before it
//! leaves. An implementation sees whole values and returns whole values.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::diag::Diagnostics;
use crate::saver::Saver;
use crate::schema::Schema;
use crate::value::{Path, Value};

/// A Terraform provider.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// The provider's version, as `--version` prints it.
    fn version(&self) -> &str {
        "0.0.0-dev"
    }
    /// The provider block.
    fn schema(&self) -> &Schema;
    /// The managed resources.
    fn resources(&self) -> Vec<Arc<dyn Resource>>;
    /// The data sources.
    fn data_sources(&self) -> Vec<Arc<dyn DataSource>> {
        Vec::new()
    }
    /// The ephemeral resources (protocol 6.7, Terraform 1.10).
    fn ephemeral_resources(&self) -> Vec<Arc<dyn EphemeralResource>> {
        Vec::new()
    }
    /// Checks the provider block; values may be unknown.
    async fn validate(&self, _config: &Value, _diags: &mut Diagnostics) {}
    /// Takes the provider block; values may be unknown at plan.
    async fn configure(&self, request: ConfigureRequest, diags: &mut Diagnostics);
    /// `StopProvider` was received: a second is sent only to a provider that keeps serving. Operations under
    /// way see it through [`Context::cancel`]; this hook is for what is not an operation.
    fn stopped(&self) {}
    /// `GRPCController.Shutdown` was received: Terraform is done. The process ends when this returns, or after
    /// 1.8 seconds.
    async fn shutdown(&self) {}
}

/// The provider block as it arrives.
#[derive(Clone, Debug)]
pub struct ConfigureRequest {
    /// The block's values.
    pub config: Value,
    /// Terraform's version, as it states it.
    pub terraform_version: String,
}

/// What an operation knows of the run it belongs to.
#[derive(Clone, Debug)]
pub struct Context {
    /// Cancelled by StopProvider: end early, keep what was saved.
    pub cancel: CancellationToken,
}

/// A managed resource.
#[async_trait]
pub trait Resource: Send + Sync + 'static {
    /// The type's name, `labyard_vm`.
    fn type_name(&self) -> &str;
    /// Its attributes.
    fn schema(&self) -> &Schema;
    /// Checks a configuration; values may be unknown. Runs without a configured provider.
    async fn validate(&self, _config: &Value, _diags: &mut Diagnostics) {}
    /// Plans a create, update or (with `planned` null) destroy. The server has planned what the schema says
    /// already; this refines it. Must be a pure function of the request and of what can be observed.
    async fn plan(&self, ctx: &Context, plan: &mut Plan, diags: &mut Diagnostics);
    /// Makes the object. The state to store is what was handed to [`Saver::save`] last.
    async fn create(&self, ctx: &Context, request: ApplyRequest, saver: &Saver, diags: &mut Diagnostics);
    /// Changes the object in place. Until the first save the prior state stands.
    async fn update(&self, ctx: &Context, request: ApplyRequest, saver: &Saver, diags: &mut Diagnostics);
    /// Removes the object. Without an error in `diags` it is gone; with one, the last saved (or prior) state
    /// stays.
    async fn delete(&self, ctx: &Context, request: ApplyRequest, saver: &Saver, diags: &mut Diagnostics);
    /// Reads the object: the new state, or `None` where it is certain that it does not exist. With an error in
    /// `diags` the result is ignored and the prior state stays.
    async fn read(&self, ctx: &Context, prior: State, diags: &mut Diagnostics) -> Option<State>;
    /// Imports by the id that the user gave: exactly one object, or an error.
    async fn import(&self, _ctx: &Context, id: &str, diags: &mut Diagnostics) -> Option<State>;
    /// Brings a state of an older schema version (as JSON) to the current one. Called only for `version` lower
    /// than the schema's; attributes that the schema lacks are dropped by the server afterwards.
    fn upgrade(&self, _version: i64, state: serde_json::Value) -> Result<serde_json::Value, String> {
        Ok(state)
    }
}

/// A data source.
#[async_trait]
pub trait DataSource: Send + Sync + 'static {
    /// The type's name.
    fn type_name(&self) -> &str;
    /// Its attributes.
    fn schema(&self) -> &Schema;
    /// Checks a configuration; values may be unknown.
    async fn validate(&self, _config: &Value, _diags: &mut Diagnostics) {}
    /// Reads it.
    async fn read(&self, ctx: &Context, config: Value, diags: &mut Diagnostics) -> Option<Value>;
}

/// A value that Terraform holds while it runs and never stores. It is opened when its configuration is known, at plan
/// and again at apply; renewed as often as it asks; closed when nothing needs it any more.
#[async_trait]
pub trait EphemeralResource: Send + Sync + 'static {
    /// The type's name.
    fn type_name(&self) -> &str;
    /// Its attributes. Terraform accepts no write-only ones here.
    fn schema(&self) -> &Schema;
    /// Checks a configuration; values may be unknown.
    async fn validate(&self, _config: &Value, _diags: &mut Diagnostics) {}
    /// Opens it.
    async fn open(&self, ctx: &Context, config: Value, diags: &mut Diagnostics) -> Option<Opened>;
    /// Keeps it open, where [`Opened::renew_at`] asked for that; says when again, if so.
    async fn renew(&self, _ctx: &Context, _private: Vec<u8>, diags: &mut Diagnostics) -> Option<Renewed> {
        let detail = format!("{} never asks to be renewed.", self.type_name());
        diags.error(None, "Nothing to renew", detail);
        None
    }
    /// Closes it, with what the opening or the last renewal left.
    async fn close(&self, _ctx: &Context, _private: Vec<u8>, _diags: &mut Diagnostics) {}
}

/// An ephemeral resource that was opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// The attributes, whole by the schema; what was configured stands there as it was.
    pub value: Value,
    /// When it has to be renewed, if it has.
    pub renew_at: Option<SystemTime>,
    /// What `renew` and `close` are handed, opaque to Terraform.
    pub private: Vec<u8>,
}

/// An ephemeral resource that was renewed.
#[derive(Clone, Debug, PartialEq)]
pub struct Renewed {
    /// When it has to be renewed again, if it has.
    pub renew_at: Option<SystemTime>,
    /// What `renew` and `close` are handed from now on.
    pub private: Vec<u8>,
}

/// A stored object: its values and the provider's own bytes beside them.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The attributes, whole by the schema.
    pub value: Value,
    /// Private data, opaque to Terraform.
    pub private: Vec<u8>,
}

/// A plan while it is made. `planned` arrives as the schema says it (see [`crate::plan`]).
#[derive(Debug)]
pub struct Plan {
    /// State before; null on create.
    pub prior: Value,
    /// Private data of the state before; empty on create, also when a tainted object is replaced.
    pub prior_private: Vec<u8>,
    /// The configuration; null on destroy (and possibly so where only the prior is known).
    pub config: Value,
    /// What will be; null on destroy.
    pub planned: Value,
    /// Private data that apply receives.
    pub planned_private: Vec<u8>,
    /// Paths whose change needs a replacement; the schema's own are in here already.
    pub requires_replace: Vec<Path>,
}

/// An apply.
#[derive(Debug)]
pub struct ApplyRequest {
    /// State before; null on create.
    pub prior: Value,
    /// What was planned; null on destroy.
    pub planned: Value,
    /// The configuration, with write-only values; null on destroy.
    pub config: Value,
    /// The plan's private data (on destroy and update: the state's, unless the plan changed it).
    pub private: Vec<u8>,
}
