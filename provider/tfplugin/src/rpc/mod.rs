//! Terraform's calls, one file each; this file is the list of them.
//!
//! Every call goes through [`guard`]: a panic in it becomes a diagnostic of its answer, and the process lives.

mod apply;
mod catalog;
mod configure;
mod ephemeral;
mod guard;
mod import;
mod metadata;
mod not_offered;
mod plan;
mod read;
mod read_data_source;
mod schema;
mod settle;
mod stop;
mod upgrade;
mod validate;
mod wire;

use std::sync::{Arc, OnceLock};

use tonic::{Request, Response, Status, Streaming};

use crate::life::Life;
use crate::proto::tfplugin6 as proto;
use crate::services::Answers;
use crate::traits::{Context, Provider};
use catalog::Catalog;
pub(crate) use schema::{EncodedSchema, PATH as SCHEMA_PATH};

/// Whether answers are checked before they leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SelfCheck {
    On,
    Off,
}

/// A provider behind Terraform's protocol.
pub(crate) struct Server {
    provider: Arc<dyn Provider>,
    life: Arc<Life>,
    self_check: SelfCheck,
    catalog: OnceLock<Catalog>,
}

impl Server {
    pub(crate) fn new(provider: Arc<dyn Provider>, life: Arc<Life>, self_check: SelfCheck) -> Self {
        Self {
            provider,
            life,
            self_check,
            catalog: OnceLock::new(),
        }
    }

    pub(crate) fn provider(&self) -> &dyn Provider {
        self.provider.as_ref()
    }

    /// Tells the provider and then cancels what is under way: no operation ends as cancelled before its provider
    /// knows why.
    pub(crate) fn stop(&self) {
        self.provider.stopped();
        self.life.cancel_operations();
    }

    /// What there is, looked up when first asked for: nothing is done before the handshake's line is out.
    fn catalog(&self) -> &Catalog {
        self.catalog.get_or_init(|| Catalog::of(self.provider()))
    }

    fn context(&self) -> Context {
        Context {
            cancel: self.life.operation(),
        }
    }
}

/// Writes the service: each unary call hands its request to a function of the same name.
macro_rules! provider_service {
    ($($call:ident($request:ty) -> $response:ty = $answer:path;)*) => {
        #[tonic::async_trait]
        impl proto::provider_server::Provider for Server {
            type ListResourceStream = Answers<proto::list_resource::Event>;
            type ReadStateBytesStream = Answers<proto::read_state_bytes::Response>;
            type InvokeActionStream = Answers<proto::invoke_action::Event>;

            $(async fn $call(&self, request: Request<$request>) -> Result<Response<$response>, Status> {
                guard::answer(stringify!($call), $answer(self, request.into_inner())).await
            })*

            async fn list_resource(
                &self,
                request: Request<proto::list_resource::Request>,
            ) -> Result<Response<Self::ListResourceStream>, Status> {
                Ok(Response::new(not_offered::list_resource(&request.into_inner())))
            }

            async fn read_state_bytes(
                &self,
                request: Request<proto::read_state_bytes::Request>,
            ) -> Result<Response<Self::ReadStateBytesStream>, Status> {
                Ok(Response::new(not_offered::read_state_bytes(&request.into_inner())))
            }

            async fn write_state_bytes(
                &self,
                _request: Request<Streaming<proto::write_state_bytes::RequestChunk>>,
            ) -> Result<Response<proto::write_state_bytes::Response>, Status> {
                Ok(Response::new(not_offered::write_state_bytes()))
            }

            async fn invoke_action(
                &self,
                request: Request<proto::invoke_action::Request>,
            ) -> Result<Response<Self::InvokeActionStream>, Status> {
                Ok(Response::new(not_offered::invoke_action(&request.into_inner())))
            }
        }
    };
}

provider_service! {
    get_metadata(proto::get_metadata::Request) -> proto::get_metadata::Response = metadata::get_metadata;
    get_provider_schema(proto::get_provider_schema::Request) -> proto::get_provider_schema::Response
        = schema::get_provider_schema;
    get_resource_identity_schemas(proto::get_resource_identity_schemas::Request)
        -> proto::get_resource_identity_schemas::Response = not_offered::get_resource_identity_schemas;
    upgrade_resource_identity(proto::upgrade_resource_identity::Request)
        -> proto::upgrade_resource_identity::Response = not_offered::upgrade_resource_identity;

    validate_provider_config(proto::validate_provider_config::Request)
        -> proto::validate_provider_config::Response = validate::provider;
    configure_provider(proto::configure_provider::Request) -> proto::configure_provider::Response
        = configure::configure;
    stop_provider(proto::stop_provider::Request) -> proto::stop_provider::Response = stop::stop_provider;

    validate_resource_config(proto::validate_resource_config::Request)
        -> proto::validate_resource_config::Response = validate::resource;
    upgrade_resource_state(proto::upgrade_resource_state::Request) -> proto::upgrade_resource_state::Response
        = upgrade::upgrade_resource_state;
    read_resource(proto::read_resource::Request) -> proto::read_resource::Response = read::read_resource;
    plan_resource_change(proto::plan_resource_change::Request) -> proto::plan_resource_change::Response
        = plan::plan_resource_change;
    apply_resource_change(proto::apply_resource_change::Request) -> proto::apply_resource_change::Response
        = apply::apply_resource_change;
    import_resource_state(proto::import_resource_state::Request) -> proto::import_resource_state::Response
        = import::import_resource_state;
    move_resource_state(proto::move_resource_state::Request) -> proto::move_resource_state::Response
        = not_offered::move_resource_state;
    generate_resource_config(proto::generate_resource_config::Request)
        -> proto::generate_resource_config::Response = not_offered::generate_resource_config;

    validate_data_resource_config(proto::validate_data_resource_config::Request)
        -> proto::validate_data_resource_config::Response = validate::data_source;
    read_data_source(proto::read_data_source::Request) -> proto::read_data_source::Response
        = read_data_source::read_data_source;

    validate_ephemeral_resource_config(proto::validate_ephemeral_resource_config::Request)
        -> proto::validate_ephemeral_resource_config::Response = validate::ephemeral_resource;
    open_ephemeral_resource(proto::open_ephemeral_resource::Request)
        -> proto::open_ephemeral_resource::Response = ephemeral::open;
    renew_ephemeral_resource(proto::renew_ephemeral_resource::Request)
        -> proto::renew_ephemeral_resource::Response = ephemeral::renew;
    close_ephemeral_resource(proto::close_ephemeral_resource::Request)
        -> proto::close_ephemeral_resource::Response = ephemeral::close;

    validate_list_resource_config(proto::validate_list_resource_config::Request)
        -> proto::validate_list_resource_config::Response = not_offered::validate_list_resource_config;

    get_functions(proto::get_functions::Request) -> proto::get_functions::Response = not_offered::get_functions;
    call_function(proto::call_function::Request) -> proto::call_function::Response = not_offered::call_function;

    validate_state_store_config(proto::validate_state_store::Request) -> proto::validate_state_store::Response
        = not_offered::validate_state_store;
    configure_state_store(proto::configure_state_store::Request) -> proto::configure_state_store::Response
        = not_offered::configure_state_store;
    lock_state(proto::lock_state::Request) -> proto::lock_state::Response = not_offered::lock_state;
    unlock_state(proto::unlock_state::Request) -> proto::unlock_state::Response = not_offered::unlock_state;
    get_states(proto::get_states::Request) -> proto::get_states::Response = not_offered::get_states;
    delete_state(proto::delete_state::Request) -> proto::delete_state::Response = not_offered::delete_state;

    validate_action_config(proto::validate_action_config::Request) -> proto::validate_action_config::Response
        = not_offered::validate_action_config;
    plan_action(proto::plan_action::Request) -> proto::plan_action::Response = not_offered::plan_action;
}
