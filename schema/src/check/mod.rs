//! Checks of single values. Each error says what was found and what to write instead.
//!
//! ```
//! use labyard_schema::check;
//! assert!(check::object_name("web-01").is_ok());
//! assert!(check::duration("10").unwrap_err().contains("10"));
//! ```

mod image;
mod network;
mod time;

use std::collections::BTreeMap;

use crate::problem::{At, Problem};

pub use image::{image_name, image_source, kept_image, medium_source, sha256};
pub use network::{
    boot_url, bridge, cidr, claim_cidr, dhcp_option, dhcp_value, domain, host_label, host_label_of_many, ip,
    ipv4, ipv4_cidr, ipv4_host, ipv6, ipv6_cidr, mac, vendor_class,
};
pub use time::{date, duration, moment, time_of_day, timezone, wall_clock, weekday};

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

/// What people type to get machines. It is not repeated.
pub fn code_text(text: &str) -> Result<(), String> {
    const SHORTEST: usize = 6;
    const LONGEST: usize = 128;
    let counts = |c: &char| !c.is_whitespace() && *c != '-';
    let count = text.chars().filter(counts).count();
    if (SHORTEST..=LONGEST).contains(&count) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!(
        "A code has {SHORTEST} to {LONGEST} letters and digits; blanks and '-' between them do not count."
    ))
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

/// An absolute path on the host.
pub fn host_path(text: &str) -> Result<(), String> {
    if text.starts_with('/') && !text.contains(['\0', '\n']) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no absolute path: it is a path on the host and begins with /"
    ))
}

/// An absolute path on the computer that runs Terraform.
pub fn absolute_path(text: &str) -> Result<(), String> {
    if std::path::Path::new(text).is_absolute() && !text.contains(['\0', '\n']) {
        return Ok(());
    }
    Err(format!("{text:?} is no absolute path"))
}

/// Certificates in PEM.
pub fn ca_certificates(text: &str) -> Result<(), String> {
    crate::pem::certificates(text).map(drop)
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
        (moment, &["2026-09-01T08:00:00Z"], &["2026-09-01T08:00"]),
        (
            cidr,
            &["10.0.0.0/8", "fd00::/8", "192.0.2.7/32"],
            &["10.0.0.1/8", "10.0.0.0"],
        ),
        (timezone, &["Europe/Madrid", "UTC"], &["", "Mars/Base"]),
        (weekday, &["mon"], &["", "Mon", "monday"]),
        (
            time_of_day,
            &["08:00", "23:59"],
            &["", "8:00", "24:00", "08:00:00"],
        ),
        (date, &["2026-09-01"], &["", "2026-9-1", "2026-02-30"]),
        (
            wall_clock,
            &["2026-11-23T08:00"],
            &["", "2026-11-23", "2026-11-23T25:00"],
        ),
        (
            sha256,
            &["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
            &["", "E3"],
        ),
        (
            image_source,
            &[
                "https://a/b",
                "file:/x",
                "host:/x",
                "host:D:\\x",
                "image:golden",
                "image:golden@2",
            ],
            &[
                "",
                "/x",
                "https://",
                "ftp://a",
                "host:",
                "host:x/y",
                "host:/x/",
                "host:/",
                "image:",
                "image:a@0",
            ],
        ),
        (
            medium_source,
            &["https://a/b", "host:/x"],
            &["image:golden", "image:golden@2", "ftp://a"],
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
        (
            host_label_of_many,
            &["{name}", "seat-{index}", "x"],
            &["{host}", "{name}.lab", "-{index}"],
        ),
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
