//! The family of a guest's operating system, read off the name of its image.
//!
//! The patterns are those of Aether-V, each a name that an image's file begins with; here spelling and case are free,
//! since files are called `Rocky_Linux-9.qcow2` as well as `Rocky Linux 9.vhdx`.

use serde::{Deserialize, Serialize};

/// Begins of names of Windows images.
const WINDOWS: [&str; 2] = ["windows", "microsoft windows"];
/// Begins of names of Linux images.
const LINUX: [&str; 11] = [
    "ubuntu",
    "rhel",
    "centos",
    "rocky linux",
    "almalinux",
    "oracle linux",
    "debian",
    "suse",
    "opensuse",
    "fedora",
    // Beside Aether-V's: images of Rocky's own makers are called Rocky-9-GenericCloud and the like.
    "rocky",
];

/// A family of operating systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OsFamily {
    /// Configured by cloud-init.
    Linux,
    /// Configured by cloudbase-init.
    Windows,
}

impl OsFamily {
    /// The family of an image, by the begin of its file's name; nothing where the name tells none.
    pub fn of_image(source: &str) -> Option<Self> {
        let path = source.split(['?', '#']).next().unwrap_or(source);
        let file = path.rsplit(['/', '\\', ':']).next().unwrap_or(path);
        let name = file
            .replace("%20", " ")
            .replace(['-', '_', '.', '+'], " ")
            .to_ascii_lowercase();
        let begins = |names: &[&str]| names.iter().any(|with| name.starts_with(with));
        match () {
            () if begins(&WINDOWS) => Some(Self::Windows),
            () if begins(&LINUX) => Some(Self::Linux),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Aether-V's table has them, with what a `*` may stand for.
    const PATTERNS: [(&str, OsFamily); 12] = [
        ("Windows Server 2022.vhdx", OsFamily::Windows),
        ("Microsoft Windows 11.vhdx", OsFamily::Windows),
        ("Ubuntu 24.04.vhdx", OsFamily::Linux),
        ("RHEL 9.vhdx", OsFamily::Linux),
        ("CentOS Stream 9.vhdx", OsFamily::Linux),
        ("Rocky Linux 9.vhdx", OsFamily::Linux),
        ("AlmaLinux 9.vhdx", OsFamily::Linux),
        ("Oracle Linux 9.vhdx", OsFamily::Linux),
        ("Debian 12.vhdx", OsFamily::Linux),
        ("SUSE Linux Enterprise Server 15.vhdx", OsFamily::Linux),
        ("openSUSE Leap 15.6.vhdx", OsFamily::Linux),
        ("Fedora 42.vhdx", OsFamily::Linux),
    ];

    #[test]
    fn each_pattern_of_aether_v_tells_its_family_however_it_is_spelt_and_wherever_it_lies() {
        for (name, family) in PATTERNS {
            let spelt = [
                name.to_owned(),
                name.to_lowercase(),
                name.to_uppercase(),
                name.replace(' ', "-"),
                name.replace(' ', "_"),
                name.replace(' ', "%20"),
                name.trim_end_matches(".vhdx").to_owned(),
            ];
            for name in spelt {
                for at in ["host:D:\\images\\", "host:", "file:/images/", "https://x/a/", ""] {
                    let source = format!("{at}{name}");
                    assert_eq!(OsFamily::of_image(&source), Some(family), "{source}");
                }
            }
        }
    }

    #[test]
    fn a_name_counts_only_at_the_begin_of_the_file() {
        for (name, _) in PATTERNS {
            let source = format!("file:/{name}/my-{name}");
            assert_eq!(OsFamily::of_image(&source), None, "{source}");
        }
        for other in ["", "win11.vhdx", "arch.qcow2", "file:/", "lin-ubuntu.raw"] {
            assert_eq!(OsFamily::of_image(other), None, "{other}");
        }
    }
}
