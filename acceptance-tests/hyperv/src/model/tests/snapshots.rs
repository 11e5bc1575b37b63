//! Checkpoints.

use crate::cim::Value;
use crate::model::add::SASD;
use crate::model::machine::{Power, Services};
use crate::model::paths;
use crate::model::row::Row;
use crate::model::setup::Edition;
use crate::model::store::{self, text};
use crate::model::testing::{Bench, Outcome, VSSD, code, to};

fn input(id: &str) -> [(&'static str, Value); 2] {
    let system = Value::Reference(paths::system("Msvm_ComputerSystem", id));
    [("AffectedSystem", system), ("SnapshotType", Value::Unsigned(2))]
}

fn snapshot_of(id: &str) -> Value {
    to(VSSD, &format!("Microsoft:{id}"))
}

fn take(bench: &mut Bench, id: &str) -> String {
    assert_eq!(
        bench.checkpoint("CreateSnapshot", &input(id)),
        Outcome::Well,
        "{:?}",
        bench.host.refusals()
    );
    bench.host.checkpoints(id).pop().expect("a checkpoint").0
}

fn apply(bench: &mut Bench, snapshot: &str) -> Outcome {
    bench.checkpoint("ApplySnapshot", &[("Snapshot", snapshot_of(snapshot))])
}

fn destroy(bench: &mut Bench, snapshot: &str) -> Outcome {
    bench.checkpoint("DestroySnapshot", &[("AffectedSnapshot", snapshot_of(snapshot))])
}

fn avhdx(bench: &Bench) -> usize {
    let files = std::fs::read_dir(bench.drive.path().join("lab")).expect("a folder");
    files
        .flatten()
        .filter(|file| file.file_name().to_string_lossy().ends_with(".avhdx"))
        .count()
}

#[test]
fn a_checkpoint_is_a_whole_copy_of_the_settings_and_a_disk_upon_each_disk() {
    let mut bench = Bench::new();
    let (id, _, medium) = bench.with_disk("a", r"D:\lab\a.vhdx");
    let before = bench.host.settings(&id).len();
    let snapshot = take(&mut bench, &id);
    let rows = bench.host.settings(&snapshot);
    assert_eq!(rows.len(), before);
    assert!(
        rows.iter()
            .all(|row| store::id(row).starts_with(&format!("Microsoft:{snapshot}")))
    );
    let row = bench.vssd(&snapshot);
    assert_eq!(text(&row, "VirtualSystemIdentifier"), id);
    assert_eq!(
        text(&row, "VirtualSystemType"),
        "Microsoft:Hyper-V:Snapshot:Realized"
    );
    assert!(text(&row, "ElementName").starts_with("a - ("));
    let of_checkpoint = bench.own(&snapshot, SASD);
    assert_eq!(
        store::first_text(&of_checkpoint, "HostResource"),
        Some(r"D:\lab\a.vhdx")
    );
    assert!(text(&of_checkpoint, "Parent").contains(&snapshot));
    let file = bench.file_of(&medium);
    assert!(
        file.starts_with(r"D:\lab\a_") && file.ends_with(".avhdx"),
        "{file}"
    );
    assert!(
        text(&bench.vssd(&id), "Parent").contains(&snapshot),
        "the one that the machine follows"
    );
    let next = take(&mut bench, &id);
    assert!(text(&bench.vssd(&next), "Parent").contains(&snapshot));
    assert!(bench.file_of(&medium).starts_with(r"D:\lab\a_"));
    assert_eq!(
        bench.file_of(&medium).matches('_').count(),
        1,
        "names do not grow"
    );
    assert_eq!(avhdx(&bench), 2);
}

#[test]
fn a_checkpoint_is_named_by_the_job_and_not_by_the_answer() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let service = Bench::service("Msvm_VirtualSystemSnapshotService");
    let answer = bench.call(&service, "CreateSnapshot", &input(&id));
    assert_eq!(code(&answer), 4096);
    assert!(!answer.contains_key("ResultingSnapshot"));
    let Some(Value::Reference(job)) = answer.get("Job").cloned() else {
        panic!("no job");
    };
    let made = |bench: &Bench| {
        use crate::contract::Model;
        bench
            .host
            .associated(&job, Some("Msvm_AffectedJobElement"), Some(VSSD))
            .expect("an answer")
    };
    assert!(made(&bench).is_empty(), "not before it has ended");
    assert_eq!(bench.end(&answer), Outcome::Well);
    assert_eq!(made(&bench).len(), 1);
    let row = bench.rows("Msvm_AffectedJobElement").remove(0);
    assert_eq!(*row.get("ElementEffects"), Value::Array(vec![Value::Unsigned(5)]));
}

#[test]
fn a_checkpoint_is_renamed_and_keeps_notes_of_its_own() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    let snapshot = take(&mut bench, &id);
    assert_eq!(
        bench.modify(
            &snapshot,
            Row::of(VSSD).text("ElementName", "clean").texts("Notes", ["n"])
        ),
        Outcome::Well
    );
    assert_eq!(bench.host.checkpoints(&id)[0].1, "clean");
    assert_eq!(
        bench.modify(&snapshot, Row::of(VSSD).flag("SecureBootEnabled", false)),
        Outcome::Refused(32775)
    );
    let row = bench.own(&snapshot, "Msvm_MemorySettingData");
    let more = Row::of("Msvm_MemorySettingData")
        .text("InstanceID", store::id(&row))
        .number("VirtualQuantity", 2048);
    assert_eq!(
        bench.change(more),
        Outcome::Refused(32773),
        "settings of a checkpoint do not change"
    );
}

#[test]
fn the_kind_follows_the_machine_at_that_time() {
    // UserSnapshotType, running, whether the guest can be quiet: what comes of it, and whether memory is in it.
    let cases = [
        (5, true, true, Outcome::Well, true),
        (3, true, true, Outcome::Well, false),
        (3, true, false, Outcome::Well, true),
        (4, true, false, Outcome::Failed(10, 32768), false),
        (4, true, true, Outcome::Well, false),
        (5, false, true, Outcome::Well, false),
        (2, false, true, Outcome::Refused(32770), false),
    ];
    for (kind, running, quiet, wanted, memory) in cases {
        let mut bench = Bench::new();
        let id = bench.machine("a", 2);
        assert_eq!(
            bench.modify(&id, Row::of(VSSD).number("UserSnapshotType", kind)),
            Outcome::Well
        );
        if !quiet {
            bench.host.guest(&id, |guest| guest.vss = Services::Absent);
        }
        if running {
            bench.start(&id);
        }
        assert_eq!(
            bench.checkpoint("CreateSnapshot", &input(&id)),
            wanted,
            "{kind} {running} {quiet}"
        );
        if let Some((snapshot, _)) = bench.host.checkpoints(&id).pop() {
            assert_eq!(
                bench.vssd(&snapshot).get("IsSaved").as_boolean(),
                Some(memory),
                "{kind} {running} {quiet}"
            );
        }
    }
}

#[test]
fn a_machine_takes_a_checkpoint_by_itself_when_it_starts_where_that_is_on() {
    let mut bench = Bench::with(|setup| setup.edition = Edition::Client);
    let (id, _, medium) = bench.with_disk("a", r"D:\lab\a.vhdx");
    bench.start(&id);
    assert!(bench.file_of(&medium).ends_with(".avhdx"));
    let (snapshot, _) = bench.host.checkpoints(&id).remove(0);
    assert_eq!(
        bench.vssd(&snapshot).get("IsAutomaticSnapshot").as_boolean(),
        Some(true)
    );
    assert_eq!(bench.request(&id, 3), Outcome::Well);
    bench.start(&id);
    assert_eq!(bench.host.checkpoints(&id).len(), 1, "one at a time");
    assert_eq!(avhdx(&bench), 1);
    let (other, _, medium) = bench.with_disk("b", r"D:\lab\b.vhdx");
    assert_eq!(
        bench.modify(&other, Row::of(VSSD).flag("AutomaticSnapshotsEnabled", false)),
        Outcome::Well
    );
    bench.start(&other);
    assert_eq!(bench.file_of(&medium), r"D:\lab\b.vhdx");
}

#[test]
fn a_checkpoint_is_applied_off_or_saved_and_puts_back_notes_and_settings() {
    let mut bench = Bench::new();
    let (id, _, medium) = bench.with_disk("a", r"D:\lab\a.vhdx");
    bench.host.set_notes(&id, "old");
    let snapshot = take(&mut bench, &id);
    bench.host.set_notes(&id, "new");
    assert_eq!(
        bench.modify(
            &id,
            Row::of(VSSD)
                .flag("SecureBootEnabled", false)
                .text("ElementName", "b")
        ),
        Outcome::Well
    );
    let current = bench.file_of(&medium);
    bench.start(&id);
    assert_eq!(apply(&mut bench, &snapshot), Outcome::Refused(32775));
    assert_eq!(bench.request(&id, 3), Outcome::Well);
    assert_eq!(apply(&mut bench, &snapshot), Outcome::Well);
    let row = bench.vssd(&id);
    assert_eq!(*row.get("Notes"), Value::texts(["old"]));
    assert_eq!(row.get("SecureBootEnabled").as_boolean(), Some(true));
    assert_eq!(text(&row, "ElementName"), "b", "its name stays");
    assert_eq!(bench.state(&id), 3);
    assert_ne!(bench.file_of(&medium), current);
    assert_eq!(avhdx(&bench), 1, "what was written since is gone");
    assert_eq!(bench.host.checkpoints(&id).len(), 1);
    assert_eq!(bench.request(&id, 2), Outcome::Well);
}

#[test]
fn after_a_checkpoint_with_memory_the_machine_is_saved_and_goes_on_at_once() {
    let mut bench = Bench::new();
    let (id, ..) = bench.with_disk("a", r"D:\lab\a.vhdx");
    assert_eq!(
        bench.modify(&id, Row::of(VSSD).number("UserSnapshotType", 5)),
        Outcome::Well
    );
    bench.start(&id);
    let snapshot = take(&mut bench, &id);
    assert_eq!(bench.state(&id), 2, "it runs on");
    assert_eq!(bench.request(&id, 3), Outcome::Well);
    assert_eq!(apply(&mut bench, &snapshot), Outcome::Well);
    assert_eq!(bench.host.machine(&id).expect("it").power, Power::Saved);
    assert_eq!(bench.vssd(&id).get("IsSaved").as_boolean(), Some(true));
    assert_eq!(bench.request(&id, 2), Outcome::Well);
    assert!(bench.host.guest_is_up(&id), "no boot in between");
}

#[test]
fn a_merge_goes_on_after_the_job_and_its_machine_cannot_go_meanwhile() {
    let mut bench = Bench::new();
    let (id, _, medium) = bench.with_disk("a", r"D:\lab\a.vhdx");
    let snapshot = take(&mut bench, &id);
    assert_eq!(destroy(&mut bench, &snapshot), Outcome::Well);
    assert!(bench.host.checkpoints(&id).is_empty());
    assert!(bench.find(VSSD, &format!("Microsoft:{snapshot}")).is_none());
    assert!(bench.file_of(&medium).ends_with(".avhdx"), "still being merged");
    let gone = [(
        "AffectedSystem",
        Value::Reference(paths::system("Msvm_ComputerSystem", &id)),
    )];
    assert_eq!(bench.manage("DestroySystem", &gone), Outcome::Refused(32775));
    assert_eq!(
        bench.checkpoint("CreateSnapshot", &input(&id)),
        Outcome::Refused(32775)
    );
    bench.pass(300);
    assert_eq!(bench.file_of(&medium), r"D:\lab\a.vhdx");
    assert_eq!(avhdx(&bench), 0);
    assert_eq!(bench.manage("DestroySystem", &gone), Outcome::Well);
}

#[test]
fn a_checkpoint_in_the_middle_goes_and_what_followed_it_follows_the_one_before() {
    let mut bench = Bench::new();
    let (id, _, medium) = bench.with_disk("a", r"D:\lab\a.vhdx");
    let first = take(&mut bench, &id);
    let second = take(&mut bench, &id);
    let third = take(&mut bench, &id);
    bench.start(&id);
    assert_eq!(destroy(&mut bench, &second), Outcome::Well, "live");
    bench.pass(300);
    assert!(text(&bench.vssd(&third), "Parent").contains(&first));
    assert_eq!(avhdx(&bench), 2);
    assert!(
        bench
            .host
            .refusals()
            .iter()
            .all(|why| !why.contains("merge failed")),
        "{:?}",
        bench.host.refusals()
    );
    let validate = [("Path", Value::text(bench.file_of(&medium)))];
    assert_eq!(bench.image("ValidateVirtualHardDisk", &validate), Outcome::Well);
    assert_eq!(destroy(&mut bench, &first), Outcome::Well);
    bench.pass(300);
    assert_eq!(destroy(&mut bench, &third), Outcome::Well);
    bench.pass(300);
    assert_eq!(bench.file_of(&medium), r"D:\lab\a.vhdx");
    assert_eq!(avhdx(&bench), 0);
}

#[test]
fn a_tree_of_checkpoints_goes_at_once() {
    let mut bench = Bench::new();
    let (id, _, medium) = bench.with_disk("a", r"D:\lab\a.vhdx");
    let first = take(&mut bench, &id);
    let second = take(&mut bench, &id);
    take(&mut bench, &id);
    assert_eq!(apply(&mut bench, &second), Outcome::Well);
    take(&mut bench, &id);
    assert_eq!(
        bench.checkpoint(
            "DestroySnapshotTree",
            &[("SnapshotSettingData", snapshot_of(&first))]
        ),
        Outcome::Well
    );
    assert!(bench.host.checkpoints(&id).is_empty());
    bench.pass(300);
    assert_eq!(
        bench.file_of(&medium),
        r"D:\lab\a.vhdx",
        "{:?}",
        bench.host.refusals()
    );
    assert_eq!(avhdx(&bench), 0);
}

#[test]
fn a_machine_with_checkpoints_goes_with_its_disks_merged() {
    let mut bench = Bench::new();
    let (id, ..) = bench.with_disk("a", r"D:\lab\a.vhdx");
    take(&mut bench, &id);
    take(&mut bench, &id);
    let gone = [(
        "AffectedSystem",
        Value::Reference(paths::system("Msvm_ComputerSystem", &id)),
    )];
    assert_eq!(bench.manage("DestroySystem", &gone), Outcome::Well);
    assert_eq!(avhdx(&bench), 0, "{:?}", bench.host.refusals());
    assert!(bench.drive.path().join("lab/a.vhdx").exists());
    assert!(
        bench
            .rows(SASD)
            .iter()
            .all(|row| store::id(row).starts_with("Microsoft:Definition"))
    );
}

#[test]
fn a_disk_of_a_checkpoint_is_given_no_other_size() {
    let mut bench = Bench::new();
    let (id, _, medium) = bench.with_disk("a", r"D:\lab\a.vhdx");
    take(&mut bench, &id);
    for file in [bench.file_of(&medium), r"D:\lab\a.vhdx".to_owned()] {
        let input = [
            ("Path", Value::text(file)),
            ("MaxInternalSize", Value::Unsigned(1 << 30)),
        ];
        assert_eq!(
            bench.image("ResizeVirtualHardDisk", &input),
            Outcome::Failed(10, 32773)
        );
    }
}

#[test]
fn only_a_checkpoint_is_applied_and_recovery_snapshots_are_not_made() {
    let mut bench = Bench::new();
    let id = bench.machine("a", 2);
    assert_eq!(apply(&mut bench, &id), Outcome::Refused(32773));
    let mut recovery = input(&id);
    recovery[1].1 = Value::Unsigned(32768);
    assert_eq!(
        bench.checkpoint("CreateSnapshot", &recovery),
        Outcome::Refused(32770)
    );
}
