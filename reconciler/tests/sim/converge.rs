//! From any state to any other: one update converges, a second changes nothing, a destroy leaves nothing.

use std::collections::BTreeMap;

use labyard_driver::ids::{Mib, ObjectId};
use labyard_driver_sim::{ForeignHand, Settings, SimHost};
use labyard_reconciler::desired::DesiredMachine;
use labyard_reconciler::diff::machine::diff;
use labyard_reconciler::engine::{Engine, Reading};
use labyard_reconciler::identity::Identity;
use labyard_reconciler::view::MachineView;
use labyard_schema::vm;
use proptest::prelude::*;

use crate::cases::check;
use crate::rig::{Rig, Table, config, inventory, raw, wish};

/// What a hand may do to a machine.
#[derive(Clone, Debug)]
pub enum Hand {
    Kill,
    Crash,
    Pause,
    Save,
    Hardware(u32, u64),
    DetachDisk(&'static str),
    DetachNic,
    Eject,
    Undefine,
}

pub fn hand() -> impl Strategy<Value = Hand> {
    prop_oneof![
        Just(Hand::Kill),
        Just(Hand::Crash),
        Just(Hand::Pause),
        Just(Hand::Save),
        (1..4_u32, 64..512_u64).prop_map(|(cpus, memory)| Hand::Hardware(cpus, memory)),
        prop_oneof![Just("vda"), Just("vdb")].prop_map(Hand::DetachDisk),
        Just(Hand::DetachNic),
        Just(Hand::Eject),
        Just(Hand::Undefine),
    ]
}

/// What a machine has besides disks and NICs.
#[derive(Clone, Debug)]
pub struct Kit {
    pub name: &'static str,
    pub graphics: &'static str,
    pub autostart: bool,
    pub model: Option<&'static str>,
    pub drives: Vec<(&'static str, Option<&'static str>)>,
}

impl Kit {
    pub fn media(&self) -> Option<BTreeMap<String, vm::Medium>> {
        let drives = self.drives.iter().map(|(key, image)| {
            let image = image.map(|name| vm::MediumImage {
                source: format!("file:{}", raw(name).display()),
                sha256: None,
            });
            ((*key).to_owned(), vm::Medium { image, boot: None })
        });
        (!self.drives.is_empty()).then(|| drives.collect())
    }
}

pub fn kit() -> impl Strategy<Value = Kit> {
    let name = prop_oneof![Just("web"), Just("shop")];
    let graphics = prop_oneof![Just("none"), Just("vnc")];
    let model = prop::option::of(prop_oneof![Just("qemu64"), Just("EPYC"), Just("maximum")]);
    let image = prop::option::of(prop_oneof![Just("one"), Just("two")]);
    let drives = prop::collection::vec((prop_oneof![Just("a"), Just("b")], image), 0..3);
    (name, graphics, any::<bool>(), model, drives).prop_map(|(name, graphics, autostart, model, drives)| {
        Kit {
            name,
            graphics,
            autostart,
            model,
            drives,
        }
    })
}

/// A configuration that can follow any other without a replacement.
fn wanted() -> impl Strategy<Value = vm::Vm> {
    (
        1..4_u32,
        64..512_u64,
        2..5_u64,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        "[a-c]{0,2}",
        kit(),
    )
        .prop_map(|(cpus, memory_mib, size, data, nic, runs, seed, kit)| {
            let mut vm = vm::Vm {
                cpus,
                memory_mib,
                name: kit.name.to_owned(),
                graphics: kit.graphics.to_owned(),
                autostart: kit.autostart,
                cpu: kit.model.map(|model| vm::Cpu {
                    model: Some(model.to_owned()),
                    nested: kit.autostart.then_some(true),
                }),
                labels: kit
                    .model
                    .map(|model| [("model".to_owned(), model.to_owned())].into()),
                media: kit.media(),
                ..config("web")
            };
            let disks = vm.disks.as_mut().unwrap();
            // Sizes only grow: the generator's later steps may not shrink.
            disks.get_mut("root").unwrap().size_gib = Some(size);
            if !data {
                disks.remove("data");
            }
            if !nic {
                vm.nics = None;
            }
            vm.power = if runs { "running" } else { "stopped" }.into();
            vm.cloud_init = (!seed.is_empty()).then(|| vm::CloudInit {
                user_data: Some(format!("#{seed}")),
                ..vm::CloudInit::default()
            });
            vm
        })
}

pub async fn view(rig: &Rig, wish: &DesiredMachine, identity: &Identity) -> Option<MachineView> {
    match rig
        .engine
        .read_machine(&rig.object(wish, Some(identity)))
        .await
        .unwrap()
    {
        Reading::Present(view) => Some(*view),
        Reading::DisksOnly | Reading::Gone => None,
    }
}

pub async fn act(sim: &SimHost, id: &ObjectId, hand: &Hand, mac: Option<labyard_driver::ids::MacAddr>) {
    let id = id.clone();
    let done = match hand {
        Hand::Kill => sim.by_other_hand(&ForeignHand::Kill(id)),
        Hand::Crash => sim.by_other_hand(&ForeignHand::Crash(id)),
        Hand::Pause => sim.by_other_hand(&ForeignHand::Pause(id)),
        Hand::Save => sim.by_other_hand(&ForeignHand::Save(id)),
        Hand::Hardware(cpus, memory) => sim.by_other_hand(&ForeignHand::SetHardware {
            id,
            cpus: *cpus,
            memory: Mib(*memory),
        }),
        Hand::DetachDisk(target) => sim.by_other_hand(&ForeignHand::DetachDisk {
            id,
            target: (*target).to_owned(),
        }),
        Hand::DetachNic => match mac {
            Some(mac) => sim.by_other_hand(&ForeignHand::DetachNic { id, mac }),
            None => Ok(()),
        },
        Hand::Eject => sim.by_other_hand(&ForeignHand::Eject(id)),
        Hand::Undefine => sim.by_other_hand(&ForeignHand::Undefine(id)),
    };
    // A hand that finds nothing to do (a stopped machine cannot crash) does nothing.
    drop(done);
}

async fn run(steps: Vec<(vm::Vm, Vec<Hand>)>) {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let rig = Rig::start(&sim, &table);
    rig.network().await.unwrap();
    let empty = inventory(&sim);
    let first = wish(&config("web"));
    let (made, identity) = rig.create(&first).await;
    made.unwrap();
    let identity = identity.unwrap();
    rig.end().await;
    let mut largest = 1;
    let mut last = first;
    for (mut config, hands) in steps {
        let root = config.disks.as_mut().unwrap().get_mut("root").unwrap();
        largest = largest.max(root.size_gib.unwrap());
        root.size_gib = Some(largest);
        let rig = Rig::start(&sim, &table);
        for hand in &hands {
            let mac = last.nics.values().next().map(|nic| nic.mac);
            act(&sim, &identity.id, hand, mac).await;
        }
        let wanted = wish(&config);
        rig.update(&identity, &last, &wanted)
            .await
            .unwrap_or_else(|e| panic!("{hands:?}: {e}"));
        let now = view(&rig, &wanted, &identity).await.expect("it stands");
        assert_eq!(diff(&wanted, &now), [], "after {hands:?}");
        sim.clear_operations();
        rig.update(&identity, &wanted, &wanted).await.unwrap();
        let again = view(&rig, &wanted, &identity).await.expect("it stands");
        assert_eq!(diff(&wanted, &again), [], "a second update finds nothing to do");
        assert_eq!((&again.media, &again.name), (&now.media, &now.name));
        let same = (&again.disks, &again.nics, &again.seed, again.power, &again.id);
        assert_eq!(
            same,
            (&now.disks, &now.nics, &now.seed, now.power, &now.id),
            "and changes nothing"
        );
        last = wanted;
        rig.end().await;
    }
    let rig = Rig::start(&sim, &table);
    rig.destroy(&identity, &last).await.unwrap();
    assert_eq!(inventory(&sim), empty);
}

#[test]
fn any_machine_becomes_any_other_and_leaves_nothing() {
    let steps = prop::collection::vec((wanted(), prop::collection::vec(hand(), 0..3)), 1..5);
    check("machines without faults", 96, &steps, run);
}
