//! What really runs guests on a host.
//!
//! That KVM is there says little: inside another hypervisor it may run the firmware and hang what comes after. So a
//! payload is booted, once a process and host, and has to say a word on the serial port.
//!
//! What a probe makes goes with it: the machine is transient and ends with its connection, and a volume that a killed
//! process left is removed by the next probe, by the time in its name.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use futures::stream;
use labyard_driver::ids::{Bytes, HostUuid, VolumeName};
use labyard_driver::spec::{Accelerator, ProbePayload, VolumeContent, VolumeSpec};
use labyard_driver::{DriverError, Entry};
use libvirt_rpc::flags::{DomainCreate, DomainDestroy, ListDomains};
use libvirt_rpc::{Connection, Console, DomainRef};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::capabilities::{ARCH, MACHINE};
use crate::config::AcceleratorChoice;
use crate::errors::{Act, During};
use crate::host::Host;
use crate::machine_xml::domain_type;
use crate::xml::Element;
use crate::{console, upload, volumes};

/// From power on to the payload's word. Firmware and payload need a fraction of it.
const PATIENCE: Duration = Duration::from_secs(10);
const PREFIX: &str = "labyard-probe-";
/// What is older belongs to a process that was killed.
const LEFT_BEHIND: Duration = Duration::from_secs(300);
/// Firmware boots from no disk of less than a cylinder, which is 504 KiB.
const LEAST_DISK: usize = 1 << 20;

/// Answers of this process by host; whoever asks while a probe runs waits for it.
static KNOWN: Mutex<BTreeMap<HostUuid, Accelerator>> = Mutex::const_new(BTreeMap::new());

/// Answers from the configuration, from what the host claims, or by booting the payload.
pub(crate) async fn accelerator(
    host: &Host,
    choice: AcceleratorChoice,
    payload: &ProbePayload,
) -> Result<Accelerator, DriverError> {
    match choice {
        AcceleratorChoice::Kvm => return Ok(Accelerator::Kvm),
        AcceleratorChoice::Qemu => return Ok(Accelerator::Qemu),
        AcceleratorChoice::Auto => {}
    }
    let session = host.session().await?;
    let facts = host.facts(&session).await?;
    if !facts.accelerators.contains(&Accelerator::Kvm) {
        return Ok(Accelerator::Qemu);
    }
    let mut known = KNOWN.lock().await;
    if let Some(accelerator) = known.get(&facts.uuid) {
        return Ok(*accelerator);
    }
    let accelerator = match runs(host, Accelerator::Kvm, payload).await? {
        true => Accelerator::Kvm,
        false => Accelerator::Qemu,
    };
    known.insert(facts.uuid, accelerator);
    Ok(accelerator)
}

/// Whether the payload says its word under an accelerator.
pub(crate) async fn runs(
    host: &Host,
    accelerator: Accelerator,
    payload: &ProbePayload,
) -> Result<bool, DriverError> {
    let act = Act::on("trying", format!("{} on the host", domain_type(accelerator)));
    remove_left_behind(host, &act).await?;
    let name = fresh_name();
    let volume = VolumeName(name.clone());
    let outcome = async {
        let path = store(host, &volume, &payload.image).await?;
        boot(host, &act, &machine(&name, &path, accelerator), &payload.magic).await
    };
    let outcome = outcome.await;
    let removed = volumes::delete(host, &host.pool, &volume).await;
    let runs = outcome?;
    removed?;
    tracing::info!(
        accelerator = domain_type(accelerator),
        runs,
        "tried the accelerator"
    );
    Ok(runs)
}

async fn store(host: &Host, volume: &VolumeName, image: &[u8]) -> Result<String, DriverError> {
    let mut image = image.to_vec();
    image.resize(image.len().next_multiple_of(LEAST_DISK).max(LEAST_DISK), 0);
    let length = Bytes(image.len() as u64);
    let spec = VolumeSpec {
        pool: host.pool.clone(),
        name: volume.clone(),
        content: VolumeContent::Upload { length },
    };
    let made = volumes::create(host, &spec).await?;
    let content = stream::iter([Ok(image.into())]).boxed();
    upload::upload(host, &host.pool, volume, length, content, PATIENCE).await?;
    Ok(made.path)
}

fn machine(name: &str, path: &str, accelerator: Accelerator) -> Element {
    let text = |name: &str, text: &str| Element::new(name).saying(text);
    let disk = Element::new("disk")
        .with("type", "file")
        .holding(Element::new("driver").with("name", "qemu").with("type", "raw"))
        .holding(Element::new("source").with("file", path))
        .holding(Element::new("target").with("dev", "vda").with("bus", "virtio"))
        .holding(Element::new("boot").with("order", "1"));
    Element::new("domain")
        .with("type", domain_type(accelerator))
        .holding(text("name", name))
        .holding(text("memory", "64").with("unit", "MiB"))
        .holding(text("vcpu", "1"))
        .holding(Element::new("os").holding(text("type", "hvm").with("arch", ARCH).with("machine", MACHINE)))
        .holding(crate::machine_xml::cpu(accelerator))
        .holding(
            Element::new("devices")
                .holding(disk)
                .holding(Element::new("serial").with("type", "pty"))
                .holding(Element::new("memballoon").with("model", "none")),
        )
}

async fn boot(host: &Host, act: &Act, machine: &Element, magic: &[u8]) -> Result<bool, DriverError> {
    let line = host.connect_for_streams().await?;
    let connection = line.connection()?;
    // Paused, so that nobody misses its word; gone with the connection, whatever becomes of this process.
    let flags = DomainCreate::PAUSED | DomainCreate::AUTODESTROY;
    let domain = match connection.domain_create_xml(&machine.to_string(), flags).await {
        Ok(domain) => domain,
        // The host claims it and cannot: no permission, no device, no such processor.
        Err(error) if error.server().is_some() => {
            tracing::info!(%error, "the accelerator does not start");
            return Ok(false);
        }
        Err(error) => return Err(act.failed(&error)),
    };
    let said = listen(connection, act, &domain, magic).await;
    let ended = connection
        .domain_destroy_flags(&domain, DomainDestroy::empty())
        .await;
    let said = said?;
    match ended {
        Err(error) if !error.is_no_domain() && !error.is_invalid_state() => Err(act.failed(&error)),
        _ => Ok(said),
    }
}

async fn listen(
    connection: &Connection,
    act: &Act,
    domain: &DomainRef,
    magic: &[u8],
) -> Result<bool, DriverError> {
    let console = console::open(connection, act, domain, Entry::TakesOver).await?;
    connection.domain_resume(domain).await.during(act)?;
    match timeout(PATIENCE, hear(console, magic)).await {
        Ok(heard) => heard.during(act),
        Err(_) => Ok(false),
    }
}

/// Whether the word comes; never, if the machine ends before.
async fn hear(mut console: Console, magic: &[u8]) -> Result<bool, libvirt_rpc::Error> {
    let mut said = Vec::new();
    while let Some(bytes) = console.read().await? {
        said.extend_from_slice(&bytes);
        if said.windows(magic.len().max(1)).any(|window| window == magic) {
            return Ok(true);
        }
        let old = said.len().saturating_sub(magic.len());
        said.drain(..old);
    }
    Ok(false)
}

/// A name with the time in it, and something random: two processes may probe at once.
fn fresh_name() -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("{PREFIX}{}-{random:016x}", now().as_secs())
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Whether a name is of a probe that has long been over.
fn is_left_behind(name: &str, now: Duration) -> bool {
    let made = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once('-'))
        .and_then(|(secs, _)| secs.parse().ok());
    made.is_some_and(|made| now > Duration::from_secs(made) + LEFT_BEHIND)
}

async fn remove_left_behind(host: &Host, act: &Act) -> Result<(), DriverError> {
    let session = host.session().await?;
    let running = session
        .connection
        .connect_list_all_domains(ListDomains::ACTIVE)
        .await
        .during(act)?;
    for domain in running
        .iter()
        .filter(|domain| is_left_behind(&domain.name, now()))
    {
        let ended = session
            .connection
            .domain_destroy_flags(domain, DomainDestroy::empty())
            .await;
        tracing::debug!(name = domain.name, ?ended, "a probe's machine was left behind");
    }
    for volume in volumes::list(host, &host.pool).await? {
        if is_left_behind(volume.as_str(), now()) {
            volumes::delete(host, &host.pool, &volume).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_probes_that_have_long_been_over_are_left_behind() {
        let now = Duration::from_secs(10_000);
        for (name, left) in [
            ("labyard-probe-9000-0123", true),
            ("labyard-probe-9900-0123", false),
            ("labyard-probe-20000-0123", false),
            ("labyard-probe-x-1", false),
            ("labyard-probe-9000", false),
            ("web", false),
        ] {
            assert_eq!(is_left_behind(name, now), left, "{name}");
        }
        assert!(!is_left_behind(&fresh_name(), super::now()));
        assert_ne!(fresh_name(), fresh_name());
    }

    #[test]
    fn a_machine_for_a_probe_is_what_was_asked_for() {
        let xml = machine("n", "/p/n", Accelerator::Kvm).to_string();
        assert!(
            xml.contains("<domain type='kvm'>") && xml.contains("file='/p/n'"),
            "{xml}"
        );
    }
}
