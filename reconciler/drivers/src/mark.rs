//! The mark: what an object of ours carries on the host in its own metadata.
//!
//! It is the record of the object and stands before any side effect: who it is (token), who builds it (lease),
//! every volume that belongs to it, and what the user wrote that the host cannot show. It is stored as JSON;
//! unknown fields of a newer version are kept from being misread by [`Mark::parse`] refusing the version. A mark is
//! written in the oldest version that has all that is in it, so that older programs read what they can work with.

mod capture;
mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::guest::UseMark;
use crate::ids::{
    Digest, DiskKey, MacAddr, MediaKey, Namespace, NicKey, ObjectName, PoolName, Token, UnixMillis, UploadId,
    VolumeName,
};
use crate::moment::MomentMark;
use crate::screen::Callers;
use crate::spec::{DiskFormat, SecureBoot};

pub use capture::{AfterCapture, CaptureMark, GuestOfCapture};
pub use lab::{ClaimMark, LentMark, MemberMark};

/// The newest format that this program writes and reads: 2 has moments, uses, captures and machines of pools.
pub const VERSION: u32 = 2;

/// The XML namespace of the mark where a host keeps metadata as XML.
pub const XML_NAMESPACE: &str = "https://labyard.dev/mark/1";

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A `labyard_vm`.
    Machine,
    /// A `labyard_network`.
    Network,
}

/// Whether the state that owns the object was told that it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ownership {
    /// Its create was never acknowledged: a dead builder's object may be adopted.
    Building,
    /// A state holds its token: never taken.
    Confirmed,
}

/// How far a machine has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Recorded: definition without devices.
    Record,
    /// Addresses chosen and reserved.
    Addresses,
    /// Images there.
    Image,
    /// Disks made.
    Disks,
    /// Seed written.
    Seed,
    /// Defined with all its devices.
    Define,
    /// Started.
    Start,
    /// Ready as asked.
    Ready,
    /// Whole.
    Finished,
    /// On its way out: volumes may be gone.
    Retire,
}

impl Stage {
    /// Its word for people and programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Addresses => "addresses",
            Self::Image => "image",
            Self::Disks => "disks",
            Self::Seed => "seed",
            Self::Define => "define",
            Self::Start => "start",
            Self::Ready => "ready",
            Self::Finished => "finished",
            Self::Retire => "retire",
        }
    }
}

/// Who builds or changes an object, and until when others must believe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Random id of the engine (one a process).
    pub engine: String,
    /// The kernel's boot id of the computer where the engine runs.
    pub boot_id: String,
    /// The PID namespace (inode) in which `pid` means something.
    pub pid_namespace: u64,
    /// The engine's process.
    pub pid: u32,
    /// The process's start time in clock ticks since boot, so that a reused pid is not taken for it.
    pub started: u64,
    /// After this instant the lease is void.
    pub until: UnixMillis,
}

/// How a disk came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloneMode {
    /// An overlay on the image.
    Linked,
    /// A copy of the image.
    Full,
}

/// What becomes of a disk that leaves the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRemove {
    /// The plan fails.
    Refuse,
    /// The disk is deleted.
    Delete,
    /// The disk is detached and its volume left alone for ever.
    Detach,
}

/// The image that a disk was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageMark {
    /// As the user wrote it.
    pub source: String,
    /// As the user wrote it, if at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// What was found, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The pool of that volume, where it is not the disk's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// The volume that holds it (uploaded, or being uploaded for this machine).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeName>,
    /// The upload that made that volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<UploadId>,
}

/// Whether a recorded volume was made to the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Made {
    /// Recorded; what is there may be half a disk and is made again.
    #[default]
    Begun,
    /// Whole: never made again over what is there.
    Whole,
}

/// A disk of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskMark {
    /// Whether it was made to the end.
    #[serde(default)]
    pub made: Made,
    /// The pool of its volume.
    pub pool: PoolName,
    /// Its volume.
    pub volume: VolumeName,
    /// The volume's format; qcow2 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DiskFormat>,
    /// Its target in the machine, `vda`.
    pub target: String,
    /// The image it was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageMark>,
    /// As written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone: Option<CloneMode>,
    /// As written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_remove: Option<OnRemove>,
    /// Place in the boot order, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<u32>,
}

/// A CD drive of the machine, besides the seed's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediumMark {
    /// The pool of the image in it.
    pub pool: PoolName,
    /// Its target in the machine, `sdb`.
    pub target: String,
    /// The image in it; none in an empty drive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageMark>,
    /// Place in the boot order, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<u32>,
}

/// A NIC of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicMark {
    /// The network as the user wrote it.
    pub network: String,
    /// Its address.
    pub mac: MacAddr,
    /// The address reserved for it on a network of ours; chosen before it is reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<IpAddr>,
    /// Place in the boot order, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<u32>,
}

/// The seed of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedMark {
    /// The pool of its volume.
    pub pool: PoolName,
    /// Its volume.
    pub volume: VolumeName,
    /// Its exact length in bytes.
    pub length: u64,
    /// Counts the seeds of this machine; part of the volume's name.
    pub revision: u32,
}

/// Whether a hook was heard to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heard {
    /// It was going to be called; whether it was, and what it did, is not known.
    Begun,
    /// Its answer was taken.
    Answered,
}

/// What the operator's hooks have done for a machine: written before each call, and with each answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HooksMark {
    /// The change under way in which hooks are called, by its id; none between changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The hooks of the operation named last, by `before:define`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub called: BTreeMap<String, Heard>,
    /// Host name of the guest that a hook supplied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Addresses that hooks supplied.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub addresses: BTreeMap<NicKey, IpAddr>,
    /// MACs that hooks supplied.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub macs: BTreeMap<NicKey, MacAddr>,
    /// What hooks tell those asked after them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
}

impl HooksMark {
    /// Whether no hook was ever called.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }
}

/// The variables of the machine's firmware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NvramMark {
    /// Whether they were made to the end.
    #[serde(default)]
    pub made: Made,
    /// The pool of its volume.
    pub pool: PoolName,
    /// Its volume.
    pub volume: VolumeName,
    /// Counts the volumes of this machine's variables; part of the volume's name.
    pub revision: u32,
    /// What the guest wrote in here is carried over; there until the new ones are whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<VolumeName>,
    /// The file in which the host kept them for a machine that was not made here; there until the machine has these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<String>,
    /// The kind of variables.
    #[serde(default)]
    pub secure_boot: SecureBoot,
    /// The certificates in them, in PEM as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificate: Option<String>,
}

/// Whether the host may keep the state of an emulated TPM of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TpmState {
    /// It never had one.
    #[default]
    None,
    /// It has or had one: its state goes with the machine.
    Kept,
}

impl TpmState {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// Devices that are on their way out: taken out of the machine's disks and NICs, and perhaps still attached, since a
/// guest may take its time to let go. Cleared when they are seen gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// Disks by the keys that they had.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub disks: BTreeMap<DiskKey, DiskMark>,
    /// NICs by the keys that they had.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nics: BTreeMap<NicKey, NicMark>,
}

impl Leaving {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.disks.is_empty() && self.nics.is_empty()
    }
}

/// What a machine's or network's object carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// The state it belongs to.
    pub namespace: Namespace,
    /// What it is.
    pub kind: Kind,
    /// The user's name for it.
    pub name: ObjectName,
    /// Who it is.
    pub token: Token,
    /// The token it was first made under: volumes carry it in their names.
    pub origin: Token,
    /// Whether a state knows it.
    pub ownership: Ownership,
    /// How far it has come.
    pub stage: Stage,
    /// Who builds it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// Which machine of a pool it is; none where it is no pool's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberMark>,
    /// Its disks by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub disks: BTreeMap<DiskKey, DiskMark>,
    /// Its CD drives by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub media: BTreeMap<MediaKey, MediumMark>,
    /// Images that may still be in a drive though nothing asks for them any more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ejecting: BTreeSet<VolumeName>,
    /// Its NICs by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nics: BTreeMap<NicKey, NicMark>,
    /// Its seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<SeedMark>,
    /// Its firmware's variables, where labyard keeps them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvram: Option<NvramMark>,
    /// What the host may keep of a TPM.
    #[serde(default, skip_serializing_if = "TpmState::is_none")]
    pub tpm: TpmState,
    /// Other volumes of its own that are to be deleted with it (replaced seeds, disks being removed).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub discard: BTreeSet<(PoolName, VolumeName)>,
    /// Volumes that were detached by wish: not ours any more, never touched again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub released: BTreeSet<(PoolName, VolumeName)>,
    /// Devices that are on their way out and may still be attached.
    #[serde(default, skip_serializing_if = "Leaving::is_empty")]
    pub leaving: Leaving,
    /// Addresses of NICs that it no longer has, to be given back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub give_back: Vec<NicMark>,
    /// The operator's hooks that were called for it, and what they supplied.
    #[serde(default, skip_serializing_if = "HooksMark::is_empty")]
    pub hooks: HooksMark,
    /// The moment that it can be put back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moment: Option<MomentMark>,
    /// That it was handed out since it was made or put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<UseMark>,
    /// Whom its screen lets in; none where it never had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callers: Option<Callers>,
    /// A card of it that is on the network of a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lent: Option<LentMark>,
    /// The claim whose machines have this network to themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimMark>,
    /// The image that is being made of one of its disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<CaptureMark>,
    /// What the user wrote and the host cannot show; its shape is the reconciler's.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub wishes: serde_json::Value,
}

/// A mark that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// Written by a newer program.
    #[error("the mark is of version {found}; this program reads up to {VERSION}: upgrade the provider")]
    Newer {
        /// Its version.
        found: u32,
    },
    /// Not a mark.
    #[error("the mark is damaged")]
    Damaged(#[source] serde_json::Error),
}

impl Mark {
    /// Of an object that is being built and has nothing yet; nobody's lease is in it.
    pub fn building(kind: Kind, namespace: Namespace, name: ObjectName, token: Token) -> Self {
        Self {
            namespace,
            kind,
            name,
            origin: token.clone(),
            token,
            ownership: Ownership::Building,
            stage: Stage::Record,
            lease: None,
            member: None,
            disks: BTreeMap::new(),
            media: BTreeMap::new(),
            ejecting: BTreeSet::new(),
            nics: BTreeMap::new(),
            seed: None,
            nvram: None,
            tpm: TpmState::default(),
            discard: BTreeSet::new(),
            released: BTreeSet::new(),
            leaving: Leaving::default(),
            give_back: Vec::new(),
            hooks: HooksMark::default(),
            moment: None,
            used: None,
            callers: None,
            lent: None,
            claim: None,
            capture: None,
            wishes: serde_json::Value::Null,
        }
    }

    /// Reads a mark.
    ///
    /// # Errors
    /// [`MarkError::Newer`] before anything else of it is looked at; [`MarkError::Damaged`] otherwise.
    pub fn parse(text: &str) -> Result<Self, MarkError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_str(text).map_err(MarkError::Damaged)?;
        if version > VERSION {
            return Err(MarkError::Newer { found: version });
        }
        serde_json::from_str(text).map_err(MarkError::Damaged)
    }

    /// The mark as it is stored.
    pub fn to_text(&self) -> String {
        #[derive(Serialize)]
        struct Stored<'m> {
            version: u32,
            #[serde(flatten)]
            mark: &'m Mark,
        }
        let stored = Stored {
            version: self.version(),
            mark: self,
        };
        // A mark has only string keys and finite numbers, so that it always has a JSON form.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// The oldest format that has all that is in it: what a program does not know it would drop with its next change.
    fn version(&self) -> u32 {
        let Self {
            moment,
            used,
            capture,
            member,
            lent,
            claim,
            ..
        } = self;
        match (moment, used, capture, member, lent, claim) {
            (None, None, None, None, None, None) => 1,
            _ => VERSION,
        }
    }

    /// Every volume that belongs to the object, images in the shared store left out.
    pub fn own_volumes(&self) -> BTreeSet<(PoolName, VolumeName)> {
        let disks = self.disks.values().map(|d| (d.pool.clone(), d.volume.clone()));
        let seed = self.seed.iter().map(|s| (s.pool.clone(), s.volume.clone()));
        let nvram = self.nvram.iter().flat_map(|n| {
            let volumes = n.previous.iter().chain([&n.volume]);
            volumes.map(|volume| (n.pool.clone(), volume.clone()))
        });
        let all: BTreeSet<_> = disks
            .chain(seed)
            .chain(nvram)
            .chain(self.moment.iter().flat_map(MomentMark::volumes))
            .chain(self.discard.iter().cloned())
            .collect();
        all.difference(&self.released).cloned().collect()
    }

    /// The shared image volumes that the object needs or is uploading.
    pub fn image_volumes(&self) -> impl Iterator<Item = &VolumeName> {
        let disks = self.disks.values().map(|disk| &disk.image);
        let media = self.media.values().map(|medium| &medium.image);
        disks
            .chain(media)
            .filter_map(|image| image.as_ref()?.volume.as_ref())
            .chain(&self.ejecting)
            .chain(self.capture.iter().map(|capture| &capture.volume))
    }

    /// Every pool in which something lies that the object owns or needs.
    pub fn pools(&self) -> BTreeSet<PoolName> {
        let images = self
            .disks
            .values()
            .filter_map(|d| Some(d.image.as_ref()?.pool.as_ref()?.clone()));
        self.own_volumes()
            .into_iter()
            .map(|(pool, _)| pool)
            .chain(images)
            .chain(self.media.values().map(|medium| medium.pool.clone()))
            .chain(self.capture.iter().map(|capture| capture.pool.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::Attachment;
    use crate::spec::Isolation;

    #[test]
    fn a_mark_is_of_the_oldest_version_that_has_all_that_is_in_it() {
        let version = |mark: &Mark| {
            let text: serde_json::Value = serde_json::from_str(&mark.to_text()).unwrap();
            text["version"].clone()
        };
        let plain = Mark::building(
            Kind::Machine,
            "default".into(),
            "web".into(),
            Token("t".to_owned()),
        );
        assert_eq!(version(&plain), 1);
        let used = UseMark {
            word: "w".to_owned(),
            user: None,
            key: None,
            password: Default::default(),
        };
        let capture = CaptureMark {
            pool: "default".into(),
            volume: "labyard-image.u".into(),
            upload: UploadId("u".to_owned()),
            after: AfterCapture::AsItIs,
            guest: GuestOfCapture::Held,
        };
        let member = MemberMark {
            pool: "k8s".to_owned(),
            id: "m".to_owned(),
            number: 1,
            generation: 1,
        };
        let lent = LentMark {
            nic: "lab".into(),
            network: "claim-c".to_owned(),
            home: Attachment::Network("idle".to_owned()),
            isolation: Isolation::Apart,
        };
        let claim = ClaimMark { id: "c".to_owned() };
        for mark in [
            Mark {
                used: Some(used),
                ..plain.clone()
            },
            Mark {
                capture: Some(capture),
                ..plain.clone()
            },
            Mark {
                member: Some(member),
                ..plain.clone()
            },
            Mark {
                lent: Some(lent),
                ..plain.clone()
            },
            Mark {
                claim: Some(claim),
                ..plain.clone()
            },
        ] {
            assert_eq!(version(&mark), 2);
            assert_eq!(Mark::parse(&mark.to_text()).unwrap(), mark);
        }
        assert_eq!(Mark::parse(&plain.to_text()).unwrap(), plain);
    }

    #[test]
    fn a_mark_of_a_newer_version_is_not_read() {
        let newer = Mark::parse(r#"{"version": 3}"#);
        assert!(matches!(newer, Err(MarkError::Newer { found: 3 })), "{newer:?}");
    }
}
