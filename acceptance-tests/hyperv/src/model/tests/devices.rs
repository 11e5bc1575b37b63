//! Controllers, drives, media; memory and processors.

use crate::cim::Value;
use crate::contract::WmiFault;
use crate::model::add::{RASD, SASD};
use crate::model::machine::{Consent, Power};
use crate::model::row::Row;
use crate::model::setup::{Build, Resulting};
use crate::model::store::{self, number, text};
use crate::model::testing::{
    Bench, Outcome, VSSD, code, controller, drive, dvd, instance, iso, link, to, vhd,
};

#[test]
fn parents_are_paths_with_doubled_backslashes() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let controller = bench.controller(&id);
    let at = |parent: String| drive(&controller, 0).text("Parent", parent);
    let once = format!("root/virtualization/v2:{RASD}.InstanceID=\"{controller}\"");
    assert_eq!(
        bench.adding(&id, at(once)),
        Outcome::Refused(32773),
        "not doubled"
    );
    assert_eq!(
        bench.adding(&id, at(controller.clone())),
        Outcome::Refused(32773),
        "an id"
    );
    assert_eq!(
        bench.adding(&id, at(link(SASD, &controller))),
        Outcome::Refused(32773),
        "another class"
    );
    let other = bench.machine("b", 2);
    assert_eq!(
        bench.adding(&other, drive(&controller, 0)),
        Outcome::Refused(32773),
        "another machine's"
    );
    let with_host =
        link(RASD, &controller).replace("root/virtualization/v2", r"\\hv01\Root\Virtualization\V2");
    assert_eq!(bench.adding(&id, at(with_host)), Outcome::Well);
}

#[test]
fn ids_follow_the_patterns_of_the_host() {
    let mut bench = Bench::new();
    let (id, drive, medium) = bench.with_disk("a", r"D:\lab\a.vhdx");
    assert!(
        drive.starts_with(&format!(r"Microsoft:{id}\")) && drive.ends_with(r"\0\0\D"),
        "{drive}"
    );
    assert_eq!(medium, format!("{}L", &drive[..drive.len() - 1]));
    assert!(
        bench
            .find("Msvm_BootSourceSettingData", &format!(r"{drive}\B"))
            .is_some()
    );
    let row = bench.get(SASD, &medium);
    assert!(
        text(&row, "Parent")
            .starts_with(r"\\HV01\root\virtualization\v2:Msvm_ResourceAllocationSettingData.")
    );
}

#[test]
fn a_medium_before_its_drives_job_has_ended_is_refused() {
    let mut bench = Bench::with(|setup| setup.resulting = Resulting::Named);
    let id = bench.machine("a", 2);
    bench.disk(r"D:\lab\a.vhdx");
    let controller = bench.controller(&id);
    let answer = bench.add(&id, drive(&controller, 0));
    let later = format!(r"{controller}\0\D");
    assert_eq!(
        bench.adding(&id, vhd(&later, r"D:\lab\a.vhdx")),
        Outcome::Refused(32773)
    );
    assert_eq!(bench.end(&answer), Outcome::Well);
    assert_eq!(bench.adding(&id, vhd(&later, r"D:\lab\a.vhdx")), Outcome::Well);
}

#[test]
fn a_file_is_an_array_of_one_and_fits_its_drive() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    bench.disk(r"D:\lab\a.vhdx");
    std::fs::write(bench.drive.path().join("lab/a.iso"), b"iso").expect("a file");
    let controller = bench.controller(&id);
    let drive = bench.drive(&id, &controller, 0);
    let dvd = bench.added(&id, dvd(&controller, 1));
    let scalar = vhd(&drive, "").text("HostResource", r"D:\lab\a.vhdx");
    assert_eq!(bench.adding(&id, scalar), Outcome::Refused(32773));
    let two = vhd(&drive, "").texts("HostResource", [r"D:\lab\a.vhdx", r"D:\lab\b.vhdx"]);
    assert_eq!(bench.adding(&id, two), Outcome::Refused(32773));
    assert_eq!(
        bench.adding(&id, vhd(&drive, r"D:\lab\a.iso")),
        Outcome::Refused(32773)
    );
    assert_eq!(
        bench.adding(&id, vhd(&dvd, r"D:\lab\a.vhdx")),
        Outcome::Refused(32773),
        "a disk in a DVD drive"
    );
    assert_eq!(
        bench.adding(&id, vhd(&drive, r"D:\lab\none.vhdx")),
        Outcome::Failed(10, 32779)
    );
    std::fs::write(bench.drive.path().join("lab/bad.vhdx"), b"no disk").expect("a file");
    assert_eq!(
        bench.adding(&id, vhd(&drive, r"D:\lab\bad.vhdx")),
        Outcome::Failed(10, 32768)
    );
    assert_eq!(bench.adding(&id, vhd(&drive, r"D:\lab\a.vhdx")), Outcome::Well);
    assert_eq!(
        bench.adding(&id, vhd(&drive, r"D:\lab\a.vhdx")),
        Outcome::Refused(32773),
        "the drive is full"
    );
}

#[test]
fn a_disk_that_is_said_to_be_a_plain_resource_becomes_one_of_storage() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    bench.disk(r"D:\lab\a.vhdx");
    let controller = bench.controller(&id);
    let drive = bench.drive(&id, &controller, 0);
    let plain = Row::of(RASD)
        .number("ResourceType", 31)
        .text("ResourceSubType", "Microsoft:Hyper-V:Virtual Hard Disk")
        .text("Parent", link(RASD, &drive))
        .texts("HostResource", [r"D:\lab\a.vhdx"]);
    let added = bench.added(&id, plain);
    assert_eq!(bench.file_of(&added), r"D:\lab\a.vhdx");
}

#[test]
fn slots_are_texts_free_and_as_many_as_the_controller_has() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 1);
    let scsi = bench.controller(&id);
    assert_eq!(bench.adding(&id, drive(&scsi, 64)), Outcome::Refused(32773));
    assert_eq!(bench.adding(&id, drive(&scsi, 63)), Outcome::Well);
    assert_eq!(
        bench.adding(&id, drive(&scsi, 63)),
        Outcome::Refused(32773),
        "taken"
    );
    assert_eq!(
        bench.adding(&id, drive(&scsi, 0).number("AddressOnParent", 0)),
        Outcome::Refused(32773)
    );
    let ide = bench
        .host
        .settings_of(&id, RASD)
        .into_iter()
        .find(|row| number(row, "ResourceType") == 5);
    let ide = store::id(&ide.expect("a controller")).to_owned();
    assert_eq!(bench.adding(&id, drive(&ide, 2)), Outcome::Refused(32773));
    assert_eq!(bench.adding(&id, drive(&ide, 1)), Outcome::Well);
    assert_eq!(
        bench.adding(&id, dvd(&scsi, 1)),
        Outcome::Refused(32773),
        "the first generation has DVD on IDE"
    );
}

#[test]
fn a_machine_has_four_scsi_controllers_at_most_and_gets_them_off() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    for _ in 0..4 {
        bench.controller(&id);
    }
    assert_eq!(bench.adding(&id, controller()), Outcome::Refused(32773));
    let other = bench.machine("b", 2);
    bench.start(&other);
    assert_eq!(bench.adding(&other, controller()), Outcome::Refused(32775));
}

#[test]
fn disks_come_and_go_live_on_scsi_and_not_on_ide() {
    let mut bench = Bench::new();
    let (id, ..) = bench.with_disk("a", r"D:\lab\a.vhdx");
    let scsi = bench
        .host
        .settings_of(&id, RASD)
        .into_iter()
        .find(|row| number(row, "ResourceType") == 6);
    let scsi = store::id(&scsi.expect("a controller")).to_owned();
    bench.disk(r"D:\lab\b.vhdx");
    bench.start(&id);
    let drive_b = bench.drive(&id, &scsi, 5);
    let medium = bench.added(&id, vhd(&drive_b, r"D:\lab\b.vhdx"));
    assert_eq!(bench.remove(SASD, &medium), Outcome::Well);
    assert_eq!(bench.remove(RASD, &drive_b), Outcome::Well);
    assert!(bench.drive.path().join("lab/b.vhdx").exists(), "the file stays");

    let first = bench.machine("b", 1);
    let rows = bench.host.settings_of(&first, RASD);
    let ide: Vec<&str> = rows
        .iter()
        .filter(|row| number(row, "ResourceType") == 5)
        .map(store::id)
        .collect();
    let full = bench.drive(&first, ide[0], 0);
    let empty = bench.drive(&first, ide[0], 1);
    let medium = bench.added(&first, vhd(&full, r"D:\lab\b.vhdx"));
    bench.start(&first);
    assert_eq!(bench.adding(&first, drive(ide[1], 1)), Outcome::Refused(32775));
    assert_eq!(bench.remove(SASD, &medium), Outcome::Refused(32775));
    assert_eq!(bench.remove(RASD, &empty), Outcome::Refused(32775));
}

#[test]
fn a_drive_with_a_medium_in_it_and_both_at_once_fail_with_a_fault() {
    let mut bench = Bench::new();
    let (_, drive, medium) = bench.with_disk("a", r"D:\lab\a.vhdx");
    let service = Bench::service("Msvm_VirtualSystemManagementService");
    let drive_only = [("ResourceSettings", Value::Array(vec![to(RASD, &drive)]))];
    assert_eq!(
        bench.try_call(&service, "RemoveResourceSettings", &drive_only),
        Err(WmiFault::FAILED)
    );
    let both = [(
        "ResourceSettings",
        Value::Array(vec![to(SASD, &medium), to(RASD, &drive)]),
    )];
    assert_eq!(
        bench.try_call(&service, "RemoveResourceSettings", &both),
        Err(WmiFault::FAILED)
    );
    assert_eq!(bench.remove(SASD, &medium), Outcome::Well);
    assert_eq!(
        bench.remove(SASD, &drive),
        Outcome::Refused(32773),
        "another class"
    );
    assert_eq!(bench.remove(RASD, &drive), Outcome::Well);
    assert!(
        bench
            .find("Msvm_BootSourceSettingData", &format!(r"{drive}\B"))
            .is_none()
    );
}

#[test]
fn an_iso_changes_live_unless_the_guest_has_locked_the_tray() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    for name in ["one", "two"] {
        std::fs::write(bench.drive.path().join(format!("lab/{name}.iso")), name).expect("a file");
    }
    let scsi = bench.controller(&id);
    let tray = bench.added(&id, dvd(&scsi, 0));
    let medium = bench.added(&id, iso(&tray, r"D:\lab\one.iso"));
    bench.start(&id);
    let change = |file: &str| {
        Row::of(SASD)
            .text("InstanceID", &medium)
            .texts("HostResource", [file])
    };
    assert_eq!(bench.change(change(r"D:\lab\two.iso")), Outcome::Well);
    assert_eq!(bench.file_of(&medium), r"D:\lab\two.iso");
    assert_eq!(
        bench.change(change(r"D:\lab\three.iso")),
        Outcome::Failed(10, 32779)
    );
    let none = Row::of(SASD)
        .text("InstanceID", &medium)
        .texts("HostResource", Vec::<String>::new());
    assert_eq!(bench.change(none), Outcome::Refused(32773));
    bench.host.guest(&id, |guest| guest.tray = Consent::Refused);
    assert_eq!(bench.remove(SASD, &medium), Outcome::Failed(10, 32768));
    bench.host.guest(&id, |guest| guest.tray = Consent::Given);
    assert_eq!(bench.remove(SASD, &medium), Outcome::Well);
}

#[test]
fn another_file_for_a_disk_needs_the_machine_off() {
    let mut bench = Bench::new();
    let (id, _, medium) = bench.with_disk("a", r"D:\lab\a.vhdx");
    bench.disk(r"D:\lab\b.vhdx");
    let change = Row::of(SASD)
        .text("InstanceID", &medium)
        .texts("HostResource", [r"D:\lab\b.vhdx"]);
    bench.start(&id);
    assert_eq!(bench.change(change), Outcome::Refused(32775));
    assert_eq!(bench.request(&id, 3), Outcome::Well);
    let change = Row::of(SASD)
        .text("InstanceID", &medium)
        .texts("HostResource", [r"D:\lab\b.vhdx"]);
    assert_eq!(bench.change(change), Outcome::Well);
    assert_eq!(bench.file_of(&medium), r"D:\lab\b.vhdx");
}

#[test]
fn a_saved_machine_keeps_its_devices() {
    let mut bench = Bench::new();
    let (id, _, medium) = bench.with_disk("a", r"D:\lab\a.vhdx");
    bench.host.set_power(&id, Power::Saved);
    assert_eq!(bench.remove(SASD, &medium), Outcome::Refused(32775));
    assert_eq!(bench.adding(&id, controller()), Outcome::Refused(32775));
    let memory = bench.own(&id, "Msvm_MemorySettingData");
    let more = Row::of("Msvm_MemorySettingData")
        .text("InstanceID", store::id(&memory))
        .number("VirtualQuantity", 2048);
    assert_eq!(bench.change(more), Outcome::Refused(32775));
}

#[test]
fn serial_ports_lead_into_one_named_pipe() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let port = bench
        .host
        .settings_of(&id, "Msvm_SerialPortSettingData")
        .remove(0);
    let pipe = |row: Row| row.text("InstanceID", store::id(&port));
    let class = "Msvm_SerialPortSettingData";
    assert_eq!(
        bench.change(pipe(Row::of(class)).texts("Connection", [r"\\.\pipe\x"])),
        Outcome::Well
    );
    assert_eq!(
        bench.change(pipe(Row::of(class)).texts("Connection", ["x"])),
        Outcome::Refused(32773)
    );
    assert_eq!(
        bench.change(pipe(Row::of(class)).text("Connection", r"\\.\pipe\x")),
        Outcome::Refused(32773)
    );
}

fn memory(bench: &Bench, id: &str) -> Row {
    Row::of("Msvm_MemorySettingData").text("InstanceID", store::id(&bench.own(id, "Msvm_MemorySettingData")))
}

#[test]
fn memory_goes_in_steps_within_bounds_and_in_order() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    for wrong in [0, 30, 1025, 12_582_914] {
        let row = memory(&bench, &id).number("VirtualQuantity", wrong);
        assert_eq!(bench.change(row), Outcome::Refused(32773), "{wrong}");
    }
    let dynamic = |least: u64, startup: u64, most: u64, buffer: u64, bench: &Bench| {
        memory(bench, &id)
            .flag("DynamicMemoryEnabled", true)
            .number("Reservation", least)
            .number("VirtualQuantity", startup)
            .number("Limit", most)
            .number("TargetMemoryBuffer", buffer)
    };
    for (least, startup, most, buffer) in [
        (2048, 1024, 4096, 20),
        (512, 1024, 512, 20),
        (30, 1024, 2048, 20),
        (512, 1024, 2048, 4),
        (512, 1024, 2048, 2001),
    ] {
        let row = dynamic(least, startup, most, buffer, &bench);
        assert_eq!(
            bench.change(row),
            Outcome::Refused(32773),
            "{least} {startup} {most} {buffer}"
        );
    }
    let row = dynamic(512, 1024, 2048, 20, &bench);
    assert_eq!(bench.change(row), Outcome::Well);
    let row = memory(&bench, &id).number("VirtualQuantity", 4096);
    assert_eq!(
        bench.change(row),
        Outcome::Refused(32773),
        "one at a time breaks the order"
    );
}

#[test]
fn of_dynamic_memory_only_the_bounds_move_live_and_only_apart() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let row = memory(&bench, &id)
        .flag("DynamicMemoryEnabled", true)
        .number("Reservation", 512)
        .number("VirtualQuantity", 1024)
        .number("Limit", 2048);
    assert_eq!(bench.change(row), Outcome::Well);
    bench.start(&id);
    let cases = [
        ("Reservation", 256, Outcome::Well),
        ("Reservation", 600, Outcome::Refused(32775)),
        ("Limit", 4096, Outcome::Well),
        ("Limit", 1024, Outcome::Refused(32775)),
        ("VirtualQuantity", 1026, Outcome::Refused(32775)),
        ("TargetMemoryBuffer", 30, Outcome::Well),
    ];
    for (name, value, wanted) in cases {
        let row = memory(&bench, &id).number(name, value);
        assert_eq!(bench.change(row), wanted, "{name} {value}");
    }
    let row = memory(&bench, &id).flag("DynamicMemoryEnabled", false);
    assert_eq!(bench.change(row), Outcome::Refused(32775));
}

#[test]
fn fixed_memory_changes_live_from_2016_on_if_the_guest_takes_it() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    bench.start(&id);
    let row = memory(&bench, &id).number("VirtualQuantity", 2048);
    assert_eq!(bench.change(row), Outcome::Well);
    bench.host.guest(&id, |guest| guest.memory = Consent::Refused);
    let row = memory(&bench, &id).number("VirtualQuantity", 4096);
    assert_eq!(bench.change(row), Outcome::Failed(10, 32768));

    let mut old = Bench::with(|setup| setup.build = Build(9600));
    let id = old.machine("a", 2);
    old.start(&id);
    let row = memory(&old, &id).number("VirtualQuantity", 2048);
    assert_eq!(old.change(row), Outcome::Refused(32775));
}

#[test]
fn processors_change_off_and_within_bounds() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let class = "Msvm_ProcessorSettingData";
    let own = store::id(&bench.own(&id, class)).to_owned();
    let row = |count: u64| {
        Row::of(class)
            .text("InstanceID", &own)
            .number("VirtualQuantity", count)
    };
    assert_eq!(bench.change(row(0)), Outcome::Refused(32773));
    assert_eq!(bench.change(row(241)), Outcome::Refused(32773));
    assert_eq!(
        bench.change(row(4).flag("ExposeVirtualizationExtensions", true)),
        Outcome::Well
    );
    assert_eq!(
        bench
            .own(&id, class)
            .get("ExposeVirtualizationExtensions")
            .as_boolean(),
        Some(true)
    );
    bench.start(&id);
    assert_eq!(bench.change(row(2)), Outcome::Refused(32775));
}

#[test]
fn with_empty_outputs_a_new_drive_is_found_by_parent_and_slot() {
    let mut bench = Bench::with(|setup| setup.resulting = Resulting::Empty);
    let _ = bench.manage(
        "DefineSystem",
        &[(
            "SystemSettings",
            instance(
                Row::of(VSSD)
                    .text("ElementName", "a")
                    .text("VirtualSystemSubType", "Microsoft:Hyper-V:SubType:2"),
            ),
        )],
    );
    let id = bench.host.machines()[0].id.clone();
    let answer = bench.add(&id, controller());
    assert_eq!(code(&answer), 4096);
    assert!(!answer.contains_key("ResultingResourceSettings"));
    assert_eq!(bench.end(&answer), Outcome::Well);
    let rows = bench.host.settings_of(&id, RASD);
    let scsi = rows
        .iter()
        .find(|row| number(row, "ResourceType") == 6)
        .expect("a controller");
    let scsi = store::id(scsi).to_owned();
    assert_eq!(bench.adding(&id, drive(&scsi, 7)), Outcome::Well);
    let rows = bench.host.settings_of(&id, RASD);
    assert!(rows.iter().any(|row| text(row, "AddressOnParent") == "7"));
}
