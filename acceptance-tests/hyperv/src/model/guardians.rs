//! Msvm_SecurityService and the classes of host guardians: key protectors, and the TPM that needs one.

use std::collections::BTreeMap;

use crate::cim::{Instance, Value};
use crate::contract::{Parameters, WmiFault};

use super::codes::{
    FAILED, Failure, INVALID_PARAMETER, INVALID_STATE, Input, Stop, answer, fail, fault, stop,
};
use super::jobs::Plan;
use super::paths::{self, HGS};
use super::processors::over;
use super::row::{Row, bytes, octets};
use super::setup::{Build, Guardians, Rights};
use super::state::{State, needs_off};
use super::store::{self, text};

const SETTING: &str = "Msvm_SecuritySettingData";
const GUARDIAN: &str = "MSFT_HgsGuardian";
const PROTECTOR: &str = "MSFT_HgsKeyProtector";

/// What the host knows of guardians.
#[derive(Debug, Default)]
pub(crate) struct Guardianship {
    guardians: BTreeMap<String, Instance>,
    /// Protectors that were made here, and the guardian whose key opens each.
    protectors: Vec<(Vec<u8>, String)>,
}

/// The setting that a call is about: of a machine of the second generation.
fn subject(state: &State, input: &Input<'_>) -> Result<(Instance, String), Stop> {
    let sent = input.instance("SecuritySettingData", SETTING)?;
    let row = state.setting_at(&paths::setting(SETTING, store::id(sent)))?;
    let (machine, _) = state.changeable(store::id(row))?;
    if state.generation(&machine) != 2 || state.setup.build < Build::SERVER_2016 {
        return stop(
            INVALID_PARAMETER,
            "a TPM is for the second generation, from 2016 on",
        );
    }
    Ok((sent.clone(), machine))
}

/// GetKeyProtector.
pub(crate) fn get_protector(state: &State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let (_, machine) = subject(state, input)?;
    let protector = state.machine(&machine).map(|machine| octets(&machine.protector));
    let mut output = answer(0);
    output.insert("KeyProtector".to_owned(), protector.unwrap_or(Value::Null));
    Ok(output)
}

/// SetKeyProtector.
pub(crate) fn set_protector(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let (_, machine) = subject(state, input)?;
    let given = bytes(input.get("KeyProtector")).filter(|given| given.len() > 4);
    let Some(given) = given else {
        return stop(INVALID_PARAMETER, "KeyProtector is no protector");
    };
    let condition = state.changeable(&format!("Microsoft:{machine}"))?.1;
    needs_off(condition, "a key protector")?;
    state.free(&machine)?;
    let plan = Plan::of(state, "SetKeyProtector", Some(&machine), {
        let machine = machine.clone();
        move |state| {
            if !state
                .guardianship
                .protectors
                .iter()
                .any(|(known, _)| *known == given)
            {
                return fail(INVALID_PARAMETER, "the key protector cannot be read");
            }
            if let Some(machine) = state.machine_mut(&machine) {
                machine.protector = given;
            }
            Ok(())
        }
    });
    state.begin(plan)
}

/// ModifySecuritySettings.
pub(crate) fn modify(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let (sent, machine) = subject(state, input)?;
    let condition = state.changeable(&format!("Microsoft:{machine}"))?.1;
    needs_off(condition, "security of a machine")?;
    state.free(&machine)?;
    let known = [
        "InstanceID",
        "TpmEnabled",
        "EncryptStateAndVmMigrationTraffic",
        "VirtualizationBasedSecurityOptOut",
    ];
    for (name, value) in sent.properties() {
        let harmless = value.is_null() || value.as_boolean() == Some(false);
        if !harmless && !known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return stop(INVALID_PARAMETER, format!("{name} needs a guarded fabric"));
        }
    }
    let plan = Plan::of(state, "ModifySecuritySettings", Some(&machine), {
        let machine = machine.clone();
        move |state| {
            let wants = ["TpmEnabled", "EncryptStateAndVmMigrationTraffic"]
                .iter()
                .any(|name| sent.get(name).as_boolean() == Some(true));
            let protected = state
                .machine(&machine)
                .is_some_and(|machine| machine.protector.len() > 4);
            if wants && !protected {
                return fail(INVALID_STATE, "a TPM needs a key protector first");
            }
            if let Some(row) = state.store.get(store::id(&sent)) {
                let merged = over(row, &sent);
                state.store.put(merged);
            }
            Ok(())
        }
    });
    state.begin(plan)
}

impl State {
    fn security(&self, machine: &str) -> Option<&Instance> {
        self.store
            .owned_of(&format!("Microsoft:{machine}"), SETTING)
            .first()
            .copied()
    }

    /// Whether a machine has a TPM.
    pub(crate) fn tpm_enabled(&self, machine: &str) -> bool {
        self.security(machine)
            .is_some_and(|row| row.get("TpmEnabled").as_boolean() == Some(true))
    }

    /// Whether a machine's TPM, if it has one, can be opened here.
    pub(crate) fn tpm_opens(&self, id: &str) -> Result<(), Failure> {
        let Some(machine) = self.machine(id).filter(|_| self.tpm_enabled(id)) else {
            return Ok(());
        };
        let owner = self
            .guardianship
            .protectors
            .iter()
            .find(|(known, _)| *known == machine.protector);
        let private = owner
            .and_then(|(_, owner)| self.guardianship.guardians.get(&owner.to_uppercase()))
            .is_some_and(|row| row.get("HasPrivateSigningKey").as_boolean() == Some(true));
        if !private {
            return fail(
                FAILED,
                "the key protector cannot be unwrapped: the private keys are not on this host",
            );
        }
        if machine
            .tpm
            .as_ref()
            .is_some_and(|sealed| *sealed != machine.protector)
        {
            return fail(
                FAILED,
                "the state of the TPM is sealed with another key protector",
            );
        }
        Ok(())
    }

    /// Whether the guardian classes are to be seen.
    pub(crate) fn guardians_there(&self) -> Result<(), Stop> {
        if self.setup.guardians == Guardians::Absent || self.setup.build < Build::SERVER_2016 {
            return fault(WmiFault::INVALID_NAMESPACE, "no guardian classes on this host");
        }
        if self.rights != Rights::Administrator {
            return fault(WmiFault::ACCESS_DENIED, "guardians need an administrator");
        }
        Ok(())
    }

    /// The rows of a class of guardians.
    pub(crate) fn guardian_rows(&self, class: &str) -> Option<Vec<Instance>> {
        match class.to_ascii_lowercase().as_str() {
            "msft_hgsguardian" => Some(self.guardianship.guardians.values().cloned().collect()),
            "msft_hgsclientconfiguration" => Some(vec![
                Row::elsewhere(HGS, "MSFT_HgsClientConfiguration")
                    .flag("IsHostGuarded", false)
                    .number("Mode", 1)
                    .number("AttestationOperationMode", 0)
                    .number("AttestationStatus", 0)
                    .number("AttestationSubstatus", 0)
                    .done(),
            ]),
            "msft_hgskeyprotector" | "msft_hgskeyprotectoroperations" => Some(Vec::new()),
            _ => None,
        }
    }

    /// MSFT_HgsGuardian.NewByGenerateCertificates.
    pub(crate) fn new_guardian(&mut self, input: &Input<'_>) -> Result<Parameters, Stop> {
        let name = input.get("Name").as_text().unwrap_or_default().to_owned();
        if name.is_empty() || input.get("GenerateCertificates").as_boolean() != Some(true) {
            return fault(WmiFault::INVALID_PARAMETER, "Name, and GenerateCertificates true");
        }
        if self.guardianship.guardians.contains_key(&name.to_uppercase()) {
            return fault(WmiFault::FAILED, format!("a guardian {name} exists already"));
        }
        let (encryption, signing) = (self.setup.ids.bytes(96), self.setup.ids.bytes(96));
        let row = Row::elsewhere(HGS, GUARDIAN)
            .text("Name", &name)
            .flag("HasPrivateSigningKey", true)
            .value("EncryptionCertificate", octets(&encryption))
            .value("SigningCertificate", octets(&signing))
            .text("EncryptionCertificateSignature", self.setup.ids.next_guid())
            .text("EncryptionCertificateSignatureAlgorithm", "RsaSha256")
            .number("GuardianMetadataVersion", 1)
            .done();
        self.guardianship
            .guardians
            .insert(name.to_uppercase(), row.clone());
        Ok(output_of(row))
    }

    /// MSFT_HgsGuardian.Remove.
    pub(crate) fn remove_guardian(&mut self, input: &Input<'_>) -> Result<Parameters, Stop> {
        let name = input.get("Name").as_text().unwrap_or_default().to_uppercase();
        match self.guardianship.guardians.remove(&name) {
            Some(_) => Ok(answer(0)),
            None => fault(WmiFault::NOT_FOUND, format!("no guardian {name}")),
        }
    }

    /// MSFT_HgsKeyProtector.NewByGuardians.
    pub(crate) fn new_protector(&mut self, input: &Input<'_>) -> Result<Parameters, Stop> {
        if self.setup.guardians == Guardians::Refused {
            return fault(
                WmiFault::INVALID_PARAMETER,
                "this host takes no owner that is an object",
            );
        }
        let Value::Instance(owner) = input.get("Owner") else {
            return fault(WmiFault::INVALID_PARAMETER, "Owner is a guardian");
        };
        let others: Option<Vec<&Instance>> = input
            .get("Guardian")
            .each()
            .iter()
            .map(|one| {
                if let Value::Instance(one) = one {
                    Some(one.as_ref())
                } else {
                    None
                }
            })
            .collect();
        let Some(others) = others else {
            return fault(WmiFault::INVALID_PARAMETER, "Guardian holds guardians");
        };
        for one in others.iter().copied().chain([owner.as_ref()]) {
            let known = self.guardianship.guardians.get(&text(one, "Name").to_uppercase());
            let same = known.is_some_and(|known| {
                [
                    "EncryptionCertificate",
                    "SigningCertificate",
                    "EncryptionCertificateSignature",
                ]
                .iter()
                .all(|name| one.get(name) == known.get(name))
            });
            if one.class != GUARDIAN || !same {
                return fault(
                    WmiFault::INVALID_PARAMETER,
                    format!("no whole guardian: {:?}", text(one, "Name")),
                );
            }
        }
        if owner.get("HasPrivateSigningKey").as_boolean() != Some(true) {
            return fault(WmiFault::FAILED, "the owner's private keys are not on this host");
        }
        if input.get("AllowUntrustedRoot").as_boolean() != Some(true) {
            return fault(
                WmiFault::FAILED,
                "the certificates of a guardian made here have no trusted root",
            );
        }
        let raw = self.setup.ids.bytes(256);
        self.guardianship
            .protectors
            .push((raw.clone(), text(owner, "Name").to_owned()));
        let row = Row::elsewhere(HGS, PROTECTOR)
            .value("Owner", Value::Instance(owner.clone()))
            .value("Guardians", Value::Array(Vec::new()))
            .value("RawData", octets(&raw));
        Ok(output_of(row.done()))
    }
}

fn output_of(row: Instance) -> Parameters {
    let mut output = answer(0);
    output.insert("cmdletOutput".to_owned(), Value::Instance(Box::new(row)));
    output
}
