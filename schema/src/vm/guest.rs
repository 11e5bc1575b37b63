//! `guest`: what the operating system inside a machine shall be told, in one vocabulary for every hypervisor.

use std::collections::BTreeMap;

use super::{OsFamily, Vm};
use crate::attribute::attributes;
use crate::check;
use crate::problem::{At, Problem};
use crate::text::Secret;

/// Families of operating systems.
pub const OS_FAMILIES: &[&str] = &["linux", "windows"];

/// The longest password that cloudbase-init sets; a longer one makes it skip the user with a line in its log.
const WINDOWS_PASSWORD: usize = 20;
/// The longest name of a local user of Windows.
const WINDOWS_USER: usize = 20;
/// The longest NetBIOS name; cloudbase-init cuts longer host names.
const NETBIOS: usize = 15;
/// The longest name that `useradd` takes.
const LINUX_USER: usize = 32;

attributes! {
    /// What the operating system inside is told: through cloud-init on Linux, through cloudbase-init's NoCloud service on Windows. A change renews the seed of a running machine too; the guest reads it at its next first boot.
    pub struct Guest {
        /// Family of the operating system. Left out: `windows` where the name of an image begins with `Windows` or `Microsoft Windows`, else `linux`.
        os_family: Option<String> = optional().choice(OS_FAMILIES);
        /// Host name, one label. Left out: the machine's name.
        hostname: Option<String> = optional().check(check::host_label);
        /// The user who administers the guest: made if it is not there, with rights of root by sudo (Linux) or in `Administrators` (Windows). Left out: the one that the image has.
        admin_username: Option<String> = optional();
        /// Password of that user; Terraform does not store it. For Linux it is hashed (SHA-512 crypt) before it is written; Windows gets it as it is and takes at most 20 characters. It is sent again when `admin_password_wo_version` changes.
        admin_password_wo: Option<Secret> = optional().write_only().sensitive();
        /// Version of `admin_password_wo`: raise it when the password changes.
        admin_password_wo_version: Option<u64> = optional();
        /// Public SSH keys of that user.
        ssh_authorized_keys: Option<Vec<String>> = optional().check(check::ssh_key);
        /// More users by name. They have no password (Windows: a random one).
        users: Option<BTreeMap<String, GuestUser>> = optional();
        /// DNS servers of every NIC, in place of those that DHCP gives.
        dns_servers: Option<Vec<String>> = optional().check(check::ip);
        /// DNS suffix: part of the guest's full name, and searched for short names.
        dns_suffix: Option<String> = optional().check(check::domain);
        /// Active Directory that a Windows guest joins. Written after cloudbase-init's documents and its source; not tried on a running Windows.
        domain_join: Option<DomainJoin> = optional();
    }

    /// A user of a guest.
    pub struct GuestUser {
        /// Public SSH keys of the user.
        ssh_authorized_keys: Option<Vec<String>> = optional().check(check::ssh_key);
        /// Whether the user may do everything: sudo without a password (Linux), a member of `Administrators` (Windows).
        admin: bool = default(false);
    }

    /// A domain to join.
    pub struct DomainJoin {
        /// DNS name of the domain.
        domain: String = required().check(check::domain);
        /// User who may add computers to it: `name`, `DOMAIN\name` or `name@domain`.
        username: String = required().check(check::domain_user);
        /// Password of that user; Terraform does not store it. It stands in the seed as it is, and in a script that the guest runs and deletes; never on a command line.
        password_wo: Option<Secret> = optional().write_only().sensitive();
        /// Version of `password_wo`: raise it when the password changes.
        password_wo_version: Option<u64> = optional();
        /// Distinguished name of the organisational unit for the computer. Left out: the domain's default.
        ou: Option<String> = optional().check(check::distinguished_name);
    }
}

impl Vm {
    /// The family of the guest: as written, else by the images' names, else Linux.
    pub fn os_family(&self) -> OsFamily {
        let written = self.guest.as_ref().and_then(|guest| guest.os_family.as_deref());
        let images = self
            .disks
            .iter()
            .flatten()
            .filter_map(|(_, disk)| disk.image.as_ref());
        match written {
            Some("windows") => OsFamily::Windows,
            Some(_) => OsFamily::Linux,
            None => images
                .filter_map(|image| OsFamily::of_image(&image.source))
                .next()
                .unwrap_or(OsFamily::Linux),
        }
    }
}

impl Guest {
    /// Rules between attributes of the guest, and with those of its machine.
    pub(super) fn problems(&self, vm: &Vm) -> Vec<Problem> {
        let family = vm.os_family();
        let mut problems = self.names(vm, family);
        problems.extend(self.admin(family));
        problems.extend(self.duplicate_keys());
        problems.extend(self.dns(vm));
        problems.extend(self.join(family));
        problems
    }

    fn names(&self, vm: &Vm, family: OsFamily) -> Vec<Problem> {
        let mut problems = Vec::new();
        let name = self.hostname.as_deref().unwrap_or(&vm.name);
        if family == OsFamily::Windows && name.len() > NETBIOS {
            let detail = format!(
                "Windows takes host names of at most {NETBIOS} characters, and {name:?} has {}: set guest.hostname to a shorter one.",
                name.len()
            );
            problems.push(Problem::new(at("hostname"), "Host name too long", detail));
        }
        if let Some(admin) = &self.admin_username
            && let Err(detail) = user_name(admin, family)
        {
            problems.push(Problem::new(at("admin_username"), "Invalid user name", detail));
        }
        for name in self.users.iter().flatten().map(|(name, _)| name) {
            if let Err(detail) = user_name(name, family) {
                problems.push(Problem::new(at_user(name), "Invalid user name", detail));
            }
            if same_user(Some(name), self.admin_username.as_ref(), family) {
                let detail =
                    format!("{name:?} is admin_username already: say there what shall be of that user.");
                problems.push(Problem::new(at_user(name), "User twice", detail));
            }
        }
        problems.extend(self.twice_but_for_case(family));
        problems
    }

    /// Windows does not tell `Ann` from `ann`.
    fn twice_but_for_case(&self, family: OsFamily) -> Option<Problem> {
        let mut seen = BTreeMap::new();
        let mut names = self.users.iter().flatten().map(|(name, _)| name);
        let name = names
            .find(|name| family == OsFamily::Windows && seen.insert(name.to_lowercase(), ()).is_some())?;
        let detail =
            format!("{name:?} is there in another spelling too, and Windows takes both for one user.");
        Some(Problem::new(at_user(name), "User twice", detail))
    }

    fn admin(&self, family: OsFamily) -> Vec<Problem> {
        let secret = self.admin_password_wo.as_ref();
        let mut problems: Vec<_> = versioned(
            secret,
            self.admin_password_wo_version,
            &at("admin_password_wo"),
            &at("admin_password_wo_version"),
        )
        .into_iter()
        .collect();
        let Some(secret) = secret else { return problems };
        if let Err(detail) = password(secret, family) {
            problems.push(Problem::new(at("admin_password_wo"), "Unusable password", detail));
        }
        if family == OsFamily::Windows && self.admin_username.is_none() {
            let detail = "On Windows only the image's own configuration of cloudbase-init knows who its administrator is: \
                          name the user whose password this is in guest.admin_username.";
            problems.push(Problem::new(at("admin_username"), "Password of nobody", detail));
        }
        problems
    }

    fn duplicate_keys(&self) -> Vec<Problem> {
        let twice = |keys: &Option<Vec<String>>| {
            let mut seen = std::collections::BTreeSet::new();
            keys.iter().flatten().any(|key| !seen.insert(key))
        };
        let problem =
            |at: Vec<At>| Problem::new(at, "Key twice", "One of the keys stands here twice: keep one.");
        let admin = twice(&self.ssh_authorized_keys).then(|| problem(at("ssh_authorized_keys")));
        let users = self.users.iter().flatten().filter_map(|(name, user)| {
            let mut path = at_user(name);
            path.push(At::Attribute("ssh_authorized_keys"));
            twice(&user.ssh_authorized_keys).then(|| problem(path))
        });
        admin.into_iter().chain(users).collect()
    }

    fn dns(&self, vm: &Vm) -> Vec<Problem> {
        let mut problems = Vec::new();
        let servers = self.dns_servers.iter().flatten();
        let mut seen = std::collections::BTreeSet::new();
        if let Some(server) = servers.clone().find(|server| !seen.insert(*server)) {
            let detail = format!("{server} stands here twice: keep one.");
            problems.push(Problem::new(at("dns_servers"), "DNS server twice", detail));
        }
        if self.dns_servers.is_none() {
            return problems;
        }
        if vm.nics.iter().flatten().next().is_none() {
            let detail = "DNS servers are set for each NIC, and this machine has none: add one to nics, or leave dns_servers out.";
            problems.push(Problem::new(at("dns_servers"), "DNS servers of no NIC", detail));
        }
        if vm.cloud_init.as_ref().is_some_and(|c| c.network_config.is_some()) {
            let detail = "cloud_init.network_config says all about the network, and guest.dns_servers would be written there: keep one.";
            problems.push(Problem::new(at("dns_servers"), "Network said twice", detail));
        }
        problems
    }

    fn join(&self, family: OsFamily) -> Vec<Problem> {
        let Some(join) = &self.domain_join else {
            return Vec::new();
        };
        let inner = |leaf| {
            vec![
                At::Attribute("guest"),
                At::Attribute("domain_join"),
                At::Attribute(leaf),
            ]
        };
        let mut problems = Vec::new();
        if family == OsFamily::Linux {
            let detail = "Only Windows guests join a domain this way, and this one is taken for Linux: set guest.os_family = \"windows\", or leave domain_join out (on Linux: realmd, through cloud_init.user_data).";
            problems.push(Problem::new(at("domain_join"), "Not for this family", detail));
        }
        if join.password_wo.is_none() && join.password_wo_version.is_none() {
            let detail = "Joining a domain needs the password of the user who may: give password_wo and password_wo_version.";
            problems.push(Problem::new(inner("password_wo"), "Missing password", detail));
        }
        problems.extend(versioned(
            join.password_wo.as_ref(),
            join.password_wo_version,
            &inner("password_wo"),
            &inner("password_wo_version"),
        ));
        if let Some(secret) = &join.password_wo
            && (secret.reveal().is_empty() || secret.reveal().contains(char::is_control))
        {
            let detail =
                "The password is empty or has a control character (a line break at its end, perhaps).";
            problems.push(Problem::new(inner("password_wo"), "Unusable password", detail));
        }
        problems
    }
}

/// A write-only value and its version go together: one says what, the other when it changed.
fn versioned(secret: Option<&Secret>, version: Option<u64>, value: &[At], number: &[At]) -> Option<Problem> {
    match (secret, version) {
        (Some(_), None) => {
            let detail = "Terraform does not store the password, so only its version tells when it changed: set it to 1, and raise it with every change.";
            Some(Problem::new(number.to_vec(), "Missing version", detail))
        }
        (None, Some(_)) => {
            let detail = "There is a version and no password: a renewed seed would leave it out. Give the password too, or leave both out.";
            Some(Problem::new(value.to_vec(), "Version of nothing", detail))
        }
        _ => None,
    }
}

/// Says what is wrong without the password, nor its length.
fn password(secret: &Secret, family: OsFamily) -> Result<(), String> {
    let text = secret.reveal();
    if text.is_empty() || text.contains(char::is_control) {
        return Err(
            "The password is empty or has a control character (a line break at its end, perhaps).".to_owned(),
        );
    }
    if family == OsFamily::Windows && text.chars().count() > WINDOWS_PASSWORD {
        return Err(format!(
            "cloudbase-init skips a user whose password has more than {WINDOWS_PASSWORD} characters: use a shorter one."
        ));
    }
    Ok(())
}

fn user_name(name: &str, family: OsFamily) -> Result<(), String> {
    match family {
        OsFamily::Linux => {
            let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
            let rest = name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
            if first && rest && name.len() <= LINUX_USER {
                return Ok(());
            }
            Err(format!(
                "{name:?} cannot be a user of Linux: use 1 to {LINUX_USER} lower-case letters, digits, '_' and '-', beginning with a letter or '_'"
            ))
        }
        OsFamily::Windows => {
            let bad = |c: char| c.is_control() || "\"/\\[]:;|=,+*?<>@".contains(c);
            let hollow = name.chars().all(|c| c == '.' || c == ' ');
            if !hollow && !name.contains(bad) && !name.ends_with('.') && name.chars().count() <= WINDOWS_USER
            {
                return Ok(());
            }
            Err(format!(
                "{name:?} cannot be a user of Windows: use 1 to {WINDOWS_USER} characters, none of \" / \\ [ ] : ; | = , + * ? < > @, and no dot at the end"
            ))
        }
    }
}

fn same_user(name: Option<&String>, other: Option<&String>, family: OsFamily) -> bool {
    match (name, other, family) {
        (Some(name), Some(other), OsFamily::Linux) => name == other,
        (Some(name), Some(other), OsFamily::Windows) => name.to_lowercase() == other.to_lowercase(),
        _ => false,
    }
}

fn at(leaf: &'static str) -> Vec<At> {
    vec![At::Attribute("guest"), At::Attribute(leaf)]
}

fn at_user(name: &str) -> Vec<At> {
    let mut path = at("users");
    path.push(At::Key(name.to_owned()));
    path
}

#[cfg(test)]
mod tests;
