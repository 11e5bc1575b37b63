//! EFI signature lists: how firmware is told of certificates (UEFI specification, 32.4.1).

use super::Guid;

/// `EFI_CERT_X509_GUID`.
const X509: Guid = Guid::new(
    0xa5c0_59a1,
    0x94e4,
    0x4aa7,
    [0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72],
);
/// Whoever put the certificates there; firmware does not ask who it is.
pub const OWNER: Guid = Guid::new(
    0x1abe_1ba5,
    0x1abe,
    0x41ab,
    [0x8e, 0xd6, 0x65, 0x64, 0x67, 0x65, 0x00, 0x01],
);
/// GUID, list size, header size, signature size.
const LIST_HEADER: usize = 28;
const OWNER_LENGTH: usize = 16;

/// One list a certificate, one behind the other: each certificate has a length of its own, and a list has one for
/// all that are in it.
pub fn signature_lists(certificates: &[Vec<u8>]) -> Vec<u8> {
    let mut lists = Vec::new();
    for der in certificates {
        let signature = OWNER_LENGTH + der.len();
        lists.extend(X509.to_bytes());
        for number in [LIST_HEADER + signature, 0, signature] {
            // What a PEM text of the schema's limit holds fits.
            lists.extend(u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
        }
        lists.extend(OWNER.to_bytes());
        lists.extend(der);
    }
    lists
}
