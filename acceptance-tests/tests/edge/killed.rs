//! A provider that is killed while it reads the host's template of firmware variables: the pool by which it reads does not
//! stay behind. Over a slow line, so that the moment is long enough to be met.

use super::{apply, assert_settled};
use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::host::{Host, HostOptions, TLS_PORT};
use labyard_acceptance_tests::observer::Observer;
use labyard_acceptance_tests::processes::{self, Signal};
use labyard_acceptance_tests::relay::Relay;
use labyard_acceptance_tests::terraform::Terraform;
use labyard_acceptance_tests::tls::{Authority, For};
use labyard_acceptance_tests::wait::{Look, until};
use std::time::Duration;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);
/// Several calls pass between the pool's making and its end.
const SLOW: Duration = Duration::from_millis(250);

#[test]
fn a_provider_killed_while_it_reads_the_firmwares_template_leaves_no_pool_behind() {
    let authority = Authority::new("lab").unwrap();
    let (server, pki) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    authority
        .certify(For::Server, "DNS:localhost", server.path())
        .unwrap();
    authority.certify(For::Client, "client", pki.path()).unwrap();
    let options = HostOptions {
        tls: Some(server.path().to_owned()),
        ..HostOptions::default()
    };
    let host = &Host::start_with(&options).unwrap();
    let before = host.inventory().unwrap();
    let line = Relay::to(host, TLS_PORT).unwrap();
    let uri = format!(
        "qemu+tls://localhost:{}/system?pkipath={}",
        line.port(),
        pki.path().display()
    );
    let terraform = &Terraform::new().unwrap();
    let config = |secure_boot: bool| {
        let firmware = format!("firmware = {{ type = \"uefi\", secure_boot = {secure_boot} }}");
        let machine = format!("memory_mib = 64\n  power = \"stopped\"\n  {firmware}");
        hcl::provider_of("", &[("lab1", &uri)]) + &hcl::machine("node", machine)
    };

    terraform.write("main.tf", &config(false)).unwrap();
    killed_while_reading(host, terraform, &line);
    apply(terraform, &config(false)).expect_success();
    assert_settled(terraform);
    assert_eq!(pools_for_firmware(&host.observer().unwrap()), [""; 0]);

    // The other kind has another template; this time nobody goes on with it.
    terraform.write("main.tf", &config(true)).unwrap();
    killed_while_reading(host, terraform, &line);
    terraform.destroy(&[]).unwrap().expect_success();
    assert_eq!(pools_for_firmware(&host.observer().unwrap()), [""; 0]);
    let changes = before.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "left over or lost:\n{changes}");
}

/// Read by a connection that stands: the moment passes quicker than a program starts.
fn pools_for_firmware(observer: &Observer) -> Vec<String> {
    let pools = observer.connection().list_all_storage_pools(0).unwrap();
    let names = pools.iter().map(|pool| pool.name().unwrap());
    names.filter(|name| name.starts_with("labyard-files-")).collect()
}

fn killed_while_reading(host: &Host, terraform: &Terraform<'_>, line: &Relay) {
    let observer = &host.observer().unwrap();
    let held = terraform.directory().join("held");
    let fault = format!("hold@before-define:{}", held.display());
    let apply = ["apply", "-json", "-input=false", "-auto-approve"];
    let running = terraform
        .start_with(&apply, &[("LABYARD_FAULT", &fault)])
        .unwrap();
    let shown = |what: &str, holds: &dyn Fn() -> bool| {
        until(what, SOON, || {
            Ok(match holds() || !running.goes_on() {
                true => Look::Holds(()),
                false => Look::NotYet("not so".to_owned()),
            })
        })
        .unwrap();
    };
    shown("the last stage before the firmware", &|| held.exists());
    line.delay(SLOW);
    std::fs::remove_file(&held).unwrap();
    shown("the pool by which the template is read", &|| {
        !pools_for_firmware(observer).is_empty()
    });
    let Some(provider) = running.provider() else {
        panic!("it ended before:\n{}", running.end().unwrap().text());
    };
    processes::send(Signal::Kill, provider).unwrap();
    running.end().unwrap().expect_failure();
    assert_ne!(pools_for_firmware(observer), [""; 0], "killed too late");
    line.delay(Duration::ZERO);
}
