//! libvirt's own error, as it comes over the wire; codes and domains after `libvirt/virterror.h`.

use std::fmt;

use crate::model::wire_enum;
use crate::model::{DomainRef, NetworkRef};
use crate::xdr::{Decode, DecodeError, Decoder};

/// An error that libvirt reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// What went wrong.
    pub code: ErrorCode,
    /// Which part of libvirt says so.
    pub domain: ErrorDomain,
    /// How bad it is.
    pub level: ErrorLevel,
    /// The text, meant for people.
    pub message: String,
    /// First extra text; its meaning depends on the code.
    pub str1: Option<String>,
    /// Second extra text.
    pub str2: Option<String>,
    /// Third extra text.
    pub str3: Option<String>,
    /// First extra number; `errno` with [`ErrorCode::SystemError`].
    pub int1: i32,
    /// Second extra number.
    pub int2: i32,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.message.is_empty() {
            "no message"
        } else {
            self.message.trim_end()
        };
        write!(
            f,
            "{text} (libvirt error {}/{})",
            self.code.raw(),
            self.domain.raw()
        )
    }
}

impl std::error::Error for ServerError {}

impl Decode for ServerError {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let code = Decode::decode(input)?;
        let domain = Decode::decode(input)?;
        let message = Option::<String>::decode(input)?.unwrap_or_default();
        let level = Decode::decode(input)?;
        Option::<DomainRef>::decode(input)?;
        let error = Self {
            code,
            domain,
            level,
            message,
            str1: Decode::decode(input)?,
            str2: Decode::decode(input)?,
            str3: Decode::decode(input)?,
            int1: Decode::decode(input)?,
            int2: Decode::decode(input)?,
        };
        Option::<NetworkRef>::decode(input)?;
        Ok(error)
    }
}

wire_enum! {
    /// How bad an error is.
    pub enum ErrorLevel {
        /// No error.
        None = 0,
        /// A warning.
        Warning = 1,
        /// An error.
        Error = 2,
    }
}

wire_enum! {
    /// What went wrong.
    pub enum ErrorCode {
        /// No error.
        Ok = 0,
        /// An error inside libvirt; only the text tells more.
        InternalError = 1,
        /// The host is out of memory.
        NoMemory = 2,
        /// The driver does not offer this call.
        NoSupport = 3,
        /// A host name could not be resolved.
        UnknownHost = 4,
        /// The hypervisor cannot be reached.
        NoConnect = 5,
        /// The connection object is not valid.
        InvalidConn = 6,
        /// The domain object is not valid.
        InvalidDomain = 7,
        /// An argument is not valid.
        InvalidArg = 8,
        /// A command to the hypervisor failed.
        OperationFailed = 9,
        /// The OS type is not known.
        OsType = 16,
        /// A name is missing.
        NoName = 21,
        /// A device is missing in the XML.
        NoDevice = 23,
        /// Too many drivers are registered.
        DriverFull = 25,
        /// A call to the hypervisor failed.
        CallFailed = 26,
        /// The XML is not well formed or not complete.
        XmlError = 27,
        /// The domain exists.
        DomExist = 28,
        /// A read-only connection may not do this.
        OperationDenied = 29,
        /// A file could not be opened.
        OpenFailed = 30,
        /// A file could not be read.
        ReadFailed = 31,
        /// A file could not be parsed.
        ParseFailed = 32,
        /// A configuration file has a syntax error.
        ConfSyntax = 33,
        /// A file could not be written.
        WriteFailed = 34,
        /// A detail of the XML is not valid.
        XmlDetail = 35,
        /// The network object is not valid.
        InvalidNetwork = 36,
        /// The network exists.
        NetworkExist = 37,
        /// A system call failed; `int1` holds its `errno`.
        SystemError = 38,
        /// The RPC layer failed.
        Rpc = 39,
        /// The network driver could not be started.
        NoNetworkDriver = 41,
        /// There is no such domain.
        NoDomain = 42,
        /// There is no such network.
        NoNetwork = 43,
        /// The MAC address is not valid.
        InvalidMac = 44,
        /// Authentication failed.
        AuthFailed = 45,
        /// The pool object is not valid.
        InvalidStoragePool = 46,
        /// The volume object is not valid.
        InvalidStorageVol = 47,
        /// The storage driver could not be started.
        NoStorageDriver = 48,
        /// There is no such pool.
        NoStoragePool = 49,
        /// There is no such volume.
        NoStorageVol = 50,
        /// There is no such node device.
        NoNodeDevice = 53,
        /// The object is not in the state that this needs.
        OperationInvalid = 55,
        /// There is no such network filter.
        NoNwfilter = 62,
        /// The firewall could not be built.
        BuildFirewall = 63,
        /// There is no such secret.
        NoSecret = 66,
        /// The configuration is not supported.
        ConfigUnsupported = 67,
        /// A lock or a job was not free in time.
        OperationTimeout = 68,
        /// Migration worked but the domain was not made persistent.
        MigratePersistFailed = 69,
        /// A hook script failed.
        HookScriptFailed = 70,
        /// There is no such snapshot.
        NoDomainSnapshot = 72,
        /// The stream object is not valid.
        InvalidStream = 73,
        /// An argument is not supported.
        ArgumentUnsupported = 74,
        /// The storage could not be probed.
        StorageProbeFailed = 75,
        /// The pool is already built.
        StoragePoolBuilt = 76,
        /// Reverting to the snapshot is risky.
        SnapshotRevertRisky = 77,
        /// The operation was cancelled.
        OperationAborted = 78,
        /// Authentication was cancelled.
        AuthCancelled = 79,
        /// The domain carries no such metadata.
        NoDomainMetadata = 80,
        /// Migration is not safe.
        MigrateUnsafe = 81,
        /// A number is too large.
        Overflow = 82,
        /// A block copy is active.
        BlockCopyActive = 83,
        /// The operation is not supported.
        OperationUnsupported = 84,
        /// The guest agent does not answer.
        AgentUnresponsive = 86,
        /// The resource is in use.
        ResourceBusy = 87,
        /// Access is denied.
        AccessDenied = 88,
        /// A D-Bus service failed.
        DbusService = 89,
        /// The volume exists.
        StorageVolExist = 90,
        /// The CPU is not compatible.
        CpuIncompatible = 91,
        /// The XML does not follow its schema.
        XmlInvalidSchema = 92,
        /// No authentication method is available.
        AuthUnavailable = 94,
        /// The guest agent is out of step.
        AgentUnsynced = 97,
        /// The device is not there.
        DeviceMissing = 99,
        /// There is no such checkpoint.
        NoDomainCheckpoint = 103,
        /// The domain has no backup job.
        NoDomainBackup = 104,
        /// The network port exists.
        NetworkPortExist = 106,
        /// There is no such network port.
        NoNetworkPort = 107,
        /// The host name is not known.
        NoHostname = 108,
        /// More than one domain matches.
        MultipleDomains = 110,
        /// The network carries no such metadata.
        NoNetworkMetadata = 111,
        /// The guest agent did not answer a command in time.
        AgentCommandTimeout = 112,
        /// The guest agent could not do a command.
        AgentCommandFailed = 113,
    }
}

wire_enum! {
    /// The part of libvirt that reports an error.
    pub enum ErrorDomain {
        /// No part in particular.
        None = 0,
        /// The XML parser.
        Xml = 5,
        /// Domain calls.
        Dom = 6,
        /// The RPC layer.
        Rpc = 7,
        /// The configuration files.
        Conf = 9,
        /// The QEMU driver.
        Qemu = 10,
        /// Network calls.
        Net = 11,
        /// The remote driver.
        Remote = 13,
        /// The storage driver.
        Storage = 18,
        /// The network driver.
        Network = 19,
        /// The domain configuration.
        Domain = 20,
        /// The node device driver.
        Nodedev = 22,
        /// The security drivers.
        Security = 24,
        /// The secret driver.
        Secret = 30,
        /// The CPU driver.
        Cpu = 31,
        /// The network filter driver.
        Nwfilter = 33,
        /// Hook scripts.
        Hook = 34,
        /// Domain snapshots.
        DomainSnapshot = 35,
        /// Data streams.
        Streams = 38,
        /// The event loop.
        Event = 40,
        /// The lock manager.
        Locking = 42,
        /// Capabilities.
        Capabilities = 44,
        /// URIs.
        Uri = 45,
        /// Authentication.
        Auth = 46,
        /// D-Bus.
        Dbus = 47,
        /// Devices.
        Device = 49,
        /// The lock space.
        Lockspace = 51,
        /// Control groups.
        Cgroup = 54,
        /// Access control.
        Access = 55,
        /// systemd.
        Systemd = 56,
        /// The firewall.
        Firewall = 59,
        /// polkit.
        Polkit = 60,
        /// Threads.
        Thread = 61,
        /// The log manager.
        Logging = 63,
        /// Resource control.
        Resctrl = 67,
        /// firewalld.
        Firewalld = 68,
        /// Domain checkpoints.
        DomainCheckpoint = 69,
        /// The TPM emulator.
        Tpm = 70,
    }
}
