//! Rules of booting: who comes first, and what only UEFI can.

use std::collections::BTreeMap;

use super::Vm;
use crate::problem::{At, Problem};

impl Vm {
    pub(super) fn boot_problems(&self) -> Vec<Problem> {
        let mut problems = self.equal_boot_numbers();
        problems.extend(self.needs_uefi());
        problems.extend(self.boots_nothing());
        problems
    }

    /// The devices that have a boot number, each with its map and key.
    fn numbered(&self) -> impl Iterator<Item = (&'static str, &String, u32)> {
        let disks = self.disks.iter().flatten();
        let disks = disks.filter_map(|(key, disk)| Some(("disks", key, disk.boot?)));
        let nics = self.nics.iter().flatten();
        let nics = nics.filter_map(|(key, nic)| Some(("nics", key, nic.boot?)));
        let media = self.media.iter().flatten();
        let media = media.filter_map(|(key, drive)| Some(("media", key, drive.boot?)));
        disks.chain(nics).chain(media)
    }

    fn equal_boot_numbers(&self) -> Vec<Problem> {
        let mut taken: BTreeMap<u32, String> = BTreeMap::new();
        let mut problems = Vec::new();
        for (map, key, number) in self.numbered() {
            let name = format!("{map}[{key:?}]");
            if let Some(other) = taken.get(&number) {
                let at = vec![At::Attribute(map), At::Key(key.clone()), At::Attribute("boot")];
                let detail =
                    format!("{other} and {name} both have boot = {number}: give each its own number.");
                problems.push(Problem::new(at, "Boot number used twice", detail));
            } else {
                taken.insert(number, name);
            }
        }
        problems
    }

    fn needs_uefi(&self) -> Vec<Problem> {
        let firmware = self.firmware.as_ref();
        if firmware.is_some_and(|firmware| firmware.r#type == "uefi") {
            return Vec::new();
        }
        let needs = |at: [&'static str; 2], what: &str| {
            let detail = format!(
                "{what} needs UEFI: set firmware.type = \"uefi\", or leave {} out.",
                at[1]
            );
            Problem::new(at.map(At::Attribute).to_vec(), "UEFI needed", detail)
        };
        let mut problems = Vec::new();
        if firmware.is_some_and(|firmware| firmware.secure_boot) {
            problems.push(needs(["firmware", "secure_boot"], "Secure boot"));
        }
        if firmware.is_some_and(|firmware| firmware.tpm) {
            problems.push(needs(["firmware", "tpm"], "An emulated TPM"));
        }
        if self
            .boot
            .as_ref()
            .is_some_and(|boot| boot.ca_certificate.is_some())
        {
            problems.push(needs(["boot", "ca_certificate"], "Trust in a certificate"));
        }
        problems
    }

    fn boots_nothing(&self) -> Option<Problem> {
        let boot = self.boot.as_ref()?;
        let at = |leaf| vec![At::Attribute("boot"), At::Attribute(leaf)];
        if boot.kernel.is_some() {
            return None;
        }
        for (leaf, value) in [("initrd", &boot.initrd), ("cmdline", &boot.cmdline)] {
            if value.is_some() {
                let detail = format!("{leaf} belongs to a kernel: give boot.kernel, or leave {leaf} out.");
                return Some(Problem::new(at(leaf), "No kernel", detail));
            }
        }
        boot.ca_certificate.is_none().then(|| {
            let detail = "boot says nothing: give kernel or ca_certificate in it, or leave it out.";
            Problem::new(vec![At::Attribute("boot")], "Empty boot", detail)
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::vm::{Boot, Disk, Firmware, Medium, Nic, Vm};

    fn paths(vm: &Vm) -> Vec<String> {
        let path = |text: String| text.split(": ").next().unwrap().to_owned();
        vm.boot_problems().iter().map(|p| path(p.to_string())).collect()
    }

    #[test]
    fn two_devices_with_one_boot_number_are_refused_and_both_named() {
        let disk = Disk {
            boot: Some(1),
            ..Disk::default()
        };
        let nic = Nic {
            boot: Some(1),
            ..Nic::default()
        };
        let drive = Medium {
            boot: Some(1),
            ..Medium::default()
        };
        let vm = Vm {
            disks: Some([("root".to_owned(), disk)].into()),
            nics: Some([("lan".to_owned(), nic)].into()),
            media: Some([("setup".to_owned(), drive)].into()),
            ..Vm::default()
        };
        assert_eq!(paths(&vm), ["nics[\"lan\"].boot", "media[\"setup\"].boot"]);
        let text = vm.boot_problems()[0].to_string();
        assert!(text.contains("disks[\"root\"] and nics[\"lan\"]"), "{text}");
    }

    #[test]
    fn what_needs_uefi_is_refused_with_bios_at_its_own_path() {
        let firmware = |r#type: &str| {
            Some(Firmware {
                r#type: r#type.to_owned(),
                secure_boot: true,
                tpm: true,
            })
        };
        let boot = Some(Boot {
            ca_certificate: Some("pem".into()),
            ..Boot::default()
        });
        let bios = Vm {
            firmware: firmware("bios"),
            boot: boot.clone(),
            ..Vm::default()
        };
        assert_eq!(
            paths(&bios),
            ["firmware.secure_boot", "firmware.tpm", "boot.ca_certificate"]
        );
        let none = Vm {
            boot: boot.clone(),
            ..Vm::default()
        };
        assert_eq!(paths(&none), ["boot.ca_certificate"]);
        let uefi = Vm {
            firmware: firmware("uefi"),
            boot,
            ..Vm::default()
        };
        assert_eq!(paths(&uefi), [""; 0]);
    }

    #[test]
    fn a_command_line_without_a_kernel_and_an_empty_boot_are_refused() {
        let with = |boot| Vm {
            boot: Some(boot),
            ..Vm::default()
        };
        assert_eq!(paths(&with(Boot::default())), ["boot"]);
        let cmdline = Boot {
            cmdline: Some("quiet".into()),
            ..Boot::default()
        };
        assert_eq!(paths(&with(cmdline)), ["boot.cmdline"]);
    }
}
