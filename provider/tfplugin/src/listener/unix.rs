//! A Unix socket's files: made for their owner alone (or for one group), and removed at the end.

use std::io;
use std::path::{Path, PathBuf};

/// The shortest limit of any system we know (macOS: 104 bytes with the closing zero).
const MAX_SOCKET_PATH: usize = 100;

/// The socket's file and, where the parent made no directory for it, one of our own that nobody else may enter.
pub(super) struct SocketFiles {
    pub(super) socket: PathBuf,
    own_dir: Option<PathBuf>,
}

impl SocketFiles {
    pub(super) fn make(parents_dir: Option<&Path>) -> io::Result<Self> {
        let name = unique_name();
        if let Some(dir) = parents_dir {
            return Ok(Self {
                socket: dir.join(name),
                own_dir: None,
            });
        }
        let mut base = std::env::temp_dir();
        if base.as_os_str().len() + name.len() + "//s".len() > MAX_SOCKET_PATH {
            base = PathBuf::from("/tmp");
        }
        let dir = base.join(name);
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&dir)?;
        Ok(Self {
            socket: dir.join("s"),
            own_dir: Some(dir),
        })
    }
}

impl Drop for SocketFiles {
    fn drop(&mut self) {
        // A parent that made the directory may have removed it already.
        let _ = std::fs::remove_file(&self.socket);
        if let Some(dir) = &self.own_dir {
            let _ = std::fs::remove_dir(dir);
        }
    }
}

pub(super) fn unique_name() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let random = RandomState::new().hash_one(std::process::id());
    format!("tfp-{}-{:08x}", std::process::id(), random as u32)
}

pub(super) fn permit(files: &SocketFiles, group: Option<&str>) -> io::Result<()> {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let mode = |bits| std::fs::Permissions::from_mode(bits);
    let Some(group) = group else {
        return std::fs::set_permissions(&files.socket, mode(0o600));
    };
    let gid = group_id(group, &std::fs::read_to_string("/etc/group").unwrap_or_default())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no group {group:?}")))?;
    if let Some(dir) = &files.own_dir {
        chown(dir, None, Some(gid))?;
        std::fs::set_permissions(dir, mode(0o750))?;
    }
    chown(&files.socket, None, Some(gid))?;
    std::fs::set_permissions(&files.socket, mode(0o660))
}

/// A group's number, from its number or its name.
fn group_id(group: &str, etc_group: &str) -> Option<u32> {
    group.parse().ok().or_else(|| {
        etc_group.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == group).then(|| fields.nth(1)?.parse().ok())?
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_name_and_number() {
        let file = "root:x:0:\nlibvirt:x:117:anna,bert\n";
        assert_eq!(group_id("libvirt", file), Some(117));
        assert_eq!(group_id("42", file), Some(42));
        assert_eq!(group_id("nobody-here", file), None);
    }
}
