//! Machines of a pool on a real host: kept at a moment and put back to it, with nothing of their use left (invariant 11);
//! killed in the middle, converged by the next call (13), and gone without a trace (14); kept apart from one another.

use labyard_acceptance_tests::assets::GuestFiles;
use labyard_acceptance_tests::inventory::Inventory;
use labyard_acceptance_tests::processes::{self, Signal};
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::wait::comes;
use labyard_acceptance_tests::{Guest, Host};
use labyard_driver::Driver;
use labyard_driver::guest::{GuestAnswer, GuestTask, Secret};
use labyard_driver::ids::{HostName, NicKey};
use labyard_driver::screen::Callers;
use labyard_driver_libvirt::{AcceleratorChoice, LibvirtConfig, LibvirtDriver};
use labyard_reconciler::desired::{DesiredMachine, DesiredNetwork};
use labyard_reconciler::diff::machine::diff;
use labyard_reconciler::engine::{
    Admission, Bounds, Departure, Deps, Earlier, Embedded, Engine, ObjectRef, Reading, Traffic,
};
use labyard_reconciler::identity::{Identity, derived_mac};
use labyard_schema::{network, vm};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SOON: Duration = Duration::from_secs(60);
/// What a process of its own is asked to do, and be killed at.
const DEED: &str = "LABYARD_TEST_DEED";
/// The test that is that process.
const PROCESS: &str = "a_process_that_may_be_killed_does_what_it_is_asked";

fn lab1() -> HostName {
    HostName::from("lab1")
}

fn driver(uri: &str) -> LibvirtDriver {
    LibvirtDriver::new(LibvirtConfig {
        uri: uri.to_owned(),
        storage_pool: None,
        accelerator: AcceleratorChoice::Qemu,
    })
    .unwrap()
}

fn engine(uri: &str) -> Embedded {
    let driver = || Arc::new(driver(uri)) as Arc<dyn Driver>;
    let host = labyard_reconciler::host::Host::new(lab1(), driver(), driver());
    Embedded::new([host], Deps::default())
}

fn bounds() -> Bounds {
    Bounds {
        cancel: Default::default(),
        limit: Duration::from_secs(300),
        reserve: Default::default(),
        fence: Default::default(),
    }
}

/// A machine of a state that knows no more than its name.
async fn object(engine: &Embedded, name: &str) -> ObjectRef {
    let (view, _) = engine
        .find_machine(&lab1(), &"default".into(), name)
        .await
        .unwrap();
    let identity = view.identity().unwrap().clone();
    ObjectRef {
        host: lab1(),
        namespace: "default".into(),
        name: name.into(),
        id: Some(identity.id.clone()),
        identity: Some(identity),
        pools: Default::default(),
    }
}

/// A host with a network, and an engine for it.
struct Lab {
    host: Host,
    engine: Embedded,
    /// Lets the test in as root.
    root: KeyPair,
    /// A claim's own.
    claim: KeyPair,
    network: (DesiredNetwork, Identity),
    /// What stood on the host at first.
    empty: Inventory,
}

impl Lab {
    async fn new() -> Self {
        let host = Host::start().unwrap();
        let empty = host.inventory().unwrap();
        let engine = engine(&host.uri());
        let config = network::Network {
            name: "lab".into(),
            mode: "nat".into(),
            ipv4: Some(network::Ipv4 {
                cidr: "10.91.0.0/24".into(),
                dhcp: Some(network::DhcpRange {
                    start: "10.91.0.100".into(),
                    end: "10.91.0.200".into(),
                    options: None,
                }),
            }),
            ..network::Network::default()
        };
        let network = DesiredNetwork::from_config(&"default".into(), &config).unwrap();
        let made = engine.create_network(&lab1(), &network, bounds()).await.unwrap();
        let identity = made.identity().unwrap().clone();
        Self {
            network: (network, identity),
            empty,
            host,
            engine,
            root: KeyPair::generate().unwrap(),
            claim: KeyPair::generate().unwrap(),
        }
    }

    fn wish(&self, name: &str, firmware: Option<vm::Firmware>) -> DesiredMachine {
        let path = |path: std::path::PathBuf| Some(path.display().to_string());
        let files = GuestFiles::get();
        let config = vm::Vm {
            name: name.into(),
            cpus: 1,
            memory_mib: if firmware.is_some() { 256 } else { 128 },
            firmware,
            disks: Some(
                [(
                    "data".to_owned(),
                    vm::Disk {
                        size_gib: Some(1),
                        on_remove: Some("delete".into()),
                        ..vm::Disk::default()
                    },
                )]
                .into(),
            ),
            nics: Some(
                [(
                    "lan".to_owned(),
                    vm::Nic {
                        network: "lab".into(),
                        ..vm::Nic::default()
                    },
                )]
                .into(),
            ),
            boot: Some(vm::Boot {
                kernel: path(files.kernel()),
                initrd: path(files.initrd()),
                cmdline: Some("console=ttyS0 quiet no_timer_check".into()),
                ..vm::Boot::default()
            }),
            cloud_init: Some(vm::CloudInit {
                user_data: Some(format!(
                    "#cloud-config\nssh_authorized_keys:\n  - {}\n",
                    self.root.public
                )),
                ..vm::CloudInit::default()
            }),
            ready: Some(vm::Ready {
                wait: "agent".into(),
                ..vm::Ready::default()
            }),
            shutdown: Some(vm::Shutdown {
                mode: "force".into(),
                ..vm::Shutdown::default()
            }),
            power: "running".into(),
            allow_restart: true,
            ..vm::Vm::default()
        };
        let lan = NicKey::from("lan");
        let mac = derived_mac(&"host".into(), &"default".into(), &name.into(), &lan);
        let macs = BTreeMap::from([("lan".to_owned(), mac.to_string())]);
        let wish = DesiredMachine::from_config(&"default".into(), &config, &macs, &BTreeMap::new());
        wish.unwrap().apart()
    }

    /// Makes a machine; who it is, and its guest, entered as root.
    async fn make(&self, wish: &DesiredMachine) -> (ObjectRef, Guest<'_>) {
        let made = self.engine.create_machine(&lab1(), wish, bounds(), &|_| {}).await;
        let address = made.unwrap().first_reserved().unwrap();
        let guest = Guest::at(&self.host, address.to_string(), &self.root);
        guest.wait_for_ssh(SOON).unwrap();
        let object = object(&self.engine, wish.name.as_str()).await;
        // Nobody builds it any more, so that another process may work on it.
        self.engine.confirm_machine(&object).await.unwrap();
        (object, guest)
    }

    fn learner(&self, address: &str) -> Guest<'_> {
        Guest::at(&self.host, address, &self.claim).as_user("learner")
    }

    fn admission(&self) -> Admission {
        Admission {
            user: "learner".to_owned(),
            key: Some(self.claim.public.clone()),
            password: Some(Secret::new("correct horse")),
            earlier: Earlier::TakenOut,
            callers: Callers::Anybody,
        }
    }

    /// Whoever reads the machine sees what was asked for, and nothing to do.
    async fn assert_as_asked(&self, object: &ObjectRef, wish: &DesiredMachine) {
        let Reading::Present(view) = self.engine.read_machine(object).await.unwrap() else {
            panic!("{} is gone", object.name);
        };
        let changes = diff(wish, &view);
        assert!(changes.is_empty(), "{changes:?}");
    }

    /// The machine goes, and the network: the host is as it was.
    async fn destroy(&self, machine: &ObjectRef, wish: &DesiredMachine) {
        self.engine
            .destroy_machine(machine, wish, bounds())
            .await
            .unwrap();
        let (network, identity) = &self.network;
        let network = ObjectRef {
            name: network.name.clone(),
            id: Some(identity.id.clone()),
            identity: Some(identity.clone()),
            ..machine.clone()
        };
        self.engine.destroy_network(&network, bounds()).await.unwrap();
        self.host.assert_as(&self.empty);
    }

    /// Has a deed done by another process, and kills it when it has come to a place.
    fn kill_at(&self, place: &str, deed: &str, name: &str) {
        let held = self.host.directory().join(format!("held-{place}"));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", PROCESS, "--nocapture"])
            .env(DEED, format!("{deed} {name} {}", self.host.uri()))
            .env("LABYARD_FAULT", format!("hold@{place}:{}", held.display()))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        comes(place, SOON, || held.exists());
        processes::send(Signal::Kill, child.id()).unwrap();
        child.wait().unwrap();
        std::fs::remove_file(held).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_may_be_killed_does_what_it_is_asked() {
    let Ok(deed) = std::env::var(DEED) else { return };
    let words: Vec<_> = deed.split(' ').collect();
    let engine = engine(words[2]);
    let object = object(&engine, words[1]).await;
    match words[0] {
        "keep" => engine.keep_moment(&object, bounds()).await.unwrap(),
        "reset" => engine.reset_machine(&object, bounds()).await.unwrap(),
        other => panic!("{other}"),
    }
}

/// A learner was here: files in memory, on the disk and at home, and a disk and a card that a hand has added.
fn use_up(lab: &Lab, root: &Guest<'_>, learner: &Guest<'_>) {
    learner.run("echo mine >work").unwrap();
    root.run("echo mine >/run/work").unwrap();
    root.run("echo mine | dd of=/dev/vda conv=fsync 2>/dev/null")
        .unwrap();
    let disk = lab.host.directory().join("theirs.qcow2");
    let disk = disk.to_str().unwrap();
    labyard_acceptance_tests::command::output_of(
        Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", disk, "8M"]),
    )
    .unwrap();
    let attach = [
        "attach-disk",
        "one",
        disk,
        "vdx",
        "--driver",
        "qemu",
        "--subdriver",
        "qcow2",
    ];
    lab.host
        .virsh(&[&attach[..], &["--live", "--config"]].concat())
        .unwrap();
    comes("the disk in the guest", SOON, || {
        root.run("ls /sys/block").unwrap().contains("vdb")
    });
}

fn assert_unused(lab: &Lab, root: &Guest<'_>, learner: &Guest<'_>) {
    root.wait_for_ssh(SOON).unwrap();
    let refused = learner.run("true").unwrap_err().to_string();
    assert!(refused.contains("Permission denied"), "{refused}");
    let left = "ls /home/learner/work /run/work /run/labyard-used /var/lib/labyard-used 2>/dev/null; true";
    assert_eq!(root.run(left).unwrap(), "", "files of its use");
    assert_eq!(
        root.run("head -c 4 /dev/vda | tr -d '\\0'").unwrap(),
        "",
        "on its disk"
    );
    assert!(
        !root.run("ls /sys/block").unwrap().contains("vdb"),
        "a disk put in by hand"
    );
    let definition = lab.host.virsh(&["dumpxml", "--inactive", "one"]).unwrap();
    assert!(!definition.contains("theirs.qcow2"), "{definition}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let clock: u64 = root.run("date +%s").unwrap().trim().parse().unwrap();
    assert!(
        clock.abs_diff(now) < 10,
        "its clock shows {clock}, and it is {now}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_put_back_has_nothing_of_its_use_whenever_it_was_killed() {
    let lab = Lab::new().await;
    let wish = lab.wish("one", None);
    let (one, root) = lab.make(&wish).await;
    let engine = &lab.engine;

    lab.kill_at("moment-saved", "keep", "one");
    engine.keep_moment(&one, bounds()).await.unwrap();
    engine.keep_moment(&one, bounds()).await.unwrap();
    lab.assert_as_asked(&one, &wish).await;
    let boot = root.boot_id().unwrap();

    engine.admit(&one, &lab.admission(), bounds()).await.unwrap();
    let learner = lab.learner(root.address());
    use_up(&lab, &root, &learner);
    engine.reset_machine(&one, bounds()).await.unwrap();
    assert_unused(&lab, &root, &learner);
    assert_eq!(root.boot_id().unwrap(), boot, "it went on, and did not boot");
    lab.assert_as_asked(&one, &wish).await;

    engine.admit(&one, &lab.admission(), bounds()).await.unwrap();
    learner.run("echo mine >work").unwrap();
    lab.kill_at("reset-off", "reset", "one");
    engine.reset_machine(&one, bounds()).await.unwrap();
    assert_unused(&lab, &root, &learner);
    lab.assert_as_asked(&one, &wish).await;

    std::fs::remove_file(lab.host.directory().join("theirs.qcow2")).unwrap();
    lab.destroy(&one, &wish).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_come_and_go_and_learners_do_not_reach_one_another() {
    let lab = Lab::new().await;
    let engine = &lab.engine;
    let (wishes, mut made) = ([lab.wish("one", None), lab.wish("two", None)], Vec::new());
    for wish in &wishes {
        made.push(lab.make(wish).await);
    }
    let [(one, first), (_, second)] = &made[..] else {
        panic!("two machines");
    };
    let reaches = |to: &str| {
        first
            .run(&format!("echo | nc -w 3 {to} 22 | head -c 4"))
            .unwrap_or_default()
    };
    assert_eq!(reaches("127.0.0.1"), "SSH-", "the port is open");
    assert_eq!(reaches(second.address()), "", "a neighbour's is not");
    first.run("ping -c 1 -W 5 10.91.0.1").unwrap();

    let traffic = async || engine.traffic(one).await.unwrap();
    let learner = lab.learner(first.address());
    engine.admit(one, &lab.admission(), bounds()).await.unwrap();
    learner.run("true").unwrap();
    let mut session = lab.host.command("bash");
    let open = format!("exec 3<>/dev/tcp/{}/22; sleep 60", first.address());
    let mut session = session.args(["-c", &open]).spawn().unwrap();
    let deadline = std::time::Instant::now() + SOON;
    while traffic().await == Traffic::From(Vec::new()) {
        assert!(std::time::Instant::now() < deadline, "nobody is seen connected");
    }
    assert!(matches!(traffic().await, Traffic::From(from) if from.contains(&"10.91.0.1".parse().unwrap())));
    session.kill().unwrap();
    session.wait().unwrap();

    engine.dismiss(one, Departure::Used, bounds()).await.unwrap();
    let refused = learner.run("true").unwrap_err().to_string();
    assert!(refused.contains("Permission denied"), "{refused}");
    engine.hold_machine(one, bounds()).await.unwrap();
    assert!(matches!(traffic().await, Traffic::Unknown(_)));
    engine.wake_machine(one, bounds()).await.unwrap();
    first.run("true").unwrap();
}

/// What a machine's firmware keeps on the host.
fn variables(host: &Host) -> Vec<u8> {
    let files = std::fs::read_dir(host.pool_directory()).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let mut kept = files.filter(|path| path.display().to_string().contains(".nvram."));
    std::fs::read(kept.next().expect("a file of variables")).unwrap()
}

fn holds(content: &[u8], name: &str) -> bool {
    let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    content.windows(wide.len()).any(|window| window == wide)
}

/// `TPM2_PCR_Extend` of register 16 by 32 bytes of one.
const EXTEND: &str = "printf '\\200\\002\\000\\000\\000\\101\\000\\000\\001\\202\\000\\000\\000\\020\\000\\000\\000\\011\\100\\000\\000\\011\
\\000\\000\\000\\000\\000\\000\\000\\000\\001\\000\\013\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\
\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001' >/dev/tpm0";

#[tokio::test(flavor = "multi_thread")]
async fn firmware_variables_and_tpm_go_back_with_their_machine() {
    let lab = Lab::new().await;
    let firmware = vm::Firmware {
        r#type: "uefi".into(),
        secure_boot: false,
        tpm: true,
    };
    let wish = lab.wish("one", Some(firmware));
    let (one, root) = lab.make(&wish).await;
    root.run("modprobe tpm_crb; modprobe efivarfs; mount -t efivarfs none /sys/firmware/efi/efivars")
        .unwrap();
    let register = || root.run("cat /sys/class/tpm/tpm0/pcr-sha256/16").unwrap();
    let fresh = register();
    lab.engine.keep_moment(&one, bounds()).await.unwrap();
    lab.engine.admit(&one, &lab.admission(), bounds()).await.unwrap();

    root.wait_for_ssh(SOON).unwrap();
    root.run(EXTEND).unwrap();
    assert_ne!(register(), fresh, "the TPM was used");
    root.run("printf '\\007\\000\\000\\000hi' >/sys/firmware/efi/efivars/Theirs-5d3c3e54-9f7b-4c5e-8a41-2f6d1b7c9e10")
        .unwrap();
    assert!(holds(&variables(&lab.host), "Theirs"), "the variable was written");

    lab.engine.reset_machine(&one, bounds()).await.unwrap();
    root.wait_for_ssh(SOON).unwrap();
    assert_eq!(register(), fresh, "the register");
    assert!(!holds(&variables(&lab.host), "Theirs"), "the variable");
    lab.assert_as_asked(&one, &wish).await;
    let driver = driver(&lab.host.uri());
    let file = GuestTask::ReadFile("/run/labyard-used".to_owned());
    let answer = driver.ask_guest(one.id.as_ref().unwrap(), &file).await.unwrap();
    assert_eq!(answer, GuestAnswer::File(None));
    lab.destroy(&one, &wish).await;
}
