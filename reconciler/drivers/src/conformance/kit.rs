//! CD drives, name, autostart, processor, display and serial number.

use super::lab::{Failure, Lab, ensure, ensure_eq, ensure_error};
use super::sample;
use crate::DriverError;
use crate::ids::VolumeName;
use crate::observed::{Ability, Autostart, MachineDetail};
use crate::spec::{Choice, CpuModel, Graphics, Isolation, MachineSpec, MachineType, Nested};

type Result = std::result::Result<(), Failure>;

/// How often a host that is busy is asked again, and after what time.
const BUSY: u32 = 50;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

pub(super) async fn a_machine_is_renamed_while_it_is_off_and_stays_the_same(lab: &Lab<'_>) -> Result {
    let spec = lab.defined("before").await?;
    let name = lab.fixture.fresh_name("after");
    lab.driver.rename_machine(&spec.id, &name).await?;
    lab.driver.rename_machine(&spec.id, &name).await?;
    let seen = lab.driver.machine(&spec.id).await?;
    ensure_eq!(seen.host_name, name, "the name");
    ensure_eq!(seen.mark.ours(), Some(&spec.mark), "the mark");
    let mut again = lab.machine("again");
    again.host_name = spec.host_name.clone();
    lab.record(&mut again).await?;
    ensure_error!(lab.driver.rename_machine(&again.id, &name).await, Exists);
    let gone = sample::id(&lab.fixture.fresh_name("gone"));
    ensure_error!(lab.driver.rename_machine(&gone, "any").await, Missing);
    Ok(())
}

pub(super) async fn autostart_is_set_and_seen_alone_and_in_the_snapshot(lab: &Lab<'_>) -> Result {
    let spec = lab.defined("autostart").await?;
    ensure_eq!(
        lab.driver.machine(&spec.id).await?.autostart,
        Autostart::Off,
        "at first"
    );
    for wanted in [Autostart::On, Autostart::On, Autostart::Off] {
        lab.driver.set_autostart(&spec.id, wanted).await?;
        ensure_eq!(lab.driver.machine(&spec.id).await?.autostart, wanted, "autostart");
        let snapshot = lab.driver.snapshot().await?;
        let seen = snapshot.machines.iter().find(|machine| machine.id == spec.id);
        ensure_eq!(
            seen.map(|machine| machine.autostart),
            Some(wanted),
            "in the snapshot"
        );
    }
    Ok(())
}

pub(super) async fn hardware_is_as_asked_for_and_stays_where_nothing_is_asked(lab: &Lab<'_>) -> Result {
    let mut spec = lab.machine("hardware");
    spec.machine_type = MachineType::Pc;
    spec.cpu.model = Choice::Is(CpuModel::Named("qemu64".to_owned()));
    spec.cpu.nested = Choice::Is(Nested::Off);
    spec.graphics = Graphics::Vnc;
    spec.serial = Some("LY 1".to_owned());
    lab.define(&mut spec).await?;
    let asked = lab.detail(&spec.id).await?.hardware;
    ensure_eq!(asked.machine_type, Some(MachineType::Pc), "the chipset");
    ensure_eq!(
        asked.cpu_model,
        Some(CpuModel::Named("qemu64".to_owned())),
        "the processor"
    );
    ensure_eq!(asked.nested, Some(Nested::Off), "whether it nests");
    ensure_eq!(asked.graphics, Graphics::Vnc, "the display");
    ensure_eq!(asked.serial.as_deref(), Some("LY 1"), "the serial number");

    spec.cpu = Default::default();
    spec.serial = None;
    lab.driver.define_machine(&spec).await?;
    ensure_eq!(
        lab.detail(&spec.id).await?.hardware,
        asked,
        "what nothing was asked of"
    );
    spec.cpu.model = Choice::Default;
    spec.cpu.nested = Choice::Default;
    spec.graphics = Graphics::None;
    lab.driver.define_machine(&spec).await?;
    let usual = lab.detail(&spec.id).await?.hardware;
    ensure_eq!(
        usual.cpu_model,
        Some(spec.accelerator.usual_cpu()),
        "the usual processor"
    );
    ensure_eq!(usual.nested, None, "nothing said of nesting");
    ensure_eq!(usual.graphics, Graphics::None, "no display");
    Ok(())
}

pub(super) async fn a_display_has_a_port_of_its_own_while_its_machine_runs(lab: &Lab<'_>) -> Result {
    let mut ports = Vec::new();
    let mut specs = Vec::new();
    for (name, graphics) in [
        ("seen", Graphics::Vnc),
        ("shown", Graphics::Vnc),
        ("dark", Graphics::None),
    ] {
        let mut spec = MachineSpec {
            graphics,
            ..lab.machine(name)
        };
        lab.define(&mut spec).await?;
        ensure_eq!(lab.detail(&spec.id).await?.vnc_port, None, "before it runs");
        lab.driver.start_machine(&spec.id).await?;
        ports.push(lab.detail(&spec.id).await?.vnc_port);
        specs.push(spec);
    }
    ensure!(
        ports[0].is_some() && ports[1].is_some(),
        "displays without a port: {ports:?}"
    );
    ensure!(ports[0] != ports[1], "two displays with one port: {ports:?}");
    ensure_eq!(ports[2], None, "of a machine without a display");
    lab.driver.power_off(&specs[0].id).await?;
    ensure_eq!(
        lab.detail(&specs[0].id).await?.vnc_port,
        None,
        "of a machine that was stopped"
    );
    Ok(())
}

pub(super) async fn drives_come_and_go_in_a_stopped_machine(lab: &Lab<'_>) -> Result {
    let bare = lab.machine("drives");
    drives(lab, bare, Started::No).await
}

pub(super) async fn drives_come_and_go_in_a_running_machine(lab: &Lab<'_>) -> Result {
    let mut bare = lab.machine("drives");
    if lab.can(Ability::EmptyDrive).await? {
        return drives(lab, bare, Started::Yes).await;
    }
    lab.define(&mut bare).await?;
    lab.driver.start_machine(&bare.id).await?;
    let (id, one) = (bare.id.clone(), lab.medium("one").await?);
    let before = lab.detail(&id).await?;
    let filled = sample::with_drive(bare, "a", Some((&lab.pool, &one)));
    let empty = sample::with_drive(filled.clone(), "b", None);
    let refused = lab.driver.change_medium(&empty).await;
    ensure!(
        matches!(refused, Err(DriverError::Unsupported { .. })),
        "an empty drive that the host cannot plug in: {refused:?}"
    );
    ensure_eq!(
        lab.detail(&id).await?.live_cdroms,
        before.live_cdroms,
        "the drives"
    );
    change_medium(lab, &filled).await?;
    let detail = lab.detail(&id).await?;
    ensure_eq!(content(&detail, "sdb"), Some(&one), "what is in the drive");
    Ok(())
}

/// As callers do it: a guest that looks what is in the drive at that moment is waited for.
async fn change_medium(lab: &Lab<'_>, spec: &MachineSpec) -> Result {
    for _ in 0..BUSY {
        match lab.driver.change_medium(spec).await {
            Err(DriverError::Busy { .. }) => tokio::time::sleep(PAUSE).await,
            other => return other.map_err(Into::into),
        }
    }
    lab.driver.change_medium(spec).await.map_err(Into::into)
}

#[derive(Clone, Copy, PartialEq)]
enum Started {
    Yes,
    No,
}

async fn drives(lab: &Lab<'_>, mut bare: MachineSpec, started: Started) -> Result {
    let (one, two) = (lab.medium("one").await?, lab.medium("two").await?);
    lab.define(&mut bare).await?;
    if started == Started::Yes {
        lab.driver.start_machine(&bare.id).await?;
    }
    let with = |medium: Option<&VolumeName>| {
        let medium = medium.map(|volume| (&lab.pool, volume));
        sample::with_drive(sample::with_drive(bare.clone(), "a", medium), "b", None)
    };
    for medium in [Some(&one), Some(&two), None, Some(&one)] {
        let spec = with(medium);
        change_medium(lab, &spec).await?;
        change_medium(lab, &spec).await?;
        let detail = lab.detail(&bare.id).await?;
        ensure_eq!(content(&detail, "sdb"), medium, "what is in the drive");
        ensure_eq!(content(&detail, "sdc"), None, "what is in the empty drive");
        ensure!(detail.cdroms.contains_key("sdc"), "there is no empty drive");
        if let Some(live) = &detail.live_cdroms {
            let path = detail.cdroms["sdb"].as_ref().map(|medium| medium.path.clone());
            ensure_eq!(
                live.get("sdb").cloned(),
                Some(path.unwrap_or_default()),
                "what is in the running machine's drive"
            );
        }
        lab.driver.define_machine(&spec).await?;
        ensure_eq!(lab.detail(&bare.id).await?.cdroms, detail.cdroms, "defined again");
    }
    lab.driver.change_medium(&bare).await?;
    let detail = lab.detail(&bare.id).await?;
    ensure!(detail.cdroms.is_empty(), "drives: {:?}", detail.cdroms);
    let running = started == Started::Yes;
    ensure_eq!(
        detail.live_cdroms.map(|live| live.len()),
        running.then_some(0),
        "the running machine's drives"
    );
    Ok(())
}

fn content<'d>(detail: &'d MachineDetail, target: &str) -> Option<&'d VolumeName> {
    detail.cdroms.get(target)?.as_ref()?.volume.as_ref()
}

pub(super) async fn a_card_is_kept_apart_and_stays_so(lab: &Lab<'_>) -> Result {
    let mut spec = sample::with_nic(lab.machine("apart"), &lab.fixture.fresh_name("net"));
    spec.nics[0].isolation = Isolation::Apart;
    lab.define(&mut spec).await?;
    let shown = lab.detail(&spec.id).await?.nics[0].isolation;
    ensure_eq!(shown, Isolation::Apart, "as asked for");
    spec.nics[0].isolation = Isolation::Open;
    lab.driver.define_machine(&spec).await?;
    let shown = lab.detail(&spec.id).await?.nics[0].isolation;
    ensure_eq!(shown, Isolation::Apart, "where nothing is asked for any more");
    Ok(())
}
