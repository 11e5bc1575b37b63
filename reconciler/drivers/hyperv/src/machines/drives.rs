//! Drives of disks and CDs: plugged in, filled, emptied, taken out, each step after the job of the one before, since a host
//! refuses a medium whose drive is not done and a drive whose medium is still in.

use std::collections::BTreeSet;

use labyard_driver::DriverError;
use labyard_driver::spec::MachineSpec;
use wsman::Reference;

use super::define::{Changing, Defining};
use crate::call::{Service, call, instance};
use crate::classes::{Drive, Medium, V2};
use crate::ids::{Generation, Resource};
use crate::places::{Content, Directory, same_path};
use crate::reading::Inside;
use crate::reading::devices::Plugged;
use crate::slots::{Device, Place};

const RASD: &str = "Msvm_ResourceAllocationSettingData";
const SASD: &str = "Msvm_StorageAllocationSettingData";

/// A drive as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    device: Device,
    place: Place,
    /// The file in it.
    file: Option<String>,
}

/// What has to be done, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
struct Plan {
    /// Media to take out: ids.
    eject: Vec<String>,
    /// Drives to take off: ids.
    unplug: Vec<String>,
    /// Whether a SCSI controller is missing.
    controller: bool,
    /// Drives to plug in.
    plug: Vec<(Device, Place)>,
    /// Files to put in: where, and what.
    insert: Vec<(Device, Place, String)>,
    /// Files to put in for others: the id of the medium, and what.
    swap: Vec<(String, String)>,
}

/// What the specification wants. A target that is no place is an error that names it.
fn wanted(spec: &MachineSpec, generation: Generation, directory: &Directory) -> Result<Vec<Wanted>, String> {
    let place = |target: &str| {
        Place::named(generation, target)
            .ok_or_else(|| format!("{target} is no place on this host: it has vda to vdaf for disks and sda to sdaf for CD drives"))
    };
    let disks = spec.disks.iter().map(|disk| {
        let (device, place) = place(&disk.target)?;
        let file = Some(directory.file(&disk.volume, Content::Disk));
        Ok(Wanted { device, place, file })
    });
    let seed = spec.seed.iter().map(|seed| {
        let (device, place) = place(&seed.target)?;
        let file = Some(directory.file(&seed.volume, Content::Iso));
        Ok(Wanted { device, place, file })
    });
    let drives = spec.media.iter().map(|drive| {
        let (device, place) = place(&drive.target)?;
        let file = drive
            .medium
            .as_ref()
            .map(|(_, volume)| directory.file(volume, Content::Iso));
        Ok(Wanted { device, place, file })
    });
    disks.chain(seed).chain(drives).collect()
}

/// What has to be done. Taken out is only what is ours and not asked for; on a place that is asked for somebody else's device is an
/// error.
fn plan(
    wanted: &[Wanted],
    there: &[Plugged],
    controller: bool,
    ours: impl Fn(&str) -> bool,
) -> Result<Plan, String> {
    let mut plan = Plan {
        // A running machine takes drives and no controller.
        controller: !controller,
        ..Plan::default()
    };
    for plugged in there {
        let file = plugged.medium.as_ref();
        let is_ours = match (plugged.device, file) {
            (_, Some((_, file))) => ours(file),
            // An empty drive says of nobody's that it is; where labyard puts drives it is labyard's.
            (Device::Drive, None) => is_place_of_drives(plugged.place),
            (Device::Disk, None) => false,
        };
        match wanted.iter().find(|wanted| wanted.place == plugged.place) {
            Some(wanted) if wanted.device != plugged.device => {
                return Err(format!(
                    "{:?} has a {:?} of somebody else's",
                    plugged.place, plugged.device
                ));
            }
            Some(wanted) => match (&wanted.file, file) {
                (None, None) => {}
                (Some(wanted), Some((_, there))) if same_path(wanted, there) => {}
                (Some(file), Some((id, _))) => plan.swap.push((id.clone(), file.clone())),
                (Some(file), None) => plan.insert.push((wanted.device, wanted.place, file.clone())),
                (None, Some((id, _))) => plan.eject.push(id.clone()),
            },
            None if is_ours => {
                plan.eject.extend(file.map(|(id, _)| id.clone()));
                plan.unplug.push(plugged.id.clone());
            }
            None => {}
        }
    }
    for wanted in wanted {
        if there.iter().any(|plugged| plugged.place == wanted.place) {
            continue;
        }
        plan.plug.push((wanted.device, wanted.place));
        if let Some(file) = &wanted.file {
            plan.insert.push((wanted.device, wanted.place, file.clone()));
        }
    }
    Ok(plan)
}

fn is_place_of_drives(place: Place) -> bool {
    matches!(place, Place::Scsi { controller: 0, place } if place >= 32)
}

impl Defining<'_> {
    /// Brings those drives to the specification.
    pub(super) async fn drives(&self, which: impl Fn(Device, Place) -> bool) -> Result<(), DriverError> {
        let refused = |message: String| DriverError::Refused {
            doing: self.at.doing.clone(),
            message,
        };
        let mut inside = self.at.inside().await?;
        for drive in &mut inside.drives {
            if let Some((_, file)) = &mut drive.medium {
                // A layer that a checkpoint has put upon a disk is still that disk.
                *file = self.at.host.base(file).await?;
            }
        }
        let mut wanted = wanted(self.spec, inside.generation, &self.at.host.directory).map_err(refused)?;
        wanted.retain(|wanted| which(wanted.device, wanted.place));
        inside.drives.retain(|drive| which(drive.device, drive.place));
        let own = self.own_files();
        let directory = &self.at.host.directory;
        // What labyard puts into CD drives lies in its directory, and nothing of anybody else's does.
        let ours = |file: &str| {
            let is_medium = matches!(directory.volume(file), Some((_, Content::Iso)));
            is_medium || own.contains(&file.to_lowercase())
        };
        let plan = plan(&wanted, &inside.drives, inside.scsi.is_some(), ours).map_err(refused)?;
        if plan == Plan::default() {
            return Ok(());
        }
        for id in &plan.eject {
            self.at.remove_medium(id).await?;
        }
        for id in &plan.unplug {
            self.at.remove_drive(id).await?;
        }
        for (id, file) in &plan.swap {
            let medium = Medium {
                id: Some(id.clone()),
                files: Some(vec![file.clone()]),
                ..Medium::default()
            };
            let text = instance(&self.at.doing, &medium)?;
            self.at.change(file, "ModifyResourceSettings", &[text]).await?;
        }
        if plan.controller {
            let controller = Drive {
                resource_type: Some(Resource::ScsiController.number()),
                subtype: Some(Resource::ScsiController.subtype().to_owned()),
                ..Drive::default()
            };
            self.at
                .add("a SCSI controller", instance(&self.at.doing, &controller)?)
                .await?;
        }
        self.plug(&plan).await
    }

    /// Plugs in what is missing, drives first, since a medium names its drive by the path that the host has given it.
    async fn plug(&self, plan: &Plan) -> Result<(), DriverError> {
        let missing = |what: String| DriverError::ReplyLost {
            doing: self.at.doing.clone(),
            message: format!("the host does not show {what}"),
        };
        let inside = self.at.inside().await?;
        for (device, place) in &plan.plug {
            let (controller, number) =
                controller(&inside, *place).ok_or_else(|| missing(format!("the controller of {place:?}")))?;
            let kind = match device {
                Device::Disk => Resource::DiskDrive,
                Device::Drive => Resource::DvdDrive,
            };
            let drive = Drive {
                resource_type: Some(kind.number()),
                subtype: Some(kind.subtype().to_owned()),
                parent: path(RASD, &controller),
                place: Some(number.to_string()),
                ..Drive::default()
            };
            self.at
                .add(&format!("{place:?}"), instance(&self.at.doing, &drive)?)
                .await?;
        }
        let inside = self.at.inside().await?;
        for (device, place, file) in &plan.insert {
            let drive = inside.drives.iter().find(|drive| drive.place == *place);
            let drive = drive.ok_or_else(|| missing(format!("the drive at {place:?}")))?;
            let kind = match device {
                Device::Disk => Resource::VirtualDisk,
                Device::Drive => Resource::VirtualDvd,
            };
            let medium = Medium {
                resource_type: Some(kind.number()),
                subtype: Some(kind.subtype().to_owned()),
                parent: path(RASD, &drive.id),
                files: Some(vec![file.clone()]),
                ..Medium::default()
            };
            self.at.add(file, instance(&self.at.doing, &medium)?).await?;
        }
        Ok(())
    }

    /// The files of volumes that its marks call ours, in small letters.
    fn own_files(&self) -> BTreeSet<String> {
        let directory = &self.at.host.directory;
        let marks = [self.before.as_ref(), Some(&self.spec.mark)];
        let volumes = marks.into_iter().flatten().flat_map(|mark| {
            let own = mark
                .own_volumes()
                .into_iter()
                .chain(mark.released.iter().cloned());
            own.map(|(_, volume)| volume).chain(mark.image_volumes().cloned())
        });
        volumes
            .flat_map(|volume| {
                [Content::Disk, Content::Iso].map(|content| directory.file(&volume, content).to_lowercase())
            })
            .collect()
    }
}

impl Changing<'_> {
    /// Adds a device.
    pub(super) async fn add(&self, what: &str, text: String) -> Result<(), DriverError> {
        let doing = format!("{}: {what}", self.doing);
        let method = Service::Machines.method("AddResourceSettings");
        let method = method
            .reference("AffectedConfiguration", self.guid.settings())
            .text("ResourceSettings", text);
        call(&self.host.client, &doing, &method).await.map(drop)
    }

    pub(super) async fn remove_medium(&self, id: &str) -> Result<(), DriverError> {
        self.remove("a medium", SASD, id).await
    }

    pub(super) async fn remove_drive(&self, id: &str) -> Result<(), DriverError> {
        self.remove("a drive", RASD, id).await
    }

    /// Takes a device out; gone already is success.
    pub(super) async fn remove(&self, what: &str, class: &str, id: &str) -> Result<(), DriverError> {
        let doing = format!("{}: taking out {what}", self.doing);
        let method = Service::Machines.method("RemoveResourceSettings");
        let method = method.reference(
            "ResourceSettings",
            Reference::new(V2, class, &[("InstanceID", id)]),
        );
        match call(&self.host.client, &doing, &method).await {
            Err(DriverError::Missing { .. }) => Ok(()),
            other => other.map(drop),
        }
    }
}

/// The controller of a place and the number there.
fn controller(inside: &Inside, place: Place) -> Option<(String, u8)> {
    match place {
        Place::Ide { controller, place } => Some((inside.ide.get(&controller)?.clone(), place)),
        Place::Scsi { controller: 0, place } => Some((inside.scsi.clone()?, place)),
        Place::Scsi { .. } => None,
    }
}

/// A device's path, as others name it.
pub(super) fn path(class: &str, id: &str) -> Option<String> {
    Reference::new(V2, class, &[("InstanceID", id)]).path()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: Place = Place::Scsi {
        controller: 0,
        place: 0,
    };
    const DRIVE: Place = Place::Scsi {
        controller: 0,
        place: 32,
    };

    fn plugged(device: Device, place: Place, file: Option<&str>) -> Plugged {
        Plugged {
            id: format!("{place:?}"),
            device,
            place,
            medium: file.map(|file| (format!("m{place:?}"), file.to_owned())),
        }
    }

    fn want(device: Device, place: Place, file: Option<&str>) -> Wanted {
        Wanted {
            device,
            place,
            file: file.map(str::to_owned),
        }
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let wanted = [
            want(Device::Disk, DISK, Some(r"D:\l\a.vhdx")),
            want(Device::Drive, DRIVE, None),
        ];
        let there = [
            plugged(Device::Disk, DISK, Some(r"d:\L\A.vhdx")),
            plugged(Device::Drive, DRIVE, None),
        ];
        assert_eq!(plan(&wanted, &there, true, |_| false), Ok(Plan::default()));
    }

    #[test]
    fn what_is_missing_is_plugged_in_and_filled() {
        let wanted = [want(Device::Disk, DISK, Some("a"))];
        let plan = plan(&wanted, &[], false, |_| false).unwrap();
        assert!(plan.controller);
        assert_eq!(plan.plug, [(Device::Disk, DISK)]);
        assert_eq!(plan.insert, [(Device::Disk, DISK, "a".to_owned())]);
    }

    #[test]
    fn only_what_is_ours_is_taken_out() {
        let there = [
            plugged(Device::Disk, DISK, Some(r"D:\labyard\web.vhdx")),
            plugged(
                Device::Disk,
                Place::Scsi {
                    controller: 0,
                    place: 1,
                },
                Some(r"E:\theirs.vhdx"),
            ),
        ];
        let ours = BTreeSet::from([r"d:\labyard\web.vhdx".to_owned()]);
        let plan = plan(&[], &there, true, |file| ours.contains(&file.to_lowercase())).unwrap();
        assert_eq!((plan.eject.len(), &plan.unplug), (1, &vec![format!("{DISK:?}")]));
    }

    #[test]
    fn somebody_elses_drive_in_the_way_is_an_error() {
        let wanted = [want(Device::Disk, DISK, Some("a"))];
        let there = [plugged(Device::Drive, DISK, None)];
        assert!(plan(&wanted, &there, true, |_| false).is_err());
    }

    #[test]
    fn media_are_changed_in_place() {
        let wanted = [want(Device::Drive, DRIVE, Some("new"))];
        let old = plan(
            &wanted,
            &[plugged(Device::Drive, DRIVE, Some("old"))],
            true,
            |_| false,
        )
        .unwrap();
        assert_eq!(old.swap.len(), 1);
        let empty = plan(
            &[want(Device::Drive, DRIVE, None)],
            &[plugged(Device::Drive, DRIVE, Some("old"))],
            true,
            |_| false,
        );
        assert_eq!(empty.unwrap().eject.len(), 1);
    }
}
