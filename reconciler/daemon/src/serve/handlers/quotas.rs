//! What namespaces may have, and hold of it.

use super::{
    Answer, json,
    pools::Within,
    taken::{Query, namespace},
};
use crate::{
    failure::Failure,
    serve::{app::App, who::Caller},
};
use axum::{Extension, extract::State};
use labyard_api::{
    List,
    quota::{Held, Quota},
};
use labyard_labs::quota;
use std::sync::Arc;

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Query(within): Query<Within>,
) -> Answer {
    let scope = caller.scope().narrowed(namespace(within.namespace)?.as_ref());
    let found: Result<_, Failure> = app.store.read(move |read| Ok(quota::shown(read, &scope)?)).await;
    let items = found?.iter().map(shown).collect();
    Ok(json(200, &List { items, next: None }))
}

fn shown(shown: &quota::Shown) -> Quota {
    let held = |used, quota| Held { used, quota };
    Quota {
        namespace: shown.namespace.to_string(),
        machines: held(shown.used.machines, shown.quota.machines),
        cpus: held(shown.used.cpus, shown.quota.cpus),
        memory_mib: held(shown.used.memory_mib, shown.quota.memory_mib),
    }
}
