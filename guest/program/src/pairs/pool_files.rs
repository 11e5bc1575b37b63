//! The pool files of Linux, shared with `hv_kvp_daemon`.
//!
//! The daemon takes a write lock over the whole file (`fcntl`), cuts it to nothing, writes it anew and lets go; before
//! each question of the host it reads the file again. So this program does its work under the same lock, on the file
//! itself: a file that was renamed into its place would not be the one that the daemon has locked. Such a lock is gone
//! as soon as the process closes *any* handle of the file, so each file is opened once, and closed at the end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use labyard_exchange::Action;
use labyard_exchange::pool::{Changed, Pool, Which};
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;

use super::{Look, NoPairs, Pairs};

/// How long is waited for the lock. The daemon holds it for as long as it takes to write a few kilobytes.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most that is read: far more than the pairs of any host.
const MOST: u64 = 64 * 1024 * 1024;

/// The files.
#[derive(Debug)]
pub(crate) struct PoolFiles {
    directory: PathBuf,
}

impl PoolFiles {
    /// Those in this directory.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn path(&self, which: Which) -> PathBuf {
        self.directory.join(which.file_name())
    }

    fn read(&self, which: Which) -> Result<Pool, NoPairs> {
        let path = self.path(which);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match which {
                    Which::FromHost => Err(NoPairs::NoDaemon(path.display().to_string())),
                    Which::FromGuest | Which::HostFacts => Ok(Pool::default()),
                };
            }
            Err(error) => return Err(failed(&path, error)),
        };
        lock(&file, &path, FlockOperation::NonBlockingLockShared)?;
        content(&mut file).map_err(|error| failed(&path, error))
    }
}

impl Pairs for PoolFiles {
    fn look(&mut self) -> Result<Look, NoPairs> {
        Ok(Look {
            host: self.read(Which::FromHost)?.items(),
            own: self.read(Which::FromGuest)?.items(),
            machine: self.read(Which::HostFacts)?.machine(),
        })
    }

    fn write(&mut self, actions: &[Action]) -> Result<(), NoPairs> {
        if !actions
            .iter()
            .any(|action| matches!(action, Action::Put(_) | Action::Remove(_)))
        {
            return Ok(());
        }
        let path = self.path(Which::FromGuest);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&path)
            .map_err(|error| failed(&path, error))?;
        lock(&file, &path, FlockOperation::NonBlockingLockExclusive)?;
        let mut pool = content(&mut file).map_err(|error| failed(&path, error))?;
        if pool.apply(actions)? == Changed::Nothing {
            return Ok(());
        }
        overwrite(&mut file, &pool.write()).map_err(|error| failed(&path, error))
    }
}

fn content(file: &mut File) -> io::Result<Pool> {
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(Pool::read(&bytes))
}

/// Written over the old content and cut only then: whoever is killed in between leaves whole records.
fn overwrite(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(bytes)?;
    file.set_len(bytes.len() as u64)?;
    file.sync_data()
}

fn lock(file: &File, path: &Path, operation: FlockOperation) -> Result<(), NoPairs> {
    let began = Instant::now();
    loop {
        match fcntl_lock(file, operation) {
            Ok(()) => return Ok(()),
            Err(Errno::AGAIN | Errno::ACCESS) if began.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(Errno::AGAIN | Errno::ACCESS) => return Err(NoPairs::Locked(path.display().to_string())),
            Err(error) => return Err(failed(path, error.into())),
        }
    }
}

fn failed(path: &Path, error: io::Error) -> NoPairs {
    NoPairs::Failed {
        what: path.display().to_string(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Command, Stdio};

    use labyard_exchange::{Exchange, Item};

    use super::*;

    fn put(key: &str, text: &str) -> Action {
        Action::Put(vec![Item {
            key: key.into(),
            text: text.into(),
        }])
    }

    #[test]
    fn without_the_daemon_it_is_said_what_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let error = PoolFiles::new(directory.path().into()).look().unwrap_err();
        assert!(error.to_string().contains("hyperv-daemons"), "{error}");
    }

    #[test]
    fn pairs_of_others_stay_and_the_file_stays_the_same_file() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".kvp_pool_1");
        let mut theirs = Pool::default();
        theirs.put("SomebodyElse", "1").unwrap();
        fs::write(&path, theirs.write()).unwrap();
        fs::write(directory.path().join(".kvp_pool_0"), []).unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        let mut files = PoolFiles::new(directory.path().into());
        files.write(&[put("labyard.key", "x")]).unwrap();
        assert_eq!(files.look().unwrap().own.text("labyard.key"), Ok(Some("x")));
        files
            .write(&[Action::Remove(vec!["labyard.key".into()])])
            .unwrap();
        assert_eq!(fs::read(&path).unwrap(), theirs.write());
        assert_eq!(fs::metadata(&path).unwrap().ino(), before);
        let _: Option<Exchange> = None;
    }

    #[test]
    fn a_record_that_was_cut_off_is_mended_by_the_next_write() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".kvp_pool_1");
        fs::write(directory.path().join(".kvp_pool_0"), []).unwrap();
        let mut pool = Pool::default();
        pool.put("labyard.key", "x").unwrap();
        let mut cut = pool.write();
        cut.extend([b'z'; 700]);
        fs::write(&path, &cut).unwrap();
        let mut files = PoolFiles::new(directory.path().into());
        files.write(&[put("labyard.ack", "y")]).unwrap();
        assert_eq!(fs::read(&path).unwrap().len(), 2 * 2560);
        assert_eq!(files.look().unwrap().own.text("labyard.ack"), Ok(Some("y")));
    }

    /// Another process that holds the lock as the daemon does: `F_SETLKW` with `F_WRLCK` over the whole file.
    const HOLDER: &str = "import fcntl, sys\n\
        f = open(sys.argv[1], 'r+b')\n\
        fcntl.lockf(f, fcntl.LOCK_EX)\n\
        print('locked', flush=True)\n\
        sys.stdin.readline()\n\
        f.truncate(0); f.write(b'foreign'.ljust(512, b'\\0') + b'1'.ljust(2048, b'\\0')); f.flush()\n";

    #[test]
    fn it_waits_for_the_daemons_lock_and_loses_nothing_of_what_the_daemon_wrote() {
        use std::io::{BufRead, BufReader};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".kvp_pool_1");
        fs::write(&path, []).unwrap();
        fs::write(directory.path().join(".kvp_pool_0"), []).unwrap();
        let holder = Command::new("python3")
            .args(["-c", HOLDER])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut holder) = holder else {
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "python3 is missing"
            );
            eprintln!("SKIPPED: python3, which plays the other process, is missing");
            return;
        };
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line.trim(), "locked");
        let mut files = PoolFiles::new(directory.path().into());
        let writer = thread::spawn(move || files.write(&[put("labyard.key", "x")]).map(|()| Instant::now()));
        thread::sleep(Duration::from_millis(300));
        assert!(!writer.is_finished(), "it did not wait for the lock");
        holder.stdin.take().unwrap().write_all(b"\n").unwrap();
        holder.wait().unwrap();
        writer.join().unwrap().unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 2 * 2560);
        assert!(bytes.starts_with(b"foreign\0"));
    }
}
