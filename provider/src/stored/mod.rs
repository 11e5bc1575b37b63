//! States that releases have stored, kept here as they wrote them: today's provider reads each and wants nothing of the
//! object because of it.

use labyard_reconciler::desired::{DesiredMachine, DesiredNetwork};
use labyard_reconciler::diff;
use labyard_reconciler::identity::Identity;
use labyard_schema::network::Network;
use labyard_schema::vm::Vm;
use serde::de::DeserializeOwned;
use tfplugin::Diagnostics;
use tfplugin::codec::json::decode_stored;
use tfplugin::schema::Schema;

use crate::{shape, values};

const MACHINE: &str = include_str!("vm-0.1.0.json");
const NETWORK: &str = include_str!("network-0.1.0.json");

fn read<T: DeserializeOwned>(text: &str, schema: &Schema) -> T {
    let value = decode_stored(text.as_bytes(), &schema.implied_type()).unwrap();
    let mut diags = Diagnostics::default();
    let read = values::known(&value, &mut diags);
    assert!(!diags.has_errors(), "{diags:?}");
    read.unwrap()
}

fn identity() -> Identity {
    Identity {
        host: None,
        token: "t".into(),
        origin: "t".into(),
        id: "2c4a7d1e-0000-4000-8000-000000000001".into(),
    }
}

/// What its configuration says today, with the defaults of what came later.
fn today(mut vm: Vm) -> Vm {
    vm.graphics = "none".into();
    vm.machine_type = Some("q35".into());
    vm.disks
        .iter_mut()
        .flatten()
        .for_each(|(_, disk)| disk.bus = "virtio".into());
    vm.nics
        .iter_mut()
        .flatten()
        .for_each(|(_, nic)| nic.model = "virtio".into());
    vm
}

#[test]
fn a_machine_that_0_1_0_stored_is_read_and_left_as_it_is() {
    let stored: Vm = read(MACHINE, &shape::schema::<Vm>(0));
    assert_eq!(
        (stored.name.as_str(), stored.cpus, stored.memory_mib),
        ("web", 2, 1024)
    );
    assert_eq!(stored.disks.as_ref().unwrap()["root"].size_gib, Some(10));
    assert_eq!(stored.macs.as_ref().unwrap()["lan"], "52:11:22:33:44:55");
    let wanted = today(stored.clone());
    let macs = stored.macs.clone().unwrap();
    let digests = stored.image_digests.clone().unwrap();
    let desired = DesiredMachine::from_config(&"default".into(), &wanted, &macs, &digests).unwrap();
    let current = crate::vm::as_view(&stored, Some(&identity()));
    let changes = diff::machine::diff(&desired, &current);
    assert!(changes.is_empty(), "{changes:?}");
}

#[test]
fn a_network_that_0_1_0_stored_is_read_and_left_as_it_is() {
    let stored: Network = read(NETWORK, &shape::schema::<Network>(0));
    assert_eq!((stored.name.as_str(), stored.mode.as_str()), ("lab", "nat"));
    let desired = DesiredNetwork::from_config(&"default".into(), &stored).unwrap();
    let current = crate::network::as_view(&stored, Some(&identity()));
    let changes = diff::network::diff(&desired, &current);
    assert!(changes.is_empty(), "{changes:?}");
}
