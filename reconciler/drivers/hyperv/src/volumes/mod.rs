//! Volumes: files in a pool's directory, each of a name. What is uploaded becomes what Hyper-V takes, while it comes: a raw or a
//! qcow2 image a virtual disk, with its holes; an ISO image stays one.

mod fill;
mod read;
mod sniff;

use labyard_driver::DriverError;
use labyard_driver::ids::{Bytes, PoolName, VolumeName};
use labyard_driver::observed::{PoolRoom, VolumeDetail};
use labyard_driver::spec::{DiskFormat, VolumeContent, VolumeSpec};
use labyard_files::{Access, Entry, Error, HostFiles, HostPath, Kind, Why};

use crate::disks;
use crate::host::Host;
use crate::places::{Content, Directory};

/// The longest number of bytes.
const DIGITS: usize = 20;
/// How the name of a file ends that is being filled.
pub(crate) const PART: &str = ".part";

/// An error of files, as all hosts tell it.
pub(crate) fn failed(error: Error) -> DriverError {
    let doing = format!("{} {}", error.verb, error.path);
    let message = error.why.to_string();
    match error.why {
        Why::NotFound => DriverError::Missing {
            what: error.path.to_string(),
        },
        Why::Exists(path) => DriverError::Exists {
            what: path.to_string(),
        },
        Why::DiskFull => DriverError::NoSpace { doing },
        Why::InUse | Why::Busy(_) => DriverError::Busy { doing, message },
        Why::NotSent(_) => DriverError::Unreachable { message },
        Why::Lost(_) => DriverError::ReplyLost { doing, message },
        Why::Unsupported(message) => DriverError::Unsupported { what: doing, message },
        _ => DriverError::Refused { doing, message },
    }
}

/// A file that a volume is.
#[derive(Clone, Debug)]
struct Found {
    content: Content,
    path: HostPath,
    size: u64,
}

impl Host {
    /// The directory of a pool.
    pub(crate) fn directory_of(&self, pool: &PoolName) -> Result<&Directory, DriverError> {
        match *pool == self.pool {
            true => Ok(&self.directory),
            false => Err(DriverError::Missing {
                what: format!("storage pool {pool}"),
            }),
        }
    }

    pub(crate) fn path(
        &self,
        pool: &PoolName,
        name: &VolumeName,
        content: Content,
    ) -> Result<HostPath, DriverError> {
        let file = self.directory_of(pool)?.file(name, content);
        HostPath::new(&file).map_err(|error| DriverError::Refused {
            doing: format!("naming the file of volume {name}"),
            message: error.to_string(),
        })
    }

    /// The room on the volume of Windows that a pool is on.
    ///
    /// # Errors
    /// If the host refuses or does not answer.
    pub async fn pool_room(&self, pool: &PoolName) -> Result<PoolRoom, DriverError> {
        self.directory_of(pool)?;
        let space = self.files().space().await.map_err(failed)?;
        Ok(PoolRoom {
            capacity: Bytes(space.total),
            available: Bytes(space.free),
        })
    }

    /// The names of all volumes of a pool.
    ///
    /// # Errors
    /// If the host refuses or does not answer.
    pub async fn volumes(&self, pool: &PoolName) -> Result<Vec<VolumeName>, DriverError> {
        let entries = self.entries(pool).await?;
        let mut names: Vec<_> = entries
            .iter()
            .filter_map(|entry| Directory::named(&entry.name))
            .map(|(name, _)| name)
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    pub(crate) async fn entries(&self, pool: &PoolName) -> Result<Vec<Entry>, DriverError> {
        self.directory_of(pool)?;
        let entries = self.files().list(self.files().root()).await.map_err(failed)?;
        let files = entries.into_iter().filter(|entry| entry.stat.kind == Kind::File);
        Ok(files.collect())
    }

    /// The file of a volume: of one that was filled and whose placeholder is still there, what it was filled with.
    async fn found(&self, pool: &PoolName, name: &VolumeName) -> Result<Found, DriverError> {
        for content in Content::ALL {
            let path = self.path(pool, name, content)?;
            match self.files().stat(&path).await {
                Ok(stat) => {
                    return Ok(Found {
                        content,
                        path,
                        size: stat.size,
                    });
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(DriverError::Missing {
            what: format!("volume {name}"),
        })
    }

    /// One volume, read now.
    ///
    /// # Errors
    /// [`DriverError::Missing`] where there is none.
    pub async fn volume(&self, pool: &PoolName, name: &VolumeName) -> Result<VolumeDetail, DriverError> {
        let found = self.found(pool, name).await?;
        let path = found.path.to_string();
        Ok(match found.content {
            Content::Disk => {
                let disk = disks::look(&self.client, &path).await?;
                VolumeDetail {
                    name: name.clone(),
                    capacity: disk.size,
                    format: Some(DiskFormat::Vhdx),
                    backing: disk.parent,
                    path,
                }
            }
            Content::Waiting => VolumeDetail {
                name: name.clone(),
                capacity: self.awaited(&found.path).await?,
                format: Some(DiskFormat::Raw),
                backing: None,
                path,
            },
            Content::Iso | Content::Other => VolumeDetail {
                name: name.clone(),
                capacity: Bytes(found.size),
                format: Some(DiskFormat::Raw),
                backing: None,
                path,
            },
        })
    }

    /// Makes a volume.
    ///
    /// # Errors
    /// [`DriverError::Exists`] where the name is taken.
    pub async fn create_volume(&self, spec: &VolumeSpec) -> Result<VolumeDetail, DriverError> {
        let VolumeSpec { pool, name, content } = spec;
        match self.found(pool, name).await {
            Err(DriverError::Missing { .. }) => {}
            Ok(found) => {
                return Err(DriverError::Exists {
                    what: found.path.to_string(),
                });
            }
            Err(error) => return Err(error),
        }
        let path = self.path(pool, name, Content::Disk)?.to_string();
        let file_of =
            |base: &VolumeName| Ok::<_, DriverError>(self.path(pool, base, Content::Disk)?.to_string());
        match content {
            VolumeContent::Blank { capacity } => disks::create(&self.client, &path, *capacity).await?,
            VolumeContent::Overlay { base, capacity, .. } => {
                let base = file_of(base)?;
                self.holds(&base, *capacity).await?;
                disks::overlay(&self.client, &path, &base).await?;
                self.grown(&path, *capacity).await?;
            }
            VolumeContent::Copy { base, capacity, .. } => {
                let base = file_of(base)?;
                self.holds(&base, *capacity).await?;
                disks::copy(&self.client, &base, &path).await?;
                self.grown(&path, *capacity).await?;
            }
            VolumeContent::OfFile {
                path: source,
                capacity,
                ..
            } => {
                disks::copy(&self.client, source, &path).await?;
                self.grown(&path, *capacity).await?;
            }
            VolumeContent::Upload { length } => {
                let room = self.files().space().await.map_err(failed)?;
                if room.free < length.0 {
                    return Err(DriverError::NoSpace {
                        doing: format!("making room for {length} as volume {name}"),
                    });
                }
                let path = self.path(pool, name, Content::Waiting)?;
                let mut writer = self.files().create(&path).await.map_err(failed)?;
                let text = length.0.to_string();
                writer.write_at(0, text.as_bytes()).await.map_err(failed)?;
                writer.flush().await.map_err(failed)?;
                writer.close().await.map_err(failed)?;
            }
            VolumeContent::Block { .. } | VolumeContent::BlockCopy { .. } => {
                return Err(DriverError::Unsupported {
                    what: "a block device".to_owned(),
                    message: "pools of Hyper-V hosts are directories".to_owned(),
                });
            }
        }
        self.volume(pool, name).await
    }

    /// How many bytes a volume waits for.
    pub(crate) async fn awaited(&self, path: &HostPath) -> Result<Bytes, DriverError> {
        let file = self.files().open(path).await.map_err(failed)?;
        let length = usize::try_from(file.size()).unwrap_or(usize::MAX).min(DIGITS);
        let text = file.read_at(0, length).await.map_err(failed)?;
        let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
        number.map(Bytes).ok_or_else(|| DriverError::Refused {
            doing: format!("reading {path}"),
            message: "it does not say how many bytes it waits for; whoever made it was cut short: delete it"
                .to_owned(),
        })
    }

    /// Refuses a disk that would be smaller than what it stands on.
    async fn holds(&self, base: &str, capacity: Bytes) -> Result<(), DriverError> {
        let there = disks::look(&self.client, base)
            .await
            .map_err(|error| match error {
                DriverError::Missing { what } => DriverError::Refused {
                    doing: format!("reading {base}"),
                    message: format!("{what} does not exist"),
                },
                other => other,
            })?;
        match there.size <= capacity {
            true => Ok(()),
            false => Err(DriverError::Refused {
                doing: format!("making a disk of {capacity} of {base}"),
                message: format!("that has {} already", there.size),
            }),
        }
    }

    async fn grown(&self, path: &str, capacity: Bytes) -> Result<(), DriverError> {
        disks::grow(&self.client, path, capacity).await
    }

    /// Deletes a volume, with what an upload may have left of it; gone already is success.
    ///
    /// # Errors
    /// [`DriverError::Busy`] where something has it open.
    pub async fn delete_volume(&self, pool: &PoolName, name: &VolumeName) -> Result<(), DriverError> {
        for content in Content::ALL {
            let path = self.path(pool, name, content)?;
            delete(self.files(), &part(&path)?).await?;
            delete(self.files(), &path).await?;
        }
        Ok(())
    }
}

/// The name of a file while it is filled.
pub(crate) fn part(path: &HostPath) -> Result<HostPath, DriverError> {
    HostPath::new(&format!("{path}{PART}")).map_err(|error| DriverError::Refused {
        doing: format!("naming what {path} is filled as"),
        message: error.to_string(),
    })
}

async fn delete(files: &dyn HostFiles, path: &HostPath) -> Result<(), DriverError> {
    let deleted = match files.delete_file(path).await {
        // The base of overlays is kept from changes so.
        Err(error) if error.why == Why::ReadOnly => {
            files.protect(path, Access::ReadWrite).await.map_err(failed)?;
            files.delete_file(path).await
        }
        other => other,
    };
    match deleted {
        Err(error) if error.is_not_found() => Ok(()),
        other => other.map_err(failed),
    }
}
