//! What is asked of guests: addresses, the agent.

use std::net::IpAddr;
use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::driver::AgentState;
use labyard_driver::ids::{MacAddr, ObjectId};
use libvirt_rpc::{AddressSource, AgentTimeout, ErrorCode, InterfaceAddresses};

use crate::errors::During;
use crate::host::Host;
use crate::machines::{act, reference};

/// How long an agent may take.
const AGENT: Duration = Duration::from_secs(2);
/// The same for libvirt, which counts in seconds: less, so that it gives up first and holds no call open.
const AGENT_TIMEOUT: AgentTimeout = AgentTimeout::Seconds(1);

pub(crate) async fn addresses(host: &Host, id: &ObjectId) -> Result<Vec<(MacAddr, IpAddr)>, DriverError> {
    let act = act("reading the addresses of", id);
    let session = host.session().await?;
    let domain = reference(&act, id)?;
    let impatient = session.connection.within(AGENT);
    let (neighbours, agent) = futures::join!(
        impatient.domain_interface_addresses(&domain, AddressSource::Arp),
        impatient.domain_interface_addresses(&domain, AddressSource::Agent),
    );
    let neighbours = match neighbours {
        Err(error) if error.is_invalid_state() || error.is_unsupported() => Vec::new(),
        // libvirt 9.0 does not understand the table as newer kernels tell it; the other sources still tell.
        Err(error) if error.code() == Some(ErrorCode::InternalError) => {
            tracing::debug!(%error, "no ARP table");
            Vec::new()
        }
        result => result.during(&act)?,
    };
    // An agent that is not there, hangs, or may not be asked, tells nothing; that is no error.
    let told = agent.unwrap_or_default();
    let mut found: Vec<(MacAddr, IpAddr)> = Vec::new();
    for pair in neighbours.iter().chain(&told).flat_map(pairs) {
        if !found.contains(&pair) {
            found.push(pair);
        }
    }
    Ok(found)
}

fn pairs(interface: &InterfaceAddresses) -> impl Iterator<Item = (MacAddr, IpAddr)> {
    let mac: Option<MacAddr> = interface.mac.as_deref().and_then(|mac| mac.parse().ok());
    let addresses = interface
        .addresses
        .iter()
        .filter_map(|address| address.address.parse::<IpAddr>().ok());
    addresses
        .filter_map(move |address| Some((mac?, address)))
        .filter(|(_, address)| !address.is_loopback())
}

pub(crate) async fn agent_answers(host: &Host, id: &ObjectId) -> Result<AgentState, DriverError> {
    let act = act("asking the agent of", id);
    let session = host.session().await?;
    let domain = reference(&act, id)?;
    let ping = r#"{"execute":"guest-ping"}"#;
    match session
        .connection
        .within(AGENT)
        .domain_agent_command(&domain, ping, AGENT_TIMEOUT)
        .await
    {
        Ok(_) => Ok(AgentState::Answers),
        // It answered, with an error of its own.
        Err(error) if error.code() == Some(ErrorCode::AgentCommandFailed) => Ok(AgentState::Answers),
        Err(error)
            if error.is_agent_unavailable()
                || error.is_invalid_state()
                || crate::observe::is_stall(&error)
                // A machine without a channel for it.
                || error.code() == Some(ErrorCode::ArgumentUnsupported) =>
        {
            Ok(AgentState::Silent)
        }
        Err(error) => Err(act.failed(&error)),
    }
}
