//! The program put into a tree: an image, say.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

fn install(root: &std::path::Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_labyard-guest"))
        .args(["install", "--root"])
        .arg(root)
        .output()
        .unwrap()
}

#[test]
fn an_image_gets_the_program_and_a_unit_that_starts_it() {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    fs::create_dir_all(at("usr/lib/systemd")).unwrap();
    fs::write(at("usr/lib/systemd/systemd"), "").unwrap();
    // Twice, as a newer release over an older one.
    for _ in 0..2 {
        let done = install(root.path());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let program = at("usr/local/sbin/labyard-guest");
    assert_eq!(program.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(
        fs::read(&program).unwrap(),
        fs::read(env!("CARGO_BIN_EXE_labyard-guest")).unwrap()
    );
    let said = Command::new(&program).arg("--version").output().unwrap();
    assert!(String::from_utf8_lossy(&said.stdout).starts_with("labyard-guest "));
    let wanted = at("etc/systemd/system/multi-user.target.wants/labyard-guest.service");
    assert_eq!(
        fs::read_link(&wanted).unwrap().to_str(),
        Some("../labyard-guest.service")
    );
    let unit = fs::read_to_string(wanted).unwrap();
    assert!(
        unit.contains("ExecStart=/usr/local/sbin/labyard-guest run\n"),
        "{unit}"
    );
}

#[test]
fn a_system_without_systemd_is_told_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let done = install(root.path());
    assert!(!done.status.success());
    assert!(String::from_utf8_lossy(&done.stderr).contains("systemd"));
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}
