//! From nothing to an address: `terraform apply` of a machine, against `virsh start` of the same guest.

use crate::cycles::Verb;
use crate::figures::Figures;
use crate::subjects::{Programs, Subject, network, provider};
use labyard_acceptance_tests::assets::GuestFiles;
use labyard_acceptance_tests::error::Result;
use labyard_acceptance_tests::wait::{Look, until};
use labyard_acceptance_tests::{HarnessError, Host, Terraform};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::{Duration, Instant};

/// What was measured.
#[derive(Default, Serialize, Deserialize)]
pub struct Boots {
    /// Apply to address on a network of ours.
    pub apply_ours: Figures,
    /// `virsh start` to lease on the same network.
    pub start_ours: Figures,
    /// Apply to address on a network as libvirt makes it.
    pub apply_plain: Figures,
    /// `virsh start` to lease on such a network.
    pub start_plain: Figures,
}

const PLAIN: &str = "plain";
const PLAIN_NETWORK: &str = "<network><name>plain</name><forward mode='nat'/>\
    <ip address='10.99.0.1' netmask='255.255.255.0'><dhcp><range start='10.99.0.10' end='10.99.0.250'/></dhcp></ip>\
    </network>";
const BOOT: Duration = Duration::from_secs(120);
/// How exactly the moment of a lease is seen.
const PAUSE: Duration = Duration::from_millis(10);

/// Starts so many guests on each network, in each way, in turn.
pub fn measure(programs: &Programs, host: &Host, rounds: usize) -> Result<Boots> {
    let plain = host.observer()?;
    plain.connection().define_network_xml(PLAIN_NETWORK)?.create()?;
    let bench = Bench {
        host,
        terraform: programs.terraform(Subject::Labyard)?,
    };
    bench.configure(None)?;
    Verb::Apply.run(&bench.terraform)?;
    let mut boots = Boots::default();
    for round in 1..=rounds {
        eprintln!("guests, round {round} of {rounds}");
        bench.round(round, &mut boots)?;
    }
    Verb::Destroy.run(&bench.terraform)?;
    Ok(boots)
}

struct Bench<'h> {
    host: &'h Host,
    terraform: Terraform<'static>,
}

impl Bench<'_> {
    fn round(&self, round: usize, boots: &mut Boots) -> Result<()> {
        // A new name each time, so that no MAC has had a lease before.
        let name = format!("ours-{round}");
        self.configure(Some((&name, "labyard_network.lab.name")))?;
        boots.apply_ours.add(Verb::Apply.run(&self.terraform)?);
        self.host.virsh(&["destroy", &name])?;
        let mac = self.mac(&name)?;
        boots.start_ours.add(self.start(&name, &mac)?);

        let twin = format!("twin-{round}");
        let mac = format!("52:54:00:be:00:{round:02x}");
        let uuid = format!("5254be00-0000-4000-8000-{round:012x}");
        self.define_twin(&name, (&twin, &uuid, &mac))?;
        boots.start_plain.add(self.start(&twin, &mac)?);
        self.host.virsh(&["undefine", &twin])?;

        let name = format!("plain-{round}");
        self.configure(Some((&name, "\"plain\"")))?;
        // The machine before goes first, which is no part of what is measured.
        self.destroy_machine()?;
        boots.apply_plain.add(Verb::Apply.run(&self.terraform)?);
        self.destroy_machine()
    }

    fn destroy_machine(&self) -> Result<()> {
        let arguments = [
            "destroy",
            "-input=false",
            "-no-color",
            "-auto-approve",
            "-target=labyard_vm.guest",
        ];
        self.terraform.run(&arguments)?.expect_success();
        Ok(())
    }

    fn configure(&self, machine: Option<(&str, &str)>) -> Result<()> {
        let machine = machine.map_or_else(String::new, |(name, network)| machine_block(name, network));
        let text = format!("{}{}{machine}", provider(&self.host.uri()), network());
        self.terraform.write("main.tf", &text)
    }

    /// `virsh start` to a lease that is newer than what was there before; the guest is then powered off.
    fn start(&self, name: &str, mac: &str) -> Result<Duration> {
        let before = self.expiry(mac);
        let begun = Instant::now();
        self.host.virsh(&["start", name])?;
        while self.expiry(mac) <= before {
            if begun.elapsed() > BOOT {
                return Err(HarnessError::TooLate {
                    what: format!("lease of {name}"),
                    limit: BOOT,
                    last: "none".to_owned(),
                });
            }
            std::thread::sleep(PAUSE);
        }
        let took = begun.elapsed();
        self.host.virsh(&["destroy", name])?;
        Ok(took)
    }

    /// Until when the last lease of a MAC runs, as dnsmasq told libvirt; nothing is asked of the daemon, lest that
    /// slow down what is measured.
    fn expiry(&self, mac: &str) -> Option<i64> {
        let files = std::fs::read_dir(self.host.directory().join("lib/dnsmasq")).ok()?;
        let texts = files
            .flatten()
            .filter(|file| file.path().extension().is_some_and(|e| e == "status"));
        let leases = texts.filter_map(|file| serde_json::from_slice(&std::fs::read(file.path()).ok()?).ok());
        let all = leases.flat_map(|list: Vec<Value>| list);
        all.filter(|lease| lease["mac-address"] == mac)
            .filter_map(|lease| lease["expiry-time"].as_i64())
            .max()
    }

    fn mac(&self, name: &str) -> Result<String> {
        let addresses = self.host.virsh(&["domiflist", name])?;
        let mac = addresses
            .split_whitespace()
            .find(|word| word.len() == 17 && word.contains(':'));
        mac.map(str::to_owned).ok_or(HarnessError::Unreadable {
            what: "virsh domiflist".to_owned(),
            text: addresses,
        })
    }

    /// The same guest on the other network; it shares the disk of the first, which is off.
    fn define_twin(&self, name: &str, (twin, uuid, mac): (&str, &str, &str)) -> Result<()> {
        until(&format!("{name} off"), BOOT, || {
            let state = self.host.virsh(&["domstate", name])?;
            Ok(if state.trim() == "shut off" {
                Look::Holds(())
            } else {
                Look::NotYet(state)
            })
        })?;
        let xml = self.host.virsh(&["dumpxml", "--inactive", name])?;
        // The guest is told it too, and libvirt takes it from there where nothing else says it.
        let own = self.host.virsh(&["domuuid", name])?;
        let xml = without(&xml, "<metadata>", "</metadata>").replace(own.trim(), uuid);
        let xml = xml.replace(&format!("<name>{name}</name>"), &format!("<name>{twin}</name>"));
        let xml = xml.replace("<source network='lab'/>", &format!("<source network='{PLAIN}'/>"));
        let xml = xml.replace(&self.mac(name)?, mac);
        self.host.observer()?.connection().define_domain_xml(&xml)?;
        Ok(())
    }
}

fn machine_block(name: &str, network: &str) -> String {
    let guest = GuestFiles::get();
    format!(
        r#"
resource "labyard_vm" "guest" {{
  name       = {name:?}
  memory_mib = 128
  disks      = {{ root = {{ image = {{ source = "file:{}" }} }} }}
  nics       = {{ lan = {{ network = {network} }} }}
  boot       = {{ kernel = "{}", initrd = "{}", cmdline = "console=ttyS0 no_timer_check" }}
  shutdown   = {{ mode = "force" }}
}}
"#,
        guest.disk().display(),
        guest.kernel().display(),
        guest.initrd().display()
    )
}

/// The text without its first part from `begin` to `end`.
fn without(text: &str, begin: &str, end: &str) -> String {
    match (text.find(begin), text.find(end)) {
        (Some(from), Some(to)) if from < to => format!("{}{}", &text[..from], &text[to + end.len()..]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_cut_out_with_its_ends() {
        assert_eq!(without("<a><u>1</u></a>", "<u>", "</u>"), "<a></a>");
        assert_eq!(without("<a/>", "<u>", "</u>"), "<a/>");
    }
}
