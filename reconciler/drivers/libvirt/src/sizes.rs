//! The sizes of disks, which for running machines QEMU tells: one that hangs is found and left out.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use labyard_driver::DriverError;
use libvirt_rpc::flags::{GetStats, StatsTypes};
use libvirt_rpc::{Connection, DomainRef, DomainStats, Error, Uuid};
use tokio::time::Instant;

use crate::errors::During;
use crate::host::{Host, Line, Session};
use crate::machine_xml::Sizes;
use crate::machines::is_active;
use crate::observe::{self, ASK_QEMU, is_stall, reading_all};
use crate::snapshot::Reading;

/// How long one machine may take once it is known that some machine hangs.
const ONE: Duration = Duration::from_millis(400);
/// How long libvirt may take to look at the disks of a stopped machine.
const FILE: Duration = Duration::from_millis(5);
/// As many at once as libvirt works on for one connection.
const AT_ONCE: usize = 4;
/// How long all of them may take.
const ALL: Duration = Duration::from_secs(5);

/// The sizes of all disks of these machines. A machine that is missing in it did not answer in time.
pub(crate) async fn read_sizes(
    host: &Host,
    session: &std::sync::Arc<Session>,
    ours: &[&Reading],
) -> Result<BTreeMap<Uuid, Sizes>, DriverError> {
    let act = reading_all();
    let domains: Vec<DomainRef> = ours.iter().map(|reading| reading.domain.clone()).collect();
    if domains.is_empty() {
        return Ok(BTreeMap::new());
    }
    match stats(&session.connection.within(patience(ours.len())), &domains).await {
        Ok(stats) => return Ok(collected(stats)),
        Err(error) if is_stall(&error) || went_away(&error) => {}
        Err(error) => return Err(act.failed(&error)),
    }
    // libvirt still works at the call for as long as QEMU hangs; so this connection is left to it.
    host.abandon(session).await;
    let (running, stopped): (Vec<&Reading>, Vec<&Reading>) =
        ours.iter().partition(|reading| is_active(&reading.state));
    let stopped: Vec<DomainRef> = stopped
        .into_iter()
        .map(|reading| reading.domain.clone())
        .collect();
    let connection = host.connect().await?;
    let mut sizes = match stopped.is_empty() {
        true => BTreeMap::new(),
        false => match stats(&connection.within(patience(stopped.len())), &stopped).await {
            Ok(stats) => collected(stats),
            Err(error) if is_stall(&error) || went_away(&error) => BTreeMap::new(),
            Err(error) => return Err(act.failed(&error)),
        },
    };
    sizes.extend(one_by_one(host, connection, &running).await?);
    Ok(sizes)
}

/// How long all of so many machines may take: the disks of stopped ones libvirt opens itself, one after the other.
fn patience(machines: usize) -> Duration {
    ASK_QEMU + FILE.saturating_mul(u32::try_from(machines).unwrap_or(u32::MAX))
}

/// Each call that sticks takes one of the few places that libvirt has for a connection: then the next ones get another.
async fn one_by_one(
    host: &Host,
    mut connection: Line,
    running: &[&Reading],
) -> Result<BTreeMap<Uuid, Sizes>, DriverError> {
    let until = Instant::now() + ALL;
    let mut sizes = BTreeMap::new();
    for few in running.chunks(AT_ONCE) {
        if Instant::now() > until {
            break;
        }
        let impatient = connection.within(ONE);
        let answers = join_all(
            few.iter()
                .map(|reading| stats(&impatient, std::slice::from_ref(&reading.domain))),
        )
        .await;
        let mut stuck = false;
        for answer in answers {
            match answer {
                Ok(stats) => sizes.extend(collected(stats)),
                Err(error) if is_stall(&error) => stuck = true,
                Err(error) if went_away(&error) => {}
                Err(error) => return Err(error).during(&reading_all()),
            }
        }
        if stuck {
            connection = host.connect().await?;
        }
    }
    Ok(sizes)
}

async fn stats(connection: &Connection, domains: &[DomainRef]) -> Result<Vec<DomainStats>, Error> {
    connection
        .domain_list_get_stats(domains, StatsTypes::BLOCK, GetStats::empty())
        .await
}

fn collected(stats: Vec<DomainStats>) -> BTreeMap<Uuid, Sizes> {
    stats
        .into_iter()
        .map(|stats| (stats.domain.uuid, observe::sizes(&stats)))
        .collect()
}

/// A machine ended or went away while it was asked; with a list of machines one is enough to fail all.
fn went_away(error: &Error) -> bool {
    error.is_no_domain() || error.is_invalid_state()
}
