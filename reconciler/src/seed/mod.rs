//! The NoCloud seed: user-data, vendor-data, meta-data and network-config for cloud-init, as the bytes of a small CD.
//!
//! cloud-init looks for a file system with the volume id `cidata` (its data source NoCloud). The image is made in
//! process and handed on as bytes: secrets in user-data touch neither a disk of the engine nor an argument list.
//! The same input gives the same bytes, so that a seed that is made again is the same seed.

mod iso9660;
mod kind;
mod meta_data;

use crate::guest_config::{is_generated_network, users_part};
use serde::{Deserialize, Serialize};

pub use kind::{Kind, looks_like};
pub use meta_data::{MetaDataError, instance_id};

/// The volume id that NoCloud looks for.
pub const VOLUME_ID: &str = "cidata";

/// The most that one file of a seed may hold. cloud-init sets no bound; this one keeps a mistake (a whole disk
/// read with `file()`) from becoming a seed.
pub const MAX_FILE: usize = 4 << 20;

/// What goes into a seed. Its Debug form shows no content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NoCloud<'a> {
    /// What cloud-init knows the machine by; see [`instance_id`].
    pub instance_id: &'a str,
    /// The machine's host name.
    pub local_hostname: &'a str,
    /// Passed on as it is. The file is there even where nothing was written, because NoCloud requires it.
    pub user_data: Option<&'a str>,
    /// What user-data overrule key by key. Left out where there is none.
    pub vendor_data: Option<&'a str>,
    /// Public SSH keys, in the meta-data where there are any.
    pub public_keys: &'a [String],
    /// Passed on as it is. Left out where nothing was written: cloud-init then asks by DHCP.
    pub network_config: Option<&'a str>,
    /// Completed by instance id and host name where it does not name them itself.
    pub meta_data: Option<&'a str>,
}

/// What a seed was made of, as it was written. Its Debug form shows no content.
///
/// A secret user-data cannot be told from a plain one here: who reads must know from the machine's mark.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// User data.
    pub user_data: Option<String>,
    /// Network configuration.
    pub network_config: Option<String>,
    /// Meta data, without what was added to it. (To JSON it is added inside: that reads back as it was sent.)
    pub meta_data: Option<String>,
}

/// Why a seed cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// A file is too large.
    #[error(
        "{file} has {size} bytes, at most {MAX_FILE} fit a seed: let user-data fetch what is larger (#include)"
    )]
    TooLarge {
        /// Which one.
        file: &'static str,
        /// Its size.
        size: usize,
    },
    /// Meta data that nothing can be added to.
    #[error(transparent)]
    MetaData(#[from] MetaDataError),
}

/// Why a seed cannot be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Not a CD with Joliet names, or one that ends too early.
    #[error("this is not a seed: no readable directory of a CD was found")]
    NotACd,
    /// Content that is no text.
    #[error("{0} of the seed is not UTF-8 text")]
    NotText(&'static str),
}

const USER_DATA: &str = "user-data";
const NETWORK_CONFIG: &str = "network-config";
const META_DATA: &str = "meta-data";
const VENDOR_DATA: &str = "vendor-data";

/// The seed as an ISO 9660 image.
pub fn build(seed: &NoCloud<'_>) -> Result<Vec<u8>, SeedError> {
    let meta_data = meta_data::complete(
        seed.meta_data,
        seed.instance_id,
        seed.local_hostname,
        seed.public_keys,
    )?;
    // In the order of their names, which both directories of the image demand.
    let candidates = [
        (META_DATA, "METADATA.;1", Some(meta_data.as_str())),
        (NETWORK_CONFIG, "NETCONF.;1", seed.network_config),
        (USER_DATA, "USERDATA.;1", Some(seed.user_data.unwrap_or_default())),
        (VENDOR_DATA, "VENDDATA.;1", seed.vendor_data),
    ];
    let present = candidates.into_iter().filter_map(|(name, short_name, content)| {
        content.map(|content| iso9660::File {
            name,
            short_name,
            content: content.as_bytes(),
        })
    });
    let files: Vec<_> = present.collect();
    match files.iter().find(|file| file.content.len() > MAX_FILE) {
        Some(file) => Err(SeedError::TooLarge {
            file: file.name,
            size: file.content.len(),
        }),
        None => Ok(iso9660::image(VOLUME_ID, &files)),
    }
}

/// What a seed was made of; any bytes may be given.
pub fn read(image: &[u8]) -> Result<Contents, ReadError> {
    let files = iso9660::files(image).ok_or(ReadError::NotACd)?;
    let text = |name: &'static str| match files.iter().find(|(found, _)| found == name) {
        None => Ok(None),
        Some((_, content)) => match std::str::from_utf8(content) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(ReadError::NotText(name)),
        },
    };
    let user_data = text(USER_DATA)?.filter(|text| !text.is_empty());
    Ok(Contents {
        user_data: user_data.and_then(|text| users_part(&text).unwrap_or(Some(text))),
        network_config: text(NETWORK_CONFIG)?.filter(|text| !is_generated_network(text)),
        meta_data: text(META_DATA)?.and_then(meta_data::as_written),
    })
}

impl std::fmt::Debug for NoCloud<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NoCloud")
            .field("instance_id", &self.instance_id)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contents").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
