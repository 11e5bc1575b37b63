//! A directory with images in it, and QEMU's programs for them.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;
use vhdx::{Disk, Identity, LocalFile, Qcow2, RawFile, ReadAt, Source, WriteAt, Writer, Written, convert};

pub(crate) const IDENTITY: Identity = Identity {
    disk: Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0),
    file_write: Uuid::from_u128(2),
    data_write: Uuid::from_u128(3),
};

/// A part of a disk that is not zeros.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) at: u64,
    pub(crate) length: usize,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// Bytes that nothing compresses.
    Noise,
    /// Bytes that everything compresses.
    Lines,
}

impl Spot {
    pub(crate) fn noise(at: u64, length: usize) -> Self {
        let what = What::Noise;
        Self { at, length, what }
    }

    pub(crate) fn lines(at: u64, length: usize) -> Self {
        let what = What::Lines;
        Self { at, length, what }
    }

    /// The bytes: the same for the same spot, none of them zero.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut state = self.at ^ 0x9e37_79b9_7f4a_7c15;
        (0..self.length)
            .map(|index| match self.what {
                What::Noise => {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    (state >> 32) as u8 | 1
                }
                What::Lines => b"a line of text, and another one\n"[index % 32] + (index >> 12 & 7) as u8,
            })
            .collect()
    }
}

/// A file of which nobody asks that it outlasts a loss of power.
pub(crate) struct Unsynced(LocalFile);

impl Unsynced {
    pub(crate) async fn create_new(path: PathBuf) -> Self {
        Self(LocalFile::create_new(path).await.unwrap())
    }
}

#[async_trait]
impl WriteAt for Unsynced {
    async fn write_at(&self, offset: u64, bytes: Bytes) -> io::Result<()> {
        self.0.write_at(offset, bytes).await
    }

    async fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that counts what is read of it.
pub(crate) struct Counted {
    file: Arc<LocalFile>,
    pub(crate) bytes: AtomicU64,
}

#[async_trait]
impl ReadAt for Counted {
    async fn length(&self) -> io::Result<u64> {
        self.file.length().await
    }

    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        self.bytes.fetch_add(length as u64, Ordering::SeqCst);
        self.file.read_at(offset, length).await
    }

    async fn next_data(&self, offset: u64) -> io::Result<u64> {
        self.file.next_data(offset).await
    }
}

pub(crate) struct Place(tempfile::TempDir);

impl Place {
    /// A place, if QEMU's tools are here.
    pub(crate) fn with_qemu() -> Option<Self> {
        for tool in ["qemu-img", "qemu-io"] {
            if let Err(error) = Command::new(tool).arg("--version").output() {
                let said =
                    format!("{tool} cannot be run ({error}; Debian: qemu-utils), no image is compared");
                assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{said}");
                eprintln!("SKIPPED: {said}");
                return None;
            }
        }
        Some(Self(tempfile::tempdir().unwrap()))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `qemu-img`; what it says.
    pub(crate) fn qemu_img(&self, arguments: &str) -> String {
        self.run("qemu-img", &arguments.split(' ').collect::<Vec<_>>())
    }

    /// Has `qemu-io` do something to an image.
    pub(crate) fn qemu_io(&self, image: &str, commands: &[&str]) {
        let mut arguments = vec![image];
        for command in commands {
            arguments.extend(["-c", command]);
        }
        let said = self.run("qemu-io", &arguments);
        assert!(!said.contains("failed") && !said.contains("error"), "{said}");
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    }

    /// A raw image, with holes.
    pub(crate) fn raw(&self, name: &str, size: u64, spots: &[Spot]) {
        let file = std::fs::File::create(self.path(name)).unwrap();
        file.set_len(size).unwrap();
        for spot in spots {
            file.write_all_at(&spot.bytes(), spot.at).unwrap();
        }
        assert_eq!(file.metadata().unwrap().len(), size);
    }

    pub(crate) async fn local(&self, name: &str) -> Arc<LocalFile> {
        Arc::new(LocalFile::open(self.path(name)).await.unwrap())
    }

    pub(crate) async fn counted(&self, name: &str) -> Arc<Counted> {
        let file = self.local(name).await;
        let bytes = AtomicU64::new(0);
        Arc::new(Counted { file, bytes })
    }

    pub(crate) async fn qcow2(&self, name: &str) -> Qcow2 {
        Qcow2::open(self.local(name).await).await.unwrap()
    }

    pub(crate) async fn raw_file(&self, name: &str) -> RawFile {
        RawFile::open(self.local(name).await).await.unwrap()
    }

    /// Writes a disk of what a source has.
    pub(crate) async fn write(
        &self,
        source: &mut dyn Source,
        name: &str,
        shape: impl FnOnce(Disk) -> Disk,
    ) -> Written {
        let disk = shape(Disk::holding(source.size(), IDENTITY).unwrap());
        let target = Unsynced::create_new(self.path(name)).await;
        let written = convert(source, Writer::new(Arc::new(target), disk))
            .await
            .unwrap();
        let length = std::fs::metadata(self.path(name)).unwrap().len();
        assert_eq!(written.file, length);
        written
    }

    /// QEMU finds nothing wrong with a VHDX, and in it what is in an image of that format.
    pub(crate) fn is_same(&self, format: &str, image: &str, disk: &str) {
        self.qemu_img(&format!("check -q -f vhdx {disk}"));
        let said = self.qemu_img(&format!("compare -f {format} -F vhdx {image} {disk}"));
        assert!(said.contains("Images are identical"), "{said}");
    }
}
