//! The program and what starts it at boot, put into a system: systemd's unit.

use std::io;
use std::path::Path;

use super::act::{Act, File, Program};
use super::tree::{ActFailed, Tree};
use crate::run::say;

const PROGRAM: &str = "/usr/local/sbin/labyard-guest";
const UNIT: &str = "/etc/systemd/system/labyard-guest.service";
const WANTED: &str = "/etc/systemd/system/multi-user.target.wants/labyard-guest.service";

/// The daemon of the pairs has another name in each family of distributions; one that is not there does no harm.
const TEXT: &str = "\
[Unit]
Description=Configuration of this guest by labyard, through Hyper-V's key-value pairs
ConditionVirtualization=microsoft
After=local-fs.target hv-kvp-daemon.service hyperv-daemons.hv-kvp-daemon.service hypervkvpd.service hv_kvp_daemon.service

[Service]
ExecStart=/usr/local/sbin/labyard-guest run
Restart=on-failure
RestartSec=5
UMask=0077

[Install]
WantedBy=multi-user.target
";

/// Why it cannot be put there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotInstalled {
    /// No systemd.
    #[error(
        "{0} has no systemd: put this program there yourself, and have it started at boot with the argument `run`"
    )]
    NoSystemd(String),
    /// The program does not find itself.
    #[error("this program cannot find its own file: {0}")]
    Itself(io::Error),
    /// A file or program.
    #[error(transparent)]
    Failed(#[from] ActFailed),
}

/// Puts it there.
pub(crate) fn install(root: &Path, now: bool) -> Result<(), NotInstalled> {
    let tree = Tree::new(root.into());
    if !tree.exists("/usr/lib/systemd/systemd") && !tree.exists("/lib/systemd/systemd") {
        return Err(NotInstalled::NoSystemd(root.display().to_string()));
    }
    let itself = std::env::current_exe().map_err(NotInstalled::Itself)?;
    tree.copy(&itself, Path::new(PROGRAM))?;
    tree.perform(&Act::Write(File {
        path: UNIT.into(),
        text: TEXT.to_owned(),
        mode: 0o644,
    }))?;
    tree.link(Path::new(WANTED), "../labyard-guest.service")?;
    let reload = Program::new("systemctl", &["daemon-reload"]).live();
    tree.perform(&Act::Run(reload))?;
    say(&format!("{PROGRAM} is there, and is started at each boot"));
    if now {
        let start = Program::new("systemctl", &["restart", "labyard-guest.service"]).live();
        tree.perform(&Act::Run(start))?;
    }
    Ok(())
}
