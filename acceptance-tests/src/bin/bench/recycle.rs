//! From the release of a claim to its machine free again: put back to its moment, against made anew. And from a code to
//! a shell: on a machine that runs, against one that is kept paused.

use crate::figures::Figures;
use crate::subjects::Programs;
use labyard_acceptance_tests::assets::GuestFiles;
use labyard_acceptance_tests::daemon::Daemon;
use labyard_acceptance_tests::error::Result;
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::wait::{Look, until};
use labyard_acceptance_tests::{Guest, Host};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const LONG: Duration = Duration::from_secs(300);
/// As networks of labyard's are. With the spanning tree that libvirt's have by themselves a card is deaf for three seconds after its
/// machine was put back, which would be measured as the way to a shell.
const NETWORK: &str = "<network><name>lab</name><forward mode='nat'/><bridge stp='off' delay='0'/>\
    <ip address='10.98.0.1' netmask='255.255.255.0'><dhcp><range start='10.98.0.10' end='10.98.0.250'/></dhcp></ip>\
    </network>";

/// What was measured.
#[derive(Default, Serialize, Deserialize)]
pub struct Recycled {
    /// Release to free, by reset.
    pub reset: Figures,
    /// Release to free, by another machine.
    pub recreate: Figures,
    /// Code to shell, on a machine that runs.
    pub running: Figures,
    /// Code to shell, on a machine that was kept paused.
    pub paused: Figures,
}

/// So many rounds of each, in turn; whoever comes next looks whether anything is left of who was there before.
pub fn measure(programs: &Programs, host: &Host, rounds: usize) -> Result<Recycled> {
    let observer = host.observer()?;
    observer.connection().define_network_xml(NETWORK)?.create()?;
    let lines = format!(
        "host_directories = [\"/\"]\n[hosts.lab1]\nlibvirt = {{ uri = {:?}, accelerator = \"qemu\" }}\n",
        host.uri()
    );
    let bench = Bench {
        host,
        daemon: Daemon::by(&programs.labyard(), &lines),
    };
    for recycle in ["reset", "recreate"] {
        bench.daemon.put(&format!("/v1/pools/{recycle}"), &pool(recycle));
        bench.daemon.put(
            &format!("/v1/codes/{recycle}"),
            &json!({"name": recycle, "pools": {recycle: {"count": 1}}, "code": code(recycle)}),
        );
        bench.until_free(recycle)?;
    }
    let mut recycled = Recycled::default();
    for round in 1..=rounds {
        eprintln!("recycle, round {round} of {rounds}");
        let (came, went) = bench.visit("reset", round, Kept::Running)?;
        recycled.running.add(came);
        recycled.reset.add(went);
        let (_, went) = bench.visit("recreate", round, Kept::Running)?;
        recycled.recreate.add(went);
        let (came, _) = bench.visit("reset", rounds + round, Kept::Paused)?;
        recycled.paused.add(came);
    }
    Ok(recycled)
}

/// How the machine waits for its claim.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Running,
    Paused,
}

struct Bench<'h> {
    host: &'h Host,
    daemon: Daemon,
}

impl Bench<'_> {
    /// Somebody comes, finds the machine as new, leaves something in it and goes; how long both took.
    fn visit(&self, pool: &str, round: usize, kept: Kept) -> Result<(Duration, Duration)> {
        if kept == Kept::Paused {
            let shown = self.daemon.json(&["pool", "show", pool]);
            let name = shown["machines"][0]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            self.host.virsh(&["suspend", &name])?;
        }
        let keys = KeyPair::generate()?;
        let user = format!("{pool}-{round}");
        let began = Instant::now();
        let public = self.daemon.directory().join("key.pub");
        std::fs::write(&public, &keys.public)
            .map_err(labyard_acceptance_tests::HarnessError::file("write a key"))?;
        let got = self
            .daemon
            .redeem(code(pool), &user, &["--ssh-key", &public.display().to_string()]);
        let id = text(&got["claim"]["id"]);
        let address = until("the claim is ready", LONG, || {
            let claim = self.daemon.json(&["claim", "show", &id]);
            Ok(match claim["phase"].as_str() {
                Some("ready") => Look::Holds(text(&claim["machines"][0]["addresses"][0])),
                _ => Look::NotYet(claim.to_string()),
            })
        })?;
        let guest = Guest::at(self.host, address, &keys).as_user("learner");
        guest.wait_for_ssh(LONG)?;
        let came = began.elapsed();
        assert_eq!(
            guest.run("ls work 2>/dev/null; true")?,
            "",
            "something is left of who was there before"
        );
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let clock: u64 = guest.run("date +%s")?.trim().parse().unwrap_or_default();
        assert!(
            clock.abs_diff(now) < 10,
            "its clock shows {clock}, and it is {now}"
        );
        guest.run("echo mine >work; sync")?;
        let began = Instant::now();
        self.daemon.json(&["claim", "release", &id]);
        self.until_free(pool)?;
        let went = began.elapsed();
        Ok((came, went))
    }

    fn until_free(&self, pool: &str) -> Result<()> {
        until(&format!("pool {pool} is filled"), LONG, || {
            let shown = self.daemon.json(&["pool", "show", pool]);
            Ok(match shown["pool"]["counts"]["free"].as_u64() {
                Some(1) => Look::Holds(()),
                _ => Look::NotYet(shown.to_string()),
            })
        })
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn code(pool: &str) -> &'static str {
    match pool {
        "reset" => "KJ4M-8ZQ2-7W3P-0N5T",
        _ => "ZQ28-KJ4M-0N5T-7W3P",
    }
}

fn pool(recycle: &str) -> Value {
    let files = GuestFiles::get();
    json!({
        "name": recycle, "ready": 1, "max": 1, "max_in_flight": 1, "recycle": recycle,
        "lease": {"default": "1h", "max": "2h"},
        "template": {
            "cpus": 1, "memory_mib": 128,
            "disks": {"data": {"size_gib": 1, "on_remove": "delete"}},
            "nics": {"lan": {"network": "lab"}},
            "boot": {
                "kernel": files.kernel(), "initrd": files.initrd(),
                "cmdline": "console=ttyS0 quiet no_timer_check",
            },
            "guest": {"admin_username": "learner"},
            "ready": {"wait": "agent"}, "shutdown": {"mode": "force"},
        },
    })
}
