//! Methods of Hyper-V's services: called, judged by what they return, their jobs waited for.

use std::time::Duration;

use labyard_driver::DriverError;
use wsman::{CimClass, Client, Invoke, Object, Raw, Reference};

use crate::classes::V2;
use crate::errors::{Code, failed};
use crate::job;

/// How long a job may go on.
const JOB: Duration = Duration::from_secs(300);

/// The services of a host, each of which there is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Machines and their devices.
    Machines,
    /// Virtual disks.
    Disks,
    /// Switches.
    Switches,
    /// Checkpoints.
    Checkpoints,
    /// Guards.
    Security,
}

impl Service {
    /// Its class.
    pub fn class(self) -> &'static str {
        match self {
            Self::Machines => "Msvm_VirtualSystemManagementService",
            Self::Disks => "Msvm_ImageManagementService",
            Self::Switches => "Msvm_VirtualEthernetSwitchManagementService",
            Self::Checkpoints => "Msvm_VirtualSystemSnapshotService",
            Self::Security => "Msvm_SecurityService",
        }
    }

    /// A call of one of its methods.
    pub fn method(self, name: &str) -> Invoke {
        Invoke::of(Reference::service(V2, self.class()), name)
    }
}

/// Calls a method and waits for its job. What comes out beside the code and the job is the answer.
///
/// # Errors
/// What it returned or its job ended with, told by what was being done.
pub async fn call(client: &Client, doing: &str, invoke: &Invoke) -> Result<Object, DriverError> {
    let (returned, answer) = ask(client, doing, invoke).await?;
    match Code::of(returned) {
        Code::Done => {}
        Code::Job => {
            let Raw::Reference(job) = answer.get("Job") else {
                return Err(DriverError::ReplyLost {
                    doing: doing.to_owned(),
                    message: "the host goes on with it and does not say as which job".to_owned(),
                });
            };
            job::finished(client, job, doing, JOB).await?;
        }
        code => return code.error(returned, doing, "").map_or(Ok(answer), Err),
    }
    Ok(answer)
}

/// Calls a method: what it returned, and what came out, for who knows its codes.
///
/// # Errors
/// If the host refuses the call or does not answer.
pub async fn ask(client: &Client, doing: &str, invoke: &Invoke) -> Result<(u32, Object), DriverError> {
    let answer = client
        .invoke(invoke)
        .await
        .map_err(|error| failed(doing.to_owned(), error))?;
    let returned = match answer.get("ReturnValue") {
        Raw::Text(number) => number.trim().parse::<u32>().ok(),
        _ => None,
    };
    let returned = returned.ok_or_else(|| DriverError::ReplyLost {
        doing: doing.to_owned(),
        message: "the host's answer has no return value".to_owned(),
    })?;
    Ok((returned, answer))
}

/// The text of an instance, for a parameter that is one.
pub fn instance<T: CimClass>(doing: &str, value: &T) -> Result<String, DriverError> {
    value.to_instance().map_err(|error| DriverError::Refused {
        doing: doing.to_owned(),
        message: error.to_string(),
    })
}
