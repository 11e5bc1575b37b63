//! What is derived of a machine's name where nothing is written, beside what another machine already has: one that was
//! renamed keeps what was derived of its former name, and the next machine of that name gets something else.

use std::collections::BTreeSet;

use labyard_driver::ids::{HostUuid, MacAddr, Namespace, NicKey, ObjectName};
use labyard_driver::mark::{Kind, Mark};
use labyard_driver::observed::Snapshot;

use crate::desired::{DesiredMachine, Wishes};
use crate::identity::{SERIAL_PREFIX, derived_mac, derived_serial};
use serde::{Deserialize, Serialize};

/// What machines of other names have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    macs: BTreeSet<MacAddr>,
    serials: BTreeSet<String>,
}

impl Taken {
    /// By the machines of a host but the one of this name.
    pub fn on(snapshot: &Snapshot, namespace: &Namespace, name: &ObjectName) -> Self {
        let mut taken = Self::default();
        for mark in others(snapshot, namespace, name) {
            taken.macs.extend(mark.nics.values().map(|nic| nic.mac));
            taken.serials.extend(Wishes::serial_in(mark).map(str::to_owned));
        }
        taken
    }

    /// The MAC of a NIC for which none is written.
    pub fn mac(&self, host: &HostUuid, namespace: &Namespace, name: &ObjectName, key: &NicKey) -> MacAddr {
        let derived = |name: ObjectName| derived_mac(host, namespace, &name, key);
        first_free(name, derived, |mac| !self.macs.contains(mac))
    }

    /// The serial number of a machine for which none is written.
    pub fn serial(&self, host: &HostUuid, namespace: &Namespace, name: &ObjectName) -> String {
        let derived = |name: ObjectName| derived_serial(host, namespace, &name);
        first_free(name, derived, |serial| !self.serials.contains(serial))
    }

    /// Which attribute of a new machine has a derived value that another machine has by now, and the value.
    pub fn clash(&self, desired: &DesiredMachine) -> Option<(String, String)> {
        let derived = desired
            .nics
            .iter()
            .filter(|(key, _)| !desired.wishes.macs.contains_key(key.as_str()));
        let mac = derived
            .map(|(key, nic)| (key, nic.mac))
            .find(|(_, mac)| self.macs.contains(mac));
        if let Some((key, mac)) = mac {
            return Some((format!("nics[{:?}].mac", key.as_str()), mac.to_string()));
        }
        let serial = desired
            .serial
            .clone()
            .filter(|serial| serial.starts_with(SERIAL_PREFIX));
        let serial = serial.filter(|serial| self.serials.contains(serial))?;
        Some(("serial".to_owned(), serial))
    }
}

fn others<'a>(
    snapshot: &'a Snapshot,
    namespace: &Namespace,
    name: &ObjectName,
) -> impl Iterator<Item = &'a Mark> {
    let marks = snapshot.machines.iter().filter_map(|machine| machine.mark.ours());
    marks.filter(move |mark| mark.kind == Kind::Machine && (&mark.namespace, &mark.name) != (namespace, name))
}

/// Derived of the name, else of the name with a number that no name can have.
fn first_free<T>(name: &ObjectName, derived: impl Fn(ObjectName) -> T, free: impl Fn(&T) -> bool) -> T {
    let plain = derived(name.clone());
    if free(&plain) {
        return plain;
    }
    let numbered = (1..=u32::from(u8::MAX)).map(|n| derived(ObjectName(format!("{name}/{n}"))));
    numbered.into_iter().find(|value| free(value)).unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_machine_has_is_not_derived_again_and_stays_the_same_each_time() {
        let (host, namespace, name, key) = ("h".into(), "default".into(), "web".into(), "lan".into());
        let free = Taken::default();
        let (mac, serial) = (
            free.mac(&host, &namespace, &name, &key),
            free.serial(&host, &namespace, &name),
        );
        assert_eq!(mac, derived_mac(&host, &namespace, &name, &key));
        let taken = Taken {
            macs: [mac].into(),
            serials: [serial.clone()].into(),
        };
        let other = taken.mac(&host, &namespace, &name, &key);
        assert_ne!(other, mac);
        assert_eq!(other, taken.mac(&host, &namespace, &name, &key));
        assert_ne!(taken.serial(&host, &namespace, &name), serial);
    }

    #[test]
    fn the_serial_number_of_a_mark_is_read_alone_as_it_was_written() {
        let token = labyard_driver::ids::Token("00112233445566778899aabbccddeeff".to_owned());
        let mut mark = Mark::building(Kind::Machine, "default".into(), "web".into(), token);
        assert_eq!(Wishes::serial_in(&mark), None);
        for serial in [None, Some("LAB 7".to_owned())] {
            let wishes = Wishes {
                serial: serial.clone(),
                ..Wishes::default()
            };
            mark.wishes = wishes.to_json();
            assert_eq!(Wishes::serial_in(&mark), serial.as_deref());
            assert_eq!(Wishes::from_mark(&mark), wishes);
        }
    }
}
