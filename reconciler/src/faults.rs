//! Points at which a run can be held, so that tests can end it there.
//!
//! `LABYARD_FAULT=hold@disks:/path` makes every operation that has come through the stage `disks` (`undo-disks`: has taken
//! it back) write `/path` and wait until that file is gone or the user ends the run. With `freeze` in place of `hold` it
//! tells of that end by a file `/path.stopped` and stays. `before-define` is the point between the hook of that moment and
//! the stage, `network-changed` the one before the guests of a network that was restarted are back on it. Nothing else reads
//! the variable; unset, a point costs one look at a value read once.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use labyard_driver::mark::Stage;
use tokio_util::sync::CancellationToken;

use crate::hooks::Moment;

/// The variable that names a point.
pub const VARIABLE: &str = "LABYARD_FAULT";
/// How often a held operation looks whether it may go on.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grip {
    /// Ends when the run is stopped.
    Hold,
    /// Stays even then.
    Freeze,
}

#[derive(Debug, PartialEq, Eq)]
struct Point {
    grip: Grip,
    stage: String,
    path: PathBuf,
}

impl Point {
    fn parse(text: &str) -> Option<Self> {
        let (grip, place) = text.split_once('@')?;
        let grip = match grip {
            "hold" => Grip::Hold,
            "freeze" => Grip::Freeze,
            _ => return None,
        };
        let (stage, path) = place.split_once(':')?;
        Some(Self {
            grip,
            stage: stage.to_owned(),
            path: path.into(),
        })
    }
}

fn point() -> Option<&'static Point> {
    static POINT: OnceLock<Option<Point>> = OnceLock::new();
    POINT
        .get_or_init(|| Point::parse(&std::env::var(VARIABLE).ok()?))
        .as_ref()
}

/// Passes, unless this point was named.
pub async fn reached(stage: Stage, object: &str, cancel: &CancellationToken) {
    if point().is_some() {
        come_to(&name(stage), object, cancel).await;
    }
}

/// The same between a moment's hook and its stage: `before-define`.
pub async fn reached_moment(moment: Moment, object: &str, cancel: &CancellationToken) {
    if point().is_some() {
        come_to(&moment.to_string().replace(':', "-"), object, cancel).await;
    }
}

/// The same for a network that was changed, before its guests are put back on it: `network-changed`.
pub async fn network_changed(object: &str, cancel: &CancellationToken) {
    if point().is_some() {
        come_to("network-changed", object, cancel).await;
    }
}

/// The same for a stage that was taken back: its point is called `undo-disks`.
pub async fn undone(stage: Stage, object: &str, cancel: &CancellationToken) {
    if point().is_some() {
        come_to(&format!("undo-{}", name(stage)), object, cancel).await;
    }
}

async fn come_to(place: &str, object: &str, cancel: &CancellationToken) {
    let Some(point) = point().filter(|point| point.stage == place) else {
        return;
    };
    if std::fs::write(&point.path, object).is_err() {
        // Nobody could let it go on.
        return std::future::pending().await;
    }
    tokio::select! {
        () = gone(point) => return,
        () = cancel.cancelled() => {}
    }
    if point.grip == Grip::Freeze {
        let mut stopped = point.path.clone().into_os_string();
        stopped.push(".stopped");
        // Whoever waits for the file finds that it is missing.
        let _ = std::fs::write(stopped, object);
        gone(point).await;
    }
}

async fn gone(point: &Point) {
    while point.path.exists() {
        tokio::time::sleep(LOOK).await;
    }
}

fn name(stage: Stage) -> String {
    format!("{stage:?}").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_grip_a_stage_and_a_file() {
        let point = |grip, stage: &str, path: &str| Point {
            grip,
            stage: stage.into(),
            path: path.into(),
        };
        assert_eq!(
            Point::parse("hold@disks:/a:b"),
            Some(point(Grip::Hold, "disks", "/a:b"))
        );
        assert_eq!(
            Point::parse("freeze@seed:/x"),
            Some(point(Grip::Freeze, "seed", "/x"))
        );
        assert_eq!(Point::parse("hold@disks"), None);
        assert_eq!(Point::parse("melt@disks:/x"), None);
    }
}
