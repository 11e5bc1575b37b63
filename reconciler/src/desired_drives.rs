//! CD drives as they shall be.

use std::collections::BTreeMap;

use labyard_driver::ids::MediaKey;
use labyard_schema::vm;

use crate::desired::{DesiredImage, desired_image};
use serde::{Deserialize, Serialize};

/// A CD drive as it shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredDrive {
    /// What is in it; nothing in an empty one.
    pub image: Option<DesiredImage>,
    /// Place in the boot order, as written.
    pub boot: Option<u32>,
}

/// The drives that are asked for.
pub(crate) fn desired_media(vm: &vm::Vm) -> BTreeMap<MediaKey, DesiredDrive> {
    let pinned = |key| vm.media_digests.as_ref().and_then(|digests| digests.get(key));
    let drives = vm.media.iter().flatten().map(|(key, drive)| {
        let image = drive
            .image
            .as_ref()
            .map(|image| desired_image(&image.source, image.sha256.as_ref(), pinned(key)));
        let boot = drive.boot;
        (MediaKey(key.clone()), DesiredDrive { image, boot })
    });
    drives.collect()
}
