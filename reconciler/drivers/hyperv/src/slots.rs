//! Where a device is plugged in, and the name by which labyard knows that place (`vda`, `sdb`), which says it on every host.
//!
//! Machines of generation 2 have one SCSI controller with 64 places: disks take the lower half, CD drives the upper one, so that
//! each name has one place and a machine's disks keep theirs while drives come and go. Generation 1 starts from IDE alone, and has
//! CD drives nowhere else: of the four places there the first disk has one and three drives the others; more disks are as above.
//!
//! ```
//! use labyard_driver_hyperv::ids::Generation;
//! use labyard_driver_hyperv::slots::{Device, Place};
//!
//! let second = Place::Scsi { controller: 0, place: 1 };
//! assert_eq!(Place::named(Generation::Two, "vdb"), Some((Device::Disk, second)));
//! assert_eq!(second.name(Generation::Two, Device::Disk), "vdb");
//! ```

use crate::ids::Generation;

/// What is plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// A disk.
    Disk,
    /// A CD drive.
    Drive,
}

/// Where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// On one of the two IDE controllers of generation 1, each with two places.
    Ide {
        /// 0 or 1.
        controller: u8,
        /// 0 or 1.
        place: u8,
    },
    /// On a SCSI controller with 64 places.
    Scsi {
        /// The first one is 0.
        controller: u8,
        /// 0 to 63.
        place: u8,
    },
}

/// The places of each kind on the first SCSI controller.
const EACH: u8 = 32;
/// Where the first disk of generation 1 is.
const FIRST_DISK: Place = Place::Ide {
    controller: 0,
    place: 0,
};
/// Where its drives are.
const FIRST_DRIVES: [Place; 3] = [
    Place::Ide {
        controller: 1,
        place: 0,
    },
    Place::Ide {
        controller: 1,
        place: 1,
    },
    Place::Ide {
        controller: 0,
        place: 1,
    },
];

impl Place {
    /// The place that a name means; `None` for a name that means none.
    pub fn named(generation: Generation, name: &str) -> Option<(Device, Self)> {
        let (device, letters) = match (name.strip_prefix("vd"), name.strip_prefix("sd")) {
            (Some(letters), _) => (Device::Disk, letters),
            (_, Some(letters)) => (Device::Drive, letters),
            (None, None) => return None,
        };
        let number = number(letters).filter(|number| *number < EACH)?;
        let place = match (generation, device, number) {
            (Generation::One, Device::Disk, 0) => FIRST_DISK,
            (Generation::One, Device::Drive, number) => *FIRST_DRIVES.get(usize::from(number))?,
            (_, Device::Disk, number) => Self::Scsi {
                controller: 0,
                place: number,
            },
            (_, Device::Drive, number) => Self::Scsi {
                controller: 0,
                place: EACH + number,
            },
        };
        Some((device, place))
    }

    /// Its name. Where labyard puts nothing of this kind it is spelt out: `scsi1:3`.
    pub fn name(self, generation: Generation, device: Device) -> String {
        let candidates = (0..EACH).map(|number| match device {
            Device::Disk => format!("vd{}", letters(number)),
            Device::Drive => format!("sd{}", letters(number)),
        });
        for name in candidates {
            if Self::named(generation, &name) == Some((device, self)) {
                return name;
            }
        }
        match self {
            Self::Ide { controller, place } => format!("ide{controller}:{place}"),
            Self::Scsi { controller, place } => format!("scsi{controller}:{place}"),
        }
    }
}

/// `a` is 0, `z` 25, `aa` 26.
fn letters(number: u8) -> String {
    let letter = |number: u8| char::from(b'a' + number);
    match number {
        0..26 => letter(number).to_string(),
        _ => format!("{}{}", letter(number / 26 - 1), letter(number % 26)),
    }
}

fn number(letters: &str) -> Option<u8> {
    let value = |letter: u8| letter.is_ascii_lowercase().then(|| letter - b'a');
    match letters.as_bytes() {
        [one] => value(*one),
        [first, second] => (value(*first)? + 1).checked_mul(26)?.checked_add(value(*second)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_has_a_place_of_its_own_and_every_place_its_name() {
        for generation in [Generation::One, Generation::Two] {
            let mut places = BTreeSet::new();
            for number in 0..EACH {
                for (prefix, device) in [("vd", Device::Disk), ("sd", Device::Drive)] {
                    let name = format!("{prefix}{}", letters(number));
                    let Some((found, place)) = Place::named(generation, &name) else {
                        assert_eq!((generation, device), (Generation::One, Device::Drive), "{name}");
                        assert!(number >= 3);
                        continue;
                    };
                    assert_eq!(found, device);
                    assert!(places.insert(place), "{name} shares {place:?}");
                    assert_eq!(place.name(generation, device), name);
                }
            }
        }
    }

    #[test]
    fn what_others_plugged_in_elsewhere_is_spelt_out() {
        let elsewhere = Place::Scsi {
            controller: 1,
            place: 3,
        };
        assert_eq!(elsewhere.name(Generation::Two, Device::Disk), "scsi1:3");
        let lower = Place::Scsi {
            controller: 0,
            place: 2,
        };
        assert_eq!(
            lower.name(Generation::Two, Device::Drive),
            "scsi0:2",
            "a drive among the disks"
        );
        for name in ["hda", "vd", "vdA", "vdag", "sdzz", "vda1", ""] {
            assert_eq!(Place::named(Generation::Two, name), None, "{name}");
        }
    }
}
