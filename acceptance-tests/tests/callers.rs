//! A machine that is reached from its claimer's address alone, on a real host: two learners stand in network namespaces of
//! their own, the host routes between them and the machine.

use labyard_acceptance_tests::assets::GuestFiles;
use labyard_acceptance_tests::daemon::Daemon;
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::wait::{Look, until};
use labyard_acceptance_tests::{Host, Terraform, hcl};
use serde_json::{Value, json};
use std::time::Duration;

/// A guest is booted and its memory is kept.
const LONG: Duration = Duration::from_secs(600);

/// Somebody in a network namespace beside the host's own, which routes for him.
struct Place<'a> {
    host: &'a Host,
    name: &'static str,
    address: String,
}

impl<'a> Place<'a> {
    fn new(host: &'a Host, name: &'static str, net: &str) -> Self {
        let address = format!("{net}.7");
        let script = format!(
            "set -e; ip netns add {name}; ip link add to-{name} type veth peer name eth0 netns {name}; \
             ip address add {net}.1/24 dev to-{name}; ip link set to-{name} up; \
             ip -n {name} address add {address}/24 dev eth0; ip -n {name} link set eth0 up; \
             ip -n {name} route add default via {net}.1; echo 1 >/proc/sys/net/ipv4/ip_forward"
        );
        sh(host, &script);
        Self { host, name, address }
    }

    /// What he is told by who listens on a port, if anybody does and he gets through.
    fn hears(&self, of: &str, port: u16) -> String {
        sh(
            self.host,
            &format!(
                "ip netns exec {} timeout 5 bash -c 'exec 3<>/dev/tcp/{of}/{port} && head -c 4 <&3' 2>/dev/null || true",
                self.name
            ),
        )
    }

    /// What a command says in the machine, which he enters with a key.
    fn runs(&self, key: &KeyPair, at: &str, command: &str) -> String {
        sh(
            self.host,
            &format!(
                "ip netns exec {} ssh -i {} -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
                 -o LogLevel=ERROR -o ConnectTimeout=10 {at} '{command}'",
                self.name,
                key.private().display()
            ),
        )
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // With the namespace goes its end of the wire, and so the wire.
        drop(
            self.host
                .command("ip")
                .args(["netns", "delete", self.name])
                .output(),
        );
    }
}

#[track_caller]
fn sh(host: &Host, script: &str) -> String {
    let out = host.command("sh").args(["-c", script]).output().unwrap();
    assert!(
        out.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

fn pool() -> Value {
    let files = GuestFiles::get();
    json!({
        "name": "k8s", "ready": 1, "max": 1, "recycle": "reset", "access": "claimer",
        "template": {
            "cpus": 1, "memory_mib": 96,
            "disks": {"data": {"size_gib": 1, "on_remove": "delete"}},
            "nics": {"lan": {"network": "lab"}},
            "boot": {
                "kernel": files.kernel(), "initrd": files.initrd(),
                "cmdline": "console=ttyS0 quiet no_timer_check",
            },
            "ready": {"wait": "address"},
            "shutdown": {"mode": "force"},
        },
    })
}

/// Waits until one machine of the pool is free.
#[track_caller]
fn free(daemon: &Daemon) {
    until("a free machine", LONG, || {
        let pool = daemon.json(&["pool", "show", "k8s"]);
        Ok(match pool["pool"]["counts"]["free"].as_u64() {
            Some(1) => Look::Holds(()),
            _ => Look::NotYet(pool.to_string()),
        })
    })
    .unwrap();
}

#[test]
fn a_machine_is_reached_from_its_claimers_address_from_redeem_to_release() {
    let host = Host::start().unwrap();
    let empty = host.inventory().unwrap();
    let terraform = Terraform::new().unwrap();
    let routed = hcl::network("lab", 95).replace("mode = \"nat\"", "mode = \"routed\"");
    terraform.applied(&(hcl::on(&host) + &routed));
    let kernel = GuestFiles::get().kernel();
    let daemon = Daemon::alone(&format!(
        "trusted_proxies = [\"127.0.0.1/32\"]\nhost_directories = [{:?}]\n[hosts.lab1]\nlibvirt = {{ uri = {:?}, \
         accelerator = \"qemu\" }}\n",
        kernel.parent().unwrap(),
        host.uri()
    ));
    let (ada, ben) = (
        Place::new(&host, "ada", "198.51.100"),
        Place::new(&host, "ben", "203.0.113"),
    );
    daemon.put("/v1/pools/k8s", &pool());
    free(&daemon);
    let leases = host.virsh(&["net-dhcp-leases", "lab"]).unwrap();
    let address = leases.split_whitespace().find_map(|word| {
        let (address, _) = word.split_once('/')?;
        address.starts_with("10.95.0.").then(|| address.to_owned())
    });
    let address = address.unwrap_or_else(|| panic!("{leases}"));
    let heard = || [&ada, &ben].map(|place| place.hears(&address, 22));
    assert_eq!(heard(), ["", ""], "nobody has it");

    let made = daemon.json(&["code", "create", "class", "--pool", "k8s"]);
    let code = made["values"]["main"]
        .as_str()
        .unwrap_or_else(|| panic!("{made}"));
    for (place, other) in [(&ada, &ben), (&ben, &ada)] {
        let got = daemon.redeem_from(&place.address, code, place.name);
        let id = got["claim"]["id"].as_str().unwrap();
        assert_eq!(got["claim"]["reached_from"], place.address);
        let secret = got["secret"].as_str().unwrap();
        let shown = || {
            let ended = daemon.cli(secret, &["claim", "show", id, "-o", "json"]);
            serde_json::from_str::<Value>(&ended.successful().unwrap().stdout).unwrap()
        };
        let claim = until("a machine that can be used", LONG, || {
            let claim = shown();
            Ok(match claim["phase"] == "ready" {
                true => Look::Holds(claim),
                false => Look::NotYet(claim["phase"].to_string()),
            })
        })
        .unwrap();
        assert_eq!(place.hears(&address, 22), "SSH-", "{}'s own machine", place.name);
        assert_eq!(other.hears(&address, 22), "", "not {}'s", other.name);
        let by_host = format!("timeout 5 bash -c 'head -c 4 </dev/tcp/{address}/22' 2>/dev/null || true");
        assert_eq!(sh(&host, &by_host), "", "not even the host's own");
        // What the machine itself asks for comes back.
        let machine = &claim["machines"][0];
        let key = KeyPair::of(machine["credentials"]["private_key"].as_str().unwrap()).unwrap();
        let at = format!("{}@{address}", machine["user"].as_str().unwrap());
        let asked = "nc -w 5 10.95.0.1 53 </dev/null && echo answered";
        assert_eq!(place.runs(&key, &at, asked), "answered\n");

        let ended = daemon.cli(secret, &["claim", "release", id]);
        ended.successful().unwrap();
        free(&daemon);
        assert_eq!(heard(), ["", ""], "it was given back");
    }
    let gone = daemon.delete("/v1/pools/k8s");
    let id = gone["id"].as_str().unwrap();
    until("a pool that is gone", LONG, || {
        let now = daemon.json(&["operation", "show", id]);
        Ok(match now["state"].as_str() {
            Some("running") => Look::NotYet(now.to_string()),
            _ => Look::Holds(()),
        })
    })
    .unwrap();
    let filters = host.virsh(&["nwfilter-list"]).unwrap();
    assert!(!filters.contains("labyard"), "{filters}");
    drop((ada, ben, daemon));
    terraform.destroyed();
    host.assert_as(&empty);
}
