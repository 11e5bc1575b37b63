//! What the protocol has and this crate does not offer yet: lists of it are empty, and a call for one of it
//! (which Terraform does not make) is told so in the answer, never by a broken call.

use super::Server;
use super::guard::Answer;
use super::wire::{self, fault};
use crate::diag::Diagnostics;
use crate::proto::tfplugin6 as proto;
use crate::services::Answers;

fn no(what: &str) -> Diagnostics {
    fault(
        "Not offered by this provider",
        format!("The provider has no {what}. Another version of it may."),
    )
}

fn once<T: Send + 'static>(answer: T) -> Answers<T> {
    Box::pin(futures::stream::iter([Ok(answer)]))
}

/// Calls whose only answer is an error.
macro_rules! refused {
    ($($call:ident($request:ty) -> $response:ty = $what:literal;)*) => {
        $(pub(super) async fn $call(_server: &Server, _request: $request) -> Result<$response, Diagnostics> {
            Err(no($what))
        })*
    };
}

refused! {
    upgrade_resource_identity(proto::upgrade_resource_identity::Request)
        -> proto::upgrade_resource_identity::Response = "resource with an identity";
    move_resource_state(proto::move_resource_state::Request) -> proto::move_resource_state::Response
        = "resource that takes over the state of one of another type";
    generate_resource_config(proto::generate_resource_config::Request)
        -> proto::generate_resource_config::Response = "generation of configuration";
    validate_list_resource_config(proto::validate_list_resource_config::Request)
        -> proto::validate_list_resource_config::Response = "list resources";
    call_function(proto::call_function::Request) -> proto::call_function::Response = "functions";
    validate_state_store(proto::validate_state_store::Request) -> proto::validate_state_store::Response
        = "state stores";
    configure_state_store(proto::configure_state_store::Request) -> proto::configure_state_store::Response
        = "state stores";
    lock_state(proto::lock_state::Request) -> proto::lock_state::Response = "state stores";
    unlock_state(proto::unlock_state::Request) -> proto::unlock_state::Response = "state stores";
    get_states(proto::get_states::Request) -> proto::get_states::Response = "state stores";
    delete_state(proto::delete_state::Request) -> proto::delete_state::Response = "state stores";
    validate_action_config(proto::validate_action_config::Request) -> proto::validate_action_config::Response
        = "actions";
    plan_action(proto::plan_action::Request) -> proto::plan_action::Response = "actions";
}

pub(super) async fn get_resource_identity_schemas(
    _server: &Server,
    _request: proto::get_resource_identity_schemas::Request,
) -> Result<proto::get_resource_identity_schemas::Response, Diagnostics> {
    Ok(proto::get_resource_identity_schemas::Response::default())
}

pub(super) async fn get_functions(
    _server: &Server,
    _request: proto::get_functions::Request,
) -> Result<proto::get_functions::Response, Diagnostics> {
    Ok(proto::get_functions::Response::default())
}

pub(super) fn list_resource(
    _request: &proto::list_resource::Request,
) -> Answers<proto::list_resource::Event> {
    let diagnostic = wire::diagnostics(no("list resources"));
    once(proto::list_resource::Event {
        diagnostic,
        ..Default::default()
    })
}

pub(super) fn read_state_bytes(
    _request: &proto::read_state_bytes::Request,
) -> Answers<proto::read_state_bytes::Response> {
    let diagnostics = wire::diagnostics(no("state stores"));
    once(proto::read_state_bytes::Response {
        diagnostics,
        ..Default::default()
    })
}

pub(super) fn write_state_bytes() -> proto::write_state_bytes::Response {
    proto::write_state_bytes::Response::of(no("state stores"))
}

pub(super) fn invoke_action(
    _request: &proto::invoke_action::Request,
) -> Answers<proto::invoke_action::Event> {
    use proto::invoke_action::event::{Completed, Type};
    let completed = Completed {
        diagnostics: wire::diagnostics(no("actions")),
    };
    once(proto::invoke_action::Event {
        r#type: Some(Type::Completed(completed)),
    })
}
