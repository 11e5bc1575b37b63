//! What the disks of a moment stand on: the volumes that they were, or overlays over them.

use labyard_driver::moment::{Footing, MomentSpec};
use labyard_driver::spec::DiskFormat;

use super::{EditError, is_drive};
use crate::mark_xml;
use crate::places::Places;
use crate::volume_xml::format_name;
use crate::xml::Element;

/// Lets every disk of the moment stand as asked, whatever it stands on in the definition, which gets the mark too.
pub(crate) fn stand(
    domain: &mut Element,
    moment: &MomentSpec,
    footing: Footing,
    places: &Places,
) -> Result<(), EditError> {
    mark_xml::put(domain, &moment.mark);
    let devices = domain.ensure("devices");
    for wanted in &moment.disks {
        let base = super::devices::source(places, &wanted.pool, &wanted.base)?;
        let overlay = super::devices::source(places, &wanted.pool, &wanted.overlay)?;
        let is_it = |disk: &Element| {
            let path = disk.attribute_at(&["source"], base.1.source_attribute());
            is_drive(disk, "disk") && (path == Some(&base.0) || path == Some(&overlay.0))
        };
        let disk = devices.elements_mut().find(|device| is_it(device));
        let disk = disk.ok_or_else(|| EditError::NoDisk(base.0.clone()))?;
        let (source, format) = match footing {
            Footing::Bases => (&base, wanted.base_format),
            Footing::Overlays => (&overlay, DiskFormat::Qcow2),
        };
        super::devices::set_source(disk, source);
        disk.ensure("driver").set_attribute("type", format_name(format));
        // Libvirt finds out by itself what it stands on.
        disk.remove_named("backingStore");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use labyard_driver::moment::MomentDisk;

    use super::*;
    use crate::places::{Place, Store};
    use crate::testing;

    fn moment() -> (MomentSpec, Places) {
        let mut places = Places::default();
        places.learn(&"default".into(), Place::new("/p", Store::File));
        let disk = MomentDisk {
            pool: "default".into(),
            base: "root".into(),
            base_format: DiskFormat::Raw,
            overlay: "since".into(),
        };
        let moment = MomentSpec {
            id: "id".into(),
            mark: testing::mark("web"),
            pool: "default".into(),
            memory: "memory".into(),
            disks: vec![disk],
        };
        (moment, places)
    }

    #[test]
    fn a_disk_goes_to_its_overlay_and_back_and_others_stay() {
        let (moment, places) = moment();
        let before = "<domain><devices><disk type='file' device='disk'><driver name='qemu' type='raw' discard='unmap'/>\
             <source file='/p/root'/><target dev='vda'/></disk><disk type='file' device='disk'>\
             <driver name='qemu' type='raw'/><source file='/p/data'/></disk></devices></domain>";
        let mut domain = Element::parse(before).unwrap();
        stand(&mut domain, &moment, Footing::Overlays, &places).unwrap();
        let text = domain.to_string();
        let moved =
            text.contains("<source file='/p/since'/>") && text.contains("type='qcow2' discard='unmap'");
        assert!(
            moved && text.contains("<driver name='qemu' type='raw'/><source file='/p/data'/>"),
            "{text}"
        );
        stand(&mut domain, &moment, Footing::Overlays, &places).unwrap();
        assert_eq!(domain.to_string(), text, "again");
        stand(&mut domain, &moment, Footing::Bases, &places).unwrap();
        domain.remove_named("metadata");
        assert_eq!(domain.to_string(), before);
    }

    #[test]
    fn a_definition_without_the_disk_is_not_changed_into_one_that_writes_to_what_is_kept() {
        let (moment, places) = moment();
        let mut domain = Element::parse("<domain><devices/></domain>").unwrap();
        let refused = stand(&mut domain, &moment, Footing::Overlays, &places);
        assert_eq!(refused, Err(EditError::NoDisk("/p/root".to_owned())));
    }
}
