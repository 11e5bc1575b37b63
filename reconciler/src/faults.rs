//! Points at which a run can be held, so that tests can end it there.
//!
//! `LABYARD_FAULT=hold@disks:/path` makes every operation that has just recorded the stage `disks` write `/path`
//! and go no further. Nothing else reads the variable; unset, a point costs one look at a value read once.

use std::sync::OnceLock;

use labyard_driver::mark::Stage;

/// The variable that names a point.
pub const VARIABLE: &str = "LABYARD_FAULT";

struct Hold {
    stage: String,
    path: String,
}

fn hold() -> Option<&'static Hold> {
    static HOLD: OnceLock<Option<Hold>> = OnceLock::new();
    HOLD.get_or_init(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let (stage, path) = text.strip_prefix("hold@")?.split_once(':')?;
        Some(Hold {
            stage: stage.to_owned(),
            path: path.to_owned(),
        })
    })
    .as_ref()
}

/// Passes, unless this point was named: then it never returns.
pub async fn reached(stage: Stage, object: &str) {
    let Some(hold) = hold().filter(|hold| hold.stage == name(stage)) else {
        return;
    };
    // The test waits for the file; if it cannot be written, holding still shows that the point was reached.
    let _ = std::fs::write(&hold.path, object);
    std::future::pending::<()>().await;
}

fn name(stage: Stage) -> String {
    format!("{stage:?}").to_lowercase()
}
