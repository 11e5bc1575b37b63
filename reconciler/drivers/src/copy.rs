//! A disk copied while its machine runs ([`crate::Driver::begin_copy`]): as it was at one moment, whatever is written since.
//!
//! ```
//! # use labyard_driver::copy::{Copying, DiskCopy};
//! let copy = DiskCopy { pool: "default".into(), disk: "web.root".into(), into: "copy".into() };
//! assert_ne!(copy.disk, copy.into);
//! assert!(matches!(Copying::Ended("no space left".into()), Copying::Ended(why) if why.contains("space")));
//! ```

use serde::{Deserialize, Serialize};

use crate::ids::{PoolName, VolumeName};

/// Which disk is copied, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskCopy {
    /// The pool of both volumes.
    pub pool: PoolName,
    /// The disk's volume, with all that it stands on.
    pub disk: VolumeName,
    /// An empty qcow2 volume as large as the disk, which stands on no other.
    pub into: VolumeName,
}

/// How far a copy is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Copying {
    /// It goes on.
    Going,
    /// The volume has all of the disk.
    Whole,
    /// It goes on no longer, and what the volume has is of no use: why, as far as the host tells.
    Ended(String),
}
