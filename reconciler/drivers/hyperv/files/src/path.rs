//! Paths on a Windows host, checked once and compared as Windows does.
//!
//! ```
//! use labyard_files::HostPath;
//!
//! let root = HostPath::new(r"D:\labyard").unwrap();
//! let image = root.join("images").unwrap().join("debian.vhdx").unwrap();
//! assert_eq!(image.to_string(), r"D:\labyard\images\debian.vhdx");
//! assert_eq!(image, HostPath::new("d:/LABYARD/Images/Debian.vhdx").unwrap());
//! assert!(image.is_below(&root));
//! assert!(HostPath::new(r"D:\labyard\..\Windows").is_err());
//! ```

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// The longest path that every program of Windows can open: MAX_PATH without its end.
const LONGEST_PATH: usize = 259;
/// The longest name of a file on NTFS and ReFS, in units of UTF-16.
const LONGEST_NAME: usize = 255;

/// A file or directory of a Windows host: `D:\labyard\images` or `\\server\share\labyard`.
///
/// It is absolute and holds no `..`, no stream, no device and no name that Windows would silently change. Two of them are
/// equal if they differ in upper and lower case only.
#[derive(Clone)]
pub struct HostPath {
    text: Box<str>,
    /// How much of it is the drive, or server and share.
    volume: usize,
}

/// Where the file systems of a path are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volume<'a> {
    /// A drive of the host itself, by its letter.
    Drive(char),
    /// A share of a server.
    Share {
        /// The server.
        server: &'a str,
        /// The share.
        share: &'a str,
    },
}

/// Why a text is no path that can be worked with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPath {
    /// It depends on something else where it is.
    #[error(
        "{0:?} is no full path of a Windows host: it has to begin with a drive (`D:\\labyard`) or a share (`\\\\server\\share`)"
    )]
    NotAbsolute(String),
    /// A name in it is none of a file.
    #[error("{name:?} in {path:?} cannot be the name of a file: {why}")]
    Name {
        /// The name.
        name: String,
        /// All of it.
        path: String,
        /// What is wrong with it.
        why: BadName,
    },
    /// It is longer than programs of Windows can open.
    #[error("{path:?} has {length} characters; programs of Windows open paths of at most {LONGEST_PATH}")]
    TooLong {
        /// The path.
        path: String,
        /// How long it is, in units of UTF-16.
        length: usize,
    },
}

/// Why a name is none of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadName {
    /// Nothing.
    #[error("it is empty")]
    Empty,
    /// `.` or `..`.
    #[error("it leads to another directory")]
    Relative,
    /// A character that no name has.
    #[error("it has the character {0:?}")]
    Character(char),
    /// What Windows cuts off.
    #[error("it ends with a dot or a space, which Windows takes away")]
    Ending,
    /// A device.
    #[error("Windows takes it for a device")]
    Device,
    /// Too long.
    #[error("it has more than {LONGEST_NAME} characters")]
    TooLong,
}

impl HostPath {
    /// Checks a path; `/` counts as `\`.
    ///
    /// # Errors
    /// If it is not absolute, or has a name in it that no file has.
    pub fn new(text: &str) -> Result<Self, BadPath> {
        let slashed = text.replace('/', r"\");
        let volume = volume_of(&slashed).ok_or_else(|| BadPath::NotAbsolute(text.to_owned()))?;
        let (head, rest) = slashed.split_at(volume);
        let mut path = Self {
            text: head.into(),
            volume,
        };
        if let Volume::Share { server, share } = path.volume() {
            for name in [server, share] {
                check(name).map_err(|why| bad_name(name, text, why))?;
            }
        } else {
            path.text = path.text.to_ascii_uppercase().into();
        }
        let rest = rest.strip_prefix('\\').unwrap_or(rest);
        let rest = rest.strip_suffix('\\').unwrap_or(rest);
        if rest.is_empty() {
            return Ok(path);
        }
        for name in rest.split('\\') {
            path = path.join(name)?;
        }
        Ok(path)
    }

    /// What is in this directory by a name.
    ///
    /// # Errors
    /// If it is no name, or the path would be too long.
    pub fn join(&self, name: &str) -> Result<Self, BadPath> {
        let text = format!(r"{}\{name}", self.text);
        check(name).map_err(|why| bad_name(name, &text, why))?;
        let length = text.encode_utf16().count();
        if length > LONGEST_PATH {
            return Err(BadPath::TooLong { path: text, length });
        }
        Ok(Self {
            text: text.into(),
            volume: self.volume,
        })
    }

    /// Where its file systems are.
    pub fn volume(&self) -> Volume<'_> {
        let head = &self.text[..self.volume];
        match head.strip_prefix(r"\\").and_then(|unc| unc.split_once('\\')) {
            Some((server, share)) => Volume::Share { server, share },
            None => Volume::Drive(head.chars().next().unwrap_or('?')),
        }
    }

    /// Its names below the volume.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.text[self.volume..]
            .split('\\')
            .filter(|name| !name.is_empty())
    }

    /// Its last name; a volume has none.
    pub fn name(&self) -> Option<&str> {
        self.names().last()
    }

    /// The directory that it is in; a volume is in none.
    pub fn parent(&self) -> Option<Self> {
        let end = self.text.rfind('\\').filter(|end| *end >= self.volume)?;
        Some(Self {
            text: self.text[..end].into(),
            volume: self.volume,
        })
    }

    /// Whether it is somewhere in a directory, and not that directory itself.
    pub fn is_below(&self, directory: &Self) -> bool {
        self.below(directory).is_some_and(|names| !names.is_empty())
    }

    /// The names that lead to it from a directory: none if it is that directory, nothing if it is not in it.
    pub(crate) fn below(&self, directory: &Self) -> Option<Vec<&str>> {
        if key(&self.text[..self.volume]) != key(&directory.text[..directory.volume]) {
            return None;
        }
        let mut names = self.names();
        for expected in directory.names() {
            if key(names.next()?) != key(expected) {
                return None;
            }
        }
        Some(names.collect())
    }
}

/// How much of a text names the volume.
fn volume_of(text: &str) -> Option<usize> {
    if let Some(unc) = text.strip_prefix(r"\\") {
        let (server, rest) = unc.split_once('\\')?;
        let share = rest.split('\\').next()?;
        // `\\?\` and `\\.\` switch the rules for names off.
        let plain = !matches!(server, "" | "?" | ".") && !share.is_empty();
        return plain.then_some(2 + server.len() + 1 + share.len());
    }
    let mut characters = text.chars();
    let drive = characters.next()?.is_ascii_alphabetic() && characters.next()? == ':';
    (drive && matches!(characters.next(), None | Some('\\'))).then_some(2)
}

fn bad_name(name: &str, path: &str, why: BadName) -> BadPath {
    BadPath::Name {
        name: name.to_owned(),
        path: path.to_owned(),
        why,
    }
}

/// \[MS-FSCC\] 2.1.5, and what Windows does with names on the way to the file system.
fn check(name: &str) -> Result<(), BadName> {
    if name.is_empty() {
        return Err(BadName::Empty);
    }
    if matches!(name, "." | "..") {
        return Err(BadName::Relative);
    }
    // A colon would name an alternate data stream.
    let wrong = |c: &char| *c < ' ' || r#""*/:<>?\|"#.contains(*c);
    if let Some(character) = name.chars().find(wrong) {
        return Err(BadName::Character(character));
    }
    if name.ends_with(['.', ' ']) {
        return Err(BadName::Ending);
    }
    if name.encode_utf16().count() > LONGEST_NAME {
        return Err(BadName::TooLong);
    }
    if is_device(name) {
        return Err(BadName::Device);
    }
    Ok(())
}

/// Whatever stands behind the first dot: `NUL.txt` is the device too.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ');
    let stem = stem.to_ascii_uppercase();
    if matches!(
        stem.as_str(),
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$"
    ) {
        return true;
    }
    let number = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    number.is_some_and(|number| {
        let mut digits = number.chars();
        matches!(digits.next(), Some('0'..='9' | '¹' | '²' | '³')) && digits.next().is_none()
    })
}

/// As NTFS compares: each character in upper case, and none that would become several.
fn key(text: &str) -> String {
    text.chars().map(upper).collect()
}

fn upper(character: char) -> char {
    let mut all = character.to_uppercase();
    match (all.next(), all.next()) {
        (Some(one), None) => one,
        _ => character,
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        // `D:` alone would be whatever directory a program is in on that drive.
        match self.text.len() == self.volume && matches!(self.volume(), Volume::Drive(_)) {
            true => f.write_str(r"\"),
            false => Ok(()),
        }
    }
}

impl fmt::Debug for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for HostPath {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        Self::new(text)
    }
}

impl PartialEq for HostPath {
    fn eq(&self, other: &Self) -> bool {
        key(&self.text) == key(&other.text)
    }
}

impl Eq for HostPath {}

impl PartialOrd for HostPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for HostPath {
    fn cmp(&self, other: &Self) -> Ordering {
        key(&self.text).cmp(&key(&other.text))
    }
}

impl Hash for HostPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        key(&self.text).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> HostPath {
        HostPath::new(text).unwrap()
    }

    #[test]
    fn drives_and_shares_are_volumes() {
        assert_eq!(path(r"d:\labyard\x").volume(), Volume::Drive('D'));
        let unc = path(r"\\files\vms$\labyard");
        let volume = Volume::Share {
            server: "files",
            share: "vms$",
        };
        assert_eq!(unc.volume(), volume);
        assert_eq!(unc.names().collect::<Vec<_>>(), ["labyard"]);
        assert_eq!(path("d:").to_string(), r"D:\");
        assert_eq!(path(r"d:\").to_string(), r"D:\");
        assert_eq!(path("d:/a/b/").to_string(), r"D:\a\b");
    }

    #[test]
    fn what_depends_on_somewhere_else_is_refused() {
        for text in [
            "",
            "labyard",
            r"\labyard",
            "D:labyard",
            r"\\?\D:\labyard",
            r"\\.\C:\x",
            r"\\server",
            r"\\server\",
            "/D:/labyard",
            r"1:\x",
            r"ä:\x",
        ] {
            assert_eq!(
                HostPath::new(text),
                Err(BadPath::NotAbsolute(text.to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn names_that_lead_elsewhere_or_are_changed_are_refused() {
        let why = |name: &str| check(name).unwrap_err();
        assert_eq!(why(""), BadName::Empty);
        assert_eq!(why(".."), BadName::Relative);
        assert_eq!(why("."), BadName::Relative);
        assert_eq!(why("disk.vhdx:stream"), BadName::Character(':'));
        assert_eq!(why("a*"), BadName::Character('*'));
        assert_eq!(why("a\nb"), BadName::Character('\n'));
        assert_eq!(why("a\0"), BadName::Character('\0'));
        assert_eq!(why("image."), BadName::Ending);
        assert_eq!(why("image "), BadName::Ending);
        for device in [
            "nul", "NUL.txt", "con", "COM1", "lpt9.log", "Com¹", "aux .x", "CONIN$",
        ] {
            assert_eq!(why(device), BadName::Device, "{device}");
        }
        for good in [
            "COM", "COM10", "console", "nullable", ".hidden", "a.b.c", "ü", "con-1",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        assert_eq!(check(&"x".repeat(255)), Ok(()));
        assert_eq!(why(&"x".repeat(256)), BadName::TooLong);
        assert_eq!(why(&"𝕏".repeat(128)), BadName::TooLong);
        assert!(HostPath::new(r"D:\a\\b").is_err());
        assert!(HostPath::new(r"\\server\..\x").is_err());
    }

    #[test]
    fn a_path_is_as_long_as_programs_of_windows_open_it() {
        let longest = format!(r"D:\{}", "x".repeat(255));
        assert_eq!(path(&longest).to_string(), longest);
        let parent = path(&format!(r"D:\{}", "y".repeat(200)));
        assert!(parent.join(&"z".repeat(55)).is_ok());
        assert!(matches!(
            parent.join(&"z".repeat(56)),
            Err(BadPath::TooLong { length: 260, .. })
        ));
    }

    #[test]
    fn paths_are_compared_without_regard_to_case() {
        assert_eq!(path(r"D:\Lab\ÄÖ"), path(r"d:\lab\äö"));
        // No character becomes two.
        assert_ne!(path(r"D:\straße"), path(r"D:\STRASSE"));
        assert!(path(r"D:\LAB\x").is_below(&path(r"d:\lab")));
        assert!(!path(r"D:\lab").is_below(&path(r"D:\lab")));
        assert!(!path(r"D:\labyard").is_below(&path(r"D:\lab")));
        assert!(!path(r"E:\lab\x").is_below(&path(r"D:\lab")));
        assert!(path(r"\\S\vms\a").is_below(&path(r"\\s\VMS")));
        assert!(!path(r"\\S\vms2\a").is_below(&path(r"\\s\vms")));
    }

    #[test]
    fn parents_end_at_the_volume() {
        let parent = path(r"D:\a\b").parent().unwrap();
        assert_eq!(parent, path(r"D:\a"));
        assert_eq!(parent.parent(), Some(path(r"D:\")));
        assert_eq!(path(r"D:\").parent(), None);
        assert_eq!(path(r"\\s\x").parent(), None);
        assert_eq!(path(r"\\s\x\y").parent(), Some(path(r"\\s\x")));
    }

    proptest! {
        #[test]
        fn what_is_taken_stays_itself_and_never_leads_out(text in r"(D:|\\\\s\\t)?([\\/](\.\.|\.|[a-zA-Zä:*. ]{0,6})){0,5}") {
            if let Ok(path) = HostPath::new(&text) {
                prop_assert_eq!(&HostPath::new(&path.to_string()).unwrap(), &path);
                prop_assert!(path.names().all(|name| check(name).is_ok()));
                if let Some(parent) = path.parent() {
                    prop_assert!(path.is_below(&parent));
                }
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _either_way = HostPath::new(&text);
        }
    }
}
