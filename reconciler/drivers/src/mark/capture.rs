//! What a mark says while an image is made of a disk of its machine: what is undone if nobody finishes it.

use serde::{Deserialize, Serialize};

use crate::ids::{PoolName, UploadId, VolumeName};

/// An image that is being made of a disk of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureMark {
    /// Its pool.
    pub pool: PoolName,
    /// The volume that is being filled.
    pub volume: VolumeName,
    /// That filling of it.
    pub upload: UploadId,
    /// What becomes of the machine when the image is made.
    #[serde(default, skip_serializing_if = "AfterCapture::is_as_it_is")]
    pub after: AfterCapture,
    /// Whether its guest may be held still, and what is its own set aside.
    #[serde(default, skip_serializing_if = "GuestOfCapture::is_itself")]
    pub guest: GuestOfCapture,
}

/// What a capture may have left in a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestOfCapture {
    /// Nothing.
    #[default]
    Itself,
    /// Its file systems may stand still, and its keys may be set aside.
    Held,
}

impl GuestOfCapture {
    fn is_itself(&self) -> bool {
        *self == Self::Itself
    }
}

/// What becomes of a machine of which an image was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterCapture {
    /// It stays as it is.
    #[default]
    AsItIs,
    /// It was shut down for it, and is started again.
    Started,
}

impl AfterCapture {
    fn is_as_it_is(&self) -> bool {
        *self == Self::AsItIs
    }
}
