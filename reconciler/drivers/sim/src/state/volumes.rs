//! The verbs of the storage pool.

use labyard_driver::DriverError;
use labyard_driver::ids::{Bytes, PoolName, VolumeName};
use labyard_driver::observed::{PoolKind, VolumeDetail};
use labyard_driver::spec::{DiskFormat, VolumeContent, VolumeSpec};

use super::inside::Files;
use super::qcow2;
use super::{Content, Definition, State, Volume, busy, exists, missing, refused};

/// What an empty qcow2 file takes.
const QCOW2_HEADER: Bytes = Bytes(196_616);
/// A chain longer than this is a loop.
const LONGEST_CHAIN: usize = 32;
/// The longest name that the host's file system takes.
const LONGEST_NAME: usize = 255;

/// An upload that has begun.
#[derive(Debug)]
pub(crate) struct Filling {
    path: String,
}

impl Volume {
    /// Whether its content is the file itself: any raw one, and of qcow2 ones those that were sent from outside.
    fn is_as_sent(&self) -> bool {
        let sent = (self.format, self.capacity) == self.content.probe(self.allocated)
            && self.content.written() == self.allocated;
        self.format == DiskFormat::Raw || (sent && self.backing.is_none() && self.files.is_empty())
    }
}

impl State {
    /// Whether a file can be opened, what it is an overlay of included. Files outside the pool are taken to be
    /// there, except below `/nonexistent`.
    pub(super) fn check_file(&self, path: &str) -> Result<(), String> {
        let gone = |path: &str| {
            Err(format!(
                "Cannot access storage file '{path}': No such file or directory"
            ))
        };
        let mut path = path.to_owned();
        for _ in 0..LONGEST_CHAIN {
            let Some((pool, _)) = self.volume_at(&path) else {
                return if path.starts_with("/nonexistent/") {
                    gone(&path)
                } else {
                    Ok(())
                };
            };
            if self.pool(&pool).is_err() {
                return gone(&path);
            }
            match self.volumes.get(&path).map(|volume| volume.backing.clone()) {
                None => return gone(&path),
                Some(None) => return Ok(()),
                Some(Some(backing)) => path = backing,
            }
        }
        Err(format!("the backing chain of '{path}' is a loop"))
    }

    /// Whether a machine has something to boot from.
    pub(super) fn can_boot(&self, definition: &Definition) -> bool {
        definition.direct_boot.is_some() || definition.disks.iter().any(|disk| self.is_filled(&disk.path))
    }

    fn is_filled(&self, path: &str) -> bool {
        let mut path = Some(path.to_owned());
        for _ in 0..LONGEST_CHAIN {
            let Some(volume) = path.and_then(|path| self.volumes.get(&path)) else {
                return false;
            };
            if !volume.content.is_empty() {
                return true;
            }
            path = volume.backing.clone();
        }
        false
    }

    fn volume_ref(&self, pool: &PoolName, name: &VolumeName) -> Result<&Volume, DriverError> {
        self.pool(pool)?;
        let found = self.volumes.get(&self.path_of(pool, name));
        found.ok_or_else(|| missing("volume", name))
    }

    pub(crate) fn volume(&self, pool: &PoolName, name: &VolumeName) -> Result<VolumeDetail, DriverError> {
        let volume = self.volume_ref(pool, name)?;
        Ok(VolumeDetail {
            name: name.clone(),
            path: self.path_of(pool, name),
            capacity: volume.capacity,
            format: Some(volume.format),
            backing: volume.backing.clone(),
        })
    }

    pub(crate) fn volume_names(&self, pool: &PoolName) -> Result<Vec<VolumeName>, DriverError> {
        self.pool(pool)?;
        let of = |path: &String| self.volume_at(path).filter(|(of, _)| of == pool);
        Ok(self.volumes.keys().filter_map(of).map(|(_, name)| name).collect())
    }

    pub(crate) fn create_volume(&mut self, spec: &VolumeSpec) -> Result<VolumeDetail, DriverError> {
        self.pool(&spec.pool)?;
        let doing = format!("making volume {}", spec.name);
        let name = spec.name.as_str();
        if name.is_empty() || name.len() > LONGEST_NAME || name.contains('/') {
            return Err(refused(
                doing,
                "the name is empty, too long, or has a slash in it",
            ));
        }
        let path = self.path_of(&spec.pool, &spec.name);
        if self.volumes.contains_key(&path) {
            return Err(exists("volume", &spec.name));
        }
        let volume = self.new_volume(&spec.pool, &spec.content, &doing)?;
        self.volumes.insert(path, volume);
        self.volume(&spec.pool, &spec.name)
    }

    /// Whether the pool makes volumes of that kind.
    fn check_kind(&self, pool: &PoolName, content: &VolumeContent, doing: &str) -> Result<(), DriverError> {
        let settings = self.pool(pool)?;
        let blocks = matches!(
            content,
            VolumeContent::Block { .. } | VolumeContent::BlockCopy { .. }
        );
        let fits = match settings.kind {
            PoolKind::Directory => !blocks,
            PoolKind::Logical => blocks,
            PoolKind::Other(_) => false,
        };
        if !fits {
            return Err(refused(
                doing,
                format!("the volumes of pool {pool} are of another kind"),
            ));
        }
        Ok(())
    }

    fn new_volume(
        &self,
        pool: &PoolName,
        content: &VolumeContent,
        doing: &str,
    ) -> Result<Volume, DriverError> {
        self.check_kind(pool, content, doing)?;
        let check_room = |needed| self.check_room(pool, needed, doing);
        let blank = |capacity: Bytes| Volume {
            capacity,
            format: DiskFormat::Qcow2,
            backing: None,
            allocated: QCOW2_HEADER,
            content: Content::default(),
            files: Files::new(),
            memory: None,
            uploads: 0,
        };
        match content {
            VolumeContent::Blank { capacity } => Ok(blank(*capacity)),
            VolumeContent::Overlay {
                base,
                base_format,
                capacity,
            } => {
                self.check_base(pool, base, *base_format, *capacity, doing)?;
                Ok(Volume {
                    backing: Some(self.path_of(pool, base)),
                    ..blank(*capacity)
                })
            }
            VolumeContent::Copy {
                base,
                base_format,
                capacity,
            } => {
                self.check_base(pool, base, *base_format, *capacity, doing)?;
                let (files, content, allocated) = self.flat(&self.path_of(pool, base));
                check_room(allocated)?;
                Ok(Volume {
                    allocated: allocated.max(QCOW2_HEADER),
                    content,
                    files,
                    ..blank(*capacity)
                })
            }
            VolumeContent::Block { capacity } => {
                check_room(*capacity)?;
                Ok(Volume {
                    format: DiskFormat::Raw,
                    allocated: *capacity,
                    ..blank(*capacity)
                })
            }
            VolumeContent::BlockCopy {
                base_pool,
                base,
                base_format,
                capacity,
            } => {
                let files = self.written_on(&self.path_of(base_pool, base));
                let base = self.check_base(base_pool, base, *base_format, *capacity, doing)?;
                check_room(*capacity)?;
                Ok(Volume {
                    format: DiskFormat::Raw,
                    allocated: *capacity,
                    content: base.content.clone(),
                    files,
                    ..blank(*capacity)
                })
            }
            VolumeContent::OfFile {
                path,
                format,
                capacity,
            } => {
                let (length, content) = self.content_of(path, *format, doing)?;
                check_room(length)?;
                Ok(Volume {
                    format: *format,
                    allocated: length,
                    content,
                    ..blank(*capacity)
                })
            }
            VolumeContent::Upload { length } => {
                check_room(*length)?;
                Ok(Volume {
                    format: DiskFormat::Raw,
                    allocated: *length,
                    ..blank(*length)
                })
            }
        }
    }

    /// What a disk shows with all that it stands on, and the room that it takes.
    pub(super) fn flat(&self, path: &str) -> (Files, Content, Bytes) {
        let below = |volume: &&Volume| self.volumes.get(volume.backing.as_deref()?);
        let chain = || std::iter::successors(self.volumes.get(path), below).take(LONGEST_CHAIN);
        let content = chain().find(|volume| !volume.content.is_empty());
        (
            self.written_on(path),
            content.map(|volume| volume.content.clone()).unwrap_or_default(),
            Bytes(chain().map(|volume| volume.allocated.0).sum()),
        )
    }

    /// What stands in a file of the host, and how long it is.
    fn content_of(
        &self,
        path: &str,
        format: DiskFormat,
        doing: &str,
    ) -> Result<(Bytes, Content), DriverError> {
        let file = self.file(path)?;
        match file.content.probe(file.length).0 == format {
            true => Ok((file.length, file.content.clone())),
            false => Err(refused(doing, format!("{path} is not {format:?}"))),
        }
    }

    fn check_base(
        &self,
        pool: &PoolName,
        base: &VolumeName,
        format: DiskFormat,
        capacity: Bytes,
        doing: &str,
    ) -> Result<&Volume, DriverError> {
        let volume = self.volumes.get(&self.path_of(pool, base));
        let volume = volume.ok_or_else(|| refused(doing, format!("the base {base} does not exist")))?;
        if volume.format != format {
            let message = format!("the base {base} is {:?}, not {format:?}", volume.format);
            return Err(refused(doing, message));
        }
        if capacity < volume.capacity {
            let message = format!(
                "{capacity} is less than the {} of the base {base}",
                volume.capacity
            );
            return Err(refused(doing, message));
        }
        Ok(volume)
    }

    pub(super) fn check_room(&self, pool: &PoolName, needed: Bytes, doing: &str) -> Result<(), DriverError> {
        match needed <= self.available(pool, &self.pool(pool)?) {
            true => Ok(()),
            false => Err(DriverError::NoSpace {
                doing: doing.to_owned(),
            }),
        }
    }

    /// Begins to fill a volume, from its start.
    pub(crate) fn begin_upload(
        &mut self,
        pool: &PoolName,
        name: &VolumeName,
        length: Bytes,
    ) -> Result<Filling, DriverError> {
        let capacity = self.volume_ref(pool, name)?.capacity;
        if length > capacity {
            let message = format!("{length} do not fit into the {capacity} that it was made for");
            return Err(refused(format!("uploading to volume {name}"), message));
        }
        let path = self.path_of(pool, name);
        if let Some(volume) = self.volumes.get_mut(&path) {
            volume.uploads += 1;
            volume.content = Content::for_length(length);
        }
        Ok(Filling { path })
    }

    pub(crate) fn fill(&mut self, filling: &Filling, bytes: &[u8]) {
        if let Some(volume) = self.volumes.get_mut(&filling.path) {
            volume.content.append(bytes);
        }
    }

    /// Ends an upload, whole or not; a host looks at what it has then.
    pub(crate) fn end_upload(&mut self, filling: &Filling) {
        if let Some(volume) = self.volumes.get_mut(&filling.path) {
            volume.uploads = volume.uploads.saturating_sub(1);
            (volume.format, volume.capacity) = volume.content.probe(volume.allocated);
            if let Some((content, files)) = qcow2::decoded(&volume.content, volume.allocated) {
                (volume.content, volume.files) = (content, files);
            }
        }
    }

    pub(crate) fn download(
        &self,
        pool: &PoolName,
        name: &VolumeName,
        limit: Bytes,
    ) -> Result<Vec<u8>, DriverError> {
        let volume = self.volume_ref(pool, name)?;
        let doing = format!("reading volume {name}");
        let length = volume.allocated;
        if length > limit {
            return Err(refused(doing, format!("it has {length}, more than {limit}")));
        }
        let content = volume.content.read(length);
        content.ok_or_else(|| refused(doing, "the simulator keeps only the head of large volumes"))
    }

    /// What was sent is read as it was; a disk that the simulator made, as a file that another one takes for the same.
    pub(crate) fn read_volume(&self, pool: &PoolName, name: &VolumeName) -> Result<Vec<u8>, DriverError> {
        let volume = self.volume_ref(pool, name)?;
        if volume.is_as_sent()
            && let Some(content) = volume.content.read(volume.allocated)
        {
            return Ok(content);
        }
        Ok(qcow2::encoded(volume))
    }

    pub(crate) fn delete_volume(&mut self, pool: &PoolName, name: &VolumeName) -> Result<(), DriverError> {
        self.pool(pool)?;
        let path = self.path_of(pool, name);
        if self.volumes.get(&path).is_some_and(|volume| volume.uploads > 0) {
            return Err(busy(format!("deleting volume {name}"), "it is being filled"));
        }
        self.volumes.remove(&path);
        Ok(())
    }

    pub(super) fn grow_file(&mut self, path: &str, capacity: Bytes, doing: &str) -> Result<(), DriverError> {
        if self
            .volume_at(path)
            .is_some_and(|(pool, _)| self.is_logical(&pool))
        {
            return Err(refused(doing, "a logical volume does not grow"));
        }
        let volume = self.volumes.get_mut(path);
        let volume = volume.ok_or_else(|| refused(doing, format!("'{path}': No such file or directory")))?;
        let more = Bytes(capacity.0.saturating_sub(volume.capacity.0));
        if volume.format == DiskFormat::Raw {
            volume.allocated.0 += more.0;
        }
        volume.capacity = volume.capacity.max(capacity);
        Ok(())
    }

    pub(super) fn capacity_at(&self, path: &str) -> labyard_driver::observed::Capacity {
        use labyard_driver::observed::Capacity;
        match self.volume_at(path) {
            Some((pool, _)) if self.pool(&pool).is_err() => Capacity::Missing,
            Some(_) => self
                .volumes
                .get(path)
                .map_or(Capacity::Missing, |volume| Capacity::Known(volume.capacity)),
            None if path.starts_with("/nonexistent/") => Capacity::Missing,
            None => Capacity::Unknown,
        }
    }
}
