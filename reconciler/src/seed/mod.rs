//! The NoCloud seed: user-data, meta-data and network-config for cloud-init, as the bytes of a small CD.
//!
//! cloud-init looks for a file system with the volume id `cidata` (its data source NoCloud). The image is made in
//! process and handed on as bytes: secrets in user-data touch neither a disk of the engine nor an argument list.
//! The same input gives the same bytes, so that a seed that is made again is the same seed.

mod iso9660;
mod kind;
mod meta_data;

pub use kind::{Kind, looks_like};
pub use meta_data::{InstanceId, MetaDataError, meta_data};

/// The volume id that NoCloud looks for.
pub const VOLUME_ID: &str = "cidata";

/// The most that one file of a seed may hold. cloud-init sets no bound; this one keeps a mistake (a whole disk
/// read with `file()`) from becoming a seed.
pub const MAX_FILE: usize = 4 << 20;

/// What goes into a seed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed<'a> {
    /// Passed on as it is; may be empty, the file is always there because NoCloud requires it.
    pub user_data: &'a [u8],
    /// See [`meta_data`].
    pub meta_data: &'a [u8],
    /// Left out where nothing was written: cloud-init then asks every NIC for DHCP.
    pub network_config: Option<&'a [u8]>,
    /// Settings by the operator, which user-data overrides.
    pub vendor_data: Option<&'a [u8]>,
}

/// Why a seed cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// A file is too large.
    #[error(
        "{file} of cloud_init has {size} bytes, at most {MAX_FILE} fit a seed; let user-data fetch what is larger (#include)"
    )]
    TooLarge {
        /// Which one.
        file: &'static str,
        /// Its size.
        size: usize,
    },
}

impl Seed<'_> {
    /// The seed as an ISO 9660 image.
    pub fn to_iso(&self) -> Result<Vec<u8>, SeedError> {
        // In the order of their names, which both directories of the image demand.
        let candidates = [
            ("meta-data", "METADATA.;1", Some(self.meta_data)),
            ("network-config", "NETCONF.;1", self.network_config),
            ("user-data", "USERDATA.;1", Some(self.user_data)),
            ("vendor-data", "VENDDATA.;1", self.vendor_data),
        ];
        let present = candidates.into_iter().filter_map(|(name, short_name, content)| {
            content.map(|content| iso9660::File {
                name,
                short_name,
                content,
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
}

/// Sizes only: the contents may be secrets.
impl std::fmt::Debug for Seed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seed")
            .field("user_data", &self.user_data.len())
            .field("meta_data", &self.meta_data.len())
            .field("network_config", &self.network_config.map(<[u8]>::len))
            .field("vendor_data", &self.vendor_data.map(<[u8]>::len))
            .finish()
    }
}

#[cfg(test)]
mod tests;
