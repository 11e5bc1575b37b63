//! The verbs of networks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use labyard_driver::DriverError;
use labyard_driver::ids::{MacAddr, ObjectId};
use labyard_driver::lan::Lan;
use labyard_driver::mark::Mark;
use labyard_driver::observed::{Activity, Attachment, DhcpLease, ObservedNetwork, Reservation};
use labyard_driver::spec::{NetworkMode, NetworkSpec};

use super::{MachineActivity, MarkState, Network, State, exists, refused, stored};
use crate::clock::Millis;

impl State {
    pub(crate) fn create_network(
        &mut self,
        spec: &NetworkSpec,
        now: Millis,
    ) -> Result<ObservedNetwork, DriverError> {
        let id = self.id(&spec.id);
        self.create_network_as(&id, spec, now)
    }

    /// Makes a network whose id is decided: by this host, or by whoever works past the driver.
    pub(super) fn create_network_as(
        &mut self,
        id: &ObjectId,
        spec: &NetworkSpec,
        now: Millis,
    ) -> Result<ObservedNetwork, DriverError> {
        if self.network_named(&spec.host_name).is_some() {
            return Err(exists("network", &spec.host_name));
        }
        if self.networks.contains_key(id) {
            return Err(exists("network with the id", id));
        }
        self.check_network(spec)?;
        let network = Network {
            id: id.clone(),
            ..self.new_network(spec, stored(&spec.mark))
        };
        self.networks.insert(id.clone(), network);
        self.network(id, now)
    }

    pub(super) fn new_network(&mut self, spec: &NetworkSpec, mark: MarkState) -> Network {
        Network {
            id: spec.id.clone(),
            host_name: spec.host_name.clone(),
            mark,
            active: Activity::Active,
            autostart: spec.autostart,
            mode: spec.mode,
            bridge: Some(spec.bridge.clone().unwrap_or_else(|| self.name_bridge())),
            address: spec.address,
            dhcp: spec.dhcp,
            domain: spec.domain.clone(),
            lan: spec.lan.clone(),
            boot: spec.boot.clone(),
            reservations: BTreeMap::new(),
            leases: BTreeMap::new(),
            cut: BTreeSet::new(),
            lags: false,
        }
    }

    fn name_bridge(&mut self) -> String {
        loop {
            let name = format!("virbr{}", self.bridges);
            self.bridges += 1;
            if !self.has_bridge(&name) {
                return name;
            }
        }
    }

    pub(super) fn has_bridge(&self, name: &str) -> bool {
        let made = self
            .networks
            .values()
            .filter(|network| network.mode != NetworkMode::Bridge);
        self.settings.bridges.iter().any(|bridge| bridge == name)
            || made
                .filter_map(|network| network.bridge.as_deref())
                .any(|bridge| bridge == name)
    }

    /// What a host refuses in a network, its clash with another included.
    fn check_network(&self, spec: &NetworkSpec) -> Result<(), DriverError> {
        let refuse = |message: String| Err(refused(format!("making network {}", spec.host_name), message));
        if spec.host_name.is_empty() || spec.host_name.contains(['/', '\n']) {
            return refuse("the name is empty or has a slash or a new line in it".to_owned());
        }
        if spec.mode == NetworkMode::Bridge {
            return match (&spec.bridge, spec.address, spec.dhcp) {
                (Some(_), None, None) => Ok(()),
                (None, ..) => refuse("a network on a bridge needs its name".to_owned()),
                _ => refuse("a network on a bridge of the host has no address of its own".to_owned()),
            };
        }
        let others = || self.networks.values().filter(|network| network.id != spec.id);
        if let Some(bridge) = &spec.bridge {
            let taken = others().any(|network| network.bridge.as_ref() == Some(bridge));
            if taken || self.settings.bridges.contains(bridge) {
                return refuse(format!("bridge name '{bridge}' already in use"));
            }
        }
        if let Some(address) = spec.address {
            let overlaps = |other: &ipnet::Ipv4Net| {
                other.contains(&address.network()) || address.contains(&other.network())
            };
            let active = others().filter(|network| network.active == Activity::Active);
            if let Some(other) = active
                .into_iter()
                .find(|network| network.address.as_ref().is_some_and(overlaps))
            {
                let bridge = other.bridge.as_deref().unwrap_or_default();
                return refuse(format!("Network is already in use by interface {bridge}"));
            }
        }
        match (spec.dhcp, spec.address) {
            (Some(_), None) => refuse("a DHCP range needs an address of the network".to_owned()),
            (Some(dhcp), Some(net)) if !net.contains(&dhcp.start) || !net.contains(&dhcp.end) => {
                refuse(format!("the DHCP range is not entirely within network {net}"))
            }
            (Some(dhcp), _) if dhcp.start > dhcp.end => {
                refuse("the DHCP range ends before it starts".to_owned())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn change_network(
        &mut self,
        spec: &NetworkSpec,
        now: Millis,
    ) -> Result<ObservedNetwork, DriverError> {
        let name = self.network_ref(&spec.id)?.host_name.clone();
        if name != spec.host_name {
            let doing = format!("changing network {name}");
            return Err(refused(doing, "a network cannot be renamed"));
        }
        self.check_network(spec)?;
        let kept =
            spec.mode != NetworkMode::Bridge && self.network_ref(&spec.id)?.mode != NetworkMode::Bridge;
        let bridge = spec
            .bridge
            .clone()
            .or_else(|| self.network_ref(&spec.id).ok().filter(|_| kept)?.bridge.clone());
        let bridge = Some(bridge.unwrap_or_else(|| self.name_bridge()));
        let plugged = self.plugged(&name);
        let network = self.network_mut(&spec.id)?;
        if network.restarts_for(spec, bridge.as_ref()) {
            network.cut = plugged;
        }
        network.lags = false;
        network.mark = stored(&spec.mark);
        network.active = Activity::Active;
        network.autostart = spec.autostart;
        network.mode = spec.mode;
        network.bridge = bridge;
        network.address = spec.address;
        network.dhcp = spec.dhcp;
        network.domain = spec.domain.clone();
        network.lan = spec.lan.clone();
        network.boot = spec.boot.clone();
        self.network(&spec.id, now)
    }

    /// What was changed last did not go into what runs.
    pub(crate) fn swallow(&mut self, id: &ObjectId, now: Millis) -> Result<ObservedNetwork, DriverError> {
        self.network_mut(id)?.lags = true;
        self.network(id, now)
    }

    /// The NICs of running machines that are on a network.
    pub(super) fn plugged(&self, network: &str) -> BTreeSet<MacAddr> {
        let running = self
            .machines
            .values()
            .filter_map(|machine| match &machine.activity {
                MachineActivity::On(run) => Some(&run.definition.nics),
                _ => None,
            });
        let attachment = Attachment::Network(network.to_owned());
        let nics = running.flatten().filter(|nic| nic.attachment == attachment);
        nics.map(|nic| nic.mac).collect()
    }

    pub(crate) fn reattach_guests(&mut self, id: &ObjectId) -> Result<(), DriverError> {
        self.network_mut(id)?.cut.clear();
        Ok(())
    }

    pub(crate) fn write_network_mark(&mut self, id: &ObjectId, mark: &Mark) -> Result<(), DriverError> {
        self.network_mut(id)?.mark = stored(mark);
        Ok(())
    }

    pub(crate) fn remove_network(&mut self, id: &ObjectId) {
        self.networks.remove(id);
    }

    pub(crate) fn reserve_address(&mut self, id: &ObjectId, wanted: &Reservation) -> Result<(), DriverError> {
        let network = self.network_mut(id)?;
        let doing = format!("reserving {} on network {}", wanted.address, network.host_name);
        match (network.address, wanted.address) {
            (Some(net), IpAddr::V4(address)) if net.contains(&address) => {}
            _ => return Err(refused(doing, "the address is not one of the network")),
        }
        if let Some(before) = network.reservations.get(&wanted.mac) {
            return match before.address == wanted.address {
                true => Ok(()),
                false => Err(exists("a reservation for", wanted.mac)),
            };
        }
        let clash = |other: &&Reservation| {
            other.address == wanted.address || (other.name.is_some() && other.name == wanted.name)
        };
        if let Some(other) = network.reservations.values().find(clash) {
            return Err(exists(
                "a reservation of",
                format!("{} for {}", other.address, other.mac),
            ));
        }
        network.reservations.insert(wanted.mac, wanted.clone());
        Ok(())
    }

    pub(crate) fn release_address(
        &mut self,
        id: &ObjectId,
        mac: MacAddr,
        address: IpAddr,
    ) -> Result<(), DriverError> {
        let is_it = |kept: &Reservation| kept.mac == mac && kept.address == address;
        self.network_mut(id)?.reservations.retain(|_, kept| !is_it(kept));
        Ok(())
    }

    pub(crate) fn leases(&self, id: &ObjectId, now: Millis) -> Result<Vec<DhcpLease>, DriverError> {
        Ok(self.network_ref(id)?.valid_leases(now))
    }
}

impl Network {
    /// Whether a network that shall be so goes down and up again.
    fn restarts_for(&self, spec: &NetworkSpec, bridge: Option<&String>) -> bool {
        let single = |lan: &Lan| lan.records.values().all(|addresses| addresses.len() < 2);
        let records = self.lan.records == spec.lan.records || (single(&self.lan) && single(&spec.lan));
        let rest = Lan {
            records: spec.lan.records.clone(),
            ..self.lan.clone()
        };
        self.active == Activity::Inactive
            || (self.mode, self.address, &self.domain) != (spec.mode, spec.address, &spec.domain)
            || self.bridge.as_ref() != bridge
            || self.dhcp.is_some() != spec.dhcp.is_some()
            || rest != spec.lan
            || !records
    }

    pub(super) fn valid_leases(&self, now: Millis) -> Vec<DhcpLease> {
        let valid = self.leases.iter().filter(|(_, lease)| lease.is_valid(now));
        valid
            .map(|(mac, lease)| DhcpLease {
                mac: *mac,
                address: lease.address,
                hostname: lease.hostname.clone(),
                ends: lease.expires.map(|at| at / 1000),
            })
            .collect()
    }
}
