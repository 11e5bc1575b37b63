//! Processes of this machine, by id: who is whose child, and signals to one of them.

use crate::command::output_of;
use crate::error::Result;
use std::path::PathBuf;
use std::process::Command;

/// The signals that tests send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGKILL.
    Kill,
    /// SIGINT, as Ctrl-C does.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "-KILL",
            Self::Interrupt => "-INT",
            Self::Terminate => "-TERM",
            Self::Stop => "-STOP",
            Self::Continue => "-CONT",
        }
    }
}

/// Sends a signal to one process.
pub fn send(signal: Signal, process: u32) -> Result<()> {
    output_of(Command::new("kill").arg(signal.name()).arg(process.to_string())).map(drop)
}

/// Whether a process runs: one that has ended and is not yet reaped does not.
pub fn runs(process: u32) -> bool {
    stat(process).is_some_and(|(state, _)| state != "Z")
}

/// The children of a process, with the executable of each.
pub fn children(parent: u32) -> Vec<(u32, PathBuf)> {
    let Ok(all) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&process| stat(process).is_some_and(|(_, its_parent)| its_parent == parent))
        .filter_map(|process| Some((process, std::fs::read_link(format!("/proc/{process}/exe")).ok()?)))
        .collect()
}

/// State and parent. The name before them may hold spaces and brackets, so they are counted from behind it.
fn stat(process: u32) -> Option<(String, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found_with_its_executable_and_ends_by_its_id() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let found = children(std::process::id())
            .into_iter()
            .find(|(id, _)| *id == child.id());
        assert!(found.is_some());
        assert!(runs(child.id()));
        send(Signal::Kill, child.id()).unwrap();
        child.wait().unwrap();
        assert!(!runs(child.id()));
    }
}
