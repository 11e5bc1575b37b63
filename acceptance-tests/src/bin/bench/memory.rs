//! The most memory that Terraform and its providers have taken, seen while they run.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

/// The kernel keeps the peak, so that only what was added in the last moments before an end goes unseen.
const PAUSE: Duration = Duration::from_millis(20);

/// In KiB.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Peak {
    /// Of Terraform.
    pub terraform: u64,
    /// Of the largest of its providers' processes.
    pub provider: u64,
}

/// Watches a process of Terraform and what it starts.
pub struct Watch {
    over: std::sync::Arc<AtomicBool>,
    watcher: JoinHandle<Peak>,
}

impl Watch {
    /// From now on.
    pub fn of(terraform: u32) -> Self {
        let over = std::sync::Arc::new(AtomicBool::new(false));
        let until = over.clone();
        let watcher = std::thread::spawn(move || {
            let mut peak = Peak::default();
            while !until.load(Ordering::SeqCst) {
                peak.terraform = peak.terraform.max(high_water(terraform));
                for provider in children(terraform) {
                    peak.provider = peak.provider.max(high_water(provider));
                }
                sleep(PAUSE);
            }
            peak
        });
        Self { over, watcher }
    }

    /// What was seen.
    pub fn end(self) -> Peak {
        self.over.store(true, Ordering::SeqCst);
        self.watcher.join().unwrap_or_default()
    }
}

/// The processes that the threads of one have started, as the kernel keeps them: looking through all that run would
/// take a good part of a processor.
fn children(parent: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{parent}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let ids =
        |list: String| -> Vec<u32> { list.split_whitespace().filter_map(|id| id.parse().ok()).collect() };
    lists.flat_map(ids).collect()
}

/// Nought of one that has ended.
fn high_water(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_taken_memory_and_one_that_is_not_has_not() {
        assert!(high_water(std::process::id()) > 100);
        assert_eq!(high_water(u32::MAX), 0);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = children(std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&child.id()));
    }
}
