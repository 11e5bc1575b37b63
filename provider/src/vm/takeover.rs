//! What keeps an imported machine, which is foreign until an apply marks it, from becoming labyard's: told by the plan.

use labyard_reconciler::engine::{ObjectRef, Reading};
use tfplugin::Diagnostics;
use tfplugin::value::Path;

use crate::errors;
use crate::provider::Context;

/// Refuses a plan that would take over what cannot be.
pub async fn check(object: &ObjectRef, context: &Context, diags: &mut Diagnostics) {
    let view = match context.engine.read_machine(object).await {
        Ok(Reading::Present(view)) => view,
        Ok(Reading::DisksOnly | Reading::Gone) => return,
        Err(error) => return errors::report(&error, "Machine not readable", diags),
    };
    for obstacle in &view.obstacles {
        let at = Path::attribute("disks").then_key(obstacle.disk.as_str());
        let detail = format!("Disk {:?}: {}.", obstacle.disk.as_str(), obstacle.why);
        diags.error(Some(at), "Machine cannot be taken over", detail);
    }
}
