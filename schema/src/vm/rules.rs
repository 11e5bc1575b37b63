//! Rules between the attributes of a machine.

use std::net::Ipv4Addr;

use super::{CloudInit, Disk, Vm};
use crate::check;
use crate::problem::{At, Problem};

impl Vm {
    /// Rules between attributes; single values are checked by their table.
    pub fn problems(&self) -> Vec<Problem> {
        let disks = self
            .disks
            .iter()
            .flatten()
            .flat_map(|(key, disk)| disk.problems(key));
        let nics = self
            .nics
            .iter()
            .flatten()
            .filter_map(|(key, _)| bad_key("nics", key));
        let mut problems: Vec<_> = disks.chain(nics).collect();
        problems.extend(
            self.media
                .iter()
                .flatten()
                .filter_map(|(key, _)| bad_key("media", key)),
        );
        problems.extend(check::bad_labels(self.labels.as_ref()));
        problems.extend(self.duplicate_mac());
        problems.extend(self.bad_addresses());
        problems.extend(self.cloud_init.as_ref().and_then(CloudInit::problem));
        problems.extend(self.guest.iter().flat_map(|guest| guest.problems(self)));
        problems.extend(self.ready_without_nic());
        problems.extend(self.boot_problems());
        problems.extend(self.no_room());
        problems
    }

    fn duplicate_mac(&self) -> Option<Problem> {
        let mut seen = std::collections::BTreeMap::new();
        self.nics.iter().flatten().find_map(|(key, nic)| {
            let other = seen.insert(nic.mac.as_ref()?, key)?;
            let detail = format!("NICs {other:?} and {key:?} have the same MAC: every card needs its own.");
            Some(Problem::new(nic_at(key, "mac"), "MAC used twice", detail))
        })
    }

    fn bad_addresses(&self) -> Vec<Problem> {
        let mut seen = std::collections::BTreeMap::new();
        let mut problems = Vec::new();
        for (key, nic) in self.nics.iter().flatten() {
            let Some(ipv4) = &nic.ipv4 else { continue };
            let Ok(address) = ipv4.address.parse::<ipnet::Ipv4Net>() else {
                continue;
            };
            let mut refuse = |leaf, summary, detail| {
                let mut at = nic_at(key, "ipv4");
                at.push(At::Attribute(leaf));
                problems.push(Problem::new(at, summary, detail));
            };
            if let Some(other) = seen.insert((&nic.network, address.addr()), key) {
                let detail = format!(
                    "NICs {other:?} and {key:?} have the same address on {:?}.",
                    nic.network
                );
                refuse("address", "Address used twice", detail);
            }
            let gateway = ipv4
                .gateway
                .as_ref()
                .and_then(|text| text.parse::<Ipv4Addr>().ok());
            match gateway {
                Some(gateway) if gateway == address.addr() => {
                    let detail = format!("{gateway} is the machine's own address: a gateway is another one.");
                    refuse("gateway", "Gateway is the machine itself", detail);
                }
                Some(gateway) if !address.contains(&gateway) => {
                    let detail = format!(
                        "{gateway} is not in {}: the guest could not reach it.",
                        address.trunc()
                    );
                    refuse("gateway", "Gateway out of reach", detail);
                }
                _ => {}
            }
        }
        problems
    }

    /// Room that is smaller than what is in it.
    fn no_room(&self) -> Vec<Problem> {
        let too_small = |leaf, of: &str, most: u64, now: u64| {
            let detail =
                format!("{leaf} is {most}, less than {of} = {now}: give at least as much, or leave it out.");
            Problem::new(vec![At::Attribute(leaf)], "Maximum too small", detail)
        };
        let cpus = self.cpus_max.filter(|most| *most < self.cpus);
        let memory = self.memory_max_mib.filter(|most| *most < self.memory_mib);
        let cpus = cpus.map(|most| too_small("cpus_max", "cpus", most.into(), self.cpus.into()));
        let memory = memory.map(|most| too_small("memory_max_mib", "memory_mib", most, self.memory_mib));
        cpus.into_iter().chain(memory).collect()
    }

    fn ready_without_nic(&self) -> Option<Problem> {
        let wait = self.ready.as_ref()?.wait.as_str();
        let needs_nic = wait == "address" || wait.starts_with("tcp:");
        if !needs_nic || self.nics.iter().flatten().next().is_some() {
            return None;
        }
        let at = vec![At::Attribute("ready"), At::Attribute("wait")];
        let detail = format!(
            "{wait:?} can never come true without a NIC: add one to nics, or wait for agent or none."
        );
        Some(Problem::new(at, "Nothing to wait for", detail))
    }
}

impl Disk {
    fn problems(&self, key: &str) -> Vec<Problem> {
        let mut problems: Vec<_> = bad_key("disks", key).into_iter().collect();
        let at = |leaf| {
            vec![
                At::Attribute("disks"),
                At::Key(key.to_owned()),
                At::Attribute(leaf),
            ]
        };
        if self.image.is_none() && self.size_gib.is_none() {
            let detail = format!("Disk {key:?} is blank: give size_gib, or an image.");
            problems.push(Problem::new(at("size_gib"), "Disk without size", detail));
        }
        if self.image.is_none() && self.clone.is_some() {
            let detail = format!("Disk {key:?} has no image to clone: leave clone out, or give an image.");
            problems.push(Problem::new(at("clone"), "Clone of nothing", detail));
        }
        problems
    }
}

impl CloudInit {
    fn problem(&self) -> Option<Problem> {
        let at = |leaf| vec![At::Attribute("cloud_init"), At::Attribute(leaf)];
        if self.user_data.is_some() && self.user_data_wo.is_some() {
            let detail = "user_data and user_data_wo are both set: keep one.";
            return Some(Problem::new(at("user_data_wo"), "User data twice", detail));
        }
        if self.user_data_wo.is_some() && self.user_data_wo_version.is_none() {
            let detail = "Terraform does not store user_data_wo, so only user_data_wo_version tells when it changed: set it to 1, and raise it with every change.";
            return Some(Problem::new(
                at("user_data_wo_version"),
                "Missing version",
                detail,
            ));
        }
        None
    }
}

fn bad_key(map: &'static str, key: &str) -> Option<Problem> {
    let detail = check::device_key(key).err()?;
    Some(Problem::new(
        vec![At::Attribute(map), At::Key(key.to_owned())],
        "Bad key",
        detail,
    ))
}

fn nic_at(key: &str, leaf: &'static str) -> Vec<At> {
    vec![
        At::Attribute("nics"),
        At::Key(key.to_owned()),
        At::Attribute(leaf),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::{Described, Presence, Shape};
    use crate::text::Secret;
    use crate::vm::{Nic, Ready};

    fn paths(vm: &Vm) -> Vec<String> {
        vm.problems()
            .iter()
            .map(|p| p.to_string().split(": ").next().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn a_blank_disk_needs_a_size_and_clones_nothing() {
        let disk = Disk {
            clone: Some("linked".into()),
            ..Disk::default()
        };
        let vm = Vm {
            disks: Some([("data".to_owned(), disk)].into()),
            ..Vm::default()
        };
        assert_eq!(paths(&vm), ["disks[\"data\"].size_gib", "disks[\"data\"].clone"]);
    }

    #[test]
    fn two_cards_cannot_share_a_mac() {
        let nic = Nic {
            network: "lab".into(),
            mac: Some("52:54:00:00:00:01".into()),
            ..Nic::default()
        };
        let vm = Vm {
            nics: Some([("a".to_owned(), nic.clone()), ("b".to_owned(), nic)].into()),
            ..Vm::default()
        };
        assert_eq!(paths(&vm), ["nics[\"b\"].mac"]);
    }

    #[test]
    fn an_address_is_one_cards_and_its_gateway_within_reach() {
        let nic = |address: &str, gateway: Option<&str>| Nic {
            network: "lab".into(),
            ipv4: Some(crate::vm::NicIpv4 {
                address: address.into(),
                gateway: gateway.map(Into::into),
            }),
            ..Nic::default()
        };
        let vm = |a: Nic, b: Nic| Vm {
            nics: Some([("a".to_owned(), a), ("b".to_owned(), b)].into()),
            ..Vm::default()
        };
        let (one, two) = (
            nic("10.77.0.10/24", Some("10.77.0.1")),
            nic("10.77.0.11/24", None),
        );
        assert_eq!(paths(&vm(one.clone(), two)), [""; 0]);
        assert_eq!(paths(&vm(one.clone(), one.clone())), ["nics[\"b\"].ipv4.address"]);
        for gateway in ["10.78.0.1", "10.77.0.12"] {
            let bad = nic("10.77.0.12/24", Some(gateway));
            assert_eq!(paths(&vm(one.clone(), bad)), ["nics[\"b\"].ipv4.gateway"]);
        }
    }

    #[test]
    fn room_is_at_least_what_is_in_it() {
        let vm = Vm {
            cpus: 2,
            cpus_max: Some(1),
            memory_mib: 512,
            memory_max_mib: Some(256),
            ..Vm::default()
        };
        assert_eq!(paths(&vm), ["cpus_max", "memory_max_mib"]);
        let enough = Vm {
            cpus_max: Some(2),
            memory_max_mib: Some(512),
            ..vm
        };
        assert_eq!(paths(&enough), [""; 0]);
    }

    #[test]
    fn secret_user_data_needs_a_version_and_excludes_the_plain() {
        let secret = CloudInit {
            user_data_wo: Some(Secret::new("x")),
            ..CloudInit::default()
        };
        let both = CloudInit {
            user_data: Some("y".into()),
            ..secret.clone()
        };
        for (cloud_init, at) in [
            (secret, "cloud_init.user_data_wo_version"),
            (both, "cloud_init.user_data_wo"),
        ] {
            assert_eq!(
                paths(&Vm {
                    cloud_init: Some(cloud_init),
                    ..Vm::default()
                }),
                [at]
            );
        }
    }

    #[test]
    fn an_address_is_not_waited_for_without_a_nic() {
        let vm = Vm {
            ready: Some(Ready {
                wait: "tcp:22".into(),
                timeout: None,
            }),
            ..Vm::default()
        };
        assert_eq!(paths(&vm), ["ready.wait"]);
    }

    /// A leaf with a default inside a map is planned for each element; an object that is both optional and
    /// computed would be planned from the prior state (a perpetual source of wrong plans).
    #[test]
    fn no_object_is_optional_and_computed() {
        fn walk(attributes: &[crate::Attribute]) {
            for attribute in attributes {
                let inner = match &attribute.shape {
                    Shape::Object(inner) => Some(inner),
                    Shape::Map(element) | Shape::List(element) => match element.as_ref() {
                        Shape::Object(inner) => Some(inner),
                        _ => None,
                    },
                    _ => None,
                };
                if let Some(inner) = inner {
                    let both = matches!(
                        attribute.presence,
                        Presence::OptionalComputed | Presence::Default(_)
                    );
                    assert!(!both, "{}", attribute.name);
                    walk(inner);
                }
            }
        }
        walk(&Vm::attributes());
        walk(&crate::network::Network::attributes());
    }
}
