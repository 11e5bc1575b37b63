//! Import: a machine as it is on the host becomes a state, with what its mark tells of the user's wishes.

use labyard_driver::ids::HostName;
use labyard_driver::mark::Mark;
use labyard_reconciler::desired::Wishes;
use labyard_reconciler::seed::Contents;
use labyard_reconciler::view::{MachineView, presentable};
use labyard_schema::vm::{CloudInit, Vm};
use tfplugin::Diagnostics;

use super::state::{asked_by_cloud_init, first_ip, refreshed};
use crate::provider::Context;

/// An import id: `host/name` or `host/UUID`; where one host is configured its name may be left out.
pub fn parse_id(id: &str, context: &Context, diags: &mut Diagnostics) -> Option<(HostName, String)> {
    let hosts = context.engine.hosts();
    match (id.split_once('/'), hosts.as_slice()) {
        (Some((host, name)), _) if !host.is_empty() && !name.is_empty() => {
            Some((host.into(), name.to_owned()))
        }
        (None, [only]) if !id.is_empty() => Some((only.clone(), id.to_owned())),
        _ => {
            let known = hosts
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ");
            let detail =
                format!("{id:?} is no import id: write HOST/NAME or HOST/UUID, the host one of {known}.");
            diags.error(None, "Invalid import id", detail);
            None
        }
    }
}

/// A machine of a pool has its master: a state that had it too would take it away from whoever has claimed it.
pub fn refuse_a_pools(id: &str, mark: Option<&Mark>, diags: &mut Diagnostics) {
    let Some(member) = mark.and_then(|mark| mark.member.as_ref()) else {
        return;
    };
    let detail = format!(
        "{id} is machine {} of pool {}, which makes its machines and takes them away. To have one like it as a machine of its \
         own, capture it (`labyard vm capture`) and make a labyard_vm of that image.",
        member.number, member.pool
    );
    diags.error(None, "Machine not imported", detail);
}

/// The state of an imported machine. A foreign one shows `owned = false` until an apply marks it.
pub fn imported(host: &HostName, view: &MachineView, seed: Option<Contents>) -> Vm {
    let wishes = &view.wishes;
    let blank = Vm {
        name: view.name.to_string(),
        host: Some(host.to_string()),
        allow_restart: wishes.allow_restart,
        ready: wishes.ready.clone(),
        shutdown: wishes.shutdown.clone(),
        timeouts: wishes.timeouts.clone(),
        cpu: wishes.cpu.clone(),
        ..Vm::default()
    };
    // Disks and NICs have a say in what a seed is: it is judged when they are there.
    let machine = Vm {
        cloud_init: asked_by_cloud_init(wishes).then(|| cloud_init(wishes, seed)),
        guest: wishes.guest.clone(),
        ..refreshed(&blank, view)
    };
    let mut state = refreshed(&machine, view);
    let first = view.nics.values().next();
    let seen = first.map(|nic| presentable(&nic.addresses)).unwrap_or_default();
    state.ip = first_ip(&seen, view.first_reserved());
    state
}

/// What was written of the seed; a secret stays out of the state.
fn cloud_init(wishes: &Wishes, seed: Option<Contents>) -> CloudInit {
    let seed = seed.unwrap_or_default();
    CloudInit {
        user_data: seed.user_data.filter(|_| wishes.user_data_written),
        network_config: seed.network_config,
        meta_data: seed.meta_data,
        user_data_wo: None,
        user_data_wo_version: wishes.seed.as_ref().and_then(|version| version.secret),
    }
}

/// Reads back the seed of a machine of ours.
pub async fn read_seed(
    context: &Context,
    host: &HostName,
    mark: Option<&Mark>,
    diags: &mut Diagnostics,
) -> Option<Contents> {
    match context.engine.read_seed(host, mark?).await {
        Ok(seed) => seed,
        Err(error) => {
            crate::errors::report(&error, "Seed cannot be read back", diags);
            None
        }
    }
}
