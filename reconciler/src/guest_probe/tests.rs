use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::*;

#[test]
fn the_image_is_a_boot_disk() {
    let image = boot_image();
    assert_eq!(image.len(), 1 << 20);
    assert_eq!(image[510..512], [0x55, 0xaa]);
    assert!(image[512..].iter().all(|byte| *byte == 0));
}

#[test]
fn the_console_tells_how_far_a_guest_came() {
    assert_eq!(reached(b""), Reached::Nothing);
    assert_eq!(reached(b"r"), Reached::RealMode);
    assert_eq!(reached(b"rpl"), Reached::LongMode);
    assert_eq!(
        reached(b"rplrplrpl"),
        Reached::LongMode,
        "a guest that resets again and again"
    );
    assert_eq!(reached(b"rplsi"), Reached::TimerInterrupt);
    assert_eq!(reached(b"rplsilabyard-pro"), Reached::TimerInterrupt);
    assert_eq!(reached(b"rplsilabyard-probe-ok"), Reached::End);
}

struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the image under TCG on a machine type; nothing, said aloud, where QEMU is missing.
fn console_under_tcg(machine: &str, until: Reached) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let (image, console) = (
        directory.path().join("probe.img"),
        directory.path().join("console"),
    );
    fs::write(&image, boot_image()).unwrap();
    fs::write(&console, b"").unwrap();
    let spawned = Command::new("qemu-system-x86_64")
        .args([
            "-accel",
            "tcg",
            "-machine",
            machine,
            "-m",
            &MEMORY_MIB.to_string(),
        ])
        .args(["-nodefaults", "-display", "none", "-no-reboot"])
        .args(["-serial", &format!("file:{}", console.display())])
        .args(["-drive", &format!("file={},format=raw", image.display())])
        .stdin(Stdio::null())
        .spawn();
    let Ok(child) = spawned else {
        eprintln!("SKIPPED: qemu-system-x86_64 is not installed, the probe's payload is not run");
        return None;
    };
    let guest = Guest(child);
    // Long for a machine that builds and tests on all its processors.
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut said = Vec::new();
    while reached(&said) < until && Instant::now() < deadline {
        sleep(Duration::from_millis(50));
        said = fs::read(&console).unwrap();
    }
    drop(guest);
    Some(said)
}

#[test]
fn under_tcg_the_payload_passes_every_step_in_order_on_either_machine_type() {
    for machine in ["q35", "pc"] {
        let Some(said) = console_under_tcg(machine, Reached::End) else {
            return;
        };
        assert_eq!(
            String::from_utf8_lossy(&said),
            "rplsilabyard-probe-ok",
            "{machine}"
        );
    }
}
