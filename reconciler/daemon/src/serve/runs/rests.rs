//! What an object is at this moment, for a change that rests on what was seen of it: looked at when it is asked for, and
//! again when its work begins, since another may have ended in between.

use super::Work;
use crate::serve::handlers::{Rests, tag};
use labyard_driver::ids::{HostName, Namespace};
use labyard_reconciler::{
    EngineError,
    engine::{Embedded, Engine as _, ObjectRef},
    view::Owner,
};
use serde_json::Value;
use tokio::time::Instant;

/// The tag of what a piece of work is about; none where it is not there.
pub(crate) async fn tag_of(engine: &Embedded, work: &Work) -> Result<Option<String>, EngineError> {
    let view = match work {
        Work::Create(host, desired, _) => {
            let found = machine(engine, (host, &desired.namespace), desired.name.as_str()).await?;
            found.filter(is_ours)
        }
        Work::Update(object, ..) | Work::Destroy(object, _) | Work::Capture(object, _) => {
            machine(engine, (&object.host, &object.namespace), known_as(object)).await?
        }
        Work::CreateNetwork(host, desired, _) => {
            let found = network(engine, (host, &desired.namespace), desired.name.as_str()).await?;
            found.filter(is_ours)
        }
        Work::UpdateNetwork(object, ..) | Work::DestroyNetwork(object) => {
            network(engine, (&object.host, &object.namespace), known_as(object)).await?
        }
        Work::Place(..) | Work::ForgetImages(..) => None,
    };
    Ok(view.map(|(view, _)| tag(&view)))
}

/// Whether the work may still be begun.
pub(super) async fn allowed(engine: &Embedded, work: &Work, rests: &Rests) -> Result<(), EngineError> {
    if rests.say_nothing() {
        return Ok(());
    }
    let there = tag_of(engine, work).await?;
    rests.allow(there.as_deref()).map_err(|failure| {
        let problem = *failure.0;
        EngineError::Attribute {
            attribute: "If-Match".to_owned(),
            message: problem.detail.unwrap_or(problem.title),
        }
    })
}

/// An object as it is, and whose.
type Seen = (Value, Owner);

fn is_ours((_, owner): &Seen) -> bool {
    *owner != Owner::Foreign
}

/// By what an object is found that is known.
fn known_as(object: &ObjectRef) -> &str {
    let id = object.identity.as_ref().map(|identity| &identity.id);
    id.or(object.id.as_ref())
        .map_or(object.name.as_str(), |id| id.as_str())
}

async fn machine(
    engine: &Embedded,
    (host, namespace): (&HostName, &Namespace),
    id: &str,
) -> Result<Option<Seen>, EngineError> {
    engine.look_anew(host, Instant::now()).await;
    let found = engine.find_machine(host, namespace, id).await;
    there(found.map(|(view, _)| (written(&view), view.owner)))
}

async fn network(
    engine: &Embedded,
    (host, namespace): (&HostName, &Namespace),
    id: &str,
) -> Result<Option<Seen>, EngineError> {
    engine.look_anew(host, Instant::now()).await;
    let found = engine.find_network(host, namespace, id).await;
    there(found.map(|view| (written(&view), view.owner)))
}

fn written(view: &impl serde::Serialize) -> Value {
    serde_json::to_value(view).unwrap_or_default()
}

fn there(found: Result<Seen, EngineError>) -> Result<Option<Seen>, EngineError> {
    match found {
        Ok(seen) => Ok(Some(seen)),
        Err(error) if matches!(error.root(), EngineError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
