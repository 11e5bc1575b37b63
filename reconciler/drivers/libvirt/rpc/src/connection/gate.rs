//! A gate that every call which changes something on the host passes, so that tests can stand in it.

use std::sync::Arc;

use async_trait::async_trait;

/// Stands before and behind each call that changes something on the host. The call's deadline begins behind it.
#[async_trait]
pub trait Gate: Send + Sync {
    /// A call is about to be made. What this answers comes back with [`Gate::after`].
    async fn before(&self, procedure: &'static str) -> u64;

    /// It was answered, or failed.
    async fn after(&self, ticket: u64, procedure: &'static str);
}

/// The gate of a connection, if it has one.
#[derive(Clone, Default)]
pub(super) struct Gated(pub(super) Option<Arc<dyn Gate>>);
