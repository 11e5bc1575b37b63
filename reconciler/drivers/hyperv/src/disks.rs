//! Virtual disks, made and changed by the host: nothing of their content goes over the wire.

use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::ids::Bytes;
use wsman::{CimClass, Client, Raw};

use crate::call::{Service, call, instance};
use crate::classes::VirtualDisk;

/// `Format` of a VHDX.
const VHDX: u16 = 3;
/// How often the host is asked once more for what it has only begun to find out, and after what time.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// `Type` of a virtual disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As long as it is from the start.
    Fixed,
    /// It grows with what is written.
    Dynamic,
    /// It holds what differs from another one.
    Differencing,
}

impl Kind {
    /// By its number.
    pub fn of(number: u16) -> Option<Self> {
        match number {
            2 => Some(Self::Fixed),
            3 => Some(Self::Dynamic),
            4 => Some(Self::Differencing),
            _ => None,
        }
    }

    /// Its number.
    pub fn number(self) -> u16 {
        match self {
            Self::Fixed => 2,
            Self::Dynamic => 3,
            Self::Differencing => 4,
        }
    }
}

/// What the host says of a virtual disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its size as a machine sees it.
    pub size: Bytes,
    /// What it is; `None` for something newer.
    pub kind: Option<Kind>,
    /// The file that it stands on.
    pub parent: Option<String>,
}

/// Makes an empty disk that grows with what is written. A file of that name is an error and stays.
///
/// # Errors
/// What the host says.
pub async fn create(client: &Client, path: &str, size: Bytes) -> Result<(), DriverError> {
    let disk = VirtualDisk {
        path: Some(path.to_owned()),
        kind: Some(Kind::Dynamic.number()),
        format: Some(VHDX),
        size: Some(size.0),
        ..VirtualDisk::default()
    };
    make(client, &format!("creating {path}"), &disk).await
}

/// Makes a disk that holds what differs from another one, as large as that.
///
/// # Errors
/// What the host says.
pub async fn overlay(client: &Client, path: &str, base: &str) -> Result<(), DriverError> {
    let disk = VirtualDisk {
        path: Some(path.to_owned()),
        kind: Some(Kind::Differencing.number()),
        format: Some(VHDX),
        parent: Some(base.to_owned()),
        ..VirtualDisk::default()
    };
    make(client, &format!("creating {path} over {base}"), &disk).await
}

async fn make(client: &Client, doing: &str, disk: &VirtualDisk) -> Result<(), DriverError> {
    let method = Service::Disks.method("CreateVirtualHardDisk");
    let method = method.text("VirtualDiskSettingData", instance(doing, disk)?);
    call(client, doing, &method).await.map(drop)
}

/// Makes a disk of its own of what another one holds, with all that that stands on.
///
/// # Errors
/// What the host says.
pub async fn copy(client: &Client, from: &str, path: &str) -> Result<(), DriverError> {
    let doing = format!("copying {from} to {path}");
    let disk = VirtualDisk {
        path: Some(path.to_owned()),
        kind: Some(Kind::Dynamic.number()),
        format: Some(VHDX),
        ..VirtualDisk::default()
    };
    let method = Service::Disks.method("ConvertVirtualHardDisk");
    let method = method
        .text("SourcePath", from)
        .text("VirtualDiskSettingData", instance(&doing, &disk)?);
    call(client, &doing, &method).await.map(drop)
}

/// Grows a disk. Never shrinks; as large already is success. The host refuses it while there are checkpoints.
///
/// # Errors
/// What the host says.
pub async fn grow(client: &Client, path: &str, size: Bytes) -> Result<(), DriverError> {
    if look(client, path).await?.size >= size {
        return Ok(());
    }
    let doing = format!("growing {path} to {size}");
    let method = Service::Disks.method("ResizeVirtualHardDisk");
    let method = method
        .text("Path", path)
        .text("MaxInternalSize", size.0.to_string());
    call(client, &doing, &method).await?;
    let now = look(client, path).await?.size;
    if now >= size {
        return Ok(());
    }
    Err(DriverError::Refused {
        doing,
        message: format!("the host says that it is done, and the disk has {now}"),
    })
}

/// Looks at a disk, which opens its file.
///
/// # Errors
/// [`DriverError::Missing`] where there is no such file; else what the host says.
pub async fn look(client: &Client, path: &str) -> Result<Disk, DriverError> {
    let doing = format!("looking at {path}");
    let method = Service::Disks
        .method("GetVirtualHardDiskSettingData")
        .text("Path", path);
    for _ in 0..LOOKS {
        let answer = match call(client, &doing, &method).await {
            Err(DriverError::Missing { .. }) => {
                return Err(DriverError::Missing {
                    what: path.to_owned(),
                });
            }
            answer => answer?,
        };
        if let Raw::Text(text) = answer.get("SettingData") {
            return read(&doing, text);
        }
        // It looks as a job, whose end has no value: asked again, it has one.
        tokio::time::sleep(PAUSE).await;
    }
    Err(DriverError::Busy {
        doing,
        message: "the host is still finding out".to_owned(),
    })
}

fn read(doing: &str, text: &str) -> Result<Disk, DriverError> {
    let unreadable = |message: String| DriverError::Refused {
        doing: doing.to_owned(),
        message,
    };
    let disk = VirtualDisk::of_instance(text).map_err(|error| unreadable(error.to_string()))?;
    let size = disk
        .size
        .ok_or_else(|| unreadable("the host does not say its size".to_owned()))?;
    Ok(Disk {
        size: Bytes(size),
        kind: disk.kind.and_then(Kind::of),
        parent: disk.parent.filter(|parent| !parent.is_empty()),
    })
}
