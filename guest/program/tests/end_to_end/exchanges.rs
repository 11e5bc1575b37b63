//! What has to come of exchanges with the real program.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use getrandom::SysRng;
use labyard_exchange::config::{FixedIpv4, Nic, User};
use labyard_exchange::host::{Ended, Status};
use labyard_exchange::rand_core::UnwrapErr;
use labyard_exchange::{Action, Configuration, Deadlines, Exchange, Host, Items, Outcome, Secret, Stage};

use crate::daemon::{Model, Pools, Real};
use crate::guest::{Ends, Program, Tree, can_make_users, command_lines_with, is_password};

const VM: &str = "7D0D9A2C-6F3B-4E6B-8C52-0F1E2D3C4B5A";
const OTHER_VM: &str = "11111111-2222-3333-4444-555555555555";
const PASSWORD: &str = "sentinel-7c1e-päss:wörd";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqX ops@desk";

fn configuration() -> Configuration {
    let ansible = User {
        ssh_authorized_keys: vec![KEY.replace("ops@desk", "ansible")],
        ..User::default()
    };
    Configuration {
        dns_suffix: Some("lab.test".into()),
        admin_username: Some("ops".into()),
        admin_password: Some(Secret::new(PASSWORD)),
        ssh_authorized_keys: vec![KEY.into()],
        users: BTreeMap::from([("ansible".to_owned(), ansible)]),
        nics: vec![Nic {
            mac: "00:15:5d:00:00:01".parse().unwrap(),
            ipv4: Some(FixedIpv4 {
                address: "10.77.0.10/24".parse().unwrap(),
                gateway: Some("10.77.0.1".parse().unwrap()),
            }),
        }],
        dns_servers: vec!["10.77.0.1".parse().unwrap()],
        ..Configuration::named("web-01")
    }
}

/// Our side, on a bus that copies pairs as Hyper-V would.
struct Ours<'a> {
    pools: &'a mut dyn Pools,
    host: Option<Host>,
    began: Instant,
    /// Whether command lines are looked through for the password.
    watched: bool,
}

impl<'a> Ours<'a> {
    fn ask(pools: &'a mut dyn Pools, vm: &str, configuration: &Configuration) -> Self {
        let exchange = Exchange::draw(vm.parse().unwrap(), &mut UnwrapErr(SysRng));
        let deadlines = Deadlines {
            key: Duration::from_secs(60),
            taken: Duration::from_secs(60),
            done: Duration::from_secs(60),
        };
        let (host, actions) = Host::begin(exchange, configuration, deadlines, Duration::ZERO).unwrap();
        let mut ours = Self {
            pools,
            host: Some(host),
            began: Instant::now(),
            watched: false,
        };
        ours.carry(&actions);
        ours
    }

    fn carry(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Put(items) => {
                    for item in items {
                        self.pools.set(0, &item.key, &item.text);
                    }
                }
                Action::Remove(keys) => {
                    for key in keys {
                        self.pools.delete(0, key);
                    }
                }
                _ => {}
            }
        }
    }

    fn turn(&mut self) {
        let pairs = self.pools.all(1);
        let seen = Items::of_bytes(
            pairs
                .iter()
                .map(|(key, value)| (key.as_slice(), value.as_slice())),
        );
        let host = self.host.take().unwrap();
        let (host, actions) = host.step(self.began.elapsed(), &seen, &mut UnwrapErr(SysRng));
        self.host = Some(host);
        self.carry(&actions);
        if self.watched {
            let seen = command_lines_with("sentinel-7c1e");
            assert_eq!(seen, Vec::<String>::new(), "a command line holds the password");
        }
        std::thread::sleep(Duration::from_millis(20));
    }

    /// Goes on until the guest has taken what was sent.
    fn until_acknowledged(&mut self) {
        while !self.pools.all(1).iter().any(|(key, _)| key == b"labyard.ack") {
            self.turn();
            let over = matches!(self.host.as_ref().unwrap().status(), Status::Ended(_));
            assert!(!over, "{:?}", self.host.as_ref().unwrap().status());
        }
    }

    /// Goes on to the end.
    fn ended(mut self) -> Ended {
        loop {
            self.turn();
            if let Status::Ended(ended) = self.host.as_ref().unwrap().status() {
                return ended.clone();
            }
        }
    }
}

/// Whether nothing of an exchange is in the pools any more, and no secret anywhere in the tree.
fn assert_clean(tree: &Tree, pools: &mut dyn Pools) {
    for pool in [0, 1] {
        assert_eq!(pools.all(pool), [], "pool {pool}");
    }
    for (path, content) in tree.files() {
        let text = String::from_utf8_lossy(&content);
        assert!(
            !text.contains("sentinel-7c1e"),
            "{} holds the password",
            path.display()
        );
    }
}

fn assert_configured(tree: &Tree) {
    assert_eq!(tree.text("etc/hostname"), "web-01\n");
    assert_eq!(
        tree.text("etc/hosts"),
        "127.0.0.1 localhost\n127.0.1.1 web-01.lab.test web-01\n"
    );
    let network = tree.text("etc/systemd/network/05-labyard-00155d000001.network");
    for line in [
        "MACAddress=00:15:5d:00:00:01",
        "Address=10.77.0.10/24",
        "Gateway=10.77.0.1",
        "DNS=10.77.0.1",
    ] {
        assert!(network.lines().any(|there| there == line), "{line}: {network}");
    }
    let passwd = tree.text("etc/passwd");
    let shadow = tree.text("etc/shadow");
    let hash = |user: &str| {
        let line = shadow.lines().find(|line| line.starts_with(&format!("{user}:")));
        line.and_then(|line| line.split(':').nth(1)).unwrap().to_owned()
    };
    assert!(is_password(&hash("ops"), PASSWORD), "{shadow}");
    assert!(hash("ansible").starts_with('!'), "{shadow}");
    for (user, comment) in [("ops", "ops@desk"), ("ansible", "ansible")] {
        let line = passwd
            .lines()
            .find(|line| line.starts_with(&format!("{user}:")))
            .unwrap();
        let fields: Vec<_> = line.split(':').collect();
        assert_eq!(fields[5..], [&format!("/home/{user}"), "/bin/bash"], "{line}");
        let (uid, gid): (u32, u32) = (fields[2].parse().unwrap(), fields[3].parse().unwrap());
        let folder = tree.at(&format!("home/{user}/.ssh")).metadata().unwrap();
        let file = tree
            .at(&format!("home/{user}/.ssh/authorized_keys"))
            .metadata()
            .unwrap();
        assert_eq!(
            (folder.uid(), folder.gid(), folder.mode() & 0o7777),
            (uid, gid, 0o700)
        );
        assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (uid, gid, 0o600));
        let keys = tree.text(&format!("home/{user}/.ssh/authorized_keys"));
        assert!(keys.contains(&KEY.replace("ops@desk", comment)), "{keys}");
    }
    let sudoers = tree.at("etc/sudoers.d/90-labyard");
    assert_eq!(sudoers.metadata().unwrap().mode() & 0o7777, 0o440);
    assert_eq!(
        tree.text("etc/sudoers.d/90-labyard"),
        "# Made by labyard.\nops ALL=(ALL) NOPASSWD:ALL\n"
    );
}

/// A guest becomes what it was told, and stays so when it is told again.
fn configured_twice(tree: &Tree, pools: &mut dyn Pools) {
    pools.set(3, "VirtualMachineName", "web-01");
    pools.set(3, "VirtualMachineId", VM);
    let program = Program::start(tree, Ends::AfterOne);
    let mut ours = Ours::ask(pools, VM, &configuration());
    ours.watched = true;
    assert_eq!(ours.ended(), Ended::Done, "{}", program.said());
    assert!(program.end().success());
    assert_configured(tree);
    assert_clean(tree, pools);
    let own = "home/ops/.ssh/authorized_keys";
    let keys = tree.text(own);
    tree.put(own, &format!("ssh-rsa MINE me\n{keys}"));
    let (passwd, group) = (tree.text("etc/passwd"), tree.text("etc/group"));

    let program = Program::start(tree, Ends::AfterOne);
    assert_eq!(Ours::ask(pools, VM, &configuration()).ended(), Ended::Done);
    assert!(program.end().success());
    assert_configured(tree);
    assert_clean(tree, pools);
    assert_eq!((tree.text("etc/passwd"), tree.text("etc/group")), (passwd, group));
    assert_eq!(tree.text(own), format!("ssh-rsa MINE me\n{keys}"));
}

#[test]
fn a_guest_becomes_what_it_was_told_and_no_secret_stays_anywhere() {
    if can_make_users() {
        let tree = Tree::new();
        let mut pools = Model::new(&tree.pools());
        configured_twice(&tree, &mut pools);
    }
}

#[test]
fn it_lives_together_with_the_real_daemon() {
    if can_make_users() {
        let tree = Tree::new();
        if let Some(mut pools) = Real::start(&tree.pools()) {
            configured_twice(&tree, &mut pools);
        }
    }
}

#[test]
fn the_model_of_the_daemon_writes_what_the_real_one_writes() {
    if !can_make_users() {
        return;
    }
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(mut real) = Real::start(one.path()) else {
        return;
    };
    let mut model = Model::new(two.path());
    let long = "v".repeat(900);
    for pools in [&mut real as &mut dyn Pools, &mut model] {
        pools.set(0, "a", &long);
        pools.set(0, "b", "2");
        pools.set(0, "c", "3");
        pools.set(0, "a", "1");
        pools.delete(0, "b");
        pools.delete(0, "none");
        pools.set(1, "other", "pool");
    }
    let expected = [(b"a".to_vec(), b"1".to_vec()), (b"c".to_vec(), b"3".to_vec())];
    assert_eq!(real.all(0), expected);
    assert_eq!(model.all(0), expected);
    for directory in [one.path(), two.path()] {
        let bytes = std::fs::read(directory.join(".kvp_pool_0")).unwrap();
        assert_eq!(bytes.len(), 2 * 2560);
        // What a shorter value was written over is still there behind its end: a reader must stop there.
        assert_eq!(bytes[512..514], *b"1\0");
        assert_eq!(bytes[514..1412], [b'v'; 898]);
        let pool = labyard_exchange::pool::Pool::read(&bytes);
        assert_eq!(pool.torn(), 0);
    }
}

#[test]
fn a_program_that_is_killed_and_started_again_finishes() {
    if !can_make_users() {
        return;
    }
    // Before it has seen anything, once its key is there, and at several moments while it works or just has.
    for moment in 0..6 {
        let tree = Tree::new();
        let mut pools = Model::new(&tree.pools());
        pools.set(3, "VirtualMachineId", VM);
        let program = Program::start(&tree, Ends::AfterOne);
        program.wait_for("waiting");
        let mut ours = Ours::ask(&mut pools, VM, &configuration());
        match moment {
            0 => {}
            1 => while ours.pools.all(1).is_empty() {},
            later => {
                ours.until_acknowledged();
                std::thread::sleep(Duration::from_millis(60 * (later - 2)));
            }
        }
        program.kill();
        ours.turn();
        // Not one that ends with its exchange: the first may have come to the end of it before it was killed.
        let program = Program::start(&tree, Ends::Never);
        assert_eq!(ours.ended(), Ended::Done, "moment {moment}: {}", program.said());
        let began = Instant::now();
        while [0, 1].iter().any(|pool| !pools.all(*pool).is_empty()) {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "moment {moment}: {}",
                program.said()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        program.kill();
        assert_configured(&tree);
        assert_clean(&tree, &mut pools);
    }
}

/// A name and nothing else: what makes nothing but files.
fn named(name: &str) -> Configuration {
    Configuration::named(name)
}

#[test]
fn what_was_recorded_is_not_done_again() {
    if !can_make_users() {
        return;
    }
    let tree = Tree::new();
    let mut pools = Model::new(&tree.pools());
    pools.set(3, "VirtualMachineId", VM);
    let program = Program::start(&tree, Ends::Never);
    let mut ours = Ours::ask(&mut pools, VM, &named("first"));
    // Everything that goes to the guest is recorded, as it lies in the file.
    let file = tree.pools().join(".kvp_pool_0");
    let mut recorded = std::fs::read(&file).unwrap();
    while !ours
        .pools
        .all(0)
        .iter()
        .any(|(key, _)| key.ends_with(b".manifest"))
    {
        ours.turn();
        recorded = std::fs::read(&file).unwrap();
    }
    assert_eq!(ours.ended(), Ended::Done);
    assert_eq!(Ours::ask(&mut pools, VM, &named("second")).ended(), Ended::Done);
    assert_eq!(tree.text("etc/hostname"), "second\n");
    program.kill();

    // The program that remembers.
    std::fs::write(&file, &recorded).unwrap();
    let program = Program::start(&tree, Ends::Never);
    program.wait_for("is over, and is not done again");
    program.kill();
    assert_eq!(tree.text("etc/hostname"), "second\n");
    assert_eq!(pools.all(1), []);

    // One that forgot makes a new key, and nothing that was recorded opens.
    std::fs::remove_dir_all(tree.at("var/lib/labyard-guest")).unwrap();
    let program = Program::start(&tree, Ends::Never);
    program.wait_for("sealed to another key");
    program.kill();
    assert_eq!(tree.text("etc/hostname"), "second\n");
}

#[test]
fn a_copied_disk_is_not_taken_for_the_machine_it_was() {
    if !can_make_users() {
        return;
    }
    let tree = Tree::new();
    let mut pools = Model::new(&tree.pools());
    pools.set(3, "VirtualMachineId", VM);
    let program = Program::start(&tree, Ends::Never);
    let mut ours = Ours::ask(&mut pools, VM, &named("original"));
    while ours.pools.all(1).is_empty() {}
    ours.turn();
    program.kill();
    drop(ours);
    // The copy: pools and all as they were, under another id.
    assert!(pools.all(0).len() > 1 && !pools.all(1).is_empty());
    pools.set(3, "VirtualMachineId", OTHER_VM);
    let program = Program::start(&tree, Ends::Never);
    program.wait_for("left over in a copied disk");
    assert_eq!(pools.all(1), [], "what the original wrote is taken away");
    assert!(!tree.at("etc/hostname").exists());
    let ended = Ours::ask(&mut pools, OTHER_VM, &named("copy")).ended();
    assert_eq!(ended, Ended::Done, "{}", program.said());
    assert_eq!(tree.text("etc/hostname"), "copy\n");
}

#[test]
fn what_was_altered_on_its_way_is_refused_and_said() {
    if !can_make_users() {
        return;
    }
    let tree = Tree::new();
    let mut pools = Model::new(&tree.pools());
    pools.set(3, "VirtualMachineId", VM);
    let mut ours = Ours::ask(&mut pools, VM, &named("altered"));
    // The guest shows its key, and is stopped while what was sealed is altered.
    let program = Program::start(&tree, Ends::Never);
    while ours.pools.all(1).is_empty() {}
    let file = tree.pools().join(".kvp_pool_0");
    let lock = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&file)
        .unwrap();
    let (key, value) = {
        // One piece of the sealed text, before the manifest is there.
        let pairs = ours.pools.all(1);
        let seen = Items::of_bytes(
            pairs
                .iter()
                .map(|(key, value)| (key.as_slice(), value.as_slice())),
        );
        let host = ours.host.take().unwrap();
        let (host, mut actions) = host.step(ours.began.elapsed(), &seen, &mut UnwrapErr(SysRng));
        ours.host = Some(host);
        let Action::Put(pieces) = &mut actions[0] else {
            panic!("{actions:?}");
        };
        let digit = if pieces[0].text.as_bytes()[10] == b'A' {
            "B"
        } else {
            "A"
        };
        pieces[0].text.replace_range(10..11, digit);
        let altered = (pieces[0].key.clone(), pieces[0].text.clone());
        ours.carry(&actions);
        altered
    };
    drop(lock);
    let ended = ours.ended();
    let Ended::Failed(report) = ended else {
        panic!("{ended:?}, {key} {value}");
    };
    assert_eq!(report.outcome, Outcome::Error);
    assert!(report.message.contains("SHA-256"), "{report:?}");
    program.wait_for("SHA-256");
    assert!(!tree.at("etc/hostname").exists());
}

#[test]
fn what_a_guest_cannot_do_is_said_with_its_reason_and_without_a_secret() {
    if !can_make_users() {
        return;
    }
    let tree = Tree::new();
    let mut pools = Model::new(&tree.pools());
    pools.set(3, "VirtualMachineId", VM);
    let mut wanted = configuration();
    wanted.nics[0].mac = "00:15:5d:00:00:99".parse().unwrap();
    let program = Program::start(&tree, Ends::AfterOne);
    let Ended::Failed(report) = Ours::ask(&mut pools, VM, &wanted).ended() else {
        panic!("{}", program.said());
    };
    assert_eq!(report.stage, Some(Stage::Network));
    assert!(report.message.contains("eth0 (00:15:5d:00:00:01)"), "{report:?}");
    assert_eq!(program.end().code(), Some(1));
    assert!(
        !tree.at("etc/hostname").exists(),
        "nothing is done where a part cannot be"
    );
    assert_clean(&tree, &mut pools);

    // A program that fails.
    std::fs::remove_file(tree.at("etc/login.defs")).unwrap();
    std::fs::remove_dir_all(tree.at("etc/pam.d")).unwrap();
    let program = Program::start(&tree, Ends::AfterOne);
    let Ended::Failed(report) = Ours::ask(&mut pools, VM, &configuration()).ended() else {
        panic!("{}", program.said());
    };
    assert_eq!(report.stage, Some(Stage::Users), "{report:?}");
    assert!(
        !report.message.contains("sentinel-7c1e") && !report.message.is_empty(),
        "{report:?}"
    );
    assert_eq!(program.end().code(), Some(1));
    assert_clean(&tree, &mut pools);
}

/// A card with the right address in a network of its own, and systemd-networkd with the files of the tree beside one
/// that is there for every card, as images have it.
const NETWORKD: &str = r#"
set -e
mount -t tmpfs none /run
mount -t tmpfs none /etc/systemd/network
mount -t sysfs -o ro none /sys
cp "$1"/* /etc/systemd/network/
printf '[Match]\nName=*\n[Network]\nDHCP=yes\n' > /etc/systemd/network/10-all.network
ip link add eth0 address 00:15:5d:00:00:01 type veth peer name other
ip link set other up
/lib/systemd/systemd-networkd &
for _ in $(seq 100); do
    ip -4 addr show dev eth0 | grep -q 'inet ' && break
    sleep 0.1
done
ip -4 -oneline addr show dev eth0
ip route show default
"#;

#[test]
fn what_is_written_for_networkd_gives_the_card_its_address() {
    if !can_make_users() {
        return;
    }
    if !std::path::Path::new("/lib/systemd/systemd-networkd").exists() {
        crate::skipped("systemd-networkd is missing (Debian: systemd)");
        return;
    }
    let tree = Tree::new();
    let mut pools = Model::new(&tree.pools());
    pools.set(3, "VirtualMachineId", VM);
    let program = Program::start(&tree, Ends::AfterOne);
    assert_eq!(Ours::ask(&mut pools, VM, &configuration()).ended(), Ended::Done);
    assert!(program.end().success());
    let output = std::process::Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .args(["sh", "-c", NETWORKD, "sh"])
        .arg(tree.at("etc/systemd/network"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(" 10.77.0.10/24 "), "{said} {errors}");
    assert!(said.contains("default via 10.77.0.1 dev eth0"), "{said} {errors}");
}
