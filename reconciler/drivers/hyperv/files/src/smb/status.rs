//! What the numbers mean by which an SMB server says no. \[MS-ERREF\] 2.3.1.

use crate::error::Why;
use crate::path::HostPath;

/// A status of a server, as its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub(super) u32);

pub(super) const NO_MORE_FILES: u32 = 0x8000_0006;
pub(super) const END_OF_FILE: u32 = 0xC000_0011;
pub(super) const NO_SUCH_FILE: u32 = 0xC000_000F;
pub(super) const MORE_PROCESSING: u32 = 0xC000_0016;
pub(super) const ACCESS_DENIED: u32 = 0xC000_0022;
pub(super) const NAME_NOT_FOUND: u32 = 0xC000_0034;
pub(super) const NAME_COLLISION: u32 = 0xC000_0035;
pub(super) const PATH_NOT_FOUND: u32 = 0xC000_003A;
pub(super) const BAD_NETWORK_NAME: u32 = 0xC000_00CC;

/// Numbers that end the session or the connection: what was asked for was not done.
const ENDED: [(u32, &str); 5] = [
    (0xC000_00C9, "STATUS_NETWORK_NAME_DELETED"),
    (0xC000_0128, "STATUS_FILE_CLOSED"),
    (0xC000_0203, "STATUS_USER_SESSION_DELETED"),
    (0xC000_020C, "STATUS_CONNECTION_DISCONNECTED"),
    (0xC000_035C, "STATUS_NETWORK_SESSION_EXPIRED"),
];

/// Numbers of which nothing more than their names is said.
const NAMES: [(u32, &str); 17] = [
    (0xC000_0002, "STATUS_NOT_IMPLEMENTED"),
    (0xC000_0008, "STATUS_INVALID_HANDLE"),
    (0xC000_000D, "STATUS_INVALID_PARAMETER"),
    (0xC000_0010, "STATUS_INVALID_DEVICE_REQUEST"),
    (NO_SUCH_FILE, "STATUS_NO_SUCH_FILE"),
    (END_OF_FILE, "STATUS_END_OF_FILE"),
    (ACCESS_DENIED, "STATUS_ACCESS_DENIED"),
    (NAME_COLLISION, "STATUS_OBJECT_NAME_COLLISION"),
    (0xC000_00B5, "STATUS_IO_TIMEOUT"),
    (0xC000_00BB, "STATUS_NOT_SUPPORTED"),
    (BAD_NETWORK_NAME, "STATUS_BAD_NETWORK_NAME"),
    (0xC000_00E9, "STATUS_UNEXPECTED_IO_ERROR"),
    (0xC000_0185, "STATUS_IO_DEVICE_ERROR"),
    (0xC000_0257, "STATUS_PATH_NOT_COVERED (DFS)"),
    (0xC000_0275, "STATUS_NOT_A_REPARSE_POINT"),
    (0x8000_002D, "STATUS_STOPPED_ON_SYMLINK"),
    (0xC000_0120, "STATUS_CANCELLED"),
];

impl Status {
    pub(super) fn is_success(self) -> bool {
        self.0 == 0
    }

    /// The name, if the number says that the session is over.
    pub(super) fn ended(self) -> Option<&'static str> {
        name_in(&ENDED, self.0)
    }

    /// By its name where it has one here.
    pub(super) fn name(self) -> String {
        match name_in(&NAMES, self.0).or(self.ended()) {
            Some(name) => name.to_owned(),
            None => format!("with status 0x{:08X}", self.0),
        }
    }

    /// What it means for a file. `taken` is the path that something has already, if that is what it says.
    pub(super) fn why(self, taken: &HostPath, way_out: &str) -> Why {
        match self.0 {
            NO_SUCH_FILE | NAME_NOT_FOUND | PATH_NOT_FOUND => Why::NotFound,
            NAME_COLLISION => Why::Exists(taken.clone()),
            // Also for want of a privilege, and for a volume that is write-protected.
            ACCESS_DENIED | 0xC000_0061 | 0xC000_00CA | 0xC000_00A2 => Why::Denied {
                way_out: way_out.to_owned(),
            },
            // A sharing violation, locks, and a file that is to be deleted when the last one closes it.
            0xC000_0043 | 0xC000_0054 | 0xC000_0055 | 0xC000_0056 | 0xC000_0433 => Why::InUse,
            // Full, and a quota that is used up.
            0xC000_007F | 0xC000_0044 | 0xC000_0904 => Why::DiskFull,
            0xC000_0101 => Why::NotEmpty,
            0xC000_0103 => Why::NotDirectory,
            0xC000_00BA => Why::IsDirectory,
            0xC000_0121 => Why::ReadOnly,
            0xC000_0033 => Why::Name("STATUS_OBJECT_NAME_INVALID".to_owned()),
            0xC000_003B => Why::Name("STATUS_OBJECT_PATH_SYNTAX_BAD".to_owned()),
            0xC000_0106 => Why::Name("STATUS_NAME_TOO_LONG".to_owned()),
            0xC000_009A => Why::Busy("STATUS_INSUFFICIENT_RESOURCES".to_owned()),
            0xC000_0205 => Why::Busy("STATUS_INSUFF_SERVER_RESOURCES".to_owned()),
            0xC000_00D0 => Why::Busy("STATUS_REQUEST_NOT_ACCEPTED".to_owned()),
            0xC000_011F => Why::Busy("STATUS_TOO_MANY_OPENED_FILES".to_owned()),
            _ => Why::Refused(self.name()),
        }
    }

    /// Why a login is refused, with what mends it.
    pub(super) fn of_login(self) -> String {
        let reason = match self.0 {
            0xC000_006D => "user name or password are wrong",
            0xC000_0064 => "the host does not know the user",
            0xC000_006A => "the password is wrong",
            0xC000_006E => {
                "the account is restricted (an empty password, or a policy): give it a password, and look into the host's \
                 log `Security`"
            }
            0xC000_0070 => "the account may not log in from this machine",
            0xC000_006F => "the account may not log in at this time",
            0xC000_0071 | 0xC000_0224 => {
                "its password is expired: set a new one (on the host: `net user NAME *`)"
            }
            0xC000_0072 => "the account is disabled (on the host: `net user NAME /active:yes`)",
            0xC000_0193 => "the account is expired",
            0xC000_0234 => "the account is locked after wrong passwords: wait, or unlock it",
            0xC000_015B => {
                "the account may not log in over the network: the host's policy `Access this computer from the network` has \
                 to hold it, and `Deny access to this computer from the network` must not"
            }
            0xC000_005E => "the host reaches no domain controller",
            0xC000_0418 => "the host takes no NTLM, and no other login is made here",
            0xC000_009A | 0xC000_00D0 => "the host has no resources for one more session now",
            _ => return format!("the host answers {}", self.name()),
        };
        reason.to_owned()
    }
}

fn name_in(names: &[(u32, &'static str)], number: u32) -> Option<&'static str> {
    names
        .iter()
        .find(|(other, _)| *other == number)
        .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_tried_again_is_told_from_what_cannot() {
        let path = HostPath::new(r"D:\labyard\x").unwrap();
        let why = |number| Status(number).why(&path, "ask");
        assert_eq!(why(0xC000_0043), Why::InUse);
        assert_eq!(why(0xC000_0056), Why::InUse);
        assert_eq!(why(0xC000_007F), Why::DiskFull);
        assert_eq!(why(0xC000_0035), Why::Exists(path.clone()));
        assert_eq!(why(0xC000_003A), Why::NotFound);
        assert_eq!(why(0xC000_0121), Why::ReadOnly);
        assert_eq!(why(0xC000_00BB), Why::Refused("STATUS_NOT_SUPPORTED".into()));
        assert_eq!(why(0xC0DE_C0DE), Why::Refused("with status 0xC0DEC0DE".into()));
    }

    #[test]
    fn a_session_that_is_over_is_known_by_its_number() {
        assert_eq!(Status(0xC000_0203).ended(), Some("STATUS_USER_SESSION_DELETED"));
        assert_eq!(Status(0xC000_0022).ended(), None);
    }
}
