//! From any observed and any desired machine, with faults, delays, lost replies, duplicates and crashes at any step: passes
//! converge, one more does nothing, and nothing is left after a destroy.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use labyard_driver::ids::Bytes;
use labyard_driver_sim::{Edge, Failure, Fault, FaultKind, Latency, Settings, SimHost, Trigger};
use labyard_reconciler::desired::DesiredMachine;
use labyard_reconciler::diff::machine::diff;
use labyard_reconciler::identity::Identity;
use labyard_schema::vm;
use proptest::prelude::*;
use tokio::time::timeout;

use crate::cases::check;
use crate::converge::{Hand, Kit, act, hand, kit, view};
use crate::rig::{Rig, Table, config, inventory, wish};

/// Long enough for everything that a pass waits for.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);
/// A pass after the faults are over heals; what it meets may take another one.
const PASSES: usize = 3;

/// What goes wrong, and when.
pub fn trouble() -> impl Strategy<Value = Fault> {
    let edge = || prop_oneof![Just(Edge::Before), Just(Edge::After)];
    let failure = prop_oneof![
        Just(Failure::Refused),
        Just(Failure::Busy),
        Just(Failure::NoSpace),
        Just(Failure::Unreachable),
    ];
    let kind = prop_oneof![
        edge().prop_map(FaultKind::CrashCaller),
        edge().prop_map(FaultKind::Hang),
        edge().prop_map(FaultKind::RestartDaemon),
        (edge(), failure).prop_map(|(edge, failure)| FaultKind::Fail(edge, failure)),
        Just(FaultKind::LoseRequest),
        Just(FaultKind::LoseReply),
        Just(FaultKind::Duplicate),
        (1..600_u64).prop_map(|seconds| FaultKind::Delay(Duration::from_secs(seconds))),
        (0..4096_u64).prop_map(|bytes| FaultKind::CutUpload(Bytes(bytes))),
    ];
    let at = prop_oneof![
        (1..40_u64).prop_map(Trigger::Mutation),
        (1..80_u64).prop_map(Trigger::Call)
    ];
    (at, kind).prop_map(|(at, kind)| Fault { at, kind })
}

pub fn troubles() -> impl Strategy<Value = Vec<Fault>> {
    prop::collection::vec(trouble(), 0..3)
}

/// A host whose calls take their time.
pub fn host(slow: bool) -> SimHost {
    let most = Duration::from_millis(if slow { 400 } else { 0 });
    SimHost::new(Settings {
        latency: Latency {
            least: most / 10,
            most,
        },
        ..Settings::default()
    })
}

/// What a machine has by the newer attributes.
#[derive(Clone, Debug)]
pub struct Wide {
    cpus_max: Option<u32>,
    memory_max: Option<u64>,
    bus: &'static str,
    model: &'static str,
    more_nics: bool,
    fixed: bool,
    order: bool,
    secure_boot: bool,
    tpm: bool,
    ca: Option<bool>,
    hostname: Option<&'static str>,
    serial: Option<&'static str>,
    labels: BTreeMap<String, String>,
    kernel: Option<&'static str>,
}

fn wide() -> impl Strategy<Value = Wide> {
    let room = (prop::option::of(4..6_u32), prop::option::of(512..1024_u64));
    let devices = (
        prop_oneof![Just("virtio"), Just("scsi"), Just("sata")],
        prop_oneof![Just("virtio"), Just("e1000e"), Just("e1000")],
        any::<[bool; 3]>(),
    );
    let firmware = (any::<[bool; 2]>(), prop::option::of(any::<bool>()));
    let hostname = prop::option::of(prop_oneof![Just("ann"), Just("bob")]);
    let serial = prop::option::of(prop_oneof![Just("LAB 1"), Just("LAB 2")]);
    let labels = prop::collection::btree_map("[a-c]", "[x-z]", 0..3);
    let kernel = prop::option::of(prop_oneof![Just("one"), Just("two")]);
    (room, devices, firmware, hostname, serial, labels, kernel).prop_map(
        |(room, devices, firmware, hostname, serial, labels, kernel)| Wide {
            cpus_max: room.0,
            memory_max: room.1,
            bus: devices.0,
            model: devices.1,
            more_nics: devices.2[0],
            fixed: devices.2[1],
            order: devices.2[2],
            secure_boot: firmware.0[0],
            tpm: firmware.0[1],
            ca: firmware.1,
            hostname,
            serial,
            labels,
            kernel,
        },
    )
}

fn authority(second: bool) -> String {
    static MADE: OnceLock<[String; 2]> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        ["one", "two"].map(|name| {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec![format!("{name}.test")]).unwrap();
            params.self_signed(&key).unwrap().pem()
        })
    });
    made[usize::from(second)].clone()
}

impl Wide {
    /// Writes it into a configuration; firmware is what it is for ever.
    pub fn into(self, vm: &mut vm::Vm, uefi: bool) {
        vm.cpus_max = self.cpus_max;
        vm.memory_max_mib = self.memory_max;
        vm.serial = self.serial.map(str::to_owned);
        vm.labels = (!self.labels.is_empty()).then_some(self.labels);
        vm.guest = self.hostname.map(|name| vm::Guest {
            os_family: Some("linux".into()),
            hostname: Some(name.into()),
            ..vm::Guest::default()
        });
        for (place, disk) in (2..).zip(vm.disks.iter_mut().flatten().map(|(_, disk)| disk)) {
            disk.bus = self.bus.into();
            disk.boot = self.order.then_some(place);
        }
        let card = |address: Option<&str>, boot: Option<u32>| vm::Nic {
            network: "lab".into(),
            model: self.model.into(),
            boot,
            ipv4: address.map(|address| vm::NicIpv4 {
                address: address.into(),
                gateway: None,
            }),
            ..vm::Nic::default()
        };
        if let Some(nics) = &mut vm.nics {
            let fixed = self.fixed.then_some("10.77.0.20/24");
            nics.insert("lan".into(), card(fixed, self.order.then_some(1)));
            if self.more_nics {
                nics.insert("wan".into(), card(None, None));
            }
        }
        vm.firmware = uefi.then(|| vm::Firmware {
            r#type: "uefi".into(),
            secure_boot: self.secure_boot,
            tpm: self.tpm,
        });
        let ca_certificate = self.ca.filter(|_| uefi).map(authority);
        let kernel = self.kernel.map(|name| format!("/boot/{name}"));
        vm.boot = (kernel.is_some() || ca_certificate.is_some()).then(|| vm::Boot {
            cmdline: kernel.as_ref().map(|_| "quiet".into()),
            kernel,
            ca_certificate,
            ..vm::Boot::default()
        });
    }
}

pub fn machine() -> impl Strategy<Value = (vm::Vm, Wide)> {
    let sizes = (1..4_u32, 64..512_u64, any::<[bool; 3]>());
    (sizes, "[a-c]{0,2}", kit(), wide()).prop_map(|((cpus, memory, [data, nic, runs]), seed, kit, wide)| {
        let media = kit.media();
        let Kit {
            name,
            graphics,
            autostart,
            model,
            ..
        } = kit;
        let mut vm = vm::Vm {
            cpus,
            memory_mib: memory,
            name: name.to_owned(),
            graphics: graphics.to_owned(),
            autostart,
            cpu: model.map(|model| vm::Cpu {
                model: Some(model.to_owned()),
                nested: None,
            }),
            media,
            power: if runs { "running" } else { "stopped" }.into(),
            ..config("web")
        };
        if !data {
            vm.disks.as_mut().unwrap().remove("data");
        }
        if !nic {
            vm.nics = None;
        }
        vm.cloud_init = (!seed.is_empty()).then(|| vm::CloudInit {
            user_data: Some(format!("#{seed}")),
            ..vm::CloudInit::default()
        });
        (vm, wide)
    })
}

/// What it becomes, what hands do to it then, and what goes wrong.
type Step = ((vm::Vm, Wide), Vec<Hand>, Vec<Fault>);

/// A life: what is made first, what it becomes, what hands do to it and what goes wrong meanwhile.
#[derive(Clone, Debug)]
struct Life {
    uefi: bool,
    slow: bool,
    first: (vm::Vm, Wide),
    made_through: Vec<Fault>,
    steps: Vec<Step>,
    ended_through: Vec<Fault>,
}

fn life() -> impl Strategy<Value = Life> {
    let step = (machine(), prop::collection::vec(hand(), 0..3), troubles());
    let steps = prop::collection::vec(step, 1..4);
    (any::<[bool; 2]>(), machine(), troubles(), steps, troubles()).prop_map(
        |([uefi, slow], first, made_through, steps, ended_through)| Life {
            uefi,
            slow,
            first,
            made_through,
            steps,
            ended_through,
        },
    )
}

/// A host and who works on it.
pub struct World {
    pub sim: SimHost,
    pub table: Table,
}

impl World {
    fn order(&self, faults: &[Fault]) {
        for fault in faults {
            self.sim.order(fault.clone());
        }
    }

    /// The process is gone and the faults are over.
    fn quiet(&self, rig: Rig) -> Rig {
        self.sim.clear_faults();
        rig.kill();
        Rig::start(&self.sim, &self.table)
    }

    /// What Terraform does: a machine that it was told of and that is not whole is destroyed before it is made anew.
    async fn create(&self, wanted: &DesiredMachine, faults: &[Fault]) -> Identity {
        self.order(faults);
        let mut rig = Rig::start(&self.sim, &self.table);
        let mut told = timeout(PATIENCE, rig.create(wanted)).await;
        for pass in 1.. {
            let tainted = match told {
                Ok((Ok(_), Some(identity))) => {
                    self.sim.clear_faults();
                    rig.end().await;
                    return identity;
                }
                Ok((Err(error), identity)) => {
                    assert!(pass < PASSES, "not made: {error}");
                    identity
                }
                other => {
                    assert!(pass < PASSES, "not made: {other:?}");
                    None
                }
            };
            rig = self.quiet(rig);
            if let Some(identity) = tainted {
                rig.destroy(&identity, wanted).await.unwrap();
            }
            told = timeout(PATIENCE, rig.create(wanted)).await;
        }
        unreachable!("passes are bounded");
    }

    async fn update(
        &self,
        identity: &Identity,
        last: &DesiredMachine,
        wanted: &DesiredMachine,
        faults: &[Fault],
    ) {
        self.order(faults);
        let mut rig = Rig::start(&self.sim, &self.table);
        for pass in 1.. {
            match timeout(PATIENCE, rig.update(identity, last, wanted)).await {
                Ok(Ok(_)) => break,
                told => assert!(pass < PASSES, "not changed: {told:?}"),
            }
            rig = self.quiet(rig);
        }
        self.sim.clear_faults();
        rig.end().await;
    }

    /// It is as it shall be, and one more pass leaves the host as it is.
    pub async fn assert_settled(&self, identity: &Identity, wanted: &DesiredMachine) {
        let rig = Rig::start(&self.sim, &self.table);
        let now = view(&rig, wanted, identity).await.expect("it stands");
        assert_eq!(diff(wanted, &now), []);
        let before = self.shown();
        rig.update(identity, wanted, wanted).await.unwrap();
        assert_eq!(self.shown(), before, "one more pass changed something");
        rig.end().await;
    }

    /// What the host shows; without the marks, in which leases come and go, and without images, which an operation that
    /// was broken off leaves to the next one.
    fn shown(&self) -> String {
        let snapshot = self.sim.look();
        let machines = snapshot.machines.iter().map(|m| (&m.host_name, &m.detail));
        let networks = snapshot.networks.iter().map(|n| (&n.host_name, &n.reservations));
        let is_image = |name: &str| name.starts_with("labyard-image.");
        let volumes = snapshot.volumes.iter().filter(|v| !is_image(v.name.as_str()));
        format!(
            "{:#?}\n{:#?}\n{:#?}",
            machines.collect::<Vec<_>>(),
            networks.collect::<Vec<_>>(),
            volumes.collect::<Vec<_>>()
        )
    }
}

async fn live(life: Life) {
    let world = World {
        sim: host(life.slow),
        table: Table::default(),
    };
    let sim = &world.sim;
    let rig = Rig::start(sim, &world.table);
    rig.network().await.unwrap();
    rig.end().await;
    let empty = inventory(sim);
    let configured = |(mut vm, wide): (vm::Vm, Wide)| {
        wide.into(&mut vm, life.uefi);
        wish(&vm)
    };
    let mut last = configured(life.first);
    let identity = world.create(&last, &life.made_through).await;
    world.assert_settled(&identity, &last).await;
    for (config, hands, faults) in life.steps {
        let wanted = configured(config);
        for hand in &hands {
            let mac = last.nics.values().next().map(|nic| nic.mac);
            act(sim, &identity.id, hand, mac).await;
        }
        world.update(&identity, &last, &wanted, &faults).await;
        world.assert_settled(&identity, &wanted).await;
        last = wanted;
    }
    world.order(&life.ended_through);
    let mut rig = Rig::start(sim, &world.table);
    for pass in 1.. {
        match timeout(PATIENCE, rig.destroy(&identity, &last)).await {
            Ok(Ok(())) => break,
            told => assert!(pass < PASSES, "not destroyed: {told:?}"),
        }
        rig = world.quiet(rig);
    }
    sim.clear_faults();
    if !life.ended_through.is_empty() {
        // Images that could not be removed are removed by the next operation.
        rig.destroy(&identity, &last).await.unwrap();
    }
    rig.end().await;
    assert_eq!(inventory(sim), empty);
}

#[test]
fn any_machine_becomes_any_other_through_any_fault_and_leaves_nothing() {
    check("machines through faults", 120, &life(), live);
}
