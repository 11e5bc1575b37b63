//! The configurations that tests share: provider block, networks, machines. What a test is about it writes itself.

use crate::assets::GuestFiles;
use crate::host::Host;
use std::fmt::Display;

const REQUIRED: &str =
    "terraform {\n  required_providers {\n    labyard = { source = \"labyard/labyard\" }\n  }\n}\n";

/// A provider block for hosts by their names. Guests are emulated: nested virtualisation may be there and not work.
pub fn provider(hosts: &[(&str, &Host)]) -> String {
    let hosts: Vec<_> = hosts.iter().map(|(name, host)| (*name, host.uri())).collect();
    let hosts: Vec<_> = hosts.iter().map(|(name, uri)| (*name, uri.as_str())).collect();
    provider_of("", &hosts)
}

/// The same for one host, `lab1`; where a daemon drives it ([`Host::serve`]), through that.
pub fn on(host: &Host) -> String {
    match host.served() {
        Some(daemon) => daemon.provider("default", ""),
        None => provider(&[("lab1", host)]),
    }
}

/// The same, for a namespace.
pub fn in_namespace(namespace: &str, host: &Host) -> String {
    provider_of(
        &format!("  namespace = {namespace:?}\n"),
        &[("lab1", &host.uri())],
    )
}

/// A provider block for URIs by their hosts' names, with more attributes of its own.
pub fn provider_of(more: &str, hosts: &[(&str, &str)]) -> String {
    let hosts: String = hosts
        .iter()
        .map(|(name, uri)| {
            format!("    {name} = {{ libvirt = {{ uri = {uri:?}, accelerator = \"qemu\" }} }}\n")
        })
        .collect();
    format!("{REQUIRED}provider \"labyard\" {{\n{more}  hosts = {{\n{hosts}  }}\n}}\n")
}

/// A network 10.`subnet`.0.0/24 with NAT and DHCP, called as its resource.
pub fn network(name: &str, subnet: u8) -> String {
    resource(
        "labyard_network",
        name,
        format!(
            "mode = \"nat\"\n  ipv4 = {{ cidr = \"10.{subnet}.0.0/24\", dhcp = {{ start = \"10.{subnet}.0.100\", end = \"10.{subnet}.0.200\" }} }}"
        ),
    )
}

/// A machine called as its resource, with what else it has; its memory too.
pub fn machine(name: &str, body: impl Display) -> String {
    resource("labyard_vm", name, body)
}

/// Any resource of ours called as its name.
pub fn resource(kind: &str, name: &str, body: impl Display) -> String {
    format!("resource \"{kind}\" \"{name}\" {{\n  name = \"{name}\"\n  {body}\n}}\n")
}

/// A disk's image: the small one that does not boot.
pub fn image() -> String {
    format!("{{ source = \"file:{}\" }}", GuestFiles::get().disk().display())
}

/// Direct boot of the tiny guest, with more words on its kernel's command line. A busy machine lets an emulated timer
/// tick late, which the kernel would take for a broken one and panic.
pub fn boot(words: &str) -> String {
    let files = GuestFiles::get();
    format!(
        "boot = {{ kernel = \"{}\", initrd = \"{}\", cmdline = \"console=ttyS0 quiet no_timer_check {words}\" }}",
        files.kernel().display(),
        files.initrd().display()
    )
}

/// User data that let a key in.
pub fn user_data(key: &str) -> String {
    format!("#cloud-config\\nssh_authorized_keys:\\n  - {key}\\n")
}
