//! VSMS.AddResourceSettings: controllers, drives, media, adapters, connections, each with its rules.

use crate::cim::{Instance, Value};
use crate::contract::Parameters;

use super::codes::{INVALID_PARAMETER, INVALID_STATE, Input, NOT_SUPPORTED, Stop, stop};
use super::content::device;
use super::jobs::Plan;
use super::machine::Condition;
use super::paths;
use super::processors::over;
use super::row::Row;
use super::settings::normal;
use super::setup::Build;
use super::state::{State, needs_off};
use super::store::{self, first_text, number, text};
use super::systems;

/// The class of disks and images in drives.
pub(crate) const SASD: &str = "Msvm_StorageAllocationSettingData";
/// The class of controllers and drives.
pub(crate) const RASD: &str = "Msvm_ResourceAllocationSettingData";
/// The class of an adapter's connection.
pub(crate) const EPASD: &str = "Msvm_EthernetPortAllocationSettingData";
/// The class of adapters.
pub(crate) const SYNTHETIC: &str = "Msvm_SyntheticEthernetPortSettingData";
/// The class of adapters of the first generation.
pub(crate) const EMULATED: &str = "Msvm_EmulatedEthernetPortSettingData";
/// The class of what the firmware may start from.
pub(crate) const BOOT: &str = "Msvm_BootSourceSettingData";

/// An addition being judged: the machine, and the rows that the same call adds before.
struct Draft<'a> {
    state: &'a mut State,
    machine: String,
    condition: Condition,
    rows: Vec<Instance>,
}

/// VSMS.AddResourceSettings.
pub(crate) fn add(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let machine = systems::configuration(state, input.reference("AffectedConfiguration")?)?;
    let sent: Vec<Instance> = input
        .instances("ResourceSettings")?
        .into_iter()
        .cloned()
        .collect();
    let condition = state
        .machine(&machine)
        .map_or(Condition::Moving, |machine| machine.condition());
    let mut draft = Draft {
        state,
        machine: machine.clone(),
        condition,
        rows: Vec::new(),
    };
    let mut named = Vec::new();
    for one in &sent {
        let row = draft.one(one)?;
        named.push(Value::Reference(paths::setting(&row.class, store::id(&row))));
        draft.rows.push(row);
    }
    let rows = draft.rows;
    state.free(&machine)?;
    if condition == Condition::Saved {
        return stop(INVALID_STATE, "a saved machine keeps the devices that it has");
    }
    let mut plan = Plan::of(state, "AddResourceSettings", Some(&machine), {
        let machine = machine.clone();
        move |state| {
            for row in rows.iter().filter(|row| row.class == SASD) {
                state.check_medium(row, &machine)?;
            }
            for row in rows {
                insert(state, &machine, row);
            }
            Ok(())
        }
    });
    plan.output
        .insert("ResultingResourceSettings".to_owned(), Value::Array(named));
    state.begin(plan)
}

/// Puts a row in, with what the host makes of it by itself.
fn insert(state: &mut State, machine: &str, row: Instance) {
    let id = store::id(&row).to_owned();
    let bootable = match row.class.as_str() {
        RASD => matches!(number(&row, "ResourceType"), 16 | 17),
        SYNTHETIC => true,
        _ => false,
    };
    if bootable && state.generation(machine) == 2 {
        let adapter = row.class == SYNTHETIC;
        let source = format!(r"{id}\B");
        let (description, kind) = if adapter {
            ("EFI Network", 2)
        } else {
            ("EFI SCSI Device", 1)
        };
        state.store.put(
            Row::of(BOOT)
                .text("InstanceID", &source)
                .text("BootSourceDescription", description)
                .number("BootSourceType", kind)
                .text(
                    "FirmwareDevicePath",
                    format!(r"\AcpiEx(VMBus,0,0)\VenHw({})", &id[10..]),
                )
                .done(),
        );
        let path = state.path_text(BOOT, &source);
        if let Some(vssd) = state.store.get_mut(&format!("Microsoft:{machine}")) {
            let mut order = vssd.get("BootSourceOrder").each().to_vec();
            order.push(path);
            vssd.set("BootSourceOrder", Value::Array(order));
        }
    }
    state.affects(paths::setting(&row.class, &id), 5);
    state.store.put(row);
}

impl Draft<'_> {
    fn one(&mut self, sent: &Instance) -> Result<Instance, Stop> {
        let (kind, sub) = (number(sent, "ResourceType"), text(sent, "ResourceSubType"));
        let sub = sub.strip_prefix("Microsoft:Hyper-V:").unwrap_or("");
        match (sent.class.as_str(), kind, sub) {
            (RASD, 6, "Synthetic SCSI Controller") => self.controller(sent),
            (RASD, 17, "Synthetic Disk Drive") | (RASD, 16, "Synthetic DVD Drive") => self.drive(sent, kind),
            (SASD | RASD, 31, "Virtual Hard Disk") => self.medium(sent, 17),
            (SASD | RASD, 31, "Virtual CD/DVD Disk") => self.medium(sent, 16),
            (SASD | RASD, 31, "Virtual Floppy Disk") => self.medium(sent, 14),
            (SYNTHETIC, 10, "Synthetic Ethernet Port") | (EMULATED, 10, "Emulated Ethernet Port") => {
                self.adapter(sent)
            }
            (EPASD, 33, "Ethernet Connection") => self.connection(sent),
            (RASD, 17, "Physical Disk Drive") => {
                stop(NOT_SUPPORTED, "this host has no disks to pass through")
            }
            (class, kind, _) => stop(
                INVALID_PARAMETER,
                format!("nothing to add is {class} of type {kind} and subtype {sub:?}"),
            ),
        }
    }

    /// What the machine has and what this call adds.
    fn all(&self) -> Vec<&Instance> {
        let owner = format!("Microsoft:{}", self.machine);
        self.state
            .store
            .owned(&owner)
            .into_iter()
            .chain(&self.rows)
            .collect()
    }

    /// The row that `Parent` leads to: of this machine, and there before this call.
    fn parent(&self, sent: &Instance) -> Result<Instance, Stop> {
        let row = self.state.setting_by_text(text(sent, "Parent"))?;
        if paths::guid(paths::owner(store::id(row))).eq_ignore_ascii_case(&self.machine) {
            return Ok(row.clone());
        }
        stop(
            INVALID_PARAMETER,
            format!("the parent {} is not of this machine", store::id(row)),
        )
    }

    fn controller(&mut self, sent: &Instance) -> Result<Instance, Stop> {
        needs_off(self.condition, "a SCSI controller")?;
        if self
            .all()
            .into_iter()
            .filter(|row| is_controller(row) && number(row, "ResourceType") == 6)
            .count()
            >= 4
        {
            return stop(INVALID_PARAMETER, "a machine has four SCSI controllers at most");
        }
        let guid = self.state.setup.ids.next_guid();
        let id = format!(r"Microsoft:{}\{guid}\0", self.machine);
        let sub = "Microsoft:Hyper-V:Synthetic SCSI Controller";
        let row =
            device(&id, 6, sub, "SCSI Controller").texts("VirtualSystemIdentifiers", [format!("{{{guid}}}")]);
        Ok(over(&row.done(), sent))
    }

    fn drive(&mut self, sent: &Instance, kind: u64) -> Result<Instance, Stop> {
        let controller = self.parent(sent)?;
        if !is_controller(&controller) {
            return stop(
                INVALID_PARAMETER,
                format!("{} is no controller", store::id(&controller)),
            );
        }
        let ide = number(&controller, "ResourceType") == 5;
        if !ide && kind == 16 && self.state.generation(&self.machine) == 1 {
            return stop(INVALID_PARAMETER, "DVD drives of the first generation are IDE");
        }
        let slots = if ide { 2 } else { 64 };
        let slot = text(sent, "AddressOnParent")
            .parse::<u8>()
            .ok()
            .filter(|slot| *slot < slots);
        let Some(slot) = slot else {
            return stop(
                INVALID_PARAMETER,
                format!("no slot {:?}", sent.get("AddressOnParent")),
            );
        };
        let parent = store::id(&controller).to_owned();
        let taken = self.all().into_iter().any(|row| {
            text(row, "AddressOnParent") == slot.to_string()
                && self.state.parent_of(row) == parent.to_uppercase()
        });
        if taken {
            return stop(INVALID_PARAMETER, format!("slot {slot} is taken"));
        }
        if ide {
            needs_off(self.condition, "a drive on IDE")?;
        }
        let (name, sub) = if kind == 17 {
            ("Hard Drive", "Microsoft:Hyper-V:Synthetic Disk Drive")
        } else {
            ("DVD Drive", "Microsoft:Hyper-V:Synthetic DVD Drive")
        };
        let row = over(
            &device(&format!(r"{parent}\{slot}\D"), kind, sub, name).done(),
            sent,
        );
        Ok(self.with_paths(row))
    }

    fn medium(&mut self, sent: &Instance, drive_kind: u64) -> Result<Instance, Stop> {
        let drive = self.parent(sent)?;
        if drive.class != RASD || number(&drive, "ResourceType") != drive_kind {
            return stop(
                INVALID_PARAMETER,
                format!("{} is no drive for it", store::id(&drive)),
            );
        }
        let parent = store::id(&drive).to_owned();
        if self
            .all()
            .into_iter()
            .any(|row| self.state.parent_of(row) == parent.to_uppercase())
        {
            return stop(INVALID_PARAMETER, "there is something in the drive");
        }
        one_file(sent, drive_kind)?;
        if drive_kind == 17 && self.state.on_ide(&drive) {
            needs_off(self.condition, "a disk on IDE")?;
        }
        let id = format!("{}L", &parent[..parent.len() - 1]);
        let row = Row::of(SASD)
            .text("InstanceID", &id)
            .text("Caption", "Hard Disk Image")
            .text("ElementName", "Hard Disk Image")
            .number("Access", 3)
            .number("VirtualQuantity", 1)
            .text("VirtualQuantityUnits", "count")
            .number("IOPSLimit", 0)
            .number("IOPSReservation", 0)
            .flag("PersistentReservationsSupported", false)
            .flag("AutomaticAllocation", true)
            .done();
        Ok(self.with_paths(over(&row, sent)))
    }

    fn adapter(&mut self, sent: &Instance) -> Result<Instance, Stop> {
        let emulated = sent.class == EMULATED;
        let generation = self.state.generation(&self.machine);
        if emulated && generation == 2 {
            return stop(INVALID_PARAMETER, "the second generation has no emulated adapter");
        }
        let live = !emulated && generation == 2 && self.state.setup.build >= Build::SERVER_2016;
        if !live {
            needs_off(self.condition, "an adapter of this machine")?;
        }
        let most = if emulated { 4 } else { 8 };
        if self
            .all()
            .into_iter()
            .filter(|row| row.class == sent.class)
            .count()
            >= most
        {
            return stop(INVALID_PARAMETER, format!("{most} adapters of this kind at most"));
        }
        let fixed = sent.get("StaticMacAddress").as_boolean() == Some(true);
        let mac = if fixed {
            mac(sent)?
        } else {
            "000000000000".to_owned()
        };
        let guid = self.state.setup.ids.next_guid();
        let row = Row::of(&sent.class)
            .text("InstanceID", format!(r"Microsoft:{}\{guid}", self.machine))
            .text("Caption", "Network Adapter")
            .text("ElementName", "Network Adapter")
            .flag("StaticMacAddress", false)
            .flag("ClusterMonitored", true);
        let row = if emulated {
            row
        } else {
            row.texts("VirtualSystemIdentifiers", [format!("{{{guid}}}")])
        };
        let mut row = over(&row.done(), sent);
        row.set("Address", Value::Text(mac));
        Ok(row)
    }

    fn connection(&mut self, sent: &Instance) -> Result<Instance, Stop> {
        let adapter = self.parent(sent)?;
        if adapter.class != SYNTHETIC && adapter.class != EMULATED {
            return stop(
                INVALID_PARAMETER,
                format!("{} is no adapter", store::id(&adapter)),
            );
        }
        let id = format!(r"{}\C", store::id(&adapter));
        if self
            .all()
            .into_iter()
            .any(|row| store::id(row).eq_ignore_ascii_case(&id))
        {
            return stop(INVALID_PARAMETER, "the adapter has a connection");
        }
        let switch = self.state.connected_switch(sent)?;
        let row = Row::of(EPASD)
            .text("InstanceID", id)
            .text("Caption", "Ethernet Switch Port Settings")
            .text("ElementName", "Ethernet Connection")
            .number("EnabledState", 2)
            .text("LastKnownSwitchName", switch.unwrap_or_default());
        Ok(self.with_paths(over(&row.done(), sent)))
    }

    /// Paths in the form of the host.
    fn with_paths(&self, mut row: Instance) -> Instance {
        let computer = self.state.computer();
        let parent = normal(computer, row.get("Parent"));
        let resource = normal(computer, row.get("HostResource"));
        row.set("Parent", parent).set("HostResource", resource);
        row
    }
}

/// Whether drives hang on it.
fn is_controller(row: &Instance) -> bool {
    row.class == RASD && matches!(number(row, "ResourceType"), 5 | 6)
}

/// Twelve digits of an address for one.
pub(crate) fn mac(sent: &Instance) -> Result<String, Stop> {
    let address = text(sent, "Address");
    let digits = address.len() == 12 && address.bytes().all(|digit| digit.is_ascii_hexdigit());
    let first = address
        .get(..2)
        .and_then(|first| u8::from_str_radix(first, 16).ok());
    match first {
        Some(first) if digits && first & 1 == 0 && address != "000000000000" => Ok(address.to_uppercase()),
        _ => stop(
            INVALID_PARAMETER,
            format!("no address of an adapter: {address:?}"),
        ),
    }
}

/// `HostResource`: an array of one file of this kind.
pub(crate) fn one_file(sent: &Instance, drive_kind: u64) -> Result<String, Stop> {
    let file = match sent.get("HostResource") {
        Value::Array(all) if all.len() == 1 => first_text(sent, "HostResource").unwrap_or_default(),
        other => {
            return stop(
                INVALID_PARAMETER,
                format!("HostResource is an array of one file, not {other:?}"),
            );
        }
    };
    let endings: &[&str] = match drive_kind {
        17 => &["vhd", "vhdx", "avhd", "avhdx", "vhds"],
        16 => &["iso"],
        _ => &["vfd"],
    };
    let ending = file.rsplit('.').next().unwrap_or_default();
    if file.contains('.') && endings.iter().any(|known| known.eq_ignore_ascii_case(ending)) {
        return Ok(file.to_owned());
    }
    stop(
        INVALID_PARAMETER,
        format!("{file:?} is not a file for this drive"),
    )
}

impl State {
    /// The id, in upper case, of what a row hangs on; empty where it hangs on nothing.
    pub(crate) fn parent_of(&self, row: &Instance) -> String {
        paths::read(text(row, "Parent"), self.computer())
            .and_then(|path| paths::key(&path, "InstanceID").map(str::to_uppercase))
            .unwrap_or_default()
    }

    /// Whether a drive is on an IDE controller.
    pub(crate) fn on_ide(&self, drive: &Instance) -> bool {
        self.store
            .get(&self.parent_of(drive))
            .is_some_and(|controller| number(controller, "ResourceType") == 5)
    }

    /// The name of the switch that a connection is to be plugged into; none where it is into none.
    pub(crate) fn connected_switch(&self, sent: &Instance) -> Result<Option<String>, Stop> {
        match sent.get("EnabledState").as_unsigned() {
            None | Some(2 | 3) => {}
            Some(other) => return stop(INVALID_PARAMETER, format!("EnabledState {other}")),
        }
        match sent.get("HostResource") {
            Value::Null => Ok(None),
            Value::Array(all) if all.is_empty() => Ok(None),
            Value::Array(all) if all.len() == 1 => {
                let path = all[0].as_text().unwrap_or_default();
                match self.switch_by_text(path) {
                    Some(switch) => Ok(Some(self.switch_name(&switch))),
                    None => stop(INVALID_PARAMETER, format!("no switch at {path}")),
                }
            }
            other => stop(
                INVALID_PARAMETER,
                format!("HostResource is an array of one path, not {other:?}"),
            ),
        }
    }
}
