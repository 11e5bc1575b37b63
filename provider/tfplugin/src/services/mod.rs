//! The services that go-plugin expects beside the provider's own.

mod broker;
mod controller;
mod health;
mod stdio;

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::Status;

pub(crate) use broker::Broker;
pub(crate) use controller::Controller;
pub(crate) use health::Health;
pub(crate) use stdio::Stdio;

/// A stream of answers.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A stream that says nothing and ends with the process.
fn silent_until<T: Send + 'static>(end: &CancellationToken) -> Answers<T> {
    Box::pin(futures::stream::pending().take_until(end.clone().cancelled_owned()))
}
