//! A host of a test's own with a working directory of Terraform's: what most tests set.

use crate::hcl;
use crate::host::Host;
use crate::inventory::Inventory;
use crate::observer::{Description, Observer};
use crate::terraform::{Plan, Run, Terraform};

/// The host, the same host as others see it, Terraform, and what stood on the host at first.
#[derive(Debug)]
pub struct Scene {
    /// The host.
    pub host: Host,
    /// The host through libvirt's C library.
    pub observer: Observer,
    /// Terraform, which reaches that host as `lab1`.
    pub terraform: Terraform<'static>,
    /// What stood on the host before the test.
    pub empty: Inventory,
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

impl Scene {
    /// A host with nothing on it.
    ///
    /// # Panics
    /// Where there is no private host to be had.
    #[track_caller]
    pub fn new() -> Self {
        let host = Host::start().unwrap();
        Self {
            observer: host.observer().unwrap(),
            empty: host.inventory().unwrap(),
            terraform: Terraform::new().unwrap(),
            host,
        }
    }

    /// Plans resources on the host.
    #[track_caller]
    pub fn plan(&self, resources: &str) -> Plan {
        self.terraform.plan_of(&(hcl::on(&self.host) + resources))
    }

    /// Applies resources on the host: then there is nothing more to do.
    #[track_caller]
    pub fn apply(&self, resources: &str) -> Run {
        let run = self.terraform.applied(&(hcl::on(&self.host) + resources));
        self.terraform.assert_settled();
        run
    }

    /// A machine's definition.
    #[track_caller]
    pub fn definition(&self, name: &str) -> String {
        self.observer.domain_xml(name, Description::Persistent).unwrap()
    }

    /// A machine as it runs.
    #[track_caller]
    pub fn live(&self, name: &str) -> String {
        self.observer.domain_xml(name, Description::Live).unwrap()
    }

    /// Writes a machine's definition anew, changed by hand.
    #[track_caller]
    pub fn edit(&self, name: &str, change: impl FnOnce(&str) -> String) {
        let before = self.definition(name);
        let after = change(&before);
        assert_ne!(after, before, "nothing changed by hand");
        self.observer.connection().define_domain_xml(&after).unwrap();
    }

    /// Destroys everything: the host is as it was.
    #[track_caller]
    pub fn destroy(self) {
        self.terraform.destroyed();
        self.host.assert_as(&self.empty);
    }
}
