//! Seven things that are done to providers for libvirt in practice, each with what ours makes of it.

use labyard_acceptance_tests::host::{Daemon, Host};
use labyard_acceptance_tests::observer::Observer;
use labyard_acceptance_tests::processes::{self, Signal};
use labyard_acceptance_tests::terraform::Running;
use labyard_acceptance_tests::wait::{Look, until};
use labyard_acceptance_tests::{Terraform, hcl};
use std::path::{Path, PathBuf};
use std::time::Duration;
use virt::domain::DomainState;

const SOON: Duration = Duration::from_secs(60);
/// Nothing in it boots, so that it does not hear when it is asked to shut down.
const RUNNING: &str = "memory_mib = 64\n  shutdown = { mode = \"force\" }";
const STOPPED: &str = "memory_mib = 64\n  power = \"stopped\"";
const APPLY: &[&str] = &["apply", "-json", "-input=false", "-auto-approve"];

fn machines(count: usize, kind: &str) -> String {
    let body = format!("{kind}\n  disks = {{ data = {{ size_gib = 1 }} }}");
    (0..count)
        .map(|n| hcl::machine(&format!("m{n}"), &body))
        .collect()
}

/// A host, and a state in which a configuration is applied.
fn applied(config: &str) -> (Host, Observer, Terraform<'static>) {
    let host = Host::start().unwrap();
    let terraform = Terraform::new().unwrap();
    terraform.write("main.tf", &(hcl::on(&host) + config)).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    let observer = host.observer().unwrap();
    (host, observer, terraform)
}

fn wait_for(path: &Path) {
    until(&path.display().to_string(), SOON, || {
        Ok(if path.exists() {
            Look::Holds(())
        } else {
            Look::NotYet("not there".into())
        })
    })
    .unwrap();
}

/// An apply that was caught at a stage.
fn caught(terraform: &mut Terraform<'_>, point: &str) -> (Running, PathBuf) {
    let reached = terraform.directory().join("reached");
    terraform.env("LABYARD_FAULT", &format!("{point}:{}", reached.display()));
    let running = terraform.start(APPLY).unwrap();
    wait_for(&reached);
    terraform.env("LABYARD_FAULT", "");
    (running, reached)
}

/// One apply and all is there, once; one destroy and all is gone.
fn assert_converges(host: &Host, observer: &Observer, terraform: &Terraform<'_>, machines: usize) {
    terraform.apply(&[]).unwrap().expect_success();
    terraform.plan(&[]).unwrap().expect_empty();
    assert_eq!(observer.domains().unwrap().len(), machines);
    assert_eq!(
        observer.volumes("default").unwrap().len(),
        machines,
        "one disk each"
    );
    terraform.destroy(&[]).unwrap().expect_success();
    assert!(observer.domains().unwrap().is_empty());
    assert!(observer.volumes("default").unwrap().is_empty());
    assert!(
        host.processes()
            .unwrap()
            .iter()
            .all(|process| process.kind != "qemu")
    );
}

#[test]
fn a_provider_killed_while_five_running_machines_are_made_costs_nothing_but_an_apply() {
    let host = Host::start().unwrap();
    let observer = host.observer().unwrap();
    let mut terraform = Terraform::new().unwrap();
    terraform
        .write("main.tf", &(hcl::on(&host) + &machines(5, RUNNING)))
        .unwrap();
    let (running, _) = caught(&mut terraform, "hold@start");
    processes::send(Signal::Kill, running.provider().unwrap()).unwrap();
    running.end().unwrap().expect_failure();
    assert!(!observer.domains().unwrap().is_empty(), "some were made already");
    assert_converges(&host, &observer, &terraform, 5);
}

#[test]
fn more_memory_for_a_running_machine_is_announced_as_a_restart_and_leaves_its_mac() {
    let config = |memory: u32| {
        let body = format!(
            "memory_mib = {memory}\n  shutdown = {{ mode = \"force\" }}\n  nics = {{ lan = {{ network = labyard_network.lab.name }} }}"
        );
        hcl::resource("labyard_network", "lab", "mode = \"isolated\"") + &hcl::machine("m0", body)
    };
    let (host, observer, terraform) = applied(&config(96));
    let before = terraform.attributes("labyard_vm.m0").unwrap().unwrap();
    terraform
        .write("main.tf", &(hcl::on(&host) + &config(128)))
        .unwrap();
    let plan = terraform.plan(&[]).unwrap().expect_success();
    assert_eq!(plan.actions("labyard_vm.m0"), ["update"]);
    let warnings = plan.run().warnings();
    assert!(
        warnings
            .iter()
            .any(|one| one.detail.contains("memory_mib: 96 -> 128")),
        "{}",
        plan.run().text()
    );
    let run = terraform.apply(&[]).unwrap().expect_success();
    assert!(run.took() < Duration::from_secs(29), "{:?}", run.took());
    let after = terraform.attributes("labyard_vm.m0").unwrap().unwrap();
    assert_eq!((&after["macs"], &after["id"]), (&before["macs"], &before["id"]));
    assert_eq!(observer.state("m0").unwrap(), Some(DomainState::Running));
    terraform.plan(&[]).unwrap().expect_empty();
    terraform.destroy(&[]).unwrap().expect_success();
}

#[test]
fn what_a_hand_changed_shows_in_the_next_plan() {
    let (host, observer, terraform) = applied(&(machines(3, STOPPED) + &hcl::machine("on", RUNNING)));
    observer.pull_plug("on").unwrap();
    host.virsh(&["setmaxmem", "m0", "96M", "--config"]).unwrap();
    host.virsh(&["setmem", "m0", "96M", "--config"]).unwrap();
    host.virsh(&["setvcpus", "m1", "2", "--config", "--maximum"])
        .unwrap();
    host.virsh(&["setvcpus", "m1", "2", "--config"]).unwrap();
    let plan = terraform.plan(&[]).unwrap().expect_success();
    for (machine, attribute, found) in [
        ("on", "power", "stopped"),
        ("m0", "memory_mib", "96"),
        ("m1", "cpus", "2"),
    ] {
        let before = &plan.change(&format!("labyard_vm.{machine}"))["before"][attribute];
        assert_eq!(before.to_string().trim_matches('"'), found, "{machine}");
    }
    terraform.apply(&[]).unwrap().expect_success();
    terraform.plan(&[]).unwrap().expect_empty();

    // A disk that somebody made larger cannot be made smaller: the plan says so, and loses nothing.
    let volumes = observer.volumes("default").unwrap();
    let disk = volumes
        .iter()
        .find(|volume| volume.name.starts_with("m2."))
        .unwrap();
    host.virsh(&["vol-resize", &disk.path, "2G"]).unwrap();
    let plan = terraform.plan(&[]).unwrap();
    let error = &plan.run().errors()[0];
    assert_eq!(error.summary, "Disk cannot shrink");
    assert_eq!(error.address.as_deref(), Some("labyard_vm.m2"));
    let config = machines(3, STOPPED).replace("size_gib = 1", "size_gib = 2") + &hcl::machine("on", RUNNING);
    terraform.write("main.tf", &(hcl::on(&host) + &config)).unwrap();
    let plan = terraform.plan(&[]).unwrap().expect_success();
    assert_eq!(plan.actions("labyard_vm.m2"), ["no-op"], "kept as it is");
    terraform.destroy(&[]).unwrap().expect_success();
}

#[test]
fn a_root_disk_that_grows_in_the_configuration_grows_on_the_host() {
    let config = |gib: u32| {
        let disks = format!(
            "disks = {{ root = {{ size_gib = {gib}, image = {} }} }}",
            hcl::image()
        );
        hcl::machine("m0", format!("{STOPPED}\n  {disks}"))
    };
    let (host, observer, terraform) = applied(&config(1));
    terraform
        .write("main.tf", &(hcl::on(&host) + &config(2)))
        .unwrap();
    let plan = terraform.plan(&[]).unwrap().expect_success();
    assert_eq!(plan.actions("labyard_vm.m0"), ["update"]);
    terraform.apply(&[]).unwrap().expect_success();
    let volumes = observer.volumes("default").unwrap();
    let root = volumes
        .iter()
        .find(|volume| volume.name.starts_with("m0.root"))
        .unwrap();
    assert_eq!(root.capacity, 2 << 30);
    terraform.plan(&[]).unwrap().expect_empty();
    terraform.destroy(&[]).unwrap().expect_success();
}

#[test]
fn a_daemon_that_hangs_fails_the_plan_in_time() {
    let (host, _, terraform) = applied(&machines(1, STOPPED));
    host.daemon(Daemon::Stop).unwrap();
    let plan = terraform.plan(&[]).unwrap();
    host.daemon(Daemon::Continue).unwrap();
    assert!(
        !plan.run().succeeded() && plan.run().took() < SOON,
        "{}",
        plan.run().text()
    );
    let error = &plan.run().errors()[0];
    assert!(
        error.detail.contains("systemctl restart libvirtd"),
        "{}",
        error.detail
    );
    terraform.plan(&[]).unwrap().expect_empty();
    terraform.destroy(&[]).unwrap().expect_success();
}

#[test]
fn a_daemon_that_dies_in_mid_refresh_fails_the_plan_and_adds_nothing() {
    let (host, _, terraform) = applied(&machines(10, STOPPED));
    // Stopped first, so that the refresh is on its way for certain when it dies.
    host.daemon(Daemon::Stop).unwrap();
    let running = terraform.start(&["plan", "-json", "-input=false"]).unwrap();
    until("the provider", SOON, || {
        Ok(match running.provider() {
            Some(_) => Look::Holds(()),
            None => Look::NotYet("not started".into()),
        })
    })
    .unwrap();
    host.daemon(Daemon::Kill).unwrap();
    let run = running.end().unwrap().expect_failure();
    assert!(
        !run.errors().is_empty() && !run.text().contains("Plan to create"),
        "{}",
        run.text()
    );
    host.daemon(Daemon::Start).unwrap();
    terraform.plan(&[]).unwrap().expect_empty();
    terraform.destroy(&[]).unwrap().expect_success();
}

#[test]
fn a_run_broken_off_twice_is_taken_up_by_the_next_apply() {
    let host = Host::start().unwrap();
    let observer = host.observer().unwrap();
    let mut terraform = Terraform::new().unwrap();
    terraform
        .write("main.tf", &(hcl::on(&host) + &machines(3, STOPPED)))
        .unwrap();
    // Terraform gives up its state at the second interrupt only while an operation does not end at the first.
    let (running, reached) = caught(&mut terraform, "freeze@define");
    running.signal(Signal::Interrupt).unwrap();
    wait_for(&reached.with_extension("stopped"));
    running.signal(Signal::Interrupt).unwrap();
    running.end().unwrap().expect_failure();
    assert!(!observer.domains().unwrap().is_empty());
    assert_converges(&host, &observer, &terraform, 3);
}
