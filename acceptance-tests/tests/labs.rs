//! A class on a real host, through the daemon: a pool is filled, codes are redeemed, learners work in their machines and
//! do not reach one another's, give them back, and they are free and clean again. And the machine that the class is made
//! of is worked on and captured, and the pool follows.

use labyard_acceptance_tests::assets::GuestFiles;
use labyard_acceptance_tests::daemon::Daemon;
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::wait::{Look, comes, until};
use labyard_acceptance_tests::{Guest, Host, Terraform, hcl};
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);
/// Three guests are booted and their memory is kept.
const LONG: Duration = Duration::from_secs(600);

/// Waits until an operation has ended well.
#[track_caller]
fn done(daemon: &Daemon, operation: &Value) {
    let id = operation["id"].as_str().unwrap();
    until("the end of an operation", LONG, || {
        let now = daemon.json(&["operation", "show", id]);
        Ok(match now["state"].as_str() {
            Some("succeeded") => Look::Holds(()),
            Some("running") => Look::NotYet(now.to_string()),
            _ => panic!("{now}"),
        })
    })
    .unwrap();
}

/// A learner with his claim.
struct Learner<'a> {
    daemon: &'a Daemon,
    id: String,
    secret: String,
    claim: Value,
}

impl<'a> Learner<'a> {
    /// Redeems the code, and waits until the machine can be used.
    #[track_caller]
    fn comes(daemon: &'a Daemon, code: &str, user: &str, more: &[&str]) -> Self {
        let got = daemon.redeem(code, user, more);
        let mut learner = Self {
            daemon,
            id: got["claim"]["id"].as_str().unwrap().to_owned(),
            secret: got["secret"].as_str().unwrap().to_owned(),
            claim: got["claim"].clone(),
        };
        learner.is("ready");
        learner
    }

    /// Waits until his claim is in this phase.
    #[track_caller]
    fn is(&mut self, phase: &str) {
        self.claim = until(phase, SOON, || {
            let shown = self.asks("show");
            Ok(match shown["phase"] == phase {
                true => Look::Holds(shown),
                false => Look::NotYet(shown["phase"].to_string()),
            })
        })
        .unwrap();
    }

    #[track_caller]
    fn asks(&self, verb: &str) -> Value {
        let ended = self
            .daemon
            .cli(&self.secret, &["claim", verb, &self.id, "-o", "json"]);
        serde_json::from_str(&ended.successful().unwrap().stdout).unwrap()
    }

    fn machine(&self) -> &Value {
        &self.claim["machines"][0]
    }

    fn address(&self) -> &str {
        self.machine()["addresses"][0].as_str().unwrap()
    }

    fn enters<'h>(&self, host: &'h Host, key: &KeyPair) -> Guest<'h> {
        Guest::at(host, self.address(), key).as_user(self.machine()["user"].as_str().unwrap())
    }
}

/// How many machines of the pool are in a state.
fn count(daemon: &Daemon, state: &str) -> u64 {
    let pool = daemon.json(&["pool", "show", "k8s"]);
    pool["pool"]["counts"][state].as_u64().unwrap()
}

#[track_caller]
fn counts(daemon: &Daemon, state: &str, wanted: u64) {
    until(&format!("{wanted} machines {state}"), LONG, || {
        Ok(match count(daemon, state) {
            found if found == wanted => Look::Holds(()),
            found => Look::NotYet(found.to_string()),
        })
    })
    .unwrap();
}

fn pool(operator: &KeyPair) -> Value {
    let files = GuestFiles::get();
    json!({
        "name": "k8s", "ready": 3, "max": 3, "max_in_flight": 2, "recycle": "reset",
        "lease": {"default": "1h", "pause": "10m"},
        "template": {
            "cpus": 1, "memory_mib": 96,
            "disks": {"data": {"size_gib": 1, "on_remove": "delete"}},
            "nics": {"lan": {"network": "lab"}},
            "boot": {
                "kernel": files.kernel(), "initrd": files.initrd(),
                "cmdline": "console=ttyS0 quiet no_timer_check",
            },
            "cloud_init": {"user_data": format!("#cloud-config\nssh_authorized_keys:\n  - {}\n", operator.public)},
            // Its agent may come later.
            "ready": {"wait": "address"},
            "shutdown": {"mode": "force"},
        },
    })
}

/// Invariant 11 on a real host.
#[test]
fn a_class_gets_machines_works_in_them_gives_them_back_and_they_are_clean() {
    let host = Host::start().unwrap();
    let empty = host.inventory().unwrap();
    let terraform = Terraform::new().unwrap();
    terraform.applied(&(hcl::on(&host) + &hcl::network("lab", 92)));
    let kernel = GuestFiles::get().kernel();
    let daemon = Daemon::alone(&format!(
        "host_directories = [{:?}]\n[hosts.lab1]\nlibvirt = {{ uri = {:?}, accelerator = \"qemu\" }}\n",
        kernel.parent().unwrap(),
        host.uri()
    ));
    let operator = KeyPair::generate().unwrap();
    done(&daemon, &daemon.put("/v1/pools/k8s", &pool(&operator)));
    assert_eq!(count(&daemon, "free"), 3);
    let made = daemon.json(&["code", "create", "class", "--pool", "k8s"]);
    let code = made["values"]["main"]
        .as_str()
        .unwrap_or_else(|| panic!("{made}"));

    // Ada is given a key; Ben has one.
    let ada = Learner::comes(&daemon, code, "ada", &[]);
    let given = ada.machine()["credentials"]["private_key"].as_str().unwrap();
    let given = KeyPair::of(given).unwrap();
    let own = KeyPair::generate().unwrap();
    let file = own.private().with_extension("pub");
    let mut ben = Learner::comes(&daemon, code, "ben", &["--ssh-key", file.to_str().unwrap()]);
    assert_eq!((count(&daemon, "free"), count(&daemon, "claimed")), (1, 2));
    let (adas, bens) = (ada.enters(&host, &given), ben.enters(&host, &own));
    let neighbour = ben.address().to_owned();
    adas.run("echo mine >/root/work; echo mine | dd of=/dev/vda conv=fsync 2>/dev/null")
        .unwrap();
    let boot = adas.boot_id().unwrap();
    bens.run("true").unwrap();
    ben.enters(&host, &given).run("true").unwrap_err();

    let reaches = |to: &str| {
        adas.run(&format!("echo | nc -w 3 {to} 22 | head -c 4"))
            .unwrap_or_default()
    };
    assert_eq!(reaches("127.0.0.1"), "SSH-", "the port is open");
    assert_eq!(reaches(&neighbour), "", "a neighbour's is not");
    adas.run("ping -c 1 -W 5 10.92.0.1").unwrap();

    // A guest stands still while its claim is paused, and goes on as it was.
    bens.run("echo still here >/run/work").unwrap();
    assert_eq!(ben.asks("pause")["phase"], "paused");
    let machine = ben.machine()["name"].as_str().unwrap().to_owned();
    let state = || host.virsh(&["domstate", &machine]).unwrap();
    comes("a guest that stands still", SOON, || state().trim() == "paused");
    assert_eq!(ben.asks("resume")["phase"], "bound");
    ben.is("ready");
    assert_eq!(bens.run("cat /run/work").unwrap(), "still here\n");

    assert_eq!(ada.asks("release")["phase"], "released");
    counts(&daemon, "free", 2);
    let refused = adas.run("true").unwrap_err().to_string();
    assert!(refused.contains("Permission denied"), "{refused}");
    let root = Guest::at(&host, ada.address(), &operator);
    assert_eq!(
        root.run("ls /root/work 2>/dev/null; head -c 4 /dev/vda | tr -d '\\0'")
            .unwrap(),
        ""
    );
    assert_eq!(root.boot_id().unwrap(), boot, "it went on, and did not boot");
    assert_eq!(bens.run("echo here").unwrap(), "here\n", "another's goes on");

    ben.asks("release");
    counts(&daemon, "free", 3);
    let gone = daemon.delete("/v1/pools/k8s");
    done(&daemon, &gone);
    drop(daemon);
    terraform.destroyed();
    host.assert_as(&empty);
}

/// A machine that keeps its system on a disk of that image.
fn of_image(source: &str, operator: &KeyPair) -> Value {
    let files = GuestFiles::get();
    json!({
        "cpus": 1, "memory_mib": 128,
        "disks": {"root": {"image": {"source": source}}},
        "nics": {"lan": {"network": "lab"}},
        "boot": {
            "kernel": files.kernel(), "initrd": files.initrd(),
            "cmdline": "console=ttyS0 quiet no_timer_check guest.keep=vda",
        },
        "cloud_init": {"user_data": format!("#cloud-config\nssh_authorized_keys:\n  - {}\n", operator.public)},
        "ready": {"wait": "agent"},
        "shutdown": {"mode": "force"},
    })
}

/// The guest of a machine of the host, entered as root.
fn guest<'h>(daemon: &Daemon, host: &'h Host, name: &str, key: &KeyPair) -> Guest<'h> {
    // Its agent may answer before it has asked for its address.
    let address = until("an address", SOON, || {
        let shown = daemon.json(&["vm", "show", &format!("lab1/{name}")]);
        Ok(match shown["addresses"][0].as_str() {
            Some(address) => Look::Holds(address.to_owned()),
            None => Look::NotYet(shown["addresses"].to_string()),
        })
    });
    let guest = Guest::at(host, address.unwrap(), key);
    guest.wait_for_ssh(SOON).unwrap();
    guest
}

/// The only machine of the pool, when it is free and of that generation.
fn free_of(daemon: &Daemon, generation: u64) -> String {
    until(
        &format!("a free machine of generation {generation}"),
        LONG,
        || {
            let shown = daemon.json(&["pool", "show", "k8s"]);
            let machines = shown["machines"].as_array().unwrap();
            let is_it = |one: &Value| one["state"] == "free" && one["generation"] == generation;
            Ok(match machines.as_slice() {
                [one] if is_it(one) => Look::Holds(one["name"].as_str().unwrap().to_owned()),
                _ => Look::NotYet(shown["machines"].to_string()),
            })
        },
    )
    .unwrap()
}

/// Invariant 23 on a real host, by the daemon alone.
#[test]
fn a_pool_rolls_to_what_is_captured_through_the_daemon_and_what_it_is_made_of_stays() {
    let host = Host::start().unwrap();
    let empty = host.inventory().unwrap();
    let terraform = Terraform::new().unwrap();
    terraform.applied(&(hcl::on(&host) + &hcl::network("lab", 92)));
    let files = GuestFiles::get();
    let daemon = Daemon::alone(&format!(
        "host_directories = [{:?}]\nimage_directories = [{:?}]\n[hosts.lab1]\nlibvirt = {{ uri = {:?}, accelerator = \"qemu\" }}\n",
        files.kernel().parent().unwrap(),
        files.disk().parent().unwrap(),
        host.uri()
    ));
    let operator = KeyPair::generate().unwrap();
    let disk = format!("file:{}", files.disk().display());
    let attributes = json!({"attributes": of_image(&disk, &operator)});
    done(&daemon, &daemon.put("/v1/vms/lab1/golden", &attributes));
    let golden = guest(&daemon, &host, "golden", &operator);
    let boot = golden.boot_id().unwrap();
    let capture = |revision: u64| {
        let made = daemon.json(&["vm", "capture", "lab1/golden", "--image", "golden"]);
        assert_eq!(
            (&made["image"]["revision"], &made["sealed"]),
            (&json!(revision), &json!(true)),
            "{made}"
        );
    };
    golden.run("echo one >/keep/work && sync").unwrap();
    capture(1);
    let pool = json!({
        "name": "k8s", "ready": 1, "max": 2, "recycle": "recreate", "lease": {"default": "1h", "pause": "10m"},
        "template": of_image("image:golden", &operator),
    });
    done(&daemon, &daemon.put("/v1/pools/k8s", &pool));
    let work = |generation| {
        let name = free_of(&daemon, generation);
        guest(&daemon, &host, &name, &operator)
            .run("cat /keep/work")
            .unwrap()
    };
    assert_eq!(work(1), "one\n");

    golden.run("echo two >/keep/work && sync").unwrap();
    capture(2);
    assert_eq!(work(2), "two\n");
    assert_eq!(golden.boot_id().unwrap(), boot, "it ran on");

    let gone = || -> Vec<Value> {
        let gone = daemon.json(&["image", "gc", "--keep", "0"]);
        let gone = gone.as_array().unwrap();
        gone.iter().map(|image| image["revision"].clone()).collect()
    };
    assert_eq!(gone(), [1], "what the pool is made of stays");
    done(&daemon, &daemon.delete("/v1/pools/k8s"));
    assert_eq!(gone(), [2]);
    done(&daemon, &daemon.delete("/v1/vms/lab1/golden"));
    drop(daemon);
    terraform.destroyed();
    host.assert_as(&empty);
}
