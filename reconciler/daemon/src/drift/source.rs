//! Where a resource stands in a configuration: its `resource "TYPE" "NAME"` line, looked for in the `.tf` files of a folder.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// The places of resources.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    places: BTreeMap<(String, String), Place>,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Relative to the folder, with `/`.
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
}

impl Sources {
    /// Reads all `.tf` files below a folder, hidden folders left out.
    pub(crate) fn below(root: &Path) -> io::Result<Self> {
        let mut sources = Self::default();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let (path, kind) = entry.and_then(|e| Ok((e.path(), e.file_type()?)))?;
                let hidden = path
                    .file_name()
                    .is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
                if kind.is_dir() && !hidden {
                    folders.push(path);
                } else if kind.is_file() && path.extension().is_some_and(|e| e == "tf") {
                    let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
                    let relative = path.strip_prefix(root).unwrap_or(&path);
                    sources.add(&relative.to_string_lossy().replace('\\', "/"), &text);
                }
            }
        }
        Ok(sources)
    }

    /// Reads a file's text.
    pub(crate) fn add(&mut self, file: &str, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let Some(rest) = line.trim_start().strip_prefix("resource") else {
                continue;
            };
            let words: Vec<_> = rest.split('"').map(str::trim).collect();
            if let ["", kind, "", name, ..] = words[..] {
                let place = Place {
                    file: file.to_owned(),
                    line: index + 1,
                };
                self.places
                    .entry((kind.to_owned(), name.to_owned()))
                    .or_insert(place);
            }
        }
    }

    /// Where a resource stands.
    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<&Place> {
        self.places.get(&(kind.to_owned(), name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_found_in_folders_below_and_not_in_what_terraform_downloaded() {
        let root = tempfile::tempdir().unwrap();
        let file = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        file(
            "modules/lab/main.tf",
            "# machines\nresource \"labyard_vm\" \"web\" {\n}\n",
        );
        file(
            ".terraform/modules/x/main.tf",
            "resource \"labyard_vm\" \"hidden\" {}\n",
        );
        let sources = Sources::below(root.path()).unwrap();
        let place = Place {
            file: "modules/lab/main.tf".into(),
            line: 2,
        };
        assert_eq!(sources.find("labyard_vm", "web"), Some(&place));
        assert_eq!(sources.find("labyard_vm", "hidden"), None);
    }
}
