//! Devices of machines: controllers, drives and what is in them, cards and their connections.

use wsman::cim_class;

use super::V2;

cim_class! {
    /// A controller or a drive, by [`crate::ids::Resource`].
    pub struct Drive = "Msvm_ResourceAllocationSettingData" in V2 {
        /// Which.
        pub id: String = "InstanceID",
        /// What kind of thing.
        pub resource_type: u16 = "ResourceType",
        /// Which kind of that.
        pub subtype: String = "ResourceSubType",
        /// The path of what it is attached to.
        pub parent: String = "Parent",
        /// The number of an IDE controller.
        pub address: String = "Address",
        /// Its place there.
        pub place: String = "AddressOnParent",
        /// A disk of the host that is passed through.
        pub host_resource: Vec<String> = "HostResource",
    }
}

cim_class! {
    /// What is in a drive: a virtual disk or an ISO image.
    pub struct Medium = "Msvm_StorageAllocationSettingData" in V2 {
        /// Which.
        pub id: String = "InstanceID",
        /// 31.
        pub resource_type: u16 = "ResourceType",
        /// A virtual disk or a CD.
        pub subtype: String = "ResourceSubType",
        /// The path of its drive.
        pub parent: String = "Parent",
        /// The file.
        pub files: Vec<String> = "HostResource",
    }
}

cim_class! {
    /// A card.
    pub struct SyntheticPort = "Msvm_SyntheticEthernetPortSettingData" in V2 {
        /// Which.
        pub id: String = "InstanceID",
        /// 10.
        pub resource_type: u16 = "ResourceType",
        /// The kind of card.
        pub subtype: String = "ResourceSubType",
        /// What people call it; need not be unique.
        pub element_name: String = "ElementName",
        /// Its MAC address: twelve hex digits.
        pub mac: String = "Address",
        /// Whether that is fixed.
        pub fixed: bool = "StaticMacAddress",
    }
}

cim_class! {
    /// An older card, of generation 1 alone: that which boots from the network there.
    pub struct EmulatedPort = "Msvm_EmulatedEthernetPortSettingData" in V2 {
        /// Which.
        pub id: String = "InstanceID",
        /// 10.
        pub resource_type: u16 = "ResourceType",
        /// The kind of card.
        pub subtype: String = "ResourceSubType",
        /// What people call it.
        pub element_name: String = "ElementName",
        /// Its MAC address: twelve hex digits.
        pub mac: String = "Address",
        /// Whether that is fixed.
        pub fixed: bool = "StaticMacAddress",
    }
}

cim_class! {
    /// What connects a card to a switch, and a switch to the host or to a card of the host.
    pub struct Connection = "Msvm_EthernetPortAllocationSettingData" in V2 {
        /// Which.
        pub id: String = "InstanceID",
        /// 33.
        pub resource_type: u16 = "ResourceType",
        /// Its kind.
        pub subtype: String = "ResourceSubType",
        /// What people call it.
        pub element_name: String = "ElementName",
        /// The path of the card.
        pub parent: String = "Parent",
        /// The path of the switch; of a switch's own: of the host or of its card.
        pub to: Vec<String> = "HostResource",
        /// 2 connected, 3 not.
        pub enabled: u16 = "EnabledState",
        /// The card's address, of a connection of the host.
        pub address: String = "Address",
    }
}

cim_class! {
    /// The VLAN of a connection.
    pub struct PortVlan = "Msvm_EthernetSwitchPortVlanSettingData" in V2 {
        /// Which; it begins with that of the connection.
        pub id: String = "InstanceID",
        /// 1 access, 2 trunk, 3 private.
        pub mode: u32 = "OperationMode",
        /// The VLAN, of mode 1.
        pub access: u16 = "AccessVlanId",
    }
}

cim_class! {
    /// What a connection may send.
    pub struct PortSecurity = "Msvm_EthernetSwitchPortSecuritySettingData" in V2 {
        /// Which; it begins with that of the connection.
        pub id: String = "InstanceID",
        /// Whether it may send from other addresses than its own, which guests of guests need.
        pub spoofing: bool = "AllowMacSpoofing",
        /// Whether its answers as a DHCP server are dropped.
        pub dhcp_guard: bool = "EnableDhcpGuard",
        /// Whether its announcements as a router are dropped.
        pub router_guard: bool = "EnableRouterGuard",
    }
}

cim_class! {
    /// What firmware of generation 2 can start.
    pub struct BootSource = "Msvm_BootSourceSettingData" in V2 {
        /// That of the device, and `\B`.
        pub id: String = "InstanceID",
        /// 1 drive, 2 network, 3 a file that a guest has entered.
        pub kind: u32 = "BootSourceType",
    }
}
