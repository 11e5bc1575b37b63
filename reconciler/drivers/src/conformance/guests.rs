//! Guests that boot: console, addresses.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes as Chunk;

use super::lab::{Failure, Lab, ensure, ensure_eq, ensure_error};
use super::sample;
use crate::console::{Console, Entry, Heard};
use crate::error::DriverError;
use crate::ids::ObjectId;
use crate::observed::{Power, Reservation};
use crate::spec::MachineSpec;

/// How often a guest that says nothing is typed to.
const AGAIN: Duration = Duration::from_millis(500);

type Result = std::result::Result<(), Failure>;

pub(super) async fn a_console_gives_bytes_and_ends_with_the_machine(lab: &Lab<'_>) -> Result {
    let (mut spec, guest) = lab.bootable("console")?;
    lab.define(&mut spec).await?;
    lab.driver.start_machine(&spec.id).await?;
    let mut console = lab.driver.console(&spec.id, Entry::Waits).await?;
    heard(console.as_mut(), "", guest.patience).await?;
    lab.driver.power_off(&spec.id).await?;
    ends(console.as_mut(), &Heard::Ended, guest.patience).await
}

/// A guest echoes what is typed, once somebody in it listens.
pub(super) async fn what_is_typed_into_a_console_is_echoed_by_its_guest(lab: &Lab<'_>) -> Result {
    let (mut spec, guest) = lab.bootable("typed")?;
    lab.define(&mut spec).await?;
    lab.driver.start_machine(&spec.id).await?;
    let mut console = lab.driver.console(&spec.id, Entry::Waits).await?;
    let keyboard = console.keyboard();
    let typing = async {
        loop {
            if let Err(error) = keyboard.press(Chunk::from_static(b"echo-me\r")).await {
                return Failure::from(error);
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::select! {
        echoed = heard(console.as_mut(), "echo-me", guest.patience) => echoed?,
        failed = typing => return Err(failed),
    }
    drop(console);
    lab.driver.power_off(&spec.id).await?;
    lab.until_power(&spec.id, Power::Stopped).await
}

pub(super) async fn a_console_is_had_by_one_and_lost_to_who_takes_it_over(lab: &Lab<'_>) -> Result {
    let (mut spec, guest) = lab.bootable("taken")?;
    lab.define(&mut spec).await?;
    lab.driver.start_machine(&spec.id).await?;
    let mut first = lab.driver.console(&spec.id, Entry::Waits).await?;
    let second = lab.driver.console(&spec.id, Entry::Waits).await.map(drop);
    ensure_error!(second, Busy);
    heard(first.as_mut(), "", guest.patience).await?;
    let second = lab.driver.console(&spec.id, Entry::TakesOver).await?;
    ends(first.as_mut(), &Heard::TakenOver, guest.patience).await?;
    let third = lab.driver.console(&spec.id, Entry::Waits).await.map(drop);
    ensure_error!(third, Busy);
    drop((first, second));
    // Who has let go of it may still be seen there for a moment.
    let is_free = async || match lab.driver.console(&spec.id, Entry::Waits).await {
        Ok(_) => Ok(true),
        Err(DriverError::Busy { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    };
    lab.until("the console is free again", guest.patience, is_free)
        .await?;
    lab.driver.power_off(&spec.id).await?;
    lab.until_power(&spec.id, Power::Stopped).await?;
    let stopped = lab.driver.console(&spec.id, Entry::TakesOver).await.map(drop);
    ensure_error!(stopped, Refused);
    Ok(())
}

/// Reads until a text comes; any, if it is empty.
async fn heard(console: &mut dyn Console, text: &str, wait: Duration) -> Result {
    let reading = async {
        let mut said = Vec::new();
        while said.is_empty() || !String::from_utf8_lossy(&said).contains(text) {
            match console.read().await? {
                Heard::Said(bytes) => said.extend_from_slice(&bytes),
                ended => return Err(Failure::new(format!("{ended:?} before {text:?} came"))),
            }
        }
        Ok(())
    };
    let read = tokio::time::timeout(wait, reading).await;
    read.map_err(|_| Failure::new(format!("{text:?} does not come from the console")))?
}

/// Reads to the end, which has to be that one.
async fn ends(console: &mut dyn Console, expected: &Heard, wait: Duration) -> Result {
    let reading = async {
        loop {
            match console.read().await? {
                Heard::Said(_) => {}
                ended => return Ok::<_, Failure>(ended),
            }
        }
    };
    let ended = tokio::time::timeout(wait, reading).await;
    let ended = ended.map_err(|_| Failure::new("the console did not end"))??;
    ensure_eq!(&ended, expected, "how the console ended");
    Ok(())
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
    let mut net = lab.network("net")?;
    lab.create(&mut net).await?;
    let (spec, guest) = lab.bootable("guest")?;
    let mut spec = sample::with_nic(spec, &net.host_name);
    let base = net.address.map_or(0, |net| u32::from(net.network()));
    let reservation = Reservation {
        mac: spec.nics[0].mac,
        address: IpAddr::V4((base + 77).into()),
        name: None,
    };
    lab.driver.reserve_address(&net.id, &reservation).await?;
    lab.define(&mut spec).await?;
    let found = lease(lab, &spec, &net.id, guest.patience).await?;
    ensure_eq!(found, reservation.address, "the address");
    lab.driver.power_off(&spec.id).await?;
    lab.until_power(&spec.id, Power::Stopped).await
}

pub(super) async fn a_guest_gets_an_address_of_the_range(lab: &Lab<'_>) -> Result {
    let mut net = lab.network("net")?;
    lab.create(&mut net).await?;
    let (spec, guest) = lab.bootable("guest")?;
    let mut spec = sample::with_nic(spec, &net.host_name);
    lab.define(&mut spec).await?;
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
