//! A host on a bench: a clock of hand, a drive in a directory of its own, and the calls that every test needs.

use std::time::Duration;

use crate::cim::{Instance, Path, Value};
use crate::contract::{Model, Parameters, WmiFault};

use super::Host;
use super::add::{EPASD, RASD, SASD, SYNTHETIC};
use super::paths::{self, V2, system};
use super::row::Row;
use super::setup::{HandClock, Setup};
use super::store::{self, text};
use super::switches::SWITCH;
use crate::schema::{Build, Schema};

/// The class of machines' own settings.
pub(crate) const VSSD: &str = "Msvm_VirtualSystemSettingData";

/// A host under test.
pub(crate) struct Bench {
    pub(crate) host: Host,
    pub(crate) clock: HandClock,
    pub(crate) drive: tempfile::TempDir,
}

/// How a call ended, its job included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done.
    Well,
    /// Refused by its ReturnValue.
    Refused(u32),
    /// Its job ended in this state with this ErrorCode.
    Failed(u64, u64),
}

/// Inputs of a call.
pub(crate) fn inputs(all: &[(&str, Value)]) -> Parameters {
    all.iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

/// An instance as a value.
pub(crate) fn instance(row: Row) -> Value {
    Value::Instance(Box::new(row.done()))
}

/// A reference to a setting as a value.
pub(crate) fn to(class: &str, id: &str) -> Value {
    Value::Reference(paths::setting(class, id))
}

/// The ReturnValue of an answer.
pub(crate) fn code(answer: &Parameters) -> u32 {
    let code = answer
        .get("ReturnValue")
        .and_then(Value::as_unsigned)
        .expect("a ReturnValue");
    u32::try_from(code).expect("32 bits")
}

/// What a method gave is what real servers say that it gives, by name and by type.
fn fits(object: &Path, method: &str, answer: &Parameters) {
    let namespace = Schema::of(Build::Server23h2)
        .namespace(&object.namespace)
        .expect("the namespace");
    let class = namespace.class(&object.class).expect("the class");
    let known = class
        .method(method)
        .unwrap_or_else(|| panic!("{} has no {method}", object.class));
    for (name, value) in answer {
        let right = if name == "ReturnValue" {
            known.returns.is_some()
        } else {
            known
                .output
                .iter()
                .any(|member| member.name == *name && member.admits(value))
        };
        assert!(right, "{}.{method} gives {name}: {value:?}", object.class);
        for inner in value.each() {
            if let Value::Instance(inner) = inner {
                let class = namespace.class(&inner.class).expect("a class of the schema");
                for (name, value) in inner.properties() {
                    let right = class.property(name).is_some_and(|member| member.admits(value));
                    assert!(
                        right,
                        "{}.{method} gives {}.{name}: {value:?}",
                        object.class, inner.class
                    );
                }
            }
        }
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let drive = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(drive.path().join("lab")).expect("a folder");
        let clock = HandClock::new();
        let mut setup = Setup::server(drive.path()).with_clock(&clock);
        change(&mut setup);
        Self {
            host: Host::new(setup),
            clock,
            drive,
        }
    }

    pub(crate) fn pass(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }

    pub(crate) fn try_call(
        &mut self,
        object: &Path,
        method: &str,
        input: &[(&str, Value)],
    ) -> Result<Parameters, WmiFault> {
        let answer = self.host.invoke(object, method, &inputs(input))?;
        fits(object, method, &answer);
        Ok(answer)
    }

    pub(crate) fn call(&mut self, object: &Path, method: &str, input: &[(&str, Value)]) -> Parameters {
        let answer = self.try_call(object, method, input);
        answer.unwrap_or_else(|fault| panic!("{method}: {fault:?}, {:?}", self.host.refusals().last()))
    }

    pub(crate) fn service(class: &str) -> Path {
        paths::path(class, &[("CreationClassName", class)])
    }

    /// Calls a method of the management service.
    pub(crate) fn vsms(&mut self, method: &str, input: &[(&str, Value)]) -> Parameters {
        self.call(
            &Self::service("Msvm_VirtualSystemManagementService"),
            method,
            input,
        )
    }

    /// The same, to its end.
    pub(crate) fn manage(&mut self, method: &str, input: &[(&str, Value)]) -> Outcome {
        let answer = self.vsms(method, input);
        self.end(&answer)
    }

    /// Calls a method of the image service, to its end.
    pub(crate) fn image(&mut self, method: &str, input: &[(&str, Value)]) -> Outcome {
        let answer = self.call(&Self::service("Msvm_ImageManagementService"), method, input);
        self.end(&answer)
    }

    /// Calls a method of the snapshot service, to its end.
    pub(crate) fn checkpoint(&mut self, method: &str, input: &[(&str, Value)]) -> Outcome {
        let answer = self.call(&Self::service("Msvm_VirtualSystemSnapshotService"), method, input);
        self.end(&answer)
    }

    /// Calls a method of the switch service, to its end.
    pub(crate) fn switching(&mut self, method: &str, input: &[(&str, Value)]) -> Outcome {
        let answer = self.call(
            &Self::service("Msvm_VirtualEthernetSwitchManagementService"),
            method,
            input,
        );
        self.end(&answer)
    }

    /// The job of an answer.
    pub(crate) fn job(&self, answer: &Parameters) -> Option<Instance> {
        let Some(Value::Reference(path)) = answer.get("Job") else {
            panic!("no job in {answer:?}");
        };
        self.find(&path.class, paths::key(path, "InstanceID").expect("its id"))
    }

    /// How a call ended; waits for its job by pushing the clock.
    pub(crate) fn end(&self, answer: &Parameters) -> Outcome {
        match code(answer) {
            0 => return Outcome::Well,
            4096 => {}
            other => return Outcome::Refused(other),
        }
        for _ in 0..2000 {
            let job = self.job(answer).expect("its job");
            let (state, error) = (store::number(&job, "JobState"), store::number(&job, "ErrorCode"));
            match state {
                7 if error == 0 => return Outcome::Well,
                7 | 10 => return Outcome::Failed(state, error),
                _ => self.pass(10),
            }
            if store::number(&job, "PercentComplete") == 99 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        panic!("the job does not end")
    }

    pub(crate) fn rows(&self, class: &str) -> Vec<Instance> {
        self.host.instances(V2, class).expect("rows")
    }

    pub(crate) fn find(&self, class: &str, id: &str) -> Option<Instance> {
        self.rows(class)
            .into_iter()
            .find(|row| store::id(row).eq_ignore_ascii_case(id))
    }

    pub(crate) fn get(&self, class: &str, id: &str) -> Instance {
        self.find(class, id).unwrap_or_else(|| panic!("no {class} {id}"))
    }

    /// The one row of a class that a machine or checkpoint has.
    pub(crate) fn own(&self, machine: &str, class: &str) -> Instance {
        let rows = self.host.settings_of(machine, class);
        assert_eq!(rows.len(), 1, "{class} of {machine}");
        rows[0].clone()
    }

    pub(crate) fn vssd(&self, machine: &str) -> Instance {
        self.get(VSSD, &format!("Microsoft:{machine}"))
    }

    pub(crate) fn state(&self, machine: &str) -> u64 {
        let row = self
            .rows("Msvm_ComputerSystem")
            .into_iter()
            .find(|row| text(row, "Name") == machine);
        store::number(&row.expect("the machine"), "EnabledState")
    }

    /// A machine of ours: its GUID.
    pub(crate) fn machine(&mut self, name: &str, generation: u8) -> String {
        let setting = Row::of(VSSD)
            .text("ElementName", name)
            .text("ConfigurationDataRoot", r"D:\lab")
            .text(
                "VirtualSystemSubType",
                format!("Microsoft:Hyper-V:SubType:{generation}"),
            );
        let answer = self.vsms("DefineSystem", &[("SystemSettings", instance(setting))]);
        assert_eq!(self.end(&answer), Outcome::Well);
        let Some(Value::Reference(path)) = answer.get("ResultingSystem") else {
            panic!("no system in {answer:?}");
        };
        paths::key(path, "Name").expect("its name").to_owned()
    }

    /// AddResourceSettings.
    pub(crate) fn add(&mut self, machine: &str, row: Row) -> Parameters {
        let settings = Value::Array(vec![instance(row)]);
        let input = [
            ("AffectedConfiguration", to(VSSD, &format!("Microsoft:{machine}"))),
            ("ResourceSettings", settings),
        ];
        self.vsms("AddResourceSettings", &input)
    }

    /// The same, to its end.
    pub(crate) fn adding(&mut self, machine: &str, row: Row) -> Outcome {
        let answer = self.add(machine, row);
        self.end(&answer)
    }

    /// The same, and it went well: the id of what was added.
    pub(crate) fn added(&mut self, machine: &str, row: Row) -> String {
        let answer = self.add(machine, row);
        assert_eq!(
            self.end(&answer),
            Outcome::Well,
            "{:?}",
            self.host.refusals().last()
        );
        let Some(Value::Array(all)) = answer.get("ResultingResourceSettings") else {
            panic!("nothing in {answer:?}");
        };
        let Value::Reference(path) = &all[0] else {
            panic!("no reference in {answer:?}");
        };
        paths::key(path, "InstanceID").expect("its id").to_owned()
    }

    /// ModifyResourceSettings of one setting, to its end.
    pub(crate) fn change(&mut self, row: Row) -> Outcome {
        self.manage(
            "ModifyResourceSettings",
            &[("ResourceSettings", Value::Array(vec![instance(row)]))],
        )
    }

    /// RemoveResourceSettings of one setting, to its end.
    pub(crate) fn remove(&mut self, class: &str, id: &str) -> Outcome {
        self.manage(
            "RemoveResourceSettings",
            &[("ResourceSettings", Value::Array(vec![to(class, id)]))],
        )
    }

    /// ModifySystemSettings, to its end.
    pub(crate) fn modify(&mut self, machine: &str, row: Row) -> Outcome {
        let row = row.text("InstanceID", format!("Microsoft:{machine}"));
        self.manage("ModifySystemSettings", &[("SystemSettings", instance(row))])
    }

    pub(crate) fn request(&mut self, machine: &str, state: u64) -> Outcome {
        let answer = self.ask(machine, state);
        self.end(&answer)
    }

    /// RequestStateChange.
    pub(crate) fn ask(&mut self, machine: &str, state: u64) -> Parameters {
        let path = system("Msvm_ComputerSystem", machine);
        self.call(
            &path,
            "RequestStateChange",
            &[("RequestedState", Value::Unsigned(state))],
        )
    }

    pub(crate) fn start(&mut self, machine: &str) {
        assert_eq!(
            self.request(machine, 2),
            Outcome::Well,
            "{:?}",
            self.host.refusals().last()
        );
        self.pass(1000);
        assert_eq!(self.state(machine), 2);
    }

    pub(crate) fn controller(&mut self, machine: &str) -> String {
        self.added(machine, controller())
    }

    /// A drive at a slot of a controller.
    pub(crate) fn drive(&mut self, machine: &str, controller: &str, slot: u8) -> String {
        self.added(machine, drive(controller, slot))
    }

    /// An empty disk on `D:`.
    pub(crate) fn disk(&mut self, file: &str) {
        let wanted = new_disk(file).number("MaxInternalSize", 64 << 20);
        let done = self.image(
            "CreateVirtualHardDisk",
            &[("VirtualDiskSettingData", instance(wanted))],
        );
        assert_eq!(done, Outcome::Well, "{:?}", self.host.refusals().last());
    }

    /// A machine of the second generation with a disk: machine, drive, medium.
    pub(crate) fn with_disk(&mut self, name: &str, file: &str) -> (String, String, String) {
        let id = self.machine(name, 2);
        self.disk(file);
        let controller = self.controller(&id);
        let drive = self.drive(&id, &controller, 0);
        let medium = self.added(&id, vhd(&drive, file));
        (id, drive, medium)
    }

    pub(crate) fn file_of(&self, medium: &str) -> String {
        store::first_text(&self.get(SASD, medium), "HostResource")
            .unwrap_or_default()
            .to_owned()
    }
}

/// The text of a path, without the host.
pub(crate) fn link(class: &str, id: &str) -> String {
    let doubled = id.replace('\\', r"\\");
    format!("root/virtualization/v2:{class}.InstanceID=\"{doubled}\"")
}

/// The text of a path of a switch.
pub(crate) fn switch_link(id: &str) -> String {
    format!("root/virtualization/v2:{SWITCH}.CreationClassName=\"{SWITCH}\",Name=\"{id}\"")
}

pub(crate) fn controller() -> Row {
    Row::of(RASD)
        .number("ResourceType", 6)
        .text("ResourceSubType", "Microsoft:Hyper-V:Synthetic SCSI Controller")
}

pub(crate) fn drive(controller: &str, slot: u8) -> Row {
    Row::of(RASD)
        .number("ResourceType", 17)
        .text("ResourceSubType", "Microsoft:Hyper-V:Synthetic Disk Drive")
        .text("Parent", link(RASD, controller))
        .text("AddressOnParent", slot.to_string())
}

pub(crate) fn dvd(controller: &str, slot: u8) -> Row {
    drive(controller, slot)
        .number("ResourceType", 16)
        .text("ResourceSubType", "Microsoft:Hyper-V:Synthetic DVD Drive")
}

pub(crate) fn vhd(drive: &str, file: &str) -> Row {
    Row::of(SASD)
        .number("ResourceType", 31)
        .text("ResourceSubType", "Microsoft:Hyper-V:Virtual Hard Disk")
        .text("Parent", link(RASD, drive))
        .texts("HostResource", [file])
}

pub(crate) fn iso(drive: &str, file: &str) -> Row {
    vhd(drive, file).text("ResourceSubType", "Microsoft:Hyper-V:Virtual CD/DVD Disk")
}

pub(crate) fn adapter(name: &str) -> Row {
    Row::of(SYNTHETIC)
        .number("ResourceType", 10)
        .text("ResourceSubType", "Microsoft:Hyper-V:Synthetic Ethernet Port")
        .text("ElementName", name)
}

pub(crate) fn connection(adapter: &str, switch: &str) -> Row {
    Row::of(EPASD)
        .number("ResourceType", 33)
        .text("ResourceSubType", "Microsoft:Hyper-V:Ethernet Connection")
        .text("Parent", link(SYNTHETIC, adapter))
        .texts("HostResource", [switch_link(switch)])
        .number("EnabledState", 2)
}

/// A dynamic VHDX of no size yet.
pub(crate) fn new_disk(file: &str) -> Row {
    Row::of("Msvm_VirtualHardDiskSettingData")
        .number("Type", 3)
        .number("Format", 3)
        .text("Path", file)
}
