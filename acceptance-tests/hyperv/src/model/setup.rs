//! What a host is before anyone asks it for something: its build, its name, its drives, how long its work takes, and which of
//! the ways that hosts answer in is its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::cluster::Membership;

/// A point in time, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// What tells the time.
pub trait Clock: Send + Sync {
    /// The time now. It never goes back.
    fn now(&self) -> Moment;
}

/// The clock of the computer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that goes only when it is pushed.
#[derive(Clone, Debug)]
pub struct HandClock(Arc<AtomicU64>);

impl HandClock {
    /// One that stands at noon of 2026-01-15.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_768_478_400_000)))
    }

    /// Pushes it on.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(by, Ordering::SeqCst);
    }
}

impl Default for HandClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for HandClock {
    fn now(&self) -> Moment {
        Moment(self.0.load(Ordering::SeqCst))
    }
}

/// Where GUIDs come from: the same seed gives the same ones.
#[derive(Clone, Debug)]
pub struct Ids(u64);

impl Ids {
    /// A source.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// Random bits: splitmix64, whose constants are published.
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The next GUID, in upper case and without braces, as Windows prints it.
    pub fn next_guid(&mut self) -> String {
        let (high, low) = (self.bits(), self.bits());
        format!(
            "{:08X}-{:04X}-4{:03X}-{:04X}-{:012X}",
            high >> 32,
            (high >> 16) & 0xFFFF,
            high & 0xFFF,
            0x8000 | (low >> 48) & 0x3FFF,
            low & 0xFFFF_FFFF_FFFF
        )
    }

    /// So many random bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.bits().to_le_bytes()[0]).collect()
    }
}

/// A build of Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Build(pub u32);

impl Build {
    /// Windows Server 2016.
    pub const SERVER_2016: Self = Self(14393);
    /// Windows Server 2019.
    pub const SERVER_2019: Self = Self(17763);
    /// Windows Server 2022.
    pub const SERVER_2022: Self = Self(20348);
    /// Windows Server 2025, and Windows 11 24H2.
    pub const SERVER_2025: Self = Self(26100);

    /// Whether machines have the property that switches automatic checkpoints.
    pub(crate) fn has_automatic_snapshots(self) -> bool {
        self.0 >= 16299
    }

    /// The versions of configurations that it takes; the last is what it gives.
    pub(crate) fn versions(self) -> &'static [&'static str] {
        match self.0 {
            0..=14393 => &["5.0", "8.0"],
            14394..=17763 => &["5.0", "8.0", "8.1", "8.2", "8.3", "9.0"],
            17764..=20348 => &["8.0", "8.1", "8.2", "8.3", "9.0", "9.1", "10.0"],
            _ => &["8.0", "8.1", "8.2", "8.3", "9.0", "9.1", "10.0", "11.0", "12.0"],
        }
    }
}

/// Which language the host speaks: captions, names that Windows gives and descriptions of errors are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Japanese.
    Japanese,
}

/// Which kind of Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    /// A server.
    Server,
    /// Windows 10 or 11: automatic checkpoints are on, and it has the Default Switch.
    Client,
}

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// A job that changes settings.
    pub job: Duration,
    /// A machine's way into another state.
    pub state: Duration,
    /// From power on to the guest's services.
    pub boot: Duration,
    /// A guest's way down after it was asked.
    pub shutdown: Duration,
    /// A checkpoint's disks back into their parents, after the job.
    pub merge: Duration,
    /// For how long a machine's files stay open after it went off, and a disk's after it was taken out.
    pub hold: Duration,
    /// How long a job's row outlives the job.
    pub removal: Duration,
}

impl Pace {
    /// For tests by the computer's own clock: long enough to be seen, short enough to wait for.
    #[must_use]
    pub fn brisk() -> Self {
        Self {
            job: Duration::from_millis(20),
            state: Duration::from_millis(40),
            boot: Duration::from_millis(150),
            shutdown: Duration::from_millis(150),
            merge: Duration::from_millis(200),
            hold: Duration::ZERO,
            removal: Duration::from_secs(300),
        }
    }

    /// As on a quiet host.
    #[must_use]
    pub fn lifelike() -> Self {
        Self {
            job: Duration::from_millis(400),
            state: Duration::from_millis(1500),
            boot: Duration::from_secs(12),
            shutdown: Duration::from_secs(8),
            merge: Duration::from_secs(10),
            hold: Duration::from_secs(2),
            removal: Duration::from_secs(300),
        }
    }
}

/// How methods answer that may do either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// 4096 and a job.
    Jobs,
    /// 0, and it is done.
    AtOnce,
}

/// Whether an answer of 4096 tells already what will come of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resulting {
    /// It does.
    Named,
    /// It leaves the outputs empty.
    Empty,
}

/// Whether the image service reads a disk at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskReads {
    /// It does.
    AtOnce,
    /// The first question about a path starts a job and has no answer; the next has.
    AfterJob,
}

/// How a machine looks that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum States {
    /// As before, with OperationalStatus 11 and the RequestedState.
    Quiet,
    /// 10 starting, 4 stopping, 1 with a text for the others.
    Shown,
    /// The numbers of older hosts, at rest too: 32768 paused, 32769 saved, 32770 starting.
    Old,
}

/// How many networks the host translates addresses for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatLimit {
    /// One.
    One,
    /// Any number that do not overlap.
    Many,
}

/// Whether a disk upon another may be given another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// It may.
    Taken,
    /// It may not.
    Refused,
}

/// What the guardian classes take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guardians {
    /// The namespace is not there.
    Absent,
    /// An owner that is an object is taken.
    Taken,
    /// An owner that is an object is refused.
    Refused,
}

/// What the caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Everything.
    Administrator,
    /// Hyper-V, and nothing that needs an administrator.
    HyperV,
    /// May log in and look at namespaces, and no more: Hyper-V shows nothing.
    Remote,
    /// May not even open the namespace.
    None,
}

/// A network card of the host.
#[derive(Clone, Debug)]
pub struct Card {
    /// Its name in Windows.
    pub name: String,
    /// What it says that it is: the name of its port in Hyper-V.
    pub description: String,
    /// Its address, twelve digits.
    pub mac: String,
    /// The address that it has, if any.
    pub address: Option<(String, u8)>,
}

/// A host before its first call.
pub struct Setup {
    /// Its build.
    pub build: Build,
    /// Server or client.
    pub edition: Edition,
    /// What it speaks.
    pub language: Language,
    /// Its name: upper case, as Windows has it.
    pub computer: String,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
    /// Its source of GUIDs.
    pub ids: Ids,
    /// Directories that stand for its drives.
    pub drives: Vec<(char, PathBuf)>,
    /// Its memory, in MiB.
    pub memory: u64,
    /// Its logical processors.
    pub processors: u64,
    /// How long things take.
    pub pace: Pace,
    /// Jobs or none.
    pub answers: Answers,
    /// What stands beside a job.
    pub resulting: Resulting,
    /// How disks are read.
    pub disk_reads: DiskReads,
    /// Whether a disk upon another grows.
    pub child_growth: Growth,
    /// How a change of state looks.
    pub states: States,
    /// Its network cards.
    pub cards: Vec<Card>,
    /// How many NATs it takes.
    pub nats: NatLimit,
    /// Its guardian classes.
    pub guardians: Guardians,
    /// The cluster that it is a node of.
    pub cluster: Option<Membership>,
    /// Where machines go that do not say where.
    pub default_root: String,
    /// The program that makes and converts disks.
    pub qemu_img: PathBuf,
}

impl Setup {
    /// A server of 2022 called `HV01`, with one card, a drive `D:` in this directory and the clock of the computer.
    #[must_use]
    pub fn server(drive: impl Into<PathBuf>) -> Self {
        Self {
            build: Build::SERVER_2022,
            edition: Edition::Server,
            language: Language::English,
            computer: "HV01".to_owned(),
            clock: Arc::new(SystemClock),
            ids: Ids::from_seed(1),
            drives: vec![('D', drive.into())],
            memory: 64 * 1024,
            processors: 16,
            pace: Pace::brisk(),
            answers: Answers::Jobs,
            resulting: Resulting::Named,
            disk_reads: DiskReads::AtOnce,
            child_growth: Growth::Taken,
            states: States::Quiet,
            cards: vec![Card {
                name: "Ethernet".to_owned(),
                description: "Intel(R) Ethernet Connection X722".to_owned(),
                mac: "A0369F112233".to_owned(),
                address: Some(("192.0.2.10".to_owned(), 24)),
            }],
            nats: NatLimit::Many,
            guardians: Guardians::Taken,
            cluster: None,
            default_root: r"C:\ProgramData\Microsoft\Windows\Hyper-V".to_owned(),
            qemu_img: PathBuf::from("qemu-img"),
        }
    }

    /// The same, with a clock that goes only when it is pushed.
    #[must_use]
    pub fn with_clock(mut self, clock: &HandClock) -> Self {
        self.clock = Arc::new(clock.clone());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_guids_in_the_form_of_windows() {
        let (mut one, mut other) = (Ids::from_seed(7), Ids::from_seed(7));
        let first = one.next_guid();
        assert_eq!(first, other.next_guid());
        assert_ne!(first, one.next_guid());
        let parts: Vec<usize> = first.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{first}");
        assert_eq!(first, first.to_uppercase());
    }

    #[test]
    fn a_clock_of_hand_goes_only_when_pushed() {
        let clock = HandClock::new();
        let before = clock.now();
        assert_eq!(before, clock.now());
        clock.advance(Duration::from_millis(5));
        assert_eq!(clock.now(), Moment(before.0 + 5));
    }
}
