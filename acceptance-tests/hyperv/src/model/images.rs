//! Msvm_ImageManagementService: disks are made, measured, enlarged, converted and merged, as real files.

use std::process::{Child, Command, Stdio};

use crate::cim::{Instance, Path, Value};
use crate::contract::{Parameters, WmiFault};

use super::codes::{
    FAILED, FILE_NOT_FOUND, Failure, IN_USE, INVALID_PARAMETER, Input, NOT_SUPPORTED, Stop, answer, fail,
    fault, stop,
};
use super::disks::{self, Facts, Format, Kind, NoDisk, Wanted};
use super::jobs::{self, Mode, Plan};
use super::paths::key;
use super::row::Row;
use super::setup::DiskReads;
use super::state::State;
use super::store::{number, text};
use super::time::stamp;

/// The class of what a disk is to be.
const SETTING: &str = "Msvm_VirtualHardDiskSettingData";
/// The largest VHDX.
const LARGEST: u64 = 64 << 40;

/// What was asked of a new disk.
#[derive(Clone)]
struct Request {
    path: String,
    format: Format,
    kind: Kind,
    size: u64,
    block: Option<u32>,
    parent: String,
}

/// Reads what was asked. `sized` where the call says the size.
fn request(sent: &Instance, sized: bool) -> Result<Request, Stop> {
    let refuse = |why: &str| stop(INVALID_PARAMETER, format!("a virtual hard disk: {why}"));
    let kind = match number(sent, "Type") {
        2 => Kind::Fixed,
        3 => Kind::Dynamic,
        4 => Kind::Differencing,
        _ => return refuse("Type is 2, 3 or 4"),
    };
    let format = match number(sent, "Format") {
        2 => Format::Vhd,
        3 => Format::Vhdx,
        4 => return stop(NOT_SUPPORTED, "this host makes no sets of disks"),
        _ => return refuse("Format is 2 or 3"),
    };
    let path = text(sent, "Path").to_owned();
    let ending = path.rsplit('.').next().unwrap_or_default().to_lowercase();
    let fits = if format == Format::Vhd {
        ending == "vhd"
    } else {
        ending == "vhdx" || ending == "avhdx"
    };
    if !fits {
        return refuse("Path does not end as its format does");
    }
    let parent = text(sent, "ParentPath").to_owned();
    if parent.is_empty() == (kind == Kind::Differencing) {
        return refuse("ParentPath belongs to a disk upon another");
    }
    let said = sent.get("MaxInternalSize").as_unsigned();
    let size = said.unwrap_or(0);
    let wanted = sized && kind != Kind::Differencing;
    if (wanted && !(3 << 20..=LARGEST).contains(&size)) || (kind == Kind::Differencing && said.is_some()) {
        return refuse("MaxInternalSize");
    }
    if !size.is_multiple_of(512) {
        return refuse("MaxInternalSize is a number of sectors");
    }
    for name in ["LogicalSectorSize", "PhysicalSectorSize"] {
        if !matches!(sent.get(name).as_unsigned(), None | Some(512 | 4096)) {
            return refuse("a sector has 512 or 4096 bytes");
        }
    }
    if number(sent, "LogicalSectorSize") == 4096 {
        return stop(
            NOT_SUPPORTED,
            "this host makes no disks with sectors of 4096 bytes",
        );
    }
    let block = match sent.get("BlockSize").as_unsigned() {
        None => None,
        Some(block) if block.is_power_of_two() && (1 << 20..=256 << 20).contains(&block) => {
            u32::try_from(block).ok()
        }
        Some(_) => return refuse("BlockSize"),
    };
    Ok(Request {
        path,
        format,
        kind,
        size,
        block,
        parent,
    })
}

fn storage(
    state: &State,
    method: &'static str,
    work: impl FnOnce(&mut State) -> Result<(), Failure> + Send + 'static,
) -> Plan {
    let mut plan = Plan::of(state, method, None, work);
    plan.kind = jobs::Kind::Storage;
    plan
}

/// An error of a disk as a job tells it.
fn broken(path: &str) -> impl Fn(NoDisk) -> Failure + '_ {
    move |error| Failure {
        code: match &error {
            NoDisk::Io(error) if error.kind() == std::io::ErrorKind::NotFound => FILE_NOT_FOUND,
            NoDisk::Beyond(_) => NOT_SUPPORTED,
            _ => FAILED,
        },
        text: format!("'{path}': {error}"),
    }
}

/// Whether a new file may come to be there: its folder is, and it is not.
fn place(state: &State, path: &str) -> Result<std::path::PathBuf, Failure> {
    let Some(real) = state.real(path) else {
        return fail(
            FILE_NOT_FOUND,
            format!("'{path}': the system cannot find the path specified (0x80070003)"),
        );
    };
    if !real.parent().is_some_and(std::path::Path::is_dir) {
        return fail(
            FILE_NOT_FOUND,
            format!("'{path}': the system cannot find the path specified (0x80070003)"),
        );
    }
    if real.exists() {
        return fail(FAILED, format!("'{path}': the file exists (0x80070050)"));
    }
    Ok(real)
}

/// A disk that is there.
fn existing(state: &State, path: &str) -> Result<(std::path::PathBuf, Facts), Failure> {
    let Some(real) = state.real(path).filter(|real| real.is_file()) else {
        return fail(
            FILE_NOT_FOUND,
            format!("'{path}': the system cannot find the file specified (0x80070002)"),
        );
    };
    let facts = disks::read(&real).map_err(broken(path))?;
    Ok((real, facts))
}

/// CreateVirtualHardDisk.
pub(crate) fn create(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let wanted = request(input.instance("VirtualDiskSettingData", SETTING)?, true)?;
    let plan = storage(state, "CreateVirtualHardDisk", move |state| {
        let real = place(state, &wanted.path)?;
        if wanted.kind == Kind::Differencing {
            return child(state, &wanted.path, &wanted.parent, wanted.block);
        }
        let Request {
            format,
            kind,
            size,
            block,
            ..
        } = wanted;
        disks::make(
            &state.setup.qemu_img,
            &real,
            &Wanted {
                format,
                kind,
                size,
                block,
            },
        )
        .map_err(broken(&wanted.path))
    });
    state.begin(plan)
}

/// Makes a disk upon another. The only place that does.
pub(crate) fn child(state: &State, path: &str, parent: &str, block: Option<u32>) -> Result<(), Failure> {
    let real = place(state, path)?;
    let (parent_real, _) = existing(state, parent)?;
    let written_to = state
        .machines
        .values()
        .filter(|machine| machine.is_on())
        .any(|machine| {
            let disks = state.disks_of(&format!("Microsoft:{}", machine.id));
            disks.iter().any(|disk| disk.eq_ignore_ascii_case(parent))
        });
    // The service's own checkpoints of a running machine end in `.avhdx`: there the machine moves to the new file.
    if written_to && !path.to_lowercase().ends_with(".avhdx") {
        return fail(
            IN_USE,
            format!("'{parent}': the process cannot access the file (0x80070020)"),
        );
    }
    state.parents.forget();
    disks::make_child(&state.setup.qemu_img, &real, &parent_real, parent, block).map_err(broken(path))
}

/// ResizeVirtualHardDisk.
pub(crate) fn resize(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let path = input.text("Path")?.to_owned();
    let size = input.number("MaxInternalSize")?;
    if size == 0 || !size.is_multiple_of(512) || size > LARGEST {
        return stop(INVALID_PARAMETER, format!("{size} bytes"));
    }
    let plan = storage(state, "ResizeVirtualHardDisk", move |state| {
        let (real, facts) = existing(state, &path)?;
        if path.to_lowercase().ends_with(".avhdx") {
            return fail(INVALID_PARAMETER, format!("'{path}' belongs to a checkpoint"));
        }
        let child = facts.kind == Kind::Differencing;
        if child && state.setup.child_growth == super::setup::Growth::Refused {
            return fail(INVALID_PARAMETER, format!("'{path}' is a disk upon another"));
        }
        if state.has_children(&path) {
            return fail(
                INVALID_PARAMETER,
                format!("'{path}' is what other disks are made upon"),
            );
        }
        let users = state.open_as_leaf(&path);
        let scsi = users.iter().all(|on_ide| !on_ide);
        if state.is_open(&path) && (users.is_empty() || !scsi || facts.format == Format::Vhd) {
            return fail(
                IN_USE,
                format!("'{path}': the process cannot access the file (0x80070020)"),
            );
        }
        if size < facts.size {
            let least = disks::least_size(&real).map_err(broken(&path))?;
            if facts.format == Format::Vhd || size < least {
                return fail(
                    INVALID_PARAMETER,
                    format!("'{path}' cannot become smaller than {least}"),
                );
            }
        }
        disks::resize(&real, size).map_err(broken(&path))
    });
    state.begin(plan)
}

/// ConvertVirtualHardDisk: a copy of another type or format, with all of its chain in it.
pub(crate) fn convert(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let source = input.text("SourcePath")?.to_owned();
    let wanted = request(input.instance("VirtualDiskSettingData", SETTING)?, false)?;
    if wanted.kind == Kind::Differencing {
        return stop(NOT_SUPPORTED, "this host copies to no disk upon another");
    }
    let begun = begin_copy(state, &source, &wanted);
    let (process, outcome) = match begun {
        Ok((process, size)) => (Some(process), Ok(size)),
        Err(failure) => (None, Err(failure)),
    };
    let mut plan = storage(state, "ConvertVirtualHardDisk", move |state| {
        let size = outcome?;
        let (real, facts) = existing(state, &wanted.path)?;
        if facts.size != size {
            disks::resize(&real, size).map_err(broken(&wanted.path))?;
        }
        Ok(())
    });
    plan.process = process;
    plan.mode = Mode::Job;
    state.begin(plan)
}

/// Starts the copy; and how large the disk is to be.
fn begin_copy(state: &State, source: &str, wanted: &Request) -> Result<(Child, u64), Failure> {
    let target = place(state, &wanted.path)?;
    let (_, facts) = existing(state, source)?;
    if state.machines.values().any(|machine| {
        let disks = state.disks_of(&format!("Microsoft:{}", machine.id));
        machine.is_on() && disks.iter().any(|disk| disk.eq_ignore_ascii_case(source))
    }) {
        return fail(
            IN_USE,
            format!("'{source}': the process cannot access the file (0x80070020)"),
        );
    }
    let mut from = source.to_owned();
    for file in state.chain(source) {
        let (real, facts) = existing(state, &file)?;
        from.clone_from(&file);
        if facts.kind != Kind::Differencing {
            break;
        }
        if disks::holds_data(&real).map_err(broken(&file))? {
            return fail(
                NOT_SUPPORTED,
                format!("'{file}' holds data upon another disk, which this host cannot flatten"),
            );
        }
    }
    let (real, base) = existing(state, &from)?;
    let format = |format| if format == Format::Vhd { "vpc" } else { "vhdx" };
    let new = Wanted {
        format: wanted.format,
        kind: wanted.kind,
        size: facts.size,
        block: wanted.block,
    };
    let process = Command::new(&state.setup.qemu_img)
        .args(["convert", "-q", "-f", format(base.format), "-O"])
        .args(new.options())
        .arg(real)
        .arg(target)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match process {
        Ok(process) => Ok((process, facts.size)),
        Err(error) => fail(FAILED, format!("qemu-img: {error}")),
    }
}

/// GetVirtualHardDiskSettingData and GetVirtualHardDiskState.
pub(crate) fn look(state: &mut State, input: &Input<'_>, of_state: bool) -> Result<Parameters, Stop> {
    let path = input.text("Path")?.to_owned();
    let method = if of_state {
        "GetVirtualHardDiskState"
    } else {
        "GetVirtualHardDiskSettingData"
    };
    let question = format!("{method} {}", path.to_uppercase());
    if state.setup.disk_reads == DiskReads::AfterJob && state.asked_disks.insert(question) {
        let mut plan = storage(state, method, move |state| existing(state, &path).map(drop));
        plan.mode = Mode::Job;
        return state.begin(plan);
    }
    let (real, facts) = match existing(state, &path) {
        Ok(found) => found,
        Err(failure) => return stop(failure.code, failure.text),
    };
    let mut output = answer(0);
    let (name, row) = if of_state {
        let file = std::fs::metadata(&real).map_or(0, |meta| meta.len());
        let least = disks::least_size(&real).unwrap_or(facts.size);
        let row = Row::of("Msvm_VirtualHardDiskState")
            .number("FileSize", file)
            .flag("InUse", state.is_open(&path))
            .number("MinInternalSize", least)
            .number("FragmentationPercentage", 0)
            .number("Alignment", 1)
            .number("PhysicalSectorSize", u64::from(facts.physical))
            .text("Timestamp", stamp(state.now));
        ("State", row)
    } else {
        ("SettingData", setting(&path, &facts))
    };
    output.insert(name.to_owned(), Value::Instance(Box::new(row.done())));
    Ok(output)
}

fn setting(path: &str, facts: &Facts) -> Row {
    let row = Row::of(SETTING)
        .text("Path", path)
        .number(
            "Type",
            match facts.kind {
                Kind::Fixed => 2,
                Kind::Dynamic => 3,
                Kind::Differencing => 4,
            },
        )
        .number("Format", if facts.format == Format::Vhd { 2 } else { 3 })
        .number("MaxInternalSize", facts.size)
        .number(
            "BlockSize",
            if facts.kind == Kind::Fixed {
                0
            } else {
                u64::from(facts.block)
            },
        )
        .number("LogicalSectorSize", u64::from(facts.logical))
        .number("PhysicalSectorSize", u64::from(facts.physical))
        .text("VirtualDiskId", &facts.id);
    match &facts.parent {
        Some(parent) => row.text("ParentPath", parent),
        None => row,
    }
}

/// MergeVirtualHardDisk: a child into what it is made upon.
pub(crate) fn merge(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let source = input.text("SourcePath")?.to_owned();
    let target = input.text("DestinationPath")?.to_owned();
    let plan = storage(state, "MergeVirtualHardDisk", move |state| {
        let chain = state.chain(&source);
        let within = chain
            .iter()
            .skip(1)
            .any(|file| file.eq_ignore_ascii_case(&target));
        if !within {
            return fail(
                INVALID_PARAMETER,
                format!("'{source}' is not made upon '{target}'"),
            );
        }
        if state.is_open(&source) || state.is_open(&target) {
            return fail(
                IN_USE,
                format!("'{source}': the process cannot access the file (0x80070020)"),
            );
        }
        for file in chain
            .iter()
            .take_while(|file| !file.eq_ignore_ascii_case(&target))
        {
            absorb(state, file)?;
        }
        Ok(())
    });
    state.begin(plan)
}

/// Lets a disk go up in what it is made upon: its file is gone afterwards.
pub(crate) fn absorb(state: &State, file: &str) -> Result<(), Failure> {
    let (real, facts) = existing(state, file)?;
    let Some(parent) = facts.parent else {
        return fail(INVALID_PARAMETER, format!("'{file}' is not made upon another"));
    };
    let (below, base) = existing(state, &parent)?;
    if disks::holds_data(&real).map_err(broken(file))? {
        return fail(
            NOT_SUPPORTED,
            format!("'{file}' holds data, which this host cannot merge"),
        );
    }
    if facts.size > base.size {
        disks::resize(&below, facts.size).map_err(broken(&parent))?;
    }
    match std::fs::remove_file(&real) {
        Ok(()) => Ok(()),
        Err(error) => fail(FAILED, format!("'{file}': {error}")),
    }
}

/// SetParentVirtualHardDisk.
pub(crate) fn set_parent(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let child = input.text("ChildPath")?.to_owned();
    let parent = input.text("ParentPath")?.to_owned();
    let ignore = input.get("IgnoreIDMismatch").as_boolean() == Some(true);
    let plan = storage(state, "SetParentVirtualHardDisk", move |state| {
        let (real, facts) = existing(state, &child)?;
        let (below, base) = existing(state, &parent)?;
        if facts.kind != Kind::Differencing || (!ignore && base.size != facts.size) {
            return fail(
                INVALID_PARAMETER,
                format!("'{parent}' is no parent for '{child}'"),
            );
        }
        if state.is_open(&child) {
            return fail(
                IN_USE,
                format!("'{child}': the process cannot access the file (0x80070020)"),
            );
        }
        state.parents.forget();
        disks::rebase(&real, &below, &parent).map_err(broken(&child))
    });
    state.begin(plan)
}

/// ValidateVirtualHardDisk and CompactVirtualHardDisk: the disk, and all that it is made upon, is there.
pub(crate) fn validate(state: &mut State, input: &Input<'_>, compact: bool) -> Result<Parameters, Stop> {
    let path = input.text("Path")?.to_owned();
    let method = if compact {
        "CompactVirtualHardDisk"
    } else {
        "ValidateVirtualHardDisk"
    };
    let plan = storage(state, method, move |state| {
        for file in state.chain(&path) {
            existing(state, &file)?;
        }
        if compact && state.is_open(&path) {
            return fail(
                IN_USE,
                format!("'{path}': the process cannot access the file (0x80070020)"),
            );
        }
        Ok(())
    });
    state.begin(plan)
}

/// AttachVirtualHardDisk: the host itself opens a disk.
pub(crate) fn attach(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let path = input.text("Path")?.to_owned();
    let plan = storage(state, "AttachVirtualHardDisk", move |state| {
        existing(state, &path)?;
        if state.is_open(&path) {
            return fail(
                IN_USE,
                format!("'{path}': the process cannot access the file (0x80070020)"),
            );
        }
        state.mounted.insert(path);
        Ok(())
    });
    state.begin(plan)
}

/// Msvm_MountedStorageImage.DetachVirtualHardDisk.
pub(crate) fn detach(state: &mut State, object: &Path) -> Result<Parameters, Stop> {
    let name = key(object, "InstanceID").unwrap_or_default();
    let found = state
        .mounted
        .iter()
        .find(|path| path.eq_ignore_ascii_case(name))
        .cloned();
    match found {
        Some(path) => {
            state.mounted.remove(&path);
            Ok(answer(0))
        }
        None => fault(WmiFault::NOT_FOUND, format!("nothing is mounted as {name}")),
    }
}

impl State {
    /// The disks that the host itself has open.
    pub(crate) fn mounted_images(&self) -> Vec<Instance> {
        let numbered = self.mounted.iter().enumerate();
        numbered
            .map(|(number, path)| {
                Row::of("Msvm_MountedStorageImage")
                    .text("InstanceID", path)
                    .text("Name", path)
                    .number("Lun", u64::try_from(number).unwrap_or(0))
                    .number("PathId", 0)
                    .number("PortNumber", 2)
                    .number("TargetId", 0)
                    .number("Type", 3)
                    .done()
            })
            .collect()
    }

    /// For each machine that is on and has this disk in a drive: whether that drive is IDE.
    fn open_as_leaf(&self, path: &str) -> Vec<bool> {
        let mut found = Vec::new();
        for machine in self.machines.values().filter(|machine| machine.is_on()) {
            let owner = format!("Microsoft:{}", machine.id);
            for row in self.store.owned_of(&owner, super::add::SASD) {
                let file = super::store::first_text(row, "HostResource").unwrap_or_default();
                if file.eq_ignore_ascii_case(path) {
                    let drive = self.store.get(&self.parent_of(row));
                    found.push(drive.is_none_or(|drive| self.on_ide(drive)));
                }
            }
        }
        found
    }

    /// Whether a disk that a machine or a checkpoint has is made upon this one.
    fn has_children(&self, path: &str) -> bool {
        let owners = self
            .machines
            .values()
            .map(|machine| machine.id.as_str())
            .chain(self.snapshots.keys().map(String::as_str));
        owners
            .flat_map(|owner| self.disks_of(&format!("Microsoft:{owner}")))
            .any(|disk| {
                self.chain(&disk)
                    .iter()
                    .skip(1)
                    .any(|below| below.eq_ignore_ascii_case(path))
            })
    }
}
