//! What a network offers beside its IPv4 address and range: from the configuration, and the changes to it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::Ipv6Net;
use labyard_driver::lan::{Dhcp6, Ipv6, Lan};
use labyard_schema::network::{self, Network};
use serde::{Deserialize, Serialize};

use crate::desired::{Unusable, vlan};

/// What was written though it says nothing, so that an import shows it as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Written(pub BTreeSet<Empty>);

/// What may be written without saying anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Empty {
    /// No options of DHCP.
    Options,
    /// No forwarders.
    Forwarders,
    /// No records.
    Records,
}

impl Written {
    /// Whether nothing such was written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a configuration asks for.
///
/// # Errors
/// Where a value is none of its kind; the schema's checks leave none such.
pub fn desired(config: &Network) -> Result<Lan, Unusable> {
    let dhcp = config.ipv4.as_ref().and_then(|ipv4| ipv4.dhcp.as_ref());
    let records = config.dns.iter().flat_map(|dns| dns.records.iter().flatten());
    let forwarders = config.dns.iter().flat_map(|dns| dns.forwarders.iter().flatten());
    Ok(Lan {
        ipv6: config.ipv6.as_ref().map(ipv6).transpose()?,
        dhcp_options: dhcp.and_then(|dhcp| dhcp.options.clone()).unwrap_or_default(),
        forwarders: forwarders
            .map(|text| address("dns", text))
            .collect::<Result<_, _>>()?,
        records: records
            .map(|(name, addresses)| {
                let addresses = addresses.iter().map(|text| address("dns", text));
                Ok((name.clone(), addresses.collect::<Result<_, _>>()?))
            })
            .collect::<Result<_, _>>()?,
        vlan: config.vlan.and_then(vlan),
        mtu: config.mtu,
    })
}

/// What of a configuration was written though it says nothing.
pub fn written(config: &Network) -> Written {
    let dhcp = config.ipv4.as_ref().and_then(|ipv4| ipv4.dhcp.as_ref());
    let options = dhcp
        .and_then(|dhcp| dhcp.options.as_ref())
        .is_some_and(|o| o.is_empty());
    let dns = config.dns.as_ref();
    let forwarders = dns
        .and_then(|dns| dns.forwarders.as_ref())
        .is_some_and(Vec::is_empty);
    let records = dns
        .and_then(|dns| dns.records.as_ref())
        .is_some_and(|r| r.is_empty());
    let all = [
        (options, Empty::Options),
        (forwarders, Empty::Forwarders),
        (records, Empty::Records),
    ];
    Written(
        all.into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, what)| what)
            .collect(),
    )
}

fn address(attribute: &'static str, text: &str) -> Result<IpAddr, Unusable> {
    text.parse().map_err(|_| unusable(attribute, text))
}

fn unusable(attribute: &'static str, text: &str) -> Unusable {
    Unusable {
        attribute,
        message: format!("{text:?} cannot be read"),
    }
}

fn ipv6(config: &network::Ipv6) -> Result<Ipv6, Unusable> {
    let bad = |text: &str| unusable("ipv6", text);
    let net: Ipv6Net = config.cidr.parse().map_err(|_| bad(&config.cidr))?;
    let host = network::gateway6(&net);
    let dhcp = config.dhcp.as_ref().map(|range| {
        let start = range.start.parse().map_err(|_| bad(&range.start))?;
        let end = range.end.parse().map_err(|_| bad(&range.end))?;
        Ok(Dhcp6 { start, end })
    });
    Ok(Ipv6 {
        address: Ipv6Net::new(host, net.prefix_len()).map_err(|_| bad(&config.cidr))?,
        dhcp: dhcp.transpose()?,
    })
}
