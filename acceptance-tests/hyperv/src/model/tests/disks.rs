//! Virtual disks as real files.

use std::process::Command;

use crate::cim::Value;
use crate::contract::{Model, Parameters, WmiFault};
use crate::model::paths::CIMV2;
use crate::model::row::Row;
use crate::model::setup::{DiskReads, Growth};
use crate::model::store::{number, text};
use crate::model::testing::{Bench, Outcome, code, instance, new_disk};

const CREATE: &str = "CreateVirtualHardDisk";

fn create(bench: &mut Bench, row: Row) -> Outcome {
    bench.image(CREATE, &[("VirtualDiskSettingData", instance(row))])
}

fn child(file: &str, parent: &str) -> Row {
    new_disk(file).number("Type", 4).text("ParentPath", parent)
}

fn ask(bench: &mut Bench, method: &str, file: &str) -> Parameters {
    bench.call(
        &Bench::service("Msvm_ImageManagementService"),
        method,
        &[("Path", Value::text(file))],
    )
}

fn look(bench: &mut Bench, file: &str) -> crate::cim::Instance {
    let answer = ask(bench, "GetVirtualHardDiskSettingData", file);
    match answer.get("SettingData") {
        Some(Value::Instance(row)) => *row.clone(),
        _ => panic!("{answer:?}"),
    }
}

fn state_of(bench: &mut Bench, file: &str) -> crate::cim::Instance {
    let answer = ask(bench, "GetVirtualHardDiskState", file);
    match answer.get("State") {
        Some(Value::Instance(row)) => *row.clone(),
        _ => panic!("{answer:?}"),
    }
}

fn resize(bench: &mut Bench, file: &str, size: u64) -> Outcome {
    let input = [
        ("Path", Value::text(file)),
        ("MaxInternalSize", Value::Unsigned(size)),
    ];
    bench.image("ResizeVirtualHardDisk", &input)
}

fn checks(bench: &Bench, file: &str) -> bool {
    let path = bench.drive.path().join(file);
    Command::new("qemu-img")
        .args(["check", "-q", "-f", "vhdx"])
        .arg(path)
        .status()
        .expect("qemu-img")
        .success()
}

#[test]
fn disks_of_each_kind_are_real_files_that_qemu_reads() {
    let mut bench = Bench::new();
    for (kind, format, file) in [
        (3, 3, "dynamic.vhdx"),
        (2, 3, "fixed.vhdx"),
        (3, 2, "old.vhd"),
        (2, 2, "oldest.vhd"),
    ] {
        let path = format!(r"D:\lab\{file}");
        let row = new_disk(&path)
            .number("Type", kind)
            .number("Format", format)
            .number("MaxInternalSize", 16 << 20);
        assert_eq!(
            create(&mut bench, row),
            Outcome::Well,
            "{file}: {:?}",
            bench.host.refusals()
        );
        let row = look(&mut bench, &path);
        assert_eq!(
            (
                number(&row, "Type"),
                number(&row, "Format"),
                number(&row, "MaxInternalSize")
            ),
            (kind, format, 16 << 20),
            "{file}"
        );
        let real = bench.drive.path().join("lab").join(file);
        assert_eq!(
            number(&state_of(&mut bench, &path), "FileSize"),
            std::fs::metadata(&real).expect("it").len()
        );
    }
    assert!(checks(&bench, "lab/dynamic.vhdx"));
    assert!(checks(&bench, "lab/fixed.vhdx"));
}

#[test]
fn a_file_that_exists_is_not_overwritten_and_a_folder_is_not_made() {
    let mut bench = Bench::new();
    std::fs::write(bench.drive.path().join("lab/A.vhdx"), b"precious").expect("a file");
    let sized = |file: &str| new_disk(file).number("MaxInternalSize", 16 << 20);
    assert_eq!(
        create(&mut bench, sized(r"D:\lab\a.vhdx")),
        Outcome::Failed(10, 32768),
        "names have no case"
    );
    assert_eq!(
        std::fs::read(bench.drive.path().join("lab/A.vhdx")).expect("it"),
        b"precious"
    );
    assert_eq!(
        create(&mut bench, sized(r"D:\none\a.vhdx")),
        Outcome::Failed(10, 32779)
    );
    assert_eq!(
        create(&mut bench, sized(r"X:\lab\a.vhdx")),
        Outcome::Failed(10, 32779)
    );
}

#[test]
fn what_does_not_fit_together_is_no_disk() {
    let mut bench = Bench::new();
    let sized = || new_disk(r"D:\lab\a.vhdx").number("MaxInternalSize", 16 << 20);
    let wrong = [
        new_disk(r"D:\lab\a.vhdx"),
        sized().number("Type", 7),
        sized().number("Format", 1),
        sized().text("Path", r"D:\lab\a.vhd"),
        sized().number("BlockSize", 0),
        sized().number("LogicalSectorSize", 513),
        sized().text("ParentPath", r"D:\lab\b.vhdx"),
        sized().number("Type", 4),
        child(r"D:\lab\c.vhdx", r"D:\lab\b.vhdx").number("MaxInternalSize", 16 << 20),
        sized().number("MaxInternalSize", (16 << 20) + 1),
    ];
    for (number, row) in wrong.into_iter().enumerate() {
        assert_eq!(create(&mut bench, row), Outcome::Refused(32773), "{number}");
    }
}

#[test]
fn a_disk_upon_another_names_it_and_its_parent_does_not_change() {
    let mut bench = Bench::new();
    bench.disk(r"D:\lab\base.vhdx");
    let before = std::fs::read(bench.drive.path().join("lab/base.vhdx")).expect("it");
    assert_eq!(
        create(&mut bench, child(r"D:\lab\a.vhdx", r"D:\lab\base.vhdx")),
        Outcome::Well,
        "{:?}",
        bench.host.refusals()
    );
    let row = look(&mut bench, r"D:\lab\a.vhdx");
    assert_eq!(number(&row, "Type"), 4);
    assert_eq!(text(&row, "ParentPath"), r"D:\lab\base.vhdx");
    assert_eq!(number(&row, "MaxInternalSize"), 64 << 20);
    assert_eq!(
        std::fs::read(bench.drive.path().join("lab/base.vhdx")).expect("it"),
        before
    );
    assert_eq!(
        resize(&mut bench, r"D:\lab\base.vhdx", 128 << 20),
        Outcome::Well,
        "nobody has the child yet"
    );
    let missing = child(r"D:\lab\b.vhdx", r"D:\lab\none.vhdx");
    assert_eq!(create(&mut bench, missing), Outcome::Failed(10, 32779));
}

#[test]
fn a_disk_grows_and_shrinks_down_to_what_it_holds() {
    let mut bench = Bench::new();
    bench.disk(r"D:\lab\a.vhdx");
    assert_eq!(resize(&mut bench, r"D:\lab\a.vhdx", 1 << 30), Outcome::Well);
    assert_eq!(
        number(&look(&mut bench, r"D:\lab\a.vhdx"), "MaxInternalSize"),
        1 << 30
    );
    assert!(checks(&bench, "lab/a.vhdx"));
    let raw = bench.drive.path().join("x.raw");
    std::fs::write(&raw, vec![7; 40 << 20]).expect("a file");
    let target = bench.drive.path().join("lab/full.vhdx");
    let mut copy = Command::new("qemu-img");
    copy.args(["convert", "-f", "raw", "-O", "vhdx", "-o", "block_size=1048576"])
        .arg(&raw)
        .arg(&target);
    assert!(copy.status().expect("qemu-img").success());
    let full = r"D:\lab\full.vhdx";
    assert_eq!(resize(&mut bench, full, 80 << 20), Outcome::Well);
    assert_eq!(number(&state_of(&mut bench, full), "MinInternalSize"), 40 << 20);
    assert_eq!(resize(&mut bench, full, 39 << 20), Outcome::Failed(10, 32773));
    assert_eq!(resize(&mut bench, full, 40 << 20), Outcome::Well);
    let mut same = Command::new("qemu-img");
    same.args(["compare", "-q", "-f", "raw", "-F", "vhdx"])
        .arg(&raw)
        .arg(&target);
    assert!(
        same.status().expect("qemu-img").success(),
        "its content is what it was"
    );
    assert_eq!(
        resize(&mut bench, r"D:\lab\none.vhdx", 1 << 30),
        Outcome::Failed(10, 32779)
    );
}

#[test]
fn a_fixed_disk_grows_with_its_file() {
    let mut bench = Bench::new();
    let row = new_disk(r"D:\lab\f.vhdx")
        .number("Type", 2)
        .number("MaxInternalSize", 64 << 20);
    assert_eq!(create(&mut bench, row), Outcome::Well);
    assert_eq!(resize(&mut bench, r"D:\lab\f.vhdx", 128 << 20), Outcome::Well);
    assert!(number(&state_of(&mut bench, r"D:\lab\f.vhdx"), "FileSize") >= 128 << 20);
    assert!(checks(&bench, "lab/f.vhdx"));
}

#[test]
fn a_disk_upon_another_grows_or_not_as_the_host_is_set() {
    for (growth, wanted) in [
        (Growth::Taken, Outcome::Well),
        (Growth::Refused, Outcome::Failed(10, 32773)),
    ] {
        let mut bench = Bench::with(|setup| setup.child_growth = growth);
        bench.disk(r"D:\lab\base.vhdx");
        assert_eq!(
            create(&mut bench, child(r"D:\lab\a.vhdx", r"D:\lab\base.vhdx")),
            Outcome::Well
        );
        assert_eq!(resize(&mut bench, r"D:\lab\a.vhdx", 1 << 30), wanted);
    }
}

#[test]
fn a_disk_that_runs_grows_on_scsi_alone_and_its_parent_not_at_all() {
    let mut bench = Bench::new();
    let (id, ..) = bench.with_disk("a", r"D:\lab\a.vhdx");
    bench.start(&id);
    assert_eq!(resize(&mut bench, r"D:\lab\a.vhdx", 128 << 20), Outcome::Well);

    bench.disk(r"D:\lab\base.vhdx");
    assert_eq!(
        create(&mut bench, child(r"D:\lab\c.vhdx", r"D:\lab\base.vhdx")),
        Outcome::Well
    );
    let other = bench.machine("b", 2);
    let _ = bench.host.plug_disk(&other, r"D:\lab\c.vhdx");
    assert_eq!(
        resize(&mut bench, r"D:\lab\base.vhdx", 128 << 20),
        Outcome::Failed(10, 32773)
    );

    let first = bench.machine("c", 1);
    bench.disk(r"D:\lab\i.vhdx");
    let ide = bench.host.settings_of(&first, crate::model::add::RASD);
    let ide = ide
        .iter()
        .find(|row| number(row, "ResourceType") == 5)
        .expect("a controller");
    let ide = crate::model::store::id(ide).to_owned();
    let drive = bench.drive(&first, &ide, 0);
    bench.added(&first, crate::model::testing::vhd(&drive, r"D:\lab\i.vhdx"));
    bench.start(&first);
    assert_eq!(
        resize(&mut bench, r"D:\lab\i.vhdx", 128 << 20),
        Outcome::Failed(10, 32774)
    );
}

#[test]
fn a_copy_has_the_content_of_its_source_and_of_all_below_it() {
    let mut bench = Bench::new();
    let raw = bench.drive.path().join("x.raw");
    let content: Vec<u8> = (0..20_u32 << 20)
        .map(|at| u8::try_from(at % 251).expect("a byte"))
        .collect();
    std::fs::write(&raw, content).expect("a file");
    let base = bench.drive.path().join("lab/base.vhdx");
    let mut make = Command::new("qemu-img");
    assert!(
        make.args(["convert", "-f", "raw", "-O", "vhdx"])
            .arg(&raw)
            .arg(&base)
            .status()
            .expect("qemu-img")
            .success()
    );
    assert_eq!(
        create(&mut bench, child(r"D:\lab\top.vhdx", r"D:\lab\base.vhdx")),
        Outcome::Well
    );
    let copy = |bench: &mut Bench, source: &str, target: &str| {
        let input = [
            ("SourcePath", Value::text(source)),
            ("VirtualDiskSettingData", instance(new_disk(target))),
        ];
        bench.image("ConvertVirtualHardDisk", &input)
    };
    assert_eq!(
        copy(&mut bench, r"D:\lab\top.vhdx", r"D:\lab\copy.vhdx"),
        Outcome::Well,
        "{:?}",
        bench.host.refusals()
    );
    let mut same = Command::new("qemu-img");
    same.args(["compare", "-q", "-f", "raw", "-F", "vhdx"])
        .arg(&raw)
        .arg(bench.drive.path().join("lab/copy.vhdx"));
    assert!(same.status().expect("qemu-img").success());
    assert_eq!(
        copy(&mut bench, r"D:\lab\top.vhdx", r"D:\lab\copy.vhdx"),
        Outcome::Failed(10, 32768),
        "it exists"
    );
    assert_eq!(
        copy(&mut bench, r"D:\lab\none.vhdx", r"D:\lab\b.vhdx"),
        Outcome::Failed(10, 32779)
    );
    let id = bench.machine("a", 2);
    let _ = bench.host.plug_disk(&id, r"D:\lab\copy.vhdx");
    bench.start(&id);
    assert_eq!(
        copy(&mut bench, r"D:\lab\copy.vhdx", r"D:\lab\b.vhdx"),
        Outcome::Failed(10, 32774),
        "it runs"
    );
}

#[test]
fn a_disk_that_runs_can_be_looked_at_and_says_that_it_is_in_use() {
    let mut bench = Bench::new();
    let (id, ..) = bench.with_disk("a", r"D:\lab\a.vhdx");
    assert_eq!(
        state_of(&mut bench, r"d:\LAB\a.vhdx").get("InUse").as_boolean(),
        Some(false)
    );
    bench.start(&id);
    assert_eq!(
        state_of(&mut bench, r"D:\lab\a.vhdx").get("InUse").as_boolean(),
        Some(true)
    );
    assert_eq!(
        number(&look(&mut bench, r"D:\lab\a.vhdx"), "MaxInternalSize"),
        64 << 20
    );
    assert_eq!(
        code(&ask(&mut bench, "GetVirtualHardDiskState", r"D:\lab\none.vhdx")),
        32779
    );
}

#[test]
fn the_first_question_about_a_disk_may_be_answered_by_a_job_alone() {
    let mut bench = Bench::with(|setup| setup.disk_reads = DiskReads::AfterJob);
    bench.disk(r"D:\lab\a.vhdx");
    let first = ask(&mut bench, "GetVirtualHardDiskSettingData", r"D:\lab\a.vhdx");
    assert_eq!(code(&first), 4096);
    assert!(!first.contains_key("SettingData"));
    assert_eq!(bench.end(&first), Outcome::Well);
    assert_eq!(
        number(&look(&mut bench, r"D:\lab\a.vhdx"), "MaxInternalSize"),
        64 << 20
    );
}

#[test]
fn jobs_of_the_image_service_are_of_a_class_of_their_own() {
    let mut bench = Bench::new();
    let row = new_disk(r"D:\lab\a.vhdx").number("MaxInternalSize", 16 << 20);
    let service = Bench::service("Msvm_ImageManagementService");
    let answer = bench.call(&service, CREATE, &[("VirtualDiskSettingData", instance(row))]);
    assert!(matches!(answer.get("Job"), Some(Value::Reference(path)) if path.class == "Msvm_StorageJob"));
    assert!(
        !bench.drive.path().join("lab/a.vhdx").exists(),
        "not before its job"
    );
    assert_eq!(bench.end(&answer), Outcome::Well);
}

#[test]
fn an_empty_child_is_merged_into_its_parent_and_gets_another() {
    let mut bench = Bench::new();
    bench.disk(r"D:\lab\base.vhdx");
    bench.disk(r"D:\lab\other.vhdx");
    assert_eq!(
        create(&mut bench, child(r"D:\lab\a.vhdx", r"D:\lab\base.vhdx")),
        Outcome::Well
    );
    let rebase = [
        ("ChildPath", Value::text(r"D:\lab\a.vhdx")),
        ("ParentPath", Value::text(r"D:\lab\other.vhdx")),
    ];
    assert_eq!(bench.image("SetParentVirtualHardDisk", &rebase), Outcome::Well);
    assert_eq!(
        text(&look(&mut bench, r"D:\lab\a.vhdx"), "ParentPath"),
        r"D:\lab\other.vhdx"
    );
    let wrong = [
        ("SourcePath", Value::text(r"D:\lab\a.vhdx")),
        ("DestinationPath", Value::text(r"D:\lab\base.vhdx")),
    ];
    assert_eq!(
        bench.image("MergeVirtualHardDisk", &wrong),
        Outcome::Failed(10, 32773)
    );
    let merge = [
        ("SourcePath", Value::text(r"D:\lab\a.vhdx")),
        ("DestinationPath", Value::text(r"D:\lab\other.vhdx")),
    ];
    assert_eq!(bench.image("MergeVirtualHardDisk", &merge), Outcome::Well);
    assert!(!bench.drive.path().join("lab/a.vhdx").exists());
}

#[test]
fn validation_finds_a_parent_that_is_missing() {
    let mut bench = Bench::new();
    bench.disk(r"D:\lab\base.vhdx");
    assert_eq!(
        create(&mut bench, child(r"D:\lab\a.vhdx", r"D:\lab\base.vhdx")),
        Outcome::Well
    );
    let path = [("Path", Value::text(r"D:\lab\a.vhdx"))];
    assert_eq!(bench.image("ValidateVirtualHardDisk", &path), Outcome::Well);
    std::fs::remove_file(bench.drive.path().join("lab/base.vhdx")).expect("it");
    assert_eq!(
        bench.image("ValidateVirtualHardDisk", &path),
        Outcome::Failed(10, 32779)
    );
}

#[test]
fn a_disk_that_the_host_has_mounted_is_in_use() {
    let mut bench = Bench::new();
    let (id, ..) = bench.with_disk("a", r"D:\lab\a.vhdx");
    let path = [("Path", Value::text(r"D:\lab\a.vhdx"))];
    assert_eq!(bench.image("AttachVirtualHardDisk", &path), Outcome::Well);
    assert_eq!(bench.request(&id, 2), Outcome::Failed(10, 32774));
    let image = bench.rows("Msvm_MountedStorageImage").remove(0);
    let object = crate::model::associations::path_of(&image);
    assert_eq!(code(&bench.call(&object, "DetachVirtualHardDisk", &[])), 0);
    assert_eq!(bench.request(&id, 2), Outcome::Well);
}

#[test]
fn a_file_is_found_by_its_name_in_small_letters_and_deleted_unless_it_is_open() {
    let mut bench = Bench::new();
    let (id, ..) = bench.with_disk("a", r"D:\lab\Disk.vhdx");
    let files = bench.host.instances(CIMV2, "CIM_DataFile").expect("rows");
    assert!(
        files.iter().any(|row| text(row, "Name") == r"d:\lab\disk.vhdx"),
        "{files:?}"
    );
    let file = |name: &str| crate::cim::Path {
        namespace: CIMV2.to_owned(),
        class: "CIM_DataFile".to_owned(),
        keys: std::collections::BTreeMap::from([("Name".to_owned(), name.to_owned())]),
    };
    bench.start(&id);
    assert_eq!(code(&bench.call(&file(r"D:\lab\Disk.vhdx"), "Delete", &[])), 15);
    assert_eq!(bench.request(&id, 3), Outcome::Well);
    assert_eq!(code(&bench.call(&file(r"D:\lab\Disk.vhdx"), "Delete", &[])), 0);
    assert_eq!(
        bench.try_call(&file(r"D:\lab\Disk.vhdx"), "Delete", &[]),
        Err(WmiFault::NOT_FOUND)
    );
    assert_eq!(
        bench.try_call(&file(r"D:\lab\..\x"), "Delete", &[]),
        Err(WmiFault::NOT_FOUND)
    );
}

#[test]
fn a_file_stays_open_for_a_while_after_it_was_needed() {
    let mut bench = Bench::with(|setup| setup.pace.hold = std::time::Duration::from_secs(2));
    let (id, _, medium) = bench.with_disk("a", r"D:\lab\a.vhdx");
    let in_use =
        |bench: &mut Bench| state_of(bench, r"D:\lab\a.vhdx").get("InUse").as_boolean() == Some(true);
    bench.start(&id);
    assert_eq!(bench.request(&id, 3), Outcome::Well);
    assert!(in_use(&mut bench));
    bench.pass(2000);
    assert!(!in_use(&mut bench));
    bench.start(&id);
    assert_eq!(bench.remove(crate::model::add::SASD, &medium), Outcome::Well);
    assert!(in_use(&mut bench));
    bench.pass(2000);
    assert!(!in_use(&mut bench));
}
