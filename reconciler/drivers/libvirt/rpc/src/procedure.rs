//! The procedures in use, with their numbers in libvirt's protocol (`remote_protocol.x`, `qemu_protocol.x`,
//! `virkeepaliveprotocol.x`).

/// A family of procedures with numbers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// libvirt's API.
    Remote,
    /// What only the QEMU driver offers.
    Qemu,
    /// Signs of life.
    KeepAlive,
}

impl Program {
    pub(crate) const VERSION: u32 = 1;

    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Remote => 0x2000_8086,
            Self::Qemu => 0x2000_8087,
            Self::KeepAlive => 0x6b65_6570,
        }
    }

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [Self::Remote, Self::Qemu, Self::KeepAlive]
            .into_iter()
            .find(|program| program.number() == number)
    }
}

/// How long the daemon may sit on a call.
///
/// The daemon stops reading from a connection that has five calls open (`max_client_requests`), and then no
/// sign of life gets through either. So the calls that may wait for a guest or a disk take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Answered at once; the daemon keeps workers free for most of these.
    Quick,
    /// May wait for a guest, a lock or a disk.
    Slow,
}

/// What a call does to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing that another would see.
    Reads,
    /// Something that may stay when the caller is gone.
    Changes,
}

/// One procedure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Procedure {
    pub(crate) program: Program,
    pub(crate) number: i32,
    pub(crate) name: &'static str,
    pub(crate) lane: Lane,
    pub(crate) effect: Effect,
}

macro_rules! procedures {
    ($($program:ident $lane:ident $effect:ident { $($name:ident = $number:literal,)* })*) => {
        $($(
            pub(crate) static $name: Procedure = Procedure {
                program: Program::$program,
                number: $number,
                name: stringify!($name),
                lane: Lane::$lane,
                effect: Effect::$effect,
            };
        )*)*

        #[cfg(test)]
        pub(crate) static ALL: &[&Procedure] = &[$($(&$name,)*)*];
    };
}

procedures! {
    Remote Quick Reads {
        CONNECT_OPEN = 1,
        CONNECT_CLOSE = 2,
        CONNECT_GET_VERSION = 4,
        CONNECT_GET_HOSTNAME = 59,
        CONNECT_SUPPORTS_FEATURE = 60,
        CONNECT_GET_LIB_VERSION = 157,
        CONNECT_LIST_ALL_DOMAINS = 273,
        CONNECT_LIST_ALL_STORAGE_POOLS = 281,
        CONNECT_LIST_ALL_NETWORKS = 283,
        CONNECT_NETWORK_EVENT_REGISTER_ANY = 313,
        CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY = 316,
        CONNECT_REGISTER_CLOSE_CALLBACK = 360,
        AUTH_LIST = 66,
        AUTH_POLKIT = 70,
        NODE_GET_INFO = 6,
        NODE_GET_FREE_MEMORY = 102,
        DOMAIN_LOOKUP_BY_NAME = 23,
        DOMAIN_LOOKUP_BY_UUID = 24,
        DOMAIN_GET_AUTOSTART = 15,
        DOMAIN_IS_ACTIVE = 150,
        DOMAIN_IS_PERSISTENT = 151,
        DOMAIN_GET_STATE = 212,
        DOMAIN_GET_METADATA = 265,
        DOMAIN_SAVE_IMAGE_GET_XML_DESC = 235,
        NETWORK_GET_XML_DESC = 43,
        NETWORK_GET_AUTOSTART = 44,
        NETWORK_GET_BRIDGE_NAME = 45,
        NETWORK_LOOKUP_BY_NAME = 46,
        NETWORK_LOOKUP_BY_UUID = 47,
        NETWORK_IS_ACTIVE = 152,
        NETWORK_IS_PERSISTENT = 153,
        NETWORK_GET_DHCP_LEASES = 341,
        NETWORK_GET_METADATA = 445,
        NETWORK_LIST_ALL_PORTS = 404,
        NWFILTER_LOOKUP_BY_NAME = 175,
        NWFILTER_GET_XML_DESC = 177,
        STORAGE_POOL_LOOKUP_BY_NAME = 84,
        STORAGE_POOL_LOOKUP_BY_UUID = 85,
        STORAGE_POOL_LOOKUP_BY_VOLUME = 86,
        STORAGE_POOL_GET_INFO = 87,
        STORAGE_POOL_GET_XML_DESC = 88,
        STORAGE_POOL_GET_AUTOSTART = 89,
        STORAGE_POOL_IS_ACTIVE = 154,
        STORAGE_POOL_LIST_ALL_VOLUMES = 282,
        STORAGE_POOL_LOOKUP_BY_TARGET_PATH = 391,
        STORAGE_VOL_LOOKUP_BY_NAME = 95,
        STORAGE_VOL_LOOKUP_BY_KEY = 96,
        STORAGE_VOL_LOOKUP_BY_PATH = 97,
        STORAGE_VOL_GET_INFO = 98,
        STORAGE_VOL_GET_XML_DESC = 99,
        STORAGE_VOL_GET_PATH = 100,
    }
    Remote Quick Changes {
        DOMAIN_SET_AUTOSTART = 29,
        DOMAIN_UNDEFINE_FLAGS = 231,
        DOMAIN_DESTROY_FLAGS = 234,
        DOMAIN_DEFINE_XML_FLAGS = 350,
        NETWORK_DEFINE_XML = 41,
        NETWORK_DEFINE_XML_FLAGS = 432,
        NETWORK_SET_AUTOSTART = 48,
        NETWORK_UNDEFINE = 49,
        NWFILTER_UNDEFINE = 181,
        STORAGE_POOL_DEFINE_XML = 77,
        STORAGE_POOL_UNDEFINE = 82,
        STORAGE_POOL_SET_AUTOSTART = 90,
    }
    Remote Slow Reads {
        CONNECT_GET_CAPABILITIES = 7,
        CONNECT_GET_DOMAIN_CAPABILITIES = 342,
        CONNECT_GET_ALL_DOMAIN_STATS = 344,
        DOMAIN_GET_XML_DESC = 14,
        DOMAIN_GET_INFO = 16,
        DOMAIN_HAS_MANAGED_SAVE_IMAGE = 183,
        DOMAIN_GET_BLOCK_INFO = 194,
        DOMAIN_GET_VCPUS_FLAGS = 200,
        DOMAIN_OPEN_CONSOLE = 201,
        DOMAIN_GET_JOB_STATS = 298,
        DOMAIN_BACKUP_GET_XML_DESC = 422,
        DOMAIN_INTERFACE_ADDRESSES = 353,
        DOMAIN_AGENT_SET_RESPONSE_TIMEOUT = 420,
        STORAGE_POOL_REFRESH = 83,
        STORAGE_VOL_DOWNLOAD = 209,
    }
    Remote Slow Changes {
        DOMAIN_CREATE_XML = 10,
        DOMAIN_REBOOT = 27,
        DOMAIN_RESUME = 28,
        DOMAIN_SET_MAX_MEMORY = 30,
        DOMAIN_SUSPEND = 34,
        DOMAIN_ATTACH_DEVICE_FLAGS = 160,
        DOMAIN_DETACH_DEVICE_FLAGS = 161,
        DOMAIN_ABORT_JOB = 164,
        DOMAIN_BACKUP_BEGIN = 421,
        DOMAIN_UPDATE_DEVICE_FLAGS = 174,
        DOMAIN_MANAGED_SAVE_REMOVE = 184,
        DOMAIN_CREATE_WITH_FLAGS = 196,
        DOMAIN_SAVE_FLAGS = 232,
        DOMAIN_RESTORE_FLAGS = 233,
        DOMAIN_SET_VCPUS_FLAGS = 199,
        DOMAIN_SET_MEMORY_FLAGS = 204,
        DOMAIN_RESET = 245,
        DOMAIN_BLOCK_RESIZE = 251,
        DOMAIN_SHUTDOWN_FLAGS = 258,
        DOMAIN_SET_METADATA = 264,
        DOMAIN_RENAME = 358,
        NETWORK_CREATE = 39,
        NETWORK_CREATE_XML = 40,
        NETWORK_DESTROY = 42,
        NETWORK_UPDATE = 291,
        NETWORK_SET_METADATA = 444,
        NWFILTER_DEFINE_XML = 180,
        STORAGE_POOL_CREATE_XML = 76,
        STORAGE_POOL_CREATE = 78,
        STORAGE_POOL_BUILD = 79,
        STORAGE_POOL_DESTROY = 80,
        STORAGE_POOL_DELETE = 81,
        STORAGE_VOL_CREATE_XML = 93,
        STORAGE_VOL_DELETE = 94,
        STORAGE_VOL_CREATE_XML_FROM = 125,
        STORAGE_VOL_UPLOAD = 208,
        STORAGE_VOL_RESIZE = 260,
    }
    Qemu Slow Reads {
        QEMU_DOMAIN_AGENT_COMMAND = 3,
    }
}

/// Numbers of the messages that the daemon sends unasked.
pub(crate) mod message {
    pub(crate) const NETWORK_EVENT_LIFECYCLE: i32 = 315;
    pub(crate) const DOMAIN_EVENT_LIFECYCLE: i32 = 318;
    pub(crate) const DOMAIN_EVENT_REBOOT: i32 = 319;
    pub(crate) const DOMAIN_EVENT_DEVICE_REMOVED: i32 = 333;
    pub(crate) const DOMAIN_EVENT_AGENT_LIFECYCLE: i32 = 348;
    pub(crate) const DOMAIN_EVENT_DEVICE_ADDED: i32 = 354;
    pub(crate) const CONNECTION_CLOSED: i32 = 362;
    pub(crate) const DOMAIN_EVENT_DEVICE_REMOVAL_FAILED: i32 = 367;
    pub(crate) const DOMAIN_EVENT_METADATA_CHANGE: i32 = 379;
}

/// Numbers of the keep-alive program.
pub(crate) mod keepalive {
    pub(crate) const PING: i32 = 1;
    pub(crate) const PONG: i32 = 2;
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_procedures_share_a_number() {
        let numbers: HashSet<_> = ALL.iter().map(|p| (p.program.number(), p.number)).collect();
        assert_eq!(numbers.len(), ALL.len());
    }

    #[test]
    fn a_program_is_found_by_its_number_only() {
        assert_eq!(Program::from_number(0x2000_8086), Some(Program::Remote));
        assert_eq!(Program::from_number(0x2000_8088), None);
    }
}
