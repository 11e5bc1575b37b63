//! Images that were captured from machines: each has a name and revisions, on the hosts that have it.
//!
//! ```
//! use labyard_api::image::{Capture, WhileRunning};
//! let asked: Capture = serde_json::from_str(r#"{"image": "golden"}"#).unwrap();
//! assert_eq!(asked.running, WhileRunning::Quiesced);
//! ```

use crate::vm::Unread;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The type of the problem that an image is which machines are made of.
pub const IN_USE: &str = "image-in-use";
/// The type of the problem that an image is which pools are made of.
pub const PINNED: &str = "image-pinned";

/// A revision of a captured image, on a host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Image {
    /// Its namespace.
    pub namespace: String,
    /// Its name: as a source it is `image:NAME`, or `image:NAME@REVISION`.
    pub name: String,
    /// Its number among those of its name, from 1.
    pub revision: u32,
    /// The host.
    pub host: String,
    /// The storage pool.
    pub storage_pool: String,
    /// What it is.
    pub sha256: String,
}

/// Captured images, and what they may be missing in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Images {
    /// By namespace, name and revision.
    pub items: Vec<Image>,
    /// Hosts that did not answer: there may be more images.
    pub unread: Vec<Unread>,
}

/// What becomes of a machine that runs while its disk is captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhileRunning {
    /// It runs on: its agent holds its file systems still for a moment.
    #[default]
    Quiesced,
    /// It is shut down, and started again afterwards.
    Stopped,
}

/// What is to be captured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// The name of the image, in the machine's namespace: 1 to 40 lower-case letters, digits and `-`.
    pub image: String,
    /// The disk, by its key; left out: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// What becomes of a machine that runs.
    #[serde(default)]
    pub running: WhileRunning,
    /// By an engine: by what its state knows the machine again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Value>,
    /// How long it may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_s: Option<u64>,
}

/// What came of a capture: the `result` of its operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Captured {
    /// The image.
    pub image: Image,
    /// Whether SSH host keys and machine id are not in it.
    pub sealed: bool,
    /// Why they may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
