//! The files in which a Linux guest has the pairs: `/var/lib/hyperv/.kvp_pool_N`.
//!
//! Facts, from the kernel's `tools/hv/hv_kvp_daemon.c` and `include/uapi/linux/hyperv.h`: a file is records of 512 bytes
//! name and 2048 bytes value, both ended by a zero byte. What follows that byte means nothing and **need not be zero**:
//! the daemon copies a new, shorter value over an old one, and moves records up by copying strings. It writes a file by
//! cutting it to nothing and writing it anew, under a write lock (`fcntl`, whole file); whoever reads without that lock
//! may see part of a record.

use std::collections::BTreeSet;

use crate::action::Action;
use crate::identity::VmId;
use crate::items::Items;

/// Bytes of a name.
pub const KEY: usize = 512;
/// Bytes of a value.
pub const VALUE: usize = 2048;
/// Bytes of a record.
pub const RECORD: usize = KEY + VALUE;
/// Where the files are.
pub const DIRECTORY: &str = "/var/lib/hyperv";
/// The pair of pool 3 in which the host says which machine this is.
pub const MACHINE: &str = "VirtualMachineId";

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// What the host's users wrote: pool 0.
    FromHost,
    /// What the guest's users wrote: pool 1.
    FromGuest,
    /// What the host says of itself and of the machine: pool 3.
    HostFacts,
}

impl Which {
    /// The file's name.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::FromHost => ".kvp_pool_0",
            Self::FromGuest => ".kvp_pool_1",
            Self::HostFacts => ".kvp_pool_3",
        }
    }
}

/// A file's content. What follows the end of a text in a record is not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    records: Vec<(Vec<u8>, Vec<u8>)>,
    torn: usize,
}

/// A pair that does not fit into a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pair {key:?} does not fit into a record: a name has at most {} bytes and a value {}", KEY - 1, VALUE - 1)]
pub struct DoesNotFit {
    /// Its name.
    pub key: String,
}

impl Pool {
    /// Reads a file. Part of a record at its end is left out.
    pub fn read(bytes: &[u8]) -> Self {
        let records = bytes.chunks_exact(RECORD);
        let torn = records.remainder().len();
        let records = records.map(|record| {
            let (key, value) = record.split_at(KEY);
            (until_zero(key).to_vec(), until_zero(value).to_vec())
        });
        Self {
            records: records.collect(),
            torn,
        }
    }

    /// How many bytes at the end were no whole record.
    pub fn torn(&self) -> usize {
        self.torn
    }

    /// The file.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.records.len() * RECORD);
        for (key, value) in &self.records {
            for (text, size) in [(key, KEY), (value, VALUE)] {
                let end = bytes.len() + size;
                bytes.extend_from_slice(&text[..text.len().min(size)]);
                bytes.resize(end, 0);
            }
        }
        bytes
    }

    /// The pairs of the exchange.
    pub fn items(&self) -> Items {
        Items::of_bytes(
            self.records
                .iter()
                .map(|(key, value)| (key.as_slice(), value.as_slice())),
        )
    }

    /// Which machine this is, where it is said.
    pub fn machine(&self) -> Option<VmId> {
        let (_, value) = self
            .records
            .iter()
            .find(|(key, _)| key.as_slice() == MACHINE.as_bytes())?;
        std::str::from_utf8(value).ok()?.trim().parse().ok()
    }

    /// Does what a side wants done to its pairs, and says whether that changed anything.
    ///
    /// # Errors
    /// If a pair does not fit.
    pub fn apply(&mut self, actions: &[Action]) -> Result<Changed, DoesNotFit> {
        let before = self.records.clone();
        for action in actions {
            match action {
                Action::Put(items) => {
                    for item in items {
                        self.put(&item.key, &item.text)?;
                    }
                }
                Action::Remove(keys) => {
                    let gone: BTreeSet<_> = keys.iter().map(String::as_bytes).collect();
                    self.records.retain(|(key, _)| !gone.contains(key.as_slice()));
                }
                Action::Apply(_) | Action::Remember(_) | Action::Refused(_) => {}
            }
        }
        Ok(match before == self.records {
            true => Changed::Nothing,
            false => Changed::Something,
        })
    }

    /// Writes a pair: over the one of that name, or behind the others.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn put(&mut self, key: &str, value: &str) -> Result<(), DoesNotFit> {
        let fits = |text: &str, size: usize| text.len() < size && !text.contains('\0');
        if key.is_empty() || !fits(key, KEY) || !fits(value, VALUE) {
            return Err(DoesNotFit { key: key.to_owned() });
        }
        // A name that is there twice is there once afterwards.
        let mut before = self.records.iter().position(|(there, _)| there == key.as_bytes());
        let at = before.get_or_insert(self.records.len()).to_owned();
        let mut number = 0;
        self.records.retain(|(there, _)| {
            number += 1;
            number - 1 <= at || there != key.as_bytes()
        });
        let record = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        match self.records.get_mut(at) {
            Some(there) => *there = record,
            None => self.records.push(record),
        }
        Ok(())
    }
}

/// Whether a file has to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// No.
    Nothing,
    /// Yes.
    Something,
}

fn until_zero(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Item;

    /// A record as the daemon leaves it: what follows the zero byte is what was there before.
    fn record(key: &str, value: &str, rest: u8) -> Vec<u8> {
        let mut bytes = vec![rest; RECORD];
        bytes[..=key.len()].copy_from_slice(&[key.as_bytes(), &[0]].concat());
        bytes[KEY..=KEY + value.len()].copy_from_slice(&[value.as_bytes(), &[0]].concat());
        bytes
    }

    #[test]
    fn a_record_ends_at_its_zero_byte_whatever_follows() {
        let bytes = [
            record("labyard.request", "new", b'x'),
            record(MACHINE, "7D0D9A2C-6F3B-4E6B-8C52-0F1E2D3C4B5A", 0xff),
        ]
        .concat();
        let pool = Pool::read(&bytes);
        assert_eq!(pool.items().text("labyard.request"), Ok(Some("new")));
        assert_eq!(
            pool.machine(),
            "7D0D9A2C-6F3B-4E6B-8C52-0F1E2D3C4B5A".parse().ok()
        );
        assert_eq!(pool.torn(), 0);
    }

    #[test]
    fn part_of_a_record_is_left_out() {
        let bytes = [record("labyard.a", "1", 0), record("labyard.b", "2", 0)].concat();
        for length in RECORD..2 * RECORD {
            let pool = Pool::read(&bytes[..length]);
            assert_eq!(pool.items().keys().collect::<Vec<_>>(), ["labyard.a"]);
            assert_eq!(pool.torn(), length - RECORD);
        }
    }

    #[test]
    fn a_file_is_padded_with_zeros_and_keeps_what_others_wrote() {
        let foreign = [0xff, 0xfe, 0];
        let mut bytes = vec![0; RECORD];
        bytes[..3].copy_from_slice(b"foo");
        bytes[KEY..KEY + 3].copy_from_slice(&foreign);
        let mut pool = Pool::read(&bytes);
        pool.put("labyard.key", "value").unwrap();
        let written = pool.write();
        assert_eq!(written.len(), 2 * RECORD);
        assert_eq!(written[..RECORD], bytes);
        assert_eq!(&written[RECORD..RECORD + 12], b"labyard.key\0");
        assert_eq!(&written[RECORD + KEY..RECORD + KEY + 6], b"value\0");
        assert!(written[RECORD + KEY + 6..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn what_does_not_change_anything_need_not_be_written() {
        let put = |text: &str| {
            Action::Put(vec![Item {
                key: "labyard.key".into(),
                text: text.into(),
            }])
        };
        let mut pool = Pool::default();
        assert_eq!(pool.apply(&[put("1")]), Ok(Changed::Something));
        assert_eq!(pool.apply(&[put("1")]), Ok(Changed::Nothing));
        let twice = [pool.write(), pool.write()].concat();
        let mut pool = Pool::read(&twice);
        assert_eq!(pool.apply(&[put("2")]), Ok(Changed::Something));
        assert_eq!(pool.write().len(), RECORD);
        let gone = Action::Remove(vec!["labyard.key".into(), "labyard.none".into()]);
        assert_eq!(pool.apply(std::slice::from_ref(&gone)), Ok(Changed::Something));
        assert_eq!(pool.apply(&[gone]), Ok(Changed::Nothing));
    }

    #[test]
    fn a_pair_that_does_not_fit_is_refused() {
        let mut pool = Pool::default();
        assert!(pool.put(&"k".repeat(KEY), "v").is_err());
        assert!(pool.put("k", &"v".repeat(VALUE)).is_err());
        assert!(pool.put("k", "a\0b").is_err());
        assert!(pool.put("", "v").is_err());
        assert!(pool.put(&"k".repeat(KEY - 1), &"v".repeat(VALUE - 1)).is_ok());
    }
}
