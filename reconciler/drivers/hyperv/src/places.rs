//! Where volumes lie on a host: in one directory a pool, each a file named after it. The ending says what is in it.

use labyard_driver::ids::VolumeName;

/// What a volume's file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A virtual disk.
    Disk,
    /// An ISO image.
    Iso,
    /// Anything else: a marker.
    Other,
    /// Nothing yet: it waits to be filled. Its text says with how many bytes.
    Waiting,
}

impl Content {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Disk, Self::Iso, Self::Other, Self::Waiting];

    /// How its files end. Hyper-V tells the format of a disk by it.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Disk => ".vhdx",
            Self::Iso => ".iso",
            Self::Other => ".labyard",
            Self::Waiting => ".upload",
        }
    }
}

/// A pool's directory, `D:\labyard`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory(String);

impl Directory {
    /// A directory; a backslash at its end says nothing.
    pub fn new(path: &str) -> Self {
        Self(path.trim_end_matches('\\').to_owned())
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.0
    }

    /// The file of a volume.
    pub fn file(&self, name: &VolumeName, content: Content) -> String {
        format!("{}\\{name}{}", self.0, content.ending())
    }

    /// The directory of a machine's configuration.
    pub fn configuration(&self) -> String {
        format!("{}\\machines", self.0)
    }

    /// The volume that a file is, if it lies in here and is one.
    pub fn volume(&self, file: &str) -> Option<(VolumeName, Content)> {
        let (directory, name) = file.rsplit_once('\\')?;
        if !same_path(directory, &self.0) {
            return None;
        }
        Self::named(name)
    }

    /// The volume that a file of that name in here is.
    pub fn named(name: &str) -> Option<(VolumeName, Content)> {
        Content::ALL.into_iter().find_map(|content| {
            let at = name.len().checked_sub(content.ending().len())?;
            let (stem, ending) = (name.get(..at)?, name.get(at..)?);
            let is_one = ending.eq_ignore_ascii_case(content.ending()) && !stem.is_empty();
            is_one.then(|| (VolumeName(stem.to_owned()), content))
        })
    }
}

/// Windows' paths have no case.
pub fn same_path(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_found_by_its_file_in_any_case() {
        let directory = Directory::new(r"D:\labyard\");
        let name = VolumeName("web-01.root.77".to_owned());
        let file = directory.file(&name, Content::Disk);
        assert_eq!(file, r"D:\labyard\web-01.root.77.vhdx");
        assert_eq!(directory.volume(&file), Some((name, Content::Disk)));
        let (name, content) = directory.volume(r"d:\LABYARD\seed.ISO").unwrap();
        assert_eq!((name.as_str(), content), ("seed", Content::Iso));
    }

    #[test]
    fn what_lies_elsewhere_or_is_something_else_is_none() {
        let directory = Directory::new(r"D:\labyard");
        for file in [
            r"D:\labyard\sub\x.vhdx",
            r"D:\labyard2\x.vhdx",
            r"D:\labyard\x.avhdx",
            r"D:\labyard\.vhdx",
            r"D:\labyard\vhdx",
            "x.vhdx",
            r"D:\labyard\ü",
        ] {
            assert_eq!(directory.volume(file), None, "{file}");
        }
    }
}
