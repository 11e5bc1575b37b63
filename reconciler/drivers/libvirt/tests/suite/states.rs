//! States that machines come into past the driver, and firmware.

use std::process::Command;

use labyard_driver::conformance::sample;
use labyard_driver::ids::VolumeName;
use labyard_driver::observed::{MarkState, Power};
use labyard_driver::spec::{Dhcp, Firmware, MachineSpec};
use labyard_driver::{Driver, DriverError};
use labyard_driver_libvirt::LibvirtDriver;

use crate::host;
use crate::own_host::OwnHost;

fn virsh(uri: &str, arguments: &[&str]) -> String {
    let output = Command::new("virsh")
        .args(["-q", "-c", uri])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

async fn running(driver: &LibvirtDriver, hint: &str) -> MachineSpec {
    let spec = host::machine(hint);
    driver.record_machine(&spec).await.unwrap();
    driver.define_machine(&spec).await.unwrap();
    driver.start_machine(&spec.id).await.unwrap();
    spec
}

/// The power as the two ways of reading show it.
async fn power(driver: &LibvirtDriver, spec: &MachineSpec) -> Power {
    let snapshot = driver.snapshot().await.unwrap();
    let seen = snapshot
        .machines
        .iter()
        .find(|machine| machine.id == spec.id)
        .unwrap();
    assert_eq!(seen.power, driver.machine(&spec.id).await.unwrap().power);
    seen.power
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_machine_goes_on_and_a_saved_one_loses_its_memory_when_powered_off() {
    let Some(uri) = host::uri() else { return };
    let driver = host::driver(&uri);
    let spec = running(&driver, "paused").await;
    virsh(&uri, &["suspend", &spec.host_name]);
    assert_eq!(power(&driver, &spec).await, Power::Paused);
    driver.start_machine(&spec.id).await.unwrap();
    assert_eq!(power(&driver, &spec).await, Power::Running);
    virsh(&uri, &["managedsave", &spec.host_name]);
    assert_eq!(power(&driver, &spec).await, Power::Saved);
    driver.power_off(&spec.id).await.unwrap();
    assert_eq!(power(&driver, &spec).await, Power::Stopped);
    driver.remove_machine(&spec.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_process_was_killed_is_stopped_and_starts_again() {
    let Some(own) = OwnHost::start("killed") else {
        return;
    };
    let driver = host::driver(&own.uri);
    let spec = running(&driver, "killed").await;
    let mut events = driver.events().await.unwrap();
    own.signal(&spec.host_name, "-KILL");
    let told = tokio::time::timeout(std::time::Duration::from_secs(10), events.recv()).await;
    assert_eq!(
        told.unwrap().unwrap(),
        labyard_driver::HostEvent::Machine(spec.id.clone())
    );
    assert_eq!(power(&driver, &spec).await, Power::Stopped);
    driver.start_machine(&spec.id).await.unwrap();
    assert_eq!(power(&driver, &spec).await, Power::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_machine_without_a_definition_is_still_ours_and_gets_one_again() {
    let Some(uri) = host::uri() else { return };
    let driver = host::driver(&uri);
    let spec = running(&driver, "transient").await;
    virsh(&uri, &["undefine", &spec.host_name]);
    let seen = driver.machine(&spec.id).await.unwrap();
    assert_eq!((seen.power, seen.mark.ours()), (Power::Running, Some(&spec.mark)));
    let marks = driver.marks().await.unwrap();
    assert!(
        marks
            .iter()
            .any(|(id, mark)| (id, mark) == (&spec.id, &spec.mark))
    );
    assert_eq!(power(&driver, &spec).await, Power::Running);
    driver.define_machine(&spec).await.unwrap();
    driver.power_off(&spec.id).await.unwrap();
    assert_eq!(power(&driver, &spec).await, Power::Stopped);
    driver.remove_machine(&spec.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_cannot_be_read_is_not_taken_for_none() {
    let Some(own) = OwnHost::start("unreadable") else {
        return;
    };
    let driver = host::driver(&own.uri);
    let spec = running(&driver, "unreadable").await;
    let arguments = [
        "metadata",
        &spec.host_name,
        "--uri",
        labyard_driver::mark::XML_NAMESPACE,
        "--key",
        "labyard",
    ];
    let newer = ["--set", "<mark>{\"version\": 99}</mark>", "--config", "--live"];
    virsh(&own.uri, &[arguments.as_slice(), &newer].concat());
    let seen = driver.machine(&spec.id).await.unwrap();
    assert!(
        matches!(&seen.mark, MarkState::Unreadable(why) if why.contains("upgrade")),
        "{:?}",
        seen.mark
    );
    let snapshot = driver.snapshot().await.unwrap();
    assert!(matches!(snapshot.machines[0].mark, MarkState::Unreadable(_)));
    assert!(matches!(
        driver.marks().await.unwrap_err(),
        DriverError::Refused { .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_uefi_machine_runs_without_secure_boot_and_its_nvram_goes_with_it() {
    let Some(uri) = host::uri() else { return };
    let driver = host::driver(&uri);
    if !driver.offers().await.unwrap().firmwares.contains(&Firmware::Uefi) {
        eprintln!("SKIPPED: the host offers no UEFI firmware");
        return;
    }
    let disk = VolumeName(host::fresh("disk"));
    driver
        .create_volume(&sample::blank(&host::pool(), &disk))
        .await
        .unwrap();
    let mut spec = sample::with_disk(host::machine("uefi"), &host::pool(), &disk);
    spec.firmware = Firmware::Uefi;
    driver.record_machine(&spec).await.unwrap();
    driver.define_machine(&spec).await.unwrap();
    let defined = driver.machine(&spec.id).await.unwrap();
    assert_eq!(defined.detail.known().unwrap().firmware, Firmware::Uefi);
    driver.start_machine(&spec.id).await.unwrap();
    let xml = virsh(&uri, &["dumpxml", &spec.host_name]);
    assert!(xml.contains("<nvram") && !xml.contains("secure='yes'"), "{xml}");
    // The same again, now that libvirt has filled in what it chose.
    driver.define_machine(&spec).await.unwrap();
    driver.power_off(&spec.id).await.unwrap();
    driver.remove_machine(&spec.id).await.unwrap();
    driver.record_machine(&spec).await.unwrap();
    spec.firmware = Firmware::Bios;
    driver.define_machine(&spec).await.unwrap();
    assert_eq!(
        driver
            .machine(&spec.id)
            .await
            .unwrap()
            .detail
            .known()
            .unwrap()
            .firmware,
        Firmware::Bios
    );
    driver.remove_machine(&spec.id).await.unwrap();
    driver.delete_volume(&host::pool(), &disk).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_disks_boot_in_their_order_and_a_machine_keeps_ports_to_spare() {
    let Some(uri) = host::uri() else { return };
    let driver = host::driver(&uri);
    let mut spec = host::machine("ports");
    let volumes: Vec<VolumeName> = (0..2).map(|_| VolumeName(host::fresh("disk"))).collect();
    for volume in &volumes {
        driver
            .create_volume(&sample::blank(&host::pool(), volume))
            .await
            .unwrap();
        spec = sample::with_disk(spec, &host::pool(), volume);
    }
    driver.record_machine(&spec).await.unwrap();
    driver.define_machine(&spec).await.unwrap();
    driver.start_machine(&spec.id).await.unwrap();
    let xml = virsh(&uri, &["dumpxml", &spec.host_name]);
    let first = xml.find("<boot order='1'/>").unwrap();
    assert!(
        xml[..first].rfind("target dev='vda'").is_some() && xml.contains("<boot order='2'/>"),
        "{xml}"
    );
    assert!(!xml.contains("<graphics") && !xml.contains("<video"), "{xml}");
    // Hot-plug finds free ports.
    let file = std::env::temp_dir().join(host::fresh("nic.xml"));
    for n in 0..8 {
        let xml = format!(
            "<interface type='user'><mac address='52:54:00:77:00:{n:02x}'/><model type='virtio'/></interface>"
        );
        std::fs::write(&file, xml).unwrap();
        virsh(
            &uri,
            &["attach-device", &spec.host_name, file.to_str().unwrap(), "--live"],
        );
    }
    std::fs::remove_file(&file).unwrap();
    driver.power_off(&spec.id).await.unwrap();
    driver.remove_machine(&spec.id).await.unwrap();
    for volume in &volumes {
        driver.delete_volume(&host::pool(), volume).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_panics_is_seen_crashed_until_it_is_started_or_powered_off() {
    let (Some(uri), Some(guest)) = (host::uri(), host::guest()) else {
        return;
    };
    let driver = host::driver(&uri);
    let mut spec = host::machine("crash");
    spec.memory = guest.memory;
    let mut boot = guest.direct_boot;
    boot.cmdline = boot.cmdline.map(|line| format!("{line} guest.boot=panic"));
    spec.direct_boot = Some(boot);
    driver.record_machine(&spec).await.unwrap();
    driver.define_machine(&spec).await.unwrap();
    driver.start_machine(&spec.id).await.unwrap();
    for again in ["started", "powered off"] {
        let end = tokio::time::Instant::now() + guest.patience;
        while driver.machine(&spec.id).await.unwrap().power != Power::Crashed {
            assert!(
                tokio::time::Instant::now() < end,
                "the crash is not seen, to be {again}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        assert_eq!(power(&driver, &spec).await, Power::Crashed);
        if again == "started" {
            // It crashes again within a second or two: the number of its run stays, whenever it is looked at.
            let run = virsh(&uri, &["domid", &spec.host_name]);
            driver.start_machine(&spec.id).await.unwrap();
            assert_ne!(virsh(&uri, &["domid", &spec.host_name]), run);
        }
    }
    driver.power_off(&spec.id).await.unwrap();
    assert_eq!(power(&driver, &spec).await, Power::Stopped);
    driver.remove_machine(&spec.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_addresses_is_changed_without_cutting_anybody_off() {
    let Some(own) = OwnHost::start("range") else {
        return;
    };
    let driver = host::driver(&own.uri);
    let mut network = host::network("range");
    let bridge = driver.create_network(&network).await.unwrap().bridge.unwrap();
    let plugged_in = || own.run(&["ls", &format!("/sys/class/net/{bridge}/brif")]);
    let spec = sample::with_nic(host::machine("range"), &network.host_name);
    driver.record_machine(&spec).await.unwrap();
    driver.define_machine(&spec).await.unwrap();
    driver.start_machine(&spec.id).await.unwrap();
    let before = plugged_in();
    assert!(!before.is_empty());
    network.dhcp = network.dhcp.map(|dhcp| Dhcp {
        end: (u32::from(dhcp.end) + 10).into(),
        ..dhcp
    });
    let changed = driver.change_network(&network).await.unwrap();
    assert_eq!(changed.dhcp, network.dhcp);
    let live = virsh(&own.uri, &["net-dumpxml", &network.host_name]);
    assert!(
        live.contains(&network.dhcp.unwrap().end.to_string()) && live.matches("<range").count() == 1,
        "{live}"
    );
    assert_eq!(plugged_in(), before);
}
