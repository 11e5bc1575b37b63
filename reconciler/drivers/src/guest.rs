//! What is asked of a running guest through its agent ([`crate::Driver::ask_guest`]): its clock, files, keys, passwords.
//!
//! ```
//! # use labyard_driver::guest::{GuestAnswer, GuestTask};
//! let task = GuestTask::ReadFile("/proc/net/tcp".to_owned());
//! assert_eq!(format!("{task:?}"), r#"ReadFile("/proc/net/tcp")"#);
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::UnixMillis;

/// Something that a guest's agent is asked to do. Each may be asked again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestTask {
    /// Tells the guest's clock.
    Time,
    /// Sets the guest's clock.
    SetTime(UnixMillis),
    /// Reads a file, as far as [`LONGEST_FILE`].
    ReadFile(String),
    /// Writes a file whole; its directory has to be there.
    WriteFile {
        /// Where.
        path: String,
        /// What shall stand in it.
        content: Vec<u8>,
    },
    /// Tells with which SSH keys a user may log in.
    Keys {
        /// The user.
        user: String,
    },
    /// Lets a user log in with an SSH key, beside those that are there.
    AddKey {
        /// The user.
        user: String,
        /// A line of `authorized_keys`.
        key: String,
    },
    /// Takes an SSH key of a user out; not there is fine.
    RemoveKey {
        /// The user.
        user: String,
        /// The line as it was added.
        key: String,
    },
    /// Sets a user's password.
    SetPassword {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// Takes what is this one machine's own out of the system: SSH host keys and machine id. They are set aside in memory;
    /// what was set aside before stays so.
    Seal,
    /// Puts back what was set aside; nothing was is fine.
    Unseal,
    /// Writes out what waits, and lets nothing be written to the file systems until [`GuestTask::Thaw`]: the agent does
    /// little else meanwhile. Frozen already is fine.
    Freeze,
    /// Lets the file systems be written to; not frozen is fine.
    Thaw,
}

/// The most that is read of a file.
pub const LONGEST_FILE: usize = 1 << 20;

/// What a guest's agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestAnswer {
    /// It did it.
    Done,
    /// Its clock.
    Time(UnixMillis),
    /// What stands in the file; `None` where it is certain that there is none.
    File(Option<Vec<u8>>),
    /// The user's keys.
    Keys(Vec<String>),
}

/// What stands in a guest since its machine was handed out; recorded before it is put there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseMark {
    /// A word that stands in the guest's memory and on its disk: where it is gone, so is what was done since.
    pub word: String,
    /// The user whose credentials were put in; none once they were taken out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The public key that was put in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether a password was set.
    #[serde(default, skip_serializing_if = "PasswordSet::is_not")]
    pub password: PasswordSet,
}

/// Whether a password of a user was set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PasswordSet {
    /// It was not.
    #[default]
    Not,
    /// It was, or was going to be.
    Set,
}

impl PasswordSet {
    fn is_not(&self) -> bool {
        *self == Self::Not
    }
}

/// A text that is shown to nobody but whom it is for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whom it is for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown_with_its_task() {
        let task = GuestTask::SetPassword {
            user: "learner".to_owned(),
            password: Secret::new("hunter2"),
        };
        assert!(!format!("{task:?}").contains("hunter2"));
    }
}
