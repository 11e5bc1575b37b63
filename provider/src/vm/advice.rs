//! What a plan says of a seed beforehand, because the guest would say it to nobody: user-data that it will not
//! recognise, cannot take together with `guest`, or that take over what `guest` says.

use labyard_reconciler::guest_config::{combinable, overruled};
use labyard_reconciler::seed::looks_like;
use labyard_schema::vm::{OsFamily, Vm};
use tfplugin::value::Path;
use tfplugin::{Diagnostics, Plan};

use crate::values;

/// Refuses what cannot be told to the guest; warns once, when it is told, of what will have no effect.
pub fn advise(plan: &Plan, diags: &mut Diagnostics) {
    let unchanged = ["guest", "cloud_init"]
        .iter()
        .all(|name| plan.prior.field(name) == plan.planned.field(name));
    if (!plan.prior.is_null() && unchanged) || plan.config.field("guest").is_unknown() {
        return;
    }
    let mut quiet = Diagnostics::default();
    let Some(vm) = values::known::<Vm>(&written(plan), &mut quiet) else {
        return;
    };
    let Some(cloud_init) = &vm.cloud_init else { return };
    let family = vm.os_family();
    let secret = cloud_init.user_data_wo.as_ref().map(|secret| secret.reveal());
    let (leaf, text) = match (cloud_init.user_data.as_deref(), secret) {
        (Some(plain), _) => ("user_data", plain),
        (None, Some(secret)) => ("user_data_wo", secret),
        (None, None) => return,
    };
    let at = Path::attribute("cloud_init").then_attribute(leaf);
    if family == OsFamily::Linux
        && let Some(advice) = looks_like(text.as_bytes()).advice()
    {
        diags.warning(
            Some(at.clone()),
            "User data that cloud-init will ignore",
            format!("{advice}."),
        );
    }
    let Some(guest) = &vm.guest else { return };
    if let Err(error) = combinable(family, text) {
        diags.error(Some(at), "User data that cannot be combined", format!("{error}."));
        return;
    }
    for (key, attribute) in overruled(guest, family, text) {
        let detail = format!(
            "{leaf} has the key {key} too, and cloud-init takes that one whole: what guest.{attribute} says will have no \
             effect. Say it in one of the two places."
        );
        let at = Path::attribute("guest").then_attribute(attribute);
        diags.warning(Some(at), "Overruled by user data", detail);
    }
}

/// The plan's values, with the write-only ones of the configuration.
fn written(plan: &Plan) -> tfplugin::value::Value {
    let mut value = plan.planned.clone();
    let secret = plan.config.field("cloud_init").field("user_data_wo");
    if !secret.is_null() {
        let at = Path::attribute("cloud_init").then_attribute("user_data_wo");
        value.set(&at, secret.clone());
    }
    value
}
