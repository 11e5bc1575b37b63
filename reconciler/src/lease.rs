//! The builder's lease: who builds an object now, and whether that builder still lives.
//!
//! A lease is believed until it runs out, and not so long where it can be known better: a process of this very
//! boot and PID namespace that is gone builds nothing any more.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use labyard_driver::ids::UnixMillis;
use labyard_driver::mark::Lease;

/// How long a lease holds without being renewed.
pub const TERM: Duration = Duration::from_secs(90);
/// How often it is renewed.
pub const RENEWAL: Duration = Duration::from_secs(20);

/// A process as others can look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The kernel's boot id.
    pub boot_id: String,
    /// The inode of its PID namespace.
    pub pid_namespace: u64,
    /// Its id.
    pub pid: u32,
    /// Its start time in clock ticks since boot.
    pub started: u64,
}

/// What tells whether a process lives: the real table of processes, or a test's.
pub trait Processes: Send + Sync {
    /// This process.
    fn own(&self) -> Process;
    /// The start time of a process in this PID namespace, if there is one of that id.
    fn start_time(&self, pid: u32) -> Option<u64>;
}

/// The processes of this computer, by `/proc`. Elsewhere than on Linux nothing is known of other processes, and a
/// lease is believed until it runs out.
#[derive(Debug, Default)]
pub struct ProcTable;

impl Processes for ProcTable {
    fn own(&self) -> Process {
        let pid = std::process::id();
        Process {
            boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            pid_namespace: fs::metadata("/proc/self/ns/pid")
                .map(|m| m.ino())
                .unwrap_or_default(),
            pid,
            started: self.start_time(pid).unwrap_or_default(),
        }
    }

    fn start_time(&self, pid: u32) -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // proc(5): the second field is the name in parentheses and may hold anything; the start time is field 22.
        let after_name = &stat[stat.rfind(')')? + 1..];
        let mut fields = after_name.split_whitespace();
        let state = fields.next()?;
        if state == "Z" || state == "X" {
            return None;
        }
        fields.nth(18)?.parse().ok()
    }
}

/// What is known of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This engine.
    Ours,
    /// Another engine that is to be believed alive.
    Alive,
    /// Nobody: run out, or its process is gone.
    Dead,
}

/// Who holds a lease at `now`.
pub fn holder(lease: Option<&Lease>, engine: &str, processes: &dyn Processes, now: UnixMillis) -> Holder {
    let Some(lease) = lease else {
        return Holder::Dead;
    };
    if lease.engine == engine {
        return Holder::Ours;
    }
    let own = processes.own();
    let same_table = !own.boot_id.is_empty()
        && lease.boot_id == own.boot_id
        && own.pid_namespace != 0
        && lease.pid_namespace == own.pid_namespace;
    if same_table && processes.start_time(lease.pid) != Some(lease.started) {
        return Holder::Dead;
    }
    if lease.until <= now {
        Holder::Dead
    } else {
        Holder::Alive
    }
}

/// A lease of this process from `now` on.
pub fn grant(engine: &str, processes: &dyn Processes, now: UnixMillis) -> Lease {
    let own = processes.own();
    Lease {
        engine: engine.to_owned(),
        boot_id: own.boot_id,
        pid_namespace: own.pid_namespace,
        pid: own.pid,
        started: own.started,
        until: UnixMillis(now.0 + TERM.as_millis() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Table {
        own: Process,
        other: Option<u64>,
    }

    impl Processes for Table {
        fn own(&self) -> Process {
            self.own.clone()
        }
        fn start_time(&self, _pid: u32) -> Option<u64> {
            self.other
        }
    }

    fn table(other: Option<u64>) -> Table {
        Table {
            own: Process {
                boot_id: "b".into(),
                pid_namespace: 7,
                pid: 1,
                started: 1,
            },
            other,
        }
    }

    fn lease(boot_id: &str, started: u64) -> Lease {
        Lease {
            engine: "other".into(),
            boot_id: boot_id.into(),
            pid_namespace: 7,
            pid: 42,
            started,
            until: UnixMillis(100),
        }
    }

    #[test]
    fn a_builder_of_this_boot_is_dead_as_soon_as_its_process_is_gone_or_its_id_reused() {
        let now = UnixMillis(50);
        assert_eq!(
            holder(Some(&lease("b", 5)), "me", &table(Some(5)), now),
            Holder::Alive
        );
        assert_eq!(
            holder(Some(&lease("b", 5)), "me", &table(None), now),
            Holder::Dead
        );
        assert_eq!(
            holder(Some(&lease("b", 5)), "me", &table(Some(6)), now),
            Holder::Dead
        );
    }

    #[test]
    fn a_builder_elsewhere_is_believed_until_its_lease_runs_out() {
        assert_eq!(
            holder(Some(&lease("c", 5)), "me", &table(None), UnixMillis(99)),
            Holder::Alive
        );
        assert_eq!(
            holder(Some(&lease("c", 5)), "me", &table(None), UnixMillis(100)),
            Holder::Dead
        );
    }

    #[test]
    fn no_lease_is_nobodys_and_an_own_one_is_ours() {
        assert_eq!(holder(None, "me", &table(None), UnixMillis(0)), Holder::Dead);
        assert_eq!(
            holder(Some(&lease("b", 5)), "other", &table(None), UnixMillis(0)),
            Holder::Ours
        );
    }

    #[test]
    fn this_process_is_found_alive_in_the_real_table() {
        let lease = grant("me", &ProcTable, UnixMillis(0));
        assert_eq!(
            holder(Some(&lease), "not me", &ProcTable, UnixMillis(1)),
            Holder::Alive
        );
    }
}
