//! The doing: the files of a system, running or below a directory, and its programs.
//!
//! Files of the system are written aside and renamed, so that none is ever half there. Files of users are reached from
//! their home without following links: who owns a directory could put one there that leads to a file of root's.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};

use super::act::{Act, File, Need, Program, Reach};
use super::facts::{Account, users};
use super::users::authorized_keys;
use crate::perform::{ProgramFailed, perform};

/// How long a program may take. Bringing a network up is the slowest.
const LIMIT: Duration = Duration::from_secs(120);
/// Where programs are looked for.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// The most that is read of a file.
const MOST: u64 = 4 * 1024 * 1024;

/// A system.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActFailed {
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Which, seen from the guest.
        path: String,
        /// How.
        error: io::Error,
    },
    /// A link where a file should be.
    #[error("{0} is a link, and is not followed: it could lead anywhere")]
    Link(String),
    /// A user that is not there.
    #[error("there is no user {0:?}")]
    NoUser(String),
    /// A program.
    #[error(transparent)]
    Program(#[from] ProgramFailed),
}

impl Tree {
    /// The one below this directory.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn is_live(&self) -> bool {
        self.root == Path::new("/")
    }

    /// A path of the guest as a path of here.
    fn at(&self, path: &Path) -> PathBuf {
        let inner = path
            .components()
            .filter(|part| matches!(part, Component::Normal(_)));
        self.root.join(inner.collect::<PathBuf>())
    }

    /// Whether something is at a path, be it a link that leads nowhere.
    pub(crate) fn exists(&self, path: &str) -> bool {
        self.at(Path::new(path)).symlink_metadata().is_ok()
    }

    /// Whether a link is at a path.
    pub(crate) fn is_link(&self, path: &str) -> bool {
        self.at(Path::new(path))
            .symlink_metadata()
            .is_ok_and(|about| about.is_symlink())
    }

    /// A file of the system; nothing where there is none.
    pub(crate) fn read(&self, path: &Path) -> Result<Option<String>, ActFailed> {
        let content = fs::File::open(self.at(path)).and_then(|file| {
            let mut bytes = Vec::new();
            file.take(MOST).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        match content {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            // Below /sys there are names without a file, and files that cannot be read just now.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(_) if path.starts_with("/sys") => Ok(None),
            Err(error) => Err(failed(path, error)),
        }
    }

    /// The names in a directory; none where there is no directory.
    pub(crate) fn names_in(&self, path: &str) -> Result<Vec<String>, ActFailed> {
        let entries = match fs::read_dir(self.at(Path::new(path))) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(Path::new(path), error)),
        };
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// Does one thing.
    pub(crate) fn perform(&self, act: &Act) -> Result<(), ActFailed> {
        match act {
            Act::Write(file) => self.write(file),
            Act::Remove(path) => match fs::remove_file(self.at(path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, error)),
                _ => Ok(()),
            },
            Act::Keys { user, keys } => self.keys(user, keys),
            Act::Run(program) => self.run(program),
        }
    }

    fn write(&self, file: &File) -> Result<(), ActFailed> {
        let at = self.at(&file.path);
        let about = at.symlink_metadata().ok();
        if about.as_ref().is_some_and(fs::Metadata::is_symlink) {
            return Err(ActFailed::Link(file.path.display().to_string()));
        }
        let same = about.is_some_and(|about| about.permissions().mode() & 0o7777 == file.mode)
            && fs::read(&at).is_ok_and(|there| there == file.text.as_bytes());
        if same {
            return Ok(());
        }
        replace(&at, file.text.as_bytes(), file.mode).map_err(|error| failed(&file.path, error))
    }

    /// Copies a program into the system.
    pub(crate) fn copy(&self, from: &Path, to: &Path) -> Result<(), ActFailed> {
        fs::read(from)
            .and_then(|bytes| replace(&self.at(to), &bytes, 0o755))
            .map_err(|error| failed(to, error))
    }

    /// Makes a link.
    pub(crate) fn link(&self, at: &Path, to: &str) -> Result<(), ActFailed> {
        let here = self.at(at);
        let made = || {
            if let Some(directory) = here.parent() {
                fs::create_dir_all(directory)?;
            }
            match std::os::unix::fs::symlink(to, &here) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            }
        };
        made().map_err(|error| failed(at, error))
    }

    fn run(&self, program: &Program) -> Result<(), ActFailed> {
        let mut command = match (self.is_live(), program.reach) {
            (true, _) => Command::new(found(program.name)),
            (false, Reach::Live) => return Ok(()),
            (false, Reach::Tree) => {
                let mut command = Command::new(found("chroot"));
                command.arg(&self.root).arg(program.name);
                command
            }
        };
        command
            .args(&program.arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C");
        match perform(program.name, command, program.input.as_ref(), LIMIT) {
            Err(error) if program.need == Need::Must => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn account(&self, user: &str) -> Result<Account, ActFailed> {
        let passwd = self.read(Path::new("/etc/passwd"))?.unwrap_or_default();
        users(&passwd)
            .remove(user)
            .ok_or_else(|| ActFailed::NoUser(user.to_owned()))
    }

    /// A home that is not there yet is made: whoever made the user may have been stopped before.
    fn home(&self, home: &Path, account: &Account) -> Result<(), ActFailed> {
        let made = match fs::DirBuilder::new().mode(0o700).create(self.at(home)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            other => other,
        };
        made.and_then(|()| chown(self.at(home), Some(account.uid), Some(account.gid)))
            .map_err(|error| failed(home, error))
    }

    fn keys(&self, user: &str, keys: &[String]) -> Result<(), ActFailed> {
        let account = self.account(user)?;
        let home = Path::new(&account.home);
        let path = home.join(".ssh/authorized_keys");
        let within = |error: rustix::io::Errno| match error {
            rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => {
                ActFailed::Link(home.join(".ssh").display().to_string())
            }
            other => failed(&path, other.into()),
        };
        let directory = OFlags::DIRECTORY | OFlags::CLOEXEC;
        if keys.is_empty() && !self.exists(&account.home) {
            return Ok(());
        }
        self.home(home, &account)?;
        // Directories above a home are root's, so links there are the system's own.
        let home_fd = rustix::fs::open(self.at(home), directory, Mode::empty()).map_err(within)?;
        if keys.is_empty()
            && rustix::fs::accessat(&home_fd, ".ssh", rustix::fs::Access::EXISTS, AtFlags::empty()).is_err()
        {
            return Ok(());
        }
        match rustix::fs::mkdirat(&home_fd, ".ssh", Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(within(error)),
        }
        let ssh = rustix::fs::openat(&home_fd, ".ssh", directory | OFlags::NOFOLLOW, Mode::empty())
            .map_err(within)?;
        let owner = Owner::of(&account);
        owner.give(&ssh, 0o700).map_err(within)?;
        let old = old_keys(&ssh).map_err(|error| failed(&path, error))?;
        let new = authorized_keys(old.as_deref(), keys);
        if old.as_deref() != Some(new.as_str()) || !owner.has(&ssh) {
            replace_keys(&ssh, &new, owner).map_err(|error| failed(&path, error))?;
        }
        Ok(())
    }
}

const KEYS: &str = "authorized_keys";
const KEYS_ASIDE: &str = ".authorized_keys.labyard";

#[derive(Clone, Copy)]
struct Owner {
    uid: Uid,
    gid: Gid,
}

impl Owner {
    fn of(account: &Account) -> Self {
        Self {
            uid: Uid::from_raw(account.uid),
            gid: Gid::from_raw(account.gid),
        }
    }

    fn give(self, file: &OwnedFd, mode: u32) -> rustix::io::Result<()> {
        rustix::fs::fchown(file, Some(self.uid), Some(self.gid))?;
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))
    }

    /// Whether the keys are the user's, and nobody else's to read.
    fn has(self, ssh: &OwnedFd) -> bool {
        rustix::fs::statat(ssh, KEYS, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|about| {
            about.st_uid == self.uid.as_raw()
                && about.st_gid == self.gid.as_raw()
                && about.st_mode & 0o7777 == 0o600
        })
    }
}

/// The keys that are there. A link, or anything but a file, counts as none: it is replaced and not read.
fn old_keys(ssh: &OwnedFd) -> io::Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(ssh, KEYS, flags, Mode::empty()) {
        Ok(file) => fs::File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn replace_keys(ssh: &OwnedFd, text: &str, owner: Owner) -> io::Result<()> {
    match rustix::fs::unlinkat(ssh, KEYS_ASIDE, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let aside = rustix::fs::openat(ssh, KEYS_ASIDE, flags, Mode::from_raw_mode(0o600))?;
    owner.give(&aside, 0o600)?;
    let mut file = fs::File::from(aside);
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    rustix::fs::renameat(ssh, KEYS_ASIDE, ssh, KEYS)?;
    Ok(())
}

/// A file of the system, new or in place of an old one.
fn replace(at: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = at.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(at.file_name().unwrap_or_default());
    name.push(".labyard");
    let aside = directory.join(name);
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&aside)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()?;
    fs::rename(&aside, at)
}

/// The path of a program of the running system; its bare name where it is not there, so that the error names it.
fn found(name: &str) -> PathBuf {
    PATH.split(':')
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from(name))
}

fn failed(path: &Path, error: io::Error) -> ActFailed {
    ActFailed::File {
        path: path.display().to_string(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn write(path: &str, text: &str, mode: u32) -> Act {
        Act::Write(File {
            path: path.into(),
            text: text.into(),
            mode,
        })
    }

    fn keys(user: &str) -> Act {
        Act::Keys {
            user: user.into(),
            keys: vec!["ssh-ed25519 AAAA".into()],
        }
    }

    /// A tree with one user, who is whoever runs the test.
    fn home() -> (tempfile::TempDir, Tree) {
        let directory = tempfile::tempdir().unwrap();
        let about = directory.path().metadata().unwrap();
        let line = format!("ann:x:{}:{}::/home/ann:/bin/sh\n", about.uid(), about.gid());
        fs::create_dir_all(directory.path().join("home/ann")).unwrap();
        fs::create_dir_all(directory.path().join("etc")).unwrap();
        fs::write(directory.path().join("etc/passwd"), line).unwrap();
        let tree = Tree::new(directory.path().into());
        (directory, tree)
    }

    #[test]
    fn a_file_is_there_whole_with_its_mode_and_is_left_alone_when_it_is_right() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::new(directory.path().into());
        let at = directory.path().join("etc/deep/file");
        tree.perform(&write("/etc/deep/file", "1", 0o440)).unwrap();
        assert_eq!(at.metadata().unwrap().mode() & 0o7777, 0o440);
        let before = at.metadata().unwrap().ino();
        tree.perform(&write("/etc/deep/file", "1", 0o440)).unwrap();
        assert_eq!(at.metadata().unwrap().ino(), before);
        tree.perform(&write("/etc/deep/file", "2", 0o600)).unwrap();
        assert_eq!(fs::read_to_string(&at).unwrap(), "2");
        assert_eq!(at.metadata().unwrap().mode() & 0o7777, 0o600);
        assert_eq!(tree.names_in("/etc/deep").unwrap(), ["file"]);
        tree.perform(&Act::Remove("/etc/deep/file".into())).unwrap();
        tree.perform(&Act::Remove("/etc/deep/file".into())).unwrap();
        assert!(!at.exists());
    }

    #[test]
    fn a_link_at_a_files_place_is_not_written_through() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::new(directory.path().into());
        fs::write(directory.path().join("victim"), "mine").unwrap();
        fs::create_dir(directory.path().join("etc")).unwrap();
        symlink("../victim", directory.path().join("etc/hostname")).unwrap();
        let error = tree.perform(&write("/etc/hostname", "x", 0o644)).unwrap_err();
        assert!(matches!(error, ActFailed::Link(_)), "{error}");
        assert_eq!(
            fs::read_to_string(directory.path().join("victim")).unwrap(),
            "mine"
        );
    }

    #[test]
    fn nothing_leaves_the_tree() {
        let tree = Tree::new("/some/tree".into());
        for path in ["/etc/x", "../../etc/x", "/../etc/x"] {
            assert_eq!(tree.at(Path::new(path)), Path::new("/some/tree/etc/x"), "{path}");
        }
    }

    #[test]
    fn keys_are_the_users_own_and_others_of_the_user_stay() {
        let (directory, tree) = home();
        let ssh = directory.path().join("home/ann/.ssh");
        tree.perform(&keys("ann")).unwrap();
        let file = ssh.join("authorized_keys");
        assert_eq!(ssh.metadata().unwrap().mode() & 0o7777, 0o700);
        assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o600);
        let first = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("ssh-rsa OWN\n{first}")).unwrap();
        tree.perform(&keys("ann")).unwrap();
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            format!("ssh-rsa OWN\n{first}")
        );
        let error = tree.perform(&keys("bob")).unwrap_err();
        assert!(matches!(error, ActFailed::NoUser(_)), "{error}");
    }

    #[test]
    fn a_home_that_is_missing_is_made_where_keys_need_it() {
        let (directory, tree) = home();
        let at = directory.path().join("home/ann");
        fs::remove_dir(&at).unwrap();
        let none = Act::Keys {
            user: "ann".into(),
            keys: Vec::new(),
        };
        tree.perform(&none).unwrap();
        assert!(!at.exists());
        tree.perform(&keys("ann")).unwrap();
        assert_eq!(at.metadata().unwrap().mode() & 0o7777, 0o700);
        assert!(at.join(".ssh/authorized_keys").exists());
    }

    #[test]
    fn links_that_a_user_laid_lead_nowhere() {
        let (directory, tree) = home();
        let victim = directory.path().join("victim");
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("secret"), "root's own").unwrap();
        let ssh = directory.path().join("home/ann/.ssh");
        symlink(&victim, &ssh).unwrap();
        let error = tree.perform(&keys("ann")).unwrap_err();
        assert!(matches!(error, ActFailed::Link(_)), "{error}");
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 1);

        fs::remove_file(&ssh).unwrap();
        fs::create_dir(&ssh).unwrap();
        symlink(victim.join("secret"), ssh.join("authorized_keys")).unwrap();
        symlink(victim.join("secret"), ssh.join(".authorized_keys.labyard")).unwrap();
        tree.perform(&keys("ann")).unwrap();
        assert_eq!(fs::read_to_string(victim.join("secret")).unwrap(), "root's own");
        let written = fs::read_to_string(ssh.join("authorized_keys")).unwrap();
        assert!(!written.contains("root's own"), "{written}");
        assert!(written.contains("ssh-ed25519 AAAA"), "{written}");
    }
}
