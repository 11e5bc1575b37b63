//! What of a hook's values can be taken: only what the stage can still take, what nobody else has promised, and what
//! no hook has said before. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use labyard_driver::ids::{HostName, MacAddr, NicKey};
use labyard_driver::mark::{HooksMark, Mark};

use super::answer::Set;
use super::{Event, Moment};
use crate::desired::{DesiredMachine, DesiredSeed};

/// Moments that can take addresses and MACs.
pub const ADDRESS_MOMENTS: &[&str] = &["before:addresses", "before:define"];
/// Moments that can take a host name of the guest.
const HOSTNAME_MOMENTS: &[&str] = &["before:addresses", "before:seed", "before:define"];
/// Moments that can take a host.
const HOST_MOMENTS: &[&str] = &["before:record"];

/// How many variables a machine keeps, and the longest name and value of one in bytes: they stand in its mark.
const VARIABLES: usize = 32;
const VARIABLE_NAME: usize = 64;
const VARIABLE_VALUE: usize = 1024;

/// The machine that values are supplied for.
pub struct Case<'a> {
    /// When.
    pub moment: Moment,
    /// Why.
    pub event: Event,
    /// What it shall be.
    pub desired: &'a DesiredMachine,
    /// Its mark as it stands.
    pub mark: &'a Mark,
    /// Where it is made.
    pub host: &'a HostName,
}

/// What the mark will say of hooks with these values in it. What a hook supplied before stays: it may be in use.
///
/// # Errors
/// Which value cannot be taken, why, and what to do.
pub fn take(set: &Set, case: &Case<'_>) -> Result<HooksMark, String> {
    let mut hooks = case.mark.hooks.clone();
    if let Some(host) = &set.host {
        in_time(case, "host", HOST_MOMENTS)?;
        if host != case.host.as_str() {
            return Err(format!(
                "it wants host {host:?}, and the machine is made on {}: set host = {host:?} in the configuration, or leave \
                 host out there and answer it at before:placement",
                case.host
            ));
        }
    }
    if let Some(hostname) = &set.hostname {
        in_time(case, "hostname", HOSTNAME_MOMENTS)?;
        hooks.hostname.get_or_insert(host_name(hostname, case)?);
    }
    if !set.addresses.is_empty() {
        in_time(case, "addresses", ADDRESS_MOMENTS)?;
    }
    for (key, text) in &set.addresses {
        let key = nic(key, case)?;
        let address = address(&key, text, case)?;
        hooks.addresses.entry(key).or_insert(address);
    }
    if !set.macs.is_empty() {
        in_time(case, "macs", ADDRESS_MOMENTS)?;
    }
    for (key, text) in &set.macs {
        let key = nic(key, case)?;
        let mac = mac(&key, text, case)?;
        hooks.macs.entry(key).or_insert(mac);
    }
    for (name, value) in &set.variables {
        match value {
            Some(value) => hooks.variables.insert(name.clone(), variable(name, value)?),
            None => hooks.variables.remove(name),
        };
    }
    if hooks.variables.len() > VARIABLES {
        return Err(format!(
            "with what it supplies the machine has {} variables, and {VARIABLES} are kept: take others away with null",
            hooks.variables.len()
        ));
    }
    twice("address", &hooks.addresses)?;
    twice("MAC", &hooks.macs)?;
    Ok(hooks)
}

/// What is desired with what hooks have supplied: MACs where the plan left them open.
pub fn complete(desired: &DesiredMachine, hooks: &HooksMark) -> DesiredMachine {
    let mut desired = desired.clone();
    for (key, mac) in &hooks.macs {
        let open = desired.planned.open_macs.contains(key);
        if let Some(nic) = desired.nics.get_mut(key).filter(|_| open) {
            nic.mac = *mac;
        }
    }
    desired
}

fn in_time(case: &Case<'_>, what: &str, moments: &[&str]) -> Result<(), String> {
    if moments.contains(&case.moment.to_string().as_str()) {
        return Ok(());
    }
    Err(format!(
        "it supplies {what}, which {} cannot take: only {} can",
        case.moment,
        moments.join(" and ")
    ))
}

fn host_name(text: &str, case: &Case<'_>) -> Result<String, String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() > 253 || !text.split('.').all(label) {
        return Err(format!("it supplies {text:?}, which is no host name"));
    }
    match &case.desired.seed {
        Some(seed) => not_written(text, seed, case).map(|()| text.to_owned()),
        None => Err(
            "it supplies a host name, and the machine has no seed that could tell its guest: give it guest or cloud_init"
                .to_owned(),
        ),
    }
}

/// A name that the configuration says is no hook's to change, and its suffix is `dns_suffix`.
fn not_written(text: &str, seed: &DesiredSeed, case: &Case<'_>) -> Result<(), String> {
    let Some(guest) = &seed.guest else { return Ok(()) };
    if guest.hostname != case.desired.name.as_str() && guest.hostname != text {
        return Err(format!(
            "it supplies host name {text:?}, and guest.hostname says {:?}",
            guest.hostname
        ));
    }
    if text.contains('.') {
        return Err(format!(
            "it supplies host name {text:?}, and of a machine with guest the domain is guest.dns_suffix: leave it out"
        ));
    }
    Ok(())
}

fn variable(name: &str, value: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if !(1..=VARIABLE_NAME).contains(&name.len()) || !name.bytes().all(plain) {
        return Err(format!(
            "it supplies variable {name:?}: a name has 1 to {VARIABLE_NAME} letters, digits, \"_\", \"-\" and \".\""
        ));
    }
    if value.len() > VARIABLE_VALUE || value.chars().any(char::is_control) {
        return Err(format!(
            "it supplies variable {name:?} with a value that is no line of at most {VARIABLE_VALUE} bytes"
        ));
    }
    Ok(value.to_owned())
}

fn nic(key: &str, case: &Case<'_>) -> Result<NicKey, String> {
    let key = NicKey(key.to_owned());
    if case.desired.nics.contains_key(&key) {
        return Ok(key);
    }
    let known: Vec<_> = case.desired.nics.keys().map(NicKey::as_str).collect();
    Err(format!(
        "it supplies something for NIC {:?}, and the machine has {}",
        key.as_str(),
        if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        }
    ))
}

fn address(key: &NicKey, text: &str, case: &Case<'_>) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| {
        format!(
            "it supplies {text:?} for NIC {:?}, which is no address",
            key.as_str()
        )
    })?;
    let first = case.desired.nics.keys().next() == Some(key);
    let fixed = case.desired.nics.get(key).and_then(|nic| nic.fixed);
    let fixed = fixed.map(|fixed| IpAddr::V4(fixed.address.addr()));
    let promised = fixed.or(case.desired.planned.ip.filter(|_| first));
    let reserved = case.mark.nics.get(key).and_then(|nic| nic.reserved);
    let kept = promised.or(reserved.filter(|_| case.event == Event::Update));
    match kept {
        Some(kept) if kept != address && !case.mark.hooks.addresses.contains_key(key) => Err(format!(
            "it supplies {address} for NIC {:?}, which has {kept} already and keeps it: an address is supplied when \
             the machine is made",
            key.as_str()
        )),
        _ => Ok(address),
    }
}

fn mac(key: &NicKey, text: &str, case: &Case<'_>) -> Result<MacAddr, String> {
    let of = format!("NIC {:?}", key.as_str());
    labyard_schema::check::mac(text).map_err(|error| format!("it supplies a MAC for {of}: {error}"))?;
    let mac: MacAddr = text
        .parse()
        .map_err(|_| format!("it supplies {text:?} for {of}, which is no MAC"))?;
    let planned = case.desired.nics.get(key).map(|nic| nic.mac);
    let open = case.desired.planned.open_macs.contains(key);
    match planned {
        Some(planned) if !open && planned != mac => {
            let why = if case.desired.wishes.macs.contains_key(key.as_str()) {
                "is written in the configuration"
            } else {
                "the plan has promised"
            };
            Err(format!("it supplies MAC {mac} for {of}, and {planned} {why}"))
        }
        _ => Ok(mac),
    }
}

fn twice<V: Ord + std::fmt::Display>(what: &str, values: &BTreeMap<NicKey, V>) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for (key, value) in values {
        if let Some(other) = seen.insert(value, key) {
            return Err(format!(
                "it supplies {what} {value} for NIC {:?}, which NIC {:?} has",
                key.as_str(),
                other.as_str()
            ));
        }
    }
    Ok(())
}
