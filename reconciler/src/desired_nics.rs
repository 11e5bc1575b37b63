//! NICs as they shall be, and machines kept apart from one another.

use std::collections::BTreeMap;

use labyard_driver::ids::{MacAddr, NicKey};
use labyard_driver::lan::VlanId;
use labyard_driver::spec::{Isolation, NicModel};
use labyard_schema::vm;
use serde::{Deserialize, Serialize};

use crate::desired::{DesiredMachine, Unusable, vlan};

/// A NIC as it shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredNic {
    /// The network as the user wrote it.
    pub network: String,
    /// Its address.
    pub mac: MacAddr,
    /// Its fixed IPv4 address.
    pub fixed: Option<FixedAddress>,
    /// Its VLAN; `None`: the network's.
    pub vlan: Option<VlanId>,
    /// Place in the boot order, as written.
    pub boot: Option<u32>,
    /// What it is for the guest.
    pub model: NicModel,
    /// Whom it reaches on its network. Not written: it is what a pool wants of its machines.
    pub isolation: Isolation,
}

/// A fixed IPv4 address of a NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedAddress {
    /// The address with the prefix of its network.
    pub address: ipnet::Ipv4Net,
    /// The gateway that the guest is told by its seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<std::net::Ipv4Addr>,
}

impl DesiredMachine {
    /// The same machine, kept apart from all others that are: on no network do they reach one another. They reach the
    /// host, what lies beyond it, and machines that are not kept apart.
    #[must_use]
    pub fn apart(mut self) -> Self {
        self.nics
            .values_mut()
            .for_each(|nic| nic.isolation = Isolation::Apart);
        self
    }
}

pub(crate) fn desired_nics(
    vm: &vm::Vm,
    macs: &BTreeMap<String, String>,
) -> Result<BTreeMap<NicKey, DesiredNic>, Unusable> {
    let unusable = |message: String| Unusable {
        attribute: "macs",
        message,
    };
    vm.nics
        .iter()
        .flatten()
        .map(|(key, nic)| {
            let text = nic.mac.as_ref().or_else(|| macs.get(key));
            let text = text.ok_or_else(|| unusable(format!("no MAC was planned for NIC {key:?}")))?;
            let mac = text
                .parse()
                .map_err(|e: labyard_driver::ids::BadMac| unusable(e.to_string()))?;
            Ok((
                NicKey(key.clone()),
                DesiredNic {
                    network: nic.network.clone(),
                    mac,
                    fixed: nic.ipv4.as_ref().and_then(fixed_address),
                    vlan: nic.vlan.and_then(vlan),
                    boot: nic.boot,
                    model: NicModel::parse(&nic.model).unwrap_or_default(),
                    isolation: Isolation::Open,
                },
            ))
        })
        .collect()
}

/// A fixed address as it is written; the schema's checks leave none that cannot be read.
pub fn fixed_address(ipv4: &vm::NicIpv4) -> Option<FixedAddress> {
    Some(FixedAddress {
        address: ipv4.address.parse().ok()?,
        gateway: ipv4.gateway.as_ref().and_then(|text| text.parse().ok()),
    })
}
