//! The router, built of the table of routes: what is not in the table is not there, and what is in it has a handler.

use super::{
    app::App,
    guard,
    handlers::{
        claims, codes, events, hosts, images, logins, makers, networks, onhost, operations, pools, quotas,
        system, tokens, uploads, vms,
    },
};
use axum::{
    Router,
    middleware::{from_fn_with_state, map_response},
    response::Response,
    routing::{MethodFilter, MethodRouter, on},
};
use labyard_api::routes::{Method, Op, Route, routes};
use std::sync::Arc;

/// The router of all routes.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let state = (Arc::clone(app), route);
        let guarded = handler(route).layer(from_fn_with_state(state, guard::pass));
        router = router.route(route.path, guarded);
    }
    router
        .fallback(guard::nowhere)
        .method_not_allowed_fallback(guard::no_such_method)
        .layer(map_response(unsniffed))
        .layer(from_fn_with_state(Arc::clone(app), guard::around))
        .with_state(Arc::clone(app))
}

/// Nothing that is answered is to be kept, or taken for what it does not say it is.
async fn unsniffed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        http::header::CACHE_CONTROL,
        http::HeaderValue::from_static("no-store"),
    );
    headers.insert(
        http::header::X_CONTENT_TYPE_OPTIONS,
        http::HeaderValue::from_static("nosniff"),
    );
    response
}

fn handler(route: &Route) -> MethodRouter<Arc<App>> {
    let by = match route.method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Put => MethodFilter::PUT,
        Method::Delete => MethodFilter::DELETE,
    };
    match route.op {
        Op::Health => on(by, system::health),
        Op::Readiness => on(by, system::readiness),
        Op::Metrics => on(by, system::metrics),
        Op::OpenApi => on(by, system::openapi),
        Op::ShowServer => on(by, system::server),
        Op::Login => on(by, logins::begin),
        Op::LoginBack => on(by, logins::back),
        Op::LoginToken => on(by, logins::token),
        Op::Redeem => on(by, claims::redeem),
        Op::ListClaims => on(by, claims::list),
        Op::ShowClaim => on(by, claims::show),
        Op::KeepClaim => on(by, claims::keep),
        Op::PauseClaim => on(by, claims::pause),
        Op::ResumeClaim => on(by, claims::resume),
        Op::ExtendClaim => on(by, claims::extend),
        Op::ReleaseClaim => on(by, claims::release),
        Op::ListPools => on(by, pools::list),
        Op::ShowPool => on(by, pools::show),
        Op::ListMembers => on(by, pools::members),
        Op::PutPool => on(by, pools::put),
        Op::MakePool => on(by, makers::of_pool),
        Op::DeletePool => on(by, pools::delete),
        Op::ListCodes => on(by, codes::list),
        Op::ShowCode => on(by, codes::show),
        Op::ShowValues => on(by, codes::values),
        Op::PutCode => on(by, codes::put),
        Op::MakeCode => on(by, makers::of_code),
        Op::DeleteCode => on(by, codes::delete),
        Op::RevokeCode => on(by, codes::revoke),
        Op::ListOperations => on(by, operations::list),
        Op::ShowOperation => on(by, operations::show),
        Op::CancelOperation => on(by, operations::cancel),
        Op::Events => on(by, events::follow),
        Op::Upload => on(by, uploads::put),
        Op::ShowUpload => on(by, uploads::show),
        Op::ListVms => on(by, vms::list),
        Op::PlaceVm => on(by, vms::place),
        Op::ShowVm => on(by, vms::show),
        Op::PutVm => on(by, vms::put),
        Op::DeleteVm => on(by, vms::delete),
        Op::DestroyVm => on(by, vms::destroy),
        Op::ConfirmVm => on(by, vms::confirm),
        Op::FollowConsole => on(by, vms::console),
        Op::ShowRoom => on(by, vms::room),
        Op::CaptureVm => on(by, images::capture),
        Op::ListImages => on(by, images::list),
        Op::DeleteImage => on(by, images::delete),
        Op::ListNetworks => on(by, networks::list),
        Op::ShowNetwork => on(by, networks::show),
        Op::PutNetwork => on(by, networks::put),
        Op::DeleteNetwork => on(by, networks::delete),
        Op::HostFacts => on(by, onhost::facts),
        Op::HostOffers => on(by, onhost::offers),
        Op::HostCapacity => on(by, onhost::capacity),
        Op::HostSnapshot => on(by, onhost::snapshot),
        Op::HostTaken => on(by, onhost::taken),
        Op::HostFile => on(by, onhost::file),
        Op::FindVm => on(by, onhost::find_machine),
        Op::ShowSeed => on(by, onhost::seed),
        Op::ShowAddresses => on(by, onhost::addresses),
        Op::FindNetwork => on(by, onhost::find_network),
        Op::ShowLeases => on(by, onhost::leases),
        Op::ListHosts => on(by, hosts::list),
        Op::WishHost => on(by, hosts::wish),
        Op::ListQuotas => on(by, quotas::list),
        Op::ListTokens => on(by, tokens::list),
        Op::MakeToken => on(by, tokens::make),
        Op::RevokeToken => on(by, tokens::revoke),
    }
}
