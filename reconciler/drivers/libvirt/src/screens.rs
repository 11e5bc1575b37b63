//! Screens before machines: filters of network traffic, one a machine, that its cards name.
//!
//! A card names its filter in the definition and in what runs, so that a machine that starts, or goes back to its moment,
//! is behind it from the first frame on. Whom it lets in is changed in the filter alone, which libvirt brings to running
//! machines by itself; no definition is touched by that.

use labyard_driver::DriverError;
use labyard_driver::observed::Attachment;
use labyard_driver::screen::{Callers, Screen};
use libvirt_rpc::flags::{DeviceModify, DomainXml};
use libvirt_rpc::{Connection, DomainRef, Error, NwFilterRef, Uuid};

use crate::errors::{Act, During, is_wrong_state};
use crate::host::{Host, Session, parse};
use crate::machines::{act, definition, is_active, reference};
use crate::xml::Element;
use crate::{machine_xml, screen_xml};

pub(crate) async fn screen(host: &Host, screen: &Screen, callers: &Callers) -> Result<(), DriverError> {
    let act = act("screening", &screen.of);
    let session = host.session().await?;
    let domain = reference(&act, &screen.of)?;
    let connection = &session.connection;
    let definition = definition(&session, &act, &domain).await?;
    check(&definition, screen, &act)?;
    let live = live(&session, &act, &domain).await?;
    if let Some(live) = &live {
        check(live, screen, &act)?;
    }
    let there = find(connection, screen).await.during(&act)?;
    if there.is_some_and(|filter| !is_its(&filter, screen)) {
        return Err(Act::on("screening", format!("screen {}", screen.name)).exists());
    }
    let filter = screen_xml::filter(screen, callers).to_string();
    match connection.nwfilter_define_xml(&filter).await {
        Err(error) if error.is_unsupported() => {
            return Err(DriverError::Unsupported {
                what: act.doing().to_owned(),
                message: format!(
                    "{error}: the host's libvirt has no driver for filters of network traffic; on Debian it is package \
                     libvirt-daemon-driver-nwfilter, and they need ebtables"
                ),
            });
        }
        defined => drop(defined.during(&act)?),
    }
    for nic in not_behind(&definition, screen) {
        let mut nic = nic.clone();
        screen_xml::put_behind(&mut nic, screen);
        update(connection, &act, (&domain, &nic), DeviceModify::CONFIG).await?;
    }
    let Some(live) = live else { return Ok(()) };
    for nic in not_behind(&live, screen) {
        let nic = running(nic, &definition, screen, &act)?;
        update(connection, &act, (&domain, &nic), DeviceModify::LIVE).await?;
    }
    Ok(())
}

pub(crate) async fn screened(host: &Host, screen: &Screen) -> Result<Option<Callers>, DriverError> {
    let act = act("reading the screen of", &screen.of);
    let session = host.session().await?;
    let domain = reference(&act, &screen.of)?;
    let definition = definition(&session, &act, &domain).await?;
    let live = live(&session, &act, &domain).await?;
    let stands = |domain: &Element| not_behind(domain, screen).is_empty();
    if !stands(&definition) || !live.as_ref().is_none_or(stands) {
        return Ok(None);
    }
    let connection = &session.connection;
    let Some(filter) = find(connection, screen).await.during(&act)? else {
        return Ok(None);
    };
    if !is_its(&filter, screen) {
        return Ok(None);
    }
    match connection.nwfilter_get_xml_desc(&filter).await {
        Err(error) if error.is_no_nwfilter() => Ok(None),
        text => Ok(screen_xml::callers(&parse(&act, &text.during(&act)?)?)),
    }
}

pub(crate) async fn remove(host: &Host, screen: &Screen) -> Result<(), DriverError> {
    let act = Act::on("removing", format!("screen {}", screen.name));
    let session = host.session().await?;
    let connection = &session.connection;
    let Some(filter) = find(connection, screen).await.during(&act)? else {
        return Ok(());
    };
    if !is_its(&filter, screen) {
        return Ok(());
    }
    match connection.nwfilter_undefine(&filter).await {
        Err(error) if error.is_no_nwfilter() => Ok(()),
        result => result.during(&act),
    }
}

/// A host without filters has none of this name either.
async fn find(connection: &Connection, screen: &Screen) -> Result<Option<NwFilterRef>, Error> {
    match connection.nwfilter_lookup_by_name(screen.name.as_str()).await {
        Ok(filter) => Ok(Some(filter)),
        Err(error) if error.is_no_nwfilter() || error.is_unsupported() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A filter carries no mark: the machine's own UUID on it says whose it is.
fn is_its(filter: &NwFilterRef, screen: &Screen) -> bool {
    Uuid::parse_str(screen.of.as_str()).is_ok_and(|uuid| uuid == filter.uuid)
}

/// What runs, where it does.
async fn live(session: &Session, act: &Act, domain: &DomainRef) -> Result<Option<Element>, DriverError> {
    let connection = &session.connection;
    let state = connection.domain_get_state(domain).await.during(act)?;
    if !is_active(&state) {
        return Ok(None);
    }
    let text = connection.domain_get_xml_desc(domain, DomainXml::empty()).await;
    parse(act, &text.during(act)?).map(Some)
}

fn cards<'a>(domain: &'a Element, screen: &'a Screen) -> impl Iterator<Item = &'a Element> {
    let all = machine_xml::interfaces(domain).into_iter();
    all.filter(move |(mac, _)| screen.nics.contains(mac))
        .map(|(_, nic)| nic)
}

/// The cards before which the screen does not stand.
fn not_behind<'a>(domain: &'a Element, screen: &'a Screen) -> Vec<&'a Element> {
    let is_open = |nic: &&Element| screen_xml::behind(nic) != Some(screen.name.as_str());
    cards(domain, screen).filter(is_open).collect()
}

/// What cannot be screened is said before anything is changed.
fn check(domain: &Element, screen: &Screen, act: &Act) -> Result<(), DriverError> {
    for nic in cards(domain, screen) {
        let mac = nic.attribute_at(&["mac"], "address").unwrap_or_default();
        match screen_xml::behind(nic) {
            Some(other) if other != screen.name.as_str() => {
                return Err(act.refused(format!(
                    "network card {mac} has filter {other:?} of somebody else's, which labyard does not replace: take it \
                     out with virsh edit, or set access = \"open\""
                )));
            }
            _ => {}
        }
        if let Attachment::Other(kind) = machine_xml::attachment(nic) {
            return Err(DriverError::Unsupported {
                what: act.doing().to_owned(),
                message: format!("libvirt filters nothing on network card {mac}, which is of kind {kind:?}"),
            });
        }
    }
    Ok(())
}

/// A running machine's card as it is put behind the screen, attached as it is defined.
fn running(nic: &Element, definition: &Element, screen: &Screen, act: &Act) -> Result<Element, DriverError> {
    let mac = machine_xml::mac(nic);
    let defined = cards(definition, screen).find(|defined| machine_xml::mac(defined) == mac);
    let attachment = machine_xml::attachment(defined.unwrap_or(nic));
    let mut nic = machine_xml::with_attachment(nic, defined, &attachment)
        .map_err(|error| act.refused(error.to_string()))?;
    screen_xml::put_behind(&mut nic, screen);
    Ok(nic)
}

async fn update(
    connection: &Connection,
    act: &Act,
    (domain, nic): (&DomainRef, &Element),
    affect: DeviceModify,
) -> Result<(), DriverError> {
    let updated = connection
        .domain_update_device_flags(domain, &nic.to_string(), affect)
        .await;
    if affect == DeviceModify::LIVE && is_wrong_state(&updated) {
        // It was stopped meanwhile, and will be behind the screen when it starts.
        return Ok(());
    }
    updated.during(act)
}
