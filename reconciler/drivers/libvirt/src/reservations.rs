//! Addresses kept for MACs, in what runs and in the definition.

use std::net::IpAddr;

use labyard_driver::DriverError;
use labyard_driver::ids::{MacAddr, ObjectId};
use labyard_driver::observed::Reservation;
use libvirt_rpc::flags::{Affect, NetworkXml};
use libvirt_rpc::{Connection, NetworkRef, NetworkSection, NetworkUpdate, NetworkUpdateCommand};

use crate::errors::{Act, During, is_wrong_state};
use crate::host::{Host, parse};
use crate::network_xml;
use crate::networks::{REWRITING, act, reference};

/// The two places where reservations stand, so far as they exist.
struct Standing {
    /// Which of the network's addresses they are about.
    ipv4: Option<u16>,
    places: Vec<(Affect, Vec<Reservation>)>,
}

/// Where a reservation is wanted. In what runs it is dear: libvirt lays the network's whole firewall anew for each.
#[derive(Clone, Copy)]
pub(crate) enum Reach {
    /// In the definition, and in what runs if anything does.
    Everywhere,
    /// In the definition alone.
    Definition,
}

async fn standing(connection: &Connection, act: &Act, network: &NetworkRef) -> Result<Standing, DriverError> {
    let (active, definition, live) = futures::join!(
        connection.network_is_active(network),
        connection.network_get_xml_desc(network, NetworkXml::INACTIVE),
        connection.network_get_xml_desc(network, NetworkXml::empty()),
    );
    let read = |text: String| Ok(network_xml::facts(&parse(act, &text)?));
    let definition = read(definition.during(act)?)?;
    let mut places = vec![(Affect::CONFIG, definition.reservations)];
    if active.during(act)? {
        places.push((Affect::LIVE, read(live.during(act)?)?.reservations));
    }
    Ok(Standing {
        ipv4: definition.ipv4_index,
        places,
    })
}

pub(crate) async fn reserve(
    host: &Host,
    id: &ObjectId,
    wanted: &Reservation,
    reach: Reach,
) -> Result<(), DriverError> {
    let act = Act::on(
        "reserving",
        format!("{} for {} on network {id}", wanted.address, wanted.mac),
    );
    let session = host.session().await?;
    let connection = &session.connection;
    let network = reference(&act, id)?;
    let missing = |standing: &Standing| {
        let mut missing = Affect::empty();
        for (place, reservations) in &standing.places {
            let related = |r: &&Reservation| r.mac == wanted.mac || r.address == wanted.address;
            // A name is one reservation's, as an address is.
            let namesake = |r: &&Reservation| wanted.name.is_some() && r.name == wanted.name;
            let found = reservations.iter().find(related);
            match found.or_else(|| reservations.iter().find(namesake)) {
                Some(other) if other.mac != wanted.mac || other.address != wanted.address => {
                    return Err(DriverError::Exists {
                        what: format!(
                            "a reservation of {} for {} on network {id}",
                            other.address, other.mac
                        ),
                    });
                }
                Some(_) => {}
                None => missing |= *place,
            }
        }
        Ok(match reach {
            Reach::Everywhere => missing,
            Reach::Definition => missing & Affect::CONFIG,
        })
    };
    let found = standing(connection, &act, &network).await?;
    let places = missing(&found)?;
    if places.is_empty() {
        return Ok(());
    }
    let element = network_xml::host(wanted).to_string();
    let result = update(
        connection,
        &network,
        NetworkUpdateCommand::AddLast,
        &element,
        (places, found.ipv4),
    )
    .await;
    if is_wrong_state(&result) {
        // Somebody was faster, with this very reservation or with another.
        let places = missing(&standing(connection, &act, &network).await?)?;
        if places.is_empty() {
            return Ok(());
        }
    }
    result.during(&act)
}

pub(crate) async fn release(
    host: &Host,
    id: &ObjectId,
    mac: MacAddr,
    address: IpAddr,
) -> Result<(), DriverError> {
    let act = act(&format!("giving back {address} of {mac} on"), id);
    let session = host.session().await?;
    let connection = &session.connection;
    let network = reference(&act, id)?;
    let held = |standing: &Standing| {
        let holds = |reservations: &Vec<Reservation>| {
            reservations.iter().any(|r| r.mac == mac && r.address == address)
        };
        let held = standing
            .places
            .iter()
            .filter(|(_, reservations)| holds(reservations));
        held.fold(Affect::empty(), |held, (place, _)| held | *place)
    };
    let found = standing(connection, &act, &network).await?;
    let places = held(&found);
    if places.is_empty() {
        return Ok(());
    }
    let element = crate::xml::Element::new("host")
        .with("mac", &mac.to_string())
        .with("ip", &address.to_string())
        .to_string();
    let result = update(
        connection,
        &network,
        NetworkUpdateCommand::Delete,
        &element,
        (places, found.ipv4),
    )
    .await;
    if is_wrong_state(&result) && held(&standing(connection, &act, &network).await?).is_empty() {
        return Ok(());
    }
    result.during(&act)
}

async fn update(
    connection: &Connection,
    network: &NetworkRef,
    command: NetworkUpdateCommand,
    xml: &str,
    (affect, parent): (Affect, Option<u16>),
) -> Result<(), libvirt_rpc::Error> {
    let update = NetworkUpdate {
        command,
        section: NetworkSection::IpDhcpHost,
        parent,
        xml,
    };
    let _with_others = REWRITING.read().await;
    connection.network_update(network, update, affect).await
}
