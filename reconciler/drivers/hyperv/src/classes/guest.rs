//! What the host knows of guests.

use wsman::cim_class;

use super::V2;

cim_class! {
    /// The addresses of a card, as its guest reports them.
    pub struct GuestNetwork = "Msvm_GuestNetworkAdapterConfiguration" in V2 {
        /// `Microsoft:GuestNetwork\MACHINE\CARD`.
        pub id: String = "InstanceID",
        /// Whether the guest asks for them by DHCP.
        pub dhcp: bool = "DHCPEnabled",
        /// Both kinds.
        pub addresses: Vec<String> = "IPAddresses",
    }
}

cim_class! {
    /// Whether a guest's services live.
    pub struct Heartbeat = "Msvm_HeartbeatComponent" in V2 {
        /// The machine's GUID.
        pub machine: String = "SystemName",
        /// 2 they do, 12 no contact.
        pub operational_status: Vec<u16> = "OperationalStatus",
    }
}

cim_class! {
    /// What a guest tells by key-value pairs; there is none while it does not run.
    pub struct Kvp = "Msvm_KvpExchangeComponent" in V2 {
        /// The machine's GUID.
        pub machine: String = "SystemName",
        /// What programs of the guest say: instances of [`KvpItem`].
        pub of_guest: Vec<String> = "GuestExchangeItems",
        /// What the guest says of itself.
        pub of_system: Vec<String> = "GuestIntrinsicExchangeItems",
    }
}

cim_class! {
    /// What the host tells a guest by key-value pairs.
    pub struct KvpSettings = "Msvm_KvpExchangeComponentSettingData" in V2 {
        /// It begins with that of the machine.
        pub id: String = "InstanceID",
        /// Instances of [`KvpItem`].
        pub of_host: Vec<String> = "HostExchangeItems",
    }
}

cim_class! {
    /// A key and its value.
    pub struct KvpItem = "Msvm_KvpExchangeDataItem" in V2 {
        /// The key.
        pub name: String = "Name",
        /// The value.
        pub data: String = "Data",
        /// 0: from the host to the guest.
        pub source: u16 = "Source",
    }
}
