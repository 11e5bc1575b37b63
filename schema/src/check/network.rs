//! Addresses, networks, names in DNS, and what DHCP tells.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A network of either family with its prefix.
pub fn cidr(text: &str) -> Result<(), String> {
    let net: ipnet::IpNet = text
        .parse()
        .map_err(|_| format!("{text:?} is no network: write one like 10.0.0.0/8 or fd00::/8"))?;
    if net.addr() != net.network() {
        return Err(format!(
            "{text} names an address, not a network: write {}",
            net.trunc()
        ));
    }
    Ok(())
}

/// A MAC address of one card.
pub fn mac(text: &str) -> Result<(), String> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|part| {
            (part.len() == 2)
                .then(|| u8::from_str_radix(part, 16).ok())
                .flatten()
        })
        .collect();
    match bytes {
        Some(bytes) if bytes.len() == 6 && text == text.to_ascii_lowercase() => {
            if bytes[0] & 1 == 1 || bytes[0] == 0xfe || bytes.iter().all(|b| *b == 0) {
                return Err(format!(
                    "{text} cannot be a machine's MAC: the first byte must be even and not fe (52:54:00:… is usual)"
                ));
            }
            Ok(())
        }
        _ => Err(format!(
            "{text:?} is no MAC address: write six pairs of lower-case hex digits with colons, like 52:54:00:12:34:56"
        )),
    }
}

/// An IPv4 network with its prefix: the network's own address, room for guests.
pub fn ipv4_cidr(text: &str) -> Result<(), String> {
    let net: ipnet::Ipv4Net = text
        .parse()
        .map_err(|_| format!("{text:?} is no IPv4 network: write one like 10.77.0.0/24"))?;
    if net.addr() != net.network() {
        return Err(format!(
            "{text} names a host, not a network: write {}",
            net.trunc()
        ));
    }
    if net.prefix_len() > 29 || net.prefix_len() < 8 {
        return Err(format!("{text}: the prefix must be between /8 and /29"));
    }
    Ok(())
}

/// A private IPv4 network that is cut into parts, one for the network of each claim.
pub fn claim_cidr(text: &str) -> Result<(), String> {
    ipv4_cidr(text)?;
    let net: ipnet::Ipv4Net = text.parse().map_err(|_| format!("{text:?} is no IPv4 network"))?;
    if !(16..=28).contains(&net.prefix_len()) {
        return Err(format!("{text}: the prefix must be between /16 and /28"));
    }
    if !net.network().is_private() || !net.broadcast().is_private() {
        return Err(format!(
            "{text} is no private network: write one of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16"
        ));
    }
    Ok(())
}

/// An IPv4 address.
pub fn ipv4(text: &str) -> Result<(), String> {
    text.parse::<Ipv4Addr>()
        .map(|_| ())
        .map_err(|_| format!("{text:?} is no IPv4 address"))
}

/// An IPv6 address.
pub fn ipv6(text: &str) -> Result<(), String> {
    text.parse::<Ipv6Addr>()
        .map(|_| ())
        .map_err(|_| format!("{text:?} is no IPv6 address"))
}

/// An IPv6 network with its prefix: the network's own address, room for guests.
pub fn ipv6_cidr(text: &str) -> Result<(), String> {
    let net: ipnet::Ipv6Net = text
        .parse()
        .map_err(|_| format!("{text:?} is no IPv6 network: write one like fd00:77::/64"))?;
    if net.addr() != net.network() {
        return Err(format!(
            "{text} names a host, not a network: write {}",
            net.trunc()
        ));
    }
    if net.prefix_len() > 124 || net.prefix_len() < 16 {
        return Err(format!("{text}: the prefix must be between /16 and /124"));
    }
    Ok(())
}

/// An IPv4 address of a host with the prefix of its network.
pub fn ipv4_host(text: &str) -> Result<(), String> {
    let net: ipnet::Ipv4Net = text
        .parse()
        .map_err(|_| format!("{text:?} is no IPv4 address with prefix: write one like 10.77.0.10/24"))?;
    let special = net.addr() == net.network() || net.addr() == net.broadcast();
    if net.prefix_len() > 30 || net.prefix_len() < 1 || special {
        return Err(format!(
            "{text} is no host's address in its network: write one like 10.77.0.10/24"
        ));
    }
    Ok(())
}

/// The DHCP options that dnsmasq knows by name.
const DHCP_OPTIONS: &[&str] = &[
    "netmask",
    "time-offset",
    "router",
    "dns-server",
    "log-server",
    "lpr-server",
    "boot-file-size",
    "domain-name",
    "swap-server",
    "root-path",
    "extension-path",
    "ip-forward-enable",
    "non-local-source-routing",
    "policy-filter",
    "max-datagram-reassembly",
    "default-ttl",
    "mtu",
    "all-subnets-local",
    "router-discovery",
    "router-solicitation",
    "static-route",
    "trailer-encapsulation",
    "arp-timeout",
    "ethernet-encap",
    "tcp-ttl",
    "tcp-keepalive",
    "nis-domain",
    "nis-server",
    "ntp-server",
    "netbios-ns",
    "netbios-dd",
    "netbios-nodetype",
    "netbios-scope",
    "x-windows-fs",
    "x-windows-dm",
    "nis+-domain",
    "nis+-server",
    "tftp-server",
    "bootfile-name",
    "mobile-ip-home",
    "smtp-server",
    "pop3-server",
    "nntp-server",
    "irc-server",
    "posix-timezone",
    "tzdb-timezone",
    "domain-search",
    "sip-server",
    "classless-static-route",
    "vendor-id-encap",
    "tftp-server-address",
];

/// A DHCP option that may be told to guests: those of the exchange itself (lease, type, server, client) are not.
pub fn dhcp_option(text: &str) -> Result<(), String> {
    let plain = !text.starts_with('0') && text.len() <= 3 && text.chars().all(|c| c.is_ascii_digit());
    match text.parse::<u8>() {
        Ok(50..=57 | 61 | 82) => Err(format!(
            "{text} is not for a network to choose: DHCP itself uses it"
        )),
        Ok(1..=254) if plain => Ok(()),
        _ if DHCP_OPTIONS.contains(&text) => Ok(()),
        _ => Err(format!(
            "{text:?} is no DHCP option: write its number from 1 to 254, or a name of dnsmasq's (dnsmasq --help dhcp)"
        )),
    }
}

/// The value of a DHCP option, which is written to a configuration file of the host.
pub fn dhcp_value(text: &str) -> Result<(), String> {
    if text.contains(char::is_control) || text.contains(['"', '\\', '#']) || text.trim() != text {
        return Err(format!(
            "{text:?} cannot be the value of a DHCP option: no control characters, quotes, backslashes and '#', no blanks around it"
        ));
    }
    if text.is_empty() || text.len() > 255 || text.split(',').any(|part| part.trim().is_empty()) {
        return Err(format!(
            "{text:?} cannot be the value of a DHCP option: write 1 to 255 characters, several values with one comma between two"
        ));
    }
    Ok(())
}

/// A DNS domain.
pub fn domain(text: &str) -> Result<(), String> {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        return Ok(());
    }
    Err(format!("{text:?} is no DNS domain: write one like lab.test"))
}

/// A host name: one label of a DNS name.
pub fn host_label(text: &str) -> Result<(), String> {
    if !text.contains('.') && domain(text).is_ok() {
        return Ok(());
    }
    Err(format!(
        "{text:?} cannot be a host name: use 1 to 63 letters, digits and '-', no '-' at either end and no dots"
    ))
}

/// A host name of many machines: `{name}` and `{index}` stand for each one's name and number.
pub fn host_label_of_many(text: &str) -> Result<(), String> {
    host_label(&text.replace("{name}", "m").replace("{index}", "1")).map_err(|_| {
        format!(
            "{text:?} cannot be a host name: use letters, digits, '-', {{name}} and {{index}}, no '-' at either end and no dots"
        )
    })
}

/// An IP address of either family.
pub fn ip(text: &str) -> Result<(), String> {
    text.parse::<std::net::IpAddr>()
        .map(|_| ())
        .map_err(|_| format!("{text:?} is no IP address: write one like 10.77.0.1 or fd00:77::1"))
}

/// A bridge's name as Linux allows it.
pub fn bridge(text: &str) -> Result<(), String> {
    let well_formed = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if well_formed && (1..=15).contains(&text.len()) && text != "." && text != ".." {
        return Ok(());
    }
    Err(format!(
        "{text:?} cannot be a bridge: use 1 to 15 letters, digits, '.', '_' and '-'"
    ))
}

/// An address that firmware loads a program from. What DHCP carries of it goes through a file of the host's, so that
/// it holds nothing that means something there.
pub fn boot_url(text: &str) -> Result<(), String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split('/').next().unwrap_or_default());
    let plain = text
        .chars()
        .all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | ',' | '\\' | '<' | '>' | '#'));
    if plain && text.len() <= 250 && host.is_some_and(|host| !host.is_empty() && !host.contains('@')) {
        return Ok(());
    }
    Err(format!(
        "{text:?} cannot be booted from: write https://HOST/FILE or http://HOST/FILE in plain ASCII, at most 250 characters, without user name, quotes, commas and #"
    ))
}

/// What a client that asks for a boot file calls itself.
pub fn vendor_class(text: &str) -> Result<(), String> {
    let well_formed = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if well_formed && (1..=32).contains(&text.len()) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no vendor class: use 1 to 32 letters, digits, '.', '_' and '-', like HTTPClient"
    ))
}
