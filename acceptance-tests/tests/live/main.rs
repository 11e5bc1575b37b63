//! One guest that is never restarted takes every live change and is seen to have taken it; then a dozen restarts, one
//! for each change that only a start makes. Another one, with UEFI, takes those of its firmware. A guest that does not
//! answer is told of, and loses nothing.

mod changes;
mod restarts;
mod silent;
mod uefi;

use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::observer::Description;
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::terraform::{Plan, Terraform};
use labyard_acceptance_tests::wait::{Look, until};
use labyard_acceptance_tests::{Guest, Observer, hcl};
use serde_json::Value;
use std::time::Duration;

pub(crate) const SOON: Duration = Duration::from_secs(120);
pub(crate) const WEB: &str = "labyard_vm.web";

/// What a test sets of the machine `web`; the rest stays.
#[derive(Clone)]
pub(crate) struct Web {
    pub(crate) name: &'static str,
    pub(crate) hardware: String,
    pub(crate) boot: String,
    pub(crate) root: &'static str,
    pub(crate) disks: String,
    pub(crate) lan: &'static str,
    pub(crate) nics: String,
    pub(crate) words: String,
    pub(crate) more: &'static str,
}

pub(crate) struct Lab<'h> {
    pub(crate) host: &'h Host,
    pub(crate) terraform: &'h Terraform<'h>,
    pub(crate) observer: &'h Observer,
    pub(crate) guest: Guest<'h>,
    pub(crate) user_data: String,
    pub(crate) boot_id: String,
}

impl Web {
    pub(crate) fn config(&self, host: &Host, user_data: &str) -> String {
        let Self {
            name,
            hardware,
            boot,
            root,
            disks,
            lan,
            nics,
            words,
            more,
        } = self;
        let image = hcl::image();
        let machine = format!(
            "resource \"labyard_vm\" \"web\" {{\n  name = {name:?}\n  {hardware}\n  {boot}\n  {words}\n  {more}
  disks = {{ root = {{ image = {image}{root} }}, {disks} }}
  nics = {{ lan = {{ network = labyard_network.lab.name{lan} }}, {nics} }}
  cloud_init = {{ user_data = \"{user_data}\" }}\n}}\n"
        );
        let isolated = |name| hcl::resource("labyard_network", name, "mode = \"isolated\"");
        let bridge = "mode = \"bridge\"\n  bridge = \"br7\"";
        hcl::on(host)
            + &hcl::network("lab", 77)
            + &isolated("side")
            + &isolated("other")
            + &hcl::resource("labyard_network", "trunk", bridge)
            + &machine
    }
}

impl<'h> Lab<'h> {
    /// Makes the machine and waits for its guest.
    pub(crate) fn born(
        host: &'h Host,
        observer: &'h Observer,
        terraform: &'h Terraform<'h>,
        key: &KeyPair,
        web: &Web,
    ) -> Self {
        let user_data = hcl::user_data(&key.public);
        terraform.applied(&web.config(host, &user_data));
        let made = terraform.resource(WEB);
        let guest = Guest::at(host, made["ip"].as_str().unwrap(), key);
        guest.wait_for_ssh(SOON).unwrap();
        let boot_id = guest.boot_id().unwrap();
        terraform.assert_settled();
        Self {
            host,
            terraform,
            observer,
            guest,
            user_data,
            boot_id,
        }
    }

    #[track_caller]
    pub(crate) fn plan(&self, web: &Web) -> Plan {
        self.terraform.plan_of(&web.config(self.host, &self.user_data))
    }

    /// Planned without a word of a restart, done without one, and then there is nothing to do.
    #[track_caller]
    pub(crate) fn change(&self, web: &Web) {
        let plan = self.plan(web).expect_success();
        assert_no_restart(&plan);
        self.assert_in_place(&plan);
        self.settle();
    }

    /// What others may build on stays known.
    #[track_caller]
    pub(crate) fn assert_in_place(&self, plan: &Plan) {
        let before = plan.change(WEB)["before"].clone();
        assert_eq!(plan.actions(WEB), ["update"], "{}", plan.run().text());
        for attribute in ["/id", "/ip", "/host", "/macs/lan"] {
            assert_eq!(
                plan.known(WEB, attribute),
                before.pointer(attribute),
                "{attribute}"
            );
        }
    }

    #[track_caller]
    pub(crate) fn settle(&self) {
        self.terraform.apply(&[]).unwrap().expect_success();
        assert_eq!(
            self.guest.boot_id().unwrap(),
            self.boot_id,
            "the guest was restarted"
        );
        self.terraform.assert_settled();
    }

    pub(crate) fn mac(&self, key: &str) -> String {
        self.terraform.resource(WEB)["macs"][key]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(crate) fn live(&self, name: &str) -> String {
        self.observer.domain_xml(name, Description::Live).unwrap()
    }

    /// Waits until a command in the guest says what is wanted: a guest takes what it is given in its own time.
    #[track_caller]
    pub(crate) fn until_guest(&self, what: &str, command: &str, holds: impl Fn(&str) -> bool) {
        until(what, SOON, || {
            let seen = self.guest.run(command)?;
            Ok(if holds(seen.trim()) {
                Look::Holds(())
            } else {
                Look::NotYet(seen)
            })
        })
        .unwrap();
    }

    pub(crate) fn attributes(&self) -> Value {
        self.terraform.resource(WEB)
    }
}

#[track_caller]
pub(crate) fn assert_no_restart(plan: &Plan) {
    let warnings = plan.run().warnings();
    let quiet = warnings.iter().all(|one| !one.summary.contains("restart"));
    assert!(quiet, "{}", plan.run().text());
}

#[test]
fn one_guest_takes_all_live_changes_and_then_a_restart_for_each_other() {
    let host = &Host::start().unwrap();
    let observer = &host.observer().unwrap();
    let key = KeyPair::generate().unwrap();
    let terraform = &Terraform::new().unwrap();
    restarts::bridge(host);
    let empty = host.inventory().unwrap();
    let mut web = Web {
        name: "web",
        hardware: "cpus = 1\n  cpus_max = 3\n  memory_mib = 192\n  memory_max_mib = 256".into(),
        boot: hcl::boot(""),
        root: "",
        disks: String::new(),
        lan: "",
        nics: String::new(),
        words: changes::WORDS.into(),
        more: "allow_restart = false",
    };
    let mut lab = Lab::born(host, observer, terraform, &key, &web);
    let xml = lab.live("web");
    assert!(xml.contains("current='1'>3</vcpu>"), "{xml}");
    assert!(xml.contains("<memory unit='KiB'>262144</memory>"), "{xml}");
    shows(
        &["labyard_vm.cpus_max", "labyard_vm.memory_max_mib"],
        Case::Create,
    );

    changes::all(&lab, &mut web);
    restarts::all(&mut lab, &mut web);

    terraform.destroyed();
    host.assert_as(&empty);
}
