//! How Hyper-V names things: GUIDs of machines and switches, the ids of what belongs to them, kinds of devices.
//!
//! ```
//! use labyard_driver_hyperv::ids::{Guid, Owner};
//!
//! let drive = r"Microsoft:5E0C11AA-0000-4000-8000-000000000001\b637f347\0\0\D";
//! let machine: Guid = "5e0c11aa-0000-4000-8000-000000000001".parse().unwrap();
//! assert_eq!(Owner::of(drive), Some(Owner::One(machine)));
//! ```

use std::fmt;
use std::str::FromStr;

use labyard_driver::ids::ObjectId;
use wsman::Reference;

use crate::classes::V2;

/// The kind of [`crate::classes::Settings`] that is a machine as it is.
pub const REALIZED: &str = "Microsoft:Hyper-V:System:Realized";
/// The kind that is a machine as it was at a checkpoint.
pub const SNAPSHOT: &str = "Microsoft:Hyper-V:Snapshot:Realized";

/// A GUID. Windows prints those of machines in capitals, PowerShell in small letters; they are the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(u128);

/// A text that is no GUID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no GUID")]
pub struct NoGuid(pub String);

impl FromStr for Guid {
    type Err = NoGuid;

    fn from_str(text: &str) -> Result<Self, NoGuid> {
        let bare = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let bare = bare.unwrap_or(text);
        let no_guid = || NoGuid(text.to_owned());
        let dashes = [8, 13, 18, 23];
        let is_one = bare.len() == 36
            && bare
                .bytes()
                .enumerate()
                .all(|(at, byte)| match dashes.contains(&at) {
                    true => byte == b'-',
                    false => byte.is_ascii_hexdigit(),
                });
        if !is_one {
            return Err(no_guid());
        }
        let digits: String = bare.chars().filter(|character| *character != '-').collect();
        u128::from_str_radix(&digits, 16).map(Self).map_err(|_| no_guid())
    }
}

/// As Windows prints that of a machine: in capitals, without braces.
impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(all) = self;
        write!(
            f,
            "{:08X}-{:04X}-{:04X}-{:04X}-{:012X}",
            all >> 96,
            all >> 80 & 0xffff,
            all >> 64 & 0xffff,
            all >> 48 & 0xffff,
            all & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Guid> for ObjectId {
    /// In small letters, as users know it from PowerShell and as ids of other hosts are.
    fn from(guid: Guid) -> Self {
        Self(guid.to_string().to_ascii_lowercase())
    }
}

impl Guid {
    /// The id of the settings of a machine or a switch.
    pub fn settings_id(self) -> String {
        format!("Microsoft:{self}")
    }

    /// The machine itself.
    pub fn machine(self) -> Reference {
        let class = "Msvm_ComputerSystem";
        let name = self.to_string();
        Reference::new(V2, class, &[("CreationClassName", class), ("Name", &name)])
    }

    /// Its settings.
    pub fn settings(self) -> Reference {
        let id = self.settings_id();
        Reference::new(V2, "Msvm_VirtualSystemSettingData", &[("InstanceID", &id)])
    }

    /// The switch itself.
    pub fn switch(self) -> Reference {
        let class = "Msvm_VirtualEthernetSwitch";
        let name = self.to_string();
        Reference::new(V2, class, &[("CreationClassName", class), ("Name", &name)])
    }
}

/// Whose settings something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A machine's, a checkpoint's or a switch's.
    One(Guid),
    /// The pattern from which new ones are made.
    Definition,
}

impl Owner {
    /// By the id of what belongs to it: what stands before the first backslash is the owner's.
    pub fn of(id: &str) -> Option<Self> {
        let rest = id.strip_prefix("Microsoft:")?;
        let first = rest.split('\\').next().unwrap_or(rest);
        match first {
            "Definition" => Some(Self::Definition),
            guid => guid.parse().ok().map(Self::One),
        }
    }
}

/// What a path inside a string points at, to be compared: hosts, namespaces and capitals differ from writer to writer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    class: String,
    keys: Vec<(String, String)>,
}

impl Target {
    /// By a path of WMI.
    pub fn of(path: &str) -> Option<Self> {
        let (class, keys) = Reference::parse_path(path)?;
        let mut keys: Vec<_> = keys
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_lowercase()))
            .collect();
        keys.sort();
        Some(Self {
            class: class.to_ascii_lowercase(),
            keys,
        })
    }

    /// A key, in small letters.
    pub fn key(&self, name: &str) -> Option<&str> {
        let found = self
            .keys
            .iter()
            .find(|(there, _)| there.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Whether it is of this class.
    pub fn is_of(&self, class: &str) -> bool {
        self.class.eq_ignore_ascii_case(class)
    }
}

/// Ids compare without case.
pub fn same_id(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// Kinds of devices: a number of CIM's and a word of Hyper-V's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// An IDE controller: two in each machine of generation 1.
    IdeController,
    /// A SCSI controller.
    ScsiController,
    /// A drive of a virtual disk.
    DiskDrive,
    /// A CD drive.
    DvdDrive,
    /// A virtual disk.
    VirtualDisk,
    /// An ISO image.
    VirtualDvd,
    /// A disk of the host.
    PhysicalDisk,
    /// A card.
    SyntheticPort,
    /// An older card.
    EmulatedPort,
    /// What connects a card.
    Connection,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::IdeController,
        Self::ScsiController,
        Self::DiskDrive,
        Self::DvdDrive,
        Self::VirtualDisk,
        Self::VirtualDvd,
        Self::PhysicalDisk,
        Self::SyntheticPort,
        Self::EmulatedPort,
        Self::Connection,
    ];

    /// `ResourceType`.
    pub fn number(self) -> u16 {
        match self {
            Self::IdeController => 5,
            Self::ScsiController => 6,
            Self::SyntheticPort | Self::EmulatedPort => 10,
            Self::DvdDrive => 16,
            Self::DiskDrive | Self::PhysicalDisk => 17,
            Self::VirtualDisk | Self::VirtualDvd => 31,
            Self::Connection => 33,
        }
    }

    /// `ResourceSubType`.
    pub fn subtype(self) -> &'static str {
        match self {
            Self::IdeController => "Microsoft:Hyper-V:Emulated IDE Controller",
            Self::ScsiController => "Microsoft:Hyper-V:Synthetic SCSI Controller",
            Self::DiskDrive => "Microsoft:Hyper-V:Synthetic Disk Drive",
            Self::DvdDrive => "Microsoft:Hyper-V:Synthetic DVD Drive",
            Self::VirtualDisk => "Microsoft:Hyper-V:Virtual Hard Disk",
            Self::VirtualDvd => "Microsoft:Hyper-V:Virtual CD/DVD Disk",
            Self::PhysicalDisk => "Microsoft:Hyper-V:Physical Disk Drive",
            Self::SyntheticPort => "Microsoft:Hyper-V:Synthetic Ethernet Port",
            Self::EmulatedPort => "Microsoft:Hyper-V:Emulated Ethernet Port",
            Self::Connection => "Microsoft:Hyper-V:Ethernet Connection",
        }
    }

    /// Which one a row is.
    pub fn of(number: Option<u16>, subtype: Option<&str>) -> Option<Self> {
        let subtype = subtype?;
        Self::ALL
            .into_iter()
            .find(|kind| Some(kind.number()) == number && kind.subtype().eq_ignore_ascii_case(subtype))
    }
}

/// A machine's generation, which it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// With BIOS.
    One,
    /// With UEFI.
    Two,
}

impl Generation {
    /// `VirtualSystemSubType`.
    pub fn subtype(self) -> &'static str {
        match self {
            Self::One => "Microsoft:Hyper-V:SubType:1",
            Self::Two => "Microsoft:Hyper-V:SubType:2",
        }
    }

    /// Which one it is.
    pub fn of(subtype: &str) -> Option<Self> {
        [Self::One, Self::Two]
            .into_iter()
            .find(|generation| generation.subtype().eq_ignore_ascii_case(subtype))
    }
}

/// By whose keys secure boot tells what is signed. The templates' names are in the host's language, their GUIDs are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecureBootTemplate {
    /// Windows alone.
    Windows,
    /// What Microsoft signs for others: Linux.
    UefiCa,
}

impl SecureBootTemplate {
    /// Its GUID.
    pub fn guid(self) -> &'static str {
        match self {
            Self::Windows => "1734c6e8-3154-4dda-ba5f-a874cc483422",
            Self::UefiCa => "272e7447-90a4-4563-a4b9-8e4ab00526ce",
        }
    }

    /// Which one it is.
    pub fn of(guid: &str) -> Option<Self> {
        let found: Guid = guid.parse().ok()?;
        [Self::Windows, Self::UefiCa]
            .into_iter()
            .find(|template| template.guid().parse() == Ok(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: &str = "5E0C11AA-0000-4000-8000-00000000000F";

    #[test]
    fn a_guid_is_the_same_in_any_hand() {
        let guid: Guid = MACHINE.parse().unwrap();
        assert_eq!(MACHINE.to_lowercase().parse(), Ok(guid));
        assert_eq!(format!("{{{MACHINE}}}").parse(), Ok(guid));
        assert_eq!(guid.to_string(), MACHINE);
        assert_eq!(ObjectId::from(guid).as_str(), MACHINE.to_lowercase());
        for other in [
            "HV7",
            "",
            "5E0C11AA-0000-4000-8000-00000000000",
            "5E0C11AA00004000800000000000000F",
            "ä5E0C11AA-0000-4000-8000-0000000000",
        ] {
            assert!(other.parse::<Guid>().is_err(), "{other}");
        }
    }

    #[test]
    fn what_belongs_to_whom_is_told_by_its_id() {
        let guid: Guid = MACHINE.parse().unwrap();
        for id in [
            format!("Microsoft:{MACHINE}"),
            format!(r"Microsoft:{MACHINE}\b637f347-6a0e-4dec-af52-bd70cb80a21d\0"),
            format!(r"Microsoft:{}\C", MACHINE.to_lowercase()),
        ] {
            assert_eq!(Owner::of(&id), Some(Owner::One(guid)), "{id}");
        }
        assert_eq!(
            Owner::of(r"Microsoft:Definition\72027ECE\Default"),
            Some(Owner::Definition)
        );
        assert_eq!(Owner::of(r"Microsoft:GuestNetwork\x\y"), None);
        assert_eq!(Owner::of("x"), None);
    }

    #[test]
    fn paths_of_all_hands_have_one_target() {
        let own = r#"root/virtualization/v2:Msvm_VirtualEthernetSwitch.CreationClassName="Msvm_VirtualEthernetSwitch",Name="ABC""#;
        let hosts = r#"\\HV7.lab.test\Root\Virtualization\V2:Msvm_VirtualEthernetSwitch.Name="abc",CreationClassName="Msvm_VirtualEthernetSwitch""#;
        assert_eq!(Target::of(own), Target::of(hosts));
        let target = Target::of(own).unwrap();
        assert_eq!(target.key("name"), Some("abc"));
        assert!(target.is_of("msvm_virtualethernetswitch"));
        assert_eq!(Target::of("nothing"), None);
    }

    #[test]
    fn kinds_are_told_by_number_and_word() {
        for kind in Resource::ALL {
            assert_eq!(
                Resource::of(Some(kind.number()), Some(kind.subtype())),
                Some(kind)
            );
        }
        assert_eq!(
            Resource::of(Some(31), Some("Microsoft:Hyper-V:Virtual Floppy Disk")),
            None
        );
        assert_eq!(Resource::of(Some(5), Some(Resource::VirtualDisk.subtype())), None);
    }
}
