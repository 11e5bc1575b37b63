//! Verbs on machines: record, define, mark, power, remove.

use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::ids::{ObjectId, PoolName};
use labyard_driver::mark::{Mark, XML_NAMESPACE};
use labyard_driver::observed::{Autostart, ObservedMachine};
use labyard_driver::spec::{Accelerator, Choice, MachineSpec};
use libvirt_rpc::flags::{
    Affect, DomainCreate, DomainDefine, DomainDestroy, DomainShutdown, DomainUndefine, DomainXml,
};
use libvirt_rpc::{Connection, DomainRef, DomainState, Error, ErrorCode, Metadata, StateAndReason};

use crate::errors::{Act, During, is_wrong_state};
use crate::host::{Host, Session, parse};
use crate::machine_xml::hardware::{Vendor, set_nested};
use crate::xml::Element;
use crate::{machine_xml, mark_xml, observe};

/// A QEMU that does not react is given ten seconds by libvirt before it is killed.
const DESTROY: Duration = Duration::from_secs(60);
/// A start makes taps and waits for QEMU to come up.
const START: Duration = Duration::from_secs(120);

pub(crate) fn act(verb: &str, id: &ObjectId) -> Act {
    Act::on(verb, format!("machine {id}"))
}

/// libvirt finds a domain by its UUID alone, so that nothing has to be looked up.
pub(crate) fn reference(act: &Act, id: &ObjectId) -> Result<DomainRef, DriverError> {
    Ok(DomainRef::new(id.as_str(), act.uuid(id)?))
}

pub(crate) fn is_active(state: &StateAndReason) -> bool {
    !matches!(state.state, DomainState::Shutoff | DomainState::NoState)
}

/// The pools that a specification speaks of.
pub(crate) fn pools_of(spec: &MachineSpec) -> Vec<PoolName> {
    let marked = spec.mark.own_volumes().into_iter().map(|(pool, _)| pool);
    let released = spec.mark.released.iter().map(|(pool, _)| pool.clone());
    let disks = spec.disks.iter().map(|disk| disk.pool.clone());
    disks
        .chain(spec.seed.iter().map(|seed| seed.pool.clone()))
        .chain(
            spec.media
                .iter()
                .filter_map(|drive| Some(drive.medium.as_ref()?.0.clone())),
        )
        .chain(marked)
        .chain(released)
        .collect()
}

pub(crate) async fn record(host: &Host, spec: &MachineSpec) -> Result<ObservedMachine, DriverError> {
    let act = Act::on("recording", format!("machine {}", spec.host_name));
    let session = host.session().await?;
    let uuid = act.uuid(&spec.id)?;
    // Defining over an own id would change what is there, so that it has to be free.
    match session.connection.domain_lookup_by_uuid(uuid).await {
        Ok(_) => return Err(act.exists()),
        Err(error) if error.is_no_domain() => {}
        Err(error) => return Err(act.failed(&error)),
    }
    define(&session.connection, &act, &machine_xml::bare(spec)).await?;
    observe::machine(host, &session, &spec.id).await
}

async fn define(connection: &Connection, act: &Act, domain: &Element) -> Result<(), DriverError> {
    match connection
        .domain_define_xml_flags(&domain.to_string(), DomainDefine::empty())
        .await
    {
        Ok(_) => Ok(()),
        // The code for a name or UUID in use; a definition is refused with others.
        Err(error) if error.code() == Some(ErrorCode::OperationFailed) => {
            let name = domain.text_at(&["name"]).unwrap_or_default();
            match connection.domain_lookup_by_name(&name).await {
                Ok(_) => Err(act.exists()),
                Err(_) => Err(act.failed(&error)),
            }
        }
        Err(error) => Err(act.failed(&error)),
    }
}

pub(crate) async fn redefine(host: &Host, spec: &MachineSpec) -> Result<ObservedMachine, DriverError> {
    let act = act("defining", &spec.id);
    let session = host.session().await?;
    let domain = reference(&act, &spec.id)?;
    let places = host.places(&session, pools_of(spec), &act).await?;
    let mut definition = definition(&session, &act, &domain).await?;
    let before = definition.to_string();
    machine_xml::edit(&mut definition, spec, &places).map_err(|error| act.refused(error.to_string()))?;
    if spec.cpu.nested != Choice::AsFound {
        let vendor = match spec.accelerator {
            Accelerator::Kvm => host.vendor(&session).await?,
            Accelerator::Qemu => Vendor::Amd,
        };
        set_nested(&mut definition, &spec.cpu.nested, vendor);
    }
    let changed = definition.to_string() != before;
    if changed && is_active(&session.connection.domain_get_state(&domain).await.during(&act)?) {
        let live = session
            .connection
            .domain_get_xml_desc(&domain, DomainXml::empty())
            .await;
        machine_xml::keep_addresses(&mut definition, &parse(&act, &live.during(&act)?)?);
    }
    // One that runs without a definition shows what runs, and needs one however little there is to change.
    if changed
        || !session
            .connection
            .domain_is_persistent(&domain)
            .await
            .during(&act)?
    {
        define(&session.connection, &act, &definition).await?;
    }
    observe::machine(host, &session, &spec.id).await
}

/// The definition with its secrets, since what is left out of a new definition is lost.
pub(crate) async fn definition(
    session: &Session,
    act: &Act,
    domain: &DomainRef,
) -> Result<Element, DriverError> {
    let flags = DomainXml::INACTIVE | DomainXml::SECURE;
    parse(
        act,
        &session
            .connection
            .domain_get_xml_desc(domain, flags)
            .await
            .during(act)?,
    )
}

pub(crate) async fn write_mark(host: &Host, id: &ObjectId, mark: &Mark) -> Result<(), DriverError> {
    let act = act("marking", id);
    let session = host.session().await?;
    let domain = reference(&act, id)?;
    let xml = mark_xml::bare(mark).to_string();
    let metadata = Metadata::Element {
        xml: Some(&xml),
        prefix: mark_xml::PREFIX,
        uri: XML_NAMESPACE,
    };
    let state = session.connection.domain_get_state(&domain).await.during(&act)?;
    let affect = if is_active(&state) {
        Affect::CONFIG | Affect::LIVE
    } else {
        Affect::CONFIG
    };
    let mut result = session
        .connection
        .domain_set_metadata(&domain, metadata, affect)
        .await;
    if is_wrong_state(&result) && affect.contains(Affect::LIVE) {
        // It stopped in between; nothing was written.
        result = session
            .connection
            .domain_set_metadata(&domain, metadata, Affect::CONFIG)
            .await;
    }
    result.during(&act)
}

pub(crate) async fn rename(host: &Host, id: &ObjectId, name: &str) -> Result<(), DriverError> {
    let act = act("renaming", id);
    let session = host.session().await?;
    let domain = reference(&act, id)?;
    let connection = &session.connection;
    if definition(&session, &act, &domain)
        .await?
        .text_at(&["name"])
        .as_deref()
        == Some(name)
    {
        return Ok(());
    }
    let state = connection.domain_get_state(&domain).await.during(&act)?;
    if is_active(&state) {
        return Err(act.refused("it runs, and libvirt renames only what is off: stop it first"));
    }
    match connection.domain_rename(&domain, name).await {
        Ok(()) => Ok(()),
        Err(error) => match connection.domain_lookup_by_name(name).await {
            Ok(_) => Err(Act::on("renaming", format!("machine {id} to {name}")).exists()),
            Err(_) => Err(act.failed(&error)),
        },
    }
}

pub(crate) async fn set_autostart(
    host: &Host,
    id: &ObjectId,
    autostart: Autostart,
) -> Result<(), DriverError> {
    let act = act("changing the autostart of", id);
    let session = host.session().await?;
    let domain = reference(&act, id)?;
    session
        .connection
        .domain_set_autostart(&domain, autostart == Autostart::On)
        .await
        .during(&act)
}

pub(crate) async fn start(host: &Host, id: &ObjectId) -> Result<(), DriverError> {
    let act = act("starting", id);
    let session = host.session().await?;
    let domain = reference(&act, id)?;
    let state = session.connection.domain_get_state(&domain).await.during(&act)?;
    match state.state {
        DomainState::Paused if !observe::is_starting(&state) => {
            session.connection.domain_resume(&domain).await.during(&act)
        }
        DomainState::PmSuspended => {
            Err(act.refused("the guest sleeps by its own choice: wake it or power it off"))
        }
        // What is left of a crash is a process without a guest.
        DomainState::Crashed => {
            destroy(&session.connection, &act, &domain).await?;
            create(&session.connection, &act, &domain).await
        }
        _ if is_active(&state) => Ok(()),
        _ => create(&session.connection, &act, &domain).await,
    }
}

async fn create(connection: &Connection, act: &Act, domain: &DomainRef) -> Result<(), DriverError> {
    let result = connection
        .within(START)
        .domain_create_with_flags(domain, DomainCreate::empty())
        .await;
    if is_wrong_state(&result) {
        let state = connection.domain_get_state(domain).await.during(act)?;
        if is_active(&state) {
            return Ok(());
        }
    }
    match result {
        Ok(_) => Ok(()),
        // What a start does not find is a disk, a pool or a network of the machine, not the machine.
        Err(error) if crate::errors::is_missing(&error) && !error.is_no_domain() => {
            Err(act.refused(error.to_string()))
        }
        Err(error) => match crate::explain::start(&error) {
            Some(explained) => Err(act.refused(explained)),
            None => Err(act.failed(&error)),
        },
    }
}

pub(crate) async fn request_shutdown(host: &Host, id: &ObjectId) -> Result<(), DriverError> {
    let act = act("shutting down", id);
    let session = host.session().await?;
    let domain = reference(&act, id)?;
    // By the power button: asking the agent blocks for a minute where the guest ignores it.
    let result = session
        .connection
        .domain_shutdown_flags(&domain, DomainShutdown::ACPI)
        .await;
    settled(&session.connection, &act, &domain, result).await
}

pub(crate) async fn power_off(host: &Host, id: &ObjectId) -> Result<(), DriverError> {
    let act = act("powering off", id);
    let session = host.session().await?;
    let domain = reference(&act, id)?;
    let state = session.connection.domain_get_state(&domain).await.during(&act)?;
    if is_active(&state) {
        destroy(&session.connection, &act, &domain).await?;
    }
    match session.connection.domain_has_managed_save_image(&domain).await {
        Ok(true) => session
            .connection
            .domain_managed_save_remove(&domain)
            .await
            .during(&act),
        Ok(false) => Ok(()),
        // It had no definition and went with its process.
        Err(error) if error.is_no_domain() => Ok(()),
        Err(error) => Err(act.failed(&error)),
    }
}

async fn destroy(connection: &Connection, act: &Act, domain: &DomainRef) -> Result<(), DriverError> {
    let result = connection
        .within(DESTROY)
        .domain_destroy_flags(domain, DomainDestroy::empty())
        .await;
    settled(connection, act, domain, result).await
}

/// A call that wants a running machine is done where it does not run.
async fn settled(
    connection: &Connection,
    act: &Act,
    domain: &DomainRef,
    result: Result<(), Error>,
) -> Result<(), DriverError> {
    if is_wrong_state(&result) {
        let state = connection.domain_get_state(domain).await.during(act)?;
        if !is_active(&state) {
            return Ok(());
        }
    }
    result.during(act)
}

pub(crate) async fn remove(host: &Host, id: &ObjectId) -> Result<(), DriverError> {
    let act = act("removing", id);
    let session = host.session().await?;
    let domain = reference(&act, id)?;
    match session.connection.domain_get_state(&domain).await {
        // Undefined while it runs it would live on without a definition.
        Ok(state) if is_active(&state) => return Err(act.refused("it runs: power it off first")),
        Ok(_) => {}
        Err(error) if error.is_no_domain() => return Ok(()),
        Err(error) => return Err(act.failed(&error)),
    }
    let everything = DomainUndefine::MANAGED_SAVE
        | DomainUndefine::SNAPSHOTS_METADATA
        | DomainUndefine::CHECKPOINTS_METADATA
        | DomainUndefine::NVRAM
        | DomainUndefine::TPM;
    match session
        .connection
        .domain_undefine_flags(&domain, everything)
        .await
    {
        Err(error) if error.is_no_domain() => Ok(()),
        result => result.during(&act),
    }
}
