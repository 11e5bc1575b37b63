//! Switches, and the host's own network.

use wsman::cim_class;

use super::{STANDARD, V2};

cim_class! {
    /// A switch.
    pub struct Switch = "Msvm_VirtualEthernetSwitch" in V2 {
        /// Its GUID.
        pub name: String = "Name",
        /// What people call it.
        pub element_name: String = "ElementName",
    }
}

cim_class! {
    /// What a switch is.
    pub struct SwitchSettings = "Msvm_VirtualEthernetSwitchSettingData" in V2 {
        /// `Microsoft:GUID`.
        pub id: String = "InstanceID",
        /// The switch's GUID.
        pub switch: String = "VirtualSystemIdentifier",
        /// What people call it.
        pub element_name: String = "ElementName",
        /// Text for people; the first element alone is kept.
        pub notes: Vec<String> = "Notes",
    }
}

cim_class! {
    /// The host's own card on a switch.
    pub struct InternalPort = "Msvm_InternalEthernetPort" in V2 {
        /// `Microsoft:GUID`, the GUID of the adapter.
        pub id: String = "DeviceID",
        /// What people call it: the switch's name at the time when it was made.
        pub element_name: String = "ElementName",
        /// Its address: twelve hex digits.
        pub mac: String = "PermanentAddress",
    }
}

cim_class! {
    /// A card of the host that a switch can have.
    pub struct ExternalPort = "Msvm_ExternalEthernetPort" in V2 {
        /// `Microsoft:GUID`, the GUID of the adapter.
        pub id: String = "DeviceID",
        /// Its description.
        pub element_name: String = "ElementName",
        /// Whether a switch has it.
        pub bound: bool = "IsBound",
        /// Its class, one of its keys.
        pub class: String = "CreationClassName",
        /// One of its keys.
        pub system: String = "SystemName",
        /// One of its keys.
        pub system_class: String = "SystemCreationClassName",
    }
}

cim_class! {
    /// A network adapter as Windows has it.
    pub struct Adapter = "MSFT_NetAdapter" in STANDARD {
        /// Its GUID in braces.
        pub id: String = "DeviceID",
        /// What people call it.
        pub name: String = "Name",
        /// Its number.
        pub index: u32 = "InterfaceIndex",
        /// What it is.
        pub description: String = "InterfaceDescription",
        /// Its address.
        pub mac: String = "PermanentAddress",
    }
}

cim_class! {
    /// An address of the host.
    pub struct Address = "MSFT_NetIPAddress" in STANDARD {
        /// The adapter's number.
        pub index: u32 = "InterfaceIndex",
        /// The address.
        pub address: String = "IPAddress",
        /// How long its network's part is.
        pub prefix: u8 = "PrefixLength",
        /// 2 IPv4, 23 IPv6.
        pub family: u16 = "AddressFamily",
        /// 0 for always, 1 until the host's next start.
        pub store: u8 = "Store",
    }
}

cim_class! {
    /// A network whose guests reach the outside through the host's address.
    pub struct Nat = "MSFT_NetNat" in STANDARD {
        /// Its key.
        pub id: String = "InstanceID",
        /// What people call it.
        pub name: String = "Name",
        /// Who is behind it: `10.77.0.0/24`.
        pub inside: String = "InternalIPInterfaceAddressPrefix",
    }
}
