//! Volumes as libvirt's storage XML.

use labyard_driver::ids::{Bytes, VolumeName};
use labyard_driver::observed::{PoolKind, PoolRoom, VolumeDetail};
use labyard_driver::spec::DiskFormat;

use crate::places::{Place, Store};
use crate::xml::Element;

/// A blank qcow2 disk; `copied` ones are filled by the host.
pub(crate) fn blank(name: &VolumeName, capacity: Bytes) -> Element {
    volume(name, capacity, DiskFormat::Qcow2)
}

/// An overlay. The format of what is below is always said: left to probing, a guest could choose it by what it writes.
pub(crate) fn overlay(name: &VolumeName, capacity: Bytes, base: &str, base_format: DiskFormat) -> Element {
    volume(name, capacity, DiskFormat::Qcow2).holding(
        Element::new("backingStore")
            .holding(Element::new("path").saying(base))
            .holding(Element::new("format").with("type", format_name(base_format))),
    )
}

/// A raw volume that has all its room from the start, so that an upload cannot run out of it; for its owner alone,
/// since a seed holds secrets.
pub(crate) fn for_upload(name: &VolumeName, length: Bytes) -> Element {
    let mut volume = volume(name, length, DiskFormat::Raw);
    volume.push(
        Element::new("allocation")
            .with("unit", "bytes")
            .saying(&length.0.to_string()),
    );
    volume
        .ensure("target")
        .push(Element::new("permissions").holding(Element::new("mode").saying("0600")));
    volume
}

/// A copy of a file: it takes the room that is written to, and no more.
pub(crate) fn of_file(name: &VolumeName, capacity: Bytes, format: DiskFormat) -> Element {
    volume(name, capacity, format).holding(Element::new("allocation").with("unit", "bytes").saying("0"))
}

fn volume(name: &VolumeName, capacity: Bytes, format: DiskFormat) -> Element {
    Element::new("volume")
        .holding(Element::new("name").saying(name.as_str()))
        .holding(
            Element::new("capacity")
                .with("unit", "bytes")
                .saying(&capacity.0.to_string()),
        )
        .holding(Element::new("target").holding(Element::new("format").with("type", format_name(format))))
}

/// What a volume's XML says.
pub(crate) fn detail(volume: &Element) -> VolumeDetail {
    let backing = volume
        .text_at(&["backingStore", "path"])
        .filter(|path| !path.is_empty());
    VolumeDetail {
        name: VolumeName(volume.text_at(&["name"]).unwrap_or_default()),
        path: volume.text_at(&["target", "path"]).unwrap_or_default(),
        capacity: Bytes(
            volume
                .text_at(&["capacity"])
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
        ),
        format: match volume.attribute_at(&["target", "format"], "type") {
            Some("raw") => Some(DiskFormat::Raw),
            Some("qcow2") => Some(DiskFormat::Qcow2),
            _ => None,
        },
        backing,
    }
}

/// The length of a volume's file: that of a raw one, whatever has been written into it meanwhile.
pub(crate) fn length(volume: &Element) -> Option<Bytes> {
    volume.text_at(&["physical"])?.parse().ok().map(Bytes)
}

/// A block device in a pool of such.
pub(crate) fn block(name: &VolumeName, capacity: Bytes) -> Element {
    let bytes = |what: &str| {
        Element::new(what)
            .with("unit", "bytes")
            .saying(&capacity.0.to_string())
    };
    Element::new("volume")
        .holding(Element::new("name").saying(name.as_str()))
        .holding(bytes("capacity"))
        // Less than all of it would make a snapshot volume that fails when it is full.
        .holding(bytes("allocation"))
}

/// What a pool says of itself.
#[derive(Clone, Debug)]
pub(crate) struct PoolDescription {
    /// What its volumes are.
    pub(crate) kind: PoolKind,
    /// Where they lie.
    pub(crate) place: Option<Place>,
    /// Its room.
    pub(crate) room: Option<PoolRoom>,
}

/// What a pool's XML says.
pub(crate) fn pool(pool: &Element) -> PoolDescription {
    let bytes = |name: &str| pool.text_at(&[name])?.parse().ok().map(Bytes);
    let (kind, place) = pool_place(pool);
    PoolDescription {
        kind,
        place,
        room: bytes("capacity")
            .zip(bytes("available"))
            .map(|(capacity, available)| PoolRoom { capacity, available }),
    }
}

fn pool_place(pool: &Element) -> (PoolKind, Option<Place>) {
    let kind = pool.attribute("type").unwrap_or_default();
    let path = pool.text_at(&["target", "path"]).filter(|path| !path.is_empty());
    match (kind, path) {
        ("dir" | "fs" | "netfs", Some(path)) => (PoolKind::Directory, Some(Place::new(&path, Store::File))),
        ("logical", Some(path)) => (PoolKind::Logical, Some(Place::new(&path, Store::Block))),
        _ => (PoolKind::Other(kind.to_owned()), None),
    }
}

/// libvirt's word for a format.
pub(crate) fn format_name(format: DiskFormat) -> &'static str {
    match format {
        DiskFormat::Raw => "raw",
        DiskFormat::Qcow2 => "qcow2",
        // QEMU reads it; libvirt makes no volumes of it and says so.
        DiskFormat::Vhdx => "vhdx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_says_the_format_of_its_base() {
        let name = VolumeName::from("web.root");
        let xml = overlay(&name, Bytes::from_gib(2), "/pool/base", DiskFormat::Raw).to_string();
        assert!(
            xml.contains("<path>/pool/base</path><format type='raw'/>"),
            "{xml}"
        );
        let detail = detail(&Element::parse(&xml).unwrap());
        assert_eq!(
            (detail.capacity, detail.format),
            (Bytes::from_gib(2), Some(DiskFormat::Qcow2))
        );
        assert_eq!(detail.backing.as_deref(), Some("/pool/base"));
    }

    #[test]
    fn a_volume_for_an_upload_is_private_and_has_all_its_room() {
        let xml = for_upload(&VolumeName::from("seed"), Bytes(1001)).to_string();
        assert!(
            xml.contains("<allocation unit='bytes'>1001</allocation>"),
            "{xml}"
        );
        assert!(
            xml.contains("<mode>0600</mode>") && xml.contains("<format type='raw'/>"),
            "{xml}"
        );
    }

    #[test]
    fn files_and_logical_volumes_have_a_place_and_other_pools_have_none() {
        let place = |text: &str| pool_place(&Element::parse(text).unwrap());
        assert_eq!(
            place("<pool type='dir'><target><path>/p</path></target></pool>"),
            (PoolKind::Directory, Some(Place::new("/p", Store::File)))
        );
        for kind in ["fs", "netfs"] {
            let pool = format!("<pool type='{kind}'><target><path>/p</path></target></pool>");
            assert_eq!(place(&pool).0, PoolKind::Directory, "{kind}");
        }
        for kind in ["zfs", "iscsi", "disk", "mpath"] {
            let pool = format!("<pool type='{kind}'><target><path>/dev/p</path></target></pool>");
            assert_eq!(place(&pool), (PoolKind::Other(kind.to_owned()), None));
        }
        assert_eq!(
            place("<pool type='logical'><target><path>/dev/vg</path></target></pool>"),
            (PoolKind::Logical, Some(Place::new("/dev/vg", Store::Block)))
        );
        assert_eq!(
            place("<pool type='rbd'><source/></pool>"),
            (PoolKind::Other("rbd".to_owned()), None)
        );
    }

    #[test]
    fn a_logical_volume_has_no_format_and_all_its_room() {
        let xml = block(&VolumeName::from("web.data"), Bytes::from_mib(8)).to_string();
        assert!(!xml.contains("format"), "{xml}");
        assert!(
            xml.contains("<allocation unit='bytes'>8388608</allocation>"),
            "{xml}"
        );
    }
}
