//! The journal's files: a namespace's lines, written whole or not at all, and bounded.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::Entry;

/// A file that has reached this is put aside, and the one put aside before it goes.
const LIMIT: u64 = 4 << 20;
/// How much of the past is read: some ten thousand lines.
const READ: u64 = 4 << 20;

fn path(directory: &Path, namespace: &str) -> PathBuf {
    directory.join(format!("{namespace}.jsonl"))
}

fn aside(directory: &Path, namespace: &str) -> PathBuf {
    directory.join(format!("{namespace}.1.jsonl"))
}

/// Adds a line in one write, so that lines of several processes never mix.
pub(super) fn append(directory: &Path, entry: &Entry) -> io::Result<()> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    let path = path(directory, &entry.namespace);
    let mut file = match open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(directory)?;
            open(&path)?
        }
        other => other?,
    };
    if file.metadata()?.len() >= LIMIT {
        rotate(directory, &entry.namespace)?;
        file = open(&path)?;
    }
    file.write_all(&line)
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn make(directory: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Puts the file aside, once: of several processes that find it full, one does it and the others find it done.
fn rotate(directory: &Path, namespace: &str) -> io::Result<()> {
    let lock = open(&directory.join(format!("{namespace}.lock")))?;
    lock.lock()?;
    let path = path(directory, namespace);
    if std::fs::metadata(&path).is_ok_and(|found| found.len() >= LIMIT) {
        std::fs::rename(&path, aside(directory, namespace))?;
    }
    Ok(())
}

/// The latest lines of a namespace in their order; what is no line is passed over.
///
/// # Errors
/// Where a file is there and cannot be read.
pub fn read(directory: &Path, namespace: &str) -> io::Result<Vec<Entry>> {
    let latest = tail(&path(directory, namespace), READ)?;
    let room = READ - (latest.len() as u64).min(READ);
    let mut bytes = tail(&aside(directory, namespace), room)?;
    bytes.extend(latest);
    let lines = bytes.split(|byte| *byte == b'\n');
    Ok(lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect())
}

/// The namespaces that have lines.
///
/// # Errors
/// Where the directory is there and cannot be read.
pub fn namespaces(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let name = name
            .strip_suffix(".1.jsonl")
            .or_else(|| name.strip_suffix(".jsonl"));
        names.extend(name.map(str::to_owned));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

fn tail(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::What;
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nobody_else_may() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("a/b");
        let entries: Vec<_> = ["record", "disks"]
            .map(|stage| Entry::sample(stage, What::Done, Some(3)))
            .to_vec();
        for entry in &entries {
            append(&inner, entry).unwrap();
        }
        assert_eq!(read(&inner, "default").unwrap(), entries);
        assert_eq!(namespaces(&inner).unwrap(), ["default"]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(path(&inner, "default"))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn damaged_lines_are_passed_over_and_no_file_is_no_past() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path(), "default").unwrap(), []);
        let entry = Entry::sample("disks", What::Done, Some(3));
        std::fs::write(path(directory.path(), "default"), "{\"at\": 5\nnonsense\n\n").unwrap();
        append(directory.path(), &entry).unwrap();
        assert_eq!(read(directory.path(), "default").unwrap(), [entry]);
    }

    #[test]
    fn a_full_file_is_put_aside_once_and_the_past_is_still_read() {
        let directory = tempfile::tempdir().unwrap();
        let detail = Some("x".repeat(1 << 20));
        for nth in 0..12 {
            let entry = Entry {
                at: nth,
                detail: detail.clone(),
                ..Entry::sample("disks", What::Failed, None)
            };
            append(directory.path(), &entry).unwrap();
        }
        let length = |path: PathBuf| std::fs::metadata(path).unwrap().len();
        let all = length(path(directory.path(), "default")) + length(aside(directory.path(), "default"));
        assert!(all <= 2 * (LIMIT + (2 << 20)), "{all}");
        let read = read(directory.path(), "default").unwrap();
        assert_eq!(read.last().unwrap().at, 11);
        assert!(read.is_sorted_by_key(|entry| entry.at), "in order");
    }

    #[test]
    fn lines_of_many_writers_do_not_mix() {
        let directory = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        append(directory.path(), &Entry::sample("disks", What::Done, Some(3))).unwrap();
                    }
                });
            }
        });
        assert_eq!(read(directory.path(), "default").unwrap().len(), 400);
    }
}
