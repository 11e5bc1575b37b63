//! Faults of create, update and delete.

use std::time::Duration;

use tfplugin::value::{Path, Value};
use tfplugin::{ApplyRequest, Context, Diagnostics, Saver, State};

use crate::fault::Fault;
use crate::thing::id;
use crate::{mark, note};

/// Creates or updates, and breaks the rule that `fault` names.
pub(crate) async fn put(
    fault: Fault,
    ctx: &Context,
    request: &ApplyRequest,
    saver: &Saver,
    diags: &mut Diagnostics,
) {
    let mut value = request.planned.clone();
    value.set(&id(), "id-1");
    let save = |value: Value| {
        saver.save(State {
            value,
            private: b"made".to_vec(),
        });
    };
    let with = |path: &str, new: Value| {
        let mut value = value.clone();
        value.set(&Path::attribute(path), new);
        value
    };
    match fault {
        Fault::ApplySavesNothing => {}
        Fault::ApplySavesNull => save(Value::Null),
        Fault::ApplySavesWrongType => save(with("name", Value::Bool(true))),
        Fault::ApplyLeavesUnknown => save(with("id", Value::Unknown)),
        Fault::ApplyChangesPlanned => save(with("name", Value::from("changed"))),
        Fault::ApplyMakesEmptyNull => save(with("hosts", Value::Null)),
        Fault::ApplyChangesSetElement => save(with("tags", Value::Sequence(vec![Value::from("changed")]))),
        Fault::ApplyKeepsWriteOnly => save(with("secret_wo", request.config.field("secret_wo").clone())),
        Fault::ApplyFailsAtOnce => diags.error(None, "No room", "The host is full."),
        Fault::ApplyFailsHalfway => {
            save(with("size", Value::Null));
            diags.error(None, "No room", "The host is full.");
        }
        Fault::ApplyPanicsAtOnce => panic!("apply fell over"),
        Fault::ApplyPanicsHalfway => {
            save(with("size", Value::Null));
            panic!("apply fell over");
        }
        Fault::ApplyStopsSilently => {
            save(with("id", Value::Unknown));
            mark();
            ctx.cancel.cancelled().await;
        }
        Fault::ApplyStubborn => {
            save(value);
            mark();
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        Fault::ApplySlow => {
            save(with("size", Value::Null));
            mark();
            slowly(ctx, diags).await;
        }
        _ => save(value),
    }
}

async fn slowly(ctx: &Context, diags: &mut Diagnostics) {
    tokio::select! {
        () = ctx.cancel.cancelled() => {
            note("cancelled");
            diags.error(None, "Cancelled", "The thing is half made.");
        }
        () = tokio::time::sleep(Duration::from_secs(60)) => diags.error(None, "Too slow", "Nobody cancelled."),
    }
}

/// Deletes, and breaks the rule that `fault` names.
pub(crate) fn delete(fault: Fault, request: &ApplyRequest, saver: &Saver, diags: &mut Diagnostics) {
    let mut half = request.prior.clone();
    half.set(&Path::attribute("size"), Value::Null);
    let save = |value: Value| {
        saver.save(State {
            value,
            private: request.private.clone(),
        });
    };
    match fault {
        Fault::ApplyFailsAtOnce => diags.error(None, "It is locked", "Somebody holds it."),
        Fault::ApplyFailsHalfway => {
            save(half);
            diags.error(None, "It is locked", "Somebody holds it.");
        }
        Fault::ApplyPanicsAtOnce => panic!("delete fell over"),
        Fault::DeleteKeepsObject => save(half),
        _ => {}
    }
}
