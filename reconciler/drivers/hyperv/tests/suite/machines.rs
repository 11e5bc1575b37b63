//! Machines: recorded, defined, run, removed.

use labyard_driver::DriverError;
use labyard_driver::conformance::sample;
use labyard_driver::ids::{Bytes, Mib, PoolName, VolumeName};
use labyard_driver::mark::Stage;
use labyard_driver::observed::{Attachment, Autostart, Capacity, Power};
use labyard_driver::spec::{Firmware, MachineSpec, SecureBoot};
use labyard_driver_hyperv::disks;
use labyard_driver_hyperv::switches::Reach;
use labyard_hyperv_double::wire::{Rule, Trouble};

use crate::rig::{Rig, machine};

fn pool() -> PoolName {
    PoolName::from("default")
}

/// A machine with a disk, a card on a switch and an empty drive, recorded and defined.
async fn furnished(rig: &Rig, name: &str) -> MachineSpec {
    let disk = format!(r"D:\labyard\{name}.root.vhdx");
    disks::create(rig.host.client(), &disk, Bytes::from_gib(1))
        .await
        .unwrap();
    let mark = sample::mark(labyard_driver::mark::Kind::Network, name);
    rig.host
        .create_switch(&format!("{name}-net"), &mark, Reach::Machines)
        .await
        .unwrap();
    let volume = VolumeName(format!("{name}.root"));
    let mut spec = sample::with_disk(machine(name), &pool(), &volume);
    spec = sample::with_nic(spec, &format!("{name}-net"));
    spec = sample::with_drive(spec, "tools", None);
    (spec.cpus, spec.memory) = (2, Mib(512));
    spec.id = rig.host.record_machine(&spec).await.unwrap().id;
    rig.host.define_machine(&spec).await.unwrap();
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_a_machine_that_is_off_and_carries_its_mark() {
    let rig = Rig::new().await;
    let spec = machine("web-01");
    let recorded = rig.host.record_machine(&spec).await.unwrap();
    let seen = rig.host.machine(&recorded.id).await.unwrap();
    assert_eq!(seen.host_name, "web-01");
    assert_eq!(seen.power, Power::Stopped);
    assert_eq!(seen.mark.ours(), Some(&spec.mark));
    let detail = seen.detail.known().unwrap();
    assert!(detail.disks.is_empty() && detail.nics.is_empty() && detail.cdroms.is_empty());
    assert_eq!(detail.firmware, Firmware::Uefi);
    assert_eq!(
        detail.guards.secure_boot,
        SecureBoot::Off,
        "said, not left to the host"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_records_of_one_name_exactly_one_wins_and_nothing_is_left_of_the_other() {
    let rig = Rig::new().await;
    let (one, mut two) = (machine("race"), machine("other"));
    two.host_name = "race".to_owned();
    for _ in 0..5 {
        let both = tokio::join!(rig.host.record_machine(&one), rig.host.record_machine(&two));
        let won = match both {
            (Ok(won), Err(DriverError::Exists { .. })) | (Err(DriverError::Exists { .. }), Ok(won)) => won,
            other => panic!("{other:?}"),
        };
        let seen = rig.host.look().await.unwrap().machines;
        assert_eq!(seen.len(), 1);
        rig.host.remove_machine(&won.id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_answer_was_lost_is_found_by_its_token_and_made_once() {
    let rig = Rig::new().await;
    rig.server
        .fault(Rule::first("Invoke", Some("DefineSystem"), Trouble::DropAfter));
    let spec = machine("lost");
    let recorded = rig.host.record_machine(&spec).await.unwrap();
    assert_eq!(recorded.mark.ours(), Some(&spec.mark));
    assert_eq!(rig.host.look().await.unwrap().machines.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_never_reached_the_host_says_that_it_may_have() {
    let rig = Rig::new().await;
    rig.server
        .fault(Rule::first("Invoke", Some("DefineSystem"), Trouble::DropBefore));
    let answer = rig.host.record_machine(&machine("never")).await;
    assert!(matches!(answer, Err(DriverError::ReplyLost { .. })), "{answer:?}");
    assert!(rig.host.look().await.unwrap().machines.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_shows_what_was_asked_for_and_again_changes_nothing() {
    let rig = Rig::new().await;
    let spec = furnished(&rig, "web-01").await;
    let seen = rig.host.machine(&spec.id).await.unwrap();
    let detail = seen.detail.known().unwrap().clone();
    assert_eq!((detail.cpus, detail.memory), (2, Mib(512)));
    assert_eq!(detail.disks.len(), 1);
    assert_eq!(detail.disks[0].target, "vda");
    assert_eq!(detail.disks[0].volume, Some(VolumeName::from("web-01.root")));
    assert_eq!(detail.disks[0].capacity, Capacity::Known(Bytes::from_gib(1)));
    assert_eq!(detail.cdroms.get("sdb"), Some(&None));
    assert_eq!(detail.nics.len(), 1);
    assert_eq!(detail.nics[0].mac, spec.nics[0].mac);
    assert_eq!(
        detail.nics[0].attachment,
        Attachment::Network("web-01-net".to_owned())
    );

    rig.server.forget_log();
    rig.host.define_machine(&spec).await.unwrap();
    let changes: Vec<_> = rig
        .server
        .log()
        .into_iter()
        .map(|entry| entry.method)
        .filter(|method| !method.is_empty() && !method.starts_with("Get"))
        .collect();
    assert!(changes.is_empty(), "{changes:?}");
    let again = rig.host.machine(&spec.id).await.unwrap();
    assert_eq!(again.detail.known(), Some(&detail));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_asked_for_is_taken_out_and_its_file_stays() {
    let rig = Rig::new().await;
    let spec = furnished(&rig, "web-01").await;
    let bare = MachineSpec {
        disks: Vec::new(),
        nics: Vec::new(),
        media: Vec::new(),
        ..spec.clone()
    };
    let seen = rig.host.define_machine(&bare).await.unwrap();
    let detail = seen.detail.known().unwrap();
    assert!(detail.disks.is_empty() && detail.cdroms.is_empty(), "{detail:?}");
    assert!(rig.real(r"D:\labyard\web-01.root.vhdx").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_runs_stands_still_and_goes_off() {
    let rig = Rig::new().await;
    let spec = furnished(&rig, "web-01").await;
    let power = async || rig.host.machine(&spec.id).await.unwrap().power;
    for _ in 0..2 {
        rig.host.start_machine(&spec.id).await.unwrap();
        assert_eq!(power().await, Power::Running);
    }
    for _ in 0..2 {
        rig.host.suspend_machine(&spec.id).await.unwrap();
        assert_eq!(power().await, Power::Paused);
    }
    rig.host.start_machine(&spec.id).await.unwrap();
    assert_eq!(power().await, Power::Running);
    let refused = rig.host.remove_machine(&spec.id).await;
    assert!(matches!(refused, Err(DriverError::Refused { .. })), "{refused:?}");
    for _ in 0..2 {
        rig.host.power_off(&spec.id).await.unwrap();
        assert_eq!(power().await, Power::Stopped);
    }
    for _ in 0..2 {
        rig.host.remove_machine(&spec.id).await.unwrap();
    }
    let gone = rig.host.machine(&spec.id).await;
    assert!(matches!(gone, Err(DriverError::Missing { .. })), "{gone:?}");
    assert!(
        rig.real(r"D:\labyard\web-01.root.vhdx").exists(),
        "disks are not its own to delete"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_whose_answer_was_lost_is_not_repeated() {
    let rig = Rig::new().await;
    let spec = furnished(&rig, "web-01").await;
    rig.server.forget_log();
    rig.server.fault(Rule::first(
        "Invoke",
        Some("RequestStateChange"),
        Trouble::DropAfter,
    ));
    rig.host.start_machine(&spec.id).await.unwrap();
    let asked = rig
        .server
        .log()
        .iter()
        .filter(|entry| entry.method == "RequestStateChange")
        .count();
    assert_eq!(asked, 1);
    assert_eq!(rig.host.machine(&spec.id).await.unwrap().power, Power::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_notes_stay_whatever_is_written_of_the_mark() {
    let rig = Rig::new().await;
    let mut spec = machine("web-01");
    spec.id = rig.host.record_machine(&spec).await.unwrap().id;
    let notes = || rig.model.machine(spec.id.as_str()).expect("the machine").notes;
    let mark = notes();
    rig.model
        .set_notes(spec.id.as_str(), &format!("Ask Ana.\n{mark}"));
    spec.mark.stage = Stage::Finished;
    rig.host.write_mark(&spec.id, &spec.mark).await.unwrap();
    assert!(notes().starts_with("Ask Ana.\n"), "{}", notes());
    let seen = rig.host.machine(&spec.id).await.unwrap();
    assert_eq!(seen.mark.ours(), Some(&spec.mark));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_autostart_are_changed_and_a_taken_name_is_not() {
    let rig = Rig::new().await;
    let (one, two) = (machine("one"), machine("two"));
    let one = rig.host.record_machine(&one).await.unwrap().id;
    rig.host.record_machine(&two).await.unwrap();
    let taken = rig.host.rename_machine(&one, "two").await;
    assert!(matches!(taken, Err(DriverError::Exists { .. })), "{taken:?}");
    for _ in 0..2 {
        rig.host
            .rename_machine(&one, "it's \"three\" 100%")
            .await
            .unwrap();
    }
    for autostart in [Autostart::On, Autostart::Off] {
        rig.host.set_autostart(&one, autostart).await.unwrap();
        let seen = rig.host.machine(&one).await.unwrap();
        assert_eq!(
            (seen.autostart, seen.host_name.as_str()),
            (autostart, "it's \"three\" 100%")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_grows_and_never_shrinks_and_one_over_another_is_as_large() {
    let rig = Rig::new().await;
    let client = rig.host.client();
    let (base, over) = (r"D:\labyard\base.vhdx", r"D:\labyard\over.vhdx");
    disks::create(client, base, Bytes::from_mib(64)).await.unwrap();
    for (asked, found) in [(96, 96), (96, 96), (80, 96)] {
        disks::grow(client, base, Bytes::from_mib(asked)).await.unwrap();
        assert_eq!(
            disks::look(client, base).await.unwrap().size,
            Bytes::from_mib(found)
        );
    }
    disks::overlay(client, over, base).await.unwrap();
    let disk = disks::look(client, over).await.unwrap();
    assert_eq!(
        (disk.size, disk.kind),
        (Bytes::from_mib(96), Some(disks::Kind::Differencing))
    );
    assert_eq!(disk.parent.as_deref(), Some(base));
    let missing = disks::look(client, r"D:\labyard\none.vhdx").await;
    assert!(matches!(missing, Err(DriverError::Missing { .. })), "{missing:?}");
    assert!(
        disks::create(client, base, Bytes::from_mib(64)).await.is_err(),
        "it was there"
    );
    disks::copy(client, over, r"D:\labyard\copy.vhdx").await.unwrap();
    let copy = disks::look(client, r"D:\labyard\copy.vhdx").await.unwrap();
    assert_eq!((copy.size, copy.parent), (Bytes::from_mib(96), None));
}
