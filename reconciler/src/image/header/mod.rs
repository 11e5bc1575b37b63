//! What an image is, read from its first bytes: format and virtual size, or the reason it cannot be used.
//!
//! Nothing is guessed from names or content types. A raw disk has no magic, so everything that is known and not
//! usable (compressed files, other hypervisors' formats, a web page saved by mistake) is recognised first, with
//! what to do about it; what remains is raw. Only raw and qcow2 are ever named to the hypervisor, explicitly,
//! so that a raw image cannot pretend to be something else later.

mod qcow2;

/// An ISO 9660 descriptor begins at sector 16; five bytes after its type byte settle the matter.
const ISO_MAGIC_AT: usize = 32 * 1024 + 1;
const ISO_MAGIC: &[u8] = b"CD001";
const VDI_MAGIC_AT: usize = 64;
const VDI_MAGIC: [u8; 4] = [0x7f, 0x10, 0xda, 0xbe];

/// The most bytes of an image that [`detect`] ever asks for.
pub const MOST_NEEDED: usize = ISO_MAGIC_AT + ISO_MAGIC.len();

/// The largest virtual size that is believed: far over any disk of a lab, far under any overflow.
pub const MAX_VIRTUAL_SIZE: u64 = 64 << 40;

/// How the bytes of an image are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageFormat {
    /// The disk's own bytes.
    Raw,
    /// QEMU's copy-on-write format, version 2 or 3, complete in itself.
    Qcow2,
    /// A CD: for `media`; as a disk it is used like raw (hybrid images boot from either).
    Iso,
}

/// Format and virtual size of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageHeader {
    /// How the bytes are laid out.
    pub format: ImageFormat,
    /// How large the disk appears to a guest, in bytes.
    pub virtual_size: u64,
}

/// Something recognised that is not a usable image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
    /// bzip2.
    Bzip2,
    /// zip.
    Zip,
    /// VMware, sparse or descriptor.
    Vmdk,
    /// Hyper-V.
    Vhdx,
    /// Virtual PC and Azure.
    Vhd,
    /// VirtualBox.
    Vdi,
    /// HTML.
    WebPage,
}

/// Why the first bytes do not make a usable image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// No bytes at all.
    #[error("it is empty")]
    Empty,
    /// Recognised, but not usable.
    #[error("{}", .0.advice())]
    Foreign(Foreign),
    /// A qcow2 header that ends too early.
    #[error("its qcow2 header is cut off after {0} bytes")]
    CutOff(usize),
    /// A qcow2 version nobody writes any more, or one not known yet.
    #[error("it is qcow2 version {0}; versions 2 and 3 can be used (convert it: qemu-img convert -O qcow2)")]
    Version(u32),
    /// An overlay.
    #[error(
        "it is an overlay of another file (backing file {0:?}) and not complete in itself; flatten it: qemu-img convert -O qcow2"
    )]
    BackingFile(String),
    /// Data outside the file.
    #[error("its data is kept in another file (external data file); convert it: qemu-img convert -O qcow2")]
    ExternalDataFile,
    /// Encrypted content.
    #[error("it is encrypted; decrypt it first: qemu-img convert with --object secret")]
    Encrypted,
    /// Marked corrupt by QEMU.
    #[error("it is marked as corrupt; repair it: qemu-img check -r all")]
    Corrupt,
    /// Features from the future.
    #[error("it needs qcow2 features that are not known here (incompatible feature bits {0:#x})")]
    UnknownFeatures(u64),
    /// Fields that contradict each other or common sense.
    #[error("its qcow2 header is not credible: {0}")]
    NotCredible(String),
    /// The header is good, the file shorter than what it describes.
    #[error("it is cut off: its header describes at least {needed} bytes, the file has {length}")]
    ShorterThanDescribed {
        /// The end of the table that the header points at.
        needed: u64,
        /// The file's length.
        length: u64,
    },
}

impl Foreign {
    fn advice(self) -> String {
        let (what, tool) = match self {
            Foreign::Gzip => ("compressed with gzip", "unpack it first: gunzip"),
            Foreign::Xz => ("compressed with xz", "unpack it first: unxz"),
            Foreign::Zstd => ("compressed with zstd", "unpack it first: unzstd"),
            Foreign::Bzip2 => ("compressed with bzip2", "unpack it first: bunzip2"),
            Foreign::Zip => ("a zip archive", "unpack it first: unzip"),
            Foreign::Vmdk => ("a VMDK (VMware)", "convert it: qemu-img convert -f vmdk -O qcow2"),
            Foreign::Vhdx => (
                "a VHDX (Hyper-V)",
                "convert it: qemu-img convert -f vhdx -O qcow2",
            ),
            Foreign::Vhd => (
                "a VHD (Virtual PC)",
                "convert it: qemu-img convert -f vpc -O qcow2",
            ),
            Foreign::Vdi => (
                "a VDI (VirtualBox)",
                "convert it: qemu-img convert -f vdi -O qcow2",
            ),
            Foreign::WebPage => (
                "a web page",
                "the URL leads to HTML (a login or error page?), not to an image",
            ),
        };
        format!("it is {what}, not a raw or qcow2 image; {tool}")
    }
}

/// What a prefix of an image tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detected {
    /// Undecided: at least so many bytes from the start are needed.
    NeedMore(usize),
    /// Decided; with the image's length it makes an [`ImageHeader`].
    Found(Layout),
}

/// A recognised layout, before the image's length is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout(Inner);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Inner {
    Raw,
    Iso,
    Qcow2(qcow2::Header),
}

/// Looks at the first bytes of an image; `complete` says that `prefix` is the whole image.
pub fn detect(prefix: &[u8], complete: bool) -> Result<Detected, HeaderError> {
    if prefix.is_empty() && complete {
        return Err(HeaderError::Empty);
    }
    if prefix.len() < LONGEST_MAGIC && !complete {
        return Ok(Detected::NeedMore(LONGEST_MAGIC));
    }
    if prefix.starts_with(&qcow2::MAGIC) {
        return qcow2::detect(prefix, complete);
    }
    if let Some(foreign) = foreign(prefix) {
        return Err(HeaderError::Foreign(foreign));
    }
    if prefix.len() < MOST_NEEDED && !complete {
        return Ok(Detected::NeedMore(MOST_NEEDED));
    }
    let is_iso = prefix.get(ISO_MAGIC_AT..MOST_NEEDED) == Some(ISO_MAGIC);
    Ok(Detected::Found(Layout(if is_iso {
        Inner::Iso
    } else {
        Inner::Raw
    })))
}

impl Layout {
    /// Completes the header with the image's length in bytes.
    pub fn with_length(&self, length: u64) -> Result<ImageHeader, HeaderError> {
        match &self.0 {
            _ if length == 0 => Err(HeaderError::Empty),
            Inner::Raw => Ok(ImageHeader {
                format: ImageFormat::Raw,
                virtual_size: length,
            }),
            Inner::Iso => Ok(ImageHeader {
                format: ImageFormat::Iso,
                virtual_size: length,
            }),
            Inner::Qcow2(header) => {
                header.check_length(length)?;
                Ok(ImageHeader {
                    format: ImageFormat::Qcow2,
                    virtual_size: header.virtual_size,
                })
            }
        }
    }
}

/// Enough for every magic that is looked for, except the CD's.
const LONGEST_MAGIC: usize = VDI_MAGIC_AT + VDI_MAGIC.len();

fn foreign(prefix: &[u8]) -> Option<Foreign> {
    const MAGICS: [(&[u8], Foreign); 10] = [
        (&[0x1f, 0x8b], Foreign::Gzip),
        (&[0xfd, b'7', b'z', b'X', b'Z', 0], Foreign::Xz),
        (&[0x28, 0xb5, 0x2f, 0xfd], Foreign::Zstd),
        (b"BZh", Foreign::Bzip2),
        (b"PK\x03\x04", Foreign::Zip),
        (b"KDMV", Foreign::Vmdk),
        (b"COWD", Foreign::Vmdk),
        (b"# Disk DescriptorFile", Foreign::Vmdk),
        (b"vhdxfile", Foreign::Vhdx),
        (b"conectix", Foreign::Vhd),
    ];
    if let Some((_, found)) = MAGICS.iter().find(|(magic, _)| prefix.starts_with(magic)) {
        return Some(*found);
    }
    if prefix.get(VDI_MAGIC_AT..LONGEST_MAGIC) == Some(&VDI_MAGIC) {
        return Some(Foreign::Vdi);
    }
    is_web_page(prefix).then_some(Foreign::WebPage)
}

fn is_web_page(prefix: &[u8]) -> bool {
    let text = prefix.trim_ascii_start();
    let begins = |tag: &[u8]| {
        text.get(..tag.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(tag))
    };
    begins(b"<!doctype html") || begins(b"<html")
}

#[cfg(test)]
mod tests;
