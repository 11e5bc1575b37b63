//! What this run has planned so far: so that objects of one plan are checked against one another before any exists.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use ipnet::IpNet;
use labyard_driver::ids::HostName;

/// What this run has planned so far.
#[derive(Default)]
pub struct Planned(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    networks: BTreeMap<(HostName, String), Vec<IpNet>>,
    addresses: BTreeMap<(HostName, String, Ipv4Addr), (String, String)>,
}

impl Planned {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a network with its addresses on the host; gives the name of one planned before that overlaps.
    pub fn network(&self, host: &HostName, name: &str, nets: Vec<IpNet>) -> Option<(String, IpNet)> {
        let mut inner = self.inner();
        let others = inner
            .networks
            .iter()
            .filter(|((on, other), _)| on == host && other != name);
        let mut all = others.flat_map(|((_, other), theirs)| theirs.iter().map(move |net| (other, *net)));
        let clash = all
            .find(|(_, theirs)| nets.iter().any(|own| overlap(own, theirs)))
            .map(|(other, net)| (other.clone(), net.trunc()));
        inner.networks.insert((host.clone(), name.to_owned()), nets);
        clash
    }

    /// The addresses of a network planned before.
    pub fn nets(&self, host: &HostName, name: &str) -> Option<Vec<IpNet>> {
        self.inner()
            .networks
            .get(&(host.clone(), name.to_owned()))
            .cloned()
    }

    /// Notes a machine's fixed address on a network; gives the machine planned before that has it too.
    pub fn address(
        &self,
        host: &HostName,
        network: &str,
        address: Ipv4Addr,
        machine: (&str, &str),
    ) -> Option<String> {
        let key = (host.clone(), network.to_owned(), address);
        let (name, nic) = machine;
        let mut inner = self.inner();
        match inner.addresses.get(&key) {
            Some((other, card)) if (other.as_str(), card.as_str()) != machine => Some(other.clone()),
            _ => {
                inner.addresses.insert(key, (name.to_owned(), nic.to_owned()));
                None
            }
        }
    }
}

/// Whether two networks have addresses in common.
pub fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_addresses_of_one_plan_are_told_apart_by_their_names() {
        let (planned, host) = (Planned::default(), HostName("a".into()));
        let net = |text: &str| vec![text.parse().unwrap()];
        for _ in 0..2 {
            assert_eq!(planned.network(&host, "lab", net("10.77.0.1/24")), None);
        }
        assert_eq!(
            planned.network(&HostName("b".into()), "other", net("10.77.0.1/24")),
            None
        );
        let clash = planned.network(&host, "other", net("10.0.0.0/8"));
        assert_eq!(clash.unwrap().0, "lab");
        let address = Ipv4Addr::new(10, 77, 0, 10);
        for _ in 0..2 {
            assert_eq!(planned.address(&host, "lab", address, ("web", "lan")), None);
        }
        assert_eq!(
            planned.address(&host, "lab", address, ("db", "lan")).as_deref(),
            Some("web")
        );
        assert_eq!(planned.address(&host, "other", address, ("db", "lan")), None);
    }
}
