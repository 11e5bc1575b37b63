//! Firmware: guards, variables, boot order, and the boot file of a network.

use super::lab::{Failure, Lab, ensure, ensure_eq, known};
use super::sample;
use crate::driver::VariablesOf;
use crate::spec::{
    BootDevice, Firmware, Guards, MachineSpec, NetworkBoot, NvramSpec, SecureBoot, Tpm, VolumeContent,
};

type Result = std::result::Result<(), Failure>;

pub(super) async fn templates_of_variables_are_read_the_same_each_time(lab: &Lab<'_>) -> Result {
    let offered = lab.driver.offers().await?.variables;
    for kind in [SecureBoot::Off, SecureBoot::Microsoft] {
        if !matches!(offered.get(&kind), Some(Ok(_))) {
            continue;
        }
        let of = VariablesOf::Template(kind);
        let first = lab.driver.firmware_variables(&of).await?;
        ensure!(first.get(40..44) == Some(&b"_FVH"[..]), "no volume of variables");
        ensure!(
            lab.driver.firmware_variables(&of).await? == first,
            "another template"
        );
        lab.driver.tidy().await?;
    }
    let nowhere = VariablesOf::File("/nonexistent/labyard_VARS.fd".to_owned());
    ensure!(
        lab.driver.firmware_variables(&nowhere).await.is_err(),
        "variables of nothing"
    );
    lab.driver.discard_variables("/tmp/labyard_VARS.fd").await?;
    Ok(())
}

pub(super) async fn guards_variables_and_boot_order_are_shown_as_asked_for(lab: &Lab<'_>) -> Result {
    let disk = lab.disk("one").await?;
    let nvram = sample::volume(
        &lab.pool,
        &lab.volume("nvram"),
        VolumeContent::Upload {
            length: crate::ids::Bytes(512),
        },
    );
    lab.driver.create_volume(&nvram).await?;
    let mut bare = lab.machine("uefi");
    bare.firmware = Firmware::Uefi;
    let spec = sample::with_nic(
        sample::with_disk(bare.clone(), &lab.pool, &disk),
        "no-such-network",
    );
    let spec = sample::with_drive(spec, "setup", None);
    let (disk, nic) = (spec.disks[0].key.clone(), spec.nics[0].key.clone());
    let drive = spec.media[0].key.clone();
    let mut guarded = MachineSpec {
        guards: Guards {
            secure_boot: SecureBoot::Off,
            tpm: Tpm::Emulated,
        },
        nvram: Some(NvramSpec {
            pool: lab.pool.clone(),
            volume: nvram.name.clone(),
        }),
        boot_order: vec![
            BootDevice::Nic(nic),
            BootDevice::Drive(drive),
            BootDevice::Disk(disk),
        ],
        ..spec.clone()
    };
    lab.define(&mut guarded).await?;
    let spec = MachineSpec {
        id: guarded.id.clone(),
        ..spec
    };
    let seen = lab.driver.machine(&spec.id).await?;
    let detail = known(&seen)?;
    ensure_eq!(detail.guards, guarded.guards, "the guards");
    let shown = detail.nvram.as_ref().and_then(|nvram| nvram.volume.clone());
    ensure_eq!(shown, Some(nvram.name.clone()), "the variables' volume");
    let place = detail.drive_boot.get(&spec.media[0].target).copied();
    ensure!(
        detail.nics[0].boot < place && place < detail.disks[0].boot,
        "the card is not first, the CD drive not second"
    );
    lab.driver.define_machine(&spec).await?;
    let detail = lab.detail(&spec.id).await?;
    ensure_eq!(detail.guards, Guards::default(), "the guards taken away");
    ensure_eq!(detail.nics[0].boot, None, "the card's place taken away");
    ensure!(detail.drive_boot.is_empty(), "the drive's place is still there");
    lab.driver.remove_machine(&spec.id).await?;
    lab.driver.delete_volume(&lab.pool, &nvram.name).await?;
    Ok(())
}

pub(super) async fn a_boot_file_is_told_changed_and_taken_back(lab: &Lab<'_>) -> Result {
    let mut spec = lab.network("boot")?;
    let file = |name: &str| NetworkBoot {
        url: format!("https://boot.lab.test/{name}"),
        vendor_class: "HTTPClient".to_owned(),
    };
    spec.boot = Some(file("a.efi"));
    let made = lab.create(&mut spec).await?;
    ensure_eq!(made.boot, spec.boot, "the boot file");
    for boot in [Some(file("b.efi")), None] {
        spec.boot = boot;
        let changed = lab.driver.change_network(&spec).await?;
        ensure_eq!(changed.boot, spec.boot, "the boot file");
    }
    lab.driver.remove_network(&spec.id).await?;
    Ok(())
}
