//! What leads from object to object: machines and their settings, settings and their parts, jobs and what they made.

use crate::cim::{Instance, Path, Value};

use super::add::{BOOT, EPASD};
use super::paths::{self, key};
use super::row::Row;
use super::state::State;
use super::store::{self, text};
use super::switches;

const VSSD: &str = "Msvm_VirtualSystemSettingData";

/// An association from an object to another.
struct Link(&'static str, Instance);

impl State {
    /// All that an object is associated with.
    fn links(&self, of: &Path) -> Vec<Link> {
        let mut links = Vec::new();
        let class = of.class.as_str();
        if class.eq_ignore_ascii_case("Msvm_ComputerSystem") {
            self.links_of_machine(key(of, "Name").unwrap_or_default(), &mut links);
        } else if class.eq_ignore_ascii_case(switches::SWITCH) {
            let id = format!("Microsoft:{}", key(of, "Name").unwrap_or_default());
            links.extend(
                self.store
                    .get(&id)
                    .map(|row| Link("Msvm_SettingsDefineState", row.clone())),
            );
        } else if class.ends_with("Job") {
            for made in self.jobs.affected(self.now, self.setup.pace.removal) {
                if let (Value::Reference(job), Value::Reference(element)) =
                    (made.get("AffectingElement"), made.get("AffectedElement"))
                    && key(job, "InstanceID") == key(of, "InstanceID")
                {
                    links.extend(self.find(element).map(|row| Link("Msvm_AffectedJobElement", row)));
                }
            }
        } else if class.eq_ignore_ascii_case("Msvm_VirtualSystemManagementService") {
            let rows = self
                .service_rows("Msvm_VirtualSystemManagementServiceSettingData")
                .unwrap_or_default();
            links.extend(rows.into_iter().map(|row| Link("Msvm_ElementSettingData", row)));
        } else if let Some(row) = key(of, "InstanceID").and_then(|id| self.store.get(id)) {
            self.links_of_setting(row, &mut links);
        }
        links
    }

    fn links_of_machine(&self, name: &str, links: &mut Vec<Link>) {
        let Some(machine) = self.machine(name) else {
            return;
        };
        let id = machine.id.clone();
        let current = self.vssd(&id).cloned();
        links.extend(super::snapshots::of(self, &id).iter().filter_map(|snapshot| {
            let row = self.store.get(&format!("Microsoft:{snapshot}"))?;
            Some(Link("Msvm_SnapshotOfVirtualSystem", row.clone()))
        }));
        if let Some(current) = current {
            if let Ok(parent) = self.setting_by_text(text(&current, "Parent")) {
                links.push(Link("Msvm_MostCurrentSnapshotInBranch", parent.clone()));
            }
            links.push(Link("Msvm_SettingsDefineState", current));
        }
        for (component, ..) in super::content::COMPONENTS {
            let own = self
                .components(component)
                .into_iter()
                .filter(|row| text(row, "SystemName") == id);
            links.extend(own.map(|row| Link("Msvm_SystemDevice", row)));
        }
        for job in ["Msvm_ConcreteJob", "Msvm_StorageJob"] {
            let made = self.jobs.affected(self.now, self.setup.pace.removal);
            for row in self.jobs.rows(job, self.now, self.setup.pace.removal) {
                let affects = made.iter().any(|made| {
                    matches!((made.get("AffectedElement"), made.get("AffectingElement")),
                        (Value::Reference(element), Value::Reference(by))
                            if key(element, "Name") == Some(&id) && key(by, "InstanceID") == Some(store::id(&row)))
                });
                if affects {
                    links.push(Link("Msvm_AffectedJobElement", row));
                }
            }
        }
    }

    fn links_of_setting(&self, row: &Instance, links: &mut Vec<Link>) {
        let id = store::id(row).to_owned();
        let owner = paths::owner(&id).to_owned();
        let whole = owner.len() == id.len();
        let switch = row.class == switches::SETTING;
        let part = if switch || self.switches.contains_key(&paths::guid(&owner).to_uppercase()) {
            "Msvm_VirtualEthernetSwitchSettingDataComponent"
        } else {
            "Msvm_VirtualSystemSettingDataComponent"
        };
        if whole && (switch || row.class == VSSD) {
            if text(row, "VirtualSystemType").ends_with("Realized") || switch {
                let machine = self
                    .machine(paths::guid(&owner))
                    .map(|machine| self.system_row(machine));
                let switch = self
                    .switch_rows()
                    .into_iter()
                    .find(|row| text(row, "Name") == paths::guid(&owner));
                links.extend(
                    machine
                        .or(switch)
                        .map(|row| Link("Msvm_SettingsDefineState", row)),
                );
            }
            let parts = self.store.owned(&owner).into_iter().filter(|part| {
                store::id(part) != id
                    && part.class != BOOT
                    && !part.class.starts_with("Msvm_EthernetSwitchPort")
            });
            links.extend(parts.map(|row| Link(part, row.clone())));
            return;
        }
        links.extend(self.store.get(&owner).map(|row| Link(part, row.clone())));
        let below = format!("{id}\\").to_uppercase();
        for child in self.store.owned(&owner) {
            if !store::id(child).to_uppercase().starts_with(&below) {
                continue;
            }
            if row.class == EPASD && child.class.starts_with("Msvm_EthernetSwitchPort") {
                links.push(Link("Msvm_EthernetPortSettingDataComponent", child.clone()));
            } else if child.class == BOOT && store::id(child).len() == id.len() + 2 {
                links.push(Link("Msvm_LogicalIdentity", child.clone()));
            }
        }
    }

    /// What an association leads to from an object.
    pub(crate) fn associated(
        &self,
        of: &Path,
        association: Option<&str>,
        result: Option<&str>,
    ) -> Vec<Instance> {
        self.links(of)
            .into_iter()
            .filter(|Link(name, row)| {
                association.is_none_or(|wanted| wanted.eq_ignore_ascii_case(name))
                    && result.is_none_or(|wanted| wanted.eq_ignore_ascii_case(&row.class))
            })
            .map(|Link(_, row)| row)
            .collect()
    }

    /// The rows of a class of associations.
    pub(crate) fn association_rows(&self, class: &str) -> Option<Vec<Instance>> {
        let (name, from, to) = match class.to_ascii_lowercase().as_str() {
            "msvm_affectedjobelement" => return Some(self.jobs.affected(self.now, self.setup.pace.removal)),
            "msvm_settingsdefinestate" => ("Msvm_SettingsDefineState", "ManagedElement", "SettingData"),
            "msvm_snapshotofvirtualsystem" => ("Msvm_SnapshotOfVirtualSystem", "Antecedent", "Dependent"),
            "msvm_mostcurrentsnapshotinbranch" => {
                ("Msvm_MostCurrentSnapshotInBranch", "Antecedent", "Dependent")
            }
            "msvm_systemdevice" => ("Msvm_SystemDevice", "GroupComponent", "PartComponent"),
            "msvm_virtualsystemsettingdatacomponent" => (
                "Msvm_VirtualSystemSettingDataComponent",
                "GroupComponent",
                "PartComponent",
            ),
            _ => return None,
        };
        let sources: Vec<Path> = if name == "Msvm_VirtualSystemSettingDataComponent" {
            let all = self.store.of_class(VSSD);
            all.iter()
                .map(|row| paths::setting(VSSD, store::id(row)))
                .collect()
        } else {
            self.machines
                .values()
                .map(|machine| paths::system("Msvm_ComputerSystem", &machine.id))
                .collect()
        };
        let mut rows = Vec::new();
        for source in sources {
            for Link(_, target) in self
                .links(&source)
                .into_iter()
                .filter(|Link(found, _)| *found == name)
            {
                let to_path = path_of(&target);
                rows.push(
                    Row::of(name)
                        .reference(from, source.clone())
                        .reference(to, to_path)
                        .done(),
                );
            }
        }
        Some(rows)
    }
}

/// Where a row is, by the keys of its class.
pub(crate) fn path_of(row: &Instance) -> Path {
    let device = [
        "SystemCreationClassName",
        "SystemName",
        "CreationClassName",
        "DeviceID",
    ];
    let keys: &[&str] = if !row.get("DeviceID").is_null() {
        &device
    } else if row.get("InstanceID").is_null() {
        &["CreationClassName", "Name"]
    } else {
        &["InstanceID"]
    };
    Path {
        namespace: row.namespace.clone(),
        class: row.class.clone(),
        keys: keys
            .iter()
            .map(|name| ((*name).to_owned(), text(row, name).to_owned()))
            .collect(),
    }
}
