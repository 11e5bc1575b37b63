//! Who listens to a stream has to be somebody who may for as long as it goes on: a stream ends soon after its token was
//! revoked, or its time is over.

use super::{app::App, who::Caller};
use crate::keep::tokens;
use axum::{body::Body, response::Response};
use futures::StreamExt as _;
use labyard_store::StoreError;
use std::{sync::Arc, time::Duration};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(5);

/// The same answer, which ends when its caller may have it no more.
pub(crate) fn while_valid(app: &Arc<App>, caller: &Caller, response: Response) -> Response {
    let Caller::Token(token) = caller else {
        return response;
    };
    let over = Box::pin(revoked(Arc::clone(app), token.name.clone()));
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(over)))
}

/// Comes back when the caller may no more what he may now.
pub(crate) async fn while_allowed(app: &Arc<App>, caller: &Caller) {
    match caller {
        Caller::Token(token) => revoked(Arc::clone(app), token.name.clone()).await,
        Caller::Nobody | Caller::Holder(_) | Caller::Owner => std::future::pending().await,
    }
}

/// Comes back when the token of that name is of no use any more.
async fn revoked(app: Arc<App>, name: String) {
    loop {
        tokio::time::sleep(LOOK).await;
        let (name, now) = (name.clone(), app.now());
        let valid: Result<bool, StoreError> = app
            .store
            .read(move |read| tokens::is_valid(read, &name, now))
            .await;
        // A store that cannot be asked now revokes nothing.
        if let Ok(false) = valid {
            return;
        }
    }
}
