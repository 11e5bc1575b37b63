//! Networks.

use uuid::Uuid;

use super::calls;
use super::connect::Feature;
use crate::Connection;
use crate::error::Result;
use crate::flags::{Affect, NetworkDefine, NetworkXml};
use crate::model::{DhcpLease, Metadata, MetadataKind, NetworkPortRef, NetworkRef, NetworkUpdate};
use crate::procedure as p;

calls! {
    /// The network of that name.
    NETWORK_LOOKUP_BY_NAME network_lookup_by_name(name: &str) -> NetworkRef;
    /// The network of that UUID.
    NETWORK_LOOKUP_BY_UUID network_lookup_by_uuid(uuid: Uuid) -> NetworkRef;
    /// Its XML.
    NETWORK_GET_XML_DESC network_get_xml_desc(network: &NetworkRef, flags: NetworkXml) -> String;
    /// Defines a network, or changes the definition of the one with the same UUID and name.
    NETWORK_DEFINE_XML network_define_xml(xml: &str) -> NetworkRef;
    /// The same with flags; since libvirt 7.7.
    NETWORK_DEFINE_XML_FLAGS network_define_xml_flags(xml: &str, flags: NetworkDefine) -> NetworkRef;
    /// Starts a transient network.
    NETWORK_CREATE_XML network_create_xml(xml: &str) -> NetworkRef;
    /// Removes its definition; a running network becomes transient.
    NETWORK_UNDEFINE network_undefine(network: &NetworkRef);
    /// Starts it.
    NETWORK_CREATE network_create(network: &NetworkRef);
    /// Stops it, whoever uses it.
    NETWORK_DESTROY network_destroy(network: &NetworkRef);
    /// Whether it starts with the host.
    NETWORK_GET_AUTOSTART network_get_autostart(network: &NetworkRef) -> bool;
    /// Makes it start with the host, or not.
    NETWORK_SET_AUTOSTART network_set_autostart(network: &NetworkRef, autostart: bool);
    /// Whether it runs.
    NETWORK_IS_ACTIVE network_is_active(network: &NetworkRef) -> bool;
    /// Whether it is defined.
    NETWORK_IS_PERSISTENT network_is_persistent(network: &NetworkRef) -> bool;
    /// The name of its bridge on the host.
    NETWORK_GET_BRIDGE_NAME network_get_bridge_name(network: &NetworkRef) -> String;
}

impl Connection {
    /// Changes one part of a network.
    ///
    /// The wire has always had the command before the section; but before libvirt 7.2 the daemon took them the
    /// other way round, and says by a feature whether it is one that does.
    pub async fn network_update(
        &self,
        network: &NetworkRef,
        update: NetworkUpdate<'_>,
        affect: Affect,
    ) -> Result<()> {
        let (command, section) = (update.command.raw(), update.section.raw());
        let ask = || self.supports_feature(Feature::NetworkUpdateOrder);
        let in_order = *self.link().network_update_order.get_or_try_init(ask).await?;
        let (first, second) = if in_order {
            (command, section)
        } else {
            (section, command)
        };
        let parent = update.parent.map_or(-1, i32::from);
        self.call(
            &p::NETWORK_UPDATE,
            &(network, first, second, parent, update.xml, affect),
        )
        .await
    }

    /// The leases that its DHCP server has given out; only those of one MAC address if one is named.
    pub async fn network_get_dhcp_leases(
        &self,
        network: &NetworkRef,
        mac: Option<&str>,
    ) -> Result<Vec<DhcpLease>> {
        self.list(
            &p::NETWORK_GET_DHCP_LEASES,
            &(network, mac, super::NEED_RESULTS, 0u32),
        )
        .await
    }

    /// The ports that NICs are plugged into; a restart of the network empties the list. Since libvirt 5.5.
    pub async fn network_list_all_ports(&self, network: &NetworkRef) -> Result<Vec<NetworkPortRef>> {
        self.list(&p::NETWORK_LIST_ALL_PORTS, &(network, super::NEED_RESULTS, 0u32))
            .await
    }

    /// Its description, title, or the element of a namespace; since libvirt 9.7.
    pub async fn network_get_metadata(
        &self,
        network: &NetworkRef,
        kind: MetadataKind,
        uri: Option<&str>,
        affect: Affect,
    ) -> Result<String> {
        self.call(&p::NETWORK_GET_METADATA, &(network, kind, uri, affect))
            .await
    }

    /// Sets or removes its description, title, or the element of a namespace; since libvirt 9.7.
    pub async fn network_set_metadata(
        &self,
        network: &NetworkRef,
        metadata: Metadata<'_>,
        affect: Affect,
    ) -> Result<()> {
        let (kind, text, prefix, uri) = metadata.fields();
        self.call(
            &p::NETWORK_SET_METADATA,
            &(network, kind, text, prefix, uri, affect),
        )
        .await
    }
}
