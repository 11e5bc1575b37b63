//! Drives as directories: `D:\labyard\x.vhdx` is a file of the test, which others may serve as well. Names have no case, as on
//! Windows. And CIM_DataFile on them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path as Real, PathBuf};
use std::time::SystemTime;

use crate::cim::{Instance, Path, Value};
use crate::contract::{Parameters, WmiFault};

use super::codes::{FAILED, FILE_NOT_FOUND, Failure, IN_USE, Stop, answer, fail, fault};
use super::disks;
use super::paths::{CIMV2, key};
use super::row::Row;
use super::setup::{Moment, Rights};
use super::state::State;
use super::store::{self, first_text, text};

/// What disks are made upon, kept for as long as their files stay the same: a host with hundreds of machines is asked for it
/// over and over.
#[derive(Debug, Default)]
pub(crate) struct Parents(RefCell<HashMap<PathBuf, Known>>);

#[derive(Debug)]
struct Known {
    inode: u64,
    length: u64,
    changed: Option<SystemTime>,
    parent: Option<String>,
}

impl Parents {
    /// What a disk is made upon, if it is made upon another.
    fn of(&self, real: &Real) -> Option<String> {
        let meta = fs::metadata(real).ok()?;
        let (inode, length, changed) = (meta.ino(), meta.len(), meta.modified().ok());
        let mut known = self.0.borrow_mut();
        if let Some(known) = known.get(real)
            && (known.inode, known.length, known.changed) == (inode, length, changed)
        {
            return known.parent.clone();
        }
        let parent = disks::read(real).ok().and_then(|facts| facts.parent);
        known.insert(
            real.to_owned(),
            Known {
                inode,
                length,
                changed,
                parent: parent.clone(),
            },
        );
        parent
    }

    /// The host has changed files itself: two changes within one tick of their clock look like one.
    pub(crate) fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}

/// CIM_DataFile.Delete: access denied.
const DENIED: u32 = 2;
/// CIM_DataFile.Delete: somebody has it open.
const SHARING: u32 = 15;

impl State {
    /// The file that a path of Windows stands for; what does not exist yet has the name that it was given. None where the drive
    /// is not there, or the path is none.
    pub(crate) fn real(&self, windows: &str) -> Option<PathBuf> {
        let straight = windows.replace('/', "\\");
        let (letter, rest) = match straight.strip_prefix(r"\\") {
            Some(share) => {
                let mut parts = share.splitn(3, '\\');
                let host = parts.next()?;
                let drive = parts.next()?.strip_suffix('$')?;
                if !host.eq_ignore_ascii_case(self.computer()) || drive.len() != 1 {
                    return None;
                }
                (drive.chars().next()?, parts.next().unwrap_or_default().to_owned())
            }
            None => {
                let (drive, rest) = straight.split_once(":\\")?;
                if drive.len() != 1 {
                    return None;
                }
                (drive.chars().next()?, rest.to_owned())
            }
        };
        let drives = &self.setup.drives;
        let (_, root) = drives
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(&letter))?;
        let mut at = root.clone();
        for part in rest.split('\\').filter(|part| !part.is_empty()) {
            if part == ".." || part == "." || part.contains(['<', '>', ':', '"', '|', '?', '*']) {
                return None;
            }
            at = step(&at, part);
        }
        Some(at)
    }

    /// Whether there is such a file.
    pub(crate) fn is_file(&self, windows: &str) -> bool {
        self.real(windows).is_some_and(|real| real.is_file())
    }

    /// Makes a folder, and those above it.
    pub(crate) fn make_folder(&self, windows: &str) -> io::Result<()> {
        let real = self.real(windows).ok_or(io::ErrorKind::NotFound)?;
        fs::create_dir_all(real)
    }

    /// Writes a small file.
    pub(crate) fn write_file(&self, windows: &str, content: &[u8]) -> io::Result<()> {
        let real = self.real(windows).ok_or(io::ErrorKind::NotFound)?;
        fs::write(real, content)
    }

    /// A disk and what it is made upon, as far as the files tell.
    pub(crate) fn chain(&self, windows: &str) -> Vec<String> {
        let mut found = vec![windows.to_owned()];
        // A chain of real disks is short; files that lead to each other would go round forever.
        while found.len() < 64 {
            let real = found.last().and_then(|last| self.real(last));
            match real.and_then(|real| self.parents.of(&real)) {
                Some(parent) if !found.iter().any(|there| there.eq_ignore_ascii_case(&parent)) => {
                    found.push(parent);
                }
                _ => break,
            }
        }
        found
    }

    /// The disks that a machine has in its drives.
    pub(crate) fn disks_of(&self, owner: &str) -> Vec<String> {
        self.store
            .owned_of(owner, "Msvm_StorageAllocationSettingData")
            .into_iter()
            .filter(|row| text(row, "ResourceSubType").ends_with("Virtual Hard Disk"))
            .filter_map(|row| first_text(row, "HostResource").map(str::to_owned))
            .collect()
    }

    /// What is open: each disk of a machine that is on, with what it is made upon, and what is mounted.
    fn open_chains(&self, but: Option<&str>) -> Vec<Vec<String>> {
        let disks = self
            .store
            .each_of("Msvm_StorageAllocationSettingData")
            .filter(|row| {
                let machine = self
                    .owner_machine(store::id(row))
                    .filter(|machine| machine.is_on());
                text(row, "ResourceSubType").ends_with("Virtual Hard Disk")
                    && machine
                        .is_some_and(|machine| but.is_none_or(|but| !but.eq_ignore_ascii_case(&machine.id)))
            });
        disks
            .filter_map(|row| first_text(row, "HostResource"))
            .chain(self.mounted.iter().map(String::as_str))
            .map(|disk| self.chain(disk))
            .collect()
    }

    /// Whether a disk cannot be opened to be written, because of any machine but this one.
    pub(crate) fn opened_by_other(&self, disk: &str, machine: &str) -> bool {
        let own = self.chain(disk);
        self.open_chains(Some(machine)).iter().any(|open| {
            open.iter().any(|file| file.eq_ignore_ascii_case(disk))
                || own
                    .iter()
                    .any(|file| open.first().is_some_and(|leaf| leaf.eq_ignore_ascii_case(file)))
        })
    }

    /// Files stay open for a while after they were needed.
    pub(crate) fn hold(&mut self, files: Vec<String>) {
        let hold = u64::try_from(self.setup.pace.hold.as_millis()).unwrap_or(u64::MAX);
        let (now, until) = (self.now, Moment(self.now.0.saturating_add(hold)));
        self.held.retain(|(_, until)| *until > now);
        self.held.extend(files.into_iter().map(|file| (file, until)));
    }

    /// Whether a file is still open from before.
    fn is_held(&self, file: &str) -> bool {
        let held = self.held.iter().filter(|(_, until)| *until > self.now);
        held.into_iter()
            .any(|(there, _)| there.eq_ignore_ascii_case(file))
    }

    /// Whether any machine that is on has this file open.
    pub(crate) fn is_open(&self, file: &str) -> bool {
        let named = self.is_held(file)
            || self
                .store
                .each_of("Msvm_StorageAllocationSettingData")
                .filter(|row| {
                    first_text(row, "HostResource").is_some_and(|open| open.eq_ignore_ascii_case(file))
                })
                .any(|row| {
                    self.owner_machine(store::id(row))
                        .is_some_and(super::machine::Machine::is_on)
                });
        // What is in a drive is told by its name; only for what others are made upon are files read.
        named
            || self
                .open_chains(None)
                .into_iter()
                .flatten()
                .any(|open| open.eq_ignore_ascii_case(file))
    }

    /// Whether something can be put into a drive: it is there, it is what it is said to be, nobody else writes to it.
    pub(crate) fn check_medium(&self, row: &Instance, machine: &str) -> Result<(), Failure> {
        let file = first_text(row, "HostResource").unwrap_or_default();
        let Some(real) = self.real(file).filter(|real| real.is_file()) else {
            return fail(
                FILE_NOT_FOUND,
                format!("'{file}': the system cannot find the file specified (0x80070002)"),
            );
        };
        if !text(row, "ResourceSubType").ends_with("Virtual Hard Disk") {
            return Ok(());
        }
        if let Err(error) = disks::read(&real) {
            return fail(FAILED, format!("'{file}' is corrupted: {error} (0xC03A0014)"));
        }
        for below in self.chain(file).into_iter().skip(1) {
            if !self.is_file(&below) {
                return fail(
                    FILE_NOT_FOUND,
                    format!("'{below}', the parent of '{file}', is missing (0x80070002)"),
                );
            }
        }
        let on = self.machine(machine).is_some_and(super::machine::Machine::is_on);
        let own = self.store.owned_of(
            &format!("Microsoft:{machine}"),
            "Msvm_StorageAllocationSettingData",
        );
        let twice = own.iter().any(|other| {
            store::id(other) != store::id(row)
                && first_text(other, "HostResource").is_some_and(|there| there.eq_ignore_ascii_case(file))
        });
        if on && (twice || self.opened_by_other(file, machine)) {
            return fail(
                IN_USE,
                format!("'{file}': the process cannot access the file (0x80070020)"),
            );
        }
        Ok(())
    }

    /// The rows of CIM_DataFile: every file of the drives, in small letters as WMI has them.
    pub(crate) fn data_files(&self) -> Vec<Instance> {
        let mut rows = Vec::new();
        for (letter, root) in &self.setup.drives {
            walk(root, &format!("{}:\\", letter.to_ascii_lowercase()), &mut rows);
        }
        rows
    }

    /// CIM_DataFile.Delete.
    pub(crate) fn delete_data_file(&self, object: &Path) -> Result<Parameters, Stop> {
        let name = key(object, "Name").unwrap_or_default();
        let Some(real) = self
            .real(name)
            .filter(|real| real.is_file() && !name.starts_with(r"\\"))
        else {
            return fault(
                WmiFault::NOT_FOUND,
                format!("no file {name:?} on a drive of this computer"),
            );
        };
        if self.rights != Rights::Administrator {
            return fault(WmiFault::ACCESS_DENIED, "files need an administrator");
        }
        if self.is_open(name) {
            return Ok(answer(SHARING));
        }
        let locked = fs::metadata(&real).is_ok_and(|meta| meta.permissions().readonly());
        if locked || fs::remove_file(&real).is_err() {
            return Ok(answer(DENIED));
        }
        Ok(answer(0))
    }
}

/// One step down: the entry of this name, whatever its case, or what it would be.
fn step(at: &Real, part: &str) -> PathBuf {
    let exact = at.join(part);
    if exact.exists() {
        return exact;
    }
    let same =
        |entry: &fs::DirEntry| entry.file_name().to_string_lossy().to_lowercase() == part.to_lowercase();
    let entries = fs::read_dir(at).ok();
    entries
        .and_then(|entries| entries.flatten().find(same))
        .map_or(exact, |entry| entry.path())
}

fn walk(at: &Real, windows: &str, rows: &mut Vec<Instance>) {
    let Ok(entries) = fs::read_dir(at) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().to_lowercase();
        let Ok(meta) = entry.metadata() else {
            continue;
        };
        if meta.is_dir() {
            walk(&entry.path(), &format!("{windows}{name}\\"), rows);
            continue;
        }
        let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, ""));
        rows.push(
            Row::elsewhere(CIMV2, "CIM_DataFile")
                .text("Name", format!("{windows}{name}"))
                .text("Drive", &windows[..2])
                .text("Path", &windows[2..])
                .text("FileName", stem)
                .text("Extension", extension)
                .number("FileSize", meta.len())
                .flag("Writeable", !meta.permissions().readonly())
                .flag("Readable", true)
                .text("CreationClassName", "CIM_LogicalFile")
                .value("Manufacturer", Value::Null)
                .done(),
        );
    }
}
