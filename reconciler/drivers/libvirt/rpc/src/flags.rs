//! The flags of the calls; values after libvirt's public headers (`libvirt-domain.h` and its siblings).

use bitflags::bitflags;

use crate::xdr::{Encode, EncodeError, Encoder};

/// Declares sets of flags that travel as unsigned words.
macro_rules! flags {
    ($($(#[$meta:meta])* $name:ident {
        $($(#[$doc:ident $($args:tt)*])* $flag:ident = $value:expr;)*
    })*) => {$(
        bitflags! {
            $(#[$meta])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
            pub struct $name: u32 {
                $($(#[$doc $($args)*])* const $flag = $value;)*
            }
        }

        impl Encode for $name {
            fn encode(&self, out: &mut Encoder) -> Result<(), EncodeError> {
                self.bits().encode(out)
            }
        }
    )*};
}

flags! {
    /// Which domains to list; an empty group admits all, groups are combined.
    ListDomains {
        /// Running or paused.
        ACTIVE = 1;
        /// Stopped.
        INACTIVE = 1 << 1;
        /// Defined.
        PERSISTENT = 1 << 2;
        /// Gone when stopped.
        TRANSIENT = 1 << 3;
        /// Running.
        RUNNING = 1 << 4;
        /// Paused.
        PAUSED = 1 << 5;
        /// Off.
        SHUTOFF = 1 << 6;
        /// In any other state.
        OTHER = 1 << 7;
        /// With a saved image.
        MANAGED_SAVE = 1 << 8;
        /// Without a saved image.
        NO_MANAGED_SAVE = 1 << 9;
        /// Started with the host.
        AUTOSTART = 1 << 10;
        /// Not started with the host.
        NO_AUTOSTART = 1 << 11;
    }

    /// Which groups of statistics to read.
    StatsTypes {
        /// State and reason; never waits for a guest.
        STATE = 1;
        /// CPU time.
        CPU_TOTAL = 1 << 1;
        /// Memory.
        BALLOON = 1 << 2;
        /// Virtual CPUs.
        VCPU = 1 << 3;
        /// Network interfaces.
        INTERFACE = 1 << 4;
        /// Disks.
        BLOCK = 1 << 5;
        /// Performance counters.
        PERF = 1 << 6;
        /// I/O threads.
        IOTHREAD = 1 << 7;
        /// Memory bandwidth.
        MEMORY = 1 << 8;
        /// The rate at which memory is written.
        DIRTYRATE = 1 << 9;
        /// Figures of the hypervisor.
        VM = 1 << 10;
    }

    /// Of which domains, and how, to read statistics.
    GetStats {
        /// Running or paused.
        ACTIVE = 1;
        /// Stopped.
        INACTIVE = 1 << 1;
        /// Defined.
        PERSISTENT = 1 << 2;
        /// Gone when stopped.
        TRANSIENT = 1 << 3;
        /// Running.
        RUNNING = 1 << 4;
        /// Paused.
        PAUSED = 1 << 5;
        /// Off.
        SHUTOFF = 1 << 6;
        /// In any other state.
        OTHER = 1 << 7;
        /// Leave out what would have to wait for a job.
        NOWAIT = 1 << 29;
        /// Whole chains of disk images.
        BACKING = 1 << 30;
        /// Fail when a group is not supported.
        ENFORCE = 1 << 31;
    }

    /// Which XML of a domain.
    DomainXml {
        /// With secrets.
        SECURE = 1;
        /// The definition, not the running state.
        INACTIVE = 1 << 1;
        /// With the CPU as the host offers it.
        UPDATE_CPU = 1 << 2;
        /// Fit for migration.
        MIGRATABLE = 1 << 3;
    }

    /// How to define a domain.
    DomainDefine {
        /// Check the XML against its schema.
        VALIDATE = 1;
    }

    /// What may go with a domain's definition.
    DomainUndefine {
        /// Its saved image.
        MANAGED_SAVE = 1;
        /// The metadata of its snapshots.
        SNAPSHOTS_METADATA = 1 << 1;
        /// Its NVRAM.
        NVRAM = 1 << 2;
        /// Leave its NVRAM.
        KEEP_NVRAM = 1 << 3;
        /// The metadata of its checkpoints.
        CHECKPOINTS_METADATA = 1 << 4;
        /// The state of its TPM.
        TPM = 1 << 5;
        /// Leave the state of its TPM.
        KEEP_TPM = 1 << 6;
    }

    /// How to start a domain.
    DomainCreate {
        /// Paused.
        PAUSED = 1;
        /// Destroy it when this connection ends.
        AUTODESTROY = 1 << 1;
        /// Keep the file system's cache out of it.
        BYPASS_CACHE = 1 << 2;
        /// Drop the saved image and boot.
        FORCE_BOOT = 1 << 3;
        /// Check the XML against its schema.
        VALIDATE = 1 << 4;
        /// Set its NVRAM back to the template.
        RESET_NVRAM = 1 << 5;
    }

    /// How to destroy a domain.
    DomainDestroy {
        /// Only ask the hypervisor's process to end.
        GRACEFUL = 1;
        /// Its logs too.
        REMOVE_LOGS = 1 << 1;
    }

    /// How to save a domain's memory, or to start it from there.
    DomainSave {
        /// Keep the file system's cache out of it.
        BYPASS_CACHE = 1;
        /// It runs afterwards.
        RUNNING = 1 << 1;
        /// It is paused afterwards.
        PAUSED = 1 << 2;
    }

    /// How to begin a backup.
    BackupBegin {
        /// The files are there and are used as they are.
        REUSE_EXTERNAL = 1;
    }

    /// Which job's figures.
    JobStats {
        /// Of the one that ended last; they are told once.
        COMPLETED = 1;
        /// They may be asked for again.
        KEEP_COMPLETED = 1 << 1;
    }

    /// Which XML of a saved domain.
    SaveImageXml {
        /// With secrets.
        SECURE = 1;
    }

    /// How to ask a guest to shut down.
    DomainShutdown {
        /// By the ACPI power button.
        ACPI = 1;
        /// By the guest agent.
        AGENT = 1 << 1;
    }

    /// How to ask a guest to reboot.
    DomainReboot {
        /// By the ACPI power button.
        ACPI = 1;
        /// By the guest agent.
        AGENT = 1 << 1;
    }

    /// Whether the running domain, its definition, or both are meant; none means what is current.
    Affect {
        /// The running domain.
        LIVE = 1;
        /// The definition.
        CONFIG = 1 << 1;
    }

    /// Which virtual CPUs.
    DomainVcpu {
        /// Those of the running domain.
        LIVE = 1;
        /// Those of the definition.
        CONFIG = 1 << 1;
        /// The most there may be.
        MAXIMUM = 1 << 2;
        /// As the guest sees them, by its agent.
        GUEST = 1 << 3;
        /// Added ones can be taken away again.
        HOTPLUGGABLE = 1 << 4;
    }

    /// Which memory.
    DomainMemory {
        /// That of the running domain.
        LIVE = 1;
        /// That of the definition.
        CONFIG = 1 << 1;
        /// The most there may be.
        MAXIMUM = 1 << 2;
    }

    /// Where to change a device.
    DeviceModify {
        /// In the running domain.
        LIVE = 1;
        /// In the definition.
        CONFIG = 1 << 1;
        /// Against the guest's will, such as a locked tray.
        FORCE = 1 << 2;
    }

    /// How the size of a disk is meant.
    BlockResize {
        /// In bytes, not KiB.
        BYTES = 1;
        /// To the size of the device below it.
        CAPACITY = 1 << 1;
    }

    /// How to open a console.
    ConsoleFlags {
        /// Take it from whoever has it.
        FORCE = 1;
        /// Only if nobody else can have it at the same time.
        SAFE = 1 << 1;
    }

    /// Which networks to list.
    ListNetworks {
        /// Stopped.
        INACTIVE = 1;
        /// Running.
        ACTIVE = 1 << 1;
        /// Defined.
        PERSISTENT = 1 << 2;
        /// Gone when stopped.
        TRANSIENT = 1 << 3;
        /// Started with the host.
        AUTOSTART = 1 << 4;
        /// Not started with the host.
        NO_AUTOSTART = 1 << 5;
    }

    /// Which XML of a network.
    NetworkXml {
        /// The definition, not the running state.
        INACTIVE = 1;
    }

    /// How to define a network.
    NetworkDefine {
        /// Check the XML against its schema.
        VALIDATE = 1;
    }

    /// Which pools to list.
    ListPools {
        /// Stopped.
        INACTIVE = 1;
        /// Running.
        ACTIVE = 1 << 1;
        /// Defined.
        PERSISTENT = 1 << 2;
        /// Gone when stopped.
        TRANSIENT = 1 << 3;
        /// Started with the host.
        AUTOSTART = 1 << 4;
        /// Not started with the host.
        NO_AUTOSTART = 1 << 5;
        /// Directories.
        DIR = 1 << 6;
    }

    /// Which XML of a pool.
    StorageXml {
        /// The definition, not the running state.
        INACTIVE = 1;
    }

    /// How to build a pool.
    PoolBuild {
        /// Repair one that is there.
        REPAIR = 1;
        /// Grow one that is there.
        RESIZE = 1 << 1;
        /// Never overwrite data.
        NO_OVERWRITE = 1 << 2;
        /// Overwrite data.
        OVERWRITE = 1 << 3;
    }

    /// How to start a pool.
    PoolCreate {
        /// Build it first.
        WITH_BUILD = 1;
        /// Build it over data.
        WITH_BUILD_OVERWRITE = 1 << 1;
        /// Build it unless there is data.
        WITH_BUILD_NO_OVERWRITE = 1 << 2;
    }

    /// How to make a volume.
    VolCreate {
        /// Lay out the metadata of its format at once.
        PREALLOC_METADATA = 1;
        /// Share blocks with the source where the file system can.
        REFLINK = 1 << 1;
    }

    /// How to delete a volume.
    VolDelete {
        /// Write zeros first.
        ZEROED = 1;
        /// Its snapshots too.
        WITH_SNAPSHOTS = 1 << 1;
    }

    /// How to resize a volume.
    VolResize {
        /// Take the space at once.
        ALLOCATE = 1;
        /// The size is a difference.
        DELTA = 1 << 1;
        /// Allow it to become smaller.
        SHRINK = 1 << 2;
    }
}
