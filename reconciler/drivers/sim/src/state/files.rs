//! Files of the host that lie beside the pools, put there by others.

use labyard_driver::DriverError;
use labyard_driver::ids::Bytes;
use labyard_driver::observed::HostFile;
use serde::{Deserialize, Serialize};

use super::{Content, State, missing, refused};

/// A file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct File {
    pub(super) length: Bytes,
    pub(super) content: Content,
    /// How often it was written.
    writes: u64,
}

impl State {
    /// The file of a path; one that is a directory of others is none.
    pub(super) fn file(&self, path: &str) -> Result<&File, DriverError> {
        if let Some(file) = self.files.get(path) {
            return Ok(file);
        }
        let inside = format!("{}/", path.trim_end_matches('/'));
        match self.files.keys().any(|other| other.starts_with(&inside)) {
            true => Err(refused(format!("reading file {path}"), "it is a directory")),
            false => Err(missing("file", path)),
        }
    }

    pub(crate) fn host_file(&self, path: &str) -> Result<HostFile, DriverError> {
        let file = self.file(path)?;
        Ok(HostFile {
            length: file.length,
            version: file.writes.to_string(),
        })
    }

    pub(crate) fn read_host_file(&self, path: &str) -> Result<Vec<u8>, DriverError> {
        let file = self.file(path)?;
        let read = file.content.read(file.length);
        read.ok_or_else(|| {
            refused(
                format!("reading file {path}"),
                "the simulator keeps only its head",
            )
        })
    }

    pub(super) fn put_file(&mut self, path: &str, bytes: &[u8]) {
        let length = Bytes(bytes.len() as u64);
        let mut content = Content::for_length(length);
        content.append(bytes);
        let writes = self.files.get(path).map_or(0, |file| file.writes) + 1;
        let file = File {
            length,
            content,
            writes,
        };
        self.files.insert(path.to_owned(), file);
    }
}
