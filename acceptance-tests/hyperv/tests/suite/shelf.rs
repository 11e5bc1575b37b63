//! A tiny model: a few machines, one service, NAT rows that come and go. It keeps to the schema and judges nothing.

use std::collections::BTreeMap;

use labyard_hyperv_double::cim::{Instance, Path, Value};
use labyard_hyperv_double::contract::{Model, Parameters, WmiFault};

pub(crate) const V2: &str = "root/virtualization/v2";
pub(crate) const NETWORK: &str = "root/standardcimv2";
pub(crate) const SERVICE: &str = "Msvm_VirtualSystemManagementService";

/// The GUID of the first machine.
pub(crate) const FIRST: &str = "5E0C11AA-0000-4000-8000-000000000001";

#[derive(Default)]
pub(crate) struct Shelf {
    machines: Vec<Instance>,
    nats: Vec<Instance>,
    /// What DefineSystem was given last: shown as the description of the service.
    defined: Option<Instance>,
}

impl Shelf {
    /// With so many machines beside the host itself.
    pub(crate) fn of(machines: usize) -> Self {
        let mut shelf = Self::default();
        shelf.machines.push(machine("HV7", "HV7"));
        for number in 1..=machines {
            let id = format!("5E0C11AA-0000-4000-8000-{number:012}");
            shelf.machines.push(machine(&id, &format!("web-{number:02}")));
        }
        shelf
    }
}

fn machine(id: &str, name: &str) -> Instance {
    let mut row = Instance::of(V2, "Msvm_ComputerSystem");
    row.set("CreationClassName", Value::text("Msvm_ComputerSystem"))
        .set("Name", Value::text(id))
        .set("ElementName", Value::text(name))
        .set("EnabledState", Value::Unsigned(3))
        .set(
            "OperationalStatus",
            Value::Array(vec![Value::Unsigned(2), Value::Unsigned(5)]),
        )
        .set("Roles", Value::Array(Vec::new()))
        .set("OnTimeInMilliseconds", Value::Unsigned(0))
        .set("TimeOfLastStateChange", Value::text("20261008151536.684240+000"))
        .set("InstallDate", Value::text("16010101000000.000000+000"));
    row
}

fn service(defined: Option<&Instance>) -> Instance {
    let mut row = Instance::of(V2, SERVICE);
    row.set("CreationClassName", Value::text(SERVICE))
        .set("Name", Value::text("vmms"))
        .set("SystemCreationClassName", Value::text("Msvm_ComputerSystem"))
        .set("SystemName", Value::text("HV7"))
        .set("Started", Value::Boolean(true));
    if let Some(notes) = defined.map(|settings| settings.get("Notes")) {
        row.set(
            "Description",
            notes.each().first().cloned().unwrap_or(Value::Null),
        );
    }
    row
}

fn returned(number: u64) -> Parameters {
    [("ReturnValue".to_owned(), Value::Unsigned(number))].into()
}

impl Model for Shelf {
    fn instances(&self, namespace: &str, class: &str) -> Result<Vec<Instance>, WmiFault> {
        match (namespace, class) {
            ("root/microsoft/windows/hgs", _) => Err(WmiFault::INVALID_NAMESPACE),
            (V2, "Msvm_ComputerSystem") => Ok(self.machines.clone()),
            (V2, SERVICE) => Ok(vec![service(self.defined.as_ref())]),
            (V2, "Msvm_TPM") => {
                // What no class has: a model that is wrong.
                let mut wrong = Instance::of(V2, "Msvm_TPM");
                wrong.set("Colour", Value::text("green"));
                Ok(vec![wrong])
            }
            (NETWORK, "MSFT_NetNat") => Ok(self.nats.clone()),
            _ => Ok(Vec::new()),
        }
    }

    fn associated(
        &self,
        of: &Path,
        association: Option<&str>,
        result: Option<&str>,
    ) -> Result<Vec<Instance>, WmiFault> {
        if association != Some("Msvm_SettingsDefineState") || result != Some("Msvm_VirtualSystemSettingData")
        {
            return Ok(Vec::new());
        }
        let mut settings = Instance::of(V2, "Msvm_VirtualSystemSettingData");
        settings
            .set(
                "InstanceID",
                Value::text(format!("Microsoft:{}", of.keys["Name"])),
            )
            .set(
                "AutomaticStartupActionDelay",
                Value::text("00000000004500.000000:000"),
            );
        Ok(vec![settings])
    }

    fn invoke(&mut self, object: &Path, method: &str, input: &Parameters) -> Result<Parameters, WmiFault> {
        match method {
            "RequestStateChange" => {
                let Some(Value::Unsigned(state)) = input.get("RequestedState") else {
                    return Ok(returned(32773));
                };
                let wanted = &object.keys["Name"];
                let found = self.machines.iter_mut().find(|row| {
                    row.get("Name")
                        .as_text()
                        .is_some_and(|name| name.eq_ignore_ascii_case(wanted))
                });
                found
                    .ok_or(WmiFault::NOT_FOUND)?
                    .set("EnabledState", Value::Unsigned(*state));
                Ok(returned(0))
            }
            "DefineSystem" => {
                let Some(Value::Instance(settings)) = input.get("SystemSettings") else {
                    return Ok(returned(32773));
                };
                let id = format!("5E0C11AA-0000-4000-8000-{:012}", self.machines.len());
                let name = settings.get("ElementName").as_text().unwrap_or_default();
                self.machines.push(machine(&id, name));
                self.defined = Some(*settings.clone());
                let path = Path {
                    namespace: V2.to_owned(),
                    class: "Msvm_ComputerSystem".to_owned(),
                    keys: BTreeMap::from([
                        ("CreationClassName".to_owned(), "Msvm_ComputerSystem".to_owned()),
                        ("Name".to_owned(), id),
                    ]),
                };
                let mut output = returned(0);
                output.insert("ResultingSystem".to_owned(), Value::Reference(path));
                Ok(output)
            }
            "DestroySystem" => {
                let Some(Value::Reference(path)) = input.get("AffectedSystem") else {
                    return Ok(returned(32773));
                };
                let before = self.machines.len();
                self.machines
                    .retain(|row| row.get("Name").as_text() != Some(path.keys["Name"].as_str()));
                Ok(returned(if self.machines.len() < before { 0 } else { 32773 }))
            }
            "AddKvpItems" => Ok(returned(input["DataItems"].each().len() as u64)),
            _ => Err(WmiFault::NOT_SUPPORTED),
        }
    }

    fn create(&mut self, mut instance: Instance) -> Result<Path, WmiFault> {
        if instance.class != "MSFT_NetNat" {
            return Err(WmiFault::NOT_SUPPORTED);
        }
        let id = format!("{};0", instance.get("Name").as_text().unwrap_or_default());
        instance
            .set("InstanceID", Value::text(&id))
            .set("Active", Value::Unsigned(1));
        self.nats.push(instance);
        Ok(Path {
            namespace: NETWORK.to_owned(),
            class: "MSFT_NetNat".to_owned(),
            keys: BTreeMap::from([("InstanceID".to_owned(), id)]),
        })
    }

    fn put(&mut self, object: &Path, changes: &Instance) -> Result<Instance, WmiFault> {
        let wanted = object.keys["InstanceID"].as_str();
        let mut all = self.nats.iter_mut();
        let found = all.find(|row| row.get("InstanceID").as_text() == Some(wanted));
        let found = found.ok_or(WmiFault::NOT_FOUND)?;
        for (name, value) in changes.properties() {
            found.set(name, value.clone());
        }
        Ok(found.clone())
    }

    fn delete(&mut self, object: &Path) -> Result<(), WmiFault> {
        self.nats.retain(|row| {
            row.get("InstanceID").as_text() != object.keys.get("InstanceID").map(String::as_str)
        });
        Ok(())
    }
}
