//! Waiting until a started machine is ready: woken by events, leases read every quarter of a second, ended early
//! when the machine is seen off or crashed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use labyard_driver::HostEvent;
use labyard_driver::driver::AgentState;
use labyard_driver::ids::{MacAddr, ObjectId};
use labyard_driver::observed::{Attachment, Ended, Power};
use labyard_driver::spec::Firmware;
use tokio::time::{Instant, sleep, timeout};

use crate::desired::Wait;
use crate::error::EngineError;
use crate::firmware_words::{self, Course, Trust};
use crate::steps::{Outcome, Started, Work};
use crate::view::presentable;

/// How often leases are read while somebody waits for one.
const LEASES: Duration = Duration::from_millis(250);
/// How often addresses are looked for where there are no leases, and whether the machine still runs.
const SLOW: Duration = Duration::from_secs(2);
/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(2);
/// After which a pause is believed: a guest that crashes is paused first, and a moment later said to have crashed.
const SETTLES: Duration = Duration::from_millis(500);
/// How long an address is looked for after the agent has answered: it starts with the system, and the guest may still be
/// asking for one. Nobody can use a machine without.
const ADDRESS: Duration = Duration::from_secs(10);
/// Lines of the console that are shown: a kernel's last words with what led to them.
const LINES: usize = 50;

/// Waits for what the machine's `ready` asks for.
pub async fn until_ready(work: &mut Work<'_>) -> Outcome {
    let limit = work.desired.ready.timeout;
    let deadline = (Instant::now() + limit).min(work.deadline);
    let mut watch = Watch::new(work).await;
    loop {
        let course = course(work);
        if course == Course::GivenUp {
            return Err(not_ready(work, nothing_to_boot(work)));
        }
        if course != Course::Looking && met(work, &mut watch).await? {
            return Ok(());
        }
        if work.cancel.is_cancelled() {
            return work.may_mutate().await;
        }
        if watch.looks_due() {
            still_on(work).await?;
        }
        if Instant::now() >= deadline {
            return match watch.answered {
                Some(_) => Ok(()),
                None => Err(late(work, limit)),
            };
        }
        tokio::select! {
            () = watch.next() => {}
            () = work.cancel.cancelled() => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
    }
}

/// How far the firmware of a machine that boots from the network has come. It takes an address of its own long before
/// a guest runs, so that an address alone would say nothing.
fn course(work: &Work<'_>) -> Course {
    let from_network = work.desired.nics.values().any(|nic| nic.boot.is_some());
    if work.desired.firmware != Firmware::Uefi || !from_network || work.started != Started::Now {
        return Course::Silent;
    }
    firmware_words::course(&work.tail.text())
}

fn nothing_to_boot(work: &Work<'_>) -> String {
    match firmware_failure(work) {
        Some(cause) => format!("its firmware found nothing to boot: {cause}"),
        None => "its firmware found nothing to boot: no device of its boot order has a system, and no network offers one"
            .to_owned(),
    }
}

fn firmware_failure(work: &Work<'_>) -> Option<String> {
    let trust = match work.desired.ca_certificate {
        Some(_) => Trust::Given,
        None => Trust::Nobody,
    };
    firmware_words::explain(&work.tail.text(), trust)
}

/// What is looked at while waiting.
struct Watch {
    id: ObjectId,
    /// Networks of the machine's NICs in their order.
    networks: Vec<(MacAddr, Option<ObjectId>)>,
    events: Option<tokio::sync::broadcast::Receiver<HostEvent>>,
    last_look: Instant,
    /// An event said that something changed.
    woken: bool,
    last_slow: Option<Instant>,
    pace: Duration,
    /// Whether a NIC of it may get an address that can be seen.
    leads: Leads,
    /// When the agent answered, where that is waited for.
    answered: Option<Instant>,
}

/// Whether somebody beyond a machine's NICs may give it an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leads {
    Somewhere,
    Nowhere,
}

impl Watch {
    async fn new(work: &Work<'_>) -> Self {
        let networks = leasing_networks(work).await;
        let leases = networks.iter().any(|(_, network)| network.is_some());
        let bridged = work.detail().is_some_and(|detail| {
            let mut attachments = detail.nics.iter().map(|nic| &nic.attachment);
            attachments.any(|attachment| matches!(attachment, Attachment::Bridge(_)))
        });
        Self {
            id: work.id.clone(),
            networks,
            events: work.host.driver.events().await.ok(),
            last_look: Instant::now(),
            woken: false,
            last_slow: None,
            pace: if work.desired.ready.wait == Wait::Agent {
                SLOW
            } else {
                LEASES
            },
            leads: if leases || bridged {
                Leads::Somewhere
            } else {
                Leads::Nowhere
            },
            answered: None,
        }
    }

    /// Whether an address is still to be looked for, of a guest whose agent has answered.
    fn looks_for_address(&mut self) -> bool {
        let answered = *self.answered.get_or_insert_with(Instant::now);
        self.pace = LEASES;
        self.leads == Leads::Somewhere && answered.elapsed() < ADDRESS
    }

    /// Until an event about this machine, or for one pace.
    async fn next(&mut self) {
        let Some(events) = &mut self.events else {
            return sleep(self.pace).await;
        };
        let id = &self.id;
        let about_it = async {
            loop {
                match events.recv().await {
                    Ok(HostEvent::Machine(of) | HostEvent::Agent(of)) if &of != id => {}
                    Ok(_) => return,
                    // Events end with the connection; the pace goes on without them.
                    Err(_) => return std::future::pending().await,
                }
            }
        };
        self.woken = timeout(self.pace, about_it).await.is_ok();
    }

    fn looks_due(&mut self) -> bool {
        let due = std::mem::take(&mut self.woken) || self.last_look.elapsed() >= SLOW;
        if due {
            self.last_look = Instant::now();
        }
        due
    }

    fn slow_due(&mut self) -> bool {
        let due = self.last_slow.is_none_or(|last| last.elapsed() >= SLOW);
        if due {
            self.last_slow = Some(Instant::now());
        }
        due
    }
}

/// The MACs of a machine's NICs in their order, each with its network if that hands out addresses.
pub(crate) async fn leasing_networks(work: &Work<'_>) -> Vec<(MacAddr, Option<ObjectId>)> {
    let snapshot = work.host.recent().await.ok();
    let network_of = |attachment: &Attachment| {
        let Attachment::Network(name) = attachment else {
            return None;
        };
        let networks = &snapshot.as_ref()?.networks;
        let network = networks
            .iter()
            .find(|n| &n.host_name == name)
            .filter(|n| n.dhcp.is_some());
        network.map(|n| n.id.clone())
    };
    let macs: Vec<_> = work.mark().await.nics.into_values().map(|nic| nic.mac).collect();
    let detail = work.detail();
    let attachment_of = |mac| {
        detail
            .and_then(|d| d.nics.iter().find(|n| n.mac == mac))
            .map(|n| n.attachment.clone())
    };
    macs.into_iter()
        .map(|mac| (mac, attachment_of(mac).as_ref().and_then(network_of)))
        .collect()
}

async fn met(work: &mut Work<'_>, watch: &mut Watch) -> Result<bool, EngineError> {
    match work.desired.ready.wait {
        Wait::None => Ok(true),
        Wait::Agent => {
            if watch.answered.is_none() {
                let state = work.host.driver.agent_answers(&work.id).await;
                if !matches!(state, Ok(AgentState::Answers)) {
                    return Ok(false);
                }
            }
            work.seen = addresses(work, watch).await;
            Ok(!work.seen.is_empty() || !watch.looks_for_address())
        }
        Wait::Address => {
            work.seen = addresses(work, watch).await;
            Ok(!work.seen.is_empty())
        }
        Wait::Tcp(port) => {
            work.seen = addresses(work, watch).await;
            match work.seen.first() {
                Some(address) => Ok(accepts(*address, port).await),
                None => Ok(false),
            }
        }
    }
}

/// The addresses of the first NIC that has any, in the order of the keys: the lease of its network, else what the
/// host's neighbour table or the agent tells.
async fn addresses(work: &Work<'_>, watch: &mut Watch) -> Vec<IpAddr> {
    for (mac, network) in &watch.networks {
        let Some(network) = network else { continue };
        let board = &work.host.lease_board;
        let of_nic = board.addresses(work.host.driver.as_ref(), network, *mac).await;
        let shown = presentable(&of_nic);
        if !shown.is_empty() {
            return shown;
        }
    }
    let leaseless = watch.networks.iter().any(|(_, network)| network.is_none());
    if !leaseless || !watch.slow_due() {
        return Vec::new();
    }
    let told = work.host.driver.addresses(&work.id).await.unwrap_or_default();
    for (mac, _) in &watch.networks {
        let of_nic: Vec<_> = told
            .iter()
            .filter(|(m, _)| m == mac)
            .map(|(_, address)| *address)
            .collect();
        let shown = presentable(&of_nic);
        if !shown.is_empty() {
            return shown;
        }
    }
    Vec::new()
}

async fn accepts(address: IpAddr, port: u16) -> bool {
    let connect = tokio::net::TcpStream::connect(SocketAddr::new(address, port));
    matches!(timeout(CONNECT, connect).await, Ok(Ok(_)))
}

async fn still_on(work: &mut Work<'_>) -> Outcome {
    work.look().await?;
    if work.power() == Power::Paused {
        sleep(SETTLES).await;
        work.look().await?;
    }
    let seen = match (&work.found, work.power()) {
        (None, _) => "its definition is gone".to_owned(),
        (_, Power::Crashed) => "it crashed".to_owned(),
        (Some(machine), Power::Stopped) => {
            format!("it was shut off before it became ready{}", how(machine.ended))
        }
        (_, Power::Paused) => "it was paused before it became ready".to_owned(),
        (_, Power::Saved) => "it was saved before it became ready".to_owned(),
        (_, Power::Running) => return Ok(()),
    };
    Err(not_ready(work, seen))
}

fn how(ended: Option<Ended>) -> &'static str {
    match ended {
        Some(Ended::ByGuest) => ": its guest shut it down",
        Some(Ended::ByForce) => ": somebody took its power away",
        Some(Ended::Crashed) => ": its hypervisor process ended; the host's log of the machine may say why",
        Some(Ended::Failed) => ": the host did not get it to run",
        None => "",
    }
}

fn late(work: &Work<'_>, limit: Duration) -> EngineError {
    let wanted = match work.desired.ready.wait {
        Wait::None => "nothing".to_owned(),
        Wait::Address => "an address".to_owned(),
        Wait::Agent => "the guest agent".to_owned(),
        Wait::Tcp(port) => match work.seen.first() {
            Some(address) => format!("{address} to accept connections on TCP port {port}"),
            None => format!("an address, to connect to TCP port {port}"),
        },
    };
    let firmware = match course(work) {
        Course::Looking => firmware_failure(work)
            .map(|cause| format!(". Its firmware still looks for something to boot: {cause}")),
        Course::Silent | Course::Started | Course::GivenUp => None,
    };
    not_ready(
        work,
        format!(
            "waited {}s for {wanted}{}. Look at the console, or set ready",
            limit.as_secs(),
            firmware.unwrap_or_default()
        ),
    )
}

fn not_ready(work: &Work<'_>, why: String) -> EngineError {
    EngineError::NotReady {
        host: work.host.name.clone(),
        what: work.what(),
        why,
        console: work.tail.last_lines(LINES),
    }
}
