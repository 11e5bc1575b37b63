//! The parent locator: by which a differencing disk finds its parent ([MS-VHDX] 2.6.2.6).

use std::collections::BTreeMap;

use uuid::{Uuid, uuid};

use super::{u16_at, u32_at, uuid_at};

/// The only type of locator there is: the parent is a VHDX too.
const VHDX: Uuid = uuid!("b04aefb7-d19e-4a81-b789-25b8e9445913");
const LINKAGE: &str = "parent_linkage";
const RELATIVE: &str = "relative_path";
const VOLUME: &str = "volume_path";
const ABSOLUTE: &str = "absolute_win32_path";

/// The parent of a differencing disk, as the disk knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The parent's [`data_write`](crate::Identity::data_write) when the disk was made. If it is another one now, the parent
    /// was changed since, and the disk's content is lost.
    pub linkage: Uuid,
    /// From the disk's own directory, with backslashes: looked at first.
    pub relative_path: Option<String>,
    /// By the volume's GUID: looked at second.
    pub volume_path: Option<String>,
    /// By the drive's letter: looked at last.
    pub absolute_win32_path: Option<String>,
}

/// What is wrong with a parent locator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocatorError {
    /// The parent is no VHDX.
    #[error("the parent is located in a way ({0}) that is not the one for VHDX files")]
    Type(Uuid),
    /// It is shorter than what it says.
    #[error("the parent locator refers to bytes that it does not have")]
    Short,
    /// Its text is not UTF-16.
    #[error("the parent locator holds text that is no UTF-16")]
    Text,
    /// A key comes twice.
    #[error("the parent locator has two entries {0:?}")]
    Twice(String),
    /// It does not say which parent.
    #[error("the parent locator's {LINKAGE} is {0:?}, and has to be a GUID in braces")]
    Linkage(Option<String>),
    /// It does not say where.
    #[error("the parent locator has no path")]
    NoPath,
}

impl Parent {
    pub(crate) fn decode(item: &[u8]) -> Result<Self, LocatorError> {
        if item.len() < 20 {
            return Err(LocatorError::Short);
        }
        let kind = uuid_at(item, 0);
        if kind != VHDX {
            return Err(LocatorError::Type(kind));
        }
        let count = usize::from(u16_at(item, 18));
        let entries = item[20..].as_chunks::<12>().0;
        if entries.len() < count {
            return Err(LocatorError::Short);
        }
        let mut found = BTreeMap::new();
        for entry in &entries[..count] {
            let key = text(item, u32_at(entry, 0), u16_at(entry, 8))?;
            let value = text(item, u32_at(entry, 4), u16_at(entry, 10))?;
            if found.insert(key.clone(), value).is_some() {
                return Err(LocatorError::Twice(key));
            }
        }
        let linkage = found.remove(LINKAGE);
        let parent = Self {
            linkage: linkage
                .as_deref()
                .and_then(braced)
                .ok_or(LocatorError::Linkage(linkage))?,
            relative_path: found.remove(RELATIVE),
            volume_path: found.remove(VOLUME),
            absolute_win32_path: found.remove(ABSOLUTE),
        };
        if [
            &parent.relative_path,
            &parent.volume_path,
            &parent.absolute_win32_path,
        ]
        .iter()
        .all(|path| path.is_none())
        {
            return Err(LocatorError::NoPath);
        }
        Ok(parent)
    }
}

/// A GUID between braces and nothing else.
fn braced(text: &str) -> Option<Uuid> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    (inner.len() == 36).then(|| Uuid::try_parse(inner).ok())?
}

fn text(item: &[u8], offset: u32, length: u16) -> Result<String, LocatorError> {
    let from = offset as usize;
    let bytes = item
        .get(from..from.saturating_add(length.into()))
        .ok_or(LocatorError::Short)?;
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(LocatorError::Text);
    }
    let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    String::from_utf16(&units).map_err(|_| LocatorError::Text)
}

#[cfg(any(test, feature = "differencing"))]
impl Parent {
    /// `None` if a path is longer than the format can say: 32767 UTF-16 units.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        use super::put;
        let linkage = Some(format!("{{{}}}", self.linkage));
        let entries: Vec<(Vec<u8>, Vec<u8>)> = [
            (LINKAGE, &linkage),
            (RELATIVE, &self.relative_path),
            (VOLUME, &self.volume_path),
            (ABSOLUTE, &self.absolute_win32_path),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((utf16(key), utf16(value.as_ref()?))))
        .collect();
        let mut bytes = vec![0; 20 + 12 * entries.len()];
        put(&mut bytes, 0, &VHDX.to_bytes_le());
        put(&mut bytes, 18, &u16::try_from(entries.len()).ok()?.to_le_bytes());
        for (index, (key, value)) in entries.iter().enumerate() {
            let at = 20 + 12 * index;
            for (text, offset_at, length_at) in [(key, at, at + 8), (value, at + 4, at + 10)] {
                let offset = u32::try_from(bytes.len()).ok()?;
                put(&mut bytes, offset_at, &offset.to_le_bytes());
                put(
                    &mut bytes,
                    length_at,
                    &u16::try_from(text.len()).ok()?.to_le_bytes(),
                );
                bytes.extend_from_slice(text);
            }
        }
        Some(bytes)
    }
}

#[cfg(any(test, feature = "differencing"))]
fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::super::put;
    use super::*;

    fn parent() -> Parent {
        Parent {
            linkage: uuid!("83ed0ec3-24c8-49a6-a959-5e4bf1288bfb"),
            relative_path: Some("..\\images\\bäse.vhdx".to_owned()),
            volume_path: None,
            absolute_win32_path: Some("D:\\images\\bäse.vhdx".to_owned()),
        }
    }

    #[test]
    fn a_parent_is_read_back() {
        let item = parent().encode().unwrap();
        assert_eq!(Parent::decode(&item), Ok(parent()));
        let long = Parent {
            relative_path: Some("x".repeat(40_000)),
            ..parent()
        };
        assert_eq!(long.encode(), None);
    }

    #[test]
    fn a_parent_without_path_or_linkage_is_refused() {
        let nowhere = Parent {
            relative_path: None,
            absolute_win32_path: None,
            ..parent()
        };
        let item = nowhere.encode().unwrap();
        assert_eq!(Parent::decode(&item), Err(LocatorError::NoPath));
        let mut item = parent().encode().unwrap();
        // The first entry's value: its first brace.
        let at = u32_at(&item, 24) as usize;
        item[at] = b'(';
        assert!(matches!(
            Parent::decode(&item),
            Err(LocatorError::Linkage(Some(_)))
        ));
    }

    #[test]
    fn a_locator_that_refers_past_its_end_is_refused() {
        let good = parent().encode().unwrap();
        for length in 0..good.len() {
            assert!(Parent::decode(&good[..length]).is_err(), "{length}");
        }
        let mut many = good.clone();
        put(&mut many, 18, &u16::MAX.to_le_bytes());
        assert_eq!(Parent::decode(&many), Err(LocatorError::Short));
        let mut far = good.clone();
        put(&mut far, 20, &u32::MAX.to_le_bytes());
        assert_eq!(Parent::decode(&far), Err(LocatorError::Short));
        let mut other = good;
        other[0] ^= 1;
        assert!(matches!(Parent::decode(&other), Err(LocatorError::Type(_))));
    }
}
