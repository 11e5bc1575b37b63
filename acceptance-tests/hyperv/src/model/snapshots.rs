//! Msvm_VirtualSystemSnapshotService: checkpoints, which are a whole copy of a machine's settings and a new disk upon each of
//! its disks; they are applied, and taken away, after which their disks are merged for a while.

use crate::cim::{Instance, Value};
use crate::contract::Parameters;

use super::codes::{
    FAILED, Failure, INVALID_PARAMETER, INVALID_STATE, Input, NOT_SUPPORTED, Stop, fail, stop,
};
use super::images;
use super::jobs::Plan;
use super::machine::{Condition, Power, Services};
use super::paths;
use super::power::mark_saved;
use super::state::State;
use super::store::{self, first_text, number, text};
use super::time::{spoken, stamp};

const VSSD: &str = "Msvm_VirtualSystemSettingData";

/// A checkpoint beside its settings.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) machine: String,
    /// Whether the machine's memory is in it.
    pub(crate) memory: bool,
    /// Which of the host's checkpoints it was.
    pub(crate) number: usize,
}

/// The checkpoints of a machine, the oldest first.
pub(crate) fn of(state: &State, machine: &str) -> Vec<String> {
    let mut found: Vec<(usize, String)> = state
        .snapshots
        .iter()
        .filter(|(_, snapshot)| snapshot.machine.eq_ignore_ascii_case(machine))
        .map(|(id, snapshot)| (snapshot.number, id.clone()))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, id)| id).collect()
}

/// A row of one owner as it is a row of another: its id, and the paths in it that lead to the first.
fn moved(row: &Instance, from: &str, to: &str) -> Instance {
    let (from, to) = (format!("Microsoft:{from}"), format!("Microsoft:{to}"));
    let mut copy = row.clone();
    let id = store::id(row);
    copy.set("InstanceID", Value::text(format!("{to}{}", &id[from.len()..])));
    let parent = text(row, "Parent");
    if row.class != VSSD && !parent.is_empty() {
        copy.set("Parent", Value::text(parent.replace(&from, &to)));
    }
    if let Value::Array(order) = row.get("BootSourceOrder") {
        let order = order
            .iter()
            .filter_map(Value::as_text)
            .map(|path| path.replace(&from, &to));
        copy.set("BootSourceOrder", Value::texts(order.collect::<Vec<_>>()));
    }
    copy
}

/// CreateSnapshot.
pub(crate) fn create(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let id = state.machine_at(input.reference("AffectedSystem")?)?;
    match input.get("SnapshotType").as_unsigned() {
        Some(2) => {}
        Some(32768) => return stop(NOT_SUPPORTED, "this host makes no recovery snapshots"),
        _ => return stop(INVALID_PARAMETER, "SnapshotType is 2"),
    }
    state.free(&id)?;
    if state.machine(&id).is_some_and(|machine| machine.merges > 0) {
        return stop(INVALID_STATE, "its disks are still being merged");
    }
    let kind = state.vssd(&id).map_or(0, |row| number(row, "UserSnapshotType"));
    if kind == 2 {
        return stop(NOT_SUPPORTED, "checkpoints of this machine are switched off");
    }
    let snapshot = state.setup.ids.next_guid();
    let plan = Plan::of(state, "CreateSnapshot", Some(&id), {
        let id = id.clone();
        move |state| take(state, &id, &snapshot, kind)
    });
    // Even where other methods name what will come of the job, this one does not.
    state.begin(plan)
}

fn take(state: &mut State, id: &str, snapshot: &str, kind: u64) -> Result<(), Failure> {
    let Some(machine) = state.machine(id) else {
        return fail(FAILED, "the machine has gone");
    };
    let (on, quiet) = (
        machine.is_on(),
        machine.up && machine.guest.vss == Services::Present,
    );
    let memory = match (kind, on, quiet) {
        (_, false, _) => machine.power == Power::Saved,
        (5, true, _) | (3, true, false) => true,
        (4, true, false) => {
            return fail(
                FAILED,
                "the guest cannot be made quiet for a production checkpoint",
            );
        }
        _ => false,
    };
    let owner = format!("Microsoft:{id}");
    let mut copies: Vec<Instance> = state
        .store
        .owned(&owner)
        .into_iter()
        .map(|row| moved(row, id, snapshot))
        .collect();
    let disks = upon(state, &owner)?;
    let name = state.name_of(id);
    for copy in copies.iter_mut().filter(|row| row.class == VSSD) {
        copy.set(
            "ElementName",
            Value::text(format!("{name} - {}", spoken(state.now))),
        )
        .set(
            "VirtualSystemType",
            Value::text("Microsoft:Hyper-V:Snapshot:Realized"),
        )
        .set("CreationTime", Value::text(stamp(state.now)))
        .set("IsSaved", Value::Boolean(memory));
    }
    for copy in copies {
        state.store.put(copy);
    }
    for (row, file) in disks {
        if let Some(row) = state.store.get_mut(&row) {
            row.set("HostResource", Value::texts([file]));
        }
    }
    let path = state.path_text(VSSD, &format!("Microsoft:{snapshot}"));
    if let Some(vssd) = state.store.get_mut(&owner) {
        vssd.set("Parent", path);
    }
    let number = state
        .snapshots
        .values()
        .map(|snapshot| snapshot.number + 1)
        .max()
        .unwrap_or(0);
    state.snapshots.insert(
        snapshot.to_owned(),
        Snapshot {
            machine: id.to_owned(),
            memory,
            number,
        },
    );
    state.affects(paths::setting(VSSD, &format!("Microsoft:{snapshot}")), 5);
    Ok(())
}

/// The checkpoint that a machine takes by itself when it starts, where that is switched on; one from an earlier start goes.
pub(crate) fn automatic(state: &mut State, id: &str) -> Result<(), Failure> {
    let wanted = state.vssd(id).is_some_and(|row| {
        row.get("AutomaticSnapshotsEnabled").as_boolean() == Some(true)
            && number(row, "UserSnapshotType") != 2
    });
    if !wanted {
        return Ok(());
    }
    for earlier in of(state, id) {
        let own = state.store.get(&format!("Microsoft:{earlier}"));
        if own.is_some_and(|row| row.get("IsAutomaticSnapshot").as_boolean() == Some(true)) {
            for file in forget(state, id, &earlier) {
                settle(state, id, &file)?;
            }
        }
    }
    let snapshot = state.setup.ids.next_guid();
    take(state, id, &snapshot, 3)?;
    if let Some(row) = state.store.get_mut(&format!("Microsoft:{snapshot}")) {
        row.set("IsAutomaticSnapshot", Value::Boolean(true));
    }
    Ok(())
}

/// Makes a new disk upon each disk of an owner: rows, and the files that they are to lead to.
fn upon(state: &mut State, owner: &str) -> Result<Vec<(String, String)>, Failure> {
    let rows: Vec<(String, String)> = state
        .store
        .owned_of(owner, super::add::SASD)
        .into_iter()
        .filter(|row| text(row, "ResourceSubType").ends_with("Virtual Hard Disk"))
        .filter_map(|row| {
            Some((
                store::id(row).to_owned(),
                first_text(row, "HostResource")?.to_owned(),
            ))
        })
        .collect();
    let mut made: Vec<(String, String)> = Vec::new();
    for (row, file) in rows {
        let new = format!("{}_{}.avhdx", trunk(&file), state.setup.ids.next_guid());
        if let Err(failure) = images::child(state, &new, &file, None) {
            for (_, file) in made {
                discard(state, &file);
            }
            return Err(failure);
        }
        made.push((row, new));
    }
    Ok(made)
}

/// The path of a disk without its ending, and without the GUID of a checkpoint.
fn trunk(file: &str) -> &str {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    match stem.rsplit_once('_') {
        Some((trunk, guid)) if file.to_lowercase().ends_with(".avhdx") && guid.len() == 36 => trunk,
        _ => stem,
    }
}

fn discard(state: &State, file: &str) {
    if let Some(real) = state.real(file) {
        // One that is gone already is as gone as it should be.
        let _ = std::fs::remove_file(real);
    }
}

/// The checkpoint that a reference leads to.
fn at(state: &State, path: &crate::cim::Path) -> Result<(String, String), Stop> {
    let row = state.setting_at(path)?;
    let id = paths::guid(store::id(row)).to_owned();
    match state.snapshots.get(&id) {
        Some(snapshot) => Ok((id, snapshot.machine.clone())),
        None => stop(INVALID_PARAMETER, format!("{id} is no checkpoint")),
    }
}

/// ApplySnapshot.
pub(crate) fn apply(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let (snapshot, id) = at(state, input.reference("Snapshot")?)?;
    state.free(&id)?;
    match state
        .machine(&id)
        .map(|machine| (machine.condition(), machine.merges))
    {
        Some((Condition::Off | Condition::Saved, 0)) => {}
        Some((Condition::Off | Condition::Saved, _)) => {
            return stop(INVALID_STATE, "its disks are still being merged");
        }
        _ => {
            return stop(
                INVALID_STATE,
                "a checkpoint is applied to a machine that is off or saved",
            );
        }
    }
    let plan = Plan::of(state, "ApplySnapshot", Some(&id), {
        let id = id.clone();
        move |state| go_back(state, &id, &snapshot)
    });
    state.begin(plan)
}

fn go_back(state: &mut State, id: &str, snapshot: &str) -> Result<(), Failure> {
    let Some(memory) = state.snapshots.get(snapshot).map(|snapshot| snapshot.memory) else {
        return fail(FAILED, "the checkpoint has gone");
    };
    let (owner, source) = (format!("Microsoft:{id}"), format!("Microsoft:{snapshot}"));
    let Some(now) = state.vssd(id).cloned() else {
        return fail(FAILED, "the machine has gone");
    };
    // Disks first: where one cannot be made nothing has changed.
    let disks = upon(state, &source)?;
    for leaf in state.disks_of(&owner) {
        if leaf.to_lowercase().ends_with(".avhdx") && !held(state, &leaf, id) {
            discard(state, &leaf);
        }
    }
    let mut rows: Vec<Instance> = state
        .store
        .owned(&source)
        .into_iter()
        .map(|row| moved(row, snapshot, id))
        .collect();
    for row in rows.iter_mut().filter(|row| row.class == VSSD) {
        for kept in ["ElementName", "VirtualSystemType", "CreationTime"] {
            row.set(kept, now.get(kept).clone());
        }
        row.set("Parent", state.path_text(VSSD, &source));
    }
    state.store.remove_owned(&owner);
    for row in rows {
        state.store.put(row);
    }
    for (row, file) in disks {
        let row = format!("{owner}{}", &row[source.len()..]);
        if let Some(row) = state.store.get_mut(&row) {
            row.set("HostResource", Value::texts([file]));
        }
    }
    let at = state.now;
    if let Some(machine) = state.machine_mut(id) {
        machine.power = if memory { Power::Saved } else { Power::Off };
        machine.changed = at;
        machine.up = memory;
        machine.run += 1;
    }
    mark_saved(state, id, memory);
    Ok(())
}

/// Whether a checkpoint has this disk, or one upon it.
fn held(state: &State, file: &str, machine: &str) -> bool {
    of(state, machine).iter().any(|snapshot| {
        let disks = state.disks_of(&format!("Microsoft:{snapshot}"));
        disks.iter().any(|disk| {
            state
                .chain(disk)
                .iter()
                .any(|below| below.eq_ignore_ascii_case(file))
        })
    })
}

/// DestroySnapshot and DestroySnapshotTree.
pub(crate) fn destroy(state: &mut State, input: &Input<'_>, tree: bool) -> Result<Parameters, Stop> {
    let (method, parameter) = if tree {
        ("DestroySnapshotTree", "SnapshotSettingData")
    } else {
        ("DestroySnapshot", "AffectedSnapshot")
    };
    let (snapshot, id) = at(state, input.reference(parameter)?)?;
    state.free(&id)?;
    let plan = Plan::of(state, method, Some(&id), {
        let id = id.clone();
        move |state| {
            let gone = if tree {
                below(state, &snapshot)
            } else {
                vec![snapshot]
            };
            let mut files = Vec::new();
            for snapshot in gone.iter().rev() {
                files.extend(forget(state, &id, snapshot));
            }
            if files.is_empty() {
                return Ok(());
            }
            if let Some(machine) = state.machine_mut(&id) {
                machine.merges += 1;
            }
            let after = state.setup.pace.merge;
            state.later(after, move |state| {
                for file in files {
                    if let Err(failure) = settle(state, &id, &file) {
                        state.refused.push(format!("a merge failed: {}", failure.text));
                    }
                }
                if let Some(machine) = state.machine_mut(&id) {
                    machine.merges -= 1;
                }
            });
            Ok(())
        }
    });
    state.begin(plan)
}

/// A checkpoint and all below it, parents first.
fn below(state: &State, snapshot: &str) -> Vec<String> {
    let mut found = vec![snapshot.to_owned()];
    let mut next = 0;
    while next < found.len() {
        let parent = state.path_text(VSSD, &format!("Microsoft:{}", found[next]));
        let children = state.snapshots.keys().filter(|id| {
            state
                .store
                .get(&format!("Microsoft:{id}"))
                .is_some_and(|row| *row.get("Parent") == parent)
        });
        let children: Vec<String> = children.cloned().collect();
        found.extend(children);
        next += 1;
    }
    found
}

/// Takes a checkpoint's rows away; what followed it follows what it followed. Its disks are still to be merged.
fn forget(state: &mut State, machine: &str, snapshot: &str) -> Vec<String> {
    let owner = format!("Microsoft:{snapshot}");
    let files = state.disks_of(&owner);
    let path = state.path_text(VSSD, &owner);
    let parent = state
        .store
        .get(&owner)
        .map_or(Value::Null, |row| row.get("Parent").clone());
    let followers: Vec<String> = of(state, machine)
        .into_iter()
        .chain([machine.to_owned()])
        .collect();
    for follower in followers {
        if let Some(row) = state.store.get_mut(&format!("Microsoft:{follower}"))
            && *row.get("Parent") == path
        {
            row.set("Parent", parent.clone());
        }
    }
    state.store.remove_owned(&owner);
    state.snapshots.remove(snapshot);
    files
}

/// A disk that no checkpoint has any more: what is made upon it goes up in it, if that is one; if that is none, and it is not
/// the machine's own, it goes.
fn settle(state: &mut State, machine: &str, file: &str) -> Result<(), Failure> {
    let owners: Vec<String> = of(state, machine)
        .into_iter()
        .chain([machine.to_owned()])
        .collect();
    let leaves: Vec<String> = owners
        .iter()
        .flat_map(|owner| state.disks_of(&format!("Microsoft:{owner}")))
        .collect();
    if leaves.iter().any(|leaf| leaf.eq_ignore_ascii_case(file)) {
        return Ok(());
    }
    let mut children: Vec<String> = Vec::new();
    let mut grandchildren: Vec<(String, String)> = Vec::new();
    for leaf in &leaves {
        let chain = state.chain(leaf);
        for pair in chain.windows(2).filter(|pair| pair[1].eq_ignore_ascii_case(file)) {
            if !children.iter().any(|child| child.eq_ignore_ascii_case(&pair[0])) {
                children.push(pair[0].clone());
            }
        }
        for three in chain
            .windows(3)
            .filter(|three| three[2].eq_ignore_ascii_case(file))
        {
            grandchildren.push((three[0].clone(), three[1].clone()));
        }
    }
    let [child] = children.as_slice() else {
        if children.is_empty() && file.to_lowercase().ends_with(".avhdx") {
            discard(state, file);
        }
        return Ok(());
    };
    images::absorb(state, child)?;
    state.parents.forget();
    for (grandchild, _) in grandchildren {
        if let (Some(above), Some(real)) = (state.real(&grandchild), state.real(file))
            && let Err(error) = super::disks::rebase(&above, &real, file)
        {
            return fail(FAILED, error.to_string());
        }
    }
    for owner in owners {
        point(state, &format!("Microsoft:{owner}"), child, file);
    }
    Ok(())
}

/// Lets rows of an owner lead to another file.
fn point(state: &mut State, owner: &str, from: &str, to: &str) {
    let rows: Vec<String> = state
        .store
        .owned_of(owner, super::add::SASD)
        .into_iter()
        .filter(|row| first_text(row, "HostResource").is_some_and(|there| there.eq_ignore_ascii_case(from)))
        .map(|row| store::id(row).to_owned())
        .collect();
    for row in rows {
        if let Some(row) = state.store.get_mut(&row) {
            row.set("HostResource", Value::texts([to]));
        }
    }
}

/// All checkpoints of a machine go up in its disks, before the machine goes.
pub(crate) fn flatten(state: &mut State, machine: &str) -> Result<(), Failure> {
    for snapshot in of(state, machine).into_iter().rev() {
        for file in forget(state, machine, &snapshot) {
            settle(state, machine, &file)?;
        }
    }
    Ok(())
}
