//! Writes the disk image of the accelerator's probe to a file, to run it by hand.

use std::process::ExitCode;

use labyard_reconciler::guest_probe::boot_image;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: guest_probe_image FILE");
        return ExitCode::from(64);
    };
    match std::fs::write(&path, boot_image()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}
