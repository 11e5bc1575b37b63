//! What an image is, by its first bytes.

/// How many bytes tell.
pub(super) const HEAD: usize = 34 << 10;

/// What comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Image {
    /// QEMU's copy-on-write format.
    Qcow2,
    /// Hyper-V's own.
    Vhdx,
    /// A CD.
    Iso,
    /// The bytes of a disk.
    Raw,
    /// Too small or too odd to be a disk.
    Other,
}

/// The first bytes of a qcow2 image.
const QCOW2: &[u8] = b"QFI\xfb";
/// Those of a VHDX file (MS-VHDX 2.2.1).
const VHDX: &[u8] = b"vhdxfile";
/// What the descriptor of a CD begins with, and where (ECMA-119 8.1, and the first of UDF's, ECMA-167 2/9.1).
const CD: [&[u8]; 2] = [b"CD001", b"BEA01"];
const DESCRIPTOR: usize = (32 << 10) + 1;
/// Disks have sectors, and virtual ones a mebibyte at least.
const SECTOR: u64 = 512;
const LEAST: u64 = 1 << 20;

impl Image {
    /// By its first bytes (fewer than [`HEAD`] only if it has no more) and its length.
    pub(super) fn of(head: &[u8], length: u64) -> Self {
        let at = |offset: usize, bytes: &[u8]| head.get(offset..offset + bytes.len()) == Some(bytes);
        if at(0, QCOW2) {
            Self::Qcow2
        } else if at(0, VHDX) {
            Self::Vhdx
        } else if CD.iter().any(|mark| at(DESCRIPTOR, mark)) {
            Self::Iso
        } else if length >= LEAST && length.is_multiple_of(SECTOR) {
            Self::Raw
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_told_by_what_they_begin_with() {
        let mut cd = vec![0; HEAD];
        cd[DESCRIPTOR..DESCRIPTOR + 5].copy_from_slice(b"CD001");
        for (head, length, is) in [
            (&b"QFI\xfb\0\0\0\x03"[..], 300_007, Image::Qcow2),
            (b"vhdxfile", 4 << 20, Image::Vhdx),
            (&cd[..], 40_000, Image::Iso),
            (&[0; 512][..], 1 << 20, Image::Raw),
            (&[0; 512][..], 1 << 19, Image::Other),
            (&[0; 512][..], (1 << 20) + 1, Image::Other),
            (&[][..], 0, Image::Other),
        ] {
            assert_eq!(Image::of(head, length), is, "{length} bytes");
        }
    }
}
