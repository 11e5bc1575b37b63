//! Where a path of the host is found by a client from outside: in which share by SMB, under which name by SFTP.

use crate::path::{HostPath, Volume};

/// By which share of SMB a directory of the host is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Share {
    /// The one that Windows has for each drive (`D$`), for administrators alone.
    Administrative,
    /// One by its name, which stands for a directory.
    Named {
        /// What it is called.
        name: String,
        /// The directory that it stands for.
        path: HostPath,
    },
}

/// Why a directory is not reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoPlace {
    /// The share stands for another directory.
    #[error("{root} is not in the share {share}, which stands for {path}")]
    Elsewhere {
        /// What was to be reached.
        root: HostPath,
        /// The share.
        share: String,
        /// What it stands for.
        path: HostPath,
    },
    /// It is on another server.
    #[error("{root} is on the server {server} and not on {host}")]
    OtherServer {
        /// What was to be reached.
        root: HostPath,
        /// Where it is.
        server: String,
        /// Where it was looked for.
        host: String,
    },
    /// No share is called that.
    #[error("{0:?} is no name of a share")]
    ShareName(String),
    /// By SFTP there are drives alone.
    #[error("{0} is on a share; through SSH only drives of the host are reached")]
    NoDrive(HostPath),
}

/// A directory of ours as a client from outside names it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The directory that nothing leaves.
    pub(crate) root: HostPath,
    /// The directory that the far side's own names begin at.
    base: HostPath,
    /// What stands for that directory.
    prefix: String,
    separator: &'static str,
}

impl Share {
    /// The share's name, and the directory in it.
    pub(crate) fn place(&self, root: &HostPath, host: &str) -> Result<(String, Place), NoPlace> {
        let (name, base) = match (root.volume(), self) {
            (Volume::Share { server, share }, _) => {
                if !server.eq_ignore_ascii_case(host) {
                    return Err(NoPlace::OtherServer {
                        root: root.clone(),
                        server: server.to_owned(),
                        host: host.to_owned(),
                    });
                }
                (share.to_owned(), volume_of(root))
            }
            (Volume::Drive(letter), Self::Administrative) => (format!("{letter}$"), volume_of(root)),
            (Volume::Drive(_), Self::Named { name, path }) => {
                if name.is_empty() || name.contains(['\\', '/', ':', '\0']) {
                    return Err(NoPlace::ShareName(name.clone()));
                }
                (name.clone(), path.clone())
            }
        };
        if root.below(&base).is_none() {
            return Err(NoPlace::Elsewhere {
                root: root.clone(),
                share: name,
                path: base,
            });
        }
        let place = Place {
            root: root.clone(),
            base,
            prefix: String::new(),
            separator: r"\",
        };
        Ok((name, place))
    }
}

/// How a directory of the host is called by SFTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Served {
    /// As OpenSSH on Windows calls drives: `/D:/labyard`.
    Drives,
    /// A directory of the server that stands for one of the host.
    Directory {
        /// The host's.
        path: HostPath,
        /// The server's: absolute, with `/`.
        at: String,
    },
}

impl Served {
    pub(crate) fn place(&self, root: &HostPath) -> Result<Place, NoPlace> {
        let (base, prefix) = match (root.volume(), self) {
            (Volume::Share { .. }, _) => return Err(NoPlace::NoDrive(root.clone())),
            (Volume::Drive(letter), Self::Drives) => (volume_of(root), format!("/{letter}:/")),
            (Volume::Drive(_), Self::Directory { path, at }) => (path.clone(), format!("{at}/")),
        };
        if root.below(&base).is_none() {
            return Err(NoPlace::Elsewhere {
                root: root.clone(),
                share: prefix,
                path: base,
            });
        }
        Ok(Place {
            root: root.clone(),
            base,
            prefix,
            separator: "/",
        })
    }
}

fn volume_of(path: &HostPath) -> HostPath {
    let mut top = path.clone();
    while let Some(parent) = top.parent() {
        top = parent;
    }
    top
}

impl Place {
    /// What the far side calls it; nothing if it is neither the root nor in it.
    pub(crate) fn name_of(&self, path: &HostPath) -> Option<String> {
        path.below(&self.root)?;
        let names = path.below(&self.base)?;
        Some(format!("{}{}", self.prefix, names.join(self.separator)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> HostPath {
        HostPath::new(text).unwrap()
    }

    #[test]
    fn a_drive_has_a_share_for_administrators() {
        let (share, place) = Share::Administrative.place(&path(r"d:\labyard"), "host").unwrap();
        assert_eq!(share, "D$");
        assert_eq!(
            place.name_of(&path(r"D:\LABYARD\a\b.vhdx")).unwrap(),
            r"LABYARD\a\b.vhdx"
        );
        assert_eq!(place.name_of(&path(r"D:\labyard")).unwrap(), "labyard");
    }

    #[test]
    fn a_named_share_stands_for_its_directory() {
        let named = Share::Named {
            name: "labyard".into(),
            path: path(r"D:\labyard"),
        };
        let (share, place) = named.place(&path(r"D:\labyard"), "host").unwrap();
        assert_eq!(share, "labyard");
        assert_eq!(place.name_of(&path(r"D:\labyard\a\b")).unwrap(), r"a\b");
        assert_eq!(place.name_of(&path(r"D:\labyard")).unwrap(), "");
        assert!(matches!(
            named.place(&path(r"D:\other"), "host"),
            Err(NoPlace::Elsewhere { .. })
        ));
        let bad = Share::Named {
            name: r"a\b".into(),
            path: path(r"D:\"),
        };
        assert!(matches!(
            bad.place(&path(r"D:\x"), "h"),
            Err(NoPlace::ShareName(_))
        ));
    }

    #[test]
    fn nothing_outside_the_root_has_a_name() {
        let (_, place) = Share::Administrative.place(&path(r"D:\labyard"), "host").unwrap();
        for outside in [
            r"D:\",
            r"D:\Windows",
            r"D:\labyard2",
            r"E:\labyard\x",
            r"\\h\D$\labyard",
        ] {
            assert_eq!(place.name_of(&path(outside)), None, "{outside}");
        }
    }

    #[test]
    fn a_path_on_a_server_belongs_to_that_server() {
        let root = path(r"\\files\vms\labyard");
        let (share, place) = Share::Administrative.place(&root, "FILES").unwrap();
        assert_eq!(share, "vms");
        assert_eq!(
            place.name_of(&path(r"\\files\vms\labyard\x")).unwrap(),
            r"labyard\x"
        );
        assert!(matches!(
            Share::Administrative.place(&root, "host"),
            Err(NoPlace::OtherServer { .. })
        ));
        assert!(matches!(Served::Drives.place(&root), Err(NoPlace::NoDrive(_))));
    }

    #[test]
    fn by_sftp_a_drive_is_a_directory() {
        let place = Served::Drives.place(&path(r"D:\labyard")).unwrap();
        assert_eq!(
            place.name_of(&path(r"D:\labyard\a\b")).unwrap(),
            "/D:/labyard/a/b"
        );
        let served = Served::Directory {
            path: path(r"D:\labyard"),
            at: "/srv/lab".into(),
        };
        let place = served.place(&path(r"D:\labyard")).unwrap();
        assert_eq!(place.name_of(&path(r"D:\labyard\a")).unwrap(), "/srv/lab/a");
        assert_eq!(place.name_of(&path(r"D:\x")), None);
    }
}
