//! The connection and its host.

use super::calls;
use crate::Connection;
use crate::error::Result;
use crate::flags::{GetStats, ListDomains, ListNetworks, ListPools, StatsTypes};
use crate::model::{DomainRef, DomainStats, NetworkRef, NodeInfo, PoolRef, Version};
use crate::procedure as p;

/// A feature of the other side that libvirt's own client asks for (`libvirt_internal.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    /// It answers keep-alive pings.
    KeepAlive = 10,
    /// It takes the arguments of a network update in the order of the API.
    NetworkUpdateOrder = 16,
}

/// Which capabilities of the hypervisor to ask for; `None` lets libvirt choose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapabilitiesOf<'a> {
    /// The path of the emulator.
    pub emulator: Option<&'a str>,
    /// The architecture, such as `x86_64`.
    pub arch: Option<&'a str>,
    /// The machine type, such as `q35`.
    pub machine: Option<&'a str>,
    /// The domain type, such as `kvm`.
    pub virt: Option<&'a str>,
}

calls! {
    /// The version of libvirt.
    CONNECT_GET_LIB_VERSION connect_get_lib_version() -> Version;
    /// The version of the hypervisor.
    CONNECT_GET_VERSION connect_get_version() -> Version;
    /// The host's name.
    CONNECT_GET_HOSTNAME connect_get_hostname() -> String;
    /// What host and hypervisor can do, as XML.
    CONNECT_GET_CAPABILITIES connect_get_capabilities() -> String;
    /// The host's hardware.
    NODE_GET_INFO node_get_info() -> NodeInfo;
    /// The host's free memory, in bytes.
    NODE_GET_FREE_MEMORY node_get_free_memory() -> u64;
}

impl Connection {
    /// What domains of a kind can have, as XML.
    pub async fn connect_get_domain_capabilities(&self, of: CapabilitiesOf<'_>) -> Result<String> {
        let args = (of.emulator, of.arch, of.machine, of.virt, 0u32);
        self.call(&p::CONNECT_GET_DOMAIN_CAPABILITIES, &args).await
    }

    /// The domains that the flags admit.
    pub async fn connect_list_all_domains(&self, flags: ListDomains) -> Result<Vec<DomainRef>> {
        self.list(&p::CONNECT_LIST_ALL_DOMAINS, &(super::NEED_RESULTS, flags))
            .await
    }

    /// The networks that the flags admit.
    pub async fn connect_list_all_networks(&self, flags: ListNetworks) -> Result<Vec<NetworkRef>> {
        self.list(&p::CONNECT_LIST_ALL_NETWORKS, &(super::NEED_RESULTS, flags))
            .await
    }

    /// The storage pools that the flags admit.
    pub async fn connect_list_all_storage_pools(&self, flags: ListPools) -> Result<Vec<PoolRef>> {
        self.list(&p::CONNECT_LIST_ALL_STORAGE_POOLS, &(super::NEED_RESULTS, flags))
            .await
    }

    /// Statistics of all domains that the flags admit. Groups other than [`StatsTypes::STATE`] may wait for a
    /// guest; give them a deadline of their own.
    pub async fn connect_get_all_domain_stats(
        &self,
        stats: StatsTypes,
        flags: GetStats,
    ) -> Result<Vec<DomainStats>> {
        self.domain_list_get_stats(&[], stats, flags).await
    }

    /// Statistics of these domains; of all that the flags admit if the list is empty.
    pub async fn domain_list_get_stats(
        &self,
        domains: &[DomainRef],
        stats: StatsTypes,
        flags: GetStats,
    ) -> Result<Vec<DomainStats>> {
        self.call(&p::CONNECT_GET_ALL_DOMAIN_STATS, &(domains, stats, flags))
            .await
    }

    pub(crate) async fn supports_feature(&self, feature: Feature) -> Result<bool> {
        self.call(&p::CONNECT_SUPPORTS_FEATURE, &(feature as i32,)).await
    }
}
