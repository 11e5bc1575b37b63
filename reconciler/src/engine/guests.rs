//! Users of a machine's guest for a time: let in, taken out again, looked for.
//!
//! Whoever is let in leaves a trace first: a random word in the guest's memory and on its disk, recorded in the mark
//! before. Where the word is gone after a machine was put back to its moment, so is what the user did.

use std::net::IpAddr;

use labyard_driver::DriverError;
use labyard_driver::driver::AgentState;
use labyard_driver::guest::{GuestAnswer, GuestTask, PasswordSet, Secret, UseMark};
use labyard_driver::observed::Power;
use labyard_driver::screen::Callers;

use super::grip::Grip;
use super::screens;
use super::{Bounds, Embedded, ObjectRef};
use crate::desired::Wishes;
use crate::error::EngineError;
use crate::identity;
use crate::sockets;

/// Where the word stands: in memory, and on the disk.
const TRACES: [&str; 2] = ["/run/labyard-used", "/var/lib/labyard-used"];
/// Windows has no files in memory.
const TRACES_OF_WINDOWS: [&str; 1] = ["C:\\ProgramData\\labyard-used"];
/// The tables of a Linux guest's connections.
const SOCKETS: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// Who is let into a guest, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The guest's user, who has to be there.
    pub user: String,
    /// A line of `authorized_keys`.
    pub key: Option<String>,
    /// A password to set.
    pub password: Option<Secret>,
    /// From where he comes.
    pub callers: Callers,
    /// What becomes of another user who was let in before.
    pub earlier: Earlier,
}

/// What becomes of credentials that an earlier admission left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// They are taken out.
    TakenOut,
    /// Nobody else is let in before the machine was put back.
    Refused,
}

/// How a user leaves a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// Something may have been done: it counts as used until it is put back or made anew.
    Used,
    /// Nobody was ever connected to it: it is as it was.
    Untouched,
}

/// Who is connected to a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// These, by established connections from outside; none where nobody is.
    From(Vec<IpAddr>),
    /// It cannot be told.
    Unknown(String),
}

impl Embedded {
    pub(super) async fn user_admit(
        &self,
        object: &ObjectRef,
        admission: &Admission,
        bounds: &Bounds,
    ) -> Result<(), EngineError> {
        let mut grip = self.grip(object, bounds).await?;
        let before = grip.record.mark().await.used;
        let wanted = UseMark {
            word: match &before {
                Some(before) => before.word.clone(),
                None => identity::new_token(self.deps.random.as_ref()).0,
            },
            user: Some(admission.user.clone()),
            key: admission.key.clone(),
            password: match &admission.password {
                Some(_) => PasswordSet::Set,
                None => PasswordSet::Not,
            },
        };
        if let Some(before) = before.filter(|before| *before != wanted) {
            if admission.earlier == Earlier::Refused {
                return Err(EngineError::InOtherHands {
                    host: grip.host.name.clone(),
                    what: grip.what.clone(),
                });
            }
            self.take_out(&grip, &before).await?;
        }
        let word = wanted.word.clone();
        let callers = screens::intended(grip.record.mark().await.callers.as_ref(), &admission.callers);
        grip.write(|mark| (mark.used, mark.callers) = (Some(wanted), callers))
            .await?;
        // A machine that is free may stand still, by whoever has the host.
        if grip.look().await? == Power::Paused {
            self.run_on(&mut grip, bounds).await?;
        }
        for path in places(&grip).await {
            grip.put_file(path, word.as_bytes()).await?;
        }
        let user = &admission.user;
        if let Some(key) = &admission.key {
            let (user, key) = (user.clone(), key.clone());
            grip.ask(&GuestTask::AddKey { user, key }).await?;
        }
        if let Some(password) = &admission.password {
            let (user, password) = (user.clone(), password.clone());
            grip.ask(&GuestTask::SetPassword { user, password }).await?;
        }
        match &admission.key {
            Some(key) if !has_key(&grip, user, key).await? => Err(grip.guest(format!(
                "the key of user {user} was added in its guest and is not there"
            ))),
            _ => screens::stand(&grip).await,
        }
    }

    pub(super) async fn user_dismiss(
        &self,
        object: &ObjectRef,
        departure: Departure,
        bounds: &Bounds,
    ) -> Result<(), EngineError> {
        let mut grip = self.grip(object, bounds).await?;
        screens::close(&grip).await?;
        screens::stand(&grip).await?;
        self.nic_home(&mut grip).await?;
        let Some(used) = grip.record.mark().await.used else {
            return Ok(());
        };
        self.take_out(&grip, &used).await?;
        if departure == Departure::Untouched {
            for path in places(&grip).await {
                grip.put_file(path, b"").await?;
            }
        }
        grip.write(|mark| match (departure, &mut mark.used) {
            (Departure::Used, Some(used)) => {
                (used.user, used.key, used.password) = (None, None, PasswordSet::Not);
            }
            _ => mark.used = None,
        })
        .await
        .map(drop)
    }

    pub(super) async fn password_locked(
        &self,
        object: &ObjectRef,
        user: &str,
        bounds: &Bounds,
    ) -> Result<(), EngineError> {
        let grip = self.grip(object, bounds).await?;
        self.lock(&grip, user).await
    }

    /// Gives a user a password that nobody knows.
    async fn lock(&self, grip: &Grip<'_>, user: &str) -> Result<(), EngineError> {
        let random = identity::new_token(self.deps.random.as_ref()).0;
        // Windows asks for a capital, a small letter and a digit, and takes 20 characters at most.
        let password = format!("K7{}", &random[..random.len().min(18)]);
        let (user, password) = (user.to_owned(), Secret::new(password));
        grip.ask(&GuestTask::SetPassword { user, password })
            .await
            .map(drop)
    }

    /// Takes the credentials of an earlier admission out of the guest.
    async fn take_out(&self, grip: &Grip<'_>, used: &UseMark) -> Result<(), EngineError> {
        let Some(user) = &used.user else { return Ok(()) };
        if let Some(key) = &used.key {
            let (user, key) = (user.clone(), key.clone());
            grip.ask(&GuestTask::RemoveKey { user, key }).await?;
        }
        if used.password == PasswordSet::Set {
            self.lock(grip, user).await?;
        }
        match &used.key {
            Some(key) if has_key(grip, user, key).await? => Err(grip.guest(format!(
                "the key of user {user} was taken out of its guest and is still there"
            ))),
            _ => Ok(()),
        }
    }

    pub(super) async fn guest_traffic(&self, object: &ObjectRef) -> Result<Traffic, EngineError> {
        let grip = self.grip_to_read(object).await?;
        let answers = grip.host.driver.agent_answers(&grip.found.id).await;
        if answers.map_err(grip.failed())? == AgentState::Silent {
            return Ok(Traffic::Unknown("its guest's agent does not answer".to_owned()));
        }
        let mut tables = Vec::new();
        for path in SOCKETS {
            match grip.file(path).await {
                Ok(Some(table)) => tables.push(String::from_utf8_lossy(&table).into_owned()),
                // Without IPv6 there is no table of it.
                Ok(None) => {}
                Err(EngineError::Host {
                    source: DriverError::Refused { message, .. } | DriverError::Unsupported { message, .. },
                    ..
                }) => return Ok(Traffic::Unknown(message)),
                Err(error) => return Err(error),
            }
        }
        if tables.is_empty() {
            return Ok(Traffic::Unknown(format!("its guest has no {}", SOCKETS[0])));
        }
        let tables: Vec<_> = tables.iter().map(String::as_str).collect();
        Ok(Traffic::From(sockets::inbound(&tables)))
    }
}

/// What is there of the last use of a machine, in a guest that should have nothing of it.
pub(super) async fn traces(grip: &Grip<'_>, used: Option<&UseMark>) -> Result<Option<String>, EngineError> {
    for path in places(grip).await {
        if grip.file(path).await?.is_some_and(|word| !word.is_empty()) {
            return Ok(Some(format!("the mark {path}")));
        }
    }
    let admitted = used.and_then(|used| Some((used.user.as_ref()?, used.key.as_ref()?)));
    match admitted {
        Some((user, key)) if has_key(grip, user, key).await? => Ok(Some(format!("the key of user {user}"))),
        _ => Ok(None),
    }
}

/// Where the word stands in this guest.
async fn places(grip: &Grip<'_>) -> &'static [&'static str] {
    let wishes = Wishes::from_mark(&grip.record.mark().await);
    match wishes.guest.and_then(|guest| guest.os_family).as_deref() {
        Some("windows") => &TRACES_OF_WINDOWS,
        _ => &TRACES,
    }
}

async fn has_key(grip: &Grip<'_>, user: &str, key: &str) -> Result<bool, EngineError> {
    let user = user.to_owned();
    match grip.ask(&GuestTask::Keys { user }).await? {
        GuestAnswer::Keys(keys) => Ok(keys.iter().any(|there| there.trim() == key.trim())),
        other => Err(grip.guest(format!("its agent, asked for keys, answered {other:?}"))),
    }
}
