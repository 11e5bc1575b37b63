//! Guests that boot: console, addresses.

use std::net::IpAddr;
use std::time::Duration;

use super::lab::{Failure, Lab, ensure, ensure_eq};
use super::sample;
use crate::ids::ObjectId;
use crate::observed::{Power, Reservation};
use crate::spec::MachineSpec;

type Result = std::result::Result<(), Failure>;

pub(super) async fn a_console_gives_bytes_and_ends_with_the_machine(lab: &Lab<'_>) -> Result {
    let (spec, guest) = lab.bootable("console")?;
    lab.define(&spec).await?;
    lab.driver.start_machine(&spec.id).await?;
    let mut console = lab.driver.console(&spec.id).await?;
    let read = tokio::time::timeout(guest.patience, console.read()).await;
    let bytes = read.map_err(|_| Failure::new("the console stays silent"))??;
    ensure!(
        bytes.is_some_and(|bytes| !bytes.is_empty()),
        "the console ended before the machine"
    );
    lab.driver.power_off(&spec.id).await?;
    let rest = async {
        while console.read().await?.is_some() {}
        Ok::<_, Failure>(())
    };
    let ended = tokio::time::timeout(guest.patience, rest).await;
    ended.map_err(|_| Failure::new("the console did not end with the machine"))?
}

/// Starts a machine on a network and waits for its first NIC's lease.
async fn lease(
    lab: &Lab<'_>,
    spec: &MachineSpec,
    net: &ObjectId,
    wait: Duration,
) -> std::result::Result<IpAddr, Failure> {
    lab.driver.start_machine(&spec.id).await?;
    let mac = spec.nics[0].mac;
    let mut address = None;
    let has_lease = async || {
        let leases = lab.driver.leases(net).await?;
        address = leases
            .iter()
            .find(|lease| lease.mac == mac)
            .map(|lease| lease.address);
        Ok(address.is_some())
    };
    lab.until("the guest has a lease", wait, has_lease).await?;
    let address = address.ok_or_else(|| Failure::new("the lease is gone"))?;
    let seen = lab.detail(&spec.id).await?.nics[0].addresses.clone();
    ensure_eq!(seen, [address], "the addresses that the machine shows");
    Ok(address)
}

pub(super) async fn a_guest_gets_the_address_reserved_for_it(lab: &Lab<'_>) -> Result {
    let net = lab.network("net")?;
    lab.driver.create_network(&net).await?;
    let (spec, guest) = lab.bootable("guest")?;
    let spec = sample::with_nic(spec, &net.host_name);
    let base = net.address.map_or(0, |net| u32::from(net.network()));
    let reservation = Reservation {
        mac: spec.nics[0].mac,
        address: IpAddr::V4((base + 77).into()),
        name: None,
    };
    lab.driver.reserve_address(&net.id, &reservation).await?;
    lab.define(&spec).await?;
    let found = lease(lab, &spec, &net.id, guest.patience).await?;
    ensure_eq!(found, reservation.address, "the address");
    lab.driver.power_off(&spec.id).await?;
    lab.until_power(&spec.id, Power::Stopped).await
}

pub(super) async fn a_guest_gets_an_address_of_the_range(lab: &Lab<'_>) -> Result {
    let net = lab.network("net")?;
    lab.driver.create_network(&net).await?;
    let (spec, guest) = lab.bootable("guest")?;
    let spec = sample::with_nic(spec, &net.host_name);
    lab.define(&spec).await?;
    let found = lease(lab, &spec, &net.id, guest.patience).await?;
    let (Some(range), IpAddr::V4(found)) = (net.dhcp, found) else {
        return Err(Failure::new(format!("{found} is not of IPv4")));
    };
    ensure!(
        range.start <= found && found <= range.end,
        "{found} is not in {range:?}"
    );
    Ok(())
}
