//! What stands around every call: a panic becomes an error in the call's own answer.

use tonic::{Response, Status};
use tracing::Instrument as _;

use super::wire;
use crate::diag::Diagnostics;
use crate::panic::{self, Panicked};
use crate::proto::tfplugin6 as proto;

/// An answer that can carry diagnostics.
pub(super) trait Answer: Default {
    /// An answer that says nothing but this.
    fn of(diags: Diagnostics) -> Self;
}

/// Runs one call. The error of `work` is what the user is told; the rest of the answer is then empty.
pub(super) async fn answer<R: Answer>(
    call: &'static str,
    work: impl Future<Output = Result<R, Diagnostics>> + Send,
) -> Result<Response<R>, Status> {
    let span = tracing::debug_span!("call", rpc = call);
    let done = async {
        let done = panic::caught(work).await;
        tracing::debug!("answered");
        done
    };
    let done = done.instrument(span).await;
    let answer = match done {
        Ok(Ok(answer)) => answer,
        Ok(Err(diags)) => R::of(diags),
        Err(panicked) => {
            let mut diags = Diagnostics::default();
            say_panicked(&mut diags, &panicked);
            R::of(diags)
        }
    };
    Ok(Response::new(answer))
}

/// Tells the user of a panic.
pub(super) fn say_panicked(diags: &mut Diagnostics, panicked: &Panicked) {
    let place = panicked
        .place
        .as_ref()
        .map(|place| format!(" (at {place})"))
        .unwrap_or_default();
    diags.error(
        None,
        "The provider panicked",
        format!(
            "{}{place}\n\nThis is a fault of the provider, not of the configuration. Please report it to the \
             provider's developers.",
            panicked.message
        ),
    );
}

macro_rules! answers {
    ($($response:ty),* $(,)?) => {
        $(impl Answer for $response {
            fn of(diags: Diagnostics) -> Self {
                let mut answer = Self::default();
                answer.diagnostics = wire::diagnostics(diags);
                answer
            }
        })*
    };
}

answers!(
    proto::get_metadata::Response,
    proto::get_provider_schema::Response,
    proto::get_resource_identity_schemas::Response,
    proto::upgrade_resource_identity::Response,
    proto::validate_provider_config::Response,
    proto::configure_provider::Response,
    proto::validate_resource_config::Response,
    proto::upgrade_resource_state::Response,
    proto::read_resource::Response,
    proto::plan_resource_change::Response,
    proto::apply_resource_change::Response,
    proto::import_resource_state::Response,
    proto::move_resource_state::Response,
    proto::generate_resource_config::Response,
    proto::validate_data_resource_config::Response,
    proto::read_data_source::Response,
    proto::validate_ephemeral_resource_config::Response,
    proto::open_ephemeral_resource::Response,
    proto::renew_ephemeral_resource::Response,
    proto::close_ephemeral_resource::Response,
    proto::validate_list_resource_config::Response,
    proto::get_functions::Response,
    proto::validate_state_store::Response,
    proto::configure_state_store::Response,
    proto::write_state_bytes::Response,
    proto::lock_state::Response,
    proto::unlock_state::Response,
    proto::get_states::Response,
    proto::delete_state::Response,
    proto::validate_action_config::Response,
    proto::plan_action::Response,
);

impl Answer for proto::stop_provider::Response {
    fn of(diags: Diagnostics) -> Self {
        Self {
            error: diags
                .0
                .into_iter()
                .map(|diag| diag.detail)
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }
}

impl Answer for proto::call_function::Response {
    fn of(diags: Diagnostics) -> Self {
        let text = diags
            .0
            .into_iter()
            .map(|diag| diag.detail)
            .collect::<Vec<_>>()
            .join("\n");
        Self {
            result: None,
            error: Some(proto::FunctionError {
                text,
                function_argument: None,
            }),
        }
    }
}
