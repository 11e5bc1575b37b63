//! Where a disk's parent is: a locator of names and values, in UTF-16.

use super::layout::{four, on_disk};

/// The type of the only locator there is.
const LOCATOR_TYPE: &str = "B04AEFB7-D19E-4A81-B789-25B8E9445913";

/// Names and values of a parent locator.
pub(super) fn read(locator: &[u8]) -> Vec<(String, String)> {
    let text = |at: u32, length: u16| -> Option<String> {
        let at = usize::try_from(at).ok()?;
        let units: Vec<u16> = locator
            .get(at..at + usize::from(length))?
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        String::from_utf16(&units).ok()
    };
    let count = locator
        .get(18..20)
        .map_or(0, |two| u16::from_le_bytes([two[0], two[1]]));
    (0..usize::from(count))
        .filter_map(|number| {
            let entry = locator.get(20 + number * 12..32 + number * 12)?;
            let length = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
            Some((
                text(four(&entry[..4]), length(8))?,
                text(four(&entry[4..8]), length(10))?,
            ))
        })
        .collect()
}

/// A parent locator of these names and values.
pub(super) fn write(entries: &[(&str, &str)]) -> Vec<u8> {
    let units = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let mut head = on_disk(LOCATOR_TYPE).to_vec();
    head.extend([0, 0]);
    head.extend(u16::try_from(entries.len()).unwrap_or(0).to_le_bytes());
    let mut body = Vec::new();
    let start = head.len() + entries.len() * 12;
    for (name, value) in entries {
        let (name, value) = (units(name), units(value));
        for at in [start + body.len(), start + body.len() + name.len()] {
            head.extend(u32::try_from(at).unwrap_or(u32::MAX).to_le_bytes());
        }
        for length in [name.len(), value.len()] {
            head.extend(u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
        }
        body.extend(name);
        body.extend(value);
    }
    head.extend(body);
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locator_is_read_as_it_was_written() {
        let written = write(&[
            ("relative_path", r".\base.vhdx"),
            ("absolute_win32_path", r"\\?\D:\ü\base.vhdx"),
        ]);
        let read = read(&written);
        assert_eq!(read[0], ("relative_path".to_owned(), r".\base.vhdx".to_owned()));
        assert_eq!(read[1].1, r"\\?\D:\ü\base.vhdx");
    }
}
