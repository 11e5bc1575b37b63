//! What tests say again and again: a configuration planned, applied, settled, forgotten and taken up; where it is not so,
//! the test ends with all that was said.

use super::{Plan, Run, Terraform};
use serde_json::Value;

impl Terraform<'_> {
    /// Writes a configuration and plans it.
    #[track_caller]
    pub fn plan_of(&self, config: &str) -> Plan {
        self.write("main.tf", config).unwrap();
        self.plan(&[]).unwrap()
    }

    /// Writes a configuration and plans it, which succeeds.
    #[track_caller]
    pub fn planned(&self, config: &str) -> Plan {
        self.plan_of(config).expect_success()
    }

    /// Writes a configuration and applies it, which succeeds.
    #[track_caller]
    pub fn applied(&self, config: &str) -> Run {
        self.write("main.tf", config).unwrap();
        self.apply(&[]).unwrap().expect_success()
    }

    /// Neither a plan nor a refresh finds anything to do.
    #[track_caller]
    pub fn assert_settled(&self) {
        self.plan(&[]).unwrap().expect_empty();
        self.plan(&["-refresh-only"]).unwrap().expect_empty();
    }

    /// The attributes of a resource that the state has.
    #[track_caller]
    pub fn resource(&self, address: &str) -> Value {
        let found = self.attributes(address).unwrap();
        found.unwrap_or_else(|| panic!("no {address} in the state"))
    }

    /// Lets the state forget an object and take it up again by its id.
    #[track_caller]
    pub fn take_up(&self, address: &str, id: &str) {
        self.run(&["state", "rm", address]).unwrap().expect_success();
        self.import(address, id).unwrap().expect_success();
    }

    /// The same, and what is taken up is what the state had.
    #[track_caller]
    pub fn take_up_as_written(&self, address: &str, id: &str) {
        let before = self.resource(address);
        self.take_up(address, id);
        assert_eq!(self.resource(address), before, "{address} by {id}");
    }

    /// Destroys everything, which succeeds.
    #[track_caller]
    pub fn destroyed(&self) -> Run {
        self.destroy(&[]).unwrap().expect_success()
    }
}
