//! Checks of single values. Each error says what was found and what to write instead.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::problem::{At, Problem};

/// Names of machines, networks and hosts: also file names and host-side names.
pub fn object_name(text: &str) -> Result<(), String> {
    let well_formed = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if well_formed && text.len() <= 63 {
        return Ok(());
    }
    Err(format!(
        "{text:?} cannot be a name: use 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or digit"
    ))
}

/// A storage pool of a host.
pub fn pool_name(text: &str) -> Result<(), String> {
    if names_a_host_object(text) {
        return Ok(());
    }
    Err(format!(
        "{text:?} cannot be the name of a storage pool: virsh pool-list --all shows those that there are"
    ))
}

/// A network that a card is on.
pub fn network_name(text: &str) -> Result<(), String> {
    if names_a_host_object(text) {
        return Ok(());
    }
    Err(format!(
        "{text:?} cannot be the name of a network: use that of a labyard_network, or one that virsh net-list --all shows"
    ))
}

/// What hosts take for the name of a pool or of a network: others than ours are called as they please.
fn names_a_host_object(text: &str) -> bool {
    let well_formed = !text.is_empty() && !text.chars().any(|c| c == '/' || c.is_control());
    well_formed && text.len() <= 255
}

/// A namespace: part of host-side names, before a dot.
pub fn namespace(text: &str) -> Result<(), String> {
    let well_formed = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if well_formed && text.len() <= 31 {
        return Ok(());
    }
    Err(format!(
        "{text:?} cannot be a namespace: use 1 to 31 lower-case letters, digits and '-', beginning with a letter or digit"
    ))
}

/// Keys of disks and NICs: part of volume names.
pub fn device_key(text: &str) -> Result<(), String> {
    let well_formed = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if well_formed && text.len() <= 20 {
        return Ok(());
    }
    Err(format!(
        "{text:?} cannot be a key here: use 1 to 20 letters, digits, '_' and '-', beginning with a letter or digit"
    ))
}

/// A duration.
pub fn duration(text: &str) -> Result<(), String> {
    crate::text::parse_duration(text).map(|_| ())
}

/// Where a hook is asked. User names and passwords would stand in errors and logs.
pub fn hook_url(text: &str) -> Result<(), String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let server = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    match server {
        Some(server) if server.contains('@') => Err(
            "A hook's URL cannot hold a user name or password: sign requests with secret_file instead."
                .to_owned(),
        ),
        Some(server) if !server.is_empty() && !text.contains(char::is_whitespace) => Ok(()),
        _ => Err(format!(
            "{text:?} is no URL of a hook: write https://… or http://…"
        )),
    }
}

/// A SHA-256 digest.
pub fn sha256(text: &str) -> Result<(), String> {
    if text.len() == 64
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no SHA-256 digest: write 64 lower-case hex digits, as sha256sum prints them"
    ))
}

/// Where an image comes from.
pub fn image_source(text: &str) -> Result<(), String> {
    let after = |scheme: &str| text.strip_prefix(scheme).filter(|rest| !rest.is_empty());
    if after("https://").is_some() || after("http://").is_some() || after("file:").is_some() {
        return Ok(());
    }
    let Some(path) = text.strip_prefix("host:") else {
        return Err(format!(
            "{text:?} is no image source: write https://… or http://…, file: and a path on the computer that runs \
             Terraform, or host: and a path on the hypervisor"
        ));
    };
    let on_a_drive = path.get(1..3).is_some_and(|rest| matches!(rest, ":\\" | ":/"));
    if path.ends_with(['/', '\\']) || !(path.starts_with(['/', '\\']) || on_a_drive) {
        return Err(format!(
            "{text:?} is no file of the hypervisor: write host: and the whole path, like host:/srv/images/debian.qcow2"
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

/// A serial number that SMBIOS carries.
pub fn serial(text: &str) -> Result<(), String> {
    let fits = (1..=64).contains(&text.len()) && text.trim() == text;
    if fits && text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no serial number: write 1 to 64 printable ASCII characters, no space at either end"
    ))
}

/// A processor model's name.
pub fn cpu_model(text: &str) -> Result<(), String> {
    let well_formed = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if well_formed && (1..=64).contains(&text.len()) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no processor model: write host-passthrough, host-model, maximum, or a name that virsh cpu-models shows"
    ))
}

/// The value of a label.
pub fn label_value(text: &str) -> Result<(), String> {
    if text.len() <= 255 && !text.contains(char::is_control) {
        return Ok(());
    }
    Err(format!(
        "{text:?} cannot be a label: use up to 255 bytes without control characters"
    ))
}

/// The key of a label.
pub fn label_key(text: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    let ends = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if ends && text.len() <= 63 && text.chars().all(inner) {
        return Ok(());
    }
    Err(format!(
        "{text:?} cannot be a label's key: use 1 to 63 letters, digits, '.', '_', '/' and '-', a letter or digit first"
    ))
}

/// Labels whose keys cannot be, and labels beyond what a mark can carry.
pub fn bad_labels(labels: Option<&BTreeMap<String, String>>) -> Vec<Problem> {
    const MOST: usize = 64;
    let Some(labels) = labels else { return Vec::new() };
    let keys = labels.keys().filter_map(|key| {
        let at = vec![At::Attribute("labels"), At::Key(key.clone())];
        Some(Problem::new(at, "Bad label", label_key(key).err()?))
    });
    let mut problems: Vec<_> = keys.collect();
    if labels.len() > MOST {
        let detail = format!("{} labels are more than the {MOST} that are kept.", labels.len());
        problems.push(Problem::new(
            vec![At::Attribute("labels")],
            "Too many labels",
            detail,
        ));
    }
    problems
}

/// What a machine is ready by.
pub fn ready_wait(text: &str) -> Result<(), String> {
    let port = text.strip_prefix("tcp:").map(str::parse::<u16>);
    match (text, port) {
        ("none" | "address" | "agent", _) => Ok(()),
        (_, Some(Ok(port))) if port > 0 => Ok(()),
        _ => Err(format!(
            "{text:?} is nothing to wait for: write none, address, agent or tcp:PORT"
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

/// An IP address of either family.
pub fn ip(text: &str) -> Result<(), String> {
    text.parse::<std::net::IpAddr>()
        .map(|_| ())
        .map_err(|_| format!("{text:?} is no IP address: write one like 10.77.0.1 or fd00:77::1"))
}

/// A public SSH key: kind, base64, and perhaps a comment, as they stand in `*.pub` files.
pub fn ssh_key(text: &str) -> Result<(), String> {
    const KINDS: [&str; 4] = ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"];
    let mut words = text.split(' ');
    let kind = words
        .next()
        .is_some_and(|kind| KINDS.iter().any(|k| kind.starts_with(k)));
    let body = words.next().is_some_and(|body| {
        body.starts_with("AAAA")
            && body
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c))
    });
    if kind && body && !text.contains(char::is_control) {
        return Ok(());
    }
    let hint = if text.contains("PRIVATE KEY") {
        "this is a private key: give the public one (*.pub), and change this one"
    } else {
        "write the one line of a *.pub file, like ssh-ed25519 AAAA… you@home (trimspace(file(…)) drops its line break)"
    };
    // A private key given by mistake is not repeated, nor a long text.
    let begin: String = text.chars().take(12).collect();
    Err(format!("{begin:?}… is no public SSH key: {hint}"))
}

/// A user of a domain.
pub fn domain_user(text: &str) -> Result<(), String> {
    if !text.trim().is_empty() && !text.contains(char::is_control) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no user of a domain: write name, DOMAIN\\name or name@domain"
    ))
}

/// A distinguished name of a directory.
pub fn distinguished_name(text: &str) -> Result<(), String> {
    let part = |part: &str| {
        let (kind, value) = part.split_once('=').unwrap_or_default();
        !kind.trim().is_empty() && !value.trim().is_empty()
    };
    // A comma inside a value is written with a backslash before it.
    if text.replace("\\,", "").split(',').all(part) && !text.contains(char::is_control) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no distinguished name: write one like OU=Lab,DC=corp,DC=test"
    ))
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

/// An absolute path on the host.
pub fn host_path(text: &str) -> Result<(), String> {
    if text.starts_with('/') && !text.contains(['\0', '\n']) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no absolute path: it is a path on the host and begins with /"
    ))
}

/// Certificates in PEM.
pub fn ca_certificates(text: &str) -> Result<(), String> {
    crate::pem::certificates(text).map(drop)
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

/// A kernel's command line.
pub fn cmdline(text: &str) -> Result<(), String> {
    if !text.is_empty() && !text.contains(char::is_control) {
        return Ok(());
    }
    Err(format!(
        "{text:?} cannot be a command line: write words with spaces between them, or leave it out"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case = (
        fn(&str) -> Result<(), String>,
        &'static [&'static str],
        &'static [&'static str],
    );

    #[test]
    fn a_dhcp_value_cannot_bring_a_directive_of_its_own() {
        for text in ["a\ndhcp-script=/bin/sh", "a\r", "\"a\"", "a\\nb", "a\0"] {
            assert!(dhcp_value(text).is_err(), "{text:?}");
        }
    }

    const CASES: &[Case] = &[
        (
            object_name,
            &["web-01", "a", "x.y_z"],
            &["", "-a", "a b", "a/b", "ä"],
        ),
        (namespace, &["default", "team-1"], &["", "A", "a.b", "-x"]),
        (
            device_key,
            &["root", "data_1"],
            &["", "a.b", "far-too-long-for-a-disk-key"],
        ),
        (duration, &["10m"], &["10"]),
        (
            sha256,
            &["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
            &["", "E3"],
        ),
        (
            image_source,
            &["https://a/b", "file:/x", "host:/x", "host:D:\\x"],
            &[
                "", "/x", "https://", "ftp://a", "host:", "host:x/y", "host:/x/", "host:/",
            ],
        ),
        (
            mac,
            &["52:54:00:12:34:56"],
            &["", "53:54:00:12:34:56", "fe:54:00:12:34:56", "52:54:00:AB:34:56"],
        ),
        (
            ready_wait,
            &["none", "address", "agent", "tcp:22"],
            &["tcp:0", "tcp:", "ssh", ""],
        ),
        (
            ipv4_cidr,
            &["10.77.0.0/24"],
            &[
                "10.77.0.1/24",
                "10.77.0.0",
                "10.0.0.0/30",
                "0.0.0.0/0",
                "fd00::/64",
            ],
        ),
        (ipv4, &["10.77.0.1"], &["10.77.0", "::1"]),
        (ipv6, &["fd00::1"], &["10.77.0.1", "fd00"]),
        (
            ipv6_cidr,
            &["fd00:77::/64", "fd00::/120"],
            &["fd00::1/64", "fd00::", "10.0.0.0/24", "fd00::/126"],
        ),
        (
            ipv4_host,
            &["10.77.0.10/24"],
            &["10.77.0.0/24", "10.77.0.255/24", "10.77.0.10", "10.77.0.1/32"],
        ),
        (
            dhcp_option,
            &["42", "ntp-server", "254"],
            &["0", "255", "042", "53", "ntp", "tag:x", "3,x", "-1", "+3"],
        ),
        (
            dhcp_value,
            &["10.77.0.5", "10.77.0.5,10.77.0.6", "https://a/b?c=d", "a b"],
            &["", "a,,b", "a ", "a#b"],
        ),
        (serial, &["LY-12", "a b"], &["", "ä", " x"]),
        (
            cpu_model,
            &["host-passthrough", "Haswell-noTSX"],
            &["", "a b", "x<y"],
        ),
        (label_value, &["", "a b"], &[]),
        (label_key, &["team", "a/b.c"], &["", "-a", "a b"]),
        (domain, &["lab.test", "x"], &["", "a..b", "-a", "a_b"]),
        (host_label, &["web-01", "x"], &["", "a.b", "-a", "a_b"]),
        (ip, &["10.77.0.1", "fd00::1"], &["10.77.0", "x"]),
        (
            ssh_key,
            &["ssh-ed25519 AAAAC3Nz ann@home", "ecdsa-sha2-nistp256 AAAAE2Vj"],
            &["", "ssh-rsa", "AAAAB3Nz", "ssh-rsa x"],
        ),
        (domain_user, &["CORP\\ann", "ann@corp.test"], &[""]),
        (
            distinguished_name,
            &["OU=Lab,DC=corp,DC=test", "OU=a\\,b,DC=c"],
            &["", "Lab", "OU="],
        ),
        (bridge, &["br0"], &["", "abcdefghijklmnop", "a/b"]),
        (
            boot_url,
            &["https://boot.lab.test/a.efi", "http://10.0.0.1:8080/x?y=1"],
            &[
                "",
                "ftp://a/b",
                "https://",
                "https://a/b c",
                "https://a/b,c",
                "https://u@a/b",
            ],
        ),
        (
            vendor_class,
            &["HTTPClient", "PXEClient"],
            &["", "a:b", "a b", "a,b"],
        ),
        (host_path, &["/boot/vmlinuz"], &["", "vmlinuz"]),
        (cmdline, &["console=ttyS0 quiet ", "ro"], &[""]),
    ];

    #[test]
    fn each_check_takes_the_good_and_names_the_bad() {
        for (check, good, bad) in CASES {
            for text in *good {
                assert_eq!(check(text), Ok(()), "{text:?}");
            }
            for text in *bad {
                let message = check(text).expect_err(text);
                assert!(message.contains(text.trim_start_matches('/')), "{message}");
            }
        }
    }
}
