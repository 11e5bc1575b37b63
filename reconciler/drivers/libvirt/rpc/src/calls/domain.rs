//! Domains.

use uuid::Uuid;

use super::calls;
use crate::Connection;
use crate::error::Result;
use crate::flags::{
    Affect, BackupBegin, BlockResize, ConsoleFlags, DeviceModify, DomainCreate, DomainDefine, DomainDestroy,
    DomainMemory, DomainReboot, DomainSave, DomainShutdown, DomainUndefine, DomainVcpu, DomainXml, JobStats,
    SaveImageXml,
};
use crate::model::{
    AddressSource, AgentTimeout, BlockInfo, DomainInfo, DomainRef, InterfaceAddresses, JobFigures, Metadata,
    MetadataKind, StateAndReason,
};
use crate::procedure as p;
use crate::stream::console::Console;

/// Calls without flags in use still have the word for them.
const NO_FLAGS: u32 = 0;

calls! {
    /// The domain of that name.
    DOMAIN_LOOKUP_BY_NAME domain_lookup_by_name(name: &str) -> DomainRef;
    /// The domain of that UUID.
    DOMAIN_LOOKUP_BY_UUID domain_lookup_by_uuid(uuid: Uuid) -> DomainRef;
    /// Its XML; waits for a change that is under way on it.
    DOMAIN_GET_XML_DESC domain_get_xml_desc(domain: &DomainRef, flags: DomainXml) -> String;
    /// Defines a domain, or changes the definition of the one with the same UUID and name.
    DOMAIN_DEFINE_XML_FLAGS domain_define_xml_flags(xml: &str, flags: DomainDefine) -> DomainRef;
    /// Removes its definition; a running domain becomes transient.
    DOMAIN_UNDEFINE_FLAGS domain_undefine_flags(domain: &DomainRef, flags: DomainUndefine);
    /// Starts it.
    DOMAIN_CREATE_WITH_FLAGS domain_create_with_flags(domain: &DomainRef, flags: DomainCreate) -> DomainRef;
    /// Starts a transient domain.
    DOMAIN_CREATE_XML domain_create_xml(xml: &str, flags: DomainCreate) -> DomainRef;
    /// Stops it at once.
    DOMAIN_DESTROY_FLAGS domain_destroy_flags(domain: &DomainRef, flags: DomainDestroy);
    /// Asks the guest to shut down.
    DOMAIN_SHUTDOWN_FLAGS domain_shutdown_flags(domain: &DomainRef, flags: DomainShutdown);
    /// Asks the guest to reboot.
    DOMAIN_REBOOT domain_reboot(domain: &DomainRef, flags: DomainReboot);
    /// Pauses it.
    DOMAIN_SUSPEND domain_suspend(domain: &DomainRef);
    /// Lets it run again.
    DOMAIN_RESUME domain_resume(domain: &DomainRef);
    /// Saves its memory to a file of the host, which stops it. With another definition to be kept in the file.
    DOMAIN_SAVE_FLAGS domain_save_flags(domain: &DomainRef, to: &str, xml: Option<&str>, flags: DomainSave);
    /// Starts a domain from such a file, which stays as it is. With another definition than the one in it.
    DOMAIN_RESTORE_FLAGS domain_restore_flags(from: &str, xml: Option<&str>, flags: DomainSave);
    /// The definition in such a file; an error where it was not written to its end.
    DOMAIN_SAVE_IMAGE_GET_XML_DESC domain_save_image_get_xml_desc(file: &str, flags: SaveImageXml) -> String;
    /// Begins to copy its disks while it runs, as XML says.
    DOMAIN_BACKUP_BEGIN domain_backup_begin(domain: &DomainRef, xml: &str, checkpoint: Option<&str>, flags: BackupBegin);
    /// The figures of its job.
    DOMAIN_GET_JOB_STATS domain_get_job_stats(domain: &DomainRef, flags: JobStats) -> JobFigures;
    /// Ends its job.
    DOMAIN_ABORT_JOB domain_abort_job(domain: &DomainRef);
    /// Its figures.
    DOMAIN_GET_INFO domain_get_info(domain: &DomainRef) -> DomainInfo;
    /// Whether it starts with the host.
    DOMAIN_GET_AUTOSTART domain_get_autostart(domain: &DomainRef) -> bool;
    /// Makes it start with the host, or not.
    DOMAIN_SET_AUTOSTART domain_set_autostart(domain: &DomainRef, autostart: bool);
    /// Whether it runs or is paused.
    DOMAIN_IS_ACTIVE domain_is_active(domain: &DomainRef) -> bool;
    /// Whether it is defined.
    DOMAIN_IS_PERSISTENT domain_is_persistent(domain: &DomainRef) -> bool;
    /// Changes the number of its virtual CPUs.
    DOMAIN_SET_VCPUS_FLAGS domain_set_vcpus_flags(domain: &DomainRef, count: u32, flags: DomainVcpu);
    /// The number of its virtual CPUs.
    DOMAIN_GET_VCPUS_FLAGS domain_get_vcpus_flags(domain: &DomainRef, flags: DomainVcpu) -> u32;
    /// Changes its memory.
    DOMAIN_SET_MEMORY_FLAGS domain_set_memory_flags(domain: &DomainRef, kib: u64, flags: DomainMemory);
    /// Changes the most memory it may have.
    DOMAIN_SET_MAX_MEMORY domain_set_max_memory(domain: &DomainRef, kib: u64);
    /// Adds a device.
    DOMAIN_ATTACH_DEVICE_FLAGS domain_attach_device_flags(domain: &DomainRef, xml: &str, flags: DeviceModify);
    /// Removes a device. In a running domain success does not mean that it is gone: the guest must let go.
    DOMAIN_DETACH_DEVICE_FLAGS domain_detach_device_flags(domain: &DomainRef, xml: &str, flags: DeviceModify);
    /// Changes a device.
    DOMAIN_UPDATE_DEVICE_FLAGS domain_update_device_flags(domain: &DomainRef, xml: &str, flags: DeviceModify);
    /// Changes the size of a disk of a running domain. libvirt also shrinks, which cuts data off.
    DOMAIN_BLOCK_RESIZE domain_block_resize(domain: &DomainRef, disk: &str, size: u64, flags: BlockResize);
}

impl Connection {
    /// What it is doing, and why; never waits for the guest.
    pub async fn domain_get_state(&self, domain: &DomainRef) -> Result<StateAndReason> {
        self.call(&p::DOMAIN_GET_STATE, &(domain, NO_FLAGS)).await
    }

    /// Its description, title, or the element of a namespace; never waits for the guest.
    pub async fn domain_get_metadata(
        &self,
        domain: &DomainRef,
        kind: MetadataKind,
        uri: Option<&str>,
        affect: Affect,
    ) -> Result<String> {
        self.call(&p::DOMAIN_GET_METADATA, &(domain, kind, uri, affect))
            .await
    }

    /// Sets or removes its description, title, or the element of a namespace.
    pub async fn domain_set_metadata(
        &self,
        domain: &DomainRef,
        metadata: Metadata<'_>,
        affect: Affect,
    ) -> Result<()> {
        let (kind, text, prefix, uri) = metadata.fields();
        self.call(
            &p::DOMAIN_SET_METADATA,
            &(domain, kind, text, prefix, uri, affect),
        )
        .await
    }

    /// Resets it as if by its button.
    pub async fn domain_reset(&self, domain: &DomainRef) -> Result<()> {
        self.call(&p::DOMAIN_RESET, &(domain, NO_FLAGS)).await
    }

    /// The sizes of a disk, named by its target or its path.
    pub async fn domain_get_block_info(&self, domain: &DomainRef, disk: &str) -> Result<BlockInfo> {
        self.call(&p::DOMAIN_GET_BLOCK_INFO, &(domain, disk, NO_FLAGS))
            .await
    }

    /// Gives a stopped domain another name.
    pub async fn domain_rename(&self, domain: &DomainRef, name: &str) -> Result<()> {
        let _always_zero: i32 = self
            .call(&p::DOMAIN_RENAME, &(domain, Some(name), NO_FLAGS))
            .await?;
        Ok(())
    }

    /// The addresses of its interfaces.
    pub async fn domain_interface_addresses(
        &self,
        domain: &DomainRef,
        source: AddressSource,
    ) -> Result<Vec<InterfaceAddresses>> {
        self.call(&p::DOMAIN_INTERFACE_ADDRESSES, &(domain, source, NO_FLAGS))
            .await
    }

    /// Sends a command, as JSON, to the guest agent and gives its answer, as JSON.
    pub async fn domain_agent_command(
        &self,
        domain: &DomainRef,
        command: &str,
        timeout: AgentTimeout,
    ) -> Result<Option<String>> {
        self.call(
            &p::QEMU_DOMAIN_AGENT_COMMAND,
            &(domain, command, timeout.raw(), NO_FLAGS),
        )
        .await
    }

    /// How long libvirt waits for the guest agent in calls that name no time of their own.
    pub async fn domain_agent_set_response_timeout(
        &self,
        domain: &DomainRef,
        timeout: AgentTimeout,
    ) -> Result<()> {
        let args = (domain, timeout.raw(), NO_FLAGS);
        let _always_zero: i32 = self.call(&p::DOMAIN_AGENT_SET_RESPONSE_TIMEOUT, &args).await?;
        Ok(())
    }

    /// Opens a console of a running domain; its first one unless a device alias is given.
    pub async fn domain_open_console(
        &self,
        domain: &DomainRef,
        device: Option<&str>,
        flags: ConsoleFlags,
    ) -> Result<Console> {
        let stream = self
            .open_stream(&p::DOMAIN_OPEN_CONSOLE, &(domain, device, flags))
            .await?;
        Ok(Console::new(stream))
    }

    /// What its backup job is.
    pub async fn domain_backup_get_xml_desc(&self, domain: &DomainRef) -> Result<String> {
        self.call(&p::DOMAIN_BACKUP_GET_XML_DESC, &(domain, NO_FLAGS))
            .await
    }

    /// Whether it has a saved image that its next start would use.
    pub async fn domain_has_managed_save_image(&self, domain: &DomainRef) -> Result<bool> {
        self.call(&p::DOMAIN_HAS_MANAGED_SAVE_IMAGE, &(domain, NO_FLAGS))
            .await
    }

    /// Removes its saved image.
    pub async fn domain_managed_save_remove(&self, domain: &DomainRef) -> Result<()> {
        self.call(&p::DOMAIN_MANAGED_SAVE_REMOVE, &(domain, NO_FLAGS))
            .await
    }
}

/// Kind, text, prefix and namespace, as they travel.
type MetadataFields<'a> = (MetadataKind, Option<&'a str>, Option<&'a str>, Option<&'a str>);

impl<'a> Metadata<'a> {
    pub(super) fn fields(self) -> MetadataFields<'a> {
        match self {
            Self::Description(text) => (MetadataKind::Description, text, None, None),
            Self::Title(text) => (MetadataKind::Title, text, None, None),
            Self::Element { xml, prefix, uri } => (MetadataKind::Element, xml, Some(prefix), Some(uri)),
        }
    }
}
