//! What goes wrong with files of a host: on what, why, and what can be done about it.

use std::fmt;
use std::time::Duration;

use crate::path::HostPath;

/// What was to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verb {
    /// Make a directory.
    MakeDirectory,
    /// Read what is in a directory.
    List,
    /// Look at a file or directory.
    Look,
    /// Read a file.
    Read,
    /// Make a file.
    Create,
    /// Write to a file.
    Write,
    /// Set the end of a file.
    Resize,
    /// Have a file brought to the disk.
    Flush,
    /// Be done with a file.
    Close,
    /// Give another name.
    Rename,
    /// Take away.
    Delete,
    /// Set or clear the read-only attribute.
    Protect,
    /// Ask for the room on a volume.
    Measure,
}

impl Verb {
    /// Whether it leaves everything as it was, so that it may be done any number of times.
    pub(crate) fn only_looks(self) -> bool {
        matches!(self, Self::List | Self::Look | Self::Read | Self::Measure)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MakeDirectory => "make the directory",
            Self::List => "list",
            Self::Look => "look at",
            Self::Read => "read",
            Self::Create => "create",
            Self::Write => "write to",
            Self::Resize => "set the end of",
            Self::Flush => "flush",
            Self::Close => "close",
            Self::Rename => "rename",
            Self::Delete => "delete",
            Self::Protect => "set the read-only attribute of",
            Self::Measure => "ask for the free space at",
        })
    }
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {verb} {path}: {why}")]
pub struct Error {
    /// What was to be done.
    pub verb: Verb,
    /// With what.
    pub path: HostPath,
    /// Why not.
    #[source]
    pub why: Why,
}

impl Error {
    pub(crate) fn new(verb: Verb, path: &HostPath, why: Why) -> Self {
        Self {
            verb,
            path: path.clone(),
            why,
        }
    }

    /// Whether it may have been done all the same. Such a call is not repeated: look at what is there.
    pub fn may_be_done(&self) -> bool {
        match self.why {
            Why::Lost(_) => true,
            // There was an answer, to something that was sent.
            Why::Malformed(_) => !self.verb.only_looks(),
            _ => false,
        }
    }

    /// Whether the same call may succeed a little later, and is sure to have done nothing now.
    pub fn is_transient(&self) -> bool {
        matches!(self.why, Why::InUse | Why::NotSent(_) | Why::Busy(_))
    }

    /// Whether it is for want of the file or of the directory it would be in.
    pub fn is_not_found(&self) -> bool {
        self.why == Why::NotFound
    }
}

/// Why a call fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// It is not ours.
    #[error("it is not in {root}, and nothing outside of that directory is touched")]
    Outside {
        /// The directory.
        root: HostPath,
    },
    /// It is not there, or the directory it would be in is not.
    #[error("it is not there, or the directory that it would be in is not")]
    NotFound,
    /// Something is there already.
    #[error("{0} exists already, and nothing is replaced")]
    Exists(HostPath),
    /// The account may not.
    #[error("access is denied; {way_out}")]
    Denied {
        /// What mends it on the host.
        way_out: String,
    },
    /// Somebody else has it open.
    #[error(
        "another program has it open; it can be tried again when that has closed it (on the host: `openfiles /query`, or \
         `Get-SmbOpenFile` for clients of shares)"
    )]
    InUse,
    /// No room.
    #[error("there is no room left on its volume, or the account's quota is used up")]
    DiskFull,
    /// A directory with something in it.
    #[error("the directory is not empty")]
    NotEmpty,
    /// A file where a directory was expected.
    #[error("it is not a directory")]
    NotDirectory,
    /// A directory where a file was expected.
    #[error("it is a directory")]
    IsDirectory,
    /// It has the attribute read-only.
    #[error("it has the attribute read-only, which has to be cleared first")]
    ReadOnly,
    /// It has become another file while it was read.
    #[error("it has changed while it was read")]
    Changed,
    /// The host has no use for the name.
    #[error("the host does not take its name ({0})")]
    Name(String),
    /// The host has too much to do.
    #[error("the host has no resources for it now ({0})")]
    Busy(String),
    /// The host says something else.
    #[error("the host answers {0}")]
    Refused(String),
    /// The far side cannot do this.
    #[error("{0}")]
    Unsupported(String),
    /// An answer that cannot be read.
    #[error("the host sent {0}")]
    Malformed(String),
    /// It did not reach the host.
    #[error("{0}; nothing was done")]
    NotSent(#[source] Trouble),
    /// The answer did not come.
    #[error("{0}; whether the host did it is not known: look before doing it again")]
    Lost(#[source] Trouble),
    /// An earlier write of the same file failed.
    #[error("an earlier write to it failed")]
    Poisoned,
}

impl Why {
    /// What trouble on the way means for a call that was sent.
    pub(crate) fn of_trouble(verb: Verb, trouble: Trouble) -> Self {
        match verb.only_looks() {
            true => Self::NotSent(trouble),
            false => Self::Lost(trouble),
        }
    }

    /// Whether the connection is to blame.
    pub(crate) fn is_of_the_way(&self) -> bool {
        matches!(self, Self::NotSent(_) | Self::Lost(_))
    }
}

/// What stands between a client and the files of a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// Its name has no address.
    #[error("the name {host} is not known: {reason}")]
    Unresolved {
        /// The name.
        host: String,
        /// Why.
        reason: String,
    },
    /// Nobody takes the connection.
    #[error("{place} takes no connection: {reason}. {}", how_to_open(.place))]
    Unreachable {
        /// Host and port.
        place: String,
        /// Why.
        reason: String,
    },
    /// The account was not let in.
    #[error("{place} does not let {user} in: {reason}")]
    Login {
        /// Host and port.
        place: String,
        /// Who.
        user: String,
        /// Why, with what mends it.
        reason: String,
    },
    /// Let in as somebody who is nobody.
    #[error(
        "{place} took {user} for a guest: it does not know that user, and lets strangers in. Nothing is read or written as a \
         guest; give a user that the host knows, and on the host `Set-SmbServerConfiguration -RejectUnencryptedAccess $true`"
    )]
    Guest {
        /// Host and port.
        place: String,
        /// Who.
        user: String,
    },
    /// It does not speak what is needed.
    #[error(
        "{place} speaks {spoken}; SMB 3.1.1 is needed, which Windows has since Server 2016: older ones cannot tell a downgrade on the way"
    )]
    Dialect {
        /// Host and port.
        place: String,
        /// What it speaks.
        spoken: String,
    },
    /// It offers no encryption, and that was asked for.
    #[error("{place} offers no encryption, and encryption is asked for")]
    NoEncryption {
        /// Host and port.
        place: String,
    },
    /// Somebody changes what is sent, or the far side leaves out what protects it.
    #[error("{place}: {reason}. Somebody on the way may have changed what was sent")]
    Tampered {
        /// Host and port.
        place: String,
        /// What was seen.
        reason: String,
    },
    /// The share is not given.
    #[error("the share {share} of {place} cannot be used: {reason}")]
    Share {
        /// Host and port.
        place: String,
        /// The share.
        share: String,
        /// Why, with what mends it.
        reason: String,
    },
    /// Nothing comes.
    #[error("{place} has not answered for {} s", .after.as_secs())]
    Silent {
        /// Host and port.
        place: String,
        /// How long.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection to {place} broke: {reason}")]
    Broken {
        /// Host and port.
        place: String,
        /// Why.
        reason: String,
    },
    /// What comes is not the protocol.
    #[error("{place} does not keep to the protocol: {reason}")]
    Protocol {
        /// Host and port.
        place: String,
        /// What it did.
        reason: String,
    },
}

fn how_to_open(place: &str) -> &'static str {
    match place.ends_with(":22") {
        true => "On the host, `Get-Service sshd` shows whether OpenSSH runs there",
        false => {
            "On the host, `Get-Service LanmanServer` shows whether its service runs, and \
             `Enable-NetFirewallRule -Name FPS-SMB-In-TCP` opens its port"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> Trouble {
        Trouble::Broken {
            place: "hv1:445".into(),
            reason: "it was reset".into(),
        }
    }

    #[test]
    fn what_was_lost_may_be_done_unless_it_only_looked() {
        let path = HostPath::new(r"D:\labyard\x").unwrap();
        let lost = Error::new(Verb::Rename, &path, Why::of_trouble(Verb::Rename, broken()));
        assert!(lost.may_be_done() && !lost.is_transient());
        assert_eq!(
            lost.to_string(),
            r"cannot rename D:\labyard\x: the connection to hv1:445 broke: it was reset; whether the host did it is not known: look before doing it again"
        );
        let garbled = Error::new(Verb::Rename, &path, Why::Malformed("noise".into()));
        assert!(garbled.may_be_done());
        let looked = Error::new(Verb::List, &path, Why::of_trouble(Verb::List, broken()));
        assert!(!looked.may_be_done() && looked.is_transient());
    }

    #[test]
    fn a_file_in_use_can_be_tried_again_and_a_full_disk_cannot() {
        let path = HostPath::new(r"D:\labyard\x").unwrap();
        assert!(Error::new(Verb::Delete, &path, Why::InUse).is_transient());
        assert!(!Error::new(Verb::Write, &path, Why::DiskFull).is_transient());
    }
}
