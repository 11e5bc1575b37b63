//! Where an operation can be held, so that tests can end it there: the places of the engine's own, by
//! [`labyard_driver::hold`].
//!
//! `disks` is the place behind the stage of that name (`undo-disks`: where it has been taken back), `before-define` the one
//! between the hook of that moment and the stage, `network-changed` the one before the guests of a network that was restarted
//! are back on it.

use labyard_driver::hold;
use labyard_driver::mark::Stage;
use tokio_util::sync::CancellationToken;

use crate::hooks::Moment;

/// Passes, unless this place was named.
pub async fn reached(stage: Stage, object: &str, cancel: &CancellationToken) {
    if hold::is_named() {
        hold::come_to(&name(stage), object, cancel.cancelled()).await;
    }
}

/// The same between a moment's hook and its stage: `before-define`.
pub async fn reached_moment(moment: Moment, object: &str, cancel: &CancellationToken) {
    if hold::is_named() {
        let place = moment.to_string().replace(':', "-");
        hold::come_to(&place, object, cancel.cancelled()).await;
    }
}

/// The same for a network that was changed, before its guests are put back on it: `network-changed`.
pub async fn network_changed(object: &str, cancel: &CancellationToken) {
    if hold::is_named() {
        hold::come_to("network-changed", object, cancel.cancelled()).await;
    }
}

/// The same behind a step of keeping a moment or of going back to it: `moment-recorded`, `reset-off`.
pub async fn moment(step: &str, object: &str, cancel: &CancellationToken) {
    if hold::is_named() {
        hold::come_to(step, object, cancel.cancelled()).await;
    }
}

/// The same for a stage that was taken back: its place is called `undo-disks`.
pub async fn undone(stage: Stage, object: &str, cancel: &CancellationToken) {
    if hold::is_named() {
        hold::come_to(&format!("undo-{}", name(stage)), object, cancel.cancelled()).await;
    }
}

fn name(stage: Stage) -> String {
    format!("{stage:?}").to_lowercase()
}
