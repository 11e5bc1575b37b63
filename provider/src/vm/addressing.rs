//! What a plan says of a machine's fixed addresses and VLANs: whether its networks have room for them.

use std::collections::BTreeSet;

use ipnet::IpNet;
use labyard_driver::ids::{HostName, MacAddr, NicKey};
use labyard_driver::mark::Mark;
use labyard_driver::observed::{Ability, Snapshot};
use labyard_driver::spec::NetworkMode;
use labyard_reconciler::addresses::{Unfit, fits, free};
use labyard_reconciler::desired::{FixedAddress, Wishes, fixed_address};
use labyard_reconciler::view::{Networks, hands_out};
use labyard_schema::vm::NicIpv4;
use tfplugin::value::{Path, Value};
use tfplugin::{Diagnostics, Plan};

use crate::provider::Context;
use crate::values;

/// The address of the first NIC, where it is fixed, is the machine's.
pub fn settle(plan: &mut Plan) {
    let first = plan.planned.field("nics").entries().next();
    let address = first.and_then(|(_, nic)| nic.field("ipv4").field("address").as_str());
    let net = address.and_then(|text| text.parse::<ipnet::Ipv4Net>().ok());
    if let Some(net) = net {
        values::put(&mut plan.planned, "ip", Value::from(net.addr().to_string()));
    }
}

/// Refuses addresses that a network does not have or another machine has, and VLANs that the host cannot do.
pub async fn check(plan: &Plan, context: &Context, host: &HostName, diags: &mut Diagnostics) {
    let nics = plan.planned.field("nics");
    let asks = |nic: &Value| !nic.field("ipv4").is_null() || !nic.field("vlan").is_null();
    if !nics.entries().any(|(_, nic)| asks(nic)) {
        return;
    }
    let snapshot = match context.engine.snapshot(host).await {
        Ok(snapshot) => snapshot,
        Err(error) => return crate::errors::report(&error, "Host not readable", diags),
    };
    let macs = [&plan.prior, &plan.planned].into_iter().flat_map(|value| {
        let macs = value.field("macs").entries();
        macs.filter_map(|(_, mac)| mac.as_str()?.parse::<MacAddr>().ok())
    });
    let asking = Asking {
        context,
        host,
        snapshot: &snapshot,
        own: macs.collect(),
        machine: plan.planned.field("name").as_str().unwrap_or_default(),
    };
    let mut abilities = None;
    if nics.entries().any(|(_, nic)| !nic.field("vlan").is_null()) {
        match context.engine.offers(host).await {
            Ok(offers) => abilities = Some(offers.abilities),
            Err(error) => return crate::errors::report(&error, "Host not readable", diags),
        }
    }
    for (key, nic) in nics.entries().filter(|(_, nic)| asks(nic)) {
        let at = Path::attribute("nics").then_key(key);
        if let Some(abilities) = &abilities {
            asking.vlan(abilities, nic, at.clone(), diags);
        }
        let unseeded = ["guest", "cloud_init"]
            .iter()
            .all(|name| plan.planned.field(name).is_null());
        if unseeded && asking.is_told_by_a_seed(nic) {
            let detail = "The network has no DHCP of labyard's, and this machine no seed that could tell its guest: write \
                          guest = {}, or configure the address in the image.";
            let at = at.clone().then_attribute("ipv4");
            diags.warning(Some(at), "Nobody tells the guest its address", detail);
        }
        if let Err(unfit) = asking.address(key, nic) {
            let at = at.then_attribute("ipv4").then_attribute("address");
            let summary = match unfit {
                Unfit::Outside { .. } => "Address outside of the network",
                Unfit::Gateway(_) => "Address not for guests",
                Unfit::Taken { .. } => "Address in use",
            };
            diags.error(Some(at), summary, format!("{unfit}."));
        }
    }
}

struct Asking<'a> {
    context: &'a Context,
    host: &'a HostName,
    snapshot: &'a Snapshot,
    own: BTreeSet<MacAddr>,
    machine: &'a str,
}

impl Asking<'_> {
    fn networks(&self) -> Networks<'_> {
        Networks {
            snapshot: self.snapshot,
            namespace: Some(&self.context.namespace),
        }
    }

    fn address(&self, key: &str, nic: &Value) -> Result<(), Unfit> {
        let (Some(network), Some(fixed)) = (nic.field("network").as_str(), fixed(nic)) else {
            return Ok(());
        };
        let address = fixed.address.addr();
        let v4 = |net: IpNet| match net {
            IpNet::V4(net) => Some(net),
            IpNet::V6(_) => None,
        };
        let planned = self.context.planned.nets(self.host, network);
        let own = match planned {
            Some(nets) => nets.into_iter().find_map(v4),
            None => self
                .networks()
                .resolve(network)
                .filter(|network| network.mark.ours().is_some())
                .and_then(|network| network.address),
        };
        if let Some(own) = own {
            fits(&fixed, own)?;
        }
        let machine = (self.machine, key);
        if let Some(holder) = self.context.planned.address(self.host, network, address, machine) {
            return Err(Unfit::Taken { address, holder });
        }
        // Those of this state with fixed addresses are in the plan, with what they shall have.
        let counts = |mark: &Mark, nic: &NicKey| {
            mark.namespace != self.context.namespace
                || !Wishes::from_mark(mark).fixed.contains_key(nic.as_str())
        };
        free(&self.networks(), network, address, &self.own, counts)
    }

    /// Whether a fixed address is on a network that is there and does not hand it out.
    fn is_told_by_a_seed(&self, nic: &Value) -> bool {
        let network = nic.field("network").as_str();
        let found = network.and_then(|name| self.networks().resolve(name));
        !nic.field("ipv4").is_null() && found.is_some_and(|network| !hands_out(network))
    }

    fn vlan(&self, abilities: &BTreeSet<Ability>, nic: &Value, at: Path, diags: &mut Diagnostics) {
        if nic.field("vlan").is_null() {
            return;
        }
        let at = at.then_attribute("vlan");
        if !abilities.contains(&Ability::BridgeVlan) {
            return diags.error(Some(at), "VLAN not available", NO_VLAN);
        }
        let network = nic
            .field("network")
            .as_str()
            .and_then(|name| self.networks().resolve(name));
        let mode = network.and_then(|network| network.mode);
        if let Some(NetworkMode::Nat | NetworkMode::Routed | NetworkMode::Isolated) = mode {
            let detail = "Its network makes a bridge of its own, on which a VLAN would part the guest from the host: \
                          leave vlan out, or use a network of mode \"bridge\".";
            diags.error(Some(at), "VLAN without a bridge of the host", detail);
        }
    }
}

/// Why a host cannot do VLANs.
pub const NO_VLAN: &str = "The host's libvirt is older than 11.0, the first to set VLANs on bridges: upgrade it, or leave \
                           vlan out and put the bridge itself into the VLAN.";

fn fixed(nic: &Value) -> Option<FixedAddress> {
    fixed_address(&NicIpv4 {
        address: nic.field("ipv4").field("address").as_str()?.to_owned(),
        gateway: None,
    })
}
