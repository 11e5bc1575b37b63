//! A claim's machines on a network of their own, on a real host through the daemon: they reach one another there, nobody
//! else's do, and when the claim ends the network is gone and their cards are back.

use labyard_acceptance_tests::assets::GuestFiles;
use labyard_acceptance_tests::daemon::Daemon;
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::wait::{Look, comes, until};
use labyard_acceptance_tests::{Guest, Host, Terraform, hcl};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(180);
/// Four guests are booted and their memory is kept.
const LONG: Duration = Duration::from_secs(900);

fn pool(operator: &KeyPair) -> Value {
    let files = GuestFiles::get();
    json!({
        "name": "pair", "ready": 4, "max": 4, "max_in_flight": 2, "recycle": "reset",
        "lease": {"default": "1h"},
        "claim_network": {"nic": "own", "cidr": "10.78.0.0/24"},
        "template": {
            "cpus": 1, "memory_mib": 96,
            "nics": {"lan": {"network": "lab"}, "own": {"network": "idle"}},
            "boot": {
                "kernel": files.kernel(), "initrd": files.initrd(),
                "cmdline": "console=ttyS0 quiet no_timer_check guest.network=all",
            },
            "cloud_init": {"user_data": format!("#cloud-config\nssh_authorized_keys:\n  - {}\n", operator.public)},
            "ready": {"wait": "address"},
            "shutdown": {"mode": "force"},
        },
    })
}

/// A claim of two machines that can be used.
struct Pair {
    id: String,
    secret: String,
    /// By each machine's name: how it is reached, and its address among the claim's own.
    machines: Vec<(String, String, String)>,
}

#[track_caller]
fn redeemed(daemon: &Daemon, code: &str, user: &str) -> Pair {
    let got = daemon.redeem(code, user, &[]);
    let id = got["claim"]["id"].as_str().unwrap().to_owned();
    let secret = got["secret"].as_str().unwrap().to_owned();
    let shown = until("a claim that is ready", SOON, || {
        let ended = daemon.cli(&secret, &["claim", "show", &id, "-o", "json"]);
        let shown: Value = serde_json::from_str(&ended.successful().unwrap().stdout).unwrap();
        Ok(match shown["phase"] == "ready" {
            true => Look::Holds(shown),
            false => Look::NotYet(shown["phase"].to_string()),
        })
    });
    let shown = shown.unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{shown}")).to_owned();
    let machines = shown["machines"].as_array().unwrap().iter().map(|machine| {
        let all = machine["addresses"].as_array().unwrap();
        (text(&machine["name"]), text(&all[0]), text(all.last().unwrap()))
    });
    Pair {
        machines: machines.collect(),
        id,
        secret,
    }
}

#[track_caller]
fn released(daemon: &Daemon, pair: &Pair) {
    daemon
        .cli(&pair.secret, &["claim", "release", &pair.id, "-o", "json"])
        .successful()
        .unwrap();
}

/// How many machines are free.
fn free(daemon: &Daemon) -> u64 {
    let pool = daemon.json(&["pool", "show", "pair"]);
    pool["pool"]["counts"]["free"].as_u64().unwrap()
}

/// The names of the claims' networks on the host.
fn networks(host: &Host) -> Vec<String> {
    let all = host.virsh(&["net-list", "--all", "--name"]).unwrap();
    let of_claims = all.lines().filter(|name| name.contains("claim-"));
    of_claims.map(|name| name.trim().to_owned()).collect()
}

/// Whether a card of a machine is on that network, in what runs and in its definition.
#[track_caller]
fn assert_on(host: &Host, machine: &str, network: &str) {
    for which in [&["domiflist", machine][..], &["domiflist", machine, "--inactive"]] {
        let cards = host.virsh(which).unwrap();
        assert!(cards.contains(network), "{which:?}: {cards}");
    }
}

#[test]
fn the_machines_of_a_claim_reach_one_another_on_a_network_that_nobody_else_is_on() {
    let host = Host::start().unwrap();
    let empty = host.inventory().unwrap();
    let terraform = Terraform::new().unwrap();
    let idle = hcl::resource("labyard_network", "idle", "mode = \"isolated\"");
    terraform.applied(&(hcl::on(&host) + &hcl::network("lab", 92) + &idle));
    let kernel = GuestFiles::get().kernel();
    let daemon = Daemon::alone(&format!(
        "host_directories = [{:?}]\n[hosts.lab1]\nlibvirt = {{ uri = {:?}, accelerator = \"qemu\" }}\n",
        kernel.parent().unwrap(),
        host.uri()
    ));
    let operator = KeyPair::generate().unwrap();
    daemon.put("/v1/pools/pair", &pool(&operator));
    comes("four free machines", LONG, || free(&daemon) == 4);
    let made = daemon.json(&["code", "create", "class", "--pool", "pair=2"]);
    let code = made["values"]["main"]
        .as_str()
        .unwrap_or_else(|| panic!("{made}"));

    let ada = redeemed(&daemon, code, "ada");
    let ben = redeemed(&daemon, code, "ben");
    assert_eq!(networks(&host).len(), 2);
    let theirs = hcl::resource("labyard_network", "theirs", "mode = \"isolated\"");
    terraform.write("theirs.tf", &theirs).unwrap();
    let run = terraform
        .import("labyard_network.theirs", &networks(&host)[0])
        .unwrap();
    let said = run.expect_failure().text();
    assert!(said.contains("is the network of claim"), "{said}");
    terraform.write("theirs.tf", "").unwrap();
    let reaches = |pair: &Pair, to: &str| {
        let root = Guest::at(&host, &pair.machines[0].1, &operator);
        root.run(&format!("echo | nc -w 3 {to} 22 | head -c 4"))
            .unwrap_or_default()
    };
    for (one, other) in [(&ada, &ben), (&ben, &ada)] {
        let inner: Vec<Ipv4Addr> = one
            .machines
            .iter()
            .map(|(_, _, own)| own.parse().unwrap())
            .collect();
        assert!(
            inner.iter().all(|own| own.to_string().starts_with("10.78.0.")),
            "{inner:?}"
        );
        assert_eq!(
            reaches(one, &one.machines[1].2),
            "SSH-",
            "its claim's other machine"
        );
        for (_, outer, own) in &other.machines {
            assert_eq!(reaches(one, own), "", "another claim's, on its own network");
            assert_eq!(reaches(one, outer), "", "another claim's, on the pool's");
        }
        // Kept apart on the pool's network even from the claim's other machine.
        assert_eq!(reaches(one, &one.machines[1].1), "");
        for (name, _, _) in &one.machines {
            assert_on(&host, name, &format!("claim-{}", one.id));
        }
    }

    released(&daemon, &ada);
    comes("the first claim's network gone", LONG, || {
        networks(&host).len() == 1
    });
    comes("its machines free", LONG, || free(&daemon) == 2);
    for (name, _, _) in &ada.machines {
        assert_on(&host, name, "idle");
    }
    assert_eq!(reaches(&ben, &ben.machines[1].2), "SSH-", "another's stays");
    released(&daemon, &ben);
    comes("no network of a claim", LONG, || networks(&host).is_empty());
    comes("all machines free", LONG, || free(&daemon) == 4);
    daemon.delete("/v1/pools/pair");
    comes("no machine", LONG, || {
        host.virsh(&["list", "--all", "--name"])
            .unwrap()
            .trim()
            .is_empty()
    });
    drop(daemon);
    terraform.destroyed();
    host.assert_as(&empty);
}
