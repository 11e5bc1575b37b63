//! Who things are: tokens, MACs, and the names that objects bear on a host.

use labyard_driver::Driver;
use labyard_driver::ids::{
    DiskKey, HostUuid, MacAddr, Namespace, NicKey, ObjectId, ObjectName, ScreenName, Token, UploadId,
    VolumeName,
};
use labyard_driver::mark::Mark;
use serde::{Deserialize, Serialize};
use sha2::Digest;

/// The namespace whose objects bear their plain names.
pub const PLAIN_NAMESPACE: &str = "default";

const OVERLAY: &str = "-since";
const MEMORY: &str = "-memory";

/// A source of random bytes; handed in, so that tests can say what comes.
pub trait Random: Send + Sync {
    /// Sixteen random bytes.
    fn bytes(&self) -> [u8; 16];
}

/// The operating system's source.
#[derive(Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn bytes(&self) -> [u8; 16] {
        *uuid::Uuid::new_v4().as_bytes()
    }
}

/// What a state keeps of an object to know it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its token.
    pub token: Token,
    /// The token in its volumes' names.
    pub origin: Token,
    /// The host's id of it, a hint.
    pub id: ObjectId,
    /// The host it was made on: that it is not on another proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostUuid>,
}

/// A new token.
pub fn new_token(random: &dyn Random) -> Token {
    Token(hex(&random.bytes()))
}

/// A new upload id.
pub fn new_upload(random: &dyn Random) -> UploadId {
    UploadId(hex(&random.bytes()))
}

/// A new id for an object on a host: a version 4 UUID.
pub fn new_object_id(random: &dyn Random) -> ObjectId {
    ObjectId(
        uuid::Builder::from_random_bytes(random.bytes())
            .into_uuid()
            .to_string(),
    )
}

/// The id of the object with this mark's token, asked for now; hosts may choose ids by themselves.
pub(crate) async fn by_token(driver: &dyn Driver, mark: &Mark) -> Option<ObjectId> {
    let marks = driver.marks().await.ok()?;
    let found = marks
        .into_iter()
        .find(|(_, there)| there.kind == mark.kind && there.token == mark.token);
    found.map(|(id, _)| id)
}

/// The name that an object bears on the host.
pub fn host_name(namespace: &Namespace, name: &ObjectName) -> String {
    if namespace.as_str() == PLAIN_NAMESPACE {
        name.to_string()
    } else {
        format!("{namespace}.{name}")
    }
}

/// Whether a volume of ours may be of this namespace: its name begins as that of its machine did.
pub fn volume_may_be_of(volume: &VolumeName, namespace: &Namespace) -> bool {
    let begins = format!("{namespace}.");
    namespace.as_str() == PLAIN_NAMESPACE || volume.as_str().starts_with(&begins)
}

/// The volume of a disk. Keys hold no dot, so that the name can be read from its end.
pub fn disk_volume(host_name: &str, key: &DiskKey, origin: &Token) -> VolumeName {
    VolumeName(format!("{host_name}.{key}.{origin}"))
}

/// The volume of a seed.
pub fn seed_volume(host_name: &str, revision: u32, origin: &Token) -> VolumeName {
    VolumeName(format!("{host_name}.seed.{revision}.{origin}"))
}

/// The volume of the firmware's variables.
pub fn nvram_volume(host_name: &str, revision: u32, origin: &Token) -> VolumeName {
    VolumeName(format!("{host_name}.nvram.{revision}.{origin}"))
}

/// The overlay of a disk since a moment. No key begins with a hyphen, so that no disk's volume is called so.
pub fn overlay_volume(host_name: &str, key: &DiskKey, origin: &Token) -> VolumeName {
    VolumeName(format!("{host_name}.{key}.{OVERLAY}.{origin}"))
}

/// The file with the memory of a moment.
pub fn memory_volume(host_name: &str, origin: &Token) -> VolumeName {
    VolumeName(format!("{host_name}.{MEMORY}.{origin}"))
}

/// The screen before a machine.
pub fn screen_name(origin: &Token) -> ScreenName {
    ScreenName(format!("labyard-{origin}"))
}

/// Whether a volume that carries a machine's token was made for a moment of it.
pub fn is_of_moment(volume: &VolumeName) -> bool {
    matches!(volume.as_str().rsplit('.').nth(1), Some(OVERLAY | MEMORY))
}

/// The revision of a seed, of its volume's name.
pub fn seed_revision(volume: &VolumeName) -> Option<u32> {
    revision_of("seed", volume)
}

/// The revision of firmware variables, of their volume's name.
pub fn nvram_revision(volume: &VolumeName) -> Option<u32> {
    revision_of("nvram", volume)
}

fn revision_of(kind: &str, volume: &VolumeName) -> Option<u32> {
    let mut from_end = volume.as_str().rsplit('.').skip(1);
    let revision = from_end.next()?.parse().ok()?;
    (from_end.next() == Some(kind)).then_some(revision)
}

/// Whether a volume that carries a machine's token is the disk of that key, under whatever name the machine had when
/// it was made.
pub fn is_of_disk(volume: &VolumeName, key: &DiskKey) -> bool {
    let other = seed_revision(volume).is_some() || nvram_revision(volume).is_some();
    !other && volume.as_str().rsplit('.').nth(1) == Some(key.as_str())
}

/// Whether a volume's name carries the token.
pub fn volume_carries(volume: &VolumeName, origin: &Token) -> bool {
    volume.as_str().rsplit('.').next() == Some(origin.as_str())
}

/// The MAC of a NIC for which none is written: locally administered, 40 bits of a digest over host, namespace,
/// machine and key, so that a plan knows it.
pub fn derived_mac(host: &HostUuid, namespace: &Namespace, name: &ObjectName, key: &NicKey) -> MacAddr {
    let mut hash = sha2::Sha256::new();
    for part in [host.as_str(), namespace.as_str(), name.as_str(), key.as_str()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    MacAddr([0x52, digest[0], digest[1], digest[2], digest[3], digest[4]])
}

/// How derived serial numbers begin.
pub const SERIAL_PREFIX: &str = "LY-";

/// The serial number of a machine for which none is written: the same for the same name on the same host.
pub fn derived_serial(host: &HostUuid, namespace: &Namespace, name: &ObjectName) -> String {
    let mut hash = sha2::Sha256::new();
    for part in ["serial", host.as_str(), namespace.as_str(), name.as_str()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    format!("{SERIAL_PREFIX}{}", hex(&digest[..8]).to_uppercase())
}

/// Whether a file's name is that of a volume that labyard made: what is in them says so by the token at the end.
///
/// ```
/// use labyard_reconciler::identity::names_a_volume;
/// assert!(names_a_volume("web.root.0123456789abcdef0123456789abcdef"));
/// assert!(names_a_volume("labyard-image.0123456789abcdef0123456789abcdef"));
/// assert!(!names_a_volume("debian-13.qcow2"));
/// ```
#[must_use]
pub fn names_a_volume(file: &str) -> bool {
    let last = file.rsplit('.').next().unwrap_or_default();
    let token = last.len() == 32 && last.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    token && last.len() < file.len()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_mac_is_stable_unicast_and_differs_by_each_part() {
        let mac = |host: &str, ns: &str, name: &str, key: &str| {
            derived_mac(&host.into(), &ns.into(), &name.into(), &key.into())
        };
        let base = mac("h", "default", "web", "lan");
        assert_eq!(base, mac("h", "default", "web", "lan"));
        assert_eq!(base.0[0] & 1, 0);
        for other in [
            mac("i", "default", "web", "lan"),
            mac("h", "other", "web", "lan"),
            mac("h", "default", "we", "blan"),
            mac("h", "default", "web", "wan"),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn objects_of_the_plain_namespace_bear_their_own_names() {
        assert_eq!(host_name(&"default".into(), &"web".into()), "web");
        assert_eq!(host_name(&"team".into(), &"web".into()), "team.web");
    }

    #[test]
    fn a_volume_is_known_by_the_token_at_the_end_of_its_name() {
        let token = Token("ab".repeat(16));
        assert!(volume_carries(
            &disk_volume("team.web", &"root".into(), &token),
            &token
        ));
        assert!(volume_carries(&seed_volume("web", 3, &token), &token));
        assert!(!volume_carries(&"web.root".into(), &token));
        let (former, key) = (disk_volume("old.name", &"1".into(), &token), DiskKey::from("1"));
        assert!(is_of_disk(&former, &key));
        assert!(!is_of_disk(&seed_volume("web", 1, &token), &key));
        assert!(!is_of_disk(&former, &"root".into()));
        for of_moment in [overlay_volume("web", &key, &token), memory_volume("web", &token)] {
            assert!(volume_carries(&of_moment, &token) && is_of_moment(&of_moment));
            assert!(!is_of_disk(&of_moment, &key));
        }
        assert!(!is_of_moment(&disk_volume(
            "web.memory",
            &"memory".into(),
            &token
        )));
    }
}
